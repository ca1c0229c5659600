"""How numbers and their movements are written: a word follows from the values as they are printed."""

from collections.abc import Sequence
from datetime import date, timedelta

from dashboards.report.model import Week

MINUS, NBSP, DASH = "\u2212", "\u00a0", "\u2013"
NOT_TOLD = DASH
"""In a cell that cannot be told."""


def as_printed(value: float, decimals: int) -> float:
    """The value a reader sees."""
    return round(value, decimals) + 0.0  # no minus zero


def printed(value: float, decimals: int) -> str:
    """With thousands apart and a true minus sign."""
    return f"{as_printed(value, decimals):,.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int) -> str:
    """With its sign, unless it is printed as nought."""
    text = printed(value, decimals)
    return f"+{text}" if as_printed(value, decimals) > 0 else text


def percent(value: float, decimals: int = 0) -> str:
    """A number and its sign, which are not parted at the end of a line."""
    return f"{printed(value, decimals)}{NBSP}%"


def points(value: float, decimals: int = 1) -> str:
    """A difference of percentages, without its sign."""
    text = printed(abs(value), decimals)
    return f"{text}{NBSP}point" if float(text) == 1 else f"{text}{NBSP}points"


def change(now: float, then: float, decimals: int) -> float:
    """What moved between two values as they are printed, so that a reader's own subtraction agrees."""
    return as_printed(as_printed(now, decimals) - as_printed(then, decimals), decimals)


def moved(difference: float) -> str:
    """The verb of a difference as it is printed."""
    if difference == 0:
        return "did not change"
    return "rose" if difference > 0 else "fell"


def grew(growth: float) -> str:
    """A growth in whole percent, as a predicate."""
    whole = as_printed(growth, 0)
    return f"{moved(whole)} by {percent(abs(whole))}" if whole else "did not change"


def from_to(name: str, then: float, now: float, decimals: int = 1) -> str:
    """A share's movement: both values where they differ in print, one where they do not."""
    if change(now, then, decimals) == 0:
        return f"{name} did not change ({percent(now, decimals)})"
    verb = moved(change(now, then, decimals))
    return f"{name} {verb} from {percent(then, decimals)} to {percent(now, decimals)}"


def listed(words: Sequence[str]) -> str:
    """One, two and three."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def sentence(text: str) -> str:
    """With its capital and full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def month_name(first: date) -> str:
    """Of a calendar month: June 2024."""
    return f"{first:%B %Y}"


def day_name(day: date) -> str:
    """Of a day: 3 June 2024."""
    return f"{day.day} {day:%B %Y}"


def week_name(week: Week) -> str:
    """Of a week: 3 to 9 June 2024."""
    last = week.end - timedelta(days=1)
    if week.monday.month == last.month:
        return f"{week.monday.day} to {day_name(last)}"
    if week.monday.year == last.year:
        return f"{week.monday.day} {week.monday:%B} to {day_name(last)}"
    return f"{day_name(week.monday)} to {day_name(last)}"


def hour_name(hour: int) -> str:
    """Of an hour of the day, by its beginning."""
    return f"{hour}:00"


def hour_span(hour: int) -> str:
    """Of an hour of the day, from and to."""
    return f"{hour}:00{DASH}{hour + 1}:00"
