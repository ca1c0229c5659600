"""Buses over the test broker: a topic prefix each, so tests share a broker and nothing else."""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sinks import GenerationLost, Message
from sinks.kafka import KafkaBus
from sinks.kafka_client import Limits
from sinks.kafka_consumer import KafkaConsumer
from sinks.settings import BusSettings, KafkaSettings
from tests.broker import Broker

_numbers = itertools.count()
QUICK = Limits(answer_seconds=3.0, close_seconds=1.0, metadata_seconds=1.0)


def prefix() -> str:
    """One that no test used before."""
    return f"t{os.getpid()}-{next(_numbers)}."


def bus_of(
    broker: Broker, topic_prefix: str = "", *, member: str = "", partitions: int = 2, ready: bool = True,
    limits: Limits | None = None, url: str = "", **kafka: Any,
) -> KafkaBus:  # fmt: skip
    """A bus with short waits; its topics are made."""
    settings = KafkaSettings(**{"topic_prefix": topic_prefix or prefix(), "session_seconds": 6.0, **kafka})
    bus = KafkaBus(
        BusSettings(url=url or broker.url, partitions=partitions), settings, member, limits or replace(QUICK)
    )
    if ready:
        bus.prepare(lambda _: None)
    return bus


def until(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true answer; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return answer


def partitions_of(consumer: KafkaConsumer, seconds: float = 15.0) -> Sequence[int]:
    """What the member has once the group gave it something."""
    found: Sequence[int] = until(consumer.assigned, seconds)
    return found


def read(consumer: KafkaConsumer, count: int, seconds: float = 15.0) -> list[Message]:
    """The next ``count`` messages, or fewer when they do not come in time."""
    messages: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        messages += consumer.poll(64 << 20, 0.2)
    return messages


def lost(consumer: KafkaConsumer, seconds: float = 15.0) -> bool:
    """Whether the generation is lost within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            consumer.poll(1 << 20, 0.1)
        except GenerationLost:
            return True
    return False
