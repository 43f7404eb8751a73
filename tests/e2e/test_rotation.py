"""The root of the CA is changed under a running cluster: real servers, real agents, real TLS."""
import os
import subprocess
import unittest

from harness import Cluster, program, until


def muster(server, *words, check=True):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True, timeout=120,
                          check=check, stdin=subprocess.DEVNULL)


def issued_by(certificate, authority):
    return subprocess.run(["openssl", "verify", "-partial_chain", "-trusted", authority, certificate], capture_output=True,
                          timeout=60, check=False).returncode == 0


def n_certificates(path):
    with open(path, encoding="ascii") as f:
        return f.read().count("BEGIN CERTIFICATE")


class Rotation(unittest.TestCase):
    def watch(self, cluster):
        """Fails as soon as a host is seen without a link; called while something else is waited for."""
        for name, host in cluster.hosts().items():
            # Connecting: its next link is being taken, the last one is still there.
            self.assertIn(host["state"], ("Up", "Connecting"), (name, host))
            self.assertEqual(host.get("disconnected"), self.disconnected.get(name), name)

    def begin_watch(self, cluster):
        self.disconnected = {name: host.get("disconnected") for name, host in cluster.hosts().items()}

    def settled(self, cluster, phase):
        def look():
            self.watch(cluster)
            # By all of them: each hears of the others' changes a moment later, and any may be asked for the next step.
            seen = [s.api("listCaRotation")["carotation"] for s in cluster.servers if s.alive()]
            return all(r["phase"] == phase and r["serversbehind"] == 0 and r["hostsbehind"] == 0 for r in seen)
        return look

    def step(self, cluster, phase, *words):
        done = muster(cluster.servers[1], "ca", "rotate", "--yes", "--no-wait", *words, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        until(self.settled(cluster, phase), what=f"all have followed to {phase}")

    def ca_file(self, cluster, name, pem):
        path = os.path.join(cluster.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(pem)
        return path

    def check_with_lists(self, cluster):
        """As somebody else's program judges who is connected: by the CAs and their revocation lists, one of each."""
        server = cluster.servers[1]

        def both():
            crl = muster(server, "ca", "crl", check=False).stdout
            return crl if crl.count("BEGIN X509 CRL") == 2 else None
        until(both, what="there is a list of each CA")
        ca = self.ca_file(cluster, "both.pem", muster(server, "ca", "show", "--pem").stdout)
        crl = self.ca_file(cluster, "both.crl", both())
        for path in [os.path.join(s.dir, "server.crt") for s in cluster.servers] + \
                    [os.path.join(a.dir, "cloud.crt") for a in cluster.agents]:
            judged = subprocess.run(["openssl", "verify", "-crl_check", "-CAfile", ca, "-CRLfile", crl, path],
                                    capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(judged.returncode, 0, path + judged.stdout + judged.stderr)

    def test_all_phases(self):
        with Cluster(3) as cluster:
            m1 = cluster.servers[0]
            cluster.start_servers()
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.add_agents(5)
            until(cluster.all_up, what="agents are up")
            old = self.ca_file(cluster, "old.pem", muster(m1, "ca", "show", "--pem").stdout)
            token = cluster.token()
            self.begin_watch(cluster)

            self.step(cluster, "trust")
            for agent in cluster.agents:
                self.assertEqual(n_certificates(os.path.join(agent.dir, "cloud.ca.crt")), 2)
                self.assertTrue(issued_by(os.path.join(agent.dir, "cloud.crt"), old))
            self.check_with_lists(cluster)
            # Taken back and begun again: nobody minds.
            self.step(cluster, "none", "--back")
            self.step(cluster, "trust")

            self.step(cluster, "issue")
            for server in cluster.servers:
                self.assertFalse(issued_by(os.path.join(server.dir, "server.crt"), old))
            for agent in cluster.agents:
                self.assertFalse(issued_by(os.path.join(agent.dir, "cloud.crt"), old))
            self.check_with_lists(cluster)
            self.assertIn("issue, under way", muster(m1, "ca", "show").stdout)

            # A token from before pins the old CA, which the servers don't show any more: refused before it is sent.
            late = cluster.agents[0].__class__(cluster, "H8")
            with self.assertRaises(AssertionError) as refused:
                late.join(token)
            self.assertIn("token", str(refused.exception))
            refused = muster(m1, "token", "list").stdout
            self.assertIn("valid", refused)

            self.step(cluster, "drop")
            for agent in cluster.agents:
                self.assertEqual(n_certificates(os.path.join(agent.dir, "cloud.ca.crt")), 1)
            new = self.ca_file(cluster, "new.pem", muster(m1, "ca", "show", "--pem").stdout)
            self.assertEqual(n_certificates(new), 1)
            for path in [os.path.join(s.dir, "server.crt") for s in cluster.servers] + \
                        [os.path.join(a.dir, "cloud.crt") for a in cluster.agents]:
                self.assertTrue(issued_by(path, new), path)
            self.step(cluster, "none", "--finish")

            # Restarts and joins go on with the new one.
            m1.kill(15)
            m1.start()
            until(m1.ready, what="m1 is back")
            cluster.add_agents(1)
            until(cluster.all_up, what="all are up, and one more")
            # A server has two certificates by now, and shows one of them where it dials.
            for server in cluster.servers:
                self.assertNotIn("no client certificate", server.log())

    def test_somebody_is_off(self):
        with Cluster(2) as cluster:
            m1 = cluster.servers[0]
            cluster.start_servers()
            cluster.add_agents(2)
            until(cluster.all_up, what="agents are up")
            off = cluster.agents[1]
            off.kill()
            until(lambda: cluster.hosts()["H2"]["state"] != "Up", what="H2 is seen to be gone")
            muster(m1, "ca", "rotate", "--yes", "--no-wait")
            until(lambda: m1.api("listCaRotation")["carotation"]["hostsbehind"] == 1, what="only H2 is behind")
            refused = muster(m1, "ca", "rotate", "--yes", "--no-wait", check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("host H2", refused.stdout)
            self.assertIn("waits for these", refused.stderr)
            # It comes back and follows.
            off.start()
            until(lambda: m1.api("listCaRotation")["carotation"]["hostsbehind"] == 0, what="H2 has followed")
            # The store is changed while no server runs? Not while this is under way.
            for server in cluster.servers:
                server.kill(15)
            changed = subprocess.run([program("muster-server"), "ca", "use", "exec", "--force", "--dir", m1.dir],
                                     capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(changed.returncode, 1)
            self.assertIn("rotation", changed.stderr)

    def test_somebody_is_left_behind(self):
        """Forced past hosts that are off: each is refused by name, by the first of both sides that sees it, and joins again."""
        with Cluster(2) as cluster:
            m1 = cluster.servers[0]
            cluster.start_servers()
            cluster.add_agents(3)
            until(cluster.all_up, what="agents are up")

            def behind(phase, *names):
                def look():
                    r = m1.api("listCaRotation")["carotation"]
                    return r["phase"] == phase and r["serversbehind"] == 0 and {h["name"] for h in r["hostlist"]} == set(names)
                until(look, what=f"in {phase} behind are {names}")

            def force():
                muster(m1, "ca", "rotate", "--yes", "--no-wait", "--force")

            def off(agent):
                agent.kill()
                until(lambda: cluster.hosts()[agent.name]["state"] != "Up", what=f"{agent.name} is seen to be gone")

            h2, h3 = cluster.agents[1:]
            off(h3)  # has never heard of the new CA
            force()
            behind("trust", "H3")
            off(h2)  # trusts both, and has a certificate of the old one
            force()
            behind("issue", "H2", "H3")
            force()
            behind("drop", "H2", "H3")
            h2.start()
            h3.start()

            def refused():
                return [e["description"] for e in m1.api("listEvents", type="HOST.REFUSED").get("event", [])
                        if "for host H2 of a CA that is not trusted any more" in e["description"]]
            until(refused, what="H2 is refused by name")
            self.assertIn("muster host rejoin H2", refused()[0])
            until(lambda: "not signed by a trusted CA" in h3.log(), what="H3 refuses the servers")
            for agent in (h2, h3):
                agent.kill()
                agent.join(muster(m1, "host", "rejoin", agent.name).stdout.strip(), "--force")
                agent.start()
            until(cluster.all_up, what="both are back")
            self.begin_watch(cluster)
            self.step(cluster, "none", "--finish")


if __name__ == "__main__":
    unittest.main(verbosity=2)
