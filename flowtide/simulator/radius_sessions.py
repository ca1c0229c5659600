"""RADIUS sessions of the leases: what the BRAS and the packet gateways would tell, and when.

Sessions are cut wherever an address of the user changes, so that each of them has at most one IPv4 address and one IPv6
prefix, whatever the leases say.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.kea import hardware
from flowtide.simulator.leases import Leases
from flowtide.simulator.population import SERVICES, Population
from flowtide.simulator.radius import Cause, Nas, Record, Status

_WHOLE = 65_535  # last port of an address that nobody shares
_DAY_MS = 86_400_000
_SLICE_MS = 300_000  # of time that is put in order at once, so that memory is of five minutes' records
_TIME_BITS = 42  # of Unix milliseconds, until the year 2109; users take the 21 above them

# At one moment: who leaves an address comes before who gets it.
_ORDER = {Status.STOP: 0, Status.INTERIM: 1, Status.OFF: 2, Status.ON: 3, Status.START: 4}


PPPOE_NAS = (Nas("192.0.2.201", "bras-1"), Nas("192.0.2.202", "bras-2"))
MOBILE_NAS = (Nas("192.0.2.211", "pgw-1"), Nas("2001:db8:ffff::212", "pgw-2"))


@dataclass(frozen=True, slots=True)
class Restart:
    """A NAS that starts anew: all its sessions end; not orderly: nothing is said of their ends, nor Accounting-Off."""

    nas: Nas
    at_ms: int
    orderly: bool = True


Octets = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Of users, since and until (Unix milliseconds): octets [from, to] each of them in that time, (k, 2)."""


def sessions(
    leases: Leases, population: Population, begin_ms: int, end_ms: int, interim_seconds: float, *,
    access: Sequence[str] = ("pppoe", "mobile"), restarts: Sequence[Restart] = (), octets: Octets | None = None,
) -> Iterator[Record]:  # fmt: skip
    """All records of [begin_ms, end_ms) in order of time.

    A session that began before has its Start before, and one that lasts longer has no Stop.  ``octets`` by default are
    those of the user's mean day, spread evenly over it.
    """
    users = population.of("fixed", access), population.of("mobile", access)
    table = _Sessions(leases, population, np.concatenate(users), restarts)
    count = octets or _evenly(population)
    step = min(_SLICE_MS, int(interim_seconds * 1000) or _SLICE_MS)
    for since in range(begin_ms, end_ms, step):
        until = min(since + step, end_ms)
        power = [each for each in _power(restarts) if since <= each.at_ms < until]
        own = table.records(since, until, int(interim_seconds * 1000), count)
        yield from heapq.merge(own, power, key=lambda each: (each.at_ms, _ORDER[each.status]))


