"""How much there is: months since 2019 (Figure 1), growth, the share of IPoE, and what a week is made of."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dashboards.report.captions import provenance
from dashboards.report.model import (
    DIRECTIONS,
    IN,
    OUT,
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
from dashboards.report.months import BASE, FIVE_YEARS, Months, before
from dashboards.report.telling import (
    ACCESS_NAMES,
    LEGEND,
    SOURCE_NAMES,
    Item,
    accesses,
    blank,
    cell,
    everyone,
    number_of,
    source_of,
)
from dashboards.report.weeks import hourly, key
from dashboards.report.words import NBSP, listed, month_name, printed, signed

IPOE = "ipoe"
TERA = 1e12
SEGMENTS = ("personal", "enterprise", "unknown")


def five_years(months: Months, direction: int) -> tuple[Number | None, Number | None]:
    """The factor of five years, and its annual root."""
    factor = months.growth(direction, months.analysed, FIVE_YEARS, "five-years")
    if factor is None or factor.value is None:
        return None, None
    root = replace(
        factor,
        id=f"volumes/{months.service}/{LEGEND[direction]}/annual",
        value=factor.value ** (1 / FIVE_YEARS),
        definition="fifth root of the factor of five years",
    )
    return factor, root


def level_now(months: Months, direction: int) -> Number | None:
    """The analysed month over OUT of the base month, under the name of the table of volumes."""
    number = months.level(months.analysed, direction)
    return number and replace(number, id=f"volumes/{months.service}/{LEGEND[direction]}/level")


def month_figure(material: Material) -> Item:
    """Figure 1: octets a day of each month, over OUT of January 2020 of the same service."""
    lines: list[Line] = []
    numbers: list[Number] = []
    bases, incomplete = {}, {}
    hue = 0
    for service in material.services:
        months = Months(material, service)
        if months.base:
            bases[service] = months.base
        partly = [first for first in months.firsts() if not months.complete(first)]
        if partly:
            incomplete[service] = partly
        split = sorted(months.accesses, key=list(ACCESS_NAMES).index) if len(months.accesses) > 1 else []
        for access in (None, *split):
            name = (
                SERVICE_NAMES[service] if access is None else f"{SERVICE_NAMES[service]}, {ACCESS_NAMES[access]} alone"
            )
            for direction in (OUT, IN):
                line, found = _month_line(months, direction, access, f"{name} {DIRECTIONS[direction]}", hue)
                numbers += found
                if line is not None:
                    lines.append(line)
            hue += 1
    years = sorted({int(x) for line in lines for x in line.x})
    plot = Plot(
        tuple(lines),
        "",
        "volume a day, OUT of the base month = 1",
        x_ticks=tuple((float(year), f"{year}") for year in (*years, years[-1] + 1)) if years else (),
    )
    notes = [
        f"{SERVICE_NAMES[service]}: {month_name(BASE)} was not told whole, so OUT of {month_name(base)} is 1."
        for service, base in bases.items()
        if base != BASE
    ]
    for service, partly in incomplete.items():
        named = ", ".join(month_name(first) for first in partly[:6]) + (" and others" if len(partly) > 6 else "")
        notes.append(f"{SERVICE_NAMES[service]}, mean of the days that were told: {named}.")
    lacking = tuple(
        f"no month of {SERVICE_NAMES[service]} is told" for service in material.services if service not in bases
    )
    return Item(
        Figure(
            "figure-1",
            "Monthly broadband and mobile traffic",
            (plot,) if lines else (),
            "Mean volume a day of each calendar month, personal and enterprise, over OUT of January 2020 of the same "
            "service; dotted: IN, solid: OUT. The two services have scales of their own. "
            + " ".join(provenance(material, service, name=True) for service in material.services),
            missing=(*material.missing.get("figure-1", ()), *lacking),
            alternative=_levels_told(material),
            notes=tuple(notes),
        ),
        tuple(numbers),
    )


def _month_line(
    months: Months, direction: int, access: str | None, name: str, hue: int
) -> tuple[Line | None, list[Number]]:
    firsts = months.firsts()
    if not firsts:
        return None, []
    count = (firsts[-1].year - firsts[0].year) * 12 + firsts[-1].month - firsts[0].month + 1
    x = firsts[0].year + (firsts[0].month - 1 + np.arange(count)) / 12
    y = np.full(count, np.nan)
    numbers = []
    for first in firsts:
        number = months.level(first, direction, access)
        if number is not None and number.value is not None:
            y[(first.year - firsts[0].year) * 12 + first.month - firsts[0].month] = number.value
            numbers.append(replace(number, id=f"figure-1/{name}/{first:%Y-%m}"))
    return (Line(name, x, y, hue, dotted=direction == IN), numbers) if numbers else (None, [])


def _levels_told(material: Material) -> str:
    words = []
    for service in material.services:
        months = Months(material, service)
        levels = {direction: months.level(months.analysed, direction) for direction in (IN, OUT)}
        told = [
            f"{DIRECTIONS[at]} is {printed(one.value, 2)}"
            for at, one in levels.items()
            if one and one.value is not None
        ]
        if told and months.analysed:
            words.append(f"{SERVICE_NAMES[service]} in {month_name(months.analysed)}: {' and '.join(told)}")
    return "; ".join(words) + "." if words else ""


def volume_table(material: Material) -> Item:
    """Growth of the totals, with the growth of the year before beside it."""
    rows, months_told = [], {}
    for service in material.services:
        months = Months(material, service)
        if months.analysed:
            months_told[service] = months.analysed
        for direction in (IN, OUT):
            factor, root = five_years(months, direction)
            growth = (months.yoy(direction), months.yoy(direction, 1))
            rows.append(
                (
                    Cell(f"{SERVICE_NAMES[service]} {DIRECTIONS[direction]}"),
                    *(cell(one, 0, text=f"{signed(one.value or 0, 0)}{NBSP}%") if one else blank() for one in growth),
                    *(cell(one, 2) if one else blank() for one in (level_now(months, direction), factor, root)),
                )
            )
    named = " and ".join(dict.fromkeys(month_name(first) for first in months_told.values()))
    lacking = tuple(f"no month of {SERVICE_NAMES[one]} is told" for one in material.services if one not in months_told)
    return Item(
        Table(
            "volumes",
            f"Growth of total volume to {named}" if named else "Growth of total volume",
            (
                "",
                "year on year",
                "a year earlier",
                f"level ({month_name(BASE)} OUT = 1)",
                "five years",
                "a year of them",
            ),
            tuple(rows),
            "Mean volume a day of a calendar month over that of the same month of another year; personal and "
            "enterprise. " + " ".join(provenance(material, service, name=True) for service in material.services),
            missing=lacking,
            notes=tuple(
                f"{SERVICE_NAMES[one]}: {month_name(first)} is not told whole; its mean is over the days that are."
                for one, first in months_told.items()
                if not Months(material, one).complete(first)
            )
            + tuple(
                f"{SERVICE_NAMES[one]}: the level is over OUT of {month_name(base)}."
                for one in material.services
                if (base := Months(material, one).base) not in (BASE, None) and base
            ),
        )
    )


def ipoe_table(material: Material) -> Item:
    """The share of IPoE in broadband, and its change."""
    months = Months(material, "fixed")
    now, then = months.analysed, before(months.analysed, 1)
    rows = []
    for direction in (IN, OUT):
        shares = [months.share(first, direction, IPOE) for first in (then, now)]
        moved = months.share_change(direction, IPOE)
        rows.append(
            (
                Cell(DIRECTIONS[direction]),
                *(cell(one, 1) if one else blank() for one in shares),
                cell(moved, 1, text=signed(moved.value or 0, 1)) if moved else blank(),
            )
        )
    return Item(
        Table(
            "ipoe-share",
            "IPoE in broadband, percent of volume",
            ("", month_name(then) if then else "a year before", month_name(now) if now else "the month", "change"),
            tuple(rows),
            f"Octets over IPoE of all octets of broadband in the month; the change is in points. "
            f"{provenance(material, 'fixed')}",
            missing=() if IPOE in months.accesses else ("no volume of IPoE is told",),
        )
    )


# ---------------------------------------------------------------------------------------------------------------------
# What the analysed week is made of.


def segment_share(week: ServiceWeek, direction: int, segment: str) -> Number | None:
    """Share of personal, enterprise or unknown subscribers in a direction's octets, in percent."""
    return _share(week, direction, f"segments/{week.service}/{key(week)}", segment, segment=segment)


