#!/usr/bin/env python3
"""Makes the seed corpora of fuzz_frame, fuzz_header and fuzz_message from the recorded messages.

Files are only written, never removed: a finding of the fuzzer that was put into a corpus stays there.
With --check nothing is written; the exit status says whether a seed is missing or out of date.
"""
import json
import pathlib
import re
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests/golden/vectors"
CORPUS = ROOT / "tests/fuzz/corpus"

COMPRESSED = 0x0080
FOLLOWS = 0x00010000
RECORD = 16384

# What no recorded message has.
BODIES = {
    "ints": '[{"com.cloud.agent.api.ReadyCommand":{"hostId":"5","dcId":5.0,"wait":-9223372036854775808}}]',
    "reals": '[{"com.cloud.agent.api.GetHostStatsAnswer":{"hostStats":[5e-324,1.7976931348623157e308,-0.0,1e7,0.001]}}]',
    "nulls": '[{"com.cloud.agent.api.ReadyCommand":{"msHostList":null,"contextMap":{"a":null,"b":1,"c":true}}}]',
    "escapes": '[{"com.cloud.agent.api.Answer":{"details":"\\u0000\\ud83d\\ude00\\u2028\\/é\x7f"}}]',
    "twice": '[{"com.cloud.agent.api.Answer":{"wait":1,"wait":2}},{"x.Y":{},"com.cloud.agent.api.Answer":{}}]',
    "join": '[{"muster.JoinCommand":{"tokenId":"t","tokenSecret":"s","role":"agent","addresses":["10.0.0.1"]}}]',
    "boot": '[{"com.cloud.agent.api.StartupRoutingCommand":{"musterBoot":"b","musterLink":1,"guid":"g"}}]',
    "deep": "[" * 65 + "]" * 65,
}
PACKETS = {
    "too_big": b"\x00\x00\x46\x51",
    "negative": b"\x00\x00\xff\xff",
    "empty": b"\x00\x00\x00\x00\x00\x01\x00\x00",
    "other_bits": b"\xff\xfe\x00\x01a",
    "unframed_alert": b"\x15\x03\x03\x00\x1a" + bytes(26),
}


def packets(message):
    out = b""
    parts = [message[i : i + RECORD] for i in range(0, len(message), RECORD)] or [b""]
    for i, part in enumerate(parts):
        out += struct.pack(">I", len(part) | (FOLLOWS if i + 1 < len(parts) else 0)) + part
    return out


def body_of(message):
    """The body as text, or None where it can't be had."""
    if len(message) < 40:
        return None
    flags = struct.unpack(">H", message[2:4])[0]
    body = message[32 if message[0] == 2 else 40 :]
    if not flags & COMPRESSED:
        return body
    try:
        return zlib.decompress(body, wbits=31)
    except zlib.error:
        return None


def messages():
    for path in sorted(VECTORS.glob("*.hex")):
        yield path.stem, bytes.fromhex(path.read_text())
    for case in json.loads((VECTORS / "parse-behaviour.json").read_text()):
        if "hex" in case:
            name = re.sub(r"[^a-z0-9]+", "_", case["case"].lower()).strip("_")
            yield "odd_" + name, bytes.fromhex(case["hex"])


def seeds():
    """Folder and name to content; equal contents of a folder only once."""
    seen = set()
    for name, message in messages():
        for folder, content in (("header", message), ("message", body_of(message)), ("frame", packets(message))):
            if content is not None and (folder, content) not in seen:
                seen.add((folder, content))
                yield folder, name, content
    for name, text in BODIES.items():
        yield "message", name, text.encode()
    for name, content in PACKETS.items():
        yield "frame", name, content


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for folder, name, content in seeds():
        path = CORPUS / folder / name
        if path.exists() and path.read_bytes() == content:
            continue
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in stale:
        print(("stale: " if check else "wrote ") + str(path.relative_to(ROOT)))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
