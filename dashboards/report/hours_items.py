"""When it is moved: weekdays by hour of the day (Figures 2, 9 and 10), peaks, and the daytime's share of uploads."""

from collections.abc import Sequence

import numpy as np

from dashboards.report.captions import laid_over, missing_of, provenance
from dashboards.report.model import (
    DIRECTIONS,
    IN,
    OUT,
    OWN,
    SERVICE_NAMES,
    Cell,
    Figure,
    Line,
    Material,
    Number,
    Plot,
    ServiceWeek,
    Table,
)
from dashboards.report.telling import LEGEND, Item, blank, cell, everyone, number_of, source_of
from dashboards.report.weeks import (
    Floats,
    hourly,
    in_order,
    key,
    local_maxima,
    near_of,
    one_a_year,
    weekday_profile,
    year_of,
)
from dashboards.report.words import hour_name, hour_span, listed, percent, printed

TICKS = tuple((float(hour), hour_name(hour)) for hour in range(0, 25, 3))
DAYTIME = slice(9, 18)
"""Hours of the day that begin within working hours: 9:00 to 18:00."""
NOON = 12
FIVE_YEARS = 5
BEFORE_PANDEMIC = (2020, 2)
"""Year and month of the first line of Figures 9 and 10."""
MEGABITS_AN_HOUR = 8 / 3_600 / 1e6


def profile(week: ServiceWeek, direction: int) -> Floats | None:
    """Octets an hour, mean over Monday to Friday, by local hour of the day; None where nothing was told."""
    series = hourly(week, direction)
    if series is None:
        return None
    found = weekday_profile(series, week.week)
    return None if np.isnan(found).all() else found


def weekday_figure(material: Material) -> Item:
    """Figure 2: broadband's weekdays in four weeks of a year."""
    weeks = [week for week in material.profiles.get("fixed", ()) if week.volumes]
    return _figure(
        material,
        "figure-2",
        "Broadband traffic by hour of weekdays over the past year",
        weeks,
        (OUT, IN),
        "Mean of each hour over Monday to Friday, PPPoE and IPoE, over the largest hour of all the weeks; "
        "dotted: IN, solid: OUT.",
    )


def years_figures(material: Material) -> tuple[Item, Item]:
    """Figures 9 and 10: broadband's weekdays in one week of each of five years, and their uploads by themselves."""
    weeks = year_weeks(material)
    both = _figure(
        material,
        "figure-9",
        "Broadband traffic by hour of weekdays over five years",
        weeks,
        (OUT, IN),
        "As Figure 2, one week of each year and one of before the pandemic; dotted: IN, solid: OUT.",
    )
    uploads = _figure(
        material,
        "figure-10",
        "Broadband uploads by hour of weekdays over five years",
        weeks,
        (IN,),
        "The uploads of Figure 9 on a scale of their own.",
    )
    return both, uploads


def year_weeks(material: Material) -> list[ServiceWeek]:
    """Own weeks with hours: one a year of the last five, and one of February 2020."""
    weeks = [week for week in in_order(material, "fixed") if week.origin == OWN and week.volumes]
    if not weeks or "fixed" not in material.week:
        return weeks
    since = year_of(material.week["fixed"]) - FIVE_YEARS + 1
    chosen = one_a_year((week for week in weeks if year_of(week) >= since), near_of(material, "fixed"))
    base = first_before_pandemic(material)
    return [week for week in weeks if any(week is one for one in (*chosen, base))]


def first_before_pandemic(material: Material) -> ServiceWeek | None:
    """The own week of broadband in February 2020, if there is one."""
    for week in in_order(material, "fixed"):
        middle = week.week.days[3]
        if week.origin == OWN and week.volumes and (middle.year, middle.month) == BEFORE_PANDEMIC:
            return week
    return None


def _figure(
    material: Material, item: str, title: str, weeks: Sequence[ServiceWeek], directions: Sequence[int], words: str
) -> Item:
    curves = [
        (hue, week, direction, curve)
        for hue, week in enumerate(weeks)
        for direction in directions
        if (curve := profile(week, direction)) is not None
    ]
    peak = max((float(np.nanmax(curve)) for *_, curve in curves), default=0.0) or 1.0
    several = len(directions) > 1
    lines, numbers = [], []
    for hue, week, direction, curve in curves:
        name = f"{week.name} {DIRECTIONS[direction]}" if several else week.name
        lines.append(Line(name, np.arange(24.0), curve / peak, hue, dotted=direction == IN))
        numbers += _points(item, week, direction, curve, peak)
    plot = Plot(tuple(lines), "local time", "volume, largest hour = 1", x_ticks=TICKS)
    return Item(
        Figure(
            item,
            title,
            (plot,) if lines else (),
            f"{words} {laid_over(tuple(weeks))} {provenance(material, 'fixed')}".replace("  ", " "),
            missing=missing_of(material, item, "fixed") or (() if lines else ("no week with hours is there",)),
            alternative=_peaks_told(curves),
            notes=tuple(
                f"{week.name}: hours that are missing are left out of the means."
                for week in weeks
                if week.quality.missing_hours
            ),
        ),
        tuple(numbers),
    )


