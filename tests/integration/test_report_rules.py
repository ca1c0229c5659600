"""What counts in a report and what does not: acceptance checks A8 to A16, and a second, unrelated population.

Weeks of few users straight in the tables, or flows through enrichment and rollups; equality is exact.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dashboards.report.asking import measure
from dashboards.report.files import write
from dashboards.report.frozen import freeze, load
from dashboards.report.making import Request, make
from dashboards.report.model import ALL, DYNAMIC, IN, OUT, ServiceWeek, Table, Week
from enricher.subscribers import sub_id
from flowtide.simulator.direct import write_weeks
from flowtide.simulator.direct_users import write_accounting, write_seen
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests import report_flows, unrelated_population
from tests.integration.conftest import Made
from tests.report_checks import (
    WAYS,
    bucket_hours,
    check_attributed,
    check_incomplete,
    check_same_buckets,
    check_same_ports,
    check_same_users,
    check_same_volumes,
    check_shares,
    check_total,
    check_user_volumes,
    shares,
)
from tests.report_fixture import KEY, PLAN, WEEKS, by_netflow, people_of, plan_of, write_year
from tests.report_rows import add_accounting, add_flows, copy_rows, drop_rows
from tests.stored import FOR_EVER, TIMEZONE

WEEK = Week(WEEKS[2024], TIMEZONE)
FEW = 400
TABLES = ("subscriber_1d", "port_1h", "port_1d", "bucket_1h", "accounting_1d", "accounting_import")
FROZEN = ("report_week", "report_week_hour", "report_week_user", "report_week_port")
REQUEST = Request(week=WEEK.monday, profile_weeks=[WEEK.monday])
AFTER = date(2024, 7, 1)


def both(store: EmbeddedStore) -> dict[str, ServiceWeek]:
    return {service: measure(store, service, WEEK) for service in ("fixed", "mobile")}


@pytest.fixture(scope="module")
def week(made: Made) -> Iterator[EmbeddedStore]:
    """The week of 2024 with few users; each test changes what it must not change, and takes it back."""
    store = made.lend()
    write_year(store, 2024, FEW)
    yield store
    made.take_back(store)


@pytest.fixture(scope="module")
def before(week: EmbeddedStore) -> dict[str, ServiceWeek]:
    return both(week)


@pytest.fixture
def change(week: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """The same store; afterwards its tables are as they were."""
    for name in TABLES:
        week.command(f"CREATE TABLE kept_{name} AS {name}")
        week.command(f"ALTER TABLE kept_{name} ATTACH PARTITION ALL FROM {name}")
    yield week
    for name in TABLES:
        week.command(f"EXCHANGE TABLES {name} AND kept_{name}")
        week.command(f"DROP TABLE kept_{name} SYNC")
    for name in FROZEN:
        week.command(f"TRUNCATE TABLE {name}")


def test_a8_enterprises_are_in_the_ports_and_in_no_users_table(
    change: EmbeddedStore, before: dict[str, ServiceWeek]
) -> None:
    base = before["fixed"]
    # Ten times a personal user's octets, all of it to port 8080.
    mean = base.users[OUT].mean * 7
    octets = [round(10 * mean)] * 30
    more = sum(octets)
    whole = change.query("SELECT sum(octets_est) AS o FROM port_1d WHERE access = 'pppoe'").to_pylist()[0]["o"]
    add_flows(change, WEEK, octets, access="pppoe", segment="enterprise")
    found = measure(change, "fixed", WEEK)
    check_same_users(found, base)
    raised = {(0, ALL), (6, ALL), (6, DYNAMIC), (6, 8_080)}
    wanted = {
        row: (share * whole + 100 * more * (row in raised)) / (whole + more) for row, share in shares(base).items()
    }
    check_shares(shares(found), wanted, points=0)
    assert sum(int(each.octets.sum()) for each in found.volumes) == more + sum(
        int(each.octets.sum()) for each in base.volumes
    )


def test_a9_flows_of_ipoe_are_in_no_port_table_and_not_its_volume(
    change: EmbeddedStore, before: dict[str, ServiceWeek]
) -> None:
    add_flows(change, WEEK, [10**9] * 50, access="ipoe")
    found = measure(change, "fixed", WEEK)
    check_same_ports(found, before["fixed"])
    check_same_buckets(found, before["fixed"])
    check_same_users(found, before["fixed"])
    # Such flows give accounting its hours and nothing else: the days stay, to the octet.
    for volume, old in zip(found.volumes, before["fixed"].volumes, strict=True):
        assert (volume.access, volume.direction, volume.source) == (old.access, old.direction, old.source)
        days = [each.octets.reshape(7, 24).sum(axis=1).tolist() for each in (volume, old)]
        assert days[0] == days[1]
        assert volume.access == "ipoe" or np.array_equal(volume.octets, old.octets)


def test_a9_accounting_of_ipoe_is_in_the_volumes_and_in_the_users(
    change: EmbeddedStore, before: dict[str, ServiceWeek]
) -> None:
    add_accounting(change, WEEK, [(f"new{at:04d}", 7_000_000, 70_000_000) for at in range(40)], access="ipoe")
    found, base = measure(change, "fixed", WEEK), before["fixed"]
    check_same_ports(found, base)
    check_same_buckets(found, base)
    for direction, a_day in ((IN, 7_000_000), (OUT, 70_000_000)):
        users, old = found.users[direction], base.users[direction]
        assert users.users == old.users + 40
        assert users.octets == old.octets + 40 * 7 * a_day
        assert users.mean == pytest.approx(
            (old.mean * old.denominator + 40 * a_day) / (old.denominator + 40), rel=1e-12
        )
        hours = [sum((each.octets for each in of.volumes if each.direction == direction), np.zeros(168, "i8"))
                 for of in (found, base)]  # fmt: skip
        assert int((hours[0] - hours[1]).sum()) == 40 * 7 * a_day
        assert ((hours[0] - hours[1]) > 0).all()


def test_a10_two_accesses_or_two_lines_are_two_users(store: EmbeddedStore) -> None:
    plan = PeoplePlan(
        pppoe=1, ipoe=1, mobile=2, on_both=100, second_line=100, enterprise_pppoe=0, enterprise_ipoe=0,
        enterprise_mobile=0,
    )  # fmt: skip
    people = populate(plan, 1)
    assert len(set(people.subscription)) == 2  # one of fixed lines, one of mobile
    write_weeks(store, by_netflow(people), plan, [WEEK.monday], PLAN)
    write_accounting(store, people, [WEEK.monday], PLAN)
    for service, found in both(store).items():
        own = people.octets_a_day[people.of(service)]
        assert len(own) == 2
        check_user_volumes(found, [(sent, received) for sent, received in own.tolist()])


def test_a11_mobile_volume_is_of_billing_alone(change: EmbeddedStore, before: dict[str, ServiceWeek]) -> None:
    for table in ("subscriber_1d", "port_1h", "port_1d", "bucket_1h"):
        copy_rows(change, table, "access = 'mobile'")
    found = measure(change, "mobile", WEEK)
    check_same_users(found, before["mobile"])
    check_same_ports(found, before["mobile"])
    check_same_volumes(found, before["mobile"])
    # They were doubled: the hours of ports say so.
    assert bucket_hours(found) == {
        key: [2 * octets for octets in hours] for key, hours in bucket_hours(before["mobile"]).items()
    }


def test_a15_a_missing_hour_is_named_and_not_averaged(change: EmbeddedStore, before: dict[str, ServiceWeek]) -> None:
    gone = int(WEEK.hours[24 + 13])  # Tuesday 13:00
    drop_rows(change, "bucket_1h", f"time = toDateTime({gone}, 'UTC') AND service = 'fixed'")
    found = measure(change, "fixed", WEEK)
    check_incomplete(found, (gone,))
    check_incomplete(measure(change, "mobile", WEEK), ())
    # The other hours of flows are what they were: nothing was spread over the hole.
    for volume, old in zip(found.volumes, before["fixed"].volumes, strict=True):
        if volume.source == "netflow":
            assert np.array_equal(np.delete(volume.octets, 37), np.delete(old.octets, 37)) and volume.octets[37] == 0
        else:
            assert volume.octets.sum() == old.octets.sum()


def test_a15_a_silent_exporter_is_named(change: EmbeddedStore) -> None:
    gone = int(WEEK.hours[100])
    drop_rows(change, "bucket_1h", f"time = toDateTime({gone}, 'UTC') AND exporter = '192.0.2.2'")
    quality = measure(change, "fixed", WEEK).quality
    assert not quality.complete
    assert (quality.missing_hours, dict(quality.silent)) == ((), {"192.0.2.2": (gone,)})


def test_a16_a_frozen_week_stays_when_its_rows_expire(change: EmbeddedStore, before: dict[str, ServiceWeek]) -> None:
    for each in before.values():
        freeze(change, each)
    kept = {service: load(change, WEEK.monday, service) for service in before}
    for table in TABLES:
        change.command(f"TRUNCATE TABLE {table}")
    for service, old in before.items():
        found = load(change, WEEK.monday, service)
        assert found is not None and found.made == getattr(kept[service], "made", None)
        check_same_users(found, old)
        check_same_ports(found, old)
        check_same_buckets(found, old)
        check_same_volumes(found, old)
        assert found.quality == old.quality


def test_a15_the_report_says_so_and_leaves_the_hour_out(change: EmbeddedStore, before: dict[str, ServiceWeek]) -> None:
    gone = int(WEEK.hours[24 + 13])
    drop_rows(change, "bucket_1h", f"time = toDateTime({gone}, 'UTC') AND service = 'fixed'")
    report = make(change, REQUEST, today=AFTER)
    assert any("2024-06-04 13:00" in warning for warning in report.warnings), report.warnings
    found = {number.id: number for number in report.numbers}
    assert not found[f"table-1/{WEEK.monday}/out/mean"].complete
    assert found[f"table-2/{WEEK.monday}/out/mean"].complete
    # The mean of that hour is of the four other weekdays, not of five with a nothing: that would be a fifth less.
    told = [each.octets for each in before["fixed"].volumes if each.direction == OUT]
    hours = sum(told, np.zeros(7 * 24, "i8")).reshape(7, 24)[:5]
    four = np.delete(hours[:, 13], 1).mean() / hours[:, 21].mean()
    value = found[f"figure-2/{WEEK.monday}/out/13"].value
    peak = found[f"figure-2/{WEEK.monday}/out/21"].value
    assert value is not None and peak is not None and value / peak == pytest.approx(four, rel=1e-3)
    # An incomplete week is not frozen unasked.
    assert load(change, WEEK.monday, "fixed") is None and load(change, WEEK.monday, "mobile") is not None


def test_a16_two_runs_write_the_same_octets(
    change: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one freezes the week, the second, on another day, finds it frozen.

    Nothing is drawn here: the figures' lines are in numbers.json; that equal ones are drawn alike is tested elsewhere.
    """
    monkeypatch.setattr("dashboards.report.files.browser", lambda: None)
    monkeypatch.setattr("dashboards.report.drawing.draw", lambda figure: (b"<svg/>", b""))
    contents = []
    for name, today in (("one", AFTER), ("two", date(2024, 9, 1))):
        write(make(change, REQUEST, today=today), tmp_path / name)
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert len(contents[0]) > 20 and contents[0].keys() == contents[1].keys()
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []


