"""Folder, data source and dashboards into a running Grafana, over its HTTP API.

What is there is read first and compared with what shall be there; the difference is said, and only what differs is
written, so that a second run writes nothing.  Keys that only Grafana has (ids, versions, defaults it fills in, a newer
schema) are no difference.  The credential comes from the environment and is in no message.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException
from requests.exceptions import RequestException, SSLError

from dashboards.library import DATA_SOURCE

FOLDER_UID, FOLDER_TITLE = "flowtide", "Flowtide"
SOURCE_NAME = "Flowtide"
TOKEN, USER, PASSWORD = "GRAFANA_TOKEN", "GRAFANA_USER", "GRAFANA_PASSWORD"

_OLDEST = (9, 4)  # the oldest that was seen to load these files
_PLUGIN = DATA_SOURCE["type"]
_SECONDS = 10.0
_DIFF_LINES = 12  # of one dashboard; a new query is longer, its first lines tell which one it is
_LINE = 140
_NOT_OURS = ("id", "version", "iteration")  # of a dashboard: Grafana counts them
_TOLD = ("id", "secureJsonFields", "typeLogoUrl", "typeName")  # of a data source: said, not taken

Credential = str | tuple[str, str]
"""A token of a service account, or user and password."""


class PublishError(Exception):
    """Nothing (more) was written; says what, where and what to do."""


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


def credential_from(environ: Mapping[str, str]) -> Credential:
    """Of the environment; PublishError when there is none, or half of one."""
    if token := environ.get(TOKEN, "").strip():
        return token
    user, password = environ.get(USER, ""), environ.get(PASSWORD, "")
    if user and password:
        return user, password
    if user or password:
        raise PublishError(f"{USER} and {PASSWORD} go together: set {USER if password else PASSWORD} too")
    raise PublishError(f"no credential: set {TOKEN} to a token of a service account with the role Admin"
                       f" (Grafana: Administration, Users and access), or {USER} and {PASSWORD}")  # fmt: skip


def publish(
    url: str,
    dashboards: Mapping[str, Mapping[str, Any]],
    datasource: DataSource,
    credential: Credential,
    say: Callable[[str], None],
    *,
    dry_run: bool,
) -> bool:
    """Make Grafana at ``url`` hold these dashboards (by uid); whether anything was, or would be, written.

    PublishError when it cannot be reached, does not let us, or refuses something.
    """
    grafana = _Grafana(url, credential)
    grafana.check(say)
    steps = [folder := _folder(grafana), _source(grafana, datasource)]
    steps += [_dashboard(grafana, dashboard, folder.uid) for dashboard in dashboards.values()]
    for step in steps:
        for line in step.lines:
            say(line)
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


@dataclass(frozen=True, slots=True)
class _Step:
    uid: str
    lines: Sequence[str]
    write: Callable[[], object] | None = None


class _Grafana:
    """The client, with its many errors as one."""

    def __init__(self, url: str, credential: Credential) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PublishError(f"{url!r} is no address of a Grafana: write http://HOST:3000 or https://HOST")
        if parts.username or parts.password:
            raise PublishError(f"a credential in the address is seen by everybody here: set {TOKEN}, or {USER} and"
                               f" {PASSWORD}, and write the address without")  # fmt: skip
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.strip("/")
        try:
            port = parts.port
        except ValueError:
            raise PublishError(f"{url!r}: the port is no number below 65,536") from None
        self.url = url.rstrip("/")
        self._secrets = (credential,) if isinstance(credential, str) else credential[1:]
        untyped: Any = GrafanaApi
        self.api = untyped(
            credential, protocol=parts.scheme, host=host, port=port, timeout=_SECONDS,
            url_path_prefix=f"{path}/" if path else "",
        )  # fmt: skip

    def check(self, say: Callable[[str], None]) -> None:
        """Whether this is a Grafana that we know how to talk to, and that knows us; PublishError."""
        health = self.ask("asking for its version", lambda: self.api.client.GET("/health"), absent=True)
        if not isinstance(health, dict) or "database" not in health:
            raise PublishError(f"{self.url}/api/health is not answered by a Grafana: is there a path before it?")
        version = str(health.get("version", ""))
        if (found := re.match(r"(\d+)\.(\d+)", version)) and (int(found[1]), int(found[2])) < _OLDEST:
            raise PublishError(f"{self.url} is Grafana {version}; these dashboards need {_OLDEST[0]}.{_OLDEST[1]}"
                               " or later: upgrade it")  # fmt: skip
        say(f"Grafana {version or 'of a version it does not tell'} at {self.url}")

    def has_plugin(self) -> bool:
        """Whether the plug-in of the data source is installed, as far as we may know."""
        found = self.ask("listing plug-ins", self.api.plugin.list)
        return any(plugin.get("id") == _PLUGIN for plugin in found)

    def ask(self, doing: str, call: Callable[[], Any], *, absent: bool = False) -> Any:
        """What ``call`` returns; None for 404 where that is an answer (``absent``); PublishError."""
        try:
            return call()
        except GrafanaClientError as error:
            if absent and error.status_code == 404:
                return None
            raise self._error(doing, error.status_code, str(error)) from None
        except GrafanaException as error:
            raise self._error(doing, error.status_code, str(error) or "no answer in time") from None
        except SSLError as error:
            raise PublishError(
                f"{self.url}: TLS failed: {self._clean(_root(error))}; trust its authority (REQUESTS_CA_BUNDLE names a"
                " file of them), or correct the name in the address"
            ) from None
        except RequestException as error:
            reason = self._clean(_root(error))
            if isinstance(error, ValueError):  # neither JSON nor text, as requests says it
                raise PublishError(f"{self.url}: {doing}: the answer is not Grafana's: {reason}") from None
            raise PublishError(f"{self.url} cannot be reached: {reason}; is Grafana running there?") from None

    def _error(self, doing: str, status: int, text: str) -> PublishError:
        what = f"{self.url}: {doing}: {self._clean(text)}"
        if status == 401:
            return PublishError(f"{what}: the credential is not accepted (expired, or of another Grafana); set a new"
                                f" {TOKEN}, or {USER} and {PASSWORD}")  # fmt: skip
        if status == 403:
            return PublishError(f"{what}: the credential may not; give the service account the role Admin")
        if status in (409, 412):
            return PublishError(f"{what}: another one has this name, or it changed meanwhile; run again, and look")
        if status == 0:
            return PublishError(f"{what}: no answer within {_SECONDS:.0f} s; run again")
        return PublishError(what)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= 300 else f"{text[:300]}..."


def _folder(grafana: _Grafana) -> _Step:
    """Ours, or the one of our title: Grafana's file provisioning makes one with a uid of its own."""
    found = grafana.ask("reading the folder", lambda: grafana.api.folder.get_folder(FOLDER_UID), absent=True)
    if found is None:
        listed = grafana.ask("listing folders", grafana.api.folder.get_all_folders)
        found = next((folder for folder in listed if folder["title"] == FOLDER_TITLE), None)
    if found is not None:
        return _Step(found["uid"], [_line("folder", "same", f"{found['title']!r} ({found['uid']})")])

    def make() -> None:
        grafana.ask("making the folder", lambda: grafana.api.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID))

    return _Step(FOLDER_UID, [_line("folder", "new", f"{FOLDER_TITLE!r} ({FOLDER_UID})")], make)


