"""A rotation to CAs of the operator's own and back, beside running servers: real servers, real agents, OpenSSL's CAs."""
import os
import shutil
import subprocess
import unittest

import test_rotation  # not its class by name: its tests would be run once more
from harness import Cluster, program, until
from test_rotation import issued_by, muster


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


class Company:
    """A PKI in a folder: a root, and intermediates below it."""

    def __init__(self, directory, key=("rsa:2048",)):
        os.makedirs(directory)
        self.dir = directory
        openssl(directory, "req", "-x509", "-newkey", *key, "-nodes", "-keyout", "root.key", "-out", "root.crt", "-days", "3000",
                "-subj", "/O=company/CN=company root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.serial = 100

    def path(self, name):
        return os.path.join(self.dir, name)

    def intermediate(self, name, subject, key=("rsa:2048",), of_key=None, days=2000,
                     extensions="basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
                                "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n", digest="-sha256"):
        """NAME.crt and NAME.key; `of_key`: the key of that one."""
        self.serial += 1
        if of_key:
            shutil.copy(self.path(of_key + ".key"), self.path(name + ".key"))
            openssl(self.dir, "req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj", subject)
        else:
            openssl(self.dir, "req", "-newkey", *key, "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", subject)
        with open(self.path(name + ".ext"), "w", encoding="ascii") as f:
            f.write(extensions)
        openssl(self.dir, "x509", "-req", "-in", name + ".csr", "-CA", "root.crt", "-CAkey", "root.key", "-set_serial", str(self.serial),
                "-days", str(days), "-extfile", name + ".ext", digest, "-out", name + ".crt")
        return ("--certificate", self.path(name + ".crt"), "--key", self.path(name + ".key"), "--chain", self.path("root.crt"))


def prepare(server, *files):
    return subprocess.run([program("muster-server"), "ca", "import", "--next", *files, "--dir", server.dir], capture_output=True, text=True,
                          timeout=60, check=False)


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class OwnCa(unittest.TestCase):
    watch = test_rotation.Rotation.watch
    begin_watch = test_rotation.Rotation.begin_watch
    settled = test_rotation.Rotation.settled
    step = test_rotation.Rotation.step
    ca_file = test_rotation.Rotation.ca_file

    def prepare(self, server, *files):
        done = prepare(server, *files)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def status(self, server):
        return muster(server, "ca", "rotate", "--status").stdout

    def all_certificates(self, cluster):
        for server in cluster.servers:
            yield os.path.join(server.dir, "server.crt")
            yield os.path.join(server.dir, "server.rsa.crt")
        for agent in cluster.agents:
            yield os.path.join(agent.dir, "cloud.crt")

    def check_issuer(self, cluster, authority):
        for path in self.all_certificates(cluster):
            self.assertTrue(issued_by(path, authority), (path, authority))

    def rsa_made(self, cluster):
        until(lambda: all(os.path.exists(os.path.join(s.dir, "server.rsa.crt")) for s in cluster.servers), what="RSA certificates are made")

    def test_there_and_back(self):
        with Cluster(2) as cluster:
            m1 = cluster.servers[0]
            company = Company(os.path.join(cluster.dir, "company"))
            first = company.intermediate("first", "/O=company/CN=machines")
            cluster.start_servers()
            cluster.add_agents(3)
            until(cluster.all_up, what="agents are up")
            self.rsa_made(cluster)
            own = self.ca_file(cluster, "own.pem", muster(m1, "ca", "show", "--pem").stdout)
            self.begin_watch(cluster)

            # Prepared in the folder of a server that runs; all of them show it, nothing else happens.
            said = self.prepare(m1, *first)
            self.assertIn("The CA machines is prepared", said)
            self.assertIn("CN=company root", said)
            for server in cluster.servers:
                until(lambda s=server: "Prepared     machines" in self.status(s), what=f"{server.name} shows it")
            self.assertIn("Prepared     machines", muster(m1, "ca", "show").stdout)
            self.assertTrue(m1.api("listEvents", type="CA.PREPARE").get("event"))
            self.assertIn("prepared already", prepare(m1, *first).stderr)
            with open(company.path("first.key"), encoding="ascii") as f:
                secret = f.read().splitlines()[1].encode()
            for name in os.listdir(cluster.dir):
                if name.startswith("muster.db"):
                    with open(os.path.join(cluster.dir, name), "rb") as f:
                        self.assertNotIn(secret, f.read())

            # Dropped, and prepared once more.
            muster(m1, "ca", "rotate", "--discard", "--yes")
            self.assertNotIn("Prepared", self.status(m1))
            self.assertIn("no CA is prepared", muster(m1, "ca", "rotate", "--discard", "--yes", check=False).stderr)
            self.prepare(m1, *first)
            until(lambda: "Prepared" in self.status(cluster.servers[1]), what="it is seen")

            self.step(cluster, "trust")
            self.check_issuer(cluster, own)
            until(lambda: "Other        machines" in self.status(m1), what="it is the other one")
            self.assertIn("a rotation of the CA is under way (trust)", prepare(m1, *first).stderr)
            self.step(cluster, "none", "--back")
            self.assertIn("Prepared     machines", self.status(cluster.servers[1]))
            self.step(cluster, "trust")
            self.step(cluster, "issue")
            self.check_issuer(cluster, company.path("first.crt"))
            self.step(cluster, "drop")
            self.step(cluster, "none", "--finish")
            self.assertIn("it is the CA that signs now", prepare(m1, *first).stderr)

            # Its revocation list is signed by it, with its chain.
            until(lambda: subprocess.run(["openssl", "crl", "-in", os.path.join(m1.dir, "crl.pem"), "-noout", "-CAfile",
                                          company.path("first.crt")], capture_output=True, text=True, timeout=60,
                                         check=False).stderr.startswith("verify OK"), what="a list of the new CA")

            # The company renews the certificate of its intermediate, with its key and its name: nobody needs a new one.
            again = company.intermediate("again", "/O=company/CN=machines", of_key="first", days=2900)
            before = {path: read(path) for path in self.all_certificates(cluster) if "server" in path}
            self.prepare(m1, *again)
            until(lambda: "Prepared" in self.status(cluster.servers[1]), what="it is seen")
            for phase, *words in (("trust",), ("issue",), ("drop",), ("none", "--finish")):
                self.step(cluster, phase, *words)
            for path, text in before.items():
                self.assertEqual(text, read(path), path)
            self.check_issuer(cluster, company.path("again.crt"))

            # Another key under the same name, which is what most companies do.
            fresh = company.intermediate("fresh", "/O=company/CN=machines", key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
            self.prepare(m1, *fresh)
            until(lambda: "Prepared" in self.status(cluster.servers[1]), what="it is seen")
            for phase, *words in (("trust",), ("issue",), ("drop",), ("none", "--finish")):
                self.step(cluster, phase, *words)
            self.check_issuer(cluster, company.path("fresh.crt"))
            for path in self.all_certificates(cluster):
                self.assertFalse(issued_by(path, company.path("again.crt")), path)

            # A join works with it, and so does a restart.
            cluster.add_agents(1)
            until(cluster.all_up, what="all are up, and one more")
            m1.kill(15)
            m1.start()
            until(m1.ready, what="m1 is back")
            until(cluster.all_up, what="all are up")

            self.thief(cluster, company)

            # And back to a root of the cluster's own.
            self.begin_watch(cluster)
            for phase, *words in (("trust",), ("issue",), ("drop",), ("none", "--finish")):
                self.step(cluster, phase, *words)
            back = self.ca_file(cluster, "back.pem", muster(m1, "ca", "show", "--pem").stdout)
            self.check_issuer(cluster, back)
            self.assertFalse(issued_by(own, back))

    def thief(self, cluster, company):
        """Who has the key of the CA from before makes himself a certificate for H1; the root above both CAs is still the same."""
        h1 = cluster.agents[0]
        guid = h1.property("guid")
        files = {name: os.path.join(h1.dir, name) for name in ("cloud.crt", "cloud.key")}
        h1.kill(15)
        for path in files.values():
            shutil.copy(path, path + ".kept")
        with open(company.path("thief.ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName=URI:muster:agent:{guid}\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n"
                    "authorityKeyIdentifier=keyid\n")
        openssl(company.dir, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "thief.key", "-out",
                "thief.csr", "-subj", "/CN=H1")
        openssl(company.dir, "x509", "-req", "-in", "thief.csr", "-CA", "again.crt", "-CAkey", "again.key", "-set_serial", "77", "-days", "90",
                "-extfile", "thief.ext", "-out", "thief.crt")
        with open(files["cloud.crt"], "w", encoding="ascii") as f:
            f.write(read(company.path("thief.crt")) + read(company.path("again.crt")) + read(company.path("root.crt")))
        shutil.copy(company.path("thief.key"), files["cloud.key"])
        subprocess.run(["openssl", "verify", "-CAfile", company.path("root.crt"), "-untrusted", company.path("again.crt"),
                        company.path("thief.crt")], check=True, capture_output=True, timeout=60)
        h1.start()
        until(lambda: any("not signed by a trusted CA" in s.log() for s in cluster.servers), what="a server refuses the thief")
        self.assertNotEqual(cluster.hosts()["H1"]["state"], "Up")
        h1.kill()
        for path in files.values():
            shutil.move(path + ".kept", path)
        h1.start()
        until(cluster.all_up, what="the real one is back")

    def test_refused(self):
        """What a first import checks is checked for a next one, and nothing is stored."""
        no_sign = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\nsubjectKeyIdentifier=hash\n"
        no_ca = "basicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\n"
        with Cluster(1) as cluster:
            m1 = cluster.servers[0]
            company = Company(os.path.join(cluster.dir, "company"))
            good = company.intermediate("good", "/CN=machines")
            rows = [
                ("no certificate that signs", company.intermediate("a", "/CN=a", extensions=no_sign), "no keyCertSign"),
                ("no CA", company.intermediate("b", "/CN=b", extensions=no_ca), "not a CA certificate"),
                ("a short key", company.intermediate("c", "/CN=c", key=("rsa:1024",)), "1024 bits"),
                ("SHA-1", company.intermediate("d", "/CN=d", digest="-sha1"), "too weak"),
                ("expired", company.intermediate("e", "/CN=e", days=-1), "expired"),
                ("another key", good[:3] + (company.path("a.key"),) + good[4:], "does not belong"),
                ("no chain", good[:4], "the certificate of CN=company root,O=company is missing"),
                ("no file", ("--certificate", "/nowhere", "--key", "/nowhere"), "/nowhere"),
            ]
            early = prepare(m1, *good)
            self.assertEqual(early.returncode, 1)
            self.assertIn("no CA yet", early.stderr)
            self.assertFalse(os.path.exists(os.path.join(cluster.dir, "cluster.key")))
            cluster.start_servers()
            for what, files, sentence in rows:
                with self.subTest(what):
                    done = prepare(m1, *files)
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(sentence, done.stderr)
                    self.assertEqual(done.stdout, "")
            self.assertNotIn("Prepared", self.status(m1))
            self.assertIn("belong to `ca", subprocess.run([program("muster-server"), "ca", "use", "root", "--next", "--dir", m1.dir],
                                                         capture_output=True, text=True, timeout=60, check=False).stderr)
            self.assertEqual(prepare(m1, *good).returncode, 0)
            other = company.intermediate("other", "/CN=other")
            self.assertIn("another CA is prepared already", prepare(m1, *other).stderr)
            done = prepare(m1, *other, "--force")
            self.assertIn("in place of another one", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
