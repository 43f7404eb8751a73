"""A management server is emptied on real processes: nobody is ever without a link, no command is lost, all come home."""
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from harness import Cluster, Server, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program  # noqa: E402


def muster(server, *words):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True, timeout=120,
                          check=False)


class Watcher:
    """Looks at all hosts all the time, and has their agents check their health: what it sees must never be a gap."""

    def __init__(self, cluster, at):
        self.cluster, self.at, self.seen, self.jobs = cluster, at, set(), []
        self.ends, self.problem = threading.Event(), None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.ends.is_set():
                hosts = self.cluster.hosts(self.at)
                self.seen.update(h["state"] for h in hosts.values())
                for host in hosts.values():
                    if len(self.jobs) < 200:
                        self.jobs.append(self.at.api("checkHost", id=host["id"])["jobid"])
                time.sleep(0.2)
        except Exception as problem:  # shown by the test
            self.problem = problem

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join(60)

    def results(self):
        return [self.at.api("queryAsyncJobResult", jobid=j) for j in self.jobs]


class Drain(unittest.TestCase):
    def at_home(self, cluster):
        hosts = cluster.hosts(cluster.servers[1])
        return len(hosts) == 12 and all(h["state"] == "Up" and h.get("musterconnected") == h["musterlist"][0]
                                        for h in hosts.values())

    def slow_health(self, cluster):
        script = os.path.join(cluster.dir, "health")
        with open(script, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nsleep 1\n")
        os.chmod(script, 0o755)
        for agent in cluster.agents:
            agent.kill(signal.SIGTERM)
            with open(agent.properties, "a", encoding="ascii") as f:
                f.write(f"agent.health.check.script.path={script}\n")
            agent.start()

    def test_drain_and_undrain(self):
        with Cluster(3) as cluster:
            cluster.start_servers()
            m1, m2, _ = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("indirect.agent.lb.check.interval", "2")
            cluster.add_agents(12)
            self.slow_health(cluster)
            until(lambda: self.at_home(cluster), what="all at home")
            with Watcher(cluster, m2) as watcher:
                until(lambda: len(watcher.jobs) >= 12, what="commands are under way")
                result = muster(m2, "drain", "m1")
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                self.assertIn("m1 is in maintenance; 4 agents moved.", result.stdout)
                self.assertNotIn("Not moved", result.stdout)
                until(lambda: m1.address not in cluster.connected().values(), what="m1 has read it, too")
                self.assertIn("Maintenance", muster(m2, "servers").stdout)
                # It is not a place to go to, though four agents prefer it and look every 2 seconds.
                end = time.monotonic() + 5
                until(lambda: time.monotonic() > end or m1.address in cluster.connected().values(), what="time passes")
                self.assertNotIn(m1.address, cluster.connected().values())
                # It is restarted, and is still in maintenance.
                m1.kill(signal.SIGTERM)
                self.assertEqual(m1.child.returncode, 0)
                m1.start()
                until(m1.ready, what="m1 is back")
                self.assertEqual(muster(m2, "undrain", "m1").returncode, 0)
                until(lambda: self.at_home(cluster), what="all are at home again")
                until(lambda: len(watcher.jobs) >= 200 or watcher.problem, what="enough commands were given")
            self.assertIsNone(watcher.problem)
            self.assertLessEqual(watcher.seen, {"Up", "Connecting"})
            until(lambda: all(r["jobstatus"] for r in watcher.results()), what="all commands have ended")
            failed = [r for r in watcher.results() if r["jobstatus"] != 1]
            self.assertEqual(failed, [])
            events = [e["type"] for e in m2.api("listEvents", pagesize=500, page=1)["event"]]
            self.assertNotIn("AGENT.DISCONNECTED", events)
            self.assertIn("MS.MAINTENANCE.PREPARE", events)
            self.assertIn("MS.MAINTENANCE.CANCEL", events)

    def test_the_last_server_and_strange_names(self):
        with Cluster(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            result = muster(m1, "drain", "m1")
            self.assertEqual(result.returncode, 1)
            self.assertIn("is the last one that is Up", result.stderr)
            result = muster(m1, "drain", "m9")
            self.assertEqual(result.returncode, 1)
            self.assertIn("there is no management server m9", result.stderr)

    def test_trigger_shutdown(self):
        """triggerShutdown through another server: its agents move, it ends with 0 and is Down."""
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.list_all()
            cluster.add_agents(3)
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m1.address}, what="all on m1")
            uuid = next(s["id"] for s in m2.api("listManagementServers")["managementserver"] if s["name"] == "m1")
            self.assertTrue(m2.api("triggerShutdown", managementserverid=uuid)["triggershutdown"]["shutdowntriggered"])
            until(lambda: not m1.alive(), what="m1 has ended")
            self.assertEqual(m1.child.returncode, 0)
            # It ended because the store says that they are elsewhere; m2 reads that a moment later.
            until(lambda: {(h["state"], h.get("musterconnected")) for h in cluster.hosts(m2).values()} == {("Up", m2.address)},
                  what="all are Up on m2")
            until(lambda: next(s for s in m2.api("listManagementServers")["managementserver"]
                               if s["name"] == "m1")["state"] == "Down", what="m1 is Down")

    def test_reference_agents(self):
        """Agents that try only the first candidate, with a dead server before the one that takes them."""
        with Cluster(3) as cluster:
            cluster.start_servers()
            m1, m2, m3 = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("ca.plugin.root.auth.strictness", "false")
            until(lambda: all(s.api("getMusterStatus")["musterstatus"]["strictness"] is False for s in cluster.servers),
                  what="all servers know")
            agents = []
            try:
                for number in (1, 2):
                    directory = os.path.join(cluster.dir, f"K{number}")
                    os.makedirs(directory)
                    agents.append(Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"),
                                          "--name", f"K{number}", "--guid", f"00000000-0000-3000-8000-00000000000{number}",
                                          "--port", 8250, "--source-address", f"{cluster.net}.{100 + number}",
                                          "--time-scale", 0.05, "--no-keystore", "--hosts", m1.address))
                    until(lambda n=number: cluster.hosts().get(f"K{n}", {}).get("state") == "Up", what="it is Up")
                until(lambda: set(cluster.connected().values()) == {m1.address}, what="all are on m1")
                m2.kill()  # the second of the list, and nobody knows yet
                result = muster(m3, "drain", "m1", "--timeout", "90")
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                until(lambda: all((h["state"], h.get("musterconnected")) == ("Up", m3.address) for h in cluster.hosts(m3).values()),
                      what="all are Up on m3")
                for agent in agents:  # still alive; none has exited over it
                    self.assertIsNone(agent.find("exit"))
            finally:
                for agent in agents:
                    agent.end()

    def test_names(self):
        """`host` has names, the servers advertise addresses: avoid lists match all the same."""
        with Cluster(0) as cluster:
            m1 = Server(cluster, 1, address="127.0.0.1", port=18250 + os.getpid() % 1000)
            m2 = Server(cluster, 2, port=18250 + os.getpid() % 1000)
            cluster.servers = [m1, m2]
            cluster.start_servers()
            cluster.config("host", f"localhost:{m1.port},{m2.address}:{m2.port}")
            uuid = next(s["id"] for s in m2.api("listManagementServers")["managementserver"] if s["name"] == "m1")
            m2.api("prepareForMaintenance", managementserverid=uuid)
            until(lambda: "servers to avoid changed" in m2.log(), what="m2 knows whom to avoid")
            self.assertIn(f"avoid=localhost:{m1.port}", m2.log())


if __name__ == "__main__":
    unittest.main()
