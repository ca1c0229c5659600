"""The rollups' SQL as one block under a token, whatever the execution; what they hold is in test_rollup_laws."""

import numpy as np
import pytest

from sinks import rollups
from sinks.embedded import EmbeddedStore
from sinks.inserts import INSERT_SETTINGS
from sinks.rollup_tables import STEPS, of_step, step_statement
from sinks.rollups import of_offsets, statement
from sinks.schema import Flag
from tests.stored import START_MS, TIMEZONE, flows, table, traffic


def test_an_hour_long_flow_is_61_minutes_at_most(store: EmbeddedStore) -> None:
    minute = START_MS // 60_000 * 60_000
    batch = flows(1, ts=minute + 1, ts_start=minute + 1 - 3_600_000, octets=1000, octets_est=2**53, bus_offset=7)
    store.insert("flows", table(batch), token="t")
    store.command(statement("bucket_1m", of_offsets(0, 7, 9), TIMEZONE))
    sums = store.query("SELECT count() AS n, sum(flows) AS f, sum(octets) AS o, sum(octets_est) AS e FROM bucket_1m")
    assert sums.to_pylist() == [{"n": 61, "f": 1, "o": 1000, "e": 2**53}]


def many_groups(store: EmbeddedStore) -> int:
    """Insert flows of two days that are 130,000 groups by port and hour, 400,000 by subscriber and day: in four parts,
    which threads of a machine read side by side."""
    rows = 400_000
    number = np.arange(rows)
    end = START_MS + number % 2 * 86_400_000 + number // 2 % 1440 * 60_000
    batch = flows(
        rows, ts=end, ts_start=end - np.where(number % 100 == 0, 300_000, 1000), sub_id=number + 1,
        proto=number % 2 * 11 + 6, lower_port=number // 6, bus_offset=7,
    )  # fmt: skip
    whole = table(batch)
    for part in range(4):
        store.insert("flows", whole.slice(part * rows // 4, rows // 4), token=f"t{part}")
    return rows


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("bucket_1m", "subscriber_1d", "talker_5m") else pytest.mark.soak)
        for name in rollups.NAMES
    ],
)
def test_a_large_rollup_is_one_part_a_partition_and_counts_once(store: EmbeddedStore, name: str) -> None:
    store.command("SYSTEM STOP MERGES")
    rows = many_groups(store)
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
        with store.session({**other, **INSERT_SETTINGS, "insert_deduplication_token": token}) as connection:
            connection.query(sql)
    assert store.query(parts, name=name).to_pylist() == once
    store.command("SYSTEM START MERGES")
    if name in ("port_1h", "subscriber_1d"):
        assert sum(partition["rows"] for partition in once) >= 130_000
    if name == "lease_coverage_5m":  # has estimates only
        assert store.query(f"SELECT sum(flows) AS f FROM {name}").to_pylist() == [{"f": rows}]
        return
    total = store.query(f"SELECT sum(flows) AS f, sum(octets) AS o FROM {name}").to_pylist()
    # Both interfaces of a flow; both its ends, as addresses and as prefixes.
    times = {"interface_1m": 2, "talker_5m": 4}.get(name, 1)
    assert total == [{"f": times * rows, "o": times * 100 * rows}]


def test_a_repeat_is_known_on_any_machine(store: EmbeddedStore) -> None:
    """The control beside it: left to the machine's number of threads, it is stored again."""
    store.command("SYSTEM STOP MERGES")
    for seed in range(4):
        for rows in (120_000, 12_000):
            store.insert("flows", table(traffic(rows, seed)), token=f"{seed}/{rows}")
    sql = statement("subscriber_1d", of_offsets(0, 0, 1 << 40), TIMEZONE)
    unpinned = {name: value for name, value in INSERT_SETTINGS.items() if name != "max_threads"}
    for settings, copies in ((INSERT_SETTINGS, 1), (unpinned, 2)):
        store.command("TRUNCATE TABLE subscriber_1d")
        found = []
        for threads in (2, 4):
            with store.session({"max_threads": threads, **settings, "insert_deduplication_token": "t"}) as connection:
                connection.query(sql)
            found.append(store.query("SELECT count() AS n FROM subscriber_1d").column("n")[0].as_py())
        assert found[1] == copies * found[0] > 0
    store.command("SYSTEM START MERGES")


def test_a_range_in_steps_is_the_range_in_one(store: EmbeddedStore) -> None:
    many_groups(store)
    for step in STEPS:
        for _ in range(2):
            store.command(step_statement(step, 0, 7, 9, TIMEZONE), token=f"{step}/0/7-9")
    for name in rollups.NAMES:
        store.command(f"CREATE TABLE {name}_direct AS {name}")
        direct = statement(name, of_offsets(0, 7, 9), TIMEZONE).replace(f"INTO {name}", f"INTO {name}_direct")
        store.command(direct, token=f"{name} directly")
        store.command(statement(name, of_offsets(0, 7, 9), TIMEZONE, staged=of_step(0, 7, 9)), token=f"{name} in steps")
        for more, less in ((name, f"{name}_direct"), (f"{name}_direct", name)):
            differing = store.query(f"SELECT count() AS n FROM (SELECT * FROM {more} EXCEPT SELECT * FROM {less})")
            assert differing.to_pylist() == [{"n": 0}], name


def test_the_flags_in_the_sql_are_those_of_the_schema() -> None:
    unsound = int(Flag.IMPLAUSIBLE | Flag.SAMPLING_UNKNOWN)
    step = step_statement("flow_range", 0, 7, 9, TIMEZONE)
    for flag, said in (
        (Flag.IMPLAUSIBLE, "multiIf(bitTest(flags, {}), 3"), (Flag.SAMPLING_UNKNOWN, "bitTest(flags, {}), 4"),
        (Flag.OTHER_POINT, "16 * bitTest(flags, {})"),
        (Flag.AMBIGUOUS_LEASE, "multiIf(sub_id = 0, 2, bitTest(flags, {}), 1, 0)"),
    ):  # fmt: skip
        assert said.format(int(flag).bit_length() - 1) in step, flag
    assert f"bitAnd(flags, {unsound}) = 0" in step
    for name in ("port_1h", "port_1d", "subscriber_1d", "talker_5m", "as_5m", "lease_coverage_5m"):
        assert f"bitAnd(flags, {unsound | Flag.OTHER_POINT}) = 0" in statement(name, "1", "UTC")
