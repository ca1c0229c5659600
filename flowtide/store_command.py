"""``flowtide store``: what the store holds, its backup and restore, days as files, days made again.

Questions go as those of ``flowtide sql``; what changes the store asks the running port as the user admin (the password
is ``http.admin_token``, or the one a running stack made), and opens the directory where nothing runs.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flowtide.errors import Failure
from flowtide.parts import admin_token_file, is_embedded, open_store
from flowtide.settings import Settings, load
from sinks import Store
from sinks.rollup_tables import NAMES

app = typer.Typer(help="The store: status, backup, restore, export, rebuild.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]
Tables = Annotated[list[str] | None, typer.Option("--table", help="only this one; may be said several times")]


class ExportFormat(StrEnum):
    """What ``export`` writes."""

    parquet = "parquet"
    csv = "csv"
    jsonl = "jsonl"


@app.command()
def status(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="as JSON, empty tables too")] = False
) -> None:
    """Rows, bytes, age, next drop and growth of each table, and when the disk is full."""
    from flowtide.doctor import store_to_ask
    from sinks.store_status import StoreStatus
    from sinks.store_status import status as look

    settings = load(config)
    with store_to_ask(settings) as store:
        found: StoreStatus = look(store, _free(settings, store))
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("table", "rows", "MB", "B/row", "parts", "oldest", "newest", "kept", "next drop", "MB/day"):
        table.add_column(name, justify="left" if name in ("table", "oldest", "newest") else "right", no_wrap=True)
    for one in found.tables:
        if not one.rows:
            continue
        drop = f"{one.next_drop:%m-%d %H:%M} {one.next_drop_octets / 1e6:,.1f} MB" if one.next_drop else ""
        table.add_row(
            one.table, f"{one.rows:,}", f"{one.octets / 1e6:,.1f}", f"{one.row_octets:.1f}",
            f"{one.parts} in {one.partitions}", str(one.oldest or "")[:16], str(one.newest or "")[:16],
            f"{one.ttl_days} d" if one.ttl_days else "ever", drop, f"{one.growth / 1e6:,.1f}",
        )  # fmt: skip
    # A pipe has no width: lines are never cut.
    Console(width=200 if not Console().is_terminal else None).print(table)
    typer.echo(
        f"together {found.rows:,} rows, {found.octets / 1e6:,.1f} MB, growing by {found.growth / 1e6:,.1f} MB a day"
    )
    if found.free is not None:
        full = "retention keeps it below that" if found.days_until_full is None else (
            f"full in {found.days_until_full} days")  # fmt: skip
        typer.echo(f"free on its disk {found.free / 1e9:,.1f} GB: {full}")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="a new folder")],
    tables: Tables = None,
    since: Annotated[str, typer.Option("--since", metavar="DAY", help="first local day, as 2026-09-21")] = "",
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="the local day after the last")] = "",
    config: Config = None,
) -> None:
    """Copy the store into a folder of Parquet files, at one point of the log; ingest goes on meanwhile."""
    from sinks.backup import BackupError
    from sinks.backup import backup as copy

    settings = load(config)
    _refuse_cluster(settings)
    with store_to_change(settings) as store:
        try:
            made = copy(
                store, folder, tables or (), _day(since) if since else None, _day(until) if until else None, typer.echo
            )
        except (BackupError, OSError) as error:
            raise Failure(str(error)) from None
    octets = sum(file.octets for file in made.files)
    typer.echo(f"{made.rows:,} rows in {len(made.files)} files, {octets / 1e6:,.1f} MB, in {folder.resolve()}")
    for stretch in made.bus:
        typer.echo(f"partition {stretch.partition}: up to bus_offset {stretch.end}")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="a folder that `flowtide store backup` wrote")], config: Config = None
) -> None:
    """Put a backup into an empty store; nothing may write to it meanwhile."""
    from flowtide.query import running_port
    from sinks.backup import BackupError
    from sinks.backup import restore as put

    settings = load(config)
    _refuse_cluster(settings)
    if is_embedded(settings) and running_port(settings) is not None:
        raise Failure("something runs on this data directory: stop it, a restore wants the store for itself")
    store = open_store(settings)
    try:
        made = put(store, folder, settings.store, settings.timezone, typer.echo)
    except (BackupError, OSError) as error:
        raise Failure(str(error)) from None
    finally:
        store.close()
    typer.echo(f"{made.rows:,} rows of {made.made} are back; checks agree")
    typer.echo("On a new bus ingest begins behind them. On the old bus it goes on where the sink was: what was stored"
               " after the backup does not come again, and nothing comes twice.")  # fmt: skip


@app.command()
def export(
    day: Annotated[str, typer.Option("--day", metavar="DAY", help="local day, as 2026-09-21")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="file to write")],
    form: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.parquet,
    table: Annotated[str, typer.Option("--table", help="any table with days")] = "flows",
    config: Config = None,
) -> None:
    """Write a local day of a table to a file, for other programs."""
    from flowtide.doctor import store_to_ask
    from sinks.export import ExportRefused, export_day

    settings = load(config)
    wanted = _day(day)
    with store_to_ask(settings) as store:
        try:
            rows = export_day(store, settings.timezone, table, wanted, form.value, out)
        except (ExportRefused, OSError) as error:
            raise Failure(str(error)) from None
    typer.echo(f"{rows:,} rows of {table} in {out}")


@app.command()
def rebuild(
    tables: Tables = None,
    day: Annotated[str, typer.Option("--day", metavar="DAY", help="local day, as 2026-09-21")] = "",
    month: Annotated[str, typer.Option("--month", metavar="MONTH", help="as 2026-09")] = "",
    force: Annotated[bool, typer.Option("--force", help="also where raw is gone: only what it has stays")] = False,
    config: Config = None,
) -> None:
    """Make a day or a month of rollups again from raw; ingest goes on, the rollups wait for the last step."""
    from sinks.rebuild import RebuildRefused
    from sinks.rebuild import rebuild as make

    if bool(day) == bool(month):
        raise Failure("say either --day 2026-09-21 or --month 2026-09")
    since = _day(day or f"{month}-01")
    until = since + timedelta(days=1) if day else (since + timedelta(days=32)).replace(day=1)
    settings = load(config)
    with store_to_change(settings) as store:
        try:
            make(store, settings.timezone, since, until, tables or NAMES, force=force, say=typer.echo)
        except RebuildRefused as error:
            raise Failure(str(error)) from None


@contextmanager
def store_to_change(settings: Settings) -> Iterator[Store]:
    """The store for changes: a server, the port of what runs here as admin, or the directory; Failure."""
    from flowtide.query import running_port

    running = running_port(settings) if is_embedded(settings) else None
    if running is not None:
        from sinks.clickhouse import ClickHouseStore

        token = settings.http.admin_token.get_secret_value()
        made = admin_token_file(settings)
        if not token and made.is_file():
            token = made.read_text(encoding="ascii")
        if not token:
            raise Failure(
                f"what runs at {running} has no user admin: set http.admin_token and start it again, or stop it"
            )
        store: Store = ClickHouseStore(running, user="admin", password=token, database=settings.store.database)
    else:
        if is_embedded(settings) and not settings.folder(settings.store.url, "chdb").is_dir():
            raise Failure(f"{settings.data.resolve()} holds no store")
        store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def _free(settings: Settings, store: Store) -> int | None:
    """Bytes left on the store's disk: here, or as a server tells who may ask."""
    if is_embedded(settings):
        return shutil.disk_usage(settings.folder(settings.store.url, "chdb")).free
    from sinks import StoreRefused, StoreUnavailable

    try:
        found = store.query("SELECT sum(free_space) AS free FROM system.disks").column("free")[0].as_py()
    except (StoreRefused, StoreUnavailable):  # a server of ours does not tell readers, another one not every account
        return None
    return int(found)


def _refuse_cluster(settings: Settings) -> None:
    if settings.store.cluster:
        raise Failure(f"store.cluster is {settings.store.cluster!r}: a cluster is backed up and restored by its own"
                      " BACKUP ... ON CLUSTER")  # fmt: skip


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{text!r} is no day: write it as 2026-09-21 (a month as 2026-09)") from None
