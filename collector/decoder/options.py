"""Options records: what an exporter says of itself.  They are few, so they are read one at a time."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from collector.decoder.elements import OPTIONS, SCOPE_INTERFACE, SCOPE_PEN, VARIABLE
from collector.decoder.layouts import Layout

INTERFACES: tuple[int, ...] = (10, 14, 252, 253)
"""ingress and egress, logical and physical."""
VRFS: tuple[int, ...] = (234, 235)
APPLICATION = 95
"""Engine and selector in one octet string (RFC 6759 section 4)."""
TIME_INTERVAL, TIME_SPACE = 307, 308
PROBABILITY = 311
TOLD_OCTETS, TOLD_MESSAGES, TOLD_RECORDS = 40, 41, 42
"""What the exporting process has sent since it started."""
_NUMBERS = OPTIONS | {
    *INTERFACES, *VRFS, APPLICATION, TIME_INTERVAL, TIME_SPACE, TOLD_OCTETS, TOLD_MESSAGES, TOLD_RECORDS,
}  # fmt: skip
INTERFACE_NAME, INTERFACE_DESCRIPTION = 82, 83
SAMPLER_NAME, SELECTOR_NAME = 84, 335
APPLICATION_DESCRIPTION, APPLICATION_NAME = 94, 96
VRF_NAME = 236
_TEXTS = frozenset({
    INTERFACE_NAME, INTERFACE_DESCRIPTION, SAMPLER_NAME, SELECTOR_NAME, APPLICATION_DESCRIPTION, APPLICATION_NAME,
    VRF_NAME,
})  # fmt: skip
_LONGEST = 255  # characters of a name: Cisco's descriptions have 240 at the most
_LONG = 255  # first octet of a length in three octets (RFC 7011 section 7)
_FLOATS = {4: Struct("!f"), 8: Struct("!d")}


class Option(NamedTuple):
    """An options record: integers by (element, PEN), texts by element, and a sampling probability."""

    numbers: dict[tuple[int, int], int]
    texts: dict[int, str]
    probability: float | None = None


def count_records(layout: Layout, body: memoryview) -> int:
    """Whole records of the set; what is left after the last one is padding (RFC 7011 section 3.3.1)."""
    if layout.is_variable:
        return sum(1 for _ in _walk(layout, body))
    return len(body) // layout.size if layout.size else 0


def read_options(layout: Layout, body: memoryview) -> Iterator[Option]:
    """The elements that matter to us of each record that may have some; integers up to 8 octets.

    Of an element that comes twice the first one counts.
    """
    numbers, texts, chances = [], [], []
    for place, each in enumerate(layout.fields):
        if each.pen == SCOPE_PEN:
            if each.element == SCOPE_INTERFACE:
                numbers.append((place, (each.element, each.pen)))
        elif not each.pen:
            if each.element in _NUMBERS:
                numbers.append((place, (each.element, 0)))
            elif each.element in _TEXTS:
                texts.append((place, each.element))
            elif each.element == PROBABILITY:
                chances.append(place)
    if not numbers and not texts and not chances:
        return
    for starts, ends in _walk(layout, body):
        option = Option({}, {})
        for place, key in numbers:
            if 1 <= ends[place] - starts[place] <= 8:
                option.numbers.setdefault(key, int.from_bytes(body[starts[place] : ends[place]], "big"))
        for place, element in texts:
            option.texts.setdefault(element, _text(body[starts[place] : ends[place]]))
        for place in chances:
            form = _FLOATS.get(ends[place] - starts[place])
            if form is not None:
                option = option._replace(probability=form.unpack(body[starts[place] : ends[place]])[0])
        yield option


def _text(octets: memoryview) -> str:
    """Text as it can be shown: padded with zeros or blanks by most exporters, of any bytes by some."""
    text = bytes(octets[: 4 * _LONGEST]).split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in text).strip()[:_LONGEST]


def _walk(layout: Layout, body: memoryview) -> Iterator[tuple[list[int], list[int]]]:
    """Where each field of each record begins and ends."""
    lengths = [each.length for each in layout.fields]
    if not layout.is_variable:
        size = layout.size
        for at in range(0, len(body) - size + 1 if size else 0, size or 1):
            yield (
                [at + offset for offset in layout.offsets],
                [at + offset + length for offset, length in zip(layout.offsets, lengths, strict=True)],
            )
        return
    at = 0
    while at < len(body):
        starts, ends = [], []
        for length in lengths:
            if length == VARIABLE:
                if at >= len(body):
                    return
                length, at = body[at], at + 1
                if length == _LONG:
                    if at + 2 > len(body):
                        return
                    length, at = int.from_bytes(body[at : at + 2], "big"), at + 2
            if at + length > len(body):
                return
            starts.append(at)
            at += length
            ends.append(at)
        yield starts, ends
