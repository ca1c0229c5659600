"""Two enrichers and two sinks in groups that are shared out anew, killed, stopped and revived late: exactly once."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.enrichment import Tables
from enricher.ports import port_table
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Headers, Message
from sinks.batch import Batch
from sinks.codec import encode
from sinks.dead_letters import DeadLetters
from sinks.delivery import EnrichedHeaders, RawHeaders, SinkPosition, Verdict
from sinks.memory import MemoryProducer
from sinks.rollups import NAMES, Rollups
from sinks.schema import RAW
from sinks.service import Sink
from sinks.settings import SinkSettings
from tests.groups import Actor, GroupBus, SharedStore, Stop

START_MS = 1_700_000_000_000
PARTITIONS = 2


class Credulous(Sink):
    """A sink that takes every message: what the rule of log order is there for."""

    def _judge(self, message: Message, headers: EnrichedHeaders, position: SinkPosition) -> tuple[Verdict, str]:
        return Verdict(0, headers.rows, headers.end), ""


class World:
    """A seeded run: who moves, dies, sleeps or joins next is chance."""

    def __init__(self, seed: int, folder: Path, sink: type[Sink] = Sink) -> None:
        self.chance = random.Random(seed)
        self.bus, self.store, self.folder, self.sink = GroupBus(PARTITIONS, self.chance), SharedStore(), folder, sink
        self.time = 0.0
        self.actors: list[Actor] = []
        self.stops: dict[Actor, Stop] = {}
        self.expected: Counter[int] = Counter()
        self.dropped = self.poison = 0
        self._numbers = itertools.count()

    def clock(self) -> float:
        self.time += 0.01
        return self.time

    def raw(self, messages: int) -> None:
        """Fill flows.raw: flows, repeats of a restarted collector, rows dropped before, bodies that are damaged."""
        producer, sequences = MemoryProducer(self.bus, RAW_STREAM), [0] * PARTITIONS
        for number in range(messages):
            partition, rows = self.chance.randrange(PARTITIONS), self.chance.randint(1, 20)
            dropped = ((START_MS // 60_000 * 60, "192.0.2.9", 7),) if self.chance.random() < 0.2 else ()
            batch = Batch.empty(RAW, rows)
            batch.columns["octets"] = np.arange(number * 1000, number * 1000 + rows, dtype="i8")
            for name in ("ts", "received"):
                batch.columns[name] = np.full(rows, START_MS + number * 30_000, "i8").view("M8[ms]")
            headers: Headers = RawHeaders(
                "c@1", sequences[partition], rows, START_MS, START_MS, dropped=dropped
            ).encode()
            body = encode(batch, RAW)
            if self.chance.random() < 0.1:
                body = b"damaged"
                self.poison += rows
            else:
                self.expected.update(range(number * 1000, number * 1000 + rows))
            self.dropped += 7 * len(dropped)
            for _ in range(1 + (self.chance.random() < 0.2)):
                producer.publish(partition, headers, body)
            sequences[partition] += 1

    def start(self, role: str) -> None:
        make: dict[str, Callable[[Actor], Enricher | Sink]] = {"enricher": self._enricher, "sink": self._sink}

        def work(actor: Actor) -> None:
            make[role](actor).run(self.stops[actor])

        actor = Actor(f"{role} {next(self._numbers)}", work)
        self.stops[actor] = Stop(actor)
        self.actors.append(actor)

    def _enricher(self, actor: Actor) -> Enricher:
        # Another cut and another enrichment at every start: a repeat that is not the same bytes would show.
        random_port = self.chance.randint(2000, 60_000)
        tables = Tables(ports=port_table((f"udp/{random_port}",)))
        small = EnricherSettings(max_rows=self.chance.randint(10, 60), max_wait_seconds=0.05)
        return Enricher(self.bus.view(actor), lambda: tables, small, clock=self.clock)

    def _sink(self, actor: Actor) -> Sink:
        store = self.store.view(actor)
        few = SinkSettings(rollup_rows=self.chance.randint(10, 80), rollup_seconds=0.5)
        letters = DeadLetters(self.folder / "letters")
        return self.sink(
            self.bus.view(actor), store, Rollups(store, few, "UTC"), few, letters, self.folder / "gaps", self.clock
        )

    def run(self, steps: int) -> None:
        """Chance for so many steps, then everybody finishes in peace."""
        for role in ("enricher", "sink", "enricher", "sink"):
            self.start(role)
        self.bus.unsure = 0.1
        for _ in range(steps):
            self._disturb()
            awake = [actor for actor in self.actors if not actor.asleep]
            for actor in self.actors:
                actor.asleep = max(0, actor.asleep - 1)
            if awake:
                self._step(self.chance.choice(awake))
        self.bus.unsure = 0.0
        while self.bus.late:
            self.bus.arrive()
        for _ in range(20_000):
            if self._finished():
                break
            self._step(self.chance.choice(self.actors))
        else:
            pytest.fail("the log is not worked off")
        for role in ("enricher", "sink"):
            for actor in [actor for actor in self.actors if actor.name.startswith(role)]:
                self.stops[actor].set()
                while not actor.done:
                    self._step(actor)

    def _disturb(self) -> None:
        event, actor = self.chance.random(), self.chance.choice(self.actors)
        role = actor.name.split()[0]
        if event < 0.012:
            actor.kill()
            self.actors.remove(actor)
            self.start(role)
        elif event < 0.03:  # stopped for longer than the session: evicted, and acts late when it wakes
            actor.asleep = self.chance.randint(5, 60)
            for members in list(self.bus.members.values()):
                for member in [member for member in members if member._actor is actor]:
                    self.bus.leave(member)
        elif event < 0.035 and len(self.actors) < 6:
            self.start(role)
        elif event < 0.045 and self.bus.members:
            key = self.chance.choice(list(self.bus.members))
            self.bus.rebalance(key)
        elif event < 0.07:
            self.bus.arrive()

    def _step(self, actor: Actor) -> None:
        if not actor.done:
            actor.step()
        if actor.error is not None:
            raise actor.error

    def _finished(self) -> bool:
        for partition in range(PARTITIONS):
            end = len(self.bus.logs[ENRICHED_STREAM, partition])
            committed = self.bus.cursors.get((ENRICHED_STREAM, "sink", partition))
            if self._enriched(partition) < len(self.bus.logs[RAW_STREAM, partition]) and self._sound_left(partition):
                return False
            if end and (committed is None or committed.offset < end):
                return False
            # Messages that were skipped at the end are in no range.
            offsets = [
                table.column("bus_offset")[0].as_py() for table in self.store.tables["flows"]
                if table.column("bus_partition")[0].as_py() == partition
            ]  # fmt: skip
            if committed and offsets and json.loads(committed.metadata)["rolled"] <= max(offsets):
                return False
        return True

    def _enriched(self, partition: int) -> int:
        log = self.bus.logs[ENRICHED_STREAM, partition]
        return max((int(message.headers["se"]) for message in log), default=0)

    def _sound_left(self, partition: int) -> bool:
        """Whether there is a message left that makes an enriched one: repeats and damage at the end make none."""
        left = self.bus.logs[RAW_STREAM, partition][self._enriched(partition) :]
        before = self.bus.logs[RAW_STREAM, partition][: self._enriched(partition)]
        seen = {message.headers["sequence"] for message in before}
        return any(m.body != b"damaged" and m.headers["sequence"] not in seen for m in left)

    def stored(self) -> Counter[int]:
        return Counter(o for table in self.store.tables["flows"] for o in table.column("octets").to_pylist())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_row_once_whoever_has_the_partitions(seed: int, tmp_path: Path) -> None:
    world = World(seed, tmp_path)
    world.raw(world.chance.randint(5, 40))
    world.run(world.chance.randint(200, 900))
    assert world.stored() == world.expected
    _rollups_are_of_every_row_once(world)
    _the_audit_agrees(world)


def _rollups_are_of_every_row_once(world: World) -> None:
    rows = Counter[tuple[int, int]]()
    for table in world.store.tables["flows"]:
        rows[table.column("bus_partition")[0].as_py(), table.column("bus_offset")[0].as_py()] += len(table)
    for name in NAMES:
        assert world.store.rolled[name] == rows, name
    for partition in range(PARTITIONS):
        ranges = {
            tuple(int(n) for n in token.rsplit("/", 1)[1].split("-"))
            for _, token in world.store.commands
            if token and token.split("/")[-2] == str(partition)
        }
        at = 0
        for a, b in sorted(ranges):
            assert a == at, sorted(ranges)
            at = b


def _the_audit_agrees(world: World) -> None:
    stages: Counter[str] = Counter()
    for table in world.store.tables["audit_1m"]:
        for row in table.to_pylist():
            stages[row["stage"]] += row["rows"]
    # Poison and drops ride on the next message of their partition: what is behind the last one has not come yet.
    sound = sum(world.expected.values())
    behind = _behind_the_last(world)
    poison, dropped = world.poison - behind["poison"], world.dropped - behind["dropped"]
    wanted = {
        "decoded": sound + poison + dropped, "published": sound + poison, "enriched": sound, "inserted": sound
    }  # fmt: skip
    assert stages == Counter({stage: rows for stage, rows in wanted.items() if rows})


def _behind_the_last(world: World) -> Counter[str]:
    behind: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        log, end = world.bus.logs[RAW_STREAM, partition], world._enriched(partition)
        seen = {message.headers["sequence"] for message in log[:end]}
        for message in log[end:]:
            headers = RawHeaders.decode(message.headers)
            if message.headers["sequence"] not in seen:
                seen.add(message.headers["sequence"])
                behind["poison"] += headers.rows if message.body == b"damaged" else 0
                behind["dropped"] += sum(rows for _, _, rows in headers.dropped)
    return behind


def test_control_a_sink_that_takes_every_message_doubles_rows(tmp_path: Path) -> None:
    doubled = 0
    for seed in range(6):
        world = World(seed, tmp_path, Credulous)
        world.raw(30)
        world.run(900)
        doubled += sum((world.stored() - world.expected).values())
    assert doubled > 0
