#!/usr/bin/env python3
"""Counts what meson ran, test functions where a program tells them, and prints "N passed, N failed" last.

What tests skipped because the machine can't do it comes before that, with the reason.

cmocka and unittest say how many tests they ran; every other program counts as one. A program that failed without
naming a failed test counts as one failure. No test at all is a failure.
"""
import json
import re
import sys


def count(entry):
    text = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", text))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", text))
    skipped = 0
    for ran, outcome in re.findall(r"^Ran (\d+) tests? in .*\n+((?:OK|FAILED).*)$", text, re.M):
        bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", outcome))
        left_out = sum(int(n) for n in re.findall(r"skipped=(\d+)", outcome))
        passed += int(ran) - bad - left_out
        failed += bad
        skipped += left_out
    skipped = max(skipped, len(re.findall(r"^SKIPPED: ", text, re.M)))
    if entry["result"] in ("SKIP",):
        return 0, 0, 1
    if entry["result"] in ("OK", "EXPECTEDFAIL"):
        return max(passed, 0 if failed else 1), failed, skipped
    return passed, max(failed, 1), skipped


def reasons(entry):
    """What a test said that it could not do here, and why."""
    return re.findall(r"^SKIPPED: .*$", (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or ""), re.M)


def main():
    passed = failed = skipped = 0
    said = []
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            p, f, s = count(entry)
            said += [reason for reason in reasons(entry) if reason not in said]
            passed, failed, skipped = passed + p, failed + f, skipped + s
    if passed + failed == 0:
        failed = 1
    for reason in said:
        print(reason)
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return 1 if failed else 0


sys.exit(main())
