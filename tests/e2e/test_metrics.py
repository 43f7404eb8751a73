"""/metrics, /healthz and /livez over real HTTP: what a scraper and a probe get, and that nobody learns more than he should."""
import concurrent.futures
import http.client
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import unittest

from harness import Agent, Cluster, Local, program, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import Program  # noqa: E402

API_PORT = 8080
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|\Z)')
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9]+(?:\.[0-9]+)?)\Z")


class Malformed(Exception):
    pass


def labels(text):
    found, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m or m.group(1) in found:
            raise Malformed(text)
        found[m.group(1)] = m.group(2).replace(r"\"", '"').replace(r"\n", "\n").replace("\\\\", "\\")
        at = m.end()
    return found


def parse(body):
    """{(name, ((label, value), ...)): number}; Malformed for whatever the format doesn't have."""
    text = body.decode("utf-8")
    if not text.endswith("\n") or "\r" in text:
        raise Malformed("line ends")
    samples, seen, current, kind = {}, set(), None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current, _, text_of_help = line[7:].partition(" ")
            if not NAME.match(current) or current in seen or not text_of_help:
                raise Malformed(line)
            seen.add(current)
            kind = None
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if name != current or kind not in ("gauge", "counter"):
                raise Malformed(line)
        else:
            m = SAMPLE.match(line)
            if not m or m.group(1) != current or not kind:
                raise Malformed(line)
            key = (current, tuple(sorted(labels(m.group(2) or "").items())))
            if key in samples:
                raise Malformed("twice: " + line)
            samples[key] = float(m.group(3))
    return samples


