"""CloudStack's agents at our door: TLS 1.2, RSA, with and without certificate. What the reference would say, and what we do.

The agent is the one of tests/interop, on OpenSSL. The table is docs/protocol.md's "Checks at connect".
"""
import os
import shutil
import ssl
import socket
import subprocess
import sys
import unittest

from harness import Cluster, PORT, program, until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import pki  # noqa: E402
from driver import Program  # noqa: E402

STRICT = "ca.plugin.root.auth.strictness"
EXPIRED = "ca.plugin.root.allow.expired.cert"
SCALE = 0.05
SECURED, UNSECURED = "secured", "unsecured"


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class JavaPeers(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(1)
        self.cluster.__enter__()
        self.addCleanup(lambda: self.cluster.__exit__(*(sys.exc_info() if self.failed() else (None, None, None))))
        self.ca = self.cluster.cloudstack_ca()
        self.cluster.start_servers()
        self.server = self.cluster.servers[0]
        self.number = 0
        self.agents = []
        self.addCleanup(lambda: [a.end() for a in self.agents])

    def failed(self):
        return any(error for _, error in getattr(self._outcome, "errors", []))

    # ---- certificates, and agents that show them ----

    def address(self, number):
        return f"{self.cluster.net}.{100 + number}"

    def certificate(self, address, authority=None, **life):
        path = os.path.join(self.cluster.dir, f"{len(os.listdir(self.cluster.dir))}.crt")
        return (authority or self.ca).issue(path, address, **life)

    def agent(self, shown, number, guid=None):
        """From the address with that number; `shown` is (certificate, key) or None."""
        directory = os.path.join(self.cluster.dir, f"K{len(self.agents)}")
        os.makedirs(directory)
        options = ("--no-keystore",) if shown is None else ("--cert", shown[0], "--key", shown[1], "--ca", self.ca.certificate)
        agent = Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name", guid or f"n{number}",
                        "--guid", guid or f"g{number}", "--port", PORT, "--hosts", self.server.address, "--source-address",
                        self.address(number), "--time-scale", SCALE, *options)
        self.agents.append(agent)
        return agent

    def setting(self, name, value):
        self.cluster.config(name, value)
        until(lambda: next(c for c in self.server.api("listConfigurations", name=name)["configuration"])["value"] == value, what=name)

    def refused(self, number, sentence):
        peer = f"peer={self.address(number)} "
        return any(peer in line and "to=closed" in line and sentence in line for line in self.server.log().splitlines())

    def check(self, shown, number, wanted, guid=None):
        """`wanted` is SECURED, UNSECURED or a part of the reason."""
        name = guid or f"n{number}"
        agent = self.agent(shown, number, guid)
        if wanted in (SECURED, UNSECURED):
            agent.message("in", "ReadyCommand")  # not "Up", which the one before may have left behind
            until(lambda: (h := self.cluster.hosts().get(name)) and h["state"] == "Up" and
                  h["mustersecured"] == (wanted == SECURED), what=f"{name} is Up and {wanted}")
        else:
            until(lambda: self.refused(number, wanted), what=f"refused: {wanted}")
            agent.wait("closed")
            self.assertIsNone(agent.find("exit"), "no answer makes an agent exit")
        agent.end()
        return agent

    # ---- the tables ----

    def test_certificates(self):
        foreign = pki.CertificateAuthority(os.path.join(self.cluster.dir, "foreign"), 2048)
        revoked = None
        # what, certificate for (None: none), how it is made, settings of expired ones, strict, not strict
        rows = [
            ("none", None, {}, "true", "no client certificate", UNSECURED),
            ("good", True, {}, "true", SECURED, SECURED),
            ("expired yesterday, allowed", True, {"days": -1, "age": 10}, "true", SECURED, SECURED),
            ("expired yesterday, not allowed", True, {"days": -1, "age": 10}, "false", "has expired", "is expired"),
            ("expired long ago, allowed", True, {"days": -40, "age": 90}, "true", "has expired", "expired for longer"),
            ("not valid yet", True, {"days": 10, "age": -2}, "true", "not valid yet", "not valid yet"),
            ("of another address", False, {}, "true", "is not in certificate", UNSECURED),
            ("of a foreign CA, with the right address", True, {"authority": foreign}, "true", "not signed by a trusted CA", UNSECURED),
        ]
        for strict, column in (("true", 4), ("false", 5)):
            self.setting(STRICT, strict)
            for row in rows:
                what, fits, made, allowed = row[:4]
                self.number += 1
                with self.subTest(what, strict=strict):
                    self.setting(EXPIRED, allowed)
                    address = self.address(self.number if fits else 90)
                    shown = None if fits is None else self.certificate(address, **made)
                    self.check(shown, self.number, row[column])

        # A revoked one is refused either way; the reference lets it in where strictness is off.
        for strict in ("true", "false"):
            self.setting(STRICT, strict)
            self.number += 1
            with self.subTest("revoked", strict=strict):
                revoked = self.certificate(self.address(self.number))
                self.check(revoked, self.number, SECURED)
                self.server.api("deleteHost", id=self.cluster.hosts()[f"n{self.number}"]["id"], forced="true")
                self.check(revoked, self.number, "is revoked")

    def test_hosts(self):
        """Whose host it is: the reference asks nobody, who has a certificate for his address may say any guid."""
        guid = "g-of-one"
        one = self.certificate(self.address(1))
        self.check(one, 1, SECURED, guid)
        # The neighbour has a good certificate, for itself.
        self.check(self.certificate(self.address(2)), 2, "another key before", guid)
        # The machine is set up again.
        self.check(self.certificate(self.address(1)), 1, SECURED, guid)
        self.server.api("allowWeakerIdentity", id=self.cluster.hosts()[guid]["id"])
        two = self.certificate(self.address(2))
        self.check(two, 2, SECURED, guid)
        self.setting(STRICT, "false")
        self.check(None, 2, "once showed a certificate", guid)
        self.check(two, 2, SECURED, guid)

    def test_strict_means_strict(self):
        self.setting(STRICT, "false")
        agent = self.agent(None, 1)
        until(lambda: self.cluster.hosts().get("n1", {}).get("state") == "Up", what="it is Up")
        until(lambda: self.cluster.status()["unsecured"] == 1, what="it is counted")
        until(lambda: "AGENTS WITHOUT A CERTIFICATE ARE LET IN" in self.server.log(), what="it is said loudly")
        shown = subprocess.run([program("muster"), "--socket", self.server.socket, "status"], capture_output=True, text=True,
                               timeout=60, check=True).stdout
        self.assertIn("Agents without a certificate are let in", shown)
        self.assertIn("1 unsecured", shown)
        mark = agent.mark()
        self.setting(STRICT, "true")
        agent.wait("closed", after=mark)
        until(lambda: self.cluster.hosts()["n1"]["state"] != "Up", what="it is not Up")
        until(lambda: self.refused(1, "no client certificate"), what="nor gets in again")
        until(lambda: "CA.STRICTNESS" in [e["type"] for e in self.server.api("listEvents")["event"]], what="the events say so")

    def test_what_tls_it_may_speak(self):
        """With our RSA CA: RSA alone, ECDSA alone, both; TLS 1.1 not at all. Which certificate is shown."""
        until(lambda: os.path.exists(os.path.join(self.server.dir, "server.rsa.crt")), what="the RSA certificate is there")
        certificate, key = self.certificate(self.server.address)
        rows = [
            # versions, cipher suites, suite agreed on (a part), kind of the server's key; None: refused
            (ssl.TLSVersion.TLSv1_2, None, "ECDHE-ECDSA", "id-ecPublicKey"),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA", "rsaEncryption"),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA", "id-ecPublicKey"),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384", None, None),
            (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", None, None),
            (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES256-GCM-SHA384", None, None),
            (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", None, None),
        ]
        # The file is there a moment before it is used.
        until(lambda: self.handshake(certificate, key, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384"), what="RSA is shown")
        for version, ciphers, suite, kind in rows:
            with self.subTest(version=version, ciphers=ciphers):
                got = self.handshake(certificate, key, version, ciphers)
                if suite is None:
                    self.assertIsNone(got)
                    continue
                self.assertTrue(got[0].startswith(suite), got[0])
                self.assertIn(kind, pki.openssl("x509", "-noout", "-text", stdin=got[1].encode()))
                # Verified by the only CA that CloudStack's agents have.
                path = os.path.join(self.cluster.dir, "shown.pem")
                with open(path, "w", encoding="ascii") as f:
                    f.write(got[1])
                pki.openssl("verify", "-CAfile", self.ca.certificate, path)

    def handshake(self, certificate, key, version, ciphers):
        """(suite, the server's certificate), or None."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.ca.certificate)
        context.load_cert_chain(certificate, key)
        if ciphers:
            context.set_ciphers(ciphers)
        context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection((self.server.address, PORT), 30) as plain, context.wrap_socket(plain) as tls:
                return tls.cipher()[0], ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))
        except (ssl.SSLError, ConnectionError):
            return None


if __name__ == "__main__":
    unittest.main()
