"""Sections of packets in v9 and IPFIX records (RFC 5477 section 8.5): what a record does not say, its packet does."""

import pytest

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from sinks.schema import Flag
from tests.wire import Field, add, assert_adds_up, counts, flowset, ipfix, rows, template, v9

IP = bytes.fromhex("4500 0028 0001 0000 40 06 0000 c0000201 c6336407 01bb c001 00000001 00000002 5012 0000 0000 0000")
FRAME = bytes.fromhex("020000000001 020000000002 8100 0005 0800") + IP
NAMES = ("ip_version", "proto", "src_port", "dst_port", "tcp_flags", "vlan", "octets", "packets", "flags")
SEEN = (4, 6, 443, 49153, 0x12, 5, 40, 1, Flag.NO_FLOW_TIME)
NOTHING = (0, 0, 0, 0, 0, 0, 0, 1, Flag.NO_FLOW_TIME)


def read(fields: list[Field], record: bytes, version: int = 10) -> tuple[int, ...]:
    decoder = Decoder(DecoderSettings(), "test")
    if version == 9:
        add(decoder, v9(flowset(0, template(300, *fields)), flowset(300, record)))
    else:
        add(decoder, ipfix(flowset(2, template(300, *fields)), flowset(300, record)))
    (row,) = rows(decoder, *NAMES)
    assert_adds_up(counts(decoder), 0)
    return row


def varying(section: bytes) -> bytes:
    """RFC 7011 section 7: a length in one octet, or 255 and two."""
    return (bytes([len(section)]) if len(section) < 255 else b"\xff" + len(section).to_bytes(2, "big")) + section


@pytest.mark.parametrize("version", [9, 10])
@pytest.mark.parametrize("element", [315, 104])
def test_frames_of_fixed_length(element: int, version: int) -> None:
    assert read([(element, 64)], FRAME + bytes(64 - len(FRAME)), version) == SEEN


@pytest.mark.parametrize("behind", [0, 1, 300])
def test_frames_of_variable_length(behind: int) -> None:
    assert read([(315, 65_535)], varying(FRAME + bytes(behind))) == SEEN


def test_packets_without_a_frame() -> None:
    assert read([(313, 40)], IP) == (*SEEN[:5], 0, *SEEN[6:])


def test_the_frame_as_long_as_it_was_on_the_wire() -> None:
    found = read([(312, 2), (315, 65_535)], (1_518).to_bytes(2, "big") + varying(FRAME))
    assert found[NAMES.index("octets")] == 1_518


def test_the_record_itself_wins() -> None:
    fields: list[Field] = [(1, 4), (2, 4), (7, 2), (58, 2), (315, 65_535)]
    said = (9_000).to_bytes(4, "big") + (3).to_bytes(4, "big") + (80).to_bytes(2, "big") + (9).to_bytes(2, "big")
    assert read(fields, said + varying(FRAME)) == (4, 6, 80, 49153, 0x12, 9, 9_000, 3, Flag.NO_FLOW_TIME)


@pytest.mark.parametrize("element", [409, 102])
def test_a_section_from_further_in_is_not_read(element: int) -> None:
    assert read([(element, 2), (315, 65_535)], b"\0\x10" + varying(FRAME)) == NOTHING
    assert read([(element, 2), (315, 65_535)], b"\0\0" + varying(FRAME)) == SEEN


def test_frames_that_are_not_ethernet_are_not_read() -> None:
    assert read([(408, 2), (315, 65_535)], b"\0\x02" + varying(FRAME)) == NOTHING
    assert read([(408, 2), (315, 65_535)], b"\0\x01" + varying(FRAME)) == SEEN


def test_of_a_filled_section_only_the_packet_is_read() -> None:
    """38 octets, to the end of the IP header: what is behind them is filling, whatever it looks like."""
    cut = read([(410, 2), (315, 64)], (38).to_bytes(2, "big") + FRAME + bytes(64 - len(FRAME)))
    assert cut == (4, 6, 0, 0, 0, 5, 40, 1, Flag.NO_FLOW_TIME)


def test_sections_that_are_empty_or_unsound() -> None:
    assert read([(315, 65_535)], varying(b"")) == NOTHING
    unsound = read([(315, 65_535)], varying(FRAME[:20]))
    assert unsound == (0, 0, 0, 0, 0, 5, 0, 1, Flag.NO_FLOW_TIME | Flag.UNSOUND_PACKET)


def test_a_packet_is_observed_at_a_time() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    observed = 1_700_000_000_123
    record = observed.to_bytes(8, "big") + varying(FRAME)
    add(decoder, ipfix(flowset(2, template(300, (323, 8), (315, 65_535))), flowset(300, record)))
    assert rows(decoder, "ts_start", "ts", "flags") == [(observed, observed, 0)]
