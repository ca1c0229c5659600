"""Traffic of our own, the same each time: some dozens of flows, and what flow exporters must say of them.

The truth is summed from the packets as scapy reads them back; nothing of the collector is used.
"""

import random
from collections.abc import Iterable
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.wire import NOW

Flow = tuple[str, str, int, int, int, int, int]
"""Source, destination, their ports, protocol, packets, octets from the IP header on.

ICMP has no ports: the first is 0, the second type x 256 + code, as exporters have it since NetFlow v5.
"""

_SEED = 20_231_114
_CONVERSATIONS = 14  # of each IP version
_SECONDS = 50.0  # shorter than any exporter's timeout, so that none splits a flow


def packets() -> list[Packet]:
    """All frames in order of their time, as read back from their octets."""
    draw = random.Random(_SEED)
    made = [
        (NOW + draw.uniform(0, _SECONDS), frame)
        for version in (4, 6)
        for number in range(_CONVERSATIONS)
        for frame in _conversation(draw, version, number)
    ]
    made.sort(key=lambda each: each[0])
    found: list[Packet] = []
    for at, frame in made:
        packet: Packet = Ether(bytes(frame))
        packet.time = round(at, 6)
        found.append(packet)
    return found


def flow(packet: Packet) -> Flow:
    """What one packet adds."""
    if IP in packet:
        header, proto, octets = packet[IP], packet[IP].proto, packet[IP].len
    else:
        header, proto, octets = packet[IPv6], packet[IPv6].nh, packet[IPv6].plen + 40
    if proto in (6, 17):
        ports = header.payload.sport, header.payload.dport
    else:
        ports = 0, header.payload.type << 8 | header.payload.code
    return header.src, header.dst, *ports, proto, 1, octets


def flows(of: Iterable[Packet]) -> list[Flow]:
    """The packets by 5-tuple, one direction each, sorted."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for packet in of:
        *key, count, octets = flow(packet)
        entry = sums.setdefault(tuple(key), [0, 0])
        entry[0] += count
        entry[1] += octets
    return sorted((*key, count, octets) for key, (count, octets) in sums.items())


def _conversation(draw: random.Random, version: int, number: int) -> list[Packet]:
    client = f"198.18.0.{number // 2 + 1}" if version == 4 else f"2001:db8:1000::{number // 2 + 1:x}"
    server = f"203.0.113.{number % 5 + 1}" if version == 4 else f"2001:db8:f000::{number % 5 + 1:x}"
    there = client, server, draw.randrange(49_152, 65_536), draw.choice((53, 80, 123, 443, 8080))
    back = server, client, there[3], there[2]
    kind = number % 4
    if kind == 3:
        return _pings(draw, version, client, server, number)
    answered = number % 6 != 5  # some are never answered
    frames = []
    for ends in (there, back) if answered else (there,):
        for at in range(draw.randrange(1, 15)):
            upper: Packet
            if kind == 1:
                upper = UDP(sport=ends[2], dport=ends[3])
            else:
                upper = TCP(sport=ends[2], dport=ends[3], flags="A" if at else "S", seq=draw.getrandbits(32))
            frames.append(_frame(version, ends[0], ends[1], upper, draw.randrange(0, 1400)))
    return frames


def _pings(draw: random.Random, version: int, client: str, server: str, number: int) -> list[Packet]:
    count, size = draw.randrange(1, 9), draw.randrange(0, 1200)
    there: Packet
    back: Packet
    refusal: Packet
    if version == 4:
        there, back = ICMP(type=8, code=0, id=number), ICMP(type=0, code=0, id=number)
        refusal = ICMP(type=3, code=1)
    else:
        there, back = ICMPv6EchoRequest(id=number), ICMPv6EchoReply(id=number)
        refusal = ICMPv6DestUnreach(code=4)
    if number == 3:
        return [_frame(version, server, client, refusal, 48)]
    return [_frame(version, client, server, there, size) for _ in range(count)] + [
        _frame(version, server, client, back, size) for _ in range(count)
    ]


def _frame(version: int, source: str, destination: str, upper: Packet, size: int) -> Packet:
    header = IP(src=source, dst=destination, ttl=60) if version == 4 else IPv6(src=source, dst=destination, hlim=60)
    ethernet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # else scapy takes this machine's
    return ethernet / header / upper / Raw(bytes(size))
