"""What an exporter makes of the flows that pass it: it samples, cuts, waits, and sends in its own protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.incidents import Incidents
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.sflow5 import FRAME_OCTETS, least_octets
from flowtide.simulator.traffic import DRAWN, Ends
from flowtide.simulator.truth import NOT_IPV4, NOT_SAMPLED, SENT, SILENT, Truth
from flowtide.simulator.wire import Wire

EXPORTED = np.dtype(
    [
        *((name, DRAWN[name]) for name in DRAWN.names or ()), ("domain", "u4"), ("fate", "u1"), ("interval", "i8"),
        ("true_packets", "i8"), ("true_octets", "i8"), ("export_ms", "i8"),
    ]
)  # fmt: skip
"""A flow, or a piece of one, as exported: ``traffic.DRAWN``; ``fate`` of ``truth``; the true sampling ``interval``;

packets and octets before sampling, -1: nobody knows; the step of the exporter in which it goes out."""

_UPTIME_MS = 86_400_000  # the exporters booted a day before the first flow


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP payload, and who sent it when."""

    source: str
    domain: int
    export_ms: int
    payload: bytes


class Exporter:
    """One of a scenario's; its time goes in whole steps, and what is due in a step leaves at the end of it."""

    def __init__(
        self, plan: ExporterPlan, numbers: Sequence[int], truth: Truth, incidents: Incidents, ends: Ends, *,
        begin_ms: int, step_ms: int, announce_ms: int, seed: tuple[int, ...],
    ) -> None:  # fmt: skip
        """``numbers``: of it in ``truth``, and of the source of each incident that has it exported twice, in order."""
        self.plan, self.seen = plan, 0
        self._truth, self._incidents, self._ends = truth, incidents, ends
        self._step_ms, self._announce_ms = step_ms, announce_ms
        self._random = np.random.default_rng(seed)
        twice = [each.what.other for each in incidents.of("duplicate_export", plan.source)]
        sources = [plan.source, *dict.fromkeys(twice)]
        self._outs = [_Out(plan, source, number, begin_ms) for source, number in zip(sources, numbers, strict=True)]
        self._pending, self._due_ms = np.zeros(0, EXPORTED), np.zeros(0, "i8")
        self._turn = 0

    @property
    def sources(self) -> list[str]:
        """Its address, and those of its doubles."""
        return [out.source for out in self._outs]

    @property
    def idle_ms(self) -> int:
        """How long after its end a flow is exported; sFlow has no flows to wait for."""
        return 0 if self.plan.protocol == "sflow" else int(self.plan.idle_seconds * 1000)

    @property
    def active_ms(self) -> int:
        """After which a flow that still runs is exported."""
        return 1 << 62 if self.plan.protocol == "sflow" else max(1, int(self.plan.active_seconds * 1000))

    def sampling(self, at_ms: int) -> int:
        """The true interval at a time."""
        return int(self._incidents.sampling(self.plan.source, self.plan.sampling, np.array([at_ms]))[0])

    def offer(self, flows: NDArray[np.void], *, sampled: bool = False) -> None:
        """Flows (dtype ``DRAWN``) that pass it; ``sampled``: where it samples they are what is left of them."""
        if not len(flows):
            return
        rows = self._pieces(flows)
        rows["interval"] = self._incidents.sampling(self.plan.source, self.plan.sampling, rows["export_ms"])
        rows["true_packets"], rows["true_octets"] = rows["packets"], rows["octets"]
        thinned = rows["interval"] > 1
        if sampled:
            rows["true_packets"][thinned] = rows["true_octets"][thinned] = -1
        else:
            self._thin(rows, thinned)
        if self.plan.protocol == "netflow5":
            rows["fate"][rows["is_v6"]] = NOT_IPV4
        if self.plan.protocol == "sflow":
            rows = _packets(rows)
        pending = np.concatenate([self._pending, rows])
        order = np.argsort(pending["export_ms"], kind="stable")
        self._pending = pending[order]
        self._due_ms = np.ascontiguousarray(self._pending["export_ms"])

    def step(self, at_ms: int) -> list[Datagram]:
        """All that leaves at the end of the step that ends ``at_ms``."""
        rows = self._take(at_ms)
        found = self._leave(self._outs[0], rows, at_ms)
        other = self._incidents.at("duplicate_export", self.plan.source, at_ms)
        for out in self._outs[1:]:
            if other is not None and other.other == out.source:
                found += self._leave(out, rows, at_ms)
        return found

    def skip(self, at_ms: int) -> None:
        """Forget what was due until then: nobody was there to send it."""
        self._take(at_ms)

    def _take(self, at_ms: int) -> NDArray[np.void]:
        count = int(np.searchsorted(self._due_ms, at_ms, side="right"))
        rows, self._pending, self._due_ms = self._pending[:count], self._pending[count:], self._due_ms[count:]
        return rows

    def _leave(self, out: "_Out", rows: NDArray[np.void], at_ms: int) -> list[Datagram]:
        first = out is self._outs[0]
        source = self.plan.source
        told: int | None = self.plan.told_sampling
        changed = self._incidents.at("sampling_change", source, at_ms)
        if changed is not None and told is not None:
            told = changed.sampling
        skew = self._incidents.at("clock_skew", source, at_ms)
        skew_ms = int(skew.seconds * 1000) if skew else 0
        if skew_ms:
            rows = rows.copy()
            rows["start_ms"] += skew_ms
            rows["end_ms"] += skew_ms
        if self._incidents.at("exporter_silent", source, at_ms):
            rows = rows.copy()
            rows["fate"][rows["fate"] == SENT] = SILENT
            self._truth.add(self._counted(rows), out.number, duplicate=not first)
            return []
        loses = self._incidents.at("template_loss", source, at_ms) is not None
        found = out.announce(at_ms, skew_ms, told, self._announce_ms, loses=loses)
        if not len(rows):
            return found
        bare = loses and self.plan.protocol in ("netflow9", "ipfix")
        self._truth.add(self._counted(rows), out.number, duplicate=not first, without_template=bare)
        sent = rows[rows["fate"] == SENT]
        self.seen += len(sent)
        return found + out.datagrams(sent, at_ms + skew_ms)

    def _counted(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """As a reader counts them: sFlow tells the octets of the frame, all others those of IP."""
        if self.plan.protocol != "sflow":
            return rows
        rows = rows.copy()
        rows["octets"] += FRAME_OCTETS * rows["packets"]
        known = rows["true_packets"] > 0
        rows["true_octets"][known] += FRAME_OCTETS * rows["true_packets"][known]
        return rows

    def _pieces(self, flows: NDArray[np.void]) -> NDArray[np.void]:
        """Cut by the active time-out, with the domain and the step of each piece."""
        rows = np.zeros(len(flows), EXPORTED)
        for name in DRAWN.names or ():
            rows[name] = flows[name]
        domains, pair = np.array(self.plan.domains, "u4"), 2 if self.plan.form == "biflow" else 1
        rows["domain"] = domains[(self._turn + np.arange(len(rows))) // pair % len(domains)]
        self._turn += len(rows)
        if self.plan.protocol == "sflow":
            rows["start_ms"] = rows["end_ms"]
        uncut = np.zeros(len(rows), bool)
        for each in self._incidents.of("long_flows", self.plan.source):
            during = (rows["end_ms"] >= each.begin_ms) & (rows["end_ms"] < each.end_ms)
            rows["start_ms"][during] = rows["end_ms"][during] - int(each.what.seconds * 1000)
            uncut |= during
        rows["export_ms"] = rows["end_ms"] + self.idle_ms
        long = np.flatnonzero((rows["end_ms"] - rows["start_ms"] > self.active_ms) & ~uncut)
        if len(long):
            # A line that gets another address begins its flows anew.
            broken = long[~self._ends.unbroken(rows[long])]
            rows["start_ms"][broken] = rows["end_ms"][broken] - self.active_ms
            long = np.setdiff1d(long, broken)
            rows = _cut(rows, long, self.active_ms)
        rows["export_ms"] = -(-(rows["export_ms"] + 1) // self._step_ms) * self._step_ms
        return rows

    def _thin(self, rows: NDArray[np.void], thinned: NDArray[np.bool_]) -> None:
        """Each packet is seen with the same chance; octets go with the packets."""
        chosen = rows[thinned]
        packets = self._random.binomial(chosen["packets"], 1 / chosen["interval"])
        size = chosen["octets"] / np.maximum(chosen["packets"], 1)
        rows["octets"][thinned] = np.round(packets * size).astype("i8")
        rows["packets"][thinned] = packets
        rows["fate"][rows["packets"] == 0] = NOT_SAMPLED


class _Out:
    """The datagrams of one source address."""

    def __init__(self, plan: ExporterPlan, source: str, number: int, begin_ms: int) -> None:
        self.source, self.number = source, number
        plan = plan.model_copy(update={"source": source})
        self._wires = {domain: Wire.of(plan, domain, begin_ms - _UPTIME_MS) for domain in plan.domains}
        self._templates = plan.protocol in ("netflow9", "ipfix")
        self._announced_ms: int | None = None
        self._told: int | None = plan.told_sampling
        self._loses = False

    def announce(
        self, at_ms: int, skew_ms: int, told: int | None, every_ms: int, *, loses: bool
    ) -> list[Datagram]:  # fmt: skip
        """What is due: at first, when the sampling interval changes, and every so often; nothing while it is lost."""
        if loses != self._loses:
            self._loses, self._announced_ms = loses, None
            if loses:
                for wire in self._wires.values():
                    wire.restart(at_ms - _UPTIME_MS)
        due = self._announced_ms is None or at_ms - self._announced_ms >= every_ms or told != self._told
        if not due or (loses and self._templates):
            return []
        self._announced_ms, self._told = at_ms, told
        return [
            Datagram(self.source, domain, at_ms + skew_ms, payload)
            for domain, wire in self._wires.items()
            for payload in wire.announcements(at_ms + skew_ms, sampling=told)
        ]

    def datagrams(self, rows: NDArray[np.void], export_ms: int) -> list[Datagram]:
        found = []
        for domain, wire in self._wires.items():
            mine = rows if len(self._wires) == 1 else rows[rows["domain"] == domain]
            if len(mine):
                found += [
                    Datagram(self.source, domain, export_ms, payload) for payload in wire.datagrams(mine, export_ms)
                ]
        return found


def _cut(rows: NDArray[np.void], long: NDArray[np.int64], active_ms: int) -> NDArray[np.void]:
    """The long ones in pieces of the active time-out; packets and octets sum to the whole, and no piece is empty."""
    whole = rows[long]
    lasts = whole["end_ms"] - whole["start_ms"]
    count = -(-lasts // active_ms)
    of = np.repeat(np.arange(len(whole)), count)
    number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    pieces = whole[of]
    begin, end = number * active_ms, np.minimum((number + 1) * active_ms, lasts[of])
    # What has passed until a time is rounded, so that the pieces' differences sum up exactly.
    passed = [np.round(whole["packets"][of] * (until / lasts[of])) for until in (begin, end)]
    octets = [np.round(whole["octets"][of] * (packets / whole["packets"][of])) for packets in passed]
    pieces["packets"], pieces["octets"] = passed[1] - passed[0], octets[1] - octets[0]
    pieces["start_ms"], pieces["end_ms"] = whole["start_ms"][of] + begin, whole["start_ms"][of] + end
    last = number == count[of] - 1
    pieces["export_ms"] = np.where(last, whole["export_ms"][of], pieces["end_ms"])
    return np.concatenate([np.delete(rows, long), pieces[pieces["packets"] > 0]])


def _packets(rows: NDArray[np.void]) -> NDArray[np.void]:
    """A row of each packet that was sampled, as sFlow sends them; what was not keeps its row."""
    count = np.maximum(rows["packets"], 1)
    of = np.repeat(np.arange(len(rows)), count)
    number = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    found = rows[of]
    least, over = np.divmod(rows["octets"], count)
    sampled = found["packets"] > 0
    found["octets"] = np.where(sampled, least[of] + (number < over[of]), 0)
    found["packets"] = sampled
    floor = least_octets(found)
    found["octets"] = np.where(sampled, np.maximum(found["octets"], floor), 0)
    again = number > 0
    known = found["true_packets"] >= 0
    for column in ("true_packets", "true_octets"):
        found[column][again & known] = 0
    return found
