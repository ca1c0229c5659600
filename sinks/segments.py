"""Segment files of the spool: frames of one partition's log, each with its length and checksum.

A segment is named by the offset of its first message.  It begins with a head frame that repeats the headers of the
message before it, so the log's tail is known even when all older segments are gone.  All integers are little-endian:
``length u32, checksum u32`` of what follows: ``offset u64, header bytes u32, headers (JSON), body``.  The checksum is
CRC-32C where the length's highest bit is set, which processors compute ten times faster; else CRC-32, as it was written
before.  Headers are filled up with blanks, so that the body begins at an address that arrays of 8 octets may have.
"""

import contextlib
import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

from sinks import Headers, Parts

_FRAME = struct.Struct("<II")
_INNER = struct.Struct("<QI")
_HEAD_OFFSET = 2**64 - 1  # offset of a head frame: no message ever has it
_CASTAGNOLI = 1 << 31  # in a frame's length: which checksum it has
_MOST_DAMAGED = 64  # messages in a row that damage may cover and what is behind them is still found
_ALIGNED = 16  # octets: as memory that Python allocates
MAX_FRAME_BYTES = 256 << 20  # 500 k rows uncompressed are 100 MB; a larger length is damage, not data


class TornFrame(Exception):  # noqa: N818
    """The bytes here are not a whole frame: the write was cut off, or the file is damaged."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message in a segment; ``end`` is the file position behind it."""

    offset: int
    headers: Headers
    body: memoryview
    end: int


def path_of(folder: Path, base: int) -> Path:
    """The file of the segment whose first message has this offset."""
    return folder / f"{base:020d}.log"


def bases(folder: Path) -> list[int]:
    """First offsets of the segments in a folder, ascending."""
    return sorted(int(entry.name[:20]) for entry in folder.iterdir() if entry.name.endswith(".log"))


def create(folder: Path, base: int, last: Headers | None) -> int:
    """Make a segment that no reader ever sees without its head, and return a descriptor for appending."""
    temporary = folder / f"{base:020d}.new"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
    head = json.dumps({"base": base, "last": dict(last) if last is not None else None}).encode()
    try:
        _write_all(fd, b"".join(_frame(_HEAD_OFFSET, b"{}", [head])))
        os.fsync(fd)
        temporary.rename(path_of(folder, base))
    except OSError:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return fd


def append(fd: int, offset: int, headers: Headers, body: Parts, mark: int) -> int:
    """Write one frame at the end and return its size; OSError leaves the file as it was."""
    parts = _frame(offset, json.dumps(dict(headers)).encode(), body, mark)
    size = sum(len(part) for part in parts)
    start = os.lseek(fd, 0, os.SEEK_END)
    try:
        written = os.writev(fd, parts)
        if written != size:  # the disk is full: the rest would fail, so the whole frame goes
            raise OSError(errno.ENOSPC, "no space left for a message of the bus")
    except OSError:
        os.ftruncate(fd, start)
        raise
    return size


def read(fd: int, at: int) -> Frame | None:
    """The frame at a file position; None: the file ends here; TornFrame: no whole frame is here (yet)."""
    head = os.pread(fd, _FRAME.size, at)
    if not head:
        return None
    if len(head) < _FRAME.size:
        raise TornFrame(f"{len(head)} bytes at {at}")
    marked, crc = _FRAME.unpack(head)
    length = marked & ~_CASTAGNOLI
    if not _INNER.size <= length <= MAX_FRAME_BYTES:
        raise TornFrame(f"length {length} at {at}")
    inner = os.pread(fd, length, at + _FRAME.size)
    if len(inner) < length or (crc32c(inner) if marked & _CASTAGNOLI else zlib.crc32(inner)) != crc:
        raise TornFrame(f"frame of {length} bytes at {at}: {len(inner)} there, or a wrong checksum")
    offset, header_bytes = _INNER.unpack_from(inner)
    body_at = _INNER.size + header_bytes
    headers = json.loads(inner[_INNER.size : body_at])
    return Frame(offset, headers, memoryview(inner)[body_at:], at + _FRAME.size + length)


