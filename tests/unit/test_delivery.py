import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.delivery import (
    EnrichedHeaders,
    GapError,
    HeaderError,
    RawHeaders,
    Sequences,
    SinkPosition,
    judge,
    row_index,
)


def message(start: int, end: int, rows_each: int = 10, lost: tuple[tuple[int, int], ...] = ()) -> EnrichedHeaders:
    offsets = range(start, end)
    return EnrichedHeaders(
        rows_each * len(offsets), start, end, row_index(offsets, [rows_each] * len(offsets)), {}, lost
    )


def test_headers_survive_the_bus() -> None:
    raw = RawHeaders("c1", 7, 100, 5, 9, "observation", "stage_1m")
    assert RawHeaders.decode(raw.encode()) == raw
    enriched = EnrichedHeaders(30, 4, 7, ((4, 10), (6, 30)), {"c1": 9}, ((2, 4),), 1, 2)
    assert EnrichedHeaders.decode(enriched.encode()) == enriched
    position = SinkPosition(5, 3, (3, 4))
    assert SinkPosition.decode(position.encode()) == position


@pytest.mark.parametrize("headers", [{}, {"version": "99", "kind": "flow"}, {"version": "1", "kind": "spam"}])
def test_foreign_headers_are_refused(headers: dict[str, str]) -> None:
    full = {**RawHeaders("c", 1, 1).encode(), **headers} if headers else {}
    with pytest.raises(HeaderError):
        RawHeaders.decode(full)


def test_a_message_already_stored_is_skipped() -> None:
    assert judge(message(0, 5), stored=5).skip
    assert judge(message(0, 5), stored=9).stored == 9


def test_an_overlap_keeps_only_the_new_rows() -> None:
    verdict = judge(message(3, 8), stored=5)
    assert (verdict.first_row, verdict.rows, verdict.stored) == (20, 50, 8)


def test_source_messages_without_rows_do_not_shift_the_cut() -> None:
    headers = EnrichedHeaders(30, 0, 4, row_index([0, 1, 2, 3], [10, 0, 0, 20]), {})
    assert [judge(headers, stored).first_row for stored in (0, 1, 2, 3)] == [0, 10, 10, 10]


def test_a_gap_stops_unless_exactly_explained() -> None:
    with pytest.raises(GapError):
        judge(message(7, 9), stored=5)
    with pytest.raises(GapError) as caught:
        judge(message(7, 9, lost=((5, 6),)), stored=5)
    assert (caught.value.start, caught.value.end) == (6, 7)
    verdict = judge(message(7, 9, lost=((4, 7),)), stored=5)
    assert (verdict.first_row, verdict.lost) == (0, (5, 7))


def test_repeats_and_gaps_of_a_collector_are_told() -> None:
    seen = Sequences()
    assert seen.admit("a", 5) == (True, 0)
    assert seen.admit("a", 5) == (False, 0)
    assert seen.admit("a", 3) == (False, 0)
    assert seen.admit("b", 1) == (True, 0)
    assert seen.admit("a", 9) == (True, 3)


@settings(max_examples=300)
@given(st.integers(1, 30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_source_row_counts_once_whatever_zombies_append(
    sources: int, writers: int, chance: random.Random
) -> None:
    """Writers that each believe to be alone append overlapping ranges; log order decides."""
    rows = [chance.randrange(4) for _ in range(sources)]
    log: list[EnrichedHeaders] = []
    # Each writer starts at the tail it saw when it took over, and may be a zombie that appends late.
    positions = [0] * writers
    while max(positions) < sources:
        writer = chance.randrange(writers)
        if chance.random() < 0.3:
            positions[writer] = max((entry.end for entry in log[-1:]), default=0)
        start = positions[writer]
        if start >= sources:
            continue
        end = min(sources, start + chance.randint(1, 5))
        offsets = range(start, end)
        log.append(EnrichedHeaders(sum(rows[start:end]), start, end, row_index(offsets, rows[start:end]), {}))
        positions[writer] = end
        if log[-1].start > max((entry.end for entry in log[:-1]), default=0):
            log.pop()
            positions[writer] = max((entry.end for entry in log), default=0)
    stored, counted = 0, []
    for entry in log:
        verdict = judge(entry, stored)
        each = [(source, number) for source in range(entry.start, entry.end) for number in range(rows[source])]
        counted += each[verdict.first_row :]
        stored = verdict.stored
    assert counted == [(source, number) for source in range(stored) for number in range(rows[source])]
