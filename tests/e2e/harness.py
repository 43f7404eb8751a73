"""Real processes for the end-to-end tests: servers, agents and the operator's socket.

Each cluster takes loopback addresses of its own (127.a.b.1, .2, ...), so that port 8250 is free and several runs live
side by side on one machine. Nothing sleeps for a result: until() looks again and again and fails after a generous
deadline, with the ends of all logs.
"""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

PROGRAMS = os.environ.get("MUSTER_PROGRAMS", "build")
PORT = 8250


def program(name):
    for floor in ("server", "agent", "cli", "bench", ""):
        path = os.path.join(PROGRAMS, "src", floor, name) if floor else os.path.join(PROGRAMS, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{name}: not built in {PROGRAMS}")


class Local(http.client.HTTPConnection):
    """HTTP over a server's local socket."""

    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Process:
    """One child with its folder and its log."""

    def __init__(self, name, directory, argv):
        self.name, self.dir, self.argv = name, directory, argv
        self.log_path = os.path.join(directory, name + ".log")
        self.child = None
        self.env = {}  # more of its environment

    def start(self):
        log = open(self.log_path, "ab")
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1", **self.env)
        self.child = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        log.close()
        return self

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def kill(self, signo=signal.SIGKILL):
        if self.alive():
            self.child.send_signal(signo)
        if signo in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) and self.child:
            self.child.wait(30)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


