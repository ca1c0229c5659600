"""A week of a service, asked of the store's hours and days: tables of minutes live shorter than a report looks back.

Ports, buckets and months are of all segments: a port table cannot tell them apart, and a total has them all.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dashboards.report.completeness import missing_days, missing_hours, silent_hours
from dashboards.report.hours import Hours, bucket_hours, volumes
from dashboards.report.model import DIRECTIONS, IN, OUT, Month, Quality, ServiceWeek, Users, Week
from dashboards.report.port_rows import port_rows
from dashboards.report.sources import Sources, sources_of
from dashboards.report.statistics import users_of
from sinks import Store

PORT_ACCESS = {"fixed": "pppoe", "mobile": "mobile"}
"""Whose flows tell ports, by service: IPoE is carried by a wholesale partner."""
PAIRS = 5_000
"""Users of the scatter."""
SEGMENTS = ("personal", "enterprise")

Progress = Callable[[str], object]
Row = Mapping[str, Any]
Rows = Sequence[Row]
Key = TypeVar("Key")

_COLUMNS = {IN: "octets_in", OUT: "octets_out"}

_IN_WEEK = "time >= toDateTime({since:UInt32}, 'UTC') AND time < toDateTime({until:UInt32}, 'UTC')"
_ON_DAYS = "day >= {monday:Date} AND day < {end:Date} AND service = {service:String}"
_HOURS = f"""
    SELECT intDiv(toUnixTimestamp(time) - {{since:UInt32}}, 3600) AS hour, toString(segment) AS segment,
        toString(access) AS access, ip_version, direction, toString(bucket) AS bucket,
        sum(octets_est) AS octets, sum(packets) AS sampled, sum(packets_est) AS estimated
    FROM bucket_1h
    WHERE {_IN_WEEK} AND service = {{service:String}} AND direction IN (1, 2)
    GROUP BY hour, segment, access, ip_version, direction, bucket
    ORDER BY ALL"""
_EXPORTERS = f"""
    SELECT toString(exporter) AS exporter,
        arraySort(groupUniqArray(intDiv(toUnixTimestamp(time) - {{since:UInt32}}, 3600))) AS hours
    FROM bucket_1h
    WHERE {_IN_WEEK} AND service = {{service:String}}
    GROUP BY exporter
    ORDER BY exporter"""
_ALL_FLOWS = f"""
    SELECT sum(octets_est) AS octets, sumIf(octets_est, service = '') AS unmatched FROM bucket_1h WHERE {_IN_WEEK}"""
_ACCOUNTED = f"""
    SELECT day, toString(source) AS source, toString(segment) AS segment, toString(access) AS access,
        sum(in_octets) AS octets_in, sum(out_octets) AS octets_out
    FROM v_accounting
    WHERE {_ON_DAYS}
    GROUP BY day, source, segment, access
    ORDER BY ALL"""
# Users of both sources and those who only had a lease, in one grouping.  FINAL: a user's segment may have been told
# again.  The key is a hash, so that no id leaves the store; its order chooses the scatter's users, the same every time.
_USERS = f"""
    SELECT sipHash64(sub_id, access) AS number, sum(octets_in) AS octets_in, sum(octets_out) AS octets_out,
        max(recorded) AS recorded, max(leased) AS leased
    FROM
    (
        SELECT sub_id, toString(access) AS access, if(direction = 1, octets_est, 0) AS octets_in,
            if(direction = 2, octets_est, 0) AS octets_out, 1 AS recorded, 0 AS leased
        FROM subscriber_1d
        WHERE {_ON_DAYS} AND segment = 'personal' AND {{netflow}}
        UNION ALL
        SELECT sub_id, toString(access), in_octets, out_octets, 1, 0
        FROM v_accounting
        WHERE {_ON_DAYS} AND segment = 'personal' AND {{accounting}}
        UNION ALL
        SELECT sub_id, toString(access), 0, 0, 0, 1
        FROM subscriber_seen_1d FINAL
        WHERE {_ON_DAYS} AND segment = 'personal'
    )
    GROUP BY sub_id, access"""
_SAMPLED = f"""
    SELECT direction, sum(packets) AS sampled, sum(octets_est) AS octets
    FROM subscriber_1d
    WHERE {_ON_DAYS} AND segment = 'personal' AND {{netflow}}
    GROUP BY direction"""
_PORTS = f"""
    SELECT ip_version, proto, lower_port AS port, sum(octets_est) AS octets, sum(packets) AS sampled
    FROM port_1d
    WHERE {_ON_DAYS} AND access = {{access:String}} AND direction IN (1, 2)
    GROUP BY ip_version, proto, port
    ORDER BY ALL"""
_FLOW_DAYS = f"""
    SELECT toDate(time, {{zone:String}}) AS day, toString(access) AS access, toUInt8(direction) AS way,
        sum(octets_est) AS octets
    FROM bucket_1h
    WHERE {_IN_WEEK} AND service = {{service:String}} AND direction IN (1, 2) AND {{netflow}}
    GROUP BY day, access, way
    ORDER BY ALL"""
_ACCOUNTED_DAYS = f"""
    SELECT day, toString(access) AS access, sum(in_octets) AS octets_in, sum(out_octets) AS octets_out
    FROM v_accounting
    WHERE {_ON_DAYS} AND {{accounting}}
    GROUP BY day, access
    ORDER BY ALL"""


def zone_of(store: Store) -> str:
    """The zone of the store's local hours and days."""
    told = store.query("SELECT argMax(value, made) AS zone FROM setting WHERE name = 'timezone'")
    return str(told.column("zone")[0].as_py())


