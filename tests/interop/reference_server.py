#!/usr/bin/env python3
"""A management server that behaves like the reference's, its bad habits included.

Written from the protocol reference (docs/protocol.md) only; section numbers in the
comments are its. Events go to stdout, commands come from stdin, see README.md.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import random
import signal
import sys

import gson
import hosts
import link as links
import pki
import wire
from console import Clock, CommandError, Console, Tasks, carry_out, read_commands
from gson import API, CA, LB

STARTUPS = {"StartupRoutingCommand", "StartupProxyCommand", "StartupSecondaryStorageCommand", "StartupStorageCommand"}
PINGS = {"PingCommand", "PingRoutingCommand", "PingRoutingWithNwGroupsCommand", "PingRoutingWithOvsCommand",
         "PingStorageCommand"}

DEFAULT_WAIT = 1800  # seconds, as all times here; multiplied by --time-scale
READY_WAIT = 60
LB_WAIT = 60
PING_TIMEOUT = 2.5  # times the ping interval


class ConnectError(CommandError):
    """The connect sequence or a command ends here; the text is what Java would log."""


class Attachment:
    """One host on one link: sequence numbers, waiting requests, the in-sequence queue (2.3, 2.5)."""

    def __init__(self, server, link, host, startup):
        self.server, self.link, self.host, self.startup = server, link, host, startup
        self.status = "Connecting"
        self.last_ping = server.clock.now()
        self._next = random.randint(0, 32766) << 48
        self._waiting = {}
        self._queue = []  # in-sequence requests not sent yet
        self._current = None  # the in-sequence request that is outstanding

    def ask(self, commands, wait=DEFAULT_WAIT, *, flags=wire.STOP_ON_ERROR):
        """Sends a request, or queues it, at once, so that requests keep their order.

        To be awaited: the answers, or None when nobody answered in time.
        """
        message = self._request(commands, flags)
        answered = self._waiting[message.seq] = asyncio.get_running_loop().create_future()
        self._submit(message, commands)
        if self.link.close_reason:
            answered.set_result(None)
        return self._outcome(message, answered, wait)

    async def _outcome(self, message, answered, wait):
        try:
            return await self._wait(message, answered, wait)
        finally:
            self._waiting.pop(message.seq, None)
            self._forget(message.seq)

    def _request(self, commands, flags):
        self._next += 1
        flags |= wire.REQUEST | wire.FROM_SERVER
        if any(c.java_class and c.java_class.in_sequence for c in commands):
            flags |= wire.IN_SEQUENCE
        host_id = self.host["id"]
        return wire.Message(flags, self._next, gson.content_of(commands), self.server.msid, host_id, host_id)

    def _submit(self, message, commands):
        if message.has(wire.IN_SEQUENCE) and self._current is not None:
            self._queue.append((message, commands))
            self.server.console.emit("queued", host=self.host["id"], seq=message.seq,
                                     classes=[c.short for c in commands])
            return
        if message.has(wire.IN_SEQUENCE):
            self._current = message.seq
        self.server.send(self.link, message, commands)

    async def _wait(self, message, answered, wait):
        """Up to twice: the second time unless another in-sequence request is current (2.6)."""
        for _ in range(2):
            await asyncio.wait([answered], timeout=wait * self.server.clock.scale)
            if answered.done():
                return answered.result()
            if self._current not in (None, message.seq):
                break
        self.server.console.error("request-timeout", host=self.host["id"], seq=message.seq)
        return None

    def _forget(self, seq):
        """A request is over, answered or not: the next in-sequence one may go."""
        self._queue = [entry for entry in self._queue if entry[0].seq != seq]
        if self._current == seq:
            self._advance()

    def _advance(self):
        self._current = None
        if self._queue:
            self._submit(*self._queue.pop(0))

    def answered(self, message, answers):
        """Returns False for a response that nobody waits for, which is harmless.

        Without the bit in the response the queue stalls until the request times out.
        """
        waiting = self._waiting.get(message.seq)
        if message.seq == self._current:
            if message.has(wire.IN_SEQUENCE):
                self._advance()
            else:
                self.server.console.error("response-without-in-sequence-bit", host=self.host["id"], seq=message.seq)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(answers)
        return True

    def forward(self, message, commands):
        """A request of a peer server for this host: the queue is ours, the message theirs (4.5)."""
        self._submit(message, commands)

    def cancel_all(self):
        self._queue.clear()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)


class Server:
    def __init__(self, options, console):
        self.options = options
        self.console = console
        self.clock = Clock(options.time_scale)
        self.tasks = Tasks(self._bug)
        self.finished = asyncio.get_running_loop().create_future()
        self.ca = pki.CertificateAuthority(options.ca_dir, options.ca_key_bits)
        self.msid = options.msid
        self.hosts = hosts.HostTable(options.db)
        self.address, port = split_address(options.listen)
        self.port = port
        self.host_setting = options.host_setting or self.address
        self.algorithm = options.algorithm
        self.interval = options.interval
        self.peers = dict(options.peer)  # msid: (address, port)
        self.ms_states = {address: "Up" for address, _ in self.peers.values()}
        self.ms_states[self.address] = "Up"
        self.peer_links = {}
        self.management = None  # certificate and key for peers
        self.attachments = {}  # host id: Attachment
        self.revoked = set()
        self.blocked = False
        self.listener = None
        self.links = set()
        self.link_number = 0

    async def run(self):
        for certificate, address in self.options.also_cert:
            paths = self.ca.issue(certificate, address)
            self.console.emit("issued", certificate=str(paths[0]), key=str(paths[1]), address=address)
        await self._listen()
        self.tasks.start(self._monitor_pings())
        return await self.finished

    async def _listen(self):
        self.listener = await links.listen(self.address, self.port, self._accepted)
        self.port = self.listener.sockets[0].getsockname()[1]
        self.console.emit("listening", address=self.address, port=self.port, msid=self.msid,
                          ca=str(self.ca.certificate))

    def _bug(self, error):
        self.console.error("bug", detail=repr(error))
        if not self.finished.done():
            self.finished.set_result(70)
        raise error

    def stop(self, why="quit"):
        for link in list(self.links):
            link.close("server-stopped")
        self.console.emit("exit", code=0, why=why)
        if not self.finished.done():
            self.finished.set_result(0)

    # --- connections (1.8, 4.2.1) ---------------------------------------------

    def _accepted(self, chunks):
        self.link_number += 1
        label = f"link-{self.link_number}"
        self.console.emit("accepted", link=label, peer=chunks.transport.get_extra_info("peername")[0])
        if self.blocked:  # accept and close, no TLS
            chunks.transport.close()
            self.console.emit("closed", link=label, reason="blocked")
            return
        context = links.server_context(self.ca, strict=self.options.strict, tls13=self.options.tls13)
        link = links.ServerLink(chunks, context, label=label, check_client=self._check_client)
        self.links.add(link)
        self.tasks.start(self._serve(link))

    async def _serve(self, link):
        try:
            await link.handshake(self.options.handshake_timeout)
            self.console.emit("handshake", **link.facts())
            if link.lost_with_finished:
                self.console.error("lost-with-finished", link=link.label, bytes=link.lost_with_finished)
            while True:
                self._handle(link, await link.receive())
        except links.LinkClosed as closed:
            self.console.emit("closed", link=link.label, peer=link.peer, reason=closed.reason, detail=closed.detail)
        finally:
            self.links.discard(link)
            self._link_ended(link)

    def _check_client(self, peer, certificate):
        """The custom trust manager (7.7); a reason to refuse, or None."""
        if not certificate:
            return "no certificate" if self.options.strict else None
        if not self.options.strict:
            return None
        if certificate["serialNumber"].lower().lstrip("0") in self.revoked:
            return "serial is revoked"
        remote = peer.split(":")[0]  # quirk: an IPv6 address is cut at its first colon
        names = [value for _, value in certificate.get("subjectAltName", ())]
        return None if remote in names else f"no SAN entry equals {remote!r}"

    def _link_ended(self, link):
        for attachment in [a for a in self.attachments.values() if a.link is link]:
            self.tasks.start(self._disconnect_investigated(attachment, "AgentDisconnected"))

    # --- messages and routing (2.4, 4.5) ------------------------------------------

    def send(self, link, message, items):
        if link.close_reason:
            self.console.error("link-is-closed", link=link.label, classes=[item.short for item in items])
            return
        link.send(wire.message_encode(message))
        self.console.message("out", link.label, message, items)

    def _handle(self, link, data):
        try:
            message = wire.message_decode(data)
        except wire.WireError as error:
            return self.console.error(error.reason, link=link.label, detail=error.detail, bytes=len(data))
        if message.has(wire.FROM_SERVER):
            self._from_peer(link, message)
        elif message.mgmt_id not in (-1, self.msid):
            self.tasks.start(self._to_peer(message.mgmt_id, message))
            self._forwarded_answer(message)
        else:
            self._handle_locally(link, message)

    def _handle_locally(self, link, message):
        items = self._items(link, message)
        if items is None:
            return
        if message.is_request:
            self._handle_request(link, message, items)
            return
        attachment = self.attachments.get(message.agent_id)
        if not attachment or not attachment.answered(message, items):
            self.console.emit("unmatched-response", link=link.label, seq=message.seq, agentId=message.agent_id)

    def _items(self, link, message):
        """The decoded body, or None after saying why the message is lost."""
        try:
            items = (gson.read_commands if message.is_request else gson.read_answers)(message.content)
        except gson.ObjectsLost as error:
            self.console.error("message-lost", link=link.label, detail=str(error))
            return None
        self.console.message("in", link.label, message, items or [])
        if not items or None in items:
            self.console.error("message-lost", link=link.label, detail="null where an object must be")
            return None
        return items

    def _from_peer(self, link, message):
        """A peer's message for one of our hosts; a cancel goes back if it isn't ours."""
        items = self._items(link, message)
        if items is None:
            return
        attachment = self.attachments.get(message.agent_id)
        if message.has(wire.CONTROL):
            self.console.emit("cancelled-by-peer", agentId=message.agent_id)
        elif attachment:
            attachment.forward(message, items)
        else:
            cancel = [gson.make(API + "CancelCommand", sequence=message.seq, reason="Unable to find agent")]
            flags = wire.REQUEST | wire.CONTROL | wire.FROM_SERVER
            back = wire.Message(flags, message.seq, gson.content_of(cancel), self.msid,
                                message.agent_id, message.agent_id)
            self.tasks.start(self._to_peer(message.mgmt_id, back))

    def _forwarded_answer(self, message):
        """An agent's answer to a peer's request passes through, and moves our queue on."""
        attachment = self.attachments.get(message.agent_id)
        if attachment and not message.is_request:
            attachment.answered(message, [])

    async def _to_peer(self, msid, message):
        """Raw, over a link of our own to the peer that is used for sending only."""
        if msid not in self.peers:
            self.console.error("unknown-peer", mgmtId=msid, seq=message.seq)
            return
        link = self.peer_links.get(msid)
        if link is None or link.close_reason:
            address, port = self.peers[msid]
            try:
                link = await links.connect(address, port, self._management_identity(), label=f"peer-{msid}")
            except (OSError, links.LinkClosed) as error:
                self.console.error("peer-unreachable", mgmtId=msid, detail=str(error))
                return
            self.peer_links[msid] = link
        link.send(wire.message_encode(message))
        self.console.emit("forwarded", mgmtId=msid, seq=message.seq, agentId=message.agent_id)

    def _management_identity(self):
        """The certificate for peers (7.4), made when it is first needed."""
        if not self.management:
            path = self.ca.directory / f"management-{self.msid}.crt"
            self.management = self.ca.issue(path, self.address, ["cloudstack.internal"])
        return links.Trust(self.ca.certificate, *self.management)

    # --- requests of agents (4.2.4) -------------------------------------------------

    def _handle_request(self, link, request, commands):
        attachment = next((a for a in self.attachments.values() if a.link is link), None)
        if commands[0].short in STARTUPS:
            self._startup(link, request, commands, attachment)
        elif attachment is None:
            self.console.emit("ignored", link=link.label, what=commands[0].short, why="the link is anonymous")
        else:
            self._answer_request(attachment, request, commands)

    def _answer_request(self, attachment, request, commands):
        answers = [self._answer_to(attachment, command) for command in commands]
        if None not in answers:
            self._respond(attachment.link, request, answers, attachment.host["id"])

    def _respond(self, link, request, answers, via):
        message = wire.response_to(request, gson.content_of(answers), mgmt_id=self.msid, via=via)
        self.send(link, message, answers)

    def _answer_to(self, attachment, command):
        if command.short in PINGS:
            return self._ping(attachment, command)
        if command.short == "ShutdownCommand":
            return self._agent_shuts_down(attachment, command)
        if command.name in gson.CONTROL_COMMANDS:
            return gson.answer(API + "AgentControlAnswer")
        return gson.plain_answer()  # BadCommand too: success, whatever it was (3.1)

    def _ping(self, attachment, ping):
        attachment.last_ping = self.clock.now()
        known = {row["id"] for row in self.hosts.all()}
        if ping.get("hostId") not in known:
            self.console.error("ping-with-unknown-host-id", hostId=ping.get("hostId"))
        send_startup = attachment.status != "Up" and ping.get("_gatewayAccessible", True)
        echo = {"commandInfos": [], **(ping.raw or {})}
        return gson.answer(API + "PingAnswer", _command=echo, sendStartup=send_startup,
                           avoidMsList=self._avoid_list(), reconcileCommands=[])

    def _agent_shuts_down(self, attachment, command):
        if command.get("reason") == "update":
            return gson.plain_answer(False, "update isn't supported")
        if command.get("reason") == "sig.kill":
            self._disconnect(attachment, "ShutdownRequested", "agent-shut-down")
        return None

    # --- the connect sequence (4.2.2) ---------------------------------------------------

    def _startup(self, link, request, commands, attachment):
        """The answer goes out before anything is looked up; the rest takes its time."""
        answer = gson.answer(API + "StartupAnswer", hostId=0, hostName="", hostUuid="",
                             pingInterval=self.options.ping_interval)
        self._respond(link, request, [answer], -1)
        self.tasks.start(self._connect(link, request, commands, repeated=attachment is not None))

    async def _connect(self, link, request, commands, *, repeated):
        startup, attachment = commands[0], None
        try:
            host = self._find_host(startup)
            if repeated:
                self._answer_again(link, request, host)
            expected = self._list_for(host)
            ready2 = self._ready2(host, startup, expected)
            attachment = self._attach(link, host, startup)
            await self._run_listeners(attachment)
            await self._first_ready(attachment)
        except ConnectError as error:
            self.console.error("connect-refused", link=link.label, detail=str(error))
            if attachment is None:  # the link stays open: the agent reads the reason and exits
                self._reject(link, str(error))
            else:  # the reason can't be delivered any more
                self._disconnect(attachment, "AgentDisconnected", "connect-aborted")
            return
        if self.attachments.get(host["id"]) is attachment:
            self.tasks.start(attachment.ask([ready2]))

    def _find_host(self, startup):
        """Step 2: checks of the resource adapters included. The row is made only if they pass."""
        for field, known in (("dataCenter", self.options.zones), ("pod", self.options.pods),
                             ("cluster", self.options.clusters)):
            if startup.get(field) not in known.split(","):
                raise ConnectError(f"java.lang.IllegalArgumentException: bad {field} {startup.get(field)!r}")
        if not startup.get("guid") or not startup.get("name"):
            raise ConnectError("java.lang.IllegalArgumentException: no guid or no name")
        if startup.short == "StartupRoutingCommand":
            self._check_hypervisor(startup)
        return self.hosts.find_or_create(startup)

    def _check_hypervisor(self, startup):
        if startup.get("hypervisorType", "").upper() != "KVM":
            raise ConnectError("no resource state adapter response")
        if startup.get("hostDetails") is None:
            raise ConnectError("java.lang.NullPointerException: hostDetails is null")
        if (startup.get("arch") or "x86_64") not in ("x86_64", "aarch64", "s390x", "i686"):
            raise ConnectError("java.lang.IllegalArgumentException: unknown arch")
        own = (startup.get("hostDetails").get("Host.OS") or "").lower()
        for row in self.hosts.all():
            if row["guid"] != startup.get("guid") and row["cluster"] == startup.get("cluster") \
                    and (row["os"] or "").lower() != own:
                raise ConnectError(f"Can't add host: Host.OS {own!r} differs from {row['os']!r}")
        for field in ("cpus", "speed", "memory"):
            if not startup.get(field):
                self.console.emit("warning", reason="startup-without-capacity", field=field)

    def _answer_again(self, link, request, host):
        """Repeated startup: a second response with the same number (4.2.5)."""
        answer = gson.answer(API + "StartupAnswer", hostId=host["id"], hostUuid=host["uuid"],
                             hostName=host["name"], pingInterval=self.options.ping_interval)
        self._respond(link, request, [answer], host["id"])

    def _list_for(self, host):
        try:
            return hosts.ordered_list(self.algorithm, hosts.parse_setting(self.host_setting),
                                      self.hosts.ranked(host["zone"]), host["id"])
        except ValueError as error:
            raise ConnectError(str(error)) from error

    def _ready1(self, host):
        return gson.make(API + "ReadyCommand", READY_WAIT, **_identity(host))

    def _ready2(self, host, startup, expected):
        """The list only if the agent's differs; the avoid list and the interval always."""
        outdated = hosts.is_outdated(startup.get("msHostList"), self.algorithm, expected)
        return gson.make(API + "ReadyCommand", **_identity(host),
                         msHostList=expected if outdated else None, avoidMsHostList=self._avoid_list(),
                         lbAlgorithm=self.algorithm if outdated else None, lbCheckInterval=self.interval,
                         arch=host["arch"])

    def _attach(self, link, host, startup):
        """An older attachment loses its link, even if that is the very same link (4.2.5)."""
        older = self.attachments.get(host["id"])
        if older:
            self._disconnect(older, "AgentDisconnected", "superseded")
        attachment = self.attachments[host["id"]] = Attachment(self, link, host, startup)
        self._set_status(attachment, "Connecting")
        return attachment

    async def _run_listeners(self, attachment):
        """What the connect listeners send to a KVM host (4.2.3)."""
        startup = attachment.startup
        if startup.short != "StartupRoutingCommand" or startup.get("connectionTransferred"):
            return
        check = gson.make(API + "CheckNetworkCommand", networkInfoList=[])
        answer = await self._ask_one(attachment, check, "CheckNetworkAnswer")
        if not answer.get("result"):
            raise ConnectError(f"CheckNetworkCommand failed: {answer.get('details')}")
        for command in (
                gson.make(API + "CleanupNetworkRulesCmd", interval=random.randint(1800, 2699)),
                gson.make(API + "SetHostParamsCommand", params={"migratewait": "3600"}),
                gson.make(API + "ModifySshKeysCommand", _pubKey="pub", _prvKey="prv")):
            self.tasks.start(attachment.ask([command]))

    async def _ask_one(self, attachment, command, must_be=None, wait=DEFAULT_WAIT):
        """One command, one answer; a wrong class is a ClassCastException."""
        answers = await attachment.ask([command], wait)
        if not answers:
            raise ConnectError(f"{command.short}: no answer")
        if must_be and answers[0].short != must_be:
            self.console.error("class-cast", command=command.short, answer=answers[0].short, mustBe=must_be)
            raise ConnectError(f"java.lang.ClassCastException: {answers[0].name} isn't a {must_be}")
        return answers[0]

    async def _first_ready(self, attachment):
        answer = await self._ask_one(attachment, self._ready1(attachment.host), wait=READY_WAIT)
        if not answer.get("result"):
            raise ConnectError(f"ReadyCommand failed: {answer.get('details')}")
        self._set_status(attachment, "Up")

    def _reject(self, link, details):
        """All ids are -1, and FROM_SERVER isn't set (2.1)."""
        command = gson.make(API + "ReadyCommand", _details=details)
        flags = wire.REQUEST | wire.STOP_ON_ERROR | wire.IN_SEQUENCE
        self.send(link, wire.Message(flags, -1, gson.content_of([command])), [command])

    # --- status, pings, disconnects (4.2.6, 4.2.7, 4.3) ------------------------------------

    def _set_status(self, attachment, status):
        attachment.status = status
        self.console.emit("host-status", host=attachment.host["id"], guid=attachment.host["guid"],
                          status=status, link=attachment.link.label)

    def _disconnect(self, attachment, event, reason):
        if self.attachments.get(attachment.host["id"]) is attachment:
            del self.attachments[attachment.host["id"]]
        attachment.link.close(reason)
        attachment.cancel_all()
        self._set_status(attachment, "Disconnected" if event == "ShutdownRequested" else "Alert")

    async def _disconnect_investigated(self, attachment, event):
        """CheckHealth first; a host that answers it keeps its attachment."""
        if self.attachments.get(attachment.host["id"]) is not attachment:
            return
        if not attachment.link.close_reason:
            health = gson.make(API + "CheckHealthCommand", 50)
            answers = await attachment.ask([health], 50)
            if answers and answers[0].get("result"):
                self._set_status(attachment, "Up")
                return
        if self.attachments.get(attachment.host["id"]) is attachment:
            self._disconnect(attachment, event, "no-sign-of-life")

    async def _monitor_pings(self):
        """Only pings count as signs of life."""
        interval = self.options.ping_interval
        while True:
            await self.clock.sleep(interval)
            for attachment in list(self.attachments.values()):
                if self.clock.now() - attachment.last_ping > PING_TIMEOUT * interval:
                    self.console.error("ping-timeout", host=attachment.host["id"])
                    await self._disconnect_investigated(attachment, "PingTimeout")

    # --- lists (6.5, 6.6) --------------------------------------------------------------------

    def _avoid_list(self):
        return [address for address, state in self.ms_states.items() if state != "Up"]

    async def _propagate(self, trigger):
        await asyncio.gather(*(self._send_list(a, trigger) for a in list(self.attachments.values())))

    async def _send_list(self, attachment, trigger):
        """Failures are only logged."""
        with contextlib.suppress(ConnectError):
            command = gson.make(LB + "SetupMSListCommand", LB_WAIT, msList=self._list_for(attachment.host),
                                avoidMsList=self._avoid_list(), lbAlgorithm=self.algorithm,
                                lbCheckInterval=self.interval, triggerHostLb=trigger)
            answer = await self._ask_one(attachment, command, wait=LB_WAIT)
            self.console.emit("list-sent", host=attachment.host["id"], result=answer.get("result"),
                              answer=answer.short, details=answer.get("details"))

    # --- commands of the driver ----------------------------------------------------------------

    def _attachment(self, command):
        """The host named in the command, or the only one there is."""
        if "host_id" in command:
            return self.attachments[command["host_id"]]
        (attachment,) = self.attachments.values()
        return attachment

    def do_quit(self, _):
        self.stop()

    def do_status(self, _):
        self.console.emit("status", blocked=self.blocked, avoid=self._avoid_list(),
                          hosts=[{"id": a.host["id"], "guid": a.host["guid"], "status": a.status,
                                  "link": a.link.label} for a in self.attachments.values()])

    async def do_propagate(self, command):
        self.host_setting = command.get("host", self.host_setting)
        self.algorithm = command.get("algorithm", self.algorithm)
        self.interval = command.get("interval", self.interval)
        await self._propagate(command.get("trigger", False))

    async def do_send(self, command):
        """Objects exactly as given: this is how a test sends what is wrong."""
        flags = wire.STOP_ON_ERROR if command.get("onError", "stop") == "stop" else 0
        items = [gson.item_from_raw(element) for element in command["commands"]]
        answers = await self._attachment(command).ask(items, command.get("wait", DEFAULT_WAIT), flags=flags)
        self.console.emit("answers", classes=[a.short for a in answers] if answers else None,
                          answers=[{a.name: a.raw} for a in answers] if answers else None)

    def do_message(self, command):
        """Any message at all, for instance a response that lacks its echo."""
        items = [gson.item_from_raw(element) for element in command["body"]]
        host_id = self._attachment(command).host["id"]
        message = wire.Message(command["flags"], command.get("seq", 0), gson.content_of(items),
                               command.get("mgmtId", self.msid), command.get("agentId", host_id),
                               command.get("via", host_id))
        self.send(self._attachment(command).link, message, items)

    def do_send_raw(self, command):
        """Bytes on the socket, neither encrypted nor framed."""
        self._attachment(command).link.send_raw(bytes.fromhex(command["hex"]))

    async def do_forward(self, command):
        """A request for a host that a peer owns (4.5)."""
        items = [gson.item_from_raw(element) for element in command["commands"]]
        flags = wire.REQUEST | wire.FROM_SERVER | wire.STOP_ON_ERROR
        message = wire.Message(flags, command["seq"], gson.content_of(items), self.msid,
                               command["host_id"], command["host_id"])
        await self._to_peer(command["peer"], message)

    async def do_migrate(self, command):
        attachment = self._attachment(command)
        avoid = command.get("avoid", [*self._avoid_list(), self.address])
        ms_list = command.get("msList")
        request = gson.make(API + "MigrateAgentConnectionCommand", LB_WAIT, msList=ms_list, avoidMsList=avoid,
                            lbAlgorithm=command.get("algorithm"), lbCheckInterval=self.interval)
        answer = await self._ask_one(attachment, request, wait=LB_WAIT)
        self.console.emit("migrate-answered", host=attachment.host["id"], result=answer.get("result"))

    async def do_maintain(self, command):
        attachment = self._attachment(command)
        await self._ask_one(attachment, gson.make(API + "MaintainCommand"), "MaintainAnswer")
        self.console.emit("maintained", host=attachment.host["id"])

    def do_drop(self, command):
        """API reconnectHost: the link is closed, the agent comes back by itself (4.2.8)."""
        self._disconnect(self._attachment(command), "ShutdownRequested", "dropped")

    async def do_delete_host(self, command):
        attachment = self._attachment(command)
        shutdown = gson.make(API + "ShutdownCommand", reason="deleteHost",
                             removeHost=command.get("removeHost", False))
        await self._ask_one(attachment, shutdown)
        self.hosts.remove(attachment.host["id"])
        self._disconnect(attachment, "ShutdownRequested", "deleted")

    async def do_provision(self, command):
        """provisionCertificate over the link (7.6)."""
        attachment = self._attachment(command)
        password = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789", k=16))
        setup = gson.make(CA + "SetupKeyStoreCommand", LB_WAIT, validityDays=365, keystorePassword=password,
                          handleByAgent=True, accessDetails={})
        answer = await self._ask_one(attachment, setup, "SetupKeystoreAnswer", LB_WAIT)
        names = [attachment.link.peer, attachment.host["name"]]
        certificate = await asyncio.get_running_loop().run_in_executor(None, self.ca.sign, answer.get("csr"), names)
        deploy = gson.make(CA + "SetupCertificateCommand", LB_WAIT, certificate=certificate, privateKey="",
                           caCertificates=self.ca.certificate.read_text(), handleByAgent=True, accessDetails={})
        await self._ask_one(attachment, deploy, "SetupCertificateAnswer", LB_WAIT)
        self.console.emit("provisioned", host=attachment.host["id"])

    def do_issue(self, command):
        certificate, key = self.ca.issue(command["file"], command["address"])
        self.console.emit("issued", certificate=str(certificate), key=str(key), address=command["address"])

    def do_revoke(self, command):
        self.revoked.add(command["serial"].lower().lstrip("0"))

    def do_ms_state(self, command):
        """The state of a management server by its service address; only Up isn't avoided."""
        self.ms_states[command["address"]] = command["state"]

    def do_block(self, _):
        self.blocked = True

    def do_unblock(self, _):
        self.blocked = False

    def do_stop_listening(self, _):
        self.listener.close()

    async def do_listen_again(self, _):
        await self._listen()


