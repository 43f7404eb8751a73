"""Hostile peers on the agent port: each is refused, none is noticed by the agents that behave."""
import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import struct
import sys
import threading
import unittest

from harness import Cluster, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import BareTls, Program  # noqa: E402

STARTUP = "com.cloud.agent.api.StartupRoutingCommand"


def header(flags, body, length=None, version=0):
    return struct.pack(">BBHqIqqq", version, 0, flags, 0, len(body) if length is None else length, -1, -1, -1) + body


def startup(**changes):
    fields = {"type": "Routing", "dataCenter": "1", "pod": "1", "cluster": "1", "hypervisorType": "KVM", "name": "evil",
              "guid": "evil-LibvirtComputingResource", "resourceName": "LibvirtComputingResource", "hostDetails": {},
              "contextMap": {}, "wait": 0}
    fields.update(changes)
    return json.dumps([{STARTUP: fields}]).encode()


class Hostile(unittest.TestCase):
    def connect(self, cluster, source=90):
        s = socket.socket()
        s.bind((f"{cluster.net}.{source}", 0))
        s.settimeout(30)
        s.connect((cluster.servers[0].address, 8250))
        return s

    def tls(self, cluster, source=90):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer = BareTls(self.connect(cluster, source), context, False)
        peer.sock.sendall(peer.handshake_holding_last_flight())
        return peer

    def send(self, peer, data):
        """A message in proper packets."""
        for at in range(0, len(data), 16384):
            peer.tls.write(data[at:at + 16384])
            record = peer.outgoing.read()
            follows = at + 16384 < len(data)
            peer.sock.sendall(struct.pack(">HH", 1 if follows else 0, len(record)) + record)

    def closed(self, sock):
        """Reads until the server has closed."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while sock.recv(65536):
                pass
        sock.close()

    def test_each_is_refused(self):
        deep = b"[" * 100000
        bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
        rows = [
            ("bytes that are no TLS", lambda c: self.raw(c, b"GET / HTTP/1.0\r\n\r\n" * 100)),
            ("an empty record storm", lambda c: self.raw(c, b"\x16\x03\x01\x00\x00" * 10000)),
            ("a packet over 18000", lambda c: self.framed(c, b"\x00\x00\x46\x51" + b"x" * 18001)),
            ("a packet of negative size", lambda c: self.framed(c, b"\x00\x00\x80\x00")),
            ("a packet that is no record", lambda c: self.framed(c, b"\x00\x00\x00\x20" + b"y" * 32)),
            ("half a packet and silence", lambda c: self.framed(c, b"\x00\x00\x10\x00half")),
            ("a message shorter than its header", lambda c: self.message(c, b"\0" * 39)),
            ("a message that never ends", self.endless),
            ("a gzip bomb", lambda c: self.message(c, header(0x81, bomb, 64 << 20))),
            ("a gzip bomb that lies about its length", lambda c: self.message(c, header(0x81, bomb, 100))),
            ("deep JSON", lambda c: self.message(c, header(1, deep))),
            ("JSON of another shape", lambda c: self.message(c, header(1, b'{"a":1}'))),
            ("an unknown class, then silence", lambda c: self.message(c, header(1, b'[{"no.such.Class":{}}]'))),
            ("a startup without a guid", lambda c: self.message(c, header(1, startup(guid=None)))),
            ("a guid with a newline", lambda c: self.message(c, header(1, startup(guid="a\nb")))),
            ("a guid with a path", lambda c: self.message(c, header(1, startup(guid="../../etc/passwd")))),
            ("a claim to be a server", lambda c: self.message(c, header(0x21, startup()))),
            ("a host that is bound to a certificate", lambda c: self.message(c, header(1, startup(
                guid=self.bound_guid + "-LibvirtComputingResource")))),
            ("nothing at all", lambda c: self.connect(c)),
            ("a handshake and nothing more", lambda c: self.tls(c).sock),
        ]
        with Cluster(1) as cluster:
            cluster.start_servers()
            m1 = cluster.servers[0]
            cluster.config("agent.ssl.handshake.timeout", "2")
            cluster.config("agent.startup.timeout", "2")
            cluster.add_agents(1)
            until(cluster.all_up, what="the good agent is Up")
            self.bound_guid = cluster.agents[0].property("guid")
            cluster.config("ca.plugin.root.auth.strictness", "false")
            until(lambda: m1.api("getMusterStatus")["musterstatus"]["strictness"] is False, what="the server is open")
            for what, act in rows:
                with self.subTest(what):
                    self.closed(act(cluster))
                    self.assertTrue(m1.alive(), m1.log()[-2000:])
            self.assertEqual(list(cluster.hosts()), ["H1"], "none of them became a host")
            self.assertEqual(cluster.hosts()["H1"]["state"], "Up")

    def raw(self, cluster, data):
        s = self.connect(cluster)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(data)
        return s

    def framed(self, cluster, data):
        peer = self.tls(cluster)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            peer.sock.sendall(data)
        return peer.sock

    def message(self, cluster, data):
        peer = self.tls(cluster)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self.send(peer, data)
        return peer.sock

    def endless(self, cluster):
        peer = self.tls(cluster)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(1000):
                peer.tls.write(b"x" * 16384)
                record = peer.outgoing.read()
                peer.sock.sendall(struct.pack(">HH", 1, len(record)) + record)
        return peer.sock

    def test_crowd(self):
        """More silent connections than an address may have: a good agent from elsewhere gets in all the same."""
        with Cluster(1) as cluster:
            cluster.start_servers()
            crowd = []
            try:
                for _ in range(400):
                    crowd.append(self.connect(cluster))
                cluster.add_agents(1)
                until(cluster.all_up, what="the good agent is Up in spite of the crowd")
            finally:
                for s in crowd:
                    s.close()

    def test_one_that_does_not_read(self):
        """A peer that sends requests and never reads is cut off alone."""
        with Cluster(1) as cluster:
            cluster.start_servers()
            cluster.config("ca.plugin.root.auth.strictness", "false")
            m1 = cluster.servers[0]
            until(lambda: m1.api("getMusterStatus")["musterstatus"]["strictness"] is False, what="the server is open")
            cluster.add_agents(1)
            until(cluster.all_up, what="the good agent is Up")
            peer = self.tls(cluster)
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.send(peer, header(1, startup(guid="deaf-R", resourceName="R", name="deaf")))
            ping = json.dumps([{"com.cloud.agent.api.PingCommand": {"hostType": "Routing", "hostId": 1, "commandInfos": [],
                                                                    "contextMap": {"pad": "p" * 8000}}}]).encode()
            with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
                for _ in range(20000):
                    self.send(peer, header(3, ping))
                    if not m1.alive():
                        break
            peer.sock.close()
            self.assertTrue(m1.alive(), m1.log()[-2000:])
            self.assertEqual(cluster.hosts()["H1"]["state"], "Up")


class Flood:
    """Idle, slow and garbage connections from several addresses, kept up until the end of the block."""

    IDLE, SLOW, GARBAGE = 1000, 200, 200

    def __init__(self, cluster):
        self.cluster, self.stopping = cluster, threading.Event()
        self.sockets, self.n_closed_garbage, self.problem = [], 0, None
        self.thread = threading.Thread(target=self.guarded)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for s in self.sockets:
            s.close()

    def connect(self, number):
        s = socket.socket()
        s.settimeout(30)
        s.bind((f"{self.cluster.net}.{150 + number % 8}", 0))
        s.connect((self.cluster.servers[0].address, 8250))
        return s

    def guarded(self):
        try:
            self.run()
        except Exception as problem:  # told by the test
            self.problem = problem

    def garbage(self, number):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s = self.connect(number)
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while s.recv(100):
                pass
        s.close()
        self.n_closed_garbage += 1

    def run(self):
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
        self.sockets = [self.connect(n) for n in range(self.IDLE + self.SLOW)]
        slow, at = self.sockets[self.IDLE:], 0
        while not self.stopping.is_set():
            for n, s in enumerate(slow):
                try:
                    s.sendall(hello[at % len(hello):][:1])
                except OSError:  # closed at its deadline, or for a newcomer: the next one
                    s.close()
                    slow[n] = self.sockets[self.IDLE + n] = self.connect(n)
            at += 1
            for n in range(self.GARBAGE // 20):
                self.garbage(n)


class Storms(unittest.TestCase):
    def reference_agent(self, cluster, number):
        directory = os.path.join(cluster.dir, f"K{number}")
        os.makedirs(directory, exist_ok=True)
        return Program("reference_agent.py", "--properties", os.path.join(directory, "agent.properties"), "--name",
                       f"K{number}", "--guid", f"00000000-0000-3000-8000-00000000000{number}", "--port", 8250,
                       "--source-address", f"{cluster.net}.{100 + number}", "--time-scale", 0.05, "--no-keystore",
                       "--hosts", cluster.servers[0].address)

    def test_few_files(self):
        """Where there are fewer open files than links.max, silence doesn't use them up."""
        with Cluster(1) as cluster, contextlib.ExitStack() as stack:
            m1 = cluster.servers[0]
            m1.argv = ["prlimit", "--nofile=300:300", *m1.argv]
            cluster.start_servers()
            self.assertIn("fewer links than links.max", m1.log())
            for number in range(400):
                s = stack.enter_context(socket.socket())
                s.bind((f"{cluster.net}.{150 + number % 8}", 0))
                s.settimeout(30)
                s.connect((m1.address, 8250))
            cluster.add_agents(2)
            until(cluster.all_up, what="good agents get in")

    def test_flood(self):
        """Good agents get in past 1,400 hostile connections and a total limit of 500; nobody who is in loses its link,
        and no CloudStack agent is told anything that makes it exit."""
        with Cluster(1) as cluster, contextlib.ExitStack() as stack:
            m1 = cluster.servers[0]
            with open(os.path.join(m1.dir, "server.properties"), "a", encoding="ascii") as f:
                f.write("links.anonymous=500\n")
            cluster.start_servers()
            cluster.config("ca.plugin.root.auth.strictness", "false")
            until(lambda: cluster.status()["strictness"] is False, what="the server is open")
            cluster.add_agents(5)
            known = self.reference_agent(cluster, 1)
            stack.callback(known.end)
            until(lambda: cluster.all_up(6), what="those that were there before")

            flood = stack.enter_context(Flood(cluster))
            until(lambda: flood.problem or flood.n_closed_garbage >= Flood.GARBAGE, what="the flood has come",
                  seconds=120)
            self.assertGreater(cluster.status()["admission"]["maderoom"], 0)
            cluster.add_agents(15)
            late = self.reference_agent(cluster, 2)
            stack.callback(late.end)
            until(lambda: cluster.all_up(22), what="those that come meanwhile", seconds=120)
            for agent in (known, late):
                self.assertIsNone(agent.find("exit"))
            self.assertIsNone(flood.problem)
            admission = cluster.status()["admission"]
            self.assertLessEqual(admission["strangers"], 500)
            self.assertEqual(admission["noroom"], 0)
            lost = re.findall(r"session moved .* from=(?:ready to=|attached to=(?!ready)).*", m1.log())
            self.assertEqual(lost, [], "nobody has lost its link")


if __name__ == "__main__":
    unittest.main()
