"""Session tickets on real processes: agents that come from one server to the other resume their TLS sessions."""
import signal
import unittest

from harness import Cluster, until


class Tickets(unittest.TestCase):
    def counts(self, server):
        """As the server itself counts: full handshakes, resumed ones."""
        own = next(s for s in server.api("getMusterStatus")["musterstatus"]["servers"] if "fullhandshakes" in s)
        return own["fullhandshakes"], own["resumedhandshakes"]

    def test_agents_of_a_dead_server_resume(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.list_all()
            cluster.add_agents(4)
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m1.address}, what="all are on m1")
            self.assertGreaterEqual(sum(self.counts(m1)), 4)
            before = self.counts(m2)

            m1.kill()
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m2.address}, what="all are on m2")
            full, resumed = self.counts(m2)
            self.assertEqual(full, before[0])
            self.assertGreaterEqual(resumed, before[1] + 4)
            self.assertIn("TLS1.3 resumed", m2.log())
            for agent in cluster.agents:
                self.assertIn("TLS1.3 resumed", agent.log())

    def test_a_host_that_was_deleted_does_not_resume(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.list_all()
            cluster.add_agents(2)
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m1.address}, what="all are on m1")
            gone = cluster.agents[1]
            # It holds a good ticket and hears of nothing: it is stopped while its certificate is revoked.
            gone.kill(signal.SIGSTOP)
            m1.kill()
            m2.api("deleteHost", id=cluster.hosts(m2)["H2"]["id"], forced="true")
            gone.kill(signal.SIGCONT)
            until(lambda: "revoked" in m2.log(), what="m2 refuses the certificate")
            self.assertNotIn("H2", cluster.hosts(m2))

    def test_without_tickets(self):
        with Cluster(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.config("agent.ssl.ticket.key.lifetime", "0")
            cluster.list_all()
            until(lambda: not next(s for s in m1.api("getMusterStatus")["musterstatus"]["servers"]
                                   if "fullhandshakes" in s)["tickets"], what="tickets are off")
            cluster.add_agents(2)
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m1.address}, what="all are on m1")
            m1.kill()
            until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m2.address}, what="all are on m2")
            self.assertEqual(self.counts(m2)[1], 0)


if __name__ == "__main__":
    unittest.main()
