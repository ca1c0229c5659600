"""The two ends of one partition's log in the spool: the writable tail, and a reader's cursor."""

import os
from pathlib import Path

import structlog

from sinks import Headers, Message, OffsetGone, Parts, segments
from sinks.hand_over import HandOver, Place

log = structlog.get_logger("sinks.spool")


class SpoolError(Exception):
    """The folder is not a spool of ours, or not as the settings say."""


class Tail:
    """The writable end of one partition's log."""

    def __init__(self, folder: Path) -> None:
        """Find the end; a torn tail is trimmed.  SpoolError when the newest segment is damaged at its beginning."""
        self.folder = folder
        self.size = 0
        self.last: Headers | None = None
        self.dirty = False
        self.empty = False  # the newest segment has no message; after a start that is not looked up
        found = segments.bases(folder)
        if not found:
            self.end = 0
            self._open(segments.create(folder, 0, None), 0)
            return
        path = segments.path_of(folder, found[-1])
        fd = os.open(path, os.O_RDWR)
        try:
            self.end, self.last = found[-1], segments.last_before(fd)
        except segments.TornFrame as error:  # it was flushed before the file had its name: the disk did this
            os.close(fd)
            raise SpoolError(
                f"{path} is damaged ({error}): restore it, or move the spool away and begin anew"
            ) from error
        position = segments.first_frame(fd)
        for frame in segments.frames(fd):
            self.end, self.last, position = frame.offset + 1, frame.headers, frame.end
        self._open(fd, found[-1])
        torn = self.size - position
        if not torn:
            return
        newest = segments.newest_behind(fd, position, self.end)
        if newest is None:
            os.ftruncate(fd, position)
            self.size = position
            log.warning("torn tail trimmed", folder=str(folder), bytes=torn, offset=self.end)
            return
        # Damage with sound messages behind it: were it cut here, their offsets and numbers would be given again.
        log.error("damage in the newest segment: what is behind it is stepped over", folder=str(folder),
                  start=self.end, end=newest.offset + 1)  # fmt: skip
        self.end, self.last = newest.offset + 1, newest.headers
        self.roll()

    def _open(self, fd: int, base: int) -> None:
        self.fd, self.base = fd, base
        self.size = os.fstat(fd).st_size
        self._mark = segments.mark_of(fd)

    def append(self, headers: Headers, body: Parts, segment_bytes: int) -> int:
        """Write one message; a full segment is closed first."""
        if self.size >= segment_bytes:
            self.roll()
        size = segments.append(self.fd, self.end, headers, body, self._mark)
        self.size += size
        self.end += 1
        self.last, self.dirty = headers, True
        self.empty = False
        return size

    def roll(self) -> None:
        """Begin a new segment; OSError: there is no room for it, and nothing has changed."""
        os.fsync(self.fd)
        fresh = segments.create(self.folder, self.end, self.last)
        os.close(self.fd)
        self._open(fresh, self.end)
        self.empty = True


class Cursor:
    """The reading end of one partition's log."""

    def __init__(
        self, stream: str, partition: int, folder: Path, offset: int, hand_over: HandOver | None = None
    ) -> None:
        """``hand_over`` has the newest messages of the stream, where this process writes it too."""
        self.stream, self.partition, self.folder, self._hand_over = stream, partition, folder, hand_over
        self.offset = offset
        self._base: int | None = None
        self._fd = -1
        self._at = 0
        self._unsettled = False
        self._end: tuple[int, int, int] = (-1, 0, 0)  # base, file position, offset: where counting the end went on

    def seek(self, offset: int) -> None:
        """Read from here next; OffsetGone."""
        first, end = self.bounds()
        if not first <= offset <= end:
            raise OffsetGone(self.stream, self.partition, offset, first, end)
        self._leave()
        self.offset = offset

    def bounds(self) -> tuple[int, int]:
        """First offset still there, and the one the next message will get."""
        found = segments.bases(self.folder)
        if not found:
            return 0, 0
        fd = os.open(segments.path_of(self.folder, found[-1]), os.O_RDONLY)
        try:
            base, at, end = self._end
            if base != found[-1]:
                try:
                    base, at, end = found[-1], segments.first_frame(fd), found[-1]
                except segments.TornFrame:
                    return found[0], found[-1]
            while (found_here := segments.skim(fd, at)) is not None:
                end, at = found_here[0] + 1, found_here[1]
            self._end = (base, at, end)
        finally:
            os.close(fd)
        return found[0], end

    def read(self) -> Message | None:
        """The next message; None: it is not there yet."""
        if self._base is None and not self._enter():
            return None
        if self._hand_over is not None and self._base is not None:
            handed = self._hand_over.take(self.partition, Place(self.offset, self._base, self._at))
            if handed is not None:
                self._at, self._unsettled = handed.end, True
                self.offset += 1
                return Message(self.partition, handed.place.offset, handed.headers, b"", handed.rows)
        frame = self._frame()
        if frame is None:
            # The writer may have filled this segment and begun the next since we looked: look at both, in that order.
            following = [base for base in segments.bases(self.folder) if base > (self._base or 0)]
            frame = self._frame()
            if frame is None:
                if not following:
                    return None
                if following[0] != self.offset:  # damage inside a closed segment: what is behind it is unreachable
                    raise OffsetGone(self.stream, self.partition, self.offset, following[0], following[0])
                self._leave()
                return self.read()
        self._at, self._unsettled = frame.end, True
        self.offset = frame.offset + 1
        return Message(self.partition, frame.offset, frame.headers, frame.body)

    def settle(self) -> None:
        """Flush what was read."""
        if self._unsettled and self._fd >= 0:
            os.fsync(self._fd)
            self._unsettled = False

    def close(self) -> None:
        """Let the file go."""
        self._leave()

    def _frame(self) -> segments.Frame | None:
        try:
            return segments.read(self._fd, self._at)
        except segments.TornFrame:
            return None  # still being written, or left by a dead writer that a new one will trim

    def _enter(self) -> bool:
        found = segments.bases(self.folder)
        if not found:
            return False
        below = [base for base in found if base <= self.offset]
        if not below:
            raise OffsetGone(self.stream, self.partition, self.offset, *self.bounds())
        try:
            self._fd = os.open(segments.path_of(self.folder, below[-1]), os.O_RDONLY)
        except FileNotFoundError:  # trimmed between the two looks
            raise OffsetGone(self.stream, self.partition, self.offset, *self.bounds()) from None
        try:
            self._base, self._at = below[-1], segments.first_frame(self._fd)
        except segments.TornFrame:
            os.close(self._fd)
            self._fd = -1
            following = found[len(below) :]
            if not following:  # the newest: its writer says what to do
                return False
            raise OffsetGone(self.stream, self.partition, self.offset, following[0], following[0]) from None
        at = below[-1]
        for frame in segments.frames(self._fd):
            if frame.offset >= self.offset:
                break
            self._at, at = frame.end, frame.offset + 1
        if at < self.offset and below[-1] == found[-1]:  # beyond the end: only a lost disk cache does this
            raise OffsetGone(self.stream, self.partition, self.offset, found[0], at)
        return True

    def _leave(self) -> None:
        if self._fd >= 0:
            self.settle()
            os.close(self._fd)
        self._fd, self._base = -1, None
