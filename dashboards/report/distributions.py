"""How users' daily volumes are distributed: Figures 3, 4 and 11; and IN against OUT in Figures 5 and 6."""

from collections.abc import Sequence

import numpy as np

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import (
    DIRECTIONS,
    IN,
    OUT,
    SERVICE_NAMES,
    Figure,
    Line,
    Material,
    Number,
    Plot,
    ServiceWeek,
    Users,
)
from dashboards.report.telling import USER_DECIMALS, Item, number_of, personal, source_of
from dashboards.report.usage import daily
from dashboards.report.weeks import year_of, years
from dashboards.report.words import percent, printed

DISTRIBUTIONS = {"fixed": "figure-3", "mobile": "figure-4"}
SCATTERS = {"fixed": "figure-5", "mobile": "figure-6"}
BIN = 0.1
"""Decades that a bin of the distributions is wide."""
AXIS = (40, 110)
"""Bins that are always shown: 10 KB to 100 GB a day, the axis of the source report."""
FIVE_YEARS = 5


def density(users: Users) -> tuple[np.ndarray, np.ndarray]:
    """Octets a day at the centres of the bins, and fraction per bin over its width."""
    if not users.numbers:
        return np.array([]), np.array([])
    bins = np.arange(min(*users.bins, AXIS[0]), max(*users.bins, AXIS[1]) + 1)
    counts = np.zeros(bins.size)
    counts[np.array(users.bins) - bins[0]] = users.numbers
    return 10 ** (bins * BIN), counts / counts.sum() / BIN


def distribution(material: Material, service: str) -> Item:
    """Figure 3 or 4: the compared week and this one, IN and OUT."""
    item = DISTRIBUTIONS[service]
    weeks = [chosen[service] for chosen in (material.compare, material.week) if service in chosen]
    lines, numbers = _lines(item, weeks, (IN, OUT))
    title = f"Distribution of daily traffic volume of {SERVICE_NAMES[service]} users"
    plot = Plot(lines, "traffic volume a day", "probability density", log_x=True)
    return Item(
        Figure(
            item,
            title,
            (plot,) if lines else (),
            f"Probability density of the users\u2019 mean daily volume on a logarithmic axis; dotted: IN, solid: OUT. "
            f"Users without an octet in a direction are left out of its line{_zero_words(weeks)}. "
            f"{provenance(material, service)}",
            missing=missing_of(
                material, item, service, compare=True, without="" if lines else "nobody moved an octet in these weeks"
            ),
            alternative=_peaks(weeks),
        ),
        numbers,
    )


def by_year(material: Material) -> Item:
    """Figure 11: broadband's distributions of six years, OUT above IN."""
    weeks = [week for week in years(material, "fixed") if any(users.numbers for users in week.users.values())]
    if "fixed" in material.week:
        weeks = [week for week in weeks if year_of(week) >= year_of(material.week["fixed"]) - FIVE_YEARS]
    plots: list[Plot] = []
    numbers: list[Number] = []
    for direction in (OUT, IN):
        lines, more = _lines("figure-11", weeks, (direction,))
        numbers.extend(more)
        if lines:
            plots.append(Plot(lines, "traffic volume a day", "probability density", DIRECTIONS[direction], log_x=True))
    return Item(
        Figure(
            "figure-11",
            "Distribution of daily traffic volume of broadband users by year",
            tuple(plots),
            f"As Figure 3, one week a year; OUT above, IN below. {provenance(material, 'fixed')}",
            missing=missing_of(material, "figure-11", "fixed", without="" if plots else "no year's users are told"),
            alternative=_peaks(weeks),
        ),
        tuple(numbers),
    )


def _lines(
    item: str, weeks: Sequence[ServiceWeek], directions: Sequence[int]
) -> tuple[tuple[Line, ...], tuple[Number, ...]]:
    lines: list[Line] = []
    numbers: list[Number] = []
    for hue, week in enumerate(weeks):
        for direction in directions:
            users = week.users.get(direction)
            if users is None or not users.numbers:
                continue
            name = f"{week.name} {DIRECTIONS[direction]}"
            x, y = density(users)
            lines.append(Line(name, x, y, hue, dotted=direction == IN))
            numbers += _drawn(item, name, week, users)
    return tuple(lines), tuple(numbers)


def _drawn(item: str, name: str, week: ServiceWeek, users: Users) -> tuple[Number, Number]:
    who, source = personal(week), source_of(week)
    return (
        number_of(
            week, f"{item}/{name}/users", sum(users.numbers), "users", "users in the distribution: with an octet in "
            "this direction", who, source, absolute=True,
        ),
        number_of(
            week, f"{item}/{name}/zero", 100 * users.zero / users.denominator if users.denominator else None, "percent",
            "users without an octet in this direction, of all with a lease or a record", who, source,
            n=users.denominator or None,
        ),
    )  # fmt: skip


def _zero_words(weeks: Sequence[ServiceWeek]) -> str:
    if not weeks or not all(
        week.users.get(at) and week.users[at].denominator for week in weeks[-1:] for at in (IN, OUT)
    ):
        return ""
    users = weeks[-1].users
    shares = {at: 100 * users[at].zero / users[at].denominator for at in (IN, OUT)}
    return f" ({percent(shares[IN], 1)} of them in IN and {percent(shares[OUT], 1)} in OUT in {weeks[-1].name})"


def _peaks(weeks: Sequence[ServiceWeek]) -> str:
    words = []
    for week in weeks:
        modes = {at: daily(week, at, "mode") for at in (IN, OUT)}
        told = [
            f"{DIRECTIONS[at]} at {printed(one.value, USER_DECIMALS[week.service])} MB"
            for at, one in modes.items()
            if one and one.value is not None
        ]
        if told:
            words.append(f"{week.name}: the peak of {' and of '.join(told)} a day")
    return ("; ".join(words) + ".") if words else ""


def scatter(material: Material, service: str) -> Item:
    """Figure 5 or 6: a random sample of users, OUT across and IN up."""
    item = SCATTERS[service]
    week = material.week.get(service)
    pairs = week.pairs if week is not None else np.zeros((0, 2), "i8")
    pairs = pairs[(pairs > 0).all(axis=1)]
    plots: tuple[Plot, ...] = ()
    numbers: tuple[Number, ...] = ()
    alternative = ""
    if week is not None and len(pairs):
        line = Line(week.name, pairs[:, 1].astype("f8"), pairs[:, 0].astype("f8"))
        plots = (Plot((line,), "OUT a day", "IN a day", "", "points", log_x=True, log_y=True, diagonal=True),)
        above = 100 * float(np.mean(pairs[:, 0] > pairs[:, 1]))
        definition = "users of the sample whose IN is more than their OUT"
        numbers = (
            number_of(
                week, f"{item}/above", above, "percent", definition, personal(week), source_of(week), n=len(pairs)
            ),
        )
        alternative = f"IN is more than OUT for {percent(above)} of the users that are drawn."
    return Item(
        Figure(
            item,
            f"IN and OUT volume of each {SERVICE_NAMES[service]} user",
            plots,
            f"A random sample of users, the same whenever it is drawn; on the diagonal IN and OUT are equal, below it "
            f"OUT is more. Users without an octet in a direction are left out. {provenance(material, service)}",
            missing=missing_of(material, item, service)
            or (() if plots else ("no user has octets in both directions",)),
            alternative=alternative,
        ),
        numbers,
    )
