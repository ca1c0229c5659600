"""Bodies of inserts through the HTTP port: kept in a file of the store's folder and read by the engine from there.

The engine has no way to be handed a body, and one inside of the query loses the white space at its end.  A file costs
little (240,000 rows: see the port's tests), holds the memory flat whatever the size, and takes every format and
compression that the engine reads.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sinks.http_request import MAX_BODY, Request, error, read_request
from sinks.inserts import literal

MAX_INSERT = 512 << 20
"""Bytes of an insert's body, also unpacked where the statement is in it: 500,000 rows are about 100 MB."""

FOLDER = "uploads"
_HEAD = 64 << 10  # the statement stands within it: 38 columns are 1 KB
_CHUNK = 1 << 20
_COMPRESSIONS = {"": "none", "identity": "none", "gzip": "gzip", "lz4": "lz4", "zstd": "zstd", "br": "br"}
_ARROW_NAMES = {"br": "brotli"}

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

    def __init__(self, folder: Path, encoding: str) -> None:
        """``encoding`` is the Content-Encoding; StoreRefused for one the engine does not read."""
        if encoding not in _COMPRESSIONS:
            raise error(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding} is not spoken here: send gzip, lz4, zstd,"
                        " br or none")  # fmt: skip
        folder.mkdir(exist_ok=True)
        number, name = tempfile.mkstemp(dir=folder)
        self._file = os.fdopen(number, "wb", buffering=0)
        self.path, self.size, self._compression = Path(name), 0, _COMPRESSIONS[encoding]
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
        try:
            with self._unpacked() as stream:
                head = stream.read(_HEAD)
                found = _IN_BODY.match(head)
                if found is None:
                    return None
                with self._rows.open("wb") as out:
                    _copy(head[found.end() :], lambda: stream.read(_CHUNK), out.write)
        except (pa.ArrowException, OSError) as problem:
            raise error(354, "CANNOT_DECOMPRESS", f"the body is not {self._compression}: {problem}") from problem
        self._rows.replace(self.path)
        self._compression = "none"
        return Statement(found[1].decode(), found[2].decode()).from_file(self.path, "none")

    def _unpacked(self) -> pa.NativeFile:
        file = pa.OSFile(str(self.path), "rb")
        if self._compression == "none":
            return file
        return pa.CompressedInputStream(file, _ARROW_NAMES.get(self._compression, self._compression))


def read_upload(fields: Sequence[tuple[str, str]], headers: Mapping[str, str], upload: Upload) -> Request:
    """The request whose body was kept: an INSERT reads its rows from the file, all else is read as ever."""
    query = dict(fields).get("query", "")
    sql = upload.sql(query) if upload.size else None
    if sql is None:
        return read_request(fields, headers, upload.text(MAX_BODY))
    plain = {name: value for name, value in headers.items() if name.lower() != "content-encoding"}
    return read_request([field for field in fields if field[0] != "query"], plain, sql.encode())


def sweep(folder: Path) -> None:
    """Remove what a killed process left."""
    with contextlib.suppress(FileNotFoundError):
        for left in folder.iterdir():
            left.unlink(missing_ok=True)


def _copy(first: bytes, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    size, chunk = 0, first or read()
    while chunk:
        size += len(chunk)
        if size > MAX_INSERT:
            # A few KB can unpack to gigabytes.
            raise error(307, "TOO_MANY_BYTES", f"the body unpacks to more than {MAX_INSERT} bytes: cut the insert")
        write(chunk)
        chunk = read()
    if not size:
        raise error(108, "NO_DATA_TO_INSERT", "No data to insert")
