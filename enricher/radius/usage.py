"""Octets of subscribers by local day, from the counters of their sessions.

A session's counters are a curve over time: 0 at its begin, and at each record what it says.  Between two records the
octets are spread evenly, so midnight parts them by time; a session of which only a later record is known spreads what
it counted over the time since its begin.  Of each local day the first and the last record are enough for that, and any
order of arrival ends in the same curve.  With records in order no day's octets ever become fewer; a late one may move
octets from one day to the next.

Counters that fall although the session went on were reset: they count anew on top of what was there.  A 32-bit
counter that wraps without Acct-Input-Gigawords looks the same and loses 4 GiB: nothing is counted that was not said.
"""

from array import array
from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

MANY_POINTS = 64  # of a session, twice the days it lasts: then the older ones become sums


class DailyUsage(NamedTuple):
    """Octets of one user and local day; in is from the subscriber."""

    day: date
    subscriber: str
    service: str
    segment: str
    access: str
    in_octets: int
    out_octets: int


class LocalDays:
    """Local days by number (``date.toordinal``)."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._begins: dict[int, int] = {}
        self._last = (0, 0, 0)  # number, begin and end of the day asked for last

    def number(self, at_ms: int) -> int:
        """The day that holds this time."""
        number, begin, end = self._last
        if begin <= at_ms < end:
            return number
        number = datetime.fromtimestamp(at_ms // 1000, self._zone).toordinal()
        self._last = (number, self.begin(number), self.begin(number + 1))
        return number

    def begin(self, number: int) -> int:
        """Its midnight, Unix milliseconds."""
        if number not in self._begins:
            day = date.fromordinal(number)
            self._begins[number] = int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp() * 1000)
        return self._begins[number]


class Counters:
    """One session's curve: points (time, in, out), each cumulative and in order."""

    __slots__ = ("base_in", "base_out", "is_cut", "points", "resets", "seconds")

    def __init__(self) -> None:
        self.points = array("q")  # three numbers each
        self.base_in = self.base_out = 0  # what was counted before the last reset
        self.seconds = 0  # session time of the newest point
        self.resets = 0
        self.is_cut = False  # what was before the first point is in sums already

    def add(self, at_ms: int, in_octets: int, out_octets: int, seconds: int | None, days: LocalDays) -> bool:
        """What a record says; whether that is news."""
        points = self.points
        if points and at_ms <= points[-3]:
            return self._add_late(at_ms, in_octets, out_octets, days)
        if points and (in_octets + self.base_in < points[-2] or out_octets + self.base_out < points[-1]):
            if seconds is not None and seconds < self.seconds:
                return False  # not a reset but an old record that does not tell its time
            self.base_in, self.base_out = points[-2], points[-1]
            self.resets += 1
        self.seconds = self.seconds if seconds is None else seconds
        points.extend((at_ms, in_octets + self.base_in, out_octets + self.base_out))
        self._thin(len(points) // 3 - 2, days)
        return True

    def _add_late(self, at_ms: int, in_octets: int, out_octets: int, days: LocalDays) -> bool:
        """It counts where it fits between its neighbours."""
        points = self.points
        at = len(points) // 3 - 1
        while at > 0 and points[3 * at - 3] >= at_ms:
            at -= 1
        after = 3 * at
        for base_in, base_out in {(self.base_in, self.base_out), (0, 0)}:
            low = (points[after - 2], points[after - 1]) if at else (0, 0)
            counted = in_octets + base_in, out_octets + base_out
            if points[after] == at_ms:  # two records of one second: the larger
                last = after == len(points) - 3
                high = (points[after + 4], points[after + 5]) if not last else counted
                if points[after + 1] <= counted[0] <= high[0] and points[after + 2] <= counted[1] <= high[1]:
                    news = (points[after + 1], points[after + 2]) != counted
                    points[after + 1], points[after + 2] = counted
                    return news
            elif low[0] <= counted[0] <= points[after + 1] and low[1] <= counted[1] <= points[after + 2]:
                if at == 0 and self.is_cut:
                    return False
                points[after:after] = array("q", (at_ms, *counted))
                # Of three in one day the middle one goes, be it this one or a neighbour.
                gone = [self._thin(each, days) for each in (at, at + 1, at - 1)]
                return at_ms not in gone
        return False

    def _thin(self, at: int, days: LocalDays) -> int | None:
        """Remove this point when both its neighbours are of the same day; its time."""
        points = self.points
        if not 0 < at < len(points) // 3 - 1:
            return None
        if days.number(points[3 * at - 3]) != days.number(points[3 * at + 3]):
            return None
        moment = points[3 * at]
        del points[3 * at : 3 * at + 3]
        return moment

    def by_day(self, begin_ms: int, days: LocalDays) -> Iterator[tuple[int, int, int]]:
        """(day number, in, out) of the curve; a day may come several times."""
        points = self.points
        if not points:
            return
        since, *counted = points[:3] if self.is_cut else (min(begin_ms, points[0]), 0, 0)
        for at in range(0, len(points), 3):
            until, total_in, total_out = points[at : at + 3]
            more_in, more_out = total_in - counted[0], total_out - counted[1]
            done_in = done_out = 0
            day = days.number(since)
            while (midnight := days.begin(day + 1)) < until and (more_in or more_out):
                share_in = more_in * (midnight - since) // (until - since)
                share_out = more_out * (midnight - since) // (until - since)
                yield day, share_in - done_in, share_out - done_out
                done_in, done_out, day = share_in, share_out, day + 1
            if more_in > done_in or more_out > done_out:
                yield day, more_in - done_in, more_out - done_out
            since, counted = until, [total_in, total_out]

    def cut(self) -> None:
        """Forget all but the newest point: what ``by_day`` told so far is in sums."""
        del self.points[:-3]
        self.is_cut = True


User = tuple[str, str, str, str]
"""Subscriber, service, segment, access."""


class Sums:
    """Octets of sessions that are no longer known one by one."""

    def __init__(self) -> None:
        self.octets: dict[tuple[int, User], list[int]] = {}

    def add(self, user: User, parts: Iterator[tuple[int, int, int]]) -> None:
        """What ``Counters.by_day`` says."""
        for day, in_octets, out_octets in parts:
            total = self.octets.setdefault((day, user), [0, 0])
            total[0] += in_octets
            total[1] += out_octets

    def copy(self) -> "Sums":
        """To add more to, for an answer."""
        other = Sums()
        other.octets = {key: list(total) for key, total in self.octets.items()}
        return other

    def forget(self, before: int) -> None:
        """Drop the days before this number."""
        for key in [key for key in self.octets if key[0] < before]:
            del self.octets[key]

    def rows(self, first_day: int) -> list[DailyUsage]:
        """By day."""
        by_day: dict[int, list[DailyUsage]] = {}
        # Sorted by user too, a million of them would stop every other thread for seconds.
        for (day, user), total in self.octets.items():
            if day >= first_day:
                by_day.setdefault(day, []).append(DailyUsage(date.fromordinal(day), *user, *total))
        return [row for day in sorted(by_day) for row in by_day[day]]
