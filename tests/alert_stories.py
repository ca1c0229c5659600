"""Five weeks of rows for tests of the alert rules, and what the store says of them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.alerts.ranges import at
from dashboards.alerts.rules import BY_UID
from sinks.embedded import EmbeddedStore
from tests.alert_reference import Judged, Row, Site, days_before

ZONE = "Europe/Berlin"
_numbers = itertools.count()


def unix(year: int, month: int, day: int, hour: int, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


NOW = unix(2026, 9, 23, 13, 2) + 17
"""Wednesday afternoon; the bucket that ended at 13:00 has just closed."""


def put(store: EmbeddedStore, rows: Sequence[Row]) -> None:
    ordered = sorted(rows)
    texts = {name: [getattr(row, name) for row in ordered] for name in ("exporter", "service", "bucket", "access")}
    counts = {name: [getattr(row, name) for row in ordered] for name in ("flows", "packets")}
    octets = pa.array([row.octets for row in ordered], pa.int64())
    table = pa.table({
        "time": pa.array([row.time for row in ordered], pa.uint32()),
        **{name: pa.array(values).dictionary_encode() for name, values in texts.items()},
        "direction": pa.array([row.direction for row in ordered], pa.uint8()),
        **{name: pa.array(values, pa.int64()) for name, values in counts.items()},
        "packets_est": octets, "octets": octets, "octets_est": octets,
    })  # fmt: skip
    for name, value, kind in (("segment", "", ""), ("sub_group", "", ""), ("ip_version", 4, "u1")):
        column = pa.array([value] * len(ordered), pa.uint8()) if kind else pa.array([value] * len(ordered))
        table = table.append_column(name, column if kind else column.dictionary_encode())
    store.insert("bucket_end_5m", table, token=f"alerts/{next(_numbers)}")


def put_minutes(store: EmbeddedStore, service: str, begin: int, end: int) -> None:
    """A row of bucket_1m each minute of [begin, end)."""
    store.command(
        f"INSERT INTO bucket_1m (time, service, exporter, bucket, flows) SELECT toDateTime({begin} + 60 * number),"
        f" '{service}', 'a', 'udp/443', 1 FROM numbers({(end - begin) // 60})"
    )


def put_exporter(store: EmbeddedStore, exporter: str, begin: int, end: int, **columns: int) -> None:
    """A row of exporter_1m each minute of [begin, end)."""
    columns = {"flows": 100, "min_sampling": 1000, "max_sampling": 1000, **columns}
    store.command(
        f"INSERT INTO exporter_1m (time, exporter, {', '.join(columns)}) SELECT toDateTime({begin} + 60 * number),"
        f" '{exporter}', {', '.join(map(str, columns.values()))} FROM numbers({(end - begin) // 60})"
    )


def set_to(store: EmbeddedStore, name: str, value: str) -> None:
    store.command(f"INSERT INTO setting (name, value, made) VALUES ('{name}', '{value}', now64(3))")


def answer(store: EmbeddedStore, uid: str, now: int = NOW, ref: str = "A") -> list[dict[str, Any]]:
    return list(store.query(at(uid, now, ref)).to_pylist())


def by_label(store: EmbeddedStore, uid: str, now: int = NOW, ref: str = "A") -> dict[Any, float]:
    """Values by the labels of the rows; one label alone."""
    rows = answer(store, uid, now, ref)
    labels = BY_UID[uid].labels
    return {row[labels[0]] if len(labels) == 1 else tuple(row[name] for name in labels): row["value"] for row in rows}


def evenly(_: int) -> float:
    return 1.0


@dataclass
class Story:
    """Five weeks of some exporters, told for the hours that the rules look at."""

    zone: str = ZONE
    now: int = NOW
    seed: int = 1
    packets: int = 20_000  # of port 443 an hour and exporter
    exporters: dict[str, float] = field(default_factory=lambda: {"a": 0.28, "b": 0.28})  # with their Q2
    service: str = "fixed"
    daily: float = 0.3  # points by which days differ
    exact: bool = False  # without any chance
    history: int = 36
    hours: int = 9  # of each day, up to that of ``now``
    steps: list[tuple[int, int, float]] = field(default_factory=list)  # since, until, points more
    silent: list[tuple[str, int, int]] = field(default_factory=list)
    scale: Callable[[int], float] = evenly

    def rows(self) -> Iterator[Row]:
        rng = np.random.default_rng(self.seed)
        last = (self.now - 120) // 300 * 300
        for day in range(self.history):
            moved = 0.0 if self.exact else rng.normal(0, self.daily) / 100
            end = days_before(last, day, self.zone) + (600 if day else 0)
            for at_ in range(end - self.hours * 3600, end, 300):
                for name, share in self.exporters.items():
                    if any(name == who and since <= at_ < until for who, since, until in self.silent):
                        continue
                    q = share + moved + sum(by for since, until, by in self.steps if since <= at_ < until) / 100
                    mean = self.packets / 12 * self.scale(at_)
                    seen = round(mean) if self.exact else int(rng.poisson(mean))
                    q = min(max(q, 0.0), 1.0)
                    quic = round(seen * q) if self.exact else int(rng.binomial(seen, q))
                    other = seen // 2 if self.exact else int(rng.poisson(seen / 2))
                    for bucket, packets in (("udp/443", quic), ("tcp/443", seen - quic), ("tcp/80", other)):
                        if packets:
                            yield Row(at_, name, self.service, bucket, -(-packets // 4), packets, packets * 900_000)


def told(store: EmbeddedStore, story: Story) -> Site:
    """The story in the store, its newest minutes too."""
    rows = list(story.rows())
    put(store, rows)
    put_minutes(store, story.service, (story.now // 60 - 10) * 60, story.now // 60 * 60)
    return Site(rows, story.zone)


def judged(store: EmbeddedStore, now: int) -> dict[tuple[str, str], Judged]:
    """R1 and R2 as the store says."""
    jump, drop = by_label(store, "flowtide-r1", now), by_label(store, "flowtide-r2", now)
    numbers = {ref: by_label(store, "flowtide-r1", now, ref) for ref in "QPNT"}
    assert jump.keys() == drop.keys()
    return {key: Judged(jump[key] == 1, drop[key] == 1, numbers["Q"][key], numbers["P"][key], int(numbers["N"][key]),
                        numbers["T"][key] / 100) for key in jump}  # fmt: skip


def same(found: dict[Any, Any], wanted: dict[Any, Any]) -> bool:
    assert found.keys() == wanted.keys(), (found, wanted)
    for key, row in wanted.items():
        assert tuple(found[key]) == pytest.approx(tuple(row), rel=1e-9), (key, found[key], row)
    return True
