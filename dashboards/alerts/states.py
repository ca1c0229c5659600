"""What a rule's judgements make of its instances: normal, pending, firing, no data, error; as Grafana has it.

Pure: the state before, a judgement and a time give the state after and what happened.  Errors and missing rows are
never taken for normal: a firing instance resolves when its row says so, or when it had no row in two evaluations.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dashboards.alerts import templates
from dashboards.alerts.evaluate import Judgement, Verdict
from dashboards.alerts.rulefile import Rule

State = Literal["normal", "pending", "firing", "nodata", "error"]
Kind = Literal["pending", "firing", "resolved", "normal", "nodata", "error"]
"""What happens to an instance; ``normal``: pending, no data or an error passed without firing."""

NO_JUDGEMENT, GONE = "no judgement", "the rule is gone"
"""Reasons of ``resolved`` and ``normal``, beside the empty one (its row says so)."""
MISSING = 2
"""Evaluations without a row after which nothing is known of an instance any more."""
ORDER: tuple[State, ...] = ("firing", "error", "pending", "nodata", "normal")
"""The state of a rule is the first of these that one of its instances has."""


class StateError(Exception):
    """What was kept cannot be read."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A rule and a set of labels."""

    uid: str
    rule: str  # label rule: R0 to R10, or the uid
    title: str
    labels: Mapping[str, str]  # the rule's and the row's
    state: State
    since: float  # Unix time at which the state began
    annotations: Mapping[str, str] = field(default_factory=dict)  # expanded; none of what is normal and was before
    values: Mapping[str, float] = field(default_factory=dict)  # by refId, as of the newest judgement
    until: float = 0.0  # when it resolved; 0: not yet
    started: float = 0.0  # when it began to fire, kept when it has resolved; 0: never
    missing: int = 0  # evaluations without a row, up to now
    reason: str = ""  # of no data and error

    @property
    def key(self) -> str:
        """Tells it from all others."""
        return key_of(self.uid, self.labels)

    @property
    def severity(self) -> str:
        """Label severity, empty without one."""
        return self.labels.get("severity", "")

    def plain(self) -> dict[str, Any]:
        """For JSON; ``read_instance`` takes it back."""
        return {
            "uid": self.uid, "rule": self.rule, "title": self.title, "labels": dict(self.labels), "state": self.state,
            "since": self.since, "annotations": dict(self.annotations), "values": dict(self.values),
            "until": self.until, "started": self.started, "missing": self.missing, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an instance; told once, under its ``id``."""

    kind: Kind
    instance: Instance  # as it is afterwards
    at: float  # Unix time of the evaluation
    reason: str = ""

    @property
    def id(self) -> str:
        """The same when it is told again after a crash."""
        text = json.dumps([self.instance.key, self.kind, round(self.at * 1000), self.reason])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def plain(self) -> dict[str, Any]:
        """For JSON; ``read_event`` takes it back."""
        return {"kind": self.kind, "at": self.at, "reason": self.reason, "instance": self.instance.plain()}


@dataclass(frozen=True, slots=True)
class RuleState:
    """All that is remembered of a rule."""

    instances: Mapping[str, Instance] = field(default_factory=dict)  # by key, also normal ones
    trouble: Instance | None = None  # state nodata or error, while that lasts
    evaluated: float = 0.0  # when it was last judged; 0: never

    @property
    def state(self) -> State:
        """The gravest of its instances; ``nodata`` for one that was never judged."""
        found = {instance.state for instance in self.all()}
        return next((state for state in ORDER if state in found), "nodata")

    def all(self) -> list[Instance]:
        """Its instances, and its trouble."""
        return [*self.instances.values(), *([self.trouble] if self.trouble else [])]

    def firing(self) -> list[Instance]:
        """Those that fire."""
        return [instance for instance in self.instances.values() if instance.state == "firing"]

    def plain(self) -> dict[str, Any]:
        """For JSON; ``read_state`` takes it back."""
        return {
            "instances": [instance.plain() for instance in self.instances.values()],
            "trouble": self.trouble.plain() if self.trouble else None,
            "evaluated": self.evaluated,
        }


NEW = RuleState()


def key_of(uid: str, labels: Mapping[str, str]) -> str:
    """A short name of a rule's instance, the same in every process."""
    text = json.dumps([uid, sorted(labels.items())], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def step(rule: Rule, state: RuleState, judgement: Judgement, now: float) -> tuple[RuleState, list[Event]]:
    """The state after a judgement at Unix time ``now``, and what happened, in an order that does not change."""
    if judgement.error:
        return _troubled(rule, state, "error", judgement.error, now)
    verdicts = judgement.verdicts
    if not verdicts and rule.no_data == "Alerting":
        verdicts = _all_fire(rule, state)
    if verdicts:
        trouble, events = _recovered(rule, state, now)
    else:
        # Without a row nothing is judged; what fires goes on for one evaluation more.
        state, events = _troubled(rule, state, "nodata", "", now)
        trouble = state.trouble
    found: dict[str, Instance] = {}
    for verdict in verdicts:
        labels = {**verdict.labels, **rule.labels}  # the rule's own win, as in Grafana
        key = key_of(rule.uid, labels)
        after, happened = _judged(rule, state.instances.get(key), labels, verdict, now)
        found[key] = after
        events += happened
    for key, instance in state.instances.items():
        if key not in found:
            left, happened = _missed(instance, now)
            events += happened
            if left is not None:
                found[key] = left
    return RuleState(dict(sorted(found.items())), trouble, now), events


def forget(state: RuleState, now: float) -> list[Event]:
    """What happens to the instances of a rule that is no more."""
    return [event for instance in state.all() if (event := _ended(instance, now, GONE)) is not None]


def read_instance(plain: Any) -> Instance:
    """What ``Instance.plain`` gave; StateError."""
    try:
        return Instance(
            uid=str(plain["uid"]), rule=str(plain["rule"]), title=str(plain["title"]), labels=_texts(plain["labels"]),
            state=_one_of(plain["state"], ORDER), since=float(plain["since"]),
            annotations=_texts(plain["annotations"]),
            values={str(ref): float(value) for ref, value in plain["values"].items()}, until=float(plain["until"]),
            started=float(plain["started"]), missing=int(plain["missing"]), reason=str(plain["reason"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"an instance of an alert: {type(error).__name__}: {error}") from None


def read_event(plain: Any) -> Event:
    """What ``Event.plain`` gave; StateError."""
    try:
        kind: Kind = _one_of(plain["kind"], _KINDS)
        return Event(kind, read_instance(plain["instance"]), float(plain["at"]), str(plain["reason"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"an event of an alert: {type(error).__name__}: {error}") from None


def read_state(plain: Any) -> RuleState:
    """What ``RuleState.plain`` gave; StateError."""
    try:
        instances = [read_instance(each) for each in plain["instances"]]
        trouble = read_instance(plain["trouble"]) if plain["trouble"] else None
        return RuleState({instance.key: instance for instance in instances}, trouble, float(plain["evaluated"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the state of a rule: {type(error).__name__}: {error}") from None


_KINDS: tuple[Kind, ...] = ("pending", "firing", "resolved", "normal", "nodata", "error")


def _judged(
    rule: Rule, before: Instance | None, labels: Mapping[str, str], verdict: Verdict, now: float
) -> tuple[Instance, list[Event]]:
    was: State = before.state if before else "normal"
    since = min(before.since, now) if before and was != "normal" else now  # a clock may have been set back
    state: State = "normal"
    if verdict.firing:
        state = "firing" if was == "firing" or now - since >= rule.wait else "pending"
    if state != was or before is None:
        since = now
    elif state == "normal":
        since = min(before.since, now)
    speaks = verdict.firing or was != "normal"  # a text of numbers that nobody asked for says nothing
    values = {**(before.values if before and speaks and verdict.values else {}), **verdict.values}
    annotations = rule.annotate(labels, values) if speaks else {}
    if verdict.firing and not verdict.values:  # for want of any row: what the texts speak of is not known
        said = {name: text for name, text in annotations.items() if templates.NOTHING not in text}
        annotations = {**said, "summary": f"{rule.title}: there are no rows at all"}
    after = Instance(
        rule.uid, rule.name, rule.title, labels, state, since, annotations, values,
        started=now if state == "firing" != was else before.started if before and was == "firing" else 0.0,
    )  # fmt: skip
    if state == was:
        return after, []
    if was == "firing":
        after = replace(after, until=now)
        return after, [Event("resolved", after, now)]
    return after, [Event(state, after, now)]


def _missed(instance: Instance, now: float) -> tuple[Instance | None, list[Event]]:
    if instance.missing + 1 < MISSING:
        return replace(instance, missing=instance.missing + 1), []
    event = _ended(instance, now, NO_JUDGEMENT)
    return None, [event] if event else []


def _ended(instance: Instance, now: float, reason: str) -> Event | None:
    if instance.state == "normal":
        return None
    after = replace(instance, state="normal", since=now, until=now, missing=0)
    return Event("resolved" if instance.state == "firing" else "normal", after, now, reason)


def _troubled(
    rule: Rule, state: RuleState, kind: Literal["nodata", "error"], reason: str, now: float
) -> tuple[RuleState, list[Event]]:
    if state.trouble and state.trouble.state == kind:
        trouble = replace(state.trouble, reason=reason)
        return RuleState(state.instances, trouble, now), []
    summary = f"{rule.title}: {reason}" if reason else f"{rule.title}: nothing to judge"
    after = Instance(
        rule.uid, rule.name, rule.title, rule.labels, kind, now, {"summary": summary}, started=0.0, reason=reason
    )
    return RuleState(state.instances, after, now), [Event(kind, after, now, reason)]


def _recovered(rule: Rule, state: RuleState, now: float) -> tuple[None, list[Event]]:
    if state.trouble is None:
        return None, []
    event = _ended(replace(state.trouble, annotations={"summary": f"{rule.title}: judged again"}, reason=""), now, "")
    return None, [event] if event else []


def _all_fire(rule: Rule, state: RuleState) -> tuple[Verdict, ...]:
    """No row at all where that is the alarm: all that are known fire, or the rule itself."""
    known: Iterable[Mapping[str, str]] = [
        {name: value for name, value in each.labels.items() if name not in rule.labels}
        for each in state.instances.values()
    ]
    return tuple(Verdict(labels, firing=True, values={}) for labels in (list(known) or [{}]))


def _texts(plain: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in plain.items()}


def _one_of(word: Any, known: Sequence[Any]) -> Any:
    if word not in known:
        raise ValueError(f"{word!r} is none of {', '.join(known)}")
    return word
