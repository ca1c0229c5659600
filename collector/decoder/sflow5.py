"""sFlow version 5 (sflow.org, sFlow Version 5, July 2004): datagrams, flow samples, counter samples, discarded packets.

One pass per datagram in plain Python, over samples and their records; each flow sample becomes an entry of fixed size
(``samples``), and entries become columns all at once.  The exporter is the source address of the datagram: the agent's
address in it may be anything, so it is passed over.
"""

from collections.abc import Iterator
from struct import Struct

from collector.decoder.domains import Domain
from collector.decoder.errors import Reason
from collector.decoder.sampled import Sampled
from collector.decoder.samples import ENTRIES, SLOTS, VERSION, sample_layout
from collector.decoder.sets import Intake
from sinks.schema import Flag

_ADDRESS = {1: 4, 2: 16}
"""Octets of an address by its type."""
_AGENT = Struct("!II")  # version, type of the agent's address
_HEADER = Struct("!IIII")  # sub-agent, sequence number, uptime in ms, number of samples
_HEAD = Struct("!II")  # data format, octets behind it
_FLOW = Struct("!IIIIIIII")
"""Sequence number, source, sampling interval, pool, drops, input, output, number of records."""
_EXPANDED_FLOW = Struct("!IIIIIIIIIII")
"""The same with source, input and output in two words each: type or format, then value."""
_COUNTERS = {2: Struct("!8xI"), 4: Struct("!12xI")}
"""Number of records of a counter sample, compact and expanded."""
DISCARDED = 5  # sFlow Dropped Packet Notification Structures, October 2020
INTERFACE_COUNTERS = 1
INTERFACE = Struct("!I4xQ4xI QIIIII4x QIIIII4x")
"""if_counters without type, duplex, unknown protocols and promiscuous mode: index, speed, status, then in and out
octets, unicast, multicast, broadcast packets, discards, errors."""
_WAYS = tuple(
    f"{way}_{what}" for way in ("in", "out") for what in ("octets", "packets", "multicast", "broadcast", "discards",
                                                          "errors")
)  # fmt: skip
_COUNTED = ("interface", "speed", "status", *_WAYS)

INTERNAL = 0x3FFFFFFF
"""An interface that is none: the device itself, or not known."""
UNKNOWN = 0xFFFFFFFF
"""The same in 32 bits; also a counter that the device has not."""
_UNKNOWN_OCTETS = 2**64 - 1
_LARGEST = tuple((name, _UNKNOWN_OCTETS if name.endswith("_octets") else UNKNOWN) for name in _WAYS)
_LARGEST_GAP = 2**31  # of a counter that went on; a larger one began anew
_TRUNCATED = Flag.TRUNCATED.value


class SFlow5:
    """Reads datagrams into the intake; one a decoder."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.layouts = [sample_layout(slot) for slot in SLOTS]
        """Of entries, by slot."""

    def read(self, exporter: str, payload: memoryview, received_ms: int, flags: int) -> None:
        """Walk one datagram; all that it holds is counted."""
        at = _agent_end(payload)
        if isinstance(at, Reason):
            self._intake.drop(exporter, at)
            return
        number, sequence, uptime_ms, announced = _HEADER.unpack_from(payload, at)
        intake = self._intake
        domain = intake.domains.known.get((exporter, VERSION, number))
        if domain is None:
            domain = intake.open(exporter, VERSION, number, received_ms)
        domain.seen_ms = received_ms
        domain.datagrams += 1
        domain.follow(sequence, 1, 0, uptime_ms, received_ms)  # no export time: the device says its uptime only
        walk = _Walk(intake, domain, payload, received_ms, flags)
        sound = walk.samples(at + _HEADER.size, announced)
        for counter, value in walk.counts.items():
            if value:
                domain.tally(counter, value)
        if sound:
            domain.datagrams_decoded += 1
        else:
            domain.tally(f"datagrams_dropped_{Reason.NO_SOUND_SAMPLE}")
        for layout, entries in zip(self.layouts, walk.entries, strict=True):
            if entries:
                body = b"".join(entries)
                intake.collect(domain, layout, body, len(entries), received_ms, uptime_ms, received_ms, flags)


def _agent_end(payload: memoryview) -> int | Reason:
    """Where the agent's address ends; a reason: nothing behind it can be read."""
    if len(payload) < _AGENT.size:
        return Reason.SHORT_HEADER
    size = _ADDRESS.get(_AGENT.unpack_from(payload)[1])
    if size is None:
        return Reason.BAD_AGENT
    at = _AGENT.size + size
    return at if len(payload) >= at + _HEADER.size else Reason.SHORT_HEADER


