"""Topics over a real broker: made, checked, made again, given more partitions."""

import contextlib
import time
from collections.abc import Iterator

import kafka
import kafka.admin
import pytest

from sinks import ENRICHED_STREAM, RAW_STREAM, GenerationLost, OffsetGone
from sinks.kafka_client import KafkaError
from tests.broker import Broker
from tests.broker.buses import bus_of, partitions_of, prefix, read, until

# The client leaves sockets to the collector of garbage when a connection is refused or cut off.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


@pytest.fixture
def admin(broker: Broker) -> Iterator[kafka.KafkaAdminClient]:
    client = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
    yield client
    client.close()


def test_missing_topics_are_announced_and_made_once(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    name = prefix()
    said: list[str] = []
    bus_of(broker, name, partitions=3, ready=False, raw_hours=5).prepare(said.append)
    assert [text.split(",")[0] for text in said] == [
        f"create topic {name}flows.raw: 3 partitions", f"create topic {name}flows.enriched: 3 partitions",
    ]  # fmt: skip
    resource = kafka.admin.ConfigResource("TOPIC", f"{name}flows.raw")
    configs = admin.describe_configs([resource], config_filter="all")["topic"][f"{name}flows.raw"]
    assert {key: configs[key]["value"] for key in ("retention.ms", "max.message.bytes", "cleanup.policy")} == {
        "retention.ms": "18000000", "max.message.bytes": "16777216", "cleanup.policy": "delete",
    }  # fmt: skip
    said.clear()
    bus_of(broker, name, partitions=3, ready=False, raw_hours=5).prepare(said.append)
    assert said == []
    bus_of(broker, name, partitions=3, ready=False, raw_hours=6).prepare(said.append)
    assert len(said) == 1
    assert "keeps 5 h, the settings say 6 h" in said[0]


def test_what_does_not_fit_is_refused(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    with pytest.raises(KafkaError, match=r"create_topics is off; run: kafka-topics\.sh"):
        bus_of(broker, create_topics=False)
    with pytest.raises(KafkaError, match="refuse to create"):
        bus_of(broker, replication=3)
    name = prefix()
    bus_of(broker, name)
    with pytest.raises(KafkaError, match=r"set bus\.partitions = 2"):
        bus_of(broker, name, partitions=4)
    resource = kafka.admin.ConfigResource("TOPIC", f"{name}flows.enriched", {"max.message.bytes": "1000000"})
    admin.alter_configs([resource])
    with pytest.raises(KafkaError, match=r"flows\.enriched takes messages up to 1000000"):
        bus_of(broker, name)


def test_a_topic_made_again_is_another_stream(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker)
    before = bus.stream_id(RAW_STREAM)
    assert len(before) == 32
    assert before != bus.stream_id(ENRICHED_STREAM)
    with contextlib.closing(bus.producer(RAW_STREAM)) as producer:
        for _ in range(5):
            producer.publish(0, {"of": "old"}, b"x")
    with contextlib.closing(bus.consumer(RAW_STREAM, "again")) as consumer:
        for partition in partitions_of(consumer):
            consumer.seek(partition, 0)
        assert len(read(consumer, 5)) == 5
        consumer.commit(0, 5, "of the old one")
        admin.delete_topics([bus.topic(RAW_STREAM)])
        until(lambda: bus.topic(RAW_STREAM) not in admin.list_topics())
        maker = bus_of(broker, bus.topic(RAW_STREAM).removesuffix(RAW_STREAM))  # makes the topic again
        with contextlib.closing(maker.producer(RAW_STREAM)) as producer:
            for _ in range(9):
                producer.publish(0, {"of": "new"}, b"x")
        with pytest.raises((GenerationLost, OffsetGone)):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                # Not one message may come from the new log at the old position.
                assert consumer.poll(1 << 20, 0.1) == ()
        until(lambda: bus.stream_id(RAW_STREAM) != before, 20)
        assert bus.stream_id(RAW_STREAM) == maker.stream_id(RAW_STREAM)

        def begin() -> bool:
            try:
                for partition in consumer.assigned():
                    consumer.seek(partition, 0)
                    assert consumer.committed(partition) is None
                return bool(consumer.assigned())
            except GenerationLost:
                return False

        until(begin, 20)
        for partition in consumer.assigned():
            consumer.seek(partition, 0)
        assert [message.headers["of"] for message in read(consumer, 9)] == ["new"] * 9


def test_added_partitions_stop_the_reader_with_what_to_do(broker: Broker, admin: kafka.KafkaAdminClient) -> None:
    bus = bus_of(broker)
    with contextlib.closing(bus.consumer(RAW_STREAM, "more")) as consumer:
        partitions_of(consumer)
        admin.create_partitions({bus.topic(RAW_STREAM): 3})

        def refused() -> bool:
            try:
                consumer.poll(1 << 20, 0.1)
            except GenerationLost:
                with contextlib.suppress(GenerationLost):
                    consumer.assigned()
            return False

        with pytest.raises(KafkaError, match=r"has 3 partitions, the settings say 2: drain both topics"):
            until(refused, 15)
    with pytest.raises(KafkaError, match="3 partitions"):
        bus.prepare(lambda _: None)
