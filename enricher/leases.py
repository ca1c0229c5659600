"""Who held an address at a time.

One rule decides: among the prefixes that contain the address the longest that has a holder at that time.  A prefix's
holder is its newest lease that has begun: a new lease closes an older one of the same prefix, whether that one's end
is missing (a lost stop record), later, or not; what the newer leaves behind does not come back.  Of leases with equal
prefix and ``from`` the later line counts, and while another subscriber's claim beside it lasts the answer is marked
ambiguous.  Intervals are [from, to).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enricher.prefixes import I8, U8, PrefixTable, build
from enricher.subscribers import sub_ids

SERVICES = ("fixed", "mobile")
SEGMENTS = ("personal", "enterprise", "unknown")
ACCESSES = ("pppoe", "ipoe", "mobile", "other")

HELD = np.iinfo(np.int64).max
"""``until`` of a lease that has not ended."""

LABELS = ("service", "segment", "access", "sub_group")
"""The label columns that a lease gives; of flows without a lease they are empty."""


@dataclass(frozen=True, slots=True)
class LeaseRows:
    """Leases as a source delivers them, checked, in its order; equally long arrays."""

    high: U8  # the prefix's first address; IPv4 as ::ffff:a.b.c.d
    low: U8
    bits: NDArray[np.uint8]  # prefix length, of 128
    since: I8  # Unix milliseconds
    until: I8  # HELD when it has not ended
    subscriber: NDArray[np.uint32]  # index into ``subscribers``
    service: NDArray[np.uint32]  # index into SERVICES
    segment: NDArray[np.uint32]  # index into SEGMENTS
    access: NDArray[np.uint32]  # index into ACCESSES
    group: NDArray[np.uint32]  # index into ``groups``
    subscribers: Sequence[str]
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.bits)


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Immutable; a lease is known by its position, -1 is none, and arrays by lease end with the row of -1."""

    prefixes: PrefixTable
    starts: NDArray[np.int64] | None  # by prefix number: its first lease; None: each prefix has exactly one
    record: NDArray[np.int64]  # (leases + 1, 4): since, until (Unix milliseconds), sub_id, profile; last that of -1
    contested: NDArray[np.int64] | None  # until when another subscriber claims it too; None: no lease is contested
    codes: dict[str, NDArray[np.uint32]]  # by label column: code by profile
    labels: dict[str, tuple[str, ...]]  # by label column: its distinct values, "" first
    subscribers: int = 0
    overlaps: int = 0  # leases whose own ``to`` was later than the begin of the next
    ambiguous: int = 0  # leases of one prefix and ``from`` with several subscribers

    def __len__(self) -> int:
        return len(self.record) - 1

    @property
    def sub_id(self) -> NDArray[np.uint64]:
        """By lease; 0 of none."""
        ids: NDArray[np.uint64] = self.record[:, 2].view("u8")
        return ids

    @property
    def profile(self) -> NDArray[np.int64]:
        """By lease: its row of ``codes``; 0, that of none, is empty."""
        return self.record[:, 3]

    @staticmethod
    def empty() -> "LeaseTable":
        """Nobody holds anything."""
        halves, times, codes = np.empty(0, "u8"), np.empty(0, "i8"), np.empty(0, "u4")
        bits = np.empty(0, "u1")
        rows = LeaseRows(halves, halves, bits, times, times, codes, codes, codes, codes, codes, (), ())
        return LeaseTable.of(rows, b"")

    @staticmethod
    def of(rows: LeaseRows, key: bytes) -> "LeaseTable":
        """Sort, close what newer leases close, and hash each subscriber once."""
        prefixes, number = build(rows.high, rows.low, rows.bits)
        ids, users = _ids(rows, key)
        profile, codes, labels = _profiles(rows)
        order = np.lexsort((rows.since, number))  # stable: equal beginnings stay in the source's order
        number, since, until = number[order], rows.since[order], rows.until[order].copy()

        same = number[1:] == number[:-1]
        twice = same & (since[1:] == since[:-1])
        keep = np.append(~twice, np.ones(min(1, len(order)), bool))
        contested = _contested(keep, ids[order], until) if twice.any() else None
        order, number, since, until = order[keep], number[keep], since[keep], until[keep]

        same = number[1:] == number[:-1]
        closed = same & (until[:-1] > since[1:])
        overlaps = int(np.count_nonzero(closed & (until[:-1] != HELD)))
        until[:-1][closed] = since[1:][closed]
        starts = np.searchsorted(number, np.arange(prefixes.size + 1)) if same.any() else None
        # What one flow needs of its lease lies in one cache line: each line not in the cache costs as much as the hash.
        record = np.zeros((len(order) + 1, 4), "i8")
        for column, values in enumerate((since, until, ids[order].view("i8"), profile[order])):
            record[:-1, column] = values
        return LeaseTable(
            prefixes=prefixes,
            starts=starts,
            record=record,
            contested=contested,
            codes=codes,
            labels=labels,
            subscribers=users,
            overlaps=overlaps,
            ambiguous=0 if contested is None else int(np.count_nonzero(contested != _NEVER)),
        )

    def lookup(self, addresses: NDArray[np.void], times: NDArray[np.datetime64]) -> I8:
        """The lease that held each V16 address at each M8[ms] time, or -1."""
        when = times.view("i8")

        def held(rows: I8, numbers: I8) -> I8:
            at = when[rows]
            lease = numbers if self.starts is None else self._newest(self.starts, numbers, at)
            record = np.take(self.record, lease, axis=0, mode="clip")
            return np.where((record[:, 0] <= at) & (at < record[:, 1]), lease, -1)

        return self.prefixes.longest(addresses, held)

    def is_ambiguous(self, leases: I8, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Where another subscriber claimed the address too."""
        if self.contested is None:
            return np.zeros(len(leases), bool)
        contested: NDArray[np.bool_] = times.view("i8") < np.append(self.contested, _NEVER)[leases]
        return contested

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        arrays = (self.starts, self.record, self.contested)
        return self.prefixes.nbytes + sum(array.nbytes for array in arrays if array is not None)

    def _newest(self, starts: I8, numbers: I8, at: I8) -> I8:
        """Each prefix's last lease that began by then; its first one when none did, which ``record`` refuses."""
        first, stop = starts[numbers], starts[numbers + 1]
        newest = first.copy()
        pending = np.flatnonzero(stop - first > 1)  # most addresses have one lease
        low, high, when = first[pending] + 1, stop[pending], at[pending]
        while (low < high).any():  # binary search, all rows in step
            middle = (low + high) >> 1
            begun = (low < high) & (self.record[middle, 0] <= when)
            high = np.where(begun | (low >= high), high, middle)
            low = np.where(begun, middle + 1, low)
        newest[pending] = low - 1
        return newest


_NEVER = np.iinfo(np.int64).min


def _contested(keep: NDArray[np.bool_], ids: U8, until: I8) -> I8:
    """For each kept lease the latest end of another subscriber's claim from the same beginning, or _NEVER."""
    winner = np.cumsum(np.append(0, keep[:-1]))  # by row: number of the kept lease its run ends in
    last = np.flatnonzero(keep)[winner]
    contested = np.full(int(np.count_nonzero(keep)), _NEVER)
    np.maximum.at(contested, winner, np.where(ids == ids[last], _NEVER, until))
    return contested


def _ids(rows: LeaseRows, key: bytes) -> tuple[U8, int]:
    """``sub_id`` by row, and the number of distinct users; each is hashed once."""
    user = (rows.subscriber.astype("u8") * len(SERVICES) + rows.service) * len(ACCESSES) + rows.access
    distinct, which = np.unique(user, return_inverse=True)
    users = (
        (SERVICES[one // len(ACCESSES) % len(SERVICES)], rows.subscribers[one // _USES], ACCESSES[one % len(ACCESSES)])
        for one in distinct.tolist()
    )
    return sub_ids(key, users)[which], len(distinct)


_USES = len(SERVICES) * len(ACCESSES)


def _profiles(
    rows: LeaseRows,
) -> tuple[NDArray[np.uint32], dict[str, NDArray[np.uint32]], dict[str, tuple[str, ...]]]:
    """Rows share few combinations of labels: a number for each, so that a flow looks up one and not four."""
    groups = tuple(dict.fromkeys(("", *rows.groups)))
    position = {group: code for code, group in enumerate(groups)}
    group_codes = np.array([position[group] for group in rows.groups], "u8")
    values = {
        "service": ("", *SERVICES),
        "segment": ("", *SEGMENTS),
        "access": ("", *ACCESSES),
        "sub_group": groups,
    }
    parts = (rows.service + 1, rows.segment + 1, rows.access + 1, group_codes[rows.group])
    sizes = tuple(len(values[name]) for name in LABELS)
    if len(rows) == 0:
        return np.empty(0, "u4"), {name: np.zeros(1, "u4") for name in LABELS}, values
    combined = np.ravel_multi_index(tuple(part.astype("i8") for part in parts), sizes)
    distinct, which = np.unique(combined, return_inverse=True)
    columns = np.unravel_index(distinct, sizes)
    codes = {name: np.append(0, column).astype("u4") for name, column in zip(LABELS, columns, strict=True)}
    return (which + 1).astype("u4"), codes, values
