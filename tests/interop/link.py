"""One connection: TCP, a TLS handshake raw on the socket, then packets (sections 1.1 to 1.7).

TLS goes through memory, so that every byte between OpenSSL and the socket passes
through here: that is what framing needs, and what makes the reference's habits
visible (bytes that come with the last handshake flight are lost, no alert is ever
sent, closing is closing the socket).
"""

import asyncio
import contextlib
import socket
import ssl

import pki
import wire

RECORD_TLS12, RECORD_TLS13 = 16384, 16367  # plaintext bytes Java puts in one record (1.5)
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module doesn't name


class LinkClosed(Exception):
    """The link is of no use any more; `reason` is a stable short name."""

    def __init__(self, reason, detail=""):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


# --- bytes from the socket ----------------------------------------------------

class _Chunks(asyncio.Protocol):
    """Keeps the reads apart: which bytes came in one read decides what is lost."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.queue.put_nowait(data)

    def connection_lost(self, error):
        self.queue.put_nowait(None)


# --- looking at a handshake in clear --------------------------------------------

_CLIENT_HELLO, _CERTIFICATE, _CERTIFICATE_REQUEST = 1, 11, 13
_HANDSHAKE_RECORD = 22


class _HandshakeWatcher:
    """Collects the handshake messages of one direction, up to the first encrypted one."""

    def __init__(self):
        self._raw = bytearray()
        self._messages = bytearray()
        self._over = False

    def feed(self, data):
        """The (type, body) pairs that became complete with these bytes."""
        self._raw += data
        while not self._over and len(self._raw) >= 5:
            size = 5 + int.from_bytes(self._raw[3:5], "big")
            if len(self._raw) < size:
                break
            self._over = self._raw[0] != _HANDSHAKE_RECORD
            if not self._over:
                self._messages += self._raw[5:size]
            del self._raw[:size]
        return list(self._complete())

    def _complete(self):
        while len(self._messages) >= 4:
            size = 4 + int.from_bytes(self._messages[1:4], "big")
            if len(self._messages) < size:
                return
            yield self._messages[0], bytes(self._messages[4:size])
            del self._messages[:size]


def _vectors(data, width):
    """Splits a row of length-prefixed items."""
    at = 0
    while at + width <= len(data):
        size = int.from_bytes(data[at:at + width], "big")
        yield data[at + width:at + width + size]
        at += width + size


def _certificates(body):
    """The DER certificates of a TLS 1.2 Certificate message."""
    return list(_vectors(body[3:], 3))


def _accepted_issuers(body):
    """The DN list of a TLS 1.2 CertificateRequest."""
    after_types = 1 + body[0]
    after_algorithms = after_types + 2 + int.from_bytes(body[after_types:after_types + 2], "big")
    return list(_vectors(body[after_algorithms + 2:], 2))


def _offered(body):
    """What a ClientHello offers, as far as tests care: ALPN names, versions, server name."""
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at:at + 2], "big")
    at += 1 + body[at]
    extensions = body[at + 2:]
    offer = {"alpn": [], "versions": [body[:2].hex()], "serverName": False}
    at = 0
    while at + 4 <= len(extensions):
        kind, size = int.from_bytes(extensions[at:at + 2], "big"), int.from_bytes(extensions[at + 2:at + 4], "big")
        data = extensions[at + 4:at + 4 + size]
        if kind == 16:
            offer["alpn"] = [name.decode("latin-1") for name in _vectors(data[2:], 1)]
        elif kind == 43:
            offer["versions"] = [data[i:i + 2].hex() for i in range(1, len(data), 2)]
        elif kind == 0:
            offer["serverName"] = True
        at += 4 + size
    return offer


def _issuer(der):
    """The issuer's DN of a certificate, as DER."""
    def element(data, at):
        size, start = data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(data[start:start + count], "big"), start + count
        return start, start + size

    at, _ = element(der, 0)  # Certificate
    at, _ = element(der, at)  # TBSCertificate
    if der[at] == 0xA0:
        at = element(der, at)[1]  # version
    at = element(der, at)[1]  # serial number
    at = element(der, at)[1]  # signature algorithm
    return der[at:element(der, at)[1]]


# --- the link -------------------------------------------------------------------