def test_a16_a_report_of_a_frozen_week_needs_none_of_its_rows(change: EmbeddedStore) -> None:
    before = make(change, REQUEST, today=AFTER)
    for table in TABLES:
        change.command(f"TRUNCATE TABLE {table}")
    after = make(change, REQUEST, today=AFTER)
    of_months = ("figure-1/", "volumes/", "ipoe-share/")
    assert [each for each in after.numbers if not each.id.startswith(of_months)] == [
        each for each in before.numbers if not each.id.startswith(of_months)
    ]
    items = [{item.id: item for section in report.sections for item in section.items} for report in (before, after)]
    for name in ("table-1", "table-2", "table-3", "table-4"):
        assert items[0][name] == items[1][name]


@pytest.fixture(scope="module")
def flows() -> report_flows.Known:
    return report_flows.known()


def stored(store: EmbeddedStore, flows: report_flows.Known, *, swapped: bool = False) -> ServiceWeek:
    report_flows.put(store, report_flows.raw(flows, swapped=swapped), report_flows.leases(flows))
    return measure(store, "fixed", Week(report_flows.MONDAY, TIMEZONE))


def test_a12_a13_ports_may_be_swapped_and_addresses_reused(
    store: EmbeddedStore, made: Made, flows: report_flows.Known
) -> None:
    one = stored(store, flows)
    check_attributed(report_flows.attributed(store), flows.by_user())
    other = made.lend()
    try:
        check_same_ports(stored(other, flows, swapped=True), one)
        check_same_buckets(measure(other, "fixed", Week(report_flows.MONDAY, TIMEZONE)), one)
    finally:
        made.take_back(other)
    # The rule itself, in plain Python.
    sums: dict[tuple[int, int], int] = {}
    for proto, ours, far, octets in zip(
        flows.proto.tolist(), flows.ours_port.tolist(), flows.far_port.tolist(), flows.octets.tolist(), strict=True
    ):
        row = (proto, min(ours, far) if proto in (6, 17) else ALL)
        sums[row] = sums.get(row, 0) + octets
    whole = sum(sums.values())
    largest = sorted(sums, key=lambda row: -sums[row])[:100]
    check_shares(shares(one), {row: 100 * sums[row] / whole for row in largest}, points=0)
    assert one.quality.complete and one.quality.unmatched == 0


