"""Batch <-> bytes of a bus message: one Arrow IPC stream with one record batch.

Any language reads it, ClickHouse too (``FORMAT ArrowStream``).  Bodies are compressed inside the stream, so a broker
has nothing to compress.  Arrays are handed over without a copy wherever their layout allows.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from sinks.batch import Batch
from sinks.schema import BY_NAME, OBSERVATIONS, Column

Compression = Literal["none", "lz4", "zstd"]

_OPTIONS = {
    "none": pa.ipc.IpcWriteOptions(compression=None),
    "lz4": pa.ipc.IpcWriteOptions(compression="lz4"),
    "zstd": pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1)),
}
_MILLISECONDS = pa.timestamp("ms", "UTC")
_ADDRESS = pa.binary(16)
_TEXT = pa.dictionary(pa.int32(), pa.string())
_MAP = pa.map_(pa.string(), pa.string())


class CodecError(Exception):
    """The bytes are not a message of ours; says what was found."""


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of these columns."""
    return _plan(tuple(columns))[0]


def to_record_batch(batch: Batch, columns: Sequence[Column]) -> pa.RecordBatch:
    """The batch's arrays as Arrow, in the order of ``columns``."""
    schema, plan = _plan(tuple(columns))
    return pa.RecordBatch.from_arrays([_to_arrow(batch, *step) for step in plan], schema=schema)


def encode(batch: Batch, columns: Sequence[Column], compression: Compression = "lz4") -> bytes:
    """Bytes of one message; the batch may hold more columns than are written."""
    return encode_arrow(to_record_batch(batch, columns), compression)


def encode_arrow(rows: pa.RecordBatch, compression: Compression = "lz4") -> bytes:
    """Bytes of one message from Arrow rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS[compression]) as writer:
        writer.write_batch(rows)
    result: bytes = sink.getvalue().to_pybytes()
    return result


def decode_arrow(body: bytes | memoryview) -> pa.RecordBatch:
    """The one record batch of a message; CodecError when it is anything else."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            rows = reader.read_next_batch()
            # A second batch would be dropped silently by some readers, so it is refused here.
            if next(iter(reader), None) is not None:
                raise CodecError("message holds more than one record batch")
    except (pa.ArrowInvalid, pa.ArrowIOError, StopIteration) as error:
        raise CodecError(f"not an Arrow stream: {error}") from error
    return rows


def decode(body: bytes | memoryview, columns: Sequence[Column]) -> Batch:
    """The batch of a message; CodecError as ``complete``."""
    return from_record_batch(complete(decode_arrow(body), columns), columns)


def complete(rows: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """The rows with these columns; what a writer of an older version did not know of is blank.

    CodecError when a column is missing that every version has, too many or of another type.
    """
    expected = arrow_schema(columns)
    if rows.schema.equals(expected):
        return rows
    younger = [column for column in columns if column.since > 1 and column.name not in rows.schema.names]
    blank = to_record_batch(Batch.empty(younger, rows.num_rows), younger)
    arrays = {
        **dict(zip(rows.schema.names, rows.columns, strict=True)),
        **dict(zip(blank.schema.names, blank.columns, strict=True)),
    }
    found = pa.schema([(name, array.type) for name, array in arrays.items()])
    if set(found.names) != set(expected.names) or any(
        found.field(n).type != expected.field(n).type for n in found.names
    ):
        raise CodecError(f"columns differ: {_difference(found, expected)}")
    return pa.RecordBatch.from_arrays([arrays[name] for name in expected.names], schema=expected)


def from_record_batch(rows: pa.RecordBatch, columns: Sequence[Column]) -> Batch:
    """NumPy views of Arrow columns; read-only."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for column, array in zip(columns, rows.columns, strict=True):
        if column.is_label:
            labels[column.name] = tuple(array.dictionary.to_pylist())
            array = array.indices
        arrays[column.name] = _view(array, column.numpy)
    return Batch(arrays, labels)


def at_rest(rows: pa.Table) -> pa.Table:
    """Flows as a store takes them: ``extra`` as a map, and left out where all of it is blank: nobody pays for it then.

    CodecError when a text of it is no JSON object of texts.
    """
    place = rows.schema.get_field_index("extra")
    labels = rows.column(place).combine_chunks()
    if isinstance(labels, pa.ChunkedArray):  # of no rows
        labels = labels.chunk(0) if labels.num_chunks else pa.array([], _TEXT)
    texts = labels.dictionary.to_pylist()
    if all(text == BY_NAME["extra"].blank for text in texts):
        return rows.remove_column(place)
    try:
        maps = pa.array([list(json.loads(text).items()) for text in texts], _MAP)
    except (ValueError, AttributeError, pa.ArrowException) as error:
        raise CodecError(f"column extra: not a JSON object of texts: {error}") from error
    return rows.set_column(place, "extra", maps.take(labels.indices))


def observation_schema(table: str) -> pa.Schema:
    """The Arrow schema of an observation table's rows."""
    types = {
        "timestamp[s]": pa.timestamp("s", "UTC"),
        "string": pa.string(),
        "uint32": pa.uint32(),
        "uint64": pa.uint64(),
        "int64": pa.int64(),
    }
    return pa.schema([(column.name, types[column.arrow]) for column in OBSERVATIONS[table]])


def encode_observation(table: str, rows: Sequence[dict[str, object]]) -> bytes:
    """Bytes of one observation message from rows as dictionaries."""
    return encode_arrow(pa.RecordBatch.from_pylist(list(rows), schema=observation_schema(table)))


@cache
def _plan(columns: tuple[Column, ...]) -> tuple[pa.Schema, tuple[tuple[str, np.dtype[Any], pa.DataType, bool], ...]]:
    """Schema and, by column, name, dtype, Arrow type and whether it is a label: 0.3 ms a message when made anew."""
    plan = tuple((column.name, column.numpy, _arrow_type(column), column.is_label) for column in columns)
    return pa.schema([(name, kind) for name, _, kind, _ in plan]), plan


def _arrow_type(column: Column) -> pa.DataType:
    if column.is_label:
        return _TEXT
    if column.dtype == "V16":
        return _ADDRESS
    if column.dtype == "M8[ms]":
        return _MILLISECONDS
    return pa.from_numpy_dtype(column.numpy)


def _to_arrow(batch: Batch, name: str, dtype: np.dtype[Any], kind: pa.DataType, is_label: bool) -> pa.Array:
    array = np.ascontiguousarray(batch.columns[name], dtype)
    if is_label:
        codes = pa.Array.from_buffers(pa.int32(), len(array), [None, pa.py_buffer(array)])
        return pa.DictionaryArray.from_arrays(codes, pa.array(batch.labels[name], pa.string()))
    # A V16 array exports no buffer of plain bytes: hand over the same memory as uint8.
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(array.view("u1"))])


def _view(array: pa.Array, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if array.null_count:
        raise CodecError(f"{array.null_count} nulls in a column of type {array.type}")
    data = array.buffers()[1]
    if data is None:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    missing = [name for name in expected.names if name not in found.names]
    unknown = [name for name in found.names if name not in expected.names]
    other = [
        f"{name}: {found.field(name).type}, not {expected.field(name).type}"
        for name in expected.names
        if name in found.names and found.field(name).type != expected.field(name).type
    ]
    return f"missing {missing}, unknown {unknown}, of another type {other}"
