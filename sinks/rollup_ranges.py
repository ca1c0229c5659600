"""What a range of offsets does to the store: recorded, let through, run, recorded as done.

Whoever knows a recorded range can finish it: its ends, its stream and so its tokens are in the store, and a token
counts once.  A rebuild rests on that.  The rule by which it and the sink never meet: a sink records a range and then
looks for a hold; a rebuild makes its hold and then looks for recorded ranges.  So at least one of them sees the other,
on whatever machines they are; a range that meets a hold waits.
"""

import hashlib
import time
from collections.abc import Sequence

import pyarrow as pa

from sinks import Store, StoreUnavailable, metrics
from sinks.inserts import most_rows
from sinks.range_rows import RangeRows
from sinks.rollup_tables import (
    NAMES,
    labels_of,
    labels_query,
    of_offsets,
    of_step,
    statement,
    step_statement,
    steps_of,
)

ALL = "all"
"""In ``rollup_plan`` and ``rollup_cut``: a live range, which goes into every rollup."""

_CUT = pa.schema(
    [("rollup", pa.string()), ("partition", pa.uint16()), ("a", pa.uint64()), ("b", pa.uint64()),
     ("rows", pa.uint64()), ("made", pa.timestamp("ms", "UTC"))]
)  # fmt: skip
_PLAN = pa.schema(
    [("rollup", pa.string()), ("stream", pa.string()), ("partition", pa.uint16()), ("base", pa.uint64()),
     ("a", pa.uint64()), ("b", pa.uint64()), ("made", pa.timestamp("ms", "UTC"))]
)  # fmt: skip
_START = pa.schema(
    [("rollup", pa.string()), ("partition", pa.uint16()), ("start", pa.uint64()), ("made", pa.timestamp("ms", "UTC"))]
)


class RollupsHeld(StoreUnavailable):
    """A rebuild is about to exchange a partition: the range stays planned and runs afterwards."""


def begin_at(store: Store, partition: int, start: int) -> None:
    """Remember, once for all, the ``bus_offset`` from which on the rollups of this version have every range."""
    rows = [{"rollup": name, "partition": partition, "start": start, "made": _now()} for name in NAMES]
    # The first row of a rollup and partition holds, so a version with more rollups writes under another token.
    known = hashlib.sha256(",".join(NAMES).encode()).hexdigest()[:12]
    store.insert("rollup_start", pa.Table.from_pylist(rows, _START), token=f"start/{partition}/{known}")


def record(store: Store, rollup: str, stream: str, partition: int, base: int, a: int, b: int, token: str) -> None:
    """Write down that rows [a, b) of ``bus_offset`` are about to go into this rollup, or ``ALL``."""
    row = {"rollup": rollup, "stream": stream, "partition": partition, "base": base, "a": a, "b": b, "made": _now()}
    store.insert("rollup_plan", pa.Table.from_pylist([row], _PLAN), token=f"{token}/plan")


def is_done(store: Store, rollup: str, partition: int, a: int, b: int) -> bool:
    """Whether a recorded range has run; RollupsHeld when it has not and must not now.

    A token may be forgotten together with the partition that a rebuild took away: what is done is not run again.
    """
    found = store.query(
        "SELECT (SELECT count() FROM (SELECT argMax(until, made) AS ends FROM rollup_hold GROUP BY id)"
        " WHERE ends > now64(3)) AS held,"
        " (SELECT count() FROM rollup_cut WHERE rollup = {rollup:String} AND partition = {partition:UInt16}"
        " AND a = {a:UInt64} AND b = {b:UInt64}) AS done",
        rollup=rollup, partition=partition, a=a, b=b,
    ).to_pylist()[0]  # fmt: skip
    if found["done"]:
        return True
    if found["held"]:
        raise RollupsHeld("a rebuild exchanges a partition; the rollups go on when it is done, or its hold ends")
    return False


