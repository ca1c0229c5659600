"""Makes and changes the store's tables: ``ddl/NNNN_name.sql`` in order, each once, the plan first.

A file is a list of idempotent statements with placeholders (``{flow_columns}`` …) for what ``sinks/schema.py`` and the
settings say.  What was applied is recorded with the file's checksum: an applied file is never edited, a change is a new
file.  Retention follows the settings at every migration; the time zone is fixed by the first.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sinks import Store, cluster
from sinks.inserts import literal
from sinks.rollup_tables import BY_NAME as ROLLUP
from sinks.rollup_tables import NAMES, ROLLUPS
from sinks.schema import FLOW, OBSERVATIONS
from sinks.settings import StoreSettings

MINUTE_TABLES = (
    *(rollup.name for rollup in ROLLUPS if rollup.name.endswith("m")),
    "exporter_health_1m", "stage_1m", "interface_counter", "audit_1m",
)  # fmt: skip
"""Tables that live ``minute_days``."""
DELIVERY_TABLES = (
    "audit_1m", "bus_skipped", "bus_stream", "rollup_cut", "rollup_plan", "rollup_start", "rollup_hold",
    "flow_range", "port_range",
)  # fmt: skip
"""Tables the sink writes about its own work."""
DEDUPLICATION_WINDOW = 100_000
"""Tokens remembered a table; it counts parts of all partitions, and its cost does not grow with it."""

_VOLUME_SOURCE = "volume_source:"  # before service/access, in ``setting``
_CENTURY = 36_500  # days that no row reaches
_MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")
_TUNING = re.compile(r"(ALTER TABLE \w+ MODIFY SETTING )(.*)", re.DOTALL)
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


class MigrationError(Exception):
    """The store cannot be brought to this version; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``ddl/``; ``text`` still has its placeholders."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """What one migration, or a changed setting (``version`` None), does to this store."""

    version: int | None
    name: str
    statements: tuple[str, ...]

    def __str__(self) -> str:
        title = self.name if self.version is None else f"{self.version:04} {self.name}"
        return "\n\n".join([f"-- {title}", *(f"{statement};" for statement in self.statements)])


def migrations() -> list[Migration]:
    """All files of ``ddl/``, in order."""
    found = []
    for file in files("sinks").joinpath("ddl").iterdir():
        if match := _FILE.fullmatch(file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def plan(store: Store, settings: StoreSettings, timezone: str, known: Sequence[Migration] | None = None) -> list[Step]:
    """What ``migrate`` would do to this store, in order; empty: nothing.

    MigrationError: the store is of a newer version, an applied file was edited, or the time zone differs.
    """
    known = migrations() if known is None else known
    if not re.fullmatch(r"[\w+/-]+", timezone) or not _is_zone(timezone):
        raise MigrationError(f"timezone {timezone!r} is no IANA zone: write one like UTC or Asia/Tokyo")
    applied = _applied(store)
    _refuse_foreign(applied, known)
    kept = _settings(store) if applied else {}
    if kept.get("timezone", timezone) != timezone:
        raise MigrationError(
            f"the store's days and hours are of timezone {kept['timezone']!r}, the settings say {timezone!r}: set it"
            f" back to {kept['timezone']!r}, or begin a new store in another directory"
        )
    values = _values(settings, timezone)
    steps = [
        Step(migration.version, migration.name, _understood(store, statements(migration.text, values)))
        for migration in known
        if migration.version not in applied
    ]
    steps += _retention(settings, kept)
    return _on_cluster(store, settings, steps, known, values) if settings.cluster else steps


def migrate(
    store: Store,
    settings: StoreSettings,
    timezone: str,
    *,
    dry_run: bool = False,
    known: Sequence[Migration] | None = None,
) -> list[Step]:
    """Apply what is pending and return it; ``dry_run``: only return it.

    A migration that was cut short is applied again as a whole: its statements are idempotent.
    """
    known = migrations() if known is None else known
    steps = plan(store, settings, timezone, known)
    if dry_run:
        return steps
    checksums = {migration.version: migration.checksum for migration in known}
    for step in steps:
        for statement in step.statements:
            store.command(statement)
        if step.version is not None:
            store.command(
                "INSERT INTO schema_version (version, name, applied, checksum) VALUES "
                f"({step.version}, '{step.name}', now64(3), '{checksums[step.version]}')"
            )
    _keep_settings(store, settings, timezone)
    return steps


def problems(store: Store) -> list[str]:
    """What is wrong with the tables as they are: each a sentence that says what to do.  Empty: nothing.

    A table without a deduplication window doubles its rows at the first repeat, silently.
    """
    found = []
    tables = store.query(
        "SELECT name, create_table_query AS sql FROM system.tables WHERE database = currentDatabase()"
    ).to_pylist()
    made = {row["name"]: row["sql"] for row in tables}
    for name in ("flows", *NAMES, *OBSERVATIONS, *DELIVERY_TABLES, "alert_history"):
        if name not in made:
            found.append(f"table {name} is missing: run flowtide migrate")
        elif setting := cluster.missing_window(made[name], DEDUPLICATION_WINDOW):
            found.append(
                f"table {name} would store a repeated insert twice: ALTER TABLE {name} MODIFY SETTING {setting}"
            )
    columns = store.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'flows'"
    ).to_pylist()
    have = {row["name"]: row["type"] for row in columns}
    for column in FLOW:
        wanted = column_type(column.clickhouse)
        if have and have.get(column.name) != wanted:
            found.append(f"flows.{column.name} is {have.get(column.name, 'missing')}, not {wanted}: a migration lacks")
    return found


def column_type(clickhouse: str) -> str:
    """A column's type as the server prints it: without codec, a space after each comma."""
    return re.sub(r",(?=\S)", ", ", clickhouse.split(" CODEC(")[0])