def _source(grafana: _Grafana, wanted: DataSource) -> _Step:
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
        return _Step(uid, [_line("data source", "new", what)], lambda: grafana.ask(
            "making the data source", lambda: source.create_datasource({**ours, **secret})))  # fmt: skip
    if found["type"] != ours["type"]:
        raise PublishError(f"{grafana.url}: the data source {uid!r} is of the type {found['type']!r}: delete it")
    compared = {key: ours[key] for key in ("access", "jsonData")}  # its name is theirs: dashboards know the uid
    changes = _differences(compared, found)
    password = wanted.password and (wanted.set_password or not found.get("secureJsonFields", {}).get("password"))
    if not changes and not password:
        return _Step(uid, [_line("data source", "same", what)])
    if found.get("readOnly"):
        return _Step(uid, [_line("data source", "other", f"{what}; it comes from a file there and is left"), *changes])
    lines = [_line("data source", "changed", what), *changes, *(["    + password: (set)"] if password else [])]
    kept = {key: value for key, value in found.items() if key not in _TOLD}
    payload = kept | {"access": ours["access"], "jsonData": {**(found.get("jsonData") or {}), **ours["jsonData"]}}
    return _Step(uid, lines, lambda: grafana.ask(
        "changing the data source",
        lambda: source.update_datasource_by_uid(uid, {**payload, **(secret if password else {})}),
    ))  # fmt: skip


