"""The main job on real processes: lists, placements, changes, deaths and returns."""
import os
import random
import signal
import subprocess
import unittest

from harness import Agent, ApiError, Cluster, program, until


class Lists(unittest.TestCase):
    def at_home(self, cluster):
        """Everybody is Up on the first server of its own list, and nobody's list is outdated."""
        hosts = cluster.hosts()
        return len(hosts) == len(cluster.agents) and all(
            h["state"] == "Up" and not h["musteroutdated"] and h.get("musterconnected") == h["musterlist"][0]
            for h in hosts.values())

    def expect_roundrobin(self, cluster):
        hosts = cluster.hosts()
        for number in range(1, len(cluster.agents) + 1):
            self.assertEqual(hosts[f"H{number}"]["musterlist"], cluster.rotated(number - 1), f"H{number}")

    def test_the_example(self):
        """host=M1,M2,M3 with four agents: static, then roundrobin, a death, the return, a host more and one less."""
        with Cluster(3) as cluster:
            cluster.start_servers()
            m1, m2, m3 = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.check.interval", "1", m2)
            cluster.add_agents(4)
            until(lambda: self.at_home(cluster), what="all are on the first server")
            self.assertEqual(set(cluster.connected().values()), {m1.address})
            for agent in cluster.agents:
                until(lambda a=agent: a.property("host") == ",".join(cluster.addresses()) + "@static", what="list is kept")
                self.assertEqual(agent.property("host.lb.check.interval"), "1")

            cluster.config("indirect.agent.lb.algorithm", "roundrobin", m3)
            until(lambda: self.at_home(cluster), what="all are on their preferred servers")
            self.expect_roundrobin(cluster)
            self.assertEqual([cluster.connected()[f"H{n}"] for n in (1, 2, 3, 4)],
                             [m1.address, m2.address, m3.address, m1.address])

            m1.kill()
            until(lambda: cluster.all_up() and m1.address not in cluster.connected().values(),
                  what="the agents of the dead server are elsewhere")
            until(lambda: next(s for s in cluster.status()["servers"] if s["name"] == "m1")["state"] == "Down",
                  what="the dead server is seen")

            m1.start()
            until(m1.ready, what="the server is back")
            until(lambda: self.at_home(cluster), what="the agents are back")
            until(lambda: all(v["view"] == "up" for s in cluster.status()["servers"] for v in s["views"]),
                  what="every server sees every other one")
            self.expect_roundrobin(cluster)

            before = {n: h["musterlist"] for n, h in cluster.hosts().items()}
            cluster.add_agents(1)
            until(lambda: self.at_home(cluster), what="the new agent is on its preferred server")
            self.assertEqual(cluster.hosts()["H5"]["musterlist"], cluster.rotated(4))
            for name, mslist in before.items():
                self.assertEqual(cluster.hosts()[name]["musterlist"], mslist, f"{name} keeps its list")

            cluster.agents[1].kill(signal.SIGTERM)
            cluster.up()[0].api("deleteHost", id=cluster.hosts()["H2"]["id"], forced="true")
            gone = cluster.agents.pop(1)
            until(lambda: self.at_home(cluster), what="the others stay")
            self.assertFalse(gone.alive())
            hosts = cluster.hosts()
            self.assertNotIn("H2", hosts)
            counts = [sum(1 for h in hosts.values() if h["musterlist"][0] == a) for a in cluster.addresses()]
            self.assertLessEqual(max(counts) - min(counts), 1, "one deleted host does not make the fleet uneven")

    def test_everything_killed(self):
        """kill -9 of all servers and agents, twice, then again one at a time in any order: everything converges."""
        with Cluster(3) as cluster:
            cluster.start_servers()
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.check.interval", "1")
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            # Servers go away here several times a minute; an agent would wait 5 before it trusts one again.
            cluster.add_agents(5, "muster.failback.damper=3\n")
            until(lambda: self.at_home(cluster), what="all at home")
            seed = int(os.environ.get("MUSTER_SEED", random.randrange(1 << 30)))
            print(f"MUSTER_SEED={seed}")
            chance = random.Random(seed)
            for _ in range(2):
                everything = cluster.servers + cluster.agents
                chance.shuffle(everything)
                for process in everything:
                    process.kill()
                chance.shuffle(everything)
                for process in everything:
                    process.start()
                for server in cluster.servers:
                    until(server.ready, what=f"{server.name} is ready again")
                until(lambda: self.at_home(cluster), what="all at home again")
                self.expect_roundrobin(cluster)
            for _ in range(3):
                server = chance.choice(cluster.servers)
                server.kill()
                cluster.config("indirect.agent.lb.algorithm", chance.choice(["static", "roundrobin"]))
                server.start()
                until(server.ready, what=f"{server.name} is ready again")
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            until(lambda: self.at_home(cluster), what="all at home after changes during deaths")
            self.expect_roundrobin(cluster)

    def test_a_stop_does_not_flicker(self):
        """A server that is stopped, or killed: its agents are Up elsewhere, and no status in between says otherwise."""
        for signo in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signo.name), Cluster(2) as cluster:
                cluster.start_servers()
                m1, m2 = cluster.servers
                cluster.list_all()
                cluster.add_agents(3)
                until(lambda c=cluster: self.at_home(c), what="all are on the first server")
                seen = set()

                def elsewhere():
                    hosts = cluster.hosts(m2)
                    seen.update(h["state"] for h in hosts.values())
                    return all(h["state"] == "Up" and h.get("musterconnected") == m2.address for h in hosts.values())

                m1.kill(signo)
                until(elsewhere, what="all are on the other server")
                self.assertLessEqual(seen, {"Up", "Connecting"})

    def test_shuffle_and_interval(self):
        """shuffle gives every agent the same set; an operator's own interval stays in force."""
        with Cluster(3) as cluster:
            cluster.start_servers()
            cluster.config("host", ",".join(cluster.addresses()))
            cluster.config("indirect.agent.lb.algorithm", "shuffle")
            cluster.add_agents(4)
            until(lambda: cluster.all_up() and cluster.status()["outdated"] == 0, what="all have a list")
            for host in cluster.hosts().values():
                self.assertEqual(sorted(host["musterlist"]), sorted(cluster.addresses()))
            own = cluster.agents[0]
            own.kill(signal.SIGTERM)
            with open(own.properties, "a", encoding="ascii") as f:
                f.write("# ours\nhost.lb.check.interval=7\n")
            own.start()
            until(cluster.all_up, what="it is back")
            cluster.config("indirect.agent.lb.check.interval", "3")
            until(lambda: cluster.agents[1].property("host.lb.check.interval") == "3", what="the interval has come")
            self.assertEqual(own.property("host.lb.check.interval"), "7")
            cluster.config("indirect.agent.lb.check.interval", "0")
            until(lambda: cluster.agents[1].property("host.lb.check.interval") is None, what="a 0 removes the interval")
            with open(own.properties, encoding="ascii") as f:
                self.assertIn("# ours\nhost.lb.check.interval=7\n", f.read())

    def test_refused_values(self):
        """A value that can't be right is refused with the reason, and nothing changes."""
        rows = [
            ("indirect.agent.lb.algorithm", "roundrobbin", "is not one of"),
            ("indirect.agent.lb.check.interval", "-1", "is not between"),
            ("indirect.agent.lb.check.interval", "soon", "not a whole number"),
            ("host", "", ""),
            ("host", "10.0.0.1,,10.0.0.2", ""),
            ("host", "10.0.0.1,10.0.0.1", ""),
            ("host", "10.0.0.1:99999", ""),
            ("host", "no good", ""),
            ("no.such.key", "1", ""),
        ]
        with Cluster(1) as cluster:
            cluster.start_servers()
            version = cluster.status()["configversion"]
            for name, value, reason in rows:
                with self.assertRaises(ApiError, msg=f"{name}={value}") as caught:
                    cluster.config(name, value)
                self.assertEqual(caught.exception.status, 431, f"{name}={value}")
                self.assertIn(reason, caught.exception.body["errortext"])
            self.assertEqual(cluster.status()["configversion"], version)

    def test_unset_host(self):
        """`host` unset: the registered servers are the list, in the order of their registration."""
        with Cluster(2) as cluster:
            cluster.servers[0].start()
            until(cluster.servers[0].ready, what="first server")
            cluster.servers[1].start()
            until(cluster.servers[1].ready, what="second server")
            cluster.add_agents(1)
            until(lambda: cluster.all_up() and cluster.hosts()["H1"].get("musterlist") == cluster.addresses(),
                  what="both servers are in the list")


