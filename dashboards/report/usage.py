"""What a user moves a day: mean, median and mode of Tables 1 and 2."""

from collections.abc import Sequence
from dataclasses import replace

from dashboards.report.captions import missing_of, provenance
from dashboards.report.model import (
    DIRECTIONS,
    FEW_USERS,
    IN,
    MB,
    OUT,
    SERVICE_NAMES,
    Cell,
    Material,
    Number,
    ServiceWeek,
    Table,
)
from dashboards.report.telling import (
    LEGEND,
    USER_DECIMALS,
    Item,
    blank,
    cell,
    mean_error,
    number_of,
    personal,
    source_of,
)
from dashboards.report.weeks import breaks, groups, key, years
from dashboards.report.words import as_printed, percent

TABLES = {"fixed": "table-1", "mobile": "table-2"}
DEFINITIONS = {
    "mean": "sum of the users' octets in the week over the number of users, over the days of the week",
    "median": "exact median of the users' mean octets a day",
    "mode": (
        "peak of the distribution of log10 octets a day: the fullest bin of a tenth of a decade, the lowest of "
        "equals, shifted by the parabola through it and its neighbours, on a grid of twentieths of a decade"
    ),
}
TRUST = ("Users", "Unseen users", "± IN mean", "± OUT mean")
"""Columns beside the statistics: how many users, and how sure."""
DENOMINATOR = "; users are those with a lease or a record in the week, those without an octet count as nought"


def daily(week: ServiceWeek, direction: int, what: str, item: str = "") -> Number | None:
    """Mean, median or mode of a week's users, in MB a day; None where it was not told."""
    users = week.users.get(direction)
    if users is None:
        return None
    octets = {"mean": users.mean, "median": users.median, "mode": users.mode}[what]
    relative = mean_error(users, week.quality.sampling) if what == "mean" else None
    return number_of(
        week,
        f"{item or TABLES[week.service]}/{key(week)}/{LEGEND[direction]}/{what}",
        None if octets is None else octets / MB,
        "MB/day",
        DEFINITIONS[what] + (DENOMINATOR if what != "mode" else ""),
        personal(week),
        source_of(week),
        n=users.denominator or None,
        error=None if relative is None or octets is None else relative * octets / MB,
    )


def daily_table(material: Material, service: str) -> Item:
    """Table 1 or 2: a row a week, published years and own weeks apart."""
    weeks = [week for week in years(material, service) if week.users]
    statistics = [(direction, what) for direction in (IN, OUT) for what in ("mean", "median", "mode")]
    rows = []
    for week in weeks:
        numbers = (_statistic(week, direction, what) for direction, what in statistics)
        name = Cell(week.name, mark="" if week.quality.complete else "incomplete")
        rows.append((name, *numbers, *_trust(week)))
    heads = ("Week", *(f"{DIRECTIONS[direction]} {what}" for direction, what in statistics), *TRUST)
    shown = [at for at in range(len(heads)) if at <= len(statistics) or any(row[at].number for row in rows)]
    columns = tuple(heads[at] for at in shown)
    each = "phone number" if service == "mobile" else "user"
    return Item(
        Table(
            TABLES[service],
            f"{SERVICE_NAMES[service].capitalize()} users\u2019 daily traffic volume, MB a day",
            columns,
            tuple(tuple(row[at] for at in shown) for row in rows),
            f"MB (10⁶ octets) a day per {each}, mean over the week; personal services only. "
            f"{provenance(material, service)}",
            missing=missing_of(material, TABLES[service], service, without=_untold(material, service)),
            breaks=breaks(weeks),
            breaks_are_rows=True,
            notes=_table_notes(weeks, across=material.across_breaks),
        )
    )


def _untold(material: Material, service: str) -> str:
    week = material.week.get(service)
    return "" if week is None or week.users else f"nothing is told of users in the week of {week.name}"


def _statistic(week: ServiceWeek, direction: int, what: str) -> Cell:
    number = daily(week, direction, what)
    if number is None:
        return blank()
    few = what == "mode" and number.n is not None and number.n < FEW_USERS
    return cell(number, USER_DECIMALS[week.service], mark="few users" if few else "")


def _trust(week: ServiceWeek) -> tuple[Cell, ...]:
    """How many users there are, how many of them no flow or account told of, and how sure the means are."""
    users = week.users.get(OUT) or next(iter(week.users.values()))
    if not users.denominator:
        return (blank(),) * 4
    who, source = personal(week), source_of(week)
    item = f"{TABLES[week.service]}/{key(week)}"
    counted = number_of(
        week, f"{item}/users", users.denominator, "users", "users with a lease or a record in the week", who, source,
        absolute=True,
    )  # fmt: skip
    unseen = number_of(
        week, f"{item}/unseen", users.denominator - users.users if users.seen else None, "users",
        "users with a lease in the week of whom there is no record; they count as nought in mean and median", who,
        source, n=users.denominator, absolute=True,
    )  # fmt: skip
    return cell(counted, 0), cell(unseen, 0), *(_mean_error(week, direction) for direction in (IN, OUT))


def _mean_error(week: ServiceWeek, direction: int) -> Cell:
    users = week.users.get(direction)
    relative = mean_error(users, week.quality.sampling) if users else None
    if users is None or not relative:
        return blank()
    number = number_of(
        week,
        f"{TABLES[week.service]}/{key(week)}/{LEGEND[direction]}/mean-error",
        100 * relative,
        "percent",
        "half the width of the 95 % interval of the mean by packet sampling, in percent of it; an upper bound, from "
        "packets of at most 1500 octets",
        personal(week),
        source_of(week),
        n=users.packets,
        n_of="sampled packets",
        absolute=True,
    )
    return cell(number, 2, text=percent(100 * relative, 2))


def _table_notes(weeks: Sequence[ServiceWeek], *, across: bool) -> tuple[str, ...]:
    notes = ["Users without an octet count as nought in mean and median; the mode is the peak of those who have any."]
    if len(groups(weeks)) > 1:
        notes.append("Rows named by a year are as the source report printed them; those named by a date were measured.")
    if breaks(weeks):
        told = "growth is told across it, as was asked" if across else "no growth is told across it"
        notes.append(f"A line between rows marks a change of method or origin; {told}.")
    if any(week.users[at].denominator in range(1, FEW_USERS) for week in weeks for at in week.users):
        notes.append(f"few users: a mode of fewer than {FEW_USERS:,} users may be one step of the grid off.")
    if any(not week.quality.complete for week in weeks):
        notes.append("incomplete: hours or days of this week are missing; they are named at the top of the report.")
    return tuple(notes)


def out_over_in(week: ServiceWeek) -> Number | None:
    """How many times the mode of IN the mode of OUT is, as printed."""
    return _ratio(daily(week, OUT, "mode"), daily(week, IN, "mode"), week, "out-over-in", "mode of OUT over mode of IN")


def mean_over_median(week: ServiceWeek, direction: int) -> Number | None:
    """How far heavy users pull the mean away from the median, as printed."""
    name = f"{LEGEND[direction]}/mean-over-median"
    return _ratio(daily(week, direction, "mean"), daily(week, direction, "median"), week, name, "mean over median")


def _ratio(above: Number | None, below: Number | None, week: ServiceWeek, name: str, words: str) -> Number | None:
    if above is None or below is None or above.value is None or below.value is None:
        return None
    top, base = (as_printed(one.value or 0.0, USER_DECIMALS[week.service]) for one in (above, below))
    if not base:
        return None
    number = f"{TABLES[week.service]}/{key(week)}/{name}"
    return replace(above, id=number, value=top / base, unit="ratio", definition=f"{words}, as printed", error=None)