def _dashboard(grafana: _Grafana, dashboard: Mapping[str, Any], folder_uid: str) -> _Step:
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
        return _Step(uid, [_line("dashboard", "new", what)], write)
    theirs, meta = found["dashboard"], found.get("meta", {})
    changes, places = _differences(ours, theirs), _places(ours, theirs)
    if meta.get("folderUid", "") != folder_uid:
        changes.insert(0, f"    - in folder {meta.get('folderTitle') or meta.get('folderUid') or 'General'!r}")
        places = ["folder", *places]
    if not changes:
        return _Step(uid, [_line("dashboard", "same", what)])
    if meta.get("provisioned"):
        return _Step(uid, [_line("dashboard", "other", f"{what}; it comes from a file there and is left"), *changes])
    return _Step(uid, [_line("dashboard", "changed", f"{what}: {', '.join(places)}"), *changes], write)


def _line(kind: str, state: str, what: str) -> str:
    return f"{kind:<11} {state:<7} {what}"


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lines for people, - theirs and + ours, cut to a few; empty: nothing that we say is otherwise there."""
    there, here = list(_flat(_seen(ours, theirs))), list(_flat(ours))
    changed = [
        f"    {line[0]} {line[1:]}" if len(line) <= _LINE else f"    {line[0]} {line[1:_LINE]}..."
        for line in difflib.unified_diff(there, here, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    if len(changed) > _DIFF_LINES:
        changed[_DIFF_LINES:] = [f"    ... and {len(changed) - _DIFF_LINES} more lines"]
    return changed


def _places(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What of a dashboard differs, by panel; the lines of the difference are cut."""
    seen = _seen(ours, theirs)
    places = [key for key in sorted(ours) if key != "panels" and seen.get(key) != ours[key]]
    before, after = ({panel["id"]: panel for panel in one.get("panels", [])} for one in (seen, ours))
    for number in sorted(before.keys() | after.keys()):
        if before.get(number) != after.get(number):
            panel = after.get(number) or before[number]
            state = "" if number in before and number in after else " (new)" if number in after else " (goes)"
            places.append(f"panel {number} {panel.get('title', '')!r}{state}")
    if not places and seen != ours:
        places.append("order of panels")
    return places


def _seen(ours: Any, theirs: Any, key: str = "") -> Any:
    """What of ``theirs`` answers to ``ours``: without the keys that only Grafana has."""
    if key == "schemaVersion" and isinstance(theirs, int):
        return ours if theirs >= ours else theirs  # a newer Grafana keeps it in its own schema
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {
            name: _seen(value, theirs.get(name), name)
            for name, value in ours.items()
            if name in theirs or value is None  # some versions drop null
        }
    if isinstance(ours, Sequence) and isinstance(theirs, list) and not isinstance(ours, str):
        theirs = [item for item in theirs if not _built_in(item)]
        by_id = {item["id"]: item for item in ours if isinstance(item, Mapping) and "id" in item}
        places = [*ours, *([None] * (len(theirs) - len(ours)))]
        return [
            _seen(by_id.get(item["id"]) if by_id and isinstance(item, dict) and "id" in item else place, item)
            for item, place in zip(theirs, places, strict=False)
        ]
    return theirs


def _built_in(item: Any) -> bool:
    """Grafana's own annotations, which it adds to every dashboard."""
    return isinstance(item, dict) and bool(item.get("builtIn"))


def _flat(value: Any, path: str = "") -> Iterator[str]:
    """One line a value, a text of several lines as several; sorted keys, so that equal values give equal lines."""
    if isinstance(value, Mapping) and value:
        for name in sorted(value):
            yield from _flat(value[name], f"{path}.{name}" if path else name)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for at, item in enumerate(value):
            named = isinstance(item, Mapping) and "id" in item and "type" in item
            yield from _flat(item, f"{path}[{item['id']} {item.get('title', '')!r}]" if named else f"{path}[{at}]")
    elif isinstance(value, str):
        for line in value.splitlines() or [""]:
            yield f"{path}: {line}"
    else:
        yield f"{path}: {value!r}"


def _root(error: BaseException) -> str:
    """The innermost reason, without the client's wrapping."""
    inner: BaseException = error
    for _ in range(10):
        deeper = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    return str(inner) or type(inner).__name__
