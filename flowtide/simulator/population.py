"""The users of the simulated network: who they are and how much each of them carries.

A user is a subscription on one access, on mobile a line.  A subscription that has IPoE beside PPPoE is two users, as is
a mobile subscription with two lines; both of them are within the numbers of the plan, not on top.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator import volumes
from flowtide.simulator.scenario import PeoplePlan

SERVICES = ("fixed", "mobile")
SEGMENTS = ("personal", "enterprise")
ACCESSES = ("pppoe", "ipoe", "mobile")

ENTERPRISE = {"fixed": (2.0, 1.0), "mobile": (20.0, 1.5)}
"""Octets of an enterprise user over those of a personal one, from it and to it: a guess of ours, nobody publishes it.

The report says only that enterprises are why all mobile users together send much, while a tenth of personal users'
octets are uploads: think of cameras.
"""

_STREAM = 101  # of the seed
_METHOD_CHANGED = 2021  # until then the published volumes of fixed users are those on PPPoE alone


_PPPOE, _ENTERPRISE_PPPOE, _IPOE, _ENTERPRISE_IPOE, _MOBILE, _ENTERPRISE_MOBILE = range(6)


@dataclass(frozen=True, slots=True)
class _Section:
    """A run of users of one sort; each has random numbers of its own, so that no other's size moves its users."""

    number: int
    access: str
    segment: str
    prefix: str  # of names
    count: int

    @property
    def service(self) -> str:
        return "mobile" if self.access == "mobile" else "fixed"


@dataclass(frozen=True)
class Population:
    """All users in columns of one length: PPPoE, IPoE, mobile, of each the personal ones first."""

    name: tuple[str, ...]  # no two users have the same
    subscription: tuple[str, ...]
    service: NDArray[np.uint8]  # index into SERVICES
    segment: NDArray[np.uint8]  # index into SEGMENTS
    access: NDArray[np.uint8]  # index into ACCESSES
    group: NDArray[np.uint16]  # index into ``groups``
    groups: tuple[str, ...]
    octets_a_day: NDArray[np.int64]  # (n, 2): from the user and to it, mean over a week
    ipv6_share: NDArray[np.float64]  # of its flows

    def __len__(self) -> int:
        return len(self.name)

    def of(self, service: str, access: Sequence[str] = ()) -> NDArray[np.int64]:
        """The users of a service, of all its accesses or of these."""
        found = self.service == SERVICES.index(service)
        if access:
            found &= np.isin(self.access, [ACCESSES.index(each) for each in access])
        return np.flatnonzero(found)

    def only(self, users: NDArray[np.int64]) -> "Population":
        """These users alone, in this order."""
        rows = users.tolist()
        return Population(
            tuple(self.name[at] for at in rows), tuple(self.subscription[at] for at in rows), self.service[users],
            self.segment[users], self.access[users], self.group[users], self.groups, self.octets_a_day[users],
            self.ipv6_share[users],
        )  # fmt: skip

    def labels_of(self, user: int) -> tuple[str, str, str, str]:
        """Service, segment, access and group."""
        return (
            SERVICES[self.service[user]], SEGMENTS[self.segment[user]], ACCESSES[self.access[user]],
            self.groups[self.group[user]],
        )  # fmt: skip

    @cached_property
    def subscriber(self) -> tuple[str, ...]:
        """As leases name the user: the subscription, whose access tells its users apart; on mobile the line."""
        mobile = (self.service == SERVICES.index("mobile")).tolist()
        return tuple(
            name if line else subscription
            for name, subscription, line in zip(self.name, self.subscription, mobile, strict=True)
        )


def populate(people: PeoplePlan, seed: int) -> Population:
    """The users of a plan; the same seed gives the same."""
    sections = (
        _Section(_PPPOE, "pppoe", "personal", "fixed-", people.pppoe),
        _Section(_ENTERPRISE_PPPOE, "pppoe", "enterprise", "fixed-ent-", people.enterprise_pppoe),
        _Section(_IPOE, "ipoe", "personal", "fixed-ipoe-", people.ipoe),
        _Section(_ENTERPRISE_IPOE, "ipoe", "enterprise", "fixed-ent-ipoe-", people.enterprise_ipoe),
        _Section(_MOBILE, "mobile", "personal", "mobile-", people.mobile),
        _Section(_ENTERPRISE_MOBILE, "mobile", "enterprise", "mobile-ent-", people.enterprise_mobile),
    )
    names = [[f"{section.prefix}{at:06d}" for at in range(1, section.count + 1)] for section in sections]
    subscriptions = [list(own) for own in names]
    groups = [_groups(people, section, seed) for section in sections]
    for number, at, first_number, first, suffix in _second_users(people):
        subscription = names[first_number][first]
        subscriptions[number][at], names[number][at] = subscription, subscription + suffix
        groups[number][at] = groups[first_number][first]
    counts = [section.count for section in sections]
    ipv6 = [people.ipv6_mobile if section.service == "mobile" else people.ipv6_fixed for section in sections]
    return Population(
        tuple(chain.from_iterable(names)),
        tuple(chain.from_iterable(subscriptions)),
        np.repeat(np.array([SERVICES.index(section.service) for section in sections], "u1"), counts),
        np.repeat(np.array([SEGMENTS.index(section.segment) for section in sections], "u1"), counts),
        np.repeat(np.array([ACCESSES.index(section.access) for section in sections], "u1"), counts),
        np.concatenate(groups),
        tuple(people.groups),
        _octets(people, sections, seed),
        np.repeat(np.array(ipv6) / 100, counts),
    )


def _second_users(people: PeoplePlan) -> Iterator[tuple[int, int, int, int, str]]:
    """Subscriptions with two personal users: section and place of the second user, of the first, and the name's end."""
    both = min(round(people.pppoe * people.on_both / 100), people.ipoe)
    yield from ((_IPOE, at, _PPPOE, at, "-ipoe") for at in range(both))
    # The share is of subscriptions, not of lines; the second lines are the last ones.
    second = round(people.mobile * people.second_line / (100 + people.second_line))
    first = people.mobile - second
    yield from ((_MOBILE, first + at, _MOBILE, at, "-2") for at in range(second))


def _groups(people: PeoplePlan, section: _Section, seed: int) -> NDArray[np.uint16]:
    random = np.random.default_rng((seed, _STREAM, section.number, 0))
    weights = np.array(list(people.groups.values()), "f8")
    return random.choice(len(weights), section.count, p=weights / weights.sum()).astype("u2")


def _octets(people: PeoplePlan, sections: Sequence[_Section], seed: int) -> NDArray[np.int64]:
    """Of personal users the published distributions, over all whom the year's table counts together."""

    def joint(section: _Section, count: int) -> NDArray[np.int64]:
        random = np.random.default_rng((seed, _STREAM, section.number, 1))
        return volumes.joint(section.service, people.year, count, random, people.volumes)

    pppoe, ipoe = sections[_PPPOE], sections[_IPOE]
    made = {}
    if people.year >= _METHOD_CHANGED:
        together = joint(pppoe, pppoe.count + ipoe.count)
        made = {_PPPOE: together[: pppoe.count], _IPOE: together[pppoe.count :]}
    for section in sections:
        if section.number not in made:
            octets = joint(section, section.count)
            if section.segment == "enterprise":
                octets = np.rint(octets * np.array(ENTERPRISE[section.service])).astype("i8")
            made[section.number] = octets
    return np.concatenate([made[section.number] for section in sections])
