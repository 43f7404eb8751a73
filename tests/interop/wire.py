"""The bytes of the agent protocol: packets, the 40-byte header, gzip.

Pure functions and small readers: bytes in, bytes out, no socket, no TLS. The
reader is as strict and as lenient as the Java one is described to be in the
protocol reference (docs/protocol.md); the sections are named where they decide.
JSON is in gson.py, sockets and TLS are in link.py.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass

# --- packets (section 1.5) ------------------------------------------------

PACKET_LIMIT = 18000
FOLLOWING = 0x00010000
PACKET_HEADER = struct.Struct(">I")


class WireError(Exception):
    """What the peer sent can't be used; `reason` is a stable short name."""

    def __init__(self, reason, detail=""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Packet:
    following: bool
    payload: bytes


def packet_encode(payload, following):
    """One packet. The sender leaves the upper fifteen bits zero."""
    return PACKET_HEADER.pack(len(payload) | (FOLLOWING if following else 0)) + payload


class PacketReader:
    """Cuts a byte stream into packets.

    Bits 17 to 31 are ignored, the size is a *signed* 16-bit number: that is why
    an unframed close_notify (15 03 03 00) is taken for a packet of 768 bytes.
    """

    def __init__(self):
        self._pending = bytearray()

    def feed(self, data):
        """Yields every packet that is complete now; raises WireError."""
        self._pending += data
        while (packet := self._next()) is not None:
            yield packet

    def _next(self):
        if len(self._pending) < 4:
            return None
        (word,) = PACKET_HEADER.unpack_from(self._pending)
        size = word & 0xFFFF
        if size >= 0x8000:
            raise WireError("negative-packet-size", str(size - 0x10000))
        if size > PACKET_LIMIT:
            raise WireError("oversized-packet", str(size))
        if len(self._pending) < 4 + size:
            return None
        payload = bytes(self._pending[4:4 + size])
        del self._pending[:4 + size]
        return Packet(bool(word & FOLLOWING), payload)


def check_whole_records(payload):
    """A packet may hold several TLS records, but never a part of one."""
    at = 0
    while at < len(payload):
        if at + 5 > len(payload):
            raise WireError("split-record", "record header cut")
        at += 5 + int.from_bytes(payload[at + 3:at + 5], "big")
    if at != len(payload):
        raise WireError("split-record", "record longer than its packet")


# --- header (section 2) ---------------------------------------------------

REQUEST = 0x0001
STOP_ON_ERROR = 0x0002
IN_SEQUENCE = 0x0004
FROM_SERVER = 0x0020
CONTROL = 0x0040
COMPRESSED = 0x0080

COMPRESS_FROM = 8192
V1, V3 = 0, 2

HEADER_V1 = struct.Struct(">BBHqiqqq")
HEADER_V3 = struct.Struct(">BBHqiqq")


@dataclass
class Message:
    """A Request or Response; `content` is the JSON text, never compressed."""

    flags: int
    seq: int
    content: bytes
    mgmt_id: int = -1
    agent_id: int = -1
    via: int = -1
    version: int = V1

    @property
    def is_request(self):
        return bool(self.flags & REQUEST)

    def has(self, flag):
        return bool(self.flags & flag)


def message_encode(message):
    """Compression is decided by size alone, even where it doesn't help."""
    body, flags = message.content, message.flags & ~COMPRESSED
    if len(body) >= COMPRESS_FROM:
        body, flags = gzip.compress(body, mtime=0), flags | COMPRESSED
    return HEADER_V1.pack(message.version, 0, flags, message.seq, len(message.content),
                          message.mgmt_id, message.agent_id, message.via) + body


def message_decode(data):
    """Raises WireError where Java's Request.parse throws; the message is then lost."""
    version = data[0] if data else V1
    if version not in (V1, V3):
        raise WireError("unsupported-version", str(version))
    layout = HEADER_V1 if version == V1 else HEADER_V3
    if len(data) < layout.size:
        raise WireError("short-header", f"{len(data)} bytes")
    _, _, flags, seq, length, mgmt_id, agent_id, *rest = layout.unpack_from(data)
    via = rest[0] if rest else agent_id
    body = data[layout.size:]
    content = _inflate(body, length) if flags & COMPRESSED else body
    return Message(flags, seq, bytes(content), mgmt_id, agent_id, via, version)


def _inflate(body, length):
    """Java inflates into a buffer of exactly `length` bytes.

    Too small is an error; too large leaves NUL characters, which the JSON reader
    tolerates. A broken or truncated gzip isn't noticed here: what came out is kept.
    """
    if length < 0:
        raise WireError("negative-length", str(length))
    out = bytearray()
    while body:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(body, length + 1 - len(out))
        except zlib.error:
            break
        if len(out) > length:
            raise WireError("inflate-overflow", f"more than {length} bytes")
        if not member.eof:
            break
        body = member.unused_data
    return out.ljust(length, b"\0")


def response_to(request, content, *, mgmt_id=None, via=None):
    """The header of a response as both ends derive it from the request (2.1).

    An agent keeps mgmtId and via; a server passes its own.
    """
    flags = request.flags & (STOP_ON_ERROR | IN_SEQUENCE)
    if not request.has(FROM_SERVER):
        flags |= FROM_SERVER
    return Message(flags, request.seq, content,
                   request.mgmt_id if mgmt_id is None else mgmt_id,
                   request.agent_id,
                   request.via if via is None else via,
                   request.version)
