"""The law "volumes": each user's octets exactly, the published mix, and ends by the curves of the day."""

from collections import Counter
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator.demand import Demand, packets_of
from flowtide.simulator.kinds import KINDS
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan
from flowtide.simulator.traffic import Ends

ZONE = "Asia/Tokyo"
MONDAY = date(2024, 6, 3).toordinal() - date(1970, 1, 1).toordinal()
BEGIN_MS = int(datetime(2024, 6, 3, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
DAY_MS = 86_400_000
PEOPLE = PeoplePlan(
    pppoe=150, ipoe=0, mobile=150, enterprise_pppoe=10, enterprise_ipoe=0, enterprise_mobile=10, churn=20,
    shared_mobile=30,
)  # fmt: skip
# Octet shares of 2024 in percent: Broadband Traffic Report, tables 3 (fixed) and 4 (mobile).
PUBLISHED = {
    "fixed": {"TCP/443": 53.8, "TCP/80": 6.5, "TCP/183": 0.2, "TCP/993": 0.1, "TCP/22": 0.1, "TCP/31000": 1.2,
              "TCP/1935": 0.3, "TCP/8080": 0.3, "UDP/443": 21.0},
    "mobile": {"TCP/443": 42.2, "UDP/443": 22.5, "TCP/80": 1.8},
}  # fmt: skip


@pytest.fixture(scope="module")
def people() -> Population:
    return populate(PEOPLE, 5)


@pytest.fixture(scope="module")
def leases(people: Population) -> Leases:
    return lease(PEOPLE, people, 5, BEGIN_MS, BEGIN_MS + 7 * DAY_MS, ZONE)


def demand(service: str, people: Population, leases: Leases, seed: int = 1, most: int = 2_000_000_000) -> Demand:
    return Demand(
        service, 2024, people.of(service), people, Ends(leases, (seed, 1)), zone=ZONE, seed=(seed, 2), most_octets=most
    )


@pytest.fixture(scope="module")
def week(people: Population, leases: Leases) -> dict[str, list[NDArray[np.void]]]:
    end = BEGIN_MS + 7 * DAY_MS
    return {service: list(demand(service, people, leases).slices(BEGIN_MS, end)) for service in ("fixed", "mobile")}


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_a_users_week_is_seven_times_its_day_to_the_octet(
    week: dict[str, list[NDArray[np.void]]], people: Population, service: str
) -> None:
    total: Counter[tuple[int, int]] = Counter()
    for day in week[service]:
        for user, direction, octets in zip(
            *(day[name].tolist() for name in ("user", "direction", "octets")), strict=True
        ):
            total[user, direction] += octets
    assert len(week[service]) == 7
    wanted = {
        (user, direction): 7 * int(people.octets_a_day[user, direction - 1])
        for user in people.of(service).tolist()
        for direction in (1, 2)
    }
    assert dict(total) == wanted


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_the_mix_is_the_published_one(week: dict[str, list[NDArray[np.void]]], service: str) -> None:
    flows = np.concatenate(week[service])
    whole = int(flows["octets"].sum())
    for name, published in PUBLISHED[service].items():
        kind = next(at for at, each in enumerate(KINDS) if each.name == name)
        share = 100 * int(flows["octets"][flows["kind"] == kind].sum()) / whole
        assert share == pytest.approx(published, abs=0.05), name


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_flows_lie_in_their_day_and_are_short(week: dict[str, list[NDArray[np.void]]], service: str) -> None:
    for number, day in enumerate(week[service]):
        begin = BEGIN_MS + number * DAY_MS
        assert day["start_ms"].min() >= begin
        assert day["end_ms"].max() < begin + DAY_MS
        assert (np.diff(day["end_ms"]) >= 0).all()
        lasts = day["end_ms"] - day["start_ms"]
        assert lasts.min() >= 0
        assert lasts.max() <= 55_000
        assert day["packets"].min() >= 1
        assert (day["octets"] <= 1_500 * day["packets"]).all()
        assert (day["octets"] >= 28 * np.minimum(day["packets"], 1)).all()
        # The largest flows are no faster than a line of 1 Gbit/s, but for the first seconds of a day.
        later = day[day["start_ms"] > begin]
        assert (later["octets"] <= (later["end_ms"] - later["start_ms"] + 2) * 125_000).all()


def test_hours_have_the_octets_that_the_curves_say(week: dict[str, list[NDArray[np.void]]]) -> None:
    flows = np.concatenate(week["fixed"][:5])
    hour = (flows["end_ms"] - BEGIN_MS) // 3_600_000 % 24
    octets = [
        np.bincount(hour[mine], flows["octets"][mine], 24)
        for mine in (flows["direction"] == 1, flows["direction"] == 2)
    ]
    up, down = (each / each.mean() for each in octets)
    assert 19 <= int(np.argmax(down)) <= 23
    assert int(np.argmax(up)) in (13, 14, 15)
    # The model's shapes, over their mean: 4 h and 21 h of downloads, 4 h and 14 h of uploads.
    assert down[4] == pytest.approx(0.18 / 0.5525, rel=0.08)
    assert down[21] == pytest.approx(1.0 / 0.5525, rel=0.08)
    assert up[4] == pytest.approx(0.34 / 0.7171, rel=0.08)
    assert up[14] == pytest.approx(1.0 / 0.7171, rel=0.08)


def test_weekends_have_more_than_weekdays_on_fixed_lines(week: dict[str, list[NDArray[np.void]]]) -> None:
    down = [int(day["octets"][day["direction"] == 2].sum()) for day in week["fixed"]]
    # Sums of the model's shapes: 13.26 on weekdays, 15.31 at the weekend; whole users' volumes, so nearly exact.
    assert down[5] / down[0] == pytest.approx(15.31 / 13.26, rel=0.005)
    assert down[1] / down[0] == pytest.approx(1, rel=1e-6)


def test_addresses_are_those_the_users_held_at_the_flows_ends(
    week: dict[str, list[NDArray[np.void]]], people: Population, leases: Leases
) -> None:
    assert len(leases) > 2 * len(people)  # some changed hands
    for service in ("fixed", "mobile"):
        flows = np.concatenate(week[service])[::211]
        up = flows["direction"] == 1
        near = np.where(up[:, None], flows["src"], flows["dst"])
        far = np.where(up[:, None], flows["dst"], flows["src"])
        port = np.where(up, flows["src_port"], flows["dst_port"])
        assert len(flows) > 100
        # Who shares an address has ports above 1023; ICMP's type is no port.
        port = np.where(np.isin(flows["proto"], (6, 17)), port, 0).astype("u2")
        assert leases.holders(near, port, flows["end_ms"]).tolist() == flows["user"].tolist()
        assert (leases.holders(far, port, flows["end_ms"]) == -1).all()


def test_large_flows_are_cut_into_about_equal_ones(people: Population, leases: Leases) -> None:
    whole = demand("fixed", people, leases, most=10**15).day(MONDAY)
    cut = demand("fixed", people, leases, most=50_000_000).day(MONDAY)
    assert whole["octets"].max() > 50_000_000
    assert cut["octets"].max() <= 50_000_000
    assert int(cut["octets"].sum()) == int(whole["octets"].sum())
    wanted = sum(-(-int(octets) // 50_000_000) for octets in whole["octets"])
    assert len(cut) == wanted


def test_the_same_seed_gives_the_same_day(people: Population, leases: Leases) -> None:
    one, same, other = (demand("mobile", people, leases, seed).day(MONDAY + 2) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_part_of_a_day_is_of_that_part_and_asks_for_no_address_before(people: Population) -> None:
    noon = BEGIN_MS + DAY_MS // 2
    late = lease(PEOPLE, people, 5, noon, noon + DAY_MS, ZONE)
    parts = list(demand("fixed", people, late).slices(noon, BEGIN_MS + DAY_MS + DAY_MS // 4))
    assert [part["end_ms"].min() >= noon for part in parts] == [True, True]
    assert [part["end_ms"].max() < BEGIN_MS + DAY_MS + DAY_MS // 4 for part in parts] == [True, True]
    # In the hours from noon on there are two thirds of a weekday's downloads, by the model's shape.
    down = sum(int(part["octets"][part["direction"] == 2].sum()) for part in parts[:1])
    whole = demand("fixed", people, lease(PEOPLE, people, 5, BEGIN_MS, noon, ZONE)).day(MONDAY)
    assert down / int(whole["octets"][whole["direction"] == 2].sum()) == pytest.approx(8.83 / 13.26, abs=0.02)


def test_packets_are_about_as_large_as_they_should_and_fit_into_a_frame() -> None:
    octets = np.array([1, 40, 1_500, 1_501, 2_999, 1_250_000])
    assert packets_of(octets, np.array(1_250.0)).tolist() == [1, 1, 1, 2, 2, 1_000]
