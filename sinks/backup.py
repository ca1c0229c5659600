"""A backup of the store as Parquet files with a manifest, and its restore into an empty store.

The engine in process has no BACKUP (it is not configured, and its files are of one version and one machine).  So: new
ranges are held (``rollup_hold``), those recorded are finished, and every table is cloned into a database of its own,
which links its parts and takes an instant; then the rollups go on, and the clones are read at leisure.  So the copy is
one point of the log, [.., b) of each partition: raw rows up to b, and rollups of exactly these.  Ingest never waits.

A restore inserts each file under a token of its own, so one that was cut short is just run again.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sinks import Store
from sinks.export import of_day
from sinks.inserts import literal, quoted
from sinks.migrations import migrate, migrations
from sinks.rebuild import finish_recorded
from sinks.settings import StoreSettings
from sinks.slices import StoredTable, pieces, stored_tables

MANIFEST = "manifest.json"
FORMAT = 1
"""Of the backup's files; a reader of another one refuses."""
_NOT_KEPT = frozenset({
    "schema_version", "setting",  # the restoring version writes its own
    "rollup_hold", "flow_range", "port_range",  # of work that runs now
})  # fmt: skip
ROWS = "count()"
"""Of a table's checks; the others are columns."""
_HOLD_SECONDS = 600  # a backup that was killed holds the rollups this long
_WAIT_SECONDS = 30.0  # for the sink to finish recorded ranges; then they are finished from here
_MARK = "restore"  # in ``setting``: the backup that is being restored, empty when it is whole

Say = Callable[[str], None]


