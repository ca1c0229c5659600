"""When the simulated network is busy: hours of the local day, on weekdays and at the weekend."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowtide.simulator.model import hour_shape, in_share

_DAY_SECONDS = 86_400
_WEEK_SECONDS = 7 * _DAY_SECONDS
_MONDAY = 4 * _DAY_SECONDS  # Unix time begins on a Thursday
_QUARTER_SECONDS = 900  # zones change their offset at a quarter of an hour, if at all


def load(service: str, when: ArrayLike, zone: str | int = 0) -> NDArray[np.float64]:
    """The load at Unix seconds ``when``, over that of the whole week, both directions together.

    Straight lines from one hour's middle to the next.  ``zone``: a time zone's name, or its offset from UTC in seconds.
    """
    moment = np.asarray(when, "f8")
    second = (moment + utc_offsets(zone, moment) - _MONDAY) % _WEEK_SECONDS
    nodes = _nodes(service)
    found: NDArray[np.float64] = np.interp(second / 3_600 - 0.5, np.arange(-1, len(nodes) - 1), nodes)
    return found


def hours(service: str, direction: int, weekend: bool) -> NDArray[np.float64]:
    """Each hour of the local day over the day's mean, (24,)."""
    shape = np.array(hour_shape(service, direction, weekend=weekend))
    found: NDArray[np.float64] = shape / shape.mean()
    return found


def hour_weights(service: str, direction: int, weekend: bool) -> NDArray[np.float64]:
    """Each hour's part of a day's octets, (24,); adds up to 1."""
    shape = np.array(hour_shape(service, direction, weekend=weekend))
    found: NDArray[np.float64] = shape / shape.sum()
    return found


def day_levels(service: str, direction: int) -> NDArray[np.float64]:
    """Each day, Monday first, over the week's mean day, (7,): people are at home at the weekend."""
    days = np.array([sum(hour_shape(service, direction, weekend=day >= 5)) for day in range(7)])
    found: NDArray[np.float64] = days / days.mean()
    return found


def utc_offsets(zone: str | int, when: ArrayLike) -> NDArray[np.float64]:
    """Seconds by which the local clock is ahead of UTC at each of these Unix seconds."""
    moment = np.asarray(when, "f8")
    if isinstance(zone, int):
        return np.full(moment.shape, float(zone))
    if not moment.size:
        return np.zeros(moment.shape)
    quarter = (moment // _QUARTER_SECONDS).astype("i8")
    first = int(quarter.min())
    table = np.array([_offset(zone, at) for at in range(first, int(quarter.max()) + 1)])
    found: NDArray[np.float64] = table[quarter - first]
    return found


@cache
def _offset(zone: str, quarter: int) -> float:
    local = datetime.fromtimestamp(quarter * _QUARTER_SECONDS, UTC).astimezone(_zone(zone))
    offset = local.utcoffset()
    assert offset is not None
    return offset.total_seconds()


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _nodes(service: str) -> NDArray[np.float64]:
    """The middle of each hour from Monday on, the last one before them and the first one behind them."""
    uploads, week = in_share(service), np.zeros(7 * 24)
    for direction, part in ((1, uploads), (2, 1 - uploads)):
        days = [hour_shape(service, direction, weekend=day >= 5) for day in range(7)]
        level = np.concatenate(days)
        week += part * level / level.mean()
    return np.concatenate([week[-1:], week, week[:1]])
