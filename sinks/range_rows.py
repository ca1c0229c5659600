"""The rows of every rollup for one range, from what its messages added up to (``message_sums``).

The outer halves of ``rollups/*.sql``: the same columns, the same rows, in no order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pyarrow as pa

from sinks.batch import constant
from sinks.message_sums import (
    EITHER,
    ELSEWHERE,
    FLAGGED,
    IPV4,
    LEAST,
    MOST,
    SAID,
    SECOND,
    SUMS,
    V4_NETWORK,
    Array,
    Columns,
    Names,
    chosen,
    merged,
    summed,
)
from sinks.rollup_tables import LABELS

_BUCKET = (*LABELS, "ip_version", "direction")
_PORT = ("service", "segment", "access", "ip_version", "direction", "proto", "port", "no_port")
_TALKERS = 1_000
_PREFIXES = 200
_SECONDS = pa.timestamp("s", "UTC")
_TIMES = ("time", "hour")

Local = Callable[[Sequence[int]], tuple[Sequence[int], Sequence[int]]]
"""Of minutes since 1970: the Unix seconds at which their local hours begin, and their local days since 1970."""


@dataclass(frozen=True, slots=True)
class RangeRows:
    """What a range inserts."""

    tables: Mapping[str, pa.Table]  # by rollup
    rows: int  # of raw, that are in them


def range_rows(parts: Sequence[Mapping[str, Columns]], names: Names, local: Local) -> RangeRows:
    """The rows of all rollups for the messages of these parts."""
    whole = {name: dict(merged([part[name] for part in parts], name)) for name in parts[0]}
    flow = whole["flow"]
    kind, elsewhere = flow["marks"] & 7, _bit(flow, ELSEWHERE)
    spread = chosen(flow, ((kind == 0) | (kind == 1)) & ~elsewhere)
    minutes = _bucket(spread, 60)
    hours, _ = _local(minutes["time"] // 60, local)
    port, subscriber = whole["port"], whole["subscriber"]
    port["hour"], _ = _local(port.pop("minute"), local)
    by_hour = summed(port, ("hour", *_PORT))
    _, subscriber["day"] = _local(subscriber.pop("minute"), local)
    found = {
        "bucket_1m": minutes,
        "bucket_5m": summed(minutes | {"time": minutes["time"] // 300 * 300}, ("time", *_BUCKET)),
        "bucket_1h": summed(minutes | {"time": hours}, ("time", *_BUCKET)),
        "bucket_end_5m": _bucket(chosen(flow, ((kind == 0) | (kind == 2)) & ~elsewhere), 300),
        "port_1h": by_hour,
        "port_1d": summed(
            {"day": _local(by_hour["hour"] // 60, local)[1]} | {name: by_hour[name] for name in (*_PORT, *SUMS)},
            ("day", *_PORT),
        ),
        "subscriber_1d": summed(subscriber, ("day", "sub_id", "service", "segment", "access", "direction")),
        "interface_1m": _interfaces(chosen(flow, ((kind == 0) | (kind == 1)) & ~_bit(flow, SECOND))),
        "exporter_1m": _exporters(chosen(flow, (kind != 1) & ~_bit(flow, SECOND))),
        "talker_5m": _talkers(whole["talker"]),
        "as_5m": {"time": whole["as"]["five"].astype("i8") * 300}
        | {name: array for name, array in whole["as"].items() if name != "five"},
    }
    tables = {name: _table(columns, names) for name, columns in found.items()}
    ended = chosen(flow, ((kind == 0) | (kind == 2)) & ~elsewhere & ~_bit(flow, SECOND))
    tables["lease_coverage_5m"] = _coverage(ended, whole["coverage"], names)
    return RangeRows(tables, int(flow["flows"][kind != 1].sum()))


def _local(minutes: Array, local: Local) -> tuple[Array, Array]:
    """Seconds of the local hour and the local day of each minute, i8."""
    if not len(minutes):
        return np.zeros(0, "i8"), np.zeros(0, "i8")
    low = int(minutes.min())
    at = minutes.astype("i8") - low
    present = np.zeros(int(at.max()) + 1, bool)
    present[at] = True
    found = np.flatnonzero(present)
    table = np.zeros((2, len(present)), "i8")
    table[:, found] = local((found + low).tolist())
    return table[0][at], table[1][at]


def _bit(flow: Columns, bit: int) -> Array:
    found: Array = (flow["marks"] >> bit & 1).astype(bool)
    return found


def _bucket(flow: Columns, seconds: int) -> Columns:
    """By the labels and so many seconds."""
    time = flow["minute"].astype("i8") * 60 // seconds * seconds
    return summed({"time": time} | {name: flow[name] for name in (*_BUCKET, *SUMS)}, ("time", *_BUCKET))


def _interfaces(flow: Columns) -> Columns:
    """A flow at the interface it came in by, and at the one it left by."""
    count = len(flow["marks"])
    ways = [
        {"time": flow["minute"].astype("i8") * 60, "exporter": flow["exporter"], "interface": flow[name],
         "direction": constant(way, "u1", count)} | {name: flow[name] for name in SUMS}
        for way, name in enumerate(("in_if", "out_if"), 1)
    ]  # fmt: skip
    rows = {name: np.concatenate([way[name] for way in ways]) for name in ways[0]}
    return summed(rows, ("time", "exporter", "interface", "direction"))


def _exporters(flow: Columns) -> Columns:
    kind, said = flow["marks"] & 7, flow["marks"] >> SAID & 3
    sound = (kind == 0) | (kind == 2)

    def where(which: Array, name: str) -> Array:
        found: Array = np.where(which, flow[name], 0)
        return found

    rows = {"time": flow["minute"].astype("i8") * 60, "exporter": flow["exporter"]}
    rows |= {name: where(sound, name) for name in SUMS}
    for name, which in (("unmatched", sound & (said == 2)), ("other_point", sound & _bit(flow, ELSEWHERE))):
        rows[f"{name}_flows"], rows[f"{name}_octets_est"] = where(which, "flows"), where(which, "octets_est")
    rows["unknown_rate_flows"], rows["unknown_rate_octets"] = where(kind == 4, "flows"), where(kind == 4, "octets")
    rows["implausible_flows"] = where(kind == 3, "flows")
    rows["flagged_flows"] = where(_bit(flow, FLAGGED), "flows")
    return summed(rows | {name: flow[name] for name in (LEAST, MOST, EITHER)}, ("time", "exporter"))


def _talkers(address: Columns) -> Columns:
    """The largest addresses and prefixes, and the sum of those left out; ``talker_5m.sql`` says why."""
    high, low = address["high"], address["low"]
    v4 = (high == 0) & (low >> np.uint64(32) == IPV4)
    prefix = address | {
        "high": np.where(v4, high, high >> np.uint64(16) << np.uint64(16)),
        "low": np.where(v4, low >> np.uint64(8) << np.uint64(8), np.uint64(0)),
        "length": np.where(v4, 120, 48).astype("u1"),
    }
    prefixes = summed(prefix, ("side", "five", "high", "low", "length"))
    pieces = []
    for kind, rows in enumerate((address | {"length": constant(128, "u1", len(low))}, prefixes)):
        bucket = rows["five"].astype("i8") << 2 | rows["side"]
        first = int(bucket.min()) if len(bucket) else 0
        for one in np.flatnonzero(np.bincount(bucket - first)) + first:
            piece = _largest(rows, np.flatnonzero(bucket == one))
            pieces.append(piece | {"kind": np.full(len(piece["cut"]), kind, "u4")})
    if not pieces:
        pieces.append(prefixes | dict.fromkeys(("kind", "cut"), np.zeros(0, "u4")))
    found = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return {"time": found.pop("five").astype("i8") * 300} | found


def _largest(rows: Columns, at: Array) -> Columns:
    """Of the rows ``at``: at most the thousand largest, and a row of all others with the largest figure among them."""
    if len(at) <= _TALKERS:
        return {name: array[at] for name, array in rows.items()} | {"cut": np.zeros(len(at), "i8")}
    # Whoever is as large as the last that counts, or larger: few, of which the order is then exact.
    octets = rows["octets_est"][at]
    least = np.partition(octets, len(at) - _TALKERS - 1)[len(at) - _TALKERS - 1]
    some = np.flatnonzero(octets >= least)
    order = some[np.lexsort((rows["low"][at[some]], rows["high"][at[some]], -octets[some]))]
    kept = at[order[:_TALKERS]]
    found = {name: array[kept] for name, array in rows.items()} | {"cut": np.zeros(_TALKERS, "i8")}
    others = {name: int(rows[name][at].sum()) - int(found[name].sum()) for name in SUMS}
    others |= {"five": int(rows["five"][at[0]]), "side": int(rows["side"][at[0]]), "high": 0, "low": 0, "length": 0,
               "cut": int(octets[order[_TALKERS]])}  # fmt: skip
    return {name: np.append(array, np.array(others[name], array.dtype)) for name, array in found.items()}


def _coverage(flow: Columns, network: Columns, names: Names) -> pa.Table:
    """Each exporter whole, prefix '', and the largest networks of what nobody held."""
    said = flow["marks"] >> SAID & 3
    rows = {"time": flow["minute"].astype("i8") // 5 * 300, "exporter": flow["exporter"]}
    for name, which in (("", None), ("attributed_", 0), ("ambiguous_", 1), ("unmatched_", 2)):
        for what in ("flows", "octets_est"):
            rows[name + what] = flow[what] if which is None else np.where(said == which, flow[what], 0)
    whole = summed(rows, ("time", "exporter"))
    order = np.lexsort((*_as_address(network["network"]), -network["octets_est"], network["exporter"], network["five"]))
    bucket = network["five"].astype("u8")[order] << np.uint64(32) | network["exporter"][order]
    begins = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1])[: len(bucket)])
    rank = np.arange(len(bucket)) - np.repeat(begins, np.diff(begins, append=len(bucket)))
    kept = order[rank < _PREFIXES]
    columns = {name: np.concatenate([array, np.zeros(len(kept), "i8")]) for name, array in whole.items()}
    at = slice(len(whole["time"]), None)
    columns["time"][at], columns["exporter"] = (
        network["five"][kept].astype("i8") * 300,
        np.concatenate([whole["exporter"], network["exporter"][kept]]),
    )
    columns["unmatched_flows"][at], columns["unmatched_octets_est"][at] = (
        network["flows"][kept],
        network["octets_est"][kept],
    )
    prefixes = [""] * len(whole["time"]) + [_prefix(int(number)) for number in network["network"][kept]]
    return _table(columns, names).append_column("prefix", pa.array(prefixes, pa.string()))


def _as_address(network: Array) -> tuple[Array, Array]:
    """Lower and upper half of its first address."""
    v4 = (network & V4_NETWORK) != 0
    return (np.where(v4, (network & np.uint64(0xFFFFFFFFFF)) << np.uint64(8), np.uint64(0)),
            np.where(v4, np.uint64(0), (network & np.uint64(0xFFFFFFFFFFFF)) << np.uint64(16)))  # fmt: skip


def _prefix(network: int) -> str:
    if network & int(V4_NETWORK):
        return f"{IPv4Address(network << 8 & 0xFFFFFFFF)}/24"
    return f"{IPv6Address((network & 0xFFFFFFFFFFFF) << 80)}/48"


def _table(columns: Columns, names: Names) -> pa.Table:
    """As the store takes it: times and days, texts of labels and kinds, addresses of two halves."""
    found: dict[str, pa.Array] = {}
    for name, array in columns.items():
        if name in _TIMES:
            found[name] = pa.array(array, pa.int64()).view(_SECONDS)
        elif name == "day":
            found[name] = pa.array(array.astype("u2"))
        elif name == "no_port":
            found["bucket"] = _texts(array, ["", *names.texts("bucket")])
        elif name == "kind":
            found[name] = _texts(array, ["address", "prefix"])
        elif name in LABELS:
            found[name] = _texts(array, names.texts(name))
        elif name == "high":
            octets = np.stack([array, columns["low"]], axis=1).astype(">u8").tobytes()
            found["prefix"] = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(array), [None, pa.py_buffer(octets)]
            )
        elif name != "low":
            found["lower_port" if name == "port" else name] = pa.array(np.ascontiguousarray(array))
    return pa.table(found)


def _texts(codes: Array, texts: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("u4")), pa.array(texts, pa.string()))
