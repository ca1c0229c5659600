"""The commands, as a user types them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Running
from tests.shared import shared_folder


def flowtide(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowtide", *words],
        cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_replay_to_a_running_stack_sql_and_a_second_owner(running: Running, tmp_path: Path) -> None:
    capture = shared_folder("captures") / "pcap" / "ipfix_softflowd_live.pcap"
    sent = flowtide("replay", str(capture), "--to", f"127.0.0.1:{running.port}", cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    running.wait(lambda: running.totals()["flows"] == 340)
    assert running.totals() == {"flows": 340, "packets": 1557, "octets": 829_112}
    asked = ("sql", "--config", str(running.config), "--format", "CSV")
    assert flowtide(*asked, "SELECT count(), sum(octets) FROM flows", cwd=tmp_path).stdout == "340,829112\n"
    refused = flowtide(*asked, "DROP TABLE flows", cwd=tmp_path)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    second = flowtide("run", "--config", str(running.config), cwd=tmp_path)
    assert second.returncode == 1
    assert running.process and f"process {running.process.pid}" in second.stderr
    # Without the stack the directory is opened instead, and the counters of the path are there by SQL.
    assert running.stop() == 0
    alone = flowtide(*asked, "SELECT count(), sum(octets) FROM flows", cwd=tmp_path)
    assert alone.stdout == "340,829112\n", alone.stderr
    counted = flowtide(*asked, "SELECT sum(value) FROM exporter_health_1m WHERE counter = 'records_flow'", cwd=tmp_path)
    assert counted.stdout == "340\n"
    assert "nothing to do" in flowtide("migrate", "--dry-run", "--config", str(running.config), cwd=tmp_path).stdout


def test_metrics_and_health_answer_and_add_up(running: Running, tmp_path: Path) -> None:
    import urllib.request

    capture = shared_folder("captures") / "pcap" / "v9_pmacctd_nfprobe.pcap"
    assert flowtide("replay", str(capture), "--to", f"127.0.0.1:{running.port}", cwd=tmp_path).returncode == 0
    running.wait(lambda: running.totals()["flows"] == 330)

    def metric(url: str, name: str) -> float:
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    running.wait(lambda: metric(running.metrics, "collector_datagrams_total") == 50)
    assert metric(running.metrics, "collector_published_rows_total") == 330
    assert metric(f"{running.http}/metrics", "enricher_enriched_rows_total") == 330
    assert metric(f"{running.http}/metrics", 'sink_inserted_rows_total{table="flows"}') == 330
    running.wait(lambda: metric(f"{running.http}/metrics", "sink_rolled_rows_total") == 330)
    assert metric(f"{running.http}/metrics", 'sink_rolled_ranges_total{source="memory"}') > 0
    assert metric(f"{running.http}/metrics", 'sink_rolled_ranges_total{source="raw"}') == 0
    assert metric(f"{running.http}/metrics", "sink_sum_faults_total") == 0
    for url in (f"{running.http}/healthz", running.metrics.replace("/metrics", "/healthz")):
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert json.loads(answer.read())["ok"] is True


def test_a_changed_lease_file_is_taken_and_a_bad_one_refused_whole(tmp_path: Path) -> None:
    leases = tmp_path / "leases.csv"
    head = "prefix,from,to,subscriber,group,service,segment,access\n"
    good = head + "10.0.0.0/8,2020-01-01T00:00:00Z,,line-1,metro,fixed,personal,pppoe\n"
    leases.write_text(good)
    stack = Running(tmp_path / "run", leases=str(leases))
    try:
        stack.start()
        capture = shared_folder("captures") / "pcap" / "ipfix_softflowd_live.pcap"
        flowtide("replay", str(capture), "--to", f"127.0.0.1:{stack.port}", cwd=tmp_path)
        stack.wait(lambda: stack.totals()["flows"] == 340)
        matched = stack.query("SELECT countIf(direction != 0) AS n, uniqExact(sub_id) AS ids FROM flows")[0]
        assert matched["n"] > 0 and matched["ids"] == 2  # the line, and nobody
        leases.write_text(good + "not a prefix,2020-01-01T00:00:00Z,,x,g,fixed,personal,pppoe\n")
        stack.wait(lambda: "lease source refused" in stack.log.read_text())
        line = next(line for line in stack.log.read_text().splitlines() if "lease source refused" in line)
        assert "leases.csv" in line and "3" in line and "leases=1" in line
        assert stack.stop() == 0
    finally:
        stack.kill()


def test_decode_writes_the_columns_of_the_schema(tmp_path: Path) -> None:
    capture = shared_folder("captures") / "pcap" / "v9_softflowd_sampled10.pcap"
    done = flowtide("replay", str(capture), "--decode", "csv", "--out", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0])[:8] == [
        "exporter", "domain", "ts_start", "ts", "src_addr", "dst_addr", "src_port", "dst_port",
    ]  # fmt: skip
    assert len(rows) == 121
    assert sum(int(row["octets"]) for row in rows) == 77_182
    assert {row["sampling"] for row in rows} == {"10"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay", "nowhere.pcap", "--decode", "csv"), "nowhere.pcap"),
        (("replay", "nowhere.pcap"), "either --to"),
        (("sql", "SELECT 1"), "no store yet"),
        (("check", "--config", "nowhere.toml"), "no such file"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = flowtide(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_ends_by_itself_and_shows_the_quic_share(tmp_path: Path) -> None:
    done = flowtide(
        "demo", "--for", "4", "--history", "1", cwd=tmp_path,
        FLOWTIDE_COLLECTOR__RECEIVER__LISTEN='["127.0.0.1:0"]', FLOWTIDE_HTTP__LISTEN="127.0.0.1:0",
        FLOWTIDE_COLLECTOR__TELEMETRY="127.0.0.1:0", FLOWTIDE_SINK__ROLLUP_SECONDS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "QUIC share" in done.stdout and "all Q1" in done.stdout
    assert "curl" in done.stdout and "dashboards: http:" in done.stdout
    assert "Traceback" not in done.stderr
    past = flowtide("sql", "SELECT count() FROM flows WHERE ts < now() - INTERVAL 2 HOUR", "-f", "TSV", cwd=tmp_path)
    assert int(past.stdout) > 10_000, past.stdout + past.stderr
