"""The newest messages of a stream, from their writer to a reader in the same process.

The log stays the authority: a message is offered once it is appended, with its place there, and a reader that stands
exactly at that place goes on behind it without reading, checking and decoding what this process has just written.
Whatever is not here any more, or never was, is read from the log.
"""

import threading
from collections import deque
from dataclasses import dataclass

import pyarrow as pa

from sinks import Headers

MOST_BYTES = 192 << 20
"""About four messages of half a million rows, so two partitions' inserts may be one message behind."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message lies in its partition's log."""

    offset: int
    segment: int  # offset of the segment's first message
    at: int  # position of its frame in the segment's file


@dataclass(frozen=True, slots=True)
class Handed:
    """One message."""

    place: Place
    end: int  # position behind its frame
    headers: Headers
    rows: pa.RecordBatch


class HandOver:
    """Of one stream; thread-safe."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Beyond ``most_bytes`` the oldest are forgotten."""
        self._most = most_bytes
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Handed]] = deque()  # with their partitions, oldest first
        self._bytes = 0
        self._readers = 0

    def open(self) -> None:
        """Somebody reads: messages are kept from now on."""
        with self._lock:
            self._readers += 1

    def close(self) -> None:
        """One reader less; nothing is kept for nobody."""
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._kept.clear()
                self._bytes = 0

    def offer(self, partition: int, handed: Handed) -> None:
        """Keep a message that was appended."""
        with self._lock:
            if not self._readers:
                return
            self._kept.append((partition, handed))
            self._bytes += handed.rows.nbytes
            while self._bytes > self._most:
                self._bytes -= self._kept.popleft()[1].rows.nbytes

    def take(self, partition: int, place: Place) -> Handed | None:
        """The message that lies there, once; what is before it in its partition is forgotten."""
        found: Handed | None = None
        with self._lock:
            if any(of == partition and each.place.offset <= place.offset for of, each in self._kept):
                kept, self._kept = self._kept, deque()
                for of, each in kept:
                    if of != partition or each.place.offset > place.offset:
                        self._kept.append((of, each))
                        continue
                    self._bytes -= each.rows.nbytes
                    if each.place == place:
                        found = each
        return found
