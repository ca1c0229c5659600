"""What exactly once rests on in the engine: a token once, even at once; without its window a table doubles."""

import threading

import pytest

from sinks.embedded import EmbeddedStore
from sinks.migrations import DELIVERY_TABLES, migrate, problems
from sinks.rollups import NAMES, of_offsets, statement
from sinks.schema import OBSERVATIONS
from sinks.settings import StoreSettings
from sinks.streams import base_of
from tests.stored import FOR_EVER, TIMEZONE, flows, table, traffic


def sums(store: EmbeddedStore, name: str) -> int:
    return int(store.query(f"SELECT sum(flows) AS n FROM {name}").to_pylist()[0]["n"])


@pytest.mark.parametrize("name", NAMES)
def test_control_a_rollup_without_its_window_doubles(store: EmbeddedStore, name: str) -> None:
    store.insert("flows", table(flows(50, bus_offset=7, sub_id=1)), token="t")
    sql, token = statement(name, of_offsets(0, 7, 8), TIMEZONE), f"{name}/s/0/7-8"
    for _ in range(2):
        store.command(sql, token=token)
    once = 50 * {"interface_1m": 2, "talker_5m": 4}.get(name, 1)
    assert sums(store, name) == once
    store.command(f"ALTER TABLE {name} MODIFY SETTING non_replicated_deduplication_window = 0")
    for _ in range(2):
        store.command(sql, token=f"{token} again")
    assert sums(store, name) == 3 * once


def test_every_table_without_its_window_is_a_problem(store: EmbeddedStore) -> None:
    for name in ("flows", *NAMES, *OBSERVATIONS, *DELIVERY_TABLES):
        store.command(f"ALTER TABLE {name} MODIFY SETTING non_replicated_deduplication_window = 0")
        (problem,) = problems(store)
        assert f"{name} would store a repeated insert twice" in problem
        store.command(problem.split(": ", 1)[1])  # what it says mends it
        assert problems(store) == []


def test_the_same_token_at_once_is_one_block(store: EmbeddedStore) -> None:
    rows = table(traffic(40_000, 1))
    failures: list[Exception] = []

    def insert(number: int) -> None:
        try:
            store.insert("flows", rows, token=f"t/0/{number}")
        except Exception as error:
            failures.append(error)

    for number in range(5):
        threads = [threading.Thread(target=insert, args=(number,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 5 * 40_000}]
    token, failed = "port_1h/s/0/1-2", []

    def roll() -> None:
        try:
            store.command(statement("port_1h", of_offsets(0, 1, 2), TIMEZONE), token=token)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=roll) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sums(store, "port_1h") == 5 * 40_000


def test_a_stream_begins_behind_the_rows_of_others(store: EmbeddedStore) -> None:
    assert base_of(store, "first", 0, known=False) == 0
    store.insert("flows", table(flows(3, bus_offset=41)), token="t")
    assert base_of(store, "first", 0, known=True) == 0
    assert base_of(store, "older than bases", 0, known=True) == 0
    assert base_of(store, "second", 0, known=False) == 42
    assert base_of(store, "second", 0, known=True) == 42
    assert base_of(store, "second", 1, known=False) == 0


@pytest.mark.parametrize("days", [0, 7])
def test_a_store_made_before_the_audit_gets_it(store: EmbeddedStore, days: int) -> None:
    for name in ("audit_1m", "bus_stream"):
        store.command(f"DROP TABLE {name} SYNC")
    store.command("ALTER TABLE schema_version DELETE WHERE version = 8 SETTINGS mutations_sync = 1")
    assert len(problems(store)) == 2
    migrate(store, StoreSettings(raw_days=0, minute_days=days), TIMEZONE)
    assert problems(store) == []
    migrate(store, FOR_EVER, TIMEZONE)
    migrate(store, StoreSettings(raw_days=0, minute_days=days), TIMEZONE)
