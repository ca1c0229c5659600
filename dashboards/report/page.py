"""The report as one page: no script, no font and no picture from elsewhere, and every text of the data escaped."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dashboards.report.model import Cell, Figure, Report, Table

if TYPE_CHECKING:
    from markupsafe import Markup

_HERE = Path(__file__).parent
_NUMERIC = re.compile(r"[−+±-]?\s?\d[\d.,]*\s?%?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LONG_WORDS = 20  # letters: longer ones may be parted into lines


class Links(NamedTuple):
    """Files beside the page, by item, as (address, text)."""

    of: Mapping[str, tuple[tuple[str, str], ...]]
    report: tuple[tuple[str, str], ...] = ()


class _Row(NamedTuple):
    """A row of a table as it is shown."""

    name: Cell
    cells: tuple[Cell, ...]
    parted: bool  # the method changed before it


def page(report: Report, drawn: Mapping[str, str], links: Links) -> str:
    """HTML of a report; ``drawn``: the SVG of each figure by its id.  ImportError without jinja2."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["days"] = _unparted
    environment.tests["figure"] = lambda item: isinstance(item, Figure)
    return environment.get_template("page.html.j2").render(
        report=report,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        svg={name: Markup(_inline(text)) for name, text in drawn.items()},  # noqa: S704 - drawing.draw escaped it
        links=links,
        marks=marks,
        rows=_rows,
        kind=item_kind,
        aligned=_aligned,
        long=_LONG_WORDS,
    )


def _unparted(text: str) -> "Markup":
    """Text in which no line ends within a date."""
    from markupsafe import Markup, escape

    return Markup(_DAY.sub(r'<span class="day">\g<0></span>', str(escape(text))))  # noqa: S704 - escaped


def marks(table: Table) -> dict[str, str]:
    """Footnote letters of a table's marks, in order of appearance."""
    said = dict.fromkeys(cell.mark for row in table.rows for cell in row if cell.mark)
    return {mark: _letters(number) for number, mark in enumerate(said)}


def item_kind(item: Table | Figure) -> str:
    """How an item is called with its number: ``Table 1``; empty where its id has none."""
    name, _, number = item.id.rpartition("-")
    return f"{name.capitalize()} {number}" if number.isdigit() and name in ("table", "figure") else ""


def _letters(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else _letters(number // 26 - 1) + _letters(number % 26)


def _rows(table: Table) -> list[_Row]:
    parted = table.breaks if table.breaks_are_rows else ()
    return [_Row(row[0], row[1:], number in parted) for number, row in enumerate(table.rows)]


def _aligned(table: Table) -> list[str]:
    """Class of each column behind the first: n for numbers, d for short words such as days, w for long ones."""
    kinds = []
    for column in range(1, len(table.columns)):
        texts = [row[column].text for row in table.rows if column < len(row)]
        told = [text for text in texts if text not in ("", "–")]
        if 2 * sum(bool(_NUMERIC.fullmatch(text)) for text in told) >= len(told):
            kinds.append("n")
        else:
            kinds.append("w" if max(map(len, told)) > _LONG_WORDS else "d")
    return kinds


def _inline(svg: str) -> str:
    """Without what only a file of its own has; its words are the figure's caption and description."""
    svg = svg[svg.index("<svg") :]
    return re.sub(r"<svg ", '<svg aria-hidden="true" focusable="false" ', svg, count=1)
