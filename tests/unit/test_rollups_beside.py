"""A sink whose rollups run beside it: rows go on being stored, and nothing is rolled up twice or not at all."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enricher.enrichment import Tables
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, GenerationLost, StoreUnavailable
from sinks.dead_letters import DeadLetters
from sinks.memory import MemoryBus, MemoryProducer
from sinks.rollups import NAMES, Rollups
from sinks.service import Sink
from sinks.settings import SinkSettings
from tests.properties.test_exactly_once import Chance, DeadlyStore, raw_message

_SECONDS = 20.0  # until a test gives up


class SlowStore(DeadlyStore):
    """Its rollups wait until they are let go."""

    def __init__(self) -> None:
        super().__init__(Chance(1))
        self.began, self.go_on, self.fails = threading.Event(), threading.Event(), 0

    def command(self, sql: str, *, token: str | None = None) -> None:
        if token is not None:
            self.began.set()
            assert self.go_on.wait(_SECONDS)
            if self.fails:
                self.fails -= 1
                raise StoreUnavailable("away for a moment")
        super().command(sql, token=token)

    def rows(self) -> int:
        return sum(map(len, list(self.tables["flows"])))

    def ranges(self) -> list[tuple[int, int]]:
        """That the first rollup had, in their order."""
        tokens = [token for _, token in list(self.commands) if token and token.startswith(f"{NAMES[0]}/")]
        return [(int(a), int(b)) for a, b in (token.rsplit("/", 1)[1].split("-") for token in tokens)]


class Running:
    """A bus with one partition, its enricher done whenever it is fed, and a sink on a thread."""

    def __init__(self, folder: Path) -> None:
        self.bus, self.store, self.stop = MemoryBus(1), SlowStore(), threading.Event()
        self._sent = 0
        self._beside = ThreadPoolExecutor(1)
        few = SinkSettings(rollup_seconds=0.01, retry_seconds=0.01)
        rollups, letters = Rollups(self.store, few, "UTC"), DeadLetters(folder / "letters")
        self.sink = Sink(self.bus, self.store, rollups, few, letters, folder, beside=self._beside)
        self._thread = threading.Thread(target=self.sink.run, args=(self.stop,))

    def feed(self) -> None:
        """One more enriched message of five rows."""
        MemoryProducer(self.bus, RAW_STREAM).publish(0, *raw_message(self._sent, 5, self._sent))
        self._sent += 1
        stop = threading.Event()
        stop.set()
        Enricher(self.bus, Tables, EnricherSettings()).run(stop)

    def start(self) -> None:
        self._thread.start()

    def wait(self, rows: int) -> None:
        """Until so many rows are stored."""
        self.until(lambda: self.store.rows() >= rows)

    def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until it holds."""
        waited = threading.Event()
        for _ in range(int(_SECONDS / 0.01)):
            if is_true():
                return
            waited.wait(0.01)
        pytest.fail(f"{self.store.rows()} rows, ranges {self.store.ranges()}, {self.sink.failed}")

    def end(self) -> None:
        self.store.go_on.set()
        self.stop.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS)
        self._beside.shutdown()
        assert not self._thread.is_alive()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = Running(tmp_path)
    yield found
    found.end()


def whole(ranges: list[tuple[int, int]], end: int) -> bool:
    """Whether each offset below the end is in one range, in order."""
    return [offset for a, b in ranges for offset in range(a, b)] == list(range(end))


def test_rows_are_stored_while_a_range_runs(running: Running) -> None:
    running.feed()
    running.start()
    assert running.store.began.wait(_SECONDS)  # the range of the first message stands still
    running.feed()
    running.wait(10)
    assert running.store.ranges() == []
    running.end()
    assert whole(running.store.ranges(), 2)


def test_a_range_that_failed_is_run_again_with_the_same_ends(running: Running) -> None:
    running.store.fails = 2
    running.feed()
    running.start()
    assert running.store.began.wait(_SECONDS)
    running.feed()
    running.wait(10)
    running.store.go_on.set()
    running.until(lambda: len(running.store.ranges()) == 2)
    running.end()
    assert running.store.ranges() == [(0, 1), (1, 2)]
    assert running.sink.failed is None


def test_a_range_of_a_lost_generation_is_repeated_and_counts_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.feed()
    running.start()
    assert running.store.began.wait(_SECONDS)
    lost = threading.Event()
    step = running.sink._step

    def lose(*given: object) -> int:
        if not lost.is_set():
            lost.set()
            raise GenerationLost("partitions moved")
        return step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(running.sink, "_step", lose)
    assert lost.wait(_SECONDS)
    running.feed()
    running.wait(10)  # of the next generation, while the range of the first still stands
    running.end()
    assert whole(running.store.ranges(), 2)
    committed = running.bus.consumer(ENRICHED_STREAM, "sink").committed(0)
    assert committed is not None and committed.offset == 2
