"""Other people's clients and other kinds of addresses."""
import json
import os
import shutil
import socket
import subprocess
import unittest

from harness import Cluster, Server, program, until


def free_ports(address, n):
    """Ports that are free now; held together, so that they differ."""
    sockets = [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for _ in range(n)]
    for s in sockets:
        s.bind((address, 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class CloudStackClient(unittest.TestCase):
    """`cs`, the client that Debian packages (its program is called cloudstack there)."""

    def test_cs(self):
        client = shutil.which("cloudstack") or shutil.which("cs")
        self.assertTrue(client, "the package cs is missing: ./run test installs it")
        with Cluster(0) as cluster:
            server = Server(cluster, 1, api_port=8080)
            cluster.servers.append(server)
            server.start()
            until(server.ready, what="the server is ready")
            keys = server.api("createAccount", name="admin")["account"]

            def ask(command, *parameters, secret=keys["secretkey"]):
                env = dict(os.environ, CLOUDSTACK_ENDPOINT=f"http://{server.address}:8080/client/api",
                           CLOUDSTACK_KEY=keys["apikey"], CLOUDSTACK_SECRET=secret)
                return subprocess.run([client, command, *parameters], capture_output=True, text=True, timeout=60, env=env, check=False)

            listed = ask("listManagementServers")
            self.assertEqual(listed.returncode, 0, listed.stderr)
            self.assertEqual(json.loads(listed.stdout)["managementserver"][0]["name"], "m1")
            changed = ask("updateConfiguration", "name=indirect.agent.lb.algorithm", "value=roundrobin")
            self.assertEqual(json.loads(changed.stdout)["configuration"]["value"], "roundrobin")
            refused = ask("updateConfiguration", "name=indirect.agent.lb.algorithm", "value=best")
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("is not one of", refused.stdout + refused.stderr)
            self.assertNotEqual(ask("listHosts", secret="wrong").returncode, 0)

            cluster.add_agents(1)
            until(cluster.all_up, what="the agent is Up")
            host = json.loads(ask("listHosts").stdout)["host"][0]
            self.assertEqual(host["state"], "Up")
            again = ask("reconnectHost", f"id={host['id']}")
            self.assertEqual(again.returncode, 0, again.stdout)
            until(cluster.all_up, what="the agent is Up again")


class Addresses(unittest.TestCase):
    def placed(self, cluster, entries):
        hosts = cluster.hosts()
        return len(hosts) == 4 and all(h["state"] == "Up" and h.get("musterconnected") == h["musterlist"][0] for h in hosts.values()) \
            and [hosts[f"H{n}"]["musterlist"][0] for n in (1, 2, 3, 4)] == [entries[0], entries[1], entries[0], entries[1]]

    def run_with(self, address, entry, advertised=None):
        """Two servers on one address, told apart by their ports."""
        with Cluster(0) as cluster:
            ports = free_ports(address, 2)
            cluster.servers = [Server(cluster, n + 1, address, port, advertised=advertised) for n, port in enumerate(ports)]
            cluster.start_servers()
            entries = [entry % port for port in ports]
            cluster.config("host", ",".join(entries))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("indirect.agent.lb.check.interval", "1")
            cluster.add_agents(4)
            until(lambda: self.placed(cluster, entries), what=f"agents are spread over {entries}")
            cluster.servers[0].kill()
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {entries[1]}, what="all are on the other")
            cluster.servers[0].start()
            until(cluster.servers[0].ready, what="back")
            until(lambda: self.placed(cluster, entries), what="all are home again")

    def test_ports(self):
        self.run_with("127.0.0.1", "127.0.0.1:%d")

    def test_names(self):
        self.run_with("127.0.0.1", "localhost:%d", "localhost")

    @unittest.skipUnless(os.path.exists("/proc/net/if_inet6"), "SKIPPED: this machine has no IPv6")
    def test_ipv6(self):
        self.run_with("::1", "[::1]:%d")


class CommandLine(unittest.TestCase):
    """Mistakes in files and on command lines: a clear sentence with file and line, and nothing is done."""

    def test_daemons_refuse(self):
        rows = [
            ("muster-server", "server.properties", "prot=8250\n", "server.properties:1", "prot"),
            ("muster-server", "server.properties", "# fine\nport=99999\n", "server.properties:2", "99999"),
            ("muster-server", "server.properties", "indirect.agent.lb.algorithm=static\n", "server.properties:1", "muster config set"),
            ("muster-server", "server.properties", "name=\\u12\n", "server.properties", "1"),
            ("muster-agent", "agent.properties", "guid=g\nhost=a\nport=nine\n", "agent.properties:3", "nine"),
            ("muster-agent", "agent.properties", "guid=g\nhost=a\nmuster.nonsense=1\n", "agent.properties:3", "muster.nonsense"),
        ]
        for name, file, text, where, what in rows:
            with self.subTest(text), Cluster(0) as cluster:
                path = os.path.join(cluster.dir, file)
                with open(path, "w", encoding="ascii") as f:
                    f.write(text)
                result = subprocess.run([program(name), "--dir", cluster.dir, "--check"], capture_output=True, text=True, timeout=30, check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(where, result.stderr)
                self.assertIn(what, result.stderr)
                with open(path, encoding="ascii") as f:
                    self.assertEqual(f.read(), text, "the file is not touched")

    def test_dump_is_a_valid_file(self):
        for name, file, text in (("muster-server", "server.properties", "name=m9\nport=0\n"),
                                 ("muster-agent", "agent.properties", "guid=g\nhost=10.0.0.1\n")):
            with self.subTest(name), Cluster(0) as cluster:
                path = os.path.join(cluster.dir, file)
                with open(path, "w", encoding="ascii") as f:
                    f.write(text)
                dump = subprocess.run([program(name), "--dir", cluster.dir, "--dump"], capture_output=True, text=True, timeout=30, check=True)
                with open(path, "w", encoding="ascii") as f:
                    f.write(dump.stdout)
                again = subprocess.run([program(name), "--dir", cluster.dir, "--dump"], capture_output=True, text=True, timeout=30, check=True)
                self.assertEqual(dump.stdout, again.stdout)

    def run_wrongly(self, directory, *settings):
        """A server that must not start; what it says."""
        options = [x for s in settings for x in ("-s", s)]
        result = subprocess.run([program("muster-server"), "--dir", directory, *options], capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertNotEqual(result.returncode, 0, result.stderr)
        return result.stderr

    def test_a_wrong_start_harms_nobody(self):
        """A second start from the folder, a copy of it, a port that is taken: the newcomer is refused, all else stays."""
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            until(lambda: len(cluster.status(m2)["host"]) == 2, what="it knows both")
            before = cluster.status(m2)["host"]
            self.assertIn("another muster-server runs from the folder", self.run_wrongly(m1.dir, "port=8252"))
            copy = os.path.join(cluster.dir, "copy")
            shutil.copytree(m1.dir, copy, ignore=lambda d, names: [n for n in names if n in ("s", "server.lock", "m1.log")])
            self.assertIn("is running elsewhere", self.run_wrongly(copy, "port=8253", f"socket={copy}/s"))
            # A server of its own that can't have its socket is in nobody's list.
            fresh = os.path.join(cluster.dir, "fresh")
            os.mkdir(fresh)
            said = self.run_wrongly(fresh, f"listen={cluster.net}.9", f"store={cluster.dir}/muster.db",
                                    f"cluster.key.file={cluster.dir}/cluster.key", "api.port=0", f"socket={m1.socket}")
            self.assertIn("another server answers there", said)
            self.assertEqual(cluster.status(m2)["host"], before)
            self.assertTrue(m1.ready() and m2.ready())
            # A key file that isn't there is not made anew when the cluster has a CA.
            self.run_wrongly(fresh, f"listen={cluster.net}.9", f"store={cluster.dir}/muster.db", "cluster.key.file=other.key",
                             "api.port=0", f"socket={fresh}/s")
            self.assertFalse(os.path.exists(os.path.join(fresh, "other.key")))
            self.assertIn("address has to be set", self.run_wrongly(fresh, "listen=::"))

    def test_damaged_database(self):
        """A database that can't be read is reported with what to do, and left as it is."""
        with Cluster(1) as cluster:
            cluster.start_servers()
            server = cluster.servers[0]
            server.kill()
            path = os.path.join(cluster.dir, "muster.db")
            for name in (path + "-wal", path + "-shm"):
                if os.path.exists(name):
                    os.unlink(name)
            with open(path, "wb") as f:
                f.write(b"this is no database" * 1000)
            server.start()
            until(lambda: not server.alive(), what="it does not start")
            self.assertEqual(server.child.returncode, 67)
            self.assertIn("backup", server.log())
            with open(path, "rb") as f:
                self.assertTrue(f.read().startswith(b"this is no database"))


if __name__ == "__main__":
    unittest.main()
