"""``flowtide leases rekey``: the one way in which the key of the subscriber ids changes, for all that is stored."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import typer

from enricher.leases import ACCESSES, SERVICES, LeaseRows
from enricher.radius.offline import users_of
from enricher.snapshots import restore
from enricher.sources import LeaseFileError
from enricher.subscribers import KeyFileError, changed_ids, key_check, load_key, replace_key
from flowtide.accounting_command import subscriber_key
from flowtide.errors import Failure
from flowtide.lease_files import read_sources
from flowtide.parts import is_embedded, is_kafka, open_bus, open_store
from flowtide.settings import Settings
from flowtide.stack import own
from sinks import ENRICHED_STREAM, Store
from sinks.migrations import plan
from sinks.ownership import AlreadyOwned
from sinks.rekey import (
    Ids,
    RekeyRefused,
    agree_on_key,
    change_under_way,
    finish,
    ids_in,
    key_in_force,
    octets_needed,
    prepare,
)
from sinks.subscribers import BY_ID

User = tuple[str, str, str]
"""Service, subscriber, access."""


def rekey(settings: Settings, new_key_file: Path, *, yes: bool) -> None:
    """Change the key, or finish a change that was cut short; without ``yes`` only look.  Failure."""
    if settings.store.cluster:
        raise Failure(f"store.cluster is {settings.store.cluster!r}: the key of a cluster cannot be changed yet; begin"
                      " a new database with the new key")  # fmt: skip
    new = _new_key(settings, new_key_file)
    with _alone(settings), contextlib.closing(_store(settings)) as store:
        try:
            _rekey(settings, store, new, new_key_file, yes=yes)
        except RekeyRefused as error:
            raise Failure(str(error)) from None


def _rekey(settings: Settings, store: Store, new: bytes, new_key_file: Path, *, yes: bool) -> None:
    after = key_check(new)
    change = change_under_way(store)
    if change is not None and change.after != after:
        raise Failure(
            f"a change to the key with check value {change.after} was begun, and {new_key_file} has {after}: run it"
            " again with that key, and change the key anew afterwards"
        )
    if change is None:
        if key_in_force(store) == after:
            _put_key(settings, new)
            typer.echo("the store's ids are of this key already; nothing to do")
            return
        if plan(store, settings.store, settings.timezone):
            raise Failure("the store is of an older version: run flowtide migrate first")
        _refuse_waiting(settings)
        old = subscriber_key(settings)
        if old == new:
            raise Failure(f"{new_key_file} is the key in force already")
        agree_on_key(store, key_check(old), remember=False)
        ids, changed = _mapping(settings, store, old, new)
        _say_room(settings, store)
        if not yes:
            raise Failure("nothing was changed: --yes changes the key")
        begun = time.monotonic()
        change = prepare(
            store, settings.timezone, ids, changed, key_check(old), after,
            wait_seconds=0 if is_embedded(settings) else 30, step=_tell,
            settle=os.sync if is_embedded(settings) else lambda: None,
        )  # fmt: skip
        typer.echo(f"written anew in {time.monotonic() - begun:.1f} s; from here on a run that is cut short is finished"
                   " by running it again")  # fmt: skip
    else:
        typer.echo("a change to this key was begun: it is finished now")
        if not yes:
            raise Failure("nothing was changed: --yes finishes it")
    finish(store, change, lambda: _put_key(settings, new), _tell)
    _say_what_is_left(settings, new_key_file)


def known_users(settings: Settings, store: Store) -> list[User]:
    """Everybody who is named anywhere that is read here; Failure when a source cannot be read."""
    names = store.query("SELECT DISTINCT service, subscriber, access FROM subscriber_name").to_pylist()
    found: set[User] = {(row["service"], row["subscriber"], row["access"]) for row in names}
    state = settings.data / "state"
    try:
        for source, rows in read_sources(settings):
            if source.error is not None:
                raise Failure(
                    f"{source.name}: {source.error}; its subscribers would be taken for unknown: mend it first"
                )
            found |= users_in(rows)
        for path in sorted((state / "leases").glob("*.parquet")):  # of files too: who has left them since
            found |= users_in(restore(path) or LeaseRows.empty())
    except LeaseFileError as error:
        raise Failure(f"{error}; its subscribers would be taken for unknown: mend or remove it first") from None
    found |= users_of(settings.enricher.radius, state / "radius", settings.timezone)
    return sorted(found)


def users_in(rows: LeaseRows) -> set[User]:
    """Who is named in leases."""
    distinct = np.unique(np.stack([rows.subscriber, rows.service, rows.access]), axis=1).T.tolist()
    return {(SERVICES[service], rows.subscribers[who], ACCESSES[access]) for who, service, access in distinct}


def _mapping(settings: Settings, store: Store, old: bytes, new: bytes) -> tuple[Ids, Ids]:
    ids = ids_in(store)
    users = known_users(settings, store)
    changed, unknown = changed_ids(old, new, users, ids)
    typer.echo(f"{len(ids):,} ids in the store, of {len(ids) - unknown:,} it is known whose")
    if unknown:
        typer.echo(
            f"{unknown:,} ids are of nobody known: names, lease sources, saved leases and RADIUS sessions do not have"
            " them. Their rows stay together under a new id, but neither key finds it by the subscriber's name any more"
        )
    if unknown == len(ids) and users and unknown and not key_in_force(store):
        raise Failure(f"not one of {len(users):,} known subscribers is in the store under the key in force: is it the"
                      " store's key?")  # fmt: skip
    return ids, changed


def _say_room(settings: Settings, store: Store) -> None:
    needed = octets_needed(store)
    disks = store.query("SELECT sum(free_space) AS n FROM system.disks").column("n")[0].as_py()
    typer.echo(f"{len(BY_ID)} tables are written anew: {needed / 1e6:,.1f} MB for a while, {int(disks) / 1e6:,.0f} MB"
               " are free")  # fmt: skip
    if needed > int(disks):
        raise Failure("the disk has no room for that: nothing was changed; make room, or keep raw flows for less long"
                      " (store.raw_days, flowtide migrate)")  # fmt: skip


def _say_what_is_left(settings: Settings, new_key_file: Path) -> None:
    if settings.enricher.key.get_secret_value():
        typer.echo(f"the key is changed. Now set enricher.key (in the environment FLOWTIDE_ENRICHER__KEY) to the text"
                   f" of {new_key_file}, wherever an enricher runs: with the old one nothing starts")  # fmt: skip
    else:
        typer.echo(f"the key is changed: {_key_file(settings)} has the new one. Copy it to other enrichers, keep a copy"
                   f" in a safe place and remove {new_key_file}")  # fmt: skip
    typer.echo("Still with ids of the old key: backups, exports and dead letters, and messages that the bus keeps"
               " although they are stored, until it is trimmed")  # fmt: skip


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nothing enriches or stores here meanwhile; on other machines, as far as it can be seen."""
    try:
        owners = own(settings, ("flowtide", "enricher", "sink", "serve"))
    except AlreadyOwned as error:
        raise Failure(f"the key changes only while nothing enriches, stores or serves: {error}") from None
    try:
        yield
    finally:
        for owner in owners:
            owner.close()


