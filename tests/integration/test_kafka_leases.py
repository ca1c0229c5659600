"""Leases in a compacted topic of a real broker: read, followed, published by RADIUS, over outages and restarts."""

import json
import random
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import kafka
import kafka.admin
import numpy as np
import pytest

from enricher.leases import LeaseRows, LeaseTable
from enricher.radius.settings import RadiusSettings
from enricher.radius.source import RadiusSource
from enricher.settings import EnricherSettings
from enricher.sources.kafka import KafkaSource
from enricher.watch import TablesInForce
from flowtide.simulator.radius import Client, Nas, Record, Status
from sinks.kafka import KafkaBus
from sinks.kafka_keyed import KeyedTopic
from sinks.settings import BusSettings, KafkaSettings
from tests.broker import Broker
from tests.broker.buses import QUICK, prefix, until
from tests.broker.fixtures import collect

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")

SECRET = "testing123"
NAS = Nas("192.0.2.201", "bras-1")
KEY = "0123456789abcdef"


def topic_of(broker: Broker, name: str) -> KeyedTopic:
    return KeyedTopic(BusSettings(url=broker.url), KafkaSettings(), name, "test", replace(QUICK))


@contextmanager
def reading(broker: Broker, name: str) -> Iterator[KafkaSource]:
    source = KafkaSource("isp", topic_of(broker, name), history_seconds=3e9)
    source.start()
    try:
        yield source
    finally:
        source.close()


def write(broker: Broker, name: str, records: Iterable[tuple[str, bytes | None]]) -> None:
    """As another system would: by Kafka's own means."""
    producer = kafka.KafkaProducer(bootstrap_servers=broker.address, acks="all", allow_auto_create_topics=False)
    for key, value in records:
        producer.send(name, key=key.encode(), value=value)
    producer.flush(timeout=10)
    producer.close(timeout=5)


def lease(address: str, who: str, since: int = 1_000, ended: int | None = None) -> bytes:
    columns = {
        "prefix": address, "from": since, "to": ended, "subscriber": who, "group": "", "service": "fixed",
        "segment": "personal", "access": "pppoe",
    }  # fmt: skip
    return json.dumps(columns).encode()


def held(rows: LeaseRows | None) -> dict[tuple[str, int], tuple[str, int]]:
    """Subscriber and end by IPv4 address and begin, in milliseconds."""
    assert rows is not None
    return {
        (socket.inet_ntoa(int(rows.low[at] & 0xFFFFFFFF).to_bytes(4)), int(rows.since[at])): (
            rows.subscribers[rows.subscriber[at]], int(rows.until[at]),
        )
        for at in range(len(rows))
    }  # fmt: skip


def names(rows: LeaseRows | None) -> dict[str, str]:
    return {address: who for (address, _), (who, _) in held(rows).items()}


def latest(source: KafkaSource, seconds: float = 15.0) -> LeaseRows:
    """What ``poll`` gives next; no leases are an answer, too."""

    def look() -> list[LeaseRows]:
        rows = source.poll(time.time())
        return [] if rows is None else [rows]

    found: list[LeaseRows] = until(look, seconds)
    return found[0]


def in_topic(broker: Broker, name: str) -> dict[bytes, bytes]:
    """What is left of it by key, read by Kafka's own means."""
    consumer = kafka.KafkaConsumer(bootstrap_servers=broker.address, enable_auto_commit=False, group_id=None)
    places = [kafka.TopicPartition(name, each) for each in consumer.partitions_for_topic(name) or ()]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    found: dict[bytes, bytes] = {}
    ends = consumer.end_offsets(places)
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=200).values():
            for each in records:
                found.pop(each.key, None)
                if each.value is not None:
                    found[each.key] = each.value
    consumer.close(autocommit=False)
    return found


def make(broker: Broker, name: str, policy: str = "compact", partitions: int = 1) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
    spec = {"num_partitions": partitions, "replication_factor": 1, "configs": {"cleanup.policy": policy}}
    admin.create_topics({name: spec}, wait_for_metadata=True)
    admin.close()


def remove(broker: Broker, name: str) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=broker.address)
    admin.delete_topics([name])
    until(lambda: name not in admin.list_topics())
    admin.close()


