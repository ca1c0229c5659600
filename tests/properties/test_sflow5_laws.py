"""Laws of sFlow: any octets are survived and accounted for, and so is every datagram that was sound before."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.decoder import COUNTERS, Decoder
from collector.settings import DecoderSettings
from tests.wire import add, assert_adds_up, counts, rows, take

_WORD = st.one_of(st.integers(0, 40), st.sampled_from((2**16, 2**31 - 1, 2**31, 2**32 - 1)), st.integers(0, 2**32 - 1))
_KINDS = st.sampled_from((1, 2, 3, 4, 5, 1001, 1002, 1003, 1007, 4097))
_TCP = bytes.fromhex(
    "0200000000010200000000020800 45000028000100004006 0000 c0000201c6336407 01bbc0010000000100000002501200000000 0000"
)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record of a sample whose words and length are anything."""
    kind = draw(_KINDS)
    body = b"".join(struct.pack("!I", word) for word in draw(st.lists(_WORD, max_size=24)))
    length = draw(st.one_of(st.just(len(body)), _WORD))
    return struct.pack("!II", kind, length) + body


@st.composite
def samples(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from((1, 2, 3, 4, 5, 9)))
    words = draw(st.lists(_WORD, min_size=2, max_size=11))
    body = b"".join(struct.pack("!I", word) for word in words) + b"".join(draw(st.lists(records(), max_size=3)))
    length = draw(st.one_of(st.just(len(body)), st.just(len(body)), _WORD))
    return struct.pack("!II", kind, length) + body


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    body = b"".join(draw(st.lists(samples(), max_size=4)))
    count = draw(st.one_of(st.integers(0, 5), _WORD))
    whole = struct.pack("!IIIIIII", 5, 1, 1, draw(st.integers(0, 2)), draw(_WORD), draw(_WORD), count) + body
    return whole[: draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))]


@given(st.lists(st.one_of(datagrams(), st.binary(max_size=90).map(lambda rest: b"\0\0\0\5" + rest)), max_size=5),
       st.booleans())  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_octets_are_accounted_for(payloads: list[bytes], cut: bool) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, *payloads, cut=cut)
    batch = take(decoder)
    counted = counts(decoder)
    assert set(counted) <= set(COUNTERS)
    assert_adds_up(counted, 0)
    assert counted.get("datagrams", 0) == len(payloads)
    assert counted.get("rows", 0) == counted.get("samples_flow", 0) == (len(batch) if batch else 0)


@st.composite
def flow_samples(draw: st.DrawFn) -> tuple[bytes, tuple[int, int, int, int]]:
    """A sound sample, and its interval, octets and interfaces."""
    interval, octets, in_if, out_if = draw(
        st.tuples(
            st.integers(1, 2**32 - 1), st.integers(0, 65_575), st.integers(0, 2**30 - 2), st.integers(0, 2**30 - 2)
        )
    )
    captured = len(_TCP)
    record = struct.pack("!IIIIII", 1, 16 + captured + -captured % 4, 1, octets, 0, captured) + _TCP
    record += bytes(-captured % 4)
    if draw(st.booleans()):
        head = struct.pack("!IIIIIIIIIII", 1, 0, 2, interval, 0, 0, 0, in_if, 0, out_if, 1)
        sample = struct.pack("!II", 3, len(head) + len(record)) + head + record
    else:
        head = struct.pack("!IIIIIIII", 1, 2, interval, 0, 0, in_if, out_if, 1)
        sample = struct.pack("!II", 1, len(head) + len(record)) + head + record
    return sample, (interval, octets, in_if, out_if)


@given(st.lists(st.lists(flow_samples(), max_size=5), max_size=6), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_samples_survive_the_wire_in_any_groups(
    sent: list[list[tuple[bytes, tuple[int, int, int, int]]]], size: int
) -> None:
    decoder = Decoder(DecoderSettings(rows=size), "test")
    found = []
    for number, each in enumerate(sent):
        add(decoder, struct.pack("!IIIIIII", 5, 1, 1, 0, number, 0, len(each)) + b"".join(one for one, _ in each))
        if number % 2:
            found += rows(decoder, "sampling", "octets", "in_if", "out_if")
    found += rows(decoder, "sampling", "octets", "in_if", "out_if")
    assert found == [said for each in sent for _, said in each]
