"""Groups against a dictionary, whatever the keys' ranges."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks import grouping
from sinks.batch import constant
from sinks.grouping import Array, Groups

KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "small": lambda chance, rows: chance.integers(0, 3, rows).astype("u1"),
    "signed": lambda chance, rows: chance.integers(-5, 5, rows),
    "large": lambda chance, rows: chance.integers(0, 2**64, rows, "u8", endpoint=False)[chance.integers(0, rows, rows)],
    "ends": lambda chance, rows: chance.choice(np.array([0, 1, 2**64 - 1], "u8"), rows),
    "true": lambda chance, rows: chance.random(rows) < 0.5,
    "one": lambda _, rows: constant(7, "u4", rows),
    "equal": lambda _, rows: np.full(rows, 9, "u8"),
}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(KINDS)), max_size=4), st.integers(1, 200), st.integers(0, 9))
def test_groups_are_those_of_a_dictionary(kinds: list[str], rows: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    keys = [KINDS[kind](chance, rows) for kind in kinds]
    values, bits = chance.integers(-(2**40), 2**53, rows), chance.integers(0, 2**16, rows).astype("u2")
    wanted: dict[tuple[int, ...], list[int]] = {}
    for row in range(rows):
        wanted.setdefault(tuple(int(key[row]) for key in keys), []).append(row)
    groups = Groups(keys, rows)
    columns = [groups.one(key).tolist() for key in keys]
    found = [tuple(int(column[at]) for column in columns) for at in range(len(groups))]
    assert sorted(found) == sorted(wanted)
    assert groups.sum(values).tolist() == [sum(values[wanted[key]].tolist()) for key in found]
    assert groups.sum(constant(3, "i8", rows)).tolist() == [3 * len(wanted[key]) for key in found]
    assert groups.least(values).tolist() == [min(values[wanted[key]].tolist()) for key in found]
    assert groups.most(values).tolist() == [max(values[wanted[key]].tolist()) for key in found]
    assert groups.either(bits).tolist() == [int(np.bitwise_or.reduce(bits[wanted[key]])) for key in found]


def test_nothing_has_no_groups() -> None:
    groups = Groups([np.zeros(0, "u4")], 0)
    assert len(groups) == 0 and groups.sum(np.zeros(0, "i8")).tolist() == []


def test_keys_that_fall_together_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_MIX", np.uint64(0))  # every key has the hash 0
    keys = [np.array([2**63, 5, 2**63, 5], "u8"), np.array([2**60, 1, 2**60, 2], "u8")]
    groups = Groups(keys, 4)
    found = sorted(zip(groups.one(keys[0]).tolist(), groups.sum(np.arange(4)).tolist(), strict=True))
    assert found == [(5, 1), (5, 3), (2**63, 2)]
