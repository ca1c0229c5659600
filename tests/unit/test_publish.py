"""Publishing to a stand-in of Grafana: as strict as the real one was seen to be, and it counts what is written."""

import base64
import copy
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from dashboards import library
from dashboards.publish import Credential, DataSource, PublishError, credential_from, publish
from flowtide.cli import app

TOKEN = "glsa_S3cretOfNobody"
ADMIN = ("admin", "pa55w0rd-of-grafana")
STORE = DataSource("clickhouse.example", 8443, secure=True, password="st0re-password")
PLUGIN: dict[str, Any] = {"id": "grafana-clickhouse-datasource", "type": "datasource", "info": {"version": "4.20.0"}}


class RefusedError(Exception):
    """Ends a request with this status and body."""

    def __init__(self, code: int, message: str | None, **more: object) -> None:
        self.code, self.body = code, None if message is None else {"message": message, **more}
        super().__init__(message)


class StandIn:
    """What of Grafana's HTTP API publishing touches: ids and versions are the server's, and are in what it returns."""

    def __init__(self, version: str = "13.2.2") -> None:
        self.version, self.plugins = version, [{"id": "text", "type": "panel"}, PLUGIN]
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.intervals: dict[tuple[str, str], int] = {}
        self.provenance = ""
        self.secrets: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.role = "Admin"
        self._ids = iter(range(1, 1000))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path))
                try:
                    outer._admit(self.path, self.headers.get("Authorization", ""))
                    outer.provenance = "" if "X-Disable-Provenance" in self.headers else "api"
                    status, found = 200, outer._route(self.command, self.path, json.loads(body) if body else None)
                except RefusedError as refused:
                    status, found = refused.code, refused.body
                # As Grafana: a rule that is not there is 404 without a word.
                payload = b"" if found is None else json.dumps(found).encode()
                self.send_response(204 if found is None and status == 200 else status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def do_DELETE(self) -> None:
                self._answer()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET"]

    def _admit(self, path: str, said: str) -> None:
        basic = "Basic " + base64.b64encode(":".join(ADMIN).encode()).decode()
        if path != "/api/health" and said not in (f"Bearer {TOKEN}", basic):
            raise RefusedError(401, "Invalid API key", messageId="api-key.invalid", statusCode=401)

    def _route(self, method: str, path: str, body: Any) -> Any:
        if method != "GET" and self.role != "Admin":
            raise RefusedError(
                403, "You'll need additional permissions to perform this action.", accessErrorId="ACE0815"
            )
        for verb, pattern, does in self._routes():
            if verb == method and (found := re.fullmatch(pattern, path)):
                return does(*map(unquote, found.groups()), *([body] if method in ("POST", "PUT") else []))
        raise RefusedError(404, "Not found")  # numeric ids of data sources too: switched off since 13.0

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("GET", "/api/health", lambda: {"commit": "ff85ec33c5", "database": "ok", "version": self.version}),
            ("GET", r"/api/plugins\?embedded=0", lambda: self.plugins),
            ("GET", "/api/folders", lambda: [{"id": f["id"], "uid": f["uid"], "title": f["title"]}
                                             for f in self.folders.values()]),
            ("GET", "/api/folders/([^/?]+)", lambda uid: self._one(self.folders, uid, "folder not found")),
            ("POST", "/api/folders", self._make_folder),
            ("GET", "/api/datasources/uid/([^/?]+)", self._source),
            ("GET", "/api/datasources/name/([^/?]+)", self._source_by_name),
            ("POST", "/api/datasources", self._make_source),
            ("PUT", "/api/datasources/uid/([^/?]+)", self._change_source),
            ("GET", "/api/dashboards/uid/([^/?]+)", self._dashboard),
            ("POST", "/api/dashboards/db", self._save_dashboard),
            ("GET", "/api/v1/provisioning/alert-rules/([^/?]+)", self._rule),
            ("POST", "/api/v1/provisioning/alert-rules", self._make_rule),
            ("PUT", "/api/v1/provisioning/alert-rules/([^/?]+)", self._change_rule),
            ("DELETE", "/api/v1/provisioning/alert-rules/([^/?]+)", self._drop_rule),
            ("GET", "/api/v1/provisioning/folder/([^/?]+)/rule-groups/([^/?]+)", self._group),
            ("PUT", "/api/v1/provisioning/folder/([^/?]+)/rule-groups/([^/?]+)", self._change_group),
        ]  # fmt: skip

    @staticmethod
    def _one(kept: dict[str, dict[str, Any]], uid: str, message: str) -> dict[str, Any]:
        if uid not in kept:
            raise RefusedError(404, message, status="not-found")
        return kept[uid]

    def _make_folder(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["uid"] in self.folders or body["title"] in {folder["title"] for folder in self.folders.values()}:
            raise RefusedError(409, "a folder with the same name already exists in the current location")
        return self.folders.setdefault(
            body["uid"], {"id": next(self._ids), "uid": body["uid"], "title": body["title"], "version": 1}
        )

    def _source(self, uid: str) -> dict[str, Any]:
        source = self._one(self.sources, uid, "Data source not found")
        return source | {"secureJsonFields": dict.fromkeys(self.secrets.get(uid, {}), True)}

    def _source_by_name(self, name: str) -> dict[str, Any]:
        for source in self.sources.values():
            if source["name"] == name:
                return self._source(source["uid"])
        raise RefusedError(404, "Data source not found")

    def _make_source(self, body: dict[str, Any]) -> dict[str, Any]:
        if not all(body.get(key) for key in ("name", "type", "access")) or "id" in body:
            raise RefusedError(400, "bad request data")
        if body["type"] not in {plugin["id"] for plugin in self.plugins}:
            raise RefusedError(400, "data source plugin not found")
        if body["uid"] in self.sources or body["name"] in {source["name"] for source in self.sources.values()}:
            raise RefusedError(409, "data source with the same name already exists")
        self.secrets[body["uid"]] = body.pop("secureJsonData", {})
        defaults = {"orgId": 1, "url": "", "user": "", "database": "", "basicAuth": False, "isDefault": False,
                    "typeLogoUrl": "public/plugins/logo.svg", "readOnly": False}  # fmt: skip
        self.sources[body["uid"]] = {**defaults, **body, "id": next(self._ids), "version": 1}
        return {"id": self.sources[body["uid"]]["id"], "message": "Datasource added", "name": body["name"]}

    def _change_source(self, uid: str, body: dict[str, Any]) -> dict[str, Any]:
        before = self._one(self.sources, uid, "Data source not found")
        if before["readOnly"]:
            raise RefusedError(403, "Cannot update read-only data source")
        if not all(body.get(key) for key in ("name", "type", "access")) or "id" in body or body["uid"] != uid:
            raise RefusedError(400, "bad request data")
        if body.get("version", before["version"]) != before["version"]:
            raise RefusedError(409, "Datasource has already been updated by someone else. Please reload and try again")
        self.secrets[uid] |= body.pop("secureJsonData", {})  # what is not said is kept
        self.sources[uid] = {**body, "id": before["id"], "version": before["version"] + 1}
        return {"message": "Datasource updated"}

    def _dashboard(self, uid: str) -> dict[str, Any]:
        return copy.deepcopy(self._one(self.dashboards, uid, "Dashboard not found"))

    def _save_dashboard(self, body: dict[str, Any]) -> dict[str, Any]:
        dashboard, folder, overwrite = body["dashboard"], body.get("folderUid", ""), body.get("overwrite", False)
        if not dashboard.get("title"):
            raise RefusedError(400, "Dashboard title cannot be empty", status="empty-name")
        if folder not in self.folders:
            raise RefusedError(400, "folder not found")
        if dashboard.get("id") is not None:
            raise RefusedError(404, "Dashboard not found", status="not-found")
        before = self.dashboards.get(dashboard["uid"])
        if before is not None and before["meta"].get("provisioned"):
            raise RefusedError(400, "Cannot save provisioned dashboard")
        place = (folder, dashboard["title"])
        same_title = [
            uid
            for uid, one in self.dashboards.items()
            if uid != dashboard["uid"] and (one["meta"]["folderUid"], one["dashboard"]["title"]) == place
        ]
        if same_title and not overwrite:
            raise RefusedError(412, "A dashboard with the same name in the folder already exists", status="name-exists")
        if same_title:
            del self.dashboards[same_title[0]]  # what an overwrite does to it
        version = before["dashboard"]["version"] if before else 0
        if before is not None and not overwrite and dashboard.get("version") != version:
            raise RefusedError(412, "The dashboard has been changed by someone else", status="version-mismatch")
        number = before["dashboard"]["id"] if before else next(self._ids)
        kept = copy.deepcopy(dashboard) | {"id": number, "version": version + 1}
        title = self.folders[folder]["title"]
        meta = {
            "folderUid": folder,
            "folderTitle": title,
            "version": version + 1,
            "provisioned": False,
            "canEdit": True,
        }
        self.dashboards[dashboard["uid"]] = {"meta": meta, "dashboard": kept}
        return {"id": number, "slug": "x", "status": "success", "uid": dashboard["uid"], "version": version + 1}

    def _rule(self, uid: str) -> dict[str, Any]:
        if uid not in self.rules:
            raise RefusedError(404, None)
        return copy.deepcopy(self.rules[uid])

    def _stored(self, body: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        """As a rule comes back: what it does not know is gone, what it was not told has Grafana's default."""
        known = {"uid", "folderUID", "ruleGroup", "title", "condition", "data", "noDataState", "execErrState", "for",
                 "annotations", "labels", "isPaused", "notification_settings"}  # fmt: skip
        wanted = ("title", "condition", "data", "noDataState", "execErrState", "for", "folderUID", "ruleGroup")
        if missing := [name for name in wanted if name not in body]:
            raise RefusedError(400, f"invalid alert rule: {missing[0]}")
        if body["folderUID"] not in self.folders:
            raise RefusedError(400, "folder does not exist")
        same = [uid for uid, rule in self.rules.items() if uid != body["uid"]
                and (rule["folderUID"], rule["title"]) == (body["folderUID"], body["title"])]  # fmt: skip
        if same:
            raise RefusedError(400, "a conflicting alert rule is found: rule title should be unique")
        if before and before.get("provenance", "") not in ("", self.provenance):
            raise RefusedError(409, f"cannot change provenance from '{before['provenance']}' to '{self.provenance}'")
        kept = copy.deepcopy({name: value for name, value in body.items() if name in known})
        for query in kept["data"]:
            query.setdefault("queryType", "")
            query["model"] = {"intervalMs": 1000, "maxDataPoints": 43200, **query["model"]}
            if query["datasourceUid"] == "__expr__":
                query["relativeTimeRange"] = {"from": 0, "to": 0}
        number = before["id"] if before else next(self._ids)
        told = {"provenance": self.provenance} if self.provenance else {}
        self.intervals.setdefault((kept["folderUID"], kept["ruleGroup"]), 60)
        return {"isPaused": False, **kept, "id": number, "orgID": 1, "updated": "2026-11-22T20:00:00Z", **told}

    def _make_rule(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["uid"] in self.rules:
            raise RefusedError(409, "rule uid exists")
        return self.rules.setdefault(body["uid"], self._stored(body, None))

    def _change_rule(self, uid: str, body: dict[str, Any]) -> dict[str, Any]:
        self.rules[uid] = self._stored({**body, "uid": uid}, self._rule(uid))
        return self.rules[uid]

    def _drop_rule(self, uid: str) -> None:
        if self._rule(uid).get("provenance", "") not in ("", self.provenance):
            raise RefusedError(409, "provenance")
        del self.rules[uid]

    def _group(self, folder: str, name: str) -> dict[str, Any]:
        rules = [copy.deepcopy(rule) for rule in self.rules.values() if (rule["folderUID"], rule["ruleGroup"])
                 == (folder, name)]  # fmt: skip
        if not rules:
            raise RefusedError(404, "rule group not found")
        return {"title": name, "folderUid": folder, "interval": self.intervals[folder, name], "rules": rules}

    def _change_group(self, folder: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["interval"] % 10:
            raise RefusedError(400, "interval should be a multiple of 10")
        for rule in self._group(folder, name)["rules"]:
            del self.rules[rule["uid"]]  # what the group does not name is deleted
        self.rules |= {rule["uid"]: self._stored(rule, rule) for rule in body["rules"]}
        self.intervals[folder, name] = body["interval"]
        return body


@pytest.fixture
def grafana() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


def dashboard(uid: str, title: str, *panels: str) -> dict[str, Any]:
    return {
        "uid": uid, "title": title, "schemaVersion": 38, "annotations": {"list": []}, "tags": ["flowtide"],
        "panels": [
            {"id": at, "type": "timeseries", "title": name, "gridPos": {"x": 0, "y": 8 * at, "w": 24, "h": 8},
             "targets": [{"refId": "A", "rawSql": "SELECT time,\n  octets\nFROM v_buckets\nORDER BY time"}]}
            for at, name in enumerate(panels, 1)
        ],
    }  # fmt: skip


OURS = {"live": dashboard("live", "NOC live", "Bits", "QUIC share"), "trust": dashboard("trust", "Trust", "Lag")}


def push(
    url: str, dashboards: dict[str, dict[str, Any]] = OURS, source: DataSource = STORE, *,
    credential: Credential = TOKEN, dry_run: bool = False, rules: dict[str, Any] | None = None,
) -> tuple[bool, str]:  # fmt: skip
    said: list[str] = []
    return publish(url, dashboards, source, credential, said.append, dry_run=dry_run, rules=rules), "\n".join(said)


@pytest.mark.parametrize("credential", [TOKEN, ADMIN])
def test_the_first_push_writes_all_and_the_second_nothing(grafana: StandIn, credential: Credential) -> None:
    wrote, said = push(grafana.url, credential=credential)
    assert wrote
    assert [line.split()[0] for line in said.splitlines() if " new " in line] == [
        "folder",
        "data",
        "dashboard",
        "dashboard",
    ]
    assert "13.2.2" in said
    assert grafana.writes == [("POST", "/api/folders"), ("POST", "/api/datasources"), ("POST", "/api/dashboards/db"),
                              ("POST", "/api/dashboards/db")]  # fmt: skip
    assert {uid: one["meta"]["folderUid"] for uid, one in grafana.dashboards.items()} == {
        "live": "flowtide", "trust": "flowtide",
    }  # fmt: skip
    source = grafana.sources["flowtide-clickhouse"]
    assert source["type"] == "grafana-clickhouse-datasource" and source["isDefault"] is False
    assert source["jsonData"] == {
        "host": "clickhouse.example", "server": "clickhouse.example", "port": 8443, "protocol": "http", "secure": True,
        "username": "grafana", "defaultDatabase": "flowtide",
    }  # fmt: skip
    assert grafana.secrets["flowtide-clickhouse"] == {"password": "st0re-password"}
    grafana.requests.clear()
    wrote, said = push(grafana.url, credential=credential)
    assert not wrote and not grafana.writes
    assert said.splitlines()[-1] == "nothing to do"
    assert said.count(" same ") == 4


def test_the_dashboards_that_are_shipped_are_pushed_once(grafana: StandIn) -> None:
    shipped = library.dashboards()
    assert len(shipped) >= 3
    assert push(grafana.url, shipped)[0]
    for uid, there in grafana.dashboards.items():
        assert there["dashboard"] | {"id": 0, "version": 0} == shipped[uid] | {"id": 0, "version": 0}
    assert push(grafana.url, shipped)[0] is False


def test_a_dry_run_says_the_same_and_writes_nothing(grafana: StandIn) -> None:
    would, said = push(grafana.url, dry_run=True)
    assert would and not grafana.writes
    _, really = push(grafana.url)
    assert said.splitlines()[:-1] == really.splitlines()[:-1]


def test_a_changed_panel_is_shown_and_only_its_dashboard_is_written(grafana: StandIn) -> None:
    push(grafana.url)
    grafana.requests.clear()
    changed = copy.deepcopy(OURS)
    changed["live"]["panels"][1]["targets"][0]["rawSql"] = "SELECT time,\n  packets\nFROM v_buckets\nORDER BY time"
    wrote, said = push(grafana.url, changed)
    assert wrote and grafana.writes == [("POST", "/api/dashboards/db")]
    where = "panels[2 'QUIC share'].targets[0].rawSql"
    assert "changed live 'NOC live': panel 2 'QUIC share'\n" in said
    assert f"    - {where}:   octets\n    + {where}:   packets\n" in said
    assert "FROM v_buckets" not in said  # lines of the query that are the same are not shown
    assert grafana.dashboards["live"]["dashboard"]["version"] == 2
    assert grafana.dashboards["live"]["dashboard"]["panels"][1]["targets"][0]["rawSql"].count("packets") == 1
    assert push(grafana.url, changed)[0] is False


def test_what_somebody_changed_there_is_shown_and_put_right(grafana: StandIn) -> None:
    push(grafana.url)
    theirs = grafana.dashboards["live"]["dashboard"]
    theirs["panels"].insert(0, {"id": 77, "type": "text", "title": "Call me", "options": {"content": "x\n" * 40}})
    theirs["title"] = "NOC live (old)"
    _, said = push(grafana.url)
    assert "changed live 'NOC live': title, panel 77 'Call me' (goes)" in said
    assert "- panels[77 'Call me'].options.content: x" in said and "more lines" in said
    assert len(said.splitlines()) < 25
    assert grafana.dashboards["live"]["dashboard"]["panels"] == OURS["live"]["panels"]
    assert push(grafana.url)[0] is False


def test_what_a_newer_grafana_adds_is_no_difference(grafana: StandIn) -> None:
    push(grafana.url)
    kept = grafana.dashboards["live"]["dashboard"]
    kept["schemaVersion"] = 42
    kept["annotations"]["list"] = [{"builtIn": 1, "name": "Annotations & Alerts", "type": "dashboard"}]
    kept["panels"][0]["pluginVersion"] = "13.2.2"
    kept["preload"] = False
    wrote, said = push(grafana.url)
    assert not wrote, said
    kept["schemaVersion"] = 36  # an older one is
    assert push(grafana.url)[0] is True


def test_a_folder_of_our_title_made_by_others_is_used(grafana: StandIn) -> None:
    grafana.folders["afx81"] = {"id": 500, "uid": "afx81", "title": "Flowtide", "version": 1}
    wrote, _ = push(grafana.url)
    assert wrote and ("POST", "/api/folders") not in grafana.writes
    assert {one["meta"]["folderUid"] for one in grafana.dashboards.values()} == {"afx81"}
    assert push(grafana.url)[1].endswith("nothing to do")


def test_a_dashboard_moved_elsewhere_comes_back(grafana: StandIn) -> None:
    push(grafana.url)
    grafana.folders["other"] = {"id": 501, "uid": "other", "title": "Attic", "version": 1}
    grafana.dashboards["trust"]["meta"] |= {"folderUid": "other", "folderTitle": "Attic"}
    _, said = push(grafana.url)
    assert "changed trust 'Trust': folder\n    - in folder 'Attic'\n" in said
    assert grafana.dashboards["trust"]["meta"]["folderUid"] == "flowtide"


def test_another_dashboard_of_our_title_is_not_overwritten(grafana: StandIn) -> None:
    push(grafana.url, {"trust": OURS["trust"]})
    foreign = dashboard("theirs", "NOC live", "Mine")
    grafana.dashboards["theirs"] = {"meta": {"folderUid": "flowtide"}, "dashboard": foreign | {"id": 900, "version": 3}}
    with pytest.raises(PublishError, match=r"writing the dashboard live.*412.*same name.*0 of 1 changes"):
        push(grafana.url)
    assert grafana.dashboards["theirs"]["dashboard"]["panels"] == foreign["panels"]


def test_what_comes_from_files_there_is_left(grafana: StandIn) -> None:
    push(grafana.url)
    grafana.requests.clear()
    grafana.sources["flowtide-clickhouse"]["readOnly"] = True
    grafana.dashboards["live"]["meta"]["provisioned"] = True
    assert push(grafana.url)[0] is False  # the same: nothing to say
    grafana.dashboards["live"]["dashboard"]["title"] = "Live"
    grafana.sources["flowtide-clickhouse"]["jsonData"]["port"] = 1
    wrote, said = push(grafana.url)
    assert not wrote and not grafana.writes
    assert said.count("comes from a file there and is left") == 2


def test_a_data_source_that_differs_keeps_its_name_its_other_settings_and_its_password(grafana: StandIn) -> None:
    push(grafana.url)
    source = grafana.sources["flowtide-clickhouse"]
    source["jsonData"] |= {"port": 8123, "tlsSkipVerify": True}
    source["name"] = "Our ClickHouse"
    grafana.secrets["flowtide-clickhouse"]["password"] = "of-somebody"
    _, said = push(grafana.url)
    assert "- jsonData.port: 8123" in said and "+ jsonData.port: 8443" in said and "tlsSkipVerify" not in said
    after = grafana.sources["flowtide-clickhouse"]
    assert after["jsonData"]["port"] == 8443 and after["jsonData"]["tlsSkipVerify"] is True
    assert after["name"] == "Our ClickHouse" and after["version"] == 2
    assert grafana.secrets["flowtide-clickhouse"] == {"password": "of-somebody"}
    assert push(grafana.url)[0] is False
    asked = DataSource("clickhouse.example", 8443, secure=True, password="new-one", set_password=True)
    wrote, said = push(grafana.url, source=asked)
    assert wrote and grafana.secrets["flowtide-clickhouse"] == {"password": "new-one"} and "new-one" not in said


def test_a_password_that_grafana_lacks_is_given(grafana: StandIn) -> None:
    push(grafana.url, source=DataSource("clickhouse.example", 8443, secure=True))
    assert grafana.secrets["flowtide-clickhouse"] == {}
    assert push(grafana.url)[0] is True
    assert grafana.secrets["flowtide-clickhouse"] == {"password": "st0re-password"}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("type", "of the type 'prometheus': delete it"),
        ("name", "has a data source 'Flowtide' with the uid 'P1234'"),
        ("plugin", "grafana cli plugins install grafana-clickhouse-datasource"),
        ("version", "is Grafana 9.3.16; these dashboards need 9.4 or later"),
        ("role", "You'll need additional permissions.*role Admin"),
    ],
)
def test_what_stands_in_the_way_is_told_before_anything_is_written(grafana: StandIn, what: str, said: str) -> None:
    if what == "type":
        grafana.sources["flowtide-clickhouse"] = {"uid": "flowtide-clickhouse", "name": "x", "type": "prometheus"}
    elif what == "name":
        grafana.sources["P1234"] = {"uid": "P1234", "name": "Flowtide", "type": PLUGIN["id"]}
    elif what == "plugin":
        grafana.plugins = [{"id": "text"}]
    elif what == "version":
        grafana.version = "9.3.16"
    else:
        grafana.role = "Editor"
    with pytest.raises(PublishError, match=said):
        push(grafana.url)
    assert not grafana.folders and not grafana.dashboards and len(grafana.sources) <= 1


def test_a_wrong_credential_is_refused_and_shown_nowhere(grafana: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(0),
        pytest.raises(PublishError, match=r"Unauthorized: the credential is not accepted") as caught,
    ):
        push(grafana.url, credential="glsa_expired-and-secret")
    assert "GRAFANA_TOKEN" in str(caught.value)
    assert "glsa_expired-and-secret" not in str(caught.value) + caplog.text
    assert not grafana.writes


def test_no_secret_is_in_any_output(
    grafana: StandIn, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(0):
        _, said = push(grafana.url)
        _, again = push(grafana.url, credential=ADMIN)
    written = said + again + caplog.text + "".join(capfd.readouterr()) + repr(STORE)
    for secret in (TOKEN, ADMIN[1], STORE.password):
        assert secret not in written


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(PublishError, match=rf"^http://127.0.0.1:{port} cannot be reached: .*refused.*running there"):
        push(f"http://127.0.0.1:{port}")


def test_tls_towards_a_port_without(grafana: StandIn) -> None:
    with pytest.raises(PublishError, match=r"TLS failed.*trust its authority"):
        push(grafana.url.replace("http:", "https:"))


@contextmanager
def something_else(status: int, kind: str, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", b"<html>welcome</html>"),
        (404, "text/plain", b"404 page not found"),
        (200, "application/json", b'{"ok": true}'),
        (200, "application/json", b"not json"),
    ],
)
def test_what_is_no_grafana(status: int, kind: str, body: bytes) -> None:
    with something_else(status, kind, body) as url, pytest.raises(PublishError, match="Grafana"):
        push(url)


def test_a_server_in_trouble_is_told_with_its_word() -> None:
    answer = f'{{"message": "upstream is down, Bearer {TOKEN}"}}'.encode()
    with something_else(502, "application/json", answer) as url, pytest.raises(PublishError) as caught:
        push(url)
    assert "upstream is down" in str(caught.value) and TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("grafana:3000", "write http://HOST:3000"),
        ("http://admin:pw-in-address@127.0.0.1:3000", "seen by everybody"),
        ("http://127.0.0.1:99999", "port"),
        ("", "is no address"),
    ],
)
def test_a_wrong_address(url: str, said: str) -> None:
    with pytest.raises(PublishError, match=said) as caught:
        push(url)
    assert "pw-in-address" not in str(caught.value)