@pytest.mark.parametrize("interval", [1, 100, 1_000])
def test_a14_estimates_are_within_four_standard_errors(
    store: EmbeddedStore, flows: report_flows.Known, interval: int
) -> None:
    found = stored(store, flows if interval == 1 else report_flows.sampled(flows, interval, interval))
    assert found.quality.sampling == interval
    for direction in WAYS:
        said = sum(int(each.octets.sum()) for each in found.volumes if each.direction == direction)
        check_total(said, flows.total(direction), flows.variance(direction, interval))


@pytest.fixture(scope="module")
def network() -> unrelated_population.Network:
    return unrelated_population.network()


@pytest.fixture(scope="module")
def berlin(engine: EmbeddedStore, network: unrelated_population.Network) -> Iterator[EmbeddedStore]:
    """A store with the week of a network of which no number is published, in another zone."""
    store = engine.in_database("report_unrelated")
    migrate(store, FOR_EVER, unrelated_population.ZONE)
    unrelated_population.write(store, network)
    yield store
    engine.command("DROP DATABASE report_unrelated SYNC")


@pytest.fixture(scope="module")
def unrelated(berlin: EmbeddedStore) -> dict[str, ServiceWeek]:
    week = Week(unrelated_population.MONDAY, unrelated_population.ZONE)
    return {service: measure(berlin, service, week) for service in ("fixed", "mobile")}


