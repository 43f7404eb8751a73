"""An agent that was off while its certificate expired: it shows that one, and comes back as long as the servers let it."""
import datetime
import os
import shutil
import signal
import subprocess
import unittest

from harness import Cluster, program, until
from test_ca import ca, company_ca, openssl

CONFIGURATION = """
[ca]
default_ca = own
[own]
dir = .
database = ./index.txt
serial = ./serial
new_certs_dir = .
certificate = ./ca.crt
private_key = ./ca.key
default_md = sha256
policy = any
x509_extensions = agent
unique_subject = no
[any]
commonName = supplied
[agent]
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
subjectAltName = URI:muster:agent:{guid}
"""


def sign(directory, agent, expired_days):
    """The agent's own key, with a certificate that expired so long ago."""
    end = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=expired_days)
    start = end - datetime.timedelta(days=100)
    for name, text in (("ca.cnf", CONFIGURATION.format(guid=agent.property("guid"))), ("index.txt", ""),
                       ("serial", f"{4096 + expired_days:04x}\n")):
        with open(os.path.join(directory, name), "w", encoding="ascii") as f:
            f.write(text)
    openssl(directory, "req", "-new", "-key", os.path.join(agent.dir, "cloud.key"), "-subj", "/CN=h", "-out", "agent.csr")
    openssl(directory, "ca", "-batch", "-config", "ca.cnf", "-in", "agent.csr", "-out", "agent.crt", "-notext",
            "-startdate", start.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ"))
    with open(os.path.join(agent.dir, "cloud.crt"), "w", encoding="ascii") as out:
        for name in ("agent.crt", "ca.crt"):
            with open(os.path.join(directory, name), encoding="ascii") as f:
                out.write(f.read())


def check(agent):
    return subprocess.run([program("muster-agent"), "--check", "--dir", agent.dir], capture_output=True, text=True, timeout=60,
                          check=False)


def explain(agent):
    return subprocess.run([program("muster-agent"), "explain", "--dir", agent.dir], capture_output=True, text=True, timeout=60,
                          check=False).stdout


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Expired(unittest.TestCase):
    def test_back_after_expiry(self):
        with Cluster(1) as cluster:
            directory = company_ca(os.path.join(cluster.dir, "company"))
            m1 = cluster.servers[0]
            done = ca(m1, "import", "--certificate", f"{directory}/ca.crt", "--key", f"{directory}/ca.key", "--chain",
                      f"{directory}/chain.crt")
            self.assertEqual(done.returncode, 0, done.stderr)
            cluster.start_servers()
            cluster.add_agents(1)
            agent = cluster.agents[0]
            until(cluster.all_up, what="the agent is up")
            self.assertIn("expires in", check(agent).stdout)
            agent.kill(signal.SIGTERM)

            # Three days: it says so, starts, and is let in.
            sign(directory, agent, 3)
            said = check(agent)
            self.assertEqual(said.returncode, 0, said.stderr)
            self.assertIn("EXPIRED 3 days ago", said.stdout)
            agent.start()
            until(cluster.all_up, what="it is let in with what has expired")
            until(lambda: "EXPIRED 3 days ago" in explain(agent), what="explain says so")
            agent.kill(signal.SIGTERM)

            # Not where the cluster doesn't allow it.
            cluster.config("ca.plugin.root.allow.expired.cert", "false")
            before = m1.log().count("expired")
            agent.start()
            until(lambda: m1.log().count("expired") > before, what="the server says why")
            until(lambda: not cluster.all_up(), what="it is not let in")
            cluster.config("ca.plugin.root.allow.expired.cert", "true")
            until(cluster.all_up, what="and it comes by itself when that has changed")
            agent.kill(signal.SIGTERM)

            # Nor after 30 days.
            sign(directory, agent, 31)
            agent.start()
            until(lambda: "SERVER" in explain(agent) and "failed" in explain(agent), what="it is refused")
            self.assertIn("EXPIRED 31 days ago", explain(agent))
            until(lambda: not cluster.all_up(), what="it is not let in")


if __name__ == "__main__":
    unittest.main()
