"""The broker as a fixture: ``from tests.broker.fixtures import broker`` in a conftest."""

from collections.abc import Iterator

import pytest

from tests.broker import Broker, NoBroker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the session, about 3 s to start; tests use topics of their own (``topic_prefix``)."""
    try:
        running = Broker(tmp_path_factory.mktemp("broker"))
    except NoBroker as missing:
        pytest.skip(str(missing))
    try:
        yield running.start()
    finally:
        running.kill()
