"""What stored messages added up to, kept until the rollups' range that has them."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future

import pyarrow as pa
import structlog

from sinks import Store, metrics
from sinks.message_sums import Columns, Names, sums_of
from sinks.range_rows import RangeRows, range_rows
from sinks.telemetry import limited

log = structlog.get_logger("sinks")

Sums = dict[str, Columns]
Kept = Callable[[], Sums | None]
"""A message's sums once they are wanted; None: there are none, raw has to be asked."""

_MOST_WAITING = 4  # messages whose rows are kept until they are summed: beyond, whoever stores them waits
_LOCAL = (
    "SELECT toUnixTimestamp(toStartOfHour(toDateTime(m * 60, {zone:String}))) AS hour,"
    " toUInt16(toDate(toDateTime(m * 60, {zone:String}))) AS day"
    " FROM (SELECT arrayJoin({minutes:Array(UInt32)}) AS m) ORDER BY m"
)


class RangeSums:
    """Sums messages beside their inserts, and ranges of them; one sink's.

    All of it may be forgotten at any time: what is not here is asked of raw.
    """

    def __init__(self, store: Store, timezone: str, beside: Executor | None = None) -> None:
        """``timezone``: the store's, which also says where a local hour begins.  ``beside``: where messages are summed;
        None: by whoever adds them."""
        self._store, self._timezone, self._beside = store, timezone, beside
        self._names = Names()
        self._waiting: deque[Future[Sums | None]] = deque()

    def add(self, rows: pa.Table) -> Kept:
        """Sum a message's rows, as they were inserted."""
        if self._beside is None:
            found = self._of(rows)
            return lambda: found
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        future = self._beside.submit(self._of, rows)
        self._waiting.append(future)
        return future.result

    def _of(self, rows: pa.Table) -> Sums | None:
        try:
            return sums_of(rows, self._names)
        except Exception as error:  # of ours, whatever it is: the SQL does not have it
            metrics.SUM_FAULTS.inc()
            limited(log.exception, "sums", "rows not summed: their range is asked of raw", error=str(error)[:500])
            return None

    def rows(self, kept: Sequence[Kept | None]) -> RangeRows | None:
        """What a range of these messages gives the rollups; None: one of them is not here."""
        parts = [each() if each is not None else None for each in kept]
        there = [part for part in parts if part is not None]
        return range_rows(there, self._names, self._local) if there and len(there) == len(parts) else None

    def _local(self, minutes: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        found = self._store.query(_LOCAL, zone=self._timezone, minutes=list(minutes))
        return found.column("hour").to_pylist(), found.column("day").to_pylist()
