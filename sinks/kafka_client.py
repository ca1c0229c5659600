"""How a broker is reached: one set of arguments for every client, bounds of waiting, and the client's own log."""

import importlib.util
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from sinks import BusUnavailable
from sinks.settings import BusSettings, KafkaSettings
from sinks.telemetry import limited

log = structlog.get_logger("sinks.kafka")

MAX_MESSAGE_BYTES = 16 << 20  # an enriched message is at most 8 MB; headers and growth have the rest
_SCHEME = "kafka://"
T = TypeVar("T")
_FIRST_ANSWER_SECONDS = 10.0  # of the first broker; every client that needs one tries again


class KafkaError(Exception):
    """The broker, its topics or the settings are not as we need them; the text says what to do."""


class ClientHung(Exception):  # noqa: N818
    """The client library never came back from a call: what it holds is given up and opened anew."""


class MemberTaken(BusUnavailable):
    """Another process joined under this member's name; this one is out for good."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of waiting; only tests have reason to change them."""

    answer_seconds: float = 30.0  # of any one request; also how long a publish waits for its acknowledgement
    close_seconds: float = 5.0  # a stalled broker must not hold up a stop
    max_poll_seconds: float = 300.0  # the client's own thread polls all the time: only a hung process is this late
    buffer_bytes: int = 64 << 20  # read ahead of the service: eight of the largest enriched messages
    metadata_seconds: float = 15.0  # how late new partitions are noticed

    @property
    def hung_seconds(self) -> float:
        """Beyond this a call of the library does not come back: it is several requests, each with its own bound."""
        return 4 * self.answer_seconds


def servers(url: str) -> list[str]:
    """HOST:PORT of each broker of ``bus.url``; KafkaError when it is none."""
    if not url.startswith(_SCHEME):
        raise KafkaError(f"bus.url = {url!r}: expected kafka://HOST:PORT,HOST:PORT")
    found = [part.strip() for part in url.removeprefix(_SCHEME).rstrip("/").split(",")]
    for part in found:
        host, colon, port = part.rpartition(":")
        if not (colon and host and port.isdigit()):
            raise KafkaError(f"bus.url = {url!r}: {part!r} is not HOST:PORT")
    return found


def arguments(bus: BusSettings, kafka: KafkaSettings, limits: Limits, client_id: str) -> dict[str, Any]:
    """What every client is made with; KafkaError when the checksum library is missing."""
    if importlib.util.find_spec("crc32c") is None:
        raise KafkaError(
            "the package crc32c is missing: without it each byte is checked in Python, a thousand times slower; "
            "run: pip install crc32c"
        )
    protocol = ("SASL_" if kafka.sasl else "") + ("SSL" if kafka.tls else "PLAINTEXT")
    found: dict[str, Any] = {
        "bootstrap_servers": servers(bus.url),
        "client_id": client_id,
        "security_protocol": protocol,
        "request_timeout_ms": _ms(limits.answer_seconds),
        "bootstrap_timeout_ms": _ms(min(limits.answer_seconds, _FIRST_ANSWER_SECONDS)),
        "reconnect_backoff_max_ms": 1000,  # its own 30 s would be added to every outage
        "metadata_max_age_ms": _ms(limits.metadata_seconds),
        "receive_message_max_bytes": 4 * MAX_MESSAGE_BYTES,
    }
    if kafka.tls:
        found |= {
            "ssl_cafile": kafka.ca_file or None,
            "ssl_certfile": kafka.cert_file or None,
            "ssl_keyfile": kafka.key_file or None,
        }
    if kafka.sasl:
        found |= {
            "sasl_mechanism": kafka.sasl,
            "sasl_plain_username": kafka.user,
            "sasl_plain_password": kafka.password.get_secret_value(),
        }
    return found


def bounded(work: Callable[[], T], seconds: float, what: str) -> T:
    """What ``work`` gives or raises; ClientHung when it does not within ``seconds``.

    The library waits without a bound for its network thread (``NetworkSelector.run``), and an answer that is lost there
    would stop a stream silently and for good.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name=f"kafka {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ClientHung(f"{what}: no answer in {seconds:.0f} s, not even an error")
    if failure:
        raise failure[0]
    return result[0]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class _ClientLog(logging.Handler):
    """Takes the client's own log into ours, errors only and at a limited rate: it repeats one each second."""

    def emit(self, record: logging.LogRecord) -> None:
        limited(log.error, f"client {record.name}", "kafka client", part=record.name, text=record.getMessage()[:500])


def take_client_log() -> None:
    """Once a process; later calls change nothing."""
    client = logging.getLogger("kafka")
    if not any(isinstance(handler, _ClientLog) for handler in client.handlers):
        client.addHandler(_ClientLog(logging.ERROR))
        client.setLevel(logging.ERROR)
        client.propagate = False
