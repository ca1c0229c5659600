"""One session, as its records tell it.

Whatever order they come in, the same records end in the same session.  It begins with its Start, or, as long as that
is missing, at the earliest time that a record's Acct-Session-Time points to.  An address is the session's from the
first record that names it (from the begin when that is the session's first record) until the session ends, or until a
record that names another address of the same kind instead.
"""

from collections.abc import Iterator
from typing import Any

from enricher.leases import HELD
from enricher.radius.packet import Accounting, Status
from enricher.radius.settings import Labels
from enricher.radius.usage import Counters, LocalDays

_SAME_MS = 30_000  # records of one session agree this well on its begin: clocks are set, seconds are rounded


class Held:
    """An address of a session."""

    __slots__ = ("first_ms", "kind", "last_ms", "prefix", "slot")

    def __init__(self, kind: int, prefix: int, first_ms: int, last_ms: int) -> None:
        self.kind, self.prefix, self.first_ms, self.last_ms = kind, prefix, first_ms, last_ms
        self.slot = -1  # of its lease


class Session:
    """Times in Unix milliseconds."""

    __slots__ = (
        "begin_ms", "counters", "first_ms", "has_start", "heard_ms", "held", "is_dated", "is_silent", "labels",
        "last_ms", "name", "nas", "stop_ms", "subscriber", "user",
    )  # fmt: skip

    def __init__(self, nas: str, name: str, subscriber: str, labels: Labels, user: str, begin_ms: int) -> None:
        self.nas, self.name, self.user = nas, name, user  # as the records tell, to know the session by
        self.subscriber, self.labels = subscriber, labels
        self.begin_ms, self.has_start = begin_ms, False
        self.is_dated = False  # a record told the begin; else it is the first record's time
        self.first_ms, self.last_ms = HELD, -1  # of its records
        self.stop_ms = HELD
        self.heard_ms = 0  # arrival of its newest record
        self.is_silent = False
        self.held: tuple[Held, ...] = ()
        self.counters = Counters()

    def owns(self, record: Accounting, event_ms: int) -> bool:
        """Whether a record with its session id is of it, and not of another session that was given the id again."""
        if record.user and self.user and record.user != self.user:
            return False
        begin = begin_of(record, event_ms)
        if begin is None:
            return event_ms >= self.begin_ms - _SAME_MS
        if not self.is_dated:
            return begin <= self.first_ms + _SAME_MS
        if abs(begin - self.begin_ms) <= _SAME_MS:
            return True
        # A begin inside what is known of the session: its clock was set, or it counts its time in its own way.
        return begin <= self.last_ms and event_ms >= self.begin_ms and begin < self.stop_ms

    def add(self, record: Accounting, event_ms: int, arrived_ms: int, days: LocalDays) -> tuple[bool, bool]:
        """(whether the record says anything new, whether that may change a lease)."""
        before = (self.begin_ms, self.stop_ms, self.first_ms, self.is_silent, len(self.held))
        last = self.last_ms
        self.heard_ms = max(self.heard_ms, arrived_ms)
        if event_ms >= last:
            self.is_silent = False
        if record.status is Status.START:
            self.begin_ms = min(self.begin_ms, event_ms) if self.has_start else event_ms
            self.has_start = self.is_dated = True
        elif not self.has_start:
            begin = begin_of(record, event_ms)
            self.is_dated |= begin is not None
            self.begin_ms = min(self.begin_ms, event_ms if begin is None else begin)
        if record.status is Status.STOP:
            self.stop_ms = min(self.stop_ms, event_ms)
        self.first_ms, self.last_ms = min(self.first_ms, event_ms), max(last, event_ms)
        moved = self._name_addresses(record, event_ms)
        counted = False
        if record.in_octets is not None and record.out_octets is not None:
            counted = self.counters.add(event_ms, record.in_octets, record.out_octets, record.seconds, days)
        leased = moved or before != (self.begin_ms, self.stop_ms, self.first_ms, self.is_silent, len(self.held))
        return leased or counted or self.last_ms > last, leased

    def spans(self, end_ms: int) -> Iterator[tuple[Held, int, int]]:
        """Each address with [since, until); none where it was not held at all."""
        for each in self.held:
            until = end_ms
            for other in self.held:
                if other.kind == each.kind and other.first_ms > each.last_ms:
                    until = min(until, other.first_ms)
            yield each, self.since(each), until

    def since(self, held: Held) -> int:
        """Begin of an address of it."""
        return self.begin_ms if held.first_ms <= self.first_ms else held.first_ms

    def _name_addresses(self, record: Accounting, event_ms: int) -> bool:
        moved = False
        for kind, prefix in record.held:
            for each in self.held:
                if each.prefix == prefix and each.kind == kind:
                    # Only another address of its kind makes the last naming count for a lease.
                    moved |= event_ms < each.first_ms or (event_ms > each.last_ms and self._has_other(each))
                    each.first_ms, each.last_ms = min(each.first_ms, event_ms), max(each.last_ms, event_ms)
                    break
            else:
                self.held += (Held(int(kind), prefix, event_ms, event_ms),)
                moved = True
        return moved

    def _has_other(self, held: Held) -> bool:
        return any(other.kind == held.kind and other is not held for other in self.held)

    def saved(self) -> list[Any]:
        """As JSON, for a snapshot."""
        counters = self.counters
        return [
            self.nas, self.name, self.user, self.subscriber, self.labels, self.begin_ms, self.has_start, self.is_dated,
            self.first_ms, self.last_ms, self.stop_ms, self.heard_ms, self.is_silent,
            [(each.kind, each.prefix, each.first_ms, each.last_ms) for each in self.held],
            counters.points.tolist(), counters.base_in, counters.base_out, counters.seconds, counters.is_cut,
        ]  # fmt: skip

    @staticmethod
    def restored(saved: list[Any]) -> "Session":
        """What ``saved`` gave."""
        nas, name, user, subscriber, labels, begin_ms, *rest = saved
        session = Session(nas, name, subscriber, tuple(labels), user, begin_ms)
        session.has_start, session.is_dated, session.first_ms, session.last_ms, session.stop_ms = rest[:5]
        session.heard_ms, session.is_silent, held, points = rest[5:9]
        session.held = tuple(Held(*each) for each in held)
        counters = session.counters
        counters.points.extend(points)
        counters.base_in, counters.base_out, counters.seconds, counters.is_cut = rest[9:]
        return session


def begin_of(record: Accounting, event_ms: int) -> int | None:
    """Where a record puts the begin of its session; None when it does not say."""
    if record.status is Status.START:
        return event_ms
    return None if record.seconds is None else event_ms - record.seconds * 1000
