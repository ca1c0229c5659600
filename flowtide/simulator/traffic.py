"""Draws flows: which service, between whom, how large, how long.

Octet shares by lower port are the published ones of 2024 (Broadband Traffic Report, tables 3 and 4), the remainder
spread over dynamic ports.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.population import Population

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
DYNAMIC = 0  # in the table below: both ports are drawn from 1024 up

FLOW = np.dtype(
    [
        ("kind", "u1"), ("is_v6", "?"), ("src", "u1", 16), ("dst", "u1", 16), ("src_port", "u2"), ("dst_port", "u2"),
        ("proto", "u1"), ("tcp_flags", "u1"), ("tos", "u1"), ("packets", "i8"), ("octets", "i8"), ("in_if", "u4"),
        ("out_if", "u4"), ("src_as", "u4"), ("dst_as", "u4"), ("age_ms", "i8"), ("duration_ms", "i8"),
    ]
)  # fmt: skip
"""A flow before it is exported: ``kind`` indexes ``KINDS``, it ended ``age_ms`` before its export."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of traffic: its bucket by the lower-port rule, and its share of octets in percent."""

    bucket: str
    proto: int
    port: int
    fixed: float
    mobile: float
    size_down: int = 1250  # octets a packet, towards the subscriber
    size_up: int = 160


KINDS = (
    Kind("tcp/443", TCP, 443, 53.8, 42.2),
    Kind("udp/443", UDP, 443, 21.0, 22.5),
    Kind("tcp/80", TCP, 80, 6.5, 1.8),
    Kind("tcp/<1024", TCP, 993, 0.3, 0.1, 700, 200),
    Kind("tcp/<1024", TCP, 22, 0.3, 0.1, 500, 400),
    Kind("tcp/<1024", TCP, 183, 0.2, 0.0),
    Kind("tcp/>=1024", TCP, 31000, 1.2, 0.0),
    Kind("tcp/>=1024", TCP, 1935, 0.3, 0.1),
    Kind("tcp/>=1024", TCP, 8080, 0.3, 0.3),
    Kind("tcp/>=1024", TCP, DYNAMIC, 4.6, 26.5, 1100, 500),
    Kind("udp/<1024", UDP, 53, 0.2, 0.2, 180, 75),
    Kind("udp/<1024", UDP, 123, 0.02, 0.02, 76, 76),
    Kind("udp/>=1024", UDP, 4500, 0.9, 1.8, 900, 400),
    Kind("udp/>=1024", UDP, 8801, 0.4, 0.1, 900, 600),
    Kind("udp/>=1024", UDP, 51820, 0.1, 0.3, 1000, 300),
    Kind("udp/>=1024", UDP, DYNAMIC, 5.58, 2.5, 900, 600),
    Kind("esp", 50, 0, 4.0, 1.4, 1000, 400),
    Kind("gre", 47, 0, 0.2, 0.02, 1000, 400),
    Kind("ipip", 4, 0, 0.1, 0.0, 1000, 400),
    Kind("ipv6", 41, 0, 0.03, 0.0, 1000, 400),
    Kind("icmp", ICMP, 0, 0.02, 0.02, 84, 84),
    Kind("icmp6", ICMP6, 0, 0.02, 0.02, 104, 104),
    Kind("other", 132, 0, 0.03, 0.02, 800, 300),
)

SIZES = np.array([(kind.size_up, kind.size_down) for kind in KINDS], "f8")
"""Mean octets a packet of each of ``KINDS``, from the subscriber and towards it: (n, 2)."""

_BLOCK = 4_096  # flows drawn at once; a fixed size, so that flows do not depend on how often they are asked for
_IPV6 = {"fixed": 0.3, "mobile": 0.5}
_TO_SUBSCRIBER = 0.6  # of flow records; octets lean further, packets down are larger
_WAYS = np.array([1 - _TO_SUBSCRIBER, _TO_SUBSCRIBER])
_PACKETS_LOG = (3.0, 1.2)  # of an unsampled flow: mean and width of the logarithm
_MOST_PACKETS = 5_000
_SAMPLED_PACKETS = 0.75  # chance that a packet of a flow, of those that were sampled, is its last
_BETWEEN_SUBSCRIBERS = 0.01
_TRANSIT = 0.01  # neither end is a subscriber
_LONG = 0.01  # flows that lasted for minutes
_OWN_AS = 64500
_REMOTE_AS = np.array([64496, 64497, 64498, 65536, 65537], "u4")  # RFC 5398
_REMOTE_V4 = np.frombuffer(bytes(10) + b"\xff\xff\xcb\x00\x71\x00", np.uint8)  # 203.0.113.0/24
_REMOTE_V6 = np.frombuffer(bytes.fromhex("20010db8f000" + 20 * "0"), np.uint8)


def frequencies(service: str) -> NDArray[np.float64]:
    """How often each of ``KINDS`` is among the flows of a service, from the subscriber and towards it: (n, 2)."""
    share = np.array([kind.fixed if service == "fixed" else kind.mobile for kind in KINDS])
    # Packets a flow do not depend on the kind, so flows are as frequent as octets over octets a packet.
    often = share / (SIZES @ _WAYS)
    return np.outer(often / often.sum(), _WAYS)


def mean_packets(sampling: int) -> float:
    """Packets of a flow as exported, by the distributions that ``Traffic`` draws from."""
    if sampling > 1:
        return 1 / _SAMPLED_PACKETS
    # Of a number that is cut to whole ones the mean is the sum of the chances that it reaches 1, 2, 3, ...
    mean, width = _PACKETS_LOG
    reach = (math.erfc((math.log(at) - mean) / width / math.sqrt(2)) / 2 for at in range(2, _MOST_PACKETS + 1))
    return 1 + sum(reach)


