"""The truth's sums, against slow plain ones; and the variances that it tells, against many draws."""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from flowtide.simulator import truth
from flowtide.simulator.exporters import EXPORTED
from flowtide.simulator.kinds import KINDS
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan
from flowtide.simulator.sums import Sums
from flowtide.simulator.truth import NOT_IPV4, NOT_SAMPLED, SENT, SILENT, Truth

BEGIN_MS = 1_717_340_400_000  # 2024-06-03, 0 h in Tokyo
EXPORTERS = ("127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def people() -> Population:
    return populate(
        PeoplePlan(pppoe=5, ipoe=2, mobile=3, enterprise_pppoe=1, enterprise_ipoe=0, enterprise_mobile=0), 1
    )


def rows(people: Population, n: int, seed: int, days: int = 3) -> NDArray[np.void]:
    random = np.random.default_rng(seed)
    made = np.zeros(n, EXPORTED)
    made["user"] = random.integers(-1, len(people), n)
    made["peer"] = np.where(random.random(n) < 0.2, (made["user"] + 1) % len(people), -1)
    made["peer"][made["user"] < 0] = -1
    made["direction"] = np.where(made["user"] < 0, 0, random.integers(1, 3, n))
    made["kind"] = random.integers(0, len(KINDS), n)
    made["proto"] = np.array([kind.proto for kind in KINDS])[made["kind"]]
    made["is_v6"] = random.random(n) < 0.4
    made["src_port"], made["dst_port"] = random.integers(1, 2_000, n), random.integers(1, 2_000, n)
    made["end_ms"] = BEGIN_MS + random.integers(0, days * 86_400_000, n)
    made["domain"] = random.choice([4, 70_000], n)
    made["interval"] = random.choice([1, 100], n)
    made["fate"] = np.where(random.random(n) < 0.3, random.choice([NOT_SAMPLED, NOT_IPV4, SILENT], n), SENT)
    made["true_packets"] = random.integers(1, 1_000, n)
    made["true_octets"] = made["true_packets"] * 700
    made["packets"] = np.where(made["fate"] == SENT, np.maximum(made["true_packets"] // made["interval"], 1), 0)
    made["octets"] = made["packets"] * 700
    return made


def both_ends(made: NDArray[np.void]) -> list[tuple[Any, int, int]]:
    """Each flow with each user it has, and the direction that this one sees."""
    found = []
    for row in made:
        found.append((row, int(row["user"]), int(row["direction"])))
        if row["peer"] >= 0:
            found.append((row, int(row["peer"]), 3 - int(row["direction"])))
    return found


def counters(row: Any) -> list[int]:
    sent, interval = row["fate"] == SENT, int(row["interval"])
    seen = [1, int(row["packets"]), int(row["octets"])] if sent else [0, 0, 0]
    return [*seen, seen[1] * interval, seen[2] * interval, int(row["true_packets"]), int(row["true_octets"])]


def summed(pairs: list[tuple[tuple[Any, ...], list[int]]]) -> dict[tuple[Any, ...], list[int]]:
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 7)
    for key, values in pairs:
        found[key] = [one + other for one, other in zip(found[key], values, strict=True)]
    return dict(found)


def table(made: Truth, name: str, key: tuple[str, ...]) -> dict[tuple[Any, ...], list[int]]:
    lines = made.table(name).to_pylist()
    found = {tuple(line[column] for column in key): [line[column] for column in truth.COUNTERS] for line in lines}
    assert len(found) == len(lines)
    return found


def labels(people: Population, user: int) -> tuple[str, str, str]:
    return ("", "", "") if user < 0 else people.labels_of(user)[:3]


def local(row: Any) -> datetime:
    return datetime.fromtimestamp(int(row["end_ms"]) / 1000, ZoneInfo("Asia/Tokyo"))


@pytest.fixture(scope="module")
def made(people: Population) -> NDArray[np.void]:
    return rows(people, 3_000, 1)


@pytest.fixture(scope="module")
def told(people: Population, made: NDArray[np.void]) -> Truth:
    found = Truth(people, EXPORTERS, (4, 70_000), "Asia/Tokyo")
    for at in range(0, 3_000, 7):
        found.add(made[at : at + 7], at // 7 % 2)
    return found


def exporter(at: int) -> str:
    return EXPORTERS[at // 7 % 2]


def test_users_by_local_day(people: Population, made: NDArray[np.void], told: Truth) -> None:
    wanted = summed([
        ((local(row).date(), people.name[user], people.subscriber[user], *labels(people, user), way), counters(row))
        for row, user, way in both_ends(made)
        if user >= 0
    ])  # fmt: skip
    key = ("day", "user", "subscriber", "service", "segment", "access", "direction")
    assert table(told, "subscriber_1d", key) == wanted


def test_buckets_by_five_minutes(people: Population, made: NDArray[np.void], told: Truth) -> None:
    pairs = []
    for at in range(3_000):
        for row, user, direction in both_ends(made[at : at + 1]):
            time = datetime.fromtimestamp(int(row["end_ms"]) // 300_000 * 300, UTC)
            who, bucket = labels(people, user), KINDS[row["kind"]].bucket
            pairs.append(((time, exporter(at), *who, 6 if row["is_v6"] else 4, direction, bucket), counters(row)))
    key = ("time", "exporter", "service", "segment", "access", "ip_version", "direction", "bucket")
    assert table(told, "bucket_5m", key) == summed(pairs)


def test_ports_by_local_hour(people: Population, made: NDArray[np.void], told: Truth) -> None:
    pairs = []
    for at in range(3_000):
        for row, user, direction in both_ends(made[at : at + 1]):
            time = local(row).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
            proto = int(row["proto"])
            port = min(int(row["src_port"]), int(row["dst_port"])) if proto in (6, 17) else 0
            who, version = labels(people, user), 6 if row["is_v6"] else 4
            pairs.append(((time, exporter(at), *who, version, direction, proto, port), counters(row)))
    key = ("time", "exporter", "service", "segment", "access", "ip_version", "direction", "proto", "lower_port")
    assert table(told, "port_1h", key) == summed(pairs)


def test_exporters_by_minute_and_what_they_did_not_see(made: NDArray[np.void], told: Truth) -> None:
    minutes = [datetime.fromtimestamp(int(row["end_ms"]) // 60_000 * 60, UTC) for row in made]
    wanted = summed([((minutes[at], exporter(at), int(row["domain"])), counters(row)) for at, row in enumerate(made)])
    assert table(told, "exporter_1m", ("time", "exporter", "domain")) == wanted
    reasons = {NOT_SAMPLED: "not_sampled", NOT_IPV4: "not_ipv4", SILENT: "silent"}
    unseen = summed([
        ((minutes[at], exporter(at), reasons[int(row["fate"])]), [1, *counters(row)[1:]])
        for at, row in enumerate(made)
        if row["fate"] != SENT
    ])  # fmt: skip
    assert table(told, "unseen_1m", ("time", "exporter", "reason")) == unseen


def test_totals_are_by_exporter_interval_and_bucket(made: NDArray[np.void], told: Truth) -> None:
    wanted = summed([
        ((exporter(at), int(row["interval"]), KINDS[row["kind"]].bucket), counters(row))
        for at, row in enumerate(made)
        if row["fate"] == SENT
    ])  # fmt: skip
    found = {
        (each.exporter, each.sampling, each.bucket): [each.flows, each.packets, each.octets] for each in told.truth()
    }
    assert found == {key: values[:3] for key, values in wanted.items()}


def test_duplicates_and_flows_without_template_are_the_exporters_alone(people: Population) -> None:
    made = rows(people, 500, 2)
    made["fate"] = SENT
    told = Truth(people, EXPORTERS, (4, 70_000), "UTC")
    told.add(made[:200], 0)
    told.add(made[:200], 1, duplicate=True)
    told.add(made[200:], 0, without_template=True)
    by_exporter = (
        told.table("exporter_1m").group_by("exporter").aggregate([("flows", "sum"), ("without_template", "sum")])
    )
    assert {tuple(line.values()) for line in by_exporter.to_pylist()} == {
        ("127.0.0.2", 500, 300),
        ("127.0.0.3", 200, 0),
    }
    expected = 200 + int((made["peer"][:200] >= 0).sum())
    for name in ("bucket_5m", "port_1h"):
        assert sum(told.table(name)["flows"].to_pylist()) == expected
    assert sum(told.table("subscriber_1d")["flows"].to_pylist()) == expected - int((made["user"][:200] < 0).sum())


def test_what_nobody_knows_is_null(people: Population, tmp_path: Path) -> None:
    made = rows(people, 2, 3)
    made["fate"], made["user"], made["peer"], made["direction"], made["domain"] = SENT, [0, 1], -1, 1, 4
    made["true_packets"], made["true_octets"] = [-1, 7], [-1, 4_900]
    told = Truth(people, EXPORTERS, (4, 70_000), "UTC")
    told.add(made, 0)
    told.write(tmp_path / "new")
    names = ("subscriber_1d", "bucket_5m", "port_1h", "exporter_1m", "unseen_1m")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(f"{name}.parquet" for name in names)
    lines = pyarrow.parquet.read_table(tmp_path / "new" / "subscriber_1d.parquet").to_pylist()
    assert [(line["user"], line["true_packets"], line["true_octets"]) for line in lines] == [
        (people.name[0], None, None), (people.name[1], 7, 4_900),
    ]  # fmt: skip


def test_the_variance_is_that_of_many_draws(people: Population) -> None:
    random = np.random.default_rng(4)
    packets, size, interval = np.array([5, 40, 300, 2_000]), np.array([100, 1_400, 700, 60]), 50
    seen = random.binomial(packets, 1 / interval, (40_000, 4))
    spread = ((seen * size * interval).sum(axis=1)).var(), (seen * interval).sum(axis=1).var()
    variances: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for draw in seen[:3_000]:
        made = np.zeros(4, EXPORTED)
        made["user"], made["peer"], made["direction"], made["interval"], made["domain"] = 0, -1, 1, interval, 4
        made["end_ms"], made["packets"], made["octets"] = BEGIN_MS, draw, draw * size
        for known in (True, False):
            made["fate"] = np.where(draw > 0, SENT, NOT_SAMPLED)
            made["true_packets"], made["true_octets"] = (packets, packets * size) if known else (-1, -1)
            _, variance = truth._values(made)
            variances[known].append((variance[:, 1].sum(), variance[:, 0].sum()))
    # Where the true size is known the variance is exact; else estimated, and right in the mean.
    assert np.ptp([octets for octets, _ in variances[True]]) == 0
    assert variances[True][0] == pytest.approx(spread, rel=0.05)
    assert np.mean(variances[False], axis=0) == pytest.approx(spread, rel=0.05)


def test_sums_are_exact_whatever_comes_first() -> None:
    random = np.random.default_rng(5)
    first, second = random.integers(0, 50, 400_000), random.integers(0, 9, 400_000)
    values = np.column_stack([np.ones(400_000, "i8"), random.integers(0, 2**53, 400_000)])
    sums = Sums([30, 33], 2, 0)
    for part in np.array_split(np.arange(400_000), 13):
        sums.add((first[part], second[part]), values[part])
    (one, two), found, _ = sums.rows()
    assert len(one) == 450
    for at in range(0, 450, 37):
        mine = (first == one[at]) & (second == two[at])
        assert found[at].tolist() == [int(mine.sum()), sum(values[mine, 1].tolist())]
