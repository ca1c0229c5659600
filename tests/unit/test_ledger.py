"""What a killed collector loses is counted by the next start, to the row."""

import itertools
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from collector.ledger import UNTOUCHED, Ledger, Losses, Shape
from collector.publisher import Publisher
from collector.sockets import BoundSocket, open_sockets
from sinks import RAW_STREAM
from sinks.codec import decode_arrow
from sinks.settings import BusSettings
from sinks.spool import Spool

SHAPE = Shape(slabs=3, slots=8, message_bytes=64, length_at=56)
MESSAGE = np.dtype({"names": ["length"], "formats": ["u4"], "offsets": [56], "itemsize": 64})


def never(partition: int, sequence: int) -> bool:
    return False


def opened(path: Path, *published: tuple[int, int]) -> Ledger:
    return Ledger.open(path, SHAPE, lambda partition, sequence: (partition, sequence) in published)


def clear(ledger: Ledger) -> list[np.ndarray]:
    arrays = [ledger.messages(slab, MESSAGE)["length"] for slab in range(SHAPE.slabs)]
    for lengths in arrays:
        lengths[:] = UNTOUCHED
    return arrays


def test_a_first_start_lost_nothing(tmp_path: Path) -> None:
    assert not opened(tmp_path / "state" / "ledger").lost
    assert not opened(tmp_path / "state" / "ledger").lost


