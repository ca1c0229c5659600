"""A bounded folder of messages that no repeat can mend, each with its reason: ``<name>.arrow`` and ``<name>.json``.

Written, and flushed to the disk, before the position moves on; the oldest go first when the bound is reached.
"""

import contextlib
import json
from collections import deque
from pathlib import Path

import structlog

from sinks import Message, metrics
from sinks.codec import encode_arrow
from sinks.delivery import short_id
from sinks.segments import write_atomic

log = structlog.get_logger("sinks")

MAX_FILES = 2_000
"""Two a message: more than anybody reads, and a folder that every tool still lists."""


class DeadLetters:
    """Messages buried by the enricher or the sink; each process may have its own on the same folder."""

    def __init__(self, folder: Path, max_bytes: int = 256 << 20, max_files: int = MAX_FILES) -> None:
        """The folder is made at the first burial; ``max_bytes`` is the bound of all files in it."""
        self.folder, self._max_bytes, self._max_files = folder, max_bytes, max_files

    def bury(self, stream: str, stream_id: str, message: Message, reason: str) -> Path:
        """Keep a message; the same one again replaces itself.  OSError when the disk takes nothing: try again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{stream}-{short_id(stream_id)}-{message.partition}-{message.offset}"
        body, about = self.folder / f"{name}.arrow", self.folder / f"{name}.json"
        facts = {
            "reason": reason, "stream": stream, "stream_id": stream_id, "partition": message.partition,
            "offset": message.offset, "headers": dict(message.headers),
        }  # fmt: skip
        write_atomic(body, bytes(message.body) if message.rows is None else encode_arrow(message.rows))
        write_atomic(about, json.dumps(facts, indent=1).encode())
        metrics.BURIED_MESSAGES.labels(stream).inc()
        log.error("message buried", file=str(body), reason=reason[:500])
        self._trim({body, about})
        return body

    def count(self) -> int:
        """Messages in the folder now."""
        return sum(1 for _ in self.folder.glob("*.json"))

    def _trim(self, newest: set[Path]) -> None:
        found = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process trims too
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        found.sort()
        size, files, gone = sum(entry[2] for entry in found), len(found), 0
        for _, path, octets in found:
            if size <= self._max_bytes and files <= self._max_files:
                break
            if path in newest:  # one message larger than the bound is kept until the next
                continue
            path.unlink(missing_ok=True)
            size, files, gone = size - octets, files - 1, gone + (path.suffix == ".arrow")
        if gone:
            metrics.FORGOTTEN_LETTERS.inc(gone)
            log.warning("oldest dead letters removed", folder=str(self.folder), count=gone)


class BurialLimit:
    """Tells one bad message from a store, or a writer, that makes every message look bad."""

    def __init__(self, in_a_row: int = 20, seconds: float = 3600.0) -> None:
        """At most ``in_a_row`` burials in ``seconds`` without a message in between that was sound."""
        self._in_a_row, self._seconds = in_a_row, seconds
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Whether one more may be buried at this moment."""
        while self._times and now - self._times[0] >= self._seconds:
            self._times.popleft()
        return len(self._times) < self._in_a_row

    def buried(self, now: float) -> None:
        """One was."""
        self._times.append(now)

    def sound(self) -> None:
        """A message was stored."""
        self._times.clear()
