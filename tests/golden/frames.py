"""What a sampled frame says by scapy: the columns a row must have.  Link layers are walked here, one at a time."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

_TAGS = (0x8100, 0x88A8, 0x9100)
_MPLS = (0x8847, 0x8848)


def read_frame(octets: bytes) -> dict[str, Any]:
    """Columns of the outermost IP packet behind Ethernet, tags, labels; ``octets``: its length by its own header."""
    row: dict[str, Any] = {"octets": 0}
    octets = _ethernet(octets, row)
    if not octets or octets[0] >> 4 not in (4, 6):
        return row
    if octets[0] >> 4 == 4:
        packet: Packet = IP(octets)
        row |= {"ip_version": 4, "proto": int(packet.proto), "tos": int(packet.tos), "octets": int(packet.len)}
        above: Packet | None = packet.payload
    else:
        packet = IPv6(octets)
        row |= {"ip_version": 6, "proto": int(packet.nh), "tos": int(packet.tc), "octets": int(packet.plen) + 40}
        above = packet.payload
        while above is not None and hasattr(above, "nh") and row["proto"] in (0, 43, 44, 60):  # extension headers
            row["proto"] = int(above.nh)
            above = above.payload if not (isinstance(above, IPv6ExtHdrFragment) and above.offset) else None
    row |= {"src_addr": str(packet.src), "dst_addr": str(packet.dst)}
    if isinstance(above, TCP | UDP | SCTP):
        row |= {"src_port": int(above.sport), "dst_port": int(above.dport)}
    if isinstance(above, TCP):
        row["tcp_flags"] = int(above.flags)
    if isinstance(above, ICMP) or row["proto"] == 58:
        row["icmp"] = int(getattr(above, "type", 0)) << 8 | int(getattr(above, "code", 0))
    return row


def _ethernet(octets: bytes, row: dict[str, Any]) -> bytes:
    """What is behind the link layers; adds the outermost VLAN id."""
    kind, octets = int.from_bytes(octets[12:14], "big"), octets[14:]
    while kind in _TAGS:
        row.setdefault("vlan", int.from_bytes(octets[:2], "big") & 0xFFF)
        kind, octets = int.from_bytes(octets[2:4], "big"), octets[4:]
    if kind in _MPLS:
        bottom = False
        while not bottom and len(octets) >= 4:
            bottom, octets = bool(octets[2] & 1), octets[4:]
        if octets and octets[0] >> 4 in (4, 6):
            return octets
        # RFC 4448 section 4.6: the first four bits of a pseudowire's control word are 0.
        return _ethernet(octets[4:] if octets and octets[0] >> 4 == 0 else octets, row)
    return octets if kind in (0x0800, 0x86DD) else b""
