"""Records of one layout -> columns of the flow schema.

Byte swap and widening happen in the assignment into the column.  Nothing here loops over records.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.decoder.filling import Columns, all_same, flag, put, settle, spread, unflag, writable
from collector.decoder.layouts import Layout, Place, Reading
from collector.decoder.messages import Messages, Runs
from collector.decoder.packets import LARGEST_PACKET
from collector.decoder.samples import VERSION as SFLOW
from collector.decoder.samples import fill_samples
from collector.decoder.sampling import intervals
from collector.decoder.sections import fill_section
from collector.decoder.times import flow_times
from collector.decoder.varying import VariableRows
from sinks.batch import Batch, is_constant
from sinks.schema import COUNTER_LIMIT, Copy, Flag

Array = NDArray[Any]

_NOTHING = bytes(16)
_MAPPED = np.uint64(0xFFFF_0000)  # the third word of ::ffff:a.b.c.d, of four octets 0 0 ff ff
_MAPPED_BEGIN = b"\0" * 10 + b"\xff\xff"


class Rows(Protocol):
    """Fields of records as arrays; records of fixed length are views, those of variable length get gathered."""

    count: int

    def unsigned(self, place: Place, width: int = 8) -> Array:
        """An integer field's low ``width`` octets, any byte order."""
        ...

    def octets(self, place: Place, dtype: str) -> Array:
        """A field as it stands; the dtype has the field's length."""
        ...

    def spans(self, place: Place) -> tuple[Array, Array, Array]:
        """The buffer (uint8), and where the field begins in it and how long it is (int64, one a record)."""
        ...


class FixedRows:
    """Records of one size, side by side; every array is a view with the record's size as its stride."""

    def __init__(self, layout: Layout, body: Array, first: int, count: int) -> None:
        self.count = count
        self._layout, self._body, self._start = layout, body, first * layout.size

    def unsigned(self, place: Place, width: int = 8) -> Array:
        """See Rows."""
        length = self._layout.fields[place].length
        used = min(length, width)
        skip = length - used
        if used in (1, 2, 4, 8):
            return self._view(place, skip, f">u{used}")
        total = self._view(place, skip, "u1").astype("u8")
        for at in range(skip + 1, length):
            total = (total << np.uint64(8)) | self._view(place, at, "u1")
        return total

    def octets(self, place: Place, dtype: str) -> Array:
        """See Rows."""
        return self._view(place, 0, dtype)

    def spans(self, place: Place) -> tuple[Array, Array, Array]:
        """See Rows."""
        layout = self._layout
        starts = np.arange(self.count, dtype="i8") * layout.size + (self._start + layout.offsets[place])
        return np.frombuffer(self._body, "u1"), starts, np.full(self.count, layout.fields[place].length, "i8")

    def _view(self, place: Place, skip: int, dtype: str) -> Array:
        layout = self._layout
        offset = self._start + layout.offsets[place] + skip
        return np.ndarray((self.count,), dtype, self._body, offset, (layout.size,))


@dataclass(frozen=True, slots=True)
class Segment:
    """Some runs of a group: what one batch takes of it."""

    layout: Layout
    body: Array  # uint8
    first: int  # record of the group
    runs: Runs
    starts: Array | None = None  # where each record of the group begins; None: all are of one size

    @property
    def count(self) -> int:
        """Records."""
        return self.runs.rows

    def rows(self) -> Rows:
        """Its records."""
        if self.starts is not None:
            starts = self.starts[self.first : self.first + self.count]
            return VariableRows(self.layout.fields, self.layout.stretches, self.body, starts)
        return FixedRows(self.layout, self.body, self.first, self.count)


def fill(segment: Segment, messages: Messages, columns: Columns, reverse: bool) -> tuple[Columns, Array] | None:
    """Fill columns of ``segment.count`` rows, whatever they hold now; some are replaced by constants (``filling``).

    Returns the columns of its reverse halves and how many each run has; None: there are none.  ``columns`` are those of
    stage *decode*; ``exporter`` gets the message's code among ``messages.labels``.
    """
    if segment.layout.version == SFLOW:
        fill_samples(segment.body, segment.layout.size, segment.first, segment.runs, messages, columns)
        return None
    rows, runs = segment.rows(), segment.runs
    reading = segment.layout.forward
    for column in reading.unfilled:
        settle(columns, column, _NOTHING if columns[column].dtype.kind == "V" else 0)
    for column in ("exporter", "domain", "received", "flags"):
        spread(columns, column, runs, getattr(messages, column))
    for column, place in reading.unsigned.items():
        put(columns, column, rows.unsigned(place, columns[column].itemsize))
    _fill_addresses(rows, reading, columns)
    _fill_icmp(rows, reading, columns)
    _fill_counters(rows, reading, columns)
    if reading.section is not None:
        fill_section(rows, reading, reading.section, columns)
    flow_times(rows, segment.layout.version, reading, runs, messages, columns)
    intervals(rows, reading, runs, messages, columns)
    backward = segment.layout.reverse if reverse else None
    return None if backward is None else _reverse(segment, rows, backward, messages, columns)


