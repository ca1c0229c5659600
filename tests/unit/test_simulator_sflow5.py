"""sFlow v5 by a plain reader of its own (sflow.org, version 5, July 2004), sampled headers by scapy."""

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from flowtide.simulator.sflow5 import least_octets
from flowtide.simulator.wire import Wire
from tests.unit.test_simulator_wire import BOOT_MS, NOW_MS, drawn, planned


class Words:
    """Reads XDR from octets."""

    def __init__(self, octets: bytes) -> None:
        self._octets, self._at = octets, 0

    def take(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}I", self.octets(4 * count))

    def octets(self, count: int) -> bytes:
        found = self._octets[self._at : self._at + count]
        assert len(found) == count
        self._at += count
        return found

    def rest(self) -> int:
        return len(self._octets) - self._at


@dataclass
class Sample:
    """One flow sample, or one counter sample (``kind`` 2)."""

    kind: int
    sequence: int
    source: tuple[int, int]
    rate: int = 0
    pool: int = 0
    drops: int = 0
    interfaces: tuple[int, int] = (0, 0)
    frame: int = 0
    header: bytes = b""
    gateway: tuple[int, ...] = ()
    counters: tuple[int, ...] = field(default=())


def read(datagram: bytes) -> tuple[dict[str, Any], list[Sample]]:
    words = Words(datagram)
    version, kind = words.take(2)
    assert version == 5
    agent = str(ip_address(words.octets(4 if kind == 1 else 16)))
    sub_agent, sequence, uptime, count = words.take(4)
    samples = []
    for _ in range(count):
        kind, length = words.take(2)
        samples.append(_sample(kind, Words(words.octets(length))))
    assert words.rest() == 0
    return {"agent": agent, "sub_agent": sub_agent, "sequence": sequence, "uptime": uptime}, samples


