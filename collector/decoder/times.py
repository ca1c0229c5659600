"""When a flow began and ended: Unix milliseconds from whatever the record has, believed within bounds.

Three clocks, never mixed: the flow's, the exporter's (export time of the message) and ours (received).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.filling import Columns, flag
from collector.decoder.layouts import Moment, Reading
from collector.decoder.messages import Messages, Runs
from collector.settings import TimeSettings
from sinks.schema import Flag

Array = NDArray[Any]

_NTP_UNIX = 2_208_988_800  # seconds from 1900, where NTP time begins, to 1970
_END_OF_TIME = 2**32 * 1000  # ms; beyond what 32-bit seconds can say: no clock, but octets of something else
_UPTIME = (21, 22)
_MILLISECONDS = (152, 153, 323)
_SECONDS = (150, 151, 322)
_BEFORE_EXPORT = (158, 159)


def flow_times(rows: Any, version: int, reading: Reading, runs: Runs, messages: Messages, columns: Columns) -> None:
    """Fill ``ts_start`` and ``ts``; add to ``flags``."""
    bounds = messages.bounds
    start, end = columns["ts_start"].view("i8"), columns["ts"].view("i8")
    export: Array = runs.spread(messages.export)
    clock = _Clock(rows, version, reading, runs, messages, export)
    begins, start_missing = clock.read(reading.start, start)
    ends, end_missing = clock.read(reading.end, end)
    if not begins and not ends:
        start[:] = end[:] = export
        flag(columns, None, Flag.NO_FLOW_TIME.value)
    elif not begins:
        start[:], start_missing = end, end_missing
    elif not ends:
        end[:], end_missing = start, start_missing
    _fall_back(start, end, start_missing, end_missing, export, columns)
    _bound(start, end, export, runs, messages, bounds, columns)


def _fall_back(
    start: Array, end: Array, start_missing: Array | None, end_missing: Array | None, export: Array, columns: Columns
) -> None:
    """One missing: the other; both: export time, flagged."""
    if start_missing is None and end_missing is None:
        return
    no_start = np.zeros(len(start), bool) if start_missing is None else start_missing
    no_end = np.zeros(len(end), bool) if end_missing is None else end_missing
    neither = no_start & no_end
    np.copyto(start, end, where=no_start & ~no_end)
    np.copyto(end, start, where=no_end & ~no_start)
    np.copyto(start, export, where=neither)
    np.copyto(end, export, where=neither)
    flag(columns, neither, Flag.NO_FLOW_TIME.value)


def _bound(
    start: Array, end: Array, export: Array, runs: Runs, messages: Messages, bounds: TimeSettings, columns: Columns
) -> None:
    outside = None
    first, last = end.min(initial=_END_OF_TIME), end.max(initial=0)
    if first <= 0 or last >= _END_OF_TIME:
        outside = (end <= 0) | (end >= _END_OF_TIME)
    trusted = messages.trusted[runs.messages]
    if not trusted.all():
        limit = bounds.max_age_seconds * 1000
        # Within the bounds of the nearest and of the farthest export time all are within their own.
        if first < export.max(initial=0) - limit or last > export.min(initial=_END_OF_TIME) + limit:
            age = export - end
            outside = _either(outside, (np.abs(age) > limit) & ~np.repeat(trusted, runs.counts))
        skew = np.abs(messages.export - messages.received)[runs.messages]
        skewed = (skew > bounds.max_skew_seconds * 1000) & ~trusted
        if skewed.any():
            outside = _either(outside, np.repeat(skewed, runs.counts))
    if outside is not None and outside.any():
        received = runs.spread(messages.received)
        np.copyto(start, received, where=outside)
        np.copyto(end, received, where=outside)
        flag(columns, outside, Flag.TIME_OUT_OF_BOUNDS.value)
    duration = end - start
    shortest, longest = duration.min(initial=0), duration.max(initial=0)
    if shortest < 0 or (start.min(initial=1) <= 0):
        np.copyto(start, end, where=(duration < 0) | (start <= 0))
    limit = bounds.max_duration_seconds * 1000
    if longest > limit and not trusted.all():
        long = (end - start > limit) & ~np.repeat(trusted, runs.counts)
        np.copyto(start, end - limit, where=long)
        flag(columns, long, Flag.LONG_DURATION.value)


def _any(rows: Array) -> Array | None:
    return rows if rows.any() else None


def _either(one: Array | None, other: Array) -> Array:
    return other if one is None else one | other


class _Clock:
    """Reads the time fields of a segment's records."""

    def __init__(
        self, rows: Any, version: int, reading: Reading, runs: Runs, messages: Messages, export: Array
    ) -> None:
        self._rows, self._version, self._reading = rows, version, reading
        self._runs, self._messages, self._export = runs, messages, export

    def read(self, moment: Moment | None, into: Array) -> tuple[bool, Array | None]:
        """Unix ms of each record, and where it is missing (None: nowhere); False: there is no such field."""
        if moment is None:
            return False, None
        element = moment.element
        if element in _UPTIME:
            return self._uptime(moment, into)
        field = self._rows.unsigned(moment.place)
        if element in _BEFORE_EXPORT:
            np.subtract(self._export, (field // 1000).astype("i8"), out=into)
            return True, None
        if element in _MILLISECONDS:
            # Larger than any time: kept above the bound, which a cast to signed would not.
            np.minimum(field, np.uint64(_END_OF_TIME), out=into.view("u8"))
        elif element in _SECONDS:
            np.multiply(field, 1000, out=into, dtype="i8", casting="unsafe")
        else:
            into[:] = ntp_milliseconds(field)
            return True, _any(field == 0)
        # No flow ran in 1970 or 1900: exporters send 0 for a time they do not know.
        return True, _any(into == 0)

    def _uptime(self, moment: Moment, into: Array) -> tuple[bool, Array | None]:
        """Uptime counts 2^32 ms and begins again, so of all readings the one nearest to the export time is taken."""
        uptime = self._rows.unsigned(moment.place).astype("u4")
        if self._version != 10:
            # RFC 3954 section 5.1, as in version 5: the header says the uptime at the export time.
            uptime -= self._runs.spread(self._messages.uptime)
            np.add(self._export, uptime.view("i4"), out=into)
            return True, None
        init, missing = self._init()
        if init is None:
            return False, None
        behind = (uptime.astype("i8") + init - self._export).astype("u4").view("i4")
        np.add(self._export, behind, out=into)
        return True, missing

    def _init(self) -> tuple[Array | None, Array | None]:
        """RFC 5102 section 5.9: what the uptime of IPFIX counts from, by record or by options data."""
        if self._reading.init is not None:
            field = self._rows.unsigned(self._reading.init)
            return field.astype("i8"), field == 0
        known = self._messages.init_ms
        mine = known[self._runs.messages]
        if mine.max(initial=0) == 0:
            return None, None
        spread = self._runs.spread(known)
        return spread, None if mine.min() > 0 else spread == 0


def ntp_milliseconds(field: Array) -> Array:
    """RFC 7011 section 6.1.9: seconds since 1900 and a fraction of 2^-32 s -> Unix ms; right until 2106."""
    wide = field.astype("u8")
    seconds = (wide >> np.uint64(32)) - np.uint64(_NTP_UNIX) & np.uint64(0xFFFFFFFF)
    fraction = (wide & np.uint64(0xFFFFFFFF)) * np.uint64(1000) >> np.uint64(32)
    return (seconds * np.uint64(1000) + fraction).astype("i8")
