"""When the simulated network is busy: the peaks that the report tells of, and local time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from flowtide.simulator import curves

TOKYO = ZoneInfo("Asia/Tokyo")
MONDAY = int(datetime(2024, 6, 3, tzinfo=TOKYO).timestamp())  # the analysed week of 2024
DAY = 86_400


def hourly(service: str, day: int) -> list[float]:
    """Mean load of each hour of a day of that week, from minutes."""
    when = MONDAY + day * DAY + np.arange(0, DAY, 60)
    found: list[float] = curves.load(service, when, "Asia/Tokyo").reshape(24, 60).mean(axis=1).tolist()
    return found


def peaks(values: list[float]) -> list[int]:
    return [at for at in range(24) if values[at] > max(values[at - 1], values[(at + 1) % 24])]


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_the_mean_over_a_week_is_one_wherever_it_begins(service: str) -> None:
    for begin in (MONDAY, MONDAY + 12_345):
        assert curves.load(service, begin + np.arange(0, 7 * DAY, 60), "Asia/Tokyo").mean() == pytest.approx(
            1, abs=1e-4
        )


def test_hours_peak_where_the_report_says() -> None:
    down, up = curves.hours("fixed", 2, False).tolist(), curves.hours("fixed", 1, False).tolist()
    assert down.index(max(down)) in range(19, 24)
    assert up.index(max(up)) in range(13, 16)
    assert up[12] < min(up[11], up[13])  # at noon hands are off the keyboard
    assert peaks(curves.hours("mobile", 2, False).tolist()) == [8, 12, 21]


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_the_load_of_an_hour_follows_its_shape(service: str) -> None:
    assert max(hourly(service, 1)) in hourly(service, 1)[19:24] or service == "mobile"
    if service == "mobile":
        assert peaks(hourly(service, 1)) == [8, 12, 21]
    # On the model's one scale there is more at the weekend's noon, and no rush to work.
    assert hourly(service, 6)[10] > hourly(service, 1)[10]


@pytest.mark.parametrize("service", ["fixed", "mobile"])
@pytest.mark.parametrize("direction", [1, 2])
def test_hours_and_days_are_parts_of_a_whole(service: str, direction: int) -> None:
    for weekend in (False, True):
        assert curves.hours(service, direction, weekend).mean() == pytest.approx(1)
        weights = curves.hour_weights(service, direction, weekend)
        assert weights.shape == (24,)
        assert weights.sum() == pytest.approx(1)
    days = curves.day_levels(service, direction)
    assert days.sum() == pytest.approx(7)
    assert days[0] == days[4] != days[5] == days[6]


def test_day_levels_keep_the_scale_of_the_shapes() -> None:
    # The model's hours of downloads on fixed lines come to 13.26 on a weekday and 15.31 at the weekend.
    week = 5 * 13.26 + 2 * 15.31
    assert curves.day_levels("fixed", 2).tolist() == pytest.approx([7 * 13.26 / week] * 5 + [7 * 15.31 / week] * 2)


def test_a_zone_is_its_offset() -> None:
    when = MONDAY + np.arange(0, 7 * DAY, 1_800)
    assert (curves.load("fixed", when, "Asia/Tokyo") == curves.load("fixed", when, 9 * 3_600)).all()
    assert not (curves.load("fixed", when, "Asia/Tokyo") == curves.load("fixed", when)).all()
    assert curves.load("mobile", MONDAY, "Asia/Tokyo").shape == ()


def test_clocks_are_set_forward_within_the_night() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    noons = [int(datetime(2024, 3, day, 12, tzinfo=berlin).timestamp()) for day in (30, 31)]
    assert noons[1] - noons[0] == 23 * 3_600
    before, behind = curves.load("fixed", np.array(noons), "Europe/Berlin")
    assert before == behind  # noon of Saturday and Sunday
    # RFC 9636 data: Central European Summer Time began at 01:00 UTC on 2024-03-31.
    change = int(datetime(2024, 3, 31, 1, tzinfo=ZoneInfo("UTC")).timestamp())
    assert curves.utc_offsets("Europe/Berlin", np.array([change - 1, change])).tolist() == [3_600, 7_200]
    assert curves.utc_offsets("Europe/Berlin", np.zeros(0)).shape == (0,)
