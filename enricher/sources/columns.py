"""Checks of lease columns, whichever file they come from: arrays, and the first bad row from what they say.

Columns: prefix, from, to, subscriber, group, service, segment, access; optional port_from and port_to, both included,
where several subscribers share an address.  An IPv4-mapped prefix (``::ffff:192.0.2.0/120``) is the IPv4 prefix; bits
set behind a prefix's length refuse the file, as it may be the address or the length that is wrong.
"""

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows
from enricher.prefixes import I8, MAPPED, PrefixError, parse_prefix

COLUMNS = ("prefix", "from", "to", "subscriber", "group", "service", "segment", "access")
PORTS = ("port_from", "port_to")
"""Optional, both or none."""
LAST_PORT = 65_535

_MOST_GROUPS = 8_192  # beyond it ClickHouse gives up the shared dictionary of a LowCardinality column
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800_000  # Unix milliseconds; later ones are seconds that were milliseconds already
_MAPPED_BYTES = bytes(10) + MAPPED.to_bytes(2, "big")
_LENGTHS = {str(bits): bits for bits in range(129)}
_SLICE = 65_536  # rows that are Python strings at a time: all of a million at once would take 100 MB


@dataclass(slots=True)
class Problems:
    """The first bad row, whichever check finds it."""

    row: int | None = None
    reason: str = ""

    def add(self, row: int, reason: str) -> None:
        """Keep it if no earlier row is bad."""
        if self.row is None or row < self.row:
            self.row, self.reason = row, reason


def parse_time(text: str) -> int:
    """Unix milliseconds of ISO 8601 with a zone, or of Unix seconds; ValueError says what is wrong."""
    if re.fullmatch("[0-9]{1,18}", text):
        value = int(text) * 1000
        if value >= _YEAR_10000:
            raise ValueError(f"time {text} is after the year 9999: seconds are expected, not milliseconds")
        return value
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write 2024-06-03T00:00:00Z or Unix seconds") from None
    if moment.tzinfo is None:
        raise ValueError(f"time {text} has no zone: end it with Z or an offset such as +09:00")
    value = (moment - _EPOCH) // timedelta(milliseconds=1)
    if value < 0:
        raise ValueError(f"time {text} is before 1970")
    return value


def lease_rows(table: dict[str, pa.Array], problems: Problems) -> LeaseRows | None:
    """The leases of these columns, or None with the first bad row in ``problems``."""
    high, low, bits = _prefixes(table.pop("prefix"), problems)
    port_from, port_to = _ports(table, len(high), problems)
    since = _times(table["from"], problems, "from")
    until = _times(table["to"], problems, "to", empty=HELD)
    for row in np.flatnonzero(since >= until)[:1].tolist():
        problems.add(row, f"from {_text(table['from'], row)} is not before to {_text(table['to'], row)}")
    codes = {
        name: _choices(table[name], name, known, problems)
        for name, known in (("service", SERVICES), ("segment", SEGMENTS), ("access", ACCESSES))
    }
    subscriber, group = (_texts(table[name], name, problems) for name in ("subscriber", "group"))
    nameless = np.flatnonzero(pc.equal(table["subscriber"], "").to_numpy(zero_copy_only=False))
    for row in nameless[:1].tolist():
        problems.add(row, "the subscriber is empty")
    if len(group.dictionary) > _MOST_GROUPS:
        first = int(np.argmax(group.indices.to_numpy() >= _MOST_GROUPS))
        problems.add(first, f"more than {_MOST_GROUPS:,} groups: a group is a few words for many subscribers")
    if problems.row is not None:
        return None
    return LeaseRows(
        high, low, bits, since, until,
        subscriber.indices.to_numpy().astype("u4"), codes["service"], codes["segment"], codes["access"],
        group.indices.to_numpy().astype("u4"), subscriber.dictionary.to_pylist(), group.dictionary.to_pylist(),
        port_from=port_from, port_to=port_to,
    )  # fmt: skip


