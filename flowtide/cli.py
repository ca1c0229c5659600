"""The command line; a subcommand is one screen that calls a part."""

import sys
import threading
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from flowtide.errors import Failure
from flowtide.lean import loading, start_lean

if TYPE_CHECKING:
    from flowtide.settings import Settings

_GROUPS = ("accounting", "alerts", "dashboards", "leases", "report", "store")
"""Commands that have commands, each in ``flowtide/NAME_command.py``."""


class _Commands(TyperGroup):
    """Imports the module of a group when it is called: together they take longer to load than most commands to run."""

    # Any: the types are those of the click within typer, which has no public name.
    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _GROUPS:
            return super().get_command(ctx, cmd_name)
        group = get_group(import_module(f"flowtide.{cmd_name}_command").app)
        group.name = cmd_name
        return group


app = typer.Typer(
    cls=_Commands,
    help="Streaming flow collector: NetFlow, IPFIX and sFlow into ClickHouse, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]


class Format(StrEnum):
    """What ``replay --decode`` writes."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    table = "table"


@app.command()
def run(config: Config = None) -> None:
    """Collect, enrich and store until stopped: all in one, on the bus and the store of the settings."""
    _run_stack(_settings(config), collect_only=False)


@app.command()
def collect(config: Config = None) -> None:
    """Receive and decode until stopped: flows go to the bus, others enrich and store them."""
    _run_stack(_settings(config), collect_only=True)


@app.command()
def enrich(config: Config = None) -> None:
    """Move flows from flows.raw to flows.enriched until stopped; several share a Kafka bus, one a data directory."""
    from flowtide.single import run_single

    run_single(_settings(config), "enrich")


@app.command()
def sink(config: Config = None) -> None:
    """Move flows from flows.enriched into the store until stopped; with the engine in process also its HTTP port."""
    from flowtide.single import run_single

    run_single(_settings(config), "sink")


@app.command()
def serve(config: Config = None) -> None:
    """Be the ClickHouse of a machine without a server: the engine, its HTTP port and the console, no bus."""
    from flowtide.parts import is_embedded
    from flowtide.single import run_single

    settings = _settings(config)
    if not is_embedded(settings):
        raise Failure(f"store.url {settings.store.url!r} is a server already; serve wants chdb:DIRECTORY")
    run_single(settings, "serve")


@app.command()
def console(
    config: Config = None,
    make_hash: Annotated[bool, typer.Option("--hash", help="ask for a password and print its text for users")] = False,
) -> None:
    """Show the dashboards in a browser, over a store that runs: this data directory's, or a server."""
    from flowtide.console_command import print_hash, show

    if make_hash:
        print_hash()
    else:
        show(_settings(config))


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="stop after this many seconds")] = None,
    config: Config = None,
    rate: Annotated[int, typer.Option(min=1, help="flows a second of the simulated exporters")] = 2_000,
    seed: Annotated[int, typer.Option(help="same seed, same flows")] = 1,
    days: Annotated[int, typer.Option("--history", min=0, max=8, help="days of history in a fresh directory")] = 8,
) -> None:
    """Run the whole path with simulated exporters and watch it by SQL."""
    from flowtide.demo import run_demo

    if not run_demo(_settings(config), seconds, rate, seed, days):
        raise Failure("no flow became visible by SQL: see the messages above")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="pcap or pcapng with NetFlow or IPFIX in UDP")],
    to: Annotated[str | None, typer.Option("--to", metavar="HOST:PORT", help="send the datagrams there")] = None,
    decode: Annotated[Format | None, typer.Option("--decode", help="write the flow records instead")] = None,
    out: Annotated[str, typer.Option("--out", metavar="PATH", help="file to write, - is standard output")] = "-",
    reverse: Annotated[bool, typer.Option("--reverse", help="also the reverse halves of biflows (RFC 5103)")] = False,
    rate: Annotated[float, typer.Option(min=1, help="datagrams a second")] = 5_000,
    exporters: Annotated[
        Path | None, typer.Option(help="CSV exporter,source: the source address to send each exporter's datagrams from")
    ] = None,
    allow_remote: Annotated[bool, typer.Option(help="allow a target that is not on this machine")] = False,
) -> None:
    """Send a capture's flow datagrams to a collector, or decode them to rows."""
    if (to is None) == (decode is None):
        raise Failure("say either --to HOST:PORT or --decode csv|jsonl|parquet|table")
    if decode is not None:
        from flowtide.replay_decode import decode_file

        decode_file(file, decode.value, "-" if out == "-" else Path(out), reverse)
        return
    from flowtide.replay_send import ReplayError, replay_to

    try:
        replay_to(file, to or "", rate, exporters, allow_remote)
    except ReplayError as error:
        raise Failure(str(error)) from None


