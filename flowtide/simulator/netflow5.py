"""NetFlow v5 datagrams from columns: header of 24 octets, records of 48, IPv4 only.

As Cisco's NetFlow Services and Applications Guide has it (table "NetFlow Version 5 Flow Record").
"""

import struct
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct(">HHIIIIBBH")
_RECORD = np.dtype(
    [
        ("src", ">u4"), ("dst", ">u4"), ("next_hop", ">u4"), ("in_if", ">u2"), ("out_if", ">u2"), ("packets", ">u4"),
        ("octets", ">u4"), ("first", ">u4"), ("last", ">u4"), ("src_port", ">u2"), ("dst_port", ">u2"), ("pad1", "u1"),
        ("tcp_flags", "u1"), ("proto", "u1"), ("tos", "u1"), ("src_as", ">u2"), ("dst_as", ">u2"), ("src_mask", "u1"),
        ("dst_mask", "u1"), ("pad2", ">u2"),
    ]
)  # fmt: skip
_AS_TRANS = 23_456  # stands for a number of more than 16 bits: RFC 6793 section 9
_RANDOM = 2  # sampling mode, the two bits above the interval

MOST_RECORDS = 30
"""Of a datagram: 24 and 30 times 48 are 1,464 octets."""
MOST_INTERVAL = 2**14 - 1
"""Sampling interval that the header can tell."""


class Netflow5:
    """Header and sequence number of one engine: the domain's upper octet is the engine's type, its lower one the id."""

    def __init__(self, domain: int, boot_ms: int, sampling: int | None) -> None:
        """``sampling``: as the header tells it; None: it says 0, as one that knows of no sampling."""
        if not 0 <= domain < 2**16:
            raise ValueError(f"domain {domain}: NetFlow v5 has an octet each for the type and the id of its engine")
        self.domain, self.boot_ms = domain, boot_ms
        self.sequence = 0  # flows sent, modulo 2^32
        self.tell(sampling)

    def tell(self, sampling: int | None) -> None:
        """From now on the header tells this interval."""
        if sampling is not None and not 0 <= sampling <= MOST_INTERVAL:
            raise ValueError(f"sampling interval {sampling}: the header of NetFlow v5 has 14 bits for it")
        self._sampling = _RANDOM << 14 | sampling if sampling else 0

    def announcements(self, export_ms: int) -> list[bytes]:
        """None: all that a reader must know is in each header."""
        return []

    def cuts(self, flows: NDArray[np.void]) -> tuple[list[int], list[int]]:
        """Row at which each datagram begins, and the end; the same in records."""
        found = [*range(0, len(flows), MOST_RECORDS), len(flows)] if len(flows) else [0]
        return found, found

    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]:
        """Flows of IPv4 (dtype ``flow.FLOW``) in order."""
        octets, size = memoryview(_records(flows, self.boot_ms).tobytes()), _RECORD.itemsize
        bounds, _ = self.cuts(flows)
        return [
            self._header(end - begin, export_ms) + octets[begin * size : end * size] for begin, end in pairwise(bounds)
        ]

    def _header(self, count: int, export_ms: int) -> bytes:
        sequence = self.sequence
        self.sequence = (sequence + count) % 2**32
        seconds, part = divmod(export_ms, 1000)
        uptime = (export_ms - self.boot_ms) % 2**32
        engine = divmod(self.domain, 256)
        return _HEADER.pack(5, count, uptime, seconds, part * 1_000_000, sequence, *engine, self._sampling)


def _records(flows: NDArray[np.void], boot_ms: int) -> NDArray[np.void]:
    if flows["is_v6"].any():
        raise ValueError("NetFlow v5 has no flows of IPv6")
    for name in ("in_if", "out_if"):
        if (flows[name] >= 2**16).any():
            raise ValueError(f"{name} {flows[name].max()}: NetFlow v5 has 16 bits for an interface")
    records = np.zeros(len(flows), _RECORD)
    for end in ("src", "dst"):
        records[end] = np.ascontiguousarray(flows[end][:, 12:]).view(">u4")[:, 0]
        number = flows[f"{end}_as"]
        records[f"{end}_as"] = np.where(number < 2**16, number, _AS_TRANS)
        records[f"{end}_mask"] = 24
    for name in ("in_if", "out_if", "packets", "octets", "src_port", "dst_port", "tcp_flags", "proto", "tos"):
        records[name] = flows[name]
    records["first"] = (flows["start_ms"] - boot_ms) % 2**32
    records["last"] = (flows["end_ms"] - boot_ms) % 2**32
    return records
