"""Octets by local day from counters, against plain sums over all records that were ever told."""

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.radius.packet import Accounting, Status
from enricher.radius.session import Session
from enricher.radius.sessions import Sessions
from enricher.radius.settings import RadiusSettings
from enricher.radius.usage import DailyUsage, LocalDays
from flowtide.simulator.leases import lease
from flowtide.simulator.population import populate
from flowtide.simulator.radius_sessions import sessions as simulated
from flowtide.simulator.scenario import PeoplePlan

ZONE = "Asia/Tokyo"
MIDNIGHT = int(datetime(2024, 6, 3, tzinfo=ZoneInfo(ZONE)).timestamp())
HOUR, DAY = 3_600, 86_400
SUNDAY, MONDAY = date(2024, 6, 2), date(2024, 6, 3)


def told(
    at: int, in_octets: int, out_octets: int = 0, *, begin: int = -2 * HOUR, status: Status = Status.INTERIM,
    user: str = "a", seconds: int | None = -1,
) -> Accounting:  # fmt: skip
    """Counters at MIDNIGHT + at of a session that began at MIDNIGHT + begin."""
    since = at - begin if seconds == -1 else seconds
    return Accounting(
        status, "bras", f"{user} {begin}", user, "", "", ("fixed;personal;pppoe;east",), (), in_octets, out_octets,
        since, 0, MIDNIGHT + at, (),
    )  # fmt: skip


def usage(sessions: Sessions) -> list[DailyUsage]:
    sums = sessions.sums()
    sessions.add_to(sums, sessions.all())
    return sums.rows(0)


def after(*records: Accounting) -> list[tuple[date, int, int]]:
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=0), ZONE)
    for at, record in enumerate(records):
        sessions.apply(record, (MIDNIGHT + 10 * DAY + at) * 1000)
    return [(each.day, each.in_octets, each.out_octets) for each in usage(sessions)]


def test_a_difference_is_parted_by_time() -> None:
    assert after(told(HOUR, 300, 30)) == [(SUNDAY, 200, 20), (MONDAY, 100, 10)]
    assert after(told(-HOUR, 100), told(HOUR, 300)) == [(SUNDAY, 200, 0), (MONDAY, 100, 0)]
    assert after(told(0, 300)) == [(SUNDAY, 300, 0)]
    assert after(told(2 * DAY, 7 * 13), told(2 * DAY, 7 * 13, status=Status.STOP)) == [
        (SUNDAY, 3, 0), (MONDAY, 44, 0), (MONDAY + timedelta(1), 44, 0),
    ]  # fmt: skip


def test_what_has_no_begin_counts_when_it_was_told() -> None:
    assert after(told(HOUR, 300, seconds=None)) == [(MONDAY, 300, 0)]


def test_more_than_32_bits() -> None:
    large = 2**40 + 1
    assert after(told(-HOUR, large, 2 * large)) == [(SUNDAY, large, 2 * large)]


def test_counters_that_begin_anew_count_on_top() -> None:
    assert after(told(-HOUR, 1_000, 10), told(-HOUR // 2, 100, 5)) == [(SUNDAY, 1_100, 15)]
    again = told(-HOUR, 1_000, 10), told(-HOUR // 2, 100, 5), told(-HOUR // 2, 100, 5), told(-HOUR, 1_000, 10)
    assert after(*again) == [(SUNDAY, 1_100, 15)]


def test_an_old_record_that_hides_its_time_is_no_reset() -> None:
    """Sent again without Acct-Delay-Time and Event-Timestamp: its session time gives it away."""
    old = told(-HOUR, 400, seconds=HOUR)
    assert after(told(-HOUR // 2, 1_000), old._replace(event_seconds=MIDNIGHT - HOUR // 4)) == [(SUNDAY, 1_000, 0)]


def test_users_are_counted_by_service_and_access() -> None:
    sessions = Sessions(RadiusSettings(late_hours=0), ZONE)
    for record in (told(-HOUR, 1), told(-HOUR, 2, begin=-3 * HOUR), told(-HOUR, 4, user="b")):
        sessions.apply(record, MIDNIGHT * 1000)
    assert usage(sessions) == [
        DailyUsage(SUNDAY, "a", "fixed", "personal", "pppoe", 3, 0),
        DailyUsage(SUNDAY, "b", "fixed", "personal", "pppoe", 4, 0),
    ]


def plain(records: list[tuple[int, int]], zone: str) -> dict[date, int]:
    """Every record kept, and each day's share by fractions; records are (Unix seconds, octets), the begin's 0 first."""
    curve = sorted(records)
    totals: dict[date, int] = {}

    def counted(at: int) -> int:
        for (since, low), (until, high) in itertools.pairwise(curve):
            if since < at < until:
                return low + int(Fraction((high - low) * (at - since), until - since))
        return max(octets for moment, octets in curve if moment <= at)

    day = datetime.fromtimestamp(curve[0][0], ZoneInfo(zone)).date()
    since = curve[0][0]
    while since < curve[-1][0]:
        day += timedelta(1)
        until = min(curve[-1][0], int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()))
        if counted(until) > counted(since):
            totals[day - timedelta(1)] = counted(until) - counted(since)
        since = until
    return totals


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 10**6)), min_size=1, max_size=25),
    seed=st.integers(0, 1_000),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "Europe/London"]),
)
def test_any_order_of_records_gives_the_same_days(steps: list[tuple[int, int]], seed: int, zone: str) -> None:
    """Also over the days on which clocks change, and through a snapshot in between."""
    begin = int(datetime(2024, 3, 29, 7, tzinfo=UTC).timestamp())
    at, octets = begin, 0
    curve, records = [(begin, 0)], []
    for seconds, more in steps:
        at, octets = at + seconds, octets + more
        curve.append((at, octets))
        records.append(told(at - MIDNIGHT, octets, octets // 3, begin=begin - MIDNIGHT))
    records += records[:2]
    random.Random(seed).shuffle(records)
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=3_600, usage_days=400), zone)
    for number, record in enumerate(records):
        if number == len(records) // 2:
            saved, state = [each.saved() for each in sessions.all()], sessions.state()
            sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=3_600, usage_days=400), zone)
            sessions.restore(state)
            for each in saved:
                sessions.insert(Session.restored(each))
        sessions.apply(record, at * 1000)
    expected = plain(curve, zone)
    assert {each.day: each.in_octets for each in usage(sessions) if each.in_octets} == expected
    assert sum(each.out_octets for each in usage(sessions)) == octets // 3
    (session,) = sessions.all()
    assert len(session.counters.points) // 3 <= 2 * (len(LocalDaysSeen(zone).of(curve)))
    sessions.sweep((at + 200 * HOUR) * 1000)  # forgotten, but not its octets
    sessions.sweep((at + 400 * HOUR) * 1000)
    assert sessions.count == 0
    assert {each.day: each.in_octets for each in usage(sessions) if each.in_octets} == expected