def test_a_topic_is_read_whole_and_followed(broker: Broker) -> None:
    name = f"{prefix()}leases"
    make(broker, name, partitions=3)
    write(broker, name, [("a", lease("198.18.0.1", "alice")), ("b", lease("198.18.0.2", "bob")),
                         ("a", lease("198.18.0.1", "alice", ended=2_000)), ("b", None), ("c", b"junk")])  # fmt: skip
    with reading(broker, name) as source:
        assert held(latest(source)) == {("198.18.0.1", 1_000_000): ("alice", 2_000_000)}
        assert source.poll(0.0) is None
        write(broker, name, [("any other key", lease("198.18.0.1", "carol", 2_000)), ("a", b"junk")])
        assert held(latest(source)) == {
            ("198.18.0.1", 1_000_000): ("alice", 2_000_000), ("198.18.0.1", 2_000_000): ("carol", 2**63 - 1),
        }  # fmt: skip
        status = source.status(time.time())
        assert (status.kind, status.leases, status.newest_ms, status.error) == ("kafka", 2, 2_000_000, None)
    begun = time.monotonic()
    source.poll(0.0)
    assert time.monotonic() - begun < 0.2


def test_a_new_reader_finds_the_same_whatever_was_compacted(broker: Broker) -> None:
    name = prefix()
    chance = random.Random(7)
    log: list[tuple[str, bytes | None]] = []
    for _ in range(3_000):
        key = f"{chance.randrange(200)}"
        gone = chance.random() < 0.3
        log.append((key, None if gone else lease(f"198.18.0.{key}", f"s{chance.randrange(50)}", chance.randrange(9))))
    newest = dict(log)
    for topic, records in ((f"{name}whole", log), (f"{name}compacted", list(newest.items())[::-1])):
        make(broker, topic)
        write(broker, topic, records)
    with reading(broker, f"{name}whole") as one, reading(broker, f"{name}compacted") as other:
        found = held(latest(one))
        assert found == held(latest(other))
    assert len(found) == sum(value is not None for value in newest.values())


def test_what_cannot_be_used_is_said_and_the_last_leases_stay(broker: Broker) -> None:
    name = f"{prefix()}leases"
    with reading(broker, name) as source:
        until(lambda: source.status(0.0).error)
        assert f"--create --topic {name} --partitions 1" in str(source.status(0.0).error)
        assert "--config cleanup.policy=compact" in str(source.status(0.0).error)
        make(broker, name, policy="delete")
        until(lambda: "is not compacted" in str(source.status(0.0).error))
        assert "--add-config cleanup.policy=compact" in str(source.status(0.0).error)
        remove(broker, name)
        make(broker, name)
        assert held(latest(source, 30)) == {}  # made and empty
        write(broker, name, [("a", lease("198.18.0.1", "alice"))])
        assert names(latest(source)) == {"198.18.0.1": "alice"}
        assert source.status(0.0).error is None
        remove(broker, name)
        until(lambda: "does not exist" in str(source.status(0.0).error), 30)
        assert source.status(0.0).leases == 1
        make(broker, name)
        until(lambda: "has no lease, where there were 1" in str(source.status(0.0).error), 30)
        assert source.poll(0.0) is None
        write(broker, name, [("b", lease("198.18.0.2", "bob"))])  # at the offset that was read already
        assert names(latest(source, 30)) == {"198.18.0.2": "bob"}
        until(lambda: source.status(0.0).error is None)
        write(broker, name, [("b", None)])
        assert held(latest(source)) == {}  # said by a record


def test_without_brokers_the_leases_of_the_last_run_stay_in_force(tmp_path: Path) -> None:
    own = Broker(tmp_path / "broker").start()
    try:
        make(own, "leases")
        write(own, "leases", [("a", lease("198.18.0.1", "alice"))])
        key_file = tmp_path / "state" / "subscriber.key"
        with reading(own, "leases") as source:
            tables = in_force(source, key_file)
            until(lambda: look(tables) == 1)
            own.kill()
            until(lambda: source.status(0.0).error, 40)
            assert look(tables) == 1
            tables.close()
        with reading(own, "leases") as source:
            tables = in_force(source, key_file)
            assert look(tables) == 1  # saved
            assert not source.is_told
            own.start()
            write(own, "leases", [("b", lease("198.18.0.2", "bob"))])
            until(lambda: look(tables) == 2, 40)
            assert source.is_told
            until(lambda: source.status(0.0).error is None, 20)
            tables.close()
    finally:
        own.kill()
        collect()


