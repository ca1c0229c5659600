"""The report's statistics against plain Python, and against numbers worked out by hand."""

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.report.model import IN, OUT
from dashboards.report.statistics import mode_of, share_error, users_of, volume_error

WEEK = 7
VOLUMES = st.lists(st.integers(0, 10**13), max_size=60)


def column(octets: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(octets, "i8")


@given(VOLUMES, st.integers(0, 90))
@settings(deadline=None)
def test_users_are_what_plain_python_says(octets: list[int], seen: int) -> None:
    users = users_of(column(octets), OUT, seen=seen, packets=3, sampled_octets=4)
    everybody = octets + [0] * max(0, seen - len(octets))
    assert (users.direction, users.seen, users.users, users.packets, users.sampled_octets) == (
        OUT, seen, len(octets), 3, 4,
    )  # fmt: skip
    assert users.denominator == len(everybody)
    assert users.zero == everybody.count(0)
    assert users.octets == sum(octets)
    if everybody:
        assert users.mean == pytest.approx(sum(everybody) / len(everybody) / WEEK, rel=1e-12)
        assert users.median == pytest.approx(statistics.median(everybody) / WEEK, rel=1e-12)
    bins = Counter(round(10 * math.log10(each / WEEK)) for each in octets if each)
    assert dict(zip(users.bins, users.numbers, strict=True)) == bins
    assert list(users.bins) == sorted(users.bins)
    for share, told in ((0.1, users.top10), (0.01, users.top1)):
        heaviest = sorted(everybody, reverse=True)[: round(share * len(everybody))]
        assert told == (sum(heaviest) / sum(octets) if heaviest and sum(octets) else None)


def test_who_was_silent_counts_in_mean_and_median_and_not_in_the_histogram() -> None:
    # Two of five users with a lease had a record, one of these without an octet.
    users = users_of(column([0, 7 * 10**6]), IN, seen=5)
    assert (users.users, users.denominator, users.zero) == (2, 5, 4)
    assert users.mean == 200_000
    assert users.median == 0
    assert (users.bins, users.numbers) == ((60,), (1,))
    assert users.mode == 10**6


def test_nobody_is_nothing_and_no_division() -> None:
    users = users_of(column([]), IN)
    assert (users.mean, users.median, users.mode, users.top10, users.top1, users.bins) == (0, 0, None, None, None, ())
    silent = users_of(column([0, 0]), IN)
    assert (silent.zero, silent.mode, silent.top10) == (2, None, None)


def test_a_tenth_is_rounded_and_not_cut_nor_raised() -> None:
    # 14 users: a tenth is 1.4, so one; 16: 1.6, so two.
    assert users_of(column([10] * 13 + [70]), IN).top10 == 70 / 200
    assert users_of(column([10] * 14 + [70, 40]), IN).top10 == 110 / 250
    assert users_of(column([10] * 49), IN).top1 is None  # 0.49 of a user


@pytest.mark.parametrize(
    ("histogram", "twentieths"),
    [
        ({60: 5}, 120),
        ({60: 5, 61: 3}, 120),  # moved by 3 / 7 of a step
        ({60: 5, 61: 4}, 121),  # by 4 / 6
        ({59: 3, 60: 5, 61: 1}, 120),  # by -2 / 6
        ({59: 4, 60: 5, 61: 1}, 119),  # by -3 / 5
        ({59: 4, 60: 5, 61: 4}, 120),
        ({60: 5, 61: 5}, 121),  # equals: the lowest, moved towards the other
        ({60: 5, 70: 5}, 120),
        ({-3: 2, 70: 1}, -6),
    ],
)
def test_the_mode_by_hand(histogram: dict[int, int], twentieths: int) -> None:
    assert mode_of(tuple(histogram), tuple(histogram.values())) == pytest.approx(10 ** (twentieths / 20), rel=1e-12)


@given(st.dictionaries(st.integers(40, 110), st.integers(1, 40), min_size=1, max_size=12))
@settings(deadline=None)
def test_the_mode_is_the_rules(histogram: dict[int, int]) -> None:
    # As the definition words it: the centre is shifted by 0.05 * (left - right) / (left - 2 top + right) decades.
    top = max(histogram.values())
    fullest = min(each for each, number in histogram.items() if number == top)
    left, right = histogram.get(fullest - 1, 0), histogram.get(fullest + 1, 0)
    shift = 0.05 * (left - right) / (left - 2 * top + right)
    exact = (0.1 * fullest + shift) / 0.05
    mode = mode_of(tuple(sorted(histogram)), tuple(histogram[each] for each in sorted(histogram)))
    assert mode is not None
    grid = 20 * math.log10(mode)
    assert grid == pytest.approx(round(grid), abs=1e-9)
    assert abs(grid - exact) <= 0.5 + 1e-9


def test_errors_by_hand() -> None:
    # 1.96 * sqrt(0.2 * 0.8 / 1600) = 1.96 * 0.01
    assert share_error(0.2, 1_600, 1_000) == pytest.approx(0.0196)
    assert share_error(0.2, 0, 1_000) is None
    assert share_error(0.2, 10, 1) == 0
    # 10,000 sampled packets of 600 octets each, 1 in 100: 1.96 * sqrt(1500 / 600 / 10,000) = 1.96 * 0.0158...
    assert volume_error(10_000 * 100 * 600, 10_000, 100) == pytest.approx(1.96 * math.sqrt(2.5e-4))
    assert volume_error(0, 0, 100) is None
    assert volume_error(5.0, 3, 1) == 0


def test_the_error_of_a_volume_bounds_what_sampling_does() -> None:
    # Packets of 40 or 1,500 octets, each seen with probability 1 in 50: of 400 estimates, about 95 % within the bound,
    # and not all of them within half of it.
    rng = np.random.default_rng(11)
    sizes = rng.choice([40, 1_500], 20_000)
    seen = rng.random((400, len(sizes))) < 1 / 50
    estimates = (seen * sizes).sum(axis=1) * 50
    error = volume_error(float(sizes.sum()), round(len(sizes) / 50), 50)
    assert error is not None
    off = np.abs(estimates / sizes.sum() - 1)
    assert (off <= error).mean() >= 0.94
    assert (off <= error / 2).mean() < 0.9
