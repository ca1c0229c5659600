"""Accounting requests as the simulated network writes them, with what tshark and scapy read there, and answers."""

import hashlib
import struct
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from scapy.layers.radius import Radius

from enricher.radius.packet import Kind, PacketError, Status, answer, parse, verified
from flowtide.simulator import radius
from flowtide.simulator.radius import Nas, Record

SECRET = b"a secret of 29 octets exactly"
STOP = Record(
    at_ms=1_717_340_400_999, status=radius.Status.STOP, nas=Nas("192.0.2.201", "bras-1"), session="00000100018f",
    user="fixed-000001", charged="subscription-1", label="fixed;personal;pppoe;east", calling="02-00-5E-00-00-01",
    port="ge-0/0/1:2", ipv4="198.18.0.7", ipv6_address="2001:db8:2::7", ipv6_prefix="2001:db8:3:4::/64",
    ipv6_delegated="2001:db8:1000:ff00::/56", in_octets=5, out_octets=3 * 2**32 + 17, seconds=86_400, delay_seconds=12,
)  # fmt: skip


def key(prefix: str) -> int:
    network = ip_network(prefix)
    if network.version == 4:
        return int(ip_address(f"::ffff:{network.network_address}")) << 8 | network.prefixlen + 96
    return int(network.network_address) << 8 | network.prefixlen


def signed(attributes: bytes, secret: bytes = SECRET, *, code: int = 4, length: int | None = None) -> bytes:
    """A request of these attributes, by RFC 2866 section 3."""
    head = struct.pack("!BBH", code, 77, 20 + len(attributes) if length is None else length)
    return head + hashlib.md5(head + bytes(16) + attributes + secret).digest() + attributes


def attribute(kind: int, value: bytes) -> bytes:
    return bytes([kind, len(value) + 2]) + value


START = attribute(40, b"\0\0\0\x01") + attribute(44, b"s-1")


def refusal(datagram: bytes) -> str:
    try:
        parse(verified(datagram, SECRET), "192.0.2.1")
    except PacketError as error:
        return error.reason
    return ""


def test_every_value_of_a_stop() -> None:
    seen = parse(verified(radius.encode(STOP, SECRET, 9), SECRET), "127.0.0.1")
    assert seen.status is Status.STOP
    assert (seen.nas, seen.session, seen.user, seen.calling, seen.charged) == (
        "192.0.2.201", "00000100018f", "fixed-000001", "02-00-5E-00-00-01", "subscription-1",
    )  # fmt: skip
    assert seen.classes == ("fixed;personal;pppoe;east",)
    assert dict(seen.held) == {
        Kind.IPV4: key("198.18.0.7/32"), Kind.LINK: key("2001:db8:3:4::/64"),
        Kind.DELEGATED: key("2001:db8:1000:ff00::/56"), Kind.IPV6: key("2001:db8:2::7/128"),
    }  # fmt: skip
    assert (seen.in_octets, seen.out_octets, seen.seconds) == (5, 3 * 2**32 + 17, 86_400)
    assert (seen.delay_seconds, seen.event_seconds, seen.notes) == (12, 1_717_340_400, ())


def test_a_nas_is_known_by_its_address_or_name_or_sender() -> None:
    def nas(attributes: bytes) -> str:
        return parse(attributes, "192.0.2.1").nas

    assert nas(START) == "192.0.2.1"
    assert nas(START + attribute(32, b"bras-1")) == "bras-1"
    assert nas(START + attribute(32, b"bras-1") + attribute(4, bytes((192, 0, 2, 9)))) == "192.0.2.9"
    assert nas(START + attribute(4, bytes(4)) + attribute(95, ip_address("2001:db8::5").packed)) == "2001:db8::5"


