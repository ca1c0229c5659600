"""Cuts a decoded batch into bus messages by slot.

The decoder's group (64 k rows or 250 ms) is where rows are collected; nothing waits here.  Key = slot: an exporter
hashes to one of P slots, many exporters share a message, so 1,000 quiet exporters do not make 4,000 messages a second.
"""

import zlib
from collections.abc import Iterator

import numpy as np

from sinks.batch import Batch

MAX_ROWS = 65_536  # at most 8.8 MB, at 134 octets a row before compression: half of what Kafka is set to take


def slot_of(exporter: str, slots: int) -> int:
    """The slot of an exporter: stable over restarts and machines."""
    return zlib.crc32(exporter.encode()) % slots


def cut(batch: Batch, slots: int, max_rows: int = MAX_ROWS) -> Iterator[tuple[int, Batch]]:
    """(slot, rows of it) in order of arrival, at most ``max_rows`` each."""
    for number, part in _by_slot(batch, slots):
        for start in range(0, len(part), max_rows):
            yield number, part.slice(start, min(start + max_rows, len(part)))


def _by_slot(batch: Batch, slots: int) -> Iterator[tuple[int, Batch]]:
    table = np.array([slot_of(exporter, slots) for exporter in batch.labels["exporter"]], "u2")
    if (table == table[0]).all():  # as the decoder groups them
        yield int(table[0]), batch
        return
    slot = table[batch.columns["exporter"]]
    for number in range(slots):
        rows = np.flatnonzero(slot == number)
        if len(rows):
            yield number, batch if len(rows) == len(batch) else batch.take(rows)
