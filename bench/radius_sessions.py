"""RADIUS accounting with a million open sessions: ``python -m bench.radius_sessions [SESSIONS [FOLDER]]``.

The sessions are told to ``Sessions`` directly (a Start and an Interim with counters each), saved as a snapshot, and
restored by a ``RadiusSource``.  Then one NAS sends a Start every five milliseconds and waits for its answer, while the
enricher's own work goes on beside it: what each costs, and the longest time that an answer took meanwhile.
"""

import gc
import json
import multiprocessing
import queue
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import SecretStr

from bench.__main__ import machine
from bench.radius import requests
from enricher.radius.journal import Journal
from enricher.radius.packet import Status, parse
from enricher.radius.sessions import Sessions
from enricher.radius.settings import RadiusSettings
from enricher.radius.source import RadiusSource
from enricher.settings import EnricherSettings
from enricher.watch import TablesInForce

_NASES = 16
_SLICE = 10_000
_PACE_SECONDS = 0.005
_SETTINGS = RadiusSettings(listen="127.0.0.1:0", clients={"127.0.0.1": SecretStr("testing123")})


def resident() -> float:
    """MB now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def fill(count: int, now_ms: int) -> Sessions:
    """Open sessions that began an hour ago."""
    sessions, spent, before = Sessions(_SETTINGS), 0.0, resident()
    for number in range(_NASES):
        for packet in requests(number, count // _NASES, now_ms - 3_600_000):
            record = parse(packet[20:], f"192.0.2.{number + 1}")
            assert record.event_seconds
            later = record._replace(
                status=Status.INTERIM, in_octets=10**8, out_octets=10**9, seconds=1_800,
                event_seconds=record.event_seconds + 1_800,
            )  # fmt: skip
            begun = time.process_time()
            sessions.apply(record, now_ms)
            sessions.apply(later, now_ms)
            spent += time.process_time() - begun
    gc.collect()
    print(
        f"{sessions.count:,} sessions: {1e6 * spent / count / 2:.0f} us a record, "
        f"{(resident() - before) / count * 1e6:,.0f} octets a session", flush=True,
    )  # fmt: skip
    return sessions


def save(count: int, folder: Path) -> None:
    """A snapshot of that many sessions."""
    sessions = fill(count, int(time.time() * 1000))
    begun = time.process_time()
    journal, walked = Journal(folder), list(sessions.all())
    parts = (
        json.dumps([session.saved() for session in walked[at : at + _SLICE]]).encode()
        for at in range(0, len(walked), _SLICE)
    )
    journal.snapshot(1, (part for some in ([json.dumps(sessions.state()).encode()], parts) for part in some))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"snapshot: {time.process_time() - begun:.1f} CPU-s, {size:.0f} MB", flush=True)
    begun, now_ms = time.perf_counter(), int(time.time() * 1000)
    sessions.sweep(now_ms + 7_300_000)
    print(f"all of them fall silent, in one sweep: {time.perf_counter() - begun:.1f} s", flush=True)


def probe(to: tuple[str, int], waits: "multiprocessing.Queue[tuple[float, float]]") -> None:
    """One request at a time; puts (when it was sent, how long its answer took)."""
    made = requests(_NASES, 100_000, int(time.time() * 1000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(to)
        sender.settimeout(30)
        for request in made:
            begun = time.monotonic()
            sender.send(request)
            while sender.recv(4_096)[1] != request[1]:
                pass
            waits.put((begun, time.monotonic() - begun))
            time.sleep(_PACE_SECONDS)


def beside(what: str, waits: "multiprocessing.Queue[tuple[float, float]]", work: Callable[[], object]) -> None:
    """Print what the work took, and the longest wait for an answer meanwhile."""
    begun, used = time.monotonic(), time.process_time()
    work()
    took, used = time.monotonic() - begun, time.process_time() - used
    time.sleep(1)
    found = []
    try:
        while True:
            found.append(waits.get_nowait())
    except queue.Empty:
        pass
    during = sorted(wait for at, wait in found if at + wait >= begun and at <= begun + took)
    middle = during[len(during) // 2] if during else 0
    print(
        f"{what}: {took:.2f} s, {used:.2f} CPU-s; an answer took {1000 * middle:.0f} ms, "
        f"the longest {1000 * max(during, default=0):.0f} ms", flush=True,
    )  # fmt: skip


def main(count: int, folder: Path) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), flush=True)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    saver = multiprocessing.Process(target=save, args=(count, folder / "journal"))
    saver.start()
    saver.join()
    begun = time.perf_counter()
    source = RadiusSource(_SETTINGS, folder / "journal")
    print(f"restored in {time.perf_counter() - begun:.1f} s, {resident():.0f} MB", flush=True)
    found = TablesInForce(EnricherSettings(reload_seconds=0.001), folder / "key", sources=(source,))
    begun = time.perf_counter()
    found.reload_if_changed(time.time())
    print(f"in force {time.perf_counter() - begun:.1f} s later: {len(found.tables().leases):,} leases", flush=True)
    waits: multiprocessing.Queue[tuple[float, float]] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=probe, args=(source.address, waits), daemon=True)
    sender.start()

    def look() -> None:
        found.reload_if_changed(time.time())
        found.settle(600)

    time.sleep(3)
    beside("nothing", waits, lambda: time.sleep(3))
    beside("a look at its leases (what came meanwhile)", waits, look)
    beside("a second look", waits, look)
    beside("usage()", waits, source.usage)
    beside("a snapshot", waits, lambda: source._write_snapshot(source._journal.number))
    beside("a full collection of garbage", waits, gc.collect)
    sender.terminate()
    found.close()


if __name__ == "__main__":
    sessions_asked = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as made_folder:
        main(sessions_asked // _NASES * _NASES, Path(made_folder))
