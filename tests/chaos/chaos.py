"""What the chaos tests share: clusters that can be frozen, cut off and starved, and the question "is all well again?".

Namespaces have no names: each belongs to a sleeping process of ours that dies with us, and goes with the last process
in it. So a test that is killed leaves no namespace, no bridge, no rule and no mount behind.
"""
import contextlib
import glob
import http.client
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
from harness import PORT, Agent, ApiError, Cluster, Server, until  # noqa: E402,F401

ALL = os.environ.get("MUSTER_CHAOS") == "all"
DEADLINE = 90  # for whatever has to come true; nothing here measures

# The tests run from folders of their own, and nsenter changes the folder.
harness.PROGRAMS = os.path.abspath(harness.PROGRAMS)


# ---- what the machine can do ----

def skip(test, reason):
    print(f"SKIPPED: {test.id()}: {reason}", flush=True)
    test.skipTest(reason)


def only_in_full(method):
    """Not in the ordinary tests: MUSTER_CHAOS=all."""
    return method if ALL else unittest.skip("long; MUSTER_CHAOS=all runs it")(method)


def problem_with(*tools):
    """Why namespaces can't be made here; None if they can."""
    if os.geteuid() != 0:
        return "needs root for namespaces"
    for tool in ("unshare", "nsenter", "setpriv", *tools):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"{tool} is not installed"
    return None


def need_network(test):
    reason = problem_with("ip", "nft")
    if not reason:
        try:
            with contextlib.closing(Network("10.255.254")) as net:
                net.add("probe", 1)
                net.rules("probe", "meta l4proto tcp numgen random mod 100 < 1 drop")
        except (OSError, subprocess.SubprocessError) as problem:
            reason = f"no network namespaces, veth or nftables here ({problem})"
    if reason:
        skip(test, reason)


def need_mounts(test):
    reason = problem_with("mount")
    if not reason:
        try:
            folder = os.path.dirname(os.path.abspath(__file__))
            with contextlib.closing(Disk(folder, 64 * 1024)):
                pass
        except (OSError, subprocess.SubprocessError) as problem:
            reason = f"no mount namespaces or tmpfs here ({problem})"
    if reason:
        skip(test, reason)


def need_relay(test):
    need_network(test)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        skip(test, "no /dev/net/tun here: packets can't be delayed")


FAKETIME = next(iter(sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))), None)


def need_clocks(test):
    """A clock that can be loaded but doesn't turn is a failure, not a reason to skip: the tests look at it."""
    if not FAKETIME:
        skip(test, "libfaketime is not installed (Debian: faketime): clocks can't be made to jump")


def has_command(name):
    """Does `muster` know this command?"""
    text = subprocess.run([harness.program("muster"), "help"], capture_output=True, text=True, timeout=30, check=True).stdout
    return any(line.split()[:1] == [name] for line in text.splitlines())


# ---- clocks ----

class Clock:
    """The wall clock of one process. Monotonic time goes on as it is: that never jumps on a real machine either."""

    def __init__(self, process):
        self.path = os.path.join(process.dir, "clock")
        self.set(0)
        process.env = {**process.env, "LD_PRELOAD": f"{self.sanitizer(process.argv[0])} {FAKETIME}".strip(),
                       "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                       "FAKETIME_DISABLE_SHM": "1", "NO_FAKE_STAT": "1"}

    @staticmethod
    def sanitizer(program):
        """A program that was built with AddressSanitizer wants its library before all others."""
        libraries = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=30, check=True).stdout
        return next((line.split()[2] for line in libraries.splitlines() if "libasan.so" in line), "")

    def set(self, seconds):
        """So many seconds off, from now on. Read whole or not at all."""
        with open(self.path + ".new", "w", encoding="ascii") as f:
            f.write(f"{seconds:+d}")
        os.replace(self.path + ".new", self.path)


# ---- namespaces ----

