"""Which weeks a report is made of: frozen ones, measured ones that are frozen then, and names of those that lack."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from dashboards.report import files
from dashboards.report.frozen import listed, load
from dashboards.report.making import NoWeek, Request, _Weeks, gather, make, mondays_there
from dashboards.report.published import import_published
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.report_fixture import WEEKS, write_year
from tests.stored import FOR_EVER, TIMEZONE

TODAY = date(2024, 7, 1)
USERS = 400
ASKED = Request(week=WEEKS[2024], compare=WEEKS[2023], profile_weeks=(WEEKS[2023], WEEKS[2024]))


@pytest.fixture
def store(engine: EmbeddedStore, request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    name = f"making_{request.node.name}"
    made = engine.in_database(name)
    migrate(made, FOR_EVER, TIMEZONE)
    for year in (2023, 2024):
        write_year(made, year, USERS)
    yield made
    engine.command(f"DROP DATABASE {name} SYNC")


def frozen(store: EmbeddedStore) -> set[tuple[date, str]]:
    return {(header.monday, header.service) for header in listed(store)}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_freezes_its_weeks_and_is_the_same_when_flows_are_gone(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "browser", lambda: None)
    # That a drawing is the same twice is test_report_drawing's; the curves it is made of are in numbers.json.
    monkeypatch.setattr("dashboards.report.drawing.draw", lambda figure: (b"<svg></svg>", b"PNG"))
    told: list[float] = []
    report = make(store, ASKED, lambda text, done: told.append(done), today=TODAY)
    assert not report.draft and told == sorted(told) and 0.9 < told[-1] <= 1
    both = {(monday, service) for monday in (WEEKS[2023], WEEKS[2024]) for service in ("fixed", "mobile")}
    assert frozen(store) == both
    files.write(report, tmp_path / "a")
    for table in ("subscriber_1d", "subscriber_seen_1d", "port_1h", "port_1d"):
        store.command(f"TRUNCATE TABLE {table}")
    files.write(make(store, ASKED, today=TODAY), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    # Measured again there would be less of it than was frozen: what is frozen stays in force.
    before = {key: load(store, *key) for key in both}
    again = Request(week=ASKED.week, compare=ASKED.compare, profile_weeks=ASKED.profile_weeks, measure_again=True)
    make(store, again, today=TODAY)
    assert {key: made.made for key, made in before.items() if made} == {
        (header.monday, header.service): header.made for header in listed(store)
    }


def test_a_week_that_is_not_over_is_a_draft_and_not_frozen(store: EmbeddedStore) -> None:
    report = make(store, ASKED, today=WEEKS[2024] + timedelta(days=6))
    assert report.draft == ("the week is not over before 2024-06-10",)
    assert frozen(store) == {(WEEKS[2023], "fixed"), (WEEKS[2023], "mobile")}


def test_weeks_that_are_missing_are_named(store: EmbeddedStore) -> None:
    request = Request(
        week=WEEKS[2024], compare=date(2022, 5, 30), profile_weeks=(date(2023, 10, 2), WEEKS[2024]),
        years=(WEEKS[2023], date(2020, 2, 17)), services=("fixed",),
    )  # fmt: skip
    material = gather(store, request, _Weeks(store, request, TODAY), lambda text, done: None)
    assert material.missing == {
        "figure-2": ("nothing is known of the week 2023-10-02..10-08",),
        "figure-3": ("nothing is known of the week 2022-05-30..06-05",),
        "figure-7": ("nothing is known of the week 2022-05-30..06-05",),
        **dict.fromkeys(("figure-9", "figure-10", "figure-11"), ("nothing is known of the week 2020-02-17..02-23",)),
    }
    assert material.compare == {} and [week.name for week in material.profiles["fixed"]] == ["2024-06-03"]
    assert [week.name for week in material.years["fixed"]] == ["2023-05-29"]
    with pytest.raises(NoWeek, match=r"week 2024-06-10\.\.06-16: there are 2023-05-29, 2024-06-03"):
        make(store, Request(week=date(2024, 6, 10)), today=TODAY)


def test_of_each_year_the_nearest_frozen_week_stands_beside(store: EmbeddedStore) -> None:
    import_published(store)
    for moved in (date(2021, 11, 1), date(2021, 5, 31), date(2022, 1, 3), date(2020, 6, 1), date(2020, 2, 10)):
        _freeze_as(store, moved)
    request = Request(week=WEEKS[2024], compare=WEEKS[2023], services=("fixed",), profile_weeks=(WEEKS[2024],))
    material = gather(store, request, _Weeks(store, request, TODAY), lambda text, done: None)
    own = [week.week.monday for week in material.years["fixed"] if week.origin == "own"]
    assert own == [date(2020, 2, 10), date(2020, 6, 1), date(2021, 5, 31), date(2022, 1, 3)]
    assert [week.label for week in material.years["fixed"] if week.origin == "iij"] == [
        str(y) for y in range(2007, 2025)
    ]
    assert set(mondays_there(store, TIMEZONE)) >= {WEEKS[2023], WEEKS[2024], *own}


def _freeze_as(store: EmbeddedStore, monday: date) -> None:
    from dataclasses import replace

    from dashboards.report.asking import measure
    from dashboards.report.frozen import freeze
    from dashboards.report.model import Week

    freeze(store, replace(measure(store, "fixed", Week(WEEKS[2024], TIMEZONE)), week=Week(monday, TIMEZONE)))
