"""One engine a test session (it opens one directory in the life of a process), a database a test."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.names import put_networks, read_networks
from tests.broker.fixtures import broker as broker
from tests.known_flows import NETWORKS, NOW, known_observations, known_rows, store_flows, store_observations
from tests.known_weeks import store_weeks
from tests.stored import FOR_EVER, TIMEZONE

Facts = list[list[dict[str, Any]]]
KEPT = ("schema_version", "setting")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """The engine of this process."""
    store = EmbeddedStore(tmp_path_factory.mktemp("engine"), memory_bytes=4 << 30)
    yield store
    store.close()


@pytest.fixture
def empty_store(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """An empty database of the session's engine."""
    name = f"test_{next(_numbers)}"
    yield engine.in_database(name)
    engine.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def fresh_store(empty_store: EmbeddedStore) -> EmbeddedStore:
    """A database with all tables that no test had before: where partitions are exchanged, tokens outlive their rows."""
    migrate(empty_store, FOR_EVER, TIMEZONE)
    return empty_store


@pytest.fixture(scope="session")
def known(engine: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A database with the known flows in every table; nobody writes to it."""
    store = engine.in_database("known")
    migrate(store, FOR_EVER, TIMEZONE)
    store_flows(store, known_rows())
    store_observations(store, known_observations())
    store_weeks(store)
    path = tmp_path_factory.mktemp("names") / "networks.csv"
    path.write_text(NETWORKS)
    put_networks(store, read_networks(path), NOW.timestamp())
    yield store
    engine.command("DROP DATABASE known SYNC")


class Made:
    """Databases with all tables.  Making one costs as much as a test, so one that is given back is emptied and lent
    again, if its tables and settings are still as they were made."""

    def __init__(self, engine: EmbeddedStore) -> None:
        self._engine = engine
        self._free: defaultdict[str, list[EmbeddedStore]] = defaultdict(list)
        self._facts: dict[str, Facts] = {}

    def lend(self, zone: str = TIMEZONE) -> EmbeddedStore:
        """An empty one of a time zone."""
        if self._free[zone]:
            return self._free[zone].pop()
        store = self._engine.in_database(f"made_{next(_numbers)}")
        migrate(store, FOR_EVER, zone)
        self._facts[store.database] = facts(store)
        return store

    def take_back(self, store: EmbeddedStore, zone: str = TIMEZONE) -> None:
        """Emptied, or dropped."""
        sql = "SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"
        full = {row["name"] for row in store.query(sql).to_pylist()} - set(KEPT)
        # What dictionaries hold in memory would outlive their table.
        if any(name.startswith("network") for name in full) or facts(store) != self._facts[store.database]:
            self._engine.command(f"DROP DATABASE {store.database} SYNC")
            return
        for name in full:
            store.command(f"TRUNCATE TABLE {name} SYNC")  # forgets its tokens, too
        self._free[zone].append(store)


def facts(store: EmbeddedStore) -> Facts:
    """What a test may have changed beside rows."""
    tables = store.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()")
    return [tables.to_pylist(), *(store.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() for name in KEPT)]


@pytest.fixture(scope="session")
def made(engine: EmbeddedStore) -> Made:
    """Of this process."""
    return Made(engine)


@pytest.fixture
def store(made: Made) -> Iterator[EmbeddedStore]:
    """A database with all tables, which forgets nothing."""
    lent = made.lend()
    yield lent
    made.take_back(lent)
