"""The whole path: UDP on loopback to rows by SQL, CPU and memory by process; and the delay until a row is visible.

A bounded load is sent at a steady rate; what is printed is what became visible, what each process paid for it, and
whether the octets of every exporter and service bucket are those that were sent, in raw and in the rollups.  Embedded,
and over a Kafka broker on this machine where there is Java::

    python -m bench.whole [--seconds 60] [--leases 1000000] [--bus spool kafka] RATE ...
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.processes import cpu_seconds, peak_bytes
from flowtide.settings import Settings
from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.leases import STANDING_MS, lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan
from flowtide.stack import Stack
from tests.broker import Broker, NoBroker

REPOSITORY = Path(__file__).parents[1]
RATES = (20_000, 100_000, 200_000)
PROCESSES = ("collector", "ship", "store", "broker")
_EXPORTERS = 8
_ASKED_SECONDS = 0.2
_WAIT_SECONDS = 180  # for what was sent to be there
_STILL = 80  # looks, half a second apart, at which nothing more has come: rollups wait for twice what they take


@dataclass(frozen=True, slots=True)
class Found:
    """What one run showed."""

    sent: int
    rate: float  # flows a second that were sent
    visible: int
    rolled: int
    after: float  # seconds until all was visible, from the end of the load
    cpu: dict[str, float]  # seconds per million flows visible, by process
    peak: dict[str, int]  # bytes, by process
    delays: tuple[float, float, float]  # seconds from arrival to visible: p50, p99, the longest
    wrong: tuple[str, ...]  # sums that are not those that were sent


@dataclass
class Watch:
    """When which moment of arrival was visible: asked again and again on a thread of its own."""

    url: str
    asked: list[tuple[float, float]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until ``stop``."""
        age = 0.0
        while not self.stop.wait(_ASKED_SECONDS):
            # The newest rows only, by the table's order: asking must not cost what is measured.
            since = f"ts > now64(3) - {round(1000 * (age + 3))} / 1000"
            told = ask(self.url, f"SELECT toFloat64(max(received)) FROM flows WHERE {since} HAVING count()")
            if told:
                now, newest = time.time(), float(str(told[0][0]))
                self.asked.append((now, newest))
                age = now - newest
            else:
                age = age + 3

    def delays(self, since: float, until: float) -> tuple[float, float, float]:
        """p50, p99 and the longest, over all moments of arrival between: a row is visible once a later one is."""
        if not self.asked:
            return (float("nan"),) * 3
        when, newest = (np.array(values) for values in zip(*self.asked, strict=True))
        newest = np.maximum.accumulate(newest)
        arrived: NDArray[np.float64] = np.arange(since, min(until, newest[-1]), 0.001)
        seen = when[np.searchsorted(newest, arrived)] - arrived
        if not len(seen):
            return (float("nan"),) * 3
        return float(np.quantile(seen, 0.5)), float(np.quantile(seen, 0.99)), float(seen.max())