def in_force(source: KafkaSource, key_file: Path) -> TablesInForce:
    return TablesInForce(EnricherSettings(key=KEY, reload_seconds=0.01), key_file, sources=(source,))


def look(tables: TablesInForce) -> int:
    """Leases in force now."""
    tables.reload_if_changed(time.time())
    tables.settle()
    return len(tables.tables().leases)


def test_the_bus_makes_the_topics_of_leases_and_a_bad_one_does_not_stop_it(broker: Broker) -> None:
    name = prefix()

    def said(topic: str, **settings: object) -> list[str]:
        chosen = KafkaSettings.model_validate({"topic_prefix": name} | settings)
        lines: list[str] = []
        KafkaBus(
            BusSettings(url=broker.url), chosen, limits=replace(QUICK), compacted_topics=[f"{name}{topic}"]
        ).prepare(lines.append)  # fmt: skip
        return lines

    assert said("isp")[2:] == [f"create topic {name}isp: compacted, 1 partition, 1 replicas"]
    assert said("isp") == []
    missing = said("none", create_topics=False)  # as `flowtide doctor` asks
    assert len(missing) == 1
    assert f"{name}none does not exist" in missing[0]
    assert f"kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {name}none" in missing[0]
    make(broker, f"{name}bad", policy="delete")
    bad = said("bad")
    assert len(bad) == 1
    assert bad[0].startswith(f"warning: {name}bad is not compacted")


class Listener:
    """RADIUS that publishes, and its only NAS."""

    def __init__(self, broker: Broker, folder: Path, topic: str, name: str = "one") -> None:
        settings = RadiusSettings.model_validate(
            {"listen": "127.0.0.1:0", "clients": {"127.0.0.0/8": SECRET}, "labels": "fixed;personal;pppoe;east"}
        )
        self.source = RadiusSource(settings, folder, publish=topic_of(broker, topic), name=name)
        self.client = Client(self.source.address, SECRET.encode())

    def told(self, status: Status, user: str, address: str, at: int, seconds: int = 0) -> None:
        """A record of something at Unix seconds ``at``; answered."""
        record = Record(at * 1000, status, NAS, session=f"of {user}", user=user, ipv4=address, seconds=seconds)
        assert self.client.send(record)

    def close(self) -> None:
        self.client.close()
        self.source.close()


def subscribers(topic: Mapping[bytes, bytes]) -> dict[str, tuple[str, bool]]:
    """Who holds each prefix as the topic says, and whether the lease has ended."""
    found = [json.loads(value) for value in topic.values()]
    return {each["prefix"]: (each["subscriber"], each["to"] is not None) for each in found}


