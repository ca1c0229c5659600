"""The key of the pseudonyms in the store: known again at every start, and changed for all rows at once.

``sub_id`` is part of sorting keys, so no row can be changed in its place.  The tables are written anew in a database
beside, each id by a table of old and new ones; counts and sums are held against those of the live ones, and only then
the change is written down (one row of ``setting``, with the UUID of each new table) and each table exchanged, which is
one step of the engine.  Before that row nothing is changed; behind it the same call goes on wherever it was killed: a
table that has its new UUID was exchanged, so no row is ever mapped twice.  Nothing may write meanwhile.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sinks import Store, StoreRefused
from sinks.inserts import MAX_ROWS, literal, quoted
from sinks.migrations import MigrationError
from sinks.rebuild import finish_recorded
from sinks.slices import StoredTable, stored_tables
from sinks.subscribers import BY_ID

KEY, CHANGE = "key_check", "key_change"
"""In ``setting``: the check value of the key in force, and the change that is under way; empty: none."""
_MAP = "map"
_UNKNOWN_TABLE = 60
_WAIT_SECONDS = 5.0  # for a sink to finish recorded ranges, before they are finished from here
_MARGIN = 1.1  # of the rows' octets: parts that are merged are there twice for a while

Ids = NDArray[np.uint64]
Step = Callable[[str], None]


class OtherKey(MigrationError):  # noqa: N818 - a state, told by its name
    """The store's pseudonyms are of another key, or about to be; says what to do."""


class RekeyRefused(Exception):  # noqa: N818
    """The key cannot be changed now; says what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is decided: checks of both keys, and the UUID that each table has once it is exchanged."""

    before: str
    after: str
    tables: dict[str, str]


def key_in_force(store: Store) -> str:
    """The check value that the store knows; empty: none yet."""
    return _kept(store).get(KEY, "")


def change_under_way(store: Store) -> Change | None:
    """A change that was begun and has to be finished."""
    kept = _kept(store).get(CHANGE, "")
    return Change(**json.loads(kept)) if kept else None


def refuse_half_changed(store: Store) -> None:
    """OtherKey when some tables have ids of one key and some of another."""
    if change_under_way(store) is not None:
        raise OtherKey(
            "a change of the key of the subscriber ids was begun and not finished: run flowtide leases rekey --yes"
            " again with the same new key; until then nothing enriches, stores or counts"
        )


def agree_on_key(store: Store, check: str, *, remember: bool = True) -> None:
    """OtherKey unless the store's ids are of the key with this check value; the first one is remembered."""
    refuse_half_changed(store)
    kept = key_in_force(store)
    if kept and kept != check:
        raise OtherKey(
            f"the store's subscriber ids are of another key (check value {kept}, that of the key here is {check}):"
            " set enricher.key, or restore state/subscriber.key, as it was; a key is changed only by flowtide leases"
            " rekey"
        )
    if not kept and remember:
        _keep(store, {KEY: check})


def ids_in(store: Store) -> Ids:
    """All ids of the store but 0, ascending."""
    found = [np.zeros(0, "u8")]
    for name in BY_ID:
        ids = store.query(f"SELECT DISTINCT sub_id FROM {name} WHERE sub_id != 0").column("sub_id")
        found.append(ids.to_numpy().astype("u8"))
    return np.unique(np.concatenate(found))


def octets_needed(store: Store) -> int:
    """On the store's disk, while tables are there twice."""
    names = ", ".join(map(literal, BY_ID))
    found = store.query(
        "SELECT sum(bytes_on_disk) AS n FROM system.parts"
        f" WHERE active AND database = currentDatabase() AND table IN ({names})"
    )
    return int(int(found.column("n")[0].as_py() or 0) * _MARGIN)


def prepare(
    store: Store, timezone: str, old: Ids, new: Ids, before: str, after: str, *,
    wait_seconds: float = _WAIT_SECONDS, step: Step = lambda what: None, settle: Callable[[], None] = lambda: None,
) -> Change:  # fmt: skip
    """Write all tables anew beside the live ones, ``old`` ids as ``new`` ones, and decide the change.

    ``settle`` makes what was written survive a power cut, where that is not the store's own affair.  RekeyRefused,
    StoreUnavailable, StoreRefused: nothing was changed.  What was left by a call that was killed goes.
    """
    refuse_half_changed(store)
    if len(np.unique(new)) != len(new) or not np.all(new):
        raise RekeyRefused("two subscribers would have one id under this key: take another one")
    # A range that ran in part would run again, and the exchanged table has forgotten its tokens.
    finish_recorded(store, timezone, wait_seconds)
    beside = _beside(store)
    _drop(store, beside)
    store.command(f"CREATE DATABASE {beside}")
    step("database beside")
    _write_map(store, beside, old, new)
    step(f"table of {len(old):,} ids")
    here = {table.name: table for table in stored_tables(store)}
    found = {}
    for name in BY_ID:
        found[name] = _checks(store, name, here[name])
        _copy(store, beside, here[name])
        copied = _checks(store, f"{beside}.{name}", here[name])
        if copied != found[name]:
            raise RekeyRefused(f"{name}: {_differing(found[name], copied)}: does something store at the same time?")
        step(f"{name}: {copied['rows_']:,} rows")
    for name in BY_ID:
        if (now := _checks(store, name, here[name])) != found[name]:
            raise RekeyRefused(f"{name} was written to meanwhile ({_differing(found[name], now)}): stop every sink")
    settle()
    change = Change(before, after, {name: _uuid(store, name, beside) for name in BY_ID})
    _keep(store, {CHANGE: json.dumps(asdict(change))})
    step("decided")
    return change