class Holder:
    """A sleeping process with a namespace of its own."""

    def __init__(self, kind, script=":"):
        self.kind = kind
        flags = ["--net"] if kind == "net" else ["--mount", "--propagation", "private"]
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, "sh", "-ec", f"{script}; echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.child.stdout.readline() != "ready\n":
            why = self.child.stderr.read().strip()
            self.close()
            raise OSError(why or f"a {kind} namespace could not be made")

    @property
    def pid(self):
        return self.child.pid

    def prefix(self):
        name = "net" if self.kind == "net" else "mnt"
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--{self.kind}=/proc/{self.pid}/ns/{name}", "--"]

    def run(self, *argv, text=None):
        subprocess.run([*self.prefix(), *argv], input=text, text=True, check=True, timeout=30, capture_output=True)

    def close(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()
        self.child.stderr.close()


class Network:
    """A switch and the machines on it: one namespace each, connected by veth pairs."""

    def __init__(self, net):
        self.net, self.machines, self.others, self.relays = net, {}, [], []
        self.switch = Holder("net")
        self.switch.run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self.switch.run("ip", "link", "set", "br0", "up")

    def add(self, name, number):
        machine = self.machines[name] = Holder("net")
        port = f"p{number}"
        self.switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
        self.switch.run("ip", "link", "set", port, "master", "br0", "up")
        machine.run("ip", "link", "set", "lo", "up")
        machine.run("ip", "addr", "add", f"{self.net}.{number}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        return machine

    def remove(self, name, number):
        """The machine is gone, with all that its kernel still knew."""
        self.switch.run("ip", "link", "del", f"p{number}")
        self.machines.pop(name).close()

    def rules(self, name, incoming=None, outgoing=None):
        """Replaces all rules of one machine; none: everything passes."""
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; policy accept; {way} \"eth0\" {rule}; }}\n"
            for hook, way, rule in (("input", "iifname", incoming), ("output", "oifname", outgoing)) if rule)
        self.machines[name].run("nft", "-f", "-", text=f"table inet chaos\ndelete table inet chaos\ntable inet chaos {{\n{chains}}}\n")

    def slow(self, name, net, chance, shortest_ms, longest_ms):
        """Puts a new machine behind a slow line: NET.1 in a network of its own, and a route to it on all others."""
        machine, router = self.machines[name], Holder("net")
        self.others.append(router)
        machine.run("ip", "link", "del", "eth0")
        port = f"r{len(self.others)}"
        self.switch.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(router.pid))
        self.switch.run("ip", "link", "set", port, "master", "br0", "up")
        router.run("ip", "addr", "add", f"{self.net}.254/24", "dev", "eth0")
        router.run("ip", "link", "set", "eth0", "up")
        router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        seed = chance.randrange(1 << 30)
        relay = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-B", os.path.join(os.path.dirname(__file__), "relay.py"),
             str(machine.pid), str(router.pid), str(shortest_ms), str(longest_ms), str(seed)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.relays.append(relay)
        if relay.stdout.readline() != "ready\n":
            raise OSError("the slow line could not be made")
        for end, address in ((machine, 1), (router, 2)):
            end.run("ip", "addr", "add", f"{net}.{address}/24", "dev", "slow0")
            end.run("ip", "link", "set", "slow0", "up")
        machine.run("ip", "route", "add", "default", "dev", "slow0")
        for other in self.machines.values():
            if other is not machine:
                other.run("ip", "route", "add", f"{net}.0/24", "via", f"{self.net}.254")

    def close(self):
        for relay in self.relays:
            relay.kill()
            relay.wait()
            relay.stdout.close()
        for holder in [*self.machines.values(), *self.others, self.switch]:
            holder.close()


class Disk:
    """A small disk that only those see who run with its prefix, and this test through .path."""

    def __init__(self, folder, size):
        self.holder = Holder("mount", f"mount -t tmpfs -o size={size},mode=0700 chaos '{folder}'")
        self.path = f"/proc/{self.holder.pid}/root{os.path.abspath(folder)}"
        self.filler = os.path.join(self.path, "filler")

    def prefix(self):
        return self.holder.prefix()

    def fill(self):
        """To the last byte, and again where something was freed meanwhile."""
        with open(self.filler, "ab", buffering=0) as f:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * size)

    def empty(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.filler)

    def close(self):
        self.holder.close()


# ---- links as the kernel has them ----

def links_can_be_seen(process):
    """The daemons hide what they have open from everybody but root."""
    return os.access(f"/proc/{process.child.pid}/fd", os.R_OK | os.X_OK)


def sockets_of(pid):
    inodes = set()
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        with contextlib.suppress(OSError):
            target = os.readlink(fd)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