def skim(fd: int, at: int) -> tuple[int, int] | None:
    """Offset and end of the frame at a file position, its body unread and unchecked; None: no whole frame is here."""
    head = os.pread(fd, _FRAME.size + _INNER.size, at)
    if len(head) < _FRAME.size + _INNER.size:
        return None
    length = _FRAME.unpack_from(head)[0] & ~_CASTAGNOLI
    end = at + _FRAME.size + length
    if not _INNER.size <= length <= MAX_FRAME_BYTES or end > os.fstat(fd).st_size:
        return None
    offset, _ = _INNER.unpack_from(head, _FRAME.size)
    return offset, end


def frames(fd: int) -> Iterator[Frame]:
    """The whole messages of a segment, up to its end or its first torn frame."""
    at = first_frame(fd)
    while True:
        try:
            frame = read(fd, at)
        except TornFrame:
            return
        if frame is None:
            return
        yield frame
        at = frame.end


def newest_behind(fd: int, at: int, offset: int) -> Frame | None:
    """The last whole message behind damage at a file position, where message ``offset`` or a later one should be.

    Offsets are dense, so the next ones are searched for as they are written; behind a torn tail there is none.
    """
    rest = os.pread(fd, os.fstat(fd).st_size - at, at)
    newest: Frame | None = None
    place = misses = 0
    while misses < _MOST_DAMAGED:
        frame = _find(fd, at, rest, place, offset)
        if frame is None:
            misses += 1
        else:
            newest, place, misses = frame, frame.end - at, 0
        offset += 1
    return newest


def _find(fd: int, at: int, rest: bytes, place: int, offset: int) -> Frame | None:
    wanted = offset.to_bytes(8, "little")
    found = rest.find(wanted, max(place, _FRAME.size))
    while found >= 0:  # the octets of a number may be anywhere: the checksum decides
        with contextlib.suppress(TornFrame):
            frame = read(fd, at + found - _FRAME.size)
            if frame is not None and frame.offset == offset:
                return frame
        found = rest.find(wanted, found + 1)
    return None


def first_frame(fd: int) -> int:
    """File position behind the head frame."""
    return _head(fd).end


def last_before(fd: int) -> Headers | None:
    """Headers of the message before this segment, from its head frame."""
    last: Headers | None = json.loads(bytes(_head(fd).body))["last"]
    return last


def mark_of(fd: int) -> int:
    """What ``append`` has to be told: one segment's frames have one kind of checksum, that of its head.

    So a writer that knows only CRC-32 never takes a sound frame for a torn one: it refuses the head, and cuts nothing.
    """
    return int(_FRAME.unpack(os.pread(fd, _FRAME.size, 0))[0]) & _CASTAGNOLI


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A name to write to; the file gets its own at the end, and nothing is left of it after an error."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a small file: either the old or the new content survives a power cut."""
    _write_aside(path, data).rename(path)
    sync_folder(path.parent)


def write_once(path: Path, data: bytes) -> None:
    """Make a small file unless it is there: of several processes that try, the first one's content stays."""
    temporary = _write_aside(path, data)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(temporary)
    temporary.unlink()
    sync_folder(path.parent)


def _write_aside(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        _write_all(fd, data)
        os.fsync(fd)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return temporary


def _write_all(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):  # what fits is written before the error is told
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _head(fd: int) -> Frame:
    frame = read(fd, 0)
    if frame is None or frame.offset != _HEAD_OFFSET:
        raise TornFrame("the segment has no head frame")
    return frame


def _frame(offset: int, headers: bytes, body: Parts, mark: int = _CASTAGNOLI) -> list[bytes | memoryview]:
    headers += b" " * (-(_INNER.size + len(headers)) % _ALIGNED)
    inner = _INNER.pack(offset, len(headers)) + headers
    checksum = crc32c if mark else zlib.crc32
    crc = checksum(inner)
    for part in body:
        crc = checksum(part, crc)
    length = len(inner) + sum(map(len, body))
    return [_FRAME.pack(length | mark, crc) + inner, *body]
