"""A store's answer (JSONCompact) as the browser wants it; no I/O.

Times are Unix milliseconds, dates text, 64-bit integers numbers, NaN and infinities null.  Read by each column's type,
so that the answers of a server whose account may not choose output settings come out the same.
"""

import json
import math
import re
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

Convert = Callable[[Any], Any]

_INTEGER = re.compile(r"U?Int(8|16|32|64|128|256)")
_FLOAT = re.compile(r"B?Float(16|32|64)")
_INVISIBLE = ("Nullable", "LowCardinality")


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns and rows of one answer."""

    columns: list[dict[str, str]]  # name and type as the store says them
    rows: list[list[Any]]
    truncated: bool = False


def read_frame(body: bytes, timezone: str, max_rows: int) -> Frame:
    """The frame of an answer, cut after ``max_rows``; ValueError when it is no JSONCompact.

    ``timezone`` is that of times whose column names none (IANA).
    """
    answer = json.loads(body.decode(errors="replace"))
    if not isinstance(answer, dict) or "meta" not in answer or "data" not in answer:
        raise ValueError("the store's answer is not in the form asked for")
    columns = [{"name": entry["name"], "type": entry["type"]} for entry in answer["meta"]]
    rows = answer["data"][:max_rows]
    converts = [(at, convert) for at, column in enumerate(columns) if (convert := converter(column["type"], timezone))]
    for row in rows:
        for at, convert in converts:
            if row[at] is not None:
                row[at] = convert(row[at])
    return Frame(columns, rows, len(answer["data"]) > max_rows)


def converter(kind: str, timezone: str) -> Convert | None:
    """How a value of this type becomes ours; None: it stays.  Called with no null but inside arrays and the like."""
    name, arguments = _split(kind)
    if name in _INVISIBLE:
        return converter(arguments[0], timezone)
    if name in ("DateTime", "DateTime64"):
        zones = [argument for argument in arguments if argument.startswith("'")]
        return _time(zones[0].strip("'") if zones else timezone)
    if _INTEGER.fullmatch(name) or name == "Decimal" or name.startswith("Decimal"):
        return _number
    if _FLOAT.fullmatch(name):
        return _float
    if name == "Array":
        return _each(converter(arguments[0], timezone))
    if name == "Map":
        inner = converter(arguments[1], timezone)
        return inner and (lambda value: {key: _or_null(inner, entry) for key, entry in value.items()})
    if name == "Tuple":
        return _tuple([converter(_unnamed(argument), timezone) for argument in arguments])
    return None


def _split(kind: str) -> tuple[str, list[str]]:
    """``Map(String, Array(Int8))`` -> ``Map``, [``String``, ``Array(Int8)``]."""
    name, opened, inner = kind.partition("(")
    if not opened:
        return kind, []
    parts, depth, quoted, at = [], 0, False, 0
    inner = inner.removesuffix(")")
    for here, sign in enumerate(inner):
        if sign == "'" and inner[here - 1 : here] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (sign == "(") - (sign == ")")
            if sign == "," and not depth:
                parts.append(inner[at:here].strip())
                at = here + 1
    return name, [*parts, inner[at:].strip()]


def _unnamed(element: str) -> str:
    """The type of a tuple's element, which may have a name before it."""
    head, space, rest = element.partition(" ")
    return rest if space and "(" not in head else element


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return int(value) if value.lstrip("-").isdecimal() else _float(value)


def _float(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else None


def _time(timezone: str) -> Convert:
    zone = zoneinfo.ZoneInfo(timezone)

    def convert(value: Any) -> Any:
        if isinstance(value, int) or value.isdecimal():
            return int(value) * 1000
        try:
            milliseconds = Decimal(str(value)) * 1000
        except ArithmeticError:  # text, as an account that may not choose settings gets it
            try:
                return _read_text(str(value), zone)
            except ValueError:
                return value  # the engine writes the half second before 1970 as 0.-5: shown as it is
        whole = int(milliseconds)
        return whole if whole == milliseconds else float(milliseconds)

    return convert


def _read_text(text: str, zone: zoneinfo.ZoneInfo) -> int | float:
    seconds, _, fraction = text.partition(".")
    whole = int(datetime.fromisoformat(seconds).replace(tzinfo=zone).timestamp()) * 1000
    part = Decimal(f"0.{fraction or 0}") * 1000
    return whole + (int(part) if part == int(part) else float(part))


def _or_null(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _each(convert: Convert | None) -> Convert | None:
    return convert and (lambda values: [_or_null(convert, value) for value in values])


def _tuple(converts: Sequence[Convert | None]) -> Convert | None:
    if not any(converts):
        return None

    def convert(value: Any) -> Any:
        entries = value.values() if isinstance(value, dict) else value
        found = [
            entry if change is None else _or_null(change, entry)
            for change, entry in zip(converts, entries, strict=True)
        ]
        return dict(zip(value, found, strict=True)) if isinstance(value, dict) else found

    return convert
