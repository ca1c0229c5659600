"""RADIUS accounting requests: their bytes, their disorder on the way, and a client that waits for the answers.

RFC 2866 and 2869 (accounting), 3162, 4818 and 6911 (IPv6), 4372 (whom it is charged to).
"""

import hashlib
import heapq
import hmac
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np

REQUEST, RESPONSE = 4, 5  # RFC 2866 section 3: codes
_HEADER = struct.Struct("!BBH16s")
_MAX_OCTETS = 4_096  # RFC 2866 section 3, of a datagram
_LONGEST = 253  # of an attribute's value, RFC 2865 section 5


class Status(IntEnum):
    """Acct-Status-Type, RFC 2866 section 5.1."""

    START = 1
    STOP = 2
    INTERIM = 3
    ON = 7
    OFF = 8


class Cause(IntEnum):
    """Acct-Terminate-Cause, RFC 2866 section 5.10."""

    NONE = 0
    USER_REQUEST = 1
    NAS_REBOOT = 11


@dataclass(frozen=True, slots=True)
class Nas:
    """A device that keeps sessions; its address is of IPv4 or IPv6."""

    address: str
    identifier: str


@dataclass(frozen=True, slots=True)
class Record:
    """One accounting request; octets as RFC 2866 has them: input is from the user."""

    at_ms: int  # when it happened, Unix milliseconds
    status: Status
    nas: Nas
    session: str = ""
    user: str = ""
    charged: str = ""  # the subscription
    label: str = ""  # Class: service, segment, access and group
    calling: str = ""
    port: str = ""
    ipv4: str = ""
    ipv6_address: str = ""
    ipv6_prefix: str = ""  # of the link itself
    ipv6_delegated: str = ""
    in_octets: int = 0
    out_octets: int = 0
    seconds: int = 0
    delay_seconds: int = 0
    cause: Cause = Cause.NONE