def measure(
    store: Store, service: str, week: Week, *, school_week: bool = True, progress: Progress = lambda text: None
) -> ServiceWeek:
    """All that a report needs of a service's week; StoreUnavailable, StoreRefused."""
    sources = sources_of(store, service)
    access = PORT_ACCESS[service]
    progress(f"{service} {week}: hours")
    flows = store.query(_HOURS, service=service, since=week.since, until=week.until).to_pylist()
    progress(f"{service} {week}: accounting")
    accounted = store.query(_ACCOUNTED, **_days(week, service)).to_pylist()
    progress(f"{service} {week}: users")
    users, pairs = _users(store, service, week, sources)
    progress(f"{service} {week}: ports")
    ports = store.query(_PORTS, access=access, **_days(week, service))
    return ServiceWeek(
        week=week,
        service=service,
        school_week=school_week,
        volumes=volumes(
            week,
            _by_hour(week, flows, lambda row: (row["segment"], row["access"], row["direction"])),
            _by_day(accounted),
            sources.of,
        ),
        buckets=bucket_hours(
            _by_hour(week, (r for r in flows if r["access"] == access), lambda row: (row["ip_version"], row["bucket"])),
            access,
        ),
        ports=port_rows(
            access, *(_numbers(ports, name) for name in ("ip_version", "proto", "port", "octets", "sampled"))
        ),
        users=users,
        pairs=pairs,
        quality=_quality(store, service, week, sources, flows, accounted),
    )


def months(store: Store, first: date, last: date, services: Sequence[str]) -> tuple[Month, ...]:
    """Octets of the local months from that of ``first`` to that of ``last``, of the source that counts."""
    zone = zone_of(store)
    begin, end = first.replace(day=1), _next_month(last)
    moments = [int(datetime(day.year, day.month, 1, tzinfo=ZoneInfo(zone)).timestamp()) for day in (begin, end)]
    found: list[Month] = []
    for service in services:
        sources = sources_of(store, service)
        exceptions = sorted(sources.exceptions)
        flows = store.query(
            _filled(_FLOW_DAYS, sources), service=service, since=moments[0], until=moments[1], zone=zone,
            exceptions=exceptions,
        ).to_pylist()  # fmt: skip
        accounted = store.query(
            _filled(_ACCOUNTED_DAYS, sources), service=service, monday=begin, end=end, exceptions=exceptions
        ).to_pylist()
        days = [(row["day"], row["access"], row["way"], row["octets"]) for row in flows] + [
            (row["day"], row["access"], way, row[column]) for row in accounted for way, column in _COLUMNS.items()
        ]
        octets: dict[tuple[date, str, int], int] = defaultdict(int)
        told: dict[tuple[date, str], set[date]] = defaultdict(set)
        for day, access, way, carried in days:
            octets[day.replace(day=1), access, way] += carried
            if carried:
                told[day.replace(day=1), access].add(day)
        found += [
            Month(month, service, access, way, sources.of(access), carried, (_next_month(month) - month).days,
                  len(told[month, access]))
            for (month, access, way), carried in sorted(octets.items())
        ]  # fmt: skip
    return tuple(found)


