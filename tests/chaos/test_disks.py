"""Full disks: under the store of all servers, and under an agent's folder."""
import os
import unittest

from chaos import DEADLINE, ApiError, ChaosCluster, Watch, need_mounts, until


class FullDisk(unittest.TestCase):
    def setUp(self):
        need_mounts(self)

    def store_says(self, cluster, ok):
        return all(cluster.status(s)["store"]["ok"] == ok for s in cluster.up())

    def test_store(self):
        """No room for the store: links are kept, servers say so, changes are refused by name; room: everything works."""
        with ChaosCluster(2) as cluster:
            folder = os.path.join(cluster.dir, "disk")
            os.makedirs(folder)
            disk = cluster.disk(folder, 8 << 20)
            for server in cluster.servers:
                server.argv = [*disk.prefix(), *server.argv, "--set", f"store={folder}/muster.db"]
            cluster.begin(4)
            links = {a.name: a.link() for a in cluster.agents}
            version = cluster.status()["configversion"]
            with Watch(cluster):
                disk.fill()

                def said():
                    disk.fill()  # a checkpoint may have made a little room
                    return self.store_says(cluster, False)
                until(said, DEADLINE, "both servers say that their store is failing")
                with self.assertRaises(ApiError):
                    cluster.config("indirect.agent.lb.algorithm", "static")
                self.assertEqual({a.name: a.link() for a in cluster.agents}, links, "a full disk costs nobody the link")
                # A server dies and nobody can write that down: its agents are served all the same.
                cluster.servers[0].kill()
                until(lambda: cluster.agents_left(cluster.servers[0]), DEADLINE, "everybody is on the server that is left")
                disk.empty()
                until(lambda: self.store_says(cluster, True), DEADLINE, "the server says that its store works again")
                cluster.servers[0].start()
                until(cluster.servers[0].ready, DEADLINE, "the dead server is back")
                cluster.settle()
            self.assertEqual(cluster.status()["configversion"], version, "what was refused is not there later")
            cluster.config("indirect.agent.lb.algorithm", "static")
            cluster.settle(spread=False)

    def test_agent(self):
        """No room for agent.properties: the agent keeps its file and its link; room: it takes the new list."""
        with ChaosCluster(2) as cluster:
            cluster.start_servers()
            cluster.list_all()
            cluster.config("indirect.agent.lb.algorithm", "static")
            cluster.add_agents(1)
            folder = os.path.join(cluster.dir, "H2")
            os.makedirs(folder)
            disk = cluster.disk(folder, 256 << 10)
            agent = cluster.agent_on_disk(disk)
            cluster.settle(spread=False)
            with open(agent.properties, "rb") as f:
                before = f.read()
            link = agent.link()
            with Watch(cluster):
                disk.fill()
                cluster.config("host", ",".join(reversed(cluster.addresses())))
                until(lambda: cluster.hosts()["H2"]["musteroutdated"] and not cluster.hosts()["H1"]["musteroutdated"], DEADLINE,
                      "the other agent has its new list, this one is known to be behind")
                until(lambda: "agent.properties" in agent.log() and "no room" in agent.log().lower() or
                      "No space" in agent.log(), DEADLINE, "the agent says why")
                with open(agent.properties, "rb") as f:
                    self.assertEqual(f.read(), before, "the old file is whole")
                self.assertEqual(agent.link(), link, "the link is kept")
                # Its server dies: the old list is good enough.
                server = next(s for s in cluster.servers if s.address == link[1][0])
                server.kill()
                until(lambda: cluster.agents_left(server), DEADLINE, "it finds the other server by its old list")
                server.start()
                until(server.ready, DEADLINE, "the server is back")
                disk.empty()
                cluster.settle(spread=False)
            with open(agent.properties, "rb") as f:
                self.assertNotEqual(f.read(), before)

    def test_store_during_failover(self):
        """The disk of the store is full at the moment in which a server dies: its agents are served all the same."""
        with ChaosCluster(3) as cluster:
            folder = os.path.join(cluster.dir, "disk")
            os.makedirs(folder)
            disk = cluster.disk(folder, 8 << 20)
            for server in cluster.servers:
                server.argv = [*disk.prefix(), *server.argv, "--set", f"store={folder}/muster.db"]
            cluster.begin(6)
            m1, m2, _ = cluster.servers
            with Watch(cluster):
                # Lists change, a server dies, and in between the room is gone: whatever has been written holds.
                cluster.config("indirect.agent.lb.algorithm", "static", m2)
                disk.fill()
                m1.kill()

                def left():
                    disk.fill()
                    return cluster.agents_left(m1)
                until(left, DEADLINE, "everybody has left the dead server")

                def said():
                    disk.fill()
                    return self.store_says(cluster, False)
                until(said, DEADLINE, "the servers say that their store is failing")
                for server in cluster.up():
                    with self.assertRaises(ApiError):
                        cluster.config("indirect.agent.lb.algorithm", "roundrobin", server)
                disk.empty()
                until(lambda: self.store_says(cluster, True), DEADLINE, "the store works again")
                m1.start()
                until(m1.ready, DEADLINE, "the dead server is back")
                cluster.settle(spread=False)  # what was acknowledged is there: all on the first server
                cluster.config("indirect.agent.lb.algorithm", "roundrobin")
                cluster.settle()

    def test_agent_during_failover(self):
        """The agent's disk is full while its server dies and the list changes: it keeps what it had, and finds a server."""
        with ChaosCluster(3) as cluster:
            cluster.start_servers()
            folder = os.path.join(cluster.dir, "H1")
            os.makedirs(folder)
            disk = cluster.disk(folder, 256 << 10)
            agent = cluster.agent_on_disk(disk)
            cluster.begin(2)
            with open(agent.properties, "rb") as f:
                before = f.read()
            home = next(s for s in cluster.servers if s.address == agent.link()[1][0])
            with Watch(cluster):
                disk.fill()
                home.kill()
                cluster.config("host", ",".join(reversed(cluster.addresses())))
                until(lambda: cluster.agents_left(home), DEADLINE, "everybody has left the dead server")
                until(lambda: cluster.hosts()["H1"]["musteroutdated"], DEADLINE, "it is known to be behind")
                with open(agent.properties, "rb") as f:
                    self.assertEqual(f.read(), before, "the old file is whole")
                # Once more, now without any luck: it starts on that disk, with that list.
                agent.kill()
                agent.start()
                until(lambda: agent.explain()["state"] == "up" and agent.link(), DEADLINE, "it has found a server")
                disk.empty()
                home.start()
                until(home.ready, DEADLINE, "the server is back")
                cluster.settle()
            with open(agent.properties, "rb") as f:
                self.assertNotEqual(f.read(), before)


if __name__ == "__main__":
    unittest.main()
