"""How far the numbers can be trusted: coverage, sampling, completeness, sources and the users nobody saw."""

from collections.abc import Callable, Sequence
from functools import partial

from dashboards.report.captions import missing_of
from dashboards.report.model import (
    DIRECTIONS,
    IN,
    OUT,
    OWN,
    SERVICE_NAMES,
    Cell,
    Material,
    Number,
    ServiceWeek,
    Table,
    Users,
)
from dashboards.report.telling import (
    LEGEND,
    Item,
    blank,
    everyone,
    mean_error,
    median_user_error,
    number_of,
    personal,
    source_of,
    sources_told,
)
from dashboards.report.weeks import hour_label, key
from dashboards.report.words import printed

Row = Callable[[ServiceWeek], Cell]


def quality_table(material: Material) -> Item:
    """A column for each service's analysed and compared week."""
    weeks = [
        chosen[service]
        for service in material.services
        for chosen in (material.week, material.compare)
        if service in chosen and chosen[service].origin == OWN
    ]
    rows = tuple((Cell(name), *(row(week) for week in weeks)) for name, row in _rows(weeks))
    return Item(
        Table(
            "quality",
            "What the numbers rest on",
            ("", *(f"{SERVICE_NAMES[week.service]}, {week.name}" for week in weeks)),
            rows,
            "Matched: octets of all flows of the week whose address a subscriber held at the flow\u2019s own time. "
            "Errors are half the width of the 95 % interval by packet sampling; those of volumes are upper bounds, "
            "from packets of at most 1500 octets.",
            missing=missing_of(material, "quality", material.services[0]),
        )
    )


def _rows(weeks: Sequence[ServiceWeek]) -> list[tuple[str, Row]]:
    rows: list[tuple[str, Row]] = [
        ("source of volumes", lambda week: Cell(sources_told(week) or "\u2013")),
        ("hours without a flow", _missing_hours),
        ("days without accounting", _missing_days),
        ("exporters silent in some hour", _silent),
        ("octets matched to a subscriber", _told(coverage, 1, "\u00a0%")),
        ("octets neither personal nor enterprise", _told(unknown, 1, "\u00a0%")),
        ("packets that one sampled packet stands for", _told(sampling, 0, "")),
        ("sampled packets", _told(packets, 0, "")),
        ("users with a lease or a record", _told(users, 0, "")),
        ("users with a record", _told(recorded, 0, "")),
        ("users with a lease and no record", _told(unseen, 0, "")),
    ]
    for at, name in DIRECTIONS.items():
        rows += [
            (f"users without an octet, {name}", _told(partial(zero, direction=at), 0, "")),
            (f"error of the mean, {name}", _told(partial(error_of_mean, direction=at), 2, "\u00a0%")),
            (f"error of one user with the median, {name}", _told(partial(error_of_median, direction=at), 1, "\u00a0%")),
        ]
    # What nobody can tell of any week is not a row.
    return [(name, row) for name, row in rows if any(row(week).text != blank().text for week in weeks)]


def _told(number: Callable[[ServiceWeek], Number | None], decimals: int, unit: str) -> Row:
    return lambda week: _show(number(week), decimals, unit)


def _show(number: Number | None, decimals: int, unit: str) -> Cell:
    if number is None or number.value is None:
        return blank()
    return Cell(printed(number.value, decimals) + unit, number)


def _missing_hours(week: ServiceWeek) -> Cell:
    hours = week.quality.missing_hours
    named = ", ".join(hour_label(second, week.week.zone) for second in hours[:24])
    return Cell("none" if not hours else named + (f" and {len(hours) - 24} more" if len(hours) > 24 else ""))


def _missing_days(week: ServiceWeek) -> Cell:
    told = [
        f"{source}: {', '.join(map(str, days))}" for source, days in sorted(week.quality.missing_days.items()) if days
    ]
    return Cell("; ".join(told) or "none")


def _silent(week: ServiceWeek) -> Cell:
    """Exporters are named: the cell has a number that is never published, so that it is not either."""
    silent = week.quality.silent
    if not silent:
        return Cell("none")
    told = [
        f"{exporter}: {', '.join(hour_label(second, week.week.zone) for second in hours[:6])}"
        + (f" and {len(hours) - 6} more" if len(hours) > 6 else "")
        for exporter, hours in sorted(silent.items())
    ]
    return Cell("; ".join(told), _of(week, "silent", len(silent), "exporters", "silent in an hour", absolute=True))


