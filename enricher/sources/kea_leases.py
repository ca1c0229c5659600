"""Lines of a Kea lease file folded into leases with their history.

The file is a log.  A line of the address's holder prolongs its lease, one of another client ends it and begins a new
one, a lifetime of 0 or a state that holds nothing ends it.  Kea does not write when a lease was given back: it repeats
the last renewal's time.  So the end is the latest time that any line before says, which a busy server keeps within a
moment of the clock, and never after the expiry.

A line costs some microseconds of Python; a million leases take about 200 MB.
"""

from array import array
from dataclasses import dataclass, field

import numpy as np

from enricher.leases import HELD, LeaseRows
from enricher.sources.kea_lines import KeaLine

_LEAST_COMPACTED = 4_096  # rows; below it nothing is worth dropping
_LOW = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Labels:
    """What Kea does not say of its subscribers: indices into SERVICES, SEGMENTS and ACCESSES, and the group."""

    service: int
    segment: int
    access: int
    group: str


@dataclass(slots=True)
class KeaLeases:
    """Who held what, bounded: ``most`` addresses held at a time, and ended leases for ``history_ms``.

    Rows are leases; ``current`` is the row of an address whose holder is known.
    """

    most: int
    history_ms: int
    nameless: int = 0  # lines that hold an address and name nobody
    full: int = 0  # lines of an address beyond ``most``
    newest_ms: int = 0  # time of the log: the latest renewal
    current: dict[int, int] = field(default_factory=dict)
    _high: "array[int]" = field(default_factory=lambda: array("Q"))
    _low: "array[int]" = field(default_factory=lambda: array("Q"))
    _bits: "array[int]" = field(default_factory=lambda: array("B"))
    _since: "array[int]" = field(default_factory=lambda: array("q"))
    _until: "array[int]" = field(default_factory=lambda: array("q"))
    _who: "array[int]" = field(default_factory=lambda: array("L"))
    _names: dict[str, int] = field(default_factory=dict)
    _kept: int = 0  # rows after the last compaction

    def __len__(self) -> int:
        return len(self._since)

    def add(self, line: KeaLine) -> None:
        """Take the next line of the log."""
        renewed = line.renewed * 1000
        self.newest_ms = max(self.newest_ms, renewed)
        key = line.address << 8 | line.bits
        row = self.current.get(key)
        if not line.holds:
            if row is not None:
                del self.current[key]
                end = renewed if line.declined else max(self.newest_ms, line.expire * 1000)
                self._until[row] = min(self._until[row], end)
            return
        until = HELD if line.infinite else line.expire * 1000
        if not line.subscriber:
            self.nameless += 1
            if row is not None and renewed >= self._since[row]:  # somebody else has it, whoever that is
                del self.current[key]
                self._until[row] = min(self._until[row], renewed)
            return
        who = self._names.setdefault(line.subscriber, len(self._names))
        if row is None:
            if len(self.current) >= self.most:
                self.full += 1
                return
            self._append(key, renewed, until, who, is_current=True)
        elif self._who[row] == who and self._since[row] <= renewed <= self._until[row]:
            self._until[row] = until
        elif renewed >= self._since[row]:
            self._until[row] = min(self._until[row], renewed)
            self._append(key, renewed, until, who, is_current=True)
        elif self._who[row] == who and until >= self._since[row]:  # late, of the same lease
            self._since[row] = renewed
        else:
            self._append(key, renewed, min(until, self._since[row]), who, is_current=False)

    def remember(self, rows: LeaseRows) -> None:
        """Leases known from before the log begins, as a restart finds them: what the log says of an address counts.

        Kea's clean-up leaves of each address the last renewal only.
        """
        first: dict[int, int] = {}
        for row in range(len(self)):
            key = (self._high[row] << 64 | self._low[row]) << 8 | self._bits[row]
            if key not in first or self._since[row] < self._since[first[key]]:
                first[key] = row
        columns = (rows.high, rows.low, rows.bits, rows.since, rows.until, rows.subscriber)
        older: dict[int, tuple[int, int, int]] = {}  # of addresses without a line: the newest lease
        for high, low, bits, since, until, subscriber in zip(*(column.tolist() for column in columns), strict=True):
            key = (high << 64 | low) << 8 | bits
            who = self._names.setdefault(rows.subscribers[subscriber], len(self._names))
            known = first.get(key)
            if known is None:
                if key not in older or older[key][0] <= since:
                    older[key] = (since, until, len(self))
                self._append(key, since, until, who, is_current=False)
            elif since < self._since[known]:
                if who == self._who[known] and until >= self._since[known]:
                    self._since[known] = since
                else:
                    self._append(key, since, min(until, self._since[known]), who, is_current=False)
        for key, (_, _, row) in older.items():
            self.current[key] = row

    def rows(self, labels: Labels) -> LeaseRows:
        """All leases that lasted at all, in the order of the log."""
        self._compact()
        since, until = np.array(self._since, "i8"), np.array(self._until, "i8")
        lasted = np.flatnonzero(since < until)
        service, segment, access, group = (
            np.full(len(lasted), code, "u4") for code in (labels.service, labels.segment, labels.access, 0)
        )
        return LeaseRows(
            np.array(self._high, "u8")[lasted], np.array(self._low, "u8")[lasted], np.array(self._bits, "u1")[lasted],
            since[lasted], until[lasted], np.array(self._who, "u4")[lasted], service, segment, access, group,
            tuple(self._names), (labels.group,),
        )  # fmt: skip

    def _append(self, key: int, since: int, until: int, who: int, *, is_current: bool) -> None:
        if is_current:
            self.current[key] = len(self._since)
        address = key >> 8
        self._high.append(address >> 64)
        self._low.append(address & _LOW)
        self._bits.append(key & 0xFF)
        self._since.append(since)
        self._until.append(until)
        self._who.append(who)

    def _compact(self) -> None:
        """Drop leases that ended before the horizon, and names that nobody has, once half as many have come."""
        if len(self) < max(_LEAST_COMPACTED, self._kept + self._kept // 2):
            return
        horizon = self.newest_ms - self.history_ms
        until, since = np.array(self._until, "i8"), np.array(self._since, "i8")
        keep = (until > horizon) & (since < until)
        moved = np.cumsum(keep) - 1
        names = list(self._names)
        who = np.array(self._who, "u4")[keep]
        used, renumbered = np.unique(who, return_inverse=True)
        self._names = {names[old]: new for new, old in enumerate(used.tolist())}
        self.current = {key: int(moved[row]) for key, row in self.current.items() if keep[row]}
        for name in ("_high", "_low", "_bits", "_since", "_until"):
            column: array[int] = getattr(self, name)
            kept = np.array(column, column.typecode)[keep]
            setattr(self, name, array(column.typecode, kept.tobytes()))
        self._who = array("L", renumbered.astype(np.dtype(f"u{self._who.itemsize}")).tobytes())
        self._kept = len(self)
