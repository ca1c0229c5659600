"""A layout: what the records of a template look like, whoever sent it, and where each column is read from.

Layouts are interned: thousands of exporters with the same template share one, and their records are decoded together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakValueDictionary

from collector.decoder.elements import (
    ADDRESSES,
    END,
    FRAME_SIZE,
    FRAME_TYPE,
    ICMP,
    INTERVALS,
    IP_VERSION,
    MASKS,
    OBSERVED,
    OCTETS,
    PACKET_INTERVAL,
    PACKET_SPACE,
    PACKETS,
    POPULATION,
    RECORD_SAMPLING,
    REVERSE_PEN,
    SAMPLERS,
    SECTION_OFFSETS,
    SECTION_SIZES,
    SECTIONS,
    SIZE,
    START,
    SYSTEM_INIT,
    TIME_LENGTHS,
    UNSIGNED,
    VARIABLE,
    FieldSpecifier,
)
from collector.decoder.varying import Stretches

Place = int
"""Index of a field in its template."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A field that says when: ``element`` tells how it is encoded."""

    element: int
    place: Place


@dataclass(frozen=True, slots=True)
class Section:
    """A field that holds the beginning of a packet, and the fields that say how to read it."""

    kind: int  # SECTION_ETHERNET or SECTION_IP
    place: Place
    frame_size: Place | None  # octets that the frame had on the wire
    frame_type: Place | None
    offset: Place | None  # of the packet, where the section begins
    exported: Place | None  # octets of the section that are the packet's


_SAID_BY_RECORDS = (
    *UNSIGNED, *ADDRESSES, *MASKS, "octets", "packets", "icmp", "ip_version", "copy", "collector",
)  # fmt: skip
"""Columns that are 0 unless a field fills them; all others are filled for every record."""


@dataclass
class Reading:
    """The fields that fill the columns."""

    unsigned: dict[str, Place] = field(default_factory=dict)
    addresses: dict[str, tuple[Place | None, Place | None]] = field(default_factory=dict)  # IPv4, IPv6
    masks: dict[str, tuple[Place | None, Place | None]] = field(default_factory=dict)
    octets: tuple[Place, ...] = ()
    packets: tuple[Place, ...] = ()
    icmp: tuple[Place, ...] = ()
    ip_version: Place | None = None
    start: Moment | None = None
    end: Moment | None = None
    init: Place | None = None
    intervals: tuple[Place, ...] = ()
    population: tuple[Place, Place] | None = None  # size, population
    spacing: tuple[Place, Place | None] | None = None  # packets, space
    sampler: Place | None = None
    section: Section | None = None

    @cached_property
    def unfilled(self) -> tuple[str, ...]:
        """Columns of which the record says nothing: 0."""
        filled = {*self.unsigned, *self.addresses, *self.masks}
        filled |= {name for name in ("octets", "packets", "icmp") if getattr(self, name)}
        if {"src_addr", "dst_addr"} & filled:
            filled.add("ip_version")
        return tuple(name for name in _SAID_BY_RECORDS if name not in filled)


class Layout:
    """Fields of a record; interned by (version, fields), alive as long as a template has it."""

    __slots__ = ("__dict__", "__weakref__", "fields", "is_variable", "offsets", "size", "usual_octets", "version")

    def __init__(self, version: int, fields: tuple[FieldSpecifier, ...]) -> None:
        self.version, self.fields = version, fields
        lengths = [each.length for each in fields]
        self.is_variable = version != 9 and VARIABLE in lengths  # v9 has no variable length
        self.size = 0 if self.is_variable else sum(lengths)
        """Octets of a record; 0 where there is no such number."""
        self.offsets: tuple[int, ...] = () if self.is_variable else _offsets(lengths)
        self.usual_octets = 0
        """What the last group of this layout took."""

    @cached_property
    def stretches(self) -> Stretches:
        """How to find the records and fields of a variable layout."""
        return Stretches(self.fields)

    @cached_property
    def forward(self) -> Reading:
        """Where the columns are read from."""
        return _Reader(self.fields, 0).reading()

    @cached_property
    def reverse(self) -> Reading | None:
        """What differs in the other direction (RFC 5103); None: the records are of one direction."""
        reading = _Reader(self.fields, REVERSE_PEN).reading()
        return reading if reading.octets or reading.packets else None

    @cached_property
    def ignored(self) -> int:
        """Fields that we read and whose length no such element can have."""
        reader = _Reader(self.fields, 0)
        reader.reading()
        return reader.ignored


