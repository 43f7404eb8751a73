"""All servers are restarted one after the other on real processes: nobody is without a link, and it can be interrupted."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from harness import Cluster, program, until

N = 12


def muster(server, *words, timeout=180):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True,
                          timeout=timeout, check=False)


class Rolling(unittest.TestCase):
    """The servers are children of the test: --command asks for a restart, and `keeper` does it."""

    def setUp(self):
        self.order, self.problem, self.seen, self.gaps = [], None, set(), []
        self.ends = threading.Event()

    def at_home(self, cluster, server):
        hosts = cluster.hosts(server)
        return len(hosts) == N and all(h["state"] == "Up" and h.get("musterconnected") == h["musterlist"][0]
                                       for h in hosts.values())

    def keeper(self, cluster, directory):
        """Restarts whichever server a file asks for; answers with another file."""
        try:
            while not self.ends.is_set():
                for name in sorted(os.listdir(directory)):
                    if not name.endswith(".please"):
                        continue
                    server = next(s for s in cluster.servers if s.name == name[:-len(".please")])
                    os.unlink(os.path.join(directory, name))
                    self.order.append(server.name)
                    server.kill(signal.SIGTERM)
                    server.start()
                    with open(os.path.join(directory, server.name + ".done"), "w", encoding="ascii"):
                        pass
                time.sleep(0.05)
        except Exception as problem:  # shown by the test
            self.problem = problem

    def watcher(self, cluster):
        """From whichever server answers: what every agent is, and how many each server has."""
        while not self.ends.is_set():
            for server in cluster.servers:
                try:
                    hosts = cluster.hosts(server)
                except Exception:  # this one is being restarted
                    continue
                if len(hosts) == N:
                    self.seen.update(h["state"] for h in hosts.values())
                    self.gaps += [n for n, h in hosts.items() if h.get("musterreconnecting")]
            time.sleep(0.1)

    def command(self, directory):
        return (f"touch {directory}/$MUSTER_SERVER.please; "
                f"while [ ! -e {directory}/$MUSTER_SERVER.done ]; do sleep 0.1; done; rm {directory}/$MUSTER_SERVER.done")

    def begin(self, cluster, algorithm):
        cluster.start_servers()
        cluster.config("host", ",".join(cluster.addresses()))
        cluster.config("indirect.agent.lb.algorithm", algorithm)
        cluster.config("indirect.agent.lb.check.interval", "2")
        cluster.add_agents(N)
        until(lambda: self.at_home(cluster, cluster.servers[0]), what="all at home")
        directory = os.path.join(cluster.dir, "please")
        os.mkdir(directory)
        threads = [threading.Thread(target=self.keeper, args=(cluster, directory)),
                   threading.Thread(target=self.watcher, args=(cluster,))]
        for thread in threads:
            thread.start()
        self.addCleanup(lambda: [t.join(60) for t in threads])
        self.addCleanup(self.ends.set)
        return directory

    def says(self, server, *sentences):
        until(lambda: all(s in muster(server, "status").stdout for s in sentences), what=f"{server.name} says {sentences}")

    def are_spread(self, cluster, counts):
        def look():
            where = list(cluster.connected().values())
            return [where.count(s.address) for s in cluster.servers] == counts
        until(look, what=f"the servers have {counts} agents")

    def nobody_had_a_gap(self, server):
        self.assertIsNone(self.problem)
        self.assertLessEqual(self.seen, {"Up", "Connecting"})
        self.assertEqual(self.gaps, [])
        events = [e["type"] for e in server.api("listEvents", pagesize=500, page=1)["event"]]
        self.assertNotIn("AGENT.DISCONNECTED", events)
        return events

    def test_with_balanced_and_interrupted(self):
        with Cluster(3) as cluster:
            self.addCleanup(self.ends.set)
            directory = self.begin(cluster, "balanced")
            m1, m2, m3 = cluster.servers
            plan = json.loads(muster(m1, "rolling-restart", "--plan", "--json").stdout)
            self.assertEqual([s["server"] for s in plan["steps"]], ["m2", "m3", "m1"])
            self.assertEqual([s["moves"] for s in plan["steps"]], [4, 6, 6])
            self.assertEqual((plan["moves"], plan["plainmoves"], plan["apart"]), (20, 24, 0))
            shown = muster(m1, "rolling-restart", "--plan")
            self.assertEqual(shown.returncode, 2, shown.stderr)
            self.assertIn("20 moves instead of 24", shown.stdout)

            # Interrupted while the second one has its turn: its command has not ended.
            first = subprocess.Popen([program("muster"), "--socket", m1.socket, "rolling-restart", "--deadline", "60",
                                      "--command", f'if [ "$MUSTER_SERVER" = m3 ]; then touch {directory}/stuck; exec sleep 1000; fi; '
                                      + self.command(directory)],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
            until(lambda: os.path.exists(os.path.join(directory, "stuck")) or first.poll() is not None, what="the second turn")
            os.killpg(first.pid, signal.SIGINT)
            out, err = first.communicate(timeout=60)
            self.assertEqual(first.returncode, 1, out + err)
            self.assertIn("interrupted", err)
            self.assertIn("goes on from here", err)
            self.assertEqual(self.order, ["m2"])
            # m2 hears of it a moment later.
            self.says(m2, "A rolling restart is at step 2 of 3 (m3), begun by local", "MOVES ARE FROZEN", "The rolling restart ends it.")
            # m3 is empty, m2 has what was its own.
            self.are_spread(cluster, [6, 6, 0])

            # Another one goes on, from another server.
            result = muster(m1, "rolling-restart", "--deadline", "60", "--command", self.command(directory))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertIn("Going on with the rolling restart that local began", result.stdout)
            self.assertIn("No agent was seen without a link", result.stdout)
            self.assertEqual(self.order, ["m2", "m3", "m1"])
            until(lambda: self.at_home(cluster, m2), what="all are at home")
            self.are_spread(cluster, [4, 4, 4])
            until(lambda: "FROZEN" not in muster(m2, "status").stdout, what="m2 has thawed")
            events = self.nobody_had_a_gap(m2)
            self.assertEqual([e for e in events if e.startswith("ROLLING")],
                             ["ROLLING.END", "ROLLING.STEP", "ROLLING.TAKE", "ROLLING.STEP", "ROLLING.STEP", "ROLLING.BEGIN"])

    def test_roundrobin_takes_2n(self):
        with Cluster(3) as cluster:
            self.addCleanup(self.ends.set)
            directory = self.begin(cluster, "roundrobin")
            m1 = cluster.servers[0]
            result = muster(m1, "rolling-restart", "--plan", "--yes", "--deadline", "60", "--command", self.command(directory))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertIn("24 moves: with roundrobin", result.stdout)
            self.assertIn("24 moves (planned: 24)", result.stdout)
            self.assertEqual(self.order, ["m2", "m3", "m1"])
            until(lambda: self.at_home(cluster, m1), what="all are at home")
            self.nobody_had_a_gap(m1)

    def test_whoever_watches_over_them_starts_them_again(self):
        with Cluster(3) as cluster:
            self.addCleanup(self.ends.set)
            self.begin(cluster, "balanced")

            def supervisor():
                while not self.ends.is_set():
                    for server in cluster.servers:
                        if not server.alive():
                            self.order.append((server.name, server.child.returncode))
                            server.start()
                    time.sleep(0.05)

            thread = threading.Thread(target=supervisor)
            thread.start()
            self.addCleanup(thread.join, 60)
            m2 = cluster.servers[1]
            result = muster(m2, "rolling-restart", "--deadline", "60", "--json")
            self.ends.set()
            thread.join(60)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            said = json.loads(result.stdout)
            self.assertEqual([s["moved"] for s in said["steps"]], [4, 6, 6])
            self.assertEqual((said["home"], said["moves"], said["withoutlink"]), (4, 20, 0))
            self.assertEqual(self.order, [("m1", 0), ("m3", 0), ("m2", 0)])
            until(lambda: self.at_home(cluster, m2), what="all are at home")
            self.nobody_had_a_gap(m2)

    def test_who_went_elsewhere_is_sent_on(self):
        """A server dies while another one is empty: its agents don't come back by themselves, for moves are frozen."""
        with Cluster(3) as cluster:
            self.addCleanup(self.ends.set)
            directory = self.begin(cluster, "balanced")
            m1, m2, m3 = cluster.servers
            result = muster(m1, "rolling-restart", "--deadline", "60", "--command", "exit 3")
            self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
            m3.kill()
            until(lambda: set(cluster.connected().values()) == {m1.address}, what="all are on m1")
            m3.start()
            until(lambda: m3.ready() and all(s["state"] == "Up" for s in m1.api("getMusterStatus")["musterstatus"]["servers"]
                                             if s["name"] == "m3"), what="m3 is back")
            result = muster(m1, "rolling-restart", "--deadline", "60", "--command", self.command(directory))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertIn("  6 agents went to other servers than planned, and are sent on", result.stdout)
            self.assertEqual(self.order, ["m2", "m3", "m1"])
            until(lambda: self.at_home(cluster, m2), what="all are at home")
            self.are_spread(cluster, [4, 4, 4])
            until(lambda: "FROZEN" not in muster(m2, "status").stdout, what="m2 has thawed")

    def test_stops_and_is_aborted(self):
        with Cluster(3) as cluster:
            self.addCleanup(self.ends.set)
            self.begin(cluster, "balanced")
            m1, m2, m3 = cluster.servers
            result = muster(m1, "rolling-restart", "--deadline", "60", "--command", "exit 3")
            self.assertEqual(result.returncode, 1)
            self.assertIn("the command ended with 3 for m2", result.stderr)
            # It is empty, and nobody restarts it. The second one that is called takes over.
            first = subprocess.Popen([program("muster"), "--socket", m3.socket, "rolling-restart", "--deadline", "60", "--wait"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertIn("Restart m2 now", first.stderr.readline())
            result = muster(m1, "rolling-restart", "--deadline", "2", "--wait")
            self.assertIn("it has been taken over by local", first.communicate(timeout=60)[1])
            self.assertEqual(first.returncode, 1)
            self.assertEqual(result.returncode, 1)
            self.assertIn("Restart m2 now: it is empty.", result.stderr)
            self.assertIn("for 2 s now: m2 has not been restarted", result.stderr)
            # The list changes meanwhile.
            cluster.config("host", ",".join(cluster.addresses()[::-1]))
            result = muster(m3, "rolling-restart", "--deadline", "60", "--command", "exit 4")
            self.assertEqual(result.returncode, 1)
            self.assertIn("The list of servers was", result.stderr)
            self.assertIn("The list of servers was", muster(m3, "status").stdout)
            result = muster(m3, "rolling-restart", "--abort")
            self.assertEqual(result.returncode, 0, result.stderr)
            until(lambda: self.at_home(cluster, m1), what="all are at home")
            until(lambda: {s["state"] for s in m1.api("listManagementServers")["managementserver"]} == {"Up"}, what="all servers are Up")
            until(lambda: "FROZEN" not in muster(m1, "status").stdout, what="m1 has thawed")
            result = muster(m3, "rolling-restart", "--abort")
            self.assertEqual(result.returncode, 1)
            self.assertIn("No rolling restart is under way", result.stderr)
            self.nobody_had_a_gap(m1)


if __name__ == "__main__":
    unittest.main()
