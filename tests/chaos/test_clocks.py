"""Wall clocks that jump, of servers and of agents: no link, no certificate and nothing in the store may depend on it."""
import datetime
import re
import time
import unittest

from chaos import DEADLINE, ChaosCluster, Watch, need_clocks, only_in_full, pause, until

HOUR, DAY = 3600, 86400
DATE = "%Y-%m-%dT%H:%M:%S%z"
SLACK = 600  # what a busy machine may be late


class Steps(unittest.TestCase):
    def setUp(self):
        need_clocks(self)

    def begin(self, cluster):
        """One server and every second agent have clocks of their own."""
        self.server = cluster.servers[0]
        cluster.clock(self.server)
        cluster.start_servers()
        token = cluster.token(uses=4)
        for number in range(4):
            agent = cluster.join_agent(token)
            if number % 2 == 0:
                cluster.clock(agent)
            agent.start()
        cluster.begin(0)
        self.started = time.time()
        self.everybody = [self.server, *cluster.agents[::2]]

    def step(self, processes, seconds):
        for process in processes:
            process.clock.set(seconds)

    def log_time(self, process):
        """What the process takes for now, by its last line."""
        stamp = re.findall(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", process.log(), re.MULTILINE)[-1]
        return datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.timezone.utc).timestamp()

    def is_off(self, at, seconds):
        return abs(at - time.time() - seconds) < SLACK

    def heartbeat(self, cluster):
        """When the server was last there, as it says itself, in the store."""
        row = next(s for s in cluster.status(cluster.servers[1])["servers"] if s["name"] == self.server.name)
        return datetime.datetime.strptime(row["lastupdate"], DATE).timestamp()

    def links(self, cluster):
        return {a.name: a.link() for a in cluster.agents}

    def check_times(self, cluster, most):
        """No time in the store that no clock here ever showed."""
        first, last = self.started - most - SLACK, time.time() + most + SLACK
        answers = [*cluster.hosts().values(), *cluster.servers[1].api("listEvents", page=1, pagesize=200).get("event", []),
                   *cluster.status(cluster.servers[1])["servers"]]
        looked_at = 0
        for answer in answers:
            for key in ("created", "lastpinged", "disconnected", "lastserverstart", "lastserverstop", "lastupdate"):
                if answer.get(key):
                    at = datetime.datetime.strptime(answer[key], DATE).timestamp()
                    self.assertTrue(first <= at <= last, f"{key} of {answer}")
                    looked_at += 1
        self.assertGreater(looked_at, len(cluster.agents))

    def stay(self, cluster, processes, seconds):
        """The clocks jump: nobody loses the link, for longer than any silence is tolerated."""
        links = self.links(cluster)
        self.step(processes, seconds)
        if self.server in processes:
            until(lambda: self.is_off(self.heartbeat(cluster), seconds), DEADLINE,
                  "the server's heartbeat shows that its clock has jumped")
        pause(6)
        self.assertEqual(self.links(cluster), links, f"a step of {seconds} s costs nobody the link")
        cluster.settle()
        self.assertEqual(self.links(cluster), links)

    def connect_anew(self, cluster, processes, seconds, victims=2):
        """Handshakes while clocks differ: agents that lose their server, a server that starts, an agent that joins."""
        for victim in cluster.servers[:victims]:
            victim.kill()
            until(lambda v=victim: cluster.agents_left(v), DEADLINE, f"everybody has left {victim.name}")
            victim.start()
            until(victim.ready, DEADLINE, f"{victim.name} is back")
            cluster.settle()
        if cluster.agents[0] in processes:
            self.assertTrue(self.is_off(self.log_time(cluster.agents[0]), seconds), "who moved has logged it with its clock")
        # What a clock issues that is a day ahead is valid nowhere else for 12 hours: joining is refused, and says why.
        if abs(seconds) <= HOUR:
            cluster.add_agents(1)
        cluster.settle()

    def test_hours(self):
        """An hour ahead, an hour behind, and back: links stay, new ones are made, certificates are issued and accepted."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            with Watch(cluster) as seen:
                for seconds, victims in ((HOUR, 1), (-HOUR, 2)):
                    self.stay(cluster, self.everybody, seconds)
                    self.connect_anew(cluster, self.everybody, seconds, victims)
                    self.check_times(cluster, HOUR)
                self.stay(cluster, self.everybody, 0)
            seen.only("Up")

    @only_in_full
    def test_each_alone(self):
        """Only the server's clock, only the agents'; hours and days."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            with Watch(cluster) as seen:
                for processes in ([self.server], self.everybody[1:]):
                    for seconds in (DAY, HOUR, -HOUR, -DAY, 0):
                        self.stay(cluster, processes, seconds)
                        # The cluster's certificates are brand new, and valid from 12 hours ago on.
                        if seconds > -DAY:
                            self.connect_anew(cluster, processes, seconds)
                    self.check_times(cluster, DAY)
            seen.only("Up")

    @only_in_full
    def test_a_day_too_early(self):
        """A day behind, certificates are not yet valid: who has to connect anew waits, alive, until the clock is right."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            agent = cluster.agents[0]
            self.step([agent], -DAY)
            home = next(s for s in cluster.servers if s.address == agent.link()[1][0])
            home.kill()
            until(lambda: not agent.link() and "not valid yet" in agent.log(), DEADLINE,
                  "the agent says what is wrong with the certificates")
            pause(5)
            self.assertTrue(agent.alive())
            self.step([agent], 0)
            home.start()
            until(home.ready, DEADLINE, "the server is back")
            cluster.settle()


if __name__ == "__main__":
    unittest.main()
