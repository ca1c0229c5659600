"""A batch: columns of many flow records, one schema version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.schema import BY_NAME, Column


def constant(value: Any, dtype: Any, rows: int) -> NDArray[Any]:
    """A column that has one value in all rows and takes the memory of one; read-only."""
    one = np.array(value, dtype)
    return np.ndarray((rows,), one.dtype, one.tobytes(), 0, (0,))  # a tenth of the time of np.broadcast_to


def is_constant(array: NDArray[Any]) -> bool:
    """Whether a column was made by ``constant``; one that merely has equal values is not looked through."""
    return array.strides == (0,)


@dataclass(slots=True)
class Batch:
    """Equally long arrays by column name.

    A label column (``Column.is_label``) is a uint32 array of codes into ``labels[name]``, a tuple of distinct strings.
    A column may be ``constant``; it stays so in what is made of the batch.
    """

    columns: dict[str, NDArray[Any]]
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return next((len(array) for array in self.columns.values()), 0)

    def slice(self, start: int, stop: int) -> "Batch":
        """Rows [start, stop), sharing memory."""
        return Batch({name: array[start:stop] for name, array in self.columns.items()}, self.labels)

    def take(self, rows: NDArray[Any]) -> "Batch":
        """The rows of a boolean mask or of an index array, copied."""
        return Batch(taken(self.columns, rows), self.labels)

    def text(self, name: str) -> list[str]:
        """A label column as strings; for people and tests, not for hot paths."""
        values = self.labels[name]
        return [values[code] for code in self.columns[name].tolist()]

    @staticmethod
    def empty(columns: Sequence[Column], rows: int = 0) -> "Batch":
        """Zeros; every label is blank."""
        arrays = {column.name: np.zeros(rows, column.numpy) for column in columns}
        return Batch(arrays, {column.name: (column.blank,) for column in columns if column.is_label})

    @staticmethod
    def concat(batches: Sequence["Batch"]) -> "Batch":
        """All rows in order; label codes are renumbered where the batches' tuples differ."""
        if len(batches) == 1:
            return batches[0]
        columns: dict[str, NDArray[Any]] = {}
        labels: dict[str, tuple[str, ...]] = {}
        for name in batches[0].columns:
            arrays = [batch.columns[name] for batch in batches]
            if BY_NAME[name].is_label:
                arrays, labels[name] = _merge_labels(arrays, [batch.labels[name] for batch in batches])
            columns[name] = joined(arrays)
        return Batch(columns, labels)


def taken(columns: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The rows of a boolean mask or of an index array; constant columns stay so."""
    count = int(np.count_nonzero(rows)) if rows.dtype == bool else len(rows)
    return {name: _repeated(array, count) if is_constant(array) else array[rows] for name, array in columns.items()}


def _repeated(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """A constant column of another length."""
    return constant(array[0] if len(array) else np.zeros((), array.dtype), array.dtype, rows)


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays of one dtype behind each other; constants of one value stay one."""
    rows = [array for array in arrays if len(array)]
    if rows and all(is_constant(array) and array[0] == rows[0][0] for array in rows):
        return _repeated(rows[0], sum(map(len, rows)))
    return np.concatenate(arrays)


def _merge_labels(
    codes: list[NDArray[Any]], labels: Sequence[tuple[str, ...]]
) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    if all(values == labels[0] for values in labels):
        return codes, labels[0]
    numbers: dict[str, int] = {}
    merged = []
    for array, values in zip(codes, labels, strict=True):
        table = np.array([numbers.setdefault(value, len(numbers)) for value in values], "u4")
        merged.append(_repeated(table[array[:1]], len(array)) if is_constant(array) else table[array])
    return merged, tuple(numbers)
