"""Counts that prove delivery: rows by stage, exporter, partition and minute of arrival, from what a message carries.

Counted where the message is stored and under its token, so they are exactly-once like its rows.  Only what is not in
the message travels in headers: rows dropped by the collector, and those of raw messages that nobody could read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from sinks.delivery import EnrichedHeaders, Excepted
from sinks.schema import Copy

TABLE = "audit_1m"
STAGES = ("decoded", "published", "enriched", "inserted")

_SCHEMA = pa.schema(
    [("time", pa.timestamp("s", "UTC")), ("stage", pa.string()), ("exporter", pa.string()),
     ("partition", pa.uint16()), ("rows", pa.int64())]
)  # fmt: skip
_MINUTE_MS = 60_000
_MAX_CELLS = 1 << 22  # exporters x minutes counted in one array; beyond it (a clock that jumped) by sorting

Counts = Counter[tuple[int, str]]
"""Rows by (minute of arrival as Unix seconds, exporter)."""


def count_records(rows: pa.RecordBatch, constants: Mapping[str, pa.Scalar]) -> Counts:
    """Flow records by exporter, received and copy; a flow between two subscribers is one.

    ``constants`` are those columns that have one value in all rows, and are no columns of ``rows``.
    """
    count = rows.num_rows
    if not count:
        return Counter()
    if "exporter" in constants:
        names, codes = [constants["exporter"].as_py()], np.zeros(count, "i8")
    else:
        exporter = rows.column("exporter")
        names, codes = exporter.dictionary.to_pylist(), exporter.indices.to_numpy().astype("i8")
    if "received" in constants:
        minutes = np.full(count, constants["received"].value // _MINUTE_MS)
    else:
        minutes = rows.column("received").view(pa.int64()).to_numpy() // _MINUTE_MS
    if "copy" not in constants:
        records = rows.column("copy").to_numpy() != Copy.BOTH_SUBSCRIBERS
        if not records.all():
            codes, minutes = codes[records], minutes[records]
    elif constants["copy"].as_py() == Copy.BOTH_SUBSCRIBERS:
        return Counter()
    if not codes.size:
        return Counter()
    first = int(minutes.min())
    width = int(minutes.max()) - first + 1
    cells = codes * width + (minutes - first)
    if width * len(names) <= _MAX_CELLS:
        counts = np.bincount(cells)
        found = np.flatnonzero(counts)
        numbers = counts[found]
    else:
        found, numbers = np.unique(cells, return_counts=True)
    return Counter({
        ((first + cell % width) * 60, names[cell // width]): number
        for cell, number in zip(found.tolist(), numbers.tolist(), strict=True)
    })  # fmt: skip


def audit(partition: int, headers: EnrichedHeaders, stored: int, records: Counts, *, inserted: bool) -> pa.Table:
    """Rows of ``audit_1m`` for a message of which the source offsets from ``stored`` on count."""
    dropped, poison = _after(headers.dropped, stored), _after(headers.poison, stored)
    stages = (records + dropped + poison, records + poison, records, records if inserted else Counter())
    found = [
        (minute, stage, exporter, partition, rows)
        for stage, counts in zip(STAGES, stages, strict=True)
        for (minute, exporter), rows in counts.items()
    ]
    columns: Iterable[tuple[object, ...]] = zip(*found, strict=True) if found else ((),) * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _after(entries: Excepted, stored: int) -> Counts:
    counts: Counts = Counter()
    for offset, minute, exporter, rows in entries:
        if offset >= stored:
            counts[minute, exporter] += rows
    return counts
