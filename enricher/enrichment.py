"""Pure: a raw batch and immutable tables in, an enriched batch out.

Direction is the subscriber's: the source's lease makes a flow IN (upload), the destination's OUT (download), both make
two rows, one for each subscriber; neither leaves it unmatched, kept and counted.  Local prefixes decide the direction,
by the same rule and without a subscriber, of flows that have no lease at either end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enricher.leases import LABELS, LeaseTable
from enricher.points import ObservationPoints
from enricher.ports import PortTable, buckets, lower_ports, own_ports, port_table
from enricher.prefixes import I8, PrefixSet
from enricher.scaling import marked, scale
from sinks.batch import Batch, constant
from sinks.schema import ENRICHED, Copy, Direction, Flag

_DAY_MS = 86_400_000
_PORTS = ("src_port", "dst_port")
_LOOKED_AT = ("src_addr", "dst_addr", "ts", "proto", *_PORTS)
_LOOKED_UP_TOGETHER = 65_536  # rows: larger arrays leave the cache and gain nothing


@dataclass(frozen=True, slots=True)
class Tables:
    """All that enrichment knows; swapped by one reference assignment."""

    leases: LeaseTable = field(default_factory=LeaseTable.empty)
    local: PrefixSet | None = None
    ports: PortTable = field(default_factory=port_table)
    points: ObservationPoints | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """Flows, each counted once, and their estimated octets."""

    flows: int = 0
    octets_est: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a batch has a subscriber: all = matched + unmatched; both and ambiguous are parts of matched."""

    matched: Count
    both: Count
    unmatched: Count
    ambiguous: Count


@dataclass(frozen=True, slots=True)
class Enriched:
    """Rows in the order of the sources: of each its own rows, then the second ones of flows between subscribers.

    Arrays may be those of the sources.
    """

    batch: Batch
    ends: tuple[int, ...]  # by source: rows up to and with it
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class _Ends:
    """What the leases say of both ends of a source's flows."""

    lease: I8  # the source's, else the destination's, or -1
    direction: NDArray[np.uint8]
    twice: I8  # rows with a subscriber, or a local prefix, at both ends
    second: I8  # of these the destination's lease, or -1
    unmatched: I8
    both: I8  # rows with a lease at both ends


def enrich(sources: Sequence[Batch], tables: Tables) -> Enriched:
    """Columns RAW of one or more batches -> columns ENRICHED of one."""
    leases = tables.leases
    ends = [part for group in _groups(sources) for part in _ends_of(group, tables)]
    pieces: list[Batch] = []
    owners: list[I8] = []
    directions: list[NDArray[np.uint8]] = []
    for source, of in zip(sources, ends, strict=True):
        pieces.append(source)
        owners.append(of.lease)
        directions.append(of.direction)
        if of.twice.size:
            again = source.take(of.twice)
            again.columns["copy"] = constant(Copy.BOTH_SUBSCRIBERS, "u1", len(of.twice))
            pieces.append(again)
            owners.append(of.second)
            directions.append(constant(Direction.OUT, "u1", len(of.twice)))
    rows = Batch.concat(pieces)
    lease = _joined(owners)
    columns = dict(rows.columns)
    columns["octets_est"], columns["packets_est"], columns["flags"] = scale(rows)
    columns["direction"] = _joined(directions)
    columns["lower_port"] = lower_ports(columns["proto"], columns["src_port"], columns["dst_port"])
    columns["bucket"] = buckets(columns["proto"], columns["lower_port"], tables.ports)
    ambiguous = np.empty(0, "i8")
    if leases.has_contested:
        doubtful = leases.is_ambiguous(lease, columns["ts"])
        ambiguous = np.flatnonzero(doubtful)
        if ambiguous.size:
            columns["flags"] = marked(columns["flags"], doubtful, Flag.AMBIGUOUS_LEASE)
    _own(columns, lease, leases)
    labels = rows.labels | leases.labels | {"bucket": tables.ports.labels}
    if tables.points is not None:
        columns["flags"] = columns["flags"] | tables.points.flags(Batch(columns, labels))
    enriched = Batch({column.name: columns[column.name] for column in ENRICHED}, labels)

    begins = np.cumsum([0, *(len(source) + len(of.twice) for source, of in zip(sources, ends, strict=True))])
    coverage = _coverage(columns["octets_est"], begins.tolist(), sources, ends, ambiguous)
    return Enriched(enriched, tuple(begins[1:].tolist()), coverage)


def _groups(sources: Sequence[Batch]) -> Iterator[Sequence[Batch]]:
    """Small sources together: a look-up has a price of its own."""
    begin = rows = 0
    for number, source in enumerate(sources):
        if rows and rows + len(source) > _LOOKED_UP_TOGETHER:
            yield sources[begin:number]
            begin, rows = number, 0
        rows += len(source)
    yield sources[begin:]


