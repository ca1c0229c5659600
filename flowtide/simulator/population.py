"""Who holds which prefix: the subscribers of the simulated network, and their leases as a file.

All addresses are from ranges set aside for benchmarks and documentation (RFC 2544, 5737, 3849).
"""

import csv
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEASE_COLUMNS = ("prefix", "from", "to", "subscriber", "group", "service", "segment", "access")

_FIXED, _MOBILE = 320, 220  # enough for distributions, few enough to read the file
_SINCE = "2020-01-01T00:00:00Z"
_MOVED = "2024-05-01T00:00:00Z"  # one in ten addresses had another holder until then
_V4 = {"fixed": IPv4Address("198.18.0.0"), "mobile": IPv4Address("198.19.0.0")}
_V6 = {"fixed": IPv6Address("2001:db8:1000::"), "mobile": IPv6Address("2001:db8:2000::")}
_V6_LENGTH = {"fixed": 56, "mobile": 64}


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One account with one IPv4 address and one IPv6 prefix."""

    name: str
    group: str
    service: str
    segment: str
    access: str
    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True, slots=True)
class Population:
    """All subscribers of one service, with how much each of them does."""

    subscribers: tuple[Subscriber, ...]
    ipv4: NDArray[np.uint8]  # (n, 16), as ::ffff:a.b.c.d
    ipv6: NDArray[np.uint8]  # (n, 16), the prefix with zeros behind it
    activity: NDArray[np.float64]  # (n,), cumulative, ends at 1


def populations(seed: int) -> dict[str, Population]:
    """The subscribers by service; the same seed gives the same."""
    random = np.random.default_rng((seed, 1))
    return {service: _population(service, count, random) for service, count in (("fixed", _FIXED), ("mobile", _MOBILE))}


def write_leases(path: Path, seed: int) -> int:
    """Write the CSV of who held what, times in UTC, an empty ``to`` for leases still held; returns its lines."""
    lines = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LEASE_COLUMNS)
        for service, population in populations(seed).items():
            for at, subscriber in enumerate(population.subscribers):
                account = (subscriber.group, service, subscriber.segment, subscriber.access)
                since = _SINCE
                if at % 10 == 0:
                    former = f"{subscriber.name}-former"
                    writer.writerow((f"{subscriber.ipv4}/32", _SINCE, _MOVED, former, *account))
                    since, lines = _MOVED, lines + 1
                writer.writerow((f"{subscriber.ipv4}/32", since, "", subscriber.name, *account))
                prefix = f"{subscriber.ipv6}/{_V6_LENGTH[service]}"
                writer.writerow((prefix, _SINCE, "", subscriber.name, *account))
                lines += 2
    return lines


def _population(service: str, count: int, random: np.random.Generator) -> Population:
    segments = np.where(random.random(count) < 0.9, "personal", "enterprise").tolist()
    # Fixed lines: eight in ten over PPPoE, the rest IPoE; a share of today's lines, not of traffic.
    over = ("pppoe", "ipoe") if service == "fixed" else ("mobile", "mobile")
    access = np.where(random.random(count) < 0.8, *over).tolist()
    groups = random.choice(["east", "west", "north"], count, p=[0.5, 0.3, 0.2]).tolist()
    step = 1 << (128 - _V6_LENGTH[service])
    subscribers = tuple(
        Subscriber(
            f"{service}-{at:04d}", groups[at], service, segments[at], access[at], _V4[service] + 1 + at,
            _V6[service] + (1 + at) * step,
        )
        for at in range(count)
    )  # fmt: skip
    # A tenth of the users makes about half of the traffic, as in published reports.
    weights = random.lognormal(0.0, 1.2, count)
    ipv4 = b"".join(bytes(10) + b"\xff\xff" + subscriber.ipv4.packed for subscriber in subscribers)
    ipv6 = b"".join(subscriber.ipv6.packed for subscriber in subscribers)
    return Population(
        subscribers,
        np.frombuffer(ipv4, np.uint8).reshape(-1, 16),
        np.frombuffer(ipv6, np.uint8).reshape(-1, 16),
        np.cumsum(weights) / weights.sum(),
    )
