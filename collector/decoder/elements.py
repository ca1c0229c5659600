"""Information elements we read, and the column each one fills.

Numbers are IANA's (IPFIX information elements); NetFlow v9 field types are the same up to 127.  A column takes the
first of its elements that the template has, with a length that the element may have.
"""

from typing import NamedTuple

VARIABLE = 65_535
"""Length of a field that each record states itself (RFC 7011 section 7)."""
REVERSE_PEN = 29_305
"""Elements of the other direction of a biflow (RFC 5103 section 6.1)."""
SCOPE_PEN = -1
"""Stands for v9 scope types (RFC 3954 section 6.1), which share no numbers with elements."""


class FieldSpecifier(NamedTuple):
    """One entry of a template; ``pen`` 0: IANA's."""

    element: int
    length: int
    pen: int = 0


# Unsigned integers of any length up to 8 octets (RFC 7011 section 6.2); of a longer one than the column the low
# octets are read: exporters widen, they do not use more of the range.
UNSIGNED: dict[str, tuple[int, ...]] = {
    "src_port": (7, 180, 182),  # transport, UDP, TCP
    "dst_port": (11, 181, 183),
    "proto": (4,),
    "tcp_flags": (6,),
    "in_if": (10, 252),  # logical, physical
    "out_if": (14, 253),
    "src_as": (16,),
    "dst_as": (17,),
    "vlan": (58, 243, 59),  # VLAN, 802.1Q, after the observation point
    "tos": (5,),
}
MASKS: dict[str, tuple[int, int]] = {"src_mask": (9, 29), "dst_mask": (13, 30)}
"""Prefix length of the IPv4 and of the IPv6 address."""
ADDRESSES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "src_addr": ((8, 44), (27, 170)),  # address, prefix
    "dst_addr": ((12, 45), (28, 169)),
    "next_hop": ((15, 18), (62, 63)),  # IGP, BGP
}
"""IPv4 and IPv6 elements; 4 and 16 octets and nothing else."""
OCTETS: tuple[tuple[int, ...], ...] = ((1,), (23,), (85,), (231, 232))
"""Delta, after the observation point, total, initiator + responder (NSEL); the first alternative that is there."""
PACKETS: tuple[tuple[int, ...], ...] = ((2,), (24,), (86,), (298, 299))
ICMP: tuple[tuple[int, ...], ...] = ((32,), (139,), (176, 177), (178, 179))
"""Type x 256 + code in one element, or type and code in two."""
IP_VERSION = 60
SECTION_ETHERNET = 315
"""dataLinkFrameSection: what was seen of one packet, from its Ethernet header on; 104 is the old number."""
SECTION_IP = 313
"""ipHeaderPacketSection: the same from its IP header on."""
SECTIONS: tuple[tuple[int, int], ...] = ((315, SECTION_ETHERNET), (104, SECTION_ETHERNET), (313, SECTION_IP))
FRAME_SIZE, FRAME_TYPE = 312, 408
SECTION_OFFSETS: tuple[int, ...] = (409, 102)
SECTION_SIZES: tuple[int, ...] = (410, 103)

OBSERVED: tuple[int, ...] = (323, 324, 325, 322)
"""Elements of the time at which a packet was observed (PSAMP): ms, us, ns (NTP format), s."""
START: tuple[int, ...] = (152, 154, 156, 150, 158, 22)
"""Elements of flow start: ms, us, ns (NTP format), s, us before export, device uptime."""
END: tuple[int, ...] = (153, 155, 157, 151, 159, 21)
TIME_LENGTHS: dict[int, int] = {
    152: 8, 154: 8, 156: 8, 150: 4, 158: 4, 22: 4,
    153: 8, 155: 8, 157: 8, 151: 4, 159: 4, 21: 4,
    323: 8, 324: 8, 325: 8, 322: 4,
}  # fmt: skip
SYSTEM_INIT = 160
"""Unix ms at which the device's uptime was 0."""

SAMPLING_INTERVAL = 34
SAMPLER_ID = 48
SAMPLER_INTERVAL = 50
SELECTOR_ID = 302
ALGORITHM = 304
PACKET_INTERVAL = 305
PACKET_SPACE = 306
SIZE = 309
POPULATION = 310
SAMPLERS: tuple[int, ...] = (SELECTOR_ID, SAMPLER_ID)
INTERVALS: tuple[int, ...] = (SAMPLER_INTERVAL, SAMPLING_INTERVAL)
RECORD_SAMPLING: frozenset[int] = frozenset({*INTERVALS, PACKET_INTERVAL, SIZE, POPULATION})
"""Elements that say an interval; a record with none of them says nothing."""
OPTIONS: frozenset[int] = frozenset(
    {*RECORD_SAMPLING, PACKET_SPACE, ALGORITHM, *SAMPLERS, SYSTEM_INIT, 10, 14, 149},
)
"""What is read of options records; 149 names the observation domain it is said of."""
OBSERVATION_DOMAIN = 149
INTERFACES: tuple[int, ...] = (10, 14)
SCOPE_INTERFACE = 2
"""v9 scope type."""
