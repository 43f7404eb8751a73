#!/usr/bin/env python3
"""How long failures last: real servers and agents, and for each class of failure p50, p99 and max of

    noticed        until an agent knows (its log: suspect, link lost or moved)
    served again   until it is up on another server; the max is when everybody is
    no link open   how long it had none at all (0 when the new link was there before the silent one was given up)
    home           until it is back on its preferred server, from the moment that one is well again

and the most new links that any server took within one second. Times come from the agents' and servers' own logs, which
carry milliseconds of the same machine's clock; the failure's time is taken just before it is made.

    bench_failover.py [--agents N] [--servers M] [--interval S] [--class kill,stop,freeze,blackhole,two,all]
"""
import argparse
import contextlib
import datetime
import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))
import chaos  # noqa: E402
from chaos import ApiError, ChaosCluster, until  # noqa: E402

# The reference on a machine with 2 cores (the project's notes on it), in the words of its users.
CLASSES = {
    "stop": ("a server exits (SIGTERM)", "10.5 s", "p99 served within 1 s"),
    "kill": ("a server is killed (SIGKILL)", "10.5 s", "p99 served within 1 s"),
    "two": ("two servers are killed", "16 s", "-"),
    "freeze": ("a server hangs (SIGSTOP)", "never (100 s watched)", "p99 served within 12 s"),
    "blackhole": ("a server's network drops everything", "-", "noticed within 6 s, p99 served within 8 s"),
    "all": ("all servers are killed and come back", "114 s for 1,000 agents", "-"),
}
STATE = re.compile(r"^(\S+) \w+: agent moved from=(\S+) to=(\S+) server=(\S+)")
MOVED = re.compile(r"^(\S+) \w+: moved to another link from=(\S+) to=(\S+)")
NOTICED = re.compile(r"^(\S+) \w+: (?:the server is silent|link lost)")
NEW_LINK = re.compile(r'^(\S+) debug: session moved .* from=tls to=anonymous ')


def when(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc).timestamp()


def lines_since(process, offset):
    with open(process.log_path, encoding="utf-8", errors="replace") as f:
        f.seek(offset)
        return f.read().splitlines()


class Story:
    """What one agent's log says since an offset."""

    def __init__(self, agent, offset, start):
        self.noticed, self.arrivals, self.without, lost = None, [], 0.0, None
        for line in lines_since(agent, offset):
            state, moved, noticed = STATE.match(line), MOVED.match(line), NOTICED.match(line)
            at = when((state or moved or noticed).group(1)) if state or moved or noticed else None
            if at is None or at < start - 0.002:
                continue
            if self.noticed is None:
                self.noticed = at
            if state and state.group(2) == "up":
                lost = at
            if state and state.group(3) == "up":
                self.arrivals.append((at, state.group(4)))
                self.without += at - lost if lost else 0
                lost = None
            if moved:
                self.arrivals.append((at, moved.group(3)))

    def arrived(self, where):
        return next((at for at, server in self.arrivals if where(server)), None)


