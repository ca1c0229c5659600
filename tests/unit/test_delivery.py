import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.delivery import (
    ORIGINS,
    EnrichedHeaders,
    GapError,
    HeaderError,
    Hint,
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


def test_only_the_most_recently_seen_origins_are_kept() -> None:
    seen = Sequences()
    for number in range(ORIGINS):
        seen.admit(f"c{number}", 5)
    seen.admit("c0", 6)  # now the most recent
    seen.admit("new", 1)
    assert len(seen.highest) == ORIGINS
    assert seen.admit("c0", 6) == (False, 0)
    assert "c1" not in seen.highest and "c2" in seen.highest


def test_a_hint_fits_and_keeps_the_most_recent() -> None:
    many = {f"collector-{number}@0123456789ab": number for number in range(ORIGINS)}
    hint = Hint("source", many)
    assert len(hint.encode()) < 4_096  # Kafka's offset.metadata.max.bytes
    kept = Hint.decode(hint.encode())
    assert kept.source == "source"
    assert list(kept.highest.items()) == list(many.items())[-len(kept.highest) :]
    assert len(kept.highest) > 50
    assert Hint.decode("") == Hint("", {})
    with pytest.raises(HeaderError):
        Hint.decode("[1]")


def test_exceptions_and_sources_survive_the_bus() -> None:
    headers = EnrichedHeaders(
        3, 0, 2, ((1, 3),), {}, dropped=((0, 60, "192.0.2.1", 7),), poison=((1, 60, "", 9),), source="abc"
    )
    assert EnrichedHeaders.decode(headers.encode()) == headers
    position = SinkPosition(5, 3, None, True, "stream", ("a", "b"))
    assert SinkPosition.decode(position.encode()) == position
    older = '{"stored": 5, "rolled": 3, "planned": [3, 4]}'  # as written before
    assert SinkPosition.decode(older) == SinkPosition(5, 3, (3, 4))


def test_a_raw_stream_made_again_begins_anew_and_late_messages_of_the_old_one_are_known() -> None:
    position = SinkPosition(stored=50, rolled=3)
    first = position.of_source("a")
    assert first is not None and (first.stored, first.sources) == (50, ("a",))
    second = first.of_source("b")
    assert second is not None and (second.stored, second.rolled) == (0, 3)
    assert second.of_source("a") is None
    assert second.of_source("b") == second == second.of_source("")
