"""The portable receiver: asyncio-dgram where there is no ``recvmmsg`` (macOS), behind the same interface.

A datagram costs it some 20 us instead of one.  asyncio-dgram's own queue has no bound, so one task a socket moves
datagrams into ours, and drops and counts when that is full (reason ``receiver_queue_full``).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence

import asyncio_dgram
import structlog
from asyncio_dgram.aio import DatagramStream

from collector.datagrams import Datagrams
from collector.ledger import Ledger
from collector.receiver import ReceiverCounts, ReceiverFailed, ReceiverSettings
from collector.recvmmsg import normalised
from collector.sockets import BoundSocket

log = structlog.get_logger()

_MAX_INTERNED = 65_536  # exporter addresses; a flood of spoofed ones must not grow without end


class AsyncioReceiver:
    """An event loop on a thread of its own fills a bounded queue; ``read`` empties it."""

    def __init__(
        self, sockets: Sequence[BoundSocket], settings: ReceiverSettings, ledger: Ledger | None = None
    ) -> None:
        """What the ledger tells after a kill lacks the datagrams in asyncio-dgram's own queue."""
        self._sockets = sockets
        self._ledger = ledger or Ledger.anonymous()
        self._queued = 0
        self._most = settings.slabs * settings.slots
        self._group = settings.slots
        self._queue: deque[tuple[bytes, str]] = deque()
        self._changed = threading.Condition()
        self._hungry = False
        self._ended = False
        self._failure: BaseException | None = None
        self._dropped = 0
        self._counts = ReceiverCounts()
        self._addresses: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def read(self, timeout_seconds: float) -> Datagrams | None:
        """As ``Receiver.read``: up to ``slots`` datagrams."""
        with self._changed:
            if not self._queue and not self._ended:
                self._hungry = True
                self._changed.wait_for(lambda: self._queue or self._ended, timeout_seconds)
                self._hungry = False
            if not self._queue:
                if self._failure is not None:
                    raise ReceiverFailed(f"reading stopped: {self._failure}") from self._failure
                return None
            taken = [self._queue.popleft() for _ in range(min(self._group, len(self._queue)))]
        payloads = [memoryview(payload) for payload, _ in taken]
        counts = self._counts
        self._counts = ReceiverCounts(
            datagrams=counts.datagrams + len(taken),
            octets=counts.octets + sum(map(len, payloads)),
            reads=counts.reads + 1,
            dropped=self._dropped,
        )
        return Datagrams([address for _, address in taken], payloads, time.time_ns() // 1_000_000)

    def handed(self) -> int:
        """As ``Receiver.handed``: the number of datagrams."""
        return self._counts.datagrams

    def counts(self) -> ReceiverCounts:
        """As ``Receiver.counts``."""
        counts = self._counts
        return ReceiverCounts(counts.datagrams, counts.octets, counts.reads, dropped=self._dropped)

    def kernel_drops(self) -> dict[str, int]:
        """As ``Receiver.kernel_drops``; 0 where the kernel does not tell (not Linux)."""
        return {bound.name: bound.kernel_drops() for bound in self._sockets}

    def stop(self) -> None:
        """As ``Receiver.stop``; returns when the reading thread has ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        with self._changed:
            self._ended = True

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._receive())
        except BaseException as error:
            log.error("receiver stopped by an error", error=str(error))
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _receive(self) -> None:
        # A duplicate each: closing a stream closes its socket, and ours belongs to the caller.
        streams = [await asyncio_dgram.from_socket(bound.udp.dup()) for bound in self._sockets]
        tasks = [asyncio.create_task(self._move(stream)) for stream in streams]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            for stream in streams:
                stream.close()

    async def _move(self, stream: DatagramStream) -> None:
        while True:
            try:
                payload, address = await stream.recv()
            except OSError:
                continue  # an error told by ICMP; it belongs to no datagram of ours
            if len(self._queue) >= self._most:
                self._dropped += 1
                continue
            assert isinstance(address, tuple)  # what every IP socket gives
            self._queued += 1
            self._ledger.queued(self._queued)
            self._queue.append((payload, self._text(address[0])))
            if self._hungry:
                with self._changed:
                    self._changed.notify()

    def _text(self, host: str) -> str:
        text = self._addresses.get(host)
        if text is None:
            if len(self._addresses) >= _MAX_INTERNED:
                self._addresses.clear()
            text = self._addresses[host] = normalised(host)
        return text
