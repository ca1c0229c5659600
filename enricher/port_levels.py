"""Port ranges of one address, each of another holder (MAP-E, DS-Lite, blocks of a CGNAT).

Ranges of one prefix lie in levels: within a level none overlap, and of two that do the narrower lies in the earlier
level (of equally wide ones that which begins higher).  Nearly all lie in the first; its keys are found through a grid
of cells, two a range: a binary search over a million keys takes five times as long.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from enricher.prefixes import I8

LAST_PORT = 65_535

_PORT_BITS = 16
_STEPS = 4  # in a cell with more keys they are searched


@dataclass(frozen=True, slots=True)
class PortGrid:
    """For each prefix of a level cells of equally many ports, and how many of the level's keys lie before each."""

    place: NDArray[np.uint32]  # by prefix number: which of the level's prefixes it is; the last cells are of all others
    shift: int  # ports to cells
    starts: NDArray[np.uint32]  # by prefix's place and cell; one more than there are

    def after(self, numbers: I8, ports: NDArray[np.uint16]) -> I8:
        """How many keys lie before the end of the cell of each."""
        cell = np.take(self.place, numbers).astype("i8") << _PORT_BITS - self.shift | ports >> self.shift
        return np.take(self.starts, cell + 1, mode="clip").astype("i8")


@dataclass(frozen=True, slots=True)
class PortLevel:
    """Port ranges of which none overlap, in order of prefix number and first port."""

    keys: I8  # prefix number << 16 | first port
    last: NDArray[np.uint16]  # last port, included
    first: int  # block of the first of them
    grid: PortGrid | None  # None: few

    def find(self, numbers: I8, ports: NDArray[np.uint16]) -> I8:
        """The block of each prefix that has the port, or -1."""
        asked = numbers << _PORT_BITS | ports
        at = self._before(asked) if self.grid is None else self._in_cell(self.grid, numbers, ports, asked)
        key = np.take(self.keys, at, mode="clip")
        fits = (key <= asked) & (key >> _PORT_BITS == numbers) & (ports <= np.take(self.last, at, mode="clip"))
        return np.where(fits, at + self.first, -1)

    def of_prefixes(self, numbers: I8) -> I8:
        """The blocks of these prefixes."""
        begin, end = (np.searchsorted(self.keys, numbers + more << _PORT_BITS) for more in (0, 1))
        parts = [np.arange(one, two) + self.first for one, two in zip(begin, end, strict=True) if one < two]
        return np.concatenate(parts) if parts else np.empty(0, "i8")

    @property
    def prefixes(self) -> I8:
        """The prefix number of each range."""
        return self.keys >> _PORT_BITS

    @property
    def ports(self) -> I8:
        """The first port of each range."""
        return self.keys & LAST_PORT

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        grid = 0 if self.grid is None else self.grid.place.nbytes + self.grid.starts.nbytes
        return self.keys.nbytes + self.last.nbytes + grid

    def _before(self, asked: I8) -> I8:
        """The last key up to each, or -1."""
        return np.searchsorted(self.keys, asked, side="right") - 1

    def _in_cell(self, grid: PortGrid, numbers: I8, ports: NDArray[np.uint16], asked: I8) -> I8:
        """As ``_before``, of prefixes that have a range up to the port."""
        at = grid.after(numbers, ports) - 1
        key = np.take(self.keys, at, mode="clip")
        pending = np.flatnonzero((key > asked) & (key >> _PORT_BITS == numbers))
        for _ in range(_STEPS):
            if not pending.size:
                return at
            at[pending] -= 1
            pending = pending[np.take(self.keys, at[pending], mode="clip") > asked[pending]]
        at[pending] = self._before(asked[pending])
        return at


def blocks_of(
    number: I8, port_from: NDArray[np.uint16], port_to: NDArray[np.uint16], prefixes: int
) -> tuple[I8, int, I8 | None, tuple[PortLevel, ...]]:
    """Block by row, how many, by prefix number the block of all its ports (-1: none; None: the number), and levels."""
    ranged = (port_from != 0) | (port_to != LAST_PORT)
    if not ranged.any():
        return number, prefixes, None, ()
    has = np.zeros(prefixes, bool)
    has[number[~ranged]] = True
    whole = np.where(has, np.cumsum(has) - 1, -1)
    first = int(np.count_nonzero(has))
    block = whole[number]
    key = number[ranged] << 2 * _PORT_BITS | port_from[ranged].astype("i8") << _PORT_BITS | port_to[ranged]
    distinct, which = np.unique(key, return_inverse=True)
    depth = _depths(distinct)
    by_depth = np.argsort(depth, kind="stable")
    place = np.empty(len(distinct), "i8")
    place[by_depth] = np.arange(len(distinct)) + first
    block[ranged] = place[which]
    edges = np.searchsorted(depth[by_depth], np.arange(int(depth.max()) + 2))
    ordered = distinct[by_depth]
    levels = tuple(
        PortLevel(
            keys=ordered[begin:end] >> _PORT_BITS,
            last=(ordered[begin:end] & LAST_PORT).astype("u2"),
            first=first + begin,
            grid=None if begin else _grid(ordered[begin:end] >> _PORT_BITS, prefixes),
        )
        for begin, end in pairwise(edges.tolist())
    )
    return block, first + len(distinct), whole, levels


def _depths(ranges: I8) -> I8:
    """By port range its level; the ranges are distinct and sorted."""
    number, first, last = ranges >> 2 * _PORT_BITS, ranges >> _PORT_BITS & LAST_PORT, ranges & LAST_PORT
    depth = np.zeros(len(ranges), "i8")
    # Where no neighbours overlap no others do: blocks of a CGNAT never come into this loop.
    overlaps = (number[1:] == number[:-1]) & (first[1:] <= last[:-1])
    for each in np.unique(number[1:][overlaps]).tolist():
        begin, end = np.searchsorted(number, (each, each + 1)).tolist()
        ports, at = np.unique(np.append(first[begin:end], last[begin:end] + 1), return_inverse=True)
        taken = np.zeros(len(ports), "i8")  # levels, by stretch of ports
        for row in np.lexsort((-first[begin:end], last[begin:end] - first[begin:end])).tolist():  # narrow ones first
            stretch = taken[at[row] : at[row + end - begin]]
            depth[begin + row] = stretch.max()
            stretch[:] = depth[begin + row] + 1
    return depth


def _grid(keys: I8, prefixes: int) -> PortGrid:
    mine = np.zeros(prefixes, bool)
    mine[keys >> _PORT_BITS] = True
    count = int(np.count_nonzero(mine))
    place = np.where(mine, np.cumsum(mine) - 1, count).astype("u4")
    cell_bits = min(_PORT_BITS, (2 * len(keys) // count - 1).bit_length())
    shift = _PORT_BITS - cell_bits
    begins = np.flatnonzero(mine)[:, None] << _PORT_BITS | np.arange(1 << cell_bits) << shift
    starts = np.searchsorted(keys, begins.ravel())
    return PortGrid(place, shift, np.append(starts, np.full((1 << cell_bits) + 1, len(keys))).astype("u4"))
