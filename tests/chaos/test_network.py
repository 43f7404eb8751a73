"""Machines that can't hear each other: every server and the agents in a network namespace each, nftables between them."""
import random
import unittest

from chaos import DEADLINE, ChaosCluster, Watch, need_network, only_in_full, pause, until

TCP = "tcp dport != 0"  # every TCP packet; ARP and ICMP pass as on a firewalled network


class Cut(unittest.TestCase):
    def setUp(self):
        need_network(self)

    def cut(self, incoming, outgoing, interval=1, agents=5):
        """m1 loses the network in the way named; everybody leaves it; it comes back; everybody is home."""
        with ChaosCluster(3, network=True) as cluster:
            cluster.begin(agents, interval=interval)
            m1 = cluster.servers[0]
            self.assertTrue(cluster.agents_on(m1))
            with Watch(cluster) as seen:
                cluster.network.rules("m1", incoming, outgoing)
                until(lambda: cluster.agents_left(m1), DEADLINE, "everybody has left the server that can't be reached")
                for agent in cluster.agents:
                    self.assertTrue(agent.alive())
                cluster.network.rules("m1")
                cluster.settle()
            seen.only("Up")  # everybody found a server within agent.reconnect.grace

    def test_blackhole(self):
        """A firewall that drops everything, both ways."""
        self.cut(TCP + " drop", TCP + " drop")

    @only_in_full
    def test_server_is_deaf(self):
        self.cut(TCP + " drop", None)

    @only_in_full
    def test_server_is_mute(self):
        self.cut(None, TCP + " drop")

    @only_in_full
    def test_refused(self):
        """A firewall that answers with a reset."""
        self.cut(TCP + " reject with tcp reset", None)

    @only_in_full
    def test_agents_cut_off(self):
        """The agents' own network is gone, each way and both ways: they come back to where they belong."""
        with ChaosCluster(3, network=True) as cluster:
            cluster.begin(5)
            for incoming, outgoing in (("drop", "drop"), (TCP + " drop", None), (None, TCP + " drop")):
                cluster.network.rules("agents", incoming, outgoing)
                until(lambda: not any(a.link() for a in cluster.agents), DEADLINE, "all agents have noticed")
                pause(3)
                cluster.network.rules("agents")
                cluster.settle()

    @only_in_full
    def test_servers_apart(self):
        """Servers don't hear each other, agents hear all of them: the store is enough to agree on a change."""
        with ChaosCluster(3, network=True) as cluster:
            cluster.begin(5)
            others = ", ".join(cluster.addresses()[1:])
            with Watch(cluster) as seen:
                cluster.network.rules("m1", f"ip saddr {{ {others} }} drop", f"ip daddr {{ {others} }} drop")
                until(lambda: any(v["view"] != "up" for s in cluster.status(cluster.servers[1])["servers"] for v in s["views"]),
                      DEADLINE, "the servers notice")
                cluster.config("indirect.agent.lb.algorithm", "static", cluster.servers[2])
                cluster.config("indirect.agent.lb.algorithm", "roundrobin", cluster.servers[0])
                pause(8)
                cluster.network.rules("m1")
                cluster.settle()
            seen.only("Up")

    @only_in_full
    def test_cut_is_shorter_than_patience(self):
        """Cuts of a second or two again and again: whoever moved is home at the end."""
        with ChaosCluster(3, network=True) as cluster:
            cluster.begin(5)
            chance = random.Random(2)
            with Watch(cluster):
                for _ in range(15):
                    name = chance.choice(["m1", "m2", "m3", "agents"])
                    cluster.network.rules(name, "drop", "drop")
                    pause(chance.uniform(0.3, 3))
                    cluster.network.rules(name)
                    pause(chance.uniform(0, 1))
                cluster.settle()


class Loss(unittest.TestCase):
    def setUp(self):
        need_network(self)

    def lose(self, percent, seconds):
        with ChaosCluster(3, network=True) as cluster:
            cluster.begin(5)
            rule = f"numgen random mod 100 < {percent} drop"
            with Watch(cluster):
                for name in cluster.network.machines:
                    cluster.network.rules(name, rule, None)
                pause(seconds)
                cluster.servers[1].kill()
                until(lambda: cluster.agents_left(cluster.servers[1]), DEADLINE, "everybody has left the dead server")
                cluster.servers[1].start()
                until(cluster.servers[1].ready, DEADLINE, "it is back")
                if percent <= 5:
                    cluster.settle(commands=False)  # also while packets are lost
                for name in cluster.network.machines:
                    cluster.network.rules(name)
                cluster.settle()

    def test_loss(self):
        """One packet of twenty is lost."""
        self.lose(5, 3)

    @only_in_full
    def test_much_loss(self):
        """One packet of five is lost."""
        self.lose(20, 30)


if __name__ == "__main__":
    unittest.main()
