"""Fields of every length, addresses of both families, counters, reverse halves, cut datagrams."""

import struct
from ipaddress import ip_address

import pytest

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from sinks.batch import Batch
from sinks.schema import COUNTER_LIMIT, RAW, Flag
from tests.wire import add, counts, flowset, ipfix, rows, take, template, v9


def one_record(*fields: tuple[int, bytes] | tuple[int, bytes, int], version: int = 10) -> Decoder:
    """A decoder that got one record of these elements."""
    decoder = Decoder(DecoderSettings(), "test")
    specifiers = [(field[0], len(field[1]), *field[2:]) for field in fields]
    body = b"".join(field[1] for field in fields)
    if version == 9:
        add(decoder, v9(flowset(0, template(256, *specifiers)), flowset(256, body)))
    else:
        add(decoder, ipfix(flowset(2, template(256, *specifiers)), flowset(256, body)))
    return decoder


def mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + ip_address(address).packed


def flags(decoder: Decoder) -> Flag:
    ((value,),) = rows(decoder, "flags")
    return Flag(value) & ~Flag.NO_FLOW_TIME


def test_a_batch_has_the_raw_columns() -> None:
    batch = take(one_record((7, b"\0\x50")))
    assert batch is not None
    assert list(batch.columns) == [column.name for column in RAW]
    for column in RAW:
        assert batch.columns[column.name].dtype == column.numpy
    assert (batch.text("exporter"), batch.text("collector")) == (["192.0.2.1"], ["test"])


@pytest.mark.parametrize("version", [9, 10])
@pytest.mark.parametrize("length", range(1, 9))
def test_integers_of_every_length(length: int, version: int) -> None:
    octets, packets = 0x0102030405060708 % 256**length, 0x1112131415161718 % 256**length
    decoder = one_record(
        (1, octets.to_bytes(length, "big")), (4, b"\x11"), (2, packets.to_bytes(length, "big")), version=version
    )
    expected = min(octets, COUNTER_LIMIT), 17, min(packets, COUNTER_LIMIT)
    assert rows(decoder, "octets", "proto", "packets") == [expected]


def test_several_records_of_odd_size() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    body = b"".join(struct.pack("!BHIHB", n, 1000 + n, 70_000 + n, n, 6) for n in range(40))
    add(decoder, ipfix(flowset(2, template(256, (210, 1), (7, 2), (10, 4), (1, 2), (4, 1))), flowset(256, body)))
    assert rows(decoder, "src_port", "in_if", "octets") == [(1000 + n, 70_000 + n, n) for n in range(40)]


def test_a_field_wider_than_its_column_gives_its_low_octets() -> None:
    assert rows(one_record((7, (443).to_bytes(4, "big")), (6, b"\0\x1b")), "src_port", "tcp_flags") == [(443, 27)]


def test_fields_of_impossible_length_are_left_out_and_counted() -> None:
    decoder = one_record((8, bytes(3)), (27, bytes(15)), (1, b"\xff" * 16), (152, bytes(4)), (7, b"\0\x50"))
    assert rows(decoder, "src_port", "src_addr", "octets") == [(80, bytes(16), 0)]
    assert counts(decoder)["fields_ignored"] == 4


def test_the_first_of_two_same_elements_counts() -> None:
    assert rows(one_record((7, b"\0\x01"), (7, b"\0\x02"), (11, b"\0\x03")), "src_port", "dst_port") == [(1, 3)]


def test_enterprise_elements_are_skipped_in_ipfix_and_unknown_in_v9() -> None:
    assert rows(one_record((7, b"\0\x09", 9), (7, b"\0\x50")), "src_port") == [(80,)]
    decoder = Decoder(DecoderSettings(), "test")
    # v9 has no enterprise elements: 0x8007 is a type like any other, four octets of template.
    add(decoder, v9(flowset(0, template(256, (0x8007, 2), (7, 2))), flowset(256, b"\0\x09\0\x50")))
    assert rows(decoder, "src_port") == [(80,)]


def test_ipv4_is_mapped_and_ipv6_as_it_is() -> None:
    four = ip_address("192.0.2.7").packed
    six = ip_address("2001:db8::7").packed
    assert rows(one_record((8, four), (12, four), (15, four)), "src_addr", "dst_addr", "next_hop", "ip_version") == [
        (mapped("192.0.2.7"), mapped("192.0.2.7"), mapped("192.0.2.7"), 4)
    ]
    assert rows(one_record((27, six), (28, six), (62, six)), "src_addr", "dst_addr", "next_hop", "ip_version") == [
        (six, six, six, 6)
    ]


def test_a_template_of_both_families() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    four, other = ip_address("192.0.2.7").packed, ip_address("192.0.2.8").packed
    six = ip_address("2001:db8::7").packed
    fields = ((8, 4), (12, 4), (27, 16), (28, 16), (9, 1), (29, 1))
    as_four = four + other + bytes(32) + b"\x18\x40"
    as_six = bytes(8) + six + six + b"\x18\x40"
    neither = bytes(40) + b"\x18\x40"
    from_zero = bytes(4) + other + bytes(16) + six + b"\x18\x40"  # DHCP: 0.0.0.0 is a source
    add(decoder, ipfix(flowset(2, template(256, *fields)), flowset(256, as_four + as_six + neither + from_zero)))
    assert rows(decoder, "src_addr", "dst_addr", "ip_version", "src_mask") == [
        (mapped("192.0.2.7"), mapped("192.0.2.8"), 4, 24),
        (six, six, 6, 64),
        (mapped("0.0.0.0"), mapped("0.0.0.0"), 4, 24),
        (mapped("0.0.0.0"), mapped("192.0.2.8"), 4, 24),
    ]


