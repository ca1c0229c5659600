"""The ClickHouse engine in this process (chdb): the store of a machine without a server.

One process owns one directory, and may open only one directory in its life.  Every operation runs on a connection of
its own (1.5 ms), so that no setting or current database leaks from one to the next and any thread may call; inserts,
and our own statements without settings, keep theirs: they differ in nothing but the token.
"""

import copy
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import chdb
import pyarrow as pa

from sinks import StoreRefused, StoreUnavailable
from sinks.blocks import Piece, block, expanded, is_block
from sinks.inserts import DATABASE, INSERT_SETTINGS, Settings, check_rows, literal, quoted, text
from sinks.ownership import AlreadyOwned, Ownership
from sinks.store_errors import INCORRECT_DATA, store_error
from sinks.token_log import forget_lost

QUERY_THREADS = max(1, (os.cpu_count() or 1) // 2)
"""Of a statement that names no other number: half of the cores, so that inserts beside it keep the rest.

On two cores one thread also answers sooner where a table of ports is grouped: nothing is merged between threads.
"""
_IDLE_LANES = 8
_MERGE_NICE = 10
"""Of the threads that merge: under load they wait for what comes in, whose parts are read as well unmerged.

Nothing piles up for ever: behind 1,000 parts of a partition the engine lets inserts wait.
"""
_ASKS: Settings = {"max_threads": QUERY_THREADS}


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
            forget_lost(self.directory)
            # Kept open for life: the engine ends with its last connection.
            self._engine = _connect(
                f"{self.directory}?max_server_memory_usage={limit}&os_threads_nice_value_merge_mutate={_MERGE_NICE}"
            )
            self._run(self._engine, f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        except BaseException:
            self._owned.close()
            raise
        self._closed = threading.Event()
        self._lanes: list[tuple[tuple[str, bool], _Lane]] = []  # that are idle, by database and whether for inserts
        self._lanes_lock = threading.Lock()
        self._owner = True

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Return once the rows (at most ``MAX_ROWS``) are stored as one block.

        The same token again changes nothing, whatever the rows.  StoreUnavailable: try the same insert again;
        StoreRefused: it can never succeed.
        """
        if not rows.num_rows:
            return
        check_rows(table, rows)
        columns = ", ".join(quoted(name) for name in rows.column_names)
        if is_block(rows):
            try:
                pieces = block(rows)
            except ValueError as error:
                raise StoreRefused(INCORRECT_DATA, f"{table}: {error}") from error
            with self._lane(INSERT_SETTINGS) as lane:
                place = lane.hand_over(pieces)
                form = f"FROM INFILE {literal(place)} COMPRESSION 'none'"
                settings = f"SETTINGS insert_deduplication_token = {literal(token)}"
                self._run(lane.connection, f"INSERT INTO {table} ({columns}) {form} {settings} FORMAT Native", "Null")
            return
        # The engine reads the Python variable of this name.
        handed = expanded(rows).combine_chunks()  # noqa: F841
        with self.session({**INSERT_SETTINGS, "insert_deduplication_token": token}) as connection:
            self._run(connection, f"INSERT INTO {table} ({columns}) SELECT {columns} FROM Python(handed)", "Null")

    def command(self, sql: str, *, token: str | None = None) -> None:
        """Run DDL, or an INSERT SELECT … ORDER BY as one block under its token.

        Without the ORDER BY the same token again may be a second block (``INSERT_SETTINGS``).
        """
        if token is None:
            with self._lane(_ASKS) as lane:
                self._run(lane.connection, sql)
            return
        with self.session({**INSERT_SETTINGS, "insert_deduplication_token": token}) as connection:
            self._run(connection, sql)

    def query(self, sql: str, **parameters: object) -> pa.Table:
        """Rows of a SELECT or SHOW; ``parameters`` fill ``{name:Type}``.

        Arrow types as the engine writes them: DateTime is uint32 seconds, DateTime64 a timestamp, IPv6 16 bytes.
        """
        with self._lane(_ASKS) as lane:
            body = self._run(lane.connection, sql, "ArrowStream", {name: text(v) for name, v in parameters.items()})
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
            self.configure(connection, {**_ASKS, **(settings or {})})
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _lane(self, settings: Settings) -> Iterator["_Lane"]:
        """A connection with these settings, kept for the next who wants the same unless this one fails."""
        if self._closed.is_set():
            raise StoreUnavailable(f"the store in {self.directory} is closed")
        kind = (self.database, settings is INSERT_SETTINGS)
        with self._lanes_lock:
            at = next((at for at in reversed(range(len(self._lanes))) if self._lanes[at][0] == kind), None)
            lane = None if at is None else self._lanes.pop(at)[1]
        if lane is None:
            lane = _Lane(_connect(str(self.directory)))
            try:
                self._run(lane.connection, f"USE {quoted(self.database)}")
                self.configure(lane.connection, settings)
            except BaseException:
                lane.close()
                raise
        try:
            yield lane
        except BaseException:
            lane.close()
            raise
        with self._lanes_lock:
            self._lanes.append((kind, lane))
            over = self._lanes[:] if self._closed.is_set() else self._lanes[:-_IDLE_LANES]
            del self._lanes[: len(over)]
        for _, old in over:
            old.close()

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
            with self._lanes_lock:
                self._closed.set()
                lanes = self._lanes[:]
                self._lanes.clear()
            for _, lane in lanes:
                lane.close()
            self._engine.close()
            self._owned.close()

    @staticmethod
    def _run(connection: Any, sql: str, form: str = "TSV", parameters: Mapping[str, str] | None = None) -> bytes:
        try:
            return cast(bytes, connection.query(sql, form, params=dict(parameters or {})).bytes())
        except (RuntimeError, chdb.ChdbError) as error:
            raise store_error(error) from error


class _Lane:
    """A connection, and the memory in which rows to insert are handed over."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        # Kept, too: its pages are there already for the next block.
        if sys.platform.startswith("linux"):
            self._file = os.memfd_create("block")
            self._path = f"/proc/self/fd/{self._file}"
        else:
            self._file, self._path = tempfile.mkstemp(prefix="flowtide-block-")

    def hand_over(self, pieces: Sequence[Piece]) -> str:
        """The path from which the engine reads the pieces."""
        wanted = sum(map(len, pieces))
        try:
            written = os.pwritev(self._file, pieces, 0)
            os.truncate(self._file, wanted)
        except OSError as error:
            raise StoreUnavailable(f"no memory for a block of {wanted} octets: {error}") from error
        if written != wanted:
            raise StoreUnavailable(f"no memory for a block: {written} of {wanted} octets")
        return self._path

    def close(self) -> None:
        self.connection.close()
        os.close(self._file)
        if not sys.platform.startswith("linux"):
            Path(self._path).unlink()


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
