"""What is written once a local day is over: who held a lease on it, and the octets that RADIUS counted of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from enricher.leases import LeaseTable
from enricher.seen import seen_rows
from flowtide.errors import Failure
from flowtide.parts import is_embedded
from flowtide.query import running_port
from flowtide.settings import Settings
from flowtide.store_command import store_to_change
from sinks import Store, StoreRefused, StoreUnavailable
from sinks.accounting import SubIds, by_day, put_day
from sinks.accounting_file import AccountingError
from sinks.subscribers import local_day, put_seen

if TYPE_CHECKING:
    from enricher.radius.source import RadiusSource

log = structlog.get_logger("subscribers")

RADIUS = "radius"
"""Source of the sets in ``accounting_1d``."""
_GRACE = timedelta(minutes=30)  # after midnight: the last records of the day are there
_AGAIN_SECONDS = 60.0


class DailySubscribers:
    """For one thread; both writes may be repeated: what is there already stays."""

    def __init__(
        self, store: Callable[[], AbstractContextManager[Store]], leases: Callable[[], LeaseTable],
        radius: "Sequence[RadiusSource]", ids: SubIds, zone: str,
    ) -> None:  # fmt: skip
        """``store`` is opened for each day; ``radius``: the listener, if there is one; ``zone``: that of the days."""
        self._store, self._leases, self._radius, self._ids = store, leases, radius, ids
        self._zone = zone
        self._done: date | None = None
        self._looked = float("-inf")

    def tend(self, now: float) -> None:
        """Write yesterday once, at Unix time ``now``; a store that does not answer is asked again in a minute."""
        local = (datetime.fromtimestamp(now, UTC) - _GRACE).astimezone(ZoneInfo(self._zone))
        day = local.date() - timedelta(days=1)
        if day == self._done or now - self._looked < _AGAIN_SECONDS:
            return
        self._looked = now
        try:
            with self._store() as store:
                seen = put_seen(store, day, seen_rows(self._leases(), *local_day(day, self._zone)), now)
                counted = sum(self._count(store, source, day, now) for source in self._radius)
        except StoreUnavailable:
            return
        except (StoreRefused, Failure) as error:
            log.error("the day's subscribers are not written", day=str(day), reason=str(error))
        else:
            log.info("the day's subscribers", day=str(day), seen=seen, with_accounting=counted)
        self._done = day

    def _count(self, store: Store, source: "RadiusSource", day: date, now: float) -> int:
        rows = 0
        for volumes in by_day(source.usage(day.toordinal())):
            if volumes.day != day:
                continue
            try:
                rows += put_day(store, volumes, RADIUS, self._ids, now).rows
            except AccountingError as error:
                log.error("the day's accounting is not taken", day=str(day), reason=str(error))
        return rows


@contextmanager
def store_elsewhere(settings: Settings) -> Iterator[Store]:
    """A server, or the engine that another process runs here; StoreUnavailable while none does, Failure.

    Its directory is never opened from here: it would be in the way of the process whose it is.
    """
    if is_embedded(settings) and running_port(settings) is None:
        raise StoreUnavailable("no process runs the engine here")
    with store_to_change(settings) as store:
        yield store
