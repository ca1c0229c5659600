"""Twice as much as the collector can take: where the loss is, what it costs, and what is left of it afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.trials import children_of

REPOSITORY = Path(__file__).parents[2]
SETTINGS = """
data = "{data}"
[log]
level = "error"
[collector]
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:0"]
buffer_bytes = 2097152
"""
_MOST_BYTES = 450_000_000  # slabs, two groups and the modules: what waits longer waits in the socket, or is lost there
_LATE_SECONDS = 20.0  # for what waits in the socket and the slabs; a busy machine included


class Collecting:
    """``flowtide collect``."""

    def __init__(self, folder: Path) -> None:
        config = folder / "flowtide.toml"
        config.write_text(SETTINGS.format(data=folder / "data"))
        command = [sys.executable, "-m", "flowtide", "collect", "--config", str(config)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        self.told, self.log = folder / "data" / "state" / "collect.json", folder / "log"

    def start(self) -> None:
        """Wait until it says where it listens."""
        deadline = time.monotonic() + 60
        while not self.told.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        facts = json.loads(self.told.read_text())
        self.port, self.metrics = int(facts["listen"][0].rpartition(":")[2]), facts["collector_metrics"]
        self.pid = children_of(self.process.pid)["collector"]

    def counted(self) -> dict[str, int]:
        """Datagrams received, dropped by the kernel, and rows published, so far."""
        with urllib.request.urlopen(self.metrics, timeout=30) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if line[:1] != "#"]
        names = {
            "datagrams": "collector_datagrams_total", "dropped": "collector_kernel_drops_total",
            "rows": "collector_published_rows_total", "lost": "collector_dropped_rows_total",
        }  # fmt: skip
        return {
            name: int(sum(float(words[1]) for words in lines if words[0].partition("{")[0] == metric))
            for name, metric in names.items()
        }

    def after(self, datagrams: int) -> dict[str, int]:
        """What is counted once so many datagrams are accounted for and nothing comes any more."""
        deadline = time.monotonic() + _LATE_SECONDS
        last = self.counted()
        while True:
            time.sleep(2.5)  # counters are brought up to date every two seconds
            before, last = last, self.counted()
            if last == before and last["datagrams"] + last["dropped"] >= datagrams:
                return last
            assert time.monotonic() < deadline, f"{last}, {datagrams} datagrams were sent"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The collecting process gets no time."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def resident(self) -> int:
        """Bytes of memory that the collecting process has now."""
        words = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[Collecting]:
    found = Collecting(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def load(port: int, rate: int, seconds: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{port}", "--exporters", "4"]
    return subprocess.Popen(
        [*command, "--rate", str(rate), "--seconds", str(seconds)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )  # fmt: skip


def test_an_overload_is_lost_in_the_kernel_and_counted_to_the_datagram(collecting: Collecting) -> None:
    # On a machine that gives it a quarter of the time, whatever this one is worth: several times too much.
    memory = []
    with load(collecting.port, 0, 6) as sending:
        while sending.poll() is None:
            with collecting.stopped():
                time.sleep(1.2)
            time.sleep(0.4)
            memory.append(collecting.resident())
        sent = json.loads(sending.communicate()[0])
    first = collecting.after(sent["datagrams"])
    assert first["datagrams"] + first["dropped"] == sent["datagrams"]
    assert first["dropped"] > 0.2 * sent["datagrams"], "this was no overload"
    # Of templates there are few: what was not dropped by the kernel is published, and nothing is lost elsewhere.
    flows = 28 * (first["datagrams"] - 4 * 2) <= first["rows"] <= 28 * first["datagrams"]
    assert flows and first["lost"] == 0
    assert max(memory) < _MOST_BYTES

    # What it can take is taken whole again, without anybody's help.
    with load(collecting.port, 20_000, 2) as sending:
        again = json.loads(sending.communicate(timeout=60)[0])
    second = collecting.after(sent["datagrams"] + again["datagrams"])
    assert second["dropped"] == first["dropped"]
    assert second["rows"] - first["rows"] == again["flows"]
    collecting.process.send_signal(signal.SIGTERM)
    assert collecting.process.wait(60) == 0
