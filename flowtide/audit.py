"""``flowtide doctor --audit``: are records decoded, published, enriched, inserted and present the same number?

The first four are counted by the sink from what each message carries (``sinks/audit.py``); present is what the raw
table holds.  A minute whose numbers still change between two looks is in flight, and is not judged.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from flowtide.errors import Failure
from sinks import Store

STAGES = ("decoded", "published", "enriched", "inserted", "present")
SETTLE_SECONDS = 3.0
"""Between the two looks: a message's rows and its counts are two inserts, moments apart."""

_COUNTED = """
SELECT toInt64(toUnixTimestamp(time)) AS minute, toString(exporter) AS exporter, toInt64(partition) AS partition,
    sumIf(rows, stage = 'decoded') AS decoded, sumIf(rows, stage = 'published') AS published,
    sumIf(rows, stage = 'enriched') AS enriched, sumIf(rows, stage = 'inserted') AS inserted
FROM audit_1m WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
GROUP BY minute, exporter, partition
"""
_PRESENT = """
SELECT toInt64(toUnixTimestamp(toStartOfMinute(received))) AS minute, toString(exporter) AS exporter,
    toInt64(bus_partition) AS partition, toInt64(count()) AS present
FROM flows
WHERE copy != 1 AND received >= {since:DateTime('UTC')} AND received < {until:DateTime('UTC')}
GROUP BY minute, exporter, partition
"""
_LOSSES = """
SELECT toString(stage) AS stage, toString(counter) AS counter, toInt64(sum(value)) AS value FROM stage_1m
WHERE time >= {since:DateTime('UTC')} AND time < {until:DateTime('UTC')}
    AND (counter LIKE 'dropped%' OR counter LIKE 'lost%' OR counter LIKE 'missing%' OR counter LIKE 'unforeseen%')
GROUP BY stage, counter HAVING value != 0 ORDER BY stage, counter
"""

