"""``flowtide report``: what it refuses before any work, what it says at the end, and its exit status."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from dashboards.report import files, making
from dashboards.report.making import NoWeek, Request
from flowtide import report_command
from flowtide.errors import Failure
from flowtide.report_command import app
from tests import report_samples as samples


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Requests that came to a maker of reports that makes the sample."""
    requests: list[Request] = []

    @contextmanager
    def store_to_change(settings: object) -> Iterator[object]:
        yield SimpleNamespace(query=None)

    def make(store: object, request: Request, progress: object, *, today: date) -> object:
        requests.append(request)
        return samples.report(sections=())

    monkeypatch.setattr(report_command, "store_to_change", store_to_change)
    monkeypatch.setattr(report_command, "_today", lambda store: date(2024, 6, 12))
    monkeypatch.setattr(making, "make", make)
    monkeypatch.setattr(files, "browser", lambda: None)
    return requests


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refusal(*arguments: str) -> str:
    found = run(*arguments).exception
    assert isinstance(found, Failure), found
    return str(found)


def test_a_report_is_written_and_called_final(asked: list[Request], tmp_path: Path) -> None:
    done = run("--week", "2024-06-03", "--compare", "2023-05-29", "--profile-weeks", "2023-05-29,2023-10-02,2024-06-03",
               "--service", "mobile,fixed", "--years", "2020-02-17", "--out", str(tmp_path / "a"))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "final" and str(tmp_path / "a") in done.stdout
    assert "no PDF: no chromium" in done.stdout
    assert (tmp_path / "a/index.html").is_file()
    (request,) = asked
    assert request == Request(
        date(2024, 6, 3), date(2023, 5, 29), (date(2023, 5, 29), date(2023, 10, 2), date(2024, 6, 3)),
        (date(2020, 2, 17),), ("fixed", "mobile"),
    )  # fmt: skip


def test_a_draft_says_why_and_ends_with_its_own_status(
    asked: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = samples.report(sections=(), draft=("3 percent belong to nobody",), warnings=("Tue 13:00 is missing",))
    monkeypatch.setattr(making, "make", lambda *_, **__: draft)
    done = run("--week", "2024-06-03", "--publish", "--out", str(tmp_path / "a"))
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-2:] == ["warning: Tue 13:00 is missing", "DRAFT: 3 percent belong to nobody"]


def test_options_reach_the_request(asked: list[Request], tmp_path: Path) -> None:
    run("--week", "2024-06-03", "--publish", "--across-breaks", "--measure-again", "--service", "mobile",
        "--out", str(tmp_path / "a"))  # fmt: skip
    (request,) = asked
    assert request.publish and request.across_breaks and request.measure_again and request.services == ("mobile",)
    assert request.compare is None and request.freeze


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--week", "2024-06-05"), "2024-06-05 is a Wednesday: a week begins on a Monday, that one's is 2024-06-03"),
        (("--week", "2024-06-03", "--years", "2020-02-17,2021-06-01"), "2021-06-01 is a Tuesday.*2021-05-31"),
        (("--week", "June"), "'June' is no day: write it as 2024-06-03"),
        (("--week", "2024-06-17"), "the week of 2024-06-17 has not begun; today is 2024-06-12"),
        (("--week", "2024-06-03", "--service", "fixed,cable"), "cable is no service: say fixed, mobile"),
        (("--week", "2024-06-03", "--service", ","), "nothing is no service"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_what_to_say(
    asked: list[Request], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert re.search(said, refusal(*arguments, "--out", str(tmp_path / "a")))
    assert asked == [] and list(tmp_path.iterdir()) == []


def test_a_folder_of_another_is_refused_before_the_work(asked: list[Request], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    assert "holds mine.txt, which is no part of a report" in refusal("--week", "2024-06-03", "--out", str(tmp_path))
    assert asked == []


def test_week_and_folder_are_wanted(asked: list[Request]) -> None:
    assert "flowtide report --week 2024-06-03 --out DIR" in refusal("--week", "2024-06-03")
    assert "flowtide report weeks" in refusal("--out", "x")


def test_a_week_of_which_nothing_is_known_is_refused(
    asked: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object, **__: object) -> object:
        raise NoWeek("nothing is known of the week 2024-06-03..06-09: there are 2024-05-27")

    monkeypatch.setattr(making, "make", make)
    assert "there are 2024-05-27" in refusal("--week", "2024-06-03", "--out", str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(
    asked: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowtide.report_command.find_spec", lambda name: None if name == "matplotlib" else True)
    said = refusal("--week", "2024-06-03", "--out", str(tmp_path / "a"))
    assert said == "a report needs matplotlib: pip install 'flowtide[report]'"


def test_a_week_that_is_not_over_is_not_frozen(asked: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_command, "_zone", lambda store: "Asia/Tokyo")
    assert "2024-06-10 is not over before 2024-06-17" in refusal("freeze", "--week", "2024-06-10")


def test_help_names_every_command_and_the_status_of_a_draft() -> None:
    text = " ".join(run("--help").output.split())
    assert all(word in text for word in ("freeze", "weeks", "import-published", "Exit status 3", "--across-breaks"))


def test_other_commands_do_not_load_what_draws() -> None:
    """In a fresh process, because this one may have drawn."""
    import subprocess

    code = (
        "import sys, flowtide.cli, flowtide.report_command\n"
        "print([name for name in ('matplotlib', 'jinja2') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
