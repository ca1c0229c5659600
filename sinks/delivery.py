"""Exactly once by immutable messages and log order: the algorithm that spool and Kafka share.

A collector numbers its messages (``RawHeaders.sequence``), so repeats after a restart are known.  An enriched message
says which source offsets [start, end) it covers, so of two overlapping messages the earlier in the log counts, for
every reader and at every repeat.  Nothing here does I/O.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sinks import Headers
from sinks.schema import SCHEMA_VERSION

Kind = Literal["flow", "observation"]
Dropped = tuple[tuple[int, str, int], ...]
"""(minute of arrival as Unix seconds, exporter, rows) each."""
Excepted = tuple[tuple[int, int, str, int], ...]
"""(source offset, minute of arrival as Unix seconds, exporter, rows) each: rows that are not in the message."""

ORIGINS = 256
"""Origins a partition remembers: a collector is one, and one more each time it loses its spool; 10 KB of headers."""
_HINT_BYTES = 3_000  # Kafka's offset.metadata.max.bytes is 4,096 by default
_ID_CHARACTERS = 12  # of a stream's id: 48 bits tell the few makings of one stream apart
_HISTORY = "history"
_PAST_SOURCES = 8  # makings of flows.raw of which a late message is known as such


class HeaderError(Exception):
    """A message's headers are not ours, or of a version this reader does not know."""


class NewerVersionError(HeaderError):
    """Written by a newer Flowtide: not poison, this reader must be upgraded first."""


class GapError(Exception):
    """Source offsets [start, end) are missing from the enriched log and nothing explains it."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"source offsets [{start}, {end}) are missing and no header says why")
        self.start, self.end = start, end


@dataclass(frozen=True, slots=True)
class RawHeaders:
    """Headers of a message in ``flows.raw``."""

    collector: str
    sequence: int  # grows by 1 a message and partition, over restarts
    rows: int
    min_ms: int = 0  # earliest and latest flow end, Unix ms
    max_ms: int = 0
    kind: Kind = "flow"
    table: str = ""  # of an observation
    dropped: Dropped = ()  # decoded for this partition and dropped since its last message that was accepted
    history: bool = False  # rows of a past that did not pass just now: no measure of lag, freshness or coverage

    def encode(self) -> Headers:
        """As text, for the bus."""
        return {
            "version": str(SCHEMA_VERSION), "kind": self.kind, "table": self.table, "rows": str(self.rows),
            "min": str(self.min_ms), "max": str(self.max_ms),
            "collector": self.collector, "sequence": str(self.sequence),
            **({"dropped": json.dumps(self.dropped)} if self.dropped else {}),
            **_mark(self.history),
        }  # fmt: skip

    @staticmethod
    def decode(headers: Headers) -> "RawHeaders":
        """HeaderError when they are not such headers."""
        try:
            return RawHeaders(
                headers["collector"], int(headers["sequence"]), int(headers["rows"]),
                int(headers["min"]), int(headers["max"]), _kind(headers), headers["table"],
                _dropped(headers.get("dropped", "[]")), _HISTORY in headers,
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise HeaderError(f"not headers of a raw message: {error}") from error


@dataclass(frozen=True, slots=True)
class EnrichedHeaders:
    """Headers of a message in ``flows.enriched``."""

    rows: int
    start: int  # source offsets [start, end)
    end: int
    index: tuple[tuple[int, int], ...]  # (source offset, rows up to and with it), one a source message that gave rows
    highest: Mapping[str, int]  # highest sequence per collector after this message
    lost: tuple[tuple[int, int], ...] = ()  # source offsets the enricher found gone
    min_ms: int = 0
    max_ms: int = 0
    kind: Kind = "flow"
    table: str = ""
    dropped: Excepted = ()  # what the raw messages say that their collector dropped
    poison: Excepted = ()  # rows of raw messages that could not be read; the exporter is ''
    source: str = ""  # which making of flows.raw the offsets are of (``short_id``)
    history: bool = False  # as of the raw messages; they are joined with their like only

    def encode(self) -> Headers:
        """As text, for the bus."""
        return {
            **_mark(self.history),
            **({"dropped": json.dumps(self.dropped)} if self.dropped else {}),
            **({"poison": json.dumps(self.poison)} if self.poison else {}),
            "source": self.source,
            "version": str(SCHEMA_VERSION), "kind": self.kind, "table": self.table, "rows": str(self.rows),
            "min": str(self.min_ms), "max": str(self.max_ms), "sf": str(self.start), "se": str(self.end),
            "idx": json.dumps(self.index), "hi": json.dumps(dict(self.highest)), "lost": json.dumps(self.lost),
        }  # fmt: skip

    @staticmethod
    def decode(headers: Headers) -> "EnrichedHeaders":
        """HeaderError when they are not such headers."""
        try:
            return EnrichedHeaders(
                int(headers["rows"]), int(headers["sf"]), int(headers["se"]), _pairs(headers["idx"]),
                {str(name): int(value) for name, value in json.loads(headers["hi"]).items()}, _pairs(headers["lost"]),
                int(headers["min"]), int(headers["max"]), _kind(headers), headers["table"],
                _excepted(headers.get("dropped", "[]")), _excepted(headers.get("poison", "[]")),
                headers.get("source", ""), _HISTORY in headers,
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise HeaderError(f"not headers of an enriched message: {error}") from error

    def rows_before(self, source_offset: int) -> int:
        """Rows of this message that come from sources before ``source_offset``."""
        return max((rows for source, rows in self.index if source < source_offset), default=0)


def short_id(stream_id: str) -> str:
    """A stream's id as headers and positions carry it."""
    return stream_id[:_ID_CHARACTERS]


