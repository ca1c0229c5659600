"""Every rollup is what walking over the rows gives, however the rows are cut into ranges and how often they repeat."""

import itertools
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.range_sums import RangeSums
from sinks.rollup_ranges import run_range
from sinks.rollup_tables import BY_NAME, NAMES, ROLLUPS, parts_of
from sinks.schema import BUCKETS, Flag, SamplingSource
from tests.rollup_reference import Row, Sums, recomputed
from tests.stored import FOR_EVER, START_MS, flows, label, table

LABELS: Mapping[str, tuple[str, ...]] = {
    "exporter": ("192.0.2.1", "192.0.2.2", "2001:db8::1"), "service": ("", "fixed", "mobile"),
    "segment": ("", "personal", "enterprise"), "access": ("", "pppoe", "ipoe"), "sub_group": ("", "north"),
    "bucket": BUCKETS,
}  # fmt: skip
ADDRESSES = (
    bytes(10) + b"\xff\xff\x0a\x00\x00\x01", bytes(10) + b"\xff\xff\x0a\x00\x00\xff",
    bytes(10) + b"\xff\xff\xc0\x00\x02\x01", bytes.fromhex("20010db8000000010000000000000001"),
    bytes.fromhex("20010db800000002ffff000000000001"), bytes(16),
)  # fmt: skip
TEXT = {name: st.sampled_from(values) for name, values in LABELS.items()}
counter = st.integers(0, 2**53)
_names = itertools.count()


def a_flow(moments: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({
        "ts": moments,
        "lasted": st.one_of(
            st.integers(0, 3_600_000),
            st.sampled_from([0, 1, 59_999, 60_000, 60_001, 120_000, 3_600_000, 86_400_000, 86_400_001, -5]),
        ),
        "octets": counter, "packets": counter, "octets_est": counter, "packets_est": counter,
        "direction": st.integers(0, 2), "copy": st.sampled_from([0, 0, 0, 1, 2]), "ip_version": st.sampled_from([4, 6]),
        "proto": st.sampled_from([6, 17, 50]), "lower_port": st.sampled_from([0, 443, 1024]),
        "sub_id": st.sampled_from([0, 1, 2**64 - 1]), "in_if": st.integers(0, 2), "out_if": st.integers(0, 2),
        "src_as": st.sampled_from([0, 64512]), "dst_as": st.sampled_from([0, 64512, 2**32 - 1]),
        "sampling": st.sampled_from([0, 1, 1000, 16_384]), "flags": st.sampled_from([0, 0, 0, *Flag]),
        "src_addr": st.sampled_from(ADDRESSES), "dst_addr": st.sampled_from(ADDRESSES),
        "bus_offset": st.integers(0, 5), **TEXT,
    })  # fmt: skip


def insert(store: EmbeddedStore, rows: list[dict[str, Any]], messages: dict[int, pa.Table] | None = None) -> list[Row]:
    """Into raw, each offset as one message, which is kept in ``messages``; the rows as they are at rest."""
    for row in rows:
        row["ts_start"] = row["ts"] - row.get("lasted", 1000)
    for offset in sorted({row["bus_offset"] for row in rows}):
        part = [row for row in rows if row["bus_offset"] == offset]
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in part], "u8" if name == "sub_id" else "i8")
            for name in part[0] if name not in ("lasted", "src_addr", "dst_addr", *LABELS)
        }  # fmt: skip
        for name in ("src_addr", "dst_addr"):
            columns[name] = np.frombuffer(b"".join(row[name] for row in part), "V16")
        batch = flows(len(part), **columns)
        for name in LABELS:
            label(batch, name, [row[name] for row in part])
        if messages is not None:
            messages[offset] = table(batch)
        store.insert("flows", table(batch), token=f"flows/{offset}")
    return rows  # type: ignore[return-value]


def roll_up(
    store: EmbeddedStore, zone: str, cuts: list[int], repeats: random.Random, messages: dict[int, pa.Table]
) -> None:
    """All offsets, cut there; some ranges run again, at once or later, as after a kill.

    From raw, or from what the ``messages`` add up to, as chance has it: a repeat may be from the other.
    """
    ends = [0, *sorted(set(cuts)), 6]
    ranges = [(a, b) for a, b in itertools.pairwise(ends) if a < b]
    sums = RangeSums(store, zone)
    for a, b in [*ranges, *(repeats.choice(ranges) for _ in range(2))]:
        there = [messages[offset] for offset in range(a, b) if offset in messages]
        ready = sums.rows([sums.add(rows) for rows in there]) if repeats.random() < 0.7 else None
        run_range(store, zone, "stream", 0, 0, a, b, ready)


