"""Leases from a CSV file.

The first line names the columns, in any order: prefix, from, to, subscriber, group, service, segment, access.  Blank
lines and lines that begin with ``#`` are passed over, values are trimmed, and a value never holds a line break.  The
file is taken whole or refused whole.

Columns are checked as arrays (two seconds a million lines) and the first bad line is found from what they say.
"""

import difflib
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows
from enricher.prefixes import I8, MAPPED, PrefixError, parse_prefix

COLUMNS = ("prefix", "from", "to", "subscriber", "group", "service", "segment", "access")

_LONGEST_LINE = 4_096  # eight short values; a longer one is another kind of file, or a quote left open
_MOST_GROUPS = 8_192  # beyond it ClickHouse gives up the shared dictionary of a LowCardinality column
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800_000  # Unix milliseconds; later ones are seconds that were milliseconds already
_MAPPED_BYTES = bytes(10) + MAPPED.to_bytes(2, "big")
_LENGTHS = {str(bits): bits for bits in range(129)}
_SPACE = b" \t\r"
_SLICE = 65_536  # rows that are Python strings at a time: all of a million at once would take 100 MB


class LeaseFileError(Exception):
    """The file is refused whole; ``line`` is the first bad one (from 1), None when it is the file itself."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {reason}")
        self.path, self.line, self.reason = path, line, reason


@dataclass(slots=True)
class _Problems:
    """The first bad row, whichever check finds it."""

    row: int | None = None
    reason: str = ""

    def add(self, row: int, reason: str) -> None:
        if self.row is None or row < self.row:
            self.row, self.reason = row, reason


@dataclass(slots=True)
class _Lines:
    """A file's bytes without the lines that say nothing, and where the others stood."""

    header: str
    body: bytes | memoryview
    numbers: NDArray[np.int64]  # by data row: its line in the file, from 1
    problems: _Problems = field(default_factory=_Problems)


def read_leases(path: Path, max_bytes: int) -> LeaseRows:
    """The file's leases; LeaseFileError for a file that is too large, unreadable, or has a bad line."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise LeaseFileError(path, None, f"cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise LeaseFileError(path, None, f"is larger than {max_bytes:,} bytes (setting lease_file_bytes)")
    return parse_leases(data, path)


def parse_leases(data: bytes, path: Path) -> LeaseRows:
    """The leases in these bytes; ``path`` is for errors only."""
    lines = _lines(data, path)
    order = _columns(lines.header, path)
    table = _split(lines, order, path)
    rows = _rows(table, lines.problems)
    if lines.problems.row is not None or rows is None:
        row = lines.problems.row or 0
        raise LeaseFileError(path, int(lines.numbers[row]), lines.problems.reason)
    return rows


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


def _lines(data: bytes, path: Path) -> _Lines:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise LeaseFileError(path, 1, "is UTF-16: save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")  # some editors begin UTF-8 so
    octets = np.frombuffer(data, "u1")
    begins = np.append(0, np.flatnonzero(octets == ord("\n")) + 1)
    begins = begins[begins < len(data)]
    ends = np.append(begins[1:], len(data))
    long = np.flatnonzero(ends - begins > _LONGEST_LINE)
    if long.size:
        raise LeaseFileError(path, int(long[0]) + 1, f"is longer than {_LONGEST_LINE:,} bytes: a quote left open?")
    empty = np.isin(octets[begins], np.frombuffer(b"#\n", "u1"))
    for line in np.flatnonzero(np.isin(octets[begins], np.frombuffer(_SPACE, "u1"))).tolist():
        text = data[begins[line] : ends[line]].strip()
        empty[line] = not text or text.startswith(b"#")
    kept = np.flatnonzero(~empty)
    if not kept.size:
        raise LeaseFileError(path, None, f"has no header: its first line names the columns {', '.join(COLUMNS)}")
    after = int(ends[kept[0]])
    body: bytes | memoryview
    if empty[kept[0] :].any():
        body = b"".join([data[begins[line] : ends[line]] for line in kept[1:].tolist()])
    else:
        body = memoryview(data)[after:]
    try:
        header = data[begins[kept[0]] : after].decode()
        if not data.isascii():
            data.decode()
    except UnicodeDecodeError as error:
        raise LeaseFileError(path, data.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    return _Lines(header, body, kept[1:] + 1)


def _columns(header: str, path: Path) -> list[str]:
    """The file's column names in its order."""
    names = [name.strip().strip('"').strip() for name in header.split(",")]
    for name in names:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name.lower(), COLUMNS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            raise LeaseFileError(path, 1, f"unknown column {name!r}: {hint}")
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise LeaseFileError(path, 1, f"the column {missing[0]} is missing")
    if len(names) > len(COLUMNS):
        raise LeaseFileError(path, 1, "a column is named twice")
    return names


