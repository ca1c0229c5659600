"""Bodies of inserts through the HTTP port: kept in a file of the store's folder and read by the engine from there.

The engine has no way to be handed a body, and one inside of the query loses the white space at its end.  A file costs
little (240,000 rows: see the port's tests), holds the memory flat whatever the size, and takes every format and
compression that the engine reads.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sinks.http_packing import FRAMED, unpack
from sinks.http_request import MAX_BODY, Request, error, read_request
from sinks.inserts import literal

MAX_INSERT = 512 << 20
"""Bytes of an insert's body, also unpacked where the statement is in it: 500,000 rows are about 100 MB."""

FOLDER = "uploads"
_HEAD = 64 << 10  # the statement stands within it: 38 columns are 1 KB
_COMPRESSIONS = {"": "none", "identity": "none", "gzip": "gzip", "lz4": "lz4", "zstd": "zstd", "br": "br",
                 "deflate": "deflate"}  # fmt: skip

# Possessive: of a long name that fits nothing, shorter pieces must not be tried.
_NAME = r"(?:`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\w++)"
_INSERT = (
    rf"\s*(INSERT\s+INTO\s+(?:TABLE\s+)?{_NAME}(?:\.{_NAME})?\s*(?:\(\s*{_NAME}\s*(?:,\s*{_NAME}\s*)*\))?)"
    r"((?:\s+SETTINGS\s+[^;`'\"]*?)?\s+FORMAT\s+\w+)[ \t]*;?[ \t]*"
)
_IN_QUERY = re.compile(_INSERT + r"\s*", re.IGNORECASE)
_IN_BODY = re.compile((_INSERT + r"(?:\r?\n|$)").encode(), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """An INSERT … FORMAT … whose rows come apart from it."""

    before: str  # INSERT INTO table (columns)
    after: str  # SETTINGS … FORMAT name

    def from_file(self, path: Path, compression: str) -> str:
        """The same statement with its rows in a file."""
        return f"{self.before} FROM INFILE {literal(path)} COMPRESSION {literal(compression)}{self.after}"


def in_query(sql: str) -> Statement | None:
    """The statement of a query that ends in FORMAT and has no rows; None: something else."""
    found = _IN_QUERY.fullmatch(sql)
    return Statement(found[1], found[2]) if found else None


class Upload:
    """One request's body in a file, until closed."""

    def __init__(self, folder: Path, encoding: str, *, framed: bool = False) -> None:
        """``encoding`` is the Content-Encoding; StoreRefused for one the engine does not read.

        ``framed``: inside of it are blocks of ClickHouse's own (``decompress=1``).
        """
        if encoding not in _COMPRESSIONS:
            raise error(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding} is not spoken here: send gzip, lz4, zstd,"
                        " br, deflate or none")  # fmt: skip
        folder.mkdir(exist_ok=True)
        number, name = tempfile.mkstemp(dir=folder)
        self._file = os.fdopen(number, "wb", buffering=0)
        self.path, self.size, self._compression = Path(name), 0, _COMPRESSIONS[encoding]
        self._encoding, self._framed = encoding, framed
        self._rows = self.path.with_suffix(".rows")

    def write(self, chunk: bytes) -> None:
        """Append; StoreRefused beyond the bound."""
        self.size += len(chunk)
        if self.size > MAX_INSERT:
            raise error(307, "TOO_MANY_BYTES", f"the body has more than {MAX_INSERT} bytes: cut the insert")
        try:
            self._file.write(chunk)
        except OSError as problem:
            raise error(243, "NOT_ENOUGH_SPACE", f"the body cannot be kept: {problem}") from problem

    def sql(self, query: str) -> str | None:
        """What the engine is to run: the statement of the URL's ``query``, or the one the body begins with.

        None: neither is an INSERT … FORMAT.  StoreRefused for a body that cannot be unpacked.
        """
        self._file.close()
        if (statement := in_query(query)) is not None:
            if self._framed:  # the engine reads files of other packings only
                self._keep(b"", self._unpacked())
            return statement.from_file(self.path, self._compression)
        return None if query.strip() else self._sql_of_body()

    def text(self, limit: int) -> bytes:
        """The body as it came; StoreRefused when it has more than ``limit`` bytes."""
        self._file.close()
        if self.size > limit:
            raise error(307, "TOO_MANY_BYTES", f"the body has more than {limit} bytes, and is no INSERT … FORMAT")
        return self.path.read_bytes()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self._rows.unlink(missing_ok=True)

    def _sql_of_body(self) -> str | None:
        """As the drivers' own inserts have it: statement, line end, rows; packed as one."""
        pieces, head = self._unpacked(), b""
        while len(head) < _HEAD and (piece := next(pieces, b"")):
            head += piece
        found = _IN_BODY.match(head[:_HEAD])
        if found is None:
            return None
        self._keep(head[found.end() :], pieces)
        return Statement(found[1].decode(), found[2].decode()).from_file(self.path, "none")

    def _keep(self, first: bytes, pieces: Iterator[bytes]) -> None:
        """The rows, unpacked, in place of the body."""
        with self._rows.open("wb") as out:
            size = out.write(first)
            for piece in pieces:
                size += out.write(piece)
        if not size:
            raise error(108, "NO_DATA_TO_INSERT", "No data to insert")
        self._rows.replace(self.path)
        self._compression = "none"

    def _unpacked(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            outer = unpack(file.read, self._encoding, MAX_INSERT)
            if self._framed:
                outer = unpack(_reader(outer), FRAMED, MAX_INSERT)
            yield from outer


def read_upload(fields: Sequence[tuple[str, str]], headers: Mapping[str, str], upload: Upload) -> Request:
    """The request whose body was kept: an INSERT reads its rows from the file, all else is read as ever."""
    query = dict(fields).get("query", "")
    sql = upload.sql(query) if upload.size else None
    if sql is None:
        return read_request(fields, headers, upload.text(MAX_BODY))
    plain = {name: value for name, value in headers.items() if name.lower() != "content-encoding"}
    fields = [field for field in fields if field[0] not in ("query", "decompress")]
    return read_request(fields, plain, sql.encode())


def sweep(folder: Path) -> None:
    """Remove what a killed process left."""
    with contextlib.suppress(FileNotFoundError):
        for left in folder.iterdir():
            left.unlink(missing_ok=True)


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """``read(n)`` over pieces of any size."""
    waiting = b""

    def read(size: int) -> bytes:
        nonlocal waiting
        waiting = waiting or next(pieces, b"")
        found, waiting = waiting[:size], waiting[size:]
        return found

    return read
