"""Our programs with peers written from the protocol reference alone (tests/interop): both ways round."""
import os
import signal
import sys
import unittest

from harness import Agent, Cluster, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program, body  # noqa: E402

API = "com.cloud.agent.api."
SCALE = 0.05  # 5 s of the reference are 0.25 s here


class ReferenceAgents(unittest.TestCase):
    """CloudStack-style agents on muster-server."""

    def agent(self, cluster, number, *options):
        directory = os.path.join(cluster.dir, f"K{number}")
        os.makedirs(directory, exist_ok=True)
        return Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name",
                       f"K{number}", "--guid", f"00000000-0000-3000-8000-00000000000{number}", "--port", 8250,
                       "--source-address", f"{cluster.net}.{100 + number}", "--time-scale", SCALE, *options)

    def test_without_key_store(self):
        """Strictness off: agents without a certificate get in, are marked unsecured, and are balanced."""
        with Cluster(3) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("ca.plugin.root.auth.strictness", "false")
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("indirect.agent.lb.check.interval", "1")
            until(lambda: all(s.api("getMusterStatus")["musterstatus"]["strictness"] is False for s in cluster.servers),
                  what="all servers know")
            agents = []
            try:
                for number in (1, 2, 3, 4):
                    agents.append(self.agent(cluster, number, "--no-keystore", "--hosts", m1.address))
                    until(lambda n=number: cluster.hosts().get(f"K{n}", {}).get("state") == "Up", what="it is Up")
                hosts = cluster.hosts()
                for number in (1, 2, 3, 4):
                    host = hosts[f"K{number}"]
                    self.assertFalse(host["mustersecured"])
                    self.assertFalse(host["mustermuster"])
                handshake = agents[0].wait("handshake")
                self.assertEqual((handshake["version"], handshake["alpn"]), ("TLSv1.2", None))
                for number, agent in enumerate(agents):
                    listed = cluster.rotated(number)
                    agent.wait("persisted", values=lambda v, w=",".join(listed) + "@roundrobin": v and v.get("host") == w)
                until(lambda: [cluster.connected()[f"K{n}"] for n in (1, 2, 3, 4)] ==
                      [cluster.rotated(n)[0] for n in range(4)], what="all are on their preferred servers")

                cluster.servers[1].kill()
                until(lambda: cluster.all_up(4) and cluster.servers[1].address not in cluster.connected().values(),
                      what="the agent of the dead server is elsewhere")
                cluster.servers[1].start()
                until(cluster.servers[1].ready, what="back")
                until(lambda: cluster.connected()["K2"] == cluster.servers[1].address, what="its agent is back")
                for agent in agents:  # a dead server can't be reached; anything else is a complaint about us
                    complaint = agent.find("error", reason=lambda r: r != "connect-failed")
                    self.assertIsNone(complaint, complaint)

                # A deleted host is told so; its agent stays alive and does not come back.
                cluster.up()[0].api("deleteHost", id=cluster.hosts()["K4"]["id"], forced="true")
                agents[3].message("in", "ShutdownCommand")
                self.assertEqual(body(agents[3].message("in", "ShutdownCommand"))["reason"], "deleteHost")
                until(lambda: "K4" not in cluster.hosts(), what="the host is gone")
            finally:
                for agent in agents:
                    agent.end()

    def test_strict(self):
        """Strictness on: no certificate, no entry, and never an answer that makes the agent exit; with one it is Up."""
        with Cluster(1) as cluster:
            ca = cluster.cloudstack_ca()
            cluster.start_servers()
            m1 = cluster.servers[0]
            stranger = self.agent(cluster, 1, "--no-keystore", "--hosts", m1.address)
            certificate, key = ca.issue(os.path.join(cluster.dir, "K2.crt"), f"{cluster.net}.102")
            known = None
            try:
                first = stranger.wait("closed")
                stranger.wait("closed", after=first)  # it tries again and again
                self.assertIsNone(stranger.find("exit"))
                self.assertNotIn("K1", cluster.hosts())
                known = self.agent(cluster, 2, "--hosts", m1.address, "--cert", certificate, "--key", key, "--ca", ca.certificate)
                until(lambda: cluster.hosts().get("K2", {}).get("state") == "Up", what="it is Up")
                self.assertTrue(cluster.hosts()["K2"]["mustersecured"])
            finally:
                stranger.end()
                if known:
                    known.end()


