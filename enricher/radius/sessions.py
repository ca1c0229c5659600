"""All sessions of all NAS: pure state, which records change in any order and any number of times.

**When it happened**: Event-Timestamp; where that is missing, more than five minutes ahead of us or before 2000 (a clock
that was never set), the time of arrival less Acct-Delay-Time.  Records of long ago are left out (``late_hours``).

**Which session**: NAS and Acct-Session-Id, and for an id that is given again the begin that the record tells.

**When it ended**: with its Stop.  Without one, at the earliest of these that no record of its own comes after:
Accounting-On or -Off of its NAS; the begin of another session with one of its addresses; ``interim_seconds`` after its
newest record, once it has been silent for so long while we listened.  A later record of its own opens it again.
Intervals are [since, until).
"""

import bisect
import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

from enricher.leases import HELD, LeaseRows
from enricher.radius.lease_columns import Lease, LeaseColumns
from enricher.radius.packet import Accounting, Status
from enricher.radius.session import Session, begin_of
from enricher.radius.settings import Naming, RadiusSettings
from enricher.radius.usage import MANY_POINTS, LocalDays, Sums

Outcome = Literal["new", "duplicate", "reordered", "late", "nameless", "ignored"]
"""What a record did: said something new; nothing new; something of a time before what was known; came too late; named
no subscriber; told of no session (tunnels, failures)."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_AHEAD_MS = 300_000
_YEAR_2000_MS = 946_684_800_000
_LOOK_MS = 5_000  # how exactly silence is kept
_MOST_HOLDERS = 64  # of one address within the history; an address that more have is no subscriber's
_RESETS = 64  # Accounting-On and -Off of one NAS that are remembered


def event_time(record: Accounting, arrived_ms: int) -> int:
    """When it happened, Unix milliseconds."""
    if record.event_seconds is not None:
        event_ms = record.event_seconds * 1000
        if _YEAR_2000_MS <= event_ms <= arrived_ms + _AHEAD_MS:
            return event_ms
    return arrived_ms - record.delay_seconds * 1000


class Sessions:
    """Not for two threads at once."""

    def __init__(self, settings: RadiusSettings, zone: str = "UTC") -> None:
        self._naming, self._days = Naming(settings), LocalDays(zone)
        self._interim_ms = int(settings.interim_seconds * 1000)
        self._history_ms, self._late_ms = int(settings.history_hours * 3.6e6), int(settings.late_hours * 3.6e6)
        self._usage_days = settings.usage_days
        self._by_nas: dict[str, dict[str, list[Session]]] = {}
        self._holders: dict[int, list[Session]] = {}  # by prefix
        self._resets: dict[str, list[int]] = {}  # by NAS
        self._columns = LeaseColumns()
        self._sums = Sums()
        self._first_day = 0  # of the sums; older ones are forgotten
        self._due: dict[int, list[Session]] = {}  # by when to look at them again
        self._due_order: list[int] = []
        self._listening_ms = 0
        self._unpublished: set[int] | None = None  # prefixes that changed; None: nobody publishes
        self.version = 0  # grows with every change of a lease
        self.newest_ms = 0  # begin of the newest session
        self.count = 0
        self.resets_seen = 0  # of counters, within sessions

    @property
    def leases(self) -> int:
        """How many there are."""
        return len(self._columns)

    def apply(self, record: Accounting, arrived_ms: int) -> Outcome:
        """Take a record; again and in any order."""
        event_ms = event_time(record, arrived_ms)
        if record.status is Status.OTHER:
            return "ignored"
        if self._late_ms and event_ms < arrived_ms - self._late_ms:
            return "late"
        if record.status in (Status.ON, Status.OFF):
            return self._reset(record.nas, event_ms)
        session = self._find(record, event_ms)
        if session is None:
            session = self._open(record, event_ms, arrived_ms)
        elif not session.subscriber:
            session.subscriber, session.labels = self._naming.of(record)
            self._refresh(session)
        before, resets = session.last_ms, session.counters.resets
        since = [(each.prefix, session.since(each)) for each in session.held]
        news, leased = session.add(record, event_ms, arrived_ms, self._days)
        self.resets_seen += session.counters.resets - resets
        if leased or (news and session.stop_ms == HELD and self._end(session, before) != HELD):
            self._refresh(session)
            self._refresh_others(session, since)
        self.newest_ms = max(self.newest_ms, session.begin_ms)
        if not news:
            return "duplicate"
        if not session.subscriber:
            return "nameless"
        return "reordered" if event_ms < before else "new"

    def listen(self, now_ms: int) -> None:
        """From now on silence counts; what was before, with nobody listening, does not."""
        self._listening_ms = now_ms

    def sweep(self, now_ms: int, most: int | None = None) -> bool:
        """Close silent sessions and forget those that ended long ago; True: ``most`` were looked at, others wait."""
        looked = 0
        while self._due_order and self._due_order[0] * _LOOK_MS <= now_ms:
            due = self._due[self._due_order[0]]
            while due:
                if looked == most:
                    return True
                self._look(due.pop(), now_ms)
                looked += 1
            del self._due[heapq.heappop(self._due_order)]
        first_day = self._days.number(now_ms) - self._usage_days
        if first_day != self._first_day:
            self._first_day = first_day
            self._sums.forget(first_day)
        return False

    def rows(self) -> LeaseRows:
        """All leases."""
        return self._columns.rows()

    def publish_all(self, others: Iterable[int] = ()) -> None:
        """Take the leases of all prefixes, and of ``others``, for changed: ``take_unpublished`` gives them."""
        self._unpublished = {*self._holders, *others}

    @property
    def unpublished(self) -> int:
        """How many prefixes ``take_unpublished`` has to give."""
        return len(self._unpublished or ())

    def take_unpublished(self, most: int) -> dict[int, list[Lease]]:
        """Some of the prefixes that changed since they were taken last, each with all its leases, be it none."""
        taken: dict[int, list[Lease]] = {}
        while self._unpublished and len(taken) < most:
            prefix = self._unpublished.pop()
            taken[prefix] = [
                self._columns.lease(each.slot)
                for session in self._holders.get(prefix, ())
                for each in session.held
                if each.prefix == prefix and each.slot >= 0
            ]
        return taken

    def sums(self) -> Sums:
        """Octets of forgotten sessions, which only ``sweep`` changes; ``add_to`` adds those of the others."""
        return self._sums.copy()

    def add_to(self, sums: Sums, sessions: Iterable[Session]) -> None:
        """Their octets by user and local day; between this and ``sums`` there must be no ``sweep``."""
        for session in sessions:
            self._sum(session, sums)

    def all(self) -> Iterator[Session]:
        """Every session there is now; may be walked while others ``apply`` records, but not while they ``sweep``."""
        by_name = itertools.chain.from_iterable([list(sessions.values()) for sessions in self._by_nas.values()])
        return itertools.chain.from_iterable(map(tuple, by_name))

    def state(self) -> dict[str, Any]:
        """What a snapshot holds beside the sessions, as JSON; octets are changed by ``sweep`` only."""
        octets = [[day, user, total] for (day, user), total in self._sums.octets.items()]
        # Copies, which no other thread comes between: others may ``apply`` records meanwhile.
        return {"resets": {nas: list(times) for nas, times in dict(self._resets).items()}, "octets": octets}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what ``state`` gave; before any session."""
        self._resets = state["resets"]
        self._sums.octets = {(day, tuple(user)): total for day, user, total in state["octets"]}

    def insert(self, session: Session) -> None:
        """A session of a snapshot."""
        self._by_nas.setdefault(session.nas, {}).setdefault(session.name, []).append(session)
        self.count += 1
        self.newest_ms = max(self.newest_ms, session.begin_ms)
        self._refresh(session)
        self._refresh_others(session, [])
        self._place(session, session.heard_ms + (self._interim_ms or self._history_ms))

    def _find(self, record: Accounting, event_ms: int) -> Session | None:
        several = self._by_nas.get(record.nas, {}).get(record.session, ())
        own = [session for session in several if session.owns(record, event_ms)]
        return max(own, key=lambda session: session.begin_ms) if own else None

    def _open(self, record: Accounting, event_ms: int, arrived_ms: int) -> Session:
        begin = begin_of(record, event_ms)
        subscriber, labels = self._naming.of(record)
        session = Session(
            record.nas, record.session, subscriber, labels, record.user, event_ms if begin is None else begin
        )
        self._by_nas.setdefault(record.nas, {}).setdefault(record.session, []).append(session)
        self.count += 1
        self._place(session, arrived_ms + (self._interim_ms or self._history_ms))
        return session

    def _reset(self, nas: str, event_ms: int) -> Outcome:
        times = self._resets.setdefault(nas, [])
        if event_ms in times:
            return "duplicate"
        bisect.insort(times, event_ms)
        del times[:-_RESETS]
        for session in itertools.chain.from_iterable(self._by_nas.get(nas, {}).values()):
            if session.last_ms <= event_ms < session.stop_ms:
                self._refresh(session)
        return "new"

    def _end(self, session: Session, last_ms: int) -> int:
        """By the rule above, as if the newest record were of ``last_ms``; HELD while it goes on."""
        if session.stop_ms != HELD:
            return session.stop_ms
        end = session.last_ms + self._interim_ms if session.is_silent else HELD
        times = self._resets.get(session.nas, [])
        for at in times[bisect.bisect_left(times, max(last_ms, session.begin_ms + 1)) :][:1]:
            end = min(end, at)
        for each in session.held:
            holders = self._holders.get(each.prefix, ())
            if len(holders) < 2 or len(holders) > _MOST_HOLDERS:
                continue
            for other in holders:
                if other is not session:
                    for its in other.held:
                        if its.prefix == each.prefix and max(last_ms, session.since(each) + 1) <= other.since(its):
                            end = min(end, other.since(its))
        return end

    def _refresh(self, session: Session) -> None:
        """Bring its leases up to date."""
        for each in session.held:
            holders = self._holders.setdefault(each.prefix, [])
            if session not in holders:
                holders.append(session)
        for each, since, until in session.spans(self._end(session, session.last_ms)):
            if since < until and session.subscriber:
                each.slot = self._columns.put(each.slot, each.prefix, since, until, session.subscriber, session.labels)
            elif each.slot >= 0:
                self._columns.remove(each.slot)
                each.slot = -1
            else:
                continue
            self._note(each.prefix)

    def _refresh_others(self, session: Session, before: list[tuple[int, int]]) -> None:
        """Those whose address it has taken, or has no longer since the same time."""
        now = [(each.prefix, session.since(each)) for each in session.held]
        if now == before:
            return
        for prefix, _ in now:
            holders = self._holders[prefix]
            if 1 < len(holders) <= _MOST_HOLDERS:
                for other in holders:
                    if other is not session and other.stop_ms == HELD:
                        self._refresh(other)

    def _note(self, prefix: int) -> None:
        """A lease of it changed."""
        if self._unpublished is not None:
            self._unpublished.add(prefix)
        self.version += 1

    def _look(self, session: Session, now_ms: int) -> None:
        heard = max(session.heard_ms, self._listening_ms)
        end = self._end(session, session.last_ms)
        if end == HELD and self._interim_ms and now_ms - heard >= self._interim_ms:
            session.is_silent = True
            self._refresh(session)
            self._refresh_others(session, [])
            end = session.last_ms + self._interim_ms
        if len(session.counters.points) > 3 * MANY_POINTS:
            self._sum(session, self._sums)
            session.counters.cut()
        if end == HELD:
            self._place(session, max(heard, now_ms - self._interim_ms + 1) + (self._interim_ms or self._history_ms))
            return
        over = max(session.heard_ms, min(end, now_ms)) + self._history_ms
        if over > now_ms:
            self._place(session, over)
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._sum(session, self._sums)
        for each in session.held:
            if each.slot >= 0:
                self._columns.remove(each.slot)
                self._note(each.prefix)
            each.slot = -1
            holders = self._holders[each.prefix]
            if session in holders:
                holders.remove(session)
            if not holders:
                del self._holders[each.prefix]
        several = self._by_nas[session.nas][session.name]
        several.remove(session)
        if not several:
            del self._by_nas[session.nas][session.name]
        self.count -= 1

    def _sum(self, session: Session, sums: Sums) -> None:
        if session.subscriber and session.counters.points:
            service, segment, access, _ = session.labels
            user = session.subscriber, service, segment, access
            days = session.counters.by_day(session.begin_ms, self._days)
            # What is kept here stays until the day changes: nothing that is forgotten already.
            sums.add(user, (day for day in days if sums is not self._sums or day[0] >= self._first_day))

    def _place(self, session: Session, due_ms: int) -> None:
        number = due_ms // _LOOK_MS + 1
        if number not in self._due:
            self._due[number] = []
            heapq.heappush(self._due_order, number)
        self._due[number].append(session)
