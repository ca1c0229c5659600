"""Walks the sets of a message inside their bounds; NetFlow v9 and IPFIX share it.

One pass per datagram in plain Python, never per record: a data set's octets are appended to the group of its layout,
and become columns later, all at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from collector.decoder.domains import Domain, Domains, Template
from collector.decoder.elements import OBSERVATION_DOMAIN
from collector.decoder.errors import Reason
from collector.decoder.held import HeldSet, HeldSets
from collector.decoder.layouts import Layout
from collector.decoder.messages import WIDTH
from collector.decoder.names import INTERFACE, Interfaces, Key, Name, names_in
from collector.decoder.options import count_records, read_options
from collector.decoder.sampling import interval_of, learn
from collector.decoder.sequence import UNKNOWN
from collector.decoder.statistics import account
from collector.decoder.templates import Announced, Reader, TemplateCache
from collector.settings import DecoderSettings
from sinks.schema import Flag

SET_HEADER = Struct("!HH")
"""Set id, length with this header."""
_unpack = SET_HEADER.unpack_from
_TRUNCATED = Flag.TRUNCATED.value
_NONE: list[int] = []
_COUNTED = 65_536  # counters, about 10 MB
_OBSERVED = 65_536  # rows between two calls, about 30 MB; asked every 2 s


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the versions that have sets."""

    version: int
    template_set: int
    options_set: int
    read_templates: Reader
    read_options_templates: Reader


