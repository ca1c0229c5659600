"""In-memory bus and store for unit tests: the same protocols, no files."""

import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from sinks import ENRICHED_STREAM, RAW_STREAM, Committed, Headers, Message, OffsetGone, Parts, whole


class MemoryBus:
    """Partitions as lists; thread-safe; keeps everything."""

    def __init__(self, partitions: int = 1) -> None:
        self._partitions = partitions
        self._ids: dict[str, str] = defaultdict(lambda: uuid.uuid4().hex)
        self.logs: dict[tuple[str, int], list[Message]] = defaultdict(list)
        self.first: dict[tuple[str, int], int] = defaultdict(int)
        self.cursors: dict[tuple[str, str, int], Committed] = {}
        self.changed = threading.Condition()

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return self._partitions

    def stream_id(self, stream: str) -> str:
        """Identity of this making of the stream."""
        return self._ids[stream]

    def name_streams(self, making: str) -> None:
        """Give the streams the identity of this making, as another bus over the same logs has it."""
        for stream in (RAW_STREAM, ENRICHED_STREAM):
            self._ids[stream] = f"{making} {stream}"

    def producer(self, stream: str) -> "MemoryProducer":
        """Open for appending."""
        return MemoryProducer(self, stream)

    def consumer(self, stream: str, group: str) -> "MemoryConsumer":
        """Open for reading."""
        return MemoryConsumer(self, stream, group)

    def trim(self, stream: str, partition: int, before: int) -> None:
        """Forget the messages below an offset."""
        with self.changed:
            self.first[stream, partition] = max(before, self.first[stream, partition])


class MemoryProducer:
    """Appends to lists."""

    def __init__(self, bus: MemoryBus, stream: str) -> None:
        self._bus, self._stream = bus, stream

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        """Append one message."""
        with self._bus.changed:
            log = self._bus.logs[self._stream, partition]
            log.append(Message(partition, len(log), dict(headers), whole(body)))
            self._bus.changed.notify_all()
            return len(log) - 1

    def compression(self) -> Literal["none"]:
        """Nothing is written."""
        return "none"

    def last(self, partition: int) -> Headers | None:
        """Headers of the newest message."""
        log = self._bus.logs[self._stream, partition]
        return log[-1].headers if log else None

    def close(self) -> None:
        """Nothing to let go."""


class MemoryConsumer:
    """Reads lists."""

    def __init__(self, bus: MemoryBus, stream: str, group: str) -> None:
        self._bus, self._stream, self._group = bus, stream, group
        self._next = {p: self._start(p) for p in range(bus.partitions)}

    def _start(self, partition: int) -> int:
        committed = self.committed(partition)
        return committed.offset if committed else self._bus.first[self._stream, partition]

    def assigned(self) -> Sequence[int]:
        """All partitions."""
        return range(self._bus.partitions)

    def committed(self, partition: int) -> Committed | None:
        """The group's position."""
        return self._bus.cursors.get((self._stream, self._group, partition))

    def seek(self, partition: int, offset: int) -> None:
        """Read from here next."""
        first, end = self.bounds(partition)
        if not first <= offset <= end:
            raise OffsetGone(self._stream, partition, offset, first, end)
        self._next[partition] = offset

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset kept and the end."""
        return self._bus.first[self._stream, partition], len(self._bus.logs[self._stream, partition])

    def end(self, partition: int) -> int:
        """The next offset."""
        return self.bounds(partition)[1]

    def poll(self, max_bytes: int, timeout_seconds: float) -> Sequence[Message]:
        """All that is new."""
        with self._bus.changed:
            self._bus.changed.wait_for(lambda: bool(self._new()), timeout_seconds)
            messages = self._new()
        for message in messages:
            self._next[message.partition] = message.offset + 1
        return messages

    def _new(self) -> list[Message]:
        found: list[Message] = []
        for partition, position in self._next.items():
            first, end = self.bounds(partition)
            if not first <= position <= end:
                raise OffsetGone(self._stream, partition, position, first, end)
            found += self._bus.logs[self._stream, partition][position:]
        return found

    def settle(self) -> None:
        """Memory is as durable as it gets."""

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        """Remember the group's position."""
        self._bus.cursors[self._stream, self._group, partition] = Committed(offset, metadata)

    def close(self) -> None:
        """Nothing to let go."""


class MemoryStore:
    """Remembers inserts and commands, and drops repeated tokens as the engine does."""

    def __init__(self) -> None:
        self.tables: dict[str, list[pa.Table]] = defaultdict(list)
        self.commands: list[tuple[str, str | None]] = []
        self._tokens: set[tuple[str, str]] = set()

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Keep the rows unless the token was seen."""
        if (table, token) not in self._tokens:
            self._tokens.add((table, token))
            self.tables[table].append(rows)

    def command(self, sql: str, *, token: str | None = None) -> None:
        """Remember the command unless the token was seen."""
        if token is None or ("", token) not in self._tokens:
            self._tokens.add(("", token or ""))
            self.commands.append((sql, token))

    def query(self, sql: str, **parameters: object) -> pa.Table:
        """Not a database."""
        raise NotImplementedError("MemoryStore keeps inserts; it does not run SQL")

    def close(self) -> None:
        """Nothing to let go."""
