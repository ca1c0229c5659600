"""The SQL page: worked queries, questions of one's own, and links that ask nothing by themselves."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.browser.screens import serious

Opened = Callable[..., Page]


def test_a_worked_query_runs(opened: Opened, screenshots: Path) -> None:
    page = opened("/sql?theme=dark")
    page.get_by_role("button", name="Which ports carry most?").click()
    expect(page.get_by_role("heading", name="Which ports carry most?")).to_be_visible()
    inputs = page.locator(".parameter input")
    assert inputs.count() >= 2 and all(one.input_value() for one in inputs.all())
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".sql-status")).to_have_text(re.compile(r"^\d+ rows? in \d+ ms"))
    assert page.locator(".answer th .type").count() == page.locator(".answer th").count() > 0
    page.screenshot(path=screenshots / "sql-dark.png")
    assert serious(page) == []
    page.get_by_role("button", name="Change between dark and light").click()
    assert serious(page) == []


def test_own_questions_parameters_and_exact_numbers(opened: Opened) -> None:
    page = opened("/sql?theme=light")
    page.get_by_label("SQL", exact=True).fill(
        "SELECT {n:UInt32} + 1 AS next, 'a<b' AS text, NULL AS none, 18446744073709551615 AS big"
    )
    page.get_by_label("n UInt32").fill("1234567")
    page.get_by_label("SQL", exact=True).press("Control+Enter")
    expect(page.locator(".answer tbody tr")).to_have_count(1)
    assert page.locator(".answer td").all_inner_texts() == ["1234568", "a<b", "NULL", "18446744073709551615"]
    assert "param_n=1234567" in page.url
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert "1234568" in Path(download.value.path()).read_text()


def test_a_refused_query_says_why(opened: Opened) -> None:
    page = opened("/sql")
    editor = page.get_by_label("SQL", exact=True)
    editor.fill("DROP TABLE flows")
    editor.press("Control+Enter")
    problem = page.locator(".sql-error")
    expect(problem).to_be_visible()
    assert len(problem.inner_text()) > 20
    editor.fill("SELECT 1")
    editor.press("Control+Enter")
    expect(page.locator(".answer td")).to_have_text("1")
    expect(problem).to_have_count(0)


def test_a_link_is_shown_and_not_run(opened: Opened) -> None:
    asked: list[str] = []
    page = opened(f"/sql#sql={quote('SELECT {x:String}')}&param_x={quote('<b>&')}")
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    expect(page.get_by_label("SQL", exact=True)).to_have_value("SELECT {x:String}")
    expect(page.get_by_label("x String")).to_have_value("<b>&")
    expect(page.get_by_role("button", name="Which ports carry most?")).to_be_visible()
    assert not [url for url in asked if url.endswith("/api/sql")]
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".answer td")).to_have_text("<b>&")


def test_escape_cancels(opened: Opened) -> None:
    page = opened("/sql")
    editor = page.get_by_label("SQL", exact=True)
    # Long enough to be cancelled on any machine; the server ends it when the browser goes away.
    editor.fill("SELECT sum(sipHash64(number)) FROM numbers(100000000000)")
    editor.press("Control+Enter")
    expect(page.locator(".sql-status")).to_have_text("Running")
    editor.press("Escape")
    expect(page.locator(".sql-status")).to_have_text("Cancelled.")
    expect(page.get_by_role("button", name="Cancel")).to_be_disabled()
