"""A report as a folder: the page, its figures and tables, and every number with what it means.

The folder is written beside its place and takes it whole, so that a run that is interrupted leaves the report that was
there.  Nothing in it tells when it was written: the same data give the same bytes.
"""

import csv
import dataclasses
import glob
import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dashboards.report.model import Cell, Figure, Line, Report, Table
from dashboards.report.page import Links, page
from dashboards.report.pdf import NotPrinted, browser, print_page

Progress = Callable[[str, float], object]
"""Told what is being done and how much of it is done, from 0 to 1."""
FORMAT = "flowtide report 1"
"""In numbers.json: what a folder with it holds is ours to replace."""
_OURS = re.compile(r"index\.html|report\.pdf|numbers\.json|figures(/[\w-]+\.(svg|png))?|tables(/[\w-]+\.csv)?")


class FolderRefused(Exception):  # noqa: N818
    """The folder is not one that a report may take; the message says why and what to do."""


class Written(NamedTuple):
    """What was written, and why there is no PDF if there is none."""

    files: tuple[Path, ...]
    no_pdf: str


def write(report: Report, folder: Path, progress: Progress = lambda text, done: None) -> Written:
    """Write a report; FolderRefused before anything is done, ImportError without matplotlib or jinja2."""
    place = folder.resolve()
    refuse_foreign(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    _tidy(place)
    fresh, old = _beside(place, "new"), _beside(place, "old")
    fresh.mkdir()
    try:
        no_pdf = _fill(fresh, report, progress)
        if place.exists():
            place.rename(old)
        try:
            fresh.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return Written(tuple(sorted(path for path in place.rglob("*") if path.is_file())), no_pdf)


def refuse_foreign(folder: Path) -> None:
    """FolderRefused where a folder holds what a report does not; also asked before the work begins."""
    place = folder.resolve()
    if place.is_dir() and place == Path.cwd():
        raise FolderRefused(f"{folder} is the current folder, and a report replaces its folder whole: name one in it")
    if not place.exists():
        return
    if not place.is_dir():
        raise FolderRefused(f"{folder} is a file: name a folder for the report")
    found = {path.relative_to(place).as_posix() for path in place.rglob("*")}
    foreign = sorted(name for name in found if not _OURS.fullmatch(name))
    if foreign:
        raise FolderRefused(f"{folder} holds {foreign[0]}, which is no part of a report: name another folder")
    if found and not _has_mark(place / "numbers.json"):
        raise FolderRefused(f"{folder} has no numbers.json of a report: name another folder, or empty this one")


def _has_mark(file: Path) -> bool:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("format") == FORMAT


def _beside(place: Path, word: str) -> Path:
    return place.with_name(f".{place.name}.{word}-{os.getpid()}")


def _tidy(place: Path) -> None:
    """What a run left that was killed goes; the report that it had put aside comes back."""
    for left in place.parent.glob(f".{glob.escape(place.name)}.*-*"):
        found = re.fullmatch(r"\.(new|old)-(\d+)", left.name[len(place.name) + 1 :])
        if found is None or Path(f"/proc/{found[2]}").exists():
            continue
        if found[1] == "old" and not place.exists():
            left.rename(place)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _fill(folder: Path, report: Report, progress: Progress) -> str:
    """All files; why there is no PDF, or nothing."""
    from dashboards.report.drawing import draw

    figures, tables = folder / "figures", folder / "tables"
    figures.mkdir()
    tables.mkdir()
    links: dict[str, tuple[tuple[str, str], ...]] = {}
    drawn: dict[str, str] = {}
    items = tuple(_items(report))
    for number, item in enumerate(items):
        if isinstance(item, Table):
            (tables / f"{item.id}.csv").write_text(table_csv(item), encoding="utf-8", newline="")
            links[item.id] = ((f"tables/{item.id}.csv", "CSV"),)
            continue
        progress(f"drawing {item.id}", number / (len(items) + 1))
        svg, png = draw(item)
        (figures / f"{item.id}.svg").write_bytes(svg)
        (figures / f"{item.id}.png").write_bytes(png)
        drawn[item.id] = svg.decode()
        links[item.id] = ((f"figures/{item.id}.svg", "SVG"), (f"figures/{item.id}.png", "PNG"))
    (folder / "numbers.json").write_text(numbers_json(report), encoding="utf-8")
    command = browser()
    whole = (("numbers.json", "All numbers (JSON)"), *((("report.pdf", "This report (PDF)"),) if command else ()))
    _write_page(folder, report, drawn, Links(links, whole))
    if command is None:
        return "no chromium, chromium-browser or google-chrome is installed"
    progress("printing", len(items) / (len(items) + 1))
    try:
        print_page(folder / "index.html", folder / "report.pdf", command)
    except NotPrinted as error:
        _write_page(folder, report, drawn, Links(links, whole[:1]))
        return str(error)
    return ""


def _write_page(folder: Path, report: Report, drawn: Mapping[str, str], links: Links) -> None:
    (folder / "index.html").write_text(page(report, drawn, links), encoding="utf-8")


def _items(report: Report) -> Iterator[Table | Figure]:
    for section in report.sections:
        yield from section.items


def table_csv(table: Table) -> str:
    """A row a row: the name, then of each column the number and its unit where it has one, and the text as printed."""
    numeric = [
        any(column < len(row) and row[column].number is not None for row in table.rows)
        for column in range(len(table.columns))
    ]
    marked = [any(row[column].mark for row in table.rows if column < len(row)) for column in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    header = []
    for name, has_number, has_mark in zip(table.columns, numeric, marked, strict=True):
        header += [name, f"{name}, unit", f"{name}, printed"] if has_number else [name]
        header += [f"{name}, mark"] if has_mark else []
    writer.writerow([_harmless(name) for name in header])
    for row in table.rows:
        cells: list[str] = []
        for cell, has_number, has_mark in zip(row, numeric, marked, strict=True):
            cells += _fields(cell) if has_number else [_harmless(cell.text)]
            cells += [_harmless(cell.mark)] if has_mark else []
        writer.writerow(cells)
    return out.getvalue()


def _fields(cell: Cell) -> list[str]:
    number = cell.number
    if number is None or _finite(number.value) is None:
        return ["", number.unit if number else "", _harmless(cell.text)]
    return [repr(number.value), number.unit, _harmless(cell.text)]


def _harmless(text: str) -> str:
    """Text that a spreadsheet takes for text: names of the data are not its formulas."""
    if text[:1] in ("=", "@", "\t", "\r") or (text[:1] in ("+", "-") and not re.fullmatch(r"[+-][\d.,]+\s?%?", text)):
        return f"'{text}"
    return text


def numbers_json(report: Report) -> str:
    """All numbers with their definitions, and the curves of the figures."""
    told = {
        "format": FORMAT,
        "title": report.title,
        "subtitle": report.subtitle,
        "draft": list(report.draft),
        "warnings": list(report.warnings),
        "published": report.published,
        "facts": dict(report.facts),
        "numbers": [
            {name: _plain(value) for name, value in dataclasses.asdict(number).items()}
            for number in sorted(report.numbers, key=lambda each: each.id)
        ],
        "figures": {item.id: _curves(item) for item in _items(report) if isinstance(item, Figure)},
    }
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _curves(figure: Figure) -> list[dict[str, Any]]:
    return [
        {"title": plot.title, "x": plot.x_label, "y": plot.y_label, "lines": [_curve(line) for line in plot.lines]}
        for plot in figure.plots
    ]


def _curve(line: Line) -> dict[str, Any]:
    return {"name": line.name, "x": [_finite(x) for x in line.x.tolist()], "y": [_finite(y) for y in line.y.tolist()]}


def _plain(value: Any) -> Any:
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if value is None or math.isfinite(value) else None
