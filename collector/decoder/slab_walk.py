"""The headers and sets of all datagrams of a slab, in lock-step: one set a step over all of them.

NetFlow v5's records are a set of their own kind here: number 0, behind a header without set header.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Slots
from collector.decoder import ipfix, netflow5, netflow9
from collector.decoder.sets import SET_HEADER

Array = NDArray[Any]
Key = TypeVar("Key", bytes, int)

_MOST_SETS = 8  # of a datagram: each costs a step for the whole slab
_HEAD = np.dtype({"names": ["version", "length", "words"], "formats": [">u2", ">u2", (">u4", 5)], "offsets": [0, 2, 4]})
"""The longest of the headers: version; count, or length of the message; what follows."""
_VERSIONS = 16  # of the tables below, which no larger version has a place in
_LEAST: Array = np.zeros(_VERSIONS, "i8")
"""By version: octets of a header and a set's header; 0: not read here."""
_LEAST[netflow5.VERSION] = netflow5.HEADER.size
_LEAST[netflow9.VERSION] = netflow9.HEADER.size + SET_HEADER.size
_LEAST[ipfix.VERSION] = ipfix.HEADER.size + SET_HEADER.size
_NOTHING = 5
_PLACES: Array = np.zeros((_VERSIONS, 4), "i8")
"""By version: which words are uptime, export time, sequence number and domain."""
_PLACES[netflow5.VERSION] = 0, 1, 3, 4
_PLACES[netflow9.VERSION] = 0, 1, 2, 3
_PLACES[ipfix.VERSION] = _NOTHING, 0, 1, 2


class Walk:
    """What headers say by datagram, where the sets lie, and which datagrams are plain as far as that tells.

    Numbers of a datagram that is not plain may be anything.
    """

    def __init__(self, slots: Slots) -> None:
        self.memory = slots.memory
        count = len(slots)
        # Copied first: at equal distances the headers fall on the same few lines of the processor's cache.
        heads: Array = np.ndarray((count,), f"V{_HEAD.itemsize}", slots.memory, 0, (slots.stride,)).copy().view(_HEAD)
        version = np.minimum(heads["version"], _VERSIONS - 1).astype("i8")
        self.plain: Array = (_LEAST[version] > 0) & (slots.lengths >= _LEAST[version])
        if slots.cut is not None:
            self.plain &= ~slots.cut
        self.version: Array = np.where(self.plain, version, 0)
        said = heads["length"].astype("i8")
        words: Array = np.zeros((count, _NOTHING + 1), "i8")
        words[:, :_NOTHING] = heads["words"]
        told = np.take_along_axis(words, _PLACES[self.version], 1)
        self.uptime_ms, self.export_s, self.sequence, self.domain = told.T
        self.export_ms: Array = self.export_s * 1000
        self.interval: Array | None = None
        """Sampling of NetFlow v5's header, 0: it says nothing; None: no datagram is of this version."""
        self._starts: Array = np.arange(count, dtype="i8") * slots.stride
        self._lengths = slots.lengths
        self.plain &= (self.version != ipfix.VERSION) | (said == slots.lengths)
        self._most: Array = np.where((self.version == ipfix.VERSION) | (said == 0), _MOST_SETS, said)
        is_5 = self.version == netflow5.VERSION
        if is_5.any():
            records = (slots.lengths - netflow5.HEADER.size) // netflow5.RECORD_OCTETS
            self.plain &= ~is_5 | ((records == said) & (records > 0))
            self.export_ms += np.where(is_5, np.minimum(words[:, 2] // 1_000_000, 999), 0)
            self.domain = np.where(is_5, self.domain >> 16, self.domain)
            self.interval = np.where(is_5, words[:, 4] & netflow5.INTERVAL, 0)
        self._sets()

    def _sets(self) -> None:
        """Find them; a datagram with a set that is no sound data set is not plain."""
        words: Array = np.ndarray((len(self.memory) - 3,), ">u4", self.memory, 0, (1,))
        of = np.flatnonzero(self.plain)
        at = self._starts[of]
        end = at + self._lengths[of]
        version = self.version[of]
        at += np.where(version == ipfix.VERSION, ipfix.HEADER.size, netflow9.HEADER.size)
        found: list[tuple[Array, ...]] = []
        is_5 = version == netflow5.VERSION
        if is_5.any():
            start = at[is_5] + netflow5.HEADER.size - netflow9.HEADER.size
            found.append((of[is_5], np.zeros(len(start), "i8"), start, end[is_5]))
            of, at, end = of[~is_5], at[~is_5], end[~is_5]
        for step in range(_MOST_SETS):
            if not len(of):
                break
            head = words[at].astype("i8")
            number, stop = head >> 16, at + (head & 0xFFFF)
            sound = (number > 255) & (stop > at + SET_HEADER.size) & (stop <= end) & (self._most[of] > step)
            if not sound.all():
                self.plain[of[~sound]] = False
                of, at, end, number, stop = of[sound], at[sound], end[sound], number[sound], stop[sound]
            found.append((of, number, at + SET_HEADER.size, stop))
            more = end - stop >= SET_HEADER.size  # what is shorter is padding
            of, at, end = of[more], stop[more], end[more]
        self.plain[of] = False
        if not found:
            found.append((of, of, of, of))
        self.of, self.number, self.start, self.stop = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if len(found) > 1:
            self.choose(np.argsort(self.of, kind="stable"))

    def choose(self, sets: Array) -> None:
        """Keep these sets, by a mask or in this order."""
        self.of, self.number = self.of[sets], self.number[sets]
        self.start, self.stop = self.start[sets], self.stop[sets]


class Table(Generic[Key]):
    """Rows of numbers by key; made when a key is met."""

    def __init__(self, width: int) -> None:
        self._codes: dict[Key, int] = {}
        self._met: list[tuple[int, ...]] = []
        self.rows: Array = np.empty((0, width), "i8")

    def find(self, keys: list[Key], meet: Callable[[Key], tuple[int, ...]]) -> Array:
        """The row's index of each key."""
        codes = self._codes
        try:
            return np.fromiter(map(codes.__getitem__, keys), "i8", len(keys))
        except KeyError:
            for key in dict.fromkeys(keys):
                if key not in codes:
                    codes[key] = len(self._met)
                    self._met.append(meet(key))
            self.rows = np.array(self._met, "i8")
            return np.fromiter(map(codes.__getitem__, keys), "i8", len(keys))
