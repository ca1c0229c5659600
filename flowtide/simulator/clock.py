"""The clock of a scenario: it begins at a given moment and goes so many times as fast as life."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_QUARTER_MS = 900_000  # offsets from UTC are of whole quarters of an hour, and change at one
HOUR_MS = 3_600_000


class SimClock:
    """Simulated time by a monotonic clock, at ``speed`` simulated seconds a second."""

    def __init__(
        self, begin_ms: int, speed: float, length_seconds: float = 0, real: Callable[[], float] = time.monotonic
    ) -> None:
        """``length_seconds``: of simulated time, after which the clock stands; 0: it never does."""
        self.begin_ms, self.speed = begin_ms, speed
        self.end_ms = begin_ms + int(length_seconds * 1000) if length_seconds else None
        self._real, self._began = real, real()

    def now_ms(self) -> int:
        """Simulated Unix milliseconds, at most ``end_ms``."""
        now = self.begin_ms + int((self._real() - self._began) * self.speed * 1000)
        return now if self.end_ms is None else min(now, self.end_ms)

    def seconds_until(self, at_ms: int) -> float:
        """Real seconds until it shows ``at_ms``; 0 when it does."""
        due = self._began + (at_ms - self.begin_ms) / (self.speed * 1000)
        return max(0.0, due - self._real())

    @property
    def is_over(self) -> bool:
        """Whether it stands."""
        return self.end_ms is not None and self.now_ms() >= self.end_ms


class LocalTime:
    """Local days and hours of a zone, of many times at once."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._offset_of_quarter = lru_cache(maxsize=100_000)(self._offset)

    def offset_ms(self, unix_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """What is to be added to UTC at each time."""
        if not len(unix_ms):
            return np.zeros(0, "i8")
        quarters, which = np.unique(unix_ms // _QUARTER_MS, return_inverse=True)
        return np.array([self._offset_of_quarter(quarter) for quarter in quarters.tolist()], "i8")[which]

    def day(self, unix_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Local days since 1970-01-01."""
        return (unix_ms + self.offset_ms(unix_ms)) // (24 * HOUR_MS)

    def hour_ms(self, unix_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Begin of the local hour, as Unix milliseconds."""
        offset = self.offset_ms(unix_ms)
        return (unix_ms + offset) // HOUR_MS * HOUR_MS - offset

    def begin_of_day(self, day: int) -> int:
        """Unix milliseconds at which a local day (since 1970-01-01) begins."""
        local = datetime.combine(date.fromordinal(date(1970, 1, 1).toordinal() + day), datetime.min.time())
        return int(local.replace(tzinfo=self._zone).timestamp() * 1000)

    def hours_of_day(self, day: int) -> NDArray[np.int64]:
        """The hour by the wall's clock of each hour that passes in a local day: 23, 24 or 25 of them."""
        begin, end = self.begin_of_day(day), self.begin_of_day(day + 1)
        passed = np.arange(begin, end, HOUR_MS)
        hours: NDArray[np.int64] = (passed + self.offset_ms(passed)) // HOUR_MS % 24
        return hours

    def _offset(self, quarter: int) -> int:
        there = datetime.fromtimestamp(quarter * _QUARTER_MS / 1000, UTC).astimezone(self._zone)
        offset = there.utcoffset()
        return int(offset.total_seconds() * 1000) if offset else 0
