"""Accounting requests and their answers: bytes to values and back, without I/O, clock or state.

RFC 2866 and 2869 (accounting), 3162, 4818 and 6911 (IPv6), 4372 (whom it is charged to).  What is not needed is
stepped over, as RFC 2865 section 5 allows.  A library was tried: pyrad 2.6 (BSD,
kept) takes two to three times as long to verify, read and answer a request, wants a dictionary file, and its asyncio
server answers before anything is on the disk.
"""

import functools
import hashlib
import hmac
import re
import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple, get_args

Refusal = Literal["short", "length", "code", "authenticator", "attribute", "value", "missing"]
"""Why a datagram is no request: less than a header; its length field; another code; not made with the secret of this
client; an attribute that is cut off; a value of the wrong size; no status, or no session id."""

REFUSALS: tuple[Refusal, ...] = get_args(Refusal)

Note = Literal["address", "host_bits", "name"]
"""What a sound request holds that is not used as it stands: an address nobody can hold (left out), bits behind a prefix
length (cleared), a name that is no UTF-8 or holds control characters (left out)."""

NOTES: tuple[Note, ...] = get_args(Note)

_REQUEST, _RESPONSE = 4, 5
_HEADER = struct.Struct("!BBH16s")
_MOST_OCTETS = 4_096  # RFC 2866 section 3, of a datagram
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_USER, _NAS_IPV4, _FRAMED_IPV4, _CLASS, _CALLING, _NAS_NAME, _PROXY_STATE = 1, 4, 8, 25, 31, 32, 33
_STATUS, _DELAY, _IN, _OUT, _SESSION, _SECONDS, _IN_HIGH, _OUT_HIGH, _EVENT = 40, 41, 42, 43, 44, 46, 52, 53, 55
_CHARGED, _NAS_IPV6, _FRAMED_PREFIX, _DELEGATED, _FRAMED_IPV6 = 89, 95, 97, 123, 168
_NUMBERS = frozenset((_STATUS, _DELAY, _IN, _OUT, _SECONDS, _IN_HIGH, _OUT_HIGH, _EVENT, _NAS_IPV4, _FRAMED_IPV4))

_MAPPED = 0xFFFF << 32
_NO_IPV4 = frozenset((0, 0xFFFFFFFE, 0xFFFFFFFF))  # RFC 2865 section 5.8: "let the NAS (or the user) choose"
_LEAST_BITS = 16  # no subscriber has a shorter IPv6 prefix, and ::/0 would take every address there is


class PacketError(Exception):
    """The datagram is no request that may be answered."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class Status(IntEnum):
    """Acct-Status-Type, RFC 2866 section 5.1; OTHER are tunnels and failures, which hold no address."""

    OTHER = 0
    START = 1
    STOP = 2
    INTERIM = 3
    ON = 7
    OFF = 8


class Kind(IntEnum):
    """What an address of a session is; of each kind a session has its own."""

    IPV4 = 0
    LINK = 1  # Framed-IPv6-Prefix
    DELEGATED = 2
    IPV6 = 3  # Framed-IPv6-Address


class Accounting(NamedTuple):
    """One request; octets as RFC 2866 has them: input is from the subscriber."""

    status: Status
    nas: str  # its address or name
    session: str
    user: str
    calling: str
    charged: str
    classes: tuple[str, ...]
    held: tuple[tuple[Kind, int], ...]  # kind, and prefix as ``prefix_key``
    in_octets: int | None
    out_octets: int | None
    seconds: int | None  # since the session's begin
    delay_seconds: int
    event_seconds: int | None  # Unix time
    notes: tuple[Note, ...]


def prefix_key(address: int, bits: int) -> int:
    """A prefix as one number: 128 bits of address (IPv4 mapped), 8 of length."""
    return address << 8 | bits


def verified(datagram: bytes, secret: bytes) -> bytes:
    """The attributes of a request that was made with this secret; PacketError otherwise."""
    if len(datagram) < _HEADER.size:
        raise PacketError("short")
    code, identifier, length, authenticator = _HEADER.unpack_from(datagram)
    # RFC 2866 section 3: what is longer than said ends in padding, what is shorter is discarded.
    if not _HEADER.size <= length <= min(len(datagram), _MOST_OCTETS):
        raise PacketError("length")
    if code != _REQUEST:
        raise PacketError("code")
    attributes = datagram[_HEADER.size : length]
    blank = _HEADER.pack(code, identifier, length, bytes(16))
    digest = hashlib.md5(blank + attributes + secret, usedforsecurity=False).digest()
    if not hmac.compare_digest(digest, authenticator):
        raise PacketError("authenticator")
    return attributes


def answer(datagram: bytes, secret: bytes) -> bytes:
    """The Accounting-Response to a request that ``parse`` took."""
    length = int.from_bytes(datagram[2:4], "big")
    state = bytearray()
    at = _HEADER.size
    while at < length:  # RFC 2866 section 4.1: Proxy-State comes back as it came, in its order
        if datagram[at] == _PROXY_STATE:
            state += datagram[at : at + datagram[at + 1]]
        at += datagram[at + 1]
    head = struct.pack("!BBH", _RESPONSE, datagram[1], _HEADER.size + len(state))
    digest = hashlib.md5(head + datagram[4:20] + state + secret, usedforsecurity=False).digest()
    return head + digest + state


def parse(attributes: bytes, source: str) -> Accounting:
    """What the request says; ``source`` (an address) names a NAS that does not name itself.  PacketError."""
    first: dict[int, bytes] = {}
    several: list[tuple[int, bytes]] = []
    at, end = 0, len(attributes)
    while at < end:
        # RFC 2865 section 5: the length counts type and length, so 2 is the least; 0 would loop for ever.
        if end - at < 2 or not 2 <= attributes[at + 1] <= end - at:
            raise PacketError("attribute")
        kind, following = attributes[at], at + attributes[at + 1]
        value = attributes[at + 2 : following]
        if kind in _NUMBERS and following - at != 6:
            raise PacketError("value")
        at = following
        if kind in _SEVERAL:
            several.append((kind, value))
        else:
            first.setdefault(kind, value)
    if _STATUS not in first:
        raise PacketError("missing")
    number = int.from_bytes(first[_STATUS], "big")
    status = _STATUSES.get(number, Status.OTHER)
    if status in _OF_SESSIONS and not first.get(_SESSION):
        raise PacketError("missing")
    notes: list[Note] = []
    user, calling, charged = (_name(first.get(kind, b""), notes) for kind in (_USER, _CALLING, _CHARGED))
    return Accounting(
        status, _nas(first, source), _readable(first.get(_SESSION, b"")), user, calling, charged,
        tuple(_readable(value) for kind, value in several if kind == _CLASS), _held(first, several, notes),
        _wide(first, _IN, _IN_HIGH), _wide(first, _OUT, _OUT_HIGH), _number(first, _SECONDS),
        _number(first, _DELAY) or 0, _number(first, _EVENT), tuple(notes),
    )  # fmt: skip


_SEVERAL = frozenset((_CLASS, _FRAMED_PREFIX, _DELEGATED, _FRAMED_IPV6))
_STATUSES = {int(status): status for status in Status}
_OF_SESSIONS = frozenset((Status.START, Status.STOP, Status.INTERIM))


def _number(first: dict[int, bytes], kind: int) -> int | None:
    value = first.get(kind)
    return None if value is None else int.from_bytes(value, "big")


def _wide(first: dict[int, bytes], low: int, high: int) -> int | None:
    """RFC 2869 section 5.1: 32 bits, and how often they wrapped."""
    value = first.get(low)
    return None if value is None else int.from_bytes(first.get(high, b"") + value, "big")


def _name(value: bytes, notes: list[Note]) -> str:
    """Control characters are refused, as NUL parts the fields of an identity."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        notes.append("name")
        return ""
    if _CONTROL.search(text):
        notes.append("name")
        return ""
    return text


