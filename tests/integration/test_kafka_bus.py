"""The bus over a real broker: what goes in comes out, and every bound is told by its exception."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import kafka
import kafka.admin
import numpy as np
import pyarrow as pa
import pytest

from sinks import ENRICHED_STREAM, RAW_STREAM, BusFull, Committed, MessageRefused, OffsetGone, Unacknowledged
from sinks.batch import Batch
from sinks.codec import encode
from sinks.delivery import RawHeaders
from sinks.kafka import KafkaBus
from sinks.kafka_client import MAX_MESSAGE_BYTES
from sinks.kafka_consumer import KafkaConsumer
from sinks.schema import RAW
from tests.broker import Broker
from tests.broker.buses import QUICK, bus_of, partitions_of, prefix, read, until

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


@pytest.fixture
def admin(broker: Broker) -> Iterator[kafka.KafkaAdminClient]:
    client = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
    yield client
    client.close()


def reader(bus: KafkaBus, group: str, stream: str = RAW_STREAM, start: int = 0) -> KafkaConsumer:
    consumer = bus.consumer(stream, group)
    for partition in partitions_of(consumer):
        consumer.seek(partition, start)
    return consumer


def publish(bus: KafkaBus, count: int, partition: int = 0) -> None:
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        for number in range(count):
            producer.publish(partition, {"n": str(number)}, b"body %d" % number)


def test_headers_and_bodies_of_any_size_come_back(broker: Broker) -> None:
    bus = bus_of(broker)
    large = np.random.default_rng(1).bytes(8 << 20)
    sent = [({"kind": "flow", "collector": "münchen-1@0f"}, large), ({}, b""), ({"empty": ""}, b"\x00\xff")]
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        assert [producer.publish(1, headers, body) for headers, body in sent] == [0, 1, 2]
        assert producer.publish(0, {}, b"elsewhere") == 0
        assert producer.last(1) == {"empty": ""}
    with contextlib.closing(reader(bus, "sink")) as consumer:
        messages = [message for message in read(consumer, 4) if message.partition == 1]
        assert [(message.offset, message.headers, message.body) for message in messages] == [
            (offset, headers, body) for offset, (headers, body) in enumerate(sent)
        ]
        assert consumer.bounds(1) == (0, 3)
        assert consumer.end(1) == 3


def test_the_newest_headers_are_read_from_the_log(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker)
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        assert producer.last(0) is None
        for number in range(3):
            producer.publish(0, {"n": str(number)}, b"x")
        with contextlib.closing(bus.producer(RAW_STREAM)) as successor:
            assert successor.last(0) == {"n": "2"}
            assert successor.last(1) is None
        admin.delete_records({kafka.TopicPartition(bus.topic(RAW_STREAM), 0): 3})
        assert producer.last(0) is None


def test_too_large_is_refused_before_it_is_sent_and_by_the_topic(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker)
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        with pytest.raises(MessageRefused, match="at most"):
            producer.publish(0, {}, bytes(MAX_MESSAGE_BYTES))
        assert producer.publish(0, {}, b"the producer is as good as before") == 0
    with contextlib.closing(bus.appender(RAW_STREAM)) as appender, pytest.raises(MessageRefused):
        appender.send(0, {}, bytes(MAX_MESSAGE_BYTES))
    resource = kafka.admin.ConfigResource("TOPIC", bus.topic(RAW_STREAM), {"max.message.bytes": "1000000"})
    admin.alter_configs([resource])
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        with pytest.raises(MessageRefused, match=r"max\.message\.bytes"):
            producer.publish(0, {}, bytes(2_000_000))
        with pytest.raises(Unacknowledged):
            producer.publish(0, {}, b"only a new producer goes on")
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        assert producer.publish(0, {}, b"small") == 1


def test_a_commit_and_its_metadata_survive_the_consumer(broker: Broker) -> None:
    bus = bus_of(broker)
    publish(bus, 5)
    metadata = json.dumps({"stored": 2**40, "note": "ü" * 100})
    with contextlib.closing(reader(bus, "sink")) as consumer:
        assert consumer.committed(0) is None
        consumer.commit(0, 3, metadata)
        assert consumer.committed(0) == Committed(3, metadata)
    with contextlib.closing(reader(bus, "sink")) as consumer, contextlib.closing(reader(bus, "other")) as other:
        assert consumer.committed(0) == Committed(3, metadata)
        assert consumer.committed(1) is None
        assert other.committed(0) is None


def test_nothing_is_committed_but_what_is_named(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    """A bare commit would write the reading position and wipe the metadata; so would an automatic one."""
    bus = bus_of(broker)
    publish(bus, 5)
    consumer = reader(bus, "careful")
    assert consumer._client.config["enable_auto_commit"] is False
    assert consumer._client.config["auto_offset_reset"] == "none"
    consumer.commit(0, 2, "mine")
    assert len(read(consumer, 5)) == 5
    consumer.close()
    place = kafka.TopicPartition(bus.topic(RAW_STREAM), 0)
    found = admin.list_group_offsets(["careful"])["careful"]
    assert {tp: (entry.offset, entry.metadata) for tp, entry in found.items() if tp.topic == place.topic} == {
        place: (2, "mine")
    }


def test_offsets_out_of_the_log_are_told_with_its_bounds(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker)
    publish(bus, 10)
    admin.delete_records({kafka.TopicPartition(bus.topic(RAW_STREAM), 0): 4})
    with contextlib.closing(bus.consumer(RAW_STREAM, "sink")) as consumer:
        partitions_of(consumer)
        for offset in (3, 11):
            with pytest.raises(OffsetGone) as gone:
                consumer.seek(0, offset)
            assert (gone.value.partition, gone.value.offset) == (0, offset)
            assert (gone.value.first, gone.value.end) == (4, 10)
        consumer.seek(0, 10)
        assert consumer.poll(1 << 20, 0.1) == ()
        consumer.seek(0, 4)
        assert [message.offset for message in read(consumer, 6)] == [4, 5, 6, 7, 8, 9]


def test_messages_that_expire_ahead_of_a_slow_reader_are_told(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker, limits=replace(QUICK, buffer_bytes=1))
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        for _ in range(8):
            producer.publish(0, {}, bytes(6_000_000))  # two an answer
    with contextlib.closing(reader(bus, "sink")) as consumer:
        until(lambda: consumer._full)
        admin.delete_records({kafka.TopicPartition(bus.topic(RAW_STREAM), 0): 8})
        seen: list[int] = []
        with pytest.raises(OffsetGone) as gone:
            for _ in range(50):
                seen += [message.offset for message in consumer.poll(1, 0.2)]
        assert seen == list(range(gone.value.offset))
        assert seen
        assert (gone.value.first, gone.value.end) == (8, 8)
        consumer.seek(0, 8)
        publish(bus, 1)
        assert [message.offset for message in read(consumer, 1)] == [8]


def test_seeking_drops_what_was_read_ahead(broker: Broker) -> None:
    bus = bus_of(broker)
    publish(bus, 20)
    with contextlib.closing(reader(bus, "sink")) as consumer:
        assert [message.offset for message in consumer.poll(1, 5)] == [0]
        consumer.seek(0, 15)
        assert [message.offset for message in read(consumer, 5)] == [15, 16, 17, 18, 19]


def test_reading_ahead_is_bounded(broker: Broker) -> None:
    bus = bus_of(broker, limits=replace(QUICK, buffer_bytes=3 << 20))
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        for number in range(60):
            producer.publish(number % 2, {}, bytes(1 << 20))
    with contextlib.closing(reader(bus, "sink")) as consumer:
        until(lambda: consumer._full)
        time.sleep(0.5)
        assert consumer._buffered < (3 << 20) + MAX_MESSAGE_BYTES + (1 << 20)  # the bound and one answer
        offsets: dict[int, list[int]] = {0: [], 1: []}
        for message in read(consumer, 60):
            offsets[message.partition].append(message.offset)
        assert offsets == {0: list(range(30)), 1: list(range(30))}


def test_an_appender_keeps_order_and_bounds_what_is_in_flight(broker: Broker) -> None:
    bus = bus_of(broker, in_flight_bytes=1 << 20)
    appender = bus.appender(RAW_STREAM)
    waiting = []
    refused = 0
    for number in range(200):
        while True:
            try:
                waiting.append(appender.send(number % 2, {"n": str(number)}, bytes(50_000)))
                break
            except BusFull:
                refused += 1
                assert 0 < appender.in_flight_bytes <= 1 << 20
                appender.wait(1.0)
    until(lambda: all(pending.acknowledged for pending in waiting))
    assert refused
    assert appender.in_flight_bytes == 0
    appender.close()
    with contextlib.closing(reader(bus, "sink")) as consumer:
        messages = read(consumer, 200)
    for partition in (0, 1):
        numbers = [int(message.headers["n"]) for message in messages if message.partition == partition]
        assert numbers == list(range(partition, 200, 2))


def test_after_a_failure_nothing_later_of_the_appender_is_in_the_log(
    broker: Broker, admin: kafka.KafkaAdminClient
) -> None:
    """A later message in the log would make readers take the earlier one, sent again, for a repeat."""
    bus = bus_of(broker)
    resource = kafka.admin.ConfigResource("TOPIC", bus.topic(RAW_STREAM), {"max.message.bytes": "1000000"})
    admin.alter_configs([resource])
    appender = bus.appender(RAW_STREAM)
    good = [appender.send(0, {"n": str(number)}, b"x") for number in range(3)]
    until(lambda: all(pending.acknowledged for pending in good))
    with contextlib.suppress(Unacknowledged):
        bad = appender.send(0, {"n": "3"}, bytes(3_000_000))
        for number in range(4, 40):
            appender.send(0, {"n": str(number)}, b"x")
    until(lambda: bad.done)
    assert bad.failed is not None
    with pytest.raises(Unacknowledged):
        appender.send(0, {}, b"x")
    appender.close()
    with contextlib.closing(reader(bus, "sink")) as consumer:
        assert [message.headers["n"] for message in read(consumer, 4, seconds=1.0)] == ["0", "1", "2"]


def test_other_readers_need_neither_our_code_nor_our_group(broker: Broker) -> None:
    bus = bus_of(broker)
    batch = Batch.empty(RAW, 3)
    batch.columns["octets"][:] = [1, 2, 3]
    headers = RawHeaders("münchen@0f", 7, 3, 1, 2).encode()
    for stream in (RAW_STREAM, ENRICHED_STREAM):
        with contextlib.closing(bus.producer(stream)) as producer:
            producer.publish(0, headers, encode(batch, RAW, "zstd"))
        command = [
            "kcat",
            "-b",
            broker.address,
            "-C",
            "-t",
            bus.topic(stream),
            "-p",
            "0",
            "-o",
            "beginning",
            "-e",
            "-q",
        ]
        form = "%p %o %S\\n%h"
        said = subprocess.run([*command, "-f", form], capture_output=True, check=True, timeout=30).stdout.decode()
        place, names = said.split("\n", 1)
        assert place.split()[:2] == ["0", "0"]
        assert dict(item.split("=", 1) for item in names.split(",")) == dict(headers)
        body = subprocess.run([*command, "-f", "%s"], capture_output=True, check=True, timeout=30).stdout
        with pa.ipc.open_stream(body) as stream_of_rows:
            assert stream_of_rows.read_all().column("octets").to_pylist() == [1, 2, 3]


def test_prefixes_keep_topics_apart(broker: Broker) -> None:
    one, other = bus_of(broker, prefix()), bus_of(broker, prefix())
    publish(one, 1)
    assert one.stream_id(RAW_STREAM) != other.stream_id(RAW_STREAM)
    with contextlib.closing(reader(other, "sink")) as consumer:
        assert consumer.bounds(0) == (0, 0)
