"""Longest-prefix match over arrays of addresses.

Prefixes of one family and length are a layer: their keys in order of a multiplicative hash, found by its bucket.  A
look-up costs 30-40 ns in a table of a million, sorted keys with sorted probes 100-145 ns, and needs no sorting of what
is asked.  Most flows have one end far from any subscriber: a table of pages, small enough for the cache, answers
"in a pool at all?" first.  IPv4 has a table of every address of its pools beside it (``direct``), where that is not too
large; then the hash is asked only about what the longest prefix does not answer.

Addresses are 16 bytes in network order, IPv4 as ``::ffff:a.b.c.d``; a prefix of IPv4 never holds an IPv6 address, nor
the other way round, ``::/0`` included.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from enricher.direct import Direct, direct

U8 = NDArray[np.uint64]
I8 = NDArray[np.int64]
Accept = Callable[[I8, I8], I8]
"""(rows asked, prefix number of each) -> a value of 0 or more, or -1: a shorter prefix may answer."""

MAPPED = 0xFFFF
"""The middle 32 bits of an IPv4-mapped address (RFC 4291 section 2.5.5.2)."""
_MAPPED_AS_STORED = np.array(MAPPED, ">u4").view("u4")[()]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads runs of neighbouring keys evenly
_PAGE_BITS = 16  # 64 KB of pages stay in the first cache; a page is an IPv4 /16, or some IPv6 /40s
_V6_PAGE = 40  # a provider's pools are rarely smaller
_MAX_PAGES = 1 << _PAGE_BITS


class PrefixError(ValueError):
    """The text is not a prefix; says why."""


def parse_prefix(text: str) -> tuple[int, int, int]:
    """(high 64 bits, low 64 bits, length of 128) of ``192.0.2.0/24`` or ``2001:db8::/32``; an address alone is itself.

    IPv4 comes as its mapped form, so its length is 96 more than written.  PrefixError when it is none, or when bits
    are set behind its length.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
        address = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        raise PrefixError(f"{text!r} is not a prefix such as 192.0.2.0/24 or 2001:db8::/56") from None
    if "%" in text or ("/" in text and not text.rpartition("/")[2].isdecimal()):
        raise PrefixError(f"{text!r}: write the length as a number, and no zone")
    if network.network_address != address:
        raise PrefixError(f"{text!r} has bits set behind its length: did you mean {network}?")
    value, bits = int(address), network.prefixlen
    if address.version == 4:
        value, bits = value | MAPPED << 32, bits + 96
    return value >> 64, value & (2**64 - 1), bits


def halves(addresses: NDArray[np.void]) -> tuple[U8, U8]:
    """High and low 64 bits of V16 addresses, in native order."""
    pairs = np.ascontiguousarray(addresses).view(">u8").reshape(-1, 2)
    return pairs[:, 0].astype("u8"), pairs[:, 1].astype("u8")


def is_mapped(high: U8, low: U8) -> NDArray[np.bool_]:
    """Which addresses are IPv4."""
    mapped: NDArray[np.bool_] = (high == 0) & ((low >> np.uint64(32)) == MAPPED)
    return mapped


@dataclass(frozen=True, slots=True)
class Layer:
    """The distinct prefixes of one family and length, numbered from ``first`` in the order of their hashes."""

    bits: int  # of 128
    mapped: bool
    first: int
    high: U8  # keys: what is left of the address after the shift; padded by one, so that a probe stays inside
    low: U8 | None  # IPv4, and IPv6 longer than /64
    starts: NDArray[np.uint32]  # by bucket: its first key; one more than there are buckets

    @property
    def size(self) -> int:
        """How many prefixes."""
        return len(self.high if self.low is None else self.low) - 1

    @property
    def addresses(self) -> U8:
        """First addresses of prefixes of IPv4, as 32-bit numbers, by prefix."""
        assert self.low is not None
        addresses: U8 = self.low[:-1] << np.uint64(128 - self.bits) & np.uint64(0xFFFF_FFFF)
        return addresses

    def find(self, high: U8, low: U8) -> I8:
        """The number of the prefix that holds each address, or -1."""
        high, asked_low = _keys(high, low, self.bits, self.mapped)
        bucket = _hash(high, asked_low, _bucket_bits(len(self.starts) - 1)).view("i8")
        at = np.take(self.starts, bucket, mode="clip").astype("i8")
        stop = np.take(self.starts, bucket + 1, mode="clip")
        found = self._equal(at, high, asked_low)
        inside = at < stop
        pending = np.flatnonzero(inside & ~found)
        found &= inside
        while pending.size:  # two keys in one bucket: ask the next one, for these rows only
            at[pending] += 1
            pending = pending[at[pending] < stop[pending]]
            equal = self._equal(at[pending], high[pending], None if asked_low is None else asked_low[pending])
            found[pending[equal]] = True
            pending = pending[~equal]
        return np.where(found, at + self.first, -1)

    def _equal(self, at: I8, high: U8, low: U8 | None) -> NDArray[np.bool_]:
        equal = np.ones(len(at), bool) if self.mapped else np.take(self.high, at, mode="clip") == high
        if self.low is not None and low is not None:
            equal &= np.take(self.low, at, mode="clip") == low
        return equal


