#!/usr/bin/env python3
"""What muster-bench refuses, and in which words: one row each."""
import subprocess
import sys
import tempfile

ROWS = [  # what, arguments, exit status, what it says
    ("help", ["--help"], 0, "usage: muster-bench"),
    ("a version", ["--version"], 0, "muster-bench "),
    ("no folder", [], 64, "--dir is missing"),
    ("no agents", ["--agents", "0"], 64, "not a value for this option: 0"),
    ("too many agents for anything", ["--agents", "1000001"], 64, "not a value"),
    ("a prefix that can't be part of a file name", ["--prefix", "a/b"], 64, "not a value"),
    ("a format that isn't one", ["--report", "xml"], 64, "not a value"),
    ("a level that isn't one", ["--log", "loud"], 64, "not a value"),
    ("no time at all", ["--dir", "DIR", "--seconds", "0"], 64, "not a value"),
    ("a word too many", ["--dir", "DIR", "more"], 64, "one word too many: more"),
    ("a server elsewhere", ["--dir", "DIR", "--servers", "203.0.113.1:8250"], 66, "203.0.113.1 is not on this machine (--anywhere allows it)"),
    ("a list that isn't one", ["--dir", "DIR", "--servers", "127.0.0.1:99999"], 66, "99999"),
    ("a network that isn't one", ["--dir", "DIR", "--source", "here"], 66, "--source here: not an IPv4 network"),
    ("a token that isn't one", ["--dir", "DIR", "--token", "abc"], 66, "token"),
    ("a token's file that isn't there", ["--dir", "DIR", "--token", "@DIR/none"], 66, "DIR/none"),
    ("agents that haven't joined", ["--dir", "DIR", "--agents", "1"], 1, "bench-1 has not joined yet: --token TOKEN lets it"),
    ("more agents than files", ["--dir", "DIR", "--agents", "1000000"], 66, "1000000 agents need 1000064 open files"),
]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for what, arguments, status, said in ROWS:
            argv = ["sh", "-c", 'ulimit -n 4096; exec "$@"', "sh", sys.argv[1], *(a.replace("DIR", folder) for a in arguments)]
            result = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
            text = result.stdout + result.stderr
            if result.returncode != status or said.replace("DIR", folder) not in text:
                print(f"FAILED: {what}: exit status {result.returncode}, said: {text}")
                failed += 1
    print(f"{len(ROWS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
