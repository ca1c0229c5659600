"""Macros against what a real data source (v4.14.1) sent to the store for the same range."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.library import ALL, bound
from dashboards.macros import Literal, MacroError, Window, expand, interval_ms, interval_of

RANGE = Window(1_700_000_000_000, 1_700_003_600_000, 60_000)
# Seen on the wire: macro, and what it became.
SEEN = (
    ("$__timeFilter(c)", "c >= toDateTime(1700000000) AND c <= toDateTime(1700003600)"),
    (
        "$__timeFilter_ms(c)",
        "c >= fromUnixTimestamp64Milli(1700000000000) AND c <= fromUnixTimestamp64Milli(1700003600000)",
    ),
    ("$__dateFilter(d)", "d >= toDate('2023-11-14') AND d <= toDate('2023-11-14')"),
    (
        "$__dateTimeFilter(d,c)",
        "(d >= toDate('2023-11-14') AND d <= toDate('2023-11-14'))"
        " AND (c >= toDateTime(1700000000) AND c <= toDateTime(1700003600))",
    ),
    (
        "$__dt(d, c)",
        "(d >= toDate('2023-11-14') AND d <= toDate('2023-11-14'))"
        " AND (c >= toDateTime(1700000000) AND c <= toDateTime(1700003600))",
    ),
    ("$__fromTime", "toDateTime(1700000000)"),
    ("$__toTime", "toDateTime(1700003600)"),
    ("$__fromTime_ms", "fromUnixTimestamp64Milli(1700000000000)"),
    ("$__toTime_ms", "fromUnixTimestamp64Milli(1700003600000)"),
    ("$__timeInterval(c)", "toStartOfInterval(toDateTime(c), INTERVAL 60 second)"),
    ("$__timeInterval_ms(c)", "toStartOfInterval(toDateTime64(c, 3), INTERVAL 60000 millisecond)"),
    ("$__interval_s", "60"),
    ("$__interval_ms", "60000"),
)


@pytest.mark.parametrize(("macro", "sent"), SEEN)
def test_a_macro_becomes_what_the_data_source_sends(macro: str, sent: str) -> None:
    assert expand(f"SELECT {macro} AS x", RANGE, {}) == f"SELECT {sent} AS x"


def test_a_macro_takes_an_expression_with_brackets_of_its_own() -> None:
    assert expand("$__timeFilter(toDateTime(f(a)))", RANGE, {}) == (
        "toDateTime(f(a)) >= toDateTime(1700000000) AND toDateTime(f(a)) <= toDateTime(1700003600)"
    )


def test_an_interval_is_a_second_at_least() -> None:
    assert expand("$__interval_s", RANGE._replace(interval_ms=20), {}) == "1"
    assert expand("$__interval_s", RANGE._replace(interval_ms=1500), {}) == "1"


@pytest.mark.parametrize(
    "sql",
    [
        "$__timeGroup(c,5m)", "$__table", "$__column", "$__timeFrom", "$__timeTo", "$__interval", "$__conditionalAll",
        "$__adHocFilters", "$__from", "$__timeFilter", "$__timeFilter(c", "$__timeFilter()", "$__dt(a)",
        "$__timeFilter($__fromTime)", "${nobody}", "$nobody", "${known:csv}", "${two}",
    ],
)  # fmt: skip
def test_what_versions_do_differently_or_leave_as_it_is_is_refused(sql: str) -> None:
    with pytest.raises(MacroError):
        expand(f"SELECT {sql} ", RANGE, {"known": ("a",), "two": ("a", "b")})


def test_variables_as_grafana_formats_them() -> None:
    values = {"a": ("it's", "b"), "n": ("5",), "all": (Literal("'*'"),)}
    assert expand("IN (${a:singlequote}) LIMIT ${n} OR $n", RANGE, values) == r"IN ('it\'s','b') LIMIT 5 OR 5"
    assert expand("IN (${all:singlequote})", RANGE, values) == "IN ('*')"


@given(st.lists(st.text(), min_size=1, max_size=3).map(tuple))
def test_a_value_never_ends_its_own_text(values: tuple[str, ...]) -> None:
    text = expand("${v:singlequote}", RANGE, {"v": values})
    literal = r"'(?:[^'\\]|\\.)*'"
    assert re.fullmatch(f"{literal}(?:,{literal})*", text, re.DOTALL)


def test_a_value_that_looks_like_a_macro_stays_a_text() -> None:
    assert (
        expand("IN (${v:singlequote})", RANGE, {"v": ("$__dateFilter(x)", "${v}")}) == "IN ('$__dateFilter(x)','${v}')"
    )


# Range, points, least, and the width that Grafana 9.4 chose.
@pytest.mark.parametrize(
    ("hours", "points", "least", "chosen"),
    [(1, 1000, "1s", "5s"), (1, 1800, "1s", "2s"), (1, 1000, "1m", "1m"), (6, 800, "1m", "1m"), (24, 800, "1m", "2m"),
     (168, 800, "1m", "15m"), (720, 800, "1m", "1h"), (1, 500, "5m", "5m"), (8760, 400, "1m", "12h"),
     (26_280, 400, "1m", "1d")],
)  # fmt: skip
def test_the_width_of_a_bucket(hours: int, points: int, least: str, chosen: str) -> None:
    assert interval_ms(hours * 3_600_000, points, interval_of(least)) == interval_of(chosen)


@given(st.integers(1, 10**12), st.integers(1, 5000), st.sampled_from([60_000, 300_000, 3_600_000]))
def test_a_width_is_a_multiple_of_the_table_s_bucket(range_ms: int, points: int, least: int) -> None:
    found = interval_ms(range_ms, points, least)
    assert found >= least and found % least == 0


@pytest.mark.parametrize("text", ["", "m", "0m", "1 m", "1y", "-1s", "1.5h"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(MacroError, match="interval"):
        interval_of(text)


DASHBOARD = {
    "uid": "d",
    "templating": {"list": [
        {"name": "service", "type": "query", "multi": True, "includeAll": True, "allValue": "'*'",
         "current": {"value": [ALL]}},
        {"name": "top", "type": "custom", "multi": False, "includeAll": False, "current": {"value": "5"},
         "options": [{"text": "5", "value": "5"}, {"text": "10", "value": "10"}]},
    ]},
}  # fmt: skip


def test_what_is_not_chosen_has_the_value_of_the_file() -> None:
    values = bound(DASHBOARD, {})
    assert values == {"service": ("'*'",), "top": ("5",)}
    assert expand("(${service:singlequote}) LIMIT ${top}", RANGE, values) == "('*') LIMIT 5"


def test_a_value_that_looks_like_the_literal_of_all_is_a_text() -> None:
    values = bound(DASHBOARD, {"service": ["'*'"], "top": ["10"]})
    assert expand("(${service:singlequote}) LIMIT ${top}", RANGE, values) == r"('\'*\'') LIMIT 10"


@pytest.mark.parametrize(
    "chosen", [{"nobody": ["1"]}, {"top": ["5", "10"]}, {"top": ["7"]}, {"top": [ALL]}, {"top": ["5; DROP"]}]
)
def test_choices_that_are_none(chosen: dict[str, list[str]]) -> None:
    with pytest.raises(MacroError):
        bound(DASHBOARD, chosen)
