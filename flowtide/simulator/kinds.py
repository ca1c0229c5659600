"""What the users do: sorts of traffic with the published shares of octets by protocol and lower port.

The rows are those of the report's tables 3 (fixed) and 4 (mobile), the rest of TCP and UDP spread over ports that the
tables do not name.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.model import port_mix

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58

LISTED = frozenset({(TCP, 443), (TCP, 80), (TCP, 183), (TCP, 993), (TCP, 22), (TCP, 31_000), (TCP, 1_935), (TCP, 8_080),
                    (UDP, 443), (UDP, 4_500), (UDP, 8_801), (UDP, 51_820), (UDP, 53)})  # fmt: skip
"""(protocol, port) of both tables."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of traffic; octets a packet are means."""

    name: str  # row of the model
    bucket: str  # one of ``sinks.schema.BUCKETS``
    proto: int
    port: int = 0  # the lower one; 0: none, or one of ``ports``
    ports: tuple[int, ...] = ()
    size_down: int = 1250
    size_up: int = 160


def _spread(proto: int, first: int) -> tuple[int, ...]:
    # Below the ports that hosts choose for themselves.  So many that none carries as much as the least of the listed:
    # 26.8 % of mobile octets over 999 ports is 0.03 % each, where tables print 0.1 %.
    return tuple(port for port in range(first, 49_152, 48) if (proto, port) not in LISTED)


_TCP_BELOW = (21, 25, 88, 110, 111, 119, 135, 139, 143, 179, 389, 445, 465, 515, 554, 563, 587, 631, 636, 853, 873, 989,
              990, 995)  # fmt: skip
_TCP_ABOVE, _UDP_ABOVE = _spread(TCP, 1_201), _spread(UDP, 1_213)

KINDS = (
    Kind("TCP/443", "tcp/443", TCP, 443),
    Kind("TCP/80", "tcp/80", TCP, 80),
    Kind("TCP/183", "tcp/<1024", TCP, 183),
    Kind("TCP/993", "tcp/<1024", TCP, 993, size_down=700, size_up=200),
    Kind("TCP/22", "tcp/<1024", TCP, 22, size_down=500, size_up=400),
    Kind("TCP/other_lt1024", "tcp/<1024", TCP, 0, _TCP_BELOW, 900, 300),
    Kind("TCP/31000", "tcp/>=1024", TCP, 31_000),
    Kind("TCP/1935", "tcp/>=1024", TCP, 1_935),
    Kind("TCP/8080", "tcp/>=1024", TCP, 8_080),
    Kind("TCP/other_ge1024", "tcp/>=1024", TCP, 0, _TCP_ABOVE, 1100, 500),
    Kind("TCP/other", "tcp/>=1024", TCP, 0, _TCP_ABOVE, 1100, 500),
    Kind("UDP/443", "udp/443", UDP, 443),
    Kind("UDP/53", "udp/<1024", UDP, 53, size_down=180, size_up=75),
    Kind("UDP/4500", "udp/>=1024", UDP, 4_500, size_down=900, size_up=400),
    Kind("UDP/8801", "udp/>=1024", UDP, 8_801, size_down=900, size_up=600),
    Kind("UDP/51820", "udp/>=1024", UDP, 51_820, size_down=1000, size_up=300),
    Kind("UDP/other", "udp/>=1024", UDP, 0, _UDP_ABOVE, 900, 600),
    Kind("ESP", "esp", 50, size_down=1000, size_up=400),
    Kind("GRE", "gre", 47, size_down=1000, size_up=400),
    Kind("IPENCAP", "ipip", 4, size_down=1000, size_up=400),
    Kind("ICMP", "icmp", ICMP, size_down=84, size_up=84),
    Kind("proto_other", "other", 132, size_down=800, size_up=300),  # SCTP
    # Not rows of the tables: too little to be printed, yet every network has them.
    Kind("IPv6", "ipv6", 41, size_down=1000, size_up=400),
    Kind("ICMPv6", "icmp6", ICMP6, size_down=104, size_up=104),
)
"""Of both services; ``FLOW.kind`` is an index of it."""

SIZES = np.array([(kind.size_up, kind.size_down) for kind in KINDS], "f8")
"""Mean octets a packet of each of ``KINDS``, from the user and to it: (n, 2)."""

PROTOS = np.array([kind.proto for kind in KINDS], "u1")
"""IP protocol of each of ``KINDS``."""

# Percent, where the table prints 0.0 or nothing; taken from the unlisted rest, and too little to change a printed cell.
_TRACES = {"ICMP": 0.01, "ICMPv6": 0.01, "IPv6": 0.005, "proto_other": 0.005}
_REST = {"fixed": ("TCP/other_ge1024", "UDP/other"), "mobile": ("TCP/other", "UDP/other")}


def shares(service: str, year: int) -> NDArray[np.float64]:
    """Each of ``KINDS``' part of a service's octets, both directions; adds up to 1."""
    return _shares(service, year).copy()


@cache
def _shares(service: str, year: int) -> NDArray[np.float64]:
    mix = port_mix(service, year)
    unknown = mix.keys() - {kind.name for kind in KINDS}
    if unknown:
        raise ValueError(f"no kind of traffic is {min(unknown)}")
    for name, percent in _TRACES.items():
        if mix.get(name, 0.0) == 0:
            mix[name] = percent
            for rest in _REST[service]:
                mix[rest] -= percent / 2
    found = np.array([mix.get(kind.name, 0.0) for kind in KINDS])
    found /= found.sum()
    return found


def service_ports(kind: NDArray[np.integer], random: np.random.Generator) -> NDArray[np.uint16]:
    """The lower port of each flow, 0 of protocols without ports.

    Of a kind with many ports each in turn, from a random one on: drawn by themselves a few would come out on top.
    """
    ports: NDArray[np.uint16] = np.array([entry.port for entry in KINDS], "u2")[kind]
    for at, entry in enumerate(KINDS):
        if entry.ports:
            rows = np.flatnonzero(kind == at)
            turn = (int(random.integers(len(entry.ports))) + np.arange(len(rows))) % len(entry.ports)
            ports[rows] = np.array(entry.ports, "u2")[turn]
    return ports
