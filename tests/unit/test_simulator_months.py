"""Months of the simulated network against the ratios as the source report prints them."""

from itertools import pairwise

import pytest

from flowtide.simulator.months import ipoe_share, level


@pytest.mark.parametrize(
    ("service", "direction", "new", "old", "ratio"),
    [
        ("fixed", 1, "2024-06", "2023-06", 1.14), ("fixed", 1, "2023-06", "2022-06", 1.11),
        ("fixed", 1, "2024-06", "2019-06", 1.72), ("fixed", 2, "2024-06", "2023-06", 1.12),
        ("fixed", 2, "2023-06", "2022-06", 1.18), ("fixed", 2, "2024-06", "2019-06", 2.01),
        ("mobile", 1, "2024-06", "2023-06", 1.29), ("mobile", 1, "2023-06", "2022-06", 1.27),
        ("mobile", 2, "2024-06", "2023-06", 1.20), ("mobile", 2, "2023-06", "2022-06", 1.31),
        ("mobile", 2, "2024-06", "2020-01", 2.1),
    ],
)  # fmt: skip
def test_levels_have_the_published_ratios(service: str, direction: int, new: str, old: str, ratio: float) -> None:
    assert level(service, direction, new) / level(service, direction, old) == pytest.approx(ratio, rel=1e-12)


def test_between_two_published_months_a_month_changes_by_the_same_factor() -> None:
    months = [f"2023-{number:02d}" for number in range(6, 13)] + [f"2024-{number:02d}" for number in range(1, 7)]
    levels = [level("fixed", 1, month) for month in months]
    assert [new / old for old, new in pairwise(levels)] == pytest.approx([1.14 ** (1 / 12)] * 12)


@pytest.mark.parametrize(("direction", "month", "share"), [
    (1, "2024-06", 0.43), (2, "2024-06", 0.48), (1, "2023-06", 0.42), (2, "2023-06", 0.44), (2, "2016-06", 0.0),
    (2, "2010-01", 0.0), (1, "2023-12", 0.425),
])  # fmt: skip
def test_ipoes_part_goes_through_the_published_ones(direction: int, month: str, share: float) -> None:
    assert ipoe_share(direction, month) == pytest.approx(share)
