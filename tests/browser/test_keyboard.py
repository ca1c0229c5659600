"""All of it can be done with a keyboard, and what has the focus can be seen."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.screens import panel, settled

Opened = Callable[..., Page]


def test_tab_reaches_everything_in_order_and_shows_where_it_is(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    labels: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        label, outline = page.evaluate(
            """() => {
                const node = document.activeElement;
                const words = node.getAttribute("aria-label") || node.innerText || node.id;
                return [words.trim(), getComputedStyle(node).outlineStyle];
            }"""
        )
        assert outline == "solid", f"{label}: the focus is not seen"
        labels.append(label)
    assert labels[0] == "Skip to the panels"
    in_order = ["NOC live", "SQL", "Earlier", "Zoom out", "Refresh now", "Copy a link to this view", "Service: All"]
    places = [labels.index(label) for label in in_order]
    assert places == sorted(places)
    assert any(label.startswith("Menu of Age") for label in labels), labels
    assert any(label.startswith("Download by bucket: ") for label in labels), labels


@pytest.mark.soak
def test_menus_open_with_keys_and_give_the_focus_back(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off")
    settled(page)
    button = panel(page, "Download by bucket").get_by_role("button", name="Menu of Download by bucket")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="View larger")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Download CSV")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Show SQL")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="SQL of Download by bucket")).to_be_visible()
    expect(page.locator("dialog pre")).to_contain_text("SELECT")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    note = panel(page, "Download by bucket").get_by_role("button", name="What Download by bucket means")
    note.focus()
    page.keyboard.press("Enter")
    expect(panel(page, "Download by bucket").locator(".description")).to_be_visible()


@pytest.mark.soak
def test_a_chart_is_read_and_zoomed_with_keys(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off&view=7")
    settled(page)
    layer = panel(page, "Download by bucket").locator(".layer")
    layer.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".tip")).to_be_visible()
    expect(page.locator("[role=status].spoken")).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d .*b/s"))
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    for _ in range(20):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    found = re.compile(r"from=(\d+)&to=(\d+)")
    expect(page).not_to_have_url(re.compile(f"from={served.since}&"))
    since, until = (int(text) for text in found.search(page.url).groups())  # type: ignore[union-attr]
    assert until - since == 20 * 60_000
    settled(page)


@pytest.mark.soak
def test_a_legend_shows_one_series_alone(opened: Opened, served: Served) -> None:
    page = opened(f"/d/noc?{served.hour}&refresh=off&view=7")
    settled(page)
    legend = panel(page, "Download by bucket").locator(".legend")
    one = legend.get_by_role("button", name="udp/443")
    one.focus()
    page.keyboard.press("Enter")
    expect(one).to_have_attribute("aria-pressed", "true")
    expect(one).to_be_focused()
    expect(legend.locator("[aria-pressed=true]")).to_have_count(1)
    expect(panel(page, "Download by bucket").locator(".scatterlayer .trace")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(legend.locator("[aria-pressed=false]")).to_have_count(0)


def test_a_table_is_sorted_by_its_heads(opened: Opened, served: Served) -> None:
    page = opened(f"/d/ports?{served.hour}&refresh=off&view=1")
    settled(page)
    table = panel(page, "Lower ports, and last week")
    head = table.get_by_role("columnheader", name="lower port")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert len(names) > 5
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert table.locator("tbody td:first-child").all_inner_texts() == names[::-1]
