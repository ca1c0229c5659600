"""What the rows of one message add up to, for the rollups: the inner GROUP BYs of ``rollups/*.sql``, in NumPy.

A message is in memory when it is stored, so what it adds to each rollup is reckoned there, and raw is not read again:
a range of rollups then costs what its groups cost.  Nothing of it outlives the process; whoever has not all messages
of a range in memory, or repeats a range of somebody else, runs the SQL, which gives the same rows (tests compare the
two, and both with a walk over the rows).
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sinks.batch import constant, is_constant, joined, taken
from sinks.blocks import one_array
from sinks.grouping import Groups
from sinks.rollup_tables import LABELS
from sinks.schema import BY_NAME, Flag

Array = NDArray[Any]
Columns = dict[str, Array]
"""Equally long arrays by name."""

SUMS = ("flows", "packets", "packets_est", "octets", "octets_est")
_COUNTERS = SUMS[1:]
LEAST, MOST, EITHER = "min_sampling", "max_sampling", "sampling_sources"
KEYS = {
    "flow": ("marks", "minute", *LABELS, "in_if", "out_if", "ip_version", "direction"),
    "port": ("minute", "service", "segment", "access", "ip_version", "direction", "proto", "port", "no_port"),
    "subscriber": ("minute", "sub_id", "service", "segment", "access", "direction"),
    "talker": ("side", "five", "high", "low"),
    "as": ("five", "src_as", "dst_as"),
    "coverage": ("five", "exporter", "network"),
}
"""The sets that a message is summed into, and what each is grouped by; ``_flow.sql`` says what ``marks`` are, ``five``
counts five minutes since 1970, ``minute`` minutes."""

SECOND, ELSEWHERE, SAID, FLAGGED = 3, 4, 5, 7
"""Bits of ``marks``; below them the kind, at SAID two bits."""
_UNSOUND = (Flag.IMPLAUSIBLE | Flag.SAMPLING_UNKNOWN | Flag.OTHER_POINT).value
_LONGEST_MS = 86_400_000  # of a flow that is spread
_MINUTE_MS = 60_000
_LATEST_MS = 2**32 * 1000  # DateTime ends there
IPV4 = np.uint64(0xFFFF)  # of the low half of ::ffff:0:0/96, the upper 32 bits
V4_NETWORK, V6_NETWORK = np.uint64(1 << 63), np.uint64(1 << 62)
"""Marks of a network in one number: above the 40 upper bits of a mapped /24's low half, the 48 of an IPv6 /48."""


class Names:
    """Texts of label columns as numbers that hold for all messages; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[str, int]] = {name: {} for name in LABELS}

    def numbers(self, name: str, texts: Sequence[str]) -> Array:
        """u4: the numbers of a column's texts, in their order."""
        with self._lock:
            known = self._numbers[name]
            return np.array([known.setdefault(text, len(known)) for text in texts], "u4")

    def texts(self, name: str) -> list[str]:
        """All texts of a column, at their numbers."""
        with self._lock:
            return list(self._numbers[name])


def merged(parts: Sequence[Columns], name: str) -> Columns:
    """The groups of several parts of a set as one."""
    if len(parts) == 1:
        return parts[0]
    return summed({column: joined([part[column] for part in parts]) for column in parts[0]}, KEYS[name])


def summed(rows: Columns, keys: Sequence[str]) -> Columns:
    """Grouped by ``keys``: these, and every other column as its name wants it added up."""
    groups = Groups([rows[key] for key in keys], len(rows[keys[0]]))
    found = {key: groups.one(rows[key]) for key in keys}
    how = {LEAST: groups.least, MOST: groups.most, EITHER: groups.either}
    for name, values in rows.items():
        if name not in found:
            found[name] = how.get(name, groups.sum)(values)
    return found


def chosen(rows: Columns, which: Array) -> Columns:
    """The rows of a mask."""
    if which.all():
        return rows
    return taken(rows, np.flatnonzero(which))


def sums_of(rows: pa.Table, names: Names) -> dict[str, Columns] | None:
    """What a message's rows, as the sink inserts them, add up to: a set of groups for each of ``KEYS``.

    None where a time is outside of what the rollups' tables hold; the SQL decides of that.
    """
    message = _Message(rows, names)
    ends, starts = message["ts"], message["ts_start"]
    if int(min(ends.min(), starts.min())) < 2 * _LONGEST_MS or int(ends.max()) >= _LATEST_MS:
        return None
    return message.sets()


