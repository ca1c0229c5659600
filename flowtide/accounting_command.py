"""``flowtide accounting``: volumes that others have counted, into the store."""

import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from enricher.subscribers import key_check, load_or_make_key, sub_ids
from flowtide.errors import Failure
from flowtide.settings import Settings, load
from flowtide.store_command import store_to_change
from sinks import Store, StoreRefused
from sinks.accounting import put_day
from sinks.accounting_file import AccountingError, read_accounting
from sinks.rekey import OtherKey, agree_on_key, key_in_force

_UNKNOWN_TABLE = 60

app = typer.Typer(help="Volumes by user and day as others count them.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]


def subscriber_key(settings: Settings) -> bytes:
    """The key of the subscriber ids, as the enricher has it; KeyFileError.  Failure where there is none yet."""
    path = settings.data / "state" / "subscriber.key"
    said = settings.enricher.key.get_secret_value().encode()
    if not said and not path.exists():
        # A key made here would not be the enricher's, and no id would ever meet a flow's.
        raise Failure(f"no key of the subscriber ids: set enricher.key, or copy the enricher's to {path}")
    return said or load_or_make_key(path)


def agreed_key(settings: Settings, store: Store) -> bytes:
    """The same, once the store agrees: the first key that it meets is remembered; OtherKey."""
    key = subscriber_key(settings)
    agree_on_key(store, key_check(key))
    return key


def agree_here(settings: Settings, store: Store, *, must: bool = False) -> None:
    """OtherKey when the key of this data directory is not the store's; the first one is remembered.

    Without a key here nothing can be said; ``must``: then OtherKey when the store knows one, so that none is made.
    """
    if settings.enricher.key.get_secret_value() or (settings.data / "state" / "subscriber.key").exists():
        agreed_key(settings, store)
    elif must and (kept := key_in_force(store)):
        raise OtherKey(
            f"the store's subscriber ids are of a key (check value {kept}) that is not here: set enricher.key, or copy"
            f" the file back to {settings.data.resolve() / 'state' / 'subscriber.key'}; a new key would make everybody"
            " another"
        )


@app.callback()
def _several() -> None:
    """Volumes by user and day as others count them."""


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, or .parquet: a line a user and day")],
    source: Annotated[str, typer.Option(help="who counted; a later file of it replaces its days")],
    day: Annotated[str, typer.Option(metavar="DAY", help="the only day it may have, as 2026-09-21")] = "",
    config: Config = None,
) -> None:
    """Put a file's days in force: checked as a whole, refused as a whole, replaced as a whole."""
    settings = load(config)
    try:
        wanted = date.fromisoformat(day) if day else None
    except ValueError:
        raise Failure(f"{day!r} is no day: write it as 2026-09-21") from None
    subscriber_key(settings)  # before a large file is read
    try:
        days = read_accounting(file, wanted)
        with store_to_change(settings) as store:
            key = agreed_key(settings, store)
            for volumes in days:
                done = put_day(store, volumes, source, lambda users: sub_ids(key, users), time.time())
                typer.echo(
                    f"{done.day}: {done.rows:,} users, {done.in_octets:,} octets in, {done.out_octets:,} out"
                    + ("" if done.changed else "; they are in force already")
                )
    except AccountingError as error:
        raise Failure(str(error)) from None
    except StoreRefused as error:
        if error.code != _UNKNOWN_TABLE:
            raise
        raise Failure("the store has no tables for it yet: flowtide migrate, or a start, makes them") from None
    typer.echo(f"{sum(len(each.users) for each in days):,} rows of {len(days)} days from {source}")
