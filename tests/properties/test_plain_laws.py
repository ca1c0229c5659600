"""A slab read at once says what its datagrams say one by one: rows in order by exporter, counters, state."""

import struct
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.decoder import decoder as decoder_module
from collector.decoder.admission import Admission
from collector.settings import AdmissionSettings, DecoderSettings
from sinks.batch import Batch
from tests.slabs import slab_of
from tests.wire import NOW, flowset, options9, options10, template

VARIABLE = 65_535
LAYOUTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((7, 2), (1, 4)), ((1, 4), (8, 4), (12, 4)), ((7, 2), (96, VARIABLE), (1, 4)),
    ((96, VARIABLE), (7, 2), (94, VARIABLE)), ((30_000, 0),),
)  # fmt: skip
"""The last has records without octets; variable length is IPFIX's only, v9 takes it for a length."""
EXPORTERS = ("192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4")


@dataclass
class Sender:
    """A made-up exporter: what it sends next depends on what it sent."""

    version: int
    domain: int
    sequence: int = 7
    uptime: int = 3_600_000
    now: int = NOW
    templates: dict[int, int] = field(default_factory=dict)  # layout by number
    records: int = 0  # of the message that is made

    def message(self, *sets: bytes, count: int | None = None, tail: bytes = b"", says: int = 0) -> bytes:
        body = b"".join(sets) + tail
        if self.version == 9:
            counted = len(sets) if count is None else count
            made = struct.pack("!HHIIII", 9, counted, self.uptime, self.now, self.sequence, self.domain) + body
            self.sequence += 1
        else:
            made = struct.pack("!HHIII", 10, 16 + len(body) + says, self.now, self.sequence, self.domain) + body
            self.sequence += self.records
        self.sequence %= 2**32
        self.records = 0
        return made

    def set(self, number: int, values: list[int], padding: int) -> bytes:
        fields = LAYOUTS[self.templates.get(number, 0)]
        self.records += len(values)
        return flowset(number, b"".join(self._record(fields, value) for value in values) + bytes(padding))

    def _record(self, fields: tuple[tuple[int, int], ...], value: int) -> bytes:
        parts = []
        for element, length in fields:
            if length == VARIABLE and self.version == 10:
                text = bytes([65 + element % 26]) * (value % 5 if value % 7 else 300)
                parts.append((bytes([len(text)]) if len(text) < 255 else struct.pack("!BH", 255, len(text))) + text)
            else:
                parts.append((value % 200).to_bytes(4, "big")[4 - length :] if length else b"")
        return b"".join(parts)

    def announce(self, number: int, layout: int) -> bytes:
        fields = LAYOUTS[layout]
        if self.version == 9:
            fields = tuple((element, 4 if length == VARIABLE else length) for element, length in fields)
        self.templates[number] = layout
        return self.message(flowset(0 if self.version == 9 else 2, template(number, *fields)))


