"""Leases as sources deliver them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from enricher.port_levels import LAST_PORT
from enricher.prefixes import I8, U8, build

SERVICES = ("fixed", "mobile")
SEGMENTS = ("personal", "enterprise", "unknown")
ACCESSES = ("pppoe", "ipoe", "mobile", "other")

HELD = np.iinfo(np.int64).max
"""``until`` of a lease that has not ended."""


def _unset() -> NDArray[np.uint16]:
    return np.empty(0, "u2")


def _unranked() -> NDArray[np.uint8]:
    return np.empty(0, "u1")


@dataclass(frozen=True, slots=True)
class LeaseRows:
    """Leases as a source delivers them, checked, in its order; equally long arrays.

    Without port columns they hold whole addresses, without priorities that of 0.
    """

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
    port_from: NDArray[np.uint16] = field(default_factory=_unset)
    port_to: NDArray[np.uint16] = field(default_factory=_unset)  # included; 0 and 65535: the whole address
    priority: NDArray[np.uint8] = field(default_factory=_unranked)  # of the source; the larger goes first

    def __post_init__(self) -> None:
        for name, value in (("port_from", np.uint16(0)), ("port_to", np.uint16(LAST_PORT)), ("priority", np.uint8(0))):
            if len(getattr(self, name)) != len(self.bits):
                if len(getattr(self, name)):
                    raise ValueError(f"{name} has {len(getattr(self, name))} values for {len(self.bits)} leases")
                object.__setattr__(self, name, np.broadcast_to(value, len(self.bits)))

    def __len__(self) -> int:
        return len(self.bits)

    @staticmethod
    def empty() -> "LeaseRows":
        """No leases."""
        halves, times, codes = np.empty(0, "u8"), np.empty(0, "i8"), np.empty(0, "u4")
        bits = np.empty(0, "u1")
        return LeaseRows(halves, halves, bits, times, times, codes, codes, codes, codes, codes, (), ())

    @staticmethod
    def concat(parts: Sequence["LeaseRows"]) -> "LeaseRows":
        """The rows of several sources, the first part's first; equal subscribers and groups become one."""
        parts = [part for part in parts if len(part)]
        if len(parts) <= 1:
            return parts[0] if parts else LeaseRows.empty()
        subscribers, to_subscriber = _merged([part.subscribers for part in parts])
        groups, to_group = _merged([part.groups for part in parts])
        columns = {
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(LeaseRows)
            if each.name not in ("subscriber", "group", "subscribers", "groups")
        }
        return LeaseRows(
            **columns,
            subscriber=np.concatenate([new[part.subscriber] for part, new in zip(parts, to_subscriber, strict=True)]),
            group=np.concatenate([new[part.group] for part, new in zip(parts, to_group, strict=True)]),
            subscribers=subscribers,
            groups=groups,
        )

    def with_priority(self, priority: int) -> "LeaseRows":
        """The same leases of a source of this priority, 0 to 255."""
        return replace(self, priority=np.broadcast_to(np.uint8(priority), len(self)))

    def take(self, rows: NDArray[np.bool_] | I8) -> "LeaseRows":
        """These rows; the names of all others stay."""
        columns = {
            each.name: getattr(self, each.name)[rows]
            for each in fields(self)
            if each.name not in ("subscribers", "groups")
        }
        return LeaseRows(**columns, subscribers=self.subscribers, groups=self.groups)

    def without_ended(self, horizon_ms: int) -> "LeaseRows":
        """Without leases that ended by then, by their own end or a newer lease: later answers stay the same."""
        if not len(self):
            return self
        _, number = build(self.high, self.low, self.bits)
        ports = self.port_from.astype("u4") << np.uint32(16) | self.port_to
        chain = number << 8 | self.priority
        order = np.lexsort((self.since, ports, chain))
        chain, ports, since, until = chain[order], ports[order], self.since[order], self.until[order]
        same = (chain[1:] == chain[:-1]) & (ports[1:] == ports[:-1])
        fresh = np.ones(len(order), bool)  # leases of equal beginning go or stay with the one that counts, the last
        fresh[1:] = ~same | (since[1:] != since[:-1])
        run = np.cumsum(fresh) - 1
        last = np.append(np.flatnonzero(fresh)[1:], len(order)) - 1
        closes = np.append(same, False)[last]
        follower = since[np.minimum(last + 1, len(order) - 1)]
        ends = np.where(closes, np.minimum(until[last], follower), until[last])
        kept = np.empty(len(order), bool)
        kept[order] = (ends > horizon_ms)[run]
        return self if kept.all() else self.take(kept)


def _merged(lists: Sequence[Sequence[str]]) -> tuple[list[str], list[NDArray[np.uint32]]]:
    """The distinct names of all lists, and for each list the position of each of its names."""
    position: dict[str, int] = {}
    positions = [
        np.fromiter((position.setdefault(name, len(position)) for name in names), "u4", len(names)) for names in lists
    ]
    return list(position), positions
