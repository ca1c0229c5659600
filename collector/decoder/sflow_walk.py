"""The headers, samples and records of all sFlow datagrams of a slab, in lock-step (sFlow Version 5, July 2004).

One step reads the n-th sample of every datagram, then one the n-th record of every sample.  A datagram is *plain* when
its lengths and counts agree to the last octet; every other is left to ``sflow5``, which tells what of it is sound.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Slots
from collector.decoder.sflow5 import INTERNAL, UNKNOWN

Array = NDArray[Any]

FLOW, COUNTERS, EXPANDED_FLOW, EXPANDED_COUNTERS = 1, 2, 3, 4
"""Data formats of samples (section 5.3)."""
ROOM = 512
"""Octets that may be read behind any position inside a datagram."""
VERSION = 5
_HEAD_WORDS = 10  # of a datagram whose agent has an IPv6 address
_LEAST, _LEAST_IPV6 = 28, 40  # octets of the header by the agent's address
_MOST_SAMPLES = 64  # of a datagram; _MOST_RECORDS: of a sample; each costs a step for the whole slab
_MOST_RECORDS = 16
_OCTETS: Array = np.array([0, 32, 12, 44, 16])
"""Of a sample before its records, by its format."""
_FLOW_WORDS, _EXPANDED_FLOW_WORDS, _EXPANDED_COUNTERS_WORDS = 8, 11, 4
_EXPANDED = (1, 2, 3, 5, 6, 7, 8, 9, 10)
"""Words of an expanded flow sample: source's type and index, interval, drops, format and value of both interfaces,
number of records."""
_HEADER = 8  # octets of a sample's or record's format and length


class SFlowWalk:
    """What headers say by datagram; after ``read``, where samples and records lie.

    Arrays are i8 but for words of flow samples (u4) and their ``source`` (u8); positions are octets in ``memory``.
    Those of a datagram that is not plain may be anything.
    """

    def __init__(self, slots: Slots, chosen: Array) -> None:
        """``chosen``: indexes of datagrams, i8; those are taken whose header is sound."""
        lengths = slots.lengths[chosen]
        self.memory, starts = _packed(slots, chosen, lengths)
        head = self.words(starts, _HEAD_WORDS)
        six = head[:, 1] == 2
        least = np.where(six, _LEAST_IPV6, _LEAST)
        sound = (head[:, 0] == VERSION) & (six | (head[:, 1] == 1)) & (lengths >= least)
        if not sound.all():
            chosen, starts, lengths, least = chosen[sound], starts[sound], lengths[sound], least[sound]
            head, six = head[sound], six[sound]
        self.index = chosen
        told = np.where(six[:, None], head[:, 6:10], head[:, 3:7]).astype("i8")
        self.agent, self.sequence, self.uptime_ms, self._announced = told.T
        self._at, self._end = starts + least, starts + lengths
        self.plain: Array = np.ones(len(chosen), bool) if slots.cut is None else ~slots.cut[chosen]

    def words(self, at: Array, count: int) -> Array:
        """``count`` words of 32 bits from each position on: (positions, count), >u4."""
        found: Array = self.octets(at, 4 * count).view(">u4").reshape(-1, count)
        return found

    def octets(self, at: Array, size: int) -> Array:
        """``size`` octets, at most ROOM, from each position on, V."""
        every: Array = np.ndarray((len(self.memory) - size + 1,), f"V{size}", self.memory, 0, (1,))
        found: Array = every[at]
        return found

    def of_record(self, records: Array | slice) -> Array:
        """The datagram of each of these records."""
        found: Array = self.of[self.sample[self.owner[records]]]
        return found

    def read(self) -> None:
        """Find samples and records of the datagrams that are plain so far."""
        self._samples()
        self._flows()
        self._records()

    def _follow(self, at: Array, end: Array, announced: Array, most: int) -> tuple[Array, Array, Array, Array, Array]:
        """Samples of datagrams or records of samples: ``announced`` of them from ``at`` to ``end``, in a row for each.

        Which row each is of, its format, where its octets begin and end; and, by row, whether all of it was sound, at
        the most ``most`` and nothing behind.  What is told of a row that was not may be anything.
        """
        sound = (announced <= most) & (announced * _HEADER <= end - at)
        count = np.where(sound, announced, 0)
        of = np.repeat(np.arange(len(at)), count)
        kinds, starts, stops = np.zeros((3, len(of)), "i8")
        place = np.cumsum(count) - count  # where this step's go
        rows = np.flatnonzero(sound)
        if len(rows) < len(at):
            at, end, count, place = at[rows], end[rows], count[rows], place[rows]
        for step in range(most + 1):
            if (over := count == step).any():
                sound[rows[over & (at < end)]] = False  # octets beyond the count
                rows, at, end, count, place = (each[~over] for each in (rows, at, end, count, place))
            if not len(rows):
                break
            head, start = self.words(at, 2), at + _HEADER
            stop = start + head[:, 1]
            if not (fits := stop <= end).all():
                sound[rows[~fits]] = False
                rows, end, count, place = rows[fits], end[fits], count[fits], place[fits]
                head, start, stop = head[fits], start[fits], stop[fits]
            kinds[place], starts[place], stops[place] = head[:, 0], start, stop
            place = place + 1
            at = stop + (start - stop & 3)  # RFC 4506 section 4.10: opaque octets are filled up to four
        return of, kinds, starts, stops, sound

    def _samples(self) -> None:
        plain = np.flatnonzero(self.plain)
        of, self.kind, self._start, self._stop, sound = self._follow(
            self._at[plain], self._end[plain], self._announced[plain], _MOST_SAMPLES
        )
        self.of: Array = plain[of]
        """Samples as they lie in the slab: datagram, format, octets behind format and length."""
        if not sound.all():
            self.plain[plain[~sound]] = False
            kept = sound[of]
            self.of, self.kind = self.of[kept], self.kind[kept]
            self._start, self._stop = self._start[kept], self._stop[kept]

    def _flows(self) -> None:
        """Flow samples, as they lie in the slab."""
        self.flow: Array = np.flatnonzero((self.kind == FLOW) | (self.kind == EXPANDED_FLOW))
        """Which of the samples they are."""
        wide = self.kind[self.flow] == EXPANDED_FLOW
        has_wide = bool(wide.any())
        words = _EXPANDED_FLOW_WORDS if has_wide else _FLOW_WORDS
        said = self.words(self._start[self.flow], words).T.astype("u4")
        _, source, interval, _, drops, inward, outward, announced = said[:_FLOW_WORDS]
        fields = [
            source >> 24, source & 0xFFFFFF, interval, drops, inward >> 30, inward & INTERNAL, outward >> 30,
            outward & INTERNAL, announced,
        ]  # fmt: skip
        if has_wide:
            fields = [np.where(wide, said[word], field) for word, field in zip(_EXPANDED, fields, strict=True)]
        kind, index, self.interval, self.drops, in_form, in_if, out_form, out_if, announced = fields
        self._announced_records = announced.astype("i8")
        self.source: Array = kind.astype("u8") << np.uint64(32) | index
        """Of samples: its type and index."""
        self.in_if, self.out_if = _interface(in_form, in_if), _interface(out_form, out_if)

    def _records(self) -> None:
        counters = np.flatnonzero((self.kind == COUNTERS) | (self.kind == EXPANDED_COUNTERS))
        announced = self._announced_records
        sample = self.flow
        if len(counters):
            said = self.words(self._start[counters], _EXPANDED_COUNTERS_WORDS)
            more = np.where(self.kind[counters] == EXPANDED_COUNTERS, said[:, 3], said[:, 2]).astype("i8")
            announced, sample = np.concatenate((announced, more)), np.concatenate((sample, counters))
        self.sample: Array = sample
        """Samples that have records: all of flows, then all of counters."""
        at = self._start[sample] + _OCTETS[self.kind[sample]]
        self.owner, self.number, self.at, stop, sound = self._follow(at, self._stop[sample], announced, _MOST_RECORDS)
        """Records as they lie in their samples: which of ``sample`` has it, format, position."""
        self.length: Array = stop - self.at
        self._refuse(sample[~sound])

    def _refuse(self, samples: Array) -> None:
        self.plain[self.of[samples]] = False

    def refuse(self, owners: Array) -> None:
        """The datagrams of these of ``sample`` are not plain."""
        self._refuse(self.sample[owners])


def in_order(keys: Array, bound: int) -> Array:
    """Indexes that sort numbers from 0 to ``bound``, equal ones in their order: of 16 bits it is a radix sort."""
    order: Array = np.argsort(keys.astype("u2") if bound <= 1 << 16 else keys, kind="stable")
    return order


def _packed(slots: Slots, chosen: Array, lengths: Array) -> tuple[Array, Array]:
    """Memory that has ROOM behind each of the datagrams, and where they begin.

    Copied side by side, steps over all of them do not fall on the same few lines of the processor's cache, and what is
    read first is the copy, in one stream (measured: 20 % of the whole).  Not if one that is long would make it large.
    """
    size = (int(lengths.max(initial=0)) | 7) + 1
    if size * len(chosen) <= 2 * int(lengths.sum()) and size <= slots.stride:
        memory: Array = np.empty(len(chosen) * size + ROOM, "u1")
        every: Array = np.ndarray((len(slots),), f"V{size}", slots.memory, 0, (slots.stride,))
        memory[: len(chosen) * size].view(f"V{size}")[:] = every[chosen]
        return memory, np.arange(len(chosen)) * size
    memory = slots.memory
    if slots.stride < ROOM:
        memory = np.concatenate((memory, np.zeros(ROOM, "u1")))
    return memory, chosen * slots.stride


def _interface(form: Array, value: Array) -> Array:
    """Index of the interface; 0: none, several, or the device itself (section 5.3, interface formats)."""
    return np.where((form > 0) | (value == INTERNAL) | (value == UNKNOWN), 0, value)
