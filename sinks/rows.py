"""An enriched message's body as the rows that are inserted."""

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from sinks import Message, metrics
from sinks.audit import Counts, count_records
from sinks.codec import CodecError, at_rest, decode_arrow, observation_schema, split
from sinks.delivery import EnrichedHeaders, Verdict
from sinks.inserts import MAX_ROWS
from sinks.schema import BY_NAME, ENRICHED, FLOW, OBSERVATIONS

_COLUMNS = [column.name for column in FLOW]
_PLACE = ("bus_partition", "bus_offset")
_SKIPPED = pa.schema(
    [("time", pa.timestamp("ms", "UTC")), ("partition", pa.uint16()), ("offset", pa.uint64()), ("rows", pa.uint64()),
     ("reason", pa.string()), ("source_from", pa.uint64()), ("source_to", pa.uint64())]
)  # fmt: skip


def rows_of(message: Message, headers: EnrichedHeaders, first_row: int, base: int) -> tuple[str, pa.Table, Counts]:
    """The table it goes into, its rows from ``first_row`` on, and the flow records among them.

    ``base`` is ``bus_offset`` of the stream's offset 0.  CodecError when the body is not what the headers say, or
    larger than one insert may be.
    """
    batch = decode_arrow(message.body) if message.rows is None else message.rows
    if batch.num_rows != headers.rows:
        raise CodecError(f"headers say {headers.rows} rows, the body has {batch.num_rows}")
    if batch.num_rows > MAX_ROWS:
        raise CodecError(f"{batch.num_rows} rows are more than one insert may have, {MAX_ROWS}")
    if headers.kind == "observation":
        if headers.table not in OBSERVATIONS or not batch.schema.equals(observation_schema(headers.table)):
            raise CodecError(f"not an observation we know: {headers.table!r}")
        return headers.table, pa.Table.from_batches([batch.slice(first_row)]), Counter()
    varying, constants = split(batch, ENRICHED)
    rows = varying.slice(first_row)
    if nulls := [name for name, column in zip(rows.schema.names, rows.columns, strict=True) if column.null_count]:
        raise CodecError(f"nulls in {nulls}")
    records = count_records(rows, constants)
    # Said of every row, also where it is 0: rollups and repeats go by it.
    constants["bus_partition"] = pa.scalar(message.partition, pa.uint16())
    constants["bus_offset"] = pa.scalar(base + message.offset, pa.uint64())
    return "flows", _placed(rows, constants), records


def _placed(rows: pa.RecordBatch, constants: Mapping[str, pa.Scalar]) -> pa.Table:
    """The columns in their order; constant ones are one run, but for those that are blank: they are left out."""
    ends = pa.array([rows.num_rows], pa.int32())
    columns: dict[str, pa.Array] = {}
    for name in _COLUMNS:
        value = constants.get(name)
        if value is None:
            columns[name] = rows.column(name)
        elif name == "extra":
            if value.as_py() != BY_NAME[name].blank:
                columns[name] = pa.repeat(value, rows.num_rows).dictionary_encode()
        elif rows.num_rows and (name in _PLACE or not _is_blank(value)):
            columns[name] = pa.RunEndEncodedArray.from_arrays(ends, pa.repeat(value, 1))
    return at_rest(pa.table(columns))


def _is_blank(value: pa.Scalar) -> bool:
    if pa.types.is_timestamp(value.type):
        return not value.value
    plain = value.as_py()
    return not any(plain) if isinstance(plain, bytes) else not plain


def skipped(message: Message, reason: str, rows: int, source: tuple[int, int], now_ms: int) -> pa.Table:
    """A row of ``bus_skipped``: rows [0, ``rows``) of the message, or source offsets ``source``, are not inserted."""
    row = (now_ms, message.partition, message.offset, rows, reason, *source)
    return pa.Table.from_pylist([dict(zip(_SKIPPED.names, row, strict=True))], _SKIPPED)


def explanations(headers: EnrichedHeaders, verdict: Verdict, reason: str) -> list[tuple[str, int, tuple[int, int]]]:
    """What of a message, or before it, is not inserted: (reason, rows, source offsets) each, counted.

    ``reason`` says why source offsets before it are missing.
    """
    found = []
    if verdict.lost:
        metrics.LOST_MESSAGES.inc(verdict.lost[1] - verdict.lost[0])
        found.append((reason, 0, verdict.lost))
    if verdict.skip:
        found.append(("skipped", headers.rows, (headers.start, headers.end)))
    elif verdict.first_row:
        metrics.SLICED_ROWS.inc(verdict.first_row)
        found.append(("sliced", verdict.first_row, (headers.start, headers.end)))
    return found
