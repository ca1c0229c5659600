"""Days before the first live flow, as the collector would have decoded them: few rows, each of many flows.

What a service's bucket carries in a step of time is exact, by the same curves, shares and sizes as live flows; rows
only say between whom.  So octets go on into the live level without a step, and flows a second do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.curves import load
from flowtide.simulator.incidents import TCP_443, UDP_443
from flowtide.simulator.kinds import SIZES, shares
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import ExporterPlan, Scenario
from flowtide.simulator.traffic import Ends, Traffic, frequencies, mean_packets
from sinks.batch import Batch
from sinks.schema import RAW, SamplingSource

DAYS = 8
"""A week before the last day, so that this week's line has last week's beside it."""
MAX_ROWS = 2_000_000
_QUIC_PER_WEEK = 0.01  # by which QUIC's share of a service's octets grew, at the expense of TCP's port 443
_PARTS_SECONDS = (3_600, 5 * 3_600, 18 * 3_600)  # the newest three; all others are days
_DAY_SECONDS = 86_400
_LONGEST_MS = 55_000  # of a flow: the rollups spread longer ones over minutes, at a price
_WEEK_SECONDS = 7 * 86_400
_RECORDS = {"netflow5": 30, "netflow9": 28, "ipfix": 18, "sflow": 7}  # flows of a full datagram, about

Counters = list[tuple[int, str, int, str, int]]
"""(minute as Unix seconds, exporter, domain, counter, value) each."""


@dataclass(frozen=True, slots=True)
class Density:
    """How finely a time is drawn; ``step_seconds`` divides an hour."""

    until_age_seconds: int
    step_seconds: int
    rows: int  # of an exporter in a step


# Each row costs some 50 us of the store's processor time, because nearly each is a group of its own in the rollups.
DENSITIES = (
    Density(3_600, 60, 80),
    Density(6 * 3_600, 60, 25),
    Density(24 * 3_600, 60, 10),
    Density(DAYS * 86_400, 300, 10),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of it: rows in order of arrival, and the counters that exporters' health would show of them."""

    since: int  # Unix seconds
    batch: Batch
    counters: Counters


class History:
    """What the exporters sent in [since, until), Unix seconds; the same arguments give the same bytes."""

    def __init__(
        self, scenario: Scenario, since: int, until: int, *, collector: str = "", leases: Leases | None = None,
        densities: Sequence[Density] = DENSITIES,
    ) -> None:  # fmt: skip
        """``scenario``: that of the live network, law "rate"; ``leases``: its, where it has them, of [since, until)."""
        self._since, self._until = since, until
        self._densities = densities
        seed, people = scenario.seed, scenario.people
        if leases is None:
            leases = lease(people, populate(people, seed), seed, since * 1000, until * 1000, scenario.clock.zone)
        whole = sum(plan.share for plan in scenario.exporters)
        self._sources = [
            _Source(
                plan, scenario, plan.share / whole, until, np.random.default_rng((seed, 4, at)),
                Traffic(
                    plan.service, people.year, leases.population.of(plan.service, plan.access), leases.population,
                    Ends(leases, (seed, 13, at)), sampled=plan.sampling > 1, seed=(seed, 3, at),
                ),
            )
            for at, plan in enumerate(scenario.exporters)
        ]  # fmt: skip
        self._collector = collector

    def parts(self) -> Iterator[Part]:
        """The newest first, so that giving up leaves out the oldest; MAX_ROWS rows at the most."""
        rows, until = 0, self._until
        lengths = chain(_PARTS_SECONDS, repeat(_DAY_SECONDS))
        while until > self._since:
            since = max(until - next(lengths), self._since)
            part = self._part(since, until)
            rows += len(part.batch)
            if rows > MAX_ROWS:
                return
            yield part
            until = since

    def _part(self, since: int, until: int) -> Part:
        # Steps are of the flows' ends: with those of arrival a minute would hold a part of its neighbour's few rows.
        idle = max(source.idle_seconds for source in self._sources)
        steps = list(_steps(since - idle, until - idle, self._until - idle, self._densities))
        made = [source.rows(begin, seconds, rows, self._collector) for begin, seconds, rows in steps
                for source in self._sources]  # fmt: skip
        batch = Batch.concat([batch for batch, _ in made])
        order = np.argsort(batch.columns["received"], kind="stable")
        return Part(since, batch.take(order), [line for _, lines in made for line in lines])


