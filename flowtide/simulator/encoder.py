"""NetFlow v9 (RFC 3954) and IPFIX (RFC 7011) messages from columns; own code, independent of the decoder."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Version = Literal[9, 10]

_FORMATS = {1: "u1", 2: ">u2", 4: ">u4", 8: ">u8", 16: "V16"}
# Set ids of templates and options templates: RFC 3954 sections 5.2 and 6.1, RFC 7011 section 3.3.2.
_TEMPLATE_SETS: dict[Version, tuple[int, int]] = {9: (0, 1), 10: (2, 3)}
_V9_HEADER = struct.Struct(">HHIIII")
_IPFIX_HEADER = struct.Struct(">HHIII")


@dataclass(frozen=True)
class Template:
    """Fields as (information element, octets), octets 1, 2, 4, 8 or 16; the first ``scopes`` of them are scopes.

    With scopes it is an options template.  In NetFlow v9 a scope's element is a scope type (RFC 3954 section 6.1).
    """

    template_id: int
    fields: tuple[tuple[int, int], ...]
    scopes: int = 0

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """A record on the wire: big-endian, unaligned, fields named by position (``f0``, ``f1``, ...)."""
        return np.dtype([(f"f{at}", _FORMATS[length]) for at, (_, length) in enumerate(self.fields)])

    def records(self, count: int, columns: Mapping[int, ArrayLike]) -> NDArray[np.void]:
        """``count`` records from columns by information element; what is not given is 0."""
        records = np.zeros(count, self.dtype)
        for at, (element, _) in enumerate(self.fields):
            if element in columns:
                records[f"f{at}"] = columns[element]
        return records


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
    return EncodedSet(_set(template.template_id, records.tobytes()), len(records), data=True)


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
        body = b"".join(part.body for part in sets)
        sequence, seconds = self.sequence, export_ms // 1000
        if self.version == 9:
            self.sequence = (sequence + 1) % 2**32
            count = sum(part.records for part in sets)
            # The flows' uptimes are turned into times by this pair, so both must name the same moment: a whole second.
            uptime = self.uptime(seconds * 1000)
            return _V9_HEADER.pack(9, count, uptime, seconds, sequence, self.domain) + body
        self.sequence = (sequence + sum(part.records for part in sets if part.data)) % 2**32
        return _IPFIX_HEADER.pack(10, _IPFIX_HEADER.size + len(body), seconds, sequence, self.domain) + body


def _template(version: Version, template: Template) -> bytes:
    fields = b"".join(struct.pack(">HH", *field) for field in template.fields)
    if not template.scopes:
        return struct.pack(">HH", template.template_id, len(template.fields)) + fields
    if version == 9:
        # RFC 3954 section 6.1: lengths in octets of the scope and of the option fields.
        lengths = (4 * template.scopes, 4 * (len(template.fields) - template.scopes))
        return struct.pack(">HHH", template.template_id, *lengths) + fields
    return struct.pack(">HHH", template.template_id, len(template.fields), template.scopes) + fields


def _set(set_id: int, body: bytes) -> bytes:
    padding = -len(body) % 4
    return struct.pack(">HH", set_id, 4 + len(body) + padding) + body + bytes(padding)
