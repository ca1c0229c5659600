"""Volumes of users against the published tables 1 and 2, and against a slow reference of plain Python."""

import json
import math
from functools import cache
from itertools import pairwise
from statistics import NormalDist, median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator import volumes
from flowtide.simulator.model import MODEL

USERS = 20_000
WAYS = {"in": 1, "out": 2}
SERVICES = {"broadband": "fixed", "mobile": "mobile"}
ROWS = json.loads(MODEL.read_text())["daily_volume"]["rows"]
CHECKS = json.loads(MODEL.read_text())["joint_in_out"]["checks"]


@cache
def octets_of(service: str, direction: int, year: int) -> NDArray[np.int64]:
    return volumes.stratum_means(service, direction, year, USERS)


def of_row(row: dict[str, Any]) -> NDArray[np.int64]:
    return octets_of(SERVICES[row["service"]], WAYS[row["dir"]], row["year"])


def published_mode(values: list[int]) -> int:
    """Twentieths of a decade above an octet: bins of a tenth, a parabola through the fullest, the nearest twentieth."""
    bins: dict[int, int] = {}
    for value in values:
        at = round(10 * math.log10(value))
        bins[at] = bins.get(at, 0) + 1
    top = min(bins, key=lambda at: (-bins[at], at))
    left, most, right = (bins.get(top + step, 0) for step in (-1, 0, 1))
    return round(20 * (top / 10 + 0.05 * (left - right) / (left - 2 * most + right)))


def test_all_published_means_medians_and_modes_come_out() -> None:
    assert len(ROWS) == 56
    for row in ROWS:
        octets, target = of_row(row), row["target"]
        assert len(octets) == USERS
        assert octets.mean() / 1e6 == pytest.approx(target["mean"], rel=0.0021e-2)
        assert np.median(octets) / 1e6 == pytest.approx(target["median"], rel=0.0016e-2)
        assert published_mode(octets.tolist()) == round(20 * math.log10(target["mode"] * 1e6)), row["year"]
        assert (np.diff(octets) >= 0).all()


# Published in whole percent; the model's own shares, to which the volumes were fitted, are those numbers exactly.
@pytest.mark.parametrize(
    ("service", "direction", "tenth", "hundredth"),
    [("fixed", 2, 50, 15), ("fixed", 1, 75, 46), ("mobile", 2, 48, 12), ("mobile", 1, 45, 13)],
)
def test_the_heaviest_users_have_their_published_share(
    service: str, direction: int, tenth: int, hundredth: int
) -> None:
    heaviest = octets_of(service, direction, 2024)[::-1].tolist()
    for part, share in ((10, tenth), (100, hundredth)):
        assert 100 * sum(heaviest[: USERS // part]) / sum(heaviest) == pytest.approx(share, abs=0.0005)


def test_strata_are_the_conditional_means_of_a_slow_reference() -> None:
    row = next(row for row in ROWS if (row["service"], row["dir"], row["year"]) == ("broadband", "in", 2024))
    mixture = row["mixture"]
    parts = list(zip(mixture["weights"], mixture["mu_log10_MB"], mixture["sigma_log10"], strict=True))

    def below(volume: float) -> float:
        found: float = sum(weight * NormalDist(mean, width).cdf(volume) for weight, mean, width in parts)
        return found

    def quantile(share: float) -> float:
        low, high = -20.0, 20.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle) < share else (low, middle)
        return low

    def mean_between(low: float, high: float, steps: int = 2_000) -> float:
        """Simpson's rule over the density, which has nothing to do with partial expectations."""
        width = (high - low) / steps
        at = [low + step * width for step in range(steps + 1)]
        density = [10**x * sum(weight * NormalDist(mean, sd).pdf(x) for weight, mean, sd in parts) for x in at]
        found: float = width / 3 * (density[0] + density[-1] + 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2]))
        return found

    total = sum(weights for weights, _, _ in parts)
    users = 50
    edges = [-8.0, *(quantile(total * share / users) for share in range(1, users)), 12.0]
    wanted = [1e6 * users * mean_between(low, high) / total for low, high in pairwise(edges)]
    assert volumes.stratum_means("fixed", 1, 2024, users).tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("users", [1, 2, 7, 1_000])
def test_the_mean_is_the_same_for_any_number_of_users(users: int) -> None:
    octets = volumes.stratum_means("fixed", 2, 2024, users)
    assert len(octets) == users
    assert octets.min() > 0
    assert octets.mean() / 1e6 == pytest.approx(5743, rel=0.0021e-2)


def test_of_nobody_there_is_nothing() -> None:
    random = np.random.default_rng(1)
    assert volumes.joint("fixed", 2024, 0, random).shape == (0, 2)
    assert volumes.joint("fixed", 2024, 0, random, "random").shape == (0, 2)


@pytest.mark.parametrize(("service", "name"), [("fixed", "broadband"), ("mobile", "mobile")])
def test_uploads_and_downloads_of_a_user_go_together(service: str, name: str) -> None:
    joined = volumes.joint(service, 2024, USERS, np.random.default_rng(4))
    for column in (0, 1):
        assert (np.sort(joined[:, column]) == octets_of(service, column + 1, 2024)).all()  # only paired
    checks = CHECKS[f"{name}/rho0.8"]
    up, down = joined.T.astype(float)
    # Standard errors: of a correlation r (1 - r^2) / sqrt(n) = 0.003; of the median ratio, log10 of which spreads by
    # 0.46, 1.2533 x 0.46 / sqrt(n) decades = 0.9 %; of a share of 4 % 0.14 points.  Four of each.
    assert np.corrcoef(np.log10(up), np.log10(down))[0, 1] == pytest.approx(checks["log_corr"], abs=0.012)
    assert median((down / up).tolist()) == pytest.approx(checks["median_out_over_in"], rel=0.04)
    assert 100 * (up > down).mean() == pytest.approx(checks["users_in_gt_out_pct"], abs=0.6)
    assert 100 * up.sum() / (up.sum() + down.sum()) == pytest.approx(checks["in_share_of_volume_pct"], abs=0.01)


def test_random_users_have_the_published_median_within_their_error() -> None:
    drawn = volumes.joint("mobile", 2024, USERS, np.random.default_rng(5), "random")
    assert not (np.sort(drawn[:, 1]) == octets_of("mobile", 2, 2024)).all()
    published = {
        row["dir"]: row["target"]["median"] for row in ROWS if (row["service"], row["year"]) == ("mobile", 2024)
    }
    for way, direction in WAYS.items():
        # The logarithm spreads by some half a decade: 1.2533 x 0.55 / sqrt(20,000) = 0.005 decades or 1.1 %.
        assert np.median(drawn[:, direction - 1]) / 1e6 == pytest.approx(published[way], rel=0.045)


def test_the_same_seed_pairs_the_same_users() -> None:
    first, again, other = (volumes.joint("fixed", 2020, 300, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()