class BackupError(Exception):
    """The backup or restore cannot be done, says why and what to do; a store is left as it was."""


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One piece of one table."""

    name: str
    table: str
    rows: int
    octets: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a stream's partition, the ``bus_offset`` behind the last row that the backup has."""

    stream: str
    partition: int
    base: int  # bus_offset of the stream's offset 0
    end: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup has; written last, so a backup without it is torn."""

    format: int
    id: str
    made: str
    schema: int  # newest migration
    timezone: str
    since: str | None  # local days [since, until); None: all
    until: str | None
    tables: dict[str, dict[str, int]]  # checks by table: ROWS, and the sum of each counter (modulo 2^64)
    columns: dict[str, dict[str, str]]
    bus: tuple[Stretch, ...]
    files: tuple[BackupFile, ...]

    @property
    def rows(self) -> int:
        """Of all tables, as they were read."""
        return sum(file.rows for file in self.files)


def backup(
    store: Store,
    folder: Path,
    tables: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
    say: Say = lambda text: None,
    wait_seconds: float = _WAIT_SECONDS,
) -> Manifest:
    """Write the store, or only these tables and local days [since, until), into an empty folder.

    BackupError; StoreUnavailable, StoreRefused: the folder then has no manifest and is no backup.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: a backup wants a folder of its own")
    here = {table.name: table for table in stored_tables(store) if _is_kept(table.name)}
    if unknown := sorted(set(tables) - set(here)):
        raise BackupError(f"no table {', '.join(unknown)}: there are {', '.join(here)}")
    schema, timezone = _version(store)
    chosen = [here[name] for name in (tables or here)]
    folder.mkdir(parents=True, exist_ok=True)
    files: list[BackupFile] = []
    identity = uuid.uuid4().hex
    with _clones(store, chosen, identity[:12], wait_seconds) as (database, bus, bounds):
        checks = {}
        for table in chosen:
            source = f"{quoted(database)}.{table.name}"
            where = _where(table, timezone, since, until, bounds)
            checks[table.name] = _checks(store, source, table, where)
            for number, piece in enumerate(pieces(store, source, table, where)):
                files.append(_write(store, folder, source, table, piece, number))
            say(f"{table.name}: {checks[table.name][ROWS]:,} rows")
    manifest = Manifest(
        FORMAT, identity, datetime.now(UTC).isoformat(timespec="seconds"), schema, timezone,
        since.isoformat() if since else None, until.isoformat() if until else None, checks,
        {table.name: table.columns for table in chosen}, bus, tuple(files),
    )  # fmt: skip
    _write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole backup; BackupError when it lacks, or is not what was written."""
    path = folder / MANIFEST
    try:
        body = json.loads(path.read_bytes())
        facts = body["manifest"]
        if hashlib.sha256(_canonical(facts)).hexdigest() != body["sha256"]:
            raise ValueError("its checksum differs")
        if facts["format"] != FORMAT:
            raise BackupError(f"{path} is of format {facts['format']}, this Flowtide reads {FORMAT}: use a newer one")
        files = tuple(BackupFile(**file) for file in facts.pop("files"))
        bus = tuple(Stretch(**stretch) for stretch in facts.pop("bus"))
        return Manifest(**facts, files=files, bus=bus)
    except FileNotFoundError:
        raise BackupError(f"{folder} has no {MANIFEST}: it is no backup, or one that was cut short") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged ({error}): use another backup") from error


def verify(folder: Path) -> Manifest:
    """Read every file against its checksum; BackupError names the first that is missing, short or changed."""
    manifest = read_manifest(folder)
    for file in manifest.files:
        path = folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.octets:
            raise BackupError(
                f"{path} has {size if size is not None else 'no'} bytes, not {file.octets}: the backup is torn"
            )
        with path.open("rb") as body:
            if hashlib.file_digest(body, "sha256").hexdigest() != file.sha256:
                raise BackupError(f"{path} is not what was written (SHA-256 differs): the backup is damaged")
    return manifest


def restore(
    store: Store, folder: Path, settings: StoreSettings, timezone: str, say: Say = lambda text: None
) -> Manifest:
    """Make the tables and put the backup in; what was cut short goes on.

    Nothing else may write meanwhile.  BackupError: the backup is torn, of a newer schema or another time zone, or the
    store has rows; MigrationError.
    """
    manifest = verify(folder)
    if manifest.timezone != timezone:
        raise BackupError(f"the backup's days are of timezone {manifest.timezone!r}, the settings say {timezone!r}: set"
                          f" timezone = {manifest.timezone!r}")  # fmt: skip
    newest = migrations()[-1].version
    if manifest.schema > newest:
        raise BackupError(f"the backup is of schema {manifest.schema:04}, this Flowtide knows up to {newest:04}: use a"
                          " newer one")  # fmt: skip
    migrate(store, settings, timezone)
    here = {table.name: table for table in stored_tables(store)}
    _refuse_unfit(store, manifest, here)
    _mark(store, manifest.id)
    for file in manifest.files:
        rows = pq.read_table(folder / file.name)
        store.insert(file.table, rows, token=f"restore/{manifest.id}/{file.name}")
        say(f"{file.name}: {file.rows:,} rows")
    for name, wanted in manifest.tables.items():
        found = _checks(store, name, here[name], "1")
        # Merged rows are fewer; their sums are the same.
        differing = {key for key in wanted if found.get(key) != wanted[key] and not (key == ROWS and here[name].sums)}
        if differing:
            raise BackupError(f"{name}: {', '.join(sorted(differing))} differ after the restore: has something else"
                              " written to the store? Begin again with an empty one")  # fmt: skip
    _mark(store, "")
    return manifest


def _refuse_unfit(store: Store, manifest: Manifest, here: Mapping[str, StoredTable]) -> None:
    kept = store.query(f"SELECT argMax(value, made) AS v FROM setting WHERE name = '{_MARK}'").column("v")[0].as_py()
    if kept != manifest.id:
        used = [name for name in here if _is_kept(name) and _count(store, name)]
        if used:
            raise BackupError(f"the store has rows already ({', '.join(used)}): restore into an empty one, that is a"
                              " new store.url or store.database")  # fmt: skip
    for name, columns in manifest.columns.items():
        lacking = set(columns) - set(here[name].columns) if name in here else {"everything"}
        if lacking:
            raise BackupError(f"the store's {name} has no column {', '.join(sorted(lacking))}, which the backup has")


@contextmanager
def _clones(
    store: Store, tables: Sequence[StoredTable], identity: str, wait_seconds: float
) -> Iterator[tuple[str, tuple[Stretch, ...], dict[int, int]]]:
    """A database with the tables as they are at one point of the log; its stretches, and ``end`` by partition."""
    own = str(store.query("SELECT currentDatabase() AS d").column("d")[0].as_py())
    database = f"{own}_backup_{identity}"
    store.command(f"CREATE DATABASE {quoted(database)}")
    try:
        _hold(store, identity, _HOLD_SECONDS)
        try:
            finish_recorded(store, _version(store)[1], wait_seconds)
            bounds, bus = _ends(store)
            for table in tables:
                clone = f"{quoted(database)}.{table.name}"
                store.command(f"CREATE TABLE {clone} CLONE AS {quoted(own)}.{table.name}")
                # Neither merged nor expired while it is read.
                store.command(f"SYSTEM STOP MERGES {clone}")
        finally:
            _hold(store, identity, 0)
        yield database, bus, bounds
    finally:
        store.command(f"DROP DATABASE IF EXISTS {quoted(database)} SYNC")


def _ends(store: Store) -> tuple[dict[int, int], tuple[Stretch, ...]]:
    """By partition the end of what the rollups have; raw without a sink has no such end and is kept whole."""
    ends = store.query(
        "SELECT partition, max(b) AS b FROM (SELECT partition, b FROM rollup_cut"
        " UNION ALL SELECT partition, 0 AS b FROM rollup_start) GROUP BY partition ORDER BY partition"
    ).to_pylist()
    bounds = {int(row["partition"]): int(row["b"]) for row in ends}
    streams = store.query(
        "SELECT stream, partition, argMin(base, made) AS base FROM bus_stream GROUP BY stream, partition"
        " ORDER BY partition, base"
    ).to_pylist()
    bus = {row["partition"]: Stretch(row["stream"], row["partition"], int(row["base"]), bounds.get(row["partition"], 0))
           for row in streams}  # the newest stream of a partition  # fmt: skip
    return bounds, tuple(bus.values())


def _where(table: StoredTable, timezone: str, since: date | None, until: date | None, bounds: Mapping[int, int]) -> str:
    parts = ["1"]
    if table.time and (since or until):
        parts.append(of_day(table, since or date(1971, 1, 1), timezone, until or date(2105, 1, 1)))
    if table.name == "flows":
        parts += [f"NOT (bus_partition = {partition} AND bus_offset >= {end})" for partition, end in bounds.items()]
    return " AND ".join(parts)


def _write(
    store: Store, folder: Path, source: str, table: StoredTable, where: str, number: int
) -> BackupFile:  # fmt: skip
    rows = store.query(f"SELECT * FROM {source} WHERE {where} ORDER BY {table.time or 'tuple()'}")
    name = f"{table.name}/{number:06}.parquet"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as body:
        pq.write_table(rows, body, compression="zstd")
        body.flush()
        os.fsync(body.fileno())
    with path.open("rb") as body:
        digest = hashlib.file_digest(body, "sha256").hexdigest()
    return BackupFile(name, table.name, rows.num_rows, path.stat().st_size, digest)


def _checks(store: Store, source: str, table: StoredTable, where: str) -> dict[str, int]:
    """Rows, and the sum of each counter; equal for equal contents however rows are merged (but for the rows)."""
    counters = [name for name, kind in table.columns.items() if kind in ("Int64", "UInt64") and name not in table.keys]
    wanted = ", ".join(["count() AS n_", *(f"sum(t.{name}) AS {name}_" for name in counters)])
    found: dict[str, Any] = store.query(f"SELECT {wanted} FROM {source} AS t WHERE {where}").to_pylist()[0]
    return {ROWS if name == "n_" else name[:-1]: int(value) for name, value in found.items()}


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    facts = json.loads(_canonical(asdict(manifest)))
    body = json.dumps({"sha256": hashlib.sha256(_canonical(facts)).hexdigest(), "manifest": facts}, indent=1)
    part = folder / f"{MANIFEST}.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / MANIFEST)


def _canonical(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def _version(store: Store) -> tuple[int, str]:
    there = store.query("EXISTS TABLE schema_version").to_pylist()[0]
    if not next(iter(there.values())):
        raise BackupError("the store has no tables yet: there is nothing to back up")
    version = store.query("SELECT max(version) AS v FROM schema_version").column("v")[0].as_py()
    zone = store.query("SELECT argMax(value, made) AS v FROM setting WHERE name = 'timezone'").column("v")[0].as_py()
    return int(version), str(zone)


def _hold(store: Store, identity: str, seconds: int) -> None:
    store.command(
        "INSERT INTO rollup_hold (id, reason, until, made) VALUES "
        f"('{identity}', 'backup', now64(3) + {seconds}, now64(6))"
    )


def _mark(store: Store, identity: str) -> None:
    store.command(f"INSERT INTO setting (name, value, made) VALUES ('{_MARK}', {literal(identity)}, now64(3))")


def _count(store: Store, table: str) -> int:
    return int(store.query(f"SELECT count() AS n FROM {table}").column("n")[0].as_py())


def _is_kept(table: str) -> bool:
    return table not in _NOT_KEPT and "_rebuild_" not in table