def _points(item: str, week: ServiceWeek, direction: int, curve: Floats, peak: float) -> list[Number]:
    who, source = everyone(week.service), source_of(week)
    start = f"{item}/{key(week)}/{LEGEND[direction]}"
    numbers = [
        number_of(
            week,
            f"{start}/{hour:02}",
            float(value) / peak,
            "ratio",
            "mean octets of this local hour over Monday to Friday, over the largest hour of all weeks of the figure",
            who,
            source,
        )
        for hour, value in enumerate(curve)
    ]
    largest = number_of(
        week,
        f"{start}/largest",
        float(np.nanmax(curve)) * MEGABITS_AN_HOUR,
        "Mbps",
        "mean rate of the largest local hour over Monday to Friday",
        who,
        source,
        absolute=True,
    )
    return [*numbers, largest]


def _peaks_told(curves: Sequence[tuple[int, ServiceWeek, int, Floats]]) -> str:
    words = [
        f"{week.name} {DIRECTIONS[direction]} is largest at {hour_span(int(np.nanargmax(curve)))}"
        for _, week, direction, curve in curves
    ]
    return "; ".join(words) + "." if words else ""


# ---------------------------------------------------------------------------------------------------------------------
# Peaks.


def peak_hour(week: ServiceWeek, direction: int) -> Number | None:
    """The local hour of weekdays with the most octets."""
    curve = profile(week, direction)
    if curve is None:
        return None
    return _of_hours(
        week,
        f"peaks/{week.service}/{key(week)}/{LEGEND[direction]}/hour",
        float(np.nanargmax(curve)),
        "hour",
        "local hour of the day, by its beginning, whose mean over Monday to Friday is the largest",
    )


def lunch_dip(week: ServiceWeek, direction: int = IN) -> Number | None:
    """How far the hour from 12:00 lies below the lower of its neighbours, in percent of it; negative: it does not."""
    curve = profile(week, direction)
    if curve is None or np.isnan(curve[NOON - 1 : NOON + 2]).any():
        return None
    beside = float(min(curve[NOON - 1], curve[NOON + 1]))
    if not beside:
        return None
    return _of_hours(
        week,
        f"peaks/{week.service}/{key(week)}/{LEGEND[direction]}/noon",
        100 * (1 - float(curve[NOON]) / beside),
        "percent",
        "how far the hour from 12:00 lies below the lower of the hours beside it, mean over Monday to Friday",
    )


def daytime_share(week: ServiceWeek, direction: int = IN) -> Number | None:
    """Share of the hours from 9:00 to 18:00 in the octets of weekdays, in percent."""
    curve = profile(week, direction)
    if curve is None or np.isnan(curve).any() or not curve.sum():
        return None
    return _of_hours(
        week,
        f"peaks/{week.service}/{key(week)}/{LEGEND[direction]}/daytime",
        100 * float(curve[DAYTIME].sum() / curve.sum()),
        "percent",
        "octets from 9:00 to 18:00 local time of all octets, Monday to Friday",
    )


def peaks_a_day(week: ServiceWeek, direction: int) -> tuple[int, ...]:
    """Hours of weekdays above the one before and not below the one after."""
    curve = profile(week, direction)
    return () if curve is None or np.isnan(curve).any() else local_maxima(curve)


def maxima(week: ServiceWeek) -> Number | None:
    """How many peaks OUT has on weekdays."""
    found = peaks_a_day(week, OUT)
    if not found:
        return None
    return _of_hours(
        week,
        f"peaks/{week.service}/{key(week)}/out/maxima",
        float(len(found)),
        "maxima",
        "hours of OUT, mean over Monday to Friday, above the one before and not below the one after",
    )


def _of_hours(week: ServiceWeek, name: str, value: float, unit: str, definition: str) -> Number:
    return number_of(week, name, value, unit, definition, everyone(week.service), source_of(week))


def peak_table(material: Material) -> Item:
    """Peaks of weekdays, the dip at noon and the daytime's share of uploads, with the weeks that are compared."""
    rows = []
    base = first_before_pandemic(material)
    for service in material.services:
        weeks = [base] if base and service == "fixed" else []
        weeks += [chosen[service] for chosen in (material.compare, material.week) if service in chosen]
        for week in dict.fromkeys(map(id, weeks)):
            found = next(one for one in weeks if id(one) == week)
            if found.volumes:
                rows.append(_peak_row(found))
    columns = (
        "",
        "peak of OUT",
        "peak of IN",
        "IN at 12:00 below its neighbours",
        "IN from 9:00 to 18:00",
        "peaks of OUT",
    )
    return Item(
        Table(
            "peaks",
            "Weekdays by hour: peaks, noon and daytime",
            columns,
            tuple(rows),
            "Mean of each local hour over Monday to Friday; hours are named by their beginning. "
            + " ".join(provenance(material, service, name=True) for service in material.services)
            + f" {laid_over(tuple(material.week.values()))}",
            missing=() if rows else ("no week with hours is there",),
        )
    )


def _peak_row(week: ServiceWeek) -> tuple[Cell, ...]:
    hours = [peak_hour(week, direction) for direction in (OUT, IN)]
    dip, day, peaks = lunch_dip(week), daytime_share(week), maxima(week)
    at = listed([hour_name(hour) for hour in peaks_a_day(week, OUT)])
    return (
        Cell(f"{SERVICE_NAMES[week.service]}, {week.name}"),
        *(cell(one, 0, text=hour_name(int(one.value or 0))) if one else blank() for one in hours),
        cell(dip, 1, text=percent(dip.value or 0, 1) if (dip.value or 0) > 0 else "no dip") if dip else blank(),
        cell(day, 1, text=percent(day.value or 0, 1)) if day else blank(),
        cell(peaks, 0, text=f"{printed(peaks.value or 0, 0)}: {at}") if peaks else blank(),
    )
