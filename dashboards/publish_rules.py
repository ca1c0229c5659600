"""Alert rules into a running Grafana, over its API of alert provisioning.

Each rule is read and written by its uid.  What people do to it there stays: that it is paused, labels of theirs by
which they route, a contact point of its own.  Rules are written so that they may be edited there
(X-Disable-Provenance), as dashboards may: the next push says what was changed, and puts it right.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.alerts.place import seconds_of
from dashboards.differences import differences
from dashboards.grafana import Grafana, Step, line

_EXPRESSION = "__expr__"
_COUNTED = ("id", "updated", "provenance", "orgID")
"""Of a rule there: said, not taken."""
_BY_ANNOTATION = ("dashboardUid", "panelId")
"""Keys of the file; the API has them as annotations, which the file has too."""


def rule_steps(grafana: Grafana, document: Mapping[str, Any], folder_uid: str) -> list[Step]:
    """What is to be done so that Grafana holds a document's groups in this folder; PublishError."""
    return [*_steps(grafana, document, folder_uid)]


def _steps(grafana: Grafana, document: Mapping[str, Any], folder_uid: str) -> Iterator[Step]:
    for group in document["groups"]:
        there = {rule["uid"]: _read(grafana, rule["uid"]) for rule in group["rules"]}
        for rule in group["rules"]:
            yield _rule(grafana, rule, group["name"], folder_uid, there[rule["uid"]])
        left = any(found and found.get("provenance") == "file" for found in there.values())
        known = any(found and _place(found) == (folder_uid, group["name"]) for found in there.values())
        yield _interval(grafana, group, folder_uid, known=known, left=left)
    for gone in document.get("deleteRules", ()):
        if (found := _read(grafana, gone["uid"])) is not None:
            yield _removal(grafana, found)


def _read(grafana: Grafana, uid: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = grafana.ask(
        f"reading the alert rule {uid}", lambda: grafana.api.alertingprovisioning.get_alertrule(uid), absent=True
    )
    return found


def _rule(
    grafana: Grafana, rule: Mapping[str, Any], group: str, folder_uid: str, found: Mapping[str, Any] | None
) -> Step:  # fmt: skip
    uid = rule["uid"]
    ours = {name: value for name, value in rule.items() if name not in _BY_ANNOTATION}
    ours |= {"folderUID": folder_uid, "ruleGroup": group}
    what, api = f"{uid} {rule['title']!r}", grafana.api.alertingprovisioning
    if found is None:
        return Step(uid, [line("alert rule", "new", what)], lambda: grafana.ask(
            f"writing the alert rule {uid}", lambda: api.create_alertrule(ours, disable_provenance=True)))  # fmt: skip
    changes = differences(_compared(ours), _compared(found))
    if not changes:
        return Step(uid, [line("alert rule", "same", what)])
    if found.get("provenance") == "file":
        return Step(uid, [line("alert rule", "other", f"{what}; it comes from a file there and is left"), *changes])
    kept = {name: value for name, value in found.items() if name not in _COUNTED}
    wanted = {**kept, **ours, "labels": {**(found.get("labels") or {}), **ours["labels"]}}
    return Step(uid, [line("alert rule", "changed", what), *changes], lambda: grafana.ask(
        f"writing the alert rule {uid}",
        lambda: api.update_alertrule(uid, wanted, disable_provenance=_is_open(found)),
    ))  # fmt: skip


def _interval(grafana: Grafana, group: Mapping[str, Any], folder_uid: str, *, known: bool, left: bool) -> Step:
    name, every, api = group["name"], seconds_of(group["interval"]), grafana.api.alertingprovisioning
    what = f"{name!r}, evaluated every {group['interval']}"

    def read() -> Any:
        return grafana.ask(
            f"reading the group {name!r}", lambda: api.get_rule_group(folder_uid, name), absent=True
        )  # fmt: skip

    def write() -> None:
        # Read again: rules were written meanwhile, and what this call does not name it would delete.
        found = read() or {}
        if found.get("interval") != every:
            is_open = all(_is_open(rule) for rule in found.get("rules", ()))
            grafana.ask(f"writing the group {name!r}", lambda: api.update_rule_group(
                folder_uid, name, {**found, "interval": every}, disable_provenance=is_open))  # fmt: skip

    found = read() if known else None
    if found is None:
        return Step(name, [line("rule group", "new", what)], write)
    if found.get("interval") == every:
        return Step(name, [line("rule group", "same", what)])
    changes = [f"    - interval: {found.get('interval')} s", f"    + interval: {every} s"]
    if left:
        return Step(name, [line("rule group", "other", f"{what}; it comes from a file there and is left"), *changes])
    return Step(name, [line("rule group", "changed", what), *changes], write)


def _removal(grafana: Grafana, found: Mapping[str, Any]) -> Step:
    uid, what = found["uid"], f"{found['uid']} {found.get('title', '')!r}"
    if found.get("provenance") == "file":
        return Step(uid, [line("alert rule", "other", f"{what}; it comes from a file there and is left")])
    return Step(uid, [line("alert rule", "goes", what)], lambda: grafana.ask(
        f"removing the alert rule {uid}", lambda: grafana.api.alertingprovisioning.delete_alertrule(uid),
        absent=True,
    ))  # fmt: skip


def _is_open(found: Mapping[str, Any]) -> bool:
    """Whether people may edit it there; what an API (Terraform) made must be written as by an API."""
    return bool(found.get("provenance", "") != "api")


def _place(found: Mapping[str, Any]) -> tuple[object, object]:
    return found.get("folderUID"), found.get("ruleGroup")


def _compared(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule with one spelling of durations; the time range of an expression says nothing."""
    data = [
        {name: value for name, value in query.items()
         if not (name == "relativeTimeRange" and query.get("datasourceUid") == _EXPRESSION)}
        for query in rule["data"]
    ]  # fmt: skip
    return {**rule, "data": data, "for": f"{_seconds(rule.get('for', '0s'))} s"}


def _seconds(duration: object) -> object:
    try:
        return seconds_of(duration)
    except ValueError:
        return duration
