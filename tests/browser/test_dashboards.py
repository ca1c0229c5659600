"""Each dashboard opens in a real browser, whole, without an error, and shows the store's numbers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import DAY_MS, Served
from tests.browser.screens import asked, panel, serious, settled, significant, whole

Opened = Callable[..., Page]
UIDS = ("noc", "ports", "trust", "subscribers", "years")


@pytest.mark.parametrize("uid", UIDS)
def test_a_dashboard_opens_whole(opened: Opened, served: Served, screenshots: Path, uid: str) -> None:
    span = served.days if uid in ("subscribers", "years") else served.hour
    page = opened(f"/d/{uid}?{span}&theme=dark&refresh=off")
    settled(page)
    for theme in ("dark", "light"):
        if theme == "light":
            page.get_by_role("button", name="Change between dark and light").click()
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        page.set_viewport_size({"width": 1440, "height": 900})
        page.screenshot(path=screenshots / f"{uid}-{theme}-1440.png")
        whole(page)
        page.screenshot(path=screenshots / f"{uid}-{theme}-whole.png")
        assert page.locator(".panel.failed").all_inner_texts() == []
        # Known flows have something for every panel of every dashboard.
        assert page.locator(".panel.empty-panel .panel-title").all_inner_texts() == []
        assert serious(page) == []


def test_a_phone_needs_no_sideways_scrolling(opened: Opened, served: Served, screenshots: Path) -> None:
    page = opened(f"/d/noc?{served.hour}&theme=dark&refresh=off", width=390, height=844, has_touch=True, is_mobile=True)
    settled(page)
    page.screenshot(path=screenshots / "noc-dark-390.png")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    whole(page)
    page.screenshot(path=screenshots / "noc-dark-390-whole.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    lefts = {round(box.bounding_box()["x"]) for box in page.locator(".panel.kind-timeseries").all()}  # type: ignore[index]
    assert len(lefts) == 1, "charts stand in one column"


def test_the_legend_has_the_answers_numbers(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off&view=7")
    settled(page)
    answer = asked(page, "noc", 7, served.since, served.until)
    [frame] = answer["frames"]
    by_bucket: dict[str, list[float]] = {}
    for _, bucket, value in frame["rows"]:
        by_bucket.setdefault(bucket, []).append(value)
    assert len(by_bucket) > 5
    rows = panel(page, "Download by bucket").locator(".legend-table tbody tr").all()
    shown = {row.locator(".series-name").inner_text(): row.locator("td").all_inner_texts() for row in rows}
    expected = {
        bucket: [significant(value, "b/s") for value in (values[-1], sum(values) / len(values), max(values))]
        for bucket, values in by_bucket.items()
    }
    assert shown == expected


def test_a_stat_has_the_answers_number_and_a_word(opened: Opened, served: Served) -> None:
    page = opened(f"/d/trust?{served.hour}&refresh=off&view=3")
    settled(page)
    # Seven datagrams dropped by the kernel in each of nine minutes: tests/known_flows.py.
    kernel = panel(page, "Kernel drops")
    expect(kernel.locator(".stat-value")).to_have_text("63")
    expect(kernel.locator(".meaning")).to_have_text("alert")


def test_a_chart_over_a_number_is_read_by_pointer_and_keys(opened: Opened, served: Served, screenshots: Path) -> None:
    page = opened(f"/d/subscribers?{served.days}&refresh=off", width=390, height=844, has_touch=True, is_mobile=True)
    settled(page)
    whole(page)
    page.screenshot(path=screenshots / "subscribers-390.png")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    one = panel(page, "Concentration")
    layer = one.locator(".layer")
    expect(layer).to_have_attribute("aria-label", re.compile(r"Concentration: 2 series\. Arrow keys read values"))
    width = (layer.bounding_box() or {"width": 0})["width"]
    layer.hover(position={"x": width - 20, "y": 60})
    expect(page.locator(".tip")).to_contain_text("heaviest users 100%")
    expect(page.locator(".tip tr")).to_have_text(["IN100%", "OUT100%"])
    layer.focus()
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()
    first = asked_days(page, served, 8)[0]
    page.keyboard.press("ArrowRight")
    expect(page.locator("[aria-live]").filter(has_text=f"heaviest users {100 * first[0]:.3g}%: IN ")).to_be_attached()
    # One series alone, by its name in the legend; the other is there again after the next click.
    one.get_by_role("button", name="IN", exact=True).click()
    expect(one.locator(".layer")).to_have_attribute("aria-label", re.compile("1 series"))
    one.get_by_role("button", name="IN", exact=True).click()
    expect(one.locator(".layer")).to_have_attribute("aria-label", re.compile("2 series"))


def asked_days(page: Page, served: Served, panel_id: int) -> list[list[float]]:
    """Rows of a panel of Subscribers over the known days."""
    [frame] = asked(page, "subscribers", panel_id, served.since - 8 * DAY_MS, served.until + DAY_MS)["frames"]
    rows: list[list[float]] = frame["rows"]
    return rows


def test_dragging_over_a_chart_zooms_all_of_them_and_back_undoes_it(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    before = page.url
    layer = panel(page, "Download by bucket").locator(".layer")
    box = layer.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=3)
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=3)
    page.mouse.up()
    expect(page).not_to_have_url(before)
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found
    since, until = (int(text) for text in found.groups())
    # A fifth of the chart's width is about a fifth of the hour; the scale's labels take some of the width.
    assert served.since < since < until < served.until
    assert 10 * 60_000 <= until - since <= 16 * 60_000
    settled(page)
    for title in ("Download by bucket", "Upload by bucket", "QUIC share of all (Q1) by service"):
        texts = panel(page, title).locator(".xtick text").all_text_contents()
        assert texts and all(":" in text for text in texts)
        assert len({text.split(":")[0] for text in texts}) <= 2
    expect(page.locator(".range-words")).to_contain_text(" to ")
    page.go_back()
    expect(page).to_have_url(before)
    settled(page)
    layer.dblclick(position={"x": 200, "y": 60})
    expect(page).not_to_have_url(before)
    zoomed = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert zoomed and int(zoomed[2]) - int(zoomed[1]) == 2 * 3_600_000


@pytest.mark.soak
def test_the_pointer_is_marked_in_every_chart(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    panel(page, "Download by bucket").locator(".layer").hover(position={"x": 300, "y": 60})
    expect(page.locator(".tip")).to_contain_text("tcp/443")
    expect(page.locator(".tip")).to_contain_text("b/s")
    charts = page.locator(".chart:has(.main-svg)").count()
    assert charts >= 4
    expect(page.locator(".cross:not([hidden])")).to_have_count(charts)
    page.mouse.move(5, 5)
    expect(page.locator(".tip")).to_be_hidden()
    expect(page.locator(".cross:not([hidden])")).to_have_count(0)


def test_a_choice_changes_what_is_asked_and_the_address(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    page.get_by_role("button", name="Service: All").click()
    boxes = page.get_by_role("group", name="Service")
    expect(boxes.get_by_role("checkbox")).to_have_count(4)  # All, fixed, mobile and rows without one
    with page.expect_request(re.compile(r"panels/7$")) as request:
        boxes.get_by_label("mobile").check()
    body = request.value.post_data_json
    assert body and body["variables"]["service"] == ["mobile"]
    expect(page).to_have_url(re.compile(r"var-service=mobile"))
    expect(page.get_by_role("button", name="Service: mobile")).to_be_visible()
    boxes.get_by_label("mobile").uncheck()
    expect(page.get_by_role("button", name="Service: All")).to_be_visible()
    page.keyboard.press("Escape")
    expect(boxes).to_be_hidden()


@pytest.mark.soak
def test_csv_of_a_panel_is_a_file_with_the_answers_rows(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off&view=7")
    settled(page)
    one = panel(page, "Download by bucket")
    one.hover()
    one.get_by_role("button", name="Menu of Download by bucket").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Download CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    rows = asked(page, "noc", 7, served.since, served.until)["frames"][0]["rows"]
    assert lines[0].replace('"', "").split(",")[:2] == ["time", "bucket"]
    assert len(lines) - 1 == len(rows) > 100
    assert download.value.suggested_filename.endswith(".csv")


@pytest.mark.soak
def test_one_panel_larger_and_escape_back(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    one = panel(page, "Upload by bucket")
    one.hover()
    one.get_by_role("button", name="Menu of Upload by bucket").click()
    page.get_by_role("menuitem", name="View larger").click()
    expect(page).to_have_url(re.compile(r"view=8"))
    expect(page.locator(".panel:visible")).to_have_count(1)
    settled(page)
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile(r"view="))
    expect(panel(page, "Download by bucket")).to_be_visible()


def test_theme_and_wall_mode(opened: Opened, served: Served, screenshots: Path) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off", width=1920, height=1080, color_scheme="dark")
    settled(page)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Change between dark and light").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    expect(page).to_have_url(re.compile("theme=light"))
    page.get_by_role("button", name="Wall mode").click()
    expect(page).to_have_url(re.compile("wall=1"))
    expect(page.locator(".clock")).to_have_text(re.compile(r"\d{4}-\d\d-\d\d\d\d:\d\d:\d\d"))
    expect(page.locator(".tabs")).to_be_hidden()
    expect(page.locator(".wall-title")).to_contain_text("Service: All")
    settled(page)
    page.screenshot(path=screenshots / "noc-wall-1920.png")
    page.keyboard.press("Escape")
    expect(page.locator(".tabs")).to_be_visible()
    # Remembered for the next visit, without the address.
    page.goto(f"{served.url}/d/noc?refresh=off")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_range_is_chosen_by_words_or_by_hand(opened: Opened, served: Served) -> None:
    page = opened("/d/noc?refresh=off")
    settled(page)
    page.get_by_role("button", name="Time range: Last 1 hour").click()
    page.get_by_role("button", name="Last 6 hours").click()
    expect(page).to_have_url(re.compile("from=now-6h&to=now"))
    page.get_by_role("button", name="Time range: Last 6 hours").click()
    page.get_by_label("From", exact=True).fill("2026-09-21 15:00")
    page.get_by_label("To", exact=True).fill("2026-09-21 14:00")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert").filter(has_text="no length")).to_be_visible()
    page.get_by_label("To", exact=True).fill("2026-09-21 16:00")
    page.keyboard.press("Enter")
    # 15:00 in Berlin is 13:00 UTC.
    expect(page).to_have_url(re.compile(f"from={1_789_995_600_000}&to={1_789_999_200_000}"))
    page.get_by_role("button", name="Earlier").click()
    expect(page).to_have_url(re.compile(f"from={1_789_993_800_000}"))


def test_an_unknown_dashboard_says_so(opened: Opened) -> None:
    page = opened("/sql")
    with page.expect_response(re.compile("/api/dashboards/nothing")):
        page.evaluate("history.pushState(null, '', '/d/nothing'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_role("alert").filter(has_text="cannot be shown")).to_be_visible()


def test_a_store_that_stops_is_told_and_what_was_shown_stays(opened: Opened, served: Served, screenshots: Path) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    kept = panel(page, "Download by bucket").locator(".legend-table").inner_text()
    served.tell("down")
    try:
        page.get_by_role("button", name="Refresh now").click()
        alarm = page.get_by_role("alert").filter(has_text="The store does not answer.")
        expect(alarm).to_be_visible()
        expect(alarm).to_contain_text("What is shown is of ")
        expect(page.locator(".fresh.down")).to_have_text("Store does not answer")
        one = panel(page, "Download by bucket")
        expect(one).to_have_class(re.compile("failed"))
        expect(one.locator(".problem")).to_contain_text("Shown is ")
        assert one.locator(".legend-table").inner_text() == kept
        page.screenshot(path=screenshots / "noc-store-down.png")
    finally:
        served.tell("up")
    page.get_by_role("button", name="Refresh now").click()
    expect(alarm).to_be_hidden()
    expect(page.locator(".panel.failed")).to_have_count(0)


@pytest.mark.soak
def test_a_slow_store_is_asked_one_thing_at_a_time(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off&view=7")
    settled(page)
    held: list[Route] = []
    page.route(re.compile("/panels/7$"), lambda route: held.append(route))
    for _ in range(3):
        page.get_by_role("button", name="Refresh now").click()
    # Requests come in order: when this one has its answer, those of the clicks were seen.
    page.evaluate("fetch('/api/me').then(answer => answer.text())")
    assert len(held) == 1
    page.unroute(re.compile("/panels/7$"))
    # Another range is another question: the old one is given up, and does not keep the new one waiting.
    page.get_by_role("button", name="Zoom out").click()
    settled(page)
    expect(panel(page, "Download by bucket").locator(".legend-table")).to_be_visible()
