"""A service's months: octets a day, and their growth."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from dashboards.report.model import Material, Month, Number, Source
from dashboards.report.telling import LEGEND, SOURCE_NAMES, between, everyone, number_of
from dashboards.report.words import as_printed, listed

BASE = date(2020, 1, 1)
"""The month whose OUT is 1 in Figure 1, of each service: the last before the pandemic, as the source report has it."""
FIVE_YEARS = 5
SINCE = date(2019, 6, 1)
"""Where Figure 1 begins."""


class Months:
    """What each access of a service moved a day, month by month, and whether all of it was told."""

    def __init__(self, material: Material, service: str) -> None:
        self.service, self._week = service, material.week.get(service)
        self._months = _counted(
            [month for month in material.months if month.service == service],
            self._week.quality.sources if self._week else {},
        )
        self._spans = _spans(self._months)
        self.analysed = self._analysed()
        self.base = self._base()

    def firsts(self) -> tuple[date, ...]:
        """Months up to the analysed one, in order."""
        last = self.analysed
        return tuple(sorted({month.first for month in self._months if last and SINCE <= month.first <= last}))

    @property
    def accesses(self) -> tuple[str, ...]:
        """Those that any month tells."""
        return tuple(self._spans)

    def octets(self, first: date | None, direction: int, access: str | None = None) -> Number | None:
        """Octets a day in a month, of an access or all; None where nothing was told."""
        found = [
            month
            for month in self._months
            if (month.first, month.direction) == (first, direction) and access in (None, month.access)
        ]
        if first is None or self._week is None or not any(month.days_told for month in found):
            return None
        number = number_of(
            self._week,
            f"months/{self.service}/{first:%Y-%m}/{LEGEND[direction]}{f'/{access}' if access else ''}",
            sum(month.a_day for month in found),
            "octets/day",
            "octets of a calendar month over the days of it that were told",
            everyone(self.service),
            listed([name for name in SOURCE_NAMES if any(month.source == name for month in found)]),
            absolute=True,
        )
        return replace(number, week=f"{first:%Y-%m}", complete=self.complete(first, access), coverage=None)

    def complete(self, first: date, access: str | None = None) -> bool:
        """Whether every access that there was before and after has told each day of a month."""
        due = {one for one, (since, last) in self._spans.items() if since <= first <= last and access in (None, one)}
        told = [month for month in self._months if month.first == first and month.access in due]
        return due == {month.access for month in told} and all(month.days_told >= month.days for month in told)

    def growth(self, direction: int, now: date | None, years: int, name: str) -> Number | None:
        """Factor over the same month so many years before."""
        new, old = self.octets(now, direction), self.octets(before(now, years), direction)
        if new is None or old is None or not new.value or not old.value:
            return None
        span = "a year" if years == 1 else f"{years} years"
        words = f"octets a day of a calendar month over those of the same month {span} before"
        return between(
            new, old, f"volumes/{self.service}/{LEGEND[direction]}/{name}", new.value / old.value, "ratio", words
        )

    def yoy(self, direction: int, back: int = 0) -> Number | None:
        """Year-on-year growth in percent; that of ``back`` years earlier."""
        name = "yoy" if not back else "yoy-before"
        factor = self.growth(direction, before(self.analysed, back), 1, name)
        if factor is None or factor.value is None:
            return None
        words = "growth of octets a day over the same month a year before"
        return replace(factor, value=100 * (factor.value - 1), unit="percent", definition=words)

    def level(self, first: date | None, direction: int, access: str | None = None) -> Number | None:
        """Octets a day over those of OUT, of all accesses, in the base month."""
        now, base = self.octets(first, direction, access), self.octets(self.base, 2)
        if now is None or base is None or now.value is None or not base.value:
            return None
        words = f"octets a day over those of OUT in {self.base:%Y-%m}"
        return replace(
            now, id=f"{now.id}/level", value=now.value / base.value, unit="ratio", definition=words, absolute=False
        )

    def share(self, first: date | None, direction: int, access: str) -> Number | None:
        """Share of an access in a direction's octets of a month, in percent."""
        part, whole = self.octets(first, direction, access), self.octets(first, direction)
        if part is None or whole is None or part.value is None or not whole.value:
            return None
        return replace(
            whole,
            id=f"{access}-share/{self.service}/{first:%Y-%m}/{LEGEND[direction]}",
            value=100 * part.value / whole.value,
            unit="percent",
            definition=f"octets over {access} of all octets of the same service, direction and calendar month",
            absolute=False,
        )

    def share_change(self, direction: int, access: str) -> Number | None:
        """Its difference from the same month a year before, in points, as printed with one decimal."""
        now, then = (self.share(before(self.analysed, back), direction, access) for back in (0, 1))
        if now is None or then is None or now.value is None or then.value is None:
            return None
        moved = as_printed(as_printed(now.value, 1) - as_printed(then.value, 1), 1)
        words = "difference of the two shares as they are printed"
        return between(now, then, f"{access}-share/{self.service}/change/{LEGEND[direction]}", moved, "points", words)

    def _analysed(self) -> date | None:
        told = [month.first for month in self._months if self._week and month.first <= self._week.week.days[3]]
        return max(told, default=None)

    def _base(self) -> date | None:
        found = [first for first in {month.first for month in self._months} if self.complete(first)]
        return BASE if BASE in found else min(found, default=None)


def before(first: date | None, years: int) -> date | None:
    """The same month so many years earlier."""
    return first.replace(year=first.year - years) if first else None


def _counted(months: list[Month], force: Mapping[str, Source]) -> list[Month]:
    """Flows and accounting of one access tell the same octets twice: of both, one counts; of one alone, that one."""
    told = {(month.access, month.source) for month in months}
    counts: dict[str, Source] = {
        access: "accounting" if (access, "accounting") in told else "netflow" for access, _ in told
    }
    counts |= {access: source for access, source in force.items() if (access, source) in told}
    return [month for month in months if month.source == counts[month.access]]


def _spans(months: list[Month]) -> dict[str, tuple[date, date]]:
    found: dict[str, tuple[date, date]] = {}
    for month in months:
        since, last = found.get(month.access, (month.first, month.first))
        found[month.access] = min(since, month.first), max(last, month.first)
    return found
