"""The broker as a fixture: ``from tests.broker.fixtures import broker`` in a conftest."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.broker import Broker, NoBroker

_running: list[tuple[Broker, int]] = []  # several conftests may import the fixture: all get one broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the session, about 4 s to start; tests use topics of their own (``kafka.topic_prefix``)."""
    if not _running:
        try:
            _running.append((Broker(tmp_path_factory.mktemp("broker")), 0))
        except NoBroker as missing:
            pytest.skip(str(missing))
        _running[0][0].start()
    running, users = _running[0]
    _running[0] = (running, users + 1)
    yield running
    running, users = _running[0]
    _running[0] = (running, users - 1)
    if users == 1:
        _running.clear()
        collect()
        running.kill()


def collect() -> None:
    """Let go of the sockets that kafka-python leaves behind, while nobody takes them for a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