class ReferenceServers(unittest.TestCase):
    """muster-agent on CloudStack-style servers."""

    def server(self, cluster, number, *options):
        program = Program("reference_server.py", "--ca-dir", os.path.join(cluster.dir, "ca"), "--ca-key-bits", 2048, "--listen",
                          f"{cluster.net}.{number}:8250", "--db", os.path.join(cluster.dir, "db.json"), "--host-setting",
                          f"{cluster.net}.1,{cluster.net}.2", "--algorithm", "roundrobin", "--interval", 1, "--ping-interval", 2,
                          *options)
        program.wait("listening")
        return program

    def muster_agent(self, cluster, with_certificate):
        agent = Agent(cluster, "A1")
        with open(agent.properties, "w", encoding="ascii") as f:
            f.write("# an operator's comment\nguid=00000000-0000-3000-8000-00000000000a\n"
                    "resource=com.cloud.hypervisor.kvm.resource.LibvirtComputingResource\n"
                    f"host={cluster.net}.2,{cluster.net}.1\nport=8250\nzone=1\npod=1\ncluster=1\nworkers=5\n"
                    f"muster.source.ip={cluster.net}.77\nmuster.name=A1\n")
        if with_certificate:
            for name in ("cloud.crt", "cloud.key"):
                os.rename(os.path.join(cluster.dir, name), os.path.join(agent.dir, name))
            with open(os.path.join(cluster.dir, "ca", "ca.crt"), encoding="ascii") as source, \
                    open(os.path.join(agent.dir, "cloud.ca.crt"), "w", encoding="ascii") as target:
                target.write(source.read())
        cluster.others.append(agent)
        return agent

    def test_life(self):
        """Startup, list, pings, commands, a death, the way home, a migration, the goodbye."""
        with Cluster(0) as cluster:
            one = self.server(cluster, 1, "--strict", "--also-cert", f"{cluster.dir}/cloud.crt={cluster.net}.77")
            two = self.server(cluster, 2, "--strict")
            agent = self.muster_agent(cluster, True)
            try:
                agent.start()
                handshake = two.wait("handshake")
                self.assertEqual(handshake["version"], "TLSv1.2")
                startup = body(two.message("in", "StartupRoutingCommand"))
                self.assertEqual(startup["guid"], "00000000-0000-3000-8000-00000000000a-LibvirtComputingResource")
                self.assertNotIn("musterBoot", startup, "nothing of ours is sent to a server that isn't ours")
                wanted = f"{cluster.net}.1,{cluster.net}.2@roundrobin"
                until(lambda: agent.property("host") == wanted, what="the list is kept")
                self.assertEqual(agent.property("host.lb.check.interval"), "1")
                with open(agent.properties, encoding="ascii") as f:
                    self.assertTrue(f.read().startswith("# an operator's comment\n"))

                one.message("in", "StartupRoutingCommand")  # home, by the check
                one.wait("host-status", status="Up")
                one.message("in", "PingRoutingCommand") if one.find("message", classes=["PingRoutingCommand"]) else \
                    one.wait("message", dir="in", classes=lambda c: c and c[0].startswith("Ping"))

                one.tell("send", commands=[{API + "CheckHealthCommand": {"contextMap": {}, "wait": 50}},
                                           {API + "GetHostStatsCommand": {"hostGuid": "g", "hostName": "n", "hostId": 1, "contextMap": {}, "wait": 0}},
                                           {API + "NoSuchCommand": {"contextMap": {}, "wait": 0}}], onError="continue")
                answers = one.wait("answers")
                one.tell("maintain")
                one.wait("maintained")
                self.assertTrue(answers["classes"])

                mark = two.mark()
                one.kill()
                two.message("in", "StartupRoutingCommand", after=mark)
                two.wait("host-status", after=mark, status="Up")
                one.end()

                one = self.server(cluster, 1, "--strict")
                one.message("in", "StartupRoutingCommand")
                one.wait("host-status", status="Up")

                mark = two.mark()
                one.tell("migrate", avoid=[f"{cluster.net}.1"])
                one.wait("migrate-answered")
                moved = body(two.message("in", "StartupRoutingCommand", after=mark))
                self.assertTrue(moved["connectionTransferred"])
                two.wait("host-status", after=mark, status="Up")

                agent.kill(signal.SIGTERM)
                self.assertEqual(agent.child.returncode, 0)
                for server in (one, two):
                    complaint = server.find("error")
                    self.assertIsNone(complaint, complaint)
            finally:
                one.end()
                two.end()

    def test_renewed(self):
        """A new certificate over the link: the old one stays until the server has taken the new one."""
        with Cluster(0) as cluster:
            two = self.server(cluster, 2, "--strict", "--also-cert", f"{cluster.dir}/cloud.crt={cluster.net}.77")
            agent = self.muster_agent(cluster, True)

            def read(name):
                with open(os.path.join(agent.dir, name), encoding="ascii") as f:
                    return f.read()

            try:
                agent.start()
                first = two.wait("handshake")["clientCertificate"]
                two.wait("host-status", status="Up")
                before = read("cloud.key"), read("cloud.crt")
                mark = two.mark()
                two.tell("provision")
                provisioned = two.wait("provisioned", mark)
                again = two.wait("handshake", mark)["clientCertificate"]
                self.assertNotEqual(again, first)
                two.message("in", "StartupRoutingCommand", after=provisioned)
                two.wait("host-status", after=provisioned, status="Up")
                until(lambda: not [name for name in os.listdir(agent.dir) if name.endswith((".old", ".new"))],
                      what="the old one is not needed any more")
                after = read("cloud.key"), read("cloud.crt")
                self.assertNotEqual(after[0], before[0])
                self.assertNotEqual(after[1], before[1])
                self.assertIn("PRIVATE KEY", after[0])
                self.assertTrue(agent.alive())
            finally:
                two.end()

    def test_rejected(self):
        """A ReadyCommand with details: the agent stops with code 1 and says why."""
        with Cluster(0) as cluster:
            one = self.server(cluster, 1, "--zones", "other", "--also-cert", f"{cluster.dir}/cloud.crt={cluster.net}.77")
            agent = self.muster_agent(cluster, True)
            try:
                agent.start()
                until(lambda: not agent.alive(), what="it has stopped")
                self.assertEqual(agent.child.returncode, 1)
            finally:
                one.end()


if __name__ == "__main__":
    unittest.main()
