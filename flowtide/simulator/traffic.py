"""Draws flows at a rate: which service, between whom, how large, how long.

The law "rate": so many flows of an exporter in a time, each of any user by its daily octets and of any kind by the
published mix.  ``Ends``, which says from where to where a flow goes, is that of the other law (``demand``), too.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.flow import FLOW
from flowtide.simulator.kinds import KINDS, SIZES, service_ports, shares
from flowtide.simulator.leases import Leases
from flowtide.simulator.population import Population

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
DRAWN = np.dtype([*((name, FLOW[name]) for name in FLOW.names or ()), ("peer", "i4")])
"""``flow.FLOW`` and ``peer``: the user at the other end, -1 when that is none."""
PROTO = np.array([kind.proto for kind in KINDS], "u1")
IN, OUT = 1, 2

_ICMP6_KIND = next(at for at, kind in enumerate(KINDS) if kind.proto == ICMP6)
_BLOCK = 4_096  # flows drawn at once; a fixed size, so that flows do not depend on how often they are asked for
_TO_USER = 0.6  # of flow records; octets lean further, packets down are larger
_WAYS = np.array([1 - _TO_USER, _TO_USER])
_PACKETS_LOG = (3.0, 1.2)  # of an unsampled flow: mean and width of the logarithm
_MOST_PACKETS = 5_000
_SAMPLED_PACKETS = 0.75  # chance that a packet of a flow, of those that were sampled, is its last
_BETWEEN_USERS = 0.01
_TRANSIT = 0.01  # neither end is a user
_LONG = 0.01  # flows that lasted for minutes
_HIGH_PORTS = (52_000, 65_536)  # above every named port, so the service port is the lower one
_OWN_AS = 64500
_REMOTE_AS = np.array([64496, 64497, 64498, 65536, 65537], "u4")  # RFC 5398
_REMOTE_V4 = np.frombuffer(bytes(10) + b"\xff\xff\xcb\x00\x71\x00", np.uint8)  # 203.0.113.0/24
_REMOTE_V6 = np.frombuffer(bytes.fromhex("20010db8f000" + 20 * "0"), np.uint8)


def frequencies(service: str, year: int) -> NDArray[np.float64]:
    """How often each of ``KINDS`` is among the flows of a service, from the user and towards it: (n, 2)."""
    # Packets a flow do not depend on the kind, so flows are as frequent as octets over octets a packet.
    often = shares(service, year) / (SIZES @ _WAYS)
    return np.outer(often / often.sum(), _WAYS)


@cache
def mean_packets(sampling: int) -> float:
    """Packets of a flow as exported, by the distributions that ``Traffic`` draws from."""
    if sampling > 1:
        return 1 / _SAMPLED_PACKETS
    # Of a number that is cut to whole ones the mean is the sum of the chances that it reaches 1, 2, 3, ...
    mean, width = _PACKETS_LOG
    reach = (math.erfc((math.log(at) - mean) / width / math.sqrt(2)) / 2 for at in range(2, _MOST_PACKETS + 1))
    return 1 + sum(reach)


class Traffic:
    """An endless row of flows of some users of one service; the same seed gives the same row."""

    def __init__(
        self, service: str, year: int, users: NDArray[np.int64], population: Population, ends: "Ends", *,
        sampled: bool, seed: tuple[int, ...], paired: bool = False,
    ) -> None:  # fmt: skip
        """``sampled``: flows have few packets, as sampling leaves them, and their true size is not known.

        ``paired``: each flow is followed by its reverse, as exporters of biflows see them.
        """
        self._users, self._ends, self._sampled, self._paired = users, ends, sampled, paired
        self._random = np.random.default_rng(seed)
        self._frequency = np.cumsum(frequencies(service, year).sum(axis=1))
        volume = population.octets_a_day[users].astype("f8")
        self._activity = np.cumsum(volume, axis=0) / np.maximum(volume.sum(axis=0), 1)
        self._ipv6 = population.ipv6_share
        self._block = np.zeros(0, DRAWN)

    def slice(self, begin_ms: int, end_ms: int, count: int, *, idle_ms: int, active_ms: int) -> NDArray[np.void]:
        """The next ``count`` flows, dtype ``DRAWN``, that an exporter first tells of in [begin, end), evenly spread.

        That is ``idle_ms`` after their end, or ``active_ms`` after their begin when they last longer.
        """
        flows = self._take(count)
        spread = (np.arange(count) + 0.5) / max(count, 1)
        if self._paired:
            spread[1::2] = spread[: count // 2 * 2 : 2]
        told_ms = begin_ms + np.floor(spread * (end_ms - begin_ms)).astype("i8")
        lasts = -flows["start_ms"]
        return self._at(flows, told_ms + np.where(lasts > active_ms, lasts - active_ms, -idle_ms))

    def of_kinds(
        self, kind: NDArray[np.int64], down: NDArray[np.bool_], end_ms: NDArray[np.int64],
        odds: float | NDArray[np.float64] = 1.0,
    ) -> NDArray[np.void]:  # fmt: skip
        """Flows of these indexes into ``KINDS``, towards the user or from it, that end at these times.

        ``odds``: so much more often than usual a flow has no user at either end, or one at both.
        """
        return self._at(self._draw(kind, down, odds), end_ms)

    def _at(self, flows: NDArray[np.void], end_ms: NDArray[np.int64]) -> NDArray[np.void]:
        flows["end_ms"] = end_ms
        flows["start_ms"] += end_ms  # it held minus the duration
        self._ends.fill(flows)
        if self._paired:
            _reverse_every_second(flows)
        return flows

    def _take(self, count: int) -> NDArray[np.void]:
        parts = []
        while count > len(self._block):
            parts.append(self._block)
            count -= len(self._block)
            self._block = self._next_block(_BLOCK)
        parts.append(self._block[:count])
        self._block = self._block[count:]
        return np.concatenate(parts)

    def _next_block(self, n: int) -> NDArray[np.void]:
        random = self._random
        # Evenly spread draws: shares settle sooner than with independent ones.
        kind = np.searchsorted(self._frequency[:-1], random.permutation((np.arange(n) + random.random(n)) / n))
        return self._draw(kind, random.permutation(np.arange(n) < _TO_USER * n), 1.0)

    def _draw(
        self, kind: NDArray[np.int64], down: NDArray[np.bool_], odds: float | NDArray[np.float64]
    ) -> NDArray[np.void]:
        """All but times and ends; ``start_ms`` holds minus the duration."""
        random, n = self._random, len(kind)
        flows = np.zeros(n, DRAWN)
        flows["kind"], flows["proto"] = kind, PROTO[kind]
        flows["direction"] = np.where(down, OUT, IN)
        chance = random.random(n)
        transit, both = chance < _TRANSIT * odds, chance > 1 - _BETWEEN_USERS * odds
        flows["user"] = self._who(flows["direction"])
        flows["peer"] = np.where(both, self._who(3 - flows["direction"]), -1)
        flows["peer"][flows["peer"] == flows["user"]] = -1
        ipv6 = np.where(transit, self._ipv6[self._users].mean() if len(self._users) else 0, self._ipv6[flows["user"]])
        flows["is_v6"] = is_v6(flows["proto"], random.random(n) < ipv6)
        flows["user"][transit], flows["peer"][transit] = -1, -1
        if self._sampled:
            flows["packets"] = random.geometric(_SAMPLED_PACKETS, n)
        else:
            flows["packets"] = np.clip(random.lognormal(*_PACKETS_LOG, n), 1, _MOST_PACKETS)
        size = SIZES[kind, down.astype(int)] * random.uniform(0.8, 1.2, n)
        flows["octets"] = (flows["packets"] * size).astype("i8")
        flows["tcp_flags"] = np.where(flows["proto"] == TCP, random.choice([0x1B, 0x1A, 0x18, 0x02], n), 0)
        duration = np.where(flows["packets"] > 1, random.exponential(4_000, n), 0)
        duration = np.where(random.random(n) < _LONG, random.uniform(120_000, 1_200_000, n), duration)
        flows["start_ms"] = -duration.astype("i8")
        return flows

    def _who(self, direction: NDArray[np.uint8]) -> NDArray[np.int64]:
        if not len(self._users):
            return np.full(len(direction), -1)
        chance = self._random.random(len(direction))
        found = [np.searchsorted(self._activity[:-1, column], chance) for column in (0, 1)]
        return self._users[np.where(direction == IN, *found)]


class Ends:
    """From where to where: addresses by the leases at a flow's end, ports, interfaces, AS numbers."""

    def __init__(self, leases: Leases, seed: tuple[int, ...]) -> None:
        self._leases, self._random = leases, np.random.default_rng(seed)

    def fill(self, flows: NDArray[np.void]) -> None:
        """Of flows (dtype ``DRAWN``) whose user, peer, kind, direction, version and end are known.

        A direction of a flow that is nobody's becomes 0, but still says which way it goes through the exporter.
        """
        random, n = self._random, len(flows)
        if not n:
            return
        down = flows["direction"] == OUT
        near, first, last = self._near(flows)
        far = self._far(flows)
        flows["src"], flows["dst"] = np.where(down[:, None], far, near), np.where(down[:, None], near, far)
        high = first + np.floor(random.random(n) * (last - first + 1)).astype("i8")
        service = service_ports(flows["kind"].astype("i8"), random)
        proto = flows["proto"]
        has_ports = (proto == TCP) | (proto == UDP)
        flows["src_port"] = np.where(has_ports, np.where(down, service, high), 0)
        # Exporters put ICMP's type x 256 + code into the destination port: echo request or reply.
        echo = np.where(proto == ICMP, 2_048, np.where(proto == ICMP6, 32_768, 0))
        flows["dst_port"] = np.where(has_ports, np.where(down, high, service), echo)
        outside = random.choice(_REMOTE_AS, n)
        flows["src_as"], flows["dst_as"] = np.where(down, outside, _OWN_AS), np.where(down, _OWN_AS, outside)
        line, uplink = random.integers(1, 5, n), random.integers(101, 103, n)
        flows["in_if"], flows["out_if"] = np.where(down, uplink, line), np.where(down, line, uplink)
        flows["direction"][flows["user"] < 0] = 0

    def unbroken(self, flows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which flows' users hold the same IPv4 address, and the same ports of it, from their begin to their end."""
        mine = flows["user"] >= 0
        whole = ~mine
        down = (flows["direction"] == OUT)[mine]
        flows = flows[mine]
        near = np.where(down[:, None], flows["dst"], flows["src"])
        port = np.where(down, flows["dst_port"], flows["src_port"])
        held, first, last = self._leases.addresses(flows["user"], flows["is_v6"], flows["start_ms"], self._random)
        has_ports = (flows["proto"] == TCP) | (flows["proto"] == UDP)
        same = (held == near).all(axis=1) & (~has_ports | ((first <= port) & (port <= last)))
        whole[mine] = (same | flows["is_v6"]) & (flows["peer"] < 0)
        return whole

    def _near(self, flows: NDArray[np.void]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Address of each flow's user, and the first and last port that it may have."""
        mine = np.flatnonzero(flows["user"] >= 0)
        address = self._remote(flows["is_v6"])
        first, last = np.full(len(flows), _HIGH_PORTS[0]), np.full(len(flows), _HIGH_PORTS[1] - 1)
        found, port_from, port_to = self._held(flows, mine)
        # Without ports nobody could tell whose a shared IPv4 address was: such a flow takes IPv6.
        shared = (port_from > 0) | (port_to < 65_535)
        proto = flows["proto"][mine]
        moved = mine[shared & (proto != TCP) & (proto != UDP)]
        if len(moved):
            flows["is_v6"][moved] = True
            icmp = moved[flows["proto"][moved] == ICMP]
            flows["kind"][icmp], flows["proto"][icmp] = _ICMP6_KIND, ICMP6
            found[np.isin(mine, moved)] = self._held(flows, moved)[0]
            shared &= ~np.isin(mine, moved)
        address[mine] = found
        first[mine[shared]], last[mine[shared]] = port_from[shared], port_to[shared]
        return address, first, last

    def _far(self, flows: NDArray[np.void]) -> NDArray[np.uint8]:
        address = self._remote(flows["is_v6"])
        peers = np.flatnonzero(flows["peer"] >= 0)
        if len(peers):
            found, port_from, port_to = self._held(flows, peers, "peer")
            # Who shares an address has no port of a service.
            alone = (port_from == 0) & (port_to == 65_535)
            address[peers[alone]] = found[alone]
            flows["peer"][peers[~alone]] = -1
        return address

    def _held(
        self, flows: NDArray[np.void], which: NDArray[np.int64], end: str = "user"
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        chosen = flows[which]
        found, first, last = self._leases.addresses(chosen[end], chosen["is_v6"], chosen["end_ms"], self._random)
        return found, first.astype("i8"), last.astype("i8")

    def _remote(self, v6: NDArray[np.bool_]) -> NDArray[np.uint8]:
        random, n = self._random, len(v6)
        addresses = np.where(v6[:, None], _REMOTE_V6, _REMOTE_V4)
        addresses[:, 15] = random.integers(1, 255, n)
        addresses[:, 14] = np.where(v6, random.integers(0, 256, n), addresses[:, 14])
        return addresses


def is_v6(proto: NDArray[np.uint8], wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which flows are IPv6 where these are wanted to be: ICMP, and tunnels over IPv4, have no choice."""
    found: NDArray[np.bool_] = (wanted | (proto == ICMP6)) & ~np.isin(proto, (ICMP, 4, 41))
    return found


def _reverse_every_second(flows: NDArray[np.void]) -> None:
    """Row i + 1 becomes the other way of row i, for even i."""
    ahead, back = flows[0 : len(flows) // 2 * 2 : 2], flows[1::2]
    packets = back["packets"].copy()
    back[...] = ahead
    for one, other in (("src", "dst"), ("src_port", "dst_port"), ("src_as", "dst_as"), ("in_if", "out_if")):
        back[one], back[other] = ahead[other], ahead[one]
    portless = (ahead["proto"] != TCP) & (ahead["proto"] != UDP)
    for port in ("src_port", "dst_port"):
        back[port][portless] = ahead[port][portless]
    back["direction"] = np.where(ahead["direction"] == 0, 0, 3 - ahead["direction"])
    way = np.where(ahead["in_if"] < 100, 1, 0)  # in from a line: the way back is towards the user
    back["packets"] = packets
    back["octets"] = np.maximum(packets * SIZES[ahead["kind"], way], 28)
