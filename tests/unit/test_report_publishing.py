"""What is published tells no total, no count and nothing of a small group, and leaves the ratios as they were."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from dashboards.report.compose import compose
from dashboards.report.model import IN, OUT, Figure, Material, Number, Report, Table
from dashboards.report.publishing import FEW, publish
from tests.report_weeks import MONDAYS, material, own, users

EXPORTER = "192.0.2.77"
N, PACKETS = 20_000, 7_654_321


def sampled() -> Material:
    """Weeks with everything that must not be told: packets, exporters, times of freezing."""
    weeks = {}
    for service in ("fixed", "mobile"):
        week = own(service, 2024, sampling=1_000.0, packets=PACKETS)
        quality = replace(week.quality, silent={EXPORTER: (int(week.week.hours[5]),)})
        weeks[service] = replace(week, quality=quality, made=datetime(2024, 6, 13, 4, 5, tzinfo=UTC))
    return material(week=weeks)


@pytest.fixture(scope="module")
def whole() -> Report:
    return compose(sampled())


@pytest.fixture(scope="module")
def shown(whole: Report) -> Report:
    return publish(whole)


def everything(thing: Any) -> Iterator[Any]:
    """A value and all that is in it."""
    yield thing
    if dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from everything(getattr(thing, field.name))
    elif isinstance(thing, Mapping):
        for pair in thing.items():
            yield from everything(pair)
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from everything(one)
    elif isinstance(thing, np.ndarray):
        yield from thing.tolist()


@functools.cache
def hidden() -> tuple[frozenset[float], frozenset[str]]:
    """Absolute values, and how they would be printed; with an exporter, and when the week was frozen."""
    absolute = [n.value for n in compose(sampled()).numbers if n.absolute and n.value]
    # Small whole numbers are found in dates, ports and megabytes too.
    values = frozenset(value for value in absolute if value >= 1_000 or value % 1)
    printed = {form.format(value) for value in values if value >= 1_000 for form in ("{:,.0f}", "{:.0f}")}
    return values, frozenset(printed | {EXPORTER, "04:05"})


def revealed(report: Report) -> list[object]:
    """What of a report tells a total, a count, an exporter or the machine."""
    values, secrets = hidden()
    found: list[object] = []
    for thing in everything(report):
        told: bool | str
        if isinstance(thing, Number):
            told = thing.absolute or thing.n is not None or thing.error is not None or thing.n_of
        elif isinstance(thing, str):
            told = any(one in secrets for one in re.findall(r"\d[\d.,:]*\d", thing))
        else:
            told = isinstance(thing, float | int) and not isinstance(thing, bool) and thing in values
        if told:
            found.append(thing)
    return found


def test_nothing_absolute_is_anywhere_in_it(whole: Report, shown: Report) -> None:
    assert revealed(whole), "what is not published has them, else this test proves nothing"
    assert revealed(shown) == []
    assert shown.published and not whole.published


def test_a_total_left_in_would_be_found(shown: Report) -> None:
    for text in (f"{N:,} users", f"{EXPORTER} was silent", f"{PACKETS:,} packets"):
        assert revealed(replace(shown, summary=(text,)))
    assert revealed(replace(shown, numbers=(replace(shown.numbers[0], n=N),)))


def test_ratios_and_what_a_user_moves_a_day_are_unchanged(whole: Report, shown: Report) -> None:
    before = {number.id: number.value for number in whole.numbers if not number.absolute}
    after = {number.id: number.value for number in shown.numbers}
    assert set(after) == set(before)
    for name, value in before.items():
        told = after[name]
        assert (told is None) == (value is None), name
        if value is not None and told is not None:
            assert told == pytest.approx(value, rel=6e-5, abs=0.0051), name
    assert after["table-1/2024-06-03/out/mean"] == 5743
    assert after["table-3/2024-06-03/tcp/443"] == pytest.approx(53.8)


def test_tables_lose_only_what_is_absolute(whole: Report, shown: Report) -> None:
    def columns(report: Report, name: str) -> tuple[str, ...]:
        return next(i for s in report.sections for i in s.items if i.id == name and isinstance(i, Table)).columns

    assert columns(whole, "table-1")[-4:] == ("Users", "Unseen users", "± IN mean", "± OUT mean")
    assert columns(shown, "table-1") == columns(whole, "table-1")[:-4]
    assert columns(shown, "table-3") == columns(whole, "table-3")[:-1]  # the error tells how many packets there are
    assert columns(shown, "week-volume") == ("", "IN, percent", "OUT, percent", "source")
    tables = {i.id: i for s in shown.sections for i in s.items if isinstance(i, Table)}
    whole_tables = {i.id: i for s in whole.sections for i in s.items if isinstance(i, Table)}
    for name, table in tables.items():
        assert all(len(row) == len(table.columns) for row in table.rows), name
    assert tables["table-1"].breaks == whole_tables["table-1"].breaks
    assert tables["table-3"].breaks == whole_tables["table-3"].breaks
    labels = [row[0].text for row in tables["quality"].rows]
    assert "octets matched to a subscriber" in labels and not any("sampled packets" in one for one in labels)
    assert not any(one.startswith("users with") for one in labels)


def test_the_text_stays_as_it_was_where_nothing_small_is_in_it(whole: Report, shown: Report) -> None:
    assert shown.summary == whole.summary
    assert [section.paragraphs for section in shown.sections] == [section.paragraphs for section in whole.sections]


def test_a_distribution_does_not_tell_how_many_there_are(shown: Report) -> None:
    figures = {i.id: i for s in shown.sections for i in s.items if isinstance(i, Figure)}
    for line in figures["figure-3"].plots[0].lines:
        assert np.nanmax(np.abs(line.y * 100 - np.round(line.y * 100))) < 1e-9
    points = figures["figure-5"].plots[0].lines[0]
    steps = 20 * np.log10(np.concatenate([points.x, points.y]))
    assert np.abs(steps - np.round(steps)).max() < 1e-9


def test_a_bin_of_few_users_is_not_drawn() -> None:
    week = own("fixed", 2024)
    lone = replace(week.users[OUT], bins=(80, 97, 110), numbers=(150, 19_000, 99))
    report = publish(
        compose(material(week={**material().week, "fixed": replace(week, users={**week.users, OUT: lone})}))
    )
    figure = next(i for s in report.sections for i in s.items if i.id == "figure-3" and isinstance(i, Figure))
    line = next(line for line in figure.plots[0].lines if line.name == "2024-06-03 OUT")
    there = {round(10 * math.log10(x)) for x, y in zip(line.x, line.y, strict=True) if not math.isnan(y)}
    assert there == {80, 97}


def test_the_top_percent_of_few_users_is_not_told() -> None:
    report = publish(compose(material(week={**material().week, "fixed": own("fixed", 2024, n=9_000)})))
    table = next(i for s in report.sections for i in s.items if i.id == "concentration" and isinstance(i, Table))
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    # 1 % of 9,000 users are 90; 10 % are 900.  Of 20,000 mobile users they are 200.
    assert cells["heaviest 1\u00a0%, 2024-06-03"] == [FEW, FEW, "12", "13"]
    assert cells["heaviest 10\u00a0%, 2024-06-03"] == ["50", "75", "48", "45"]
    hidden = {number.id for number in report.numbers if number.value is None}
    assert "concentration/fixed/2024-06-03/in/top1" in hidden
    text = " ".join(one for section in report.sections for one in section.paragraphs)
    assert "46\u00a0%" not in text and "75\u00a0%" in text and "13\u00a0%" in text


def test_nothing_is_told_of_fewer_than_a_hundred_users() -> None:
    small = own("fixed", 2024, n=99, pairs=own("fixed", 2024).pairs[:50])
    report = publish(compose(material(week={**material().week, "fixed": small})))
    for number in report.numbers:
        if number.service == "fixed" and "2024-06-03" in number.week and number.volume_source != "published":
            assert number.value is None, number.id
    for section in report.sections:
        for item in section.items:
            if item.id in ("figure-1", "figure-3", "figure-5", "figure-7", "figure-2", "figure-11"):
                assert isinstance(item, Figure) and not item.plots and item.missing, item.id
    cells = next(i for s in report.sections for i in s.items if i.id == "table-1" and isinstance(i, Table)).rows[-1]
    assert [cell.text for cell in cells[1:7]] == [FEW] * 6
    said = " ".join([*report.summary, *(one for section in report.sections for one in section.paragraphs)])
    for value in ("5,743", "2,372", "53.8", "48.0", "75\u00a0%"):
        assert value not in said, value
    assert "150.4" in said  # of mobile, who are many


def test_a_few_points_are_not_drawn() -> None:
    few = own("fixed", 2024, pairs=own("fixed", 2024).pairs[:999])
    report = publish(compose(material(week={**material().week, "fixed": few})))
    figures = {i.id: i for s in report.sections for i in s.items if isinstance(i, Figure)}
    assert not figures["figure-5"].plots and figures["figure-5"].missing == ("fewer than 1,000 users",)
    assert figures["figure-6"].plots


def test_published_years_are_told_in_any_case() -> None:
    report = publish(compose(material(week={**material().week, "fixed": own("fixed", 2024, n=50)})))
    values = {number.id: number.value for number in report.numbers}
    assert values["table-1/iij-2024/out/mean"] == 5743
    assert MONDAYS[2024].year == 2024 and users("fixed", 2024, IN).mean == 834e6
