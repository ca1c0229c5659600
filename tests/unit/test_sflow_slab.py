"""Which sFlow datagrams of a slab are read at once, and what comes of them; that it is the same as one by one is a
property.  The datagrams are written by hand as sFlow Version 5 (sflow.org, July 2004) draws them."""

import struct
from typing import Any

import pytest

from collector.decoder import Decoder, sflow_slab
from collector.decoder.admission import Admission
from collector.decoder.sflow_slab import FEWEST, SFlowSlab
from collector.settings import AdmissionSettings, DecoderSettings
from tests.slabs import slab_of
from tests.wire import NOW, UPTIME, assert_adds_up, counts, rows

MS = (NOW + 1) * 1000
ONE, TWO = "192.0.2.1", "192.0.2.2"
MAPPED = bytes(10) + b"\xff\xff"
FRAME = bytes.fromhex(
    "020000000001 020000000002 8100 0005 0800 4500 0028 0001 0000 40 06 0000 c0000201 c6336407"
    "01bb c001 00000001 00000002 5012 0000 0000 0000"
)
"""Ethernet, VLAN 5, 192.0.2.1:443 to 198.51.100.7:49153, SYN and ACK: 58 octets."""
HEADER = bytes.fromhex("00000001 0000004c 00000001 000005ee 00000004 0000003a") + FRAME + bytes(2)
"""Raw packet header: Ethernet, frame of 1,518 octets of which 4 were stripped, 58 captured and 2 to fill up."""
COMPACT = bytes.fromhex("00000001 00000007 00000200 0000ffff 00000003 00000007 00000008")
"""Sequence number, source, 1 in 512, pool, 3 lost, in and out: all of a flow sample but its records."""
EXPANDED = bytes.fromhex("00000001 00000000 00000007 00000200 0000ffff 00000003 00000000 00000007 00000000 00000008")
SWITCH = bytes.fromhex("000003e9 00000010 00000009 00000000 0000000a 00000000")
ROUTER = bytes.fromhex("000003ea 00000010 00000001 0a000001 00000018 00000010")
ROUTER6 = bytes.fromhex("000003ea 0000001c 00000002 20010db8 00000000 00000000 00000001 00000030 00000040")
GATEWAY = bytes.fromhex(
    "000003eb 0000003c 00000001 0a000002 0000fde8 0000fde9 0000fdea 00000002"  # hop, AS of router, source, neighbour
    "00000002 00000001 0000fbf4 00000001 00000002 0000fbf5 0000fbf6 00000000 00000064"  # a sequence, a set; preference
)
UNKNOWN = bytes.fromhex("00226001 00000003 01020300")
"""Of an enterprise, 3 octets and one to fill up."""
COUNTERS = bytes.fromhex(
    "00000002 0000006c 00000001 00000007 00000001"
    "00000001 00000058 00000007 00000006 00000002540be400 00000001 00000003"
    "0000000000000064 00000001 00000002 00000003 00000004 00000005 ffffffff"
    "ffffffffffffffff 00000006 00000007 00000008 00000009 0000000a 00000000"
)
"""A counter sample of interface 7: 10 Gbit/s, up."""
NAMES = (
    "exporter", "domain", "src_addr", "dst_addr", "src_port", "dst_port", "proto", "tcp_flags", "octets", "in_if",
    "out_if", "src_as", "dst_as", "vlan", "sampling", "next_hop", "src_mask", "dst_mask", "received",
)  # fmt: skip
ROW = {
    "exporter": ONE, "domain": 3, "src_addr": MAPPED + b"\xc0\0\2\1", "dst_addr": MAPPED + b"\xc63d\7",
    "src_port": 443, "dst_port": 49153, "proto": 6, "tcp_flags": 0x12, "octets": 1518, "in_if": 7, "out_if": 8,
    "src_as": 0, "dst_as": 0, "vlan": 5, "sampling": 512, "next_hop": bytes(16), "src_mask": 0, "dst_mask": 0,
    "received": MS,
}  # fmt: skip


def u(*words: int) -> bytes:
    return struct.pack(f"!{len(words)}I", *words)


def flow(*records: bytes, kind: int = 1) -> bytes:
    body = (COMPACT if kind == 1 else EXPANDED) + u(len(records)) + b"".join(records)
    return u(kind, len(body)) + body


def datagram(number: int, *samples: bytes, agent: int = 3, six: bool = False) -> bytes:
    address = u(2) + bytes(16) if six else u(1) + b"\x0a\0\0\1"
    return u(5) + address + u(agent, number, UPTIME, len(samples)) + b"".join(samples)


