#!/usr/bin/env python3
"""An agent that behaves like the reference's Java agent, its bad habits included.

Written from the protocol reference (docs/protocol.md) only; section numbers in the
comments are its. Events go to stdout, commands come from stdin, see README.md.
"""

import argparse
import asyncio
import ipaddress
import platform
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import gson
import link as links
import pki
import wire
from console import Clock, Console, Tasks, carry_out, read_commands
from gson import API, CA, LB
from properties import AgentProperties

VERSION = "4.23.0.0"
RESOURCE = "LibvirtComputingResource"

EXIT_REJECTED, EXIT_CONFIGURATION, EXIT_BUG = 1, 66, 70

# Seconds, multiplied by --time-scale (9.1). Limits of network waits are not scaled:
# they only bound failures, and a loaded machine must not turn them into some.
STARTUP_TIMER, STARTUP_TIMER_AFTER_EXPIRY = 180, 360
DELAY_AFTER_LOSS = 5
MIGRATION_DELAY = 3
RENEWAL_DELAY = 5
STOP_GRACE = 1
PROBE_TIMEOUT = 5


class JavaException(Exception):
    """What would be a Java exception in a command: it becomes a failed plain Answer."""

    def __init__(self, java_name, text, where):
        super().__init__(f"{java_name}: {text}\n\tat {where}\n")


def null_pointer(what, where):
    return JavaException("java.lang.NullPointerException", f"Cannot invoke method on null: {what}", where)


