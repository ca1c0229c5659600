"""Datagrams that hold nothing but flow records of known templates, a whole slab of them at once.

What a datagram costs in Python, some microseconds, is much where it has three records.  Here headers are one array,
sets are walked in lock-step, and records are copied by layout.  Only what is beyond doubt is read so: lengths agree,
every set has records of flows and a known template.  An exporter of which any datagram of the slab is otherwise has all
of them read one by one (``sets.Intake.read``), in their order.  What comes out is the same either way.
"""

from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import NAME_OCTETS, Slots
from collector.decoder import netflow5, netflow9
from collector.decoder.admission import Admission
from collector.decoder.collected import Group
from collector.decoder.domains import MOST_SKEW_MS, Domain, Template
from collector.decoder.layouts import Layout
from collector.decoder.messages import WIDTH
from collector.decoder.sequence import MESSAGE, WINDOW
from collector.decoder.sets import Intake
from collector.decoder.slab_walk import Table, Walk
from collector.decoder.varying import measure

Array = NDArray[Any]

FEWEST = 100
"""Datagrams from which on it is cheaper so: array operations cost as much as so many datagrams one by one."""
_SENDER = Struct(f"={NAME_OCTETS}sHI")  # name, version, domain
_KEY = np.dtype([("name", f"V{NAME_OCTETS}"), ("version", "u2"), ("domain", "u4")])
_KNOWN = 65_536  # senders and templates that are remembered, about 20 MB
_MOST_RECORDS = 256  # of a set of variable length: each costs a step for the whole slab
_PIECE = 1 << 17  # octets copied at once: they stay in the processor's cache (200 ns a datagram; at once, 370)


