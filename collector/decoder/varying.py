"""Records of variable length (RFC 7011 section 7): where they end, and where their fields are.

Where the next record begins is known only when this one was read, so the ends of records are found one after another,
by the lengths alone: in plain Python, 0.15 us a record and field.  In lock-step over the sets of a whole group it would
be a fifth of that, but how many records a message has must be known when it comes, for its sequence number and for what
counts as decoded; over the sets of one read it is no faster.  The fields are found in lock-step, one field a step over
all records of a segment.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.elements import VARIABLE, FieldSpecifier

Array = NDArray[Any]

_LONG = 255
"""First octet of a length that stands in the two octets after it."""


class Stretches:
    """The fields of a variable layout as stretches of fixed length, each but the last ended by a variable field."""

    def __init__(self, fields: tuple[FieldSpecifier, ...]) -> None:
        self.skips: list[int] = [0]
        """Octets before the variable field of each stretch, and at last those after all of them."""
        self.place: list[tuple[int, int]] = []
        """By field: its stretch, and its offset there; a variable field lies where its stretch ends."""
        for each in fields:
            self.place.append((len(self.skips) - 1, self.skips[-1]))
            if each.length == VARIABLE:
                self.skips.append(0)
            else:
                self.skips[-1] += each.length

    @cached_property
    def least(self) -> int:
        """Octets of a record whose variable fields are all empty; at least 1, so that no walk can stand still."""
        return sum(self.skips) + len(self.skips) - 1

    def ends(self, body: bytes) -> list[int]:
        """Where each whole record of a set's body ends, in order; what is left behind them is no whole record."""
        variable = self.skips[:-1]
        found = self._ends_of_one(body) if len(variable) == 1 else self._ends(body, variable)
        # Only the last can reach beyond the body: none begins there.
        if found and found[-1] > len(body):
            found.pop()
        return found

    def _ends_of_one(self, body: bytes) -> list[int]:
        """The usual case, one variable field, in as few steps as there are."""
        found: list[int] = []
        add = found.append
        lengths, least = body[self.skips[0] :], self.least
        at, last = 0, len(body) - least
        while at <= last:
            size = lengths[at]
            if size == _LONG:
                size = _long(lengths, at)
            at += size + least
            add(at)
        return found

    def _ends(self, body: bytes, variable: list[int]) -> list[int]:
        found: list[int] = []
        end, last, tail = len(body), len(body) - self.least, self.skips[-1]
        at = 0
        while at <= last:
            for skip in variable:
                at += skip
                if at >= end:
                    return found
                size = body[at]
                if size == _LONG:
                    size = _long(body, at)
                at += size + 1
            at += tail
            found.append(at)
        return found


def _long(body: bytes, at: int) -> int:
    """A length of three octets, those included that the short form has not; beyond the body when it is cut there."""
    return (body[at + 1] << 8 | body[at + 2]) + 2 if at + 2 < len(body) else len(body)


