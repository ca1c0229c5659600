"""Leases by key are those of a plain dict, whatever was written, removed and forgotten in between."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows, LeaseTable
from enricher.radius.lease_columns import Lease
from enricher.radius.publish import Published
from enricher.sources.keyed_leases import KeyedLeases
from enricher.sources.lease_records import LeaseRecord, parse_record

HISTORY_MS = 100
IPV4 = 0xFFFF << 32 | 0xC6120000  # 198.18.0.0


def prefixes() -> st.SearchStrategy[int]:
    small = st.integers(0, 3)
    return small.map(lambda at: (IPV4 | at) << 8 | 128) | small.map(lambda at: (0x20010DB8 << 96 | at << 72) << 8 | 56)


@st.composite
def records(draw: st.DrawFn) -> LeaseRecord:
    since = draw(st.integers(0, 300))
    until = draw(st.just(HELD) | st.integers(since + 1, 400))
    ports = draw(st.sampled_from([(0, 65_535), (0, 99), (100, 199)]))
    return LeaseRecord(
        draw(prefixes()), since, until, draw(st.sampled_from("abcde")), draw(st.sampled_from(SERVICES)),
        draw(st.sampled_from(SEGMENTS)), draw(st.sampled_from(ACCESSES)), draw(st.sampled_from(("", "east"))), *ports,
    )  # fmt: skip


def said(rows: LeaseRows) -> list[LeaseRecord]:
    """The rows, in their order."""
    return [
        LeaseRecord(
            (int(rows.high[at]) << 64 | int(rows.low[at])) << 8 | int(rows.bits[at]),
            int(rows.since[at]), int(rows.until[at]), rows.subscribers[rows.subscriber[at]],
            SERVICES[rows.service[at]], SEGMENTS[rows.segment[at]], ACCESSES[rows.access[at]],
            rows.groups[rows.group[at]], int(rows.port_from[at]), int(rows.port_to[at]),
        )
        for at in range(len(rows))
    ]  # fmt: skip


KEYS = st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6"])
STEPS = st.lists(st.tuples(KEYS, st.none() | records(), st.integers(0, 60)), max_size=30)


@settings(deadline=None)
@given(STEPS)
def test_keyed_leases_are_a_dict(steps: list[tuple[bytes, LeaseRecord | None, int]]) -> None:
    held, reference, now = KeyedLeases(1_000, HISTORY_MS), dict[bytes, LeaseRecord](), 0
    for key, record, passed in steps:
        now += passed
        held.take(key, record, now)
        reference.pop(key, None)
        if record is not None:
            reference[key] = record
        if passed > 40:
            held.forget(now)
    held.forget(now)
    reference = {key: each for key, each in reference.items() if each.until_ms > now - HISTORY_MS}
    rows = held.rows()
    assert sorted(said(rows)) == sorted(reference.values())
    assert len(held) == len(reference)
    # The order in which keys came makes no difference to who is found, contradictions included.
    again = KeyedLeases(1_000, HISTORY_MS)
    for key in sorted(reference):
        again.take(key, reference[key], now)
    assert answers(rows) == answers(again.rows())


def answers(rows: LeaseRows) -> list[list[int]]:
    """Who held each address at each time, by port."""
    table = LeaseTable.of(rows, b"0123456789abcdef")
    addresses = [(IPV4 | at).to_bytes(16) for at in range(4)] + [
        (0x20010DB8 << 96 | at << 72).to_bytes(16) for at in range(4)
    ]
    found = []
    for port in (50, 150, 250):
        for when in range(0, 420, 20):
            asked = np.frombuffer(b"".join(addresses), "V16")
            times = np.full(len(addresses), when).astype("M8[ms]")
            at = table.lookup(asked, times, np.full(len(addresses), port, "u2"))
            found.append([int(table.sub_id[each]) if each >= 0 else 0 for each in at])
    return found


def leases() -> st.SearchStrategy[Lease]:
    """Of a prefix, as sessions have them."""
    labels = st.tuples(st.sampled_from(SERVICES), st.sampled_from(SEGMENTS), st.sampled_from(ACCESSES), st.just("x"))
    times = st.integers(0, 50).flatmap(lambda at: st.tuples(st.just(at), st.just(HELD) | st.integers(at + 1, 99)))
    return st.tuples(times, st.sampled_from("abc"), labels).map(lambda each: (*each[0], each[1], each[2]))


ROUNDS = st.lists(
    st.tuples(st.dictionaries(prefixes(), st.lists(leases(), max_size=3), max_size=4), st.booleans()), max_size=8
)
FOREIGN = {b"radius/one": b"x", b"radius/one2 198.18.0.1/32 5": b"y", b"any key": b"z", b"radius/two ": b"q"}


@settings(deadline=None)
@given(ROUNDS, st.lists(st.sampled_from([b"radius/one ", b"radius/one junk", b"radius/one 198.18.0.1 5"]), max_size=2))
def test_a_topic_becomes_what_the_sessions_are_over_restarts(
    rounds: list[tuple[dict[int, list[Lease]], bool]], stray: list[bytes]
) -> None:
    topic: dict[bytes, bytes] = FOREIGN | dict.fromkeys(stray, b"old")
    sessions: dict[int, list[Lease]] = {}
    published: Published | None = None
    for changed, restarts in rounds:
        if restarts:
            # Another run knows nothing of prefixes that were there before it.
            published, sessions = None, {}
        sessions |= changed
        wanted = changed
        if published is None:
            published = Published("one")
            for key, value in topic.items():
                published.read(key, value)
            wanted = {prefix: [] for prefix in published.prefixes} | sessions
        for key, new in published.differences(wanted):
            if new is None:
                del topic[key]  # never one that is not there
            else:
                topic[key] = new
        mine = {key: value for key, value in topic.items() if key not in FOREIGN}
        assert {key: topic[key] for key in FOREIGN} == FOREIGN
        found = [parse_record(key, value) for key, value in mine.items()]
        assert all(each is not None for each in found)
        # Of leases of one prefix and begin the last one counts.
        expected = {(prefix, each[0]): each for prefix, some in sessions.items() for each in some}
        assert {
            (each.prefix, each.since_ms): (
                each.since_ms, each.until_ms, each.subscriber, (each.service, each.segment, each.access, each.group)
            )
            for each in found if each is not None
        } == expected  # fmt: skip
