"""What a report is made of: weeks as they were measured or frozen, and the items that are drawn from them.

Octets are estimated octets (times the sampling interval) unless a name says otherwise; direction 1 is IN (upload from
the user), 2 is OUT (download to the user); MB is 10**6 octets.  Terms and definitions: IIJ, Internet Infrastructure
Review Vol. 64, chapter 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

IN, OUT = 1, 2
DIRECTIONS = {IN: "IN", OUT: "OUT"}
SERVICES = ("fixed", "mobile")
SERVICE_NAMES = {"fixed": "broadband", "mobile": "mobile"}
OWN, PUBLISHED = "own", "iij"
"""Origins of a week: measured here, or printed in the source report."""
METHOD = "flowtide-1"
"""Of weeks measured by this code; raised when a definition changes, so that no growth is told across it unasked."""
MB = 1_000_000
DRAFT_UNMATCHED = 0.02
"""Above this share of unmatched octets a report is a draft."""
FEW_USERS = 2_000
"""Below it a mode is printed with a mark (54 of 56 published modes at 5,000 users, 50 at 2,000)."""

ALL, WELL_KNOWN, DYNAMIC = -1, -2, -3
"""In place of a port: a protocol as a whole, its lower ports below 1024, and from 1024 on."""
OTHER = 255
"""In place of a protocol: those without a row of their own."""

Segment = Literal["personal", "enterprise", "unknown"]
Source = Literal["netflow", "accounting"]


@dataclass(frozen=True, order=True)
class Week:
    """A local week, from Monday 00:00 to the next."""

    monday: date
    zone: str

    def __post_init__(self) -> None:
        if self.monday.weekday():
            raise ValueError(f"{self.monday} is a {self.monday:%A}; a week begins on a Monday")

    @property
    def end(self) -> date:
        """The next Monday, exclusive."""
        return self.monday + timedelta(days=7)

    @property
    def days(self) -> tuple[date, ...]:
        """Its seven local days."""
        return tuple(self.monday + timedelta(days=number) for number in range(7))

    @cached_property
    def hours(self) -> NDArray[np.int64]:
        """Unix seconds at which each local hour begins: 168, or 167 or 169 where the clock is changed."""
        return np.arange(self.since, self.until, 3_600, dtype="i8")

    @property
    def since(self) -> int:
        """Unix seconds, inclusive."""
        return _midnight(self.monday, self.zone)

    @property
    def until(self) -> int:
        """Unix seconds, exclusive."""
        return _midnight(self.end, self.zone)

    @property
    def hour_days(self) -> NDArray[np.int64]:
        """Of each hour, the number of its local day, 0 to 6."""
        begins = [_midnight(day, self.zone) for day in self.days]
        return np.searchsorted(np.array(begins), self.hours, side="right").astype("i8") - 1

    def __str__(self) -> str:
        return f"{self.monday}..{self.end - timedelta(days=1):%m-%d}"


def _midnight(day: date, zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())


@dataclass(frozen=True, slots=True)
class Volume:
    """Octets of a week's hours, of one source; what accounting tells by day is laid over its hours by ``profile``."""

    segment: Segment
    access: str
    direction: int
    source: Source
    octets: NDArray[np.int64]  # (hours of the week,)
    profile: str = ""  # of accounting: whose hours its days were laid over: "own flows", "pppoe", "flat"


@dataclass(frozen=True, slots=True)
class BucketHours:
    """Octets by service bucket in a week's hours, of flows (personal and enterprise, both directions)."""

    access: str
    ip_version: int
    bucket: str  # of sinks.schema.BUCKETS
    octets: NDArray[np.int64]  # (hours of the week,)


@dataclass(frozen=True, slots=True)
class Port:
    """Octets of a week of one row of a port table, both directions, personal and enterprise."""

    access: str
    ip_version: int  # 4, 6; 0 where only both together are known
    proto: int  # 0 with ``port`` ALL: everything
    port: int  # a lower port, ALL, WELL_KNOWN or DYNAMIC
    octets: int  # 0 of a published week: only its share was printed
    packets: int  # sampled ones, of which the error of the share comes
    share: float  # of all octets of this access, both IP versions; 0 to 1


