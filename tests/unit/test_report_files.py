"""A report's folder: every file of it, the same twice, and nothing of anybody else's ever removed."""

import csv
import io
import json
import math
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dashboards.report import files, pdf
from dashboards.report.files import FolderRefused, numbers_json, refuse_foreign, table_csv, write
from dashboards.report.model import Cell, Figure, Line, Plot, Report, Section, Table
from tests import report_samples as samples


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "browser", lambda: None)
    if "the_same_twice" not in request.node.name:  # that one draws
        monkeypatch.setattr("dashboards.report.drawing.draw", lambda figure: (b"<svg></svg>", b"PNG"))


def small(**changes: object) -> Report:
    section = Section("usage", "Usage", (), (samples.usage_table(), samples.distribution_figure()))
    return samples.report(sections=(section,), **changes)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_there_and_the_same_twice(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    written = write(small(), tmp_path / "a", lambda text, done: told.append((text, done)))
    first = content(tmp_path / "a")
    assert set(first) == {
        "index.html", "numbers.json", "figures/figure-3.svg", "figures/figure-3.png", "tables/table-1.csv"
    }  # fmt: skip
    assert {path.relative_to(tmp_path / "a").as_posix() for path in written.files} == set(first)
    assert "chromium" in written.no_pdf and "report.pdf" not in first["index.html"].decode()
    assert [text for text, _ in told] == ["drawing figure-3"] and 0 < told[0][1] < 1
    write(small(), tmp_path / "b")
    assert content(tmp_path / "b") == first
    write(small(), tmp_path / "a")
    assert content(tmp_path / "a") == first and {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_run_that_fails_leaves_the_report_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(small(), tmp_path / "a")
    before = content(tmp_path / "a")

    def fails(*_: object) -> str:
        raise RuntimeError

    monkeypatch.setattr(files, "numbers_json", fails)
    with pytest.raises(RuntimeError):
        write(small(title="Another"), tmp_path / "a")
    assert content(tmp_path / "a") == before and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_run_left_is_tidied(tmp_path: Path) -> None:
    write(small(), tmp_path / "a")
    before = content(tmp_path / "a")
    nobody = 2**22 + 1  # above the kernel's largest process id
    (tmp_path / "a").rename(tmp_path / f".a.old-{nobody}")  # killed between the two renames
    (tmp_path / f".a.new-{nobody}").mkdir()
    (tmp_path / ".a.old-letters").mkdir()
    files._tidy(tmp_path / "a")
    assert content(tmp_path / "a") == before
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".a.old-letters"}


def test_a_folder_with_anything_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    refuse_foreign(folder)  # empty
    (folder / "index.html").write_text("mine")
    with pytest.raises(FolderRefused, match=r"no numbers\.json of a report"):
        write(small(), folder)
    (folder / "index.html").unlink()
    write(small(), folder)
    for name in ("notes.txt", "figures/holiday.jpg", "tables/more/x.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
        with pytest.raises(FolderRefused, match="no part of a report"):
            write(small(), folder)
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderRefused, match="is a file"):
        write(small(), tmp_path / "file")
    monkeypatch.chdir(folder)
    with pytest.raises(FolderRefused, match="current folder"):
        write(small(), Path())


def test_a_table_has_its_numbers_beside_what_is_printed() -> None:
    rows = list(csv.DictReader(io.StringIO(table_csv(samples.usage_table()))))
    assert [row["Year"] for row in rows] == ["2022", "2023", "2024"]
    assert rows[2]["IN mode"] == "224.0" and rows[2]["IN mode, unit"] == "MB/day"
    assert rows[2]["IN mode, printed"] == "224" and rows[2]["IN mode, mark"] == "few users"
    assert rows[0]["IN mode, mark"] == "" and rows[0]["OUT mode"] == "–" and rows[0]["OUT mode, mark"] == "not told"


def test_names_in_a_table_are_no_formulas() -> None:
    names = ('=HYPERLINK("http://x")', "@SUM(1)", "+cmd", "-2+3", "\tx", "−3.1", "-3.1", "+14\u00a0%", 'TCP, "443"')
    table = Table("t", "", ("name",), tuple((Cell(name),) for name in names), "")
    got = [row["name"] for row in csv.DictReader(io.StringIO(table_csv(table)))]
    assert [text[0] == "'" for text in got] == [True] * 5 + [False] * 4
    assert got[-1] == 'TCP, "443"'


def test_a_number_that_is_none_or_not_finite_is_an_empty_field() -> None:
    cells = [Cell("–", samples.number(f"a/{name}", value)) for name, value in (("none", None), ("nan", math.nan))]
    table = Table("t", "", ("name", "x"), tuple((Cell("a"), cell) for cell in cells), "")
    assert [row["x"] for row in csv.DictReader(io.StringIO(table_csv(table)))] == ["", ""]


def test_all_numbers_are_told_with_what_they_mean() -> None:
    gap = Figure("figure-2", "", (Plot((Line("2024 OUT", np.arange(3.0), np.array([1, np.nan, 3])),), "h", "v"),), "")
    report = samples.report(sections=(Section("s", "", (), (gap,)),))
    shuffled = replace(report, numbers=tuple(reversed(report.numbers)))
    text = numbers_json(report)
    assert numbers_json(shuffled) == text
    told = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    ids = [number["id"] for number in told["numbers"]]
    assert ids == sorted(ids) and len(ids) == len(report.numbers)
    one = next(number for number in told["numbers"] if number["id"] == "table-1/2024/in/mean")
    assert (
        one["value"] == 777.0
        and one["unit"] == "MB/day"
        and one["n"] == 20_000
        and one["volume_source"] == "accounting"
    )
    assert {"definition", "population", "coverage", "sampling", "complete", "error", "week", "method"} <= one.keys()
    assert told["figures"]["figure-2"][0]["lines"][0]["y"] == [1.0, None, 3.0]


def fake_browser(folder: Path, script: str) -> str:
    path = folder / "chromium"
    path.write_text(
        f'#!/bin/sh\nfor word in "$@"; do case $word in --print-to-pdf=*) out=${{word#*=}};; esac; done\n{script}\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


PRINTED = "printf '/Creator (Chrome \\\\(X11\\\\))\\n/CreationDate (D:20261122224538+00)\\n%%%%EOF\\n' > \"$out\""


def test_a_print_tells_neither_its_time_nor_the_machine(tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"
    pdf.print_page(tmp_path / "index.html", out, fake_browser(tmp_path, PRINTED))
    text = out.read_text()
    assert text == "/Creator (flowtide      )\n/CreationDate (D:20000101000000+00)\n%%EOF\n"


def test_a_browser_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "_SETTLED_SECONDS", 0.1)
    out = tmp_path / "report.pdf"
    pdf.print_page(tmp_path / "index.html", out, fake_browser(tmp_path, f"{PRINTED}\nsleep 60"))
    assert out.exists()
    out.unlink()
    with pytest.raises(pdf.NotPrinted, match=r"no PDF after 0\.2 s"):
        pdf.print_page(tmp_path / "index.html", out, fake_browser(tmp_path, "sleep 60"), patience=0.2)
    assert not out.exists()


def test_a_browser_that_fails_is_no_error_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = fake_browser(tmp_path, "printf '%%PDF half' > \"$out\"; exit 7")
    monkeypatch.setattr(files, "browser", lambda: command)
    written = write(small(), tmp_path / "a")
    assert "status 7 without a PDF" in written.no_pdf
    assert not (tmp_path / "a/report.pdf").exists() and b"report.pdf" not in (tmp_path / "a/index.html").read_bytes()


def test_a_print_of_the_page_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = fake_browser(tmp_path, PRINTED)
    monkeypatch.setattr(files, "browser", lambda: command)
    assert write(small(), tmp_path / "a").no_pdf == ""
    assert b'href="report.pdf"' in (tmp_path / "a/index.html").read_bytes()