class Link:
    """A TLS connection in either role. Subclasses know whom they trust."""

    def __init__(self, chunks, context, *, server_side, label):
        self.label = label
        self.peer = chunks.transport.get_extra_info("peername")[0]
        self.lost_with_finished = 0
        self.close_reason = None
        self._chunks = chunks
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._packets = wire.PacketReader()
        self._ready = []  # whole messages, not yet asked for
        self._broken = None
        self._partial = bytearray()
        self._watcher = _HandshakeWatcher()

    async def handshake(self, timeout):
        """Raises LinkClosed. No alert goes out on failure, the socket is just closed (1.3)."""
        try:
            await asyncio.wait_for(self._handshake(), timeout)
        except asyncio.TimeoutError:
            self._fail("handshake-timeout")
        except ssl.SSLError as error:
            self._fail("handshake-failed", str(error))

    async def _handshake(self):
        while not self._handshake_step():
            self._flush_raw()
            data = await self._next_chunk("closed-in-handshake")
            for kind, body in self._watcher.feed(data):
                self._saw(kind, body)
            self._incoming.write(data)
        self._check_peer()
        self._flush_raw()
        # The buffer of the handshake is thrown away, whatever is still in it (1.4).
        self.lost_with_finished = len(self._incoming.read())

    def _handshake_step(self):
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def _saw(self, kind, body):
        """A handshake message of the peer went by in clear."""

    def _check_peer(self):
        """After the peer's last flight, before ours: may call _fail()."""

    def facts(self):
        """What the "handshake" event reports."""
        return {"link": self.label, "peer": self.peer, "version": self._tls.version(),
                "cipher": self._tls.cipher()[0], "alpn": self._tls.selected_alpn_protocol(),
                "lostWithFinished": self.lost_with_finished}

    async def receive(self):
        """The next whole message, which may be empty; raises LinkClosed."""
        while not self._ready:
            if self._broken:
                self._fail(self._broken.reason, self._broken.detail)
            data = await self._next_chunk("peer-closed")
            try:
                for packet in self._packets.feed(data):
                    self._take(packet)
            except wire.WireError as error:
                self._broken = error  # raised once the messages before it are taken
        return self._ready.pop(0)

    def _take(self, packet):
        self._partial += self._open(packet.payload)
        if not packet.following:
            self._ready.append(bytes(self._partial))
            self._partial.clear()

    def _open(self, payload):
        wire.check_whole_records(payload)
        self._incoming.write(payload)
        plain = bytearray()
        try:
            while data := self._tls.read(65536):
                plain += data
        except ssl.SSLWantReadError:
            return plain
        except ssl.SSLError as error:
            raise wire.WireError("tls-error", str(error)) from error
        raise wire.WireError("tls-closed", "a framed close_notify")

    def send(self, message):
        """One record a packet; nothing but application data ever leaves after the handshake."""
        if self.close_reason:
            return
        size = RECORD_TLS13 if self._tls.version() == "TLSv1.3" else RECORD_TLS12
        for at in range(0, len(message), size):
            self._tls.write(message[at:at + size])
            self.send_raw(wire.packet_encode(self._outgoing.read(), at + size < len(message)))

    def send_raw(self, data):
        """For tests of the peer: bytes as they are, neither encrypted nor framed."""
        if not self.close_reason:
            self._chunks.transport.write(data)

    def seal(self, data):
        """For tests of the peer: the record of some plaintext, not yet framed."""
        self._tls.write(data)
        return self._outgoing.read()

    def seal_close_notify(self):
        """For tests of the peer: the alert that the reference never sends."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def close(self, reason):
        if not self.close_reason:
            self.close_reason = reason
            self._chunks.transport.close()
            self._chunks.queue.put_nowait(None)

    def _flush_raw(self):
        if data := self._outgoing.read():
            self._chunks.transport.write(data)

    async def _next_chunk(self, reason_at_end):
        data = None if self.close_reason else await self._chunks.queue.get()
        if data is None:
            self._fail(self.close_reason or reason_at_end)
        return data

    def _fail(self, reason, detail=""):
        self.close(reason)
        raise LinkClosed(self.close_reason, detail)


class ServerLink(Link):
    """The management server's end of a connection (1.3, 7.7)."""

    def __init__(self, chunks, context, *, label, check_client):
        super().__init__(chunks, context, server_side=True, label=label)
        self._check_client = check_client
        self.offered = {}

    def _saw(self, kind, body):
        if kind == _CLIENT_HELLO:
            self.offered = _offered(body)

    def _check_peer(self):
        if refusal := self._check_client(self.peer, self._tls.getpeercert()):
            self._fail("client-certificate-refused", refusal)

    def facts(self):
        certificate = self._tls.getpeercert()
        return {**super().facts(), "offered": self.offered,
                "clientCertificate": dict(r[0] for r in certificate["subject"]) if certificate else None}


