"""The users' weeks straight in the rollup and daily tables: what the pipeline would have left there, in seconds.

Octets are exact: a user's week, a service's hours and the shares of ports are those of the model, rounded to whole
octets so that sums stay what they were.  All tables say the same: an hour of ``port_1h`` is that of ``bucket_1h``.
A flow lies in one bucket of time, so that ``bucket_5m`` and ``bucket_end_5m`` are equal.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from enricher.subscribers import sub_ids
from flowtide.simulator.curves import day_levels, utc_offsets
from flowtide.simulator.kinds import KINDS, SIZES, TCP, UDP, shares
from flowtide.simulator.model import hour_shape
from flowtide.simulator.population import ACCESSES, SEGMENTS, SERVICES, Population
from flowtide.simulator.scenario import PeoplePlan
from sinks import Store
from sinks.inserts import MAX_ROWS
from sinks.rollup_tables import MEASURES
from sinks.schema import BUCKETS

TABLES = ("subscriber_1d", "port_1h", "port_1d", "bucket_1h", "bucket_5m", "bucket_end_5m")
DIMENSIONS = ("segment", "group", "ip_version")
EXPORTERS = {
    "fixed": tuple(f"192.0.2.{at}" for at in range(1, 5)),
    "mobile": tuple(f"192.0.2.{at}" for at in range(5, 9)),
}
"""By service; each has as much as the others."""

Share = Callable[[str, NDArray[np.int64]], NDArray[np.float64]]
"""Of a service and Unix seconds: QUIC's share of the octets of port 443, 0 to 1."""

_STEP_SECONDS = 300
_STEPS_AN_HOUR = 12
_PORTS_AN_HOUR = 48  # of a kind that has a thousand: all of them come within a day, and none is among the first
_MONDAY = 4  # Unix days modulo 7; 1970-01-01 was a Thursday
_FLOW_PACKETS = 20  # of a whole flow; few of them are seen when packets are sampled
_TCP443 = next(at for at, kind in enumerate(KINDS) if kind.name == "TCP/443")
_UDP443 = next(at for at, kind in enumerate(KINDS) if kind.name == "UDP/443")

Counts = NDArray[np.int64]
"""Whole numbers whose last axis is MEASURES."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the weeks are told."""

    zone: str
    key: bytes = bytes(32)  # of the subscribers' ids, as the enricher has it
    tables: Collection[str] = TABLES
    scale: float = 1  # times the octets of the population
    sampling: int = 1  # packets are 1 in so many; estimates are not changed by it
    exporters: Mapping[str, Sequence[str]] | None = None  # as EXPORTERS
    apart: Collection[str] = ("segment", "ip_version")  # of DIMENSIONS; the others are left unknown, for fewer rows
    share: Share | None = None  # published: the same at all times


@dataclass(frozen=True, slots=True)
class _Scope:
    """Users who are one line of a table."""

    service: str
    segment: str
    access: str
    group: str
    ip_version: int
    octets: tuple[int, int]  # of the week, by direction


def write_weeks(
    store: Store, population: Population, people: PeoplePlan, weeks: Sequence[date], plan: Plan
) -> dict[str, int]:
    """Fill the plan's tables with these weeks (local Mondays) and return the rows of each; a repeat changes nothing."""
    unknown = set(plan.tables) - set(TABLES) | set(plan.apart) - set(DIMENSIONS)
    if unknown:
        raise ValueError(f"unknown: {min(unknown)}; tables are {', '.join(TABLES)}, dimensions {', '.join(DIMENSIONS)}")
    written = dict.fromkeys(plan.tables, 0)
    users = user_columns(population, plan.key) if "subscriber_1d" in plan.tables else None
    for monday in weeks:
        if monday.weekday():
            raise ValueError(f"{monday} is not a Monday")
        for name, table in _tables(population, people, monday, plan, users):
            written[name] += table.num_rows
            put(store, name, table, str(monday))
    return written


def put(store: Store, name: str, table: pa.Table, of: str) -> None:
    """Insert it in parts; the same rows of the same week again change nothing."""
    for part, first in enumerate(range(0, table.num_rows, MAX_ROWS)):
        rows = table.slice(first, MAX_ROWS)
        store.insert(name, rows, token=f"direct/{name}/{of}/{part}/{_digest(rows)}")


