"""A slow line: carries packets between two network namespaces and delays each of them.

    relay.py PID_A PID_B SHORTEST_MS LONGEST_MS SEED

PID_A and PID_B have the namespaces; each gets a device `slow0`, which this makes. Packets of one flow stay in order,
those of different flows overtake each other. Prints "ready" and runs until it is killed.
"""
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
MTU, MOST_WAITING = 1500, 20000


def tun_in(pid):
    """A new tun device in the namespace of that process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", "rb") as ns:
        if libc.setns(ns.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"slow0", IFF_TUN | IFF_NO_PI))
    return fd


def flow(packet):
    """Addresses, protocol and ports of an IPv4 packet."""
    n = (packet[0] & 15) * 4
    return packet[9:10] + packet[12:20] + packet[n:n + 4]


def main():
    pid_a, pid_b, shortest, longest, seed = (int(x) for x in sys.argv[1:])
    chance = random.Random(seed)
    ends = [tun_in(pid_a), tun_in(pid_b)]
    waiting, last, number = [], {}, 0  # last: when the last packet of a flow is due
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, end, packet = heapq.heappop(waiting)
            try:
                os.write(end, packet)
            except OSError:
                pass  # the device is down: lost, as packets are
        timeout = waiting[0][0] - now if waiting else None
        for fd in select.select(ends, [], [], timeout)[0]:
            packet = os.read(fd, MTU + 100)
            if packet[0] >> 4 != 4 or len(waiting) >= MOST_WAITING:
                continue
            key = flow(packet)
            due = max(time.monotonic() + chance.uniform(shortest, longest) / 1000, last.get(key, 0))
            last[key] = due
            number += 1
            heapq.heappush(waiting, (due, number, ends[1 - ends.index(fd)], packet))


if __name__ == "__main__":
    main()