class Layouts:
    """All layouts in use."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[int, tuple[FieldSpecifier, ...]], Layout] = WeakValueDictionary()

    def intern(self, version: int, fields: tuple[FieldSpecifier, ...]) -> Layout:
        """The one layout of these fields."""
        layout = self._known.get((version, fields))
        if layout is None:
            layout = self._known[version, fields] = Layout(version, fields)
        return layout


def _offsets(lengths: Iterable[int]) -> tuple[int, ...]:
    offsets, at = [], 0
    for length in lengths:
        offsets.append(at)
        at += length
    return tuple(offsets)


class _Reader:
    """Finds fields by element; counts those of impossible length."""

    def __init__(self, fields: tuple[FieldSpecifier, ...], pen: int) -> None:
        self._places: dict[int, Place] = {}
        self._lengths = [each.length for each in fields]
        self.ignored = 0
        for place, each in enumerate(fields):
            # Of an element that comes twice the first one counts, as in goflow2; one without octets says nothing.
            if each.pen == pen and each.length:
                self._places.setdefault(each.element, place)

    def reading(self) -> Reading:
        found = Reading()
        for column, elements in UNSIGNED.items():
            place = self._first(elements)
            if place is not None:
                found.unsigned[column] = place
        for column, (four, six) in ADDRESSES.items():
            pair = self._exactly(four, 4), self._exactly(six, 16)
            if pair != (None, None):
                found.addresses[column] = pair
        for column, (mask4, mask6) in MASKS.items():
            pair = self._first((mask4,)), self._first((mask6,))
            if pair != (None, None):
                found.masks[column] = pair
        found.octets = self._together(OCTETS)
        found.packets = self._together(PACKETS)
        found.icmp = self._together(ICMP)
        found.ip_version = self._first((IP_VERSION,))
        found.start, found.end = self._moment(START), self._moment(END)
        if found.start is None and found.end is None:
            found.start = found.end = self._moment(OBSERVED)
        found.init = self._exactly((SYSTEM_INIT,), 8)
        found.sampler = self._first(SAMPLERS)
        found.section = self._section()
        if RECORD_SAMPLING & self._places.keys():
            found.intervals = tuple(place for element in INTERVALS if (place := self._first((element,))) is not None)
            size, population = self._first((SIZE,)), self._first((POPULATION,))
            if size is not None and population is not None:
                found.population = size, population
            packets = self._first((PACKET_INTERVAL,))
            if packets is not None:
                found.spacing = packets, self._first((PACKET_SPACE,))
        return found

    def _section(self) -> Section | None:
        for element, kind in SECTIONS:
            place = self._places.get(element)  # of any length, variable too
            if place is not None:
                size, frame_type = self._first((FRAME_SIZE,)), self._first((FRAME_TYPE,))
                return Section(kind, place, size, frame_type, self._first(SECTION_OFFSETS), self._first(SECTION_SIZES))
        return None

    def _first(self, elements: Iterable[int]) -> Place | None:
        for element in elements:
            place = self._places.get(element)
            if place is not None:
                if self._lengths[place] <= 8:
                    return place
                self.ignored += 1
        return None

    def _exactly(self, elements: Iterable[int], length: int) -> Place | None:
        for element in elements:
            place = self._places.get(element)
            if place is not None:
                if self._lengths[place] == length:
                    return place
                self.ignored += 1
        return None

    def _together(self, alternatives: Iterable[tuple[int, ...]]) -> tuple[Place, ...]:
        for elements in alternatives:
            places = [self._first((element,)) for element in elements]
            if all(place is not None for place in places):
                return tuple(place for place in places if place is not None)
        return ()

    def _moment(self, elements: Iterable[int]) -> Moment | None:
        for element in elements:
            place = self._exactly((element,), TIME_LENGTHS[element])
            if place is not None:
                return Moment(element, place)
        return None
