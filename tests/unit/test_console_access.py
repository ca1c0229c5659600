"""Who may ask the console, and who is told to go."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from starlette.datastructures import Headers

from dashboards.console.access import Access, Denied, same_site
from dashboards.settings import ConsoleSettings

SALT = b"sixteen bytes..."


def hashed(password: str) -> str:
    digest = hashlib.scrypt(password.encode(), salt=SALT, n=2, r=8, p=1, dklen=32)  # quick: strength is not the matter
    return f"scrypt$2$8$1${b64encode(SALT).decode()}${b64encode(digest).decode()}"


USERS = {"ann": hashed("pässword"), "bob": hashed("other:with:colons")}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs])


def login(name: str, password: str) -> Headers:
    return headers(("Authorization", "Basic " + b64encode(f"{name}:{password}".encode()).decode()))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are noted instead of made."""
    pauses: list[float] = []
    asleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asleep(0)

    monkeypatch.setattr("dashboards.console.access.asyncio.sleep", sleep)
    return pauses


def judged(access: Access, told: Headers, peer: str = "127.0.0.1") -> Any:
    """The user, or status and reason."""
    try:
        return asyncio.run(access.user(peer, told))
    except Denied as denied:
        return denied.status, denied.reason


def made(clock: Callable[[], float] | None = None, **settings: Any) -> Access:
    return Access(ConsoleSettings(**settings), clock or Clock())


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080"])
def test_on_this_machine_nobody_is_asked(host: str) -> None:
    assert judged(made(), headers(("Host", host))) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1].evil", "::1",
     "127.0.0.2", "user@127.0.0.1", "[::2]", "localhost@evil.example", "localhost:80:80", "localhost."],
)  # fmt: skip
def test_a_name_of_elsewhere_that_points_here_gets_nothing(host: str) -> None:
    assert judged(made(), headers(("Host", host))) == (403, "host")


def test_without_a_host_nothing_is_told() -> None:
    assert judged(made(), headers()) == (403, "host")


def test_a_password_lets_its_user_in(quick: list[float]) -> None:
    access = made(users=USERS, listen="0.0.0.0:80")
    assert judged(access, login("ann", "pässword"), "192.0.2.7") == "ann"
    assert judged(access, login("bob", "other:with:colons"), "192.0.2.7") == "bob"
    for wrong in (login("ann", "other:with:colons"), login("carol", "pässword"), login("", ""), login("ann", "")):
        assert judged(access, wrong, "192.0.2.7") == (401, "login")


@pytest.mark.parametrize(
    "told",
    [
        headers(), headers(("Authorization", "Bearer abc")), headers(("Authorization", "Basic !!!")),
        headers(("Authorization", "Basic " + b64encode(b"ann").decode())),
        headers(("Authorization", "Basic " + b64encode(b"\xff:\xff").decode())),
        headers(("Authorization", "Basic " + b64encode(b"ann:" + b"x" * 5000).decode())),
        headers(("Authorization", "")), Headers(raw=login("ann", "pässword").raw * 2),
    ],
)  # fmt: skip
def test_what_is_no_login_asks_for_one(told: Headers) -> None:
    access = made(users=USERS)
    with pytest.raises(Denied) as denied:
        asyncio.run(access.user("127.0.0.1", told))
    assert denied.value.status == 401
    assert denied.value.headers["WWW-Authenticate"].startswith("Basic ")


def test_with_users_the_address_of_this_machine_is_no_password() -> None:
    assert judged(made(users=USERS), headers(("Host", "localhost"))) == (401, "login")


def test_a_password_is_checked_again_after_a_while_only(monkeypatch: pytest.MonkeyPatch, quick: list[float]) -> None:
    checked = 0
    scrypt = hashlib.scrypt

    def counted(*words: Any, **named: Any) -> bytes:
        nonlocal checked
        checked += 1
        return scrypt(*words, **named)

    clock = Clock()
    access = made(clock, users=USERS)
    monkeypatch.setattr("dashboards.console.passwords.hashlib.scrypt", counted)
    for _ in range(5):
        assert judged(access, login("ann", "pässword")) == "ann"
    assert checked == 1
    assert judged(access, login("ann", "wrong")) == (401, "login")  # a remembered user is no remembered password
    assert checked == 2
    clock.now += 3600
    assert judged(access, login("ann", "pässword")) == "ann"
    assert checked == 3
    assert judged(access, login("nobody", "pässword")) == (401, "login")
    assert checked == 4  # an unknown name takes as long as a known one


