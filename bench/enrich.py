"""CPU-seconds per million flows of ``enrich`` with a million leases: ``python -m bench.enrich [MILLIONS]``.

A day of one provider: 700,000 IPv4 addresses and 300,000 IPv6 /56 in a few pools; of the flows 30 % are IPv6, 80 %
downloads, 15 % uploads, 2 % between subscribers, 3 % without a subscriber.  Subscribers are drawn evenly, the hardest
case for the caches, and again skewed, so that a tenth of them have 46 % of the flows.

Then the look-ups alone, by what the table holds: whole addresses, 16 port ranges an address, a history of several
leases each, and changes that are not folded yet; and the changes themselves.
"""

import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from enricher.enrichment import Enriched, Tables, enrich
from enricher.leases import HELD, LeaseRows, LeaseTable
from enricher.prefixes import U8
from sinks.batch import Batch, constant
from sinks.codec import Compression, encode_parts
from sinks.schema import ENRICHED, RAW

_MAPPED = np.uint64(0xFFFF << 32)
_DAY = 1_717_340_400_000
_RANGES = 16  # users of a shared address


def leases(rng: np.random.Generator, millions: int = 1) -> LeaseRows:
    """Dense IPv4 pools in 100.64.0.0/10 and behind it, /56 in 240b:10::/32 and behind it."""
    v4 = np.sort(rng.choice(1_200_000 * millions, 700_000 * millions, replace=False)).astype("u8")
    v6 = np.uint64(0x240B0010 << 32) + (np.arange(300_000 * millions, dtype="u8") << np.uint64(8))
    none = (np.zeros(len(v6), "u8"), np.zeros(len(v4), "u8"))
    return _held(
        rng, np.append(none[1], v6), np.append((v4 + np.uint64(0x64400000)) | _MAPPED, none[0]),
        np.append(np.full(len(v4), 128), np.full(len(v6), 56)).astype("u1"),
    )  # fmt: skip


def shared_leases(rng: np.random.Generator) -> LeaseRows:
    """A million blocks of 4,032 ports, 16 an IPv4 address."""
    rows = 1_000_000
    address, part = np.divmod(np.arange(rows), _RANGES)
    low = (address.astype("u8") + np.uint64(0x64400000)) | _MAPPED
    first = (1_024 + part * 4_032).astype("u2")
    held = _held(rng, np.zeros(rows, "u8"), low, np.full(rows, 128, "u1"))
    return replace(held, port_from=first, port_to=first + np.uint16(4_031))


def _held(rng: np.random.Generator, high: U8, low: U8, bits: NDArray[np.uint8]) -> LeaseRows:
    rows = len(bits)
    return LeaseRows(
        high, low, bits, _DAY - rng.integers(0, 86_400_000, rows), np.full(rows, HELD),
        np.arange(rows, dtype="u4"), np.zeros(rows, "u4"), rng.integers(0, 2, rows).astype("u4"),
        rng.integers(0, 2, rows).astype("u4"), rng.integers(0, 20, rows).astype("u4"),
        [f"sub{row:07d}" for row in range(rows)], [f"group-{group}" for group in range(20)],
    )  # fmt: skip


def flows(rng: np.random.Generator, table: LeaseRows, rows: int, skew: float) -> Batch:
    """A raw batch whose ends are subscribers or far away."""
    batch = Batch.empty(RAW, rows)
    columns = batch.columns
    for name, column in columns.items():  # what is not told below stays as a decoder leaves it: constant
        columns[name] = constant(column[0], column.dtype, rows)
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
    columns["sampling"], columns["sampling_source"] = constant(1_000, "u4", rows), constant(2, "u1", rows)
    columns["ip_version"] = np.where(six, 6, 4).astype("u1")
    return batch


