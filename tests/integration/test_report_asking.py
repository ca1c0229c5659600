"""A measured week against plain Python over the same rows, and against ``v_user_day``."""

import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dashboards.report.asking import measure, months, zone_of
from dashboards.report.model import ALL, DYNAMIC, IN, OTHER, OUT, WELL_KNOWN, Week
from sinks.embedded import EmbeddedStore
from sinks.migrations import keep_settings, migrate
from sinks.schema import BUCKETS
from tests.stored import FOR_EVER, TIMEZONE

MONDAY = date(2024, 6, 3)
WEEK = Week(MONDAY, TIMEZONE)
SINCE = int(datetime(2024, 6, 2, 15, tzinfo=UTC).timestamp())  # midnight in Tokyo
DAYS = [MONDAY + timedelta(days=number) for number in range(-2, 9)]  # also around the week
ACCESSES = {"fixed": ("pppoe", "ipoe", "other"), "mobile": ("mobile",)}
SEGMENTS = ("personal", "enterprise", "unknown")
SOURCES = {"ipoe": "wholesale", "mobile": "gateway", "pppoe": "radius", "other": "radius"}
OVERRIDES: list[dict[str, str]] = [{}, {"fixed/pppoe": "accounting", "mobile/mobile": "netflow"}]
Rows = list[dict[str, Any]]


def counted(service: str, access: str, overrides: Mapping[str, str]) -> str:
    by_default = "accounting" if service == "mobile" or access == "ipoe" else "netflow"
    return overrides.get(f"{service}/{access}", by_default)


def insert(store: EmbeddedStore, table: str, rows: Rows, **kinds: pa.DataType) -> None:
    columns = {name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]}
    store.insert(table, pa.table(columns), token=f"{table}/{random.random()}")


def measures(rng: random.Random, sampling: int = 100) -> dict[str, int]:
    packets = rng.randrange(1, 50)
    octets = packets * rng.randrange(40, 1_500)
    return {"flows": 1, "packets": packets, "packets_est": packets * sampling, "octets": octets,
            "octets_est": octets * sampling}  # fmt: skip