def test_guesses_are_slowed_and_then_not_heard(quick: list[float]) -> None:
    clock = Clock()
    access = made(clock, users=USERS)
    assert judged(access, login("bob", "other:with:colons"), "192.0.2.1") == "bob"
    for _ in range(10):
        assert judged(access, login("ann", "guess"), "192.0.2.1") == (401, "login")
    assert quick == sorted(quick) and quick[-1] > quick[0]
    assert judged(access, login("ann", "pässword"), "192.0.2.1") == (429, "too many")
    # Who is in stays in, and others are not kept out.
    assert judged(access, login("bob", "other:with:colons"), "192.0.2.1") == "bob"
    assert judged(access, login("ann", "pässword"), "192.0.2.2") == "ann"
    clock.now += 61
    assert judged(access, login("ann", "pässword"), "192.0.2.1") == "ann"


def test_guesses_from_many_addresses_of_one_host_count_together(quick: list[float]) -> None:
    access = made(users=USERS)
    for number in range(10):
        judged(access, login("ann", "guess"), f"2001:db8::{number:x}")
    assert judged(access, login("ann", "pässword"), "2001:db8::ffff:1") == (429, "too many")
    assert judged(access, login("ann", "pässword"), "2001:db8:0:1::1") == "ann"


def test_guesses_at_once_count_each(quick: list[float]) -> None:
    access = made(users=USERS)

    async def many() -> list[Any]:
        return await asyncio.gather(
            *(access.user("192.0.2.1", login("ann", f"guess {n}")) for n in range(10)), return_exceptions=True
        )

    assert all(isinstance(one, Denied) for one in asyncio.run(many()))
    assert judged(access, login("ann", "pässword"), "192.0.2.1") == (429, "too many")


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_proxy_names_the_user(peer: str) -> None:
    access = made(proxy_header="X-Forwarded-User", listen="0.0.0.0:80")
    assert judged(access, headers(("X-Forwarded-User", "ann"), ("Host", "noc.example")), peer) == "ann"


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "::2", "::ffff:192.0.2.1", "", "testclient"])
def test_a_name_from_anybody_else_is_refused(peer: str) -> None:
    access = made(proxy_header="X-Forwarded-User", trusted_proxies=["127.0.0.1", "10.1.0.0/16"])
    assert judged(access, headers(("X-Forwarded-User", "ann")), peer) == (403, "forged")
    # … also where a password would do: it is an attempt, and nothing is overlooked in silence.
    both = made(proxy_header="X-Forwarded-User", users=USERS)
    told = Headers(raw=login("ann", "pässword").raw + headers(("x-forwarded-user", "bob")).raw)
    assert judged(both, told, peer) == (403, "forged")
    assert judged(both, login("ann", "pässword"), peer) == "ann"


def test_a_proxy_that_names_nobody_or_two() -> None:
    access = made(proxy_header="X-Forwarded-User")
    assert judged(access, headers()) == (401, "no user")
    assert judged(access, headers(("X-Forwarded-User", " "))) == (401, "no user")
    assert judged(access, headers(("X-Forwarded-User", "ann"), ("X-Forwarded-User", "bob"))) == (403, "forged")


@pytest.mark.parametrize(
    "told",
    [
        headers(), headers(("Content-Type", "text/plain")),
        headers(("Content-Type", "application/x-www-form-urlencoded")),
        headers(("Content-Type", "multipart/form-data; boundary=application/json")),
        headers(("Content-Type", "text/plain; application/json")),
        headers(("Content-Type", "application/json"), ("Sec-Fetch-Site", "cross-site")),
    ],
)  # fmt: skip
def test_what_another_sites_page_can_send_is_refused(told: Headers) -> None:
    with pytest.raises(Denied):
        same_site(told)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_what_our_pages_send_is_taken(kind: str) -> None:
    same_site(headers(("Content-Type", kind), ("Sec-Fetch-Site", "same-origin")))
    same_site(headers(("Content-Type", kind)))
