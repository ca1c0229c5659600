"""Sampling intervals: learnt from options data, found for each record, with their source.

Precedence: override by setting, the record's own element, the sampler it names, its interface, the domain, the whole
exporter, default by setting, assumed 1.  A sampler that is named and not known: unknown, never silently 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.domains import Domain, Facts
from collector.decoder.elements import (
    ALGORITHM,
    INTERFACES,
    INTERVALS,
    PACKET_INTERVAL,
    PACKET_SPACE,
    POPULATION,
    SAMPLERS,
    SCOPE_INTERFACE,
    SCOPE_PEN,
    SIZE,
    SYSTEM_INIT,
)
from collector.decoder.filling import Columns, flag, spread, writable
from collector.decoder.layouts import Reading
from collector.decoder.messages import Messages, Runs
from collector.decoder.options import TIME_INTERVAL, TIME_SPACE, Option
from sinks.schema import Flag, SamplingSource

Array = NDArray[Any]
Said = Mapping[tuple[int, int], int]
"""An options record: values by (element, PEN)."""

_LARGEST = 2**32 - 1  # of the column
_SYSTEMATIC_COUNT = 1  # selectorAlgorithm
_SYSTEMATIC_TIME = 2


def interval_of(said: Said, probability: float | None = None) -> int | None:
    """N of 1-in-N as an options record says it; None: it says nothing (or 0, which nothing can mean).

    Cisco's random sampler says packet interval 1, size 1 and population N, so size and population win unless the
    algorithm is systematic count.  A packet interval without a space is N itself: by RFC 5477 section 8.2 it would
    mean that all packets are sampled, which no exporter needs to say so.
    """
    ratios = [_population(said), _packets(said)]
    if said.get((ALGORITHM, 0)) == _SYSTEMATIC_COUNT:
        ratios.reverse()
    plain = [said.get((element, 0)) for element in INTERVALS]
    # A share of time or a chance says so only of itself, and only when nothing says it of packets.
    others = [_times(said), _chance(probability)]
    found = next((interval for interval in (*ratios, *plain, *others) if interval), None)
    return None if found is None else min(found, _LARGEST)


def _population(said: Said) -> int | None:
    size, population = said.get((SIZE, 0)), said.get((POPULATION, 0))
    return max(1, round(population / size)) if size and population else None


def _packets(said: Said) -> int | None:
    packets, space = said.get((PACKET_INTERVAL, 0)), said.get((PACKET_SPACE, 0))
    if not packets:
        return None
    return packets if space is None else max(1, round((packets + space) / packets))


def _times(said: Said) -> int | None:
    """RFC 5477 section 8.2: packets are selected for so many microseconds, then for so many not."""
    time, space = said.get((TIME_INTERVAL, 0)), said.get((TIME_SPACE, 0))
    if said.get((ALGORITHM, 0), _SYSTEMATIC_TIME) != _SYSTEMATIC_TIME or not time or not space:
        return None
    return max(1, round((time + space) / time))


def _chance(probability: float | None) -> int | None:
    """RFC 5477 section 8.2: uniform probabilistic sampling; a chance of 0 or beyond 1 is none."""
    if probability is None or not 1 / _LARGEST <= probability <= 1:  # false of NaN too
        return None
    return round(1 / probability)


def learn(domain: Domain, option: Option, most: int) -> bool:
    """Take what an options record says of its domain into the domain's facts; whether something known has changed."""
    said, facts, changed = option.numbers, domain.facts, False
    init = said.get((SYSTEM_INIT, 0))
    if init and init < 2**63 and init != facts.init_ms:
        if facts.init_ms is not None:
            facts = domain.facts = facts.copy()
            domain.source = -1
        facts.init_ms = init
    interval = interval_of(said, option.probability)
    if interval is None:
        return False
    table, key = _scope(facts, said)
    known = facts.interval if table is None else table.get(key)
    if known == interval:
        return False
    if known is not None:
        facts = domain.facts = facts.copy()
        domain.source = -1
        table, changed = _scope(facts, said)[0], True
    if table is None:
        facts.interval = interval
    elif key in table or len(table) < most:
        table[key] = interval
    return changed


def _scope(facts: Facts, said: Said) -> tuple[dict[int, int] | None, int]:
    for element in SAMPLERS:
        if (sampler := said.get((element, 0))) is not None:
            return facts.samplers, sampler
    scopes = ((SCOPE_INTERFACE, SCOPE_PEN), *((element, 0) for element in INTERFACES))
    for scope in scopes:
        # Interface 0 is none in particular: softflowd names it in the scope of what holds for all.
        if interface := said.get(scope):
            return facts.interfaces, interface
    return None, 0


