"""A week's hours by port: Figures 7 and 8."""

from collections.abc import Mapping

import numpy as np

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import (
    SERVICE_NAMES,
    Figure,
    Line,
    Material,
    Number,
    Plot,
    ServiceWeek,
)
from dashboards.report.telling import PORT_ACCESS, Item, number_of, port_population
from dashboards.report.weeks import key, told, weekdays
from dashboards.report.words import listed, printed, sentence

WEEKS = {"fixed": "figure-7", "mobile": "figure-8"}
BUCKETS: Mapping[str, tuple[str, ...]] = {
    "fixed": ("tcp/80", "tcp/443", "tcp/>=1024", "udp/443"),
    "mobile": ("tcp/80", "tcp/443", "udp/443"),
}
"""Series of Figures 7 and 8, as published."""


def week_figure(material: Material, service: str) -> Item:
    """Figure 7 or 8: the compared week above, this one below, each over its own peak of all protocols."""
    item = WEEKS[service]
    weeks = [chosen[service] for chosen in (material.compare, material.week) if service in chosen]
    drawn = [(week, _week_plot(week)) for week in weeks if _buckets(week)]
    numbers = tuple(number for week, plot in drawn for number in _peaks(item, week, plot))
    lacking = [f"{week.name} has no hours of ports" for week in weeks if not _buckets(week)]
    return Item(
        Figure(
            item,
            f"{SERVICE_NAMES[service].capitalize()} port usage over a week",
            tuple(plot for _, plot in drawn),
            f"Octets an hour by lower port, over the largest hour of all protocols of the same week: the two "
            f"plots have scales of their own. {sentence(port_population(service))} "
            f"{provenance(material, service, volumes=False)}",
            missing=(*missing_of(material, item, service, compare=True), *lacking),
            alternative=" ".join(_week_words(week, plot) for week, plot in drawn),
        ),
        numbers,
    )


def _buckets(week: ServiceWeek) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for hours in week.buckets:
        if hours.access == PORT_ACCESS[week.service]:
            found[hours.bucket] = found.get(hours.bucket, 0) + hours.octets.astype("f8")
    return found


def _week_plot(week: ServiceWeek) -> Plot:
    buckets, there = _buckets(week), told(week)
    overall = np.sum(list(buckets.values()), axis=0)
    peak = overall.max() or 1.0
    x = (week.week.hours - week.week.since) / 3_600
    days = np.flatnonzero(np.diff(weekdays(week.week), prepend=-1))
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    return Plot(
        tuple(
            Line(_bucket_name(one), x, np.where(there, buckets.get(one, np.zeros(x.size)) / peak, np.nan), hue)
            for hue, one in enumerate(BUCKETS[week.service])
        ),
        "",
        "volume, largest hour of all = 1",
        week.name,
        x_ticks=tuple((float(x[at]), name) for at, name in zip(days, names, strict=True)),
    )


def _bucket_name(bucket: str) -> str:
    proto, _, port = bucket.partition("/")
    return f"{proto.upper()} {port}"


def _peaks(item: str, week: ServiceWeek, plot: Plot) -> tuple[Number, ...]:
    return tuple(
        number_of(
            week,
            f"{item}/{key(week)}/{line.name}/peak",
            float(np.nanmax(line.y)) if not np.isnan(line.y).all() else None,
            "ratio",
            "largest hour of the bucket over the largest hour of all protocols in the same week",
            port_population(week.service),
            "netflow",
        )
        for line in plot.lines
    )


def _week_words(week: ServiceWeek, plot: Plot) -> str:
    told_of = [
        f"{line.name} peaks at {printed(float(np.nanmax(line.y)), 2)}"
        for line in plot.lines
        if not np.isnan(line.y).all()
    ]
    return f"{week.name}: {listed(told_of)} of the largest hour." if told_of else ""
