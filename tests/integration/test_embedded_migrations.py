"""Migrations on a real engine: planned first, applied once, refused where they do not fit."""

from dataclasses import replace

import pytest

from sinks.embedded import EmbeddedStore
from sinks.migrations import Migration, MigrationError, migrate, migrations, plan, problems
from sinks.schema import FLOW, OBSERVATIONS
from sinks.settings import StoreSettings
from tests.stored import FOR_EVER, TIMEZONE, flows, table


def tables(store: EmbeddedStore) -> dict[str, str]:
    rows = store.query("SELECT name, create_table_query AS sql FROM system.tables WHERE database = currentDatabase()")
    return {row["name"]: row["sql"] for row in rows.to_pylist()}


def test_a_dry_run_changes_nothing(empty_store: EmbeddedStore) -> None:
    steps = migrate(empty_store, FOR_EVER, TIMEZONE, dry_run=True)
    assert [step.version for step in steps] == [migration.version for migration in migrations()]
    assert tables(empty_store) == {}


def test_a_second_run_has_nothing_to_do(store: EmbeddedStore) -> None:
    assert migrate(store, FOR_EVER, TIMEZONE) == []
    applied = store.query("SELECT version, name, checksum FROM schema_version ORDER BY version").to_pylist()
    assert [row["version"] for row in applied] == [migration.version for migration in migrations()]
    assert all(len(row["checksum"]) == 64 for row in applied)


def test_the_tables_are_as_they_should_be(store: EmbeddedStore) -> None:
    assert problems(store) == []
    columns = store.query("DESCRIBE TABLE flows").to_pylist()
    assert [column["name"] for column in columns] == [column.name for column in FLOW]
    kinds = {column["name"]: column["type"] for column in columns}
    assert (kinds["ts"], kinds["src_addr"], kinds["octets"]) == ("DateTime64(3, 'UTC')", "IPv6", "Int64")
    flow = tables(store)["flows"]
    for part in ("PARTITION BY toYYYYMMDD(ts)", "ORDER BY ts", "INDEX by_offset bus_offset TYPE minmax GRANULARITY 1",
                 "min_parts_to_merge_at_once = 0", "merge_selector_base = 50", "auto_statistics_types = ''",
                 "ttl_only_drop_parts = 1"):  # fmt: skip
        assert part in flow
    assert "TTL" not in flow
    for name, expected in OBSERVATIONS.items():
        assert [row["name"] for row in store.query(f"DESCRIBE TABLE {name}").to_pylist()] == [c.name for c in expected]


def test_a_migration_cut_short_is_applied_again(empty_store: EmbeddedStore) -> None:
    # As a kill between the second statement and the record leaves it.
    for statement in plan(empty_store, FOR_EVER, TIMEZONE)[0].statements:
        empty_store.command(statement)
    empty_store.command(plan(empty_store, FOR_EVER, TIMEZONE)[1].statements[0])
    migrate(empty_store, FOR_EVER, TIMEZONE)
    assert problems(empty_store) == []


def test_a_new_file_is_applied_to_an_old_store(store: EmbeddedStore) -> None:
    number = len(migrations())
    known = [*migrations(), Migration(number, "more", "CREATE TABLE IF NOT EXISTS more (x UInt8) ENGINE = Memory;")]
    assert [step.name for step in migrate(store, FOR_EVER, TIMEZONE, known=known)] == ["more"]
    assert "more" in tables(store)
    with pytest.raises(MigrationError, match=rf"has migration {number:04}_more.*written by a newer Flowtide"):
        plan(store, FOR_EVER, TIMEZONE)


def test_an_edited_file_is_refused(store: EmbeddedStore) -> None:
    first, *others = migrations()
    with pytest.raises(MigrationError, match=r"0000_versions\.sql is not the file that was applied.*new file"):
        plan(store, FOR_EVER, TIMEZONE, [replace(first, text=first.text + "\n-- better"), *others])


def test_another_time_zone_is_refused(store: EmbeddedStore) -> None:
    with pytest.raises(MigrationError, match=r"are of timezone 'Asia/Tokyo', the settings say 'UTC'"):
        migrate(store, FOR_EVER, "UTC")


