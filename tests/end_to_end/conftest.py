"""A running stack, started as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.trials import children_of

SETTINGS = """
data = "{data}"
[collector]
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:0"]
[sink]
rollup_seconds = {rollup_seconds}
[http]
listen = "127.0.0.1:0"
[enricher]
leases = "{leases}"
max_wait_seconds = 0.3
[alerts]
enabled = {alerts}
listen = "127.0.0.1:0"
{more_alerts}
[console]
listen = "{console}"
"""


class Running:
    """``flowtide run`` in a directory of its own."""

    def __init__(
        self, folder: Path, rollup_seconds: float = 0.5, leases: str = "", console: str = "", alerts: str | None = None
    ) -> None:
        """``console`` is where it listens, empty: there is none; ``alerts``: their settings, None: nobody evaluates."""
        self.folder = folder
        self.data = folder / "flowtide-data"
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "flowtide.toml"
        self.config.write_text(
            SETTINGS.format(
                data=self.data,
                rollup_seconds=rollup_seconds,
                leases=leases,
                console=console,
                alerts=str(alerts is not None).lower(),
                more_alerts=alerts or "",
            )
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.identity: dict[str, str] = {}  # empty: a reader's

    def start(self, timeout: float = 60) -> "Running":
        """Start and wait until it says where it answers."""
        (self.data / "state" / "running.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowtide", "run", "--config", str(self.config)],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.wait(lambda: (self.data / "state" / "running.json").exists(), timeout)
        facts = json.loads((self.data / "state" / "running.json").read_text())
        self.http = str(facts["http"])
        self.port = int(facts["listen"][0].rpartition(":")[2])
        self.metrics = str(facts["collector_metrics"])
        self.console, self.alerts = str(facts["console"]), str(facts["alerts"])
        return self

    def children(self) -> dict[str, int]:
        """Process ids of the collector and the store."""
        assert self.process
        return children_of(self.process.pid)

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        """Rows of a SELECT through the HTTP port."""
        fields = {"default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
        fields |= self.identity | {f"param_{name}": value for name, value in parameters.items()}
        request = urllib.request.Request(f"{self.http}/?{urllib.parse.urlencode(fields)}", sql.encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def totals(self) -> dict[str, int]:
        """Flows, packets and octets in the raw table, each flow once."""
        sql = "SELECT count() AS flows, sum(packets) AS packets, sum(octets) AS octets FROM flows WHERE copy != 1"
        return dict(self.query(sql)[0])

    def wait(self, true: Callable[[], bool], timeout: float = 30) -> None:
        """Until it holds; fails with the log's end."""
        deadline = time.monotonic() + timeout
        while True:
            assert self.process
            if self.process.poll() is not None:
                pytest.fail(f"flowtide run ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
            try:
                if true():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout} s:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """As Ctrl-C in a terminal: an interrupt to the whole group; the exit status."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(150)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Started; stopped or killed afterwards."""
    stack = Running(tmp_path)
    try:
        yield stack.start()
    finally:
        stack.kill()
