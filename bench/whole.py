"""The whole embedded path: UDP on loopback to rows by SQL, CPU by process; and the delay until a row is visible.

A bounded load is sent at a steady rate; what is printed is what became visible, and what each process paid for it.
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

REPOSITORY = Path(__file__).parents[1]
RATES = (20_000, 100_000, 200_000)
SECONDS = 10


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(url: str, sql: str) -> list[float]:
    with urllib.request.urlopen(f"{url}/?default_format=JSONCompactEachRow", sql.encode()) as answer:
        return [float(value) for value in json.loads(answer.read() or b"[]")]


def measure(folder: Path, rate: int, seconds: float) -> dict[str, float]:
    settings = Settings(
        data=folder,
        collector={"telemetry": "127.0.0.1:0", "receiver": {"listen": ["127.0.0.1:0"]}},  # type: ignore[arg-type]
        http={"listen": "127.0.0.1:0"},  # type: ignore[arg-type]
        log={"level": "error"},  # type: ignore[arg-type]
    )
    stack = Stack(settings)
    try:
        http = stack.start().http
        pids = {child.name: child.pid or 0 for child in (stack.collector, stack.store)}
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
        visible, deadline = -1.0, time.monotonic() + 60
        while time.monotonic() < deadline:
            now = ask(http, "SELECT count() FROM flows WHERE copy != 1")[0]
            rolled = ask(http, "SELECT sum(flows) FROM bucket_1m")[0]
            if now == visible and rolled >= now:
                break
            visible = now
            time.sleep(1)
        spent = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    finally:
        stack.close()
    million = max(visible, 1) / 1e6
    return {
        "sent": sent,
        "visible": visible,
        "collector": spent["collector"] / million,
        "store": spent["store"] / million,
        "lag_p50": sorted(lags)[len(lags) // 2] if lags else float("nan"),
        "lag_max": max(lags, default=float("nan")),
    }


def main() -> None:
    print(f"{'whole, embedded: UDP to SQL and rollups':<42}{'sent':>10}{'visible':>10}"
          f"{'collector':>11}{'store':>8}{'whole':>8}  CPU-s per M; newest row's age p50 / max")  # fmt: skip
    for rate in RATES:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder) / "data", rate, SECONDS)
        whole = found["collector"] + found["store"]
        what = f"v9, 28 records, {rate:,} flows/s for {SECONDS} s"
        print(f"{what:<42}{found['sent']:>10,.0f}{found['visible']:>10,.0f}"
              f"{found['collector']:>11.2f}{found['store']:>8.2f}{whole:>8.2f}  {found['lag_p50']:.1f} s / "
              f"{found['lag_max']:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
