"""Who holds which address at what time, in the simulated network.

All addresses are of ranges set aside: IPv4 of 198.18.0.0/15 (benchmarks, RFC 2544) and, for more users than it has
addresses, of 100.64.0.0/10 (shared, RFC 6598); IPv6 of 2001:db8::/32 (documentation, RFC 3849).
"""

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import IPv6Address

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtide.simulator.address_pools import PORTS_A_USER, USERS_AN_ADDRESS, Pool, ipv4, local_days, pools
from flowtide.simulator.population import ACCESSES, SEGMENTS, SERVICES, Population, populate
from flowtide.simulator.scenario import PeoplePlan

HELD = np.iinfo(np.int64).max
"""``until`` of a lease that has not ended."""

LEASE_COLUMNS = ("prefix", "from", "to", "subscriber", "group", "service", "segment", "access")
"""Of the CSV that the enricher reads."""

STANDING_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Unix milliseconds: see ``standing``."""

_STREAM = 102  # of the seed
_FIRST_SHARED_PORT, _LAST_PORT = 1_024, 65_535
_EARLIEST_MS, _LATEST_MS = 30 * 86_400_000, 3_600_000  # before the begin: when the first leases began
_V6 = {"fixed": int(IPv6Address("2001:db8:1000::")) >> 64, "mobile": int(IPv6Address("2001:db8:2000::")) >> 64}
_V6_BITS = {"fixed": 56, "mobile": 64}
_V6_ROOM = 1 << 20  # prefixes of /56 up to those of mobile
_DEVICES = 4  # of a user, with an IPv6 address each
_TIME_BITS = 42  # of Unix milliseconds, until the year 2109

_ROW = np.dtype(
    [
        ("user", "i4"), ("address", "u1", 16), ("bits", "u1"), ("port_from", "u2"), ("port_to", "u2"),
        ("since_ms", "i8"), ("until_ms", "i8"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Leases:
    """All leases in columns of one length, in order of their begin."""

    population: Population
    user: NDArray[np.int32]
    address: NDArray[np.uint8]  # (m, 16), first of the prefix; IPv4 as ::ffff:a.b.c.d
    bits: NDArray[np.uint8]  # prefix length, of 128
    port_from: NDArray[np.uint16]  # 0 and 65535 where nobody shares the address
    port_to: NDArray[np.uint16]  # the last one
    since_ms: NDArray[np.int64]  # [since, until), Unix milliseconds
    until_ms: NDArray[np.int64]  # HELD when it has not ended

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def is_v4(self) -> NDArray[np.bool_]:
        """By lease."""
        mapped: NDArray[np.bool_] = (self.address[:, 10] == 0xFF) & (self.address[:, 0] == 0)
        return mapped

    def addresses(
        self, user: NDArray[np.int32], is_v6: NDArray[np.bool_], at_ms: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]]:
        """Address (k, 16) of each user at that time, and the first and last port it may use there.

        Of an IPv6 prefix one of a few devices'.  ValueError for a time before the user's first lease.
        """
        key, rows = self._by_user
        last = np.searchsorted(key, _key(user, is_v6, at_ms), side="right") - 1
        row = rows[np.maximum(last, 0)]
        wrong = (last < 0) | (self.user[row] != user) | (self.is_v4[row] == is_v6) | (self.until_ms[row] <= at_ms)
        for at in np.flatnonzero(wrong)[:1].tolist():
            raise ValueError(f"user {user[at]} has no address at {at_ms[at]} ms")
        address = self.address[row]
        address[is_v6, 15] = random.integers(1, 1 + _DEVICES, int(np.count_nonzero(is_v6)))
        return address, self.port_from[row], self.port_to[row]

    def holders(
        self, address: NDArray[np.uint8], port: NDArray[np.uint16], at_ms: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """The user who held each address and port at that time, -1 for nobody.  Slow: all leases are read for each."""
        found = np.full(len(address), -1, "i4")
        for at in range(len(address)):
            whole = address[at].tobytes()
            held = (self.since_ms <= at_ms[at]) & (at_ms[at] < self.until_ms)
            held &= (self.port_from <= port[at]) & (port[at] <= self.port_to)
            for row in np.flatnonzero(held).tolist():
                octets = int(self.bits[row]) // 8
                if self.address[row, :octets].tobytes() == whole[:octets]:
                    found[at] = self.user[row]
        return found

    def table(self) -> pa.Table:
        """The leases as a table of texts and times, in their order; ``to`` is null for leases still held."""
        people, user = self.population, self.user
        until = pa.array(self.until_ms, mask=self.until_ms == HELD).cast(pa.timestamp("ms", "UTC"))
        return pa.table(
            {
                "prefix": self._prefixes(),
                "port_from": pa.array(self.port_from),
                "port_to": pa.array(self.port_to),
                "from": pa.array(self.since_ms).cast(pa.timestamp("ms", "UTC")),
                "to": until,
                "subscriber": pa.array(people.subscriber).take(pa.array(user)),
                "group": pa.array(people.groups).take(pa.array(people.group[user])),
                "service": pa.array(SERVICES).take(pa.array(people.service[user])),
                "segment": pa.array(SEGMENTS).take(pa.array(people.segment[user])),
                "access": pa.array(ACCESSES).take(pa.array(people.access[user])),
            }
        )

    def _prefixes(self) -> pa.Array:
        texts = []
        octets = self.address.tobytes()
        for at, (length, is_v4) in enumerate(zip(self.bits.tolist(), self.is_v4.tolist(), strict=True)):
            if is_v4:
                texts.append(f"{socket.inet_ntop(socket.AF_INET, octets[16 * at + 12 : 16 * at + 16])}/{length - 96}")
            else:
                texts.append(f"{socket.inet_ntop(socket.AF_INET6, octets[16 * at : 16 * at + 16])}/{length}")
        return pa.array(texts, pa.string())

    @cached_property
    def _by_user(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sorted keys, and the row of each."""
        key = _key(self.user, ~self.is_v4, self.since_ms)
        rows = np.argsort(key, kind="stable")
        return key[rows], rows