def _users(
    store: Store, service: str, week: Week, sources: Sources
) -> tuple[dict[int, Users], NDArray[np.int64]]:  # fmt: skip
    """Personal users by direction, none where no volumes are told; and the scatter's octets a day."""
    days = len(week.days)
    asked = {**_days(week, service), "exceptions": sorted(sources.exceptions)}
    rows = store.query(_filled(_USERS, sources), **asked)
    recorded = _numbers(rows, "recorded").astype(bool)
    if not recorded.any():
        return {}, np.zeros((0, 2), "i8")
    seen = rows.num_rows if _numbers(rows, "leased").any() else 0
    octets = {way: _numbers(rows, column)[recorded] for way, column in _COLUMNS.items()}
    sampled = {row["direction"]: row for row in store.query(_filled(_SAMPLED, sources), **asked).to_pylist()}
    users = {}
    for way in DIRECTIONS:
        of_flows = sampled.get(way, {"sampled": 0, "octets": 0})
        users[way] = users_of(
            octets[way], way, seen=seen, days=days, packets=of_flows["sampled"], sampled_octets=of_flows["octets"]
        )
    both = np.flatnonzero((octets[IN] > 0) & (octets[OUT] > 0))
    chosen = both[np.argsort(rows["number"].to_numpy()[recorded][both], kind="stable")[:PAIRS]]
    pairs = np.maximum(np.stack([octets[IN][chosen], octets[OUT][chosen]], axis=1) // days, 1)
    # In order of their values: in that of the hash, a user would be found at about the same place of every week.
    return users, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _quality(
    store: Store, service: str, week: Week, sources: Sources, flows: Rows, accounted: Rows
) -> Quality:  # fmt: skip
    of_week = {"since": week.since, "until": week.until}
    of_all = store.query(_ALL_FLOWS, **of_week).to_pylist()[0]
    exporters = store.query(_EXPORTERS, service=service, **of_week).to_pylist()
    accesses = {row["access"] for row in flows}
    sampled = sum(row["sampled"] for row in flows)
    return Quality(
        hours=len(week.hours),
        missing_hours=missing_hours(week, {row["hour"] for row in flows}),
        silent=silent_hours(week, {row["exporter"]: row["hours"] for row in exporters}),
        missing_days=missing_days(
            week, [(row["day"], row["access"], row["source"]) for row in accounted], accesses, sources.of
        ),
        octets=of_all["octets"],
        unmatched_octets=of_all["unmatched"],
        unknown_segment_octets=sum(row["octets"] for row in flows if row["segment"] not in SEGMENTS),
        sampling=sum(row["estimated"] for row in flows) / sampled if sampled else 1.0,
        packets=sampled,
        sources={access: sources.of(access) for access in sorted(accesses | {row["access"] for row in accounted})},
    )


def _by_hour(week: Week, rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, Hours]:
    found: dict[Key, Hours] = defaultdict(lambda: np.zeros(len(week.hours), "i8"))
    for row in rows:
        found[key(row)][row["hour"]] += row["octets"]
    return dict(found)


def _by_day(accounted: Rows) -> dict[tuple[str, str, int], dict[date, int]]:
    found: dict[tuple[str, str, int], dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in accounted:
        for way, column in _COLUMNS.items():
            found[row["segment"], row["access"], way][row["day"]] += row[column]
    return found


def _days(week: Week, service: str) -> dict[str, object]:
    return {"monday": week.monday, "end": week.end, "service": service}


def _filled(sql: str, sources: Sources) -> str:
    """With the conditions of rows whose source counts."""
    return sql.replace("{netflow}", sources.where("netflow")).replace("{accounting}", sources.where("accounting"))


def _numbers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = rows[name].to_numpy().astype("i8")
    return numbers


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
