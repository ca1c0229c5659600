"""The bottom layer: all by which data leaves a process.

``schema`` is the one table of columns, ``codec`` turns a batch into the bytes of a bus message and back.  ``spool``
(local files) is the bus, ``embedded`` (the engine in process) the store; ``memory`` has both for tests.  ``service``
moves enriched messages from bus to store, one message one insert; ``rollups`` makes the narrow tables from raw.  This
file holds the protocols at the two seams, behind which Kafka and a ClickHouse server fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import pyarrow as pa

RAW_STREAM = "flows.raw"
ENRICHED_STREAM = "flows.enriched"

Headers = Mapping[str, str]
Parts = Sequence[bytes | memoryview]
"""A body in pieces that need not lie together."""


class Encoded(list[bytes | memoryview]):
    """A body in pieces, with the rows that it is: a reader in the same process need not decode them again."""

    def __init__(self, parts: Parts, rows: pa.RecordBatch) -> None:
        super().__init__(parts)
        self.rows = rows


def whole(body: bytes | Parts) -> bytes:
    """A body in one piece."""
    return body if isinstance(body, bytes) else b"".join(body)


@dataclass(frozen=True, slots=True)
class Message:
    """One immutable entry of a partition's log; offsets are dense and start at 0."""

    partition: int
    offset: int
    headers: Headers
    body: bytes | memoryview
    rows: pa.RecordBatch | None = None  # in place of the body, which is empty then: its writer is in this process


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group last committed for a partition: the next offset to read, and its metadata."""

    offset: int
    metadata: str


class BusFull(Exception):  # noqa: N818 - a state, told by its name
    """The stream's bound is reached; nothing was published, the caller counts what it drops."""


class OffsetGone(Exception):  # noqa: N818
    """The offset sought is not in the log (any more); ``first`` and ``end`` are the log's bounds."""

    def __init__(self, stream: str, partition: int, offset: int, first: int, end: int) -> None:
        super().__init__(f"{stream}/{partition}: offset {offset} is not in [{first}, {end})")
        self.partition, self.offset, self.first, self.end = partition, offset, first, end


class GenerationLost(Exception):  # noqa: N818
    """The partitions were given out anew: drop all buffers and positions, ask ``assigned`` and begin again."""


class Unacknowledged(Exception):  # noqa: N818
    """Whether the message is in the log is not known: drop all buffers and positions, begin again from its tail."""


class BusUnavailable(Exception):  # noqa: N818
    """The bus does not answer; nothing was changed, the same call may succeed later."""


class MessageRefused(Exception):  # noqa: N818
    """The bus never takes this message, for what it is; nothing was published."""


class Producer(Protocol):
    """Appends to one stream; one producer a stream and partition at a time."""

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        """Append and return the message's offset once the bus has accepted it; of ``body`` nothing is kept.

        BusFull when there is no room and nothing was appended; Unacknowledged when nobody knows.
        """
        ...

    def compression(self) -> Literal["none", "lz4", "zstd"]:
        """What suits the body of a message appended now, unless the operator has chosen."""
        ...

    def last(self, partition: int) -> Headers | None:
        """Headers of the newest message of the log, kept although its body may have expired; None: never any."""
        ...

    def close(self) -> None:
        """Make durable what was accepted and let the stream go."""
        ...


class Consumer(Protocol):
    """Reads one stream for one group; used by one thread."""

    def assigned(self) -> Sequence[int]:
        """The partitions this member has now, none while the group is being formed.

        Begins a generation: when they are given out anew, every other call raises GenerationLost until this is asked
        again.  Until a partition is sought, ``poll`` gives nothing of it.
        """
        ...

    def committed(self, partition: int) -> Committed | None:
        """The group's position and metadata; None: never committed."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read from here next; OffsetGone when the log does not reach there."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset still there, and the offset the next message will get."""
        ...

    def end(self, partition: int) -> int:
        """The offset the next message will get, as far as is known without asking: for lag, not for decisions."""
        ...

    def poll(self, max_bytes: int, timeout_seconds: float) -> Sequence[Message]:
        """Next messages of the assigned partitions, in order within each; empty after the timeout."""
        ...

    def settle(self) -> None:
        """Make sure that what was polled survives a power cut, before anything is built on it."""
        ...

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        """Durable when it returns; GenerationLost when the partition is no longer ours."""
        ...

    def close(self) -> None:
        """Let the partitions go; commits nothing."""
        ...


class Bus(Protocol):
    """Streams of partitions."""

    @property
    def partitions(self) -> int:
        """The number of partitions; the same for both streams."""
        ...

    def stream_id(self, stream: str) -> str:
        """Identity of this making of the stream: a stream made again has another, so old tokens do not match."""
        ...

    def producer(self, stream: str) -> Producer:
        """Open the stream for appending."""
        ...

    def consumer(self, stream: str, group: str) -> Consumer:
        """Open the stream for reading; positions start at the group's committed offset, else at the first."""
        ...

    def trim(self, stream: str, partition: int, before: int) -> None:
        """Nobody needs the messages below this offset any more."""
        ...


class StoreUnavailable(Exception):  # noqa: N818
    """The store does not answer or has no room: the same insert may succeed later."""


class StoreRefused(Exception):  # noqa: N818
    """The store refuses this insert or query for what it is; ``code`` is ClickHouse's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Store(Protocol):
    """ClickHouse, however it is reached."""

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Return once the rows are stored as one block; the same token again changes nothing."""
        ...

    def command(self, sql: str, *, token: str | None = None) -> None:
        """Run DDL, or an INSERT SELECT as one block under its token."""
        ...

    def query(self, sql: str, **parameters: object) -> pa.Table:
        """Rows of a SELECT; ``parameters`` fill ``{name:Type}``."""
        ...

    def close(self) -> None:
        """Let the store go."""
        ...
