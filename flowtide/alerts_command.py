"""``flowtide alerts``: are the rules right, what do they say now, when would they have said something."""

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flowtide.alerts import asker, rules_in_force, run_alerts, silences_of
from flowtide.children import address_of
from flowtide.errors import Failure
from flowtide.parts import is_embedded, open_store
from flowtide.settings import Settings, SettingsError, load, with_setting
from flowtide.silence_command import app as silence_app
from flowtide.stack import on_signals, runtime_file
from sinks import StoreUnavailable
from sinks.segments import write_atomic
from sinks.telemetry import configure_logging

if TYPE_CHECKING:
    from dashboards.alerts.evaluate import Ask
    from dashboards.alerts.rulefile import Group, Rule
    from dashboards.alerts.trial import Episode, Trial

app = typer.Typer(help="Alert rules: check, test on the past, list, silence, run.", no_args_is_help=True)
app.add_typer(silence_app, name="silence")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]
_RANGE_SECONDS = 60  # of a day's question, and what our port gives a reader
_DAY = 86_400


@app.command()
def check(config: Config = None) -> None:
    """Read the rules, and ask the store each of their queries; status 1 when one is wrong."""
    from dashboards.alerts.evaluate import AskFailed, judge

    settings = load(config)
    rules = rules_in_force(settings)
    wrong = _lint()
    for text in wrong:
        typer.echo(f"wrong: {text}")
    if not _can_ask(settings):
        typer.echo(f"{len(rules.rules)} rules read; no store here yet, so their queries were not asked")
        raise typer.Exit(1 if wrong else 0)
    failed = 0
    with _asking(settings) as ask:
        for rule in rules.rules:
            began = time.monotonic()
            try:
                found = judge(rule, ask, time.time(), always=True)
            except AskFailed as error:  # nobody answers: no need to ask further
                raise Failure(str(error)) from None
            took = f"{(time.monotonic() - began) * 1000:.0f} ms"
            failed += bool(found.error)
            fires = sum(each.firing for each in found.verdicts)
            rows = f"{len(found.verdicts)} rows" if found.verdicts else "no row: no judgement"
            typer.echo(f"{rule.uid}: {found.error or f'{rows}, {fires} true, {took}'}")
    typer.echo(f"{len(rules.rules)} rules, {failed + len(wrong)} wrong")
    if failed or wrong:
        raise typer.Exit(1)


@app.command()
def test(
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-03-01T12:00, -14d, -1h")] = "-7d",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="as --from, or now")] = "now",
    only: Annotated[list[str] | None, typer.Option("--rule", help="uid, or R1; may be said several times")] = None,
    config: Config = None,
) -> None:
    """Say which rules would have fired, when and how long, had they been evaluated then."""
    from flowtide.audit import parse_times

    settings = load(config)
    first, last = (moment.timestamp() for moment in parse_times(since, until, datetime.now(UTC)))
    chosen = [(group, rule) for group in rules_in_force(settings).groups for rule in group.rules
              if not only or rule.uid in only or rule.name in only]  # fmt: skip
    if not chosen:
        raise Failure(f"no rule {', '.join(only or ())}: flowtide alerts list has them")
    typer.echo(f"from {_told(first)} to {_told(last)}")
    count = 0
    with _asking(settings, _RANGE_SECONDS) as ask:
        for group, rule in chosen:
            found = _tried(group, rule, ask, first, last)
            for episode in found.episodes:
                typer.echo(_line(episode))
            count += len(found.episodes)
            typer.echo(_summary(rule, found))
    typer.echo(f"{count} alerts of {len(chosen)} rules")


@app.command("list")
def show(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="as JSON, normal ones too")] = False
) -> None:
    """List the rules and what they say now, as the process that evaluates them has it."""
    settings = load(config)
    found = _running_report(settings) or _kept_report(settings)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("rule", "severity", "state", "since", "of", "summary"):
        table.add_column(name, justify="left", no_wrap=True)
    for rule in found["rules"]:
        speaking = [each for each in rule["instances"] if each["state"] != "normal"]
        if not speaking or rule["error"]:
            _add(table, rule, rule["state"], rule["since"] or "never judged", "", rule["error"] or rule["title"])
        for each in speaking:
            own = {name: text for name, text in each["labels"].items() if name not in rule["labels"]}
            summary = each["annotations"].get("summary", rule["title"])
            _add(table, rule, each["state"], each["since"], _labels(own), summary)
    # A pipe has no width: lines are never cut.
    Console(width=250 if not Console().is_terminal else None).print(table)
    silenced = f"; {len(found['silences'])} silences" if found["silences"] else ""
    typer.echo(f"evaluated {found['evaluated_at'] or 'never'}{silenced}")
    if found["problem"]:
        typer.echo(found["problem"])


@app.command()
def run(config: Config = None) -> None:
    """Evaluate the rules until stopped, over a store that runs: this data directory's, or a server."""
    settings = load(config)
    configure_logging(settings.log.level, json_lines=settings.log.json_lines)
    settings = with_setting(settings, "alerts", "store_url", _store_url(settings))
    stop = threading.Event()
    undo = on_signals(stop)
    runtime = _runtime(settings)

    def ready(facts: Mapping[str, object]) -> None:
        write_atomic(runtime, json.dumps({"alerts": f"http://{address_of(facts['alerts'])}"}).encode())
        typer.echo(f"alerts:  http://{address_of(facts['alerts'])}/api/alerts; metrics: /metrics; health: /healthz")
        typer.echo(f"store:   {settings.alerts.store_url}")
        sys.stdout.flush()

    try:
        run_alerts(settings, stop, ready)
    finally:
        undo()
        runtime.unlink(missing_ok=True)
    typer.echo("stopped")


