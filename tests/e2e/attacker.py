"""One connection of an attacker: TLS by OpenSSL, packets and messages written from the protocol reference.

Everything is blocking and simple. What the server says before it closes is kept; nothing here believes in certificates.
"""
import contextlib
import json
import os
import socket
import ssl
import struct
import sys
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import wire  # noqa: E402

API = "com.cloud.agent.api."
CA = "org.apache.cloudstack.ca."
REQUEST = wire.REQUEST
DEADLINE = 20  # seconds; reached only when something is wrong
SUFFIX = "-LibvirtComputingResource"


def context(alpn=("muster/1",), version=None, chain=None, key=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.set_ciphers("ALL:@SECLEVEL=0")  # an attacker is not choosy about his own keys
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the attack
        c.minimum_version = version or ssl.TLSVersion.TLSv1_2
        c.maximum_version = version or ssl.TLSVersion.TLSv1_3
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if chain:
        c.load_cert_chain(chain, key)
    return c


class Peer:
    """A link to the agent port of a server."""

    def __init__(self, address, source, ctx=None, session=None, port=8250):
        self.heard, self.closed, self.problem, self.held = [], False, "", None
        self.sock = socket.socket()
        self.sock.settimeout(DEADLINE)
        self.sock.bind((source, 0))
        self.sock.connect((address, port))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.packets, self.partial = wire.PacketReader(), bytearray()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_side=False, session=session) if ctx else None
        if ctx:
            self.handshake()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def fails(self, problem):
        self.closed, self.problem = True, str(problem)

    def handshake(self):
        while not self.closed:
            try:
                self.tls.do_handshake()
                self.raw(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.raw(self.outgoing.read())
                data = self.receive()
                if data:
                    self.incoming.write(data)
            except ssl.SSLError as problem:
                self.raw(self.outgoing.read())
                self.fails(problem)

    @contextlib.contextmanager
    def at_once(self):
        """What is sent meanwhile leaves together."""
        self.held = bytearray()
        yield
        data, self.held = bytes(self.held), None
        self.raw(data)

    def raw(self, data):
        if self.held is not None:
            self.held += data
            return
        try:
            self.sock.sendall(data)
        except OSError as problem:
            self.fails(problem)

    def receive(self):
        """The next bytes; none when the server has closed."""
        try:
            data = self.sock.recv(65536)
        except ConnectionError as problem:
            data = b""
            self.fails(problem)
        self.closed = self.closed or not data
        return data

    def packet(self, data, following=False):
        self.tls.write(data)
        self.raw(wire.packet_encode(self.outgoing.read(), following))

    def message(self, flags, items, seq=0, **header):
        """Silently nothing on a link that is closed already."""
        content = items if isinstance(items, bytes) else json.dumps(items).encode()
        data = wire.message_encode(wire.Message(flags, seq, content, **header))
        for at in range(0, len(data), 16000):
            if not self.closed:
                self.packet(data[at:at + 16000], at + 16000 < len(data))

    def messages(self):
        """Those that one read completes; an empty list for tickets and heartbeats."""
        found = []
        for packet in self.packets.feed(self.receive()):
            self.incoming.write(packet.payload)
            try:
                while data := self.tls.read(65536):
                    self.partial += data
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                pass
            except ssl.SSLError as problem:
                self.fails(problem)
            if not packet.following and len(self.partial) >= wire.HEADER_V1.size:
                found.append(wire.message_decode(bytes(self.partial)))
            if not packet.following:
                self.partial.clear()
        self.heard += found
        return found

    def wait_for(self, name):
        """The next message whose first element is of this class, and the element's fields; None when it is closed before."""
        end = time.monotonic() + DEADLINE
        while not self.closed:
            if time.monotonic() > end:
                raise AssertionError(f"no {name} comes: {self.said()}")
            for m in self.messages():
                for full, fields in (item for element in json.loads(m.content)[:1] for item in element.items()):
                    if full.endswith("." + name):
                        return m, fields
        return None, None

    def until_closed(self):
        """Everything that is heard until the server closes, as text."""
        end = time.monotonic() + DEADLINE
        while not self.closed:
            if time.monotonic() > end:
                raise AssertionError(f"the server does not close the link: {self.said()}")
            if self.tls and self.tls.version():
                self.messages()
            else:
                self.receive()
        return self.said()

    def said(self):
        return "\n".join(m.content.decode(errors="replace") for m in self.heard)

    def answer(self, request, fields, name, **changes):
        m = wire.response_to(request, json.dumps([{name: fields}]).encode())
        for key, value in changes.items():
            setattr(m, key, value)
        self.message(m.flags, m.content, m.seq, mgmt_id=m.mgmt_id, agent_id=m.agent_id, via=m.via)


def startup(guid, boot="a", link=1, **changes):
    """A muster agent's startup; boot None: a CloudStack agent's."""
    fields = {"type": "Routing", "dataCenter": "default", "pod": "default", "cluster": "default", "hypervisorType": "KVM",
              "name": guid.removesuffix(SUFFIX)[:40] if guid else "evil", "guid": guid, "resourceName": SUFFIX[1:], "hostDetails": {},
              "contextMap": {}, "wait": 0}
    if boot:
        fields.update(musterBoot=boot, musterLink=link, musterBootNumber=1)
    fields.update(changes)
    return [{API + "StartupRoutingCommand": fields}]


def become_up(peer, guid, **changes):
    """The host's id, once the server has it."""
    peer.message(REQUEST, startup(guid + SUFFIX, **changes))
    while True:
        request, ready = peer.wait_for("ReadyCommand")
        if not request:
            raise AssertionError(f"a good certificate was refused: {peer.said()} {peer.problem}")
        peer.answer(request, {"result": True, "detailsMap": {}}, API + "ReadyAnswer")
        return ready["hostId"]


def join_request(token, csr, guid="evil", **changes):
    """`token`: id and secret."""
    fields = {"tokenId": token[0], "tokenSecret": token[1], "role": "agent", "csr": csr, "guid": guid, "name": guid,
              "resourceName": SUFFIX[1:]}
    fields.update(changes)
    return [{"muster.JoinCommand": {k: v for k, v in fields.items() if v is not None}}]


def hello_sslv2():
    """A hello of SSL 2: two bytes of length, the message, three bytes a cipher."""
    body = struct.pack(">BHHHH", 1, 2, 6, 0, 16) + bytes([1, 0, 128, 7, 0, 192]) + os.urandom(16)
    return struct.pack(">H", 0x8000 | len(body)) + body
