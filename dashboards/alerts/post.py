"""One attempt to tell a webhook: a POST with a limit in time and bytes, that goes nowhere else than it was told."""

import base64
import contextlib
import email.utils
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dashboards.alerts.webhook_settings import SecretUnreadable, Webhook

IDEMPOTENCY_KEY = "Idempotency-Key"
_USER_AGENT = "flowtide"
_MOST_ANSWER_BYTES = 16 << 10
_LONGEST_WAIT_SECONDS = 3_600.0
_AGAIN = {408, 425, 429}  # beside 5xx: the same message may be taken later


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it; neither has the address, its credentials or the message."""

    outcome: str  # one of OUTCOMES
    problem: str = ""  # what went wrong, for people; empty when told
    wait_seconds: float = 0.0  # the receiver asks to be left alone for so long
    reached: bool = True  # False: no answer came, so others for the same receiver would fare no better


TOLD, LATER, REFUSED = "told", "later", "refused"
OUTCOMES = (TOLD, LATER, REFUSED)

Post = Callable[[Webhook, bytes, str], Answer]


def post(webhook: Webhook, body: bytes, key: str) -> Answer:
    """POST a body under an idempotency key; never raises for what is the receiver's, the network's or a file's."""
    try:
        address = webhook.address()
        headers = _headers(webhook, key)
        trust = _trust(webhook) if address.scheme == "https" else None
    except SecretUnreadable as error:
        return Answer(LATER, str(error), reached=False)
    except OSError as error:
        reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        return Answer(LATER, f"webhook {webhook.name}: ca_file {webhook.ca_file}: {reason}", reached=False)
    assert address.hostname
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    seconds = webhook.timeout_seconds
    connection: http.client.HTTPConnection
    if trust is not None:
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=seconds, context=trust)
    else:
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
    late = _Deadline(connection, seconds)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        if late.passed:  # cut off in the middle of the headers, which reads as their end
            raise TimeoutError
        status, wait = answer.status, _wait(answer.getheader("Retry-After"))
        with contextlib.suppress(OSError, http.client.HTTPException):  # it has said its word
            answer.read(_MOST_ANSWER_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"no answer within {seconds:g} s" if late.passed or isinstance(error, TimeoutError) else _reason(error)
        return Answer(LATER, _said(webhook, address.hostname, reason), reached=False)
    finally:
        late.cancel()
        connection.close()
    if 200 <= status < 300:
        return Answer(TOLD)
    said = _said(webhook, address.hostname, f"status {status}{_advice(status)}")
    return Answer(LATER if status >= 500 or status in _AGAIN else REFUSED, said, wait)


class _Deadline:
    """Cuts a connection off when its time is over: a receiver that drips bytes would otherwise never end."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self.passed = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.passed = True
        socket = self._connection.sock
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.shutdown(2)


def _headers(webhook: Webhook, key: str) -> dict[str, str]:
    found = webhook.credentials()
    if webhook.user:
        pair = f"{webhook.user}:{webhook.secret('password', webhook.password)}"
        found["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return found | {
        "Content-Type": "application/json", "User-Agent": _USER_AGENT, IDEMPOTENCY_KEY: key, "Connection": "close",
    }  # fmt: skip


def _trust(webhook: Webhook) -> ssl.SSLContext:
    if not webhook.ca_file:
        return ssl.create_default_context()
    with Path(webhook.ca_file).open("rb"):  # its own error where it cannot be opened
        return ssl.create_default_context(cafile=webhook.ca_file)


def _wait(header: str | None) -> float:
    """Seconds of Retry-After, which has a number or a date."""
    if not header:
        return 0.0
    seconds = 0.0
    if header.strip().isdigit():
        seconds = float(header[:9])
    else:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): set ca_file"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it ended the connection without an answer"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"no HTTP ({type(error).__name__})"  # its text may repeat what was received


def _said(webhook: Webhook, host: str, what: str) -> str:
    return f"webhook {webhook.name} ({host}): {what}"


def _advice(status: int) -> str:
    if 300 <= status < 400:
        return ": a redirect, which is not followed: set url to where it leads"
    if status in (401, 403):
        return ": it does not know us: look at bearer_token, or user and password"
    if status in (404, 405, 410):
        return ": nothing takes messages there: look at url"
    return ""
