"""Changes of a lease table without building it anew.

The large table, the base, stays as it is; what has changed since is a small table beside it, the overlay.  The leases
of a prefix are replaced as a whole: the base's count no longer once the prefix is marked as moved.  Both tables'
prefixes are searched as one, so that the longest still decides.  An overlay that has grown is folded into a new base.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enricher.lease_chains import Chains, Claims, settle
from enricher.prefixes import I8, U8, PrefixTable, build

Prefixes = tuple[U8, U8, NDArray[np.uint8]]
"""High and low half of their first addresses, and their lengths of 128."""

# An overlay is settled anew at each change, at 0.5 us a lease, and a fold takes 0.7 s a million leases: at a thousand
# changes a second both cost about the same with this share.
_LARGEST_SHARE = 1 / 16
_SMALLEST_FOLD = 4_096


_UNMOVED, _GONE = -1, -2


@dataclass(frozen=True, slots=True)
class Overlay:
    """Immutable; leases that replace those of the base."""

    claims: Claims
    chains: Chains
    moved: NDArray[np.int32]  # by number of ``prefixes``: its number here, _UNMOVED, or _GONE
    replaced: int  # leases of the base that count no longer
    prefixes: PrefixTable  # those of the base, then those that are only here

    def held(self, base: Chains, rows: I8, numbers: I8, when: I8, ports: NDArray[np.uint16] | None) -> I8:
        """As ``Chains.held`` for a number of ``prefixes``; leases of the overlay follow those of the base."""
        if not numbers.size:
            return numbers
        number = np.take(self.moved, numbers, mode="clip")
        moved = np.flatnonzero(number != _UNMOVED)
        if base.prefixes.size:  # whatever it says of those that have moved, or are only here, does not count
            lease = base.held(rows, np.minimum(numbers, base.prefixes.size - 1) if moved.size else numbers, when, ports)
        else:
            lease = np.empty(len(rows), "i8")
        lease[moved] = -1
        here = moved[number[moved] != _GONE]
        lease[here] = self._mine(base, rows[here], number[here].astype("i8"), when, ports)
        return lease

    def leases(self, base: Chains) -> int:
        """In force, of both."""
        return len(base) - self.replaced + len(self.chains)

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self.chains.nbytes + self.moved.nbytes + self.claims.nbytes

    def _mine(self, base: Chains, rows: I8, numbers: I8, when: I8, ports: NDArray[np.uint16] | None) -> I8:
        lease = self.chains.held(rows, numbers, when, ports)
        return np.where(lease >= 0, lease + len(base), -1)


def overlaid(base: Chains, before: Overlay | None, claims: Claims, gone: Prefixes | None) -> Overlay:
    """The overlay in which the prefixes of these claims have these alone, and those ``gone`` have none."""
    parts = [(claims.high, claims.low, claims.bits), *([] if gone is None else [gone])]
    named, _ = build(*(np.concatenate([part[at] for part in parts]) for at in range(3)))
    numbers = base.prefixes.numbers(*named.prefixes())
    numbers = numbers[numbers >= 0]
    moved, replaced = np.full(base.prefixes.size, _UNMOVED, "i4"), 0
    if before is not None:
        moved[before.moved[: len(moved)] != _UNMOVED] = _GONE
        replaced = before.replaced
        kept = before.claims
        claims = Claims.concat((kept.take(named.numbers(kept.high, kept.low, kept.bits) < 0), claims))
    replaced += base.count(numbers[moved[numbers] == _UNMOVED])
    moved[numbers] = _GONE
    chains = settle(claims)
    high, low, bits = chains.prefixes.prefixes()
    numbers = base.prefixes.numbers(high, low, bits)
    mine, others = np.flatnonzero(numbers >= 0), np.flatnonzero(numbers < 0)
    moved[numbers[mine]] = mine
    only, order = build(high[others], low[others], bits[others])
    strangers = np.empty(len(others), "i4")
    strangers[order] = others
    return Overlay(claims, chains, np.append(moved, strangers), replaced, base.prefixes.with_more(only))


def too_large(base: Chains, overlay: Overlay) -> bool:
    """Whether it costs more to keep than to fold."""
    return max(len(overlay.claims), overlay.replaced) > max(_SMALLEST_FOLD, _LARGEST_SHARE * len(base))


def fold(base: Chains, overlay: Overlay) -> Chains:
    """A new base that answers as both."""
    claims = base.claims()
    numbers = base.prefixes.numbers(claims.high, claims.low, claims.bits)
    parts: Sequence[Claims] = (claims.take(overlay.moved[numbers] == _UNMOVED), overlay.chains.claims())
    return settle(Claims.concat(parts))