@pytest.mark.parametrize("service", ["fixed", "mobile"])
@pytest.mark.parametrize("direction", [IN, OUT])
def test_another_population_has_its_own_statistics(
    unrelated: dict[str, ServiceWeek], network: unrelated_population.Network, service: str, direction: int
) -> None:
    week, found = network.users(service, direction), unrelated[service].users[direction]
    assert (found.denominator, found.zero, found.octets) == (len(week), week.count(0), sum(week))
    assert found.mean == pytest.approx(unrelated_population.slow_mean(week), rel=1e-12)
    assert found.median == pytest.approx(unrelated_population.slow_median(week), rel=1e-12)
    assert found.mode == pytest.approx(unrelated_population.slow_mode(week), rel=1e-9)
    assert found.top10 == pytest.approx(unrelated_population.slow_top(week, 0.1), rel=1e-12)
    assert found.top1 == pytest.approx(unrelated_population.slow_top(week, 0.01), rel=1e-12)


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_another_population_has_its_own_ports(
    unrelated: dict[str, ServiceWeek], network: unrelated_population.Network, service: str
) -> None:
    wanted = network.port_shares(service)
    rows = {(proto, port if proto in (6, 17) else ALL): share for (proto, port), share in wanted.items()
            if proto != 132}  # fmt: skip
    found = shares(unrelated[service])
    check_shares(found, rows, points=1e-9)
    listed = sum(share for (_, port), share in found.items() if port == ALL) - found[0, ALL]
    assert found[0, ALL] == pytest.approx(100) and listed == pytest.approx(100)


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_another_population_has_its_own_hours_and_a_day_of_25(
    unrelated: dict[str, ServiceWeek], network: unrelated_population.Network, service: str
) -> None:
    week = unrelated[service]
    assert len(week.week.hours) == unrelated_population.HOURS == week.quality.hours and week.quality.complete
    begins = [0, 24, 48, 72, 96, 120, 144, 169]
    for direction in WAYS:
        for access in ("pppoe", "ipoe", "mobile"):
            own = [each for each in network.scopes if (each.service, each.access) == (service, access)]
            told = [each.octets for each in week.volumes if (each.access, each.direction) == (access, direction)]
            if not own:
                assert not told
                continue
            hours = sum(told, np.zeros(169, "i8"))
            days = sum(each.octets[:, direction - 1].sum(axis=1) for each in own)
            assert np.add.reduceat(hours, begins[:-1]).tolist() == days.tolist()
            if access == "pppoe":
                exact: dict[int, int] = {}
                for scope in own:
                    for start, way, _, _, octets in network.flow_rows(scope):
                        if way == direction:
                            exact[start] = exact.get(start, 0) + octets
                assert dict(zip(week.week.hours.tolist(), hours.tolist(), strict=True)) == exact


