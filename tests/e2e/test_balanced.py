"""balanced with many agents on real servers: even now and after failures, and nobody moves who need not."""
import collections
import os
import unittest

from harness import Cluster, Process, program, until

AGENTS = 100
SERVERS = 5


class Fleet(Process):
    """Real agents, all in one process."""

    def __init__(self, cluster, token):
        super().__init__("fleet", cluster.dir, [
            program("muster-bench"), "--dir", os.path.join(cluster.dir, "fleet"), "--token", token, "--agents", str(AGENTS),
            "--ramp", "100", "--source", cluster.net + ".0/24"])
        cluster.others.append(self)


class Balanced(unittest.TestCase):
    def placement(self, cluster):
        return cluster.up()[0].api("listPlacement")

    def on(self, cluster):
        """Who is connected where: by host."""
        return {h["name"]: h["on"] for h in self.placement(cluster).get("hosts", []) if "on" in h}

    def are_at_home(self, cluster):
        """All are connected to the first entry of the list that they should have, and have confirmed it."""
        hosts = self.placement(cluster).get("hosts", [])
        return len(hosts) == AGENTS and all(h.get("on") == h["list"][0] and "confirmed" not in h for h in hosts)

    def settle(self, cluster, what):
        until(lambda: self.are_at_home(cluster), seconds=120, what=what)

    def check_spread(self, cluster, dead, bound):
        """
        Followed as they are, the lists leave the survivors even, and so are the connections: on a machine that is busy with other
        tests some agents are first served by an entry behind the right one, and move on with their next look (docs/failover.md,
        "Even after failures").
        """
        dead = [s.address for s in dead]
        lists = {h["name"]: h["list"] for h in self.placement(cluster)["hosts"]}
        expected = {name: next(entry for entry in entries if entry not in dead) for name, entries in lists.items()}
        counts = collections.Counter(expected.values())
        self.assertEqual(len(counts), SERVERS - len(dead))
        self.assertLessEqual(max(counts.values()) - min(counts.values()), bound, counts)
        until(lambda: self.on(cluster) == expected, seconds=240, what=f"everybody is where the list says, without {dead}")
        on = collections.Counter(self.on(cluster).values())
        self.assertLessEqual(max(on.values()) - min(on.values()), bound, on)

    def test_failures(self):
        with Cluster(SERVERS) as cluster:
            cluster.start_servers()
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.check.interval", "2")
            cluster.config("agent.failback.rate", "1000")
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            Fleet(cluster, cluster.token(uses=AGENTS)).start()
            self.settle(cluster, "all are at home under roundrobin")
            before = self.on(cluster)
            # Other lists, and nobody moves.
            cluster.config("indirect.agent.lb.algorithm", "balanced")
            self.settle(cluster, "all have their lists under balanced")
            self.assertEqual(self.on(cluster), before)
            self.check_spread(cluster, [], 0)
            second = cluster.servers[1]
            second.kill()
            self.check_spread(cluster, [second], 1)
            second.start()
            self.settle(cluster, "all are at home again")
            self.assertEqual(self.on(cluster), before)
            both = [cluster.servers[3], cluster.servers[4]]
            for server in both:
                server.kill()
            self.check_spread(cluster, both, 2)


if __name__ == "__main__":
    unittest.main()
