"""Certificates on real processes: who is revoked on one server is cut and refused on all, the signed list, muster cert."""
import http.client
import json
import os
import subprocess
import time
import unittest

from harness import Cluster, program, until

API_PORT = 8080


def muster(server, *words, **more):
    return subprocess.run([program("muster"), "--socket", server.socket, *words], capture_output=True, text=True,
                          timeout=120, check=False, **more)


def fetch(server, path):
    connection = http.client.HTTPConnection(server.address, API_PORT, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, timeout=60, check=False)


class Certs(unittest.TestCase):
    def cluster(self):
        cluster = Cluster(2)
        for server in cluster.servers:
            path = os.path.join(server.dir, "server.properties")
            with open(path, encoding="ascii") as f:
                text = f.read()
            with open(path, "w", encoding="ascii") as f:
                f.write(text.replace("api.port=0", f"api.port={API_PORT}"))
        return cluster

    def on_m2(self, cluster):
        """Two agents, both on the second server."""
        m1, m2 = cluster.servers
        cluster.list_all(m2, m1)
        cluster.add_agents(2)
        until(lambda: cluster.all_up() and set(cluster.connected().values()) == {m2.address}, what="both are on m2")
        return cluster.agents

    def entries(self, server):
        try:
            return server.api("getRevocationList")["revocationlist"]["entries"]
        except Exception:  # not yet
            return -1

    def test_revoked_on_one_server_cut_on_the_other(self):
        with self.cluster() as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            gone, _ = self.on_m2(cluster)
            listed = json.loads(muster(m1, "cert", "list", "--host", "H1", "--json").stdout)["certificate"]
            self.assertEqual([c["state"] for c in listed], ["inuse"])

            began = time.monotonic()
            result = muster(m1, "cert", "revoke", "H1", "--reason", "stolen", "--yes")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("its link is cut on every server", result.stdout)
            until(lambda: cluster.hosts(m1)["H1"]["state"] != "Up", what="the link is cut")
            took = time.monotonic() - began
            print(f"revoked with muster cert revoke, cut at the other server after {took * 1000:.0f} ms")
            # It holds a good ticket and comes back at once, to either: refused by name, resumed or not.
            until(lambda: f"{listed[0]['serial']} is revoked" in m2.log() + m1.log(), what="its return is refused")
            self.assertEqual(cluster.hosts(m1)["H2"]["state"], "Up")
            until(lambda: "TLS1.3 resumed" in gone.log(), what="it came with its ticket")
            until(lambda: "is revoked" in gone.log(), what="its agent hears why")
            event = m1.api("listEvents", type="CA.CERTIFICATE.REVOKE")["event"][0]
            self.assertIn("stolen", event["description"])
            shown = muster(m2, "cert", "show", listed[0]["serial"])
            self.assertIn("by local: stolen", shown.stdout)

    def test_the_signed_list(self):
        with self.cluster() as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            until(lambda: self.entries(m1) == 0 and self.entries(m2) == 0, what="there is an empty list")
            key, crt, ca, crl = (os.path.join(cluster.dir, name) for name in ("key", "crt", "ca", "crl"))
            result = muster(m2, "cert", "issue", "web.example", "--ip", "10.0.0.9", "--key", key, "--out", crt, "--ca", ca)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
            self.assertEqual(openssl("verify", "-CAfile", ca, crt).returncode, 0)
            self.assertEqual(openssl("x509", "-in", crt, "-noout", "-pubkey").stdout,
                             openssl("pkey", "-in", key, "-pubout").stdout)
            serial = openssl("x509", "-in", crt, "-noout", "-serial").stdout.decode().strip().split("=")[1]
            # As OpenSSL prints it, capitals and all.
            self.assertEqual(muster(m1, "cert", "revoke", serial, "--yes").returncode, 0)
            until(lambda: self.entries(m1) == 1 and self.entries(m2) == 1, what="both have the new list")

            status, kind, pem = fetch(m1, "/crl.pem")
            self.assertEqual((status, kind), (200, "application/x-pem-file"))
            self.assertEqual(fetch(m2, "/crl.pem")[2], pem)
            self.assertEqual(muster(m2, "ca", "crl").stdout.encode(), pem)
            until(lambda: read(os.path.join(m2.dir, "crl.pem")) == pem, what="the file is there")
            status, kind, der = fetch(m2, "/crl.der")
            self.assertEqual((status, kind), (200, "application/pkix-crl"))
            self.assertEqual(openssl("crl", "-inform", "DER", "-outform", "PEM", data=der).stdout.split(),
                             pem.split())
            with open(crl, "wb") as f:
                f.write(pem)
            checked = openssl("crl", "-in", crl, "-CAfile", ca, "-noout", "-text")
            self.assertIn(b"verify OK", checked.stdout + checked.stderr)
            judged = openssl("verify", "-crl_check", "-CRLfile", crl, "-CAfile", ca, crt)
            self.assertNotEqual(judged.returncode, 0)
            self.assertIn(b"certificate revoked", judged.stdout + judged.stderr)
            own = openssl("verify", "-crl_check", "-CRLfile", crl, "-CAfile", ca, os.path.join(m1.dir, "server.crt"))
            self.assertEqual(own.returncode, 0, own.stderr)

    def test_a_revoked_server_is_cut_off(self):
        with self.cluster() as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers

            def shown():
                listed = muster(m1, "cert", "list", "--server", "m2", "--state", "in-use", "--json")
                return json.loads(listed.stdout) if listed.returncode == 0 else {"count": 0}  # m1 has not heard of m2 yet

            until(lambda: shown()["count"] > 0, what="m1 has seen the certificate of m2")
            serial = shown()["certificate"][0]["serial"]
            refused = muster(m1, "cert", "revoke", serial, "--yes")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("the others would cut it off", refused.stderr)
            self.assertEqual(muster(m1, "cert", "revoke", serial, "--yes", "--force").returncode, 0)
            until(lambda: "link to a management server is cut" in m1.log() and "certificate revoked" in m1.log(), what="m1 cuts the link")
            until(lambda: "no link" in json.dumps(m1.api("getMusterStatus")["musterstatus"]["servers"]),
                  what="they have no link")


if __name__ == "__main__":
    unittest.main()
