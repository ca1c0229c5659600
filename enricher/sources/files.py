"""Leases from files that are replaced: one, or all of a folder or a pattern, in the order of their names.

All files together are the source: a snapshot and its deltas, say.  A file is known by its inode, size and time of
change and is read when these differ from those of the last attempt, it alone; a later file's line of the same prefix,
begin and subscriber counts, so a delta ends a lease by repeating it with its end.  A refused file is reported once,
and its last good leases stay.  A file that changes while it is read, or changed less than a second ago, is left for
the next look, as its writer may not be done.
"""

import glob
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from enricher.leases import LeaseRows
from enricher.metrics import LEASE_LOADS, SOURCE_REFUSED
from enricher.snapshots import Coverage, Limits, check
from enricher.sources import LeaseFileError, SourceStatus
from enricher.sources.parquet import read_lease_parquet
from enricher.sources.tables import read_leases

_QUIET_SECONDS = 1.0  # a writer that copies over the file pauses less
_MOST_FILES = 1_000

Signature = tuple[int, int, int]
Kind = Literal["csv", "parquet"]


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was last judged."""

    signature: Signature | None  # None: it was not there
    rows: LeaseRows | None  # its last good leases
    error: LeaseFileError | None


class FileSource:
    """The leases of some files of one kind."""

    def __init__(
        self, name: str, path: str, kind: Kind, max_bytes: int, *,
        priority: int = 0, limits: Limits | None = None, stale_seconds: float = 0, coverage: Coverage | None = None,
    ) -> None:  # fmt: skip
        """``max_bytes`` bounds each file."""
        self.name, self.priority, self._path = name, priority, Path(path)
        self._kind, self._max_bytes, self._limits = kind, max_bytes, limits or Limits()
        self._coverage, self._stale = coverage, stale_seconds
        self._many = "*" in path or "?" in path or "[" in path
        self._files: dict[Path, _File] = {}
        self._live: LeaseRows | None = None
        self._judged: LeaseFileError | None = None  # of all files together
        self._looked = False
        self._read_at = 0.0
        self._status = SourceStatus(name, kind, priority, 0, 0.0, 0, stale=False, error=None)
        self.error: LeaseFileError | None = None  # of the newest state, None: it is in force

    def restore(self, rows: LeaseRows) -> None:
        """Leases of an earlier run: in force until the files say better, and what new ones are held against."""
        self._live = rows

    def poll(self, now: float) -> LeaseRows | None:
        """All leases, when a file came, changed or went, and they are good together."""
        found = self._signatures()
        fresh = self._read_changed(found, now)
        gone = [path for path in self._files if path not in found]
        for path in gone:
            del self._files[path]
        self._looked = True
        rows: LeaseRows | None = None
        if fresh or gone:
            rows = self._join()
        first = next((file.error for file in self._files.values() if file.error), None)
        self.error = first or self._judged
        live = self._live
        self._status = SourceStatus(
            self.name, self._kind, self.priority, 0 if live is None else len(live), self._read_at,
            0 if live is None or not len(live) else int(live.since.max()), stale=False,
            error=None if self.error is None else str(self.error),
        )  # fmt: skip
        return rows

    def status(self, now: float) -> SourceStatus:
        """What is known now; stale when no file has been taken for the limit."""
        return replace(self._status, stale=bool(self._stale) and now - self._status.read_at > self._stale)

    def close(self) -> None:
        """Files are closed after each look."""

    def _read_changed(self, found: dict[Path, Signature | None], now: float) -> bool:
        """Judge what differs from the last look; True when a file gave leases."""
        good = False
        for path, signature in found.items():
            known = self._files.get(path)
            if known is not None and known.signature == signature:
                continue
            if signature is not None and self._looked and 0 <= now - signature[2] / 1e9 < _QUIET_SECONDS:
                continue
            last = None if known is None else known.rows
            try:
                if signature is None:
                    raise LeaseFileError(path, None, "is not there; the last table stays in force", kind="missing")
                read = read_leases if self._kind == "csv" else read_lease_parquet
                rows = read(path, self._max_bytes)
                if _signature(path) != signature:
                    continue
            except LeaseFileError as error:
                if signature is not None and _signature(path) != signature:
                    continue  # half of it was read: judge it when it is whole
                self._files[path] = _File(signature, last, error)
                self._refuse(error)
                continue
            self._files[path] = _File(signature, rows, None)
            self._read_at, good = now, True
        return good

    def _join(self) -> LeaseRows | None:
        """The leases of all files, if they are good together."""
        parts = [file.rows for _, file in sorted(self._files.items()) if file.rows is not None]
        if not parts:
            return None  # there is nothing better than the last ones
        rows = parts[0] if len(parts) == 1 else LeaseRows.concat(parts)
        try:
            check(rows, self._live, self._limits, self._path, self._coverage)
        except LeaseFileError as error:
            self._judged = error
            self._refuse(error)
            return None
        self._live, self._judged = rows, None
        LEASE_LOADS.labels("loaded").inc()
        return rows

    def _refuse(self, error: LeaseFileError) -> None:
        SOURCE_REFUSED.labels(self.name, error.kind).inc()
        LEASE_LOADS.labels("refused").inc()

    def _signatures(self) -> dict[Path, Signature | None]:
        """The files of now; one that is named and not there has none."""
        if self._many:
            paths = [Path(path) for path in sorted(glob.glob(str(self._path)))]  # noqa: PTH207 - a pattern from the root
        elif self._path.is_dir():
            paths = sorted(self._path.glob(f"*.{self._kind}"))
        else:
            return {self._path: _signature(self._path)}
        signatures = {path: _signature(path) for path in paths[:_MOST_FILES] if not path.name.startswith(".")}
        there: dict[Path, Signature | None] = {path: one for path, one in signatures.items() if one is not None}
        return there or {self._path: None}


def _signature(path: Path) -> Signature | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
