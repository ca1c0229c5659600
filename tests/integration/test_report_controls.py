"""Each acceptance check of the report fails when the report is wrong: mistakes that are easy to make, one by one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from dashboards.report.asking import measure
from dashboards.report.model import IN, OUT, ServiceWeek, Users, Week
from dashboards.report.statistics import users_of
from enricher.ports import buckets, port_table
from flowtide.simulator import volumes
from flowtide.simulator.months import ipoe_share, level
from sinks.batch import Batch
from sinks.embedded import EmbeddedStore
from tests import report_flows
from tests.integration.conftest import Made
from tests.report_checks import (
    STATED,
    WAYS,
    check_attributed,
    check_concentration,
    check_growth,
    check_hours,
    check_incomplete,
    check_means,
    check_modes,
    check_same_buckets,
    check_same_ports,
    check_same_users,
    check_same_volumes,
    check_share_of_ipoe,
    check_shares,
    check_total,
    check_user_volumes,
    printed_ports,
    shares,
    weekday_hours,
)
from tests.report_fixture import USERS, WEEKS, write_year
from tests.report_rows import add_flows, copy_rows, drop_rows
from tests.stored import TIMEZONE

WEEK = Week(WEEKS[2024], TIMEZONE)
FEW = 300


def octets_of(service: str, direction: int) -> np.ndarray:
    """Of the week, of the users of 2024."""
    return 7 * volumes.joint(service, 2024, USERS, np.random.default_rng(1))[:, direction - 1]


@pytest.fixture(scope="module")
def users() -> dict[int, Users]:
    """Of fixed lines, right."""
    return {direction: users_of(octets_of("fixed", direction), direction) for direction in WAYS}


def test_the_users_are_right_to_begin_with(users: dict[int, Users]) -> None:
    check_means(users, "fixed", 2024)
    check_modes(users, "fixed", 2024)
    check_concentration(users, "fixed")


def test_a1_a_median_of_a_reservoir_is_not_exact(users: dict[int, Users]) -> None:
    """What plain quantile() of SQL does: 8,192 of the users, drawn."""
    some = np.random.default_rng(2).choice(octets_of("fixed", OUT), 8_192, replace=False)
    with pytest.raises(AssertionError, match="median"):
        check_means(users | {OUT: replace(users[OUT], median=float(np.median(some)) / 7)}, "fixed", 2024)


def test_a1_a_mean_over_the_days_seen_is_none_over_seven() -> None:
    """A user of five days of seven has two days of nothing."""
    seen = np.where(np.arange(USERS) % 10 == 0, 5, 7)
    octets = octets_of("fixed", OUT)
    wrong = users_of(octets_of("fixed", IN), IN), users_of(np.rint(octets / seen * 7).astype("i8"), OUT)
    with pytest.raises(AssertionError, match="mean"):
        check_means({IN: wrong[0], OUT: wrong[1]}, "fixed", 2024)


def test_a2_the_middle_of_the_fullest_bin_is_not_the_mode(users: dict[int, Users]) -> None:
    fullest = {way: each.bins[int(np.argmax(each.numbers))] for way, each in users.items()}
    wrong = {way: replace(each, mode=10 ** (fullest[way] / 10)) for way, each in users.items()}
    with pytest.raises(AssertionError):
        check_modes(wrong, "fixed", 2024)


def test_a3_ranked_by_both_directions_the_shares_are_others(users: dict[int, Users]) -> None:
    both = volumes.joint("fixed", 2024, USERS, np.random.default_rng(1))
    heaviest = np.argsort(-both.sum(axis=1), kind="stable")[: USERS // 10]
    share = float(both[heaviest, 0].sum() / both[:, 0].sum())
    with pytest.raises(AssertionError, match="top10"):
        check_concentration(users | {IN: replace(users[IN], top10=share)}, "fixed")


def test_a5_and_a6_another_month_is_not_the_published() -> None:
    check_share_of_ipoe(100 * ipoe_share(OUT, "2024-06"), 48)
    with pytest.raises(AssertionError):
        check_share_of_ipoe(100 * ipoe_share(OUT, "2023-12"), 48)
    printed = STATED["growth_pct_past_year"]["broadband"]["IN"]
    check_growth(100 * (level("fixed", IN, "2024-06") / level("fixed", IN, "2023-06") - 1), printed, 0)
    with pytest.raises(AssertionError):
        check_growth(100 * (level("fixed", IN, "2024-06") / level("fixed", IN, "2023-05") - 1), printed, 0)


@pytest.fixture(scope="module")
def week(made: Made) -> Iterator[EmbeddedStore]:
    store = made.lend()
    write_year(store, 2024, FEW)
    yield store
    made.take_back(store)


@pytest.fixture(scope="module")
def right(week: EmbeddedStore) -> dict[str, ServiceWeek]:
    return {service: measure(week, service, WEEK) for service in ("fixed", "mobile")}


def hours_of(fixed: ServiceWeek, mobile: ServiceWeek) -> None:
    check_hours(weekday_hours(fixed, IN), weekday_hours(fixed, OUT), weekday_hours(mobile, OUT))


def test_a7_a_week_of_utc_has_its_peaks_elsewhere(week: EmbeddedStore, right: dict[str, ServiceWeek]) -> None:
    hours_of(right["fixed"], right["mobile"])
    other = Week(WEEK.monday, "UTC")
    fixed, mobile = (measure(week, service, other) for service in right)
    with pytest.raises(AssertionError):
        hours_of(fixed, mobile)
    check_incomplete(right["fixed"], ())
    with pytest.raises(AssertionError):
        check_incomplete(fixed, ())  # its last nine hours are of the next local week


def test_a4_another_years_table_is_not_this_ones(right: dict[str, ServiceWeek]) -> None:
    for service, found in right.items():
        check_shares(shares(found), printed_ports(service, 2024))
        with pytest.raises(AssertionError):
            check_shares(shares(found), printed_ports(service, 2023))


# From here on each test spoils the store of its own.


@pytest.fixture
def spoilt(store: EmbeddedStore) -> EmbeddedStore:
    """The same week in a store of the test's own."""
    write_year(store, 2024, FEW)
    return store


