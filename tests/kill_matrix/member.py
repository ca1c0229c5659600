"""One process of a cluster over a broker, which dies, stands still or kills the store where it is told.

``member.py '{"folder": …, "role": …, "name": …, "servers": …, "prefix": …, "http": …, "seed": …, "orders": […]}'``;
an order is [point, which time, KILL | STOP | STORE], and the next one counts from when the one before was done.
Says on its output, a JSON object a line, what it was given, what it did and what was refused.
"""

import json
import os
import random
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import enricher.service
from collector.shipper import Shipper
from sinks import RAW_STREAM, GenerationLost, Headers
from sinks.clickhouse import ClickHouseStore
from sinks.kafka import KafkaBus
from sinks.kafka_client import Limits
from sinks.settings import BusSettings, HttpSettings, KafkaSettings
from sinks.spool import Spool
from tests.kill_matrix.child import (
    PARTITIONS,
    Point,
    PointedBus,
    PointedConsumer,
    PointedProducer,
    PointedStore,
    Proxy,
    publish,
)  # fmt: skip
from tests.kill_matrix.child import (
    enricher as new_enricher,
)
from tests.kill_matrix.child import (
    sink as new_sink,
)
from tests.stored import FOR_EVER

TOKEN = "only-for-tests-0123456789"
PAUSE_SECONDS = 0.5  # between messages of the collector, 6,000 rows a second: a backlog would only take time
LIMITS = Limits(answer_seconds=10.0, close_seconds=2.0)  # the machine may be busy with other tests
_LATE = 0.006  # a request is out and answered well within it


def say(**facts: object) -> None:
    """One line, whole: threads of the client say things too."""
    os.write(1, (json.dumps(facts) + "\n").encode())


class Orders(Point):
    """Points one after another, for a process that may outlive them."""

    def __init__(self, orders: Sequence[tuple[str, int, str]], store_pid: Path) -> None:
        self._orders, self._store_pid = deque(orders), store_pid
        self._following()

    def _following(self) -> None:
        name, nth, how = self._orders.popleft() if self._orders else ("", 0, "")
        super().__init__(name, nth, how)

    def act(self) -> None:
        name, how = self.name, self.how
        self._following()
        say(at=name, how=how)
        if how == "STORE":
            os.kill(int(self._store_pid.read_text()), signal.SIGKILL)
        else:
            # To this thread: sent to the process, it may go on until another one has taken the signal.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP if how == "STOP" else signal.SIGKILL)
            say(revived=name)


class BrokerBus(PointedBus):
    def producer(self, stream: str) -> "PointedProducer":
        return BrokerProducer(self._inner.producer(stream), self._point, self._role)

    def consumer(self, stream: str, group: str) -> "PointedConsumer":
        return BrokerConsumer(self._inner.consumer(stream, group), self._point, self._role)

    def appender(self, stream: str) -> "PointedAppender":
        return PointedAppender(self._inner.appender(stream), self._point, self._role)


class BrokerProducer(PointedProducer):
    def __init__(self, inner: Any, point: Point, role: str) -> None:
        super().__init__(inner, point, role)
        send = inner._producer.send

        def sent(*arguments: Any, **names: Any) -> Any:
            future = send(*arguments, **names)
            point.soon(f"{role} after send", random.uniform(0.0, _LATE))
            return future

        inner._producer.send = sent


class BrokerConsumer(PointedConsumer):
    _said: Sequence[int] = ()

    def assigned(self) -> Sequence[int]:
        found: Sequence[int] = self._inner.assigned()
        if found != self._said:
            self._said = found
            say(assigned=list(found))
        return found

    def commit(self, partition: int, offset: int, metadata: str) -> None:
        try:
            super().commit(partition, offset, metadata)
        except GenerationLost:
            say(refused="commit", partition=partition, offset=offset)
            raise


class PointedAppender(Proxy):
    def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> "PointedPending":
        self._point.reach("shipper before produce")
        pending = self._inner.send(partition, headers, body)
        self._point.soon("shipper after send", random.uniform(0.0, _LATE))
        return PointedPending(pending, self._point, self._role)


class PointedPending(Proxy):
    @property
    def acknowledged(self) -> bool:
        done: bool = self._inner.acknowledged
        if done:
            self._point.reach("shipper after acknowledgement")
        return done


def bus_of(about: dict[str, Any]) -> KafkaBus:
    """The topics of this trial, as a member that keeps its name over restarts (where it has one)."""
    kafka = KafkaSettings(topic_prefix=about["prefix"], session_seconds=6.0)
    settings = BusSettings(url=f"kafka://{about['servers']}", partitions=PARTITIONS)
    return KafkaBus(settings, kafka, about["name"], LIMITS)


def outbox_of(folder: Path) -> Spool:
    """What the collector writes and the shipper reads."""
    settings = BusSettings(partitions=PARTITIONS, segment_bytes=1 << 22, max_bytes=1 << 32)
    return Spool(folder / "outbox", settings, streams=(RAW_STREAM,))


def store_of(http: int) -> ClickHouseStore:
    """The store that all sinks share."""
    return ClickHouseStore(f"http://127.0.0.1:{http}", user="admin", password=TOKEN, timeout=60)


def serve(folder: Path, http: int, stop: threading.Event) -> None:
    """Hold the engine behind its port."""
    from sinks.embedded import EmbeddedStore
    from sinks.http_port import HttpPort
    from sinks.migrations import migrate

    store = EmbeddedStore(folder / "store", memory_bytes=4 << 30)
    migrate(store, FOR_EVER, "UTC")
    settings = HttpSettings(listen=f"127.0.0.1:{http}", admin_token=SecretStr(TOKEN), max_seconds=600)
    port = HttpPort(store, settings, lambda: {"ok": True}, "UTC")
    (folder / "store.pid").write_text(str(os.getpid()))
    say(listening=list(port.start()))
    stop.wait()
    port.close()
    store.close()


def main(arguments: Sequence[str]) -> None:
    about = json.loads(arguments[0])
    folder, role = Path(about["folder"]), about["role"]
    random.seed(about["seed"])
    orders = Orders([(name, nth, how) for name, nth, how in about["orders"]], folder / "store.pid")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    own = folder / about["name"] if about["name"] else folder / "nameless"
    if role == "store":
        serve(folder, about["http"], stop)
    elif role == "collector":
        publish(PointedBus(outbox_of(folder), orders, role), 10**9, PAUSE_SECONDS, stop)
    elif role == "shipper":
        outbox: Any = BrokerBus(outbox_of(folder), orders, role)
        target: Any = BrokerBus(bus_of(about), orders, role)
        Shipper(outbox, target, KafkaSettings(), own / "letters").run(stop)
    elif role == "enricher":
        enricher.service._COMMIT_SECONDS = 1.0  # so that its points come by
        new_enricher(BrokerBus(bus_of(about), orders, role)).run(stop)
    else:
        new_sink(BrokerBus(bus_of(about), orders, role), PointedStore(store_of(about["http"]), orders, role), own).run(
            stop
        )


if __name__ == "__main__":
    main(sys.argv[1:])