class VariableRows:
    """Records of variable length, as ``records.Rows``; fields are gathered."""

    def __init__(self, fields: tuple[FieldSpecifier, ...], stretches: Stretches, body: Array, starts: Array) -> None:
        """``starts`` int64: where each record begins in ``body``; every record was found whole."""
        self.count = len(starts)
        self._fields, self._stretches, self._octets = fields, stretches, body
        self._begins: list[Array] = [starts]  # of each stretch that was reached
        self._gathered: dict[int, Array] = {}  # octets of a stretch before its variable field, record after record
        self._variable: list[tuple[Array, Array]] = []  # start and length of the field that ends each

    def unsigned(self, place: int, width: int = 8) -> Array:
        """An integer field's low ``width`` octets as unsigned integers."""
        length = self._fields[place].length
        used = min(length, width)
        if used in (1, 2, 4, 8):
            return self._view(place, length - used, f">u{used}")
        total: Array = self._view(place, length - used, "u1").astype("u8")
        for at in range(length - used + 1, length):
            total = total << np.uint64(8) | self._view(place, at, "u1")
        return total

    def octets(self, place: int, dtype: str) -> Array:
        """A field as it stands; the dtype has the field's length."""
        return self._view(place, 0, dtype)

    def spans(self, place: int) -> tuple[Array, Array, Array]:
        """The buffer (uint8), and where the field begins in it and how long it is (int64, one a record)."""
        length = self._fields[place].length
        if length != VARIABLE:
            return self._octets, self._starts(place), np.full(self.count, length, "i8")
        stretch, _ = self._stretches.place[place]
        self._reach(stretch + 1)
        return self._octets, *self._variable[stretch]

    def _view(self, place: int, skip: int, dtype: str) -> Array:
        """A field of a stretch that is gathered as a whole: one look-up a record for all its fields."""
        stretch, offset = self._stretches.place[place]
        size = self._stretches.skips[stretch]
        gathered = self._gathered.get(stretch)
        if gathered is None:
            self._reach(stretch)
            gathered = self._gathered[stretch] = self._gather(self._begins[stretch], f"V{size}").view("u1")
        return np.ndarray((self.count,), dtype, gathered, offset + skip, (size,))

    def _starts(self, place: int) -> Array:
        stretch, offset = self._stretches.place[place]
        self._reach(stretch)
        begins = self._begins[stretch]
        return begins + offset if offset else begins

    def _reach(self, stretch: int) -> None:
        """Step over variable fields until the stretch is known."""
        octets = self._octets
        while len(self._begins) <= stretch:
            at = self._begins[-1] + self._stretches.skips[len(self._begins) - 1]
            lengths = octets[at].astype("i8")
            start = at + 1
            long = np.flatnonzero(lengths == _LONG)
            if len(long):
                lengths[long] = self._gather(start[long], ">u2")
                start[long] += 2
            self._variable.append((start, lengths))
            self._begins.append(start + lengths)

    def _gather(self, starts: Array, dtype: str) -> Array:
        """Values of any width at any offsets: a view of one at each octet, of which some are taken."""
        places = len(self._octets) - np.dtype(dtype).itemsize + 1
        if places < 1:  # no record is that long: there are none
            return np.empty(0, dtype)
        view: Array = np.ndarray((places,), dtype, self._octets, 0, (1,))
        values: Array = view[starts]
        return values


def measure(stretches: Stretches, memory: Array, start: Array, stop: Array, most: int) -> tuple[Array, Array, Array]:
    """As ``Stretches.ends`` for many sets, in lock-step: one record of each a step, ``most`` steps at most.

    ``start`` and ``stop``: where each set's body lies in ``memory`` (uint8).  Returns how many whole records each set
    has (0 also where ``most`` steps do not reach the end), where the last of them ends, and where each record begins,
    set after set.
    """
    variable, tail, least = stretches.skips[:-1], stretches.skips[-1], stretches.least
    counts = np.zeros(len(start), "i8")
    behind = start.copy()
    found: list[tuple[Array, Array]] = []
    of = np.flatnonzero(start + least <= stop)
    at, end = start[of], stop[of]
    last = len(memory) - 1
    while len(of) and len(found) < most:
        begin = at
        for skip in variable:
            # Beyond the set's end anything may be read: the record is not whole then, whatever it says.
            size = memory[np.minimum(at + skip, last)].astype("i8")
            long = np.flatnonzero(size == _LONG)
            if len(long):
                there = np.minimum(at[long] + skip, last - 2)
                size[long] = (memory[there + 1].astype("i8") << 8 | memory[there + 2]) + 2
            at = at + size + (skip + 1)
        at += tail
        whole = at <= end
        if not whole.all():
            of, at, end, begin = of[whole], at[whole], end[whole], begin[whole]
        found.append((of, begin))
        counts[of] += 1
        behind[of] = at
        more = at + least <= end
        if not more.all():
            of, at, end = of[more], at[more], end[more]
    if len(of):  # not at their end
        counts[of] = 0
        found = [(sets[counts[sets] > 0], begin[counts[sets] > 0]) for sets, begin in found]
    first = np.cumsum(counts) - counts
    begins = np.empty(int(counts.sum()), "i8")
    for step, (sets, begin) in enumerate(found):
        begins[first[sets] + step] = begin
    return counts, behind, begins
