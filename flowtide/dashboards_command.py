"""``flowtide dashboards build | check | push URL``: the files of the screens, and their way into a Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from flowtide.errors import Failure

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
