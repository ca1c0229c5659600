"""Where leases come from.

A source reads what another system says (``tables`` and ``parquet`` files, ``kea`` lease files, RADIUS accounting) and
ends in ``enricher.leases.LeaseRows``.  Several are in force at once: ``enricher.watch`` asks each in turn and joins
what they say by their priorities.  A source never raises and never forgets: what it cannot read is in its status, and
its last good leases stay.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from enricher.leases import LeaseRows

Refusal = Literal["missing", "size", "text", "columns", "row", "rows", "coverage", "ambiguous", "overlaps"]
"""Why a file is refused: it is not there or cannot be read; too large; no text of the kind expected; its columns; a bad
row; and of a sound file, next to the one in force: too few rows, flows that would lose their subscriber, too many
leases that contradict each other, or that overlap."""

REFUSALS: tuple[Refusal, ...] = get_args(Refusal)


class LeaseFileError(Exception):
    """The file is refused whole.

    ``line`` (of text) or ``row`` (of Parquet) is the first bad one, from 1; None when it is the file itself.
    """

    def __init__(
        self, path: Path, line: int | None, reason: str, *, row: int | None = None, kind: Refusal | None = None
    ) -> None:
        where = f":{line}" if line is not None else f" row {row}" if row is not None else ""
        super().__init__(f"{path}{where}: {reason}")
        self.path, self.line, self.row, self.reason = path, line, row, reason
        self.kind: Refusal = kind or ("text" if line is None and row is None else "row")


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What is known of a source, for /healthz, metrics and ``flowtide leases status``."""

    name: str
    kind: str  # csv, parquet, kea4, kea6, radius
    priority: int
    leases: int
    read_at: float  # Unix seconds of the last time that it gave leases; 0: never
    newest_ms: int  # begin of its newest lease; 0: it has none
    stale: bool  # silent for longer than its limit
    error: str | None  # why its newest state is not in force


class LeaseSource(Protocol):
    """Asked by one thread at a time."""

    name: str
    priority: int

    def poll(self, now: float) -> LeaseRows | None:
        """All its leases when they changed, None when not; ``now`` is Unix time.  Never raises."""

    def status(self, now: float) -> SourceStatus:
        """May be called by any thread."""

    def close(self) -> None:
        """Let go of files and sockets."""
