"""RADIUS accounting as a source of leases and of daily usage: the port, the journal and the sessions together."""

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog

from enricher.leases import LeaseRows
from enricher.radius import metrics
from enricher.radius.journal import Journal
from enricher.radius.packet import PacketError, parse
from enricher.radius.server import AccountingServer, Request
from enricher.radius.session import Session
from enricher.radius.sessions import Sessions
from enricher.radius.settings import RadiusSettings, secrets_of
from enricher.radius.usage import DailyUsage
from enricher.sources import SourceStatus

log = structlog.get_logger("enricher.radius")

_HEAD = struct.Struct("<qB")  # of a journal record: arrival (Unix milliseconds), length of the source's address
_SLICE = 500  # sessions that are read at a time, so that requests need not wait for all of them


class RadiusSource:
    """Listens from its making until ``close``; its methods may be called by any thread."""

    name = "radius"

    def __init__(
        self, settings: RadiusSettings, folder: Path, zone: str = "UTC", clock: Callable[[], float] = time.time
    ) -> None:
        """Restore what was answered before and listen.

        ``folder`` is the journal's, ``zone`` that of the days of ``usage``.  OSError when the port is busy or the
        folder cannot be used, SecretError when a secret cannot be read.
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
        self._server.start()

    def poll(self, now: float) -> LeaseRows | None:
        """All leases when any changed since the last call."""
        with self._lock:
            if self._told == self._sessions.version:
                return None
            self._told = self._sessions.version
            self._sessions.forget_changes()  # all is told; who asks compares
            return self._sessions.rows().with_priority(self.priority)

    def status(self, now: float) -> SourceStatus:
        """Stale when no record came for as long as a session may be silent."""
        sessions, silent = self._sessions, now - max(self._heard_ms / 1000, self._began)
        return SourceStatus(
            self.name, "radius", self.priority, sessions.leases, self._heard_ms / 1000, sessions.newest_ms,
            0 < self._settings.interim_seconds < silent, self._server.failure,
        )  # fmt: skip

    def usage(self, first_day: int = 0) -> list[DailyUsage]:
        """Octets by user and local day, from this day (``date.toordinal``) on; in is from the subscriber."""
        with self._reading:
            with self._lock:
                sums, sessions = self._sessions.sums(), list(self._sessions.all())
            for some in _slices(sessions):
                with self._lock:
                    self._sessions.add_to(sums, some)
        return sums.rows(first_day)

    def close(self) -> None:
        """Answer what has come and end."""
        self._server.stop()
        self._snapshots.shutdown()
        self._journal.close()

    def _write(self, requests: Sequence[Request]) -> None:
        self._journal.append(
            [
                _HEAD.pack(each.arrived_ms, len(each.source)) + each.source.encode() + each.attributes
                for each in requests
            ]
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

    def _chores(self) -> None:
        if self._reading.acquire(blocking=False):
            with self._lock:
                self._sessions.sweep(int(self._clock() * 1000))
            self._reading.release()
        metrics.SESSIONS.set(self._sessions.count)
        metrics.JOURNAL_BYTES.set(self._journal.bytes)

    def _write_snapshot(self, number: int) -> None:
        """Requests go on meanwhile: those in it already, in part, are read from the journal again, to no effect."""
        try:
            with self._reading:
                self._journal.snapshot(number, self._saved())
        except OSError as error:
            log.error("accounting snapshot cannot be written, the journal grows", error=str(error))

    def _saved(self) -> Iterator[bytes]:
        with self._lock:
            state, sessions = json.dumps(self._sessions.state()).encode(), list(self._sessions.all())
        yield state
        for some in _slices(sessions):
            with self._lock:
                saved = [session.saved() for session in some]
            yield json.dumps(saved).encode()

    def _restore(self) -> None:
        """The snapshot, then all that was accepted since."""
        is_first = True
        for is_saved, record in self._journal.read():
            if is_saved and is_first:
                self._sessions.restore(json.loads(record))
            elif is_saved:
                for saved in json.loads(record):
                    session = Session.restored(saved)
                    self._sessions.insert(session)
                    self._heard_ms = max(self._heard_ms, session.heard_ms)
            else:
                self._replay(record)
            is_first = False
        self._sessions.sweep(self._heard_ms)
        metrics.DAMAGED_BYTES.set(self._journal.damaged_bytes)
        if self._journal.damaged_bytes:
            log.warning("accounting journal is cut off or damaged", octets=self._journal.damaged_bytes)
        log.info("accounting sessions restored", sessions=self._sessions.count, leases=self._sessions.leases)

    def _replay(self, record: bytes) -> None:
        arrived_ms, length = _HEAD.unpack_from(record)
        source = record[_HEAD.size : _HEAD.size + length].decode()
        try:
            self._sessions.apply(parse(record[_HEAD.size + length :], source), arrived_ms)
        except PacketError as error:  # of an older version that took what we refuse
            log.warning("journal record left out", reason=error.reason)
        self._heard_ms = max(self._heard_ms, arrived_ms)


def _slices(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    return (sessions[at : at + _SLICE] for at in range(0, len(sessions), _SLICE))
