"""One answer for all who ask the same: one flight a key, and what came of it kept for a few seconds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from dashboards.console import metrics

_LARGEST_PART = 4  # an answer of more than a quarter of the bound is not kept: it would push out all others


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent; ``keep``: others may have it, too."""

    body: bytes
    keep: bool = True


@dataclass(slots=True)
class _Flight:
    task: "asyncio.Task[Answer]"
    waiting: int = 0


class Shared:
    """Answers by key; of one event loop."""

    def __init__(self, seconds: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._max_bytes, self._clock = seconds, max_bytes, clock
        self._kept: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()  # oldest first, as all live as long
        self._flights: dict[Hashable, _Flight] = {}
        self._bytes = 0

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Answer]]) -> bytes:
        """The kept answer, or that of a flight under way, or of ``make``, which ends when nobody waits any more."""
        self._forget_old()
        if (kept := self._kept.get(key)) is not None:
            metrics.SHARED.labels("kept").inc()
            return kept[1]
        flight = self._flights.get(key)
        metrics.SHARED.labels("asked" if flight is None else "joined").inc()
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(_awaited(make)))
            flight.task.add_done_callback(lambda task: self._landed(key, task))
        flight.waiting += 1
        try:
            return (await asyncio.shield(flight.task)).body
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                # Nobody may join what is being ended.
                self._flights.pop(key, None)
                flight.task.cancel()

    def _landed(self, key: Hashable, task: "asyncio.Task[Answer]") -> None:
        if (flight := self._flights.get(key)) is not None and flight.task is task:
            del self._flights[key]
        if task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        size = len(answer.body)
        if not answer.keep or not self._seconds or size > self._max_bytes // _LARGEST_PART:
            return
        self._drop(key)
        self._kept[key] = (self._clock() + self._seconds, answer.body)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))
        metrics.KEPT_BYTES.set(self._bytes)

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept and (oldest := next(iter(self._kept))) is not None and self._kept[oldest][0] <= now:
            self._drop(oldest)

    def _drop(self, key: Hashable) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._bytes -= len(kept[1])
            metrics.KEPT_BYTES.set(self._bytes)


async def _awaited(make: Callable[[], Awaitable[Answer]]) -> Answer:
    return await make()
