"""A bus with consumer groups and a store, driven step by step: services run as threads of which one moves at a time."""

import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import pyarrow as pa

from sinks import Committed, GenerationLost, Headers, Message, OffsetGone, Parts, Unacknowledged
from sinks.memory import MemoryBus, MemoryConsumer, MemoryProducer, MemoryStore
from sinks.rollup_tables import LABELS


class Killed(BaseException):
    """Not an Exception: nothing in the services may catch it, as nothing catches SIGKILL."""


class Actor:
    """A service in a thread that moves from one point to the next when it is told to."""

    def __init__(self, name: str, work: Callable[["Actor"], None]) -> None:
        self.name, self.killed, self.done, self.asleep = name, False, False, 0
        self.error: BaseException | None = None
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def point(self) -> None:
        """Called by the service: wait to be moved on, or die here."""
        if self.killed:
            raise Killed
        self._there.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def step(self) -> None:
        """Move to the next point."""
        self._go.release()
        assert self._there.acquire(timeout=20), f"{self.name} neither moves nor ends"

    def kill(self) -> None:
        """Let it die where it stands."""
        self.killed = True
        self._go.release()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self, work: Callable[["Actor"], None]) -> None:
        self._go.acquire()
        try:
            if not self.killed:
                work(self)
        except Killed:
            pass
        except BaseException as error:  # shown by the test that steps it
            self.error = error
        self.done = True
        self._there.release()


class Stop(threading.Event):
    """An event whose waits take a step and no time."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self._actor = actor

    def wait(self, timeout: float | None = None) -> bool:
        self._actor.point()
        return self.is_set()


class GroupBus(MemoryBus):
    """Partitions are shared out among the members of a group; each change is a generation."""

    def __init__(self, partitions: int, chance: random.Random) -> None:
        super().__init__(partitions)
        self.chance = chance
        self.members: dict[tuple[str, str], list[GroupConsumer]] = defaultdict(list)
        self.generation: dict[tuple[str, str], int] = defaultdict(int)
        self.late: list[tuple[str, int, Headers, bytes | Parts]] = []  # sent, not acknowledged, and still on their way
        self.unsure = 0.0  # how often nobody knows whether a message was appended

    def view(self, actor: Actor) -> "View":
        return View(self, actor)

    def rebalance(self, key: tuple[str, str]) -> None:
        self.generation[key] += 1
        members = self.members[key]
        self.chance.shuffle(members)
        for number, member in enumerate(members):
            member.mine = [p for p in range(self.partitions) if p % len(members) == number]

    def leave(self, member: "GroupConsumer") -> None:
        if member in self.members[member.key]:
            self.members[member.key].remove(member)
            self.rebalance(member.key)

    def arrive(self) -> None:
        """One of the late messages is appended after all."""
        if self.late:
            stream, partition, headers, body = self.late.pop(self.chance.randrange(len(self.late)))
            MemoryProducer(self, stream).publish(partition, headers, body)


class View:
    """The bus as one actor sees it."""

    def __init__(self, bus: GroupBus, actor: Actor) -> None:
        self._bus, self._actor = bus, actor

    @property
    def partitions(self) -> int:
        return self._bus.partitions

    def stream_id(self, stream: str) -> str:
        return self._bus.stream_id(stream)

    def producer(self, stream: str) -> "SteppedProducer":
        return SteppedProducer(self._bus, stream, self._actor)

    def consumer(self, stream: str, group: str) -> "GroupConsumer":
        return GroupConsumer(self._bus, stream, group, self._actor)

    def trim(self, stream: str, partition: int, before: int) -> None:
        """Retention is not the sink's."""


class SteppedProducer(MemoryProducer):
    def __init__(self, bus: GroupBus, stream: str, actor: Actor) -> None:
        super().__init__(bus, stream)
        self._group_bus, self._actor = bus, actor

    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        self._actor.point()
        bus = self._group_bus
        if bus.chance.random() < bus.unsure:
            if bus.chance.random() < 0.5:
                super().publish(partition, headers, body)
            elif bus.chance.random() < 0.5:
                bus.late.append((self._stream, partition, headers, body))
            raise Unacknowledged("no answer")
        offset = super().publish(partition, headers, body)
        self._actor.point()
        return offset

    def last(self, partition: int) -> Headers | None:
        self._actor.point()
        return super().last(partition)


