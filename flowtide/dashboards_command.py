"""``flowtide dashboards build | check | push URL``: files of the screens, and the way of all into a Grafana."""

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from flowtide.errors import Failure
from flowtide.settings import load

_PASSWORD = "CLICKHOUSE_GRAFANA_PASSWORD"  # noqa: S105 - the name of a variable

app = typer.Typer(help="The dashboards: build their files, check them, push them to a Grafana.", no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[Path | None, typer.Option("--out", help="folder to write to [default: the package's]")] = None,
) -> None:
    """Write the dashboards' JSON and the page about them from the code."""
    from dashboards.panels.build import ROOT, write

    chosen = folder or ROOT
    if not chosen.is_dir():
        raise Failure(f"{chosen}: no such folder; make it first")
    changed = write(chosen)
    typer.echo("\n".join(changed) if changed else "nothing changed")


@app.command()
def check() -> None:
    """Say where the files differ from the code, and what a Grafana would stumble over; status 1 when anything."""
    from dashboards.library import dashboards
    from dashboards.panels.build import drift
    from dashboards.panels.lint import problems

    difference = drift()
    found = [problem for dashboard in dashboards().values() for problem in problems(dashboard)]
    if difference:
        typer.echo(difference)
        found.append("the files differ from the code: flowtide dashboards build")
    for problem in found:
        typer.echo(problem)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{len(dashboards())} dashboards: as the code says, and nothing to mend")


@app.command()
def push(
    url: Annotated[str, typer.Argument(help="Grafana's address; $GRAFANA_TOKEN, or $GRAFANA_USER and _PASSWORD")],
    store: Annotated[
        str, typer.Option(help="ClickHouse's HTTP interface as Grafana's machine sees it [default: the settings']")
    ] = "",
    user: Annotated[str, typer.Option(help=f"Grafana's user in ClickHouse; its password is ${_PASSWORD}")] = "grafana",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the difference only")] = False,
    set_password: Annotated[
        bool, typer.Option("--set-password", help="give the password also where Grafana has one")
    ] = False,
    no_alerts: Annotated[bool, typer.Option("--no-alerts", help="leave the alert rules out")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="TOML file of settings")] = None,
) -> None:
    """Make a Grafana hold the folder, the data source, the dashboards and the alert rules; prints the difference first.

    The rules send nothing by themselves: who is told is Grafana's contact points and notification policies.
    """
    try:
        from dashboards.publish import DataSource, PublishError, credential_from, publish
    except ImportError as error:
        raise Failure(f"push needs the extra grafana ({error.name} is missing)") from None
    from dashboards.alerts.build import document
    from dashboards.library import dashboards

    settings = load(config)
    place = urlsplit(store or _store_of(settings.store.url, settings.http.listen))
    if place.scheme not in ("http", "https") or not place.hostname:
        raise Failure(f"--store {store!r}: write http://HOST:8123 or https://HOST:8443")
    secure = place.scheme == "https"
    source = DataSource(
        place.hostname, place.port or (8443 if secure else 8123), secure, user, os.environ.get(_PASSWORD, ""),
        settings.store.database, set_password,
    )  # fmt: skip
    try:
        publish(
            url, dashboards(), source, credential_from(os.environ), typer.echo, dry_run=dry_run,
            rules=None if no_alerts else document(),
        )  # fmt: skip
    except PublishError as error:
        raise Failure(str(error)) from None


def _store_of(store_url: str, listen: str) -> str:
    return store_url if store_url.startswith(("http://", "https://")) else f"http://{listen}"
