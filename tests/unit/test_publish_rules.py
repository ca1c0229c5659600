"""Alert rules pushed to a stand-in of Grafana: written once, and what people did there is left to them."""

import copy
from typing import Any

import pytest

from dashboards.alerts.build import document
from dashboards.publish import PublishError
from tests.unit.test_publish import ADMIN, StandIn, grafana, push

__all__ = ["grafana"]


def rule(uid: str, title: str, **more: Any) -> dict[str, Any]:
    query = {"refId": "A", "rawSql": "SELECT service,\n  1 AS value\nFROM bucket_5m"}
    above = {"refId": "C", "type": "threshold", "expression": "A", "conditions": [{"evaluator": {"type": "gt"}}]}
    return {
        "uid": uid, "title": title, "condition": "C", "for": "5m", "noDataState": "NoData", "execErrState": "Error",
        "dashboardUid": "live", "panelId": 1, "labels": {"severity": "warn"},
        "annotations": {"summary": "{{ $values.A.Value }}"},
        "data": [
            {"refId": "A", "relativeTimeRange": {"from": 300, "to": 0}, "datasourceUid": "flowtide-clickhouse",
             "model": query},
            {"refId": "C", "relativeTimeRange": {"from": 300, "to": 0}, "datasourceUid": "__expr__", "model": above},
        ],
        **more,
    }  # fmt: skip


def rules(*several: dict[str, Any], every: str = "5m", gone: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": "our rules", "folder": "Flowtide", "interval": every, "rules": list(several)}],
        "deleteRules": [{"orgId": 1, "uid": uid} for uid in gone],
    }


TWO = rules(rule("r1", "R1 rose"), rule("r2", "R2 fell"))


def test_the_first_push_writes_the_rules_and_their_interval_and_the_second_nothing(grafana: StandIn) -> None:
    wrote, said = push(grafana.url, rules=TWO)
    assert wrote and "alert rule  new     r1 'R1 rose'" in said and "evaluated every 5m" in said
    assert set(grafana.rules) == {"r1", "r2"} and grafana.intervals == {("flowtide", "our rules"): 300}
    kept = grafana.rules["r1"]
    assert kept["folderUID"] == "flowtide" and kept["ruleGroup"] == "our rules" and "provenance" not in kept
    assert "dashboardUid" not in kept and kept["data"][0]["model"]["rawSql"].startswith("SELECT service")
    grafana.requests.clear()
    for credential in ("glsa_S3cretOfNobody", ADMIN):
        wrote, said = push(grafana.url, rules=TWO, credential=credential)
        assert not wrote and grafana.writes == [] and said.endswith("nothing to do")
    assert said.count("alert rule  same") == 2 and "rule group  same" in said


def test_the_rules_that_are_shipped_are_pushed_once(grafana: StandIn) -> None:
    shipped = document()
    assert push(grafana.url, rules=shipped)[0]
    assert set(grafana.rules) == {one["uid"] for group in shipped["groups"] for one in group["rules"]}
    assert sorted(grafana.intervals.values()) == [60, 300, 3600]
    wrote, said = push(grafana.url, rules=shipped)
    assert not wrote, said


def test_a_dry_run_says_the_same_and_writes_nothing(grafana: StandIn) -> None:
    would, said = push(grafana.url, rules=TWO, dry_run=True)
    assert would and not grafana.writes
    assert said.splitlines()[:-1] == push(grafana.url, rules=TWO)[1].splitlines()[:-1]


def test_a_changed_rule_is_shown_and_only_it_is_written(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    grafana.requests.clear()
    changed = copy.deepcopy(TWO)
    changed["groups"][0]["rules"][1]["data"][0]["model"]["rawSql"] = "SELECT service,\n  0 AS value\nFROM bucket_5m"
    _, said = push(grafana.url, rules=changed)
    assert "alert rule  changed r2 'R2 fell'" in said
    assert "    - data[0].model.rawSql:   1 AS value\n    + data[0].model.rawSql:   0 AS value\n" in said
    assert grafana.writes == [("PUT", "/api/v1/provisioning/alert-rules/r2")]
    assert push(grafana.url, rules=changed)[0] is False


def test_what_people_added_there_stays_and_what_they_changed_is_put_right(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    grafana.rules["r1"] |= {"isPaused": True, "notification_settings": {"receiver": "night"}}
    grafana.rules["r1"]["labels"]["team"] = "transport"
    assert push(grafana.url, rules=TWO)[0] is False  # theirs alone is no difference
    grafana.rules["r1"]["for"] = "1h"
    wrote, said = push(grafana.url, rules=TWO)
    assert wrote and "- for: 3600 s" in said and "+ for: 300 s" in said
    assert grafana.rules["r1"]["for"] == "5m" and grafana.rules["r1"]["isPaused"] is True
    assert grafana.rules["r1"]["labels"] == {"severity": "warn", "team": "transport"}
    assert grafana.rules["r1"]["notification_settings"] == {"receiver": "night"}


def test_an_interval_is_changed_without_losing_rules_of_others_in_the_group(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    grafana.rules["own"] = {**copy.deepcopy(grafana.rules["r1"]), "uid": "own", "title": "Of the NOC", "id": 999}
    grafana.intervals["flowtide", "our rules"] = 60
    _, said = push(grafana.url, rules=TWO)
    assert "- interval: 60 s" in said and "+ interval: 300 s" in said
    assert set(grafana.rules) == {"r1", "r2", "own"} and grafana.intervals["flowtide", "our rules"] == 300


def test_rules_that_come_from_files_there_are_left(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    for one in grafana.rules.values():
        one["provenance"] = "file"
    grafana.requests.clear()
    assert push(grafana.url, rules=TWO)[0] is False
    changed = rules(rule("r1", "R1 soared"), rule("r2", "R2 fell"), every="1m")
    wrote, said = push(grafana.url, rules=changed)
    assert not wrote and not grafana.writes
    assert said.count("comes from a file there and is left") == 2


def test_rules_that_another_tool_made_over_the_api_keep_their_provenance(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    grafana.rules["r1"]["provenance"] = "api"
    changed = rules(rule("r1", "R1 soared"), rule("r2", "R2 fell"))
    assert push(grafana.url, rules=changed)[0]
    assert grafana.rules["r1"]["title"] == "R1 soared" and grafana.rules["r1"]["provenance"] == "api"


def test_a_rule_that_is_no_more_goes_once(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    fewer = rules(rule("r1", "R1 rose"), gone=("r2", "never-was"))
    wrote, said = push(grafana.url, rules=fewer)
    assert wrote and "alert rule  goes    r2 'R2 fell'" in said and set(grafana.rules) == {"r1"}
    assert push(grafana.url, rules=fewer)[1].endswith("nothing to do")


def test_a_title_that_is_taken_is_told(grafana: StandIn) -> None:
    push(grafana.url, rules=rules(rule("theirs", "R1 rose")))
    with pytest.raises(PublishError, match=r"writing the alert rule r1.*title should be unique"):
        push(grafana.url, rules=TWO)


def test_a_rule_moved_to_another_folder_comes_back(grafana: StandIn) -> None:
    push(grafana.url, rules=TWO)
    grafana.folders["attic"] = {"id": 501, "uid": "attic", "title": "Attic", "version": 1}
    grafana.rules["r2"]["folderUID"] = "attic"
    _, said = push(grafana.url, rules=TWO)
    assert "- folderUID: attic" in said and grafana.rules["r2"]["folderUID"] == "flowtide"
