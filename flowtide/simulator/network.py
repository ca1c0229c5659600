"""The simulated network as a whole: users, leases, exporters, incidents, and the clockwork by which they send."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.clock import LocalTime, SimClock
from flowtide.simulator.curves import load
from flowtide.simulator.demand import Demand
from flowtide.simulator.exporters import Datagram, Exporter
from flowtide.simulator.incidents import Incidents
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import ACCESSES, Population, populate
from flowtide.simulator.scenario import Scenario, Service
from flowtide.simulator.sender import Sender
from flowtide.simulator.traffic import Ends, Traffic, mean_packets
from flowtide.simulator.truth import Sent, Truth

DATAGRAMS_PER_SECOND = 20_000
"""At most, whatever the scenario's speed: a collector of one process takes some times as many."""
_STEP_MS = 20  # exporters send at the end of such a step, in real time
_QUICK_STEP_MS = 100  # where the clock is faster than life: datagrams are fuller then
_LONGEST_STEP_MS = 30_000  # of simulated time; less than what rules wait for late flows
_SLICE_MS = 1_000  # flows of the law "rate" are drawn for so long at once
_CATCH_UP_SECONDS = 1.0  # after a pause longer than this the rest is not sent: a burst would only be dropped
_MOST_TIMES = 60  # templates are repeated by the real clock up to this speed
_ENDLESS_MS = 32 * 86_400_000  # leases of a scenario without end: then addresses stay where they are
_LEASED_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)  # of one that begins now: since then

Send = Callable[[str, Sequence[bytes]], object]
"""Takes an exporter's source address and datagrams."""


def leases_of(scenario: Scenario, population: Population, begin_ms: int) -> Leases:
    """Who holds which address in a scenario that begins then, Unix milliseconds.

    When it begins now, what was before does not depend on when that is: another start finds the same leases.
    """
    clock = scenario.clock
    until = begin_ms + (int(clock.length * 1000) or _ENDLESS_MS)
    since = min(_LEASED_MS, begin_ms - _ENDLESS_MS) if clock.begin == "now" else begin_ms
    return lease(scenario.people, population, scenario.seed, since, until, clock.zone)


