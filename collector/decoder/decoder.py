"""The decoder: dispatch on the version, batches, counters, state."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.decoder import ipfix, netflow5, netflow9
from collector.decoder.admission import REFUSED, Admission
from collector.decoder.errors import Count, Reason
from collector.decoder.extra import Extras
from collector.decoder.filling import Columns, join
from collector.decoder.held_rows import HeldRows
from collector.decoder.layouts import Layout
from collector.decoder.messages import Messages, Runs
from collector.decoder.names import Interfaces
from collector.decoder.plain import FEWEST, PlainReader
from collector.decoder.records import Segment, fill
from collector.decoder.sequence import UNKNOWN
from collector.decoder.sets import Dialect, Intake
from collector.decoder.sflow5 import SFlow5
from collector.decoder.sflow_slab import SFlowSlab
from collector.decoder.speeds import flag_beyond_speed
from collector.decoder.state import dump, load
from collector.settings import DecoderSettings
from sinks.batch import Batch
from sinks.schema import RAW, Flag

Array = NDArray[Any]

_NETFLOW9 = Dialect(
    netflow9.VERSION,
    netflow9.TEMPLATE_SET,
    netflow9.OPTIONS_SET,
    netflow9.read_templates,
    netflow9.read_options_templates,
)
_IPFIX = Dialect(
    ipfix.VERSION, ipfix.TEMPLATE_SET, ipfix.OPTIONS_SET, ipfix.read_templates, ipfix.read_options_templates
)
_SFLOW5 = b"\0\0\0\x05"
_BLOCK = 16_384
"""Rows filled at once: their octets stay in the processor's cache while field after field is read (measured: 36 ms per
million rows of 13 fields without, 14 with)."""
_LINE = 64  # octets of a cache line: columns begin at one
_NO_LIMIT = 1 << 16  # of sets: a datagram has not room for more
_FLAGGED = {
    Flag.NO_FLOW_TIME: "rows_no_flow_time",
    Flag.TIME_OUT_OF_BOUNDS: "rows_time_out_of_bounds",
    Flag.LONG_DURATION: "rows_long_duration",
    Flag.IMPLAUSIBLE: "rows_implausible",
    Flag.UNSOUND_PACKET: "rows_unsound_packet",
}


class Decoder:
    """Turns datagrams into batches; one thread at a time."""

    def __init__(
        self, settings: DecoderSettings, collector: str, admission: Admission | None = None, slots: int = 1
    ) -> None:
        """``collector`` fills the column of that name; without ``admission`` everyone is admitted.

        A batch has rows and labels of exporters of one slot of ``slots`` (``batcher.slot_of``), but for rows that had
        waited for their sampler.
        """
        self._settings, self._collector = settings, collector
        self._admission = None if admission is None or admission.is_open else admission
        self._intake = Intake(settings, slots)
        self._held_rows = HeldRows(settings, self._intake.tally)
        self._extras = Extras(settings.extra)
        self._sflow = SFlow5(self._intake)
        self._netflow5_layout = Layout(netflow5.VERSION, netflow5.FIELDS)
        # Where each exporter may send so much only, every datagram is asked for.
        fixed = self._admission is None or self._admission.is_lasting
        self._plain = PlainReader(self._intake, self._admission, self._netflow5_layout) if fixed else None
        self._sflow_slab = SFlowSlab(self._intake, self._admission, self._sflow.layouts) if fixed else None
        self._segments: deque[tuple[Messages, Segment]] = deque()
        self._segment_rows = 0

    def add(self, datagrams: Datagrams) -> None:
        """Walk the datagrams and keep what they hold; the payloads are not needed any more when it returns."""
        received_ms, truncated = datagrams.received_ms, datagrams.truncated
        exporters, payloads = datagrams.exporters, datagrams.payloads
        left: list[int] | range = range(len(datagrams))
        if datagrams.slots is not None and self._plain is not None and self._sflow_slab is not None:
            left = self._sflow_slab.read(datagrams.slots, received_ms)
            if len(left) >= FEWEST:
                odd = self._plain.read(datagrams.slots, received_ms)
                left = odd if len(left) == len(datagrams) else sorted(set(odd).intersection(left))
        for index in left:
            exporter, payload = exporters[index], payloads[index]
            if self._admission is not None and (refused := self._admission.refuses(exporter, received_ms)) is not None:
                self._intake.drop(exporter if refused is Reason.RATE_LIMIT else REFUSED, refused)
                continue
            version = payload[0] << 8 | payload[1] if len(payload) > 1 else -1
            flags = Flag.TRUNCATED.value if truncated and index in truncated else 0
            if version == netflow9.VERSION:
                self._netflow9(exporter, payload, received_ms, flags)
            elif version == ipfix.VERSION:
                self._ipfix(exporter, payload, received_ms, flags)
            elif version == netflow5.VERSION:
                self._netflow5(exporter, payload, received_ms, flags)
            elif payload[:4] == _SFLOW5:
                self._sflow.read(exporter, payload, received_ms, flags)
            else:
                self._intake.drop(exporter, _why_not(payload))

    def waiting(self) -> int:
        """Flow records collected and not yet taken."""
        return self._intake.rows + self._segment_rows

    def take(self) -> Batch | None:
        """The next batch of about ``settings.rows`` rows, columns as ``sinks.schema.RAW``; None: nothing waits.

        Rows whose sampler is not known yet come when it is, or is given up (``held_rows``).
        """
        while (batch := self._next()) is not None:
            if (rest := self._held_rows.hold(batch)) is not None:
                return rest
        if self._intake.retold:
            self._held_rows.release(self._intake.retold, self._intake.domains.sampler)
            self._intake.retold.clear()
        return self._held_rows.take()

    def flush(self) -> None:
        """Wait no longer for samplers; what waited comes by the next ``take``, of unknown sampling."""
        self._held_rows.give_up()

    def close(self) -> None:
        """The last datagram was added: what was missed so far stays missed.  Before the last ``take_counts``."""
        self.flush()
        for domain in self._intake.domains.known.values():
            domain.sequence.close()

    def held_rows(self) -> int:
        """Rows that wait for their sampler now."""
        return self._held_rows.rows

    def _next(self) -> Batch | None:
        if not self._segments:
            self._cut()
        chosen: list[Segment] = []
        rows = 0
        messages: Messages | None = None
        while self._segments and (rows == 0 or rows + self._segments[0][1].count <= self._settings.rows):
            if messages is not None and self._segments[0][0] is not messages:
                break
            messages, segment = self._segments.popleft()
            chosen.append(segment)
            rows += segment.count
        if messages is None:
            return None
        self._segment_rows -= rows
        return self._batch(messages, chosen, rows)

    def take_counts(self) -> list[Count]:
        """How much each counter (``errors.COUNTERS``) grew since the last call, by exporter and domain."""
        for domain in self._intake.domains.known.values():
            self._intake.count(domain)
        taken, self._intake.counts = self._intake.counts, {}
        return [Count(*key, value) for key, value in taken.items()]

    def take_observations(self) -> list[tuple[str, list[dict[str, object]]]]:
        """What exporters told of themselves since the last call: (table of sinks.schema.OBSERVATIONS, its rows)."""
        taken = self._intake.take_observations()
        for rows in taken.values():
            for row in rows:
                row["collector"] = self._collector
        return list(taken.items())

    def override_interfaces(self, interfaces: Interfaces, now_ms: int) -> None:
        """Take the operator's names and speeds of interfaces instead of those taken last."""
        self._intake.override_interfaces(interfaces, now_ms)

    def held(self) -> tuple[int, int]:
        """Data sets that wait for their template now, and the octets they take."""
        return self._intake.held.sets, self._intake.held.octets

    def templates(self) -> int:
        """Templates known now."""
        return self._intake.domains.templates

    def oldest_template_ms(self, now_ms: int) -> int:
        """Since the template was announced that was not for longest, of those that domains heard lately use."""
        return max((now_ms - template.told_ms for template in self._intake.domains.in_use(now_ms)), default=0)

    def expire(self, now_ms: int) -> None:
        """Give up data sets held too long and domains silent too long; call it every few seconds."""
        self._intake.expire(now_ms)
        self._held_rows.expire(now_ms - self._settings.held_sampler_seconds * 1000)

    def state(self, running: bool = False) -> bytes:
        """What ``restore`` needs after a restart; ``running``: a copy against a crash, of what does not age."""
        return dump(self._intake, running)

    def restore(self, data: bytes) -> int:
        """Take up a saved state; how many templates it had.  StateError, and nothing changed, when it is not sound."""
        return load(data, self._intake)

    def _netflow5(self, exporter: str, payload: memoryview, received_ms: int, flags: int) -> None:
        header = netflow5.HEADER
        if len(payload) < header.size:
            self._intake.drop(exporter, Reason.SHORT_HEADER)
            return
        _, count, uptime_ms, export_s, export_ns, sequence, kind, engine, sampling = header.unpack_from(payload)
        intake = self._intake
        number = netflow5.domain_of(kind, engine)
        domain = intake.domains.known.get((exporter, 5, number)) or intake.open(exporter, 5, number, received_ms)
        domain.seen_ms = received_ms
        domain.datagrams += 1
        domain.follow(sequence, count or UNKNOWN, export_s, uptime_ms, received_ms)
        records, agree = netflow5.count_records(len(payload), count)
        if not agree:
            domain.tally("length_mismatch")
        if not records:
            domain.tally(f"datagrams_dropped_{Reason.NO_RECORD}")
            return
        domain.datagrams_decoded += 1
        interval = netflow5.interval_of(sampling)
        if interval != domain.facts.header:
            # New facts, so that the records that wait in this group keep the interval of their own header.
            domain.facts = domain.facts.copy()
            domain.facts.header, domain.source = interval, -1
        body = payload[header.size : header.size + records * self._netflow5_layout.size]
        export_ms = export_s * 1000 + min(export_ns // 1_000_000, 999)  # some fill the ns with anything
        intake.collect(domain, self._netflow5_layout, body, records, export_ms, uptime_ms, received_ms, flags)

    def _netflow9(self, exporter: str, payload: memoryview, received_ms: int, flags: int) -> None:
        if len(payload) < netflow9.HEADER.size:
            self._intake.drop(exporter, Reason.SHORT_HEADER)
            return
        _, count, uptime_ms, export_s, sequence, number = netflow9.HEADER.unpack_from(payload)
        intake = self._intake
        domain = intake.domains.known.get((exporter, 9, number)) or intake.open(exporter, 9, number, received_ms)
        # The header counts records, some exporters count flowsets, softflowd only flow records: a count too small is
        # noted and costs nothing, as nfdump has it (goflow2 and tshark stop there).  A count of 0 was never filled in.
        intake.read(_NETFLOW9, domain, payload, 20, count or _NO_LIMIT, export_s, uptime_ms, received_ms, flags)
        domain.follow(sequence, 1, export_s, uptime_ms, received_ms)

    def _ipfix(self, exporter: str, payload: memoryview, received_ms: int, flags: int) -> None:
        if len(payload) < ipfix.HEADER.size:
            self._intake.drop(exporter, Reason.SHORT_HEADER)
            return
        _, length, export_s, sequence, number = ipfix.HEADER.unpack_from(payload)
        if length < ipfix.HEADER.size:
            self._intake.drop(exporter, Reason.BAD_MESSAGE_LENGTH)
            return
        intake = self._intake
        domain = intake.domains.known.get((exporter, 10, number)) or intake.open(exporter, 10, number, received_ms)
        if length != len(payload):
            # Believed are the sets' own lengths, as goflow2, tshark and nfdump do: real exporters count wrong
            # (telegraf's issue 14370), and of a message that was cut the sets that are whole are still sound.
            domain.tally("length_mismatch")
        records = intake.read(_IPFIX, domain, payload, 16, _NO_LIMIT, export_s, 0, received_ms, flags)
        domain.follow(sequence, records, export_s, 0, received_ms)

    def _cut(self) -> None:
        """Cut what was collected into segments that fit a batch."""
        block = min(_BLOCK, self._settings.rows)
        for collected in self._intake.domains.slots:
            if not collected.rows:
                continue
            groups, numbers, sources = collected.drain()
            messages = Messages(numbers, sources, self._settings.times)
            for group in groups:
                table = np.frombuffer(group.runs, "i8").reshape(-1, 2)
                ends = np.cumsum(table[:, 0])
                starts = np.frombuffer(group.begins, "i8") if group.begins else None
                first = run = 0
                while run < len(table):
                    stop = max(run + 1, int(np.searchsorted(ends, first + block, "right")))
                    runs = Runs(table[run:stop, 0], table[run:stop, 1])
                    self._segments.append((messages, Segment(group.layout, group.body, first, runs, starts)))
                    self._segment_rows += runs.rows
                    first, run = int(ends[stop - 1]), stop

    def _batch(self, messages: Messages, segments: list[Segment], rows: int) -> Batch:
        columns = _allocate(rows)
        parts: list[tuple[int, int, Columns, Columns]] = []
        reversed_rows: list[Batch] = []
        labels = self._extras.begin()
        told = {"exporter": messages.labels, "collector": (self._collector,)}
        first = 0
        for segment in segments:
            last = first + segment.count
            given = {name: array[first:last] for name, array in columns.items()}
            part = given.copy()
            parts.append((first, last, given, part))
            refused = self._extras.fill(segment.layout, segment.rows, labels, part)
            if refused:
                self._intake.tally("", 0, "rows_extra_refused", refused)
            reverse = fill(segment, messages, part, self._settings.reverse)
            flag_beyond_speed(part, messages.speeds)
            self._count(messages, segment.runs, segment.runs.counts, "rows")
            self._count_flags(messages, segment.runs, part["flags"])
            if reverse is not None:
                flag_beyond_speed(reverse[0], messages.speeds)
                reversed_rows.append(Batch(reverse[0]))
                for counter in ("rows", "rows_reverse"):
                    self._count(messages, segment.runs, reverse[1], counter)
            first = last
        join(columns, parts)
        batch = Batch(columns, told | {"extra": labels.labels})
        for each in reversed_rows:
            each.labels = batch.labels
        return Batch.concat([batch, *reversed_rows])

    def _count(self, messages: Messages, runs: Runs, rows: Array, counter: str) -> None:
        """Count rows by exporter and domain; ``rows`` has their number for each run."""
        totals = np.bincount(messages.source[runs.messages], rows, len(messages.sources))
        for index in np.flatnonzero(totals).tolist():
            domain = messages.sources[index].domain
            self._intake.tally(domain.exporter.address, domain.number, counter, int(totals[index]))

    def _count_flags(self, messages: Messages, runs: Runs, flags: Array) -> None:
        if flags.any():
            for flag, counter in _FLAGGED.items():
                flagged = flags & flag.value != 0
                if flagged.any():
                    self._count(messages, runs, runs.sums(flagged), counter)


def _allocate(rows: int) -> Columns:
    """Columns of a batch in one piece of memory, of any content.

    The allocator keeps a piece of this size for the next batch; 29 small ones it gives back to the system each time,
    and their page faults cost as much as filling them (measured: 45 ms per million rows).
    """
    sizes = [-(-rows * column.numpy.itemsize // _LINE) * _LINE for column in RAW]
    slab = np.empty(sum(sizes), "u1")
    columns: Columns = {}
    at = 0
    for column, size in zip(RAW, sizes, strict=True):
        columns[column.name] = slab[at : at + rows * column.numpy.itemsize].view(column.numpy)
        at += size
    return columns


def _why_not(payload: memoryview) -> Reason:
    if len(payload) < 2:
        return Reason.SHORT_HEADER
    return Reason.UNKNOWN_VERSION
