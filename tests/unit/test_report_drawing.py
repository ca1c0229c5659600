"""Figures: the same bytes for the same data, whole for a stranger's settings, and nothing drawn where nothing is."""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dashboards.panels.model import BUCKET_COLOURS
from dashboards.report.drawing import _told, bytes_words, draw
from dashboards.report.model import Figure, Line, Plot
from tests import report_samples as samples

FIGURES = (samples.months_figure, samples.clock_figure, samples.distribution_figure, samples.scatter_figure,
           samples.week_figure, samples.missing_figure)  # fmt: skip


@cache
def week_svg() -> str:
    return draw(samples.week_figure())[0].decode()


def chunks(png: bytes) -> list[bytes]:
    """Names of a PNG's chunks."""
    at, found = 8, []
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        assert zlib.crc32(png[at + 4 : at + 8 + size]) == struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0]
        found.append(name)
        at += 12 + size
    return found


@pytest.mark.parametrize("make", FIGURES)
def test_a_figure_has_the_same_bytes_twice_and_tells_no_time(make: Callable[[], Figure]) -> None:
    import matplotlib as mpl

    svg, png = draw(make())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": None}):
        assert draw(make()) == (svg, png)
    assert not re.search(rb"matplotlib|dc:date|\d{4}-\d\d-\d\dT", svg)
    assert {b"tEXt", b"iTXt", b"tIME"}.isdisjoint(chunks(png))
    assert svg.count(b"<svg ") == 1 and b"<script" not in svg


def test_names_of_parts_are_the_figures_own() -> None:
    svg = week_svg()
    names = re.findall(r'\sid="([^"]+)"', svg)
    assert names and len(names) == len(set(names))
    assert all(name.startswith("figure-7-") for name in names)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert used == set(names)


def test_buckets_have_the_colours_of_the_panels() -> None:
    svg = week_svg().lower()
    for bucket in ("tcp/80", "tcp/443", "tcp/>=1024", "udp/443"):
        assert BUCKET_COLOURS[bucket] in svg, bucket


def test_in_is_dotted_and_out_is_not() -> None:
    x = np.arange(24.0)
    for dotted in (False, True):
        plot = Plot((Line("a", x, x + 1, dotted=dotted),), "hour", "volume")
        svg = draw(Figure("figure-2", "", (plot,), ""))[0].decode()
        assert ("stroke-dasharray: 1.7" in svg) is dotted


def test_a_gap_parts_a_line() -> None:
    """By the number of strokes of its path: a line that is parted begins twice."""
    x, y = np.arange(48.0), np.ones(48)
    y[20:23] = np.nan
    strokes = []
    for values in (np.ones(48), y):
        svg = draw(Figure("figure-7", "", (Plot((Line("TCP 443", x, values),), "", ""),), ""))[0].decode()
        path = re.search(r'<path d="([^"]+)"[^>]*stroke: #3274d9', svg)
        assert path
        strokes.append(path[1].count("M"))
    assert strokes == [1, 2]


def test_without_data_it_says_which_weeks_are_missing() -> None:
    empty = samples.missing_figure()
    svg = draw(empty)[0]
    assert svg != draw(replace(empty, missing=("the week 2020-02-17 is missing",)))[0]
    nothing = Plot((Line("a", np.arange(3.0), np.full(3, np.nan)),), "hour", "volume", title="2023-05-29")
    both = draw(
        Figure("figure-7", "", (nothing, samples.week_figure().plots[1]), "", missing=("2023-05-29 is missing",))
    )[0]
    assert BUCKET_COLOURS["tcp/443"].encode() in both


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1e4, "10 KB"), (1e5, "100 KB"), (1e6, "1 MB"), (1e8, "100 MB"), (1e9, "1 GB"), (1e11, "100 GB"),
        (1e12, "1 TB"), (100, "100 B"),
    ],
)  # fmt: skip
def test_bytes_are_written_as_the_source_report_does(value: float, said: str) -> None:
    assert bytes_words(value) == said


def test_a_legend_stays_within_its_figure_and_keeps_pairs_in_a_row() -> None:
    """By the pixels at the right edge, where a name that does not fit is cut."""
    import io

    from matplotlib.image import imread

    x = np.arange(24.0)
    for names in (["2020-06-01", "2021-06-07", "2022-06-06", "2023-05-29", "2024-06-03"],
                  ["W" * 18, "W" * 17], ["W" * 34, "i"], ["TCP 80", "TCP 443", "TCP >=1024", "UDP 443"]):  # fmt: skip
        plot = Plot(tuple(Line(name, x, x + hue, hue, dotted=True) for hue, name in enumerate(names)), "hour", "volume")
        pixels = imread(io.BytesIO(draw(Figure("figure-2", "", (plot,), ""))[1]))
        assert (pixels[:, -6:, :3] == 1).all(), names


def test_in_and_out_of_a_week_stand_beside_each_other_in_the_legend() -> None:
    x = np.arange(3.0)
    out, back = (
        Plot(
            tuple(Line(f"{year} {way}", x, x, hue, dotted=way == "IN") for hue, year in enumerate((2023, 2024))), "", ""
        )
        for way in ("OUT", "IN")
    )
    assert _told((out, back)) == ["2023 OUT", "2023 IN", "2024 OUT", "2024 IN"]
    assert _told(samples.week_figure().plots) == ["UDP 443", "TCP ≥1024", "TCP 443", "TCP 80"]
