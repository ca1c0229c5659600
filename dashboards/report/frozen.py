"""Frozen weeks: what a report needs of a week, without any subscriber, kept when the flows it came from are gone.

A freezing writes a set, and its header last: a set is in force as a whole or not at all, the newest of a week.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dashboards.report.model import (
    IN,
    OUT,
    OWN,
    BucketHours,
    Port,
    Quality,
    ServiceWeek,
    Users,
    Volume,
    Week,
)  # fmt: skip
from sinks import Store

_KEY = [("monday", pa.date32()), ("service", pa.string()), ("origin", pa.string()), ("made", pa.timestamp("us", "UTC"))]
_WEEK = pa.schema(
    [*_KEY, ("until", pa.date32()), ("label", pa.string()), ("method", pa.string()), ("zone", pa.string()),
     ("school_week", pa.uint8()), ("hours", pa.uint16()), ("missing_hours", pa.list_(pa.uint32())),
     ("octets", pa.int64()), ("unmatched_octets", pa.int64()), ("sampling", pa.float64()), ("packets", pa.int64()),
     ("facts", pa.string()), ("checksum", pa.string())]
)  # fmt: skip
_HOUR = pa.schema(
    [*_KEY, ("hour", pa.uint16()), ("kind", pa.string()), ("segment", pa.string()), ("access", pa.string()),
     ("ip_version", pa.uint8()), ("direction", pa.uint8()), ("bucket", pa.string()), ("volume_source", pa.string()),
     ("profile", pa.string()), ("octets", pa.int64())]
)  # fmt: skip
_USER = pa.schema(
    [*_KEY, ("direction", pa.uint8()), ("seen", pa.uint64()), ("users", pa.uint64()), ("zero", pa.uint64()),
     ("octets", pa.int64()), ("mean", pa.float64()), ("median", pa.float64()), ("mode", pa.float64()),
     ("top10", pa.float64()), ("top1", pa.float64()), ("bins", pa.list_(pa.int16())),
     ("numbers", pa.list_(pa.uint64())), ("sample", pa.list_(pa.int64())), ("packets", pa.int64()),
     ("sampled_octets", pa.int64())]
)  # fmt: skip
_PORT = pa.schema(
    [*_KEY, ("access", pa.string()), ("ip_version", pa.uint8()), ("proto", pa.uint8()), ("port", pa.int32()),
     ("octets", pa.int64()), ("packets", pa.int64()), ("share", pa.float64())]
)  # fmt: skip
_SERIES = ("segment", "access", "direction", "ip_version", "bucket", "volume_source", "profile")
_IN_FORCE = "monday = {monday:Date} AND service = {service:String} AND origin = {origin:String}"
_OF_SET = f"{_IN_FORCE} AND made = fromUnixTimestamp64Micro({{made:Int64}}, 'UTC')"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Header:
    """A set that is in force."""

    monday: date
    service: str
    origin: str
    made: datetime
    label: str  # as it was given; empty: the week is called by its Monday
    method: str
    zone: str
    school_week: bool


def freeze(store: Store, week: ServiceWeek) -> None:
    """Put the week in force, as of ``week.made`` or now; one that is in force with the same content stays as it is.

    StoreUnavailable, StoreRefused: what was in force still is.
    """
    header = _header(week)
    tables = {"report_week_hour": (_HOUR, _hours(week)), "report_week_user": (_USER, _users(week)),
              "report_week_port": (_PORT, _ports(week))}  # fmt: skip
    # Dates and numbers as text: the same values have the same.
    told = json.dumps([header, *(rows for _, rows in tables.values())], default=str, sort_keys=True)
    header["checksum"] = hashlib.sha256(told.encode()).hexdigest()
    key = {"monday": week.week.monday, "service": week.service, "origin": week.origin}
    newest = store.query(
        f"SELECT checksum, toUnixTimestamp64Micro(made) AS at FROM v_report_week WHERE {_IN_FORCE}", **key
    ).to_pylist()
    if newest and newest[0]["checksum"] == header["checksum"]:
        return
    made = round((week.made or datetime.now(UTC)).timestamp() * 1_000_000)
    if newest:  # a clock that was set back must not leave the old set in force
        made = max(made, newest[0]["at"] + 1)
    key["made"] = made
    tables["report_week"] = (_WEEK, [header])  # the last
    for name, (schema, rows) in tables.items():
        table = pa.Table.from_pylist([{**key, **row} for row in rows], schema)
        token = f"report/{week.week.monday}/{week.service}/{week.origin}/{made}/{name}/{header['checksum']}"
        store.insert(name, table, token=token)


def load(store: Store, monday: date, service: str, origin: str = OWN) -> ServiceWeek | None:
    """The set in force; None: there is none.  StoreUnavailable, StoreRefused."""
    key: dict[str, object] = {"monday": monday, "service": service, "origin": origin}
    headers = store.query(
        f"SELECT made, toUnixTimestamp64Micro(made) AS at, label, method, zone, school_week, facts FROM report_week"
        f" WHERE {_IN_FORCE} ORDER BY made DESC LIMIT 1", **key,
    ).to_pylist()  # fmt: skip
    if not headers:
        return None
    header = headers[0]
    key["made"] = header["at"]

    def rows(table: str, order: str) -> list[Row]:
        found: list[Row] = store.query(f"SELECT * FROM {table} WHERE {_OF_SET} ORDER BY {order}", **key).to_pylist()
        return found

    volumes, buckets = _hours_of(rows("report_week_hour", f"{', '.join(_SERIES)}, hour"))
    users = rows("report_week_user", "direction")
    return ServiceWeek(
        week=Week(monday, header["zone"]),
        service=service,
        origin=origin,
        method=header["method"],
        label=header["label"],
        made=_utc(header["made"]),
        school_week=bool(header["school_week"]),
        volumes=volumes,
        buckets=buckets,
        ports=tuple(
            Port(*(row[name] for name in ("access", "ip_version", "proto", "port", "octets", "packets", "share")))
            for row in rows("report_week_port", "access, ip_version, proto, port")
        ),
        users={row["direction"]: _users_of(row) for row in users},
        pairs=_pairs_of({row["direction"]: row["sample"] for row in users}),
        quality=_quality_of(header["facts"]),
    )


def listed(store: Store) -> tuple[Header, ...]:
    """All sets in force, oldest week first; StoreUnavailable, StoreRefused."""
    # The table: the view puts the Monday in place of an empty label.
    rows = store.query(
        "SELECT monday, service, origin, max(made) AS newest, argMax(label, made) AS label,"
        " argMax(method, made) AS method, argMax(zone, made) AS zone, argMax(school_week, made) AS school_week"
        " FROM report_week GROUP BY monday, service, origin ORDER BY monday, service, origin"
    ).to_pylist()
    return tuple(
        Header(row["monday"], row["service"], row["origin"], _utc(row["newest"]), row["label"], row["method"],
               row["zone"], bool(row["school_week"]))
        for row in rows
    )  # fmt: skip


def _header(week: ServiceWeek) -> Row:
    quality = week.quality
    return {
        "until": week.week.end, "label": week.label, "method": week.method, "zone": week.week.zone,
        "school_week": int(week.school_week), "hours": quality.hours, "missing_hours": list(quality.missing_hours),
        "octets": quality.octets, "unmatched_octets": quality.unmatched_octets, "sampling": quality.sampling,
        "packets": quality.packets, "facts": _facts(quality),
    }  # fmt: skip


def _hours(week: ServiceWeek) -> list[Row]:
    none = {"segment": "", "ip_version": 0, "direction": 0, "bucket": "", "volume_source": "", "profile": ""}
    series = [
        ({"kind": "volume", "segment": one.segment, "access": one.access, "direction": one.direction,
          "volume_source": one.source, "profile": one.profile}, one.octets)
        for one in week.volumes
    ] + [
        ({"kind": "bucket", "access": one.access, "ip_version": one.ip_version, "bucket": one.bucket}, one.octets)
        for one in week.buckets
    ]  # fmt: skip
    return [
        {**none, **of, "hour": hour, "octets": carried}
        for of, octets in series
        for hour, carried in enumerate(octets.tolist())
    ]


def _users(week: ServiceWeek) -> list[Row]:
    return [
        {**asdict(users), "sample": week.pairs[:, (IN, OUT).index(way)].tolist()}
        for way, users in sorted(week.users.items())
    ]


def _ports(week: ServiceWeek) -> list[Row]:
    return [asdict(port) for port in week.ports]


def _hours_of(rows: Iterable[Row]) -> tuple[tuple[Volume, ...], tuple[BucketHours, ...]]:
    """Volumes and buckets; the rows of a series are in order of its hours."""
    of_volumes: dict[tuple[str, ...], tuple[Row, list[int]]] = {}
    of_buckets: dict[tuple[str, ...], tuple[Row, list[int]]] = {}
    for row in rows:
        which = of_volumes if row["kind"] == "volume" else of_buckets
        key = tuple(str(row[name]) for name in _SERIES)
        which.setdefault(key, (row, []))[1].append(row["octets"])
    return (
        tuple(
            Volume(row["segment"], row["access"], row["direction"], row["volume_source"], np.array(octets, "i8"),
                   row["profile"])
            for row, octets in of_volumes.values()
        ),
        tuple(
            BucketHours(row["access"], row["ip_version"], row["bucket"], np.array(octets, "i8"))
            for row, octets in of_buckets.values()
        ),
    )  # fmt: skip


def _users_of(row: Row) -> Users:
    told = {field.name: row[field.name] for field in fields(Users)}
    return Users(**{**told, "bins": tuple(row["bins"]), "numbers": tuple(row["numbers"])})


def _pairs_of(samples: Mapping[int, Sequence[int]]) -> NDArray[np.int64]:
    return np.array([samples.get(IN, ()), samples.get(OUT, ())], "i8").reshape(2, -1).T


def _facts(quality: Quality) -> str:
    return json.dumps(asdict(quality), default=str, sort_keys=True)


def _quality_of(facts: str) -> Quality:
    told = json.loads(facts)
    return Quality(**{
        **told,
        "missing_hours": tuple(told["missing_hours"]),
        "silent": {name: tuple(hours) for name, hours in told["silent"].items()},
        "missing_days": {
            name: tuple(date.fromisoformat(day) for day in days) for name, days in told["missing_days"].items()
        },
    })  # fmt: skip


def _utc(made: datetime) -> datetime:
    return made.replace(tzinfo=UTC)
