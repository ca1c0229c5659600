"""A backup is one point of the log, whole or refused; what comes back is what was there."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sinks import Store, StoreUnavailable
from sinks.backup import MANIFEST, BackupError, backup, read_manifest, restore, verify
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.rollup_ranges import ALL, RollupsHeld, begin_at, is_done, record, run_range
from sinks.rollup_tables import NAMES
from sinks.slices import pieces, stored_tables
from tests.known_flows import known_observations, known_rows, store_flows, store_observations
from tests.stored import FOR_EVER, START_MS, TIMEZONE, flows, table

CONTENTS = (*NAMES, "flows", "audit_1m", "exporter_health_1m", "stage_1m", "exporter_name", "rollup_cut", "bus_stream")


@pytest.fixture
def store(fresh_store: EmbeddedStore) -> EmbeddedStore:
    """One of its own."""
    return fresh_store


@pytest.fixture
def other(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """An empty database of the same engine: another machine's store, as far as tables go."""
    yield engine.in_database("elsewhere")
    engine.command("DROP DATABASE elsewhere SYNC")


def contents(store: Store, name: str) -> list[Any]:
    """All rows of a table, merged, in an order of their own."""
    one = next(one for one in stored_tables(store) if one.name == name)
    columns, final = [f"toString({column})" for column in one.columns], " FINAL" if one.sums else ""
    sql = f"SELECT [{', '.join(columns)}] AS row FROM {name}{final} ORDER BY row"
    rows: list[Any] = store.query(sql).column("row").to_pylist()
    return rows


def same(one: Store, two: Store) -> None:
    for name in CONTENTS:
        wanted = contents(one, name)
        assert contents(two, name) == wanted, name


@pytest.fixture
def known(store: EmbeddedStore) -> EmbeddedStore:
    """Known flows of two days and more, all that they become, and observations."""
    store_flows(store, known_rows()[1200:1700])
    store_observations(store, known_observations())
    return store


def test_rows_and_rollups_are_the_same_after_a_restore(
    known: EmbeddedStore, other: EmbeddedStore, tmp_path: Path
) -> None:
    made = backup(known, tmp_path / "b")
    assert made == read_manifest(tmp_path / "b") and made.tables["flows"]["count()"] == 500
    assert contents(known, "subscriber_1d") and contents(known, "bucket_1m")
    restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    same(known, other)
    # No copy stays behind, and the rollups may go on.
    left = known.query("SELECT count() AS n FROM system.databases WHERE name LIKE '%\\_backup\\_%'").to_pylist()
    assert left == [{"n": 0}] and not is_done(known, ALL, 9, 0, 1)
    # Any other program reads it.
    rows = pq.read_table(sorted((tmp_path / "b" / "flows").iterdir())).to_pylist()
    assert sum(row["octets_est"] for row in rows) == sum(row["octets_est"] for row in known_rows()[1200:1700])


