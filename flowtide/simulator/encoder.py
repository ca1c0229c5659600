"""NetFlow v9 (RFC 3954) and IPFIX (RFC 7011) messages from columns; own code, independent of the decoder."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Version = Literal[9, 10]
Field = tuple[int, int] | tuple[int, int, int]

VARIABLE = 65_535
"""Length of a field in a template whose length is in each record (RFC 7011 section 7)."""
MOST_OCTETS = 1_472
"""Of a datagram: 1,500 of Ethernet less 20 of IPv4 and 8 of UDP."""

_FORMATS = {1: "u1", 2: ">u2", 4: ">u4", 8: ">u8", 16: "V16"}
# Set ids of templates and options templates: RFC 3954 sections 5.2 and 6.1, RFC 7011 section 3.3.2.
_TEMPLATE_SETS: dict[Version, tuple[int, int]] = {9: (0, 1), 10: (2, 3)}
_V9_HEADER = struct.Struct(">HHIIII")
_IPFIX_HEADER = struct.Struct(">HHIII")
_SET_HEADER = struct.Struct(">HH")
SET_HEADER_OCTETS = _SET_HEADER.size


@dataclass(frozen=True)
class Template:
    """Fields as (information element, octets) or with an enterprise number behind; the first ``scopes`` are scopes.

    Octets are 1, 2, 4, 8 or 16, or ``VARIABLE`` for one field at most, with ``room`` octets in ``dtype``: what a record
    does not need of them is taken out later.  With scopes it is an options template.  In NetFlow v9 a scope's element
    is a scope type (RFC 3954 section 6.1).
    """

    template_id: int
    fields: tuple[Field, ...]
    scopes: int = 0
    room: int = 0

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """A record on the wire: big-endian, unaligned, fields named by position (``f0``, ``f1``, ...)."""
        return np.dtype(
            [
                (f"f{at}", f"V{self.room}" if field[1] == VARIABLE else _FORMATS[field[1]])
                for at, field in enumerate(self.fields)
            ]
        )

    def records(self, count: int, columns: Mapping[int | tuple[int, int], ArrayLike]) -> NDArray[np.void]:
        """``count`` records from columns by element, or (element, enterprise); what is not given is 0."""
        records = np.zeros(count, self.dtype)
        for at, field in enumerate(self.fields):
            key = field[0] if len(field) == 2 else (field[0], field[2])
            if key in columns:
                records[f"f{at}"] = columns[key]
        return records

    def offset(self, element: int) -> int:
        """Octets before a field of no enterprise in a record of ``dtype``."""
        at = [field[:1] + field[2:] for field in self.fields].index((element,))
        return sum(self.dtype[before].itemsize for before in range(at))


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """A set with its header and padding; ``records`` counts data records, or templates in a set of templates."""

    body: bytes
    records: int
    data: bool


def template_set(version: Version, templates: Sequence[Template]) -> EncodedSet:
    """Templates of one kind, all with or all without scopes."""
    with_scopes = bool(templates[0].scopes)
    body = b"".join(_template(version, template) for template in templates)
    return EncodedSet(_set(_TEMPLATE_SETS[version][with_scopes], body), len(templates), data=False)


def data_set(template: Template, records: NDArray[np.void]) -> EncodedSet:
    """Records of ``template.dtype``, shape (n,)."""
    return octets_set(template.template_id, records.tobytes(), len(records))


def octets_set(template_id: int, octets: bytes | memoryview, records: int) -> EncodedSet:
    """So many records that are octets already."""
    return EncodedSet(_set(template_id, octets), records, data=True)


def header_octets(version: Version) -> int:
    """Of a message's header."""
    return (_V9_HEADER if version == 9 else _IPFIX_HEADER).size


class MessageEncoder:
    """Headers and sequence numbers of one observation domain."""

    def __init__(self, version: Version, domain: int, boot_ms: int) -> None:
        """``boot_ms``: Unix milliseconds at which the exporter's uptime was 0."""
        self.version: Version = version
        self.domain, self.boot_ms = domain, boot_ms
        self.sequence = 0  # v9: messages sent; IPFIX: data records sent; modulo 2^32

    def uptime(self, unix_ms: Any) -> Any:
        """sysUptime in milliseconds, modulo 2^32; of a number or an array."""
        return (unix_ms - self.boot_ms) % 2**32

    def message(self, sets: Sequence[EncodedSet], export_ms: int) -> bytes:
        """One message with the next sequence number, exported at Unix milliseconds ``export_ms``."""
        body = b"".join([part.body for part in sets])
        sequence, seconds = self.sequence, export_ms // 1000
        if self.version == 9:
            self.sequence = (sequence + 1) % 2**32
            count = sum([part.records for part in sets])
            # The flows' uptimes are turned into times by this pair, so both must name the same moment: a whole second.
            uptime = self.uptime(seconds * 1000)
            return _V9_HEADER.pack(9, count, uptime, seconds, sequence, self.domain) + body
        self.sequence = (sequence + sum([part.records for part in sets if part.data])) % 2**32
        return _IPFIX_HEADER.pack(10, _IPFIX_HEADER.size + len(body), seconds, sequence, self.domain) + body


def _template(version: Version, template: Template) -> bytes:
    fields = b"".join(_field(field) for field in template.fields)
    if not template.scopes:
        return struct.pack(">HH", template.template_id, len(template.fields)) + fields
    if version == 9:
        # RFC 3954 section 6.1: lengths in octets of the scope and of the option fields.
        lengths = (4 * template.scopes, 4 * (len(template.fields) - template.scopes))
        return struct.pack(">HHH", template.template_id, *lengths) + fields
    return struct.pack(">HHH", template.template_id, len(template.fields), template.scopes) + fields


def _field(field: Field) -> bytes:
    if len(field) == 2:
        return struct.pack(">HH", *field)
    # RFC 7011 section 3.2: the highest bit says that an enterprise number follows.
    return struct.pack(">HHI", 0x8000 | field[0], field[1], field[2])


def _set(set_id: int, body: bytes | memoryview) -> bytes:
    padding = -len(body) % 4
    return b"".join((_SET_HEADER.pack(set_id, 4 + len(body) + padding), body, bytes(padding)))
