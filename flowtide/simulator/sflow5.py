"""sFlow version 5 datagrams from columns, as sflow.org's specification of July 2004 has them.

A row of flows is one sampled packet.  Its sample has the packet's headers (Ethernet, IP, TCP, UDP or ICMP; a sampled
header ends where the payload begins) and an extended gateway structure, which tells the AS numbers.
"""

import bisect
import struct
from ipaddress import ip_address
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.encoder import MOST_OCTETS
from flowtide.simulator.templates import INTERFACES


def _words(*names: str) -> np.dtype[np.void]:
    return np.dtype([(name, ">u4") for name in names])


_COMPACT = _words("sequence", "source", "rate", "pool", "drops", "input", "output", "records")
_EXPANDED = _words(
    "sequence", "class", "source", "rate", "pool", "drops", "input_format", "input", "output_format", "output",
    "records",
)  # fmt: skip
_GATEWAY = _words(
    "format", "length", "hop_type", "hop", "own_as", "source_as", "peer_as", "segments", "segment_type",
    "segment_length", "destination_as", "communities", "preference",
)  # fmt: skip
_RAW = _words("format", "length", "protocol", "frame", "stripped", "header")
_ETHERNET = np.dtype([("to", "u1", 6), ("of", "u1", 6), ("type", ">u2")])
_IP4 = np.dtype(
    [
        ("version", "u1"), ("tos", "u1"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
        ("proto", "u1"), ("sum", ">u2"), ("src", "u1", 4), ("dst", "u1", 4),
    ]
)  # fmt: skip
_IP6 = np.dtype(
    [("class", ">u4"), ("length", ">u2"), ("proto", "u1"), ("hops", "u1"), ("src", "u1", 16), ("dst", "u1", 16)]
)
_TCP = np.dtype(
    [
        ("src_port", ">u2"), ("dst_port", ">u2"), ("sequence", ">u4"), ("ack", ">u4"), ("offset", "u1"),
        ("flags", "u1"), ("window", ">u2"), ("sum", ">u2"), ("urgent", ">u2"),
    ]
)  # fmt: skip
_UDP = np.dtype([("src_port", ">u2"), ("dst_port", ">u2"), ("length", ">u2"), ("sum", ">u2")])
_ICMP = np.dtype([("type_code", ">u2"), ("sum", ">u2"), ("rest", ">u4")])
# All that a sample may have, in order; of each row only what ``_KEPT`` says of its layout is sent.
_SAMPLE = np.dtype(
    [
        ("type", ">u4"), ("length", ">u4"), ("compact", _COMPACT), ("expanded", _EXPANDED), ("raw", _RAW),
        ("ethernet", _ETHERNET), ("ip4", _IP4), ("ip6", _IP6), ("tcp", _TCP), ("udp", _UDP), ("icmp", _ICMP),
        ("pad", "V2"), ("gateway", _GATEWAY),
    ]
)  # fmt: skip
_TRANSPORTS = (None, "tcp", "udp", "icmp")


def _parts(expanded: bool, is_v6: bool, transport: str | None) -> list[str]:
    headers = [name for name in ("ip6" if is_v6 else "ip4", transport) if name]
    return ["type", "length", "expanded" if expanded else "compact", "raw", "ethernet", *headers, "pad", "gateway"]


def _kept(parts: list[str]) -> NDArray[np.bool_]:
    mask = np.zeros(_SAMPLE.itemsize, np.bool_)
    for name in parts:
        dtype, offset = _SAMPLE.fields[name][:2]  # type: ignore[index]
        mask[offset : offset + dtype.itemsize] = True
    return mask


_LAYOUTS = [(expanded, v6, name) for expanded in (False, True) for v6 in (False, True) for name in _TRANSPORTS]
_KEPT = np.array([_kept(_parts(*layout)) for layout in _LAYOUTS])
_SIZES = _KEPT.sum(axis=1)
_IP_OCTETS = np.array(
    [sum(_SAMPLE[name].itemsize for name in _parts(*layout)[5:-2]) for layout in _LAYOUTS]
)  # of its IP and transport headers

_LEAST_EXPANDED = 2**24  # an interface of so high a number does not fit into the compact form
_MOST_LENGTH = 65_535  # of an IPv4 packet
_FCS = 4  # octets of the frame's checksum: in its length, but stripped before it is sampled
FRAME_OCTETS = _ETHERNET.itemsize + _FCS
"""By which a sample's length, that of the frame, is above the octets of IP."""
_COUNTERS = struct.Struct(">IIIIIIII" + "IQII" + "QIIIIII" + "QIIIII" + "I")
_SPEED = 10_000_000_000


class Sflow5:
    """Datagrams of one sub-agent, with the sequence numbers of its data sources, which are its input interfaces."""

    def __init__(self, agent: str, domain: int, boot_ms: int, sampling: int | None, true_sampling: int) -> None:
        """``sampling``: as the samples tell it, None: 0; the pool grows by it, or by ``true_sampling`` if it is 0."""
        address = ip_address(agent)
        # The specification's address types: 1 is IPv4, 2 is IPv6.
        self._agent = struct.pack(">II", 5, 1 if address.version == 4 else 2) + address.packed
        self.domain, self.boot_ms, self._true = domain, boot_ms, true_sampling
        self.sequence = 1  # of the next datagram
        self._samples: dict[int, int] = {}  # flow samples and pool by data source
        self._pool: dict[int, int] = {}
        self._polls = 0
        self._passed: dict[tuple[int, str], list[int]] = {}  # octets, packets by interface and way
        self.tell(sampling)

    def tell(self, sampling: int | None) -> None:
        """From now on samples tell this interval."""
        self._sampling = sampling or 0

    def announcements(self, export_ms: int) -> list[bytes]:
        """Counter samples of all interfaces, estimated from the samples so far."""
        self._polls += 1
        samples = []
        for interface in INTERFACES:
            (in_octets, in_packets), (out_octets, out_packets) = (
                self._passed.get((interface, way), [0, 0]) for way in ("in_if", "out_if")
            )
            samples.append(
                _COUNTERS.pack(
                    2, _COUNTERS.size - 8, self._polls, interface, 1,  # counters_sample with one structure
                    1, 88, interface,  # generic interface counters
                    6, _SPEED, 1, 3,  # ethernetCsmacd; full duplex; up
                    in_octets % 2**64, in_packets % 2**32, 0, 0, 0, 0, 0,
                    out_octets % 2**64, out_packets % 2**32, 0, 0, 0, 0, 0,
                )
            )  # fmt: skip
        return [self._header(len(samples), export_ms) + b"".join(samples)]

    def cuts(self, flows: NDArray[np.void]) -> tuple[list[int], list[int]]:
        """Row at which each datagram begins, and the end; the same in samples."""
        found = self._cuts(np.cumsum(_SIZES[_layouts(flows)]).tolist())
        return found, found

    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]:
        """Sampled packets (dtype ``flow.FLOW``, packets 1) in order."""
        layouts = _layouts(flows)
        samples = _samples(flows, layouts)
        self._number(samples, flows["in_if"])
        self._count(flows)
        octets = memoryview(samples.view(np.uint8).reshape(len(flows), -1)[_KEPT[layouts]].tobytes())
        ends = [0, *np.cumsum(_SIZES[layouts]).tolist()]
        bounds = self._cuts(ends[1:])
        return [
            self._header(end - begin, export_ms) + octets[ends[begin] : ends[end]] for begin, end in pairwise(bounds)
        ]

    def _header(self, samples: int, export_ms: int) -> bytes:
        sequence, self.sequence = self.sequence, (self.sequence + 1) % 2**32
        uptime = (export_ms - self.boot_ms) % 2**32
        return self._agent + struct.pack(">IIII", self.domain, sequence, uptime, samples)

    def _cuts(self, ends: list[int]) -> list[int]:
        room = MOST_OCTETS - len(self._agent) - 16
        bounds = [0]
        while (at := bounds[-1]) < len(ends):
            bounds.append(bisect.bisect_right(ends, (ends[at - 1] if at else 0) + room, lo=at))
        return bounds

    def _number(self, samples: NDArray[np.void], sources: NDArray[np.uint32]) -> None:
        step = self._sampling or self._true
        for source in np.unique(sources).tolist():
            rows = np.flatnonzero(sources == source)
            before, pool = self._samples.get(source, 0), self._pool.get(source, 0)
            counts = np.arange(1, len(rows) + 1)
            for form in ("compact", "expanded"):
                samples[form]["sequence"][rows] = (before + counts) % 2**32
                samples[form]["pool"][rows] = (pool + counts * step) % 2**32
                samples[form]["rate"][rows] = self._sampling
            self._samples[source], self._pool[source] = before + len(rows), pool + len(rows) * step

    def _count(self, flows: NDArray[np.void]) -> None:
        step = self._sampling or self._true
        for way in ("in_if", "out_if"):
            for interface in np.unique(flows[way]).tolist():
                passed = self._passed.setdefault((interface, way), [0, 0])
                rows = flows[way] == interface
                passed[0] += step * int(flows["octets"][rows].sum() + rows.sum() * FRAME_OCTETS)
                passed[1] += step * int(rows.sum())


