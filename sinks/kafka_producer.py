"""Appending to a topic: one message at a time and acknowledged, or many in flight within a bound."""

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import kafka
import kafka.errors
import structlog

from sinks import BusFull, BusUnavailable, Headers, MessageRefused, Parts, Unacknowledged, metrics, whole
from sinks.kafka_client import MAX_MESSAGE_BYTES, Limits, bounded

log = structlog.get_logger("sinks.kafka")

_HEADER_ROOM = 1 << 10  # of a record beside its headers and body
_REFUSALS = (kafka.errors.MessageSizeTooLargeError, kafka.errors.RecordListTooLargeError)


def connect(arguments: dict[str, Any], limits: Limits, topic: str) -> Any:
    """A producer that keeps order and repeats nothing within its life; BusUnavailable when no broker answers."""
    try:
        producer = kafka.KafkaProducer(
            **arguments,
            enable_idempotence=True,
            acks="all",
            # With a finite one a stalled broker left messages reported as failed in the log.
            delivery_timeout_ms=2**31 - 1,
            # One: were a message refused while the next is on its way, the next would be behind a hole that readers
            # take for a repeat once it is filled.
            max_in_flight_requests_per_connection=1,
            batch_size=1_000_000,
            linger_ms=0,
            max_request_size=MAX_MESSAGE_BYTES,
            max_block_ms=int(limits.answer_seconds * 1000),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    except kafka.errors.KafkaError as error:
        raise BusUnavailable(f"no broker of {arguments['bootstrap_servers']} answers: {error!r}") from error
    try:
        producer.partitions_for(topic)  # else the first send waits for it
    except kafka.errors.KafkaError as error:
        abandon(producer, limits.close_seconds)
        raise BusUnavailable(f"the brokers do not answer for {topic}: {error!r}") from error
    return producer


def abandon(producer: Any, seconds: float) -> None:
    """End a producer within ``seconds``, whatever the broker does; what is not acknowledged is dropped."""
    # close() flushes first and, when that times out, raises and leaves its thread running for ever.
    producer._unregister_cleanup()
    producer._closed = True
    producer._sender.force_close()
    producer._sender.join(seconds)
    if producer._sender.is_alive():
        log.error("a kafka producer did not end", seconds=seconds)


def wire(headers: Headers) -> list[tuple[str, bytes]]:
    """Headers as Kafka has them."""
    return [(name, value.encode()) for name, value in headers.items()]


def read_headers(pairs: list[tuple[str, bytes | None]]) -> Headers:
    """The other way; what is not UTF-8 is replaced, so that the header's reader refuses it."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}


def size_of(headers: Headers, body: bytes) -> int:
    """Bytes of a message, about."""
    return len(body) + sum(len(name) + len(value) for name, value in headers.items()) + _HEADER_ROOM


class Pending:
    """A message on its way."""

    __slots__ = ("failed", "offset", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.offset = -1
        self.failed: Exception | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the broker has it for good."""
        return self.offset >= 0

    @property
    def done(self) -> bool:
        """Whether its fate is known."""
        return self.offset >= 0 or self.failed is not None


class Appender:
    """Many messages in flight, in order within a partition, bounded in bytes; used by one thread.

    After the first failure nothing more is sent: close it, open another, and go on from the first message that was
    not acknowledged.
    """

    def __init__(self, producer: Any, topic: str, in_flight_bytes: int, limits: Limits) -> None:
        self._producer, self._topic = producer, topic
        self._bound, self._limits = in_flight_bytes, limits
        self._lock = threading.Lock()
        self._in_flight = 0
        self._changed = threading.Event()
        self.failed: Exception | None = None

    @property
    def in_flight_bytes(self) -> int:
        """Sent and not acknowledged."""
        return self._in_flight

    def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> Pending:
        """Hand one message over; BusFull when the bound of bytes in flight is reached, Unacknowledged after a failure.

        MessageRefused when it is larger than any broker of ours takes.
        """
        if self.failed is not None:
            raise Unacknowledged(f"{self._topic}: an earlier message failed: {self.failed!r}")
        body = bytes(body)
        pending = Pending(size_of(headers, body))
        _check_size(self._topic, pending.size)
        with self._lock:
            if self._in_flight and self._in_flight + pending.size > self._bound:
                raise BusFull(f"{self._topic}: {self._in_flight} bytes are not acknowledged (kafka.in_flight_bytes)")
            self._in_flight += pending.size
        metrics.KAFKA_IN_FLIGHT_BYTES.set(self._in_flight)
        try:
            future = self._producer.send(self._topic, value=body, headers=wire(headers), partition=partition)
        except Exception as error:
            with self._lock:
                self._in_flight -= pending.size
            raise translate(self._topic, error) from error
        future.add_callback(lambda record: self._settle(pending, record.offset, None))
        future.add_errback(lambda error: self._settle(pending, -1, error))
        return pending

    def wait(self, seconds: float) -> None:
        """Until a message is acknowledged or fails, at most ``seconds``."""
        self._changed.wait(seconds)
        self._changed.clear()

    def close(self) -> None:
        """At once; what is in flight may or may not be in the log."""
        abandon(self._producer, self._limits.close_seconds)
        metrics.KAFKA_IN_FLIGHT_BYTES.set(0)

    def _settle(self, pending: Pending, offset: int, error: Exception | None) -> None:
        with self._lock:
            self._in_flight -= pending.size
        metrics.KAFKA_IN_FLIGHT_BYTES.set(self._in_flight)
        if error is None:
            pending.offset = offset
        else:
            pending.failed = error
            if self.failed is None:
                self.failed = error
                metrics.KAFKA_UNACKNOWLEDGED.inc()
                # On the sender's own thread, before it takes the next message: that one must not overtake.
                self._producer._sender.force_close()
        self._changed.set()


class KafkaProducer:
    """Appends one message at a time; the answer of one is awaited before the next."""

    def __init__(self, producer: Any, reader: Callable[[], Any], topic: str, limits: Limits) -> None:
        """``reader`` makes a client without a group, for the log's tail."""
        self._producer, self._topic, self._limits = producer, topic, limits
        self._make_reader, self._reader = reader, None
        self._broken: str | None = None

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        """Append and return the offset; Unacknowledged, MessageRefused, BusUnavailable when nothing was sent."""
        body = whole(body)
        if self._broken is not None:
            raise Unacknowledged(f"{self._topic}: {self._broken}; open another producer")
        _check_size(self._topic, size_of(headers, body))
        try:
            future = self._producer.send(self._topic, value=body, headers=wire(headers), partition=partition)
        except (kafka.errors.KafkaError, ValueError) as error:
            raise translate(self._topic, error) from error
        try:
            return int(future.get(timeout=self._limits.answer_seconds).offset)
        except kafka.errors.KafkaError as error:
            self._broken = f"partition {partition}: {error!r}"
            # Now, not at close: a message that nobody waits for any more must not be sent late if it can be helped.
            self._producer._sender.force_close()
            if isinstance(error, _REFUSALS):
                raise MessageRefused(
                    f"{self._topic}/{partition}: the broker refuses {len(body)} bytes; "
                    f"set max.message.bytes of the topic to {MAX_MESSAGE_BYTES}"
                ) from error
            metrics.KAFKA_UNACKNOWLEDGED.inc()
            raise Unacknowledged(f"{self._topic}/{partition}: {error!r}") from error

    def compression(self) -> Literal["zstd"]:
        """The network is slower than that."""
        return "zstd"

    def last(self, partition: int) -> Headers | None:
        """Headers of the newest message; None when the log is empty, be it that all of it expired."""
        if self._reader is None:
            self._reader = self._make_reader()
        try:
            work = partial(self._read_last, self._reader, kafka.TopicPartition(self._topic, partition))
            return bounded(work, self._limits.hung_seconds, f"tail of {self._topic}/{partition}")
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"{self._topic}/{partition}: {error!r}") from error

    def close(self) -> None:
        """What was published is acknowledged, so there is nothing to wait for."""
        abandon(self._producer, self._limits.close_seconds)
        if self._reader is not None:
            with contextlib.suppress(kafka.errors.KafkaError):
                self._reader.close(autocommit=False, timeout_ms=0)
            self._reader = None

    def _read_last(self, reader: Any, place: Any) -> Headers | None:
        wait_ms = int(self._limits.answer_seconds * 1000)
        reader.assign([place])
        deadline = time.monotonic() + self._limits.answer_seconds
        while True:
            end = reader.end_offsets([place], timeout_ms=wait_ms)[place]
            first = reader.beginning_offsets([place], timeout_ms=wait_ms)[place]
            if first == end:
                return None
            reader.seek(place, end - 1)
            try:
                for record in reader.poll(timeout_ms=200).get(place, ()):
                    if record.offset == end - 1:
                        return read_headers(record.headers)
            except kafka.errors.OffsetOutOfRangeError:  # it expired between the two looks
                pass
            if time.monotonic() > deadline:
                raise kafka.errors.KafkaTimeoutError(f"offset {end - 1} was not delivered")


def translate(topic: str, error: Exception) -> Exception:
    """What an error before anything was sent means to our callers."""
    if isinstance(error, _REFUSALS):
        return MessageRefused(f"{topic}: {error}")
    return BusUnavailable(f"{topic}: nothing was sent: {error!r}")


def _check_size(topic: str, size: int) -> None:
    if size > MAX_MESSAGE_BYTES:
        raise MessageRefused(f"{topic}: a message of {size} bytes; at most {MAX_MESSAGE_BYTES} are sent")
