#!/usr/bin/env python3
"""Writes the tables of message classes in docs/protocol.md from src/wire/msg.def.

Without arguments the part between the two marker comments is replaced. With --check nothing is written: the exit
status says whether that part is up to date and whether the text outside of it speaks of every class.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/wire/msg.def"
TARGET = ROOT / "docs/protocol.md"
BEGIN = "<!-- made from src/wire/msg.def by tools/protocol_table.py: begin -->"
END = "<!-- made from src/wire/msg.def by tools/protocol_table.py: end -->"

FIELD = re.compile(r"F\(\s*(\w+)\s*,\s*(\w+)\s*\)\s*(?:/\*(.*?)\*/)?|(\w+_FIELDS)\(F\)")
CLASS = re.compile(r"X\(\s*(\w+)\s*,\s*(\w+)\s*,\s*((?:PKG_\w+\s*)?\"[^\"]*\")\s*,\s*(\w+)\s*,\s*(\w+)\s*,\s*(\w+)\s*\)")
NOTES = {
    "0": "",
    "SEQ": "in sequence",
    "CRON": "repeats",
    "BARE": "send every field",
    "PING": "a ping",
    "OURS": "muster peers only",
}


def read_definitions(text):
    """Macro name to its body, with continuation lines joined."""
    text = text.replace("\\\n", " ")
    return dict(re.findall(r"^#define (\w+)(?:\(\w+\))?[ \t]+(.*)$", text, re.M))


def fields_of(definitions, name):
    """(kind, name, meaning) of each field of a list, lists inside of it included."""
    for kind, field, meaning, other in FIELD.findall(definitions.get(name, "")):
        if other:
            yield from fields_of(definitions, other)
        else:
            yield kind, field, meaning.strip().replace("<", "&lt;").replace("|", "\\|")


def class_name(definitions, text):
    """PKG_API "X" to the whole name."""
    package = re.match(r"(PKG_\w+)", text)
    prefix = definitions[package.group(1)].strip().strip('"') if package else ""
    return prefix + re.search(r'"(.*)"', text).group(1)


def field_table(rows):
    lines = ["| field | kind | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{field}` | {kind} | {meaning} |" for kind, field, meaning in rows]
    return lines


def tables(text):
    definitions = read_definitions(text)
    classes = [
        (class_name(definitions, name), kind, flags, list(fields_of(definitions, fields)))
        for _, _, name, kind, flags, fields in CLASS.findall(text.replace("\\\n", " "))
    ]
    lines = ["### Inherited fields", "", "Every command and every answer ends in:", ""]
    lines += field_table(fields_of(definitions, "COMMAND_FIELDS"))
    lines += ["", "Before these, every answer has:", ""]
    lines += field_table(fields_of(definitions, "ANSWER_FIELDS"))
    lines += ["", "Before those of a command, every startup has:", ""]
    lines += field_table(fields_of(definitions, "STARTUP_FIELDS"))
    lines += ["", "### All classes", "", "| class | kind | own fields | notes |", "| --- | --- | --- | --- |"]
    for name, kind, flags, fields in classes:
        lines.append(f"| `{name}` | {kind.lower()} | {len(fields) or 'none'} | {NOTES[flags]} |")
    lines += ["", "### Own fields"]
    for name, _, _, fields in classes:
        if fields:
            lines += ["", f"#### `{name}`", ""] + field_table(fields)
    return [name for name, _, _, _ in classes], "\n".join(lines)


def main():
    names, table = tables(SOURCE.read_text())
    text = TARGET.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    new = f"\n\n{table}\n\n"
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(before + BEGIN + new + END + after)
        return 0
    complaints = []
    if old != new:
        complaints.append("docs/protocol.md is out of date: run tools/protocol_table.py")
    for name in names:
        if not re.search(r"`" + re.escape(name.split(".")[-1]) + "`", before + after):
            complaints.append(f"docs/protocol.md doesn't say what {name} is for")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
