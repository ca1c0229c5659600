"""Leases from the lease file of a Kea DHCP server, followed while it grows.

Only the new end of the file is read.  Kea's clean-up (LFC) renames the file, begins a new one and rewrites the old one
beside it: the reader keeps the old one open, reads it to its end, and goes on in the new one, so nothing is missed and
nothing read twice.  At the start Kea's own order counts: ``.completed``, or else ``.2`` and ``.1``, then the file.  A
line that is none is passed over and counted, as Kea does: the file cannot be refused whole, its server goes on.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from enricher.leases import LeaseRows
from enricher.metrics import LEASE_LINES_SKIPPED
from enricher.sources import SourceStatus
from enricher.sources.kea_leases import KeaLeases, Labels
from enricher.sources.kea_lines import Family, Identity, KeaColumns, KeaHeaderError, KeaLineError
from sinks.telemetry import limited

log = structlog.get_logger("enricher")

SKIPPED = ("bad_line", "nameless", "full")
"""Why a line is passed over: it is none; it names no subscriber; too many addresses are held already."""

_READ_BYTES = 4 << 20
_LONGEST_LINE = 65_536  # a user context may hold several relays; what is longer is no line
_COMPARED_BYTES = 4_096
_AHEAD_SECONDS = 86_400  # a renewal later than this after now is a wrong clock, and would end no lease in time


class Tail:
    """The whole lines of a file that have come since the last call, over renames, copies and truncations."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.anew = False  # the file was written from its begin again, in its place; for the caller to reset
        self._file: BinaryIO | None = None
        self._rest = b""
        self._at_header = True

    def open(self) -> int:
        """Hold the file, so that what is read is the one that had the name now; returns its inode."""
        if self._file is None:
            self._begin(self.path.open("rb"))
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_ino

    def lines(self) -> Iterator[tuple[bytes, bool]]:
        """(line, whether it is the first of a file).  OSError when there is no file; what was read of it counts."""
        self.open()
        while (file := self._file) is not None:
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
                self._begin(file)
                self.anew = True
            while chunk := file.read(_READ_BYTES):
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                for line in whole:
                    is_header, self._at_header = self._at_header, False
                    yield line.removesuffix(b"\r"), is_header
                if len(self._rest) > _LONGEST_LINE:
                    self._rest = b"\0"  # its end will make a line that is none
            newer = self._newer(file)
            if newer is None:
                return
            if not _continues(file, newer):
                self._begin(newer)
            self._file = newer
            file.close()

    def close(self) -> None:
        """Let go of the file; the next call would begin it anew."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, file: BinaryIO) -> None:
        self._file, self._rest, self._at_header = file, b"", True

    def _newer(self, file: BinaryIO) -> BinaryIO | None:
        """Another file of that name; None: it is still this one."""
        ours = os.fstat(file.fileno())
        try:
            newer = self.path.open("rb")
        except FileNotFoundError:
            return None  # between Kea's rename and its new file
        theirs = os.fstat(newer.fileno())
        if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
            return newer
        newer.close()
        return None


def _continues(file: BinaryIO, newer: BinaryIO) -> bool:
    """Whether the newer file is a longer copy of what was read, as rsync leaves one; it then stands where we were."""
    at = file.tell()
    if os.fstat(newer.fileno()).st_size < at:
        return False
    for place in (0, max(0, at - _COMPARED_BYTES)):
        file.seek(place)
        newer.seek(place)
        count = min(_COMPARED_BYTES, at - place)
        if file.read(count) != newer.read(count):
            file.seek(at)
            newer.seek(0)
            return False
    file.seek(at)
    newer.seek(at)
    return True


class KeaSource:
    """The leases of one Kea server's family."""

    def __init__(
        self, name: str, path: Path, family: Family, identity: Identity, labels: Labels, *,
        priority: int = 0, history_seconds: float = 172_800, most: int = 4_000_000, stale_seconds: float = 0,
    ) -> None:  # fmt: skip
        """``stale_seconds``: how long a server may write nothing; 0: for ever."""
        self.name, self.priority, self.path = name, priority, path
        self._family, self._identity, self._labels, self._stale = family, identity, labels, stale_seconds
        self._tail = Tail(path)
        self._columns: KeaColumns | None = None
        self._leases = KeaLeases(most, int(history_seconds * 1000))
        self._restored: LeaseRows | None = None
        self._begun = False
        self._status = SourceStatus(name, f"kea{family}", priority, 0, 0.0, 0, stale=False, error=None)
        self.bad_lines = 0

    def restore(self, rows: LeaseRows) -> None:
        """Leases of an earlier run, before the first ``poll``."""
        self._restored = rows

    def poll(self, now: float) -> LeaseRows | None:
        """All leases, when the file has grown."""
        counts = (self.bad_lines, self._leases.nameless, self._leases.full)
        lines, error = 0, None
        try:
            if not self._begun:
                lines += self._read_older(now)
            for line, is_header in self._tail.lines():
                if self._tail.anew:
                    self._begin_anew()
                lines += self._take(line, now, is_header=is_header)
        except OSError as problem:
            error = f"{self.path}: cannot be read: {problem.strerror}"
        except KeaHeaderError as problem:
            self._tail.close()
            error = f"{self.path}:1: {problem}"
        for reason, before, after in zip(
            SKIPPED, counts, (self.bad_lines, self._leases.nameless, self._leases.full),
            strict=True,
        ):  # fmt: skip
            LEASE_LINES_SKIPPED.labels(self.name, reason).inc(after - before)
        restored, self._restored = self._restored, None
        if restored is not None:
            self._leases.remember(restored)
        if not lines and restored is None:
            self._tell(now, error, None, read=False)
            return None
        rows = self._leases.rows(self._labels)
        self._tell(now, error, len(rows), read=lines > 0)
        return rows

    def status(self, now: float) -> SourceStatus:
        """What is known now; stale when the server has written nothing for its limit."""
        status = self._status
        stale = bool(self._stale) and now - status.read_at > self._stale
        return SourceStatus(
            status.name, status.kind, status.priority, status.leases, status.read_at, status.newest_ms,
            stale=stale, error=status.error,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file."""
        self._tail.close()

    def _tell(self, now: float, error: str | None, leases: int | None, *, read: bool) -> None:
        was = self._status
        self._status = SourceStatus(
            self.name, was.kind, self.priority, was.leases if leases is None else leases,
            now if read else was.read_at, self._leases.newest_ms, stale=False, error=error,
        )  # fmt: skip

    def _begin_anew(self) -> None:
        """What is known becomes what was known before the log."""
        known = self._leases.rows(self._labels)
        self._restored = known if len(known) else self._restored
        was = self._leases
        self._leases = KeaLeases(was.most, was.history_ms, was.nameless, was.full)
        self._tail.anew = False

    def _read_older(self, now: float) -> int:
        """What Kea reads before the file itself; files that are not there are none."""
        # The file is opened first: renamed meanwhile, it is found again among the older ones, and read once.
        inode: int | None = None
        with contextlib.suppress(FileNotFoundError):
            inode = self._tail.open()
        completed = self.path.with_name(f"{self.path.name}.completed")
        older = [completed] if completed.exists() else [self.path.with_name(f"{self.path.name}.{n}") for n in (2, 1)]
        lines = 0
        for path in older:
            tail = Tail(path)
            with contextlib.suppress(FileNotFoundError), contextlib.closing(tail):
                if tail.open() == inode:
                    continue
                for line, is_header in tail.lines():
                    lines += self._take(line, now, is_header=is_header)
        self._begun = True
        return lines

    def _take(self, line: bytes, now: float, *, is_header: bool) -> int:
        if is_header:
            self._columns = KeaColumns.of(line, self._family, self._identity)
            return 0
        if self._columns is None or not line:
            return 0
        try:
            read = self._columns.read(line)
            if read.renewed > now + _AHEAD_SECONDS:
                raise KeaLineError(f"was renewed at {read.renewed}, a day and more from now")
        except KeaLineError as error:
            self.bad_lines += 1
            limited(log.warning, f"kea {self.name}", "line of a Kea lease file refused", source=self.name,
                    reason=str(error))  # fmt: skip
            return 1
        self._leases.add(read)
        return 1
