#!/usr/bin/env python3
"""Makes a C file of the migrations: embed.py OUT.c 0001-start.sql ...

Each file is named NUMBER-NAME.sql, numbers count from 1 without a gap, and its first line names the oldest program
that still works with the schema after it: "-- oldest-program: 0.1.0".
"""
import json
import os
import re
import sys


def rows(paths):
    for expected, path in enumerate(sorted(paths), 1):
        name = os.path.basename(path)
        match = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.sql", name)
        if not match or int(match[1]) != expected:
            sys.exit(f"{name}: expected number {expected:04d} and a name of small letters")
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
        oldest = re.fullmatch(r"-- oldest-program: (\d+\.\d+\.\d+)", lines[0] if lines else "")
        if not oldest:
            sys.exit(f"{name}: the first line is not \"-- oldest-program: N.N.N\"")
        yield expected, name, oldest[1], lines


def main(out, paths):
    with open(out, "w", encoding="ascii") as file:
        file.write("/* Made by embed.py from the files beside it. */\n")
        file.write('#include "store/migrations.h"\n\n')
        file.write("const struct migration migrations[] = {\n")
        for number, name, oldest, lines in rows(paths):
            file.write(f"\t{{{number}, {json.dumps(name)}, {json.dumps(oldest)},\n")
            for line in lines:
                file.write(f"\t {json.dumps(line + chr(10))}\n")
            file.write("\t},\n")
        file.write("};\n")
        file.write("const size_t n_migrations = sizeof(migrations) / sizeof(migrations[0]);\n")


main(sys.argv[1], sys.argv[2:])