class Traffic:
    """An endless row of flows of one service; the same seed gives the same row."""

    def __init__(self, service: str, population: Population, sampling: int, seed: tuple[int, ...]) -> None:
        """``sampling``: flows have as many packets as 1-in-``sampling`` leaves of them."""
        self._population, self._sampling, self._ipv6 = population, sampling, _IPV6[service]
        self._random = np.random.default_rng(seed)
        self._frequency = np.cumsum(frequencies(service).sum(axis=1))
        self._block = np.zeros(0, FLOW)

    def take(self, count: int) -> NDArray[np.void]:
        """The next ``count`` flows, dtype ``FLOW``."""
        parts = []
        while count > len(self._block):
            parts.append(self._block)
            count -= len(self._block)
            self._block = self._draw(_BLOCK)
        parts.append(self._block[:count])
        self._block = self._block[count:]
        return np.concatenate(parts)

    def _draw(self, n: int) -> NDArray[np.void]:
        random = self._random
        # Evenly spread draws: shares settle sooner than with independent ones.
        kind = np.searchsorted(self._frequency[:-1], random.permutation((np.arange(n) + random.random(n)) / n))
        down = random.permutation(np.arange(n) < _TO_SUBSCRIBER * n)
        return self.of_kinds(kind, down)

    def of_kinds(
        self, kind: NDArray[np.int64], down: NDArray[np.bool_], odds: float | NDArray[np.float64] = 1.0
    ) -> NDArray[np.void]:
        """Flows, dtype ``FLOW``, of these indexes into ``KINDS``, and towards the subscriber or from it.

        ``odds``: so much more often than usual a flow has no subscriber at either end, or one at both.
        """
        random, n = self._random, len(kind)
        flows = np.zeros(n, FLOW)
        proto = np.array([entry.proto for entry in KINDS], "u1")[kind]
        flows["kind"], flows["proto"] = kind, proto
        flows["is_v6"] = ((random.random(n) < self._ipv6) | (proto == ICMP6)) & ~np.isin(proto, (ICMP, 4, 41))
        self._draw_ends(flows, down, odds)
        self._draw_ports(flows, kind, down)
        if self._sampling > 1:
            flows["packets"] = random.geometric(_SAMPLED_PACKETS, n)
        else:
            flows["packets"] = np.clip(random.lognormal(*_PACKETS_LOG, n), 1, _MOST_PACKETS)
        size = SIZES[kind, down.astype(int)] * random.uniform(0.8, 1.2, n)
        flows["octets"] = (flows["packets"] * size).astype("i8")
        flows["tcp_flags"] = np.where(proto == TCP, random.choice([0x1B, 0x1A, 0x18, 0x02], n), 0)
        flows["age_ms"] = random.integers(0, 2_000, n)
        duration = np.where(flows["packets"] > 1, random.exponential(4_000, n), 0)
        flows["duration_ms"] = np.where(random.random(n) < _LONG, random.uniform(120_000, 1_200_000, n), duration)
        return flows

    def _draw_ends(self, flows: NDArray[np.void], down: NDArray[np.bool_], odds: float | NDArray[np.float64]) -> None:
        random, n = self._random, len(flows)
        near, far = self._subscribers(flows["is_v6"]), self._remotes(flows["is_v6"])
        kind = random.random(n)
        transit, both = kind < _TRANSIT * odds, kind > 1 - _BETWEEN_SUBSCRIBERS * odds
        near[transit] = self._remotes(flows["is_v6"])[transit]
        far[both] = self._subscribers(flows["is_v6"])[both]
        flows["src"], flows["dst"] = np.where(down[:, None], far, near), np.where(down[:, None], near, far)
        outside = random.choice(_REMOTE_AS, n)
        flows["src_as"], flows["dst_as"] = np.where(down, outside, _OWN_AS), np.where(down, _OWN_AS, outside)
        line, uplink = random.integers(1, 5, n), random.integers(101, 103, n)
        flows["in_if"], flows["out_if"] = np.where(down, uplink, line), np.where(down, line, uplink)

    def _draw_ports(self, flows: NDArray[np.void], kind: NDArray[np.int64], down: NDArray[np.bool_]) -> None:
        random, n = self._random, len(flows)
        proto = flows["proto"]
        # Above every named port of the table, so the service port is the lower one.
        high = random.integers(52_000, 65_536, n)
        port = np.array([entry.port for entry in KINDS])[kind]
        service = np.where(port == DYNAMIC, random.integers(1_024, 50_000, n), port)
        has_ports = (proto == TCP) | (proto == UDP)
        flows["src_port"] = np.where(has_ports, np.where(down, service, high), 0)
        # Exporters put ICMP's type x 256 + code into the destination port: echo request or reply.
        echo = np.where(proto == ICMP, 2_048, np.where(proto == ICMP6, 32_768, 0))
        flows["dst_port"] = np.where(has_ports, np.where(down, high, service), echo)

    def _subscribers(self, is_v6: NDArray[np.bool_]) -> NDArray[np.uint8]:
        random, n = self._random, len(is_v6)
        who = np.searchsorted(self._population.activity[:-1], random.random(n))
        v6 = self._population.ipv6[who].copy()
        v6[:, 15] = random.integers(1, 5, n)  # devices in the home
        return np.where(is_v6[:, None], v6, self._population.ipv4[who])

    def _remotes(self, is_v6: NDArray[np.bool_]) -> NDArray[np.uint8]:
        random, n = self._random, len(is_v6)
        addresses = np.where(is_v6[:, None], _REMOTE_V6, _REMOTE_V4)
        addresses[:, 15] = random.integers(1, 255, n)
        addresses[:, 14] = np.where(is_v6, random.integers(0, 256, n), addresses[:, 14])
        return addresses