class LocalDaysSeen:
    """Local days of records, by the calendar."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)

    def of(self, curve: list[tuple[int, int]]) -> set[date]:
        return {datetime.fromtimestamp(at, self._zone).date() for at, _ in curve}


def test_in_order_no_day_becomes_less() -> None:
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=0), ZONE)
    seen: dict[date, int] = {}
    for hour in range(1, 100):
        sessions.apply(told(hour * HOUR, hour * hour), (MIDNIGHT + hour * HOUR) * 1000)
        now = {each.day: each.in_octets for each in usage(sessions)}
        assert all(now[day] >= octets for day, octets in seen.items())
        assert sum(now.values()) == hour * hour
        seen = now


def test_a_session_of_many_days_keeps_few_points() -> None:
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=9_000, usage_days=400), ZONE)
    days = 120
    for hour in range(1, 24 * days + 1):
        sessions.apply(told(hour * HOUR, 24 * hour, begin=0), (MIDNIGHT + hour * HOUR) * 1000)
        sessions.sweep((MIDNIGHT + hour * HOUR) * 1000)
    (session,) = sessions.all()
    assert len(session.counters.points) // 3 <= 70
    assert [each.in_octets for each in usage(sessions)] == [24 * 24] * days


def test_days_that_are_long_ago_are_forgotten() -> None:
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=3_600, usage_days=10), ZONE)
    sessions.apply(told(HOUR, 30, status=Status.STOP, begin=0), (MIDNIGHT + HOUR) * 1000)
    sessions.sweep((MIDNIGHT + 6 * DAY) * 1000)
    sessions.sweep((MIDNIGHT + 9 * DAY) * 1000)
    assert (sessions.count, len(usage(sessions))) == (0, 1)
    sessions.sweep((MIDNIGHT + 12 * DAY) * 1000)
    assert usage(sessions) == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/London", "America/Sao_Paulo"])
def test_days_are_those_of_the_calendar(zone: str) -> None:
    days = LocalDays(zone)
    for hour in range(0, 24 * 400, 7):
        at = MIDNIGHT + hour * HOUR
        assert date.fromordinal(days.number(at * 1000)) == datetime.fromtimestamp(at, ZoneInfo(zone)).date()


def test_the_simulated_users_have_their_octets() -> None:
    """Of two days, by what the population sends a day."""
    plan = PeoplePlan(pppoe=15, ipoe=2, mobile=10, churn=50)
    people = populate(plan, 5)
    begin = MIDNIGHT * 1000
    leases = lease(plan, people, 5, begin, begin + 2 * DAY * 1000, ZONE)
    sessions = Sessions(RadiusSettings(late_hours=0, interim_seconds=0, mobile_subscriber="user-name"), ZONE)
    for each in simulated(leases, people, begin - 40 * DAY * 1000, begin + 2 * DAY * 1000, HOUR):
        record = Accounting(
            Status(each.status), each.nas.address, each.session, each.user, "", "", (each.label,), (),
            each.in_octets, each.out_octets, each.seconds, 0, each.at_ms // 1000, (),
        )  # fmt: skip
        sessions.apply(record, each.at_ms)
    told_octets = {(each.day, each.subscriber): (each.in_octets, each.out_octets) for each in usage(sessions)}
    for user in range(len(people)):
        if people.labels_of(user)[2] != "ipoe":
            seen = told_octets[MONDAY, people.subscriber[user]]
            # Seconds at midnight, a whole octet a session, and what was not told of the last hour.
            for octets, expected in zip(seen, people.octets_a_day[user].tolist(), strict=True):
                assert octets == pytest.approx(expected, rel=2 / HOUR, abs=50)
