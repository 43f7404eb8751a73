"""Joining: whom an agent tells its token, who gets in with one, who becomes a host again; where the cluster's key may be."""
import base64
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

from harness import Agent, Cluster, program, until

SECRET = bytes(range(24))


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)


def make_ca(directory, name):
    """A root, and a management server's certificate of it with the root behind it."""
    openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.root.key",
            "-out", f"{name}.root.crt", "-days", "30", "-subj", f"/CN={name}", "-addext", "keyUsage=keyCertSign,cRLSign")
    openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.csr", "-subj", "/CN=server", "-addext", "subjectAltName=URI:muster:server:s1", "-addext",
            "extendedKeyUsage=serverAuth,clientAuth")
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}.root.crt", "-CAkey", f"{name}.root.key", "-set_serial", "7",
            "-days", "20", "-copy_extensions", "copy", "-out", f"{name}.crt")
    with open(f"{directory}/{name}.crt", "a", encoding="ascii") as chain, open(f"{directory}/{name}.root.crt", encoding="ascii") as root:
        chain.write(root.read())


def make_token(directory, ca, server):
    with open(f"{directory}/{ca}.root.crt", encoding="ascii") as f:
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).digest()
    packed = bytes([1, 2]) + b"t1" + SECRET + fingerprint + bytes([1, len(server)]) + server.encode()
    packed += hashlib.sha256(packed).digest()[:4]
    return "muster1." + base64.urlsafe_b64encode(packed).decode().rstrip("=")


