"""Flows for tests of the store: plain values of which sums are known."""

from typing import Any

import numpy as np
import pyarrow as pa

from sinks.batch import Batch
from sinks.codec import at_rest, to_record_batch
from sinks.schema import BUCKETS, FLOW
from sinks.settings import StoreSettings

TIMEZONE = "Asia/Tokyo"
START_MS = 1_790_000_000_000  # 2026-09-21 13:33:20 UTC, 22:33:20 in Tokyo
FOR_EVER = StoreSettings(raw_days=0, minute_days=0)


def flows(rows: int, start_ms: int = START_MS, **columns: Any) -> Batch:
    """Flows of one second each that end at ``start_ms``, of 100 octets and one packet; columns may be given."""
    batch = Batch.empty(FLOW, rows)
    values: dict[str, Any] = {
        "ts": start_ms, "ts_start": start_ms - 1000, "received": start_ms + 500, "octets": 100, "packets": 1,
        "octets_est": 1000, "packets_est": 10, "ip_version": 4, "direction": 1, **columns,
    }  # fmt: skip
    for name, value in values.items():
        column = batch.columns[name]
        column[:] = np.asarray(value).astype(column.dtype)
    return batch


def label(batch: Batch, name: str, values: list[str]) -> Batch:
    """Set a label column."""
    distinct = tuple(dict.fromkeys(values))
    batch.labels[name] = distinct
    batch.columns[name] = np.array([distinct.index(value) for value in values], "u4")
    return batch


def table(batch: Batch) -> pa.Table:
    """The rows as the sink inserts them."""
    return at_rest(pa.Table.from_batches([to_record_batch(batch, FLOW)]))


def traffic(rows: int, message: int, seed: int = 1) -> Batch:
    """Rows as an evening's message has them: 50,000 subscribers, one flow in ten longer than a minute."""
    rng = np.random.default_rng((seed, message))
    end = START_MS + message * 5_000 + np.sort(rng.integers(0, 5_000, rows))
    lasted = np.where(rng.random(rows) < 0.1, rng.integers(60_000, 300_000, rows), rng.integers(0, 60_000, rows))
    octets = (rng.pareto(1.2, rows) * 400 + 40).astype("i8").clip(40, 10**9)
    subscriber = rng.integers(1, 50_000, rows)
    proto = rng.choice([6, 17, 50], rows, p=[0.55, 0.42, 0.03])
    service_port = rng.choice([443, 80, 53, 22, 8080], rows, p=[0.75, 0.1, 0.1, 0.01, 0.04])
    batch = flows(
        rows, ts=end, ts_start=end - lasted, received=end + 500, octets=octets, packets=octets // 900 + 1,
        octets_est=octets * 1000, packets_est=(octets // 900 + 1) * 1000, proto=proto,
        sub_id=subscriber.astype("u8") * np.uint64(0x9E3779B97F4A7C15), direction=rng.integers(1, 3, rows),
        src_port=rng.integers(1024, 65_535, rows), dst_port=service_port, sampling=1000,
        lower_port=np.where(proto == 50, 0, service_port), in_if=rng.integers(1, 8, rows),
        bus_offset=message,
    )  # fmt: skip
    for name, hosts in (("src_addr", subscriber), ("dst_addr", rng.integers(0, 20_000, rows))):
        address = np.zeros((rows, 16), "u1")
        address[:, 10:12] = 255
        address[:, 12:] = (hosts + 0x0A000000).astype(">u4").view("u1").reshape(rows, 4)
        batch.columns[name] = address.reshape(-1).view("V16")
    batch.labels |= {
        "exporter": tuple(f"192.0.2.{n}" for n in range(1, 9)), "service": ("fixed", "mobile"),
        "segment": ("personal", "enterprise"), "access": ("pppoe", "ipoe"), "bucket": BUCKETS,
    }  # fmt: skip
    for name in ("exporter", "service", "segment", "access"):
        batch.columns[name] = (subscriber % len(batch.labels[name])).astype("u4")
    batch.columns["bucket"] = np.where(proto == 50, 7, np.where(proto == 17, 4, 0)).astype("u4")
    return batch
