"""The report's arithmetic against every published number: years of users, ports and months straight in the tables.

Acceptance checks A1 to A7; the checks themselves are in ``tests/report_checks.py``.
"""

from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pytest

from dashboards.report.asking import measure, months
from dashboards.report.making import Request, make
from dashboards.report.model import ALL, DYNAMIC, IN, OUT, WELL_KNOWN, Month, Report, ServiceWeek, Week
from flowtide.simulator.months import write_months
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.report_checks import (
    LAST_DIGIT,
    NAMES,
    PROTOCOLS,
    STATED,
    WAYS,
    check_concentration,
    check_growth,
    check_hours,
    check_means,
    check_modes,
    check_share_of_ipoe,
    check_shares,
    printed_ports,
    printed_users,
    shares,
    step,
    weekday_hours,
)
from tests.report_fixture import PLAN, PORTS_TOLD, USERS, WEEKS, people_of, write_year
from tests.stored import FOR_EVER, TIMEZONE

ROWS = [(service, year) for service in NAMES for year in printed_users(service)]
PORT_TABLES = [(service, year) for service in NAMES for year in range(PORTS_TOLD, 2025)]
FIRST, LAST = date(2019, 6, 1), date(2024, 6, 1)


@pytest.fixture(scope="module")
def years(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """A database with a week of each year of the tables."""
    store = engine.in_database("report_years")
    migrate(store, FOR_EVER, TIMEZONE)
    for year in WEEKS:
        write_year(store, year)
    yield store
    engine.command("DROP DATABASE report_years SYNC")


@pytest.fixture(scope="module")
def weeks(years: EmbeddedStore) -> dict[tuple[str, int], ServiceWeek]:
    """All of them, measured."""
    return {(service, year): measure(years, service, Week(WEEKS[year], TIMEZONE)) for service, year in ROWS}


@pytest.fixture(scope="module")
def levels(
    years: EmbeddedStore, weeks: Mapping[tuple[str, int], ServiceWeek]
) -> dict[tuple[str, str, int, date], float]:
    """Octets a day by service, access, direction and month of five years; access "" is all of the service."""
    assert weeks  # measured before: what fills their months up is of one user, who is in none of the tables
    people = people_of(2024)
    octets_a_day = {
        (service, direction): int(people.octets_a_day[people.of(service), direction - 1].sum())
        for service in NAMES
        for direction in WAYS
    }
    write_months(years, FIRST, LAST, PLAN, octets_a_day)
    found: dict[tuple[str, str, int, date], float] = {}
    for month in months(years, FIRST, LAST, tuple(NAMES)):
        assert isinstance(month, Month)
        for access in (month.access, ""):
            key = (month.service, access, month.direction, month.first)
            found[key] = found.get(key, 0.0) + month.a_day
    return found


def test_there_are_all_56_rows() -> None:
    assert sum(len(WAYS) for _ in ROWS) == 56


@pytest.mark.parametrize(("service", "year"), ROWS)
def test_a1_mean_and_median_are_the_published(
    weeks: Mapping[tuple[str, int], ServiceWeek], service: str, year: int
) -> None:
    users = weeks[service, year].users
    assert set(users) == set(WAYS)
    assert {(found.users, found.denominator, found.zero) for found in users.values()} == {(USERS, USERS, 0)}
    check_means(users, service, year)


@pytest.mark.parametrize(("service", "year"), ROWS)
def test_a2_the_mode_is_the_published_value_of_the_grid(
    weeks: Mapping[tuple[str, int], ServiceWeek], service: str, year: int
) -> None:
    check_modes(weeks[service, year].users, service, year)


@pytest.mark.parametrize("service", NAMES)
def test_a3_the_heaviest_have_their_published_shares(
    weeks: Mapping[tuple[str, int], ServiceWeek], service: str
) -> None:
    check_concentration(weeks[service, 2024].users, service)


@pytest.mark.parametrize(("service", "year"), PORT_TABLES)
def test_a4_every_row_of_the_port_tables(weeks: Mapping[tuple[str, int], ServiceWeek], service: str, year: int) -> None:
    check_shares(shares(weeks[service, year]), printed_ports(service, year))


@pytest.mark.parametrize(("year", "printed"), [
    (2024, STATED["ipoe_share_of_broadband_pct_2024_06"]), (2023, STATED["derived_ipoe_share_pct_2023_06"]),
])  # fmt: skip
def test_a5_ipoes_part_of_fixed_volume(
    weeks: Mapping[tuple[str, int], ServiceWeek], levels: Mapping[tuple[str, str, int, date], float], year: int,
    printed: Mapping[str, float],
) -> None:  # fmt: skip
    for direction, way in WAYS.items():
        own = [each for each in weeks["fixed", year].volumes if each.direction == direction]
        ipoe = sum(int(each.octets.sum()) for each in own if each.access == "ipoe")
        check_share_of_ipoe(100 * ipoe / sum(int(each.octets.sum()) for each in own), printed[way.upper()])
        june = date(year, 6, 1)
        share = 100 * levels["fixed", "ipoe", direction, june] / levels["fixed", "", direction, june]
        check_share_of_ipoe(share, printed[way.upper()])


def test_a6_growth_of_the_months(levels: Mapping[tuple[str, str, int, date], float]) -> None:
    def factor(service: str, direction: int, since: date) -> float:
        return levels[service, "", direction, LAST] / levels[service, "", direction, since]

    june = {year: date(year, 6, 1) for year in (2019, 2022, 2023)}
    for service, name in NAMES.items():
        for direction, way in WAYS.items():
            last, before = (STATED[key][name][way.upper()] for key in
                            ("growth_pct_past_year", "growth_pct_year_before"))  # fmt: skip
            year = factor(service, direction, june[2023])
            check_growth(100 * (year - 1), last, 0)
            check_growth(100 * (factor(service, direction, june[2022]) / year - 1), before, 0)
    five = STATED["broadband_growth_2019_06_to_2024_06"]
    for direction, way in WAYS.items():
        growth = factor("fixed", direction, june[2019])
        check_growth(growth, five[way.upper()], 2)
        check_growth(growth ** (1 / 5), five[f"annual_{way.upper()}"], 2)
    check_growth(factor("mobile", OUT, date(2020, 1, 1)), STATED["mobile_OUT_level_vs_2020_01"], 1)


def test_a7_the_hours_have_their_peaks(weeks: Mapping[tuple[str, int], ServiceWeek]) -> None:
    fixed, mobile = weeks["fixed", 2024], weeks["mobile", 2024]
    check_hours(weekday_hours(fixed, IN), weekday_hours(fixed, OUT), weekday_hours(mobile, OUT))
    # What accounting tells by day has the hours of flows: IPoE those of PPPoE, mobile its own.
    check_hours(weekday_hours(fixed, IN, ("ipoe",)), weekday_hours(fixed, OUT, ("ipoe",)), weekday_hours(mobile, OUT))


def test_growth_of_the_mode_is_the_published(weeks: Mapping[tuple[str, int], ServiceWeek]) -> None:
    for key, since, digits in (("2023_2024", 2023, 2), ("2019_2024", 2019, 1)):
        printed = STATED[f"mode_growth_broadband_{key}"]
        for direction, way in WAYS.items():
            new, old = (weeks["fixed", year].users[direction].mode for year in (2024, since))
            assert new is not None and old is not None
            check_growth(new / old, printed[way.upper()], digits)


def test_volumes_are_the_users_to_the_octet(weeks: Mapping[tuple[str, int], ServiceWeek]) -> None:
    """Each hour's octets of flows and accounting together come to those of the users."""
    people = people_of(2024)
    for service in NAMES:
        for direction in WAYS:
            told = sum(int(each.octets.sum()) for each in weeks[service, 2024].volumes if each.direction == direction)
            assert told == 7 * int(people.octets_a_day[people.of(service), direction - 1].sum())


def test_the_week_is_complete(weeks: Mapping[tuple[str, int], ServiceWeek]) -> None:
    for service in NAMES:
        quality = weeks[service, 2024].quality
        assert quality.complete and quality.unmatched_octets == 0 and quality.hours == 168
        assert np.array_equal(weeks[service, 2024].week.hours[:1], [1_717_340_400])  # 2024-06-02 15:00 UTC


# The same numbers as the report itself has them, by the path of the command.


@pytest.fixture(scope="module")
def report(years: EmbeddedStore, levels: Mapping[tuple[str, str, int, date], float]) -> Report:
    """Of 2024 beside 2023, with the weeks of 2019 to 2022."""
    assert levels  # the months are there
    mondays = [WEEKS[year] for year in range(2019, 2023)]
    request = Request(
        week=WEEKS[2024], compare=WEEKS[2023], profile_weeks=[WEEKS[2023], WEEKS[2024]], years=mondays, freeze=False
    )
    return make(years, request, today=date(2024, 7, 1))


@pytest.fixture(scope="module")
def numbers(report: Report) -> dict[str, float]:
    """By id; those that can be told."""
    assert len({number.id for number in report.numbers}) == len(report.numbers)
    return {number.id: number.value for number in report.numbers if number.value is not None}


def test_the_report_is_final(report: Report) -> None:
    assert report.draft == ()
    assert not [each for each in report.warnings if "2024" in each or "2023" in each], report.warnings


def test_its_tables_of_users_are_the_published(numbers: Mapping[str, float]) -> None:
    rows = [row for row in ROWS if row[1] >= 2019]
    assert len(rows) == 12
    for service, year in rows:
        name = f"table-{1 if service == 'fixed' else 2}/{WEEKS[year]}"
        for way in WAYS.values():
            printed = printed_users(service)[year][way]
            for what in ("mean", "median"):
                assert abs(numbers[f"{name}/{way}/{what}"] - printed[what]) <= LAST_DIGIT[service] / 2, (
                    name,
                    way,
                    what,
                )
            assert step(numbers[f"{name}/{way}/mode"] * 1e6) == step(printed["mode"] * 1e6), (name, way)


def test_its_tables_of_ports_are_the_published(numbers: Mapping[str, float]) -> None:
    words = {ALL: "", WELL_KNOWN: "/<1024", DYNAMIC: "/>=1024"}
    names = {number: {4: "ip-encap"}.get(number, name.lower()) for name, number in PROTOCOLS.items()}
    for service, year in PORT_TABLES:
        table = f"table-{3 if service == 'fixed' else 4}/{WEEKS[year]}"
        for (proto, port), printed in printed_ports(service, year).items():
            found = numbers[f"{table}/{names[proto]}{words.get(port, f'/{port}')}"]
            assert abs(found - printed) <= 0.05 + 1e-9, (table, proto, port, found, printed)


def test_its_concentration_volumes_and_peaks_are_the_published(numbers: Mapping[str, float]) -> None:
    for service, name in NAMES.items():
        for way in WAYS.values():
            for top in ("top10", "top1"):
                printed = STATED["concentration_2024_pct"][name][top][way.upper()]
                assert abs(numbers[f"concentration/{service}/{WEEKS[2024]}/{way}/{top}"] - printed) <= 0.5
            for what, key in (("yoy", "growth_pct_past_year"), ("yoy-before", "growth_pct_year_before")):
                check_growth(numbers[f"volumes/{service}/{way}/{what}"], STATED[key][name][way.upper()], 0)
    five = STATED["broadband_growth_2019_06_to_2024_06"]
    for way in WAYS.values():
        check_growth(numbers[f"volumes/fixed/{way}/five-years"], five[way.upper()], 2)
        check_growth(numbers[f"volumes/fixed/{way}/annual"], five[f"annual_{way.upper()}"], 2)
        for month, key in (("2024-06", "ipoe_share_of_broadband_pct_2024_06"),
                           ("2023-06", "derived_ipoe_share_pct_2023_06")):  # fmt: skip
            check_share_of_ipoe(numbers[f"ipoe-share/fixed/{month}/{way}"], STATED[key][way.upper()])
        check_growth(numbers[f"ipoe-share/fixed/change/{way}"], STATED["ipoe_share_change_pt_yoy"][way.upper()], 0)
    check_growth(numbers["volumes/mobile/out/level"], STATED["mobile_OUT_level_vs_2020_01"], 1)
    assert 19 <= numbers[f"peaks/fixed/{WEEKS[2024]}/out/hour"] <= 23
    assert 13 <= numbers[f"peaks/fixed/{WEEKS[2024]}/in/hour"] <= 15
    assert numbers[f"peaks/mobile/{WEEKS[2024]}/out/maxima"] == 3


def test_its_growth_of_the_mode_is_the_published(numbers: Mapping[str, float]) -> None:
    for key, since, digits in (("2023_2024", 2023, 2), ("2019_2024", 2019, 1)):
        for way in WAYS.values():
            found = numbers[f"mode-growth/fixed/{WEEKS[2024]}/{WEEKS[since]}/{way}"]
            check_growth(found, STATED[f"mode_growth_broadband_{key}"][way.upper()], digits)
