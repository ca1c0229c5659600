"""Fills a rollup that was added later with the rows that raw had before, exactly once over kills.

A rollup of a new version has every range from its first one on (``rollup_start``).  What is older comes in chunks of
offsets, the newest first: a chunk's ends are written down before it runs, the first to write them decides, and its
token makes a repeat nothing, whoever repeats it.  So any number of processes may do this at the same time.
"""

from collections.abc import Iterator

import structlog

from sinks import Store, StoreRefused, StoreUnavailable
from sinks.rollup_ranges import is_done, record, run_chunk, starts
from sinks.rollup_tables import ROLLUPS, of_offsets
from sinks.telemetry import limited

log = structlog.get_logger("sinks.back_fill")

CHUNK_ROWS = 1_000_000
"""A chunk ends at the message in which it reaches this: half a second of a core, so that live ranges hardly wait."""
_FIRST_WIDTH = 64  # messages looked at for a chunk; doubled until it is full
_MAX_SPAN_MS = 49 * 86_400_000  # one insert over more than 100 day partitions is refused for ever
_FIRST_VERSION = 2
"""Rollups that every store has had since it was made."""
_PAUSE_SECONDS = 1.0  # between chunks: inserts and live ranges come first
_REST_SECONDS = 300.0  # and where there is nothing to do, until another partition may have begun

LATER = tuple(rollup.name for rollup in ROLLUPS if rollup.since > _FIRST_VERSION)


class BackFill:
    """Called now and then by whoever has the store and has begun its partitions."""

    def __init__(self, store: Store, timezone: str, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """``timezone`` is the store's."""
        self._store, self._timezone, self._chunk_rows = store, timezone, chunk_rows
        self._again = float("-inf")

    def tend(self, now: float) -> None:
        """Run at most one chunk; ``now`` is a monotonic clock's.  What fails is tried again."""
        if now < self._again:
            return
        try:
            self._again = now + (_PAUSE_SECONDS if self.step() else _REST_SECONDS)
        except (StoreUnavailable, StoreRefused) as error:
            self._again = now + 10 * _PAUSE_SECONDS
            limited(log.warning, "back-fill", "a rollup is not filled up yet; trying again", error=str(error)[:500])

    def step(self) -> bool:
        """Run the next chunk; False: every rollup has all that raw has."""
        for (name, partition), end in starts(self._store, LATER).items():
            if end:
                self._chunk(name, partition, end)
                return True
        return False

    def _chunk(self, name: str, partition: int, b: int) -> None:
        token = f"{name}/fill/{partition}/{b}"
        record(self._store, name, "", partition, 0, self._begin_of(partition, b), b, token=token)
        found = self._store.query(
            "SELECT argMin(a, made) AS a FROM rollup_plan WHERE rollup = {name:String}"
            " AND partition = {partition:UInt16} AND b = {b:UInt64}",
            name=name, partition=partition, b=b,
        )  # fmt: skip
        a = int(found.column("a")[0].as_py())
        if not is_done(self._store, name, partition, a, b):
            rows = run_chunk(self._store, self._timezone, name, partition, a, b)
            log.info("rollup filled up", rollup=name, partition=partition, start=a, end=b, rows=rows)

    def _begin_of(self, partition: int, b: int) -> int:
        """Where the chunk that ends before ``b`` begins; 0 when raw has no more than that."""
        oldest = self._store.query(
            "SELECT min(bus_offset) AS first, count() AS n FROM flows"
            f" WHERE {of_offsets(partition, 0, b)}"
        ).to_pylist()[0]  # fmt: skip
        if not oldest["n"]:
            return 0
        rows, low, high = 0, 0, 0
        for offset, count, first, last in self._messages(partition, int(oldest["first"]), b):
            low, high = (min(low, first), max(high, last)) if rows else (first, last)
            if rows and high - low > _MAX_SPAN_MS:
                return offset + 1
            rows += count
            if rows >= self._chunk_rows:
                return offset if offset > oldest["first"] else 0
        return 0

    def _messages(self, partition: int, first: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(offset, rows, earliest and latest flow end in Unix ms) of stored messages, the newest first."""
        width = _FIRST_WIDTH
        while end > first:
            begin = max(first, end - width)
            found = self._store.query(
                "SELECT bus_offset, count() AS rows, toUnixTimestamp64Milli(min(ts)) AS low, "
                f"toUnixTimestamp64Milli(max(ts)) AS high FROM flows WHERE {of_offsets(partition, begin, end)}"
                " GROUP BY bus_offset ORDER BY bus_offset DESC"
            )
            for row in found.to_pylist():
                yield int(row["bus_offset"]), int(row["rows"]), int(row["low"]), int(row["high"])
            end, width = begin, 2 * width
