"""A real Chromium before the real console over the real engine with known flows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

REPOSITORY = Path(__file__).parents[2]
DAY_MS = 86_400_000
_PATIENCE_MS = 60_000  # what a busy machine may need for a page


class Served(NamedTuple):
    """A console that runs, and the hour of which flows are known (Unix milliseconds)."""

    process: subprocess.Popen[str]
    url: str
    since: int
    until: int

    @property
    def hour(self) -> str:
        """The known hour as part of an address."""
        return f"from={self.since}&to={self.until}"

    @property
    def days(self) -> str:
        """Whole days that have known flows: the hour's, and the one a week before."""
        return f"from={self.since - 8 * DAY_MS}&to={self.until + DAY_MS}"

    def tell(self, word: str) -> None:
        """``down`` or ``up``: the store's port."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The console, in a process of its own."""
    command = [sys.executable, "-m", "tests.browser.served", str(tmp_path_factory.mktemp("served"))]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_quiet()
    ) as process:
        assert process.stdin and process.stdout
        url, since, until = process.stdout.readline().split()
        yield Served(process, url, int(since), int(until))
        process.stdin.close()
        process.wait(timeout=30)


def _quiet() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; of a file, because while its driver runs no test of this process can have a loop."""
    expect.set_options(timeout=_PATIENCE_MS)
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not there: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def windows(chromium: Browser) -> Iterator[BrowserContext]:
    """One person's browser: what is fetched once is kept, as plotly is for everybody but the first."""
    context = chromium.new_context(timezone_id="Europe/Berlin", reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def opened(chromium: Browser, windows: BrowserContext, served: Served) -> Iterator[Callable[..., Page]]:
    """Opens pages of the console; at the end none of them may have complained."""
    pages: list[Page] = []
    own: list[BrowserContext] = []
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # What a test provokes (a refused query, a store that is down) is an answer that Chromium logs.
        if message.type in ("error", "warning") and "/api/" not in message.location["url"]:
            complaints.append(f"{message.location['url']}: {message.text}")

    def open_page(path: str, width: int = 1440, height: int = 900, **more: Any) -> Page:
        """``more``: options of a browser of its own."""
        if more:
            own.append(chromium.new_context(timezone_id="Europe/Berlin", reduced_motion="reduce", **more))
        page = (own[-1] if more else windows).new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(_PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(f"{path}: {error}"))
        page.on("console", heard)
        page.goto(served.url + path)
        return page

    yield open_page
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    for context in own:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: FLOWTIDE_SCREENSHOTS, or a folder that is forgotten."""
    wanted = os.environ.get("FLOWTIDE_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