class _Walk:
    """One datagram while it is read."""

    def __init__(self, intake: Intake, domain: Domain, payload: memoryview, received_ms: int, flags: int) -> None:
        self._intake, self._domain, self._payload = intake, domain, payload
        self._received_ms, self._flags = received_ms, flags
        self.counts: dict[str, int] = {}
        self.entries: tuple[list[bytes], ...] = tuple([] for _ in SLOTS)  # of flow samples, by slot

    def samples(self, at: int, announced: int) -> bool:
        """Walk the samples from offset ``at``; whether one was sound, or none was announced and none is there."""
        payload, end, walked, sound = self._payload, len(self._payload), 0, 0
        while walked < announced:
            walked += 1  # the first that is not there is dropped for all that are missing
            if end - at < _HEAD.size:
                self._drop("samples", Reason.BAD_SAMPLE_LENGTH)
                break
            kind, length = _HEAD.unpack_from(payload, at)
            start, stop = at + _HEAD.size, at + _HEAD.size + length
            if stop > end:
                if not self._flags & _TRUNCATED:
                    self._drop("samples", Reason.BAD_SAMPLE_LENGTH)
                    break
                stop = end  # of a datagram longer than its slot, the records that fitted are sound
            at = stop + -length % 4  # RFC 4506 section 4.10: opaque octets are filled up to four
            reason = self._sample(kind, start, stop)
            if reason is None:
                sound += 1
            else:
                self._drop("samples", reason)
        else:
            if at < end and bytes(payload[at:]).strip(b"\0"):
                walked += 1
                self._drop("samples", Reason.BEYOND_COUNT)
        if walked:
            self._count("samples", walked)
        return sound > 0 or not walked

    def _sample(self, kind: int, start: int, stop: int) -> Reason | None:
        if kind == 1 or kind == 3:
            return self._flow(kind == 3, start, stop)
        if kind in _COUNTERS:
            return self._counters(_COUNTERS[kind], start, stop)
        self._count("samples_discarded_packet" if kind == DISCARDED else "samples_skipped")
        return None

    def _flow(self, expanded: bool, start: int, stop: int) -> Reason | None:
        form = _EXPANDED_FLOW if expanded else _FLOW
        if stop - start < form.size:
            return Reason.SHORT_SAMPLE
        if expanded:
            _, kind, index, interval, _, drops, in_form, in_if, out_form, out_if, records = form.unpack_from(
                self._payload, start
            )
            source = kind << 32 | index
        else:
            _, source, interval, _, drops, in_if, out_if, records = form.unpack_from(self._payload, start)
            source = (source >> 24) << 32 | source & 0xFFFFFF
            in_form, in_if, out_form, out_if = in_if >> 30, in_if & INTERNAL, out_if >> 30, out_if & INTERNAL
        sampled = Sampled()
        read = skipped = 0
        for number, at, length in self._records(start + form.size, stop, records):
            said = sampled.learn(number, self._payload, at, length)
            if said is True:
                read += 1
            elif said is False:
                skipped += 1
            else:
                self._drop("sample_records", said)
        self._count("sample_records_read", read)
        self._count("sample_records_skipped", skipped)
        if grown := lost(self._domain, source, drops, self._intake.settings.samplers_per_domain):
            self._count("sampler_drops", grown)
        if not sampled.has_packet:
            return Reason.NO_PACKET
        self._count("samples_flow")
        captured = len(sampled.header)
        chosen = next(index for index, (slot, _) in enumerate(ENTRIES) if captured <= slot)
        in_if, out_if = _interface(in_form, in_if), _interface(out_form, out_if)
        self.entries[chosen].append(sampled.entry(ENTRIES[chosen][1], interval, in_if, out_if))
        return None

    def _counters(self, form: Struct, start: int, stop: int) -> Reason | None:
        if stop - start < form.size:
            return Reason.SHORT_SAMPLE
        (records,) = form.unpack_from(self._payload, start)
        for number, at, length in self._records(start + form.size, stop, records):
            if number != INTERFACE_COUNTERS:
                self._count("sample_records_skipped")
            elif length < INTERFACE.size:
                self._drop("sample_records", Reason.SHORT_RECORD)
            else:
                self._count("sample_records_read")
                for row in interface_rows(self._payload[at : at + INTERFACE.size]):
                    self._intake.observe("interface_counter", self._domain, self._received_ms, row)
        self._count("samples_counter")
        return None

    def _records(self, at: int, stop: int, announced: int) -> list[tuple[int, int, int]]:
        """Format, offset and length of each record inside its sample; the first unsound one ends it."""
        found: list[tuple[int, int, int]] = []
        lost = 0
        while len(found) < announced:
            start = at + _HEAD.size
            if start > stop:
                lost = 1  # for all that are missing
                break
            number, length = _HEAD.unpack_from(self._payload, at)
            if start + length > stop:
                lost = 1
                break
            found.append((number, start, length))
            at = start + length + -length % 4
        if lost:
            self._drop("sample_records", Reason.BAD_RECORD_LENGTH)
        elif at < stop:
            lost = 1
            self._drop("sample_records", Reason.BEYOND_COUNT)
        self._count("sample_records", len(found) + lost)
        return found

    def _count(self, counter: str, by: int = 1) -> None:
        self.counts[counter] = self.counts.get(counter, 0) + by

    def _drop(self, what: str, reason: Reason) -> None:
        self._count(f"{what}_dropped_{reason}")


def lost(domain: Domain, source: int, drops: int, most: int) -> int:
    """How many more samples the exporter itself could not send: ``drops`` is their total by source of samples.

    ``most``: sources of a domain that are remembered.
    """
    known = domain.drops
    before = known.get(source)
    if before == drops or (before is None and len(known) >= most):
        return 0
    known[source] = drops
    # A total that began anew says nothing of what was lost before.
    return grown if before is not None and (grown := (drops - before) % 2**32) < _LARGEST_GAP else 0


def interface_rows(records: bytes | memoryview) -> Iterator[dict[str, object]]:
    """Observations of interface counters, each of INTERFACE.size octets."""
    for said in INTERFACE.iter_unpack(records):
        row: dict[str, object] = dict(zip(_COUNTED, said, strict=True))
        if UNKNOWN in said or _UNKNOWN_OCTETS in said:
            # Section 5.4: what the device does not count it sends as the largest number.
            for name, none in _LARGEST:
                if row[name] == none:
                    row[name] = 0
        yield row


def _interface(form: int, value: int) -> int:
    """Index of the interface; 0: none, several, or the device itself (section 5.3, interface formats)."""
    return 0 if form or value in (INTERNAL, UNKNOWN) else value
