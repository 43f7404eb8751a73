#!/usr/bin/env python3
"""How long failures last: real servers, and thousands of real agents in muster-bench. For each class of failure p50, p99
and max of

    noticed        until an agent knows: its link is gone, or it looks for another server because this one is silent
    served again   until it is Ready on another server
    without link   how long it had no link at all (0 when the new one was there before the silent one was given up)
    home           until it is back on its preferred server, from the moment that one is ready again
    at the return  how long it had no link then: has to be 0

the most new links that a server took within one second, what became of the commands that were sent meanwhile, what the
servers' and the agents' processes used of the processors, and where everybody is at the end. Beside them a floor from
the same run: bare TLS handshakes on this machine, and one agent's way in while nothing else happens.

Times come from the agents' own events; the failure's is taken just before it is made. Nothing is asserted about times.
What has to be true, and ends the program if it isn't: everybody is served again, comes home, and is where the
algorithm says.

    bench_failover.py [--agents N] [--servers M] [--interval S] [--class kill,stop,...] [--json FILE]
"""
import argparse
import collections
import contextlib
import datetime
import http.client
import json
import os
import platform
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))
import chaos  # noqa: E402
from chaos import PORT, ApiError, ChaosCluster, until  # noqa: E402
from harness import Process, program  # noqa: E402

# What it is; the reference on a machine with 2 cores (the project's notes on it); what is to be reached.
CLASSES = {
    "exit": ("a server exits (SIGTERM)", "10.5 s", "p99 served within 1 s for 1,000 agents, 3 s for 10,000"),
    "kill": ("a server is killed (SIGKILL)", "10.5 s", "p99 served within 1 s for 1,000 agents, 3 s for 10,000"),
    "two": ("two servers are killed", "16 s", "-"),
    "stop": ("a server hangs (SIGSTOP)", "never (100 s watched)", "p99 served within 12 s"),
    "blackhole": ("a server's network drops everything", "-", "noticed within 6 s, p99 served within 8 s"),
    "frozen-listener": ("the preferred entry accepts TCP and never completes TLS", "76 s", "costs at most 0.3 s"),
    "failback": ("a server that was away is back", "6.5 s without service", "0 ms without a link, 0 commands lost"),
    "drain": ("a server is drained", "-", "0 ms without a link, 0 commands lost"),
    "rolling": ("all servers are restarted, one after the other", "-", "at the end everybody is at home"),
    "all": ("all servers are killed and come back", "-", "-"),
    "cold": ("all agents at once come to fresh servers", "114 s for 1,000 agents", "-"),
}
PATIENCE = 600  # seconds for whatever has to come true unless --patience says otherwise; nothing here is measured by it
STORM = 500  # so many agents are not started at once where that is not what is measured
COMMAND_PAUSE = 0.05
PROBES = 20
QUIET_S = 10


# ---- the agents ----

