"""One life of publisher, enricher and sink: ``child.py '{"folder": …, "bus": …, "role": …, "point": …, "nth": …}'``.

Proxies around bus and store end (or stop) the process at the point; the services themselves know nothing of it.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from collector.batcher import cut
from collector.publisher import Publisher
from enricher.enrichment import Tables
from enricher.ports import port_table
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM, Bus, Headers, Parts, Store
from sinks.batch import Batch
from sinks.dead_letters import DeadLetters
from sinks.range_sums import RangeSums
from sinks.rollups import NAMES, Rollups
from sinks.schema import RAW
from sinks.service import Sink
from sinks.settings import BusSettings, SinkSettings
from sinks.spool import Spool
from tests.end_to_end.trials import rollup_differences
from tests.stored import FOR_EVER

PARTITIONS = 2
ROWS = 3_000  # of a raw message
DAY_MS = 86_400_000
START_MS = 1_790_000_000_000


class Point:
    """Ends or stops this process when its turn has come."""

    def __init__(self, name: str, nth: int, how: str) -> None:
        self.name, self.left, self.how = name, nth, how

    def reach(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                self.act()

    def soon(self, name: str, seconds: float) -> None:
        """In the middle of what comes next."""
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                threading.Timer(seconds, self.act).start()

    def act(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Proxy:
    """Passes on all that is not of interest."""

    def __init__(self, inner: Any, point: Point, role: str) -> None:
        self._inner, self._point, self._role = inner, point, role

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class PointedBus(Proxy):
    def producer(self, stream: str) -> "PointedProducer":
        return PointedProducer(self._inner.producer(stream), self._point, self._role)

    def consumer(self, stream: str, group: str) -> "PointedConsumer":
        return PointedConsumer(self._inner.consumer(stream, group), self._point, self._role)

    def trim(self, stream: str, partition: int, before: int) -> None:
        """The whole log is kept, for the harness."""


class PointedProducer(Proxy):
    def publish(self, partition: int, headers: Headers, body: bytes | Parts) -> int:
        self._point.reach(f"{self._role} before produce")
        self._point.soon(f"{self._role} while producing", 0.0005)
        offset: int = self._inner.publish(partition, headers, body)
        self._point.reach(f"{self._role} after acknowledgement")
        return offset


class PointedConsumer(Proxy):
    def commit(self, partition: int, offset: int, metadata: str) -> None:
        planned = '"planned": [' in metadata
        self._point.reach(f"{self._role} before {'plan' if planned else 'commit'}")
        self._inner.commit(partition, offset, metadata)
        self._point.reach(f"{self._role} after {'plan' if planned else 'commit'}")


class PointedStore(Proxy):
    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        if table == "flows":
            self._point.reach("sink before insert")
            self._point.soon("sink mid-insert", random.uniform(0.0, 0.04))
        self._inner.insert(table, rows, token=token)
        if table in ("flows", "audit_1m"):
            self._point.reach(f"sink after {table}")
        if table in NAMES:
            self._point.reach("sink between rollups")

    def command(self, sql: str, *, token: str | None = None) -> None:
        self._inner.command(sql, token=token)
        if token:
            self._point.reach("sink between rollups")


def batch_of(number: int) -> Batch:
    """Raw message ``number``: octets name its rows, flow ends lie on several days."""
    batch = Batch.empty(RAW, ROWS)
    rows = np.arange(ROWS)
    end = START_MS + number * 1000 + rows % 5 * DAY_MS
    values: dict[str, Any] = {
        "octets": number * ROWS + rows, "packets": 1, "ts": end, "ts_start": end - rows % 200 * 1000, "proto": 6,
        "received": START_MS + number * 5_000, "src_port": rows % 3000, "dst_port": rows % 7 + 440, "sampling": 10,
        "sampling_source": 1, "ip_version": 4,
    }  # fmt: skip
    for name, value in values.items():
        batch.columns[name][:] = np.asarray(value).astype(batch.columns[name].dtype)
    # As many exporters as it takes to fill both partitions.
    batch.labels["exporter"] = tuple(f"192.0.2.{n}" for n in range(1, 9))
    batch.columns["exporter"] = (rows % 8).astype("u4")
    return batch


def publish(bus: Bus, messages: int, pause: float = 0.0, stop: threading.Event | None = None) -> None:
    """Go on where the log ends, as a shipper that begins again from the first unacknowledged message does.

    ``pause`` seconds lie between messages; after ``stop`` none begins.
    """
    publisher = Publisher(bus, "c", "lz4")
    tail = bus.consumer(RAW_STREAM, "harness")
    ends = [tail.bounds(partition)[1] for partition in range(bus.partitions)]
    tail.close()
    for number in range(min(ends), min(ends) + messages):
        if stop is not None and stop.wait(pause):
            break
        for partition, part in cut(batch_of(number), bus.partitions):
            if ends[partition] <= number:  # a kill between the partitions left the other one ahead
                publisher.publish(part)
    publisher.close()


def enricher(bus: Bus) -> Enricher:
    """Cut and enriched at random at every start, so that a wrong repeat would show."""
    tables = Tables(ports=port_table((f"tcp/{random.randint(444, 447)}",)))
    few = EnricherSettings(max_rows=random.randint(ROWS, 4 * ROWS), max_wait_seconds=0.05)
    return Enricher(bus, lambda: tables, few)


def sink(bus: Bus, store: Any, folder: Path) -> Sink:
    few = SinkSettings(rollup_rows=random.randint(ROWS, 6 * ROWS), rollup_seconds=0.05, retry_seconds=0.2)
    beside = ThreadPoolExecutor(2)
    # From memory or from raw: what one life began the next one finishes from raw.
    sums = RangeSums(store, "UTC", beside) if random.random() < 0.7 else None
    rollups, letters = Rollups(store, few, "UTC", sums), DeadLetters(folder / "letters")
    return Sink(bus, store, rollups, few, letters, folder / "gaps", beside=beside)


class Sql:
    """The engine's answers as ``trials`` asks for them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._store.query(sql, **parameters).to_pylist()
        return found