@dataclass(frozen=True, slots=True)
class PrefixTable:
    """Distinct prefixes by number, longest layers first, and the pages they lie in."""

    layers: tuple[Layer, ...]
    v4_pages: NDArray[np.bool_]
    v6_pages: NDArray[np.bool_]
    size: int
    v4: Direct | None  # None: too large, or no prefix of IPv4

    def longest(self, addresses: NDArray[np.void], accept: Accept) -> I8:
        """For each V16 address what ``accept`` says of its longest prefix that it accepts, or -1."""
        result = np.full(len(addresses), -1, "i8")
        if not self.layers:
            return result
        words = np.ascontiguousarray(addresses).view(">u4").reshape(-1, 4)
        pairs = words.view(">u8")
        # Compared as they lie there: swapping their octets first would cost as much as the rest.
        other = (pairs[:, 0].view("u8") != 0) | (words[:, 2].view("u4") != _MAPPED_AS_STORED)
        low = words[:, 3].astype("u4")
        if self.v4 is None:
            v4 = np.flatnonzero(~other & np.take(self.v4_pages, (low >> 16).astype("i8"), mode="clip"))
        else:
            numbers = self.v4.find(low, other)
            v4 = np.flatnonzero(numbers >= 0)
            found = accept(v4, np.take(numbers, v4, mode="clip").astype("i8"))
            result[v4] = found
            v4 = v4[found < 0]
        v6 = np.flatnonzero(other) if any(not layer.mapped for layer in self.layers) else np.empty(0, "i8")
        v6 = v6[np.take(self.v6_pages, _v6_page(pairs[v6, 0].astype("u8")), mode="clip")]
        for mapped, asked in ((True, v4), (False, v6)):
            if asked.size:
                high, rest = pairs[asked, 0].astype("u8"), pairs[asked, 1].astype("u8")
                self._by_hash(mapped, asked, high, rest, accept, result)
        return result

    def _by_hash(self, mapped: bool, asked: I8, high: U8, low: U8, accept: Accept, result: I8) -> None:
        """Put the answers for the rows ``asked`` into ``result``; the halves are of these rows."""
        for layer in self.layers:
            if layer.mapped != mapped:
                continue
            numbers = layer.find(high, low)
            hit = np.flatnonzero(numbers >= 0)
            found = asked[hit]
            result[found] = accept(found, numbers[hit])
            left = np.flatnonzero(result[asked] < 0)
            asked, high, low = asked[left], high[left], low[left]

    def numbers(self, high: U8, low: U8, bits: NDArray[np.uint8]) -> I8:
        """The number of each prefix itself, or -1: no longer and no shorter one."""
        numbers = np.full(len(bits), -1, "i8")
        mapped = _is_v4(high, low, bits)
        for layer in self.layers:
            rows = np.flatnonzero((bits == layer.bits) & (mapped == layer.mapped))
            if rows.size:
                numbers[rows] = layer.find(high[rows], low[rows])
        return numbers

    def prefixes(self) -> tuple[U8, U8, NDArray[np.uint8]]:
        """First address and length of each prefix, by number."""
        high, low, bits = np.zeros(self.size, "u8"), np.zeros(self.size, "u8"), np.zeros(self.size, "u1")
        for layer in self.layers:
            at = slice(layer.first, layer.first + layer.size)
            bits[at] = layer.bits
            if layer.low is not None:
                low[at] = layer.low[:-1] << np.uint64(128 - layer.bits)
                high[at] = 0 if layer.mapped else layer.high[:-1]
            elif layer.bits:
                high[at] = layer.high[:-1] << np.uint64(64 - layer.bits)
        return high, low, bits

    def with_more(self, other: "PrefixTable") -> "PrefixTable":
        """Both tables' layers, the other's first where they are equally long; its numbers follow these."""
        layers = [replace(layer, first=layer.first + self.size) for layer in other.layers]
        layers += self.layers
        mine, theirs = (
            [layer for layer in part if layer.mapped] for part in (self.layers, layers[: len(other.layers)])
        )
        return PrefixTable(
            tuple(sorted(layers, key=lambda layer: -layer.bits)),
            self.v4_pages | other.v4_pages,
            self.v6_pages | other.v6_pages,
            self.size + other.size,
            self.v4.with_more(theirs, mine) if self.v4 is not None else None,
        )

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        arrays = [array for layer in self.layers for array in (layer.high, layer.low, layer.starts)]
        return sum(array.nbytes for array in (*arrays, self.v4_pages, self.v6_pages, self.v4) if array is not None)


