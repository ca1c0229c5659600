"""Encoding to Arrow with LZ4 and zstd, appending to the spool and reading it back."""

import tempfile
import time
from pathlib import Path

import numpy as np

from sinks import RAW_STREAM
from sinks.batch import Batch
from sinks.codec import decode, encode
from sinks.delivery import RawHeaders
from sinks.schema import RAW
from sinks.settings import BusSettings
from sinks.spool import Spool

ROWS = 8_192
MESSAGES = 122  # a million rows


def rows_like_flows(rng: np.random.Generator) -> Batch:
    """Columns with about the spread that flows have, so that compression is not flattered."""
    batch = Batch.empty(RAW, ROWS)
    columns = batch.columns
    now = 1_700_000_000_000
    columns["ts"] = (now + rng.integers(0, 250, ROWS)).astype("M8[ms]")
    columns["ts_start"] = columns["ts"] - rng.integers(0, 60_000, ROWS).astype("m8[ms]")
    columns["received"] = np.full(ROWS, now + 300).astype("M8[ms]")
    for name in ("src_addr", "dst_addr"):
        address = np.zeros((ROWS, 4), ">u4")
        address[:, 2], address[:, 3] = 0xFFFF, rng.integers(0, 2**32, ROWS)
        columns[name] = address.view("V16").reshape(ROWS)
    columns["src_port"] = rng.integers(1024, 65536, ROWS).astype("u2")
    columns["dst_port"] = rng.choice([443, 80, 53, 8080], ROWS).astype("u2")
    columns["proto"] = rng.choice([6, 17], ROWS).astype("u1")
    columns["octets"] = np.exp(rng.normal(7, 2, ROWS)).astype("i8")
    columns["packets"] = 1 + columns["octets"] // 900
    columns["sampling"] = np.full(ROWS, 1000, "u4")
    return batch


def main() -> None:
    batch = rows_like_flows(np.random.default_rng(1))
    million = ROWS * MESSAGES / 1e6
    print(f"{'8,192 rows a message':<38}{'flows/s':>12}{'CPU-s per M':>13}{'bytes/row':>11}")

    def show(what: str, wall: float, cpu: float, size: float) -> None:
        print(f"{what:<38}{million * 1e6 / wall:>12,.0f}{cpu / million:>13.3f}{size:>11.1f}")

    for compression in ("none", "lz4", "zstd"):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(MESSAGES):
            body = encode(batch, RAW, compression)
        show(f"encode, {compression}", time.perf_counter() - wall, time.process_time() - cpu, len(body) / ROWS)
    body = encode(batch, RAW, "lz4")
    with tempfile.TemporaryDirectory() as folder:
        bus = Spool(Path(folder), BusSettings(partitions=1))
        producer, consumer = bus.producer(RAW_STREAM), bus.consumer(RAW_STREAM, "bench")
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(MESSAGES):
            producer.publish(0, RawHeaders("bench", number, ROWS).encode(), body)
        show("spool: append", time.perf_counter() - wall, time.process_time() - cpu, len(body) / ROWS)
        wall, cpu = time.perf_counter(), time.process_time()
        messages = consumer.poll(1 << 40, 0)
        show("spool: read and check", time.perf_counter() - wall, time.process_time() - cpu, len(body) / ROWS)
        wall, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            decode(message.body, RAW)
        show("decode, lz4", time.perf_counter() - wall, time.process_time() - cpu, len(body) / ROWS)
        producer.close()


if __name__ == "__main__":
    main()
