"""What the alert rules must say, walked through in plain Python: sums first, then ratios, one bucket after the other.

Written from the rules' specification, not from their SQL, and slow.  Rows are ``Row``s of five minutes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR, DAY = 3600, 86_400
LEAST_PACKETS = 10_000


class Row(NamedTuple):
    """Of ``bucket_end_5m``; of direction 2 and pppoe unless said."""

    time: int
    exporter: str
    service: str
    bucket: str
    flows: int
    packets: int
    octets: int
    direction: int = 2
    access: str = "pppoe"


@dataclass
class Site:
    """All that a judgement depends on."""

    rows: Iterable[Row]
    zone: str
    holidays: frozenset[date] = frozenset()
    grace: int = 120
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()  # services without new flows (R0)
    bad: frozenset[str] = frozenset()  # exporters of which too much is not decoded (R9)


@dataclass
class Hour:
    """Sums of sixty minutes of one exporter."""

    quic: int = 0
    tcp: int = 0
    all: int = 0
    packets: int = 0
    flows: int = 0
    buckets: frozenset[int] = frozenset()


class Judged(NamedTuple):
    """A row of R1 and R2."""

    jump: bool
    drop: bool
    share: float
    before: float
    n: int
    threshold: float


class Banded(NamedTuple):
    """A row of R3."""

    outside: bool
    share: float
    low: float
    high: float


def days_before(end: int, days: int, zone: str) -> int:
    """The same local time some days before, as the offsets of both instants say."""
    there = ZoneInfo(zone)

    def offset(at: int) -> int:
        shift = datetime.fromtimestamp(at, there).utcoffset()
        assert shift is not None
        return int(shift.total_seconds())

    return end - days * DAY + offset(end) - offset(end - days * DAY)


def local_day(end: int, zone: str) -> date:
    """The day that an hour ending then belongs to."""
    return datetime.fromtimestamp(end - 1, UTC).astimezone(ZoneInfo(zone)).date()


class Walk:
    """Looks at a site's rows, hour by hour."""

    def __init__(self, site: Site, *, only_443: bool) -> None:
        self.site = site
        self._cells: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
        self.exporters: dict[str, set[str]] = defaultdict(set)
        self._hours: dict[tuple[str, str, int], Hour] = {}
        for row in site.rows:
            if row.direction == 0 or row.access == "ipoe" or (only_443 and row.bucket not in ("udp/443", "tcp/443")):
                continue
            service = row.service or "(none)"
            self._cells[service, row.exporter, row.time].append(row)
            self.exporters[service].add(row.exporter)

    def hour(self, service: str, exporter: str, end: int) -> Hour:
        """Of one exporter; as if nothing was there where its last bucket has nothing."""
        key = (service, exporter, end)
        if key not in self._hours:
            self._hours[key] = self._sum(*key)
        return self._hours[key]

    def _sum(self, service: str, exporter: str, end: int) -> Hour:
        found, there = Hour(), set()
        for begin in range(end - HOUR, end, 300):
            for row in self._cells.get((service, exporter, begin), ()):
                there.add(begin)
                found.quic += row.octets * (row.bucket == "udp/443")
                found.tcp += row.octets * (row.bucket == "tcp/443")
                found.all += row.octets
                found.packets += row.packets
                found.flows += row.flows
        # An hour without its last bucket is not looked at: its exporter counts as silent in all of it.
        return Hour(found.quic, found.tcp, found.all, found.packets, found.flows, frozenset(
            at - end for at in there)) if end - 300 in there else Hour()  # fmt: skip

    def newest(self, now: int) -> int:
        """End of the newest closed bucket."""
        return (now - self.site.grace) // 300 * 300

    def series(self) -> Iterator[tuple[str, str, list[str]]]:
        """Service, exporter (empty: all of them) and whose rows count."""
        for service, exporters in self.exporters.items():
            yield service, "", sorted(exporters)
            for exporter in sorted(exporters):
                yield service, exporter, [exporter]


class Change(NamedTuple):
    """Two hours beside each other."""

    share: float
    before: float
    n: int
    whole: bool
    spoilt: bool


