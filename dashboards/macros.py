"""What a dashboard's SQL becomes before the store sees it: macros and variables, as Grafana's data source expands them.

Only those that every version of the ClickHouse data source from 3 to 4.20 expands alike.  Any other ``$__name`` or
``${name}`` is refused here, where the data source would send it on as it is, or empty.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple


class MacroError(Exception):
    """A macro or variable that the SQL must not use; the message names it."""


class Window(NamedTuple):
    """A time range in Unix milliseconds, both ends inclusive, and the width of a time bucket."""

    from_ms: int
    to_ms: int
    interval_ms: int


# Upper bounds and what becomes of an interval below them, in milliseconds: Grafana's roundInterval().
_STEPS = (
    (10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1_500, 1_000), (3_500, 2_000),
    (7_500, 5_000), (12_500, 10_000), (17_500, 15_000), (25_000, 20_000), (45_000, 30_000), (90_000, 60_000),
    (210_000, 120_000), (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000),
    (2_700_000, 1_800_000), (5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000),
    (32_400_000, 21_600_000), (86_400_000, 43_200_000), (604_800_000, 86_400_000), (1_814_400_000, 604_800_000),
    (3_628_800_000, 2_592_000_000),
)  # fmt: skip
_LONGEST = 31_536_000_000
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def interval_of(text: str) -> int:
    """Milliseconds of ``30s``, ``1m``, ``1h``; MacroError for anything else."""
    found = re.fullmatch(r"(\d+)(ms|[smhdw])", text)
    if found is None or not int(found[1]):
        raise MacroError(f"interval {text!r}: write a number and ms, s, m, h, d or w, as in 1m")
    return int(found[1]) * _UNITS[found[2]]


def interval_ms(range_ms: int, max_points: int, min_interval_ms: int) -> int:
    """The width of a bucket, so that about ``max_points`` fill the range; never below the table's own."""
    wanted = range_ms / max(max_points, 1)
    rounded = next((step for bound, step in _STEPS if wanted < bound), _LONGEST)
    return max(rounded, min_interval_ms)


def expand(sql: str, window: Window, variables: Mapping[str, Sequence[str]]) -> str:
    """The SQL with its macros and variables replaced; MacroError for one that is not known or not closed.

    ``variables`` as ``library.bound`` gives them: values that are ``Literal`` stand as they are, whatever the format.
    """
    # Variables last: what a value holds is never a macro.
    return _VARIABLE.sub(lambda found: _value(found, variables), _without_macros(sql, window))


class Literal(str):
    """A value that is SQL already: what a variable says for All."""

    __slots__ = ()


_MACRO = re.compile(r"\$(__\w+)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)([A-Za-z]\w*)")


def _without_macros(sql: str, window: Window) -> str:
    parts: list[str] = []
    at = 0
    for found in _MACRO.finditer(sql):
        if found.start() < at:
            raise MacroError(f"{found[0]} stands inside another macro")
        parts.append(sql[at : found.start()])
        name, at = found[1], found.end()
        if name in _PLAIN:
            parts.append(_PLAIN[name](window))
        elif name in _CALLS and sql[at : at + 1] == "(":
            end = _closing(sql, at, found[0])
            arguments = [part.strip() for part in sql[at + 1 : end].split(",")]
            parts.append(_call(name, arguments, window))
            at = end + 1
        else:
            raise MacroError(f"{found[0]} is no macro: {', '.join(sorted((*_PLAIN, *_CALLS)))} are")
    return "".join((*parts, sql[at:]))


def _value(found: re.Match[str], variables: Mapping[str, Sequence[str]]) -> str:
    name, form = found[1] or found[3], found[2]
    if name not in variables:
        raise MacroError(f"{found[0]}: there is no variable {name}")
    values = variables[name]
    if form == "singlequote":
        return ",".join(value if isinstance(value, Literal) else _quoted(value) for value in values)
    if form is not None:
        raise MacroError(f"{found[0]}: of a variable's formats only singlequote is known")
    if len(values) != 1:
        raise MacroError(f"{found[0]}: {len(values)} values; write ${{{name}:singlequote}} for several")
    return values[0]


def _quoted(value: str) -> str:
    # Grafana leaves a backslash alone, by which a value could end the text: doubled here.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _closing(sql: str, opened: int, macro: str) -> int:
    depth = 0
    for at in range(opened, len(sql)):
        depth += (sql[at] == "(") - (sql[at] == ")")
        if not depth:
            return at
    raise MacroError(f"{macro}( is not closed")


def _call(name: str, arguments: list[str], window: Window) -> str:
    count, write = _CALLS[name]
    if len(arguments) != count or not all(arguments):
        raise MacroError(f"${name} wants {count} argument{'s' * (count > 1)}")
    return write(arguments, window)


def _seconds(window: Window) -> int:
    return max(window.interval_ms // 1000, 1)


def _at(milliseconds: int) -> str:
    return f"toDateTime({milliseconds // 1000})"


def _at_ms(milliseconds: int) -> str:
    return f"fromUnixTimestamp64Milli({milliseconds})"


def _day(milliseconds: int) -> str:
    return f"toDate('{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}')"


def _between(column: str, first: str, last: str) -> str:
    return f"{column} >= {first} AND {column} <= {last}"


def _time_filter(column: str, window: Window) -> str:
    return _between(column, _at(window.from_ms), _at(window.to_ms))


def _date_filter(column: str, window: Window) -> str:
    return _between(column, _day(window.from_ms), _day(window.to_ms))


def _both(arguments: list[str], window: Window) -> str:
    return f"({_date_filter(arguments[0], window)}) AND ({_time_filter(arguments[1], window)})"


_PLAIN: dict[str, Callable[[Window], str]] = {
    "__fromTime": lambda w: _at(w.from_ms),
    "__toTime": lambda w: _at(w.to_ms),
    "__fromTime_ms": lambda w: _at_ms(w.from_ms),
    "__toTime_ms": lambda w: _at_ms(w.to_ms),
    "__interval_s": lambda w: str(_seconds(w)),
    "__interval_ms": lambda w: str(w.interval_ms),
}
_CALLS: dict[str, tuple[int, Callable[[list[str], Window], str]]] = {
    "__timeFilter": (1, lambda a, w: _time_filter(a[0], w)),
    "__timeFilter_ms": (1, lambda a, w: _between(a[0], _at_ms(w.from_ms), _at_ms(w.to_ms))),
    "__dateFilter": (1, lambda a, w: _date_filter(a[0], w)),
    "__dateTimeFilter": (2, _both),
    "__dt": (2, _both),
    "__timeInterval": (
        1, lambda a, w: f"toStartOfInterval(toDateTime({a[0]}), INTERVAL {_seconds(w)} second)"
    ),
    "__timeInterval_ms": (
        1, lambda a, w: f"toStartOfInterval(toDateTime64({a[0]}, 3), INTERVAL {w.interval_ms} millisecond)"
    ),
}  # fmt: skip
