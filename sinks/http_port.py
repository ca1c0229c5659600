"""The port that speaks ClickHouse's HTTP interface over the engine in process.

For curl, clickhouse-connect (sync and async) and Grafana's ClickHouse data source.  Two users: *reader* (the default,
no password) may only read and only tables (``query_guard``), within limits; *admin* (the token as password) may do
all.  Every query has a connection of its own, so SET and USE end with it.
"""

import asyncio
import hmac
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

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
from sinks.http_query import COMMENT, Head, Queries
from sinks.http_request import MAX_BODY, Request, credentials, error, read_request
from sinks.http_stream import HELD, Outlet, StreamedResponse, until
from sinks.listening import accepting, next_free
from sinks.query_guard import SYNTAX_ERROR
from sinks.settings import HttpSettings
from sinks.store_errors import error_code
from sinks.telemetry import limited

log = structlog.get_logger("http")

READERS = ("", "default", "reader")
ADMIN = "admin"
_MAX_WAITING = 200  # requests at once, running and waiting: each may hold its body and its answer
_STOP_SECONDS = 5


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
        self._settings, self._health = settings, health
        self._queries = Queries(store, settings, timezone)
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="query")
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
            self._queries.end_all()
            self._thread.join(2 * _STOP_SECONDS)
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _receive(self, web: WebRequest, values: Mapping[str, str]) -> Upload:
        """An admin's body, in a file: rows may be many."""
        encoding = web.headers.get("content-encoding", "").lower()
        upload = Upload(self._uploads, encoding, framed=values.get("decompress") == "1")
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
                upload = await self._receive(web, dict(fields))
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
            return await self._answered(web, request, user, started)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as problem:
            return self._failed(problem, request)
        finally:
            if upload is not None:
                upload.close()

    async def _answered(self, web: WebRequest, request: Request, user: str, started: float) -> Response:
        """The answer as a whole, or as it is made; ends the query of a client that goes away."""
        comment = f"{COMMENT} {next(self._numbers)}"
        outlet: Outlet[Head] = Outlet(asyncio.get_running_loop(), sys.maxsize if request.whole else HELD)
        # A link that somebody clicks must not change anything.
        changes = web.method == "POST"
        outlet.begin(self._pool, lambda: self._queries.run(request, user, changes, comment, outlet.gone))
        found = await until(outlet, web.receive, lambda: self._queries.end(comment))
        if found is None:
            metrics.HTTP_QUERIES.labels(user, "left").inc()
            raise ClientDisconnect
        head = found.head
        metrics.HTTP_QUERIES.labels(user, "ok").inc()
        metrics.HTTP_SECONDS.observe(time.monotonic() - started)
        headers = self._headers(request, head.timezone)
        headers |= {"X-ClickHouse-Format": head.format, "Content-Type": http_answer.content_type(head.format)}
        headers |= {"Content-Encoding": head.encoding} if head.encoding else {}
        if not found.whole:
            return StreamedResponse(outlet, found.first, headers, self._worded, lambda: self._queries.end(comment))
        summary = {name: str(value) for name, value in head.summary.items()}
        return Response(found.first, headers=headers | {"X-ClickHouse-Summary": json.dumps(summary)})

    def _worded(self, problem: Exception) -> bytes:
        """An error in the middle of an answer, as text behind what was sent; counted."""
        limited(log.warning, "streamed", "an answer broke off", error=str(problem)[:500])
        metrics.HTTP_QUERIES.labels("any", "broken").inc()
        return http_answer.message(str(problem)).encode()

    def _failed(self, problem: Exception, request: Request | None) -> Response:
        if not isinstance(problem, StoreRefused | StoreUnavailable):  # one query must not end the port
            limited(log.error, type(problem).__name__, "query failed", exc_info=problem)
            problem = error(1001, "STD_EXCEPTION", f"{type(problem).__name__}: {problem}")
        elif isinstance(problem, StoreUnavailable) and not error_code(str(problem)):
            problem = error(236, "ABORTED", str(problem))  # to a sink at the other end: try again
        code = error_code(str(problem)) or 1001
        metrics.HTTP_QUERIES.labels(ADMIN if request and request.user == ADMIN else "reader", "failed").inc()
        headers = self._headers(request, self._queries.timezone) | {"X-ClickHouse-Exception-Code": str(code)}
        if http_answer.status(code) == 401:
            headers["WWW-Authenticate"] = 'Basic realm="Flowtide"'
        body = http_answer.message(str(problem))
        return Response(body, http_answer.status(code), headers, media_type="text/plain")

    def _headers(self, request: Request | None, timezone: str) -> dict[str, str]:
        found = {"X-ClickHouse-Server-Display-Name": self._queries.name, "X-ClickHouse-Timezone": timezone}
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

    return next_free(int(port), lambda tried: accepting(family, (host, tried)))