def test_a8_to_a11_what_must_not_count_and_does(spoilt: EmbeddedStore, right: dict[str, ServiceWeek]) -> None:
    # Flows of IPoE under the name of PPPoE: A9.
    add_flows(spoilt, WEEK, [10**13], access="pppoe", segment="unknown", name="ipoe")
    fixed = measure(spoilt, "fixed", WEEK)
    check_same_users(fixed, right["fixed"])
    for check in (check_same_ports, check_same_buckets, check_same_volumes):
        with pytest.raises(AssertionError):
            check(fixed, right["fixed"])
    # Enterprises taken for personal: A8.
    add_flows(spoilt, WEEK, [10**11] * 3, access="pppoe", segment="personal", first_id=1_000, name="enterprise")
    with pytest.raises(AssertionError):
        check_same_users(measure(spoilt, "fixed", WEEK), right["fixed"])
    # Flows of mobile users counted beside their accounting: A11.
    copy_rows(spoilt, "accounting_1d", "access = 'mobile'", "REPLACE ('flows' AS source)")
    copy_rows(spoilt, "accounting_import", "1", "REPLACE ('flows' AS source)")
    mobile = measure(spoilt, "mobile", WEEK)
    for check in (check_same_users, check_same_volumes):
        with pytest.raises(AssertionError):
            check(mobile, right["mobile"])


def test_a10_a_user_of_two_lines_is_not_one_with_the_sum(right: dict[str, ServiceWeek]) -> None:
    found = [(sent, received) for sent, received in right["mobile"].pairs.tolist()]
    check_user_volumes(right["mobile"], found)
    one = (found[0][0] + found[1][0], found[0][1] + found[1][1])
    with pytest.raises(AssertionError):
        check_user_volumes(right["mobile"], [one, *found[2:]])


def test_a15_and_a16_an_hour_that_is_gone_is_seen(spoilt: EmbeddedStore, right: dict[str, ServiceWeek]) -> None:
    gone = int(WEEK.hours[50])
    with pytest.raises(AssertionError):
        check_incomplete(right["fixed"], (gone,))
    drop_rows(spoilt, "bucket_1h", f"time = toDateTime({gone}, 'UTC')")
    found = measure(spoilt, "fixed", WEEK)
    with pytest.raises(AssertionError):
        check_incomplete(found, ())
    with pytest.raises(AssertionError):
        check_incomplete(found, (gone + 3_600,))
    # Measured again, a week whose rows went is another: only a frozen one stays.
    drop_rows(spoilt, "subscriber_1d", f"day = '{date(2024, 6, 9)}'")
    with pytest.raises(AssertionError):
        check_same_users(measure(spoilt, "fixed", WEEK), right["fixed"])


@pytest.fixture(scope="module")
def flows() -> report_flows.Known:
    return report_flows.known()


def test_a12_the_far_port_instead_of_the_lower(store: EmbeddedStore, made: Made, flows: report_flows.Known) -> None:
    """A rule that takes the destination's port tells swapped flows apart."""

    def spoil(batch: Batch) -> None:
        port = np.where(np.isin(batch.columns["proto"], (6, 17)), batch.columns["dst_port"], 0).astype("u2")
        batch.columns["lower_port"] = port
        batch.columns["bucket"] = buckets(batch.columns["proto"], port, port_table())

    other, leases = made.lend(), report_flows.leases(flows)
    try:
        report_flows.put(store, report_flows.raw(flows), leases, spoil)
        report_flows.put(other, report_flows.raw(flows, swapped=True), leases, spoil)
        one, two = (measure(each, "fixed", WEEK) for each in (store, other))
        for check in (check_same_ports, check_same_buckets):
            with pytest.raises(AssertionError):
                check(one, two)
    finally:
        made.take_back(other)


def test_a13_a_lease_by_the_time_of_arrival_gives_octets_to_others(
    store: EmbeddedStore, flows: report_flows.Known
) -> None:
    late = report_flows.raw(flows)
    ends = late.columns["ts"]
    late.columns["ts"] = late.columns["received"]

    def spoil(batch: Batch) -> None:
        batch.columns["ts"] = ends

    report_flows.put(store, late, report_flows.leases(flows), spoil)
    with pytest.raises(AssertionError):
        check_attributed(report_flows.attributed(store), flows.by_user())


def test_a14_a_wrong_interval_is_seen(store: EmbeddedStore, flows: report_flows.Known) -> None:
    seen = report_flows.sampled(flows, 100, declared=110)
    report_flows.put(store, report_flows.raw(seen), report_flows.leases(flows))
    found = measure(store, "fixed", WEEK)
    for direction in WAYS:
        said = sum(int(each.octets.sum()) for each in found.volumes if each.direction == direction)
        check_total(said / 1.1, flows.total(direction), flows.variance(direction, 100))
        with pytest.raises(AssertionError):
            check_total(said, flows.total(direction), flows.variance(direction, 100))
