"""A report made by hand, with everything that a page, a figure or a file can meet."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from dashboards.report.model import Cell, Figure, Line, Number, Plot, Report, Section, Table

WEEK = "2024-06-03"
CLOCK = tuple((float(hour), f"{hour}:00") for hour in range(0, 25, 4))
DAYS = tuple((24.0 * number, name) for number, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")))


def number(name: str, value: float | None, unit: str = "MB/day", **more: object) -> Number:
    facts: dict[str, Any] = {"n": 20_000, "week": WEEK, "method": "flowtide-1", "volume_source": "accounting"} | more
    return Number(name, value, unit, "mean over all users", "personal users of fixed", coverage=0.998, **facts)


def usage_table() -> Table:
    rows = []
    for year, values in ((2022, (684, 57, 79)), (2023, (718, 59, 89)), (2024, (777, 61, 224))):
        cells = [
            Cell(f"{value:,}", number(f"table-1/{year}/in/{name}", float(value)), "few users" if value == 224 else "")
            for name, value in zip(("mean", "median", "mode"), values, strict=True)
        ]
        rows.append((Cell(str(year)), *cells, Cell("–", None, "not told")))
    return Table(
        "table-1", "Average daily traffic volume of broadband users",
        ("Year", "IN mean", "IN median", "IN mode", "OUT mode"), tuple(rows),
        "Personal users, PPPoE and IPoE; MB a day.", breaks=(2,), breaks_are_rows=True,
        notes=("From 2019 on personal users only.",),
    )  # fmt: skip


def ports_table() -> Table:
    columns = ("Protocol and port", *(str(year) for year in range(2015, 2025)), "Change, points")
    names = (
        "TCP",
        "(<1024)",
        "443 (https)",
        "80 (http)",
        "UDP",
        "443 (https)",
        "ESP",
        "GRE",
        "<script>alert(1)</script>",
    )
    rows = []
    for at, name in enumerate(names):
        shares = [round(90 / (at + 1) - year / 3, 1) for year in range(10)]
        cells = [Cell(f"{share:.1f}", number(f"table-3/{2015 + year}/{at}", share, "percent", error=0.05))
                 for year, share in enumerate(shares)]  # fmt: skip
        rows.append((Cell(name), *cells, Cell("−3.1", number(f"table-3/change/{at}", -3.1, "points"))))
    return Table("table-3", "Ports of broadband traffic", columns, tuple(rows), "PPPoE only, both directions; percent.",
                 breaks=(5, 9))  # fmt: skip


def clock_figure() -> Figure:
    hours = np.arange(24.0)
    lines = []
    for hue, year in enumerate(range(2020, 2024)):
        wave = 0.55 + 0.06 * hue + 0.3 * np.sin((hours - 14) / 24 * 2 * np.pi)
        lines.append(Line(f"{year}-06-01 OUT", hours, wave, hue))
        lines.append(Line(f"{year}-06-01 IN", hours, wave / 4 + 0.02 * hue, hue, dotted=True))
    plot = Plot(tuple(lines), "hour of the day", "volume (largest hour = 1)", x_ticks=CLOCK)
    return Figure("figure-2", "Broadband traffic by hour of the day", (plot,), "Mean of Monday to Friday.",
                  alternative="OUT is highest at 21:00, IN at 20:00.")  # fmt: skip


def distribution_figure() -> Figure:
    octets = 10 ** np.arange(4, 11.05, 0.1)
    lines = []
    for hue, year in enumerate((2023, 2024)):
        for dotted, middle in ((True, 7.6), (False, 8.9)):
            density = np.exp(-((np.log10(octets) - middle - 0.1 * hue) ** 2) / 0.8) / 1.6
            lines.append(Line(f"{year} {'IN' if dotted else 'OUT'}", octets, density, hue, dotted))
    plot = Plot(tuple(lines), "volume a user and day", "probability density", log_x=True)
    return Figure("figure-3", "Daily volume of broadband users", (plot,), "Personal users of both accesses.",
                  alternative="Two humps.")  # fmt: skip


def scatter_figure() -> Figure:
    random = np.random.default_rng(1)
    out = 10 ** random.normal(8.8, 0.7, 5_000)
    back = out * 10 ** random.normal(-1, 0.5, 5_000)
    plot = Plot(
        (Line("users", out, back),), "OUT a day", "IN a day", kind="points", log_x=True, log_y=True, diagonal=True
    )
    return Figure(
        "figure-5", "IN and OUT of broadband users", (plot,), "5,000 users.", alternative="Below the diagonal."
    )


def week_figure(kind: Literal["lines", "stacked"] = "stacked") -> Figure:
    hours = np.arange(168.0)
    plots = []
    for title in ("2023-05-29", WEEK):
        wave = 0.6 + 0.3 * np.sin((hours % 24 - 14) / 24 * 2 * np.pi)
        if title == WEEK:
            wave[30:33] = np.nan
        buckets = (("TCP 80", 0.1), ("TCP 443", 0.5), ("TCP ≥1024", 0.1), ("UDP 443", 0.25))
        lines = tuple(Line(name, hours, wave * share, hue) for hue, (name, share) in enumerate(buckets))
        plots.append(Plot(lines, "", "share of the peak", title, kind, x_ticks=DAYS))
    return Figure("figure-7", "Ports of broadband traffic over the week", tuple(plots), "PPPoE only.",
                  alternative="Waves.", notes=("Each week by its own peak.",))  # fmt: skip


def missing_figure() -> Figure:
    return Figure("figure-11", "Daily volume, 2019 to 2024", (), "", missing=("the week 2019-05-27 is missing",))


def months_figure() -> Figure:
    x = 2019.5 + np.arange(60) / 12
    lines = []
    for hue, name in enumerate(("broadband", "IPoE", "PPPoE", "mobile")):
        level = 1 + (x - 2019.5) * (0.12 + hue / 50)
        lines += [Line(f"{name} OUT", x, level, hue), Line(f"{name} IN", x, level / 5, hue, dotted=True)]
    ticks = tuple((float(year), str(year)) for year in range(2020, 2025))
    plot = Plot(tuple(lines), "", "OUT of January 2020 = 1", x_ticks=ticks)
    return Figure("figure-1", "Traffic by month", (plot,), "Months.", alternative="It grows.")


def report(**changes: Any) -> Report:
    tables = (usage_table(), ports_table())
    use = (distribution_figure(), tables[0], scatter_figure())
    sections = (
        Section("totals", "Volume", ("It rose by 14 percent, & that is <b>more</b> than the year before.",),
                (months_figure(), clock_figure())),
        Section("usage", "Daily volume of users", ("The median rose.",), use),
        Section("ports", "Ports", ("TCP 443 fell.",), (tables[1], week_figure(), missing_figure())),
    )  # fmt: skip
    made = Report(
        title="Traffic report",
        subtitle="Week of 3 to 9 June 2024, compared with 29 May to 4 June 2023",
        draft=(),
        warnings=(),
        summary=("Broadband traffic grew by 14 percent in a year.",),
        sections=sections,
        numbers=tuple(cell.number for table in tables for row in table.rows for cell in row if cell.number),
        facts=(("Method", "flowtide-1"), ("Time zone", "Asia/Tokyo"), ("Frozen", "2024-06-10")),
    )
    return replace(made, **changes)
