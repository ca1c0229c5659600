import threading
from pathlib import Path

import numpy as np
import pytest

from enricher.leases import LeaseRows, LeaseTable
from enricher.recent_traffic import RecentTraffic
from enricher.sources.tables import parse_leases

HEADER = "prefix,port_from,port_to,from,to,subscriber,group,service,segment,access\n"


def leases(*prefixes: str, ports: str = ",", begin: int = 0) -> LeaseRows:
    lines = [f"{prefix},{ports},{begin},,A{prefix},,fixed,personal,pppoe\n" for prefix in prefixes]
    return parse_leases((HEADER + "".join(lines)).encode(), Path("x"))


def note(traffic: RecentTraffic, last: int, flows: int, octets: int, at: int = 10, port: int = 80) -> None:
    """Flows of 10.0.0.``last``."""
    address = (0xFFFF_0A00_0000 + last).to_bytes(16)
    traffic.note(
        np.array([address] * flows, "V16"), np.full(flows, at * 1000).astype("M8[ms]"), np.full(flows, port, "u2"),
        np.full(flows, octets, "i8"),
    )  # fmt: skip


@pytest.fixture
def traffic() -> RecentTraffic:
    """A thousand octets at .1, three thousand at .2 and as many where nobody is."""
    made = RecentTraffic()
    note(made, 1, 100, 10)
    note(made, 2, 100, 30)
    note(made, 9, 100, 30)
    return made


LIVE = ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (leases(*LIVE), 1.0),
        (leases("10.0.0.0/24"), 1.0),
        (leases("10.0.0.1"), 0.25),
        (leases("10.0.0.2"), 0.75),
        (leases("10.0.0.9"), 0.0),  # it counts for nothing that others would be matched
        (leases(), 0.0),
        (leases(*LIVE, begin=11), 0.0),  # of later
        (leases(*LIVE, ports="100,200"), 0.0),
        (leases(*LIVE, ports="80,80"), 1.0),
    ],
)
def test_the_share_of_octets(traffic: RecentTraffic, new: LeaseRows, expected: float) -> None:
    assert traffic.share(new, leases(*LIVE)) == expected


def test_too_little_traffic_says_nothing(traffic: RecentTraffic) -> None:
    assert traffic.share(leases(), leases("10.0.0.8")) is None
    assert RecentTraffic().share(leases(), leases(*LIVE)) is None


def test_the_oldest_flows_are_forgotten() -> None:
    traffic = RecentTraffic(most=300)
    note(traffic, 1, 300, 10)
    assert traffic.share(leases("10.0.0.1"), leases(*LIVE)) == 1.0
    note(traffic, 2, 150, 10)
    assert traffic.share(leases("10.0.0.1"), leases(*LIVE)) == 0.5
    note(traffic, 2, 1_000, 10)
    assert traffic.share(leases("10.0.0.1"), leases(*LIVE)) == 0.0


def test_of_a_large_batch_a_sample_stands_for_all() -> None:
    traffic = RecentTraffic()
    note(traffic, 1, 1_000_000, 10)
    note(traffic, 2, 1_000, 3_000)
    share = traffic.share(leases("10.0.0.2"), leases(*LIVE))
    assert share is not None
    assert 0.22 < share < 0.24  # 3 of 13 million octets


def table(*rows: LeaseRows) -> LeaseTable:
    return LeaseTable.of(LeaseRows.concat(rows), b"key")


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (table(leases(*LIVE)), 0),
        (table(leases("10.0.0.2", "10.0.0.1")), 0),  # another lease of the same subscriber
        (table(leases(*LIVE, "10.0.0.9")), 3_000),  # a session heard of late: they were nobody's
        (table(leases(*LIVE), leases("10.0.0.9", begin=11)), 0),  # begins after its flows
        (table(leases("10.0.0.1")), 3_000),
        (table(leases("10.0.0.0/24")), 7_000),
        (table(leases(*LIVE, ports="100,200")), 4_000),
        (LeaseTable.empty(), 4_000),
    ],
)
def test_octets_that_change_hands(traffic: RecentTraffic, new: LeaseTable, expected: int) -> None:
    assert traffic.moved(table(leases(*LIVE)), new) == expected


def test_flows_are_noted_while_leases_are_judged(traffic: RecentTraffic) -> None:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            note(traffic, 1, 500, 10)
            note(traffic, 2, 500, 10)

    worker = threading.Thread(target=go_on)
    worker.start()
    try:
        assert all(traffic.share(leases(*LIVE), leases(*LIVE)) == 1.0 for _ in range(20))
    finally:
        stop.set()
        worker.join()
