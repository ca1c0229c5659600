"""Laws of sampled packets: what scapy builds is read as it was built; any octets are read within their bounds."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.contrib import mpls
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
)
from scapy.layers.l2 import GRE, LLC, SNAP, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from collector.decoder.packets import ETHERNET, IPV4, IPV6, MPLS, OTHER, parse
from collector.decoder.packets import IP as EITHER

Said = dict[str, Any]
Label = mpls.MPLS
_PORT = st.integers(0, 65_535)
_BYTE = st.integers(0, 255)
_FOUR = st.ip_addresses(v=4).map(str)
_SIX = st.ip_addresses(v=6).map(str)
_MAC = "02:00:00:00:00:01"


def columns_of(packets: list[bytes], first: Any, around: bytes = b"") -> list[Said]:
    """What is read of each packet, the others and ``around`` beside it in the same buffer."""
    body, starts = bytearray(around), []
    for packet in packets:
        starts.append(len(body))
        body += packet + around
    found = parse(body, np.array(starts, "i8"), np.array([len(packet) for packet in packets], "i8"), first)
    rows: list[Said] = [{} for _ in packets]
    for name, array in {**found.columns, "unsound": found.unsound}.items():
        for row, value in zip(rows, array, strict=True):
            row[name] = value.tobytes() if array.dtype.kind == "V" else value.item()
    return rows


@st.composite
def transports(draw: st.DrawFn, six: bool) -> tuple[Packet, Said]:
    src, dst = draw(_PORT), draw(_PORT)
    ports = {"src_port": src, "dst_port": dst}
    kind, code, flags = draw(_BYTE), draw(_BYTE), draw(st.integers(0, 511))
    # Ports behind which scapy would look for a protocol of its own are harmless: it only builds here.
    choices: list[tuple[Packet, Said]] = [
        (TCP(sport=src, dport=dst, flags=flags), {"proto": 6, "tcp_flags": flags, **ports}),
        (UDP(sport=src, dport=dst), {"proto": 17, **ports}),
        (UDP(sport=src, dport=4789) / VXLAN(vni=5) / Ether() / IP(src="1.1.1.1") / TCP(sport=1, dport=2),
         {"proto": 17, "src_port": src, "dst_port": 4789}),
        (SCTP(sport=src, dport=dst), {"proto": 132, **ports}),
        (GRE(proto=0x0800) / IP(src="1.1.1.1", dst="2.2.2.2") / TCP(), {"proto": 47}),
        (IP(src="1.1.1.1", dst="2.2.2.2", tos=9) / TCP(), {"proto": 4}),
        (IPv6(src="::1", dst="::2") / UDP(), {"proto": 41}),
        (ICMPv6EchoRequest(code=code), {"proto": 58, "icmp": 128 << 8 | code})
        if six else (ICMP(type=kind, code=code), {"proto": 1, "icmp": kind << 8 | code}),
    ]  # fmt: skip
    return draw(st.sampled_from(choices))


@st.composite
def fours(draw: st.DrawFn) -> tuple[Packet, Said]:
    upper, said = draw(transports(six=False))
    src, dst, tos, offset = draw(_FOUR), draw(_FOUR), draw(_BYTE), draw(st.sampled_from((0, 0, 0, 1, 185)))
    words = draw(st.integers(0, 10))
    head = IP(src=src, dst=dst, tos=tos, frag=offset, proto=said["proto"], options=b"\1" * (4 * words))
    whole = bytes(head / upper)
    if offset:
        said = {"proto": said["proto"]}
    addresses = {"src_addr": _mapped(src), "dst_addr": _mapped(dst)}
    return Raw(whole), {"ip_version": 4, "tos": tos, "octets": len(whole), **addresses, **said}


def _mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + IPv4Address(address).packed


_EXTENSIONS: dict[str, tuple[Callable[[], Packet], int]] = {
    "hop by hop": (lambda: IPv6ExtHdrHopByHop(), 0),
    "routing": (lambda: IPv6ExtHdrRouting(addresses=["::9"]), 43),
    "SRv6": (lambda: IPv6ExtHdrSegmentRouting(addresses=["::7", "::8"]), 43),
    "destination": (lambda: IPv6ExtHdrDestOpt(), 60),
    "first fragment": (lambda: IPv6ExtHdrFragment(offset=0, m=1), 44),
    "later fragment": (lambda: IPv6ExtHdrFragment(offset=77), 44),
}


@st.composite
def sixes(draw: st.DrawFn) -> tuple[Packet, Said]:
    upper, said = draw(transports(six=True))
    src, dst, tos = draw(_SIX), draw(_SIX), draw(_BYTE)
    names = draw(st.lists(st.sampled_from(sorted(_EXTENSIONS)), max_size=3, unique=True))
    if "later fragment" in names:  # nothing that is read follows it
        names = [*names[: names.index("later fragment")], "later fragment"]
        said = {"proto": said["proto"]}
    numbers = [_EXTENSIONS[name][1] for name in names] + [said["proto"]]
    packet: Packet = IPv6(src=src, dst=dst, tc=tos, nh=numbers[0])
    for name, following in zip(names, numbers[1:], strict=True):
        header = _EXTENSIONS[name][0]()
        header.nh = following
        packet = packet / header
    whole = bytes(packet / upper)
    addresses = {"src_addr": IPv6Address(src).packed, "dst_addr": IPv6Address(dst).packed}
    return Raw(whole), {"ip_version": 6, "tos": tos, "octets": len(whole), **addresses, **said}


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, Said]:
    """An Ethernet frame and what must be read of it."""
    packet, said = draw(st.one_of(fours(), sixes()))
    kind = 0x0800 if said["ip_version"] == 4 else 0x86DD
    below = draw(st.sampled_from(("plain", "vlan", "qinq", "mpls", "pppoe", "eompls", "snap", "vlan+mpls")))
    outer, inner, labels = draw(st.integers(1, 4095)), draw(st.integers(1, 4095)), draw(st.integers(1, 4))
    ether = Ether(src=_MAC, dst=_MAC)
    stack: Packet = Label(label=16, s=int(labels == 1))
    for number in range(2, labels + 1):
        stack = stack / Label(label=number, s=int(number == labels))
    match below:
        case "plain":
            frame = Ether(src=_MAC, dst=_MAC, type=kind) / packet
        case "vlan":
            frame, said = ether / Dot1Q(vlan=outer, type=kind) / packet, {**said, "vlan": outer}
        case "qinq":
            frame = ether / Dot1AD(vlan=outer) / Dot1Q(vlan=inner, type=kind) / packet
            said = {**said, "vlan": outer}
        case "mpls":
            frame = Ether(src=_MAC, dst=_MAC, type=0x8847) / stack / packet
        case "vlan+mpls":
            frame, said = ether / Dot1Q(vlan=outer, type=0x8847) / stack / packet, {**said, "vlan": outer}
        case "eompls":
            inside = Ether(src=_MAC, dst=_MAC, type=0x8100) / Dot1Q(vlan=inner, type=kind) / packet
            frame = Ether(src=_MAC, dst=_MAC, type=0x8847) / stack / mpls.EoMCW(seq=7) / inside
            said = {**said, "vlan": inner}
        case "pppoe":
            ppp = PPP(proto=0x0021 if kind == 0x0800 else 0x0057) / packet
            frame = Ether(src=_MAC, dst=_MAC, type=0x8864) / PPPoE(code=0) / ppp
        case _:
            snap = bytes(LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=kind) / packet)
            frame = Raw(bytes(Ether(src=_MAC, dst=_MAC, type=len(snap) % 1500)) + snap)
    return bytes(frame), said


_ZERO = {
    "ip_version": 0, "src_addr": bytes(16), "dst_addr": bytes(16), "proto": 0, "src_port": 0, "dst_port": 0,
    "tcp_flags": 0, "tos": 0, "icmp": 0, "vlan": 0, "octets": 0, "unsound": False,
}  # fmt: skip


@given(st.lists(frames(), min_size=1, max_size=6), st.binary(max_size=9))
@settings(max_examples=100, deadline=None)
def test_frames_are_read_as_they_were_built(built: list[tuple[bytes, Said]], around: bytes) -> None:
    found = columns_of([frame for frame, _ in built], ETHERNET, around)
    assert found == [_ZERO | said for _, said in built]


@given(st.one_of(fours(), sixes()))
@settings(deadline=None)
def test_packets_without_a_frame(built: tuple[Packet, Said]) -> None:
    packet, said = built
    own = IPV4 if said["ip_version"] == 4 else IPV6
    assert columns_of([bytes(packet)] * 2, np.array([own, EITHER])) == [_ZERO | said] * 2
    labelled = bytes(Label(label=3, s=1)) + bytes(packet)
    assert columns_of([labelled], MPLS) == [_ZERO | said]


_SNAP_CUT = bytes(
    Raw(bytes(Ether(src=_MAC, dst=_MAC, type=48)) + bytes(LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800)))
    / IP(src="0.0.0.0", dst="0.0.0.0") / TCP(sport=0, dport=0, flags=0)
)  # fmt: skip
_SNAP_SAID: Said = {
    "ip_version": 4, "tos": 0, "octets": 40, "src_addr": bytes(10) + b"\xff\xff" + bytes(4),
    "dst_addr": bytes(10) + b"\xff\xff" + bytes(4), "proto": 6, "tcp_flags": 0, "src_port": 0, "dst_port": 0,
}  # fmt: skip


@given(frames(), st.integers(0, 300), st.binary(max_size=80))
@settings(deadline=None)
@example((_SNAP_CUT, _SNAP_SAID), 14, b"")
@example((_SNAP_CUT, _SNAP_SAID), 21, b"")
def test_of_a_cut_frame_all_is_true_or_missing(built: tuple[bytes, Said], length: int, behind: bytes) -> None:
    """What lies behind the captured octets is another's: it changes nothing."""
    frame, said = built
    cut = frame[:length]
    (found,) = columns_of([cut], ETHERNET)
    (beside,) = columns_of([cut], ETHERNET, around=behind)
    assert found == beside
    whole = _ZERO | said
    for name, value in found.items():
        # The protocol of a packet cut within its extension headers is that of the last one captured.
        if name not in ("unsound", "proto"):
            assert value in (whole[name], _ZERO[name]) or name == "vlan", name
    if not found["unsound"] and len(cut) < len(frame):
        assert found["ip_version"] == whole["ip_version"]