def test_the_report_of_another_population_has_its_numbers(
    berlin: EmbeddedStore, network: unrelated_population.Network
) -> None:
    monday = unrelated_population.MONDAY
    report = make(berlin, Request(week=monday, profile_weeks=[monday], freeze=False), today=date(2024, 11, 4))
    assert report.draft == () and report.warnings == ()
    numbers = {number.id: number.value for number in report.numbers}
    for service, table in (("fixed", "table-1"), ("mobile", "table-2")):
        for direction, way in WAYS.items():
            week = network.users(service, direction)
            for what, octets in (
                ("mean", unrelated_population.slow_mean(week)), ("median", unrelated_population.slow_median(week)),
                ("mode", unrelated_population.slow_mode(week)),
            ):  # fmt: skip
                assert numbers[f"{table}/{monday}/{way}/{what}"] == pytest.approx(octets / 1e6, rel=1e-9)
            for name, part in (("top10", 0.1), ("top1", 0.01)):
                found = numbers[f"concentration/{service}/{monday}/{way}/{name}"]
                assert found == pytest.approx(100 * unrelated_population.slow_top(week, part), rel=1e-9)
    # A port that no table lists is among the largest of the week.
    largest = {item.id: item for section in report.sections for item in section.items}
    ports = largest["largest-ports-fixed"]
    assert isinstance(ports, Table)
    told = [cell.text for row in ports.rows for cell in row]
    assert any("2222" in text.replace(",", "") for text in told), told


def test_ids_are_those_of_the_enricher(week: EmbeddedStore) -> None:
    """What accounting and flows say of a user meets in one id."""
    number = sub_id(KEY, "mobile", "mobile-000001", "mobile")
    for table in ("subscriber_1d", "accounting_1d", "subscriber_seen_1d"):
        found = week.query(f"SELECT uniqExact(sub_id) AS n FROM {table} WHERE sub_id = {number}").to_pylist()
        assert found == [{"n": 1}], table


def test_users_without_a_record_count(store: EmbeddedStore) -> None:
    """Everybody has a lease; a fifth of the users has no flow: they count in mean and median, not in the mode."""
    people = people_of(2024, 100).only(np.arange(50))  # personal, on PPPoE
    silent = people.octets_a_day.copy()
    silent[:10] = 0
    write_weeks(
        store, replace(people, octets_a_day=silent).only(np.arange(10, 50)), plan_of(2024, 100), [WEEK.monday], PLAN
    )
    write_seen(store, people, [WEEK.monday], PLAN)
    found = measure(store, "fixed", WEEK).users[OUT]
    octets = sorted(silent[:, 1].tolist())
    assert (found.seen, found.users, found.zero) == (50, 40, 10)
    assert found.mean == pytest.approx(sum(octets) / 50) and found.median == (octets[24] + octets[25]) / 2
    assert sum(found.numbers) == 40
