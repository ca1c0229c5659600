"""Reading a topic as a member of a group: a thread of its own keeps polling, whatever the service does meanwhile."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import kafka
import kafka.errors
import structlog

from sinks import BusUnavailable, Committed, GenerationLost, Message, OffsetGone, metrics
from sinks.kafka_client import ClientHung, KafkaError, Limits, MemberTaken, bounded
from sinks.kafka_producer import read_headers, size_of
from sinks.kafka_tasks import Tasks
from sinks.telemetry import limited

log = structlog.get_logger("sinks.kafka")

_IDLE_SECONDS = 0.04  # nothing arrived: how long until the client is asked again (2 % of a core; at 10 ms 7.5 %)
_FORMING_MS = 100  # without partitions there is nothing to be late for
_METADATA_SECONDS = 0.01
_RETRY_SECONDS = 0.5
_GENERATION_ERRORS = (
    kafka.errors.CommitFailedError,
    kafka.errors.RebalanceInProgressError,
    kafka.errors.IllegalGenerationError,
    kafka.errors.UnknownMemberIdError,
)
T = TypeVar("T")


class _Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the reader what the group decided; called on the client's network thread."""

    def __init__(self, reader: "KafkaConsumer", client: Any) -> None:
        self._reader, self._client = reader, client

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._reader._taken(self._client)

    def on_partitions_assigned(self, assigned: Any) -> None:
        # Without a position the client would look one up, and fail where none was committed; paused, it never reads
        # from this one.
        for place in assigned:
            self._client.seek(place, 0)
            self._client.pause(place)
        self._reader._given_out(self._client, sorted(place.partition for place in assigned))


