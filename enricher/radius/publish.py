"""The listener's leases, written to a compacted topic for the enrichers that do not hear RADIUS.

A key is ``radius/NAME PREFIX SINCE`` (the listener's name; Unix milliseconds), so a lease whose end changes takes its
own place, and nobody else's.  What the topic has of this listener is read at the start, and again after anything that
leaves it unknown; then every prefix of either side is compared, as later each one that changed: what is missing or
differs is written, what the sessions do not know is removed.  Keys of others are never touched.

Changes wait in the sessions, as a set of prefixes, while brokers are away; nothing is kept for each change.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from enricher.leases import HELD
from enricher.prefixes import MAPPED
from enricher.radius import metrics
from enricher.radius.lease_columns import Lease
from sinks import BusUnavailable
from sinks.kafka_client import ClientHung
from sinks.kafka_keyed import UNUSABLE, KeyedTopic, KeyedWriter, Replaced
from sinks.telemetry import limited

log = structlog.get_logger("enricher.radius")

_MOST_PREFIXES = 1_000  # of one round: sessions are locked while their leases are taken
_IDLE_SECONDS = 0.5
_AWAY_SECONDS = 10.0  # without an acknowledgement; then it is said
_CHECK_SECONDS = 30.0  # how late it is noticed that the topic is another
_RETRY_SECONDS = 2.0
_CLOSE_SECONDS = 5.0
_MOST_RETRY_SECONDS = 60.0  # the topic is read at each attempt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRITTEN = struct.Struct("<qq")  # begin of a lease in the topic, hash of its value; of each prefix one after the other

Records = list[tuple[bytes, bytes | None]]


class Changes(Protocol):
    """The sessions, as the publisher sees them; may be called by any thread."""

    def publish_all(self, others: Sequence[int] = ()) -> None:
        """Take all prefixes, and these, for changed."""

    def take_unpublished(self, most: int) -> Mapping[int, Sequence[Lease]]:
        """All leases of some prefixes that changed; empty when none did."""

    @property
    def unpublished(self) -> int:
        """How many prefixes wait."""


class Published:
    """What the topic has of one listener, and what to write for it to have something else."""

    def __init__(self, name: str) -> None:
        self._begin = f"radius/{name} ".encode()
        self._by_prefix: dict[int, bytes] = {}
        self._stray: set[bytes] = set()  # keys of this listener that it would not write

    @property
    def prefixes(self) -> Sequence[int]:
        """Those with leases in the topic."""
        return list(self._by_prefix)

    def read(self, key: bytes | None, value: bytes | None) -> None:
        """A record of the topic, in its order."""
        if key is None or not key.startswith(self._begin):
            return
        known = _key_of(key[len(self._begin) :])
        if known is None or self._key(*known) != key:
            (self._stray.discard if value is None else self._stray.add)(key)
            return
        prefix, since = known
        written = self._of(prefix)
        written.pop(since, None)
        if value is not None:
            written[since] = hash(value)
        self._keep(prefix, written)

    def differences(self, wanted: Mapping[int, Sequence[Lease]]) -> Records:
        """What to write; from now on it counts as written."""
        records: Records = [(key, None) for key in self._stray]
        self._stray.clear()
        for prefix, leases in wanted.items():
            written = self._of(prefix)
            # Of leases with one begin the last counts, as in the table.  Before 1970 no file may say anything.
            values = {max(0, lease[0]): _value(prefix, lease) for lease in leases if lease[1] > 0}
            records += [
                (self._key(prefix, since), value)
                for since, value in values.items()
                if written.get(since) != hash(value)
            ]
            # Behind what takes their place: nobody is without a lease in between.
            records += [(self._key(prefix, since), None) for since in written if since not in values]
            self._keep(prefix, {since: hash(value) for since, value in values.items()})
        return records

    def _key(self, prefix: int, since: int) -> bytes:
        return self._begin + f"{_text(prefix)} {since}".encode()

    def _of(self, prefix: int) -> dict[int, int]:
        return dict(_WRITTEN.iter_unpack(self._by_prefix.get(prefix, b"")))

    def _keep(self, prefix: int, written: Mapping[int, int]) -> None:
        if written:
            self._by_prefix[prefix] = b"".join(_WRITTEN.pack(*each) for each in written.items())
        else:
            self._by_prefix.pop(prefix, None)


class LeasePublisher:
    """A thread from ``start`` to ``close``; RADIUS does not wait for it."""

    def __init__(self, topic: KeyedTopic, name: str, changes: Changes) -> None:
        self._topic, self._name, self._changes = topic, name, changes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="radius publish", daemon=True)
        self._begun = False
        self.failed: str | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what has changed, if brokers answer, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        pause = _RETRY_SECONDS
        while not self._stop.is_set():
            self._begun = False
            try:
                self._publish()
            except UNUSABLE as error:
                self._say(str(error))
            except Exception as error:  # this thread's end would be a silent stop
                self._say(repr(error))
                log.error("publishing of leases begins again", error=repr(error), exc_info=True)
            self._stop.wait(pause)
            pause = _RETRY_SECONDS if self._begun else min(2 * pause, _MOST_RETRY_SECONDS)

    def _publish(self) -> None:
        """Make the topic as the sessions are, and keep it so; returns when told to stop."""
        published = self._read()
        if published is None:
            return
        writer = self._topic.writer()
        try:
            self._changes.publish_all(published.prefixes)
            self.failed, checked = None, time.monotonic()
            while not self._stop.is_set() or self._changes.unpublished:
                records = published.differences(self._changes.take_unpublished(_MOST_PREFIXES))
                metrics.UNPUBLISHED.set(self._changes.unpublished)
                if records:
                    writer.send(records)
                    if not self._settled(writer):
                        return
                    metrics.PUBLISHED.labels("removed").inc(sum(value is None for _, value in records))
                    metrics.PUBLISHED.labels("lease").inc(sum(value is not None for _, value in records))
                    self.failed = None
                self._begun = True
                if time.monotonic() - checked > _CHECK_SECONDS:
                    self._check(writer)
                    checked = time.monotonic()
                if not self._changes.unpublished:
                    self._stop.wait(_IDLE_SECONDS)
        finally:
            writer.close()

    def _read(self) -> Published | None:
        """What the topic has; None: told to stop."""
        published, reader = Published(self._name), self._topic.reader()
        try:
            while not reader.is_complete:
                if self._stop.is_set():
                    return None
                for record in reader.poll(_IDLE_SECONDS):
                    published.read(record.key, record.value)
        finally:
            reader.close()
        return published

    def _settled(self, writer: KeyedWriter) -> bool:
        """Whether all is in the topic; False: told to stop before.  As long as brokers are away it waits."""
        begun = told = time.monotonic()
        while not writer.settled(_IDLE_SECONDS):
            now = time.monotonic()
            if now - begun > _AWAY_SECONDS:
                self._say(f"topic {self._topic.name}: not acknowledged for {now - begun:.0f} s")
            if now - told > _CHECK_SECONDS:  # a topic that was made again would never acknowledge
                self._check(writer)
                told = time.monotonic()
            metrics.UNPUBLISHED.set(self._changes.unpublished)
            if self._stop.is_set() and now - begun > _CLOSE_SECONDS:
                return False
        return True

    def _check(self, writer: KeyedWriter) -> None:
        """Replaced, KafkaError; brokers that are away are waited for by the writer."""
        try:
            writer.check()
        except Replaced:
            raise
        except (BusUnavailable, ClientHung) as error:
            self._say(str(error))
        else:
            self.failed = None

    def _say(self, reason: str) -> None:
        self.failed = f"leases are not published, and will be: {reason}"
        limited(log.warning, "publish", "leases are not published", topic=self._topic.name, reason=reason)


def _value(prefix: int, lease: Lease) -> bytes:
    """As ``enricher.sources.lease_records`` reads it."""
    since, until, subscriber, (service, segment, access, group) = lease
    columns = {
        "prefix": _text(prefix), "from": _time(max(0, since)), "to": None if until == HELD else _time(until),
        "subscriber": subscriber, "group": group, "service": service, "segment": segment, "access": access,
    }  # fmt: skip
    return json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()


def _time(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(prefix: int) -> str:
    address, bits = prefix >> 8, prefix & 0xFF
    if address >> 32 == MAPPED and bits >= 96:
        return f"{socket.inet_ntop(socket.AF_INET, (address & 0xFFFFFFFF).to_bytes(4))}/{bits - 96}"
    return f"{socket.inet_ntop(socket.AF_INET6, address.to_bytes(16))}/{bits}"


def _key_of(rest: bytes) -> tuple[int, int] | None:
    """Prefix and begin of a key behind the listener's name."""
    try:
        prefix, since = rest.decode("ascii").split(" ")
        address, length = prefix.split("/")
        if ":" in address:
            value, bits = int.from_bytes(socket.inet_pton(socket.AF_INET6, address)), int(length)
        else:
            value, bits = int.from_bytes(socket.inet_pton(socket.AF_INET, address)) | MAPPED << 32, int(length) + 96
        return (value << 8 | bits, int(since)) if 0 <= bits <= 128 and 0 <= int(since) < HELD else None
    except (OSError, ValueError):
        return None