def test_what_the_kernel_filled_and_nobody_decoded_is_counted(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger")
    lengths = clear(ledger)
    for slab, serial, datagrams in ((0, 1, 8), (2, 2, 5), (1, 3, 3)):
        ledger.filling(slab, serial)
        lengths[slab][:datagrams] = [1400, 0, 48, 48, 48, 48, 48, 48][:datagrams]  # an empty datagram is one too
    ledger.at(handled=1, waiting=0, held_rows=0, held_sets=0)
    assert opened(tmp_path / "ledger").lost == Losses(datagrams=8)


def test_what_was_decoded_and_not_published_is_counted(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger")
    clear(ledger)
    ledger.at(4, waiting=70, held_rows=5, held_sets=2, taken=30)
    assert opened(tmp_path / "ledger").lost == Losses(rows=100, held_rows=5, held_sets=2)


@pytest.mark.parametrize(("in_log", "rows"), [(True, 20), (False, 30)])
def test_the_log_decides_about_a_message_that_was_under_way(tmp_path: Path, in_log: bool, rows: int) -> None:
    ledger = opened(tmp_path / "ledger")
    clear(ledger)
    ledger.at(0, 0, 0, 0, taken=30)
    ledger.intend(1, 77, 10, reports=0)
    assert opened(tmp_path / "ledger", *([(1, 77)] if in_log else [])).lost == Losses(rows=rows)


def that_dropped_ten_of_thirty(path: Path) -> Ledger:
    ledger = opened(path)
    clear(ledger)
    ledger.at(0, 0, 0, 0, taken=30)
    ledger.intend(1, 5, 10, reports=0)
    ledger.refused()
    return ledger


def test_dropped_rows_are_lost_until_a_message_tells_them(tmp_path: Path) -> None:
    that_dropped_ten_of_thirty(tmp_path / "ledger")
    again = opened(tmp_path / "ledger")
    assert again.lost == Losses(rows=20, unreported_rows=10, uncounted_rows=10)
    ledger = that_dropped_ten_of_thirty(tmp_path / "other")
    ledger.intend(1, 5, 20, reports=10)
    ledger.accepted()  # the audit knows, the counters do not
    assert ledger.to_tell
    ledger.intend_to_tell(0, 3)
    ledger.accepted()
    assert not ledger.to_tell
    assert not Ledger.open(tmp_path / "other", SHAPE, never).lost


def test_rows_dropped_before_a_kill_are_counted_by_the_next_start(tmp_path: Path) -> None:
    """A message of flows told the audit; the counter of them was still in memory."""
    ledger = that_dropped_ten_of_thirty(tmp_path / "ledger")
    ledger.intend(1, 5, 20, reports=10)
    ledger.accepted()
    assert opened(tmp_path / "ledger").lost == Losses(uncounted_rows=10)


def test_losses_are_kept_over_starts_until_they_are_told(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger")
    clear(ledger)
    ledger.at(0, 9, 0, 0)
    for _ in range(2):
        ledger = opened(tmp_path / "ledger")
        clear(ledger)
        assert ledger.lost == Losses(rows=9)
    ledger.at(0, 1, 0, 0)
    ledger.intend_to_tell(0, 3)
    assert opened(tmp_path / "ledger", (0, 3)).lost == Losses(rows=1)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:100], lambda data: data[:-1], lambda data: b"x" * len(data),
               lambda data: data[:16] + b"\xff" * 24 + data[40:]]
)  # fmt: skip
def test_what_is_no_ledger_is_left_aside(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "ledger"
    opened(path).at(0, 9, 0, 0)
    path.write_bytes(damage(path.read_bytes()))
    assert not opened(path).lost
    assert (tmp_path / "ledger.refused").exists()


def test_an_origin_is_a_collector_and_a_making_of_its_log(tmp_path: Path) -> None:
    origins = set()
    for name in ("a", "a", "b"):
        publisher = Publisher(Spool(tmp_path / name, BusSettings(partitions=1)), "c1", "lz4")
        origins.add(publisher.origin)
        publisher.close()
    assert len(origins) == 2
    assert all(origin.startswith("c1@") and len(origin) == 15 for origin in origins)


COLLECTOR = """
import signal, sys, threading
from pathlib import Path
from collector.service import Collector
from collector.settings import CollectorSettings
from collector.sockets import BoundSocket
from sinks.settings import BusSettings
from sinks.spool import Spool
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
folder = Path(sys.argv[2])
settings = CollectorSettings.model_validate({"receiver": {"slabs": 8, "slots": 64}, "group_seconds": 0.05,
                                             "decoder": {"rows": 4096}})
Collector(Spool(folder / "bus", BusSettings(partitions=2)), [BoundSocket.from_fd(int(sys.argv[1]))], settings,
          folder / "state" / "collector.json").run(stop)
"""
RECORDS = 30


def netflow5(number: int) -> bytes:
    """NetFlow v5 as Cisco documents it: a header of 24 octets, records of 48."""
    now = int(time.time())
    header = struct.pack("!HHIIIIBBH", 5, RECORDS, 1_000_000, now, 0, number * RECORDS, 0, 0, 0)
    record = struct.pack(
        "!4s4s4sHHIIIIHHBBBBHHBBH", b"\x0a\0\0\1", b"\x0a\0\0\2", b"\0\0\0\0", 1, 2, 3, 400, 990_000, 995_000, 443,
        50_000, 0, 16, 6, 0, 0, 0, 24, 24, 0,
    )  # fmt: skip
    return header + record * RECORDS


def queued_bytes(bound: BoundSocket) -> int:
    """What waits in the kernel: SK_MEMINFO_RMEM_ALLOC of SO_MEMINFO, sock_diag(7)."""
    return int(struct.unpack_from("=I", bound.udp.getsockopt(socket.SOL_SOCKET, 55, 64))[0])


def start(bound: BoundSocket, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, str(bound.fileno()), str(folder)],
        pass_fds=(bound.fileno(),), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def told(folder: Path) -> tuple[int, dict[str, int]]:
    """Rows in the log, and the ledger's counters in it."""
    consumer = Spool(folder / "bus", BusSettings(partitions=2)).consumer(RAW_STREAM, "count")
    rows, counters = 0, dict[str, int]()
    while messages := consumer.poll(1 << 24, 0):
        for message in messages:
            if message.headers["kind"] == "flow":
                rows += int(message.headers["rows"])
            elif message.headers["table"] == "stage_1m":
                for row in decode_arrow(message.body).to_pylist():
                    if row["stage"] == "ledger":
                        counters[row["counter"]] = counters.get(row["counter"], 0) + row["value"]
    consumer.close()
    return rows, counters


def test_every_record_sent_is_published_or_named_after_kills(tmp_path: Path) -> None:
    """Three kills under load; the socket stays with us, as it does with the parent process."""
    (bound,) = open_sockets(["127.0.0.1:0"], 8 << 20)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = itertools.count()
    datagrams = 0

    def load(seconds: float) -> None:
        nonlocal datagrams
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _ in range(4):
                sender.sendto(netflow5(next(sent)), bound.address)
                datagrams += 1
            time.sleep(0.002)

    collector = start(bound, tmp_path)
    try:
        for seconds in (0.9, 1.0, 1.2):
            load(seconds)
            collector.send_signal(signal.SIGKILL)
            collector.wait()
            collector = start(bound, tmp_path)
        load(0.5)
        drops = bound.kernel_drops()
        while queued_bytes(bound):  # a stop leaves to the next start what the kernel still has
            assert collector.poll() is None
            time.sleep(0.05)
        collector.send_signal(signal.SIGTERM)
        assert collector.wait(20) == 0
    finally:
        if collector.poll() is None:
            collector.kill()
            collector.wait()
        sender.close()
        bound.close()
    rows, lost = told(tmp_path)
    assert rows > 0
    assert set(lost) <= {"lost_datagrams", "lost_rows"}
    counted = rows + lost.get("lost_rows", 0) + (lost.get("lost_datagrams", 0) + drops) * RECORDS
    print(json.dumps({"sent": datagrams * RECORDS, "rows": rows, "drops": drops, **lost}))
    assert counted == datagrams * RECORDS


KILLED_AT = """
import os
from sinks import segments
from sinks.spool import SpoolProducer
real, calls = {at}, [0]
def killed(*arguments):
    calls[0] += 1
    if calls[0] == {call} and {before}:
        os.kill(os.getpid(), 9)
    value = real(*arguments)
    if calls[0] == {call}:
        os.kill(os.getpid(), 9)
    return value
{at} = killed
"""
TORN_AT = """
import os
from sinks import segments
real, calls = segments.os.writev, [0]
def torn(fd, parts):
    calls[0] += 1
    if calls[0] == {call}:
        os.write(fd, b"".join(parts)[:-7])
        os.kill(os.getpid(), 9)
    return real(fd, parts)
segments.os.writev = torn
"""
POINTS = {
    "in the append": TORN_AT.format(call=3),
    "after the append": KILLED_AT.format(at="SpoolProducer.publish", call=3, before=False),
    "before the walk": "from collector.decoder import Decoder\n"
    + KILLED_AT.format(at="Decoder.add", call=2, before=True),
    "between decoder and bus": "from collector.publisher import Publisher\n"
    + KILLED_AT.format(at="Publisher.publish", call=2, before=True),
}


# What is lost for certain; how much else is in the slabs by then depends on the threads.
LOSES = {
    "in the append": "lost_rows",
    "after the append": "",
    "before the walk": "lost_datagrams",
    "between decoder and bus": "lost_rows",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_is_accounted_for(tmp_path: Path, point: str) -> None:
    (bound,) = open_sockets(["127.0.0.1:0"], 8 << 20)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for number in range(300):
            sender.sendto(netflow5(number), bound.address)
        first = subprocess.run(
            [sys.executable, "-c", POINTS[point] + COLLECTOR, str(bound.fileno()), str(tmp_path)],
            pass_fds=(bound.fileno(),), stderr=subprocess.DEVNULL, check=False, timeout=20,
        )  # fmt: skip
        assert first.returncode == -signal.SIGKILL
        ledger = (tmp_path / "state" / "ledger").stat().st_ino
        second = start(bound, tmp_path)
        while queued_bytes(bound) or (tmp_path / "state" / "ledger").stat().st_ino == ledger:
            assert second.poll() is None
            time.sleep(0.02)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
        assert bound.kernel_drops() == 0
    finally:
        sender.close()
        bound.close()
    rows, lost = told(tmp_path)
    assert rows + lost.get("lost_rows", 0) + lost.get("lost_datagrams", 0) * RECORDS == 300 * RECORDS
    assert not LOSES[point] or LOSES[point] in lost
