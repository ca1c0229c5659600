"""``flowtide console``: the dashboards over a store that runs, and the text of a password."""

import threading
from collections.abc import Mapping

import typer

from dashboards.console.passwords import hash_password
from flowtide.children import address_of
from flowtide.console import run_console
from flowtide.errors import Failure
from flowtide.parts import is_embedded
from flowtide.query import running_port
from flowtide.settings import Settings, with_setting
from flowtide.stack import on_signals


def show(settings: Settings) -> None:
    """Serve until stopped; Failure when there is no store to ask."""
    if not settings.console.listen:
        raise Failure("console.listen is empty, which means no console: name HOST:PORT")
    settings = with_setting(settings, "console", "store_url", store_url(settings))
    stop = threading.Event()
    undo = on_signals(stop)

    def ready(facts: Mapping[str, object]) -> None:
        typer.echo(f"console: http://{address_of(facts['console'])}")
        typer.echo(f"store:   {settings.console.store_url}, as {settings.console.store_user}")

    try:
        run_console(settings, stop, ready)
    finally:
        undo()
    typer.echo("stopped")


def store_url(settings: Settings) -> str:
    """Whom the console asks: who is named for it, a server, or the port of what runs on this directory; Failure."""
    if settings.console.store_url:
        return settings.console.store_url
    if not is_embedded(settings):
        if not settings.store.url.startswith("http"):
            raise Failure(f"store.url {settings.store.url!r}: the console asks over HTTP: set console.store_url")
        return settings.store.url
    running = running_port(settings)
    if running is None:
        raise Failure(f"nothing runs on {settings.data.resolve()}: start flowtide run, or flowtide serve, which has a"
                      " console too; or set console.store_url")  # fmt: skip
    return running


def print_hash() -> None:
    """Ask for a password twice and print what ``console.users`` wants of it."""
    password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    typer.echo(hash_password(password))