class Agent:
    """One agent process. At most one link at a time: it closes before it opens."""

    def __init__(self, options, console):
        self.options = options
        self.console = console
        self.clock = Clock(options.time_scale)
        self.tasks = Tasks(self._bug)
        self.properties = AgentProperties(options.properties)
        self.finished = asyncio.get_running_loop().create_future()
        self.busy = Busy()

        self.hosts = []
        self.counter = 0
        self.connected_host = None
        self.avoid = []  # in memory only
        self.link = None
        self.link_number = 0
        self.serving = None  # the task that reads the link
        self.reconnect_allowed = True
        self.transfer = False  # the next startup is the first after a migration
        self.reconnecting = asyncio.Lock()

        self.sequence = 0
        self.startup_timer = None
        self.startup_timeout = STARTUP_TIMER
        self.pinger = None
        self.ping_interval = 60
        self.last_ping_response = 0
        self.crons = []
        self.checker = None
        self.vms = {}
        self.local_check_interval = self._read_local_check_interval()

    # --- start and stop (4.1.2, 4.1.9) ---------------------------------------

    async def run(self):
        value = self.properties.get("host", "localhost")
        if value.startswith("@") and value.endswith("@"):
            return await self._exit(EXIT_CONFIGURATION, "host is a template")
        self.hosts = parse_hosts(value)
        self.console.emit("started", hosts=self.hosts, guid=self.properties.get("guid"))
        self.tasks.start(self._connect_first())
        return await self.finished

    async def _connect_first(self):
        """The avoid list isn't consulted here, and there is no limit."""
        host = self._next_host()
        while not await self._connect(host):
            host = self._next_host()
            await self.clock.sleep(self._back_off())
        self._set_connected_host(host)

    async def _exit(self, code, why):
        """The exit hook sends its ShutdownCommand whatever the reason for leaving is."""
        if self.finished.done():
            return
        self.reconnect_allowed = False
        if self.link:
            self._send_shutdown()
            await self.clock.sleep(STOP_GRACE)
            self._close_link("agent-stopped")
        self.console.emit("exit", code=code, why=why)
        if not self.finished.done():
            self.finished.set_result(code)

    def stop(self, why="quit"):
        self.tasks.start(self._exit(0, why))

    def _bug(self, error):
        self.console.error("bug", detail=repr(error))
        if not self.finished.done():
            self.finished.set_result(EXIT_BUG)
        raise error

    def _send_shutdown(self, detail=None):
        command = gson.make(API + "ShutdownCommand", reason="sig.kill", detail=detail, removeHost=False)
        self._send_request([command], seq=-1)

    # --- hosts (4.1.2, 5.4) ----------------------------------------------------

    def _next_host(self):
        if self.counter >= len(self.hosts):
            self.counter = 0
        host = self.hosts[self.counter]
        self.counter += 1
        return host

    def _set_connected_host(self, host):
        self.connected_host = host
        self.console.emit("connected-host", host=host)

    def _back_off(self):
        return self.properties.number("backoff.seconds", 5)

    def _port(self):
        return self.properties.number("port", 8250)

    def _read_local_check_interval(self):
        """Read once at the start; garbage counts as 0 (5.2)."""
        value = self.properties.get("host.lb.check.interval")
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            return 0

    # --- links (4.1.8) ---------------------------------------------------------

    async def _connect(self, host):
        self.link_number += 1
        label = f"link-{self.link_number}"
        self.console.emit("connecting", link=label, host=host, port=self._port())
        timeout = self.properties.number("ssl.handshake.timeout", 30)
        try:
            link = await links.connect(host, self._port(), self._trust(), label=label,
                                       source=self.options.source_address, timeout=timeout)
        except OSError as error:
            self.console.error("connect-failed", link=label, host=host, detail=str(error))
            return False
        except links.LinkClosed as closed:
            self.console.error(closed.reason, link=label, host=host, detail=closed.detail)
            self.console.emit("closed", link=label, host=host, reason=closed.reason)
            return False
        self.console.emit("connected", link=label, host=host)
        self.console.emit("handshake", host=host, **link.facts())
        self.link = link
        self.serving = self.tasks.start(self._serve(link, host))
        self._send_startup(self.transfer)
        self.transfer = False
        return True

    def _trust(self):
        """The options, else what lies beside agent.properties, else nothing: trust all."""
        options, directory = self.options, self.properties.path.parent
        if options.no_keystore:
            return links.Trust()

        def beside(given, name):
            path = directory / name
            return Path(given) if given else path if path.exists() else None

        return links.Trust(beside(options.ca, "cloud.ca.crt"), beside(options.cert, "cloud.crt"),
                           beside(options.key, "cloud.key"))

    async def _serve(self, link, host):
        try:
            while True:
                self._handle(link, await link.receive())
        except links.LinkClosed as closed:
            self.console.emit("closed", link=link.label, host=host, reason=closed.reason, detail=closed.detail)
        if self.link is link:  # not closed by ourselves
            self.link = None
            self._cancel_crons()
            self.tasks.start(self._link_lost())

    async def _link_lost(self):
        await self.clock.sleep(DELAY_AFTER_LOSS)
        self.transfer = False
        if self.link is None:
            await self._reconnect()

    def _close_link(self, reason):
        """Without waiting for commands in progress: their answers are lost."""
        link, self.link = self.link, None
        if link:
            link.close(reason)

    async def _reconnect(self, preferred=None, *, for_transfer=False):
        if not self.reconnect_allowed and not for_transfer:
            return
        async with self.reconnecting:
            self._cancel_startup_timer()
            self._close_link("closed-by-agent")
            self._cancel_periodic_tasks()
            self.console.emit("reconnecting", preferred=preferred, avoid=self.avoid)
            await self.clock.sleep(self._back_off())  # the old connection ends in this time
            await self._connect_somewhere(preferred if preferred is not None else self._next_host())

    async def _connect_somewhere(self, host):
        """Quirks kept: the avoid list is a snapshot, one host is skipped after a success,
        and the connected host is known only after the last sleep."""
        avoid = list(self.avoid)
        connected = None
        while connected is None:
            if host in avoid:
                self.console.emit("avoided", host=host)
            elif await self._connect(host):
                connected = host
            await self.clock.sleep(self._back_off())
            host = self._next_host()
        self._set_connected_host(connected)

    # --- startup (4.1.3) ---------------------------------------------------------

    def _send_startup(self, transferred):
        self._send_request([self._startup_command(transferred)], flags=wire.REQUEST)
        self.startup_timer = self.tasks.start(self._startup_expires(self.startup_timeout))

    def _startup_command(self, transferred):
        get, name = self.properties.get, self.options.name
        address = self.link_address()
        host_id = self._host_id()
        return gson.make(
            API + "StartupRoutingCommand", cpuSockets=1, cpus=8, speed=2400, cpuArch=platform.machine(),
            memory=16777216000, dom0MinMemory=1073741824, poolSync=False, supportsClonedVolumes=False,
            caps="hvm,snapshot", hypervisorType="KVM", hostDetails=self._host_details(), hostTags=[],
            groupDetails={}, gpuDevices=[], type="Routing", dataCenter=get("zone", "default"),
            pod=get("pod", "default"), cluster=get("cluster", "default"),
            guid=f"{get('guid')}-{RESOURCE}", name=name, id=None if host_id == -1 else host_id,
            version=VERSION, iqn=f"iqn.2016-04.com.open-iscsi:{name}",
            privateIpAddress=address, privateMacAddress="52:54:00:aa:bb:01", privateNetmask="255.0.0.0",
            storageIpAddress=address, storageNetmask="255.0.0.0", storageMacAddress="52:54:00:aa:bb:01",
            resourceName=RESOURCE, gatewayIpAddress=address, msHostList=self.properties.table.get("host"),
            connectionTransferred=transferred, arch=platform.machine())

    def link_address(self):
        return self.options.source_address or "127.0.0.1"

    def _host_details(self):
        secured = (self.properties.path.parent / "cloud.crt").exists()
        return {"Host.OS.Kernel.Version": platform.release(), "Host.OS.Version": "12", "Host.OS": "Debian",
                "com.cloud.network.Networks.RouterPrivateIpStrategy": "HostLocal",
                "secured": "true" if secured else "false",
                "host.volume.encryption": "false", "host.instance.conversion": "false"}

    async def _startup_expires(self, seconds):
        await self.clock.sleep(seconds)
        self.console.error("startup-timer", seconds=seconds)
        self.startup_timer = None
        self.startup_timeout = STARTUP_TIMER_AFTER_EXPIRY
        self.tasks.start(self._reconnect())

    def _cancel_startup_timer(self):
        if self.startup_timer:
            self.startup_timer.cancel()
            self.startup_timer = None
            self.startup_timeout = STARTUP_TIMER

    def _startup_answered(self, answer):
        if not answer.get("result"):
            self.tasks.start(self._exit(EXIT_REJECTED, answer.get("details", "startup refused")))
            return
        if not self.startup_timer:
            self.console.emit("ignored", what="StartupAnswer", why="no startup timer is running")
            return
        self._cancel_startup_timer()
        self._persist_identity(answer.get("hostId", 0), answer.get("hostUuid"), answer.get("hostName"))
        self.ping_interval = answer.get("pingInterval", 0)
        self._schedule_pings()

    def _persist_identity(self, host_id, host_uuid, name):
        self._persist({f"{RESOURCE}.id": str(host_id), f"{RESOURCE}.uuid": host_uuid or "",
                       f"{RESOURCE}.name": name or ""})

    def _persist(self, values):
        self.properties.persist_all(values)
        self.console.emit("persisted", values=values)

    def _host_id(self):
        return self.properties.number(f"{RESOURCE}.id", -1)

    # --- pings (4.1.4) -----------------------------------------------------------

    def _schedule_pings(self):
        if self.pinger:
            self.pinger.cancel()
        self.last_ping_response = self.clock.now()
        self.pinger = self.tasks.start(self._ping_for_ever(max(self.ping_interval, 1)))

    async def _ping_for_ever(self, interval):
        retries = self.properties.number("ping.retries", 5)
        while True:
            await self.clock.sleep(interval)
            if self.clock.now() - self.last_ping_response > interval * retries:
                self.console.error("ping-silence", detail="no ping is sent any more")
                continue
            self.send_ping()

    def send_ping(self, out_of_band=False):
        ping = gson.make(
            API + "PingRoutingCommand",
            _hostVmStateReport={vm: {"state": state, "host": self.options.name} for vm, state in self.vms.items()},
            _gatewayAccessible=True, _vnetAccessible=True, hostType="Routing", hostId=self._host_id(),
            outOfBand=out_of_band, commandInfos=[])
        self._send_request([ping])
        self.last_ping_response = self.clock.now()  # the quirk: sending counts as an answer

    def _ping_answered(self, answer):
        if answer.get("sendStartup") and self.reconnect_allowed:
            self._send_startup(False)
        elif "commandInfos" not in (answer.get("_command") or {}):
            # The resource dereferences it, so the rest of the answer is skipped too (3.7).
            self.console.error("ping-answer-without-echo", detail="_command.commandInfos is missing")
            return
        self._set_avoid(answer.get("avoidMsList"))

    # --- messages ------------------------------------------------------------------

    def _send_request(self, commands, flags=wire.REQUEST | wire.STOP_ON_ERROR, seq=None):
        if not self.link:
            self.console.error("no-link", classes=[c.short for c in commands])
            return
        if seq is None:
            seq, self.sequence = self.sequence, self.sequence + 1
        if any(c.java_class and c.java_class.in_sequence for c in commands):
            flags |= wire.IN_SEQUENCE
        host_id = self._host_id()
        message = wire.Message(flags, seq, gson.content_of(commands), -1, host_id, host_id)
        self._send(self.link, message, commands)

    def _send(self, link, message, items):
        if link.close_reason:
            self.console.error("answer-lost", link=link.label, classes=[i.short for i in items])
            return
        link.send(wire.message_encode(message))
        self.console.message("out", link.label, message, items)

    def _handle(self, link, data):
        try:
            message = wire.message_decode(data)
            read = gson.read_commands if message.is_request else gson.read_answers
            items = read(message.content)
        except wire.WireError as error:
            return self.console.error(error.reason, link=link.label, detail=error.detail, bytes=len(data))
        except gson.ObjectsLost as error:
            return self.console.error("message-lost", link=link.label, detail=str(error))
        self.console.message("in", link.label, message, items or [])
        if not items or None in items:
            return self.console.error("message-lost", link=link.label, detail="null where an object must be")
        if message.is_request:
            self.tasks.start(self._execute_batch(link, message, items))
        else:
            self._handle_answer(items[0])

    def _handle_answer(self, answer):
        """By class, whatever the sequence number is (2.3)."""
        if answer.short == "StartupAnswer":
            self._startup_answered(answer)
        elif answer.short == "PingAnswer":
            self._ping_answered(answer)
        elif answer.short != "AgentControlAnswer":
            self.last_ping_response = self.clock.now()

    # --- requests (4.1.5, 2.5) -------------------------------------------------------

    async def _execute_batch(self, link, request, commands):
        answers, stopped = [], False
        for command in commands:
            if stopped:
                answers.append(gson.plain_answer(False, "Stopped by previous failure"))
                continue
            answer = await self._execute(link, request, command)
            if answer is None:  # we are rejected: no answer at all
                return
            answers.append(answer)
            stopped = request.has(wire.STOP_ON_ERROR) and not answer.raw["result"]
        self._send(link, wire.response_to(request, gson.content_of(answers)), answers)

    async def _execute(self, link, request, command):
        try:
            if command.get("contextMap") is None:
                raise null_pointer("contextMap", "com.cloud.agent.Agent.processRequest")
            if command.java_class.cron:
                return self._start_cron(link, request, command)
            handler = _HANDLERS.get(command.short, Agent._resource_command)
            if command.short in ("SetupKeyStoreCommand", "SetupCertificateCommand") \
                    and not command.get("handleByAgent"):
                handler = Agent._resource_command
            return await handler(self, command)
        except JavaException as error:
            self.console.error("command-failed", command=command.short, detail=str(error))
            return gson.plain_answer(False, str(error))

    async def _resource_command(self, command):
        """What a KVM resource would do; unknown commands are answered, with false."""
        with self.busy:
            await self.busy.wait_for_release(command.short)
            make = _RESOURCE_ANSWERS.get(command.short)
            if make:
                return make(self, command)
            details = (f"Unsupported command issued: {command.name}.  "
                       "Are you sure you got the right type of server?")
            return gson.answer(API + "UnsupportedAnswer", False, details)

    def _start_cron(self, link, request, command):
        """Answered at once, then a response with the same number each interval (3.8)."""
        async def run():
            while True:
                await self.clock.sleep(command.get("interval", 0) or 1)
                answers = [gson.plain_answer()]
                self._send(link, wire.response_to(request, gson.content_of(answers)), answers)

        self.crons.append(self.tasks.start(run()))
        return gson.plain_answer()

    async def _shutdown(self, command):
        """Stays connected until the server closes; doesn't reconnect then, doesn't exit."""
        self._cancel_periodic_tasks()
        if command.get("removeHost"):
            self._persist({"zone": "", "cluster": "", "pod": ""})
        self.reconnect_allowed = False
        return gson.plain_answer()

    async def _ready(self, command):
        if command.get("_details") is not None:
            self.console.error("rejected", detail=command.get("_details"))
            self.tasks.start(self._exit(EXIT_REJECTED, command.get("_details")))
            return None
        if command.get("hostId") is not None:
            self._persist_identity(command.get("hostId"), command.get("hostUuid"), command.get("hostName"))
        self._process_list(command.get("msHostList"), command.get("avoidMsHostList"),
                           command.get("lbAlgorithm"), command.get("lbCheckInterval"), trigger=False)
        details = {"host.vddk.support": "", "vddk.lib.dir": "", "host.vddk.version": ""}
        return gson.answer(API + "ReadyAnswer", detailsMap=details)

    async def _setup_ms_list(self, command):
        if command.get("triggerHostLb") is None:  # a Boolean is unboxed for the call: nothing is applied
            raise null_pointer("triggerHostLb", "com.cloud.agent.Agent.processManagementServerList")
        self._process_list(command.get("msList"), command.get("avoidMsList"), command.get("lbAlgorithm"),
                           command.get("lbCheckInterval"), trigger=command.get("triggerHostLb"))
        return gson.answer(LB + "SetupMSListAnswer")

    async def _migrate(self, command):
        if command.get("msList"):
            self._process_list(command.get("msList"), command.get("avoidMsList"),
                               command.get("lbAlgorithm"), command.get("lbCheckInterval"), trigger=False)
        self.tasks.start(self._migrate_later(command.get("avoidMsList")))
        return gson.answer(API + "MigrateAgentConnectionAnswer")

    # --- the list, the checker, migration (4.1.6, 4.1.7) --------------------------------

    def _process_list(self, hosts, avoid, algorithm, interval, *, trigger):
        if hosts and algorithm:
            value = ",".join(hosts) + "@" + algorithm
            self._persist({"host": value})
            self.hosts, self.counter = list(hosts), 0
        self._set_avoid(avoid)
        if trigger:
            self.tasks.start(self._check_preferred())
        self._schedule_checker(algorithm, interval)

    def _set_avoid(self, avoid):
        self.avoid = list(avoid or [])
        self.console.emit("avoid-list", hosts=self.avoid)

    def _schedule_checker(self, algorithm, interval):
        """An absent algorithm makes the checker recurring, even where it is shuffle."""
        if self.checker:
            self.checker.cancel()
            self.checker = None
        effective = interval or 0 if self.local_check_interval is None else self.local_check_interval
        once = (algorithm or "").lower() == "shuffle"
        self.console.emit("checker", interval=max(effective, 0), once=once)
        if effective > 0:
            self.checker = self.tasks.start(self._check_for_ever(effective, once))

    async def _check_for_ever(self, interval, once):
        while True:
            await self.clock.sleep(interval)
            # In a task of its own: the next ReadyCommand stops this one.
            self.tasks.start(self._check_preferred())
            if once:
                return

    async def _check_preferred(self):
        """Doesn't look at the avoid list, compares strings, and leaves a good link."""
        preferred = self.hosts[0] if self.hosts else None
        if preferred is None or preferred == self.connected_host or not self.link:
            return self.console.emit("preferred-check", host=preferred, result="nothing-to-do")
        reachable = await links.probe(preferred, self._port(), source=self.options.source_address,
                                      timeout=PROBE_TIMEOUT)
        if not reachable:
            result = "unreachable"
        elif not self.link:
            result = "no-link"
        else:
            result = "busy" if self.busy else "reconnect"
        self.console.emit("preferred-check", host=preferred, result=result)
        if result == "reconnect":
            self.counter = 0
            await self._reconnect(preferred)

    async def _migrate_later(self, avoid):
        await self.clock.sleep(MIGRATION_DELAY)
        if avoid is None:  # dereferenced here, long after the answer was given
            return self.console.error("migrate-without-avoid-list")
        candidates = [host for host in self.hosts if host not in avoid]
        if not candidates or not candidates[0]:
            return self.console.error("migrate-without-candidate", avoid=avoid)
        target = candidates[0]  # the second one is never tried
        if not await links.probe(target, self._port(), source=self.options.source_address, timeout=PROBE_TIMEOUT):
            return self.console.error("migrate-target-unreachable", host=target)
        self.counter = 0
        self._set_avoid(avoid)
        self.transfer = True
        await self._reconnect(target, for_transfer=True)

    # --- certificates (7.6) ---------------------------------------------------------------

    async def _setup_keystore(self, command):
        directory = self.properties.path.parent
        if self.properties.get("keystore.passphrase") is None:
            self._persist({"keystore.passphrase": command.get("keystorePassword", "")})
        csr = directory / "cloud.csr"
        # The key in use stays until the certificate for the new one is here.
        await self._run(pki.make_request, directory / "cloud.key.new", csr, self.options.name,
                        [self.link_address(), self.options.name])
        return gson.answer(CA + "SetupKeystoreAnswer", csr=csr.read_text())

    async def _setup_certificate(self, command):
        directory = self.properties.path.parent
        certificate, key, ca = (directory / f"cloud.{end}" for end in ("crt", "key", "ca.crt"))
        certificate.write_text(command.get("certificate", ""))
        ca.write_text(command.get("caCertificates", ""))
        if command.get("privateKey"):
            key.write_text(command.get("privateKey"))
        else:
            (directory / "cloud.key.new").replace(key)
        for path in (certificate, key, ca):
            path.chmod(0o750)
        await self._run(pki.openssl, "pkcs12", "-export", "-name", "cloud", "-in", certificate, "-inkey", key,
                        "-certfile", ca, "-out", directory / "cloud.jks",
                        "-passout", "pass:" + self.properties.get("keystore.passphrase", "vmops.com"))
        self.console.emit("certificate-installed", directory=str(directory))
        self.tasks.start(self._restart_with_new_certificate())
        return gson.answer(CA + "SetupCertificateAnswer")

    async def _run(self, function, *arguments):
        try:
            return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise JavaException("com.cloud.utils.exception.CloudRuntimeException", str(error),
                                "com.cloud.agent.Agent.setupAgentKeystore") from error

    async def _restart_with_new_certificate(self):
        """A new agent object in the same process, at the *next* host of the list."""
        await self.clock.sleep(RENEWAL_DELAY)
        while self.busy:
            await self.clock.sleep(RENEWAL_DELAY)
        self._cancel_startup_timer()
        self._cancel_periodic_tasks()
        if self.link:
            self._send_shutdown("Restarting due to new X509 certificates")
            await self.clock.sleep(STOP_GRACE)
        self._close_link("restart-for-certificate")
        self.sequence = 0
        await self._connect_first()

    # --- periodic tasks ------------------------------------------------------------------

    def _cancel_crons(self):
        for task in self.crons:
            task.cancel()
        self.crons.clear()

    def _cancel_periodic_tasks(self):
        self._cancel_crons()
        if self.pinger:
            self.pinger.cancel()
            self.pinger = None

    # --- commands of the driver -------------------------------------------------------------

    def do_quit(self, _):
        self.stop()

    def do_ping(self, command):
        self.send_ping(command.get("outOfBand", False))

    def do_vms(self, command):
        """What pings report from now on: {"name": "PowerOn"}."""
        self.vms = command["vms"]

    async def do_check_preferred(self, _):
        await self._check_preferred()

    async def do_reconnect(self, command):
        await self._reconnect(command.get("host"))

    def do_send(self, command):
        """Objects exactly as given: this is how a test sends what is wrong."""
        flags = command.get("flags", wire.REQUEST | wire.STOP_ON_ERROR)
        self._send_request([gson.item_from_raw(c) for c in command["commands"]], flags, command.get("seq"))

    def do_send_raw(self, command):
        """Bytes on the socket, neither encrypted nor framed."""
        self.link.send_raw(bytes.fromhex(command["hex"]))

    def do_hold(self, command):
        """Resource commands of a class aren't answered until the release."""
        self.busy.hold(command["class"])

    def do_release(self, _):
        self.busy.release()

    def do_status(self, _):
        self.console.emit("status", hosts=self.hosts, counter=self.counter, avoid=self.avoid,
                          connectedHost=self.connected_host, link=self.link and self.link.label,
                          hostId=self._host_id(), busy=bool(self.busy))


