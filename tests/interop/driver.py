"""Starts the two programs and waits for their events; nothing here sleeps.

Also what tests need to be a peer themselves: a scripted agent, and a bare TLS
connection whose flights can be held back.
"""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import gson
import link as links
import wire
from gson import API

HERE = Path(__file__).resolve().parent
DEADLINE = 30  # seconds; generous, it is only reached when something is wrong


class Program:
    """A running program and every event it printed so far."""

    def __init__(self, script, *arguments):
        command = [sys.executable, str(HERE / script), *map(str, arguments), "--quit-at-eof"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.events.append({**json.loads(line), "index": len(self.events)})
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, event, after=None, **fields):
        """The first matching event, of those behind `after`; callables test a field."""
        start = after["index"] + 1 if after else 0
        with self._changed:
            found = self._changed.wait_for(
                lambda: self.find(event, start, **fields) or (self._ended and "ended"), DEADLINE)
        if not isinstance(found, dict):
            raise AssertionError(f"no {event} {fields} in:\n" + "\n".join(map(str, self.events)))
        return found

    def find(self, event, start=0, **fields):
        return next((e for e in self.events[start:] if _matches(e, {"event": event, **fields})), None)

    def message(self, direction, name, after=None, **fields):
        """A message by the class of its first element."""
        return self.wait("message", after, dir=direction, classes=lambda c: c and c[0] == name, **fields)

    def mark(self):
        """A position: waits that get it as `after` look at later events only."""
        return {"index": len(self.events) - 1}

    def tell(self, cmd, **fields):
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}) + "\n")
        self.process.stdin.flush()

    def kill(self):
        """As a crash: nothing is sent, the kernel closes the sockets."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def exit_code(self):
        return self.process.wait(DEADLINE)

    def end(self):
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


def _matches(event, fields):
    return all(want(event.get(key)) if callable(want) else event.get(key) == want
               for key, want in fields.items())


def body(event):
    """The fields of the first element of a message event."""
    return next(iter(event["body"][0].values()))


# --- being a peer -------------------------------------------------------------

def startup_message(transferred=True):
    """The connect listeners' commands follow only if transferred is False."""
    startup = gson.make(
        API + "StartupRoutingCommand", type="Routing", dataCenter="1", pod="1", cluster="1", hypervisorType="KVM",
        guid="g-LibvirtComputingResource", name="n", hostDetails={"Host.OS": "Debian"},
        resourceName="LibvirtComputingResource", cpus=1, speed=1, memory=1, connectionTransferred=transferred)
    return wire.Message(wire.REQUEST, 0, gson.content_of([startup]))


class ScriptedAgent:
    """A link to a server on which a test says everything itself."""

    def __init__(self, link):
        self.link = link

    @classmethod
    async def connect(cls, port, trust=None):
        return cls(await links.connect("127.0.0.1", port, trust or links.Trust()))

    def send(self, message):
        self.link.send(wire.message_encode(message))

    def request(self, items, flags=wire.REQUEST | wire.STOP_ON_ERROR, seq=0):
        self.send(wire.Message(flags, seq, gson.content_of(items)))

    def startup(self, transferred=True):
        self.send(startup_message(transferred))

    async def receive(self):
        """The next message and its items."""
        message = wire.message_decode(await asyncio.wait_for(self.link.receive(), DEADLINE))
        read = gson.read_commands if message.is_request else gson.read_answers
        return message, read(message.content)

    async def expect(self, name):
        """Skips messages until one of this class comes."""
        while True:
            message, items = await self.receive()
            if items[0].short == name:
                return message, items[0]

    def answer(self, request, item, drop_flags=0):
        message = wire.response_to(request, gson.content_of([item]))
        message.flags &= ~drop_flags
        self.send(message)

    async def become_up(self):
        """Startup, both ReadyCommands; the host's id."""
        self.startup()
        for _ in range(2):
            request, ready = await self.expect("ReadyCommand")
            self.answer(request, gson.answer(API + "ReadyAnswer", detailsMap={}))
        return ready.get("hostId")

    async def closed(self):
        """Reads until the server closes the link."""
        try:
            while True:
                await self.receive()
        except links.LinkClosed:
            return True


class BareTls:
    """Blocking TLS through memory: the caller decides when a flight goes out."""

    def __init__(self, sock, context, server_side):
        self.sock = sock
        sock.settimeout(DEADLINE)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)

    def handshake_holding_last_flight(self):
        """The bytes of our last flight, not sent yet."""
        while True:
            try:
                self.tls.do_handshake()
                return self.outgoing.read()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionResetError("closed in the handshake") from None
                self.incoming.write(data)

    def packet(self, message):
        self.tls.write(wire.message_encode(message))
        return wire.packet_encode(self.outgoing.read(), False)


def bare_client(port, version, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    return BareTls(socket.create_connection(("127.0.0.1", port), DEADLINE), context, False)
