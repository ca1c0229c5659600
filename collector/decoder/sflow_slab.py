"""sFlow of a whole slab at once: what ``sflow5`` does datagram by datagram, for those that are plain (``sflow_walk``).

A domain (exporter and sub-agent) of which any datagram of the slab is not plain has all of them read one by one, in
their order: numbers of sequence and totals of lost samples go on from datagram to datagram.
What comes out is the same either way, but for the order of rows and observations of different domains.
"""

from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import NAME_OCTETS, Slots
from collector.decoder.admission import Admission
from collector.decoder.domains import Domain
from collector.decoder.layouts import Layout
from collector.decoder.messages import WIDTH
from collector.decoder.samples import ENTRY, SLOTS, VERSION
from collector.decoder.sequence import MESSAGE, WINDOW
from collector.decoder.sets import Intake
from collector.decoder.sflow5 import INTERFACE, INTERFACE_COUNTERS, interface_rows, lost
from collector.decoder.sflow_records import Entries
from collector.decoder.sflow_walk import SFlowWalk
from collector.decoder.slab_walk import Table

Array = NDArray[Any]

FEWEST = 16
"""Datagrams from which on it is cheaper so: array operations cost as much as ten of six samples one by one."""
_SENDER = Struct(f"={NAME_OCTETS}sI")
_KEY = np.dtype([("name", f"V{NAME_OCTETS}"), ("agent", "u4")])
_KNOWN = 65_536  # senders that are remembered, about 10 MB
_SFLOW5 = np.void(b"\0\0\0\x05")
_SAMPLES = ("samples_skipped", "samples_flow", "samples_counter", "samples_discarded_packet")
_CLASS: Array = np.array([0, 1, 2, 1, 2, 3, 0])
"""Which of them, by a sample's format; the last: of any other."""
_RECORDS = ("sample_records_skipped", "sample_records_read")
_PIECE = 1 << 17  # octets of headers copied at once: they stay in the processor's cache
_ENTRY = f"V{ENTRY.itemsize}"