class GroupConsumer(MemoryConsumer):
    def __init__(self, bus: GroupBus, stream: str, group: str, actor: Actor) -> None:
        self.key, self.mine = (stream, group), list[int]()
        self._group_bus, self._actor, self._seen = bus, actor, -1
        super().__init__(bus, stream, group)
        self._next = {}
        self._join()

    def _join(self) -> None:
        self._group_bus.members[self.key].append(self)
        self._group_bus.rebalance(self.key)

    def _check(self) -> None:
        if self._seen != self._group_bus.generation[self.key] or self not in self._group_bus.members[self.key]:
            raise GenerationLost("given out anew")

    def assigned(self) -> Sequence[int]:
        self._actor.point()
        if self not in self._group_bus.members[self.key]:
            self._join()
        self._seen, self._next = self._group_bus.generation[self.key], {}
        return tuple(self.mine)

    def committed(self, partition: int) -> Committed | None:
        if self._seen >= 0:
            self._actor.point()
            self._check()
        return super().committed(partition)

    def seek(self, partition: int, offset: int) -> None:
        self._check()
        super().seek(partition, offset)

    def bounds(self, partition: int) -> tuple[int, int]:
        if self._seen >= 0:
            self._check()
        return super().bounds(partition)

    def end(self, partition: int) -> int:
        self._check()
        return super().end(partition)

    def settle(self) -> None:
        self._check()

    def poll(self, max_bytes: int, timeout_seconds: float) -> Sequence[Message]:
        self._actor.point()
        self._check()
        found: list[Message] = []
        for partition, position in self._next.items():
            first, end = super().bounds(partition)
            if not first <= position <= end:
                raise OffsetGone(self._stream, partition, position, first, end)
            log = self._bus.logs[self._stream, partition]
            found += log[position : position + self._group_bus.chance.randint(1, 4)]
        for message in found:
            self._next[message.partition] = message.offset + 1
        return found

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        self._actor.point()
        self._check()
        assert partition in self.mine
        super().commit(partition, offset, metadata)
        self._actor.point()

    def close(self) -> None:
        self._group_bus.leave(self)


class SharedStore(MemoryStore):
    """One store of all sinks: answers the sink's questions, and notes what each range held when it was rolled up."""

    def __init__(self) -> None:
        super().__init__()
        self.rolled: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)

    def view(self, actor: Actor) -> "SteppedStore":
        return SteppedStore(self, actor)

    def rows_of(self, sql: str) -> Counter[tuple[int, int]]:
        """Rows by (partition, offset) of the sink's WHERE."""
        found = re.search(r"bus_partition = (\d+) AND bus_offset >= (\d+) AND bus_offset < (\d+)", sql)
        assert found, sql
        partition, a, b = (int(group) for group in found.groups())
        counts: Counter[tuple[int, int]] = Counter()
        for table in self.tables["flows"]:
            offset = table.column("bus_offset")[0].as_py()
            if table.column("bus_partition")[0].as_py() == partition and a <= offset < b:
                counts[partition, offset] += len(table)
        return counts

    def command(self, sql: str, *, token: str | None = None) -> None:
        if ("", token) not in self._tokens and token:
            self.rolled[token.split("/", 1)[0]].update(self.rows_of(sql))
        super().command(sql, token=token)

    def query(self, sql: str, **parameters: object) -> pa.Table:
        if "FROM bus_stream" in sql:
            wanted = (parameters["stream"], parameters["partition"])
            made = [row for table in self.tables["bus_stream"] for row in table.to_pylist()]
            found = [row["base"] for row in made if (row["stream"], row["partition"]) == wanted]
            return pa.table({"base": pa.array(found[:1], pa.uint64())})
        if "FROM rollup_hold" in sql:  # nobody rebuilds, and what is done is known by its token
            return pa.table({"held": [0], "done": [0]})
        if "FROM rollup_cut" in sql:
            cuts = [row for table in self.tables["rollup_cut"] for row in table.to_pylist()]
            ends = [
                row["b"] for row in cuts
                if row["partition"] == parameters["partition"] and row["a"] >= parameters["base"]
            ]  # fmt: skip
            return pa.table({"b": [max(ends, default=0)]})
        if "max(bus_offset)" in sql:
            offsets = [
                table.column("bus_offset")[0].as_py() for table in self.tables["flows"]
                if table.column("bus_partition")[0].as_py() == parameters["partition"]
            ]  # fmt: skip
            return pa.table({"base": [max(offsets, default=-1) + 1], "n": [len(offsets)]})
        if "LIMIT 1 BY" in sql:  # the labels of a range
            return pa.table({name: [""] for name in LABELS})
        counts = self.rows_of(sql)
        if "GROUP BY" not in sql:
            return pa.table({"rows": [sum(counts.values())]})
        rows = [{"bus_offset": o, "rows": n, "low": 0, "high": 0} for (_, o), n in sorted(counts.items())]
        return pa.Table.from_pylist(rows)


class SteppedStore:
    """The shared store as one actor sees it."""

    def __init__(self, store: SharedStore, actor: Actor) -> None:
        self._store, self._actor = store, actor

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        self._actor.point()
        self._store.insert(table, rows, token=token)
        self._actor.point()

    def command(self, sql: str, *, token: str | None = None) -> None:
        self._actor.point()
        self._store.command(sql, token=token)
        self._actor.point()

    def query(self, sql: str, **parameters: object) -> pa.Table:
        return self._store.query(sql, **parameters)

    def close(self) -> None:
        """Nothing to let go."""
