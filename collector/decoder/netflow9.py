"""NetFlow version 9 (RFC 3954): header, template and options template flowsets."""

from collections.abc import Iterator
from struct import Struct

from collector.decoder.elements import SCOPE_PEN, FieldSpecifier
from collector.decoder.errors import Reason
from collector.decoder.templates import Announced, Definition

VERSION = 9
HEADER = Struct("!HHIIII")
"""Version, count of records, device uptime in ms, export time in s, sequence number, source id."""
TEMPLATE_SET = 0
OPTIONS_SET = 1
_TEMPLATE = Struct("!HH")
_OPTIONS = Struct("!HHH")


def read_templates(body: memoryview) -> Iterator[Announced]:
    """The templates of a template flowset (RFC 3954 section 5.2); what follows a fault has no known begin."""
    at = 0
    while len(body) - at >= _TEMPLATE.size:
        number, count = _TEMPLATE.unpack_from(body, at)
        if number < 256:
            # Padding of zeros reads as template 0 without fields.
            if any(body[at:]):
                yield Reason.TEMPLATE_ID
            return
        if not count:  # RFC 7011 has it for a withdrawal, RFC 3954 has not
            yield Reason.TEMPLATE_EMPTY
            return
        at += _TEMPLATE.size
        if at + 4 * count > len(body):
            yield Reason.TEMPLATE_CUT
            return
        yield Definition(number, _fields(body, at, count), None)
        at += 4 * count


def read_options_templates(body: memoryview) -> Iterator[Announced]:
    """The templates of an options template flowset (RFC 3954 section 6.1); lengths are in octets."""
    at = 0
    while len(body) - at >= _OPTIONS.size:
        number, scopes, options = _OPTIONS.unpack_from(body, at)
        if number < 256:
            if any(body[at:]):
                yield Reason.TEMPLATE_ID
            return
        at += _OPTIONS.size
        if scopes % 4 or options % 4 or not scopes:
            yield Reason.BAD_SCOPE
            return
        if at + scopes + options > len(body):
            yield Reason.TEMPLATE_CUT
            return
        count = scopes // 4
        scope = tuple(FieldSpecifier(kind, length, SCOPE_PEN) for kind, length, _ in _fields(body, at, count))
        yield Definition(number, scope + _fields(body, at + scopes, options // 4), count)
        at += scopes + options


def _fields(body: memoryview, at: int, count: int) -> tuple[FieldSpecifier, ...]:
    # v9 has no enterprise elements: a type above 32,767 is a type like any other (Cisco's ASA has them).
    numbers = Struct(f"!{2 * count}H").unpack_from(body, at)
    return tuple(map(FieldSpecifier, numbers[::2], numbers[1::2]))
