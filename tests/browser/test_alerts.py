"""The page of alerts, the count in the bar and the marks in charts, in a real browser; the store and the evaluator are
stand-ins that say what a test wants."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser.screens import panel, serious, settled
from tests.console_store import FakeStore, Reply, console, refusal, rows
from tests.fake_evaluator import FakeEvaluator, ago, instance, rule

Opened = Callable[..., Page]
TO = 1_790_000_000  # a whole multiple of 5 minutes is not needed
FROM = TO - 3600
HOUR = f"from={FROM * 1000}&to={TO * 1000}&refresh=off"
EVENTS = {"time": "DateTime64(3)", "timeEnd": "DateTime64(3)", "title": "String", "text": "String", "tags": "String"}
HISTORY = {"time": "DateTime64(3)", "rule": "String", "title": "String", "severity": "String", "state": "String",
           "labels": "Map(String, String)", "summary": "String", "reason": "String",
           "started": "DateTime64(3)"}  # fmt: skip
SERIES = {"time": "DateTime", "service": "String", "value": "Float64"}


@pytest.fixture
def store() -> Iterator[FakeStore]:
    made = FakeStore()
    now = time.time()

    def answer(sql: str) -> Reply:
        if "AS timeEnd" in sql:
            return rows(EVENTS, [str(FROM + 1200), str(FROM + 2400), "R1 rose", "fixed: from 28% to 37%", "warn,R1"])
        if "FROM alert_history" in sql:
            return rows(
                HISTORY,
                *(
                    [f"{now - back:.3f}", "R1", "R1 rose", "warn", state, {"service": "fixed"}, "it rose", "",
                     f"{now - 4200:.3f}"] for back, state in ((600, "resolved"), (4200, "firing"))
                ),
            )  # fmt: skip
        if "SELECT time, service, value" in sql:
            return rows(SERIES, *([str(FROM + 300 * step), "fixed", 0.28 + step / 100] for step in range(12)))
        return rows({"n": "UInt8"})

    made.answer = answer
    yield made
    made.close()


@pytest.fixture
def evaluator() -> Iterator[FakeEvaluator]:
    made = FakeEvaluator()
    made.report["rules"] = [
        rule("flowtide-r0-page", "R0", "page", instance("normal", service="fixed")),
        rule("flowtide-r1", "R1", "warn", instance(service="fixed", exporter="192.0.2.1"),
             instance("normal", service="mobile"), instance(service="cable")),
        rule("flowtide-r2", "R2", "warn", state="error", error="Code: 159. Timeout exceeded"),
        rule("flowtide-r4", "R4", "notice", instance("pending", service="fixed")),
        rule("flowtide-r5", "R5", "info", state="nodata"),
    ]  # fmt: skip
    made.report["silences"] = [{
        "id": "0123abcd", "matchers": ["service=cable"], "starts": ago(hours=1), "ends": ago(hours=-1), "author": "ann",
        "comment": "work on the cable head end", "state": "active",
    }]  # fmt: skip
    yield made
    made.close()


@pytest.fixture
def opened(chromium: Browser, store: FakeStore, evaluator: FakeEvaluator) -> Iterator[Opened]:
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "/api/" not in message.location["url"]:
            complaints.append(f"{message.location['url']}: {message.text}")

    context = chromium.new_context(timezone_id="Europe/Berlin", reduced_motion="reduce")
    with console(store.url, alerts_url=evaluator.url, cache_seconds=0) as (host, port):

        def open_page(path: str, width: int = 1440, height: int = 900) -> Page:
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: complaints.append(f"{path}: {error}"))
            page.on("console", heard)
            page.goto(f"http://{host}:{port}{path}")
            return page

        yield open_page
        context.close()
    assert complaints == []


def shown(page: Page) -> None:
    """All of the page's answers are there."""
    expect(page.locator(".alerts-page[data-settled]")).to_be_attached()


def rule_of(page: Page, uid: str) -> Any:
    return page.locator(f'.rule[data-uid="{uid}"]')


@pytest.mark.parametrize("width", [1440, 390])
def test_what_fires_comes_first_and_nothing_unknown_reads_as_fine(
    opened: Opened, screenshots: Path, width: int
) -> None:
    page = opened("/alerts?theme=dark", width=width)
    shown(page)
    for theme in ("dark", "light"):
        if theme == "light":
            page.get_by_role("button", name="Change between dark and light").click()
        page.screenshot(path=screenshots / f"alerts-{theme}-{width}.png", full_page=True)
        assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("h2").all_inner_texts()[:4] == [
        "Page: wakes somebody", "Warn: for the shift", "Notice: for the day", "Info: why others are silent",
    ]  # fmt: skip
    expect(page.locator(".alerts-status")).to_contain_text(
        re.compile(r"2 firing \(1 silenced\), 1 pending, 1 rule in error, 1 rule without")
    )
    first = rule_of(page, "flowtide-r1")
    expect(first.locator(".chip").first).to_have_text("Firing")
    expect(first).to_contain_text("service=fixed, exporter=192.0.2.1")
    expect(first).to_contain_text("Q = 0.3123")
    expect(first.locator(".instance", has_text="service=cable")).to_contain_text("silenced by 0123abcd")
    expect(first).to_contain_text("Normal: service=mobile")
    expect(rule_of(page, "flowtide-r2")).to_contain_text("Timeout exceeded")
    expect(rule_of(page, "flowtide-r5").locator(".chip").first).to_have_text("No judgement")
    expect(page.get_by_role("region", name="Silences, table")).to_contain_text("work on the cable head end")
    history = page.get_by_role("region", name="The last week, table").locator("tbody tr")
    expect(history).to_have_count(2)
    expect(history.first).to_contain_text("after 1 h 0 min")


