"""The dashboards' files: as the code says, in the form that old and new Grafana read; and what the lint finds."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards.library import FOLDER, dashboards
from dashboards.panels.build import drift, files, write
from dashboards.panels.lint import problems
from flowtide.cli import app

BY_UID = pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())


def test_the_files_are_what_the_code_says() -> None:
    assert drift() == ""
    assert {f"json/{path.name}" for path in FOLDER.glob("*.json")} | {"README.md"} == files().keys()
    assert list(dashboards()) == ["noc", "ports", "trust", "subscribers", "years"]


@BY_UID
def test_nothing_in_them_is_a_known_pitfall(dashboard: dict[str, Any]) -> None:
    assert problems(dashboard) == []


@BY_UID
def test_panels_fill_lines_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


def test_a_file_that_was_edited_or_is_left_over_is_seen_and_mended(tmp_path: Path) -> None:
    assert sorted(write(tmp_path)) == sorted(files()) and drift(tmp_path) == ""
    edited = tmp_path / "json" / "1-noc.json"
    edited.write_text(edited.read_text().replace("NOC live", "NOC dead"))
    (tmp_path / "json" / "9-old.json").write_text("{}\n")
    assert "-" + ' "title": "NOC dead",' in drift(tmp_path) and "file/json/9-old.json" in drift(tmp_path)
    assert write(tmp_path) == ["json/1-noc.json", "json/9-old.json"]
    assert drift(tmp_path) == "" and write(tmp_path) == []


def series(dashboard: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in dashboard["panels"] if panel["id"] == 9)


def stat(dashboard: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in dashboard["panels"] if panel["id"] == 6)


def edit(where: Callable[[dict[str, Any]], dict[str, Any]], old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(dashboard: dict[str, Any]) -> None:
        target = where(dashboard)["targets"][0]
        assert old in target["rawSql"]
        target["rawSql"] = target["rawSql"].replace(old, new)

    return change


def put(where: Callable[[dict[str, Any]], dict[str, Any]], **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda dashboard: where(dashboard).update(values)


def top(dashboard: dict[str, Any]) -> dict[str, Any]:
    return dashboard


def variable(dashboard: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dashboard["templating"]["list"][0]
    return found


def mark(dashboard: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dashboard["annotations"]["list"][0]
    return found


def reword(dashboard: dict[str, Any], old: str, new: str) -> None:
    target = mark(dashboard)["target"]
    assert old in target["rawSql"]
    target["rawSql"] = target["rawSql"].replace(old, new).strip()


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "keys outside the common form": put(top, elements={}),
    "keys outside": put(series, libraryPanel={}),
    "schemaVersion 42": put(top, schemaVersion=42),
    "Grafana allows 5s": put(top, refresh="1s"),
    "share the ids [5]": put(series, id=5),
    "type heatmap": put(series, type="heatmap"),
    "no description": put(series, description=" "),
    "which share it is": put(series, title="QUIC share"),
    "data source must be {type, uid}": put(series, datasource="ClickHouse"),
    "same refId": lambda dashboard: series(dashboard)["targets"][1].update(refId="A"),
    "FORMAT at the end": edit(stat, "HAVING count() > 0", "HAVING count() > 0 FORMAT JSON"),
    "a semicolon": edit(stat, "HAVING count() > 0", "HAVING count() > 0;"),
    "__timeGroup is no macro": edit(stat, "GROUP BY exporter", "GROUP BY $__timeGroup(time, 5m)"),
    "there is no variable nobody": edit(stat, "GROUP BY exporter", "GROUP BY exporter, ${nobody}"),
    "reads flows, which": edit(stat, "FROM exporter_1m", "FROM flows"),
    "HAVING is missing": edit(stat, "HAVING count() > 0", ""),
    "finer than the buckets of bucket_end_5m": put(series, interval="1m"),
    "first column of a time series": edit(series, "SELECT time, service, value", "SELECT service, time, value"),
    "ends in ORDER BY time": edit(series, "ORDER BY time, service", "ORDER BY service"),
    "WITH FILL is missing": edit(series, "WITH FILL", "-- "),
    "figures where a time series belongs": lambda dashboard: series(dashboard)["targets"][0].update(format=1),
    "All needs a value": lambda dashboard: variable(dashboard).pop("allValue"),
    "annotation 'Alerts': it has keys outside": lambda dashboard: mark(dashboard).update(builtIn=1),
    "its data source and its target's": lambda dashboard: mark(dashboard).update(datasource="ClickHouse"),
    "events are a table": lambda dashboard: mark(dashboard)["target"].update(format=0),
    "no column timeEnd": lambda dashboard: reword(dashboard, "AS timeEnd", "AS until"),
    "it asks for all times": lambda dashboard: reword(dashboard, "$__toTime", "now()"),
    "no more than a LIMIT": lambda dashboard: reword(dashboard, "LIMIT 500", ""),
    "a comma in an option": lambda dashboard: dashboard["templating"]["list"][2]["options"][1].update(text="a, b"),
}  # fmt: skip


@pytest.mark.parametrize("word", WRONG)
def test_each_pitfall_is_found(word: str) -> None:
    broken = copy.deepcopy(dashboards()["noc"])
    WRONG[word](broken)
    assert any(word in problem for problem in problems(broken)), problems(broken)


def chart(dashboard: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in dashboard["panels"] if panel["id"] == 5)


WRONG_CHARTS = {
    "its options has keys outside": lambda panel: panel["options"].update(mapping="auto"),
    "its fields has keys outside": lambda panel: panel["fieldConfig"]["defaults"]["custom"].update(pointShape="circle"),
    "mapped automatically": lambda panel: panel["options"].update(seriesMapping="manual"),
    "it has keys outside the common form: pluginVersion": lambda panel: panel.update(pluginVersion="12.0.0"),
    "no column is named octets": lambda panel: panel["options"]["dims"].update(x="octets"),
    "one target": lambda panel: panel["targets"].append({**panel["targets"][0], "refId": "B"}),
}  # fmt: skip


@pytest.mark.parametrize("word", WRONG_CHARTS)
def test_each_pitfall_of_a_chart_over_a_number_is_found(word: str) -> None:
    broken = copy.deepcopy(dashboards()["subscribers"])
    WRONG_CHARTS[word](chart(broken))
    assert any(word in problem for problem in problems(broken)), problems(broken)


def test_single_subscribers_are_for_a_dashboard_that_says_so() -> None:
    broken = copy.deepcopy(dashboards()["subscribers"])
    assert broken["tags"] == ["flowtide", "engineer"] and problems(broken) == []
    broken["tags"] = ["flowtide"]
    assert any("subscriber_1d" in problem and "which the role noc may not" in problem for problem in problems(broken))


def test_a_coarse_table_below_its_own_buckets_is_found() -> None:
    broken = copy.deepcopy(dashboards()["noc"])
    panel = next(panel for panel in broken["panels"] if panel["id"] == 7)
    sql = panel["targets"][0]["rawSql"]
    panel["targets"][0]["rawSql"] = sql.replace("$__interval_s >= 300", "$__interval_s >= 60")
    assert any("bucket_5m from 60 s on" in problem for problem in problems(broken))


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowtide", "dashboards", *words], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "5 dashboards" in command("check", folder=tmp_path).stdout
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.chdir(tmp_path)
    build = ["dashboards", "build", "--out", "made"]
    assert CliRunner().invoke(app, build).stdout.split() == sorted(files())
    assert CliRunner().invoke(app, build).stdout == "nothing changed\n"
    assert json.loads((made / "json" / "1-noc.json").read_text()) == dashboards()["noc"]
    refused = command("build", "--out", "nowhere", folder=tmp_path)
    assert refused.returncode == 1 and "no such folder" in refused.stderr