def _share(week: ServiceWeek, direction: int, item: str, name: str, **part: str) -> Number | None:
    whole, some = hourly(week, direction), hourly(week, direction, **part)
    total = float(np.nansum(whole)) if whole is not None else 0.0
    if not total:
        return None
    return number_of(
        week,
        f"{item}/{LEGEND[direction]}/{name}",
        100 * (float(np.nansum(some)) if some is not None else 0.0) / total,
        "percent",
        f"octets of {ACCESS_NAMES.get(name, name)} of all octets of the same service and direction in the week",
        everyone(week.service),
        source_of(week),
    )


def week_table(material: Material) -> Item:
    """The week's volume by service, segment and access, with the source of each."""
    rows: list[tuple[Cell, ...]] = []
    for service in material.services:
        week = material.week.get(service)
        if week is None or not week.volumes:
            continue
        rows.append((Cell(SERVICE_NAMES[service]), *_amounts(week), blank(), blank(), Cell(_sources(week))))
        for segment in SEGMENTS:
            if any(volume.segment == segment and volume.octets.any() for volume in week.volumes):
                shares = (segment_share(week, direction, segment) for direction in (IN, OUT))
                rows.append((Cell(f"{NBSP * 2}{segment}"), *_part(week, segment, shares, segment=segment)))
        if len(accesses(week)) > 1:
            for access in accesses(week):
                item = f"accesses/{service}/{key(week)}"
                shares = (_share(week, direction, item, access, access=access) for direction in (IN, OUT))
                rows.append(
                    (Cell(f"{NBSP * 2}{ACCESS_NAMES.get(access, access)}"), *_part(week, access, shares, access=access))
                )
    return Item(
        Table(
            "week-volume",
            "What the week\u2019s volume is made of",
            ("", "IN, TB (10¹² octets) a day", "OUT, TB a day", "IN, percent", "OUT, percent", "source"),
            tuple(rows),
            "Shares of the week\u2019s octets of the same service and direction. "
            + " ".join(provenance(material, service, name=True) for service in material.services),
            missing=() if rows else ("the week has no volumes",),
        )
    )