def run_range(
    store: Store, timezone: str, stream: str, partition: int, base: int, a: int, b: int, ready: RangeRows | None = None
) -> int:
    """Run every rollup over offsets [a, b) of the stream that begins at ``base``; the rows of raw.

    Each part under its token, so that a repeat, also by somebody else at the same time, adds nothing.  ``ready``: the
    rows that the SQL would give, from memory; they count if they are of as many rows as raw has.
    """
    whole = (partition, base + a, base + b)
    suffix, where, staged = f"{stream}/{partition}/{a}-{b}", of_offsets(*whole), of_step(*whole)
    if ready is not None and ready.rows == count_rows(store, where):
        for name in NAMES:
            _insert(store, timezone, name, where, ready.tables[name], token=f"{name}/{suffix}")
        note_done(store, ALL, *whole, ready.rows, token=suffix)
        metrics.ROLLED_ROWS.inc(ready.rows)
        metrics.ROLLED_RANGES.labels("memory").inc()
        return ready.rows
    labels = labels_of(store.query(labels_query(where)))
    made = set[str]()
    for name in NAMES:
        for step in steps_of(name):
            if step not in made:
                store.command(step_statement(step, *whole, timezone, labels), token=f"{step}/{suffix}")
                made.add(step)
        store.command(statement(name, where, timezone, staged=staged, labels=labels), token=f"{name}/{suffix}")
    # Every row of raw is in the first step once; raw itself is not asked again.
    rows = _rows(store, f"SELECT sum(flows_) AS rows FROM flow_range WHERE {staged} AND kind != 1")
    note_done(store, ALL, *whole, rows, token=suffix)
    for step in sorted(made):  # every rollup has it: whoever runs this range again adds nothing from an empty step
        store.command(f"ALTER TABLE {step} DROP PARTITION ({', '.join(map(str, whole))})")
    metrics.ROLLED_ROWS.inc(rows)
    metrics.ROLLED_RANGES.labels("raw").inc()
    return rows


def _insert(store: Store, timezone: str, name: str, where: str, rows: pa.Table, token: str) -> None:
    """As one block; by SQL where that is too large for it."""
    if rows.num_rows > most_rows(rows.num_columns):
        store.command(statement(name, where, timezone), token=token)
    else:
        store.insert(name, rows, token=token)


def note_done(store: Store, rollup: str, partition: int, a: int, b: int, rows: int, token: str) -> None:
    """Write down that rows [a, b) of ``bus_offset`` are in the rollup."""
    row = {"rollup": rollup, "partition": partition, "a": a, "b": b, "rows": rows, "made": _now()}
    store.insert("rollup_cut", pa.Table.from_pylist([row], _CUT), token=token)


def count_rows(store: Store, where: str) -> int:
    """Rows of raw."""
    return _rows(store, f"SELECT count() AS rows FROM flows WHERE {where}")


def _rows(store: Store, sql: str) -> int:
    return int(store.query(sql).column("rows")[0].as_py())


def run_chunk(store: Store, timezone: str, name: str, partition: int, a: int, b: int) -> int:
    """Run one rollup over rows [a, b) of ``bus_offset`` that were stored before it was made; the rows of raw."""
    where, token = of_offsets(partition, a, b), f"{name}/fill/{partition}/{a}-{b}"
    store.command(statement(name, where, timezone), token=token)
    rows = count_rows(store, where)
    note_done(store, name, partition, a, b, rows, token=token)
    return rows


def starts(store: Store, names: Sequence[str]) -> dict[tuple[str, int], int]:
    """From which ``bus_offset`` on each rollup has everything, by (rollup, partition): live, and filled up."""
    found = store.query(
        "SELECT rollup, partition, min(least(s, f)) AS start FROM ("
        "SELECT rollup, partition, argMin(start, made) AS s, 18446744073709551615 AS f FROM rollup_start"
        " GROUP BY `rollup`, partition UNION ALL "
        "SELECT rollup, partition, 18446744073709551615 AS s, min(a) AS f FROM rollup_cut"
        " WHERE rollup != {all:String} GROUP BY `rollup`, partition)"
        " WHERE has({names:Array(String)}, rollup) GROUP BY `rollup`, partition ORDER BY rollup, partition",
        names=list(names), all=ALL,
    ).to_pylist()  # fmt: skip
    return {(row["rollup"], row["partition"]): int(row["start"]) for row in found}


def _now() -> int:
    return int(time.time() * 1000)
