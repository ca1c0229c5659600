"""What R1 to R5 and R7 say of five weeks of rows, beside a slow walk through them; and of a range of moments."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import pytest

from dashboards.alerts.ranges import over
from dashboards.alerts.rules import BY_UID, RULES
from sinks.embedded import EmbeddedStore
from tests.alert_reference import Banded, band, trend, week
from tests.alert_stories import (
    NOW,
    ZONE,
    Story,
    answer,
    by_label,
    judged,
    put,
    put_exporter,
    put_minutes,
    same,
    set_to,
    told,
    unix,
)  # fmt: skip
from tests.integration.conftest import Made


@pytest.fixture
def zoned(made: Made) -> Iterator[EmbeddedStore]:
    """A store of Berlin's time."""
    lent = made.lend(ZONE)
    yield lent
    made.take_back(lent, ZONE)


# R1 and R2.


@pytest.mark.parametrize(
    ("by", "minutes"), [(0, 0), (8, 60), (8, 35), (-8, 60), (12, 45), (-12, 30), (8, 300)], ids=str
)
def test_a_step_of_the_share_is_judged_as_the_walk_says(zoned: EmbeddedStore, by: int, minutes: int) -> None:
    site = told(zoned, Story(steps=[(NOW - minutes * 60, NOW, by)], seed=by + 20))
    wanted = week(site, NOW)
    assert same(judged(zoned, NOW), wanted) and len(wanted) == 3
    if minutes >= 60:
        assert {(row.jump, row.drop) for row in wanted.values()} == {(by > 0, by < 0)}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 6))])
def test_weeks_of_chance_are_judged_as_the_walk_says(zoned: EmbeddedStore, seed: int) -> None:
    """Gaps, silent exporters, holidays, few packets, steps that end, other levels last week."""
    rng = np.random.default_rng(seed + 100)
    last = NOW // 300 * 300
    silent = []
    for _ in range(int(rng.integers(0, 4))):
        who = str(rng.choice(["a", "b", "c"]))
        begin = last - int(rng.choice([0, 7, 14, 21])) * 86_400 - int(rng.integers(0, 8)) * 600
        silent.append((who, begin - int(rng.integers(1, 12)) * 300, begin))
    steps = [
        (last - week_ * 7 * 86_400 - int(rng.integers(2, 60)) * 300, last - week_ * 7 * 86_400 + 3600,
         float(rng.choice([-9, 9, 14])))
        for week_ in rng.choice(4, int(rng.integers(0, 3)), replace=False).tolist()
    ]  # fmt: skip
    story = Story(
        seed=seed, silent=silent, steps=steps, exporters={"a": 0.28, "b": 0.32, "c": 0.2},
        daily=float(rng.choice([0.3, 2.5])), packets=int(rng.choice([4_000, 12_000])),
        history=int(rng.choice([10, 20, 36])),
    )  # fmt: skip
    site = told(zoned, story)
    if seed % 2:
        site.holidays = frozenset({date(2026, 9, 16), date(2026, 9, 2)})
        set_to(zoned, "alerts:holidays", "2026-09-16, 2026-09-02")
    assert same(judged(zoned, NOW), week(site, NOW))


@pytest.mark.parametrize(
    "now",
    [unix(2026, 10, 28, 9, 2), unix(2026, 10, 25, 4, 2), unix(2026, 3, 31, 9, 2), unix(2026, 3, 29, 3, 2)],
    ids=["days after autumn's change", "the hours of it", "days after spring's", "the hours of it"],
)
def test_hours_are_local_over_a_change_of_the_clock(zoned: EmbeddedStore, now: int) -> None:
    """The share swings by the local hour, so that an hour off would be another share."""

    def more(at_: int) -> float:
        return 1 + (datetime.fromtimestamp(at_, UTC).hour % 3)

    site = told(zoned, Story(now=now, scale=more, hours=10, packets=30_000, seed=5))
    wanted = week(site, now)
    assert same(judged(zoned, now), wanted) and wanted