def statements(text: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The statements of a file with its placeholders filled, without comments.

    MigrationError for a placeholder without a value.
    """
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    for name in set(re.findall(r"\{(\w+)\}", code)):
        if name not in values:
            raise MigrationError(f"placeholder {{{name}}} has no value: known are {', '.join(sorted(values))}")
        code = code.replace(f"{{{name}}}", values[name])
    parts = (re.sub(r"\n\s*\n", "\n", part).strip() for part in re.split(r";[ \t]*(?:\n|$)", code))
    return tuple(part for part in parts if part)


def _understood(store: Store, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The statements without those settings of tables which this engine has not: they save work, no more."""
    if not any(_TUNING.match(statement) for statement in wanted):
        return wanted
    there = set(store.query("SELECT name FROM system.merge_tree_settings").column("name").to_pylist())
    found = []
    for statement in wanted:
        if match := _TUNING.match(statement):
            pairs = [pair for pair in re.split(r",\s*", match[2]) if pair.split("=")[0].strip() in there]
            found += [match[1] + ", ".join(pairs)] if pairs else []
        else:
            found.append(statement)
    return tuple(found)


def _values(settings: StoreSettings, timezone: str) -> dict[str, str]:
    measures = ",\n".join(f"    {name} Int64 CODEC(T64, ZSTD(1))" for name in _MEASURES)
    values = {
        "timezone": timezone,
        "flow_columns": ",\n".join(f"    {column.name} {column.clickhouse}" for column in FLOW),
        "measures": measures,
        "flow_ttl": _ttl("received", settings.raw_days),
        "minute_ttl": _ttl("time", settings.minute_days),
        "rollup_settings": (
            "SETTINGS default_compression_codec = 'ZSTD(1)',"
            f" non_replicated_deduplication_window = {DEDUPLICATION_WINDOW},"
            " ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1"
        ),
    }
    for table, columns in OBSERVATIONS.items():
        values[f"{table}_columns"] = ",\n".join(f"    {column.name} {column.clickhouse}" for column in columns)
        values[f"{table}_key"] = ", ".join(column.name for column in columns if column.name != "value")
    return values


def _ttl(column: str, days: int) -> str:
    return f"TTL toDateTime({column}) + INTERVAL {days} DAY" if days else ""


def _retention(settings: StoreSettings, kept: Mapping[str, str]) -> list[Step]:
    """Statements where the store's retention is not that of the settings; a store not made yet has none."""
    if unknown := sorted(set(settings.table_days) - set(NAMES)):
        raise MigrationError(f"store.table_days: {', '.join(unknown)} is no rollup; there are {', '.join(NAMES)}")
    found = []
    own = _with_own_days(settings, kept)
    minutes = tuple(table for table in MINUTE_TABLES if table not in own)
    wanted = (("raw_days", settings.raw_days, "received", ("flows",)),
              ("minute_days", settings.minute_days, "time", minutes))  # fmt: skip
    for name, days, column, tables in wanted:
        if name in kept and kept[name] != str(days):
            change = f"MODIFY {_ttl(column, days)}" if days else "REMOVE TTL"
            title = f"{name}: {kept[name]} -> {days} (0: for ever)"
            found.append(Step(None, title, tuple(f"ALTER TABLE {table} {change}" for table in tables)))
    for name, days in own.items():
        before = kept.get(f"days:{name}", "as its kind")
        if before != str(days):
            # There may be no TTL to remove, so there is one first.
            change = f"ALTER TABLE {name} MODIFY {_ttl(ROLLUP[name].time, days or _CENTURY)}"
            then = () if days else (f"ALTER TABLE {name} REMOVE TTL",)
            found.append(Step(None, f"days of {name}: {before} -> {days} (0: for ever)", (change, *then)))
    return found


def _with_own_days(settings: StoreSettings, kept: Mapping[str, str]) -> dict[str, int]:
    """Days (0: for ever) of the rollups that do not live as long as their kind, or did not at the last migration."""
    return {
        name: settings.table_days.get(name, settings.minute_days if name in MINUTE_TABLES else 0)
        for name in NAMES
        if name in settings.table_days or f"days:{name}" in kept
    }


def _on_cluster(
    store: Store, settings: StoreSettings, steps: Sequence[Step], known: Sequence[Migration], values: Mapping[str, str]
) -> list[Step]:
    """The steps as ``sinks.cluster`` writes them; MigrationError where the store knows no such cluster."""
    name = settings.cluster
    there = store.query("SELECT count() AS n FROM system.clusters WHERE cluster = {name:String}", name=name)
    if not there.column("n")[0].as_py():
        raise MigrationError(
            f"store.cluster {name!r}: the store knows no such cluster (SELECT * FROM system.clusters): name one of the"
            " server's <remote_servers>; the engine in process has none, there leave store.cluster empty"
        )
    names = cluster.named(part for migration in known for part in statements(migration.text, values))
    found = [
        Step(step.version, step.name, cluster.statements_on(name, settings.database, step.statements, names))
        for step in steps
    ]
    first = Step(None, f"cluster {name}", cluster.databases(name, settings.database))
    return [first, *found] if found else []


def _applied(store: Store) -> dict[int, tuple[str, str]]:
    """Name and checksum by version; empty for a new store."""
    there = store.query(
        "SELECT count() AS n FROM system.tables WHERE database = currentDatabase() AND name = 'schema_version'"
    )
    if not there.column("n")[0].as_py():
        return {}
    rows = store.query("SELECT version, name, checksum FROM schema_version ORDER BY version, applied").to_pylist()
    return {row["version"]: (row["name"], row["checksum"]) for row in rows}


def _refuse_foreign(applied: Mapping[int, tuple[str, str]], known: Sequence[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    newest = max(by_version, default=0)
    for version, (name, checksum) in applied.items():
        if version not in by_version:
            raise MigrationError(
                f"the store has migration {version:04}_{name}, this Flowtide knows up to {newest:04}: it was written"
                " by a newer Flowtide; run that version, or a later one"
            )
        if by_version[version].checksum != checksum:
            raise MigrationError(
                f"ddl/{version:04}_{by_version[version].name}.sql is not the file that was applied to this store:"
                " restore it (reinstall Flowtide) and put the change into a new file with the next number"
            )


def _settings(store: Store) -> dict[str, str]:
    there = store.query("SELECT name, argMax(value, made) AS value FROM setting GROUP BY name").to_pylist()
    return {row["name"]: row["value"] for row in there}


def _keep_settings(store: Store, settings: StoreSettings, timezone: str) -> None:
    kept = _settings(store)
    wanted = {"timezone": timezone, "raw_days": str(settings.raw_days), "minute_days": str(settings.minute_days)}
    wanted |= {f"days:{name}": str(days) for name, days in _with_own_days(settings, kept).items()}
    # Read by v_user_day; a scope that is not named any more is as by default.
    wanted |= {name: "" for name in kept if name.startswith(_VOLUME_SOURCE)}
    wanted |= {f"{_VOLUME_SOURCE}{scope}": source for scope, source in settings.volume_sources.items()}
    _insert_settings(store, kept, wanted)


def keep_settings(store: Store, prefix: str, wanted: Mapping[str, str]) -> None:
    """Write what queries in the store read of settings of others, all whose names begin with ``prefix``.

    One that is not wanted any more is kept as an empty value.
    """
    kept = _settings(store)
    gone = dict.fromkeys((name for name in kept if name.startswith(prefix)), "")
    _insert_settings(store, kept, {**gone, **wanted})


def _insert_settings(store: Store, kept: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    rows = [
        f"({literal(name)}, {literal(value)}, now64(3))" for name, value in wanted.items() if kept.get(name) != value
    ]
    if rows:
        store.command(f"INSERT INTO setting (name, value, made) VALUES {', '.join(rows)}")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
