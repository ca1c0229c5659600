"""The port that speaks ClickHouse's HTTP interface over the engine in process.

For curl, clickhouse-connect (sync and async) and Grafana's ClickHouse data source.  Two users: *reader* (the default,
no password) may only read and only tables (``query_guard``), within limits; *admin* (the token as password) may do
all.  Every query has a connection of its own, so SET and USE end with it.
"""

import asyncio
import gzip
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import chdb
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Route

from sinks import StoreRefused, StoreUnavailable, http_answer, http_insert, metrics, telemetry
from sinks.embedded import EmbeddedStore
from sinks.http_insert import Upload, read_upload
from sinks.http_request import MAX_BODY, Request, credentials, error, read_request
from sinks.http_settings import limits, reader_settings
from sinks.inserts import text
from sinks.listening import next_free
from sinks.query_guard import DENIED_CATEGORIES, FORMAT_SQL, SYNTAX_ERROR, TREE_SQL, Judged, judge, refuse, substitute
from sinks.settings import HttpSettings
from sinks.store_errors import error_code, store_error
from sinks.telemetry import limited

log = structlog.get_logger("http")

READERS = ("", "default", "reader")
ADMIN = "admin"
COMMENT = "http"
"""``log_comment`` of every query of the port: how to tell them from the sink's."""

