"""The ClickHouse engine in this process (chdb): the store of a machine without a server.

One process owns one directory, and may open only one directory in its life.  Every operation runs on a connection of
its own (1.5 ms), so that no setting or current database leaks from one to the next and any thread may call.
"""

import copy
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import chdb
import pyarrow as pa

from sinks import StoreRefused, StoreUnavailable
from sinks.ownership import AlreadyOwned, Ownership

Settings = Mapping[str, str | int | float]

DATABASE = "flowtide"
MAX_ROWS = 500_000
"""Rows of one insert: more costs little less, and one block of 34 columns is then about 100 MB."""

_ONE_BLOCK = 100_000_000
"""No insert of ours has as many rows, so a block is never cut: a token holds for one block only."""
INSERT_SETTINGS: Settings = {
    "async_insert": 0,  # on by default here; it would answer before the rows are stored
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "min_insert_block_size_rows": _ONE_BLOCK,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": _ONE_BLOCK,
    "max_insert_threads": 1,  # each thread would write blocks of its own
    # A token is remembered together with the pieces of which the block was put together, and an aggregation gives as
    # many as its threads, memory and past runs decide: a repeat after a restart was not recognised.  A final ORDER BY
    # (in every rollup's SQL) with these gives one piece, always.
    "max_block_size": _ONE_BLOCK,
    "prefer_external_sort_block_bytes": 0,
    "max_bytes_before_external_sort": 0,
    "max_bytes_ratio_before_external_sort": 0,
    "max_bytes_before_external_group_by": 0,
    "max_bytes_ratio_before_external_group_by": 0,
    # A GROUP BY has no two rows of one key: sorting them together again cost more than the rest of the rollup.
    "optimize_on_insert": 0,
}
"""What every insert under a token runs with: the same token with another block is not dropped."""

TRANSIENT_CODES = frozenset({
    75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR: the disk is full
    159,  # TIMEOUT_EXCEEDED
    160,  # TOO_SLOW
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    209,  # SOCKET_TIMEOUT
    210,  # NETWORK_ERROR
    236,  # ABORTED
    241,  # MEMORY_LIMIT_EXCEEDED
    242,  # TABLE_IS_READ_ONLY
    243,  # NOT_ENOUGH_SPACE
    252,  # TOO_MANY_PARTS
    319,  # UNKNOWN_STATUS_OF_INSERT
    394,  # QUERY_WAS_CANCELLED
    439,  # CANNOT_SCHEDULE_TASK
    999,  # KEEPER_EXCEPTION
})  # fmt: skip
"""ClickHouse's error codes after which the same request may succeed."""
_CODE = re.compile(r"Code: (\d+)\.")
# The server gives this the same code as too many parts (252), but it is for ever: the rows span too many days.
_FOREVER = "Too many partitions for single INSERT block"


class StoreInUse(StoreUnavailable):
    """Another process owns the directory, or this process has opened another one before."""


