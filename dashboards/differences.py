"""How what a Grafana holds differs from what it shall hold, for people.

Keys that only Grafana has (ids, versions, defaults it fills in, a newer schema) are no difference.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LINES = 12  # of one thing; a new query is longer, its first lines tell which one it is
_LINE = 140


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lines for people, - theirs and + ours, cut to a few; empty: nothing that we say is otherwise there."""
    there, here = list(_flat(seen(ours, theirs))), list(_flat(ours))
    changed = [
        f"    {line[0]} {line[1:]}" if len(line) <= _LINE else f"    {line[0]} {line[1:_LINE]}..."
        for line in difflib.unified_diff(there, here, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    if len(changed) > _LINES:
        changed[_LINES:] = [f"    ... and {len(changed) - _LINES} more lines"]
    return changed


def places(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What of a dashboard differs, by panel; the lines of the difference are cut."""
    found = seen(ours, theirs)
    where = [key for key in sorted(ours) if key != "panels" and found.get(key) != ours[key]]
    before, after = ({panel["id"]: panel for panel in one.get("panels", [])} for one in (found, ours))
    for number in sorted(before.keys() | after.keys()):
        if before.get(number) != after.get(number):
            panel = after.get(number) or before[number]
            state = "" if number in before and number in after else " (new)" if number in after else " (goes)"
            where.append(f"panel {number} {panel.get('title', '')!r}{state}")
    if not where and found != ours:
        where.append("order of panels")
    return where


def seen(ours: Any, theirs: Any, key: str = "") -> Any:
    """What of ``theirs`` answers to ``ours``: without the keys that only Grafana has."""
    if key == "schemaVersion" and isinstance(theirs, int):
        return ours if theirs >= ours else theirs  # a newer Grafana keeps it in its own schema
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {
            name: seen(value, theirs.get(name), name)
            for name, value in ours.items()
            if name in theirs or value is None  # some versions drop null
        }
    if isinstance(ours, Sequence) and isinstance(theirs, list) and not isinstance(ours, str):
        theirs = [item for item in theirs if not _built_in(item)]
        by_id = {item["id"]: item for item in ours if isinstance(item, Mapping) and "id" in item}
        places = [*ours, *([None] * (len(theirs) - len(ours)))]
        return [
            seen(by_id.get(item["id"]) if by_id and isinstance(item, dict) and "id" in item else place, item)
            for item, place in zip(theirs, places, strict=False)
        ]
    return theirs


def _built_in(item: Any) -> bool:
    """Grafana's own annotations, which it adds to every dashboard."""
    return isinstance(item, dict) and bool(item.get("builtIn"))


def _flat(value: Any, path: str = "") -> Iterator[str]:
    """One line a value, a text of several lines as several; sorted keys, so that equal values give equal lines."""
    if isinstance(value, Mapping) and value:
        for name in sorted(value):
            yield from _flat(value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for at, item in enumerate(value):
            named = isinstance(item, Mapping) and "id" in item and "type" in item
            yield from _flat(item, f"{path}[{item['id']} {item.get('title', '')!r}]" if named else f"{path}[{at}]")
    elif isinstance(value, str):
        for line in value.splitlines() or [""]:
            yield f"{path}: {line}"
    else:
        yield f"{path}: {value!r}"