class Server(Process):
    def __init__(self, cluster, number, address=None, port=PORT, api_port=0, advertised=None):
        directory = os.path.join(cluster.dir, f"m{number}")
        os.makedirs(directory, exist_ok=True)
        self.address = address or f"{cluster.net}.{number}"
        self.port = port
        self.socket = os.path.join(directory, "s")
        with open(os.path.join(directory, "server.properties"), "w", encoding="ascii") as f:
            f.write(f"name=m{number}\nlisten={self.address}\naddress={advertised or self.address}\nport={port}\n"
                    f"store={cluster.dir}/muster.db\ncluster.key.file={cluster.dir}/cluster.key\n"
                    f"api.listen={self.address}\napi.port={api_port}\nsocket={self.socket}\nlog.level=debug\n")
        super().__init__(f"m{number}", directory, [program("muster-server"), "--dir", directory])
        self.cluster = cluster

    def api(self, command, **params):
        connection = Local(self.socket)
        try:
            query = urllib.parse.urlencode({"command": command, "response": "json", **params})
            connection.request("POST", "/client/api", query, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        (value,) = body.values()
        if answer.status != 200:
            raise ApiError(answer.status, value)
        return value

    def ready(self):
        if not self.alive():
            raise AssertionError(f"{self.name} ended with {self.child.returncode}:\n{self.log()[-3000:]}")
        try:
            self.api("getMusterStatus")
            return True
        except (OSError, http.client.HTTPException):
            return False


class Agent(Process):
    def __init__(self, cluster, name):
        directory = os.path.join(cluster.dir, name)
        os.makedirs(directory, exist_ok=True)
        super().__init__(name, directory, [program("muster-agent"), "--dir", directory])
        self.properties = os.path.join(directory, "agent.properties")
        self.prefix = []  # what starts its programs somewhere else, in a namespace say

    def join(self, token, *options, check=True):
        argv = [*self.prefix, program("muster-agent"), "join", "-", "--dir", self.dir, "--name", self.name, *options]
        result = subprocess.run(argv, input=token, capture_output=True, text=True, timeout=60, check=False)
        if check and result.returncode:
            raise AssertionError(f"join of {self.name} failed: {result.stderr}")
        return result

    def property(self, key):
        with open(self.properties, encoding="latin-1") as f:
            for line in f:
                if line.startswith(key + "="):
                    return line.rstrip("\n").split("=", 1)[1].replace("\\:", ":")
        return None


class Cluster:
    def __init__(self, servers=3):
        self.dir = tempfile.mkdtemp(prefix="muster-e2e-")
        self.net = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.servers = [Server(self, n) for n in range(1, servers + 1)]
        self.agents = []
        self.others = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in self.agents + self.servers + self.others:
            if process.child:
                process.kill()
        sanitizer = [p for p in self.servers + self.agents if "ERROR: AddressSanitizer" in p.log() or "runtime error:" in p.log()
                     or "ERROR: LeakSanitizer" in p.log()]
        if kind or sanitizer:
            for process in self.servers + self.agents + self.others:
                print(f"---- {process.name}\n{process.log()[-6000:] if process in sanitizer else process.log()[-2500:]}")
        shutil.rmtree(self.dir, ignore_errors=True)
        if sanitizer and not kind:
            raise AssertionError("sanitizer reports: " + ", ".join(p.name for p in sanitizer))

    # ---- starting ----

    def cloudstack_ca(self):
        """The cluster gets CloudStack's kind of CA (RSA), before the first start; tests can issue with it what CloudStack does."""
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
        import pki  # pylint: disable=import-outside-toplevel
        ca = pki.CertificateAuthority(os.path.join(self.dir, "ca"), 2048)
        subprocess.run([program("muster-server"), "ca", "import", "--certificate", ca.certificate, "--key", ca.key, "--dir",
                        self.servers[0].dir], capture_output=True, timeout=60, check=True)
        return ca

    def start_servers(self):
        for server in self.servers:
            server.start()
        for server in self.servers:
            until(server.ready, what=f"{server.name} is ready")
        return self

    def token(self, **params):
        return self.up()[0].api("createJoinToken", role="agent", **params)["jointoken"]["token"]

    def add_agents(self, n, settings=""):
        first = len(self.agents) + 1
        token = self.token(uses=n)
        new = []
        for number in range(first, first + n):
            agent = Agent(self, f"H{number}")
            agent.join(token)
            with open(agent.properties, "a", encoding="ascii") as f:
                f.write(settings)
            agent.start()
            self.agents.append(agent)
            new.append(agent)
        return new

    # ---- looking ----

    def up(self):
        return [s for s in self.servers if s.alive()]

    def hosts(self, server=None):
        answer = (server or self.up()[0]).api("listHosts", details="min")
        return {h["name"]: h for h in answer.get("host", [])}

    def status(self, server=None):
        return (server or self.up()[0]).api("getMusterStatus")["musterstatus"]

    def config(self, name, value, server=None):
        """Changes a setting on one server. All that run have heard of it afterwards, so any of them may be looked at."""
        asked = server or self.up()[0]
        answer = asked.api("updateConfiguration", name=name, value=value)
        version = self.status(asked)["configversion"]
        for other in self.up():
            until(lambda s=other: not s.alive() or self.status(s)["configversion"] >= version, what=f"{other.name} has heard of {name}")
        return answer

    def list_all(self, *servers):
        """
        `host` is these servers; all of ours if none is named. Agents look for the first one every second: on a busy machine one
        may be served by the second at its first dial, and would stay there.
        """
        self.config("indirect.agent.lb.check.interval", "1")
        self.config("host", ",".join(s.address for s in servers or self.servers))

    def addresses(self):
        return [s.address for s in self.servers]

    def rotated(self, by):
        a = self.addresses()
        by %= len(a)
        return a[by:] + a[:by]

    def all_up(self, n=None):
        hosts = self.hosts()
        return len(hosts) == (n or len(self.agents)) and all(h["state"] == "Up" for h in hosts.values())

    def connected(self):
        return {name: h.get("musterconnected") for name, h in self.hosts().items()}


def until(condition, seconds=60, what="the condition holds"):
    """Looks again and again until the condition is true; an AssertionError inside is the last word if time runs out."""
    end = time.monotonic() + seconds
    last, pause = None, 0.03
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException, ApiError) as problem:
            last = problem
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}" + (f" ({last})" if last else ""))
        # Looking costs the servers something, too: what takes long is looked at less often.
        time.sleep(pause)
        pause = min(pause * 1.2, 0.2)
