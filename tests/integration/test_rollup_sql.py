"""The rollups' SQL against a slow reference in plain Python, and as one block under a token."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks import rollups
from sinks.embedded import EmbeddedStore
from sinks.inserts import INSERT_SETTINGS
from sinks.rollups import of_offsets, statement
from sinks.schema import BUCKETS, Flag
from tests.stored import START_MS, TIMEZONE, flows, label, table

MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")
ZONE = ZoneInfo(TIMEZONE)
Row = Mapping[str, int]
Sums = dict[tuple[object, ...], list[int]]

counter = st.integers(0, 2**53)
a_flow = st.fixed_dictionaries({
    "ts": st.one_of(
        st.integers(START_MS, START_MS + 7_200_000),
        st.integers(0, 120).map(lambda minute: START_MS // 60_000 * 60_000 + minute * 60_000),
    ),
    "lasted": st.one_of(
        st.integers(0, 3_600_000),
        st.sampled_from([0, 1, 59_999, 60_000, 60_001, 120_000, 3_600_000, 86_400_000, 86_400_001, -5]),
    ),
    "octets": counter,
    "packets": counter,
    "octets_est": counter,
    "packets_est": counter,
    "direction": st.integers(0, 2),
    "proto": st.sampled_from([6, 17, 50]),
    "lower_port": st.sampled_from([0, 443, 1024]),
    "sub_id": st.sampled_from([0, 1, 2**64 - 1]),
    "flags": st.sampled_from([0, 0, 0, *Flag]),
    "bucket": st.integers(0, len(BUCKETS) - 1),
    "bus_offset": st.sampled_from([6, 7, 8, 9]),
})  # fmt: skip


def counted(row: Row) -> bool:
    return 7 <= row["bus_offset"] < 9 and not row["flags"] & (Flag.IMPLAUSIBLE | Flag.SAMPLING_UNKNOWN)


def values(row: Row) -> list[int]:
    return [1, row["packets"], row["packets_est"], row["octets"], row["octets_est"]]


def shares(row: Row) -> dict[int, list[int]]:
    """Measures by minute (Unix milliseconds), by walking over every minute of the flow."""
    end, lasted = row["ts"], row["lasted"]
    if not 60_000 < lasted <= 86_400_000:
        return {end // 60_000 * 60_000: values(row)}
    start, found = end - lasted, {}
    minute = start // 60_000 * 60_000
    while minute < end:
        since, until = max(minute, start) - start, min(minute + 60_000, end) - start
        found[minute] = [int(since == 0)] + [v * until // lasted - v * since // lasted for v in values(row)[1:]]
        minute += 60_000
    return found


def local(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(ZONE)


def expected(name: str, rows: list[Row]) -> Sums:
    found: Sums = defaultdict(lambda: [0] * 5)

    def add(key: tuple[object, ...], measures: list[int]) -> None:
        found[key] = [a + b for a, b in zip(found[key], measures, strict=True)]

    for row in filter(counted, rows):
        bucket, direction = BUCKETS[row["bucket"]], row["direction"]
        if name == "bucket_1m":
            for minute, measures in shares(row).items():
                add((minute // 1000, direction, bucket), measures)
        elif name == "bucket_end_5m":
            add((row["ts"] // 300_000 * 300, direction, bucket), values(row))
        elif name == "port_1h":
            hour = int(local(row["ts"]).replace(minute=0, second=0).timestamp())
            has_port = row["proto"] in (6, 17)
            port = row["lower_port"] if has_port else 0
            add((hour, direction, row["proto"], port, "" if has_port else bucket), values(row))
        elif row["sub_id"]:
            add((local(row["ts"]).date(), row["sub_id"], direction), values(row))
    return found


KEYS = {
    "bucket_1m": "time, direction, bucket",
    "bucket_end_5m": "time, direction, bucket",
    "port_1h": "hour, direction, proto, lower_port, bucket",
    "subscriber_1d": "day, sub_id, direction",
}


def insert(store: EmbeddedStore, rows: list[Row]) -> None:
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in ("lasted", "bucket")}
    starts = [row["ts"] - row["lasted"] for row in rows]
    arrays = {name: np.array(column, "u8" if name == "sub_id" else "i8") for name, column in columns.items()}
    batch = label(flows(len(rows), ts_start=starts, **arrays), "bucket", [BUCKETS[row["bucket"]] for row in rows])
    store.insert("flows", table(batch), token=repr(rows))


def found(store: EmbeddedStore, name: str) -> Sums:
    sums = ", ".join(f"toString(sum(r.{measure}))" for measure in MEASURES)
    rows = store.query(f"SELECT {KEYS[name]}, [{sums}] AS sums FROM {name} AS r GROUP BY {KEYS[name]}").to_pylist()
    return {tuple(list(row.values())[:-1]): [int(text) for text in row["sums"]] for row in rows}


@pytest.mark.parametrize("name", rollups.NAMES)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(a_flow, min_size=1, max_size=12))
def test_a_rollup_is_what_walking_over_the_rows_gives(store: EmbeddedStore, name: str, rows: list[Row]) -> None:
    for cleared in ("flows", name):
        store.command(f"TRUNCATE TABLE {cleared}")
    insert(store, rows)
    store.command(statement(name, of_offsets(0, 7, 9), TIMEZONE))
    # A minute whose share is nothing may or may not have a row.
    assert {k: v for k, v in found(store, name).items() if any(v)} == {
        k: v for k, v in expected(name, rows).items() if any(v)
    }


def test_an_hour_long_flow_is_61_minutes_at_most(store: EmbeddedStore) -> None:
    minute = START_MS // 60_000 * 60_000
    batch = flows(1, ts=minute + 1, ts_start=minute + 1 - 3_600_000, octets=1000, octets_est=2**53, bus_offset=7)
    store.insert("flows", table(batch), token="t")
    store.command(statement("bucket_1m", of_offsets(0, 7, 9), TIMEZONE))
    sums = store.query("SELECT count() AS n, sum(flows) AS f, sum(octets) AS o, sum(octets_est) AS e FROM bucket_1m")
    assert sums.to_pylist() == [{"n": 61, "f": 1, "o": 1000, "e": 2**53}]


def many_groups(store: EmbeddedStore) -> int:
    """Insert flows of two days that are 130,000 groups by port and hour, 400,000 by subscriber and day."""
    rows = 400_000
    number = np.arange(rows)
    end = START_MS + number % 2 * 86_400_000 + number // 2 % 1440 * 60_000
    batch = flows(
        rows, ts=end, ts_start=end - np.where(number % 100 == 0, 300_000, 1000), sub_id=number + 1,
        proto=number % 2 * 11 + 6, lower_port=number // 6, bus_offset=7,
    )  # fmt: skip
    store.insert("flows", table(batch), token="t")
    return rows


@pytest.mark.parametrize("name", rollups.NAMES)
def test_a_large_rollup_is_one_part_a_partition_and_counts_once(store: EmbeddedStore, name: str) -> None:
    rows = many_groups(store)
    store.command("SYSTEM STOP MERGES")
    sql, token = statement(name, of_offsets(0, 7, 9), TIMEZONE), f"{name}/0/7-9"
    store.command(sql, token=token)
    parts = (
        "SELECT partition, count() AS parts, sum(rows) AS rows FROM system.parts WHERE active"
        " AND database = currentDatabase() AND table = {name:String} GROUP BY partition ORDER BY partition"
    )
    once = store.query(parts, name=name).to_pylist()
    assert all(partition["parts"] == 1 for partition in once)
    # What a repeat after a restart, on a busier machine or with less memory is made of: other pieces, same rows.
    store.command(sql, token=token)
    for other in (
        {"max_threads": 1},
        {"max_threads": 4},
        {"collect_hash_table_stats_during_aggregation": 0},
        {"group_by_two_level_threshold": 1},
        {"group_by_two_level_threshold": 0, "group_by_two_level_threshold_bytes": 0},
    ):
        with store.session({**INSERT_SETTINGS, "insert_deduplication_token": token, **other}) as connection:
            connection.query(sql)
    assert store.query(parts, name=name).to_pylist() == once
    store.command("SYSTEM START MERGES")
    if name in ("port_1h", "subscriber_1d"):
        assert sum(partition["rows"] for partition in once) >= 130_000
    total = store.query(f"SELECT sum(flows) AS f, sum(octets) AS o FROM {name}").to_pylist()
    assert total == [{"f": rows, "o": 100 * rows}]


def test_the_flags_in_the_sql_are_those_of_the_schema() -> None:
    left_out = int(Flag.IMPLAUSIBLE | Flag.SAMPLING_UNKNOWN)
    for name in rollups.NAMES:
        assert f"bitAnd(flags, {left_out}) = 0" in statement(name, "1", "UTC")
