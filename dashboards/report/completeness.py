"""What a week lacks: hours without flows, exporters that fell silent, days without accounting."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date

from dashboards.report.model import Source, Week

_REGULAR = 0.9  # of the hours with flows: an exporter seen in fewer is not expected in every hour


def missing_hours(week: Week, seen: Collection[int]) -> tuple[int, ...]:
    """Begins of the hours, Unix seconds, whose numbers are not among those with flows."""
    return tuple(begin for number, begin in enumerate(week.hours.tolist()) if number not in seen)


def silent_hours(week: Week, seen: Mapping[str, Collection[int]]) -> dict[str, tuple[int, ...]]:
    """Of each exporter that is seen in nearly every hour with flows, those in which only others were."""
    any_of_them = set[int]().union(*seen.values())
    begins = week.hours.tolist()
    found = {}
    for exporter, hours in seen.items():
        lacks = any_of_them - set(hours)
        if lacks and len(hours) >= _REGULAR * len(any_of_them):
            found[exporter] = tuple(begins[number] for number in sorted(lacks))
    return found


def missing_days(
    week: Week, told: Iterable[tuple[date, str, str]], accesses: Iterable[str], source: Callable[[str], Source]
) -> dict[str, tuple[date, ...]]:
    """Days without accounting: of each (day, access, source) told; of an access with flows of which none is told, all.

    Only of accesses whose accounting counts.
    """
    by_name: dict[str, set[date]] = defaultdict(set)
    accounted = set()
    for day, access, name in told:
        accounted.add(access)
        if source(access) == "accounting":
            by_name[f"{access} of {name}"].add(day)
    for access in set(accesses) - accounted:
        if source(access) == "accounting":
            by_name[access] = set()
    return {
        name: lacks
        for name, days in sorted(by_name.items())
        if (lacks := tuple(day for day in week.days if day not in days))
    }
