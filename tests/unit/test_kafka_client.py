"""A client library that never comes back stops nothing for good."""

import threading
import time
from typing import Any

import pytest

from sinks.kafka_client import ClientHung, Limits, bounded
from sinks.kafka_consumer import KafkaConsumer

QUICK = Limits(answer_seconds=0.1, close_seconds=0.1)


def test_what_comes_back_in_time_is_given_or_raised() -> None:
    assert bounded(lambda: 7, 1, "seven") == 7
    with pytest.raises(KeyError):
        bounded(lambda: dict[str, int]()["no"], 1, "a key")


def test_what_does_not_come_back_is_given_up() -> None:
    forever = threading.Event()
    with pytest.raises(ClientHung, match="describe"):
        bounded(forever.wait, 0.05, "describe topics")
    forever.set()


class Hanging:
    """A client whose poll never comes back once it is told so."""

    def __init__(self) -> None:
        self.hang = threading.Event()
        self.free = threading.Event()
        self._cluster = self

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    def topic_id(self, topic: str) -> None:
        return None

    def subscribe(self, topics: list[str], listener: Any) -> None:
        pass

    def poll(self, timeout_ms: int) -> dict[Any, Any]:
        if self.hang.is_set():
            self.free.wait()
        return {}

    def close(self, **_: Any) -> None:
        pass


def test_a_reader_whose_client_hangs_says_so() -> None:
    client = Hanging()
    reader = KafkaConsumer(lambda: client, "t", "g", 1, lambda _: "id", QUICK)
    reader.assigned()
    assert reader.poll(1, 0.05) == ()
    client.hang.set()
    deadline = time.monotonic() + 10
    with pytest.raises(ClientHung):
        while time.monotonic() < deadline:
            reader.poll(1, 0.05)
    client.free.set()
    reader.close()
