"""The published weeks, from ``reference/iij-2024.json``, as if they had been frozen: to stand beside one's own.

Of the source report only the weeks of 2023 and 2024 are dated.  Both are the last that begins up to 3 June, and so
the others are taken to be; only their order and their years are told anywhere.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from dashboards.report.asking import PORT_ACCESS, zone_of
from dashboards.report.frozen import freeze
from dashboards.report.model import (
    ALL,
    DYNAMIC,
    IN,
    MB,
    OUT,
    PUBLISHED,
    SERVICE_NAMES,
    SERVICES,
    WELL_KNOWN,
    Port,
    Quality,
    ServiceWeek,
    Users,
    Week,
)
from sinks import Store

_TABLES = {"fixed": ("table1", "table3"), "mobile": ("table2", "table4")}
"""Of users and of ports."""
_PROTOCOLS = {"TCP": 6, "UDP": 17, "ESP": 50, "GRE": 47, "IPENCAP": 4, "ICMP": 1}
_GROUPS = {"total": ALL, "lt1024": WELL_KNOWN, "ge1024": DYNAMIC}
_WAYS = {IN: "in", OUT: "out"}
_METHODS = {
    # Daily volumes are of personal users since the edition of 2019; of PPPoE alone to 2020, of IPoE too from 2021.
    "fixed": ((2021, "iij-3"), (2019, "iij-2"), (0, "iij-1")),
    "mobile": ((2019, "iij-2"), (0, "iij-1")),
}
"""From which year on a method holds, the newest first.  Shares of ports are of PPPoE alone in all years."""


@cache
def reference() -> Mapping[str, Any]:
    """The file."""
    text = files("dashboards.report").joinpath("reference/iij-2024.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def published(zone: str) -> tuple[ServiceWeek, ...]:
    """All weeks: fixed 2007 to 2024, mobile 2015 to 2024, each oldest first; ports of the last five years."""
    return tuple(
        ServiceWeek(
            week=Week(_monday(row["year"]), zone),
            service=service,
            origin=PUBLISHED,
            method=next(method for since, method in _METHODS[service] if row["year"] >= since),
            label=str(row["year"]),
            ports=tuple(sorted(_ports(service, str(row["year"])), key=lambda port: (port.proto, port.port))),
            users={way: _users(service, row["year"], way, row[name]) for way, name in _WAYS.items()},
            quality=Quality(hours=0),
        )
        for service in SERVICES
        for row in reference()["tables"][_TABLES[service][0]]["rows"]
    )


def import_published(store: Store) -> None:
    """Put them among the store's frozen weeks; a repeat changes nothing.  StoreUnavailable, StoreRefused."""
    for week in published(zone_of(store)):
        freeze(store, week)


def _monday(year: int) -> date:
    last = date(year, 6, 3)
    return last - timedelta(days=last.weekday())


def _users(service: str, year: int, direction: int, told: Mapping[str, float]) -> Users:
    shares: Mapping[str, Any] = (
        reference()["stated"].get(f"concentration_{year}_pct", {}).get(SERVICE_NAMES[service], {})
    )
    top10, top1 = (shares[top][_WAYS[direction].upper()] / 100 if shares else None for top in ("top10", "top1"))
    mean, median, mode = (told[name] * MB for name in ("mean", "median", "mode"))
    return Users(direction, 0, 0, 0, 0, mean, median, mode, top10, top1)


def _ports(service: str, year: str) -> Iterator[Port]:
    for row in reference()["tables"][_TABLES[service][1]]["rows"]:
        if year in row["pct"]:
            port = _GROUPS.get(row["group"], row["port"])
            yield Port(PORT_ACCESS[service], 0, _PROTOCOLS[row["proto"]], port, 0, 0, row["pct"][year] / 100)
