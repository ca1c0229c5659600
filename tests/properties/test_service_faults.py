"""What the services do when the store refuses, messages are poison, offsets are gone or streams are made again."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from enricher.enrichment import Tables
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Committed, Message, StoreRefused, StoreUnavailable
from sinks.dead_letters import DeadLetters
from sinks.delivery import EnrichedHeaders, RawHeaders
from sinks.gaps import accept_gap, seen_gaps
from sinks.memory import MemoryBus, MemoryProducer
from sinks.rollups import NAMES, Rollups
from sinks.service import Sink
from sinks.settings import SinkSettings
from tests.groups import SharedStore
from tests.properties.test_exactly_once import raw_message


class Waits(threading.Event):
    """An event whose waits take no time, and which is set after so many of them."""

    def __init__(self, most: int = 0, each: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.left, self.each, self.seconds = most, each, list[float]()
        if not most:
            self.set()

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        self.left -= 1
        self.each()
        if self.left <= 0:
            self.set()
        return self.is_set()


class Refusing(SharedStore):
    """Refuses inserts into chosen tables for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.tables_refused = ("flows",)

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        if self.error is not None and table in self.tables_refused:
            raise self.error
        super().insert(table, rows, token=token)


def filled(messages: int = 3, partitions: int = 1) -> MemoryBus:
    bus = MemoryBus(partitions)
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(messages):
        producer.publish(0, *raw_message(number, 5, number))
    return bus


def enrich(bus: MemoryBus, folder: Path | None = None) -> Enricher:
    letters = DeadLetters(folder / "raw letters") if folder else None
    enricher = Enricher(bus, Tables, EnricherSettings(max_rows=5), dead_letters=letters)
    enricher.run(Waits())
    return enricher


def a_sink(bus: MemoryBus, store: SharedStore, folder: Path) -> Sink:
    few = SinkSettings(retry_seconds=1.0)
    return Sink(bus, store, Rollups(store, few, "UTC"), few, DeadLetters(folder / "letters"), folder / "gaps")


def make_again(bus: MemoryBus, stream: str) -> None:
    bus._ids[stream] = f"made again {stream}"
    bus.logs[stream, 0].clear()
    bus.first.pop((stream, 0), None)


def stored(store: SharedStore) -> list[int]:
    return [octets // 1000 for table in store.tables["flows"] for octets in table.column("octets").to_pylist()]


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("no room"), StoreRefused(60, "no table"), StoreRefused(497, "no rights"), StoreRefused(0, "?")],
    ids=str,
)
def test_a_store_at_fault_buries_nothing(error: Exception, tmp_path: Path) -> None:
    bus, store = filled(), Refusing()
    enrich(bus)
    store.error = error
    sink = a_sink(bus, store, tmp_path)
    stop = Waits(200)
    sink.run(stop)
    assert sink.failed and str(error) in sink.failed
    assert stop.seconds[:6] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]  # pauses grow to eight times retry_seconds
    assert not (tmp_path / "letters").exists()
    assert stored(store) == []
    store.error = None
    again = a_sink(bus, store, tmp_path)
    again.run(Waits())
    assert again.failed is None
    assert Counter(stored(store)) == {0: 5, 1: 5, 2: 5}


def test_a_message_refused_for_its_content_is_buried_and_not_many_in_a_row(tmp_path: Path) -> None:
    bus, store = filled(30), Refusing()
    enrich(bus)
    store.error = StoreRefused(117, "Code: 117. incorrect data")
    sink = a_sink(bus, store, tmp_path)
    sink.run(Waits(300))
    assert len(list((tmp_path / "letters").glob("*.arrow"))) == 20
    assert sink.failed and "117" in sink.failed
    audit = Counter[str]()
    for table in store.tables["audit_1m"]:
        for row in table.to_pylist():
            audit[row["stage"]] += row["rows"]
    assert audit == {"decoded": 100, "published": 100, "enriched": 100}  # and nothing inserted
    store.error = None
    a_sink(bus, store, tmp_path).run(Waits())
    assert Counter(stored(store)) == dict.fromkeys(range(20, 30), 5)


