"""CPU-seconds per million flows of ``enrich`` with a million leases: ``python -m bench.enrich``.

A day of one provider: 700,000 IPv4 addresses and 300,000 IPv6 /56 in a few pools; of the flows 30 % are IPv6, 80 %
downloads, 15 % uploads, 2 % between subscribers, 3 % without a subscriber.  Subscribers are drawn evenly, the hardest
case for the caches, and again skewed, so that a tenth of them have 46 % of the flows.
"""

import sys
import time

import numpy as np
from numpy.typing import NDArray

from enricher.enrichment import Enriched, Tables, enrich
from enricher.leases import HELD, LeaseRows, LeaseTable
from sinks.batch import Batch
from sinks.schema import RAW

V4, V6 = 700_000, 300_000
_MAPPED = np.uint64(0xFFFF << 32)
_DAY = 1_717_340_400_000


def leases(rng: np.random.Generator) -> LeaseRows:
    """Dense IPv4 pools in 100.64.0.0/10, /56 in 240b:10::/32."""
    v4 = np.sort(rng.choice(1_200_000, V4, replace=False)).astype("u8") + np.uint64(0x64400000)
    v6 = (np.uint64(0x240B0010 << 32) + (np.arange(V6, dtype="u8") << np.uint64(8))).astype("u8")
    rows = V4 + V6
    return LeaseRows(
        np.append(np.zeros(V4, "u8"), v6), np.append(v4 | _MAPPED, np.zeros(V6, "u8")),
        np.append(np.full(V4, 128), np.full(V6, 56)).astype("u1"),
        _DAY - rng.integers(0, 86_400_000, rows), np.full(rows, HELD),
        np.arange(rows, dtype="u4"), np.zeros(rows, "u4"), rng.integers(0, 2, rows).astype("u4"),
        rng.integers(0, 2, rows).astype("u4"), rng.integers(0, 20, rows).astype("u4"),
        [f"sub{row:07d}" for row in range(rows)], [f"group-{group}" for group in range(20)],
    )  # fmt: skip


def flows(rng: np.random.Generator, table: LeaseRows, rows: int, skew: float) -> Batch:
    """A raw batch whose ends are subscribers or far away."""
    batch = Batch.empty(RAW, rows)
    columns = batch.columns
    six = rng.random(rows) < 0.3
    mine = _addresses(*_subscribers(rng, table, six, skew))
    other = _addresses(*_subscribers(rng, table, six, skew))
    far = _addresses(*_far(rng, six))
    kind = rng.choice(4, rows, p=[0.80, 0.15, 0.02, 0.03])
    columns["dst_addr"] = np.where((kind == 0) | (kind == 2), mine, far)
    columns["src_addr"] = np.where(kind == 1, mine, np.where(kind == 2, other, _addresses(*_far(rng, six))))
    columns["ts"] = (_DAY + rng.integers(0, 60_000, rows)).view("M8[ms]")
    columns["ts_start"] = columns["ts"] - np.timedelta64(5_000, "ms")
    columns["received"] = columns["ts"] + np.timedelta64(100, "ms")
    columns["proto"] = rng.choice(np.array([6, 17, 1, 50], "u1"), rows, p=[0.6, 0.37, 0.02, 0.01])
    columns["src_port"] = rng.choice(np.array([443, 80, 53, 50_000, 40_001], "u2"), rows)
    columns["dst_port"] = rng.integers(1_024, 65_536, rows).astype("u2")
    columns["octets"], columns["packets"] = rng.integers(60, 10**6, rows), rng.integers(1, 1_000, rows)
    columns["sampling"][:], columns["sampling_source"][:] = 1_000, 2
    columns["ip_version"] = np.where(six, 6, 4).astype("u1")
    return batch


def _subscribers(
    rng: np.random.Generator, table: LeaseRows, six: NDArray[np.bool_], skew: float
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    drawn = rng.random(len(six)) ** skew
    lease = np.where(six, V4 + V6 * drawn, V4 * drawn).astype("i8")
    host = np.where(six, rng.integers(0, 2**62, len(six)), 0).astype("u8")
    return table.high[lease], table.low[lease] | host


def _far(rng: np.random.Generator, six: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    v4 = rng.integers(0x01000000, 0x60000000, len(six)).astype("u8") | _MAPPED
    high = np.where(six, np.uint64(0x2606_4700 << 32) + rng.integers(0, 2**24, len(six)).astype("u8"), np.uint64(0))
    return high, np.where(six, rng.integers(0, 2**62, len(six)).astype("u8"), v4)


def _addresses(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.void]:
    pairs = np.empty((len(high), 2), ">u8")
    pairs[:, 0], pairs[:, 1] = high, low
    return pairs.view("V16")[:, 0]


def measure(tables: Tables, batches: list[Batch]) -> tuple[float, Enriched]:
    """Best of five, in CPU-seconds per million flows."""
    best, rows = float("inf"), sum(len(batch) for batch in batches)
    for _ in range(5):
        start = time.process_time()
        for batch in batches:
            result = enrich(batch, tables)
        best = min(best, time.process_time() - start)
    return best / rows * 1e6, result


def main() -> None:
    """Print one line a batch size."""
    rng = np.random.default_rng(1)
    rows = leases(rng)
    start = time.process_time()
    table = LeaseTable.of(rows, bytes(32))
    build = time.process_time() - start
    print(f"{len(table):,} leases: {table.nbytes / 1e6:.0f} MB, built in {build:.1f} CPU-s, {sys.platform}")
    for drawn, skew in (("evenly", 1.0), ("skewed", 3.0)):
        for size, count in ((65_536, 4), (250_000, 2)):
            cost, result = measure(Tables(table), [flows(rng, rows, size, skew) for _ in range(count)])
            coverage = result.coverage
            print(
                f"enrich, batches of {size:7,}, subscribers drawn {drawn}: {cost:.3f} CPU-s per million flows "
                f"({coverage.matched.flows / size:.1%} matched, {coverage.both.flows / size:.1%} both)"
            )


if __name__ == "__main__":
    main()