class KafkaConsumer:
    """One member of one group; used by one thread beside its own."""

    def __init__(
        self,
        connect: Callable[[], Any],
        topic: str,
        group: str,
        partitions: int,
        stream_id: Callable[[str | None], str],
        limits: Limits,
    ) -> None:
        """``stream_id(seen)`` is the topic's identity; given another one, the bus asks the broker again."""
        self._connect, self._topic, self._group, self._limits = connect, topic, group, limits
        self._partitions, self._stream_id = partitions, stream_id
        self._changed = threading.Condition()
        # Thrice: the thread may be in the middle of another request of the same bound.
        self._tasks = Tasks(topic, 3 * limits.answer_seconds)
        self._buffer: deque[Message | OffsetGone] = deque()
        self._buffered = 0
        self._epoch = 0  # grows whenever partitions are given out or taken
        self._seen = 0  # the epoch that the service works in
        self._given: Sequence[int] = ()
        self._sought: set[int] = set()
        self._ends: dict[int, int] = {}
        self._next: dict[int, int] = {}  # the next offset that the service gets
        self._refused: Exception | None = None
        self._stopping = False
        self._client: Any = None
        self._identity: str | None = None
        self._full = False
        self._turned = time.monotonic()  # when the client's thread last came round
        self._thread = threading.Thread(target=self._run, name=f"kafka {topic} {group}", daemon=True)
        self._thread.start()

    # -- called by the service's thread

    def assigned(self) -> Sequence[int]:
        """The partitions of this generation; KafkaError or MemberTaken when there can be none."""
        with self._changed:
            if self._refused is not None:
                raise self._refused
            self._seen = self._epoch
            return self._given

    def committed(self, partition: int) -> Committed | None:
        """The group's position and metadata; BusUnavailable."""
        place = self._place(partition)
        found = self._ask(lambda client: client.committed(place, metadata=True, timeout_ms=self._wait_ms))
        return None if found is None else Committed(int(found.offset), str(found.metadata or ""))

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset still there, and the end; BusUnavailable."""
        return self._ask(lambda client: self._bounds(client, partition))

    def end(self, partition: int) -> int:
        """The end as of the last answer; GenerationLost."""
        with self._changed:
            self._check()
            return self._ends.get(partition, 0)

    def seek(self, partition: int, offset: int) -> None:
        """Read from here next; OffsetGone outside of the log."""
        self._ask(lambda client: self._seek(client, partition, offset))

    def poll(self, max_bytes: int, timeout_seconds: float) -> Sequence[Message]:
        """What was read ahead; GenerationLost, OffsetGone."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                self._check()
                if self._buffer:
                    return self._take(max_bytes)
                left = deadline - time.monotonic()
                if left <= 0:
                    return ()
                self._changed.wait(left)

    def settle(self) -> None:
        """Nothing to do: what a broker gives out is on all replicas in sync."""

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        """Durable when it returns; GenerationLost also when nobody knows whether it is."""
        place = self._place(partition)
        offsets = {place: kafka.OffsetAndMetadata(offset, metadata, -1)}

        def work(client: Any) -> None:
            try:
                client.commit(offsets, timeout_ms=self._wait_ms)
            except _GENERATION_ERRORS as error:
                raise self._lose(f"{place}: {error!r}") from error
            except kafka.errors.FencedInstanceIdError as error:
                raise self._fenced() from error
            except kafka.errors.KafkaTimeoutError as error:
                # It may still arrive, after a later one even: only a new membership makes it void.
                self._disconnect()
                raise self._lose(f"{place}: the commit was not answered") from error

        self._ask(work)

    def close(self) -> None:
        """Leave the group (a static member keeps its place) and end the thread."""
        self._stopping = True
        self._tasks.asked.set()
        self._thread.join(2 * self._limits.close_seconds)  # in the middle of a request it ends later, by itself

    # -- called by the client's threads

    def _taken(self, client: Any) -> None:
        with self._changed:
            if client is self._client and self._given:
                metrics.KAFKA_REBALANCES.labels(self._topic).inc()
                self._change(())

    def _given_out(self, client: Any, partitions: Sequence[int]) -> None:
        with self._changed:
            if client is self._client:
                self._change(tuple(partitions))

    def _change(self, partitions: Sequence[int]) -> None:
        with self._changed:
            self._epoch += 1
            self._given = partitions
            self._sought.clear()
            self._buffer.clear()
            self._buffered, self._full = 0, False
            self._ends = {partition: end for partition, end in self._ends.items() if partition in partitions}
            self._changed.notify_all()

    # -- the client's thread

    def _run(self) -> None:
        while not self._stopping:
            self._turned = time.monotonic()
            try:
                self._turn()
            except kafka.errors.FencedInstanceIdError:
                self._fenced()
            except kafka.errors.KafkaError as error:
                limited(log.error, f"poll {self._topic}", "kafka does not answer as it should", topic=self._topic,
                        error=repr(error))  # fmt: skip
                self._tasks.pause(_RETRY_SECONDS)
            except Exception as error:  # this thread's end would be a silent stop of the stream
                log.error("kafka reader begins again", topic=self._topic, error=repr(error), exc_info=True)
                self._disconnect()
                self._tasks.pause(_RETRY_SECONDS)
        self._disconnect()
        self._tasks.fail("the reader is closed")

    def _turn(self) -> None:
        if self._refused is not None:
            self._tasks.fail(str(self._refused))
            self._tasks.pause(_RETRY_SECONDS)
            return
        if self._client is None and not self._reconnect():
            self._tasks.fail("no broker answers")
            self._tasks.pause(_RETRY_SECONDS)
            return
        while self._tasks.do_one(self._client, lambda: self._epoch):
            self._turned = time.monotonic()
            if self._client is None:
                return
        client = self._client
        self._press(client)
        read = self._read(client)
        self._check_topic(client)
        if not read:
            self._tasks.pause(_IDLE_SECONDS)

    def _reconnect(self) -> bool:
        try:
            client = self._connect()
        except kafka.errors.KafkaError as error:
            limited(log.warning, f"connect {self._topic}", "no broker answers", error=repr(error))
            return False
        try:
            self._identity = self._stream_id(None)
        except BusUnavailable as error:
            client.close(autocommit=False, timeout_ms=0)
            limited(log.warning, f"connect {self._topic}", "no broker answers", error=str(error))
            return False
        self._client = client
        client.subscribe([self._topic], listener=_Listener(self, client))
        # Joined before it knows the topic, a leader gives out nothing, and may not notice when the answer comes.
        deadline = time.monotonic() + self._limits.answer_seconds
        while (
            not client._cluster.partitions_for_topic(self._topic) and time.monotonic() < deadline and not self._stopping
        ):
            time.sleep(_METADATA_SECONDS)
        return True

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._change(())
        try:
            work = partial(client.close, autocommit=False, timeout_ms=int(self._limits.close_seconds * 1000))
            bounded(work, self._limits.hung_seconds, f"close {self._topic}")
        except Exception as error:  # it is gone either way
            log.warning("a kafka consumer did not close", topic=self._topic, error=repr(error))

    def _read(self, client: Any) -> int:
        """Move what the client has into the buffer; returns the number of messages."""
        wait = 0 if self._given else _FORMING_MS
        try:
            found = client.poll(timeout_ms=wait)
        except kafka.errors.OffsetOutOfRangeError as error:
            self._gone(client, error.args[0])
            return 1
        except kafka.errors.LogTruncationError as error:
            self._gone(client, {place: self._next.get(place.partition, 0) for place in error.divergent_offsets})
            return 1
        count = 0
        with self._changed:
            for place, records in found.items():
                for record in records:
                    headers = read_headers(record.headers)
                    body = record.value or b""
                    self._buffer.append(Message(place.partition, record.offset, headers, body))
                    self._buffered += size_of(headers, body)
                    count += 1
            for partition in self._sought:
                end = client.highwater(self._place(partition))
                if end is not None:
                    self._ends[partition] = end
                    lag = metrics.KAFKA_LAG.labels(self._group, str(partition))
                    lag.set(max(0, end - self._next.get(partition, end)))
            if count:
                self._changed.notify_all()
        return count

    def _gone(self, client: Any, offsets: dict[Any, int]) -> None:
        for place, offset in offsets.items():
            first, end = self._bounds(client, place.partition)
            client.pause(place)
            client.seek(place, first)
            with self._changed:
                self._sought.discard(place.partition)
                self._buffer.append(OffsetGone(self._topic, place.partition, offset, first, end))
                self._changed.notify_all()

    def _press(self, client: Any) -> None:
        """Stop reading while the buffer is full; half empty, go on."""
        if not self._full and self._buffered >= self._limits.buffer_bytes:
            self._full = True
            client.pause(*(self._place(partition) for partition in self._sought))
        elif self._full and self._buffered <= self._limits.buffer_bytes // 2:
            self._full = False
            client.resume(*(self._place(partition) for partition in self._sought))

    def _seek(self, client: Any, partition: int, offset: int) -> None:
        first, end = self._bounds(client, partition)
        if not first <= offset <= end:
            raise OffsetGone(self._topic, partition, offset, first, end)
        place = self._place(partition)
        client.seek(place, offset)
        with self._changed:
            kept = [item for item in self._buffer if item.partition != partition]
            self._buffer = deque(kept)
            self._buffered = sum(size_of(item.headers, bytes(item.body)) for item in kept if isinstance(item, Message))
            self._sought.add(partition)
            self._next[partition] = offset
        if not self._full:
            client.resume(place)

    def _bounds(self, client: Any, partition: int) -> tuple[int, int]:
        place = self._place(partition)
        first = int(client.beginning_offsets([place], timeout_ms=self._wait_ms)[place])
        end = int(client.end_offsets([place], timeout_ms=self._wait_ms)[place])
        self._ends[partition] = end
        return first, end

    def _check_topic(self, client: Any) -> None:
        """A topic made again, or with other partitions, is another log: old positions mean nothing in it."""
        known = client._cluster.topic_id(self._topic)
        if known is not None and known.hex != self._identity:
            log.error("the topic was made again", topic=self._topic, before=self._identity, now=known.hex)
            self._disconnect()
            self._stream_id(known.hex)
            return
        found = client._cluster.partitions_for_topic(self._topic)  # the public one asks the brokers, without a bound
        if found is not None and len(found) != self._partitions:
            self._refused = KafkaError(
                f"{self._topic} has {len(found)} partitions, the settings say {self._partitions}: drain both topics, "
                f"give both the same number, and set bus.partitions to it"
            )
            self._disconnect()

    def _lose(self, text: str) -> GenerationLost:
        metrics.KAFKA_LOST_GENERATIONS.labels(self._topic).inc()
        self._change(())
        return GenerationLost(text)

    def _fenced(self) -> MemberTaken:
        taken = MemberTaken(f"{self._topic}: another process is this member of the group {self._group}; stop one")
        self._refused = taken
        self._disconnect()
        return taken

    # -- both

    def _check(self) -> None:
        if self._refused is not None:
            raise GenerationLost(str(self._refused))
        if self._seen != self._epoch:
            raise GenerationLost(f"{self._topic}: the partitions were given out anew")
        if (silent := time.monotonic() - self._turned) > self._limits.hung_seconds:
            raise ClientHung(f"{self._topic}: the client has not come back for {silent:.0f} s")

    def _take(self, max_bytes: int) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while self._buffer and size < max_bytes:
            item = self._buffer[0]
            if isinstance(item, OffsetGone):
                if messages:  # what was read counts; the next poll says it
                    break
                self._buffer.popleft()
                raise item
            self._buffer.popleft()
            messages.append(item)
            self._next[item.partition] = item.offset + 1
            size += size_of(item.headers, bytes(item.body))
        self._buffered -= size
        if self._full:
            self._tasks.asked.set()
        return messages

    def _ask(self, work: Callable[[Any], T]) -> T:
        with self._changed:
            self._check()
            epoch = self._seen
        return self._tasks.ask(work, epoch)

    def _place(self, partition: int) -> Any:
        return kafka.TopicPartition(self._topic, partition)

    @property
    def _wait_ms(self) -> int:
        return int(self._limits.answer_seconds * 1000)
