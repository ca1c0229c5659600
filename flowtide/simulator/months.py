"""Five years of months in few rows: the published growth of totals, for whatever reads volumes by month.

The level of a month follows the published ratios: between two months that they name it changes by the same factor
each month, and before the first by that of its first step.  IPoE's part of fixed lines is straight between the
published ones; it was nothing in ``_IPOE_BEGAN``, which is ours.  A day that has volumes in the store already keeps
them, and the rest of its month makes up for it.  All is of one enterprise an access: a total has it, the tables of
personal users have not.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa

from flowtide.simulator.direct import EXPORTERS, Plan, put
from flowtide.simulator.direct_users import SOURCES, import_rows, made
from flowtide.simulator.model import ipoe_shares, month_ratios
from sinks import Store

NEWEST = "2024-06"
"""The month whose level is 1."""
_IPOE_BEGAN = "2016-06"
_SEGMENT = "enterprise"
_SERVICE = {"pppoe": "fixed", "ipoe": "fixed", "mobile": "mobile"}
_PACKET = 1_000  # octets
_SHARES_ONLY = 2  # of mobile octets one in so many is in flows, too: they must not be added


class _Row(NamedTuple):
    day: date
    access: str
    direction: int
    octets: int


def level(service: str, direction: int, month: str) -> float:
    """Octets a day of a month, as "2024-06", over those of NEWEST."""
    ratios = month_ratios(service, direction)
    known = {NEWEST: 1.0}
    while more := {
        old: known[new] / ratio for (new, old), ratio in ratios.items() if new in known and old not in known
    }:
        known |= more
    return math.exp(_straight({each: math.log(value) for each, value in known.items()}, month))


def ipoe_share(direction: int, month: str) -> float:
    """IPoE's part of the octets of fixed lines."""
    return max(_straight({_IPOE_BEGAN: 0.0, **ipoe_shares(direction)}, month), 0.0)


def _straight(known: Mapping[str, float], month: str) -> float:
    """Between two of them, or beyond the first or last two."""
    places = sorted((_number(each), value) for each, value in known.items())
    at = _number(month)
    for (left, low), (right, high) in pairwise(places):
        if at <= right or right == places[-1][0]:
            return low + (high - low) * (at - left) / (right - left)
    raise ValueError(f"{month}: one month alone tells no course")


def _number(month: str) -> int:
    year, number = month.split("-")
    return int(year) * 12 + int(number) - 1


def write_months(store: Store, first: date, last: date, plan: Plan, octets_a_day: Mapping[tuple[str, int], int]) -> int:
    """Fill the days of these months (their first days, inclusive); returns the rows.

    ``octets_a_day``: by service and direction in NEWEST, of all users of the service.
    """
    there = _told(store, first, last, plan.zone)
    accounted: list[_Row] = []
    hourly: list[_Row] = []
    month = first
    while month <= last:
        for access, service in _SERVICE.items():
            for direction in (1, 2):
                wanted = octets_a_day[service, direction] * level(service, direction, f"{month:%Y-%m}")
                if service == "fixed":
                    share = ipoe_share(direction, f"{month:%Y-%m}")
                    wanted *= share if access == "ipoe" else 1 - share
                for day, octets in _filled(month, wanted, there.get((access, direction), {})):
                    if access in SOURCES:
                        accounted.append(_Row(day, access, direction, octets))
                    if access != "ipoe":
                        seen = octets // _SHARES_ONLY if access == "mobile" else octets
                        hourly.append(_Row(day, access, direction, seen))
        month = _next(month)
    if hourly:
        _write_hours(store, hourly, plan)
    if accounted:
        _write_accounting(store, accounted)
    return len(hourly) + len(accounted)


def _filled(month: date, wanted: float, held: Mapping[date, int]) -> Iterator[tuple[date, int]]:
    """The days of a month that have nothing, and octets with which it comes to ``wanted`` a day."""
    days = [month + timedelta(number) for number in range((_next(month) - month).days)]
    free = [day for day in days if day not in held]
    left = round(wanted * len(days)) - sum(held.get(day, 0) for day in days)
    if free and left < 0:
        raise ValueError(f"{month:%Y-%m}: the days that the store has come to more than the whole month should")
    for number, day in enumerate(free):
        yield day, left * (number + 1) // len(free) - left * number // len(free)


