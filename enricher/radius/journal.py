"""What was accepted, on the disk before it is answered.

Append-only segments ``<number>.log``, each record ``length u32, crc32 u32`` (little-endian) and the bytes; a group of
records is written and flushed at once.  ``<number>.snapshot`` holds all that the segments below its number said, as
records of the same form; those segments go once it is on the disk.  A write that was cut off ends its segment: nothing
behind it was answered, and a new start always begins a new segment.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sinks.segments import sync_folder

_FRAME = struct.Struct("<II")
_MOST_BYTES = 64 << 20  # of a record; a larger length is damage
_LOG, _SNAPSHOT, _DRAFT = ".log", ".snapshot", ".draft"
_LAST = b"end"  # of a snapshot: a file cut off between two records is none


class Journal:
    """One folder; appended to by one thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; ``read`` first, then ``append``."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        for draft in folder.glob(f"*{_DRAFT}"):
            draft.unlink()
        self._fd = -1
        self.number = max([*_numbers(folder, _LOG), *_numbers(folder, _SNAPSHOT)], default=0)
        self.bytes = 0  # of records since the last snapshot
        self.damaged_bytes = 0  # behind the last whole record of a segment, at the start

    def read(self) -> Iterator[tuple[bool, bytes]]:
        """(whether it is of the snapshot, record), oldest first.

        A snapshot that is damaged is passed over for an older one, whose segments may be gone: it is counted.
        """
        first = 0
        for number in reversed(_numbers(self._folder, _SNAPSHOT)):
            data = self._path(number, _SNAPSHOT).read_bytes()
            records = list(_records(data))
            if records and records[-1] == _LAST and _size(records) == len(data):
                yield from ((True, record) for record in records[:-1])
                first = number
                break
            self.damaged_bytes += len(data)
        for number in _numbers(self._folder, _LOG):
            if number >= first:
                data = self._path(number, _LOG).read_bytes()
                at = 0
                for record in _records(data):
                    at += _FRAME.size + len(record)
                    yield False, record
                self.bytes += at
                self.damaged_bytes += len(data) - at

    def append(self, records: Sequence[bytes]) -> None:
        """Return once they are on the disk; OSError: none of them counts as written."""
        if self._fd < 0:
            self.rotate()
        data = b"".join(part for record in records for part in (_frame(record), record))
        start = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            _write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError:
            # After a failed flush nobody knows what the disk has (fsync(2)): the next group gets a new file.
            fd, self._fd = self._fd, -1
            try:
                os.ftruncate(fd, start)
            finally:
                os.close(fd)
            raise
        self.bytes += len(data)

    def rotate(self) -> int:
        """Begin a new segment; returns its number."""
        self.number += 1
        path = self._path(self.number, _LOG)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        sync_folder(self._folder)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.bytes = fd, 0
        return self.number

    def snapshot(self, number: int, records: Iterable[bytes]) -> None:
        """Keep these instead of the segments below ``number``; by any thread."""
        draft = self._path(number, _DRAFT)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for record in records:
                file.write(_frame(record))
                file.write(record)
            file.write(_frame(_LAST) + _LAST)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path(number, _SNAPSHOT))
        sync_folder(self._folder)
        for ending in (_LOG, _SNAPSHOT):
            for old in _numbers(self._folder, ending):
                if old < number:
                    self._path(old, ending).unlink()

    def close(self) -> None:
        """Close the segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _path(self, number: int, ending: str) -> Path:
        return self._folder / f"{number:012d}{ending}"


def _numbers(folder: Path, ending: str) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(f"*{ending}") if path.stem.isdigit())


def _frame(record: bytes) -> bytes:
    return _FRAME.pack(len(record), zlib.crc32(record))


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records from the front."""
    at = 0
    while len(data) - at >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(data, at)
        record = data[at + _FRAME.size : at + _FRAME.size + length]
        # Length 0: a crash may leave a file longer than what was written, and zeros there.
        if not 0 < length <= _MOST_BYTES or len(record) < length or zlib.crc32(record) != checksum:
            return
        at += _FRAME.size + length
        yield record


def _size(records: Sequence[bytes]) -> int:
    return sum(_FRAME.size + len(record) for record in records)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
