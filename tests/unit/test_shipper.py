"""The outbox goes to Kafka whole and in order, whatever the broker does; a fake one does it all."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector import shipper
from collector.shipper import GROUP, Shipper
from sinks import RAW_STREAM, BusFull, BusUnavailable, Headers, MessageRefused, Unacknowledged, segments
from sinks.delivery import RawHeaders
from sinks.settings import BusSettings, KafkaSettings
from sinks.spool import Spool

PARTITIONS = 3


@dataclass(eq=False)
class Sent:
    octets: int
    acknowledged: bool = False
    failed: Exception | None = None


@dataclass
class Broker:
    """What is in its log, and how it behaves; ``tend`` is called at every send and often in between."""

    chance: random.Random = field(default_factory=lambda: random.Random(5))
    logs: list[list[tuple[Headers, bytes]]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    flight: list[deque[tuple[Sent, Headers, bytes]]] = field(
        default_factory=lambda: [deque() for _ in range(PARTITIONS)]
    )
    appenders: int = 0
    most_octets: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    broken: bool = False
    down: bool = False
    mute: bool = False
    failing: float = 0.0  # of messages acknowledged
    refuses: Callable[[Headers], bool] = lambda headers: False

    def appender(self, stream: str) -> "Broker":
        assert stream == RAW_STREAM
        if self.down:
            raise BusUnavailable("no broker answers")
        self.appenders += 1
        self.broken = False
        return self

    def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> Sent:
        if self.refuses(headers):
            raise MessageRefused("too large")
        with self.lock:
            if self.broken:
                raise Unacknowledged("an earlier one failed")
            sent = Sent(len(body))
            self.flight[partition].append((sent, headers, bytes(body)))
            self.most_octets = max(self.most_octets, sum(each[0].octets for flight in self.flight for each in flight))
            self.tend()
        return sent

    def tend(self) -> None:
        """Acknowledge some, over partitions in any order; a failed one may be in the log or not."""
        with self.lock:
            if not self.mute and not self.broken:
                self._acknowledge()

    def _acknowledge(self) -> None:
        for partition in self.chance.sample(range(PARTITIONS), PARTITIONS):
            flight = self.flight[partition]
            while flight and self.chance.random() < 0.5:
                sent, headers, body = flight.popleft()
                if self.chance.random() < self.failing:
                    if self.chance.random() < 0.5:
                        self.logs[partition].append((headers, body))
                    sent.failed = TimeoutError("who knows")
                    self.broken = True
                    return
                self.logs[partition].append((headers, body))
                sent.acknowledged = True

    def close(self) -> None:
        with self.lock:
            for partition, flight in enumerate(self.flight):
                # Some were on their way, but nothing behind a failed one.
                for _ in range(0 if self.broken else self.chance.randint(0, len(flight))):
                    _, headers, body = flight.popleft()
                    self.logs[partition].append((headers, body))
                flight.clear()

    def numbers(self, partition: int) -> list[int]:
        """As readers take them: a number not above the highest is a repeat; none may be missing."""
        taken: list[int] = []
        for headers, body in self.logs[partition]:
            read = RawHeaders.decode(headers)
            assert body == payload(partition, read.sequence)
            if not taken or read.sequence > taken[-1]:
                taken.append(read.sequence)
        return taken


def payload(partition: int, sequence: int) -> bytes:
    return f"{partition}/{sequence}/".encode() * 50


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper, "_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(shipper, "_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(shipper, "_COMMIT_SECONDS", 0.03)
    monkeypatch.setattr(shipper, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(shipper, "_DRAIN_SECONDS", 0.5)


def outbox_in(folder: Path, **settings: object) -> Spool:
    made = BusSettings.model_validate({"partitions": PARTITIONS, "segment_bytes": 5_000, **settings})
    return Spool(folder / "outbox", made, streams=(RAW_STREAM,))


def fill(outbox: Spool, count: int) -> None:
    producer = outbox.producer(RAW_STREAM)
    for partition in range(PARTITIONS):
        last = producer.last(partition)
        first = RawHeaders.decode(last).sequence + 1 if last else 0
        for sequence in range(first, first + count):
            producer.publish(partition, RawHeaders("c@1", sequence, 1).encode(), payload(partition, sequence))
    producer.close()


@contextmanager
def shipping(outbox: Spool, broker: Broker, folder: Path, in_flight: int = 20_000) -> Iterator[Shipper]:
    made = Shipper(outbox, broker, KafkaSettings(in_flight_bytes=in_flight), folder / "dead")
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until(true: Callable[[], bool], broker: Broker, seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        broker.tend()
        time.sleep(0.003)


def position(outbox: Spool, partition: int) -> int:
    committed = outbox.consumer(RAW_STREAM, GROUP).committed(partition)
    return committed.offset if committed else 0


def whole(broker: Broker, count: int) -> bool:
    return all(broker.numbers(partition) == list(range(count)) for partition in range(PARTITIONS))


@pytest.mark.parametrize("failing", [0.0, 0.02])
def test_all_arrive_in_order_and_are_trimmed(tmp_path: Path, failing: float) -> None:
    outbox, broker = outbox_in(tmp_path), Broker(failing=failing)
    fill(outbox, 100)
    with shipping(outbox, broker, tmp_path):
        until(lambda: all(position(outbox, each) == 100 for each in range(PARTITIONS)), broker)
        fill(outbox, 20)
        until(lambda: all(position(outbox, each) == 120 for each in range(PARTITIONS)), broker)
    assert whole(broker, 120)
    assert (broker.appenders > 1) == (failing > 0)
    assert broker.most_octets <= 20_000
    for partition in range(PARTITIONS):
        first = segments.bases(outbox.log_folder(RAW_STREAM, partition))[0]
        assert first > 100, "what is acknowledged is trimmed"


def test_a_broker_down_at_the_start_and_mute_later_loses_nothing(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker(down=True)
    fill(outbox, 30)
    with shipping(outbox, broker, tmp_path) as made:
        until(lambda: made.failed is not None, broker)
        assert not made.health()["ok"]
        broker.down, broker.mute = False, True
        fill(outbox, 30)
        until(lambda: broker.appenders > 1, broker)  # silence: a new connection
        broker.mute = False
        until(lambda: all(position(outbox, each) == 60 for each in range(PARTITIONS)), broker)
        assert made.health()["ok"]
    assert whole(broker, 60)


def test_a_stop_leaves_in_the_outbox_what_was_not_acknowledged(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker(mute=True)
    fill(outbox, 40)
    with shipping(outbox, broker, tmp_path):
        until(lambda: broker.most_octets > 0, broker)
    assert all(position(outbox, partition) == 0 for partition in range(PARTITIONS))
    broker.mute = False
    with shipping(outbox, broker, tmp_path):
        until(lambda: whole(broker, 40), broker)
    assert all(position(outbox, partition) == 40 for partition in range(PARTITIONS))


def test_a_stop_sends_what_the_outbox_holds(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker()
    fill(outbox, 5)
    stop = threading.Event()
    stop.set()
    broker.chance = random.Random(1)

    def tend() -> None:
        for _ in range(100):
            time.sleep(0.002)
            broker.tend()

    tending = threading.Thread(target=tend)
    tending.start()
    Shipper(outbox, broker, KafkaSettings(), tmp_path / "dead").run(stop)
    tending.join()
    assert whole(broker, 5)
    assert all(position(outbox, partition) == 5 for partition in range(PARTITIONS))


def test_a_message_that_is_never_taken_is_kept_aside(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker(refuses=lambda headers: headers["sequence"] == "7")
    fill(outbox, 20)
    with shipping(outbox, broker, tmp_path):
        until(lambda: all(position(outbox, each) == 20 for each in range(PARTITIONS)), broker)
    assert all(broker.numbers(each) == [n for n in range(20) if n != 7] for each in range(PARTITIONS))
    assert len(list((tmp_path / "dead").glob("*.json"))) == PARTITIONS


def test_a_full_appender_is_waited_for(tmp_path: Path) -> None:
    class Small(Broker):
        def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> Sent:
            if any(self.flight):
                raise BusFull("one at a time")
            return super().send(partition, headers, body)

    outbox, broker = outbox_in(tmp_path), Small()
    fill(outbox, 20)
    with shipping(outbox, broker, tmp_path):
        until(lambda: whole(broker, 20), broker)


def test_damage_in_the_outbox_is_stepped_over(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker()
    fill(outbox, 40)
    folder = outbox.log_folder(RAW_STREAM, 1)
    second, third = segments.bases(folder)[1:3]
    path = segments.path_of(folder, second)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with shipping(outbox, broker, tmp_path):
        until(lambda: all(position(outbox, each) == 40 for each in range(PARTITIONS)), broker)
    assert broker.numbers(0) == list(range(40))
    assert broker.numbers(1) == [*range(third - 1), *range(third, 40)]


def test_a_damaged_cursor_sends_again_what_is_left(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Broker()
    fill(outbox, 10)
    cursor = outbox.folder / "cursors" / GROUP / f"{RAW_STREAM}-2.json"
    cursor.parent.mkdir(parents=True, exist_ok=True)
    cursor.write_bytes(b'{"offs')
    with shipping(outbox, broker, tmp_path):
        until(lambda: whole(broker, 10), broker)
    assert position(outbox, 2) == 10


def test_a_disk_without_room_for_the_cursor_is_made_room_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, broker = outbox_in(tmp_path), Broker()
    fill(outbox, 40)
    real, full = segments.write_atomic, True

    def write(path: Path, data: bytes) -> None:
        if full:
            raise OSError(28, "no space left on device")
        real(path, data)

    monkeypatch.setattr(segments, "write_atomic", write)
    with shipping(outbox, broker, tmp_path):
        until(lambda: segments.bases(outbox.log_folder(RAW_STREAM, 0))[0] > 20, broker)
        full = False
        until(lambda: all(position(outbox, each) == 40 for each in range(PARTITIONS)), broker)
    assert whole(broker, 40)
