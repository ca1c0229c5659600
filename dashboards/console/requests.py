"""What browsers send, read and checked; no I/O."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_BODY = 1 << 20
"""Bytes of a request: a query and its parameters."""
SNAP_MS = 5_000
"""Ranges that end now end on a multiple of this, so that many viewers ask the same."""

_LIVE_MS = 60_000  # an end so near to our clock is "now" by the clock of a browser
_LAST_MS = (2**32 - 1) * 1000  # the last second of the store's DateTime: 2106
_LONGEST_MS = 10 * 366 * 86_400_000
_MOST_POINTS = 10_000
_MOST_VALUES, _LONGEST_VALUE = 2_000, 1_000
_MOST_PARAMETERS = 100
_LONGEST_SQL = 256 << 10  # the store takes no longer one either


class BadRequest(Exception):  # noqa: N818
    """A request that cannot be answered; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Range:
    """A time range in Unix milliseconds, from before to."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """What one panel is asked for."""

    window: Range
    max_points: int
    variables: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """A query of the SQL page."""

    sql: str
    parameters: dict[str, str]


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; BadRequest."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON: send an object") from None
    if not isinstance(found, dict):
        raise BadRequest("the body is JSON but no object: send {...}")
    return found


def read_range(values: Mapping[str, Any]) -> Range:
    """``from`` and ``to``; BadRequest."""
    found = Range(_whole(values, "from"), _whole(values, "to"))
    if found.from_ms >= found.to_ms:
        raise BadRequest(f"from {found.from_ms} is not before to {found.to_ms}")
    if found.from_ms < 0 or found.to_ms > _LAST_MS:
        raise BadRequest(f"from and to are Unix milliseconds from 0 to {_LAST_MS}")
    if found.to_ms - found.from_ms > _LONGEST_MS:
        raise BadRequest("the range is longer than ten years: choose a shorter one")
    return found


def snapped(window: Range, now_ms: int) -> Range:
    """A live range moved back so that it ends on a multiple of ``SNAP_MS``, as long as before; others as they are."""
    shift = window.to_ms % SNAP_MS
    if abs(now_ms - window.to_ms) > _LIVE_MS or shift > window.from_ms:
        return window
    return Range(window.from_ms - shift, window.to_ms - shift)


def read_panel(values: Mapping[str, Any]) -> PanelRequest:
    """A panel's request out of JSON; BadRequest."""
    variables = values.get("variables", {})
    if not isinstance(variables, dict):
        raise BadRequest('variables: send an object of lists, {"service": ["fixed"]}')
    return PanelRequest(read_range(values), _points(values), {n: _values(n, v) for n, v in variables.items()})


def read_panel_link(fields: Sequence[tuple[str, str]]) -> PanelRequest:
    """The same out of a link's fields, of which ``var-NAME`` may come several times; BadRequest."""
    variables: dict[str, list[str]] = {}
    for name, value in fields:
        if name.startswith("var-"):
            variables.setdefault(name.removeprefix("var-"), []).append(value)
    plain: dict[str, Any] = {
        name: int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else value for name, value in fields
    }
    return read_panel(plain | {"variables": variables})


def read_sql(values: Mapping[str, Any]) -> SqlRequest:
    """A query and its parameters; BadRequest."""
    sql, parameters = values.get("sql"), values.get("parameters", {})
    if not isinstance(sql, str) or not sql.strip():
        raise BadRequest("sql: write a query")
    if len(sql.encode(errors="replace")) > _LONGEST_SQL:
        raise BadRequest(f"sql: a query has at most {_LONGEST_SQL >> 10} KB")
    if not isinstance(parameters, dict) or len(parameters) > _MOST_PARAMETERS:
        raise BadRequest(f"parameters: send an object of at most {_MOST_PARAMETERS} texts")
    for name, value in parameters.items():
        if not re.fullmatch(r"\w{1,100}", name, re.ASCII) or not isinstance(value, str):
            raise BadRequest(f"parameter {name[:100]!r}: a name is letters, digits and _, and its value is text")
    return SqlRequest(_encodable("sql", sql), {name: _encodable(name, value) for name, value in parameters.items()})


def _whole(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    # JSON's true is an integer to Python.
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{name}: send a whole number of Unix milliseconds")
    return value


def _points(values: Mapping[str, Any]) -> int:
    points = values.get("max_points", 1_000)
    if not isinstance(points, int) or isinstance(points, bool) or not 1 <= points <= _MOST_POINTS:
        raise BadRequest(f"max_points: send a whole number from 1 to {_MOST_POINTS}")
    return points


def _values(name: str, values: Any) -> tuple[str, ...]:
    texts = isinstance(values, list) and all(isinstance(value, str) for value in values)
    if not texts or len(values) > _MOST_VALUES or any(len(value) > _LONGEST_VALUE for value in values):
        raise BadRequest(f"variable {name[:100]}: send a list of at most {_MOST_VALUES} texts of {_LONGEST_VALUE}")
    return tuple(_encodable(name, value) for value in values)


def _encodable(name: str, text: str) -> str:
    """As UTF-8 has it: half of a surrogate pair, which JSON may carry, is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name[:100]}: the text has half a character (a lone surrogate)") from None
    return text