def test_radius_publishes_and_converges_after_a_restart(broker: Broker, tmp_path: Path) -> None:
    name, now = f"{prefix()}leases", int(time.time()) - 900
    make(broker, name)
    others = {b"radius/two 198.18.0.1/32 5": lease("198.18.0.9", "dan"), b"mine": lease("198.18.0.8", "eve")}
    write(broker, name, [(key.decode(), value) for key, value in others.items()])
    # Of an older run of the same listener, which its journal does not know any more.
    stale = f"radius/one 198.18.0.7/32 {now}"
    write(broker, name, [(stale, lease("198.18.0.7", "gone")), ("radius/one junk", lease("198.18.0.6", "junk"))])
    theirs = {"198.18.0.9": ("dan", False), "198.18.0.8": ("eve", False)}
    listener = Listener(broker, tmp_path / "radius", name)
    until(lambda: in_topic(broker, name) == others)
    listener.told(Status.START, "alice", "198.18.0.1", now)
    until(lambda: subscribers(in_topic(broker, name)) == theirs | {"198.18.0.1/32": ("alice", False)})
    listener.told(Status.STOP, "alice", "198.18.0.1", now + 60, 60)
    listener.told(Status.START, "bob", "198.18.0.2", now + 60)
    wanted = theirs | {"198.18.0.1/32": ("alice", True), "198.18.0.2/32": ("bob", False)}
    until(lambda: subscribers(in_topic(broker, name)) == wanted)
    mine = [key.decode() for key in in_topic(broker, name) if key not in others]
    assert sorted(mine) == [f"radius/one 198.18.0.1/32 {now * 1000}", f"radius/one 198.18.0.2/32 {now * 1000 + 60_000}"]
    written = end_of(broker, name)
    listener.close()
    # Nothing is written again that is there; what was heard is, what is missing comes back.
    listener = Listener(broker, tmp_path / "radius", name)
    listener.told(Status.START, "carol", "198.18.0.3", now + 90)
    until(lambda: subscribers(in_topic(broker, name)) == wanted | {"198.18.0.3/32": ("carol", False)})
    assert end_of(broker, name) == written + 1
    listener.close()
    write(broker, name, [(mine[0], None)])
    listener = Listener(broker, tmp_path / "radius", name)
    until(lambda: subscribers(in_topic(broker, name)) == wanted | {"198.18.0.3/32": ("carol", False)})
    assert listener.source.publish_failed is None
    listener.close()


def end_of(broker: Broker, name: str) -> int:
    consumer = kafka.KafkaConsumer(bootstrap_servers=broker.address, enable_auto_commit=False, group_id=None)
    place = kafka.TopicPartition(name, 0)
    end = int(consumer.end_offsets([place])[place])
    consumer.close(autocommit=False)
    return end


def test_a_lease_heard_and_read_counts_once(broker: Broker, tmp_path: Path) -> None:
    name, now = f"{prefix()}leases", int(time.time()) - 900
    make(broker, name)
    listener = Listener(broker, tmp_path / "radius", name)
    for at in range(4):
        listener.told(Status.START, f"s{at}", f"198.18.0.{at}", now + at)
    listener.told(Status.STOP, "s3", "198.18.0.3", now + 300, 297)
    until(lambda: listener.source.unpublished == 0 and len(in_topic(broker, name)) == 4)
    heard = listener.source.poll(0.0)
    with reading(broker, name) as source:
        read = latest(source)
    listener.close()
    assert heard is not None
    assert held(heard) == held(read)
    alone = LeaseTable.of(heard.with_priority(100), KEY.encode())
    # Whichever counts more, or none does.
    for one, other in ((100, 0), (0, 100), (7, 7)):
        both = LeaseTable.of(LeaseRows.concat([heard.with_priority(one), read.with_priority(other)]), KEY.encode())
        assert (len(both), both.ambiguous) == (len(alone), 0)
        asked = np.frombuffer(b"".join(bytes(10) + b"\xff\xff\xc6\x12\0" + bytes([at]) for at in range(4)), "V16")
        for second in (-1, 0, 3, 299, 300, 10_000):
            times = np.full(4, (now + second) * 1000).astype("M8[ms]")
            first, second_one = alone.lookup(asked, times), both.lookup(asked, times)
            assert alone.sub_id[first].tolist() == both.sub_id[second_one].tolist()
            assert ((first < 0) == (second_one < 0)).all()


def test_radius_is_answered_while_brokers_are_away_and_the_topic_catches_up(tmp_path: Path) -> None:
    own = Broker(tmp_path / "broker").start()
    try:
        make(own, "leases")
        now = int(time.time()) - 900
        listener = Listener(own, tmp_path / "radius", "leases")
        listener.told(Status.START, "s0", "198.18.0.0", now)
        until(lambda: len(in_topic(own, "leases")) == 1)
        own.freeze()
        slowest = 0.0
        for at in range(1, 100):
            begun = time.monotonic()
            listener.told(Status.START, f"s{at}", f"198.18.0.{at}", now + at)
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 0.9  # the first try
        assert listener.client.retries == 0
        until(lambda: "not acknowledged" in str(listener.source.publish_failed), 40)
        own.thaw()
        until(lambda: len(in_topic(own, "leases")) == 100, 40)
        until(lambda: listener.source.publish_failed is None, 40)
        listener.close()
    finally:
        own.kill()
        collect()
