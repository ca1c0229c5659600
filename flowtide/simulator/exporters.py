"""Three exporters of the simulated network, and the clockwork by which they send."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.curves import load
from flowtide.simulator.encoder import MessageEncoder, Version
from flowtide.simulator.population import populations
from flowtide.simulator.templates import announcements, flow_sets, interface_names
from flowtide.simulator.traffic import KINDS, Traffic

_ANNOUNCE_SECONDS = 10.0  # a collector that starts later waits no longer for templates
_TICK_SECONDS = 0.02
_CATCH_UP_SECONDS = 1.0  # after a pause longer than this the rest is not sent: a burst would only be dropped
_BURST = 16  # datagrams of an exporter between two breaths; a default receive buffer holds about 92
_BREATH_SECONDS = 0.001
_UPTIME_MS = 86_400_000  # the exporters booted a day before the first flow
_RECORDS: dict[Version, int] = {9: 28, 10: 18}  # flows a datagram, within 1,472 octets for IPv4


@dataclass(frozen=True, slots=True)
class ExporterPlan:
    """What one exporter is; ``says`` is the sampling interval it tells by options, None: nothing."""

    source: str  # loopback address its datagrams come from
    service: str
    version: Version
    domain: int
    sampling: int
    says: int | None
    share: float  # of all flows; chosen so that their estimated octets are of one order


PLANS = (
    ExporterPlan("127.0.0.2", "fixed", 9, 10, 100, 100, 0.5),
    ExporterPlan("127.0.0.3", "fixed", 9, 20, 1, None, 0.4),
    ExporterPlan("127.0.0.4", "mobile", 10, 30, 1000, 1000, 0.1),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """Totals as exported; times ``sampling`` they are estimates."""

    exporter: str
    bucket: str
    sampling: int
    flows: int
    packets: int
    octets: int


def records_a_datagram(version: Version) -> int:
    """Flows that an exporter puts into a full datagram."""
    return _RECORDS[version]


class SimulatedNetwork:
    """Sends the flows of all exporters when they are due, and remembers what it sent."""

    def __init__(
        self,
        seed: int,
        flows_per_second: float,
        to: Sequence[tuple[str, int]],
        *,
        daily_curve: bool = True,
        utc_offset_seconds: int = 0,
    ) -> None:
        """``flows_per_second``: mean over a week with the curve, else constant; ``to``: hosts as numbers, in turn."""
        people = populations(seed)
        self._exporters = [
            _Exporter(plan, Traffic(plan.service, people[plan.service], plan.sampling, (seed, 2, at)), to[at % len(to)])
            for at, plan in enumerate(PLANS)
        ]
        self._rate, self._curve, self._offset = flows_per_second, daily_curve, utc_offset_seconds
        self._last: float | None = None

    @property
    def exporters(self) -> tuple[str, ...]:
        """The source addresses as a collector sees them."""
        return tuple(exporter.source for exporter in self._exporters)

    def send(self, now: float) -> int:
        """Send what is due at Unix seconds ``now`` and return its flows; the first call announces and sends none.

        After more than a second without a call the rest of that time's flows are left out.  A clock set back sends
        nothing until it is past the last call.
        """
        elapsed = 0.0 if self._last is None else min(now - self._last, _CATCH_UP_SECONDS)
        if self._last is not None and elapsed <= 0:
            return 0
        self._last = now
        return sum(
            exporter.send(self._rate * exporter.plan.share * self._load(exporter.plan.service, now) * elapsed, now)
            for exporter in self._exporters
        )

    def run(self, for_seconds: float, stop: threading.Event) -> int:
        """Send until the time is over or ``stop`` is set; returns the flows sent."""
        # The wall clock stamps the flows, the monotonic one paces them: setting the one does not disturb the other.
        wall, begin, flows = time.time(), time.monotonic(), 0
        while (elapsed := time.monotonic() - begin) < for_seconds:
            flows += self.send(wall + elapsed)
            if stop.wait(_TICK_SECONDS):
                break
        return flows

    def truth(self) -> list[Sent]:
        """What was sent, by exporter and bucket, in order of both; buckets never sent are left out."""
        return [sent for exporter in self._exporters for sent in exporter.truth()]

    def close(self) -> None:
        """Let the sockets go."""
        for exporter in self._exporters:
            exporter.close()

    def _load(self, service: str, now: float) -> float:
        return float(load(service, now, self._offset)) if self._curve else 1.0


class _Exporter:
    def __init__(self, plan: ExporterPlan, traffic: Traffic, to: tuple[str, int]) -> None:
        self.plan, self._traffic, self._to = plan, traffic, to
        self._socket = _socket_from(plan.source, to[0])
        self._encoder: MessageEncoder | None = None
        self._owed = 0.0
        self._announced = -math.inf
        self._sent = np.zeros((len(KINDS), 3), np.int64)

    @property
    def source(self) -> str:
        address: str = self._socket.getsockname()[0]
        return address

    def send(self, due: float, now: float) -> int:
        now_ms = int(now * 1000)
        encoder = self._encoder = self._encoder or MessageEncoder(
            self.plan.version, self.plan.domain, now_ms - _UPTIME_MS
        )
        if not 0 <= now - self._announced < _ANNOUNCE_SECONDS:
            self._announced = now
            sets = [*announcements(encoder, self.plan.says), *interface_names(encoder.version)]
            self._put(encoder.message(sets, now_ms))
        self._owed += due
        flows = self._traffic.take(int(self._owed))
        self._owed -= len(flows)
        step = _RECORDS[self.plan.version]
        for number, start in enumerate(range(0, len(flows), step)):
            part = flows[start : start + step]
            self._put(encoder.message(flow_sets(encoder, part, now_ms), now_ms))
            self._count(part)
            if number % _BURST == _BURST - 1:
                time.sleep(_BREATH_SECONDS)
        return len(flows)

    def truth(self) -> list[Sent]:
        totals: dict[str, NDArray[np.int64]] = {}
        for kind, counted in zip(KINDS, self._sent, strict=True):
            totals[kind.bucket] = totals.get(kind.bucket, 0) + counted
        return [
            Sent(self.source, bucket, self.plan.sampling, *(int(value) for value in counted))
            for bucket, counted in totals.items()
            if counted[0]
        ]

    def close(self) -> None:
        self._socket.close()

    def _put(self, datagram: bytes) -> None:
        # No collector listening yet is told by ICMP on a later call; an exporter does not care.
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.sendto(datagram, self._to)

    def _count(self, flows: NDArray[np.void]) -> None:
        for at, values in enumerate((None, flows["packets"], flows["octets"])):
            # Sums stay below 2^53, where floats are exact: a datagram has 28 flows of some megabytes.
            self._sent[:, at] += np.bincount(flows["kind"], values, len(KINDS)).astype(np.int64)


def _socket_from(source: str, to: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    if to.startswith("127."):
        # Where only 127.0.0.1 exists (macOS) the exporters share it and are told apart by their domains.
        for address in (source, "127.0.0.1"):
            with contextlib.suppress(OSError):
                made.bind((address, 0))
                return made
    made.connect((to, 9))  # the discard port: only chooses the address we send from
    address = made.getsockname()[0]
    made.close()
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made
