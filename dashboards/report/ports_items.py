"""What a service's volume is made of: Tables 3 and 4, and the largest ports."""

from collections.abc import Mapping, Sequence

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import (
    ALL,
    DYNAMIC,
    OTHER,
    SERVICE_NAMES,
    WELL_KNOWN,
    Cell,
    Material,
    Number,
    Table,
)
from dashboards.report.ports import (
    GROUPS,
    NAMES,
    PROTOCOLS,
    TABLES,
    TCP,
    UDP,
    Parts,
    alike,
    comparable,
    error_of,
    row_name,
    share,
    share_change,
)
from dashboards.report.telling import Item, blank, cell, port_population
from dashboards.report.weeks import groups, years
from dashboards.report.words import NBSP, signed

ROWS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "fixed": (
        (TCP, ALL), (TCP, WELL_KNOWN), (TCP, 443), (TCP, 80), (TCP, 183), (TCP, 993), (TCP, 22), (TCP, DYNAMIC),
        (TCP, 31000), (TCP, 1935), (TCP, 8080), (UDP, ALL), (UDP, 443), (UDP, 4500), (UDP, 8801), (50, ALL), (47, ALL),
        (4, ALL), (1, ALL),
    ),
    "mobile": (
        (TCP, ALL), (TCP, 443), (TCP, 80), (TCP, 993), (TCP, 1935), (UDP, ALL), (UDP, 443), (UDP, 4500), (UDP, 51820),
        (UDP, 53), (UDP, 8801), (50, ALL), (47, ALL), (1, ALL),
    ),
}  # fmt: skip
"""Of Tables 3 and 4, as published."""
WHEN_LARGE = ((41, ALL), (58, ALL), (OTHER, ALL))
"""Rows that the source report does not have: listed in a table where they are printed as more than nought."""
LARGEST = 20
"""Rows of the table of this week's largest ports."""
COLUMNS = 5
"""Years of each group that a port table shows, as published."""


# Tables.


def port_table(material: Material, service: str) -> Item:
    """Table 3 or 4: the published list of rows, years as columns, and the change over the last of each group."""
    item, columns = TABLES[service], _columns(material, service)
    weeks = [now for now, then in columns if then is None]
    analysed = next((table for table in weeks if table.week is material.week.get(service)), None)
    if analysed is not None and analysed.week.quality.sampling <= 1:
        analysed = None  # nothing was sampled away: there is no error to show
    rows = []
    for proto, port in (*ROWS[service], *_large(weeks)):
        cells = [_cell(now, then, proto, port) for now, then in columns]
        if analysed is not None:
            cells.append(_error(share(analysed, proto, port)))
        rows.append((Cell(_row(proto, port)), *cells))
    changed = [at for at in range(1, len(columns)) if not alike(columns[at][0].week, columns[at - 1][0].week)]
    notes = ["Changes are differences of the printed shares, in points."] if any(then for _, then in columns) else []
    if service == "fixed":
        notes.append("IPoE has no port data: the shares are of PPPoE, not of all broadband.")
    if changed:
        told = "changes are told across it, as was asked" if material.across_breaks else "no change is told across it"
        notes.append(f"A line between columns marks another origin or method; {told}.")
    return Item(
        Table(
            item,
            f"{SERVICE_NAMES[service].capitalize()} users\u2019 usage by port, percent of volume",
            (
                "protocol and port",
                *(_head(columns, at) for at in range(len(columns))),
                *(("± points",) if analysed is not None else ()),
            ),
            tuple(rows),
            f"Octets by the lower port of each flow; {port_population(service)}. "
            f"{provenance(material, service, volumes=False)}",
            missing=missing_of(material, item, service) or (() if weeks else ("no week has a port table",)),
            breaks=tuple(at + 1 for at in changed),
            notes=tuple(notes),
        )
    )


def _columns(material: Material, service: str) -> list[tuple[Parts, Parts | None]]:
    """Weeks, and after each group its last one with the one that it is compared with."""
    columns: list[tuple[Parts, Parts | None]] = []
    tables = {id(week): Parts(week) for week in years(material, service) if week.ports}
    for group in groups(week for week in years(material, service) if tables.get(id(week))):
        shown = group[-COLUMNS:]
        columns += [(tables[id(week)], None) for week in shown]
        now = shown[-1]
        then = material.compare.get(service) if now is material.week.get(service) else None
        then = then or (shown[-2] if len(shown) > 1 else None)
        if then is not None and tables.get(id(then)) and comparable(now, then, material):
            columns.append((tables[id(now)], tables[id(then)]))
    return columns


def _head(columns: Sequence[tuple[Parts, Parts | None]], at: int) -> str:
    """Of a column: its week; of a change, also the week before it where that is not two columns to the left."""
    now, then = columns[at]
    if then is None:
        return now.week.name
    beside = at > 1 and columns[at - 2][0].week is then.week
    return "change" if beside else f"change from {then.week.name}"


def _row(proto: int, port: int) -> str:
    if port == ALL:
        return PROTOCOLS[proto]
    label = f"({GROUPS[port]})" if port in GROUPS else f"{port}"
    name = f" ({NAMES[port]})" if port in NAMES else ""
    return f"{NBSP * 2}{label}{name}"


def _large(weeks: Sequence[Parts]) -> tuple[tuple[int, int], ...]:
    return tuple(
        at
        for at in WHEN_LARGE
        if any((part := table.at(*at)) is not None and round(100 * part.share, 1) > 0 for table in weeks)
    )


def _cell(now: Parts, then: Parts | None, proto: int, port: int) -> Cell:
    if then is None:
        number = share(now, proto, port)
        return cell(number, 1) if number else blank()
    moved = share_change(now, then, proto, port)
    return cell(moved, 1, text=signed(moved.value or 0.0, 1)) if moved else blank()


def _error(number: Number | None) -> Cell:
    return blank() if number is None or number.error is None else cell(error_of(number), 2)


def largest(material: Material, service: str) -> Item:
    """The largest lower ports of the analysed week, listed or not in the source report."""
    item, week = f"largest-ports-{service}", material.week.get(service)
    table = Parts(week) if week else None
    sampled = week is not None and week.quality.sampling > 1
    rows = []
    for rank, (proto, port) in enumerate(table.ports()[:LARGEST] if table else (), 1):
        number = share(table, proto, port, item) if table else None
        if number is not None:
            name = f" ({NAMES[port]})" if port in NAMES else ""
            error = (_error(number),) if sampled else ()
            rows.append((Cell(f"{rank}. {row_name(proto, port)}{name}"), cell(number, 2), *error))
    return Item(
        Table(
            item,
            f"Largest ports of the week, {SERVICE_NAMES[service]}, percent of volume",
            ("", "share", *(("± points",) if sampled else ())),
            tuple(rows),
            f"The lower ports with the most octets; {port_population(service)}. "
            f"{provenance(material, service, volumes=False)}",
            missing=missing_of(material, item, service) or (() if rows else ("the week has no port table",)),
        )
    )
