#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/join: join requests as they should be, and one way to spoil each of their fields."""
import json
import os

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
GOLDEN = os.path.join(ROOT, "tests", "golden", "pki")
OUT = os.path.join(ROOT, "tests", "fuzz", "corpus", "join")


def pem(name):
    with open(os.path.join(GOLDEN, name), encoding="ascii") as f:
        return f.read()


GOOD = {
    "tokenId": "8f2a01", "tokenSecret": "00112233445566778899aabbccddeeff0011223344556677", "role": "agent", "csr": pem("csr_harmless.pem"),
    "guid": "guid-7", "name": "kvm7.example.net", "resourceName": "LibvirtComputingResource", "zone": "z", "pod": "default",
    "cluster": "c 1", "addresses": ["10.0.0.1", "2001:db8::1", "kvm7", "no name", "10.0.0.1"], "guidIsFixed": True,
}
CHANGES = {
    "good": {}, "server": {"role": "server", "zone": None, "guidIsFixed": None}, "rejoins": {"rejoins": True},
    "no_csr": {"csr": ""}, "ca": {"csr": pem("csr_wants_ca.pem")}, "csr_path": {"csr": pem("csr_path.pem")},
    "csr_newline": {"csr": pem("csr_newline.pem")}, "csr_none": {"csr": "-----BEGIN CERTIFICATE REQUEST-----"},
    "id_path": {"tokenId": "../../x"}, "secret_short": {"tokenSecret": "00"}, "secret_long": {"tokenSecret": "0" * 300},
    "guid_dots": {"guid": ".."}, "guid_long": {"guid": "g" * 200}, "guid_none": {"guid": None},
    "name_newline": {"name": "a\nb"}, "name_path": {"name": "../kvm"}, "name_all": {"name": "*.example.net"}, "name_long": {"name": "n" * 254},
    "zone_escape": {"zone": "\u001b[2J"}, "zone_c1": {"zone": "a\u009bb"}, "zone_long": {"zone": "\u00e4" * 128}, "zone_blank": {"zone": "  "},
    "resource": {"resourceName": "a b"}, "king": {"role": "king"}, "many_addresses": {"addresses": [f"10.0.{n // 250}.{n % 250}" for n in range(300)]},
}


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, change in CHANGES.items():
        fields = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
        with open(os.path.join(OUT, name), "w", encoding="ascii") as f:
            json.dump([{"muster.JoinCommand": fields}], f, separators=(",", ":"))


main()
