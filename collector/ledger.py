"""What this process has received and not yet published, in a file that survives its death by SIGKILL.

The file is mapped and shared, so every store is the kernel's at once.  Two threads write, each its own words:

- The reading thread numbers each slab that it begins to fill.  The slab's array of ``struct mmsghdr`` lies in the
  mapping, its lengths preset to a value that no datagram has: whatever ``recvmmsg`` took counts, even when no line of
  Python ran after it.
- The decoding thread describes where it is with one record, written aside and then switched to by one byte, so that
  a kill finds the old or the new one.  Before an append it writes what it intends to publish: with the tail of the
  log the next start knows whether that happened.

Not told is what the kernel itself loses while it kills: a datagram whose copy into the slab was broken off.
"""

import contextlib
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from sinks.segments import write_atomic

log = structlog.get_logger("collector")

_MAGIC = b"FTLEDGR2"
# Native order and alignment throughout: the file never leaves the machine, and 8 octets are stored at once.
_SHAPE = struct.Struct("@8sQQQQ")  # magic, then the words of Shape
_SWITCH = _SHAPE.size  # one byte: which of the two records holds
_QUEUED = _SWITCH + 8  # datagrams a receiver without slabs has put into its queue
_RECORDS = 64  # behind all these
_WORD = struct.Struct("@Q")
_SERIALS = mmap.PAGESIZE
UNTOUCHED = 2**32 - 1
"""Length of a ``struct mmsghdr`` that the kernel has not filled; a datagram has at most 65,535 octets."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Slabs in a ledger; a receiver without slabs has none."""

    slabs: int = 0
    slots: int = 0
    message_bytes: int = 0  # of a struct mmsghdr
    length_at: int = 0  # where in it the kernel writes the length, u32

    @property
    def messages_at(self) -> int:
        """Where in the file the first array begins: behind a page of words and the slabs' serial numbers."""
        return _SERIALS + -(-self.slabs * 8 // mmap.PAGESIZE) * mmap.PAGESIZE

    @property
    def size(self) -> int:
        """Octets of the file."""
        return self.messages_at + self.slabs * self.slots * self.message_bytes


@dataclass(frozen=True, slots=True)
class Losses:
    """What the predecessors lost and nobody has published yet."""

    datagrams: int = 0  # received, never decoded
    rows: int = 0  # decoded, never published
    held_rows: int = 0  # decoded, waiting for their sampler
    held_sets: int = 0  # data sets that waited for their template: their rows are not known
    unreported_rows: int = 0  # dropped for want of room, and no message of flows could say so to the audit
    uncounted_rows: int = 0  # dropped for want of room, and no message of counters could say so

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class _Record:
    """Where the decoding thread is; the order is that of the file."""

    handled: int = 0  # number of the last slab decoded (without slabs: datagrams taken from the queue)
    waiting: int = 0  # flow records walked, not yet in a batch
    batch: int = 0  # rows of batches, not yet accepted or refused by the bus
    held_rows: int = 0
    held_sets: int = 0
    unreported: int = 0  # rows dropped whose number no accepted message of flows carries yet
    uncounted: int = 0  # and no accepted message of counters
    lost: Losses = Losses()
    intent: int = 0  # 0 none, 1 a message of flows, 2 the message that tells the losses
    partition: int = 0
    sequence: int = 0
    rows: int = 0  # of that message
    reports: int = 0  # dropped rows that it tells


_PACKED = struct.Struct("@18Q")
_NONE, _FLOWS, _LOSSES = 0, 1, 2


class Ledger:
    """The mapping; made anew at each start, after what the last one left was read."""

    def __init__(self, memory: mmap.mmap, shape: Shape) -> None:
        self._memory, self.shape = memory, shape
        self._record = _Record()
        self._switch = 0

    @staticmethod
    def anonymous(shape: Shape = Shape()) -> "Ledger":
        """One that dies with the process: for tests and tools."""
        return Ledger(mmap.mmap(-1, shape.size), shape)

    @staticmethod
    def open(path: Path, shape: Shape, published: Callable[[int, int], bool]) -> "Ledger":
        """A fresh ledger; ``lost`` has what the last process that had one lost, until a message has told it.

        ``published`` tells whether the log of a partition has a message of that sequence.  A missing, torn or foreign
        file counts as nothing lost; the latter two are logged.  OSError: there is no room for it.
        """
        losses = _losses_in(path, published)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            os.ftruncate(fd, shape.size)
            # A store into a page the disk has no room for would be a SIGBUS: take the room now.
            with contextlib.suppress(AttributeError):
                os.posix_fallocate(fd, 0, shape.size)
            memory = mmap.mmap(fd, shape.size)
        finally:
            os.close(fd)
        ledger = Ledger(memory, shape)
        _SHAPE.pack_into(memory, 0, _MAGIC, *astuple(shape))
        ledger._write(_Record(lost=losses))
        fresh.rename(path)  # until now the old one tells the same
        return ledger

    # -- the reading thread

    def messages(self, slab: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The array of ``struct mmsghdr`` of one slab, inside the mapping; ``dtype`` has a field ``length``."""
        shape = self.shape
        return np.frombuffer(
            self._memory, dtype, shape.slots, shape.messages_at + slab * shape.slots * shape.message_bytes
        )

    def filling(self, slab: int, serial: int) -> None:
        """A cleared slab is about to be filled; ``serial`` counts slabs from 1 in the order they are read."""
        _WORD.pack_into(self._memory, _SERIALS + 8 * slab, serial)

    def queued(self, datagrams: int) -> None:
        """Of a receiver without slabs: how many datagrams it has put into its queue since its start."""
        _WORD.pack_into(self._memory, _QUEUED, datagrams)

    # -- the decoding thread

    def at(self, handled: int, waiting: int, held_rows: int, held_sets: int, taken: int = 0) -> None:
        """All slabs up to ``handled`` are decoded; so much waits inside the decoder, ``taken`` rows just left it."""
        record = self._record
        self._write(
            replace(record, handled=handled, waiting=waiting, held_rows=held_rows, held_sets=held_sets,
                    batch=record.batch + taken)
        )  # fmt: skip

    def intend(self, partition: int, sequence: int, rows: int, reports: int) -> None:
        """A message of so many rows is about to be appended, which tells of ``reports`` dropped ones."""
        self._write(
            replace(self._record, intent=_FLOWS, partition=partition, sequence=sequence, rows=rows, reports=reports)
        )

    def intend_to_tell(self, partition: int, sequence: int) -> None:
        """The message of counters that holds all losses so far is about to be appended."""
        self._write(replace(self._record, intent=_LOSSES, partition=partition, sequence=sequence, rows=0, reports=0))

    def accepted(self) -> None:
        """The message intended is in the log."""
        self._write(_settled(self._record))

    def refused(self) -> None:
        """It is not and never will be: its rows are dropped, and not yet reported."""
        record = self._record
        rows = record.rows
        self._write(
            replace(
                record,
                intent=_NONE,
                batch=max(record.batch - rows, 0),
                unreported=record.unreported + rows,
                uncounted=record.uncounted + rows,
                rows=0,
                reports=0,
            )
        )

    @property
    def lost(self) -> Losses:
        """What predecessors lost and no accepted message has told."""
        return self._record.lost

    @property
    def to_tell(self) -> bool:
        """Whether the next message of counters tells of a loss."""
        return bool(self._record.lost) or self._record.uncounted > 0

    def _write(self, record: _Record) -> None:
        other = 1 - self._switch
        _PACKED.pack_into(
            self._memory, _RECORDS + other * _PACKED.size,
            record.handled, record.waiting, record.batch, record.held_rows, record.held_sets, record.unreported,
            record.uncounted, *astuple(record.lost),
            record.intent, record.partition, record.sequence, record.rows, record.reports,
        )  # fmt: skip
        self._memory[_SWITCH] = other
        self._record, self._switch = record, other


def _settled(record: _Record) -> _Record:
    """The record once its intent has come true."""
    told = record.intent == _LOSSES
    return replace(
        record, intent=_NONE, lost=Losses() if told else record.lost, uncounted=0 if told else record.uncounted,
        batch=max(record.batch - record.rows, 0),
        unreported=max(record.unreported - record.reports, 0), rows=0, reports=0,
    )  # fmt: skip


def _losses_in(path: Path, published: Callable[[int, int], bool]) -> Losses:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Losses()
    try:
        record, datagrams = _read(data)
    except ValueError as error:
        aside = path.with_name(f"{path.name}.refused")
        write_atomic(aside, data[:4096])
        log.error("ledger refused: what the last process lost is not known", file=str(path), reason=str(error))
        return Losses()
    if record.intent and published(record.partition, record.sequence):
        record = _settled(record)
    losses = record.lost + Losses(
        datagrams, record.waiting + record.batch, record.held_rows, record.held_sets, record.unreported,
        record.uncounted,
    )  # fmt: skip
    if losses:
        log.error("the last process ended without publishing all", **{each.name: getattr(losses, each.name)
                                                             for each in fields(losses)})  # fmt: skip
    return losses


def _read(data: bytes) -> tuple[_Record, int]:
    """The record that holds, and how many datagrams were received and never decoded; ValueError: not a ledger."""
    if len(data) < _SERIALS:
        raise ValueError(f"{len(data)} octets")
    magic, *words = _SHAPE.unpack_from(data)
    shape = Shape(*words)
    if magic != _MAGIC:
        raise ValueError(f"begins with {magic!r}")
    if len(data) != shape.size or (shape.slabs and shape.length_at + 4 > shape.message_bytes):
        raise ValueError(f"{len(data)} octets are not {shape}")
    if data[_SWITCH] > 1:
        raise ValueError(f"record {data[_SWITCH]} of 2")
    told = _PACKED.unpack_from(data, _RECORDS + data[_SWITCH] * _PACKED.size)
    values: tuple[Any, ...] = (*told[:7], Losses(*told[7:13]), *told[13:])
    record = _Record(*values)
    if not shape.slabs:
        (queued,) = _WORD.unpack_from(data, _QUEUED)
        return record, max(queued - record.handled, 0)
    serials = np.frombuffer(data, "u8", shape.slabs, _SERIALS)
    message = np.dtype(
        {"names": ["length"], "formats": ["u4"], "offsets": [shape.length_at], "itemsize": shape.message_bytes}
    )
    lengths = np.frombuffer(data, message, shape.slabs * shape.slots, shape.messages_at)["length"]
    filled = lengths.reshape(shape.slabs, shape.slots) != UNTOUCHED
    return record, int(filled[serials > record.handled].sum())
