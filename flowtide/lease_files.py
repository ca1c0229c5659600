"""What lease sources say now, read beside a running enricher, and what differs between two states of a file."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_network
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows
from enricher.settings import RADIUS
from enricher.snapshots import restore
from enricher.sources import LeaseFileError, SourceStatus
from enricher.sources.parquet import read_lease_parquet
from enricher.sources.tables import read_leases
from enricher.subscribers import sub_id
from enricher.watch import lease_sources
from flowtide.settings import Settings
from sinks.subscribers import Held


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease as people read it; times are Unix milliseconds."""

    prefix: str
    ports: str  # as 1024-2047; empty: all
    since_ms: int
    until_ms: int  # HELD while it lasts
    subscriber: str
    service: str
    segment: str
    access: str
    group: str

    def __str__(self) -> str:
        until = "now" if self.until_ms == HELD else moment(self.until_ms)
        ports = f" ports {self.ports}" if self.ports else ""
        who = " ".join(part for part in (self.subscriber, self.service, self.segment, self.access, self.group) if part)
        return f"{self.prefix}{ports}  {moment(self.since_ms)} to {until}  {who}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two states: rows of the new one, and of the old one where the new has none."""

    added: NDArray[np.int64]  # rows of the new
    ended: NDArray[np.int64]  # rows of the new that were held and are not any more
    changed: NDArray[np.int64]  # rows of the new of which anything else differs
    gone: NDArray[np.int64]  # rows of the old


def moment(ms: int) -> str:
    """UTC, as lease files have it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_file(path: Path, max_bytes: int) -> LeaseRows:
    """CSV, or Parquet by its name; LeaseFileError."""
    return read_lease_parquet(path, max_bytes) if path.suffix == ".parquet" else read_leases(path, max_bytes)


def read_sources(settings: Settings) -> Iterator[tuple[SourceStatus, LeaseRows]]:
    """Each source of the settings and its leases; of RADIUS and topics those that the enricher saved last.

    Nothing is written: a running enricher does not notice.
    """
    now = time.time()
    names = set()
    for source in lease_sources(settings.enricher):
        rows = source.poll(now) or LeaseRows.empty()
        names.add(source.name)
        yield source.status(now), rows.with_priority(source.priority)
        source.close()
    priorities = {each.label: each.priority for each in settings.enricher.sources}
    for path in sorted((settings.data / "state" / "leases").glob("*.parquet")):
        name = path.stem
        if name in names:
            continue
        names.add(name)
        priority = priorities.get(name, settings.enricher.radius.priority if name == RADIUS else 0)
        try:
            rows = restore(path) or LeaseRows.empty()
            newest = int(rows.since.max()) if len(rows) else 0
            status = SourceStatus(name, "saved", priority, len(rows), path.stat().st_mtime, newest, False, None)
        except LeaseFileError as error:
            rows, status = LeaseRows.empty(), SourceStatus(name, "saved", priority, 0, 0.0, 0, False, str(error))
        yield status, rows.with_priority(priority)
    for each in settings.enricher.sources:
        if each.kind == "kafka" and each.label not in names:
            why = f"no enricher of this data directory has read the topic {each.path} yet"
            yield SourceStatus(each.label, "saved", each.priority, 0, 0.0, 0, False, why), LeaseRows.empty()


def users_called(subscriber: str, key: bytes) -> dict[tuple[str, str, str], int]:
    """Ids of all users that a name may mean: its accesses, and the mobile line."""
    users = [("fixed", subscriber, access) for access in ACCESSES] + [("mobile", subscriber, "mobile")]
    return {user: sub_id(key, *user) for user in users}


def rows_of(rows: LeaseRows, subscriber: str) -> NDArray[np.int64]:
    """Rows of a subscriber, the oldest first."""
    codes = [at for at, name in enumerate(rows.subscribers) if name == subscriber]
    found = np.flatnonzero(np.isin(rows.subscriber, codes))
    ordered: NDArray[np.int64] = found[np.argsort(rows.since[found], kind="stable")]
    return ordered


def lease(rows: LeaseRows, at: int) -> Lease:
    """One row."""
    first, bits = int(rows.high[at]) << 64 | int(rows.low[at]), int(rows.bits[at])
    address = IPv6Address(first)
    plain = (address.ipv4_mapped, bits - 96) if address.ipv4_mapped is not None and bits >= 96 else (address, bits)
    ports = (int(rows.port_from[at]), int(rows.port_to[at]))
    return Lease(
        str(ip_network(plain)), "" if ports == (0, 65_535) else f"{ports[0]}-{ports[1]}", int(rows.since[at]),
        int(rows.until[at]), rows.subscribers[int(rows.subscriber[at])], SERVICES[int(rows.service[at])],
        SEGMENTS[int(rows.segment[at])], ACCESSES[int(rows.access[at])], rows.groups[int(rows.group[at])],
    )  # fmt: skip


def held(rows: LeaseRows, chosen: Sequence[int], now_ms: int) -> list[Held]:
    """What these rows hold, until ``now_ms`` at most."""
    found = []
    for at in chosen:
        first, size = int(rows.high[at]) << 64 | int(rows.low[at]), 1 << (128 - int(rows.bits[at]))
        ends = [IPv6Address(each) for each in (first, first + size - 1)]
        texts = ["::ffff:" + str(each.ipv4_mapped) if each.ipv4_mapped else str(each) for each in ends]
        found.append(Held(texts[0], texts[1], int(rows.since[at]), min(int(rows.until[at]), now_ms)))
    return found


def difference(old: LeaseRows, new: LeaseRows) -> Difference:
    """Leases are the same by prefix, ports and begin; of equal ones the later row counts."""
    both = LeaseRows.concat([old, new]) if len(old) and len(new) else (new if len(new) else old)
    count = len(both)
    is_new = np.arange(count) >= len(old)
    columns = (both.high, both.low, both.bits, both.port_from, both.port_to, both.since)
    key = np.stack([column.astype("u8") for column in columns])
    order = np.lexsort((is_new, *key))  # stable: within one state in its order
    last = np.ones(count, bool)  # the last row of a lease in its state
    same_key = (key[:, order[1:]] == key[:, order[:-1]]).all(0)
    last[:-1] = ~(same_key & (is_new[order[1:]] == is_new[order[:-1]]))
    order = order[last]
    pair = (key[:, order[1:]] == key[:, order[:-1]]).all(0)  # the old row and behind it the new one
    before, after = order[:-1][pair], order[1:][pair]
    single = np.ones(len(order), bool)
    single[:-1] &= ~pair
    single[1:] &= ~pair
    alone = order[single]
    differs = np.zeros(len(before), bool)
    for column in (both.subscriber, both.service, both.segment, both.access, both.group):
        differs |= column[before] != column[after]
    moved = both.until[before] != both.until[after]
    has_ended = ~differs & moved & (both.until[before] == HELD)
    rows = len(old)
    return Difference(
        np.sort(alone[is_new[alone]]) - rows, np.sort(after[has_ended]) - rows,
        np.sort(after[differs | (moved & ~has_ended)]) - rows, np.sort(alone[~is_new[alone]]),
    )  # fmt: skip