def _tables(
    population: Population, people: PeoplePlan, monday: date, plan: Plan, users: dict[str, pa.Array] | None
) -> Iterator[tuple[str, pa.Table]]:
    wanted = plan.tables
    if users is not None:
        yield "subscriber_1d", _subscribers(population, people, users, monday, plan)
    rest = set(wanted) - {"subscriber_1d"}
    if not rest:
        return
    times = _times(monday, plan.zone)
    lines = [
        (scope, direction, _counted(scope, direction, times, people.year, plan))
        for scope in _scopes(population, plan)
        for direction in (1, 2)
        if scope.octets[direction - 1]
    ]
    if rest & {"port_1h", "port_1d"}:
        ports = _ports(lines, times, plan.zone)
        if "port_1h" in wanted:
            yield "port_1h", ports.drop_columns("day")
        if "port_1d" in wanted:
            yield "port_1d", _of_days(ports)
    if rest & {"bucket_1h", "bucket_5m", "bucket_end_5m"}:
        columns, counts = _buckets(lines, plan.exporters or EXPORTERS)
        if "bucket_1h" in wanted:
            by_hour = counts.reshape(-1, _STEPS_AN_HOUR, *counts.shape[1:]).sum(axis=1)
            yield "bucket_1h", _laid_out(columns, "time", times[::_STEPS_AN_HOUR], by_hour)
        if rest & {"bucket_5m", "bucket_end_5m"}:
            table = _laid_out(columns, "time", times, counts)
            yield from ((name, table) for name in ("bucket_5m", "bucket_end_5m") if name in wanted)


def week_octets(population: Population, scale: float = 1) -> NDArray[np.int64]:
    """Octets of each user in a whole week, (n, 2)."""
    octets: NDArray[np.int64] = np.rint(population.octets_a_day * (7 * scale)).astype("i8")
    return octets


def day_octets(population: Population, scale: float = 1) -> NDArray[np.int64]:
    """Octets of each user on each day of the week, Monday first: (7, 2, n)."""
    octets = week_octets(population, scale)
    found = np.empty((7, 2, len(population)), "i8")
    for number, service in enumerate(SERVICES):
        rows = np.flatnonzero(population.service == number)
        for way in (0, 1):
            levels = np.tile(day_levels(service, way + 1), (len(rows), 1))
            found[:, way, rows] = _parted(octets[rows, way], levels).T
    return found


def _scopes(population: Population, plan: Plan) -> list[_Scope]:
    octets = week_octets(population, plan.scale)
    six = np.rint(octets * population.ipv6_share[:, None]).astype("i8")
    by_version = ((4, octets - six), (6, six)) if "ip_version" in plan.apart else ((4, octets),)
    segment = population.segment.astype("i8") if "segment" in plan.apart else np.full(len(population), -1)
    group = population.group.astype("i8") if "group" in plan.apart else np.full(len(population), -1)
    keys = np.stack([population.service, segment, population.access, group], axis=1)
    distinct, which = np.unique(keys, axis=0, return_inverse=True)
    return [
        _Scope(
            SERVICES[service], SEGMENTS[of] if of >= 0 else "unknown", ACCESSES[access],
            population.groups[at] if at >= 0 else "", version, (int(total[0]), int(total[1])),
        )
        for number, (service, of, access, at) in enumerate(distinct.tolist())
        for version, each in by_version
        for total in [each[which.reshape(-1) == number].sum(axis=0)]
    ]  # fmt: skip


def _times(monday: date, zone: str) -> NDArray[np.int64]:
    """Begin of each five minutes of the local week, Unix seconds."""
    begin, end = (
        int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())
        for day in (monday, monday + timedelta(days=7))
    )
    return np.arange(begin, end, _STEP_SECONDS)


