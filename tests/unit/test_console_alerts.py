"""The console's word on alerts: what fires is counted, and what is not known is never told as fine."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.console.alerts import shown
from dashboards.console.annotations import events_of
from dashboards.console.frames import Frame
from tests.console_store import FakeStore, ask, console, error, refusal, rows
from tests.fake_evaluator import FakeEvaluator, ago, instance, rule

HISTORY = {"time": "DateTime64(3)", "rule": "String", "title": "String", "severity": "String", "state": "String",
           "labels": "Map(String, String)", "summary": "String", "reason": "String",
           "started": "DateTime64(3)"}  # fmt: skip


def silence(name: str, since: float, until: float, *matchers: str) -> dict[str, Any]:
    """From and until so many hours from now."""
    return {"id": name, "matchers": list(matchers), "starts": ago(hours=-since), "ends": ago(hours=-until)}


@pytest.fixture
def store() -> Iterator[FakeStore]:
    made = FakeStore()
    yield made
    made.close()


@pytest.fixture
def evaluator() -> Iterator[FakeEvaluator]:
    made = FakeEvaluator()
    yield made
    made.close()


def test_what_fires_is_counted_by_severity_without_what_is_silenced(store: FakeStore, evaluator: FakeEvaluator) -> None:
    evaluator.report["rules"] = [
        rule("flowtide-r1", "R1", "warn", instance(service="fixed"), instance(service="mobile"),
             instance("pending", service="cable")),
        rule("flowtide-r0-page", "R0", "page", instance(service="fixed")),
        rule("own", "X", "notice", instance("normal", service="fixed")),
    ]  # fmt: skip
    evaluator.report["silences"] = [
        silence("0123abcd", -1, 1, "rule=~R[12]", "service=mobile"),
        silence("0123abce", -2, -1, "service=fixed"),
        silence("0123abcf", 1, 2, "alertname=R0 of flowtide-r0-page"),
    ]
    for one in evaluator.report["rules"][0]["instances"]:
        one["labels"]["rule"] = "R1"
    with console(store.url, alerts_url=evaluator.url) as address:
        assert ask(address, "/api/alerts/firing") == {
            "running": True, "wanted": True, "problem": "", "firing": {"warn": 1, "page": 1},
        }  # fmt: skip
        found = ask(address, "/api/alerts")
    assert found["running"] is True and len(found["silences"]) == 3
    first = found["rules"][0]
    assert [one["silenced"] for one in first["instances"]] == ["", "0123abcd", ""]
    assert first["runbook"]["then"].startswith("UDP rose") and found["rules"][2]["runbook"] is None
    assert first["instances"][0]["values"]["Q"] == 0.3123456


def test_without_an_evaluator_it_says_so_and_what_to_do(store: FakeStore) -> None:
    with console(store.url) as address:
        found = ask(address, "/api/alerts")
        assert found["running"] is False and found["rules"] == []
        assert "console.alerts_url is empty" in found["problem"] and "flowtide run" in found["problem"]
        assert ask(address, "/api/alerts/firing")["wanted"] is False


@pytest.mark.parametrize(
    ("status", "raw", "said"),
    [
        (500, b"", "status 500"),
        (200, b"<html>", "not JSON"),
        (200, b"[]", "no list of rules"),
        (200, b"{}", "no list of rules"),
    ],
)
def test_an_evaluator_that_is_ill_is_not_taken_for_well(
    store: FakeStore, evaluator: FakeEvaluator, status: int, raw: bytes, said: str
) -> None:
    evaluator.status, evaluator.raw = status, raw
    with console(store.url, alerts_url=evaluator.url) as address:
        found = ask(address, "/api/alerts")
        assert found["running"] is False and said in found["problem"] and "flowtide alerts run" in found["problem"]
        firing = ask(address, "/api/alerts/firing")
        assert firing["running"] is False and firing["wanted"] is True and firing["firing"] == {}


def test_an_evaluator_that_is_gone_and_comes_back(store: FakeStore, evaluator: FakeEvaluator) -> None:
    evaluator.close()
    with console(store.url, alerts_url=evaluator.url) as address:
        found = ask(address, "/api/alerts")
        assert found["running"] is False and f"at {evaluator.url} does not answer" in found["problem"]


def test_many_browsers_are_one_question(store: FakeStore, evaluator: FakeEvaluator) -> None:
    with console(store.url, alerts_url=evaluator.url) as address:
        for _ in range(5):
            ask(address, "/api/alerts")
    assert evaluator.asked <= 2


def test_a_rule_that_was_never_judged_is_not_normal() -> None:
    never = rule("r1", "R1", "warn", state="normal", last_evaluation=None)
    found = shown({"evaluated_at": None, "rules": [never], "silences": []}, time.time())
    assert found["rules"][0]["state"] == "unknown"
    assert "No rule has been evaluated yet" in found["problem"]


def test_an_evaluation_of_long_ago_is_told() -> None:
    found = shown({"evaluated_at": ago(minutes=12), "problem": "the store is silent", "rules": []}, time.time())
    assert found["problem"].startswith("the store is silent The last evaluation was 12 minutes ago")
    assert shown({"evaluated_at": ago(minutes=4), "rules": []}, time.time())["problem"] == ""


def test_silences_of_a_newer_evaluator_silence_nothing() -> None:
    silences = [silence("1", -1, 1, "service!~fixed"), silence("2", -1, 1)]
    report = {"evaluated_at": ago(seconds=1), "rules": [rule("r", "R1", "warn", instance())], "silences": silences}
    assert shown(report, time.time())["rules"][0]["instances"][0]["silenced"] == ""


def test_what_happened_comes_from_the_store(store: FakeStore) -> None:
    event = [
        "1700000000.500",
        "R1",
        "R1 rose",
        "warn",
        "resolved",
        {"service": "fixed"},
        "it rose",
        "",
        "1699996400.000",
    ]
    store.answer = lambda sql: rows(HISTORY, event)
    with console(store.url) as address:
        found = ask(address, "/api/alerts/history")
    assert "FROM alert_history" in store.asked[-1][0] and found["more"] is False
    assert found["events"] == [{
        "time": 1_700_000_000_500, "rule": "R1", "title": "R1 rose", "severity": "warn", "state": "resolved",
        "labels": {"service": "fixed"}, "summary": "it rose", "reason": "", "started": 1_699_996_400_000,
    }]  # fmt: skip


def test_a_history_that_cannot_be_read_is_an_error(store: FakeStore) -> None:
    store.answer = lambda sql: refusal(60, "Unknown table alert_history")
    with console(store.url) as address:
        status, said = error(address, "/api/alerts/history")
        assert status == 400 and "Unknown table alert_history" in said


# Annotations


def frame(*found: list[Any], names: tuple[str, ...] = ("time", "timeEnd", "title", "text", "tags")) -> Frame:
    return Frame([{"name": name, "type": "String"} for name in names], list(found))


def test_events_are_read_by_the_names_of_columns() -> None:
    assert events_of(frame([1000, 5000, "R1", "rose", "warn, R1,"])) == [
        {"time": 1000, "timeEnd": 5000, "title": "R1", "text": "rose", "tags": ["warn", "R1"]}
    ]
    assert events_of(frame(["x", 7], [None, 8], names=("Text", "TIME"))) == [
        {"time": 7, "timeEnd": 7, "title": "", "text": "x", "tags": []},
        {"time": 8, "timeEnd": 8, "title": "", "text": "", "tags": []},
    ]
    assert events_of(frame([None, 1, "", "", ""])) == []
    assert events_of(frame([9, 3, "", "", ""]))[0]["timeEnd"] == 9  # it cannot end before it begins
    with pytest.raises(ValueError, match="time and text"):
        events_of(frame([1], names=("time",)))


def test_a_dashboards_annotations_are_asked_in_its_range(store: FakeStore) -> None:
    names = {"time": "DateTime64(3)", "timeEnd": "DateTime64(3)", "title": "String", "text": "String", "tags": "String"}
    store.answer = lambda sql: rows(names, [1_700_000_000, 1_700_000_600, "R1", "rose", "warn,R1"])
    window = {"from": 1_700_000_000_000, "to": 1_700_003_600_000}
    with console(store.url) as address:
        (found,) = ask(address, "/api/dashboards/noc/annotations", window)["annotations"]
        assert "toDateTime(1700003600)" in store.asked[-1][0] and "alert_history" in store.asked[-1][0]
        assert found["name"] == "Alerts" and found["events"][0]["timeEnd"] == 1_700_000_600_000
        store.answer = lambda sql: refusal(60, "Unknown table alert_history")
        (found,) = ask(address, "/api/dashboards/trust/annotations", window)["annotations"]
        assert "Unknown table" in found["error"] and found["events"] == []
        assert error(address, "/api/dashboards/none/annotations", window)[0] == 404
        assert error(address, "/api/dashboards/noc/annotations", {"from": 5, "to": 1})[0] == 400
