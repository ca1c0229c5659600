"""A new lease table is checked as a whole before it is used; the last good one stays.

The file is known by its inode, size and time of change, and is read when these differ from those of the last attempt:
a refused file is reported once, not at every look.  A file that changes while it is read, or changed less than a
second ago, is left for the next look, as its writer may not be done.
"""

from dataclasses import dataclass
from pathlib import Path

from enricher.leases import LeaseTable
from enricher.metrics import LEASE_AMBIGUITIES, LEASE_FILE_OK, LEASE_LOADS, LEASE_OVERLAPS, LEASE_TABLE_BYTES, LEASES
from enricher.sources.tables import LeaseFileError, read_leases

_QUIET_SECONDS = 1.0  # a writer that copies over the file pauses less

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of one attempt; ``error`` None: the new table is in force."""

    leases: int
    overlaps: int
    ambiguous: int
    error: LeaseFileError | None = None


class LeaseFile:
    """The lease table of one file.

    ``table`` may be read by any thread; ``reload_if_changed`` is for one thread at a time, best not the one that
    enriches: a million lines take about six seconds, and the interpreter is shared meanwhile.
    """

    def __init__(self, path: Path, key: bytes, max_bytes: int) -> None:
        self._path, self._key, self._max_bytes = path, key, max_bytes
        self._looked = False
        self._seen: Signature | None = None  # of the file last judged
        self.table = LeaseTable.empty()
        self.error: LeaseFileError | None = None  # of the newest attempt, for /healthz

    def reload_if_changed(self, now: float) -> Reload | None:
        """Look at the file at Unix time ``now`` and take it if it is new and good; None: nothing to tell."""
        signature = self._signature()
        if self._looked and signature == self._seen:
            return None
        if signature is not None and self._looked and 0 <= now - signature[2] / 1e9 < _QUIET_SECONDS:
            return None
        try:
            if signature is None:
                raise LeaseFileError(self._path, None, "is not there; the last table stays in force")
            table = LeaseTable.of(read_leases(self._path, self._max_bytes), self._key)
            if self._signature() != signature:
                return None
        except LeaseFileError as error:
            if signature is not None and self._signature() != signature:
                return None  # half of it was read: judge it when it is whole
            self._looked, self._seen, self.error = True, signature, error
            LEASE_FILE_OK.set(0)
            LEASE_LOADS.labels("refused").inc()
            return Reload(len(self.table), self.table.overlaps, self.table.ambiguous, error)
        self.table = table
        self._looked, self._seen, self.error = True, signature, None
        LEASE_FILE_OK.set(1)
        LEASE_LOADS.labels("loaded").inc()
        LEASES.set(len(table))
        LEASE_OVERLAPS.set(table.overlaps)
        LEASE_AMBIGUITIES.set(table.ambiguous)
        LEASE_TABLE_BYTES.set(table.nbytes)
        return Reload(len(table), table.overlaps, table.ambiguous)

    def _signature(self) -> Signature | None:
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns
