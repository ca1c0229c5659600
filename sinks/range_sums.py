"""What stored messages added up to, kept until the rollups' range that has them."""

import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future

import pyarrow as pa
import structlog

from sinks import Store, StoreUnavailable, metrics
from sinks.batch import is_constant
from sinks.message_sums import Columns, Names, sums_of
from sinks.range_rows import RangeRows, range_rows
from sinks.telemetry import limited

log = structlog.get_logger("sinks")

Sums = dict[str, Columns]

MOST_BYTES = 1 << 30
"""Of all that is kept: ten seconds of 500,000 flows a second are 0.4 GB; only rollups that wait for long reach it."""
_MOST_WAITING = 4  # messages whose rows are kept until they are summed: beyond, whoever stores them waits
_LOCAL = (
    "SELECT toUnixTimestamp(toStartOfHour(toDateTime(m * 60, {zone:String}))) AS hour,"
    " toUInt16(toDate(toDateTime(m * 60, {zone:String}))) AS day"
    " FROM (SELECT arrayJoin({minutes:Array(UInt32)}) AS m) ORDER BY m"
)


class Kept:
    """What a message adds up to, once that is known."""

    def __init__(self) -> None:
        self._sums: Sums | None = None
        self.octets = 0
        self.future: Future[None] | None = None

    def keep(self, sums: Sums | None) -> None:
        """Its sums; None: there are none, raw has to be asked."""
        self._sums = sums
        arrays = [array for part in (sums or {}).values() for array in part.values()]
        self.octets = sum(array.nbytes for array in arrays if not is_constant(array))

    def sums(self) -> Sums | None:
        """They; waits for them."""
        if self.future is not None:
            self.future.result()
        return self._sums


def _tell(error: Exception) -> None:
    """A fault of ours, whatever it is: the SQL does not have it."""
    metrics.SUM_FAULTS.inc()
    limited(log.exception, "sums", "rows not summed: their range is asked of raw", error=str(error)[:500])


class RangeSums:
    """Sums messages beside their inserts, and ranges of them; one sink's.

    All of it may be forgotten at any time: what is not here is asked of raw.
    """

    def __init__(
        self, store: Store, timezone: str, beside: Executor | None = None, most_bytes: int = MOST_BYTES
    ) -> None:
        """``timezone``: the store's, which also says where a local hour begins.  ``beside``: where messages are summed;
        None: by whoever adds them.  Beyond ``most_bytes`` the oldest are forgotten."""
        self._store, self._timezone, self._beside, self._most_bytes = store, timezone, beside, most_bytes
        self._names = Names()
        self._waiting: deque[Future[None]] = deque()
        self._all: deque[weakref.ref[Kept]] = deque()  # that somebody still has, oldest first

    def add(self, rows: pa.Table) -> Kept:
        """Sum a message's rows, as they were inserted."""
        kept = Kept()
        self._all.append(weakref.ref(kept))
        if self._beside is None:
            self._sum(kept, rows)
        else:
            while len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft().result()
            kept.future = self._beside.submit(self._sum, kept, rows)
            self._waiting.append(kept.future)
        self._forget()
        return kept

    def _sum(self, kept: Kept, rows: pa.Table) -> None:
        try:
            kept.keep(sums_of(rows, self._names))
        except Exception as error:
            _tell(error)

    def _forget(self) -> None:
        """Those that nobody has any more, and the oldest of too many."""
        there = [kept for each in self._all if (kept := each()) is not None]
        self._all = deque(map(weakref.ref, there))
        total = self.octets()
        for kept in there:
            if total <= self._most_bytes:
                break
            total -= kept.octets
            kept.keep(None)

    def octets(self) -> int:
        """Memory of all that is kept."""
        return sum(kept.octets for each in self._all if (kept := each()) is not None)

    def rows(self, kept: Sequence[Kept | None]) -> RangeRows | None:
        """What a range of these messages gives the rollups; None: raw has to be asked, one of them is not here."""
        parts = [each.sums() if each is not None else None for each in kept]
        there = [part for part in parts if part is not None]
        if not there or len(there) < len(parts):
            return None
        try:
            return range_rows(there, self._names, self._local)
        except StoreUnavailable:
            raise
        except Exception as error:
            _tell(error)
            return None

    def _local(self, minutes: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        found = self._store.query(_LOCAL, zone=self._timezone, minutes=list(minutes))
        return found.column("hour").to_pylist(), found.column("day").to_pylist()