class _Sessions:
    """Columns of all sessions: (user, since, until) and the leases they stand on, -1 for none."""

    def __init__(
        self, leases: Leases, population: Population, users: NDArray[np.int64], restarts: Sequence[Restart]
    ) -> None:
        self._leases, self._people = leases, population
        self._mobile = population.service == SERVICES.index("mobile")
        own = np.zeros(len(population), bool)
        own[users] = True
        row = np.flatnonzero(own[leases.user])
        user, since = leases.user[row].astype("i8"), leases.since_ms[row]
        until = np.minimum(leases.until_ms[row], 2**_TIME_BITS - 1)
        edges = [user << _TIME_BITS | since, user << _TIME_BITS | until]
        edges += [self._of(each.nas, users) << _TIME_BITS | each.at_ms for each in restarts]
        key = np.unique(np.concatenate(edges))
        same = key[1:] >> _TIME_BITS == key[:-1] >> _TIME_BITS
        begin, end = key[:-1][same], key[1:][same]
        is_v4 = leases.is_v4[row]
        self.ipv4, self.ipv6 = (
            _held(begin, row[which], user[which] << _TIME_BITS | since[which], user[which] << _TIME_BITS | until[which])
            for which in (is_v4, ~is_v4)
        )
        held = (self.ipv4 >= 0) | (self.ipv6 >= 0)
        self.ipv4, self.ipv6 = self.ipv4[held], self.ipv6[held]
        self.user = begin[held] >> _TIME_BITS
        self.since, self.until = begin[held] & (2**_TIME_BITS - 1), end[held] & (2**_TIME_BITS - 1)
        self.stops, self.cause = self.until < 2**_TIME_BITS - 1, np.full(len(self.user), Cause.USER_REQUEST, "i8")
        for each in restarts:
            ended = (self.until == each.at_ms) & np.isin(self.user, self._of(each.nas, users))
            self.cause[ended] = Cause.NAS_REBOOT
            self.stops[ended] = each.orderly

    def records(self, since: int, until: int, interim_ms: int, octets: Octets) -> list[Record]:
        """Those of [since, until), in order."""
        starts = np.flatnonzero((self.since >= since) & (self.since < until))
        stops = np.flatnonzero((self.until >= since) & (self.until < until) & self.stops)
        parts = [(starts, self.since[starts], Status.START), (stops, self.until[stops], Status.STOP)]
        if interim_ms:
            # The first one not before the slice; a slice is not longer than the interval, so there is one at most.
            number = np.maximum(-((self.since - since) // interim_ms), 1)
            at = self.since + number * interim_ms
            due = np.flatnonzero(at < np.minimum(self.until, until))
            parts.append((due, at[due], Status.INTERIM))
        row, at = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
        status = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
        counted = octets(self.user[row], self.since[row], at)
        counted[status == Status.START] = 0
        order = np.lexsort((row, np.array([_ORDER[Status(each)] for each in status.tolist()]), at))
        return [
            self._record(int(row[each]), int(at[each]), Status(status[each]), *counted[each].tolist()) for each in order
        ]

    def _record(self, row: int, at_ms: int, status: Status, in_octets: int, out_octets: int) -> Record:
        user, since, people = int(self.user[row]), int(self.since[row]), self._people
        mobile = bool(self._mobile[user])
        nas = (MOBILE_NAS if mobile else PPPOE_NAS)[user % 2]
        ipv6 = self._prefix(int(self.ipv6[row]))
        length = int(ipv6.partition("/")[2] or 0)
        stop = status is Status.STOP
        label = ";".join(people.labels_of(user))
        return Record(
            at_ms, status, nas, f"{user:06x}{since:011x}", people.subscriber[user], people.subscription[user], label,
            # Country code 999 is no country's; RFC 3580 section 3.21 writes a hardware address so.
            f"999{user:09}" if mobile else hardware(user).upper().replace(":", "-"),
            f"apn {user % 4}" if mobile else f"ge-0/0/{user % 8}:{user % 4_000 + 1}",
            self._address(int(self.ipv4[row])),
            ipv6.partition("/")[0] if length == 128 else "", ipv6 if length == 64 else "",
            ipv6 if length not in (0, 64, 128) else "", in_octets, out_octets,
            0 if status is Status.START else (at_ms - since) // 1000,
            cause=Cause(int(self.cause[row])) if stop else Cause.NONE,
        )  # fmt: skip

    def _address(self, lease: int) -> str:
        """Of IPv4; nothing where it is shared: the session's own is then one behind the translator."""
        if lease < 0 or self._leases.port_from[lease] != 0 or self._leases.port_to[lease] != _WHOLE:
            return ""
        return str(IPv4Address(self._leases.address[lease, 12:].tobytes()))

    def _prefix(self, lease: int) -> str:
        if lease < 0:
            return ""
        return f"{IPv6Address(self._leases.address[lease].tobytes())}/{self._leases.bits[lease]}"

    def _of(self, nas: Nas, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Its users: each NAS of an access has every other one."""
        for all_nas, is_mobile in ((PPPOE_NAS, False), (MOBILE_NAS, True)):
            if nas in all_nas:
                own: NDArray[np.int64] = users[(self._mobile[users] == is_mobile) & (users % 2 == all_nas.index(nas))]
                return own
        raise ValueError(f"no NAS is {nas.identifier}")


def _held(
    begin: NDArray[np.int64], row: NDArray[np.int64], since: NDArray[np.int64], until: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The lease (its ``row``) that covers each begin, or -1; all times with the user above them."""
    order = np.argsort(since, kind="stable")
    last = np.searchsorted(since[order], begin, side="right") - 1
    found = np.append(row[order], -1)[last]
    covers = (last >= 0) & (begin < np.append(until[order], 0)[last])
    held: NDArray[np.int64] = np.where(covers, found, -1)
    return held


def _evenly(population: Population) -> Octets:
    def octets(user: NDArray[np.int64], since: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
        days = (until - since) / _DAY_MS
        return np.floor(population.octets_a_day[user] * days[:, None]).astype("i8")

    return octets


def _power(restarts: Sequence[Restart]) -> list[Record]:
    made = [Record(each.at_ms, Status.ON, each.nas) for each in restarts]
    made += [Record(each.at_ms, Status.OFF, each.nas, cause=Cause.NAS_REBOOT) for each in restarts if each.orderly]
    return sorted(made, key=lambda each: (each.at_ms, _ORDER[each.status]))
