"""Writes the dashboards' JSON, and says where the committed files differ from it."""

import difflib
import json
from pathlib import Path

from dashboards.library import FOLDER
from dashboards.panels.model import Dashboard
from dashboards.panels.noc import NOC
from dashboards.panels.ports import PORTS
from dashboards.panels.trust import TRUST

DASHBOARDS: tuple[Dashboard, ...] = (NOC, PORTS, TRUST)
"""In the order of the menu."""


def files() -> dict[str, str]:
    """Name of each file and what it must hold."""
    return {
        f"{number}-{dashboard.uid}.json": json.dumps(dashboard.json(), indent=1, ensure_ascii=False) + "\n"
        for number, dashboard in enumerate(DASHBOARDS, 1)
    }


def write(folder: Path = FOLDER) -> list[str]:
    """Bring the folder to what the code says; the names of files written or removed."""
    wanted, changed = files(), []
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return sorted(changed)


def drift(folder: Path = FOLDER) -> str:
    """How the folder differs from the code, as a unified diff; empty when it does not."""
    wanted = files()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    lines: list[str] = []
    for name in sorted(wanted.keys() | found.keys()):
        lines += difflib.unified_diff(
            found.get(name, "").splitlines(), wanted.get(name, "").splitlines(), f"file/{name}", f"code/{name}",
            lineterm="",
        )  # fmt: skip
    return "\n".join(lines)
