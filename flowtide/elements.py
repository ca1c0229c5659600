"""``flowtide elements``: which information element fills which column, from the decoder's own tables."""

from collections.abc import Iterator
from typing import NamedTuple

from collector.decoder import elements as read
from collector.decoder.extra import parse
from collector.decoder.registry import elements as registry


class Line(NamedTuple):
    """One element and where it lands."""

    column: str
    pen: int
    element: int
    name: str
    type: str
    unit: str
    lengths: str  # octets of a field that is read; of another length it is left out and counted


_INTEGER = "1-8"
_REVERSED = ("tcp_flags", "tos", "octets", "packets", "ts_start", "ts")
"""Columns that reverse elements (RFC 5103) fill, in a row of their own."""


def lines(extra: tuple[str, ...]) -> list[Line]:
    """All elements that are read of flow records, by column in order of precedence; ``extra`` as in the settings."""
    found = [_line(column, 0, element, lengths) for column, element, lengths in _read()]
    found += [
        _line(line.column, read.REVERSE_PEN, line.element, line.lengths) for line in found if line.column in _REVERSED
    ]
    for text in extra:
        choice = parse(text)
        found.append(Line(f"extra['{choice.name}']", choice.pen, choice.element, choice.name, choice.type, "", "any"))
    return found


def show(lines_shown: list[Line], pen: int | None) -> str:
    """A table for people, of one enterprise or of all."""
    chosen = [line for line in lines_shown if pen is None or line.pen == pen]
    if not chosen:
        return f"no element of PEN {pen} is read; choose some by the setting collector.decoder.extra"
    head = Line("column", 0, 0, "name", "type", "unit", "octets")
    rows = [(head.column, "pen", "element", head.name, head.type, head.unit, head.lengths)]
    rows += [(each.column, str(each.pen), str(each.element), *each[3:]) for each in chosen]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _read() -> Iterator[tuple[str, int, str]]:
    for column, numbers in read.UNSIGNED.items():
        yield from ((column, number, _INTEGER) for number in numbers)
    for column, (fours, sixes) in read.ADDRESSES.items():
        yield from ((column, number, "4") for number in fours)
        yield from ((column, number, "16") for number in sixes)
    for column, masks in read.MASKS.items():
        yield from ((column, number, _INTEGER) for number in masks)
    for column, alternatives in (("octets", read.OCTETS), ("packets", read.PACKETS), ("icmp", read.ICMP)):
        yield from ((column, number, _INTEGER) for numbers in alternatives for number in numbers)
    yield "ip_version", read.IP_VERSION, _INTEGER
    for column, numbers in (("ts_start", read.START), ("ts", read.END)):
        yield from ((column, number, str(read.TIME_LENGTHS[number])) for number in numbers)
    yield from (("sampling", number, _INTEGER) for number in sorted({*read.RECORD_SAMPLING, *read.SAMPLERS}))


def _line(column: str, pen: int, element: int, lengths: str) -> Line:
    known = registry().get(element)
    # Numbers that IANA keeps for NetFlow v9 have no name there.
    name, kind, unit = (known.name, known.type, known.unit) if known else ("", "", "")
    if pen == read.REVERSE_PEN and name:
        name = f"reverse{name[0].upper()}{name[1:]}"  # RFC 5103 section 6.1
    return Line(column, pen, element, name, kind, unit, lengths)