class Fleet(Process):
    """One muster-bench. Its events go to a file: a reader that is slow must not hold it up."""

    def __init__(self, cluster, options, token):
        self.cluster, self.options = cluster, options
        self.prefix = cluster.network.machines["agents"].prefix() if cluster.network else []
        argv = [*self.prefix, program("muster-bench"), "--dir", os.path.join(cluster.dir, "fleet"), "--token", token,
                "--agents", str(options.agents), "--events", "--log", options.agents_log, "--source", cluster.source]
        super().__init__("fleet", cluster.dir, argv)
        self.base, self.runs, self.clear = argv, 0, None
        cluster.others.append(self)

    def start(self, *more):
        self.runs += 1
        self.events_path = os.path.join(self.dir, f"events-{self.runs}")
        self.reader, self.rest = None, b""
        self.now, self.story, self.began, self.reports = {}, [], None, []
        with open(self.log_path, "ab") as log, open(self.events_path, "wb") as events:
            self.child = subprocess.Popen([*self.base, *more], stdout=events, stderr=log, stdin=subprocess.DEVNULL)
        self.reader = open(self.events_path, "rb")  # noqa: SIM115
        return self

    def poll(self):
        """Takes in what has happened."""
        data = self.rest + self.reader.read()
        *lines, self.rest = data.split(b"\n")
        for line in lines:
            e = json.loads(line)
            if "agent" in e:
                e["t"] /= 1e6
                self.now[e["agent"]] = e
                self.story.append(e)
            elif "started" in e:
                self.began = e["t"] / 1e6
            else:
                self.reports.append(e)
        if not self.alive() and not lines:
            raise AssertionError(f"muster-bench ended with {self.child.returncode}:\n{self.log()[-2000:]}")

    def end(self):
        """Its last report; the folders are saved."""
        if not self.child:
            return None
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(PATIENCE)
        with contextlib.suppress(AssertionError):
            self.poll()
        self.reader.close()
        self.child = None
        return self.reports[-1] if self.reports else None

    def up(self, where=lambda e: True):
        self.poll()
        return len(self.now) == self.options.agents and all(e["to"] == "up" and where(e) for e in self.now.values())

    def state(self):
        counts = collections.Counter(e["to"] for e in self.now.values())
        return f"of {self.options.agents} agents " + ", ".join(f"{n} {state}" for state, n in counts.most_common())

    def at_home(self):
        return self.up(lambda e: e["home"] and not e["moving"])

    def on(self, addresses):
        self.poll()
        return {name for name, e in self.now.items() if e["to"] == "up" and e["server"] in addresses}


class Tale:
    """What happened to one agent between two moments."""

    def __init__(self, first):
        self.noticed, self.arrivals, self.homecoming, self.without, self.lost = None, [], None, 0.0, first

    def add(self, e):
        if self.noticed is None:
            self.noticed = e["t"]
        if e["from"] == "up" and e["to"] != "up":
            self.lost = e["t"]
        if e["to"] == "up":
            self.without += e["t"] - self.lost if self.lost else 0
            self.lost = None
            self.arrivals.append((e["t"], e["server"]))
            if e["home"] and self.homecoming is None:
                self.homecoming = e["t"]

    def arrived(self, where):
        return next((t for t, server in self.arrivals if where(server)), None)


def tales(fleet, names, start, end=float("inf")):
    told = {name: Tale(None) for name in names}
    for e in fleet.story:
        if start <= e["t"] < end and e["agent"] in told:
            told[e["agent"]].add(e)
    return told


def new_links(fleet, start, end=float("inf")):
    """The most that became Ready on one server within a second: {server: n}."""
    times = collections.defaultdict(list)
    before = {}
    for e in fleet.story:
        where = e["server"] if e["to"] == "up" else None
        if where and before.get(e["agent"]) != where and start <= e["t"] < end:
            times[where].append(e["t"])
        before[e["agent"]] = where
    most = {}
    for server, at in times.items():
        first = 0
        for last, t in enumerate(at):
            while at[first] <= t - 1:
                first += 1
            most[server] = max(most.get(server, 0), last - first + 1)
    return most


# ---- commands meanwhile ----

class Trickle(threading.Thread):
    """checkHost for a host of the fleet every 50 ms, through a server that can be asked. What became of each is counted."""

    def __init__(self, bench, hosts):
        super().__init__(daemon=True)
        self.bench, self.ids = bench, [h["id"] for h in hosts.values()]
        self.ending, self.jobs, self.problems = threading.Event(), [], collections.Counter()

    def run(self):
        chance = random.Random(1)
        while not self.ending.wait(COMMAND_PAUSE):
            server = chance.choice(self.bench.usable())
            try:
                self.jobs.append(server.api("checkHost", id=chance.choice(self.ids))["jobid"])
            except (OSError, http.client.HTTPException, ApiError, ValueError):
                # Whoever asks a server that dies meanwhile is told so: nothing was taken on.
                self.problems["(not taken on)"] += 1

    def outcome(self, job):
        for server in self.bench.usable():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = server.api("queryAsyncJobResult", jobid=job)
                return answer if answer["jobstatus"] else None
        return None

    def close(self):
        self.ending.set()
        self.join(60)
        end = time.monotonic() + 60
        for job in self.jobs:
            answer = self.outcome(job)
            while not answer and time.monotonic() < end:
                time.sleep(COMMAND_PAUSE)
                answer = self.outcome(job)
            if not answer:
                self.problems["no outcome"] += 1
            elif answer["jobstatus"] != 1:
                text = str(answer.get("jobresult", {}).get("errortext", answer.get("jobresult")))
                self.problems[re.sub(r"[0-9a-f]{8}-[0-9a-f-]+|\b\S*\d\S*", "...", text)] += 1
        refused = self.problems.pop("(not taken on)", 0)
        return {"sent": len(self.jobs), "lost": sum(self.problems.values()), "why": dict(self.problems), "not_taken_on": refused}


