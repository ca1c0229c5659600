"""Settings of RADIUS accounting; frozen, unknown keys refused, secrets never printed."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, PositiveInt, SecretStr, field_validator

from enricher.leases import ACCESSES, SEGMENTS, SERVICES
from enricher.radius.packet import Accounting
from sinks.listening import host_and_port
from sinks.settings import Part

SubscriberAttribute = Literal["user-name", "calling-station-id", "chargeable-user-identity"]
Labels = tuple[str, str, str, str]
"""Service, segment, access and group."""

T = TypeVar("T")

TOPIC = "[A-Za-z0-9._-]{1,249}"
"""Names of topics."""

_FILE = "file:"


class RadiusSettings(Part):
    """Who may tell of sessions, and whose sessions they are."""

    listen: str = Field("", description="HOST:PORT for accounting, usually 0.0.0.0:1813; empty: off")
    clients: dict[str, SecretStr] = Field(
        {}, description='secret by address or prefix of the NAS or proxy, as {"192.0.2.0/24" = "file:/etc/radius.key"}'
    )
    priority: int = Field(100, ge=0, le=255, description="against other sources of leases; the larger wins")
    interim_seconds: float = Field(
        3_600, ge=0, description="a session silent for so long is over: three times Acct-Interim-Interval; 0: never"
    )
    fixed_subscriber: SubscriberAttribute = Field("user-name", description="what names a subscriber of service fixed")
    mobile_subscriber: SubscriberAttribute = Field("calling-station-id", description="and a line of service mobile")
    labels: str = Field(
        "fixed;unknown;pppoe;", description="service;segment;access;group of sessions without a Class that says so"
    )
    nas_labels: dict[str, str] = Field({}, description="the same by address or prefix of the NAS")
    history_hours: float = Field(72, gt=0, description="sessions are kept for so long after their end")
    late_hours: float = Field(48, ge=0, description="records of events that are older are left out; 0: none is too old")
    queue: PositiveInt = Field(8_192, description="requests that wait for the disk; more are dropped, and sent again")
    group: PositiveInt = Field(1_024, description="requests that are flushed to the disk together")
    segment_bytes: PositiveInt = Field(64 << 20, description="of journal; then all sessions are written as a snapshot")
    usage_days: PositiveInt = Field(40, description="local days of which octets are remembered")
    publish: str = Field(
        "",
        pattern=f"^({TOPIC})?$",
        description="compacted topic that gets the leases, for enrichers with a source of kind kafka; empty: off",
    )
    publish_name: str = Field(
        "",
        pattern=r"^[\w.-]*$",
        description="of this listener in the topic's keys, no other may have it; empty: the data directory's own",
    )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        if listen:
            ip_address(host_and_port(listen)[0])
        return listen

    @field_validator("clients")
    @classmethod
    def _have_secrets(cls, clients: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for prefix, secret in clients.items():
            ip_network(prefix)
            if secret.get_secret_value() in ("", _FILE):
                raise ValueError(f"the secret of {prefix} is empty")
        return clients

    @field_validator("labels")
    @classmethod
    def _are_labels(cls, labels: str) -> str:
        if labels_of(labels) is None:
            raise ValueError(f"{labels!r}: write service;segment;access;group, as fixed;personal;pppoe;east")
        return labels

    @field_validator("nas_labels")
    @classmethod
    def _are_labels_of_nas(cls, by_nas: dict[str, str]) -> dict[str, str]:
        for prefix, labels in by_nas.items():
            ip_network(prefix)
            cls._are_labels(labels)
        return by_nas


def labels_of(text: str) -> Labels | None:
    """The four of ``service;segment;access;group``; None when they are none."""
    parts = text.split(";")
    if len(parts) != 4 or parts[0] not in SERVICES or parts[1] not in SEGMENTS or parts[2] not in ACCESSES:
        return None
    if not parts[3].isprintable() or "\\x" in parts[3]:  # what was no UTF-8 reads so
        return None
    return parts[0], parts[1], parts[2], parts[3]


class Naming:
    """Whose session it is."""

    def __init__(self, settings: RadiusSettings) -> None:
        self._labels = labels_of(settings.labels)
        self._by_nas = ByPrefix({prefix: labels_of(text) for prefix, text in settings.nas_labels.items()})
        self._attributes = {"fixed": settings.fixed_subscriber, "mobile": settings.mobile_subscriber}
        self._known: dict[tuple[str, ...], Labels | None] = {}

    def of(self, record: Accounting) -> tuple[str, Labels]:
        """Subscriber ("" when the record does not name it) and labels."""
        labels = self._said(record.classes) or self._by_nas.at(record.nas) or self._labels
        assert labels is not None  # checked with the settings
        attribute = self._attributes[labels[0]]
        if attribute == "user-name":
            return record.user, labels
        return (record.calling if attribute == "calling-station-id" else record.charged), labels

    def _said(self, classes: tuple[str, ...]) -> Labels | None:
        """The first Class that is ours; others may stand beside it."""
        if classes not in self._known:
            if len(self._known) >= ByPrefix.MOST:
                self._known.clear()
            self._known[classes] = next(filter(None, map(labels_of, classes)), None)
        return self._known[classes]


class SecretError(Exception):
    """A secret cannot be read; says which client's, and never the secret."""


def secrets_of(settings: RadiusSettings) -> dict[str, bytes]:
    """By prefix, those in files read; SecretError."""
    found = {}
    for prefix, secret in settings.clients.items():
        text = secret.get_secret_value()
        found[prefix] = text.encode()
        if text.startswith(_FILE):
            path = Path(text.removeprefix(_FILE))
            try:
                found[prefix] = path.read_bytes().strip()
            except OSError as error:
                raise SecretError(f"secret of RADIUS client {prefix}: {path}: {error.strerror}") from None
            if not found[prefix]:
                raise SecretError(f"secret of RADIUS client {prefix}: {path} is empty")
    return found


class ByPrefix(Generic[T]):
    """Values by the longest prefix that holds an address; what is asked again is remembered, within a bound."""

    MOST = 65_536  # a flood of forged senders must not grow it

    def __init__(self, values: Mapping[str, T]) -> None:
        parsed = [(ip_network(prefix), value) for prefix, value in values.items()]
        self._values: list[tuple[IPv4Network | IPv6Network, T]] = sorted(parsed, key=lambda each: -each[0].prefixlen)
        self._known: dict[str, T | None] = {}

    def at(self, address: str) -> T | None:
        """None for an address of no prefix, and for what is no address."""
        if address in self._known:
            return self._known[address]
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        found = next((value for network, value in self._values if parsed in network), None)
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[address] = found
        return found
