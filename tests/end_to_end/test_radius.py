"""``radclient`` tells who holds an address; its flows are split between its holders, to the millisecond."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from enricher.subscribers import sub_ids
from flowtide.simulator.flow import FLOW
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.wire import Wire
from tests.broker import Broker
from tests.broker.fixtures import broker as broker
from tests.end_to_end.conftest import Running

KEY, SECRET = "sixteen octets at least", "testing123"
SHARED, REMOTE = "198.51.100.7", "203.0.113.9"


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
        program = shutil.which("radclient")
        if program is None:
            pytest.skip("radclient is not installed (freeradius-utils)")
        attributes = (
            f'User-Name = "{user}", Acct-Session-Id = "{session}", Acct-Status-Type = {status},'
            f" Framed-IP-Address = {SHARED}, NAS-IP-Address = 127.0.0.1, Event-Timestamp = {at}\n"
        )
        done = subprocess.run(
            [program, "-r", "2", "-t", "1", f"127.0.0.1:{self.port}", "acct", secret],
            input=attributes, text=True, capture_output=True, timeout=30, env=os.environ | {"TZ": "UTC"},
        )  # fmt: skip
        return done.returncode == 0

    def send(self, ends_ms: list[int], octets: list[int]) -> None:
        """Flows to the shared address, of these octets, that end then."""
        flows = np.zeros(len(ends_ms), FLOW)
        for end, address in (("src", REMOTE), ("dst", SHARED)):
            flows[end] = np.frombuffer(bytes(10) + b"\xff\xff" + IPv4Address(address).packed, "u1")
        flows["src_port"], flows["dst_port"], flows["proto"], flows["packets"] = 443, 50_000, 17, 1
        flows["octets"], flows["end_ms"] = octets, ends_ms
        flows["start_ms"] = flows["end_ms"] - 1_000
        now_ms = int(time.time() * 1000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            for datagram in (*self._wire.announcements(now_ms), *self._wire.datagrams(flows, now_ms)):
                made.sendto(datagram, ("127.0.0.1", self.stack.port))

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
    time.sleep(1)  # a table with them is in force
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
    time.sleep(1)
    provider.send([now * 1000 - 10_000], [1_500])
    assert provider.octets(1) == {"alice": 1_500}
