"""sFlow's flow samples -> columns.

While datagrams are walked a sample is an entry of fixed size, what its records say and the sampled header behind it;
here entries become columns, and headers are parsed, all at once.
"""

from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.decoder import packets
from collector.decoder.elements import FieldSpecifier
from collector.decoder.filling import Columns, flag, put, settle, spread
from collector.decoder.layouts import Layout
from collector.decoder.messages import Messages, Runs
from collector.decoder.packets import LARGEST_PACKET
from sinks.schema import Flag, SamplingSource

Array = NDArray[Any]

VERSION: Final = 6_343
"""Stands for sFlow 5 among the versions of NetFlow, which have a 5 of their own: its port."""
SLOTS: Final = (128, 512)
"""Octets kept of a sampled header: what nearly all agents send, and more than any stack of headers that we read."""
_SECTION = 315  # dataLinkFrameSection


ENTRY = np.dtype(
    [("interval", "u4"), ("octets", "u4"), ("in_if", "u4"), ("out_if", "u4"), ("src_as", "u4"), ("dst_as", "u4"),
     ("next_hop", "V16"), ("src_addr", "V16"), ("dst_addr", "V16"), ("src_port", "u2"), ("dst_port", "u2"),
     ("tcp_flags", "u2"), ("vlan", "u2"), ("ip_version", "u1"), ("proto", "u1"), ("tos", "u1"), ("src_mask", "u1"),
     ("dst_mask", "u1"), ("protocol", "u1"), ("captured", "u2")]
)  # fmt: skip
"""What the records of one sample say; 0 or zeros: nothing.  ``octets``: of the frame; ``protocol``: of the sampled
header, of which ``captured`` octets are kept behind the entry."""
ENTRIES: tuple[tuple[int, Struct], ...] = tuple((slot, Struct(f"=IIIIII16s16s16sHHHHBBBBBBH{slot}s")) for slot in SLOTS)
"""The same for one sample, with its header, by slot."""
_FROM_ENTRY = ("in_if", "out_if", "src_as", "dst_as", "next_hop", "src_mask", "dst_mask")
_FROM_PACKET = (
    "ip_version", "src_addr", "dst_addr", "src_port", "dst_port", "proto", "tcp_flags", "tos",
)  # fmt: skip
_UNSAID = ("copy", "collector")

_FIRST = np.full(256, packets.OTHER, "i4")
"""What the sampled header begins with, by sFlow's header_protocol."""
_FIRST[[1, 11, 12, 13]] = packets.ETHERNET, packets.IPV4, packets.IPV6, packets.MPLS


def sample_layout(slot: int) -> Layout:
    """The layout of entries with ``slot`` octets for the header."""
    return Layout(VERSION, (FieldSpecifier(_SECTION, ENTRY.itemsize + slot),))


def fill_samples(body: Array, size: int, first: int, runs: Runs, messages: Messages, columns: Columns) -> None:
    """Fill all columns of stage *decode* from entries ``first`` onwards, each of ``size`` octets."""
    count = runs.rows
    entries: Array = np.ndarray((count,), ENTRY, body, first * size, (size,))
    for name in ("exporter", "domain", "flags"):
        spread(columns, name, runs, getattr(messages, name))
    # sFlow tells no time of day: a sample is sent within a second, so it happened when it came.
    for name in ("received", "ts", "ts_start"):
        spread(columns, name, runs, messages.received)
    for name in _FROM_ENTRY:
        columns[name][:] = entries[name]
    for name in _UNSAID:
        settle(columns, name)
    settle(columns, "packets", 1)
    columns["octets"][:] = entries["octets"]
    if (larger := entries["octets"] > LARGEST_PACKET).any():
        flag(columns, larger, Flag.IMPLAUSIBLE.value)
    _fill_packets(body, size, first, entries, columns)
    _fill_sampling(entries, runs, messages, columns)


def _fill_packets(body: Array, size: int, first: int, entries: Array, columns: Columns) -> None:
    starts = (np.arange(len(entries), dtype="i8") + first) * size + ENTRY.itemsize
    parsed = packets.parse(body.data, starts, entries["captured"].astype("i8"), _FIRST[entries["protocol"]])
    seen = parsed.columns["ip_version"] > 0
    for name in _FROM_PACKET:
        columns[name][:] = parsed.columns[name]
        if not seen.all():
            # Samples without a header may have their addresses in a record of their own.
            columns[name][~seen] = entries[name][~seen]
    put(columns, "icmp", parsed.columns["icmp"])
    # The tag in the frame is what was on the wire; the switch says its VLAN also of frames without one.
    tagged = parsed.columns["vlan"]
    columns["vlan"][:] = np.where(tagged > 0, tagged, entries["vlan"])
    if parsed.unsound.any():
        flag(columns, parsed.unsound, Flag.UNSOUND_PACKET.value)


def _fill_sampling(entries: Array, runs: Runs, messages: Messages, columns: Columns) -> None:
    """The sample's own interval; of one that says 0, as of a record that says nothing."""
    interval = entries["interval"]
    said = interval > 0
    domain_source = runs.spread(messages.interval_source)
    said &= domain_source != SamplingSource.OVERRIDE
    columns["sampling"][:] = np.where(said, interval, runs.spread(messages.interval))
    columns["sampling_source"][:] = np.where(said, SamplingSource.HEADER.value, domain_source)
