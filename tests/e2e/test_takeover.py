"""muster-agent takes over hosts on which CloudStack's agent has run (the one of tests/interop, written from the reference)."""
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import unittest

from harness import Agent, Cluster, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import pki  # noqa: E402
import properties  # noqa: E402
from driver import Program, body  # noqa: E402

GUID = "00000000-0000-3000-8000-00000000000a"
RESOURCE = "LibvirtComputingResource"
SCALE = 0.05  # 5 s of the reference are 0.25 s here
PASSPHRASE = "Ab3dEf6hJk9mNp2Q"
PEM = ("cloud.key", "cloud.crt", "cloud.ca.crt")


def takeover(*arguments):
    return subprocess.run([program("muster-agent"), "takeover", *arguments], capture_output=True, text=True, timeout=60, check=False)


def contents(directory):
    """All files but the lock, which says who was there last."""
    found = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if name != "agent.lock" and os.path.isfile(path):
            with open(path, "rb") as f:
                found[name] = f.read()
    return found


class Takeover(unittest.TestCase):
    def cloudstack_agent(self, directory, source, *options):
        return Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name", "K1", "--guid", GUID,
                       "--port", 8250, "--source-address", source, "--time-scale", SCALE, "--set", "resource=com.cloud.hypervisor."
                       f"kvm.resource.{RESOURCE}", *options)

    def check_secrets(self, result, directory):
        said = result.stdout + result.stderr
        with open(os.path.join(directory, "agent.properties"), encoding="latin-1") as f:
            passphrase = properties.parse(f.read()).get("keystore.passphrase", PASSPHRASE)
        self.assertNotIn(passphrase, said)
        self.assertNotIn("PRIVATE", said)

    def test_what_is_no_file(self):
        """A pipe that nobody writes, a device, a folder, a file of a terabyte: refused by name, at once."""
        for name in ("agent.properties", "cloud.jks", "cloud.key"):
            for kind, says in (("pipe", "is a named pipe, not a file"), ("device", "is a device, not a file"),
                               ("folder", "is a folder, not a file"), ("huge", "is larger than")):
                with self.subTest(name=name, kind=kind), tempfile.TemporaryDirectory() as directory:
                    path = os.path.join(directory, name)
                    if name != "agent.properties":
                        with open(os.path.join(directory, "agent.properties"), "w", encoding="ascii") as f:
                            f.write(f"guid={GUID}\nhost=127.0.0.1\nport=8250\n")
                    if name == "cloud.key":
                        for other in ("cloud.crt", "cloud.ca.crt"):
                            with open(os.path.join(directory, other), "w", encoding="ascii") as f:
                                f.write("nothing")
                    if kind == "pipe":
                        os.mkfifo(path)
                    elif kind == "device":
                        os.symlink("/dev/zero", path)
                    elif kind == "folder":
                        os.mkdir(path)
                    else:
                        with open(path, "wb") as f:
                            f.truncate(1 << 40)
                    result = takeover(directory)
                    self.assertIn(f"{path} {says}", result.stderr)
                    self.assertEqual(result.returncode, 66, result.stderr)

    def test_from_a_key_store_on_our_servers(self):
        """The host keeps its row: same id, same guid, the certificate from cloud.jks; in place, and twice."""
        with Cluster(1) as cluster:
            authority = cluster.cloudstack_ca()
            cluster.start_servers()
            server = cluster.servers[0]
            agent = Agent(cluster, "K1")
            authority.issue(os.path.join(agent.dir, "cloud.crt"), f"{cluster.net}.101")
            os.remove(os.path.join(agent.dir, "cloud.csr"))
            shutil.copy(authority.certificate, os.path.join(agent.dir, "cloud.ca.crt"))
            old = self.cloudstack_agent(agent.dir, f"{cluster.net}.101", "--hosts", server.address, "--set",
                                        f"keystore.passphrase={PASSPHRASE}")
            try:
                before = until(lambda: (h := cluster.hosts().get("K1")) and h["state"] == "Up" and h, what="CloudStack's agent is Up")
                self.assertFalse(before["mustermuster"])
                until(lambda: agent.property(f"{RESOURCE}.id"), what="it knows its id")
            finally:
                old.end()

            # As its scripts leave it: everything in cloud.jks.
            key, certificate, ca = (os.path.join(agent.dir, name) for name in PEM)
            pki.openssl("pkcs12", "-export", "-name", "cloud", "-in", certificate, "-inkey", key, "-certfile", ca,
                        "-out", os.path.join(agent.dir, "cloud.jks"), "-passout", f"pass:{PASSPHRASE}")
            for path in (key, certificate, ca):
                os.remove(path)
            untouched = contents(agent.dir)

            # Without a takeover it would trust every server, where the one before did not.
            early = subprocess.run([program("muster-agent"), "--dir", agent.dir], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(early.returncode, 66)
            self.assertIn("muster-agent takeover", early.stderr)

            first = takeover(agent.dir)
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertIn(f"guid {GUID}", first.stdout)
            self.assertIn("taken from    cloud.jks", first.stdout)
            self.check_secrets(first, agent.dir)
            after = contents(agent.dir)
            self.assertEqual({name: after[name] for name in untouched}, untouched)
            for name in PEM:
                self.assertEqual(stat.S_IMODE(os.stat(os.path.join(agent.dir, name)).st_mode), 0o600)
            again = takeover(agent.dir)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(contents(agent.dir), after)

            cluster.agents.append(agent)
            with open(agent.properties, "a", encoding="ascii") as f:
                f.write(f"muster.source.ip={cluster.net}.101\n")  # on a machine of its own it would have no other
            agent.start()
            host = until(lambda: next((h for h in cluster.hosts().values() if h["mustermuster"] and h["state"] == "Up"), None),
                         what="muster-agent is Up")
            self.assertEqual(host["id"], before["id"])
            self.assertTrue(host["mustersecured"])
            self.assertEqual(len(cluster.hosts()), 1)
            self.assertEqual(agent.property("guid"), GUID)

            busy = takeover(agent.dir)
            self.assertEqual(busy.returncode, 67)
            self.assertIn("another muster-agent is at work", busy.stderr)

            # The way back: CloudStack's agent starts from what it had.
            agent.kill(signal.SIGTERM)
            back = self.cloudstack_agent(agent.dir, f"{cluster.net}.101")
            try:
                returned = until(lambda: next((h for h in cluster.hosts().values() if not h["mustermuster"] and h["state"] == "Up"), None),
                                 what="CloudStack's agent is back")
                self.assertEqual(returned["id"], before["id"])
            finally:
                back.end()

    def test_from_cloudstack_servers(self):
        """A certificate as CloudStack provisions it, over the link; its servers stay, the agent changes, in a folder of its own."""
        with Cluster(0) as cluster:
            server = Program("reference_server.py", "--ca-dir", os.path.join(cluster.dir, "ca"), "--ca-key-bits", 2048, "--listen",
                             f"{cluster.net}.1:8250", "--db", os.path.join(cluster.dir, "db.json"), "--host-setting",
                             f"{cluster.net}.1", "--algorithm", "static", "--ping-interval", 2)
            server.wait("listening")
            folder = os.path.join(cluster.dir, "cloudstack")
            os.makedirs(folder)
            agent = Agent(cluster, "A1")
            cluster.others.append(agent)
            source = f"{cluster.net}.77"
            try:
                old = self.cloudstack_agent(folder, source, "--hosts", f"{cluster.net}.1")
                try:
                    before = server.wait("host-status", status="Up")
                    server.message("in", "ReadyAnswer", before)
                    server.tell("provision")
                    provisioned = server.wait("provisioned")
                    server.message("in", "ReadyAnswer", server.wait("host-status", provisioned, status="Up"))
                finally:
                    old.end()
                untouched = contents(folder)
                self.assertIn("cloud.jks", untouched)

                for options, source_text in (((), "cloud.key, cloud.crt and cloud.ca.crt"), (("--store",), "cloud.jks")):
                    result = takeover(folder, "--dir", agent.dir, *options)
                    self.assertEqual(result.returncode, 0, result.stderr)
                    self.assertIn(f"taken from    {source_text} in {folder}", result.stdout)
                    self.check_secrets(result, folder)
                self.assertEqual(contents(folder), untouched)
                self.assertIsNone(agent.property("keystore.passphrase"))
                with open(agent.properties, "a", encoding="ascii") as f:
                    f.write(f"muster.source.ip={source}\n")

                mark = server.mark()
                agent.start()
                handshake = server.wait("handshake", mark)
                self.assertEqual(handshake["clientCertificate"]["countryName"], "cloudstack")
                startup = body(server.message("in", "StartupRoutingCommand", mark))
                self.assertEqual(startup["guid"], f"{GUID}-{RESOURCE}")
                up = server.wait("host-status", mark, status="Up")
                self.assertEqual((up["host"], up["guid"]), (before["host"], before["guid"]))
                agent.kill(signal.SIGTERM)
                self.assertEqual(agent.child.returncode, 0)
            finally:
                server.end()


if __name__ == "__main__":
    unittest.main()
