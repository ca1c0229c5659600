"""GROUP BY in NumPy: rows of equal keys side by side, and what they add up to.

Keys are packed into one number of 64 bits where their ranges allow it, else hashed to one, and what fell together is
compared key by key; so groups are exact whatever the keys are.  Sorting 64-bit numbers takes a tenth of what the
engine's hash table takes per row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.batch import constant, is_constant

Array = NDArray[Any]

_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, of no pattern: 2^64 over the golden ratio
_SHIFT = np.uint64(29)
_FEW_BITS = 18
"""Of the row's number in a hash: of as many rows, two keys share what is left of it once in 500 times."""
_LIMIT = 1 << 64


class Groups:
    """The groups of rows with equal keys, in no order that anybody may rely on."""

    def __init__(self, keys: Sequence[Array], rows: int) -> None:
        """``keys``: integers or bool, one of each a row, ``rows`` of them; without keys all rows are one group."""
        keys = [key for key in keys if not is_constant(key)]
        self._order: Array | None = None
        self._starts: Array = np.zeros(min(rows, 1), "i8")
        if keys and rows:
            self._order, self._starts = _ordered(keys, rows)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._starts)

    def one(self, values: Array) -> Array:
        """The value of one row of each group: of a key."""
        if is_constant(values):
            return constant(values[0], values.dtype, len(self)) if len(values) else values
        first = self._starts if self._order is None else self._order[self._starts]
        found: Array = values[first]
        return found

    def sum(self, values: Array) -> Array:
        """i8: the sum of each group; of a ``constant``, so many times its value."""
        if is_constant(values) and self._rows:
            sizes: Array = np.diff(self._starts, append=self._rows)
            return sizes * int(values[0])
        return self._reduced(np.add, values.astype("i8", copy=False))

    def least(self, values: Array) -> Array:
        """The smallest value of each group."""
        return self._reduced(np.minimum, values)

    def most(self, values: Array) -> Array:
        """The largest value of each group."""
        return self._reduced(np.maximum, values)

    def either(self, values: Array) -> Array:
        """The bits that any row of a group has."""
        return self._reduced(np.bitwise_or, values)

    def _reduced(self, how: np.ufunc, values: Array) -> Array:
        if is_constant(values) and self._rows:
            return constant(values[0], values.dtype, len(self))
        if not self._rows:
            return values[:0]
        ordered = values if self._order is None else values[self._order]
        found: Array = how.reduceat(ordered, self._starts)
        return found


def _ordered(keys: Sequence[Array], rows: int) -> tuple[Array, Array]:
    """An order in which rows of equal keys are neighbours, and where each group begins in it."""
    packed, total = _packed(keys)
    if packed is None:
        return _hashed(keys)
    bits = (rows - 1).bit_length()
    order, ordered = _with_numbers(packed, bits) if total << bits <= _LIMIT else _with_order(packed)
    return order, _begins(ordered[1:] != ordered[:-1])


def _with_numbers(words: Array, bits: int) -> tuple[Array, Array]:
    """An order, and the words in it, of which only the lower ``64 - bits`` bits count.

    The row's number in the same word: sorting is half the work of finding an order, and nothing is gathered.
    """
    words <<= np.uint64(bits)
    words |= np.arange(len(words), dtype="u8")
    words.sort()
    order = (words & np.uint64((1 << bits) - 1)).view("i8")
    words >>= np.uint64(bits)
    return order, words


def _with_order(words: Array) -> tuple[Array, Array]:
    order = np.argsort(words)
    return order, words[order]


def _packed(keys: Sequence[Array]) -> tuple[Array | None, int]:
    """All keys as one number and how many values it may have; None where that is more than 64 bits hold."""
    packed: Array | None = None
    total = 1
    for key in keys:
        low = int(key.min())
        span = int(key.max()) - low + 1
        total *= span
        if total > _LIMIT:
            return None, 0
        part = key.astype("u8")
        part -= np.uint64(low % _LIMIT)
        if packed is None:
            packed = part
        else:
            packed *= np.uint64(span % _LIMIT)
            packed += part
    return packed, total


def _hashed(keys: Sequence[Array]) -> tuple[Array, Array]:
    hashed: Array = np.zeros(len(keys[0]), "u8")
    for key in keys:
        hashed ^= key.astype("u8")
        hashed *= _MIX
        hashed ^= hashed >> _SHIFT
    bits = (len(hashed) - 1).bit_length()
    order, ordered = _with_numbers(hashed, bits) if bits <= _FEW_BITS else _with_order(hashed)
    differ: Array = ordered[1:] != ordered[:-1]
    same = ~differ
    for key in keys:
        column = key[order]
        if ((column[1:] != column[:-1]) & same).any():  # two keys with one hash: once in a long life
            return _compared(keys)
    return order, _begins(differ)


def _compared(keys: Sequence[Array]) -> tuple[Array, Array]:
    order = np.lexsort(tuple(keys))
    differ = np.zeros(len(order) - 1, bool)
    for key in keys:
        column = key[order]
        differ |= column[1:] != column[:-1]
    return order, _begins(differ)


def _begins(differ: Array) -> Array:
    return np.concatenate([np.zeros(1, "i8"), np.flatnonzero(differ) + 1])
