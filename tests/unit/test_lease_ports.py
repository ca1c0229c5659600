"""Shared addresses, several sources, and changes of a table."""

from datetime import UTC, datetime

import numpy as np
import pytest

from enricher.enrichment import Tables, enrich
from enricher.leases import HELD, LeaseRows, LeaseTable
from enricher.subscribers import sub_id
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.batch import Batch
from sinks.schema import RAW, SamplingSource

KEY = bytes(range(32))
MAPPED = bytes(10) + b"\xff\xff"
ADDRESS, OTHER = MAPPED + bytes((192, 0, 2, 7)), MAPPED + bytes((192, 0, 2, 8))
SUBSCRIBERS = ("A", "B", "C")
WHOLE = (0, 65_535)


def leased(
    *rows: tuple[str, int, int | None, tuple[int, int]], priority: int = 0, address: bytes = ADDRESS, group: str = ""
) -> LeaseRows:
    """(subscriber, since, until, ports) of one address, in seconds."""
    zeros, count = np.zeros(len(rows), "u4"), len(rows)
    return LeaseRows(
        np.full(count, int.from_bytes(address[:8]), "u8"), np.full(count, int.from_bytes(address[8:]), "u8"),
        np.full(count, 128, "u1"), np.array([row[1] * 1000 for row in rows], "i8"),
        np.array([HELD if row[2] is None else row[2] * 1000 for row in rows], "i8"),
        np.array([SUBSCRIBERS.index(row[0]) for row in rows], "u4"), zeros, zeros, zeros, zeros, SUBSCRIBERS, (group,),
        np.array([row[3][0] for row in rows], "u2"), np.array([row[3][1] for row in rows], "u2"),
    ).with_priority(priority)  # fmt: skip


def who(table: LeaseTable, *asked: tuple[int, int], address: bytes = ADDRESS) -> str:
    """Of each (second, port); - for nobody."""
    times = np.array([second * 1000 for second, _ in asked], "M8[ms]")
    found = table.lookup(np.frombuffer(address * len(asked), "V16"), times, np.array([port for _, port in asked], "u2"))
    names = {sub_id(KEY, "fixed", name, "pppoe"): name for name in SUBSCRIBERS} | {0: "-"}
    return "".join(names[int(one)] for one in table.holders(found)[0])


def test_a_port_range_includes_its_last_port() -> None:
    table = LeaseTable.of(leased(("A", 0, None, (1_024, 5_055)), ("B", 0, None, (5_056, 9_087))), KEY)
    assert who(table, (1, 1_023), (1, 1_024), (1, 5_055), (1, 5_056), (1, 9_087), (1, 9_088)) == "-AABB-"
    assert table.has_ports


def test_a_flow_without_ports_is_of_the_whole_address_or_a_range_from_0() -> None:
    ranges = leased(("A", 0, None, (1_024, 65_535)))
    assert who(LeaseTable.of(ranges, KEY), (1, 0)) == "-"
    assert (
        who(LeaseTable.of(LeaseRows.concat([ranges, leased(("B", 0, None, WHOLE))]), KEY), (1, 0), (1, 1_024)) == "BA"
    )
    assert who(LeaseTable.of(LeaseRows.concat([ranges, leased(("C", 0, None, (0, 1_023)))]), KEY), (1, 0)) == "C"


def test_the_narrower_range_goes_first_while_it_is_held() -> None:
    rows = leased(("A", 0, None, WHOLE), ("B", 100, 200, (1_000, 1_999)), ("C", 100, 150, (1_500, 1_500)))
    assert who(LeaseTable.of(rows, KEY), (99, 1_500), (100, 1_500), (150, 1_500), (200, 1_500)) == "ACBA"
    assert who(LeaseTable.of(rows, KEY), (100, 1_499), (100, 2_000)) == "BA"


def test_of_equally_wide_ranges_that_overlap_the_one_that_begins_higher_goes_first() -> None:
    rows = leased(("A", 0, None, (100, 199)), ("B", 0, None, (150, 249)), ("C", 0, None, (120, 219)))
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        table = LeaseTable.of(rows.take(np.array(order)), KEY)
        assert who(table, (1, 119), (1, 120), (1, 149), (1, 150), (1, 220), (1, 250)) == "ACCBB-"


def test_ranges_that_share_one_port_overlap() -> None:
    rows = leased(("A", 0, None, (100, 150)), ("B", 0, 10, (150, 199)))
    assert who(LeaseTable.of(rows, KEY), (1, 149), (1, 150), (1, 151), (10, 150), (10, 151)) == "ABBA-"


