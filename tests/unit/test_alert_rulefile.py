"""A file of rules is read as it is meant, or refused with the place and what to do."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts.build import FILE
from dashboards.alerts.rulefile import RuleFileError, load_rules, seconds_of
from dashboards.alerts.rulesteps import Query

QUERY = {"rawSql": "SELECT 'a' AS service, 1.0 AS value", "format": 1, "queryType": "table", "editorType": "sql"}
RULE: dict[str, Any] = {
    "uid": "one", "title": "One", "condition": "C", "for": "1m", "noDataState": "NoData", "execErrState": "Error",
    "data": [
        # In no order: each is read behind what it reads.
        {"refId": "C", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "B", "conditions": [
            {"evaluator": {"type": "gt", "params": [0.5]}}]}},
        {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "math", "expression": "$A * 2"}},
        {"refId": "A", "datasourceUid": "flowtide-clickhouse", "relativeTimeRange": {"from": 300, "to": 0},
         "model": QUERY},
        {"refId": "N", "datasourceUid": "flowtide-clickhouse", "relativeTimeRange": {"from": 300, "to": 0},
         "model": QUERY},
    ],
    "labels": {"severity": "warn", "rule": "R1"},
    "annotations": {"summary": "{{ $labels.service }}: {{ $values.N.Value }}"},
}  # fmt: skip
DOCUMENT: dict[str, Any] = {
    "apiVersion": 1,
    "groups": [{"orgId": 1, "name": "g", "folder": "f", "interval": "5m", "rules": [RULE]}],
}


def written(folder: Path, document: Any, name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def changed(*path: Any, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def rule_with(*path: Any, value: Any) -> dict[str, Any]:
    return changed("groups", 0, "rules", 0, *path, value=value)


def test_a_file_is_read(tmp_path: Path) -> None:
    (group,) = load_rules(written(tmp_path, DOCUMENT)).groups
    assert (group.name, group.folder, group.interval) == ("g", "f", 300)
    (rule,) = group.rules
    assert (rule.uid, rule.title, rule.condition, rule.wait, rule.no_data) == ("one", "One", "C", 60, "NoData")
    assert (rule.name, rule.severity) == ("R1", "warn")
    order = list(rule.steps)
    assert order.index("A") < order.index("B") < order.index("C")
    assert rule.needed == {"A", "B", "C"}
    query = rule.steps["A"]
    assert isinstance(query, Query)
    assert (query.sql, query.since, query.until) == (QUERY["rawSql"], 300, 0)
    assert rule.annotate({"service": "x"}, {"N": 3.0}) == {"summary": "x: 3"}


def test_json_is_yaml_too(tmp_path: Path) -> None:
    as_yaml = yaml.safe_dump(json.loads(json.dumps(DOCUMENT)))
    assert load_rules(written(tmp_path, as_yaml)) == load_rules(written(tmp_path, DOCUMENT))


def test_our_own_file_is_read() -> None:
    rules = load_rules(FILE).rules
    assert {rule.name for rule in rules} >= {"R0", "R1", "R2"}
    assert {rule.severity for rule in rules} <= {"page", "warn", "notice", "info"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (changed("apiVersion", value=2), "apiVersion: write 1"),
        (changed("contactPoints", value=[]), "contactPoints: not understood"),
        (changed("groups", value={}), "here is a list"),
        (changed("groups", 0, "interval", value="5s"), "group 'g': interval: 5 s is no multiple of 10 s"),
        (changed("groups", 0, "interval", value="1 hour"), "group 'g': interval: '1 hour' is no duration"),
        (changed("groups", 0, "name", value=""), "groups: name: missing"),
        (rule_with("uid", value="a b"), "rule a b: uid: write at most 40"),
        (rule_with("uid", value=7), "uid: missing or no text"),
        (rule_with("keepFiringFor", value="5m"), "rule one: keepFiringFor: only Grafana from 12.1.2"),
        (rule_with("notification_settings", value={}), "rule one: notification_settings: only newer"),
        (rule_with("noDataState", value="KeepLast"), "rule one: noDataState: 'KeepLast': write NoData or Alerting"),
        (rule_with("noDataState", value="OK"), "noDataState: 'OK'"),
        (rule_with("execErrState", value="OK"), "rule one: execErrState: 'OK': write Error"),
        (rule_with("isPaused", value=True), "rule one: isPaused"),
        (rule_with("condition", value="X"), "rule one: condition: 'X' is no refId of data"),
        (rule_with("for", value=-1), "rule one: for: -1 is no duration"),
        (rule_with("labels", value={"a": 1}), "rule one: labels: a: no text"),
        (rule_with("labels", value={"a": "{{ $labels.x }}"}), "rule one: labels: a label is the same"),
        (rule_with("annotations", "summary", value="{{ end }}"), "rule one: annotations: summary:"),
        (rule_with("annotations", "summary", value="{{ $values.X.Value }}"), "summary: no refId X in data"),
        (rule_with("data", 0, "model", "type", value="classic_conditions"), "refId C: model: type: 'classic"),
        (rule_with("data", 0, "model", "expression", value="Z"), "refId C: reads Z, which is not in data"),
        (rule_with("data", 1, "model", "expression", value="$C"), "data: B, C read each other in a circle"),
        (rule_with("data", 1, "model", "expression", value="abs($A)"), "refId B: model: expression:"),
        (rule_with("data", 2, "datasourceUid", value="prometheus"), "refId A: datasourceUid: 'prometheus'"),
        (rule_with("data", 2, "model", "format", value=0), "refId A: model: write format: 1"),
        (rule_with("data", 2, "relativeTimeRange", value={"from": 0, "to": 5}), "refId A: relativeTimeRange"),
        (rule_with("data", 3, "refId", value="A"), "refId A: twice"),
        (rule_with("data", 0, "model", "conditions", 0, value={
            "evaluator": {"type": "gt", "params": [1]}, "unloadEvaluator": {}}), "conditions: write one"),
        (rule_with("data", 0, "model", "conditions", 0, "evaluator", "type", value="eq"), "evaluator: type 'eq'"),
        (rule_with("data", 0, "model", "conditions", 0, "evaluator", value={
            "type": "outside_range", "params": [1]}), "params: write 2 numbers"),
        (rule_with("data", 0, "model", value={"type": "reduce", "expression": "A", "reducer": "mean"}), "write last"),
        ({**DOCUMENT, "groups": DOCUMENT["groups"] * 2}, "rule one: uid: two rules have it"),
        ("a: [1, 2", "not YAML that is taken"),
        ("apiVersion: 1\napiVersion: 1\n", "line 2: key 'apiVersion' is there twice"),
        ("a: &x [1]\nb: *x\n", "line 2: aliases"),
        ("[" * 100 + "]" * 100, "more than 40 levels"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML that is taken"),
        ("just text", "here are names with values"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(tmp_path: Path, document: Any, says: str) -> None:
    path = written(tmp_path, document)
    with pytest.raises(RuleFileError) as raised:
        load_rules(path)
    assert str(raised.value).startswith(str(path))
    assert says in str(raised.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleFileError, match="not UTF-8"):
        load_rules(tmp_path / "binary")


def test_rules_of_several_files_have_names_of_their_own(tmp_path: Path) -> None:
    first = written(tmp_path, DOCUMENT, "a.yaml")
    second = written(tmp_path, changed("groups", 0, "name", value="h"), "b.yaml")
    with pytest.raises(RuleFileError, match=r"b\.yaml: rule one: uid: .*a\.yaml has this rule too"):
        load_rules(first, second)
    third = written(tmp_path, rule_with("uid", value="two"), "c.yaml")
    with pytest.raises(RuleFileError, match="group 'g' is in another file"):
        load_rules(first, third)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("0", 0), (0, 0), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800)]
)
def test_durations(text: object, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5m1h", "-5m", None, 5, "1e3s", "99999w"])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        seconds_of(text)
