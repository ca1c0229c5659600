"""``flowtide store`` on a stack that runs, on one that stopped, and on a store that came back older than its bus."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.conftest import Running
from tests.end_to_end.test_commands import flowtide
from tests.shared import shared_folder

SOFTFLOWD = ("ipfix_softflowd_live.pcap", 340)
PMACCT = ("v9_pmacctd_nfprobe.pcap", 330)


def replay(running: Running, capture: tuple[str, int], total: int) -> None:
    """Send it, and wait until so many flows are stored and rolled up."""
    path = shared_folder("captures") / "pcap" / capture[0]
    sent = flowtide("replay", str(path), "--to", f"127.0.0.1:{running.port}", cwd=running.folder)
    assert sent.returncode == 0, sent.stderr
    running.wait(lambda: running.totals()["flows"] == total, 90)
    running.wait(lambda: rolled(running) == total, 90)


def rolled(running: Running) -> int:
    return int(running.query("SELECT sum(flows) + sum(implausible_flows) AS n FROM exporter_1m")[0]["n"])


def store(running: Running, *words: str) -> str:
    done = flowtide("store", *words, "--config", str(running.config), cwd=running.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.soak
def test_status_backup_export_and_rebuild_while_it_runs_and_a_restore_behind_the_bus(
    running: Running, tmp_path: Path
) -> None:
    replay(running, SOFTFLOWD, 340)
    before = {**running.totals(), "rolled": rolled(running)}
    facts = json.loads(store(running, "status", "--json"))
    sizes = {one["table"]: one for one in facts["tables"]}
    assert sizes["flows"]["rows"] == 340 and facts["free"] > 0
    assert any(line.startswith("flows ") and "340" in line for line in store(running, "status").splitlines())
    said = store(running, "backup", str(tmp_path / "backup"))
    assert "flows: 340 rows" in said and "up to bus_offset" in said
    day = datetime.fromtimestamp(int(running.query("SELECT toUnixTimestamp(max(ts)) AS t FROM flows")[0]["t"]), UTC)
    out = tmp_path / "day.parquet"
    store(running, "export", "--day", f"{day:%Y-%m-%d}", "--out", str(out))
    wanted = running.query("SELECT count() AS n FROM flows WHERE toDate(ts) = {d:Date}", d=f"{day:%Y-%m-%d}")
    assert pq.read_table(out).num_rows == wanted[0]["n"]
    said = store(running, "rebuild", "--table", "exporter_1m", "--day", f"{day:%Y-%m-%d}", "--force")
    assert "exporter_1m" in said and rolled(running) == 340
    # What is stored after the backup …
    replay(running, PMACCT, 670)
    assert running.stop() == 0
    assert json.loads(store(running, "status", "--json"))["tables"]
    assert "flows" in store(running, "status")
    # … is not in the store that comes back, and the bus does not give it a second time.
    running.config.write_text(running.config.read_text() + '[store]\nurl = "chdb:{data}/older"\n')
    assert "checks agree" in store(running, "restore", str(tmp_path / "backup"))
    again = flowtide("store", "restore", str(tmp_path / "backup"), "--config", str(running.config), cwd=running.folder)
    assert again.returncode == 1 and "has rows already" in again.stderr
    running.start()
    time.sleep(2)
    assert {**running.totals(), "rolled": rolled(running)} == before
    replay(running, PMACCT, 670)
    assert running.query("SELECT count() AS n, uniqExact(*) AS d FROM flows")[0]["n"] == 670
    refused = flowtide("store", "restore", str(tmp_path / "backup"), "--config", str(running.config), cwd=tmp_path)
    assert refused.returncode == 1 and "stop it" in refused.stderr
    wrong = flowtide(
        "store", "export", "--day", "yesterday", "--out", "x", "--config", str(running.config), cwd=tmp_path
    )
    assert wrong.returncode == 1 and "2026-09-21" in wrong.stderr and "Traceback" not in wrong.stderr
