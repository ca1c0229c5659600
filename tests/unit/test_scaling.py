import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.scaling import estimate, scale
from sinks.batch import Batch
from sinks.schema import COUNTER_LIMIT, RAW, Flag, SamplingSource


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, COUNTER_LIMIT), st.integers(1, 2**32 - 1)), max_size=20))
def test_estimates_are_exact_up_to_the_limit(rows: list[tuple[int, int]]) -> None:
    counter, interval = np.array([row[0] for row in rows], "i8"), np.array([row[1] for row in rows], "u4")
    product, clamped = estimate(counter, interval)
    assert product.tolist() == [min(count * times, COUNTER_LIMIT) for count, times in rows]
    expected = [count * times > COUNTER_LIMIT for count, times in rows]
    assert (clamped.tolist() if clamped is not None else [False] * len(rows)) == expected


def test_one_octet_above_the_limit_is_flagged_although_a_float_would_round_it_away() -> None:
    at_limit, above = COUNTER_LIMIT // 2, COUNTER_LIMIT + 1  # 2^53 + 1 = 3 x 3002399751580331
    product, clamped = estimate(np.array([at_limit, above // 3]), np.array([2, 3], "u4"))
    assert product.tolist() == [COUNTER_LIMIT, COUNTER_LIMIT]
    assert clamped is not None
    assert clamped.tolist() == [False, True]


def test_an_unknown_interval_scales_nothing_and_is_flagged() -> None:
    batch = Batch.empty(RAW, 4)
    batch.columns["octets"][:], batch.columns["packets"][:] = 1_000, 10
    batch.columns["sampling"][:] = [100, 0, 100, 1]
    batch.columns["sampling_source"][:] = [
        SamplingSource.RECORD, SamplingSource.RECORD, SamplingSource.UNKNOWN, SamplingSource.ASSUMED,
    ]  # fmt: skip
    batch.columns["flags"][:] = Flag.HELD
    octets, packets, flags = scale(batch)
    assert octets.tolist() == [100_000, 1_000, 1_000, 1_000]
    assert packets.tolist() == [1_000, 10, 10, 10]
    unknown = Flag.HELD | Flag.SAMPLING_UNKNOWN
    assert flags.tolist() == [Flag.HELD, unknown, unknown, Flag.HELD]
    assert batch.columns["flags"].tolist() == [Flag.HELD] * 4  # the raw batch is not written to


def test_a_clamped_counter_is_implausible() -> None:
    batch = Batch.empty(RAW, 2)
    batch.columns["octets"][:] = [COUNTER_LIMIT, 1]
    batch.columns["sampling"][:], batch.columns["sampling_source"][:] = 4_294_967_295, SamplingSource.RECORD
    octets, _, flags = scale(batch)
    assert octets.tolist() == [COUNTER_LIMIT, 4_294_967_295]
    assert flags.tolist() == [Flag.IMPLAUSIBLE, 0]
