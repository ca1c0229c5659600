"""One engine a test session (it opens one directory in the life of a process), a database a test."""

import itertools
from collections.abc import Iterator

import pytest

from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.broker.fixtures import broker as broker
from tests.stored import FOR_EVER, TIMEZONE

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
def store(empty_store: EmbeddedStore) -> EmbeddedStore:
    """A database with all tables, which forgets nothing."""
    migrate(empty_store, FOR_EVER, TIMEZONE)
    return empty_store
