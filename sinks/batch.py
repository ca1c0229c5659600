"""A batch: columns of many flow records, one schema version."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.schema import BY_NAME, Column


@dataclass(slots=True)
class Batch:
    """Equally long arrays by column name.

    A label column (``Column.is_label``) is a uint32 array of codes into ``labels[name]``, a tuple of distinct strings.
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
        return Batch({name: array[rows] for name, array in self.columns.items()}, self.labels)

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
            columns[name] = np.concatenate(arrays)
        return Batch(columns, labels)


def _merge_labels(
    codes: list[NDArray[Any]], labels: Sequence[tuple[str, ...]]
) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    if all(values == labels[0] for values in labels):
        return codes, labels[0]
    numbers: dict[str, int] = {}
    merged = []
    for array, values in zip(codes, labels, strict=True):
        table = np.array([numbers.setdefault(value, len(numbers)) for value in values], "u4")
        merged.append(table[array])
    return merged, tuple(numbers)