def _of(week: ServiceWeek, name: str, value: float, unit: str, definition: str, **facts: object) -> Number:
    start = f"quality/{week.service}/{key(week)}"
    return number_of(week, f"{start}/{name}", value, unit, definition, everyone(week.service), source_of(week), **facts)


def coverage(week: ServiceWeek) -> Number | None:
    """Share of octets with a subscriber, in percent."""
    if not week.quality.octets:
        return None
    words = "octets of all flows of the week, of all services, whose address a subscriber held"
    return _of(week, "matched", 100 * (1 - week.quality.unmatched), "percent", words)


def unknown(week: ServiceWeek) -> Number | None:
    """Share of octets whose subscriber is neither personal nor enterprise, in percent of all octets."""
    if not week.quality.octets:
        return None
    share = 100 * week.quality.unknown_segment_octets / week.quality.octets
    return _of(
        week, "unknown-segment", share, "percent", "octets of the service, neither personal nor enterprise, of all"
    )


def sampling(week: ServiceWeek) -> Number:
    """Packets that one sampled packet stands for."""
    words = "packets that one sampled packet stands for, mean over the service\u2019s flows"
    return _of(week, "sampling", week.quality.sampling, "packets", words)


def packets(week: ServiceWeek) -> Number | None:
    """Sampled packets of the service."""
    if not week.quality.packets:
        return None
    return _of(week, "packets", week.quality.packets, "packets", "sampled packets of the service", absolute=True)


def _users(week: ServiceWeek) -> Users | None:
    return week.users.get(OUT) or week.users.get(IN)


def users(week: ServiceWeek) -> Number | None:
    """N: those with a lease or a record in the week."""
    found = _users(week)
    if found is None or not found.denominator:
        return None
    return _personal(week, "users", found.denominator, "personal users with a lease or a record in the week")


def recorded(week: ServiceWeek) -> Number | None:
    """Those with a record."""
    found = _users(week)
    if found is None or not found.denominator:
        return None
    return _personal(week, "recorded", found.users, "personal users with a record in the week")


def unseen(week: ServiceWeek) -> Number | None:
    """Those with a lease and no record; None where no lease is known."""
    found = _users(week)
    if found is None or not found.seen:
        return None
    return _personal(week, "unseen", found.seen - found.users, "personal users with a lease in the week and no record")


def zero(week: ServiceWeek, direction: int) -> Number | None:
    """Those without an octet in a direction."""
    found = week.users.get(direction)
    if found is None or not found.denominator:
        return None
    words = "personal users with a lease or a record and without an octet in this direction"
    return _personal(week, f"{LEGEND[direction]}/zero", found.zero, words)


def _personal(week: ServiceWeek, name: str, value: float, definition: str) -> Number:
    return number_of(
        week, f"quality/{week.service}/{key(week)}/{name}", value, "users", definition, personal(week), source_of(week),
        absolute=True,
    )  # fmt: skip


def error_of_mean(week: ServiceWeek, direction: int) -> Number | None:
    """Of the mean, in percent of it; it tells how many packets there are."""
    found = week.users.get(direction)
    error = mean_error(found, week.quality.sampling) if found else None
    if not error:
        return None
    words = "1.96 sqrt(1500 / mean packet octets / sampled packets), times the part of the volume that flows tell"
    return _of(week, f"{LEGEND[direction]}/mean-error", 100 * error, "percent", words, absolute=True)


def error_of_median(week: ServiceWeek, direction: int) -> Number | None:
    """Of one user with the median volume, in percent of it."""
    found = week.users.get(direction)
    error = median_user_error(found, len(week.week.days), week.quality.sampling) if found else None
    if not error:
        return None
    words = (
        "1.96 sqrt(1500 / mean packet octets / n), n the packets that are sampled of a user with the median volume "
        "whom flows alone tell of"
    )
    return _of(week, f"{LEGEND[direction]}/median-user-error", 100 * error, "percent", words)
