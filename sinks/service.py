"""flows.enriched -> store: one message, one insert, one commit; then ranges of it into the rollups.

The commit's metadata holds the source offset that is stored (``SinkPosition``), so a repeat after a crash inserts the
same rows under the same token, and an overlapping message of a zombie is cut or skipped by log order.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import structlog

from sinks import (
    ENRICHED_STREAM,
    RAW_STREAM,
    Bus,
    BusUnavailable,
    Committed,
    Consumer,
    Message,
    OffsetGone,
    Store,
    StoreRefused,
    StoreUnavailable,
    metrics,
)
from sinks.audit import TABLE as AUDIT
from sinks.audit import Counts, audit
from sinks.codec import CodecError
from sinks.dead_letters import BurialLimit, DeadLetters
from sinks.delivery import (
    EnrichedHeaders,
    GapError,
    HeaderError,
    NewerVersionError,
    SinkPosition,
    Verdict,
    judge,
    short_id,
)
from sinks.gaps import Gap, is_accepted, settle_gap, show_gap
from sinks.generations import Generations, Stopped
from sinks.rollups import Rollups, Span
from sinks.rows import explanations, rows_of, skipped
from sinks.settings import SinkSettings
from sinks.store_errors import is_about_content
from sinks.streams import base_of
from sinks.telemetry import limited

log = structlog.get_logger("sinks")

GROUP = "sink"
_POLL_BYTES = 64 << 20  # a few messages ahead: one is inserted at a time
_POLL_SECONDS = 0.1
_LONGEST_RETRY = 8  # times retry_seconds: a store that comes back is noticed within that
_GAP_SECONDS = 1.0  # how often a stopped partition looks whether its gap is accepted
_IDLE_POLLS = 50  # at a stop: what has not come after 5 s of asking is left for the next start


class _Range:
    """A planned range of a partition: run by somebody else, or by whoever asks for its result."""

    def __init__(self, partition: int, planned: tuple[int, int], task: Callable[[], float]) -> None:
        self.partition, self.planned, self._task = partition, planned, task
        self._future: Future[float] | None = None

    def begin(self, beside: Executor) -> None:
        """Run it there."""
        self._future = beside.submit(self._task)

    def has_run(self) -> bool:
        """Whether its result is there."""
        return self._future is not None and self._future.done()

    def result(self) -> float:
        """The seconds that it took; raises as it did."""
        return self._future.result() if self._future is not None else self._task()


class Sink(Generations):
    """Moves enriched messages into the store, and ranges of them into the rollups; run by one thread."""

    stream, group = ENRICHED_STREAM, GROUP
    sound = (BusUnavailable, StoreUnavailable, StoreRefused)

    def __init__(
        self,
        bus: Bus,
        store: Store,
        rollups: Rollups,
        settings: SinkSettings,
        dead_letters: DeadLetters,
        gaps: Path,
        clock: Callable[[], float] = time.monotonic,
        beside: Executor | None = None,
    ) -> None:
        """``dead_letters`` keeps what the store refuses for what it is; ``gaps`` is the folder of ``sinks.gaps``.

        ``beside`` runs the rollups' ranges, one at a time, while rows are inserted; without it rows wait for them.
        """
        super().__init__(bus, metrics)
        self._store, self._rollups, self._settings = store, rollups, settings
        self._dead_letters, self._gaps, self._clock = dead_letters, gaps, clock
        self._burials = BurialLimit()
        self._positions: dict[int, SinkPosition] = {}
        self._next: dict[int, int] = {}  # next enriched offset a partition
        self._base: dict[int, int] = {}  # bus_offset of the stream's offset 0
        self._stopped: dict[int, str] = {}  # partitions that wait for an operator, and why
        self._gap: dict[int, Gap] = {}  # of them, those that met a gap
        self._looked_at = self._roll_again_at = float("-inf")
        self._rollup_failures = 0  # in a row
        self._beside = beside
        self._range: _Range | None = None  # that was committed and runs

    @property
    def stopped(self) -> dict[int, str]:
        """Partitions that wait for an operator: what is missing, and the command to go on without it."""
        return dict(self._stopped)

    def _work(self, consumer: Consumer, stop: threading.Event) -> None:
        self._stream_id = self._bus.stream_id(ENRICHED_STREAM)
        for mapping in (self._positions, self._next, self._base, self._stopped, self._gap):
            mapping.clear()
        # A range that still runs is let go: who has its partition repeats it under the same tokens.
        self._range = None
        self._rollups.forget()
        for partition in consumer.assigned():
            self._begin(consumer, partition)
        self.failed = None
        while not stop.is_set():
            self._step(consumer, stop, _POLL_SECONDS)
            self._roll_up(consumer, finish=False)
            self._failures = 0
        self._finish(consumer, stop)

    def _finish(self, consumer: Consumer, stop: threading.Event) -> None:
        """Store what the log holds now, and roll it up."""
        ends = {partition: consumer.bounds(partition)[1] for partition in self._next}
        idle = 0
        while idle < _IDLE_POLLS and any(self._next[p] < end for p, end in ends.items() if p not in self._stopped):
            idle = 0 if self._step(consumer, stop, _POLL_SECONDS) else idle + 1
        self._roll_up(consumer, finish=True)

    def _begin(self, consumer: Consumer, partition: int) -> None:
        stream, committed = short_id(self._stream_id), consumer.committed(partition)
        first = consumer.bounds(partition)[0]
        position = self._decoded(committed)
        metrics.STOPPED.labels(str(partition)).set(0)
        ours = position is not None and position.stream in ("", stream)
        self._base[partition] = base = base_of(self._store, self._stream_id, partition, known=ours)
        if committed and position and ours:
            self._next[partition], position = committed.offset, replace(position, stream=stream)
        else:  # never committed, or the stream was made again: what is stored of flows.raw is, wherever it came from
            rolled = max(first, self._rollups.cut_until(partition, base))
            self._next[partition] = first
            position = replace(position or SinkPosition(), rolled=rolled, planned=None, gone=first > 0, stream=stream)
        self._positions[partition] = position
        # What lies between was stored by a predecessor: the rollups still want it.
        self._rollups.begin(partition, position, self._next[partition], base)
        settle_gap(self._gaps, self._stream_id, partition, position.stored)
        try:
            consumer.seek(partition, self._next[partition])
        except OffsetGone as gone:
            self._step_over(consumer, gone)

    @staticmethod
    def _decoded(committed: Committed | None) -> SinkPosition | None:
        """What the group committed; None: nothing, or what somebody else wrote over it (a reset of offsets)."""
        try:
            return SinkPosition.decode(committed.metadata) if committed else None
        except HeaderError as error:
            log.error("the committed position is not ours: beginning at the first message", reason=str(error))
            return None

    def _step(self, consumer: Consumer, stop: threading.Event, timeout: float) -> int:
        try:
            messages = consumer.poll(_POLL_BYTES, timeout)
        except OffsetGone as gone:
            self._step_over(consumer, gone)
            return 1
        for message in messages:
            if message.partition not in self._stopped:
                self._store_one(consumer, message, stop)
        for partition, following in self._next.items():
            metrics.LAG_MESSAGES.labels(str(partition)).set(max(0, consumer.end(partition) - following))
        self._go_on_if_accepted(consumer)
        return len(messages)

    def _step_over(self, consumer: Consumer, gone: OffsetGone) -> None:
        """Continue at the first message still there; the gap that it leaves in the source offsets is explained."""
        partition, following = gone.partition, self._next[gone.partition]
        if gone.end < following:
            # Offsets that are given out a second time would meet the tokens of the first.
            self._stop(partition, f"flows.enriched/{partition} ends at {gone.end}, before {following} which is stored"
                                  " already: the bus lost its newest messages; make the stream again")  # fmt: skip
            return
        log.error("enriched messages are gone", partition=partition, start=following, end=gone.first)
        self._positions[partition] = replace(self._positions[partition], gone=True)
        self._next[partition] = gone.first
        consumer.seek(partition, gone.first)

    def _store_one(self, consumer: Consumer, message: Message, stop: threading.Event) -> None:
        """Store what counts of a message, bury it or stop its partition; then commit."""
        if message.offset < self._next[message.partition]:
            return
        partition, before = message.partition, self._positions[message.partition]
        try:
            headers = EnrichedHeaders.decode(message.headers)
            position = before.of_source(headers.source)
            if position is None:
                self._note(consumer, message, "of an older flows.raw", headers.rows, (headers.start, headers.end), stop)
                position = before
            else:
                verdict, reason = self._judge(message, headers, position)
                self._store_counted(consumer, message, headers, verdict, position.stored, stop)
                for why, rows, source in explanations(headers, verdict, reason):
                    self._note(consumer, message, why, rows, source, stop)
                # A message that goes on where the last one ended shows that the lost ones are behind it.
                goes_on = verdict.lost is None and verdict.stored > position.stored
                position = replace(position, stored=verdict.stored, gone=position.gone and not goes_on)
        except GapError as error:
            self._gap[partition] = gap = self._gap_of(message, error)
            show_gap(self._gaps, gap)
            self._stop(partition, str(gap))
            return
        except NewerVersionError as error:
            self._stop(partition, str(error))
            return
        except HeaderError as error:
            position = before
            while not self._burials.allow(self._clock()):
                self._wait(consumer, partition, error, 10, stop)
            self._bury(message, error)
        # The rollups' part may have changed since ``before`` only in other calls, never in this one.
        self._next[partition], self._positions[partition] = message.offset + 1, position
        self._commit(consumer, partition)
        if partition in self._gap:
            del self._gap[partition]
            settle_gap(self._gaps, self._stream_id, partition, position.stored)

    def _judge(self, message: Message, headers: EnrichedHeaders, position: SinkPosition) -> tuple[Verdict, str]:
        """What counts of it, and why source offsets before it are missing; GapError when nobody knows."""
        if position.gone:
            return judge(headers, position.stored, (position.stored, headers.start)), "enriched messages lost"
        try:
            return judge(headers, position.stored), "source lost"
        except GapError as error:
            gap = self._gap_of(message, error)
            if not is_accepted(self._gaps, gap):
                raise
            self._gap[message.partition] = gap
            return judge(headers, position.stored, (error.start, error.end)), "gap accepted"

    def _gap_of(self, message: Message, error: GapError) -> Gap:
        return Gap(short_id(self._stream_id), message.partition, error.start, error.end, message.offset)

    def _store_counted(
        self, consumer: Consumer, message: Message, headers: EnrichedHeaders, verdict: Verdict, stored: int,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        """Insert the rows that count and their audit; a message that no repeat can mend is buried instead."""
        partition, token = message.partition, self._token(message)
        base, failures, inserted = self._base[partition], 0, False
        # What the audit says of a message that cannot be read: so many rows of nobody.
        records: Counts = Counter({(int(time.time()) // 60 * 60, ""): verdict.rows - verdict.first_row})
        if verdict.skip:
            metrics.SKIPPED_MESSAGES.inc()
            records.clear()
        while not verdict.skip:
            try:
                table, rows, records = rows_of(message, headers, verdict.first_row, base)
                consumer.settle()
                self._store.insert(table, rows, token=token)
            except StoreUnavailable as error:
                metrics.RETRIES.inc()
                failures = self._wait(consumer, partition, error, failures, stop)
            except (CodecError, StoreRefused) as error:
                mendable = isinstance(error, StoreRefused) and not is_about_content(error)
                if mendable or not self._burials.allow(self._clock()):
                    metrics.SINK_FAULTS.inc()
                    failures = self._wait(consumer, partition, error, failures, stop)
                    continue
                self._bury(message, error)
                break
            else:
                self.failed, inserted = None, True
                self._burials.sound()
                metrics.INSERTED_ROWS.labels(table).inc(len(rows))
                metrics.INSERTED_MESSAGES.inc()
                if not headers.history:
                    metrics.NEWEST_ROW.set(headers.max_ms / 1000)
                break
        if headers.kind == "observation":
            records.clear()
        elif inserted:
            span = Span(message.offset, len(rows), headers.min_ms, headers.max_ms, headers.history)
            self._rollups.stored(partition, span, rows)
        said = audit(partition, headers, stored, records, inserted=inserted)
        if said.num_rows:
            self._insert(consumer, partition, AUDIT, said, f"{token}/audit", stop)

    def _insert(
        self, consumer: Consumer, partition: int, table: str, rows: pa.Table, token: str, stop: threading.Event
    ) -> None:
        """Store rows of our own making: whatever the store says against them is the store's fault."""
        failures = 0
        while True:
            try:
                self._store.insert(table, rows, token=token)
                self.failed = None
                return
            except (StoreUnavailable, StoreRefused) as error:
                failures = self._wait(consumer, partition, error, failures, stop)

    def _wait(self, consumer: Consumer, partition: int, error: Exception, failures: int, stop: threading.Event) -> int:
        """Pause before the same is tried again; the number of failures in a row."""
        self.failed = f"{type(error).__name__}: {error}"
        limited(log.error, "store", "the store does not take a message; trying again", partition=partition,
                error=str(error)[:500])  # fmt: skip
        if stop.wait(self._settings.retry_seconds * min(2**failures, _LONGEST_RETRY)):
            raise Stopped
        consumer.end(partition)  # says when the partition went to another member meanwhile
        return min(failures + 1, 10)

    def _roll_up(self, consumer: Consumer, *, finish: bool) -> None:
        """Take the due ranges into the rollups: planned, committed, run, committed."""
        if self._clock() < self._roll_again_at and not finish:
            return
        if self._range is not None and (not (finish or self._range.has_run()) or not self._settle(consumer)):
            return
        for partition in self._rollups.turn(self._next):
            while (planned := self._rollups.due(partition, self._clock(), finish=finish)) is not None:
                self._positions[partition] = replace(self._positions[partition], planned=planned)
                self._commit(consumer, partition)  # refused when the generation is lost: then nothing runs
                self._range = _Range(partition, planned, self._rollups.task(partition, planned, self._stream_id))
                if self._beside is not None and not finish:
                    self._range.begin(self._beside)
                    return
                if not self._settle(consumer):
                    return
                if not finish:
                    break  # what came meanwhile is stored before the next range
            waiting = self._next[partition] - self._positions[partition].rolled
            metrics.ROLLUP_LAG_MESSAGES.labels(str(partition)).set(max(0, waiting))

    def _settle(self, consumer: Consumer) -> bool:
        """Wait for the range that runs, and commit it; False: it is to be tried again later."""
        assert self._range is not None
        ran, self._range = self._range, None
        try:
            seconds = ran.result()
        except (StoreUnavailable, StoreRefused) as error:
            metrics.RETRIES.inc()
            self.failed = f"rollups wait: {type(error).__name__}: {error}"
            limited(log.error, "rollup", "rollups wait for the store", error=str(error)[:500])
            pause = self._settings.retry_seconds * min(2**self._rollup_failures, _LONGEST_RETRY)
            self._roll_again_at = self._clock() + pause
            self._rollup_failures = min(self._rollup_failures + 1, 10)
            return False
        if self._rollup_failures:
            self._rollup_failures, self.failed = 0, None
        self._rollups.done(ran.partition, ran.planned, seconds)
        self._positions[ran.partition] = replace(self._positions[ran.partition], rolled=ran.planned[1], planned=None)
        self._commit(consumer, ran.partition)
        return True

    def _commit(self, consumer: Consumer, partition: int) -> None:
        position = self._positions[partition]
        consumer.commit(partition, self._next[partition], position.encode())
        self._bus.trim(RAW_STREAM, partition, position.stored)
        self._bus.trim(ENRICHED_STREAM, partition, self._next[partition])

    def _token(self, message: Message) -> str:
        return f"{self._stream_id}/{message.partition}/{message.offset}"

    def _stop(self, partition: int, reason: str) -> None:
        self._stopped[partition] = reason
        metrics.STOPPED.labels(str(partition)).set(1)
        log.error("partition stopped", partition=partition, reason=reason)

    def _go_on_if_accepted(self, consumer: Consumer) -> None:
        """A stopped partition begins again where it stopped: what was polled meanwhile was put aside."""
        now = self._clock()
        if not self._gap or now - self._looked_at < _GAP_SECONDS:
            return
        self._looked_at = now
        for partition, gap in list(self._gap.items()):
            if partition in self._stopped and is_accepted(self._gaps, gap):
                log.warning("gap accepted by the operator", partition=partition, start=gap.start, end=gap.end)
                del self._stopped[partition]
                metrics.STOPPED.labels(str(partition)).set(0)
                consumer.seek(partition, self._next[partition])

    def _note(
        self, consumer: Consumer, message: Message, reason: str, rows: int, source: tuple[int, int],
        stop: threading.Event,
    ) -> None:  # fmt: skip
        """A row for people in ``bus_skipped``; decisions never read it."""
        log.info("message not stored whole", partition=message.partition, offset=message.offset, reason=reason)
        table = skipped(message, reason, rows, source, int(time.time() * 1000))
        token = f"{self._token(message)}/{reason}"
        self._insert(consumer, message.partition, "bus_skipped", table, token, stop)

    def _bury(self, message: Message, error: Exception) -> None:
        """Keep a message that no repeat can mend, with its reason; the stream goes on."""
        metrics.POISON_MESSAGES.inc()
        self._dead_letters.bury(ENRICHED_STREAM, self._stream_id, message, str(error))
        self._burials.buried(self._clock())
