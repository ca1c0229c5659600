"""The law ``line``: rings of datagrams built beforehand, sent round and round at a given rate or as fast as it goes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.leases import lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import ExporterPlan, PeoplePlan
from flowtide.simulator.scenario import Protocol as Export
from flowtide.simulator.sender import LineRate, Totals
from flowtide.simulator.traffic import Ends, Traffic

RECORDS: dict[Export, int] = {"netflow5": 30, "netflow9": 28, "ipfix": 18}
"""Flows of IPv4 in a full datagram."""
_DISTINCT = 64  # datagrams an exporter: enough different flows, and they stay in the processor's cache
_BURST = 16  # datagrams of one exporter before the next has its turn
_ANNOUNCE_SECONDS = 5.0
_CATCH_UP = 1.2
_TICK_SECONDS = 0.000_5  # shorter than a default receive buffer lasts at 100,000 datagrams a second
_DAY_MS = 86_400_000


class Announcing(Protocol):
    """A ``Ring`` that can say what its records are."""

    @property
    def totals(self) -> Totals:
        """All that was sent."""
        ...

    def octets_by_bucket(self) -> dict[str, int]:
        """As ``Ring.octets_by_bucket``."""
        ...

    @property
    def source(self) -> str:
        """Address that a reader sees."""
        ...

    def announce(self, now: float) -> None:
        """Send templates."""
        ...

    def send(self, count: int, now: float) -> int:
        """As ``Ring.send``."""
        ...

    def close(self) -> None:
        """Let the socket go."""
        ...


RingOf = Callable[..., Announcing]
"""Called as ``LineRate`` is."""


class Line:
    """Exporters of NetFlow v5, v9 or IPFIX, unsampled; ValueError for others."""

    def __init__(
        self, plans: Sequence[ExporterPlan], to: Sequence[tuple[str, int]], people: PeoplePlan, seed: int, *,
        records: int = 0, begin_ms: int, zone: str = "UTC", allow_remote: bool = False, ring: RingOf = LineRate,
    ) -> None:  # fmt: skip
        """``records`` a datagram, 0: as many as fit; ``begin_ms``: leases are those of that day, Unix milliseconds.

        ``ring`` makes an exporter's datagrams.
        """
        for plan in plans:
            if plan.protocol not in RECORDS:
                raise ValueError(f"{plan.source}: {plan.protocol} is not sent at line rate")
        now, self.senders = time.time(), []
        counts = [_DISTINCT * (records or RECORDS[plan.protocol]) for plan in plans]
        made = flows_of_ipv4(plans, counts, people, seed, now=now, begin_ms=begin_ms, zone=zone)
        for number, (plan, flows) in enumerate(zip(plans, made, strict=True)):
            each = len(flows) // _DISTINCT
            sender = ring(plan, to[number % len(to)], flows, each, now, allow_remote=allow_remote)
            self.senders.append((sender, each))

    def run(self, stop: threading.Event, seconds: float, rate: float) -> float:
        """Send ``rate`` flows a second, 0: as fast as it goes; returns the longest pause in milliseconds."""
        for sender, _ in self.senders:
            sender.announce(time.time())
        time.sleep(0.05)  # templates are there before the flows
        begin = announced = before_tick = time.monotonic()
        done, turn, late = 0, 0, 0.0
        whole = sum(records for _, records in self.senders)  # a datagram of each
        while not stop.is_set() and (elapsed := time.monotonic() - begin) < seconds:
            due = elapsed * rate - done if rate else float(_BURST * whole)
            if rate:
                late = max(late, due / rate)
                # Held up by the machine, it catches up a little faster: a burst would test the machine, not the reader.
                now = time.monotonic()
                due = min(due, max(whole, _CATCH_UP * rate * min(now - before_tick, 4 * _TICK_SECONDS)))
                before_tick = now
            while due >= (records := self.senders[turn % len(self.senders)][1]):
                moved = self.senders[turn % len(self.senders)][0].send(min(int(due / records), _BURST), time.time())
                done, due, turn = done + moved * records, due - max(moved, 1) * records, turn + 1
            if begin + elapsed - announced > _ANNOUNCE_SECONDS:
                announced = begin + elapsed
                for sender, _ in self.senders:
                    sender.announce(time.time())
            if rate:
                time.sleep(_TICK_SECONDS)
        return late * 1000

    def close(self) -> None:
        """Let the sockets go."""
        for sender, _ in self.senders:
            sender.close()


def flows_of_ipv4(
    plans: Sequence[ExporterPlan], counts: Sequence[int], people: PeoplePlan, seed: int, *, now: float, begin_ms: int,
    zone: str = "UTC",
) -> Iterator[NDArray[np.void]]:  # fmt: skip
    """For each exporter so many flows that ended in the two seconds before Unix seconds ``now``.

    Of IPv4, so that all datagrams have one size; ``begin_ms`` as in ``Line``.
    """
    population = populate(people, seed)
    leases = lease(people, population, seed, begin_ms, begin_ms + _DAY_MS, zone)
    now_ms = int(now * 1000)
    for number, (plan, count) in enumerate(zip(plans, counts, strict=True)):
        traffic = Traffic(
            plan.service, people.year, population.of(plan.service, plan.access), population,
            Ends(leases, (seed, 3, number)), sampled=plan.sampling > 1, seed=(seed, 4, number),
        )  # fmt: skip
        parts: list[NDArray[np.void]] = []
        while sum(map(len, parts)) < count:
            flows = traffic.slice(now_ms - 2_000, now_ms, 3 * count, idle_ms=0, active_ms=_DAY_MS)
            parts.append(flows[~flows["is_v6"]])
        yield np.concatenate(parts)[:count]
