"""The demo's history in the real path: whole beside live flows, once, and no measure of this moment is disturbed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtide.demo_scenario import demo_leases, demo_scenario
from flowtide.simulator.history import History

SETTINGS = """
data = "{data}"
[collector]
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:0"]
[http]
listen = "127.0.0.1:0"
"""
# Of the past is what arrived before the first demo began.  One question: each opens the engine.
LOOK = """SELECT
    (SELECT count() FROM flows WHERE copy != 1 AND received < toDateTime({start})) AS past,
    (SELECT uniqExact(toStartOfHour(received)) FROM flows WHERE received < toDateTime({start})) AS hours,
    (SELECT sum(octets_est) FROM flows WHERE copy != 1 AND ts < toDateTime({before})) AS raw,
    (SELECT sum(octets_est) FROM exporter_1m WHERE time < toDateTime({before})) AS exporters,
    (SELECT sum(octets_est) FROM bucket_end_5m WHERE time < toDateTime({before})) AS buckets,
    (SELECT count() FROM flows WHERE copy != 1 AND received >= toDateTime({start})) AS live,
    (SELECT sum(value) FROM exporter_health_1m WHERE counter = 'records_flow') AS counted,
    (SELECT sum(value) FROM stage_1m WHERE counter = 'published_rows' AND time > toDateTime({start})) AS published,
    (SELECT count() FROM (SELECT counter FROM stage_1m UNION ALL SELECT counter FROM exporter_health_1m)
        WHERE match(counter, 'dropped|missed|lost|held|unforeseen|skew_messages')) AS losses"""


class Demo:
    """``flowtide demo`` with one day of history in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.config = folder / "flowtide.toml"
        self.config.write_text(SETTINGS.format(data=self.data))
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"

    def start(self, seconds: int) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowtide", "demo", "--for", str(seconds), "--history", "1", "--rate", "500",
                 "--config", str(self.config)],
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def run(self, seconds: int) -> str:
        """To its end; what it printed."""
        self.log.unlink(missing_ok=True)
        self.start(seconds)
        assert self.process
        status = self.process.wait(240)
        printed = self.log.read_text()
        assert status == 0, printed
        assert "Traceback" not in printed
        return printed

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def flowtide(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flowtide", *words, "--config", str(self.config)],
            cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def look(self, start: int) -> dict[str, int]:
        """What SQL says; ``start``: Unix seconds at which the history ends."""
        sql = LOOK.format(start=start, before=start // 300 * 300 - 3_600)
        done = self.flowtide("sql", "--format", "JSONEachRow", sql)
        assert done.returncode == 0, done.stderr
        return {name: int(value) for name, value in json.loads(done.stdout).items()}

    def plan(self) -> dict[str, int]:
        """What was noted of the history."""
        found: dict[str, int] = json.loads((self.data / "state" / "demo-history.json").read_bytes())
        return found

    def metric(self, name: str) -> float:
        """Of the process that has the store."""
        http = json.loads((self.data / "state" / "running.json").read_bytes())["http"]
        with urllib.request.urlopen(f"{http}/metrics", timeout=10) as answer:
            [line] = [line for line in answer.read().decode().splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def wait(self, what: str, timeout: float = 120) -> str:
        """Until the running port answers SQL with something else than 0."""
        assert self.process
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                http = json.loads((self.data / "state" / "running.json").read_bytes())["http"]
                with urllib.request.urlopen(f"{http}/", what.encode(), timeout=10) as answer:
                    if (said := answer.read().decode().strip()) != "0":
                        return str(said)
            except (OSError, ValueError):
                pass  # not there yet
            time.sleep(0.05)
        pytest.fail(f"not within {timeout} s: {self.log.read_text()[-3000:]}")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    found = Demo(tmp_path)
    yield found
    found.kill()


def rows_of(plan: dict[str, int], until: int) -> int:
    """So many rows the history of one day has."""
    scenario = demo_scenario(plan["seed"], plan["rate"], "UTC")
    made = History(scenario, until - 86_400, until, leases=demo_leases(scenario, until)).parts()
    return sum(len(part.batch) for part in made)


@pytest.mark.soak
def test_history_is_whole_beside_live_flows_and_comes_once(demo: Demo) -> None:
    printed = demo.run(12)
    told = re.search(r"history of 1 days, ([\d,]+) rows", printed)
    assert told, printed
    rows = int(told[1].replace(",", ""))
    start = demo.plan()["since"] + 86_400
    found = demo.look(start)
    assert (found["past"], found["hours"]) == (rows, 25)
    assert rows == rows_of(demo.plan(), start)
    # What the narrow tables hold of the day before the last hour is what raw holds.
    assert found["raw"] == found["exporters"] > 0
    assert found["buckets"] >= found["raw"]  # a flow between two subscribers is in both their buckets
    # Counters: as many as rows, none of loss, and in the minutes since the start those of live flows alone.
    assert found["live"] > 0
    assert found["counted"] == rows + found["live"]
    assert 0 <= found["published"] <= found["live"]
    assert found["losses"] == 0
    audit = demo.flowtide("doctor", "--audit", "-2d", "now")
    assert audit.returncode == 0, audit.stdout
    assert "all equal" in audit.stdout
    # Again: it is there, and at most the time since is filled.
    again = demo.run(2)
    assert "it is there from an earlier start" in again or "history of 0." in again
    assert demo.look(start)["past"] == rows


@pytest.mark.soak
def test_a_kill_while_it_is_worked_off_leaves_it_exact(demo: Demo) -> None:
    demo.start(600)
    # Part of it is stored and rolled up, the rest is on the bus.
    demo.wait("SELECT count() FROM flowtide.flows")
    start = demo.plan()["since"] + 86_400
    newest = demo.metric("sink_newest_flow_end_seconds")
    assert newest == 0 or newest >= start  # of a live flow
    demo.kill()
    rows = rows_of(demo.plan(), start)
    demo.run(3)
    found = demo.look(start)
    assert found["past"] == rows
    assert found["raw"] == found["exporters"] > 0
    audit = demo.flowtide("doctor", "--audit", "-2d", "now")
    assert audit.returncode == 0, audit.stdout
