"""Two weeks of flows of which every figure is computed in plain Python, and their way into the real tables."""

import ipaddress
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from sinks import Store
from sinks.rollup_tables import NAMES, of_offsets, statement
from sinks.schema import FLOW, OBSERVATIONS
from tests.stored import TIMEZONE, flows, label, table

Row = dict[str, Any]
ZONE = ZoneInfo(TIMEZONE)
SINCE = datetime(2026, 9, 21, 13, tzinfo=UTC)  # Monday, 22:00 in Tokyo
UNTIL = SINCE + timedelta(hours=1)
NOW = datetime(2026, 9, 21, 14, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
SUBSCRIBERS = 40
NETWORKS = (
    "prefix,asn,name,country\n198.51.100.0/24,,Example Video,\n198.51.100.128/25,,Example Video cache,NL\n"
    "2001:db8:f::/48,,Example Search,\n,64500,Transit One,\n,64501,Video AS,\n"
)
EXPORTERS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
_PROTOCOLS = {50: "esp", 47: "gre", 4: "ipip", 41: "ipv6", 1: "icmp", 58: "icmp6"}
_LABELS = ("exporter", "service", "segment", "access", "sub_group", "bucket")


def ms(when: datetime) -> int:
    """Unix milliseconds."""
    return int(when.timestamp()) * 1000


def address(text: str) -> bytes:
    """16 bytes, as flows hold it."""
    found = ipaddress.ip_address(text)
    return found.packed if found.version == 6 else b"\0" * 10 + b"\xff\xff" + found.packed


def bucket(row: Row) -> str:
    """The service bucket, slowly, as the report's specification words it."""
    if row["proto"] not in (6, 17):
        return _PROTOCOLS.get(row["proto"], "other")
    name, port = ("tcp" if row["proto"] == 6 else "udp"), min(row["src_port"], row["dst_port"])
    if port == 443 or (port == 80 and name == "tcp"):
        return f"{name}/{port}"
    return f"{name}/<1024" if port < 1024 else f"{name}/>=1024"


def _row(**given: Any) -> Row:
    row: Row = {
        "exporter": EXPORTERS[0], "in_if": 1, "out_if": 2, "ip_version": 4, "src": "198.51.100.7", "dst": "10.0.0.1",
        "src_port": 443, "dst_port": 50_000, "proto": 6, "tcp_flags": 27, "icmp": 0, "lasted": 1000, "octets": 1000,
        "packets": 2, "sampling": 100, "sampling_source": 1, "src_as": 64501, "dst_as": 64500, "sub_id": 0,
        "service": "fixed", "segment": "personal", "access": "pppoe", "sub_group": "", "direction": 2, "copy": 0,
        "flags": 0, **given,
    }  # fmt: skip
    ports = row["proto"] in (6, 17)
    row["lower_port"] = min(row["src_port"], row["dst_port"]) if ports else 0
    row["bucket"] = bucket(row)
    known = row["sampling_source"] != 0
    row["octets_est"] = row["octets"] * (row["sampling"] if known else 1)
    row["packets_est"] = row["packets"] * (row["sampling"] if known else 1)
    return row


def _ordinary(random_: random.Random, when: int) -> Row:
    """A subscriber's flow that ends at ``when``; only ``random()`` is drawn, whose numbers never change."""

    def below(n: int) -> int:
        return int(random_.random() * n)

    subscriber = below(SUBSCRIBERS)
    mobile, six = subscriber % 3 == 0, below(3) == 0
    ours = f"2001:db8:{subscriber:x}::1" if six else f"10.0.{subscriber}.1"
    theirs = f"2001:db8:f::{below(9) + 1:x}" if six else f"198.51.100.{below(12) * 20 + 1}"
    proto, port = ((6, 443), (6, 443), (17, 443), (6, 80), (17, 53), (6, 22), (17, 4500), (6, 8080), (50, 0))[below(9)]
    other = 40_000 + below(20_000) if port else 0
    out = below(3) > 0
    ends = (theirs, ours, port, other) if out else (ours, theirs, other, port)
    exporter = below(3)
    packets = below(40) + 1
    return _row(
        ts=when, lasted=below(50_000) if below(10) else 60_000 + below(900_000), exporter=EXPORTERS[exporter],
        in_if=below(3) + 1, out_if=below(3) + 4, ip_version=6 if six else 4, src=ends[0], dst=ends[1],
        src_port=ends[2], dst_port=ends[3], proto=proto, packets=packets, octets=packets * (60 + below(1400)),
        sampling=(100, 100, 1000)[exporter], sampling_source=(1, 2, 8)[exporter],
        src_as=64501 if out else 64500 + 10 * below(3), dst_as=64500 if out else 64501,
        sub_id=1000 + subscriber, service="mobile" if mobile else "fixed",
        segment="enterprise" if subscriber % 10 == 9 else "personal",
        access="mobile" if mobile else ("ipoe" if subscriber % 4 == 1 else "pppoe"), direction=2 if out else 1,
    )  # fmt: skip


def known_rows() -> list[Row]:
    """About 1,700 rows, always the same."""
    random_ = random.Random(64)
    hour = ms(SINCE)
    rows = [_ordinary(random_, hour + int(random_.random() * 3_600_000)) for _ in range(700)]
    rows += [_ordinary(random_, hour - ms_of(WEEK) + int(random_.random() * 3_600_000)) for _ in range(500)]
    rows += [_ordinary(random_, hour - int(random_.random() * ms_of(WEEK))) for _ in range(500)]
    end = hour + 1_800_000
    # One that knocks at forty doors, and one at ten.
    rows += [
        _row(ts=end + n, src=f"203.0.113.{1 + n // 40}", dst=f"10.0.{n}.9", src_port=55_555, dst_port=22 + n % 2,
             tcp_flags=2, octets=40, packets=1, sub_id=0, direction=0, service="", segment="", access="")
        for n in range(50)
    ]  # fmt: skip
    # Ten flows that a second exporter tells too, a little later in the same minute.
    for n in range(10):
        twin = {"src": f"198.51.100.{n + 1}", "dst": "10.0.5.1", "dst_port": 61_000 + n, "octets": 5000 + n,
                "sub_id": 1005}  # fmt: skip
        rows += [_row(ts=end + n * 60_000, **twin), _row(ts=end + n * 60_000 + 900, **twin, exporter=EXPORTERS[1])]
    # Without a lease at either end; of an exporter that names an unknown sampler; implausible; counted elsewhere.
    nobody = {"sub_id": 0, "direction": 0, "service": "", "segment": "", "access": ""}
    rows += [_row(ts=end + n, src=f"100.64.0.{n % 4}", dst="198.51.100.200", **nobody) for n in range(12)]
    rows += [_row(ts=end + n, sampling=0, sampling_source=0, flags=16, sub_id=1002) for n in range(5)]
    rows += [_row(ts=end + n, octets=10**12, flags=8, sub_id=1002) for n in range(3)]
    rows += [_row(ts=end + n, exporter=EXPORTERS[2], flags=512, sub_id=1004) for n in range(4)]
    # Between two subscribers, so two rows; and a reverse half.
    for n in range(6):
        both = {"src": "10.0.1.1", "dst": f"10.0.2.{n}", "src_port": 60_000, "dst_port": 50_001, "lasted": 400_000}
        rows += [_row(ts=end + n, **both, sub_id=1001, direction=1), _row(ts=end + n, **both, sub_id=1002, copy=1)]
        rows.append(_row(ts=end + n, src=both["dst"], dst=both["src"], src_port=50_001, dst_port=60_000, copy=2,
                         sub_id=1001, octets=77))  # fmt: skip
    rows += [
        _row(ts=end + n, proto=(1, 58)[n % 2], src_port=0, dst_port=0, icmp=(2048, 32768, 769)[n % 3], packets=n + 1,
             dst=f"10.0.{n % 7}.1", sub_id=1000 + n % 7, tcp_flags=0)
        for n in range(20)
    ]  # fmt: skip
    # An AS nobody named, and the ends of the buckets.
    rows += [_row(ts=hour + n * 300_000, src_as=65_000, sub_id=1007) for n in range(12)]
    rows += [_row(ts=ms(UNTIL) - 1, sub_id=1007), _row(ts=ms(UNTIL), sub_id=1007)]
    # Two leases claim the address.
    rows += [_row(ts=end + n, flags=128, sub_id=1020, exporter=EXPORTERS[n % 2]) for n in range(7)]
    for number, row in enumerate(rows):
        row["bus_offset"] = number // 1000
    return rows


def ms_of(lasted: timedelta) -> int:
    """Milliseconds."""
    return int(lasted.total_seconds()) * 1000


def known_observations() -> dict[str, list[Row]]:
    """Rows of the observation tables and of the audit, by table."""
    minutes = [SINCE + timedelta(minutes=n) for n in range(0, 60, 7)]
    head = {"collector": "c1", "domain": 0}
    health = [
        {**head, "time": when, "exporter": exporter, "counter": counter, "value": value * (n + 1)}
        for n, when in enumerate(minutes)
        for exporter, counter, value in (
            (EXPORTERS[0], "records_flow", 100), (EXPORTERS[0], "sequence_missed", 3),
            (EXPORTERS[0], "templates_accepted", 1), (EXPORTERS[0], "sets_held", 2),
            (EXPORTERS[1], "sequence_duplicate", 1), (EXPORTERS[1], "records_flow", 50),
            (EXPORTERS[2], "records_flow", 9), (EXPORTERS[2], "sets_dropped_short_set", 4),
            (EXPORTERS[2], "templates_dropped_bad_scope", 1), (EXPORTERS[1], "datagrams_dropped_short_header", 2),
        )
        if not (exporter == EXPORTERS[0] and counter == "templates_accepted" and n > 4)
    ]  # fmt: skip
    # The same minute and counter twice: a collector that was restarted.
    health += [row for row in health if row["counter"] == "sequence_missed"][:2]
    stage = [
        {"collector": "c1", "time": when, "stage": name, "counter": counter, "value": value}
        for when in minutes
        for name, counter, value in (
            ("receive", "datagrams", 500), ("receive", "dropped_datagrams_kernel", 7), ("bus", "published_rows", 400),
            ("bus", "dropped_rows_bus_full", 11), ("ledger", "lost_rows", 2),
        )
    ]  # fmt: skip
    names = [
        {**head, "time": SINCE - timedelta(hours=n), "exporter": exporter, "kind": "interface", "id": number,
         "name": f"{'old' if n else 'xe'}-{number}", "description": "", "speed": 10_000_000 * number}
        for n in (0, 5) for exporter in EXPORTERS[:2] for number in range(1, 6)
    ]  # fmt: skip
    audit = [
        {"time": when, "stage": stage_, "exporter": EXPORTERS[0], "partition": 0, "rows": 100 * (n + 1) - lacking}
        for n, when in enumerate(minutes)
        for stage_, lacking in (("decoded", 0), ("published", 0), ("enriched", 0), ("inserted", 5 * (n == 3)))
        if not (stage_ == "inserted" and n == len(minutes) - 1)
    ]
    return {"exporter_health_1m": health, "stage_1m": stage, "exporter_name": names, "audit_1m": audit}


def store_flows(store: Store, rows: list[Row]) -> None:
    """Into ``flows``, one message an insert, and into every rollup range by range, by its real SQL."""
    for offset in sorted({row["bus_offset"] for row in rows}):
        message = [row for row in rows if row["bus_offset"] == offset]
        numbers = [c.name for c in FLOW if c.name in message[0] and c.name not in _LABELS]
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in message], "u8" if name == "sub_id" else "i8") for name in numbers
        }
        batch = flows(len(message), **columns, ts_start=[row["ts"] - row["lasted"] for row in message])
        for name in _LABELS:
            label(batch, name, [row[name] for row in message])
        for name, end in (("src_addr", "src"), ("dst_addr", "dst")):
            batch.columns[name] = np.frombuffer(b"".join(address(row[end]) for row in message), "V16").copy()
        store.insert("flows", table(batch), token=f"known/{offset}")
        for rollup in NAMES:
            store.command(statement(rollup, of_offsets(0, offset, offset + 1), TIMEZONE), token=f"{rollup}/{offset}")