@pytest.mark.parametrize(("uid", "by"), [("flowtide-r1", 12.6), ("flowtide-r2", -12.6)])
def test_it_fires_at_the_third_bucket_beyond_and_clears_at_the_sixth_below(
    zoned: EmbeddedStore, uid: str, by: float
) -> None:
    """By hand, without chance: of twelve buckets k moved the hour by 1.05 k points.

    5.25 with five, so the seventh moved bucket is the third beyond 5; under 3 with two and fewer, so ten buckets after
    the end is the first below, fifteen after it the sixth.
    """
    begin, end = NOW // 300 * 300 - 9 * 3600, NOW // 300 * 300 - 5 * 3600
    told(zoned, Story(steps=[(begin, end, by)], exact=True, hours=17, packets=24_000))
    put_minutes(zoned, "fixed", begin - 3600, NOW // 60 * 60)
    rows = zoned.query(over(uid, begin - 1800, NOW)).to_pylist()
    found = [int(row["time"]) - 120 for row in rows if row["value"] and row["exporter"] == ""]
    assert found == list(range(begin + 7 * 300, end + 15 * 300, 300))
    assert {row["exporter"] for row in rows} == {"", "a", "b"}


def test_r3_leaves_and_returns_at_the_sixth_bucket(zoned: EmbeddedStore) -> None:
    """By hand: Q1 is two thirds of Q2, 18.67 %, and k moved buckets of twelve move it by 1.4 k points.

    Eight points and more with six, so the eleventh moved bucket is the sixth outside; back inside with five, which is
    seven buckets after the end, and twelve after it the sixth inside.
    """
    begin, end = NOW // 300 * 300 - 9 * 3600, NOW // 300 * 300 - 5 * 3600
    told(zoned, Story(steps=[(begin, end, 25.2)], exact=True, hours=17, packets=24_000))
    put_minutes(zoned, "fixed", begin - 3600, NOW // 60 * 60)
    rows = zoned.query(over("flowtide-r3", begin - 1800, NOW)).to_pylist()
    found = [int(row["time"]) - 120 for row in rows if row["value"] and row["exporter"] == ""]
    assert found == list(range(begin + 11 * 300, end + 12 * 300, 300))


@pytest.mark.soak
def test_a_fire_ends_after_six_closed_buckets_below_and_not_before(zoned: EmbeddedStore) -> None:
    """12 points for two hours, then back: the hour's share sinks below 0.6 of the threshold and stays there."""
    back = NOW - 2 * 3600
    site = told(zoned, Story(steps=[(back - 7200, back, 12)], hours=12, packets=60_000, seed=3))
    found = {}
    for moment in range(back - 1800, NOW, 600):
        put_minutes(zoned, "fixed", moment // 60 * 60 - 180, moment // 60 * 60)
        wanted = week(site, moment)
        same(judged(zoned, moment), wanted)
        found[moment] = wanted["fixed", ""].jump
    assert list(found.values()) == sorted(found.values(), reverse=True) and {*found.values()} == {True, False}


def test_an_exporter_that_is_silent_is_left_out_of_both_hours(zoned: EmbeddedStore) -> None:
    """20 and 40 %: without the second the share would fall by ten points."""
    story = Story(exporters={"a": 0.2, "b": 0.4}, silent=[("b", NOW - 3600, NOW)])
    site = told(zoned, story)
    found = judged(zoned, NOW)
    assert same(found, week(site, NOW))
    assert found.keys() == {("fixed", ""), ("fixed", "a")} and not any(row.jump or row.drop for row in found.values())
    assert found["fixed", ""].before == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(("part", "before"), [(4, 0.3), (6, 0.2)])
def test_an_exporter_with_under_a_fifth_of_the_other_hours_flows_is_left_out_of_both(
    zoned: EmbeddedStore, part: int, before: float
) -> None:
    since = NOW // 300 * 300 - 3600
    story = Story(exporters={"a": 0.2, "b": 0.4}, exact=True, packets=24_000)
    put(zoned, [row._replace(flows=row.flows // part) if row.exporter == "b" and row.time >= since else row
                for row in story.rows()])  # fmt: skip
    put_minutes(zoned, "fixed", NOW // 60 * 60 - 600, NOW // 60 * 60)
    assert by_label(zoned, "flowtide-r1", NOW, "P")["fixed", ""] == pytest.approx(before)


def test_a_baseline_with_a_silent_exporter_or_a_holiday_is_left_for_that_of_two_weeks_before(
    zoned: EmbeddedStore,
) -> None:
    story = Story(
        exporters={"a": 0.2, "b": 0.4}, silent=[("b", NOW - 7 * 86_400 - 1800, NOW - 7 * 86_400)],
        steps=[(NOW - 14 * 86_400 - 40_000, NOW - 14 * 86_400 + 3600, 3)],
    )  # fmt: skip
    site = told(zoned, story)
    found = judged(zoned, NOW)
    assert same(found, week(site, NOW))
    assert found["fixed", ""].before == pytest.approx(0.33, abs=0.01)
    assert by_label(zoned, "flowtide-r7") == {"fixed": 0.0}
    set_to(zoned, "alerts:holidays", "2026-09-09")
    site.holidays = frozenset({date(2026, 9, 9)})
    found = judged(zoned, NOW)
    assert same(found, week(site, NOW)) and ("fixed", "") not in found
    assert by_label(zoned, "flowtide-r7") == {"fixed": 1.0}


def test_what_was_another_only_last_week_is_told_once(zoned: EmbeddedStore) -> None:
    """QUIC was off for a day last week: R2 said so then, and R1 has nothing to say of its end a week later."""
    story = Story(steps=[(NOW - 7 * 86_400 - 50_000, NOW - 7 * 86_400 + 3600, -15)])
    site = told(zoned, story)
    found = judged(zoned, NOW)
    assert same(found, week(site, NOW))
    assert not found["fixed", ""].jump and found["fixed", ""].before < 0.15 < 0.27 < found["fixed", ""].share


def test_few_packets_are_no_judgement_and_say_so_where_there_were_more(zoned: EmbeddedStore) -> None:
    site = told(zoned, Story(packets=8_000, scale=lambda at_: 0.5 if at_ >= NOW - 4000 else 1.0))
    assert judged(zoned, NOW) == week(site, NOW) == {}
    assert by_label(zoned, "flowtide-r5") == {"fixed": 1.0}
    number = by_label(zoned, "flowtide-r5", NOW, "N")["fixed"]
    last = NOW // 300 * 300
    assert number == sum(row.packets for row in site.rows if last - 3600 <= row.time < last and "443" in row.bucket)


def test_days_that_differ_widen_the_threshold(zoned: EmbeddedStore) -> None:
    site = told(zoned, Story(daily=4, seed=8))
    wanted = week(site, NOW)
    assert same(judged(zoned, NOW), wanted) and wanted["fixed", ""].threshold > 0.1


@pytest.mark.parametrize("uid", ["flowtide-r1", "flowtide-r2", "flowtide-r3", "flowtide-r5", "flowtide-r7"])
def test_without_new_flows_there_is_no_judgement(zoned: EmbeddedStore, uid: str) -> None:
    """R0's three minutes: the newest minute began 240 s before the bucket closed, or a minute earlier."""
    put(zoned, list(Story(steps=[(NOW - 5400, NOW, 12)]).rows()))
    closing = NOW // 300 * 300 + 120
    zoned.command(f"INSERT INTO bucket_1m (time, service, flows) VALUES ({closing - 300}, 'fixed', 1)")
    assert answer(zoned, uid) == []
    zoned.command(f"INSERT INTO bucket_1m (time, service, flows) VALUES ({closing - 240}, 'fixed', 1)")
    assert answer(zoned, uid)


def test_an_exporter_that_is_not_decoded_takes_the_judgement_where_it_matters(zoned: EmbeddedStore) -> None:
    site = told(zoned, Story(steps=[(NOW - 5400, NOW, 12)]))
    begin = NOW // 300 * 300 - 300
    put_exporter(zoned, "b", begin, begin + 300, unknown_rate_flows=4)  # 20 of 520: 3.8 %
    assert judged(zoned, NOW).keys() == {("fixed", ""), ("fixed", "a"), ("fixed", "b")}
    put_exporter(zoned, "b", begin, begin + 300, unknown_rate_flows=14)  # 90 of 1090: 8.3 %
    site.bad = frozenset("b")
    assert same(judged(zoned, NOW), week(site, NOW))
    assert judged(zoned, NOW).keys() == {("fixed", "a")}


# R3 and R4.


def banded(store: EmbeddedStore, now: int) -> dict[tuple[str, str], Banded]:
    outside = by_label(store, "flowtide-r3", now)
    numbers = {ref: by_label(store, "flowtide-r3", now, ref) for ref in "QLH"}
    return {key: Banded(value == 1, *(numbers[ref][key] for ref in "QLH")) for key, value in outside.items()}


@pytest.mark.parametrize("by", [0, 18, -18])
def test_the_band_is_that_of_the_days_before(zoned: EmbeddedStore, by: int) -> None:
    site = told(zoned, Story(steps=[(NOW - 9000, NOW, by)], seed=4))
    wanted = band(site, NOW)
    assert same(banded(zoned, NOW), wanted) and len(wanted) == 3
    assert {row.outside for row in wanted.values()} == {by != 0}


@pytest.mark.parametrize("given", [None, "25-50"])
def test_until_there_are_28_days_the_band_is_as_set_or_shipped(zoned: EmbeddedStore, given: str | None) -> None:
    site = told(zoned, Story(history=27))
    if given:
        set_to(zoned, "alerts:band:fixed", given)
        site.bands = {"fixed": (0.25, 0.5)}
    wanted = band(site, NOW)
    assert same(banded(zoned, NOW), wanted)
    row = wanted["fixed", ""]
    assert (row.low, row.high, row.outside) == ((0.25, 0.5, True) if given else (0.13, 0.29, False))


def test_a_service_without_a_band_is_not_judged(zoned: EmbeddedStore) -> None:
    site = told(zoned, Story(history=20, service="wholesale"))
    assert banded(zoned, NOW) == band(site, NOW) == {}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 3))])
def test_a_band_over_silence_and_holidays_is_as_the_walk_says(zoned: EmbeddedStore, seed: int) -> None:
    rng = np.random.default_rng(seed)
    silent = [("b", NOW - day * 86_400 - 3000, NOW - day * 86_400) for day in rng.choice(30, 6, replace=False).tolist()]
    site = told(zoned, Story(exporters={"a": 0.2, "b": 0.5}, silent=silent, seed=seed, daily=2))
    site.holidays = frozenset({date(2026, 9, 20)})
    set_to(zoned, "alerts:holidays", "2026-09-20")
    assert same(banded(zoned, NOW), band(site, NOW))


@pytest.mark.parametrize("by", [0, 6])
def test_a_drift_is_judged_by_full_local_days(zoned: EmbeddedStore, by: int) -> None:
    midnight = unix(2026, 9, 22, 22)  # in Berlin
    story = Story(hours=24, history=16, steps=[(midnight - 7 * 86_400, NOW, by)],
                  silent=[("b", midnight - 3 * 86_400, midnight - 3 * 86_400 + 40_000)])  # fmt: skip
    site = told(zoned, story)
    wanted = trend(site, NOW)
    found = by_label(zoned, "flowtide-r4", NOW, "Q"), by_label(zoned, "flowtide-r4", NOW, "P")
    assert found[0]["fixed"] == pytest.approx(wanted["fixed"][0]) and found[1]["fixed"] == pytest.approx(
        wanted["fixed"][1]
    )
    assert by_label(zoned, "flowtide-r4") == {"fixed": float(by > 0)}


# Both forms.


@pytest.mark.parametrize("uid", [rule.uid for rule in RULES if rule.ranged])
def test_a_range_says_what_each_moment_said(zoned: EmbeddedStore, uid: str) -> None:
    story = Story(
        hours=14, steps=[(NOW - 4 * 3600, NOW - 2 * 3600, 12)], silent=[("b", NOW - 3 * 3600, NOW - 9000)],
        packets=12_000, scale=lambda at_: 0.3 if NOW - 12_000 <= at_ < NOW - 8000 else 1.0,
    )  # fmt: skip
    told(zoned, story)
    put_minutes(zoned, "fixed", NOW // 60 * 60 - 5 * 3600, NOW // 60 * 60 - 5400)  # and none for an hour
    rng = np.random.default_rng(1)
    since, until = NOW - 4 * 3600, NOW
    numbers = BY_UID[uid].numbers
    for ref in ("A", *list(numbers)[:1]):
        rows = zoned.query(over(uid, since, until, ref)).to_pylist()
        assert rows
        for closing in rng.choice(range(since // 300 * 300 + 420, until, 300), 7, replace=False).tolist():
            late = int(rng.integers(0, 300))
            wanted = sorted((tuple(row[name] for name in BY_UID[uid].labels), row["value"]) for row in
                            answer(zoned, uid, closing + late, ref))  # fmt: skip
            found = sorted((tuple(row[name] for name in BY_UID[uid].labels), row["value"]) for row in rows
                           if int(row["time"].timestamp() if hasattr(row["time"], "timestamp") else row["time"])
                           == closing)  # fmt: skip
            assert found == wanted
