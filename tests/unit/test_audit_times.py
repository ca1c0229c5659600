"""Times of ``flowtide doctor --audit`` as whole minutes, and what is judged."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from flowtide.audit import audit, parse_times
from flowtide.errors import Failure

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        ("-1h", "now", ("11:34", "12:35")),
        ("-90m", "-30m", ("11:04", "12:05")),
        ("2026-03-01T10:00", "2026-03-01T11:00", ("10:00", "11:00")),
        ("2026-03-01T10:00:30+09:00", "2026-03-01T11:00:00Z", ("01:00", "11:00")),
    ],
)
def test_times_are_whole_minutes(since: str, until: str, wanted: tuple[str, str]) -> None:
    assert tuple(f"{time:%H:%M}" for time in parse_times(since, until, NOW)) == wanted


@pytest.mark.parametrize(("since", "until"), [("now", "-1h"), ("yesterday", "now"), ("-1w", "now")])
def test_what_is_no_time_is_said(since: str, until: str) -> None:
    with pytest.raises(Failure, match=r"write|before"):
        parse_times(since, until, NOW)


class _Looks:
    """A store whose numbers change from look to look."""

    def __init__(self, *looks: tuple[int, int]) -> None:
        self.looks, self.at = looks, 0

    def query(self, sql: str, **_: object) -> pa.Table:
        inserted, present = self.looks[min(self.at, len(self.looks) - 1)]
        row: dict[str, Any] = {"minute": 60, "exporter": "192.0.2.1", "partition": 1}
        if "FROM audit_1m" in sql:
            stages = ("decoded", "published", "enriched", "inserted")
            return pa.Table.from_pylist([row | dict.fromkeys(stages, inserted)])
        if "FROM flows" in sql:
            self.at += 1
            return pa.Table.from_pylist([row | {"present": present}])
        return pa.table({"stage": ["receive"], "counter": ["dropped_datagrams_kernel"], "value": [3]})

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        raise AssertionError("an audit only reads")

    def command(self, sql: str, *, token: str | None = None) -> None:
        raise AssertionError("an audit only reads")

    def close(self) -> None:
        raise AssertionError("it is not the audit's")


@pytest.mark.parametrize(
    ("looks", "equal", "in_flight", "waits"),
    [
        ([(5, 5)], True, 0, 0),
        ([(5, 4), (5, 4)], False, 0, 1),
        ([(5, 4), (5, 5)], True, 5, 1),  # the rows came between the looks
        ([(5, 4), (9, 7)], True, 9, 1),  # still changes
    ],
)
def test_what_still_changes_is_not_judged(
    looks: list[tuple[int, int]], equal: bool, in_flight: int, waits: int
) -> None:
    waited: list[float] = []
    found = audit(_Looks(*looks), NOW, NOW, waited.append)
    assert (found.equal, found.lines[0].in_flight, len(waited)) == (equal, in_flight, waits)
    assert found.losses == {"receive dropped_datagrams_kernel": 3}
    assert ("DIFFERS" in found.as_text()) == (not equal)