def _prefixes(
    column: pa.StringArray, problems: Problems
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]:
    addresses, bits = bytearray(), bytearray()
    for row, text in enumerate(_texts_of(column)):
        try:
            packed, length = _prefix(text)
        except PrefixError as error:
            problems.add(row, str(error))
            break  # later ones cannot come first
        addresses += packed
        bits.append(length)
    bits = bits.ljust(len(column), b"\0")
    addresses = addresses.ljust(16 * len(column), b"\0")
    pairs = np.frombuffer(addresses, ">u8").reshape(-1, 2)
    high, low, lengths = pairs[:, 0].astype("u8"), pairs[:, 1].astype("u8"), np.frombuffer(bits, "u1")
    for row in np.flatnonzero(_spills(high, low, lengths))[:1].tolist():
        try:
            parse_prefix(column[row].as_py())
        except PrefixError as error:
            problems.add(row, str(error))
    return high, low, lengths


def _prefix(text: str) -> tuple[bytes, int]:
    """16 bytes, and the length of 128; what is plainly written goes the fast way, parse_prefix judges the rest."""
    address, slash, length = text.partition("/")
    try:
        bits = _LENGTHS[length] if slash else 128
        if ":" in address:
            return socket.inet_pton(socket.AF_INET6, address), bits
        bits += 96 if slash else 0
        if bits <= 128:
            return _MAPPED_BYTES + socket.inet_pton(socket.AF_INET, address), bits
    except (OSError, ValueError, KeyError):
        pass
    high, low, bits = parse_prefix(text)
    return (high << 64 | low).to_bytes(16, "big"), bits


