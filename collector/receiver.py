"""UDP sockets -> datagrams: the thread that must never be late.

A socket with the kernel's default buffer of 212,992 bytes holds about 92 datagrams: 3 ms at 30,000 a second.  So the
reading thread does nothing but let the kernel move datagrams into slabs, and the thread that decodes takes a slab at
a time with ``read``.  Every queue is bounded: when no slab is free the reading stops, the kernel drops, and we count.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import structlog
from pydantic import Field

from collector import recvmmsg
from collector.datagrams import Datagrams
from collector.ledger import Ledger, Shape
from collector.recvmmsg import LARGEST, Addresses, Slab
from collector.sockets import BoundSocket
from sinks.settings import Part

log = structlog.get_logger()

# What the kernel charges a small datagram to the buffer (its truesize), so 212,992 bytes hold 92.
_CHARGED_BYTES = 2304
# A quiet socket with a small buffer must survive the first nap after exporters start: a load of this many datagrams
# a second may come at any moment.
_SUDDEN_RATE = 30_000
# A buffer that needs shorter naps than this is read by a call that stays in the kernel and takes each datagram as it
# comes: waking after a nap means waiting for the interpreter twice a nap, which a small buffer does not survive.
_SHORT_NAP = 0.002
_STAY_SECONDS = 0.01  # of such a call; also how long datagrams may wait for a decoder that is idle
_QUIET = struct.pack("@ll", 0, 5_000)  # struct timeval: such a call ends when nothing came for 5 ms
_SHORTEST_NAP = 0.000_1  # the kernel's timer slack is half of this; shorter naps only burn the processor
_GATHER_SECONDS = 0.05
"""How long the first datagram of a slab waits for others: few at a time cost the decoder several times more."""
_POLL_SECONDS = 0.5  # only bounds how late a missed wake-up would be noticed
_FAIR_SHARE = 4  # with several sockets, one may take this part of a slab before the next has its turn


class ReceiverSettings(Part):
    """How datagrams are read from the sockets."""

    listen: tuple[str, ...] = Field(
        ("0.0.0.0:2055", "0.0.0.0:4739", "0.0.0.0:6343"),
        description="HOST:PORT, [HOST]:PORT; busy: the next free one",
    )
    receiver: Literal["auto", "recvmmsg", "asyncio"] = Field("auto", description="auto: recvmmsg where there is one")
    buffer_bytes: int = Field(64 << 20, ge=4_608, le=1 << 31, description="asked of the kernel for each socket")
    slabs: int = Field(16, ge=3, le=1024, description="bound of what waits for the decoder: slabs x slots datagrams")
    slots: int = Field(1024, ge=16, le=1024, description="datagrams a slab; recvmmsg takes no more at once")
    slot_bytes: int = Field(9_216, ge=64, le=LARGEST, description="longest datagram; the first longer one widens it")
    max_nap_seconds: float = Field(0.005, gt=0, le=0.1, description="pause between two reads of a busy socket")
    switch_seconds: float = Field(
        0.000_5, gt=0, le=0.1, description="the decoder gives the interpreter up after this when a datagram waits"
    )


@dataclass(frozen=True, slots=True)
class ReceiverCounts:
    """Totals since start; ``dropped`` and ``kernel_drops`` never reached the decoder."""

    datagrams: int = 0  # read from the sockets
    octets: int = 0  # of their payloads, as far as they fitted
    reads: int = 0  # handed to the decoder
    truncated: int = 0  # longer than their slot; the sound part was kept
    stalls: int = 0  # times that reading stopped because no slab was free
    dropped: int = 0  # by us, reason receiver_queue_full (asyncio receiver only)


class ReceiverFailed(Exception):  # noqa: N818 - a state, told by its name
    """The reading thread ended by an error, which is the cause; start a new receiver."""


class Receiver(Protocol):
    """Reads sockets on a thread of its own; one other thread calls ``read``."""

    def start(self) -> None:
        """Begin to read."""
        ...

    def read(self, timeout_seconds: float) -> Datagrams | None:
        """What came since, oldest first; None: nothing within the timeout.

        The payloads are valid until the next call.  ReceiverFailed when the reading thread has died.
        """
        ...

    def handed(self) -> int:
        """Up to where the ledger's numbers go of what the last ``read`` gave: of a slab, or of datagrams."""
        ...

    def counts(self) -> ReceiverCounts:
        """Totals of this receiver."""
        ...

    def kernel_drops(self) -> dict[str, int]:
        """Datagrams dropped by the kernel since each socket was made, by ``BoundSocket.name``, modulo 2^32."""
        ...

    def stop(self) -> None:
        """Stop reading; what was read stays for ``read``, which gives None when all is handed over."""
        ...


