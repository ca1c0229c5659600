"""The report's page in a real Chromium, at the width of a telephone and of a desk, and on paper."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards.report.files import Written, write
from dashboards.report.pdf import browser, print_page
from tests import report_samples as samples
from tests.browser.screens import serious

FIGURES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft, so that its marks are there."""
    place = tmp_path_factory.mktemp("report") / "report"
    draft = samples.report(
        draft=("2.6 % of the octets have no subscriber",), warnings=("Tue 2024-06-04 13:00 is missing",)
    )
    done: Written = write(draft, place)
    assert done.no_pdf == ""
    return place


@pytest.fixture(params=[390, 1440])
def page(request: pytest.FixtureRequest, chromium: Browser, folder: Path) -> Iterator[Page]:
    said: list[str] = []
    opened = chromium.new_page(viewport={"width": request.param, "height": 900})
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda asked: said.append(asked.url) if not asked.url.endswith("/index.html") else None)
    opened.goto((folder / "index.html").as_uri())
    yield opened
    opened.close()
    assert said == []  # it asks for nothing but itself


def test_the_page_fits_its_window(page: Page, screenshots: Path) -> None:
    width = page.evaluate("innerWidth")
    page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    drawings = page.locator(".drawing svg")
    expect(drawings).to_have_count(FIGURES)
    for drawing in drawings.all():
        box = drawing.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["width"] > 300
    # A wide table scrolls in its own box, and its rows keep their names in sight.
    scroll = page.locator("#table-3 .scroll")
    name = scroll.locator("tbody th").first
    before = name.bounding_box()
    scroll.evaluate("box => { box.scrollLeft = 200 }")
    assert scroll.evaluate("box => box.scrollLeft > 0") is (width == 390)
    assert name.bounding_box() == before
    measure = page.locator("main > section > p").first.evaluate(
        "p => p.clientWidth / parseFloat(getComputedStyle(p).fontSize)"
    )
    assert measure < 45  # em: about 85 letters at most


def test_nothing_serious_keeps_anybody_out(page: Page) -> None:
    assert serious(page) == []
    page.get_by_role("link", name=re.compile("Table 3")).first.click()
    expect(page.locator("#table-3 h3")).to_be_in_viewport()
    expect(page.get_by_role("img")).to_have_count(FIGURES)
    expect(page.get_by_role("note").first).to_contain_text("2.6 % of the octets have no subscriber")


def test_links_lead_to_files_that_are_there(page: Page, folder: Path) -> None:
    aims = [link.get_attribute("href") for link in page.locator(".files a").all()]
    assert len(aims) == 2 + 2 * FIGURES + 2
    assert all((folder / str(aim)).is_file() for aim in aims)


@pytest.mark.parametrize("page", [1440], indirect=True)
def test_on_paper_there_are_all_figures_and_the_draft_on_every_sheet(page: Page, screenshots: Path) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794 - 136, "height": 1123})  # A4 without its margins
    page.screenshot(path=screenshots / "report-paper.png", full_page=True)
    expect(page.locator(".every-page")).to_be_visible()
    assert page.locator(".every-page").evaluate("mark => getComputedStyle(mark).position") == "fixed"
    for drawing in page.locator(".drawing svg").all():
        box = drawing.bounding_box()
        assert box and box["height"] > 100 and box["height"] < 800
    assert page.evaluate("document.documentElement.scrollWidth") <= 658


def test_the_print_has_pages_of_a4_and_is_the_same_twice(folder: Path, tmp_path: Path) -> None:
    printed = (folder / "report.pdf").read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))
    assert 4 <= pages <= 9
    assert set(re.findall(rb"/MediaBox \[([^]]+)\]", printed)) == {b"0 0 594.95996 841.91998"}
    command = browser()
    assert command
    print_page(folder / "index.html", tmp_path / "again.pdf", command)
    assert (tmp_path / "again.pdf").read_bytes() == printed
