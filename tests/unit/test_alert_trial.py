"""When rules would have fired: by one question for a range as by a question for each moment; and what is set."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from pydantic import ValidationError

from dashboards.alerts.evaluate import AskFailed, AskSilent
from dashboards.alerts.expressions import Threshold
from dashboards.alerts.rulefile import Query, Rule
from dashboards.alerts.rulesteps import Step
from dashboards.alerts.settings import AlertSettings
from dashboards.alerts.states import NO_JUDGEMENT
from dashboards.alerts.trial import Trial, ranged, stepped, trial
from flowtide.alerts import AlertsProcess, wanted
from flowtide.settings import Settings, load
from sinks.settings import StoreSettings

STEP = 300.0
BEGIN = 1_700_000_100.0 + 120  # a bucket closes two minutes after its end
Rows = list[dict[str, object]]


def rule(wait: float) -> Rule:
    steps: dict[str, Step] = {"A": Query("$__toTime", 300), "C": Threshold("A", "gt", (0.5,))}
    return Rule("u", "T", "C", steps, wait, needed=frozenset(steps))


def rows_at(script: str, number: int) -> Rows:
    values = {"T": 1.0, "F": 0.0}
    return [{"s": name, "v": values[script[number]]} for name in "ab" if script[number] in values]


def facts(found: Trial) -> object:
    episodes = [(each.labels["s"], each.since, each.until, each.reason, each.peak) for each in found.episodes]
    return episodes, found.judged, found.empty, found.errors


@given(script=st.text(alphabet="TTFM", max_size=40), wait=st.sampled_from([0.0, 600.0]))
@hypothesis(deadline=None)
def test_a_range_gives_what_its_moments_give(script: str, wait: float) -> None:
    moments = [BEGIN + (number + 1) * STEP for number in range(len(script))]

    def ask(sql: str) -> Rows:
        found = re.search(r"\d+", sql)
        assert found
        return rows_at(script, int((int(found[0]) - BEGIN) / STEP) - 1)

    rows = [row | {"time": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"}
            for number, moment in enumerate(moments) for row in rows_at(script, number)]  # fmt: skip
    begin, end = BEGIN, BEGIN + len(script) * STEP
    judged = rule(wait)
    whole = trial(judged, ranged(judged, rows, begin, end, STEP))
    each = trial(judged, stepped(judged, ask, moments))
    assert facts(whole) == facts(each)


def test_episodes() -> None:
    judged = rule(0.0)
    rows: Rows = [{"time": 300.0, "s": "a", "v": 1.0}, {"time": 600.0, "s": "a", "v": 3.0},
                  {"time": 900.0, "s": "a", "v": 0.0}, {"time": 1200.0, "s": "a", "v": 1.0}]  # fmt: skip
    found = trial(judged, ranged(judged, rows, 0.0, 1_800.0, STEP))
    first, second = found.episodes
    assert (first.since, first.until, first.reason, first.peak) == (300.0, 900.0, "", {"A": 3.0, "C": 1.0})
    assert (second.since, second.until, second.reason) == (1200.0, 1800.0, NO_JUDGEMENT)
    assert (found.judged, found.empty) == (4, 2)
    still = trial(judged, ranged(judged, rows[:2], 0.0, 600.0, STEP))
    assert [each.until for each in still.episodes] == [None]


@pytest.mark.parametrize("times", [[300.0, 450.0], [-300.0], [0.0], [2_100.0], ["soon"], [None]])
def test_rows_of_other_times_are_refused(times: Sequence[object]) -> None:
    rows: list[Mapping[str, object]] = [{"time": time, "s": "a", "v": 1.0} for time in times]
    with pytest.raises(AskFailed):
        list(ranged(rule(0.0), rows, 0.0, 1_800.0, STEP))


def test_a_silent_store_is_counted_as_errors() -> None:
    def ask(sql: str) -> Rows:
        raise AskSilent("nobody there")

    judged = rule(0.0)
    found = trial(judged, stepped(judged, ask, [300.0, 600.0]))
    assert (found.judged, found.errors, found.error) == (0, 2, "nobody there")


def test_who_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = StoreSettings(url="http://ch:8123")
    assert wanted(Settings(data=tmp_path))
    assert not wanted(Settings(data=tmp_path, store=server))
    assert wanted(Settings(data=tmp_path, store=server, alerts=AlertSettings(enabled=True)))
    for text, expected in (("false", False), ("true", True), ("auto", True)):
        monkeypatch.setenv("FLOWTIDE_ALERTS__ENABLED", text)
        assert wanted(load()) == expected
    process = AlertsProcess()
    assert process.start(Settings(data=tmp_path, store=server), "http://ch:8123") == ""
    assert process.child.pid is None
    process.close()


@pytest.mark.parametrize(
    "wrong",
    [{"holidays": ["soon"]}, {"bands": {"fixed": [29, 13]}}, {"bands": {"fixed": [0, 101]}}, {"store_user": "Admin"},
     {"store_url": "clickhouse://h"}, {"listen": "9114"}, {"grace_seconds": -1}, {"enabled": "perhaps"}, {"on": True}],
)  # fmt: skip
def test_settings_that_are_wrong(wrong: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlertSettings.model_validate(wrong)
