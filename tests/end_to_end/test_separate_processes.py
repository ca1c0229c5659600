"""``collect``, ``enrich``, ``sink`` and ``serve`` as processes of their own, on a spool and on a broker."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.leases import standing
from sinks import StoreUnavailable
from sinks.clickhouse import ClickHouseStore
from tests.broker import Broker
from tests.broker.fixtures import broker as broker

REPOSITORY = Path(__file__).parents[2]
SETTINGS = """
data = "{data}"
[log]
level = "info"
[collector]
id = "{name}"
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:0"]
[enricher]
leases = "{leases}"
max_wait_seconds = 0.3
telemetry = "127.0.0.1:0"
[sink]
rollup_seconds = 0.5
retry_seconds = 0.3
telemetry = "127.0.0.1:0"
[console]
listen = ""
[http]
listen = "127.0.0.1:0"
"""


class Process:
    """One command in a data directory."""

    def __init__(self, command: str, folder: Path, name: str, bus: str, store: str, data: str = "") -> None:
        self.command, self.name = command, name
        self.data = folder / (data or name)
        self.config, self.log = folder / f"{name}.toml", folder / f"{name}.log"
        text = SETTINGS.format(data=self.data, name=name, leases=folder / "leases.csv")
        self.config.write_text(f"{text}\n{bus}\n{store}\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: str) -> dict[str, Any]:
        """Start and wait for ``state/<ready>.json``; what it says."""
        path = self.data / "state" / f"{ready}.json"
        path.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flowtide", self.command, "-c", str(self.config)],
                stdout=log, stderr=log, cwd=self.config.parent, start_new_session=True,
            )  # fmt: skip
        wait(lambda: path.exists(), 60, self)
        return dict(json.loads(path.read_bytes()))

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait(true: Callable[[], bool], timeout: float, *alive: Process) -> None:
    """Until it holds; fails when a process ends before."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(StoreUnavailable):
            if true():
                return
        for one in alive:
            assert one.process and one.process.poll() is None, f"{one.name} ended:\n{one.log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, "\n".join(f"{one.name}:\n{one.log.read_text()[-2000:]}" for one in alive)
        time.sleep(0.1)


def send(listen: str, flows: int, exporters: int = 4) -> int:
    """Flows sent to the collector, about as many."""
    rate = 10_000
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", "--to", listen, "--rate", str(rate), "--seconds", str(flows / rate),
         "--exporters", str(exporters)],
        cwd=REPOSITORY, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return int(json.loads(done.stdout)["flows"])