class _Message:
    """Columns of its rows as arrays; labels as codes of this message."""

    def __init__(self, rows: pa.Table, names: Names) -> None:
        self._rows, self._names = rows, names
        self._count = rows.num_rows
        self._present = set(rows.column_names)
        self._columns: Columns = {}
        self._numbers: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._columns:
            self._columns[name] = self._label(name) if BY_NAME[name].is_label else self._numeric(name)
        return self._columns[name]

    def sets(self) -> dict[str, Columns]:
        """All sets."""
        ends, starts, flags = self["ts"], self["ts_start"], self["flags"]
        minute = (ends // _MINUTE_MS).astype("u4")
        five = minute // np.uint32(5)
        lasted = ends - starts
        long = (lasted > _MINUTE_MS) & (lasted <= _LONGEST_MS)
        counters = {name: self[name] for name in _COUNTERS}
        counters = {"flows": constant(1, "i8", self._count)} | counters
        labels = {name: self[name] for name in LABELS}
        found = {"flow": self._flow(minute, long, labels, counters)}
        sound = (flags & np.uint32(_UNSOUND)) == 0
        ported = (self["proto"] == 6) | (self["proto"] == 17)
        port = {name: labels[name] for name in ("service", "segment", "access")} | {
            "minute": minute, "ip_version": self["ip_version"], "direction": self["direction"], "proto": self["proto"],
            "port": np.where(ported, self["lower_port"], np.uint16(0)),
            "no_port": np.where(ported, np.uint32(0), labels["bucket"] + np.uint32(1)),
        }  # fmt: skip
        found["port"] = summed(chosen(port | counters, sound), KEYS["port"])
        # A label of its own: 0 is no bucket, and the names' numbers begin at 0.
        numbers = np.concatenate([np.zeros(1, "u4"), self._numbers["bucket"] + np.uint32(1)])
        found["port"]["no_port"] = numbers[found["port"]["no_port"]]
        subscriber = {name: port[name] for name in ("minute", "service", "segment", "access", "direction")}
        subscriber["sub_id"] = self["sub_id"]
        found["subscriber"] = summed(chosen(subscriber | counters, sound & (self["sub_id"] != 0)), KEYS["subscriber"])
        once = sound & (self["copy"] != 1)
        found["as"] = summed(
            chosen({"five": five, "src_as": self["src_as"], "dst_as": self["dst_as"]} | counters, once), KEYS["as"]
        )
        halves = {side: self._halves(side) for side in ("src_addr", "dst_addr")}
        ends_of = []
        for side, (high, low) in enumerate(halves.values(), 1):
            rows = chosen({"five": five, "high": high, "low": low} | counters, once)
            part = summed(rows, ("five", "high", "low"))
            ends_of.append(part | {"side": constant(side, "u1", len(part["five"]))})
        found["talker"] = {name: joined([each[name] for each in ends_of]) for name in ends_of[0]}
        found["coverage"] = self._coverage(five, once & (self["sub_id"] == 0), halves)
        for name, part in found.items():
            for label in LABELS:
                if label in part and name != "flow":
                    part[label] = self._named(label, part[label])
        return found

    def _flow(self, minute: Array, long: Array, labels: Columns, counters: Columns) -> Columns:
        """``_flow.sql``: every row at its end, and what the longer ones carried in each of their minutes."""
        flags, copy = self["flags"], self["copy"]

        def flagged(flag: Flag) -> Array:
            found: Array = (flags & flag.value) != 0
            return found

        kind = np.select([flagged(Flag.IMPLAUSIBLE), flagged(Flag.SAMPLING_UNKNOWN), long], [3, 4, 2], 0).astype("u1")
        said = np.select([self["sub_id"] == 0, flagged(Flag.AMBIGUOUS_LEASE)], [2, 1], 0).astype("u1")
        both = ((copy == 1).astype("u1") << SECOND) | (flagged(Flag.OTHER_POINT).astype("u1") << ELSEWHERE)
        marks = kind | both | (said << SAID) | ((flags != 0).astype("u1") << FLAGGED)
        keys = {"marks": marks, "minute": minute} | labels | {
            name: self[name] for name in ("in_if", "out_if", "ip_version", "direction")
        }  # fmt: skip
        sources = np.uint16(1) << self["sampling_source"].astype("u2")
        sampling = {LEAST: self["sampling"], MOST: self["sampling"], EITHER: sources}
        if is_constant(self["sampling_source"]) and self._count:
            sampling[EITHER] = constant(sources[0], "u2", self._count)
        whole = summed(keys | counters | sampling, KEYS["flow"])
        spread = self._spread(keys, both, kind == 2)
        if spread is not None:
            whole = {name: np.concatenate([whole[name], spread[name].astype(whole[name].dtype)]) for name in whole}
        for name in LABELS:
            whole[name] = self._named(name, whole[name])
        return whole

    def _spread(self, keys: Columns, both: Array, long: Array) -> Columns | None:
        """Kind 1: what longer flows carried in each minute; a flow's shares sum to its value, in whole numbers."""
        at = np.flatnonzero(long)
        if not len(at):
            return None
        began, ended = self["ts_start"][at], self["ts"][at]
        first = began // _MINUTE_MS
        minutes = (ended - 1) // _MINUTE_MS - first + 1
        begins = np.cumsum(minutes) - minutes
        number = np.arange(int(minutes.sum())) - np.repeat(begins - first, minutes)
        row = np.repeat(at, minutes)
        began, lasted = np.repeat(began, minutes), np.repeat(ended - began, minutes)
        since = np.maximum(number * _MINUTE_MS - began, 0)
        until = np.minimum((number + 1) * _MINUTE_MS - began, lasted)
        # A flow counts once, in its first minute.
        rows = taken(keys, row)
        rows |= {"marks": both[row] | np.uint8(1), "minute": number.astype("u4"), "flows": (since == 0).astype("i8")}
        for name in _COUNTERS:
            values = self[name][row]
            whole, rest = values // lasted, values % lasted
            rows[name] = whole * (until - since) + rest * until // lasted - rest * since // lasted
        found = summed(rows, KEYS["flow"])
        blank = constant(0, "u4", len(found["flows"]))
        return found | {LEAST: blank, MOST: blank, EITHER: blank}

    def _coverage(self, five: Array, unmatched: Array, halves: Mapping[str, tuple[Array, Array]]) -> Columns:
        """Flows of nobody by the network of the end that is ours, of both ends where no direction is known."""
        rows = {"five": five, "exporter": self["exporter"], "flows": constant(1, "i8", self._count),
                "octets_est": self["octets_est"], "direction": self["direction"]}  # fmt: skip
        rows |= {name: _network(*half) for name, half in halves.items()}
        rows = chosen(rows, unmatched)
        pairs = [
            chosen({name: rows[name] for name in ("five", "exporter", "flows", "octets_est")} | {"network": rows[end]},
                   rows["direction"] != other)
            for end, other in (("src_addr", 2), ("dst_addr", 1))
        ]  # fmt: skip
        return summed({name: joined([pair[name] for pair in pairs]) for name in pairs[0]}, KEYS["coverage"])

    def _halves(self, name: str) -> tuple[Array, Array]:
        """An address column's upper and lower 64 bits, u8; the upper half is constant where all are IPv4."""
        column = self._column(name)
        if column is None or pa.types.is_run_end_encoded(column.type):
            value = bytes(16) if column is None else column.values[column.find_physical_offset()].as_py()
            return (constant(int.from_bytes(value[:8], "big"), "u8", self._count),
                    constant(int.from_bytes(value[8:], "big"), "u8", self._count))  # fmt: skip
        octets = np.frombuffer(column.buffers()[1], ">u8", 2 * self._count, 16 * column.offset).reshape(-1, 2)
        high, low = octets[:, 0], octets[:, 1].astype("u8")
        return high.astype("u8") if high.any() else constant(0, "u8", self._count), low

    def _numeric(self, name: str) -> Array:
        column, dtype = self._column(name), BY_NAME[name].numpy
        dtype = np.dtype("i8") if dtype.kind == "M" else dtype
        if column is None:
            return constant(0, dtype, self._count)
        if pa.types.is_timestamp(column.type):
            column = column.view(pa.int64())
        if pa.types.is_run_end_encoded(column.type):
            value = column.values[column.find_physical_offset()]
            return constant(value.value if pa.types.is_timestamp(value.type) else value.as_py(), dtype, self._count)
        array: Array = np.asarray(column)
        return array

    def _label(self, name: str) -> Array:
        """Codes; their numbers among all names beside them."""
        column = self._column(name)
        codes: Array = constant(0, "u4", self._count)
        texts = [""]
        if column is not None and pa.types.is_run_end_encoded(column.type):
            texts = [column.values[column.find_physical_offset()].as_py()]
        elif column is not None:
            column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            texts, codes = column.dictionary.to_pylist(), np.asarray(column.indices).astype("u4")
        self._numbers[name] = self._names.numbers(name, texts)
        return codes

    def _named(self, name: str, codes: Array) -> Array:
        if is_constant(codes):
            return constant(self._numbers[name][codes[0]], "u4", len(codes)) if len(codes) else codes
        found: Array = self._numbers[name][codes]
        return found

    def _column(self, name: str) -> pa.Array | None:
        if name not in self._present:
            return None
        return one_array(self._rows.column(name))


def _network(high: Array, low: Array) -> Array:
    """A /24 of IPv4 or a /48 of IPv6 as one number."""
    return np.where(
        (high == 0) & (low >> np.uint64(32) == IPV4),
        (low >> np.uint64(8)) | V4_NETWORK,
        (high >> np.uint64(16)) | V6_NETWORK,
    )
