"""The accounting port: requests come in, go to the disk in groups, and are answered once they are there.

A thread with an event loop of its own.  One task moves datagrams into a bounded queue (asyncio-dgram's has no bound);
another takes what has gathered there while the last group was flushed, so that the more there is to do the larger the
groups are.  What is dropped is counted by reason and gets no answer: its sender tries again.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

import asyncio_dgram
import structlog
from asyncio_dgram.aio import DatagramServer

from enricher.radius import metrics
from enricher.radius.packet import Accounting, PacketError, answer, parse, verified
from enricher.radius.settings import ByPrefix, RadiusSettings
from sinks.listening import host_and_port
from sinks.telemetry import limited

log = structlog.get_logger("enricher.radius")

_RECEIVE_BYTES = 8 << 20  # of the kernel's buffer: a power cut brings all sessions of a BRAS back at once
_REMEMBERED = 65_536  # requests that are known when they come again
_CHORES_SECONDS = 1.0
_BREATH_SECONDS = 0.05  # between chores that would not end: requests come first
_PAUSE_SECONDS = 1.0  # after a disk failure

Sender = tuple[Any, ...]


class Request(NamedTuple):
    """A sound one, with what its answer needs."""

    record: Accounting
    attributes: bytes
    source: str
    arrived_ms: int


class _Waiting(NamedTuple):
    datagram: bytes
    sender: Sender
    source: str
    secret: bytes
    arrived_ms: int


class AccountingServer:
    """Calls ``write`` (on a thread of its own) and then ``take`` and ``chores`` on its event loop's thread."""

    def __init__(
        self, settings: RadiusSettings, secrets: Mapping[str, bytes], *,
        write: Callable[[Sequence[Request]], None], take: Callable[[Sequence[Request]], None],
        chores: Callable[[], bool], clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """``write`` returns when the requests are on the disk, OSError when they are not; OSError of a busy port.

        ``chores`` are asked for again at once while they say True: they are done in pieces.
        """
        self._settings, self._clients, self._clock = settings, ByPrefix(secrets), clock
        self._write, self._take, self._chores = write, take, chores
        self._queue: deque[_Waiting] = deque()
        self._remembered: dict[tuple[Sender, bytes], None] = {}
        self._socket = _bound(settings.listen)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.failure: str | None = None  # why requests cannot be answered now
        self._loop = asyncio.new_event_loop()
        self._filled, self._stop = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="radius", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what is in the queue and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            self.failure = f"accounting stopped: {error}"
            log.error("accounting stopped by an error", error=str(error), exc_info=True)

    async def _serve(self) -> None:
        stream = await asyncio_dgram.from_socket(self._socket)
        assert isinstance(stream, DatagramServer)  # what is bound and not connected
        work: list[Coroutine[Any, Any, None]] = [self._move(stream), self._commit(stream), self._keep()]
        tasks = [asyncio.create_task(each) for each in work]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            tasks[0].cancel()
            for task in done - {stopped}:
                task.result()
            self._filled.set()
            await tasks[1]
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            stream.close()

    async def _move(self, stream: DatagramServer) -> None:
        while True:
            try:
                datagram, sender = await stream.recv()
            except OSError:
                continue  # an error told by ICMP; it belongs to no request
            assert isinstance(sender, tuple)  # what every IP socket gives
            metrics.REQUESTS.inc()
            source = _source(sender[0])
            secret = self._clients.at(source)
            if secret is None:
                self._drop("unknown_client", source)
            elif len(self._queue) >= self._settings.queue:
                self._drop("queue_full", source)
            else:
                self._queue.append(_Waiting(datagram, sender, source, secret, int(self._clock() * 1000)))
                self._filled.set()

    async def _commit(self, stream: DatagramServer) -> None:
        while self._queue or not self._stop.is_set():
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                taken = [self._queue.popleft() for _ in range(min(len(self._queue), self._settings.group))]
                sound: list[_Waiting] = []
                fresh: dict[tuple[Sender, bytes], Request] = {}
                for each in taken:
                    # Identifier and authenticator: the same again is the same request, RFC 2866 section 3.
                    key = each.sender, each.datagram[1:20]
                    if key in self._remembered or key in fresh:
                        if not self._is_sound(each):
                            continue
                        metrics.RECORDS.labels("repeated").inc()
                    elif (request := self._read(each)) is not None:
                        fresh[key] = request
                    else:
                        continue
                    sound.append(each)
                if not await self._keep_safe(list(fresh.values()), len(sound)):
                    continue
                self._remember(fresh)
                for each in sound:
                    with contextlib.suppress(OSError):  # it asks again, and is told then
                        await stream.send(answer(each.datagram, each.secret), each.sender)
                metrics.ANSWERS.inc(len(sound))

    async def _keep_safe(self, requests: list[Request], waiting: int) -> bool:
        """Whether they are on the disk, and taken."""
        if requests:
            try:
                await asyncio.to_thread(self._write, requests)
            except OSError as error:
                self.failure = f"the journal cannot be written: {error.strerror}"
                metrics.DROPPED.labels("journal").inc(waiting)
                limited(log.error, "journal", "accounting journal cannot be written, nothing is answered",
                        error=str(error))  # fmt: skip
                await asyncio.sleep(_PAUSE_SECONDS)
                return False
            metrics.FLUSHES.inc()
            self.failure = None
            self._take(requests)
        return True

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_CHORES_SECONDS)
            while self._chores():
                await asyncio.sleep(_BREATH_SECONDS)

    def _read(self, waiting: _Waiting) -> Request | None:
        try:
            attributes = verified(waiting.datagram, waiting.secret)
            record = parse(attributes, waiting.source)
        except PacketError as error:
            self._drop(error.reason, waiting.source)
            return None
        for note in record.notes:
            metrics.NOTED.labels(note).inc()
        return Request(record, attributes, waiting.source, waiting.arrived_ms)

    def _is_sound(self, waiting: _Waiting) -> bool:
        """An authenticator that was seen is no proof: the attributes must be those that it was made of."""
        try:
            verified(waiting.datagram, waiting.secret)
        except PacketError as error:
            self._drop(error.reason, waiting.source)
            return False
        return True

    def _remember(self, fresh: Mapping[tuple[Sender, bytes], Request]) -> None:
        for key in fresh:
            self._remembered[key] = None
        while len(self._remembered) > _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _drop(self, reason: str, source: str) -> None:
        metrics.DROPPED.labels(reason).inc()
        limited(log.warning, (reason, source), "accounting request dropped", reason=reason, client=source)


def _source(host: str) -> str:
    """IPv4 as such, also on a socket of IPv6; a link-local address without its zone."""
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _bound(listen: str) -> socket.socket:
    host, port = host_and_port(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6 and host == "::":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
