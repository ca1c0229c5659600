"""Who may ask: by password, by a proxy's word, or anybody on this machine."""

import asyncio
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers

from dashboards.console import metrics
from dashboards.console.passwords import Hash, parse
from dashboards.settings import ConsoleSettings
from sinks.telemetry import limited

log = structlog.get_logger("console")

_REMEMBERED_SECONDS = 600.0  # a password is checked again after this
_REMEMBERED = 1_000  # of them; the oldest goes
_FAILURES = 10  # of one address, after which it is not listened to …
_FAILURE_SECONDS = 60.0  # … for this long after the last
_ADDRESSES = 10_000  # with failures, remembered; the oldest goes
_CHECKS_WAITING = 20  # a check takes a tenth of a second: more wait for nothing
_SLOWER_SECONDS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)  # a wrong password is answered later each time
_LONGEST_LOGIN = 1_024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Denied(Exception):  # noqa: N818
    """A request that is not answered: the status, the reason of the counter, and what to do as the message."""

    def __init__(self, status: int, reason: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Access:
    """Judges requests; of one event loop."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._header, self._clock = settings.proxy_header, clock
        self._proxies = [ipaddress.ip_network(prefix) for prefix in settings.trusted_proxies]
        self._hashes = {name: parse(text.get_secret_value()) for name, text in settings.users.items()}
        # An unknown name takes as long as a known one: by the same work as the first user's.
        self._nobody = next(iter(self._hashes.values()), None)
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._checking = 0

    def close(self) -> None:
        """Check no more passwords."""
        self._checks.shutdown(wait=True, cancel_futures=True)

    async def user(self, peer: str, headers: Headers) -> str | None:
        """Who asks, None: anybody on this machine; Denied.  ``peer``: the address at the other end."""
        if self._header and (named := headers.getlist(self._header)):
            return self._of_proxy(peer, named)
        if self._hashes:
            return await self._of_password(peer, headers.getlist("authorization"))
        if self._header:
            raise Denied(401, "no user", f"the proxy names nobody: it must send {self._header}")
        # Without it a page of elsewhere whose name is made to point here could read everything: DNS rebinding.
        if host_name(headers.get("host", "")) not in _LOCAL_NAMES:
            raise Denied(403, "host", "this console answers to localhost, 127.0.0.1 and [::1] only: open it by one of"
                         " them, or set console.users or console.proxy_header")  # fmt: skip
        return None

    def _of_proxy(self, peer: str, named: list[str]) -> str:
        address = _address(peer)
        if address is None or not any(address in prefix for prefix in self._proxies):
            raise Denied(403, "forged", f"{self._header} comes from {peer}, which is not in console.trusted_proxies")
        if len(named) > 1:
            raise Denied(403, "forged", f"{self._header} comes {len(named)} times: the proxy must replace it, not add")
        if not named[0].strip():
            raise Denied(401, "no user", f"the proxy names nobody: {self._header} is empty")
        return named[0].strip()

    async def _of_password(self, peer: str, logins: list[str]) -> str:
        if len(logins) != 1:
            raise _who()
        name, password = _read_login(logins[0])
        mark = hmac.digest(self._key, f"{name}:{password}".encode(errors="replace"), hashlib.sha256)
        now = self._clock()
        if self._known.get(mark, 0.0) > now:
            return name
        place = _place(peer)
        failures = self._failures.get(place)
        if failures and now - failures.last > _FAILURE_SECONDS:
            failures = None
        if failures and failures.count >= _FAILURES:
            raise _later("too many wrong passwords from this address")
        known = self._hashes.get(name, self._nobody)
        if known and await self._matches(known, password) and name in self._hashes:
            self._known[mark] = now + _REMEMBERED_SECONDS
            self._known.move_to_end(mark)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            self._failures.pop(place, None)
            return name
        metrics.FAILED_LOGINS.inc()
        limited(log.warning, place, "wrong user or password", address=peer)  # no name: people mistype passwords there
        # Of what is there now: others of this address were checked meanwhile.
        newest = self._failures.get(place)
        count = (newest.count if newest and now - newest.last <= _FAILURE_SECONDS else 0) + 1
        self._failures[place] = _Failures(count, now)
        self._failures.move_to_end(place)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        await asyncio.sleep(_SLOWER_SECONDS[min(count, len(_SLOWER_SECONDS) - 1)])
        raise _who("wrong user or password")

    async def _matches(self, known: Hash, password: str) -> bool:
        if self._checking >= _CHECKS_WAITING:
            raise _later("too many logins at once")
        self._checking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._checks, known.matches, password)
        finally:
            self._checking -= 1


def same_site(headers: Headers) -> None:
    """Denied for what a page of another site makes a browser send (CSRF): it sends passwords along by itself."""
    if headers.get("sec-fetch-site") == "cross-site":
        raise Denied(403, "cross-site", "another site's page asked: open the console itself")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A form of elsewhere cannot send it without asking first, and we answer no such question.
        raise Denied(415, "content type", "send the body as application/json")


def host_name(host: str) -> str:
    """The name of a Host header in lower case, without port and brackets; empty when it is none."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:]+))(?::[0-9]{1,5})?", host.lower())
    return (found[1] or found[2]) if found else ""


def _who(text: str = "who are you? Give user and password") -> Denied:
    return Denied(401, "login", text, {"WWW-Authenticate": 'Basic realm="Flowtide", charset="UTF-8"'})


def _later(text: str) -> Denied:
    return Denied(429, "too many", f"{text}: try again in a minute", {"Retry-After": str(int(_FAILURE_SECONDS))})


def _read_login(text: str) -> tuple[str, str]:
    kind, _, value = text.partition(" ")
    if kind.lower() != "basic" or len(value) > _LONGEST_LOGIN:
        raise _who()
    try:
        name, colon, password = b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _who() from None
    if not colon:
        raise _who()
    return name, password


def _address(peer: str) -> Address | None:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _place(peer: str) -> str:
    """Whom failures are counted for: an IPv6 host has all of its /64."""
    address = _address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or peer)