def _fill_addresses(rows: Rows, reading: Reading, columns: Columns) -> None:
    fours = [name for name, (four, _) in reading.addresses.items() if four is not None and name != "next_hop"]
    sixes = [name for name, (_, six) in reading.addresses.items() if six is not None and name != "next_hop"]
    use_six: Array | None = None
    if fours and sixes:
        # A template for both families: the record is IPv6 where its IPv4 fields are 0 and its IPv6 fields are not.
        use_six = np.ones(rows.count, bool)
        some = np.zeros(rows.count, bool)
        for name in fours:
            use_six &= rows.octets(_place(reading.addresses[name][0]), "u4") == 0
        for name in sixes:
            place = _place(reading.addresses[name][1])
            some |= rows.octets(place, "V16") != np.void(bytes(16))
        use_six &= some
        columns["ip_version"][:] = np.where(use_six, 6, 4)
    elif fours or sixes:
        settle(columns, "ip_version", 4 if fours else 6)
    for name, (four, six) in reading.addresses.items():
        address = columns[name]
        if four is not None and six is None and name == "next_hop" and all_same(hops := rows.octets(four, "u4")):
            settle(columns, name, _MAPPED_BEGIN + hops[0].tobytes())
        elif four is not None and (six is None or name == "next_hop"):
            _map_four(rows, four, address)
            if six is not None:
                unset = rows.octets(four, "u4") == 0
                address[unset] = rows.octets(six, "V16")[unset]
        elif four is None:
            address[:] = rows.octets(_place(six), "V16")
        else:
            _map_four(rows, four, address)
            assert use_six is not None
            address[use_six] = rows.octets(_place(six), "V16")[use_six]
    # Said by the record itself; anything but 4 and 6 is no version of ours.
    if reading.ip_version is not None:
        said = rows.unsigned(reading.ip_version, 1)
        np.copyto(writable(columns, "ip_version"), said, where=(said == 4) | (said == 6))
    for column, (four, six) in reading.masks.items():
        if four is None or six is None:
            put(columns, column, rows.unsigned(_place(six if four is None else four), 1))
        else:
            columns[column][:] = np.where(columns["ip_version"] == 6, rows.unsigned(six, 1), rows.unsigned(four, 1))


def _map_four(rows: Rows, place: Place, address: Array) -> None:
    words = address.view("<u8").reshape(-1, 2)
    words[:, 0] = 0
    last = rows.octets(place, "<u4").astype("<u8")  # as it stands in memory: an address is octets
    last <<= np.uint64(32)
    np.bitwise_or(last, _MAPPED, out=words[:, 1])


def _place(place: Place | None) -> Place:
    assert place is not None
    return place


def _fill_icmp(rows: Rows, reading: Reading, columns: Columns) -> None:
    if len(reading.icmp) == 1:
        put(columns, "icmp", rows.unsigned(reading.icmp[0], 2))
    elif reading.icmp:
        kind, code = (rows.unsigned(place, 1).astype("u2") for place in reading.icmp)
        columns["icmp"][:] = kind << 8 | code


def _fill_counters(rows: Rows, reading: Reading, columns: Columns) -> None:
    for column, places in (("octets", reading.octets), ("packets", reading.packets)):
        array = columns[column]
        for place in places:
            counter = rows.unsigned(place)
            if counter.dtype.itemsize == 8 and counter.max(initial=0) > COUNTER_LIMIT:
                flag(columns, counter > COUNTER_LIMIT, Flag.IMPLAUSIBLE.value)
                counter = np.minimum(counter, np.uint64(COUNTER_LIMIT))
            if place == places[0]:
                array[:] = counter
            else:
                array += counter.astype("i8")
        if len(places) > 1:
            np.minimum(array, COUNTER_LIMIT, out=array)
    if reading.octets and reading.packets:
        # Compared as a quotient, so that it cannot overflow: packets x 65,575 would.
        implausible = columns["octets"] > columns["packets"] * np.float64(LARGEST_PACKET)
        if implausible.any():
            flag(columns, implausible, Flag.IMPLAUSIBLE.value)


_SWAPPED = (
    ("src_addr", "dst_addr"), ("src_port", "dst_port"), ("in_if", "out_if"), ("src_as", "dst_as"),
    ("src_mask", "dst_mask"),
)  # fmt: skip


def _reverse(
    segment: Segment, rows: Rows, reading: Reading, messages: Messages, columns: Columns
) -> tuple[Columns, Array] | None:
    """RFC 5103 section 5: the same flow seen from its other end, where it has counted anything."""
    extra = {name: array if is_constant(array) else array.copy() for name, array in columns.items()}
    for name in ("octets", "packets", "tcp_flags"):
        settle(extra, name)
    unflag(extra, Flag.IMPLAUSIBLE)
    for one, other in _SWAPPED:
        extra[one], extra[other] = extra[other], extra[one]
    for column in ("tcp_flags", "tos"):
        if column in reading.unsigned:
            writable(extra, column)[:] = rows.unsigned(reading.unsigned[column], extra[column].itemsize)
    for name in ("octets", "packets"):
        if getattr(reading, name):
            writable(extra, name)
    _fill_counters(rows, reading, extra)
    if reading.start or reading.end:
        unflag(extra, Flag.NO_FLOW_TIME | Flag.TIME_OUT_OF_BOUNDS | Flag.LONG_DURATION)
        flow_times(rows, segment.layout.version, reading, segment.runs, messages, extra)
    settle(extra, "copy", Copy.REVERSE)
    counted = (extra["octets"] > 0) | (extra["packets"] > 0)
    if not counted.any():
        return None
    return Batch(extra).take(counted).columns, segment.runs.sums(counted)
