"""A network that has nothing to do with any published number, and the truth about its week, told by its generator.

Berlin, the week in which summer time ends (its Sunday has 25 hours); Pareto and gamma volumes, some users with nothing
in one direction or at all; its own hours; ports that no table lists.  Rows are written as the pipeline leaves them, by
code that shares nothing with the simulator; statistics are those of plain Python.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sinks import Store

ZONE = "Europe/Berlin"
MONDAY = date(2024, 10, 21)
HOURS = 169
PORTS = {
    "pppoe": {(6, 443): 0.31, (6, 2_222): 0.22, (6, 1_023): 0.04, (6, 1_024): 0.03, (17, 443): 0.08, (17, 0): 0.01,
              (17, 27_015): 0.19, (50, 0): 0.02, (41, 0): 0.03, (58, 0): 0.01, (132, 0): 0.06},
    "mobile": {(6, 443): 0.5, (6, 80): 0.125, (17, 443): 0.25, (17, 53): 0.0625, (47, 0): 0.0625},
}  # fmt: skip
"""Parts of the octets, by protocol and lower port (0: none, or of a later fragment)."""
BUCKETS = {(6, 443): "tcp/443", (6, 2_222): "tcp/>=1024", (6, 1_023): "tcp/<1024", (6, 1_024): "tcp/>=1024",
           (17, 443): "udp/443", (17, 0): "udp/<1024", (17, 27_015): "udp/>=1024", (50, 0): "esp", (41, 0): "ipv6",
           (58, 0): "icmp6", (132, 0): "other", (6, 80): "tcp/80", (17, 53): "udp/<1024", (47, 0): "gre"}  # fmt: skip
_SOURCES = {"ipoe": "partner", "mobile": "billing"}
_MADE = datetime(2024, 11, 2, tzinfo=UTC)
_MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")


@dataclass(frozen=True, slots=True)
class Scope:
    """Users of one access and segment."""

    service: str
    access: str
    segment: str
    first_id: int
    octets: NDArray[np.int64]  # (7, 2, users): by local day and direction
    silent: int  # further ones that held a lease and have no record

    @property
    def flows(self) -> bool:
        """Whether an exporter sees them."""
        return self.access != "ipoe"

    @property
    def billed(self) -> bool:
        """Whether their volume is of accounting."""
        return self.access != "pppoe"


@dataclass(frozen=True)
class Network:
    """All of it."""

    scopes: tuple[Scope, ...]
    hours: dict[str, NDArray[np.float64]]  # by access: weight of each hour of the day

    def users(self, service: str, direction: int) -> list[int]:
        """Octets of the week of each personal user who held a lease."""
        found: list[int] = []
        for scope in self.scopes:
            if (scope.service, scope.segment) == (service, "personal"):
                found += scope.octets[:, direction - 1].sum(axis=0).tolist() + [0] * scope.silent
        return found

    def port_shares(self, service: str) -> dict[tuple[int, int], float]:
        """By protocol and lower port, percent: what the generator dealt out, whole octets."""
        access = "pppoe" if service == "fixed" else "mobile"
        sums: dict[tuple[int, int], int] = {}
        for scope in self.scopes:
            if scope.access == access:
                for _, _, _, row, octets in self.flow_rows(scope):
                    sums[row] = sums.get(row, 0) + octets
        whole = sum(sums.values())
        return {row: 100 * octets / whole for row, octets in sums.items()}

    def flow_rows(self, scope: Scope) -> Iterator[tuple[int, int, int, tuple[int, int], int]]:
        """Begin of the hour (Unix seconds), direction, IP version, port and octets, adding up to the users' days."""
        for day in range(7):
            starts = day_hours(MONDAY + timedelta(day))
            weights = [self.hours[scope.access][local_hour(start)] for start in starts]
            for direction in (1, 2):
                whole = int(scope.octets[day, direction - 1].sum())
                for start, of_hour in zip(starts, parted(whole, weights), strict=True):
                    rows = PORTS[scope.access]
                    for row, octets in zip(rows, parted(of_hour, list(rows.values())), strict=True):
                        six = octets // 3
                        yield from ((start, direction, version, row, part)
                                    for version, part in ((4, octets - six), (6, six)) if part)  # fmt: skip


