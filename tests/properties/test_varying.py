"""Records of variable length survive the wire, however they are cut into datagrams and groups; hostile lengths too."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from sinks.batch import Batch
from tests.wire import add, assert_adds_up, counts, flowset, ipfix, rows, take, template, v9

_FIELDS = ((7, 2), (82, 65_535), (1, 5), (11, 2), (292, 65_535), (4, 1), (83, 65_535), (10, 4))
_NAMES = ("src_port", "octets", "dst_port", "proto", "in_if")
_TEXTS = st.one_of(
    st.binary(max_size=12), st.binary(min_size=253, max_size=258), st.integers(0, 700).map(lambda size: bytes(size))
)
_RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1), _TEXTS, st.integers(0, 2**40 - 1), st.integers(0, 2**16 - 1), _TEXTS,
        st.integers(0, 255), _TEXTS, st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


_Record = tuple[int, bytes, int, int, bytes, int, bytes, int]


def variable(octets: bytes, long: bool) -> bytes:
    """RFC 7011 section 7: a length in one octet, or in two after an octet of 255, which short values may use too."""
    if long or len(octets) > 254:
        return b"\xff" + struct.pack("!H", len(octets)) + octets
    return bytes([len(octets)]) + octets


@settings(deadline=None)
@given(_RECORDS, st.data())
def test_any_split_gives_the_same_rows(records: list[_Record], data: st.DataObject) -> None:
    decoder = Decoder(DecoderSettings(rows=data.draw(st.integers(1, 40))), "test")
    add(decoder, ipfix(flowset(2, template(256, *_FIELDS))))
    found: list[tuple[int, ...]] = []
    body, sets = b"", []
    for src_port, one, octets, dst_port, two, proto, three, in_if in records:
        long = data.draw(st.booleans())
        body += struct.pack("!H", src_port) + variable(one, long) + octets.to_bytes(5, "big")
        body += struct.pack("!H", dst_port) + variable(two, False) + bytes([proto]) + variable(three, long)
        body += struct.pack("!I", in_if)
        what = data.draw(st.sampled_from(["record", "set", "datagram", "group"]))
        if what == "record":
            continue
        sets.append(flowset(256, body + bytes(data.draw(st.integers(0, 3)))))
        body = b""
        if what != "set":
            add(decoder, ipfix(*sets))
            sets = []
        if what == "group":
            found += rows(decoder, *_NAMES)
    add(decoder, ipfix(*sets, *([flowset(256, body)] if body else [])))
    found += rows(decoder, *_NAMES)
    assert found == [(record[0], record[2], record[3], record[5], record[7]) for record in records]
    counted = counts(decoder)
    assert counted["records_flow"] == len(records)
    assert "sets_cut" not in counted
    assert_adds_up(counted, 0)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 4, 7, 65_535]), min_size=1, max_size=6).filter(lambda sizes: 65_535 in sizes),
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from([254, 255]), st.integers(0, 255)), max_size=300).map(bytes),
)
def test_hostile_lengths_give_the_records_of_a_slow_reader(sizes: list[int], body: bytes) -> None:
    """Ports of each record, read octet by octet."""
    fields = [(210, size) for size in sizes]
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, ipfix(flowset(2, template(256, (7, 2), *fields, (11, 1))), flowset(256, body)))
    expected, used = slowly([2, *sizes, 1], body)
    assert rows(decoder, "src_port", "dst_port") == expected
    counted = counts(decoder)
    assert counted.get("records_flow", 0) == len(expected)
    assert counted.get("sets_dropped_short_set", 0) == (not expected)
    if expected and any(body[used:]):
        assert counted["sets_cut"] == 1
    assert_adds_up(counted, 0)


def slowly(sizes: list[int], body: bytes) -> tuple[list[tuple[int, int]], int]:
    """First and last field of each whole record, and the octets they take in all."""
    found: list[tuple[int, int]] = []
    rest = body
    while rest:
        begin, values = rest, []
        for size in sizes:
            if size == 65_535:
                if not rest:
                    return found, len(body) - len(begin)
                size, rest = rest[0], rest[1:]
                if size == 255:
                    if len(rest) < 2:
                        return found, len(body) - len(begin)
                    size, rest = int.from_bytes(rest[:2], "big"), rest[2:]
            if len(rest) < size:
                return found, len(body) - len(begin)
            values.append(int.from_bytes(rest[:size], "big"))
            rest = rest[size:]
        found.append((values[0], values[-1]))
    return found, len(body)


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**16 - 1)), min_size=1, max_size=20))
def test_held_sets_are_the_same_records(records: list[tuple[bytes, int]]) -> None:
    body = b"".join(variable(text, False) + struct.pack("!H", port) for text, port in records)
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, ipfix(flowset(256, body)), ipfix(flowset(2, template(256, (82, 65_535), (7, 2)))))
    assert rows(decoder, "src_port") == [(port,) for _, port in records]
    counted = counts(decoder)
    assert counted["held_decoded"] == 1
    assert_adds_up(counted, 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1)), min_size=1, max_size=20)
)
def test_a_template_redefined_inside_a_group_holds_from_there_on(changes: list[tuple[bool, int, int]]) -> None:
    """Source port first or destination port first: each record is read as its template said when it came."""
    for version, wrap, number in ((9, v9, 0), (10, ipfix, 2)):
        decoder = Decoder(DecoderSettings(), "test")
        for swapped, src_port, dst_port in changes:
            fields = ((11, 2), (7, 2)) if swapped else ((7, 2), (11, 2))
            ports = (dst_port, src_port) if swapped else (src_port, dst_port)
            add(decoder, wrap(flowset(number, template(256, *fields)), flowset(256, struct.pack("!HH", *ports))))
        # Records of one layout come together: in order within it.
        found = rows(decoder, "src_port", "dst_port")
        assert sorted(found) == sorted((src, dst) for _, src, dst in changes), version


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 100))
def test_any_split_of_v5_gives_the_same_rows(sizes: list[int], batch_rows: int) -> None:
    """The octets of each record count from 0 over all datagrams."""
    decoder = Decoder(DecoderSettings(rows=batch_rows), "test")
    number = 0
    for size in sizes:
        body = b""
        for _ in range(size):
            body += bytes(20) + struct.pack("!I", number) + bytes(24)
            number += 1
        add(decoder, struct.pack("!HHIIIIBBH", 5, size, 0, 1_700_000_000, 0, 0, 0, 0, 0) + body)
    batches: list[Batch] = []
    while (batch := decoder.take()) is not None:
        batches.append(batch)
    assert Batch.concat(batches).columns["octets"].tolist() == list(range(number))
    assert take(decoder) is None