def fetch(server, path, method="GET", local=False, body=None):
    connection = Local(server.socket) if local else http.client.HTTPConnection(server.address, API_PORT, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Values:
    """What a server says now."""

    def __init__(self, server):
        status, headers, body = fetch(server, "/metrics")
        assert status == 200, status
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", headers
        self.body, self.samples = body, parse(body)

    def __call__(self, name, **wanted):
        return self.samples[(name, tuple(sorted(wanted.items())))]

    def total(self, name, **wanted):
        return sum(v for (n, have), v in self.samples.items() if n == name and wanted.items() <= dict(have).items())


def soon(server, name, value, **wanted):
    """The text may be a second old."""
    until(lambda: Values(server)(name, **wanted) == value, what=f"{name} {wanted} is {value} on {server.name}")


def cluster_of(n, settings=""):
    cluster = Cluster(n)
    for server in cluster.servers:
        path = os.path.join(server.dir, "server.properties")
        with open(path, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write(text.replace("api.port=0", f"api.port={API_PORT}") + settings)
    return cluster


class Metrics(unittest.TestCase):
    def stranger(self, server):
        """A client without a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection((server.address, 8250), 10) as raw, context.wrap_socket(raw) as tls:
                tls.recv(1)
        except OSError:
            pass

    def test_an_agent_s_life(self):
        with cluster_of(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            v = Values(m1)
            self.assertEqual(v("muster_agents_connected", protocol="muster"), 0)
            self.assertEqual(v("muster_joins_total"), 0)
            self.assertEqual(v("muster_accepting"), 1)
            self.assertEqual(v("muster_ca_can_issue"), 1)
            self.assertEqual(v.total("muster_build_info"), 1)
            self.assertGreater(v("process_resident_memory_bytes"), 1000000)
            self.assertGreater(v("process_start_time_seconds"), 1700000000)
            # Its certificate ends before the CA's does, as openssl sees it.
            end = subprocess.run(["openssl", "x509", "-in", os.path.join(m1.dir, "server.crt"), "-noout", "-enddate"],
                                 capture_output=True, text=True, check=True).stdout.strip().split("=", 1)[1]
            self.assertEqual(v("muster_certificate_not_after_timestamp_seconds", kind="ec"), ssl.cert_time_to_seconds(end))
            self.assertGreater(v.total("muster_ca_not_after_timestamp_seconds", role="issuing"), ssl.cert_time_to_seconds(end))

            token = cluster.token(uses=2)
            agent = Agent(cluster, "H1")
            agent.join(token)
            agent.start()
            cluster.agents.append(agent)
            soon(m1, "muster_agents_connected", 1, protocol="muster")
            soon(m1, "muster_hosts", 1, status="Up")
            v = Values(m1)
            self.assertEqual(v("muster_joins_total"), 1)
            self.assertEqual(v("muster_certificates_issued_total", kind="agent_join"), 1)
            self.assertEqual(v("muster_agent_certificates", state="good"), 1)
            self.assertEqual(v("muster_handshakes_total", result="full") + v("muster_handshakes_total", result="resumed"), 1)
            self.assertEqual(v.total("muster_server_hosts", server="m1"), 1)
            self.assertGreater(v("muster_agent_certificate_not_after_min_timestamp_seconds"), 1700000000)

            # A join with a wrong secret, and a connection without a certificate.
            other = Agent(cluster, "H2")
            wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
            self.assertNotEqual(other.join(wrong, check=False).returncode, 0)
            before = Values(m1).total("muster_refusals_total", at="link")
            self.stranger(m1)
            until(lambda: Values(m1).total("muster_refusals_total", at="link") > before, what="it is counted")
            self.assertGreaterEqual(Values(m1)("muster_handshakes_total", result="failed"), 1)
            self.assertEqual(Values(m1)("muster_joins_total"), 1)

            # A renewal.
            done = subprocess.run([program("muster"), "--socket", m1.socket, "cert", "renew", "H1"], capture_output=True, text=True,
                                  timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            soon(m1, "muster_certificate_renewals_total", 1, result="done")
            self.assertEqual(Values(m1)("muster_certificates_issued_total", kind="renewal"), 1)

            # Revoked: its link is cut.
            done = subprocess.run([program("muster"), "--socket", m1.socket, "cert", "revoke", "H1", "--yes"], capture_output=True,
                                  text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            until(lambda: Values(m1)("muster_links_cut_total", reason="revoked") >= 1, what="its link is cut")
            soon(m1, "muster_agents_connected", 0, protocol="muster")

            # Nothing in it says who the hosts are, or lets anybody in.
            text = Values(m1).body.decode()
            for secret in ("H1", "H2", agent.property("guid"), token, token[-12:], "PRIVATE", "127."):
                self.assertNotIn(secret, text.replace(cluster.dir, ""))
            if shutil.which("promtool"):
                checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
                self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    def test_http(self):
        with cluster_of(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            for path in ("/metrics", "/healthz", "/livez"):
                status, headers, body = fetch(m1, path)
                self.assertEqual(status, 200)
                self.assertEqual(headers["Cache-Control"], "no-store")
                self.assertEqual(fetch(m1, path, local=True)[0], 200)
                status, headers, nothing = fetch(m1, path, "HEAD")
                self.assertEqual((status, nothing), (200, b""))
                self.assertGreater(int(headers["Content-Length"]), 2)
                for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                    status, headers, _ = fetch(m1, path, method, body="x=1" if method == "POST" else None)
                    self.assertEqual((status, headers.get("Allow")), (405, "GET, HEAD"), method)
                self.assertEqual(fetch(m1, path + "/")[0], 404)
                self.assertEqual(fetch(m1, path + "?command=listHosts")[0], 200)
            self.assertEqual(fetch(m1, "/healthz")[2], b"ok\n")
            self.assertEqual(fetch(m1, "/livez")[2], b"ok\n")
            # One connection for all scrapes, and many at once.
            connection = http.client.HTTPConnection(m1.address, API_PORT, timeout=20)
            for _ in range(3):
                connection.request("GET", "/metrics")
                parse(connection.getresponse().read())
            connection.close()
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                for status, _, body in pool.map(lambda _: fetch(m1, "/metrics"), range(200)):
                    self.assertEqual(status, 200)
                    parse(body)
            # A body that is too large is swallowed, not kept.
            self.assertEqual(fetch(m1, "/metrics", "POST", body=b"a" * 3000000)[0], 405)

    def test_many_hosts(self):
        """More than one turn's work: who asks is suspended meanwhile, also when the server ends."""
        hosts = 2500
        with cluster_of(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda n: m1.api("addHost", url=f"http://h{n}"), range(hosts)))
                until(lambda: Values(m1).total("muster_hosts") == hosts, what="all are counted")
                for status, _, body in pool.map(lambda _: fetch(m1, "/metrics"), range(50)):
                    self.assertEqual(status, 200)
                    parse(body)

                def ask_until_the_end(_):
                    n = 0
                    while m1.alive():
                        try:
                            status, _, body = fetch(m1, "/metrics")
                        except (OSError, http.client.HTTPException):
                            continue
                        self.assertIn(status, (200, 503))
                        n += status == 200 and len(parse(body)) > 0
                    return n

                asking = [pool.submit(ask_until_the_end, n) for n in range(6)]
                until(lambda: Values(m1).total("muster_hosts") == hosts, what="it still answers")
                m1.kill(signal.SIGINT)
                self.assertEqual(m1.child.returncode, 0)
                for a in asking:
                    a.result()

    def test_switched_off(self):
        with cluster_of(1, "api.metrics=false\n") as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            for path in ("/metrics", "/healthz", "/livez"):
                self.assertEqual(fetch(m1, path)[0], 404)
                self.assertEqual(fetch(m1, path, local=True)[0], 200)

    def test_agents_without_a_certificate(self):
        with cluster_of(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            self.assertEqual(Values(m1)("muster_certificates_required"), 1)
            cluster.config("ca.plugin.root.auth.strictness", "false")
            soon(m1, "muster_certificates_required", 0)
            self.assertEqual(fetch(m1, "/healthz")[2], b"ok\nagents without a certificate are let in\n")
            directory = os.path.join(cluster.dir, "K1")
            os.makedirs(directory)
            agent = Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name", "K1",
                            "--guid", "00000000-0000-3000-8000-000000000001", "--port", 8250, "--source-address",
                            f"{cluster.net}.101", "--time-scale", 0.05, "--no-keystore", "--hosts", m1.address)
            try:
                soon(m1, "muster_agent_certificates", 1, state="unsecured")
                self.assertEqual(Values(m1)("muster_agents_connected", protocol="cloudstack"), 1)
                cluster.config("ca.plugin.root.auth.strictness", "true")
                until(lambda: Values(m1)("muster_links_cut_total", reason="unsecured") >= 1, what="it is cut")
                soon(m1, "muster_agent_certificates", 0, state="unsecured")
            finally:
                agent.end()

    def test_a_drain(self):
        with cluster_of(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.config("host", ",".join(cluster.addresses()))
            # A command that goes on until we say so: maintenance is not reached before it has ended.
            go, script = os.path.join(cluster.dir, "go"), os.path.join(cluster.dir, "health")
            with open(script, "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.1; done\n")
            os.chmod(script, 0o755)
            cluster.add_agents(1, f"agent.health.check.script.path={script}\n")
            soon(m1, "muster_agents_connected", 1, protocol="muster")
            until(lambda: Values(m1)("muster_servers", view="up") == 1, what="m1 sees m2")
            m1.api("checkHost", id=cluster.hosts(m1)["H1"]["id"])
            soon(m1, "muster_commands_in_flight", 1)
            uuid = next(s["id"] for s in m2.api("listManagementServers")["managementserver"] if s["name"] == "m1")
            m2.api("prepareForMaintenance", managementserverid=uuid)
            soon(m1, "muster_draining", 1)
            soon(m1, "muster_state", 1, state="PreparingForMaintenance")
            self.assertEqual(Values(m1)("muster_accepting"), 0)
            self.assertEqual(fetch(m1, "/healthz")[::2],
                             (200, b"ok\nstate PreparingForMaintenance: it takes no agents while another server does\n"))
            until(lambda: Values(m2).total("muster_server_accepting", server="m1") == 0, what="m2 knows")
            soon(m2, "muster_agents_connected", 1, protocol="muster")
            soon(m2, "muster_agents_off_preferred", 1)
            with open(go, "w", encoding="ascii"):
                pass
            soon(m1, "muster_state", 1, state="Maintenance")
            soon(m1, "muster_draining", 0)
            self.assertEqual(fetch(m1, "/healthz")[0], 200)
            m2.api("cancelMaintenance", managementserverid=uuid)
            soon(m1, "muster_accepting", 1)

    def test_the_end(self):
        """A server that is told to stop and waits for its agent does not serve, and lives."""
        with cluster_of(2) as cluster:
            cluster.start_servers()
            m1, m2 = cluster.servers
            cluster.config("host", ",".join((m2.address, m1.address)))
            (agent,) = cluster.add_agents(1)
            until(lambda: cluster.all_up() and cluster.connected() == {"H1": m2.address}, what="it is on m2")
            until(lambda: Values(m2)("muster_servers", view="up") == 1, what="m2 sees m1")
            # It hangs, so it doesn't move, until m2 gives it up. Who looks all the time must see it.
            agent.child.send_signal(signal.SIGSTOP)
            m2.child.send_signal(signal.SIGTERM)
            seen = {"/healthz": [], "/livez": [], "/metrics": []}

            def look():
                for path, answers in seen.items():
                    try:
                        answers.append(fetch(m2, path)[::2])
                    except (OSError, http.client.HTTPException):
                        pass
                return not m2.alive()

            until(look, what="m2 has ended")
            agent.child.send_signal(signal.SIGCONT)
            self.assertEqual(m2.child.returncode, 0)
            self.assertIn((503, b"stopping: its agents are moving to other servers\n"), seen["/healthz"])
            self.assertIn((200, b"ok\n"), seen["/livez"])
            self.assertIn(1, [parse(body)[("muster_draining", ())] for status, body in seen["/metrics"] if status == 200])
            until(lambda: Values(m1).total("muster_server_up", server="m2") == 0, what="m1 sees m2 gone")
            soon(m1, "muster_agents_connected", 1, protocol="muster")

    def test_a_store_that_is_away(self):
        with cluster_of(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            self.assertEqual(fetch(m1, "/healthz")[0], 200)
            # Somebody holds the lock of the file, as a stopped process would.
            other = sqlite3.connect(os.path.join(cluster.dir, "muster.db"), isolation_level=None, timeout=30)
            try:
                other.execute("BEGIN IMMEDIATE")
                until(lambda: fetch(m1, "/healthz")[0] == 503, what="it does not serve")
                self.assertIn(b"the store has been failing for ", fetch(m1, "/healthz")[2])
                soon(m1, "muster_store_failing", 1)
                # Starting it anew would cost all links and mend nothing.
                self.assertEqual(fetch(m1, "/livez")[0], 200)
                other.execute("ROLLBACK")
            finally:
                other.close()
            until(lambda: fetch(m1, "/healthz")[0] == 200, what="it serves again")
            soon(m1, "muster_store_failing", 0)


if __name__ == "__main__":
    unittest.main()