def _ends_of(group: Sequence[Batch], tables: Tables) -> list[_Ends]:
    """Of each source of a group."""
    if len(group) == 1:
        return [_ends(group[0].columns, tables)]
    rows = {name: _joined([source.columns[name] for source in group]) for name in _LOOKED_AT}
    found = _ends(rows, tables)
    parts = []
    stops = np.cumsum([len(source) for source in group]).tolist()
    for begin, end in zip([0, *stops], stops, strict=False):
        twice, unmatched, both = (
            slice(*np.searchsorted(each, (begin, end)).tolist()) for each in (found.twice, found.unmatched, found.both)
        )
        parts.append(
            _Ends(
                found.lease[begin:end], found.direction[begin:end], found.twice[twice] - begin, found.second[twice],
                found.unmatched[unmatched] - begin, found.both[both] - begin,
            )
        )  # fmt: skip
    return parts


def _ends(rows: dict[str, NDArray[Any]], tables: Tables) -> _Ends:
    leases = tables.leases
    src_port, dst_port = (own_ports(rows["proto"], rows[name]) if leases.has_ports else None for name in _PORTS)
    src = leases.lookup(rows["src_addr"], rows["ts"], src_port)
    dst = leases.lookup(rows["dst_addr"], rows["ts"], dst_port)
    from_ours, to_ours = src >= 0, dst >= 0
    unmatched = np.flatnonzero(~(from_ours | to_ours))
    twice = both = np.flatnonzero(from_ours & to_ours)
    if tables.local is not None:
        from_ours[unmatched] = tables.local.contains(rows["src_addr"][unmatched])
        to_ours[unmatched] = tables.local.contains(rows["dst_addr"][unmatched])
        twice = np.flatnonzero(from_ours & to_ours)
    direction = np.where(from_ours, np.uint8(Direction.IN), to_ours * np.uint8(Direction.OUT))
    second = dst[twice]
    return _Ends(np.where(src >= 0, src, dst), direction, twice, second, unmatched, both)


def _own(columns: dict[str, NDArray[Any]], lease: I8, leases: LeaseTable) -> None:
    """The columns that a row's lease gives."""
    if not len(leases):
        columns["sub_id"] = constant(0, "u8", len(lease))
        columns.update({name: constant(0, "u4", len(lease)) for name in LABELS})
        return
    columns["sub_id"], profile = leases.holders(lease)
    for name in LABELS:
        columns[name] = np.take(leases.codes[name], profile, mode="clip")


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def widest_span(max_days: int = 50) -> np.timedelta64:
    """How far the times of a message may lie apart, so that they touch at most ``max_days`` local days.

    Times in an interval of d days touch d + 1 days, and one more when clocks go forward in between.
    """
    return np.timedelta64((max_days - 2) * _DAY_MS, "ms")


def limit_days(batch: Batch, max_days: int = 50) -> Batch:
    """The batch, or a copy whose ``ts`` span no more than ``widest_span``.

    ClickHouse refuses an insert over more than 100 day partitions for ever, and one message is one insert.  The rows
    nearest the batch's middle time (the median) keep their times, so that one wrong clock moves only its own rows.
    The others get ``ts`` and ``ts_start`` = ``received``, or the middle time when that is as far away (an old capture
    replayed), and the flag TIME_OUT_OF_BOUNDS.
    """
    ts = batch.columns["ts"]
    span = widest_span(max_days)
    if len(ts) < 2 or ts.max() - ts.min() <= span:
        return batch
    half = span // 2
    middle = np.partition(ts.view("i8"), len(ts) // 2)[len(ts) // 2].astype("M8[ms]")
    outside = np.abs(ts - middle) > half
    received = batch.columns["received"]
    instead = np.where(np.abs(received - middle) > half, middle, received)
    columns = dict(batch.columns)
    columns["ts"] = np.where(outside, instead, ts)
    columns["ts_start"] = np.where(outside, instead, columns["ts_start"])
    columns["flags"] = columns["flags"] | outside * np.uint32(Flag.TIME_OUT_OF_BOUNDS)
    return Batch(columns, batch.labels)


def _coverage(
    octets: I8, begins: Sequence[int], sources: Sequence[Batch], ends: Sequence[_Ends], ambiguous: I8
) -> Coverage:
    """Of the first rows; ``octets`` are those of all rows, ``begins`` where each source's begin."""
    none, both, doubtful, every = [], [], [], []
    for at, source, of in zip(begins, sources, ends, strict=False):
        every.append(octets[at : at + len(source)])
        none.append(octets[of.unmatched + at])
        both.append(octets[of.both + at])
        if ambiguous.size:
            first = np.append(np.arange(len(source)), of.twice)  # the flow of each row
            mine = ambiguous[(ambiguous >= at) & (ambiguous < at + len(first))] - at
            doubtful.append(octets[np.unique(first[mine]) + at])
    total, unmatched = _count(every), _count(none)
    matched = Count(total.flows - unmatched.flows, total.octets_est - unmatched.octets_est)
    return Coverage(matched, _count(both), unmatched, _count(doubtful))


def _count(parts: Sequence[I8]) -> Count:
    flows = octets = 0
    for part in parts:
        flows += len(part)
        # 1,024 rows at the limit of 2^53 would overflow 64 bits; the halves of each do not before 2^31 rows.
        octets += (int((part >> 32).sum()) << 32) + int((part & 0xFFFF_FFFF).sum())
    return Count(flows, octets)
