"""Exporters that are not ours to a running stack: totals exact, per version and option."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.end_to_end.conftest import Running
from tests.end_to_end.exporters import OpenVSwitch, Overheard, capture, pmacctd, softflowd

_ALL = (340, 1557, 829_112)
_FOUR = (290, 1331, 674_441)
SOFTFLOWD: dict[str, tuple[tuple[str, ...], tuple[int, int, int], set[int]]] = {
    # options; flows, packets, octets as nfcapd 1.7.1 counts the same exports; sampling intervals
    "v5": (("-v", "5"), _FOUR, {1}),  # version 5 has no IPv6
    "v9": (("-v", "9"), _ALL, {1}),
    "ipfix": (("-v", "10"), _ALL, {1}),
    "v9-milli": (("-v", "9", "-A", "milli"), _ALL, {1}),
    "ipfix-milli": (("-v", "10", "-A", "milli"), _ALL, {1}),
    "ipfix-micro": (("-v", "10", "-A", "micro"), _ALL, {1}),
    "v9-sampled": (("-v", "9", "-s", "10"), (121, 156, 77_182), {10}),
    "ipfix-sampled": (("-v", "10", "-s", "10"), (121, 156, 77_182), {10}),
    # 360 halves: 140 of the 220 conversations were answered.
    "ipfix-bidirectional": (("-v", "10", "-b"), (360, 1557, 829_112), {1}),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all."""
    stack = Running(tmp_path_factory.mktemp("stack"))
    try:
        yield stack.start()
    finally:
        stack.kill()


def totals(stack: Running, where: str = "1") -> tuple[int, int, int]:
    sql = f"SELECT count() AS f, sum(packets) AS p, sum(octets) AS o FROM flows WHERE copy != 1 AND {where}"
    row = stack.query(sql)[0]
    return row["f"], row["p"], row["o"]


def wait_for(stack: Running, wanted: tuple[int, int, int], where: str) -> None:
    """Until the totals are as wanted; then what is there says what is wrong."""
    found: list[Any] = [None]

    def reached() -> bool:
        found[0] = totals(stack, where)
        return bool(found[0] == wanted)

    try:
        stack.wait(reached, 15)
    except pytest.fail.Exception:
        pytest.fail(f"{found[0]}, not {wanted}")


@pytest.mark.parametrize("name", SOFTFLOWD)
def test_softflowd(stack: Running, tmp_path: Path, name: str) -> None:
    options, wanted, intervals = SOFTFLOWD[name]
    since = stack.query("SELECT toString(now64(3, 'UTC')) AS now")[0]["now"]
    softflowd(stack.port, tmp_path, *options)
    mine = f"exporter = '127.0.0.1' AND received >= toDateTime64('{since}', 3, 'UTC')"
    wait_for(stack, wanted, mine)
    assert {row["sampling"] for row in stack.query(f"SELECT DISTINCT sampling FROM flows WHERE {mine}")} == intervals
    estimated = stack.query(f"SELECT sum(octets_est) AS o FROM flows WHERE copy != 1 AND {mine}")[0]["o"]
    assert estimated == wanted[2] * min(intervals)
    if name == "ipfix-bidirectional":
        assert totals(stack, f"copy = 2 AND {mine}")[0] == 140


@pytest.mark.parametrize("version, address", [(9, "127.0.0.9"), (10, "127.0.0.10")])
def test_pmacctd_nfprobe(stack: Running, tmp_path: Path, version: int, address: str) -> None:
    with pmacctd(stack.port, tmp_path, "nfprobe", address, nfprobe_version=version):
        # Fragments join their flow here, so it has ten flows fewer than softflowd.
        wait_for(stack, (330, 1557, 829_112), f"exporter = '{address}'")


def test_pmacctd_sfprobe(stack: Running, tmp_path: Path) -> None:
    # Its sampler passes over none, one or two packets of the beginning: so what it said is counted on its way.
    with capture().open("rb") as file:
        frames = sum(1 for _ in dpkt.pcap.Reader(file))
    with (
        Overheard("127.0.0.6", stack.port) as overheard,
        pmacctd(overheard.port, tmp_path, "sfprobe", "127.0.0.6", sfprobe_agentip="127.0.0.6", sampling_rate=1),
    ):
        stack.wait(lambda: len(overheard.sflow_frames(tmp_path)) >= frames - 3)
    lengths = overheard.sflow_frames(tmp_path)
    wait_for(stack, (len(lengths), len(lengths), sum(lengths)), "exporter = '127.0.0.6'")


def test_open_vswitch(stack: Running, tmp_path: Path) -> None:
    switch = OpenVSwitch(tmp_path)
    packet = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=53) / bytes(100)
    frames = []
    for number in range(20):
        packet[UDP].sport = 1000 + number
        frames.append(bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet))
    since = stack.query("SELECT toString(now64(3, 'UTC')) AS now")[0]["now"]
    mine = f"received >= toDateTime64('{since}', 3, 'UTC') AND src_port BETWEEN 1000 AND 1019 AND dst_port = 53"
    try:
        switch.start(stack.port)
        switch.receive(frames)
        # sFlow: a sample a packet, the frame as on the wire, with its checksum of 4 octets.
        wait_for(stack, (20, 20, 20 * (142 + 4)), f"{mine} AND domain != 123")
        # IPFIX: where a packet came in and at each of the two ports it went out; octets from the IP header on.
        wait_for(stack, (60, 60, 60 * 128), f"{mine} AND domain = 123")
    finally:
        switch.stop()
    endpoints = stack.query(f"SELECT DISTINCT IPv6NumToString(src_addr) AS s, proto FROM flows WHERE {mine}")
    assert endpoints == [{"s": "::ffff:10.0.0.1", "proto": 17}]
