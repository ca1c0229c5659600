"""A session heard of after its flows: the octets it would have changed are counted, once."""

import threading
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from collector.publisher import Publisher
from enricher.leases import LeaseRows
from enricher.recent_traffic import RecentTraffic
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from enricher.sources import SourceStatus
from enricher.sources.tables import parse_leases
from enricher.watch import TablesInForce
from sinks.batch import Batch
from sinks.memory import MemoryBus
from sinks.schema import RAW

SECOND = 1_700_000_040
HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"


@dataclass
class Told:
    """A source of what the test says."""

    name: str = "told"
    priority: int = 0
    said: list[LeaseRows] = field(default_factory=list)

    def poll(self, now: float) -> LeaseRows | None:
        return self.said.pop() if self.said else None

    def status(self, now: float) -> SourceStatus:
        return SourceStatus(self.name, "radius", self.priority, 0, now, 0, stale=False, error=None)

    def close(self) -> None:
        pass

    def says(self, *leases: tuple[str, int]) -> None:
        """Leases of (address, begin)."""
        lines = "".join(f"{address},{begin},,A{address},,fixed,personal,pppoe\n" for address, begin in leases)
        self.said.append(parse_leases((HEADER + lines).encode(), Path("x")))


def flows(source: str, destination: str, count: int) -> Batch:
    """A hundred octets each."""
    made = Batch.empty(RAW, count)
    made.labels["exporter"] = ("192.0.2.1",)
    made.columns["ts"][:] = made.columns["ts_start"][:] = np.datetime64(SECOND * 1000, "ms")
    made.columns["received"][:] = np.datetime64(SECOND * 1000 + 500, "ms")
    made.columns["octets"][:], made.columns["proto"][:] = 100, 6
    for name, address in (("src_addr", source), ("dst_addr", destination)):
        value = int(ip_address(address)) | 0xFFFF << 32
        made.columns[name][:] = np.frombuffer(value.to_bytes(16), "V16")
    return made


def late() -> float:
    return REGISTRY.get_sample_value("enricher_late_lease_octets_est_total") or 0.0


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ((("198.51.100.1", 0),), 0),  # what was known
        ((("198.51.100.1", 0), ("198.51.100.2", SECOND - 60)), 300_000),  # 3,000 flows of it were nobody's
        ((("198.51.100.1", 0), ("198.51.100.2", SECOND + 60)), 0),  # began after them: not late
        ((("198.51.100.1", SECOND + 60),), 100_000),
        ((("198.51.100.0/24", 0),), 400_000),
    ],
)
def test_late_octets(tmp_path: Path, heard: tuple[tuple[str, int], ...], expected: int) -> None:
    bus, source, traffic = MemoryBus(), Told(), RecentTraffic()
    settings = EnricherSettings(key="0123456789abcdef", reload_seconds=1)
    tables = TablesInForce(settings, tmp_path / "key", sources=(source,), traffic=traffic)
    source.says(("198.51.100.1", 0))
    tables.reload_if_changed(1_000)
    collector = Publisher(bus, "here", "none")
    collector.publish(flows("198.51.100.1", "203.0.113.1", 1_000))
    collector.publish(flows("203.0.113.1", "198.51.100.2", 3_000))
    collector.close()
    stop = threading.Event()
    stop.set()
    Enricher(bus, tables.tables, settings, note=traffic.note).run(stop)
    before = late()
    source.says(*heard)
    tables.reload_if_changed(1_010)
    tables.settle()
    assert late() - before == pytest.approx(expected, rel=0.01)
    source.says(*heard)  # again: nothing changes hands
    tables.reload_if_changed(1_020)
    tables.settle()
    assert late() - before == pytest.approx(expected, rel=0.01)
    tables.close()


def test_leases_of_the_first_start_are_not_late(tmp_path: Path) -> None:
    source, traffic = Told(), RecentTraffic()
    batch = flows("198.51.100.1", "203.0.113.1", 1_000)
    columns = batch.columns
    traffic.note(columns["src_addr"], columns["ts"], columns["src_port"], columns["octets"])
    tables = TablesInForce(
        EnricherSettings(key="0123456789abcdef"), tmp_path / "key", sources=(source,), traffic=traffic
    )
    before = late()
    source.says(("198.51.100.1", 0))
    tables.reload_if_changed(1_000)
    assert late() == before
    tables.close()
