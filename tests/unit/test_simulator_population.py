"""The users of the simulated network: counts, names, and the published volumes again."""

import json
from collections import Counter

import numpy as np
import pytest

from flowtide.simulator.model import MODEL
from flowtide.simulator.population import ENTERPRISE, populate
from flowtide.simulator.scenario import PeoplePlan

TARGETS = {
    (row["service"], row["dir"], row["year"]): row["target"]
    for row in json.loads(MODEL.read_text())["daily_volume"]["rows"]
}
PLAN = PeoplePlan(
    pppoe=1_000, ipoe=500, mobile=1_200, enterprise_pppoe=90, enterprise_ipoe=30, enterprise_mobile=60, on_both=20,
    second_line=20,
)  # fmt: skip


def test_there_are_as_many_as_planned() -> None:
    people = populate(PLAN, 1)
    labels = Counter(people.labels_of(user)[:3] for user in range(len(people)))
    assert labels == {
        ("fixed", "personal", "pppoe"): 1_000, ("fixed", "personal", "ipoe"): 500,
        ("fixed", "enterprise", "pppoe"): 90, ("fixed", "enterprise", "ipoe"): 30,
        ("mobile", "personal", "mobile"): 1_200, ("mobile", "enterprise", "mobile"): 60,
    }  # fmt: skip
    assert len(people.of("fixed")) == 1_620
    assert len(people.of("fixed", ("ipoe",))) == 530
    assert len(people.of("mobile", ("mobile",))) == 1_260
    assert len(people.of("mobile", ("pppoe",))) == 0
    assert len(set(people.name)) == len(people)


def test_a_subscription_on_both_accesses_is_two_users() -> None:
    people = populate(PLAN, 1)
    accesses: dict[str, list[str]] = {}
    for user in people.of("fixed").tolist():
        accesses.setdefault(people.subscription[user], []).append(people.labels_of(user)[2])
        assert people.subscriber[user] == people.subscription[user]
    assert Counter(map(tuple, accesses.values())) == {("pppoe", "ipoe"): 200, ("pppoe",): 890, ("ipoe",): 330}
    # A fifth of 1,000 mobile subscriptions has a second line: 1,200 lines.
    lines = Counter(people.subscription[user] for user in people.of("mobile").tolist())
    assert Counter(lines.values()) == {2: 200, 1: 860}
    for user in people.of("mobile").tolist():
        assert people.subscriber[user] == people.name[user]


def test_users_of_one_subscription_are_of_one_group() -> None:
    people = populate(PLAN, 1)
    group: dict[str, str] = {}
    for user in range(len(people)):
        assert group.setdefault(people.subscription[user], people.labels_of(user)[3]) == people.labels_of(user)[3]


def test_groups_are_as_large_as_planned() -> None:
    people = populate(PeoplePlan(pppoe=20_000, groups={"north": 3, "south": 1}), 1)
    own = people.group[people.of("fixed", ("pppoe",))]
    # Standard error of a quarter of 20,000: 0.3 points.
    assert (own == people.groups.index("south")).mean() == pytest.approx(0.25, abs=0.013)


@pytest.mark.parametrize(("year", "service", "name"), [(2024, "fixed", "broadband"), (2024, "mobile", "mobile")])
def test_personal_users_have_the_published_volumes(year: int, service: str, name: str) -> None:
    people = populate(PLAN, 1)
    personal = people.of(service)[people.segment[people.of(service)] == 0]
    for column, way in enumerate(("in", "out")):
        octets, target = people.octets_a_day[personal, column], TARGETS[name, way, year]
        assert octets.mean() / 1e6 == pytest.approx(target["mean"], rel=1e-4)
        # The middle ones of 1,200 users are 0.1 % apart.
        assert np.median(octets) / 1e6 == pytest.approx(target["median"], rel=3e-3)


def test_in_2020_the_table_counts_pppoe_alone() -> None:
    people = populate(PLAN.model_copy(update={"year": 2020}), 1)
    own = people.of("fixed", ("pppoe",))[:1_000]
    assert people.octets_a_day[own, 1].mean() / 1e6 == pytest.approx(
        TARGETS["broadband", "out", 2020]["mean"], rel=1e-4
    )


def test_enterprise_users_carry_so_much_more() -> None:
    people = populate(PLAN, 1)
    for service, name in (("fixed", "broadband"), ("mobile", "mobile")):
        enterprise = people.of(service, ("pppoe", "mobile"))[
            people.segment[people.of(service, ("pppoe", "mobile"))] == 1
        ]
        for column, way in enumerate(("in", "out")):
            wanted = TARGETS[name, way, 2024]["mean"] * ENTERPRISE[service][column]
            assert people.octets_a_day[enterprise, column].mean() / 1e6 == pytest.approx(wanted, rel=1e-4)


def test_a_user_keeps_its_name_group_and_volume_when_others_come() -> None:
    few = populate(PLAN, 7)
    more = populate(PLAN.model_copy(update={"pppoe": 1_001, "enterprise_mobile": 99, "enterprise_pppoe": 0}), 7)
    for access in ("ipoe", "mobile"):
        service = "mobile" if access == "mobile" else "fixed"
        count = len(few.of(service, (access,)))
        before, behind = few.of(service, (access,)), more.of(service, (access,))[:count]
        own = few.segment[before] == 0
        assert [few.name[at] for at in before[own]] == [more.name[at] for at in behind[own]]
        # Groups of shared subscriptions follow PPPoE's users, of which one more was drawn behind all others.
        assert (few.group[before[own]] == more.group[behind[own]]).all()
    personal = slice(*few.of("mobile")[[0, 1_199]])
    other = slice(*more.of("mobile")[[0, 1_199]])
    assert (few.octets_a_day[personal] == more.octets_a_day[other]).all()


def test_the_seed_decides() -> None:
    first, again, other = populate(PLAN, 1), populate(PLAN, 1), populate(PLAN, 2)
    assert first.name == again.name == other.name
    assert (first.octets_a_day == again.octets_a_day).all()
    assert not (first.octets_a_day == other.octets_a_day).all()
    assert not (first.group == other.group).all()


def test_shares_of_ipv6_are_those_of_the_plan() -> None:
    people = populate(PeoplePlan(ipv6_fixed=12, ipv6_mobile=100), 1)
    assert set(people.ipv6_share[people.of("fixed")].tolist()) == {0.12}
    assert set(people.ipv6_share[people.of("mobile")].tolist()) == {1.0}


def test_nobody_is_possible() -> None:
    nobody = PeoplePlan(
        pppoe=0, ipoe=0, mobile=0, enterprise_pppoe=0, enterprise_ipoe=0, enterprise_mobile=0, on_both=5
    )
    people = populate(nobody, 1)
    assert len(people) == 0
    assert people.octets_a_day.shape == (0, 2)
    assert people.of("mobile").tolist() == []
