"""The one table of columns: what a flow is, in memory, on the bus and at rest.

NumPy arrays, bus messages, DDL, ``replay --decode`` and the documentation derive from ``FLOW``.  A column is spelled
the same everywhere.  Times are Unix milliseconds in UTC; addresses are 16 bytes in network order, IPv4 as
``::ffff:a.b.c.d``.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Literal

import numpy as np

SCHEMA_VERSION = 3
"""Version of the bus messages' columns and form (3: ``codec`` writes constant columns once); a reader refuses what it
does not know."""

LABEL = "label"
"""In-memory type of a text column with few values: uint32 codes into a tuple of distinct strings."""

COUNTER_LIMIT = 2**53
"""Counters are clamped here before and after scaling, so that sums over years stay below 2^63."""


class SamplingSource(IntEnum):
    """Where a record's sampling interval came from; the order is that of trust, not of precedence."""

    UNKNOWN = 0  # a sampler is referred to and not known: estimates = sampled values, flagged
    RECORD = 1  # an element of the flow record itself
    SAMPLER = 2  # options data of the sampler the record names
    INTERFACE = 3  # options data of the interface the record names
    DOMAIN = 4  # options data of the whole observation domain or exporter
    HEADER = 5  # NetFlow v5 header, sFlow sample
    SETTING = 6  # the operator's default for exporters that say nothing
    OVERRIDE = 7  # the operator's word against the exporter's
    ASSUMED = 8  # this exporter never said anything of sampling: 1


class Flag(IntFlag):
    """What is unusual about a row (column ``flags``)."""

    NO_FLOW_TIME = 1  # the record has no usable time: export time is used
    TIME_OUT_OF_BOUNDS = 2  # believed by nobody: ts = received
    LONG_DURATION = 4  # longer than the setting allows: start moved up to the limit
    IMPLAUSIBLE = 8  # counters no link could carry: kept in raw, out of rollups
    SAMPLING_UNKNOWN = 16  # see SamplingSource.UNKNOWN
    HELD = 32  # waited for its template or sampler
    TRUNCATED = 64  # from the sound part of a datagram longer than its slot
    AMBIGUOUS_LEASE = 128  # two leases claim the address at the flow's end
    UNSOUND_PACKET = 256  # the sampled packet contradicts itself or ends too early: what it did not tell is 0
    OTHER_POINT = 512  # its service is counted at other exporters (observation points): in raw and exporters' figures


class Direction(IntEnum):
    """As the report has it: seen from the provider, IN is what the subscriber uploads."""

    NONE = 0
    IN = 1
    OUT = 2


class Copy(IntEnum):
    """Why a record has a second row (column ``copy``)."""

    ORIGINAL = 0
    BOTH_SUBSCRIBERS = 1  # the same flow, seen from its other subscriber
    REVERSE = 2  # RFC 5103 reverse half: ends swapped