def store_observations(store: Store, tables: dict[str, list[Row]]) -> None:
    """Into their tables."""
    audit = pa.schema(
        [("time", pa.timestamp("s", "UTC")), ("stage", pa.string()), ("exporter", pa.string()),
         ("partition", pa.uint16()), ("rows", pa.int64())]
    )  # fmt: skip
    for name, rows in tables.items():
        schema = audit if name == "audit_1m" else pa.schema(
            [(c.name, pa.timestamp("s", "UTC") if c.name == "time" else getattr(pa, c.arrow)())
             for c in OBSERVATIONS[name]]
        )  # fmt: skip
        for first in range(0, len(rows), 20):  # several parts: what is not merged must be summed
            store.insert(name, pa.Table.from_pylist(rows[first : first + 20], schema), token=f"{name}/{first}")


def sound(rows: Iterable[Row], *, of_service: bool = True) -> list[Row]:
    """Rows that count: neither implausible (8) nor without a rate (16), nor (512) counted at another exporter."""
    return [row for row in rows if not row["flags"] & (8 | 16 | (512 if of_service else 0))]


def shares(row: Row, what: str) -> dict[int, int]:
    """A counter by minute (Unix seconds), by walking over every minute of the flow."""
    end, lasted, value = row["ts"], row["lasted"], row[what]
    if lasted <= 60_000:
        return {end // 60_000 * 60: value}
    start, found = end - lasted, {}
    minute = start // 60_000 * 60_000
    while minute < end:
        since, until = max(minute, start) - start, min(minute + 60_000, end) - start
        found[minute // 1000] = value * until // lasted - value * since // lasted
        minute += 60_000
    return found


def local(when_ms: int) -> datetime:
    """In the store's time zone."""
    return datetime.fromtimestamp(when_ms // 1000, UTC).astimezone(ZONE)
