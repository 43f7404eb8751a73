"""`muster demo --once --json` converges in every phase, and its lists are those of the README's example."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import program

ROTATED = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def main():
    # The demonstration looks for the daemons beside itself, as they are when built or installed.
    folder = tempfile.mkdtemp(prefix="muster-demo-")
    try:
        for name in ("muster", "muster-server", "muster-agent"):
            os.symlink(os.path.abspath(program(name)), os.path.join(folder, name)) if name != "muster" else \
                shutil.copy2(program(name), folder)
        result = subprocess.run([os.path.join(folder, "muster"), "demo", "--once", "--json"], capture_output=True, text=True,
                                timeout=360, check=False)
        print(result.stderr[-3000:])
        phases = json.loads(result.stdout)["phases"]
        assert result.returncode == 0, result.returncode
        assert [p["name"] for p in phases] == ["static", "roundrobin", "server-killed", "server-back", "host-added", "renewal",
                                                "revocation", "rotation"], phases
        assert all(p["converged"] for p in phases), phases
        servers = phases[0]["hosts"][0]["list"]
        assert all(h["list"] == servers and h["connected"] == servers[0] for h in phases[0]["hosts"]), phases[0]
        for host, order in zip(phases[1]["hosts"], ROTATED):
            assert host["list"] == [servers[i] for i in order], host
            assert host["connected"] == host["preferred"] == host["list"][0], host
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


sys.exit(main())
