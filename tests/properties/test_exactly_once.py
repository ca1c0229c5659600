"""Enricher and sink over the in-memory bus, killed at random moments: every row once, every range once."""

import random
import re
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.enrichment import Tables
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Headers, Parts
from sinks.batch import Batch
from sinks.codec import encode, encode_observation
from sinks.dead_letters import DeadLetters
from sinks.delivery import RawHeaders
from sinks.memory import MemoryBus, MemoryConsumer, MemoryProducer, MemoryStore
from sinks.rollup_tables import LABELS
from sinks.rollups import NAMES, Rollups
from sinks.schema import RAW
from sinks.service import Sink
from sinks.settings import SinkSettings


class Killed(BaseException):
    """Not an Exception: nothing in the services may catch it, as nothing catches SIGKILL."""


class Chance:
    """Kills at a random one of the next calls, before or after the call took effect."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.left = 10**9

    def arm(self) -> None:
        self.left = self.random.randint(1, 25)

    def point(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Killed


class DeadlyBus(MemoryBus):
    def __init__(self, partitions: int, chance: Chance) -> None:
        super().__init__(partitions)
        self.chance = chance

    def producer(self, stream: str) -> MemoryProducer:
        return DeadlyProducer(self, stream, self.chance)

    def consumer(self, stream: str, group: str) -> MemoryConsumer:
        return DeadlyConsumer(self, stream, group, self.chance)


class DeadlyProducer(MemoryProducer):
    def __init__(self, bus: MemoryBus, stream: str, chance: Chance) -> None:
        super().__init__(bus, stream)
        self._chance = chance

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        self._chance.point()
        offset = super().publish(partition, headers, body)
        self._chance.point()
        return offset


class DeadlyConsumer(MemoryConsumer):
    def __init__(self, bus: MemoryBus, stream: str, group: str, chance: Chance) -> None:
        super().__init__(bus, stream, group)
        self._chance = chance

    def _new(self) -> list:  # type: ignore[type-arg]
        return super()._new()[: self._chance.random.randint(1, 4)] if self._chance.left < 10**8 else super()._new()

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        self._chance.point()
        super().commit(partition, offset, metadata)
        self._chance.point()


class DeadlyStore(MemoryStore):
    """Counts raw rows by offset, so that the ranges of the rollups can be checked against them."""

    def __init__(self, chance: Chance) -> None:
        super().__init__()
        self._chance = chance

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        self._chance.point()
        super().insert(table, rows, token=token)
        self._chance.point()

    def command(self, sql: str, *, token: str | None = None) -> None:
        self._chance.point()
        super().command(sql, token=token)
        self._chance.point()

    def query(self, sql: str, **parameters: object) -> pa.Table:
        if "FROM bus_stream" in sql:
            made = [
                table
                for table in self.tables["bus_stream"]
                if table.column("partition")[0].as_py() == parameters["partition"]
            ]
            return made[0].select(["base"]) if made else pa.table({"base": []})
        if "FROM rollup_hold" in sql:  # nobody rebuilds, and what is done is known by its token
            return pa.table({"held": [0], "done": [0]})
        if "FROM rollup_cut" in sql:
            cuts = [
                t.column("b")[0].as_py()
                for t in self.tables["rollup_cut"]
                if t.column("partition")[0].as_py() == parameters["partition"]
            ]
            return pa.table({"b": [max(cuts, default=0)]})
        if "max(bus_offset)" in sql:
            return pa.table({"base": [0], "n": [0]})
        if "LIMIT 1 BY" in sql:  # the labels of a range
            return pa.table({name: [""] for name in LABELS})
        found = re.search(r"bus_partition = (\d+) AND bus_offset >= (\d+) AND bus_offset < (\d+)", sql)
        assert found
        partition, a, b = (int(group) for group in found.groups())
        counts: Counter[int] = Counter()
        for table in self.tables["flows"]:
            if table.column("bus_partition")[0].as_py() == partition:
                offset = table.column("bus_offset")[0].as_py()
                if a <= offset < b:
                    counts[offset] += len(table)
        if "GROUP BY" not in sql:
            return pa.table({"rows": [sum(counts.values())]})
        rows = [{"bus_offset": o, "rows": n, "low": 0, "high": 0} for o, n in sorted(counts.items())]
        return pa.Table.from_pylist(rows)


def raw_message(number: int, rows: int, sequence: int) -> tuple[Headers, bytes]:
    batch = Batch.empty(RAW, rows)
    batch.columns["octets"] = np.arange(number * 1000, number * 1000 + rows, dtype="i8")
    batch.columns["ts"] = np.full(rows, 1_700_000_000_000 + number, "i8").view("M8[ms]")
    moment = 1_700_000_000_000 + number
    return RawHeaders("c", sequence, rows, moment, moment).encode(), encode(batch, RAW)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_row_is_stored_and_rolled_up_once(seed: int, tmp_path: Path) -> None:
    chance = Chance(seed)
    bus = DeadlyBus(2, chance)
    store = DeadlyStore(chance)
    expected: Counter[int] = Counter()
    observed = 0
    sequences = [0, 0]
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(chance.random.randint(1, 30)):
        partition = chance.random.randrange(2)
        if chance.random.random() < 0.15:
            row = {"time": 60, "collector": "c", "stage": "receive", "counter": "datagrams", "value": number}
            headers = RawHeaders("c", sequences[partition], 1, 0, 0, "observation", "stage_1m").encode()
            body = encode_observation("stage_1m", [row])
            observed += 1
        else:
            rows = chance.random.randint(1, 20)
            headers, body = raw_message(number, rows, sequences[partition])
            expected.update(range(number * 1000, number * 1000 + rows))
        producer.publish(partition, headers, body)
        if chance.random.random() < 0.2:
            producer.publish(partition, headers, body)  # a restarted collector says it again
        sequences[partition] += 1

    small = EnricherSettings(max_rows=25, max_wait_seconds=0.001)
    stop = threading.Event()
    stop.set()  # finish what is there, then return
    for life in range(60):
        chance.left = 10**9
        if life < 55:
            chance.arm()
        try:
            Enricher(bus, Tables, small).run(stop)
            Sink(
                bus,
                store,
                Rollups(store, SinkSettings(rollup_rows=30), "UTC"),
                SinkSettings(),
                DeadLetters(tmp_path / "letters"),
                tmp_path,
            ).run(stop)
        except Killed:
            continue
    flows = [octets for table in store.tables["flows"] for octets in table.column("octets").to_pylist()]
    assert Counter(flows) == expected
    assert sum(len(table) for table in store.tables["stage_1m"]) == observed
    for partition in range(2):
        for name in NAMES:
            ranges = [
                tuple(int(n) for n in token.rsplit("/", 1)[1].split("-"))
                for _, token in store.commands
                if token and token.startswith(f"{name}/") and f"/{partition}/" in token
            ]
            at = 0
            for a, b in ranges:
                assert a == at, ranges
                at = b
            stored = [
                table.column("bus_offset")[0].as_py()
                for table in store.tables["flows"]
                if table.column("bus_partition")[0].as_py() == partition
            ]
            assert all(offset < at for offset in stored)


def test_a_gap_stops_the_partition_and_the_other_goes_on(tmp_path: Path) -> None:
    chance = Chance(1)
    bus, store = DeadlyBus(2, chance), DeadlyStore(chance)
    producer = MemoryProducer(bus, RAW_STREAM)
    for partition in range(2):
        for number in range(3):
            producer.publish(partition, *raw_message(partition * 10 + number, 5, number))
    stop = threading.Event()
    stop.set()
    Enricher(bus, Tables, EnricherSettings(max_rows=5)).run(stop)
    log = bus.logs[ENRICHED_STREAM, 0]
    del log[1]  # a message vanished from the log, and nothing says why
    log[1] = type(log[1])(0, 1, log[1].headers, log[1].body)
    sink = Sink(bus, store, Rollups(store, SinkSettings(), "UTC"), SinkSettings(), DeadLetters(tmp_path), tmp_path)
    sink.run(stop)
    assert 0 in sink.stopped and "[1, 2)" in sink.stopped[0]
    partitions = Counter(table.column("bus_partition")[0].as_py() for table in store.tables["flows"])
    assert partitions == {0: 1, 1: 3}


def test_raw_messages_that_are_gone_are_stepped_over_and_said(tmp_path: Path) -> None:
    chance = Chance(1)
    bus, store = DeadlyBus(1, chance), DeadlyStore(chance)
    producer = MemoryProducer(bus, RAW_STREAM)
    producer.publish(0, *raw_message(0, 5, 0))
    stop = threading.Event()
    stop.set()
    Enricher(bus, Tables, EnricherSettings()).run(stop)
    for number in range(1, 6):
        producer.publish(0, *raw_message(number, 5, number))
    bus.trim(RAW_STREAM, 0, 3)
    Enricher(bus, Tables, EnricherSettings()).run(stop)
    Sink(
        bus, store, Rollups(store, SinkSettings(), "UTC"), SinkSettings(), DeadLetters(tmp_path / "letters"), tmp_path
    ).run(stop)
    octets = sorted(o // 1000 for table in store.tables["flows"] for o in table.column("octets").to_pylist())
    assert Counter(octets) == {0: 5, 3: 5, 4: 5, 5: 5}
    skipped = store.tables["bus_skipped"][0].to_pylist()[0]
    assert (skipped["reason"], skipped["source_from"], skipped["source_to"]) == ("source lost", 1, 3)


@pytest.mark.parametrize("body", [b"", b"junk"])
def test_a_poison_message_does_not_stop_the_stream(body: bytes, tmp_path: Path) -> None:
    chance = Chance(1)
    bus, store = DeadlyBus(1, chance), DeadlyStore(chance)
    producer = MemoryProducer(bus, RAW_STREAM)
    producer.publish(0, *raw_message(0, 5, 0))
    producer.publish(0, RawHeaders("c", 1, 5).encode(), body)
    producer.publish(0, {}, b"no headers")
    producer.publish(0, *raw_message(2, 5, 2))
    stop = threading.Event()
    stop.set()
    Enricher(bus, Tables, EnricherSettings(max_rows=5)).run(stop)
    log = bus.logs[ENRICHED_STREAM, 0]
    log[0] = type(log[0])(0, 0, log[0].headers, b"spoilt")
    Sink(
        bus, store, Rollups(store, SinkSettings(), "UTC"), SinkSettings(), DeadLetters(tmp_path / "letters"), tmp_path
    ).run(stop)
    assert sum(len(table) for table in store.tables["flows"]) == 5
    letters = tmp_path / "letters"
    assert len(list(letters.glob("*.arrow"))) == 1
    assert "not an Arrow stream" in next(letters.glob("*.json")).read_text()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_zombie_enricher_that_appends_late_doubles_nothing(seed: int, tmp_path: Path) -> None:
    chance = Chance(seed)
    raw = [raw_message(number, chance.random.randint(1, 20), number) for number in range(20)]
    logs = []
    for most in (chance.random.randint(1, 60), chance.random.randint(1, 60)):  # two writers that cut differently
        bus = DeadlyBus(1, chance)
        bus.name_streams("made once")  # both read the same flows.raw
        for headers, body in raw:
            MemoryProducer(bus, RAW_STREAM).publish(0, headers, body)
        stop = threading.Event()
        stop.set()
        Enricher(bus, Tables, EnricherSettings(max_rows=most)).run(stop)
        logs.append(bus.logs[ENRICHED_STREAM, 0])
    bus, store = DeadlyBus(1, chance), DeadlyStore(chance)
    producer = MemoryProducer(bus, ENRICHED_STREAM)
    at, end = [0, 0], 0
    while at != [len(logs[0]), len(logs[1])]:
        writer = chance.random.randrange(2)
        if at[writer] < len(logs[writer]) and int(logs[writer][at[writer]].headers["sf"]) <= end:
            message = logs[writer][at[writer]]
            producer.publish(0, message.headers, bytes(message.body))
            at[writer], end = at[writer] + 1, max(end, int(message.headers["se"]))
    Sink(
        bus, store, Rollups(store, SinkSettings(), "UTC"), SinkSettings(), DeadLetters(tmp_path / "letters"), tmp_path
    ).run(stop)
    flows = [octets for table in store.tables["flows"] for octets in table.column("octets").to_pylist()]
    expected = [n * 1000 + row for n, (headers, _) in enumerate(raw) for row in range(int(headers["rows"]))]
    assert flows == expected