def _part(week: ServiceWeek, name: str, shares: Iterable[Number | None], **part: str) -> tuple[Cell, ...]:
    found = [cell(one, 1) if one else blank() for one in shares]
    return *_amounts(week, name, **part), *found, Cell(_sources(week, **part))


def _sources(week: ServiceWeek, **part: str) -> str:
    sources = {
        volume.source
        for volume in week.volumes
        if part.get("segment", volume.segment) == volume.segment and part.get("access", volume.access) == volume.access
    }
    return listed([name for one, name in SOURCE_NAMES.items() if one in sources])


def _amounts(week: ServiceWeek, name: str = "all", **part: str) -> tuple[Cell, ...]:
    cells = []
    for direction in (IN, OUT):
        octets = hourly(week, direction, **part)
        if octets is None:
            cells.append(blank())
            continue
        number = number_of(
            week,
            f"week-volume/{week.service}/{key(week)}/{LEGEND[direction]}/{name}",
            float(np.nansum(octets)) / len(week.week.days) / TERA,
            "TB/day",
            "octets of the week over its days; hours that are missing count as nought and mark the week as incomplete",
            everyone(week.service),
            source_of(week),
            absolute=True,
        )
        cells.append(cell(number, 3 if (number.value or 0) < 1 else 1))
    return tuple(cells)
