"""flows.enriched -> store: one message, one insert, one commit; then ranges of it into the rollups.

The commit's metadata holds the source offset that is stored (``SinkPosition``), so a repeat after a crash inserts the
same rows under the same token, and an overlapping message of a zombie is cut or skipped by log order.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import structlog

from sinks import (
    ENRICHED_STREAM,
    RAW_STREAM,
    Bus,
    Consumer,
    Message,
    OffsetGone,
    Store,
    StoreRefused,
    StoreUnavailable,
    metrics,
)
from sinks.codec import CodecError, at_rest, complete, decode_arrow, observation_schema
from sinks.delivery import EnrichedHeaders, GapError, HeaderError, SinkPosition, Verdict, judge
from sinks.rollups import Rollups, Span
from sinks.schema import ENRICHED, FLOW, OBSERVATIONS
from sinks.settings import SinkSettings
from sinks.telemetry import limited

log = structlog.get_logger("sinks")

GROUP = "sink"
_POLL_BYTES = 64 << 20  # a few messages ahead: one is inserted at a time
_POLL_SECONDS = 0.1
_INSERT_COLUMNS = [column.name for column in FLOW]
_SKIPPED = pa.schema(
    [("time", pa.timestamp("ms", "UTC")), ("partition", pa.uint16()), ("offset", pa.uint64()), ("rows", pa.uint64()),
     ("reason", pa.string()), ("source_from", pa.uint64()), ("source_to", pa.uint64())]
)  # fmt: skip


class Sink:
    """Moves enriched messages into the store; run by one thread."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        rollups: Rollups,
        settings: SinkSettings,
        dead_letters: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``dead_letters`` is the folder for messages that the store refuses for what they are."""
        self._bus, self._store, self._rollups, self._settings = bus, store, rollups, settings
        self._dead_letters, self._clock = dead_letters, clock
        self._positions: dict[int, SinkPosition] = {}
        self._next: dict[int, int] = {}  # next enriched offset a partition
        self._stopped: dict[int, str] = {}  # partitions that met a gap, and which
        self._stream_id = bus.stream_id(ENRICHED_STREAM)
        self.failed: str | None = None

    @property
    def stopped(self) -> dict[int, str]:
        """Partitions that met an unexplained gap, and which; they wait for an operator."""
        return dict(self._stopped)

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; then what is already in the stream is finished, rollups too."""
        while True:
            try:
                self._run_until_done(stop)
                return
            except Exception as error:  # the store child must not end because of one message or one answer
                self.failed = f"{type(error).__name__}: {error}"
                metrics.RESTARTS.inc()
                limited(log.error, "restart", "begin again from the committed position", error=self.failed,
                        exc_info=True)  # fmt: skip
                if stop.wait(1.0):
                    return

    def _run_until_done(self, stop: threading.Event) -> None:
        consumer = self._bus.consumer(ENRICHED_STREAM, GROUP)
        try:
            for partition in consumer.assigned():
                self._begin(consumer, partition)
            self.failed = None
            while not stop.is_set():
                self._step(consumer, stop, _POLL_SECONDS)
                self._roll_up(consumer, finish=False)
            while self._step(consumer, stop, 0.0):
                pass
            self._roll_up(consumer, finish=True)
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer, partition: int) -> None:
        committed = consumer.committed(partition)
        if committed is None:
            first = consumer.bounds(partition)[0]
            self._positions[partition], self._next[partition] = SinkPosition(rolled=first), first
        else:
            self._positions[partition] = SinkPosition.decode(committed.metadata)
            self._next[partition] = committed.offset
        position = self._positions[partition]
        # What lies between was stored by a predecessor: the rollups still want it.
        self._rollups.begin(partition, position, stored_end=self._next[partition])
        try:
            consumer.seek(partition, self._next[partition])
        except OffsetGone as gone:
            self._step_over(consumer, gone)

    def _step(self, consumer: Consumer, stop: threading.Event, timeout: float) -> int:
        try:
            messages = consumer.poll(_POLL_BYTES, timeout)
        except OffsetGone as gone:
            self._step_over(consumer, gone)
            return 1
        for message in messages:
            if message.partition in self._stopped:
                continue
            if not self._store_one(consumer, message, stop):
                raise InterruptedError("stopped while the store did not answer; nothing is lost")
        for partition in consumer.assigned():
            lag = consumer.bounds(partition)[1] - self._next[partition]
            metrics.LAG_MESSAGES.labels(str(partition)).set(lag)
        return len(messages)

    def _step_over(self, consumer: Consumer, gone: OffsetGone) -> None:
        metrics.LOST_MESSAGES.inc(max(0, gone.first - self._next[gone.partition]))
        log.error("enriched messages are gone", partition=gone.partition, start=self._next[gone.partition],
                  end=gone.first)  # fmt: skip
        self._next[gone.partition] = gone.first
        consumer.seek(gone.partition, gone.first)

    def _store_one(self, consumer: Consumer, message: Message, stop: threading.Event) -> bool:
        """Insert what counts of a message and commit; False: told to stop before the store answered."""
        partition, position = message.partition, self._positions[message.partition]
        verdict: Verdict | None = None
        try:
            headers = EnrichedHeaders.decode(message.headers)
            verdict = judge(headers, position.stored)
            if verdict.skip:
                metrics.SKIPPED_MESSAGES.inc()
                self._note(message, "skipped", headers.rows, (headers.start, headers.end))
            else:
                table, rows = self._rows(message, headers, verdict)
                consumer.settle()
                if not self._insert(table, rows, self._token(message), stop):
                    return False
                if headers.kind == "flow":
                    span = Span(message.offset, len(rows), headers.min_ms, headers.max_ms)
                    self._rollups.stored(partition, span)
                if verdict.lost or verdict.first_row:
                    self._explain(message, headers, verdict)
        except GapError as gap:
            self._stopped[partition] = str(gap)
            metrics.STOPPED.labels(str(partition)).set(1)
            log.error("partition stopped at a gap", partition=partition, offset=message.offset, gap=str(gap))
            return True
        except (HeaderError, CodecError, StoreRefused) as error:
            self._bury(message, error)
        self._next[partition] = message.offset + 1
        self._positions[partition] = SinkPosition(
            verdict.stored if verdict else position.stored, position.rolled, position.planned
        )
        self._commit(consumer, partition)
        return True

    def _rows(self, message: Message, headers: EnrichedHeaders, verdict: Verdict) -> tuple[str, pa.Table]:
        """The table a message goes into, and its rows that count."""
        batch = decode_arrow(message.body)
        if headers.kind == "flow":
            batch = complete(batch, ENRICHED)
        if batch.num_rows != headers.rows:
            raise CodecError(f"headers say {headers.rows} rows, the body has {batch.num_rows}")
        rows = batch.slice(verdict.first_row)
        if headers.kind == "observation":
            if headers.table not in OBSERVATIONS or not batch.schema.equals(observation_schema(headers.table)):
                raise CodecError(f"not an observation we know: {headers.table!r}")
            return headers.table, pa.Table.from_batches([rows])
        count = rows.num_rows
        placed = {
            **{name: rows.column(name) for name in rows.schema.names},
            "bus_partition": pa.repeat(pa.scalar(message.partition, pa.uint16()), count),
            "bus_offset": pa.repeat(pa.scalar(message.offset, pa.uint64()), count),
        }
        metrics.NEWEST_ROW.set(headers.max_ms / 1000)
        return "flows", at_rest(pa.table({name: placed[name] for name in _INSERT_COLUMNS}))

    def _insert(self, table: str, rows: pa.Table, token: str, stop: threading.Event) -> bool:
        while True:
            try:
                self._store.insert(table, rows, token=token)
                metrics.INSERTED_ROWS.labels(table).inc(len(rows))
                metrics.INSERTED_MESSAGES.inc()
                return True
            except StoreUnavailable as error:
                metrics.RETRIES.inc()
                limited(log.warning, "unavailable", "the store does not answer; trying again", error=str(error))
                if stop.wait(self._settings.retry_seconds):
                    return False

    def _roll_up(self, consumer: Consumer, *, finish: bool) -> None:
        """Take the due ranges into the rollups: planned, committed, run, committed."""
        for partition in consumer.assigned():
            while (planned := self._rollups.due(partition, self._clock(), finish=finish)) is not None:
                position = self._positions[partition]
                self._positions[partition] = SinkPosition(position.stored, position.rolled, planned)
                self._commit(consumer, partition)
                try:
                    self._rollups.run(partition, planned, self._stream_id)
                except StoreUnavailable as error:
                    metrics.RETRIES.inc()
                    limited(log.warning, "rollup", "rollups wait for the store", error=str(error))
                    return
                self._positions[partition] = SinkPosition(position.stored, planned[1], None)
                self._commit(consumer, partition)
            waiting = self._next[partition] - self._positions[partition].rolled
            metrics.ROLLUP_LAG_MESSAGES.labels(str(partition)).set(waiting)

    def _commit(self, consumer: Consumer, partition: int) -> None:
        position = self._positions[partition]
        consumer.commit(partition, self._next[partition], position.encode())
        self._bus.trim(RAW_STREAM, partition, position.stored)
        self._bus.trim(ENRICHED_STREAM, partition, self._next[partition])

    def _token(self, message: Message) -> str:
        return f"{self._stream_id}/{message.partition}/{message.offset}"

    def _explain(self, message: Message, headers: EnrichedHeaders, verdict: Verdict) -> None:
        if verdict.lost:
            metrics.LOST_MESSAGES.inc(verdict.lost[1] - verdict.lost[0])
            self._note(message, "source lost", 0, verdict.lost)
        if verdict.first_row:
            metrics.SLICED_ROWS.inc(verdict.first_row)
            self._note(message, "sliced", verdict.first_row, (headers.start, headers.end))

    def _note(self, message: Message, reason: str, rows: int, source: tuple[int, int]) -> None:
        """A row for people in ``bus_skipped``; decisions never read it."""
        log.info("message not stored whole", partition=message.partition, offset=message.offset, reason=reason)
        row = (int(time.time() * 1000), message.partition, message.offset, rows, reason, *source)
        table = pa.Table.from_pylist([dict(zip(_SKIPPED.names, row, strict=True))], _SKIPPED)
        self._store.insert("bus_skipped", table, token=f"{self._token(message)}/{reason}")

    def _bury(self, message: Message, error: Exception) -> None:
        """Keep a message that no repeat can mend, with its reason; the stream goes on."""
        metrics.POISON_MESSAGES.inc()
        self._dead_letters.mkdir(parents=True, exist_ok=True)
        name = self._dead_letters / f"{self._stream_id}-{message.partition}-{message.offset}"
        name.with_suffix(".arrow").write_bytes(message.body)
        about = {"reason": str(error), "headers": dict(message.headers)}
        name.with_suffix(".json").write_text(json.dumps(about, indent=1))
        log.error("message buried", file=str(name.with_suffix(".arrow")), reason=str(error)[:500])
