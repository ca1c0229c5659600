"""The console over a filled store in a real Chromium: first paint, and what a refresh of the screen takes.

``python -m bench.screens FOLDER``: one that ``python -m bench.years ROWS FOLDER`` filled.  Engine, port and console
run in one process of their own (in production the console has another), the cache is off, and every refresh asks anew.
"""

import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.__main__ import machine
from bench.years import END
from dashboards.asked import Target
from dashboards.console.server import ConsoleServer
from dashboards.library import dashboards
from dashboards.macros import interval_of
from dashboards.settings import ConsoleSettings
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.settings import HttpSettings
from tests.stored import TIMEZONE

REFRESHES = 15
_PATIENCE_MS = 60_000


def serve(folder: Path) -> None:
    """Until the input ends."""
    store = EmbeddedStore(folder)
    port = HttpPort(store, HttpSettings(listen="127.0.0.1:0"), dict, TIMEZONE)
    host, number = port.start()
    settings = ConsoleSettings(listen="127.0.0.1:0", cache_seconds=0)
    console = ConsoleServer(settings, Target(f"http://{host}:{number}", timezone=TIMEZONE))
    print("http://{}:{}".format(*console.start()), flush=True)
    sys.stdin.read()
    console.close()
    port.close()
    store.close()


def mark(page: Page, name: str) -> float:
    found: float = page.evaluate(f"performance.getEntriesByName('{name}')[0]?.startTime ?? NaN")
    return found


def rounds(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate(
        "performance.getEntriesByName('flowtide-round').map(m => [m.duration, m.detail.panels])"
    )
    return found


def look(browser: Browser, url: str, uid: str, since: str) -> None:
    """A line of the table: a first visit, then refreshes."""
    until = int(END.timestamp() * 1000)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    span = interval_of(since.removeprefix("now-"))
    page.goto(f"{url}/d/{uid}?refresh=off&theme=dark&from={until - span}&to={until}")
    page.locator(".dashboard[data-settled]").wait_for(state="attached", timeout=_PATIENCE_MS)
    paint, shell = mark(page, "first-contentful-paint"), mark(page, "flowtide-shell")
    whole = page.evaluate("performance.now()")
    took, panels = [], 0
    for _ in range(REFRESHES):
        page.evaluate("performance.clearMeasures('flowtide-round')")
        page.get_by_role("button", name="Refresh now").click()
        while not (found := rounds(page)):
            page.wait_for_timeout(20)
        took.append(found[-1][0])
        panels = found[-1][1]
    print(f"| {uid} | {since} | {paint:.0f} | {shell:.0f} | {whole:.0f} | {panels} | {statistics.median(took):.0f}"
          f" | {max(took):.0f} |", flush=True)  # fmt: skip
    context.close()


def main(folder: str) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), "\n", flush=True)
    command = [sys.executable, "-m", "bench.screens", "--serve", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        url = process.stdout.readline().strip()
        print("| dashboard | range | first paint ms | shell | all drawn, first visit | panels on the screen"
              " | refresh ms, median | longest |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            for uid, dashboard in dashboards().items():
                look(browser, url, uid, dashboard["time"]["from"])
            browser.close()
        process.stdin.close()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
    else:
        main(sys.argv[1])
