"""The whole part on one screen: read raw messages, join, enrich, publish.

Exactly once (``sinks.delivery``): the position is the newest message of ``flows.enriched``, never a commit.  Whatever
goes wrong, buffers are dropped and the tail is read again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog

from enricher import metrics
from enricher.enrichment import Tables, enrich, limit_days, widest_span
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Bus, BusFull, GenerationLost, Message, OffsetGone
from sinks.batch import Batch
from sinks.codec import CodecError, Compression, decode, encode
from sinks.delivery import EnrichedHeaders, HeaderError, RawHeaders, Sequences, row_index
from sinks.schema import ENRICHED, RAW
from sinks.telemetry import limited

log = structlog.get_logger("enricher")

GROUP = "enricher"
_POLL_BYTES = 16 << 20  # about 120 k rows of LZ4: less than one enriched message
_POLL_SECONDS = 0.1
_FULL_PAUSE_SECONDS = 0.2
_COMMIT_SECONDS = 5.0  # a commit is only a hint, the tail decides
_MAX_SPAN_MS = int(widest_span() / np.timedelta64(1, "ms"))


@dataclass(slots=True)
class _Pending:
    """Source messages of one partition on their way into one enriched message."""

    start: int  # source offsets [start, end) are read and not published
    end: int
    sequences: Sequences
    lost: tuple[tuple[int, int], ...] = ()
    sources: list[int] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    rows: int = 0
    since: float = 0.0
    min_ms: int = 0
    max_ms: int = 0

    def add(self, offset: int, batch: Batch, headers: RawHeaders, now: float) -> None:
        """Take a source message's rows."""
        if not self.rows:
            self.since, self.min_ms, self.max_ms = now, headers.min_ms, headers.max_ms
        self.min_ms, self.max_ms = min(self.min_ms, headers.min_ms), max(self.max_ms, headers.max_ms)
        self.sources.append(offset)
        self.batches.append(batch)
        self.rows += len(batch)

    def spans_too_long_with(self, headers: RawHeaders) -> bool:
        """Whether one message would hold more days than one insert may."""
        if not self.rows:
            return False
        return max(self.max_ms, headers.max_ms) - min(self.min_ms, headers.min_ms) > _MAX_SPAN_MS

    def clear(self) -> None:
        """Published: the next message starts where this one ended."""
        self.start, self.lost, self.rows = self.end, (), 0
        self.sources, self.batches = [], []