def facts(store: Store) -> dict[str, Any]:
    """What the store holds, for the harness to judge."""
    sql = Sql(store)
    stages = {r["stage"]: r["n"] for r in sql.query("SELECT stage, sum(rows) AS n FROM audit_1m GROUP BY stage")}
    by_message = sql.query(
        "SELECT bus_partition AS p, bus_offset AS o, count() AS n FROM flows GROUP BY p, o ORDER BY p, o"
    )
    return {
        "stored": sql.query("SELECT count() AS n, uniqExact(octets, exporter) AS d, sum(octets) AS s FROM flows")[0],
        "by_message": [(row["p"], row["o"], row["n"]) for row in by_message],
        "rollups": rollup_differences(sql),
        "rolled": sql.query("SELECT sum(flows) AS n FROM port_1h")[0]["n"],
        "audit": stages,
    }


def main(arguments: Sequence[str]) -> None:
    about = json.loads(arguments[0])
    folder, role, point = Path(about["folder"]), about["role"], Point(about["point"], about["nth"], about["how"])
    random.seed(about["seed"])
    bus: Any = Spool(folder / "bus", BusSettings(partitions=PARTITIONS, segment_bytes=1 << 22, max_bytes=1 << 31))
    stop = threading.Event()
    stop.set()  # finish what is there, and end
    if "collector" in role:
        publish(PointedBus(bus, point, "collector"), about["messages"])
    if "enricher" in role:
        service = enricher(PointedBus(bus, point, "enricher"))
        service.run(stop)
        assert service.failed is None, service.failed
    if "sink" in role:
        # Here: members of a cluster begin without the engine, in half of the time.
        from sinks.embedded import EmbeddedStore
        from sinks.migrations import migrate

        store = EmbeddedStore(folder / "store", memory_bytes=2 << 30)
        migrate(store, FOR_EVER, "UTC")
        last = sink(PointedBus(bus, point, "sink"), PointedStore(store, point, "sink"), folder)
        last.run(stop)
        assert last.failed is None and not last.stopped, (last.failed, last.stopped)
        time.sleep(0.05)  # for a point that is soon
        raw = bus.consumer(RAW_STREAM, "harness")
        ends = [raw.bounds(partition)[1] for partition in range(PARTITIONS)]
        print(json.dumps({"messages": ends, **facts(store)}), flush=True)
        store.close()


if __name__ == "__main__":
    assert ENRICHED_STREAM
    main(sys.argv[1:])
