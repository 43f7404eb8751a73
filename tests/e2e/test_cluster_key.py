"""The cluster key is changed, with real servers and key files: who follows, who is refused, and what a crash leaves behind."""
import os
import shutil
import stat
import subprocess
import unittest

from harness import Cluster, program, until

OTHER = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"


def change(directory, *arguments, env=None):
    return subprocess.run([program("muster-server"), "cluster-key", "change", "--dir", directory, *arguments], capture_output=True, text=True,
                          timeout=60, check=False, env=dict(os.environ, **env) if env else None)


def muster(server, *words, check=True):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True, timeout=120, check=check,
                          stdin=subprocess.DEVNULL)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def write(path, text, mode=0o600):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, mode)


def set_property(server, key, value):
    path = os.path.join(server.dir, "server.properties")
    lines = [line for line in read(path).splitlines() if not line.startswith(key + "=")]
    write(path, "\n".join([*lines, f"{key}={value}"]) + "\n", 0o644)


class ClusterKey(unittest.TestCase):
    def key_of(self, server, of):
        servers = server.api("getMusterStatus")["musterstatus"]["servers"]
        return next(s["clusterkey"] for s in servers if s["name"] == of.name)

    def own_files(self, cluster):
        """Each server gets a key file of its own; the second one's is a copy."""
        paths = [os.path.join(s.dir, "the.key") for s in cluster.servers]
        for server, path in zip(cluster.servers, paths):
            set_property(server, "cluster.key.file", path)
        return paths

    def start(self, cluster):
        m1, m2 = cluster.servers
        keys = self.own_files(cluster)
        m1.start()
        until(m1.ready, what="m1 is ready")
        shutil.copy(keys[0], keys[1])
        m2.start()
        until(m2.ready, what="m2 is ready")
        return keys

    def test_change_copy_start(self):
        with Cluster(2) as cluster:
            m1, m2 = cluster.servers
            keys = self.start(cluster)
            cluster.config("indirect.agent.lb.algorithm", "roundrobin")
            cluster.add_agents(2)
            until(cluster.all_up, what="agents are up")
            old = read(keys[0])
            self.assertEqual(self.key_of(m1, m2), "present")

            done = change(m1.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("The cluster key was changed", done.stdout)
            self.assertIn("m2", done.stdout)
            new = read(keys[0])
            self.assertNotEqual(new, old)
            self.assertNotIn(new.strip(), done.stdout + done.stderr)
            self.assertEqual(stat.S_IMODE(os.stat(keys[0]).st_mode), 0o600)
            self.assertEqual([n for n in os.listdir(m1.dir) if n.startswith("the.key.next")], [])

            # m1 reads its file by itself; m2 goes on with what it holds, and says what it needs.
            until(lambda: self.key_of(m2, m1) == "present" and "the new cluster key is here" in m1.log(), what="m1 has the new one")
            until(lambda: self.key_of(m1, m2) == "outdated", what="m2 is seen to have the old one")
            self.assertIn("m2 has the cluster key of before it was changed: it needs the new key file", muster(m1, "status").stdout)
            until(lambda: m1.api("listEvents", type="ALERT.CLUSTER.KEY").get("event"), what="an event says so")
            self.assertIn("copy the key file of a server that has it", m2.log())
            for host in ("H1", "H2"):  # one of them is m2's
                self.assertEqual(muster(m2, "cert", "renew", host).returncode, 0)
            self.assertIn("no cluster key", muster(m2, "cert", "issue", "x.example", "--key", os.path.join(cluster.dir, "x.key"),
                                                   check=False).stderr)
            until(cluster.all_up, what="agents are up")

            # Started with the old file it is refused, with the reason.
            m2.kill(15)
            m2.start()
            until(lambda: not m2.alive(), what="m2 gives up")
            self.assertEqual(m2.child.returncode, 67)
            self.assertIn("is not the cluster's key: that was changed on ", m2.log())
            self.assertIn("Copy the key file of a server that has the new one", m2.log())
            refused = change(m2.dir)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("is not the cluster's key any more", refused.stderr)

            shutil.copy(keys[0], keys[1])
            m2.start()
            until(m2.ready, what="m2 is back")
            until(lambda: self.key_of(m1, m2) == "present", what="it is seen")
            self.assertNotIn("key file", muster(m1, "status").stdout)
            self.assertEqual(muster(m2, "cert", "issue", "x.example", "--key", os.path.join(cluster.dir, "x.key")).returncode, 0)
            until(cluster.all_up, what="agents are up")

            # Once more, and this time the file is copied while it runs; a key of the operator's own.
            write(os.path.join(cluster.dir, "own.key"), OTHER + "\n")
            done = change(m2.dir, "--key", os.path.join(cluster.dir, "own.key"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(read(keys[1]).strip(), OTHER)
            until(lambda: self.key_of(m2, m1) == "outdated" and self.key_of(m1, m2) == "present", what="now it is m1 that is behind")
            shutil.copy(keys[1], keys[0])
            until(lambda: self.key_of(m2, m1) == "present", what="m1 has read it")
            for step in ("trust", "issue"):
                muster(m1, "ca", "rotate", "--yes", "--no-wait")
                until(lambda s=step: all((r := x.api("listCaRotation")["carotation"])["phase"] == s and not r["serversbehind"] and
                                         not r["hostsbehind"] for x in cluster.servers), what=f"all have followed to {step}")
            token = cluster.token()
            late = cluster.agents[0].__class__(cluster, "H9")
            late.join(token)

    def test_crashes(self):
        """What a crash leaves behind, step by step: the next start finds the right file (test_key_change.c stops at every one)."""
        with Cluster(1) as cluster:
            (m1,) = cluster.servers
            key = os.path.join(cluster.dir, "cluster.key")
            m1.start()
            until(m1.ready, what="m1 is ready")
            old = read(key)
            m1.kill(15)

            # Before the transaction: the new key was for nothing.
            write(key + ".next", OTHER + "\n")
            m1.start()
            until(m1.ready, what="m1 is ready")
            self.assertIn("had broken off before it was made", m1.log())
            self.assertEqual(read(key), old)
            self.assertFalse(os.path.exists(key + ".next"))
            m1.kill(15)

            # After it: the new key is the one.
            self.assertEqual(change(m1.dir).returncode, 0)
            new = read(key)
            write(key, old)
            write(key + ".next", new)
            m1.start()
            until(m1.ready, what="m1 is ready")
            self.assertIn("had broken off, and was finished", m1.log())
            self.assertEqual(read(key), new)
            self.assertFalse(os.path.exists(key + ".next"))
            self.assertEqual(m1.api("listCaCertificate")["cacertificates"]["mustercanissue"], True)

            # The command itself finishes, too, and changes nothing more then.
            write(key, old)
            write(key + ".next", new)
            done = change(m1.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("The change that had been begun is finished", done.stdout)
            self.assertEqual(read(key), new)
            # Killed while it is at work: whatever it has done, a server starts and can issue.
            m1.kill(15)
            for delay in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4):
                child = subprocess.Popen([program("muster-server"), "cluster-key", "change", "--dir", m1.dir], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
                try:
                    child.wait(delay)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                m1.start()
                until(m1.ready, what="m1 is ready")
                self.assertTrue(m1.api("listCaCertificate")["cacertificates"]["mustercanissue"])
                m1.kill(15)

    def test_links_and_owners(self):
        with Cluster(1) as cluster:
            (m1,) = cluster.servers
            secrets = os.path.join(cluster.dir, "secrets")
            os.mkdir(secrets, 0o700)
            key, real = os.path.join(cluster.dir, "cluster.key"), os.path.join(secrets, "k")
            os.symlink("secrets/k", key)
            m1.start()
            until(m1.ready, what="m1 is ready")
            self.assertTrue(os.path.islink(key))
            os.chmod(real, 0o400)
            owner = (os.stat(real).st_uid, os.stat(real).st_gid)
            if os.geteuid() == 0:
                owner = (0, 12345)
                os.chown(real, *owner)
            old = read(real)
            self.assertEqual(change(m1.dir).returncode, 0)
            self.assertEqual(os.readlink(key), "secrets/k")
            self.assertNotEqual(read(real), old)
            self.assertEqual(stat.S_IMODE(os.stat(real).st_mode), 0o400)
            self.assertEqual((os.stat(real).st_uid, os.stat(real).st_gid), owner)
            self.assertEqual(os.listdir(secrets), ["k"])

    def test_credential(self):
        """systemd's: it can't be written, so it is changed by way of the file behind it, and the server is restarted."""
        with Cluster(1) as cluster:
            (m1,) = cluster.servers
            given = os.path.join(cluster.dir, "credentials")
            behind = os.path.join(cluster.dir, "behind.key")
            os.mkdir(given)
            write(behind, OTHER + "\n")
            write(os.path.join(given, "cluster.key"), OTHER + "\n", 0o440)
            set_property(m1, "cluster.key.file", "$CREDENTIALS_DIRECTORY/cluster.key")
            m1.env = {"CREDENTIALS_DIRECTORY": given}
            m1.start()
            until(m1.ready, what="m1 is ready")
            for env in ({"CREDENTIALS_DIRECTORY": given}, None):
                refused = change(m1.dir, env=env)
                self.assertEqual(refused.returncode, 1)
                self.assertIn("credential", refused.stderr)
                self.assertIn("-s cluster.key.file=FILE", refused.stderr)
                self.assertIn("systemd-creds", refused.stderr)
            done = change(m1.dir, "-s", f"cluster.key.file={behind}")
            self.assertEqual(done.returncode, 0, done.stderr)
            until(lambda: "is a credential: replace what systemd gives, and restart this server" in m1.log(), what="m1 says what it needs")
            m1.kill(15)
            m1.start()
            until(lambda: not m1.alive(), what="m1 gives up")
            self.assertIn("Have systemd give the new one", m1.log())
            os.remove(os.path.join(given, "cluster.key"))
            write(os.path.join(given, "cluster.key"), read(behind), 0o440)
            m1.start()
            until(m1.ready, what="m1 is back")

    def test_refused(self):
        with Cluster(1) as cluster:
            (m1,) = cluster.servers
            key = os.path.join(cluster.dir, "cluster.key")
            early = change(m1.dir)
            self.assertEqual(early.returncode, 1)
            self.assertIn("there is no such file", early.stderr)
            write(key, OTHER + "\n")
            self.assertIn("nothing in the store is sealed", change(m1.dir).stderr)
            m1.start()
            until(m1.ready, what="m1 is ready")
            bad = os.path.join(cluster.dir, "bad.key")
            rows = [
                ("the same one", lambda: write(bad, OTHER + "\n"), ("--key", bad), "is the one that there is"),
                ("for all to read", lambda: write(bad, "A" * 43 + "\n", 0o644), ("--key", bad), "others may read"),
                ("no key", lambda: write(bad, "x\n"), ("--key", bad), "not a cluster key"),
                ("no file", lambda: os.remove(bad), ("--key", bad), "No such file"),
            ]
            for what, prepare, arguments, sentence in rows:
                with self.subTest(what):
                    prepare()
                    done = change(m1.dir, *arguments)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(sentence, done.stderr)
                    self.assertEqual(read(key).strip(), OTHER)
                    self.assertFalse(os.path.exists(key + ".next"))
            # The present file is not the cluster's, or not private.
            write(key, "A" * 43 + "\n")
            self.assertIn("does not open", change(m1.dir).stderr)
            write(key, OTHER + "\n", 0o644)
            self.assertIn("others may read", change(m1.dir).stderr)
            self.assertEqual(m1.api("getMusterStatus")["musterstatus"]["servers"][0]["clusterkey"], "present")
            for words in ((), ("frobnicate",)):
                done = subprocess.run([program("muster-server"), "cluster-key", *words, "--dir", m1.dir], capture_output=True, text=True,
                                      timeout=60, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn("cluster-key change", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
