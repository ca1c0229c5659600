"""How much each user carries in a day: the published distributions, as a spread over any number of users.

A user's octets are log-normal in three parts (``model.mixture``).  Drawn at random, mean and median of a few thousand
users are off by percents.  So the distribution is cut into as many parts of equal probability as there are users, and
each user gets the mean of one part: totals and shares of the heaviest are those of the distribution.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flowtide.simulator.model import OCTETS_A_MB, mixture

RHO = 0.8
"""Of the Gaussian copula that joins uploads and downloads of a user; the model's assumption, not published."""

_LN10 = math.log(10)
_WIDEST = 9.0  # standard deviations; beyond it the normal distribution is 0 or 1 in double precision
_STEPS = 1_024  # of its table, a standard deviation: the error of the cubic between two is below 1e-14
_CELLS = 4_096  # of the table from which the search for a quantile starts


def stratum_means(service: str, direction: int, year: int, n: int) -> NDArray[np.int64]:
    """Octets a day of ``n`` users that stand for all, ascending."""
    if n == 0:
        return np.zeros(0, "i8")
    edges = _quantiles(service, direction, year, np.arange(1, n) / n)
    below = np.concatenate([[0.0], _partial_mean(service, direction, year, edges), [mean(service, direction, year)]])
    octets: NDArray[np.int64] = np.rint(np.diff(below) * n * OCTETS_A_MB).astype("i8")
    return octets


def draw(service: str, direction: int, year: int, n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Octets a day of ``n`` users, each by itself."""
    found = mixture(service, direction, year)
    part = random.choice(len(found.weights), n, p=found.weights)
    volume = np.array(found.means)[part] + np.array(found.widths)[part] * random.standard_normal(n)
    return np.rint(10.0**volume * OCTETS_A_MB).astype("i8")


def joint(
    service: str, year: int, n: int, random: np.random.Generator, law: Literal["strata", "random"] = "strata"
) -> NDArray[np.int64]:
    """Octets a day of ``n`` users in no order, (n, 2): from each user, to it.  Who sends much receives much."""
    first, second = random.standard_normal((2, n))
    ranks = (_ranks(first), _ranks(RHO * first + math.sqrt(1 - RHO**2) * second))
    octets = np.empty((n, 2), "i8")
    for column, rank in enumerate(ranks):
        direction = column + 1
        if law == "strata":
            values = stratum_means(service, direction, year, n)
        else:
            values = np.sort(draw(service, direction, year, n, random))
        octets[:, column] = values[rank]
    return octets


def mean(service: str, direction: int, year: int) -> float:
    """MB a day of the distribution itself."""
    found = mixture(service, direction, year)
    return sum(
        weight * _log_mean(centre, width)
        for weight, centre, width in zip(found.weights, found.means, found.widths, strict=True)
    )


def _log_mean(centre: float, width: float) -> float:
    return math.exp(centre * _LN10 + (width * _LN10) ** 2 / 2)


def _partial_mean(service: str, direction: int, year: int, below: NDArray[np.float64]) -> NDArray[np.float64]:
    """MB a day of the users below each common logarithm, over all users."""
    found, total = mixture(service, direction, year), np.zeros(len(below))
    for weight, centre, width in zip(found.weights, found.means, found.widths, strict=True):
        total += weight * _log_mean(centre, width) * _normal((below - centre) / width - width * _LN10)
    return total


def _share(service: str, direction: int, year: int, below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of users below each common logarithm."""
    found, total = mixture(service, direction, year), np.zeros(len(below))
    for weight, centre, width in zip(found.weights, found.means, found.widths, strict=True):
        total += weight * _normal((below - centre) / width)
    return total


def _quantiles(service: str, direction: int, year: int, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Common logarithm below which each share of the users is."""
    low, high = _span(service, direction, year)
    grid = np.linspace(low, high, _CELLS)
    found = np.interp(share, _share(service, direction, year, grid), grid)
    cell = grid[1] - grid[0]
    # A part of the users is as wide as the difference of two edges, so these are wanted far better than the table
    # has them: Newton's method, by no more than a cell where the distribution is flat.
    for _ in range(3):
        rest = _share(service, direction, year, found) - share
        slope = np.maximum(_density(service, direction, year, found), np.finfo("f8").tiny)
        found -= np.clip(rest / slope, -cell, cell)
    return found


def _density(service: str, direction: int, year: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    found, total = mixture(service, direction, year), np.zeros(len(at))
    for weight, centre, width in zip(found.weights, found.means, found.widths, strict=True):
        total += weight / width * np.exp(-(((at - centre) / width) ** 2) / 2) / math.sqrt(2 * math.pi)
    return total


def _span(service: str, direction: int, year: int) -> tuple[float, float]:
    found = mixture(service, direction, year)
    reach = [_WIDEST * width for width in found.widths]
    pairs = list(zip(found.means, reach, strict=True))
    return min(centre - far for centre, far in pairs), max(centre + far for centre, far in pairs)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    ranks = np.empty(len(values), "i8")
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _normal(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal distribution; NumPy has no error function."""
    value, slope = _normal_table()
    at = (np.clip(z, -_WIDEST, _WIDEST) + _WIDEST) * _STEPS
    cell = np.minimum(at.astype("i8"), len(value) - 2)
    t = at - cell
    # Cubic through the values and slopes at both ends.
    left, right = value[cell], value[cell + 1]
    rise = right - left
    bend, turn = slope[cell] - rise, rise - slope[cell + 1]
    found: NDArray[np.float64] = left + t * rise + t * (1 - t) * (bend * (1 - t) + turn * t)
    return found


@cache
def _normal_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and slopes a step."""
    z = np.linspace(-_WIDEST, _WIDEST, int(2 * _WIDEST * _STEPS) + 1)
    value = np.array([math.erfc(-each / math.sqrt(2)) / 2 for each in z.tolist()])
    return value, np.exp(-z * z / 2) / math.sqrt(2 * math.pi) / _STEPS