def ledger_shape(settings: ReceiverSettings) -> Shape:
    """What the ledger of the receiver of these settings must hold."""
    if settings.receiver == "asyncio" or not recvmmsg.available():
        return Shape()
    message = recvmmsg.MESSAGE
    assert message.fields is not None
    return Shape(settings.slabs, settings.slots, message.itemsize, message.fields["length"][1])


def make_receiver(sockets: Sequence[BoundSocket], settings: ReceiverSettings, ledger: Ledger | None = None) -> Receiver:
    """The receiver of the settings, or the best of this platform; it does not own the sockets.

    ``ledger`` has the ``ledger_shape`` of the settings; without one, nobody knows what a kill loses.
    """
    ledger = ledger or Ledger.anonymous(ledger_shape(settings))
    if settings.receiver == "recvmmsg" and not recvmmsg.available():
        raise ReceiverFailed('receiver = "recvmmsg" needs Linux; set receiver = "auto" or "asyncio"')
    if settings.receiver == "asyncio" or not recvmmsg.available():
        from collector.asyncio_receiver import AsyncioReceiver

        return AsyncioReceiver(sockets, settings, ledger)
    return SlabReceiver(sockets, settings, ledger)


def nap_seconds(capacity: float, rate: float, longest: float) -> float:
    """How long a socket may be left alone: a quarter of the time its buffer lasts, so three late wake-ups lose nothing.

    ``capacity`` in datagrams, ``rate`` in datagrams a second; never so long that a sudden 30,000 a second would fill
    more than half of the buffer.
    """
    nap = min(longest, capacity / (4 * max(rate, 1.0)), capacity / (2 * _SUDDEN_RATE))
    return max(nap, _SHORTEST_NAP)


