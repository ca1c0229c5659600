"""A group of alerts as JSON, in the forms of Grafana's webhook contact point and of Alertmanager's webhook.

Field by field as both write them, so that whatever takes the one or the other takes ours.  Labels and annotations
whose names begin and end with two underscores are for ourselves and left out, as Grafana does.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.alerts.states import Instance
from dashboards.alerts.webhook_settings import EVERY_LABEL, Webhook

ALERT_NAME, SEVERITY = "alertname", "severity"
ERROR_NAME = "DatasourceError"
"""What an alert about a rule that cannot be evaluated is called, in Grafana and here."""
UID_LABEL = "__alert_rule_uid__"
NEVER = "0001-01-01T00:00:00Z"
"""When what still fires ended."""

_DASHBOARD, _PANEL = "__dashboardUid__", "__panelId__"
_ORGANISATION = 1
_FNV_OFFSET, _FNV_PRIME, _FNV_MASK = 14695981039346656037, 1099511628211, (1 << 64) - 1
_SEPARATOR = 255


@dataclass(slots=True)
class Alert:
    """What is told of an instance; times are Unix seconds."""

    labels: dict[str, str]  # with alertname and the rule's uid
    annotations: dict[str, str]
    values: dict[str, float]
    starts: float
    ends: float | None = None  # None: it fires
    fingerprint: str = field(default="")

    def __post_init__(self) -> None:
        self.fingerprint = self.fingerprint or fingerprint(self.labels)

    @property
    def is_error(self) -> bool:
        """Whether it says that a rule cannot be evaluated."""
        return self.labels[ALERT_NAME] == ERROR_NAME and "rulename" in self.labels


def alert_of(instance: Instance) -> Alert:
    """What is told of an instance that fires, or of a rule's error."""
    labels = {**instance.labels, UID_LABEL: instance.uid, ALERT_NAME: instance.title}
    if instance.state == "error":
        labels |= {ALERT_NAME: ERROR_NAME, "rulename": instance.title}
    starts = instance.started if instance.state != "error" and instance.started else instance.since
    return Alert(labels, dict(instance.annotations), _finite(instance.values), starts)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Of a set of labels as Prometheus' libraries make it: FNV-1a over names and values in the names' order."""
    found = _FNV_OFFSET
    for name in sorted(labels):
        for byte in (*name.encode(), _SEPARATOR, *labels[name].encode("utf-8", "surrogatepass"), _SEPARATOR):
            found = (found ^ byte) * _FNV_PRIME & _FNV_MASK
    return f"{found:016x}"


def group_labels(names: Sequence[str], labels: Mapping[str, str]) -> dict[str, str]:
    """By which an alert is grouped: those of the names that it has."""
    if EVERY_LABEL in names:
        return _public(labels)
    return {name: labels[name] for name in names if name in labels}


def group_key(webhook: Webhook, labels: Mapping[str, str]) -> str:
    """A group's name, in Alertmanager's way of writing route and labels."""
    route = "{}" if not webhook.match else "{}/{" + ",".join(_quoted(text) for text in webhook.match) + "}"
    return f"{route}:{{{', '.join(f'{name}={_text(value)}' for name, value in sorted(labels.items()))}}}"


def payload(
    webhook: Webhook, group: Mapping[str, str], key: str, alerts: Sequence[Alert], external_url: str
) -> dict[str, Any]:
    """The message about these alerts of a group: what fires first, then what has resolved."""
    told, left_out = alerts[: webhook.max_alerts], max(len(alerts) - webhook.max_alerts, 0)
    common: dict[str, Any] = {
        "receiver": webhook.name,
        "status": "firing" if any(alert.ends is None for alert in alerts) else "resolved",
        "alerts": [_alert(alert, external_url) for alert in told],
        "groupLabels": dict(group),
        "commonLabels": _common([_public(alert.labels) for alert in told]),
        "commonAnnotations": _common([_public(alert.annotations) for alert in told]),
        "externalURL": external_url,
        "groupKey": key,
        "truncatedAlerts": left_out,
    }
    if webhook.form == "alertmanager":
        return common | {"version": "4"}
    common["alerts"] = [
        each | _more(alert, external_url) for each, alert in zip(common["alerts"], told, strict=True)
    ]  # fmt: skip
    return common | {
        "version": "1", "orgId": _ORGANISATION, "state": "alerting" if common["status"] == "firing" else "ok",
        "title": _title(common, alerts), "message": _message(common["alerts"]),
    }  # fmt: skip


def rfc3339(moment: float) -> str:
    """A time with its milliseconds, in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _alert(alert: Alert, external_url: str) -> dict[str, Any]:
    return {
        "status": _status(alert),
        "labels": _public(alert.labels),
        "annotations": _public(alert.annotations),
        "startsAt": rfc3339(alert.starts),
        "endsAt": NEVER if alert.ends is None else rfc3339(alert.ends),
        "generatorURL": f"{external_url}/alerts#{alert.labels.get(UID_LABEL, '')}" if external_url else "",
        "fingerprint": alert.fingerprint,
    }