@app.command()
def build() -> None:
    """Write the rules' file from their code; for who changes them."""
    from dashboards.alerts.build import FILE, write

    typer.echo(f"{FILE}: {'written' if write() else 'nothing to do'}")


def _tried(group: "Group", rule: "Rule", ask: "Ask", first: float, last: float) -> "Trial":
    from dashboards.alerts import ranges
    from dashboards.alerts.evaluate import AskFailed, Judgement
    from dashboards.alerts.trial import ranged, stepped, trial

    def by_days() -> Iterator[tuple[float, Judgement]]:
        at = first
        while at < last:
            upto = min(at + _DAY, last)
            _progress(rule.uid, (at - first) / (last - first))
            try:
                yield from ranged(rule, ask(ranges.over(rule.uid, at, upto)), at, upto, ranges.BUCKET)
            except AskFailed as error:
                yield upto, Judgement(error=str(error))
            at = upto

    def by_moments() -> Iterator[tuple[float, Judgement]]:
        begin = -(-first // group.interval) * group.interval
        moments = [begin + number * group.interval for number in range(int((last - begin) // group.interval) + 1)]
        for number, found in enumerate(stepped(rule, ask, moments)):
            if number % 50 == 0:
                _progress(rule.uid, number / len(moments))
            yield found

    try:
        return trial(rule, by_days() if ranges.is_ranged(rule.uid) else by_moments())
    finally:
        _progress("", 1.0)


def _progress(what: str, done: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what} {done:.0%}" if what else "\r\x1b[K")
        sys.stderr.flush()


def _add(table: Table, rule: Mapping[str, Any], *words: str) -> None:
    table.add_row(rule["uid"], rule["severity"], *(Text(word) for word in words))  # brackets are no markup


def _summary(rule: "Rule", found: "Trial") -> str:
    errors = f", {found.errors} errors: {found.error}" if found.errors else ""
    return (f"{rule.uid}: fired {len(found.episodes)} times; {found.judged} evaluations with a judgement,"
            f" {found.empty} without{errors}")  # fmt: skip


def _line(episode: "Episode") -> str:
    labels = {name: text for name, text in episode.labels.items() if name not in episode.rule.labels}
    peak = ", ".join(f"{ref} {value:.4g}" for ref, value in sorted(episode.peak.items()))
    end = f"{_told(episode.until)}{f' ({episode.reason})' if episode.reason else ''}" if episode.until else "still"
    return f"{episode.rule.uid} {_labels(labels)}: {_told(episode.since)} to {end}; peak {peak or 'none'}"


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={text}" for name, text in sorted(labels.items()) if text)


def _told(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}Z"


def _lint() -> list[str]:
    """What our own file has that Grafana of every version would not take."""
    try:
        from dashboards.alerts.lint import problems
    except ModuleNotFoundError:
        return []
    return list(problems())


def _store_url(settings: Settings) -> str:
    from flowtide.console_command import store_url

    return settings.alerts.store_url or store_url(settings)


def _can_ask(settings: Settings) -> bool:
    return not is_embedded(settings) or settings.folder(settings.store.url, "chdb").is_dir()


@contextmanager
def _asking(settings: Settings, seconds: int = 0) -> "Iterator[Ask]":
    """Who asks: the port of what runs here, a server, or this process over the directory; Failure."""
    from flowtide.query import running_port

    if seconds:
        settings = with_setting(settings, "alerts", "query_seconds", max(seconds, settings.alerts.query_seconds))
    if settings.alerts.store_url or not is_embedded(settings) or running_port(settings):
        yield asker(settings, _store_url(settings))
        return
    if not _can_ask(settings):
        raise Failure(f"{settings.data.resolve()} holds no store yet: start one with flowtide run or flowtide demo")
    from sinks.embedded import EmbeddedStore
    from sinks.http_port import HttpPort

    try:
        store = open_store(settings)
    except StoreUnavailable as error:
        raise Failure(str(error)) from None
    assert isinstance(store, EmbeddedStore)
    port = HttpPort(store, settings.http.model_copy(update={"listen": "127.0.0.1:0"}), lambda: {}, settings.timezone)
    try:
        yield asker(settings, f"http://{address_of(port.start())}")
    finally:
        port.close()
        store.close()


def _runtime(settings: Settings) -> Path:
    return settings.data / "state" / "alerts-running.json"


def _running_report(settings: Settings) -> dict[str, Any] | None:
    for file in (_runtime(settings), runtime_file(settings)):
        try:
            url = str(json.loads(file.read_bytes())["alerts"])
            with urllib.request.urlopen(f"{url}/api/alerts", timeout=5) as answer:  # noqa: S310 - our own address
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError, KeyError):
            continue
    return None


def _kept_report(settings: Settings) -> dict[str, Any]:
    from dashboards.alerts.memory import NAME, read
    from dashboards.alerts.report import report
    from dashboards.alerts.states import StateError

    folder = settings.data / "state"
    try:
        memory = read(folder / NAME)
    except (StateError, OSError) as error:
        raise SettingsError(str(error)) from None
    return report(rules_in_force(settings), memory, silences_of(folder, time.time()),
                  "no process evaluates the rules now: flowtide run and flowtide alerts run do")  # fmt: skip
