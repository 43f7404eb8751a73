#!/usr/bin/env python3
"""Puts a program's settings into its manual page, between the lines "; settings begin" and "; settings end".

    man_settings.py PROGRAM PAGE            rewrites the page
    man_settings.py --check PROGRAM PAGE    fails when the page is not what the program says
"""
import subprocess
import sys

BEGIN, END = "; settings begin\n", "; settings end\n"


def main():
    check = sys.argv[1] == "--check"
    program, page = sys.argv[-2:]
    table = subprocess.run([program, "--settings=scdoc"], capture_output=True, text=True, check=True).stdout
    with open(page, encoding="utf-8") as f:
        text = f.read()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    wanted = head + BEGIN + "\n" + table.strip() + "\n\n" + END + tail
    if check:
        if wanted != text:
            print(f"{page} is not up to date: tools/man_settings.py {program} {page}")
        return wanted != text
    with open(page, "w", encoding="utf-8") as f:
        f.write(wanted)
    return 0


sys.exit(main())
