"""Claims to addresses, settled once, so that a look-up only searches.

Claims of one prefix, port range and priority are a chain: each newer one closes the older.  Claims of one prefix and
port range are a block: where it has chains of several priorities they are cut into the pieces that count, so that at
each time one lease of a block holds.  Leases of all ports come after those of port ranges (``port_levels``) and need no
search for the port.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from enricher.port_levels import LAST_PORT, PortLevel, blocks_of
from enricher.prefixes import I8, U8, PrefixTable, build

NEVER = np.iinfo(np.int64).min
"""Until when nobody else claims it."""

_PRIORITY_BITS = 8


@dataclass(frozen=True, slots=True)
class Claims:
    """Who says to hold what, ids in place of names; equally long arrays, in the order of their sources."""

    high: U8
    low: U8
    bits: NDArray[np.uint8]
    port_from: NDArray[np.uint16]
    port_to: NDArray[np.uint16]
    priority: NDArray[np.uint8]
    since: I8
    until: I8
    sub_id: U8
    profile: NDArray[np.uint32]
    contested: I8  # until when another subscriber claims the same, NEVER for nobody

    def __len__(self) -> int:
        return len(self.bits)

    def take(self, rows: NDArray[np.bool_]) -> "Claims":
        """Those of these rows."""
        return Claims(*(getattr(self, each.name)[rows] for each in fields(self)))

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return sum(getattr(self, each.name).nbytes for each in fields(self))

    @staticmethod
    def concat(parts: Sequence["Claims"]) -> "Claims":
        """All of them; of equal ones the later part's count."""
        return Claims(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Claims)))


@dataclass(frozen=True, slots=True)
class Chains:
    """Immutable; a lease is known by its position, -1 is none."""

    prefixes: PrefixTable
    whole: I8 | None  # by prefix number: the block of all its ports, or -1; None: the number itself
    levels: tuple[PortLevel, ...]
    starts: I8 | None  # by block: its first lease; None: each block has exactly one
    since: I8  # by lease, Unix milliseconds; here and below the last row is that of -1
    until: I8
    sub_id: U8
    profile: NDArray[np.uint32]
    contested: I8 | None  # until when another subscriber claims it too; None: no lease is contested
    overlaps: int  # leases whose own ``to`` was later than the begin of the next

    def __len__(self) -> int:
        return len(self.since) - 1

    def held(self, rows: I8, numbers: I8, when: I8, ports: NDArray[np.uint16] | None) -> I8:
        """The lease of each prefix number for the time and the port (None: 0) of these rows, or -1."""
        at = when[rows]
        if self.whole is None:
            return self._of_block(numbers, at)
        port = np.zeros(len(rows), "u2") if ports is None else ports[rows]
        result = np.full(len(rows), -1, "i8")
        pending = np.arange(len(rows))
        for level in self.levels:
            block = level.find(numbers[pending], port[pending])
            hit = np.flatnonzero(block >= 0)
            result[pending[hit]] = self._of_block(block[hit], at[pending[hit]])
            pending = pending[result[pending] < 0]
        block = self.whole[numbers[pending]]
        hit = np.flatnonzero(block >= 0)
        result[pending[hit]] = self._of_block(block[hit], at[pending[hit]])
        return result

    def claims(self) -> Claims:
        """What is settled, as claims that settle to the same again."""
        blocks = len(self) if self.starts is None else len(self.starts) - 1
        port_from, port_to = np.zeros(blocks, "u2"), np.full(blocks, LAST_PORT, "u2")
        prefix = np.arange(blocks)
        if self.whole is not None:
            has = np.flatnonzero(self.whole >= 0)
            prefix[: len(has)] = has
            for level in self.levels:
                at = slice(level.first, level.first + len(level.keys))
                prefix[at], port_from[at], port_to[at] = level.prefixes, level.ports, level.last
        block = np.arange(blocks) if self.starts is None else np.repeat(np.arange(blocks), np.diff(self.starts))
        high, low, bits = self.prefixes.prefixes()
        number = prefix[block]
        return Claims(
            high[number], low[number], bits[number], port_from[block], port_to[block],
            np.zeros(len(self), "u1"), self.since[:-1], self.until[:-1], self.sub_id[:-1],
            self.profile[:-1], np.full(len(self), NEVER) if self.contested is None else self.contested,
        )  # fmt: skip

    def count(self, numbers: I8) -> int:
        """How many leases these prefixes have."""
        if self.whole is None:
            blocks = numbers
        else:
            parts = [self.whole[numbers][self.whole[numbers] >= 0]]
            parts += [level.of_prefixes(numbers) for level in self.levels]
            blocks = np.concatenate(parts)
        return len(blocks) if self.starts is None else int((self.starts[blocks + 1] - self.starts[blocks]).sum())

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        arrays = (self.whole, self.starts, self.since, self.until, self.sub_id, self.profile, self.contested)
        levels = sum(level.nbytes for level in self.levels)
        return self.prefixes.nbytes + levels + sum(array.nbytes for array in arrays if array is not None)

    def _of_block(self, blocks: I8, at: I8) -> I8:
        lease = blocks if self.starts is None else self._newest(self.starts, blocks, at)
        held = np.take(self.since, lease, mode="clip") <= at
        held &= at < np.take(self.until, lease, mode="clip")
        return lease if held.all() else np.where(held, lease, -1)

    def _newest(self, starts: I8, blocks: I8, at: I8) -> I8:
        """Each block's last lease that began by then; when none did one that is not held then."""
        first, stop = starts[blocks], starts[blocks + 1]
        newest = np.where(first < stop, stop - 1, len(self))
        pending = np.flatnonzero((stop - first > 1) & (self.since[newest] > at))  # most flows are of now
        low, high, when = first[pending] + 1, stop[pending] - 1, at[pending]
        while (low < high).any():  # binary search, all rows in step
            middle = (low + high) >> 1
            begun = (low < high) & (self.since[middle] <= when)
            high = np.where(begun | (low >= high), high, middle)
            low = np.where(begun, middle + 1, low)
        newest[pending] = low - 1
        return newest


