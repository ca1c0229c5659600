"""Answers of annotation queries as events, read as Grafana reads them: columns by their names, in any case."""

from collections.abc import Mapping
from typing import Any

from dashboards.console.frames import Frame
from dashboards.library import DATA_SOURCE

_COLUMNS = ("time", "timeend", "title", "text", "tags")


def is_asked(annotation: Mapping[str, Any]) -> bool:
    """Whether it is switched on, and a query of ours: Grafana's own have none."""
    return bool(
        annotation.get("enable") and annotation.get("datasource") == DATA_SOURCE and annotation.get("target")
    )  # fmt: skip


def events_of(frame: Frame) -> list[dict[str, Any]]:
    """Each row as {time, timeEnd, title, text, tags}, times in Unix milliseconds; ValueError without time or text.

    An event without an end, or one that ends before it begins, is a moment.
    """
    places = {column["name"].lower(): at for at, column in enumerate(frame.columns)}
    if "time" not in places or "text" not in places:
        raise ValueError("an annotation wants columns time and text")
    found = []
    for row in frame.rows:
        since, until, title, text, tags = (row[places[name]] if name in places else None for name in _COLUMNS)
        if not isinstance(since, int | float):
            continue
        found.append({
            "time": since, "timeEnd": max(since, until) if isinstance(until, int | float) else since,
            "title": str(title or ""), "text": str(text or ""),
            "tags": [tag.strip() for tag in str(tags or "").split(",") if tag.strip()],
        })  # fmt: skip
    return found