Stage = Literal["decode", "enrich", "insert"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``stage`` is the part that fills it."""

    name: str
    dtype: str  # NumPy dtype in memory, or LABEL
    clickhouse: str  # type and codec at rest
    stage: Stage
    doc: str
    element: int | None = None  # IANA information element it is first of all read from
    since: int = 1  # SCHEMA_VERSION that brought it: messages of older writers lack it, and it is blank

    @property
    def is_label(self) -> bool:
        """Whether the column is held as codes into a tuple of strings."""
        return self.dtype == LABEL

    @property
    def blank(self) -> str:
        """A label column's text of a row of which nothing is said."""
        return "{}" if self.clickhouse.startswith("Map(") else ""

    @property
    def numpy(self) -> np.dtype:
        """The dtype of its array."""
        return np.dtype("u4" if self.is_label else self.dtype)


_LABEL = "LowCardinality(String)"
_COUNTER = "Int64 CODEC(T64, ZSTD(1))"

FLOW: tuple[Column, ...] = (
    Column("exporter", LABEL, _LABEL, "decode", "source address of the exporter's datagrams"),
    Column("domain", "u4", "UInt32", "decode", "observation domain (v9 source id, v5 engine)", 149),
    Column("ts_start", "M8[ms]", "DateTime64(3,'UTC') CODEC(Delta, ZSTD(1))", "decode", "flow start", 152),
    Column("ts", "M8[ms]", "DateTime64(3,'UTC') CODEC(DoubleDelta, ZSTD(1))", "decode", "flow end", 153),
    Column("src_addr", "V16", "IPv6", "decode", "source address", 8),
    Column("dst_addr", "V16", "IPv6", "decode", "destination address", 12),
    Column("src_port", "u2", "UInt16", "decode", "source port", 7),
    Column("dst_port", "u2", "UInt16", "decode", "destination port", 11),
    Column("proto", "u1", "UInt8", "decode", "IP protocol", 4),
    Column("tcp_flags", "u2", "UInt16", "decode", "TCP control bits seen", 6),
    Column("octets", "i8", _COUNTER, "decode", "octets as exported (sampled)", 1),
    Column("packets", "i8", _COUNTER, "decode", "packets as exported (sampled)", 2),
    Column("in_if", "u4", "UInt32", "decode", "ingress interface", 10),
    Column("out_if", "u4", "UInt32", "decode", "egress interface", 14),
    Column("src_as", "u4", "UInt32", "decode", "source AS", 16),
    Column("dst_as", "u4", "UInt32", "decode", "destination AS", 17),
    Column("vlan", "u2", "UInt16", "decode", "VLAN id", 58),
    Column("sampling", "u4", "UInt32", "decode", "sampling interval, N of 1-in-N", 305),
    Column("sampling_source", "u1", "UInt8", "decode", "where it came from (SamplingSource)"),
    Column("copy", "u1", "UInt8", "decode", "0 original, 1 the other subscriber's row, 2 reverse half (Copy)"),
    Column("flags", "u4", "UInt32", "decode", "what is unusual about the row (Flag)"),
    Column("ip_version", "u1", "UInt8", "decode", "4 or 6; 0 when the record has no address", 60),
    Column("next_hop", "V16", "IPv6", "decode", "next hop", 15),
    Column("tos", "u1", "UInt8", "decode", "type of service", 5),
    Column("src_mask", "u1", "UInt8", "decode", "source prefix length", 9),
    Column("dst_mask", "u1", "UInt8", "decode", "destination prefix length", 13),
    Column("icmp", "u2", "UInt16", "decode", "ICMP type x 256 + code", 32),
    Column("received", "M8[ms]", "DateTime64(3,'UTC') CODEC(Delta, ZSTD(1))", "decode", "when our host read it"),
    Column("collector", LABEL, _LABEL, "decode", "the collector that decoded it"),
    Column(
        "extra",
        LABEL,
        "Map(LowCardinality(String), String)",
        "decode",
        "chosen elements by name; a JSON object",
        since=2,
    ),
    Column("octets_est", "i8", _COUNTER, "enrich", "octets x sampling interval"),
    Column("packets_est", "i8", _COUNTER, "enrich", "packets x sampling interval"),
    Column("sub_id", "u8", "UInt64", "enrich", "keyed hash of the subscriber, 0 none"),
    Column("service", LABEL, _LABEL, "enrich", "fixed or mobile"),
    Column("segment", LABEL, _LABEL, "enrich", "personal, enterprise or unknown"),
    Column("access", LABEL, _LABEL, "enrich", "pppoe, ipoe, mobile or other"),
    Column("sub_group", LABEL, _LABEL, "enrich", "the operator's group of subscribers"),
    Column("direction", "u1", "UInt8", "enrich", "0 none, 1 in (upload), 2 out (download)"),
    Column("lower_port", "u2", "UInt16", "enrich", "lower of both ports, 0 without ports"),
    Column("bucket", LABEL, _LABEL, "enrich", "service bucket of the lower port or protocol"),
    Column("bus_partition", "u2", "UInt16", "insert", "partition of the enriched message"),
    Column("bus_offset", "u8", "UInt64", "insert", "offset of the enriched message"),
)

BY_NAME: dict[str, Column] = {column.name: column for column in FLOW}
RAW: tuple[Column, ...] = tuple(column for column in FLOW if column.stage == "decode")
"""Columns of a message in ``flows.raw``."""
ENRICHED: tuple[Column, ...] = tuple(column for column in FLOW if column.stage != "insert")
"""Columns of a message in ``flows.enriched``."""

BUCKETS: tuple[str, ...] = (
    "tcp/443", "tcp/80", "tcp/<1024", "tcp/>=1024", "udp/443", "udp/<1024", "udp/>=1024",
    "esp", "gre", "ipip", "ipv6", "icmp", "icmp6", "other",
)  # fmt: skip
"""Values of ``bucket``; ``udp/443`` is QUIC by port, an upper bound of QUIC."""


@dataclass(frozen=True, slots=True)
class ObservationColumn:
    """A column of an observation table: a counter row, not a flow."""

    name: str
    arrow: str  # pyarrow type by name
    clickhouse: str


_HEAD = (
    ObservationColumn("time", "timestamp[s]", "DateTime('UTC')"),
    ObservationColumn("collector", "string", _LABEL),
)
_TAIL = (ObservationColumn("counter", "string", _LABEL), ObservationColumn("value", "int64", "Int64"))
_EXPORTER = (ObservationColumn("exporter", "string", _LABEL), ObservationColumn("domain", "uint32", "UInt32"))
_INTERFACE_TOTALS = tuple(
    ObservationColumn(f"{way}_{what}", "uint64", "UInt64")
    for way in ("in", "out")
    for what in ("octets", "packets", "multicast", "broadcast", "discards", "errors")
)
OBSERVATIONS: dict[str, tuple[ObservationColumn, ...]] = {
    # Counters are deltas: a minute's truth is sum(value), whatever was restarted in between.
    "exporter_health_1m": (*_HEAD, *_EXPORTER, *_TAIL),
    "stage_1m": (*_HEAD, ObservationColumn("stage", "string", _LABEL), *_TAIL),
    # As the device counts: totals since it started, sFlow's if_counters (version 5, section 5.4).
    "interface_counter": (
        *_HEAD,
        *_EXPORTER,
        ObservationColumn("interface", "uint32", "UInt32"),
        ObservationColumn("speed", "uint64", "UInt64"),  # bits a second
        ObservationColumn("status", "uint32", "UInt32"),  # bit 0 admin up, bit 1 operational up
        *_INTERFACE_TOTALS,
    ),
    # What an exporter told of itself; the newest row of a key holds.
    "exporter_name": (
        *_HEAD,
        *_EXPORTER,
        ObservationColumn("kind", "string", _LABEL),  # interface, application, vrf, sampler
        ObservationColumn("id", "uint64", "UInt64"),
        ObservationColumn("name", "string", "String"),
        ObservationColumn("description", "string", "String"),
        ObservationColumn("speed", "uint64", "UInt64"),  # of an interface, bits a second; 0: not told
    ),
}
"""Tables filled by messages of kind *observation*, one message, one insert."""