def compare(walk: Walk, service: str, exporters: Sequence[str], end: int, days: tuple[int, int]) -> Change | None:
    """The hours so many days before ``end``; exporters that were silent in one of them are left out of both."""
    zone = walk.site.zone
    now_at, then_at, day_before = (days_before(end, each, zone) for each in (*days, days[1] + 1))
    now, then, spoilt = Hour(), Hour(), False
    for exporter in exporters:
        a, b = walk.hour(service, exporter, now_at), walk.hour(service, exporter, then_at)
        plain = max(a.flows, b.flows) >= 120
        silent = a.flows == 0 or (plain and (len(a.buckets) < 12 or a.flows * 5 < b.flows))
        was_silent = b.flows == 0 or (plain and (len(b.buckets) < 12 or b.flows * 5 < a.flows))
        known = days[1] < 35 and walk.hour(service, exporter, day_before).flows > 0
        spoilt |= not silent and plain and len(b.buckets) < 12 and known
        if silent or was_silent:
            continue
        for total, each in ((now, a), (then, b)):
            total.quic += each.quic
            total.tcp += each.tcp
            total.packets += each.packets
            total.buckets |= each.buckets
    if not now.quic + now.tcp or not then.quic + then.tcp:
        return None
    whole = len(now.buckets) == 12 and len(then.buckets) == 12
    return Change(now.quic / (now.quic + now.tcp), then.quic / (then.quic + then.tcp), min(now.packets, then.packets),
                  whole, spoilt)  # fmt: skip


def week(site: Site, now: int) -> dict[tuple[str, str], Judged]:
    """R1 and R2 at a moment, by service and exporter."""
    walk = Walk(site, only_443=True)
    newest = walk.newest(now)
    found: dict[tuple[str, str], Judged] = {}
    for service, exporter, names in walk.series():
        if service in site.stale:
            continue
        there = [
            name
            for name in sorted(walk.exporters[service])
            if any(walk.hour(service, name, days_before(newest, day, site.zone)).flows for day in range(36))
        ]
        if exporter and len(there) < 2:
            continue
        judged = _fold_week(walk, service, names, newest)
        if judged is None or not _enough(walk, service, names, newest):
            continue
        octets = {name: _octets(walk.hour(service, name, newest)) for name in names}
        if sum(octets[name] for name in names if name in site.bad) * 20 > sum(octets.values()):
            continue
        found[service, exporter] = judged
    return found


def _octets(hour: Hour) -> int:
    return hour.quic + hour.tcp


def _enough(walk: Walk, service: str, names: Sequence[str], newest: int) -> bool:
    """R5: a hundredth of the median hour."""
    hours = [sum(_octets(walk.hour(service, name, newest - back * HOUR)) for name in names) for back in range(168)]
    usual = [each for each in hours if each]
    return sum(_octets(walk.hour(service, name, newest)) for name in names) * 100 >= (median(usual) if usual else 0)


def _fold_week(walk: Walk, service: str, names: Sequence[str], newest: int) -> Judged | None:
    last: Judged | None = None
    up = [False, 0, 0]  # firing, buckets in a row beyond, buckets in a row back
    down = [False, 0, 0]
    for end in range(newest - 71 * 300, newest + 1, 300):
        at = _at_end(walk, service, names, end)
        last = None
        if at is None:
            for state in (up, down):
                state[1] = state[2] = 0
            continue
        change, threshold, echo = at
        for state, by in ((up, change.share - change.before), (down, change.before - change.share)):
            state[1] = state[1] + 1 if by >= threshold and not echo else 0
            state[2] = state[2] + 1 if echo or by < 0.6 * threshold else 0
            if state[1] >= 3:
                state[0] = True
            if state[2] >= 6:
                state[0] = False
        last = Judged(bool(up[0]), bool(down[0]), change.share, change.before, change.n, threshold)
    return last


def _at_end(walk: Walk, service: str, names: Sequence[str], end: int) -> tuple[Change, float, bool] | None:
    zone, holidays = walk.site.zone, walk.site.holidays
    today = local_day(end, zone)
    baselines = []
    for days in (7, 14):
        change = compare(walk, service, names, end, (0, days))
        free = today - timedelta(days=days) in holidays
        baselines.append(change if change and change.whole and not change.spoilt and not free else None)
    base = baselines[0] or baselines[1]
    if base is None or base.n < LEAST_PACKETS:
        return None
    differences = []
    for day in range(1, 29):
        if today - timedelta(days=day) in holidays or today - timedelta(days=day + 7) in holidays:
            continue
        change = compare(walk, service, names, end, (day, day + 7))
        if change and change.whole:
            differences.append(change.share - change.before)
    threshold = 0.05
    if len(differences) >= 14:
        middle = median(differences)
        threshold = max(0.05, 4 * 1.4826 * median(abs(each - middle) for each in differences))
    first, second = baselines
    echo = bool(first and second and second.n >= LEAST_PACKETS and abs(second.share - second.before) < 0.6 * threshold)
    return base, threshold, echo


