"""The file of the outbox: all boxes as JSON, replaced as a whole."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dashboards.alerts.outbox import Box, Flight, Group, Told
from dashboards.alerts.payloads import Alert
from sinks.segments import write_atomic

NAME = "notifications.json"
VERSION = 1


class OutboxError(Exception):
    """The file cannot be read; says why."""


def read(path: Path) -> dict[str, Box]:
    """The boxes of a file by webhook; none where there is no file; OutboxError."""
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutboxError(str(getattr(error, "strerror", None) or error)) from None
    try:
        if plain["version"] != VERSION:
            raise OutboxError(f"version {plain['version']}, this program knows {VERSION}")
        return {name: _box(box) for name, box in plain["webhooks"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutboxError(f"not as this program writes it: {type(error).__name__}: {error}") from None


def write(path: Path, boxes: Mapping[str, Box]) -> None:
    """All of them, so that either the old or the new content survives a power cut; OSError."""
    plain = {"version": VERSION, "webhooks": {name: _plain(box) for name, box in boxes.items()}}
    write_atomic(path, json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _plain(box: Box) -> dict[str, Any]:
    return {
        "alerts": {
            name: {"alert": _fields(known.alert), "group": known.group, "told": known.told,
                   "inhibited": known.inhibited}
            for name, known in box.alerts.items()
        },
        "groups": {
            key: {"labels": group.labels, "next": group.next, "sent": group.sent,
                  "flight": _fields(group.flight) if group.flight else None}
            for key, group in box.groups.items()
        },
        "sequence": box.sequence,
        "given_up": box.given_up,
    }  # fmt: skip


def _fields(found: Alert | Flight) -> dict[str, Any]:
    """Without the copies of dataclasses.asdict, which take most of the time of a large file."""
    return {each.name: getattr(found, each.name) for each in fields(found)}


def _box(plain: Any) -> Box:
    alerts = {
        name: Told(Alert(**each["alert"]), str(each["group"]), bool(each["told"]), bool(each["inhibited"]))
        for name, each in plain["alerts"].items()
    }  # fmt: skip
    groups = {}
    for key, each in plain["groups"].items():
        flight = Flight(**each.pop("flight")) if each["flight"] else each.pop("flight")
        groups[key] = Group(**each, flight=flight)
    return Box(alerts, groups, int(plain["sequence"]), str(plain["given_up"]))
