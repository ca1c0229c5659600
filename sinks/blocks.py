"""Arrow rows as one block of ClickHouse's Native format: the memory of the columns as it is, a short head before each.

The engine takes it without a plan over the columns: the price of an insert of 41 columns, however few its rows, is
half of what it is as a query over an Arrow table, and a row's is less, too.  A column of one run (``sinks.codec``) is
written out here.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Piece = bytes | memoryview

_NUMBERS = {
    getattr(pa, f"{sign.lower()}int{bits}")(): f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_SECONDS, _MILLISECONDS = pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")
_ADDRESS = pa.binary(16)
_TYPES = {**_NUMBERS, _SECONDS: "DateTime('UTC')", _MILLISECONDS: "DateTime64(3, 'UTC')", _ADDRESS: "IPv6"}
_LABEL = "LowCardinality(String)"
_LABEL_VERSION = (1).to_bytes(8, "little")  # keys of a block stand in the block
_OWN_KEYS = 1 << 9  # with the width of the codes: 0 an octet, 1 two, 2 four


def is_block(rows: pa.Table) -> bool:
    """Whether all its columns have a form here: numbers, times, addresses, texts; no maps."""
    return all(_plain(kind) in _TYPES or _is_text(_plain(kind)) for kind in rows.schema.types)


def block(rows: pa.Table) -> list[Piece]:
    """The rows in pieces that are to be written one behind the other; they refer to the table's memory.

    ValueError for a null, a code without its text, or a column of several runs.
    """
    pieces: list[Piece] = [_varint(rows.num_columns) + _varint(rows.num_rows)]
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        array = one_array(column)
        kind = _plain(array.type)
        if array.null_count:
            raise ValueError(f"column {name} has {array.null_count} nulls")
        pieces.append(_text(name.encode()) + _text((_TYPES.get(kind) or _LABEL).encode()))
        if _is_text(kind):
            pieces += _labels(name, array)
        elif pa.types.is_run_end_encoded(array.type):
            pieces.append(bytes(_octets(array.values.slice(_run(name, array), 1))) * len(array))
        else:
            pieces.append(_octets(array))
    return pieces


def expanded(rows: pa.Table) -> pa.Table:
    """The rows with their columns of one run row by row, for those who read no run ends."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_run_end_encoded(field.type):
            array = one_array(rows.column(at))
            rows = rows.set_column(at, field.name, pa.repeat(array.values[_run(field.name, array)], len(array)))
    return rows


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_run_end_encoded(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(kind == pa.string() or (pa.types.is_dictionary(kind) and kind.value_type == pa.string()))


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A table's column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def _octets(array: pa.Array) -> memoryview:
    if array.type == _SECONDS:
        return memoryview(array.view(pa.int64()).to_numpy().astype("<u4").tobytes())
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def _labels(name: str, array: pa.Array) -> list[Piece]:
    rows = len(array)
    if pa.types.is_run_end_encoded(array.type):
        texts = [array.values[_run(name, array)].as_py()]
        codes: NDArray[Any] = np.zeros(rows, "u1")
    else:
        array = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        texts = array.dictionary.to_pylist()
        codes = np.asarray(array.indices)
        # Narrowed without a look, a code beyond the texts would be another text's.
        if rows and not 0 <= int(codes.min()) <= int(codes.max()) < len(texts):
            raise ValueError(f"column {name}: a code has no text")
    if None in texts:
        raise ValueError(f"column {name} has a null")
    width = 0 if len(texts) <= 1 << 8 else 1 if len(texts) <= 1 << 16 else 2
    head = _LABEL_VERSION + (_OWN_KEYS | width).to_bytes(8, "little") + len(texts).to_bytes(8, "little")
    keys = b"".join(_text(text.encode()) for text in texts)
    narrow = np.ascontiguousarray(codes, ("<u1", "<u2", "<u4")[width])
    return [head + keys + rows.to_bytes(8, "little"), narrow.data.cast("B")]


def _run(name: str, array: pa.Array) -> int:
    if array.find_physical_length() != 1:
        raise ValueError(f"column {name} has {array.find_physical_length()} runs, not one")
    return int(array.find_physical_offset())


def _text(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
