#!/usr/bin/env python3
"""What storms and hostile peers cost those that behave: one server, real TLS, both ends on this machine.

    established agent   its ping's round trip: when nothing else happens, while --handshakes clients come at once, and
                        beside --hostile connections (a third each silent, one byte a second, garbage)
    good handshakes     from the dial until TLS is complete, one every 20 ms: alone and beside the hostile ones
    memory              of the server, before and beside the hostile ones

Beside them the floor: a handshake between two sessions in memory (one thread), and a byte's way over loopback and back.
Handshakes are TLS 1.3 with ECDSA P-256 certificates on both sides.

    bench_storm.py [--handshakes N] [--at-once P] [--hostile N] [--seconds S]
"""
import argparse
import json
import os
import platform
import resource
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import PROGRAMS, Agent, Cluster, until  # noqa: E402

LOAD = os.path.join(PROGRAMS, "tests", "bench", "storm_load")


class Bench:
    def __init__(self, cluster, options):
        self.cluster, self.options = cluster, options
        self.server = cluster.servers[0]
        self.guard = self.identity("established")
        self.good = self.identity("good")

    def identity(self, name):
        agent = Agent(self.cluster, name)
        agent.join(self.cluster.token())
        return agent

    def load(self, kind, *options, agent=None):
        argv = [LOAD, kind, "--server", self.server.address, *map(str, options)]
        if agent:
            for option, name in (("cert", "cloud.crt"), ("key", "cloud.key"), ("ca", "cloud.ca.crt")):
                argv += ["--" + option, os.path.join(agent.dir, name)]
            argv += ["--guid", agent.property("guid")]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def source(self, number):
        a = int(self.cluster.net.split(".")[1])
        return f"127.{(a + number) % 254 + 1}"

    def result(self, process):
        text = process.communicate(timeout=300)[0]
        if process.returncode:
            raise SystemExit(f"storm_load failed with {process.returncode}: {' '.join(process.args)}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def ping(self, seconds):
        process = self.load("ping", "--seconds", seconds, agent=self.guard)
        if process.stdout.readline() != "there\n":
            raise SystemExit("the established agent did not get in")
        return process

    def handshakes(self, *options, number=1):
        return self.load("handshakes", "--source", self.source(number), *options, agent=self.good)

    def memory_kb(self):
        with open(f"/proc/{self.server.child.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def admission(self):
        return self.cluster.status()["admission"]

    def run(self):
        o = self.options
        floor, echo = self.result(self.load("floor", agent=self.good))
        yield f"floor: a handshake in memory {floor['handshake_ms']:.2f} ms; a byte over loopback and back", echo

        yield "established agent's ping, idle", self.result(self.ping(o.seconds))[0]
        yield "good handshakes alone", self.result(self.handshakes("--n", o.seconds * 50))[0]

        ping = self.ping(o.seconds)
        storm = self.handshakes("--n", o.handshakes, "--at-once", o.at_once)
        yield f"the storm: {o.handshakes} handshakes, {o.at_once} at once", self.result(storm)[0]
        if ping.poll() is not None:
            print("(the storm was longer than the ping beside it: a larger --seconds)")
        yield "established agent's ping in the storm", self.result(ping)[0]
        print(f"    gate 1: {self.admission()}")

        before = self.memory_kb()
        hostile = self.load("hostile", "--source", self.source(2), "--n", o.hostile)
        if hostile.stdout.readline() != "there\n":
            raise SystemExit("the hostile ones did not come")
        ping = self.ping(o.seconds)
        yield f"good handshakes beside {o.hostile} hostile", self.result(self.handshakes("--n", o.seconds * 50))[0]
        yield f"established agent's ping beside {o.hostile} hostile", self.result(ping)[0]
        print(f"    memory {before} KB before, {self.memory_kb()} KB beside them; gate 1: {self.admission()}")
        hostile.stdin.close()
        hostile.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handshakes", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--hostile", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if options.hostile + 500 > files:
        sys.exit(f"this machine allows {files} open files a process: at most {files - 500} hostile connections")
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
          f"bench_storm.py {' '.join(sys.argv[1:])}")
    print(f"{'':72} {'n':>6} {'failed':>6} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    with Cluster(1) as cluster:
        # Not at level debug, as the tests have it: writing is no part of it.
        path = os.path.join(cluster.servers[0].dir, "server.properties")
        with open(path, "r+", encoding="ascii") as f:
            text = f.read().replace("log.level=debug", "log.level=info")
            f.seek(0)
            f.truncate()
            f.write(text)
        cluster.start_servers()
        until(lambda: cluster.status()["servers"], what="the server answers")
        for what, r in Bench(cluster, options).run():
            print(f"{what:72} {r['n']:6} {r['failed']:6} {r['p50']:8.2f} {r['p90']:8.2f} {r['p99']:8.2f} {r['max']:8.2f}",
                  flush=True)


if __name__ == "__main__":
    main()