def band(site: Site, now: int) -> dict[tuple[str, str], Banded]:
    """R3 at a moment, by service and exporter."""
    walk = Walk(site, only_443=False)
    newest = walk.newest(now)
    found = {}
    for service, exporter, names in walk.series():
        seen = [
            name
            for name in sorted(walk.exporters[service])
            if any(walk.hour(service, name, days_before(newest, day, site.zone)).flows for day in range(36))
        ]
        if service in site.stale or (exporter and len(seen) < 2):
            continue
        outside, beyond, within, last = False, 0, 0, None
        for end in range(newest - 71 * 300, newest + 1, 300):
            last = _band_at(walk, service, exporter, names, end)
            if last is None:
                beyond = within = 0
                continue
            out = not last.low <= last.share <= last.high
            beyond, within = (beyond + 1, 0) if out else (0, within + 1)
            outside = True if beyond >= 6 else False if within >= 6 else outside
        hours = [sum(walk.hour(service, name, newest - back * HOUR).all for name in names) for back in range(168)]
        usual = [each for each in hours if each]
        octets = {name: walk.hour(service, name, newest).all for name in names}
        if last is None or sum(octets.values()) * 100 < (median(usual) if usual else 0):
            continue
        if sum(octets[name] for name in names if name in site.bad) * 20 > sum(octets.values()):
            continue
        found[service, exporter] = last._replace(outside=outside)
    return found


def _band_at(walk: Walk, service: str, exporter: str, names: Sequence[str], end: int) -> Banded | None:
    zone = walk.site.zone
    ends = [days_before(end, day, zone) for day in range(36)]
    before = {
        name: [walk.hour(service, name, at).flows for at in ends[1:29] if walk.hour(service, name, at).flows]
        for name in walk.exporters[service]
    }
    most = max(len(each) for each in before.values())
    counts = []
    for name in names:
        hour = walk.hour(service, name, end)
        usual = median(before[name]) if before[name] else 0
        plain = max(hour.flows, usual) >= 120
        odd = plain and (len(hour.buckets) < 12 or hour.flows * 5 < usual or (0 < usual * 5 < hour.flows))
        if hour.flows and len(before[name]) * 2 >= most and not odd:
            counts.append(name)
    shares: dict[int, float] = {}
    packets = 0
    for day, at in enumerate(ends):
        hours = [walk.hour(service, name, at) for name in counts]
        whole = len(frozenset().union(*(hour.buckets for hour in hours))) == 12 if hours else False
        if not whole or (day and local_day(end, zone) - timedelta(days=day) in walk.site.holidays):
            continue
        shares[day] = sum(hour.quic for hour in hours) / sum(hour.all for hour in hours)
        packets = sum(hour.packets for hour in hours) if day == 0 else packets
    if 0 not in shares or packets < LEAST_PACKETS:
        return None
    past = [share for day, share in shares.items() if 1 <= day <= 28]
    if len(past) >= 14 and any(day >= 28 for day in shares):
        return Banded(False, shares[0], median(past) - 0.08, median(past) + 0.08)
    if exporter:
        return None
    given = walk.site.bands.get(service) or {"fixed": (0.13, 0.29), "mobile": (0.145, 0.305)}.get(service)
    return Banded(False, shares[0], *given) if given else None


def trend(site: Site, now: int) -> dict[str, tuple[float, float]]:
    """R4: Q1 of the last 7 full local days and of the 7 before, by service."""
    zone = ZoneInfo(site.zone)
    today = datetime.fromtimestamp((now - site.grace) // 300 * 300, zone).date()
    days: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in site.rows:
        back = (today - datetime.fromtimestamp(row.time, zone).date()).days
        if row.direction and row.access != "ipoe" and 1 <= back <= 14:
            days[row.service or "(none)", row.exporter, back].append(row)
    found = {}
    for service in {key[0] for key in days} - site.stale:
        names = []
        for name in {key[1] for key in days if key[0] == service}:
            flows = sum(row.flows for back in range(1, 15) for row in days[service, name, back])
            full = all(len({row.time for row in days[service, name, back]}) >= 259 for back in range(1, 15))
            if full or flows < 10 * 288 * 14:
                names.append(name)
        sides: list[list[Row]] = [[], []]
        pairs = 0
        for back in range(1, 8):
            if {today - timedelta(days=back), today - timedelta(days=back + 7)} & site.holidays:
                continue
            halves = [[row for name in names for row in days[service, name, each]] for each in (back, back + 7)]
            if all(sum(row.packets for row in half) for half in halves):
                pairs += 1
                for side, half in zip(sides, halves, strict=True):
                    side += half
        if pairs < 5 or min(sum(row.packets for row in side) for side in sides) < LEAST_PACKETS:
            continue
        share, before = (sum(row.octets for row in side if row.bucket == "udp/443") / sum(row.octets for row in side)
                         for side in sides)  # fmt: skip
        found[service] = (share, before)
    return found