def test_an_insert_of_our_own_making_is_never_a_reason_to_bury(tmp_path: Path) -> None:
    bus, store = filled(), Refusing()
    enrich(bus)
    store.tables_refused, store.error = ("audit_1m",), StoreRefused(117, "incorrect data")
    a_sink(bus, store, tmp_path).run(Waits(100))
    assert not (tmp_path / "letters").exists()
    store.error = None
    a_sink(bus, store, tmp_path).run(Waits())
    assert Counter(stored(store)) == {0: 5, 1: 5, 2: 5}


def test_a_newer_version_stops_and_is_not_poison(tmp_path: Path) -> None:
    bus, store = filled(), SharedStore()
    log = bus.logs[RAW_STREAM, 0]
    log[1] = Message(0, 1, {**log[1].headers, "version": "99"}, log[1].body)
    enricher = enrich(bus, tmp_path)
    assert enricher.failed and "upgrade it first" in enricher.failed
    assert not (tmp_path / "raw letters").exists()
    enriched = bus.logs[ENRICHED_STREAM, 0]
    assert len(enriched) == 1
    enriched[0] = Message(0, 0, {**enriched[0].headers, "version": "99"}, enriched[0].body)
    sink = a_sink(bus, store, tmp_path)
    sink.run(Waits())
    assert "upgrade it first" in sink.stopped[0]
    assert not (tmp_path / "letters").exists() and stored(store) == []


def test_raw_poison_is_kept_and_its_rows_are_in_the_audit(tmp_path: Path) -> None:
    bus, store = MemoryBus(1), SharedStore()
    producer = MemoryProducer(bus, RAW_STREAM)
    producer.publish(0, RawHeaders("c", 0, 5).encode(), b"junk")
    producer.publish(0, {}, b"no headers")
    producer.publish(0, *raw_message(7, 4, 1))
    headers, body = raw_message(8, 4, 2)
    producer.publish(0, {**headers, "rows": "9"}, body)  # headers and body differ
    producer.publish(0, *raw_message(9, 4, 3))
    enrich(bus, tmp_path)
    assert len(list((tmp_path / "raw letters").glob("flows.raw-*.json"))) == 3
    a_sink(bus, store, tmp_path).run(Waits())
    audit = Counter[tuple[str, str]]()
    for table in store.tables["audit_1m"]:
        for row in table.to_pylist():
            audit[row["stage"], row["exporter"]] += row["rows"]
    assert audit == {
        ("decoded", ""): 5 + 1 + 4 + 9 + 4, ("published", ""): 5 + 1 + 4 + 9 + 4, ("enriched", ""): 8,
        ("inserted", ""): 8,
    }  # fmt: skip


def test_an_accepted_gap_is_stepped_over_once_and_no_message_is_lost(tmp_path: Path) -> None:
    bus, store = filled(6), SharedStore()
    enrich(bus)
    log = bus.logs[ENRICHED_STREAM, 0]
    del log[2]
    log[:] = [Message(0, offset, message.headers, message.body) for offset, message in enumerate(log)]
    sink = a_sink(bus, store, tmp_path)

    class Accepting(Waits):
        def is_set(self) -> bool:
            """Asked once a step: the gap is met, its messages are polled, and then the operator speaks."""
            self.left -= 1
            if self.left == 15:
                (gap,) = seen_gaps(tmp_path / "gaps")
                assert (gap.partition, gap.start, gap.end) == (0, 2, 3)
                assert "--accept-gap 0" in sink.stopped[0]
                accept_gap(tmp_path / "gaps", bus.stream_id(ENRICHED_STREAM), 0, gap.start, gap.end)
            return self.left <= 0

    sink.run(Accepting(30))
    assert Counter(stored(store)) == {0: 5, 1: 5, 3: 5, 4: 5, 5: 5}
    assert [row for t in store.tables["bus_skipped"] for row in t.column("reason").to_pylist()] == ["gap accepted"]
    assert seen_gaps(tmp_path / "gaps") == [] and not list((tmp_path / "gaps").iterdir())


def test_enriched_messages_that_are_gone_explain_the_gap_they_leave(tmp_path: Path) -> None:
    bus, store = filled(2), SharedStore()
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(2, 8):
        producer.publish(0, *raw_message(number, 5, number))
    enrich(bus)
    bus.first[ENRICHED_STREAM, 0] = 5  # retention was shorter than the store's outage
    sink = a_sink(bus, store, tmp_path)
    sink.run(Waits())
    assert not sink.stopped
    assert Counter(stored(store)) == {0: 5, 1: 5, 5: 5, 6: 5, 7: 5}
    skipped = [row for table in store.tables["bus_skipped"] for row in table.to_pylist()]
    assert [(row["reason"], row["source_from"], row["source_to"]) for row in skipped] == [
        ("enriched messages lost", 2, 5)
    ]