def ask(url: str, sql: str) -> list[list[object]]:
    """Rows of a query."""
    with urllib.request.urlopen(f"{url}/?default_format=JSONCompactEachRow", sql.encode(), timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def write_leases(path: Path, users: int) -> None:
    """A snapshot of so many PPPoE users, those whose flows ``bench.load --users`` sends."""
    people = PeoplePlan(pppoe=users)
    population = populate(people, 1)
    write_lease_csv(path, lease(people, population, 1, STANDING_MS, STANDING_MS + 86_400_000, "UTC"))


def wait_for_leases(http: str) -> None:
    """Until a table of them is in force; RuntimeError after two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{http}/metrics", timeout=60) as answer:
            told = [line.split() for line in answer.read().decode().splitlines()]
        if any(words[0] == "enricher_leases" and float(words[1]) > 0 for words in told):
            return
        time.sleep(0.5)
    raise RuntimeError("no leases are in force after two minutes")


def measure(folder: Path, rate: int, seconds: float, users: int = 0, broker: Broker | None = None) -> Found:
    """One run in a fresh folder."""
    given: dict[str, object] = {
        "data": folder,
        "bus": {"url": broker.url, "telemetry": "127.0.0.1:0"} if broker else {},
        "collector": {"telemetry": "127.0.0.1:0", "receiver": {"listen": ["127.0.0.1:0"]}},
        "http": {"listen": "127.0.0.1:0"},
        "log": {"level": "error"},
    }
    if users:
        write_leases(folder.parent / "leases.csv", users)
        given["enricher"] = {"leases": str(folder.parent / "leases.csv")}
    stack = Stack(Settings.model_validate(given))
    try:
        http = stack.start().http
        pids = stack.processes()
        if broker and broker.process:
            pids["broker"] = broker.process.pid
        if users:
            wait_for_leases(http)
        before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
        watch = Watch(http)
        watcher = threading.Thread(target=watch.run)
        watcher.start()
        began = time.time()
        command = [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{stack.ports[0]}", "--rate", str(rate)]
        command += ["--seconds", str(seconds), "--exporters", str(_EXPORTERS), "--users", str(users)]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
        ended = time.time()
        told = json.loads(done.stdout)
        visible, rolled, after = _until_there(http, told["flows"], ended)
        watch.stop.set()
        watcher.join()
        cpu = {name: cpu_seconds([pid]) - before[name] for name, pid in pids.items()}
        peak = {name: peak_bytes([pid]) for name, pid in pids.items()}
        wrong = differences(http, told)
    finally:
        stack.close()
    million = max(visible, 1) / 1e6
    return Found(
        told["flows"], told["flows"] / told["seconds"], visible, rolled, after,
        {name: cpu.get(name, 0.0) / million for name in PROCESSES}, peak, watch.delays(began + 2, ended), wrong,
    )  # fmt: skip


def _until_there(http: str, sent: int, ended: float) -> tuple[int, int, float]:
    """Rows in raw and flows in the rollups once all are there, or nothing comes any more; and how long it took."""
    last, still = (-1, -1), 0
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        found = (
            int(str(ask(http, "SELECT count() FROM flows WHERE copy != 1")[0][0])),
            int(str(ask(http, "SELECT sum(flows) FROM exporter_1m")[0][0])),
        )
        still = still + 1 if found == last else 0
        last = found
        if min(found) >= sent or still > _STILL or time.monotonic() > deadline:
            return (*found, time.time() - ended)
        time.sleep(0.5)


def differences(http: str, told: dict[str, object]) -> tuple[str, ...]:
    """What is not as it was sent: octets of every exporter and service bucket in raw, and in rollups what raw has."""
    buckets, exporters = told["buckets"], told["exporters"]
    assert isinstance(buckets, dict) and isinstance(exporters, dict)
    # A flow between two subscribers has two rows.
    in_raw = _octets(http, "SELECT bucket, sum(octets) FROM flows GROUP BY bucket")
    compared = {
        "flows by bucket": (buckets, "SELECT bucket, sum(octets) FROM flows WHERE copy != 1 GROUP BY bucket"),
        "exporter_1m": ({name: part["octets"] for name, part in exporters.items()},
                        "SELECT exporter, sum(octets) FROM exporter_1m GROUP BY exporter"),
        "bucket_1m": (in_raw, "SELECT bucket, sum(octets) FROM bucket_1m GROUP BY bucket"),
        "port_1h": ({"": sum(in_raw.values())}, "SELECT '', sum(octets) FROM port_1h"),
    }  # fmt: skip
    wrong = []
    for what, (expected, sql) in compared.items():
        found = _octets(http, sql)
        if found != expected:
            wrong.append(f"{what}: {sum(found.values()):,} of {sum(expected.values()):,} octets")
    return tuple(wrong)


def _octets(http: str, sql: str) -> dict[str, int]:
    return {str(key): int(str(octets)) for key, octets in ask(http, sql)}


def show(what: str, found: Found) -> None:
    """One line."""
    spent = [found.cpu[name] for name in PROCESSES]
    sums = "sums as sent" if not found.wrong else f"SUMS DIFFER: {found.wrong}"
    print(f"| {what} | {found.rate:,.0f} | {found.visible:,} of {found.sent:,} | "
          + " | ".join(f"{cpu:.2f}" for cpu in (*spent, sum(spent)))
          + f" | {' / '.join(f'{delay:.1f}' for delay in found.delays)} | {found.after:.1f} | "
          + ", ".join(f"{name} {octets / 1e6:,.0f}" for name, octets in found.peak.items())
          + f" | {sums} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.whole", description="UDP to rows by SQL")
    parser.add_argument("rates", nargs="*", type=int, default=RATES, metavar="RATE", help="flows a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--leases", type=int, default=0, help="users that have a lease; 0: no leases")
    parser.add_argument("--bus", nargs="+", choices=("spool", "kafka"), default=("spool", "kafka"))
    arguments = parser.parse_args()
    print(f"v9, 28 records, {arguments.seconds:.0f} s, {arguments.leases:,} leases")
    print(f"| bus, flows/s | sent a second | visible | {' | '.join((*PROCESSES, 'whole'))} "
          "| delay p50 / p99 / longest, s | all there after, s | peak MB | |")  # fmt: skip
    print("|---" * (9 + len(PROCESSES)) + "|")
    for rate in arguments.rates:
        for bus in arguments.bus:
            with tempfile.TemporaryDirectory() as folder:
                what, data = f"{bus}, {rate:,}", Path(folder) / "data"
                if bus == "spool":
                    show(what, measure(data, rate, arguments.seconds, arguments.leases))
                    continue
                try:
                    broker = Broker(Path(folder) / "broker")
                except NoBroker as missing:
                    print(f"kafka: {missing}")
                    continue
                try:
                    show(what, measure(data, rate, arguments.seconds, arguments.leases, broker.start()))
                finally:
                    broker.kill()


if __name__ == "__main__":
    main()
