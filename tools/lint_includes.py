#!/usr/bin/env python3
"""Checks the floors: which folder of src/ may include which.

Every `#include "folder/file.h"` under src/ is compared with the table below. A wrong edge is printed as
file:line and makes the exit status 1. Includes without a folder are a file's own neighbours and are wrong too:
they are written from src/, so that an edge can be seen.

usage: lint_includes.py [ROOT]    (default: the parent of this script's folder)
"""

import pathlib
import re
import sys

# Each folder may include itself and these.
FLOORS = {
    "base": set(),
    "wire": {"base"},
    "core": {"base"},
    "pki": {"base"},
    "store": {"base", "core"},
    "ca": {"base", "pki"},
    "net": {"base", "wire", "pki"},
    "client": {"base", "wire", "core", "pki", "net"},
    "server": {"base", "wire", "core", "pki", "store", "ca", "net", "client"},
    "agent": {"base", "wire", "core", "pki", "net", "client"},
    "cli": {"base", "wire", "core", "client"},  # core: the offline plan
    "bench": {"base", "wire", "core", "pki", "net", "client"},
    "sim": {"base", "wire", "core", "pki", "store", "ca", "net", "client", "server", "agent", "cli"},
}

# Not a folder of src/: the public header, which only those who implement or use the library see.
PUBLIC = "muster"
MAY_SEE_PUBLIC = {"client", "server", "agent", "cli", "sim", "bench"}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def wrong_edge(folder, target):
    """What is wrong with including `target` from `folder`, or None."""
    head, _, rest = target.partition("/")
    if not rest:
        return f'"{target}" is not written from src/'
    if head == PUBLIC:
        return None if folder in MAY_SEE_PUBLIC else f"{folder} may not include the public header"
    if head not in FLOORS:
        return f'"{target}" is in no known folder'
    if head == folder or head in FLOORS[folder]:
        return None
    allowed = ", ".join(sorted(FLOORS[folder])) or "nothing but itself"
    return f"{folder} may not include {head} (it may: {allowed})"


def check_file(path, folder, shown):
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        problem = found and wrong_edge(folder, found.group(1))
        if problem:
            yield f"{shown}:{number}: {problem}"


def check(root):
    src = root / "src"
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".c", ".h", ".def") or not path.is_file():
            continue
        shown = path.relative_to(root)
        folder = path.relative_to(src).parts[0]
        if folder not in FLOORS:
            yield f"{shown}:1: {folder} is in no floor"
            continue
        yield from check_file(path, folder, shown)


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    problems = list(check(root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
