"""What a report costs: a week that stands for 50 million flows of 1,000,000 subscribers, by part and as a whole.

``python -m bench.report [FOLDER]`` (a folder is kept, and what was filled before is used again).  The tables are
written straight: subscribers' days, accounting of 650,000 users, leases of all, the months before, and ports as dense
as ``bench.years`` finds them for so many flows.  Then, each in a process of its own with the engine in it: the parts
that ask the store, and the whole command ``flowtide report``.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bench.__main__ import machine
from dashboards.report.asking import measure, months, zone_of
from dashboards.report.frozen import freeze
from dashboards.report.model import SERVICES, Week
from flowtide.simulator.direct import Plan, put, write_weeks
from flowtide.simulator.direct_users import write_accounting, write_seen
from flowtide.simulator.months import write_months
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.stored import FOR_EVER, TIMEZONE

MONDAY = date(2024, 6, 3)
PEOPLE = PeoplePlan(
    pppoe=350_000, ipoe=150_000, mobile=500_000, enterprise_pppoe=3_500, enterprise_ipoe=1_500, enterprise_mobile=5_000
)
PORT_ROWS = 1_660_000  # of port_1d, as 50 million flows of bench.years make in a week
FIRST_MONTH = date(2019, 6, 1)
TARGET_SECONDS, TARGET_MB = 60, 2_000
_PART = 250_000  # users written at once
_PLAN = Plan(TIMEZONE, sampling=1_000)


def fill(folder: Path) -> None:
    """The week and the months, merged as they are when a week is over."""
    store = EmbeddedStore(folder / "store")
    migrate(store, FOR_EVER, TIMEZONE)
    if store.query("SELECT count() AS n FROM v_report_week").column("n")[0].as_py():
        store.command("TRUNCATE TABLE report_week")
    if not store.query("SELECT count() AS n FROM port_1d").column("n")[0].as_py():
        people = populate(PEOPLE, 1)
        write_weeks(store, people, PEOPLE, [MONDAY], Plan(TIMEZONE, sampling=1_000, tables=("port_1d", "bucket_1h")))
        for first in range(0, len(people), _PART):
            part = people.only(np.arange(first, min(first + _PART, len(people))))
            write_weeks(store, part, PEOPLE, [MONDAY], Plan(TIMEZONE, sampling=1_000, tables=("subscriber_1d",)))
        write_accounting(store, people, [MONDAY], _PLAN)
        write_seen(store, people, [MONDAY], _PLAN)
        _scatter_ports(store)
        octets = {(service, way): int(people.octets_a_day[people.service == at, way - 1].sum())
                  for at, service in enumerate(SERVICES) for way in (1, 2)}  # fmt: skip
        write_months(store, FIRST_MONTH, MONDAY.replace(day=1), _PLAN, octets)
        for name in ("subscriber_1d", "accounting_1d", "subscriber_seen_1d", "port_1d", "bucket_1h"):
            store.command(f"OPTIMIZE TABLE {name} FINAL")
    store.close()


def _scatter_ports(store: EmbeddedStore) -> None:
    """Few octets on each of thousands of ports: scans, games, peers."""
    rng = np.random.default_rng(1)
    rows, mobile = PORT_ROWS, rng.random(PORT_ROWS) < 0.25
    packets = rng.integers(1, 20, rows)
    octets = packets * 400
    day = np.sort(rng.integers(0, 7, rows)) + (MONDAY - date(1970, 1, 1)).days
    labels = {"service": ("fixed", "mobile"), "access": ("pppoe", "mobile")}
    table = pa.table({
        "day": pa.array(day.astype("i4")).cast(pa.date32()),
        **{name: pa.DictionaryArray.from_arrays(pa.array(mobile.astype("i4")), pa.array(of))
           for name, of in labels.items()},
        "segment": pa.array(["personal"]).dictionary_encode().take(pa.array(np.zeros(rows, "i8"))),
        "ip_version": pa.array(rng.choice([4, 6], rows).astype("u1")),
        "direction": pa.array(rng.integers(1, 3, rows).astype("u1")),
        "proto": pa.array(rng.choice([6, 17], rows).astype("u1")),
        "lower_port": pa.array(rng.integers(1_024, 32_000, rows).astype("u2")),
        "bucket": pa.array([""]).dictionary_encode().take(pa.array(np.zeros(rows, "i8"))),
        "flows": pa.array(packets), "packets": pa.array(packets), "packets_est": pa.array(packets * 1_000),
        "octets": pa.array(octets), "octets_est": pa.array(octets * 1_000),
    })  # fmt: skip
    put(store, "port_1d", table, "scattered")


def parts(folder: Path) -> None:
    """Print what each question takes."""
    store = EmbeddedStore(folder / "store")
    week = Week(MONDAY, zone_of(store))
    found = []
    for service in SERVICES:
        clock = Clock()
        found.append(measure(store, service, week, progress=clock.next))
        clock.end(f"measure {service}, {found[-1].users[1].denominator:,} users")
    clock = Clock()
    clock.next("months")
    months(store, FIRST_MONTH, MONDAY, SERVICES)
    clock.next("freeze")
    for each in found:
        freeze(store, each)
    clock.end("months of five years, and freezing both")
    store.command("TRUNCATE TABLE report_week")  # so that the whole report measures the week again
    store.close()


class Clock:
    """Seconds of the steps of something, by their names."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, float]] = []

    def next(self, step: str) -> None:
        self._steps.append((step.rpartition(": ")[2], time.perf_counter()))

    def end(self, name: str) -> None:
        """Print them."""
        self.next("")
        steps = [f"{step} {after - at:.1f}" for (step, at), (_, after) in pairwise(self._steps)]
        print(f"| {name} | {self._steps[-1][1] - self._steps[0][1]:.1f} | {', '.join(steps)} |", flush=True)


class Cost(NamedTuple):
    """Of a process and those it waited for: seconds by the clock and of processors; the largest memory of one in MB."""

    wall: float
    cpu: float
    megabytes: float


def child(*words: str) -> Cost:
    """Run a command."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *words])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit status {process.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def main(folder: Path) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), "\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "flowtide.toml"
    settings.write_text(f'data = "{folder}"\ntimezone = "{TIMEZONE}"\n', encoding="utf-8")
    filled = child("bench.report", str(folder), "fill")
    print(f"filled in {filled.wall:.0f} s\n\n| part | s | of which |\n|---|---|---|", flush=True)
    of_parts = child("bench.report", str(folder), "parts")
    print(f"| the process, engine included | {of_parts.wall:.1f} | {of_parts.cpu:.1f} CPU-s,"
          f" at most {of_parts.megabytes:,.0f} MB |\n", flush=True)  # fmt: skip
    whole = child("flowtide", "report", "--config", str(settings), "--week", str(MONDAY), "--out", str(folder / "out"))
    met = "met" if whole.wall < TARGET_SECONDS and whole.megabytes < TARGET_MB else "MISSED"
    print(f"\nflowtide report: {whole.wall:.1f} s, {whole.cpu:.1f} CPU-s, at most {whole.megabytes:,.0f} MB with the"
          f" engine in it; target {TARGET_SECONDS} s and {TARGET_MB:,} MB: {met}")  # fmt: skip


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    if place and len(sys.argv) > 2:
        {"fill": fill, "parts": parts}[sys.argv[2]](place)
    elif place:
        main(place)
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
