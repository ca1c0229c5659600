"""The store as the console asks it: ClickHouse's HTTP interface, read-only, one pool of connections."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import aiohttp

from dashboards.asked import CODE, LOGIN_CODES, SETTING_CODES, Target, plain
from dashboards.console import metrics
from dashboards.console.frames import Frame, read_frame
from sinks.inserts import text as escaped

Kind = Literal["panel", "sql"]

MOST_WAITING = 100
"""Questions of a kind that wait for a turn; each is a browser that waits."""
MOST_BYTES = 64 << 20
"""Of an answer that is held: an account that may not limit rows gets any number."""

_CONNECT_SECONDS = 3.0
_GRACE_SECONDS = 10.0  # beyond the query's own limit: waiting for its turn there, and sending
_IDLE_SECONDS = 3.0  # less than any server's, so that a pooled connection is rarely one just closed at the other end
_CHUNK = 1 << 16

_FORM = {
    "date_time_output_format": "unix_timestamp",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_denormals": "0",
    "output_format_json_quote_decimals": "0",
    "output_format_json_named_tuples_as_objects": "1",
}


class StoreSilent(Exception):  # noqa: N818 - a state, told by its name
    """Nobody answers there, or not in time, or we are not let in; the message says what to do."""


class QueryRefused(Exception):  # noqa: N818
    """The store's word on a query, without its noise."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Manner:
    """What an account lets us set."""

    chooses: bool  # the form of answers, and limits
    readonly: bool  # it may write, and is told not to
    timezone: str = ""  # of its times


_MANNERS = (_Manner(True, True), _Manner(True, False), _Manner(False, True), _Manner(False, False))


