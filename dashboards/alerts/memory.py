"""What the evaluator remembers over a restart: one JSON file, replaced as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from dashboards.alerts.states import Event, RuleState, StateError, read_event, read_state
from sinks.segments import write_atomic

log = structlog.get_logger("alerts")

NAME = "alerts.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it; a change is another one."""

    due: Mapping[str, float] = field(default_factory=dict)  # by group: the time its newest evaluation was for
    rules: Mapping[str, RuleState] = field(default_factory=dict)  # by uid
    untold: tuple[Event, ...] = ()  # for the notifier
    unwritten: tuple[Event, ...] = ()  # for the history
    evaluated_at: float = 0.0  # Unix time of the newest evaluation; 0: never

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "version": _VERSION, "evaluated_at": self.evaluated_at, "due": dict(self.due),
            "rules": {uid: state.plain() for uid, state in self.rules.items()},
            "untold": [event.plain() for event in self.untold],
            "unwritten": [event.plain() for event in self.unwritten],
        }  # fmt: skip


def write(path: Path, memory: Memory) -> None:
    """Durable when it returns; OSError."""
    write_atomic(path, json.dumps(memory.plain(), ensure_ascii=False, allow_nan=False).encode())


def read(path: Path) -> Memory:
    """What the file holds, nothing where there is none; StateError, OSError."""
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Memory()
    except ValueError as error:
        raise StateError(f"{path}: not JSON: {error}") from None
    try:
        if plain["version"] != _VERSION:
            raise StateError(f"{path}: version {plain['version']}, of another Flowtide")
        return Memory(
            {str(name): float(due) for name, due in plain["due"].items()},
            {str(uid): read_state(state) for uid, state in plain["rules"].items()},
            tuple(read_event(each) for each in plain["untold"]),
            tuple(read_event(each) for each in plain["unwritten"]), float(plain["evaluated_at"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"{path}: {type(error).__name__}: {error}") from None


def recall(path: Path) -> Memory:
    """As ``read``; a file that cannot be used is put aside, and all rules begin anew."""
    try:
        return read(path)
    except StateError as error:
        aside = path.with_name(f"{path.name}.broken")
        path.replace(aside)
        log.error("the alerts' state is not usable, beginning anew", reason=str(error), kept_as=str(aside))
        return Memory()
