"""Leases from a compacted topic of Kafka, which every enricher reads whole and then follows.

A thread of its own reads: a look at the source never waits for a broker.  Until the topic has been read to the end
that it had, the leases of the last run stay in force; so they do when brokers, or the topic, go away.  A topic that
was made again, or of which what comes next is gone, is read from its begin, beside the leases in force; while it has no
lease it does not take their place.

Of a record that is refused the lease of its key stays as it was.  Once the topic is compacted only the bad record is
left of that key, and a new reader does not know the lease: writers should look at the counters.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from enricher.leases import LeaseRows
from enricher.metrics import LEASE_RECORDS, LEASE_RECORDS_SKIPPED
from enricher.sources import SourceStatus
from enricher.sources.keyed_leases import KeyedLeases
from enricher.sources.lease_records import RECORD_REFUSALS, LeaseRecord, RecordError, parse_record
from sinks.kafka_keyed import UNUSABLE, Keyed, KeyedReader, KeyedTopic, Replaced
from sinks.telemetry import limited

log = structlog.get_logger("enricher")

_POLL_SECONDS = 0.5
_CHECK_SECONDS = 10.0  # how late it is noticed that brokers are away or the topic is another
_RETRY_SECONDS = 2.0
_FORGET_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_SLICE = 1_000  # records that are taken at a time, so that a look need not wait for all of them


class KafkaSource:
    """Reads from ``start`` until ``close``; ``poll`` and the others may be called by any thread."""

    def __init__(
        self, name: str, topic: KeyedTopic, *, priority: int = 0, history_seconds: float = 172_800,
        most: int = 4_000_000, stale_seconds: float = 0, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """``stale_seconds``: how long writers may say nothing; 0: for ever."""
        self.name, self.priority, self._topic = name, priority, topic
        self._most, self._history_ms, self._stale = most, int(history_seconds * 1000), stale_seconds
        self._clock = clock
        self._lock = threading.Lock()  # of the leases
        self._leases: KeyedLeases | None = None  # None: the topic has not been read to its end yet
        self._told: tuple[int, int] | None = None  # reading and version that ``poll`` gave last
        self._reading = 0
        self._restored = 0
        self._read_at = 0.0
        self._error: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"leases {name}", daemon=True)
        for reason in RECORD_REFUSALS:
            LEASE_RECORDS_SKIPPED.labels(name, reason)
        LEASE_RECORDS.labels(name)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def is_told(self) -> bool:
        """Whether ``poll`` has given what the whole topic says."""
        return self._told is not None

    def restore(self, rows: LeaseRows) -> None:
        """Leases of an earlier run: in force until the topic is read."""
        self._restored = len(rows)

    def poll(self, now: float) -> LeaseRows | None:
        """All leases, when any changed."""
        with self._lock:
            leases = self._leases
            if leases is None or self._told == (self._reading, leases.version):
                return None
            self._told = (self._reading, leases.version)
            return leases.rows()

    def status(self, now: float) -> SourceStatus:
        """What is known now; stale when nobody has written for the limit."""
        leases = self._leases
        return SourceStatus(
            self.name, "kafka", self.priority, self._restored if leases is None else len(leases), self._read_at,
            0 if leases is None else leases.newest_ms,
            stale=bool(self._stale) and now - self._read_at > self._stale, error=self._error,
        )  # fmt: skip

    def close(self) -> None:
        """End the thread; in the middle of a request it ends later, by itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Replaced as error:
                log.warning("topic of leases is read from its begin", source=self.name, reason=str(error))
            except UNUSABLE as error:
                self._error = str(error)
            except Exception as error:  # this thread's end would be a silent stop of the source
                self._error = f"topic {self._topic.name}: {error!r}"
                log.error("reader of leases begins again", source=self.name, error=repr(error), exc_info=True)
            self._stop.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        """Read the topic from its begin, and on; returns when told to stop."""
        reader = self._topic.reader()
        try:
            leases, complete = KeyedLeases(self._most, self._history_ms), False
            begun = checked = forgot = time.monotonic()
            while not self._stop.is_set():
                records = reader.poll(_POLL_SECONDS)
                for at in range(0, len(records), _SLICE):
                    self._take(leases, records[at : at + _SLICE])
                now = time.monotonic()
                if reader.is_complete and not complete:
                    complete = self._put_in_force(leases, now - begun)
                if now - forgot > _FORGET_SECONDS:
                    forgot = now
                    with self._lock:
                        leases.forget(int(self._clock() * 1000))
                if now - checked > _CHECK_SECONDS:
                    self._check(reader, is_in_force=complete)
                    checked = time.monotonic()
        finally:
            reader.close()

    def _put_in_force(self, leases: KeyedLeases, seconds: float) -> bool:
        """The topic is read to its end; False: it has nothing, where there was something, and may have been lost."""
        before = self._restored if self._leases is None else len(self._leases)
        if before and not len(leases):
            self._error = (
                f"topic {self._topic.name} has no lease, where there were {before:,}: these stay until it has one"
            )
            return False
        with self._lock:
            self._leases, self._error = leases, None
            self._reading += 1
            self._read_at = self._clock()
        log.info("topic of leases is read", source=self.name, topic=self._topic.name, leases=len(leases),
                 seconds=round(seconds, 1))  # fmt: skip
        return True

    def _check(self, reader: KeyedReader, *, is_in_force: bool) -> None:
        try:
            reader.check()
        except Replaced:
            raise
        except UNUSABLE as error:  # the reader's client connects again by itself
            self._error = str(error)
        else:
            self._error = None if is_in_force else self._error

    def _take(self, leases: KeyedLeases, records: Sequence[Keyed]) -> None:
        parsed: list[tuple[Keyed, LeaseRecord | None]] = []
        for record in records:
            try:
                parsed.append((record, parse_record(record.key, record.value)))
            except RecordError as error:
                self._refuse(record, error)
        now = self._clock()
        with self._lock:
            for record, lease in parsed:
                try:
                    leases.take(record.key or b"", lease, int(now * 1000))
                except RecordError as error:
                    self._refuse(record, error)
        self._read_at = now if leases is self._leases else self._read_at
        LEASE_RECORDS.labels(self.name).inc(len(records))

    def _refuse(self, record: Keyed, error: RecordError) -> None:
        LEASE_RECORDS_SKIPPED.labels(self.name, error.kind).inc()
        limited(
            log.warning, f"{self.name} {error.kind}", "record of a lease refused, the lease of its key stays",
            source=self.name, topic=self._topic.name, partition=record.partition, offset=record.offset,
            reason=str(error),
        )  # fmt: skip
