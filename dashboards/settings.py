"""Settings of the console; frozen, unknown keys refused."""

import ipaddress
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)

from dashboards.asked import StoreUrl
from dashboards.console.passwords import PasswordError, parse
from sinks.listening import host_and_port


class ConsoleSettings(BaseModel):
    """The dashboards in a browser, and who may look at them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = Field(
        "127.0.0.1:8080", description="HOST:PORT, with a busy port the next free one; empty: no console"
    )
    store_url: StoreUrl = Field(
        "", description="http(s)://HOST:PORT that answers the panels; empty: the stack's own port, or store.url"
    )
    store_user: str = Field("reader", description="who asks there: an account that may only read")
    store_password: SecretStr = Field(SecretStr(""), description="of that account")
    alerts_url: str = Field(
        "", pattern="^(https?://.+)?$", description="http(s)://HOST:PORT of who evaluates the alert rules; empty: the"
        " stack's own, if it does"
    )  # fmt: skip
    users: dict[str, SecretStr] = Field(
        {}, description='who may look, as {ann = "scrypt$..."}; flowtide console --hash makes the text'
    )
    proxy_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]*$", description="header in which a proxy names the user, X-Forwarded-User say"
    )
    trusted_proxies: tuple[str, ...] = Field(
        ("127.0.0.0/8", "::1/128"), description="addresses and prefixes from which that header is believed"
    )
    max_rows: PositiveInt = Field(10_000, description="rows of one panel or one answer of the SQL page; CSV has all")
    panel_seconds: PositiveInt = Field(20, description="time one query of a panel may take")
    queries: PositiveInt = Field(4, description="queries of panels asked at once; more wait")
    sql_queries: PositiveInt = Field(2, description="queries of the SQL page and CSV asked at once; more wait")
    cache_seconds: float = Field(5.0, ge=0, le=300, description="an answer serves all who ask the same for this long")
    cache_bytes: NonNegativeInt = Field(32 << 20, description="bound of the answers kept")

    @field_validator("listen")
    @classmethod
    def _an_address(cls, listen: str) -> str:
        if listen:
            host_and_port(listen)
        return listen

    @field_validator("users")
    @classmethod
    def _known_hashes(cls, users: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in users.items():
            if not name or ":" in name:
                raise ValueError(f"user {name!r}: a name is not empty and has no colon")
            try:
                parse(text.get_secret_value())
            except PasswordError as error:
                raise ValueError(f"user {name}: {error}") from None
        return users

    @field_validator("trusted_proxies")
    @classmethod
    def _prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            ipaddress.ip_network(prefix)  # ValueError says what is wrong
        return prefixes

    @field_validator("store_user")
    @classmethod
    def _a_reader(cls, user: str) -> str:
        # Of our own port it may do all, and readonly does not keep it from the files of the host.
        if user.lower() in ("", "admin"):
            raise ValueError(f"{user!r}: name an account that may only read, as reader of flowtide serve")
        return user

    @model_validator(mode="after")
    def _not_open_to_all(self) -> Self:
        if self.listen and not (self.users or self.proxy_header or is_loopback(host_and_port(self.listen)[0])):
            raise ValueError(
                f"listen {self.listen!r} is open to other machines, and nobody is asked who they are: set console.users"
                " (flowtide console --hash makes a password's text) or console.proxy_header, or listen on 127.0.0.1"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host (an address, or ``localhost``)."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
