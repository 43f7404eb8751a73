#!/usr/bin/env python3
"""Writes the table of metrics in docs/running.md from src/server/metrics.def.

Without arguments the part between the two marker comments is replaced. With --check nothing is written: the exit
status says whether that part is up to date, whether names are as Prometheus wants them, and whether the alert rules
speak only of metrics and labels that there are.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/server/metrics.def"
TARGET = ROOT / "docs/running.md"
RULES = ROOT / "docs/examples/prometheus-alerts.yml"
BEGIN = "<!-- made from src/server/metrics.def by tools/metrics_table.py: begin -->"
END = "<!-- made from src/server/metrics.def by tools/metrics_table.py: end -->"

GROUP = re.compile(r"/\* ---- (.*?) ---- \*/")
ROW = re.compile(r'METRIC\(\s*(\w+)\s*,\s*"([^"]*)"\s*,\s*(\w+)\s*,\s*"([^"]*)"\s*,\s*"([^"]*)"\s*\)')
UNITS = ("_seconds", "_bytes", "_total", "_info")
BY_THE_SCRAPER = {"instance", "job"}


def read_rows(text):
    """(group, name, type, labels, help) of each metric."""
    group, rows = "", []
    for line in text.splitlines():
        heading, row = GROUP.match(line), ROW.match(line)
        if heading:
            group = heading.group(1)
        elif row:
            _, name, kind, labels, meaning = row.groups()
            rows.append((group, name, kind.lower(), [label for label in labels.split(",") if label], meaning))
        elif line.startswith("METRIC("):
            sys.exit(f"{SOURCE}: a row that can't be read: {line}")
    return rows


def table(rows):
    lines, last = [], None
    for group, name, kind, labels, meaning in rows:
        if group != last:
            lines += ["", f"**{group}**", "", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
            last = group
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines[1:])


def name_complaints(rows):
    names = [name for _, name, _, _, _ in rows]
    for name in {n for n in names if names.count(n) > 1}:
        yield f"{name} is there twice"
    for _, name, kind, labels, meaning in rows:
        if not re.fullmatch(r"(muster|process)_[a-z][a-z_]*[a-z]", name):
            yield f"{name}: not a name of ours"
        if (kind == "counter") != name.endswith("_total"):
            yield f"{name}: counters end in _total, gauges don't"
        if re.search(r"_(ms|us|milliseconds|minutes|hours|days|kb|mb)\b", name):
            yield f"{name}: units are seconds and bytes"
        if not all(re.fullmatch(r"[a-z]+", label) for label in labels) or {"host", "guid", "agent"} & set(labels):
            yield f"{name}: a label that is malformed or grows with the hosts"
        if meaning.endswith(".") or not meaning[:1].isupper() and not meaning[:1].isdigit():
            yield f"{name}: its help is a phrase with a capital and without a full stop"


def rule_complaints(rows, rules):
    known = {name: set(labels) for _, name, _, labels, _ in rows}
    spoken = re.sub(r"^\s*#.*$", "", rules, flags=re.M)
    for name, selector in re.findall(r"\b((?:muster|process)_[a-z_]+)(\{[^}]*\})?", spoken):
        if name not in known:
            yield f"{RULES.name}: there is no metric {name}"
            continue
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector or ""):
            if label not in known[name] | BY_THE_SCRAPER:
                yield f"{RULES.name}: {name} has no label {label}"


def main():
    rows = read_rows(SOURCE.read_text())
    text = TARGET.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    new = f"\n\n{table(rows)}\n\n"
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(before + BEGIN + new + END + after)
        return 0
    complaints = list(name_complaints(rows)) + list(rule_complaints(rows, RULES.read_text()))
    if old != new:
        complaints.append("docs/running.md is out of date: run tools/metrics_table.py")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
