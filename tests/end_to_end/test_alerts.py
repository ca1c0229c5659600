"""Alert rules beside a stack: evaluated, remembered over kills, told once, listed, tested on the past."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Running
from tests.end_to_end.test_commands import flowtide
from tests.receivers import Receiver, answer

# One rule that a test sets off by a row in the table of settings, and ends by another.
RULES = """
apiVersion: 1
groups:
  - orgId: 1
    name: test
    folder: Test
    interval: 10s
    rules:
      - uid: test-one
        title: The test's rule
        condition: C
        for: 0s
        noDataState: NoData
        execErrState: Error
        labels: {severity: warn, rule: T1}
        annotations: {summary: "{{ $labels.service }}: {{ $values.N.Value }}"}
        data:
          - refId: A
            datasourceUid: flowtide-clickhouse
            relativeTimeRange: {from: 300, to: 0}
            model: {rawSql: "SELECT 'fixed' AS service, toFloat64(toFloat64(argMax(value, made)) > 5) AS v FROM setting
              WHERE name = 'test' AND made <= $__toTime HAVING count() > 0"}
          - refId: N
            datasourceUid: flowtide-clickhouse
            relativeTimeRange: {from: 300, to: 0}
            model: {rawSql: "SELECT 'fixed' AS service, toFloat64(argMax(value, made)) AS v FROM setting
              WHERE name = 'test' AND made <= $__toTime HAVING count() > 0"}
          - refId: C
            datasourceUid: __expr__
            model: {type: threshold, expression: A, conditions: [{evaluator: {type: gt, params: [0.5]}}]}
"""
ALERTS = """
files = ["{file}"]
[[alerts.webhooks]]
name = "test"
url = "http://127.0.0.1:{port}/hook"
group_wait_seconds = 0
group_interval_seconds = 1
error_wait_seconds = 600
match = ["rule=T1"]
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(answer(200))
    yield found
    found.close()


def told(receiver: Receiver) -> list[str]:
    return [each["status"] for _, _, body in list(receiver.got) for each in json.loads(body)["alerts"]]


def report(running: Running) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{running.alerts}/api/alerts", timeout=10) as found:
        return {rule["uid"]: rule for rule in json.load(found)["rules"]}


def state(running: Running) -> str:
    return str(report(running)["test-one"]["state"])


def set_value(running: Running, value: int) -> None:
    """As an operator's admin: what the rule looks at."""
    token = (running.data / "state" / "admin.token").read_text()
    request = urllib.request.Request(
        f"{running.http}/", f"INSERT INTO setting VALUES ('test', '{value}', now64(3))".encode(),
        {"X-ClickHouse-User": "admin", "X-ClickHouse-Key": token},
    )  # fmt: skip
    urllib.request.urlopen(request, timeout=30).close()


def history(running: Running) -> list[tuple[str, str]]:
    rows = running.query("SELECT state, summary FROM alert_history WHERE uid = 'test-one' ORDER BY time")
    return [(row["state"], row["summary"]) for row in rows]


def test_an_alert_over_kills_of_everything_is_told_once(tmp_path: Path, receiver: Receiver) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    running = Running(tmp_path / "stack", alerts=ALERTS.format(file=rules, port=receiver.port))
    serve: subprocess.Popen[bytes] | None = None
    try:
        running.start()
        assert running.children().keys() == {"collector", "store", "alerts"}
        assert f"alerts:  {running.alerts}/api/alerts\n" in running.log.read_text()
        running.wait(lambda: report(running)["test-one"]["last_evaluation"] is not None, 30)
        assert state(running) == "nodata"  # no row yet: neither normal nor firing
        began = time.time()
        set_value(running, 7)
        running.wait(lambda: state(running) == "firing", 30)
        running.wait(lambda: told(receiver) == ["firing"], 30)
        (alert,) = json.loads(receiver.got[0][2])["alerts"]
        assert alert["labels"]["service"] == "fixed" and alert["annotations"]["summary"] == "fixed: 7"

        # The evaluator dies while it fires: it comes back where it was, and says nothing twice.
        before = running.children()
        os.kill(before["alerts"], signal.SIGKILL)
        running.wait(lambda: running.children().get("alerts", before["alerts"]) != before["alerts"], 30)
        seen = time.time()
        running.wait(lambda: (report(running)["test-one"]["last_evaluation"] or "") > _iso(seen), 40)
        assert state(running) == "firing"
        assert (running.children()["store"], running.children()["collector"]) == (before["store"], before["collector"])

        # The store dies: nothing resolves by that.
        os.kill(before["store"], signal.SIGKILL)
        seen = time.time()
        running.wait(lambda: (report(running)["test-one"]["last_evaluation"] or "") > _iso(seen), 60)
        assert state(running) == "firing"
        assert told(receiver) == ["firing"]

        # The whole group is killed; it ends while nobody looks, and is told so at the first look after.
        running.wait(lambda: history(running)[-1:] != [], 30)
        set_value(running, 3)
        running.kill()
        running.start()
        running.wait(lambda: state(running) == "normal", 60)
        running.wait(lambda: told(receiver) == ["firing", "resolved"], 30)
        running.wait(lambda: ("resolved", "fixed: 3") in history(running), 30)
        rows = [row for row in history(running) if row[0] in ("firing", "resolved")]
        assert rows == [("firing", "fixed: 7"), ("resolved", "fixed: 3")]

        with urllib.request.urlopen(f"{running.alerts}/metrics", timeout=10) as answered:
            metrics = answered.read().decode()
        assert 'alerts_instances{severity="warn",state="normal"}' in metrics
        assert 'alerts_evaluations_total{outcome="ok"}' in metrics
        with urllib.request.urlopen(f"{running.alerts}/healthz", timeout=10) as answered:
            assert json.load(answered) == {"ok": True}

        def command(*words: str) -> str:
            done = flowtide("alerts", *words, "--config", str(running.config), cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        listed = command("list")
        assert "test-one" in listed and "The test's rule" in listed
        assert "test-one: 1 rows, 0 true" in command("check")
        minutes = int((time.time() - began) // 60) + 2
        lines = command("test", "--from", f"-{minutes}m", "--rule", "T1").splitlines()
        (episode,) = [line for line in lines if line.startswith("test-one service=fixed: ")]
        assert "peak A 1, C 1, N 7" in episode and " still;" not in episode
        assert lines[-1] == "1 alerts of 1 rules"

        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()
        assert "no process evaluates the rules now" in command("list")

        # ``serve`` has an evaluator too; where there is one, a second one is refused.
        serve = subprocess.Popen(
            [sys.executable, "-m", "flowtide", "serve", "--config", str(running.config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
        )  # fmt: skip
        runtime, deadline = running.data / "state" / "running.json", time.monotonic() + 60
        while not (runtime.exists() and json.loads(runtime.read_text()).get("alerts")):
            assert serve.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert "no process evaluates" not in command("list")
        second = flowtide("alerts", "run", "--config", str(running.config), cwd=tmp_path)
        assert second.returncode == 1
        assert "is in use by" in second.stderr
        serve.send_signal(signal.SIGINT)
        assert serve.wait(60) == 0
        assert told(receiver) == ["firing", "resolved"]
    finally:
        running.kill()
        if serve is not None:
            serve.kill()
            serve.wait()


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("check",), {"FLOWTIDE_ALERTS__FILES": '["none.yaml"]'}, "none.yaml: cannot be read"),
        (("run",), {}, "nothing runs on"),
        (("test",), {}, "holds no store yet"),
        (("test", "--rule", "R99"), {}, "no rule R99"),
        (("test", "--from", "yesterday"), {}, "is no time"),
        (("list",), {"FLOWTIDE_ALERTS__STORE_USER": "admin"}, "may only read"),
        (("list",), {"FLOWTIDE_ALERTS__HOLIDAYS": '["soon"]'}, "alerts.holidays"),
        (("list",), {"FLOWTIDE_ALERTS__BANDS": '{"fixed": [29, 13]}'}, "write the lower and the higher"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    words: tuple[str, ...], environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = flowtide("alerts", *words, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