def _next(month: date) -> date:
    return (month + timedelta(31)).replace(day=1)


def _told(store: Store, first: date, last: date, zone: str) -> dict[tuple[str, int], dict[date, int]]:
    """What the store has by access, direction and local day: flows of PPPoE, accounting of the others."""
    found = store.query(
        "SELECT access, direction, toString(day) AS day, sum(octets) AS octets FROM ("
        " SELECT access, direction, toDate(time, {zone:String}) AS day, octets_est AS octets FROM bucket_1h"
        " WHERE access = 'pppoe' UNION ALL"
        " SELECT access, 1, day, in_octets FROM v_accounting UNION ALL"
        " SELECT access, 2, day, out_octets FROM v_accounting) AS told"
        " WHERE told.day >= {first:Date} AND told.day < {behind:Date} GROUP BY access, direction, day",
        zone=zone, first=first, behind=_next(last),
    ).to_pylist()  # fmt: skip
    there: dict[tuple[str, int], dict[date, int]] = {}
    for row in found:
        there.setdefault((row["access"], row["direction"]), {})[date.fromisoformat(row["day"])] = row["octets"]
    return there


def _write_hours(store: Store, rows: Sequence[_Row], plan: Plan) -> None:
    """All octets of a day in its hour from noon on."""
    rows = sorted(rows)
    zone = ZoneInfo(plan.zone)
    exporters = plan.exporters or EXPORTERS
    services = [_SERVICE[row.access] for row in rows]
    packets = pa.array([-(-row.octets // _PACKET) for row in rows], pa.int64())
    octets = pa.array([row.octets for row in rows], pa.int64())
    labels = {
        "exporter": [exporters[service][0] for service in services], "service": services,
        "segment": [_SEGMENT] * len(rows), "access": [row.access for row in rows], "sub_group": [""] * len(rows),
        "bucket": ["tcp/443"] * len(rows),
    }  # fmt: skip
    table = pa.table(
        {
            "time": pa.array([int(datetime.combine(row.day, time(12), zone).timestamp()) for row in rows], pa.uint32()),
            **{name: pa.array(values).dictionary_encode() for name, values in labels.items()},
            "ip_version": pa.array([4] * len(rows), pa.uint8()),
            "direction": pa.array([row.direction for row in rows], pa.uint8()),
            "flows": packets, "packets": packets, "packets_est": packets, "octets": octets, "octets_est": octets,
        }
    )  # fmt: skip
    put(store, "bucket_1h", table, "months")


def _write_accounting(store: Store, rows: Sequence[_Row]) -> None:
    sums: dict[tuple[date, str], list[int]] = {}
    for row in rows:
        sums.setdefault((row.day, row.access), [0, 0])[row.direction - 1] += row.octets
    keys = sorted(sums)
    sent, received = zip(*(sums[key] for key in keys), strict=True)
    days, accesses = zip(*keys, strict=True)
    table = pa.table(
        {
            "day": pa.array(days, pa.date32()), "source": pa.array([SOURCES[access] for access in accesses]),
            "made": pa.array([made(day) for day in days], pa.timestamp("us", "UTC")),
            "sub_id": pa.array([1 + list(SOURCES).index(access) for access in accesses], pa.uint64()),
            "service": pa.array([_SERVICE[access] for access in accesses]),
            "segment": pa.array([_SEGMENT] * len(keys)), "access": pa.array(accesses),
            "volume_source": pa.array(["accounting"] * len(keys)),
            "in_octets": pa.array(sent, pa.int64()), "out_octets": pa.array(received, pa.int64()),
        }
    )  # fmt: skip
    put(store, "accounting_1d", table, "months")
    imports = [(day, SOURCES[access], 1, sums[day, access][0], sums[day, access][1]) for day, access in keys]
    put(store, "accounting_import", import_rows(imports), "months")
