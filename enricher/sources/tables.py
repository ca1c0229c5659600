"""Leases from a CSV file.

The first line names the columns, in any order: prefix, from, to, subscriber, group, service, segment, access, and
optionally port_from and port_to.  Blank lines and lines that begin with ``#`` are passed over, values are trimmed, and
a value never holds a line break.  The file is taken whole or refused whole.

Columns are checked as arrays (two seconds a million lines) and the first bad line is found from what they say.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from enricher.leases import LeaseRows
from enricher.sources import LeaseFileError
from enricher.sources.columns import COLUMNS, PORTS, Problems, lease_rows, parse_time

__all__ = ["COLUMNS", "LeaseFileError", "check_columns", "parse_leases", "parse_time", "read_leases"]

_LONGEST_LINE = 4_096  # eight short values; a longer one is another kind of file, or a quote left open
_SPACE = b" \t\r"


@dataclass(slots=True)
class _Lines:
    """A file's bytes without the lines that say nothing, and where the others stood."""

    header: str
    body: bytes | memoryview
    numbers: NDArray[np.int64]  # by data row: its line in the file, from 1
    problems: Problems = field(default_factory=Problems)


def read_leases(path: Path, max_bytes: int) -> LeaseRows:
    """The file's leases; LeaseFileError for a file that is too large, unreadable, or has a bad line."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise LeaseFileError(path, None, f"cannot be read: {error.strerror}", kind="missing") from error
    if len(data) > max_bytes:
        reason = f"is larger than {max_bytes:,} bytes (setting lease_file_bytes)"
        raise LeaseFileError(path, None, reason, kind="size")
    return parse_leases(data, path)


def parse_leases(data: bytes, path: Path) -> LeaseRows:
    """The leases in these bytes; ``path`` is for errors only."""
    lines = _lines(data, path)
    order = _columns(lines.header, path)
    table = _split(lines, order, path)
    rows = lease_rows(table, lines.problems)
    if lines.problems.row is not None or rows is None:
        row = lines.problems.row or 0
        raise LeaseFileError(path, int(lines.numbers[row]), lines.problems.reason)
    return rows


def _lines(data: bytes, path: Path) -> _Lines:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise LeaseFileError(path, 1, "is UTF-16: save it as UTF-8", kind="text")
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
        raise LeaseFileError(path, data.count(b"\n", 0, error.start) + 1, "is not UTF-8", kind="text") from None
    return _Lines(header, body, kept[1:] + 1)


def _columns(header: str, path: Path) -> list[str]:
    """The file's column names in its order."""
    names = [name.strip().strip('"').strip() for name in header.split(",")]
    check_columns(names, path, 1)
    return names


def check_columns(names: Sequence[str], path: Path, line: int | None) -> None:
    """LeaseFileError for a column that is unknown, missing or twice."""
    for name in names:
        if name not in (*COLUMNS, *PORTS):
            near = difflib.get_close_matches(name.lower(), (*COLUMNS, *PORTS), 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join((*COLUMNS, *PORTS))}"
            raise LeaseFileError(path, line, f"unknown column {name!r}: {hint}", kind="columns")
    missing = [name for name in COLUMNS if name not in names]
    if not missing and len({*PORTS} & {*names}) == 1:
        missing = [name for name in PORTS if name not in names]
    if missing:
        raise LeaseFileError(path, line, f"the column {missing[0]} is missing", kind="columns")
    if len(names) > len(set(names)):
        raise LeaseFileError(path, line, "a column is named twice", kind="columns")


def _split(lines: _Lines, names: Sequence[str], path: Path) -> dict[str, pa.StringArray]:
    """Trimmed values by column."""
    if not len(lines.numbers):
        return {name: pa.array([], pa.string()) for name in names}
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
    for name in names:  # column by column, so that only one is there twice
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
