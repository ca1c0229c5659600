"""What tests do with a page of the console."""

import re
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Locator, Page, expect

PREFIXES = ("", "k", "M", "G", "T", "P")


def settled(page: Page) -> None:
    """All panels in sight were asked for and are drawn."""
    expect(page.locator(".dashboard[data-settled]")).to_be_attached()
    expect(page.locator(".panel.asking")).to_have_count(0)


def panel(page: Page, title: str) -> Locator:
    """By its title."""
    return page.locator(".panel").filter(has=page.locator("h3", has_text=re.compile(rf"^{re.escape(title)}$")))


def whole(page: Page) -> None:
    """Make the window as high as the page, so that every panel is in sight."""
    width = page.viewport_size["width"] if page.viewport_size else 1440
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": height + 50})
    for shown in page.locator(".panel.kind-stat, .panel.kind-table, .panel.kind-timeseries, .panel.kind-xychart").all():
        expect(shown).to_have_class(re.compile("has-data|failed"))
    settled(page)


def serious(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.1 A and AA that is serious or critical."""
    rules = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node.get('failureSummary', '')}"
        for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]  # fmt: skip


def asked(page: Page, uid: str, panel_id: int, since: int, until: int, **variables: list[str]) -> dict[str, Any]:
    """The API's answer to a panel."""
    # As panel.js asks: in steps of 200 points of its width.
    width = page.evaluate("id => document.querySelector(`#panel-${id} .panel-body`).clientWidth", panel_id)
    points = min(1000, max(200, -(-width // 200) * 200))
    body = {"from": since, "to": until, "max_points": points, "variables": variables}
    origin = page.url.split("/d/")[0]
    response = page.request.post(f"{origin}/api/dashboards/{uid}/panels/{panel_id}", data=body)
    assert response.ok, response.text()
    found: dict[str, Any] = response.json()
    return found


def significant(value: float, unit: str) -> str:
    """A number in SI units with three digits, as people write it: slowly and by other means than the console."""
    power = 0
    while abs(value) >= 1000 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if value == int(value) else max(0, 3 - len(str(int(abs(value)))))
    if digits and abs(value) < 1:
        digits = len(f"{abs(value):.9f}".split(".")[1]) - len(f"{abs(value):.9f}".split(".")[1].lstrip("0")) + 2
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {PREFIXES[power]}{unit}"
