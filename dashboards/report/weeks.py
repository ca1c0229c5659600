"""Which weeks stand beside each other, and a week's hours by local clock."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from dashboards.report.model import OWN, PUBLISHED, Material, ServiceWeek, Week

WEEKDAYS = 5
Floats = NDArray[np.float64]


def key(week: ServiceWeek) -> str:
    """Of a week in a number's id: its name, with the origin where it was not measured here."""
    return week.name if week.origin == OWN else f"{week.origin}-{week.name}"


def year_of(week: ServiceWeek) -> int:
    """The calendar year that most of its days are in."""
    return week.week.days[3].year


def in_order(material: Material, service: str) -> tuple[ServiceWeek, ...]:
    """All weeks of a service, each once, oldest first: the published ones, then own ones up to the analysed one."""
    found = {(week.origin, week.week.monday): week for week in material.years.get(service, ())}
    for chosen in (material.compare, material.week):
        if service in chosen:
            week = chosen[service]
            found[week.origin, week.week.monday] = week
    weeks = sorted(found.values(), key=lambda week: (week.origin == OWN, week.origin, week.week.monday))
    if service in material.week:
        analysed = material.week[service]
        # What came after the analysed week is another report's.
        weeks = [week for week in weeks if week.origin != OWN or week.week.monday <= analysed.week.monday]
    return tuple(weeks)


def one_a_year(weeks: Iterable[ServiceWeek], near: date) -> tuple[ServiceWeek, ...]:
    """Of each origin and year the week nearest to the same time of the year."""
    best: dict[tuple[str, int], ServiceWeek] = {}
    for week in weeks:
        at = week.origin, year_of(week)
        if at not in best or _apart(week, near) < _apart(best[at], near):
            best[at] = week
    return tuple(best.values())


def _apart(week: ServiceWeek, near: date) -> int:
    days = abs(week.week.days[3].timetuple().tm_yday - near.timetuple().tm_yday)
    return min(days, 365 - days)


def years(material: Material, service: str) -> tuple[ServiceWeek, ...]:
    """One week a year of a service, published and own, for tables and distributions; and the two that are compared."""
    weeks = in_order(material, service)
    near = near_of(material, service)
    kept = {id(week) for week in one_a_year(weeks, near)}
    kept |= {id(chosen[service]) for chosen in (material.week, material.compare) if service in chosen}
    return tuple(week for week in weeks if id(week) in kept)


def near_of(material: Material, service: str) -> date:
    """The time of the year that other years' weeks should be near to."""
    chosen = material.week.get(service) or next(iter(material.week.values()), None)
    return chosen.week.days[3] if chosen else material.made.date()


def comparable(now: ServiceWeek, then: ServiceWeek, material: Material) -> bool:
    """Whether growth may be told between two weeks: the same method and origin, or it was asked for."""
    return material.across_breaks or (now.method, now.origin) == (then.method, then.origin)


def breaks(weeks: Sequence[ServiceWeek]) -> tuple[int, ...]:
    """Positions of the weeks before which the method or the origin changes."""
    return tuple(
        at
        for at in range(1, len(weeks))
        if (weeks[at].method, weeks[at].origin) != (weeks[at - 1].method, weeks[at - 1].origin)
    )


def years_before(weeks: Iterable[ServiceWeek], week: ServiceWeek, number: int) -> ServiceWeek | None:
    """The week of the same origin so many years before."""
    found = [other for other in weeks if other.origin == week.origin and year_of(other) == year_of(week) - number]
    return min(found, key=lambda other: _apart(other, week.week.days[3]), default=None)


def previous(material: Material, service: str) -> ServiceWeek | None:
    """The week that the analysed one is compared with, where growth may be told between them."""
    now, then = material.week.get(service), material.compare.get(service)
    return then if now and then and comparable(now, then, material) else None


def groups(weeks: Iterable[ServiceWeek]) -> tuple[tuple[ServiceWeek, ...], ...]:
    """Published and own weeks apart."""
    weeks = tuple(weeks)
    parts = (tuple(week for week in weeks if (week.origin == OWN) is own) for own in (False, True))
    return tuple(part for part in parts if part)


def is_published(week: ServiceWeek) -> bool:
    """Whether it was printed in the source report, and not measured here."""
    return week.origin == PUBLISHED


# ---------------------------------------------------------------------------------------------------------------------
# Hours.


@lru_cache(maxsize=64)
def _clock(week: Week) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    zone = ZoneInfo(week.zone)
    at = [datetime.fromtimestamp(int(second), zone) for second in week.hours]
    return np.array([one.hour for one in at], "i8"), np.array([one.weekday() for one in at], "i8")


def hours_of_day(week: Week) -> NDArray[np.int64]:
    """The local hour of the day at which each of its hours begins."""
    return _clock(week)[0]


def weekdays(week: Week) -> NDArray[np.int64]:
    """The local day of each of its hours: 0 is Monday."""
    return _clock(week)[1]


def hour_label(second: int, zone: str) -> str:
    """An hour as a reader knows it: Tue 2024-06-04 13:00."""
    return f"{datetime.fromtimestamp(second, ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


def told(week: ServiceWeek) -> NDArray[np.bool_]:
    """The hours in which anything of the service was seen."""
    return ~np.isin(week.week.hours, np.array(week.quality.missing_hours, "i8"))


def hourly(
    week: ServiceWeek, direction: int, *, access: str | None = None, segment: str | None = None
) -> Floats | None:
    """Octets of each hour, NaN in hours that are missing; None where nothing was told."""
    parts = [
        volume.octets
        for volume in week.volumes
        if volume.direction == direction and access in (None, volume.access) and segment in (None, volume.segment)
    ]
    if not parts:
        return None
    return np.where(told(week), np.sum(parts, axis=0, dtype="f8"), np.nan)


def weekday_profile(series: Floats, week: Week) -> Floats:
    """Mean of each hour of the day over Monday to Friday; an hour that is missing is left out of its mean."""
    chosen = (weekdays(week) < WEEKDAYS) & ~np.isnan(series)
    hours = hours_of_day(week)[chosen]
    sums = np.bincount(hours, series[chosen], 24)
    counts = np.bincount(hours, minlength=24)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), "f8")


def local_maxima(profile: Floats) -> tuple[int, ...]:
    """Hours above the one before and not below the one after, around the clock."""
    before, after = np.roll(profile, 1), np.roll(profile, -1)
    return tuple(int(hour) for hour in np.flatnonzero((profile > before) & (profile >= after)))