class Joining(unittest.TestCase):
    def test_tokens(self):
        """Used, unknown, mistyped and foreign tokens are refused by name, and nothing is written."""
        with Cluster(1) as cluster:
            cluster.start_servers()
            token = cluster.token(uses=1)
            first = Agent(cluster, "H1")
            first.join(token)
            for what, bad in (("used", token), ("mistyped", token[:-3] + ("aaa" if token[-3:] != "aaa" else "bbb")),
                              ("empty", ""), ("rubbish", "x" * 5000)):
                other = Agent(cluster, "H2")
                result = other.join(bad, check=False)
                self.assertNotEqual(result.returncode, 0, what)
                self.assertTrue(result.stderr.strip(), what)
                self.assertFalse(os.path.exists(other.properties), what)
            again = first.join(cluster.token(), check=False)
            self.assertNotEqual(again.returncode, 0, "an agent that has joined is not joined over")


class ServersJoin(unittest.TestCase):
    def test_a_server_joins(self):
        """A second server with a folder of its own: no key is copied by hand, a token brings it."""
        with Cluster(2) as cluster:
            first, second = cluster.servers
            first.start()
            until(first.ready, what="the first server")
            properties = os.path.join(second.dir, "server.properties")
            with open(properties, encoding="ascii") as f:
                text = f.read().replace(f"{cluster.dir}/cluster.key", "own.key")
            with open(properties, "w", encoding="ascii") as f:
                f.write(text)

            def join(token):
                return subprocess.run([program("muster-server"), "join", "-", "--dir", second.dir], input=token,
                                      capture_output=True, text=True, timeout=60, check=False)

            wrong = join(cluster.token())
            self.assertNotEqual(wrong.returncode, 0)
            self.assertIn("for an agent", wrong.stderr)
            token = first.api("createJoinToken", role="server")["jointoken"]["token"]
            joined = join(token)
            self.assertEqual(joined.returncode, 0, joined.stderr)
            self.assertEqual(os.stat(os.path.join(second.dir, "own.key")).st_mode & 0o777, 0o600)
            again = join(token)
            self.assertNotEqual(again.returncode, 0)
            self.assertIn("belongs to a server already", again.stderr)
            second.start()
            until(second.ready, what="the second server")
            until(lambda: all(v["view"] == "up" for s in cluster.status()["servers"] for v in s["views"]), what="they are linked")
            # It can issue, too: the key it was given opens the CA.
            agent = Agent(cluster, "H1")
            agent.join(second.api("createJoinToken", role="agent")["jointoken"]["token"])
            agent.start()
            cluster.agents.append(agent)
            until(cluster.all_up, what="its agent is Up")


if __name__ == "__main__":
    unittest.main()
