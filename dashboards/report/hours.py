"""Octets by hour of a week: of flows as they are, of accounting laid over the hours of its days."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dashboards.report.model import BucketHours, Segment, Source, Volume, Week

Hours = NDArray[np.int64]
"""Octets, one number an hour of the week."""
Key = tuple[str, str, int]
"""Segment, access and direction."""
_SHAPE = "pppoe"
"""Its hours stand for those of an access that has none of its own."""


def volumes(
    week: Week, flows: Mapping[Key, Hours], accounted: Mapping[Key, Mapping[date, int]], source: Callable[[str], Source]
) -> tuple[Volume, ...]:
    """Of each segment, access and direction, from the source that counts for the access; the days' sums stay exact."""
    found = [
        Volume(cast(Segment, segment), access, direction, "netflow", octets)
        for (segment, access, direction), octets in flows.items()
        if source(access) == "netflow"
    ]
    told = np.sum([octets > 0 for octets in flows.values()], axis=0, dtype="i8") > 0
    for (segment, access, direction), days in accounted.items():
        if source(access) == "accounting":
            octets, profile = _laid(week, days, _shapes(flows, access, direction, source), told)
            found.append(Volume(cast(Segment, segment), access, direction, "accounting", octets, profile))
    return tuple(sorted(found, key=lambda one: (one.segment, one.access, one.direction)))


def bucket_hours(flows: Mapping[tuple[int, str], Hours], access: str) -> tuple[BucketHours, ...]:
    """Of each IP version and bucket of one access."""
    return tuple(BucketHours(access, version, bucket, octets) for (version, bucket), octets in sorted(flows.items()))


def _shapes(
    flows: Mapping[Key, Hours], access: str, direction: int, source: Callable[[str], Source]
) -> list[tuple[str, Hours]]:
    """Hours over which days may be laid, the best first."""

    def of(which: str) -> Hours | None:
        found = [octets for (_, name, way), octets in flows.items() if (name, way) == (which, direction)]
        return np.sum(found, axis=0, dtype="i8") if found else None

    wanted = [("own flows", of(access)), (_SHAPE, of(_SHAPE) if source(_SHAPE) == "netflow" else None)]
    return [(name, hours) for name, hours in wanted if hours is not None]


def _laid(
    week: Week, days: Mapping[date, int], shapes: list[tuple[str, Hours]], told: NDArray[np.bool_]
) -> tuple[Hours, str]:
    """The days' octets over their hours, and over whose; also over an hour of which no flow is told."""
    octets = np.zeros(len(week.hours), "i8")
    used = []
    for number, day in enumerate(week.days):
        if not days.get(day):
            continue
        at = np.flatnonzero(week.hour_days == number)
        # Flat where no flow of that day says more.
        flat = ("flat", np.ones(len(week.hours), "i8"))
        name, shape = next((one for one in shapes if one[1][at].any()), flat)
        octets[at] = parted(days[day], shape[at] if name == "flat" else _without_gaps(week, shape, told)[at])
        used.append(name)
    return octets, " and ".join(dict.fromkeys(used))


def _without_gaps(week: Week, shape: Hours, told: NDArray[np.bool_]) -> Hours:
    """Hours of which nothing is told as the mean of that hour on the other days."""
    place = (week.hours - week.hours[np.searchsorted(week.hour_days, week.hour_days)]) // 3_600  # within the local day
    filled = shape.copy()
    for at in np.flatnonzero(~told):
        same = shape[(place == place[at]) & told]
        if len(same):
            filled[at] = same.sum() // len(same)
    return filled


def parted(whole: int, weights: Hours) -> Hours:
    """Whole numbers in the proportions of the weights that add up to ``whole``, exactly."""
    # In Python's integers: the product of a large network's day and its hours is beyond 64 bits.
    until = np.cumsum(weights).tolist()
    edges = [whole * each // until[-1] for each in until]
    return np.diff(np.array(edges, "i8"), prepend=0)
