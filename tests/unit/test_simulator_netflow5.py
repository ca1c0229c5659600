"""NetFlow v5 as scapy reads it."""

from ipaddress import ip_address
from typing import Any

from scapy.layers.netflow import NetflowHeader

from flowtide.simulator.wire import Wire
from tests.unit.test_simulator_wire import BOOT_MS, NOW_MS, drawn, planned


def dissect(datagrams: list[bytes]) -> tuple[list[Any], list[Any]]:
    """Headers and records."""
    headers, records = [], []
    for datagram in datagrams:
        layer = NetflowHeader(datagram).payload
        headers.append(layer)
        while type(layer := layer.payload).__name__ == "NetflowRecordV5":
            records.append(layer)
    return headers, records


def test_every_field_is_what_scapy_reads() -> None:
    flows = drawn(75, v6=0)
    wire = Wire.of(planned("netflow5", sampling=4_096), 0x0203, BOOT_MS)
    headers, records = dissect(wire.datagrams(flows, NOW_MS))
    assert [header.count for header in headers] == [30, 30, 15]
    assert [header.flowSequence for header in headers] == [0, 30, 60]
    assert {(header.engineType, header.engineID, header.samplingInterval) for header in headers} == {
        (2, 3, 2 << 14 | 4_096)
    }
    assert {(header.unixSecs, header.unixNanoSeconds) for header in headers} == {(1_717_400_000, 123_000_000)}
    # The boot is taken to the whole second before.
    assert {header.sysUptime for header in headers} == {86_400_000 + 123}
    boot_ms = NOW_MS - headers[0].sysUptime
    for flow, record in zip(flows, records, strict=True):
        assert (record.src, record.dst) == tuple(str(ip_address(bytes(flow[end][12:]))) for end in ("src", "dst"))
        assert (record.srcport, record.dstport) == (flow["src_port"], flow["dst_port"])
        assert (record.dpkts, record.dOctets) == (flow["packets"], flow["octets"])
        assert (record.prot, record.tos, int(record.tcpFlags)) == (flow["proto"], flow["tos"], flow["tcp_flags"])
        assert (record.input, record.output, record.nexthop) == (flow["in_if"], flow["out_if"], "0.0.0.0")
        assert (record.src_mask, record.dst_mask) == (24, 24)
        # RFC 6793 section 9: AS_TRANS for a number above 16 bits.
        assert record.src_as == 64_500
        assert record.dst_as == {64_496: 64_496, 65_537: 23_456}[int(flow["dst_as"])]
        assert (boot_ms + record.first, boot_ms + record.last) == (flow["start_ms"], flow["end_ms"])


def test_the_largest_counters_are_whole() -> None:
    flows = drawn(1, v6=0)
    flows["octets"], flows["packets"] = 2**32 - 1, 2**32 - 2
    _, [record] = dissect(Wire.of(planned("netflow5"), 1, BOOT_MS).datagrams(flows, NOW_MS))
    assert (record.dOctets, record.dpkts) == (2**32 - 1, 2**32 - 2)


def test_an_uptime_of_more_than_32_bits_begins_anew() -> None:
    boot_ms = NOW_MS - 2**32 - 10_000
    flows = drawn(20, v6=0)
    [header], records = dissect(Wire.of(planned("netflow5"), 1, boot_ms).datagrams(flows, NOW_MS))
    assert header.sysUptime == 10_000 + boot_ms % 1_000
    for flow, record in zip(flows, records, strict=True):
        age = (header.sysUptime - record.last) % 2**32
        assert NOW_MS - age == flow["end_ms"]
