"""Sampled counters -> estimates."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.batch import Batch, is_constant
from sinks.schema import COUNTER_LIMIT, Flag, SamplingSource


def estimate(
    counter: NDArray[np.int64], interval: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Counter times interval, clamped at COUNTER_LIMIT, and where it was clamped; None: nowhere.

    Counters are 0 or more, intervals 1 or more.
    """
    if not len(counter):
        return counter, None
    if is_constant(interval):
        interval = interval[:1]
    most = int(interval.max())
    if int(counter.max()) * most <= COUNTER_LIMIT:
        return counter if most == 1 else counter * interval.astype("i8"), None
    # 2^53 x 2^32 has no room in 64 bits: a float tells what is far beyond, integers decide what is near.
    far = counter.astype("f8") * interval > COUNTER_LIMIT
    product = np.where(far, COUNTER_LIMIT + 1, counter * np.where(far, 0, interval).astype("i8"))
    return np.minimum(product, COUNTER_LIMIT), product > COUNTER_LIMIT


def scale(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """``octets_est``, ``packets_est`` and the ``flags`` of a raw batch; arrays may be those of the batch.

    An interval that is unknown or 0 scales nothing: the estimate is the sampled value, flagged SAMPLING_UNKNOWN, so
    that shares and rules leave it out.  A clamped estimate is flagged IMPLAUSIBLE.
    """
    interval, source = batch.columns["sampling"], batch.columns["sampling_source"]
    flags = batch.columns["flags"]
    if is_constant(interval) and is_constant(source):  # one row tells it of all
        unknown = _spread((interval[:1] == 0) | (source[:1] == SamplingSource.UNKNOWN), len(batch))
    else:
        unknown = (interval == 0) | (source == SamplingSource.UNKNOWN)
    if unknown.any():
        interval = (
            _spread(np.ones(1, "u4"), len(batch)) if is_constant(unknown) else np.where(unknown, np.uint32(1), interval)
        )
        flags = marked(flags, unknown, Flag.SAMPLING_UNKNOWN)
    octets, far_octets = estimate(batch.columns["octets"], interval)
    packets, far_packets = estimate(batch.columns["packets"], interval)
    for far in (far_octets, far_packets):
        if far is not None:
            flags = marked(flags, far, Flag.IMPLAUSIBLE)
    return octets, packets, flags


def marked(flags: NDArray[np.uint32], where: NDArray[np.bool_], flag: Flag) -> NDArray[np.uint32]:
    """With a flag where it is so; constant if both are."""
    if is_constant(flags) and is_constant(where):
        return _spread(flags[:1] | where[:1] * np.uint32(flag), len(flags))
    both: NDArray[np.uint32] = flags | where * np.uint32(flag)
    return both


def _spread(one: NDArray[Any], rows: int) -> NDArray[Any]:
    """A column of the one value; none, of none."""
    return np.broadcast_to(one, rows) if rows else one[:0]
