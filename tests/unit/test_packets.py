"""Sampled packets whose octets are written by hand: what contradicts itself, what ends early, what is not IP."""

import numpy as np
import pytest

from collector.decoder.packets import ETHERNET, IPV4, IPV6, Packets, parse

_MACS = bytes.fromhex("020000000001 020000000002")
# RFC 791 section 3.1: version and IHL, ToS, length, id, flags and offset, TTL, protocol, checksum, addresses.
_FOUR = bytes.fromhex("45b8 0054 0001 0000 40 06 0000 c0000201 c6336407")
_TCP = bytes.fromhex("01bb c001 00000001 00000002 5f ff 0000 0000 0000")
_SIX = bytes.fromhex("6ab00000 0018 11 40") + bytes(15) + b"\1" + bytes(15) + b"\2"


def read(octets: bytes, first: int = ETHERNET) -> Packets:
    return parse(octets, np.zeros(1, "i8"), np.array([len(octets)], "i8"), first)


def value(found: Packets, name: str) -> int:
    return int(found.columns[name][0])


def test_tcp_over_ipv4() -> None:
    found = read(_MACS + b"\x08\0" + _FOUR + _TCP)
    assert [value(found, name) for name in ("ip_version", "tos", "octets", "proto", "src_port", "dst_port")] == [
        4, 0xB8, 0x54, 6, 443, 49153,
    ]  # fmt: skip
    # RFC 9293 section 3.1: four bits of data offset, then twelve of which the lower are control bits.
    assert value(found, "tcp_flags") == 0xFFF
    assert found.columns["src_addr"][0].tobytes()[12:] == bytes([192, 0, 2, 1])
    assert not found.unsound[0]


def test_ipv6_says_its_class_across_octets() -> None:
    found = read(_SIX + b"\0\x35\x12\x34", IPV6)
    assert [value(found, name) for name in ("tos", "octets", "proto", "src_port", "dst_port")] == [
        0xAB, 24 + 40, 17, 53, 0x1234,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("octets", "first"),
    [
        (_MACS + b"\x08\0" + b"\x40" + _FOUR[1:], ETHERNET),  # IHL 0
        (b"\x44" + _FOUR[1:], IPV4),  # IHL 4 is shorter than the header itself
        (b"\x65" + _FOUR[1:], IPV4),  # says version 6
        (b"\x4a" + _SIX[1:], IPV6),  # says version 4
        (_FOUR[:19], IPV4),
        (_SIX[:39], IPV6),
        (_MACS, ETHERNET),
        (b"", ETHERNET),
        (_MACS + b"\x81\0\0", ETHERNET),
        (_MACS + b"\x88\x47\0\0\1", ETHERNET),
        (_MACS + b"\x81\0\0\1" * 40 + b"\x08\0" + _FOUR, ETHERNET),  # no network stacks forty tags
    ],
)
def test_what_cannot_be_is_said_to_be_unsound(octets: bytes, first: int) -> None:
    found = read(octets, first)
    assert found.unsound[0]
    assert value(found, "ip_version") == value(found, "octets") == 0


@pytest.mark.parametrize(
    "octets",
    [
        _MACS + b"\x08\x06" + bytes(28),  # ARP
        _MACS + b"\x88\xcc" + bytes(40),  # LLDP
        _MACS + b"\0\x26\x42\x42\x03" + bytes(35),  # spanning tree in an IEEE 802.3 frame
    ],
)
def test_what_is_not_ip_is_no_fault(octets: bytes) -> None:
    found = read(octets)
    assert not found.unsound[0]
    assert value(found, "ip_version") == 0


def test_a_tag_of_priority_only_is_no_vlan() -> None:
    found = read(_MACS + b"\x81\0\xe0\0" + b"\x81\0\0\x07" + b"\x08\0" + _FOUR)
    assert value(found, "vlan") == 7


def test_ethernet_behind_labels_without_a_control_word() -> None:
    inner = bytes.fromhex("a20000000001 020000000002 0800") + _FOUR + _TCP
    found = read(_MACS + b"\x88\x47" + b"\0\x01\x01\xff" + inner)
    assert value(found, "dst_port") == 49153


def test_extension_headers_without_end_give_no_ports() -> None:
    # RFC 8200 section 4.3: next header, length 0 in units of 8 octets beyond the first.
    found = read(_SIX[:6] + b"\0" + _SIX[7:] + b"\0\0\0\0\0\0\0\0" * 30, IPV6)
    assert value(found, "ip_version") == 6
    assert value(found, "src_port") == 0


def test_none_at_all() -> None:
    found = parse(b"", np.empty(0, "i8"), np.empty(0, "i8"), ETHERNET)
    assert len(found.unsound) == 0
