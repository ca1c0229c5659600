"""``enrich``, ``sink`` and ``serve``: one process each, on a bus and a store that others share."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import typer

from flowtide.alerts import AlertsProcess
from flowtide.behind import run_behind_the_bus
from flowtide.children import address_of
from flowtide.console import ConsoleProcess
from flowtide.parts import admin_token_file, is_embedded, with_admin_token
from flowtide.settings import Settings
from flowtide.stack import on_signals, own, runtime_file
from sinks.segments import write_atomic

ROLES = {"enrich": "enricher", "sink": "sink", "serve": "serve"}


def run_single(settings: Settings, command: str) -> None:
    """Be this one part until stopped, ``serve`` with a console beside it.

    AlreadyOwned when the data directory has one.
    """
    owners = own(settings, (ROLES[command],))
    stop = threading.Event()
    undo = on_signals(stop)
    if command == "serve":
        settings = with_admin_token(settings)
    runtime = single_file(settings, command)
    beside = (AlertsProcess(), ConsoleProcess()) if command == "serve" else None
    try:
        run_behind_the_bus(
            settings, stop, lambda facts: _say_ready(settings, command, runtime, facts, beside),
            enrich=command == "enrich", sink=command == "sink", serve=command == "serve",
        )  # fmt: skip
    finally:
        for child in beside or ():
            child.close()
        undo()
        runtime.unlink(missing_ok=True)
        for owner in owners:
            owner.close()
    typer.echo("stopped")


def single_file(settings: Settings, command: str) -> Path:
    """Where a running part says on which ports it answers; whoever has the SQL port says so where a stack does."""
    if command == "serve" or (command == "sink" and is_embedded(settings)):
        return runtime_file(settings)
    return settings.data / "state" / f"{command}.json"


def _say_ready(
    settings: Settings,
    command: str,
    runtime: Path,
    facts: Mapping[str, object],
    beside: tuple[AlertsProcess, ConsoleProcess] | None,
) -> None:
    said = {name: f"http://{address_of(facts[name])}" for name in ("http", "metrics") if name in facts}
    if beside is not None:
        alerts, console = beside
        said["alerts"] = alerts.start(settings, said["http"])
        said["console"] = console.start(settings, said["http"], alerts_url=said["alerts"])
        for child in beside:
            child.tend_on_a_thread()
    runtime.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(runtime, json.dumps(said).encode())
    typer.echo(f"store:   {settings.filled(settings.store.url)}" if command == "serve"
               else f"bus:     {settings.filled(settings.bus.url)}")  # fmt: skip
    if "http" in said:
        typer.echo(f"SQL:     curl '{said['http']}/?query=SELECT+count()+FROM+flowtide.flows'")
    if said.get("console"):
        typer.echo(f"console: {said['console']}")
    if said.get("alerts"):
        typer.echo(f"alerts:  {said['alerts']}/api/alerts")
    if command == "serve" and admin_token_file(settings).exists():
        typer.echo(f"admin:   the password is in {admin_token_file(settings).resolve()}")
    typer.echo(f"metrics: {said.get('http') or said['metrics']}/metrics; health: /healthz")
