"""The acceptance checks of a report: each is given what was measured and what is true, and fails by AssertionError.

Published figures are read here from the transcription of the source report (IIJ, Internet Infrastructure Review
Vol. 64, chapter 1), by code of its own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dashboards.report
from dashboards.report.model import ALL, DYNAMIC, IN, OUT, WELL_KNOWN, ServiceWeek, Users

PUBLISHED: dict[str, Any] = json.loads(
    (Path(dashboards.report.__file__).parent / "reference" / "iij-2024.json").read_text(encoding="utf-8")
)
STATED: dict[str, Any] = PUBLISHED["stated"]
NAMES = {"fixed": "broadband", "mobile": "mobile"}
WAYS = {IN: "in", OUT: "out"}
ACCESS = {"fixed": "pppoe", "mobile": "mobile"}
"""Of the port tables."""
LAST_DIGIT = {"fixed": 1.0, "mobile": 0.1}
"""Of the printed MB a day."""
PROTOCOLS = {"TCP": 6, "UDP": 17, "ESP": 50, "GRE": 47, "IPENCAP": 4, "ICMP": 1}
_GROUPS = {"total": ALL, "lt1024": WELL_KNOWN, "ge1024": DYNAMIC}
_TABLES = {"fixed": ("table1", "table3"), "mobile": ("table2", "table4")}
SIGMAS = 4

Row = tuple[int, int]
"""Protocol and lower port of a row of a port table, or ALL, WELL_KNOWN, DYNAMIC."""


def printed_users(service: str) -> dict[int, dict[str, dict[str, float]]]:
    """Mean, median and mode in MB a day, by year and "in" or "out"."""
    return {row["year"]: row for row in PUBLISHED["tables"][_TABLES[service][0]]["rows"]}


def printed_ports(service: str, year: int) -> dict[Row, float]:
    """Percent of all octets, by row."""
    return {
        (PROTOCOLS[row["proto"]], row["port"] or _GROUPS[row["group"]]): row["pct"][str(year)]
        for row in PUBLISHED["tables"][_TABLES[service][1]]["rows"]
    }


def check_means(users: Mapping[int, Users], service: str, year: int) -> None:
    """A1: mean and median to half of the last printed digit."""
    for direction, way in WAYS.items():
        printed, found, half = printed_users(service)[year][way], users[direction], LAST_DIGIT[service] / 2
        for name, value in (("mean", found.mean), ("median", found.median)):
            assert abs(value / 1e6 - printed[name]) <= half, (service, year, way, name, value / 1e6, printed[name])


def step(octets: float) -> int:
    """On the grid of twentieths of a decade of MB."""
    return round(20 * math.log10(octets / 1e6))


def check_modes(users: Mapping[int, Users], service: str, year: int, steps: int = 0) -> None:
    """A2: the printed value on its grid, or so many steps beside it."""
    for direction, way in WAYS.items():
        mode, printed = users[direction].mode, printed_users(service)[year][way]["mode"]
        assert mode is not None
        assert abs(step(mode) - step(printed * 1e6)) <= steps, (service, year, way, mode / 1e6, printed)


def check_concentration(users: Mapping[int, Users], service: str, points: float = 0.5) -> None:
    """A3: shares of the heaviest tenth and hundredth in 2024, percent."""
    printed = STATED["concentration_2024_pct"][NAMES[service]]
    for direction, way in WAYS.items():
        for name, share in (("top10", users[direction].top10), ("top1", users[direction].top1)):
            assert share is not None
            assert abs(100 * share - printed[name][way.upper()]) <= points, (service, way, name, share)


def shares(week: ServiceWeek) -> dict[Row, float]:
    """Of the access of the port tables, both IP versions, percent by row."""
    found: dict[Row, float] = {}
    for row in week.ports:
        if row.access == ACCESS[week.service]:
            found[row.proto, row.port] = found.get((row.proto, row.port), 0.0) + 100 * row.share
    return found


def check_shares(found: Mapping[Row, float], wanted: Mapping[Row, float], points: float = 0.05) -> None:
    """A4: every row to the rounding of print."""
    away = {row: (found.get(row, 0.0), value) for row, value in wanted.items()
            if abs(found.get(row, 0.0) - value) > points + 1e-9}  # fmt: skip
    assert not away, away


def check_sampled_shares(found: Mapping[Row, float], wanted: Mapping[Row, float], packets: int) -> None:
    """A4 of a sampled week: within so many standard errors of a share of so many sampled packets."""
    for row, value in wanted.items():
        p = value / 100
        within = SIGMAS * 100 * math.sqrt(p * (1 - p) / packets) + 0.05
        assert abs(found.get(row, 0.0) - value) <= within, (row, found.get(row, 0.0), value, within)


def check_growth(found: float, printed: float, digits: int) -> None:
    """A6: as printed with so many digits behind the point."""
    assert round(found, digits) == printed, (found, printed)


def check_share_of_ipoe(found: float, printed: float) -> None:
    """A5: both in percent."""
    assert abs(found - printed) <= 0.5, (found, printed)


def weekday_hours(week: ServiceWeek, direction: int, accesses: Sequence[str] = ()) -> NDArray[np.float64]:
    """Mean octets of each local hour of Monday to Friday, (24,); of a week in which no clock changes on those days."""
    hours = sum(
        (volume.octets for volume in week.volumes
         if volume.direction == direction and (not accesses or volume.access in accesses)),
        np.zeros(len(week.week.hours), "i8"),
    )  # fmt: skip
    found: NDArray[np.float64] = hours[:120].reshape(5, 24).mean(axis=0)
    return found


def check_hours(fixed_in: NDArray[np.float64], fixed_out: NDArray[np.float64], mobile: NDArray[np.float64]) -> None:
    """A7: downloads peak in the evening, uploads after a dip at noon, mobile three times a weekday."""
    assert 19 <= int(np.argmax(fixed_out)) <= 23, np.argmax(fixed_out)
    assert 13 <= int(np.argmax(fixed_in)) <= 15, np.argmax(fixed_in)
    assert fixed_in[12] < min(fixed_in[11], fixed_in[13]), fixed_in[11:14]
    peaks = [at for at in range(1, 23) if mobile[at - 1] < mobile[at] > mobile[at + 1]]
    assert len(peaks) == 3, peaks


def check_same_users(one: ServiceWeek, other: ServiceWeek) -> None:
    """Tables 1 and 2, the distributions and the scatter of both are equal."""
    for direction in WAYS:
        a, b = one.users[direction], other.users[direction]
        for name in ("seen", "users", "zero", "octets", "mean", "median", "mode", "top10", "top1", "bins", "numbers"):
            assert getattr(a, name) == getattr(b, name), (name, getattr(a, name), getattr(b, name))
    assert np.array_equal(one.pairs, other.pairs)


def check_same_ports(one: ServiceWeek, other: ServiceWeek) -> None:
    """Every row of the port tables has the same share."""
    a, b = shares(one), shares(other)
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    assert all(abs(a[row] - b[row]) < 1e-9 for row in a), {row: (a[row], b[row]) for row in a if a[row] != b[row]}


def bucket_hours(week: ServiceWeek) -> dict[tuple[str, str], list[int]]:
    """Octets of the hours by access and bucket, of both IP versions: what figures 7 and 8 are drawn from."""
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    for each in week.buckets:
        if each.access == ACCESS[week.service]:
            key = (each.access, each.bucket)
            found[key] = found.get(key, np.zeros(len(week.week.hours), "i8")) + each.octets
    return {key: octets.tolist() for key, octets in found.items() if octets.any()}


def check_same_buckets(one: ServiceWeek, other: ServiceWeek) -> None:
    """Figures 7 and 8 of both are equal."""
    assert bucket_hours(one) == bucket_hours(other)


def check_total(said: float, true: float, variance: float) -> None:
    """A14: within so many standard errors of what was there."""
    away = 0.0 if said == true else abs(said - true) / math.sqrt(variance) if variance else math.inf
    assert away <= SIGMAS, (said, true, away)


def check_same_volumes(one: ServiceWeek, other: ServiceWeek) -> None:
    """Figures 1 and 2 of both are equal."""

    def told(week: ServiceWeek) -> dict[tuple[str, str, int, str], list[int]]:
        return {(each.segment, each.access, each.direction, each.source): each.octets.tolist() for each in week.volumes}

    assert told(one) == told(other)


def check_attributed(found: Mapping[tuple[int, int], int], wanted: Mapping[tuple[int, int], int]) -> None:
    """A13: no octet is another subscriber's; both by subscriber id and direction."""
    away = {key: (found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys()
            if found.get(key) != wanted.get(key)}  # fmt: skip
    assert not away, f"{len(away)} of {len(wanted)}, as {next(iter(away.items()))}"


def check_incomplete(week: ServiceWeek, missing: Sequence[int]) -> None:
    """A15: these hours (Unix seconds) are named, no others, and the week is marked where there are any."""
    assert week.quality.missing_hours == tuple(missing), week.quality.missing_hours
    assert week.quality.complete == (not missing)


def check_user_volumes(week: ServiceWeek, a_day: Sequence[tuple[int, int]]) -> None:
    """A10: these users and no others, by octets a day IN and OUT; all of them have both."""
    assert sorted(map(tuple, week.pairs.tolist())) == sorted(a_day), week.pairs.tolist()
    assert {users.users for users in week.users.values()} == {len(a_day)}
