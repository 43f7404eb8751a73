"""The management server's host table, host ranking and list algorithms (section 6)."""

import fcntl
import json
import random
import uuid
from pathlib import Path

RANKED_STATES = {"Enabled", "Disabled", "Maintenance", "PrepareForMaintenance", "ErrorInMaintenance"}
RANKED_TYPES = {"Routing", "ConsoleProxy", "SecondaryStorage", "SecondaryStorageVM"}


class HostTable:
    """Rows of the host table; in a file if several servers are to share it."""

    def __init__(self, path=None):
        self._path = Path(path) if path else None
        self._rows = []

    def find_or_create(self, startup):
        """By guid, else by guid without the resource's name, else a new row (4.2.2)."""
        guid = startup.get("guid")
        stem = guid.removesuffix("-" + startup.get("resourceName", ""))
        with self._locked() as rows:
            row = next((r for r in rows if r["guid"] == guid), None) \
                or next((r for r in rows if r["guid"].startswith(stem)), None)
            if row is None:
                row = {"id": max((r["id"] for r in rows), default=0) + 1, "guid": guid,
                       "uuid": str(uuid.uuid4()), "resourceState": "Enabled"}
                rows.append(row)
            row.update(name=startup.get("name"), type=startup.get("type", "Routing"),
                       zone=startup.get("dataCenter"), cluster=startup.get("cluster"),
                       arch=startup.get("arch") or "x86_64",
                       os=startup.get("hostDetails", {}).get("Host.OS"))
            return dict(row)

    def remove(self, host_id):
        with self._locked() as rows:
            rows[:] = [r for r in rows if r["id"] != host_id]

    def all(self):
        with self._locked() as rows:
            return [dict(r) for r in rows]

    def ranked(self, zone):
        return sorted(r["id"] for r in self.all()
                      if r["zone"] == zone and r["resourceState"] in RANKED_STATES and r["type"] in RANKED_TYPES)

    def _locked(self):
        return _Locked(self._path, self._rows)


class _Locked:
    """The rows for the time of one operation, written back at its end."""

    def __init__(self, path, rows):
        self._path, self._rows, self._file = path, rows, None

    def __enter__(self):
        if self._path:
            self._path.touch()
            self._file = self._path.open("r+", encoding="ascii")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._rows[:] = json.loads(self._file.read() or "[]")
        return self._rows

    def __exit__(self, *_):
        if self._file:
            self._file.seek(0)
            self._file.write(json.dumps(self._rows))
            self._file.truncate()
            self._file.close()


def parse_setting(text):
    """The `host` setting: all spaces removed, trailing empty elements dropped (6.1)."""
    names = text.replace(" ", "").split(",")
    while len(names) > 1 and not names[-1]:
        names.pop()
    return names


def ordered_list(algorithm, servers, ranked, host_id):
    """The list of one host (6.3). One server: unchanged, the algorithm isn't even looked up."""
    if len(servers) == 1:
        return list(servers)
    if algorithm == "static":
        return list(servers)
    if algorithm == "roundrobin":
        rank = ranked.index(host_id) if host_id in ranked else len(ranked)
        first = rank % len(servers)
        return servers[first:] + servers[:first]
    if algorithm == "shuffle":
        return random.sample(servers, len(servers))
    raise ValueError(f"No algorithm found for {algorithm!r}")


def is_outdated(reported, algorithm, expected):
    """Whether what an agent reports as msHostList has to be replaced (6.4)."""
    parts = (reported or "").split("@")
    names = [name for name in parts[0].split(",") if name]
    if not names or (parts[1] if len(parts) > 1 else None) != algorithm:
        return True
    if algorithm == "shuffle":
        return len(names) != len(expected) or any(name not in expected for name in names)
    return names != expected
