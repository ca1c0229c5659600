"""NetFlow v5: records as scapy encodes them, the header's sampling, false counts, the uptime's wrap."""

import struct
from ipaddress import ip_address

import pytest
from scapy.layers.netflow import NetflowHeader, NetflowHeaderV5, NetflowRecordV5

from collector.decoder import Decoder
from collector.settings import DecoderSettings, SamplingSettings
from sinks.schema import Flag, SamplingSource
from tests.wire import NOW, UPTIME, add, assert_adds_up, counts, rows


def message(
    count: int, records: int, sampling: int = 0, uptime: int = UPTIME, first: int = 0, nanoseconds: int = 0,
    engine: tuple[int, int] = (0, 0),
) -> bytes:  # fmt: skip
    """Header and records whose octets count from 1; ``first`` is both uptimes of each."""
    head = struct.pack("!HHIIIIBBH", 5, count, uptime, NOW, nanoseconds, 0, *engine, sampling)
    times = first or uptime
    return head + b"".join(
        struct.pack("!4s4s4sHHIIIIHHxBBBHHBBxx", bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes(4), 1, 2, 1,
                    number + 1, times, times, 80, 443, 24, 6, 8, 1, 2, 24, 16)
        for number in range(records)
    )  # fmt: skip


def test_a_record_of_scapys_is_ours() -> None:
    record = NetflowRecordV5(
        src="192.0.2.1", dst="198.51.100.2", nexthop="203.0.113.3", input=65_535, output=7, dpkts=9,
        dOctets=4_000_000_000, first=1000, last=2000, srcport=65_534, dstport=53, tcpFlags=0x12, prot=17, tos=0xB8,
        src_as=64_500, dst_as=64_501, src_mask=25, dst_mask=8,
    )  # fmt: skip
    head = NetflowHeader(version=5) / NetflowHeaderV5(
        count=1, sysUptime=3000, unixSecs=NOW, unixNanoSeconds=500_000_000, engineType=2, engineID=3
    )
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, bytes(head / record))
    names = (
        "exporter", "domain", "src_addr", "dst_addr", "next_hop", "in_if", "out_if", "packets", "octets", "ts_start",
        "ts", "src_port", "dst_port", "tcp_flags", "proto", "tos", "src_as", "dst_as", "src_mask", "dst_mask",
        "ip_version", "sampling", "sampling_source",
    )  # fmt: skip
    four = [bytes(10) + b"\xff\xff" + ip_address(each).packed for each in ("192.0.2.1", "198.51.100.2", "203.0.113.3")]
    assert rows(decoder, *names) == [
        (
            "192.0.2.1", 0x203, *four, 65_535, 7, 9, 4_000_000_000, NOW * 1000 - 1500, NOW * 1000 - 500, 65_534, 53,
            0x12, 17, 0xB8, 64_500, 64_501, 25, 8, 4, 1, SamplingSource.ASSUMED,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "present", "read"), [(2, 2, 2), (1, 2, 1), (3, 2, 2), (100, 2, 2), (0, 2, 2), (55_582, 30, 30)]
)
def test_a_false_count_gives_the_records_that_are_announced_and_there(count: int, present: int, read: int) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(count, present))
    assert [octets for (octets,) in rows(decoder, "octets")] == list(range(1, read + 1))
    counted = counts(decoder)
    assert counted.get("length_mismatch", 0) == (count != present)
    assert counted["records_flow"] == counted["rows"] == read
    assert_adds_up(counted, 0)


@pytest.mark.parametrize(
    ("octets", "reason"), [(2, "short_header"), (23, "short_header"), (24, "no_record"), (71, "no_record")]
)
def test_a_datagram_without_a_record_is_dropped(octets: int, reason: str) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(1, 1)[:octets])
    counted = counts(decoder)
    assert counted[f"datagrams_dropped_{reason}"] == counted["datagrams"] == 1
    assert_adds_up(counted, 0)


def test_a_cut_datagram_gives_its_whole_records() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(3, 3)[:-1], cut=True)
    found = rows(decoder, "octets", "flags")
    assert [octets for octets, _ in found] == [1, 2]
    assert all(flags & Flag.TRUNCATED for _, flags in found)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (0x0000, (1, SamplingSource.ASSUMED)),
        (0x4000, (1, SamplingSource.ASSUMED)),  # a mode without an interval says nothing
        (0x0001, (1, SamplingSource.HEADER)),
        (0x4064, (100, SamplingSource.HEADER)),
        (0x03E8, (1000, SamplingSource.HEADER)),  # Juniper leaves the mode out
        (0xFFFF, (16_383, SamplingSource.HEADER)),
    ],
)
def test_sampling_of_the_header(field: int, expected: tuple[int, SamplingSource]) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(1, 1, sampling=field))
    assert rows(decoder, "sampling", "sampling_source") == [expected]


def test_sampling_that_changes_holds_from_its_own_header_on() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    for sampling in (0, 100, 100, 200, 0):
        add(decoder, message(1, 1, sampling=sampling))
    add(decoder, message(1, 1, sampling=7, engine=(0, 1)))
    found = rows(decoder, "domain", "sampling", "sampling_source")
    header, assumed = SamplingSource.HEADER, SamplingSource.ASSUMED
    assert found == [
        (0, 1, assumed), (0, 100, header), (0, 100, header), (0, 200, header), (0, 1, assumed), (1, 7, header)
    ]  # fmt: skip


def test_the_operators_word_stands_over_the_header_and_under_it() -> None:
    for words, expected in (
        (SamplingSettings(override={"192.0.2.0/24": 5}), (5, SamplingSource.OVERRIDE)),
        (SamplingSettings(default={"192.0.2.0/24": 5}), (100, SamplingSource.HEADER)),
    ):
        decoder = Decoder(DecoderSettings(sampling=words), "test")
        add(decoder, message(1, 1, sampling=100))
        assert rows(decoder, "sampling", "sampling_source") == [expected]


def test_the_uptime_wraps() -> None:
    """A flow that ended 50 ms before the 32 bits of the uptime began again, 20 ms before the export."""
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(1, 1, uptime=20, first=2**32 - 50))
    assert rows(decoder, "ts") == [(NOW * 1000 - 70,)]


def test_nanoseconds_beyond_a_second_are_no_time() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, message(1, 1, nanoseconds=2**32 - 1), message(1, 1, nanoseconds=999_999_999))
    assert rows(decoder, "ts") == [(NOW * 1000 + 999,), (NOW * 1000 + 999,)]


def test_two_decoders_share_nothing() -> None:
    one, other = (Decoder(DecoderSettings(), name) for name in ("one", "other"))
    for decoder in (one, other, one):
        add(decoder, message(1, 1))
    assert [len(rows(decoder, "octets")) for decoder in (one, other)] == [2, 1]
