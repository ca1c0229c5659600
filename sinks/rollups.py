"""Narrow tables from raw, cut by bus offset: one SQL file a rollup.

The next range [a, b) of stored offsets is fixed and committed before it runs, so whoever repeats it repeats the same
rows under the same token.  The same files rebuild a day and back-fill a rollup added later, with another WHERE.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from sinks import Store
from sinks.delivery import SinkPosition
from sinks.range_sums import Kept, RangeSums
from sinks.rollup_ranges import ALL, begin_at, is_done, record, run_range
from sinks.rollup_tables import NAMES, of_offsets, statement
from sinks.settings import SinkSettings

__all__ = ["NAMES", "Rollups", "Span", "of_offsets", "statement"]

_DUTY = 2  # a round over all partitions begins not before so many times what the last one took: at most half the time
_HISTORY_ROWS = 20_000  # of a range, one message more or less: about a second, while live rows wait
_MAX_SPAN_MS = 49 * 86_400_000  # one insert over more than 100 day partitions is refused for ever


@dataclass(frozen=True, slots=True)
class Span:
    """What one stored message adds to a range."""

    offset: int
    rows: int
    min_ms: int
    max_ms: int
    history: bool = False  # dear rows, and once: in small ranges that do not wait for each other


class Rollups:
    """Decides the ranges of each partition and runs them."""

    def __init__(self, store: Store, settings: SinkSettings, timezone: str, sums: RangeSums | None = None) -> None:
        """``timezone`` is the store's IANA zone, in which days and hours are local.

        ``sums``: by which ranges are made from memory where all of their messages are there; None: always from raw.
        """
        self._store, self._settings, self._timezone = store, settings, timezone
        self._waiting: dict[int, deque[Span]] = {}
        self._rolled: dict[int, int] = {}
        self._base: dict[int, int] = {}
        self._planned: dict[int, tuple[int, int] | None] = {}
        self._last: dict[int, float] = {}
        self._took: dict[int, float] = {}  # seconds of the last range, by partition
        self._hurried: set[int] = set()  # partitions whose planned range has history
        self._sums = sums
        self._kept: dict[int, dict[int, Kept]] = {}  # by partition and offset: what messages that wait added up to
        self._made: dict[int, list[Kept | None]] = {}  # of the messages in the planned range

    def forget(self) -> None:
        """The generation ended: others have the partitions, and what waited here waits there."""
        for mapping in (
            self._waiting,
            self._rolled,
            self._base,
            self._planned,
            self._last,
            self._took,
            self._kept,
            self._made,
        ):
            mapping.clear()
        self._hurried.clear()

    def begin(self, partition: int, position: SinkPosition, stored_end: int, base: int = 0) -> None:
        """Take over a partition: a range planned by a predecessor runs again with the same ends.

        ``base`` is ``flows.bus_offset`` of the stream's offset 0.
        """
        self._base[partition] = base
        self._waiting[partition], self._kept[partition] = deque(), {}
        self._made.pop(partition, None)
        self._rolled[partition], self._planned[partition] = position.rolled, position.planned
        self._last[partition] = float("-inf")
        begin_at(self._store, partition, base + (position.planned[0] if position.planned else position.rolled))
        start = position.planned[1] if position.planned else position.rolled
        if start < stored_end:
            self._waiting[partition].extend(self._stored_between(partition, start, stored_end))

    def stored(self, partition: int, span: Span, rows: pa.Table | None = None) -> None:
        """One more message is in the raw table, with these ``rows``; one that a lost position brought again is rolled
        up already."""
        if span.offset >= self._rolled[partition]:
            self._waiting[partition].append(span)
            if self._sums is not None and rows is not None:
                self._kept[partition][span.offset] = self._sums.add(rows)

    def due(self, partition: int, now: float, *, finish: bool = False) -> tuple[int, int] | None:
        """The range to run now; None: not yet.  A planned range stays due, with the same ends, until it has run."""
        if planned := self._planned[partition]:
            return planned
        waiting = self._waiting[partition]
        if not waiting:
            return None
        rows, history = sum(span.rows for span in waiting), waiting[0].history
        small = rows < self._settings.rollup_rows and not history
        # A range has its price whatever is in it: of many partitions, or in a slow store, they are fewer and larger.
        pause = max(self._settings.rollup_seconds, _DUTY * sum(self._took.values()))
        if small and not finish and now - self._last[partition] < pause:
            return None
        self._last[partition] = now
        low, high, end, taken = waiting[0].min_ms, waiting[0].max_ms, waiting[0].offset, 0
        most = _HISTORY_ROWS if history else 2 * self._settings.rollup_rows
        if history:
            self._hurried.add(partition)
        kept: list[Kept | None] = []
        while waiting and taken < most:
            low, high = min(low, waiting[0].min_ms), max(high, waiting[0].max_ms)
            if high - low > _MAX_SPAN_MS and taken:
                break
            span = waiting.popleft()
            end, taken = span.offset + 1, taken + span.rows
            kept.append(self._kept[partition].pop(span.offset, None))
        self._planned[partition], self._made[partition] = (self._rolled[partition], end), kept
        return self._planned[partition]

    def turn(self, partitions: Iterable[int]) -> list[int]:
        """The partitions, whose newest range was planned longest ago first."""
        return sorted(partitions, key=lambda partition: self._last[partition])

    def task(self, partition: int, planned: tuple[int, int], stream_id: str) -> Callable[[], float]:
        """What runs every rollup over a planned range, in any thread; it returns the seconds that it took.

        StoreUnavailable (a rebuild that holds it, too) leaves the range planned.
        """
        a, b = planned
        base = self._base[partition]
        suffix = f"{stream_id}/{partition}/{a}-{b}"
        kept = self._made.get(partition, [])

        def run() -> float:
            began = time.perf_counter()
            record(self._store, ALL, stream_id, partition, base, base + a, base + b, token=suffix)
            if not is_done(self._store, ALL, partition, base + a, base + b):
                made = self._sums.rows(kept) if self._sums is not None else None
                run_range(self._store, self._timezone, stream_id, partition, base, a, b, made)
            return time.perf_counter() - began

        return run

    def done(self, partition: int, planned: tuple[int, int], seconds: float) -> None:
        """The planned range has run."""
        self._rolled[partition], self._planned[partition] = planned[1], None
        self._made.pop(partition, None)
        if partition in self._hurried:  # it comes once, and says nothing of how long the next one takes
            self._hurried.remove(partition)
        else:
            self._took[partition] = seconds

    def run(self, partition: int, planned: tuple[int, int], stream_id: str) -> None:
        """Run a planned range here and now; raises as its ``task``."""
        self.done(partition, planned, self.task(partition, planned, stream_id)())

    def cut_until(self, partition: int, base: int) -> int:
        """Where the newest range of the stream that begins at ``base`` ended, by the table for people.

        For a lost position only: a range that was cut short is not in it, and would be rolled up in part again.
        """
        sql = "SELECT max(b) AS b FROM rollup_cut WHERE partition = {partition:UInt16} AND a >= {base:UInt64}"
        found = self._store.query(sql, partition=partition, base=base)
        return max(0, int(found.column("b")[0].as_py()) - base)

    def _stored_between(self, partition: int, a: int, b: int) -> list[Span]:
        """Spans of messages that a predecessor stored and did not roll up."""
        base = self._base[partition]
        found = self._store.query(
            "SELECT bus_offset, count() AS rows, toUnixTimestamp64Milli(min(ts)) AS low, "
            "toUnixTimestamp64Milli(max(ts)) AS high FROM flows "
            f"WHERE {of_offsets(partition, base + a, base + b)} GROUP BY bus_offset ORDER BY bus_offset"
        )
        return [Span(row["bus_offset"] - base, row["rows"], row["low"], row["high"]) for row in found.to_pylist()]