def established_there(pid):
    """The TCP links in the namespace of a process: {socket: (local, remote)}, each (address, port)."""
    def end(text):
        address, port = text.split(":")
        return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)

    links = {}
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            field = line.split()
            if field[3] == "01":
                links[field[9]] = (end(field[1]), end(field[2]))
    return links


def established(pid):
    """The TCP links that a process holds: {(local, remote)}."""
    inodes = sockets_of(pid)
    return {ends for inode, ends in established_there(pid).items() if inode in inodes}


# ---- clusters ----

class ChaosServer(Server):
    def freeze(self):
        self.child.send_signal(signal.SIGSTOP)
        self.cluster.frozen.add(self)

    def thaw(self):
        self.child.send_signal(signal.SIGCONT)
        self.cluster.frozen.discard(self)


# Servers go away here again and again within minutes; an agent would wait 5 of them before it trusts one again.
SHORT_DAMPER = "muster.failback.damper=3"


class ChaosAgent(Agent):
    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.cluster = cluster

    def explain(self):
        """What the agent says of itself."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(os.path.join(os.path.dirname(self.properties), "agent.sock"))
            text = b""
            while part := s.recv(65536):
                text += part
        try:
            return json.loads(text)
        except ValueError:  # it ended in the middle of it
            raise ConnectionError(f"{self.name} said only {text[:100]!r}") from None

    def link(self):
        """The one link to a server that it has, or None. What is being dialled at black holes doesn't count."""
        servers = {(a, PORT) for a in self.cluster.addresses()}
        links = [(here, there) for here, there in established(self.child.pid) if there in servers]
        return links[0] if len(links) == 1 else None

    def set(self, line):
        with open(self.properties, "a", encoding="ascii") as f:
            f.write(line + "\n")


