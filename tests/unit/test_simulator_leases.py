"""Leases of the simulated network: what was handed out is what can be found again, by us and by the enricher."""

import csv
from collections import Counter, defaultdict
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import LeaseTable
from enricher.sources.tables import read_leases
from enricher.subscribers import sub_id
from flowtide.simulator import address_pools, leases
from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.leases import HELD, Leases, lease, standing
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan

DAY_MS = 86_400_000
BEGIN = int(datetime(2024, 6, 3, tzinfo=ZoneInfo("Asia/Tokyo")).timestamp() * 1000)
PLAN = PeoplePlan(pppoe=301, ipoe=100, mobile=203, shared=45, shared_mobile=40, churn=15, on_both=20, second_line=10)


def leases_of(plan: PeoplePlan = PLAN, seed: int = 1, days: float = 7) -> Leases:
    return lease(plan, populate(plan, seed), seed, BEGIN, BEGIN + int(days * DAY_MS), "Asia/Tokyo")


def readable(address: np.ndarray) -> IPv4Address | IPv6Address:
    read = IPv6Address(address.tobytes())
    return read.ipv4_mapped or read


plans = st.builds(
    PeoplePlan, pppoe=st.integers(0, 30), ipoe=st.integers(0, 20), mobile=st.integers(1, 40), churn=st.floats(0, 100),
    shared=st.floats(0, 100), shared_mobile=st.floats(0, 100), on_both=st.floats(0, 100), second_line=st.floats(0, 100),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(0, 1_000), st.data())
def test_the_holder_of_a_users_address_is_the_user(plan: PeoplePlan, seed: int, data: st.DataObject) -> None:
    made = leases_of(plan, seed, 3)
    random = np.random.default_rng(seed)
    # The first and the last moment of leases, and any others.
    edges = np.concatenate([made.since_ms, made.since_ms - 1])
    edges = edges[(edges >= BEGIN) & (edges < BEGIN + 3 * DAY_MS)]
    drawn = data.draw(st.lists(st.integers(BEGIN, BEGIN + 9 * DAY_MS), min_size=1, max_size=10))
    at_ms = np.concatenate([random.choice(edges, min(20, len(edges)), replace=False), drawn]).astype("i8")
    user = random.integers(0, len(made.population), len(at_ms)).astype("i4")
    changed = np.searchsorted(made.since_ms, at_ms)
    user = np.where(random.random(len(user)) < 0.5, made.user[np.minimum(changed, len(made) - 1)], user)
    is_v6 = random.random(len(user)) < 0.3
    address, first, last = made.addresses(user, is_v6, at_ms, random)
    for port in (first, last, random.integers(first, last, endpoint=True)):
        assert made.holders(address, port.astype("u2"), at_ms).tolist() == user.tolist()


def test_no_two_users_hold_an_address_and_port_at_one_time() -> None:
    rows = leases_of().table().to_pylist()
    by_prefix = defaultdict(list)
    for row in rows:
        by_prefix[row["prefix"]].append(row)
    far = datetime(9999, 1, 1, tzinfo=UTC)
    for held in by_prefix.values():
        for at, one in enumerate(held):
            for other in held[at + 1 :]:
                in_time = one["from"] < (other["to"] or far) and other["from"] < (one["to"] or far)
                in_ports = one["port_from"] <= other["port_to"] and other["port_from"] <= one["port_to"]
                assert not (in_time and in_ports), (one, other)
        assert all(one["from"] < (one["to"] or far) for one in held)
    networks = sorted({ip_network(prefix) for prefix in by_prefix if "." in prefix})
    assert not any(one.overlaps(other) for one, other in pairwise(networks))
    wide = sorted({ip_network(prefix) for prefix in by_prefix if ":" in prefix})
    assert not any(one.overlaps(other) for one, other in pairwise(wide))
    assert {network.prefixlen for network in wide} == {56, 64}


def test_addresses_are_of_ranges_set_aside() -> None:
    made = leases_of()
    ours = [ip_network("198.18.0.0/15"), ip_network("2001:db8::/32")]
    assert all(any(readable(address) in network for network in ours) for address in made.address)
    # The next addresses when these are used up (RFC 6598), and an error when those are.
    first, more = address_pools.ipv4("fixed", np.array([65_535, 65_536])).tolist()
    assert (IPv4Address(first), IPv4Address(more)) == (ip_address("198.18.255.255"), ip_address("100.64.0.0"))
    most = address_pools.ipv4("mobile", np.array([65_536 + (1 << 21) - 1])).tolist()
    assert IPv4Address(most[0]) == ip_address("100.127.255.255")
    with pytest.raises(ValueError, match="mobile users need"):
        address_pools.ipv4("mobile", np.array([65_536 + (1 << 21)]))


