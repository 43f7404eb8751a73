"""Renewal over the link with real processes: short lives, expired certificates, an operator's wish, CloudStack-style agents.

The cluster's CA is imported, so that certificates with any dates can be made here by openssl: nobody waits for half a year,
and no clock is bent.
"""
import datetime
import json
import os
import shutil
import subprocess
import sys
import unittest

from harness import Agent, Cluster, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program  # noqa: E402

CONFIG = """
[ca]
default_ca = this
[this]
database = index.txt
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
rand_serial = yes
unique_subject = no
policy = anything
[anything]
commonName = supplied
[agent]
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
subjectAltName = URI:muster:agent:{guid},IP:{ip}
"""


def openssl(directory, *arguments):
    return subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, text=True, timeout=60).stdout


def serial(path):
    return openssl("/", "x509", "-in", path, "-noout", "-serial").strip().split("=", 1)[1].lstrip("0").lower()


def days_left(path):
    text = openssl("/", "x509", "-in", path, "-noout", "-enddate").strip().split("=", 1)[1]
    end = datetime.datetime.strptime(text, "%b %d %H:%M:%S %Y %Z")
    return (end - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)).days


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Renewal(unittest.TestCase):
    def own_ca(self, cluster):
        """A CA that we have the key of, imported."""
        directory = os.path.join(cluster.dir, "ca")
        os.makedirs(directory)
        openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
                "-out", "ca.crt", "-days", "9000", "-subj", "/CN=test", "-addext", "keyUsage=keyCertSign,cRLSign")
        with open(os.path.join(directory, "index.txt"), "w", encoding="ascii"):
            pass
        done = subprocess.run([program("muster-server"), "ca", "import", "--dir", cluster.servers[0].dir, "--certificate",
                               f"{directory}/ca.crt", "--key", f"{directory}/ca.key"], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return directory

    def started(self, servers=2):
        cluster = Cluster(servers)
        directory = self.own_ca(cluster)
        cluster.start_servers()
        cluster.config("ca.framework.background.task.delay", "1")
        return cluster, directory

    def joined(self, cluster, name):
        agent = Agent(cluster, name)
        agent.join(cluster.token())
        cluster.agents.append(agent)
        return agent

    def shorten(self, directory, agent, begun_s_ago, ends_in_s):
        """Another certificate for the same key, with these dates."""
        key = os.path.join(agent.dir, "cloud.key")
        guid = agent.property("guid")
        now = datetime.datetime.now(datetime.timezone.utc)
        dates = [(now + datetime.timedelta(seconds=s)).strftime("%Y%m%d%H%M%SZ") for s in (-begun_s_ago, ends_in_s)]
        with open(os.path.join(directory, "ca.cnf"), "w", encoding="ascii") as f:
            f.write(CONFIG.format(guid=guid, ip="127.0.0.1"))
        openssl(directory, "req", "-new", "-key", key, "-out", "a.csr", "-subj", f"/CN={agent.name}")
        openssl(directory, "ca", "-config", "ca.cnf", "-batch", "-notext", "-extensions", "agent", "-in", "a.csr", "-out", "a.crt",
                "-startdate", dates[0], "-enddate", dates[1])
        shutil.copyfile(os.path.join(directory, "a.crt"), os.path.join(agent.dir, "cloud.crt"))
        return serial(os.path.join(agent.dir, "cloud.crt"))

    def key_is_gone(self, agent, key):
        """No file of the agent has it, under whatever name."""
        secret = key.splitlines()[1]
        for name in os.listdir(agent.dir):
            path = os.path.join(agent.dir, name)
            if os.path.isfile(path):
                with open(path, encoding="latin-1") as f:
                    if secret in f.read():
                        return False
        return True

    def renewed(self, cluster, agent, old_serial, old_key, seconds=90):
        """It has another certificate and key, and uses them; while we look it is Up all the time once it was."""
        crt = os.path.join(agent.dir, "cloud.crt")
        was_up = False

        def look():
            nonlocal was_up
            # Connecting: its next link is being taken, the last one is still there.
            is_up = cluster.hosts().get(agent.name, {}).get("state") in ("Up", "Connecting" if was_up else "Up")
            self.assertTrue(is_up or not was_up, "it has lost its link")
            was_up = is_up
            return was_up and serial(crt) != old_serial and not os.path.exists(os.path.join(agent.dir, "cloud.key.new"))

        until(look, seconds, what=f"{agent.name} has another certificate")
        new = serial(crt)
        until(lambda: look() and any("uses its new certificate" in s.log() and new in s.log() for s in cluster.servers), seconds,
              what=f"{agent.name} is seen with {new}")
        self.assertNotEqual(read(os.path.join(agent.dir, "cloud.key")), old_key)
        until(lambda: look() and self.key_is_gone(agent, old_key), seconds, what="the old key is gone")
        self.assertGreater(days_left(crt), 360)
        return new

    def in_use(self, cluster, agent):
        listed = subprocess.run([program("muster"), "--socket", cluster.up()[0].socket, "cert", "list", "--host", agent.name, "--json"],
                                capture_output=True, text=True, timeout=60, check=True).stdout
        return [c["serial"].lstrip("0") for c in json.loads(listed)["certificate"] if c["state"] == "inuse"]

    def provisions(self, cluster):
        """What the events say, the latest first, once the certificate was taken: they are written after the log."""
        def look():
            events = cluster.up()[0].api("listEvents", type="CA.CERTIFICATE.PROVISION").get("event", [])
            said = [e["description"] for e in events]
            return any("has taken certificate" in text for text in said) and said
        return until(look, what="the events say that it has taken a certificate")

    def job(self, server, **params):
        answer = server.api("provisionCertificate", **params)

        def ended():
            state = server.api("queryAsyncJobResult", jobid=answer["jobid"])
            return state if state["jobstatus"] else None

        return until(ended, 90, what="the job ends")

    def test_half_of_its_life(self):
        cluster, directory = self.started()
        with cluster:
            agent = self.joined(cluster, "H1")
            key = read(os.path.join(agent.dir, "cloud.key"))
            # 70 % of an hour is over: more than half and an eighth, and not the last quarter.
            old = self.shorten(directory, agent, 2520, 1080)
            agent.start()
            self.renewed(cluster, agent, old, key)
            # Once: the new one is fresh.
            events = self.provisions(cluster)
            self.assertEqual(len([e for e in events if "has taken certificate" in e]), 1, events)
            self.assertIn("half of its life is over", events[0])

    def test_expired(self):
        cluster, directory = self.started()
        with cluster:
            agent = self.joined(cluster, "H1")
            key = read(os.path.join(agent.dir, "cloud.key"))
            old = self.shorten(directory, agent, 7200, -3600)
            agent.start()
            self.renewed(cluster, agent, old, key)
            self.assertIn("it has expired", self.provisions(cluster)[0])

    def test_a_server_dies_meanwhile(self):
        """A fleet is due at once, and a server is killed while it is renewed: the others go on with its agents."""
        cluster, directory = self.started(3)
        with cluster:
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("ca.framework.cert.renewal.rate", "1")
            agents = [self.joined(cluster, f"H{n}") for n in range(1, 10)]
            old = {}
            for agent in agents:
                old[agent.name] = self.shorten(directory, agent, 2520, 1080)
                agent.start()

            def new():
                return [a for a in agents if serial(os.path.join(a.dir, "cloud.crt")) != old[a.name]]

            until(lambda: len(new()) >= 2, 90, what="it has begun")
            cluster.servers[1].kill()
            until(lambda: len(new()) == len(agents) and cluster.all_up(), 120, what="all have new certificates, and are up")
            for agent in agents:
                fresh = serial(os.path.join(agent.dir, "cloud.crt"))
                # In the store: who gave it may have died before the agent came with it, and nobody else waits for that.
                until(lambda a=agent, f=fresh: self.in_use(cluster, a) == [f], 90, what=f"{agent.name} is seen with {fresh}")
                self.assertFalse(os.path.exists(os.path.join(agent.dir, "cloud.key.new")))
            # And they start with what they have.
            for agent in agents[:3]:
                agent.kill()
                agent.start()
            until(cluster.all_up, what="all are up again")

    def test_an_operator_asks(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            agent = cluster.add_agents(1)[0]
            until(cluster.all_up, what="it is up")
            old, key = serial(os.path.join(agent.dir, "cloud.crt")), read(os.path.join(agent.dir, "cloud.key"))
            owner = cluster.connected()["H1"]
            for server in sorted(cluster.servers, key=lambda s: s.address == owner):
                # Through the server that hasn't it, then through the one that has.
                state = self.job(server, hostid=cluster.hosts()["H1"]["id"])
                self.assertEqual(state["jobstatus"], 1, state)
                self.assertTrue(state["jobresult"]["success"])
                old = self.renewed(cluster, agent, old, key)
                key = read(os.path.join(agent.dir, "cloud.key"))
            # It starts with what is there.
            agent.kill()
            agent.start()
            until(cluster.all_up, what="it is up after a restart")
            agent.kill()
            until(lambda: cluster.hosts()["H1"]["state"] not in ("Up", "Connecting"), 90, what="it is gone")
            state = self.job(cluster.servers[0], hostid=cluster.hosts()["H1"]["id"])
            self.assertEqual((state["jobstatus"], state["jobresultcode"]), (2, 530), state)
            self.assertIn("its agent is not connected", state["jobresult"]["errortext"])

    def test_cloudstack_style(self):
        """Near its end: it is renewed, restarts its link by itself, and comes back with the new certificate."""
        cluster, directory = self.started(1)
        with cluster:
            m1 = cluster.servers[0]
            guid = "00000000-0000-3000-8000-000000000002"
            folder = os.path.join(cluster.dir, "K2")
            address = f"{cluster.net}.102"
            os.makedirs(folder)
            with open(os.path.join(directory, "ca.cnf"), "w", encoding="ascii") as f:
                f.write(CONFIG.format(guid="x", ip=address).replace("URI:muster:agent:x,", "")
                        .replace("extendedKeyUsage = clientAuth\n", ""))
            now = datetime.datetime.now(datetime.timezone.utc)
            dates = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (-300, 3)]
            openssl(directory, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/cloud.key", "-out", "k.csr",
                    "-subj", "/CN=K2")
            openssl(directory, "ca", "-config", "ca.cnf", "-batch", "-notext", "-extensions", "agent", "-in", "k.csr", "-out",
                    f"{folder}/cloud.crt", "-startdate", dates[0], "-enddate", dates[1])
            shutil.copyfile(f"{directory}/ca.crt", f"{folder}/cloud.ca.crt")
            old = serial(f"{folder}/cloud.crt")
            agent = Program("reference_agent.py", "--properties", f"{folder}/agent.properties", "--name", "K2", "--guid", guid, "--port",
                            8250, "--source-address", address, "--time-scale", 0.05, "--hosts", m1.address)
            try:
                agent.wait("certificate-installed")
                until(lambda: "uses its new certificate" in m1.log(), 90, what="it is back with its new certificate")
                until(lambda: cluster.hosts()["K2"]["state"] == "Up", 90, what="it is up")
                new = serial(f"{folder}/cloud.crt")
                self.assertNotEqual(new, old)
                text = openssl("/", "x509", "-in", f"{folder}/cloud.crt", "-noout", "-text")
                self.assertIn(f"IP Address:{address}", text)
                self.assertNotIn("URI:", text)
                self.assertNotIn("Extended Key Usage", text)
                self.assertTrue(cluster.hosts()["K2"]["mustersecured"])
                # By wish, with a reconnect.
                state = self.job(m1, hostid=cluster.hosts()["K2"]["id"], reconnect="true")
                self.assertEqual(state["jobstatus"], 1, state)
                newest = serial(f"{folder}/cloud.crt")
                self.assertNotEqual(newest, new)
                until(lambda: "uses its new certificate" in m1.log() and newest in m1.log().rsplit("uses its new certificate", 1)[1], 90,
                      what="it is back with the newest")
            finally:
                agent.end()


if __name__ == "__main__":
    unittest.main()
