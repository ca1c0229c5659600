"""``flowtide alerts silence``: for how long nobody wants to hear of certain alerts."""

import difflib
import getpass
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from dashboards.alerts.silences import NAME, Silence, SilenceError, read
from dashboards.alerts.silences import add as add_to
from dashboards.alerts.silences import expire as expire_in
from flowtide.errors import Failure
from flowtide.settings import Settings, load

app = typer.Typer(help="Alerts that nobody is to be told of for a while.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST = 366 * 86_400
_LABELS = ("alertname", "definition", "exporter", "rule", "rulename", "service", "severity")
"""Of our own rules; an operator's may have others."""


@app.command()
def add(
    matchers: Annotated[
        list[str], typer.Argument(metavar="LABEL=VALUE...", help="all must hold; LABEL=~PATTERN for a whole pattern")
    ],
    comment: Annotated[str, typer.Option(help="why, for whoever finds it")],
    for_: Annotated[str, typer.Option("--for", metavar="2h", help="how long: 90m, 2h, 1d12h")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="or until when: 2026-12-24T18:00")] = "",
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="begin later than now")] = "",
    author: Annotated[str, typer.Option(help="whose it is [default: your user name]")] = "",
    config: Config = None,
) -> None:
    """Silence the alerts whose labels match; they are evaluated and shown as before."""
    settings, now = load(config), time.time()
    if bool(for_) == bool(until):
        raise Failure("say how long: either --for 2h, or --until 2026-12-24T18:00")
    begins = _moment(since, settings, "--from") if since else now
    ends = begins + seconds(for_) if for_ else _moment(until, settings, "--until")
    if ends - begins > _LONGEST:
        raise Failure("longer than a year: whoever meets it then will not know it; give a shorter time")
    try:
        silence = add_to(_path(settings), matchers, begins, ends, author or _user(), comment, now)
    except SilenceError as error:
        raise Failure(str(error)) from None
    for one in silence.conditions:
        if one.name not in _LABELS:
            near = difflib.get_close_matches(one.name, _LABELS, n=1)
            typer.echo(f"note: our own rules have no label {one.name}"
                       + (f"; did you mean {near[0]}?" if near else ""), err=True)  # fmt: skip
    typer.echo(_line(silence, now, settings))
    if not settings.alerts.webhooks:
        typer.echo("note: alerts.webhooks is empty, nobody is told of alerts here; where Grafana evaluates the rules,"
                   " silence there", err=True)  # fmt: skip


@app.command("list")
def show(
    everything: Annotated[bool, typer.Option("--all", help="also those that ended in the last week")] = False,
    config: Config = None,
) -> None:
    """Silences in force and to come."""
    settings, now = load(config), time.time()
    try:
        found = read(_path(settings))
    except SilenceError as error:
        raise Failure(str(error)) from None
    listed = [one for one in found if everything or one.state(now) != "expired"]
    for one in sorted(listed, key=lambda each: each.ends):
        typer.echo(_line(one, now, settings))
    if not listed:
        typer.echo("no silence" if everything else "no silence in force")


@app.command()
def expire(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="as list shows it; its beginning is enough")],
    config: Config = None,
) -> None:
    """End silences now: what still fires is told within the webhook's group interval."""
    settings, now = load(config), time.time()
    for each in ids:
        try:
            typer.echo(_line(expire_in(_path(settings), each, now), now, settings))
        except SilenceError as error:
            raise Failure(str(error)) from None


def seconds(text: str) -> float:
    """Of a length as ``90m`` or ``1d12h``; Failure."""
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text or len(text) > 20:
        raise Failure(f"--for {text!r}: write a length as 90m, 2h or 1d12h")
    return float(sum(int(number) * _SECONDS[unit] for number, unit in parts))


def _moment(text: str, settings: Settings, option: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=ZoneInfo(settings.timezone))
        return found.timestamp()
    except (ValueError, OverflowError):
        raise Failure(f"{option} {text!r}: write a time as 2026-12-24T18:00 ({settings.timezone}), or with its offset"
                      " as 2026-12-24T18:00+09:00") from None  # fmt: skip


def _line(silence: Silence, now: float, settings: Settings) -> str:
    zone = ZoneInfo(settings.timezone)
    state = silence.state(now)
    word = {"pending": f"from {_short(silence.starts, zone)} until", "active": "until", "expired": "ended"}[state]
    return (f"{silence.id}  {state:7}  {word} {_short(silence.ends, zone)}  {' '.join(silence.matchers)}"
            f"  ({silence.author}: {silence.comment})")  # fmt: skip


def _short(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _path(settings: Settings) -> Path:
    return settings.data / "state" / NAME


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
