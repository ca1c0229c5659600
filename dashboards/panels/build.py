"""Writes the dashboards' JSON and the page about them, and says where the committed files differ from it."""

import difflib
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from dashboards.alerts.rules import RULES
from dashboards.library import FOLDER
from dashboards.panels.model import Dashboard
from dashboards.panels.noc import NOC
from dashboards.panels.ports import PORTS
from dashboards.panels.subscribers import SUBSCRIBERS
from dashboards.panels.trust import TRUST
from dashboards.panels.years import YEARS

DASHBOARDS: tuple[Dashboard, ...] = (NOC, PORTS, TRUST, SUBSCRIBERS, YEARS)
"""In the order of the menu."""


ROOT = FOLDER.parent
_PAGE = """# Dashboards

Written by `flowtide dashboards build` from the code in `panels/`: change it there. Grafana loads `json/`, the console
draws the same files. What each panel means, and what to do when it is red; below, the same of each alert rule:
[R0](#r0), [R1](#r1), [R2](#r2), [R3](#r3), [R4](#r4), [R5](#r5), [R6](#r6), [R7](#r7), [R9](#r9), [R10](#r10).
"""
_RUNBOOK = """## Alert rules

`alerts/flowtide.yaml`, written by `flowtide alerts build` from `alerts/rules.py` and `queries/`. Grafana evaluates the
file, or `flowtide run` does; `flowtide alerts test --from --to` says what would have fired. A rule that finds nothing
to judge says nothing: no data is neither an alarm nor an all-clear. R8 is no rule of its own: its two numbers, of
UDP 443 and of TCP 443 against last week, stand in the messages of R1 and R2. Any alert is silenced for a while by
`flowtide alerts silence add rule=R1 service=fixed --for 2h --comment WHY`. Severities: page wakes somebody, warn is for
the shift, notice for the day; info explains why other rules are silent.
"""


def files() -> dict[str, str]:
    """Place of each file below ``ROOT``, and what it must hold."""
    found = {
        f"{FOLDER.name}/{number}-{dashboard.uid}.json": json.dumps(dashboard.json(), indent=1, ensure_ascii=False)
        + "\n"
        for number, dashboard in enumerate(DASHBOARDS, 1)
    }
    return {**found, "README.md": _page()}


def write(root: Path = ROOT) -> list[str]:
    """Bring the folder to what the code says; the places of files written or removed."""
    wanted, changed = files(), []
    for place in _there(root) - wanted.keys():
        (root / place).unlink()
        changed.append(place)
    for place, text in wanted.items():
        path = root / place
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(place)
    return sorted(changed)


def drift(root: Path = ROOT) -> str:
    """How the folder differs from the code, as a unified diff; empty when it does not."""
    wanted = files()
    found = {place: (root / place).read_text(encoding="utf-8") for place in _there(root)}
    lines: list[str] = []
    for place in sorted(wanted.keys() | found.keys()):
        lines += difflib.unified_diff(
            found.get(place, "").splitlines(), wanted.get(place, "").splitlines(), f"file/{place}", f"code/{place}",
            lineterm="",
        )  # fmt: skip
    return "\n".join(lines)


def _there(root: Path) -> set[str]:
    found = {f"{FOLDER.name}/{path.name}" for path in (root / FOLDER.name).glob("*.json")}
    return found | ({"README.md"} if (root / "README.md").exists() else set())


def _page() -> str:
    lines = [_PAGE]
    for dashboard in DASHBOARDS:
        lines += [f"## {dashboard.title}", "", dashboard.description, "", "| panel | what it says |", "|---|---|"]
        lines += [f"| {panel.title} | {panel.description} |" for line in dashboard.lines for panel in line
                  if panel.description]  # fmt: skip
        lines.append("")
    return "\n".join([*lines, _RUNBOOK, *_rules()])


def _rules() -> Iterator[str]:
    """A section for each rule: the alerts' ``runbook_url`` ends in its name."""
    for name, rules in groupby(RULES, lambda rule: rule.rule):
        yield f"### {name}\n"
        for rule in rules:
            share = f", {rule.definition}" if rule.definition else ""
            yield f"**{rule.title}** ({rule.severity}, `{rule.uid}`{share})\n"
            yield f"- Means: {rule.meaning}\n- Look first: {rule.first}\n- Do: {rule.then}\n- Silent: {rule.silent}\n"
