"""Clusters whose certificates are signed by somebody else: an external CA behind a command, an imported intermediate."""
import os
import shutil
import subprocess
import unittest

from harness import Cluster, program, until

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "examples", "external-ca.sh")


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)


def company_ca(directory):
    """ca.crt and ca.key, an intermediate; chain.crt, its root."""
    os.makedirs(directory)
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "chain.crt", "-days", "900",
            "-subj", "/CN=company root", "-addext", "keyUsage=keyCertSign,cRLSign")
    openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.csr",
            "-subj", "/CN=company machines", "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext",
            "keyUsage=keyCertSign,cRLSign")
    openssl(directory, "x509", "-req", "-in", "ca.csr", "-CA", "chain.crt", "-CAkey", "root.key", "-set_serial", "2", "-days", "800",
            "-copy_extensions", "copy", "-out", "ca.crt")
    return directory


def ca(server, *arguments):
    return subprocess.run([program("muster-server"), "ca", *arguments, "--dir", server.dir], capture_output=True, text=True,
                          timeout=60, check=False)


def show(server, *options):
    return subprocess.run([program("muster"), "--socket", server.socket, "ca", "show", *options], capture_output=True, text=True,
                          timeout=60, check=True).stdout


def fingerprint(path):
    text = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True,
                          text=True, timeout=60).stdout
    return text.strip().split("=", 1)[1].replace(":", "").lower()


