"""The evaluator over time: what is due, what a kill or a disk or a silent store does to events."""

import errno
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.alerts import memory, metrics
from dashboards.alerts.evaluate import Ask, AskFailed, AskSilent
from dashboards.alerts.expressions import Threshold
from dashboards.alerts.history import History, bounded, row_of
from dashboards.alerts.memory import Memory
from dashboards.alerts.report import report
from dashboards.alerts.rulefile import Group, Query, Rule, RuleSet
from dashboards.alerts.rulesteps import Step
from dashboards.alerts.service import Evaluator
from dashboards.alerts.states import GONE, NO_JUDGEMENT, Event, Instance

BEGIN = 1_700_000_040.0
MINUTE = 60.0
assert BEGIN % MINUTE == 0


def rule(uid: str, sql: str = "$__toTime", wait: float = 0) -> Rule:
    steps: dict[str, Step] = {"A": Query(sql, 300), "C": Threshold("A", "gt", (0.5,))}
    return Rule(uid, uid.title(), "C", steps, wait, needed=frozenset(steps), labels={"severity": "warn"})


def rules(*some: Rule, interval: int = 60) -> RuleSet:
    return RuleSet((Group("g", "f", interval, some or (rule("one"),)),))


def scripted(script: str) -> Ask:
    """By the minute that is asked for: T, F, M another series only, N nothing, E refused, S silent."""

    def ask(sql: str) -> Sequence[Mapping[str, object]]:
        found = re.search(r"toDateTime\((\d+)\)", sql)
        assert found
        symbol = script[int((int(found[1]) - BEGIN) // MINUTE)]
        if symbol == "E":
            raise AskFailed("no such table")
        if symbol == "S":
            raise AskSilent("nobody there")
        own = {"T": [{"s": "a", "v": 1.0}], "F": [{"s": "a", "v": 0.0}]}.get(symbol, [])
        return [] if symbol == "N" else [*own, {"s": "other", "v": 0.0}]

    return ask


class Killed(BaseException):
    """As a kill -9: nothing of the process goes on."""


class Outside:
    """What survives a kill: notifier and history as others have them, and the hand that kills."""

    def __init__(self, kills: set[int]) -> None:
        self.told: list[Event] = []
        self.firing: list[Instance] = []
        self.written: list[Event] = []
        self.failed = ""
        self._kills, self._steps = kills, 0

    def blow(self) -> None:
        self._steps += 1
        if self._steps in self._kills:
            raise Killed

    def take(self, events: Sequence[Event], firing: Sequence[Instance], now: float) -> None:
        self.blow()
        self.told += events
        self.firing = list(firing)
        self.blow()

    def write(self, events: Sequence[Event]) -> list[Event]:
        for event in events:
            self.blow()
            self.written.append(event)
        self.blow()
        return []


def once(events: Sequence[Event]) -> list[tuple[str, str, float, str]]:
    """Each event once, by its id, in the order in which it first came."""
    found = {event.id: (event.instance.key, event.kind, event.at, event.reason) for event in events}
    return list(found.values())


def live(path: Path, script: str, outside: Outside, restarts: set[int], monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    write = memory.write

    def written(where: Path, what: Memory) -> None:
        outside.blow()
        write(where, what)
        outside.blow()

    monkeypatch.setattr(memory, "write", written)
    judged = rules(rule("one"), rule("two", wait=120))

    def made() -> Evaluator:
        return Evaluator(judged, scripted(script), path, notifier=outside, history=outside)

    evaluator = made()
    for minute in range(len(script)):
        if minute in restarts:
            evaluator = made()
        for _ in range(50):
            try:
                evaluator.tend(BEGIN + minute * MINUTE + 1)
                evaluator.tend(BEGIN + minute * MINUTE + 2)  # and nothing more is due
                break
            except Killed:
                evaluator = made()
        else:
            raise AssertionError("never got through")
    return evaluator


@given(
    script=st.text(alphabet="TTTFFMNES", min_size=1, max_size=14),
    kills=st.sets(st.integers(1, 60), max_size=8),
    restarts=st.sets(st.integers(1, 13), max_size=4),
)
@settings(deadline=None, max_examples=150)
def test_kills_and_restarts_lose_nothing_and_add_nothing(
    tmp_path_factory: pytest.TempPathFactory, script: str, kills: set[int], restarts: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("alerts")
    quiet, hit = Outside(set()), Outside(kills)
    with pytest.MonkeyPatch.context() as monkeypatch:
        undisturbed = live(folder / "quiet.json", script, quiet, set(), monkeypatch)
    with pytest.MonkeyPatch.context() as monkeypatch:
        disturbed = live(folder / "hit.json", script, hit, restarts, monkeypatch)
    assert len(quiet.told) == len({event.id for event in quiet.told})  # never twice without a kill
    assert quiet.told == quiet.written
    assert once(hit.told) == once(quiet.told)
    assert once(hit.written) == once(quiet.written)
    assert hit.firing == quiet.firing
    assert disturbed.memory == undisturbed.memory
    assert memory.read(folder / "hit.json") == memory.read(folder / "quiet.json")


def test_a_restart_in_between_tells_firing_and_resolved_once(tmp_path: Path) -> None:
    outside, path = Outside(set()), tmp_path / "alerts.json"
    for minute in range(6):  # a process a minute
        evaluator = Evaluator(rules(), scripted("FTTTFF"), path, notifier=outside, history=outside)
        evaluator.tend(BEGIN + minute * MINUTE)
    told = [(event.kind, event.at) for event in outside.told]
    assert told == [("firing", BEGIN + MINUTE), ("resolved", BEGIN + 4 * MINUTE)]


def test_what_ended_while_nobody_looked_resolves_at_the_first_look(tmp_path: Path) -> None:
    outside, path = Outside(set()), tmp_path / "alerts.json"
    Evaluator(rules(), scripted("T" * 9 + "F"), path, notifier=outside).tend(BEGIN)
    Evaluator(rules(), scripted("T" * 9 + "F"), path, notifier=outside).tend(BEGIN + 9 * MINUTE)
    assert [(event.kind, event.at) for event in outside.told] == [("firing", BEGIN), ("resolved", BEGIN + 9 * MINUTE)]


def test_groups_are_due_at_multiples_of_their_interval(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask(sql: str) -> Sequence[Mapping[str, object]]:
        asked.append(int(sql.removeprefix("toDateTime(").removesuffix(")")))
        return []

    evaluator = Evaluator(rules(interval=60), ask, tmp_path / "a.json")
    for now in (BEGIN + 30, BEGIN + 31, BEGIN + 59.9, BEGIN + 60, BEGIN + 61, BEGIN + 300, BEGIN + 301):
        evaluator.tend(now)
    # Late ones are left out, not caught up with.
    assert asked == [BEGIN, BEGIN + 60, BEGIN + 300]
    skipped = metrics.SKIPPED._value.get()
    evaluator.tend(BEGIN + 600)
    assert metrics.SKIPPED._value.get() - skipped == 4
    # A clock that is set back far does not end it.
    evaluator.tend(BEGIN - 3_600)
    assert asked[-1] == BEGIN - 3_600


def test_a_silent_store_is_asked_once_a_round(tmp_path: Path) -> None:
    asked = 0

    def ask(sql: str) -> Sequence[Mapping[str, object]]:
        nonlocal asked
        asked += 1
        raise AskSilent("nobody there")

    outside = Outside(set())
    evaluator = Evaluator(rules(rule("one"), rule("two"), rule("three")), ask, tmp_path / "a.json", notifier=outside)
    evaluator.tend(BEGIN)
    evaluator.tend(BEGIN + 60)
    assert asked == 2
    assert evaluator.silent == "nobody there"
    assert [(event.kind, event.reason) for event in outside.told] == [("error", "nobody there")] * 3
    assert [each.state for each in outside.firing] == ["error"] * 3


def test_one_rule_in_error_does_not_keep_the_others_from_their_work(tmp_path: Path) -> None:
    def ask(sql: str) -> Sequence[Mapping[str, object]]:
        if "bad" in sql:
            raise AskFailed("no such column")
        return [{"s": "a", "v": 1.0}]

    outside = Outside(set())
    evaluator = Evaluator(rules(rule("one", "bad"), rule("two")), ask, tmp_path / "a.json", notifier=outside)
    evaluator.tend(BEGIN)
    assert [(event.instance.uid, event.kind) for event in outside.told] == [("one", "error"), ("two", "firing")]
    assert evaluator.silent == ""
    told = report(evaluator.rules, evaluator.memory, ())
    assert [(each["uid"], each["state"], each["error"]) for each in told["rules"]] == [
        ("one", "error", "no such column"), ("two", "firing", "")]  # fmt: skip
    json.dumps(told, allow_nan=False)


def test_told_although_the_disk_is_full_and_kept_when_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    write = memory.write

    def written(path: Path, what: Memory) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, what)

    monkeypatch.setattr(memory, "write", written)
    outside, path = Outside(set()), tmp_path / "a.json"
    evaluator = Evaluator(rules(), scripted("TTF"), path, notifier=outside)
    evaluator.tend(BEGIN)
    assert [event.kind for event in outside.told] == ["firing"]
    assert "No space left" in evaluator.untakable
    full = False
    evaluator.tend(BEGIN + 60)
    assert evaluator.untakable == ""
    assert memory.read(path) == evaluator.memory


def test_a_store_that_takes_nothing_is_written_to_later(tmp_path: Path) -> None:
    class Away(Outside):
        def write(self, events: Sequence[Event]) -> list[Event]:
            self.failed = "away"
            return list(events)

    away, path = Away(set()), tmp_path / "a.json"
    evaluator = Evaluator(rules(), scripted("TF"), path, history=away)
    evaluator.tend(BEGIN)
    evaluator.tend(BEGIN + 60)
    assert evaluator.unwritable == "away"
    there = Outside(set())
    Evaluator(rules(), scripted("TF"), path, history=there).tend(BEGIN + 61)
    assert [event.kind for event in there.written] == ["firing", "resolved"]
    assert memory.read(path).unwritten == ()


def test_a_rule_that_is_no_more_resolves(tmp_path: Path) -> None:
    outside, path = Outside(set()), tmp_path / "a.json"
    Evaluator(rules(rule("old")), scripted("TT"), path, notifier=outside).tend(BEGIN)
    Evaluator(rules(rule("new")), scripted("FF"), path, notifier=outside).tend(BEGIN + 60)
    assert [(event.instance.uid, event.kind, event.reason) for event in outside.told] == [
        ("old", "firing", ""), ("old", "resolved", GONE)]  # fmt: skip


def test_a_state_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    for number, content in enumerate(("{", "[]", '{"version": 9}', '{"version": 1}')):
        path = tmp_path / f"{number}.json"
        path.write_text(content)
        outside = Outside(set())
        Evaluator(rules(), scripted("T"), path, notifier=outside).tend(BEGIN)
        assert [event.kind for event in outside.told] == ["firing"]
        assert (tmp_path / f"{number}.json.broken").read_text() == content


def test_stopping_leaves_the_round_as_if_it_had_not_begun(tmp_path: Path) -> None:
    stopping = False

    def ask(sql: str) -> Sequence[Mapping[str, object]]:
        nonlocal stopping
        stopping = True
        raise AskSilent("the store stops too")

    outside, path = Outside(set()), tmp_path / "a.json"
    Evaluator(rules(), ask, path, notifier=outside, stopping=lambda: stopping).tend(BEGIN)
    assert outside.told == []
    assert not path.exists()


def test_missing_rows_resolve_with_their_reason(tmp_path: Path) -> None:
    outside = Outside(set())
    evaluator = Evaluator(rules(), scripted("TMM"), tmp_path / "a.json", notifier=outside)
    for minute in range(3):
        evaluator.tend(BEGIN + minute * MINUTE)
    assert [(event.kind, event.reason) for event in outside.told] == [("firing", ""), ("resolved", NO_JUDGEMENT)]


def test_rows_of_the_history() -> None:
    labels = {"service": "a", "severity": "page"}
    instance = Instance("u", "R1", "T", labels, "normal", 20.0, {"summary": "s"}, {"Q": 0.5}, started=10.5, until=20.0)
    (row,) = row_of(Event("resolved", instance, 20.0, NO_JUDGEMENT)).to_pylist()
    assert {name: row[name] for name in ("uid", "rule", "title", "severity", "state", "summary", "reason")} == {
        "uid": "u", "rule": "R1", "title": "T", "severity": "page", "state": "resolved", "summary": "s",
        "reason": NO_JUDGEMENT}  # fmt: skip
    assert (dict(row["labels"]), dict(row["values"])) == (labels, {"Q": 0.5})
    assert (row["time"].timestamp(), row["started"].timestamp()) == (20.0, 10.5)


def test_events_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.alerts.history.MOST_WAITING", 3)
    instance = Instance("u", "R1", "T", {}, "firing", 0.0)
    events = [Event("firing", instance, float(number)) for number in range(5)]
    assert bounded(events) == events[2:]
    assert History(lambda: None).write([]) == []  # type: ignore[arg-type, return-value] # nothing is opened