def _split(lines: _Lines, names: Sequence[str], path: Path) -> dict[str, pa.StringArray]:
    """Trimmed values by column."""
    if not len(lines.numbers):
        return {name: pa.array([], pa.string()) for name in COLUMNS}
    refused: list[Any] = []

    def refuse(row: Any) -> str:
        refused.append(row)
        return "error"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(lines.body),
            read_options=pa.csv.ReadOptions(use_threads=False, column_names=list(names)),
            parse_options=pa.csv.ParseOptions(invalid_row_handler=refuse),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if not refused:
            raise LeaseFileError(path, None, f"is not CSV: {error}") from error
        row = refused[0]
        line = int(lines.numbers[row.number - 1])
        reason = f"{row.actual_columns} values where the header names {row.expected_columns}"
        torn = _torn(lines)
        raise LeaseFileError(path, *(torn if torn and torn[0] <= line else (line, reason))) from None
    if table.num_rows != len(lines.numbers):
        line_or_file, reason = _torn(lines) or (None, "rows and lines differ: remove quotes and carriage returns")
        raise LeaseFileError(path, line_or_file, reason)
    values = {}
    for name in COLUMNS:  # column by column, so that only one is there twice
        values[name] = pc.utf8_trim_whitespace(table[name].combine_chunks())
        table = table.drop_columns(name)
    return values


def _torn(lines: _Lines) -> tuple[int, str] | None:
    """The first line that is not a row: its quote is open at the end, or a carriage return stands inside."""
    for number, line in zip(lines.numbers.tolist(), bytes(lines.body).split(b"\n"), strict=False):
        if line.count(b'"') % 2:
            return number, "a quote is left open"
        if b"\r" in line.removesuffix(b"\r"):
            return number, "a carriage return stands inside the line"
    return None


def _rows(table: dict[str, pa.StringArray], problems: _Problems) -> LeaseRows | None:
    high, low, bits = _prefixes(table.pop("prefix"), problems)
    since = _times(table["from"], problems, "from")
    until = _times(table["to"], problems, "to", empty=HELD)
    for row in np.flatnonzero(since >= until)[:1].tolist():
        problems.add(row, f"from {table['from'][row]} is not before to {table['to'][row]}")
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
    )  # fmt: skip


def _prefixes(
    column: pa.StringArray, problems: _Problems
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


def _texts_of(column: pa.StringArray) -> Iterator[str]:
    for start in range(0, len(column), _SLICE):
        yield from column.slice(start, _SLICE).to_pylist()


def _times(column: pa.StringArray, problems: _Problems, name: str, empty: int | None = None) -> I8:
    """Unix milliseconds; ``empty`` is what no text means, None refuses it."""
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


def _careful_times(texts: pa.StringArray, rows: I8, problems: _Problems) -> I8:
    """One by one: some are written in a rarer form, or wrong."""
    moments = np.zeros(len(texts), "i8")
    for at, (row, text) in enumerate(zip(rows.tolist(), _texts_of(texts), strict=True)):
        try:
            moments[at] = parse_time(text)
        except ValueError as error:
            problems.add(row, str(error))
            break  # later ones cannot come first
    return moments


def _choices(column: pa.StringArray, name: str, known: Sequence[str], problems: _Problems) -> NDArray[np.uint32]:
    codes = pc.index_in(column, value_set=pa.array(known))
    for row in np.flatnonzero(pc.is_null(codes).to_numpy(zero_copy_only=False))[:1].tolist():
        problems.add(row, f"{name} {column[row].as_py()!r} is none of {', '.join(known)}")
    return np.asarray(pc.fill_null(codes, 0).to_numpy(), "u4")


def _texts(column: pa.StringArray, name: str, problems: _Problems) -> pa.DictionaryArray:
    """Dictionary of the values; control characters are refused, as NUL parts the fields of an identity."""
    encoded = column.dictionary_encode()
    bad = pc.match_substring_regex(encoded.dictionary, r"[\x00-\x1f\x7f]").to_numpy(zero_copy_only=False)
    if bad.any():
        row = int(np.argmax(bad[encoded.indices.to_numpy()]))
        problems.add(row, f"the {name} holds a control character")
    return encoded
