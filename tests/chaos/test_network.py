"""Machines that can't hear each other: every server and the agents in a network namespace each, nftables between them.

And slow lines (relay.py), a machine that loses power, and names that stop leading anywhere.
"""
import os
import random
import unittest
from contextlib import closing

from chaos import (ALL, DEADLINE, ChaosCluster, Holder, LinkWatch, Watch, need_mounts, need_network, need_relay, only_in_full, pause,
                   until)

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
                # While it lasts: everybody is served elsewhere as each server sees it, and m1 holds nobody any more.
                until(lambda: self.served_elsewhere(cluster, m1), DEADLINE, "everybody is served by one other server")
                cluster.network.rules("m1")
                cluster.settle()
            seen.only("Up")  # everybody found a server within agent.reconnect.grace

    def served_elsewhere(self, cluster, victim):
        said = {a.name: a.explain()["connected"] for a in cluster.agents}
        seen = [{n: (h["state"], h.get("musterconnected")) for n, h in cluster.hosts(s).items()} for s in cluster.servers]
        return (victim.address not in said.values() and not cluster.stale_trouble()
                and all(view == {n: ("Up", server) for n, server in said.items()} for view in seen))

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


class Delay(unittest.TestCase):
    """All packets between agents and servers take 50 to 300 ms, each way; those of one link stay in order."""

    def setUp(self):
        need_relay(self)

    def nobody_is_suspect(self, cluster):
        for agent in cluster.agents:
            self.assertNotIn("the server is silent", agent.log(), f"{agent.name} took slowness for silence")

    def slow(self, agents, seconds):
        seed = int(os.environ.get("MUSTER_SEED", random.randrange(1 << 30)))
        print(f"MUSTER_SEED={seed}", flush=True)
        with ChaosCluster(3, network=True) as cluster:
            cluster.network.slow("agents", "10.254.0", random.Random(seed), 50, 300)
            cluster.begin(agents)
            links = {a.name: a.link() for a in cluster.agents}
            with Watch(cluster) as seen:
                pause(seconds)
                self.assertEqual({a.name: a.link() for a in cluster.agents}, links, "nobody leaves a slow server")
                self.nobody_is_suspect(cluster)
                # A whole round of moves, planned ones: slowness is no reason to be without a link.
                with LinkWatch(cluster):
                    cluster.config("indirect.agent.lb.algorithm", "static")
                    cluster.settle(spread=False)
                    cluster.config("indirect.agent.lb.algorithm", "roundrobin")
                    cluster.settle()
                self.nobody_is_suspect(cluster)
                cluster.servers[0].kill()
                until(lambda: cluster.agents_left(cluster.servers[0]), DEADLINE, "everybody has left the dead server")
                cluster.servers[0].start()
                until(cluster.servers[0].ready, DEADLINE, "it is back")
                cluster.settle()
            seen.only("Up")

    def test_delay(self):
        self.slow(4, 6)

    @only_in_full
    def test_delay_for_longer(self):
        self.slow(12, 60)


class Power(unittest.TestCase):
    """An agent's machine loses power: nobody hears a goodbye. It comes back with the same guid."""

    def setUp(self):
        need_network(self)

    def lose_power(self, name, number, seconds):
        """Off for so long; then a machine of that name and number again."""
        with ChaosCluster(2, network=True) as cluster:
            cluster.begin(1)
            agent = cluster.join_agent(cluster.token())
            cluster.machine_for(agent, "h2", 201)
            agent.start()
            cluster.settle()
            # Who stays away for longer than agent.reconnect.grace is in Alert, as with the reference.
            with Watch(cluster, ("Up", "Alert")) as seen:
                cluster.power_off(agent)
                if seconds:
                    until(lambda: cluster.hosts()["H2"]["state"] != "Up", DEADLINE, "its absence is noticed")
                    pause(seconds)
                cluster.network.remove("h2", 201)
                cluster.machine_for(agent, name, number)
                agent.start()
                cluster.settle()
            if not seconds:
                seen.only("Up")  # within agent.reconnect.grace
            self.assertEqual(len(cluster.hosts()), 2, "it is the host that it was")

    def test_back_at_once(self):
        """With the address that it had: the kernel there denies all knowledge of the old link."""
        self.lose_power("h2", 201, 0)

    def test_back_with_another_address(self):
        """Nobody answers for the old link any more, which its server still has: the new one is no clone."""
        self.lose_power("h3", 202, 0)

    @only_in_full
    def test_back_much_later(self):
        self.lose_power("h2", 201, 10)


class Names(unittest.TestCase):
    """`host` holds names, and in the middle of it all nobody can resolve them any more."""

    def setUp(self):
        need_mounts(self)

    def test_names_are_gone(self):
        with ChaosCluster(3) as cluster:
            cluster.start_servers()
            hosts, resolv = (os.path.join(cluster.dir, name) for name in ("hosts", "resolv.conf"))
            known = "127.0.0.1 localhost\n"

            def names(text):
                with open(hosts, "w", encoding="ascii") as f:  # the file stays the same one: it is mounted
                    f.write(known + text)
            names("".join(f"{s.address} {s.name}\n" for s in cluster.servers))
            with open(resolv, "w", encoding="ascii") as f:
                f.write(f"nameserver {cluster.net}.250\noptions timeout:1 attempts:1\n")  # nobody is there
            view = cluster.holders.enter_context(
                closing(Holder("mount", f"mount --bind '{hosts}' /etc/hosts; mount --bind '{resolv}' /etc/resolv.conf")))
            token = cluster.token(uses=3)
            for _ in range(3):
                agent = cluster.join_agent(token)
                agent.prefix = view.prefix()
                agent.argv = [*view.prefix(), *agent.argv]
                agent.start()
            cluster.config("host", ",".join(s.name for s in cluster.servers))
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.config("indirect.agent.lb.check.interval", "1")

            def home():
                return all(self.is_on(cluster, a, cluster.servers[n]) for n, a in enumerate(cluster.agents))
            until(home, DEADLINE, "everybody is on the server whose name comes first")
            # An agent remembers the addresses that it has used: who loses its server now knows the next one's.
            victims = cluster.servers if ALL else cluster.servers[:1]
            for victim in victims:
                victim.kill()
                until(lambda v=victim: cluster.agents_left_by_address(v), DEADLINE, f"everybody has left {victim.name}")
                victim.start()
                until(victim.ready, DEADLINE, f"{victim.name} is back")
                until(home, DEADLINE, "everybody is home")
            names("")
            with Watch(cluster) as seen:
                for victim in victims:
                    victim.kill()
                    until(lambda v=victim: cluster.agents_left_by_address(v), DEADLINE, f"everybody has left {victim.name}")
                    victim.start()
                    until(victim.ready, DEADLINE, f"{victim.name} is back")
                    until(home, DEADLINE, "everybody is home, by the addresses that names once led to")
                # An agent that starts while names are gone finds its way as well.
                agent = cluster.agents[0]
                agent.kill()
                agent.start()
                until(home, DEADLINE, "it is home")
            seen.only("Up")

    def is_on(self, cluster, agent, server):
        link = agent.link()
        return link is not None and link[1][0] == server.address and agent.explain()["state"] == "up"


if __name__ == "__main__":
    unittest.main()