def line_of(what, seconds, out_of):
    """p50, p99 and max by nearest rank."""
    values = sorted(s for s in seconds if s is not None)
    if not values:
        return f"  {what:<14}{'-':>9}{'-':>9}{'-':>9}   none of {out_of}"
    p50, p99 = (values[max(0, -(-len(values) * p // 100) - 1)] for p in (50, 99))
    missing = f"   {out_of - len(values)} of {out_of} never" if len(values) < out_of else ""
    return f"  {what:<14}{p50:>8.3f}s{p99:>8.3f}s{values[-1]:>8.3f}s{missing}"


def peak(servers, offsets, start):
    """The most new links that one server took in any second."""
    most = 0
    for server in servers:
        times = sorted(when(m.group(1)) for m in map(NEW_LINK.match, lines_since(server, offsets[server])) if m)
        first = 0
        times = [t for t in times if t >= start]
        for last, at in enumerate(times):
            while times[first] <= at - 1:
                first += 1
            most = max(most, last - first + 1)
    return most


class Bench:
    def __init__(self, cluster, options):
        self.cluster, self.options = cluster, options

    def homes(self):
        """For each agent its preferred server's address, as the servers know it."""
        return {name: h["musterlist"][0] for name, h in self.cluster.hosts().items()}

    def settle(self):
        self.cluster.settle(300, commands=False)

    def offsets(self):
        return {p: os.path.getsize(p.log_path) for p in self.cluster.agents + self.cluster.servers}

    def fail(self, kind, victims):
        start = time.time()
        for victim in victims:
            if kind == "freeze":
                victim.freeze()
            elif kind == "blackhole":
                self.cluster.network.rules(victim.name, "drop", "drop")
            elif kind == "stop":
                victim.child.send_signal(signal.SIGTERM)
            else:
                victim.child.send_signal(signal.SIGKILL)
        return start

    def mend(self, kind, victims):
        """Returns when they are well, by the clock."""
        for victim in victims:
            if kind == "freeze":
                victim.thaw()
            elif kind == "blackhole":
                self.cluster.network.rules(victim.name)
            else:
                victim.child.wait(60)
                victim.start()
        for victim in victims:
            until(victim.ready, 60, f"{victim.name} is ready")
        return time.time()

    def elsewhere(self, agents, gone):
        said = (a.explain() for a in agents)
        return all(e["state"] == "up" and e["connected"] not in gone for e in said)

    def run(self, kind):
        cluster = self.cluster
        self.settle()
        victims = {"two": cluster.servers[:2], "all": list(cluster.servers)}.get(kind, cluster.servers[:1])
        gone = {v.address for v in victims}
        homes = self.homes()
        hit = [a for a in cluster.agents if homes[a.name] in gone]
        offsets = self.offsets()
        start = self.fail(kind, victims)
        if kind != "all":
            until(lambda: self.elsewhere(hit, gone), 150, "everybody is served again")
        mended_offsets = self.offsets()
        mended = self.mend(kind, victims)
        self.settle()
        stories = [Story(a, offsets[a], start) for a in hit]
        back = [Story(a, mended_offsets[a], start) for a in hit]
        self.show(kind, hit, stories, back, homes, gone, start, mended, offsets, mended_offsets)

    def show(self, kind, hit, stories, back, homes, gone, start, mended, offsets, mended_offsets):
        what, reference, goal = CLASSES[kind]
        n, everybody = len(hit), kind == "all"
        served = [s.arrived(lambda server: everybody or server not in gone) for s in stories]
        since = mended if everybody else start
        home = [b.arrived(lambda server, a=a: server == homes[a.name]) for a, b in zip(hit, back)]
        print(f"{kind}: {what}; {n} of {len(self.cluster.agents)} agents hit")
        print(f"  {'':<14}{'p50':>9}{'p99':>9}{'max':>9}")
        print(line_of("noticed", [s.noticed and max(0, s.noticed - start) for s in stories], n))
        print(line_of("served again", [t and max(0, t - since) for t in served], n) + ("   since the servers are ready" if everybody else ""))
        if not everybody:
            print(line_of("no link open", [s.without - b.without for s, b in zip(stories, back)], n))
        print(line_of("home", [t and max(0, t - mended) for t in home], n) + f"   interval {self.options.interval} s")
        if not everybody:
            print(line_of("  no link open", [b.without for b in back], n))
        alive = [s for s in self.cluster.servers if everybody or s.address not in gone]
        print(f"  new links, most per server and second: {peak(alive, offsets, start)} at the failure"
              f"{'' if everybody else f', {peak(self.cluster.servers, mended_offsets, mended)} at the return'}")
        print(f"  the reference: {reference}; to reach: {goal}\n", flush=True)


def machine():
    model = "?"
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    return f"{len(os.sched_getaffinity(0))} cores, {model}, load {os.getloadavg()[0]:.1f}"


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--agents", type=int, default=60, help="agent processes (default 60; more than 100 load the machine itself)")
    p.add_argument("--servers", type=int, default=3)
    p.add_argument("--interval", type=int, default=2, help="indirect.agent.lb.check.interval in seconds")
    p.add_argument("--class", dest="classes", default=",".join(CLASSES), help="which failures: " + ", ".join(CLASSES))
    options = p.parse_args()
    options.classes = options.classes.split(",")
    unknown = [c for c in options.classes if c not in CLASSES]
    if unknown or options.agents < 1 or options.servers < 2:
        p.error(f"unknown class {unknown[0]}" if unknown else "at least 1 agent and 2 servers")
    if "two" in options.classes and options.servers < 3:
        p.error("two needs 3 servers")
    return options


def drop_what_cannot_run(options):
    if "blackhole" not in options.classes:
        return
    try:
        chaos.need_network(unittest.TestCase())
    except unittest.SkipTest as reason:
        print(f"SKIPPED: blackhole: {reason}")
        options.classes.remove("blackhole")


def main():
    options = parse()
    drop_what_cannot_run(options)
    print(f"command  bench_failover.py {shlex.join(sys.argv[1:])}")
    print(f"machine  {machine()}")
    print(f"date     {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC")
    print(f"cluster  {options.servers} servers, {options.agents} agents, roundrobin, interval {options.interval} s, one process each, "
          "all on this machine\n", flush=True)
    with ChaosCluster(options.servers, network="blackhole" in options.classes) as cluster:
        cluster.begin(0, interval=options.interval)
        cluster.add_agents(options.agents)
        bench = Bench(cluster, options)
        for kind in options.classes:
            bench.run(kind)


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, OSError, ApiError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        sys.exit(f"bench_failover: {problem}")
