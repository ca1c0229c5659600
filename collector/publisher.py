"""Decoded batches and observations -> messages of ``flows.raw``, numbered so that repeats and gaps are seen.

Numbers are those of an origin: this collector and this making of the log it writes.  Were the log lost, its numbers
would begin at 0 again, and under the same name readers would take them for repeats.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import structlog

from collector import metrics
from collector.batcher import cut
from collector.decoder import Count
from collector.ledger import Ledger
from sinks import RAW_STREAM, Bus, BusFull, Parts
from sinks.batch import Batch
from sinks.codec import Chosen, compression_of, encode_observation, encode_parts
from sinks.delivery import RawHeaders
from sinks.schema import RAW
from sinks.telemetry import limited

log = structlog.get_logger("collector")

_ORIGIN_DIGITS = 12  # of the log's id, 48 bits: two makings of one log never meet by chance
_MINUTE_MS = 60_000
_TOLD_APART = 4_096  # entries of a message's dropped rows, 150 KB; beyond, exporters go together as ''
_KEPT = 65_536  # rows of a table that wait for room on the bus, about 30 MB; beyond, the oldest go


class Publisher:
    """Appends to the raw stream; owned by the decoding thread."""

    def __init__(self, bus: Bus, collector: str, compression: Chosen, *, history: bool = False) -> None:
        """Sequences go on where the log ends, whoever wrote it: they only ever grow.

        ``history``: the messages are marked as rows of a past, which say nothing of how late this moment's are.
        """
        self._history = history
        self._collector, self._compression = collector, compression
        self.origin = f"{collector}@{bus.stream_id(RAW_STREAM)[:_ORIGIN_DIGITS]}"
        self._ledger = Ledger.anonymous()
        # (minute of arrival, exporter) -> rows dropped, by partition, that no accepted message has told yet.
        self._dropped: list[dict[tuple[int, str], int]] = [{} for _ in range(bus.partitions)]
        self._partitions = bus.partitions
        self._producer = bus.producer(RAW_STREAM)
        self._sequence = [self._following(partition) for partition in range(bus.partitions)]
        self._stage: dict[tuple[str, str], int] = {}  # (stage, counter) -> not yet published
        self._health: dict[tuple[str, int, str], int] = {}  # (exporter, domain, counter) -> not yet published
        self._kept: dict[str, list[dict[str, object]]] = {}  # rows of other tables, not yet published

    def has(self, partition: int, sequence: int) -> bool:
        """Whether the log has a message of that number."""
        return partition < self._partitions and sequence < self._sequence[partition]

    def following(self, partition: int) -> int:
        """The number that the next message of a partition gets."""
        return self._sequence[partition]

    def wrote_all_since(self, partition: int, sequence: int) -> bool:
        """Whether the log has no message of that number or a later one, or its newest is marked as these are."""
        last = self._producer.last(partition)
        headers = RawHeaders.decode(last) if last is not None else None
        return headers is None or headers.sequence < sequence or headers.history == self._history

    def account_to(self, ledger: Ledger) -> None:
        """Write intents and outcomes there from now on; what it says is lost is told with the next counters."""
        self._ledger = ledger
        lost = asdict(ledger.lost)
        self.note("bus", "dropped_rows_bus_full", lost.pop("uncounted_rows"))  # counted then, as they are here
        for name, value in lost.items():
            self.note("ledger", f"lost_{name}", value)

    def publish(self, batch: Batch) -> None:
        """Append a batch's rows; what finds no room is dropped and counted."""
        for partition, part in cut(batch, self._partitions):
            times = part.columns["ts"].view("i8")
            dropped = self._dropped[partition]
            headers = RawHeaders(
                self.origin, self._sequence[partition], len(part), int(times.min()), int(times.max()),
                dropped=tuple((minute, exporter, rows) for (minute, exporter), rows in dropped.items()),
                history=self._history,
            )  # fmt: skip
            self._ledger.intend(partition, headers.sequence, len(part), sum(dropped.values()))
            try:
                compression = compression_of(self._compression, self._producer)
                self._append(partition, headers, encode_parts(part, RAW, compression, runs=True))
            except BusFull as full:
                _count_by_minute(dropped, part)
                self._ledger.refused()
                metrics.DROPPED_ROWS.labels("bus_full").inc(len(part))
                self.note("bus", "dropped_rows_bus_full", len(part))
                limited(log.error, "full", "flows dropped: the bus is full", reason=str(full))
            else:
                self._ledger.accepted()
                dropped.clear()
                metrics.PUBLISHED_ROWS.inc(len(part))
                self.note("bus", "published_rows", len(part))

    def note(self, stage: str, counter: str, value: int) -> None:
        """Add to a counter of ``stage_1m``: of this minute, so that history has none."""
        if value and not self._history:
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

    def publish_rows(self, table: str, rows: list[dict[str, object]]) -> bool:
        """Append rows of an observation table now; False: no room, and nothing of them is kept."""
        return self._observe(table, rows)

    def publish_notes(self) -> bool:
        """Append the counters noted since the last time; without room (False) they are kept for the next."""
        head = {"time": int(time.time()) // 60 * 60, "collector": self._collector}
        stage = [{**head, "stage": s, "counter": c, "value": v} for (s, c), v in self._stage.items()]
        health = [
            {**head, "exporter": e, "domain": d, "counter": c, "value": v} for (e, d, c), v in self._health.items()
        ]
        if stage and self._ledger.to_tell:
            self._ledger.intend_to_tell(0, self._sequence[0])
        if told := self._observe("stage_1m", stage):
            self._ledger.accepted()
            self._stage.clear()
        else:
            self._ledger.refused()
        if self._observe("exporter_health_1m", health):
            self._health.clear()
        for table, rows in list(self._kept.items()):
            if self._observe(table, rows):
                del self._kept[table]
        return told

    def close(self) -> None:
        """Flush and let the stream go; dropped rows that no message could tell any more are logged."""
        untold = [sum(dropped.values()) for dropped in self._dropped]
        if any(untold):
            log.error("rows dropped that no message tells; the next start counts them", rows=sum(untold),
                      by_partition=untold)  # fmt: skip
        self._producer.close()

    def _observe(self, table: str, rows: list[dict[str, object]]) -> bool:
        if not rows:
            return True
        now = int(time.time() * 1000)
        headers = RawHeaders(
            self.origin, self._sequence[0], len(rows), now, now, "observation", table, history=self._history
        )
        try:
            self._append(0, headers, encode_observation(table, rows))
        except BusFull:
            return False
        return True

    def _append(self, partition: int, headers: RawHeaders, body: bytes | Parts) -> None:
        self._producer.publish(partition, headers.encode(), body)
        self._sequence[partition] += 1

    def _following(self, partition: int) -> int:
        last = self._producer.last(partition)
        return RawHeaders.decode(last).sequence + 1 if last is not None else 0


def _count_by_minute(dropped: dict[tuple[int, str], int], part: Batch) -> None:
    """Add a part's rows to those dropped, by minute of arrival (Unix seconds) and exporter."""
    minutes = part.columns["received"].view("i8") // _MINUTE_MS
    exporters = part.columns["exporter"].astype("i8")
    pairs, rows = np.unique(minutes << 32 | exporters, return_counts=True)
    for pair, count in zip(pairs.tolist(), rows.tolist(), strict=True):
        key = (pair >> 32) * 60, part.labels["exporter"][pair & 0xFFFF_FFFF]
        if key not in dropped and len(dropped) >= _TOLD_APART:
            key = key[0], ""
            if key not in dropped and len(dropped) >= 2 * _TOLD_APART:  # days of it: minutes go together too
                key = next(reversed(dropped))
        dropped[key] = dropped.get(key, 0) + count