class StoreClient:
    """Asks one store; of one event loop, between ``open`` and ``close``."""

    def __init__(self, target: Target, *, panels: int, sql: int) -> None:
        """``panels`` and ``sql``: questions of each kind that are asked at once.

        OSError: the file of authorities cannot be read.
        """
        self._target = target
        self._turns: dict[Kind, asyncio.Semaphore] = {"panel": asyncio.Semaphore(panels), "sql": asyncio.Semaphore(sql)}
        self._waiting: dict[Kind, int] = {"panel": 0, "sql": 0}
        self._session: aiohttp.ClientSession | None = None
        self._manner: _Manner | None = None
        self._learning = asyncio.Lock()
        secure = target.url.startswith("https:")
        self._trust = ssl.create_default_context(cafile=target.ca_file or None) if secure else True

    def open(self) -> None:
        """Make the pool; called in the event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, keepalive_timeout=_IDLE_SECONDS, limit=0),
            headers={"X-ClickHouse-User": self._target.user, "X-ClickHouse-Key": self._target.password},
            skip_auto_headers=("Content-Type",),
        )

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    @property
    def timezone(self) -> str:
        """Zone of times and days in answers (IANA), as far as it is known."""
        return self._manner.timezone if self._manner else self._target.timezone

    async def ping(self) -> None:
        """StoreSilent when it does not answer."""
        await self._learn()
        try:
            async with self._open_session().get(f"{self._target.url}/ping", timeout=_limit(0)) as answer:
                if answer.status != 200:
                    raise self._silent(f"status {answer.status} for /ping")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(_told(error)) from error

    async def ask(
        self, sql: str, *, kind: Kind, max_rows: int, max_seconds: int, parameters: Mapping[str, str] | None = None
    ) -> Frame:
        """The first ``max_rows`` rows; StoreSilent, QueryRefused.  Ended there when this is cancelled here."""
        manner = await self._learn()
        limits = {"limit": str(max_rows + 1), "max_execution_time": str(max_seconds)}
        fields = self._fields(manner, limits | _FORM) | _parameters(parameters)
        fields |= {"default_format": "JSONCompact", "wait_end_of_query": "1"}
        async with self._turn(kind), self._answer(sql, fields, _limit(max_seconds)) as answer:
            _same_form(answer, "JSONCompact")
            body = await self._whole(answer)
        try:
            return read_frame(body, answer.headers.get("X-ClickHouse-Timezone", manner.timezone), max_rows)
        except ValueError as error:
            raise QueryRefused(str(error)) from None

    @asynccontextmanager
    async def csv(
        self, sql: str, *, max_seconds: int, parameters: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """All rows as CSV with names, piece by piece; StoreSilent, QueryRefused, before the first and between."""
        manner = await self._learn()
        fields = self._fields(manner, {"max_execution_time": str(max_seconds)}) | _parameters(parameters)
        fields["default_format"] = "CSVWithNames"
        # No limit to the whole: a slow browser takes as long as it takes.
        limit = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=max_seconds + _GRACE_SECONDS)
        async with self._turn("sql"), self._answer(sql, fields, limit) as answer:
            _same_form(answer, "CSVWithNames")
            yield self._pieces(answer)

    async def _whole(self, answer: aiohttp.ClientResponse) -> bytes:
        found, size = [], 0
        async for piece in self._pieces(answer):
            size += len(piece)
            if size > MOST_BYTES:
                raise QueryRefused(f"the answer has more than {MOST_BYTES >> 20} MB: ask for fewer rows or columns")
            found.append(piece)
        return b"".join(found)

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in answer.content.iter_chunked(_CHUNK):
                yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(f"the answer broke off: {_told(error)}") from error

    async def _learn(self) -> _Manner:
        """What the account may set, asked once; StoreSilent, also when it could write and will not be stopped."""
        if self._manner is not None:
            return self._manner
        async with self._learning:
            for manner in _MANNERS if self._manner is None else ():
                fields = self._fields(manner, {**_FORM, "limit": "1"}) | {"default_format": "TSV"}
                sql = "SELECT timezone(), getSetting('readonly')"
                try:
                    async with self._answer(sql, fields, _limit(0)) as answer:
                        timezone, readonly = (await self._whole(answer)).decode().split()
                except QueryRefused as error:
                    if error.code in SETTING_CODES:
                        continue
                    raise self._silent(str(error)) from error
                if readonly == "0":
                    continue
                self._manner = _Manner(manner.chooses, manner.readonly, timezone)
                break
        if self._manner is None:
            raise self._silent(f"user {self._target.user!r} may write and not be made a reader: set console.store_user")
        return self._manner

    def _fields(self, manner: _Manner, chosen: Mapping[str, str]) -> dict[str, str]:
        fields = {"database": self._target.database}
        if manner.readonly:
            fields["readonly"] = "1"
        if manner.chooses:
            fields |= {"session_timezone": self._target.timezone, "cancel_http_readonly_queries_on_client_close": "1"}
            fields |= chosen
        return fields

    @asynccontextmanager
    async def _turn(self, kind: Kind) -> AsyncIterator[None]:
        if self._waiting[kind] >= MOST_WAITING:
            metrics.ASKED.labels(kind, "no turn").inc()
            raise StoreSilent(f"{MOST_WAITING} questions wait already; look again in a moment")
        began = time.monotonic()
        self._waiting[kind] += 1
        try:
            await self._turns[kind].acquire()
        finally:
            self._waiting[kind] -= 1
        outcome = "left"
        try:
            yield
            outcome = "ok"
        except StoreSilent:
            outcome = "silent"
            raise
        except QueryRefused:
            outcome = "refused"
            raise
        finally:
            self._turns[kind].release()
            metrics.ASKED.labels(kind, outcome).inc()
            metrics.SECONDS.observe(time.monotonic() - began)

    @asynccontextmanager
    async def _answer(
        self, sql: str, fields: Mapping[str, str], limit: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        answer = await self._post(sql, fields, limit)
        try:
            if answer.status != 200:
                self._refuse((await self._whole(answer)).decode(errors="replace"), answer.status)
            yield answer
        except BaseException:
            answer.close()  # not back to the pool: the store sees it and ends the query
            raise
        finally:
            answer.release()

    async def _post(self, sql: str, fields: Mapping[str, str], limit: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        session = self._open_session()
        for again in (True, False):
            try:
                return await session.post(f"{self._target.url}/", params=fields, data=sql.encode(), timeout=limit)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
                # A pooled connection that the other end had just closed; a question may be asked twice.
                if not again:
                    raise self._silent(_told(error)) from error
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self._silent(_told(error)) from error
        raise AssertionError("unreachable")

    def _refuse(self, body: str, status: int) -> None:
        found = CODE.search(body)
        code = int(found[1]) if found else 0
        if code in LOGIN_CODES:
            raise self._silent(f"it does not let {self._target.user!r} in ({plain(body)}): set console.store_user and"
                               " console.store_password")  # fmt: skip
        if not code:
            raise self._silent(f"status {status}: {body.strip()[:200]}")
        raise QueryRefused(plain(body), code)

    def _silent(self, why: str) -> StoreSilent:
        return StoreSilent(f"the store at {self._target.url} does not answer: {why}")

    def _open_session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "open() first"
        return self._session


def _same_form(answer: aiohttp.ClientResponse, form: str) -> None:
    if answer.headers.get("X-ClickHouse-Format", form) != form:
        raise QueryRefused("leave FORMAT out of the query: the console chooses it, and CSV is a button")


def _parameters(parameters: Mapping[str, str] | None) -> dict[str, str]:
    return {f"param_{name}": escaped(value) for name, value in (parameters or {}).items()}


def _limit(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds + _GRACE_SECONDS, sock_connect=_CONNECT_SECONDS)


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.os_error.strerror or error.os_error}; is it running?"
    return str(error) or type(error).__name__
