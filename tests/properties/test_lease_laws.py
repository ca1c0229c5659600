"""Leases against a slow reference written with the standard library's ``ipaddress``."""

import ipaddress
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import LeaseTable
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_id

KEY = b"a key of the tests, 32 bytes long"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lease = tuple[Network, int, int | None, str]

# Few bits vary, so that prefixes nest, meet and repeat.
v4 = st.integers(0, 15).map(lambda low: ipaddress.IPv4Address(0x0A000000 | (low >> 2) << 22 | low & 3))
v6 = st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 2**63, 2**64 - 1])).map(
    lambda halves: ipaddress.IPv6Address((0x2001_0DB8 << 96) | halves[0] << 70 | halves[1])
)
addresses: st.SearchStrategy[Address] = st.one_of(v4, v6)


@st.composite
def leases(draw: st.DrawFn) -> Lease:
    address = draw(addresses)
    lengths = (0, 7, 8, 16, 24, 28, 31, 32) if address.version == 4 else (0, 20, 32, 40, 56, 57, 64, 65, 127, 128)
    network = ipaddress.ip_network((address, draw(st.sampled_from(lengths))), strict=False)
    since = draw(st.integers(0, 6))
    until = draw(st.one_of(st.none(), st.integers(since + 1, 8)))
    return network, since, until, draw(st.sampled_from("ABC"))


def text(rows: list[Lease]) -> bytes:
    lines = ["prefix,from,to,subscriber,group,service,segment,access"]
    for network, since, until, subscriber in rows:
        lines.append(f"{network},{since},{'' if until is None else until},{subscriber},,fixed,personal,ipoe")
    return "\n".join(lines).encode()


def holder(rows: list[Lease], address: Address, when: float) -> tuple[str | None, bool]:
    """The rule in words of enricher.leases: newest begun lease of the longest prefix that has a holder then."""
    found = {network for network, *_ in rows if network.version == address.version and address in network}
    for network in sorted(found, key=lambda one: -one.prefixlen):
        begun = [row for row in rows if row[0] == network and row[1] <= when]
        if not begun:
            continue
        latest = max(since for _, since, *_ in begun)
        rivals = [row for row in begun if row[1] == latest]
        *_, until, subscriber = rivals[-1]
        if until is None or when < until:
            others = [row for row in rivals if row[3] != subscriber and (row[2] is None or when < row[2])]
            return subscriber, bool(others)
    return None, False


def packed(all_addresses: list[Address]) -> np.ndarray:
    raw = [
        (bytes(10) + b"\xff\xff" + address.packed) if address.version == 4 else address.packed
        for address in all_addresses
    ]
    return np.frombuffer(b"".join(raw), "V16")


@settings(deadline=None)
@given(st.lists(leases(), max_size=12), st.lists(st.tuples(addresses, st.integers(0, 9)), min_size=1, max_size=20))
def test_lookup_agrees_with_the_slow_reference(rows: list[Lease], asked: list[tuple[Address, int]]) -> None:
    table = LeaseTable.of(parse_leases(text(rows), Path("leases.csv")), KEY)
    times = np.array([when * 1000 for _, when in asked], "M8[ms]")
    found = table.lookup(packed([address for address, _ in asked]), times)
    expected = [holder(rows, address, when) for address, when in asked]
    names = {sub_id(KEY, "fixed", name, "ipoe"): name for name in "ABC"}
    assert [names[int(table.sub_id[lease])] if lease >= 0 else None for lease in found] == [one for one, _ in expected]
    assert table.is_ambiguous(found, times).tolist() == [doubt for _, doubt in expected]


@settings(deadline=None)
@given(st.lists(leases(), min_size=1, max_size=12), addresses)
def test_an_interval_holds_its_beginning_and_not_its_end(rows: list[Lease], address: Address) -> None:
    """To the millisecond: what holds at t - 1 ms and at t differs only where a lease begins or ends."""
    table = LeaseTable.of(parse_leases(text(rows), Path("leases.csv")), KEY)
    edges = {since for _, since, *_ in rows} | {until for *_, until, _ in rows if until is not None}
    times = np.array([edge * 1000 + step for edge in sorted(edges) for step in (-1, 0, 1)], "M8[ms]")
    found = table.lookup(packed([address] * len(times)), times)
    for when, lease in zip(times.view("i8").tolist(), found.tolist(), strict=True):
        assert (lease >= 0) == (holder(rows, address, when / 1000)[0] is not None)


@settings(deadline=None)
@given(st.lists(leases(), max_size=8), st.integers(0, 200))
def test_other_addresses_change_no_answer(rows: list[Lease], copies: int) -> None:
    """Buckets of the hash hold several prefixes once there are many."""
    crowd = [
        (ipaddress.ip_network(f"198.18.{number}.0/24"), 0, None, "C") for number in range(copies)
    ]  # outside of all addresses asked, but for /0 and /7
    alone = LeaseTable.of(parse_leases(text(rows), Path("leases.csv")), KEY)
    among = LeaseTable.of(parse_leases(text(rows + crowd), Path("leases.csv")), KEY)
    asked = packed([ipaddress.IPv4Address(0x0A000000 + low) for low in range(16)])
    times = np.full(16, 3_000, "M8[ms]")
    one, other = alone.lookup(asked, times), among.lookup(asked, times)
    assert alone.sub_id[one].tolist() == among.sub_id[other].tolist()
