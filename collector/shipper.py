"""Outbox -> Kafka: what the collector has written to its local log is sent on, in order, until it is acknowledged.

A process of its own, so that a broker that is down, stalled or slow never touches receiving: the outbox fills instead.
The cursor moves only behind acknowledged messages; after any failure sending begins again at the cursor, never with
the failed message alone, so order per partition is kept, and readers drop what comes twice by its number.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from collector import metrics
from sinks import RAW_STREAM, BusFull, BusUnavailable, Headers, Message, MessageRefused, OffsetGone, Unacknowledged
from sinks.dead_letters import DeadLetters
from sinks.delivery import HeaderError, RawHeaders
from sinks.settings import KafkaSettings
from sinks.spool import Spool, SpoolConsumer, SpoolError
from sinks.telemetry import limited

log = structlog.get_logger("collector.shipper")

GROUP = "shipper"
_POLL_BYTES = 4 << 20  # read at once: a few messages, so that acknowledgements are looked at in between
_IDLE_SECONDS = 0.1
_BUSY_SECONDS = (0.005, 0.01, 0.02, 0.05)  # waits for acknowledgements, longer while none come
_COMMIT_SECONDS = 1.0
_MEASURE_SECONDS = 2.0
_SILENCE_SECONDS = 60.0  # a connection that acknowledges nothing for so long is given up for a new one
_DRAIN_SECONDS = 10.0  # at a stop; what is left waits in the outbox for the next start
_PAUSES = (0.5, 1.0, 2.0, 5.0)  # before beginning again, longer while it fails
_OVERHEAD = 1024  # octets a message in flight takes beside its body, about


class Pending(Protocol):
    """A message on its way."""

    @property
    def acknowledged(self) -> bool:
        """Whether the broker has it for good."""
        ...

    @property
    def failed(self) -> Exception | None:
        """Why it is not known to be there, and never will be."""
        ...


class Appender(Protocol):
    """Appends without waiting, in order of the calls within a partition; used by one thread.

    Once a message has failed nothing more of its partition gets into the log: what comes behind a hole would make
    readers take the repeat that fills it for one they have.
    """

    def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> Pending:
        """Hand a message over.

        BusFull: not now, nothing was sent.  MessageRefused: never.  Any other exception: begin again.
        """
        ...

    def close(self) -> None:
        """At once; what is in flight may or may not be in the log."""
        ...


class Target(Protocol):
    """Where the outbox goes: ``sinks.kafka.KafkaBus``."""

    def appender(self, stream: str) -> Appender:
        """Open a stream; BusUnavailable when no broker answers."""
        ...


class NotAcknowledged(Exception):  # noqa: N818 - a state, told by its name
    """A message failed, or none was acknowledged for long: begin again from the cursor."""


@dataclass(slots=True)
class _Sent:
    """A message in flight; without ``pending`` it is one to step over."""

    offset: int
    octets: int
    pending: Pending | None
    newest_ms: int


@dataclass(slots=True)
class Shipment:
    """Where shipping of one partition is."""

    committed: int
    acknowledged: int  # all messages below are in Kafka
    flight: deque[_Sent] = field(default_factory=deque)


class Shipper:
    """Moves ``flows.raw`` from the outbox to Kafka; run by one thread."""

    def __init__(
        self,
        outbox: Spool,
        target: Target,
        settings: KafkaSettings,
        dead_letters: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``dead_letters`` is the folder for messages that Kafka refuses for what they are."""
        self._outbox, self._target, self._settings = outbox, target, settings
        self._dead_letters, self._clock = DeadLetters(dead_letters), clock
        self._partitions: dict[int, Shipment] = {}
        self._unsent: deque[Message] = deque()  # read from the outbox, for which there was no room in flight
        self._in_flight = 0
        self._heard_at = self._committed_at = self._measured_at = clock()
        self.failed: str | None = None
        """Why the last attempt ended, for /healthz; None while it works."""

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; then what the outbox holds is sent within 10 s, and the rest stays there.

        The collector must have ended before.  Failures begin again from the cursor.
        """
        failures = 0
        while True:
            began = self._clock()
            try:
                self._ship(stop)
                return
            except Exception as error:  # the outbox keeps everything meanwhile
                self.failed = f"{type(error).__name__}: {error}"
                metrics.SHIP_RESTARTS.inc()
                known = isinstance(error, (BusUnavailable, NotAcknowledged, Unacknowledged, OSError))
                limited(log.warning if known else log.error, "restart", "begin again from the first unacknowledged",
                        error=self.failed, exc_info=not known)  # fmt: skip
                failures = 0 if self._clock() - began > _SILENCE_SECONDS else failures + 1
                if stop.wait(_PAUSES[min(failures, len(_PAUSES) - 1)]):
                    log.warning("stopped; what Kafka has not acknowledged waits in the outbox")
                    return

    def health(self) -> Mapping[str, object]:
        """Facts for /healthz."""
        return {"ok": self.failed is None, **({"shipper": self.failed} if self.failed else {})}

    def partitions(self) -> Sequence[Shipment]:
        """Where shipping is, by partition; none until it has begun."""
        return [self._partitions[number] for number in sorted(self._partitions)]

    def _ship(self, stop: threading.Event) -> None:
        consumer = self._outbox.consumer(RAW_STREAM, GROUP)
        self._partitions, self._in_flight = {}, 0
        self._unsent.clear()
        appender: Appender | None = None
        try:
            for partition in consumer.assigned():
                self._begin(consumer, partition)
            self._measure(consumer)
            appender = self._target.appender(RAW_STREAM)
            self._heard_at, self.failed = self._clock(), None
            until: float | None = None  # when draining ends
            patience = 0
            while until is None or self._clock() < until:
                progress = self._acknowledge()
                sent = self._send(consumer, appender)
                self._commit_if_due(consumer)
                if until is None and stop.is_set():
                    until = self._clock() + _DRAIN_SECONDS
                if progress or sent:
                    patience = 0
                elif self._in_flight:
                    time.sleep(_BUSY_SECONDS[min(patience, len(_BUSY_SECONDS) - 1)])
                    patience += 1
                elif until is not None and not self._unsent:
                    return
                else:
                    stop.wait(_IDLE_SECONDS)
            log.warning("stopped; what Kafka has not acknowledged waits in the outbox", octets=self._in_flight)
        finally:
            if appender is not None:
                appender.close()
            self._commit(consumer)
            consumer.close()

    def _begin(self, consumer: SpoolConsumer, partition: int) -> None:
        try:
            committed = consumer.committed(partition)
        except SpoolError as error:
            log.error("all that is left is sent again; readers know it by its number", reason=str(error))
            committed = None
        start = committed.offset if committed else consumer.bounds(partition)[0]
        self._partitions[partition] = Shipment(start, start)
        try:
            consumer.seek(partition, start)
        except OffsetGone as gone:
            self._step_over(consumer, gone)

    def _step_over(self, consumer: SpoolConsumer, gone: OffsetGone) -> None:
        """Go on at the first message still there; readers see the hole in the numbers."""
        state = self._partitions[gone.partition]
        state.flight.append(_Sent(gone.first - 1, 0, None, 0))
        if not gone.first <= gone.offset:  # else the log ends before the cursor: it lost its newest messages
            metrics.SHIP_LOST.inc(gone.first - gone.offset)
        log.error("messages are gone from the outbox", partition=gone.partition, start=gone.offset, end=gone.first)
        consumer.seek(gone.partition, gone.first)

    def _send(self, consumer: SpoolConsumer, appender: Appender) -> int:
        """Send what there is room for; how many messages."""
        count = 0
        room = self._settings.in_flight_bytes - self._in_flight
        if not self._unsent and room > 0:
            try:
                self._unsent += consumer.poll(min(room, _POLL_BYTES), 0.0)
                # Were the newest messages lost by a power cut after Kafka had them, their numbers would be given
                # again, and what has them then would be taken for repeats.
                consumer.settle()
            except OffsetGone as gone:
                self._step_over(consumer, gone)
                return 1
        while self._unsent:
            message = self._unsent[0]
            octets = len(message.body) + _OVERHEAD
            if self._in_flight and self._in_flight + octets > self._settings.in_flight_bytes:
                break
            pending: Pending | None = None
            try:
                pending = appender.send(message.partition, message.headers, message.body)
            except BusFull:
                break  # the appender counts a message larger than we do
            except MessageRefused as error:
                metrics.SHIP_REFUSED.inc()
                self._dead_letters.bury(RAW_STREAM, self._outbox.stream_id(RAW_STREAM), message, str(error))
            self._unsent.popleft()
            if not self._in_flight:
                self._heard_at = self._clock()
            self._in_flight += octets
            flight = self._partitions[message.partition].flight
            flight.append(_Sent(message.offset, octets, pending, _newest_ms(message)))
            count += 1
        return count

    def _acknowledge(self) -> int:
        """Take note of acknowledgements, in order within each partition; how many."""
        count = 0
        for state in self._partitions.values():
            flight = state.flight
            while flight:
                first = flight[0]
                if first.pending is not None:
                    if first.pending.failed is not None:
                        raise NotAcknowledged(
                            f"offset {first.offset}: {first.pending.failed}"
                        ) from first.pending.failed
                    if not first.pending.acknowledged:
                        break
                    metrics.SHIPPED_MESSAGES.inc()
                    metrics.SHIPPED_OCTETS.inc(first.octets - _OVERHEAD)
                flight.popleft()
                self._in_flight -= first.octets
                state.acknowledged = first.offset + 1
                count += 1
        now = self._clock()
        if count:
            self._heard_at = now
        elif self._in_flight and now - self._heard_at > _SILENCE_SECONDS:
            raise NotAcknowledged(f"nothing was acknowledged for {_SILENCE_SECONDS:.0f} s")
        return count

    def _commit_if_due(self, consumer: SpoolConsumer) -> None:
        now = self._clock()
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._commit(consumer)
            self._committed_at = now
        if now - self._measured_at >= _MEASURE_SECONDS:
            self._measure(consumer)

    def _commit(self, consumer: SpoolConsumer) -> None:
        for partition, state in self._partitions.items():
            if state.acknowledged == state.committed:
                continue
            try:
                consumer.commit(partition, state.acknowledged, json.dumps({}))
            except OSError as error:
                # A full disk has no room for the cursor either.  What is acknowledged may go, and makes the room.
                limited(log.warning, "commit", "the position cannot be written", reason=str(error))
                self._outbox.trim(RAW_STREAM, partition, state.acknowledged)
                continue
            state.committed = state.acknowledged
            self._outbox.trim(RAW_STREAM, partition, state.committed)

    def _measure(self, consumer: SpoolConsumer) -> None:
        self._measured_at = self._clock()
        oldest = 0
        for partition, state in self._partitions.items():
            metrics.OUTBOX_MESSAGES.labels(str(partition)).set(consumer.end(partition) - state.acknowledged)
            metrics.OUTBOX_OCTETS.labels(str(partition)).set(self._outbox.octets(RAW_STREAM, partition))
            if state.flight and state.flight[0].newest_ms:
                oldest = min(oldest or state.flight[0].newest_ms, state.flight[0].newest_ms)
        metrics.OUTBOX_AGE.set(max(time.time() - oldest / 1000, 0) if oldest else 0)


def _newest_ms(message: Message) -> int:
    """Of its flows; 0: nothing that says how long it has waited."""
    try:
        headers = RawHeaders.decode(message.headers)
        return 0 if headers.history else headers.max_ms
    except HeaderError:
        return 0  # for the enricher to judge