@app.command()
def simulate(
    to: Annotated[
        str, typer.Option("--to", metavar="HOST:PORT", help="collectors, with commas: exporters take turns")
    ] = "",
    scenario: Annotated[
        str, typer.Option(help="a TOML file, or noc, quiet, incident-day, report-week, line-rate")
    ] = "noc",
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="stop after this many seconds")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="flows a second of all exporters, mean over a week")] = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="simulated seconds a second, at most")] = None,
    seed: Annotated[int | None, typer.Option(help="same seed, same network")] = None,
    leases: Annotated[Path | None, typer.Option(help="write who held which prefix there, for the enricher")] = None,
    feeds: Annotated[Path | None, typer.Option(help="write leases, accounting and interfaces into this folder")] = None,
    truth: Annotated[Path | None, typer.Option(help="write what was sent into this folder, as Parquet")] = None,
    radius: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="send RADIUS accounting; secret in FLOWTIDE_SIMULATE_RADIUS_SECRET")
    ] = "",
    most: Annotated[float, typer.Option(min=1, help="datagrams a second, at most")] = 20_000,
    allow_remote: Annotated[
        bool, typer.Option(help="allow targets that are not on this machine, and names instead of addresses")
    ] = False,
) -> None:
    """Send flows of a network that does not exist, and print at the end what was sent."""
    from flowtide.simulate_command import Asked, run_simulate

    run_simulate(
        Asked(scenario, to, seconds, rate, speed, seed, leases, feeds, truth, radius, most, allow_remote=allow_remote)
    )


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="one statement; - reads it from standard input")],
    config: Config = None,
    output: Annotated[str, typer.Option("--format", "-f", help="a format of ClickHouse")] = "PrettyCompact",
) -> None:
    """Ask the store: over the HTTP port when something runs, else by opening the directory."""
    from flowtide.query import ask

    text = sys.stdin.read() if query == "-" else query
    sys.stdout.buffer.write(ask(_settings(config), text, output))


@app.command()
def migrate(
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan only")] = False,
) -> None:
    """Bring the store to this version's schema; the plan is printed first."""
    from flowtide.query import migrate_store

    migrate_store(_settings(config), dry_run=dry_run)


@app.command()
def check(config: Config = None) -> None:
    """Print the effective settings with their defaults, and refuse wrong ones."""
    from flowtide.check import describe

    typer.echo(describe(_settings(config)))


@app.command()
def doctor(
    config: Config = None,
    audit: Annotated[
        tuple[str, str] | None,
        typer.Option("--audit", metavar="FROM TO", help="compare decoded, published, enriched, inserted and present"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the audit as JSON")] = False,
    gap: Annotated[
        int | None, typer.Option("--accept-gap", metavar="PARTITION", help="let a stopped partition go on")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="accept the gap without asking")] = False,
) -> None:
    """Look at every stage and say what to do; or prove the counts of a time (status 1: differ, 2: cannot ask)."""
    from flowtide import doctor as looks

    settings = _settings(config)
    if audit is not None:
        status = looks.run_audit(settings, *audit, as_json=as_json)
    elif gap is not None:
        status = looks.run_accept_gap(settings, gap, lambda question: yes or typer.confirm(question))
    else:
        status = looks.run_doctor(settings)
    raise typer.Exit(status)


@app.command()
def elements(
    pen: Annotated[
        int | None, typer.Option("--pen", min=0, help="of this enterprise only; 0 is IANA, 29305 the reverse direction")
    ] = None,
    config: Config = None,
) -> None:
    """List which information element fills which column, in order of precedence."""
    from flowtide.elements import lines, show

    typer.echo(show(lines(_settings(config).collector.decoder.extra), pen))


def _run_stack(settings: "Settings", *, collect_only: bool) -> None:
    with loading():
        from flowtide.child import be
        from flowtide.stack import Stack, on_signals

    stop = threading.Event()
    on_signals(stop)
    stack = Stack(settings, collect_only=collect_only, fork=be)
    try:
        addresses = stack.start()
        typer.echo(f"listening for flows on {', '.join(addresses.listen)} (UDP)")
        if addresses.http:
            typer.echo(f"SQL:     curl '{addresses.http}/?query=SELECT+count()+FROM+flowtide.flows'")
        if addresses.console:
            typer.echo(f"console: {addresses.console}")
        if addresses.alerts:
            typer.echo(f"alerts:  {addresses.alerts}/api/alerts")
        places = (addresses.http and f"{addresses.http}/metrics", addresses.collector_metrics, addresses.ship_metrics)
        typer.echo(f"metrics: {', '.join(place for place in places if place)}; health: /healthz")
        typer.echo(f"bus:     {settings.filled(settings.bus.url)}")
        typer.echo(f"data in {settings.data.resolve()}; stop with Ctrl-C")
        sys.stdout.flush()
        stack.run(stop)
    finally:
        stack.close()
    typer.echo(f"stopped; the data is in {settings.data.resolve()}")


def _settings(config: Path | None) -> "Settings":
    with loading():
        from flowtide.settings import load
        from sinks.telemetry import configure_logging

    settings = load(config)
    configure_logging(settings.log.level, json_lines=settings.log.json_lines)
    return settings


def _mendable() -> tuple[type[Exception], ...]:
    """Errors that a user can mend; imported once there is one."""
    from collector.capture import CaptureError
    from collector.sockets import BindError
    from enricher.subscribers import KeyFileError
    from flowtide.children import ChildFailed
    from flowtide.settings import SettingsError
    from sinks import StoreRefused, StoreUnavailable
    from sinks.kafka_client import KafkaError
    from sinks.migrations import MigrationError
    from sinks.ownership import AlreadyOwned
    from sinks.spool import SpoolError

    return (
        Failure, SettingsError, SpoolError, KafkaError, AlreadyOwned, ChildFailed, BindError, CaptureError,
        KeyFileError, MigrationError, StoreUnavailable, StoreRefused,
    )  # fmt: skip


def main() -> None:
    """Entry point: errors that a user can mend are one message, not a traceback."""
    start_lean()
    try:
        app()
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        typer.echo(f"flowtide: {error}", err=True)
        sys.exit(1)