class Enricher:
    """Moves flows from ``flows.raw`` to ``flows.enriched``; run by one thread."""

    def __init__(
        self,
        bus: Bus,
        tables: Callable[[], Tables],
        settings: EnricherSettings,
        compression: Compression = "lz4",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``tables`` returns the tables in force; they are asked for once a message."""
        self._bus, self._tables, self._settings = bus, tables, settings
        self._compression, self._clock = compression, clock
        self._pending: dict[int, _Pending] = {}
        self._committed_at = clock()
        self.failed: str | None = None  # why the last attempt ended, for /healthz

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; then what is already in the raw stream is finished.  Failures begin again from the tail."""
        while True:
            try:
                self._run_until_done(stop)
                return
            except Exception as error:  # nothing that one message holds may end the stream
                self.failed = f"{type(error).__name__}: {error}"
                metrics.RESTARTS.inc()
                limited(log.error, "restart", "begin again from the tail", error=self.failed, exc_info=True)
                if stop.wait(1.0):
                    return

    def _run_until_done(self, stop: threading.Event) -> None:
        self._consumer = self._bus.consumer(RAW_STREAM, GROUP)
        self._producer = self._bus.producer(ENRICHED_STREAM)
        try:
            for partition in self._consumer.assigned():
                self._begin(partition)
            self.failed = None
            while not stop.is_set():
                self._step(stop, _POLL_SECONDS)
            while self._step(stop, 0.0):  # drain what the collector left
                pass
            for partition in self._pending:
                self._publish(partition, stop)
            self._commit()
        finally:
            self._pending.clear()
            self._producer.close()
            self._consumer.close()

    def _begin(self, partition: int) -> None:
        """Where the newest enriched message ended, or else at the group's hint, or else at the first message."""
        last = self._producer.last(partition)
        if last is not None:
            headers = EnrichedHeaders.decode(last)
            start, highest = headers.end, dict(headers.highest)
        else:
            hint = self._consumer.committed(partition)
            start, highest = (hint.offset if hint else self._consumer.bounds(partition)[0]), {}
        self._pending[partition] = _Pending(start, start, Sequences(highest))
        try:
            self._consumer.seek(partition, start)
        except OffsetGone as gone:
            self._step_over(gone)

    def _step(self, stop: threading.Event, timeout: float) -> int:
        """Read once, publish what is due; returns the number of messages read."""
        try:
            messages = self._consumer.poll(_POLL_BYTES, timeout)
        except OffsetGone as gone:
            self._publish(gone.partition, stop)
            self._step_over(gone)
            return 1
        for message in messages:
            self._take(message, stop)
        now = self._clock()
        for partition, pending in self._pending.items():
            if pending.rows and now - pending.since >= self._settings.max_wait_seconds:
                self._publish(partition, stop)
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._commit()
        return len(messages)

    def _step_over(self, gone: OffsetGone) -> None:
        """Continue at the first message still there; the hole is written into the next message's headers."""
        pending = self._pending[gone.partition]
        lost = (pending.end, gone.first)
        if gone.first < pending.end:
            raise GenerationLost(
                f"flows.raw/{gone.partition} ends at {gone.end}, before {pending.end}: it lost its newest messages"
            )
        metrics.LOST_MESSAGES.inc(lost[1] - lost[0])
        log.error("raw messages are gone", partition=gone.partition, start=lost[0], end=lost[1])
        pending.lost += (lost,)
        pending.start = pending.end = gone.first
        self._consumer.seek(gone.partition, gone.first)

    def _take(self, message: Message, stop: threading.Event) -> None:
        pending = self._pending[message.partition]
        if message.offset < pending.end:
            return
        try:
            headers = RawHeaders.decode(message.headers)
            last = pending.sequences.highest.get(headers.collector)
            if last is not None and headers.sequence <= last:
                metrics.REPEATED_MESSAGES.inc()  # a restarted collector published it again
                pending.end = message.offset + 1
                return
            if headers.kind == "observation":
                self._publish(message.partition, stop)
                self._admit(pending, headers, message)
                self._pass_on(pending, message, headers, stop)
                return
            batch = limit_days(decode(message.body, RAW))
        except (HeaderError, CodecError) as error:
            metrics.POISON_MESSAGES.inc()
            limited(log.error, "poison", "raw message refused", partition=message.partition, offset=message.offset,
                    error=str(error))  # fmt: skip
            pending.end = message.offset + 1
            return
        if pending.rows + len(batch) > self._settings.max_rows or pending.spans_too_long_with(headers):
            self._publish(message.partition, stop)
        self._admit(pending, headers, message)
        pending.add(message.offset, batch, headers, self._clock())

    def _admit(self, pending: _Pending, headers: RawHeaders, message: Message) -> None:
        # Only now: what is published before this message must not claim to have seen it.
        _, missing = pending.sequences.admit(headers.collector, headers.sequence)
        if missing:
            metrics.MISSING_MESSAGES.inc(missing)
            limited(log.warning, "missing", "raw messages are missing", partition=message.partition,
                    collector=headers.collector, count=missing)  # fmt: skip
        pending.end = message.offset + 1

    def _publish(self, partition: int, stop: threading.Event) -> None:
        """One message of all that waits; nothing when nothing does."""
        pending = self._pending[partition]
        if not pending.rows:
            return
        result = enrich(Batch.concat(pending.batches), self._tables())
        ends = np.cumsum([len(batch) for batch in pending.batches])
        upto = np.searchsorted(result.source_rows, ends)
        index = row_index(pending.sources, np.diff(upto, prepend=0).tolist())
        times = result.batch.columns["ts"].view("i8")
        headers = EnrichedHeaders(
            len(result.batch), pending.start, pending.end, index, dict(pending.sequences.highest), pending.lost,
            int(times.min()), int(times.max()),
        )  # fmt: skip
        self._append(partition, headers, encode(result.batch, ENRICHED, self._compression), stop)
        metrics.ENRICHED_ROWS.inc(len(result.batch))
        metrics.count(result)
        pending.clear()

    def _pass_on(self, pending: _Pending, message: Message, headers: RawHeaders, stop: threading.Event) -> None:
        """An observation goes on as it is: a message of its own."""
        onward = EnrichedHeaders(
            headers.rows, pending.start, pending.end, ((message.offset, headers.rows),),
            dict(pending.sequences.highest), pending.lost, headers.min_ms, headers.max_ms, "observation", headers.table,
        )  # fmt: skip
        self._append(message.partition, onward, bytes(message.body), stop)
        pending.clear()

    def _append(self, partition: int, headers: EnrichedHeaders, body: bytes, stop: threading.Event) -> None:
        self._consumer.settle()
        while True:
            try:
                self._producer.publish(partition, headers.encode(), body)
                return
            except BusFull as full:
                # The raw stream keeps everything meanwhile; at its own bound the collector drops and counts.
                limited(log.warning, "full", "no room for enriched flows", reason=str(full))
                if stop.wait(_FULL_PAUSE_SECONDS):
                    raise GenerationLost("stopped while the bus was full; nothing is lost") from full

    def _commit(self) -> None:
        for partition, pending in self._pending.items():
            self._consumer.commit(partition, pending.start, "")
        self._committed_at = self._clock()
