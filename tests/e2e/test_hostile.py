"""Hostile peers on the agent port: each is refused, none is noticed by the agents that behave."""
import contextlib
import gzip
import json
import os
import socket
import ssl
import struct
import sys
import unittest

from harness import Cluster, until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from driver import BareTls  # noqa: E402

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


if __name__ == "__main__":
    unittest.main()
