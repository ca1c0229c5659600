"""``flowtide report``: the traffic report of a week, all tables and figures of it, and weeks that are kept for ever."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from flowtide.errors import Failure
from flowtide.settings import load
from flowtide.store_command import store_to_change
from sinks import Store, StoreRefused

DRAFT_STATUS = 3
"""Of the process when the report is a draft: a script must not publish it unseen."""
_UNKNOWN_TABLE = 60
_MADE_OF_WEEKS = 0.75  # of the time, about; the rest is drawing and printing

app = typer.Typer(invoke_without_command=True, no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings [default: $FLOWTIDE_CONFIG]")
]
Services = Annotated[str, typer.Option("--service", metavar="NAMES", help="fixed, mobile, or both with a comma")]
Mondays = Annotated[str, typer.Option("--week", metavar="MONDAY[,..]", help="first days of the weeks, as 2024-06-03")]


@app.callback()
def report(
    context: typer.Context,
    week: Annotated[str, typer.Option("--week", metavar="MONDAY", help="its first day, as 2024-06-03")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="folder of the report, which is replaced whole")
    ] = None,
    compare: Annotated[
        str,
        typer.Option(
            "--compare", metavar="MONDAY", help="the week it is compared with; without it the one 364 days before"
        ),
    ] = "",
    profile_weeks: Annotated[
        str,
        typer.Option(
            "--profile-weeks",
            metavar="MONDAY,..",
            help="weeks whose hours of the day are shown; without it this one and those 17, 35, 52 weeks before",
        ),
    ] = "",
    years: Annotated[
        str,
        typer.Option(
            "--years",
            metavar="MONDAY,..",
            help="weeks of other years beside it; without it of each year the frozen one nearest to its date",
        ),
    ] = "",
    service: Services = "fixed,mobile",
    publish: Annotated[
        bool, typer.Option("--publish", help="for others: no totals, no numbers of users, no small groups")
    ] = False,
    across_breaks: Annotated[
        bool, typer.Option("--across-breaks", help="tell growth also where the method of measuring changed")
    ] = False,
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="also where a frozen week is in force")
    ] = False,
    config: Config = None,
) -> None:
    """The traffic report of a week: one page with its figures, tables and numbers, in a folder.

    A week that is complete is frozen on the way: the next report has the same numbers, also when flows are gone.
    Exit status 3: the report is a draft, and says why.
    """
    if context.invoked_subcommand is not None:
        return
    if not week or out is None:
        raise Failure("say which week and where to: flowtide report --week 2024-06-03 --out DIR (weeks: flowtide"
                      " report weeks)")  # fmt: skip
    _need_extra()
    from dashboards.report.files import FolderRefused, refuse_foreign, write
    from dashboards.report.making import NoWeek, Request, make

    request = Request(
        week=_monday(week),
        compare=_monday(compare) if compare else None,
        profile_weeks=_mondays(profile_weeks),
        years=_mondays(years),
        services=_services(service),
        across_breaks=across_breaks,
        publish=publish,
        measure_again=measure_again,
    )
    try:
        refuse_foreign(out)  # before a minute's work
        with _store(config) as store, _progress() as tell:
            today = _today(store)
            _refuse_future(request.week, today)
            made = make(store, request, lambda text, done: tell(text, done * _MADE_OF_WEEKS), today=today)
            written = write(made, out, lambda text, done: tell(text, _MADE_OF_WEEKS + done * (1 - _MADE_OF_WEEKS)))
    except (NoWeek, FolderRefused, OSError) as error:
        raise Failure(str(error)) from None
    typer.echo(f"{made.title}: {made.subtitle}")
    typer.echo(f"{len(written.files)} files in {out.resolve()}; begin with {out / 'index.html'}")
    if written.no_pdf:
        typer.echo(f"no PDF: {written.no_pdf}; a browser prints index.html as well")
    for warning in made.warnings:
        typer.echo(f"warning: {warning}")
    if made.draft:
        typer.echo(f"DRAFT: {'; '.join(made.draft)}")
        raise typer.Exit(DRAFT_STATUS)
    typer.echo("final")


@app.command()
def freeze(
    week: Mondays,
    service: Services = "fixed,mobile",
    school_week: Annotated[
        bool,
        typer.Option("--school-week/--no-school-week", help="whether schools were open: its hours are like others'"),
    ] = True,
    again: Annotated[bool, typer.Option("--again", help="measure it again where a frozen week is in force")] = False,
    config: Config = None,
) -> None:
    """Keep weeks for ever: hours, users' distribution and ports, without any subscriber, while the store has them."""
    from dashboards.report.frozen import freeze as keep
    from dashboards.report.frozen import load as kept
    from dashboards.report.making import has_lost, measured_week, mondays_there, reasons_against
    from dashboards.report.model import Week

    with _store(config) as store:
        zone, today = _zone(store), _today(store)
        done = 0
        for monday in _mondays(week):
            _refuse_future(monday, today)
            if today < monday + timedelta(days=7):
                raise Failure(f"the week of {monday} is not over before {monday + timedelta(days=7)}")
            for name in _services(service):
                found = kept(store, monday, name)
                if found is not None and not again:
                    typer.echo(f"{name} {monday}: frozen already, at {_when(found.made)}; --again measures it again")
                    done += 1
                    continue
                measured = measured_week(store, Week(monday, zone), name, lambda text: None, school_week=school_week)
                if measured is None:
                    typer.echo(f"{name} {monday}: the store has nothing of it")
                    continue
                if found is not None and has_lost(measured, found):
                    typer.echo(f"{name} {monday}: the store has less of it now; what was frozen at"
                               f" {_when(found.made)} stays in force")  # fmt: skip
                    done += 1
                    continue
                keep(store, measured)
                against = "".join(f"; {reason}" for reason in reasons_against(measured))
                typer.echo(f"{name} {monday}: frozen{against}")
                done += 1
        if not done:
            raise Failure(f"nothing was frozen; {_told(mondays_there(store, zone))}")


