"""The alert rules' file: as the code says, in the form that old and new Grafana read; and what the lint finds."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.alerts import build
from dashboards.alerts.build import FILE, document, drift, text, write
from dashboards.alerts.lint import problems
from dashboards.alerts.model import QUERIES, Rule, query_text
from dashboards.alerts.ranges import at, is_ranged, over
from dashboards.alerts.rules import RULES
from dashboards.library import dashboards

BY_UID = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.uid)


def test_the_file_is_what_the_code_says_and_yaml_reads_the_same() -> None:
    assert drift() == ""
    assert yaml.safe_load(FILE.read_text(encoding="utf-8")) == document()


def test_nothing_in_it_is_a_known_pitfall() -> None:
    assert problems() == []


def test_a_file_that_was_edited_is_seen_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    assert write(path) and drift(path) == "" and not write(path)
    path.write_text(path.read_text().replace('title: "R1 ', 'title: "R1 really '))
    assert '+        title: "R1 QUIC share of port 443 (Q2) jumped"' in drift(path) and write(path)


def test_the_runbook_may_be_served_elsewhere() -> None:
    assert text("https://wiki.example.net/alerts").count('runbook_url: "https://wiki.example.net/alerts#r1"') == 1


def test_a_rule_that_was_shipped_once_is_deleted_by_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "REMOVED", ("flowtide-old",))
    assert yaml.safe_load(text())["deleteRules"] == [{"orgId": 1, "uid": "flowtide-old"}]
    assert problems(document(), ["flowtide-old"]) == []
    assert ["deleteRules lacks flowtide-older" in found for found in problems(document(), ["flowtide-older"])] == [True]


def test_every_name_of_the_specification_is_there_with_its_severity() -> None:
    found = {(rule.rule, rule.severity) for rule in RULES}
    assert found == {
        ("R0", "warn"), ("R0", "page"), ("R1", "warn"), ("R2", "warn"), ("R3", "warn"), ("R4", "notice"),
        ("R5", "info"), ("R6", "page"), ("R6", "warn"), ("R7", "info"), ("R9", "warn"), ("R9", "page"),
        ("R10", "notice"),
    }  # fmt: skip
    assert [rule.uid for rule in RULES if rule.no_data == "Alerting"] == ["flowtide-r0-page"]


@BY_UID
def test_every_rule_has_its_part_of_the_runbook_and_a_panel(rule: Rule) -> None:
    for words in (rule.meaning, rule.first, rule.then, rule.silent):
        assert words.strip().endswith(".")
    assert rule.title.startswith(f"{rule.rule} ") and rule.panel is not None
    uid, panel = rule.panel
    found = next(each for each in dashboards()[uid]["panels"] if each["id"] == panel)
    assert not rule.definition or f"({rule.definition})" in found["title"]


def test_every_file_of_queries_is_used_and_says_what_it_answers() -> None:
    used = "".join((QUERIES / f"{name}.sql").read_text() for name in {rule.query for rule in RULES})
    names = {rule.query for rule in RULES} | {number.file for rule in RULES for number in rule.numbers.values()} - {""}
    for _ in range(3):
        names |= {each.stem for each in QUERIES.glob("*.sql") for name in set(names)
                  if f"{{{{{each.stem}}}}}" in (QUERIES / f"{name}.sql").read_text()}  # fmt: skip
    assert names == {each.stem for each in QUERIES.glob("*.sql")} and used
    for path in QUERIES.glob("*.sql"):
        assert path.read_text().startswith("-- ") and "{{" not in query_text(path.stem)


def test_only_some_rules_are_judged_over_a_range() -> None:
    assert [rule.uid for rule in RULES if is_ranged(rule.uid)] == [
        "flowtide-r1", "flowtide-r2", "flowtide-r3", "flowtide-r5", "flowtide-r7"
    ]  # fmt: skip
    with pytest.raises(KeyError, match="one moment only"):
        over("flowtide-r4", 0, 300)
    assert not is_ranged("of-the-operator")
    # The same text, but for the range and the moment of each row.
    short, long = at("flowtide-r1", 1_800_000_000), over("flowtide-r1", 1_799_999_700, 1_800_000_000)
    assert short == long.replace("toDateTime(moment, 'UTC') AS time, ", "") and "AS time" in long


def rule_of(file: dict[str, Any], uid: str = "flowtide-r1") -> dict[str, Any]:
    found: dict[str, Any] = next(rule for group in file["groups"] for rule in group["rules"] if rule["uid"] == uid)
    return found


def model_of(file: dict[str, Any], ref: str = "A") -> dict[str, Any]:
    found: dict[str, Any] = next(query for query in rule_of(file)["data"] if query["refId"] == ref)["model"]
    return found


def group_of(file: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = file["groups"][0]
    return found


def edited(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        model = model_of(file)
        assert old in model["rawSql"]
        model["rawSql"] = model["rawSql"].replace(old, new)

    return change


def put(where: Callable[[dict[str, Any]], dict[str, Any]], **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: where(file).update(values)


def text_of(name: str, words: str) -> Callable[[dict[str, Any]], None]:
    return lambda file: rule_of(file)["annotations"].update({name: words})


def panel_99(file: dict[str, Any]) -> None:
    rule_of(file).update(panelId=99)
    text_of("__panelId__", "99")(file)


WRONG: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("noDataState 'KeepLast'", put(rule_of, noDataState="KeepLast")),
    ("execErrState 'KeepLast'", put(rule_of, execErrState="KeepLast")),
    ("keepFiringFor", put(rule_of, keepFiringFor="5m")),
    ("isPaused", put(rule_of, isPaused=False)),
    ("interval '45s'", put(group_of, interval="45s")),
    ("interval 'often'", put(group_of, interval="often")),
    ("for 'a while'", put(rule_of, **{"for": "a while"})),
    ("its condition 'Z'", put(rule_of, condition="Z")),
    ("a uid is", put(rule_of, uid="x" * 41)),
    ("belongs to several rules", put(rule_of, uid="flowtide-r2")),
    ("title 'R2 QUIC", put(rule_of, title="R2 QUIC share of port 443 (Q2) dropped")),
    ("the title must say which share", put(rule_of, title="R1 QUIC share jumped")),
    ("apiVersion", lambda file: file.update(apiVersion=2)),
    ("which is a rule of the file", lambda file: file.update(deleteRules=[{"orgId": 1, "uid": "flowtide-r1"}])),
    ("it has no rules", lambda file: file["groups"].append({"name": "new", "interval": "1m", "rules": []})),
    ("begin before it ends", lambda file: rule_of(file)["data"][0].update(relativeTimeRange={"from": 0, "to": 0})),
    ("has another refId", put(model_of, refId="B")),
    ("the same refId", lambda file: rule_of(file)["data"].append(rule_of(file)["data"][0])),
    ("datasourceUid 'other'", lambda file: rule_of(file)["data"][0].update(datasourceUid="other")),
    ("queryType table and format 1", put(model_of, format=0)),
    ("maxDataPoints", put(model_of, maxDataPoints=1)),
    ("no macro", edited("$__toTime", "$__now")),
    ("a panel", edited("$__toTime", "$__timeInterval(x)")),
    ("a variable of a panel", edited("$__toTime", "${until}")),
    ("now(): write", edited("toUnixTimestamp($__toTime)", "toUnixTimestamp(now())")),
    ("WITH FILL", edited("ORDER BY ALL", "ORDER BY ALL WITH FILL")),
    ("a semicolon", edited("ORDER BY ALL", "ORDER BY ALL;")),
    ("FORMAT at the end", edited("ORDER BY ALL", "ORDER BY ALL FORMAT JSON")),
    ("reads subscriber_1d", edited("FROM bucket_end_5m", "FROM subscriber_1d")),
    ("one number", edited("toFloat64(jump) AS value", "jump AS value")),
    ("one number", edited("toFloat64(jump) AS value", "toFloat64(jump) AS value, n")),
    ("other label columns", edited("SELECT service, exporter, toFloat64", "SELECT service, toFloat64")),
    ("type 'classic_conditions'", put(lambda file: model_of(file, "C"), type="classic_conditions")),
    ("it reads Z", put(lambda file: model_of(file, "C"), expression="Z")),
    ("math '$A ** 2'", put(lambda file: model_of(file, "C"), type="math", expression="$A ** 2")),
    ("a bound below", lambda file: model_of(file, "C")["conditions"][0]["evaluator"].update(params=[1e-9])),
    ("label severity", lambda file: rule_of(file)["labels"].update(severity="critical")),
    ("label rule is missing", lambda file: rule_of(file)["labels"].pop("rule")),
    ("is also a column", lambda file: rule_of(file)["labels"].update(service="fixed")),
    ("annotation summary is missing", text_of("summary", "")),
    ("Z is none of the rule's refIds", text_of("summary", "{{ $values.Z.Value }}")),
    ("the rule has no label kind", text_of("summary", "{{ $labels.kind }}")),
    ("annotation summary:", text_of("summary", "{{ if $labels.service }}x{{ end }}")),
    ("there is no panel 99", panel_99),
    ("must say the same panel", put(rule_of, panelId=9)),
]


def test_math_of_the_subset_is_let_pass() -> None:
    file = copy.deepcopy(document())
    model_of(file, "C").update(type="math", expression="($A > 0.5) && !($Q < 1.5) || $P / 2 >= $A")
    model_of(file, "C").pop("conditions")
    assert problems(file) == []


@pytest.mark.parametrize(("says", "change"), WRONG, ids=[says for says, _ in WRONG])
def test_a_pitfall_is_found(says: str, change: Callable[[dict[str, Any]], None]) -> None:
    file = copy.deepcopy(document())
    change(file)
    assert [found for found in problems(file) if says in found]
