"""One query of the HTTP port, run on the engine: who asks, what they may, and the answer as it is made."""

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import chdb

from sinks import StoreRefused, http_answer
from sinks.embedded import EmbeddedStore
from sinks.http_packing import FRAMED, packer
from sinks.http_request import Request, error
from sinks.http_settings import limits, reader_settings
from sinks.inserts import literal, text
from sinks.query_guard import (
    DENIED_CATEGORIES,
    FORMAT_SQL,
    TREE_SQL,
    Judged,
    judge,
    readers_of,
    refuse,
    substitute,
    told,
)
from sinks.settings import HttpSettings
from sinks.store_errors import store_error

COMMENT = "http"
"""``log_comment`` of every query of the port begins so: how to tell them from the sink's."""

_SETTINGS_ROWS = 10_000  # as many as clickhouse-connect asks for; the engine has 1,900
# Names by which the engine's Python wrapper gives objects instead of bytes.
_NO_FORMATS = ("dataframe", "datastore", "arrowtable")
_SYSTEM_DATABASES = ("system", "information_schema")

# The engine hands out an answer block by block, each a document of its own: in these formats the blocks joined are,
# byte for byte, the answer it gives as a whole.  All others (JSON, Parquet, Arrow, with names …) it holds whole.
_JOINED = frozenset({"Native", "RowBinary", "JSONEachRow", "JSONLines", "NDJSON", "JSONCompactEachRow"})
# Of these too, but for what follows the rows: totals and extremes.
_JOINED_ROWS = frozenset({"TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV"})
_NOT_STREAMED = "Streaming query is not supported for query"
_PACKED_AT_ONCE = 1 << 20  # of a whole answer, so that its packed copy is never whole as well


@dataclass(slots=True)
class Head:
    """What is known of an answer before its first byte; ``summary`` grows until the last."""

    format: str
    timezone: str
    encoding: str = ""
    summary: dict[str, int] = field(default_factory=dict)

    def add(self, result: Any) -> None:
        """Count a block."""
        facts = {
            "read_rows": result.storage_rows_read(),
            "read_bytes": result.storage_bytes_read(),
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
            "result_rows": result.rows_read(),
            "result_bytes": result.bytes_read(),
            "elapsed_ns": int(result.elapsed() * 1e9),
        }
        for name, value in facts.items():
            self.summary[name] = self.summary.get(name, 0) + value


Pieces = Generator[bytes, None, None]


class Queries:
    """Runs queries for readers and admins; any thread may call."""

    def __init__(self, store: EmbeddedStore, settings: HttpSettings, timezone: str) -> None:
        """``timezone`` is the time zone of sessions (IANA)."""
        self._store, self._settings, self.timezone = store, settings, timezone
        categories = ", ".join(f"'{name}'" for name in DENIED_CATEGORIES)
        rows = store.query(f"SELECT lower(name) AS name FROM system.functions WHERE categories IN ({categories})")
        self._denied = frozenset(rows.column("name").to_pylist())
        facts = store.query("SELECT displayName() AS name, version() AS version").to_pylist()[0]
        self.name, self._version = facts["name"], facts["version"]
        # Views made later by an admin are the admin's word, and those with their definer's rights are meant to be read.
        views = store.query("SELECT name, parseQueryToJSON(as_select) AS tree FROM system.tables WHERE as_select != ''"
                            " AND database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')"
                            " AND create_table_query NOT LIKE '%SQL SECURITY DEFINER%'")  # fmt: skip
        trees = {row["name"]: row["tree"] for row in views.to_pylist()} if settings.hidden_tables else {}
        self._hidden = readers_of(frozenset(settings.hidden_tables), trees)

    def run(
        self, request: Request, user: str, changes: bool, comment: str, gone: threading.Event
    ) -> tuple[Head, Pieces]:
        """What is known of the answer, and its pieces; StoreRefused, StoreUnavailable here and in the pieces.

        ``changes``: whether the request may write at all.  ``comment`` marks the query in ``system.processes``.
        """
        if user == "reader" and (request.database or "").lower() in _SYSTEM_DATABASES:
            raise refuse(f"database {request.database} as the default is not for readers: write its name in the query")
        if request.format.lower() in _NO_FORMATS:
            raise error(73, "UNKNOWN_FORMAT", f"Unknown format {request.format}")
        head = Head(request.format, self.timezone)
        pieces = self._pieces(request, user, changes, comment, gone, head)
        next(pieces)  # an empty one, when all is judged and set: an error so far has no answer before it
        return head, pieces

    def end(self, comment: str) -> None:
        """End what runs under this comment and only reads: an insert cut short would leave days of one message out."""
        where = f"Settings['log_comment'] = {literal(comment)} AND query_kind = 'Select'"
        self._store.command(f"KILL QUERY WHERE {where} ASYNC")

    def end_all(self) -> None:
        """End every query of the port."""
        self._store.command(f"KILL QUERY WHERE startsWith(Settings['log_comment'], '{COMMENT}') ASYNC")

    def _pieces(
        self, request: Request, user: str, changes: bool, comment: str, gone: threading.Event, head: Head
    ) -> Pieces:
        with self._store.session(database=request.database) as connection:
            if user == "reader":
                judged = self._judge(connection, request)
                settings = reader_settings(connection, request.settings, judged.settings, limits(self._settings))
            else:
                judged = _told(connection, request.sql)
                settings = {**request.settings, **({} if changes else {"readonly": 2})}
            session = {"session_timezone": self.timezone, **settings, "log_comment": comment}
            # readonly comes last: after it nothing can be set.
            session |= _as_reader(judged, session) if user == "reader" else {}
            self._store.configure(connection, session)
            head.timezone, head.format = str(session["session_timezone"]), judged.format or request.format
            yield b""
            if gone.is_set():
                return
            if http_answer.is_hello(request.sql) and request.protocol_version >= http_answer.BLOCK_INFO_REVISION:
                head.format = "Native"
                head.summary = {"read_rows": 1, "result_rows": 1}
                yield http_answer.hello(self.name, self._version, head.timezone)
                return
            joined = _is_joined(judged, head.format, session)
            yield from _packed(_answer(connection, request, head, joined), request.packing, head)

    def _judge(self, connection: Any, request: Request) -> Judged:
        sql = {"sql": text(request.sql)}
        try:
            tree = _ask(connection, TREE_SQL, sql)
        except StoreRefused as problem:
            if "supported by parseQueryToJSON" not in str(problem):
                raise
            formatted = substitute(_ask(connection, FORMAT_SQL, sql))
            tree = _ask(connection, TREE_SQL, {"sql": text(formatted)})
            return judge(tree, request.parameters, self._denied, self._hidden, substituted=True)
        return judge(tree, request.parameters, self._denied, self._hidden)


