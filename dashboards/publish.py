"""Folder, data source, dashboards and alert rules into a running Grafana, over its HTTP API.

What is there is read first and compared with what shall be there; the difference is said, and only what differs is
written, so that a second run writes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboards.differences import differences, places
from dashboards.grafana import Credential, Grafana, PublishError, Step, credential_from, line
from dashboards.library import DATA_SOURCE
from dashboards.publish_rules import rule_steps

__all__ = ["Credential", "DataSource", "PublishError", "credential_from", "publish"]

FOLDER_UID, FOLDER_TITLE = "flowtide", "Flowtide"
SOURCE_NAME = "Flowtide"

_PLUGIN = DATA_SOURCE["type"]
_NOT_OURS = ("id", "version", "iteration")  # of a dashboard: Grafana counts them
_TOLD = ("id", "secureJsonFields", "typeLogoUrl", "typeName")  # of a data source: said, not taken


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where Grafana shall find ClickHouse's HTTP interface, and as whom it asks there."""

    host: str  # as Grafana's machine sees it
    port: int = 8123
    secure: bool = False
    user: str = "grafana"
    password: str = field(default="", repr=False)
    database: str = "flowtide"
    set_password: bool = False  # also where Grafana has one: it never tells whether it is the same

    def payload(self) -> dict[str, Any]:
        """As Grafana takes it, without the password; names of both the third and the fourth version of the plug-in."""
        return {
            "name": SOURCE_NAME,
            **DATA_SOURCE,
            "access": "proxy",
            "jsonData": {
                "host": self.host,
                "server": self.host,
                "port": self.port,
                "protocol": "http",
                "secure": self.secure,
                "username": self.user,
                "defaultDatabase": self.database,
            },
        }


def publish(
    url: str,
    dashboards: Mapping[str, Mapping[str, Any]],
    datasource: DataSource,
    credential: Credential,
    say: Callable[[str], None],
    *,
    dry_run: bool,
    rules: Mapping[str, Any] | None = None,
) -> bool:
    """Make Grafana at ``url`` hold these dashboards (by uid); whether anything was, or would be, written.

    ``rules``: a document of alert rules in the form of Grafana's file provisioning.

    PublishError when it cannot be reached, does not let us, or refuses something.
    """
    grafana = Grafana(url, credential)
    grafana.check(say)
    steps = [folder := _folder(grafana), _source(grafana, datasource)]
    steps += [_dashboard(grafana, dashboard, folder.uid) for dashboard in dashboards.values()]
    steps += rule_steps(grafana, rules, folder.uid) if rules else []
    for step in steps:
        for said in step.lines:
            say(said)
    changes = [step for step in steps if step.write is not None]
    if not changes:
        say("nothing to do")
    elif dry_run:
        say(f"{len(changes)} to write; dry run: nothing was written")
    else:
        for done, step in enumerate(changes):
            assert step.write is not None
            try:
                step.write()
            except PublishError as error:
                raise PublishError(f"{error} ({done} of {len(changes)} changes were written before)") from None
        say(f"{len(changes)} written: {grafana.url}/dashboards/f/{folder.uid}")
    return bool(changes)


def _folder(grafana: Grafana) -> Step:
    """Ours, or the one of our title: Grafana's file provisioning makes one with a uid of its own."""
    found = grafana.ask("reading the folder", lambda: grafana.api.folder.get_folder(FOLDER_UID), absent=True)
    if found is None:
        listed = grafana.ask("listing folders", grafana.api.folder.get_all_folders)
        found = next((folder for folder in listed if folder["title"] == FOLDER_TITLE), None)
    if found is not None:
        return Step(found["uid"], [line("folder", "same", f"{found['title']!r} ({found['uid']})")])

    def make() -> None:
        grafana.ask("making the folder", lambda: grafana.api.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID))

    return Step(FOLDER_UID, [line("folder", "new", f"{FOLDER_TITLE!r} ({FOLDER_UID})")], make)


