"""RADIUS accounting as a source of leases and of daily usage: the port, the journal and the sessions together."""

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from enricher.leases import LeaseRows
from enricher.radius import metrics
from enricher.radius.journal import Journal
from enricher.radius.lease_columns import Lease
from enricher.radius.restoring import HEAD, restore, slices
from enricher.radius.server import AccountingServer, Request
from enricher.radius.sessions import Sessions
from enricher.radius.settings import RadiusSettings, secrets_of
from enricher.radius.usage import DailyUsage
from enricher.sources import SourceStatus

if TYPE_CHECKING:
    from enricher.radius.publish import LeasePublisher
    from sinks.kafka_keyed import KeyedTopic

log = structlog.get_logger("enricher.radius")

_MANY = 50_000  # sessions: a quarter of a second
_SWEPT = 4_000  # sessions that are closed at a time: 50 ms in which nothing is answered


class RadiusSource:
    """Listens from its making until ``close``; its methods may be called by any thread."""

    name = "radius"

    def __init__(
        self, settings: RadiusSettings, folder: Path, zone: str = "UTC", clock: Callable[[], float] = time.time,
        *, publish: "KeyedTopic | None" = None, name: str = "",
    ) -> None:  # fmt: skip
        """Restore what was answered before and listen.

        ``folder`` is the journal's, ``zone`` that of the days of ``usage``, ``publish`` the topic that gets the leases
        of this listener, by its ``name``.  OSError when the port is busy or the folder cannot be used, SecretError
        when a secret cannot be read.
        """
        self.priority = settings.priority
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()  # of the sessions
        self._reading = threading.Lock()  # held while all sessions are read: none is forgotten meanwhile
        self._sessions = Sessions(settings, zone)
        self._journal = Journal(folder)
        self._told: int | None = None  # version that ``poll`` gave last
        self._heard_ms = 0
        self._snapshots = ThreadPoolExecutor(1, "radius-snapshot")
        self._snapshot: Future[None] | None = None
        secrets = secrets_of(settings)
        self._server = AccountingServer(
            settings, secrets, write=self._write, take=self._take, chores=self._chores, clock=clock
        )
        self._restore()
        self._began = clock()
        self._sessions.listen(int(self._began * 1000))
        self.address = self._server.address
        self._publisher: LeasePublisher | None = None
        self._server.start()
        if publish is not None:
            from enricher.radius import publish as publishing  # needs Kafka's client

            self._publisher = publishing.LeasePublisher(publish, name, self)
            self._publisher.start()

    def poll(self, now: float) -> LeaseRows | None:
        """All leases when any changed since the last call."""
        with self._lock:
            if self._told == self._sessions.version:
                return None
            self._told = self._sessions.version
            return self._sessions.rows().with_priority(self.priority)

    def status(self, now: float) -> SourceStatus:
        """Stale when no record came for as long as a session may be silent."""
        sessions, silent = self._sessions, now - max(self._heard_ms / 1000, self._began)
        return SourceStatus(
            self.name, "radius", self.priority, sessions.leases, self._heard_ms / 1000, sessions.newest_ms,
            0 < self._settings.interim_seconds < silent, self._server.failure,
        )  # fmt: skip

    @property
    def unpublished(self) -> int:
        """How many prefixes wait to be published."""
        return self._sessions.unpublished

    @property
    def publish_failed(self) -> str | None:
        """Why leases are not published, for /healthz; None: they are, or need not be."""
        return None if self._publisher is None else self._publisher.failed

    def publish_all(self, others: Sequence[int] = ()) -> None:
        """Publish the leases of all prefixes, and what there is of these."""
        with self._lock:
            self._sessions.publish_all(others)

    def take_unpublished(self, most: int) -> Mapping[int, Sequence[Lease]]:
        """Some of the prefixes that changed, with all their leases."""
        with self._lock:
            return self._sessions.take_unpublished(most)

    def usage(self, first_day: int = 0) -> list[DailyUsage]:
        """Octets by user and local day, from this day (``date.toordinal``) on; in is from the subscriber."""
        with self._reading:
            with self._lock:
                walked = self._sessions.all()
            sums, sessions = self._sessions.sums(), list(walked)
            for some in slices(sessions):
                with self._lock:
                    self._sessions.add_to(sums, some)
        return sums.rows(first_day)

    def close(self) -> None:
        """Answer what has come and end."""
        self._server.stop()
        if self._publisher is not None:
            self._publisher.close()
        self._snapshots.shutdown()
        self._journal.close()

    def _write(self, requests: Sequence[Request]) -> None:
        self._journal.append(
            [HEAD.pack(each.arrived_ms, len(each.source)) + each.source.encode() + each.attributes for each in requests]
        )

    def _take(self, requests: Sequence[Request]) -> None:
        with self._lock:
            resets = self._sessions.resets_seen
            outcomes = [self._sessions.apply(each.record, each.arrived_ms) for each in requests]
            metrics.COUNTER_RESETS.inc(self._sessions.resets_seen - resets)
        for outcome in outcomes:
            metrics.RECORDS.labels(outcome).inc()
        self._heard_ms = max(self._heard_ms, requests[-1].arrived_ms)
        if self._journal.bytes >= self._settings.segment_bytes and (self._snapshot is None or self._snapshot.done()):
            number = self._journal.rotate()
            self._snapshot = self._snapshots.submit(self._write_snapshot, number)

    def _chores(self) -> bool:
        more = False
        if self._reading.acquire(blocking=False):
            with self._lock:
                more = self._sessions.sweep(int(self._clock() * 1000), _SWEPT)
            self._reading.release()
        metrics.SESSIONS.set(self._sessions.count)
        metrics.JOURNAL_BYTES.set(self._journal.bytes)
        return more

    def _write_snapshot(self, number: int) -> None:
        """Requests go on meanwhile: those in it already, in part, are read from the journal again, to no effect."""
        try:
            with self._reading:
                self._journal.snapshot(number, self._saved())
        except OSError as error:
            log.error("accounting snapshot cannot be written, the journal grows", error=str(error))

    def _saved(self) -> Iterator[bytes]:
        with self._lock:
            walked = self._sessions.all()
        yield json.dumps(self._sessions.state()).encode()
        for some in slices(list(walked)):
            with self._lock:
                saved = [session.saved() for session in some]
            yield json.dumps(saved).encode()

    def _restore(self) -> None:
        gc.disable()  # sessions have no cycles, and each walk over a million of them is seconds in vain
        try:
            self._heard_ms = restore(self._journal, self._sessions)
        finally:
            gc.enable()
        if self._sessions.count >= _MANY:
            gc.freeze()  # nor are they walked later, when requests would wait for it
        metrics.DAMAGED_BYTES.set(self._journal.damaged_bytes)
        if self._journal.damaged_bytes:
            log.warning("accounting journal is cut off or damaged", octets=self._journal.damaged_bytes)
        log.info("accounting sessions restored", sessions=self._sessions.count, leases=self._sessions.leases)