class Busy:
    """The counter of resource commands in progress; a driver can hold some of them."""

    def __init__(self):
        self._count = 0
        self._held = set()
        self._released = asyncio.Event()

    def __enter__(self):
        self._count += 1

    def __exit__(self, *_):
        self._count -= 1

    def __bool__(self):
        return self._count > 0

    def hold(self, short_name):
        self._held.add(short_name)
        self._released.clear()

    def release(self):
        self._held.clear()
        self._released.set()

    async def wait_for_release(self, short_name):
        if short_name in self._held:
            await self._released.wait()


def _host_stats(_agent, command):
    stats = {"hostId": command.get("hostId", 0), "entityType": "host", "cpuUtilization": 12.5,
             "averageLoad": 0.5, "networkReadKBs": 5.28E8, "networkWriteKBs": 4.0,
             "totalMemoryKBs": 16384000.0, "freeMemoryKBs": 8192000.0}
    return gson.answer(API + "GetHostStatsAnswer", hostStats=stats)


_HANDLERS = {
    "ShutdownCommand": Agent._shutdown,
    "ReadyCommand": Agent._ready,
    "SetupMSListCommand": Agent._setup_ms_list,
    "MigrateAgentConnectionCommand": Agent._migrate,
    "SetupKeyStoreCommand": Agent._setup_keystore,
    "SetupCertificateCommand": Agent._setup_certificate,
}

