"""When a local day is written: once, half an hour behind midnight, again while the store does not answer."""

from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from enricher.leases import LeaseTable
from enricher.radius.usage import DailyUsage
from flowtide import daily
from flowtide.daily import DailySubscribers, store_elsewhere
from flowtide.settings import Settings
from sinks import StoreRefused, StoreUnavailable
from sinks.accounting_file import AccountingError
from sinks.memory import MemoryStore

TOKYO = ZoneInfo("Asia/Tokyo")


class Written:
    """What would be written; raises what a test tells it to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[date] = []
        self.days: list[tuple[date, str, int]] = []
        self.trouble: list[Exception] = []
        monkeypatch.setattr(daily, "put_seen", self.put_seen)
        monkeypatch.setattr(daily, "put_day", self.put_day)

    def put_seen(self, _store: object, day: date, rows: pa.Table, _now: float) -> int:
        if self.trouble:
            raise self.trouble.pop()
        self.seen.append(day)
        return int(rows.num_rows)

    def put_day(self, _store: object, volumes: Any, source: str, _ids: object, _now: float) -> Any:
        if source == "refused":
            raise AccountingError("twice")
        self.days.append((volumes.day, source, len(volumes.users)))
        return type("Imported", (), {"rows": len(volumes.users)})


class Radius:
    """A listener that counted two users on two days."""

    def usage(self, first_day: int = 0) -> list[DailyUsage]:
        rows = [
            DailyUsage(day, name, "fixed", "personal", "pppoe", 1, 2)
            for day in (date(2024, 6, 4), date(2024, 6, 5))
            for name in ("alice", "bob")
        ]
        return [row for row in rows if row.day.toordinal() >= first_day]


def at(hour: int, minute: int, day: int = 5) -> float:
    return datetime(2024, 6, day, hour, minute, tzinfo=TOKYO).timestamp()


def made(*radius: Any) -> DailySubscribers:
    ids = lambda users: np.arange(len(list(users)), dtype="u8")  # noqa: E731
    return DailySubscribers(lambda: nullcontext(MemoryStore()), LeaseTable.empty, radius, ids, "Asia/Tokyo")


def test_a_day_is_written_half_an_hour_behind_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written, days = Written(monkeypatch), made(Radius())
    days.tend(at(23, 59, day=4))
    assert written.seen == [date(2024, 6, 3)]  # at the start: the day before may be missing
    days.tend(at(0, 29))
    assert written.seen == [date(2024, 6, 3)]
    days.tend(at(0, 31))
    assert written.seen == [date(2024, 6, 3), date(2024, 6, 4)]
    assert written.days == [(date(2024, 6, 4), "radius", 2)]
    days.tend(at(12, 0))
    assert len(written.seen) == 2
    assert datetime.fromtimestamp(at(0, 31), UTC).date() == date(2024, 6, 4)  # the day is Tokyo's


def test_a_store_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written, days = Written(monkeypatch), made()
    written.trouble = [StoreUnavailable("away")]
    days.tend(at(1, 0))
    days.tend(at(1, 0) + 30)
    assert written.seen == []
    days.tend(at(1, 0) + 61)
    assert written.seen == [date(2024, 6, 4)]


def test_what_is_refused_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    written, days = Written(monkeypatch), made(Radius())
    written.trouble = [StoreRefused(60, "no such table")]
    days.tend(at(1, 0))
    days.tend(at(1, 2))
    assert (written.seen, written.days) == ([], [])
    monkeypatch.setattr(daily, "RADIUS", "refused")
    days.tend(at(1, 0, day=6))
    days.tend(at(1, 2, day=6))
    assert written.seen == [date(2024, 6, 5)]


def test_the_engine_of_another_process_is_asked_only_while_it_runs(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    (tmp_path / "chdb").mkdir()  # never opened: another process would find it taken
    with pytest.raises(StoreUnavailable, match="no process runs the engine"), store_elsewhere(settings):
        pass
    assert not list((tmp_path / "chdb").iterdir())