@pytest.mark.soak
def test_a_restore_that_was_cut_short_goes_on(
    known: EmbeddedStore, other: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(known, tmp_path / "b")

    inserted: list[str] = []

    def insert(name: str, rows: Any, *, token: str) -> None:
        if len(inserted) == 7:
            raise StoreUnavailable
        inserted.append(token)
        EmbeddedStore.insert(other, name, rows, token=token)

    with monkeypatch.context() as patched:
        patched.setattr(other, "insert", insert)
        with pytest.raises(StoreUnavailable):
            restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    same(known, other)
    with pytest.raises(BackupError, match="has rows already"):
        restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    same(known, other)


def test_only_chosen_tables_and_local_days(known: EmbeddedStore, other: EmbeddedStore, tmp_path: Path) -> None:
    day = date(2026, 9, 18)
    made = backup(known, tmp_path / "b", ["flows", "port_1d"], day, date(2026, 9, 20))
    # Local days of Tokyo are nine hours ahead of UTC.
    begin = 1_789_657_200_000
    wanted = [row["ts"] for row in known_rows()[1200:1700] if begin <= row["ts"] < begin + 2 * 86_400_000]
    assert 0 < made.tables["flows"]["count()"] == len(wanted) < 500
    assert set(made.tables) == {"flows", "port_1d"}
    restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    sums = "SELECT sum(octets_est) AS o FROM {} WHERE {}"
    days = "day >= toDate('2026-09-18') AND day < toDate('2026-09-20')"
    assert other.query(sums.format("port_1d", "1")) == known.query(sums.format("port_1d", days))
    with pytest.raises(BackupError, match="no table nonsense"):
        backup(known, tmp_path / "c", ["nonsense"])


def test_what_is_not_rolled_up_yet_is_left_to_the_bus(
    store: EmbeddedStore, other: EmbeddedStore, tmp_path: Path
) -> None:
    begin_at(store, 0, 0)
    for offset in range(4):
        store.insert("flows", table(flows(10, ts=START_MS + offset, bus_offset=offset)), token=f"s/0/{offset}")
    record(store, ALL, "s", 0, 0, 0, 2, token="s/0/0-2")
    run_range(store, TIMEZONE, "s", 0, 0, 0, 2)
    # A sink recorded the next range and died: the backup finishes it.
    record(store, ALL, "s", 0, 0, 2, 3, token="s/0/2-3")
    backup(store, tmp_path / "b", wait_seconds=0.1)
    restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    for sql, wanted in (
        ("SELECT count() AS n, max(bus_offset) AS o FROM flows", {"n": 30, "o": 2}),
        ("SELECT sum(flows) AS n, max(ip_version) AS o FROM bucket_1m", {"n": 30, "o": 4}),
    ):
        assert other.query(sql).to_pylist() == [wanted]


def test_ranges_wait_while_the_tables_are_cloned_only(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_flows(store, known_rows()[:50])
    begin_at(store, 0, 0)
    held, command = [], store.command

    def look(sql: str, *, token: str | None = None) -> None:
        command(sql, token=token)
        if "CLONE AS" in sql or "STOP MERGES" in sql:
            try:
                is_done(store, ALL, 0, 5, 6)
                held.append(False)
            except RollupsHeld:
                held.append(True)

    reading = []
    query = store.query

    def ask(sql: str, **parameters: object) -> Any:
        if sql.startswith("SELECT * FROM"):
            reading.append(is_done(store, ALL, 0, 5, 6))
        return query(sql, **parameters)

    monkeypatch.setattr(store, "command", look)
    monkeypatch.setattr(store, "query", ask)
    backup(store, tmp_path / "b", ["port_1h", "subscriber_1d"])
    assert held and all(held)
    assert len(reading) == 2


def test_a_torn_or_foreign_backup_is_refused_before_anything_is_written(
    store: EmbeddedStore, other: EmbeddedStore, tmp_path: Path
) -> None:
    store_flows(store, known_rows()[:100])
    whole = tmp_path / "b"
    backup(store, whole, ["flows", "port_1h"])
    with pytest.raises(BackupError, match="not empty"):
        backup(store, whole)
    with pytest.raises(BackupError, match="timezone"):
        restore(other, whole, FOR_EVER, "UTC")
    manifest = (whole / MANIFEST).read_text()
    file = next((whole / "flows").iterdir())
    body = file.read_bytes()
    changes: dict[str, Callable[[], object]] = {
        "is not what was written": lambda: file.write_bytes(body[:-9] + b"X" + body[-8:]),
        "torn": lambda: file.write_bytes(body[:-1]),
        "no bytes": file.unlink,
        "checksum differs": lambda: (whole / MANIFEST).write_text(manifest.replace("Asia/Tokyo", "Asia/Seoul")),
        "damaged": lambda: (whole / MANIFEST).write_text(manifest[:-20]),
        "cut short": (whole / MANIFEST).unlink,
    }
    for words, change in changes.items():
        change()
        with pytest.raises(BackupError, match=words):
            restore(other, whole, FOR_EVER, TIMEZONE)
        file.write_bytes(body)
        (whole / MANIFEST).write_text(manifest)
    assert verify(whole).tables.keys() == {"flows", "port_1h"}
    newer = json.loads(manifest)
    newer["manifest"]["schema"] = 9999
    facts = json.dumps(newer["manifest"], sort_keys=True, separators=(",", ":")).encode()
    (whole / MANIFEST).write_text(json.dumps({"sha256": sha256(facts).hexdigest(), "manifest": newer["manifest"]}))
    with pytest.raises(BackupError, match="schema 9999"):
        restore(other, whole, FOR_EVER, TIMEZONE)
    assert other.query("SHOW TABLES").num_rows == 0


@pytest.mark.parametrize("rows", [7, 50, 100_000])
def test_pieces_are_the_table_each_row_once(known: EmbeddedStore, rows: int) -> None:
    for one in stored_tables(known):
        if one.name not in ("flows", "subscriber_1d", "interface_1m", "rollup_cut", "bucket_1h"):
            continue
        wheres = list(pieces(known, one.name, one, rows=rows))
        found = [known.query(f"SELECT * FROM {one.name} WHERE {where}") for where in wheres]
        whole = known.query(f"SELECT * FROM {one.name}")
        assert sum(piece.num_rows for piece in found) == whole.num_rows
        gathered = [str(row) for piece in found for row in piece.to_pylist()]
        assert sorted(gathered) == sorted(str(row) for row in whole.to_pylist())
        if rows == 50 and one.name == "flows":
            assert all(piece.num_rows <= 2 * rows for piece in found)


def test_an_empty_store_comes_back_empty(store: EmbeddedStore, other: EmbeddedStore, tmp_path: Path) -> None:
    made = backup(store, tmp_path / "b")
    assert made.rows == 0
    restore(other, tmp_path / "b", FOR_EVER, TIMEZONE)
    migrate(other, FOR_EVER, TIMEZONE)
