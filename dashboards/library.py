"""The dashboards as files: what Grafana loads and the console draws."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.macros import Literal, MacroError

FOLDER = Path(__file__).parent / "json"
ALL = "$__all"
"""What a variable's value is when All is chosen, in links and answers."""
DATA_SOURCE = {"type": "grafana-clickhouse-datasource", "uid": "flowtide-clickhouse"}


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    """By uid, in the order of the menu."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return {dashboard["uid"]: dashboard for dashboard in found}


def bound(dashboard: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Values of all variables for ``macros.expand``; MacroError for a name or a number of values that is not right.

    What is not chosen has its value of the file.  All is the literal that the file says for it.
    """
    known = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    if unknown := chosen.keys() - known:
        raise MacroError(f"dashboard {dashboard['uid']} has no variable {', '.join(sorted(unknown))};"
                         f" it has {', '.join(known) or 'none'}")  # fmt: skip
    return {name: _values(variable, chosen.get(name) or _current(variable)) for name, variable in known.items()}


def _current(variable: Mapping[str, Any]) -> Sequence[str]:
    value = variable["current"]["value"]
    return value if isinstance(value, list) else [value]


def _values(variable: Mapping[str, Any], chosen: Sequence[str]) -> tuple[str, ...]:
    name = variable["name"]
    if ALL in chosen:
        if not variable.get("includeAll") or "allValue" not in variable:
            raise MacroError(f"variable {name} knows no All: choose a value")
        return (Literal(variable["allValue"]),)
    if len(chosen) > 1 and not variable.get("multi"):
        raise MacroError(f"variable {name} takes one value, not {len(chosen)}")
    if variable["type"] == "custom":
        offered = {option["value"] for option in variable["options"]}
        if wrong := set(chosen) - offered:
            raise MacroError(f"variable {name}: {', '.join(sorted(wrong))} is not one of {', '.join(sorted(offered))}")
    return tuple(chosen)
