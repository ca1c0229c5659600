"""Leases by key, in columns that change in place: a million of them become LeaseRows in a fraction of a second.

What is held follows from the newest record of each key and the time, whatever came before and in whichever order the
keys came: all enrichers have the same.  Leases that ended longer ago than the history are not held.
"""

from array import array
from dataclasses import replace

import numpy as np

from enricher.leases import LeaseRows
from enricher.prefixes import I8
from enricher.radius.lease_columns import LeaseColumns
from enricher.sources.lease_records import LeaseRecord, RecordError

_MOST_GROUPS = 8_192  # beyond it ClickHouse gives up the shared dictionary of a LowCardinality column
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class KeyedLeases:
    """Not for two threads at once."""

    def __init__(self, most: int, history_ms: int) -> None:
        """``most`` leases are held."""
        self._most, self._history_ms = most, history_ms
        self._slots: dict[bytes, int] = {}
        self._columns = LeaseColumns()
        self._keys: list[bytes] = []  # by slot; b"": a free one
        self._until, self._ports = array("q"), array("I")
        self._groups: set[str] = set()
        self.version = 0  # grows with every change
        self.newest_ms = 0  # begin of the newest lease

    def __len__(self) -> int:
        return len(self._slots)

    def take(self, key: bytes, lease: LeaseRecord | None, now_ms: int) -> None:
        """The newest record of a key; RecordError when there is no room for it."""
        slot = self._slots.get(key, -1)
        if lease is None or lease.until_ms <= now_ms - self._history_ms:
            if slot >= 0:
                self._remove(key, slot)
            return
        if slot < 0 and len(self._slots) >= self._most:
            raise RecordError("full", f"{self._most:,} leases are held already (setting max_leases)")
        if lease.group not in self._groups:
            if len(self._groups) >= _MOST_GROUPS:
                raise RecordError("text", f"more than {_MOST_GROUPS:,} groups: a group is a few words for many")
            self._groups.add(lease.group)
        labels = (lease.service, lease.segment, lease.access, lease.group)
        slot = self._columns.put(slot, lease.prefix, lease.since_ms, lease.until_ms, lease.subscriber, labels)
        if slot == len(self._keys):
            self._keys.append(key)
            self._until.append(0)
            self._ports.append(0)
        self._slots[key] = slot
        self._keys[slot], self._until[slot] = key, lease.until_ms
        self._ports[slot] = lease.port_from << 16 | lease.port_to
        self.newest_ms = max(self.newest_ms, lease.since_ms)
        self.version += 1

    def forget(self, now_ms: int) -> None:
        """Let go of those that ended longer ago than the history."""
        until = np.array(self._until)
        for slot in np.flatnonzero((until > 0) & (until <= now_ms - self._history_ms)).tolist():
            self._remove(self._keys[slot], slot)

    def rows(self) -> LeaseRows:
        """All leases.  A lease keeps its place; of those that contradict each other the one of the last key counts."""
        used = np.flatnonzero(np.array(self._until))
        ports = np.array(self._ports)[used]
        rows = replace(
            self._columns.rows(), port_from=(ports >> np.uint32(16)).astype("u2"), port_to=ports.astype("u2")
        )
        order = self._settled(rows, used)
        return rows if order is None else rows.take(order)

    def _settled(self, rows: LeaseRows, slots: I8) -> I8 | None:
        """Leases of one prefix, ports and begin among their places in the order of their keys; None: there are none."""
        hashes = np.zeros(len(rows), "u8")
        for column in (rows.high, rows.low, rows.bits, rows.port_from, rows.port_to, rows.since.view("u8")):
            hashes ^= column
            hashes *= _GOLDEN
            hashes ^= hashes >> np.uint64(29)
        ordered = np.sort(hashes)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return None
        order = np.arange(len(rows))
        places: dict[int, list[int]] = {}
        for row in np.flatnonzero(np.isin(hashes, twice)).tolist():
            places.setdefault(int(hashes[row]), []).append(row)
        for some in places.values():
            order[some] = sorted(some, key=lambda row: self._keys[slots[row]])
        return order

    def _remove(self, key: bytes, slot: int) -> None:
        del self._slots[key]
        self._columns.remove(slot)
        self._keys[slot], self._until[slot] = b"", 0
        self.version += 1
