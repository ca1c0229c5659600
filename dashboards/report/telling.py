"""Numbers with what one must know to trust them, and the cells and items that show them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dashboards.report.model import (
    DIRECTIONS,
    SERVICE_NAMES,
    Cell,
    Figure,
    Number,
    ServiceWeek,
    Table,
    Users,
)
from dashboards.report.statistics import volume_error
from dashboards.report.weeks import is_published
from dashboards.report.words import NOT_TOLD, listed, printed

ACCESS_NAMES = {"pppoe": "PPPoE", "ipoe": "IPoE", "mobile": "mobile", "other": "other access"}
SOURCE_NAMES = {"netflow": "NetFlow", "accounting": "accounting"}
PUBLISHED_SOURCE = "published"
PORT_ACCESS = {"fixed": "pppoe", "mobile": "mobile"}
"""The access whose ports are known: IPoE is carried by a wholesale service, of which there is no port data."""
USER_DECIMALS = {"fixed": 0, "mobile": 1}
"""Of MB a day, as Tables 1 and 2 are printed."""

PUBLISHED_POPULATIONS = {
    ("fixed", "iij-1"): "broadband users over PPPoE, personal and enterprise",
    ("fixed", "iij-2"): "personal users of broadband over PPPoE",
    ("fixed", "iij-3"): "personal users of broadband, PPPoE and IPoE, a subscription active on both counted as two",
    ("mobile", "iij-1"): "mobile users, each phone number one, personal and enterprise",
    ("mobile", "iij-2"): "personal users of mobile, each phone number one",
}
"""By method of the source report's editions: personal only since that of 2019, with IPoE since that of 2021."""

LEGEND = {direction: name.lower() for direction, name in DIRECTIONS.items()}


@dataclass(frozen=True, slots=True)
class Item:
    """A table or figure, and numbers that only it draws."""

    shown: Table | Figure
    numbers: tuple[Number, ...] = ()

    def all(self) -> tuple[Number, ...]:
        """Those of its cells too."""
        if isinstance(self.shown, Figure):
            return self.numbers
        cells = (cell.number for row in self.shown.rows for cell in row if cell.number)
        return (*cells, *self.numbers)


def number_of(
    week: ServiceWeek,
    name: str,
    value: float | None,
    unit: str,
    definition: str,
    population: str,
    source: str,
    **facts: object,
) -> Number:
    """A number of one week, with that week's coverage, sampling and completeness."""
    quality, published = week.quality, is_published(week)
    number = Number(
        id=name,
        value=None if value is None or math.isnan(value) else float(value),
        unit=unit,
        definition=definition,
        population=population,
        sampling=quality.sampling,
        coverage=None if published or not quality.octets else 1 - quality.unmatched,
        complete=quality.complete,
        volume_source=PUBLISHED_SOURCE if published else source,
        week=week.name if published else str(week.week),
        method=week.method,
        service=week.service,
    )
    return replace(number, **facts)  # type: ignore[arg-type]  # names of its fields


def between(now: Number, then: Number, name: str, value: float | None, unit: str, definition: str) -> Number:
    """A number of two others: a change, growth or factor."""
    errors = (now.error, then.error)
    both = None if unit != "points" or None in errors else math.hypot(*(error or 0 for error in errors))
    sources = sorted({now.volume_source, then.volume_source} - {""})
    return replace(
        now,
        id=name,
        value=value,
        unit=unit,
        definition=definition,
        n=None,
        n_of="users",
        error=both,
        coverage=min((one.coverage for one in (now, then) if one.coverage is not None), default=None),
        complete=now.complete and then.complete,
        volume_source=listed(sources),
        week=f"{now.week} against {then.week}",
        method=now.method if now.method == then.method else f"{now.method} against {then.method}",
        absolute=False,
    )


def cell(number: Number, decimals: int, *, text: str | None = None, mark: str = "") -> Cell:
    """A number as it is printed; a dash where it cannot be told."""
    if number.value is None:
        return Cell(NOT_TOLD, number, mark)
    return Cell(text or printed(number.value, decimals), number, mark or ("" if number.complete else "incomplete"))


def blank(mark: str = "") -> Cell:
    """A cell that cannot be told and has no number."""
    return Cell(NOT_TOLD, mark=mark)


def unique(numbers: Iterable[Number]) -> tuple[Number, ...]:
    """Each once, in order; two different ones of the same id are a mistake of ours."""
    found: dict[str, Number] = {}
    for number in numbers:
        if found.setdefault(number.id, number) != number:
            raise ValueError(f"two different numbers are called {number.id}")
    return tuple(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# Who is counted, and by what.


def accesses(week: ServiceWeek) -> tuple[str, ...]:
    """Those whose volume is counted."""
    return tuple(sorted({volume.access for volume in week.volumes} | set(week.quality.sources), key=_order))


def _order(access: str) -> int:
    return list(ACCESS_NAMES).index(access) if access in ACCESS_NAMES else len(ACCESS_NAMES)


def source_of(week: ServiceWeek) -> str:
    """Of the volumes: NetFlow, accounting or both."""
    if is_published(week):
        return PUBLISHED_SOURCE
    sources = {volume.source for volume in week.volumes} | set(week.quality.sources.values())
    return listed([name for name in SOURCE_NAMES if name in sources])


def sources_told(week: ServiceWeek) -> str:
    """In words, by access: PPPoE by NetFlow, IPoE by accounting."""
    sources = {volume.access: volume.source for volume in week.volumes} | dict(week.quality.sources)
    if len(sources) == 1:
        return SOURCE_NAMES[next(iter(sources.values()))]
    return listed(
        [f"{ACCESS_NAMES.get(one, one)} by {SOURCE_NAMES[sources[one]]}" for one in accesses(week) if one in sources]
    )


def personal(week: ServiceWeek) -> str:
    """The population of daily volumes."""
    if is_published(week):
        return PUBLISHED_POPULATIONS.get((week.service, week.method), "users as the source report counts them")
    if week.service == "mobile":
        return "personal users of mobile, each phone number one"
    names = listed([ACCESS_NAMES.get(one, one) for one in accesses(week)]) or "all accesses"
    both = ", a subscription active on both counted as two" if len(accesses(week)) > 1 else ""
    return f"personal users of broadband, {names}{both}"


def everyone(service: str) -> str:
    """The population of volumes."""
    return f"all of {SERVICE_NAMES[service]}, personal and enterprise"


def port_population(service: str) -> str:
    """The population of shares of ports."""
    if service == "fixed":
        return "broadband over PPPoE, personal and enterprise, both directions; IPoE has no port data"
    return "mobile, personal and enterprise, IPv4 and IPv6, both directions"


# ---------------------------------------------------------------------------------------------------------------------
# Errors of packet sampling: half the width of the 95 % interval.


def mean_error(users: Users, sampling: float) -> float | None:
    """Relative, of a mean or total of users: only what flows tell is uncertain."""
    if not users.packets or not users.octets:
        return None
    error = volume_error(users.sampled_octets, users.packets, sampling)
    return None if error is None else error * min(1.0, users.sampled_octets / users.octets)


def median_user_error(users: Users, days: int, sampling: float) -> float | None:
    """Relative, of the volume of one user who has the median and is told of by flows alone."""
    own = users.median * days
    error = volume_error(users.sampled_octets, users.packets, sampling)
    if error is None or own <= 0:
        return None
    # The error of a volume falls with the root of its packets, and packets go with octets.
    return error * math.sqrt(users.sampled_octets / own)
