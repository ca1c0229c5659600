"""A store's answers as the browser gets them: every kind of column, in both forms that accounts give it."""

import json
from typing import Any

import pytest

from dashboards.console.frames import read_frame

# 2026-01-01 00:00:00 UTC by date(1); 2026-07-01 12:34:56.789 UTC too.
NEW_YEAR, JULY = 1_767_225_600_000, 1_782_909_296_789


def value(kind: str, given: Any, timezone: str = "UTC") -> Any:
    body = json.dumps({"meta": [{"name": "x", "type": kind}], "data": [[given]], "rows": 1}).encode()
    frame = read_frame(body, timezone, 10)
    assert frame.columns == [{"name": "x", "type": kind}]
    return frame.rows[0][0]


@pytest.mark.parametrize(
    ("kind", "given", "wanted"),
    [
        ("DateTime", "1767225600", NEW_YEAR),
        ("DateTime", 1767225600, NEW_YEAR),
        ("DateTime('Asia/Tokyo')", "1767225600", NEW_YEAR),
        ("Nullable(DateTime)", "1767225600", NEW_YEAR),
        ("LowCardinality(Nullable(DateTime('UTC')))", "1767225600", NEW_YEAR),
        ("DateTime64(3, 'UTC')", "1782909296.789", JULY),
        ("DateTime64(6)", "1767225600.000500", NEW_YEAR + 0.5),
        ("DateTime64(9)", "1767225600.000000000", NEW_YEAR),
        ("DateTime64(3)", "-315619199.500", -315_619_199_500),
        ("DateTime64(1)", "0.-5", "0.-5"),  # as ClickHouse 26 writes the half second before 1970
        ("Date", "2026-01-01", "2026-01-01"),
        ("Date32", "1920-01-01", "1920-01-01"),
        ("UInt64", 18446744073709551615, 18446744073709551615),
        ("UInt64", "18446744073709551615", 18446744073709551615),
        ("Int64", "-9007199254740993", -9007199254740993),
        ("Nullable(UInt64)", "5", 5),
        ("Int256", "-5", -5),
        ("UInt8", 7, 7),
        ("Float64", None, None),
        ("Float64", "nan", None),
        ("Float64", "-inf", None),
        ("Float64", 1e300, 1e300),
        ("Decimal(10, 2)", "1.50", 1.5),
        ("Bool", True, True),
        ("Nullable(Nothing)", None, None),
        ("IPv6", "::1", "::1"),
        ("IPv4", "192.0.2.1", "192.0.2.1"),
        ("LowCardinality(String)", "1767225600", "1767225600"),
        ("String", "nan", "nan"),
        ("Enum8('a(b' = 1, 'c,d' = 2)", "c,d", "c,d"),
        ("UUID", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        ("Array(UInt64)", ["1", "2"], [1, 2]),
        ("Array(Nullable(DateTime))", ["1767225600", None], [NEW_YEAR, None]),
        ("Array(Array(Float64))", [["nan", 1.0], []], [[None, 1.0], []]),
        ("Map(String, UInt64)", {"a": "1"}, {"a": 1}),
        ("Map(String, Array(DateTime))", {"a": ["1767225600"]}, {"a": [NEW_YEAR]}),
        ("Tuple(DateTime, String)", ["1767225600", "1"], [NEW_YEAR, "1"]),
        ("Tuple(at DateTime64(3, 'UTC'), n Nullable(UInt64))", {"at": "1782909296.789", "n": "3"},
         {"at": JULY, "n": 3}),
        ("Tuple(String, IPv6)", ["1", "::"], ["1", "::"]),
        ("AggregateFunction(sum, UInt64)", "x", "x"),
    ],
)  # fmt: skip
def test_each_kind_of_column(kind: str, given: Any, wanted: Any) -> None:
    found = value(kind, given)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("kind", "given", "zone", "wanted"),
    [
        ("DateTime", "2026-01-01 09:00:00", "Asia/Tokyo", NEW_YEAR),
        ("DateTime('UTC')", "2026-01-01 00:00:00", "Asia/Tokyo", NEW_YEAR),
        ("DateTime64(3, 'America/New_York')", "2026-07-01 08:34:56.789", "UTC", JULY),
        ("DateTime64(6)", "2026-01-01 00:00:00.000500", "UTC", NEW_YEAR + 0.5),
    ],
)
def test_times_as_text_are_read_in_their_zone(kind: str, given: str, zone: str, wanted: float) -> None:
    assert value(kind, given, zone) == wanted


def test_what_is_more_than_asked_for_is_cut_and_said() -> None:
    body = json.dumps({"meta": [{"name": "n", "type": "UInt8"}], "data": [[1], [2], [3]], "rows": 3}).encode()
    assert read_frame(body, "UTC", 3).rows == [[1], [2], [3]] and not read_frame(body, "UTC", 3).truncated
    assert read_frame(body, "UTC", 2).rows == [[1], [2]] and read_frame(body, "UTC", 2).truncated


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": []}', b"1\t2\n"])
def test_another_form_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_frame(body, "UTC", 1)


def test_bytes_that_are_no_text_do_not_end_it() -> None:
    body = b'{"meta": [{"name": "s", "type": "String"}], "data": [["a\xff"]], "rows": 1}'
    assert read_frame(body, "UTC", 1).rows == [["a\N{REPLACEMENT CHARACTER}"]]
