"""QUIC's share of a service as it wanders by itself, and as sampling lets it be seen: what alert rules must bear.

The model is that of a published-share network: a level, a swing with the hour of the day, a slow wander of hours, a
step from each day to the next, and what is drawn when one packet in so many is counted.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.curves import utc_offsets

STEP_SECONDS = 300
Q1 = {"fixed": 21.0, "mobile": 22.5}
"""Percent: UDP 443 of everything in 2024; IIJ, Internet Infrastructure Review Vol. 64, chapter 1, tables 3 and 4."""
Q2 = {"fixed": 28.1, "mobile": 34.8}
"""Percent: UDP 443 of port 443, by the same tables."""

_DAY_SECONDS = 86_400
_BUSIEST_HOUR = 21  # of the local day: most traffic, and most of it video over QUIC


@dataclass(frozen=True, slots=True)
class Noise:
    """What moves the share although nothing happened, in points of percent."""

    swing: float = 3.0  # from the least hour of a day to the highest
    slow: float = 0.5  # standard deviation of the wander
    slow_hours: float = 2.0  # after which the wander has forgotten two thirds of what it was
    day: float = 0.3  # standard deviation of a day's level


def wandering(percent: float, noise: Noise, times: NDArray[np.int64], zone: str, seed: int) -> NDArray[np.float64]:
    """The share, 0 to 1, in each step that begins at ``times`` (Unix seconds, ``STEP_SECONDS`` apart)."""
    random = np.random.default_rng((seed, 71))
    local = times + utc_offsets(zone, times)
    hour = local % _DAY_SECONDS / 3_600
    _, day = np.unique(local // _DAY_SECONDS, return_inverse=True)
    keep = float(np.exp(-STEP_SECONDS / (noise.slow_hours * 3_600)))
    shocks = random.normal(0, noise.slow, len(times))
    shocks[1:] *= np.sqrt(1 - keep**2)  # so that the first has the spread of all
    slow = np.fromiter(accumulate(shocks.tolist(), lambda before, shock: keep * before + shock), "f8", len(times))
    found: NDArray[np.float64] = (
        percent
        + noise.swing / 2 * np.cos((hour - _BUSIEST_HOUR) / 24 * 2 * np.pi)
        + slow
        + random.normal(0, noise.day, int(day.max()) + 1)[day.reshape(-1)]
    )
    return found / 100


def volume(times: NDArray[np.int64], zone: str, valley: float) -> NDArray[np.float64]:
    """Traffic of each step over that of the busiest; ``valley``: of the hours from two to six at night."""
    hour = (times + utc_offsets(zone, times)) % _DAY_SECONDS / 3_600
    found: NDArray[np.float64] = np.interp(hour, [0.0, 2.0, 6.0, 9.0, 24.0], [1.0, valley, valley, 1.0, 1.0])
    return found


def dealt(whole: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in the proportions of ``weights`` on a new last axis, that add up to ``whole``."""
    edges = np.rint(whole[..., None] * (np.cumsum(weights) / weights.sum())).astype("i8")
    found: NDArray[np.int64] = np.diff(edges, axis=-1, prepend=0)
    return found
