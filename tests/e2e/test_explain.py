"""`muster explain` on real processes: the reasons come from the agent itself, through whatever server is asked."""
import json
import os
import signal
import subprocess
import sys
import unittest

from harness import Cluster, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program  # noqa: E402


def muster(server, *words):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True, timeout=60,
                          check=False)


def explain(server, host):
    """What people see and what programs see, of one and the same moment: asked again when something has changed between."""
    def look():
        text, code = muster(server, "explain", host), muster(server, "explain", host, "--json")
        for result in (text, code):
            if result.returncode:
                raise AssertionError(result.stdout + result.stderr)
        said = json.loads(code.stdout)
        return (text.stdout, said) if text.stdout.startswith(said["why"] + "\n") else None
    return until(look, what="two answers are the same")


class Explain(unittest.TestCase):
    def start(self, cluster, agents=3):
        cluster.start_servers()
        cluster.config("host", ",".join(cluster.addresses()))
        cluster.config("indirect.agent.lb.algorithm", "roundrobin")
        cluster.config("indirect.agent.lb.check.interval", "2")
        cluster.add_agents(agents)
        until(lambda: self.at_home(cluster), what="all are at home")

    @staticmethod
    def at_home(cluster):
        hosts = cluster.hosts(cluster.servers[-1])
        return len(hosts) == len(cluster.agents) and all(
            h["state"] == "Up" and h.get("musterconnected") == h["musterlist"][0] for h in hosts.values())

    def answered(self, server, host, condition):
        """Asks until the answer is like that: news take a moment."""
        def look():
            text, said = explain(server, host)
            return (text, said) if condition(said) else None
        return until(look, what=f"explain {host} says so")

    def test_a_server_dies_and_another_is_in_maintenance(self):
        with Cluster(3) as cluster:
            self.start(cluster)
            m1, m2, m3 = cluster.servers
            text, said = self.answered(m3, "H1", lambda e: "agent" in e)
            self.assertTrue(said["onpreferred"])
            self.assertTrue(text.startswith("H1 is on m1, the first of its list: it is where it should be.\n"), text)
            self.assertEqual(said["agent"]["name"], "H1")  # asked through m3, which has it not
            self.assertNotIn("agentunasked", said)
            self.assertIn("number 1 of 3, because its slot is 0", said["listreason"])

            m1.kill()
            text, said = self.answered(m3, "H1", lambda e: e.get("managementservername") == "m2" and "agent" in e
                                       and e["verdicts"][0]["state"] == "Down"
                                       and e["agent"]["failback"]["verdict"] == "avoided")
            self.assertTrue(text.startswith("H1 is on m2 because m1, which it prefers, is Down; it returns once m1 has been Up for 4 s."),
                            text)
            first, second, third = said["verdicts"]
            self.assertEqual((first["verdict"], first["avoided"]), ("avoided", True))
            self.assertEqual(second["verdict"], "connected")
            self.assertEqual((third["verdict"], third["server"]), ("next", "m3"))
            self.assertIn("last time:", first["sentence"])  # only the agent knows that
            self.assertFalse(said["onpreferred"])
            self.assertTrue(said["nextlook"].startswith("In "), said["nextlook"])
            self.assertIn("m1 is started again.", said["moves"])

            m1.start()
            until(m1.ready, what="m1 is back")
            until(lambda: self.at_home(cluster), what="all are at home again")
            self.assertEqual(muster(m3, "drain", "m1").returncode, 0)
            text, said = self.answered(m3, "H1", lambda e: "agent" in e and e["agent"]["failback"]["verdict"] == "avoided")
            self.assertIn("because m1, which it prefers, is in Maintenance; it returns once m1 has been Up for 4 s.\n", text)
            self.assertEqual(said["verdicts"][0]["verdict"], "avoided")
            self.assertIn("`muster undrain m1`: ends its maintenance.", said["moves"])

            for name in (said["id"], str(said["musterhostid"]), said["agent"]["guid"]):
                self.assertEqual(explain(m2, name)[1]["name"], "H1")

    def test_who_does_not_answer(self):
        with Cluster(1) as cluster:
            self.start(cluster, 1)
            m1, agent = cluster.servers[0], cluster.agents[0]

            def asked_in_vain():
                """One question: after 10 s its link is given up, and nobody is asked any more."""
                agent.child.send_signal(signal.SIGSTOP)
                try:
                    said = json.loads(muster(m1, "explain", "H1", "--json").stdout)
                finally:
                    agent.child.send_signal(signal.SIGCONT)
                self.assertNotIn("agent", said)
                return said if "within 3 s: this is what the servers see." in said["agentunasked"] else None
            said = until(lambda: cluster.all_up() and asked_in_vain(), what="it does not answer in time")
            self.assertTrue(said["why"].startswith("H1 is "), said)
            agent.kill(signal.SIGTERM)
            until(lambda: cluster.hosts()["H1"]["state"] == "Disconnected", what="it is gone")
            text, said = explain(m1, "H1")
            self.assertTrue(text.startswith("H1 is Disconnected: it is connected to no management server."), text)
            self.assertIn("has no link and can't be asked", said["agentunasked"])
            self.assertEqual(muster(m1, "explain", "H9").returncode, 1)

    def test_an_agent_of_cloudstack(self):
        with Cluster(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            cluster.config("ca.plugin.root.auth.strictness", "false")
            until(lambda: m1.api("getMusterStatus")["musterstatus"]["strictness"] is False, what="m1 knows")
            directory = os.path.join(cluster.dir, "K1")
            os.makedirs(directory)
            agent = Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name", "K1",
                            "--guid", "00000000-0000-3000-8000-000000000001", "--port", 8250, "--source-address",
                            f"{cluster.net}.101", "--time-scale", 0.05, "--no-keystore", "--hosts", m1.address)
            try:
                until(lambda: cluster.hosts().get("K1", {}).get("state") == "Up", what="it is Up")
                text, said = explain(m1, "K1")
                self.assertIn("is CloudStack's and can't be asked", said["agentunasked"])
                self.assertIn("K1 is on m1, the first of its list", text)
                self.assertNotIn("ExplainCommand", m1.log())
            finally:
                agent.end()

    def test_shuffle_looks_once(self):
        with Cluster(2) as cluster:
            self.start(cluster, 1)
            m1, m2 = cluster.servers
            cluster.config("indirect.agent.lb.algorithm", "shuffle")
            until(lambda: cluster.status()["outdated"] == 0 and cluster.status()["algorithm"] == "shuffle",
                  what="the agent has its list")
            until(lambda: self.at_home(cluster), what="it is where it belongs")
            # Its one look after the list is over, or it would be the one that brings it back below.
            self.answered(m1, "H1", lambda e: "agent" in e and e["agent"]["next_check_in_s"] is None)
            home = m1 if cluster.connected()["H1"] == m1.address else m2
            other = m2 if home is m1 else m1
            self.assertEqual(muster(other, "drain", home.name).returncode, 0)
            self.assertEqual(muster(other, "undrain", home.name, "--no-rebalance").returncode, 0)
            text, said = self.answered(other, "H1", lambda e: "agent" in e and e["agent"]["next_check_in_s"] is None
                                       and e["verdicts"][0]["state"] == "Up" and not e["verdicts"][0]["avoided"])
            self.assertEqual(said["nextlook"], "Not by itself: under shuffle an agent looks once after each new list.")
            self.assertIn("it stays until it is told to look or gets a new list.", text)
            status = muster(other, "status").stdout
            self.assertIn("under shuffle an agent looks once after each new list.", status)
            self.assertNotIn("will look for it", status)
            self.assertEqual(muster(other, "rebalance").returncode, 0)
            until(lambda: self.at_home(cluster), what="it is home again")


if __name__ == "__main__":
    unittest.main()