@pytest.fixture(autouse=True)
def any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small slabs are read at once too."""
    monkeypatch.setattr(sflow_slab, "FEWEST", 1)


def made(settings: DecoderSettings | None = None, admission: Admission | None = None) -> tuple[Decoder, SFlowSlab]:
    decoder = Decoder(settings or DecoderSettings(), "test", admission)
    assert decoder._sflow_slab is not None
    return decoder, decoder._sflow_slab


def read(reader: SFlowSlab, *sent: tuple[str, bytes], cut: tuple[int, ...] = ()) -> list[int]:
    slots = slab_of(sent, MS, cut).slots
    assert slots is not None
    return list(reader.read(slots, MS))


def told(decoder: Decoder) -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in rows(decoder, *NAMES)]


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("kind", [1, 3])
def test_samples_are_rows(six: bool, kind: int) -> None:
    decoder, reader = made()
    one = datagram(1, flow(HEADER, kind=kind), flow(HEADER, UNKNOWN, kind=kind), six=six)
    two = datagram(2, flow(HEADER, kind=kind), six=six)
    assert read(reader, (ONE, one), (TWO, two)) == []
    assert told(decoder) == [ROW, ROW, {**ROW, "exporter": TWO}]
    counted = counts(decoder)
    assert_adds_up(counted, 0)
    del counted["rows"]
    assert counted == {
        "datagrams": 2, "datagrams_decoded": 2, "samples": 3, "samples_flow": 3, "sample_records": 4,
        "sample_records_read": 3, "sample_records_skipped": 1, "records_flow": 3,
    }  # fmt: skip


def test_router_switch_and_gateway() -> None:
    decoder, reader = made()
    untagged = HEADER.replace(b"\x81\0\0\5", b"")
    untagged = u(1, 0x48) + untagged[8:20] + u(54) + untagged[24:]
    samples = (
        flow(HEADER, SWITCH, ROUTER, GATEWAY), flow(SWITCH, GATEWAY, untagged, UNKNOWN), flow(HEADER, ROUTER6, kind=3),
    )  # fmt: skip
    assert read(reader, (ONE, datagram(1, *samples))) == []
    ten = MAPPED + b"\x0a\0\0"
    assert told(decoder) == [
        {**ROW, "next_hop": ten + b"\1", "src_mask": 24, "dst_mask": 16, "src_as": 65001, "dst_as": 64502},
        {**ROW, "next_hop": ten + b"\2", "vlan": 9, "src_as": 65001, "dst_as": 64502},
        {**ROW, "next_hop": b"\x20\1\x0d\xb8" + bytes(11) + b"\1", "src_mask": 48, "dst_mask": 64},
    ]


def test_counters_do_not_spoil_a_slab() -> None:
    decoder, reader = made()
    payloads = (datagram(1, flow(HEADER)), datagram(2, COUNTERS, flow(HEADER)), datagram(3, COUNTERS))
    assert read(reader, *((ONE, payload) for payload in payloads)) == []
    assert len(told(decoder)) == 2
    ((table, observed),) = decoder.take_observations()
    assert table == "interface_counter"
    assert observed == 2 * [{
        "time": NOW + 1, "collector": "test", "exporter": ONE, "domain": 3, "interface": 7, "speed": 10**10,
        "status": 3, "in_octets": 100, "in_packets": 1, "in_multicast": 2, "in_broadcast": 3, "in_discards": 4,
        "in_errors": 5, "out_octets": 0, "out_packets": 6, "out_multicast": 7, "out_broadcast": 8, "out_discards": 9,
        "out_errors": 10,
    }]  # fmt: skip
    counted = counts(decoder)
    assert_adds_up(counted, 0)
    assert (counted["samples_counter"], counted["sample_records_read"]) == (2, 4)
    assert not any(name.startswith("sequence") for name in counted)


@pytest.mark.parametrize(
    "odd",
    [
        datagram(2, flow(HEADER))[:-4], datagram(2, flow(HEADER)) + bytes(4), datagram(2, flow()),
        datagram(2, flow(HEADER), COUNTERS[:4] + u(0x6C - 4) + COUNTERS[8:-4]), datagram(2, *65 * [flow(HEADER)]),
        datagram(2, flow(HEADER, *16 * [UNKNOWN])), datagram(2, flow(SWITCH)), datagram(2, flow(HEADER, SWITCH[:-4])),
        datagram(2, flow(HEADER[:20] + u(61) + HEADER[24:])), datagram(2, flow(HEADER[:20] + u(0) + HEADER[24:])),
        datagram(2, flow(HEADER, u(1002, 16, 3) + ROUTER[12:])),
        datagram(2, flow(HEADER, GATEWAY[:28] + u(9) + GATEWAY[32:])),
    ],
)  # fmt: skip
def test_a_sub_agent_with_one_odd_datagram_is_left_whole(odd: bytes) -> None:
    decoder, reader = made()
    other = datagram(1, flow(HEADER), agent=4)
    sent = ((ONE, datagram(1, flow(HEADER))), (ONE, other), (ONE, odd), (TWO, odd), (TWO, other))
    assert read(reader, *sent) == [0, 2, 3]
    assert [(row["exporter"], row["domain"]) for row in told(decoder)] == [(ONE, 4), (TWO, 4)]


def test_what_was_cut_is_left_and_what_has_no_header_spoils_nobody() -> None:
    _, reader = made()
    good = datagram(1, flow(HEADER))
    assert read(reader, (ONE, good), (TWO, good), (ONE, good[:27]), (ONE, u(5, 3) + good[8:]), cut=(1,)) == [1, 2, 3]


def test_who_is_refused_is_left() -> None:
    decoder, reader = made(admission=Admission(AdmissionSettings(deny=(f"{ONE}/32",))))
    good = datagram(1, flow(HEADER))
    assert read(reader, (ONE, good), (TWO, good)) == [0]
    assert [key[0] for key in decoder._intake.domains.known] == [TWO]


def test_no_domain_goes_for_a_new_one() -> None:
    """Where all are taken, it is the walk that decides who goes."""
    decoder, reader = made(DecoderSettings(domains=1))
    good = datagram(1, flow(HEADER))
    assert read(reader, (ONE, good), (TWO, good)) == [1]
    assert [key[0] for key in decoder._intake.domains.known] == [ONE]


def test_few_datagrams_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sflow_slab, "FEWEST", FEWEST)
    decoder, _ = made()
    for count in (FEWEST - 1, FEWEST):
        slots = slab_of([(ONE, datagram(n, flow(HEADER))) for n in range(count)], MS).slots
        assert slots is not None and decoder._sflow_slab is not None
        assert len(decoder._sflow_slab.read(slots, MS)) == (count if count < FEWEST else 0)


def test_one_long_datagram_among_short_ones() -> None:
    """Short ones are copied side by side, or read where they lie; the last header ends near the memory's end."""
    decoder, reader = made()
    short = [(ONE, datagram(n, flow(HEADER))) for n in range(1, 9)]
    assert read(reader, *short[:4], (TWO, datagram(1, *30 * [flow(HEADER)])), *short[4:]) == []
    assert read(reader, *((ONE, datagram(n, flow(HEADER))) for n in range(9, 12))) == []
    found = told(decoder)
    assert len(found) == 41 and all({**row, "exporter": ONE} == ROW for row in found)