def _counted(scope: _Scope, direction: int, times: NDArray[np.int64], year: int, plan: Plan) -> Counts:
    """(steps, kinds, measures) of a scope's week."""
    local = (times + utc_offsets(plan.zone, times)).astype("i8")
    hour, day = local // 3_600 % 24, (local // 86_400 - _MONDAY) % 7
    curve = np.array([hour_shape(scope.service, direction, weekend=weekend) for weekend in (False, True)])
    octets = _parted(np.array([scope.octets[direction - 1]]), curve[(day >= 5).astype(int), hour][None, :])[0]
    mix = np.tile(shares(scope.service, year), (len(times), 1))
    if plan.share is not None:
        both = mix[:, _TCP443] + mix[:, _UDP443]
        quic = np.clip(plan.share(scope.service, times), 0, 1)
        mix[:, _TCP443], mix[:, _UDP443] = both * (1 - quic), both * quic
    estimated = _parted(octets, mix)
    packets = np.ceil(estimated / SIZES[:, direction - 1]).astype("i8")
    return _measures(estimated, packets, plan.sampling)


def _measures(estimated: NDArray[np.int64], packets: NDArray[np.int64], sampling: int) -> Counts:
    """Of true octets and packets, what one packet in ``sampling`` leaves; on a new last axis."""
    seen = packets // sampling
    values = {
        "flows": -(-seen // max(1, round(_FLOW_PACKETS / sampling**0.5))), "packets": seen, "packets_est": packets,
        "octets": estimated // sampling, "octets_est": estimated,
    }  # fmt: skip
    return np.stack([values[name] for name in MEASURES], axis=-1)


def _parted(whole: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers of each row of ``weights``, in its proportions, that add up to ``whole``."""
    until = np.cumsum(weights, axis=1)
    until /= until[:, -1:]
    edges = np.rint(whole[:, None] * until).astype("i8")
    edges[:, -1] = whole
    return np.diff(edges, axis=1, prepend=0)


def _dealt(counts: Counts, among: int) -> Counts:
    """The same in ``among`` parts that are as equal as whole numbers can be, on a new axis before the last."""
    edges = counts[..., None, :] * np.arange(among + 1)[:, None] // among
    return np.diff(edges, axis=-2)


def _buckets(
    lines: Sequence[tuple[_Scope, int, Counts]], exporters: Mapping[str, Sequence[str]]
) -> tuple[dict[str, pa.Array], Counts]:
    """Key columns of the rows of one step, and (steps, rows, measures)."""
    keys: list[tuple[object, ...]] = []
    parts = []
    for scope, direction, counts in lines:
        own = [np.array([kind.bucket == bucket for kind in KINDS]) for bucket in BUCKETS]
        summed = np.stack([counts[:, which].sum(axis=1) for which in own], axis=1)
        devices = exporters[scope.service]
        parts.append(_dealt(summed, len(devices)).reshape(len(counts), -1, len(MEASURES)))
        keys += [
            (device, scope.service, scope.segment, scope.access, scope.group, scope.ip_version, direction, bucket)
            for bucket in BUCKETS
            for device in devices
        ]
    names = ("exporter", "service", "segment", "access", "sub_group", "ip_version", "direction", "bucket")
    return _columns(names, keys), np.concatenate(parts, axis=1)


def _ports(lines: Sequence[tuple[_Scope, int, Counts]], times: NDArray[np.int64], zone: str) -> pa.Table:
    """Rows of port_1h, and their local day."""
    keys: list[tuple[object, ...]] = []
    parts, ports = [], []
    hours = np.arange(len(times) // _STEPS_AN_HOUR)
    merged: dict[tuple[object, ...], Counts] = {}
    for scope, direction, counts in lines:  # there are no groups here
        scoped: tuple[object, ...] = (scope.service, scope.segment, scope.access, scope.ip_version, direction)
        merged[scoped] = merged.get(scoped, 0) + counts.reshape(-1, _STEPS_AN_HOUR, *counts.shape[1:]).sum(axis=1)
    for scoped, by_hour in merged.items():
        for at, kind in enumerate(KINDS):
            among = min(len(kind.ports), _PORTS_AN_HOUR) if kind.ports else 1
            parts.append(_dealt(by_hour[:, at], among))
            turn = (hours[:, None] * among + np.arange(among)) % max(len(kind.ports), 1)
            ports.append(np.array(kind.ports or (kind.port,), "u2")[turn])
            label = "" if kind.proto in (TCP, UDP) else kind.bucket
            keys += [(*scoped, kind.proto, label)] * among
    names = ("service", "segment", "access", "ip_version", "direction", "proto", "bucket")
    port = np.concatenate(ports, axis=1)
    table = _laid_out(_columns(names, keys), "hour", times[::_STEPS_AN_HOUR], np.concatenate(parts, axis=1), port)
    begin = table["hour"].to_numpy().astype("i8")
    day = (begin + utc_offsets(zone, begin)) // 86_400
    return table.append_column("day", pa.array(day.astype("i4")).cast(pa.date32()))


def _of_days(ports: pa.Table) -> pa.Table:
    names = ["day", *(name for name in ports.column_names if name not in ("hour", "day", *MEASURES))]
    summed = ports.group_by(names, use_threads=False).aggregate([(name, "sum") for name in MEASURES])
    return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names])


def user_columns(population: Population, key: bytes) -> dict[str, pa.Array]:
    """Key columns of the users' tables that no day changes, a row a user."""
    service, access = ([labels[code] for code in codes.tolist()] for labels, codes in (
        (SERVICES, population.service), (ACCESSES, population.access),
    ))  # fmt: skip
    identities = zip(service, population.subscriber, access, strict=True)
    return {
        "sub_id": pa.array(sub_ids(key, identities)),
        "service": _labels(SERVICES, population.service),
        "segment": _labels(SEGMENTS, population.segment),
        "access": _labels(ACCESSES, population.access),
    }


def _subscribers(
    population: Population, people: PeoplePlan, users: dict[str, pa.Array], monday: date, plan: Plan
) -> pa.Table:
    """A row a user, local day and direction; in order of the days."""
    count = len(population)
    estimated = day_octets(population, plan.scale)
    sizes = np.array([1 / (shares(service, people.year)[:, None] / SIZES).sum(axis=0) for service in SERVICES])
    packets = np.ceil(estimated / sizes[population.service].T).astype("i8")
    values = _measures(estimated.ravel(), packets.ravel(), plan.sampling)
    every = pa.array(np.tile(np.arange(count), 14))
    first = (monday - date(1970, 1, 1)).days
    return pa.table(
        {
            "day": pa.array(np.repeat(np.arange(first, first + 7, dtype="i4"), 2 * count)).cast(pa.date32()),
            **{name: column.take(every) for name, column in users.items()},
            "direction": pa.array(np.tile(np.repeat(np.array([1, 2], "u1"), count), 7)),
            **{name: pa.array(values[..., at]) for at, name in enumerate(MEASURES)},
        }
    )


def _columns(names: Sequence[str], keys: Sequence[tuple[object, ...]]) -> dict[str, pa.Array]:
    """Key columns; texts as dictionaries."""
    columns = {}
    for name, values in zip(names, zip(*keys, strict=True), strict=True):
        numbers = isinstance(values[0], int)
        columns[name] = pa.array(values, pa.uint8()) if numbers else pa.array(values).dictionary_encode()
    return columns


def _laid_out(
    columns: dict[str, pa.Array], time: str, times: NDArray[np.int64], counts: Counts,
    port: NDArray[np.uint16] | None = None,
) -> pa.Table:  # fmt: skip
    """One row a step and key, in order of time, without those of nothing."""
    there = np.flatnonzero(counts[..., MEASURES.index("octets_est")])
    key = pa.array(there % counts.shape[1])
    table = {time: pa.array(times[there // counts.shape[1]].astype("u4"))}
    table |= {name: column.take(key) for name, column in columns.items()}
    if port is not None:
        table["lower_port"] = pa.array(port.ravel()[there])
    flat = counts.reshape(-1, len(MEASURES))
    return pa.table(table | {name: pa.array(flat[there, at]) for at, name in enumerate(MEASURES)})


def _labels(labels: Sequence[str], codes: NDArray[np.uint8]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("i4")), pa.array(labels))


def _digest(rows: pa.Table) -> str:
    """Of the values: another population's week is another insert."""
    digest = hashlib.sha256()
    for column in rows.unify_dictionaries().combine_chunks().columns:
        for chunk in column.chunks:
            values = chunk.dictionary_encode() if pa.types.is_string(chunk.type) else chunk
            if pa.types.is_dictionary(values.type):
                digest.update("\0".join(values.dictionary.to_pylist()).encode())
                values = values.indices
            digest.update(np.asarray(values).tobytes())
    return digest.hexdigest()[:16]