Cell = tuple[int, str, int]
"""Minute (Unix seconds), exporter, partition."""
Counts = dict[Cell, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Line:
    """One exporter in one partition, over the judged minutes."""

    exporter: str  # '' where the message that had the rows cannot be read
    partition: int
    decoded: int
    published: int
    enriched: int
    inserted: int
    present: int
    equal: bool  # in each minute, not only in sum
    in_flight: int  # rows decoded in minutes that still change; not in the other numbers


@dataclass(frozen=True, slots=True)
class Audit:
    """What the store says of a time."""

    since: datetime
    until: datetime
    lines: tuple[Line, ...]
    newest: datetime | None  # the newest minute that is counted: what is younger is on the bus
    losses: Mapping[str, int] = field(default_factory=dict)  # counters of stage_1m, before and beside the five

    @property
    def equal(self) -> bool:
        """Whether all judged minutes agree."""
        return all(line.equal for line in self.lines)

    def as_json(self) -> str:
        """One JSON object."""
        facts = {
            "since": self.since.isoformat(), "until": self.until.isoformat(), "equal": self.equal,
            "newest": self.newest.isoformat() if self.newest else None,
            "lines": [asdict(line) for line in self.lines], "losses": dict(self.losses),
        }  # fmt: skip
        return json.dumps(facts, indent=1)

    def as_text(self) -> str:
        """A table, differences marked."""
        width = max([len(line.exporter) for line in self.lines] + [len("(unreadable)")])
        head = f"{'exporter':<{width}}  part" + "".join(f"{stage:>13}" for stage in (*STAGES, "in flight"))
        rows = [f"from {self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC, by minute of arrival", head]
        for line in self.lines:
            numbers = [getattr(line, stage) for stage in STAGES]
            rows.append(
                f"{line.exporter or '(unreadable)':<{width}}  {line.partition:>4}"
                + "".join(f"{number:>13,}" for number in (*numbers, line.in_flight))
                + ("" if line.equal else "  DIFFERS")
            )
        if not self.lines:
            rows.append("nothing is counted in this time")
        if self.newest is not None:
            rows.append(f"counted up to the minute {self.newest:%H:%M}; what arrived later is still on the bus")
        rows += [f"beside it: {name} {value:,}" for name, value in self.losses.items()]
        rows.append("all equal" if self.equal else "THE NUMBERS DIFFER: flowtide doctor shows where to look")
        return "\n".join(rows)


def audit(
    store: Store,
    since: datetime,
    until: datetime,
    wait: Callable[[float], None] = time.sleep,
) -> Audit:
    """Compare the five; StoreUnavailable, StoreRefused.

    ``wait`` is called between two looks, only when the first one finds a difference.
    """
    times = {"since": since, "until": until}
    counts = _counts(store, times)
    moving: set[Cell] = set()
    if not all(_is_equal(numbers) for numbers in counts.values()):
        wait(SETTLE_SECONDS)
        again = _counts(store, times)
        moving = {cell for cell, numbers in again.items() if counts.get(cell) != numbers}
        counts = again
    losses = {f"{row['stage']} {row['counter']}": row["value"] for row in store.query(_LOSSES, **times).to_pylist()}
    newest = max((minute for minute, _, _ in counts), default=None)
    return Audit(since, until, _lines(counts, moving), _moment(newest), losses)


def parse_times(since: str, until: str, now: datetime) -> tuple[datetime, datetime]:
    """``-1h``, ``-90m``, ``-2d``, ``now`` or ISO 8601 (UTC where no zone is said), as whole minutes; Failure."""
    first, last = _parse(since, now), _parse(until, now)
    minute = timedelta(minutes=1)
    first = first.replace(second=0, microsecond=0)
    last = last if last == last.replace(second=0, microsecond=0) else last.replace(second=0, microsecond=0) + minute
    if first >= last:
        raise Failure(f"--audit {since} {until}: the first is not before the second")
    return first, last


def _parse(text: str, now: datetime) -> datetime:
    if text == "now":
        return now
    if found := re.fullmatch(r"-(\d{1,6})([smhd])", text):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
        return now - timedelta(**{unit: int(found[1])})
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise Failure(f"{text!r} is no time: write 2026-03-01T12:00, -1h, -30m, -2d or now") from error
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _counts(store: Store, times: Mapping[str, datetime]) -> Counts:
    found: dict[Cell, list[int]] = defaultdict(lambda: [0] * len(STAGES))
    for row in store.query(_COUNTED, **times).to_pylist():
        found[row["minute"], row["exporter"], row["partition"]][:4] = [row[stage] for stage in STAGES[:4]]
    for row in store.query(_PRESENT, **times).to_pylist():
        found[row["minute"], row["exporter"], row["partition"]][4] = row["present"]
    return {cell: tuple(numbers) for cell, numbers in found.items()}


def _is_equal(numbers: tuple[int, ...]) -> bool:
    return len(set(numbers)) == 1


def _lines(counts: Counts, moving: set[Cell]) -> tuple[Line, ...]:
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * len(STAGES))
    differs: set[tuple[str, int]] = set()
    in_flight: dict[tuple[str, int], int] = defaultdict(int)
    for (minute, exporter, partition), numbers in counts.items():
        key = (exporter, partition)
        if (minute, exporter, partition) in moving:
            in_flight[key] += max(numbers)
            continue
        sums[key] = [total + number for total, number in zip(sums[key], numbers, strict=True)]
        if not _is_equal(numbers):
            differs.add(key)
    found = []
    for exporter, partition in sorted({*sums, *in_flight}):
        key = (exporter, partition)
        decoded, published, enriched, inserted, present = sums[key]
        found.append(
            Line(exporter, partition, decoded, published, enriched, inserted, present, key not in differs,
                 in_flight[key])
        )  # fmt: skip
    return tuple(found)


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