def _told(connection: Any, sql: str) -> Judged:
    """What the syntax tree of an admin's query tells; nothing of what has no tree."""
    try:
        return told(_ask(connection, TREE_SQL, {"sql": text(sql)}))
    except StoreRefused:
        return Judged(None)


def _is_joined(judged: Judged, form: str, session: Mapping[str, str | int | float]) -> bool:
    if not judged.selects:
        return False
    after = judged.totals or "extremes" in session or "extremes" in judged.settings
    return form in _JOINED or (form in _JOINED_ROWS and not after)


def _answer(connection: Any, request: Request, head: Head, joined: bool) -> Pieces:
    try:
        if joined:
            try:
                stream = connection.send_query(request.sql, request.format, params=request.parameters)
            except (RuntimeError, chdb.ChdbError) as problem:
                if _NOT_STREAMED not in str(problem):
                    raise
            else:
                try:
                    while (result := stream.fetch()) is not None and (block := result.bytes()):
                        head.add(result)
                        yield block
                finally:
                    stream.cancel()
                return
        result = connection.query(request.sql, request.format, params=request.parameters)
    except (RuntimeError, chdb.ChdbError) as problem:
        raise store_error(problem) from problem
    head.add(result)
    body = result.bytes()
    for at in range(0, len(body), _PACKED_AT_ONCE):
        yield body[at : at + _PACKED_AT_ONCE]


def _packed(pieces: Pieces, packing: str, head: Head) -> Pieces:
    if not packing:
        yield from pieces
        return
    packs = None
    for piece in pieces:
        if packs is None:  # an empty answer stays empty
            packs, head.encoding = packer(packing), "" if packing == FRAMED else packing
        if found := packs.pack(piece):
            yield found
    if packs is not None:
        yield packs.finish()


def _as_reader(judged: Judged, session: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    # clickhouse-connect begins with reading all settings.  Under readonly=1 the engine says of every one that it
    # cannot be changed, and the client then sends none, not even a time-out; under 2 it may not write either, and what
    # a reader may set is judged before.  A small limit on rows must not lock the client out.
    if judged.tables == {"system.settings"}:
        return {"max_result_rows": max(int(session["max_result_rows"]), _SETTINGS_ROWS), "readonly": 2}
    return {"readonly": 1}


def _ask(connection: Any, sql: str, parameters: Mapping[str, str]) -> str:
    try:
        answer: bytes = connection.query(sql, "TSVRaw", params=dict(parameters)).bytes()
    except (RuntimeError, chdb.ChdbError) as problem:
        raise store_error(problem) from problem
    return answer.decode(errors="replace").rstrip("\n")  # a reader's text may hold any byte
