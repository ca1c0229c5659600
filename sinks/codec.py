"""Batch <-> bytes of a bus message: one Arrow IPC stream with one record batch.

Bodies are compressed inside the stream, so a broker has nothing to compress.  Arrays are handed over without a copy
wherever their layout allows.

Columns that have one value in all rows (``sinks.batch.constant``) are not written row by row: one that is blank (0, no
text) is left out, and the schema's metadata names it under ``blank``.  In ``flows.raw`` any other is run-end-encoded
with one run, a label as plain text: Arrow's own readers understand that, ClickHouse's does not, so ``flows.enriched``,
which it is to read, has them row by row.  Messages of schema versions 1 and 2 have all columns row by row.
"""

import json
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from sinks import Encoded, Parts, Producer
from sinks.batch import Batch, constant, is_constant
from sinks.schema import BY_NAME, OBSERVATIONS, Column

Compression = Literal["none", "lz4", "zstd"]
Chosen = Literal["auto", "none", "lz4", "zstd"]
"""``auto``: what the stream's producer says of each message (``sinks.Producer.compression``)."""

_OPTIONS = {
    "none": pa.ipc.IpcWriteOptions(compression=None),
    "lz4": pa.ipc.IpcWriteOptions(compression="lz4"),
    "zstd": pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1)),
}
_MILLISECONDS = pa.timestamp("ms", "UTC")
_ADDRESS = pa.binary(16)
_TEXT = pa.dictionary(pa.int32(), pa.string())
_MAP = pa.map_(pa.string(), pa.string())
_ROWS, _ONE_RUN, _LEFT_OUT = range(3)  # forms of a column in a message
_BLANK = b"blank"  # key of the schema's metadata: names of columns left out


class CodecError(Exception):
    """The bytes are not a message of ours; says what was found."""


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of these columns, row by row."""
    return _plan(_names(columns), (_ROWS,) * len(columns))[0]


def to_record_batch(batch: Batch, columns: Sequence[Column]) -> pa.RecordBatch:
    """The batch's arrays as Arrow, in the order of ``columns``, row by row."""
    return _as_arrow(batch, columns, [_ROWS] * len(columns))


def compression_of(chosen: Chosen, producer: Producer) -> Compression:
    """Of the body of a message appended now; ``auto`` leaves it to the producer."""
    return producer.compression() if chosen == "auto" else chosen


def encode(batch: Batch, columns: Sequence[Column], compression: Compression = "lz4") -> bytes:
    """Bytes of one message; the batch may hold more columns than are written."""
    return b"".join(encode_parts(batch, columns, compression))


def encode_parts(
    batch: Batch, columns: Sequence[Column], compression: Compression = "lz4", *, runs: bool = False
) -> Encoded:
    """The same in pieces; uncompressed columns are the batch's own memory, which must not change before its use."""
    short = _as_arrow(batch, columns, [_form(batch, column, runs=True) for column in columns])
    rows = short if runs else _as_arrow(batch, columns, [_form(batch, column, runs=False) for column in columns])
    return Encoded(_stream(rows, compression), short)


def encode_arrow(rows: pa.RecordBatch, compression: Compression = "lz4") -> bytes:
    """Bytes of one message from Arrow rows."""
    return b"".join(_stream(rows, compression))


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
    """The batch of a message: read-only views, constant columns as such; CodecError as ``split``."""
    rows, constants = split(decode_arrow(body), columns)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for column in columns:
        value = constants.get(column.name)
        if value is None:
            array = rows.column(column.name)
            if column.is_label:
                labels[column.name] = tuple(array.dictionary.to_pylist())
                array = array.indices
            arrays[column.name] = _view(array, column.numpy)
        elif column.is_label:
            labels[column.name] = (value.as_py(),)
            arrays[column.name] = constant(0, column.numpy, rows.num_rows)
        else:
            plain = value.value if value.type == _MILLISECONDS else value.as_py()
            arrays[column.name] = constant(plain, column.numpy, rows.num_rows)
    return Batch(arrays, labels)


def split(rows: pa.RecordBatch, columns: Sequence[Column]) -> tuple[pa.RecordBatch, dict[str, pa.Scalar]]:
    """A message's columns that have a value a row, and the values of those that have one for all of them.

    What a writer of an older version did not know of is constantly blank.  CodecError when a column is missing and
    nothing says that it is blank, too many or of another type.
    """
    found = dict(zip(rows.schema.names, rows.columns, strict=True))
    left_out = set((rows.schema.metadata or {}).get(_BLANK, b"").decode().split())
    varying: dict[str, pa.Array] = {}
    constants: dict[str, pa.Scalar] = {}
    for column in columns:
        name, kind = column.name, _arrow_type(column)
        array = found.pop(name, None)
        if array is None:
            if column.since == 1 and name not in left_out:
                raise CodecError(f"columns differ: {_difference(rows.schema, columns)}")
            constants[name] = _blank(name)
        elif array.type == kind:
            varying[name] = array
        elif array.type == _one_run(column):
            if not rows.num_rows or array.find_physical_length() != 1 or not array.values[0].is_valid:
                raise CodecError(f"column {name} has not one value in one run")
            constants[name] = array.values[array.find_physical_offset()]
        else:
            raise CodecError(f"columns differ: {_difference(rows.schema, columns)}")
    if found:
        raise CodecError(f"columns differ: {_difference(rows.schema, columns)}")
    if not varying:  # a record batch without columns does not know how many rows it has
        name = columns[0].name
        varying[name] = _repeated(constants.pop(name), rows.num_rows, columns[0])
    return pa.RecordBatch.from_arrays(list(varying.values()), list(varying)), constants