_KINDS = st.sampled_from((ETHERNET, IPV4, IPV6, MPLS, EITHER, OTHER))
_SEEDED = st.one_of(
    st.binary(max_size=120),
    # Octets that lead further in than chance does.
    st.builds(
        lambda kinds, rest: bytes(12) + b"".join(kinds) + rest,
        st.lists(st.sampled_from((b"\x81\0\0\1", b"\x88\xa8\0\2", b"\x88\x47", b"\0\0\x11\xff", b"\x86\xdd\x60\0",
                                  b"\x08\0\x45", b"\x88\x64", b"\0\0\0\0")), max_size=30),
        st.binary(max_size=80),
    ),
)  # fmt: skip


@given(st.lists(st.tuples(_SEEDED, _KINDS), max_size=8), st.binary(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_octets_are_read_alone_as_among_others(packets: list[tuple[bytes, int]], around: bytes) -> None:
    kinds = np.array([kind for _, kind in packets], "i4")
    together = columns_of([octets for octets, _ in packets], kinds, around)
    alone = [columns_of([octets], kind)[0] for octets, kind in packets]
    assert together == alone
    for row in together:
        assert row["ip_version"] or not any(
            row[name] for name in ("src_port", "dst_port", "icmp", "tcp_flags", "octets")
        )


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(-50, 100), st.integers(-50, 2**40)), max_size=5))
def test_starts_and_lengths_may_lie(body: bytes, bounds: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[place] for pair in bounds], "i8") for place in (0, 1))
    found = parse(body, starts, lengths, EITHER)
    assert len(found.unsound) == len(bounds)
