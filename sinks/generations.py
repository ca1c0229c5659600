"""A service that works on the partitions of one generation after another, and begins again after whatever fails."""

import threading
from typing import Any, ClassVar, Protocol

import structlog

from sinks import Bus, Consumer, GenerationLost
from sinks.telemetry import limited

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # after one failure, two, ...: a broker that is down is not asked for ever


class Stopped(Exception):  # noqa: N818
    """Told to stop while waiting; what is unfinished is on the bus."""


class Counters(Protocol):
    """Metrics of a service."""

    @property
    def GENERATIONS(self) -> Any:  # noqa: N802
        """Counter of generations that were lost."""

    @property
    def RESTARTS(self) -> Any:  # noqa: N802
        """Counter of failures."""


class Generations:
    """Base of the services; run by one thread."""

    stream: ClassVar[str]
    group: ClassVar[str]
    sound: ClassVar[tuple[type[Exception], ...]]
    """Failures after which the consumer stays in its group."""

    def __init__(self, bus: Bus, metrics: Counters) -> None:
        self._bus, self._counters = bus, metrics
        self._consumer: Consumer | None = None
        self._log = structlog.get_logger(self.group)
        self._failures = 0  # in a row
        self.failed: str | None = None  # why the last attempt ended, for /healthz

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; then what is already in the stream is finished."""
        try:
            while self._run_generation(stop):
                pass
        finally:
            if self._consumer is not None:
                self._consumer.close()

    def _run_generation(self, stop: threading.Event) -> bool:
        """Work on the partitions of one generation; True: begin again."""
        try:
            if self._consumer is None:
                self._consumer = self._bus.consumer(self.stream, self.group)
            self._work(self._consumer, stop)
            return False
        except Stopped:
            return False
        except GenerationLost as lost:  # the consumer stays: leaving would make every rebalance the cause of the next
            self._counters.GENERATIONS.inc()
            self._log.info("partitions are given out anew", reason=str(lost))
            return True
        except self.sound as error:
            return self._pause(error, stop)
        except Exception as error:  # nothing that one message or one answer holds may end the stream
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                consumer.close()
            return self._pause(error, stop)

    def _pause(self, error: Exception, stop: threading.Event) -> bool:
        self.failed = f"{type(error).__name__}: {error}"
        self._counters.RESTARTS.inc()
        limited(self._log.error, "restart", "begin again from what is committed", error=self.failed, exc_info=True)
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        return not stop.wait(pause)

    def _work(self, consumer: Consumer, stop: threading.Event) -> None:
        raise NotImplementedError
