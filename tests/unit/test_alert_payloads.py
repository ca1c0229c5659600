"""Messages to webhooks: field by field as Grafana and Alertmanager write them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dashboards.alerts.payloads import (
    NEVER,
    Alert,
    alert_of,
    fingerprint,
    group_key,
    group_labels,
    payload,
    rfc3339,
)
from dashboards.alerts.states import Instance
from dashboards.alerts.webhook_settings import SecretUnreadable, Webhook
from flowtide.settings import Settings, SettingsError, load, reveal

STARTS = 1_763_800_200.5  # 2025-11-22T08:30:00.500Z
SITE = "http://noc.example"

# Fields of Grafana's documentation of the webhook contact point, and of Alertmanager's of <webhook_config>.
GRAFANA = {
    "receiver", "status", "orgId", "alerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL",
    "version", "groupKey", "truncatedAlerts", "title", "state", "message",
}  # fmt: skip
GRAFANA_ALERT = {
    "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint", "silenceURL",
    "dashboardURL", "panelURL", "values", "valueString",
}  # fmt: skip
ALERTMANAGER = GRAFANA - {"orgId", "title", "state", "message"}
ALERTMANAGER_ALERT = GRAFANA_ALERT - {"silenceURL", "dashboardURL", "panelURL", "values", "valueString"}


def webhook(**more: Any) -> Webhook:
    return Webhook(**{"name": "pager", "url": "https://pager.example/in", **more})


def alert(service: str = "fixed", **more: Any) -> Alert:
    labels = {"alertname": "R1 jump", "service": service, "severity": "warn", "__alert_rule_uid__": "flowtide-r1"}
    annotations = {"summary": "Q2 rose", "__dashboardUid__": "noc", "__panelId__": "4"}
    return Alert(**{"labels": labels, "annotations": annotations, "values": {"Q": 36.5, "A": 1.0}, "starts": STARTS,
                    **more})  # fmt: skip


def message(form: str, alerts: list[Alert], site: str = SITE, **more: Any) -> dict[str, Any]:
    group = {"alertname": "R1 jump", "service": "fixed"}
    found = payload(webhook(form=form, **more), group, "{}:{...}", alerts, site)
    return json.loads(json.dumps(found, allow_nan=False))  # type: ignore[no-any-return]


def test_fingerprints_are_those_of_prometheus_libraries() -> None:
    # From the tests of Grafana's own notifiers.
    assert fingerprint({"alertname": "alert1", "lbl1": "val1"}) == "fac0861a85de433a"
    assert fingerprint({"lbl1": "val2", "alertname": "alert1"}) == "fab6861a85d5eeb5"
    assert fingerprint({}) == "cbf29ce484222325"  # the offset basis of FNV-1a with 64 bits


def test_the_form_of_grafana_has_all_its_fields_and_no_other() -> None:
    found = message("grafana", [alert()])
    assert found.keys() == GRAFANA
    assert found["alerts"][0].keys() == GRAFANA_ALERT
    assert (found["version"], found["orgId"], found["state"], found["status"]) == ("1", 1, "alerting", "firing")
    assert found["title"] == "[FIRING:1] R1 jump fixed (warn)"
    assert found["alerts"][0] == {
        "status": "firing",
        "labels": {"alertname": "R1 jump", "service": "fixed", "severity": "warn"},
        "annotations": {"summary": "Q2 rose"},
        "startsAt": "2025-11-22T08:30:00.500Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://noc.example/alerts#flowtide-r1",
        "fingerprint": alert().fingerprint,
        "silenceURL": "http://noc.example/alerts?matcher=alertname%3DR1+jump&matcher=service%3Dfixed"
        "&matcher=severity%3Dwarn",
        "dashboardURL": "http://noc.example/d/noc",
        "panelURL": "http://noc.example/d/noc?viewPanel=4&view=4",
        "values": {"A": 1.0, "Q": 36.5},
        "valueString": "[ var='A' labels={service=fixed, severity=warn} value=1 ],"
        " [ var='Q' labels={service=fixed, severity=warn} value=36.5 ]",
    }
    assert found["message"] == (
        "**Firing**\n\nValue: A=1, Q=36.5\nLabels:\n - alertname = R1 jump\n - service = fixed\n - severity = warn\n"
        "Annotations:\n - summary = Q2 rose\nSource: http://noc.example/alerts#flowtide-r1\n"
        f"Silence: {found['alerts'][0]['silenceURL']}\nDashboard: http://noc.example/d/noc\n"
        "Panel: http://noc.example/d/noc?viewPanel=4&view=4\n"
    )


def test_the_form_of_alertmanager_has_all_its_fields_and_no_other() -> None:
    found = message("alertmanager", [alert(), alert("mobile", ends=STARTS + 60)])
    assert found.keys() == ALERTMANAGER
    assert [each.keys() for each in found["alerts"]] == [ALERTMANAGER_ALERT] * 2
    assert (found["version"], found["status"], found["receiver"]) == ("4", "firing", "pager")
    assert found["commonLabels"] == {"alertname": "R1 jump", "severity": "warn"}
    assert found["commonAnnotations"] == {"summary": "Q2 rose"}
    assert [(each["status"], each["endsAt"]) for each in found["alerts"]] == [
        ("firing", NEVER), ("resolved", "2025-11-22T08:31:00.500Z"),
    ]  # fmt: skip


def test_when_all_have_resolved_the_message_is_resolved() -> None:
    found = message("grafana", [alert(ends=STARTS + 1)])
    assert (found["status"], found["state"]) == ("resolved", "ok")
    assert found["title"] == "[RESOLVED] R1 jump fixed (warn)"
    assert found["message"].startswith("**Resolved**\n")
    both = message("grafana", [alert(), alert("mobile", ends=STARTS + 1)])
    assert both["title"].startswith("[FIRING:1, RESOLVED:1] R1 jump fixed ")
    assert "\n\n\n**Resolved**\n" in both["message"]


def test_what_does_not_fit_is_counted() -> None:
    found = message("alertmanager", [alert(str(number)) for number in range(7)], max_alerts=3)
    assert (len(found["alerts"]), found["truncatedAlerts"]) == (3, 4)


def test_without_an_address_of_the_console_there_are_no_links() -> None:
    found = message("grafana", [alert()], site="")
    links = {key for key, value in found["alerts"][0].items() if key.endswith("URL") and value}
    assert (links, found["externalURL"]) == (set(), "")


def test_values_that_are_no_numbers_are_left_out() -> None:
    found = message("grafana", [alert(values={"Q": math.nan, "E": math.inf, "N": 10_000.0})])
    assert found["alerts"][0]["values"] == {"N": 10_000.0}
    assert message("grafana", [alert(values={"Q": math.nan})])["alerts"][0]["values"] is None


def test_alerts_are_grouped_by_the_labels_they_have() -> None:
    labels = alert().labels
    assert group_labels(("alertname", "exporter"), labels) == {"alertname": "R1 jump"}
    assert group_labels(("...",), labels) == {"alertname": "R1 jump", "service": "fixed", "severity": "warn"}
    assert group_labels((), labels) == {}
    # As Alertmanager writes a route without and with matchers, and a label with a quote in it.
    assert group_key(webhook(), {"service": 'a"b', "alertname": "x"}) == '{}:{alertname="x", service="a\\"b"}'
    assert group_key(webhook(match=("rule=~R[01]", "service=fixed")), {}) == '{}/{rule=~"R[01]",service="fixed"}:{}'


def test_an_instance_is_told_by_its_title_and_a_rules_error_by_grafanas_name() -> None:
    instance = Instance("u", "R1", "R1 jump", {"service": "fixed"}, "firing", 50.0, {"summary": "s"}, {"Q": 1.0},
                        started=40.0)  # fmt: skip
    told = alert_of(instance)
    assert told.labels == {"service": "fixed", "alertname": "R1 jump", "__alert_rule_uid__": "u"}
    assert (told.starts, told.ends, told.is_error) == (40.0, None, False)
    error = alert_of(Instance("u", "R1", "R1 jump", {"severity": "warn"}, "error", 50.0))
    assert (error.labels["alertname"], error.labels["rulename"], error.is_error) == ("DatasourceError", "R1 jump", True)
    assert error.starts == 50.0


def test_times_are_rfc_3339_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_767_225_600.25) == "2026-01-01T00:00:00.250Z"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"url": "ftp://pager.example"}, "http"),
        ({"url": "https://u:geheim@pager.example"}, "credential"),
        ({"url": "https://pager.example/a b"}, "address"),
        ({"url": "file:"}, "names nothing"),
        ({"bearer_token": "env:FLOWTIDE_TOKEN"}, "FLOWTIDE_"),
        ({"bearer_token": "geheim", "user": "u"}, "one of"),
        ({"password": "geheim"}, "needs its user"),
        ({"headers": {"Host": "x"}}, "Host"),
        ({"headers": {"X-Key": "geheim\r\nX-More: 1"}}, "printable"),
        ({"repeat_interval_seconds": 10}, "no less"),
        ({"match": ("severity",)}, "label=value"),
        ({"group_by": ("a b",)}, "no label"),
        ({"name": "a/b"}, "pattern"),
        ({"form": "slack"}, "grafana"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_without_their_secrets(more: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError) as refused:
        webhook(**more)
    text = str(refused.value.errors(include_url=False, include_input=False, include_context=False))
    assert word in text
    assert "geheim" not in text


def test_secrets_are_in_no_text_of_the_settings() -> None:
    chosen = webhook(url="https://pager.example/T0/geheim1", bearer_token="geheim2", headers={"X-Key": "geheim3"})
    assert "geheim" not in f"{chosen} {chosen!r} {chosen.model_dump()} {chosen.model_dump_json()}"
    assert chosen.credentials() == {"X-Key": "geheim3", "Authorization": "Bearer geheim2"}
    assert chosen.address().path == "/T0/geheim1"


def test_secrets_come_from_files_and_the_environment_when_they_are_needed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "token"
    chosen = webhook(bearer_token=f"file:{place}", url="env:PAGER_URL")
    with pytest.raises(SecretUnreadable, match=r"webhook pager: bearer_token: .*token: No such file"):
        chosen.credentials()
    with pytest.raises(SecretUnreadable, match="the environment has no PAGER_URL"):
        chosen.address()
    place.write_text("first\n")
    assert chosen.credentials()["Authorization"] == "Bearer first"
    place.write_text("second\n")
    assert chosen.credentials()["Authorization"] == "Bearer second"
    monkeypatch.setenv("PAGER_URL", "http://[::1]:9/x?y=1")
    assert chosen.address().port == 9
    monkeypatch.setenv("PAGER_URL", "gopher://geheim")
    with pytest.raises(SecretUnreadable) as refused:
        chosen.address()
    assert "geheim" not in str(refused.value)
    place.write_text("two\nlines")
    with pytest.raises(SecretUnreadable, match="printable"):
        chosen.credentials()


def test_webhooks_of_a_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "flowtide.toml"
    file.write_text("""
