"""Alerts over the real engine and its HTTP port: asked as the reader, kept as the admin, each event once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dashboards.alerts.asking import StoreAsk
from dashboards.alerts.evaluate import AskFailed, AskSilent, judge
from dashboards.alerts.expressions import Threshold
from dashboards.alerts.history import TABLE, History
from dashboards.alerts.rulefile import Group, Query, Rule, RuleSet
from dashboards.alerts.rulesteps import Step
from dashboards.alerts.service import Evaluator
from dashboards.alerts.settings import STORED, AlertSettings
from dashboards.alerts.states import Event, Instance
from dashboards.alerts.templates import parse
from dashboards.asked import Target
from sinks import Store
from sinks.clickhouse import ClickHouseStore
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.migrations import keep_settings
from sinks.settings import HttpSettings
from tests.stored import TIMEZONE

TOKEN = "s3cret"
NOW = 1_800_000_000.0


@pytest.fixture
def url(store: EmbeddedStore) -> Iterator[str]:
    port = HttpPort(store, HttpSettings(listen="127.0.0.1:0", admin_token=SecretStr(TOKEN)), lambda: {}, TIMEZONE)
    host, number = port.start()
    yield f"http://{host}:{number}"
    port.close()


@pytest.fixture
def ask(url: str, store: EmbeddedStore) -> StoreAsk:
    return StoreAsk(Target(url, database=store.database), max_seconds=5)


@pytest.fixture
def history(url: str, store: EmbeddedStore) -> History:
    @contextmanager
    def admin() -> Iterator[Store]:
        found = ClickHouseStore(url, user="admin", password=TOKEN, database=store.database)
        try:
            yield found
        finally:
            found.close()

    return History(admin)


def rows(store: EmbeddedStore) -> list[dict[str, Any]]:
    sql = f"SELECT toUnixTimestamp64Milli(time) AS ms, * EXCEPT (time) FROM {TABLE} ORDER BY time, uid"
    found: list[dict[str, Any]] = store.query(sql).to_pylist()
    return found


def test_an_event_is_a_row_once_however_often_it_is_written(store: EmbeddedStore, history: History) -> None:
    labels = {"service": 'it\'s \\ "odd" ü', "severity": "page", "rule": "R1"}
    firing = Instance("u", "R1", "T", labels, "firing", NOW, {"summary": "a\nb"}, {"Q": 0.25, "N": 1e9}, started=NOW)
    resolved = replace(firing, state="normal", until=NOW + 60.5, values={})
    events = [Event("firing", firing, NOW), Event("resolved", resolved, NOW + 60.5, "no judgement")]
    assert history.write(events[:1]) == []
    assert history.write(events) == []
    assert history.write(events) == []
    first, second = rows(store)
    assert (first["ms"], second["ms"]) == (NOW * 1000, NOW * 1000 + 60_500)
    assert (first["uid"], first["rule"], first["title"], first["severity"], first["state"], first["summary"]) == (
        "u", "R1", "T", "page", "firing", "a\nb")  # fmt: skip
    assert (dict(first["labels"]), dict(first["values"])) == (labels, {"Q": 0.25, "N": 1e9})
    assert (second["state"], second["reason"], second["values"]) == ("resolved", "no judgement", [])
    assert second["started"] == first["started"]


def test_what_cannot_be_written_is_left(url: str, store: EmbeddedStore) -> None:
    event = Event("firing", Instance("u", "R1", "T", {}, "firing", NOW), NOW)

    @contextmanager
    def stranger() -> Iterator[Store]:
        yield ClickHouseStore(url, user="admin", password="wrong", database=store.database)

    denied = History(stranger)
    assert denied.write([event, event]) == [event, event]
    assert "store.password" in denied.failed and "wrong" not in denied.failed.replace("WRONG", "")

    @contextmanager
    def nobody() -> Iterator[Store]:
        yield ClickHouseStore("http://127.0.0.1:1", user="admin", password="x", database=store.database)

    away = History(nobody)
    assert away.write([event]) == [event]
    assert away.failed
    assert rows(store) == []


def test_the_answers_of_the_engine_are_labels_and_numbers(ask: StoreAsk) -> None:
    sql = ("SELECT toLowCardinality('a') AS s, CAST(18446744073709551615 AS UInt64) AS u, toInt8(-1) AS i, 1.5 AS f,"
           " NULL::Nullable(Float64) AS n, nan AS x, -inf AS y, true AS b, toDecimal32(1.25, 2) AS d")  # fmt: skip
    (row,) = ask(sql)
    assert row == {"s": "a", "u": 2.0**64, "i": -1.0, "f": 1.5, "n": None, "x": None, "y": None, "b": 1.0, "d": 1.25}
    assert not any(isinstance(value, float) and math.isnan(value) for value in row.values())
    assert ask("SELECT 1 AS v WHERE 0") == []


def test_the_reader_of_rules_only_reads(ask: StoreAsk) -> None:
    for sql in ("DROP TABLE alert_history", "INSERT INTO setting VALUES ('a', 'b', now64(3))", "SELECT 1 +",
                "SELECT * FROM file('/etc/passwd')", "SELECT no_column FROM setting"):  # fmt: skip
        with pytest.raises(AskFailed) as raised:
            ask(sql)
        assert not isinstance(raised.value, AskSilent)
    with pytest.raises(AskSilent, match=r"(?i)time"):
        ask("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number) SETTINGS max_execution_time = 1")


def test_a_share_over_an_empty_window_does_not_fire(ask: StoreAsk) -> None:
    sql = "SELECT sum(octets_est) / sum(octets_est) AS share FROM bucket_1m WHERE $__timeFilter(time)"
    steps: dict[str, Step] = {"A": Query(sql, 300), "C": Threshold("A", "gt", (0.5,))}
    rule = Rule("u", "T", "C", steps, needed=frozenset(steps))
    assert ask(sql.partition(" WHERE")[0]) == [{"share": None}]  # NaN, by which Grafana would fire
    found = judge(rule, ask, NOW)
    assert (found.verdicts, found.error) == ((), "")
    assert "no_such" in judge(replace(rule, steps={**steps, "A": Query("SELECT no_such", 300)}), ask, NOW).error


def test_from_the_engines_rows_to_its_history(
    store: EmbeddedStore, ask: StoreAsk, history: History, tmp_path: Path
) -> None:
    sql = ("SELECT toString(stage) AS service, toFloat64({}) AS v FROM stage_1m"
           " WHERE time > $__fromTime AND time <= $__toTime GROUP BY service")  # fmt: skip
    steps: dict[str, Step] = {
        "A": Query(sql.format("sum(value) > 10"), 300),
        "N": Query(sql.format("sum(value)"), 300),
        "C": Threshold("A", "gt", (0.5,)),
    }
    rule = Rule("u", "T", "C", steps, 0, labels={"severity": "warn", "rule": "R1"},
                annotations={"summary": parse("{{ $labels.service }}: {{ $values.N.Value }}")},
                needed=frozenset({"A", "C"}))  # fmt: skip
    evaluator = Evaluator(RuleSet((Group("g", "f", 60, (rule,)),)), ask, tmp_path / "alerts.json", history=history)

    def counts(at: float, value: int) -> None:
        columns = "time, stage, counter, value"
        store.command(f"INSERT INTO stage_1m ({columns}) VALUES ({int(at)}, 'sink', 'lost', {value})")

    counts(NOW - 60, 20)
    counts(NOW + 240, 5)
    evaluator.tend(NOW)
    evaluator.tend(NOW + 60)
    assert [(row["state"], row["summary"]) for row in rows(store)] == [("firing", "sink: 20")]
    evaluator.tend(NOW + 300)  # the 20 left the window
    evaluator.tend(NOW + 600)  # all left
    told = [(row["state"], (row["ms"] / 1000 - NOW), row["summary"]) for row in rows(store)]
    assert told == [
        ("firing", 0.0, "sink: 20"),
        ("resolved", 300.0, "sink: 5"),
        ("nodata", 600.0, "T: nothing to judge"),
    ]
    assert evaluator.memory.unwritten == ()


def test_settings_that_queries_read(store: EmbeddedStore) -> None:
    def kept() -> dict[str, str]:
        sql = f"SELECT name, argMax(value, made) AS value FROM setting WHERE startsWith(name, '{STORED}') GROUP BY name"
        return {row["name"]: row["value"] for row in store.query(sql).to_pylist()}

    told = AlertSettings.model_validate(
        {"holidays": ["2026-12-25", "2026-01-01", "2026-12-25"], "bands": {"it's": [1, 20.5]}}
    ).told()
    keep_settings(store, STORED, told)
    assert kept() == {"alerts:holidays": "2026-01-01,2026-12-25", "alerts:grace_seconds": "120",
                      "alerts:band:it's": "1-20.5"}  # fmt: skip
    keep_settings(store, STORED, AlertSettings().told())
    assert kept() == {"alerts:holidays": "", "alerts:grace_seconds": "120", "alerts:band:it's": "",
                      "alerts:band:fixed": "13-29", "alerts:band:mobile": "14.5-30.5"}  # fmt: skip
    count = store.query("SELECT count() AS n FROM setting").to_pylist()
    keep_settings(store, STORED, AlertSettings().told())
    assert store.query("SELECT count() AS n FROM setting").to_pylist() == count