class ChaosCluster(Cluster):
    """On loopback; with a network of namespaces if network is true: each server is a machine, all agents are another."""

    def __init__(self, servers=3, network=False):
        super().__init__(0)
        self.frozen, self.trouble_text, self.network, self.blind = set(), "", None, False
        self.holders = contextlib.ExitStack()
        if network:
            self.net = f"10.{random.randint(1, 250)}.{random.randint(1, 250)}"
            self.network = self.holders.enter_context(contextlib.closing(Network(self.net)))
            self.network.add("agents", 200)
        for number in range(1, servers + 1):
            server = ChaosServer(self, number)
            if network:
                server.argv = self.network.add(server.name, number).prefix() + server.argv
            self.servers.append(server)

    def __exit__(self, kind, value, trace):
        for server in list(self.frozen):
            server.thaw()
        super().__exit__(kind, value, trace)
        self.holders.close()

    def clock(self, process):
        """Gives a process that has not been started yet a wall clock of its own."""
        process.clock = Clock(process)
        return process

    def disk(self, folder, size):
        return self.holders.enter_context(contextlib.closing(Disk(folder, size)))

    def join_agent(self, token):
        agent = ChaosAgent(self, f"H{len(self.agents) + 1}")
        if self.network:
            agent.prefix = self.network.machines["agents"].prefix()
            agent.argv = agent.prefix + agent.argv
        agent.join(token)
        agent.set(SHORT_DAMPER)
        self.agents.append(agent)
        return agent

    def agent_on_disk(self, disk):
        """One more agent, whose folder is a disk of its own; its log stays outside."""
        agent = ChaosAgent(self, f"H{len(self.agents) + 1}")
        agent.prefix = disk.prefix()
        agent.argv = agent.prefix + agent.argv
        agent.properties = os.path.join(disk.path, "agent.properties")
        agent.join(self.token())
        agent.set(SHORT_DAMPER)
        self.agents.append(agent)
        return agent.start()

    def add_agents(self, n, settings=""):
        token = self.token(uses=n)
        new = [self.join_agent(token) for _ in range(n)]
        for agent in new:
            if settings:
                agent.set(settings)
            agent.start()
        return new

    def begin(self, agents=6, algorithm="roundrobin", interval=1, ping=60):
        """Servers, settings, agents; returns when all are at home."""
        if not self.up():
            self.start_servers()
        self.list_all()
        self.config("indirect.agent.lb.algorithm", algorithm)
        self.config("ping.interval", str(ping))
        if agents:
            self.add_agents(agents)
        self.settle()
        if interval != 1:
            self.config("indirect.agent.lb.check.interval", str(interval))
            self.settle(commands=False)
        return self

    def power_off(self, agent):
        """The agent's machine loses power: it says goodbye to nobody, and its kernel neither."""
        self.network.rules(agent.machine, "drop", "drop")
        agent.kill()

    def machine_for(self, agent, name, number):
        """An agent that isn't running gets a machine of its own; the machine that it had is gone."""
        agent.machine = name
        agent.prefix = self.network.add(name, number).prefix()
        agent.argv = [*agent.prefix, harness.program("muster-agent"), "--dir", agent.dir]

    def up(self):
        return [s for s in self.servers if s.alive() and s not in self.frozen]

    def agents_on(self, server):
        return [a for a in self.agents if a.explain()["connected"] == server.address]

    def agents_left(self, server):
        """Do all agents say that they are up, and elsewhere?"""
        said = [a.explain() for a in self.agents]
        return all(e["state"] == "up" and e["connected"] != server.address for e in said)

    def agents_left_by_address(self, server):
        """The same where entries are names: by their links as the kernel has them."""
        links = [a.link() for a in self.agents]
        return all(link and link[1][0] != server.address for link in links)

    # ---- is all well? ----

    def host_trouble(self, server, home):
        hosts = self.hosts(server)
        up = [s.address for s in self.up()]
        if sorted(hosts) != sorted(a.name for a in self.agents):
            return f"{server.name} knows {sorted(hosts)}"
        for name, h in hosts.items():
            if h["state"] != "Up" or h["musteroutdated"] or h["musterlist"] != h["musterexpected"]:
                return f"{name} through {server.name}: {h['state']}, list {h['musterlist']}, expected {h['musterexpected']}"
            if h.get("musterconnected") not in (h["musterlist"][:1] if home else up):
                return f"{name} through {server.name}: on {h.get('musterconnected')} of {h['musterlist']}"
        return None

    def server_trouble(self, server):
        status, names = self.status(server), [s.name for s in self.up()]
        if not status["store"]["ok"]:
            return f"{server.name}: its store is failing"
        for other in self.up():
            row = next(s for s in status["servers"] if s["name"] == other.name)
            if row["state"] != "Up":
                return f"{other.name} through {server.name}: {row['state']}"
            for view in row["views"]:
                if view["of"] in names and view["view"] != "up":
                    return f"{other.name} sees {view['of']} {view['view']}"
        return None

    def agent_trouble(self, hosts):
        """The agent, the store and the kernel agree on the one link that an agent has."""
        for agent in self.agents:
            said, link = agent.explain(), agent.link()
            if said["state"] != "up" or (links_can_be_seen(agent) and (not link or link[1][0] != said["connected"])):
                return f"{agent.name} is {said['state']} on {said['connected']}, its link is {link}"
            if hosts[agent.name].get("musterconnected") != said["connected"]:
                return f"{agent.name} says {said['connected']}, the store {hosts[agent.name].get('musterconnected')}"
        return None

    def stale_trouble(self):
        """No server holds a link whose other end is gone: that agent would be owned twice."""
        processes = [p for p in self.servers + self.agents if p.alive()]
        if not all(links_can_be_seen(p) for p in processes):
            if not self.blind:
                print("SKIPPED: links as the kernel has them: not root", flush=True)
            self.blind = True
            return None
        ends = {(there, here) for p in processes for here, there in established(p.child.pid)}
        for server in self.up():
            for here, there in established(server.child.pid):
                if here[1] == PORT and (here, there) not in ends:
                    return f"{server.name} still holds a link from {there}"
        return None

    def spread_trouble(self, hosts):
        counts = [sum(h["musterconnected"] == s.address for h in hosts.values()) for s in self.servers]
        return f"uneven: {counts}" if max(counts) - min(counts) > 1 else None

    def trouble(self, home=True, spread=True):
        """What is not yet as the configuration says; None if all is well. home: everybody on the preferred server."""
        up = self.up()
        if not up:
            return "no server is up"
        for server in up:
            found = self.server_trouble(server) or self.host_trouble(server, home)
            if found:
                return found
        hosts = self.hosts(up[0])
        return (self.agent_trouble(hosts) or self.stale_trouble() or (self.spread_trouble(hosts) if home and spread else None))

    def settle(self, seconds=DEADLINE, home=True, spread=True, commands=True):
        """Waits until all is well, through every server's eyes, then sends a command through each."""
        def look():
            try:
                self.trouble_text = self.trouble(home, spread) or ""
            except (OSError, http.client.HTTPException, ApiError, ValueError) as problem:
                self.trouble_text = f"{type(problem).__name__}: {problem}"
            return not self.trouble_text
        try:
            until(look, seconds, "all is well")
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.trouble_text}") from None
        if commands:
            self.command_everybody()

    def command_everybody(self):
        """checkHost for every host through every server reaches it, wherever it is."""
        for server in self.up():
            jobs = {h["name"]: server.api("checkHost", id=h["id"])["jobid"] for h in self.hosts(server).values()}
            for name, job in jobs.items():
                def done(job=job):
                    answer = server.api("queryAsyncJobResult", jobid=job)  # noqa: B023
                    return answer if answer["jobstatus"] else None
                answer = until(done, what=f"checkHost of {name} through {server.name} ends")
                if answer["jobstatus"] != 1:
                    raise AssertionError(f"checkHost of {name} through {server.name}: {answer['jobresult']}")


