"""``radclient`` tells who holds an address; its flows are split between its holders, to the millisecond."""

import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.subscribers import sub_ids
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.wire import Wire
from tests.broker import Broker
from tests.broker.fixtures import broker as broker
from tests.end_to_end.conftest import Running
from tests.end_to_end.radius_subscriber import radclient, send

KEY, SECRET = "sixteen octets at least", "testing123"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


class Provider:
    """A running stack that listens for RADIUS accounting."""

    def __init__(self, folder: Path, bus: str = "") -> None:
        """``bus``: further settings."""
        self.port = free_port()
        self.stack = Running(folder)
        text = self.stack.config.read_text().replace("[enricher]", f'[enricher]\nkey = "{KEY}"\nreload_seconds = 0.2')
        radius = f'[enricher.radius]\nlisten = "127.0.0.1:{self.port}"\nlabels = "fixed;personal;pppoe;east"\n'
        self.stack.config.write_text(f'{text}{radius}clients = {{"127.0.0.1" = "{SECRET}"}}\n{bus}')
        self.stack.start()
        self._wire = Wire.of(ExporterPlan(source="127.0.0.1", told="nothing"), 1, int(time.time() - 86_400) * 1000)

    def told(self, status: str, user: str, session: str, at: int, secret: str = SECRET) -> bool:
        """Whether an accounting record of an event at Unix seconds ``at`` was answered."""
        return radclient(self.port, status, user, session, at, secret, tries=2, seconds=1)

    def in_force(self, leases: int) -> None:
        """Wait until a table with so many leases is."""
        self.stack.wait(lambda: f"\nenricher_leases {leases}.0\n" in self.metrics())

    def metrics(self) -> str:
        """Of the store's process, where the enricher is."""
        with urllib.request.urlopen(f"{self.stack.http}/metrics", timeout=10) as answered:
            return str(answered.read().decode())

    def send(self, ends_ms: list[int], octets: list[int]) -> None:
        """Flows to the shared address, of these octets, that end then."""
        send(self.stack.port, self._wire, ends_ms, octets)

    def octets(self, rows: int) -> dict[str, int]:
        """By subscriber, when so many rows are rolled up; '' is nobody's."""
        names = ["alice", "bob"]
        ids = sub_ids(KEY.encode(), [("fixed", name, "pppoe") for name in names]).tolist()
        self.stack.wait(lambda: self.stack.query("SELECT sum(flows) AS n FROM exporter_1m")[0]["n"] == rows)
        found = self.stack.query("SELECT sub_id, sum(octets) AS o FROM flows GROUP BY sub_id")
        called = dict(zip(ids, names, strict=True))
        by_day = self.stack.query("SELECT sub_id, sum(octets) AS o FROM subscriber_1d GROUP BY sub_id")
        assert [row for row in by_day if row["sub_id"] not in ids] == []
        return {called.get(row["sub_id"], ""): row["o"] for row in found}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    made = Provider(tmp_path)
    try:
        yield made
    finally:
        made.stack.kill()


def test_an_address_handed_over_splits_its_octets_at_the_boundary(provider: Provider) -> None:
    assert_split(provider)


@pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
def test_it_does_over_kafka(tmp_path: Path, broker: Broker) -> None:
    bus = f'[bus]\nurl = "{broker.url}"\ntelemetry = "127.0.0.1:0"\n[kafka]\ntopic_prefix = "radius."\n'
    provider = Provider(tmp_path, bus)
    try:
        assert_split(provider)
    finally:
        provider.stack.kill()


def assert_split(provider: Provider) -> None:
    now = int(time.time())
    began, over = now - 120, now - 60
    # In the wrong order: the second holder first, the first one's begin last.
    assert provider.told("Start", "bob", "b1", over)
    assert provider.told("Stop", "alice", "a1", over)
    assert provider.told("Start", "alice", "a1", began)
    provider.in_force(2)
    ends = [over * 1000 - 30_000, over * 1000 - 1, over * 1000, over * 1000 + 30_000, began * 1000 - 1]
    provider.send(ends, [1_001, 1_010, 1_100, 2_000, 5_000])
    assert provider.octets(5) == {"alice": 1_001 + 1_010, "bob": 1_100 + 2_000, "": 5_000}
    # After a restart the same, without a word of RADIUS.
    assert provider.stack.stop() == 0
    provider.stack.start()
    provider.send(ends, [1_001, 1_010, 1_100, 2_000, 5_000])
    assert provider.octets(10) == {"alice": 2 * 2_011, "bob": 2 * 3_100, "": 10_000}


def test_a_wrong_secret_is_not_answered_and_changes_nothing(provider: Provider) -> None:
    now = int(time.time())
    assert provider.told("Start", "alice", "a1", now - 60)
    assert not provider.told("Stop", "alice", "a1", now - 30, secret="anothersecret")
    provider.in_force(1)
    provider.send([now * 1000 - 10_000], [1_500])
    assert provider.octets(1) == {"alice": 1_500}