BAD = {
    "nothing": (b"", "short"),
    "half a header": (signed(START)[:19], "short"),
    "length below a header": (signed(START, length=19), "length"),
    "length beyond the datagram": (signed(START, length=20 + len(START) + 1), "length"),
    "a length of 4097": (signed(START + attribute(79, bytes(253)) * 16), "length"),
    "an access request": (signed(START, code=1), "code"),
    "an answer": (signed(START, code=5), "code"),
    "wrong secret": (signed(START, b"another secret"), "authenticator"),
    "one bit turned": (signed(START)[:-1] + bytes([signed(START)[-1] ^ 1]), "authenticator"),
    "authenticator of zeros": (signed(START)[:4] + bytes(16) + START, "authenticator"),
    "attribute of length 0": (signed(START + b"\x01\x00"), "attribute"),
    "attribute of length 1": (signed(START + b"\x01\x01"), "attribute"),
    "attribute without length": (signed(START + b"\x01"), "attribute"),
    "attribute cut off": (signed(START + b"\x01\x09name"), "attribute"),
    "status of three octets": (signed(attribute(40, b"\0\0\1") + attribute(44, b"s")), "value"),
    "IPv4 address of five octets": (signed(START + attribute(8, bytes(5))), "value"),
    "counter of eight octets": (signed(START + attribute(42, bytes(8))), "value"),
    "IPv6 address of four octets": (signed(START + attribute(168, bytes(4))), "value"),
    "NAS address of four octets": (signed(START + attribute(95, bytes(4))), "value"),
    "prefix of length 129": (signed(START + attribute(97, b"\0\x81" + bytes(16))), "value"),
    "prefix with too few octets": (signed(START + attribute(123, b"\0\x38" + bytes(6))), "value"),
    "prefix of one octet": (signed(START + attribute(123, b"\0")), "value"),
    "no status": (signed(attribute(44, b"s")), "missing"),
    "no session": (signed(attribute(40, b"\0\0\0\x02")), "missing"),
    "an empty session": (signed(attribute(40, b"\0\0\0\x03") + attribute(44, b"")), "missing"),
}


@pytest.mark.parametrize(("datagram", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_request(datagram: bytes, reason: str) -> None:
    assert refusal(datagram) == reason


def test_a_request_cut_off_anywhere_is_none() -> None:
    whole = radius.encode(STOP, SECRET, 3)
    assert refusal(whole) == ""
    assert {refusal(whole[:at]) for at in range(len(whole))} == {"short", "length"}
    assert refusal(whole + b"padding") == ""  # RFC 2866 section 3: ignored


NOTED = {
    "mapped address": (attribute(168, ip_address("::ffff:192.0.2.1").packed), "address", []),
    "mapped prefix": (attribute(123, b"\0\x80" + ip_address("::ffff:192.0.2.1").packed), "address", []),
    "every address there is": (attribute(97, b"\0\0"), "address", []),
    "the NAS chooses": (attribute(8, b"\xff\xff\xff\xfe"), "address", []),
    "no address": (attribute(8, bytes(4)), "address", []),
    "host bits set": (
        attribute(123, b"\0\x38" + ip_address("2001:db8:0:1ff::1").packed), "host_bits", [key("2001:db8:0:100::/56")],
    ),
    "a name of no UTF-8": (attribute(1, b"\xff\xfe"), "name", []),
    "a name with NUL": (attribute(1, b"a\0b"), "name", []),
}  # fmt: skip


@pytest.mark.parametrize(("attributes", "note", "held"), NOTED.values(), ids=NOTED)
def test_what_a_sound_request_does_not_hold(attributes: bytes, note: str, held: list[int]) -> None:
    seen = parse(START + attributes, "192.0.2.1")
    assert (seen.notes, [prefix for _, prefix in seen.held], seen.user) == ((note,), held, "")


def test_zeros_behind_a_prefix_may_be_there() -> None:
    """radclient sends 16 octets, the RFC lets us leave the zeros out."""
    for octets in (7, 8, 16):
        value = b"\0\x38" + ip_address("2001:db8:0:100::").packed[:octets]
        assert parse(START + attribute(123, value), "").held == ((Kind.DELEGATED, key("2001:db8:0:100::/56")),)


def test_unknown_attributes_and_statuses_are_stepped_over() -> None:
    vendor = attribute(26, b"\0\0\0\x09\x01\x06name")
    assert parse(vendor + START + attribute(250, b"?"), "n") == parse(START, "n")
    assert parse(attribute(40, b"\0\0\0\x0f"), "n").status is Status.OTHER
    assert parse(attribute(40, b"\0\0\0\x07"), "n").status is Status.ON


def test_the_first_of_two_names_counts() -> None:
    assert parse(START + attribute(1, b"a") + attribute(1, b"b"), "").user == "a"


def test_the_answer_is_what_the_client_takes() -> None:
    request = radius.encode(replace(STOP, delay_seconds=1), SECRET, 200)
    response = answer(request, SECRET)
    assert radius.answers(response, request, SECRET)
    assert not radius.answers(response, request, b"another")
    assert len(response) == 20


def test_proxy_state_comes_back_in_its_order() -> None:
    states = attribute(33, b"one"), attribute(33, b"\0\xff")
    request = signed(states[0] + START + states[1])
    response = answer(request + b"padding", SECRET)
    assert radius.answers(response, request, SECRET)
    seen = Radius(response)
    assert (seen.code, seen.id, [(each.type, each.value) for each in seen.attributes]) == (
        5, 77, [(33, b"one"), (33, b"\0\xff")],
    )  # fmt: skip