class World:
    """Rows of every table that a report reads, and what they say."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.users: dict[int, tuple[str, str, str]] = {}
        for number in range(1, 161):
            service = rng.choice(["fixed", "mobile"])
            # Some subscribers have the same id on two accesses: two users.
            self.users[number] = (service, rng.choice(ACCESSES[service]), rng.choice(SEGMENTS + ("personal",) * 3))
        self.flows: Rows = []
        self.accounting: Rows = []
        self.seen: Rows = []
        for number, (service, access, segment) in self.users.items():
            for each in {access, rng.choice(ACCESSES[service])}:
                key = {"sub_id": number, "service": service, "segment": segment, "access": each}
                for day in DAYS:
                    if rng.random() < 0.7:
                        self.seen.append({"day": day, **key})
                    if number % 5 == 0:  # silent: with a lease only
                        continue
                    for direction in (1, 2):
                        if rng.random() < 0.5:
                            self.flows.append({"day": day, **key, "direction": direction, **measures(rng)})
                    if rng.random() < 0.5:
                        told = {"in_octets": rng.choice([0, rng.randrange(10**7)]), "out_octets": rng.randrange(10**8)}
                        self.accounting.append({"day": day, **key, **told})
        self.hours: Rows = [
            {"time": SINCE + 3_600 * rng.randrange(-5, 173), "exporter": f"192.0.2.{rng.randrange(1, 4)}",
             "service": service, "segment": rng.choice(SEGMENTS), "access": access, "sub_group": "",
             "ip_version": rng.choice([4, 6]), "direction": rng.choice([1, 2]), "bucket": rng.choice(BUCKETS),
             **measures(rng)}
            for service, access in [("fixed", "pppoe")] * 900 + [("mobile", "mobile")] * 900 + [("fixed", "ipoe")] * 40
            + [("", "")] * 20
        ]  # fmt: skip
        self.ports: Rows = [
            {"day": rng.choice(DAYS), "service": service, "segment": rng.choice(SEGMENTS), "access": access,
             "ip_version": rng.choice([4, 6]), "direction": rng.choice([1, 2]), "proto": proto,
             "lower_port": rng.choice([0, 53, 80, 443, 1_023, 1_024, 8_801, 50_000]) if proto in (6, 17) else 0,
             "bucket": "" if proto in (6, 17) else "x", **measures(rng)}
            for service, access in [("fixed", "pppoe")] * 300 + [("mobile", "mobile")] * 300 + [("fixed", "ipoe")] * 50
            for proto in [rng.choice([6, 6, 17, 17, 1, 4, 41, 47, 50, 58, 132])]
        ]  # fmt: skip

    def write(self, store: EmbeddedStore) -> None:
        """In pieces, as rollups come: rows of one key are summed or not yet."""
        for table, rows, small in (
            ("subscriber_1d", self.flows, {"day": pa.date32(), "sub_id": pa.uint64(), "direction": pa.uint8()}),
            ("bucket_1h", self.hours, {"time": pa.uint32(), "ip_version": pa.uint8(), "direction": pa.uint8()}),
            ("port_1d", self.ports, {"day": pa.date32(), "ip_version": pa.uint8(), "direction": pa.uint8(),
                                     "proto": pa.uint8(), "lower_port": pa.uint16()}),
        ):  # fmt: skip
            half = len(rows) // 2
            insert(store, table, rows[:half], **small)
            insert(store, table, rows[half:], **small)
        made = datetime(2024, 7, 1, tzinfo=UTC)
        earlier, later = made - timedelta(days=1), made + timedelta(days=1)
        kinds = {"day": pa.date32(), "sub_id": pa.uint64(), "made": pa.timestamp("us", "UTC")}
        told = [{**row, "source": SOURCES[row["access"]], "volume_source": "accounting"} for row in self.accounting]
        wrong = [{**row, "in_octets": 10**12, "out_octets": 10**12} for row in told]
        # Sets in force, those that they have replaced, and others that were never put in force.
        for rows, when in ((wrong, earlier), (told, made), (wrong, later)):
            insert(store, "accounting_1d", [{**row, "made": when} for row in rows], **kinds)
        headers = [
            {"day": day, "source": source, "made": when, "rows": 1, "in_octets": 0, "out_octets": 0, "checksum": ""}
            for day, source in {(row["day"], row["source"]) for row in told}
            for when in (earlier, made)
        ]
        insert(store, "accounting_import", headers, **kinds)
        # Told as of another segment before.
        old = [{**row, "segment": "personal", "made": made} for row in self.seen]
        kinds["made"] = pa.timestamp("ms", "UTC")
        insert(store, "subscriber_seen_1d", old, **kinds)
        insert(store, "subscriber_seen_1d", [{**row, "made": later} for row in self.seen], **kinds)

    def octets(self, service: str, overrides: Mapping[str, str]) -> dict[tuple[int, str], list[int]]:
        """Of the week's personal users with a record, IN and OUT."""
        found: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        for rows, source in ((self.flows, "netflow"), (self.accounting, "accounting")):
            for row in rows:
                if (
                    row["day"] in WEEK.days
                    and (row["service"], row["segment"]) == (service, "personal")
                    and counted(service, row["access"], overrides) == source
                ):
                    user = found[row["sub_id"], row["access"]]
                    if source == "netflow":
                        user[row["direction"] - 1] += row["octets_est"]
                    else:
                        user[0] += row["in_octets"]
                        user[1] += row["out_octets"]
        return found

    def of_week(self, service: str) -> Rows:
        return [row for row in self.hours if row["service"] == service and SINCE <= row["time"] < SINCE + 7 * 86_400]


@pytest.fixture(scope="module", params=range(len(OVERRIDES)), ids=["defaults", "overridden"])
def overrides(request: pytest.FixtureRequest) -> dict[str, str]:
    number: int = request.param
    return OVERRIDES[number]


@pytest.fixture(scope="module")
def world(overrides: dict[str, str]) -> World:
    return World(len(overrides))


@pytest.fixture(scope="module")
def written(engine: EmbeddedStore, world: World, overrides: dict[str, str]) -> Iterator[EmbeddedStore]:
    """A database with the world, which no test changes."""
    store = engine.in_database("report_asking")
    migrate(store, FOR_EVER, TIMEZONE)
    world.write(store)
    keep_settings(store, "volume_source:", {f"volume_source:{scope}": told for scope, told in overrides.items()})
    yield store
    engine.command("DROP DATABASE report_asking SYNC")


