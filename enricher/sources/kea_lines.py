"""One line of a Kea lease file (memfile), as bytes: who has which address from when to when.

Kea writes CSV without quotes: a comma inside a value is ``&#x2c`` (Kea 1.6 on).  The header decides where a column
stands, as newer versions append columns.  ``expire`` is the client's last transaction plus ``valid_lifetime``, both in
seconds; so a line says when it was renewed.  Where Kea stores extended information (``store-extended-info``), the user
context holds the relay's option 82 or its DHCPv6 options in hexadecimal.

There is no library for it: the packages on the index speak Kea's control channel, which gives leases without history.
"""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

Family = Literal[4, 6]
Identity = Literal["remote_id", "circuit_id", "client_id", "duid", "hwaddr", "hostname"]
"""What names the subscriber; ``circuit_id`` is option 82's of DHCPv4 and the interface id of DHCPv6, unique at one
relay only; ``client_id`` and ``duid`` are one setting for both families."""

INFINITE = 0xFFFF_FFFF
"""A valid lifetime that never ends (RFC 2131 section 3.3, RFC 8415 section 7.7)."""

_ALWAYS = ("address", "valid_lifetime", "expire")
_MOST_DIGITS = 10
# Half of the time that a line takes goes to JSON, and nearly all contexts are plain.
_PLAIN_REMOTE_ID4 = re.compile(
    rb'\{ ?"ISC": ?\{ ?"relay-agent-info": ?\{ ?"remote-id": ?"([0-9A-Fa-f]+)"[^{}\[\]\\]*\} ?\} ?\}'
)
_MAPPED = 0xFFFF << 32
_COLUMN_OF = {
    "client_id": {4: "client_id", 6: "duid"},
    "duid": {4: "client_id", 6: "duid"},
    "hwaddr": {4: "hwaddr", 6: "hwaddr"},
    "hostname": {4: "hostname", 6: "hostname"},
    "remote_id": {4: "user_context", 6: "user_context"},
    "circuit_id": {4: "user_context", 6: "user_context"},
}  # fmt: skip
_CIRCUIT_ID4, _REMOTE_ID4 = 1, 2  # sub-options of option 82, RFC 3046 section 3
_INTERFACE_ID6, _REMOTE_ID6 = 18, 37  # RFC 8415 section 21.18, RFC 4649
_ENTERPRISE_BYTES = 4  # before a DHCPv6 remote id


class State(IntEnum):
    """Kea's lease states; another is taken for an end, as only these two hold an address."""

    ASSIGNED = 0
    DECLINED = 1
    RECLAIMED = 2
    RELEASED = 3
    REGISTERED = 4


class KeaHeaderError(ValueError):
    """The first line is no header of such a file; says why."""


class KeaLineError(ValueError):
    """The line is none that Kea writes."""


class KeaLine(NamedTuple):
    """``address`` of 128 bits, IPv4 as its mapped form; times in Unix seconds."""

    address: int
    bits: int  # of 128
    renewed: int
    expire: int
    infinite: bool
    holds: bool  # somebody has the address
    declined: bool
    subscriber: str  # empty: the line does not name one


