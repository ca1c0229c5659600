"""The key of the pseudonyms changes for all rows at once, once, and never by accident; in the real engine."""

from typing import Any

import numpy as np
import pytest

from enricher.subscribers import changed_ids, key_check
from sinks.embedded import EmbeddedStore
from sinks.rekey import (
    OtherKey,
    RekeyRefused,
    agree_on_key,
    change_under_way,
    finish,
    ids_in,
    key_in_force,
    octets_needed,
    prepare,
    refuse_half_changed,
)
from sinks.rollup_ranges import ALL, begin_at, is_done, record
from sinks.rollup_tables import of_offsets, statement
from sinks.subscribers import BY_ID, days_of
from tests.rekey_rows import USERS, contents, fill, id_of, under
from tests.stored import START_MS, TIMEZONE, flows, table

OLD, NEW = b"the old key of the tests, 32 long", b"the new key of the tests, 32 long"


class Died(Exception):  # noqa: N818 - a state, told by its name
    """As if the process had been killed."""


@pytest.fixture
def store(fresh_store: EmbeddedStore) -> EmbeddedStore:
    """One of its own: exchanged tables forget their tokens."""
    fill(fresh_store, OLD)
    agree_on_key(fresh_store, key_check(OLD))
    return fresh_store


def change(store: EmbeddedStore, before: bytes, after: bytes, die_at: str = "", put: Any = lambda: None) -> list[str]:
    """As the command does it; the steps."""
    steps: list[str] = []

    def step(what: str) -> None:
        steps.append(what)
        if die_at and what.startswith(die_at):
            raise Died

    decided = change_under_way(store)
    if decided is None:
        ids = ids_in(store)
        new, _ = changed_ids(before, after, USERS[:3], ids)
        decided = prepare(store, TIMEZONE, ids, new, key_check(before), key_check(after), wait_seconds=0, step=step)
    finish(store, decided, put, step)
    return steps


def databases(store: EmbeddedStore) -> list[str]:
    sql = "SELECT name FROM system.databases WHERE name LIKE concat(currentDatabase(), '\\_%')"
    return [row["name"] for row in store.query(sql).to_pylist()]


def test_every_table_has_the_same_under_the_new_ids(store: EmbeddedStore) -> None:
    before = contents(store)
    assert {name: len(before[name]) for name in BY_ID} == dict(zip(BY_ID, (5, 4, 4, 4, 3), strict=True))
    # A key of which the test knows nothing but the definition of an id.
    assert set(before["subscriber_name"]) == {id_of(OLD, *user) for user in USERS[:3]}
    days = store.query("SELECT day, sum(in_octets) AS o FROM v_user_day GROUP BY day ORDER BY day").to_pylist()
    mine = days_of(store, [id_of(OLD, "mobile", "0901", "mobile")])
    assert mine and octets_needed(store) > 0
    put: list[bool] = []
    change(store, OLD, NEW, put=lambda: put.append(True))
    assert contents(store) == under(before, OLD, NEW) and put == [True]
    assert store.query("SELECT day, sum(in_octets) AS o FROM v_user_day GROUP BY day ORDER BY day").to_pylist() == days
    assert days_of(store, [id_of(NEW, "mobile", "0901", "mobile")]) == mine
    assert days_of(store, [id_of(OLD, "mobile", "0901", "mobile")]) == []
    assert key_in_force(store) == key_check(NEW) and change_under_way(store) is None
    # Nothing is left by which one key's ids could be told from the other's.
    assert databases(store) == []
    # Merged in any way it is the same.
    for name in BY_ID:
        store.command(f"OPTIMIZE TABLE {name} FINAL")
    assert contents(store) == under(before, OLD, NEW)


STEPS = (
    "database", "table of", "flows: ", "subscriber_1d: ", "subscriber_name: ", "decided", "flows exchanged",
    "accounting_1d exchanged", "subscriber_name exchanged", "former rows dropped", "key in its place",
)  # fmt: skip


