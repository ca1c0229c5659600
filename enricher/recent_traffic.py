"""A sample of recent flows: what new leases would say of them.

A file of the wrong region or of last month can be as long as the right one; it does not match the traffic.  And a
session of which we hear late would have changed whose octets those were that are enriched already.
"""

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from enricher.leases import LeaseRows, LeaseTable
from enricher.prefixes import I8, U8

_MOST_FLOWS = 65_536  # 2 MB; enough that a hundredth of the octets is seen
_FLOWS_A_BATCH = 1_024  # a sample spans a minute or so of a busy network, and not one batch
_LEAST_FLOWS = 100  # fewer that are matched say nothing

_FLOW = np.dtype([("address", "V16"), ("time", "M8[ms]"), ("port", "u2"), ("octets", "f8")])


class RecentTraffic:
    """``note`` is for the thread that enriches, the rest for the one that reads leases."""

    def __init__(self, most: int = _MOST_FLOWS) -> None:
        """``most`` flow ends are remembered; the oldest go first."""
        self._flows = np.zeros(most, _FLOW)
        self._noted = 0
        self._lock = threading.Lock()

    def note(
        self, addresses: NDArray[np.void], times: NDArray[np.datetime64], ports: NDArray[np.uint16],
        octets: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """One end of some flows: V16 addresses, M8[ms] times, ports and estimated octets; some of them are kept.

        Each that is kept stands for those that are not.
        """
        step = max(1, -(-len(addresses) // _FLOWS_A_BATCH))
        rows = slice((self._noted // _FLOWS_A_BATCH) % step, None, step)
        kept = np.zeros(len(addresses[rows]), _FLOW)
        for name, values in (("address", addresses), ("time", times), ("port", ports), ("octets", octets)):
            kept[name] = values[rows]
        kept["octets"] *= step
        kept = kept[-len(self._flows) :]
        with self._lock:
            at = (self._noted + np.arange(len(kept))) % len(self._flows)
            self._flows[at] = kept
            self._noted += len(kept)

    def share(self, new: LeaseRows, live: LeaseRows) -> float | None:
        """A ``snapshots.Coverage``: of the octets that the live leases match, those that the new ones match too."""
        flows = self._sample()
        flows = flows[_matched(live, flows)]
        if len(flows) < _LEAST_FLOWS:
            return None
        every = float(flows["octets"].sum())
        return float(flows["octets"][_matched(new, flows)].sum()) / every if every else None

    def moved(self, old: LeaseTable, new: LeaseTable) -> int:
        """Octets, by the sample, that the old table gave to another subscriber or to nobody."""
        flows = self._sample()
        before, after = (_holders(table, flows) for table in (old, new))
        return int(flows["octets"][before != after].sum())

    def _sample(self) -> NDArray[np.void]:
        with self._lock:
            return self._flows[: min(self._noted, len(self._flows))].copy()


def _matched(rows: LeaseRows, flows: NDArray[np.void]) -> NDArray[np.bool_]:
    # Whose they are does not matter, and a name each would take most of the time.
    nobody = np.zeros(len(rows), "u4")
    table = LeaseTable.of(replace(rows, subscriber=nobody, subscribers=("",)), b"")
    matched: NDArray[np.bool_] = _lookup(table, flows) >= 0
    return matched


def _holders(table: LeaseTable, flows: NDArray[np.void]) -> U8:
    return table.holders(_lookup(table, flows))[0]


def _lookup(table: LeaseTable, flows: NDArray[np.void]) -> I8:
    addresses, times, ports = (np.ascontiguousarray(flows[name]) for name in ("address", "time", "port"))
    return table.lookup(addresses, times, ports)