_MAX_WAITING = 200  # requests at once, running and waiting: each may hold its body and its answer
_STOP_SECONDS = 5
_SETTINGS_ROWS = 10_000  # as many as clickhouse-connect asks for; the engine has 1,900
# Names by which the engine's Python wrapper gives objects instead of bytes.
_NO_FORMATS = ("dataframe", "datastore", "arrowtable")
_SYSTEM_DATABASES = ("system", "information_schema")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave."""

    body: bytes
    format: str
    timezone: str
    summary: dict[str, str]


class HttpPort:
    """Serves queries on a thread of its own until closed."""

    def __init__(
        self,
        store: EmbeddedStore,
        settings: HttpSettings,
        health: Callable[[], Mapping[str, object]],
        timezone: str = "UTC",
    ) -> None:
        """``health`` returns facts for /healthz; ``timezone`` is the time zone of sessions (IANA)."""
        self._store, self._settings, self._health, self._timezone = store, settings, health, timezone
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="query")
        categories = ", ".join(f"'{name}'" for name in DENIED_CATEGORIES)
        rows = store.query(f"SELECT lower(name) AS name FROM system.functions WHERE categories IN ({categories})")
        self._denied = frozenset(rows.column("name").to_pylist())
        facts = store.query("SELECT displayName() AS name, version() AS version").to_pylist()[0]
        self._name, self._version = facts["name"], facts["version"]
        self._uploads = store.directory / http_insert.FOLDER
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> tuple[str, int]:
        """Listen and serve; the address, whose port is the next free one where the wanted one is busy.

        OSError: the address is not ours, or a hundred ports are busy.
        """
        listening = _listen(self._settings.listen)
        http_insert.sweep(self._uploads)
        routes = [Route("/{path:path}", self._serve, methods=["GET", "POST", "HEAD"])]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", ws="none",
            server_header=False, limit_concurrency=_MAX_WAITING, timeout_graceful_shutdown=_STOP_SECONDS,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        # Its own answers; signals belong to the process.
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="http", daemon=True
        )
        host, port = listening.getsockname()[:2]
        self._thread.start()
        return host, port

    def close(self) -> None:
        """Stop listening, and end the queries that still run: none is worth waiting for."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._store.command(f"KILL QUERY WHERE Settings['log_comment'] = '{COMMENT}' ASYNC")
            self._thread.join(2 * _STOP_SECONDS)
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _receive(self, web: WebRequest) -> Upload:
        """An admin's body, in a file: rows may be many."""
        upload = Upload(self._uploads, web.headers.get("content-encoding", "").lower())
        try:
            async for chunk in web.stream():
                upload.write(chunk)
        except BaseException:
            upload.close()
            raise
        return upload

    async def _serve(self, web: WebRequest) -> Response:
        path = "/" + web.path_params["path"]
        if path == "/ping":
            return Response("Ok.\n", media_type="text/plain")
        if path in ("/metrics", "/healthz"):
            # Health may ask the store, which takes time.
            status, kind, body = await asyncio.get_running_loop().run_in_executor(
                None, telemetry.answer, path, self._health
            )
            return Response(body, status, media_type=kind)
        if path != "/":
            return Response(f"There is no handle {path}. Use / for queries, or /ping, /metrics, /healthz\n", 404)
        request, upload = None, None
        started = time.monotonic()
        try:
            fields = web.query_params.multi_items()
            # Who may not insert is told so before the rows are taken in.
            user = self._user(*credentials(dict(fields), web.headers)) if _has_rows(web) else ""
            if user == ADMIN:
                upload = await self._receive(web)
                request = await asyncio.get_running_loop().run_in_executor(
                    self._pool, read_upload, fields, web.headers, upload
                )
            else:
                request = read_request(fields, web.headers, await _body(web))
            if not request.sql.strip():
                if web.method in ("GET", "HEAD"):
                    return Response("Ok.\n", media_type="text/plain")
                raise error(SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: the query is empty")
            user = self._user(request.user, request.password)
            # A link that somebody clicks must not change anything.
            changes = web.method == "POST"
            answer, packed = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._answer, request, user, changes
            )
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except (StoreRefused, StoreUnavailable) as problem:
            return self._failed(problem, request)
        except Exception as problem:  # one query must not end the port
            limited(log.error, type(problem).__name__, "query failed", exc_info=True)
            return self._failed(error(1001, "STD_EXCEPTION", f"{type(problem).__name__}: {problem}"), request)
        finally:
            if upload is not None:
                upload.close()
        metrics.HTTP_QUERIES.labels(user, "ok").inc()
        metrics.HTTP_SECONDS.observe(time.monotonic() - started)
        headers = self._headers(request, answer.timezone)
        headers |= {"X-ClickHouse-Summary": json.dumps(answer.summary), "X-ClickHouse-Format": answer.format}
        headers |= {"Content-Encoding": "gzip"} if packed else {}
        kind = http_answer.content_type(answer.format)
        return Response(answer.body, headers={**headers, "Content-Type": kind})

    def _failed(self, problem: StoreRefused | StoreUnavailable, request: Request | None) -> Response:
        if isinstance(problem, StoreUnavailable) and not error_code(str(problem)):
            problem = error(236, "ABORTED", str(problem))  # to a sink at the other end: try again
        code = error_code(str(problem)) or 1001
        metrics.HTTP_QUERIES.labels(ADMIN if request and request.user == ADMIN else "reader", "failed").inc()
        headers = self._headers(request, self._timezone) | {"X-ClickHouse-Exception-Code": str(code)}
        if http_answer.status(code) == 401:
            headers["WWW-Authenticate"] = 'Basic realm="Flowtide"'
        body = http_answer.message(str(problem))
        return Response(body, http_answer.status(code), headers, media_type="text/plain")

    def _headers(self, request: Request | None, timezone: str) -> dict[str, str]:
        found = {"X-ClickHouse-Server-Display-Name": self._name, "X-ClickHouse-Timezone": timezone}
        if request is not None:
            # The client's own word comes back in a header: no line may end in it.
            found["X-ClickHouse-Query-Id"] = "".join(
                c for c in request.query_id[:200] if c.isprintable() and c < "\x7f"
            )
        return found

    def _user(self, name: str, password: str) -> str:
        if name in READERS and not password:
            return "reader"
        token = self._settings.admin_token.get_secret_value()
        if name == ADMIN and token and hmac.compare_digest(password.encode(), token.encode()):
            return ADMIN
        if name == ADMIN and not password:
            raise error(194, "REQUIRED_PASSWORD", "admin: Authentication failed: give http.admin_token as the password")
        raise error(516, "AUTHENTICATION_FAILED", f"{name or 'default'}: Authentication failed: "
                    "password is incorrect, or there is no user with such name")  # fmt: skip

    def _answer(self, request: Request, user: str, changes: bool) -> tuple[Answer, bool]:
        """Run in a worker thread: the query, and its compression."""
        answer = self._run(request, user, changes)
        if request.gzip and answer.body:
            # Level 1: three times the speed of the default for a tenth more bytes.
            body = gzip.compress(answer.body, 1)
            return Answer(body, answer.format, answer.timezone, answer.summary), True
        return answer, False

    def _run(self, request: Request, user: str, changes: bool) -> Answer:
        if user == "reader" and (request.database or "").lower() in _SYSTEM_DATABASES:
            raise refuse(f"database {request.database} as the default is not for readers: write its name in the query")
        if request.format.lower() in _NO_FORMATS:
            raise error(73, "UNKNOWN_FORMAT", f"Unknown format {request.format}")
        with self._store.session(database=request.database) as connection:
            if user == "reader":
                judged = self._judge(connection, request)
                settings = reader_settings(connection, request.settings, judged.settings, limits(self._settings))
            else:
                judged, settings = Judged(None), {**request.settings, **({} if changes else {"readonly": 2})}
            session = {"session_timezone": self._timezone, **settings, "log_comment": COMMENT}
            # readonly comes last: after it nothing can be set.
            session |= _as_reader(judged, session) if user == "reader" else {}
            self._store.configure(connection, session)
            timezone = str(session["session_timezone"])
            if http_answer.is_hello(request.sql) and request.protocol_version >= http_answer.BLOCK_INFO_REVISION:
                body = http_answer.hello(self._name, self._version, timezone)
                return Answer(body, "Native", timezone, {"read_rows": "1", "result_rows": "1"})
            try:
                result = connection.query(request.sql, request.format, params=request.parameters)
            except (RuntimeError, chdb.ChdbError) as problem:
                raise store_error(problem) from problem
            return Answer(result.bytes(), judged.format or request.format, timezone, _summary(result))

    def _judge(self, connection: Any, request: Request) -> Judged:
        sql = {"sql": text(request.sql)}
        try:
            tree = _ask(connection, TREE_SQL, sql)
        except StoreRefused as problem:
            if "supported by parseQueryToJSON" not in str(problem):
                raise
            formatted = substitute(_ask(connection, FORMAT_SQL, sql))
            tree = _ask(connection, TREE_SQL, {"sql": text(formatted)})
        return judge(tree, request.parameters, self._denied)


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
    return answer.decode().rstrip("\n")


def _summary(result: Any) -> dict[str, str]:
    facts = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "result_bytes": result.bytes_read(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }
    return {name: str(value) for name, value in facts.items()}


def _has_rows(web: WebRequest) -> bool:
    form = web.headers.get("content-type", "").lower().startswith("multipart/form-data")
    return web.method == "POST" and not form


async def _body(web: WebRequest) -> bytes:
    found, size = [], 0
    async for chunk in web.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise error(307, "TOO_MANY_BYTES", f"the body has more than {MAX_BODY} bytes")
        found.append(chunk)
    return b"".join(found)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def bind(tried: int) -> socket.socket:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            # Without it two that bind at once would both succeed.
            listening.listen(128)
        except OSError:
            listening.close()
            raise
        return listening

    return next_free(int(port), bind)