class PlainReader:
    """Remembers what senders and sets are until a domain or template changes."""

    def __init__(self, intake: Intake, admission: Admission | None, netflow5_layout: Layout) -> None:
        self._intake, self._admission = intake, admission
        self._netflow5 = Template(0, netflow5_layout, None)
        self._forget()

    def _forget(self) -> None:
        self._changes = self._intake.domains.changes
        self._exporters: dict[str, int] = {}
        self._domains: list[Domain | None] = []  # by sender; None: its datagrams are not plain
        self._senders: Table[bytes] = Table(4)  # whether it has a domain, exporter, slot, limit of its clock's skew
        self._templates: list[Template | None] = []
        self._layouts: dict[Layout, int] = {}
        self._sets: Table[int] = Table(2)  # octets of a record (0: they vary, negative: not plain), group

    def read(self, slots: Slots, received_ms: int) -> list[int]:
        """Read the plain ones; the indexes of those left, in order."""
        if self._changes != self._intake.domains.changes or len(self._domains) + len(self._templates) > _KNOWN:
            self._forget()
        walk = Walk(slots)
        sender = self._find_senders(walk, slots, received_ms)
        known, exporter, slot, skew_ms = self._senders.rows[sender].T
        walk.plain &= known > 0
        if walk.interval is not None:
            said = np.array([domain.facts.header or 0 if domain else 0 for domain in self._domains], "i8")
            walk.plain &= (walk.version != netflow5.VERSION) | (said[sender] == walk.interval)
        sets = self._find_sets(walk, sender)
        walk.plain[sets.of[sets.records == 0]] = False
        unlike = np.zeros(len(self._exporters), bool)
        unlike[exporter[~walk.plain]] = True
        plain = ~unlike[exporter]
        sets.keep(plain[sets.of])
        chosen = np.flatnonzero(plain)
        if len(chosen):
            source = self._account(walk, sets, chosen, sender, skew_ms, received_ms)
            message = self._tell_messages(walk, chosen, slot, source, received_ms)
            self._collect(walk.memory, sets, message)
        return np.flatnonzero(~plain).tolist()

    def _find_senders(self, walk: Walk, slots: Slots, received_ms: int) -> Array:
        keys: Array = np.empty(len(slots), _KEY)
        keys["name"] = np.ascontiguousarray(slots.names).view(f"V{NAME_OCTETS}")[:, 0]
        keys["version"], keys["domain"] = walk.version, np.where(walk.version > 0, walk.domain, 0)

        def meet(key: bytes) -> tuple[int, ...]:
            name, version, number = _SENDER.unpack(key)
            address = slots.address_of(name)
            domain = self._intake.domains.known.get((address, version, number))
            if self._admission is not None and self._admission.refuses(address, received_ms) is not None:
                domain = None
            self._domains.append(domain)
            exporter = self._exporters.setdefault(address, len(self._exporters))
            if domain is None:
                return 0, exporter, 0, 0
            return 1, exporter, self._intake.domains.slots.index(domain.collected), domain.exporter.skew_ms

        return self._senders.find(keys.view(f"V{_KEY.itemsize}").tolist(), meet)

    def _find_sets(self, walk: Walk, sender: Array) -> "_Sets":
        def meet(key: int) -> tuple[int, ...]:
            domain = self._domains[key >> 16]
            template = domain.templates.get(key & 0xFFFF) if domain is not None else None
            if domain is not None and domain.version == netflow5.VERSION:
                template = self._netflow5
            if domain is None or template is None or not template.is_flow:
                template = None
            self._templates.append(template)
            if domain is None or template is None:
                return -1, 0
            layout, slots = template.layout, self._intake.domains.slots
            if not layout.size and not layout.is_variable:
                return -1, 0
            code = self._layouts.setdefault(layout, len(self._layouts))
            return layout.size, code * len(slots) + slots.index(domain.collected)

        template = self._sets.find((sender[walk.of] << 16 | walk.number).tolist(), meet)
        octets, group = self._sets.rows[template].T
        return _Sets(walk, template, octets, group, list(self._layouts), len(self._intake.domains.slots))

    def _account(
        self, walk: Walk, sets: "_Sets", chosen: Array, sender: Array, skew_ms: Array, received_ms: int
    ) -> Array:
        """Count, and follow sequence numbers; by datagram, the index of its source."""
        total = len(self._domains)
        rows = np.bincount(sets.of, sets.records, len(sender)).astype("i8")
        chosen = chosen[np.argsort(sender[chosen], kind="stable")]
        of, own_rows, export_s = sender[chosen], rows[chosen], walk.export_s[chosen]
        messages: Array = np.empty((len(chosen), 5), "i8")
        messages[:, 0] = number = walk.sequence[chosen]
        messages[:, 1] = units = np.where(walk.version[chosen] == netflow9.VERSION, 1, own_rows)
        messages[:, 2], messages[:, 3], messages[:, 4] = export_s, walk.uptime_ms[chosen], received_ms
        due = number + units & 0xFFFF_FFFF
        broken = (number[1:] != due[:-1]) & (of[1:] == of[:-1])
        skew = np.where(export_s > 0, np.abs(export_s * 1000 - received_ms), 0)
        beyond = skew > skew_ms[chosen]
        np.minimum(skew, MOST_SKEW_MS, out=skew, where=beyond)
        count = np.bincount(of, minlength=total)
        present = np.flatnonzero(count)
        last = np.cumsum(count[present]) - 1
        first = last - count[present] + 1
        counted = (
            count, np.bincount(sender[sets.of], minlength=total), np.bincount(of, own_rows, total),
            np.bincount(of, beyond, total), np.bincount(of, skew, total), np.bincount(of[1:], broken, total),
        )  # fmt: skip
        table = np.stack([present, first, number[first], due[last], *(each[present] for each in counted)]).astype("i8")
        octets, size = messages.tobytes(), MESSAGE.size
        source: Array = np.zeros(total, "i8")
        for code, begin, number_, due_, datagrams, of_sets, records, skewed, skew_sum, is_broken in table.T.tolist():
            domain = self._domains[code]
            assert domain is not None
            domain.seen_ms = received_ms
            domain.datagrams += datagrams
            domain.datagrams_decoded += datagrams
            domain.records_flow += records
            if domain.version != netflow5.VERSION:
                domain.sets += of_sets
                domain.sets_decoded += of_sets
            domain.clock_skew_ms += skew_sum
            domain.clock_skew_messages += skewed
            domain.collected.rows += records
            source[code] = domain.source if domain.source >= 0 else domain.collected.source(domain)
            end = begin + datagrams
            newest = octets[max(begin, end - WINDOW) * size : end * size]
            sequence = domain.sequence
            if is_broken or not sequence.goes_on(number_, due_, datagrams, newest, received_ms):
                for message in MESSAGE.iter_unpack(octets[begin * size : end * size]):
                    sequence.follow(*message)
        for code in np.flatnonzero(np.bincount(sets.template)).tolist():
            template = self._templates[code]
            assert template is not None
            template.used_ms = received_ms
        for index in sets.of[sets.cut].tolist():
            domain = self._domains[int(sender[index])]
            assert domain is not None
            domain.tally("sets_cut")
        return source[sender]

    def _tell_messages(self, walk: Walk, chosen: Array, slot: Array, source: Array, received_ms: int) -> Array:
        """Take down what the datagrams say for all their records; by datagram, the index of its message."""
        message: Array = np.zeros(len(source), "i8")
        for number, collected in enumerate(self._intake.domains.slots):
            mine = chosen[slot[chosen] == number]
            message[mine] = np.arange(len(mine)) + len(collected.numbers) // WIDTH
            table: Array = np.zeros((len(mine), WIDTH), "i8")
            table[:, 0], table[:, 1], table[:, 2] = source[mine], walk.export_ms[mine], walk.uptime_ms[mine]
            table[:, 3] = received_ms
            collected.numbers.frombytes(table.tobytes())
        return message

    def _collect(self, memory: Array, sets: "_Sets", message: Array) -> None:
        """Copy the records to those of their layout and slot."""
        slots, layouts = self._intake.domains.slots, list(self._layouts)
        sets.order(np.argsort(sets.group, kind="stable"))
        count = np.bincount(sets.group)
        present = np.flatnonzero(count)
        last = np.cumsum(count[present])
        first = last - count[present]
        most, least = np.maximum.reduceat(sets.records, first), np.minimum.reduceat(sets.records, first)
        runs = np.stack((sets.records, message[sets.of]), 1).tobytes()
        for code, begin, end, longest, shortest in np.stack((present, first, last, most, least), 1).tolist():
            group = slots[code % len(slots)].group(layouts[code // len(slots)])
            group.runs.frombytes(runs[16 * begin : 16 * end])
            if group.layout.is_variable:
                sets.copy_varying(memory, slice(begin, end), group)
            else:
                sets.copy(memory, slice(begin, end), group, longest if longest == shortest else 0)


class _Sets:
    """Data sets of a slab, by datagram: what they hold, and where."""

    def __init__(
        self, walk: Walk, template: Array, octets: Array, group: Array, layouts: list[Layout], slots: int
    ) -> None:
        self.of, self.start, self.stop = walk.of, walk.start, walk.stop
        self.template, self.group = template, group
        self.records: Array = np.where(octets > 0, (self.stop - self.start) // np.maximum(octets, 1), 0)
        self.cut: Array = np.zeros(len(octets), bool)
        """Of variable length, with octets behind the records that are no padding."""
        self._first: Array = np.zeros(len(octets), "i8")  # of variable length: record among ``_begins``
        parts: list[Array] = []
        known = 0
        varying = np.flatnonzero(octets == 0)
        of_layout = group[varying] // slots
        for code in np.flatnonzero(np.bincount(of_layout)).tolist():
            which = varying[of_layout == code]
            stretches, stop = layouts[code].stretches, self.stop[which]
            records, behind, begins = measure(stretches, walk.memory, self.start[which], stop, _MOST_RECORDS)
            self.records[which] = records
            self._first[which] = known + np.cumsum(records) - records
            parts.append(begins)
            known += len(begins)
            # RFC 7011 section 3.3.1: padding is shorter than any record, and zero.
            rest = np.where(records > 0, stop - behind, 0)
            cut = rest >= stretches.least
            for octet in range(int(rest[~cut].max(initial=0))):
                there = np.flatnonzero(octet < rest)
                cut[there] |= walk.memory[behind[there] + octet] != 0
            self.cut[which] = cut
        self._begins: Array = np.concatenate(parts) if parts else np.empty(0, "i8")

    def keep(self, chosen: Array) -> None:
        """Forget all but the chosen ones (a mask)."""
        if not chosen.all():
            self.order(chosen)

    def order(self, which: Array) -> None:
        """These, in this order."""
        self.of, self.start, self.stop = self.of[which], self.start[which], self.stop[which]
        self.template, self.group, self.records = self.template[which], self.group[which], self.records[which]
        self.cut, self._first = self.cut[which], self._first[which]

    def copy(self, memory: Array, which: slice, group: Group, each: int) -> None:
        """Records of one size, side by side; ``each``: how many every set has, 0: not the same number."""
        start, size = self.start[which], group.layout.size
        if each:
            size *= each
        else:
            records = self.records[which]
            start = np.repeat(start - (np.cumsum(records) - records) * size, records)
            start += np.arange(len(start)) * size
        at = group.reserve(len(start) * size)
        _copy(memory, start, size, group.body[at : group.used])

    def copy_varying(self, memory: Array, which: slice, group: Group) -> None:
        """Records of any size: each set takes as much room as the longest."""
        records, start = self.records[which], self.start[which]
        size = int((self.stop[which] - start).max())
        at = group.reserve(len(start) * size)
        _copy(memory, start, size, group.body[at : group.used])
        to = np.arange(len(start)) * size + at
        first = np.cumsum(records) - records
        begins = self._begins[np.repeat(self._first[which] - first, records) + np.arange(int(records.sum()))]
        group.begins.frombytes((begins + np.repeat(to - start, records)).tobytes())


def _copy(memory: Array, start: Array, size: int, to: Array) -> None:
    """``size`` octets from each ``start``, side by side."""
    whole = f"V{size}"
    source: Array = np.ndarray((len(memory) - size + 1,), whole, memory, 0, (1,))
    out = to.view(whole)
    step = max(1, _PIECE // size)
    for first in range(0, len(start), step):
        out[first : first + step] = source[start[first : first + step]]
