"""Gives each user its octets of each day, exactly: the law "volumes".

A user's week, Monday to Sunday by the local calendar, comes to seven times its octets a day; weekdays and weekends
differ as the load of the week does.  A day is shared out over the published mix, a flow a kind and direction, so some
forty flows a user and day: 2,200 users need 12 MB a day, a million 5 GB.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.clock import HOUR_MS, LocalTime
from flowtide.simulator.curves import day_levels, hours
from flowtide.simulator.kinds import SIZES, shares
from flowtide.simulator.population import Population
from flowtide.simulator.traffic import DRAWN, PROTO, TCP, Ends, is_v6

LEAST_OCTETS = 40
"""Of a flow; what a kind would have less of goes to the largest."""
_LONGEST_MS = 55_000  # the rollups spread flows over the minutes of the last 60 s; a longer one would count elsewhere
_OCTETS_A_MS = 125_000  # of a line of 1 Gbit/s: a large flow is not faster
_LARGEST_PACKET = 1_500
_GOLDEN = 0.618_033_988_749_895  # each next multiple falls into the widest gap between those before


class Demand:
    """The flows of all users of one service, a local day at a time."""

    def __init__(
        self, service: str, year: int, users: NDArray[np.int64], population: Population, ends: Ends, *,
        zone: str, seed: Sequence[int], most_octets: int = 2_000_000_000,
    ) -> None:  # fmt: skip
        """``users``: indexes into the population; ``most_octets``: a larger flow is cut into several."""
        self._service, self._users, self._people, self._ends = service, users, population, ends
        self._local, self._seed, self._most = LocalTime(zone), tuple(seed), most_octets
        self._shares = shares(service, year)

    def slices(self, begin_ms: int, end_ms: int) -> Iterator[NDArray[np.void]]:
        """Flows that end in [begin, end), a local day each, in order of their ends."""
        first, last = self._local.day(np.array([begin_ms, end_ms - 1])).tolist()
        for day in range(first, last + 1):
            yield self.slice_of(day, begin_ms, end_ms)

    def slice_of(self, day: int, begin_ms: int, end_ms: int) -> NDArray[np.void]:
        """Flows of a local day that end in [begin, end); before it nobody need have an address."""
        flows = self._drawn(day)
        flows = flows[(flows["end_ms"] >= begin_ms) & (flows["end_ms"] < end_ms)]
        self._ends.fill(flows)
        return flows

    def day(self, day: int) -> NDArray[np.void]:
        """The flows of a local day (since 1970-01-01), dtype ``DRAWN``, in order of their ends."""
        return self.slice_of(day, self._local.begin_of_day(day), self._local.begin_of_day(day + 1))

    def _drawn(self, day: int) -> NDArray[np.void]:
        """All but the ends."""
        random = np.random.default_rng((*self._seed, day))
        parts = []
        for direction in (1, 2):
            octets = day_octets(self._people.octets_a_day[self._users, direction - 1], self._service, direction, day)
            who, kind, octets = _cut(*_parts(octets, self._shares), self._most)
            flows = np.zeros(len(who), DRAWN)
            flows["user"], flows["kind"], flows["octets"] = self._users[who], kind, octets
            flows["direction"], flows["peer"], flows["proto"] = direction, -1, PROTO[kind]
            flows["packets"] = packets_of(octets, SIZES[kind, direction - 1])
            flows["end_ms"] = self._ends_of_day(day, direction, octets, random)
            parts.append(flows)
        flows = np.concatenate(parts)
        flows = flows[np.argsort(flows["end_ms"], kind="stable")]
        self._begin(flows, day, random)
        flows["is_v6"] = is_v6(flows["proto"], random.random(len(flows)) < self._people.ipv6_share[flows["user"]])
        flows["tcp_flags"] = np.where(flows["proto"] == TCP, random.choice([0x1B, 0x1A, 0x18], len(flows)), 0)
        return flows

    def _ends_of_day(
        self, day: int, direction: int, octets: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.int64]:
        """By the curve of the day, and evenly so among flows of every size: a few of them make half of the octets."""
        weekend = (day + 3) % 7 >= 5
        passed = self._local.hours_of_day(day)
        level = np.cumsum(hours(self._service, direction, weekend)[passed])
        spread = np.empty(len(octets))
        by_size = np.argsort(-octets, kind="stable")
        spread[by_size] = (np.arange(len(octets)) * _GOLDEN + random.random()) % 1.0
        hour = np.interp(spread, np.append(0.0, level / level[-1]), np.arange(len(level) + 1))
        begin = self._local.begin_of_day(day)
        # 24 hours are less than a day's floats: the last millisecond of the day stays in it.
        ends: NDArray[np.int64] = begin + np.minimum(hour * HOUR_MS, len(level) * HOUR_MS - 1).astype("i8")
        return ends

    def _begin(self, flows: NDArray[np.void], day: int, random: np.random.Generator) -> None:
        """Up to 55 s before the end, within the day."""
        lasts = np.maximum(random.random(len(flows)) * _LONGEST_MS, flows["octets"] / _OCTETS_A_MS)
        lasts = np.where(flows["packets"] > 1, np.minimum(lasts, _LONGEST_MS), 0).astype("i8")
        flows["start_ms"] = np.maximum(flows["end_ms"] - lasts, self._local.begin_of_day(day))


def day_octets(octets_a_day: NDArray[np.int64], service: str, direction: int, day: int) -> NDArray[np.int64]:
    """Of users with this mean, on a local day; whole octets, and exact in the sum of a week from its Monday."""
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    until = np.append(0.0, np.cumsum(day_levels(service, direction)))
    until[-1] = 7.0
    before, behind = (np.round(octets_a_day * until[at]).astype("i8") for at in (weekday, weekday + 1))
    octets: NDArray[np.int64] = behind - before
    return octets


def packets_of(octets: NDArray[np.int64], size: NDArray[np.float64]) -> NDArray[np.int64]:
    """So many that a packet is about as large as it should, and none larger than Ethernet carries."""
    least = -(-octets // _LARGEST_PACKET)
    packets: NDArray[np.int64] = np.maximum(np.maximum(np.round(octets / size).astype("i8"), least), 1)
    return packets


def _parts(
    octets: NDArray[np.int64], share: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Shared out by the method of largest remainders: whose, of which kind and how many octets; none is 0."""
    wanted = octets[:, None] * share
    given = np.floor(wanted).astype("i8")
    left = octets - given.sum(axis=1)
    rank = np.argsort(np.argsort(given - wanted, axis=1, kind="stable"), axis=1)
    given += rank < left[:, None]
    largest = int(np.argmax(share))
    given[given < LEAST_OCTETS] = 0
    given[:, largest] = 0
    given[:, largest] = octets - given.sum(axis=1)
    who, kind = np.nonzero(given)
    return who, kind, given[who, kind]


def _cut(
    who: NDArray[np.int64], kind: NDArray[np.int64], octets: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """In as few pieces as are not larger than ``most``, all about equal."""
    pieces = -(-octets // most)
    rows = np.repeat(np.arange(len(octets)), pieces)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    least, over = np.divmod(octets, pieces)
    return who[rows], kind[rows], least[rows] + (number < over[rows])
