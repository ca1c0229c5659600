"""The whole part on one screen: read raw messages, join, enrich, publish.

Exactly once (``sinks.delivery``): the position is the newest message of ``flows.enriched``, never a commit.  Whatever
goes wrong, buffers are dropped and the tail is read again.  A lost generation keeps the consumer, because leaving the
group would make every rebalance the cause of the next, and takes a new producer.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from enricher import metrics
from enricher.enrichment import Tables, enrich, limit_days, widest_span
from enricher.ports import own_ports
from enricher.settings import EnricherSettings
from sinks import (
    ENRICHED_STREAM,
    RAW_STREAM,
    Bus,
    BusFull,
    BusUnavailable,
    Consumer,
    Message,
    OffsetGone,
    Parts,
    Producer,
    Unacknowledged,
)
from sinks.batch import Batch
from sinks.codec import Chosen, CodecError, compression_of, decode, encode_parts
from sinks.dead_letters import DeadLetters
from sinks.delivery import (
    EnrichedHeaders,
    HeaderError,
    Hint,
    NewerVersionError,
    RawHeaders,
    Sequences,
    row_index,
    short_id,
)
from sinks.generations import Generations, Stopped
from sinks.schema import ENRICHED, RAW, Direction
from sinks.telemetry import limited

log = structlog.get_logger("enricher")

GROUP = "enricher"
_POLL_BYTES = 16 << 20  # about 120 k rows of LZ4: less than one enriched message
_POLL_SECONDS = 0.1
_FULL_PAUSE_SECONDS = 0.2
_COMMIT_SECONDS = 5.0  # a commit is only a hint, the tail decides
_HISTORY_ROWS = 30_000  # raw rows of a message of history: nearly each is a group of its own in the rollups
_NOTED_ROWS = 2_048  # of a message, at the most about
_NOTED = ("direction", "proto", "ts", "src_addr", "dst_addr", "src_port", "dst_port", "octets_est")
_IDLE_POLLS = 50  # at a stop: what has not come after 5 s of asking is left for the next start
_MAX_SPAN_MS = int(widest_span() / np.timedelta64(1, "ms"))


Note = Callable[
    [NDArray[np.void], NDArray[np.datetime64], NDArray[np.uint16], NDArray[np.int64]], object
]  # fmt: skip
"""Takes addresses (V16), times (M8[ms]), ports and estimated octets of flows."""


class LogCutError(Exception):
    """flows.raw ends before what was already enriched: the bus lost its newest messages."""


@dataclass(slots=True)
class _Pending:
    """Source messages of one partition on their way into one enriched message."""

    start: int  # source offsets [start, end) are read and not published
    end: int
    sequences: Sequences
    published: dict[str, int]  # highest sequences before ``start``
    lost: tuple[tuple[int, int], ...] = ()
    dropped: list[tuple[int, int, str, int]] = field(default_factory=list)
    poison: list[tuple[int, int, str, int]] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    rows: int = 0
    since: float = 0.0
    min_ms: int = 0
    max_ms: int = 0
    history: bool = False

    def add(self, offset: int, batch: Batch, headers: RawHeaders, now: float) -> None:
        """Take a source message's rows."""
        if not self.rows:
            self.since, self.min_ms, self.max_ms = now, headers.min_ms, headers.max_ms
            self.history = headers.history
        self.min_ms, self.max_ms = min(self.min_ms, headers.min_ms), max(self.max_ms, headers.max_ms)
        self.sources.append(offset)
        self.batches.append(batch)
        self.rows += len(batch)

    def is_not_for(self, headers: RawHeaders) -> bool:
        """Whether one message cannot have both: it would hold more days than one insert may, or history and live."""
        if not self.rows:
            return False
        if self.history != headers.history:
            return True
        return max(self.max_ms, headers.max_ms) - min(self.min_ms, headers.min_ms) > _MAX_SPAN_MS

    def clear(self) -> None:
        """Published: the next message starts where this one ended."""
        self.start, self.lost, self.rows = self.end, (), 0
        self.sources, self.batches, self.dropped, self.poison = [], [], [], []
        self.published = dict(self.sequences.highest)


