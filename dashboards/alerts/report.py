"""What the console and ``flowtide alerts list`` show of the rules."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dashboards.alerts.memory import Memory
from dashboards.alerts.rulefile import Rule, RuleSet
from dashboards.alerts.states import NEW, Instance, RuleState


def report(
    rules: RuleSet, memory: Memory, silences: Sequence[Mapping[str, object]], problem: str = ""
) -> dict[str, Any]:
    """Every rule with its instances, as JSON; times in ISO 8601, None for never."""
    return {
        "evaluated_at": iso(memory.evaluated_at),
        "problem": problem,
        "rules": [_rule(rule, memory.rules.get(rule.uid, NEW)) for rule in rules.rules],
        "silences": list(silences),
    }


def iso(moment: float) -> str | None:
    """A Unix time as text, None for 0."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _rule(rule: Rule, state: RuleState) -> dict[str, Any]:
    static = {name: text.expand({}, {}) for name, text in rule.annotations.items()}
    return {
        "uid": rule.uid, "rule": rule.name, "title": rule.title, "severity": rule.severity, "state": state.state,
        "since": iso(min((each.since for each in state.all() if each.state == state.state), default=0.0)),
        "last_evaluation": iso(state.evaluated),
        "error": state.trouble.reason if state.trouble and state.trouble.state == "error" else "",
        "labels": dict(rule.labels),
        "annotations": {name: static[name] for name in _FOR_ALL if name in static},
        "instances": [_instance(each) for each in state.instances.values()],
    }  # fmt: skip


_FOR_ALL = ("runbook_url", "__dashboardUid__", "__panelId__")


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "labels": dict(instance.labels), "state": instance.state, "since": iso(instance.since),
        "values": dict(instance.values), "annotations": dict(instance.annotations), "missing": instance.missing,
    }  # fmt: skip
