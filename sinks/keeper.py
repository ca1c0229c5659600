"""Keeps an embedded store within its bound on disk: the oldest raw parts go first, rollups stay."""

import structlog

from sinks import Store, StoreRefused, StoreUnavailable, metrics
from sinks.telemetry import limited

log = structlog.get_logger("sinks.keeper")

_LOOK_SECONDS = 10.0
_PART_SHARE = 16  # a part grows to at most this part of the bound, so that dropping one is a small loss
_LEAST_PART_BYTES = 32 << 20


class Keeper:
    """Called now and then; does nothing where the store has no bound."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._looked = float("-inf")
        if max_bytes:
            part = max(max_bytes // _PART_SHARE, _LEAST_PART_BYTES)
            store.command(f"ALTER TABLE flows MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = {part}")

    def tend(self, now: float) -> None:
        """Measure, and drop the oldest raw parts beyond the bound; ``now`` is a monotonic clock's."""
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            self._tend()
        except (StoreUnavailable, StoreRefused) as error:
            limited(log.warning, "keeper", "size of the store not checked", error=str(error))

    def _tend(self) -> None:
        parts = self._store.query(
            "SELECT table, name, bytes_on_disk AS bytes, rows FROM system.parts "
            "WHERE active AND database = currentDatabase() ORDER BY table != 'flows', min_block_number"
        ).to_pylist()
        total = sum(part["bytes"] for part in parts)
        metrics.STORE_BYTES.set(total)
        if not self._max_bytes:
            return
        for part in parts:
            if total <= self._max_bytes or part["table"] != "flows":
                return
            self._store.command(f"ALTER TABLE flows DROP PART '{part['name']}'")
            total -= part["bytes"]
            metrics.DROPPED_PARTS.inc()
            log.warning("oldest raw flows dropped: store.max_bytes is reached", rows=part["rows"], bytes=part["bytes"])
