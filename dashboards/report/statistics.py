"""The report's statistics, exactly as they are defined: mean, median, mode, shares of the heaviest, errors.

Pure: arrays in, values out.  A user's volume is octets of the whole window; what is told of it is octets a day.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dashboards.report.model import Users

LARGEST_PACKET = 1_500
"""Octets; the bound of a packet's size in the error of a volume."""
_Z = 1.96  # of the 95 % interval


def users_of(
    octets: NDArray[np.int64],
    direction: int,
    *,
    seen: int = 0,
    days: int = 7,
    packets: int = 0,
    sampled_octets: int = 0,
) -> Users:
    """Of the octets that each user with a record has in a window of so many days; of nobody, zeros.

    ``seen`` users had a lease or a record; 0: leases are not known.  Who had a lease only counts with 0 octets.
    """
    count = max(len(octets), seen)
    total = int(octets.sum())
    ascending = np.sort(octets)
    bins, numbers = histogram(octets / days)
    return Users(
        direction=direction,
        seen=seen,
        users=len(octets),
        zero=count - int(np.count_nonzero(octets)),
        octets=total,
        mean=total / (days * count) if count else 0.0,
        median=_median(ascending, count) / days,
        mode=mode_of(bins, numbers),
        top10=_top(ascending, round(0.1 * count), total),
        top1=_top(ascending, round(0.01 * count), total),
        bins=bins,
        numbers=numbers,
        packets=packets,
        sampled_octets=sampled_octets,
    )


def histogram(values: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tenths of a decade, centred on their multiples, and how many values lie in each; zeros are in none."""
    tenths = np.rint(10 * np.log10(values[values > 0])).astype("i8")
    bins, numbers = np.unique(tenths, return_counts=True)
    return tuple(bins.tolist()), tuple(numbers.tolist())


def mode_of(bins: tuple[int, ...], numbers: tuple[int, ...]) -> float | None:
    """The most frequent value, on the grid of twentieths of a decade; None of nothing.

    The fullest bin (the lowest of equals) is moved by the parabola through it and its neighbours, and snapped.
    """
    if not bins:
        return None
    number = dict(zip(bins, numbers, strict=True))
    fullest = min(bins, key=lambda each: (-number[each], each))
    top, below, above = number[fullest], number.get(fullest - 1, 0), number.get(fullest + 1, 0)
    # The parabola moves the centre by (above - below) / (2 top - below - above) twentieths: snapped, by one of them
    # where that is more than half.  In whole numbers, as mode_of in SQL (sinks/ddl/0010_views.sql) has it.
    step = 0
    if 2 * abs(above - below) > 2 * top - below - above:
        step = 1 if above > below else -1
    return math.pow(10, (2 * fullest + step) / 20)


def share_error(share: float, packets: int, sampling: float) -> float | None:
    """Half the width of the 95 % interval of a share that comes from so many sampled packets; None: of none."""
    if sampling <= 1:
        return 0.0
    return _Z * math.sqrt(share * (1 - share) / packets) if packets else None


def volume_error(octets: float, packets: int, sampling: float) -> float | None:
    """The same of a total or a mean, as a share of it: an upper bound, for packets of at most LARGEST_PACKET octets.

    ``octets`` are estimated, ``packets`` the sampled ones behind them.  None: there are none.
    """
    if sampling <= 1:
        return 0.0
    if not packets or octets <= 0:
        return None
    # The variance of an estimate is at most sampling times the sum of the packets' squared sizes, and that sum at most
    # the octets times the largest size.
    mean_size = octets / (packets * sampling)
    return _Z * math.sqrt(LARGEST_PACKET / mean_size / packets)


def _median(ascending: NDArray[np.int64], count: int) -> float:
    """Of ``count`` users, of whom those beyond ``ascending`` have nothing."""
    if not count:
        return 0.0
    silent = count - len(ascending)
    low, high = ((int(ascending[at - silent]) if at >= silent else 0) for at in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def _top(ascending: NDArray[np.int64], heaviest: int, total: int) -> float | None:
    if not heaviest or not total:
        return None
    return int(ascending[-heaviest:].sum()) / total
