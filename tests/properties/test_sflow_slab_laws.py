"""A slab of sFlow read at once says what its datagrams say one by one: rows, counters, observations, what is kept."""

import struct
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.datagrams import Datagrams
from collector.decoder import Decoder, sflow_slab
from collector.decoder.admission import Admission
from collector.settings import AdmissionSettings, DecoderSettings
from sinks.batch import Batch
from tests.slabs import slab_of
from tests.wire import NOW

EXPORTERS = ("192.0.2.1", "192.0.2.2", "198.51.100.3")
Sent = tuple[str, bytes, bool]
"""Exporter, payload, whether it was cut."""


def u(*words: int) -> bytes:
    return struct.pack(f"!{len(words)}I", *(word % 2**32 for word in words))


def opaque(kind: int, body: bytes, says: int = 0) -> bytes:
    """A sample or record; ``says``: by how much its length is wrong."""
    return u(kind, len(body) + says) + body + bytes(-len(body) % 4)


@dataclass
class Maker:
    """Makes samples; ``odd``: how many in a hundred of its choices are unusual."""

    random: Random
    odd: int
    longest: int

    def is_odd(self) -> bool:
        return self.random.random() * 100 < self.odd

    def frame(self) -> bytes:
        random = self.random
        ports = struct.pack("!HHIIBBHHH", random.randrange(9), 443, 1, 2, 0x50, random.randrange(64), 0, 0, 0)
        if random.random() < 0.5:
            head = struct.pack("!BBHHHBBH", 0x45, random.randrange(9), 99, 1, 0, 64, random.choice((1, 6, 17, 47)), 0)
            kind, packet = 0x0800, head + random.randbytes(8) + ports
        else:
            head = struct.pack("!IHBB", 6 << 28, 60, random.choice((0, 6, 17, 44, 58)), 64)
            kind, packet = 0x86DD, head + random.randbytes(32) + ports
        below = random.randrange(4)
        if below == 1:
            packet, kind = struct.pack("!HH", random.randrange(4096), kind) + packet, 0x8100
        elif below == 2:
            packet, kind = u(random.randrange(16) << 12 | 0x0FF) + u(17 << 12 | 0x1FF) + packet, 0x8847
        elif below == 3:
            packet = random.randbytes(len(packet))
        return bytes(12) + kind.to_bytes(2, "big") + packet + random.randbytes(random.randrange(200))

    def packet(self) -> bytes:
        captured = self.frame()[: self.random.choice((14, 60, 128, 128, 128, 129, 256, 600))][: self.longest]
        if self.is_odd():
            captured = captured[: self.random.randrange(3)]
        protocol = self.random.choice((1, 1, 1, 11, 12, 13, 300)) if self.is_odd() else 1
        says = len(captured) + (self.random.choice((-1, 1, 4, 2**31)) if self.is_odd() else 0)
        padding = bytes(-len(captured) % 4) if self.random.random() < 0.8 else b""
        return u(protocol, self.random.choice((64, 1518, 70_000)), 4, says) + captured + padding

    def address(self) -> bytes:
        kind = self.random.randrange(3 if not self.is_odd() else 5)
        return u(kind) + self.random.choice((bytes(16), self.random.randbytes(16)))[: (0, 4, 16, 4, 0)[kind]]

    def record(self) -> bytes:
        random = self.random
        kind = random.choice((1001, 1001, 1002, 1002, 1003, 2, 3, 4, 1, 1007, 4096 * 8800 + 1, 1 << 31))
        if kind == 1:
            body = self.packet()
        elif kind == 1001:
            body = u(random.choice((0, 7, 4094, 4095, 2**32 - 1)), 0, 9, 0)
        elif kind == 1002:
            body = self.address() + u(random.choice((0, 24, 128, 129, 2**32 - 1)), 16)
        elif kind == 1003:
            path = [[random.randrange(2**32) for _ in range(random.randrange(3))] for _ in range(random.randrange(4))]
            if self.is_odd():
                path += [[]] * 20
            segments = b"".join(u(2, len(numbers), *numbers) for numbers in path)
            count = len(path) + (random.choice((-1, 1, 2**31)) if self.is_odd() else 0)
            body = self.address() + u(65000, 65001, 65002, count) + segments + u(1, 99, 100)[: random.choice((0, 12))]
        elif kind == 2:
            body = u(1450) + bytes(16) + u(0x800)
        elif kind in (3, 4):
            addresses = random.randbytes(8 if kind == 3 else 32)
            body = u(1400, 17) + addresses + u(*(random.choice((0, 53, 0xFFFF, 2**32 - 1)) for _ in range(4)))
        else:
            body = random.randbytes(random.randrange(20))
        if self.is_odd():
            body = body[: random.randrange(len(body) + 1)]
        return opaque(kind, body, random.choice((-4, 1, 4, 2**31)) if self.is_odd() else 0)

    def flow(self, drops: dict[int, int]) -> bytes:
        random = self.random
        source = random.choice((1, 2, 3, (1 << 24) + 1))
        if random.random() < 0.3:
            drops[source] = (drops.get(source, 2**32 - 9) + random.choice((1, 7, 2**31, 2**32 - 3))) % 2**32
        total = drops.get(source, 2**32 - 9)
        records = [] if self.is_odd() else [opaque(1, self.packet())]
        for _ in range(random.choice((0, 0, 1, 2)) if not self.is_odd() else random.randrange(20)):
            records.insert(random.randrange(len(records) + 1), self.record())
        count = len(records) + (random.choice((-1, 1, 2**31)) if self.is_odd() else 0)
        ports = [random.choice((0, 7, 0x3FFFFFFF, 0x40000102, 0x80000003)) for _ in range(2)]
        if random.random() < 0.5:
            body = u(1, source, random.choice((0, 64)), 1000, total, *ports, count)
            kind = 1
        else:
            kinds = [random.choice((0, 0, 1, 2)) for _ in range(2)]
            split = source >> 24, source & 0xFFFFFF
            where = kinds[0], random.choice((ports[0], 2**32 - 1)), kinds[1], ports[1]
            body = u(1, *split, random.choice((0, 64)), 1000, total, *where, count)
            kind = 3
        return opaque(kind, body + b"".join(records), random.choice((-4, 1, 4)) if self.is_odd() else 0)

    def counters(self) -> bytes:
        random = self.random
        largest = 2**32 - 1

        def way() -> bytes:
            numbers = [random.choice((5, largest)) for _ in range(6)]
            return struct.pack("!QIIIIII", random.choice((2**40, largest, 2**64 - 1)), *numbers)

        records = []
        for _ in range(random.randrange(4)):
            generic = u(12, 6) + struct.pack("!Q", 10**10) + u(1, 3) + way() + way() + u(0)
            generic = generic[: random.randrange(88) if self.is_odd() else 88]
            records.append(opaque(*random.choice(((1, generic), (2, bytes(52)), (4096 + 1, generic)))))
        count = len(records) + (random.choice((-1, 1)) if self.is_odd() else 0)
        if random.random() < 0.5:
            return opaque(2, u(1, 12, count) + b"".join(records))
        return opaque(4, u(1, 0, 12, count) + b"".join(records))

    def samples(self, drops: dict[int, int]) -> list[bytes]:
        random = self.random
        found = []
        for _ in range(random.choice((0, 1, 2, 6)) if not self.is_odd() else random.randrange(80)):
            kind = random.random()
            if kind < 0.75:
                found.append(self.flow(drops))
            elif kind < 0.9:
                found.append(self.counters())
            else:
                found.append(opaque(random.choice((0, 5, 6, 4096 * 9 + 1, 1 << 31)), bytes(random.randrange(9))))
        return found


