"""RADIUS accounting: records a second that are on the disk and answered, and what a record costs.

``python -m bench.radius [RECORDS [FOLDER]]`` (default 40,000, a temporary folder).  Sixteen NASes of this machine, in
a process of their own, send Starts, each with 128 requests on their way; after a second without an answer once more.
"""

import multiprocessing
import select
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from bench.__main__ import machine
from enricher.radius.settings import RadiusSettings
from enricher.radius.source import RadiusSource
from flowtide.simulator.radius import Nas, Record, Status, encode

NASES = 16
IN_FLIGHT = 128  # below the 256 identifiers of a socket
_SECRET = "testing123"
_AGAIN_SECONDS = 1.0


def requests(number: int, count: int, now_ms: int) -> list[bytes]:
    """Starts of one NAS: each of another user and address."""
    nas = Nas(f"192.0.2.{number + 1}", f"bras-{number}")
    made = []
    for at in range(count):
        user = number * count + at
        record = Record(
            now_ms, Status.START, nas, session=f"{number:02x}-{at:08x}", user=f"fixed-{user:07d}",
            label="fixed;personal;pppoe;east", ipv4=f"10.{user >> 16 & 255}.{user >> 8 & 255}.{user & 255}",
        )  # fmt: skip
        made.append(encode(record, _SECRET.encode(), at % 256))
    return made


def send(to: tuple[str, int], records: int, now_ms: int) -> None:
    """Until all are answered."""
    lists = [requests(number, records // NASES, now_ms) for number in range(NASES)]
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in lists]
    waiting: list[dict[int, tuple[bytes, float]]] = [{} for _ in lists]  # by identifier
    place = {each.fileno(): at for at, each in enumerate(made)}
    sent = [0] * NASES
    for each in made:
        each.connect(to)
    while any(waiting) or any(at < len(some) for at, some in zip(sent, lists, strict=True)):
        now = time.monotonic()
        for at, some in enumerate(lists):
            while sent[at] < len(some) and len(waiting[at]) < IN_FLIGHT and some[sent[at]][1] not in waiting[at]:
                request = some[sent[at]]
                made[at].send(request)
                waiting[at][request[1]], sent[at] = (request, now), sent[at] + 1
            for identifier, (request, since) in list(waiting[at].items()):
                if now - since > _AGAIN_SECONDS:
                    made[at].send(request)
                    waiting[at][identifier] = request, now
        for ready in select.select(made, [], [], 0.01)[0]:
            while True:
                try:
                    answer = ready.recv(4_096, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                waiting[place[ready.fileno()]].pop(answer[1], None)


def main(records: int, folder: Path) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), flush=True)
    settings = RadiusSettings(listen="127.0.0.1:0", clients={"127.0.0.1": SecretStr(_SECRET)})
    source = RadiusSource(settings, folder)
    sender = multiprocessing.Process(target=send, args=(source.address, records, int(time.time() * 1000)))
    began, used = time.perf_counter(), time.process_time()
    sender.start()
    sender.join()
    took, used = time.perf_counter() - began, time.process_time() - used
    asked = time.perf_counter()
    rows = source.poll(time.time())
    polled = time.perf_counter() - asked
    held = 0 if rows is None else len(rows)
    print(
        f"{records:,} records answered in {took:.1f} s: {records / took:,.0f}/s, {1e6 * used / records:.0f} us of CPU"
        f" a record; {held:,} leases, read in {1000 * polled:.0f} ms"
    )
    source.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    with tempfile.TemporaryDirectory() as made_folder:
        main(count // NASES * NASES, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(made_folder))
