"""Brokers that die, stall and come back: nothing acknowledged is lost, nothing hangs, what is unknown is said."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sinks import RAW_STREAM, BusFull, BusUnavailable, Committed, GenerationLost, Unacknowledged
from sinks.kafka import KafkaBus
from tests.broker import Broker
from tests.broker.buses import QUICK, bus_of, partitions_of, read, until

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


@pytest.fixture
def running(broker: Broker) -> Iterator[Broker]:
    """The session's broker, running again afterwards."""
    yield broker
    if broker.process is None:
        broker.start()
    else:
        broker.thaw()


def all_of(bus: KafkaBus, count: int, partition: int = 0) -> list[str]:
    with contextlib.closing(bus.consumer(RAW_STREAM, "checker")) as consumer:
        for place in partitions_of(consumer, 30):
            consumer.seek(place, 0)
        return [message.headers["n"] for message in read(consumer, count, 5) if message.partition == partition]


def client_threads() -> int:
    return sum("kafka" in thread.name for thread in threading.enumerate())


@pytest.mark.soak
def test_both_ends_go_on_after_a_killed_broker_is_back(running: Broker) -> None:
    bus = bus_of(running, limits=replace(QUICK, answer_seconds=20.0))
    producer, consumer = bus.producer(RAW_STREAM), bus.consumer(RAW_STREAM, "sink")
    for partition in partitions_of(consumer):
        consumer.seek(partition, 0)
    appender = bus.appender(RAW_STREAM)
    producer.publish(0, {"n": "0"}, b"x")
    running.kill()
    pending = [appender.send(0, {"n": str(number)}, b"x") for number in range(1, 5)]
    running.start()
    until(lambda: all(message.acknowledged for message in pending), 30)
    producer.publish(0, {"n": "5"}, b"x")
    seen: list[str] = []

    def go_on() -> bool:
        try:
            seen.extend(message.headers["n"] for message in consumer.poll(1 << 20, 0.2))
        except GenerationLost:
            for partition in consumer.assigned():
                consumer.seek(partition, len(seen) if partition == 0 else 0)
        return len(seen) == 6

    until(go_on, 30)
    assert seen == ["0", "1", "2", "3", "4", "5"]
    appender.close()
    producer.close()
    consumer.close()


@pytest.mark.soak
def test_without_a_broker_nothing_hangs_and_all_say_so(running: Broker) -> None:
    bus = bus_of(running)
    running.kill()
    consumer = bus.consumer(RAW_STREAM, "sink")
    for call in (lambda: bus.producer(RAW_STREAM), lambda: bus.appender(RAW_STREAM),
                 lambda: bus.prepare(lambda _: None)):  # fmt: skip
        began = time.monotonic()
        with pytest.raises(BusUnavailable, match="answer"):
            call()
        assert time.monotonic() - began < 10
    assert consumer.assigned() == ()
    assert consumer.poll(1 << 20, 0.1) == ()
    with pytest.raises(BusUnavailable):
        consumer.committed(0)
    running.start()
    assert partitions_of(consumer, 30) == (0, 1)
    consumer.close()


def test_a_stalled_broker_leaves_nobody_in_doubt(running: Broker) -> None:
    """Stalled for longer than every time-out in use; then each message is in the log at most once."""
    bus = bus_of(running)
    threads = client_threads()
    producer, appender = bus.producer(RAW_STREAM), bus.appender(RAW_STREAM)
    consumer = bus.consumer(RAW_STREAM, "sink")
    for partition in partitions_of(consumer):
        consumer.seek(partition, 0)
    assert producer.publish(0, {"n": "0"}, b"x") == 0
    appender.send(1, {"n": "a"}, b"x")
    until(lambda: appender.in_flight_bytes == 0)
    consumer.commit(0, 1, "before")
    running.freeze()
    with pytest.raises(Unacknowledged):
        producer.publish(0, {"n": "1"}, b"x")
    with pytest.raises(Unacknowledged, match="another producer"):
        producer.publish(0, {"n": "2"}, b"x")
    waiting = [appender.send(1, {"n": name}, b"x") for name in "bc"]
    with pytest.raises((GenerationLost, BusUnavailable)):
        consumer.commit(0, 2, "unanswered")
    assert not any(pending.acknowledged for pending in waiting)
    for thing in (producer, appender, consumer):
        began = time.monotonic()
        thing.close()
        assert time.monotonic() - began < 4
    assert all(pending.failed is not None for pending in waiting)
    running.thaw()
    until(lambda: client_threads() <= threads, 20)
    with contextlib.closing(bus.producer(RAW_STREAM)) as successor:
        tail = successor.last(0)
        assert tail in ({"n": "0"}, {"n": "1"})  # the unacknowledged one is there, or never will be
        successor.publish(0, {"n": "2"}, b"x")
        successor.publish(1, {"n": "d"}, b"x")
    seen = all_of(bus, 6)
    assert seen in (["0", "2"], ["0", "1", "2"])
    assert (seen == ["0", "1", "2"]) == (tail == {"n": "1"})
    on_one = all_of(bus, 6, partition=1)
    assert len(set(on_one)) == len(on_one)
    assert on_one == sorted(on_one)
    assert {"a", "d"} <= set(on_one)


@pytest.mark.soak
def test_an_appender_over_a_stalled_broker_refuses_at_its_bound(running: Broker) -> None:
    bus = bus_of(running, in_flight_bytes=2 << 20)
    appender = bus.appender(RAW_STREAM)
    running.freeze()
    taken = 0
    with pytest.raises(BusFull):
        while taken < 100:
            appender.send(0, {}, bytes(200_000))
            taken += 1
    assert taken == 10
    running.thaw()
    until(lambda: appender.in_flight_bytes == 0, 30)
    appender.close()


def test_a_commit_that_nobody_answered_is_void_once_the_group_goes_on(running: Broker) -> None:
    bus = bus_of(running)
    with contextlib.closing(bus.consumer(RAW_STREAM, "void")) as consumer:
        partitions_of(consumer)
        consumer.commit(0, 1, "one")
        running.freeze()
        with pytest.raises((GenerationLost, BusUnavailable)):
            consumer.commit(0, 2, "two")
        running.thaw()
        partitions_of(consumer, 30)
        found = consumer.committed(0)
        assert found in (Committed(1, "one"), Committed(2, "two"))
        consumer.commit(0, 3, "three")
        time.sleep(1.0)
        assert consumer.committed(0) == Committed(3, "three")
