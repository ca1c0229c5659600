"""``flowtide sql`` and ``flowtide migrate``: through the running port, or by opening the directory."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from dashboards.alerts.settings import STORED
from flowtide.errors import Failure
from flowtide.native_query import ask_native
from flowtide.parts import is_embedded, open_store
from flowtide.settings import Settings
from flowtide.stack import runtime_file
from sinks import StoreRefused, StoreUnavailable, comments
from sinks.migrations import MigrationError, keep_settings, migrate, plan
from sinks.ownership import AlreadyOwned

if TYPE_CHECKING:
    from sinks.clickhouse import ClickHouseStore
    from sinks.embedded import EmbeddedStore


def ask(settings: Settings, sql: str, output: str) -> bytes:
    """The answer's bytes in a format of ClickHouse; Failure.

    The rules are those of the HTTP port's reader in both cases: without a running stack the directory is opened and
    asked through a port of this process.
    """
    if settings.store.url.startswith("clickhouse"):
        return ask_native(settings, sql, output)
    if not is_embedded(settings):
        return _ask_server(settings, sql, output)
    running = running_port(settings)
    if running is not None:
        return _ask_port(running, sql, output)
    if not settings.folder(settings.store.url, "chdb").is_dir():
        raise Failure(f"{settings.data.resolve()} holds no store yet: start one with flowtide run or flowtide demo")
    # Not at the top: who asks a server does without the engine.
    from sinks.embedded import EmbeddedStore
    from sinks.http_port import HttpPort

    store = _open(settings)
    assert isinstance(store, EmbeddedStore)
    port = HttpPort(store, settings.http.model_copy(update={"listen": "127.0.0.1:0"}), lambda: {}, settings.timezone)
    try:
        host, number = port.start()
        return _ask_port(f"http://{host}:{number}", sql, output)
    finally:
        port.close()
        store.close()


def migrate_store(settings: Settings, *, dry_run: bool) -> None:
    """Print what is to be done, and do it; Failure when the store is of a newer version."""
    store = _open(settings)
    try:
        steps = plan(store, settings.store, settings.timezone)
        for step in steps:
            typer.echo(str(step) if dry_run else f"-- {step.name}")
        if not steps:
            typer.echo("nothing to do: the store has this version's schema")
        elif dry_run:
            typer.echo(f"{len(steps)} steps to do; nothing was changed")
        else:
            migrate(store, settings.store, settings.timezone)
            comments.tell(store)
            typer.echo(f"{len(steps)} steps done")
        if not dry_run:
            keep_settings(store, STORED, settings.alerts.told())
    except (MigrationError, StoreRefused, StoreUnavailable) as error:
        raise Failure(str(error)) from None
    finally:
        store.close()


def running_port(settings: Settings) -> str | None:
    """URL of the HTTP port of the stack that runs on this data directory; None: nothing runs."""
    try:
        url = str(json.loads(runtime_file(settings).read_bytes())["http"])
        with urllib.request.urlopen(f"{url}/ping", timeout=5):  # noqa: S310 - our own address
            return url
    except (OSError, ValueError, KeyError):
        return None


def _ask_port(url: str, sql: str, output: str) -> bytes:
    return _ask(f"{url}/?default_format={urllib.parse.quote(output)}", sql, {})


def _ask_server(settings: Settings, sql: str, output: str) -> bytes:
    chosen = settings.store
    # Questions only, whatever the account may do.
    fields = {"default_format": output, "database": chosen.database, "readonly": "2"}
    headers = {"X-ClickHouse-User": chosen.user or "default", "X-ClickHouse-Key": chosen.password.get_secret_value()}
    return _ask(f"{chosen.url.rstrip('/')}/?{urllib.parse.urlencode(fields)}", sql, headers, chosen.ca_file)


def _trust(ca_file: str) -> ssl.SSLContext | None:
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else None
    except OSError as error:
        raise Failure(f"store.ca_file {ca_file}: {error}") from None


def _ask(url: str, sql: str, headers: Mapping[str, str], ca_file: str = "") -> bytes:
    request = urllib.request.Request(url, sql.encode(), dict(headers))  # noqa: S310 - of the settings
    try:
        with urllib.request.urlopen(request, context=_trust(ca_file)) as answer:  # noqa: S310
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        raise Failure(error.read().decode(errors="replace").strip()) from None
    except OSError as error:
        raise Failure(f"{url.partition('?')[0]} does not answer: {error}; is the store running?") from None


def _open(settings: Settings) -> "EmbeddedStore | ClickHouseStore":
    try:
        return open_store(settings)
    except (StoreUnavailable, StoreRefused, AlreadyOwned) as error:
        raise Failure(str(error)) from None