def build(high: U8, low: U8, bits: NDArray[np.uint8]) -> tuple[PrefixTable, I8]:
    """The table of the distinct prefixes, and the number of each row's prefix.

    ``bits`` counts of 128; rows with the middle of a mapped address and 96 bits or more are IPv4.
    """
    mapped = _is_v4(high, low, bits)
    numbers = np.empty(len(high), "i8")
    layers: list[Layer] = []
    size = 0
    for length in np.unique(bits)[::-1].tolist():
        for family in (True, False):
            rows = np.flatnonzero((bits == length) & (mapped == family))
            if rows.size:
                layer, within = _layer(high[rows], low[rows], length, family, size)
                numbers[rows] = within
                layers.append(layer)
                size += layer.size
    v4 = _pages(_v4_page(low[mapped]), bits[mapped].astype("i8") - 96, 16, lambda page: page)
    v6_page = (high[~mapped] >> np.uint64(64 - _V6_PAGE)).view("i8")
    v6 = _pages(v6_page, bits[~mapped].astype("i8"), _V6_PAGE, _v6_page_of)
    table = direct([layer for layer in layers if layer.mapped])
    return PrefixTable(tuple(layers), v4, v6, size, table), numbers


@dataclass(frozen=True, slots=True)
class PrefixSet:
    """Addresses of some prefixes, as ``local_prefixes``."""

    table: PrefixTable

    @staticmethod
    def of(prefixes: Sequence[str]) -> "PrefixSet":
        """PrefixError names the first text that is none."""
        parsed = [parse_prefix(text) for text in prefixes]
        high, low = (np.array([prefix[half] for prefix in parsed], "u8") for half in (0, 1))
        table, _ = build(high, low, np.array([prefix[2] for prefix in parsed], "u1"))
        return PrefixSet(table)

    def contains(self, addresses: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which V16 addresses lie in one of the prefixes."""
        return self.table.longest(addresses, lambda rows, numbers: numbers) >= 0


def _is_v4(high: U8, low: U8, bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return is_mapped(high, low) & (bits >= 96)


def _layer(high: U8, low: U8, bits: int, mapped: bool, first: int) -> tuple[Layer, I8]:
    high, key_low = _keys(high, low, bits, mapped)
    # Two buckets a key: half of the probes end at once, and twice as many buckets gain nothing measurable.
    width = max(1, (2 * len(high) - 1).bit_length())
    hashes = _hash(high, key_low, width)
    order = np.lexsort((high, hashes) if key_low is None else (key_low, high, hashes))
    fresh = np.ones(len(order), bool)
    fresh[1:] = high[order][1:] != high[order][:-1]
    if key_low is not None:
        fresh[1:] |= key_low[order][1:] != key_low[order][:-1]
    numbers = np.empty(len(order), "i8")
    numbers[order] = first + np.cumsum(fresh) - 1
    distinct = order[fresh]
    starts = np.searchsorted(hashes[distinct], np.arange((1 << width) + 1, dtype="u8")).astype("u4")
    padded = np.append(distinct, distinct[:1])
    kept_high = np.empty(0, "u8") if mapped else high[padded]  # IPv4 differs only below
    return Layer(bits, mapped, first, kept_high, None if key_low is None else key_low[padded], starts), numbers


def _keys(high: U8, low: U8, bits: int, mapped: bool) -> tuple[U8, U8 | None]:
    """The leading bits as an integer key; the second half only where the first does not decide."""
    if mapped or bits > 64:
        return high, low >> np.uint64(128 - bits)
    if bits == 0:
        return np.zeros_like(high), None  # a shift by 64 is undefined
    return high >> np.uint64(64 - bits), None


def _hash(high: U8, low: U8 | None, width: int) -> U8:
    mixed = high * _GOLDEN if low is None else (high * _GOLDEN + low) * _GOLDEN
    mixed >>= np.uint64(64 - width)
    return mixed


def _bucket_bits(buckets: int) -> int:
    return buckets.bit_length() - 1


def _v4_page(low: U8) -> I8:
    return ((low >> np.uint64(16)) & np.uint64(_MAX_PAGES - 1)).view("i8")


def _v6_page(high: U8) -> I8:
    return _v6_page_of((high >> np.uint64(64 - _V6_PAGE)).view("i8"))


def _v6_page_of(page: I8) -> I8:
    hashed: I8 = ((page.view("u8") * _GOLDEN) >> np.uint64(64 - _PAGE_BITS)).view("i8")
    return hashed


def _pages(first: I8, bits: I8, page_bits: int, slot: Callable[[I8], I8]) -> NDArray[np.bool_]:
    """Which slots hold a prefix; ``first`` is the page of each prefix's first address."""
    pages = np.zeros(_MAX_PAGES, bool)
    covered = 1 << np.clip(page_bits - bits, 0, 62)
    # Beyond this hardly a page would stay out: search everything rather than list them.
    if covered[covered > 1].sum(dtype="f8") > 2 * _MAX_PAGES:
        pages[:] = True
        return pages
    ramp = np.arange(covered.sum()) - np.repeat(np.cumsum(covered) - covered, covered)
    pages[slot(np.repeat(first, covered) + ramp)] = True
    return pages
