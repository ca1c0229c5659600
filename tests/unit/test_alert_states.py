"""States of alerts: a slow reading of the whole past says what fires, and step by step it must come out the same."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.alerts import templates
from dashboards.alerts.evaluate import Judgement, Verdict
from dashboards.alerts.rulefile import NoData, Query, Rule
from dashboards.alerts.states import (
    GONE,
    NEW,
    NO_JUDGEMENT,
    Event,
    RuleState,
    StateError,
    forget,
    read_event,
    read_state,
    step,
)

STEP = 60.0
SUMMARY = {"summary": templates.parse("{{ $labels.service }} is {{ $values.Q.Value }}")}


def rule(wait: float = 0.0, no_data: NoData = "NoData") -> Rule:
    return Rule("u", "Title", "C", {"C": Query("", 300)}, wait, no_data, {"severity": "warn", "rule": "R1"}, SUMMARY)


def says(symbol: str, service: str = "a") -> Judgement:
    """T true, F false, M no row for it but one for another, N no row at all, E an error."""
    others = (Verdict({"service": "other"}, False, {"A": 0.0}),)
    own = {"T": True, "F": False}
    if symbol in own:
        return Judgement((*others, Verdict({"service": service}, own[symbol], {"A": float(own[symbol]), "Q": 7.0})))
    return {"M": Judgement(others), "N": Judgement(), "E": Judgement(error="no store")}[symbol]


def walk(judged: Rule, symbols: str) -> tuple[RuleState, list[Event]]:
    state, found = NEW, list[Event]()
    for number, symbol in enumerate(symbols):
        state, events = step(judged, state, says(symbol), number * STEP)
        assert read_state(state.plain()) == state
        found += events
    return state, found


def of_a(events: Sequence[Event]) -> list[tuple[str, float, str]]:
    return [(event.kind, event.at, event.reason) for event in events if event.instance.labels.get("service") == "a"]


def fires(symbols: str, wait: float) -> str:
    """Reference: of the whole past, whether it fires now, or why not: "", "F" (its row), "M" (no rows)."""
    past = [(number * STEP, symbol) for number, symbol in enumerate(symbols) if symbol != "E"]
    text = "".join("M" if symbol in "MN" else symbol for _, symbol in past)
    if text.endswith("MM") or not text.strip("M"):
        return "M"
    if text.rstrip("M")[-1] == "F":
        return "F"
    # The run of true rows, with gaps of one evaluation at most.
    begin = end = len(text.rstrip("M")) - 1
    while begin > 0:
        if text[begin - 1] == "T":
            begin -= 1
        elif begin > 1 and text[begin - 2 : begin] == "TM":
            begin -= 2
        else:
            break
    return "T" if past[end][0] - past[begin][0] >= wait else ""


def reference(symbols: str, wait: float) -> list[tuple[str, float, str]]:
    found, was = [], False
    for number in range(len(symbols)):
        now = fires(symbols[: number + 1], wait)
        if now == "T" and not was:
            found.append(("firing", number * STEP, ""))
        elif was and now != "T":
            found.append(("resolved", number * STEP, NO_JUDGEMENT if now == "M" else ""))
        was = now == "T"
    return found


@given(symbols=st.text(alphabet="TTTFMNE", max_size=30), wait=st.sampled_from([0.0, 60.0, 90.0, 180.0, 600.0]))
@settings(deadline=None, max_examples=500)
def test_what_fires_is_what_the_whole_past_says(symbols: str, wait: float) -> None:
    state, events = walk(rule(wait), symbols)
    assert [each for each in of_a(events) if each[0] in ("firing", "resolved")] == reference(symbols, wait)
    assert len({event.id for event in events}) == len(events)
    firing = [each for each in state.firing() if each.labels["service"] == "a"]
    assert len(firing) == (len(reference(symbols, wait)) % 2)
    for event in events:
        assert read_event(event.plain()) == event


def test_an_episode_step_by_step() -> None:
    _, events = walk(rule(wait=60.0), "FTTTFF")
    assert of_a(events) == [("pending", 60.0, ""), ("firing", 120.0, ""), ("resolved", 240.0, "")]
    _, firing, resolved = (event.instance for event in events if event.instance.labels["service"] == "a")
    assert (firing.state, firing.since, firing.started, firing.until) == ("firing", 120.0, 120.0, 0.0)
    assert firing.annotations == {"summary": "a is 7"}
    assert firing.labels == {"service": "a", "severity": "warn", "rule": "R1"}
    assert (resolved.state, resolved.since, resolved.started, resolved.until) == ("normal", 240.0, 120.0, 240.0)


def test_what_is_normal_says_nothing() -> None:
    state, events = walk(rule(), "FF")
    assert of_a(events) == []
    assert state.state == "normal"
    assert all(instance.annotations == {} for instance in state.instances.values())


def test_pending_that_passes_is_no_alert() -> None:
    _, events = walk(rule(wait=600.0), "TTF")
    assert of_a(events) == [("pending", 0.0, ""), ("normal", 120.0, "")]
    _, events = walk(rule(wait=600.0), "TTMM")
    assert of_a(events) == [("pending", 0.0, ""), ("normal", 180.0, NO_JUDGEMENT)]


def test_no_data_and_errors_are_states_of_their_own() -> None:
    state, events = walk(rule(), "TN")
    assert [(event.kind, event.at) for event in events if event.kind != "firing"] == [("nodata", 60.0)]
    assert state.state == "firing"  # one evaluation without a row
    state, events = walk(rule(), "TNN")
    assert of_a(events)[-1] == ("resolved", 120.0, NO_JUDGEMENT)
    assert (state.state, state.instances) == ("nodata", {})
    state, events = walk(rule(), "TNNT")
    assert [event.kind for event in events if "service" not in event.instance.labels] == ["nodata", "normal"]

    state, events = walk(rule(), "T" + "E" * 20)
    assert [event.kind for event in events] == ["firing", "error"]  # told once, and it still fires
    assert state.trouble is not None
    assert (state.state, state.trouble.reason) == ("firing", "no store")
    state, events = walk(rule(), "EEF")
    assert [(event.kind, event.at) for event in events] == [("error", 0.0), ("normal", 120.0)]
    assert (state.state, state.trouble) == ("normal", None)
    assert walk(rule(), "EN")[0].state == "nodata"
    assert NEW.state == "nodata"  # never judged is not normal


def test_no_rows_at_all_may_be_the_alarm() -> None:
    judged = rule(no_data="Alerting")
    state, (event,) = walk(judged, "N")
    assert (event.kind, event.instance.labels) == ("firing", {"severity": "warn", "rule": "R1"})
    assert event.instance.annotations == {"summary": "Title: there are no rows at all"}
    # It ends as a series that is missing when there are rows again.
    state, events = walk(judged, "NFFF")
    assert [(event.kind, event.at, event.reason) for event in events][1:] == [("resolved", 120.0, NO_JUDGEMENT)]
    assert state.state == "normal"
    # What is known fires under its own labels.
    state, events = walk(judged, "FN")
    assert sorted(event.instance.labels["service"] for event in events) == ["a", "other"]
    _, events = walk(judged, "FNF")
    assert of_a(events) == [("firing", 60.0, ""), ("resolved", 120.0, "")]
    # And waits as everything waits.
    _, events = walk(rule(wait=120.0, no_data="Alerting"), "NNN")
    assert [(event.kind, event.at) for event in events] == [("pending", 0.0), ("firing", 120.0)]


def test_the_rules_own_labels_win() -> None:
    verdict = Verdict({"severity": "page", "service": "a"}, True, {})
    _, (event,) = step(rule(), NEW, Judgement((verdict,)), 0.0)
    assert event.instance.severity == "warn"


def test_a_clock_set_back_does_not_make_anything_wait_longer() -> None:
    judged = rule(wait=60.0)
    state, _ = step(judged, NEW, says("T"), 10_000.0)
    state, _ = step(judged, state, says("T"), 1_000.0)
    state, events = step(judged, state, says("T"), 1_060.0)
    assert of_a(events) == [("firing", 1_060.0, "")]


def test_a_rule_that_is_gone_resolves() -> None:
    state, _ = walk(rule(), "FT")
    (event,) = forget(state, 300.0)
    assert (event.kind, event.reason, event.instance.until) == ("resolved", GONE, 300.0)


def test_events_have_the_same_id_however_often_they_are_told() -> None:
    _, first = walk(rule(), "FTF")
    _, again = walk(rule(), "FTF")
    assert [event.id for event in first] == [event.id for event in again]


@pytest.mark.parametrize(
    "plain",
    [None, [], {}, {"instances": [{}], "trouble": None, "evaluated": 0},
     {"instances": 3, "trouble": None, "evaluated": 0},
     {"instances": [], "trouble": None, "evaluated": "x"}],
)  # fmt: skip
def test_a_state_that_cannot_be_read(plain: Any) -> None:
    with pytest.raises(StateError):
        read_state(plain)
