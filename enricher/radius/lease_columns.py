"""The leases of sessions in columns that change in place: a million of them become LeaseRows in milliseconds."""

from array import array
from typing import Any

import numpy as np

from enricher.leases import ACCESSES, SEGMENTS, SERVICES, LeaseRows
from enricher.radius.settings import Labels

_LOW_BITS = 2**64 - 1
_MOST_GROUPS = 8_192  # beyond it ClickHouse gives up the shared dictionary of a LowCardinality column
_FEW = 1_024  # names that nobody has any more are kept until they are this many, and as many as the others


Lease = tuple[int, int, str, Labels]
"""Since and until (Unix milliseconds), subscriber, labels."""


class LeaseColumns:
    """A lease is known by its slot; slots are used again."""

    def __init__(self) -> None:
        self._high, self._low, self._bits = array("Q"), array("Q"), array("B")
        self._since, self._until = array("q"), array("q")
        self._subscriber, self._labels = array("I"), array("I")
        self._free: list[int] = []
        self._names: dict[str, int] = {}
        self._name_list: list[str] = []  # by number
        self._label_numbers: dict[Labels, int] = {}
        self._label_list: list[Labels] = []  # by number
        self._groups: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._bits) - len(self._free)

    def put(self, slot: int, prefix: int, since_ms: int, until_ms: int, subscriber: str, labels: Labels) -> int:
        """Write a lease into its slot, -1 for a new one; returns the slot."""
        name = self._names.setdefault(subscriber, len(self._names))
        if name == len(self._name_list):
            self._name_list.append(subscriber)
        if slot < 0 and self._free:
            slot = self._free.pop()
        values = (
            (prefix >> 72, self._high), (prefix >> 8 & _LOW_BITS, self._low), (prefix & 0xFF, self._bits),
            (since_ms, self._since), (until_ms, self._until), (name, self._subscriber),
            (self._number(labels), self._labels),
        )  # fmt: skip
        column: Any
        if slot < 0:
            for value, column in values:
                column.append(value)
            return len(self._bits) - 1
        for value, column in values:
            column[slot] = value
        return slot

    def remove(self, slot: int) -> None:
        """Give the slot back."""
        self._since[slot] = self._until[slot] = 0
        self._free.append(slot)

    def lease(self, slot: int) -> Lease:
        """One of them."""
        subscriber = self._name_list[self._subscriber[slot]]
        return self._since[slot], self._until[slot], subscriber, self._label_list[self._labels[slot]]

    def rows(self, slots: list[int] | None = None) -> LeaseRows:
        """Copies of all leases, or of those in these slots."""
        chosen = (
            np.flatnonzero(np.array(self._since) < np.array(self._until)) if slots is None else np.array(slots, "i8")
        )
        if slots is None and len(self._names) > 2 * len(chosen) + _FEW:
            self._forget_names(chosen)
        high, low, bits, since, until, subscriber, labels = (
            np.array(column)[chosen]
            for column in (
                self._high, self._low, self._bits, self._since, self._until, self._subscriber, self._labels
            )
        )  # fmt: skip
        codes = np.array(
            [
                (SERVICES.index(each[0]), SEGMENTS.index(each[1]), ACCESSES.index(each[2]), self._groups[each[3]])
                for each in self._label_numbers
            ],
            "u4",
        ).reshape(-1, 4)
        service, segment, access, group = codes[labels].T
        names = tuple(self._name_list) if slots is None else ()
        if slots is not None:  # few leases, and all names are a million
            used, subscriber = np.unique(subscriber, return_inverse=True)
            names = tuple(self._name_list[each] for each in used.tolist())
        return LeaseRows(
            high.astype("u8"), low.astype("u8"), bits.astype("u1"), since.astype("i8"), until.astype("i8"),
            subscriber.astype("u4"), service, segment, access, group, names, tuple(self._groups),
        )  # fmt: skip

    def _number(self, labels: Labels) -> int:
        if labels not in self._label_numbers:
            if labels[3] not in self._groups:
                if len(self._groups) >= _MOST_GROUPS:
                    return self._number((*labels[:3], ""))
                self._groups[labels[3]] = len(self._groups)
            self._label_numbers[labels] = len(self._label_numbers)
            self._label_list.append(labels)
        return self._label_numbers[labels]

    def _forget_names(self, chosen: Any) -> None:
        """Number only those that have a lease."""
        subscriber = np.array(self._subscriber)
        used, number = np.unique(subscriber[chosen], return_inverse=True)
        self._name_list = [self._name_list[old] for old in used.tolist()]
        self._names = {name: new for new, name in enumerate(self._name_list)}
        subscriber[:] = 0
        subscriber[chosen] = number
        self._subscriber = array("I", subscriber.tobytes())
