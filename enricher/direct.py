"""IPv4 prefixes by direct look-up: a table of /16 pages, and for each page in use a slot an address.

Two reads an address where a hash takes four and a comparison, as long as the pages in use are filled well enough that
slots cost no more memory than a bound; otherwise there is no such table, and the hash answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]

_PAGE = 1 << 16
_NOWHERE = 1 << 16
"""The page of what is no IPv4 address; larger numbers mean it too."""

_LEAST_PAGES = 16  # 4 MB: always allowed
_PREFIXES_A_PAGE = 8_192  # 32 octets a prefix: less than its lease takes


class Keyed(Protocol):
    """The distinct IPv4 prefixes of one length, as ``prefixes.Layer`` has them."""

    @property
    def bits(self) -> int:
        """Of 128."""
        ...

    @property
    def first(self) -> int:
        """Number of the first of them."""
        ...

    @property
    def size(self) -> int:
        """How many."""
        ...

    @property
    def addresses(self) -> U8:
        """Their first addresses as 32-bit numbers, in the order of their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Direct:
    """The longest prefix of each IPv4 address, by number."""

    pages: I8  # by the leading 16 bits, and of _NOWHERE: its first slot; that of pages without a prefix is 0
    slots: NDArray[np.int32]  # prefix number, or -1; the first page of them is that of no prefix

    def find(self, addresses: NDArray[np.uint32], is_other: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The longest prefix's number of each address, or -1; ``is_other``: is no IPv4 address."""
        page = (addresses >> 16).astype("i8")
        page |= is_other.astype("i8") << 16
        at = np.take(self.pages, page, mode="clip")
        at += addresses & (_PAGE - 1)
        return np.take(self.slots, at, mode="clip")

    def with_more(self, layers: Sequence[Keyed], known: Sequence[Keyed]) -> "Direct | None":
        """And these prefixes, none of which is there yet; ``known`` are those that are.  None: beyond the bound."""
        return _painted(self, layers, known) if layers else self

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self.pages.nbytes + self.slots.nbytes


def direct(layers: Sequence[Keyed]) -> Direct | None:
    """The table of these prefixes; None where it would be larger than the bound, or empty."""
    if not layers:
        return None
    return _painted(Direct(np.zeros(_NOWHERE + 1, "i8"), np.full(_PAGE, -1, "i4")), layers, ())


def _painted(before: Direct, layers: Sequence[Keyed], known: Sequence[Keyed]) -> Direct | None:
    every = [*known, *layers]
    bound = max(_LEAST_PAGES, sum(layer.size for layer in every) // _PREFIXES_A_PAGE)
    if (
        sum(layer.size * (_PAGE >> (layer.bits - 96)) for layer in layers if layer.bits < 112) > bound
    ):  # before the list
        return None
    covered = [_pages_of(layer) for layer in layers]
    wanted = np.unique(np.concatenate(covered)) if covered else np.empty(0, "i8")
    fresh = wanted[before.pages[wanted] == 0]
    used = len(before.slots) // _PAGE
    if used - 1 + len(fresh) > bound:
        return None
    pages = before.pages.copy()
    pages[fresh] = (used + np.arange(len(fresh))) * _PAGE
    slots = np.concatenate([before.slots, np.full(len(fresh) * _PAGE, -1, "i4")])
    numbered = sorted(every, key=lambda layer: layer.first)
    firsts = np.array([layer.first for layer in numbered])
    lengths = np.array([layer.bits for layer in numbered] + [0])  # the last: of -1
    for layer in layers:
        at, number = _slots_of(layer, pages)
        there = slots[at]
        longer = layer.bits > lengths[np.searchsorted(firsts, there, side="right") - 1]
        slots[at[longer]] = number[longer]
    return Direct(pages, slots)


def _pages_of(layer: Keyed) -> I8:
    first = (layer.addresses >> np.uint64(16)).astype("i8")
    if layer.bits >= 112:
        return np.unique(first)
    return (first[:, None] + np.arange(_PAGE >> (layer.bits - 96))).ravel()


def _slots_of(layer: Keyed, pages: I8) -> tuple[I8, I8]:
    """The slots that a layer's prefixes cover, and the prefix of each."""
    number = np.arange(layer.first, layer.first + layer.size)
    first, span = layer.addresses.astype("i8"), 1 << (128 - layer.bits)
    if span > _PAGE:  # a page of it at a time
        count = span // _PAGE
        first, number = (first[:, None] + np.arange(count) * _PAGE).ravel(), np.repeat(number, count)
        span = _PAGE
    at = pages[first >> 16] + (first & (_PAGE - 1))
    if span > 1:
        at, number = (at[:, None] + np.arange(span)).ravel(), np.repeat(number, span)
    return at, number
