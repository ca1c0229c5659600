"""Options records: what an exporter says of itself.  They are few, so they are read one at a time."""

from collections.abc import Iterator

from collector.decoder.domains import Template
from collector.decoder.elements import OPTIONS, SCOPE_INTERFACE, SCOPE_PEN, VARIABLE
from collector.decoder.layouts import Layout

Said = dict[tuple[int, int], int]

_LONG = 255  # first octet of a length in three octets (RFC 7011 section 7)


def count_records(layout: Layout, body: memoryview) -> int:
    """Whole records of the set; what is left after the last one is padding (RFC 7011 section 3.3.1)."""
    if layout.is_variable:
        return sum(1 for _ in _walk(layout, body))
    return len(body) // layout.size if layout.size else 0


def read_options(template: Template, body: memoryview) -> Iterator[Said]:
    """The elements that matter to us of each record that has some; integers up to 8 octets."""
    layout = template.layout
    wanted = [
        (place, (each.element, each.pen))
        for place, each in enumerate(layout.fields)
        if (each.pen == 0 and each.element in OPTIONS) or (each.pen == SCOPE_PEN and each.element == SCOPE_INTERFACE)
    ]
    if not wanted:
        return
    for starts, ends in _walk(layout, body):
        said: Said = {}
        for place, key in wanted:
            if 1 <= ends[place] - starts[place] <= 8:
                said.setdefault(key, int.from_bytes(body[starts[place] : ends[place]], "big"))
        yield said


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
