"""Which user has which IPv4 address of its operator's pools at what time.

Addresses of PPPoE and mobile change hands, so many of a pool each local day at random times.  Of two users that move at
one time the first gets an address that was free, the second the first one's, and the second one's is free for a later
user.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.population import Population
from flowtide.simulator.scenario import PeoplePlan

USERS_AN_ADDRESS = 16
PORTS_A_USER = 4_032
"""Of a shared address: 16 users divide the ports from 1024 on (MAP-E, RFC 7597, and blocks of a CGNAT alike)."""

Day = tuple[int, int, int]
"""Of the local calendar: its number, and its begin and end in Unix milliseconds."""

_STREAM = 103  # of the seed
_SPARE = 50  # one free address for so many users, so that a freed one waits for some time
_LEAST_SPARE = 4
_RANGES = {  # (first address, how many) by service; the second when the first is used up
    "fixed": ((int(IPv4Address("198.18.0.0")), 1 << 16), (int(IPv4Address("100.64.0.0")), 1 << 21)),
    "mobile": ((int(IPv4Address("198.19.0.0")), 1 << 16), (int(IPv4Address("100.96.0.0")), 1 << 21)),
}


@dataclass(frozen=True, slots=True)
class Pool:
    """Users who get their IPv4 addresses of one run of them."""

    number: int  # of its random stream
    service: str
    users: NDArray[np.int64]
    is_shared: bool
    churn: float  # percent a day

    @property
    def spare(self) -> int:
        """Slots that are free at first."""
        return max(_LEAST_SPARE, len(self.users) // _SPARE) if self.churn and len(self.users) else 0

    @property
    def addresses(self) -> int:
        """How many it takes."""
        slots = len(self.users) + self.spare
        return -(-slots // USERS_AN_ADDRESS) if self.is_shared else slots

    def deal(
        self, since_ms: NDArray[np.int64], days: Sequence[Day], begin_ms: int, end_ms: int, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """User, slot and begin of each lease; a slot is an address, or a part of a shared one.

        Changes are within (begin, end); ``since_ms``: when each user's first lease began.
        """
        count = len(self.users)
        slot = np.arange(count)
        free = np.arange(count, count + self.spare)
        parts = [(self.users, slot.copy(), since_ms)]
        for number, midnight, next_midnight in days if self.churn else ():
            random = np.random.default_rng((seed, _STREAM, self.number, number))
            movers = random.permutation(count)[: round(count * self.churn / 100)]
            first, second = movers[::2], movers[1::2]
            at_ms = np.sort(random.integers(midnight, next_midnight, len(first)))
            due = (at_ms > begin_ms) & (at_ms < end_ms)
            first, second, at_ms = first[due], second[due[: len(second)]], at_ms[due]
            left = slot[first]
            freed = left.copy()  # an odd one out moves alone
            freed[: len(second)] = slot[second]
            # What is freed waits behind all that is free already.
            queue = np.concatenate([free, freed])
            slot[first], slot[second], free = queue[: len(first)], left[: len(second)], queue[len(first) :]
            parts += [(self.users[who], slot[who], at_ms[: len(who)]) for who in (first, second)]
        user, slots, begins = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return user, slots, begins


def pools(plan: PeoplePlan, population: Population) -> Iterator[Pool]:
    """All of them, in the order in which they take the addresses of a service."""
    pppoe, ipoe = population.of("fixed", ("pppoe",)), population.of("fixed", ("ipoe",))
    mobile = population.of("mobile")
    shares, shares_mobile = _evenly(len(ipoe), plan.shared), _evenly(len(mobile), plan.shared_mobile)
    yield Pool(0, "fixed", pppoe, is_shared=False, churn=plan.churn)
    yield Pool(1, "fixed", ipoe[~shares], is_shared=False, churn=0)
    yield Pool(2, "fixed", ipoe[shares], is_shared=True, churn=0)
    yield Pool(3, "mobile", mobile[~shares_mobile], is_shared=False, churn=plan.churn)
    yield Pool(4, "mobile", mobile[shares_mobile], is_shared=True, churn=plan.churn)


def _evenly(count: int, percent: float) -> NDArray[np.bool_]:
    """So many of them, at equal distances."""
    reached = np.floor(np.arange(count + 1) * percent / 100)
    chosen: NDArray[np.bool_] = np.diff(reached) > 0
    return chosen


def ipv4(service: str, number: NDArray[np.int64]) -> NDArray[np.int64]:
    """The addresses of these numbers in a service's ranges; ValueError when there are not as many."""
    (low, room), (more, more_room) = _RANGES[service]
    if len(number) and int(number.max()) >= room + more_room:
        raise ValueError(f"{service} users need {int(number.max()) + 1:,} addresses: there are {room + more_room:,}")
    return np.where(number < room, low + number, more + number - room)


def local_days(begin_ms: int, end_ms: int, zone: str) -> list[Day]:
    """Those that have a part of [begin, end)."""
    local = datetime.fromtimestamp(begin_ms / 1000, ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    days = []
    while (midnight := int(local.timestamp() * 1000)) < end_ms:
        local += timedelta(days=1)  # of the wall clock
        days.append((local.toordinal() - 1, midnight, int(local.timestamp() * 1000)))
    return days