def _subscribers(
    rng: np.random.Generator, table: LeaseRows, six: NDArray[np.bool_], skew: float
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    drawn = rng.random(len(six)) ** skew
    v4 = int(np.count_nonzero(table.bits == 128))
    lease = np.where(six, v4 + (len(table) - v4) * drawn, v4 * drawn).astype("i8")
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


def measure(tables: Tables, batches: list[Batch], compression: Compression | None = None) -> tuple[float, Enriched]:
    """Best of five, in CPU-seconds per million flows; with a compression to the encoded message."""
    best, rows = float("inf"), sum(len(batch) for batch in batches)
    for _ in range(5):
        start = time.process_time()
        for batch in batches:
            result = enrich([batch], tables)
            if compression is not None:
                encode_parts(result.batch, ENRICHED, compression)
        best = min(best, time.process_time() - start)
    return best / rows * 1e6, result


def look_ups(name: str, table: LeaseTable, rows: LeaseRows, rng: np.random.Generator) -> None:
    """Print the best of five of 500,000 look-ups, each of a held address and port, in batches."""
    asked = [rng.integers(0, len(rows), 65_536) for _ in range(8)]
    batches = [(_addresses(rows.high[at], rows.low[at]), rows.port_from[at]) for at in asked]
    times = np.full(65_536, _DAY).view("M8[ms]")
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for addresses, ports in batches:
            found = table.lookup(addresses, times, ports)
        best = min(best, time.process_time() - start)
    count = sum(len(at) for at in asked)
    print(
        f"look-ups, {name}: {best / count * 1e9:.0f} ns each, {count / best / 1e6:.1f} M/s, "
        f"{np.count_nonzero(found >= 0) / 65_536:.0%} held; {len(table):,} leases in {table.nbytes / 1e6:.0f} MB"
    )


def built(name: str, rows: LeaseRows) -> LeaseTable:
    """The table, and a line of what it took."""
    start = time.process_time()
    table = LeaseTable.of(rows, bytes(32))
    took = time.process_time() - start
    print(f"{len(table):,} leases, {name}: {table.nbytes / 1e6:.0f} MB, built in {took:.1f} CPU-s", flush=True)
    return table


def changes(table: LeaseTable, rows: LeaseRows, rng: np.random.Generator) -> LeaseTable:
    """Print what a thousand changed prefixes take, one time after the other until a fold; the last table before it."""
    times: list[float] = []
    last = table
    while len(times) < 100:
        at = np.sort(rng.choice(len(rows), 1_000, replace=False))
        some = rows.take(at)
        some = replace(some, since=np.full(1_000, _DAY - 1_000), subscriber=rng.permutation(some.subscriber))
        start = time.process_time()
        after = last.changed(some, bytes(32))
        times.append(time.process_time() - start)
        if after.overlay is None:
            break
        last = after
    spent = np.array(times) * 1000
    print(
        f"1,000 changed prefixes in {len(table):,} leases: first {spent[0]:.1f} ms, median {np.median(spent):.1f} ms, "
        f"last before a fold {spent[-2]:.1f} ms; fold at the {len(spent)}th {spent[-1]:.0f} ms "
        f"(mean {spent.mean():.1f} ms)"
    )
    return last


def whole(rng: np.random.Generator, millions: int) -> None:
    """Whole addresses: ``enrich``, look-ups and changes."""
    rows = leases(rng, millions)
    table = built("whole addresses", rows)
    for drawn, skew in (("evenly", 1.0), ("skewed", 3.0)):
        for size, count in ((65_536, 4), (250_000, 2)):
            batches = [flows(rng, rows, size, skew) for _ in range(count)]
            cost, result = measure(Tables(table), batches)
            encoded, packed = (measure(Tables(table), batches, how)[0] for how in ("none", "lz4"))
            coverage = result.coverage
            print(
                f"enrich, batches of {size:7,}, subscribers drawn {drawn}: {cost:.3f} CPU-s per million flows, "
                f"{encoded:.3f} to the encoded message, {packed:.3f} with LZ4 "
                f"({coverage.matched.flows / size:.1%} matched, {coverage.both.flows / size:.1%} both)",
                flush=True,
            )
    look_ups("whole addresses", table, rows, rng)
    changed = changes(table, rows, rng)
    look_ups("whole addresses with changes", changed, rows, rng)
    cost, _ = measure(Tables(changed), [flows(rng, rows, 250_000, 1.0) for _ in range(2)], "none")
    print(f"enrich to the encoded message, a table with changes: {cost:.3f} CPU-s per million flows", flush=True)


def main() -> None:
    """Print one line a measurement."""
    rng = np.random.default_rng(1)
    millions = int(sys.argv[1]) if sys.argv[1:] else 1
    print(f"on {sys.platform}")
    whole(rng, millions)
    if millions == 1:
        rows = shared_leases(rng)
        look_ups("16 port ranges an address", built("16 port ranges an address", rows), rows, rng)
        rows = leases(rng)
        at = rng.integers(0, 250_000, len(rows))  # four leases an address
        rows = replace(rows, high=rows.high[at], low=rows.low[at], bits=rows.bits[at])
        look_ups("four leases an address", built("four leases an address", rows), rows, rng)


if __name__ == "__main__":
    main()
