"""Cuts a decoded batch into bus messages by slot.

The decoder's group (64 k rows or 250 ms) is where rows are collected; nothing waits here.  Key = slot: an exporter
hashes to one of P slots, many exporters share a message, so 1,000 quiet exporters do not make 4,000 messages a second.
"""

import zlib
from collections.abc import Iterator

import numpy as np

from sinks.batch import Batch

MAX_ROWS = 8_192  # about 1.1 MB at 134 bytes a row, before compression


def slot_of(exporter: str, slots: int) -> int:
    """The slot of an exporter: stable over restarts and machines."""
    return zlib.crc32(exporter.encode()) % slots


def cut(batch: Batch, slots: int, max_rows: int = MAX_ROWS) -> Iterator[tuple[int, Batch]]:
    """(slot, rows of it) in order of arrival, at most ``max_rows`` each."""
    table = np.array([slot_of(exporter, slots) for exporter in batch.labels["exporter"]], "u2")
    slot = table[batch.columns["exporter"]]
    for number in range(slots):
        rows = np.flatnonzero(slot == number)
        if not len(rows):
            continue
        part = batch if len(rows) == len(batch) else batch.take(rows)
        for start in range(0, len(part), max_rows):
            yield number, part.slice(start, min(start + max_rows, len(part)))
