"""The lower-port rule and the service buckets.

A TCP or UDP flow belongs to the lower of its two ports; below 1024 is well known.  Port 0 is a port: non-first
fragments show it.  No other protocol has ports, whatever stands in the fields (ICMP's type and code do).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinks.schema import BUCKETS

_TRANSPORTS = {"tcp": 6, "udp": 17}
# IANA protocol numbers: IP-in-IP (RFC 2003), 6in4, GRE, ESP and the two ICMPs.
_PROTOCOLS = {50: "esp", 47: "gre", 4: "ipip", 41: "ipv6", 1: "icmp", 58: "icmp6"}
_NAMED = ("tcp/443", "tcp/80", "udp/443")  # the ports among the schema's buckets
_WELL_KNOWN = 1024
_PORTS = 65_536

_OFFSET = 2 * _PORTS + np.arange(256)  # where a protocol's buckets lie in ``PortTable.by_port``
for _row, _proto in enumerate(_TRANSPORTS.values()):
    _OFFSET[_proto] = _row * _PORTS


@dataclass(frozen=True, slots=True)
class PortTable:
    """Bucket of each TCP port, each UDP port and each protocol, as codes into ``labels``."""

    labels: tuple[str, ...]
    by_port: NDArray[np.uint32]


def port_table(named: Sequence[str] = ()) -> PortTable:
    """The table with a bucket of its own for each named port such as ``udp/4500``, beside those of the schema.

    ValueError names the first entry that is not ``tcp/PORT`` or ``udp/PORT``, or that is there twice.
    """
    labels = [*BUCKETS]
    by_port = np.full(2 * _PORTS + 256, BUCKETS.index("other"), "u4")
    for transport, proto in _TRANSPORTS.items():
        start = int(_OFFSET[proto])
        by_port[start : start + _WELL_KNOWN] = BUCKETS.index(f"{transport}/<1024")
        by_port[start + _WELL_KNOWN : start + _PORTS] = BUCKETS.index(f"{transport}/>=1024")
    for proto, name in _PROTOCOLS.items():
        by_port[2 * _PORTS + proto] = BUCKETS.index(name)
    for name in (*_NAMED, *named):
        match = re.fullmatch(r"(tcp|udp)/(0|[1-9][0-9]{0,4})", name)
        if match is None or int(match[2]) >= _PORTS:
            raise ValueError(f"{name!r} is not a port: write tcp/993 or udp/4500")
        if name in named and labels.count(name):
            raise ValueError(f"{name!r} has its bucket already")
        if name not in labels:
            labels.append(name)
        by_port[int(_OFFSET[_TRANSPORTS[match[1]]]) + int(match[2])] = labels.index(name)
    return PortTable(tuple(labels), by_port)


def lower_ports(proto: NDArray[np.uint8], src: NDArray[np.uint16], dst: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The lower port of TCP and UDP, 0 of all others."""
    lower: NDArray[np.uint16] = np.minimum(src, dst)
    lower *= _ported(proto)
    return lower


def own_ports(proto: NDArray[np.uint8], ports: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The ports of TCP and UDP, 0 of all others, whatever stands in the field."""
    own: NDArray[np.uint16] = ports * _ported(proto)
    return own


def buckets(proto: NDArray[np.uint8], lower: NDArray[np.uint16], table: PortTable) -> NDArray[np.uint32]:
    """Bucket codes; ``lower`` as ``lower_ports`` gives it."""
    return np.take(table.by_port, np.take(_OFFSET, proto) + lower, mode="clip")


def _ported(proto: NDArray[np.uint8]) -> NDArray[np.bool_]:
    # Two comparisons cost a tenth of a look-up in a table.
    ported: NDArray[np.bool_] = (proto == _TRANSPORTS["tcp"]) | (proto == _TRANSPORTS["udp"])
    return ported
