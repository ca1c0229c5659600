"""The simulator alone: ``python -m bench.simulate`` prints flows a second that it encodes, and sends built before.

Encoding is of one process, 100,000 flows a call, and the memory it takes above them.  Sending is over loopback to a
socket that a process of its own reads, and to one that nobody reads; ``bench.load`` is the whole command.
"""

import json
import multiprocessing
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.load import KINDS
from flowtide.simulator.line import flows_of_ipv4
from flowtide.simulator.scenario import ExporterPlan, PeoplePlan
from flowtide.simulator.sender import LineRate
from flowtide.simulator.wire import Wire

FORMS: tuple[tuple[Literal["netflow5", "netflow9", "ipfix", "sflow"], Literal["fixed", "variable", "biflow"]], ...] = (
    ("netflow5", "fixed"), ("netflow9", "fixed"), ("ipfix", "fixed"), ("ipfix", "variable"), ("ipfix", "biflow"),
    ("sflow", "fixed"),
)  # fmt: skip
_FLOWS = 100_000
_SECONDS = 0.7


def encode(plan: ExporterPlan, flows: NDArray[np.void], now_ms: int) -> dict[str, float]:
    wire = Wire.of(plan, 1, now_ms - 86_400_000)
    tracemalloc.start()
    datagrams = wire.datagrams(flows, now_ms)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        wire.datagrams(flows, now_ms)
        times.append(time.perf_counter() - begin)
    return {
        "flows/s": round(len(flows) / min(times)),
        "octets a datagram": round(sum(map(len, datagrams)) / len(datagrams)),
        "peak octets a flow": round(peak / len(flows)),
    }


@contextmanager
def reader(is_read: bool) -> Iterator[tuple[str, int]]:
    """Address of a socket, whether or not a process reads it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        process = multiprocessing.get_context("fork").Process(target=_read, args=(made,), daemon=True)
        if is_read:
            process.start()
        yield made.getsockname()
        if is_read:
            process.terminate()
            process.join()


def _read(made: socket.socket) -> None:
    buffer = bytearray(65_536)
    while True:
        made.recv_into(buffer)


def send(plan: ExporterPlan, records: int, flows: NDArray[np.void], to: tuple[str, int]) -> float:
    """Flows a second as fast as it goes."""
    ring = LineRate(plan, to, flows[: 64 * records], records, time.time())
    begin = time.monotonic()
    while (took := time.monotonic() - begin) < _SECONDS:
        ring.send(16, time.time())
    ring.close()
    return ring.totals.flows / took


def main() -> None:
    now = time.time()
    [flows] = flows_of_ipv4(
        [ExporterPlan(source="127.0.1.1")], [_FLOWS], PeoplePlan(), 1, now=now, begin_ms=int(now * 1000) - 86_400_000
    )
    print(f"encoding {len(flows):,} flows of IPv4")
    for protocol, form in FORMS:
        told: Literal["header", "options"] = "header" if protocol in ("netflow5", "sflow") else "options"
        plan = ExporterPlan(source="127.0.1.1", protocol=protocol, form=form, told=told)
        part = flows.copy()
        if protocol == "sflow":
            part["packets"], part["octets"] = 1, np.clip(part["octets"] // part["packets"], 60, 1_500)
        found = ", ".join(f"{name} {value:,}" for name, value in encode(plan, part, int(now * 1000)).items())
        print(f"{protocol:9} {form:9} {found}", flush=True)
    print("sending datagrams built before, flows/s")
    for name in ("v9", "ipfix", "v5"):
        kind = KINDS[name]
        plan = ExporterPlan(source="127.0.1.1", protocol=kind.protocol, told="nothing")
        for is_read in (True, False):
            with reader(is_read) as to:
                print(
                    f"{name:5} {'read' if is_read else 'not read':9} {send(plan, kind.records, flows, to):,.0f}",
                    flush=True,
                )
    with reader(is_read=False) as to:
        command = [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{to[1]}", "--seconds", "1"]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        plan = ExporterPlan(source="127.0.1.1", told="nothing")
        alone, whole = send(plan, 28, flows, to), done["flows"] / done["seconds"]
        print(f"bench.load v9, not read {whole:,.0f}; the ring alone {alone / whole:.2f} times as many")


if __name__ == "__main__":
    main()