def _readable(value: bytes) -> str:
    """Of any octets a text, different for different octets."""
    return value.decode("utf-8", "backslashreplace")


def _nas(first: dict[int, bytes], source: str) -> str:
    """RFC 2866 section 4.1 wants an address or a name of it; behind a proxy the source would be the proxy's."""
    if (packed := first.get(_NAS_IPV4)) is not None and any(packed):
        return _ipv4_text(packed)
    if (packed := first.get(_NAS_IPV6)) is not None:
        if len(packed) != 16:
            raise PacketError("value")
        return str(IPv6Address(packed))
    return _readable(first.get(_NAS_NAME, b"")) or source


@functools.lru_cache(4_096)  # there are few NAS
def _ipv4_text(packed: bytes) -> str:
    return str(IPv4Address(packed))


def _held(first: dict[int, bytes], several: list[tuple[int, bytes]], notes: list[Note]) -> tuple[tuple[Kind, int], ...]:
    held: list[tuple[Kind, int]] = []
    if (packed := first.get(_FRAMED_IPV4)) is not None:
        address = int.from_bytes(packed, "big")
        if address in _NO_IPV4:
            notes.append("address")
        else:
            held.append((Kind.IPV4, prefix_key(_MAPPED | address, 128)))
    for kind, value in several:
        if kind == _CLASS:
            continue
        address, bits = _ipv6(kind, value)
        rest = (1 << (128 - bits)) - 1
        if address & rest:  # RFC 3162 section 2.3: zero, if they are there at all
            notes.append("host_bits")
            address &= ~rest
        # A mapped address would take an IPv4 subscriber's flows.
        if bits < _LEAST_BITS or address >> 32 in (0, 0xFFFF):
            notes.append("address")
            continue
        held.append((_KINDS[kind], prefix_key(address, bits)))
    return tuple(held)


_KINDS = {_FRAMED_PREFIX: Kind.LINK, _DELEGATED: Kind.DELEGATED, _FRAMED_IPV6: Kind.IPV6}


def _ipv6(kind: int, value: bytes) -> tuple[int, int]:
    if kind == _FRAMED_IPV6:
        if len(value) != 16:
            raise PacketError("value")
        return int.from_bytes(value, "big"), 128
    # RFC 3162 section 2.3: a reserved octet, the length in bits, and as many octets as are needed or more.
    if not 2 <= len(value) <= 18 or value[1] > 128 or len(value) - 2 < -(-value[1] // 8):
        raise PacketError("value")
    return int.from_bytes(value[2:].ljust(16, b"\0"), "big"), value[1]