class Intake:
    """Everything collected since the last batch, and what is remembered beyond it."""

    def __init__(self, settings: DecoderSettings, slots: int = 1) -> None:
        self.settings = settings
        self.domains = Domains(settings, slots)
        self.cache = TemplateCache(self.domains)
        self.held = HeldSets(settings)
        self.counts: dict[tuple[str, int, str], int] = {}  # of no domain, of forgotten ones, of rows
        self.observations: dict[str, list[dict[str, object]]] = {}  # by table of sinks.schema.OBSERVATIONS
        self._observed = 0
        self.interfaces: Interfaces = {}
        self.retold: set[str] = set()  # exporters that said something of sampling since rows that wait were looked at
        self._names = 0

    @property
    def rows(self) -> int:
        """Flow records collected."""
        return sum(collected.rows for collected in self.domains.slots)

    def name(self, domain: Domain, key: Key, told: Name, seen_ms: int) -> None:
        """Learn a name; what is new or has changed is an observation."""
        known = domain.names.get(key)
        now = told if known is None else known.under(told)
        if now == known:
            return
        if known is None:
            if self._names >= self.settings.names:
                domain.tally("names_refused")
                return
            self._names += 1
        domain.names[key] = now
        self._tell_name(domain.exporter.address, domain.number, key, now, seen_ms)

    def restore_name(self, domain: Domain, key: Key, name: Name) -> None:
        """A name that was told before a restart."""
        if key not in domain.names and self._names < self.settings.names:
            self._names += 1
            domain.names[key] = name

    def override_interfaces(self, interfaces: Interfaces, seen_ms: int) -> None:
        """Take the operator's word on interfaces instead of the last; what changes by it is told."""
        before, self.interfaces = self.interfaces, interfaces
        speeds: dict[str, dict[int, int]] = {}
        for (address, interface), name in interfaces.items():
            if name.speed:
                speeds.setdefault(address, {})[interface] = name.speed
        self.domains.set_speeds(speeds)
        for address, interface in {**before, **interfaces}:
            if before.get((address, interface)) == interfaces.get((address, interface)):
                continue
            key = INTERFACE, interface
            exporter = self.domains.exporters.get(address)
            numbers = {domain.number: domain.names.get(key) for domain in exporter.domains.values()} if exporter else {}
            # Of domain 0 even when the exporter is silent about the interface, or altogether.
            for number, learnt in {0: None, **numbers}.items():
                if learnt is not None or not number:
                    self._tell_name(address, number, key, learnt or Name(), seen_ms)

    def _tell_name(self, address: str, number: int, key: Key, name: Name, seen_ms: int) -> None:
        said = self.interfaces.get((address, key[1])) if key[0] == INTERFACE else None
        shown = name.under(said) if said else name
        self._observe("exporter_name", address, number, seen_ms, {"kind": key[0], "id": key[1], **shown._asdict()})

    def observe(self, table: str, domain: Domain, seen_ms: int, row: dict[str, object]) -> None:
        """Hand out what an exporter told of itself; ``row``: the table's columns after ``domain``."""
        self._observe(table, domain.exporter.address, domain.number, seen_ms, row)

    def _observe(self, table: str, address: str, number: int, seen_ms: int, row: dict[str, object]) -> None:
        if self._observed >= _OBSERVED:
            self.tally(address, number, "observations_dropped")
            return
        self._observed += 1
        head = {"time": seen_ms // 1000, "exporter": address, "domain": number}
        self.observations.setdefault(table, []).append({**head, **row})

    def take_observations(self) -> dict[str, list[dict[str, object]]]:
        """Those since the last call; the collector's name is for the caller to add."""
        taken, self.observations, self._observed = self.observations, {}, 0
        return taken

    def open(self, address: str, version: int, number: int, seen_ms: int) -> Domain:
        """A domain heard for the first time."""
        domain, gone = self.domains.open(address, version, number, seen_ms)
        for each in gone:
            self.lose(each)
        return domain

    def expire(self, now_ms: int) -> None:
        """Give up data sets held too long and domains silent too long."""
        for domain, sets in self.held.expire(now_ms - self.settings.held_seconds * 1000):
            domain.tally(f"held_dropped_{Reason.EXPIRED}", sets)
        for domain in self.domains.known.values():
            if domain.sequence.gaps:
                domain.sequence.settle(now_ms)
        silent = now_ms - self.settings.idle_seconds * 1000
        for domain in [each for each in self.domains.known.values() if each.seen_ms < silent]:
            self.domains.close(domain)
            self.lose(domain)

    def lose(self, domain: Domain) -> None:
        """Count what a forgotten domain leaves behind."""
        domain.tally("domains_evicted")
        if dropped := self.held.drop(domain):
            domain.tally(f"held_dropped_{Reason.EVICTED}", dropped)
        self._names -= len(domain.names)
        domain.sequence.close()
        self.count(domain)

    def count(self, domain: Domain) -> None:
        """Move a domain's counters to those that are taken."""
        for counter, value in domain.drain():
            self.tally(domain.exporter.address, domain.number, counter, value)

    def tally(self, exporter: str, number: int, counter: str, by: int = 1) -> None:
        """Count."""
        key = exporter, number, counter
        self.counts[key] = self.counts.get(key, 0) + by

    def drop(self, exporter: str, reason: Reason) -> None:
        """Count a datagram that belongs to no domain."""
        # Senders' addresses can be invented, so only so many are counted apart between two calls.
        if len(self.counts) >= _COUNTED and (exporter, 0, "datagrams") not in self.counts:
            exporter = "other"
        self.tally(exporter, 0, "datagrams")
        self.tally(exporter, 0, f"datagrams_dropped_{reason}")

    def read(
        self,
        dialect: Dialect,
        domain: Domain,
        message: memoryview,
        at: int,
        most_sets: int,
        export_s: int,
        uptime_ms: int,
        received_ms: int,
        flags: int,
    ) -> int:
        """Walk the sets of one message from offset ``at`` to its end; how many data records it has, or UNKNOWN."""
        domain.seen_ms = received_ms
        templates, collected = domain.templates, domain.collected
        end = len(message)
        index = -1  # of this message, once it has flow records
        sets = decoded = held = rows = others = 0
        whole = not flags & _TRUNCATED
        while end - at >= 4:
            if sets == most_sets and not _is_padding(message[at:]):
                domain.tally("length_mismatch")  # more than the header counts: the sets' own lengths are believed
            number, length = _unpack(message, at)
            stop = at + length
            if length < 4 or stop > end:
                if length < 4 and _is_padding(message[at:]):
                    break
                # Without this check a length of 0 would loop for ever.
                if length < 4 or not flags & _TRUNCATED or number < 256:
                    sets += 1
                    domain.tally(f"sets_dropped_{Reason.BAD_SET_LENGTH}")
                    whole = False
                    break
                stop = end  # of a datagram longer than its slot, the records that fitted are sound
            sets += 1
            start = at + 4
            at = stop
            if number > 255:
                template = templates.get(number)
                if template is None:
                    whole = False
                    held += self._hold(domain, number, message[start:stop], export_s, uptime_ms, received_ms, flags)
                    continue
                template.used_ms = received_ms
                layout = template.layout
                if template.scopes is not None:
                    records = self._options(domain, template, message[start:stop], received_ms)
                    decoded += records > 0
                    others += records
                    continue
                size = layout.size
                ends = _NONE
                if size:
                    records = (stop - start) // size
                    used = records * size
                else:
                    ends, used = self._measure(domain, layout, message[start:stop])
                    records = len(ends)
                if not records:
                    domain.tally(f"sets_dropped_{_why_no_records(layout)}")
                    whole = False
                    continue
                if index < 0:
                    index = len(collected.numbers) // WIDTH
                    times = export_s * 1000, uptime_ms, received_ms
                    collected.numbers.extend((collected.source(domain), *times, flags))
                collected.group(layout).add(message[start : start + used], records, index, ends)
                rows += records
                decoded += 1
            elif number == dialect.template_set or number == dialect.options_set:
                options = number == dialect.options_set
                read = dialect.read_options_templates if options else dialect.read_templates
                decoded += self._templates(domain, read(message[start:stop]), options)
            else:
                domain.tally(f"sets_dropped_{Reason.RESERVED_SET_ID}")
        collected.rows += rows
        domain.records_flow += rows
        domain.datagrams += 1
        domain.sets += sets
        domain.sets_decoded += decoded
        if decoded or not sets:
            domain.datagrams_decoded += 1
        elif held:
            domain.tally("datagrams_held")
        else:
            domain.tally(f"datagrams_dropped_{Reason.NO_SOUND_SET}")
        return rows + others if whole else UNKNOWN

    def _hold(
        self, domain: Domain, number: int, body: memoryview, export_s: int, uptime_ms: int, received_ms: int, flags: int
    ) -> int:
        if not body:  # nothing to wait for
            domain.tally(f"sets_dropped_{Reason.SHORT_SET}")
            return 0
        kept = HeldSet(bytes(body), export_s, uptime_ms, received_ms, flags | Flag.HELD.value)
        if self.held.put(domain, number, kept):
            domain.tally("sets_held")
            return 1
        domain.tally(f"sets_dropped_{Reason.HELD_FULL}")
        return 0

    def _templates(self, domain: Domain, announced: Iterator[Announced], options: bool) -> int:
        read = self.cache.read(domain, announced, options)
        if read is None:
            domain.tally(f"sets_dropped_{Reason.NO_SOUND_TEMPLATE}")
            return 0
        for defined in read:
            self._release(domain, defined)
        return 1

    def _release(self, domain: Domain, number: int) -> None:
        """Decode what waited for this template."""
        released = self.held.release(domain, number)
        template = domain.templates.get(number) if released else None
        if template is None:  # none waited, or the cache is too small for the template
            if released:
                domain.tally(f"held_dropped_{Reason.EVICTED}", len(released))
            return
        layout = template.layout
        for held in released:
            if template.scopes is not None:
                records = self._read_options(domain, template, memoryview(held.body), held.received_ms)
            else:
                records = self._collect_set(domain, layout, held)
            domain.tally("held_decoded" if records else f"held_dropped_{_why_no_records(layout)}")

    def collect(
        self,
        domain: Domain,
        layout: Layout,
        body: bytes | memoryview,
        records: int,
        export_ms: int,
        uptime_ms: int,
        received_ms: int,
        flags: int,
        ends: list[int] = _NONE,
    ) -> None:
        """Take whole flow records, the only ones of their message; ``ends`` as ``Group.add`` has them."""
        collected = domain.collected
        collected.group(layout).add(body, records, len(collected.numbers) // WIDTH, ends)
        collected.numbers.extend((collected.source(domain), export_ms, uptime_ms, received_ms, flags))
        collected.rows += records
        domain.records_flow += records

    def _collect_set(self, domain: Domain, layout: Layout, held: HeldSet) -> int:
        """The flow records of a set that was held; how many."""
        if layout.size:
            records = len(held.body) // layout.size
            ends, used = _NONE, records * layout.size
        else:
            ends, used = self._measure(domain, layout, held.body)
            records = len(ends)
        if records:
            times = held.export_s * 1000, held.uptime_ms, held.received_ms
            self.collect(domain, layout, held.body[:used], records, *times, held.flags, ends)
        return records

    def _measure(self, domain: Domain, layout: Layout, body: bytes | memoryview) -> tuple[list[int], int]:
        """Where a set's whole records end, each and all of them; what is behind them is padding, or counted."""
        if not layout.is_variable:
            return _NONE, 0
        octets = bytes(body)
        ends = layout.stretches.ends(octets)
        used = ends[-1] if ends else 0
        # RFC 7011 section 3.3.1: padding is shorter than any record.
        if ends and (len(octets) - used >= layout.stretches.least or octets[used:].strip(b"\0")):
            domain.tally("sets_cut")
        return ends, used

    def _options(self, domain: Domain, template: Template, body: memoryview, received_ms: int) -> int:
        records = self._read_options(domain, template, body, received_ms)
        if not records:
            domain.tally(f"sets_dropped_{_why_no_records(template.layout)}")
        return records

    def _read_options(self, domain: Domain, template: Template, body: memoryview, received_ms: int) -> int:
        records = count_records(template.layout, body)
        domain.tally("records_options", records)
        for option in read_options(template.layout, body):
            about = domain
            named = option.numbers.get((OBSERVATION_DOMAIN, 0))
            if named is not None and named != domain.number:
                # Said of another domain of the same exporter; of one that was not heard yet it is said of this one.
                key = (domain.exporter.address, domain.version, named)
                about = self.domains.known.get(key) or domain
            if learn(about, option, self.settings.samplers_per_domain):
                about.tally("sampling_changed")
            interval = interval_of(option.numbers, option.probability)
            if interval is not None:
                self.retold.add(domain.exporter.address)
            for name_key, name in names_in(option, interval):
                self.name(about, name_key, name, received_ms)
            account(about, option)
        return records


def _is_padding(rest: memoryview) -> bool:
    return not bytes(rest).strip(b"\0")


def _why_no_records(layout: Layout) -> Reason:
    return Reason.SHORT_SET if layout.size or layout.is_variable else Reason.ZERO_RECORD
