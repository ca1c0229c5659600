"""Which datagrams of a slab are read at once, and what comes of it; that it is the same as one by one is a property."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.batcher import slot_of
from collector.decoder import Decoder
from collector.decoder.elements import VARIABLE, FieldSpecifier
from collector.decoder.errors import Count
from collector.decoder.plain import FEWEST, PlainReader
from collector.decoder.sequence import WINDOW, Sequence
from collector.decoder.varying import Stretches, measure
from collector.settings import DecoderSettings
from tests.slabs import slab_of
from tests.wire import NOW, UPTIME, add, counts, flowset, template, v9

MS = (NOW + 1) * 1000
ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
FIELDS = ((7, 2), (1, 4))


def message(number: int, *ports: int) -> bytes:
    body = flowset(256, b"".join(struct.pack("!HI", port, 1000 * port) for port in ports))
    return struct.pack("!HHIIII", 9, len(ports), UPTIME, NOW, number, 1) + body


def knowing(*exporters: str, slots: int = 1) -> tuple[Decoder, PlainReader]:
    """A decoder that has the template, and its reader of slabs."""
    decoder = Decoder(DecoderSettings(), "test", None, slots)
    for exporter in exporters:
        add(decoder, v9(flowset(0, template(256, *FIELDS))), exporter=exporter)
    reader = decoder._plain
    assert reader is not None
    return decoder, reader


def read(reader: PlainReader, *sent: tuple[str, bytes]) -> list[int]:
    slots = slab_of(sent, MS).slots
    assert slots is not None
    return reader.read(slots, MS)


def test_an_exporter_with_one_odd_datagram_is_left_whole() -> None:
    decoder, reader = knowing(ONE, TWO)
    odd = v9(flowset(999, bytes(8)))
    assert read(reader, (ONE, message(1, 80)), (TWO, message(1, 81)), (ONE, odd), (TWO, message(2, 82))) == [0, 2]
    assert decoder.waiting() == 2


def test_a_count_too_small_is_left_and_one_never_filled_in_is_not() -> None:
    decoder, reader = knowing(ONE, TWO)
    two = message(1, 80)[20:] + flowset(256, struct.pack("!HI", 81, 1000) + bytes(2))

    def counting(count: int) -> bytes:
        return struct.pack("!HHIIII", 9, count, UPTIME, NOW, 1, 1) + two

    assert read(reader, (ONE, counting(1)), (TWO, counting(0)), (TWO, counting(2))) == [0]
    assert decoder.waiting() == 4


def test_who_was_never_heard_is_left_and_then_is_not() -> None:
    decoder, reader = knowing(ONE)
    assert read(reader, (THREE, message(1, 80))) == [0]
    add(decoder, v9(flowset(0, template(256, *FIELDS))), exporter=THREE)
    assert read(reader, (THREE, message(2, 80))) == []


def test_a_template_that_changed_is_not_read_by_the_old_one() -> None:
    decoder, reader = knowing(ONE)
    assert read(reader, (ONE, message(1, 80))) == []
    add(decoder, v9(flowset(0, template(256, (11, 2), (1, 4)))), exporter=ONE)
    assert read(reader, (ONE, message(2, 90))) == []
    batch = decoder.take()
    assert batch is not None
    assert sorted(zip(batch.columns["src_port"].tolist(), batch.columns["dst_port"].tolist(), strict=True)) == [
        (0, 90), (80, 0),
    ]  # fmt: skip


def test_records_of_unlike_numbers_keep_their_order() -> None:
    decoder, reader = knowing(ONE)
    assert read(reader, (ONE, message(1, 1, 2, 3)), (ONE, message(2, 4)), (ONE, message(3, 5, 6))) == []
    batch = decoder.take()
    assert batch is not None and batch.columns["src_port"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_batch_has_exporters_of_one_slot() -> None:
    exporters = [f"10.0.0.{number}" for number in range(12)]
    decoder, _ = knowing(*exporters, slots=3)
    decoder.add(slab_of([(exporters[n % 12], message(1 + n // 12, n)) for n in range(FEWEST)], MS))
    found: dict[int, set[str]] = {}
    while (batch := decoder.take()) is not None:
        (slot,) = {slot_of(exporter, 3) for exporter in batch.labels["exporter"]}
        assert set(batch.text("exporter")) == set(batch.labels["exporter"])
        found.setdefault(slot, set()).update(batch.text("exporter"))
    assert set.union(*found.values()) == set(exporters) and len(found) > 1


def test_a_limit_by_exporter_counts_each_datagram() -> None:
    from collector.decoder.admission import Admission
    from collector.settings import AdmissionSettings

    limit = Admission(AdmissionSettings(datagrams_per_second=FEWEST // 2))
    decoder = Decoder(DecoderSettings(), "test", limit)
    add(decoder, v9(flowset(0, template(256, *FIELDS))), exporter=ONE)
    decoder.add(slab_of([(ONE, message(1 + n, n)) for n in range(FEWEST)], MS))
    assert decoder.waiting() == FEWEST // 2 - 1
    assert Count(ONE, 0, "datagrams_dropped_rate_limit", FEWEST // 2 + FEWEST % 2 + 1) in decoder.take_counts()


def test_a_gap_inside_a_slab_and_before_it_is_missed() -> None:
    decoder, reader = knowing(ONE)
    first = read(reader, *((ONE, message(number, number)) for number in (10, 11, 13)))
    assert first == [] and read(reader, *((ONE, message(20 + number, 1)) for number in range(WINDOW + 1))) == []
    decoder.close()
    assert counts(decoder)["sequence_missed"] == 9 + 1 + 6  # 1-9, 12, 14-19


@given(
    batches=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=40), min_size=1, max_size=6),
    odd=st.lists(st.integers(0, 250), max_size=4),
)
@settings(deadline=None)
def test_messages_that_go_on_at_once_as_one_by_one(batches: list[list[int]], odd: list[int]) -> None:
    from collector.decoder.sequence import MESSAGE

    once, single = (Sequence(has_uptime=False, a_second=10**6) for _ in range(2))
    number = 2**32 - 30
    for each in (once, single):
        each.follow(number - 1, 1, NOW, 0, MS)
    for index, units in enumerate(batches):
        rows = []
        first = number
        for count in units:
            rows.append((number % 2**32, count, NOW, 0, MS + index))
            number += count
        newest = b"".join(MESSAGE.pack(*row) for row in rows[-WINDOW:])
        if not once.goes_on(first % 2**32, number % 2**32, len(rows), newest, MS + index):
            for row in rows:
                once.follow(*row)
        for row in rows:
            single.follow(*row)
        for late in odd:  # repeats, late ones, jumps
            for each in (once, single):
                each.follow((number + 20 - late) % 2**32, 1, NOW, 0, MS + index)
        number = once.next if once.next >= 0 else number
    assert once.saved() == single.saved() and once.gaps == single.gaps
    assert once.take() == single.take()


VARYING = st.lists(st.sampled_from((VARIABLE, 0, 1, 3)), min_size=1, max_size=5).filter(
    lambda lengths: VARIABLE in lengths
)


@given(
    lengths=VARYING,
    bodies=st.lists(st.binary(max_size=24) | st.just(b"\xff\x01\x00" + bytes(300)), max_size=6),
    most=st.sampled_from((1, 2, 1000)),
)
@settings(deadline=None)
def test_ends_in_lock_step_are_those_found_one_by_one(lengths: list[int], bodies: list[bytes], most: int) -> None:
    stretches = Stretches(tuple(FieldSpecifier(1, length) for length in lengths))
    memory = np.frombuffer(b"\x07".join(bodies), "u1")
    stop = np.cumsum([len(body) + 1 for body in bodies], dtype="i8") - 1
    start = stop - [len(body) for body in bodies]
    records, behind, begins = measure(stretches, memory, start, stop, most)
    ends = [stretches.ends(body) for body in bodies]
    for body, found in zip(bodies, ends, strict=True):
        if len(found) >= most and found[most - 1] + stretches.least <= len(body):
            found.clear()  # so many steps do not tell what follows
    assert records.tolist() == [len(found) for found in ends]
    assert [int(b - s) for b, s, found in zip(behind, start, ends, strict=True) if found] == [f[-1] for f in ends if f]
    expected = [at + end for at, found in zip(start.tolist(), ends, strict=True) for end in [0, *found][:-1] if found]
    assert begins.tolist() == expected
