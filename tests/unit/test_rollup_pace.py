"""How often ranges run: by the setting, by rows, and not more than half the time."""

import time
from typing import Any, cast

import pytest

from sinks import Store, rollups
from sinks.delivery import SinkPosition
from sinks.rollups import Rollups, Span
from sinks.settings import SinkSettings

PARTITIONS = range(6)


def paced(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Rollups:
    """Six partitions whose ranges take so long and do nothing; one round of them has run at second 0."""
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock) * seconds)  # each look is one range later
    for name in ("record", "begin_at", "is_done", "run_range"):
        monkeypatch.setattr(rollups, name, lambda *_, **__: False)
    found = Rollups(cast(Store, None), SinkSettings(rollup_seconds=5, rollup_rows=1000), "UTC")
    for partition in PARTITIONS:
        found.begin(partition, SinkPosition(), 0)
        found.stored(partition, Span(0, 10, 0, 0))
        planned = found.due(partition, 0.0)
        assert planned == (0, 1)
        found.run(partition, planned, "s")
        found.stored(partition, Span(1, 10, 0, 0))
    return found


def due(found: Rollups, now: float, **how: Any) -> list[bool]:
    return [found.due(partition, now, **how) is not None for partition in PARTITIONS]


def test_quick_ranges_run_as_often_as_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    found = paced(monkeypatch, 0.1)
    assert not any(due(found, 4.9))
    assert all(due(found, 5.0))


def test_slow_ranges_leave_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = paced(monkeypatch, 2.0)  # six of them: 12 s a round
    assert not any(due(found, 23.9))
    assert all(due(found, 24.1))


def test_many_rows_and_a_stop_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = paced(monkeypatch, 2.0)
    found.stored(3, Span(2, 1000, 0, 0))
    assert due(found, 1.0) == [partition == 3 for partition in PARTITIONS]
    assert all(due(found, 1.0, finish=True))
