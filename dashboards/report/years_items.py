"""The weeks that stand beside each other: from, to, method, population, users, sampling and completeness of each."""

from datetime import timedelta

from dashboards.report.captions import missing_of
from dashboards.report.model import OWN, SERVICE_NAMES, Cell, Material, ServiceWeek, Table
from dashboards.report.quality_items import coverage, sampling, users
from dashboards.report.telling import Item, blank, cell, personal
from dashboards.report.weeks import breaks, years
from dashboards.report.words import percent, printed

ORIGINS = {OWN: "measured here"}


def weeks_table(material: Material) -> Item:
    """A row for each week that any item shows, by service; a line where method or origin changes."""
    rows: list[tuple[Cell, ...]] = []
    changed: list[int] = []
    for service in material.services:
        weeks = years(material, service)
        changed += [len(rows) + at for at in breaks(weeks)]
        rows += [_row(week) for week in weeks]
    columns = (
        "week",
        "service",
        "from",
        "to",
        "origin",
        "method",
        "population",
        "users",
        "1 in",
        "complete",
        "matched",
    )
    return Item(
        Table(
            "weeks",
            "Weeks of this report",
            columns,
            tuple(rows),
            "What the columns and rows of the other tables count. A line marks a change of method or origin; "
            + ("growth is told across it, as was asked." if material.across_breaks else "no growth is told across it."),
            missing=missing_of(material, "weeks", material.services[0]),
            breaks=tuple(changed),
            breaks_are_rows=True,
        )
    )


def _row(week: ServiceWeek) -> tuple[Cell, ...]:
    own = week.origin == OWN
    last = week.week.end - timedelta(days=1)
    counted, matched = users(week), coverage(week)
    return (
        Cell(week.name),
        Cell(SERVICE_NAMES[week.service]),
        Cell(f"{week.week.monday}"),
        Cell(f"{last}"),
        Cell(ORIGINS.get(week.origin, week.origin.upper())),
        Cell(week.method),
        Cell(personal(week)),
        cell(counted, 0) if counted else blank(),
        cell(sampling(week), 0, text=printed(week.quality.sampling, 0)) if own else blank(),
        Cell("yes" if week.quality.complete else "no", mark="" if week.quality.complete else "incomplete")
        if own
        else blank(),
        cell(matched, 1, text=percent(matched.value or 0, 1)) if matched else blank(),
    )