def _refuse_waiting(settings: Settings) -> None:
    """Messages with ids of the old key must not come after the change."""
    if is_kafka(settings):
        from sinks.kafka_lag import members, unread

        if at_work := members(settings.bus, settings.kafka, ("enricher", "sink")):
            raise Failure(f"{at_work} members of the groups enricher and sink are at work on other machines: stop them"
                          " (one that has stopped is seen for kafka.session_seconds)")  # fmt: skip
        waiting = unread(settings.bus, settings.kafka, ENRICHED_STREAM, "sink")
    else:
        waiting = _unread_in_spool(settings)
    if waiting:
        raise Failure(f"{waiting:,} messages of {ENRICHED_STREAM} have ids of the old key and are not stored: run"
                      " flowtide sink until it has nothing to do, stop it, and begin again")  # fmt: skip


def _unread_in_spool(settings: Settings) -> int:
    if not settings.folder(settings.bus.url, "spool").is_dir():
        return 0
    bus, waiting = open_bus(settings), 0
    with contextlib.closing(bus.consumer(ENRICHED_STREAM, "sink")) as consumer:
        for partition in range(bus.partitions):
            first, end = consumer.bounds(partition)
            committed = consumer.committed(partition)
            waiting += max(0, end - (committed.offset if committed else first))
    return waiting


def _store(settings: Settings) -> Store:
    if is_embedded(settings) and not settings.folder(settings.store.url, "chdb").is_dir():
        raise Failure(f"{settings.data.resolve()} holds no store")
    return open_store(settings)


def _new_key(settings: Settings, path: Path) -> bytes:
    if not path.exists():
        raise Failure(f"{path} does not exist: make a key with (umask 077; head -c 32 /dev/urandom | base64 > {path})")
    if path.resolve() == _key_file(settings).resolve():
        raise Failure(f"{path} is the file of the key in force: write the new key to another one")
    key = load_key(path)
    if not settings.enricher.key.get_secret_value():
        return key
    # It will stand in a setting: text, and without the line's end.
    try:
        text = key.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if len(text) < 16 or not text.isprintable():  # as enricher.key
        raise KeyFileError(f"{path}: the key in force is of the setting enricher.key, so the new one must be a line of"
                           " text, 16 characters at least: head -c 32 /dev/urandom | base64")  # fmt: skip
    return text.encode()


def _put_key(settings: Settings, key: bytes) -> None:
    path = _key_file(settings)
    if settings.enricher.key.get_secret_value() or (path.exists() and path.read_bytes() == key):
        return
    replace_key(path, key)


def _key_file(settings: Settings) -> Path:
    return settings.data / "state" / "subscriber.key"


def _tell(what: str) -> None:
    typer.echo(f"  {what}")