[alerts]
external_url = "https://noc.example/"
[[alerts.webhooks]]
name = "pager"
url = "https://pager.example/T0/geheim"
least_severity = "page"
headers = { "X-Key" = "geheim" }
[[alerts.webhooks]]
name = "chat"
url = "env:CHAT_URL"
form = "alertmanager"
""")
    found = load(file)
    assert found.alerts.external_url == "https://noc.example"
    assert [(one.name, one.form, one.least_severity) for one in found.alerts.webhooks] == [
        ("pager", "grafana", "page"), ("chat", "alertmanager", "notice"),
    ]  # fmt: skip
    assert "geheim" not in repr(found)
    # What a child process is given on its standard input is the same again.
    assert Settings(**json.loads(reveal(found))).alerts.webhooks == found.alerts.webhooks
    monkeypatch.setenv("FLOWTIDE_ALERTS__WEBHOOKS", '[{"name": "one", "url": "http://127.0.0.1:9/"}]')
    assert [one.name for one in load(file).alerts.webhooks] == ["one"]
    for text in ('{"name": "a", "url": "http://u:geheim@x/"}', '{"name": "a", "url": "geheim"}',
                 '{"name": "a", "url": "http://x/"}, {"name": "a", "url": "http://geheim/"}'):  # fmt: skip
        monkeypatch.setenv("FLOWTIDE_ALERTS__WEBHOOKS", f"[{text}]")
        with pytest.raises(SettingsError) as refused:
            load(file)
        assert "alerts.webhooks" in str(refused.value)
        assert "geheim" not in str(refused.value)
