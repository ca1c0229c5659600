"""The demo's days before its first live flow: put into the log once, before the collector has it, whatever kills us.

The messages are the collector's own, of its origin and with its numbers, and they are marked (``RawHeaders.history``).
What is about to be written is noted first, so that the next start goes on behind the last message that is there.
"""

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

from collector.batcher import cut
from collector.ledger import Ledger, Shape
from collector.publisher import Publisher
from flowtide.demo_scenario import demo_leases, demo_scenario
from flowtide.parts import compression, is_kafka, open_outbox
from flowtide.settings import Settings
from flowtide.simulator.history import Counters, History, Part
from sinks import RAW_STREAM, BusFull
from sinks.segments import write_atomic
from sinks.spool import Spool

_MOST_SECONDS = 20.0  # of making and writing; what is older is given up
_LEAST_GAP_SECONDS = 30  # since the last demo in this directory; a shorter one is left
_ROW_BYTES = 256  # in the log, at the most
_OBSERVATIONS = 32_768  # rows a message of counters


@dataclass(frozen=True, slots=True)
class Written:
    """What was put into the log."""

    rows: int = 0
    since: int = 0  # Unix seconds
    until: int = 0
    seconds: float = 0.0
    whole: bool = True
    why_not: str = ""  # nothing was written


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is being written, or, once done, how far this directory is covered: by history, and then by live flows."""

    since: int
    until: int
    seed: int
    rate: int
    zone: str
    first: tuple[int, ...]  # the number of its first message, by partition
    done: bool = False


class DemoHistory:
    """The history of one data directory; nobody else may run on it meanwhile."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` bounds how long the making takes."""
        self._settings, self._clock = settings, clock
        self._path = settings.data / "state" / "demo-history.json"

    def write(self, days: int, seed: int, rate: int, now: int) -> Written:
        """Up to ``days`` before ``now`` (Unix seconds) into a fresh directory, or what is missing since the last demo.

        SpoolError, AlreadyOwned.
        """
        if not days:
            return Written(why_not="none is wanted")
        if is_kafka(self._settings):
            return Written(why_not="only a spool gets one, and the bus is Kafka")
        try:
            plan = self._read()
        except (ValueError, TypeError, KeyError) as error:
            return Written(why_not=f"{self._path} is damaged ({error}); a fresh directory gets one")
        spool = open_outbox(self._settings)
        publisher = Publisher(spool, self._settings.collector.id, compression(self._settings), history=True)
        try:
            return self._write(spool, publisher, plan, days, seed, rate, now)
        except BusFull:  # of the disk; what is in the log counts
            return Written(whole=False)
        finally:
            publisher.close()

    def covered(self, until: int) -> None:
        """Live flows are there up to Unix seconds ``until``: a later demo fills up from there."""
        # A note that cannot be read or written was told at the start, or is by others: the demo goes on.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            plan = self._read()
            if plan is not None and plan.done:
                self._save(replace(plan, until=max(plan.until, until)))

    def _write(
        self, spool: Spool, publisher: Publisher, plan: _Plan | None, days: int, seed: int, rate: int, now: int
    ) -> Written:
        partitions = range(spool.partitions)
        if plan is None and any(publisher.has(partition, 0) for partition in partitions):
            return Written(why_not=f"{self._settings.data.resolve()} has flows already; a fresh directory gets one")
        began = self._clock()
        found = Written()
        if plan is not None and not plan.done:
            if all(publisher.wrote_all_since(partition, plan.first[partition]) for partition in partitions):
                found = self._put(spool, publisher, plan, began)
            # Else a collector wrote on behind it: the numbers of the rest are taken, and the rest is given up.
            plan = self._finish(plan)
        since = max(now - days * 86_400, plan.until if plan is not None else 0)
        if now - since < _LEAST_GAP_SECONDS:
            return found if found.rows else Written(why_not="it is there from an earlier start")
        # What a killed collector was about to write is judged by the log's end, which is about to move.
        ledger = self._settings.data / "state" / "ledger"
        if ledger.exists():
            Ledger.open(ledger, Shape(), publisher.has)
        zone = self._settings.timezone
        plan = _Plan(since, now, seed, rate, zone, tuple(publisher.following(partition) for partition in partitions))
        self._save(plan)
        gap = self._put(spool, publisher, plan, began)
        self._finish(plan)
        return replace(gap, rows=found.rows + gap.rows, since=found.since or gap.since, whole=found.whole and gap.whole)

    def _put(self, spool: Spool, publisher: Publisher, plan: _Plan, began: float) -> Written:
        """Write what of a plan is not in the log yet."""
        scenario = demo_scenario(plan.seed, plan.rate, plan.zone)
        leases = demo_leases(scenario, plan.until)
        history = History(scenario, plan.since, plan.until, collector=self._settings.collector.id, leases=leases)
        number = list(plan.first)
        rows, reached = 0, plan.until

        def unless_there(partition: int, append: Callable[[], object]) -> None:
            if not publisher.has(partition, number[partition]):
                append()
                if not publisher.has(partition, number[partition]):
                    raise BusFull(f"{RAW_STREAM}/{partition} takes no more")
            number[partition] += 1

        counters: Counters = []
        for part in history.parts():
            if self._clock() - began > _MOST_SECONDS or _is_full(spool, part):
                break
            for partition, piece in cut(part.batch, spool.partitions):
                unless_there(partition, partial(publisher.publish, piece))
            counters += part.counters
            rows, reached = rows + len(part.batch), part.since
        whole = reached <= plan.since
        # Behind all rows, so that these keep their numbers wherever an attempt ends: of a whole history only.
        for table, observations in _observations(counters, self._settings.collector.id).items() if whole else ():
            for start in range(0, len(observations), _OBSERVATIONS):
                some = observations[start : start + _OBSERVATIONS]
                unless_there(0, partial(publisher.publish_rows, table, some))
        return Written(rows, reached, plan.until, self._clock() - began, whole)

    def _read(self) -> _Plan | None:
        try:
            value = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        return _Plan(**{**value, "first": tuple(value["first"])})

    def _finish(self, plan: _Plan) -> _Plan:
        done = replace(plan, done=True)
        self._save(done)
        return done

    def _save(self, plan: _Plan) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps(asdict(plan)).encode())


def _is_full(spool: Spool, part: Part) -> bool:
    """Whether it would take more than half of the log's bound: live flows come first."""
    taken = sum(spool.octets(RAW_STREAM, partition) for partition in range(spool.partitions))
    return taken + _ROW_BYTES * len(part.batch) > spool.bound // 2


def _observations(counters: Counters, collector: str) -> dict[str, list[dict[str, object]]]:
    """Counters of exporters, and what follows from them for the stages before the bus."""
    health: list[dict[str, object]] = []
    stages: dict[tuple[int, str, str], int] = defaultdict(int)
    told = {"datagrams": ("receive", "datagrams"), "rows": ("bus", "published_rows")}
    for minute, exporter, domain, counter, value in counters:
        health.append({"time": minute, "collector": collector, "exporter": exporter, "domain": domain,
                       "counter": counter, "value": value})  # fmt: skip
        if counter in told:
            stages[minute, *told[counter]] += value
    stage: list[dict[str, object]] = [
        {"time": minute, "collector": collector, "stage": stage, "counter": counter, "value": value}
        for (minute, stage, counter), value in stages.items()
    ]
    return {"exporter_health_1m": health, "stage_1m": stage}
