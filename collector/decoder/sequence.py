"""Sequence numbers of one stream: what was missed, late, repeated or begun anew.

A message takes up ``units`` numbers from its own on: flows (NetFlow v5), messages (v9, RFC 3954 section 5.1, and sFlow)
or data records (IPFIX, RFC 7011 section 3.1: those sent before this message, options included, templates not), modulo
2^32.  Between messages lie *gaps*; what falls into one within the window came late and was not missed, and what is
still open behind the window was.  So nothing that was counted is ever taken back.

A number that fits nowhere is believed when the next message goes on from it (RFC 3550, appendix A.1, judges RTP so),
or when the device's uptime began anew: then the stream was reset, and nothing is counted as missed for it.

Some exporters (softflowd's IPFIX) number a message by the records sent with it included.  Some messages in a row
that fit only that reading make it the stream's own.
"""

from collections import deque
from dataclasses import dataclass
from struct import Struct

WINDOW = 32
"""Messages by which one may be late: more than the paths of a network differ in."""
MESSAGE = Struct("=5q")
"""What a message says of its place: number, units, export time in s, uptime in ms, received in Unix ms."""
LATE_MS = 10_000
"""And the time: a gap of a quiet exporter is not kept open for its next 32 messages."""
UNKNOWN = -1
"""Units of a message of which not all was read, as a set that waits for its template."""
_RANGE = 2**32
_HALF = 2**31
RECORDS_A_SECOND = 1_000_000
MESSAGES_A_SECOND = 50_000
"""Of one exporter: a jump beyond is no loss but another beginning."""
_LATE_EXPORT_S = 60  # what was exported up to so long before the newest message is late, not another beginning
_HABIT = 4  # messages in a row that show how a stream counts
_REBOOT_MS = 60_000  # by which the time of a device's start moves when it did start, and not when its clock is set


@dataclass(slots=True)
class Gap:
    """Numbers from ``first`` on that no message has taken up yet."""

    first: int
    length: int
    messages: int  # seen when it was opened
    opened_ms: int


