"""Who moves most, and how the most frequent volume has grown."""

from collections.abc import Sequence
from itertools import pairwise

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import DIRECTIONS, IN, OUT, SERVICE_NAMES, Cell, Material, Number, ServiceWeek, Table
from dashboards.report.telling import LEGEND, USER_DECIMALS, Item, between, blank, cell, number_of, personal, source_of
from dashboards.report.usage import daily
from dashboards.report.weeks import comparable, groups, is_published, key, year_of, years, years_before
from dashboards.report.words import as_printed

TOPS = {"top10": 10, "top1": 1}
FIVE_YEARS = 5
FIVE = "five years"
STEP = "largest step in a year"
"""How spans are called."""


def top(week: ServiceWeek, direction: int, what: str) -> Number | None:
    """Share of a direction's octets that its heaviest users have, in percent; None where it was not told."""
    users = week.users.get(direction)
    if users is None or getattr(users, what) is None:
        return None
    return number_of(
        week,
        f"concentration/{week.service}/{key(week)}/{LEGEND[direction]}/{what}",
        100 * getattr(users, what),
        "percent",
        f"octets of the round({TOPS[what] / 100} N) users with the most in this direction, of those of all users",
        personal(week),
        source_of(week),
        n=users.denominator or None,
    )


def concentration(material: Material) -> Item:
    """The heaviest tenth and hundredth of users, by service and direction."""
    columns = [(service, direction) for service in material.services for direction in (OUT, IN)]
    rows = []
    for what, size in TOPS.items():
        for name, chosen in (("", material.week), ("before", material.compare)):
            cells, label = [], ""
            for service, direction in columns:
                week = chosen.get(service)
                number = top(week, direction, what) if week else None
                label = label or (week.name if week else "")
                cells.append(cell(number, 0) if number else blank())
            if name != "before" or any(one.number for one in cells):
                rows.append((Cell(f"heaviest {size}\u00a0%, {label}"), *cells))
    return Item(
        Table(
            "concentration",
            "Share of volume of the heaviest users, percent",
            ("", *(f"{SERVICE_NAMES[service]} {DIRECTIONS[direction]}" for service, direction in columns)),
            tuple(rows),
            "Users are sorted by each direction\u2019s own volume. "
            + " ".join(provenance(material, service, name=True) for service in material.services),
            missing=tuple(
                dict.fromkeys(note for one in material.services for note in missing_of(material, "concentration", one))
            ),
        )
    )


def mode_growth(material: Material) -> Item:
    """Factors of the printed modes over one year and five, IN and OUT."""
    rows, unlike = [], False
    for service in material.services:
        for now, then, span in mode_pairs(material, service):
            same = comparable(now, then, material)
            printed = ", as published" if is_published(now) else ""
            unlike |= not same
            factors = [mode_factor(now, then, direction, material) for direction in (IN, OUT)]
            cells = [cell(one, 2) if one else blank("" if same else "method changed") for one in factors]
            rows.append((Cell(f"{SERVICE_NAMES[service]}, {span}{printed}"), Cell(then.name), Cell(now.name), *cells))
    note = "method changed: the two years were not counted alike; a factor between them is told only when asked for."
    return Item(
        Table(
            "mode-growth",
            "Growth of the most frequent daily volume, factors",
            ("", "from", "to", "IN", "OUT"),
            tuple(rows),
            "Ratios of the modes as Tables 1 and 2 print them; a mode is a value of a grid, with steps of 1.12.",
            missing=() if rows else ("no week a year or five years before is there",),
            notes=(note,) if unlike else (),
        )
    )


def mode_pairs(material: Material, service: str) -> list[tuple[ServiceWeek, ServiceWeek, str]]:
    """The newest week of each group with the one before it and the one five years before it."""
    found: list[tuple[ServiceWeek, ServiceWeek, str]] = []
    weeks = [week for week in years(material, service) if week.users]
    for group in groups(weeks):
        now = group[-1]
        before = material.compare.get(service) if now is material.week.get(service) else None
        one = before or years_before(group, now, 1)
        if one is not None:
            found.append((now, one, "a year" if year_of(now) - year_of(one) == 1 else "since the compared week"))
        five = years_before(group, now, FIVE_YEARS)
        if five is not None:
            found.append((now, five, FIVE))
        step = _largest_step(group, material)
        if step is not None:
            found.append((*step, STEP))
    return found


def _largest_step(group: Sequence[ServiceWeek], material: Material) -> tuple[ServiceWeek, ServiceWeek] | None:
    """The two consecutive years, counted alike, between which a mode grew most; None of fewer than two such pairs."""
    pairs = [
        (now, then)
        for then, now in pairwise(group)
        if year_of(now) - year_of(then) == 1 and comparable(now, then, material)
    ]
    return (
        max(pairs, key=lambda pair: largest_factor(pair[0], pair[1], material)[0], default=None)
        if len(pairs) > 1
        else None
    )


def largest_factor(now: ServiceWeek, then: ServiceWeek, material: Material) -> tuple[float, int]:
    """The larger of the two factors between two weeks, and whose it is."""
    factors = ((mode_factor(now, then, direction, material), direction) for direction in (IN, OUT))
    return max((number.value if number and number.value else 0.0, direction) for number, direction in factors)


def mode_factor(now: ServiceWeek, then: ServiceWeek, direction: int, material: Material) -> Number | None:
    """Ratio of two modes as they are printed; None where they were not counted alike."""
    if not comparable(now, then, material):
        return None
    ends = [daily(week, direction, "mode") for week in (now, then)]
    values = [as_printed(end.value, USER_DECIMALS[now.service]) for end in ends if end and end.value is not None]
    if len(values) < 2 or not values[1] or ends[0] is None or ends[1] is None:
        return None
    name = f"mode-growth/{now.service}/{key(now)}/{key(then)}/{LEGEND[direction]}"
    return between(ends[0], ends[1], name, values[0] / values[1], "ratio", "mode over the mode before it, as printed")