class Recorder(threading.Thread):
    """A TLS server that keeps whatever anybody tells it."""

    def __init__(self, directory, ca, address):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(f"{directory}/{ca}.crt", f"{directory}/{ca}.key")
        self.context.set_alpn_protocols(["muster-join/1"])
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.told = b""
        self.n = 0
        self.start()

    def run(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            plain.settimeout(30)
            self.n += 1
            try:
                self.listen_to(plain)
            except (OSError, ssl.SSLError):
                pass
            plain.close()

    def listen_to(self, plain):
        # After the handshake records stand in packets of the agent protocol, so TLS gets them from memory.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                data = plain.recv(65536)
                if not data:
                    return
                incoming.write(data)
        plain.sendall(outgoing.read())
        rest = incoming.read()  # what came with the end of the handshake
        while True:
            while len(rest) >= 4 and len(rest) >= 4 + int.from_bytes(rest[:4], "big"):
                n = int.from_bytes(rest[:4], "big")
                incoming.write(rest[4:4 + n])
                rest = rest[4 + n:]
                self.read(tls)
            data = plain.recv(65536)
            if not data:
                return
            rest += data

    def read(self, tls):
        try:
            while True:
                self.told += tls.read(65536)
        except ssl.SSLWantReadError:
            pass

    def close(self):
        self.listener.close()


def rejoin_token(cluster, name, **params):
    hosts = cluster.hosts()
    return cluster.up()[0].api("createRejoinToken", hostid=hosts[name]["id"], **params)["jointoken"]["token"]


class Tokens(unittest.TestCase):
    @unittest.skipUnless(shutil.which("openssl"), "no openssl program")
    def test_a_stranger_hears_nothing(self):
        with Cluster(0) as cluster:
            make_ca(cluster.dir, "right")
            make_ca(cluster.dir, "wrong")
            for ca in ("wrong", "right"):
                recorder = Recorder(cluster.dir, ca, "127.0.0.1")
                token = make_token(cluster.dir, "right", f"127.0.0.1:{recorder.port}")
                agent = Agent(cluster, f"H-{ca}")
                child = subprocess.Popen([program("muster-agent"), "join", "-", "--dir", agent.dir], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                try:
                    child.stdin.write(token)
                    child.stdin.close()
                    if ca == "wrong":
                        self.assertNotEqual(child.wait(60), 0)
                        self.assertRegex(child.stderr.read(), "not the one of the token")
                        self.assertEqual(recorder.n, 1)
                        self.assertEqual(recorder.told, b"")
                    else:
                        # The same server with the right CA does hear it: the recorder is not deaf.
                        until(lambda r=recorder: SECRET.hex().encode() in r.told, what="the token is told to the right server")
                finally:
                    child.kill()
                    child.wait()
                    child.stdout.close()
                    child.stderr.close()
                    recorder.close()

    def test_one_use_two_servers(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            until(lambda: all(s.api("listManagementServers")["count"] == 2 for s in cluster.servers), what="the servers see each other")
            for turn in range(3):
                token = cluster.token()
                agents = [Agent(cluster, f"R{turn}-{n}") for n in range(2)]
                results = [None, None]

                def join(n, token=token, agents=agents, results=results):
                    results[n] = agents[n].join(token, "--server", cluster.servers[n].address, check=False)

                threads = [threading.Thread(target=join, args=(n,)) for n in range(2)]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                codes = sorted(r.returncode for r in results)
                self.assertEqual(codes[0], 0, results)
                self.assertNotEqual(codes[1], 0, results)
                loser = next(r for r in results if r.returncode)
                self.assertIn("the token was used as often as it may be", loser.stderr)
                winner = next(a.name for a, r in zip(agents, results) if r.returncode == 0)
                for server in cluster.servers:
                    until(lambda s=server, w=winner, a=agents: cluster.hosts(s).keys() & {x.name for x in a} == {w},
                          what="one of the two is a host, on both servers")

    def test_zone(self):
        with Cluster(1) as cluster:
            cluster.start_servers()
            token = cluster.token(zone="east", uses=3)
            listed = subprocess.run([program("muster"), "--socket", cluster.servers[0].socket, "token", "list"], capture_output=True,
                                    text=True, timeout=60, check=True).stdout
            self.assertIn("anyone in zone east", listed)
            agent = Agent(cluster, "H1")
            refused = agent.join(token, "--zone", "west", check=False)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn("the token is for zone east only, and this machine says zone west", refused.stderr)
            agent.join(token)
            self.assertEqual(agent.property("zone"), "east")
            # Whoever holds the machine may change its file, not the zone.
            with open(agent.properties, encoding="latin-1") as f:
                text = f.read()
            with open(agent.properties, "w", encoding="latin-1") as f:
                f.write(text.replace("zone=east", "zone=west"))
            agent.start()
            cluster.agents.append(agent)
            until(cluster.all_up, what="H1 is up")
            (host,) = cluster.servers[0].api("listHosts")["host"]
            self.assertEqual(host["zonename"], "east")

    def test_a_join_that_was_cut_off(self):
        """Killed between the identity and agent.properties, with its only token used up: the same join again finishes it."""
        with Cluster(1) as cluster:
            cluster.start_servers()
            token = cluster.token(uses=1)
            agent = Agent(cluster, "H1")
            agent.join(token)
            guid = agent.property("guid")
            with open(agent.properties, "rb") as f:
                joined = f.read()
            parts = []
            for name in ("cloud.key", "cloud.crt", "cloud.ca.crt"):
                with open(os.path.join(agent.dir, name), "rb") as f:
                    parts.append(hashlib.sha256(f.read()).hexdigest().encode() + b"\0")
            identity = hashlib.sha256(b"".join(parts)).hexdigest()
            pending = agent.properties + ".join"

            for before in (None, b"guid=another\n"):
                was = "-"
                os.remove(agent.properties)
                if before:
                    was = hashlib.sha256(before).hexdigest()
                    with open(agent.properties, "wb") as f:
                        f.write(before)
                with open(pending, "wb") as f:
                    f.write(f"# join {identity} {was}\n".encode() + joined)
                again = agent.join(token)
                self.assertIn(f"(guid {guid}), which was cut off before and is finished now", again.stdout)
                with open(agent.properties, "rb") as f:
                    self.assertEqual(f.read(), joined)
                self.assertFalse(os.path.exists(pending))
            # A join that is whole is no cut-off one.
            self.assertEqual(agent.join(token, check=False).returncode, 1)

            # So does a start.
            os.rename(agent.properties, pending)
            with open(pending, "wb") as f:
                f.write(f"# join {identity} -\n".encode() + joined)
            cluster.agents.append(agent)
            agent.start()
            until(cluster.all_up, what="H1 is up")
            self.assertEqual(agent.property("guid"), guid)

    def test_rejoin(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            cluster.add_agents(2)
            until(cluster.all_up, what="all are up")
            h1, h2 = cluster.agents

            # The machine is up and somebody joins again in its folder: not while it is at work there.
            busy = h1.join(rejoin_token(cluster, "H1"), check=False)
            self.assertNotEqual(busy.returncode, 0)
            self.assertIn("at work", busy.stderr)

            # A copy of H1 lives somewhere else; its own folder is joined again with a token for it, which cuts the copy off.
            h1.kill()
            copy = Agent(cluster, "copy")
            shutil.rmtree(copy.dir)
            shutil.copytree(h1.dir, copy.dir, ignore=shutil.ignore_patterns("*.sock", "*.log"))
            copy.start()
            cluster.others.append(copy)
            # Its own word: the servers may not have missed the first one yet.
            until(lambda: "agent moved" in copy.log() and " to=up" in copy.log() and cluster.all_up(), what="the copy of H1 is up")
            other = h1.join(rejoin_token(cluster, "H2"), check=False)
            self.assertEqual(other.returncode, 1)
            self.assertIn("and this machine is", other.stderr)
            anybody = h1.join(cluster.token(), check=False)
            self.assertEqual(anybody.returncode, 1)
            self.assertIn("muster host rejoin", anybody.stderr)
            before = cluster.hosts()["H1"]["id"]
            h1.join(rejoin_token(cluster, "H1"))
            until(lambda: "certificate revoked" in "".join(s.log() for s in cluster.servers), what="the copy is cut off")
            h1.start()
            until(cluster.all_up, what="H1 is up again")
            self.assertEqual(cluster.hosts()["H1"]["id"], before)
            self.assertEqual(h1.property("guid"), copy.property("guid"))
            copy.kill()

            # Installed anew: a folder that knows nothing becomes H2 again.
            h2.kill()
            shutil.rmtree(h2.dir)
            os.makedirs(h2.dir)
            h2.join(rejoin_token(cluster, "H2"))
            h2.start()
            until(cluster.all_up, what="H2 is up again")
            self.assertEqual(len(cluster.hosts()), 2)

    def test_where_the_key_may_be(self):
        with Cluster(1) as cluster:
            (server,) = cluster.servers
            key = f"{cluster.dir}/cluster.key"
            cluster.start_servers()
            self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
            server.kill(15)
            os.chmod(key, 0o644)
            server.start()
            self.assertEqual(server.child.wait(60), 67)
            self.assertIn(f"chmod 600 {key}", server.log())
            # As a credential, which systemd leaves in a folder of its own.
            credentials = f"{cluster.dir}/credentials"
            os.mkdir(credentials, 0o700)
            os.rename(key, f"{credentials}/cluster.key")
            os.chmod(f"{credentials}/cluster.key", 0o440)
            server.env["CREDENTIALS_DIRECTORY"] = credentials
            server.start()
            until(server.ready, what="the server has its key from the credentials")
            cluster.add_agents(1)
            until(cluster.all_up, what="it can sign")
            self.assertFalse(os.path.exists(key))


if __name__ == "__main__":
    unittest.main()