def _more(alert: Alert, external_url: str) -> dict[str, Any]:
    """What Grafana says of an alert beyond Alertmanager."""
    values = _finite(alert.values)
    found: dict[str, Any] = {
        "silenceURL": "", "dashboardURL": "", "panelURL": "", "values": values or None,
        "valueString": _value_string(alert, values),
    }  # fmt: skip
    if not external_url:
        return found
    labels = sorted(f"{name}={value}" for name, value in _public(alert.labels).items())
    found["silenceURL"] = f"{external_url}/alerts?{urlencode([('matcher', label) for label in labels])}"
    uid, panel = alert.annotations.get(_DASHBOARD, ""), alert.annotations.get(_PANEL, "")
    if uid:
        found["dashboardURL"] = f"{external_url}/d/{quote(uid, safe='')}"
        if panel:
            # Grafana's name and the console's for one panel on the whole page.
            found["panelURL"] = f"{found['dashboardURL']}?{urlencode({'viewPanel': panel, 'view': panel})}"
    return found


def _title(message: Mapping[str, Any], alerts: Sequence[Alert]) -> str:
    firing = sum(alert.ends is None for alert in alerts)
    resolved = len(alerts) - firing
    head = message["status"].upper()
    if firing:
        head += f":{firing}" + (f", RESOLVED:{resolved}" if resolved else "")
    group, common = message["groupLabels"], message["commonLabels"]
    rest = " ".join(common[name] for name in _in_order(common) if name not in group)
    words = f"[{head}] {' '.join(group[name] for name in _in_order(group))} "
    return words + (f"({rest})" if len(common) > len(group) else "")


def _message(alerts: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for status in ("firing", "resolved"):
        listed = "".join(_paragraph(alert) for alert in alerts if alert["status"] == status)
        if listed:
            parts.append(f"**{status.capitalize()}**\n{listed}")
    return "\n\n".join(parts)


def _paragraph(alert: Mapping[str, Any]) -> str:
    values = ", ".join(f"{ref}={_number(value)}" for ref, value in sorted((alert["values"] or {}).items()))
    lines = ["", f"Value: {values or '[no value]'}", "Labels:"]
    lines += [f" - {name} = {alert['labels'][name]}" for name in _in_order(alert["labels"])]
    lines.append("Annotations:")
    lines += [f" - {name} = {alert['annotations'][name]}" for name in _in_order(alert["annotations"])]
    for word, key in (("Source", "generatorURL"), ("Silence", "silenceURL"), ("Dashboard", "dashboardURL"),
                      ("Panel", "panelURL")):  # fmt: skip
        if alert[key]:
            lines.append(f"{word}: {alert[key]}")
    return "\n".join(lines) + "\n"


def _value_string(alert: Alert, values: Mapping[str, float]) -> str:
    labels = ", ".join(
        f"{name}={value}" for name, value in sorted(_public(alert.labels).items()) if name != ALERT_NAME
    )  # fmt: skip
    return ", ".join(
        f"[ var='{ref}' labels={{{labels}}} value={_number(value)} ]" for ref, value in sorted(values.items())
    )  # fmt: skip


def _status(alert: Alert) -> str:
    return "firing" if alert.ends is None else "resolved"


def _public(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if not (name.startswith("__") and name.endswith("__"))}


def _common(all_of_them: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not all_of_them:
        return {}
    first, *others = all_of_them
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _in_order(labels: Iterable[str]) -> list[str]:
    """By name, alertname first."""
    return sorted(labels, key=lambda name: (name != ALERT_NAME, name))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """JSON has no NaN and no infinity."""
    return {ref: value for ref, value in values.items() if math.isfinite(value)}


def _number(value: float) -> str:
    """As Go writes a float."""
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(matcher: str) -> str:
    name, _, value = matcher.partition("=")
    pattern = value.startswith("~")
    return f"{name}{'=~' if pattern else '='}{_text(value.removeprefix('~') if pattern else value)}"
