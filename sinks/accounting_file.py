"""Files of volumes: a line a user and day, CSV or Parquet, taken whole or refused whole with file, line and reason."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.schema import COUNTER_LIMIT

COLUMNS = (
    "day", "user", "subscription", "service", "segment", "access", "volume_source", "in_octets", "out_octets",
)  # fmt: skip
SERVICES = ("fixed", "mobile")
SEGMENTS = ("personal", "enterprise", "unknown")
ACCESSES = ("pppoe", "ipoe", "mobile", "other")
VOLUME_SOURCE = "accounting"

MAX_FILE_BYTES = 1 << 30  # about ten million lines
_MAX_TEXT = 200  # octets of a name
_LEAST_DAY = date(1990, 1, 1)  # the store's days are those of two bytes from 1970 on; older ones are typing errors
_ROWS_AT_A_TIME = 65_536  # of a Parquet file as Python values


class AccountingError(ValueError):
    """An import is refused whole; the store is as it was.  Says where and why."""


class AccountingFileError(AccountingError):
    """The file is refused; ``line`` is the first bad one (of a Parquet file its row, both from 1), None: the file."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {reason}")
        self.path, self.line, self.reason = path, line, reason


@dataclass(slots=True)
class DayVolumes:
    """Of one local day; equally long lists, a user each."""

    day: date
    users: list[tuple[str, str, str]] = field(default_factory=list)  # service, subscription or line, access
    segments: list[str] = field(default_factory=list)
    in_octets: list[int] = field(default_factory=list)
    out_octets: list[int] = field(default_factory=list)

    def add(self, user: tuple[str, str, str], segment: str, in_octets: int, out_octets: int) -> None:
        """One more user."""
        self.users.append(user)
        self.segments.append(segment)
        self.in_octets.append(in_octets)
        self.out_octets.append(out_octets)


def read_accounting(path: Path, day: date | None = None, max_bytes: int = MAX_FILE_BYTES) -> list[DayVolumes]:
    """The days of a CSV file, or of a Parquet file by its name, in order; AccountingFileError.

    ``day``: the only one that the file may have.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise AccountingFileError(path, None, f"has {size:,} octets, at most {max_bytes:,} are read: cut it by day")
        lines = _parquet_lines(path, max_bytes) if path.suffix == ".parquet" else _csv_lines(path)
        days = _days(path, lines, day)
    except OSError as error:
        raise AccountingFileError(path, None, f"cannot be read: {error.strerror or error}") from None
    if not days:
        raise AccountingFileError(path, None, "has no line: a day without anybody is a file with lines of zeros")
    return [days[each] for each in sorted(days)]


def _csv_lines(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """(line, values in the order of COLUMNS)."""
    body = path.read_bytes()
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise AccountingFileError(path, 1, "is UTF-16: save it as UTF-8")
    try:
        text = body.decode("utf-8-sig")  # some editors begin UTF-8 so
    except UnicodeDecodeError as error:
        raise AccountingFileError(path, body.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    order: list[int] = []
    try:
        for values in reader:
            if not values or (len(values) == 1 and not values[0].strip()):
                continue
            if not order:
                order = _order(path, reader.line_num, [value.strip() for value in values])
                continue
            if len(values) != len(COLUMNS):
                problem = f"{len(values)} values where the header names {len(COLUMNS)}"
                raise AccountingFileError(path, reader.line_num, problem)
            yield reader.line_num, [values[at].strip() for at in order]
    except csv.Error as error:
        raise AccountingFileError(path, reader.line_num, f"is not CSV: {error}") from None
    if not order:
        raise AccountingFileError(path, None, f"has no header: its first line names {', '.join(COLUMNS)}")


def _parquet_lines(path: Path, max_bytes: int) -> Iterator[tuple[int, Sequence[str]]]:
    try:
        with pq.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            if (size := sum(file.metadata.row_group(at).total_byte_size for at in groups)) > max_bytes:
                reason = f"unfolds to {size:,} octets, at most {max_bytes:,} are read: cut it by day"
                raise AccountingFileError(path, None, reason)
            order = _order(path, None, file.schema_arrow.names)
            names = [file.schema_arrow.names[at] for at in order]
            row = 0
            for batch in file.iter_batches(_ROWS_AT_A_TIME):
                columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    row += 1
                    yield row, ["" if value is None else str(value) for value in values]
    except pa.ArrowException as error:
        raise AccountingFileError(path, None, f"is not Parquet: {error}") from None


def _order(path: Path, line: int | None, names: Sequence[str]) -> list[int]:
    """Where each of COLUMNS stands."""
    for name in names:
        if name not in COLUMNS:
            raise AccountingFileError(path, line, f"unknown column {name!r}: they are {', '.join(COLUMNS)}")
        if list(names).count(name) > 1:
            raise AccountingFileError(path, line, f"column {name} is named twice")
    for name in COLUMNS:
        if name not in names:
            raise AccountingFileError(path, line, f"the column {name} is missing")
    return [list(names).index(name) for name in COLUMNS]


def _days(path: Path, lines: Iterable[tuple[int, Sequence[str]]], wanted: date | None) -> dict[date, DayVolumes]:
    days: dict[date, DayVolumes] = {}
    seen: dict[tuple[date, tuple[str, str, str]], int] = {}
    known: dict[str, date] = {}
    for line, values in lines:
        text, user, subscription, service, segment, access, volume_source, in_text, out_text = values
        try:
            day = known.get(text) or known.setdefault(text, _day(text))
            if wanted is not None and day != wanted:
                raise ValueError(f"day {day} is not {wanted}")
            for name, value, values_known in (("service", service, SERVICES), ("segment", segment, SEGMENTS),
                                              ("access", access, ACCESSES), ("volume_source", volume_source,
                                                                             (VOLUME_SOURCE,))):  # fmt: skip
                if value not in values_known:
                    raise ValueError(f"{name} {value[:40]!r} is none of {', '.join(values_known)}")
            if (service == "mobile") != (access == "mobile"):
                raise ValueError(f"service {service} has no access {access}")
            # On mobile the line is the user, elsewhere the subscription, once for each of its accesses.
            subscriber = user if service == "mobile" else subscription
            _check_name("user", user)
            _check_name("subscription", subscription)
            in_octets, out_octets = _octets("in_octets", in_text), _octets("out_octets", out_text)
            identity = (service, subscriber, access)
            first = seen.setdefault((day, identity), line)
            if first != line:
                what = "user" if service == "mobile" else f"subscription on {access}"
                raise ValueError(f"this {what} has line {first} on {day} already")
        except ValueError as error:
            raise AccountingFileError(path, line, str(error)) from None
        if day not in days:
            days[day] = DayVolumes(day)
        days[day].add(identity, segment, in_octets, out_octets)
    return days


def _day(text: str) -> date:
    try:
        if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"day {text[:40]!r} is no day: write it as 2024-06-03") from None
    if day < _LEAST_DAY:
        raise ValueError(f"day {day} is before {_LEAST_DAY}")
    return day


def _check_name(column: str, text: str) -> None:
    if not text:
        raise ValueError(f"{column} is empty")
    if len(text.encode()) > _MAX_TEXT or not text.isprintable():
        raise ValueError(f"{column} wants at most {_MAX_TEXT} printable octets")


def _octets(column: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", text):
        why = "is negative" if re.fullmatch("-[0-9]+", text) else "is no whole number"
        raise ValueError(f"{column} {text[:40]!r} {why}")
    value = int(text)
    if value > COUNTER_LIMIT:
        raise ValueError(f"{column} {text} is more than a user's day can have ({COUNTER_LIMIT:,})")
    return value