@dataclass
class Sender:
    """A made-up sub-agent."""

    exporter: str
    agent: int
    six: bool
    sequence: int
    drops: dict[int, int]
    uptime: int = 5_000

    def datagram(self, maker: Maker) -> bytes:
        samples = maker.samples(self.drops)
        address = u(2) + bytes(16) if self.six else u(1, 0x0A000001)
        count = len(samples) + (maker.random.choice((-1, 1, 1000, 2**31)) if maker.is_odd() else 0)
        made = u(5) + address + u(self.agent, self.sequence, self.uptime, count) + b"".join(samples)
        self.sequence = (self.sequence + 1) % 2**32
        self.uptime += 10
        return made


def traffic(seed: int, longest: int) -> list[list[Sent]]:
    """Slabs of several senders; ``longest``: octets of a sampled header at the most."""
    random = Random(seed)
    maker = Maker(random, random.choice((0, 0, 1, 5)), longest)
    senders = [
        Sender(random.choice(EXPORTERS), agent, random.random() < 0.3, random.choice((0, 7, 2**32 - 3)), {})
        for agent in range(random.randint(1, 5))
    ]
    odd = random.choice((0, 10, 40))  # of a hundred datagrams
    sent: list[Sent] = []
    slabs: list[list[Sent]] = []
    for _ in range(random.randint(1, 4)):
        begin = len(sent)
        for _ in range(random.randint(1, 25)):
            sender = random.choice(senders)
            made, cut = sender.datagram(maker), False
            action = random.randrange(9) if random.randrange(100) < odd else -1
            if action == 0:
                made = made[: random.randrange(len(made) + 1)]
                cut = random.random() < 0.5
            elif action == 1:
                at = random.randrange(len(made))
                made = made[:at] + random.randbytes(1) + made[at + 1 :]
            elif action == 2:
                made += random.choice((bytes(4), b"\0\1", bytes(3) + b"\1"))
            elif action == 3:
                sender.sequence = (sender.sequence + random.choice((1, 5, 2**31, -3))) % 2**32
            elif action == 4:
                sender.sequence, sender.uptime = 0, 1
            elif action == 5 and sent:
                sent.append(random.choice(sent))
            elif action == 6:
                made = random.choice((b"", b"\0", u(5), u(5, 3) + made[8:], struct.pack("!HH", 9, 0) + bytes(16)))
            elif action == 7:
                continue
            sent.append((sender.exporter, made, cut))
        slabs.append(sent[begin:])
    return slabs