_RESOURCE_ANSWERS = {
    "MaintainCommand": lambda a, c: gson.answer(API + "MaintainAnswer", willMigrate=True),
    "CheckHealthCommand": lambda a, c: gson.answer(API + "CheckHealthAnswer", True, "resource is alive"),
    "CheckNetworkCommand": lambda a, c: gson.answer(API + "CheckNetworkAnswer", _reconnect=False),
    "GetHostStatsCommand": _host_stats,
    "AgentControlCommand": lambda a, c: gson.answer(API + "AgentControlAnswer"),
    "PingTestCommand": lambda a, c: gson.plain_answer(),
    "SetHostParamsCommand": lambda a, c: gson.plain_answer(),
    "ModifySshKeysCommand": lambda a, c: gson.plain_answer(),
}


def parse_hosts(value):
    """Up to the first @, not trimmed; trailing empty names are dropped, others kept (5.4)."""
    names = value.split("@", 1)[0].split(",")
    while len(names) > 1 and not names[-1]:
        names.pop()
    return names


# --- the program -------------------------------------------------------------------------

def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--properties", required=True, metavar="FILE",
                        help="agent.properties; made if it doesn't exist, rewritten as Java does")
    parser.add_argument("--guid", help="written to the file if it has none (default: from the name)")
    parser.add_argument("--name", default="reference-agent", help="host name")
    parser.add_argument("--hosts", metavar="LIST", help="M1,M2[@algorithm], written to the file")
    parser.add_argument("--port", type=int, help="written to the file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="any other property, written to the file")
    parser.add_argument("--cert", help="client certificate (default: cloud.crt beside the file)")
    parser.add_argument("--key", help="its key (default: cloud.key)")
    parser.add_argument("--ca", help="trusted CA certificates (default: cloud.ca.crt; none: trust all)")
    parser.add_argument("--no-keystore", action="store_true", help="trust all, show no certificate")
    parser.add_argument("--source-address", metavar="ADDR", help="local loopback address to connect from")
    parser.add_argument("--time-scale", type=float, default=1.0, metavar="F",
                        help="multiplies every timer of the reference")
    parser.add_argument("--quit-at-eof", action="store_true", help="stop when stdin ends")
    options = parser.parse_args(arguments)
    if options.source_address and not ipaddress.ip_address(options.source_address).is_loopback:
        parser.error("--source-address must be a loopback address")
    return options


def prepare_properties(options):
    properties = AgentProperties(options.properties)
    wanted = dict(pair.split("=", 1) for pair in options.set)
    if options.guid or not properties.get("guid"):
        wanted["guid"] = options.guid or str(uuid.uuid3(uuid.NAMESPACE_DNS, options.name))
    if options.hosts is not None:
        wanted["host"] = options.hosts
    if options.port is not None:
        wanted["port"] = str(options.port)
    if wanted:
        properties.persist_all(wanted)


async def main(options):
    loop = asyncio.get_running_loop()
    agent = Agent(options, Console())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop, "signal")
    at_eof = agent.stop if options.quit_at_eof else lambda: None
    read_commands(loop, lambda command: carry_out(agent, command), at_eof)
    return await agent.run()


if __name__ == "__main__":
    chosen = parse_options(sys.argv[1:])
    prepare_properties(chosen)
    sys.exit(asyncio.run(main(chosen)))