def test_the_credential_comes_from_the_environment() -> None:
    assert credential_from({"GRAFANA_TOKEN": " t0ken\n", "GRAFANA_USER": "ann"}) == "t0ken"
    assert credential_from({"GRAFANA_USER": "ann", "GRAFANA_PASSWORD": "pw"}) == ("ann", "pw")
    with pytest.raises(PublishError, match="set GRAFANA_TOKEN"):
        credential_from({})
    with pytest.raises(PublishError, match="set GRAFANA_PASSWORD too"):
        credential_from({"GRAFANA_USER": "ann"})
    with pytest.raises(PublishError, match="set GRAFANA_USER too"):
        credential_from({"GRAFANA_PASSWORD": "pw"})


def test_the_command_pushes_what_the_package_holds(grafana: StandIn, tmp_path: Path) -> None:
    environment = {**os.environ, "GRAFANA_TOKEN": TOKEN, "CLICKHOUSE_GRAFANA_PASSWORD": "st0re-password"}

    def push(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flowtide", "dashboards", "push", grafana.url, *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    dry = push("--dry-run", "--store", "https://clickhouse.example")
    assert dry.returncode == 0 and grafana.writes == [], dry.stderr
    words = ["dashboards", "push", grafana.url, "--store", "https://clickhouse.example"]
    first = CliRunner().invoke(app, words, env=environment)
    assert set(grafana.dashboards) == set(library.dashboards()) and not first.exit_code
    (source,) = grafana.sources.values()
    assert (source["jsonData"]["host"], source["jsonData"]["port"], source["jsonData"]["secure"]) == (
        "clickhouse.example", 8443, True,
    )  # fmt: skip
    assert "nothing to do" in CliRunner().invoke(app, words, env=environment).stdout
    assert "flowtide-r1" in grafana.rules
    grafana.rules.clear()
    without = CliRunner().invoke(app, [*words, "--no-alerts"], env=environment)
    assert "nothing to do" in without.stdout and not grafana.rules
    assert "st0re" not in dry.stdout + first.stdout + first.stderr and TOKEN not in first.stdout + first.stderr
    wrong = push("--store", "clickhouse.example:8443")
    assert wrong.returncode == 1 and "--store" in wrong.stderr
