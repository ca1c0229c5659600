"""What was really sent, and what of it an exporter never saw: the numbers that a collector's are held against.

Five tables, by the flow's end as exported; times are UTC, days and hours begin by the scenario's zone:

``subscriber_1d``  day, user, subscriber (as leases name it), service, segment, access, direction
``bucket_5m``      time, exporter, service, segment, access, ip_version, direction, bucket
``port_1h``        time, exporter, service, segment, access, ip_version, direction, proto, lower_port
``exporter_1m``    time, exporter, domain, and ``without_template``: flows that no template was sent for
``unseen_1m``      time, exporter, reason (not_sampled, not_ipv4, silent)

Each with flows, packets, octets as exported; packets_est, octets_est: times the true sampling interval; true_packets,
true_octets: before sampling, of unseen flows too, null where only sampled flows were drawn (law "rate");
packets_variance, octets_variance: of the estimate around the true value, by sampling alone.  Octets are of IP; sFlow
tells the length of frames, 18 octets a packet more, and its flows are samples.

A flow between two users has a row of each (direction 1 and 2) in all tables but the exporters'.  A duplicate, and a
flow without a template, is in ``exporter_1m`` alone.  Direction 0 and no service: neither end is a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from flowtide.simulator.clock import LocalTime
from flowtide.simulator.kinds import KINDS
from flowtide.simulator.population import ACCESSES, SEGMENTS, SERVICES, Population
from flowtide.simulator.sums import Sums

SENT, NOT_SAMPLED, NOT_IPV4, SILENT = range(4)
"""What became of a flow; all but the first leave it unseen."""
REASONS = ("sent", "not_sampled", "not_ipv4", "silent")
COUNTERS = ("flows", "packets", "octets", "packets_est", "octets_est", "true_packets", "true_octets")
_UNKNOWN, _BARE = len(COUNTERS), len(COUNTERS) + 1  # flows whose true values nobody knows; without a template
_BUCKETS = tuple(dict.fromkeys(kind.bucket for kind in KINDS))
_BUCKET_OF = np.array([_BUCKETS.index(kind.bucket) for kind in KINDS])
_WHOS = (*product(SERVICES, SEGMENTS, ACCESSES), ("", "", ""))
_MINUTE_MS = 60_000
_ROWS_AT_ONCE = 20_000
_TABLES = {
    "subscriber_1d": (("day", 20), ("user", 32), ("direction", 2)),
    "bucket_5m": (("time", 25), ("exporter", 7), ("who", 4), ("is_v6", 1), ("direction", 2), ("bucket", 5)),
    "port_1h": (("time", 24), ("exporter", 7), ("who", 4), ("is_v6", 1), ("direction", 2), ("proto", 8), ("port", 16)),
    "exporter_1m": (("time", 27), ("exporter", 7), ("domain", 16)),
    "unseen_1m": (("time", 27), ("exporter", 7), ("reason", 2)),
}  # fmt: skip
_UNITS_MS = {
    "bucket_5m": 5 * _MINUTE_MS,
    "port_1h": 15 * _MINUTE_MS,
    "exporter_1m": _MINUTE_MS,
    "unseen_1m": _MINUTE_MS,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """Totals as exported; times ``sampling`` they are estimates."""

    exporter: str
    bucket: str
    sampling: int
    flows: int
    packets: int
    octets: int


class Truth:
    """Adds up; memory grows with the rows of the tables and not with the flows."""

    def __init__(self, population: Population, exporters: Sequence[str], domains: Sequence[int], zone: str) -> None:
        """``exporters``: all sources there will be; ``domains``: all numbers of observation domains."""
        self._people, self._exporters, self._domains = population, tuple(exporters), tuple(domains)
        self._local = LocalTime(zone)
        who = (population.service * len(SEGMENTS) + population.segment).astype("i8") * len(ACCESSES) + population.access
        self._who = np.append(who, len(_WHOS) - 1)  # [-1]: nobody
        self._sums = {name: Sums([bits for _, bits in key], len(COUNTERS) + 2, 2) for name, key in _TABLES.items()}
        self._sent = Sums([7, 15, 5], 3, 0)
        self._waiting: list[tuple[NDArray[np.void], int, bool, bool]] = []
        self._rows = 0

    def add(
        self, flows: NDArray[np.void], exporter: int, *, duplicate: bool = False, without_template: bool = False
    ) -> None:
        """Rows of dtype ``exporters.EXPORTED``, with times as exported."""
        if len(flows):
            self._waiting.append((flows, exporter, duplicate, without_template))
            self._rows += len(flows)
        if self._rows > _ROWS_AT_ONCE:
            self._count()

    def _count(self) -> None:
        """All that waits; few rows at a time would take longer to count than to make."""
        if not self._waiting:
            return
        flows = np.concatenate([rows for rows, *_ in self._waiting])
        lengths = [len(rows) for rows, *_ in self._waiting]
        at, twice, bare = (np.repeat([each[part] for each in self._waiting], lengths) for part in (1, 2, 3))
        self._waiting, self._rows = [], 0
        seen = flows["fate"] == SENT
        values, variances = _values(flows)
        values[:, _BARE] = seen & bare
        minute = flows["end_ms"] // _MINUTE_MS
        domain = np.searchsorted(self._domains, flows["domain"])
        self._sums["exporter_1m"].add((minute, at, domain), values, variances)
        bucket = _BUCKET_OF[flows["kind"][seen]]
        self._sent.add((at[seen], flows["interval"][seen], bucket), values[seen][:, :3])
        unseen = ~seen & ~twice
        lost = values[unseen].copy()
        lost[:, 0] = 1  # of these the flows are those that were not seen
        self._sums["unseen_1m"].add((minute[unseen], at[unseen], flows["fate"][unseen]), lost, variances[unseen])
        once = ~twice & ~bare
        self._count_people(flows[once], at[once], values[once], variances[once])

    def truth(self) -> list[Sent]:
        """Totals of what was sent by exporter, sampling interval and bucket, in this order."""
        self._count()
        (exporter, interval, bucket), counted, _ = self._sent.rows()
        order = np.lexsort((bucket, interval, exporter))
        return [
            Sent(self._exporters[exporter[at]], _BUCKETS[bucket[at]], int(interval[at]), *map(int, counted[at]))
            for at in order
        ]

    def table(self, name: str) -> Any:
        """A ``pyarrow.Table`` of this name, in order of its key."""
        self._count()
        key, values, variances = self._sums[name].rows()
        columns: dict[str, Any] = {}
        for (field, _), codes in zip(_TABLES[name], key, strict=True):
            columns |= self._named(name, field, codes)
        known = values[:, _UNKNOWN] == 0
        for at, counter in enumerate(COUNTERS):
            mask = None if not counter.startswith("true_") else ~known
            columns[counter] = pa.array(values[:, at], mask=mask)
        columns["packets_variance"], columns["octets_variance"] = variances[:, 0], variances[:, 1]
        if name == "exporter_1m":
            columns["without_template"] = values[:, _BARE]
        return pa.table(columns)

    def write(self, folder: Path) -> None:
        """One Parquet file a table."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            pa.parquet.write_table(self.table(name), folder / f"{name}.parquet")

    def _count_people(
        self, flows: NDArray[np.void], at: NDArray[np.int64], values: NDArray[np.int64], variances: NDArray[np.float64]
    ) -> None:
        """A flow that has a user at its other end, too, counts for both."""
        both = np.flatnonzero(flows["peer"] >= 0)
        rows = np.concatenate([np.arange(len(flows)), both])
        user = np.concatenate([flows["user"], flows["peer"][both]])
        direction = np.concatenate([flows["direction"], 3 - flows["direction"][both]])
        flows, at, values, variances = flows[rows], at[rows], values[rows], variances[rows]
        end, who, is_v6 = flows["end_ms"], self._who[user], flows["is_v6"]
        time = end // _UNITS_MS["bucket_5m"]
        self._sums["bucket_5m"].add((time, at, who, is_v6, direction, _BUCKET_OF[flows["kind"]]), values, variances)
        time = self._local.hour_ms(end) // _UNITS_MS["port_1h"]
        has_ports = (flows["proto"] == 6) | (flows["proto"] == 17)
        port = np.where(has_ports, np.minimum(flows["src_port"], flows["dst_port"]), 0)
        self._sums["port_1h"].add((time, at, who, is_v6, direction, flows["proto"], port), values, variances)
        mine = user >= 0
        key = (self._local.day(end[mine]), user[mine], direction[mine])
        self._sums["subscriber_1d"].add(key, values[mine], variances[mine])

    def _named(self, table: str, field: str, codes: NDArray[np.int64]) -> dict[str, Any]:
        people = self._people
        if field == "day":
            return {"day": pa.array(codes.astype("i4"), pa.date32())}
        if field == "time":
            return {"time": pa.array(codes * _UNITS_MS[table], pa.timestamp("ms", "UTC"))}
        if field == "user":
            who = {"user": _chosen(people.name, codes), "subscriber": _chosen(people.subscriber, codes)}
            return who | self._named(table, "who", self._who[codes])
        if field == "who":
            labels = ("service", "segment", "access")
            return {label: _chosen([who[at] for who in _WHOS], codes) for at, label in enumerate(labels)}
        names: dict[str, Sequence[str]] = {"exporter": self._exporters, "bucket": _BUCKETS, "reason": REASONS}
        if field in names:
            return {field: _chosen(names[field], codes)}
        if field == "is_v6":
            return {"ip_version": np.where(codes, 6, 4).astype("u1")}
        if field == "domain":
            return {field: np.array(self._domains, "u4")[codes]}
        return {"lower_port" if field == "port" else field: codes.astype("u2")}


def _values(flows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counters of each flow, and the variances of its estimates."""
    seen, known = flows["fate"] == SENT, flows["true_packets"] >= 0
    interval = flows["interval"]
    values = np.zeros((len(flows), len(COUNTERS) + 2), "i8")
    packets, octets = flows["packets"] * seen, flows["octets"] * seen
    values[:, 0], values[:, 1], values[:, 2] = seen, packets, octets
    values[:, 3], values[:, 4] = packets * interval, octets * interval
    values[:, 5], values[:, 6] = flows["true_packets"] * known, flows["true_octets"] * known
    values[:, _UNKNOWN] = ~known
    # N taken of packets P, each with chance 1/N and of size s: the estimate's variance is (N - 1) P s^2.  Where only
    # the sampled ones are known, as many times N of them stand for P.
    count = np.where(known, flows["true_packets"], packets * interval).astype("f8")
    size = np.where(known, flows["true_octets"], octets * interval) / np.maximum(count, 1)
    sampled = np.isin(flows["fate"], (SENT, NOT_SAMPLED))
    variance = (interval - 1.0) * count * sampled
    return values, np.column_stack([variance, variance * size**2])


def _chosen(labels: Sequence[str], codes: NDArray[np.int64]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(labels, pa.string()))
