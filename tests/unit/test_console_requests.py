"""What browsers send, checked before anything is asked."""

from typing import Any

import pytest

from dashboards.console.requests import (
    BadRequest,
    Range,
    read_object,
    read_panel,
    read_panel_link,
    read_range,
    read_sql,
    snapped,
)

HOUR = 3_600_000
NOW = 1_790_000_003_217


@pytest.mark.parametrize(
    ("late", "wanted"),
    [
        (0, (1_790_000_000_000 - HOUR, 1_790_000_000_000)),
        (1_782, (1_790_000_000_000 - HOUR, 1_790_000_000_000)),  # … 004,999: of the same five seconds
        (1_783, (1_790_000_005_000 - HOUR, 1_790_000_005_000)),
        (-59_000, (1_789_999_940_000 - HOUR, 1_789_999_940_000)),  # a browser's clock that is late
    ],
)
def test_live_ranges_end_on_five_seconds_and_are_as_long_as_before(late: int, wanted: tuple[int, int]) -> None:
    to = NOW + late
    assert snapped(Range(to - HOUR, to), NOW) == Range(*wanted)


@pytest.mark.parametrize("to", [NOW - 61_000, NOW + 61_000, NOW - 7 * 24 * HOUR])
def test_ranges_that_do_not_end_now_stay(to: int) -> None:
    assert snapped(Range(to - HOUR, to), NOW) == Range(to - HOUR, to)


def test_many_viewers_of_five_seconds_ask_the_same() -> None:
    asked = {snapped(Range(now - HOUR, now), now + lag) for now in range(NOW, NOW + 1_700, 100) for lag in (0, 40)}
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "from: send a whole number"),
        ({"from": 1}, "to: send"),
        ({"from": "1", "to": 2}, "from: send"),
        ({"from": 1.5, "to": 2}, "from: send"),
        ({"from": True, "to": 2}, "from: send"),
        ({"from": None, "to": 2}, "from: send"),
        ({"from": 2, "to": 2}, "not before"),
        ({"from": 3, "to": 2}, "not before"),
        ({"from": -1, "to": 2}, "from 0 to"),
        ({"from": NOW, "to": 10**30}, "from 0 to"),
        ({"from": 0, "to": NOW}, "longer than ten years"),
    ],
)
def test_ranges_that_are_none(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_range(values)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"1", b'"x"', b"[" * 100_000])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="object"):
        read_object(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_points": 0}, {"max_points": 10_001}, {"max_points": "100"}, {"max_points": True}, {"variables": []},
        {"variables": {"service": "fixed"}}, {"variables": {"service": [1]}}, {"variables": {"service": ["x"] * 2_001}},
        {"variables": {"service": ["x" * 1_001]}}, {"variables": {"service": ["\ud800"]}},
    ],
)  # fmt: skip
def test_panels_asked_wrongly(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_panel({"from": NOW - HOUR, "to": NOW} | wrong)


def test_a_link_says_the_same_as_a_body() -> None:
    fields = [("from", "1"), ("to", "2"), ("max_points", "7"), ("var-service", "fixed"), ("var-service", "mobile"),
              ("var-top", "5"), ("ref", "A")]  # fmt: skip
    body = {"from": 1, "to": 2, "max_points": 7, "variables": {"service": ["fixed", "mobile"], "top": ["5"]}}
    assert read_panel_link(fields) == read_panel(body)
    for wrong in ("", "x", "1e3", "٣", "1" * 30):
        with pytest.raises(BadRequest, match="from"):
            read_panel_link([("from", wrong), ("to", "2")])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "write a query"),
        ({"sql": "  "}, "write a query"),
        ({"sql": 1}, "write a query"),
        ({"sql": "x" * (256 * 1024 + 1)}, "at most 256 KB"),
        ({"sql": "SELECT 1", "parameters": []}, "parameters"),
        ({"sql": "SELECT 1", "parameters": {"a b": "1"}}, "parameter 'a b'"),
        ({"sql": "SELECT 1", "parameters": {"ä": "1"}}, "parameter 'ä'"),
        ({"sql": "SELECT 1", "parameters": {"a": 1}}, "its value is text"),
        ({"sql": "SELECT 1", "parameters": {f"p{n}": "" for n in range(101)}}, "at most 100"),
        ({"sql": "SELECT '\ud800'"}, "surrogate"),
    ],
)
def test_queries_asked_wrongly(values: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_sql(values)
