"""Sums of many columns by a key of small numbers, as they come in."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PENDING_ROWS = 200_000  # summed up at the latest when there are so many, or half as many as there are sums


class Sums:
    """Whole numbers, exact, and floats, by a key of at most 63 bits."""

    def __init__(self, bits: Sequence[int], integers: int, floats: int) -> None:
        """``bits`` of each part of the key, the first one the highest."""
        assert sum(bits) < 64
        self._bits = tuple(bits)
        self._key = np.zeros(0, "i8")
        self._integers, self._floats = np.zeros((0, integers), "i8"), np.zeros((0, floats))
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        self._waiting = 0

    def add(
        self, key: Sequence[ArrayLike], integers: NDArray[np.int64], floats: NDArray[np.float64] | None = None
    ) -> None:
        """One row of each; the key's parts are columns."""
        packed = np.zeros(len(integers), "i8")
        for bits, part in zip(self._bits, key, strict=True):
            packed = packed << bits | np.asarray(part, "i8")
        if floats is None:
            floats = np.zeros((len(integers), self._floats.shape[1]))
        self._pending.append(_summed(packed, integers, floats))
        self._waiting += len(self._pending[-1][0])
        if self._waiting > max(_PENDING_ROWS, len(self._key) // 2):
            self._settle()

    def rows(self) -> tuple[list[NDArray[np.int64]], NDArray[np.int64], NDArray[np.float64]]:
        """The key's parts, the whole numbers and the floats, in order of the key."""
        self._settle()
        parts, rest = [], self._key
        for bits in reversed(self._bits):
            parts.append(rest & ((1 << bits) - 1))
            rest = rest >> bits
        return parts[::-1], self._integers, self._floats

    def _settle(self) -> None:
        if not self._pending:
            return
        keys, integers, floats = zip((self._key, self._integers, self._floats), *self._pending, strict=True)
        self._pending, self._waiting = [], 0
        self._key, self._integers, self._floats = _summed(
            np.concatenate(keys), np.concatenate(integers), np.concatenate(floats)
        )


def _summed(
    key: NDArray[np.int64], integers: NDArray[np.int64], floats: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    if not len(key):
        return key, integers, floats
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    return key[starts], np.add.reduceat(integers[order], starts, axis=0), np.add.reduceat(floats[order], starts, axis=0)
