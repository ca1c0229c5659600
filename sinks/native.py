"""A ClickHouse server over its native protocol as ``sinks.Store``, by clickhouse-driver: questions, audit, rollups.

Raw rows are refused: addresses and maps would cross as Python objects (0.6 CPU-s per million rows), and an insert of
Arrow over HTTP is one block by construction.  What crosses here is what people ask, what the sink notes, and columns of
integers.  Old servers answer, too; one that knows no deduplication tokens takes no insert under one.
"""

import queue
import re
import threading
from datetime import UTC, datetime, tzinfo
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pyarrow as pa
from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError

from sinks import StoreRefused, StoreUnavailable
from sinks.clickhouse import DENIED_CODES
from sinks.inserts import DATABASE, INSERT_SETTINGS, Settings, check_rows, literal, plain, quoted, text
from sinks.store_errors import StoreDenied, of_code

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 300  # as over HTTP
_PLAIN_PORT, _TLS_PORT = 9000, 9440
_IDLE = 4  # connections kept; one at a time belongs to one call
_SERVER_PARAMETERS = 54_459  # revision from which the server fills {name:Type} itself
_TOKEN = "insert_deduplication_token"  # noqa: S105 - a setting's name
_RAW = "flows"
_PARAMETER = re.compile(r"\{(\w+):([^{}]+)\}")

