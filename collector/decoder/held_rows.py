"""Flow records whose sampler is named and not known yet: they wait for the options data that tells its interval.

They wait as columns, so that neither the walk nor the filling knows of it.  A sampler that was waited for in vain once
is not waited for again: exporters that never tell would have all their rows late.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from collector.decoder.filling import flag, settle, unflag, writable
from collector.settings import DecoderSettings
from sinks.batch import Batch, is_constant
from sinks.schema import RAW, Flag, SamplingSource

ROW_BYTES = sum(column.numpy.itemsize for column in RAW)
_GIVEN_UP = 65_536  # samplers remembered so, about 15 MB; beyond, all are waited for again
Sampler = tuple[str, int, int]
"""Exporter, domain, sampler or selector id (low 32 bits)."""
Find = Callable[[Sampler], int | None]
Tally = Callable[[str, int, str, int], None]
"""Exporter, domain, counter, by how much."""


@dataclass(slots=True)
class _Waiting:
    """Rows of one sampler, oldest first."""

    since_ms: int
    batches: list[Batch] = field(default_factory=list)
    rows: int = 0


class HeldRows:
    """Bounded by octets in all and of one exporter; what finds no room is not held."""

    def __init__(self, settings: DecoderSettings, tally: Tally) -> None:
        self._settings, self._tally = settings, tally
        self._waiting: dict[Sampler, _Waiting] = {}
        self._octets: dict[str, int] = {}  # by exporter
        self._given_up: set[Sampler] = set()
        self._ready: list[Batch] = []
        self.rows = 0
        """Waiting now."""

    def hold(self, batch: Batch) -> Batch | None:
        """Keep the rows that may still learn their interval; the others.  None: all are kept.

        A row of unknown sampling has its sampler's id in column ``sampling``; afterwards it has 1.
        """
        columns = batch.columns
        if is_constant(source := columns["sampling_source"]) and source[0] != SamplingSource.UNKNOWN:
            return batch
        unknown = np.flatnonzero(columns["sampling_source"] == SamplingSource.UNKNOWN)
        if not len(unknown):
            return batch
        named = np.stack([columns[name][unknown].astype("i8") for name in ("exporter", "domain", "sampling")])
        writable(columns, "sampling")[unknown] = 1
        samplers, which = np.unique(named, axis=1, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        cuts = np.searchsorted(which.ravel()[order], np.arange(1, samplers.shape[1]))
        kept = np.zeros(len(batch), bool)
        for (code, domain, number), places in zip(samplers.T.tolist(), np.split(order, cuts), strict=True):
            sampler = batch.labels["exporter"][code], domain, number
            rows = unknown[places]
            if self._keep(sampler, batch, rows):
                kept[rows] = True
            else:
                self._tally(sampler[0], domain, "rows_sampling_unknown", len(rows))
        if not kept.any():
            return batch
        return None if kept.all() else batch.take(~kept)

    def release(self, exporters: Iterable[str], find: Find) -> None:
        """Look again for the intervals of these exporters' samplers."""
        told = set(exporters)
        for sampler in [each for each in self._waiting if each[0] in told]:
            interval = find(sampler)
            if interval is not None:
                self._give(sampler, interval)
        for sampler in [each for each in self._given_up if each[0] in told]:
            if find(sampler) is not None:
                self._given_up.discard(sampler)

    def expire(self, before_ms: int) -> None:
        """Give up samplers that were waited for since earlier."""
        for sampler in [each for each, waiting in self._waiting.items() if waiting.since_ms < before_ms]:
            if len(self._given_up) >= _GIVEN_UP:
                self._given_up.clear()
            self._given_up.add(sampler)
            self._give(sampler, None)

    def give_up(self) -> None:
        """Wait no longer for what waits now."""
        for sampler in list(self._waiting):
            self._give(sampler, None)

    def take(self) -> Batch | None:
        """Rows whose waiting has ended."""
        ready, self._ready = self._ready, []
        return Batch.concat(ready) if ready else None

    def _keep(self, sampler: Sampler, batch: Batch, rows: np.ndarray) -> bool:
        octets, settings = len(rows) * ROW_BYTES, self._settings
        mine = self._octets.get(sampler[0], 0) + octets
        if (
            not settings.held_sampler_seconds
            or sampler in self._given_up
            or mine > settings.held_bytes_per_exporter
            or self.rows * ROW_BYTES + octets > settings.held_bytes
        ):
            return False
        part = batch.take(rows)
        waiting = self._waiting.get(sampler)
        if waiting is None:
            waiting = self._waiting[sampler] = _Waiting(int(part.columns["received"].view("i8").min()))
        waiting.batches.append(part)
        waiting.rows += len(rows)
        self._octets[sampler[0]] = mine
        self.rows += len(rows)
        self._tally(sampler[0], sampler[1], "rows_held", len(rows))
        return True

    def _give(self, sampler: Sampler, interval: int | None) -> None:
        waiting = self._waiting.pop(sampler)
        exporter, domain, _ = sampler
        self.rows -= waiting.rows
        self._octets[exporter] -= waiting.rows * ROW_BYTES
        if not self._octets[exporter]:
            del self._octets[exporter]
        for batch in waiting.batches:
            flag(batch.columns, None, Flag.HELD.value)
            if interval is not None:
                unflag(batch.columns, Flag.SAMPLING_UNKNOWN)
                settle(batch.columns, "sampling", interval)
                settle(batch.columns, "sampling_source", SamplingSource.SAMPLER)
        self._tally(exporter, domain, "rows_held_told" if interval is not None else "rows_held_given_up", waiting.rows)
        if interval is None:
            self._tally(exporter, domain, "rows_sampling_unknown", waiting.rows)
        self._ready += waiting.batches
