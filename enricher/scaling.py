"""Sampled counters -> estimates."""

import numpy as np
from numpy.typing import NDArray

from sinks.batch import Batch
from sinks.schema import COUNTER_LIMIT, Flag, SamplingSource


def estimate(
    counter: NDArray[np.int64], interval: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Counter times interval, clamped at COUNTER_LIMIT, and where it was clamped; None: nowhere.

    Counters are 0 or more, intervals 1 or more.
    """
    if not len(counter) or int(counter.max()) * int(interval.max()) <= COUNTER_LIMIT:
        return counter * interval.astype("i8"), None
    # 2^53 x 2^32 has no room in 64 bits: a float tells what is far beyond, integers decide what is near.
    far = counter.astype("f8") * interval > COUNTER_LIMIT
    product = np.where(far, COUNTER_LIMIT + 1, counter * np.where(far, 0, interval).astype("i8"))
    return np.minimum(product, COUNTER_LIMIT), product > COUNTER_LIMIT


def scale(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """``octets_est``, ``packets_est`` and the ``flags`` of a raw batch.

    An interval that is unknown or 0 scales nothing: the estimate is the sampled value, flagged SAMPLING_UNKNOWN, so
    that shares and rules leave it out.  A clamped estimate is flagged IMPLAUSIBLE.
    """
    interval, flags = batch.columns["sampling"], batch.columns["flags"]
    unknown = (interval == 0) | (batch.columns["sampling_source"] == SamplingSource.UNKNOWN)
    if unknown.any():
        interval = np.where(unknown, np.uint32(1), interval)
        flags = flags | unknown * np.uint32(Flag.SAMPLING_UNKNOWN)
    octets, far_octets = estimate(batch.columns["octets"], interval)
    packets, far_packets = estimate(batch.columns["packets"], interval)
    for far in (far_octets, far_packets):
        if far is not None:
            flags = flags | far * np.uint32(Flag.IMPLAUSIBLE)
    return octets, packets, flags
