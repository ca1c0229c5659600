"""The shipped rules on weeks of rows with the noise of sampling: what fires, when, and what stays silent.

Two seeds of each case; ``test_alert_counts.py`` has the counts over many.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from dashboards.alerts.evaluate import Judgement, judge
from dashboards.alerts.states import Event
from flowtide.simulator.rule_rows import Device, Happening, Trial, write_trials
from flowtide.simulator.share_noise import Q1, Q2
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.rule_trials import Asked, Fired, fired, judged, shipped, told, troubled
from tests.stored import FOR_EVER, TIMEZONE

pytestmark = pytest.mark.soak  # minutes; what each query judges is in test_alert_values
MINUTE, HOUR, DAY = 60, 3_600, 86_400
DAWN = int(datetime(2026, 5, 12, 15, tzinfo=UTC).timestamp())  # midnight in Tokyo, of a Wednesday
BEGIN, NOON, END = DAWN - 35 * DAY, DAWN + 12 * HOUR, DAWN + DAY
HIT = 75 * MINUTE
SEEDS = (1, 2)
OF = {1: "fixed", 2: "mobile"}  # whose shares the seed has


def trial(service: str, seed: int, *events: Happening, an_hour: int = 10_008, valley: float = 1.0) -> Trial:
    """Two exporters of different shares: to lose one would move the share of the service by six points."""
    kind = OF[seed % 2 or 2]
    devices = (Device(f"{service}-a", apart=-6), Device(f"{service}-b", apart=6))
    return Trial(service, seed, devices, Q2[kind], Q1[kind] / Q2[kind], an_hour, valley, events=events)


def step(points: float) -> Happening:
    return Happening("step", NOON, END, points=points)


def silent(exporter: str, begin: int = NOON, end: int = NOON + 2 * HOUR) -> Happening:
    return Happening("silent", begin, end, exporter)


@pytest.fixture(scope="module")
def database(engine: EmbeddedStore) -> Iterator[Callable[[str], EmbeddedStore]]:
    """Makes databases with all tables."""
    names = []

    def make(name: str) -> EmbeddedStore:
        names.append(name)
        store = engine.in_database(name)
        migrate(store, FOR_EVER, TIMEZONE)
        return store

    yield make
    for name in names:
        engine.command(f"DROP DATABASE {name} SYNC")


class Day(NamedTuple):
    """A day of many services, and all that the rules said of it."""

    events: list[Event]
    judge: Callable[[str, int], Judgement]  # a rule's uid, and a Unix time

    def of(self, service: str, *, info: bool = False) -> list[Fired]:
        """What fired of a service or of one of its exporters."""
        return [each for each in fired(self.events, info=info)
                if each.service == service or each.exporter.startswith(f"{service}-")]  # fmt: skip


@pytest.fixture(scope="module")
def day(database: Callable[[str], EmbeddedStore]) -> Day:
    """Each case and seed is a service of one store, with two exporters of its own."""
    store = database("trial_day")
    trials = [
        case
        for seed in SEEDS
        for case in (
            trial(f"calm{seed}", seed), trial(f"up{seed}", seed, step(8)), trial(f"down{seed}", seed, step(-8)),
            trial(f"lost{seed}", seed, silent(f"lost{seed}-b")), trial(f"night{seed}", seed, valley=0.2),
            trial(f"thin{seed}", seed, an_hour=1_008), trial(f"gone{seed}", seed, silent("", NOON, END)),
        )
    ]  # fmt: skip
    write_trials(store, trials, TIMEZONE, BEGIN, END, minutes_since=DAWN - DAY)
    ask = Asked(store)
    events = judged(ask, DAWN, END, ("R1", "R2", "R3", "R5", "R7"))
    events += judged(ask, NOON - 10 * MINUTE, NOON + 30 * MINUTE, ("R0",))
    events += judged(ask, NOON - 30 * MINUTE, NOON + 3 * HOUR, ("R6", "R9", "R10"))
    events += judged(ask, DAWN, DAWN + 6 * HOUR, ("R4",))
    assert troubled(events) == []
    rules = shipped().by_uid()
    return Day(events, cache(lambda uid, at: judge(rules[uid], ask, at)))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_happens_and_nothing_fires(day: Day, seed: int) -> None:
    assert day.of(f"calm{seed}", info=True) == [], told(day.events)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("case", "rule"), [("up", "R1"), ("down", "R2")])
def test_eight_points_are_seen_within_75_minutes(day: Day, case: str, rule: str, seed: int) -> None:
    found = day.of(f"{case}{seed}", info=True)
    assert [(each.rule, each.exporter) for each in found] == [(rule, "")], told(day.events)
    # Of 60 minutes so much must be new that the threshold is reached, and that for three buckets.
    assert 30 * MINUTE < found[0].at - NOON <= HIT


@pytest.mark.parametrize("seed", SEEDS)
def test_one_of_two_exporters_silent_is_told_as_that(day: Day, seed: int) -> None:
    found = day.of(f"lost{seed}")
    assert [(each.rule, each.severity, each.exporter) for each in found] == [("R6", "page", f"lost{seed}-b")], found
    # A bucket of five minutes, closed two minutes later, looked at every five.
    assert 5 * MINUTE < found[0].at - NOON <= 12 * MINUTE
    resolved = [event.at for event in day.events if event.kind == "resolved" and event.instance.rule == "R6"
                and event.instance.labels.get("exporter") == f"lost{seed}-b"]  # fmt: skip
    assert len(resolved) == 1 and 2 * HOUR < resolved[0] - NOON <= 2 * HOUR + 12 * MINUTE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_night_with_a_fifth_of_the_traffic_is_silent_or_too_little(day: Day, seed: int) -> None:
    assert {each.rule for each in day.of(f"night{seed}", info=True)} <= {"R5"}
    # It has no judgement at night, and one in the day.
    for hour, there in ((4, False), (20, True)):
        verdicts = day.judge("flowtide-r1", DAWN + hour * HOUR).verdicts
        assert any(verdict.labels["service"] == f"night{seed}" for verdict in verdicts) is there


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_sampled_packets_an_hour_are_no_judgement(day: Day, seed: int) -> None:
    assert day.of(f"thin{seed}") == []
    for uid in ("flowtide-r1", "flowtide-r2", "flowtide-r3"):
        verdicts = day.judge(uid, NOON).verdicts
        assert not any(verdict.labels["service"] == f"thin{seed}" for verdict in verdicts)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_service_without_flows_is_never_fine(day: Day, seed: int) -> None:
    """R0 says it; no other rule says anything, neither that the share is 0 nor that all is well."""
    name = f"gone{seed}"
    found = [(each.rule, each.severity) for each in day.of(name) if each.service == name]
    assert sorted(found) == [("R0", "page"), ("R0", "warn")]
    for rule in shipped().rules:
        if rule.name in ("R0", "R6"):
            continue
        # The bucket that ends at noon is whole; the next one is closed at seven past.
        for at in (NOON + 10 * MINUTE, NOON + 2 * HOUR):
            verdicts = day.judge(rule.uid, at).verdicts
            there = [each for each in verdicts if each.labels.get("service") == name]
            assert there == [], (rule.uid, at - NOON)


def test_a_store_without_rows_is_never_fine(database: Callable[[str], EmbeddedStore]) -> None:
    ask = Asked(database("trial_empty"))
    for rule in shipped().rules:
        judgement = judge(rule, ask, NOON)
        assert (judgement.verdicts, judgement.error) == ((), ""), rule.uid


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stopped_consumer_fires_freshness_only(database: Callable[[str], EmbeddedStore], seed: int) -> None:
    """Every table ends, somewhere within a bucket; what the exporters send lies on the bus."""
    store = database(f"trial_stopped{seed}")
    names = ("fixed", "mobile")
    stop = NOON + seed * 2 * MINUTE
    trials = [trial(name, 2 * seed + at, silent("", stop, END)) for at, name in enumerate(names)]
    write_trials(store, trials, TIMEZONE, BEGIN + 12 * DAY, NOON + HOUR, minutes_since=NOON - 2 * DAY)
    events = judged(Asked(store), NOON - 10 * MINUTE, stop + 30 * MINUTE)
    found = fired(events, info=True)
    assert troubled(events) == []
    assert {each.rule for each in found} == {"R0"}, told(events)
    for severity, least in (("warn", 3), ("page", 10)):
        at = {each.service: each.at - stop for each in found if each.severity == severity}
        assert set(at) == set(names)
        # Older than so many minutes, looked at every minute; a minute that has begun counts.
        assert all(least * MINUTE <= late <= (least + 2) * MINUTE for late in at.values()), at


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_without_loss_is_silent(database: Callable[[str], EmbeddedStore], seed: int) -> None:
    """For nearly three minutes nothing comes in; then all of it, at once."""
    store = database(f"trial_restart{seed}")
    stop = NOON + seed * 2 * MINUTE + 10
    back = stop + 175
    trials = [trial(name, 2 * seed + at) for at, name in enumerate(("fixed", "mobile"))]
    whole_minutes = stop // 60 * 60
    waiting = [True]

    def write(name: str, keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> None:
        write_trials(
            store, trials, TIMEZONE, BEGIN + 12 * DAY, NOON + HOUR, minutes_since=NOON - 2 * DAY, name=name, keep=keep
        )

    def come_in(now: int) -> None:
        """What is of later than it is asked for is not seen."""
        if now >= back and waiting[0]:
            write("after", lambda at: at >= whole_minutes)
            waiting[0] = False

    write("before", lambda at: at < whole_minutes)
    events = judged(Asked(store), NOON - 5 * MINUTE, stop + 20 * MINUTE, before=come_in)
    assert troubled(events) == [] and not waiting[0]
    assert fired(events, info=True) == [], told(events)
