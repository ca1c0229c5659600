"""Numbers, drops and pace of what the collector publishes."""

import struct
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from collector import publisher as publishing
from collector.batcher import slot_of
from collector.datagrams import Datagrams
from collector.ledger import Ledger, Losses, Shape
from collector.publisher import Publisher
from collector.receiver import ReceiverCounts
from collector.service import Collector
from collector.settings import CollectorSettings
from sinks import RAW_STREAM, BusFull, Headers, Parts
from sinks.batch import Batch
from sinks.codec import decode_arrow
from sinks.delivery import RawHeaders
from sinks.memory import MemoryBus, MemoryProducer
from sinks.schema import RAW

MINUTE = 1_700_000_040  # a whole minute


class TightBus(MemoryBus):
    """A bus that has room or not."""

    full = False

    def producer(self, stream: str) -> MemoryProducer:
        bus = self

        class Tight(MemoryProducer):
            def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
                if bus.full:
                    raise BusFull("no room")
                return super().publish(partition, headers, body)

        return Tight(self, stream)

    def headers(self, partition: int) -> list[RawHeaders]:
        return [RawHeaders.decode(message.headers) for message in self.logs[RAW_STREAM, partition]]

    def counters(self, partition: int) -> list[dict[str, Any]]:
        """Rows of all messages of counters."""
        return [row for message in self.logs[RAW_STREAM, partition] for row in decode_arrow(message.body).to_pylist()]


def batch(rows: dict[tuple[str, int], int]) -> Batch:
    """Rows by exporter and second of arrival."""
    made = Batch.empty(RAW, sum(rows.values()))
    names = tuple(dict.fromkeys(exporter for exporter, _ in rows))
    made.labels["exporter"] = names
    made.columns["exporter"][:] = np.repeat([names.index(exporter) for exporter, _ in rows], list(rows.values()))
    times = np.repeat([second * 1000 for _, second in rows], list(rows.values()))
    made.columns["received"].view("i8")[:] = times
    made.columns["ts"].view("i8")[:] = times
    return made


def test_dropped_rows_ride_on_the_next_message_of_their_partition() -> None:
    bus = TightBus(2)
    first, second = (next(f"10.0.0.{n}" for n in range(99) if slot_of(f"10.0.0.{n}", 2) == slot) for slot in (0, 1))
    publisher = Publisher(bus, "c", "lz4")
    bus.full = True
    publisher.publish(
        batch({(first, MINUTE): 3, (first, MINUTE + 59): 4, (first, MINUTE + 60): 5, (second, MINUTE): 6})
    )
    publisher.publish(batch({(first, MINUTE): 10}))
    bus.full = False
    publisher.publish(batch({(first, MINUTE + 61): 2}))
    publisher.publish(batch({(first, MINUTE + 62): 1}))
    told, after = bus.headers(0)
    assert sorted(told.dropped) == [(MINUTE, first, 17), (MINUTE + 60, first, 5)]
    assert (after.dropped, [told.sequence, after.sequence]) == ((), [0, 1])
    assert bus.headers(1) == []
    publisher.publish(batch({(second, MINUTE + 63): 1}))
    assert bus.headers(1)[0].dropped == ((MINUTE, second, 6),)


def test_a_long_outage_has_a_bound_and_loses_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_TOLD_APART", 4)
    bus = TightBus(1)
    publisher = Publisher(bus, "c", "lz4")
    bus.full = True
    for minute in range(20):
        publisher.publish(batch({(f"10.0.0.{n}", MINUTE + 60 * minute): n + 1 for n in range(5)}))
    bus.full = False
    publisher.publish(batch({("10.0.0.1", MINUTE): 1}))
    (told,) = (headers.dropped for headers in bus.headers(0))
    assert sum(rows for _, _, rows in told) == 20 * 15
    assert len(told) == 8
    assert (MINUTE, "10.0.0.0", 1) in told and (MINUTE, "", 5) in told


def test_the_ledger_knows_what_was_dropped_and_not_told(tmp_path: Path) -> None:
    def opened(publisher: Publisher) -> Ledger:
        return Ledger.open(tmp_path / "ledger", Shape(), publisher.has)

    bus = TightBus(1)
    publisher = Publisher(bus, "c", "lz4")
    ledger = opened(publisher)
    publisher.account_to(ledger)
    bus.full = True
    ledger.at(0, 0, 0, 0, taken=7)
    publisher.publish(batch({("10.0.0.1", MINUTE): 7}))
    publisher.close()
    bus.full = False
    again = Publisher(bus, "c", "lz4")
    ledger = opened(again)
    assert ledger.lost == Losses(unreported_rows=7, uncounted_rows=7)
    again.account_to(ledger)
    assert again.publish_notes()
    assert not ledger.lost
    assert not opened(again).lost
    (note,) = bus.headers(0)
    assert (note.table, note.sequence) == ("stage_1m", 0)
    told = {(row["stage"], row["counter"]): row["value"] for row in bus.counters(0)}
    assert told == {("bus", "dropped_rows_bus_full"): 7, ("ledger", "lost_unreported_rows"): 7}


class SimulatedReceiver:
    """1,000 exporters of one flow a second, read every 10 ms of a clock that only it moves."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self.now, self._end, self._stop, self._turn = 1_700_000_000.0, 1_700_000_000.0 + seconds, stop, 0

    def read(self, timeout_seconds: float) -> Datagrams | None:
        self.now += 0.01
        if self.now >= self._end:
            self._stop.set()
            return None
        exporters = [f"10.0.{number // 250}.{number % 250}" for number in range(self._turn * 10, self._turn * 10 + 10)]
        self._turn = (self._turn + 1) % 100
        header = struct.pack("!HHIIIIBBH", 5, 1, 1_000_000, int(self.now), 0, 0, 0, 0, 0)
        return Datagrams(exporters, [memoryview(header + bytes(48))] * 10, int(self.now * 1000))

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def handed(self) -> int:
        return 0

    def counts(self) -> ReceiverCounts:
        return ReceiverCounts()

    def kernel_drops(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_thousand_quiet_exporters_make_few_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    """Fewer than 4 a second and partition, observations among them."""
    seconds, stop = 20, threading.Event()
    simulated = SimulatedReceiver(seconds, stop)
    monkeypatch.setattr("collector.service.make_receiver", lambda *_: simulated)
    clock = SimpleNamespace(monotonic=lambda: simulated.now, time=lambda: simulated.now)
    monkeypatch.setattr("collector.service.time", clock)
    monkeypatch.setattr("collector.service.gc", SimpleNamespace(freeze=lambda: None))
    bus = MemoryBus(partitions)
    Collector(bus, [], CollectorSettings(), tmp_path / "collector.json").run(stop)
    messages = Counter(partition for (_, partition), log in bus.logs.items() for _ in log)
    assert set(messages) == set(range(partitions))
    assert all(0 < count / seconds < 4 for count in messages.values()), messages
    rows = sum(
        int(message.headers["rows"])
        for log in bus.logs.values() for message in log if message.headers["kind"] == "flow"
    )  # fmt: skip
    assert abs(rows - 1000 * seconds) <= 100