def disorder(
    records: Iterable[Record], seed: int, *, lost_stops: float = 0, duplicates: float = 0, late_seconds: float = 0
) -> Iterator[tuple[int, Record]]:
    """(time of arrival, record) in order of arrival: so much of the Stops lost, so many repeated, each late at random.

    Shares of 1.  Acct-Delay-Time says how late one is, in whole seconds; a repeat is the same record again.
    """
    random = np.random.default_rng((seed, 41))
    waiting: list[tuple[int, int, Record]] = []
    number = 0
    for record in records:
        while waiting and waiting[0][0] <= record.at_ms:
            at_ms, _, late = heapq.heappop(waiting)
            yield at_ms, late
        lost, twice, *late_ms = random.random(4)
        if record.status is Status.STOP and lost < lost_stops:
            continue
        first = record.at_ms + int(late_ms[0] * late_seconds * 1000)
        sent = replace(record, delay_seconds=(first - record.at_ms) // 1000)
        for at_ms in (first, first + int(late_ms[1] * late_seconds * 1000))[: 1 + (twice < duplicates)]:
            heapq.heappush(waiting, (at_ms, number, sent))
            number += 1
    for at_ms, _, late in sorted(waiting):
        yield at_ms, late


def encode(record: Record, secret: bytes, identifier: int) -> bytes:
    """The Accounting-Request; ValueError for what does not fit into an attribute."""
    body = b"".join(_attributes(record))
    length = _HEADER.size + len(body)
    if length > _MAX_OCTETS:
        raise ValueError(f"a datagram of {length} octets is longer than {_MAX_OCTETS}")
    # RFC 2866 section 3: over 16 zero octets in the place of the authenticator.
    blank = _HEADER.pack(REQUEST, identifier, length, bytes(16))
    authenticator = hashlib.md5(blank + body + secret, usedforsecurity=False).digest()
    return _HEADER.pack(REQUEST, identifier, length, authenticator) + body


def answers(response: bytes, request: bytes, secret: bytes) -> bool:
    """Whether this is the sound answer to the request: its identifier, length and authenticator."""
    if len(response) < _HEADER.size:
        return False
    code, identifier, length, authenticator = _HEADER.unpack_from(response)
    if code != RESPONSE or identifier != request[1] or not _HEADER.size <= length <= len(response):
        return False
    response = response[:length]  # RFC 2865 section 3: octets behind the length are padding
    digest = hashlib.md5(response[:4] + request[4:20] + response[20:] + secret, usedforsecurity=False).digest()
    return hmac.compare_digest(digest, authenticator)


class Client:
    """Sends one request after the other and waits for each answer; not for two threads."""

    def __init__(
        self, to: tuple[str, int], secret: bytes, *, wait_seconds: float = 1, tries: int = 3, allow_remote: bool = False
    ) -> None:
        """ValueError for a target that is not of loopback, unless ``allow_remote``."""
        address = ip_address(to[0])
        if not (address.is_loopback or allow_remote):
            raise ValueError(f"{to[0]} is not a loopback address: simulated accounting stays on this machine")
        self._socket = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.connect(to)
        self._secret, self._wait, self._tries, self._identifier = secret, wait_seconds, tries, 0
        self.unanswered = self.refused = self.retries = 0

    def send(self, record: Record) -> bool:
        """Whether the record was accepted; the same datagram is sent until then, ``tries`` times."""
        # RFC 2866 section 3: a repeat keeps its identifier, since its content (with Acct-Delay-Time) is the same.
        request = encode(record, self._secret, self._identifier)
        self._identifier = (self._identifier + 1) % 256
        for attempt in range(self._tries):
            self.retries += attempt > 0
            try:
                self._socket.send(request)
                if self._answered(request):
                    return True
            except ConnectionRefusedError:  # nobody listens yet
                time.sleep(self._wait)
        self.unanswered += 1
        return False

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _answered(self, request: bytes) -> bool:
        deadline = time.monotonic() + self._wait
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                response = self._socket.recv(_MAX_OCTETS)
            except TimeoutError:
                return False
            if answers(response, request, self._secret):
                return True
            self.refused += 1  # of an earlier request, or not from who knows the secret
        return False


def _attributes(record: Record) -> Iterator[bytes]:
    """In the order of their numbers, but for the status, which comes first as most devices write it."""
    yield _number(40, record.status)
    yield _text(1, record.user)
    nas = ip_address(record.nas.address)
    yield _attribute(4 if nas.version == 4 else 95, nas.packed)
    if record.ipv4:
        yield _attribute(8, IPv4Address(record.ipv4).packed)
    for kind, text in ((25, record.label), (31, record.calling), (32, record.nas.identifier)):
        yield _text(kind, text)
    yield _number(41, record.delay_seconds)
    # Accounting-On and -Off have no session, yet RFC 2866 section 5.5 wants its id in each request.
    yield _text(44, record.session or f"{record.at_ms:011x}")
    if record.status in (Status.INTERIM, Status.STOP):
        # RFC 2866 section 5.3 and RFC 2869 section 5.1: 32 bits, and how often they wrapped.
        for low, high, value in ((42, 52, record.in_octets), (43, 53, record.out_octets)):
            yield _number(low, value & 0xFFFFFFFF)
            yield _number(high, value >> 32)
        yield _number(46, record.seconds)
    if record.cause:
        yield _number(49, record.cause)
    yield _number(55, record.at_ms // 1000)
    yield _text(87, record.port)
    yield _text(89, record.charged)
    for kind, prefix in ((97, record.ipv6_prefix), (123, record.ipv6_delegated)):
        if prefix:
            address, _, length = prefix.partition("/")
            # RFC 3162 section 2.3: a reserved octet, the length, and no more octets than it needs.
            yield _attribute(kind, bytes([0, int(length)]) + IPv6Address(address).packed[: -(-int(length) // 8)])
    if record.ipv6_address:
        yield _attribute(168, IPv6Address(record.ipv6_address).packed)


def _attribute(kind: int, value: bytes) -> bytes:
    if len(value) > _LONGEST:
        raise ValueError(f"attribute {kind} of {len(value)} octets is longer than {_LONGEST}")
    return bytes([kind, len(value) + 2]) + value


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, value.to_bytes(4))


def _text(kind: int, value: str) -> bytes:
    """Nothing for no text: RFC 2865 section 5 allows no empty one."""
    return _attribute(kind, value.encode()) if value else b""
