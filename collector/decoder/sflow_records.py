"""The records of flow samples of a slab, all of a kind at once -> entries (``samples``); ``sampled`` reads one by one.

Of two records of a kind in one sample the first counts, of routers and gateways the last; NumPy keeps what is assigned
last, hence the reversed rows here.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.decoder.sampled import LEAST, VLANS
from collector.decoder.samples import ENTRY, SLOTS
from collector.decoder.sflow_walk import SFlowWalk

Array = NDArray[Any]

_MOST_SEGMENTS = 8  # of a path: each costs a step
_USED: Array = np.array([1, 2, 5])
"""Words of an address by its type (section 5.1): none, IPv4, IPv6."""
_MAPPED = 0xFFFF  # third word of ::ffff:a.b.c.d
_PACKET: Final = 1
_HEADER_OCTETS: Final = 16  # before the sampled header, in its record


class Entries:
    """One a flow sample of ``walk``, in their order: ``table`` (ENTRY), and where the sampled header lies.

    Datagrams with a record that is not sound cease to be plain.
    """

    def __init__(self, walk: SFlowWalk) -> None:
        self._walk = walk
        count = len(walk.flow)
        self.table: Array = np.zeros(count, ENTRY)
        self.header: Array = np.zeros(count, "i8")
        self.read: Array = np.zeros(len(walk.owner), bool)
        """By record of ``walk``: it is of a kind that we read."""
        self._measured: Array = np.zeros(count, bool)
        self._has_flow: Array = np.zeros(count, bool)
        self._hops: Array | None = None  # of routers and of gateways: (2, samples, 4 words)
        table = self.table
        table["interval"], table["in_if"], table["out_if"] = walk.interval, walk.in_if, walk.out_if
        records = int(np.searchsorted(walk.owner, count))  # behind them those of counter samples
        number = walk.number[:records]
        others = np.flatnonzero(number != _PACKET)
        if len(others):
            kinds = number[others]
            for kind, read in (
                (4, self._ipv6), (3, self._ipv4), (2, self._ethernet), (1001, self._switch), (1002, self._router),
                (1003, self._gateway),
            ):  # fmt: skip
                self._read(kind, others[kinds == kind], read)
        # Several kinds tell the packet's length; the sampled header's word counts most, so it is the last of them.
        self._read(_PACKET, np.flatnonzero(number == _PACKET), self._packet)
        if self._hops is not None:
            router, gateway = self._hops
            table["next_hop"] = _octets(np.where(router.any(1, keepdims=True), router, gateway))
        if not self._measured.all():
            walk.refuse(np.flatnonzero(~self._measured))  # no record tells of a packet

    def _read(self, kind: int, rows: Array, read: Callable[[Array, Array, Array], None]) -> None:
        """Read records of one kind: whose they are, where, and how long."""
        if len(rows):
            self.read[rows] = True
            owner, at, length = self._walk.owner[rows], self._walk.at[rows], self._walk.length[rows]
            self._check(owner, length >= LEAST[kind])
            read(owner, at, length)

    def _check(self, owner: Array, sound: Array) -> None:
        if not sound.all():
            self._walk.refuse(owner[~sound])

    def _first(self, owner: Array) -> tuple[Array | slice, slice]:
        """Where to assign to what is told by records of one kind, and in which order: the first of a sample counts."""
        if len(owner) == len(self.table) and (owner[1:] > owner[:-1]).all():
            return slice(None), slice(None)  # one of each sample
        return owner[::-1], slice(None, None, -1)

    def _measure(self, owner: Array, octets: Array) -> None:
        first, order = self._first(owner)
        self.table["octets"][first] = octets[order]
        self._measured[first] = True

    def _packet(self, owner: Array, at: Array, length: Array) -> None:
        """Raw packet header (section 5.3, sampled_header)."""
        said = self._walk.words(at, 4)
        protocol, captured = said[:, 0], said[:, 3].astype("i8")
        self._check(owner, (captured > 0) & (captured <= length - _HEADER_OCTETS))
        self._measure(owner, said[:, 1])
        first, order = self._first(owner)
        self.table["protocol"][first] = np.where(protocol < 256, protocol, 0)[order]
        self.table["captured"][first] = np.minimum(captured, SLOTS[-1])[order]
        self.header[first] = at[order] + _HEADER_OCTETS

    def _ethernet(self, owner: Array, at: Array, length: Array) -> None:
        self._measure(owner, self._walk.words(at, 1)[:, 0])

    def _ipv4(self, owner: Array, at: Array, length: Array) -> None:
        said = self._walk.words(at, 8)
        addresses: Array = np.zeros((len(owner), 8), ">u4")
        addresses[:, 2::4] = _MAPPED
        addresses[:, 3::4] = said[:, 2:4]
        self._flow(4, owner, addresses, said[:, [0, 1, 4, 5, 6, 7]])

    def _ipv6(self, owner: Array, at: Array, length: Array) -> None:
        said = self._walk.words(at, 14)
        self._flow(6, owner, said[:, 2:10], said[:, [0, 1, 10, 11, 12, 13]])

    def _flow(self, version: int, owner: Array, addresses: Array, said: Array) -> None:
        """``said``: length, protocol, ports, TCP flags, type of service: words whose upper bits say nothing."""
        self._check(owner, ~self._has_flow[owner])  # both kinds in one sample: which is first is not known here
        self._has_flow[owner] = True
        self._measure(owner, said[:, 0])
        first, order = self._first(owner)
        table = self.table
        table["ip_version"][first] = version
        table["src_addr"][first] = _octets(addresses[order, :4])
        table["dst_addr"][first] = _octets(addresses[order, 4:])
        for column, (name, bits) in enumerate(
            (("proto", 0xFF), ("src_port", 0xFFFF), ("dst_port", 0xFFFF), ("tcp_flags", 0xFFF), ("tos", 0xFF)), 1
        ):
            table[name][first] = said[order, column] & bits

    def _tell_hop(self, which: int, owner: Array, hop: Array) -> None:
        if self._hops is None:
            self._hops = np.zeros((2, len(self.table), 4), ">u4")
        self._hops[which, owner] = hop

    def _switch(self, owner: Array, at: Array, length: Array) -> None:
        vlan = self._walk.words(at, 1)[:, 0]
        known = np.flatnonzero((vlan > 0) & (vlan <= VLANS))[::-1]
        self.table["vlan"][owner[known]] = vlan[known]

    def _router(self, owner: Array, at: Array, length: Array) -> None:
        said = self._walk.words(at, 7)
        hop, used = _address(said)
        self._check(owner, (said[:, 0] < len(_USED)) & (length >= 4 * (used + 2)))
        self._tell_hop(0, owner, hop)
        for column, name in enumerate(("src_mask", "dst_mask")):
            mask = _pick(said, used + column)
            self.table[name][owner] = np.where(mask <= 128, mask, 0)

    def _gateway(self, owner: Array, at: Array, length: Array) -> None:
        """Next hop, AS of the router, of the source and its neighbour, path to the destination as segments."""
        said = self._walk.words(at, 9)
        hop, used = _address(said)
        sound = (said[:, 0] < len(_USED)) & (length >= 4 * (used + 4))
        segments = np.where(sound, _pick(said, used + 3), 0)
        stop, at = at + length, at + 4 * (used + 4)
        last: Array = np.zeros(len(owner), "i8")
        for step in range(_MOST_SEGMENTS + 1):
            rows = np.flatnonzero(sound & (segments > step))
            if not len(rows):
                break
            if step == _MOST_SEGMENTS:
                sound[rows] = False
                break
            count = self._walk.words(at[rows], 2)[:, 1].astype("i8")
            at[rows] += 8
            fits = count <= (stop[rows] - at[rows]) // 4  # a header that is cut leaves less than nothing
            sound[rows[~fits]] = False
            rows, count = rows[fits], count[fits]
            at[rows] += 4 * count
            last[rows[count > 0]] = self._walk.words(at[rows[count > 0]] - 4, 1)[:, 0]
        self._check(owner, sound)
        self._tell_hop(1, owner, hop)
        self.table["src_as"][owner], self.table["dst_as"][owner] = _pick(said, used + 1), last


def _address(said: Array) -> tuple[Array, Array]:
    """Addresses that begin records, (records, 4) >u4 with IPv4 mapped, and the words they take; zeros: not told."""
    kind = said[:, 0]
    hop: Array = np.zeros((len(said), 4), ">u4")
    four = np.flatnonzero((kind == 1) & (said[:, 1] > 0))
    hop[four, 2], hop[four, 3] = _MAPPED, said[four, 1]
    six = np.flatnonzero(kind == 2)
    hop[six] = said[six, 1:5]
    return hop, _USED[np.minimum(kind, len(_USED) - 1)]


def _pick(said: Array, column: Array) -> Array:
    """Of each row the word of its own column, i8."""
    return np.take_along_axis(said, column[:, None], 1)[:, 0].astype("i8")


def _octets(address: Array) -> Array:
    """(rows, 4) words of any byte order -> V16."""
    return np.ascontiguousarray(address, ">u4").view("V16")[:, 0]
