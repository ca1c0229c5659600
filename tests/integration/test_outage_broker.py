"""A real broker that is down at the start, stalled and killed: the outbox keeps everything, and the order."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import shipper
from collector.shipper import GROUP, Shipper
from sinks import RAW_STREAM
from sinks.delivery import RawHeaders
from sinks.settings import BusSettings, KafkaSettings
from sinks.spool import Spool
from tests.broker import Broker, NoBroker
from tests.broker.buses import bus_of, prefix
from tests.end_to_end.trials import read_topic

PARTITIONS = 2
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # of a client that was abandoned


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """One that may be killed; not started yet."""
    try:
        made = Broker(tmp_path / "broker")
    except NoBroker as missing:
        pytest.skip(str(missing))
    yield made
    made.kill()


class Filling:
    """A collector that goes on whatever the broker does: numbered messages, some a second."""

    def __init__(self, outbox: Spool) -> None:
        self._outbox, self._stop = outbox, threading.Event()
        self.sent = 0  # of each partition
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        producer = self._outbox.producer(RAW_STREAM)
        while not self._stop.wait(0.005):
            for partition in range(PARTITIONS):
                headers = RawHeaders("c@1", self.sent, 1).encode()
                producer.publish(partition, headers, f"{partition}/{self.sent}/".encode() * 500)
            self.sent += 1
        producer.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.soak
@pytest.mark.parametrize(
    "outages", [("stalled",), pytest.param(("killed", "stalled", "killed"), marks=pytest.mark.soak)]
)
def test_nothing_is_lost_and_the_order_kept(
    own_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outages: tuple[str, ...]
) -> None:
    """A killed broker takes 13 s to come back, hence the short form without."""
    monkeypatch.setattr(shipper, "_SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(shipper, "_PAUSES", (0.1, 0.2))
    topics = prefix()
    bus = bus_of(own_broker, topics, partitions=PARTITIONS, ready=False)
    outbox = Spool(tmp_path / "outbox", BusSettings(partitions=PARTITIONS), streams=(RAW_STREAM,))
    made, stop = Shipper(outbox, bus, KafkaSettings(), tmp_path / "dead"), threading.Event()
    running = threading.Thread(target=made.run, args=(stop,))
    filling = Filling(outbox)
    try:
        running.start()
        until(lambda: made.failed is not None)  # down at the start
        own_broker.start()
        bus.prepare(lambda _: None)
        until(lambda: acknowledged(outbox) > 20)
        for outage in outages:
            if outage == "stalled":
                own_broker.freeze()
                time.sleep(1.5)  # longer than the shipper waits
                own_broker.thaw()
            else:
                own_broker.kill()
                own_broker.start()
            before = filling.sent
            until(lambda before=before: acknowledged(outbox) > before)
        filling.stop()
    finally:
        filling.stop()
        stop.set()
        running.join(30)
    assert acknowledged(outbox) == filling.sent
    taken: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}
    for message in read_topic(own_broker.address, f"{topics}{RAW_STREAM}"):
        number = int(message.headers["sequence"])
        numbers = taken[message.partition]
        if not numbers or number > numbers[-1]:  # else a repeat, as readers know it
            assert bytes(message.body) == f"{message.partition}/{number}/".encode() * 500
            numbers.append(number)
    assert taken == {partition: list(range(filling.sent)) for partition in range(PARTITIONS)}


def acknowledged(outbox: Spool) -> int:
    """Below this number all messages of all partitions are in Kafka."""
    consumer = outbox.consumer(RAW_STREAM, GROUP)
    found = [consumer.committed(partition) for partition in range(PARTITIONS)]
    consumer.close()
    return min(each.offset if each else 0 for each in found)


def until(true, seconds: float = 30) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
