"""Days of accounting over hours, and what a week lacks."""

from datetime import date
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.report.completeness import missing_days, missing_hours, silent_hours
from dashboards.report.hours import parted, volumes
from dashboards.report.model import OUT, Week

WEEK = Week(date(2024, 6, 3), "Asia/Tokyo")
SUMMER = Week(date(2024, 3, 25), "Europe/Berlin")  # Sunday 31 March has 23 hours
WINTER = Week(date(2024, 10, 21), "Europe/Berlin")  # Sunday 27 October has 25
Source = Literal["netflow", "accounting"]


def by_default(access: str) -> Source:
    return "accounting" if access == "ipoe" else "netflow"


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**53), min_size=1, max_size=25).filter(any))
@settings(deadline=None)
def test_parts_are_in_proportion_and_add_up(whole: int, weights: list[int]) -> None:
    parts = parted(whole, np.array(weights, "i8")).tolist()
    assert sum(parts) == whole
    for part, weight in zip(parts, weights, strict=True):
        assert part >= 0
        assert abs(part * sum(weights) - whole * weight) <= sum(weights)  # within one octet


@pytest.mark.parametrize(("week", "hours", "sunday"), [(WEEK, 168, 24), (SUMMER, 167, 23), (WINTER, 169, 25)])
def test_a_local_week_has_its_hours(week: Week, hours: int, sunday: int) -> None:
    assert len(week.hours) == hours
    assert np.bincount(week.hour_days).tolist() == [24] * 6 + [sunday]
    told = {day: 1_000 + number for number, day in enumerate(week.days)}
    (found,) = volumes(week, {}, {("personal", "ipoe", OUT): told}, by_default)
    assert [int(found.octets[week.hour_days == day].sum()) for day in range(7)] == [1_000 + day for day in range(7)]
    assert found.profile == "flat"


def test_whose_hours_a_day_is_laid_over() -> None:
    tuesday = WEEK.days[1]
    own, pppoe = np.zeros(168, "i8"), np.zeros(168, "i8")
    own[[3, 4]] = 1, 3  # on Monday only
    pppoe[[20, 24 + 20]] = 5, 5
    told = np.ones(168, "i8")
    flows = {("enterprise", "ipoe", OUT): own, ("personal", "pppoe", OUT): pppoe, ("personal", "other", OUT): told}
    accounted = {("personal", "ipoe", OUT): {WEEK.monday: 40, tuesday: 50, WEEK.days[2]: 24}}
    found, _, pppoe_itself = sorted(volumes(WEEK, flows, accounted, by_default), key=lambda one: one.access)
    assert (pppoe_itself.access, pppoe_itself.octets.tolist()) == ("pppoe", pppoe.tolist())
    assert (found.source, found.segment, found.access) == ("accounting", "personal", "ipoe")
    assert found.octets[[3, 4]].tolist() == [10, 30]  # its own flows'
    assert found.octets[24 + 20] == 50  # PPPoE's
    assert found.octets[48:72].tolist() == [1] * 24  # nobody's
    assert found.octets.sum() == 114
    assert found.profile == "own flows and pppoe and flat"


def test_pppoe_is_no_shape_where_its_flows_do_not_count() -> None:
    flows = {("personal", "pppoe", OUT): np.arange(168, dtype="i8")}
    accounted = {("personal", "ipoe", OUT): {WEEK.monday: 24}}
    (found,) = volumes(WEEK, flows, accounted, lambda access: "accounting")
    assert (found.profile, found.octets[:24].tolist()) == ("flat", [1] * 24)


def test_accounting_counts_in_an_hour_without_flows() -> None:
    # Every day 1, 2, ... 24, but of Tuesday 20:00 nothing is told: as on the other days, and Tuesday's octets stay 300.
    pppoe = np.tile(np.arange(1, 25), 7)
    pppoe[24 + 20] = 0
    flows = {("personal", "pppoe", OUT): pppoe}
    accounted = {("personal", "ipoe", OUT): dict.fromkeys(WEEK.days, 300)}
    found = next(one for one in volumes(WEEK, flows, accounted, by_default) if one.access == "ipoe")
    assert found.octets.tolist() == list(range(1, 25)) * 7
    # An hour in which others have flows is no gap.
    flows["personal", "other", OUT] = np.ones(168, "i8")
    found = next(one for one in volumes(WEEK, flows, accounted, by_default) if one.access == "ipoe")
    assert found.octets[24 + 20] == 0
    assert found.octets.sum() == 7 * 300


def test_missing_hours_are_named() -> None:
    seen = set(range(168)) - {5, 167}
    assert missing_hours(WEEK, seen) == (WEEK.since + 5 * 3_600, WEEK.until - 3_600)
    assert missing_hours(WEEK, range(168)) == ()


def test_silence_is_of_exporters_that_others_outlast() -> None:
    every = set(range(100))  # the others of the 168 are missing for all
    found = silent_hours(WEEK, {"a": every, "b": every - {7, 8}, "rare": {1, 2}, "half": set(range(50))})
    assert found == {"b": (WEEK.since + 7 * 3_600, WEEK.since + 8 * 3_600)}
    # At nine tenths it is still expected, below it is not.
    assert set(silent_hours(WEEK, {"a": every, "b": set(range(90)), "c": set(range(89))})) == {"b"}
    assert silent_hours(WEEK, {"only": {1, 2}}) == {}
    assert silent_hours(WEEK, {}) == {}


def test_missing_days_of_accounting() -> None:
    days = WEEK.days
    told = [(day, "ipoe", "wholesale") for day in days[:6]] + [(day, "ipoe", "other") for day in days]
    told += [(days[0], "pppoe", "radius")]  # does not count
    assert missing_days(WEEK, told, {"ipoe", "pppoe"}, by_default) == {"ipoe of wholesale": (days[6],)}
    # Flows of an access whose accounting counts, and none was told.
    assert missing_days(WEEK, [], {"ipoe", "pppoe"}, by_default) == {"ipoe": days}
    assert missing_days(WEEK, [], {"pppoe"}, by_default) == {}
