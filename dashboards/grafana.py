"""A Grafana over its HTTP API: its many errors as one, and what is to be written to it as steps.

The credential comes from the environment and is in no message.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException
from requests.exceptions import RequestException, SSLError

from dashboards.library import DATA_SOURCE

TOKEN, USER, PASSWORD = "GRAFANA_TOKEN", "GRAFANA_USER", "GRAFANA_PASSWORD"

_OLDEST = (9, 4)  # the oldest that was seen to load these files
_PLUGIN = DATA_SOURCE["type"]
_SECONDS = 10.0

Credential = str | tuple[str, str]
"""A token of a service account, or user and password."""


class PublishError(Exception):
    """Nothing (more) was written; says what, where and what to do."""


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


@dataclass(frozen=True, slots=True)
class Step:
    """One thing compared: what is said of it, and how it is written; None: it is the same, or not ours."""

    uid: str
    lines: Sequence[str]
    write: Callable[[], object] | None = None


class Grafana:
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


def line(kind: str, state: str, what: str) -> str:
    """What is said first of a thing."""
    return f"{kind:<11} {state:<7} {what}"


def _root(error: BaseException) -> str:
    """The innermost reason, without the client's wrapping."""
    inner: BaseException = error
    for _ in range(10):
        deeper = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    return str(inner) or type(inner).__name__
