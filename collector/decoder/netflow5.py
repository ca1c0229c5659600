"""NetFlow version 5: a header and records of one fixed form, which is a layout like any other.

The form is Cisco's (NetFlow Export Datagram Format, tables B-3 and B-4); the elements are those of version 9, which
took its first numbers from it.
"""

from struct import Struct

from collector.decoder.elements import FieldSpecifier

VERSION = 5
HEADER = Struct("!HHIIIIBBH")
"""Version, count, device uptime in ms, export time in s and ns, flow sequence, engine type, engine id, sampling."""
_PADDING = 210
FIELDS: tuple[FieldSpecifier, ...] = tuple(
    FieldSpecifier(element, length)
    for element, length in (
        (8, 4), (12, 4), (15, 4),  # source, destination, next hop
        (10, 2), (14, 2),  # ingress and egress interface
        (2, 4), (1, 4),  # packets, octets
        (22, 4), (21, 4),  # uptime at the first and at the last packet
        (7, 2), (11, 2), (_PADDING, 1), (6, 1), (4, 1), (5, 1),  # ports, TCP flags, protocol, type of service
        (16, 2), (17, 2), (9, 1), (13, 1), (_PADDING, 2),  # AS numbers, prefix lengths
    )
)  # fmt: skip
RECORD_OCTETS = 48
INTERVAL = 0x3FFF
"""The bits of the header's sampling that say N of 1-in-N."""


def count_records(octets: int, count: int) -> tuple[int, bool]:
    """Records to read of a datagram of ``octets`` whose header says ``count``, and whether the two agree.

    A count of 0 was never filled in; one beyond the length is cut to it, as goflow2 does (nfdump and logstash drop
    the datagram); what lies behind the count was not announced.
    """
    present = max(0, octets - HEADER.size) // RECORD_OCTETS
    return (min(count, present) if count else present), count == present


def domain_of(engine_type: int, engine_id: int) -> int:
    """The observation domain: the slot of the device that counted."""
    return engine_type << 8 | engine_id


def interval_of(sampling: int) -> int | None:
    """N of 1-in-N: the low 14 bits; the mode in the upper two is left out by some devices.  None: nothing is said."""
    return sampling & INTERVAL or None