def test_a_change_cut_short_is_finished_by_the_next_call(store: EmbeddedStore) -> None:
    key = OLD
    for number, die_at in enumerate(STEPS):
        before, following = contents(store), f"key {number} of the tests, 32 bytes long".encode()
        with pytest.raises(Died):
            change(store, key, following, die_at)
        is_decided = number >= STEPS.index("decided")
        if is_decided:
            for check in (key, following):
                with pytest.raises(OtherKey, match="begun and not finished"):
                    agree_on_key(store, key_check(check))
            with pytest.raises(OtherKey):
                refuse_half_changed(store)
        else:
            assert contents(store) == before
            agree_on_key(store, key_check(key))
        # What is decided needs the former key no more.
        change(store, b"" if is_decided else key, following)
        assert contents(store) == under(before, key, following) and databases(store) == []
        agree_on_key(store, key_check(following))
        key = following


def test_there_and_back_again(store: EmbeddedStore) -> None:
    before = contents(store)
    change(store, OLD, NEW)
    change(store, NEW, OLD)
    back = under(under(before, OLD, NEW), NEW, OLD)
    assert contents(store) == back
    known = {id_of(OLD, *user) for user in USERS[:3]}
    # Whom nobody knows does not come back: that is the point.
    assert {number for number in before["flows"] if number not in back["flows"]} == set(before["flows"]) - known - {0}


def test_rows_that_come_meanwhile_stop_it_before_anything_is_changed(store: EmbeddedStore) -> None:
    ids = ids_in(store)
    new, _ = changed_ids(OLD, NEW, USERS, ids)

    def step(what: str) -> None:
        if what.startswith("accounting_1d"):
            store.insert("flows", table(flows(1, START_MS, bus_offset=77)), token="late")

    with pytest.raises(RekeyRefused, match=r"flows was written to meanwhile \(rows 600 and 601.*stop every sink"):
        prepare(store, TIMEZONE, ids, new, "a", "b", step=step)
    assert change_under_way(store) is None
    agree_on_key(store, key_check(OLD))


def test_an_id_that_is_not_in_the_mapping_stops_it(store: EmbeddedStore) -> None:
    ids = ids_in(store)
    new, _ = changed_ids(OLD, NEW, USERS, ids)
    before = contents(store)
    with pytest.raises(RekeyRefused, match=r"flows: nobody"):
        prepare(store, TIMEZONE, ids[1:], new[1:], "a", "b")
    with pytest.raises(RekeyRefused, match="two subscribers would have one id"):
        prepare(store, TIMEZONE, ids, np.full(len(ids), 7, "u8"), "a", "b")
    assert contents(store) == before


def test_a_range_of_a_dead_sink_does_not_count_twice(fresh_store: EmbeddedStore) -> None:
    store = fresh_store
    number = id_of(OLD, *USERS[0])
    store.insert("flows", table(flows(10, sub_id=number, bus_offset=0)), token="t")
    begin_at(store, 0, 0)
    record(store, ALL, "stream", 0, 0, 0, 1, token="stream/0/0-1")
    # It died when this rollup was done and others were not.
    store.command(statement("subscriber_1d", of_offsets(0, 0, 1), TIMEZONE), token="subscriber_1d/stream/0/0-1")
    ids = ids_in(store)
    new, unknown = changed_ids(OLD, NEW, USERS, ids)
    assert unknown == 0
    finish(store, prepare(store, TIMEZONE, ids, new, "a", "b", wait_seconds=0), lambda: None)
    assert is_done(store, ALL, 0, 0, 1)  # asked by the sink before it runs one again
    (row,) = store.query("SELECT sub_id, sum(flows) AS n FROM subscriber_1d GROUP BY sub_id").to_pylist()
    assert row == {"sub_id": id_of(NEW, *USERS[0]), "n": 10}