def traffic(seed: int) -> list[list[tuple[str, bytes, bool]]]:
    """Slabs: exporter, payload, whether it was cut."""
    random = Random(seed)

    def some() -> list[int]:
        return [random.randrange(1000) for _ in range(random.randint(1, 4))]

    senders = [Sender(9, 1), Sender(10, 1), Sender(random.choice((9, 10)), 2), Sender(9, 70_000)]
    held: list[tuple[str, bytes, bool]] = []  # late, to be sent again or not at all
    v5 = 0
    slabs: list[list[tuple[str, bytes, bool]]] = []
    sent = [(EXPORTERS[n], each.announce(256 + kind, (n + kind) % 4), False)
            for n, each in enumerate(senders) for kind in range(2)]  # fmt: skip
    odd = random.randint(0, 30)  # in a hundred
    for _ in range(random.randint(1, 4)):
        for _ in range(random.randint(1, 12)):
            number = random.randint(0, len(senders) - 1)
            sender, exporter = senders[number], EXPORTERS[number]
            action = random.randint(0, 17) if random.randint(0, 99) < odd else -1
            values, which = some(), 256 + random.randint(0, 1)
            data = sender.set(which, values, 0)
            cut = False
            if action in (-1, 0):
                sets = [data]
                for _ in range(random.randint(0, 2)):
                    sets.append(sender.set(256 + random.randint(0, 1), some(), random.randint(0, 3)))
                made = sender.message(*sets, tail=bytes(random.randint(0, 3)))
            elif action == 1:
                made = sender.announce(which, random.randint(0, 4))
            elif action == 2:
                made = sender.message(data, sender.set(400, [1], 0))
            elif action == 3:
                made = sender.message(data, tail=bytes(4 * random.randint(1, 3)))
            elif action == 4:
                made = sender.message(data, tail=b"\1\0\0\7")
            elif action == 5:
                made = sender.message(data, count=1, tail=data)
            elif action == 6:
                made = sender.message(data, says=4)
            elif action == 7:
                made, cut = sender.message(data)[: -random.randint(1, 8)], random.random() < 0.5
            elif action == 8:
                options = (
                    options9(300, [(1, 4)], (34, 4)) if sender.version == 9 else options10(300, 1, (149, 4), (34, 4))
                )
                told = struct.pack("!II", 0, 1 + values[0])
                made = sender.message(flowset(1 if sender.version == 9 else 3, options), flowset(300, told), data)
            elif action == 9:
                sender.sequence += values[0]
                made = sender.message(data)
            elif action == 10:
                sender.sequence, sender.uptime = 0, 5
                made = sender.message(data)
            elif action == 11:
                held.append((exporter, sender.message(data), False))
                continue
            elif action == 12 and held:
                exporter, made, cut = held.pop(0)
            elif action == 13 and (held or sent):
                exporter, made, cut = (held or sent)[-1]
            elif action == 14:
                sender.now += random.choice((-100_000, 1, 50_000))
                made = sender.message(data)
            elif action == 15:
                flows = random.randint(0, 3)
                made = struct.pack("!HHIIIIBBH", 5, flows, 9, NOW, 5_000_000, v5, 0, 1, random.choice((0, 0x400A)))
                made += bytes(48 * flows + random.choice((0, 0, 0, 5, 48)))
                v5 += flows
            elif action == 16:
                made = random.randbytes(random.randint(0, 40))
            else:
                made = sender.message()
            sent.append((exporter, made, cut))
        slabs.append(sent)
        sent = []
    return slabs


def by_exporter(batches: list[Batch]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of each exporter and kind of row, in order; rows of different layouts have no order among themselves."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for batch in batches:
        names = sorted(set(batch.columns) - set(batch.labels))
        columns = [batch.columns[name].tolist() for name in names]
        for exporter, extra, *row in zip(batch.text("exporter"), batch.text("extra"), *columns, strict=True):
            found.setdefault(exporter, []).append((extra, *row))
    return found


def all_of(decoder: Decoder) -> list[Batch]:
    found = []
    while (batch := decoder.take()) is not None:
        found.append(batch)
    return found


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 3), refused=st.booleans(), flush=st.booleans())
def test_at_once_as_one_by_one(seed: int, slots: int, refused: bool, flush: bool) -> None:
    slabs = traffic(seed)
    chosen = DecoderSettings(extra=("applicationName",))
    admission = AdmissionSettings(deny=(f"{EXPORTERS[1]}/32",) if refused else ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "FEWEST", 1)
        once = Decoder(chosen, "test", Admission(admission), slots)
        single = Decoder(chosen, "test", Admission(admission), slots)
        rows: tuple[list[Batch], list[Batch]] = ([], [])
        for number, slab in enumerate(slabs):
            came_ms = (NOW + 1 + number) * 1000
            cut = [index for index, each in enumerate(slab) if each[2]]
            once.add(slab_of([each[:2] for each in slab], came_ms, cut))
            for exporter, payload, was_cut in slab:
                truncated = frozenset({0}) if was_cut else frozenset[int]()
                single.add(Datagrams([exporter], [memoryview(payload)], came_ms, truncated))
            assert once.waiting() == single.waiting()
            if flush:
                rows[0].extend(all_of(once))
                rows[1].extend(all_of(single))
        assert once.held() == single.held() and once.state() == single.state()
        for decoder, found in zip((once, single), rows, strict=True):
            decoder.close()
            found.extend(all_of(decoder))
    one, other = (by_exporter(found) for found in rows)
    assert {name: Counter(each) for name, each in one.items()} == {name: Counter(each) for name, each in other.items()}
    assert Counter(once.take_counts()) == Counter(single.take_counts())
