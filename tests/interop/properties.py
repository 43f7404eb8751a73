"""agent.properties the way java.util.Properties reads and writes it (section 5.3).

Writing is deliberately rude, as the Java agent's is: the file is read again into
the table in memory, the key is set, and the whole file is rewritten in place, in
hash order and without its comments.
"""

import re
import time
from pathlib import Path

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_KEY_END = re.compile(r"(?<!\\)(?:\\\\)*([=:\s])")


def _logical_lines(text):
    """Joins continued lines; drops comments, blank lines and leading whitespace."""
    joined = None
    for line in re.split(r"\r\n|\r|\n", text):
        line = line.lstrip(" \t\f")
        if joined is None:
            if not line or line[0] in "#!":
                continue
            joined = ""
        joined += line
        backslashes = len(joined) - len(joined.rstrip("\\"))
        if backslashes % 2:
            joined = joined[:-1]
            continue
        yield joined
        joined = None
    if joined is not None:
        yield joined


def _unescape(text):
    def one(match):
        code = match.group(1)
        if len(code) == 5:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text, flags=re.S)


def _split(line):
    end = _KEY_END.search(line)
    if not end:
        return line, ""
    at = end.start(1)
    rest = line[at:].lstrip(" \t\f")
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(" \t\f")
    return line[:at], rest


def parse(text):
    """The last of several equal keys wins; trailing whitespace belongs to the value."""
    return {_unescape(key): _unescape(value) for key, value in map(_split, _logical_lines(text))}


def _escape(text, *, is_key):
    out = []
    for i, char in enumerate(text):
        if char == " " and (is_key or i == 0 or text[:i].isspace()):
            out.append("\\ ")
        elif char in ":=#!\\":
            out.append("\\" + char)
        elif char in "\t\n\r\f":
            out.append("\\" + "tnrf"["\t\n\r\f".index(char)])
        elif not 0x20 <= ord(char) <= 0x7E:
            out.append(_java_unicode(char))
        else:
            out.append(char)
    return "".join(out)


def _java_unicode(char):
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[i:i + 2], 'big'):04X}" for i in range(0, len(units), 2))


def _java_hash(text):
    value = 0
    for char in text:
        value = (value * 31 + ord(char)) & 0xFFFFFFFF
    return (value ^ (value >> 16)) & 0xFFFF


def render(table):
    stamp = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
    lines = ["#Storage", "#" + stamp]
    for key in sorted(table, key=_java_hash):
        lines.append(f"{_escape(key, is_key=True)}={_escape(table[key], is_key=False)}")
    return "\n".join(lines) + "\n"


class AgentProperties:
    """The file and its table in memory."""

    def __init__(self, path):
        self.path = Path(path)
        self.table = {}
        self._load()

    def _load(self):
        if self.path.exists():
            self.table.update(parse(self.path.read_text("latin-1")))

    def get(self, key, default=None):
        """Unset and blank both mean the default."""
        value = self.table.get(key)
        return default if value is None or not value.strip() else value

    def number(self, key, default):
        try:
            return int(self.get(key, default))
        except ValueError:
            return default

    def persist(self, **values):
        self.persist_all(values)

    def persist_all(self, values):
        """Keys that someone deleted from the file meanwhile come back: Java's habit."""
        self._load()
        self.table.update(values)
        self.path.write_text(render(self.table), "latin-1")