class _Source:
    """One exporter's past."""

    def __init__(
        self, plan: ExporterPlan, scenario: Scenario, part: float, until: int, random: np.random.Generator,
        traffic: Traffic,
    ) -> None:  # fmt: skip
        """``part``: of all flows that are this exporter's."""
        self.idle_seconds = int(plan.idle_seconds)
        self._plan, self._traffic, self._random, self._until = plan, traffic, random, until
        self._rate, self._zone, self._year = scenario.flows.per_second * part, scenario.clock.zone, scenario.people.year
        self._often = frequencies(plan.service, self._year)
        self._packets = mean_packets(plan.sampling)

    def rows(
        self, begin: NDArray[np.int64], seconds: NDArray[np.int64], rows: int, collector: str
    ) -> tuple[Batch, Counters]:
        """``rows`` of each step [begin, begin + seconds), in order of the steps."""
        steps, random = len(begin), self._random
        middle = begin + seconds / 2
        flows = self._rate * load(self._plan.service, middle, self._zone) * seconds
        rows = min(rows, int(np.median(flows)))
        if not rows:  # fewer flows than steps
            return Batch.empty(RAW), []
        groups = _groups(self._often, rows)
        rows = sum(each.rows for each in groups)
        group = np.repeat(np.arange(len(groups)), [each.rows for each in groups])
        down = np.array([each.down for each in groups])[group]
        kind, stands = self._shared_out(groups, group, steps)  # these and what follows: (steps, rows)
        stands *= flows[:, None] * _quic_grew(
            kind, (self._until - middle)[:, None], shares(self._plan.service, self._year)
        )
        size = SIZES[kind, down.astype(int)]
        octets = stands * self._packets * size
        # A frequent kind has a row or two in a step: were one of them nobody's, its line would fall to nothing there.
        rare = np.array([len(each.kinds) > 1 for each in groups])[group]
        ended = ((begin[:, None] + random.random((steps, rows)) * seconds[:, None]) * 1000).astype("i8").ravel()
        received = ended + self.idle_seconds * 1000
        odds = np.tile(rare / rare.mean(), steps)
        drawn = self._traffic.of_kinds(kind.ravel(), np.tile(down, steps), ended, odds)
        drawn["packets"] = np.maximum(octets / size * random.uniform(0.87, 1.13, size.shape), 1).round().ravel()
        drawn["octets"] = np.maximum(octets, 28).round().ravel()
        drawn["start_ms"] = ended - random.integers(1_000, _LONGEST_MS, len(drawn))
        return as_decoded(self._plan, drawn, received, collector), self._counters(begin + self.idle_seconds, rows)

    def _shared_out(
        self, groups: Sequence["_Group"], group: NDArray[np.int64], steps: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The kind of each row of each step, and of which share of all flows it stands; ``group`` is that of a row."""
        random, shape = self._random, (steps, len(group))
        kind = np.empty(shape, "i8")
        for at, each in enumerate(groups):
            kind[:, group == at] = random.choice(each.kinds, (steps, each.rows), p=each.chance / each.chance.sum())
        # Rows of a group are not equally large, and together they are exactly what its flows carry.
        stands = random.uniform(0.5, 1.5, shape)
        for at, each in enumerate(groups):
            mine = group == at
            stands[:, mine] *= each.chance.sum() / stands[:, mine].sum(axis=1, keepdims=True)
        return kind, stands

    def _counters(self, begin: NDArray[np.int64], rows: int) -> Counters:
        """As the decoder counts; all of a step in its first minute."""
        domains, counters = self._plan.domains, []
        for at, domain in enumerate(domains):
            mine = len(range(at, rows, len(domains)))
            datagrams = -(-mine // _RECORDS[self._plan.protocol])
            sets = 2 * datagrams  # IPv4 and IPv6
            counted = {
                "datagrams": datagrams, "datagrams_decoded": datagrams, "sets": sets, "sets_decoded": sets,
                "records_flow": mine, "rows": mine, "clock_skew_ms": 500 * datagrams,
            }  # fmt: skip
            counters += [
                (minute, self._plan.source, domain, counter, value)
                for minute in (begin // 60 * 60).tolist()
                for counter, value in counted.items()
            ]
        return counters


@dataclass(frozen=True, slots=True)
class _Group:
    """Kinds of one direction that share rows, and so many rows of a step."""

    down: bool
    kinds: NDArray[np.int64]
    chance: NDArray[np.float64]  # of each of them, of all flows
    rows: int


def as_decoded(plan: ExporterPlan, flows: NDArray[np.void], received: NDArray[np.int64], collector: str) -> Batch:
    """Columns RAW of flows (dtype ``flow.FLOW``) that arrived at ``received``, Unix milliseconds."""
    batch = Batch.empty(RAW, len(flows))
    columns = batch.columns
    for name in ("src_port", "dst_port", "proto", "tcp_flags", "octets", "packets", "in_if", "out_if", "src_as",
                 "dst_as", "tos"):  # fmt: skip
        columns[name][:] = flows[name]
    for column, name in (("src_addr", "src"), ("dst_addr", "dst")):
        columns[column] = np.ascontiguousarray(flows[name]).view("V16")[:, 0]
    if plan.protocol == "ipfix":  # its IPv4 template alone has a next hop, of which the simulator says nothing
        columns["next_hop"][~flows["is_v6"]] = np.void(bytes(10) + b"\xff\xff" + bytes(4))
    columns["received"] = received.view("M8[ms]")
    columns["ts"] = np.ascontiguousarray(flows["end_ms"]).view("M8[ms]")
    columns["ts_start"] = np.ascontiguousarray(flows["start_ms"]).view("M8[ms]")
    columns["domain"][:] = np.array(plan.domains, "u4")[np.arange(len(flows)) % len(plan.domains)]
    columns["sampling"][:] = plan.sampling
    columns["sampling_source"][:] = SamplingSource.ASSUMED if plan.told_sampling is None else SamplingSource.DOMAIN
    columns["ip_version"][:] = np.where(flows["is_v6"], 6, 4)
    for name in ("src_mask", "dst_mask"):
        columns[name][:] = np.where(flows["is_v6"], 48, 24)
    batch.labels["exporter"], batch.labels["collector"] = (plan.source,), (collector,)
    return batch


def _steps(
    since: int, until: int, now: int, densities: Sequence[Density]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Begin and length of the steps of each density within [since, until), and the rows of one.

    Steps lie on the clock's minutes, so the first and the last may be shorter.
    """
    newest = now
    for density in densities:
        oldest = now - density.until_age_seconds
        first, last = max(since, oldest), min(until, newest)
        newest = oldest
        if first >= last:
            continue
        step = density.step_seconds
        edges = np.arange(first // step * step, last + step, step)
        edges = np.unique(np.clip(edges, first, last))
        yield edges[:-1], np.diff(edges), density.rows


def _groups(often: NDArray[np.float64], rows: int) -> list[_Group]:
    """Shares out the rows of a step: a frequent kind has its own, the rare ones of a direction are drawn together."""
    found = []
    for down in (False, True):
        chance = often[:, int(down)]
        own = np.flatnonzero(chance * rows >= 1)
        rare = np.flatnonzero((chance * rows < 1) & (chance > 0))
        for kinds in (*own[:, None], rare):
            wanted = max(1, round(float(chance[kinds].sum() * rows)))
            found.append(_Group(down, kinds, chance[kinds], wanted))
    return found


def _quic_grew(
    kind: NDArray[np.int64], age_seconds: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """By what a kind's octets of a time so long ago are to be multiplied: QUIC had less of port 443."""
    moved = _QUIC_PER_WEEK * age_seconds / _WEEK_SECONDS
    factor = np.ones(kind.shape)
    for at, part in ((TCP_443, moved), (UDP_443, -moved)):
        factor = np.where(kind == at, 1 + part / share[at], factor)
    return factor
