"""``flowtide leases erase``: a subscriber out of all that can be reached from here, and what cannot be, said."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from enricher.leases import LeaseRows
from enricher.radius.offline import erase as erase_sessions
from enricher.settings import LEASES
from enricher.snapshots import restore, save
from enricher.sources import LeaseFileError
from flowtide.accounting_command import agreed_key
from flowtide.errors import Failure
from flowtide.lease_files import held, read_sources, rows_of, users_called
from flowtide.settings import Settings
from flowtide.stack import own
from flowtide.store_command import store_to_change
from sinks.ownership import AlreadyOwned
from sinks.subscribers import erase
from sinks.subscribers import rows_of as stored_rows

_SAVED = "saved"  # kind of leases that only the enricher's own file has


def erase_subscriber(settings: Settings, subscriber: str, *, yes: bool) -> None:
    """Out of the store, and what the enricher remembers where none runs; without ``yes`` only count.  Failure."""
    now_ms = int(time.time() * 1000)
    told = [(status, rows, rows_of(rows, subscriber)) for status, rows in read_sources(settings)]
    saved = list(_saved(settings, subscriber))
    pairs = [*((rows, chosen) for _, rows, chosen in told), *((rows, rows_of(rows, subscriber)) for _, rows in saved)]
    spans = list(dict.fromkeys(each for rows, chosen in pairs for each in held(rows, chosen.tolist(), now_ms)))
    with _no_enricher(settings) as owner:
        with store_to_change(settings) as store:
            ids = list(users_called(subscriber, agreed_key(settings, store)).values())
            _tell(erase(store, ids, spans) if yes else stored_rows(store, ids))
        if owner is None:
            _erase_remembered(settings, subscriber, saved, yes=yes)
        if not yes:
            raise Failure(f"nothing was erased: --yes erases these, and talkers of {len(spans)} leases")
        typer.echo("erased. Not reached from here:")
        if owner is not None:
            _say_remembered(settings, owner)
    _say_named(settings, [(status.name, status.kind, len(chosen)) for status, _, chosen in told])
    typer.echo("- messages of the bus until it is trimmed, dead letters, backups and exports")
    typer.echo("A subscriber who goes on is counted again.")


def _erase_remembered(settings: Settings, subscriber: str, saved: list[tuple[Path, LeaseRows]], *, yes: bool) -> None:
    """Else the next start would have the name again."""
    count = 0
    for path, rows in saved:
        count += len(rows_of(rows, subscriber))
        if yes:
            save(path, without(rows, subscriber))
    typer.echo(f"saved leases: {count:,} rows")
    found = erase_sessions(
        settings.enricher.radius, settings.data / "state" / "radius", settings.timezone, subscriber, dry_run=not yes
    )
    typer.echo(f"RADIUS journal: {found.sessions:,} sessions, {found.days:,} days of octets")


def without(rows: LeaseRows, subscriber: str) -> LeaseRows:
    """Nothing of a subscriber, the name included."""
    kept = rows.take(~np.isin(rows.subscriber, [at for at, name in enumerate(rows.subscribers) if name == subscriber]))
    codes, places = np.unique(kept.subscriber, return_inverse=True)
    return replace(
        kept, subscriber=places.astype("u4"), subscribers=[kept.subscribers[code] for code in codes.tolist()]
    )


def _saved(settings: Settings, subscriber: str) -> Iterator[tuple[Path, LeaseRows]]:
    """What the enricher keeps beside its key and names the subscriber."""
    for path in sorted((settings.data / "state" / "leases").glob("*.parquet")):
        try:
            rows = restore(path)
        except LeaseFileError as error:
            raise Failure(f"{error}; whether it names {subscriber} cannot be told: remove it, the next start makes it"
                          " anew") from None  # fmt: skip
        if rows is not None and subscriber in rows.subscribers:
            yield path, rows


@contextmanager
def _no_enricher(settings: Settings) -> Iterator[str | None]:
    """Keeps one from starting here meanwhile; what runs, when one does already."""
    try:
        owners = own(settings, ("flowtide", "enricher"))
    except AlreadyOwned as error:
        yield str(error).split(". Stop")[0].partition(" is in use by ")[2]
        return
    try:
        yield None
    finally:
        for owner in owners:
            owner.close()


def _say_remembered(settings: Settings, owner: str) -> None:
    typer.echo(
        f"- what the enricher remembers, {owner}: leases until their sources say otherwise"
        f" (saved in {settings.data.resolve() / 'state' / 'leases'})"
    )
    radius = settings.enricher.radius
    if radius.listen:
        typer.echo(
            f"  and RADIUS sessions until {radius.history_hours:g} h after they end (enricher.radius.history_hours),"
            f" their daily octets for {radius.usage_days} days (usage_days)"
        )
    typer.echo("  To take these out at once stop it and erase again.")


def _say_named(settings: Settings, found: list[tuple[str, str, int]]) -> None:
    places = {each.label: each.path for each in settings.enricher.sources} | {LEASES: settings.enricher.leases}
    for name, kind, count in found:
        if count and kind != _SAVED:
            typer.echo(f"- {name}: {count:,} leases in {places.get(name, name)}: take them out there, or the enricher"
                       " has them again")  # fmt: skip
    for each in settings.enricher.sources:
        if each.kind == "kafka":
            typer.echo(f"- {each.label}: what the topic {each.path} has of it, which whoever writes there removes")


def _tell(rows: dict[str, int]) -> None:
    for table, count in rows.items():
        typer.echo(f"{table}: {count:,} rows")