def test_icmp_from_one_element_or_two() -> None:
    assert rows(one_record((32, b"\x03\x01")), "icmp") == [(0x0301,)]
    assert rows(one_record((178, b"\x80"), (179, b"\x02")), "icmp") == [(0x8002,)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (((1, 100), (23, 7), (2, 3), (24, 9)), (100, 3)),  # not the sum
        (((23, 7), (24, 9)), (7, 9)),
        (((85, 70), (86, 5)), (70, 5)),
        (((231, 40), (232, 50), (298, 2), (299, 3)), (90, 5)),
        (((231, 40), (298, 2)), (0, 0)),  # half of a sum is no sum
    ],
)
def test_counters_of_one_element_or_its_substitutes(
    fields: tuple[tuple[int, int], ...], expected: tuple[int, int]
) -> None:
    decoder = one_record(*((element, value.to_bytes(8, "big")) for element, value in fields))
    assert rows(decoder, "octets", "packets") == [expected]


def test_implausible_counters_are_clamped_and_flagged() -> None:
    largest = (2**64 - 1).to_bytes(8, "big")
    decoder = one_record((1, largest), (2, largest))
    ((octets, packets, found),) = rows(decoder, "octets", "packets", "flags")
    assert (octets, packets) == (COUNTER_LIMIT, COUNTER_LIMIT)
    assert Flag(found) & Flag.IMPLAUSIBLE
    assert counts(decoder)["rows_implausible"] == 1
    assert flags(one_record((1, (65_575).to_bytes(4, "big")), (2, b"\x01"))) == Flag(0)
    assert flags(one_record((1, (65_576).to_bytes(4, "big")), (2, b"\x01"))) == Flag.IMPLAUSIBLE
    assert flags(one_record((1, (65_576).to_bytes(4, "big")))) == Flag(0)  # packets were not said: nothing to compare


def test_reverse_elements_give_a_second_row_with_its_ends_swapped() -> None:
    """RFC 5103 section 6.1: PEN 29305."""
    one, two = ip_address("192.0.2.1").packed, ip_address("192.0.2.2").packed
    fields = (
        (8, one), (12, two), (7, b"\0\x50"), (11, b"\x30\x39"), (10, b"\x01"), (14, b"\x02"), (6, b"\x02"),
        (1, b"\x64"), (2, b"\x01"), (1, b"\xc8", 29_305), (2, b"\x02", 29_305), (6, b"\x12", 29_305),
    )  # fmt: skip
    names = "src_addr", "dst_addr", "src_port", "dst_port", "in_if", "out_if", "tcp_flags", "octets", "packets", "copy"
    decoder = one_record(*fields)
    assert rows(decoder, *names) == [
        (mapped("192.0.2.1"), mapped("192.0.2.2"), 80, 12345, 1, 2, 2, 100, 1, 0),
        (mapped("192.0.2.2"), mapped("192.0.2.1"), 12345, 80, 2, 1, 18, 200, 2, 2),
    ]
    counted = counts(decoder)
    assert (counted["rows"], counted["rows_reverse"], counted["records_flow"]) == (2, 1, 1)


def test_a_reverse_half_that_counted_nothing_is_no_row() -> None:
    assert len(rows(one_record((1, b"\x64"), (1, b"\x00", 29_305)), "octets")) == 1


def test_reverse_rows_are_a_choice() -> None:
    decoder = Decoder(DecoderSettings(reverse=False), "test")
    add(decoder, ipfix(flowset(2, template(256, (1, 4), (1, 4, 29_305))), flowset(256, bytes(3) + b"\1" + b"\1\1\1\1")))
    assert rows(decoder, "octets") == [(1,)]


def test_a_cut_datagram_gives_its_whole_records() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    sets = flowset(0, template(256, (7, 2), (11, 2))), flowset(256, bytes([0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6]))
    add(decoder, v9(*sets)[:-3], cut=True)
    found = rows(decoder, "src_port", "flags")
    assert [port for port, _ in found] == [1, 3]
    assert all(flag & Flag.TRUNCATED for _, flag in found)


def test_v9_flowsets_beyond_the_count_are_read_and_noted() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    sets = flowset(0, template(256, (7, 2))), flowset(256, b"\0\1"), flowset(256, b"\0\2")
    add(decoder, v9(*sets, count=2))
    assert rows(decoder, "src_port") == [(1,), (2,)]
    assert counts(decoder)["length_mismatch"] == 1


def test_large_groups_come_in_batches_of_about_the_rows_asked_for() -> None:
    decoder = Decoder(DecoderSettings(rows=1000), "test")
    add(decoder, ipfix(flowset(2, template(256, (7, 2)))))
    for first in range(0, 5000, 50):
        body = b"".join(number.to_bytes(2, "big") for number in range(first, first + 50))
        add(decoder, ipfix(flowset(256, body), domain=1))
    assert decoder.waiting() == 5000
    batches = []
    while (batch := decoder.take()) is not None:
        assert len(batch) <= 1000
        batches.append(batch)
    assert Batch.concat(batches).columns["src_port"].tolist() == list(range(5000))
    assert decoder.waiting() == 0
