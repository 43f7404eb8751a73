#!/usr/bin/env python3
"""Draws docs/images/placement.svg from the numbers that tests/bench/placement_figures prints.

usage: tools/placement_picture.py BUILD_FOLDER
"""
import subprocess
import sys
from pathlib import Path

TITLES = {"roundrobin": "rotation (roundrobin)", "shuffle": "shuffle", "balanced": "balanced"}
STATES = ["all are up", "M1 is dead", "M1 and M2 are dead"]
PANEL_W, PANEL_H, BAR_W, GAP, SCALE = 220, 150, 30, 8, 0.9
LEFT, TOP = 150, 50


def text(x, y, words, size=12, anchor="middle", fill="#333"):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{words}</text>'


def panel(x, y, loads, n_failed):
    out = []
    alive = loads[n_failed:]
    base = y + PANEL_H - 20
    for i, load in enumerate(loads):
        left = x + i * (BAR_W + GAP)
        height = load * SCALE
        if i < n_failed:
            out.append(text(left + BAR_W / 2, base - 4, "\u2715", 14, fill="#999"))
        else:
            color = "#c0392b" if load > min(alive) + 1 else "#2e7d5b"
            out.append(f'<rect x="{left}" y="{base - height:g}" width="{BAR_W}" height="{height:g}" fill="{color}"/>')
            out.append(text(left + BAR_W / 2, base - height - 4, load, 11))
        out.append(text(left + BAR_W / 2, base + 14, f"M{i + 1}", 10, fill="#777"))
    out.append(f'<line x1="{x - 4}" y1="{base}" x2="{x + 5 * (BAR_W + GAP)}" y2="{base}" stroke="#999"/>')
    return out


def main():
    program = Path(sys.argv[1]) / "tests/bench/placement_figures"
    rows = {}
    for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines():
        name, n_failed, *loads = line.split()
        rows[name, int(n_failed)] = [int(load) for load in loads]
    width, height = LEFT + 3 * PANEL_W + 10, TOP + 3 * PANEL_H + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for n_failed, state in enumerate(STATES):
        out.append(text(LEFT + n_failed * PANEL_W + 95, 24, state, 14))
    for row, (name, title) in enumerate(TITLES.items()):
        out.append(text(12, TOP + row * PANEL_H + PANEL_H / 2, title, 13, "start"))
        for n_failed in range(3):
            out += panel(LEFT + n_failed * PANEL_W, TOP + row * PANEL_H, rows[name, n_failed], n_failed)
    out.append(text(width / 2, height - 6, "200 hosts on 5 servers; red: more than one host above the least loaded", 11))
    out.append("</svg>")
    target = Path(__file__).resolve().parent.parent / "docs/images/placement.svg"
    target.write_text("\n".join(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