class Enricher(Generations):
    """Moves flows from ``flows.raw`` to ``flows.enriched``; run by one thread."""

    stream, group = RAW_STREAM, GROUP
    sound = (Unacknowledged, BusUnavailable)

    def __init__(
        self,
        bus: Bus,
        tables: Callable[[], Tables],
        settings: EnricherSettings,
        compression: Chosen = "lz4",
        clock: Callable[[], float] = time.monotonic,
        *,
        dead_letters: DeadLetters | None = None,
        note: Note | None = None,
    ) -> None:
        """``tables`` returns the tables in force; they are asked for once a message.

        ``dead_letters`` keeps raw messages that cannot be read; without it they are counted and logged only.
        ``note`` is told of the ends of flows that are or may be a subscriber's.
        """
        super().__init__(bus, metrics)
        self._tables, self._settings = tables, settings
        self._compression, self._clock, self._dead_letters = compression, clock, dead_letters
        self._note = note
        self._pending: dict[int, _Pending] = {}
        self._blocked: dict[int, str] = {}  # partitions whose next message only a newer Flowtide reads
        self._committed_at = clock()

    def _work(self, consumer: Consumer, stop: threading.Event) -> None:
        self._source = short_id(self._bus.stream_id(RAW_STREAM))
        self._producer: Producer = self._bus.producer(ENRICHED_STREAM)
        try:
            for partition in consumer.assigned():
                self._begin(consumer, partition)
            self.failed = None
            while not stop.is_set():
                self._step(consumer, stop, _POLL_SECONDS)
                self._failures = 0
            self._finish(consumer, stop)
        finally:
            self._pending.clear()
            self._blocked.clear()
            self._producer.close()

    def _finish(self, consumer: Consumer, stop: threading.Event) -> None:
        """Read up to where the log ends now, publish and commit."""
        ends = {partition: consumer.bounds(partition)[1] for partition in self._pending}
        idle = 0
        while idle < _IDLE_POLLS and any(
            self._pending[partition].end < end for partition, end in ends.items() if partition not in self._blocked
        ):
            idle = 0 if self._step(consumer, stop, _POLL_SECONDS) else idle + 1
        for partition in self._pending:
            self._publish(consumer, partition, stop)
        self._commit(consumer)

    def _begin(self, consumer: Consumer, partition: int) -> None:
        """Where the newest enriched message ended, or else at the group's hint, or else at the first message."""
        last = self._producer.last(partition)
        start: int | None = None
        highest: dict[str, int] = {}
        if last is not None:
            headers = EnrichedHeaders.decode(last)
            highest = dict(headers.highest)  # of collectors, who outlive a flows.raw made again
            if headers.source in ("", self._source):
                start = headers.end
        elif (committed := consumer.committed(partition)) is not None:
            hint = Hint.decode(committed.metadata)
            highest = dict(hint.highest)
            if hint.source in ("", self._source):
                start = committed.offset
        lost: tuple[tuple[int, int], ...] = ()
        if start is None:
            start = consumer.bounds(partition)[0]
            lost = ((0, start),) if start else ()
        self._pending[partition] = _Pending(start, start, Sequences(highest), dict(highest), lost)
        try:
            consumer.seek(partition, start)
        except OffsetGone as gone:
            self._step_over(consumer, gone)

    def _step(self, consumer: Consumer, stop: threading.Event, timeout: float) -> int:
        """Read once, publish what is due; returns the number of messages read."""
        try:
            messages = consumer.poll(_POLL_BYTES, timeout)
        except OffsetGone as gone:
            self._publish(consumer, gone.partition, stop)
            self._step_over(consumer, gone)
            return 1
        for message in messages:
            self._take(consumer, message, stop)
        now = self._clock()
        for partition, pending in self._pending.items():
            if pending.rows and now - pending.since >= self._settings.max_wait_seconds:
                self._publish(consumer, partition, stop)
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._commit(consumer)
        return len(messages)

    def _step_over(self, consumer: Consumer, gone: OffsetGone) -> None:
        """Continue at the first message still there; the hole is written into the next message's headers."""
        pending = self._pending[gone.partition]
        lost = (pending.end, gone.first)
        if gone.first < pending.end:
            raise LogCutError(
                f"flows.raw/{gone.partition} ends at {gone.end}, before {pending.end} which was enriched already: the"
                " bus lost its newest messages; what comes next would be taken for them: make the stream again"
            )
        metrics.LOST_MESSAGES.inc(lost[1] - lost[0])
        log.error("raw messages are gone", partition=gone.partition, start=lost[0], end=lost[1])
        pending.lost += (lost,)
        pending.start = pending.end = gone.first
        consumer.seek(gone.partition, gone.first)

    def _take(self, consumer: Consumer, message: Message, stop: threading.Event) -> None:
        pending = self._pending[message.partition]
        if message.offset < pending.end or message.partition in self._blocked:
            return
        headers: RawHeaders | None = None
        try:
            headers = RawHeaders.decode(message.headers)
            last = pending.sequences.highest.get(headers.collector)
            if last is not None and headers.sequence <= last:
                metrics.REPEATED_MESSAGES.inc()  # a restarted collector published it again
                pending.end = message.offset + 1
                return
            if headers.kind == "observation":
                self._publish(consumer, message.partition, stop)
                self._admit(pending, headers, message)
                self._pass_on(consumer, pending, message, headers, stop)
                return
            batch = limit_days(decode(message.body, RAW))
            if len(batch) != headers.rows:
                raise CodecError(f"headers say {headers.rows} rows, the body has {len(batch)}")
        except NewerVersionError as error:
            self._block(message, error)
            return
        except (HeaderError, CodecError) as error:
            self._bury(pending, message, headers, error)
            return
        most = min(self._settings.max_rows, _HISTORY_ROWS) if headers.history else self._settings.max_rows
        if pending.rows + len(batch) > most or pending.is_not_for(headers):
            self._publish(consumer, message.partition, stop)
        self._admit(pending, headers, message)
        pending.add(message.offset, batch, headers, self._clock())

    def _block(self, message: Message, error: NewerVersionError) -> None:
        """Leave the partition where it is: its messages are sound, this process is too old for them."""
        self._blocked[message.partition] = str(error)
        self.failed = f"partition {message.partition} waits: {error}"
        log.error("partition waits for a newer version", partition=message.partition, offset=message.offset,
                  reason=str(error))  # fmt: skip

    def _bury(self, pending: _Pending, message: Message, headers: RawHeaders | None, error: Exception) -> None:
        """Step over a message that nobody can read; the audit counts its rows, one where it does not say how many."""
        metrics.POISON_MESSAGES.inc()
        limited(log.error, "poison", "raw message refused", partition=message.partition, offset=message.offset,
                error=str(error))  # fmt: skip
        if self._dead_letters is not None:
            self._dead_letters.bury(RAW_STREAM, self._bus.stream_id(RAW_STREAM), message, str(error))
        # When its rows arrived is not known any more; the moment they are missed is the nearest that is.
        minute = int(time.time()) // 60 * 60
        pending.poison.append((message.offset, minute, "", headers.rows if headers else 1))
        if headers is not None:
            self._admit(pending, headers, message)
        pending.end = message.offset + 1

    def _admit(self, pending: _Pending, headers: RawHeaders, message: Message) -> None:
        # Only now: what is published before this message must not claim to have seen it.
        _, missing = pending.sequences.admit(headers.collector, headers.sequence)
        if missing:
            metrics.MISSING_MESSAGES.inc(missing)
            limited(log.warning, "missing", "raw messages are missing", partition=message.partition,
                    collector=headers.collector, count=missing)  # fmt: skip
        pending.dropped += [(message.offset, *entry) for entry in headers.dropped]
        pending.end = message.offset + 1

    def _publish(self, consumer: Consumer, partition: int, stop: threading.Event) -> None:
        """One message of all that waits; nothing when nothing does."""
        pending = self._pending[partition]
        if not pending.rows:
            return
        result = enrich(pending.batches, self._tables())
        index = row_index(pending.sources, np.diff(result.ends, prepend=0).tolist())
        times = result.batch.columns["ts"].view("i8")
        headers = EnrichedHeaders(
            len(result.batch), pending.start, pending.end, index, dict(pending.sequences.highest), pending.lost,
            int(times.min()), int(times.max()), dropped=tuple(pending.dropped), poison=tuple(pending.poison),
            source=self._source, history=pending.history,
        )  # fmt: skip
        compression = compression_of(self._compression, self._producer)
        self._append(consumer, partition, headers, encode_parts(result.batch, ENRICHED, compression), stop)
        if pending.history:
            metrics.HISTORY_ROWS.inc(len(result.batch))
        else:
            metrics.ENRICHED_ROWS.inc(len(result.batch))
            metrics.count(result)
            if self._note is not None:
                _tell_of_ends(result.batch, self._note)
        pending.clear()

    def _pass_on(
        self, consumer: Consumer, pending: _Pending, message: Message, headers: RawHeaders, stop: threading.Event
    ) -> None:
        """An observation goes on as it is: a message of its own."""
        onward = EnrichedHeaders(
            headers.rows, pending.start, pending.end, ((message.offset, headers.rows),),
            dict(pending.sequences.highest), pending.lost, headers.min_ms, headers.max_ms, "observation", headers.table,
            tuple(pending.dropped), tuple(pending.poison), self._source, headers.history,
        )  # fmt: skip
        self._append(consumer, message.partition, onward, bytes(message.body), stop)
        pending.clear()

    def _append(
        self, consumer: Consumer, partition: int, headers: EnrichedHeaders, body: bytes | Parts, stop: threading.Event
    ) -> None:
        consumer.settle()
        while True:
            try:
                self._producer.publish(partition, headers.encode(), body)
                return
            except BusFull as full:
                # The raw stream keeps everything meanwhile; at its own bound the collector drops and counts.
                limited(log.warning, "full", "no room for enriched flows", reason=str(full))
                if stop.wait(_FULL_PAUSE_SECONDS):
                    raise Stopped from full
                consumer.end(partition)  # says when the partition went to another member meanwhile

    def _commit(self, consumer: Consumer) -> None:
        for partition, pending in self._pending.items():
            consumer.commit(partition, pending.start, Hint(self._source, pending.published).encode())
        self._committed_at = self._clock()


def _tell_of_ends(batch: Batch, note: Note) -> None:
    """The subscriber's end of some of a message's flows, and both ends of a flow without a direction.

    A sample is enough, and most are never looked at; its octets are those of the whole.
    """
    step = max(1, len(batch) // _NOTED_ROWS)
    columns = {name: batch.columns[name][::step] for name in _NOTED}
    for end, other in (("src", Direction.OUT), ("dst", Direction.IN)):
        rows = np.flatnonzero(columns["direction"] != other)
        ports = own_ports(columns["proto"][rows], columns[f"{end}_port"][rows])
        note(columns[f"{end}_addr"][rows], columns["ts"][rows], ports, columns["octets_est"][rows] * step)
