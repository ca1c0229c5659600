"""Columns of a segment while they are filled: arrays to write to, or constants where all records say the same.

A column that is constant takes no memory, is not written to the message row by row, and is the same again in the store;
what has one value by its nature (no field fills it, one exporter) is told so, and fields are looked at.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sinks.batch import constant, is_constant

if TYPE_CHECKING:
    from collector.decoder.messages import Runs

Array = NDArray[Any]
Columns = dict[str, Array]

_FEW = 512  # rows: writing so many is cheaper than to ask whether they are the same
_PROBES = 5  # places looked at before all are


def settle(columns: Columns, name: str, value: Any = 0) -> None:
    """One value in all rows."""
    array = columns[name]
    columns[name] = constant(value, array.dtype, len(array))


def spread(columns: Columns, name: str, runs: "Runs", values: Array) -> None:
    """A value a message, numbers of the column's size or of time in ms."""
    found = runs.spread(values)
    if len(found) == 1:
        settle(columns, name, found[0])
    else:
        columns[name][:] = found.view(columns[name].dtype)


def writable(columns: Columns, name: str) -> Array:
    """The column as an array to write to; a constant one is written out."""
    array = columns[name]
    if is_constant(array):
        array = columns[name] = array.copy()
    return array


def put(columns: Columns, name: str, field: Array) -> None:
    """A field of all records."""
    array = columns[name]
    if len(field) > _FEW and all_same(field):
        columns[name] = constant(field[0], array.dtype, len(array))
    else:
        array[:] = field


def all_same(field: Array) -> bool:
    """Whether all records say the same; few are looked at where they do not."""
    first = field[0]
    step = len(field) // _PROBES
    return bool((field[step :: step or 1] == first).all()) and bool((field == first).all())


def flag(columns: Columns, where: Array | None, value: int) -> None:
    """Add to ``flags`` of some rows, or (None) of all."""
    flags = columns["flags"]
    if where is not None:
        writable(columns, "flags")[where] |= value
    elif is_constant(flags):
        settle(columns, "flags", flags[0] | value if len(flags) else value)
    else:
        flags |= value


def unflag(columns: Columns, value: int) -> None:
    """Take away from ``flags`` of all rows."""
    if columns["flags"].any():
        writable(columns, "flags")[:] &= ~np.uint32(value)


def join(columns: Columns, parts: list[tuple[int, int, Columns, Columns]]) -> None:
    """Bring parts of a batch together: rows [first, last), the arrays given for them, and what was made of these."""
    for name, array in columns.items():
        made = [part[name] for _, _, _, part in parts]
        if all(is_constant(each) and each[0] == made[0][0] for each in made):
            columns[name] = constant(made[0][0], array.dtype, len(array))
            continue
        for first, last, given, part in parts:
            if part[name] is not given[name]:
                array[first:last] = part[name]
