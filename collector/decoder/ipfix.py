"""IPFIX (RFC 7011): header, template and options template sets, withdrawals."""

from collections.abc import Iterator
from struct import Struct

from collector.decoder.elements import FieldSpecifier
from collector.decoder.errors import Reason
from collector.decoder.templates import Announced, Definition, Withdrawal

VERSION = 10
HEADER = Struct("!HHIII")
"""Version, length of the message, export time in s, sequence number, observation domain."""
TEMPLATE_SET = 2
OPTIONS_SET = 3
_TEMPLATE = Struct("!HH")
_OPTIONS = Struct("!HHH")
_FIELD = Struct("!HH")
_PEN = Struct("!I")
_ENTERPRISE = 0x8000


def read_templates(body: memoryview) -> Iterator[Announced]:
    """The templates of a template set (RFC 7011 section 3.4.1); what follows a fault has no known begin."""
    return _read(body, TEMPLATE_SET)


def read_options_templates(body: memoryview) -> Iterator[Announced]:
    """The templates of an options template set (RFC 7011 section 3.4.2)."""
    return _read(body, OPTIONS_SET)


def _read(body: memoryview, kind: int) -> Iterator[Announced]:
    at = 0
    while len(body) - at >= _TEMPLATE.size:
        number, count = _TEMPLATE.unpack_from(body, at)
        if not count and (number == kind or number >= 256):
            # RFC 7011 section 8.1: without fields it is a withdrawal, of all of this kind under the set's own number.
            yield Withdrawal(None if number == kind else number)
            at += _TEMPLATE.size
            continue
        if number < 256:
            # Padding of zeros reads as template 0 without fields.
            if any(body[at:]):
                yield Reason.TEMPLATE_ID
            return
        scopes: int | None = None
        at += _TEMPLATE.size
        if kind == OPTIONS_SET:
            if len(body) - at < 2:
                yield Reason.TEMPLATE_CUT
                return
            scopes = _OPTIONS.unpack_from(body, at - _TEMPLATE.size)[2]
            at += 2
            # RFC 7011 section 3.4.2.2: the scope field count must not be zero.
            if not 1 <= scopes <= count:
                yield Reason.BAD_SCOPE
                return
        if at + 4 * count > len(body):
            yield Reason.TEMPLATE_CUT
            return
        fields, at = _fields(body, at, count)
        if len(fields) < count:
            yield Reason.TEMPLATE_CUT
            return
        yield Definition(number, fields, scopes)


def _fields(body: memoryview, at: int, count: int) -> tuple[tuple[FieldSpecifier, ...], int]:
    """As many of the fields as are there, and where they end."""
    fields = []
    for _ in range(count):
        if at + 4 > len(body):
            break
        element, length = _FIELD.unpack_from(body, at)
        at += 4
        pen = 0
        if element & _ENTERPRISE:
            if at + 4 > len(body):
                break
            (pen,) = _PEN.unpack_from(body, at)
            at += 4
            element &= ~_ENTERPRISE
        fields.append(FieldSpecifier(element, length, pen))
    return tuple(fields), at
