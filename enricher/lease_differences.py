"""Which prefixes' leases differ between two states of a source.

A log of leases, such as Kea's or RADIUS accounting, changes in a few places at a time: a table in which only these are
replaced takes milliseconds, one built anew seconds.  The rows are compared by 64-bit hashes; their order is not, so a
source whose rows change places must be taken whole.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from enricher.lease_changes import Prefixes
from enricher.leases import LeaseRows
from enricher.prefixes import U8, build

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MOST_MOVED = 1 / 16  # of the rows; more have changed places rather than values
_COLUMNS = ("high", "low", "bits", "port_from", "port_to", "since", "until", "service", "segment", "access")


def row_hashes(rows: LeaseRows) -> U8:
    """Of all that a row says, names included; the same within one process."""
    hashes = np.zeros(len(rows), "u8")
    if not len(rows):
        return hashes
    columns = [getattr(rows, name).astype("u8") for name in _COLUMNS]
    for names, codes in ((rows.subscribers, rows.subscriber), (rows.groups, rows.group)):
        columns.append(np.fromiter((hash(name) for name in names), "i8", len(names)).view("u8")[codes])
    for column in columns:
        hashes ^= column
        hashes *= _GOLDEN
        hashes ^= hashes >> np.uint64(29)
    return hashes


def changed_prefixes(old: LeaseRows, old_hashes: U8, new: LeaseRows, new_hashes: U8) -> Prefixes:
    """Those of rows that only one of both has."""
    common = min(len(old), len(new))
    differ = np.flatnonzero(new_hashes[:common] != old_hashes[:common])
    if differ.size <= _MOST_MOVED * common:
        # A log changes rows in their places and appends others: no need to sort millions for that.
        came, went = (np.append(differ, np.arange(common, len(rows))) for rows in (new, old))
    else:
        came = np.flatnonzero(~np.isin(new_hashes, old_hashes))
        went = np.flatnonzero(~np.isin(old_hashes, new_hashes))
    high, low, bits = (
        np.concatenate([getattr(new, name)[came], getattr(old, name)[went]]) for name in ("high", "low", "bits")
    )
    return high, low, bits


def leases_of(parts: Sequence[LeaseRows], prefixes: Prefixes) -> tuple[LeaseRows, Prefixes]:
    """All rows of these prefixes, in the order of the parts, and the prefixes that have none."""
    table, numbers = build(*prefixes)
    there = np.zeros(table.size, bool)
    found = []
    for part in parts:
        number = table.numbers(part.high, part.low, part.bits)
        rows = np.flatnonzero(number >= 0)
        there[number[rows]] = True
        found.append(_named(part.take(rows)))
    gone = np.flatnonzero(~there[numbers])
    return LeaseRows.concat(found), (prefixes[0][gone], prefixes[1][gone], prefixes[2][gone])


def _named(rows: LeaseRows) -> LeaseRows:
    """With the names that are used, and no others."""
    used, codes = _used(rows.subscriber)
    return replace(rows, subscriber=codes, subscribers=[rows.subscribers[one] for one in used])


def _used(codes: NDArray[np.uint32]) -> tuple[list[int], NDArray[np.uint32]]:
    distinct, renumbered = np.unique(codes, return_inverse=True)
    return distinct.tolist(), renumbered.astype("u4")