def issuer(path):
    return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-issuer"], check=True, capture_output=True, text=True,
                          timeout=60).stdout.strip()


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class OtherCas(unittest.TestCase):
    def external(self, cluster, trusted, command=EXAMPLE, servers=None):
        # A copy of our own: the tree may belong to somebody else, and such a program is refused.
        script = shutil.copy(command, os.path.join(cluster.dir, "external-ca.sh"))
        os.chmod(script, 0o755)
        for server in servers or cluster.servers:
            with open(os.path.join(server.dir, "server.properties"), "a", encoding="ascii") as f:
                f.write(f"ca.plugin.exec.command={script} \"{cluster.dir}/company ca\"\nca.plugin.exec.ca.file={trusted}\n")
        return script

    def agent_certificate(self, agent):
        names = [n for n in os.listdir(agent.dir) if n.endswith(".crt") and ".ca." not in n]
        self.assertEqual(len(names), 1, names)
        return os.path.join(agent.dir, names[0])

    def test_external_ca(self):
        with Cluster(2) as cluster:
            directory = company_ca(os.path.join(cluster.dir, "company ca"))
            # Only the root is known: the intermediate has to travel with each certificate.
            script = self.external(cluster, os.path.join(directory, "chain.crt"))
            m1, m2 = cluster.servers
            self.assertEqual(ca(m1, "use", "exec").returncode, 0)
            cluster.start_servers()
            until(lambda: all(s.api("listManagementServers")["count"] == 2 for s in cluster.servers), what="the servers see each other")
            cluster.add_agents(2)
            until(cluster.all_up, what="agents with certificates of the external CA are up")
            self.assertTrue(all(h["mustersecured"] for h in cluster.hosts().values()))
            for path in [os.path.join(m1.dir, "server.crt"), *map(self.agent_certificate, cluster.agents)]:
                self.assertIn("company machines", issuer(path))
            shown = show(m1)
            self.assertIn("exec: ", shown)
            self.assertIn(fingerprint(os.path.join(directory, "chain.crt")), shown)
            self.assertIn("m1 can issue certificates", shown)
            self.assertIn("BEGIN CERTIFICATE", show(m1, "--pem"))

            # The CA says no: the join is refused with its words, and the cluster goes on.
            with open(script, "w", encoding="ascii") as f:
                f.write("#!/bin/sh\necho the company says no >&2\nexit 7\n")
            token = cluster.token()
            with self.assertRaisesRegex(AssertionError, "exit code 7: the company says no"):
                cluster.agents[0].__class__(cluster, "H9").join(token)
            self.assertTrue(cluster.all_up())

            # A restart needs no CA: the certificate is still good.
            m1.kill()
            m1.start()
            until(m1.ready, what="m1 is back")
            until(cluster.all_up, what="all are up again")

            # Agents have joined: who signs is not changed behind their backs.
            for server in cluster.servers:
                server.kill(15)
            refused = ca(m1, "use", "root")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("2 hosts have certificates of the present CA", refused.stderr)
            self.assertEqual(ca(m1, "use", "root", "--force").returncode, 0)

    def test_imported_without_crl_sign(self):
        """A CA that may not sign lists: said once, and to whoever asks for one."""
        with Cluster(1) as cluster:
            m1 = cluster.servers[0]
            openssl(cluster.dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "900",
                    "-subj", "/CN=no lists", "-addext", "keyUsage=keyCertSign")
            done = ca(m1, "import", "--certificate", f"{cluster.dir}/ca.crt", "--key", f"{cluster.dir}/ca.key")
            self.assertEqual(done.returncode, 0, done.stderr)
            cluster.start_servers()
            cluster.add_agents(1)
            until(cluster.all_up, what="the agent is up")

            def why():
                return subprocess.run([program("muster"), "--socket", m1.socket, "ca", "crl"], capture_output=True, text=True, timeout=60,
                                      check=False).stderr
            until(lambda: "no cRLSign" in why(), what="the reason is told")
            m1.api("revokeCertificate", serial="abcdef0123456789")
            until(lambda: m1.api("getMusterStatus")["musterstatus"]["certificates"]["revoked"] == 1, what="it is revoked all the same")
            until(lambda: m1.api("listEvents", type="CA.CRL.FAILED").get("count") == 1, what="it is an event")
            self.assertEqual(m1.log().count("warn: a revocation list could not be made"), 1)

    def test_imported_intermediate(self):
        with Cluster(2) as cluster:
            directory = company_ca(os.path.join(cluster.dir, "company ca"))
            m1 = cluster.servers[0]
            files = ("--certificate", f"{directory}/ca.crt", "--key", f"{directory}/ca.key")
            refused = ca(m1, "import", *files)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("CN=company root is missing", refused.stderr)
            done = ca(m1, "import", *files, "--chain", f"{directory}/chain.crt")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(fingerprint(f"{directory}/ca.crt"), done.stdout)
            cluster.start_servers()
            cluster.add_agents(2)
            until(cluster.all_up, what="agents with certificates of the imported CA are up")
            self.assertIn("company machines", issuer(self.agent_certificate(cluster.agents[0])))
            self.assertIn(fingerprint(f"{directory}/ca.crt"), show(m1))

            # The store has the key sealed only.
            with open(f"{directory}/ca.key", encoding="ascii") as f:
                secret = f.read().splitlines()[1].encode()
            for name in os.listdir(cluster.dir):
                if name.startswith("muster.db"):
                    with open(os.path.join(cluster.dir, name), "rb") as f:
                        self.assertNotIn(secret, f.read())

            running = ca(m1, "import", *files, "--chain", f"{directory}/chain.crt", "--force")
            self.assertEqual(running.returncode, 1)
            self.assertIn("another muster-server runs from the folder", running.stderr)
            m1.kill(15)
            elsewhere = ca(m1, "import", *files, "--chain", f"{directory}/chain.crt", "--force")
            self.assertEqual(elsewhere.returncode, 1)
            self.assertIn("the server m2 runs", elsewhere.stderr)

    def test_a_certificate_that_is_wrong(self):
        """A CA that gives an agent's rights to a server: the server does not start, and says why."""
        with Cluster(1) as cluster:
            directory = company_ca(os.path.join(cluster.dir, "company ca"))
            script = self.external(cluster, os.path.join(directory, "chain.crt"))
            with open(script, encoding="ascii") as f:
                text = f.read()
            with open(script, "w", encoding="ascii") as f:
                f.write(text.replace("$MUSTER_EKU", "clientAuth"))
            m1 = cluster.servers[0]
            self.assertEqual(ca(m1, "use", "exec").returncode, 0)
            m1.start()
            until(lambda: not m1.alive(), what="m1 gives up")
            self.assertEqual(m1.child.returncode, 67)
            self.assertIn("lacks serverAuth", m1.log())

    def test_usage(self):
        rows = [
            (("import",), "needs --certificate"),
            (("use",), "needs a provider"),
            (("use", "vault"), "root, the cluster's own CA, or exec"),
            (("use", "exec", "--key", "x"), "belong to `ca import`"),
            (("frobnicate",), "either import or use"),
        ]
        with Cluster(1) as cluster:
            for words, sentence in rows:
                with self.subTest(words):
                    result = ca(cluster.servers[0], *words)
                    self.assertEqual(result.returncode, 2)
                    self.assertIn(sentence, result.stderr)


if __name__ == "__main__":
    unittest.main()