def _identity(host):
    return {"dcId": 1, "hostId": host["id"], "hostUuid": host["uuid"], "hostName": host["name"],
            "enableHumanReadableSizes": True}


# --- the program -----------------------------------------------------------------------------

def split_address(text):
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def _pair(separator, convert):
    def parse(text):
        left, _, right = text.rpartition(separator)
        if not left:
            raise argparse.ArgumentTypeError(f"{text!r} has no {separator!r}")
        return convert(left, right)
    return parse


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="ADDR:PORT",
                        help="a loopback address; port 0 is any, the event \"listening\" tells which")
    parser.add_argument("--ca-dir", required=True, metavar="DIR", help="ca.crt and ca.key, made if missing")
    parser.add_argument("--ca-key-bits", type=int, default=4096, help="of a new CA (2048 is much faster)")
    parser.add_argument("--also-cert", action="append", default=[], metavar="FILE=ADDR",
                        type=_pair("=", lambda file, address: (file, address)),
                        help="issue an agent certificate with this SAN address; its key becomes FILE's .key")
    parser.add_argument("--strict", action="store_true", help="ca.plugin.root.auth.strictness=true")
    parser.add_argument("--tls13", action="store_true", help="offer TLS 1.3 too, with its raw tickets")
    parser.add_argument("--handshake-timeout", type=float, default=30, metavar="S")
    parser.add_argument("--msid", type=int, default=random.getrandbits(46) + 1, help="node id")
    parser.add_argument("--peer", action="append", default=[], metavar="MSID=ADDR:PORT",
                        type=_pair("=", lambda msid, address: (int(msid), split_address(address))),
                        help="another server of the cluster")
    parser.add_argument("--db", metavar="FILE", help="host table shared with other servers")
    parser.add_argument("--host-setting", metavar="LIST", help="the global setting `host` (default: own address)")
    parser.add_argument("--algorithm", default="static", help="static, roundrobin or shuffle")
    parser.add_argument("--interval", type=int, default=0, help="indirect.agent.lb.check.interval, seconds")
    parser.add_argument("--ping-interval", type=int, default=60, help="seconds, sent as it is")
    parser.add_argument("--zones", default="1,default", metavar="LIST")
    parser.add_argument("--pods", default="1,default", metavar="LIST")
    parser.add_argument("--clusters", default="1,default", metavar="LIST")
    parser.add_argument("--time-scale", type=float, default=1.0, metavar="F",
                        help="multiplies the server's own waits")
    parser.add_argument("--quit-at-eof", action="store_true", help="stop when stdin ends")
    options = parser.parse_args(arguments)
    if not ipaddress.ip_address(split_address(options.listen)[0]).is_loopback:
        parser.error("--listen must be a loopback address")
    return options


async def main(options):
    loop = asyncio.get_running_loop()
    server = Server(options, Console())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop, "signal")
    at_eof = server.stop if options.quit_at_eof else lambda: None
    read_commands(loop, lambda command: carry_out(server, command), at_eof)
    return await server.run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse_options(sys.argv[1:]))))
