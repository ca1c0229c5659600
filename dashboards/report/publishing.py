"""A report that may be shown to anyone: ratios and what a user moves a day, no totals, no counts, no small groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dashboards.report.compose import FROZEN
from dashboards.report.model import Cell, Figure, Line, Number, Plot, Report, Section, Table
from dashboards.report.telling import PUBLISHED_SOURCE
from dashboards.report.words import NOT_TOLD

SMALL = 100
"""Users: of a group of fewer nothing is told."""
FEW = "fewer than 100 users"
SCATTERED = 1_000
"""Users below whom no single one may be drawn."""
GRID = 20
"""Steps of a decade to which the drawn users are moved."""
GROUPS = {"top10": 0.1, "top1": 0.01}
"""Last part of the id of a number of some of the users, and which part of them."""
MONTHLY = ("figure-1/", "volumes/", "ipoe-share/")
"""Beginnings of ids of numbers of calendar months: not told either where a week of the service has too few users."""
DECIMALS = {"percent": 2, "points": 2, "ratio": 4, "hour": 0}
"""Of a published value, by unit: beyond what is printed, and too few to find two whole numbers that divide to it."""
DIGITS = 5
"""Significant ones of what is not in it."""
DENSITY_DECIMALS = 2
CURVE_DECIMALS = 4
DISTRIBUTIONS = ("figure-3", "figure-4", "figure-11")


def publish(report: Report) -> Report:
    """Without anything absolute: volumes are ratios already, the rest is left out, and small groups are not told."""
    rules = _rules(report)
    sections = tuple(_section(section, rules) for section in report.sections)
    silenced = [words for words, ids in report.said if any(rules.hides(rules.numbers[one]) for one in ids)]
    return replace(
        report,
        summary=_without(report.summary, silenced),
        sections=tuple(replace(section, paragraphs=_without(section.paragraphs, silenced)) for section in sections),
        numbers=tuple(rules.number(one) for one in report.numbers if not one.absolute),
        facts=tuple(fact for fact in report.facts if not fact[0].startswith(FROZEN)),
        published=True,
        said=tuple(one for one in report.said if one[0] not in silenced),
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a report's numbers may be told."""

    numbers: dict[str, Number]
    small: frozenset[tuple[str, str]]  # service and week with too few users

    def hides(self, number: Number) -> bool:
        """Whether a number may not be told at all."""
        return number.absolute or self.few(number)

    def few(self, number: Number) -> bool:
        """Whether it is of a group that is too small."""
        if number.volume_source == PUBLISHED_SOURCE:
            return False
        of_months = number.id.startswith(MONTHLY)
        if any(number.service == service and (of_months or week in number.week) for service, week in self.small):
            return True
        part = GROUPS.get(number.id.rsplit("/", 1)[-1], 1.0)
        return number.n is not None and number.n_of == "users" and round(part * number.n) < SMALL

    def number(self, number: Number) -> Number:
        """As it may be told: without the counts behind it, and no finer than its unit needs."""
        return replace(
            number,
            value=None if self.few(number) else _rounded(number.value, number.unit),
            n=None,
            n_of="",
            error=None,
            coverage=None if number.coverage is None else round(number.coverage, CURVE_DECIMALS),
            sampling=_significant(number.sampling),
        )


def _rules(report: Report) -> Rules:
    counted = [
        one
        for one in report.numbers
        if one.unit == "users" and one.id.endswith("/users") and one.id.startswith(("table-", "quality/"))
    ]
    small = frozenset((one.service, one.week) for one in counted if one.value is not None and one.value < SMALL)
    return Rules({one.id: one for one in report.numbers}, small)


def _rounded(value: float | None, unit: str) -> float | None:
    if value is None:
        return None
    return round(value, DECIMALS[unit]) if unit in DECIMALS else _significant(value)


def _significant(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _without(paragraphs: Iterable[str], silenced: Sequence[str]) -> tuple[str, ...]:
    kept = []
    for paragraph in paragraphs:
        for words in silenced:
            paragraph = paragraph.replace(words, "").replace("  ", " ").strip()
        kept.append(paragraph)
    return tuple(paragraph for paragraph in kept if paragraph)


def _section(section: Section, rules: Rules) -> Section:
    items = (_table(item, rules) if isinstance(item, Table) else _figure(item, rules) for item in section.items)
    return replace(section, items=tuple(items))


# ---------------------------------------------------------------------------------------------------------------------
# Tables.


def _table(table: Table, rules: Rules) -> Table:
    """Cells of absolute numbers are gone, and with them the rows and columns that hold nothing else."""
    gone = [[cell.number is not None and cell.number.absolute for cell in row] for row in table.rows]
    empty = [
        [gone[at][place] or cell.text in ("", NOT_TOLD) for place, cell in enumerate(row)]
        for at, row in enumerate(table.rows)
    ]
    columns = [
        at
        for at in range(len(table.columns))
        if not (at and any(row[at] for row in gone) and all(row[at] for row in empty))
    ]
    rows = [at for at in range(len(table.rows)) if not (any(gone[at]) and all(empty[at][1:]))]
    kept = rows if table.breaks_are_rows else columns
    return replace(
        table,
        columns=tuple(table.columns[at] for at in columns),
        rows=tuple(tuple(_cell(table.rows[row][at], rules) for at in columns) for row in rows),
        breaks=tuple(sum(one < at for one in kept) for at in table.breaks),
    )


def _cell(cell: Cell, rules: Rules) -> Cell:
    if cell.number is None:
        return cell
    if cell.number.absolute:
        return Cell(NOT_TOLD)
    if rules.few(cell.number):
        return Cell(FEW, rules.number(cell.number))
    return replace(cell, number=rules.number(cell.number))


# ---------------------------------------------------------------------------------------------------------------------
# Figures.


def _figure(figure: Figure, rules: Rules) -> Figure:
    own = [one for name, one in rules.numbers.items() if name.startswith(f"{figure.id}/")]
    if any(one.unit != "users" and not one.absolute and rules.few(one) for one in own):
        return replace(figure, plots=(), missing=(*figure.missing, FEW), alternative="")
    if any(plot.kind == "points" and max(len(line.x) for line in plot.lines) < SCATTERED for plot in figure.plots):
        return replace(figure, plots=(), missing=(*figure.missing, "fewer than 1,000 users"), alternative="")
    return replace(figure, plots=tuple(_plot(figure, plot, rules) for plot in figure.plots))


def _plot(figure: Figure, plot: Plot, rules: Rules) -> Plot:
    if plot.kind == "points":
        return replace(plot, lines=tuple(replace(line, x=_snapped(line.x), y=_snapped(line.y)) for line in plot.lines))
    if figure.id in DISTRIBUTIONS:
        return replace(plot, lines=tuple(_density(figure, line, rules) for line in plot.lines))
    return replace(plot, lines=tuple(replace(line, y=np.round(line.y, CURVE_DECIMALS)) for line in plot.lines))


def _density(figure: Figure, line: Line, rules: Rules) -> Line:
    """A bin of few users parts the line, and the rest is too coarse to tell how many there are."""
    users = rules.numbers[f"{figure.id}/{line.name}/users"].value or 0.0
    shares = line.y / np.nansum(line.y)
    there = np.round(shares * users) >= SMALL
    return replace(line, y=np.where(there, np.round(line.y, DENSITY_DECIMALS), np.nan))


def _snapped(values: np.ndarray) -> np.ndarray:
    return np.asarray(10 ** (np.round(GRID * np.log10(values)) / GRID), "f8")