def flowtide(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowtide", *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def stored(store: ClickHouseStore) -> int:
    return int(store.query("SELECT count() AS n FROM flows WHERE copy != 1").column("n")[0].as_py())


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for one in started:
        one.kill()


def test_three_processes_on_one_spool(tmp_path: Path, processes: list[Process]) -> None:
    write_lease_csv(tmp_path / "leases.csv", standing(1))
    for command in ("collect", "enrich", "sink"):
        processes.append(Process(command, tmp_path, command, "", "", data="data"))
    collect, enrich, sink = processes
    listen = collect.start("collect")["listen"][0]
    enrich.start("enrich")
    sql = sink.start("running")["http"]
    sent = send(listen, 20_000)
    store = ClickHouseStore(sql)
    wait(lambda: stored(store) == sent, 30, *processes)
    # Each role of a data directory has one owner, who is named.
    for command in ("collect", "enrich", "sink", "run"):
        second = flowtide(command, "-c", str(collect.config), cwd=tmp_path)
        assert (second.returncode, "is in use by process" in second.stderr) == (1, True), second.stderr
    # The sockets are the parent's: what comes while the collector is dead waits in the kernel's buffer.
    assert collect.process
    children = Path(f"/proc/{collect.process.pid}/task/{collect.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    sent += send(listen, 500, exporters=1)
    wait(lambda: stored(store) == sent, 30, *processes)
    proof = flowtide("doctor", "--audit", "-1h", "now", "-c", str(sink.config), cwd=tmp_path)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    doctor = flowtide("doctor", "-c", str(sink.config), cwd=tmp_path)
    # Of this machine's disk and socket buffers the test knows nothing.
    odd = [line for line in doctor.stdout.splitlines() if line.startswith("LOOK")]
    assert all(line.split()[1] in ("disk", "socket") for line in odd), doctor.stdout
    assert doctor.returncode == (1 if odd else 0)
    assert "raw rows" in doctor.stdout
    store.close()
    for one in processes:
        assert one.stop() == 0, one.log.read_text()[-2000:]


@pytest.mark.soak
def test_two_enrichers_and_two_sinks_over_a_broker(tmp_path: Path, processes: list[Process], broker: Broker) -> None:
    write_lease_csv(tmp_path / "leases.csv", standing(1))
    bus = f'[bus]\nurl = "kafka://{broker.address}"\ntelemetry = "127.0.0.1:0"\n[kafka]\ntopic_prefix = "separate."\n'
    serve = Process("serve", tmp_path, "serve", "", "")
    processes.append(serve)
    sql = serve.start("running")["http"]
    token_file = serve.data / "state" / "admin.token"
    assert token_file.stat().st_mode & 0o777 == 0o600
    remote = f'[store]\nurl = "{sql}"\nuser = "admin"\npassword = "{token_file.read_text()}"\n'
    collect = Process("collect", tmp_path, "collect", bus, remote)
    enrichers = [Process("enrich", tmp_path, f"enrich{number}", bus, remote) for number in (1, 2)]
    sinks = [Process("sink", tmp_path, f"sink{number}", bus, remote) for number in (1, 2)]
    processes += [collect, *enrichers, *sinks]
    listen = collect.start("collect")["listen"][0]
    for one in enrichers:
        one.start("enrich")
    for one in sinks:
        one.start("sink")
    sent = send(listen, 20_000)
    store = ClickHouseStore(sql, user="admin", password=token_file.read_text())
    wait(lambda: stored(store) == sent, 60, *processes)
    # Enrichers have no store of their own; who held a lease yesterday is written into this one all the same.
    held = "SELECT uniqExact(sub_id) AS n FROM subscriber_seen_1d WHERE day >= today() - 2"
    wait(lambda: int(store.query(held).column("n")[0].as_py()) > 0, 90, *processes)
    ask = ("doctor", "--audit", "-1h", "now", "-c", str(sinks[0].config))
    equal = flowtide(*ask, "--json", cwd=tmp_path)
    assert equal.returncode == 0, equal.stdout + equal.stderr
    facts = json.loads(equal.stdout)
    assert sum(line["decoded"] for line in facts["lines"]) == sent
    assert {line["partition"] for line in facts["lines"]} == {0, 1}
    exporter = store.query("SELECT toString(min(exporter)) AS e FROM flows").column("e")[0].as_py()
    store.command(
        "ALTER TABLE flows DELETE WHERE (bus_partition, bus_offset, _part_offset) IN (SELECT bus_partition, bus_offset,"
        f" _part_offset FROM flows WHERE copy != 1 AND exporter = '{exporter}' LIMIT 1) SETTINGS mutations_sync = 2"
    )
    lost = sent - stored(store)
    assert lost >= 1
    differs = flowtide(*ask, cwd=tmp_path)
    assert differs.returncode == 1, differs.stdout + differs.stderr
    marked = [line for line in differs.stdout.splitlines() if line.endswith("DIFFERS")]
    assert marked and all(exporter in line for line in marked)
    question = "SELECT count() FROM flows WHERE copy != 1"
    asked = flowtide("sql", "-f", "TSV", "-c", str(sinks[0].config), question, cwd=tmp_path)
    assert asked.stdout == f"{sent - lost}\n", asked.stderr
    refused = flowtide("sql", "-c", str(sinks[0].config), "DROP TABLE flows", cwd=tmp_path)
    assert refused.returncode == 1 and "READONLY" in refused.stderr
    assert "nothing to do" in flowtide("migrate", "-c", str(sinks[0].config), cwd=tmp_path).stdout
    store.close()
    for one in (collect, *enrichers, *sinks, serve):
        assert one.stop() == 0, one.log.read_text()[-2000:]


@pytest.mark.soak
def test_run_before_its_broker_is_there(tmp_path: Path, processes: list[Process], broker: Broker) -> None:
    write_lease_csv(tmp_path / "leases.csv", standing(1))
    late = Broker(tmp_path / "broker")  # the session's own shows that this machine can run one
    bus = f'[bus]\nurl = "{late.url}"\ntelemetry = "127.0.0.1:0"\n'
    run = Process("run", tmp_path, "run", bus, "")
    processes.append(run)
    try:
        facts = run.start("running")
        sent = send(facts["listen"][0], 20_000)  # waits in the outbox
        late.start()
        store = ClickHouseStore(facts["http"])
        wait(lambda: stored(store) == sent, 60, run)
        store.close()
        assert run.stop() == 0, run.log.read_text()[-3000:]
    finally:
        late.kill()


def test_what_cannot_work_is_said(tmp_path: Path, processes: list[Process]) -> None:
    serve = Process("serve", tmp_path, "serve", "", "")
    processes.append(serve)
    sql = serve.start("running")["http"]
    wrong = Process("sink", tmp_path, "wrong", "", f'[store]\nurl = "{sql}"\nuser = "admin"\npassword = "no"\n')
    said = flowtide("sink", "-c", str(wrong.config), cwd=tmp_path)
    assert said.returncode == 1 and "store.password" in said.stderr and "Traceback" not in said.stderr
    odd = Process("sink", tmp_path, "odd", '[bus]\nurl = "kafka://nowhere"\n', "")
    said = flowtide("sink", "-c", str(odd.config), cwd=tmp_path)
    assert said.returncode == 1 and "HOST:PORT" in said.stderr
    down = Process("sink", tmp_path, "down", "", '[store]\nurl = "http://127.0.0.1:1"\n')
    processes.append(down)
    down.start("sink")  # waits for its store, and ends when told to
    assert down.stop() == 0
    cannot = flowtide("doctor", "--audit", "-1h", "now", "-c", str(down.config), cwd=tmp_path)
    assert cannot.returncode == 2 and "cannot ask" in cannot.stderr
