"""A cluster on one machine: broker, collector, enrichers, sinks and the store, each a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker
from tests.end_to_end.trials import children_of, kill_child

REPOSITORY = Path(__file__).parents[2]
TOKEN = "only-for-tests-0123456789"
SETTINGS = """
data = "{data}"
[bus]
url = "kafka://{servers}"
partitions = 2
max_bytes = {outbox_bytes}
outbox = "{outbox}"
[kafka]
session_seconds = 6
[store]
url = "{store}"
user = "admin"
password = "{token}"
[collector]
id = "{name}"
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:{udp}"]
[sink]
rollup_seconds = 1
retry_seconds = 0.5
telemetry = "127.0.0.1:0"
[console]
listen = ""
[http]
listen = "127.0.0.1:{http}"
admin_token = "{token}"
[enricher]
leases = "{leases}"
max_wait_seconds = 0.5
telemetry = "127.0.0.1:0"
"""


class Member:
    """One ``flowtide`` command with a data directory of its own."""

    def __init__(self, name: str, command: str, folder: Path, **settings: object) -> None:
        self.name, self.command = name, command
        self.data = folder / name
        self.data.mkdir(parents=True)
        self.config = self.data / "flowtide.toml"
        self.log = self.data / "log"
        self.config.write_text(SETTINGS.format(name=name, data=self.data / "data", token=TOKEN, **settings))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowtide", self.command, "--config", str(self.config)],
                stdout=log, stderr=log, cwd=self.data, start_new_session=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """To the process and to its children."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM, as a service manager does; the exit status."""
        assert self.process
        self.process.terminate()
        status = self.process.wait(timeout)
        self.process = None
        return status

    def children(self) -> dict[str, int]:
        """Process ids by the name of the child."""
        assert self.process
        return children_of(self.process.pid)

    def kill_child(self, name: str) -> None:
        """SIGKILL; its parent starts it again."""
        assert self.process
        kill_child(self.process.pid, name)

    def tail(self) -> str:
        """The log's end, for a failure."""
        return f"--- {self.name}\n{self.log.read_text()[-2000:] if self.log.exists() else ''}\n"


class Cluster:
    """Answers SQL through the store's HTTP port."""

    def __init__(
        self, broker: Broker, folder: Path, udp: int, http: int, leases: str = "", outbox: Path | None = None
    ) -> None:
        self.broker, self.folder, self.udp, self.http = broker, folder, udp, http
        self._common = {
            "servers": broker.address, "udp": udp, "http": http, "leases": leases, "outbox_bytes": 4 << 30,
            "outbox": outbox or "{data}/outbox",
        }  # fmt: skip
        self.collect = self.member("collector", "collect")
        self.serve = self.member("store", "serve", store="chdb:{data}/store")
        self.enrichers = [self.member(f"enricher{number}", "enrich") for number in range(3)]
        self.sinks = [self.member(f"sink{number}", "sink") for number in range(3)]

    def member(self, name: str, command: str, store: str = "") -> Member:
        """One more process, not started."""
        return Member(name, command, self.folder, store=store or f"http://127.0.0.1:{self.http}", **self._common)

    @property
    def members(self) -> list[Member]:
        """All that there may be."""
        return [self.collect, self.serve, *self.enrichers, *self.sinks]

    def start(self) -> "Cluster":
        """The store, the collector, two enrichers and two sinks."""
        self.serve.start()
        self.wait(lambda: bool(self.query("SELECT 1 AS one")))
        for member in (self.collect, *self.enrichers[:2], *self.sinks[:2]):
            member.start()
        self.wait(lambda: self.collect.children().keys() >= {"collector", "ship"})
        self.wait(self.listening)
        return self

    def listening(self) -> bool:
        """Whether something has the UDP port."""
        wanted = f"{self.udp:04X}"
        return any(
            line.split()[1].endswith(f":{wanted}") for line in Path("/proc/net/udp").read_text().splitlines()[1:]
        )

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        """Rows of a SELECT through the HTTP port, as admin: no limits."""
        fields = {
            "default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0", "user": "admin",
            "password": TOKEN, "database": "flowtide",
        }  # fmt: skip
        fields |= {f"param_{name}": value for name, value in parameters.items()}
        url = f"http://127.0.0.1:{self.http}/?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(urllib.request.Request(url, sql.encode()), timeout=120) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def outbox(self) -> int:
        """Messages that Kafka has not acknowledged."""
        facts = json.loads((self.collect.data / "data" / "state" / "collect.json").read_text())
        with urllib.request.urlopen(facts["ship_metrics"], timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(float(line.split()[1])) for line in lines if line.startswith("shipper_outbox_messages{"))

    def wait(self, true: Callable[[], bool], timeout: float = 60, pause: float = 0.1) -> None:
        """Until it holds; fails with all logs' ends."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                if true():
                    return
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout} s:\n" + "".join(member.tail() for member in self.members))
            time.sleep(pause)

    def close(self) -> None:
        """SIGKILL to all that is left."""
        for member in self.members:
            member.kill()


def start_load(port: int, rate: int, seconds: float, exporters: int = 8) -> subprocess.Popen[bytes]:
    """A line-rate exporter; prints what it sent.  ``end_load`` afterwards."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{port}", "--rate", str(rate),
         "--seconds", str(seconds), "--exporters", str(exporters)],
        cwd=REPOSITORY, stdout=subprocess.PIPE,
    )  # fmt: skip


def end_load(load: subprocess.Popen[bytes] | None) -> None:
    """SIGKILL, if it has not ended."""
    if load is not None and load.poll() is None:
        load.kill()
        load.communicate()