def intervals(rows: Any, reading: Reading, runs: Runs, messages: Messages, columns: Columns) -> None:
    """Fill ``sampling`` and ``sampling_source``; add to ``flags``."""
    spread(columns, "sampling", runs, messages.interval)
    spread(columns, "sampling_source", runs, messages.interval_source)
    own = _own(rows, reading)
    if reading.sampler is None and not own and not messages.tells_interfaces:
        return
    mine = messages.source[runs.messages]
    used = {int(index): messages.sources[int(index)] for index in np.unique(mine)}
    interfaces = _Table({index: [facts.interfaces for facts in each.all_facts] for index, each in used.items()})
    row_source = np.repeat(mine.astype("u8"), runs.counts)
    for column in ("out_if", "in_if"):  # the ingress interface last: it wins
        known, values = interfaces.at(row_source, columns[column])
        _set(columns, known, values, SamplingSource.INTERFACE)
    if reading.sampler is not None:
        named = rows.unsigned(reading.sampler)
        samplers = _Table({index: [facts.samplers for facts in each.all_facts] for index, each in used.items()})
        known, values = samplers.at(row_source, named)
        # Sampler 0 is no sampler: Cisco sends it for flows that no sampler saw.
        unknown = (named > 0) & ~known
        # Its id stands in for the interval until the row is given out: it may wait for it (held_rows).
        _set(columns, unknown, np.minimum(named[unknown], np.uint64(_LARGEST)), SamplingSource.UNKNOWN)
        _set(columns, known, values, SamplingSource.SAMPLER)
    for said in reversed(own):
        told = said > 0
        _set(columns, told, said[told], SamplingSource.RECORD)
    overridden = runs.spread(messages.interval_source) == SamplingSource.OVERRIDE
    if overridden.any():
        np.copyto(writable(columns, "sampling"), runs.spread(messages.interval), where=overridden)
        np.copyto(writable(columns, "sampling_source"), np.uint8(SamplingSource.OVERRIDE), where=overridden)
    unknown = columns["sampling_source"] == SamplingSource.UNKNOWN
    if unknown.any():
        flag(columns, unknown, Flag.SAMPLING_UNKNOWN.value)


class _Table:
    """Intervals by (source, id) of a whole segment in one sorted array, so that many exporters cost one search."""

    _BITS = np.uint64(48)  # of the id; selector ids are 64 bits wide on paper and small in fact

    def __init__(self, said: dict[int, list[dict[int, int]]]) -> None:
        table: dict[int, int] = {}
        for source, levels in said.items():
            for level in reversed(levels):  # what the domain says comes after, and over, what the exporter says
                for key, interval in level.items():
                    table[source << 48 | key & 2**48 - 1] = interval
        self.entries = len(table)
        self._keys = np.array(sorted(table), "u8")
        self._values = np.array([table[int(key)] for key in self._keys], "u4")

    def at(self, source: Array, named: Array) -> tuple[Array, Array]:
        """Rows whose id is in the table, and the intervals of those."""
        if not self.entries:
            return np.zeros(len(source), bool), self._values
        keys = source << self._BITS | named.astype("u8") & np.uint64(2**48 - 1)
        found = np.minimum(np.searchsorted(self._keys, keys), self.entries - 1)
        known = self._keys[found] == keys
        return known, self._values[found[known]]


def _own(rows: Any, reading: Reading) -> list[Array]:
    """Intervals that the record states itself, best first; 0 where it does not."""
    found = []
    if reading.population is not None:
        size, population = (rows.unsigned(place).astype("f8") for place in reading.population)
        found.append(_ratio(population, size))
    if reading.spacing is not None:
        packets = rows.unsigned(reading.spacing[0]).astype("f8")
        space = reading.spacing[1]
        if space is None:
            found.append(_ratio(packets, np.ones_like(packets)))
        else:
            found.append(_ratio(packets + rows.unsigned(space).astype("f8"), packets))
    found += [
        np.minimum(rows.unsigned(place).astype("u8"), np.uint64(_LARGEST)).astype("u4") for place in reading.intervals
    ]
    return found


def _ratio(all_packets: Array, sampled: Array) -> Array:
    ratio = np.divide(all_packets, sampled, out=np.zeros_like(sampled), where=sampled > 0)
    return np.clip(np.rint(ratio), 0, _LARGEST).astype("u4")


def _set(columns: Columns, where: Array, interval: Any, source: SamplingSource) -> None:
    if where.any():
        writable(columns, "sampling")[where] = interval
        writable(columns, "sampling_source")[where] = source
