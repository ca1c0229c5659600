"""One record of a topic of leases: what it may say, and why it is refused.

The key is any text that is the lease's own; the record of a key takes the place of the one before, and one without a
value removes the lease.  The value is a JSON object with the columns of the CSV (``enricher.sources.columns``): prefix,
from, to, subscriber, group, service, segment, access, and optionally port_from and port_to.  Times are ISO 8601 with a
zone or Unix seconds, ``to`` is null or empty while the lease lasts, ports may be numbers.  The rules are those of the
file; what breaks one refuses the record, and the key's former lease stays.
"""

import json
import re
import socket
from collections.abc import Mapping, Set
from typing import Any, Literal, NamedTuple, get_args

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES
from enricher.prefixes import MAPPED, PrefixError, parse_prefix
from enricher.sources.columns import COLUMNS, LAST_PORT, PORTS, parse_time

RecordRefusal = Literal[
    "key", "size", "json", "columns", "prefix", "host_bits", "times", "ports", "labels", "text", "full"
]
"""Why a record is passed over: it has no key of text; is too large; no JSON object; its columns or their types; the
prefix; bits set behind its length; a time, or from that is not before to; ports; an unknown service, segment or access;
the subscriber or group; and of a good one: too many leases are held already."""

RECORD_REFUSALS: tuple[RecordRefusal, ...] = get_args(RecordRefusal)

MOST_BYTES = 4_096  # of key and value: eight short values
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBERS = ("from", "to", *PORTS)
_NEEDED, _KNOWN = frozenset(COLUMNS), frozenset((*COLUMNS, *PORTS))


class RecordError(ValueError):
    """The record is refused; the text never holds a name."""

    def __init__(self, kind: RecordRefusal, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class LeaseRecord(NamedTuple):
    """A lease; times are Unix milliseconds."""

    prefix: int  # address << 8 | length of 128
    since_ms: int
    until_ms: int
    subscriber: str
    service: str
    segment: str
    access: str
    group: str
    port_from: int
    port_to: int


def parse_record(key: bytes | None, value: bytes | None) -> LeaseRecord | None:
    """The lease, or None when the key's lease is removed; RecordError."""
    _check_key(key, value)
    if value is None:
        return None
    texts = _texts(value)
    since, until = _time(texts, "from"), _time(texts, "to") if texts["to"] else HELD
    if since >= until:
        raise RecordError("times", f"from {texts['from']} is not before to {texts['to']}")
    for name, known in (("service", SERVICES), ("segment", SEGMENTS), ("access", ACCESSES)):
        if texts[name] not in known:
            raise RecordError("labels", f"{name} {texts[name][:40]!r} is none of {', '.join(known)}")
    for name in ("subscriber", "group"):
        if not texts[name].isprintable():
            _check_text(name, texts[name])
    if not texts["subscriber"]:
        raise RecordError("text", "the subscriber is empty")
    return LeaseRecord(
        _prefix(texts["prefix"]), since, until, texts["subscriber"], texts["service"], texts["segment"],
        texts["access"], texts["group"], *_ports(texts),
    )  # fmt: skip


def _check_key(key: bytes | None, value: bytes | None) -> None:
    if not key:
        raise RecordError("key", "it has no key, which is to be the lease's own")
    if len(key) + len(value or b"") > MOST_BYTES:
        raise RecordError("size", f"is larger than {MOST_BYTES:,} bytes")
    try:
        key.decode()
    except UnicodeDecodeError:
        raise RecordError("key", "its key is not UTF-8") from None


def _texts(value: bytes) -> Mapping[str, str]:
    """Trimmed values by column; '' for those that are null or may be left out."""
    try:
        found = _DECODER.decode(value.decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError("json", "its value is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise RecordError("json", "its value is not a JSON object")
    names = found.keys()
    if not _NEEDED <= names <= _KNOWN or (PORTS[0] in names) != (PORTS[1] in names):
        raise RecordError("columns", _wrong_columns(names))
    return {name: each.strip() if type(each) is str else _text(name, each) for name, each in found.items()}


def _wrong_columns(names: Set[str]) -> str:
    if unknown := names - _KNOWN:
        return f"unknown column {min(unknown)[:40]!r}: known are {', '.join((*COLUMNS, *PORTS))}"
    missing = [name for name in COLUMNS if name not in names]
    return f"the column {missing[0]} is missing" if missing else "port_from and port_to: give both or none"


def _text(name: str, value: object) -> str:
    """Of what is no text in JSON."""
    if value is None:
        return ""
    if type(value) is int and name in _NUMBERS:
        return str(value)
    raise RecordError("columns", f"{name} is not a text" + (" nor a whole number" if name in _NUMBERS else ""))


def _check_text(name: str, text: str) -> None:
    if _CONTROL.search(text):
        raise RecordError("text", f"the {name} holds a control character")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise RecordError("text", f"the {name} holds half of a character")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RecordError("columns", "a column is named twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _time(texts: Mapping[str, str], name: str) -> int:
    if not texts[name]:
        raise RecordError("times", f"{name} is empty")
    try:
        return parse_time(texts[name])
    except ValueError as error:
        raise RecordError("times", f"{name}: {error}") from None


def _prefix(text: str) -> int:
    address, slash, length = text.partition("/")
    try:
        if ":" in address:
            value, bits = int.from_bytes(socket.inet_pton(socket.AF_INET6, address)), 0
        else:
            value, bits = int.from_bytes(socket.inet_pton(socket.AF_INET, address)) | MAPPED << 32, 96
        if not slash or (len(length) <= 3 and length.isascii() and length.isdigit()):
            bits = bits + int(length) if slash else 128
            if bits <= 128 and value & (1 << 128 - bits) - 1:
                raise RecordError("host_bits", f"{text!r} has bits set behind its length")
            if bits <= 128:
                return value << 8 | bits
    except (OSError, UnicodeEncodeError):
        pass
    try:
        high, low, bits = parse_prefix(text)  # says what is wrong
    except PrefixError as error:
        raise RecordError("prefix", str(error)[:200]) from None
    return (high << 64 | low) << 8 | bits


def _ports(texts: Mapping[str, str]) -> tuple[int, int]:
    if not texts.get(PORTS[0]) and not texts.get(PORTS[1]):
        return 0, LAST_PORT
    if not texts[PORTS[0]] or not texts[PORTS[1]]:
        raise RecordError("ports", "port_from and port_to: give both or none")
    ports = []
    for name in PORTS:
        if not re.fullmatch("[0-9]{1,5}", texts[name]) or int(texts[name]) > LAST_PORT:
            raise RecordError("ports", f"{name} {texts[name][:40]!r} is not a port: 0 to 65535")
        ports.append(int(texts[name]))
    if ports[0] > ports[1]:
        raise RecordError("ports", f"port_from {ports[0]} is after port_to {ports[1]}")
    return ports[0], ports[1]
