"""Leases against a slow reference written with the standard library's ``ipaddress``."""

import ipaddress
from typing import NamedTuple
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher import lease_changes
from enricher.leases import HELD, LeaseRows, LeaseTable
from enricher.subscribers import sub_id

KEY = b"a key of the tests, 32 bytes long"
WHOLE = (0, 65_535)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Question = tuple[Address, int, int]
"""Address, time, port."""


class Lease(NamedTuple):
    network: Network
    since: int
    until: int | None
    subscriber: str
    ports: tuple[int, int] = WHOLE
    priority: int = 0


# Few bits vary, so that prefixes nest, meet and repeat.
v4 = st.integers(0, 15).map(lambda low: ipaddress.IPv4Address(0x0A000000 | (low >> 2) << 22 | low & 3))
v6 = st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 2**63, 2**64 - 1])).map(
    lambda halves: ipaddress.IPv6Address((0x2001_0DB8 << 96) | halves[0] << 70 | halves[1])
)
addresses: st.SearchStrategy[Address] = st.one_of(v4, v6)
few_ports = st.sampled_from([0, 1, 1_023, 1_024, 1_025, 2_047, 2_048, 65_534, 65_535])
port_ranges = st.one_of(st.just(WHOLE), st.tuples(few_ports, few_ports).map(lambda pair: (min(pair), max(pair))))


@st.composite
def leases(draw: st.DrawFn) -> Lease:
    address = draw(addresses)
    lengths = (0, 7, 8, 16, 24, 28, 31, 32) if address.version == 4 else (0, 20, 32, 40, 56, 57, 64, 65, 127, 128)
    network = ipaddress.ip_network((address, draw(st.sampled_from(lengths))), strict=False)
    since = draw(st.integers(0, 6))
    until = draw(st.one_of(st.none(), st.integers(since + 1, 8)))
    return Lease(network, since, until, draw(st.sampled_from("ABC")), draw(port_ranges), draw(st.integers(0, 2)))


@st.composite
def crowded(draw: st.DrawFn) -> Lease:
    """Of one of three prefixes, so that chains, ranges and priorities meet."""
    network = ipaddress.ip_network(draw(st.sampled_from(["10.0.0.0/32", "10.0.0.0/24", "2001:db8::/56"])))
    return draw(leases())._replace(network=network)


many = st.one_of(st.lists(leases(), max_size=12), st.lists(crowded(), max_size=14))
questions = st.lists(st.tuples(addresses, st.integers(0, 9), few_ports), min_size=1, max_size=20)


def lease_rows(rows: list[Lease]) -> LeaseRows:
    firsts = [packed_one(row.network.network_address) for row in rows]
    bits = [row.network.prefixlen + (96 if row.network.version == 4 else 0) for row in rows]
    zeros = np.zeros(len(rows), "u4")
    return LeaseRows(
        high=np.array([int.from_bytes(first[:8]) for first in firsts], "u8"),
        low=np.array([int.from_bytes(first[8:]) for first in firsts], "u8"),
        bits=np.array(bits, "u1"),
        since=np.array([row.since * 1000 for row in rows], "i8"),
        until=np.array([HELD if row.until is None else row.until * 1000 for row in rows], "i8"),
        subscriber=np.array(["ABC".index(row.subscriber) for row in rows], "u4"),
        service=zeros, segment=zeros, access=zeros + 1, group=zeros, subscribers=tuple("ABC"), groups=("",),
        port_from=np.array([row.ports[0] for row in rows], "u2"),
        port_to=np.array([row.ports[1] for row in rows], "u2"),
        priority=np.array([row.priority for row in rows], "u1"),
    )  # fmt: skip


def holder(rows: list[Lease], address: Address, when: float, port: int) -> tuple[str | None, bool]:
    """The rule in words of enricher.leases, tried from its beginning for each question."""
    networks = {row.network for row in rows if row.network.version == address.version and address in row.network}
    for network in sorted(networks, key=lambda one: -one.prefixlen):
        here = [row for row in rows if row.network == network and row.ports[0] <= port <= row.ports[1]]
        ranges = {row.ports for row in here}
        for ports in sorted(ranges, key=lambda one: (one[1] - one[0], -one[0])):
            for priority in (2, 1, 0):
                begun = [row for row in here if row.ports == ports and row.priority == priority and row.since <= when]
                if not begun:
                    continue
                latest = max(row.since for row in begun)
                rivals = [row for row in begun if row.since == latest]
                last = rivals[-1]
                if last.until is None or when < last.until:
                    others = [row for row in rivals if row.subscriber != last.subscriber]
                    return last.subscriber, any(row.until is None or when < row.until for row in others)
    return None, False


def ends(rows: list[Lease], lease: Lease) -> float:
    """When the lease, or that which counts of those of its beginning, ended by itself or by a newer one."""
    chain = [row for row in rows if (row.network, row.ports, row.priority) == (lease[0], lease[4], lease[5])]
    counts = [row for row in chain if row.since == lease.since][-1]
    closers = [row.since for row in chain if row.since > lease.since]
    return min([float("inf") if counts.until is None else counts.until, *closers])


def packed_one(address: Address) -> bytes:
    return (bytes(10) + b"\xff\xff" + address.packed) if address.version == 4 else address.packed


def packed(all_addresses: list[Address]) -> np.ndarray:
    return np.frombuffer(b"".join(packed_one(address) for address in all_addresses), "V16")


