"""The bus on local files: append-only segments, one folder a partition; also the outage buffer of Kafka.

Layout below the spool's folder: ``spool.json`` (partitions and the streams' ids, fixed at the first start),
``<stream>/<partition>/<base offset>.log``, ``cursors/<group>/<stream>-<partition>.json``.  A message is accepted once
the kernel has it, which survives the death of any process, and is flushed to the disk every ``sync_seconds``.
"""

import contextlib
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import structlog

from sinks import (
    ENRICHED_STREAM,
    RAW_STREAM,
    BusFull,
    Committed,
    Encoded,
    Headers,
    Message,
    OffsetGone,
    Parts,
    segments,
)
from sinks.hand_over import Handed, HandOver, Place
from sinks.ownership import Ownership
from sinks.settings import BusSettings
from sinks.spool_log import Cursor, Tail
from sinks.spool_log import SpoolError as SpoolError

log = structlog.get_logger("sinks.spool")

_POLL_SECONDS = 0.02  # another process appends: there is nothing to wait on but the file's size
_SEGMENTS = 8  # at least so many fill the bound: only whole segments are trimmed
_MEASURE_SECONDS = 1.0  # how often a full stream looks whether somebody trimmed it


class Spool:
    """A bus in a folder; several processes may open it, each stream has one producer at a time."""

    def __init__(
        self, folder: Path, settings: BusSettings, streams: Sequence[str] = (RAW_STREAM, ENRICHED_STREAM)
    ) -> None:
        """Make the folder at the first start; SpoolError when it was made with other partitions.

        ``streams`` are those that will be written: each may fill its share of ``bus.max_bytes``.
        """
        self.folder, self.settings = folder, settings
        # Were the raw stream allowed to fill all, nothing could be enriched to make room again.
        self.bound = settings.max_bytes // len(streams)
        self.segment_bytes = min(settings.segment_bytes, self.bound // _SEGMENTS)
        folder.mkdir(parents=True, exist_ok=True)
        about = folder / "spool.json"
        if not about.exists():
            ids = {stream: uuid.uuid4().hex for stream in (RAW_STREAM, ENRICHED_STREAM)}
            text = json.dumps({"partitions": settings.partitions, "streams": ids})
            segments.write_once(about, text.encode())  # two processes start at once, and both must have the same ids
        facts = json.loads(about.read_bytes())
        self._partitions: int = facts["partitions"]
        self._ids: dict[str, str] = facts["streams"]
        if self._partitions != settings.partitions:
            raise SpoolError(
                f"{folder} was made with {self._partitions} partitions, the settings say {settings.partitions}: "
                f"set bus.partitions = {self._partitions}, or drain the spool and move it away"
            )
        self.hand_overs: dict[str, HandOver] = {}
        for stream in self._ids:
            for partition in range(self._partitions):
                self.log_folder(stream, partition).mkdir(parents=True, exist_ok=True)

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return self._partitions

    def stream_id(self, stream: str) -> str:
        """Identity of this making of the stream."""
        return self._ids[stream]

    def hand_over(self, stream: str) -> None:
        """From now on who reads the stream here gets ``Message.rows`` of what is written here, without the log."""
        self.hand_overs.setdefault(stream, HandOver())

    def log_folder(self, stream: str, partition: int) -> Path:
        """Where a partition's segments are."""
        return self.folder / stream / str(partition)

    def producer(self, stream: str) -> "SpoolProducer":
        """Open for appending; AlreadyOwned when another process does."""
        return SpoolProducer(self, stream)

    def consumer(self, stream: str, group: str) -> "SpoolConsumer":
        """Open for reading."""
        return SpoolConsumer(self, stream, group)

    def octets(self, stream: str, partition: int) -> int:
        """What a partition's segments take on the disk, with what only waits to be trimmed."""
        total = 0
        for entry in os.scandir(self.log_folder(stream, partition)):
            with contextlib.suppress(FileNotFoundError):  # trimmed meanwhile
                total += entry.stat().st_size
        return total

    def trim(self, stream: str, partition: int, before: int) -> None:
        """Delete the segments all of whose messages are below ``before``; the newest always stays."""
        folder = self.log_folder(stream, partition)
        found = segments.bases(folder)
        for base, following in itertools.pairwise(found):
            if following <= before:
                segments.path_of(folder, base).unlink(missing_ok=True)


class SpoolProducer:
    """Appends to one stream; its lock names the owner to a second one."""

    def __init__(self, spool: Spool, stream: str) -> None:
        self._spool, self._stream = spool, stream
        self._owner = Ownership(spool.folder / stream, "writer")
        self._tails = [Tail(spool.log_folder(stream, partition)) for partition in range(spool.partitions)]
        self._lock = threading.Lock()
        self._bound = spool.bound
        # Each partition's newest segment is there however fast the readers are.
        self._crowded = min(spool.bound // 8 + spool.partitions * spool.segment_bytes, spool.bound // 2)
        self._bytes, self._measured = self._measure(), time.monotonic()
        self._stop = threading.Event()
        self._syncer = threading.Thread(target=self._sync_often, name=f"sync {stream}", daemon=True)
        self._syncer.start()

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        """Append one message; BusFull when the bound is reached or the disk is full."""
        parts = [body] if isinstance(body, bytes) else body
        octets = sum(map(len, parts))
        with self._lock:
            if self._bytes + octets > self._bound and not self._has_room(octets):
                raise BusFull(f"{self._stream}: {self._bytes} of {self._bound} bytes in use (setting bus.max_bytes)")
            tail = self._tails[partition]
            offset = tail.end
            try:
                size = tail.append(headers, parts, self._spool.segment_bytes)
            except OSError as error:
                self._let_trim(tail)
                raise BusFull(f"{self._stream}: {error}") from error
            self._bytes += size
            hand_over = self._spool.hand_overs.get(self._stream)
            if hand_over is not None and isinstance(body, Encoded):
                place = Place(offset, tail.base, tail.size - size)
                hand_over.offer(partition, Handed(place, tail.size, headers, body.rows))
            return offset

    def compression(self) -> Literal["none", "lz4"]:
        """None while readers keep up; what waits longer is made smaller, so that the bound holds more of an outage."""
        now = time.monotonic()
        if now - self._measured >= _MEASURE_SECONDS:
            with self._lock:
                self._bytes, self._measured = self._measure(), now
        return "lz4" if self._bytes > self._crowded else "none"

    def last(self, partition: int) -> Headers | None:
        """Headers of the newest message, even when its body is trimmed."""
        return self._tails[partition].last

    def close(self) -> None:
        """Flush to the disk and let the stream go."""
        self._stop.set()
        self._syncer.join()
        self._sync()
        with self._lock:
            for tail in self._tails:
                os.close(tail.fd)
        self._owner.close()

    def _let_trim(self, tail: Tail) -> None:
        """The disk is full: only a closed segment can be deleted, so the one being written is closed."""
        if not tail.empty:
            with contextlib.suppress(OSError):  # not even room for an empty file: tried again with the next message
                tail.roll()

    def _has_room(self, wanted: int) -> bool:
        now = time.monotonic()
        if now - self._measured >= _MEASURE_SECONDS:
            self._bytes, self._measured = self._measure(), now
        return self._bytes + wanted <= self._bound

    def _measure(self) -> int:
        return sum(self._spool.octets(self._stream, partition) for partition in range(len(self._tails)))

    def _sync_often(self) -> None:
        while not self._stop.wait(self._spool.settings.sync_seconds):
            self._sync()

    def _sync(self) -> None:
        with self._lock:
            dirty = [os.dup(tail.fd) for tail in self._tails if tail.dirty]
            for tail in self._tails:
                tail.dirty = False
        for fd in dirty:  # without the lock: a slow disk must not hold up publishing
            try:
                os.fsync(fd)
            except OSError as error:  # the kernel has told it once and forgets it: said, and counted on to be seen
                log.error("messages may not survive a power cut", stream=self._stream, reason=str(error))
            finally:
                os.close(fd)


class SpoolConsumer:
    """Reads one stream for one group; the group's position is a file."""

    def __init__(self, spool: Spool, stream: str, group: str) -> None:
        self._stream = stream
        self._cursors_folder = spool.folder / "cursors" / group
        self._cursors_folder.mkdir(parents=True, exist_ok=True)
        self._logs: list[Cursor] = []
        for partition in range(spool.partitions):
            committed = None
            with contextlib.suppress(SpoolError):  # told to whoever asks for the position
                committed = self.committed(partition)
            cursor = Cursor(stream, partition, spool.log_folder(stream, partition), 0, spool.hand_overs.get(stream))
            cursor.offset = committed.offset if committed else cursor.bounds()[0]
            self._logs.append(cursor)
        self._turn = 0
        self._hand_over = spool.hand_overs.get(stream)
        if self._hand_over is not None:
            self._hand_over.open()

    def assigned(self) -> Sequence[int]:
        """All partitions: a spool has one member a group."""
        return range(len(self._logs))

    def committed(self, partition: int) -> Committed | None:
        """The group's position and metadata."""
        try:
            value = json.loads(self._cursor_path(partition).read_bytes())
            return Committed(int(value["offset"]), str(value["metadata"]))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            # Replaced by a rename, so only a damaged disk does this.  None would begin at the first message, silently.
            raise SpoolError(
                f"{self._cursor_path(partition)} is damaged ({error}): restore it from a copy, or delete it to read "
                "again all that is left"
            ) from error

    def seek(self, partition: int, offset: int) -> None:
        """Read from here next."""
        self._logs[partition].seek(offset)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset still there, and the next one to be written."""
        return self._logs[partition].bounds()

    def end(self, partition: int) -> int:
        """The next offset to be written."""
        return self._logs[partition].bounds()[1]

    def poll(self, max_bytes: int, timeout_seconds: float) -> Sequence[Message]:
        """Messages of all partitions in turn, until ``max_bytes`` are reached or nothing more is there."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            messages = self._read(max_bytes)
            left = deadline - time.monotonic()
            if messages or left <= 0:
                return messages
            time.sleep(min(_POLL_SECONDS, left))

    def settle(self) -> None:
        """Flush the segments that were read."""
        for cursor in self._logs:
            cursor.settle()

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        """Replace the position's file."""
        data = json.dumps({"offset": offset, "metadata": metadata}).encode()
        segments.write_atomic(self._cursor_path(partition), data)

    def close(self) -> None:
        """Close the files."""
        for cursor in self._logs:
            cursor.close()
        if self._hand_over is not None:
            self._hand_over.close()

    def _read(self, max_bytes: int) -> list[Message]:
        messages: list[Message] = []
        size, idle = 0, 0
        while size < max_bytes and idle < len(self._logs):
            try:
                message = self._logs[self._turn].read()
            except OffsetGone:
                if messages:  # what was read counts; the next poll says it again
                    break
                raise
            self._turn = (self._turn + 1) % len(self._logs)
            if message is None:
                idle += 1
                continue
            idle = 0
            messages.append(message)
            size += len(message.body) if message.rows is None else message.rows.nbytes
        return messages

    def _cursor_path(self, partition: int) -> Path:
        return self._cursors_folder / f"{self._stream}-{partition}.json"
