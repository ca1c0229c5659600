"""How much the simulated network carries at a time of the week, over its mean."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Mean load of each hour of the local day, over the day's mean; shapes as published: fixed lines peak in the evening,
# mobile on the way to work, at lunch and in the evening.
_HOURS = {
    "fixed": (1.0, 0.7, 0.5, 0.4, 0.35, 0.4, 0.55, 0.75, 0.85, 0.9, 0.95, 1.0, 1.1, 1.1, 1.05, 1.05, 1.1, 1.15, 1.3,
              1.5, 1.65, 1.7, 1.6, 1.3),
    "mobile": (0.8, 0.5, 0.35, 0.3, 0.3, 0.45, 0.8, 1.25, 1.35, 1.0, 0.95, 1.1, 1.55, 1.2, 1.0, 1.05, 1.1, 1.2, 1.3,
               1.3, 1.3, 1.25, 1.2, 0.95),
}  # fmt: skip
# Of each day from Thursday on, where Unix time begins: people are at home at the weekend, and out before it.
_DAYS = {
    "fixed": (0.97, 1.0, 1.06, 1.06, 0.97, 0.97, 0.97),
    "mobile": (1.04, 1.05, 0.93, 0.89, 1.03, 1.03, 1.03),
}
_WEEK_SECONDS = 7 * 86_400


def load(service: str, when: ArrayLike, utc_offset_seconds: int = 0) -> NDArray[np.float64]:
    """The load at Unix seconds ``when``, over that of the whole week; straight lines between full hours."""
    hour = (np.asarray(when, "f8") + utc_offset_seconds) % _WEEK_SECONDS / 3_600
    nodes = _nodes(service)
    found: NDArray[np.float64] = np.interp(hour, np.arange(len(nodes)), nodes)
    return found


@cache
def _nodes(service: str) -> NDArray[np.float64]:
    """One a full hour of the week, and the first again."""
    week = np.outer(_DAYS[service], _HOURS[service]).ravel()
    nodes: NDArray[np.float64] = np.append(week, week[0]) / week.mean()
    return nodes