class SFlowSlab:
    """Remembers who the senders are until a domain comes or goes."""

    def __init__(self, intake: Intake, admission: Admission | None, layouts: list[Layout]) -> None:
        """``layouts``: of entries, one for each of SLOTS, as ``SFlow5`` has them: both add to the same groups."""
        self._intake, self._admission, self._layouts = intake, admission, layouts
        self._forget()

    def _forget(self) -> None:
        self._changes = self._intake.domains.changes
        self._domains: list[Domain | None] = []  # by sender; None: its datagrams are not read here
        self._senders: Table[bytes] = Table(2)  # whether it has a domain, slot

    def read(self, slots: Slots, received_ms: int) -> list[int] | range:
        """Read the plain ones; the indexes of those left, in order."""
        everyone = range(len(slots))
        versions: Array = np.ndarray((len(slots),), "V4", slots.memory, 0, (slots.stride,))
        ours = np.flatnonzero(versions == _SFLOW5)
        if len(ours) < FEWEST:
            return everyone
        if self._changes != self._intake.domains.changes or len(self._domains) > _KNOWN:
            self._forget()
        walk = SFlowWalk(slots, ours)
        sender = self._find_senders(walk, slots, received_ms)
        known, slot = self._senders.rows[sender].T
        walk.plain &= known > 0
        walk.read()
        entries = Entries(walk)
        counters = _interface_counters(walk, entries.read)
        unlike = np.zeros(len(self._domains), bool)
        unlike[sender[~walk.plain]] = True
        kept = ~unlike[sender]
        if not kept.any():
            return everyone
        of = walk.of[walk.flow]
        source, has_rows = self._account(walk, entries.read, np.flatnonzero(kept), sender, received_ms)
        self._count_drops(sender[of], walk, np.flatnonzero(kept[of]))
        self._observe(walk, counters[kept[walk.of_record(counters)]], sender, received_ms)
        message = self._tell_messages(walk, np.flatnonzero(has_rows), slot, source, received_ms)
        self._collect(walk, entries, np.where(kept, slot, -1)[of], message)
        left: Array = np.ones(len(slots), bool)
        left[walk.index[kept]] = False
        rest: list[int] = np.flatnonzero(left).tolist()
        return rest

    def _find_senders(self, walk: SFlowWalk, slots: Slots, received_ms: int) -> Array:
        keys: Array = np.empty(len(walk.index), _KEY)
        keys["name"] = np.ascontiguousarray(slots.names).view(f"V{NAME_OCTETS}")[walk.index, 0]
        keys["agent"] = walk.agent

        def meet(key: bytes) -> tuple[int, ...]:
            name, number = _SENDER.unpack(key)
            address = slots.address_of(name)
            domain = self._intake.domains.known.get((address, VERSION, number))
            if self._admission is not None and self._admission.refuses(address, received_ms) is not None:
                domain = None
            elif domain is None and len(self._intake.domains.known) < self._intake.settings.domains:
                domain = self._intake.open(address, VERSION, number, received_ms)  # no other has to go for it
            self._domains.append(domain)
            return (0, 0) if domain is None else (1, self._intake.domains.slots.index(domain.collected))

        found = self._senders.find(keys.view(f"V{_KEY.itemsize}").tolist(), meet)
        self._changes = self._intake.domains.changes
        return found

    def _account(
        self, walk: SFlowWalk, read: Array, chosen: Array, sender: Array, received_ms: int
    ) -> tuple[Array, Array]:
        """Count, and follow sequence numbers; by datagram, the index of its source, and whether it has rows."""
        count = len(walk.index)
        kinds, ways = len(_SAMPLES), len(_RECORDS)
        kind = _CLASS[np.minimum(walk.kind, len(_CLASS) - 1)]
        samples = np.bincount(walk.of * kinds + kind, minlength=count * kinds).reshape(-1, kinds)
        of_record = walk.of_record(slice(None))
        records = np.bincount(of_record * ways + read, minlength=count * ways).reshape(-1, ways)
        has_rows: Array = np.zeros(count, bool)
        has_rows[chosen] = samples[chosen, 1] > 0
        chosen = chosen[_in_order(sender[chosen])]
        of, number = sender[chosen], walk.sequence[chosen]
        messages: Array = np.empty((len(chosen), WIDTH), "i8")
        messages[:, 0], messages[:, 1], messages[:, 2] = number, 1, 0  # no export time: the device says its uptime only
        messages[:, 3], messages[:, 4] = walk.uptime_ms[chosen], received_ms
        due = number + 1 & 0xFFFF_FFFF
        goes_on = of[1:] == of[:-1]
        last = np.append(np.flatnonzero(~goes_on), len(of) - 1)
        first = np.append(0, last[:-1] + 1)
        broken = np.append(False, goes_on & (number[1:] != due[:-1]))
        table = np.column_stack((of[first], first, last + 1, number[first], due[last], np.add.reduceat(broken, first)))
        totals = np.add.reduceat(np.concatenate((samples, records), 1)[chosen], first)
        octets, size = messages.tobytes(), MESSAGE.size
        source: Array = np.zeros(len(self._domains), "i8")
        for (code, begin, end, number_, due_, is_broken), counted in zip(table.tolist(), totals.tolist(), strict=True):
            domain = self._domains[code]
            assert domain is not None
            domain.seen_ms = received_ms
            domain.datagrams += end - begin
            domain.datagrams_decoded += end - begin
            for counter, value in zip((*_SAMPLES, *_RECORDS), counted, strict=True):
                if value:
                    domain.tally(counter, value)
            if of_samples := sum(counted[:kinds]):
                domain.tally("samples", of_samples)
            if of_records := sum(counted[kinds:]):
                domain.tally("sample_records", of_records)
            if rows := counted[1]:
                domain.records_flow += rows
                domain.collected.rows += rows
                source[code] = domain.collected.source(domain)
            sequence = domain.sequence
            newest = octets[max(begin, end - WINDOW) * size : end * size]
            if is_broken or not sequence.goes_on(number_, due_, end - begin, newest, received_ms):
                for message in MESSAGE.iter_unpack(octets[begin * size : end * size]):
                    sequence.follow(*message)
        return source[sender], has_rows

    def _count_drops(self, sender: Array, walk: SFlowWalk, rows: Array) -> None:
        """Follow the totals of lost samples; ``rows``: flow samples, in the order in which they came."""
        if not len(rows):
            return
        sender, source, drops = sender[rows], walk.source[rows], walk.drops[rows]
        # Side by side with its like, a total that did not change costs nothing; that others are between does no harm.
        order = _in_order((source ^ source >> np.uint64(32) ^ sender.astype("u8") << np.uint64(8)).astype("u2"))
        new: Array = np.zeros(len(rows), bool)
        new[0] = True
        for each in (sender, source, drops):
            like = each[order]
            new[1:] |= like[1:] != like[:-1]
        changed = np.sort(order[new])
        most = self._intake.settings.samplers_per_domain
        for code, of_source, total in zip(*(each[changed].tolist() for each in (sender, source, drops)), strict=True):
            domain = self._domains[code]
            assert domain is not None
            if grown := lost(domain, of_source, total, most):
                domain.tally("sampler_drops", grown)

    def _observe(self, walk: SFlowWalk, records: Array, sender: Array, received_ms: int) -> None:
        """Hand out interface counters."""
        octets = walk.words(walk.at[records], INTERFACE.size // 4).tobytes()
        for code, row in zip(sender[walk.of_record(records)].tolist(), interface_rows(octets), strict=True):
            domain = self._domains[code]
            assert domain is not None
            self._intake.observe("interface_counter", domain, received_ms, row)

    def _tell_messages(self, walk: SFlowWalk, chosen: Array, slot: Array, source: Array, received_ms: int) -> Array:
        """Take down what the datagrams say for all their rows; by datagram, the index of its message."""
        message: Array = np.zeros(len(source), "i8")
        for number, collected in enumerate(self._intake.domains.slots):
            mine = chosen[slot[chosen] == number]
            message[mine] = np.arange(len(mine)) + len(collected.numbers) // WIDTH
            table: Array = np.zeros((len(mine), WIDTH), "i8")
            table[:, 0], table[:, 1], table[:, 2] = source[mine], received_ms, walk.uptime_ms[mine]
            table[:, 3] = received_ms
            collected.numbers.frombytes(table.tobytes())
        return message

    def _collect(self, walk: SFlowWalk, entries: Entries, slot: Array, message: Array) -> None:
        """Lay entries and headers where those of their kind wait; ``slot``: by flow sample, -1: it is not read here."""
        of = walk.of[walk.flow]
        captured = np.ascontiguousarray(entries.table["captured"])
        fitting = sum((captured > octets).astype("u1") for octets in SLOTS[:-1])
        table = entries.table.view(_ENTRY)
        for number, collected in enumerate(self._intake.domains.slots):
            for size, (octets, layout) in enumerate(zip(SLOTS, self._layouts, strict=True)):
                rows = np.flatnonzero((slot == number) & (fitting == size))
                if not len(rows):
                    continue
                each = np.bincount(of[rows], minlength=len(message))
                present = np.flatnonzero(each)
                group = collected.group(layout)
                group.runs.frombytes(np.column_stack((each[present], message[present])).astype("i8").tobytes())
                at = group.reserve(len(rows) * layout.size)
                places = group.body[at : group.used].view([("entry", _ENTRY), ("header", f"V{octets}")])
                step = _PIECE // octets
                for first in range(0, len(rows), step):
                    part = rows[first : first + step]
                    places["entry"][first : first + step] = table[part]
                    # Behind what was captured lies what comes next in the slab; nobody reads it.
                    places["header"][first : first + step] = walk.octets(entries.header[part], octets)


def _interface_counters(walk: SFlowWalk, read: Array) -> Array:
    """Records of interface counters (section 5.4), as they lie in the slab; they are noted in ``read``."""
    rows = np.flatnonzero((walk.owner >= len(walk.flow)) & (walk.number == INTERFACE_COUNTERS))
    read[rows] = True
    walk.refuse(walk.owner[rows[walk.length[rows] < INTERFACE.size]])
    return rows


def _in_order(keys: Array) -> Array:
    """Indexes that sort, equal keys in their order; of 16 bits it is a radix sort, six times as fast."""
    if keys.dtype.itemsize > 2 and len(keys) and keys.max() < 1 << 16:
        keys = keys.astype("u2")
    order: Array = np.argsort(keys, kind="stable")
    return order