def settle(claims: Claims) -> Chains:
    """Sort, close what newer claims close, and cut by priority."""
    prefixes, number = build(claims.high, claims.low, claims.bits)
    block, blocks, whole, levels = blocks_of(number, claims.port_from, claims.port_to, prefixes.size)
    chain = block << _PRIORITY_BITS | claims.priority
    order = np.lexsort((claims.since, chain))  # stable: equal beginnings stay in the source's order
    chain, since, until = chain[order], claims.since[order], claims.until[order]

    same = chain[1:] == chain[:-1]
    twice = same & (since[1:] == since[:-1])
    keep = np.append(~twice, np.ones(min(1, len(order)), bool))
    contested = claims.contested[order]
    if twice.any():
        contested = np.maximum(contested[keep], _rivals(keep, claims.sub_id[order], until))
        order, chain, since, until = order[keep], chain[keep], since[keep], until[keep]

    same = chain[1:] == chain[:-1]
    closed = same & (until[:-1] > since[1:])
    overlaps = int(np.count_nonzero(closed & (until[:-1] != np.iinfo(np.int64).max)))
    until[:-1][closed] = since[1:][closed]

    block = chain >> _PRIORITY_BITS
    if ((block[1:] == block[:-1]) & ~same).any():
        pieces, since, until = _pieces(block, chain & (1 << _PRIORITY_BITS) - 1, since, until)
        order, block, contested = order[pieces], block[pieces], contested[pieces]
    single = len(block) == blocks and not (block[1:] == block[:-1]).any()
    return Chains(
        prefixes=prefixes,
        whole=whole,
        levels=levels,
        starts=None if single else np.searchsorted(block, np.arange(blocks + 1)),
        since=np.append(since, 0),
        until=np.append(until, 0),
        sub_id=np.append(claims.sub_id[order], np.uint64(0)),
        profile=np.append(claims.profile[order], np.uint32(0)),
        contested=contested if (contested != NEVER).any() else None,
        overlaps=overlaps,
    )


def _rivals(keep: NDArray[np.bool_], ids: U8, until: I8) -> I8:
    """For each kept lease the latest end of another subscriber's claim from the same beginning, or NEVER."""
    winner = np.cumsum(np.append(0, keep[:-1]))  # by row: number of the kept lease its run ends in
    last = np.flatnonzero(keep)[winner]
    rivals = np.full(int(np.count_nonzero(keep)), NEVER)
    np.maximum.at(rivals, winner, np.where(ids == ids[last], NEVER, until))
    return rivals


def _pieces(block: I8, priority: I8, since: I8, until: I8) -> tuple[I8, I8, I8]:
    """Row, since and until of the times in which each lease is the one of highest priority, by block and time."""
    several = np.zeros(int(block[-1]) + 1, bool)
    several[block[1:][(block[1:] == block[:-1]) & (priority[1:] != priority[:-1])]] = True
    part = np.flatnonzero(several[block])
    # The points at which anything changes in a block: between two of them one lease counts.
    where, points = np.tile(block[part], 2), np.concatenate([since[part], until[part]])
    order = np.lexsort((points, where))
    fresh = np.ones(len(order), bool)
    fresh[1:] = (where[order][1:] != where[order][:-1]) | (points[order][1:] != points[order][:-1])
    rank = np.empty(len(order), "i8")
    rank[order] = np.cumsum(fresh) - 1
    points = points[order][fresh]
    begin, end = rank[: len(part)], rank[len(part) :]
    winner = np.full(len(points), -1, "i8")
    for level in np.unique(priority[part]).tolist():  # the highest is painted last
        rows = np.flatnonzero((priority[part] == level) & (begin < end))
        lengths = end[rows] - begin[rows]
        ramp = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        winner[np.repeat(begin[rows], lengths) + ramp] = np.repeat(part[rows], lengths)
    edges = np.flatnonzero(np.append(True, winner[1:] != winner[:-1]))
    held = edges[winner[edges] >= 0]
    # A piece ends at the next edge: behind each lease's end there is a point, which is another's or nobody's.
    ends = points[np.append(edges[1:], 0)[np.searchsorted(edges, held)]]
    rest = np.flatnonzero(~several[block])
    pieces = np.concatenate([rest, winner[held]])
    begins = np.concatenate([since[rest], points[held]])
    ends = np.concatenate([until[rest], ends])
    order = np.lexsort((begins, block[pieces]))
    return pieces[order], begins[order], ends[order]
