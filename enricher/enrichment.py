"""Pure: a raw batch and immutable tables in, an enriched batch out.

Direction is the subscriber's: the source's lease makes a flow IN (upload), the destination's OUT (download), both make
two rows, one for each subscriber; neither leaves it unmatched, kept and counted.  Local prefixes decide the direction,
by the same rule and without a subscriber, of flows that have no lease at either end.
"""

from dataclasses import dataclass, field

import numpy as np

from enricher.leases import LABELS, LeaseTable
from enricher.points import ObservationPoints
from enricher.ports import PortTable, buckets, lower_ports, own_ports, port_table
from enricher.prefixes import I8, PrefixSet
from enricher.scaling import scale
from sinks.batch import Batch
from sinks.schema import ENRICHED, Copy, Direction, Flag

_DAY_MS = 86_400_000
_PORTS = ("src_port", "dst_port")
_DIRECTION = np.array([Direction.NONE, Direction.IN, Direction.OUT, Direction.IN], "u1")  # by source + 2 x destination


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
    """Rows in the order of the source, both rows of a flow side by side; arrays may be those of the raw batch."""

    batch: Batch
    source_rows: I8  # by row: the raw row it comes from
    coverage: Coverage


def enrich(batch: Batch, tables: Tables) -> Enriched:
    """Columns RAW -> columns ENRICHED."""
    rows, leases = batch.columns, tables.leases
    octets, packets, flags = scale(batch)
    lower = lower_ports(rows["proto"], rows["src_port"], rows["dst_port"])
    src_port, dst_port = (own_ports(rows["proto"], rows[name]) if leases.has_ports else None for name in _PORTS)
    src = leases.lookup(rows["src_addr"], rows["ts"], src_port)
    dst = leases.lookup(rows["dst_addr"], rows["ts"], dst_port)
    from_ours, to_ours = src >= 0, dst >= 0
    matched, leased_twice = from_ours | to_ours, from_ours & to_ours
    if tables.local is not None:
        rest = np.flatnonzero(~matched)
        from_ours[rest] = tables.local.contains(rows["src_addr"][rest])
        to_ours[rest] = tables.local.contains(rows["dst_addr"][rest])

    lease = np.where(src >= 0, src, dst)
    columns = rows | {
        "octets_est": octets,
        "packets_est": packets,
        "flags": flags,
        "direction": np.take(_DIRECTION, from_ours + to_ours * np.uint8(2)),
        "lower_port": lower,
        "bucket": buckets(rows["proto"], lower, tables.ports),
    }
    source_rows = np.arange(len(batch))
    twice = np.flatnonzero(from_ours & to_ours)
    if twice.size:
        second = twice + np.arange(1, len(twice) + 1)
        source_rows = np.repeat(source_rows, 1 + (from_ours & to_ours))
        columns = {name: np.take(array, source_rows, mode="clip") for name, array in columns.items()}
        columns["copy"][second] = Copy.BOTH_SUBSCRIBERS
        columns["direction"][second] = Direction.OUT
        lease = np.take(lease, source_rows, mode="clip")
        lease[second] = dst[twice]

    ambiguous = leases.is_ambiguous(lease, columns["ts"])
    if ambiguous.any():
        columns["flags"] = columns["flags"] | ambiguous * np.uint32(Flag.AMBIGUOUS_LEASE)
    columns["sub_id"], profile = leases.holders(lease)
    for name in LABELS:
        columns[name] = np.take(leases.codes[name], profile, mode="clip")
    labels = batch.labels | leases.labels | {"bucket": tables.ports.labels}
    if tables.points is not None:
        columns["flags"] = columns["flags"] | tables.points.flags(Batch(columns, labels))
    enriched = Batch({column.name: columns[column.name] for column in ENRICHED}, labels)

    doubtful = np.unique(source_rows[ambiguous])
    coverage = _coverage(octets, np.flatnonzero(~matched), np.flatnonzero(leased_twice), doubtful)
    return Enriched(enriched, source_rows, coverage)


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


def _coverage(octets: I8, unmatched: I8, both: I8, ambiguous: I8) -> Coverage:
    every, none = _count(octets), _count(octets[unmatched])
    matched = Count(every.flows - none.flows, every.octets_est - none.octets_est)
    return Coverage(matched, _count(octets[both]), none, _count(octets[ambiguous]))


def _count(octets: I8) -> Count:
    # 1,024 rows at the limit of 2^53 would overflow 64 bits; the halves of each do not before 2^31 rows.
    low, high = int((octets & 0xFFFF_FFFF).sum()), int((octets >> 32).sum())
    return Count(len(octets), (high << 32) + low)