@dataclass(frozen=True, slots=True)
class Users:
    """Daily volumes of a service's personal users in one direction: mean of each over the days of the week."""

    direction: int
    seen: int  # with a lease in the week or a record; 0: leases are not known
    users: int  # with a record in the week
    zero: int  # of the denominator, without an octet in this direction: not in the histogram
    octets: int  # of all in the week
    mean: float  # octets a day over ``denominator``
    median: float  # exact
    mode: float | None  # on the grid of twentieths of a decade; None: nobody has any
    top10: float | None  # share of the heaviest tenth in this direction's octets, 0 to 1; None: unpublished, or none
    top1: float | None
    bins: tuple[int, ...] = ()  # tenths of a decade of octets a day, ascending: 10 * log10
    numbers: tuple[int, ...] = ()  # users in each
    packets: int = 0  # sampled packets behind the octets that flows tell; 0: none are
    sampled_octets: int = 0  # estimated octets that flows tell; the rest is of accounting

    @property
    def denominator(self) -> int:
        """N of mean and median: who had a lease or a record."""
        return max(self.seen, self.users)


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a week of a service can be trusted."""

    hours: int = 168
    missing_hours: tuple[int, ...] = ()  # Unix seconds: no flow of the service at all
    silent: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # hours without a flow, by exporter that has others
    missing_days: Mapping[str, tuple[date, ...]] = field(default_factory=dict)  # of accounting, by source or access
    octets: int = 0  # of all flows of the week, all services, unmatched ones included
    unmatched_octets: int = 0  # of them, without a subscriber
    unknown_segment_octets: int = 0  # of the service's, neither personal nor enterprise
    sampling: float = 1.0  # packets that one sampled packet stands for, mean over the service's flows
    packets: int = 0  # sampled
    sources: Mapping[str, Source] = field(default_factory=dict)  # which volume is in force, by access

    @property
    def unmatched(self) -> float:
        """Share of octets without a subscriber."""
        return self.unmatched_octets / self.octets if self.octets else 0.0

    @property
    def complete(self) -> bool:
        """No hour, exporter or accounted day is missing."""
        return not (self.missing_hours or self.silent or any(self.missing_days.values()))


@dataclass(frozen=True, slots=True)
class ServiceWeek:
    """One service in one week, measured, frozen or published; what was not told is empty."""

    week: Week
    service: str
    origin: str = OWN
    method: str = METHOD
    label: str = ""  # what its column is called; the year of a published one
    made: datetime | None = None  # when it was frozen; None: measured now
    school_week: bool = True
    volumes: tuple[Volume, ...] = ()
    buckets: tuple[BucketHours, ...] = ()
    ports: tuple[Port, ...] = ()
    users: Mapping[int, Users] = field(default_factory=dict)  # by direction
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), "i8"))  # octets a day IN, OUT; no ids
    quality: Quality = field(default_factory=Quality)

    @property
    def name(self) -> str:
        """Of its column."""
        return self.label or str(self.week.monday)


@dataclass(frozen=True, slots=True)
class Month:
    """Octets of a calendar month, personal and enterprise."""

    first: date
    service: str
    access: str
    direction: int
    source: Source
    octets: int
    days: int  # of the month
    days_told: int  # with any octets of this service and access

    @property
    def a_day(self) -> float:
        """Mean octets a day that was told."""
        return self.octets / self.days_told if self.days_told else 0.0


@dataclass(frozen=True, slots=True)
class Material:
    """All that a report is made from.  A week that is wanted and not there is named in ``missing``."""

    services: tuple[str, ...]
    week: Mapping[str, ServiceWeek]  # the analysed one, by service
    compare: Mapping[str, ServiceWeek]  # the one before it that it is compared with; a service may lack
    profiles: Mapping[str, tuple[ServiceWeek, ...]]  # figure 2's, oldest first
    years: Mapping[
        str, tuple[ServiceWeek, ...]
    ]  # frozen ones of other years and this one, oldest first; own and published
    months: tuple[Month, ...]
    missing: Mapping[str, tuple[str, ...]]  # item (as "figure-7") -> what it lacks, in words
    made: datetime
    across_breaks: bool = False  # growth also where the method changed


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn.


@dataclass(frozen=True, slots=True)
class Number:
    """One number with what one must know to trust it; all of them are in numbers.json."""

    id: str  # unique and stable, as "table-1/2024-06-03/out/mean"
    value: float | None
    unit: str  # "MB/day", "percent", "points", "ratio", "octets", "users", "hour"
    definition: str
    population: str  # as "personal users of fixed, PPPoE and IPoE"
    n: int | None = None  # users, or sampled packets where ``n_of`` says so
    n_of: str = "users"
    error: float | None = None  # half the width of the 95 % interval, in ``unit``; None: not sampled or not known
    sampling: float = 1.0
    coverage: float | None = None  # share of octets with a subscriber, 0 to 1
    complete: bool = True
    volume_source: str = ""  # netflow, accounting, "netflow and accounting", published
    week: str = ""
    method: str = ""
    absolute: bool = False  # a total, or a number of users: never published
    service: str = ""  # fixed, mobile; empty: of both


@dataclass(frozen=True, slots=True)
class Cell:
    """Text as printed, and the number behind it."""

    text: str
    number: Number | None = None
    mark: str = ""  # a footnote: "few users", "incomplete"


@dataclass(frozen=True, slots=True)
class Table:
    """An item of rows and columns; the first cell of a row is its name."""

    id: str  # "table-1"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str  # population, source, coverage, sampling, completeness: a sentence or two
    missing: tuple[str, ...] = ()
    breaks: tuple[int, ...] = ()  # columns before which the method changed (rows, where ``breaks_are_rows``)
    breaks_are_rows: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A series of a plot; NaN parts a line."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    hue: int = 0  # the same hue: the same week, bucket or service
    dotted: bool = False  # IN, where OUT is solid


@dataclass(frozen=True, slots=True)
class Plot:
    """One pair of axes."""

    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    title: str = ""
    kind: Literal["lines", "stacked", "points"] = "lines"
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False
    x_ticks: tuple[tuple[float, str], ...] = ()  # position, text; empty: the drawer's own
    y_from_zero: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """An item that is drawn; two plots stand above each other."""

    id: str  # "figure-7"
    title: str
    plots: tuple[Plot, ...]
    caption: str
    missing: tuple[str, ...] = ()
    alternative: str = ""  # what a reader who cannot see it is told, with numbers
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what was found in words, and the items below it in order."""

    id: str
    title: str
    paragraphs: tuple[str, ...]
    items: tuple[Table | Figure, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole, before it is written down."""

    title: str
    subtitle: str
    draft: tuple[str, ...]  # reasons; empty: final
    warnings: tuple[str, ...]  # incomplete hours and the like, shown at the top
    summary: tuple[str, ...]  # paragraphs
    sections: tuple[Section, ...]
    numbers: tuple[Number, ...]  # all of them, also those only drawn
    facts: tuple[tuple[str, str], ...]  # of the page's foot: method, zone, made, weeks, sources
    published: bool = False
    said: tuple[tuple[str, tuple[str, ...]], ...] = ()  # each sentence of the text, and ids of the numbers it mentions
