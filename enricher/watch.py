"""The tables in force: leases from all their sources, local prefixes and ports from the settings.

What a source last said is kept, as its rows in memory and as a file beside the key; a new table is built of all of
them, beside the one in force, and takes its place by one assignment.  A source that is missing at the start so has the
leases it had.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import structlog

from enricher import metrics
from enricher.enrichment import Tables
from enricher.lease_changes import Prefixes
from enricher.lease_differences import changed_prefixes, leases_of, row_hashes
from enricher.leases import ACCESSES, SEGMENTS, SERVICES, LeaseRows, LeaseTable
from enricher.points import ObservationPoints
from enricher.ports import port_table
from enricher.prefixes import U8, PrefixSet
from enricher.recent_traffic import RecentTraffic
from enricher.settings import LEASES, EnricherSettings, SourceSettings
from enricher.snapshots import Coverage, Limits, restore, save
from enricher.sources import REFUSALS, LeaseFileError, LeaseSource, SourceStatus
from enricher.sources.files import FileSource
from enricher.sources.kea import SKIPPED, KeaSource
from enricher.sources.kea_leases import Labels
from enricher.subscribers import load_or_make_key

log = structlog.get_logger("enricher")

_SAVE_SECONDS = 300.0  # a million leases take a second or two; what is lost in between comes from the source again
_LARGEST_CHANGE = 1 / 16  # of a source's rows; a table built anew costs little more then
_CLOSE_SECONDS = 60.0  # a table of ten millions takes about this long


@runtime_checkable
class Restorable(Protocol):
    """A source without a memory of its own.  What others said is saved too, for `flowtide leases` to read."""

    def restore(self, rows: LeaseRows) -> None:
        """Take what it said in an earlier run, before its first ``poll``."""


class TablesInForce:
    """``tables``, ``failed`` and ``statuses`` may be called by any thread, the rest by one."""

    def __init__(
        self, settings: EnricherSettings, key_file: Path, *,
        sources: Sequence[LeaseSource] = (), traffic: RecentTraffic | None = None,
    ) -> None:  # fmt: skip
        """``key_file`` is made when the settings have no key; KeyFileError when it is none.

        ``sources`` are further ones, such as RADIUS accounting.  By ``traffic`` new files are judged, and counted what
        was heard late.  Saved leases lie in ``leases`` beside the key file.
        """
        self._key = settings.key.get_secret_value().encode() or load_or_make_key(key_file)
        self._sources = (*lease_sources(settings, traffic.share if traffic else None), *sources)
        self._traffic = traffic
        self._folder = key_file.parent / "leases"
        self._every, self._looked = settings.reload_seconds, float("-inf")
        self._rows: dict[str, LeaseRows] = {}
        self._hashes: dict[str, U8] = {}
        self._unsaved: set[str] = set()
        self._saved_at = float("-inf")
        self._told: dict[str, str | None] = {}
        self._begun = False
        self._worker: threading.Thread | None = None
        self._broken: Exception | None = None
        local = PrefixSet.of(settings.local_prefixes) if settings.local_prefixes else None
        points = ObservationPoints.of(settings.observation_points) if settings.observation_points else None
        self._tables = Tables(local=local, ports=port_table(settings.named_ports), points=points)
        for source in self._sources:
            for reason in REFUSALS:
                metrics.SOURCE_REFUSED.labels(source.name, reason)
            for skipped in SKIPPED if isinstance(source, KeaSource) else ():
                metrics.LEASE_LINES_SKIPPED.labels(source.name, skipped)

    def tables(self) -> Tables:
        """What enrichment works with now."""
        return self._tables

    def statuses(self, now: float) -> tuple[SourceStatus, ...]:
        """Of each source, in the order of the settings."""
        return tuple(source.status(now) for source in self._sources)

    @property
    def has_sources(self) -> bool:
        """Whether leases come from anywhere."""
        return bool(self._sources)

    @property
    def failed(self) -> str | None:
        """Why the newest state of a source is not in force, for /healthz; None: all are."""
        wrong = [what for status in self.statuses(self._looked) if (what := _complaint(status))]
        return "; ".join(wrong) or None

    def reload_if_changed(self, now: float) -> None:
        """Ask the sources, and take what is new; ``now`` is Unix time.

        The first call returns when the first table is in force; later ones leave the work to a thread of its own, as
        a million leases take some seconds, and what went wrong there is raised by the next call.
        """
        if self._broken is not None:
            raise self._broken
        if not self._sources or now - self._looked < self._every or (self._worker and self._worker.is_alive()):
            return
        self._looked = now
        if not self._begun:
            self._begun = True
            self._look(now, self._restore())
            return
        self._worker = threading.Thread(target=self._work, args=(now,), name="leases", daemon=True)
        self._worker.start()

    def settle(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Wait for the table that is being made."""
        if self._worker is not None:
            self._worker.join(timeout)

    def close(self) -> None:
        """Save what is not saved, and let go of the sources."""
        self.settle()
        self._save(time.time(), at_once=True)
        for source in self._sources:
            source.close()

    def _work(self, now: float) -> None:
        try:
            self._look(now)
        except Exception as error:
            self._broken = error

    def _restore(self) -> bool:
        """Leases of an earlier run; those of a source that the settings no longer name are removed."""
        mine = {self._file(source.name) for source in self._sources}
        for path in self._folder.glob("*.parquet"):
            if path not in mine:
                path.unlink(missing_ok=True)
        for source in self._sources:
            if not isinstance(source, Restorable):
                continue
            try:
                rows = restore(self._file(source.name))
            except LeaseFileError as error:
                log.warning("saved leases cannot be used", source=source.name, reason=str(error))
                continue
            if rows is not None and len(rows):
                source.restore(rows)
                self._rows[source.name] = rows.with_priority(source.priority)
                log.info("leases of the last run", source=source.name, leases=len(rows))
        return bool(self._rows)

    def _look(self, now: float, restored: bool = False) -> None:
        changes: list[Prefixes] | None = None if restored else []  # None: everything
        changed = restored
        for source in self._sources:
            rows = source.poll(now)
            if rows is None:
                continue
            changed = True
            some = self._changes(source, rows.with_priority(source.priority))
            changes = None if changes is None or some is None else [*changes, some]
        if changed:
            self._swap(changes)
        self._tell(now)
        self._save(now)

    def _changes(self, source: LeaseSource, rows: LeaseRows) -> Prefixes | None:
        """Keep what the source says; which prefixes differ, None: take it whole."""
        old, old_hashes = self._rows.get(source.name), self._hashes.get(source.name)
        self._rows[source.name] = rows
        self._unsaved.add(source.name)
        if isinstance(source, FileSource):
            return None  # replaced as a whole, rarely, and its rows may have changed places
        hashes = self._hashes[source.name] = row_hashes(rows)
        if old is None or old_hashes is None:
            return None
        prefixes = changed_prefixes(old, old_hashes, rows, hashes)
        return prefixes if len(prefixes[2]) < _LARGEST_CHANGE * len(rows) else None

    def _swap(self, changes: Sequence[Prefixes] | None) -> None:
        begun = time.perf_counter()
        parts = [self._rows[source.name] for source in self._sources if source.name in self._rows]
        if changes is None:
            table = LeaseTable.of(parts[0] if len(parts) == 1 else LeaseRows.concat(parts), self._key)
        else:
            high, low, bits = (np.concatenate([each[half] for each in changes]) for half in range(3))
            if not len(bits):
                return  # said again
            rows, gone = leases_of(parts, (high, low, bits))
            table = self._tables.leases.changed(rows, self._key, gone)
        before = self._tables.leases
        self._tables = replace(self._tables, leases=table)
        metrics.TABLE_SECONDS.set(time.perf_counter() - begun)
        if self._traffic is not None and len(before):  # without leases no session was expected, let alone late
            metrics.LATE_OCTETS.inc(self._traffic.moved(before, table))
        metrics.LEASES.set(len(table))
        metrics.LEASE_OVERLAPS.set(table.overlaps)
        metrics.LEASE_AMBIGUITIES.set(table.ambiguous)
        metrics.LEASE_TABLE_BYTES.set(table.nbytes)
        log.info("leases in force", leases=len(table), overlaps=table.overlaps, ambiguous=table.ambiguous)

    def _tell(self, now: float) -> None:
        """Metrics of each source, and a line in the log when one begins to fail."""
        statuses = self.statuses(now)
        for status in statuses:
            complaint = _complaint(status)
            if complaint and complaint != self._told.get(status.name):
                log.error("lease source refused, its last good leases stay", source=status.name, reason=complaint,
                          leases=status.leases)  # fmt: skip
            self._told[status.name] = complaint
            metrics.SOURCE_OK.labels(status.name).set(complaint is None)
            metrics.SOURCE_LEASES.labels(status.name).set(len(self._rows.get(status.name, ())))
            metrics.SOURCE_AGE.labels(status.name).set(now - status.read_at if status.read_at else -1)
        metrics.LEASE_FILE_OK.set(all(status.error is None for status in statuses))

    def _save(self, now: float, *, at_once: bool = False) -> None:
        if not self._unsaved or (now - self._saved_at < _SAVE_SECONDS and not at_once):
            return
        for source in self._sources:
            if source.name not in self._unsaved:
                continue
            try:
                save(self._file(source.name), self._rows[source.name])
            except OSError as error:
                log.warning("leases not saved", source=source.name, reason=str(error))
        self._unsaved.clear()
        self._saved_at = now

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"


