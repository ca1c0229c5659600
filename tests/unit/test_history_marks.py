"""Messages of history: told apart from live ones wherever something is measured."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import REGISTRY

from collector.publisher import Publisher
from collector.shipper import _newest_ms
from enricher import service as enricher_service
from enricher.enrichment import Tables
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Message, metrics, rollups
from sinks.audit import TABLE as AUDIT
from sinks.batch import Batch
from sinks.dead_letters import DeadLetters
from sinks.delivery import EnrichedHeaders, RawHeaders, SinkPosition
from sinks.memory import MemoryBus, MemoryStore
from sinks.rollups import Rollups, Span
from sinks.schema import RAW
from sinks.service import Sink
from sinks.settings import SinkSettings

LIVE = 1_700_000_040  # a whole minute
PAST = LIVE - 3 * 86_400


def batch(rows: int, second: int) -> Batch:
    made = Batch.empty(RAW, rows)
    made.labels["exporter"] = ("192.0.2.1",)
    made.columns["ts"][:] = made.columns["ts_start"][:] = np.datetime64(second * 1000, "ms")
    made.columns["received"][:] = np.datetime64(second * 1000 + 500, "ms")
    made.columns["octets"][:] = 100
    made.columns["sampling"][:] = 1
    return made


def log() -> MemoryBus:
    """Three messages of history, counters of it, and two live messages."""
    bus = MemoryBus()
    past = Publisher(bus, "here", "none", history=True)
    for at in range(3):
        past.publish(batch(10, PAST + at))
    row: dict[str, object] = {
        "time": PAST,
        "collector": "here",
        "stage": "bus",
        "counter": "published_rows",
        "value": 30,
    }
    assert past.publish_rows("stage_1m", [row])
    past.close()
    live = Publisher(bus, "here", "none")
    for at in range(2):
        live.publish(batch(7, LIVE + at))
    live.close()
    return bus


def headers(bus: MemoryBus, stream: str) -> list[dict[str, str]]:
    return [dict(message.headers) for message in bus.logs[stream, 0]]


def enrich(bus: MemoryBus) -> list[EnrichedHeaders]:
    stop = threading.Event()
    stop.set()
    Enricher(bus, Tables, EnricherSettings()).run(stop)
    return [EnrichedHeaders.decode(each) for each in headers(bus, ENRICHED_STREAM)]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_mark_is_one_header_more_and_older_readers_do_without() -> None:
    live = RawHeaders("c", 1, 5).encode()
    marked = RawHeaders("c", 1, 5, history=True).encode()
    assert dict(marked) == {**live, "history": "1"}
    assert not RawHeaders.decode(live).history
    assert RawHeaders.decode(marked) == RawHeaders("c", 1, 5, history=True)
    onward = EnrichedHeaders(5, 0, 1, ((0, 5),), {}, history=True)
    assert EnrichedHeaders.decode(onward.encode()) == onward
    assert "history" not in EnrichedHeaders(5, 0, 1, ((0, 5),), {}).encode()


def test_numbers_go_on_from_history_to_live() -> None:
    found = [RawHeaders.decode(each) for each in headers(log(), RAW_STREAM)]
    assert [each.sequence for each in found] == list(range(6))
    assert len({each.collector for each in found}) == 1
    assert [each.history for each in found] == [True] * 4 + [False] * 2


def test_history_notes_no_counter_of_this_moment() -> None:
    bus = MemoryBus()
    past = Publisher(bus, "here", "none", history=True)
    past.publish(batch(10, PAST))
    assert past.publish_notes()
    assert [each["kind"] for each in headers(bus, RAW_STREAM)] == ["flow"]


def test_the_enricher_joins_history_with_its_like_only() -> None:
    bus = log()
    rows, matched = counted("enricher_enriched_rows_total"), counted("enricher_flows_total", attribution="unmatched")
    past = counted("enricher_history_rows_total")
    found = enrich(bus)
    assert [(each.kind, each.rows, each.history) for each in found] == [
        ("flow", 30, True), ("observation", 1, True), ("flow", 14, False),
    ]  # fmt: skip
    assert [(each.start, each.end) for each in found] == [(0, 3), (3, 4), (4, 6)]
    # Coverage is of live flows.
    assert counted("enricher_enriched_rows_total") - rows == 14
    assert counted("enricher_flows_total", attribution="unmatched") - matched == 14
    assert counted("enricher_history_rows_total") - past == 30


def test_messages_of_history_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enricher_service, "_HISTORY_ROWS", 20)
    assert [(each.rows, each.history) for each in enrich(log()) if each.kind == "flow"] == [
        (20, True), (10, True), (14, False),
    ]  # fmt: skip


class Unasked(MemoryStore):
    """A store whose questions have no answer of interest."""

    def query(self, sql: str, **parameters: object) -> pa.Table:
        return pa.table({"held": [0], "done": [0], "rows": [0], "b": [0], "base": [0]})


def test_the_sink_counts_history_in_the_audit_and_not_in_freshness(tmp_path: Path) -> None:
    bus, store = log(), Unasked()
    enrich(bus)
    stop = threading.Event()
    stop.set()
    newest = []

    class Watched(Rollups):
        def stored(self, partition: int, span: Span, rows: pa.Table | None = None) -> None:
            newest.append((span.rows, span.history, counted("sink_newest_flow_end_seconds")))
            super().stored(partition, span, rows)

        def begin(self, partition: int, position: SinkPosition, stored_end: int, base: int = 0) -> None:
            super().begin(partition, position, 0, base)

    metrics.NEWEST_ROW.set(LIVE - 60)
    few = SinkSettings()
    sink = Sink(bus, store, Watched(store, few, "UTC"), few, DeadLetters(tmp_path / "letters"), tmp_path / "gaps")
    sink.run(stop)
    assert newest == [(30, True, LIVE - 60), (14, False, LIVE + 1)]
    audited: Counter[tuple[int, str]] = Counter()
    for table in store.tables[AUDIT]:
        for row in table.to_pylist():
            audited[int(row["time"].timestamp()), row["stage"]] += row["rows"]
    stages = ("decoded", "published", "enriched", "inserted")
    minute = PAST // 60 * 60
    assert audited == {(when, stage): rows for when, rows in ((minute, 30), (LIVE, 14)) for stage in stages}
    [told] = store.tables["stage_1m"]
    assert told.column("value").to_pylist() == [30]


def test_history_says_nothing_of_how_long_the_outbox_waits() -> None:
    past, live = (
        Message(0, 0, RawHeaders("c", 1, 5, 10, 20, history=history).encode(), b"") for history in (True, False)
    )
    assert (_newest_ms(past), _newest_ms(live)) == (0, 20)


def test_history_is_rolled_up_in_small_ranges_that_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("record", "begin_at", "is_done", "run_range"):
        monkeypatch.setattr(rollups, name, lambda *_, **__: False)
    monkeypatch.setattr(rollups, "_HISTORY_ROWS", 100)
    found = Rollups(MemoryStore(), SinkSettings(rollup_seconds=5), "UTC")
    found.begin(0, SinkPosition(), 0)
    for offset in range(5):
        found.stored(0, Span(offset, 60, 0, 0, history=True))
    for offset in range(5, 8):
        found.stored(0, Span(offset, 60, 0, 0))
    ranges = []
    while (planned := found.due(0, 1.0)) is not None:
        ranges.append(planned)
        found.run(0, planned, "s")
    assert ranges == [(0, 2), (2, 4), (4, 6)]  # the last one takes live rows along
    assert found.due(0, 5.9) is None  # and the others wait their time, however long history took
    assert found.due(0, 6.1) == (6, 8)
