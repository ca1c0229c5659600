"""The whole part on one screen: receive, decode, cut, publish.

The receiver has a thread of its own; decoding and publishing share this one, because NumPy, LZ4 and the file write all
release the interpreter while they work.
"""

import gc
import importlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from collector import metrics
from collector.decoder import Decoder, StateError
from collector.decoder.admission import Admission
from collector.interfaces import InterfaceFile, InterfaceFileError
from collector.ledger import Ledger
from collector.publisher import Publisher
from collector.receiver import ReceiverCounts, ledger_shape, make_receiver
from collector.settings import CollectorSettings
from collector.sockets import BoundSocket
from sinks import Bus
from sinks.allocation import keep_freed
from sinks.codec import Chosen
from sinks.segments import write_atomic
from sinks.telemetry import limited

log = structlog.get_logger("collector")

_READ_SECONDS = 0.05
_GROUPS = 4  # batches collected at once, at most; about 9 MB each as columns
_NOTES_SECONDS = 2.0  # counters reach SQL this often
_STATE_SECONDS = 10.0  # templates learnt since are learnt again after a crash


class Collector:
    """UDP datagrams -> messages of ``flows.raw``."""

    def __init__(
        self,
        bus: Bus,
        sockets: Sequence[BoundSocket],
        settings: CollectorSettings,
        state_file: Path,
        compression: Chosen = "lz4",
    ) -> None:
        """``state_file`` keeps templates, samplers and kernel counters over restarts; a bad one is left aside."""
        self._sockets, self._settings, self._state_file = sockets, settings, state_file
        self._decoder = Decoder(settings.decoder, settings.id, Admission(settings.admission), bus.partitions)
        self._interfaces = InterfaceFile(Path(settings.interfaces)) if settings.interfaces else None
        self._full_rows = settings.decoder.rows * min(bus.partitions, _GROUPS)  # a batch has rows of one partition
        self._publisher = Publisher(bus, settings.id, compression)
        self._ledger = self._open_ledger()
        self._receiver = make_receiver(sockets, settings.receiver, self._ledger)
        self._read_before = ReceiverCounts()
        self._drops_file = state_file.with_name("kernel_drops.json")
        self._drops_before = self._drops_told = self._drops_of_predecessor()
        self._group_since = self._noted_at = self._saved_at = time.monotonic()
        self._rows = 0
        self._newest = 0.0

    def run(self, stop: threading.Event) -> None:
        """Receive until ``stop``; then what was received is decoded, published and flushed."""
        keep_freed()
        self._restore()
        self._read_interfaces()
        # NumPy imports this at the first batch, 30 ms that a default socket buffer does not last.
        importlib.import_module("numpy.ma")
        gc.freeze()  # what is loaded stays: no collection walks it again while datagrams wait
        self._receiver.start()
        try:
            while not stop.is_set():
                self._step(_READ_SECONDS)
            self._receiver.stop()
            while self._step(0.0):
                pass
            self._flush()
            self._decoder.close()
            self._flush()
            self._note()
            self._save(running=False)
            self._ledger.at(self._receiver.handed(), 0, 0, 0)  # what waits for its template is in the saved state
        finally:
            self._publisher.close()

    def health(self) -> dict[str, object]:
        """Facts for /healthz."""
        return {
            "ok": True,
            "listen": [bound.name for bound in self._sockets],
            "rows": self._rows,
            "seconds_since_last_datagram": round(time.monotonic() - self._newest, 1) if self._newest else None,
        }

    def _step(self, timeout: float) -> bool:
        """One read, decoded; publishes and saves what is due.  False: nothing came."""
        datagrams = self._receiver.read(timeout)
        now = time.monotonic()
        if datagrams is not None:
            if not self._decoder.waiting():
                self._group_since = now
            self._newest = now
            try:
                self._decoder.add(datagrams)
            except Exception as error:  # no input may end the loop; what was added before stays
                metrics.RESTARTS.inc()
                self._publisher.note("decode", "unforeseen_errors", 1)
                limited(log.error, "decode", "datagrams not decoded: please report", error=str(error), exc_info=True)
            self._mark()
        full = self._decoder.waiting() >= self._full_rows
        if full or now - self._group_since >= self._settings.group_seconds:
            self._flush()
            self._group_since = now
        if now - self._noted_at >= _NOTES_SECONDS:
            self._decoder.expire(int(time.time() * 1000))
            self._mark()
            self._read_interfaces()
            self._note()
            self._noted_at = now
        if now - self._saved_at >= _STATE_SECONDS:
            self._save(running=True)
            self._saved_at = now
        return datagrams is not None

    def _flush(self) -> None:
        while (batch := self._decoder.take()) is not None:
            self._mark(len(batch))
            self._rows += len(batch)
            self._publisher.publish(batch)
        self._mark()  # the last rows may have gone to those that wait for their sampler

    def _mark(self, taken: int = 0) -> None:
        """Tell the ledger where the decoder is; ``taken`` rows just left it."""
        decoder = self._decoder
        self._ledger.at(self._receiver.handed(), decoder.waiting(), decoder.held_rows(), decoder.held()[0], taken)

    def _note(self) -> None:
        """Bring all counters up to date, for /metrics and for SQL."""
        counts = self._receiver.counts()
        before, self._read_before = self._read_before, counts
        metrics.DATAGRAMS.inc(counts.datagrams - before.datagrams)
        metrics.OCTETS.inc(counts.octets - before.octets)
        metrics.TRUNCATED.inc(counts.truncated - before.truncated)
        metrics.RECEIVER_DROPS.inc(counts.dropped - before.dropped)
        metrics.STALLS.inc(counts.stalls - before.stalls)
        note = self._publisher.note
        note("receive", "datagrams", counts.datagrams - before.datagrams)
        note("receive", "truncated_datagrams", counts.truncated - before.truncated)
        note("receive", "dropped_datagrams_queue_full", counts.dropped - before.dropped)
        drops_now = self._receiver.kernel_drops()
        for socket, drops in drops_now.items():
            lost = (drops - self._drops_before.get(socket, 0)) % 2**32
            metrics.KERNEL_DROPS.labels(socket).inc(lost)
            note("receive", "dropped_datagrams_kernel", lost)
            if lost:
                limited(log.warning, socket, "kernel dropped datagrams", socket=socket, count=lost,
                        remedy="a larger net.core.rmem_max, or fewer flows a second")  # fmt: skip
        self._drops_before = drops_now
        metrics.TEMPLATES.set(self._decoder.templates())
        metrics.HELD_BYTES.set(self._decoder.held()[1])
        metrics.HELD_ROWS.set(self._decoder.held_rows())
        metrics.TEMPLATE_AGE.set(self._decoder.oldest_template_ms(int(time.time() * 1000)) / 1000)
        learnt = self._decoder.take_counts()
        for count in learnt:
            metrics.EXPORTER.labels(count.exporter, count.counter).inc(count.value)
        self._publisher.note_exporters(learnt)
        for table, rows in self._decoder.take_observations():
            self._publisher.observe(table, rows)
        if self._publisher.publish_notes() and drops_now != self._drops_told:  # told first: a kill between counts twice
            self._drops_told = drops_now
            inodes = {os.fstat(bound.fileno()).st_ino: drops_now[bound.name] for bound in self._sockets}
            self._state_file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._drops_file, json.dumps(inodes).encode())

    def _open_ledger(self) -> Ledger:
        path, shape = self._state_file.with_name("ledger"), ledger_shape(self._settings.receiver)
        try:
            ledger = Ledger.open(path, shape, self._publisher.has)
        except OSError as error:
            log.error("no ledger: what a kill of this process loses will not be known", file=str(path),
                      reason=str(error), remedy="room for a few megabytes, then a restart")  # fmt: skip
            ledger = Ledger.anonymous(shape)
        self._publisher.account_to(ledger)
        return ledger

    def _drops_of_predecessor(self) -> dict[str, int]:
        """The kernel's counters as last noted: the sockets outlive this process, so drops meanwhile are counted too."""
        try:
            noted: dict[str, int] = json.loads(self._drops_file.read_bytes())
        except (FileNotFoundError, ValueError):
            noted = {}
        return {bound.name: int(noted.get(str(os.fstat(bound.fileno()).st_ino), 0)) for bound in self._sockets}

    def _read_interfaces(self) -> None:
        """Take up the operator's table of interfaces when it has changed."""
        if self._interfaces is None:
            return
        try:
            interfaces = self._interfaces.read_if_changed()
        except InterfaceFileError as error:
            metrics.INTERFACES_OK.set(0)
            log.error("table of interfaces refused, the last one stays in force", reason=str(error))
            return
        if interfaces is not None:
            metrics.INTERFACES_OK.set(1)
            self._decoder.override_interfaces(interfaces, int(time.time() * 1000))
            log.info("table of interfaces in force", interfaces=len(interfaces))

    def _restore(self) -> None:
        try:
            data = self._state_file.read_bytes()
        except FileNotFoundError:
            return
        try:
            templates = self._decoder.restore(data)
        except StateError as error:
            log.warning("saved state refused, templates are learnt anew", file=str(self._state_file), reason=str(error))
            return
        log.info("state restored", templates=templates)

    def _save(self, running: bool) -> None:
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._state_file, self._decoder.state(running))
