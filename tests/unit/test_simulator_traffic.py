"""The law "rate": flows of the published mix, between users by what they carry."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator.kinds import KINDS
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan
from flowtide.simulator.traffic import Ends, Traffic, mean_packets

BEGIN_MS = 1_717_340_400_000
PEOPLE = PeoplePlan(pppoe=100, ipoe=40, mobile=100, churn=10, shared=30, shared_mobile=30)
IDLE_MS, ACTIVE_MS = 15_000, 60_000


@pytest.fixture(scope="module")
def people() -> Population:
    return populate(PEOPLE, 3)


@pytest.fixture(scope="module")
def leases(people: Population) -> Leases:
    return lease(PEOPLE, people, 3, BEGIN_MS, BEGIN_MS + 86_400_000, "Asia/Tokyo")


def traffic(
    service: str, people: Population, leases: Leases, *, seed: int = 1, sampled: bool = False, paired: bool = False
) -> Traffic:
    ends = Ends(leases, (seed, 9))
    return Traffic(service, 2024, people.of(service), people, ends, sampled=sampled, seed=(seed,), paired=paired)


def taken(made: Traffic, count: int, seconds: int = 3_600) -> NDArray[np.void]:
    return made.slice(BEGIN_MS, BEGIN_MS + seconds * 1000, count, idle_ms=IDLE_MS, active_ms=ACTIVE_MS)


@pytest.mark.parametrize(("service", "published"), [("fixed", 21.0), ("mobile", 22.5)])
def test_the_quic_share_is_the_published_one(
    people: Population, leases: Leases, service: str, published: float
) -> None:
    flows = taken(traffic(service, people, leases, sampled=True), 100_000)
    quic = (flows["proto"] == 17) & (np.minimum(flows["src_port"], flows["dst_port"]) == 443)
    share = 100 * flows["octets"][quic].sum() / flows["octets"].sum()
    # Standard error of a share of 100,000 flows whose sizes spread by a factor of some 2: about 0.2.
    assert share == pytest.approx(published, abs=1.0)


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_every_kind_falls_into_its_bucket(people: Population, leases: Leases, service: str) -> None:
    flows = taken(traffic(service, people, leases), 20_000)
    named = {50: "esp", 47: "gre", 4: "ipip", 41: "ipv6", 1: "icmp", 58: "icmp6"}
    assert len(set(flows["kind"].tolist())) > 10
    for flow in flows:
        proto, lower = int(flow["proto"]), min(int(flow["src_port"]), int(flow["dst_port"]))
        if proto in (6, 17):
            name, half = ("tcp", "udp")[proto == 17], "<1024" if lower < 1024 else ">=1024"
            bucket = f"{name}/{lower if (proto, lower) in ((6, 443), (6, 80), (17, 443)) else half}"
        else:
            bucket = named.get(proto, "other")
        assert bucket == KINDS[flow["kind"]].bucket
    assert (flows["octets"] <= 1500 * flows["packets"]).all()
    assert (flows["packets"] > 0).all()
    # ICMP and tunnels over IPv4 are IPv4, but for those whose IPv4 address is shared: they have no port to go by.
    assert not flows["is_v6"][flows["proto"] == 1].any()
    assert flows["is_v6"][flows["proto"] == 58].all()


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_addresses_are_those_held_at_the_flows_ends(people: Population, leases: Leases, service: str) -> None:
    flows = taken(traffic(service, people, leases), 1_500, 86_400)
    up = np.where(flows["direction"] == 0, flows["in_if"] < 100, flows["direction"] == 1)
    ports = np.isin(flows["proto"], (6, 17))
    ends = [(flows["src"], flows["src_port"]), (flows["dst"], flows["dst_port"])]
    held = [leases.holders(address, np.where(ports, port, 0), flows["end_ms"]) for address, port in ends]
    near, far = np.where(up, *held), np.where(up, *held[::-1])
    assert near.tolist() == flows["user"].tolist()
    assert far.tolist() == flows["peer"].tolist()
    assert 3 < int((flows["user"] == -1).sum()) < 60  # a hundredth is nobody's
    assert 2 < int((flows["peer"] >= 0).sum()) < 60  # and one between two users
    shared = (flows["user"] >= 0) & ports & ~flows["is_v6"]
    assert len(np.unique(near[shared])) > 50


def test_users_have_flows_by_what_they_carry(people: Population, leases: Leases) -> None:
    flows = taken(traffic("fixed", people, leases, sampled=True), 40_000)
    users = people.of("fixed")
    for direction in (1, 2):
        mine = flows["user"][flows["direction"] == direction]
        got = np.bincount(mine, minlength=len(people))[users] / len(mine)
        wanted = people.octets_a_day[users, direction - 1] / people.octets_a_day[users, direction - 1].sum()
        assert np.abs(got - wanted).max() < 4 * np.sqrt(wanted.max() / len(mine))
    of_user = flows[flows["user"] >= 0]
    wanted_v6 = people.ipv6_share[users].mean()
    assert of_user["is_v6"].mean() == pytest.approx(wanted_v6, abs=0.03)


def test_flows_are_told_of_within_their_slice_evenly(people: Population, leases: Leases) -> None:
    flows = taken(traffic("fixed", people, leases), 6_000, 60)
    lasts = flows["end_ms"] - flows["start_ms"]
    told = np.where(lasts > ACTIVE_MS, flows["start_ms"] + ACTIVE_MS, flows["end_ms"] + IDLE_MS)
    assert told.min() >= BEGIN_MS
    assert told.max() < BEGIN_MS + 60_000
    assert set(np.bincount((told - BEGIN_MS) // 1_000).tolist()) == {100}
    assert 20 < int((lasts > ACTIVE_MS).sum()) < 120  # a hundredth lasts for minutes
    assert lasts.max() < 1_200_000


def test_the_same_seed_gives_the_same_flows_however_they_are_asked_for(people: Population, leases: Leases) -> None:
    def kinds(seed: int, *parts: int) -> bytes:
        made = traffic("fixed", people, leases, seed=seed)
        flows = np.concatenate([taken(made, part) for part in parts])
        return b"".join(np.ascontiguousarray(flows[name]).tobytes() for name in ("kind", "user", "octets"))

    assert kinds(1, 5_000) == kinds(1, 1, 4_095, 4, 900)
    assert kinds(1, 5_000) != kinds(2, 5_000)


def test_mean_packets_are_those_drawn(people: Population, leases: Leases) -> None:
    for sampled in (False, True):
        flows = taken(traffic("mobile", people, leases, sampled=sampled), 100_000)
        error = float(flows["packets"].std()) / np.sqrt(100_000)
        assert flows["packets"].mean() == pytest.approx(mean_packets(1 + sampled), abs=4 * error)


def test_of_biflows_every_second_is_the_way_back(people: Population, leases: Leases) -> None:
    flows = taken(traffic("fixed", people, leases, paired=True), 2_001)
    there, back = flows[0:2_000:2], flows[1:2_000:2]
    for one, other in (("src", "dst"), ("src_port", "dst_port"), ("in_if", "out_if"), ("src_as", "dst_as")):
        rows = np.isin(there["proto"], (6, 17)) if "port" in one else slice(None)
        assert (there[one][rows] == back[other][rows]).all()
        assert (there[other][rows] == back[one][rows]).all()
    for name in ("user", "peer", "proto", "start_ms", "end_ms", "kind", "is_v6"):
        assert (there[name] == back[name]).all()
    known = there["user"] >= 0
    assert (there["direction"][known] + back["direction"][known] == 3).all()
    assert (back["packets"] > 0).all()


def test_a_flow_is_unbroken_while_its_address_is_held(people: Population, leases: Leases) -> None:
    ends = Ends(leases, (5,))
    moved = [row for row in range(len(leases)) if leases.since_ms[row] > BEGIN_MS and leases.port_from[row] == 0]
    row = moved[0]
    flows = taken(traffic("fixed", people, leases), 4)[:1].repeat(3)
    flows["user"], flows["peer"], flows["is_v6"], flows["proto"] = leases.user[row], -1, [False, False, True], 6
    flows["direction"] = 1
    flows["end_ms"] = leases.since_ms[row] + 5_000
    flows["start_ms"] = flows["end_ms"] - [5_001, 5_000, 5_001]
    ends.fill(flows)
    assert ends.unbroken(flows).tolist() == [False, True, True]
