"""What is marked in charts and listed as the last week, asked of the real engine over rows of alert_history."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from dashboards.alerts.history import TABLE, row_of
from dashboards.alerts.states import Event, Instance, Kind
from dashboards.console import alerts
from dashboards.library import bound, dashboards
from dashboards.macros import Window, expand
from sinks.embedded import EmbeddedStore

DAY = 86_400
SINCE = int(time.time()) // 3600 * 3600 - 7200
UNTIL = SINCE + 3600


def tell(store: EmbeddedStore, kind: Kind, at: float, started: float, **labels: str) -> None:
    """One event, as the evaluator writes it."""
    labels = {"severity": "warn", "rule": "R1", **labels}
    one = Instance(
        "flowtide-r1", labels["rule"], f"{labels['rule']} rose", labels, "firing", started,
        {"summary": f"it rose by {at:.0f}"},
        started=started,
    )  # fmt: skip
    event = Event(kind, one, at)
    store.insert(TABLE, row_of(event), token=f"alert/{kind}/{at}/{started}/{sorted(labels.items())}")


def marked(store: EmbeddedStore, uid: str = "noc", since: int = SINCE, until: int = UNTIL) -> list[dict[str, Any]]:
    dashboard = dashboards()[uid]
    (annotation,) = dashboard["annotations"]["list"]
    window = Window(since * 1000, until * 1000, 60_000)
    found = store.query(expand(annotation["target"]["rawSql"], window, bound(dashboard, {})))
    assert found.column_names == ["time", "timeEnd", "title", "text", "tags"]
    listed: list[dict[str, Any]] = found.to_pylist()
    return listed


def spans(found: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [tuple(_at(row[name]) - SINCE for name in ("time", "timeEnd")) for row in found]  # type: ignore[misc]


def _at(when: datetime) -> float:
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


@pytest.mark.parametrize("uid", ["noc", "ports", "trust"])
def test_an_empty_history_marks_nothing(store: EmbeddedStore, uid: str) -> None:
    assert marked(store, uid) == []


def test_from_its_begin_to_its_end(store: EmbeddedStore) -> None:
    tell(store, "firing", SINCE + 600, SINCE + 600, service="fixed")
    tell(store, "resolved", SINCE + 1800, SINCE + 600, service="fixed")
    (row,) = found = marked(store)
    assert spans(found) == [(600, 1800)]
    assert (row["title"], row["tags"], row["text"]) == ("R1 rose", "warn,R1", f"it rose by {SINCE + 600}")


def test_one_that_still_fires_lasts_to_the_end_of_the_range(store: EmbeddedStore) -> None:
    tell(store, "firing", SINCE + 600, SINCE + 600, service="fixed")
    tell(store, "resolved", UNTIL + 60, SINCE + 600, service="fixed")  # of the range that is looked at, it is to come
    found = marked(store)
    assert spans(found) == [(600, 3600)] and found[0]["text"].endswith("(still firing)")


def test_one_that_began_before_the_range_is_in_it_and_one_that_ended_before_is_not(store: EmbeddedStore) -> None:
    tell(store, "firing", SINCE - 3 * DAY, SINCE - 3 * DAY, service="fixed")
    tell(store, "resolved", SINCE + 60, SINCE - 3 * DAY, service="fixed")
    tell(store, "firing", SINCE - 3 * DAY, SINCE - 3 * DAY, service="mobile")
    tell(store, "resolved", SINCE - 60, SINCE - 3 * DAY, service="mobile")
    tell(store, "firing", UNTIL + 60, UNTIL + 60, service="cable")
    assert spans(marked(store)) == [(-3 * DAY, 60)]


def test_instances_and_repeats_are_apart_and_in_order(store: EmbeddedStore) -> None:
    for service, begin, end in (("mobile", 1200, 1300), ("fixed", 600, 1250), ("fixed", 2000, 2100)):
        tell(store, "firing", SINCE + begin, SINCE + begin, service=service)
        tell(store, "resolved", SINCE + end, SINCE + begin, service=service)
    assert spans(marked(store)) == [(600, 1250), (1200, 1300), (2000, 2100)]


def test_what_never_fired_and_what_only_explains_is_not_marked(store: EmbeddedStore) -> None:
    for kind in ("pending", "normal", "nodata", "error"):
        tell(store, kind, SINCE + 60, SINCE + 60, service="fixed")
    tell(store, "firing", SINCE + 60, SINCE + 60, severity="info", rule="R5")
    assert marked(store) == []


def test_the_last_week_newest_first(store: EmbeddedStore) -> None:
    tell(store, "firing", SINCE - 8 * DAY, SINCE - 8 * DAY, service="fixed")
    tell(store, "firing", SINCE - 60, SINCE - 60, service="fixed")
    tell(store, "resolved", SINCE, SINCE - 60, service="fixed")
    tell(store, "pending", SINCE, SINCE, service="mobile")
    tell(store, "nodata", SINCE, SINCE, severity="info")
    tell(store, "nodata", SINCE - 120, SINCE - 120, severity="page")
    tell(store, "firing", SINCE - 180, SINCE - 180, severity="info")
    found = store.query(alerts._HISTORY).to_pylist()
    assert [(row["state"], row["severity"]) for row in found] == [
        ("resolved", "warn"), ("firing", "warn"), ("nodata", "page"), ("firing", "info"),
    ]  # fmt: skip
    assert dict(found[0]["labels"]) == {"severity": "warn", "rule": "R1", "service": "fixed"}