class ClientLink(Link):
    """The agent's end. Both checks need the server's flight in clear, so TLS 1.2 only."""

    def __init__(self, chunks, trust, *, label):
        super().__init__(chunks, trust.context(), server_side=False, label=label)
        self._trust = trust
        self.accepted_issuers = None  # None: no certificate was asked for
        self.sent_certificate = False

    def _saw(self, kind, body):
        if kind == _CERTIFICATE and not self._trust.accepts(_certificates(body)):
            self._fail("server-certificate-not-trusted")
        if kind == _CERTIFICATE_REQUEST:
            self.accepted_issuers = _accepted_issuers(body)
            if self._trust.answers(self.accepted_issuers):
                self.sent_certificate = True
                self._tls.context = self._trust.context(with_certificate=True)

    def facts(self):
        issuers = None if self.accepted_issuers is None else len(self.accepted_issuers)
        return {**super().facts(), "acceptedIssuers": issuers, "sentCertificate": self.sent_certificate}


class Trust:
    """The agent's key store: CA certificates to trust, a certificate to show; both optional."""

    def __init__(self, ca=None, certificate=None, key=None):
        self._ca, self._certificate, self._key = ca, certificate, key

    def context(self, *, with_certificate=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # accepts() decides, before we answer the server
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        if with_certificate:
            context.load_cert_chain(self._certificate, self._key)
        return context

    def accepts(self, chain):
        """Without a key store every server is trusted."""
        return self._ca is None or pki.chain_is_trusted(chain, self._ca)

    def answers(self, issuers):
        """Whether the certificate is shown to a server that accepts these issuers."""
        if self._certificate is None:
            return False
        with open(self._certificate, encoding="ascii") as file:
            pems = file.read().split("-----END CERTIFICATE-----")[:-1]
        own = {_issuer(ssl.PEM_cert_to_DER_cert(pem.strip() + "\n-----END CERTIFICATE-----")) for pem in pems}
        return not issuers or bool(own & set(issuers))


async def connect(host, port, trust, *, source=None, timeout=30, label="link"):
    """Opens a client link; raises OSError or LinkClosed. TCP has no time limit of its own."""
    loop = asyncio.get_running_loop()
    local = (source, 0) if source else None
    _, chunks = await loop.create_connection(_Chunks, host or "localhost", port, local_addr=local)
    link = ClientLink(chunks, trust, label=label)
    try:
        await link.handshake(timeout)
    except BaseException:
        link.close("abandoned")
        raise
    return link


async def probe(host, port, *, source=None, timeout=5):
    """The bare TCP connect of preferred-host checks and migrations: not a byte is sent."""
    loop = asyncio.get_running_loop()
    local = (source, 0) if source else None
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        opening = loop.create_connection(_Chunks, host or "localhost", port, local_addr=local)
        transport, _ = await asyncio.wait_for(opening, timeout)
        transport.close()
        return True
    return False


async def listen(address, port, on_connection):
    """Calls on_connection(chunks) for each accepted socket; keep-alive is set (1.1)."""
    def accepted():
        chunks = _Chunks()
        made = chunks.connection_made

        def connection_made(transport):
            made(transport)
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            on_connection(chunks)

        chunks.connection_made = connection_made
        return chunks

    return await asyncio.get_running_loop().create_server(accepted, address, port)


def server_context(ca, *, strict, tls13, allow_expired=True):
    """A fresh context for each connection, as in Java: nothing can ever be resumed (1.2).

    The certificate shown is the CA's own. Unlike Java's trust manager, OpenSSL always
    checks that a client certificate was issued by the CA; Python can't turn that off.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if tls13 else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(ca.certificate, ca.key)
    context.load_verify_locations(ca.certificate)
    context.verify_mode = ssl.CERT_REQUIRED if strict else ssl.CERT_OPTIONAL
    if allow_expired:
        context.verify_flags |= NO_CHECK_TIME
    return context
