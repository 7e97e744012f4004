"""Runs a command where no host can be reached, and writes down every packet for another host.

    unshare --user --map-root-user --net --mount python net_watch.py REPORT -- COMMAND ...

The command and all that it starts have a loopback interface and one tunnel, through which every
other packet goes; this program reads the other end of the tunnel. Unlike an audit hook it sees the
sockets of native libraries. Names are resolved by 192.0.2.53, which is out there too, so that a
look-up is a packet as well. REPORT becomes a JSON list of {"host", "protocol", "port", "name"}.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_UDP, _DNS = 17, 53
# What the kernel itself says on a new interface: router solicitations, multicast reports.
_OF_THE_KERNEL = ("ff02:",)


def tunnel() -> int:
    """Make the loopback and the tunnel, with the default routes; the tunnel's other end."""
    far_end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(far_end, _TUNSETIFF, struct.pack("16sH", b"out", _IFF_TUN | _IFF_NO_PI))
    for command in (
        "link set lo up",
        "address add 198.18.0.1/32 dev out",
        "link set out up",
        "route add default dev out",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    subprocess.run(["ip", "-6", "route", "add", "default", "dev", "out"], stderr=subprocess.DEVNULL)
    return far_end


def name_server() -> None:
    """Let names be resolved by a host out there."""
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("nameserver 192.0.2.53\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)


def described(packet: bytes) -> dict[str, object] | None:
    """Where a packet goes, and the name that it asks for; None for the kernel's own."""
    if packet[0] >> 4 == 4:
        header = 4 * (packet[0] & 15)
        protocol, host = packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])
    else:
        header = 40
        protocol, host = packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40])
    if host.startswith(_OF_THE_KERNEL):
        return None
    port = int.from_bytes(packet[header + 2 : header + 4])
    name = ""
    if protocol == _UDP and port == _DNS:
        question = packet[header + 8 + 12 :]
        labels = []
        while question and question[0]:
            labels.append(question[1 : 1 + question[0]].decode("ascii", "replace"))
            question = question[1 + question[0] :]
        name = ".".join(labels)
    return {"host": host, "protocol": protocol, "port": port, "name": name}


def main() -> None:
    report, command = Path(sys.argv[1]), sys.argv[3:]
    far_end = tunnel()
    name_server()
    packets: list[dict[str, object]] = []
    process = subprocess.Popen(command)
    until = None
    while until is None or time.monotonic() < until:
        if until is None and process.poll() is not None:
            until = time.monotonic() + 0.5  # what is still on its way
        if select.select([far_end], [], [], 0.1)[0]:
            packet = described(os.read(far_end, 65536))
            if packet is not None and packet not in packets:
                packets.append(packet)
    report.write_text(json.dumps(packets))
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