def test_long_headers_are_read_as_short_ones() -> None:
    decoder, reader = made()
    long = u(1, 16 + 600) + HEADER[8:20] + u(600) + FRAME + bytes(600 - len(FRAME))
    assert read(reader, (ONE, datagram(1, flow(long), flow(HEADER))), (ONE, datagram(2, flow(HEADER)))) == []
    assert told(decoder) == 3 * [ROW]


def test_lost_samples_are_followed_in_order() -> None:
    """Totals of a source over datagrams of a slab and over slabs; another sub-agent's are its own."""
    decoder, reader = made()

    def losing(number: int, *totals: int, agent: int = 3) -> tuple[str, bytes]:
        samples = (flow(HEADER).replace(u(0xFFFF, 3), u(0xFFFF, total)) for total in totals)
        return ONE, datagram(number, *samples, agent=agent)

    assert read(reader, losing(1, 2**32 - 5, 2), losing(1, 1000, agent=4), losing(2, 2, 12), losing(3, 3)) == []
    assert read(reader, losing(4, 3, 4)) == []
    assert counts(decoder)["sampler_drops"] == 7 + 10 + 1


def test_a_gap_inside_a_slab_is_missed() -> None:
    decoder, reader = made()
    assert read(reader, *((ONE, datagram(number, flow(HEADER))) for number in (10, 11, 13, 12, 15))) == []
    decoder.close()
    counted = counts(decoder)
    assert (counted["sequence_missed"], counted["sequence_out_of_order"]) == (1, 1)