def lease(plan: PeoplePlan, population: Population, seed: int, begin_ms: int, end_ms: int, zone: str) -> Leases:
    """The leases of [begin, end); those of the end stay held.  With a later end nothing before it changes.

    ``zone``: that of the days on which addresses change hands.  ValueError for more users than addresses.
    """
    random = np.random.default_rng((seed, _STREAM))
    since = begin_ms - random.integers(_LATEST_MS, _EARLIEST_MS, len(population))
    days = local_days(begin_ms, end_ms, zone)
    parts = [_of_ipv6(population, since)]
    first = dict.fromkeys(SERVICES, 1)  # 0 is the address of the network itself
    for pool in pools(plan, population):
        dealt = pool.deal(since[pool.users], days, begin_ms, end_ms, seed)
        parts.append(_of_ipv4(pool, first[pool.service], *dealt))
        first[pool.service] += pool.addresses
    every = np.concatenate(parts)
    every = every[np.lexsort((every["user"], every["since_ms"]))]
    return Leases(population, *(np.ascontiguousarray(every[name]) for name in _ROW.names or ()))


def standing(seed: int) -> Leases:
    """Of the users of the default plan: a tenth of the addresses moved on the day of STANDING_MS, none later."""
    plan = PeoplePlan()
    return lease(plan, populate(plan, seed), seed, STANDING_MS, STANDING_MS + 86_400_000, "UTC")


def _rows(user: NDArray[np.int64], since_ms: NDArray[np.int64]) -> NDArray[np.void]:
    rows = np.zeros(len(user), _ROW)
    rows["user"], rows["since_ms"], rows["until_ms"], rows["port_to"] = user, since_ms, HELD, _LAST_PORT
    return rows


def _of_ipv4(
    pool: Pool, first: int, user: NDArray[np.int64], slot: NDArray[np.int64], since_ms: NDArray[np.int64]
) -> NDArray[np.void]:
    """``slot``: an address counted from ``first``, or a part of one that is shared."""
    rows, number = _rows(user, since_ms), slot
    if pool.is_shared:
        number, part = np.divmod(slot, USERS_AN_ADDRESS)
        rows["port_from"] = _FIRST_SHARED_PORT + part * PORTS_A_USER
        rows["port_to"] = rows["port_from"] + np.uint16(PORTS_A_USER - 1)
    rows["address"][:, 10:12] = 0xFF
    rows["address"][:, 12:] = ipv4(pool.service, first + number).astype(">u4").view("u1").reshape(-1, 4)
    rows["bits"] = 128
    # A user's lease ends where its next one begins.
    order = np.lexsort((since_ms, user))
    same = user[order][1:] == user[order][:-1]
    rows["until_ms"][order[:-1][same]] = since_ms[order[1:][same]]
    return rows


def _of_ipv6(population: Population, since_ms: NDArray[np.int64]) -> NDArray[np.void]:
    """One prefix a user, for ever."""
    rows = _rows(np.arange(len(population)), since_ms)
    for service in SERVICES:
        users = population.of(service)
        if service == "fixed" and len(users) >= _V6_ROOM:
            raise ValueError(f"{len(users):,} fixed users: there are {_V6_ROOM - 1:,} prefixes")
        upper = _V6[service] + ((1 + np.arange(len(users))) << (64 - _V6_BITS[service]))
        rows["address"][users, :8] = upper.astype(">u8").view("u1").reshape(-1, 8)
        rows["bits"][users] = _V6_BITS[service]
    return rows


def _key(user: NDArray[np.int32], is_v6: NDArray[np.bool_], at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    key: NDArray[np.int64] = (user.astype("i8") * 2 + is_v6) << _TIME_BITS | at_ms
    return key
