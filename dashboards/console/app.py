"""The console over HTTP: every request judged, answered, and given the headers that keep a page to itself."""

import asyncio
import gzip
import json
import re
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards import library
from dashboards.console import files, metrics
from dashboards.console.access import Access, Denied, same_site
from dashboards.console.alerts import Alerts
from dashboards.console.panels import NotThere, Panels, find_dashboard, is_packed
from dashboards.console.requests import (
    MAX_BODY,
    BadRequest,
    PanelRequest,
    SqlRequest,
    read_object,
    read_panel,
    read_panel_link,
    read_range,
    read_sql,
    snapped,
)
from dashboards.console.store import QueryRefused, StoreClient, StoreSilent
from dashboards.macros import MacroError
from dashboards.settings import ConsoleSettings
from sinks.queries import worked_queries
from sinks.telemetry import answer as telemetry_answer
from sinks.telemetry import limited

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger("console")

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
        " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SQL_SECONDS = 60  # as the port lets a reader
_LIVES_SECONDS = 5.0


class Console:
    """The handlers of one console, over one store."""

    def __init__(self, settings: ConsoleSettings, store: StoreClient, version: str) -> None:
        """``version`` is shown to people."""
        self._settings, self._store, self._version = settings, store, version
        self._panels = Panels(store, settings)
        self._alerts = Alerts(settings, store)
        self._access = Access(settings)
        self._queries = json.dumps([
            {"name": query.name, "group": query.group, "title": query.question, "note": query.note, "sql": query.sql,
             "parameters": query.example} for query in worked_queries()
        ]).encode()  # fmt: skip

    def app(self) -> ASGIApp:
        """The application, which opens the store's client at its start."""
        pages, panel = ("/", "/d/{uid}", "/alerts", "/sql"), "/api/dashboards/{uid}/panels/{id:int}"
        routes = [
            *(self._route(path, self._page) for path in pages),
            self._route("/static/{name:path}", self._static),
            self._route("/api/me", self._me),
            self._route("/api/dashboards", self._dashboards),
            self._route("/api/dashboards/{uid}", self._dashboard),
            self._route("/api/dashboards/{uid}/variables", self._variables, "POST"),
            self._route("/api/dashboards/{uid}/annotations", self._annotations, "POST"),
            self._route(panel, self._panel, "POST"),
            self._route(f"{panel}/csv", self._panel_csv),
            self._route("/api/alerts", self._alert_rules),
            self._route("/api/alerts/firing", self._alerts_firing),
            self._route("/api/alerts/history", self._alert_history),
            self._route("/api/queries", self._worked),
            self._route("/api/sql", self._sql, "POST"),
            self._route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            Route("/{path:path}", self._nowhere, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
        return _with_security(Starlette(routes=routes, lifespan=self._life))

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        self._store.open()
        self._alerts.open()
        # Before the first browser comes.
        packing = asyncio.get_running_loop().run_in_executor(None, files.packed_plotly)
        try:
            yield
        finally:
            await packing
            await self._alerts.close()
            await self._store.close()
            self._access.close()

    def _route(self, path: str, handler: Handler, method: str = "GET") -> Route:
        async def judged(request: Request) -> Response:
            try:
                user = await self._access.user(request.client.host if request.client else "", request.headers)
                if method == "POST":
                    same_site(request.headers)
                request.state.user = user
                return await handler(request)
            except Exception as problem:
                return _failed(problem)

        return Route(path, judged, methods=[method])

    async def _page(self, request: Request) -> Response:
        return files.page(request.headers)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == "plotly.min.js":
            return await asyncio.get_running_loop().run_in_executor(None, files.plotly, request.headers)
        return files.static(name, request.headers)

    async def _me(self, request: Request) -> Response:
        me = {"user": request.state.user, "timezone": self._store.timezone, "version": self._version}
        return _json(me | {"plotly": files.PLOTLY_URL})

    async def _dashboards(self, request: Request) -> Response:
        found = library.dashboards().values()
        return _json([{"uid": d["uid"], "title": d["title"], "description": d.get("description", "")} for d in found])

    async def _dashboard(self, request: Request) -> Response:
        return _json(find_dashboard(request.path_params["uid"]))

    async def _variables(self, request: Request) -> Response:
        window = snapped(read_range(read_object(await _body(request))), _now_ms())
        return _unpacked(
            request, await _while_there(request, self._panels.variables(request.path_params["uid"], window))
        )

    async def _annotations(self, request: Request) -> Response:
        window = snapped(read_range(read_object(await _body(request))), _now_ms())
        return _unpacked(
            request, await _while_there(request, self._panels.annotations(request.path_params["uid"], window))
        )

    async def _panel(self, request: Request) -> Response:
        asked = _snapped(read_panel(read_object(await _body(request))))
        path = request.path_params
        return _unpacked(request, await _while_there(request, self._panels.panel(path["uid"], path["id"], asked)))

    async def _panel_csv(self, request: Request) -> Response:
        asked, path = _snapped(read_panel_link(request.query_params.multi_items())), request.path_params
        title, sql = self._panels.panel_sql(path["uid"], path["id"], asked, request.query_params.get("ref", ""))
        return await self._csv(request, f"{path['uid']} {title or path['id']}", SqlRequest(sql, {}))

    async def _alert_rules(self, request: Request) -> Response:
        return _sent(await self._alerts.report())

    async def _alerts_firing(self, request: Request) -> Response:
        return _sent(await self._alerts.firing())

    async def _alert_history(self, request: Request) -> Response:
        return _sent(await _while_there(request, self._alerts.history()))

    async def _worked(self, request: Request) -> Response:
        return _sent(self._queries)

    async def _sql(self, request: Request) -> Response:
        asked = read_sql(read_object(await _body(request)))
        if (form := request.query_params.get("format", "json")) not in ("json", "csv"):
            raise BadRequest(f"format={form[:20]}: json and csv are there")
        if form == "csv":
            return await self._csv(request, "query", asked)
        began = time.monotonic()
        question = self._store.ask(
            asked.sql, kind="sql", max_rows=self._settings.max_rows, max_seconds=_SQL_SECONDS,
            parameters=asked.parameters,
        )  # fmt: skip
        frame = await _while_there(request, question)
        elapsed = round((time.monotonic() - began) * 1000)
        return _json(
            {"columns": frame.columns, "rows": frame.rows, "elapsed_ms": elapsed, "truncated": frame.truncated}
        )

    async def _csv(self, request: Request, name: str, asked: SqlRequest) -> Response:
        opened = AsyncExitStack()
        question = self._store.csv(asked.sql, max_seconds=_SQL_SECONDS, parameters=asked.parameters)
        pieces = await _while_there(request, opened.enter_async_context(question))
        name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flowtide"
        return _CsvResponse(opened, pieces, f"{name}.csv")

    async def _metrics(self, request: Request) -> Response:
        status, kind, body = telemetry_answer("/metrics", dict)
        return Response(body, status, media_type=kind)

    async def _healthz(self, request: Request) -> Response:
        facts: dict[str, object] = {"ok": True}
        try:
            await asyncio.wait_for(self._store.ping(), _LIVES_SECONDS)
        except (StoreSilent, TimeoutError) as error:
            facts = {"ok": False, "store": str(error) or "it takes too long"}
        status, kind, body = telemetry_answer("/healthz", lambda: facts)
        return Response(body, status, media_type=kind)

    async def _nowhere(self, request: Request) -> Response:
        return _json({"error": f"there is nothing at {request.url.path[:100]}; dashboards are at /"}, 404)


class _CsvResponse(Response):
    """A file sent as the store makes it; one that breaks off ends without its last chunk, so that nobody takes it for
    whole."""

    def __init__(self, opened: AsyncExitStack, pieces: AsyncIterator[bytes], name: str) -> None:
        told = {"Content-Type": "text/csv; charset=utf-8", "Cache-Control": "no-store"}
        super().__init__(None, headers=told | {"Content-Disposition": f'attachment; filename="{name}"'})
        del self.headers["content-length"]
        self._opened, self._pieces = opened, pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the last piece, an error, or the browser is gone."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            async with self._opened:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for piece in _each_while(self._pieces, gone):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientDisconnect:
            pass  # nobody reads on
        except StoreSilent as problem:  # what is sent cannot be taken back: the server breaks the connection off
            limited(log.warning, "broken", "a file broke off", reason=str(problem))
        finally:
            gone.cancel()


async def _each_while(pieces: AsyncIterator[bytes], gone: "asyncio.Future[None]") -> AsyncIterator[bytes]:
    while True:
        taking = asyncio.ensure_future(anext(pieces, None))
        await _first(taking, gone)
        if not taking.done():
            await _ended(taking)
            raise ClientDisconnect
        if (piece := taking.result()) is None:
            return
        yield piece


async def _while_there(request: Request, question: Coroutine[Any, Any, T]) -> T:
    """The answer; ClientDisconnect when the browser goes away before, and then the question is ended."""
    asking, gone = asyncio.ensure_future(question), asyncio.ensure_future(_until_gone(request.receive))
    try:
        await _first(asking, gone)
        if not asking.done():
            raise ClientDisconnect
        return asking.result()
    finally:
        gone.cancel()
        await _ended(asking)


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _ended(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    found, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise Denied(413, "too large", f"the body has more than {MAX_BODY >> 10} KB")
        found.append(chunk)
    return b"".join(found)


def _snapped(asked: PanelRequest) -> PanelRequest:
    return replace(asked, window=snapped(asked.window, _now_ms()))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")
    return _sent(body, status, headers)


def _sent(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def _unpacked(request: Request, body: bytes) -> Response:
    """An answer that is kept, packed for the browsers that take it so: all."""
    if not is_packed(body):
        return _sent(body)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return _sent(body, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
    return _sent(gzip.decompress(body), headers={"Vary": "Accept-Encoding"})


def _failed(problem: Exception) -> Response:
    status, headers = 500, {}
    if isinstance(problem, Denied):
        metrics.REFUSED.labels(problem.reason).inc()
        status, headers = problem.status, problem.headers
    elif isinstance(problem, BadRequest | QueryRefused | MacroError | ClientDisconnect):
        status = 400
    elif isinstance(problem, NotThere):
        status = 404
    elif isinstance(problem, StoreSilent):
        limited(log.warning, "silent", "the store does not answer", reason=str(problem))
        status = 503
    else:  # one request must not end the console
        # Without the values of variables: among them are passwords.
        told = "".join(traceback.format_exception(problem))
        limited(log.error, type(problem).__name__, "request failed", exception=told)
        return _json({"error": f"the console failed ({type(problem).__name__}): its log says more"}, status)
    return _json({"error": str(problem)}, status, headers)


def _with_security(app: ASGIApp) -> ASGIApp:
    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        await app(scope, receive, send_with)

    return with_headers