def test_repeats_are_known_after_retention_emptied_the_enriched_log(tmp_path: Path) -> None:
    class Forgetful(MemoryBus):
        """Its enriched log is expired to the last message, as Kafka's is after a quiet week."""

        def producer(self, stream: str) -> MemoryProducer:
            producer = MemoryProducer(self, stream)
            if stream == ENRICHED_STREAM:
                producer.last = lambda partition: None  # type: ignore[method-assign]
            return producer

    bus = Forgetful(1)
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(3):
        producer.publish(0, *raw_message(number, 5, number))
    enrich(bus)
    before = len(bus.logs[ENRICHED_STREAM, 0])
    producer.publish(0, *raw_message(2, 5, 2))  # the collector says it again
    producer.publish(0, *raw_message(3, 5, 3))
    enrich(bus)
    (new,) = bus.logs[ENRICHED_STREAM, 0][before:]
    assert (EnrichedHeaders.decode(new.headers).start, EnrichedHeaders.decode(new.headers).end) == (3, 5)
    assert new.headers["rows"] == "5"


def test_a_flows_raw_made_again_is_read_from_its_first_message(tmp_path: Path) -> None:
    bus, store = filled(4), SharedStore()
    bus.name_streams("once")
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    make_again(bus, RAW_STREAM)
    bus.cursors.pop((RAW_STREAM, "enricher", 0))
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(4, 6):
        producer.publish(0, *raw_message(number, 5, number))
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    assert Counter(stored(store)) == dict.fromkeys(range(6), 5)


@pytest.mark.parametrize("kept", [True, False], ids=["cursor kept", "cursor gone"])
def test_an_enriched_stream_made_again_meets_no_old_rows(kept: bool, tmp_path: Path) -> None:
    bus, store = filled(4), SharedStore()
    bus.name_streams("once")
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    make_again(bus, ENRICHED_STREAM)
    if not kept:  # a broker forgets the group's position with the topic, and knows all there is in flows.raw
        bus.cursors.pop((ENRICHED_STREAM, "sink", 0))
        make_again(bus, RAW_STREAM)
    producer = MemoryProducer(bus, RAW_STREAM)
    for number in range(4, 7):
        producer.publish(0, *raw_message(number, 5, number))
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    assert Counter(stored(store)) == dict.fromkeys(range(7), 5)
    offsets = [table.column("bus_offset")[0].as_py() for table in store.tables["flows"]]
    assert offsets == list(range(7))  # none twice, though the stream began at 0 again
    assert all(sum(store.rolled[name].values()) == 35 for name in NAMES)


@pytest.mark.parametrize("position", [None, Committed(3, ""), Committed(0, '{"stored": "x"}')], ids=str)
def test_a_lost_position_doubles_neither_rows_nor_rollups(position: Committed | None, tmp_path: Path) -> None:
    bus, store = filled(4), SharedStore()
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    bus.trim = lambda stream, partition, before: None  # type: ignore[method-assign]
    bus.first.clear()
    if position is None:
        bus.cursors.pop((ENRICHED_STREAM, "sink", 0))
    else:
        bus.cursors[ENRICHED_STREAM, "sink", 0] = position
    MemoryProducer(bus, RAW_STREAM).publish(0, *raw_message(4, 5, 4))
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    assert Counter(stored(store)) == dict.fromkeys(range(5), 5)
    assert all(sum(store.rolled[name].values()) == 25 for name in NAMES)
    assert json.loads(bus.cursors[ENRICHED_STREAM, "sink", 0].metadata)["stored"] == 5


def test_a_log_that_lost_its_newest_messages_stops_and_says_so(tmp_path: Path) -> None:
    bus, store = filled(4), SharedStore()
    enrich(bus)
    a_sink(bus, store, tmp_path).run(Waits())
    del bus.logs[ENRICHED_STREAM, 0][2:]
    bus.first.clear()
    sink = a_sink(bus, store, tmp_path)
    sink.run(Waits())
    assert "lost its newest messages" in sink.stopped[0]
    del bus.logs[RAW_STREAM, 0][1:]
    enricher: Any = enrich(bus)
    assert "lost its newest messages" in enricher.failed
