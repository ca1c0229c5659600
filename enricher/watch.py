"""The tables in force: leases from their file, local prefixes and ports from the settings."""

from dataclasses import replace
from pathlib import Path

import structlog

from enricher.enrichment import Tables
from enricher.points import ObservationPoints
from enricher.ports import port_table
from enricher.prefixes import PrefixSet
from enricher.settings import EnricherSettings
from enricher.snapshots import LeaseFile
from enricher.subscribers import load_or_make_key

log = structlog.get_logger("enricher")


class TablesInForce:
    """``tables`` may be called by any thread; ``reload_if_changed`` by one."""

    def __init__(self, settings: EnricherSettings, key_file: Path) -> None:
        """``key_file`` is made when the settings have no key; KeyFileError when it is none."""
        key = settings.key.get_secret_value().encode() or load_or_make_key(key_file)
        path = Path(settings.leases)
        self._file = LeaseFile(path, key, settings.lease_file_bytes) if settings.leases else None
        self._every, self._looked = settings.reload_seconds, float("-inf")
        local = PrefixSet.of(settings.local_prefixes) if settings.local_prefixes else None
        points = ObservationPoints.of(settings.observation_points) if settings.observation_points else None
        self._tables = Tables(local=local, ports=port_table(settings.named_ports), points=points)

    def tables(self) -> Tables:
        """What enrichment works with now."""
        return self._tables

    @property
    def failed(self) -> str | None:
        """Why the newest lease file is not in force."""
        return str(self._file.error) if self._file and self._file.error else None

    def reload_if_changed(self, now: float) -> None:
        """Take a new lease file; ``now`` is Unix time."""
        if self._file is None or now - self._looked < self._every:
            return
        self._looked = now
        result = self._file.reload_if_changed(now)
        if result is None:
            return
        if result.error is not None:
            log.error("lease file refused, the last good table stays", reason=str(result.error), leases=result.leases)
            return
        self._tables = replace(self._tables, leases=self._file.table)
        log.info("leases in force", leases=result.leases, overlaps=result.overlaps, ambiguous=result.ambiguous)
