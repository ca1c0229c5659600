"""Reads alert rules in Grafana's provisioning form: the part that every version and our own evaluator understand.

The file is untrusted: what is not understood is refused with the file, the rule, the key and what to do, so that no
rule is silently another one than its writer meant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dashboards.alerts import templates
from dashboards.alerts.place import Place, RuleFileError, seconds_of
from dashboards.alerts.rulesteps import Query, Step, needed, read_steps
from dashboards.alerts.templates import Template, TemplateError
from dashboards.alerts.yamlfile import YamlRefused, read_yaml

__all__ = ["Group", "NoData", "Query", "Rule", "RuleFileError", "RuleSet", "load_rules", "seconds_of"]

NoData = Literal["NoData", "Alerting"]

TICK = 10
"""Seconds: an interval of Grafana's groups is a multiple of it."""
_MOST_RULES = 1_000
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")

_FILE_KEYS = frozenset({"apiVersion", "groups", "deleteRules"})
_GROUP_KEYS = frozenset({"orgId", "name", "folder", "interval", "rules"})
_RULE_KEYS = frozenset({"uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState", "execErrState",
                        "for", "annotations", "labels", "isPaused"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule."""

    uid: str
    title: str
    condition: str  # refId; firing where it is not 0
    steps: Mapping[str, Step]  # by refId, each behind those it reads
    wait: float = 0.0  # seconds between pending and firing
    no_data: NoData = "NoData"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Template] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()  # refIds of the condition and of all it reads

    @property
    def name(self) -> str:
        """Label ``rule``, else the uid."""
        return self.labels.get("rule", self.uid)

    @property
    def severity(self) -> str:
        """Label ``severity``, empty without one."""
        return self.labels.get("severity", "")

    def annotate(self, labels: Mapping[str, str], values: Mapping[str, float]) -> dict[str, str]:
        """The annotations with labels and numbers in their places."""
        return {name: template.expand(labels, values) for name, template in self.annotations.items()}


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, one after the other."""

    name: str
    folder: str
    interval: int  # seconds
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of one file or of several."""

    groups: tuple[Group, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order of the files."""
        return tuple(rule for group in self.groups for rule in group.rules)

    def by_uid(self) -> dict[str, Rule]:
        """For look-ups."""
        return {rule.uid: rule for rule in self.rules}


def load_rules(*paths: Path) -> RuleSet:
    """The rules of these files together; RuleFileError."""
    groups: list[Group] = []
    seen: dict[str, Path] = {}
    for path in paths:
        found = _read(path)
        for rule in (rule for group in found for rule in group.rules):
            if rule.uid in seen:
                raise RuleFileError(f"{path}: rule {rule.uid}: uid: {seen[rule.uid]} has this rule too: choose another")
            seen[rule.uid] = path
        if again := {(g.folder, g.name) for g in groups} & {(g.folder, g.name) for g in found}:
            raise RuleFileError(f"{path}: group {sorted(again)[0][1]!r} is in another file too: choose another name")
        groups += found
    return RuleSet(tuple(groups))


def _read(path: Path) -> list[Group]:
    place = Place(path)
    try:
        document = place.mapping(read_yaml(path), _FILE_KEYS)
    except YamlRefused as error:
        raise place.wrong(error) from None
    if document.get("apiVersion") != 1:
        raise place.within("apiVersion").wrong("write 1, the form of Grafana's file provisioning")
    groups = [_group(place, each) for each in place.sequence(document.get("groups", []))]
    if sum(len(group.rules) for group in groups) > _MOST_RULES:
        raise place.wrong(f"more than {_MOST_RULES} rules")
    uids = [rule.uid for group in groups for rule in group.rules]
    names = [(group.folder, group.name) for group in groups]
    for uid in uids:
        if uids.count(uid) > 1:
            raise place.within(f"rule {uid}").within("uid").wrong("two rules have it: give each its own")
    for folder, name in names:
        if names.count((folder, name)) > 1:
            raise place.within(f"group {name!r}").wrong(f"twice in folder {folder!r}: put their rules together")
    return groups


def _group(outer: Place, value: Any) -> Group:
    inner = outer.within("groups").mapping(value, _GROUP_KEYS)
    name = outer.within("groups").text(inner, "name")
    place = outer.within(f"group {name!r}")
    interval = place.seconds(inner, "interval")
    if interval < TICK or interval % TICK:
        raise place.within("interval").wrong(f"{interval} s is no multiple of {TICK} s, which Grafana wants")
    rules = tuple(_rule(outer, each) for each in place.sequence(inner.get("rules")))
    return Group(name, place.text(inner, "folder", ""), interval, rules)


def _rule(outer: Place, value: Any) -> Rule:
    inner = outer.within("rules").mapping(value)
    uid = outer.within("rules").text(inner, "uid")
    place = outer.within(f"rule {uid}")
    place.mapping(inner, _RULE_KEYS)
    if not _UID.fullmatch(uid):
        raise place.within("uid").wrong("write at most 40 letters, digits, - and _")
    if inner.get("isPaused", False) is not False:
        raise place.within("isPaused").wrong("Grafana 9.4 does not read it and evaluates the rule: remove the rule")
    no_data = place.text(inner, "noDataState", "NoData")
    if no_data not in ("NoData", "Alerting"):
        raise place.within("noDataState").wrong(
            f"{no_data!r}: write NoData or Alerting; what nobody judged is not OK, and KeepLast ends older Grafanas"
        )
    if (text := place.text(inner, "execErrState", "Error")) != "Error":
        raise place.within("execErrState").wrong(f"{text!r}: write Error; other states hide that nothing is judged")
    steps = read_steps(place, inner.get("data"))
    condition = place.text(inner, "condition")
    if condition not in steps:
        raise place.within("condition").wrong(f"{condition!r} is no refId of data: there are {', '.join(steps)}")
    annotations = {}
    for name, text in place.within("annotations").texts(inner.get("annotations", {})).items():
        here = place.within("annotations").within(name)
        try:
            annotations[name] = templates.parse(text)
        except TemplateError as error:
            raise here.wrong(error) from None
        if unknown := annotations[name].refs - steps.keys():
            raise here.wrong(f"no refId {', '.join(sorted(unknown))} in data: there are {', '.join(steps)}")
    labels = place.within("labels").texts(inner.get("labels", {}))
    if any("{{" in text for text in labels.values()):
        raise place.within("labels").wrong("a label is the same for all instances: let the query give others a column")
    return Rule(
        uid, place.text(inner, "title"), condition, steps, place.seconds(inner, "for", "0s"),
        "Alerting" if no_data == "Alerting" else "NoData", labels, annotations, needed(steps, condition),
    )  # fmt: skip