def by_domain(batches: list[Batch]) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """Rows of each exporter and sub-agent, in order."""
    found: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for batch in batches:
        names = sorted(set(batch.columns) - set(batch.labels))
        columns = [batch.columns[name].tolist() for name in names]
        domains = batch.columns["domain"].tolist()
        for exporter, domain, *row in zip(batch.text("exporter"), domains, *columns, strict=True):
            found.setdefault((exporter, domain), []).append(tuple(row))
    return found


def observed(decoder: Decoder) -> dict[tuple[object, object], list[dict[str, object]]]:
    """Observations of each exporter and sub-agent, in order."""
    found: dict[tuple[object, object], list[dict[str, object]]] = {}
    for _, rows in decoder.take_observations():
        for row in rows:
            found.setdefault((row["exporter"], row["domain"]), []).append(row)
    return found


def kept(decoder: Decoder) -> dict[tuple[str, int, int], tuple[object, ...]]:
    """What is remembered of each domain."""
    return {
        key: (domain.seen_ms, domain.drops, domain.sequence.saved(), domain.sequence.gaps)
        for key, domain in decoder._intake.domains.known.items()
    }


def all_of(decoder: Decoder) -> list[Batch]:
    found = []
    while (batch := decoder.take()) is not None:
        found.append(batch)
    return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32), slots=st.integers(1, 3), refused=st.booleans(), flush=st.booleans(),
    samplers=st.sampled_from((1, 3, 1000)), longest=st.sampled_from((128, 600)),
)  # fmt: skip
def test_at_once_as_one_by_one(seed: int, slots: int, refused: bool, flush: bool, samplers: int, longest: int) -> None:
    chosen = DecoderSettings(samplers_per_domain=samplers)
    admission = AdmissionSettings(deny=(f"{EXPORTERS[1]}/32",) if refused else ())
    once, single = (Decoder(chosen, "test", Admission(admission), slots) for _ in range(2))
    rows: tuple[list[Batch], list[Batch]] = ([], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sflow_slab, "FEWEST", 1)
        for number, slab in enumerate(traffic(seed, longest)):
            came_ms = (NOW + 1 + number) * 1000
            once.add(slab_of([each[:2] for each in slab], came_ms, [n for n, each in enumerate(slab) if each[2]]))
            for exporter, payload, was_cut in slab:
                truncated = frozenset({0}) if was_cut else frozenset[int]()
                single.add(Datagrams([exporter], [memoryview(payload)], came_ms, truncated))
            assert once.waiting() == single.waiting()
            assert kept(once) == kept(single)
            assert observed(once) == observed(single)
            if flush:
                for decoder, found in zip((once, single), rows, strict=True):
                    found.extend(all_of(decoder))
    for decoder, found in zip((once, single), rows, strict=True):
        decoder.close()
        found.extend(all_of(decoder))
    one, other = (by_domain(found) for found in rows)
    if longest > 128:  # entries of long headers wait apart from those of short ones
        assert {name: Counter(each) for name, each in one.items()} == {
            name: Counter(each) for name, each in other.items()
        }
    else:
        assert one == other
    assert Counter(once.take_counts()) == Counter(single.take_counts())
