"""Sections of frames and packets in IPFIX and v9 records -> columns (RFC 5477 section 8.5, PSAMP).

Juniper and IOS-XR send sampled frames so, and PSAMP devices; such a record is about one packet.  What the record says
itself counts; the packet fills what it does not say.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder import packets
from collector.decoder.elements import SECTION_ETHERNET, SECTION_IP
from collector.decoder.filling import Columns, flag, settle, writable
from sinks.schema import Flag

if TYPE_CHECKING:
    from collector.decoder.layouts import Reading, Section

Array = NDArray[Any]

_FIRST = {SECTION_ETHERNET: packets.ETHERNET, SECTION_IP: packets.IP}
_ETHERNET_FRAME = 1  # dataLinkFrameType: IEEE 802.3; 2 is wireless, whose frames are not ours
_WHOLE = ("src_addr", "dst_addr")
_SINGLE = ("src_port", "dst_port", "proto", "tcp_flags", "tos", "vlan", "icmp", "ip_version")


def fill_section(rows: Any, reading: "Reading", section: "Section", columns: Columns) -> None:
    """Parse the section of each record into the columns; add to ``flags``.

    ``rows`` is a ``records.Rows``; ``columns`` hold already what the record says itself.
    """
    octets, starts, lengths = rows.spans(section.place)
    if section.exported is not None:
        # Sections of fixed length are filled up; the record says how much of one is the packet.
        said = np.minimum(rows.unsigned(section.exported), np.uint64(2**16)).astype("i8")
        lengths = np.where(said > 0, np.minimum(lengths, said), lengths)
    first = np.full(len(starts), _FIRST[section.kind], "i4")
    first[lengths == 0] = packets.OTHER
    if section.offset is not None:
        # A section that begins later has not the headers.
        first[rows.unsigned(section.offset) > 0] = packets.OTHER
    if section.frame_type is not None:
        kind = rows.unsigned(section.frame_type)
        first[(kind != _ETHERNET_FRAME) & (kind > 0)] = packets.OTHER
    parsed = packets.parse(octets, starts, lengths, first)
    if parsed.unsound.any():
        flag(columns, parsed.unsound, Flag.UNSOUND_PACKET.value)
    found = parsed.columns
    for name in _WHOLE:
        if name not in reading.addresses:
            columns[name] = found[name]
    for name in _SINGLE:
        np.copyto(writable(columns, name), found[name], where=columns[name] == 0)
    if not reading.octets:
        columns["octets"] = found["octets"]
        if section.frame_size is not None:
            size = rows.unsigned(section.frame_size).astype("i8")
            np.copyto(columns["octets"], size, where=(size > 0) & (size <= packets.LARGEST_PACKET))
    if not reading.packets:
        settle(columns, "packets", 1)