class Network:
    """A scenario that runs; the same seed, scenario and begin give the same bytes."""

    def __init__(
        self, scenario: Scenario, to: Sequence[tuple[str, int]] = (), *, begin_ms: int, send: Send | None = None,
        population: Population | None = None, leases: Leases | None = None, allow_remote: bool = False,
    ) -> None:  # fmt: skip
        """``to``: hosts as numbers, exporters take them in turn; or ``send`` gets the datagrams, or nobody does.

        ``population``, ``leases``: those of the scenario where the caller has made them.  OSError, ValueError.
        """
        if scenario.flows.law == "line":
            raise ValueError("datagrams built beforehand are not a network's: sender.LineRate sends them")
        clock, people, seed = scenario.clock, scenario.people, scenario.seed
        step_ms = _STEP_MS if clock.speed <= 1 else int(min(_QUICK_STEP_MS * clock.speed, _LONGEST_STEP_MS))
        self.scenario, self.step_ms = scenario, step_ms
        self.begin_ms = begin_ms
        self.end_ms = begin_ms + int(clock.length * 1000) if clock.length else None
        self.population = populate(people, seed) if population is None else population
        self.leases = leases_of(scenario, self.population, begin_ms) if leases is None else leases
        incidents = Incidents(scenario.incidents, begin_ms, people.year)
        self._exporters, self.account = _exporters(scenario, self, incidents)
        made = _Rate if scenario.flows.law == "rate" else _Volumes
        self._supply = made(self, incidents, self._exporters)
        self._at = self.whole(begin_ms)
        self._started = False
        self._senders = _senders(self._exporters, to, allow_remote=allow_remote)
        self._send: Send = send if send is not None else self._to_sockets

    @property
    def exporters(self) -> tuple[str, ...]:
        """The source addresses as a collector sees them."""
        known = [self._senders[each].source if each in self._senders else each for each in self._sources]
        return tuple(known)

    def whole(self, at_ms: int) -> int:
        """The step's end that is not before a time."""
        return -(-at_ms // self.step_ms) * self.step_ms

    def datagrams(self) -> Iterator[Datagram]:
        """All of the scenario, in order of time; without end if it has none."""
        while (batch := self._next()) is not None:
            yield from batch

    def send(self, now: float) -> int:
        """Send what is due at Unix seconds ``now`` and return its flows; the first call announces and sends none.

        After more than a second without a call the rest of that time's flows are left out.  A clock set back sends
        nothing until it is past the last call.
        """
        now_ms = int(now * 1000)
        if not self._started:
            self._started = True
            self._jump(now_ms)
            self._deliver(self._announce())
            return 0
        if now_ms - self._at > _CATCH_UP_SECONDS * 1000 + self.step_ms:
            self._jump(now_ms - int(_CATCH_UP_SECONDS * 1000))
        before = self._seen
        while self._at + self.step_ms <= now_ms and (batch := self._next()) is not None:
            self._deliver(batch)
        return self._seen - before

    def run(
        self, stop: threading.Event, for_seconds: float = float("inf"), *,
        datagrams_per_second: float = DATAGRAMS_PER_SECOND,
    ) -> int:  # fmt: skip
        """Send until the scenario or the time is over or ``stop`` is set; returns the flows sent.

        Never faster than the clock of the scenario, nor than so many datagrams a second.  A scenario that begins now
        and has no end leaves out what it cannot keep up with, any other takes longer.
        """
        clock = SimClock(self._at, self.scenario.clock.speed)
        live = self.end_ms is None and self.scenario.clock.begin == "now"
        before, began, datagrams = self._seen, time.monotonic(), 0
        while not stop.is_set() and (elapsed := time.monotonic() - began) < for_seconds:
            ahead = max(clock.seconds_until(self._at + self.step_ms), datagrams / datagrams_per_second - elapsed)
            if ahead > 0:
                stop.wait(min(ahead, max(0.0, for_seconds - elapsed)))
                continue
            if live and clock.now_ms() - self._at > _CATCH_UP_SECONDS * self.scenario.clock.speed * 1000 + self.step_ms:
                self._jump(clock.now_ms())
            batch = self._next()
            if batch is None:
                break
            self._deliver(batch)
            datagrams += len(batch)
        return self._seen - before

    def truth(self) -> list[Sent]:
        """What was sent, by exporter, sampling interval and bucket; ``account`` has the rest."""
        named = dict(zip(self._sources, self.exporters, strict=True))
        return [
            Sent(named[each.exporter], each.bucket, each.sampling, each.flows, each.packets, each.octets)
            for each in self.account.truth()
        ]

    def close(self) -> None:
        """Let the sockets go."""
        for sender in self._senders.values():
            sender.close()

    @property
    def _sources(self) -> list[str]:
        return [source for exporter in self._exporters for source in exporter.sources]

    @property
    def _seen(self) -> int:
        return sum(exporter.seen for exporter in self._exporters)

    def _next(self) -> list[Datagram] | None:
        """The next step; None behind the end, when all has been sent that ended before it."""
        if self.end_ms is not None and self._at >= self.end_ms + self._supply.drain_ms:
            return None
        self._supply.fill(self._at, self._at + self.step_ms)
        self._at += self.step_ms
        return [datagram for exporter in self._exporters for datagram in exporter.step(self._at)]

    def _announce(self) -> list[Datagram]:
        return [datagram for exporter in self._exporters for datagram in exporter.step(self._at)]

    def _jump(self, to_ms: int) -> None:
        """Go on from there."""
        to_ms = to_ms // self.step_ms * self.step_ms
        if to_ms > self._at:
            self._at = to_ms
            for exporter in self._exporters:
                exporter.skip(to_ms)
            self._supply.skip(to_ms)

    def _deliver(self, batch: Sequence[Datagram]) -> None:
        by_source: dict[str, list[bytes]] = {}
        for datagram in batch:
            by_source.setdefault(datagram.source, []).append(datagram.payload)
        for source, payloads in by_source.items():
            self._send(source, payloads)

    def _to_sockets(self, source: str, datagrams: Sequence[bytes]) -> None:
        if source in self._senders:
            self._senders[source].send(datagrams)


class _Rate:
    """Draws flows for each exporter by its share of the rate."""

    drain_ms = 0

    def __init__(self, network: Network, incidents: Incidents, exporters: Sequence[Exporter]) -> None:
        scenario = network.scenario
        self._plan, self._zone, self._incidents, self._exporters = (
            scenario.flows,
            scenario.clock.zone,
            incidents,
            exporters,
        )
        self._step_ms = network.step_ms
        self._slice_ms = max(_SLICE_MS // network.step_ms * network.step_ms, network.step_ms)
        self._filled = network.whole(network.begin_ms)
        self._end_ms = None if network.end_ms is None else network.whole(network.end_ms)
        self._random = np.random.default_rng((scenario.seed, 6))
        self._owed = [0.0] * len(exporters)
        self._network, self._traffic = network, dict[tuple[int, bool], Traffic]()
        self._ends = [Ends(network.leases, (scenario.seed, 7, at)) for at in range(len(exporters))]
        self._weight = [exporter.plan.share / sum(each.plan.share for each in exporters) for exporter in exporters]

    def fill(self, _begin_ms: int, end_ms: int) -> None:
        while self._filled < end_ms and (self._end_ms is None or self._filled < self._end_ms):
            begin, self._filled = self._filled, self._filled + self._slice_ms
            if self._end_ms is not None:
                self._filled = min(self._filled, self._end_ms)
            for at in range(len(self._exporters)):
                self._slice(at, begin, self._filled)

    def skip(self, to_ms: int) -> None:
        self._filled = max(self._filled, to_ms)

    def _slice(self, at: int, begin_ms: int, end_ms: int) -> None:
        exporter = self._exporters[at]
        plan, sampling = exporter.plan, exporter.sampling(end_ms)
        if sampling != exporter.sampling(begin_ms + self._step_ms):
            # It changes within: a step's flows are sampled as at the end of it.
            middle = begin_ms + (end_ms - begin_ms) // (2 * self._step_ms) * self._step_ms
            self._slice(at, begin_ms, middle)
            self._slice(at, middle, end_ms)
            return
        due = self._plan.per_second * self._weight[at] * (end_ms - begin_ms) / 1000
        if self._plan.daily_curve:
            due *= float(load(plan.service, (begin_ms + end_ms) / 2000, self._zone))
        # Whatever the interval, so many packets pass the exporter.
        due *= mean_packets(plan.sampling) * plan.sampling / (mean_packets(sampling) * sampling)
        self._owed[at] += due
        count = int(self._owed[at])
        self._owed[at] -= count
        flows = self._of(at, sampled=sampling > 1).slice(
            begin_ms, end_ms, count, idle_ms=exporter.idle_ms, active_ms=exporter.active_ms
        )
        flows = self._incidents.mixed(flows, plan.service, self._random, split=False)
        exporter.offer(flows, sampled=True)

    def _of(self, at: int, *, sampled: bool) -> Traffic:
        """An exporter's flows; of a million users they take some 30 MB, so they are made when they are needed."""
        if (at, sampled) not in self._traffic:
            scenario, plan, people = self._network.scenario, self._exporters[at].plan, self._network.population
            self._traffic[at, sampled] = Traffic(
                plan.service, scenario.people.year, people.of(plan.service, plan.access), people, self._ends[at],
                sampled=sampled, seed=(scenario.seed, 2, at, int(sampled)), paired=plan.form == "biflow",
            )  # fmt: skip
        return self._traffic[at, sampled]


class _Volumes:
    """Deals each user's flows of a day to the exporter that it sits behind."""

    def __init__(self, network: Network, incidents: Incidents, exporters: Sequence[Exporter]) -> None:
        scenario = network.scenario
        self._incidents, self._exporters = incidents, exporters
        self._local = LocalTime(scenario.clock.zone)
        self._next_ms, self._end_ms = network.begin_ms, network.end_ms
        self._random = np.random.default_rng((scenario.seed, 8))
        # The last flow is exported after it was idle, at the end of a step.
        self.drain_ms = max(exporter.idle_ms for exporter in exporters) + network.step_ms
        self._behind = _behind(network.population, exporters, scenario.seed)
        self._demands: dict[Service, Demand] = {}
        for number, service in enumerate(sorted({exporter.plan.service for exporter in exporters})):
            users = network.population.of(service)
            self._demands[service] = Demand(
                service, scenario.people.year, users[self._behind[users] >= 0], network.population,
                Ends(network.leases, (scenario.seed, 9, number)), zone=scenario.clock.zone,
                seed=(scenario.seed, 10, number), most_octets=scenario.flows.most_octets,
            )  # fmt: skip

    def fill(self, _begin_ms: int, end_ms: int) -> None:
        while self._next_ms < end_ms and (self._end_ms is None or self._next_ms < self._end_ms):
            day = int(self._local.day(np.array([self._next_ms]))[0])
            begin, self._next_ms = self._next_ms, self._local.begin_of_day(day + 1)
            until = self._next_ms if self._end_ms is None else min(self._next_ms, self._end_ms)
            for service, demand in self._demands.items():
                self._deal(service, demand.slice_of(day, begin, until))

    def skip(self, to_ms: int) -> None:
        """Nothing is made again: the exporters forget what was due."""

    def _deal(self, service: Service, flows: NDArray[np.void]) -> None:
        flows = self._incidents.mixed(flows, service, self._random, split=True)
        behind = self._behind[flows["user"]]
        for at, exporter in enumerate(self._exporters):
            exporter.offer(flows[behind == at])


def _behind(population: Population, exporters: Sequence[Exporter], seed: int) -> NDArray[np.int64]:
    """The exporter of each user, -1: none sees it; drawn by their shares among those that could."""
    random = np.random.default_rng((seed, 11))
    chance = random.random(len(population))
    found = np.full(len(population), -1)
    for service in ("fixed", "mobile"):
        for access in ACCESSES:
            users = population.of(service, (access,))
            seeing = [at for at, exporter in enumerate(exporters)
                      if exporter.plan.service == service and access in (exporter.plan.access or ACCESSES)]  # fmt: skip
            if seeing:
                share = np.cumsum([exporters[at].plan.share for at in seeing])
                found[users] = np.array(seeing)[np.searchsorted(share[:-1] / share[-1], chance[users], side="right")]
    return found


def _exporters(scenario: Scenario, network: Network, incidents: Incidents) -> tuple[list[Exporter], Truth]:
    """The exporters, and what counts them; doubles of an incident have numbers of their own."""
    plans = scenario.exporters
    doubles = [
        dict.fromkeys(each.what.other for each in incidents.of("duplicate_export", plan.source)) for plan in plans
    ]
    names: list[str] = []
    numbers: list[range] = []
    for plan, others in zip(plans, doubles, strict=True):
        numbers.append(range(len(names), len(names) + 1 + len(others)))
        names += [plan.source, *others]
    domains = sorted({domain for plan in plans for domain in plan.domains})
    truth = Truth(network.population, names, domains, scenario.clock.zone)
    repeat = min(max(scenario.clock.speed, 1), _MOST_TIMES)
    return [
        Exporter(
            plan, numbers[at], truth, incidents, Ends(network.leases, (scenario.seed, 12, at)),
            begin_ms=network.begin_ms, step_ms=network.step_ms, announce_ms=int(plan.template_seconds * 1000 * repeat),
            seed=(scenario.seed, 5, at),
        )
        for at, plan in enumerate(plans)
    ], truth  # fmt: skip


def _senders(
    exporters: Sequence[Exporter], to: Sequence[tuple[str, int]], *, allow_remote: bool
) -> dict[str, Sender]:  # fmt: skip
    if not to:
        return {}
    made: dict[str, Sender] = {}
    try:
        for at, exporter in enumerate(exporters):
            for source in exporter.sources:
                made[source] = Sender(source, to[at % len(to)], allow_remote=allow_remote)
    except OSError:
        for sender in made.values():
            sender.close()
        raise
    return made
