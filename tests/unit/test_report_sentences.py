"""The report's words say what its numbers say: opposite data gives opposite words, and every value is a number."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dashboards.report import words
from dashboards.report.compose import compose
from dashboards.report.model import ALL, IN, OUT, Material, Number, Report, ServiceWeek, Week
from dashboards.report.port_sentences import driver, ports
from dashboards.report.sentences import summary
from dashboards.report.user_sentences import users as user_words
from dashboards.report.volume_sentences import volumes as volume_words
from tests import report_weeks
from tests.report_weeks import STATED_IPOE, material, months, own, printed_ports, stated_levels

PLAIN = material(("fixed",), years={}, profiles={})
PERCENT = st.integers(0, 1_000).map(lambda tenths: tenths / 10)


def swapped() -> Material:
    """The numbers of 2023 in the week of 2024, and the reverse."""
    weeks = {service: own(service, 2023, report_weeks.MONDAYS[2024]) for service in ("fixed", "mobile")}
    before = {service: own(service, 2024, report_weeks.MONDAYS[2023]) for service in ("fixed", "mobile")}
    return material(week=weeks, compare=before)


def test_source_reports_summary_is_not_repeated_where_its_own_table_says_otherwise() -> None:
    # Its summary says that TCP 443 and UDP 443 rise; Table 3 says otherwise of broadband.
    told = ports(material(), "fixed").paragraph
    assert "TCP 443 fell from 56.9\u00a0% to 53.8\u00a0% and UDP 443 rose from 18.2\u00a0% to 21.0\u00a0%" in told
    assert "Their sum fell from 75.1\u00a0% to 74.8\u00a0%: the fall of TCP 443 outweighs the rise of UDP 443" in told
    assert "31000 with 1.2\u00a0%" in told
    mobile = ports(material(), "mobile").paragraph
    assert "Their sum rose from 63.0\u00a0% to 64.7\u00a0%: both of them rose" in mobile


def test_opposite_movements_give_opposite_words() -> None:
    told = ports(swapped(), "fixed").paragraph
    assert "TCP 443 rose from 53.8\u00a0% to 56.9\u00a0% and UDP 443 fell from 21.0\u00a0% to 18.2\u00a0%" in told
    assert "Their sum rose from 74.8\u00a0% to 75.1\u00a0%: the rise of TCP 443 outweighs the fall of UDP 443" in told
    risen = user_words(material(), "mobile").paragraph
    assert "the mean of downloads rose from 129.2\u00a0MB and that of uploads rose from 14.1\u00a0MB" in risen
    fallen = user_words(swapped(), "mobile").paragraph
    assert "the mean of downloads fell from 150.4\u00a0MB and that of uploads fell from 16.3\u00a0MB" in fallen
    assert "rose" not in fallen and "fell" not in risen


def test_growth_and_its_pace() -> None:
    told = volume_words(material(), "fixed").paragraph
    assert "In the year to June 2024, broadband uploads rose by 14\u00a0% and downloads by 12\u00a0%." in told
    assert "growth has quickened for uploads and slowed for downloads" in told  # 14 against 11, 12 against 18
    assert "its share of uploads rose by 1.0\u00a0point and that of downloads by 4.0\u00a0points" in told
    levels = stated_levels()
    levels["fixed"][IN] |= {date(2024, 6, 1): levels["fixed"][IN][date(2023, 6, 1)] * 0.9}
    fell = volume_words(material(months=months(levels, **STATED_IPOE)), "fixed").paragraph
    assert "broadband uploads fell by 10\u00a0% and downloads rose by 12\u00a0%" in fell
    assert "growth has" not in fell  # a fall is no growth that slows


def test_a_change_that_is_not_printed_is_no_change() -> None:
    same = {service: own(service, 2024, report_weeks.MONDAYS[2023]) for service in ("fixed", "mobile")}
    for service in ("fixed", "mobile"):
        unchanged = material(compare=same)
        told = f"{ports(unchanged, service).paragraph} {user_words(unchanged, service).paragraph}"
        assert not re.search(r"\b(rose|fell)\b", told), told
        assert "the mean of downloads did not change and that of uploads did not change" in told
    shares = printed_ports("fixed", 2024) | {(6, 443): 53.84}  # prints as 53.8
    week = own("fixed", 2024, ports=report_weeks.ports("fixed", shares))
    told = ports(material(week={**material().week, "fixed": week}, compare=same), "fixed").paragraph
    assert "TCP 443 did not change (53.8\u00a0%)" in told


def test_which_direction_is_more_concentrated_follows_from_the_shares() -> None:
    told = " ".join(compose(material()).sections[3].paragraphs)
    assert told.count("Uploads are more concentrated than downloads.") == 1  # broadband: 75 against 50
    assert told.count("Downloads are more concentrated than uploads.") == 1  # mobile: 48 against 45


def test_a_year_before_is_said_only_of_a_week_a_year_before() -> None:
    older = {"fixed": own("fixed", 2020)}
    told = user_words(material(("fixed",), compare=older), "fixed").paragraph
    assert "Against the week of 1 June 2020, the mean of downloads rose from 3,810\u00a0MB" in told
    assert "year before" not in told


@given(st.floats(0, 100), st.floats(0, 100))
@settings(deadline=None)
def test_the_verb_follows_from_the_printed_values(then: float, now: float) -> None:
    told = words.from_to("it", then, now)
    printed = [float(text) for text in re.findall(r"\d+\.\d", told)]
    if len(printed) == 1:
        assert "did not change" in told and printed[0] == round(now, 1) == round(then, 1)
    else:
        assert ("rose" in told) is (printed[1] > printed[0]) and ("fell" in told) is (printed[1] < printed[0])


@given(st.integers(-50, 50), st.integers(-50, 50))
@settings(deadline=None)
def test_what_drove_a_sum_is_the_larger_movement(tcp: int, udp: int) -> None:
    told = driver({"TCP": tcp / 10, "UDP": udp / 10})
    if tcp * udp < 0:
        if tcp + udp == 0:
            assert "cancel out" in told
        else:
            winner = "TCP" if abs(tcp) > abs(udp) else "UDP"
            verb = "rise" if (tcp if winner == "TCP" else udp) > 0 else "fall"
            assert told.startswith(f"the {verb} of {winner} outweighs")
    elif tcp and udp:
        assert told == f"both of them {'rose' if tcp > 0 else 'fell'}"
    else:
        assert told == ("neither of them moved" if tcp == udp else f"{'TCP' if tcp else 'UDP'} alone moved")


NAMES = "|".join(
    [
        r"[Ff]rom \d{4} to \d{4}",
        r"\d+( [A-Z][a-z]+)? to \d+ [A-Z][a-z]+ \d{4}",
        r"week of \d+ [A-Z]\w+ \d{4}",
        r"[A-Z][a-z]+ \d{4}",
        r"(TCP|UDP|[Pp]ort) (443|80)",
        r"IPv[46]|ports from 1024|heaviest 10?\u00a0%|\d+:00|them is \d+|1 packet in",
    ]
)
"""What has digits in a sentence and is no value."""


def said_truly(report: Report) -> None:
    """Every value in a sentence is the printed value of a number that the sentence is said to mention."""
    assert report.said
    values_are_told(report.said, {number.id: number for number in report.numbers})


def values_are_told(said: Iterable[tuple[str, tuple[str, ...]]], numbers: Mapping[str, Number]) -> None:
    for sentence, ids in said:
        values = [numbers[one].value for one in ids]
        allowed = {words.printed(abs(value), at) for value in values if value is not None for at in (0, 1, 2)}
        for text in re.findall(r"\d[\d,]*(?:\.\d+)?", re.sub(NAMES, "", sentence)):
            assert text in allowed, (sentence, text, allowed)


def test_every_value_in_the_text_is_one_of_its_numbers() -> None:
    said_truly(compose(material()))
    said_truly(compose(swapped()))


@given(st.tuples(PERCENT, PERCENT), st.tuples(PERCENT, PERCENT), st.floats(0.1, 10))
@settings(deadline=None, max_examples=15, phases=[Phase.generate])
def test_every_value_of_ports_and_growth_is_one_of_its_numbers_whatever_they_are(
    now: tuple[float, float], then: tuple[float, float], growth: float
) -> None:
    levels = stated_levels()
    levels["fixed"][OUT][date(2024, 6, 1)] *= growth
    week, before = (
        ServiceWeek(
            Week(report_weeks.MONDAYS[year], report_weeks.ZONE),
            "fixed",
            ports=report_weeks.ports("fixed", {(6, ALL): tcp, (6, 443): tcp / 2, (17, ALL): udp, (17, 443): udp / 3}),
        )
        for year, (tcp, udp) in ((2024, now), (2023, then))
    )
    made = replace(PLAIN, week={"fixed": week}, compare={"fixed": before}, months=months(levels, **STATED_IPOE))
    for text in (ports(made, "fixed"), volume_words(made, "fixed"), summary(made)):
        numbers = {number.id: number for number in text.numbers}
        assert text.spoken
        values_are_told(text.spoken, numbers)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(-0.04, 1, "0.0"), (0.06, 1, "0.1"), (5743.4, 0, "5,743"), (-3.06, 1, "−3.1"), (2.675, 2, "2.67")],
)
def test_printed(value: float, decimals: int, text: str) -> None:
    assert words.printed(value, decimals) == text


def test_the_paragraphs_are_the_sentences_that_were_said() -> None:
    report = compose(material())
    text = " ".join([*report.summary, *(one for section in report.sections for one in section.paragraphs)])
    for sentence, _ in report.said:
        assert sentence in text and sentence[0].isupper() and sentence.endswith(".")
