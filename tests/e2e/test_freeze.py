"""Moves are frozen on real processes: nobody goes home, CloudStack's agents neither; thawed, all do."""
import os
import signal
import subprocess
import sys
import time
import unittest

from harness import Cluster, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program  # noqa: E402


def muster(server, *words):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True, timeout=120,
                          check=False)


def explain(agent):
    return subprocess.run([program("muster-agent"), "explain", "--dir", agent.dir], capture_output=True, text=True, timeout=60,
                          check=False).stdout


class Freeze(unittest.TestCase):
    def at_home(self, cluster, server):
        hosts = cluster.hosts(server)
        return len(hosts) == len(cluster.agents) and all(
            h["state"] == "Up" and h.get("musterconnected") == h["musterlist"][0] for h in hosts.values())

    def stays_away_from(self, cluster, at, server, seconds):
        """Nothing to wait for: what must not happen has this time to happen in."""
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() > end or server.address in cluster.connected().values(), what="time passes")
        self.assertNotIn(server.address, {h.get("musterconnected") for h in cluster.hosts(at).values()})

    def test_nobody_goes_home_until_the_thaw(self):
        with Cluster(3) as cluster:
            cluster.start_servers()
            m1, m2, m3 = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("indirect.agent.lb.check.interval", "2")
            cluster.add_agents(6)
            until(lambda: self.at_home(cluster, m2), what="all are at home")
            m1.kill()
            until(lambda: cluster.all_up() and m1.address not in cluster.connected().values(), what="its agents are elsewhere")

            result = muster(m2, "freeze", "--reason", "switch 3 burns")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("Moves are frozen, everywhere", result.stdout)
            again = muster(m3, "freeze")
            self.assertEqual(again.returncode, 1)
            self.assertIn("by local: switch 3 burns", again.stderr)
            refused = muster(m3, "rebalance")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("Nobody is told to move until they are thawed", refused.stderr)

            m1.start()
            until(m1.ready, what="m1 is back")
            # It reads the freeze when it starts. Up for long enough after 4 s, looked at every 2.
            self.stays_away_from(cluster, m2, m1, 10)
            # Its agents say so with their next look, each in its own time.
            until(lambda: "2 agents could be on the preferred server and are kept away" in muster(m1, "status").stdout,
                  what="both are counted")
            page = muster(m1, "status").stdout
            self.assertTrue(page.startswith("MOVES ARE FROZEN since "), page)
            self.assertIn("by local: switch 3 burns.", page)
            self.assertIn("Moves are frozen", muster(m1, "servers").stdout)
            self.assertIn("Moves are frozen", muster(m1, "hosts").stdout)
            away = until(lambda: next((n for n, h in cluster.hosts(m2).items() if h["musterfrozen"]), None), what="m2 knows, too")
            agent = next(a for a in cluster.agents if a.name == away)
            until(lambda: "because: frozen, moves are frozen" in explain(agent), what="the agent says why it stays")

            # A server that stops goes on sending its agents away.
            m3.kill(signal.SIGTERM)
            self.assertEqual(m3.child.returncode, 0)
            until(lambda: cluster.all_up() and m3.address not in cluster.connected().values(), what="all are Up elsewhere")
            m3.start()
            until(m3.ready, what="m3 is back")
            self.stays_away_from(cluster, m2, m3, 8)

            result = muster(m2, "thaw")
            self.assertEqual(result.returncode, 0, result.stderr)
            until(lambda: self.at_home(cluster, m2), what="all are at home again")
            self.assertNotIn("FROZEN", muster(m2, "status").stdout)
            result = muster(m2, "thaw")
            self.assertEqual(result.returncode, 1)
            self.assertIn("Moves are not frozen", result.stderr)
            events = {e["type"]: e["description"] for e in m2.api("listEvents", pagesize=500, page=1)["event"]}
            self.assertIn("switch 3 burns", events["FREEZE"])
            self.assertIn("local lets agents move again", events["THAW"])
            # None has lost a link over it but those of the killed server.
            self.assertEqual(cluster.agents[1].property("host.lb.check.interval"), "2")

    def test_cloudstack_agents_do_not_look(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("ca.plugin.root.auth.strictness", "false")
            cluster.config("indirect.agent.lb.check.interval", "20")  # a second of the agent's time
            until(lambda: all(s.api("getMusterStatus")["musterstatus"]["strictness"] is False for s in cluster.servers),
                  what="all servers know")
            directory = os.path.join(cluster.dir, "K1")
            os.makedirs(directory)
            muster(m2, "freeze")
            # It begins at the second server, with a list that has only that one.
            agent = Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"),
                            "--name", "K1", "--guid", "00000000-0000-3000-8000-000000000001",
                            "--port", 8250, "--source-address", f"{cluster.net}.101",
                            "--time-scale", 0.05, "--no-keystore", "--hosts", m2.address)
            try:
                host = until(lambda: (h := cluster.hosts(m2).get("K1", {})).get("state") == "Up" and not h["musteroutdated"] and h,
                             what="it is Up with its list")
                self.assertEqual(host["musterlist"], [m1.address, m2.address])
                self.assertEqual(host["musterinterval"], 0)
                self.stays_away_from(cluster, m2, m1, 5)
                self.assertIsNone(agent.find("preferred-check"))
                self.assertEqual(agent.find("checker")["interval"], 0)
                self.assertEqual(muster(m2, "thaw").returncode, 0)
                until(lambda: cluster.connected().get("K1") == m1.address, what="it has gone home")
                until(lambda: cluster.hosts(m2)["K1"]["musterinterval"] == 20, what="it has its interval again")
            finally:
                agent.end()


if __name__ == "__main__":
    unittest.main()
