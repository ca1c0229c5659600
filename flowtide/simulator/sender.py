"""How the simulated exporters send: many datagrams a system call, in bursts that a default receive buffer holds.

``Sender`` sends what it is given.  ``LineRate`` sends datagrams built before round and round, as fast as it is called,
with sequence numbers and times put right in place.
"""

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.encoder import VARIABLE, Template, Version, header_octets
from flowtide.simulator.kinds import KINDS
from flowtide.simulator.scenario import ExporterPlan, Protocol
from flowtide.simulator.templates import Templates
from flowtide.simulator.wire import Wire

_BURST = 16  # datagrams between two breaths; a default receive buffer holds about 92
_BREATH_SECONDS = 0.001
_UPTIME_MS = 86_400_000  # of an exporter at line rate, when its datagrams are built
_SEQUENCE_AT = {"netflow5": 16, "netflow9": 12, "ipfix": 8}  # offsets in the header


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_size_t), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_size_t), ("name_length", ctypes.c_uint32), ("iov", ctypes.c_size_t),
        ("iov_length", ctypes.c_size_t), ("control", ctypes.c_size_t), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _MMsgHdr(ctypes.Structure):
    # Nested as in C: the inner structure's padding is part of it.
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


# Absent where there is no such call (macOS): datagrams then go one by one.
_sendmmsg = getattr(ctypes.CDLL(None, use_errno=True), "sendmmsg", None)


class _Messages:
    """Places for so many datagrams of one ``sendmmsg``."""

    def __init__(self, count: int) -> None:
        self._vectors = (_IoVec * count)()
        self._headers = (_MMsgHdr * count)()
        for at in range(count):
            self._headers[at].header.iov = ctypes.addressof(self._vectors) + at * ctypes.sizeof(_IoVec)
            self._headers[at].header.iov_length = 1

    def put(self, at: int, address: int, octets: int) -> None:
        self._vectors[at].base, self._vectors[at].length = address, octets

    def send(self, descriptor: int, begin: int, count: int) -> int:
        """How many of ``count`` were sent; OSError where none was."""
        assert _sendmmsg is not None
        address = ctypes.addressof(self._headers) + begin * ctypes.sizeof(_MMsgHdr)
        sent = int(_sendmmsg(descriptor, ctypes.c_void_p(address), count, 0))
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent


class Sender:
    """One exporter's socket, connected to where it sends."""

    def __init__(
        self,
        source: str,
        to: tuple[str, int],
        *,
        allow_remote: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``source``: address the datagrams come from where ``to`` is of the loopback; ``to``: a host as a number.

        ValueError: ``to`` is not of the loopback, and ``allow_remote`` does not say that this is meant.
        """
        self._socket = connected(source, to, allow_remote=allow_remote)
        self._pause = pause
        self._messages = _Messages(_BURST) if _sendmmsg is not None else None
        self._since_breath = 0

    @property
    def source(self) -> str:
        """Address that a reader sees."""
        address: str = self._socket.getsockname()[0]
        return address

    def send(self, datagrams: Sequence[bytes]) -> int:
        """Send all and return their number; an exporter does not learn whether anybody listens."""
        at = 0
        while at < len(datagrams):
            burst = datagrams[at : at + _BURST - self._since_breath]
            self._send(burst)
            at += len(burst)
            self._since_breath += len(burst)
            if self._since_breath >= _BURST:
                self._since_breath = 0
                self._pause(_BREATH_SECONDS)
        return at

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    def _send(self, burst: Sequence[bytes]) -> None:
        messages = self._messages
        if messages is None:
            for datagram in burst:
                # Nobody listening yet is told by ICMP, for an earlier datagram.
                with contextlib.suppress(ConnectionRefusedError):
                    self._socket.send(datagram)
            return
        for place, datagram in enumerate(burst):
            messages.put(place, ctypes.cast(ctypes.c_char_p(datagram), ctypes.c_void_p).value or 0, len(datagram))
        sent = 0
        while sent < len(burst):
            # The error is of an earlier datagram, and taken back by telling it.
            with contextlib.suppress(ConnectionRefusedError):
                sent += messages.send(self._socket.fileno(), sent, len(burst) - sent)


@dataclass(slots=True)
class Totals:
    """What was sent; announcements are datagrams without flows."""

    datagrams: int = 0
    flows: int = 0
    packets: int = 0
    octets: int = 0


class Ring:
    """Datagrams built before, sent round and round with new sequence numbers and times."""

    def __init__(
        self, source: str, to: tuple[str, int], built: Sequence[bytes], flows: Sequence[NDArray[np.void]],
        protocol: Protocol, templates: Mapping[int, Template], second: int, *, allow_remote: bool = False,
    ) -> None:  # fmt: skip
        """``flows`` (dtype ``flow.FLOW``): those of each datagram, built at Unix ``second``.

        ``templates``: the flow templates by id, to find the records' times; NetFlow v5 has none.
        """
        self.sequence = 0
        self._announced = 0
        self._sent = np.zeros(len(built), np.int64)  # how often each
        self._records = np.array([len(part) for part in flows])
        self._packets = np.array([part["packets"].sum() for part in flows])
        self._octets = np.array([part["octets"].sum() for part in flows])
        of_kind = [np.bincount(part["kind"], part["octets"], len(KINDS)) for part in flows]
        self._octets_of_kind = np.array(of_kind).astype(np.int64)
        self._ring = np.frombuffer(b"".join(built), np.uint8).copy()
        sizes = np.array([len(datagram) for datagram in built])
        begins = np.cumsum(sizes) - sizes
        self._begins, self._at = begins, 0
        self._sizes = sizes
        self._sequences = (begins + _SEQUENCE_AT[protocol])[:, None] + np.arange(4)
        # NetFlow v9 numbers its messages, the others their records.
        self._steps = np.ones(len(built), np.int64) if protocol == "netflow9" else self._records
        self._times = _times(protocol, templates, built, begins)
        self._second = second
        self._socket = connected(source, to, allow_remote=allow_remote)
        self._messages = _Messages(len(built))
        for at, (begin, size) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
            self._messages.put(at, self._ring.ctypes.data + begin, size)

    @property
    def source(self) -> str:
        """Address that a reader sees."""
        address: str = self._socket.getsockname()[0]
        return address

    @property
    def totals(self) -> Totals:
        """All that was sent."""
        sent = self._sent
        return Totals(
            self._announced + int(sent.sum()), int(sent @ self._records), int(sent @ self._packets),
            int(sent @ self._octets),
        )  # fmt: skip

    def octets_by_bucket(self) -> dict[str, int]:
        """Octets sent by service bucket, as the enricher names it."""
        found: dict[str, int] = {}
        for kind, octets in zip(KINDS, (self._sent @ self._octets_of_kind).tolist(), strict=True):
            found[kind.bucket] = found.get(kind.bucket, 0) + octets
        return {bucket: octets for bucket, octets in found.items() if octets}

    def tell(self, datagrams: Sequence[bytes]) -> None:
        """Send these once, as they are."""
        for datagram in datagrams:
            with contextlib.suppress(ConnectionRefusedError):
                self._socket.send(datagram)
            self._announced += 1

    def send(self, count: int, now: float) -> int:
        """So many datagrams, at most as many as the ring has behind the present place; how many were sent."""
        count = min(count, len(self._begins) - self._at)
        self._number(count)
        if int(now) != self._second:
            self._move_times(int(now))
        try:
            sent = self._send(count)
        except ConnectionRefusedError:
            # The other end is away for a moment (a trial kills it): ICMP told so, nothing was sent.
            return 0
        chosen = slice(self._at, self._at + sent)
        self._sent[chosen] += 1
        self.sequence = (self.sequence + int(self._steps[chosen].sum())) % 2**32
        self._at = (self._at + sent) % len(self._begins)
        return sent

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    def _send(self, count: int) -> int:
        if _sendmmsg is not None:
            return self._messages.send(self._socket.fileno(), self._at, count)
        begin, size = self._begins[self._at], self._sizes[self._at]
        self._socket.send(self._ring[begin : begin + size].data)
        return 1

    def _number(self, count: int) -> None:
        steps = self._steps[self._at : self._at + count]
        numbers = ((self.sequence + np.cumsum(steps) - steps) % 2**32).astype(">u4")
        self._ring[self._sequences[self._at : self._at + count]] = numbers.view(np.uint8).reshape(-1, 4)

    def _move_times(self, second: int) -> None:
        seconds = second - self._second
        for (width, unit), places in self._times.items():
            at = places[:, None] + np.arange(width)
            values = self._ring[at].view(f">u{width}").astype(np.int64) + seconds * unit
            self._ring[at] = values.astype(f">u{width}").view(np.uint8).reshape(at.shape)
        self._second = second


class LineRate(Ring):
    """A ring of datagrams of NetFlow v5, v9 or IPFIX (fixed or variable records), so many flows each."""

    def __init__(
        self,
        plan: ExporterPlan,
        to: tuple[str, int],
        flows: NDArray[np.void],
        records: int,
        now: float,
        *,
        allow_remote: bool = False,
    ) -> None:
        """``flows`` (dtype ``flow.FLOW``, exported at Unix seconds ``now``): as many whole datagrams as they fill.

        ValueError: so many records are not one datagram, or the protocol's datagrams cannot be put right.
        """
        if plan.protocol == "sflow" or plan.form == "biflow":
            raise ValueError(f"{plan.protocol} of the form {plan.form} is not sent at line rate")
        now_ms = int(now * 1000)
        self._wire = Wire.of(plan, plan.domains[0], now_ms - _UPTIME_MS)
        parts = [flows[at : at + records] for at in range(0, len(flows) - records + 1, records)]
        built = [datagram for part in parts for datagram in self._wire.datagrams(part, now_ms)]
        if not built or len(built) != len(parts):
            raise ValueError(f"{records} records of {len(flows)} flows are not one datagram of {plan.protocol}")
        templates: dict[int, Template] = {}
        if plan.protocol != "netflow5":
            found = Templates.of(9 if plan.protocol == "netflow9" else 10, plan.form)
            templates = {each.template_id: each for each in (found.v4, found.v6)}
        super().__init__(
            plan.source, to, built, parts, plan.protocol, templates, now_ms // 1000, allow_remote=allow_remote
        )

    def announce(self, now: float) -> None:
        """Send templates, sampling interval and names, as the plan has them."""
        self._wire.sequence = self.sequence
        self.tell(self._wire.announcements(int(now * 1000)))
        self.sequence = self._wire.sequence


def connected(source: str, to: tuple[str, int], *, allow_remote: bool) -> socket.socket:
    """A socket from ``source`` to a host of the loopback, or from this machine's own address to another."""
    address = ip_address(to[0])
    if not address.is_loopback and not allow_remote:
        raise ValueError(f"{to[0]} is not of the loopback: simulated flows would go to another machine")
    made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        if address.is_loopback:
            # Where only 127.0.0.1 exists (macOS) the exporters share it and are told apart by their domains.
            with contextlib.suppress(OSError):
                made.bind((source, 0))
        made.connect(to)
    except OSError:
        made.close()
        raise
    return made


def _times(
    protocol: Protocol, templates: Mapping[int, Template], built: Sequence[bytes], begins: NDArray[np.int64]
) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Places in the ring that move with the clock, by their octets and what a second is there."""
    places: dict[tuple[int, int], list[int]] = {}
    for datagram, begin in zip(built, begins.tolist(), strict=True):
        for width, unit, at in _clocks(protocol, templates, datagram):
            places.setdefault((width, unit), []).append(begin + at)
    return {key: np.array(found) for key, found in places.items()}


def _clocks(protocol: Protocol, templates: Mapping[int, Template], datagram: bytes) -> Iterator[tuple[int, int, int]]:
    """Width, unit and offset of each: RFC 3954 section 5.1, RFC 7011 section 3.1, Cisco's v5 header."""
    if protocol == "netflow5":
        yield from ((4, 1000, 4), (4, 1, 8))
        for record in range(24, len(datagram), 48):
            yield from ((4, 1000, record + 24), (4, 1000, record + 28))
        return
    version: Version = 9 if protocol == "netflow9" else 10
    yield from ((4, 1000, 4), (4, 1, 8)) if version == 9 else ((4, 1, 4),)
    elements, width = ((22, 21), 4) if version == 9 else ((152, 153), 8)
    at = header_octets(version)
    while at < len(datagram):
        set_id, length = struct.unpack_from(">HH", datagram, at)
        template = templates[set_id]
        for record, moved in _records(template, datagram, at + 4, at + length):
            # ``moved``: what is behind a field of variable length lies so much nearer.
            yield from ((width, 1000, record + template.offset(element) - moved) for element in elements)
        at += length


def _records(template: Template, datagram: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each record begins, and how many octets of its variable field's room it does not use."""
    size, room = template.dtype.itemsize, 0
    variable = [field[0] for field in template.fields if field[1] == VARIABLE]
    while at + size - template.room * bool(variable) <= end:
        if variable:
            place = at + template.offset(variable[0])
            short = datagram[place] < 255
            room = template.room - (1 + datagram[place] if short else 3 + datagram[place + 2])
        yield at, room
        at += size - room