def _source(grafana: Grafana, wanted: DataSource) -> Step:
    uid = DATA_SOURCE["uid"]
    source = grafana.api.datasource
    ours = wanted.payload()
    secret = {"secureJsonData": {"password": wanted.password}} if wanted.password else {}
    what = f"{uid}: {wanted.user} at {wanted.host}:{wanted.port}"
    found = grafana.ask("reading the data source", lambda: source.get_datasource_by_uid(uid), absent=True)
    if found is None:
        if not grafana.has_plugin():
            raise PublishError(f"{grafana.url} has no plug-in {_PLUGIN} (or the credential may not see it): on its"
                               f" machine, grafana cli plugins install {_PLUGIN}, and start it again")  # fmt: skip
        by_name = grafana.ask("reading the data source", lambda: source.find_datasource(SOURCE_NAME), absent=True)
        if by_name is not None:
            raise PublishError(f"{grafana.url} has a data source {SOURCE_NAME!r} with the uid {by_name.get('uid')!r};"
                               f" the dashboards ask for {uid!r}: rename or delete it")  # fmt: skip
        return Step(uid, [line("data source", "new", what)], lambda: grafana.ask(
            "making the data source", lambda: source.create_datasource({**ours, **secret})))  # fmt: skip
    if found["type"] != ours["type"]:
        raise PublishError(f"{grafana.url}: the data source {uid!r} is of the type {found['type']!r}: delete it")
    compared = {key: ours[key] for key in ("access", "jsonData")}  # its name is theirs: dashboards know the uid
    changes = differences(compared, found)
    password = wanted.password and (wanted.set_password or not found.get("secureJsonFields", {}).get("password"))
    if not changes and not password:
        return Step(uid, [line("data source", "same", what)])
    if found.get("readOnly"):
        return Step(uid, [line("data source", "other", f"{what}; it comes from a file there and is left"), *changes])
    lines = [line("data source", "changed", what), *changes, *(["    + password: (set)"] if password else [])]
    kept = {key: value for key, value in found.items() if key not in _TOLD}
    payload = kept | {"access": ours["access"], "jsonData": {**(found.get("jsonData") or {}), **ours["jsonData"]}}
    return Step(uid, lines, lambda: grafana.ask(
        "changing the data source",
        lambda: source.update_datasource_by_uid(uid, {**payload, **(secret if password else {})}),
    ))  # fmt: skip


def _dashboard(grafana: Grafana, dashboard: Mapping[str, Any], folder_uid: str) -> Step:
    uid, title = dashboard["uid"], dashboard["title"]
    ours = {key: value for key, value in dashboard.items() if key not in _NOT_OURS}
    what = f"{uid} {title!r}"
    found = grafana.ask(f"reading the dashboard {uid}", lambda: grafana.api.dashboard.get_dashboard(uid), absent=True)

    def write() -> None:
        # Where there is none of this uid, overwriting could only hit another dashboard of the same title.
        grafana.ask(f"writing the dashboard {uid}", lambda: grafana.api.dashboard.update_dashboard(
            {"dashboard": {**ours, "id": None}, "folderUid": folder_uid, "overwrite": found is not None,
             "message": "flowtide dashboards push"}))  # fmt: skip

    if found is None:
        return Step(uid, [line("dashboard", "new", what)], write)
    theirs, meta = found["dashboard"], found.get("meta", {})
    changes, where = differences(ours, theirs), places(ours, theirs)
    if meta.get("folderUid", "") != folder_uid:
        changes.insert(0, f"    - in folder {meta.get('folderTitle') or meta.get('folderUid') or 'General'!r}")
        where = ["folder", *where]
    if not changes:
        return Step(uid, [line("dashboard", "same", what)])
    if meta.get("provisioned"):
        return Step(uid, [line("dashboard", "other", f"{what}; it comes from a file there and is left"), *changes])
    return Step(uid, [line("dashboard", "changed", f"{what}: {', '.join(where)}"), *changes], write)