class EmbeddedStore:
    """``sinks.Store`` over the engine in process; thread-safe."""

    def __init__(self, directory: Path, *, memory_bytes: int = 0, database: str = DATABASE) -> None:
        """Open or make the store; StoreInUse names the first owner.

        ``memory_bytes`` limits the whole engine, 0: a quarter of the machine.  ``database`` is made if it is missing,
        and names in SQL without a database mean it.
        """
        self.directory, self.database = directory.resolve(), database
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._owned = Ownership(self.directory, "flowtide")
        except AlreadyOwned as error:
            raise StoreInUse(str(error)) from error
        limit = memory_bytes or memory_default()
        try:
            # Kept open for life: the engine ends with its last connection.
            self._engine = _connect(f"{self.directory}?max_server_memory_usage={limit}")
            self._run(self._engine, f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        except BaseException:
            self._owned.close()
            raise
        self._closed = threading.Event()
        self._owner = True

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Return once the rows (at most ``MAX_ROWS``) are stored as one block.

        The same token again changes nothing, whatever the rows.  StoreUnavailable: try the same insert again;
        StoreRefused: it can never succeed.
        """
        if not rows.num_rows:
            return
        if rows.num_rows > MAX_ROWS:
            raise ValueError(f"{table}: an insert has at most {MAX_ROWS} rows, not {rows.num_rows}: cut the message")
        columns = ", ".join(quoted(name) for name in rows.column_names)
        # The engine reads the Python variable of this name.
        block = rows.combine_chunks()  # noqa: F841
        sql = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM Python(block)"
        # One thread keeps the rows together and in order; an aggregation may use more.
        settings: Settings = {**INSERT_SETTINGS, "max_threads": 1, "insert_deduplication_token": token}
        with self.session(settings) as connection:
            try:
                connection.query(sql, "Null")
            except (RuntimeError, chdb.ChdbError) as error:
                raise store_error(error) from error

    def command(self, sql: str, *, token: str | None = None) -> None:
        """Run DDL, or an INSERT SELECT … ORDER BY as one block under its token.

        Without the ORDER BY the same token again may be a second block (``INSERT_SETTINGS``).
        """
        settings: Settings = {**INSERT_SETTINGS, "insert_deduplication_token": token} if token else {}
        with self.session(settings) as connection:
            self._run(connection, sql)

    def query(self, sql: str, **parameters: object) -> pa.Table:
        """Rows of a SELECT or SHOW; ``parameters`` fill ``{name:Type}``.

        Arrow types as the engine writes them: DateTime is uint32 seconds, DateTime64 a timestamp, IPv6 16 bytes.
        """
        with self.session() as connection:
            body = self._run(connection, sql, "ArrowStream", {name: text(v) for name, v in parameters.items()})
        return pa.ipc.open_stream(body).read_all() if body else pa.table({})

    @contextmanager
    def session(self, settings: Settings | None = None, database: str | None = None) -> Iterator[Any]:
        """A fresh connection with these settings and this current database; closed afterwards.

        StoreRefused for a setting the engine does not know, or a database that is not there.
        """
        if self._closed.is_set():
            # A connection would start the engine again, on a directory that is no longer ours.
            raise StoreUnavailable(f"the store in {self.directory} is closed")
        connection = _connect(str(self.directory))
        try:
            self._run(connection, f"USE {quoted(database or self.database)}")
            self.configure(connection, settings or {})
            yield connection
        finally:
            connection.close()

    def in_database(self, database: str) -> "EmbeddedStore":
        """The same engine with another database (made if it is missing) for names without one.

        Closing it closes nothing: the engine is the first store's.
        """
        other = copy.copy(self)
        other.database, other._owner = database, False
        self._run(self._engine, f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        return other

    def configure(self, connection: Any, settings: Settings) -> None:
        """Set these on a session, in one statement; StoreRefused for what the engine does not know or take."""
        if settings:
            pairs = ", ".join(f"{quoted(name)} = {literal(value)}" for name, value in settings.items())
            self._run(connection, f"SET {pairs}")

    def close(self) -> None:
        """Stop the engine and let the directory go; a second call does nothing."""
        if self._owner and not self._closed.is_set():
            self._closed.set()
            self._engine.close()
            self._owned.close()

    @staticmethod
    def _run(connection: Any, sql: str, form: str = "TSV", parameters: Mapping[str, str] | None = None) -> bytes:
        try:
            return cast(bytes, connection.query(sql, form, params=dict(parameters or {})).bytes())
        except (RuntimeError, chdb.ChdbError) as error:
            raise store_error(error) from error


def memory_default() -> int:
    """A quarter of the machine's memory, or of what this process' container may have, in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    word = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return (min(machine, int(word)) if word.isdigit() else machine) // 4


def _connect(address: str) -> Any:
    connect: Any = chdb.connect  # has no types
    try:
        return connect(address)
    except RuntimeError as error:
        if "already initialized with path" in str(error):
            raise StoreInUse(
                f"this process has opened another store before ({error}): the engine opens one directory in the life"
                " of a process; use another process for the other one"
            ) from error
        raise store_error(error) from error


def error_code(message: str) -> int:
    """ClickHouse's code in an error's text, 0 without one."""
    found = _CODE.search(message)
    return int(found[1]) if found else 0


def store_error(error: Exception) -> StoreUnavailable | StoreRefused:
    """The engine's error as one of ours; a message without a code is StoreRefused with code 0."""
    message = str(error)
    code = error_code(message)
    if code in TRANSIENT_CODES and _FOREVER not in message:
        return StoreUnavailable(message)
    return StoreRefused(code, message)


def quoted(name: str) -> str:
    """An identifier of SQL."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def literal(value: object) -> str:
    """A number, or a string literal of SQL."""
    if isinstance(value, int | float):
        return str(int(value) if isinstance(value, bool) else value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def text(value: object) -> str:
    """A parameter's value as ClickHouse reads it: escaped text, quoted only inside of arrays."""
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_element(item) for item in value)}]"
    return _plain(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple | bool):
        return text(value)
    return literal(value if isinstance(value, int | float) else _plain(value))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return f"{utc:%Y-%m-%d %H:%M:%S}" + (f".{utc.microsecond:06}" if utc.microsecond else "")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
