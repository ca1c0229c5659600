"""A rollup that a new version brings gets what raw had before, once, whoever is killed in the middle."""

import random
from typing import Any

import pytest

from sinks import StoreUnavailable
from sinks.back_fill import LATER, BackFill
from sinks.delivery import SinkPosition
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate, migrations
from sinks.rollup_ranges import run_range
from sinks.rollup_tables import NAMES, of_offsets, statement
from sinks.rollups import Rollups, Span
from sinks.settings import SinkSettings
from tests.integration.test_rebuild import MIDNIGHT, some_flows
from tests.integration.test_rollup_laws import compare, insert
from tests.stored import FOR_EVER, TIMEZONE

OLD = ("bucket_1m", "bucket_end_5m", "port_1h", "subscriber_1d")


@pytest.fixture
def store(fresh_store: EmbeddedStore) -> EmbeddedStore:
    """One of its own."""
    return fresh_store


class Dying:
    """The store, of which the process dies at a random call, before or after its effect."""

    def __init__(self, store: EmbeddedStore, chance: random.Random) -> None:
        self._store, self._chance, self.left = store, chance, chance.randint(1, 12)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def dying(*arguments: object, **more: object) -> object:
            self.left -= 1
            if not self.left and self._chance.random() < 0.5:
                raise KeyboardInterrupt
            answer = call(*arguments, **more)
            if not self.left:
                raise KeyboardInterrupt
            return answer

        return dying


def old_store(store: EmbeddedStore) -> list[Any]:
    """Offsets 0 to 3 of a store with the first four rollups, as the version before left it."""
    migrate(store, FOR_EVER, TIMEZONE, known=migrations()[:9])
    rows = insert(store, some_flows(60))
    for name in OLD:
        store.command(statement(name, of_offsets(0, 0, 3), TIMEZONE), token=f"{name}/stream/0/0-3")
    cut = "INSERT INTO rollup_cut (rollup, partition, a, b, rows, made) VALUES ('all', 0, 0, 3, 30, now64(3))"
    store.command(cut)
    return rows


def test_an_upgraded_store_catches_up(empty_store: EmbeddedStore) -> None:
    rows = old_store(empty_store)
    migrate(empty_store, FOR_EVER, TIMEZONE)
    assert set(LATER) == set(NAMES) - set(OLD)
    # The sink of the new version finds a range that the old one had planned and not finished.
    sink = Rollups(empty_store, SinkSettings(), TIMEZONE)
    for name in OLD[:2]:
        empty_store.command(statement(name, of_offsets(0, 3, 4), TIMEZONE), token=f"{name}/stream/0/3-4")
    sink.begin(0, SinkPosition(rolled=3, planned=(3, 4)), 4)
    for offset in (4, 5):
        sink.stored(0, Span(offset, 10, MIDNIGHT, MIDNIGHT))
    for moment in (0.0, 100.0):
        planned = sink.due(0, moment)
        assert planned is not None
        sink.run(0, planned, "stream")
    filling = BackFill(empty_store, TIMEZONE, chunk_rows=15)
    steps = 0
    while filling.step():
        steps += 1
    assert steps == 2 * len(LATER)  # chunks of at least 15 rows: 20, then 10
    compare(empty_store, rows, TIMEZONE)
    filling.tend(0.0)
    compare(empty_store, rows, TIMEZONE)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak), pytest.param(2, marks=pytest.mark.soak)])
def test_kills_in_the_middle_double_nothing(empty_store: EmbeddedStore, seed: int) -> None:
    rows = old_store(empty_store)
    migrate(empty_store, FOR_EVER, TIMEZONE)
    Rollups(empty_store, SinkSettings(), TIMEZONE).begin(0, SinkPosition(rolled=3), 3)
    run_range(empty_store, TIMEZONE, "stream", 0, 0, 3, 6)
    chance, done = random.Random(seed), False
    for _ in range(200):
        if done:
            break
        # Another cut at every start: what was written down first decides.
        filling = BackFill(Dying(empty_store, chance), TIMEZONE, chunk_rows=chance.randint(1, 40))
        try:
            while filling.step():
                pass
            done = True
        except KeyboardInterrupt:
            continue
    assert done
    compare(empty_store, rows, TIMEZONE)


def test_a_new_store_has_nothing_to_fill(store: EmbeddedStore) -> None:
    Rollups(store, SinkSettings(), TIMEZONE).begin(0, SinkPosition(), 0)
    assert not BackFill(store, TIMEZONE).step()


def test_a_store_that_is_down_is_asked_again(store: EmbeddedStore) -> None:
    asked = []

    class Down:
        def query(self, sql: str, **parameters: object) -> object:
            asked.append(sql)
            raise StoreUnavailable("down")

    filling = BackFill(Down(), TIMEZONE)  # type: ignore[arg-type]
    for now in (0.0, 5.0, 11.0):
        filling.tend(now)
    assert len(asked) == 2