def _sample(kind: int, words: Words) -> Sample:
    [sequence] = words.take(1)
    if kind in (1, 2):
        [packed] = words.take(1)
        source = (packed >> 24, packed & 0xFFFFFF)
    else:
        source = words.take(2)  # type: ignore[assignment]
    if kind == 2:
        count, number, length = words.take(3)
        assert (count, number, length, words.rest()) == (1, 1, 88, 88)
        values = struct.unpack(">IIQIIQIIIIIIQIIIIII", words.octets(88))
        return Sample(kind, sequence, source, counters=values)
    rate, pool, drops = words.take(3)
    interfaces = words.take(2) if kind == 1 else words.take(4)[1::2]
    sample = Sample(kind, sequence, source, rate, pool, drops, interfaces)  # type: ignore[arg-type]
    for _ in range(words.take(1)[0]):
        number, length = words.take(2)
        record = Words(words.octets(length))
        if number == 1:
            protocol, sample.frame, stripped, octets = record.take(4)
            assert (protocol, stripped) == (1, 4)
            sample.header = record.octets(octets)
            assert record.octets(-octets % 4) == bytes(-octets % 4)
        else:
            assert number == 1003
            sample.gateway = record.take(length // 4)
        assert record.rest() == 0
    assert words.rest() == 0
    return sample


@pytest.mark.parametrize("first_interface", [0, 2**24])
def test_every_sample_is_the_packet(first_interface: int) -> None:
    flows = drawn(400, sampled=True)
    flows["in_if"] += first_interface
    wire = Wire.of(planned("sflow", sampling=1_000), 9, BOOT_MS)
    datagrams = [read(datagram) for datagram in wire.datagrams(flows, NOW_MS)]
    assert [head["sequence"] for head, _ in datagrams] == list(range(1, len(datagrams) + 1))
    assert {(head["agent"], head["sub_agent"], head["uptime"]) for head, _ in datagrams} == {
        ("127.0.0.5", 9, 86_400_000 + 123)
    }
    assert [len(samples) for _, samples in datagrams] == wire.records(flows)
    samples = [sample for _, part in datagrams for sample in part]
    # Only the expanded form has room for interfaces of more than 24 bits.
    assert {sample.kind for sample in samples} == {3 if first_interface else 1}
    seen: dict[int, int] = {}
    for flow, sample in zip(flows, samples, strict=True):
        source = int(flow["in_if"])
        seen[source] = seen.get(source, 0) + 1
        assert (sample.source, sample.sequence) == ((0, source), seen[source])
        assert (sample.rate, sample.pool, sample.drops) == (1_000, 1_000 * seen[source], 0)
        assert sample.interfaces == (source, flow["out_if"])
        # Ethernet's 14 octets, and 4 of a checksum that were stripped.
        assert sample.frame == flow["octets"] + 18
        # Border router 0.0.0.0, own AS, source, peer; one sequence (2) of one AS; no communities; preference.
        assert sample.gateway == (1, 0, 0, flow["src_as"], flow["src_as"], 1, 2, 1, flow["dst_as"], 0, 100)
        _is_packet(Ether(sample.header), flow)


def _is_packet(packet: Any, flow: Any) -> None:
    network = packet[IPv6 if flow["is_v6"] else IP]
    ends = [ip_address(bytes(flow[end])) for end in ("src", "dst")]
    assert [ip_address(network.src), ip_address(network.dst)] == [
        getattr(end, "ipv4_mapped", None) or end for end in ends
    ]
    if flow["is_v6"]:
        assert (network.plen + 40, network.nh, network.tc) == (flow["octets"], flow["proto"], flow["tos"])
    else:
        assert (network.len, network.proto, network.tos) == (flow["octets"], flow["proto"], flow["tos"])
        told, network.chksum = network.chksum, None
        assert IP(bytes(network)).chksum == told
    if flow["proto"] == 6:
        assert (int(packet[TCP].flags), packet[TCP].dataofs) == (flow["tcp_flags"], 5)
    if flow["proto"] in (6, 17):
        ports = packet[TCP if flow["proto"] == 6 else UDP]
        assert (ports.sport, ports.dport) == (flow["src_port"], flow["dst_port"])
    if flow["proto"] == 1:
        assert (packet[ICMP].type, packet[ICMP].code) == (8, 0)


def test_the_least_octets_of_a_packet_are_its_headers() -> None:
    flows = drawn(8, v6=0, sampled=True)
    flows["proto"] = [6, 17, 1, 50, 6, 17, 58, 47]
    flows["is_v6"][4:] = True
    assert least_octets(flows).tolist() == [40, 28, 28, 20, 60, 48, 48, 40]
    flows["octets"] = least_octets(flows)
    [(_, samples)] = [read(datagram) for datagram in Wire.of(planned("sflow"), 1, BOOT_MS).datagrams(flows, NOW_MS)]
    assert [len(sample.header) - 14 for sample in samples] == [40, 28, 28, 20, 60, 48, 48, 40]


def test_numbers_of_a_source_go_on_and_counters_tell_what_passed() -> None:
    wire = Wire.of(planned("sflow", sampling=10), 9, BOOT_MS)
    flows = drawn(50, sampled=True)
    flows["in_if"], flows["out_if"] = 2, 101
    wire.datagrams(flows[:20], NOW_MS)
    wire.announcements(NOW_MS, sampling=40)
    later = [sample for datagram in wire.datagrams(flows[20:], NOW_MS) for sample in read(datagram)[1]]
    assert [sample.sequence for sample in later] == list(range(21, 51))
    assert (later[0].pool, later[0].rate) == (20 * 10 + 40, 40)
    [datagram] = wire.announcements(NOW_MS)
    _, samples = read(datagram)
    assert [sample.source for sample in samples] == [(0, each) for each in (1, 2, 3, 4, 101, 102)]
    assert {sample.sequence for sample in samples} == {2}
    octets = 10 * int(flows["octets"][:20].sum() + 20 * 18) + 40 * int(flows["octets"][20:].sum() + 30 * 18)
    packets = 10 * 20 + 40 * 30
    # Index, type, speed, direction, status; octets and packets in; octets and packets out.
    passed = {sample.counters[0]: (*sample.counters[5:7], *sample.counters[12:14]) for sample in samples}
    nothing = (0, 0, 0, 0)
    assert passed == {
        1: nothing, 2: (octets, packets, 0, 0), 3: nothing, 4: nothing, 101: (0, 0, octets, packets), 102: nothing,
    }  # fmt: skip
    assert samples[0].counters[1:5] == (6, 10_000_000_000, 1, 3)


def test_an_agent_of_ipv6_is_told() -> None:
    plan = planned("sflow").model_copy(update={"source": "2001:db8::5"})
    head, samples = read(Wire.of(plan, 1, BOOT_MS).datagrams(drawn(3, sampled=True), NOW_MS)[0])
    assert (head["agent"], len(samples)) == ("2001:db8::5", 3)