class Sequence:
    """One stream; counters grow until they are taken."""

    __slots__ = (
        "_a_second", "_ends", "_has_uptime", "_lately", "_lately_octets", "_messages", "_recent", "_suspect",
        "duplicate", "gaps", "missed", "next", "out_of_order", "reset",
    )  # fmt: skip

    def __init__(self, has_uptime: bool, a_second: int) -> None:
        """``has_uptime``: its messages say how long the device runs (not IPFIX); ``a_second``: units at the most."""
        self._has_uptime, self._a_second = has_uptime, a_second
        self._recent: deque[tuple[int, int, int, int, int]] = deque(maxlen=WINDOW)
        """The newest messages: number, units, export time in s, uptime in ms, received in Unix ms."""
        self._lately: deque[bytes] = deque()  # such that came since by ``goes_on``, hardly more than WINDOW
        self._lately_octets = 0
        self._messages = 0
        self._suspect = UNKNOWN  # where a number that fitted nowhere would go on
        self._ends = 0  # messages in a row whose number counts their own records; _HABIT: this stream's way
        self.next = UNKNOWN
        """The number that is due; UNKNOWN at the begin and behind a message of unknown units."""
        self.gaps: list[Gap] = []
        self.missed = self.out_of_order = self.duplicate = self.reset = 0

    def goes_on(self, first: int, due: int, count: int, newest: bytes, received_ms: int) -> bool:
        """Account for ``count`` messages that came together, each beginning where the one before it ended.

        ``first`` is the number of the first, ``due`` what follows the last; ``newest``: WINDOW of them or all, as
        MESSAGE has them.  False: nothing was done, ask ``follow``.
        """
        if first != self.next or self._suspect >= 0 or self._ends:
            return False
        self._messages += count
        self.next = due
        self._lately.append(newest)
        self._lately_octets += len(newest)
        while self._lately_octets - len(self._lately[0]) >= WINDOW * MESSAGE.size:
            self._lately_octets -= len(self._lately.popleft())
        if self.gaps:
            self.settle(received_ms)
        return True

    def _recall(self) -> None:
        for messages in self._lately:
            self._recent.extend(MESSAGE.iter_unpack(messages))
        self._lately.clear()
        self._lately_octets = 0

    def follow(self, number: int, units: int, export_s: int, uptime_ms: int, received_ms: int) -> None:
        """Account for a message."""
        if self._lately:
            self._recall()
        if self._ends == _HABIT and units > 0:
            number = (number - units) % _RANGE
        if number == self.next:
            self._recent.append((number, units, export_s, uptime_ms, received_ms))
            self._messages += 1
            self.next = (number + units) % _RANGE if units >= 0 else UNKNOWN
            if 0 < self._ends < _HABIT and self._recent[-1][1] != self._recent[-2][1]:
                self._ends = 0  # it fits the common reading and not the other
            if self._suspect >= 0:
                self._suspect = UNKNOWN
                self.out_of_order += 1  # the one that fitted nowhere was very late
            if self.gaps:
                self.settle(received_ms)
            return
        message = number, units, export_s, uptime_ms, received_ms
        self._messages += 1
        if not self._recent:
            self._take(message)
            return
        newest = self._recent[-1]
        if number == 0 and all(each[0] == 0 for each in self._recent):
            return  # messages that are not numbered
        if self._ends < _HABIT and units > 0 and (number - units) % _RANGE == newest[0]:
            self._ends += 1
            if self._ends == _HABIT:
                self.gaps.clear()  # as they came of the other reading
                self._suspect = UNKNOWN
                self._recent.clear()
                self._take(((number - units) % _RANGE, *message[1:]))
                return
        ahead = _signed(number - (self.next if self.next >= 0 else newest[0]))
        if 0 < self._ends < _HABIT and ahead < 0 and (number - units) % _RANGE == newest[0]:
            self._take(message)  # inside the newest message's numbers: no stream that counts the common way goes there
            return
        if self._restarted(message):
            self._begin_anew(message)
        elif ahead > 0 or (self.next < 0 and ahead == 0 and message[:4] != newest[:4]):
            if ahead > self._a_second * (max(0, received_ms - newest[4]) / 1000 + 1):
                self._doubt(message)
            else:
                if self.next >= 0:
                    self.gaps.append(Gap(self.next, ahead, self._messages, received_ms))
                self._take(message)
        else:
            self._behind(message)
        self.settle(received_ms)

    def settle(self, now_ms: int) -> None:
        """Count as missed what was waited for long enough."""
        for gap in [gap for gap in self.gaps if self._is_over(gap, now_ms)]:
            self.missed += gap.length
            self.gaps.remove(gap)

    def close(self) -> None:
        """Count as missed whatever is open: the stream ends."""
        self.missed += sum(gap.length for gap in self.gaps)
        self.gaps = []

    def take(self) -> list[tuple[str, int]]:
        """Counters since the last call that are not 0."""
        found = [(f"sequence_{name}", value) for name in COUNTED if (value := getattr(self, name))]
        for name in COUNTED:
            setattr(self, name, 0)
        return found

    def saved(self) -> tuple[int, int, list[tuple[int, int, int, int, int]]]:
        """What ``restore`` needs: the number that is due, how the stream counts, and the newest messages."""
        self._recall()
        return self.next, self._ends, list(self._recent)

    def restore(self, due: int, ends: int, recent: list[tuple[int, int, int, int, int]]) -> None:
        """Go on where another stopped; gaps that were open are the other's to count."""
        self.next, self._ends = (due if recent else UNKNOWN), min(ends, _HABIT)
        self._recent.extend(recent)

    def _is_over(self, gap: Gap, now_ms: int) -> bool:
        return self._messages - gap.messages >= WINDOW or now_ms - gap.opened_ms > LATE_MS

    def _take(self, message: tuple[int, int, int, int, int]) -> None:
        number, units = message[:2]
        self._recent.append(message)
        self.next = (number + units) % _RANGE if units >= 0 else UNKNOWN
        self._suspect = UNKNOWN

    def _behind(self, message: tuple[int, int, int, int, int]) -> None:
        """A number before the one that is due: late, repeated or another beginning."""
        number, units = message[:2]
        newest = self._recent[-1]
        if self._ends == _HABIT and units > 0 and _signed(number + units - newest[0] - newest[1]) > 0:
            # Such exporters do not number options records, which then seem to lie before the number that is due.
            self._take(message)
        elif self._fill(number, units):
            self.out_of_order += 1
            self._remember(message)
        elif any(message[:4] == each[:4] for each in self._recent):
            self.duplicate += 1
        elif 0 < newest[2] - message[2] <= _LATE_EXPORT_S or (units == 0 and self._reaches(number)):
            # Sent before the newest, or templates only, which take up no number that could be open.
            self.out_of_order += 1
            self._remember(message)
        else:
            self._doubt(message)

    def _remember(self, message: tuple[int, int, int, int, int]) -> None:
        """Keep a late message, so that its repeats are known, before the newest one."""
        newest = self._recent.pop()
        self._recent.append(message)
        self._recent.append(newest)

    def _fill(self, number: int, units: int) -> int:
        """Take a late message's numbers out of the gaps; how many they were.  Of unknown units: one, at least."""
        filled = 0
        for gap in list(self.gaps):
            start = (number - gap.first) % _RANGE
            if start >= gap.length or units == 0:
                continue
            took = min(max(units, 1), gap.length - start)
            self.gaps.remove(gap)
            if start:
                self.gaps.append(Gap(gap.first, start, gap.messages, gap.opened_ms))
            if start + took < gap.length:
                rest = (number + took) % _RANGE
                self.gaps.append(Gap(rest, gap.length - start - took, gap.messages, gap.opened_ms))
            filled += took
        return filled

    def _reaches(self, number: int) -> bool:
        return _signed(number - self._recent[0][0]) >= 0 or any(
            (number - gap.first) % _RANGE < gap.length for gap in self.gaps
        )

    def _doubt(self, message: tuple[int, int, int, int, int]) -> None:
        number, units = message[:2]
        if number == self._suspect:
            self._begin_anew(message)
        else:
            self._suspect = (number + max(units, 0)) % _RANGE

    def _begin_anew(self, message: tuple[int, int, int, int, int]) -> None:
        self.close()
        self.reset += 1
        self._recent.clear()
        self._take(message)

    def _restarted(self, message: tuple[int, int, int, int, int]) -> bool:
        """Whether the device started after the newest message; its uptime also begins anew every 2^32 ms."""
        if not self._has_uptime:
            return False
        began, before = ((each[2] * 1000 - each[3]) % _RANGE for each in (message, self._recent[-1]))
        return _signed(began - before) > _REBOOT_MS


COUNTED = ("missed", "out_of_order", "duplicate", "reset")


def _signed(difference: int) -> int:
    """A difference modulo 2^32, between -2^31 and 2^31."""
    return (difference + _HALF) % _RANGE - _HALF
