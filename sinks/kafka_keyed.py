"""Compacted topics: the newest value of each key is kept, so whoever reads all of it knows the state.

Such a topic is read whole and then followed by one consumer without a group, which commits nothing; and it is written
by key, a value of None removes the key.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import kafka
import kafka.errors

from sinks import BusUnavailable, Unacknowledged
from sinks.kafka_client import MAX_MESSAGE_BYTES, ClientHung, KafkaError, Limits, arguments, bounded, take_client_log
from sinks.kafka_producer import abandon, connect, translate
from sinks.kafka_topics import Found, Topics, compacted, judge_compacted
from sinks.settings import BusSettings, KafkaSettings

T = TypeVar("T")

_MOST_RECORDS = 5_000  # of one poll
_FETCH: dict[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",  # the others skip what they cannot find without a word
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 16 << 20,
    "fetch_max_wait_ms": 500,
    "max_poll_records": _MOST_RECORDS,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}

UNUSABLE = (BusUnavailable, KafkaError, ClientHung, Unacknowledged)
"""What the calls below raise: nobody answers; the topic is not as it must be; a write may or may not be there."""


class Replaced(BusUnavailable):
    """The topic is not the one that was read any more, or what was to be read next is gone: read it from its begin."""


class Keyed(NamedTuple):
    """A record; a value of None removes the key."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class KeyedTopic:
    """One compacted topic; nothing is connected until it is asked."""

    def __init__(
        self, bus: BusSettings, settings: KafkaSettings, topic: str, client_id: str, limits: Limits | None = None
    ) -> None:
        """KafkaError when the settings are wrong or crc32c is missing."""
        self.name = topic
        self._want = compacted(topic, settings)
        self._limits = limits or Limits()
        self._arguments = arguments(bus, settings, self._limits, client_id)
        take_client_log()

    def find(self) -> Found:
        """The topic as the broker has it; KafkaError with what to run when it is missing or not compacted.

        It is made by ``KafkaBus.prepare`` only: made again while it is in use, it would be empty.  BusUnavailable.
        """
        return self._bounded(self._find, f"describe {self.name}")

    def reader(self) -> "KeyedReader":
        """From the begin; KafkaError, BusUnavailable."""
        found = self.find()
        work = partial(KeyedReader, lambda: kafka.KafkaConsumer(**self._arguments, **_FETCH), self, found, self._limits)
        return self._bounded(work, f"open {self.name}")

    def writer(self) -> "KeyedWriter":
        """KafkaError, BusUnavailable."""
        found = self.find()
        producer = self._bounded(partial(connect, self._arguments, self._limits, self.name), f"connect {self.name}")
        return KeyedWriter(producer, self, found, self._limits)

    def check(self, known: Found) -> None:
        """Replaced when the topic was made again or has more partitions; else as ``find``."""
        found = self.find()
        if (found.identity, found.partitions) != (known.identity, known.partitions):
            raise Replaced(f"{self.name} was made again or has other partitions: it is read from its begin")

    def _find(self) -> Found:
        with Topics(self._arguments, self._limits.answer_seconds) as topics:
            found = topics.find([self.name])
            if self.name not in found:
                raise KafkaError(f"topic {self.name} does not exist; run: {self._want.command}")
        if errors := judge_compacted(self._want, found[self.name]):
            raise KafkaError("; ".join(errors))
        return found[self.name]

    def _bounded(self, work: Callable[[], T], what: str) -> T:
        try:
            return bounded(work, self._limits.hung_seconds, what)
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"{self.name}: {error!r}") from error


class KeyedReader:
    """All partitions from their begin to the end that they had, and on; used by one thread."""

    def __init__(self, client: Callable[[], Any], topic: KeyedTopic, found: Found, limits: Limits) -> None:
        """Errors of the client."""
        self._topic, self._found, self._limits = topic, found, limits
        self._client = client()
        try:
            wait_ms = int(limits.answer_seconds * 1000)
            places = [kafka.TopicPartition(topic.name, number) for number in range(found.partitions)]
            self._client.assign(places)
            begins = self._client.beginning_offsets(places, timeout_ms=wait_ms)
            ends = self._client.end_offsets(places, timeout_ms=wait_ms)
            for place in places:
                self._client.seek(place, begins[place])
        except BaseException:
            self._close()
            raise
        self._left = {place: end for place, end in ends.items() if begins[place] < end}

    @property
    def is_complete(self) -> bool:
        """Whether all that was there at the begin has been given out."""
        return not self._left

    def poll(self, seconds: float) -> Sequence[Keyed]:
        """The next records, in the order of each partition; empty when none came.  Replaced, BusUnavailable."""
        try:
            return bounded(partial(self._poll, seconds), self._limits.hung_seconds, f"read {self._topic.name}")
        except (kafka.errors.OffsetOutOfRangeError, kafka.errors.LogTruncationError) as error:
            raise Replaced(f"{self._topic.name}: {error!r}") from error
        except kafka.errors.KafkaError as error:
            raise BusUnavailable(f"{self._topic.name}: {error!r}") from error

    def check(self) -> None:
        """Whether brokers answer, and the topic is the same: Replaced, KafkaError, BusUnavailable."""
        self._topic.check(self._found)

    def close(self) -> None:
        """At once."""
        with contextlib.suppress(ClientHung):
            bounded(self._close, self._limits.hung_seconds, f"close {self._topic.name}")

    def _poll(self, seconds: float) -> list[Keyed]:
        given = self._client.poll(timeout_ms=int(seconds * 1000))
        records = [Keyed(each.partition, each.offset, each.key, each.value) for some in given.values() for each in some]
        for place, end in list(self._left.items()):
            position = self._client.position(place, timeout_ms=0)
            if position is not None and position >= end:  # what was compacted away is passed over
                del self._left[place]
        return records

    def _close(self) -> None:
        with contextlib.suppress(kafka.errors.KafkaError):
            self._client.close(autocommit=False, timeout_ms=0)


class KeyedWriter:
    """Writes by key, in order, on all replicas in sync; used by one thread.

    While the brokers are away it keeps trying.  After an error it is of no use: what was not acknowledged may or may
    not be in the topic.
    """

    def __init__(self, producer: Any, topic: KeyedTopic, found: Found, limits: Limits) -> None:
        self._producer, self._topic, self._found, self._limits = producer, topic, found, limits
        self._futures: list[Any] = []

    def send(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Hand over (key, value) pairs, some thousands at most; ``settled`` says when they are there."""
        try:
            for key, value in records:
                assert len(key) + len(value or b"") < MAX_MESSAGE_BYTES
                self._futures.append(self._producer.send(self._topic.name, key=key, value=value))
        except (kafka.errors.KafkaError, ValueError) as error:
            raise translate(self._topic.name, error) from error

    def settled(self, seconds: float) -> bool:
        """Whether all is acknowledged, waiting for ``seconds`` at most; Unacknowledged when something never will be."""
        deadline = time.monotonic() + seconds
        while self._futures:
            future = self._futures[-1]  # the others of its partition are in front of it
            if not future.is_done:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.005)
                continue
            if future.failed():
                raise Unacknowledged(f"{self._topic.name}: {future.exception!r}")
            self._futures.pop()
        return True

    def check(self) -> None:
        """As ``KeyedReader.check``."""
        self._topic.check(self._found)

    def close(self) -> None:
        """At once; what is in flight may or may not be in the topic."""
        abandon(self._producer, self._limits.close_seconds)