@app.command()
def weeks(
    config: Config = None,
    all_weeks: Annotated[bool, typer.Option("--all", help="also weeks that could be measured")] = False,
) -> None:
    """List the frozen weeks that are in force."""
    from rich.console import Console
    from rich.table import Table

    from dashboards.report.frozen import listed
    from dashboards.report.frozen import load as kept
    from dashboards.report.making import mondays_there
    from dashboards.report.model import OUT, OWN

    with _store(config) as store:
        found = [(header, kept(store, header.monday, header.service, header.origin)) for header in listed(store)]
        others = mondays_there(store, _zone(store)) if all_weeks or not found else {}
    table = Table(box=None, pad_edge=False)
    for name in ("week", "service", "origin", "method", "frozen", "users", "complete", "unmatched", "school"):
        table.add_column(name, justify="right" if name in ("users", "unmatched") else "left", no_wrap=True)
    for header, one in found:
        if one is None:
            continue
        own = one.origin == OWN
        users = one.users[OUT].denominator if OUT in one.users else 0
        table.add_row(
            str(one.week.monday), one.service, one.origin, one.method, _when(header.made),
            f"{users:,}" if users else "–", ("yes" if one.quality.complete else "no") if own else "–",
            f"{one.quality.unmatched:.2%}" if own else "–",
            "yes" if one.school_week else "no",
        )  # fmt: skip
    if found:
        # A pipe has no width: lines are never cut.
        Console(width=200 if not Console().is_terminal else None).print(table)
    else:
        typer.echo("no week is frozen: flowtide report freeze --week MONDAY keeps one")
    frozen = {(header.monday, header.service) for header, _ in found if header.origin == OWN}
    left = {monday: {one for one in services if (monday, one) not in frozen} for monday, services in others.items()}
    if left := {monday: services for monday, services in left.items() if services}:
        typer.echo(f"not frozen: {_told(left)}")


@app.command("import-published")
def import_published(config: Config = None) -> None:
    """Put the years that IIJ printed (2007-2024) among the frozen weeks, so that they stand beside one's own."""
    from dashboards.report.published import import_published as put
    from dashboards.report.published import published

    with _store(config) as store:
        put(store)
        found = published(_zone(store))
    typer.echo(f"{len(found)} published weeks of {len({each.label for each in found})} years are in force")


@contextmanager
def _store(config: Path | None) -> Iterator[Store]:
    with store_to_change(load(config)) as store:
        try:
            yield store
        except StoreRefused as error:
            if error.code != _UNKNOWN_TABLE:
                raise
            raise Failure("the store has no tables for it yet: flowtide migrate, or a start, makes them") from None


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, else a line a step."""
    if not sys.stderr.isatty():
        said: list[str] = []

        def line(text: str, done: float) -> None:
            if text and said[-1:] != [text]:
                said.append(text)
                typer.echo(f"{done:4.0%} {text}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def move(text: str, done: float) -> None:
            changed: dict[str, Any] = {"description": text} if text else {}
            bar.update(task, completed=done, **changed)

        yield move


def _need_extra() -> None:
    lacking = [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]
    if lacking:
        raise Failure(f"a report needs {' and '.join(lacking)}: pip install 'flowtide[report]'")


def _zone(store: Store) -> str:
    from dashboards.report.asking import zone_of

    return zone_of(store)


def _today(store: Store) -> date:
    return datetime.now(ZoneInfo(_zone(store))).date()


def _refuse_future(monday: date, today: date) -> None:
    if monday > today:
        raise Failure(f"the week of {monday} has not begun; today is {today}")


def _monday(text: str) -> date:
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise Failure(f"{text.strip()!r} is no day: write it as 2024-06-03") from None
    if day.weekday():
        raise Failure(f"{day} is a {day:%A}: a week begins on a Monday, that one's is {day - timedelta(day.weekday())}")
    return day


def _mondays(text: str) -> tuple[date, ...]:
    return tuple(dict.fromkeys(_monday(part) for part in text.split(",") if part.strip()))


def _services(text: str) -> tuple[str, ...]:
    from dashboards.report.model import SERVICES

    asked = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [name for name in asked if name not in SERVICES]
    if wrong or not asked:
        raise Failure(f"{', '.join(wrong) or 'nothing'} is no service: say {', '.join(SERVICES)}, or both with a comma")
    return tuple(name for name in SERVICES if name in asked)


def _told(weeks: dict[date, set[str]]) -> str:
    return ", ".join(f"{monday} ({' and '.join(sorted(services))})" for monday, services in weeks.items()) or "no week"


def _when(made: datetime | None) -> str:
    return f"{made:%Y-%m-%d %H:%M} UTC" if made else "–"
