"""Settings of webhooks; frozen, unknown keys refused, secrets and addresses never printed.

A secret may be written as ``file:PATH`` or ``env:NAME``: it is then read for each message, so that it can be changed
without a restart.
"""

import os
import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, PositiveInt, SecretStr, field_validator, model_validator

from dashboards.alerts.matchers import matchers
from sinks.settings import Part

Severity = Literal["info", "notice", "warn", "page"]
SEVERITIES: tuple[Severity, ...] = ("info", "notice", "warn", "page")
"""From the least."""

EVERY_LABEL = "..."
_FILE, _ENVIRONMENT = "file:", "env:"
_MOST_SECRET_BYTES = 64 << 10
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OUR_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent",
                "idempotency-key", "expect", "te", "upgrade"}  # fmt: skip


class SecretUnreadable(Exception):  # noqa: N818
    """A secret is not where the settings say; names the webhook and the key, never the secret."""


class Webhook(Part):
    """Somebody who is told of alerts by HTTP."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="in messages as receiver, in logs and metrics")
    url: SecretStr = Field(description="http(s) address, or file:PATH or env:NAME of it: it often is a secret itself")
    form: Literal["grafana", "alertmanager"] = Field("grafana", description="whose JSON is sent")
    group_by: tuple[str, ...] = Field(
        ("alertname", "service"), description='labels whose alerts share a message; "..." for every label'
    )
    group_wait_seconds: float = Field(30, ge=0, le=3_600, description="the first message waits for others of its group")
    group_interval_seconds: float = Field(300, gt=0, le=86_400, description="between messages of one group")
    repeat_interval_seconds: float = Field(14_400, gt=0, description="what still fires is said again after this")
    match: tuple[str, ...] = Field((), description="only alerts for which all hold, as service=fixed or rule=~R[0-6]")
    least_severity: Severity = Field("notice", description="of info, notice, warn, page")
    errors: bool = Field(True, description="also when rules cannot be evaluated, as alertname DatasourceError")
    error_wait_seconds: float = Field(300, ge=0, description="errors that are shorter are not told")
    headers: dict[str, SecretStr] = Field({}, description='further headers, as {"X-Api-Key" = "file:/etc/key"}')
    bearer_token: SecretStr = Field(SecretStr(""), description="for Authorization: Bearer")
    user: str = Field("", description="for Authorization: Basic")
    password: SecretStr = Field(SecretStr(""), description="of that user")
    ca_file: str = Field("", description="PEM of the authorities trusted; empty: the system's")
    timeout_seconds: float = Field(10, gt=0, le=60, description="of one attempt, from its connection to its answer")
    max_alerts: PositiveInt = Field(500, description="of one message; truncatedAlerts says how many more there are")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not text.startswith((_FILE, _ENVIRONMENT)):
            split_url(text)
        _check_source(text)
        return url

    @field_validator("bearer_token", "password")
    @classmethod
    def _is_named(cls, secret: SecretStr) -> SecretStr:
        _check_source(secret.get_secret_value())
        return secret

    @field_validator("group_by")
    @classmethod
    def _are_labels(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != EVERY_LABEL and not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise ValueError(f'{name!r} is no label: write names as alertname, service, or "..." for all')
        return names

    @field_validator("match")
    @classmethod
    def _are_matchers(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        matchers(texts)
        return texts

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
                raise ValueError(f"{name!r}: no name of a header, or one that is set for every message")
            _check_source(value.get_secret_value())
            _check_header(value.get_secret_value(), f"the header {name}")
        return headers

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        ways = [bool(self.bearer_token.get_secret_value()), bool(self.user),
                any(name.lower() == "authorization" for name in self.headers)]  # fmt: skip
        if sum(ways) > 1:
            raise ValueError("Authorization: one of bearer_token, user with password, and a header of that name")
        if self.password.get_secret_value() and not self.user:
            raise ValueError("a password needs its user")
        if self.repeat_interval_seconds < self.group_interval_seconds:
            raise ValueError("repeat_interval_seconds: no less than group_interval_seconds, at which it is looked at")
        return self

    def secret(self, key: str, value: SecretStr) -> str:
        """What is meant by the value of this key, now; SecretUnreadable."""
        text = value.get_secret_value()
        if text.startswith(_FILE):
            path = text.removeprefix(_FILE)
            try:
                with Path(path).open("rb") as file:
                    text = file.read(_MOST_SECRET_BYTES).decode().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise SecretUnreadable(f"webhook {self.name}: {key}: {path}: {reason}") from None
            if not text:
                raise SecretUnreadable(f"webhook {self.name}: {key}: {path} is empty")
        elif text.startswith(_ENVIRONMENT):
            name = text.removeprefix(_ENVIRONMENT)
            text = os.environ.get(name, "").strip()
            if not text:
                raise SecretUnreadable(f"webhook {self.name}: {key}: the environment has no {name}")
        return text

    def address(self) -> SplitResult:
        """Where to post to, now; SecretUnreadable."""
        try:
            return split_url(self.secret("url", self.url))
        except ValueError as error:
            raise SecretUnreadable(f"webhook {self.name}: url: {error}") from None

    def credentials(self) -> dict[str, str]:
        """Headers by which the receiver knows us, now; SecretUnreadable.  Basic's user and password are not in them."""
        found = {name: self.secret(f"header {name}", value) for name, value in self.headers.items()}
        if self.bearer_token.get_secret_value():
            found["Authorization"] = f"Bearer {self.secret('bearer_token', self.bearer_token)}"
        for name, value in found.items():
            try:
                _check_header(value, name)
            except ValueError as error:
                raise SecretUnreadable(f"webhook {self.name}: {error}") from None
        return found


class NotifySettings(Part):
    """Who is told of alerts."""

    webhooks: tuple[Webhook, ...] = Field((), description="who is told, each a table [[alerts.webhooks]]")
    external_url: str = Field("", description="address under which people reach the console, for links in messages")

    @field_validator("webhooks")
    @classmethod
    def _have_names(cls, webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        names = [webhook.name for webhook in webhooks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two webhooks are called {twice[0]}: what was sent is remembered by name")
        return webhooks

    @field_validator("external_url")
    @classmethod
    def _is_a_site(cls, url: str) -> str:
        if url:
            split_url(url)
        return url.rstrip("/")


def split_url(text: str) -> SplitResult:
    """The parts of an http(s) address; ValueError, which does not repeat it."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or not text.isascii() or any(character <= " " for character in text):
        raise ValueError("no address: write http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a credential in the address ends up in logs: use user and password, or bearer_token")
    return parts


def _check_source(text: str) -> None:
    if text in (_FILE, _ENVIRONMENT):
        raise ValueError(f"{text} names nothing")
    if text.startswith(f"{_ENVIRONMENT}FLOWTIDE_"):
        raise ValueError("names that begin with FLOWTIDE_ are settings: call the variable otherwise")


def _check_header(text: str, what: str) -> None:
    if not text.isascii() or any(character < " " for character in text):
        raise ValueError(f"{what}: only printable ASCII can be sent in a header")