@dataclass(frozen=True, slots=True)
class KeaColumns:
    """Where the values stand, from a file's header."""

    family: Family
    identity: Identity
    count: int
    places: dict[str, int]

    @staticmethod
    def of(header: bytes, family: Family, identity: Identity) -> "KeaColumns":
        """KeaHeaderError names what is missing."""
        names = header.decode("ascii", "replace").strip().split(",")
        needed = (*_ALWAYS, *(("lease_type", "prefix_len") if family == 6 else ()), _COLUMN_OF[identity][family])
        for name in needed:
            if name not in names:
                raise KeaHeaderError(f"is no Kea lease file for {identity} over IPv{family}: it has no column {name}")
        return KeaColumns(family, identity, len(names), {name: at for at, name in enumerate(names)})

    def read(self, line: bytes) -> KeaLine:
        """KeaLineError for a line that is none."""
        values = line.split(b",")
        if len(values) != self.count:
            # Kea reads short lines of older versions; the columns that we need come before, state 0 is its default.
            values += [b""] * (self.count - len(values))
            if len(values) != self.count:
                raise KeaLineError(f"{len(values)} values where the header names {self.count}")
        valid, expire = self._number(values, "valid_lifetime"), self._number(values, "expire")
        infinite = valid == INFINITE
        # Of an infinite lease Kea adds the lifetime too, in 64 bits.
        renewed = expire - valid
        if renewed < 0:
            raise KeaLineError(f"expires at {expire} after {valid} seconds")
        address, bits = self._prefix(values)
        state = self._number(values, "state", 0)
        holds = valid > 0 and state in (State.ASSIGNED, State.REGISTERED)
        subscriber = self._subscriber(values) if holds else ""
        return KeaLine(address, bits, renewed, expire, infinite, holds, state == State.DECLINED, subscriber)

    def _number(self, values: Sequence[bytes], name: str, default: int | None = None) -> int:
        place = self.places.get(name)
        text = values[place] if place is not None else b""
        if not text and default is not None:
            return default
        if not text.isdigit() or len(text) > _MOST_DIGITS:
            raise KeaLineError(f"{name} {text[:40]!r} is not a number")
        return int(text)

    def _prefix(self, values: Sequence[bytes]) -> tuple[int, int]:
        text = values[self.places["address"]]
        try:
            if self.family == 4:
                return _MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, text.decode("ascii"))), 128
            address = int.from_bytes(socket.inet_pton(socket.AF_INET6, text.decode("ascii")))
        except (OSError, ValueError):
            raise KeaLineError(f"{text[:40]!r} is not an address") from None
        delegated = self._number(values, "lease_type") == _PREFIX_DELEGATION
        bits = self._number(values, "prefix_len") if delegated else 128
        if not 0 < bits <= 128 or address & ((1 << 128 - bits) - 1):
            raise KeaLineError(f"{text[:40]!r} has bits set behind its length {bits}")
        return address, bits

    def _subscriber(self, values: Sequence[bytes]) -> str:
        text = values[self.places[_COLUMN_OF[self.identity][self.family]]].replace(b"&#x2c", b",")
        if self.identity in ("remote_id", "circuit_id"):
            return relay_id(text, self.family, self.identity) if text else ""
        name = _readable(text.strip())
        return name if self.identity == "hostname" else name.lower()


_PREFIX_DELEGATION = 2  # lease_type


def relay_id(context: bytes, family: Family, identity: Identity) -> str:
    """The relay's id in a user context: its text, or hexadecimal digits where it is none; empty: it holds none."""
    try:
        plain = _PLAIN_REMOTE_ID4.fullmatch(context) if family == 4 and identity == "remote_id" else None
        if plain is not None:
            return _readable(bytes.fromhex(plain[1].decode()))
        whole = json.loads(context)
        information = whole["ISC"]["relay-agent-info" if family == 4 else "relay-info"]
        found = _id4(information, identity) if family == 4 else _id6(information, identity)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return _readable(found)


def _id4(information: object, identity: Identity) -> bytes:
    """Up to Kea 2.2 the sub-options alone, since then a map of them and of single ids."""
    remote = identity == "remote_id"
    if isinstance(information, dict):
        if remote and "remote-id" in information:
            return _bytes(information["remote-id"])
        information = information.get("sub-options", "")
    wanted = _REMOTE_ID4 if remote else _CIRCUIT_ID4
    return _first(_options(_bytes(information), 1), wanted)


def _id6(information: object, identity: Identity) -> bytes:
    """Of the relay nearest to the client that gives an id: the one with the least hop count (RFC 8415 section 19.1)."""
    if not isinstance(information, list):
        return b""
    relays: list[dict[str, object]] = [relay for relay in information if isinstance(relay, dict)]
    for relay in sorted(relays, key=_hop):
        found = b""
        if identity == "remote_id" and "remote-id" in relay:
            found = _bytes(relay["remote-id"])
        elif "options" in relay:
            wanted = _REMOTE_ID6 if identity == "remote_id" else _INTERFACE_ID6
            found = _first(_options(_bytes(relay["options"]), 2), wanted)
        if found:
            return found[_ENTERPRISE_BYTES:] if identity == "remote_id" else found
    return b""


def _hop(relay: dict[str, object]) -> int:
    return int(str(relay.get("hop", 0)))


def _bytes(text: object) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x").replace(":", ""))


def _options(data: bytes, width: int) -> Iterator[tuple[int, bytes]]:
    """Code and value, each code and length of ``width`` bytes; what is cut off at the end is left."""
    at = 0
    while at + 2 * width <= len(data):
        code = int.from_bytes(data[at : at + width])
        length = int.from_bytes(data[at + width : at + 2 * width])
        at += 2 * width
        if at + length > len(data):
            return
        yield code, data[at : at + length]
        at += length


def _first(options: Iterator[tuple[int, bytes]], wanted: int) -> bytes:
    return next((value for code, value in options if code == wanted), b"")


def _readable(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text.strip() if text.isprintable() else value.hex()