def _spills(high: NDArray[np.uint64], low: NDArray[np.uint64], bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where bits are set behind the prefix length."""
    everything = np.uint64(2**64 - 1)
    wide = bits.astype("u8")
    # A shift by 64 is undefined, so each half is shifted by 63 at most and the ends are told apart.
    high_rest = np.where(wide >= 64, np.uint64(0), everything >> np.minimum(wide, 63))
    low_rest = np.where(wide >= 128, np.uint64(0), everything >> np.clip(wide, 64, 127) - np.uint64(64))
    spills: NDArray[np.bool_] = ((high & high_rest) | (low & low_rest)) != 0
    return spills


def _text(column: pa.Array, row: int) -> str:
    value = column[row]
    # Python's own times end with the year 9999, and this one may be the reason.
    is_time = pa.types.is_timestamp(column.type) and value.is_valid
    return f"{np.datetime64(value.value, column.type.unit)}Z" if is_time else str(value)


def _texts_of(column: pa.StringArray) -> Iterator[str]:
    for start in range(0, len(column), _SLICE):
        yield from column.slice(start, _SLICE).to_pylist()


def _ports(table: dict[str, pa.Array], count: int, problems: Problems) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """First and last port of each lease, both included; without values the whole address."""
    if PORTS[0] not in table:
        return np.zeros(count, "u2"), np.full(count, LAST_PORT, "u2")
    texts = [table[name] for name in PORTS]
    blank = [pc.equal(column, "").to_numpy(zero_copy_only=False) for column in texts]
    for row in np.flatnonzero(blank[0] != blank[1])[:1].tolist():
        problems.add(row, "port_from and port_to: give both or none")
    ports = np.zeros((2, count), "i8")
    ports[1] = LAST_PORT
    for number, (name, column) in enumerate(zip(PORTS, texts, strict=True)):
        written = pc.match_substring_regex(column, "^[0-9]{1,5}$").to_numpy(zero_copy_only=False)
        ports[number, written] = column.filter(pa.array(written)).cast(pa.int64()).to_numpy()
        wrong = (~written & ~blank[number]) | (ports[number] > LAST_PORT)
        for row in np.flatnonzero(wrong)[:1].tolist():
            problems.add(row, f"{name} {column[row].as_py()!r} is not a port: 0 to 65535")
    for row in np.flatnonzero(ports[0] > ports[1])[:1].tolist():
        problems.add(row, f"port_from {ports[0, row]} is after port_to {ports[1, row]}")
    return ports[0].clip(0, LAST_PORT).astype("u2"), ports[1].clip(0, LAST_PORT).astype("u2")


def _times(column: pa.Array, problems: Problems, name: str, empty: int | None = None) -> I8:
    """Unix milliseconds of texts or timestamps; ``empty`` is what none means, None refuses it."""
    if pa.types.is_timestamp(column.type):
        return _typed_times(column, problems, name, empty)
    result = np.zeros(len(column), "i8")
    blank = pc.equal(column, "").to_numpy(zero_copy_only=False)
    # Twelve digits cannot overflow; what has more goes the careful way, which refuses it.
    seconds = pc.match_substring_regex(column, "^[0-9]{1,12}$").to_numpy(zero_copy_only=False)
    rest = ~blank & ~seconds
    if empty is None:
        for row in np.flatnonzero(blank)[:1].tolist():
            problems.add(row, f"{name} is empty")
    else:
        result[blank] = empty
    result[seconds] = column.filter(pa.array(seconds)).cast(pa.int64()).to_numpy() * 1000
    if rest.any():
        texts = column.filter(pa.array(rest))
        try:
            moments = texts.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() // 1000
        except pa.ArrowInvalid:
            moments = _careful_times(texts, np.flatnonzero(rest), problems)
        result[rest] = moments
    for row in np.flatnonzero(~blank & ((result < 0) | (result >= _YEAR_10000)))[:1].tolist():
        try:
            parse_time(column[row].as_py())
        except ValueError as error:
            problems.add(row, f"{name}: {error}")
    return result


def _typed_times(column: pa.Array, problems: Problems, name: str, empty: int | None) -> I8:
    moments = pc.fill_null(pc.cast(column, pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64()), -1)
    result = np.array(moments.to_numpy(zero_copy_only=False), "i8")
    blank = pc.is_null(column).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~blank & ((result < 0) | (result >= _YEAR_10000)))
    for row in wrong[:1].tolist():
        problems.add(row, f"{name} is before 1970" if result[row] < 0 else f"{name} is after the year 9999")
    if empty is None:
        for row in np.flatnonzero(blank)[:1].tolist():
            problems.add(row, f"{name} is empty")
    else:
        result[blank] = empty
    return result


def _careful_times(texts: pa.StringArray, rows: I8, problems: Problems) -> I8:
    """One by one: some are written in a rarer form, or wrong."""
    moments = np.zeros(len(texts), "i8")
    for at, (row, text) in enumerate(zip(rows.tolist(), _texts_of(texts), strict=True)):
        try:
            moments[at] = parse_time(text)
        except ValueError as error:
            problems.add(row, str(error))
            break  # later ones cannot come first
    return moments


def _choices(column: pa.StringArray, name: str, known: Sequence[str], problems: Problems) -> NDArray[np.uint32]:
    codes = pc.index_in(column, value_set=pa.array(known))
    for row in np.flatnonzero(pc.is_null(codes).to_numpy(zero_copy_only=False))[:1].tolist():
        problems.add(row, f"{name} {column[row].as_py()!r} is none of {', '.join(known)}")
    return np.asarray(pc.fill_null(codes, 0).to_numpy(), "u4")


def _texts(column: pa.StringArray, name: str, problems: Problems) -> pa.DictionaryArray:
    """Dictionary of the values; control characters are refused, as NUL parts the fields of an identity."""
    encoded = column.dictionary_encode()
    bad = pc.match_substring_regex(encoded.dictionary, r"[\x00-\x1f\x7f]").to_numpy(zero_copy_only=False)
    if bad.any():
        row = int(np.argmax(bad[encoded.indices.to_numpy()]))
        problems.add(row, f"the {name} holds a control character")
    return encoded