class Watch(threading.Thread):
    """Looks at the hosts' states all the time, through any server that answers, and allows no Alert unless told."""

    def __init__(self, cluster, allowed=("Up", "Disconnected")):
        super().__init__(daemon=True)
        self.cluster, self.allowed, self.ending = cluster, allowed, threading.Event()
        self.states, self.looks = {}, 0

    def only(self, *states):
        """Fails if a host was in another state. Who introduces itself is Connecting, or Creating for the first time."""
        passing = (*states, "Connecting", "Creating")
        others = {state: sorted(names) for state, names in self.states.items() if state not in passing}
        if others or not self.looks:
            raise AssertionError(f"hosts were seen in {others} in {self.looks} looks")

    def look(self):
        for server in self.cluster.up():
            with contextlib.suppress(OSError, http.client.HTTPException, ApiError, ValueError):
                for name, h in self.cluster.hosts(server).items():
                    self.states.setdefault(h["state"], set()).add(name)
                self.looks += 1
                return

    def run(self):
        while not self.ending.wait(0.1):
            self.look()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ending.set()
        self.join(30)
        if not kind:
            self.only(*self.allowed)


class LinkWatch(threading.Thread):
    """
    Looks at the agents' links as the kernel has them, all the time: during planned moves nobody is without one, for
    longer than the bound. All agents are in one namespace, and root looks.

    A look isn't one moment, so an agent that changes from one link to another in the middle of it may seem to have
    none. The next look sees the new one: only who is without in looks that lie further apart than the bound counts.
    """

    def __init__(self, cluster, bound_s=0.3):
        super().__init__(daemon=True)
        self.cluster, self.bound_s, self.ending = cluster, bound_s, threading.Event()
        self.looks, self.without_since, self.gaps, self.problem = 0, {}, {}, None

    def look(self):
        agents = [a for a in self.cluster.agents if a.alive()]
        held = {a.name: sockets_of(a.child.pid) for a in agents}
        now = time.monotonic()
        table = established_there(agents[0].child.pid)
        servers = {(a, PORT) for a in self.cluster.addresses()}
        to_servers = {inode for inode, (_, there) in table.items() if there in servers}
        for name, sockets in held.items():
            if sockets & to_servers:
                self.without_since.pop(name, None)
            else:
                gap = now - self.without_since.setdefault(name, now)
                self.gaps[name] = max(gap, self.gaps.get(name, 0))
        self.looks += 1

    def run(self):
        while not self.ending.wait(0.05):
            try:
                self.look()
            except Exception as problem:  # a watch that has died has seen nothing
                self.problem = problem
                return

    def __enter__(self):
        if all(links_can_be_seen(a) for a in self.cluster.agents):
            self.start()
        else:
            print("SKIPPED: gaps between links: not root", flush=True)
        return self

    def __exit__(self, kind, value, trace):
        self.ending.set()
        if not self.ident:
            return
        self.join(30)
        if kind:
            return
        if self.problem or not self.looks:
            raise AssertionError(f"the watch saw nothing: {self.problem}")
        long = {name: round(gap, 2) for name, gap in self.gaps.items() if gap > self.bound_s}
        if long:
            raise AssertionError(f"agents without a link, in seconds: {long} ({self.looks} looks)")


def pause(seconds):
    """Lets trouble last. Never to wait for a result."""
    time.sleep(seconds)