@pytest.mark.parametrize("zone", ["Asia/Tokio", "", "UTC'; DROP TABLE flows; --", "../etc/passwd", "/etc/localtime"])
def test_what_is_no_zone_is_refused(empty_store: EmbeddedStore, zone: str) -> None:
    with pytest.raises(MigrationError, match="is no IANA zone"):
        migrate(empty_store, FOR_EVER, zone)


def test_retention_follows_the_settings(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(10)), token="t")
    steps = migrate(store, StoreSettings(raw_days=30, minute_days=7), TIMEZONE)
    assert [step.version for step in steps] == [None, None]
    assert "TTL toDateTime(received) + toIntervalDay(30)" in tables(store)["flows"]
    assert "TTL toDateTime(time) + toIntervalDay(7)" in tables(store)["bucket_1m"]
    assert "TTL" not in tables(store)["subscriber_1d"]
    assert migrate(store, StoreSettings(raw_days=30, minute_days=7), TIMEZONE) == []
    migrate(store, FOR_EVER, TIMEZONE)
    assert "TTL" not in tables(store)["flows"]


def test_raw_rows_live_from_their_arrival(empty_store: EmbeddedStore) -> None:
    migrate(empty_store, StoreSettings(raw_days=1), TIMEZONE)
    now = int(empty_store.query("SELECT toUnixTimestamp64Milli(now64(3)) AS ms").to_pylist()[0]["ms"])
    year = 365 * 86_400_000
    empty_store.insert("flows", table(flows(3, ts=now - year, received=now)), token="replayed")
    empty_store.insert("flows", table(flows(5, ts=now - year, received=now - year)), token="old")
    empty_store.command("OPTIMIZE TABLE flows FINAL")
    assert empty_store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 3}]


def test_a_table_without_its_window_is_a_problem(store: EmbeddedStore) -> None:
    store.command("ALTER TABLE port_1h MODIFY SETTING non_replicated_deduplication_window = 0")
    store.command("DROP TABLE stage_1m")
    found = problems(store)
    assert len(found) == 2
    assert "port_1h would store a repeated insert twice" in found[0]
    assert "stage_1m is missing: run flowtide migrate" in found[1]


def test_views_show_what_people_write(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(2)), token="t")
    rows = store.query("SELECT src, octets, octets_est, packets_est FROM v_flow").to_pylist()
    assert rows == [{"src": "::", "octets": 100, "octets_est": 1000, "packets_est": 10}] * 2
    assert store.query("SELECT * FROM v_bucket_1m").to_pylist() == []


def ttl(store: EmbeddedStore, name: str) -> str:
    sql = tables(store)[name]
    return sql.split(" TTL ")[1].split(" SETTINGS")[0] if " TTL " in sql else ""


def test_a_rollup_may_live_longer_or_shorter_than_its_kind(empty_store: EmbeddedStore) -> None:
    own = StoreSettings(table_days={"bucket_1m": 0, "talker_5m": 30, "port_1d": 4000})
    for settings, expected in (
        (own, {"bucket_1m": "", "talker_5m": "30", "port_1d": "4000", "bucket_5m": "90", "port_1h": ""}),
        (own.model_copy(update={"minute_days": 7}), {"bucket_1m": "", "talker_5m": "30", "bucket_5m": "7"}),
        (StoreSettings(), {"bucket_1m": "90", "talker_5m": "90", "port_1d": "", "bucket_5m": "90"}),
        (StoreSettings(minute_days=5), {"bucket_1m": "5", "talker_5m": "5", "as_5m": "5"}),
    ):
        migrate(empty_store, settings, TIMEZONE)
        assert migrate(empty_store, settings, TIMEZONE) == []
        for name, days in expected.items():
            assert (f"toIntervalDay({days})" in ttl(empty_store, name)) if days else not ttl(empty_store, name), name
    with pytest.raises(MigrationError, match=r"store\.table_days: flows is no rollup"):
        migrate(empty_store, StoreSettings(table_days={"flows": 3}), TIMEZONE)