def least_octets(flows: NDArray[np.void]) -> NDArray[np.int64]:
    """Of IP that a sampled packet of each row has at least: its headers."""
    octets: NDArray[np.int64] = _IP_OCTETS[_layouts(flows)]
    return octets


def _layouts(flows: NDArray[np.void]) -> NDArray[np.int64]:
    proto = flows["proto"]
    transport = np.select([proto == 6, proto == 17, (proto == 1) | (proto == 58)], [1, 2, 3], 0)
    expanded = (flows["in_if"] >= _LEAST_EXPANDED) | (flows["out_if"] >= _LEAST_EXPANDED)
    layouts: NDArray[np.int64] = 8 * expanded.astype(np.int64) + 4 * flows["is_v6"].astype(np.int64) + transport
    return layouts


def _samples(flows: NDArray[np.void], layouts: NDArray[np.int64]) -> NDArray[np.void]:
    octets, ip = flows["octets"], _IP_OCTETS[layouts]
    if (flows["packets"] != 1).any():
        raise ValueError("a row of sFlow is one sampled packet")
    if (octets < ip).any() or (octets > _MOST_LENGTH).any():
        wrong = int(octets[(octets < ip) | (octets > _MOST_LENGTH)][0])
        raise ValueError(f"octets {wrong}: no packet is shorter than its headers or longer than {_MOST_LENGTH}")
    samples = np.zeros(len(flows), _SAMPLE)
    samples["type"] = np.where(layouts >= 8, 3, 1)
    samples["length"] = _SIZES[layouts] - 8
    for form in ("compact", "expanded"):
        part = samples[form]
        part["source"], part["input"], part["output"], part["records"] = (
            flows["in_if"],
            flows["in_if"],
            flows["out_if"],
            2,
        )
    raw, header = samples["raw"], _ETHERNET.itemsize + ip
    raw["format"], raw["protocol"], raw["stripped"], raw["header"] = 1, 1, _FCS, header
    # Opaque octets are filled up to four; headers are, but for Ethernet's 14.
    raw["length"] = _RAW.itemsize - 8 + header + 2
    raw["frame"] = octets + FRAME_OCTETS
    _fill_packet(samples, flows)
    gateway = samples["gateway"]
    gateway["format"], gateway["length"], gateway["hop_type"], gateway["preference"] = (
        1003,
        _GATEWAY.itemsize - 8,
        1,
        100,
    )
    gateway["source_as"], gateway["peer_as"] = flows["src_as"], flows["src_as"]
    # One segment, a sequence (2) of the destination alone.
    gateway["segments"], gateway["segment_type"], gateway["segment_length"] = 1, 2, 1
    gateway["destination_as"] = flows["dst_as"]
    return samples


