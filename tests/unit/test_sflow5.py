"""sFlow version 5: datagrams written by hand as the specification draws them (sflow.org, sFlow Version 5)."""

import struct
from typing import Any

import pytest

from collector.decoder import COUNTERS, Decoder
from collector.settings import DecoderSettings, SamplingSettings
from sinks.schema import OBSERVATIONS, Flag, SamplingSource
from tests.wire import NOW, add, assert_adds_up, counts, rows, take

RECEIVED_MS = (NOW + 1) * 1000
FRAME = bytes.fromhex(
    "020000000001 020000000002 8100 0005 0800 4500 0028 0001 0000 40 06 0000 c0000201 c6336407"
    "01bb c001 00000001 00000002 5012 0000 0000 0000"
)
FOUR = bytes([192, 0, 2, 1])
OTHER = bytes([198, 51, 100, 7])
MAPPED = bytes(10) + b"\xff\xff"


def u(*words: int) -> bytes:
    return struct.pack(f"!{len(words)}I", *words)


def opaque(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A sample or a record: data format, length, octets filled up to four."""
    return u(kind, len(body) if length is None else length) + body + bytes(-len(body) % 4)


def datagram(*samples: bytes, count: int | None = None, agent: int = 3, six: bool = False, number: int = 77) -> bytes:
    address = u(2) + bytes(16) if six else u(1) + b"\x0a\0\0\1"
    return u(5) + address + u(agent, number, 123_456, len(samples) if count is None else count) + b"".join(samples)


def flow(*records: bytes, rate: int = 64, in_if: int = 7, out_if: int = 8, drops: int = 0, count: int = -1) -> bytes:
    body = u(1, 7, rate, 1000, drops, in_if, out_if, len(records) if count < 0 else count)
    return opaque(1, body + b"".join(records))


def expanded(*records: bytes, in_if: tuple[int, int] = (0, 7), out_if: tuple[int, int] = (0, 8)) -> bytes:
    return opaque(3, u(1, 0, 7, 64, 1000, 0, *in_if, *out_if, len(records)) + b"".join(records))


def header(frame: bytes = FRAME, size: int = 1518, protocol: int = 1) -> bytes:
    return opaque(1, u(protocol, size, 4, len(frame)) + frame + bytes(-len(frame) % 4))


def decode(*payloads: bytes, settings: DecoderSettings | None = None) -> tuple[Decoder, list[dict[str, Any]]]:
    decoder = Decoder(settings or DecoderSettings(), "test")
    add(decoder, *payloads)
    names = (
        "exporter", "domain", "ts", "ts_start", "received", "src_addr", "dst_addr", "src_port", "dst_port", "proto",
        "tcp_flags", "octets", "packets", "in_if", "out_if", "src_as", "dst_as", "vlan", "sampling", "sampling_source",
        "flags", "ip_version", "next_hop", "tos", "src_mask", "dst_mask", "icmp", "copy",
    )  # fmt: skip
    return decoder, [dict(zip(names, row, strict=True)) for row in rows(decoder, *names)]


def tally(decoder: Decoder) -> dict[str, int]:
    counted = counts(decoder)
    assert set(counted) <= set(COUNTERS)
    assert_adds_up(counted, 0)
    return counted


@pytest.mark.parametrize("six", [False, True])
def test_a_sample_is_a_row(six: bool) -> None:
    decoder, (row,) = decode(datagram(flow(header()), six=six))
    assert row == {
        "exporter": "192.0.2.1", "domain": 3, "ts": RECEIVED_MS, "ts_start": RECEIVED_MS, "received": RECEIVED_MS,
        "src_addr": MAPPED + FOUR, "dst_addr": MAPPED + OTHER, "src_port": 443, "dst_port": 49153, "proto": 6,
        "tcp_flags": 0x12, "octets": 1518, "packets": 1, "in_if": 7, "out_if": 8, "src_as": 0, "dst_as": 0, "vlan": 5,
        "sampling": 64, "sampling_source": SamplingSource.HEADER, "flags": 0, "ip_version": 4, "next_hop": bytes(16),
        "tos": 0, "src_mask": 0, "dst_mask": 0, "icmp": 0, "copy": 0,
    }  # fmt: skip
    counted = tally(decoder)
    assert counted["datagrams_decoded"] == counted["samples_flow"] == counted["records_flow"] == counted["rows"] == 1


def test_both_kinds_of_samples_say_the_same() -> None:
    _, (one, other) = decode(datagram(flow(header()), expanded(header())))
    assert one == other


@pytest.mark.parametrize(
    ("said", "index"),
    [
        (12, 12), (0x3FFFFFFE, 0x3FFFFFFE), (0x3FFFFFFF, 0),  # the device itself
        (0x40000102, 0),  # discarded, reason 258
        (0x80000003, 0),  # three destinations
    ],
)  # fmt: skip
def test_interface_formats(said: int, index: int) -> None:
    _, (row,) = decode(datagram(flow(header(), in_if=said, out_if=said)))
    assert (row["in_if"], row["out_if"]) == (index, index)


def test_expanded_interfaces_have_all_bits() -> None:
    _, found = decode(datagram(expanded(header(), in_if=(0, 0xFEDCBA98), out_if=(1, 258))))
    assert [(row["in_if"], row["out_if"]) for row in found] == [(0xFEDCBA98, 0)]


def test_router_switch_and_gateway() -> None:
    switch = opaque(1001, u(9, 0, 10, 0))
    router = opaque(1002, u(1) + FOUR + u(24, 16))
    path = u(2, 2, 2, 64500, 64501, 1, 3, 64502, 64503, 64504)  # a sequence of two, a set of three
    gateway = opaque(1003, u(1) + OTHER + u(65000, 65001, 65002) + path + u(1, 99, 100))
    _, (row, untagged) = decode(
        datagram(
            flow(header(), switch, router, gateway),
            flow(header(FRAME[:12] + FRAME[16:]), switch, gateway),
        )
    )
    assert (row["vlan"], untagged["vlan"]) == (5, 9)  # the frame's own tag; without one the switch's word
    assert (row["src_mask"], row["dst_mask"]) == (24, 16)
    assert (row["src_as"], row["dst_as"]) == (65001, 64504)
    assert row["next_hop"] == MAPPED + FOUR
    assert untagged["next_hop"] == MAPPED + OTHER


def test_an_empty_path_stays_in_this_as() -> None:
    gateway = opaque(1003, u(2) + bytes(15) + b"\1" + u(65000, 0, 0, 0, 0, 100))
    _, (row,) = decode(datagram(flow(header(), gateway)))
    assert (row["src_as"], row["dst_as"], row["next_hop"]) == (0, 0, bytes(15) + b"\1")


def test_addresses_in_records_of_their_own() -> None:
    four = opaque(3, u(1400, 17) + FOUR + OTHER + u(53, 4000, 0, 0xB8))
    six = opaque(4, u(1300, 6) + bytes(15) + b"\1" + bytes(15) + b"\2" + u(1, 2, 0x10, 3))
    ethernet = opaque(2, u(1450) + bytes(16) + u(0x0800))
    decoder, (one, two, three, both) = decode(
        datagram(flow(four), flow(six), flow(ethernet, four), flow(four, header()))
    )
    names = ("ip_version", "src_addr", "dst_addr", "proto", "src_port", "dst_port", "tcp_flags", "tos", "octets")
    assert [one[name] for name in names] == [4, MAPPED + FOUR, MAPPED + OTHER, 17, 53, 4000, 0, 0xB8, 1400]
    assert [two[name] for name in names] == [6, bytes(15) + b"\1", bytes(15) + b"\2", 6, 1, 2, 0x10, 3, 1300]
    assert three["octets"] == 1450
    assert (both["dst_port"], both["octets"]) == (49153, 1518)
    assert tally(decoder)["samples_flow"] == 4


def test_long_headers_are_read_as_short_ones() -> None:
    long = FRAME + bytes(400)
    _, found = decode(datagram(flow(header(long)), flow(header()), flow(header(FRAME + bytes(3000)))))
    assert [(row["src_port"], row["dst_port"]) for row in found] == [(443, 49153)] * 3


def test_counter_samples_are_observations() -> None:
    first = u(12, 6) + struct.pack("!Q", 10**10) + u(1, 3)
    ways = struct.pack("!QIIIIII", 2**40, 1, 2, 3, 4, 5, 0) + struct.pack("!QIIIIII", 2**41, 6, 7, 8, 9, 2**32 - 1, 0)
    generic = opaque(1, first + ways)
    assert len(generic) == 8 + 88
    ethernet = opaque(2, bytes(52))
    decoder, found = decode(
        datagram(opaque(2, u(1, 12, 2) + generic + ethernet), opaque(4, u(1, 0, 12, 1) + generic), six=True)
    )
    assert not found
    ((table, observed),) = decoder.take_observations()
    assert table == "interface_counter"
    assert observed == 2 * [{
        "time": NOW + 1, "collector": "test", "exporter": "192.0.2.1", "domain": 3, "interface": 12,
        "speed": 10**10, "status": 3, "in_octets": 2**40, "in_packets": 1, "in_multicast": 2, "in_broadcast": 3,
        "in_discards": 4, "in_errors": 5, "out_octets": 2**41, "out_packets": 6, "out_multicast": 7, "out_broadcast": 8,
        "out_discards": 9, "out_errors": 0,
    }]  # fmt: skip
    assert set(observed[0]) == {column.name for column in OBSERVATIONS["interface_counter"]}
    assert decoder.take_observations() == []
    counted = tally(decoder)
    assert counted["samples_counter"] == 2
    assert (counted["sample_records_read"], counted["sample_records_skipped"]) == (2, 1)


def test_other_samples_are_counted() -> None:
    unknown = opaque(4096 * 9 + 1, bytes(40))
    decoder, found = decode(datagram(opaque(5, bytes(60)), unknown, flow(header(), opaque(1007, bytes(16)))))
    assert len(found) == 1
    counted = tally(decoder)
    assert counted["samples_discarded_packet"] == counted["samples_skipped"] == counted["samples_flow"] == 1
    assert counted["sample_records_skipped"] == 1


def test_samples_the_exporter_lost() -> None:
    """A total of each source since it started: it may wrap, and it may begin anew."""
    decoder, _ = decode(*(datagram(flow(header(), drops=drops)) for drops in (2**32 - 5, 2**32 - 5, 2, 12, 3)))
    assert tally(decoder)["sampler_drops"] == 7 + 10


def test_an_interval_of_nothing_is_not_believed() -> None:
    said = DecoderSettings(sampling=SamplingSettings(default={"0.0.0.0/0": 512}))
    assert [row["sampling"] for row in decode(datagram(flow(header(), rate=0)), settings=said)[1]] == [512]
    _, (row,) = decode(datagram(flow(header(), rate=0)))
    assert (row["sampling"], row["sampling_source"]) == (1, SamplingSource.ASSUMED)


def test_the_operators_word_wins() -> None:
    said = DecoderSettings(sampling=SamplingSettings(override={"192.0.2.0/24": 100}))
    _, (row,) = decode(datagram(flow(header())), settings=said)
    assert (row["sampling"], row["sampling_source"]) == (100, SamplingSource.OVERRIDE)


GOOD = flow(header())


@pytest.mark.parametrize(
    ("payload", "sound", "counter"),
    [
        (datagram(GOOD, GOOD, count=1), 1, "samples_dropped_beyond_count"),
        (datagram(GOOD, count=2**32 - 1), 1, "samples_dropped_bad_sample_length"),
        (datagram(GOOD, u(1, 2**32 - 1) + GOOD[8:]), 1, "samples_dropped_bad_sample_length"),
        (datagram(GOOD, opaque(1, bytes(31))), 1, "samples_dropped_short_sample"),
        (datagram(GOOD, opaque(3, bytes(43))), 1, "samples_dropped_short_sample"),
        (datagram(GOOD, opaque(2, bytes(8))), 1, "samples_dropped_short_sample"),
        (datagram(GOOD, flow()), 1, "samples_dropped_no_packet"),
        (datagram(flow(header(), count=2**32 - 1)), 1, "sample_records_dropped_bad_record_length"),
        (datagram(flow(header(), header(), count=1)), 1, "sample_records_dropped_beyond_count"),
        (datagram(flow(header(), opaque(1002, u(1, 0)))), 1, "sample_records_dropped_short_record"),
        (datagram(flow(header(), opaque(1003, u(1, 0, 1, 2, 3, 2**32 - 1)))), 1, "sample_records_dropped_short_record"),
        (datagram(flow(header(), opaque(1003, u(1, 0, 1, 2, 3, 1, 2, 2**31)))), 1,
         "sample_records_dropped_short_record"),
        (datagram(flow(opaque(1, u(1, 60, 0, 61) + FRAME + bytes(2)))), 0, "sample_records_dropped_bad_record_length"),
        (datagram(GOOD)[:-70], 0, "datagrams_dropped_no_sound_sample"),
        (datagram()[:27], 0, "datagrams_dropped_short_header"),
        (u(5), 0, "datagrams_dropped_short_header"),
        (u(5, 9) + bytes(60), 0, "datagrams_dropped_bad_agent"),
        (u(4, 1) + bytes(60), 0, "datagrams_dropped_unknown_version"),
    ],
)  # fmt: skip
def test_what_is_sound_is_kept_and_the_rest_counted(payload: bytes, sound: int, counter: str) -> None:
    decoder, found = decode(payload)
    assert len(found) == sound
    assert tally(decoder)[counter] == 1


def test_datagrams_that_are_missed_are_seen_by_their_numbers() -> None:
    decoder, _ = decode(*(datagram(GOOD, number=number) for number in (5, 6, 10, 10, 11)))
    decoder.close()
    counted = tally(decoder)
    assert (counted["sequence_missed"], counted["sequence_duplicate"]) == (3, 1)


def test_no_samples_is_no_fault() -> None:
    decoder, _ = decode(datagram())
    assert tally(decoder)["datagrams_decoded"] == 1


def test_a_datagram_longer_than_its_slot() -> None:
    """What fitted is read; the sample that was cut keeps its whole records."""
    decoder = Decoder(DecoderSettings(), "test")
    payload = datagram(GOOD, flow(header(), opaque(1001, bytes(16))))
    add(decoder, payload[:-4], cut=True)
    assert rows(decoder, "vlan", "flags") == [(5, Flag.TRUNCATED)] * 2
    assert tally(decoder)["sample_records_dropped_bad_record_length"] == 1


def test_an_unsound_packet_is_flagged_and_keeps_its_octets() -> None:
    decoder, (row,) = decode(datagram(flow(header(FRAME[:18] + b"\x40" + FRAME[19:]))))
    assert (row["octets"], row["ip_version"], row["flags"]) == (1518, 0, Flag.UNSOUND_PACKET)
    assert tally(decoder)["rows_unsound_packet"] == 1


def test_frames_larger_than_any_packet_are_implausible() -> None:
    _, (row,) = decode(datagram(flow(header(size=2**32 - 1))))
    assert row["flags"] == Flag.IMPLAUSIBLE


def test_two_decoders_share_nothing() -> None:
    one, other = (Decoder(DecoderSettings(), name) for name in ("one", "other"))
    for decoder in (one, other, one):
        add(decoder, datagram(GOOD))
    lengths = [len(batch) if (batch := take(decoder)) else 0 for decoder in (one, other)]
    assert lengths == [2, 1]
