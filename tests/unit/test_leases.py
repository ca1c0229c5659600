from pathlib import Path

import numpy as np

from enricher.leases import LeaseTable
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_id

KEY = bytes(range(32))
HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
MAPPED = bytes(10) + b"\xff\xff"


def table(*lines: str) -> LeaseTable:
    return LeaseTable.of(parse_leases((HEADER + "\n".join(lines)).encode(), Path("leases.csv")), KEY)


def who(leases: LeaseTable, address: bytes, *seconds: float) -> list[str]:
    times = np.array([int(second * 1000) for second in seconds], "M8[ms]")
    found = leases.lookup(np.frombuffer(address * len(times), "V16"), times)
    names = {sub_id(KEY, "fixed", name, "pppoe"): name for name in "ABC"} | {0: "-"}
    return [names[int(leases.sub_id[lease])] for lease in found]


ADDRESS = MAPPED + bytes((192, 0, 2, 7))


def test_a_newer_lease_closes_one_whose_end_is_missing() -> None:
    leases = table("192.0.2.7/32,100,,A,,fixed,personal,pppoe", "192.0.2.7/32,200,300,B,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 99.999, 100, 199.999, 200, 299.999, 300) == ["-", "A", "A", "B", "B", "-"]
    assert (leases.overlaps, leases.ambiguous) == (0, 0)


def test_an_overlap_is_counted_and_the_newer_holds() -> None:
    leases = table("192.0.2.7/32,200,300,B,,fixed,personal,pppoe", "192.0.2.7/32,100,400,A,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 150, 250, 350) == ["A", "B", "-"]
    assert leases.overlaps == 1


def test_equal_beginnings_take_the_later_line_and_are_ambiguous_while_both_claim() -> None:
    leases = table("192.0.2.7/32,100,200,A,,fixed,personal,pppoe", "192.0.2.7/32,100,400,B,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 150, 250) == ["B", "B"]
    times = np.array([150_000, 250_000], "M8[ms]")
    found = leases.lookup(np.frombuffer(ADDRESS * 2, "V16"), times)
    assert leases.is_ambiguous(found, times).tolist() == [True, False]
    assert leases.ambiguous == 1


def test_a_lease_told_twice_by_the_same_subscriber_is_not_ambiguous() -> None:
    leases = table("192.0.2.7/32,100,,A,,fixed,personal,pppoe", "192.0.2.7/32,100,200,A,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 150, 250) == ["A", "-"]
    assert (len(leases), leases.ambiguous) == (1, 0)


def test_the_longest_prefix_that_has_a_holder_then_decides() -> None:
    leases = table("192.0.2.0/24,0,,A,,fixed,personal,pppoe", "192.0.2.7/32,100,200,B,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 50, 150, 250) == ["A", "B", "A"]


def test_delegated_ipv6_prefixes_and_single_addresses() -> None:
    leases = table("2001:db8:0:100::/56,0,,A,,fixed,personal,pppoe", "2001:db8:0:1ab::5/128,0,,B,,fixed,personal,pppoe")
    inside = bytes.fromhex("20010db8000001ab0000000000000006")
    assert who(leases, inside, 1) == ["A"]
    assert who(leases, inside[:-1] + b"\x05", 1) == ["B"]
    assert who(leases, bytes.fromhex("20010db8000002ab0000000000000006"), 1) == ["-"]


def test_a_default_route_of_one_family_does_not_hold_the_other() -> None:
    leases = table("::/0,0,,A,,fixed,personal,pppoe")
    assert who(leases, ADDRESS, 1) == ["-"]
    assert who(leases, bytes(16), 1) == ["A"]
    assert who(table("0.0.0.0/0,0,,A,,fixed,personal,pppoe"), bytes(16), 1) == ["-"]


def test_nobody_holds_anything_in_an_empty_table() -> None:
    assert who(LeaseTable.empty(), ADDRESS, 1) == ["-"]
    assert len(table()) == 0


def test_labels_follow_the_lease() -> None:
    leases = table("192.0.2.7/32,0,,A,north,mobile,enterprise,mobile", "192.0.2.8/32,0,,B,,fixed,unknown,other")
    found = leases.lookup(
        np.frombuffer(ADDRESS + MAPPED + bytes((192, 0, 2, 8)) + bytes(16), "V16"), np.zeros(3, "M8[ms]")
    )
    labels = [
        tuple(leases.labels[name][leases.codes[name][profile]] for name in leases.labels)
        for profile in leases.profile[found].tolist()
    ]
    assert labels == [("mobile", "enterprise", "mobile", "north"), ("fixed", "unknown", "other", ""), ("", "", "", "")]
