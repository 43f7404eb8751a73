"""Commands that take long: through failover, through planned moves, and after the death of who asked (decision 17)."""
import os
import signal
import subprocess
import unittest

from chaos import ALL, DEADLINE, ChaosCluster, has_command, harness, only_in_full, skip, until

SECONDS = 30 if ALL else 6

# Runs for as long as `seconds` says, and then until `may-end` is there: what has to happen meanwhile has then happened.
SCRIPT = """#!/bin/sh
cd "{dir}" || exit 3
echo started >>runs
sleep "$(cat seconds)"
while ! [ -e may-end ]; do sleep 0.1; done
echo ended >>runs
"""


class LongCommands(unittest.TestCase):
    """H2 is at home on m2 and has a health script, which checkHost runs."""

    def begin(self, cluster):
        cluster.start_servers()
        # Agents are told at their startup. A ping runs the script as well, and has to stay away here.
        cluster.config("ping.interval", "3600")
        cluster.add_agents(1)
        self.dir = os.path.join(cluster.dir, "script")
        os.makedirs(self.dir)
        script = os.path.join(self.dir, "check")
        with open(script, "w", encoding="ascii") as f:
            f.write(SCRIPT.format(dir=self.dir))
        os.chmod(script, 0o700)
        self.put("seconds", "0")
        self.put("may-end", "")
        (self.agent,) = cluster.add_agents(1, f"agent.health.check.script.path={script}\nmuster.health.check.timeout=300")
        cluster.add_agents(1)
        cluster.begin(0, ping=3600)
        self.assertEqual(self.agent.explain()["connected"], cluster.servers[1].address)

    def put(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="ascii") as f:
            f.write(text)

    def runs(self, what):
        with open(os.path.join(self.dir, "runs"), encoding="ascii") as f:
            return f.read().split().count(what)

    def ask(self, cluster, asker):
        """Starts the long command for H2; returns its job when the script runs."""
        until(lambda: self.runs("started") == self.runs("ended"), DEADLINE, "earlier runs have ended")
        self.put("seconds", str(SECONDS))
        os.unlink(os.path.join(self.dir, "may-end"))
        self.before = self.runs("started")
        job = asker.api("checkHost", id=cluster.hosts(asker)["H2"]["id"])["jobid"]
        until(lambda: self.runs("started") == self.before + 1, DEADLINE, "the script runs")
        return job

    def status(self, server, job):
        return server.api("queryAsyncJobResult", jobid=job)

    def let_end(self):
        self.put("may-end", "")
        until(lambda: self.runs("ended") == self.before + 1, DEADLINE, "the script has ended")

    def once(self):
        self.assertEqual((self.runs("started"), self.runs("ended")), (self.before + 1, self.before + 1), "it ran once")
        self.put("seconds", "0")

    def answered(self, cluster, asker, job, links):
        """The agent is on another link, the script still runs; its answer arrives, and it ran once."""
        self.assertNotIn(self.agent.link(), links)
        self.assertEqual(self.status(asker, job)["jobstatus"], 0, "not answered yet")
        self.let_end()
        answer = until(lambda: (a := self.status(asker, job))["jobstatus"] and a, DEADLINE, "the answer has arrived")
        self.assertEqual(answer["jobstatus"], 1, answer)
        self.assertTrue(answer["jobresult"]["checkhost"]["result"], answer)
        for server in cluster.up():
            until(lambda s=server: self.status(s, job)["jobstatus"] == 1, DEADLINE, f"every server knows, {server.name} too")
        self.once()

    def died(self, cluster, job):
        """Whoever is asked for the job says why it has ended; the script goes on and is not run again."""
        for server in cluster.up():
            answer = until(lambda s=server: (a := self.status(s, job))["jobstatus"] and a, DEADLINE, "the job has ended")
            self.assertEqual(answer["jobstatus"], 2, answer)
            self.assertIn("The management server that ran this job", answer["jobresult"]["errortext"])
        self.let_end()

    def test_servers_die(self):
        """The agent's server is killed, then the server that asked, then one that was both."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            m1, m2, m3 = cluster.servers

            link = self.agent.link()
            job = self.ask(cluster, m1)
            m2.kill()
            until(lambda: cluster.agents_left(m2), DEADLINE, "H2 has left the dead server")
            self.answered(cluster, m1, job, [link])
            m2.start()
            until(m2.ready, DEADLINE, "m2 is back")
            cluster.settle()

            job = self.ask(cluster, m1)
            m1.kill()
            self.died(cluster, job)
            m1.start()
            until(m1.ready, DEADLINE, "m1 is back")
            cluster.settle(commands=False)
            self.once()
            cluster.settle()

            job = self.ask(cluster, m2)
            m2.kill()
            until(lambda: cluster.agents_left(m2), DEADLINE, "H2 has left the dead server")
            self.died(cluster, job)
            m2.start()
            until(m2.ready, DEADLINE, "m2 is back")
            cluster.settle(commands=False)
            self.once()
            cluster.settle()

    @only_in_full
    def test_asker_restarts(self):
        """The asking server is back before anybody has missed it: its job has ended all the same."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            m1 = cluster.servers[0]
            job = self.ask(cluster, m1)
            m1.kill(signal.SIGKILL)
            m1.start()
            until(m1.ready, DEADLINE, "m1 is back")
            self.died(cluster, job)
            cluster.settle(commands=False)
            self.once()
            cluster.settle()

    def test_moves(self):
        """A new list, and the way home after a failover: the agent moves while the script runs."""
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            m1, m2, m3 = cluster.servers

            link = self.agent.link()
            job = self.ask(cluster, m3)
            cluster.config("indirect.agent.lb.algorithm", "static")
            until(lambda: self.agent.explain()["connected"] == m1.address and self.agent.link(), DEADLINE, "H2 has moved to m1")
            self.answered(cluster, m3, job, [link])
            cluster.settle(spread=False)

            link = self.agent.link()
            job = self.ask(cluster, m3)
            m1.kill()
            until(lambda: cluster.agents_left(m1), DEADLINE, "H2 has left the dead server")
            away = self.agent.link()
            m1.start()
            until(m1.ready, DEADLINE, "m1 is back")
            until(lambda: self.agent.explain()["connected"] == m1.address and self.agent.link(), DEADLINE, "H2 has come home")
            self.answered(cluster, m3, job, [link, away])
            cluster.settle(spread=False)

    def test_drain(self):
        """The agent's server is drained while the script runs."""
        if not has_command("drain"):
            skip(self, "`muster drain` does not exist yet")
        with ChaosCluster(3) as cluster:
            self.begin(cluster)
            m1, m2, _ = cluster.servers
            link = self.agent.link()
            job = self.ask(cluster, m1)
            done = subprocess.run([harness.program("muster"), "--socket", m1.socket, "drain", "m2"], capture_output=True,
                                  text=True, timeout=DEADLINE, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            until(lambda: cluster.agents_left(m2), DEADLINE, "H2 has left the drained server")
            self.answered(cluster, m1, job, [link])
            done = subprocess.run([harness.program("muster"), "--socket", m1.socket, "undrain", "m2"], capture_output=True,
                                  text=True, timeout=DEADLINE, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            cluster.settle()


if __name__ == "__main__":
    unittest.main()