@pytest.mark.parametrize("wide", [1, 3, 64, 4_032])
def test_many_ranges_of_many_addresses_and_those_beside_them(wide: int) -> None:
    """Cells of the grid hold one range, several, or a part of one; every second range is missing."""
    count = min(200, 64_000 // wide // 2)
    first = 1_000 + 2 * wide * np.arange(count)
    ranges = [("AB"[at % 2], 0, None, (begin, begin + wide - 1)) for at, begin in enumerate(first.tolist())]
    few = [("C", 0, None, (50_000, 50_000)), ("C", 0, None, (60_000, 65_535))]
    rows = [leased(*ranges), leased(*few, address=OTHER), leased(("C", 0, None, WHOLE), address=MAPPED + bytes(4))]
    table = LeaseTable.of(LeaseRows.concat(rows), KEY)
    asked = [(1, port) for begin in first.tolist() for port in (begin - 1, begin, begin + wide - 1, begin + wide)]
    assert who(table, *asked) == "".join("-" + "AB"[at % 2] * 2 + "-" for at in range(count))
    assert who(table, (1, 0), (1, 49_999), (1, 50_000), (1, 50_001), (1, 65_535), address=OTHER) == "--C-C"
    assert who(table, (1, 0), (1, 65_535), address=MAPPED + bytes(4)) == "CC"


def test_a_fold_keeps_what_is_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LeaseTable.of(leased(("A", 0, 50, WHOLE), ("B", 0, None, WHOLE)), KEY)
    monkeypatch.setattr("enricher.lease_changes._SMALLEST_FOLD", 0)
    folded = table.changed(leased(("A", 0, 60, WHOLE), ("B", 0, None, WHOLE), address=OTHER), KEY)
    assert folded.overlay is None
    times = np.array([49_999, 50_000, 59_999, 60_000], "M8[ms]")
    found = folded.lookup(np.frombuffer(ADDRESS * 2 + OTHER * 2, "V16"), times)
    assert folded.is_ambiguous(found, times).tolist() == [True, False, True, False]


def test_a_source_of_higher_priority_counts_while_its_lease_holds() -> None:
    file, radius = leased(("A", 0, None, WHOLE), ("C", 250, None, WHOLE)), leased(("B", 100, 200, WHOLE), priority=10)
    for parts in ([file, radius], [radius, file]):
        table = LeaseTable.of(LeaseRows.concat(parts), KEY)
        assert who(table, (99, 0), (100, 0), (199, 0), (200, 0), (250, 0)) == "ABBAC"
        assert (table.ambiguous, table.overlaps) == (0, 0)  # another source's lease closes nothing


def test_a_lease_that_is_never_the_first_choice_is_not_kept() -> None:
    rows = LeaseRows.concat([leased(("A", 100, 150, WHOLE)), leased(("B", 0, 200, WHOLE), priority=1)])
    table = LeaseTable.of(rows, KEY)
    assert (len(table), who(table, (50, 0), (100, 0), (150, 0), (200, 0))) == (1, "BBB-")


def test_an_address_changes_hands_within_a_millisecond_whatever_the_order() -> None:
    rows = leased(("A", 100, 200, WHOLE), ("B", 200, 300, WHOLE))
    for order in ([0, 1], [1, 0]):
        table = LeaseTable.of(rows.take(np.array(order)), KEY)
        times = np.array([199_999, 200_000], "M8[ms]")
        found = table.lookup(np.frombuffer(ADDRESS * 2, "V16"), times)
        assert table.holders(found)[0].tolist() == [sub_id(KEY, "fixed", name, "pppoe") for name in "AB"]
        assert not table.is_ambiguous(found, times).any()


def test_a_change_replaces_all_leases_of_its_prefix_and_no_other() -> None:
    before = LeaseTable.of(
        LeaseRows.concat([leased(("A", 0, None, WHOLE)), leased(("A", 0, None, WHOLE), address=OTHER)]), KEY
    )
    after = before.changed(leased(("B", 50, None, (0, 9)), ("C", 80, None, WHOLE), group="east"), KEY)
    assert who(after, (40, 5), (60, 5), (60, 10), (90, 10)) == "-B-C"
    assert who(after, (40, 5), address=OTHER) == "A"
    assert who(before, (40, 5), (60, 5)) == "AA"  # who still has the old table is not disturbed
    assert (len(before), len(after)) == (2, 3)
    assert [after.labels["sub_group"][after.codes["sub_group"][after.profile[lease]]] for lease in (2, 1)] == [
        "east",
        "",
    ]
    gone = after.changed(LeaseRows.empty(), KEY, (before.base.prefixes.prefixes()))
    assert (len(gone), who(gone, (90, 5)), who(gone, (90, 5), address=OTHER)) == (0, "-", "-")


def test_many_prefixes_change_and_many_are_new() -> None:
    numbers = np.random.default_rng(1).choice(1 << 24, 600, replace=False).tolist()
    addresses = [MAPPED + bytes((10,)) + number.to_bytes(3) for number in numbers]
    first = [leased(("C", 0, None, WHOLE), address=address) for address in addresses[:450]]
    names = ["AB"[at % 7 % 2] for at in range(600)]
    changes = [leased((names[at], 0, None, WHOLE), address=addresses[at]) for at in range(200, 600)]
    table = LeaseTable.of(LeaseRows.concat(first), KEY).changed(LeaseRows.concat(changes), KEY)
    assert table.overlay is not None  # not folded yet
    assert len(table) == 600
    assert [who(table, (1, 80), address=address) for address in addresses] == ["C"] * 200 + names[200:]


def test_port_columns_of_another_length_are_refused() -> None:
    rows = leased(("A", 0, None, WHOLE), ("B", 0, None, (0, 9)))
    with pytest.raises(ValueError, match="port_to has 1 values for 2 leases"):
        LeaseRows(
            rows.high, rows.low, rows.bits, rows.since, rows.until, rows.subscriber, rows.service, rows.segment,
            rows.access, rows.group, rows.subscribers, rows.groups, rows.port_from, rows.port_to[:1],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("proto", "port", "expected"),
    [(6, 2_048, "A"), (17, 2_048, "A"), (17, 3_000, "-"), (1, 2_048, "-"), (50, 2_048, "-")],
)
def test_each_end_is_looked_up_with_its_own_port(proto: int, port: int, expected: str) -> None:
    """ICMP has its type and code in the port field: 2048 is an echo request (RFC 7011, IANA element 32)."""
    tables = Tables(LeaseTable.of(leased(("A", 0, None, (2_048, 2_111))), KEY))
    far = MAPPED + bytes((203, 0, 113, 1))
    batch = Batch.empty(RAW, 2)
    batch.labels["exporter"], batch.labels["collector"] = ("192.0.2.254",), ("c1",)
    columns = batch.columns
    columns["src_addr"][:] = np.frombuffer(far + ADDRESS, "V16")
    columns["dst_addr"][:] = np.frombuffer(ADDRESS + far, "V16")
    columns["src_port"][:], columns["dst_port"][:] = (443, port), (port, 443)
    columns["ts"][:] = np.datetime64(1_000, "ms")
    columns["proto"][:], columns["octets"][:], columns["packets"][:] = proto, 1_000, 2
    columns["sampling"][:], columns["sampling_source"][:] = 1, SamplingSource.RECORD
    found = enrich([batch], tables).batch.columns
    ours = expected == "A"
    assert found["direction"].tolist() == ([2, 1] if ours else [0, 0])
    assert found["sub_id"].tolist() == [sub_id(KEY, "fixed", "A", "pppoe") if ours else 0] * 2


def rows_of(made: Leases) -> LeaseRows:
    """The simulator's leases, column by column; each user's number is its name."""
    halves = made.address.view(">u8").astype("u8")
    zeros = np.zeros(len(made), "u4")
    return LeaseRows(
        halves[:, 0], halves[:, 1], made.bits, made.since_ms, made.until_ms, made.user.astype("u4"),
        zeros, zeros, zeros, zeros, [str(user) for user in range(len(made.population))], ("",),
        made.port_from, made.port_to,
    )  # fmt: skip


def test_shared_addresses_of_the_simulated_network_have_the_right_user_everywhere() -> None:
    plan = PeoplePlan(
        pppoe=20, ipoe=50, mobile=80, enterprise_pppoe=2, enterprise_ipoe=1, enterprise_mobile=2, churn=20,
        shared=30, shared_mobile=30,
    )  # fmt: skip
    begin = int(datetime(2024, 6, 3, tzinfo=UTC).timestamp() * 1000)
    made = lease(plan, populate(plan, 1), 1, begin, begin + 2 * 86_400_000, "UTC")
    # Around the edges of each lease in time and in ports.
    at_ms = np.stack([made.since_ms, made.since_ms - 1, made.until_ms - 1, np.minimum(made.until_ms, HELD - 1)])
    first, last = made.port_from.astype("i8"), made.port_to.astype("i8")
    port = np.clip(np.stack([first, first - 1, last, last + 1]), 0, 65_535)
    every = [np.stack([np.arange(len(made)), moments, edges], axis=1) for moments in at_ms for edges in port]
    row, times, edge = np.unique(np.concatenate(every), axis=0).T
    ports = edge.astype("u2")
    expected = made.holders(made.address[row], ports, times)
    assert np.count_nonzero(made.port_from > 0) > 30  # some are shared
    assert 0 < np.count_nonzero(expected == -1) < len(row) / 2

    table = LeaseTable.of(rows_of(made), KEY)
    found = table.lookup(np.ascontiguousarray(made.address[row]).view("V16").ravel(), times.view("M8[ms]"), ports)
    ids = np.array([*(sub_id(KEY, "fixed", str(user), "pppoe") for user in range(len(made.population))), 0], "u8")
    assert table.holders(found)[0].tolist() == ids[expected].tolist()
    assert (table.ambiguous, table.overlaps) == (0, 0)