# ---- printing ----

def spread_of(seconds):
    """p50, p99 and max in milliseconds by nearest rank, and of how many."""
    values = sorted(s for s in seconds if s is not None)
    if not values:
        return {"n": 0}
    p50, p99 = (values[max(0, -(-len(values) * p // 100) - 1)] for p in (50, 99))
    return {"n": len(values), "p50_ms": round(p50 * 1e3, 1), "p99_ms": round(p99 * 1e3, 1), "max_ms": round(values[-1] * 1e3, 1)}


def line_of(what, spread, remark=""):
    if not spread["n"]:
        return f"  {what:<14}{'-':>10}{'-':>10}{'-':>10}   {remark}"
    return f"  {what:<14}" + "".join(f"{spread[k] / 1e3:>9.3f}s" for k in ("p50_ms", "p99_ms", "max_ms")) + f"   {remark}"


def cpu_s(process):
    """What a process has used of the processors so far; 0 once it is gone."""
    try:
        with open(f"/proc/{process.child.pid}/stat", encoding="ascii", errors="replace") as f:
            field = f.read().rsplit(")", 1)[1].split()
        return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return 0.0


def rss_mib(process):
    with contextlib.suppress(OSError, AttributeError), open(f"/proc/{process.child.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    return 0


def machine():
    model, memory = "?", 0
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) >> 20
    return {"cores": len(os.sched_getaffinity(0)), "processor": model, "memory_gib": memory, "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 1)}


# ---- the bench ----

class Skipped(Exception):
    pass


class BenchCluster(ChaosCluster):
    """Servers on loopback; with a network each is a machine, and all agents are one more, with an address for each."""

    def __init__(self, options, network):
        super().__init__(options.servers, network=network)
        self.source = "127.0.0.0/8"
        for server in self.servers:
            path = os.path.join(server.dir, "server.properties")
            with open(path, encoding="ascii") as f:
                text = f.read()
            with open(path, "w", encoding="ascii") as f:
                f.write(text.replace("log.level=debug", f"log.level={options.servers_log}"))
        if network:
            self.source = f"10.{random.randint(1, 250)}.0.0/16"
            while self.net.startswith(self.source[:-6]):
                self.source = f"10.{random.randint(1, 250)}.0.0/16"
            for name, machine_ in self.network.machines.items():
                if name == "agents":
                    machine_.run("ip", "route", "add", "local", self.source, "dev", "lo")
                else:
                    machine_.run("ip", "route", "add", self.source, "via", f"{self.net}.200")


class Bench:
    def __init__(self, cluster, options):
        self.cluster, self.options = cluster, options
        self.unusable, self.trouble_text, self.results = set(), "", []

    def usable(self):
        return [s for s in self.cluster.servers if s.alive() and s not in self.unusable] or self.cluster.servers

    # ---- is all well? ----

    def trouble(self):
        for server in self.cluster.servers:
            found = self.cluster.server_trouble(server)
            if found:
                return found
        hosts = self.cluster.hosts()
        if len(hosts) != self.options.agents:
            return f"{len(hosts)} hosts"
        for name, h in hosts.items():
            if h["state"] != "Up" or h["musteroutdated"] or h["musterlist"] != h["musterexpected"] or \
                    h.get("musterconnected") != h["musterlist"][0]:
                return (f"{name}: {h['state']}, on {h.get('musterconnected')}, list {h['musterlist']}, expected {h['musterexpected']}")
        return None

    def settle(self):
        """Everybody is at home: the agents say so, then the servers."""
        def look():
            try:
                self.trouble_text = self.trouble() or ""
            except (OSError, http.client.HTTPException, ApiError, ValueError) as problem:
                self.trouble_text = f"{type(problem).__name__}: {problem}"
            return not self.trouble_text
        try:
            until(self.fleet.at_home, PATIENCE, "every agent is at home")
            until(look, PATIENCE, "the servers see everybody at home")
        except AssertionError as late:
            away = [e for e in self.fleet.now.values() if not (e["to"] == "up" and e["home"])][:3]
            raise AssertionError(f"{late}: {self.trouble_text}; not at home: {away}") from None

    def placement(self):
        counts = collections.Counter(h.get("musterconnected") for h in self.cluster.hosts().values())
        return {s.name: counts[s.address] for s in self.cluster.servers}

    # ---- set up ----

    def begin(self):
        cluster, options = self.cluster, self.options
        cluster.start_servers()
        for name, value in (("host", ",".join(cluster.addresses())), ("indirect.agent.lb.algorithm", "roundrobin"),
                            ("indirect.agent.lb.check.interval", str(options.interval)), ("default.page.size", "100000")):
            cluster.config(name, value)
        self.fleet = Fleet(cluster, options, cluster.token(uses=options.agents, lifetime=86400))
        return self.floor()

    def floor(self):
        """Bare handshakes, then agents one at a time on servers that have nothing else to do; last, all of them join."""
        said = subprocess.run([program("muster-bench"), "--floor", "--report", "json"], capture_output=True, text=True, check=True)
        bare = json.loads(said.stdout)
        n = min(PROBES, self.options.agents)
        # Later options win. The first run joins, the second measures.
        argv = [*self.fleet.base, "--agents", str(n), "--until-up", "--seconds", str(PATIENCE), "--ramp", "5"]
        for _ in range(2):
            said = subprocess.run(argv, capture_output=True, text=True, check=False)
            if said.returncode:
                raise AssertionError(f"muster-bench failed: {said.stderr}")
        alone = json.loads(said.stdout.splitlines()[-1])["first_up"]
        self.pace = ["--ramp", str(max(20, int(bare["handshakes_per_s"] / 3)))] if self.options.agents > STORM else []
        began = time.monotonic()
        self.fleet.start(*self.pace)
        # Keys and certificates for all of them: once, and not what is measured.
        until(self.fleet.up, max(PATIENCE, self.options.agents // 10), "everybody has joined and is up")
        return {"handshakes_per_s": round(bare["handshakes_per_s"]), "handshake_alone": bare["handshake_alone"], "way_in_alone": alone,
                "joined_and_up_s": round(time.monotonic() - began, 1)}

    def quiet(self):
        """What agents say while nothing happens."""
        self.settle()
        first = self.last_report()
        chaos.pause(QUIET_S)
        last = self.last_report()
        n = self.options.agents * (last["at_us"] - first["at_us"]) / 1e6
        per = {key: (last["traffic"][key] - first["traffic"][key]) / n for key in first["traffic"]}
        return {"heartbeats_per_agent_and_s": round(per["heartbeats_said"], 3), "bytes_per_agent_and_s": round(per["bytes_said"], 1)}

    def fresh_fleet(self):
        """What agents remember of earlier failures must not count: a flap damper, a back-off."""
        self.fleet.end()
        self.fleet.start(*self.pace)
        self.settle()

    def recover(self):
        """After a class that has failed: all servers are there again."""
        for server in self.cluster.servers:
            if server in self.cluster.frozen:
                server.thaw()
            if self.cluster.network:
                self.cluster.network.rules(server.name)
            if not server.alive():
                server.start()
        for server in self.cluster.servers:
            until(server.ready, PATIENCE, f"{server.name} is ready")
        self.unusable.clear()

    # ---- failures ----

    def fail(self, kind, victims):
        start = time.time()
        self.unusable.update(victims)
        for victim in victims:
            if kind == "stop":
                victim.freeze()
            elif kind == "blackhole":
                self.cluster.network.rules(victim.name, "drop", "drop")
            elif kind in ("exit", "failback"):
                victim.child.send_signal(signal.SIGTERM)
            else:
                victim.child.send_signal(signal.SIGKILL)
        return start

    def mend(self, kind, victims):
        """Returns when they are well, by the clock."""
        for victim in victims:
            if kind == "stop":
                victim.thaw()
            elif kind == "blackhole":
                self.cluster.network.rules(victim.name)
            else:
                victim.child.wait(60)
                victim.start()
        for victim in victims:
            until(victim.ready, PATIENCE, f"{victim.name} is ready")
        self.unusable.difference_update(victims)
        return time.time()

    def used(self, gone=()):
        """By the servers that stay, and by the agents."""
        return sum(cpu_s(s) for s in self.cluster.servers if s not in gone), cpu_s(self.fleet)

    def run(self, kind):
        self.fresh_fleet()
        self.trickle = Trickle(self, self.cluster.hosts())
        # In some classes all agents start anew, and there is nobody to command; in one it is only the return that counts.
        if kind not in ("cold", "frozen-listener", "failback"):
            self.trickle.start()
        try:
            how = {"frozen-listener": self.frozen_listener, "drain": self.drain, "rolling": self.rolling, "cold": self.cold}
            result = how.get(kind, lambda: self.outage(kind))()
        finally:
            commands = self.trickle.close() if self.trickle.ident else None
        result = {"class": kind, **result, "commands": commands, "placement": self.placement()}
        result["report"] = self.last_report()
        self.results.append(result)
        self.show(result)

    def last_report(self):
        n = len(self.fleet.reports)
        self.fleet.child.send_signal(signal.SIGUSR1)

        def more():
            self.fleet.poll()
            return len(self.fleet.reports) > n
        until(more, PATIENCE, "muster-bench reports")
        return self.fleet.reports[-1]

    def outage(self, kind):
        """Some servers are gone, and come back."""
        cluster, everybody = self.cluster, kind == "all"
        victims = {"two": cluster.servers[:2], "all": list(cluster.servers)}.get(kind, cluster.servers[:1])
        gone = set() if everybody else {v.address for v in victims}
        hit = self.fleet.on({v.address for v in victims})
        others = set(self.fleet.now) - hit
        before = self.used(victims)
        start = self.fail(kind, victims)
        if not everybody:
            until(lambda: self.fleet.up(lambda e: e["server"] not in gone), PATIENCE, "everybody is served again")
            served_by = time.time()
        after = self.used(victims)
        if kind == "failback":
            self.trickle.start()
        mended = self.mend(kind, victims)
        if everybody:
            until(self.fleet.up, PATIENCE, "everybody is served again")
            served_by = time.time()
        self.settle()
        out, back = tales(self.fleet, hit, start, served_by), tales(self.fleet, hit, served_by)
        whole = tales(self.fleet, hit, start)
        since = mended if everybody else start
        arrived = [t.arrived(lambda server: server not in gone) for t in out.values()]
        elsewhere = tales(self.fleet, others, start)
        result = {
            "hit": len(hit),
            "noticed": spread_of([t.noticed and t.noticed - start for t in out.values()]),
            "served": spread_of([t and t - since for t in arrived]),
            "without_link": spread_of([t.without for t in out.values()]),
            "home": spread_of([t.homecoming and t.homecoming - mended for t in (whole if everybody else back).values()]),
            "at_return": spread_of([t.without for t in back.values()]),
            "others_lost": sum(t.without > 0 for t in elsewhere.values()),
            "peak_new_links": max(new_links(self.fleet, start, served_by).values(), default=0),
            "peak_new_links_at_return": max(new_links(self.fleet, served_by).values(), default=0),
            "cpu_servers_s": round(after[0] - before[0], 2), "cpu_agents_s": round(after[1] - before[1], 2),
        }
        if kind == "failback":
            for key in ("noticed", "served", "without_link", "peak_new_links", "cpu_servers_s", "cpu_agents_s"):
                del result[key]
        if everybody:
            del result["cpu_servers_s"], result["cpu_agents_s"]
        return result

    def frozen_listener(self):
        """An entry of the list that takes connections and says nothing. Whose first entry it is has to walk on."""
        cluster = self.cluster
        address, argv = f"{cluster.net}.99", []
        if cluster.network:
            machine_ = cluster.network.machines.get("hole") or cluster.network.add("hole", 99)
            machine_.run("ip", "route", "replace", cluster.source, "via", f"{cluster.net}.200")
            argv = machine_.prefix()
        script = f"import socket,time; s=socket.create_server(('{address}',{PORT}),backlog=4096); print('ready',flush=True); time.sleep(1e6)"
        hole = subprocess.Popen([*argv, sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            if hole.stdout.readline() != b"ready\n":
                raise AssertionError("no listener")
            cluster.config("host", ",".join([address, *cluster.addresses()]))
            until(lambda: not any(h["musteroutdated"] for h in cluster.hosts().values()), PATIENCE, "everybody has the list")
            hosts = cluster.hosts()
            hit = {name for name, h in hosts.items() if h["musterlist"][0] == address}
            self.fleet.end()
            self.fleet.start("--ramp", "100")
            until(self.fleet.up, PATIENCE, "everybody is up")
            # Began one after the other, 100 a second; their first event is the dial.
            told = tales(self.fleet, set(self.fleet.now), self.fleet.began)
            way_in = {name: t.arrivals[0][0] - t.noticed for name, t in told.items()}
        finally:
            hole.kill()
            hole.wait()
            hole.stdout.close()
            cluster.config("host", ",".join(cluster.addresses()))
        self.settle()
        dead, good = (spread_of([s for name, s in way_in.items() if (name in hit) == yes]) for yes in (True, False))
        return {"hit": len(hit), "way_in": dead, "way_in_of_others": good}

    def drain(self):
        server = self.cluster.servers[0]
        muster = [program("muster"), "--socket", server.socket]
        if subprocess.run([*muster, "drain", "--help"], capture_output=True, check=False).returncode:
            raise Skipped("this muster has no drain command")
        hit = self.fleet.on({server.address})
        start = time.time()
        subprocess.run([*muster, "drain", server.name], check=True, capture_output=True, timeout=PATIENCE)
        until(lambda: self.fleet.up(lambda e: e["server"] != server.address), PATIENCE, "everybody has left")
        left = time.time()
        subprocess.run([*muster, "undrain", server.name], check=True, capture_output=True, timeout=PATIENCE)
        mended = time.time()
        self.settle()
        out, back = tales(self.fleet, hit, start, left), tales(self.fleet, hit, left)
        return {
            "hit": len(hit),
            "served": spread_of([t and t - start for t in (tale.arrived(lambda s: s != server.address) for tale in out.values())]),
            "without_link": spread_of([t.without for t in out.values()]),
            "home": spread_of([t.homecoming and t.homecoming - mended for t in back.values()]),
            "at_return": spread_of([t.without for t in back.values()]),
            "peak_new_links": max(new_links(self.fleet, start, left).values(), default=0),
            "peak_new_links_at_return": max(new_links(self.fleet, left).values(), default=0),
        }

    def rolling(self):
        everybody = set(self.fleet.on(set(self.cluster.addresses())))
        start = time.time()
        for server in self.cluster.servers:
            self.fail("exit", [server])
            server.child.wait(PATIENCE)
            self.mend("exit", [server])
            until(self.fleet.up, PATIENCE, "everybody is served")
            until(lambda: not self.cluster.server_trouble(self.cluster.servers[0]), PATIENCE, "all servers see each other")
        restarted = time.time()
        self.settle()
        told = tales(self.fleet, everybody, start)
        return {"hit": len(everybody), "restarts_s": round(restarted - start, 1),
                "without_link": spread_of([t.without for t in told.values()]),
                "all_home_s": round(max((e["t"] for e in self.fleet.story if e["home"]), default=start) - restarted, 1),
                "peak_new_links": max(new_links(self.fleet, start).values(), default=0)}

    def cold(self):
        self.fleet.end()
        for server in self.cluster.servers:
            server.kill(signal.SIGTERM)
        for server in self.cluster.servers:
            server.start()
        for server in self.cluster.servers:
            until(server.ready, PATIENCE, f"{server.name} is ready")
        before = self.used()
        self.fleet.start()
        until(self.fleet.up, PATIENCE, "everybody is in")
        after = self.used()
        told = tales(self.fleet, set(self.fleet.now), self.fleet.began)
        began = self.fleet.began
        self.settle()
        return {"hit": len(told), "served": spread_of([t.arrivals[0][0] - began for t in told.values()]),
                "peak_new_links": max(new_links(self.fleet, began).values(), default=0),
                "cpu_servers_s": round(after[0] - before[0], 2), "cpu_agents_s": round(after[1], 2)}

    # ---- printing ----

    def show(self, r):
        what, reference, goal = CLASSES[r["class"]]
        names = (("noticed", "noticed"), ("served", "served again"), ("without_link", "without link"), ("home", "home"),
                 ("at_return", "at the return"), ("way_in", "way in"), ("way_in_of_others", "  of others"))
        print(f"{r['class']}: {what}; {r['hit']} of {self.options.agents} agents hit")
        print(f"  {'':<14}{'p50':>10}{'p99':>10}{'max':>10}")
        for key, name in names:
            if key in r:
                n = r[key]["n"]
                missing = f"{r['hit'] - n} of {r['hit']} never" if n < r["hit"] and key in ("noticed", "served", "home") else ""
                print(line_of(name, r[key], missing or (f"interval {self.options.interval} s" if key == "home" else "")))
        if "restarts_s" in r:
            print(f"  restarts {r['restarts_s']} s, everybody home {max(0, r['all_home_s'])} s later")
        peaks = [f"{r[key]} {when}" for key, when in (("peak_new_links", "at the failure"), ("peak_new_links_at_return", "at the return"))
                 if key in r]
        if peaks:
            print(f"  new links, most per server and second: {', '.join(peaks)}")
        if "cpu_servers_s" in r:
            print(f"  processor time until served: servers {r['cpu_servers_s']} s, agents {r['cpu_agents_s']} s")
        if r.get("others_lost"):
            print(f"  AND {r['others_lost']} agents that were not hit lost their link")
        if r["commands"]:
            c = r["commands"]
            print(f"  commands: {c['sent']} sent, {c['lost']} lost" + "".join(f"; {n} x {why}" for why, n in c["why"].items()) +
                  (f"; {c['not_taken_on']} not taken on" if c["not_taken_on"] else ""))
        dials = sum(d["dials"] for d in r["report"]["dials"].values())
        print(f"  placement: {', '.join(f'{k} {v}' for k, v in r['placement'].items())}, as the algorithm says; "
              f"{dials} dials by the fleet since its start")
        print(f"  the agents' own loop was late by {r['report']['loop_late'].get('p99_ms', 0)} ms (p99), "
              f"{r['report']['loop_late'].get('max_ms', 0)} ms at most")
        print(f"  the reference: {reference}; to reach: {goal}\n", flush=True)


# ---- command line ----

def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--agents", type=int, default=1000)
    p.add_argument("--servers", type=int, default=3)
    p.add_argument("--interval", type=int, default=2, help="indirect.agent.lb.check.interval in seconds")
    p.add_argument("--class", dest="classes", default=",".join(CLASSES), help="which failures: " + ", ".join(CLASSES))
    p.add_argument("--json", metavar="FILE", help="all figures, for programs")
    p.add_argument("--patience", type=int, default=PATIENCE, help="seconds after which a class has failed (default %(default)s)")
    p.add_argument("--loopback", action="store_true", help="no network namespaces: blackhole is skipped")
    p.add_argument("--servers-log", default="warn", help="log level of the servers")
    p.add_argument("--agents-log", default="error", help="log level of the agents")
    p.add_argument("--keep-logs", metavar="DIR", help="copies logs and events there at the end")
    options = p.parse_args()
    options.classes = options.classes.split(",")
    unknown = [c for c in options.classes if c not in CLASSES]
    if unknown or options.agents < 1 or options.servers < 2:
        p.error(f"unknown class {unknown[0]}" if unknown else "at least 1 agent and 2 servers")
    if "two" in options.classes and options.servers < 3:
        p.error("two needs 3 servers")
    return options


def has_network(options):
    if "blackhole" not in options.classes:
        return False
    try:
        if options.loopback:
            raise unittest.SkipTest("--loopback")
        chaos.need_network(unittest.TestCase())
        return True
    except unittest.SkipTest as reason:
        print(f"SKIPPED: blackhole: {reason}")
        options.classes.remove("blackhole")
        return False


def keep_logs(cluster, to):
    os.makedirs(to, exist_ok=True)
    for folder, _, names in os.walk(cluster.dir):
        for name in names:
            if name.endswith(".log") or name.startswith("events-"):
                with open(os.path.join(folder, name), "rb") as f, open(os.path.join(to, name), "wb") as out:
                    out.write(f.read())


def end_at_sigterm(signo, frame):
    sys.exit("bench_failover: ended by a signal")


def bench(options, network, facts):
    with BenchCluster(options, network) as cluster:
        b = Bench(cluster, options)
        try:
            facts["floor"] = b.begin()
            one = facts["floor"]
            print(f"floor    {one['handshakes_per_s']} bare TLS handshakes per second, both ends, all cores; one alone "
                  f"{one['handshake_alone']['p50_ms']:.1f} ms\n"
                  f"floor    one agent's way in, nothing else going on: p50 {one['way_in_alone']['p50_ms']:.1f} ms, "
                  f"max {one['way_in_alone']['max_ms']:.1f} ms\n"
                  f"joining  everybody joined and up after {one['joined_and_up_s']} s", flush=True)
            q = facts["quiet"] = b.quiet()
            print(f"quiet    each agent sends {q['heartbeats_per_agent_and_s']} heartbeats and {q['bytes_per_agent_and_s']} bytes a second\n",
                  flush=True)
            for kind in options.classes:
                try:
                    b.run(kind)
                except Skipped as reason:
                    print(f"SKIPPED: {kind}: {reason}\n", flush=True)
                except AssertionError as reason:
                    b.results.append({"class": kind, "failed": str(reason)})
                    print(f"FAILED: {kind}: {reason}; {b.fleet.state()}\n", flush=True)
                    b.recover()
            b.fresh_fleet()
            memory = b.last_report()["memory"]
            facts["memory"] = {**memory, "servers_mib": [rss_mib(s) for s in cluster.servers]}
            print(f"memory   {memory['kib_per_agent_up']:.0f} KiB an agent that is up; floor: {memory['kib_per_identity']:.0f} KiB for its identity "
                  f"alone; servers {', '.join(map(str, facts['memory']['servers_mib']))} MiB")
        finally:
            facts["classes"] = b.results
            if options.keep_logs:
                keep_logs(cluster, options.keep_logs)
    failed = [r["class"] for r in b.results if "failed" in r]
    if failed:
        raise AssertionError(f"failed: {', '.join(failed)}")


def main():
    global PATIENCE  # noqa: PLW0603
    signal.signal(signal.SIGTERM, end_at_sigterm)
    options = parse()
    PATIENCE = options.patience
    network = has_network(options)
    facts = {"command": f"bench_failover.py {shlex.join(sys.argv[1:])}", "machine": machine(), "network": network,
             "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC", "servers": options.servers,
             "agents": options.agents, "interval_s": options.interval}
    m = facts["machine"]
    print(f"command  {facts['command']}")
    print(f"machine  {m['cores']} cores, {m['processor']}, {m['memory_gib']} GiB, Linux {m['kernel']}, load {m['load']}")
    print(f"date     {facts['date']}")
    print(f"cluster  {options.servers} servers, {options.agents} agents in one process, roundrobin, interval {options.interval} s, "
          f"{'a namespace for each server and one for the agents' if network else 'loopback'}, all on this machine", flush=True)
    try:
        bench(options, network, facts)
    finally:
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump(facts, f, indent=1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("bench_failover: interrupted")
    except (AssertionError, OSError, ApiError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        sys.exit(f"bench_failover: {problem}")
