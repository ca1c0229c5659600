"""Counters that no interface could carry: beyond twice what its speed allows over the flow's duration."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.domains import Source
from collector.decoder.filling import Columns, flag
from sinks.schema import Flag

Array = NDArray[Any]

_SLACK_MS = 1_000  # exporters tell times by the second, and a flow of one packet lasts no time at all
_TWICE = 2 / 8 / 1000  # octets a ms of twice a bit a second


Table = tuple[Array, Array]
"""Exporter's code << 32 | interface (uint64), ascending, and bits a second of each (float64)."""


def speed_table(sources: list[Source], labels: tuple[str, ...]) -> Table | None:
    """Speeds of the interfaces of a group's exporters; made once for all its segments.  None: no speed is known."""
    speeds = {source.domain.exporter.address: source.domain.exporter.speeds for source in sources}
    table = {
        code << 32 | interface: speed
        for code, address in enumerate(labels)
        for interface, speed in speeds.get(address, {}).items()
    }
    if not table:
        return None
    keys = np.array(sorted(table), "u8")
    return keys, np.array([table[int(key)] for key in keys], "f8")


def flag_beyond_speed(columns: Columns, table: Table | None) -> Array | None:
    """Flag rows IMPLAUSIBLE; which ones.  None: no speed of any interface is known.

    Octets are taken as exported: estimates of a sampled flow are far off by chance, and these are less than the truth,
    so that no flow is flagged that could have been.
    """
    if table is None:
        return None
    keys, values = table
    most = np.full(len(columns["octets"]), np.inf)
    for column in ("in_if", "out_if"):
        wanted = columns["exporter"].astype("u8") << np.uint64(32) | columns[column]
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        most = np.minimum(most, np.where(keys[found] == wanted, values[found], np.inf))
    lasted = (columns["ts"] - columns["ts_start"]).view("i8") + _SLACK_MS
    beyond: Array = (columns["octets"] > most * lasted * _TWICE) & (columns["flags"] & Flag.IMPLAUSIBLE.value == 0)
    if beyond.any():
        flag(columns, beyond, Flag.IMPLAUSIBLE.value)
    return beyond