def lease_sources(settings: EnricherSettings, coverage: Coverage | None = None) -> tuple[LeaseSource, ...]:
    """Those of files, in the order of the settings; nothing is read yet.

    Topics need the bus's settings too: who has these gives ``TablesInForce`` their sources, as that of RADIUS.
    """
    first: tuple[LeaseSource, ...] = ()
    if settings.leases:
        # One file and no more said: it is taken as it is, however much it differs.
        first = (FileSource(LEASES, settings.leases, "csv", settings.lease_file_bytes),)
    files = [each for each in settings.sources if each.kind != "kafka"]
    return (*first, *(_source(each, settings.lease_file_bytes, coverage) for each in files))


def _source(chosen: SourceSettings, max_bytes: int, coverage: Coverage | None) -> LeaseSource:
    if chosen.kind == "csv" or chosen.kind == "parquet":
        limits = Limits(
            chosen.least_share_of_rows, chosen.least_share_of_coverage, chosen.most_share_of_overlaps,
            chosen.most_share_of_ambiguous,
        )  # fmt: skip
        return FileSource(
            chosen.label, chosen.path, chosen.kind, max_bytes, priority=chosen.priority, limits=limits,
            stale_seconds=chosen.stale_seconds, coverage=coverage,
        )  # fmt: skip
    labels = Labels(
        SERVICES.index(chosen.service), SEGMENTS.index(chosen.segment), ACCESSES.index(chosen.access), chosen.group
    )
    return KeaSource(
        chosen.label, Path(chosen.path), 4 if chosen.kind == "kea4" else 6, chosen.subscriber, labels,
        priority=chosen.priority, history_seconds=chosen.history_seconds, most=chosen.max_leases,
        stale_seconds=chosen.stale_seconds,
    )  # fmt: skip


def _complaint(status: SourceStatus) -> str | None:
    """What is wrong with a source, in one line; the file of the setting ``leases`` needs no name."""
    wrong = status.error or ("has been silent for longer than its limit" if status.stale else None)
    return wrong if wrong is None or status.name == LEASES else f"{status.name}: {wrong}"