def test_more_users_than_prefixes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_V6_ROOM", 100)
    with pytest.raises(ValueError, match="there are 99 prefixes"):
        leases_of()


def test_so_many_addresses_change_hands_each_local_day() -> None:
    plan = PeoplePlan(pppoe=400, enterprise_pppoe=0, ipoe=50, mobile=300, enterprise_mobile=0, churn=10)
    made = leases_of(plan)
    changes = made.since_ms >= BEGIN
    day = (made.since_ms[changes] - BEGIN) // DAY_MS
    service = made.population.service[made.user[changes]]
    assert Counter(zip(day.tolist(), service.tolist(), strict=True)) == {
        (number, service): count for number in range(7) for service, count in ((0, 40), (1, 30))
    }
    hours = Counter(((made.since_ms[changes] - BEGIN) % DAY_MS // 21_600_000).tolist())
    assert min(hours.values()) > 490 / 4 / 2  # at any time of the day: 122 a quarter
    by_access = Counter(made.population.labels_of(user)[2] for user in made.user[changes].tolist())
    assert "ipoe" not in by_access
    assert made.is_v4[changes].all()


def test_a_freed_address_is_given_to_another_user_often_at_once() -> None:
    made = leases_of()
    held = defaultdict(list)
    for row in np.flatnonzero(made.is_v4).tolist():
        held[made.address[row].tobytes(), int(made.port_from[row])].append(row)  # in order of since
    gaps = [
        int(made.since_ms[after] - made.until_ms[before])
        for rows in held.values()
        for before, after in pairwise(rows)
        if made.user[before] != made.user[after]
    ]
    assert len(gaps) > 100
    assert min(gaps) == 0
    assert 0.3 < gaps.count(0) / len(gaps) < 0.8
    assert max(gaps) > 60_000


def test_a_user_has_one_address_at_any_time() -> None:
    made = leases_of()
    for user in range(len(made.population)):
        own = np.flatnonzero((made.user == user) & made.is_v4)
        assert made.since_ms[own[0]] < BEGIN
        assert made.until_ms[own[-1]] == HELD
        assert (made.until_ms[own[:-1]] == made.since_ms[own[1:]]).all()
        assert np.count_nonzero((made.user == user) & ~made.is_v4) == 1
    assert (np.diff(made.since_ms) >= 0).all()


def test_of_a_shared_address_sixteen_users_have_their_ports() -> None:
    made = leases_of()
    people = made.population
    shared = np.flatnonzero(made.port_to < 65_535)
    last = np.flatnonzero((made.port_from > 0) & (made.since_ms < BEGIN))
    users = Counter(people.labels_of(user)[2] for user in set(made.user[last].tolist()))
    assert users == {"ipoe": 47, "mobile": 90}  # 45 % of 106, 40 % of 225
    assert set((made.port_to[shared] - made.port_from[shared]).tolist()) == {4_031}
    assert made.port_from[shared].min() == 1_024
    whole = made.port_from == 0
    assert (made.port_to[whole] == 65_535).all()
    mates = Counter(made.address[row].tobytes() for row in last.tolist())
    assert max(mates.values()) == 16
    assert (made.port_to.astype(int)[made.port_from > 0] <= 65_535).all()
    top = made.port_from.astype(int).max() + 4_031
    assert top == 65_535  # the last user's ports end where ports end


def test_a_later_end_changes_nothing_before() -> None:
    short, long = leases_of(days=2.3), leases_of(days=6)
    end = BEGIN + int(2.3 * DAY_MS)
    early = long.since_ms < end
    assert np.count_nonzero(early) == len(short)
    for name in ("user", "address", "bits", "port_from", "port_to", "since_ms"):
        assert (getattr(short, name) == getattr(long, name)[early]).all()
    ended = long.until_ms[early] < end
    assert (short.until_ms == np.where(ended, long.until_ms[early], HELD)).all()


def test_the_seed_decides() -> None:
    assert leases_of().table().equals(leases_of().table())
    assert not leases_of().table().equals(leases_of(seed=2).table())


def test_before_its_first_lease_a_user_has_no_address() -> None:
    made = leases_of()
    user, v4 = np.array([5], "i4"), np.array([False])
    first = made.since_ms[(made.user == 5) & made.is_v4][:1]
    made.addresses(user, v4, first, np.random.default_rng(1))
    for is_v6 in (v4, ~v4):
        with pytest.raises(ValueError, match="user 5 has no address"):
            made.addresses(user, is_v6, first - 1, np.random.default_rng(1))
    assert made.holders(made.address[:1], np.array([0], "u2"), made.since_ms[:1] - 1).tolist() == [-1]


def test_a_lease_ends_before_its_last_moment() -> None:
    made = leases_of()
    ended = np.flatnonzero(made.until_ms != HELD)
    at_end = made.holders(made.address[ended], made.port_from[ended], made.until_ms[ended])
    before = made.holders(made.address[ended], made.port_from[ended], made.until_ms[ended] - 1)
    assert (before == made.user[ended]).all()
    assert not (at_end == made.user[ended]).any()
    assert 0 < np.count_nonzero(at_end == -1) < len(ended)  # free for a while, or another's at once


def test_a_day_that_has_begun_has_changes_behind_the_begin_only() -> None:
    begin = BEGIN + DAY_MS // 2
    made = lease(PLAN, populate(PLAN, 1), 1, begin, begin + DAY_MS, "Asia/Tokyo")
    first = np.unique(made.user * 2 + made.is_v4, return_index=True)[1]
    changes = np.delete(made.since_ms, first)
    # 67 users move a day, so half of them until midnight and half of them behind it.
    assert changes.min() > begin
    assert 45 < len(changes) < 110


def test_the_enricher_finds_the_same_holders(tmp_path: Path) -> None:
    path, key = tmp_path / "leases.csv", bytes(32)
    lines = write_lease_csv(path, standing(1))
    begin = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
    plan = PeoplePlan()
    made = lease(plan, populate(plan, 1), 1, begin, begin + DAY_MS, "UTC")
    rows = read_leases(path, 1 << 20)
    assert len(rows) == lines == len(made)
    table = LeaseTable.of(rows, key)
    assert (table.ambiguous, table.overlaps) == (0, 0)
    random = np.random.default_rng(6)
    # Each lease at its first moment, and the user who held the address the moment before.
    user = np.concatenate([made.user, random.integers(0, len(made.population), 2_000)]).astype("i4")
    at_ms = np.concatenate([made.since_ms, random.integers(begin, begin + 2 * DAY_MS, 2_000)])
    is_v6 = np.concatenate([~made.is_v4, random.random(2_000) < 0.5])
    address, _, _ = made.addresses(user, is_v6, at_ms, random)
    found = table.lookup(np.ascontiguousarray(address).view("V16").ravel(), at_ms.view("M8[ms]"))
    people = made.population
    ids = [sub_id(key, people.labels_of(each)[0], people.subscriber[each], people.labels_of(each)[2]) for each in user]
    assert table.sub_id[found].tolist() == ids
    assert (found >= 0).all()


def test_leases_are_written_as_the_enricher_documents_them(tmp_path: Path) -> None:
    path = tmp_path / "leases.csv"
    lines = write_lease_csv(path, standing(1))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == ("prefix", "from", "to", "subscriber", "group", "service", "segment", "access")
    assert len(rows) == lines > 1_000
    for row in rows:
        ip_network(row["prefix"])  # refuses host bits
        assert datetime.fromisoformat(row["from"]).utcoffset() is not None
        assert row["to"] == "" or row["from"] < row["to"]
    again = tmp_path / "again.csv"
    write_lease_csv(again, standing(1))
    assert path.read_bytes() == again.read_bytes()


def test_a_table_of_nobody() -> None:
    nobody = PeoplePlan(pppoe=0, ipoe=0, mobile=0, enterprise_pppoe=0, enterprise_ipoe=0, enterprise_mobile=0)
    assert leases_of(nobody).table().num_rows == 0


def test_local_days_follow_the_clocks() -> None:
    # Central European Summer Time: 2024-03-31 had 23 hours.
    berlin = ZoneInfo("Europe/Berlin")
    begin = int(datetime(2024, 3, 30, 15, tzinfo=berlin).timestamp() * 1000)
    days = address_pools.local_days(begin, begin + 3 * DAY_MS, "Europe/Berlin")
    assert [(until - since) / 3_600_000 for _, since, until in days] == [24, 23, 24, 24]
    assert [number for number, _, _ in days] == [datetime(2024, 3, 30).toordinal() + at for at in range(4)]