def test_by_keyboard_to_what_to_do_and_to_the_panel(opened: Opened) -> None:
    page = opened("/alerts#r1")
    shown(page)
    what = rule_of(page, "flowtide-r1").locator("details")
    expect(what).to_have_attribute("open", "")
    expect(what).to_contain_text("a large application or operating system switched to QUIC")
    summary = rule_of(page, "flowtide-r0-page").locator("summary")
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if page.evaluate("document.activeElement.id") == "sum-flowtide-r0-page":
            break
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(rule_of(page, "flowtide-r0-page").locator("details")).to_have_attribute("open", "")
    rule_of(page, "flowtide-r1").get_by_role("link", name="Panel of R1").click()
    expect(page).to_have_url(re.compile(r"/d/noc\?view=10$"))


def test_a_refresh_closes_nothing_that_is_open(opened: Opened, evaluator: FakeEvaluator) -> None:
    page = opened("/alerts")
    shown(page)
    opens = rule_of(page, "flowtide-r1").locator("summary")
    opens.focus()
    page.keyboard.press("Enter")
    evaluator.report["rules"][0] = rule("flowtide-r0-page", "R0", "page", instance(service="fixed"))
    expect(rule_of(page, "flowtide-r0-page").locator(".chip").first).to_have_text("Firing")
    expect(rule_of(page, "flowtide-r1").locator("details")).to_have_attribute("open", "")
    expect(opens).to_be_focused()


def test_the_count_is_on_every_page_and_follows(opened: Opened, evaluator: FakeEvaluator) -> None:
    page = opened(f"/d/noc?{HOUR}")
    tab = page.get_by_role("link", name=re.compile("^Alerts"))
    expect(tab.locator(".badge")).to_have_text("1, 1 warn firing")
    for one in evaluator.report["rules"]:
        one["instances"] = []
    page.goto(page.url.replace("/d/noc", "/sql"))
    expect(page.locator(".badge")).to_be_hidden()
    evaluator.status = 500
    page.reload()
    expect(page.locator(".badge")).to_have_text("?, alerts are not evaluated")
    page.get_by_role("link", name=re.compile("^Alerts")).click()
    shown(page)
    expect(page.get_by_role("alert")).to_contain_text("Alert rules are not evaluated.")
    expect(page.get_by_role("alert")).to_contain_text("flowtide alerts run starts it alone")
    expect(page.locator(".alerts-status")).to_have_text("State of all rules: not known.")
    assert page.locator(".chip.normal").count() == 0
    assert serious(page) == []


def test_without_an_evaluator_the_page_says_how_to_get_one(chromium: Browser, store: FakeStore) -> None:
    with console(store.url) as (host, port):
        page = chromium.new_page()
        page.goto(f"http://{host}:{port}/alerts")
        shown(page)
        expect(page.get_by_role("alert")).to_contain_text("console.alerts_url is empty")
        expect(page.locator(".badge")).to_be_hidden()
        page.close()


def test_an_alert_is_marked_in_the_charts_and_told_under_the_pointer(
    opened: Opened, store: FakeStore, screenshots: Path
) -> None:
    page = opened(f"/d/noc?{HOUR}&view=10")
    settled(page)
    chart = panel(page, "QUIC share of port 443 (Q2) by service")
    # Its beginning and its end as lines, and what is between as a tint.
    expect(chart.locator(".shapelayer path")).to_have_count(3)
    box = chart.locator(".layer").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 100)
    expect(page.locator(".tip")).to_contain_text("fixed: from 28% to 37%")
    expect(page.locator(".tip")).to_contain_text("R1 rose")
    page.screenshot(path=screenshots / "alerts-marked.png")
    page.mouse.move(box["x"] + box["width"] * 0.15, box["y"] + 100)
    expect(page.locator(".tip")).not_to_contain_text("R1 rose")
    page.mouse.move(5, 5)
    chart.locator(".layer").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("[role=status].spoken")).to_have_text(re.compile("R1 rose"))
    usual = store.answer
    store.answer = lambda sql: refusal(60, "Unknown table alert_history") if "timeEnd" in sql else usual(sql)
    page.reload()
    settled(page)
    expect(page.locator(".marks-problem")).to_contain_text("Unknown table alert_history")
    expect(chart.locator(".legend tbody tr")).to_have_count(2)  # this week and the last: drawn all the same
    expect(chart).not_to_have_class(re.compile("failed"))
    expect(chart.locator(".shapelayer path")).to_have_count(0)
