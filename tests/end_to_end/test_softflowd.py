"""softflowd, an exporter that is not ours, to a running stack."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Running
from tests.shared import shared_folder

# What softflowd exports of this file, as nfcapd 1.7.1 counts it.
EXPECTED = {"flows": 340, "packets": 1557, "octets": 829_112}


def export(version: int, port: int, folder: Path) -> None:
    """Let softflowd read the capture and send its flows."""
    program = shutil.which("softflowd") or "/usr/sbin/softflowd"
    if not Path(program).exists():
        pytest.skip("softflowd is not installed (Debian package softflowd)")
    capture = shared_folder("captures") / "ip_traffic" / "mix.pcap"
    subprocess.run(
        [program, "-r", capture, "-n", f"127.0.0.1:{port}", "-v", str(version), "-d",
         "-p", folder / "pid", "-c", "none"],
        check=True, timeout=30, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_both_versions_of_a_capture_are_counted_whole(running: Running, tmp_path: Path) -> None:
    for number, version in enumerate((9, 10), start=1):
        export(version, running.port, tmp_path)
        wanted = {name: total * number for name, total in EXPECTED.items()}
        running.wait(lambda wanted=wanted: running.totals() == wanted, 20)  # type: ignore[misc]
    # The packets are years old: times outside the bounds are not believed, but counted.
    flagged = running.query(
        "SELECT countIf(bitAnd(flags, 2) != 0 AND ts = received) AS flagged, count() AS rows FROM flows"
    )[0]
    assert flagged == {"flagged": 680, "rows": 680}
    running.wait(lambda: running.query("SELECT sum(octets) AS o FROM bucket_1m")[0]["o"] == 2 * 829_112, 20)
    running.wait(lambda: running.query("SELECT sum(octets) AS o FROM port_1h")[0]["o"] == 2 * 829_112, 20)
    assert running.stop() == 0
