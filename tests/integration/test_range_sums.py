"""Rollups from memory: the rows that the SQL gives, whatever a message looks like, and under the same tokens."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sinks import Message
from sinks.codec import encode_parts
from sinks.delivery import EnrichedHeaders
from sinks.embedded import EmbeddedStore
from sinks.message_sums import KEYS, Names, sums_of
from sinks.metrics import SUM_FAULTS
from sinks.range_sums import RangeSums
from sinks.rollup_ranges import run_range
from sinks.rollup_tables import NAMES
from sinks.rows import rows_of
from sinks.schema import BUCKETS, ENRICHED, Flag
from tests.stored import START_MS, TIMEZONE, flows, table, traffic

MESSAGES = 4


def addresses(chance: np.random.Generator, rows: int, hosts: int) -> Any:
    """Two thirds IPv4, few of many prefixes each."""
    number = chance.integers(0, hosts, rows)
    octets = np.zeros((rows, 16), "u1")
    octets[:, 10:12] = 255
    octets[:, 12:] = (number * 77 + 0x0A000000).astype(">u4").view("u1").reshape(rows, 4)
    six = number % 3 == 0
    octets[six, :8] = (0x20010DB8_00000000 + number[six] * 0x5000).astype(">u8").view("u1").reshape(-1, 8)
    octets[six, 10:12] = 0
    return octets.reshape(-1).view("V16")


def mixed(rows: int, message: int) -> pa.Table:
    """Everything at once: both families, copies, flags, no subscriber, more talkers than are kept, equal sums."""
    chance = np.random.default_rng(message)
    batch = traffic(rows, message)
    few = chance.integers(1, 5, rows)  # many figures are equal: their order is the addresses'
    batch.columns |= {
        "src_addr": addresses(chance, rows, 5_000), "dst_addr": addresses(chance, rows, 900),
        "octets": few, "octets_est": few * 1000, "packets": few % 2, "packets_est": few % 2 * 1000,
        "copy": chance.choice([0, 0, 0, 1, 2], rows).astype("u1"),
        "flags": chance.choice([0] * 20 + [flag.value for flag in Flag], rows).astype("u4"),
        "sub_id": np.where(chance.random(rows) < 0.4, 0, batch.columns["sub_id"]).astype("u8"),
        "direction": chance.integers(0, 3, rows).astype("u1"), "lower_port": chance.integers(0, 500, rows).astype("u2"),
        "src_as": chance.integers(0, 50, rows).astype("u4"), "sampling": chance.integers(0, 3, rows).astype("u4"),
        "sampling_source": chance.integers(0, 9, rows).astype("u1"), "bus_offset": np.full(rows, message, "u8"),
    }  # fmt: skip
    return table(batch)


def as_sent(rows: int, message: int) -> pa.Table:
    """What the sink makes of a message whose equal columns are written once or not at all."""
    batch = flows(
        rows, ts=START_MS + np.arange(rows), ts_start=START_MS - 90_000, sub_id=7 + message % 2, proto=6,
        lower_port=443, src_as=np.arange(rows) % 7,
    )  # fmt: skip
    batch.labels["bucket"] = BUCKETS
    batch.columns = {
        name: np.ndarray((rows,), array.dtype, array[:1].tobytes(), 0, (0,)) if (array == array[0]).all() else array
        for name, array in batch.columns.items() if not name.startswith("bus_")
    }  # fmt: skip
    body = b"".join(encode_parts(batch, ENRICHED, "none", runs=True))
    headers = EnrichedHeaders(rows, message, message + 1, (), {}, (), START_MS, START_MS + rows)
    _, found, _ = rows_of(Message(0, message, headers.encode(), body), headers, 0, 0)
    return found


def rolled(store: EmbeddedStore) -> dict[str, list[dict[str, object]]]:
    """All that the tables hold, row by row, and nothing of it any more."""
    found = {}
    for name in NAMES:
        columns = [row["name"] for row in store.query(f"DESCRIBE TABLE {name}").to_pylist()]
        found[name] = store.query(f"SELECT * FROM {name} ORDER BY {', '.join(columns)}").to_pylist()
        store.command(f"TRUNCATE TABLE {name}")
    for name in ("rollup_cut", "rollup_plan"):
        store.command(f"TRUNCATE TABLE {name}")
    return found


@pytest.mark.parametrize("message", [mixed, as_sent])
def test_memory_gives_the_rows_that_the_sql_gives(store: EmbeddedStore, message: Any) -> None:
    store.command("SYSTEM STOP MERGES")
    messages = [message(20_000, number) for number in range(MESSAGES)]
    for number, rows in enumerate(messages):
        store.insert("flows", rows, token=f"flows/{number}")
    counted = run_range(store, TIMEZONE, "sql", 0, 0, 0, MESSAGES)
    wanted = rolled(store)
    sums = RangeSums(store, TIMEZONE)
    ready = sums.rows([sums.add(rows) for rows in messages])
    assert ready is not None
    assert run_range(store, TIMEZONE, "memory", 0, 0, 0, MESSAGES, ready) == counted == MESSAGES * 20_000
    found = rolled(store)
    for name in NAMES:
        assert found[name] == wanted[name], name
    if message is mixed:
        assert len(found["talker_5m"]) > 3_000 and any(row["length"] == 0 for row in found["talker_5m"])
        assert len(found["lease_coverage_5m"]) > 8 * 200
    store.command("SYSTEM START MERGES")


def test_a_range_counts_once_from_whatever_it_is_repeated(store: EmbeddedStore) -> None:
    messages = [mixed(3_000, number) for number in range(2)]
    for number, rows in enumerate(messages):
        store.insert("flows", rows, token=f"flows/{number}")
    store.command("SYSTEM STOP MERGES")
    sums = RangeSums(store, TIMEZONE)
    ready = [sums.rows([sums.add(rows)]) for rows in messages]
    counted = []
    for ways in ((ready[0], None), (None, ready[1])):  # memory and raw; then each from the other
        for offset, way in enumerate(ways):
            run_range(store, TIMEZONE, "s", 0, 0, offset, offset + 1, way)
        counted.append({name: store.query(f"SELECT count() AS n FROM {name}").to_pylist() for name in NAMES})
    assert counted[0] == counted[1]
    store.command("SYSTEM START MERGES")
    assert (
        store.query("SELECT sum(octets) AS o FROM subscriber_1d").to_pylist()
        == store.query("SELECT sum(octets) AS o FROM flows WHERE bitAnd(flags, 536) = 0 AND sub_id != 0").to_pylist()
    )
    assert (
        store.query("SELECT sum(flows) AS n FROM port_1d").to_pylist()
        == store.query("SELECT count() AS n FROM flows WHERE bitAnd(flags, 536) = 0").to_pylist()
    )


def test_memory_that_is_not_all_of_raw_does_not_count(store: EmbeddedStore) -> None:
    messages = [mixed(2_000, number) for number in range(2)]
    for number, rows in enumerate(messages):
        store.insert("flows", rows, token=f"flows/{number}")
    sums = RangeSums(store, TIMEZONE)
    short = sums.rows([sums.add(messages[0])])
    assert short is not None and short.rows == 2_000
    assert run_range(store, TIMEZONE, "s", 0, 0, 0, 2, short) == 4_000
    assert store.query(
        "SELECT sum(flows + unknown_rate_flows + implausible_flows) AS n FROM exporter_1m"
    ).to_pylist() == (store.query("SELECT count() AS n FROM flows WHERE copy != 1").to_pylist())
    assert sums.rows([sums.add(messages[0]), None]) is None


def test_a_fault_of_ours_leaves_the_range_to_the_sql(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sums, rows = RangeSums(store, TIMEZONE), mixed(1_000, 0)
    kept = [sums.add(rows)]
    before = SUM_FAULTS._value.get()
    monkeypatch.setattr("sinks.range_sums.range_rows", lambda *_: 1 // 0)
    assert sums.rows(kept) is None
    monkeypatch.setattr("sinks.range_sums.sums_of", lambda *_: 1 // 0)
    assert sums.add(rows).sums() is None
    assert SUM_FAULTS._value.get() == before + 2


def test_what_waits_for_long_is_forgotten_oldest_first(store: EmbeddedStore) -> None:
    messages = [mixed(1_000, number) for number in range(4)]
    one = RangeSums(store, TIMEZONE).add(messages[0]).octets
    sums = RangeSums(store, TIMEZONE, most_bytes=5 * one // 2)
    kept = [sums.add(rows) for rows in messages[:3]]
    assert [each.sums() is None for each in kept] == [True, False, False]
    assert sums.rows(kept) is None and sums.rows(kept[1:]) is not None
    del kept
    assert sums.add(messages[3]).sums() is not None
    assert sums.octets() < 3 * one // 2


def test_a_time_before_the_tables_is_left_to_the_sql() -> None:
    early = table(flows(2, ts=np.array([START_MS, 5]), ts_start=0))
    assert sums_of(early, Names()) is None
    assert sums_of(table(flows(2)), Names()) is not None


def test_a_message_of_one_kind_has_small_sums() -> None:
    parts = sums_of(table(flows(1_000, sub_id=5)), Names())
    assert parts is not None and set(parts) == set(KEYS)
    assert {name: len(next(iter(part.values()))) for name, part in parts.items()} == {
        "flow": 1, "port": 1, "subscriber": 1, "talker": 2, "as": 1, "coverage": 0,
    }  # fmt: skip
    lengths = [{len(array) for array in part.values()} for part in parts.values()]
    assert all(len(each) == 1 for each in itertools.chain(lengths))
