"""Decoded batches and observations -> messages of ``flows.raw``, numbered so that repeats and gaps are seen."""

import time
from collections.abc import Sequence

import structlog

from collector import metrics
from collector.batcher import cut
from collector.decoder import Count
from sinks import RAW_STREAM, Bus, BusFull
from sinks.batch import Batch
from sinks.codec import Compression, encode, encode_observation
from sinks.delivery import RawHeaders
from sinks.schema import RAW
from sinks.telemetry import limited

log = structlog.get_logger("collector")

_KEPT = 65_536  # rows of a table that wait for room on the bus, about 30 MB; beyond, the oldest go


class Publisher:
    """Appends to the raw stream; owned by the decoding thread."""

    def __init__(self, bus: Bus, collector: str, compression: Compression) -> None:
        """Sequences go on where the log ends, whoever wrote it: they only ever grow."""
        self._collector, self._compression = collector, compression
        self._partitions = bus.partitions
        self._producer = bus.producer(RAW_STREAM)
        self._sequence = [self._following(partition) for partition in range(bus.partitions)]
        self._stage: dict[tuple[str, str], int] = {}  # (stage, counter) -> not yet published
        self._health: dict[tuple[str, int, str], int] = {}  # (exporter, domain, counter) -> not yet published
        self._kept: dict[str, list[dict[str, object]]] = {}  # rows of other tables, not yet published

    def publish(self, batch: Batch) -> None:
        """Append a batch's rows; what finds no room is dropped and counted."""
        for partition, part in cut(batch, self._partitions):
            times = part.columns["ts"].view("i8")
            headers = RawHeaders(
                self._collector, self._sequence[partition], len(part), int(times.min()), int(times.max())
            )
            try:
                self._append(partition, headers, encode(part, RAW, self._compression))
            except BusFull as full:
                metrics.DROPPED_ROWS.labels("bus_full").inc(len(part))
                self.note("bus", "dropped_rows_bus_full", len(part))
                limited(log.error, "full", "flows dropped: the bus is full", reason=str(full))
            else:
                metrics.PUBLISHED_ROWS.inc(len(part))
                self.note("bus", "published_rows", len(part))

    def note(self, stage: str, counter: str, value: int) -> None:
        """Add to a counter of ``stage_1m``."""
        if value:
            self._stage[stage, counter] = self._stage.get((stage, counter), 0) + value

    def note_exporters(self, counts: Sequence[Count]) -> None:
        """Add to counters of ``exporter_health_1m``."""
        for count in counts:
            key = (count.exporter, count.domain, count.counter)
            self._health[key] = self._health.get(key, 0) + count.value

    def observe(self, table: str, rows: list[dict[str, object]]) -> None:
        """Append rows of an observation table; what finds no room is kept for the next call of publish_notes."""
        kept = self._kept.setdefault(table, [])
        kept += rows
        if len(kept) > _KEPT:
            lost = len(kept) - _KEPT
            del kept[:lost]
            self.note("bus", "dropped_observations", lost)

    def publish_notes(self) -> None:
        """Append the counters noted since the last time; without room they are kept for the next."""
        head = {"time": int(time.time()) // 60 * 60, "collector": self._collector}
        stage = [{**head, "stage": s, "counter": c, "value": v} for (s, c), v in self._stage.items()]
        health = [
            {**head, "exporter": e, "domain": d, "counter": c, "value": v} for (e, d, c), v in self._health.items()
        ]
        if self._observe("stage_1m", stage):
            self._stage.clear()
        if self._observe("exporter_health_1m", health):
            self._health.clear()
        for table, rows in list(self._kept.items()):
            if self._observe(table, rows):
                del self._kept[table]

    def close(self) -> None:
        """Flush and let the stream go."""
        self._producer.close()

    def _observe(self, table: str, rows: list[dict[str, object]]) -> bool:
        if not rows:
            return True
        now = int(time.time() * 1000)
        headers = RawHeaders(self._collector, self._sequence[0], len(rows), now, now, "observation", table)
        try:
            self._append(0, headers, encode_observation(table, rows))
        except BusFull:
            return False
        return True

    def _append(self, partition: int, headers: RawHeaders, body: bytes) -> None:
        self._producer.publish(partition, headers.encode(), body)
        self._sequence[partition] += 1

    def _following(self, partition: int) -> int:
        last = self._producer.last(partition)
        return RawHeaders.decode(last).sequence + 1 if last is not None else 0
