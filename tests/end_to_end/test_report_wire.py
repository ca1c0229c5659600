"""The report of a simulated week that went through UDP, decoder, bus, enrichment and store: the wire fixture.

Once with every packet seen, where all is exact, and once sampled, where what is found differs by what sampling
explains.  Truth is the simulator's.  Flows arrive within seconds and years late: nothing may depend on it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.compute as pc
import pytest

from dashboards.report.asking import measure
from dashboards.report.model import ServiceWeek, Week
from flowtide.settings import load
from flowtide.simulator.population import SEGMENTS, Population, populate
from flowtide.simulator.scenario import load_scenario
from flowtide.store_command import store_to_change
from tests.end_to_end.test_simulated_network import ZONE, Day, assert_subscribers, scenario
from tests.report_checks import (
    LAST_DIGIT,
    NAMES,
    WAYS,
    check_concentration,
    check_modes,
    check_sampled_shares,
    check_shares,
    check_total,
    printed_ports,
    printed_users,
    shares,
    step,
)
from tests.unrelated_population import slow_mean, slow_median, slow_mode, slow_top

MONDAY = date(2024, 6, 3)
WEEK = Week(MONDAY, ZONE)
FEW = {"pppoe": "80", "ipoe": "30", "mobile": "40", "enterprise_pppoe": "4", "enterprise_ipoe": "2",
       "enterprise_mobile": "3", "speed": "200000"}  # fmt: skip
WRONG = 1.1
"""A declared interval over the true one: of mobile flows alone, whose volumes come from billing."""


@dataclass(frozen=True)
class Told:
    """A week as the store has it, and what was sent."""

    day: Day
    people: Population
    weeks: dict[str, ServiceWeek]

    def personal(self, service: str, direction: int) -> list[int]:
        """Octets of the week of each personal user."""
        own = self.people.of(service)
        own = own[self.people.segment[own] == SEGMENTS.index("personal")]
        return [7 * octets for octets in self.people.octets_a_day[own, direction - 1].tolist()]

    def check_totals(self, service: str) -> None:
        """A14: what flows tell of a service against what was there, by direction."""
        sent = self.day.truth("bucket_5m")
        access = "pppoe" if service == "fixed" else "mobile"
        for direction in WAYS:
            own = sent.filter(pc.and_(pc.equal(sent["service"], service), pc.equal(sent["direction"], direction)))
            said = self.day.stack.query(
                f"SELECT sum(octets_est) AS o FROM bucket_1h WHERE access = '{access}' AND direction = {direction}"
            )[0]["o"]
            variance = sum(own["octets_variance"].to_pylist())
            check_total(said, true_octets(self.people, access, direction), variance)


def true_octets(people: Population, access: str, direction: int) -> int:
    """Of the week, of all users of an access."""
    own = people.of("mobile" if access == "mobile" else "fixed", (access,))
    return 7 * int(people.octets_a_day[own, direction - 1].sum())


def flowtide(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # No browser is found: printing takes seconds and is tested elsewhere.
    return subprocess.run(
        [sys.executable, "-m", "flowtide", *words], cwd=cwd, text=True, capture_output=True, timeout=280,
        env=os.environ | {"PATH": str(cwd)},
    )  # fmt: skip


def told(folder: Path, text: str) -> Told:
    """Simulate, import accounting, and measure through the running stack's port."""
    day = Day(folder, text)
    try:
        day.run()
        done = flowtide(
            "accounting", "import", str(folder / "feeds" / "accounting.csv"), "--source", "feeds",
            "--config", str(day.stack.config), cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with store_to_change(load(day.stack.config)) as store:
            weeks = {service: measure(store, service, WEEK) for service in NAMES}
    except BaseException:
        day.stack.kill()
        raise
    plan = load_scenario(str(folder / "day.toml"))
    return Told(day, populate(plan.people, plan.seed), weeks)


def assert_command(found: Told) -> None:
    """``flowtide report`` beside the running stack, with the same numbers; and the week is frozen by it."""
    folder = found.day.stack.folder
    words = ("report", "--week", str(MONDAY), "--out", str(folder / "report"))
    done = flowtide(*words, "--config", str(found.day.stack.config), cwd=folder)
    assert done.returncode == 0 and done.stdout.endswith("final\n"), done.stdout + done.stderr
    told = json.loads((folder / "report" / "numbers.json").read_text(encoding="utf-8"))["numbers"]
    numbers = {each["id"]: each for each in told}
    for service, week in found.weeks.items():
        for direction, way in WAYS.items():
            users, name = week.users[direction], f"table-{1 if service == 'fixed' else 2}/{MONDAY}/{way}"
            assert users.mode is not None
            for what, octets in (("mean", users.mean), ("median", users.median), ("mode", users.mode)):
                number = numbers[f"{name}/{what}"]
                assert number["value"] == pytest.approx(octets / 1e6, rel=1e-12)
                assert number["complete"] and number["unit"] == "MB/day"
    frozen = found.day.stack.query("SELECT service FROM v_report_week WHERE origin = 'own' ORDER BY service")
    assert [row["service"] for row in frozen] == sorted(NAMES)


def sampled(text: str) -> str:
    """One packet in a thousand everywhere; the mobile exporter, the last, tells a wrong interval."""
    head, *exporters = text.replace("sampling = 1000", "").split("[[exporters]]")
    fixed, mobile = exporters[:-1], exporters[-1]
    parts = [f"{each}sampling = 1000\n" for each in fixed]
    return "[[exporters]]".join([head, *parts, f"{mobile}sampling = 1000\nsays = {round(1_000 * WRONG)}\n"])


def whole(text: str) -> str:
    """Every packet of every exporter."""
    return text.replace("sampling = 1000", "sampling = 1")


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    found = told(tmp_path_factory.mktemp("exact"), whole(scenario("report-week", **FEW)))
    yield found
    found.day.stack.kill()


def assert_exact(found: Told) -> None:
    """A1 to A4 and A13 against the truth of the generator."""
    for service, week in found.weeks.items():
        assert week.quality.unmatched_octets == 0 and not any(week.quality.missing_days.values())
        for direction in WAYS:
            users, own = week.users[direction], found.personal(service, direction)
            assert (users.users, users.octets) == (len(own), sum(own))
            assert users.mean == pytest.approx(slow_mean(own), rel=1e-12)
            assert users.median == pytest.approx(slow_median(own), rel=1e-12)
            assert users.mode == pytest.approx(slow_mode(own), rel=1e-9)
            assert users.top10 == pytest.approx(slow_top(own, 0.1), rel=1e-12)
            if len(own) >= 50:  # of fewer a hundredth is nobody
                assert users.top1 == pytest.approx(slow_top(own, 0.01), rel=1e-12)
            hours = sum(int(each.octets.sum()) for each in week.volumes if each.direction == direction)
            assert hours == 7 * int(found.people.octets_a_day[found.people.of(service), direction - 1].sum())
        check_shares(shares(week), printed_ports(service, 2024))
    for service in NAMES:
        found.check_totals(service)


def test_a_week_through_the_wire_is_exact(exact: Told) -> None:
    assert_exact(exact)


def test_the_command_says_the_same(exact: Told) -> None:
    assert_command(exact)


def test_a13_no_octet_is_another_users(exact: Told) -> None:
    """A tenth of the addresses changes hands every day, and every one of them is used again."""
    assert_subscribers(exact.day, 120)


@pytest.mark.soak
def test_a_sampled_week_is_what_sampling_explains(tmp_path: Path) -> None:
    found = told(tmp_path, sampled(scenario("report-week", **FEW)))
    try:
        assert_sampled(found)
    finally:
        found.day.stack.kill()


def assert_sampled(found: Told, steps: int | None = None) -> None:
    """A2 (where there are users enough for a mode), A4, A14 and its negative control."""
    for service, week in found.weeks.items():
        assert week.quality.sampling == pytest.approx(1_000 * (WRONG if service == "mobile" else 1), rel=1e-3)
        check_sampled_shares(shares(week), printed_ports(service, 2024), week.quality.packets)
        with pytest.raises(AssertionError):
            check_sampled_shares(shares(week), printed_ports(service, 2023), week.quality.packets)
        for direction in WAYS:
            mode, true = week.users[direction].mode, slow_mode(found.personal(service, direction))
            assert mode is not None
            if steps is not None:
                assert abs(step(mode) - step(true)) <= steps, (service, direction, mode, true)
    # Billing is not sampled.
    for direction in WAYS:
        assert found.weeks["mobile"].users[direction].octets == sum(found.personal("mobile", direction))
    found.check_totals("fixed")
    with pytest.raises(AssertionError):
        found.check_totals("mobile")


@pytest.mark.soak
def test_the_week_of_the_report_through_the_wire_is_exact(tmp_path: Path) -> None:
    """All users of the scenario, every packet seen; and what the command writes of it."""
    found = told(tmp_path, whole(scenario("report-week")))
    try:
        assert_exact(found)
        assert_subscribers(found.day, 4_000)
        assert_command(found)
        for service, week in found.weeks.items():
            check_modes(week.users, service, 2024, steps=1)
            check_concentration(week.users, service, points=1)
            for direction, way in WAYS.items():
                mean = printed_users(service)[2024][way]["mean"]
                assert abs(week.users[direction].mean / 1e6 - mean) <= LAST_DIGIT[service] / 2
    finally:
        found.day.stack.kill()


@pytest.mark.soak
def test_the_sampled_week_of_the_report_through_the_wire(tmp_path: Path) -> None:
    found = told(tmp_path, sampled(scenario("report-week")))
    try:
        assert_sampled(found, steps=1)
    finally:
        found.day.stack.kill()
