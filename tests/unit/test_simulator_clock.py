"""The clock of a scenario, and local days and hours, against the standard library's calendar."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from flowtide.simulator.clock import LocalTime, SimClock

BEGIN_MS = 1_717_340_400_000  # Monday 2024-06-03, 0 h in Tokyo
# Two changes of summer time, a zone of no whole hours, and one that skipped a day of the calendar.
TIMES = [
    ("Asia/Tokyo", datetime(2024, 6, 3, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2024, 3, 30, 12, tzinfo=UTC)),
    ("America/New_York", datetime(2024, 11, 2, 12, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2024, 6, 3, tzinfo=UTC)),
]


def test_it_goes_so_many_times_as_fast_and_stands_at_the_end() -> None:
    real = [50.0]
    clock = SimClock(BEGIN_MS, 60, length_seconds=600, real=lambda: real[0])
    assert clock.now_ms() == BEGIN_MS
    real[0] += 1.5
    assert clock.now_ms() == BEGIN_MS + 90_000
    assert clock.seconds_until(BEGIN_MS + 120_000) == pytest.approx(0.5)
    assert clock.seconds_until(BEGIN_MS) == 0
    assert not clock.is_over
    real[0] += 1_000
    assert clock.now_ms() == BEGIN_MS + 600_000
    assert clock.is_over


def test_without_a_length_it_never_stands() -> None:
    real = [0.0]
    clock = SimClock(BEGIN_MS, 0.1, real=lambda: real[0])
    real[0] += 1e6
    assert clock.now_ms() == BEGIN_MS + 100_000_000
    assert not clock.is_over


@pytest.mark.parametrize(("zone", "around"), TIMES, ids=[zone for zone, _ in TIMES])
def test_days_and_hours_are_the_calendars(zone: str, around: datetime) -> None:
    local = LocalTime(zone)
    when = [around + timedelta(seconds=at * 613) for at in range(300)]
    unix_ms = np.array([int(each.timestamp() * 1000) for each in when])
    there = [each.astimezone(ZoneInfo(zone)) for each in when]
    assert local.day(unix_ms).tolist() == [each.toordinal() - date(1970, 1, 1).toordinal() for each in there]
    begins = [each.replace(minute=0, second=0, microsecond=0).timestamp() * 1000 for each in there]
    assert local.hour_ms(unix_ms).tolist() == begins


def test_a_day_has_23_24_or_25_hours() -> None:
    local = LocalTime("Europe/Berlin")
    epoch = date(1970, 1, 1).toordinal()

    def hours(month: int, day: int) -> list[int]:
        found: list[int] = local.hours_of_day(date(2024, month, day).toordinal() - epoch).tolist()
        return found

    assert hours(6, 3) == list(range(24))
    assert hours(3, 31) == [0, 1, *range(3, 24)]
    assert hours(10, 27) == [0, 1, 2, 2, *range(3, 24)]
    # 2024-03-31 began at 23 h UTC of the day before.
    begin = local.begin_of_day(date(2024, 3, 31).toordinal() - epoch)
    assert datetime.fromtimestamp(begin / 1000, UTC) == datetime(2024, 3, 30, 23, tzinfo=UTC)


def test_no_times_are_no_days() -> None:
    assert LocalTime("UTC").day(np.zeros(0, "i8")).tolist() == []
