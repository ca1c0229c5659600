"""Writes the rules' file, and says where the committed one differs from the code."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.alerts.rules import GROUPS, REMOVED, RULES

FILE = Path(__file__).parent / "flowtide.yaml"
RUNBOOK = "dashboards/README.md"
"""Where each rule has a section; a site that serves the page elsewhere gives its address."""
_HEAD = """# Written by `flowtide alerts build` from dashboards/alerts/rules.py and dashboards/queries: change it there.
# Grafana loads it as a file of its alerting provisioning; without Grafana, flowtide alerts run evaluates the same.
"""
_ORG = 1


def document(runbook: str = RUNBOOK) -> dict[str, Any]:
    """All rules as one document of Grafana's file provisioning."""
    groups = [
        {
            "orgId": _ORG, "name": group.name, "folder": group.folder, "interval": group.interval,
            "rules": [rule.json(runbook) for rule in RULES if rule.group == group.name],
        }
        for group in GROUPS
    ]  # fmt: skip
    found: dict[str, Any] = {"apiVersion": 1, "groups": groups}
    if REMOVED:
        found["deleteRules"] = [{"orgId": _ORG, "uid": uid} for uid in REMOVED]
    return found


def text(runbook: str = RUNBOOK) -> str:
    """What the file must hold."""
    return _HEAD + "\n".join(_yaml(document(runbook), 0)) + "\n"


def write(path: Path = FILE, runbook: str = RUNBOOK) -> bool:
    """Bring the file to what the code says; whether it was another."""
    wanted = text(runbook)
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return False
    path.write_text(wanted, encoding="utf-8")
    return True


def drift(path: Path = FILE) -> str:
    """How the file differs from the code, as a unified diff; empty when it does not."""
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    return "\n".join(
        difflib.unified_diff(found.splitlines(), text().splitlines(), f"file/{path.name}", f"code/{path.name}",
                             lineterm="")
    )  # fmt: skip


def _yaml(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    """Lines of a mapping.  Texts of several lines as blocks, everything else as JSON, which is YAML."""
    pad = " " * indent
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{pad}{key}:"
            yield from _yaml(inner, indent + 2)
        elif _is_list_of_mappings(inner):
            yield f"{pad}{key}:"
            for each in inner:
                lines = list(_yaml(each, indent + 4))
                yield f"{pad}  - {lines[0].lstrip()}"
                yield from lines[1:]
        elif isinstance(inner, str) and "\n" in inner:
            yield f"{pad}{key}: |-"
            yield from (f"{pad}  {line}" if line else "" for line in inner.split("\n"))
        else:
            yield f"{pad}{key}: {json.dumps(inner, ensure_ascii=False)}"


def _is_list_of_mappings(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value)
