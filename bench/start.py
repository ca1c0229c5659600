"""Starts and stops: ``flowtide run`` and ``collect`` as a user starts them, in a fresh directory and once more.

Seconds from the start of the process until it says where it answers, and until a flow of an exporter whose template is
saved is in ``flows.raw`` (of which 0.4 s are ``collector.group_seconds``); seconds to stop; CPU-seconds by process of
the whole cycle.  ``python -m bench.start [TIMES]``: medians.
"""

import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import own_seconds
from sinks import RAW_STREAM, Consumer
from sinks.delivery import RawHeaders
from sinks.settings import BusSettings
from sinks.spool import Spool

TIMES = 5
PROCESSES = ("flowtide", "collector", "store", "alerts", "console")
SETTINGS = """
data = "{data}"
[log]
level = "error"
[collector]
telemetry = "127.0.0.1:0"
[collector.receiver]
listen = ["127.0.0.1:{port}"]
[http]
listen = "127.0.0.1:0"
[alerts]
enabled = {beside}
listen = "127.0.0.1:0"
[console]
listen = "{console}"
"""
TEMPLATE = struct.pack(">8H", 0, 16, 256, 2, 1, 4, 2, 4)  # 256: octets and packets
DATA = struct.pack(">2H2I", 256, 12, 1_500, 1)


@dataclass(slots=True)
class Cycle:
    """Seconds, and CPU-seconds by process."""

    ready: float = 0.0
    flow: float = 0.0
    stop: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)


class Watch(threading.Thread):
    """CPU-seconds of a process and of its children, as last seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self._found: dict[int, tuple[str, float]] = {}

    def run(self) -> None:
        while not self._over.wait(0.02):
            try:
                below = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
            except OSError:
                continue
            for pid in (self._pid, *map(int, below)):
                try:
                    name, seconds = own_seconds(pid)
                except OSError:
                    continue
                self._found[pid] = "flowtide" if pid == self._pid else name.removeprefix("ft-"), seconds

    def end(self) -> dict[str, float]:
        self._over.set()
        self.join()
        return dict(self._found.values())


def datagram(*sets: bytes) -> bytes:
    """NetFlow v9."""
    return struct.pack(">2H4I", 9, len(sets), 60_000, int(time.time()), 0, 1) + b"".join(sets)


def has_flow(reader: Consumer) -> bool:
    return any(RawHeaders.decode(message.headers).kind == "flow" for message in reader.poll(1 << 20, 0))


def cycle(folder: Path, command: str, port: int, *sets: bytes) -> Cycle:
    """Started, fed until a flow is in the raw log, and stopped."""
    found, state = Cycle(), folder / "data" / "state"
    ready = state / ("running.json" if command == "run" else "collect.json")
    reader = Spool(folder / "data" / "bus", BusSettings()).consumer(RAW_STREAM, "bench")
    exporter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for partition in reader.assigned():
            reader.seek(partition, reader.bounds(partition)[1])
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtide", command, "--config", str(folder / "flowtide.toml")],
            stdout=subprocess.DEVNULL,
        )
        watch = Watch(process.pid)
        watch.start()
        while not (found.ready and found.flow):
            exporter.sendto(datagram(*sets), ("127.0.0.1", port))
            now = time.monotonic() - began
            if not found.ready and ready.exists():
                found.ready = now
            if not found.flow and has_flow(reader):
                found.flow = now
            if process.poll() is not None or now > 60:
                raise SystemExit(f"flowtide {command} ended with {process.poll()}")
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, _, used = os.wait4(process.pid, 0)  # its children's too
        process.returncode = 0
        found.stop = time.monotonic() - began
        found.cpu = watch.end() | {"whole": used.ru_utime + used.ru_stime}
    finally:
        exporter.close()
        reader.close()
    return found


def measure(command: str, *, beside: bool) -> tuple[Cycle, Cycle]:
    """The first and the second cycle of a directory; ``beside``: with console and alerts."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        (Path(name) / "flowtide.toml").write_text(SETTINGS.format(
            data=f"{name}/data", port=port, beside=str(beside).lower(), console="127.0.0.1:0" if beside else ""
        ))  # fmt: skip
        return cycle(Path(name), command, port, TEMPLATE, DATA), cycle(Path(name), command, port, DATA)


def show(what: str, cycles: list[Cycle]) -> None:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    seconds = [middle([getattr(each, name) for each in cycles]) for name in ("ready", "flow", "stop")]
    cpu = [middle([each.cpu.get(name, 0.0) for each in cycles]) for name in (*PROCESSES, "whole")]
    print(f"{what:<34}" + "".join(f"{value:>10.2f}" for value in (*seconds, *cpu)), flush=True)


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    print(f"{'seconds; CPU-seconds':<34}"
          + "".join(f"{name:>10}" for name in ("ready", "flow", "stop", *PROCESSES, "whole")))  # fmt: skip
    for what, command, beside in (
        ("collect", "collect", False), ("run", "run", False), ("run, console and alerts", "run", True),
    ):  # fmt: skip
        found = [measure(command, beside=beside) for _ in range(times)]
        show(f"{what}: fresh", [first for first, _ in found])
        show(f"{what}: again", [second for _, second in found])


if __name__ == "__main__":
    main()