def answers(table: LeaseTable, asked: list[Question]) -> list[tuple[str | None, bool]]:
    times = np.array([when * 1000 for _, when, _ in asked], "M8[ms]")
    ports = np.array([port for *_, port in asked], "u2")
    found = table.lookup(packed([address for address, *_ in asked]), times, ports)
    names = {sub_id(KEY, "fixed", name, "ipoe"): name for name in "ABC"} | {0: None}
    holders = [names[int(one)] for one in table.holders(found)[0]]
    assert [names[int(one)] for one in table.sub_id[found]] == holders
    return list(zip(holders, table.is_ambiguous(found, times).tolist(), strict=True))


@settings(deadline=None)
@given(many, questions)
def test_lookup_agrees_with_the_slow_reference(rows: list[Lease], asked: list[Question]) -> None:
    table = LeaseTable.of(lease_rows(rows), KEY)
    assert answers(table, asked) == [holder(rows, *question) for question in asked]


@settings(deadline=None)
@given(many, st.data())
def test_the_order_of_rows_counts_for_equal_beginnings_only(rows: list[Lease], data: st.DataObject) -> None:
    """Records come out of order: who holds stays the same, unless two of one source begin at one time."""
    distinct = list({(row.network, row.ports, row.priority, row.since): row for row in rows}.values())
    mixed = data.draw(st.permutations(distinct))
    asked = data.draw(questions)
    table = LeaseTable.of(lease_rows(mixed), KEY)
    assert answers(table, asked) == [holder(distinct, *question) for question in asked]


@settings(deadline=None)
@given(st.lists(leases(), min_size=1, max_size=12), addresses)
def test_an_interval_holds_its_beginning_and_not_its_end(rows: list[Lease], address: Address) -> None:
    """To the millisecond: what holds at t - 1 ms and at t differs only where a lease begins or ends."""
    table = LeaseTable.of(lease_rows(rows), KEY)
    edges = {row.since for row in rows} | {row.until for row in rows if row.until is not None}
    times = np.array([edge * 1000 + step for edge in sorted(edges) for step in (-1, 0, 1)], "M8[ms]")
    ports = np.full(len(times), 1_024, "u2")
    found = table.lookup(packed([address] * len(times)), times, ports)
    for when, lease in zip(times.view("i8").tolist(), found.tolist(), strict=True):
        assert (lease >= 0) == (holder(rows, address, when / 1000, 1_024)[0] is not None)


@settings(deadline=None)
@given(st.lists(leases(), max_size=8), st.integers(0, 200))
def test_other_addresses_change_no_answer(rows: list[Lease], copies: int) -> None:
    """Buckets of the hash hold several prefixes once there are many."""
    # Outside of all addresses asked, but for /0 and /7.
    crowd = [Lease(ipaddress.ip_network(f"198.18.{number}.0/24"), 0, None, "C") for number in range(copies)]
    asked: list[Question] = [(ipaddress.IPv4Address(0x0A000000 + low), 3, 0) for low in range(16)]
    alone, among = (LeaseTable.of(lease_rows(each), KEY) for each in (rows, rows + crowd))
    assert answers(alone, asked) == answers(among, asked)


@settings(deadline=None)
@given(many, st.integers(0, 9), questions)
def test_what_ended_before_the_horizon_can_be_forgotten(rows: list[Lease], horizon: int, asked: list[Question]) -> None:
    kept = lease_rows(rows).without_ended(horizon * 1000)
    later = [(address, max(when, horizon), port) for address, when, port in asked]
    assert answers(LeaseTable.of(kept, KEY), later) == [holder(rows, *question) for question in later]
    assert kept.since.tolist() == [row.since * 1000 for row in rows if ends(rows, row) > horizon]


@settings(deadline=None)
@given(many, many)
def test_sources_are_joined_in_their_order(first: list[Lease], second: list[Lease]) -> None:
    one, other = lease_rows(first), lease_rows(second)
    joined = LeaseRows.concat([one, LeaseRows.empty(), other.take(np.arange(len(second)))])
    names = [joined.subscribers[each] for each in joined.subscriber]
    assert names == [row.subscriber for row in first + second]
    assert joined.priority.tolist() == [row.priority for row in first + second]
    assert len(set(joined.subscribers)) == len(joined.subscribers)


@settings(deadline=None)
@given(many, st.lists(st.tuples(many, st.lists(st.integers(0, 20), max_size=3)), max_size=4), st.booleans(), questions)
def test_a_changed_table_answers_as_one_built_anew(
    rows: list[Lease], changes: list[tuple[list[Lease], list[int]]], folds: bool, asked: list[Question]
) -> None:
    table = LeaseTable.of(lease_rows(rows), KEY)
    with mock.patch.object(lease_changes, "_SMALLEST_FOLD", 0 if folds else 1_000):
        for new, dropped in changes:
            named = {row.network for row in new}
            known = sorted({row.network for row in rows}, key=str)
            gone = {known[number] for number in dropped if number < len(known)} - named
            before = [row for row in rows if row.network not in named | gone]
            rows = before + new
            shapes = lease_rows([Lease(network, 0, None, "A") for network in sorted(gone, key=str)])
            table = table.changed(lease_rows(new), KEY, (shapes.high, shapes.low, shapes.bits))
            anew = LeaseTable.of(lease_rows(rows), KEY)
            assert answers(table, asked) == [holder(rows, *question) for question in asked]
            assert len(table) == len(anew)
