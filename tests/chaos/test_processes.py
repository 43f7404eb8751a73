"""Servers that end, are killed, hang, come back, or can't read their store; a listener that only pretends to be one."""
import contextlib
import hashlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from chaos import (DEADLINE, PORT, ApiError, ChaosCluster, LinkWatch, Watch, harness, has_command, only_in_full, pause, skip,
                   until)


class BlackHole(threading.Thread):
    """Accepts every connection, reads, and never says a word."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.listener = socket.create_server((address, PORT))
        self.taken = []

    def run(self):
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            connection.close()


class Processes(unittest.TestCase):
    def test_exit_and_kill(self):
        """A server exits, another is killed, together and one after the other; everybody is served and comes home."""
        with ChaosCluster(3) as cluster:
            cluster.begin(6)
            m1, m2, m3 = cluster.servers
            with Watch(cluster):
                for victims, signo in (([m1], signal.SIGTERM), ([m2], signal.SIGKILL), ([m1, m3], signal.SIGKILL)):
                    for victim in victims:
                        victim.kill(signo)
                    for victim in victims:
                        until(lambda v=victim: cluster.agents_left(v), DEADLINE, f"everybody has left {victim.name}")
                    cluster.settle(home=False)
                    for victim in victims:
                        victim.start()
                    for victim in victims:
                        until(victim.ready, DEADLINE, f"{victim.name} is back")
                    cluster.settle()

    def test_exit_code(self):
        """SIGTERM ends a server with agents on it cleanly."""
        with ChaosCluster(2) as cluster:
            cluster.begin(2)
            cluster.servers[0].kill(signal.SIGTERM)
            self.assertEqual(cluster.servers[0].child.returncode, 0)
            cluster.settle(home=False)

    def freeze(self, cluster, victim, how_long):
        with Watch(cluster):
            victim.freeze()
            until(lambda: cluster.agents_left(victim), DEADLINE, "everybody has left the frozen server")
            pause(how_long)
            victim.thaw()
            # Nobody goes home yet (interval 0): what the server still believed to have must be gone.
            cluster.settle(home=False)
            for agent in cluster.agents:
                self.assertNotEqual(agent.explain()["connected"], victim.address)
            cluster.config("indirect.agent.lb.check.interval", "1")
            cluster.settle()

    def test_freeze(self):
        """A server hangs (SIGSTOP) while its kernel answers: agents leave, and after SIGCONT nobody is owned twice."""
        with ChaosCluster(3) as cluster:
            cluster.begin(5, interval=0)
            self.freeze(cluster, cluster.servers[0], 0)

    @only_in_full
    def test_long_freeze(self):
        """Frozen until it is Down and longer than any time-out, then again, another one."""
        with ChaosCluster(3) as cluster:
            cluster.begin(6, interval=0)
            self.freeze(cluster, cluster.servers[1], 45)
            cluster.config("indirect.agent.lb.check.interval", "0")
            cluster.settle()
            self.freeze(cluster, cluster.servers[2], 8)

    @only_in_full
    def test_short_freezes(self):
        """Pauses that are too short to leave for: nobody is lost, everybody is home at the end."""
        with ChaosCluster(3) as cluster:
            cluster.begin(6)
            chance = random.Random(1)
            with Watch(cluster):
                for _ in range(20):
                    victim = chance.choice(cluster.servers)
                    victim.freeze()
                    pause(chance.uniform(0.2, 4))
                    victim.thaw()
                    pause(chance.uniform(0, 1))
                cluster.settle()

    @only_in_full
    def test_frozen_agents(self):
        """Agents that hang come back to one link each, on their preferred server."""
        with ChaosCluster(3) as cluster:
            cluster.begin(6)
            for how_long in (3, 15):
                for agent in cluster.agents[::2]:
                    agent.child.send_signal(signal.SIGSTOP)
                pause(how_long)
                cluster.servers[0].kill()
                for agent in cluster.agents[::2]:
                    agent.child.send_signal(signal.SIGCONT)
                cluster.settle(home=False)
                cluster.servers[0].start()
                cluster.settle()

    def rolling(self, cluster, signo):
        with Watch(cluster) as seen:
            for server in cluster.servers:
                server.kill(signo)
                server.start()
                until(server.ready, DEADLINE, f"{server.name} is back")
                until(cluster.all_up, DEADLINE, "all hosts are up")
            cluster.settle()
        seen.only("Up")

    def planned_moves(self, cluster):
        """New lists and rebalancing send everybody to and fro; nobody is without a link while that lasts."""
        with Watch(cluster) as seen, LinkWatch(cluster):
            for algorithm in ("static", "roundrobin"):
                cluster.config("indirect.agent.lb.algorithm", algorithm)
                cluster.settle(spread=False)
            cluster.config("host", ",".join(reversed(cluster.addresses())))
            cluster.settle()
            # Nobody looks for home any more; rebalancing sends them there all the same.
            cluster.config("indirect.agent.lb.check.interval", "0")
            cluster.config("host", ",".join(cluster.addresses()))
            until(lambda: not any(h["musteroutdated"] for h in cluster.hosts().values()), DEADLINE, "everybody has the new list")
            cluster.servers[1].api("rebalanceHosts")
            cluster.settle()
            cluster.config("indirect.agent.lb.check.interval", "1")
        seen.only("Up")

    def test_planned_moves(self):
        with ChaosCluster(3) as cluster:
            cluster.begin(6)
            self.planned_moves(cluster)

    def command(self, server, *words):
        done = subprocess.run([harness.program("muster"), "--socket", server.socket, *words], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def drained(self, cluster):
        """Each server is drained, restarted and taken into use again: there is no moment without a link in all of it."""
        with Watch(cluster) as seen, LinkWatch(cluster):
            for server in cluster.servers:
                other = next(s for s in cluster.servers if s is not server)
                self.command(other, "drain", server.name)
                until(lambda s=server: cluster.agents_left(s), DEADLINE, f"nobody is left on {server.name}")
                server.kill(signal.SIGTERM)
                server.start()
                until(server.ready, DEADLINE, f"{server.name} is back")
                self.command(other, "undrain", server.name)
                cluster.settle()
        seen.only("Up")

    def test_drained_restart(self):
        if not has_command("drain"):
            skip(self, "`muster drain` does not exist yet")
        with ChaosCluster(3) as cluster:
            cluster.begin(6)
            self.drained(cluster)

    def test_rolling_restart(self):
        """All servers one after the other with failback on: at the end everybody is at home and evenly spread."""
        with ChaosCluster(3) as cluster:
            cluster.begin(7)
            self.rolling(cluster, signal.SIGTERM)

    @only_in_full
    def test_many_agents(self):
        """Forty agents: planned moves, and restarts of all servers, kindly and not, after which everybody goes home."""
        with ChaosCluster(3) as cluster:
            cluster.begin(40)
            self.planned_moves(cluster)
            for signo in (signal.SIGTERM, signal.SIGKILL):
                with Watch(cluster) as seen:
                    for server in cluster.servers:
                        server.kill(signo)
                        until(lambda s=server: cluster.agents_left(s), DEADLINE, f"everybody has left {server.name}")
                        # The way home is a planned move, and the only one from here on.
                        with LinkWatch(cluster):
                            server.start()
                            until(server.ready, DEADLINE, f"{server.name} is back")
                            cluster.settle(commands=False)
                    cluster.settle()
                seen.only("Up")
            if has_command("drain"):
                self.drained(cluster)
            else:
                print("SKIPPED: forty agents through drained restarts: `muster drain` does not exist yet", flush=True)

    @only_in_full
    def test_rolling_restarts_in_haste(self):
        """Again and again, also by kill, and without waiting for the agents."""
        with ChaosCluster(3) as cluster:
            cluster.begin(10)
            self.rolling(cluster, signal.SIGKILL)
            self.rolling(cluster, signal.SIGTERM)
            with Watch(cluster):
                for round_ in range(9):
                    server = cluster.servers[round_ % 3]
                    server.kill(signal.SIGTERM if round_ % 2 else signal.SIGKILL)
                    server.start()
                    until(server.ready, DEADLINE, f"{server.name} is back")
                cluster.settle()

    def black_hole(self, handshake_s, attempts):
        with ChaosCluster(2) as cluster, BlackHole(f"{cluster.net}.100") as hole:
            cluster.begin(1)
            cluster.add_agents(2, f"ssl.handshake.timeout={handshake_s}")
            # All on one server, so that there is no better one to go to while the preferred one is a black hole.
            cluster.config("indirect.agent.lb.algorithm", "static")
            cluster.settle(spread=False)
            until(lambda: all(a.link() for a in cluster.agents[1:]), DEADLINE, "links that were left are closed")
            before = {a.name: (a.link(), a.explain()["links"]) for a in cluster.agents[1:]}
            cluster.config("host", ",".join([f"{cluster.net}.100", *cluster.addresses()]))
            until(lambda: len(hole.taken) >= attempts, DEADLINE * 2, "the agents have tried the black hole often enough")
            for agent in cluster.agents[1:]:
                self.assertEqual((agent.link(), agent.explain()["links"]), before[agent.name], "the working link is untouched")
            # A server dies while the preferred one is a black hole: the dead entry delays, it does not hold.
            cluster.servers[0].kill()
            until(lambda: cluster.agents_left(cluster.servers[0]), DEADLINE, "everybody is on the server that is left")
            cluster.settle(home=False)
            cluster.servers[0].start()
            until(cluster.servers[0].ready, DEADLINE, "the dead server is back")
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.settle()

    def test_black_hole(self):
        """The preferred server accepts TCP and never answers TLS: it costs nobody the link that works."""
        self.black_hole(1, 6)

    @only_in_full
    def test_black_hole_with_ordinary_time_out(self):
        self.black_hole(10, 9)

    def test_damaged_store(self):
        """Servers refuse to start on a damaged store and leave it as it is; with the backup everything is as before."""
        with ChaosCluster(2) as cluster:
            cluster.begin(3)
            lists = {n: h["musterlist"] for n, h in cluster.hosts().items()}
            store, backup = os.path.join(cluster.dir, "muster.db"), os.path.join(cluster.dir, "backup")
            for server in cluster.servers:
                server.kill(signal.SIGTERM)
            os.makedirs(backup)
            for name in os.listdir(cluster.dir):
                if name.startswith("muster.db"):
                    shutil.copy(os.path.join(cluster.dir, name), backup)
            size = os.path.getsize(store)
            for what, at, n in (("header", 0, 100), ("first page", 100, 3000), ("middle", size // 2 // 4096 * 4096, 4096)):
                with open(store, "r+b") as f:
                    f.seek(at)
                    f.write(random.Random(what).randbytes(n))
                with open(store, "rb") as f:
                    before = hashlib.sha256(f.read()).digest()
                server = cluster.servers[0].start()
                until(lambda s=server: not s.alive(), DEADLINE, f"a server refuses a store with a damaged {what}")
                self.assertNotEqual(server.child.returncode, 0)
                self.assertIn("damaged", server.log()[-2000:], what)
                with open(store, "rb") as f:
                    self.assertEqual(hashlib.sha256(f.read()).digest(), before, "the damaged store was touched")
                for name in os.listdir(backup):
                    shutil.copy(os.path.join(backup, name), cluster.dir)
            for agent in cluster.agents:
                self.assertTrue(agent.alive())
            cluster.start_servers()
            cluster.settle()
            self.assertEqual({n: h["musterlist"] for n, h in cluster.hosts().items()}, lists)

    @only_in_full
    def test_home_after_a_long_absence(self):
        """Agents that were told to avoid a server come home soon after it is back, not with their next ping."""
        with ChaosCluster(3) as cluster:
            cluster.begin(6, ping=40)
            cluster.servers[0].kill()
            until(lambda: all(cluster.servers[0].address in a.explain()["avoid"] for a in cluster.agents), DEADLINE,
                  "everybody has been told to avoid the dead server")
            cluster.servers[0].start()
            until(cluster.servers[0].ready, DEADLINE, "it is back")
            cluster.settle(25)  # interval + 10 s (decision 29), and what a busy machine needs

    @only_in_full
    def test_any_order(self):
        """Random kills, freezes and restarts of servers and agents for a minute, with changes in between."""
        seed = int(os.environ.get("MUSTER_SEED", random.randrange(1 << 30)))
        print(f"MUSTER_SEED={seed}", flush=True)
        chance = random.Random(seed)
        with ChaosCluster(3) as cluster:
            cluster.begin(8)
            end = time.monotonic() + 60
            while time.monotonic() < end:
                victim = chance.choice(cluster.servers + cluster.agents)
                if not victim.alive():
                    victim.start()
                elif victim in cluster.frozen:
                    victim.thaw()
                elif victim in cluster.servers and chance.random() < 0.3:
                    victim.freeze()
                else:
                    victim.kill(chance.choice([signal.SIGKILL, signal.SIGTERM]))
                if cluster.up() and chance.random() < 0.2:
                    # A frozen server may hold the store's lock: then a change is refused by name.
                    with contextlib.suppress(ApiError, OSError, http.client.HTTPException):
                        cluster.config("indirect.agent.lb.algorithm", chance.choice(["static", "roundrobin", "shuffle"]))
                pause(chance.uniform(0, 2))
            for server in list(cluster.frozen):
                server.thaw()
            for process in cluster.servers + cluster.agents:
                if not process.alive():
                    process.start()
            for server in cluster.servers:
                until(server.ready, DEADLINE, f"{server.name} is ready")
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.settle()


if __name__ == "__main__":
    unittest.main()