class SlabReceiver:
    """``recvmmsg`` into slabs.

    Slabs go round: free -> filling (reading thread) -> full -> reading (decoder's thread) -> free.  The filling slab
    is handed over when it is full, or when the decoder waits and its first datagram came _GATHER_SECONDS ago.
    """

    def __init__(
        self, sockets: Sequence[BoundSocket], settings: ReceiverSettings, ledger: Ledger | None = None
    ) -> None:
        self._sockets, self._settings = sockets, settings
        self._ledger = ledger or Ledger.anonymous(ledger_shape(settings))
        self._slot_bytes = settings.slot_bytes
        self._taken = self._handed = 0  # serial numbers: of the last slab begun, of the last handed to the decoder
        # Memory is touched only as far as it is needed: the last slab freed is the first used again.
        self._free = [self._new_slab(place) for place in range(settings.slabs)]
        self._full: deque[Slab] = deque()
        self._reading: Slab | None = None
        self._changed = threading.Condition()
        self._hungry = False
        self._stopping = self._ended = False
        self._sleeping = False  # in poll(), to be woken through the pipe
        self._failure: BaseException | None = None
        self._counts = ReceiverCounts()
        self._addresses = Addresses()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)

    def start(self) -> None:
        """Begin to read; makes the interpreter switch threads as often as the settings say."""
        # At the default of 5 ms a decoding thread keeps the interpreter for longer than a small buffer lasts.
        sys.setswitchinterval(min(sys.getswitchinterval(), self._settings.switch_seconds))
        self._thread.start()

    def read(self, timeout_seconds: float) -> Datagrams | None:
        """As ``Receiver.read``: up to one slab of datagrams."""
        with self._changed:
            if self._reading is not None:
                self._recycle(self._reading)
                self._reading = None
            if not self._full and not self._ended:
                self._hungry = True
                if self._sleeping:
                    self._wake()
                self._changed.wait_for(lambda: self._full or self._ended, timeout_seconds)
                self._hungry = False
            if not self._full:
                if self._failure is not None:
                    raise ReceiverFailed(f"reading stopped: {self._failure}") from self._failure
                return None
            slab = self._reading = self._full.popleft()
            self._handed = slab.serial
            counts = self._counts
            self._counts = replace(
                counts,
                datagrams=counts.datagrams + slab.count,
                octets=counts.octets + slab.octets(),
                reads=counts.reads + 1,
                truncated=counts.truncated + slab.truncated(),
            )
        return slab.datagrams(self._addresses)

    def handed(self) -> int:
        """As ``Receiver.handed``: the number of the slab."""
        return self._handed

    def counts(self) -> ReceiverCounts:
        """As ``Receiver.counts``; what waits in slabs is not counted yet."""
        return self._counts

    def kernel_drops(self) -> dict[str, int]:
        """As ``Receiver.kernel_drops``."""
        return {bound.name: bound.kernel_drops() for bound in self._sockets}

    def stop(self) -> None:
        """As ``Receiver.stop``; returns when the reading thread has ended."""
        if self._wake_in < 0:
            return
        self._stopping = True
        self._wake()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        with self._changed:
            self._ended = True
        os.close(self._wake_in)
        os.close(self._wake_out)
        self._wake_in = self._wake_out = -1

    def _run(self) -> None:
        try:
            _prefer_this_thread()
            self._read_until_stopped()
        except BaseException as error:
            log.error("receiver stopped by an error", error=str(error))
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_until_stopped(self) -> None:
        poll = select.poll()
        poll.register(self._wake_out, select.POLLIN)
        for bound in self._sockets:
            poll.register(bound.fileno(), select.POLLIN)
            bound.udp.setblocking(True)
            bound.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _QUIET)
        fds = deque(bound.fileno() for bound in self._sockets)
        share = self._settings.slots if len(fds) == 1 else self._settings.slots // _FAIR_SHARE
        capacity = min(bound.granted_bytes for bound in self._sockets) / _CHARGED_BYTES
        longest = self._settings.max_nap_seconds
        rate, before, came, wait = float(_SUDDEN_RATE), time.monotonic(), 0, 0.0
        slab, since = self._take_free(), 0.0  # when its first datagram came
        while slab is not None and not self._stopping:
            more, came_now = False, 0
            for fd in fds:
                got = slab.fill(fd, share, wait)
                came_now += got
                more |= got == share
            if len(fds) > 1:
                fds.rotate(-1)  # the first to be read has the most room
            now = time.monotonic()
            if came_now:
                slab.filled_ms = time.time_ns() // 1_000_000
                since = since or now
            if slab.room() == 0 or (self._hungry and slab.count and now - since >= _GATHER_SECONDS):
                more |= slab.room() == 0
                slab, since = self._hand_over(slab), 0.0
            came += came_now
            if more or slab is None:
                continue
            if not came_now:
                self._sleep(poll, since + _GATHER_SECONDS - now if slab.count else _POLL_SECONDS)
                wait = 0.0
                continue
            # A falling rate is believed slowly, a rising one at once.
            rate, before, came = max(came / max(now - before, 1e-6), rate * 0.9), now, 0
            nap = nap_seconds(capacity, rate, longest)
            # Several sockets cannot be waited for in one call: they keep to naps, however short.
            wait = _STAY_SECONDS if nap < _SHORT_NAP and len(fds) == 1 else 0.0
            if not wait:
                time.sleep(nap)
        if slab is not None and slab.count:
            with self._changed:
                self._full.append(slab)

    def _sleep(self, poll: select.poll, seconds: float) -> None:
        """Until a datagram comes, the decoder waits or, when it waits already, for so long."""
        self._sleeping = True
        # Asked after the flag is up: a decoder that became hungry before it does not wake us.
        if not self._stopping:
            poll.poll(max(0.0, seconds if self._hungry else _POLL_SECONDS) * 1000)
        self._sleeping = False
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_out, 4096)

    def _hand_over(self, slab: Slab) -> Slab | None:
        if self._slot_bytes < LARGEST and slab.truncated():
            # Its exporter needs wide slots, and whose datagram comes next is not known before it is read.
            self._slot_bytes = LARGEST
            log.warning("a datagram was longer than its slot: slots are widened", slot_bytes=LARGEST)
        with self._changed:
            self._full.append(slab)
            self._changed.notify()
        return self._take_free()

    def _take_free(self) -> Slab | None:
        """A slab to fill; waits for one, None: stopping."""
        with self._changed:
            if not self._free:
                self._counts = replace(self._counts, stalls=self._counts.stalls + 1)
                self._changed.wait_for(lambda: self._free or self._stopping)
            if not self._free:
                return None
            slab = self._free.pop()
        if slab.slot_bytes != self._slot_bytes:
            slab = self._new_slab(slab.place)
        self._taken += 1
        slab.serial = self._taken
        self._ledger.filling(slab.place, slab.serial)
        return slab

    def _recycle(self, slab: Slab) -> None:
        slab.clear()
        self._free.append(slab)
        if len(self._free) == 1:
            self._changed.notify()  # the reading thread may wait for it

    def _new_slab(self, place: int) -> Slab:
        settings = self._settings
        messages = self._ledger.messages(place, recvmmsg.MESSAGE)
        return Slab(settings.slots, self._slot_bytes, settings.slots * settings.slot_bytes, place, messages)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_in, b"!")


def _prefer_this_thread() -> None:
    """Let the reading thread run as soon as it wants to, where the system allows it (CAP_SYS_NICE, RLIMIT_RTPRIO).

    Without it a thread that wakes waits for the time slice of others, some 3 ms, on a busy machine.  It does not
    starve the decoder for long: with no slab free it stops.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
