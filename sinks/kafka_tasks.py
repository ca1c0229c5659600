"""Calls that a service's thread leaves to the thread of a Kafka client, which alone may touch it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import kafka.errors

from sinks import BusUnavailable, GenerationLost
from sinks.kafka_client import ClientHung

T = TypeVar("T")


class _Task:
    """One call and what came of it."""

    def __init__(self, work: Callable[[Any], Any], epoch: int) -> None:
        self.work, self.epoch = work, epoch
        self.done = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None


class Tasks:
    """A queue of calls, each of one generation: what was asked in an older one is never done in a newer."""

    def __init__(self, topic: str, seconds: float) -> None:
        """``seconds`` is how long a caller waits at most."""
        self._topic, self._seconds = topic, seconds
        self._waiting: deque[_Task] = deque()
        self.asked = threading.Event()

    def ask(self, work: Callable[[Any], T], epoch: int) -> T:
        """What ``work(client)`` gives or raises on the client's thread; ClientHung when that does not come round."""
        task = _Task(work, epoch)
        self._waiting.append(task)
        self.asked.set()
        if not task.done.wait(self._seconds):
            task.epoch = -1  # not begun: never
            raise ClientHung(f"{self._topic}: no answer in {self._seconds:.0f} s")
        if task.error is not None:
            raise task.error
        return task.value  # type: ignore[no-any-return]

    def do_one(self, client: Any, epoch: Callable[[], int]) -> bool:
        """Do the oldest one; False: there is none."""
        if not self._waiting:
            return False
        task = self._waiting.popleft()
        try:
            if task.epoch != epoch():
                raise GenerationLost(f"{self._topic}: the partitions were given out anew")
            task.value = task.work(client)
        except kafka.errors.KafkaError as error:
            task.error = BusUnavailable(f"{self._topic}: {error!r}")
        except Exception as error:
            task.error = error
        task.done.set()
        return True

    def fail(self, text: str) -> None:
        """All that wait get BusUnavailable."""
        while self._waiting:
            task = self._waiting.popleft()
            task.error = BusUnavailable(f"{self._topic}: {text}")
            task.done.set()

    def pause(self, seconds: float) -> None:
        """Sleep until somebody asks."""
        self.asked.wait(seconds)
        self.asked.clear()