_NUMBERS = {
    **{f"{sign}Int{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "Float32": "float32", "Float64": "float64", "Bool": "bool_",
}  # fmt: skip


class NativeStore:
    """``sinks.Store`` over the native protocol; thread-safe, connects at the first use."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        database: str = DATABASE,
        timeout: float = _ANSWER_SECONDS,
        ca_file: str = "",
        tokens: bool = True,
        readonly: bool = False,
    ) -> None:
        """``url`` is ``clickhouse://HOST:PORT`` or ``clickhouses://HOST:PORT``; ValueError says what is wrong with it.

        ``timeout``: seconds without an answer after which the store counts as unavailable.  ``ca_file``: PEM of the
        authorities trusted, empty: the system's.  ``tokens=False``: insert although the server knows none, and a
        repeat is stored twice.  ``readonly``: questions only, whatever the account may do.
        """
        secure, host, port = parse_url(url)
        self.url, self.database = url.rstrip("/"), database
        self._tokens, self._readonly = tokens, readonly
        tls = {"secure": True, "ca_certs": ca_file or None} if secure else {}
        self._how: dict[str, Any] = {
            "host": host, "port": port, "user": user or "default", "password": password, "client_name": "flowtide",
            "connect_timeout": _CONNECT_SECONDS, "send_receive_timeout": timeout, **tls,
        }  # fmt: skip
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue(_IDLE)
        self._known: frozenset[str] | None = None  # of the settings that we pin, those that the server has
        self._closed = threading.Event()

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Return once the rows (at most ``inserts.MAX_ROWS``) are stored as one block.

        StoreRefused for raw flows and for columns of addresses or maps: those go over HTTP.
        """
        if not rows.num_rows:
            return
        check_rows(table, rows)
        bad = [field.name for field in rows.schema if pa.types.is_fixed_size_binary(field.type) or _is_map(field.type)]
        if table == _RAW or bad:
            raise StoreRefused(48, f"{self.url}: rows of {table} do not go over the native protocol"
                               f"{' (' + ', '.join(bad) + ')' if bad else ''}: use http,"
                               " store.url = http://HOST:8123 or https://HOST:8443")  # fmt: skip
        names = ", ".join(quoted(name) for name in rows.column_names)
        columns = [_plain_times(column).to_pylist() for column in rows.columns]
        self._ask(f"INSERT INTO {table} ({names}) VALUES", columns, token=token, columnar=True)

    def command(self, sql: str, *, token: str | None = None) -> None:
        """Run DDL, or an INSERT SELECT … ORDER BY as one block under its token."""
        self._ask(sql, None, token=token)

    def query(self, sql: str, **parameters: object) -> pa.Table:
        """Rows of a SELECT or SHOW; ``parameters`` fill ``{name:Type}``.  Arrow types as of the embedded store."""
        (columns, types), zone = self._ask(sql, parameters, with_column_types=True, columnar=True)
        arrays = [_array(kind, columns[at] if columns else (), zone) for at, (_, kind) in enumerate(types)]
        return pa.table(dict(zip([name for name, _ in types], arrays, strict=True)))

    def check(self) -> str:
        """The server's version; StoreUnavailable when it does not answer, StoreDenied when it does not let us in."""
        version: str = self.query("SELECT version() AS v").column("v")[0].as_py()
        return version

    def close(self) -> None:
        """Let the connections go; later calls are StoreUnavailable."""
        self._closed.set()
        while not self._idle.empty():
            self._idle.get_nowait().disconnect()

    def _ask(self, sql: str, data: Any, *, token: str | None = None, **how: Any) -> Any:
        if self._closed.is_set():
            raise StoreUnavailable(f"the store at {self.url} is closed")
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            client = None
        sound = False
        try:
            client = client or self._connect()
            settings = dict(self._pinned(client, token) if token is not None else {})
            if isinstance(data, dict):
                sql, data = self._filled(client, sql, data, settings)
            answer = client.execute(sql, data, settings=settings or None, **how)
            sound = True
            return answer, _zone(client)
        except DriverError as error:
            sound = bool(error.code) and error.code not in (209, 210)  # the server spoke, the connection is whole
            raise self._explained(error) from error
        except (OSError, EOFError) as error:
            raise StoreUnavailable(f"{self.url}: {type(error).__name__}: {error}") from error
        finally:
            if client is not None:
                self._put_back(client, sound)

    def _put_back(self, client: Any, sound: bool) -> None:
        if sound and not self._closed.is_set():
            try:
                return self._idle.put_nowait(client)
            except queue.Full:
                pass
        client.disconnect()

    def _connect(self) -> Any:
        if self._known is None:
            self._known = self._prepared()
        client = Client(database=self.database, **self._how)
        try:
            if "session_timezone" in self._known:
                # A server has a zone of its own; our SQL names zones where it means one.
                client.execute("SET session_timezone = 'UTC'")
            if self._readonly:
                client.execute("SET readonly = 1")
        except BaseException:
            client.disconnect()
            raise
        return client

    def _prepared(self) -> frozenset[str]:
        """The settings that the server knows, of those we pin; makes the database if it is missing."""
        client = Client(database="default", **self._how)
        try:
            have = client.execute("SELECT count() FROM system.databases WHERE name = %(name)s", {"name": self.database})
            if not have[0][0] and not self._readonly:
                client.execute(f"CREATE DATABASE IF NOT EXISTS {quoted(self.database)}")
            names = ", ".join(literal(name) for name in (*INSERT_SETTINGS, _TOKEN, "session_timezone"))
            found = client.execute(f"SELECT name FROM system.settings WHERE name IN ({names})")
            return frozenset(row[0] for row in found)
        finally:
            client.disconnect()

    def _pinned(self, client: Any, token: str) -> Settings:
        known = self._known or frozenset()
        if _TOKEN not in known and self._tokens:
            raise StoreRefused(115, f"{self.url}: this server knows no {_TOKEN}, so a repeated insert would be stored "
                               "twice: use a later one")  # fmt: skip
        settings: dict[str, Any] = {name: value for name, value in INSERT_SETTINGS.items() if name in known}
        return settings | ({_TOKEN: token} if _TOKEN in known else {})

    def _filled(
        self, client: Any, sql: str, parameters: dict[str, object], settings: dict[str, Any]
    ) -> tuple[str, dict[str, str] | None]:
        if not parameters:
            return sql, None
        if client.connection.server_info.used_revision >= _SERVER_PARAMETERS:
            settings["server_side_params"] = True
            return sql, {name: plain(value) if not isinstance(value, list | tuple) else text(value)
                         for name, value in parameters.items()}  # fmt: skip

        def fill(found: re.Match[str]) -> str:
            if found[1] not in parameters:
                raise StoreRefused(456, f"Code: 456. DB::Exception: Substitution `{found[1]}` is not set")
            value = parameters[found[1]]
            written = text(value) if isinstance(value, list | tuple) else plain(value)
            return f"CAST({literal(written)} AS {found[2].strip()})"

        return _PARAMETER.sub(fill, sql), None

    def _explained(self, error: Any) -> StoreUnavailable | StoreRefused:
        message = f"{self.url}: {str(error.message or error).partition(' Stack trace:')[0]}"
        if not error.code:
            return StoreUnavailable(message)
        if error.code in DENIED_CODES:
            return StoreDenied(f"{message} (settings store.user, store.password, store.database)")
        return of_code(error.code, f"Code: {error.code}. {message}")


def _zone(client: Any) -> tzinfo:
    name = client.connection.server_info.get_timezone()
    return ZoneInfo(name) if name else UTC


def parse_url(url: str) -> tuple[bool, str, int]:
    """Whether it is TLS, host and port of ``clickhouse(s)://HOST[:PORT]``; ValueError."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}; write clickhouse://HOST:PORT") from error
    if parts.scheme not in ("clickhouse", "clickhouses") or not host or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r}: write clickhouse://HOST:PORT or clickhouses://HOST:PORT")
    if parts.username or parts.password:
        raise ValueError("user and password do not stand in the URL, where logs show them: set store.user and "
                         "store.password")  # fmt: skip
    secure = parts.scheme == "clickhouses"
    return secure, host, port or (_TLS_PORT if secure else _PLAIN_PORT)


def _is_map(kind: pa.DataType) -> bool:
    return bool(pa.types.is_map(kind))


def _plain_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as numbers of their unit are no dates to the driver: made aware ones."""
    return column.cast(pa.timestamp(column.type.unit, "UTC")) if pa.types.is_timestamp(column.type) else column


def _array(kind: str, values: Any, zone: tzinfo) -> pa.Array:
    """A column of the driver as the embedded engine's Arrow has it; StoreRefused for types it does not have here."""
    return pa.array([_value(value, kind, zone) for value in values], _type(kind))


def _type(kind: str) -> pa.DataType:
    name, inner = _parts(kind)
    if name in _NUMBERS:
        return getattr(pa, _NUMBERS[name])()
    if name in ("LowCardinality", "Nullable"):
        return _type(inner)
    if name == "Array":
        return pa.list_(_type(inner))
    if name == "DateTime64":
        scale = int(inner.partition(",")[0])
        return pa.timestamp("s" if not scale else "ms" if scale <= 3 else "us" if scale <= 6 else "ns", "UTC")
    known = {"String": pa.string(), "DateTime": pa.uint32(), "Date": pa.date32(), "IPv4": pa.uint32(),
             "IPv6": pa.binary(16), "Nothing": pa.null()}  # fmt: skip
    if name not in known:
        raise StoreRefused(48, f"a column of type {kind} is not read over the native protocol: use toString(), or http")
    return known[name]


def _parts(kind: str) -> tuple[str, str]:
    name, _, inner = kind.partition("(")
    return name, inner[:-1]


def _value(value: Any, kind: str, zone: tzinfo) -> Any:
    if isinstance(value, list):
        return [_value(item, _parts(kind)[1], zone) for item in value]
    if isinstance(value, datetime):
        # Without a zone in its type a time is the server's local one.
        aware = value if value.tzinfo else value.replace(tzinfo=zone)
        return aware if "DateTime64" in kind else int(aware.timestamp())
    if isinstance(value, IPv4Address):
        return int(value)
    return value.packed if isinstance(value, IPv6Address) else value