def held(store: EmbeddedStore, name: str) -> Sums:
    """What the table says, summed."""
    rollup = BY_NAME[name]
    keys = ", ".join((rollup.time, *rollup.keys))
    sums = ", ".join(f"toString(sum(r.{measure}))" for measure in rollup.measures)
    rows = store.query(f"SELECT {keys}, [{sums}] AS sums FROM {name} AS r GROUP BY {keys}").to_pylist()
    return {tuple(list(row.values())[:-1]): [int(text) for text in row["sums"]] for row in rows}


def compare(store: EmbeddedStore, rows: list[Row], zone: str) -> None:
    for name in NAMES:
        # A minute whose share is nothing may or may not have a row.
        found = {key: sums for key, sums in held(store, name).items() if any(sums)}
        wanted = {key: sums for key, sums in recomputed(name, rows, ZoneInfo(zone)).items() if any(sums)}
        assert found == wanted, name


def emptied(store: EmbeddedStore) -> None:
    for name in ("flows", "rollup_cut", "rollup_plan", *NAMES):
        store.command(f"TRUNCATE TABLE {name}")


@settings(
    max_examples=8, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    rows=st.lists(
        a_flow(st.one_of(
            st.integers(START_MS, START_MS + 7_200_000),
            st.integers(0, 120).map(lambda minute: START_MS // 60_000 * 60_000 + minute * 60_000),
        )),
        min_size=1, max_size=40,
    ),
    cuts=st.lists(st.integers(1, 5), max_size=3), seed=st.integers(0, 99),
)  # fmt: skip
def test_every_rollup_is_what_walking_over_the_rows_gives(
    store: EmbeddedStore, rows: list[dict[str, Any]], cuts: list[int], seed: int
) -> None:
    emptied(store)
    messages: dict[int, pa.Table] = {}
    whole = insert(store, rows, messages)
    roll_up(store, "Asia/Tokyo", cuts, random.Random(seed), messages)
    compare(store, whole, "Asia/Tokyo")


# Around both clock changes of Paris (01:00 UTC), where there are any, and midnights of all three.
_MOMENTS = [
    int(np.datetime64(datetime(*day), "ms").astype("i8"))
    for day in ((2026, 3, 28, 18), (2026, 3, 29, 0), (2026, 3, 29, 1), (2026, 3, 29, 22), (2026, 10, 24, 22),
                (2026, 10, 25, 0), (2026, 10, 25, 1), (2026, 10, 25, 23), (2026, 10, 31, 15), (2026, 10, 31, 18, 30))
]  # fmt: skip


LONG_RUN = pytest.param("Australia/Lord_Howe", marks=pytest.mark.soak)  # half an hour of summer time


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Kolkata", "Europe/Paris", LONG_RUN])
def test_days_and_hours_are_local_over_clock_changes(empty_store: EmbeddedStore, zone: str, *, memory: bool) -> None:
    migrate(empty_store, FOR_EVER, zone)
    chance = random.Random(zone)
    rows = []
    for number in range(400):
        row: dict[str, Any] = {name: chance.choice(values) for name, values in LABELS.items()}
        row |= dict.fromkeys(("direction", "copy", "in_if", "out_if", "src_as", "dst_as", "flags"), 0)
        row |= {"octets": number, "packets": 1, "octets_est": number * 10, "packets_est": 10, "ip_version": 4,
                "proto": 6, "lower_port": 443, "sub_id": 1 + number % 3, "sampling": 10, "src_addr": ADDRESSES[0],
                "dst_addr": ADDRESSES[1], "bus_offset": number % 6}  # fmt: skip
        row["ts"] = chance.choice(_MOMENTS) + chance.randint(-7_200_000, 7_200_000)
        row["lasted"] = chance.choice([0, 30_000, 600_000, 5_400_000, 20_000_000])
        rows.append(row)
    messages: dict[int, pa.Table] = {}
    roll_rows = insert(empty_store, rows, messages)
    roll_up(empty_store, zone, [2, 4], random.Random(1), messages if memory else {})
    compare(empty_store, roll_rows, zone)


def test_a_repeated_local_hour_is_two_and_a_day_has_25(empty_store: EmbeddedStore) -> None:
    migrate(empty_store, FOR_EVER, "Europe/Paris")
    begin = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp())  # midnight of the day with two hours from 2 to 3
    batch = flows(25, ts=(begin + np.arange(25) * 3600 + 1800) * 1000, ts_start=(begin + np.arange(25) * 3600) * 1000,
                  sub_id=1, bus_offset=0)  # fmt: skip
    empty_store.insert("flows", table(batch), token="t")
    run_range(empty_store, "Europe/Paris", "s", 0, 0, 0, 1)
    hours = empty_store.query(
        "SELECT time AS t, sum(flows) AS n FROM bucket_1h GROUP BY time ORDER BY time"
    ).to_pylist()
    assert hours == [{"t": begin + number * 3600, "n": 1} for number in range(25)]
    assert empty_store.query("SELECT day, sum(flows) AS n FROM subscriber_1d GROUP BY day").to_pylist() == [
        {"day": date(2026, 10, 25), "n": 25}
    ]


