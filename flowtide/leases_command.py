"""``flowtide leases``: who held which address, how fresh that is, what a new file would change; and a way out."""

import json
import shutil
import time
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from enricher.leases import ACCESSES, SERVICES, LeaseRows, LeaseTable
from enricher.seen import seen_rows
from enricher.settings import LEASES
from enricher.snapshots import Limits, check
from enricher.sources import LeaseFileError
from enricher.subscribers import key_check, sub_ids
from flowtide.accounting_command import subscriber_key
from flowtide.doctor import store_to_ask
from flowtide.errors import Failure
from flowtide.lease_files import difference, lease, moment, read_file, read_sources, rows_of, users_called
from flowtide.query import running_port
from flowtide.settings import Settings, load
from flowtide.store_command import store_to_change
from sinks import StoreRefused, StoreUnavailable
from sinks.rekey import OtherKey, agree_on_key
from sinks.segments import written_beside
from sinks.subscribers import days_of, local_day, put_names, put_seen

app = typer.Typer(help="Who held which address: sources, subscribers, new files.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]
_SHOWN = 10  # leases of each kind of difference
_OF_LOADED = Limits(0.6, 0, 1, 0.01)  # of the file of enricher.leases, which has no settings of its own: as by default


@app.command()
def status(config: Config = None) -> None:
    """Each source: leases, their age, and why its newest state is refused; what a running enricher says of them."""
    settings = load(config)
    any_source = False
    for found, _ in read_sources(settings):
        any_source = True
        newest = f"newest begins {moment(found.newest_ms)}" if found.newest_ms else "no lease"
        typer.echo(f"{'ok  ' if found.error is None else 'LOOK'}  {found.name} ({found.kind}, priority"
                   f" {found.priority}): {found.leases:,} leases, {newest}")  # fmt: skip
        if found.error is not None:
            typer.echo(f"      refused: {found.error}")
    if not any_source:
        typer.echo("no source: set enricher.leases, enricher.sources or enricher.radius")
    typer.echo(f"enricher: {_running(settings)}")


@app.command()
def show(subscriber: Annotated[str, typer.Argument(help="subscription; on mobile the line")],
         config: Config = None) -> None:  # fmt: skip
    """The subscriber's ids, leases of all sources, and days in the store."""
    settings = load(config)
    key = subscriber_key(settings)
    users = users_called(subscriber, key)
    mine = [(found.name, rows, rows_of(rows, subscriber)) for found, rows in read_sources(settings)]
    held_as = {(SERVICES[rows.service[at]], subscriber, ACCESSES[rows.access[at]])
               for _, rows, chosen in mine for at in chosen.tolist()}  # fmt: skip
    for user, number in users.items():
        if user in held_as or not held_as:
            typer.echo(f"sub_id {number}  {user[0]} {user[2]}")
    for name, rows, chosen in mine:
        for at in chosen.tolist():
            typer.echo(f"{lease(rows, at)}  ({name})")
    if not any(len(chosen) for _, _, chosen in mine):
        typer.echo("no source has a lease of it; its ids would be those above")
    try:
        with store_to_ask(settings) as store:
            agree_on_key(store, key_check(key), remember=False)
            days = days_of(store, list(users.values()))
            if not days:
                typer.echo("the store has no volumes of it by day, as reports count them")
            for day in days:
                typer.echo(
                    f"{day['day']}  {day['service']} {day['segment']} {day['access']}: {day['in_octets']:,} octets in,"
                    f" {day['out_octets']:,} out, by {day['volume_source']}"
                )
    except (StoreUnavailable, StoreRefused, OtherKey, Failure) as error:
        typer.echo(f"the store was not asked: {error}")


@app.command("erase")
def erase_subscriber(
    subscriber: Annotated[str, typer.Argument(help="subscription; on mobile the line")],
    yes: Annotated[bool, typer.Option("--yes", help="do it; without it only count")] = False,
    config: Config = None,
) -> None:
    """Take a subscriber out of the store and of what the enricher remembers, for ever; say what is not reached."""
    from flowtide.erasing import erase_subscriber as erase

    erase(load(config), subscriber, yes=yes)


@app.command("rekey")
def change_key(
    new_key: Annotated[Path, typer.Option("--new-key", metavar="FILE", help="the new key, readable by its owner only")],
    yes: Annotated[bool, typer.Option("--yes", help="do it; without it only look")] = False,
    config: Config = None,
) -> None:
    """Change the key of the subscriber ids, for all that is stored; nothing may run meanwhile."""
    from flowtide.rekey_command import rekey

    rekey(load(config), new_key, yes=yes)


@app.command()
def diff(
    file: Annotated[Path, typer.Argument(help="a new lease file")],
    source: Annotated[str, typer.Option(help="the source whose file it would be")] = LEASES,
    config: Config = None,
) -> None:
    """What a new file would change, without using it; refused as the enricher would refuse it."""
    settings = load(config)
    old = _in_force(settings, source)
    new = _checked(settings, file, source, old)
    found = difference(old, new)
    typer.echo(f"{len(old):,} leases in force, {len(new):,} in {file}: {len(found.added):,} added,"
               f" {len(found.ended):,} ended, {len(found.changed):,} changed, {len(found.gone):,} gone")  # fmt: skip
    for sign, rows, chosen in (("+", new, found.added), (".", new, found.ended), ("~", new, found.changed),
                               ("-", old, found.gone)):  # fmt: skip
        for at in chosen[:_SHOWN].tolist():
            typer.echo(f"{sign} {lease(rows, at)}")
        if len(chosen) > _SHOWN:
            typer.echo(f"{sign} and {len(chosen) - _SHOWN:,} more")


@app.command("load")
def load_file(
    file: Annotated[Path, typer.Argument(help="a new lease file")],
    source: Annotated[str, typer.Option(help="the source whose file it becomes")] = LEASES,
    anyway: Annotated[bool, typer.Option("--anyway", help="however much it differs from what is in force")] = False,
    config: Config = None,
) -> None:
    """Check a file and put it where the source is read, whole: the enricher takes it at its next look."""
    settings = load(config)
    place = _place(settings, source)
    rows = _checked(settings, file, source, _in_force(settings, source), anyway=anyway)
    if place.suffix == ".parquet" and file.suffix != ".parquet":
        raise Failure(f"{place} is Parquet, {file} is not")
    try:
        with written_beside(place) as draft:
            shutil.copyfile(file, draft)
            if place.exists():
                shutil.copymode(place, draft)
    except OSError as error:
        raise Failure(f"{place}: {error.strerror or error}") from None
    typer.echo(f"{len(rows):,} leases in {place}; flowtide leases status says whether they are in force")


@app.command()
def seen(
    day: Annotated[str, typer.Option(metavar="DAY", help="local day, as 2026-09-21")],
    names: Annotated[bool, typer.Option("--names", help="also whose pseudonym is whose, into subscriber_name")] = False,
    config: Config = None,
) -> None:
    """Write who held a lease on a day, so that silent users count; again adds who came later."""
    settings = load(config)
    try:
        wanted = date.fromisoformat(day)
    except ValueError:
        raise Failure(f"{day!r} is no day: write it as 2026-09-21") from None
    key = subscriber_key(settings)
    rows = LeaseRows.concat([rows for _, rows in read_sources(settings)])
    users = seen_rows(LeaseTable.of(rows, key), *local_day(wanted, settings.timezone))
    with store_to_change(settings) as store:
        agree_on_key(store, key_check(key))
        count = put_seen(store, wanted, users, time.time())
        typer.echo(f"{count:,} users held a lease on {wanted}")
        if names:
            typer.echo(f"{put_names(store, _names(rows, key), time.time()):,} names")


def _names(rows: LeaseRows, key: bytes) -> pa.Table:
    distinct = np.unique(np.stack([rows.subscriber, rows.service, rows.access]), axis=1).T.tolist()
    users = sorted({(SERVICES[service], rows.subscribers[who], ACCESSES[access]) for who, service, access in distinct})
    return pa.table({
        "sub_id": pa.array(sub_ids(key, users), pa.uint64()),
        **{name: pa.array([user[at] for user in users], pa.string())
           for at, name in enumerate(("service", "subscriber", "access"))},
    })  # fmt: skip


def _checked(settings: Settings, file: Path, source: str, live: LeaseRows, *, anyway: bool = False) -> LeaseRows:
    """The file's leases, judged by the limits of its source; what flows would lose only a running enricher knows."""
    limits = next(
        (
            Limits(each.least_share_of_rows, 0, each.most_share_of_overlaps, each.most_share_of_ambiguous)
            for each in settings.enricher.sources
            if each.label == source
        ),
        _OF_LOADED,
    )
    if anyway:
        limits = Limits()
    try:
        rows = read_file(file, settings.enricher.lease_file_bytes)
        check(rows, live, limits, file)
    except LeaseFileError as error:
        raise Failure(f"refused: {error}") from None
    return rows


def _in_force(settings: Settings, source: str) -> LeaseRows:
    """What the source's files say, which is what a running enricher has, or would have."""
    for found, rows in read_sources(settings):
        if found.name == source:
            return rows
    _place(settings, source)
    return LeaseRows.empty()


def _place(settings: Settings, source: str) -> Path:
    """The one file that a source is read from."""
    places = {each.label: each.path for each in settings.enricher.sources if each.kind in ("csv", "parquet")}
    if settings.enricher.leases:
        places[LEASES] = settings.enricher.leases
    if source not in places:
        raise Failure(f"no source of files is called {source!r}: there are {', '.join(places) or 'none'}")
    path = Path(places[source])
    if path.is_dir() or any(sign in path.name for sign in "*?["):
        raise Failure(f"{source} reads several files ({path}): put the file there under a name of its own")
    return path


def _running(settings: Settings) -> str:
    """What /healthz of the process with the enricher says of leases."""
    url = running_port(settings) or f"http://{settings.enricher.telemetry}"
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - our own address
            facts = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        try:
            facts = json.loads(error.read())
        except ValueError:
            return f"{url} does not tell"
    except (OSError, ValueError):
        return f"none answers at {url}"
    complaint = facts.get("leases")
    return f"LOOK: {complaint}" if complaint else f"no complaint about leases at {url}"
