"""Sampled packets -> columns: what stands at the beginning of a frame, from Ethernet to ports.

All packets of a batch advance together, one header a step, each within its captured octets; Python loops over headers,
never over packets.  The outermost IP header counts: of GRE, VXLAN and IP in IP the tunnel's own ends are told.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ETHERNET: Final = 0x6558
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
MPLS: Final = 0x8847
"""What a packet begins with: the numbers that Ethernet gives to what it carries (IEEE 802 Ethertypes)."""
IP: Final = -1
"""IPv4 or IPv6, told by the version in its first octet."""
OTHER: Final = 0
"""Nothing we read."""

LARGEST_PACKET: Final = 65_575
"""65,535 octets behind the 40 of an IPv6 header: no packet counts more."""
_MPLS_MULTICAST = 0x8848
_PPPOE = 0x8864
_VLAN = (0x8100, 0x88A8, 0x9100, 0x9200)  # IEEE 802.1Q, 802.1ad, and what came before it
_LEAST_TYPE = 0x600  # below it stands the length of an IEEE 802.3 frame
_HEADERS = 16  # below IP: more than 4 VLANs, 8 labels and a second Ethernet header carry no traffic but attempts
_EXTENSIONS = 8  # RFC 8200 section 4.1 lists 7, of which one may come twice

_SNAP = np.dtype([("llc", "V6"), ("type", ">u2")])
_SNAP_LLC = np.void(b"\xaa\xaa\x03\0\0\0")  # RFC 1042
_PPP = {0x0021: IPV4, 0x0057: IPV6}
_V4 = np.dtype(
    [("first", "u1"), ("tos", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
     ("proto", "u1"), ("checksum", ">u2"), ("src", "u4"), ("dst", "u4")]
)  # fmt: skip
_V6 = np.dtype(
    [("first", ">u4"), ("length", ">u2"), ("next", "u1"), ("hops", "u1"), ("src", "V16"), ("dst", "V16")]
)  # fmt: skip
_EXTENSION = np.dtype([("next", "u1"), ("length", "u1"), ("fragment", ">u2"), ("rest", "V4")])
_PORTS = np.dtype([("src", ">u2"), ("dst", ">u2")])
_MAPPED = np.frombuffer(b"\0\0\xff\xff", "u4")[0]  # the third word of ::ffff:a.b.c.d
_OFFSET = 0x1FFF  # of a fragment of IPv4, in 8 octets
_TCP, _AUTHENTICATION, _FRAGMENT = 6, 51, 44
_TCP_BITS = 0x0FFF  # RFC 9293 section 3.1: behind the data offset of 4 bits


def _table(*numbers: int) -> Array:
    table = np.zeros(256, bool)
    table[list(numbers)] = True
    return table


_WITH_PORTS = _table(_TCP, 17, 33, 132, 136)  # TCP, UDP, DCCP, SCTP, UDP-Lite
_ICMP = _table(1, 58)
_EXTENDS = _table(0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140)
"""IPv6 extension headers (RFC 8200 section 4, IANA): hop by hop, routing (SRv6 too), fragment, ..."""


@dataclass(frozen=True, slots=True)
class Packets:
    """One row a packet; what a packet does not say is 0.

    ``columns``: ip_version, tos, proto u1; src_addr, dst_addr V16 (IPv4 mapped); src_port, dst_port, tcp_flags, icmp,
    vlan u2; octets i8: length of the IP packet.  ``unsound``: bool, a header contradicts itself or ends too early.
    """

    columns: dict[str, Array]
    unsound: Array


def parse(body: bytearray | bytes | memoryview, starts: Array, lengths: Array, first: Array | int) -> Packets:
    """Read packets that stand anywhere in ``body``.

    ``starts``, ``lengths``: i8, one a packet, octets; beyond the body nothing is read.  ``first``: what each begins
    with, ETHERNET, IPV4, IPV6, MPLS, IP or OTHER.
    """
    walk = _Walk(body, starts, lengths, first)
    walk.to_ip()
    walk.ipv4()
    walk.ipv6()
    walk.transport()
    return Packets(walk.columns, walk.unsound)


class _Walk:
    """Where each packet is read (``at``), where it ends, and what comes next (``type``, ``upper``)."""

    def __init__(self, body: bytearray | bytes | memoryview, starts: Array, lengths: Array, first: Array | int) -> None:
        count = len(starts)
        self._body, self._size = body, len(body)
        self._at = np.clip(starts.astype("i8"), 0, self._size)
        self._end = np.clip(self._at + np.maximum(lengths.astype("i8"), 0), self._at, self._size)
        self._type = np.empty(count, "i4")
        self._type[:] = first
        self._upper = np.full(count, -1, "i2")  # protocol above IP, where its header begins here
        self.unsound: Array = np.zeros(count, bool)
        self.columns: dict[str, Array] = {
            name: np.zeros(count, dtype)
            for name, dtype in (
                ("ip_version", "u1"), ("src_addr", "V16"), ("dst_addr", "V16"), ("proto", "u1"), ("src_port", "u2"),
                ("dst_port", "u2"), ("tcp_flags", "u2"), ("tos", "u1"), ("icmp", "u2"), ("vlan", "u2"),
                ("octets", "i8"),
            )
        }  # fmt: skip

    def to_ip(self) -> None:
        """Everything below IP, until none has a header left that we know."""
        steps = (
            (self._ethernet, (ETHERNET,)), (self._tag, _VLAN), (self._label, (MPLS, _MPLS_MULTICAST)),
            (self._session, (_PPPOE,)), (self._version, (IP,)),
        )  # fmt: skip
        known = np.array([kind for _, kinds in steps for kind in kinds], "i4")
        for _ in range(_HEADERS):
            left = self._type[self._type != IPV4]
            if not np.isin(left, known).any():
                break
            for step, kinds in steps:
                chosen = self._type == kinds[0]
                for kind in kinds[1:]:
                    chosen |= self._type == kind
                rows = np.flatnonzero(chosen)
                if len(rows):
                    step(rows)
        else:
            self._refuse(np.flatnonzero(np.isin(self._type, known)))

    def ipv4(self) -> None:
        """RFC 791 section 3.1."""
        rows = self._with_room(np.flatnonzero(self._type == IPV4), _V4.itemsize)
        head = self._read(rows, _V4)
        words = (head["first"] & 15).astype("i8")
        sound = (head["first"] >> 4 == 4) & (words >= 5)
        if not sound.all():
            self._refuse(rows[~sound])
            rows, head, words = rows[sound], head[sound], words[sound]
        columns = self.columns
        columns["ip_version"][rows] = 4
        columns["tos"][rows] = head["tos"]
        columns["proto"][rows] = head["proto"]
        columns["octets"][rows] = head["length"]
        for name, field in (("src_addr", "src"), ("dst_addr", "dst")):
            address = columns[name].view("u4").reshape(-1, 4)
            address[rows, 2] = _MAPPED
            address[rows, 3] = head[field]  # no byte swap: an address is octets
        self._at[rows] += 4 * words
        # A fragment other than the first has no header of the protocol above.
        self._upper[rows] = np.where(head["fragment"] & _OFFSET, -1, head["proto"].astype("i2"))

    def ipv6(self) -> None:
        """RFC 8200 section 3; extension headers are passed, the protocol is what stands behind the last one."""
        rows = self._with_room(np.flatnonzero(self._type == IPV6), _V6.itemsize)
        if not len(rows):
            return
        head = self._read(rows, _V6)
        sound = head["first"] >> 28 == 6
        if not sound.all():
            self._refuse(rows[~sound])
            rows, head = rows[sound], head[sound]
        columns = self.columns
        columns["ip_version"][rows] = 6
        columns["tos"][rows] = head["first"] >> 20 & 255
        # A payload length of 0 is a jumbogram's (RFC 2675): its length is not told here.
        columns["octets"][rows] = np.where(head["length"] > 0, head["length"].astype("i8") + _V6.itemsize, 0)
        columns["src_addr"][rows], columns["dst_addr"][rows] = head["src"], head["dst"]
        columns["proto"][rows] = head["next"]
        self._upper[rows] = head["next"]
        self._at[rows] += _V6.itemsize
        self._extensions(rows)

    def transport(self) -> None:
        """Ports, TCP's control bits, ICMP's type and code, of packets captured so far."""
        rows, upper = self._reached(_WITH_PORTS, _PORTS.itemsize)
        ports = self._read(rows, _PORTS)
        self.columns["src_port"][rows] = ports["src"]
        self.columns["dst_port"][rows] = ports["dst"]
        rows = rows[upper == _TCP]
        rows = rows[self._end[rows] - self._at[rows] >= 14]
        self.columns["tcp_flags"][rows] = self._read(rows, np.dtype(">u2"), 12) & _TCP_BITS
        rows, _ = self._reached(_ICMP, 2)
        self.columns["icmp"][rows] = self._read(rows, np.dtype(">u2"))

    def _ethernet(self, rows: Array) -> None:
        rows = self._with_room(rows, 14)
        kind = self._read(rows, np.dtype(">u2"), 12).astype("i4")
        self._at[rows] += 14
        self._follow(rows, kind)

    def _tag(self, rows: Array) -> None:
        """A VLAN tag; of several the outermost that is not priority only counts."""
        rows = self._with_room(rows, 4)
        vlan = self._read(rows, np.dtype(">u2")) & 0x0FFF
        first = self.columns["vlan"][rows] == 0
        self.columns["vlan"][rows[first]] = vlan[first]
        kind = self._read(rows, np.dtype(">u2"), 2).astype("i4")
        self._at[rows] += 4
        self._follow(rows, kind)

    def _label(self, rows: Array) -> None:
        """RFC 3032 section 2.1; what is behind the bottom of the stack only its first octet can tell."""
        rows = self._with_room(rows, 4)
        bottom = rows[self._read(rows, np.dtype("u1"), 2) & 1 == 1]
        self._at[rows] += 4
        self._version(bottom)
        # No IP: an Ethernet frame (RFC 4448), behind a control word where the first bits are 0 (RFC 4385 section 3).
        frames = bottom[(self._type[bottom] == OTHER) & ~self.unsound[bottom]]
        self._type[frames] = ETHERNET
        self._at[frames[self._read(frames, np.dtype("u1")) >> 4 == 0]] += 4

    def _session(self, rows: Array) -> None:
        """PPPoE (RFC 2516 section 4) and the protocol of PPP."""
        rows = self._with_room(rows, 8)
        protocol = self._read(rows, np.dtype(">u2"), 6)
        self._at[rows] += 8
        self._type[rows] = OTHER
        for number, kind in _PPP.items():
            self._type[rows[protocol == number]] = kind

    def _version(self, rows: Array) -> None:
        rows = self._with_room(rows, 1)
        version = self._read(rows, np.dtype("u1")) >> 4
        self._type[rows] = np.where(version == 4, IPV4, np.where(version == 6, IPV6, OTHER))

    def _follow(self, rows: Array, kind: Array) -> None:
        self._type[rows] = kind
        short = rows[kind < _LEAST_TYPE]
        if len(short):
            self._type[short] = OTHER
            left = self._end[short] - self._at[short]
            snap, cut = short[left >= _SNAP.itemsize], short[left < _SNAP.itemsize]
            # Cut within what may be a SNAP header: an IP packet may follow, and nobody can tell.
            begun = cut[self._end[cut] > self._at[cut]]
            other = begun[self._read(begun, np.dtype("u1")) != _SNAP_LLC.tobytes()[0]]
            self._refuse(np.setdiff1d(cut, other))
            head = self._read(snap, _SNAP)
            ours = head["llc"] == _SNAP_LLC
            self._type[snap[ours]] = head["type"][ours]
            self._at[snap[ours]] += _SNAP.itemsize

    def _extensions(self, rows: Array) -> None:
        for _ in range(_EXTENSIONS):
            rows = rows[self._upper[rows] >= 0]
            rows = rows[_EXTENDS[self._upper[rows]]]
            if not len(rows):
                return
            room = self._end[rows] - self._at[rows] >= _EXTENSION.itemsize
            self._upper[rows[~room]] = -1
            rows = rows[room]
            head, kind = self._read(rows, _EXTENSION), self._upper[rows]
            # RFC 8200 section 4.5: 8 octets; RFC 4302 section 2.2: in 4 octets, minus 2; else in 8 octets, minus 1.
            length = np.where(kind == _AUTHENTICATION, (head["length"].astype("i8") + 2) * 4,
                              (head["length"].astype("i8") + 1) * 8)  # fmt: skip
            length[kind == _FRAGMENT] = _EXTENSION.itemsize
            self._at[rows] += length
            self._upper[rows] = head["next"]
            self.columns["proto"][rows] = head["next"]
            self._upper[rows[(kind == _FRAGMENT) & (head["fragment"] >> 3 > 0)]] = -1
        self._upper[rows[_EXTENDS[np.maximum(self._upper[rows], 0)]]] = -1

    def _reached(self, protocols: Array, room: int) -> tuple[Array, Array]:
        """Rows whose header of one of these protocols begins here and has so many octets captured, and which."""
        chosen = self._upper >= 0
        chosen &= protocols[self._upper]
        chosen &= self._end - self._at >= room
        rows = np.flatnonzero(chosen)
        return rows, self._upper[rows]

    def _with_room(self, rows: Array, size: int) -> Array:
        """Those with so many octets left; the others are cut where they may not be."""
        room = self._end[rows] - self._at[rows] >= size
        if room.all():
            return rows
        self._refuse(rows[~room])
        kept: Array = rows[room]
        return kept

    def _refuse(self, rows: Array) -> None:
        self.unsound[rows] = True
        self._type[rows] = OTHER

    def _read(self, rows: Array, dtype: np.dtype[Any], skip: int = 0) -> Array:
        """A header of each row, ``skip`` octets on; that it is there was checked by whoever calls."""
        windows = self._size - dtype.itemsize + 1
        if not len(rows) or windows <= 0:
            return np.empty(0, dtype)
        # One header at every octet of the body: taking some of them copies each in one go; of a dtype with fields NumPy
        # would copy field by field (measured for IPv4: 118 ns a packet, so 6).
        every: Array = np.ndarray((windows,), f"V{dtype.itemsize}", self._body, 0, (1,))
        found: Array = every[self._at[rows] + skip].view(dtype)
        return found