def day_hours(day: date) -> list[int]:
    """Begin of each hour of a local day: 25 of them on the last Sunday of October."""
    zone = ZoneInfo(ZONE)
    begin, end = (int(datetime(each.year, each.month, each.day, tzinfo=zone).timestamp()) for each in
                  (day, day + timedelta(1)))  # fmt: skip
    return list(range(begin, end, 3_600))


def local_hour(second: int) -> int:
    """Of the day, 0 to 23."""
    return datetime.fromtimestamp(second, ZoneInfo(ZONE)).hour


def parted(whole: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in these proportions that add up to ``whole``."""
    total, passed, before, found = math.fsum(weights), 0.0, 0, []
    for number, weight in enumerate(weights, start=1):
        passed += weight
        until = whole if number == len(weights) else int(whole * (passed / total))
        found.append(until - before)
        before = until
    return found


def network(seed: int = 7) -> Network:
    """Some thousand users."""
    random = np.random.default_rng(seed)

    def scope(service: str, access: str, segment: str, first_id: int, count: int, silent: int) -> Scope:
        heavy = 1e6 * (1 + random.pareto(1.4, count))
        even = random.gamma(1.7, 4e7, count)
        week = np.stack([heavy, even] if access != "mobile" else [even / 9, heavy * 3])
        if segment == "enterprise":
            week *= 40
        week[0, random.random(count) < 0.04] = 0
        week[1, random.random(count) < 0.01] = 0
        days = random.dirichlet(np.full(7, 0.8), count).T
        octets = np.floor(week[None] * days[:, None]).astype("i8")
        return Scope(service, access, segment, first_id, octets, silent)

    scopes = (
        scope("fixed", "pppoe", "personal", 10_000, 3_000, 120), scope("fixed", "pppoe", "enterprise", 20_000, 40, 3),
        scope("fixed", "ipoe", "personal", 30_000, 1_100, 35), scope("fixed", "ipoe", "enterprise", 40_000, 15, 0),
        scope("mobile", "mobile", "personal", 50_000, 2_600, 90),
        scope("mobile", "mobile", "enterprise", 60_000, 60, 1),
    )  # fmt: skip
    hours = {access: 0.1 + random.random(24) for access in ("pppoe", "mobile")}
    return Network(scopes, hours)


def write(store: Store, net: Network) -> None:
    """All tables that a report reads."""
    for scope in net.scopes:
        _write_users(store, scope)
        if scope.flows:
            _write_flows(store, net, scope)
    days = [MONDAY + timedelta(number) for number in range(7)]
    for access, source in _SOURCES.items():
        mine = [scope.octets for scope in net.scopes if scope.access == access]
        sums = [[int(sum(each[at, way].sum() for each in mine)) for way in (0, 1)] for at in range(7)]
        table = {
            "day": pa.array(days, pa.date32()), "source": [source] * 7, "made": pa.array([_MADE] * 7, _US),
            "rows": pa.array([sum(each.shape[2] for each in mine)] * 7, pa.uint64()),
            "in_octets": [each[0] for each in sums], "out_octets": [each[1] for each in sums], "checksum": ["x"] * 7,
        }  # fmt: skip
        store.insert("accounting_import", pa.table(table), token=f"unrelated/import/{source}")


_US = pa.timestamp("us", "UTC")


def _write_users(store: Store, scope: Scope) -> None:
    count = scope.octets.shape[2]
    days = [MONDAY + timedelta(number) for number in range(7)]
    labels = {"service": scope.service, "segment": scope.segment, "access": scope.access}
    token = f"unrelated/{scope.first_id}"

    def of(rows: int, **columns: pa.Array) -> pa.Table:
        return pa.table(columns | {name: pa.array([value] * rows) for name, value in labels.items()})

    if scope.billed:
        for at, day in enumerate(days):
            rows = of(
                count, day=pa.array([day] * count, pa.date32()), source=pa.array([_SOURCES[scope.access]] * count),
                made=pa.array([_MADE] * count, _US), sub_id=pa.array(scope.first_id + np.arange(count), pa.uint64()),
                volume_source=pa.array(["accounting"] * count), in_octets=pa.array(scope.octets[at, 0]),
                out_octets=pa.array(scope.octets[at, 1]),
            )  # fmt: skip
            store.insert("accounting_1d", rows, token=f"{token}/accounting/{day}")
    if scope.flows:  # of mobile users flows say half: they must not count
        octets = scope.octets if not scope.billed else scope.octets // 2
        on, way, user = np.nonzero(octets)
        values = octets[on, way, user]
        rows = of(
            len(on), day=pa.array([days[number] for number in on.tolist()], pa.date32()),
            sub_id=pa.array(scope.first_id + user, pa.uint64()), direction=pa.array(way + 1, pa.uint8()),
            **_measures(values),
        )  # fmt: skip
        store.insert("subscriber_1d", rows, token=f"{token}/flows")
    everybody = count + scope.silent
    for day in days:
        rows = of(
            everybody, day=pa.array([day] * everybody, pa.date32()),
            sub_id=pa.array(scope.first_id + np.arange(everybody), pa.uint64()),
            made=pa.array([_MADE] * everybody, pa.timestamp("ms", "UTC")),
        )  # fmt: skip
        store.insert("subscriber_seen_1d", rows, token=f"{token}/seen/{day}")


def _write_flows(store: Store, net: Network, scope: Scope) -> None:
    starts, ways, versions, kinds, octets = zip(*net.flow_rows(scope), strict=True)
    common = {
        **{name: pa.array([value] * len(starts)) for name, value in
           (("service", scope.service), ("segment", scope.segment), ("access", scope.access))},
        "ip_version": pa.array(versions, pa.uint8()), "direction": pa.array(ways, pa.uint8()),
        **_measures(np.array(octets)),
    }  # fmt: skip
    begins = pa.array(starts, pa.uint32())
    ports = {
        "hour": begins, "proto": pa.array([kind[0] for kind in kinds], pa.uint8()),
        "lower_port": pa.array([kind[1] for kind in kinds], pa.uint16()),
        "bucket": pa.array(["" if kind[0] in (6, 17) else BUCKETS[kind] for kind in kinds]),
    }  # fmt: skip
    token = f"unrelated/{scope.first_id}"
    store.insert("port_1h", pa.table(common | ports), token=f"{token}/hours")
    local = [datetime.fromtimestamp(start, ZoneInfo(ZONE)).date() for start in starts]
    of_days = pa.table(common | ports | {"day": pa.array(local, pa.date32())}).drop_columns("hour")
    store.insert("port_1d", of_days, token=f"{token}/days")
    buckets = {
        "time": begins, "exporter": pa.array(["192.0.2.77"] * len(starts)), "sub_group": pa.array([""] * len(starts)),
        "bucket": pa.array([BUCKETS[kind] for kind in kinds]),
    }  # fmt: skip
    store.insert("bucket_1h", pa.table(common | buckets), token=f"{token}/buckets")


def _measures(octets: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Nothing is sampled here."""
    packets = pa.array(-(-octets // 700), pa.int64())
    values = {"flows": pa.array(np.ones(len(octets), "i8")), "packets": packets, "packets_est": packets}
    return values | {"octets": pa.array(octets, pa.int64()), "octets_est": pa.array(octets, pa.int64())}


def slow_mean(week: Sequence[int]) -> float:
    """Octets a day."""
    return math.fsum(octets / 7 for octets in week) / len(week)


def slow_median(week: Sequence[int]) -> float:
    """Octets a day."""
    return statistics.median(octets / 7 for octets in week)


def slow_top(week: Sequence[int], part: float) -> float:
    """Share of the heaviest ones' octets."""
    ranked = sorted(week, reverse=True)
    return sum(ranked[: round(part * len(ranked))]) / sum(ranked)


def slow_mode(week: Sequence[int]) -> float:
    """Octets a day: the fullest tenth of a decade, moved by the parabola, on the grid of half tenths."""
    bins: dict[int, int] = {}
    for octets in week:
        if octets:
            at = math.floor(10 * math.log10(octets / 7) + 0.5)
            bins[at] = bins.get(at, 0) + 1
    top = min(bins, key=lambda at: (-bins[at], at))
    left, middle, right = (bins.get(top + step, 0) for step in (-1, 0, 1))
    shift = 0.05 * (left - right) / (left - 2 * middle + right) if left - 2 * middle + right else 0.0
    return float(10 ** (round((top / 10 + shift) / 0.05) * 0.05))
