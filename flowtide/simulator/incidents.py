"""What goes wrong, and when: changes to the mix of flows, and to what an exporter does with them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator import kinds
from flowtide.simulator.scenario import Incident

_NAMES = [kind.name for kind in kinds.KINDS]
TCP_443, UDP_443 = _NAMES.index("TCP/443"), _NAMES.index("UDP/443")
_TCP, _UDP = 6, 17
_PUSH_ACK = 0x18
_NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Window:
    """An incident with its times as Unix milliseconds, [begin, end)."""

    what: Incident
    begin_ms: int
    end_ms: int

    def holds(self, at_ms: int) -> bool:
        """Whether it lasts at that time."""
        return self.begin_ms <= at_ms < self.end_ms


class Incidents:
    """All of a scenario's, by time, service and exporter."""

    def __init__(self, incidents: Sequence[Incident], begin_ms: int, year: int) -> None:
        """``begin_ms``: of the scenario; ``year``: whose mix it is that QUIC's share is moved in."""
        self._year = year
        self._windows = [
            Window(
                each, begin_ms + int(each.begin * 1000), begin_ms + int(each.end * 1000) if _ends(each) else _NEVER_MS
            )
            for each in incidents
        ]

    def of(self, kind: str, exporter: str) -> list[Window]:
        """Those of a kind that happen to an exporter, in order of the file."""
        return [
            each for each in self._windows if each.what.kind == kind and each.what.exporter in ("", exporter)
        ]  # fmt: skip

    def at(self, kind: str, exporter: str, at_ms: int) -> Incident | None:
        """The one of a kind that lasts at an exporter at a time; of several the last of the file."""
        found = [each.what for each in self.of(kind, exporter) if each.holds(at_ms)]
        return found[-1] if found else None

    def sampling(self, exporter: str, usual: int, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The true sampling interval of an exporter at each time."""
        interval = np.full(len(at_ms), usual, "i8")
        for each in self.of("sampling_change", exporter):
            interval[(at_ms >= each.begin_ms) & (at_ms < each.end_ms)] = each.what.sampling
        return interval

    def mixed(
        self, flows: NDArray[np.void], service: str, random: np.random.Generator, *, split: bool
    ) -> NDArray[np.void]:
        """Flows of a service with QUIC's share as the incidents at their ends have it; octets stay the same in sum.

        ``split``: each flow's octets are shared out, so that the sum is exact; else flows change as a whole, so that
        there are no more of them than before.
        """
        for each in self._windows:
            if each.what.kind not in ("quic_step", "quic_block") or each.what.service not in (None, service):
                continue
            during = (flows["end_ms"] >= each.begin_ms) & (flows["end_ms"] < each.end_ms)
            if each.what.kind == "quic_block":
                _change(flows, np.flatnonzero(during & (flows["kind"] == UDP_443)), TCP_443)
                continue
            source, target, part = self._moved(each.what.points, service)
            chosen = np.flatnonzero(during & (flows["kind"] == source))
            if split:
                flows = _split(flows, chosen, target, part)
            else:
                _change(flows, chosen[random.random(len(chosen)) < part], target)
        return flows

    def _moved(self, points: float, service: str) -> tuple[int, int, float]:
        """From which kind to which, and which part of its octets: QUIC's share of port 443 moves by ``points``."""
        share = kinds.shares(service, self._year)
        both = share[TCP_443] + share[UDP_443]
        source, target = (TCP_443, UDP_443) if points > 0 else (UDP_443, TCP_443)
        return source, target, min(1.0, abs(points) / 100 * float(both / share[source]))


def _ends(incident: Incident) -> bool:
    return math.isfinite(incident.end)


def _change(flows: NDArray[np.void], chosen: NDArray[np.int64], target: int) -> None:
    flows["kind"][chosen] = target
    flows["proto"][chosen] = _TCP if target == TCP_443 else _UDP
    flows["tcp_flags"][chosen] = _PUSH_ACK if target == TCP_443 else 0


def _split(flows: NDArray[np.void], chosen: NDArray[np.int64], target: int, part: float) -> NDArray[np.void]:
    """The chosen ones lose a part of their octets to a flow of the target kind beside them."""
    moved = flows[chosen]
    octets = np.floor(moved["octets"] * part + 0.5).astype("i8")
    # A flow has a packet at the least, and one of a single packet cannot be shared out: the larger half has it.
    packets = np.clip(np.round(moved["packets"] * part), 1, np.maximum(moved["packets"] - 1, 1)).astype("i8")
    whole = (moved["packets"] == 1) | (octets == moved["octets"])
    gone = np.where(whole, part >= 0.5, octets > 0)
    octets = np.where(whole, moved["octets"], octets)
    packets = np.where(whole, moved["packets"], packets)
    moved["octets"], moved["packets"] = octets, packets
    moved = moved[gone]
    _change(moved, np.arange(len(moved)), target)
    flows["octets"][chosen[gone]] -= octets[gone]
    flows["packets"][chosen[gone]] -= packets[gone]
    kept = np.concatenate([flows[flows["packets"] > 0], moved])
    return kept[np.argsort(kept["end_ms"], kind="stable")]
