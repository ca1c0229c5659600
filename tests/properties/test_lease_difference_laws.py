"""A table in which only what differs is replaced answers as one built of everything."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.lease_differences import changed_prefixes, leases_of, row_hashes
from enricher.leases import LeaseRows, LeaseTable
from enricher.sources.tables import parse_leases

KEY = bytes(32)
HEADER = "prefix,port_from,port_to,from,to,subscriber,group,service,segment,access\n"
PREFIXES = ("10.0.0.0/30", "10.0.0.0/31", "10.0.0.1", "10.0.0.2", "2001:db8::/56", "2001:db8::1")
LEASE = st.tuples(
    st.sampled_from(PREFIXES), st.sampled_from([("", ""), ("1", "9"), ("5", "6")]),
    st.integers(0, 6), st.integers(1, 6), st.sampled_from("ABC"), st.sampled_from(["", "g", "h"]),
)  # fmt: skip
# Of one prefix, ports and begin a source says one subscriber: the order of contradictions is not compared.
STATE = st.lists(LEASE, max_size=8, unique_by=lambda lease: lease[:3])


def rows_of(state: list[tuple[str, tuple[str, str], int, int, str, str]], priority: int) -> LeaseRows:
    lines = [
        f"{prefix},{ports[0]},{ports[1]},{begin},{begin + lasts},{who},{group},fixed,personal,pppoe\n"
        for prefix, ports, begin, lasts, who, group in state
    ]
    return parse_leases((HEADER + "".join(lines)).encode(), Path("x")).with_priority(priority)


ADDRESSES = [0xFFFF_0A00_0000 + last for last in range(5)] + [0x2001_0DB8 << 96 | last for last in range(3)]


def answers(table: LeaseTable) -> list[tuple[int, str]]:
    asked = [(address, time, port) for address in ADDRESSES for time in range(13) for port in (0, 1, 5, 9, 10)]
    addresses = np.array([address.to_bytes(16) for address, _, _ in asked], "V16")
    times = np.array([time * 1000 for _, time, _ in asked], "M8[ms]")
    found = table.lookup(addresses, times, np.array([port for _, _, port in asked], "u2"))
    ids, profile = table.holders(found)
    groups = table.labels["sub_group"]
    codes = table.codes["sub_group"]
    return [(int(one), groups[codes[at]]) for one, at in zip(ids, profile.tolist(), strict=True)]


@settings(deadline=None)
@given(st.lists(STATE, min_size=2, max_size=5), STATE, st.integers(0, 2))
def test_replacing_what_differs_is_as_building_anew(
    states: list[list[tuple[str, tuple[str, str], int, int, str, str]]],
    other: list[tuple[str, tuple[str, str], int, int, str, str]],
    priority: int,
) -> None:
    still = rows_of(other, 1)
    rows = rows_of(states[0], priority)
    hashes = row_hashes(rows)
    table = LeaseTable.of(LeaseRows.concat([rows, still]), KEY)
    for state in states[1:]:
        new = rows_of(state, priority)
        new_hashes = row_hashes(new)
        prefixes = changed_prefixes(rows, hashes, new, new_hashes)
        some, gone = leases_of([new, still], prefixes)
        table = table.changed(some, KEY, gone)
        assert answers(table) == answers(LeaseTable.of(LeaseRows.concat([new, still]), KEY))
        assert len(set(zip(*(half.tolist() for half in prefixes), strict=True))) <= len(PREFIXES)
        rows, hashes = new, new_hashes


def test_only_what_differs_is_named() -> None:
    rows = [rows_of([("10.0.0.1", ("", ""), 1, 2, who, ""), ("10.0.0.2", ("", ""), 1, 2, "B", "g")], 0) for who in "AC"]
    hashes = [row_hashes(one) for one in rows]
    _, low, bits = changed_prefixes(rows[0], hashes[0], rows[1], hashes[1])
    assert (low.tolist(), bits.tolist()) == ([0xFFFF_0A00_0001] * 2, [128] * 2)
    assert not len(changed_prefixes(rows[0], hashes[0], rows[0], hashes[0])[2])
