"""Answers on their way from the thread that runs a query to the connection that wants them.

What fits into ``HELD`` bytes is answered as a whole, with a status that is true.  More is sent as the engine makes it:
the query goes on only as the client reads, so memory stays flat; an error then can only end the connection.
"""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sinks import StoreRefused, StoreUnavailable

HELD = 4 << 20
"""Bytes of an answer that are held before the first is sent: most panels' answers are whole."""
SEND_SECONDS = 30.0
"""A client that takes nothing for this long holds one of few threads: it is let go."""

_LOOK_SECONDS = 0.2  # how soon a thread notices that nobody waits, and how often an unheard cancellation is repeated
_LONGEST_SECONDS = 5.0  # an insert is waited for, not ended

Head = TypeVar("Head")
Query = Callable[[], tuple[Head, Generator[bytes, None, None]]]
"""Gives what is known before the first byte, and the pieces."""


class Gone(Exception):  # noqa: N818 - a state, told by its name
    """Nobody waits for the answer any more."""


@dataclass(slots=True)
class Started(Generic[Head]):
    """An answer of which the first bytes are there; ``whole``: and the last."""

    head: Head
    first: bytes
    whole: bool


@dataclass(slots=True)
class Outlet(Generic[Head]):
    """One query's way to its client; ``run`` on a thread, all else in the event loop."""

    loop: asyncio.AbstractEventLoop
    held: int = HELD
    gone: threading.Event = field(default_factory=threading.Event)
    pieces: "asyncio.Queue[bytes | Exception | None]" = field(default_factory=lambda: asyncio.Queue(1))
    _started: "asyncio.Future[Started[Head]] | None" = None
    _work: "Future[None] | None" = None

    def begin(self, pool: Executor, query: "Query[Head]") -> None:
        """Let the pool run ``query``: it returns what is known before the first byte, and the pieces."""
        self._started = self.loop.create_future()
        self._work = pool.submit(self._run, query)

    async def started(self) -> Started[Head]:
        """The answer's beginning; raises what the query raised."""
        assert self._started is not None
        return await asyncio.shield(self._started)

    def leave(self) -> None:
        """Nobody waits any more."""
        self.gone.set()
        if self._work is not None:
            self._work.cancel()  # where it has not begun

    @property
    def ended(self) -> bool:
        """Whether no thread works on it."""
        return self._work is None or self._work.done()

    def _run(self, query: "Query[Head]") -> None:
        begun = False
        try:
            head, made = query()
            with closing(made) as pieces:
                held: list[bytes] = []
                size = 0
                for piece in pieces:
                    if self.gone.is_set():
                        raise Gone
                    if begun:
                        self._send(piece)
                        continue
                    held.append(piece)
                    size += len(piece)
                    if size > self.held:
                        self._tell(Started(head, b"".join(held), whole=False))
                        begun, held = True, []
            if begun:
                self._send(None)
            else:
                self._tell(Started(head, b"".join(held), whole=True))
        except Gone:
            pass
        except Exception as problem:
            if begun:
                with suppress(Gone):
                    self._send(problem)
            else:
                self._tell(problem)

    def _tell(self, what: Started[Head] | Exception) -> None:
        def tell() -> None:
            if self._started is None or self._started.done():
                return
            if isinstance(what, Exception):
                self._started.set_exception(what)
                self._started.exception()  # looked at here: where nobody waits it is no news
            else:
                self._started.set_result(what)

        with suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(tell)

    def _send(self, piece: bytes | Exception | None) -> None:
        put = asyncio.run_coroutine_threadsafe(self.pieces.put(piece), self.loop)
        waited = 0.0
        while True:
            try:
                return put.result(_LOOK_SECONDS)
            except NotYet:
                waited += _LOOK_SECONDS
                if self.gone.is_set() or waited > SEND_SECONDS:
                    put.cancel()
                    raise Gone from None
            except CancelledError:
                raise Gone from None


class StreamedResponse(Response):
    """An answer sent piece by piece; after an error it ends without its last chunk, so that nobody takes it for whole.

    The server writes the error as text at the end of what it has sent, and breaks the connection off; so do we.
    """

    def __init__(
        self,
        outlet: Outlet[Head],
        first: bytes,
        headers: dict[str, str],
        worded: Callable[[Exception], bytes],
        cancel: Callable[[], object],
    ) -> None:
        """``worded`` gives the bytes that tell of an error; ``cancel`` as of ``until``."""
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self._outlet, self._first, self._worded, self._cancel = outlet, first, worded, cancel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the last piece, an error, or the client is gone."""
        watching = asyncio.ensure_future(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            piece: bytes | Exception | None = self._first
            while isinstance(piece, bytes):
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                taking = asyncio.ensure_future(self._outlet.pieces.get())
                await asyncio.wait({taking, watching}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    await _end(self._outlet, self._cancel)
                    return
                piece = taking.result()
            if piece is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await send({"type": "http.response.body", "body": self._worded(piece), "more_body": True})
        finally:
            watching.cancel()
            self._outlet.leave()


async def _end(outlet: Outlet[Head], cancel: Callable[[], object]) -> None:
    outlet.leave()
    pause = _LOOK_SECONDS
    while not outlet.ended:
        with suppress(StoreUnavailable, StoreRefused):  # tried again
            await asyncio.get_running_loop().run_in_executor(None, cancel)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_SECONDS)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def until(outlet: Outlet[Head], receive: Receive, cancel: Callable[[], object]) -> Started[Head] | None:
    """The answer's beginning; None when the client went away before, and then ``cancel`` has ended the query.

    ``cancel`` is called, on a thread, until the query has ended: it may come before the engine knows the query.
    """
    starting = asyncio.ensure_future(outlet.started())
    watching = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({starting, watching}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            return starting.result()
        await _end(outlet, cancel)
        return None
    finally:
        starting.cancel()
        watching.cancel()
