"""Weeks for tests of the report, made by hand: the published numbers of a year as if they had been measured here."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dashboards.report import model
from dashboards.report.model import (
    ALL,
    DYNAMIC,
    IN,
    MB,
    OUT,
    WELL_KNOWN,
    Material,
    Month,
    Port,
    ServiceWeek,
    Users,
    Week,
)

ZONE = "Asia/Tokyo"
REFERENCE: Mapping[str, Any] = json.loads(
    (Path(model.__file__).parent / "reference/iij-2024.json").read_text(encoding="utf-8")
)
PROTOCOLS = {"TCP": 6, "UDP": 17, "ESP": 50, "GRE": 47, "IPENCAP": 4, "ICMP": 1}
GROUPS = {"total": ALL, "lt1024": WELL_KNOWN, "ge1024": DYNAMIC}
USERS = {"fixed": "table1", "mobile": "table2"}
PORTS = {"fixed": "table3", "mobile": "table4"}
MONDAYS = {2024: date(2024, 6, 3), 2023: date(2023, 5, 29), 2020: date(2020, 6, 1), 2019: date(2019, 6, 3)}
WEEK_OCTETS = 10**12
USERS_N = 20_000
OUT_HOURS = [62, 42, 28, 21, 18, 19, 27, 38, 44, 46, 48, 50, 56, 54, 52, 55, 60, 67, 76, 87, 95, 100, 97, 84]
IN_HOURS = [60, 48, 40, 36, 34, 35, 42, 52, 66, 82, 90, 93, 85, 97, 100, 98, 95, 88, 84, 82, 80, 78, 74, 68]
SOURCES: Mapping[str, Mapping[str, model.Source]] = {
    "fixed": {"pppoe": "netflow", "ipoe": "accounting"},
    "mobile": {"mobile": "accounting"},
}


def printed_users(service: str, year: int) -> Mapping[str, Mapping[str, float]]:
    """A row of Table 1 or 2."""
    rows = REFERENCE["tables"][USERS[service]]["rows"]
    return next(row for row in rows if row["year"] == year)


def printed_ports(service: str, year: int) -> dict[tuple[int, int], float]:
    """A column of Table 3 or 4, in percent."""
    return {
        (PROTOCOLS[row["proto"]], GROUPS.get(row["group"], row["port"])): row["pct"][str(year)]
        for row in REFERENCE["tables"][PORTS[service]]["rows"]
    }


def users(service: str, year: int, direction: int, n: int = USERS_N, *, packets: int = 0) -> Users:
    """Statistics as printed, over a hand-made histogram of three bins."""
    row = printed_users(service, year)["in" if direction == IN else "out"]
    name = {"fixed": "broadband", "mobile": "mobile"}[service]
    tops = REFERENCE["stated"]["concentration_2024_pct"][name]
    at = model.DIRECTIONS[direction]
    octets = round(row["mean"] * MB * n * 7)
    step = round(10 * np.log10(row["mode"] * MB))
    zero = n // 100
    return Users(
        direction, n, n - 10, zero, octets, row["mean"] * MB, row["median"] * MB, row["mode"] * MB,
        tops["top10"][at] / 100, tops["top1"][at] / 100, (step - 1, step, step + 2),
        (n // 4, n // 2, n - zero - n // 4 - n // 2), packets, octets if packets else 0,
    )  # fmt: skip


def ports(
    service: str, shares: Mapping[tuple[int, int], float], *, packets: int = 0, six: float = 0.25
) -> tuple[Port, ...]:
    """A port table of both IP versions with shares in percent; ``six`` of it is IPv6."""
    access = {"fixed": "pppoe", "mobile": "mobile"}[service]
    found = []
    for version, part in ((4, 1 - six), (6, six)):
        for (proto, port), share in ((((0, ALL), 100.0)), *shares.items()):
            octets, sampled = round(WEEK_OCTETS * part * share / 100), round(packets * part * share / 100)
            found.append(Port(access, version, proto, port, octets, sampled, part * share / 100))
    return tuple(found)


def volumes(service: str, monday: date, scale: float = 1.0) -> tuple[model.Volume, ...]:
    """Personal and enterprise octets by access, each weekday and weekend of the same hours."""
    found = []
    for access, source in SOURCES[service].items():
        for direction, hours in ((IN, IN_HOURS), (OUT, OUT_HOURS)):
            octets = np.array(hours * 7, "i8") * round(1e6 * scale * (1 if direction == IN else 10))
            profile = "" if source == "netflow" else "pppoe" if access == "ipoe" else "own flows"
            found += [
                model.Volume("personal", access, direction, source, octets * 9, profile),
                model.Volume("enterprise", access, direction, source, octets, profile),
            ]
    return tuple(found)


def buckets(service: str, shares: Mapping[str, int]) -> tuple[model.BucketHours, ...]:
    """Parts of each hour by bucket, of IPv4."""
    access = {"fixed": "pppoe", "mobile": "mobile"}[service]
    return tuple(
        model.BucketHours(access, 4, bucket, np.array(OUT_HOURS * 7, "i8") * part) for bucket, part in shares.items()
    )


def own(service: str, year: int, monday: date | None = None, **changes: Any) -> ServiceWeek:
    """A week measured here whose numbers are those printed for a year."""
    sampling = changes.pop("sampling", 1.0)
    packets = changes.pop("packets", 0)
    n = changes.pop("n", USERS_N)
    monday = monday or MONDAYS[year]
    quality = model.Quality(
        octets=WEEK_OCTETS,
        unmatched_octets=WEEK_OCTETS // 200,
        sources=SOURCES[service],
        sampling=sampling,
        packets=packets,
    )
    parts = {"tcp/80": 7, "tcp/443": 54, "tcp/>=1024": 6, "udp/443": 21, "other": 12}
    made: dict[str, Any] = {
        "volumes": volumes(service, monday),
        "buckets": buckets(service, parts),
        "ports": ports(service, printed_ports(service, year), packets=packets) if year >= 2020 else (),
        "users": {at: users(service, year, at, n, packets=packets) for at in (IN, OUT)},
        "pairs": np.column_stack([np.full(1_200, 10**8), 10 ** np.linspace(7.0, 10.5, 1_200)]).astype("i8"),
        "quality": quality,
    }
    return ServiceWeek(Week(monday, ZONE), service, **(made | changes))


def published(service: str) -> tuple[ServiceWeek, ...]:
    """The printed years, counted as the source report says."""
    found = []
    for row in REFERENCE["tables"][USERS[service]]["rows"]:
        year = row["year"]
        monday = next(date(year, 6, day) for day in range(1, 8) if date(year, 6, day).weekday() == 0)
        told = printed_ports(service, year) if year >= 2020 else {}
        method = "iij-1" if year < 2019 else "iij-2" if year < 2021 or service == "mobile" else "iij-3"
        found.append(
            ServiceWeek(
                Week(monday, ZONE),
                service,
                model.PUBLISHED,
                method,
                str(year),
                ports=tuple(
                    Port({"fixed": "pppoe", "mobile": "mobile"}[service], 0, proto, port, 0, 0, share / 100)
                    for (proto, port), share in told.items()
                ),
                users={
                    at: Users(
                        at,
                        0,
                        0,
                        0,
                        0,
                        row[name]["mean"] * MB,
                        row[name]["median"] * MB,
                        row[name]["mode"] * MB,
                        None,
                        None,
                    )
                    for at, name in ((IN, "in"), (OUT, "out"))
                },
            )
        )
    return tuple(found)


def months(levels: Mapping[str, Mapping[int, Mapping[date, float]]], **share: float) -> tuple[Month, ...]:
    """Octets a day by service, direction and month; ``share`` of an access over PPPoE, as ipoe=0.48."""
    found = []
    for service, directions in levels.items():
        for direction, told in directions.items():
            for first, a_day in told.items():
                days = (first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1) - first).days
                rest = 1.0
                if service == "fixed":
                    part = share.get(
                        f"ipoe_{model.DIRECTIONS[direction].lower()}_{first.year}", share.get("ipoe", 0.45)
                    )
                    rest = 1 - part
                    found.append(
                        Month(first, service, "ipoe", direction, "accounting", round(a_day * part * days), days, days)
                    )
                access = "pppoe" if service == "fixed" else "mobile"
                found.append(
                    Month(
                        first,
                        service,
                        access,
                        direction,
                        SOURCES[service][access],
                        round(a_day * rest * days),
                        days,
                        days,
                    )
                )
    return tuple(found)


def stated_levels() -> dict[str, dict[int, dict[date, float]]]:
    """Months whose growth is what the source report states, from a level of 10**12 octets a day in June 2019."""
    stated = REFERENCE["stated"]
    found: dict[str, dict[int, dict[date, float]]] = {}
    years, earlier = stated["growth_pct_past_year"], stated["growth_pct_year_before"]
    five = stated["broadband_growth_2019_06_to_2024_06"]
    for service, name in (("fixed", "broadband"), ("mobile", "mobile")):
        found[service] = {}
        for direction, at in ((IN, "IN"), (OUT, "OUT")):
            last = 1e12 * (five[at] if service == "fixed" else 2.0)
            then = last / (1 + years[name][at] / 100)
            found[service][direction] = {
                date(2019, 6, 1): 1e12,
                date(2020, 1, 1): last / stated["mobile_OUT_level_vs_2020_01"],
                date(2022, 6, 1): then / (1 + earlier[name][at] / 100),
                date(2023, 6, 1): then,
                date(2024, 6, 1): last,
            }
    return found


STATED_IPOE = {"ipoe_in_2024": 0.43, "ipoe_out_2024": 0.48, "ipoe_in_2023": 0.42, "ipoe_out_2023": 0.44}


def material(services: Iterable[str] = ("fixed", "mobile"), **changes: Any) -> Material:
    """A whole report's: weeks of 2024 and 2023, own years from 2019, the published ones, and stated months."""
    services = tuple(services)
    made: dict[str, Any] = {
        "services": services,
        "week": {service: own(service, 2024) for service in services},
        "compare": {service: own(service, 2023) for service in services},
        "profiles": {
            "fixed": tuple(own("fixed", 2024, day) for day in (date(2023, 9, 25), date(2024, 1, 29), MONDAYS[2024]))
        },
        "years": {
            service: (*published(service), own(service, 2019), own(service, 2020), own(service, 2020, date(2020, 2, 3)))
            for service in services
        },
        "months": months(stated_levels(), **STATED_IPOE),
        "missing": {},
        "made": datetime(2024, 6, 20, tzinfo=UTC),
    }
    return Material(**(made | changes))