def _mark(history: bool) -> Headers:
    # Only where it is so: older readers ignore a name they do not know.
    return {_HISTORY: "1"} if history else {}


def _kind(headers: Headers) -> Kind:
    if int(headers["version"]) < 1:
        raise ValueError(f"version {headers['version']!r}")
    if int(headers["version"]) > SCHEMA_VERSION:
        raise NewerVersionError(
            f"schema version {headers['version']}: this reader knows up to {SCHEMA_VERSION}; upgrade it first"
        )
    if headers["kind"] == "flow":
        return "flow"
    if headers["kind"] == "observation":
        return "observation"
    raise ValueError(f"kind {headers['kind']!r}")


def _dropped(text: str) -> Dropped:
    return tuple((int(minute), str(exporter), int(rows)) for minute, exporter, rows in json.loads(text))


def _excepted(text: str) -> Excepted:
    return tuple((int(at), int(minute), str(exporter), int(rows)) for at, minute, exporter, rows in json.loads(text))


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(first), int(second)) for first, second in json.loads(text))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What of an enriched message counts: rows [first_row, rows), or nothing."""

    first_row: int
    rows: int
    stored: int  # source offset stored once it is done
    lost: tuple[int, int] | None = None  # source offsets stepped over, explained by ``explained`` or by the enricher

    @property
    def skip(self) -> bool:
        """Whether nothing of it counts."""
        return self.first_row >= self.rows


def judge(headers: EnrichedHeaders, stored: int, explained: tuple[int, int] | None = None) -> Verdict:
    """What counts of a message when the source offsets below ``stored`` are in the store.

    ``explained`` are source offsets that may be missing, beside those the enricher found gone; GapError for others.
    """
    if headers.end <= stored:
        return Verdict(headers.rows, headers.rows, stored)
    if headers.start <= stored:
        return Verdict(headers.rows_before(stored), headers.rows, headers.end)
    gap = (stored, headers.start)
    # The lost ranges must cover the gap to the last offset: anything less is unexplained.
    at = stored
    for start, end in sorted((*headers.lost, *((explained,) if explained else ()))):
        if start <= at < end:
            at = end
    if at < headers.start:
        raise GapError(at, headers.start)
    return Verdict(0, headers.rows, headers.end, gap)


@dataclass(frozen=True, slots=True)
class SinkPosition:
    """Metadata of the sink's committed offset: what is stored, and which range of it is in the rollups."""

    stored: int = 0  # source offset: everything below is in the store
    rolled: int = 0  # enriched offset: everything below is in the rollups
    planned: tuple[int, int] | None = None  # enriched offsets now being rolled up; repeated with the same ends
    gone: bool = False  # enriched messages before the next one were lost: a gap before it is explained
    stream: str = ""  # which making of flows.enriched the offsets are of (``short_id``); '': written before it was kept
    sources: tuple[str, ...] = ()  # makings of flows.raw met, the newest last: ``stored`` is of that one

    def encode(self) -> str:
        """As the metadata text of a commit."""
        return json.dumps(
            {"stored": self.stored, "rolled": self.rolled, "planned": self.planned, "gone": self.gone,
             "stream": self.stream, "sources": self.sources}
        )  # fmt: skip

    @staticmethod
    def decode(text: str) -> "SinkPosition":
        """HeaderError when it is not such a text."""
        try:
            value = json.loads(text)
            planned = value["planned"]
            ends = (int(planned[0]), int(planned[1])) if planned else None
            return SinkPosition(
                int(value["stored"]), int(value["rolled"]), ends, bool(value.get("gone", False)),
                str(value.get("stream", "")), tuple(str(source) for source in value.get("sources", ())),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise HeaderError(f"not a sink's position: {text!r}") from error

    def of_source(self, source: str) -> "SinkPosition | None":
        """The position for a message of this making of flows.raw; None: it is late, from a making before the newest.

        A flows.raw made again begins at offset 0, so nothing of it is stored yet.
        """
        if not source or (self.sources and source == self.sources[-1]):
            return self
        if source in self.sources:
            return None
        met = (*self.sources, source)[-_PAST_SOURCES:]
        return replace(self, sources=met, stored=0 if self.sources else self.stored)


@dataclass(slots=True)
class Sequences:
    """The highest sequence seen per origin (collector and spool) of one partition: tells repeats and gaps.

    Keeps the ``ORIGINS`` most recently seen; one that was silent for so many others is met as new.
    """

    highest: dict[str, int] = field(default_factory=dict)  # the most recently seen last

    def admit(self, collector: str, sequence: int) -> tuple[bool, int]:
        """Whether this message is new, and how many before it are missing."""
        last = self.highest.get(collector)
        if last is not None and sequence <= last:
            return False, 0
        self.highest.pop(collector, None)
        self.highest[collector] = sequence
        while len(self.highest) > ORIGINS:
            del self.highest[next(iter(self.highest))]
        return True, 0 if last is None else sequence - last - 1


@dataclass(frozen=True, slots=True)
class Hint:
    """Metadata of the enricher's commit: what the newest enriched message would say, were it not expired."""

    source: str  # ``short_id`` of flows.raw
    highest: Mapping[str, int]

    def encode(self) -> str:
        """As the metadata text of a commit: the most recently seen origins that find room."""
        kept: list[tuple[str, int]] = []
        size = 0
        for origin, sequence in reversed(list(self.highest.items())):
            size += len(json.dumps({origin: sequence}))
            if size > _HINT_BYTES:
                break
            kept.append((origin, sequence))
        return json.dumps({"source": self.source, "hi": dict(reversed(kept))})

    @staticmethod
    def decode(text: str) -> "Hint":
        """HeaderError when it is not such a text; an empty one, of an older version, knows nothing."""
        try:
            value = json.loads(text or '{"source": "", "hi": {}}')
            return Hint(str(value["source"]), {str(name): int(last) for name, last in value["hi"].items()})
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise HeaderError(f"not an enricher's position: {text!r}") from error


def row_index(source_offsets: Sequence[int], rows: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """``EnrichedHeaders.index`` from the rows that each source message gave."""
    total = 0
    index = []
    for offset, count in zip(source_offsets, rows, strict=True):
        total += count
        if count:
            index.append((offset, total))
    return tuple(index)