def test_the_range_of_sampling_intervals_and_the_columns_that_are_no_sums(store: EmbeddedStore) -> None:
    sources = (SamplingSource.HEADER, SamplingSource.SAMPLER, SamplingSource.ASSUMED)
    for offset, sampling in enumerate((1000, 64, 16_384)):
        batch = flows(2, sampling=sampling, sampling_source=int(sources[offset]), bus_offset=offset)
        store.insert("flows", table(batch), token=f"{offset}")
        run_range(store, "Asia/Tokyo", "s", 0, 0, offset, offset + 1)
    store.command("OPTIMIZE TABLE exporter_1m FINAL")
    found = store.query("SELECT min_sampling, max_sampling, flows FROM exporter_1m").to_pylist()
    assert found == [{"min_sampling": 64, "max_sampling": 16_384, "flows": 6}]
    told = store.query("SELECT arrayJoin(sampling_sources) AS source FROM v_exporters ORDER BY source").to_pylist()
    assert told == [{"source": "assumed"}, {"source": "header"}, {"source": "sampler"}]


def test_talkers_lack_at_most_what_was_cut(store: EmbeddedStore) -> None:
    chance = np.random.default_rng(1)
    truth: dict[bytes, int] = {}
    for offset in range(3):
        hosts = np.where(chance.random(6000) < 0.5, chance.zipf(1.3, 6000) % 50, chance.integers(0, 3000, 6000))
        octets = chance.integers(1, 1000, 6000)
        address = np.zeros((6000, 16), "u1")
        address[:, 10:12] = 255
        address[:, 12:] = (hosts * 300 + 0x0A000000).astype(">u4").view("u1").reshape(-1, 4)
        for one, value in zip(address, octets.tolist(), strict=True):
            truth[one.tobytes()] = truth.get(one.tobytes(), 0) + value
        batch = flows(6000, octets_est=octets, src_addr=address.reshape(-1).view("V16"), bus_offset=offset)
        store.insert("flows", table(batch), token=f"{offset}")
        run_range(store, "Asia/Tokyo", "s", 0, 0, offset, offset + 1)
    rows = store.query("SELECT prefix, length, sum(octets_est) AS o, sum(cut) AS cut FROM talker_5m"
                       " WHERE side = 1 AND kind = 'address' GROUP BY prefix, length").to_pylist()  # fmt: skip
    assert sum(row["o"] for row in rows) == sum(truth.values())
    (cut,) = (row["cut"] for row in rows if row["length"] == 0)
    said = {row["prefix"]: row["o"] for row in rows if row["length"]}
    assert len(truth) > len(said) > 1000 and cut > 0
    assert all(0 <= truth[address] - said.get(address, 0) <= cut for address in truth)
    assert {address for address, octets in truth.items() if octets > cut} <= set(said)


def test_what_is_said_of_a_rollup_is_so(store: EmbeddedStore) -> None:
    for rollup in ROLLUPS:
        columns, _ = parts_of(rollup.name, "1", "UTC")
        made = [row["name"] for row in store.query(f"DESCRIBE TABLE {rollup.name}").to_pylist()]
        assert list(columns) == made
        assert {rollup.time, *rollup.keys, *rollup.measures} <= set(made)
        key = store.query(
            "SELECT sorting_key AS s, partition_key AS p FROM system.tables"
            " WHERE database = currentDatabase() AND name = {n:String}", n=rollup.name,
        ).to_pylist()[0]  # fmt: skip
        assert set(key["s"].split(", ")) == {rollup.time, *rollup.keys}
        assert key["p"].startswith("toYYYYMMDD" if rollup.partition == "day" else "toYYYYMM(")