@pytest.mark.parametrize("service", ACCESSES)
def test_users_are_those_of_the_rows_and_of_v_user_day(
    written: EmbeddedStore, world: World, overrides: dict[str, str], service: str
) -> None:
    week = measure(written, service, WEEK)
    octets = world.octets(service, overrides)
    leased = {
        (row["sub_id"], row["access"]) for row in world.seen
        if row["day"] in WEEK.days and (row["service"], row["segment"]) == (service, "personal")
    }  # fmt: skip
    everybody = leased | set(octets)
    assert leased - set(octets), "no silent user: the test says less than it should"
    view = written.query(
        "SELECT sum(in_octets) AS i, sum(out_octets) AS o FROM v_user_day WHERE service = {service:String}"
        " AND segment = 'personal' AND day >= '2024-06-03' AND day < '2024-06-10' GROUP BY sub_id, access",
        service=service,
    )
    for way, name in ((IN, "i"), (OUT, "o")):
        own = sorted(user[way - 1] for user in octets.values())
        assert own == sorted(view[name].to_pylist())
        users = week.users[way]
        values = own + [0] * (len(everybody) - len(own))
        assert (users.seen, users.users, users.octets) == (len(everybody), len(own), sum(own))
        assert users.mean == pytest.approx(sum(values) / len(values) / 7, rel=1e-12)
        assert users.median == pytest.approx(statistics.median(values) / 7, rel=1e-12)
        assert users.zero == values.count(0)
        assert sum(users.numbers) == len(values) - values.count(0)
        of_flows = [
            row for row in world.flows
            if row["day"] in WEEK.days and (row["service"], row["segment"]) == (service, "personal")
            and row["direction"] == way and counted(service, row["access"], overrides) == "netflow"
        ]  # fmt: skip
        assert users.packets == sum(row["packets"] for row in of_flows)
        assert users.sampled_octets == sum(row["octets_est"] for row in of_flows)
    both = sorted((i // 7, o // 7) for i, o in octets.values() if i and o)
    assert [tuple(pair) for pair in week.pairs.tolist()] == both


def test_the_scatter_is_a_repeatable_choice(
    written: EmbeddedStore, world: World, overrides: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {tuple(pair) for pair in measure(written, "fixed", WEEK).pairs.tolist()}
    monkeypatch.setattr("dashboards.report.asking.PAIRS", 10)
    chosen = measure(written, "fixed", WEEK).pairs
    assert len(chosen) == 10
    assert {tuple(pair) for pair in chosen.tolist()} < every
    written.command("OPTIMIZE TABLE subscriber_1d FINAL")  # changes where rows are, not what they say
    assert measure(written, "fixed", WEEK).pairs.tolist() == chosen.tolist()


@pytest.mark.parametrize("service", ACCESSES)
def test_ports_are_those_of_the_rows(written: EmbeddedStore, world: World, service: str) -> None:
    week = measure(written, service, WEEK)
    access = ACCESSES[service][0]
    own = [row for row in world.ports if (row["service"], row["access"]) == (service, access)
           and row["day"] in WEEK.days]  # fmt: skip
    total = sum(row["octets_est"] for row in own)
    expected: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for row in own:
        proto, port = row["proto"], row["lower_port"]
        keys = [(0, ALL), (OTHER if proto == 132 else proto, ALL)]
        if proto in (6, 17):
            keys += [(proto, port), (proto, WELL_KNOWN if port < 1_024 else DYNAMIC)]
        for key in keys:
            expected[row["ip_version"], *key][0] += row["octets_est"]
            expected[row["ip_version"], *key][1] += row["packets"]
    found = {(row.ip_version, row.proto, row.port): [row.octets, row.packets] for row in week.ports}
    assert len(found) == len(week.ports)
    assert {key: value for key, value in found.items() if value[0]} == dict(expected)
    assert {row.access for row in week.ports} == {access}
    # Rows of the published lists are there, whatever they carry.
    assert {(4, 6, 31_000), (6, 17, 51_820), (4, 6, 0), (6, 50, ALL)} <= set(found)
    for one in week.ports:
        assert one.share == pytest.approx(one.octets / total, abs=1e-15)


@pytest.mark.parametrize("service", ACCESSES)
def test_hours_are_those_of_the_rows_and_days_of_accounting_stay_exact(
    written: EmbeddedStore, world: World, overrides: dict[str, str], service: str
) -> None:
    week = measure(written, service, WEEK)
    flows: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * 168)
    buckets: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * 168)
    for row in world.of_week(service):
        hour = (row["time"] - SINCE) // 3_600
        flows[row["segment"], row["access"], row["direction"]][hour] += row["octets_est"]
        if row["access"] == ACCESSES[service][0]:
            buckets[row["ip_version"], row["bucket"]][hour] += row["octets_est"]
    assert {(one.ip_version, one.bucket): one.octets.tolist() for one in week.buckets} == dict(buckets)
    of_flows = {
        (one.segment, one.access, one.direction): one.octets.tolist() for one in week.volumes if one.source == "netflow"
    }
    assert of_flows == {key: hours for key, hours in flows.items() if counted(service, key[1], overrides) == "netflow"}
    days: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * 7)
    for row in world.accounting:
        counts = counted(service, row["access"], overrides) == "accounting"
        if row["day"] in WEEK.days and row["service"] == service and counts:
            for way, name in ((1, "in_octets"), (2, "out_octets")):
                days[row["segment"], row["access"], way][(row["day"] - MONDAY).days] += row[name]
    accounted = [one for one in week.volumes if one.source == "accounting"]
    assert {(one.segment, one.access, one.direction): one.octets.reshape(7, 24).sum(axis=1).tolist()
            for one in accounted} == dict(days)  # fmt: skip
    assert bool(accounted) == (overrides.get(f"{service}/{service}") != "netflow")
    for one in accounted:
        assert set(one.profile.split(" and ")) <= {"own flows", "pppoe", "flat"}
        assert (one.octets >= 0).all()


