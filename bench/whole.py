"""The whole path: UDP on loopback to rows by SQL, CPU by process; and the delay until a row is visible.

A bounded load is sent at a steady rate; what is printed is what became visible, and what each process paid for it.
Embedded, and over a Kafka broker on this machine where there is Java: ``python -m bench.whole [RATE ...]``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from flowtide.settings import Settings
from flowtide.stack import Stack
from tests.broker import Broker, NoBroker

REPOSITORY = Path(__file__).parents[1]
RATES = (20_000, 100_000, 200_000)
SECONDS = 10
PROCESSES = ("collector", "ship", "store", "broker")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(url: str, sql: str) -> list[float]:
    with urllib.request.urlopen(f"{url}/?default_format=JSONCompactEachRow", sql.encode()) as answer:
        return [float(value) for value in json.loads(answer.read() or b"[]")]


def measure(folder: Path, rate: int, seconds: float, broker: Broker | None = None) -> dict[str, float]:
    settings = Settings(
        data=folder,
        bus={"url": broker.url, "telemetry": "127.0.0.1:0"} if broker else {},  # type: ignore[arg-type]
        collector={"telemetry": "127.0.0.1:0", "receiver": {"listen": ["127.0.0.1:0"]}},  # type: ignore[arg-type]
        http={"listen": "127.0.0.1:0"},  # type: ignore[arg-type]
        log={"level": "error"},  # type: ignore[arg-type]
    )
    stack = Stack(settings)
    try:
        http = stack.start().http
        pids = stack.processes()
        if broker and broker.process:
            pids["broker"] = broker.process.pid
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        load = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.load",
                "--to",
                f"127.0.0.1:{stack.ports[0]}",
                "--rate",
                str(rate),
                "--seconds",
                str(seconds),
                "--exporters",
                "8",
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
        )
        lags = []
        while load.poll() is None:
            time.sleep(0.25)
            lag = ask(http, "SELECT toFloat64(now64(3)) - toFloat64(max(received)) FROM flows HAVING count() > 0")
            lags += lag[:1]
        assert load.stdout
        sent = json.loads(load.stdout.read())["flows"]
        visible, still, deadline = -1.0, 0, time.monotonic() + 60
        while time.monotonic() < deadline and still < 5:
            now = ask(http, "SELECT count() FROM flows WHERE copy != 1")[0]
            rolled = ask(http, "SELECT sum(flows) FROM bucket_1m")[0]
            if now >= sent and rolled >= now:
                break
            still = still + 1 if now == visible else 0  # what has not come by then does not come
            visible = now
            time.sleep(1)
        visible = now
        spent = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    finally:
        stack.close()
    million = max(visible, 1) / 1e6
    return {
        "sent": sent,
        "visible": visible,
        **{name: spent.get(name, 0.0) / million for name in PROCESSES},
        "lag_p50": sorted(lags)[len(lags) // 2] if lags else float("nan"),
        "lag_max": max(lags, default=float("nan")),
    }


def show(what: str, found: dict[str, float]) -> None:
    spent = [found[name] for name in PROCESSES]
    print(f"{what:<42}{found['sent']:>10,.0f}{found['visible']:>10,.0f}"
          + "".join(f"{cpu:>10.2f}" for cpu in (*spent, sum(spent)))
          + f"  {found['lag_p50']:.1f} s / {found['lag_max']:.1f} s", flush=True)  # fmt: skip


def main() -> None:
    rates = [int(word) for word in sys.argv[1:]] or RATES
    print(f"{'UDP to SQL and rollups':<42}{'sent':>10}{'visible':>10}"
          + "".join(f"{name:>10}" for name in (*PROCESSES, "whole"))
          + "  CPU-s per M; newest row's age p50 / max")  # fmt: skip
    for rate in rates:
        what = f"v9, 28 records, {rate:,} flows/s for {SECONDS} s"
        with tempfile.TemporaryDirectory() as folder:
            show(f"spool: {what}", measure(Path(folder) / "data", rate, SECONDS))
        with tempfile.TemporaryDirectory() as folder:
            try:
                broker = Broker(Path(folder) / "broker")
            except NoBroker as missing:
                print(f"kafka: {missing}")
                continue
            try:
                show(f"kafka: {what}", measure(Path(folder) / "data", rate, SECONDS, broker.start()))
            finally:
                broker.kill()


if __name__ == "__main__":
    main()
