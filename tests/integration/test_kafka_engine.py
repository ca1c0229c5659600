"""ClickHouse's own Kafka engine reads flows.enriched: our messages are plain ArrowStream to any reader."""

import time
import uuid

import numpy as np
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from sinks import StoreRefused
from sinks.batch import Batch, constant
from sinks.codec import encode
from sinks.embedded import EmbeddedStore
from sinks.schema import ENRICHED
from tests.broker import Broker

_SHUTDOWN_WAS_CALLED = 49  # said by the engine in process, although the table is made and works
_SECONDS = 30


def test_the_kafka_engine_reads_enriched_messages(broker: Broker, empty_store: EmbeddedStore) -> None:
    topic = f"engine.{uuid.uuid4().hex[:8]}.flows.enriched"
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_topics([NewTopic(topic, 2, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.address, max_request_size=16 << 20)
    rows = np.random.default_rng(1)
    octets = 0
    for number, compression in enumerate(("none", "lz4", "zstd", "zstd")):
        batch = Batch.empty(ENRICHED, 1_000)
        batch.columns["octets"][:] = rows.integers(1, 10_000, 1_000)
        batch.columns["vlan"] = constant(0, "u2", 1_000)  # left out of the message
        batch.columns["domain"] = constant(7, "u4", 1_000)
        batch.labels["extra"], batch.columns["extra"] = ("{}",), constant(0, "u4", 1_000)
        octets += int(batch.columns["octets"].sum())
        producer.send(topic, encode(batch, ENRICHED, compression), partition=number % 2)  # type: ignore[arg-type]
    producer.flush(30)
    producer.close()
    # The map travels as JSON text: a reader says JSONExtract(extra, 'Map(String, String)').
    types = {column.name: column.clickhouse for column in ENRICHED} | {"extra": "String"}
    columns = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    try:
        empty_store.command(
            f"CREATE TABLE enriched_topic ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{broker.address}', "
            f"kafka_topic_list = '{topic}', kafka_group_name = '{topic}', kafka_format = 'ArrowStream'"
        )
    except StoreRefused as refused:
        assert refused.code == _SHUTDOWN_WAS_CALLED
    found, deadline = [0, 0, 0, 0], time.monotonic() + _SECONDS
    while found[0] < 4_000 and time.monotonic() < deadline:
        part = empty_store.query(
            "SELECT count() AS n, sum(octets) AS o, sum(domain) AS d, sum(vlan) AS v FROM enriched_topic"
            " SETTINGS stream_like_engine_allow_direct_select = 1"
        ).to_pylist()[0]
        found = [before + part[name] for before, name in zip(found, "nodv", strict=True)]
    assert found == [4_000, octets, 4_000 * 7, 0]
    empty_store.command("DROP TABLE enriched_topic SYNC")