def complete(rows: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """A message's rows with all these columns, row by row; CodecError as ``split``."""
    expected = arrow_schema(columns)
    if rows.schema.equals(expected):
        return rows
    varying, constants = split(rows, columns)
    arrays = [
        _repeated(constants[column.name], rows.num_rows, column)
        if column.name in constants
        else varying.column(column.name)
        for column in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=expected)


def at_rest(rows: pa.Table) -> pa.Table:
    """Flows as a store takes them: ``extra`` as a map, and left out where all of it is blank: nobody pays for it then.

    CodecError when a text of it is no JSON object of texts.
    """
    place = rows.schema.get_field_index("extra")
    if place < 0:
        return rows
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


def _stream(rows: pa.RecordBatch, compression: Compression) -> Parts:
    collected = _Pieces()
    with pa.ipc.new_stream(pa.PythonFile(collected, "w"), rows.schema, options=_OPTIONS[compression]) as writer:
        writer.write_batch(rows)
    return collected.parts


class _Pieces:
    """A file that keeps what is written, by reference: Arrow hands over its buffers as they are."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []

    def write(self, data: bytes | pa.Buffer) -> int:
        self.parts.append(data if isinstance(data, bytes) else memoryview(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple([column.name for column in columns])


@lru_cache(1024)  # forms are as many as mixtures of exporters
def _plan(
    names: tuple[str, ...], forms: tuple[int, ...]
) -> tuple[pa.Schema, tuple[tuple[Column, int, pa.DataType], ...]]:
    """Schema and, by column written, its form and its type row by row: 0.3 ms a message when made anew."""
    plan, fields = [], []
    for name, form in zip(names, forms, strict=True):
        column = BY_NAME[name]
        if form != _LEFT_OUT:
            plan.append((column, form, _arrow_type(column)))
            fields.append((name, _one_run(column) if form == _ONE_RUN else _arrow_type(column)))
    blank = " ".join(name for name, form in zip(names, forms, strict=True) if form == _LEFT_OUT)
    return pa.schema(fields, {_BLANK: blank} if blank else None), tuple(plan)


def _arrow_type(column: Column) -> pa.DataType:
    if column.is_label:
        return _TEXT
    if column.dtype == "V16":
        return _ADDRESS
    if column.dtype == "M8[ms]":
        return _MILLISECONDS
    return pa.from_numpy_dtype(column.numpy)


def _one_run(column: Column) -> pa.DataType:
    return pa.run_end_encoded(pa.int32(), pa.string() if column.is_label else _arrow_type(column))


def _form(batch: Batch, column: Column, *, runs: bool) -> int:
    array = batch.columns[column.name]
    if not len(array) or not is_constant(array):
        return _ROWS
    if column.is_label:
        is_blank = batch.labels[column.name][int(array[0])] == column.blank
    else:
        is_blank = not any(array[:1].tobytes())
    return _LEFT_OUT if is_blank else _ONE_RUN if runs else _ROWS


def _as_arrow(batch: Batch, columns: Sequence[Column], forms: Sequence[int]) -> pa.RecordBatch:
    if all(form == _LEFT_OUT for form in forms):  # a record batch without columns does not know how many rows it has
        forms = (_ROWS, *forms[1:])
    schema, plan = _plan(_names(columns), tuple(forms))
    arrays = [_run_of(batch, *step[::2]) if step[1] == _ONE_RUN else _rows_of(batch, *step[::2]) for step in plan]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _rows_of(batch: Batch, column: Column, kind: pa.DataType) -> pa.Array:
    array = np.ascontiguousarray(batch.columns[column.name], column.numpy)
    if column.is_label:
        codes = pa.Array.from_buffers(pa.int32(), len(array), [None, pa.py_buffer(array)])
        return pa.DictionaryArray.from_arrays(codes, pa.array(batch.labels[column.name], pa.string()))
    # A V16 array exports no buffer of plain bytes: hand over the same memory as uint8.
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(array.view("u1"))])


def _run_of(batch: Batch, column: Column, kind: pa.DataType) -> pa.Array:
    array = batch.columns[column.name]
    if column.is_label:
        return _run(pa.string(), batch.labels[column.name][int(array[0])], len(array))
    return _run(kind, array[:1].tobytes(), len(array))


@lru_cache(1024)
def _run(kind: pa.DataType, value: str | bytes, rows: int) -> pa.Array:
    one = pa.array([value]) if isinstance(value, str) else pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(value)])
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), one)


@cache
def _blank(name: str) -> pa.Scalar:
    column = BY_NAME[name]
    if column.is_label:
        return pa.scalar(column.blank, pa.string())
    kind = _arrow_type(column)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(bytes(column.numpy.itemsize))])[0]


def _repeated(value: pa.Scalar, rows: int, column: Column) -> pa.Array:
    if not column.is_label:
        return pa.repeat(value, rows)
    codes = pa.repeat(pa.scalar(0, pa.int32()), rows)
    return pa.DictionaryArray.from_arrays(codes, pa.array([value.as_py()], pa.string()))


def _view(array: pa.Array, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if array.null_count:
        raise CodecError(f"{array.null_count} nulls in a column of type {array.type}")
    data = array.buffers()[1]
    if data is None:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)


def _difference(found: pa.Schema, columns: Sequence[Column]) -> str:
    expected = arrow_schema(columns)
    missing = [column.name for column in columns if column.name not in found.names and column.since == 1]
    unknown = [name for name in found.names if name not in expected.names]
    other = [
        f"{name}: {found.field(name).type}, not {expected.field(name).type}"
        for name in expected.names
        if name in found.names and found.field(name).type != expected.field(name).type
    ]
    return f"missing {missing}, unknown {unknown}, of another type {other}"
