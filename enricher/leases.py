"""Who held an address and port at a time.

One rule decides: the longest prefix that contains the address and has a holder for the port at that time.  Within one
prefix the narrower port range goes before the wider; within one range a source of higher priority goes before a lower
one while its lease holds.  Of one source's leases the newest that has begun counts: a new lease closes an older one of
the same prefix and range, whether that one's end is missing (a lost stop record), later, or not; what the newer leaves
behind does not come back.  Of leases with equal ``from`` the later row counts, and while another subscriber's claim
beside it lasts the answer is marked ambiguous.  Intervals are [from, to), port ranges include their last port, and a
flow without ports has port 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from enricher.lease_chains import NEVER, Chains, Claims, settle
from enricher.lease_changes import Overlay, Prefixes, fold, overlaid, too_large
from enricher.lease_rows import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows
from enricher.prefixes import I8, U8
from enricher.subscribers import sub_ids

__all__ = ["ACCESSES", "HELD", "LABELS", "SEGMENTS", "SERVICES", "LeaseRows", "LeaseTable", "Profiles"]

LABELS = ("service", "segment", "access", "sub_group")
"""The label columns that a lease gives; of flows without a lease they are empty."""


_SLICE = 65_536  # users that are Python objects at a time


@dataclass(frozen=True, slots=True)
class Profiles:
    """Rows share few combinations of labels: a number for each, so that a flow looks up one and not four."""

    codes: dict[str, NDArray[np.uint32]]  # by label column: code by profile; profile 0 is that of no lease
    labels: dict[str, tuple[str, ...]]  # by label column: its distinct values, "" first
    numbers: dict[tuple[int, int, int, str], int]  # profile by service, segment, access and group

    @staticmethod
    def empty() -> "Profiles":
        """That of no lease alone."""
        values = {"service": ("", *SERVICES), "segment": ("", *SEGMENTS), "access": ("", *ACCESSES), "sub_group": ("",)}
        return Profiles({name: np.zeros(1, "u4") for name in LABELS}, values, {})

    def extended(self, rows: LeaseRows) -> tuple["Profiles", NDArray[np.uint32]]:
        """With the combinations of these rows, and the profile of each row; what was numbered stays so."""
        if not len(rows):
            return self, np.empty(0, "u4")
        parts = (rows.service, rows.segment, rows.access, rows.group)
        sizes = (len(SERVICES), len(SEGMENTS), len(ACCESSES), max(1, len(rows.groups)))
        combined = np.ravel_multi_index(tuple(part.astype("i8") for part in parts), sizes)
        distinct, which = np.unique(combined, return_inverse=True)
        columns = [column.tolist() for column in np.unravel_index(distinct, sizes)]
        combinations = [(one, two, three, rows.groups[group]) for one, two, three, group in zip(*columns, strict=True)]
        numbers = dict(self.numbers)
        for combination in combinations:
            numbers.setdefault(combination, len(numbers) + 1)
        profile = np.array([numbers[combination] for combination in combinations], "u4")[which]
        if len(numbers) == len(self.numbers):
            return self, profile
        new = list(numbers)[len(self.numbers) :]
        groups = tuple(dict.fromkeys((*self.labels["sub_group"], *(group for *_, group in new))))
        position = {group: code for code, group in enumerate(groups)}
        added = np.array([(one + 1, two + 1, three + 1, position[group]) for one, two, three, group in new], "u4").T
        codes = {name: np.append(self.codes[name], more) for name, more in zip(LABELS, added, strict=True)}
        return Profiles(codes, self.labels | {"sub_group": groups}, numbers), profile


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Immutable; a lease is known by its position, -1 is none, and arrays by lease end with the row of -1."""

    base: Chains
    profiles: Profiles
    overlay: Overlay | None = None  # what has changed since the base was built

    @staticmethod
    def empty() -> "LeaseTable":
        """Nobody holds anything."""
        return LeaseTable.of(LeaseRows.empty(), b"")

    @staticmethod
    def of(rows: LeaseRows, key: bytes) -> "LeaseTable":
        """Settle who holds what when; each subscriber is hashed once."""
        profiles, claims = _claims(rows, key, Profiles.empty())
        return LeaseTable(settle(claims), profiles)

    def changed(self, rows: LeaseRows, key: bytes, gone: Prefixes | None = None) -> "LeaseTable":
        """The same table with all leases of some prefixes replaced: of those in ``rows`` by these, of ``gone`` by none.

        Answers as a table built anew.  Milliseconds for a thousand prefixes; a table whose changes have grown to a
        share of it is built anew, at about a second a million.
        """
        profiles, claims = _claims(rows, key, self.profiles)
        changes = overlaid(self.base, self.overlay, claims, gone)
        if too_large(self.base, changes):
            return LeaseTable(fold(self.base, changes), profiles)
        return LeaseTable(self.base, profiles, changes)

    def lookup(
        self,
        addresses: NDArray[np.void],
        times: NDArray[np.datetime64],
        ports: NDArray[np.uint16] | None = None,
    ) -> I8:
        """The lease that held each V16 address and port (None: 0) at each M8[ms] time, or -1."""
        when, base, changes = times.view("i8"), self.base, self.overlay
        if changes is None:
            return base.prefixes.longest(addresses, lambda rows, numbers: base.held(rows, numbers, when, ports))
        return changes.prefixes.longest(addresses, lambda rows, numbers: changes.held(base, rows, numbers, when, ports))

    @property
    def has_contested(self) -> bool:
        """Whether some lease is claimed by another subscriber too."""
        return any(chains.contested is not None for _, chains in self._parts())

    def is_ambiguous(self, leases: I8, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Where another subscriber claimed the address too."""
        until = np.full(len(leases), NEVER)
        for first, chains in self._parts():
            if chains.contested is not None:
                rows = np.flatnonzero((leases >= first) & (leases < first + len(chains)))
                until[rows] = chains.contested[leases[rows] - first]
        ambiguous: NDArray[np.bool_] = times.view("i8") < until
        return ambiguous

    def holders(self, leases: I8) -> tuple[U8, I8]:
        """``sub_id`` and profile of each lease; 0 and 0 of none."""
        overlay = self.overlay
        mode: Literal["wrap", "clip"] = "wrap" if overlay is None else "clip"
        ids = np.take(self.base.sub_id, leases, mode=mode)
        profile = np.take(self.base.profile, leases, mode=mode).astype("i8")
        if overlay is not None:
            none = np.flatnonzero(leases < 0)
            ids[none], profile[none] = 0, 0
            changed = np.flatnonzero(leases >= len(self.base))
            there = leases[changed] - len(self.base)
            ids[changed], profile[changed] = overlay.chains.sub_id[there], overlay.chains.profile[there]
        return ids, profile

    def __len__(self) -> int:
        """Leases in force; positions reach further when some have been replaced."""
        return len(self.base) if self.overlay is None else self.overlay.leases(self.base)

    @property
    def since(self) -> I8:
        """By lease, Unix milliseconds."""
        return self._by_lease("since")

    @property
    def until(self) -> I8:
        """By lease, Unix milliseconds; not included."""
        return self._by_lease("until")

    @property
    def sub_id(self) -> U8:
        """By lease; 0 of none."""
        return self._by_lease("sub_id")

    @property
    def profile(self) -> NDArray[np.uint32]:
        """By lease: its row of ``codes``; 0, that of none, is empty."""
        return self._by_lease("profile")

    @property
    def codes(self) -> dict[str, NDArray[np.uint32]]:
        """By label column: code by profile."""
        return self.profiles.codes

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """By label column: its distinct values, "" first."""
        return self.profiles.labels

    @property
    def has_ports(self) -> bool:
        """Whether some address is shared by port ranges; without any the ports asked for change nothing."""
        return any(chains.levels for _, chains in self._parts())

    @property
    def subscribers(self) -> int:
        """How many users hold or held something."""
        return len(np.unique(self.sub_id)) - 1  # the row of none

    @property
    def overlaps(self) -> int:
        """Leases whose own ``to`` was later than the begin of the next; with those replaced since."""
        return sum(chains.overlaps for _, chains in self._parts())

    @property
    def ambiguous(self) -> int:
        """Leases of one prefix and ``from`` with several subscribers; with those replaced since."""
        contested = [chains.contested for _, chains in self._parts()]
        return sum(int(np.count_nonzero(part != NEVER)) for part in contested if part is not None)

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        return self.base.nbytes + (0 if self.overlay is None else self.overlay.nbytes)

    def _by_lease(self, name: Literal["since", "until", "sub_id", "profile"]) -> NDArray[Any]:
        array: NDArray[Any] = getattr(self.base, name)
        return array if self.overlay is None else np.concatenate([array[:-1], getattr(self.overlay.chains, name)])

    def _parts(self) -> Iterator[tuple[int, Chains]]:
        """The first lease of each part, and the part."""
        yield 0, self.base
        if self.overlay is not None:
            yield len(self.base), self.overlay.chains


def _claims(rows: LeaseRows, key: bytes, profiles: Profiles) -> tuple[Profiles, Claims]:
    profiles, profile = profiles.extended(rows)
    contested = np.broadcast_to(NEVER, len(rows))
    return profiles, Claims(
        rows.high, rows.low, rows.bits, rows.port_from, rows.port_to, rows.priority, rows.since, rows.until,
        _ids(rows, key), profile, contested,
    )  # fmt: skip


def _ids(rows: LeaseRows, key: bytes) -> U8:
    """``sub_id`` by row; each user is hashed once."""
    user = (rows.subscriber.astype("u8") * len(SERVICES) + rows.service) * len(ACCESSES) + rows.access
    distinct, which = np.unique(user, return_inverse=True)
    subscriber, use = np.divmod(distinct, np.uint64(len(SERVICES) * len(ACCESSES)))
    service, access = np.divmod(use, np.uint64(len(ACCESSES)))
    parts = [
        sub_ids(
            key,
            zip(
                map(SERVICES.__getitem__, service[at : at + _SLICE].tolist()),
                map(rows.subscribers.__getitem__, subscriber[at : at + _SLICE].tolist()),
                map(ACCESSES.__getitem__, access[at : at + _SLICE].tolist()),
                strict=True,
            ),
        )
        for at in range(0, len(distinct), _SLICE)
    ]
    return np.concatenate([*parts, np.empty(0, "u8")])[which]