def _fill_packet(samples: NDArray[np.void], flows: NDArray[np.void]) -> None:
    """Headers of all kinds; those that a row does not have are not sent."""
    is_v6, octets = flows["is_v6"], flows["octets"]
    samples["ethernet"]["to"], samples["ethernet"]["of"] = (2, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 2)
    samples["ethernet"]["type"] = np.where(is_v6, 0x86DD, 0x0800)
    ip4, ip6 = samples["ip4"], samples["ip6"]
    ip4["version"], ip4["tos"], ip4["length"], ip4["ttl"], ip4["proto"] = 0x45, flows["tos"], octets, 60, flows["proto"]
    ip6["class"] = 6 << 28 | flows["tos"].astype("u4") << 20
    ip6["length"] = np.where(is_v6, octets - _IP6.itemsize, 0)
    ip6["proto"], ip6["hops"] = flows["proto"], 60
    for end in ("src", "dst"):
        ip4[end], ip6[end] = flows[end][:, 12:], flows[end]
    ip4["sum"] = _checksum(np.ascontiguousarray(ip4))
    for name in ("tcp", "udp"):
        samples[name]["src_port"], samples[name]["dst_port"] = flows["src_port"], flows["dst_port"]
    samples["tcp"]["offset"], samples["tcp"]["flags"], samples["tcp"]["window"] = 5 << 4, flows["tcp_flags"], 65_535
    samples["udp"]["length"] = np.clip(octets - np.where(is_v6, _IP6.itemsize, _IP4.itemsize), 0, None)
    samples["icmp"]["type_code"] = flows["dst_port"]


def _checksum(headers: NDArray[np.void]) -> NDArray[np.uint32]:
    """Of IPv4 headers whose checksum is 0 (RFC 1071)."""
    total = headers.view(">u2").reshape(len(headers), -1).sum(axis=1, dtype=np.uint32)
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF  # type: ignore[no-any-return]
