"""The subscriber of the RADIUS tests: what ``radclient`` tells of the address, and flows to it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

import numpy as np
import pytest

from flowtide.simulator.flow import FLOW
from flowtide.simulator.wire import Wire

SHARED, REMOTE = "198.51.100.7", "203.0.113.9"


def radclient(
    port: int, status: str, user: str, session: str, at: int, secret: str, *, tries: int, seconds: int
) -> bool:
    """Whether an accounting record of an event at Unix seconds ``at`` was answered."""
    program = shutil.which("radclient")
    if program is None:
        pytest.skip("radclient is not installed (freeradius-utils)")
    attributes = (
        f'User-Name = "{user}", Acct-Session-Id = "{session}", Acct-Status-Type = {status},'
        f" Framed-IP-Address = {SHARED}, NAS-IP-Address = 127.0.0.1, Event-Timestamp = {at}\n"
    )
    done = subprocess.run(
        [program, "-r", str(tries), "-t", str(seconds), f"127.0.0.1:{port}", "acct", secret],
        input=attributes, text=True, capture_output=True, timeout=30, env=os.environ | {"TZ": "UTC"},
    )  # fmt: skip
    return done.returncode == 0


def send(port: int, wire: Wire, ends_ms: Sequence[int], octets: Sequence[int]) -> None:
    """Flows to the shared address, of these octets, that end then."""
    flows = np.zeros(len(ends_ms), FLOW)
    for end, address in (("src", REMOTE), ("dst", SHARED)):
        flows[end] = np.frombuffer(bytes(10) + b"\xff\xff" + IPv4Address(address).packed, "u1")
    flows["src_port"], flows["dst_port"], flows["proto"], flows["packets"] = 443, 50_000, 17, 1
    flows["octets"], flows["end_ms"] = octets, ends_ms
    flows["start_ms"] = flows["end_ms"] - 1_000
    now_ms = int(time.time() * 1000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for datagram in (*wire.announcements(now_ms), *wire.datagrams(flows, now_ms)):
            made.sendto(datagram, ("127.0.0.1", port))