def test_quality_is_that_of_the_rows(written: EmbeddedStore, world: World, overrides: dict[str, str]) -> None:
    quality = measure(written, "fixed", WEEK).quality
    own = world.of_week("fixed")
    inside = [row for row in world.hours if SINCE <= row["time"] < SINCE + 7 * 86_400]
    assert quality.octets == sum(row["octets_est"] for row in inside)
    assert quality.unmatched_octets == sum(row["octets_est"] for row in inside if not row["service"])
    assert quality.unknown_segment_octets == sum(row["octets_est"] for row in own if row["segment"] == "unknown")
    assert (quality.sampling, quality.packets) == (100, sum(row["packets"] for row in own))
    seen = {row["time"] for row in own}
    assert quality.missing_hours == tuple(t for t in range(SINCE, SINCE + 7 * 86_400, 3_600) if t not in seen)
    assert quality.sources == {access: counted("fixed", access, overrides) for access in ACCESSES["fixed"]}


def test_months_are_those_of_the_rows_and_of_the_view(
    written: EmbeddedStore, world: World, overrides: dict[str, str]
) -> None:
    expected: dict[tuple[str, str, int], int] = defaultdict(int)
    days: dict[tuple[str, str], set[date]] = defaultdict(set)
    for row in world.hours:
        scope = row["service"], row["access"]
        if row["service"] and counted(*scope, overrides) == "netflow":
            expected[*scope, row["direction"]] += row["octets_est"]
            days[scope].add((datetime.fromtimestamp(row["time"], UTC) + timedelta(hours=9)).date())
    for row in world.accounting:
        scope = row["service"], row["access"]
        if counted(*scope, overrides) == "accounting":
            for way, name in ((1, "in_octets"), (2, "out_octets")):
                expected[*scope, way] += row[name]
                if row[name]:
                    days[scope].add(row["day"])
    found = months(written, date(2024, 6, 20), date(2024, 6, 1), ("fixed", "mobile"))
    assert {(one.service, one.access, one.direction): one.octets for one in found} == dict(expected)
    assert {one.first for one in found} == {date(2024, 6, 1)}
    for one in found:
        assert (one.days, one.days_told) == (30, len(days[one.service, one.access]))
        assert one.source == counted(one.service, one.access, overrides)
    view = written.query(
        "SELECT service, access, direction, sum(octets) AS o, max(days_told) AS days FROM v_volume_month"
        " GROUP BY service, access, direction"
    ).to_pylist()
    numbers = {"in": 1, "out": 2}
    assert {(row["service"], row["access"], numbers[row["direction"]]): row["o"] for row in view} == dict(expected)
    assert {(row["service"], row["access"]): row["days"] for row in view} == {k: len(v) for k, v in days.items()}
    assert months(written, date(2023, 1, 1), date(2023, 12, 1), ("fixed",)) == ()


def test_nothing_is_a_week_of_nothing(store: EmbeddedStore) -> None:
    assert zone_of(store) == TIMEZONE
    week = measure(store, "mobile", WEEK)
    assert (week.volumes, week.buckets, week.ports, week.users, len(week.pairs)) == ((), (), (), {}, 0)
    assert len(week.quality.missing_hours) == 168
    assert not week.quality.complete