def finish(store: Store, change: Change, put_key: Callable[[], None], step: Step = lambda what: None) -> None:
    """Exchange what is not exchanged yet and let the new key be the one in force; ``put_key`` puts it in its place."""
    beside = _beside(store)
    for name, wanted in change.tables.items():
        if _uuid(store, name) == wanted:
            continue
        if _uuid(store, name, beside) != wanted:
            raise RekeyRefused(f"{beside}.{name} is not the table that was made: restore the store from a backup")
        store.command(f"EXCHANGE TABLES {name} AND {beside}.{name}")
        step(f"{name} exchanged")
    for name in change.tables:
        store.command(f"SYSTEM START TTL MERGES {name}")
    # What was is beside now, and the table by which one key's ids can be told from the other's.
    _drop(store, beside)
    step("former rows dropped")
    put_key()
    step("key in its place")
    _keep(store, {KEY: change.after, CHANGE: ""})
    step("done")


def _write_map(store: Store, beside: str, old: Ids, new: Ids) -> None:
    store.command(f"CREATE TABLE {beside}.{_MAP} (old UInt64, new UInt64) ENGINE = MergeTree ORDER BY old")
    for first in range(0, len(old), MAX_ROWS):
        rows = pa.table({"old": old[first : first + MAX_ROWS], "new": new[first : first + MAX_ROWS]})
        store.insert(f"{beside}.{_MAP}", rows, token=f"{_MAP}/{first}")


def _copy(store: Store, beside: str, table: StoredTable) -> None:
    name = table.name
    store.command(f"CREATE TABLE {beside}.{name} AS {name}")
    for each in (name, f"{beside}.{name}"):  # rows of both are compared: none goes by its age meanwhile
        store.command(f"SYSTEM STOP TTL MERGES {each}")
    columns = ", ".join(map(quoted, table.columns))
    values = ", ".join("m.new" if column == "sub_id" else f"t.{quoted(column)}" for column in table.columns)
    partitions = store.query(f"SELECT DISTINCT _partition_id AS id FROM {name} ORDER BY id").column("id").to_pylist()
    for partition in partitions:  # a day or a month; it streams, so memory holds the ids and some blocks
        store.command(
            f"INSERT INTO {beside}.{name} ({columns}) SELECT {values} FROM {name} AS t"
            f" ANY LEFT JOIN {beside}.{_MAP} AS m ON t.sub_id = m.old WHERE t._partition_id = {literal(partition)}"
            # Equal blocks are no repeats here, and an answer means stored.
            " SETTINGS insert_deduplicate = 0, async_insert = 0, join_use_nulls = 0"
        )


def _checks(store: Store, source: str, table: StoredTable) -> dict[str, int]:
    """Equal for equal contents however rows are merged, and whatever the ids are called."""
    # Names of their own: a column's would be taken for the sum inside the other sums.
    sums = [name for name, kind in table.columns.items() if kind in ("Int64", "UInt64") and name != "sub_id"]
    wanted = ", ".join([
        "count() AS rows_", "countIf(t.sub_id = 0) AS nobody_", "uniqExact(t.sub_id) AS ids_",
        *(f"sum(t.{name}) AS {name}_" for name in sums),
    ])  # fmt: skip
    final = " FINAL" if any(kind in table.engine for kind in ("Summing", "Replacing")) else ""
    row = store.query(f"SELECT {wanted} FROM {source} AS t{final}").to_pylist()[0]
    return {name: int(value) for name, value in row.items()}


def _differing(before: dict[str, int], after: dict[str, int]) -> str:
    return ", ".join(f"{name[:-1]} {before[name]:,} and {after[name]:,}" for name in before
                     if before[name] != after[name])  # fmt: skip


def _beside(store: Store) -> str:
    own = str(store.query("SELECT currentDatabase() AS d").column("d")[0].as_py())
    return quoted(f"{own}_rekey")


def _drop(store: Store, beside: str) -> None:
    tables = store.query(
        "SELECT table, partition_id AS id FROM system.parts WHERE active AND database = {d:String}"
        " GROUP BY table, id ORDER BY table, id",
        d=beside.strip("`"),
    ).to_pylist()
    for row in tables:  # a server refuses to drop a table beyond some size at once (max_table_size_to_drop)
        store.command(f"ALTER TABLE {beside}.{quoted(row['table'])} DROP PARTITION ID {literal(row['id'])}")
    store.command(f"DROP DATABASE IF EXISTS {beside} SYNC")


def _uuid(store: Store, name: str, database: str = "") -> str:
    found = store.query(
        "SELECT toString(uuid) AS u FROM system.tables WHERE name = {name:String}"
        " AND database = if({d:String} = '', currentDatabase(), {d:String})",
        name=name, d=database.strip("`"),
    ).to_pylist()  # fmt: skip
    return str(found[0]["u"]) if found else ""


def _kept(store: Store) -> dict[str, str]:
    try:
        rows = store.query(
            "SELECT name, argMax(value, made) AS value FROM setting"
            f" WHERE name IN ({literal(KEY)}, {literal(CHANGE)}) GROUP BY name"
        ).to_pylist()
    except StoreRefused as error:
        if error.code != _UNKNOWN_TABLE:
            raise
        return {}  # not made yet
    return {row["name"]: row["value"] for row in rows}


def _keep(store: Store, values: dict[str, str]) -> None:
    """In one block: all of them or none; later than what was kept, whatever the clock says."""
    pairs = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in values.items())
    store.command(
        "INSERT INTO setting (name, value, made) SELECT each.1, each.2, greatest(now64(3, 'UTC'),"
        " (SELECT max(made) FROM setting) + INTERVAL 1 MILLISECOND)"
        f" FROM (SELECT arrayJoin([{pairs}]) AS each) SETTINGS async_insert = 0"
    )
