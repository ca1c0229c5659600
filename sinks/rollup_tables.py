"""What each rollup is, and its SQL: one file a rollup in ``rollups/``, over raw.

``statement`` fills a file for a live range of offsets, a rebuild of a day or a back-fill; they differ in their WHERE
only.  Rollups that share a first step (``STEPS``: files that begin with ``_``) read it from its table when a range runs
live, so that raw is read once for all of them, and compute it in place otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import pyarrow as pa

from sinks.inserts import literal

MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")

_BUCKET = ("exporter", "service", "segment", "access", "sub_group", "ip_version", "direction", "bucket")
_PORT = ("service", "segment", "access", "ip_version", "direction", "proto", "lower_port", "bucket")


@dataclass(frozen=True, slots=True)
class Rollup:
    """One narrow table; its key is ``time`` and ``keys``."""

    name: str
    time: Literal["time", "hour", "day"]  # column of the bucket's time; ``day`` is a Date
    keys: tuple[str, ...]
    partition: Literal["day", "month"]  # of local time
    spread: bool = False  # whether a flow's octets lie in buckets before that of its end
    measures: tuple[str, ...] = MEASURES  # columns that are sums over the rows
    since: int = 9  # migration that made it: a store made before it fills it up from raw
    exact: bool = True  # equal however raw is cut into ranges

    @property
    def days(self) -> Literal["minute_days", "hour_days", "day_days"]:
        """The setting of its retention."""
        if self.name.endswith("m"):
            return "minute_days"
        return "hour_days" if self.name.endswith("h") else "day_days"


ROLLUPS: tuple[Rollup, ...] = (
    Rollup("bucket_1m", "time", _BUCKET, "day", spread=True, since=2),
    Rollup("bucket_5m", "time", _BUCKET, "day", spread=True),
    Rollup("bucket_1h", "time", _BUCKET, "month", spread=True),
    Rollup("bucket_end_5m", "time", _BUCKET, "day", since=2),
    Rollup("port_1h", "hour", _PORT, "month", since=2),
    Rollup("port_1d", "day", _PORT, "month"),
    Rollup("subscriber_1d", "day", ("sub_id", "service", "segment", "access", "direction"), "month", since=2),
    Rollup("interface_1m", "time", ("exporter", "interface", "direction"), "day", spread=True),
    Rollup(
        "exporter_1m", "time", ("exporter",), "day",
        measures=(
            *MEASURES, "unmatched_flows", "unmatched_octets_est", "unknown_rate_flows", "unknown_rate_octets",
            "implausible_flows", "other_point_flows", "other_point_octets_est", "flagged_flows",
        ),
    ),
    Rollup("talker_5m", "time", ("side", "kind", "prefix", "length"), "day", exact=False),
    Rollup("as_5m", "time", ("src_as", "dst_as"), "day"),
    Rollup(
        "lease_coverage_5m", "time", ("exporter", "prefix"), "day", since=13, exact=False,
        measures=(
            "flows", "octets_est", "attributed_flows", "attributed_octets_est", "ambiguous_flows",
            "ambiguous_octets_est", "unmatched_flows", "unmatched_octets_est",
        ),
    ),
)  # fmt: skip
"""All of them; those that share a first step side by side."""
BY_NAME = {rollup.name: rollup for rollup in ROLLUPS}
NAMES = tuple(BY_NAME)


STEPS = {"flow_range": ("_flow", "minute"), "port_range": ("_port", "hour")}
"""By the table that holds a shared first step while a range runs: its file, and the column of its time."""
_STEP_COLUMNS = {
    "flow_range": "kind, minute, exporter, service, segment, access, sub_group, bucket, in_if, out_if, ip_version,"
    " direction, second, elsewhere, flows_, packets_, packets_est_, octets_, octets_est_, said, flagged,"
    " min_sampling_, max_sampling_, sampling_sources_",
    "port_range": "hour, service, segment, access, ip_version, direction, proto, port, no_port,"
    " flows_, packets_, packets_est_, octets_, octets_est_",
}


def of_offsets(partition: int, a: int, b: int) -> str:
    """The WHERE of live ranges."""
    return f"bus_partition = {partition} AND bus_offset >= {a} AND bus_offset < {b}"


def of_step(partition: int, a: int, b: int) -> str:
    """The WHERE of a range in the table of a step; the comment names the rows of raw, as query logs show it."""
    return f"partition = {partition} AND a = {a} AND b = {b} /* {of_offsets(partition, a, b)} */"


def steps_of(name: str) -> tuple[str, ...]:
    """The shared steps that a rollup's file reads."""
    return tuple(step for step in STEPS if f"{{{step}}}" in _file(name))


LABELS = ("exporter", "service", "segment", "access", "sub_group", "bucket")
"""Columns of text that a rollup groups by as numbers."""
Labels = Mapping[str, Sequence[str]]
"""All values of each in some rows."""


def labels_query(where: str) -> str:
    """The SELECT that finds the labels of the raw rows of ``where``: a row for each of their combinations."""
    # A hash of the dictionary's entry, not of each row's text.  Of n combinations two share one with n^2 / 2^65, of ten
    # thousand 3 in 10^12; and it would only matter for a label that no other combination has.
    hashed = " + ".join(f"{2 * n + 1} * CAST(cityHash64({name}) AS UInt64)" for n, name in enumerate(LABELS))
    return f"SELECT {', '.join(LABELS)} FROM flows WHERE {where} LIMIT 1 BY {hashed}"


def labels_of(rows: pa.Table) -> Labels:
    """The labels in the answer to ``labels_query``."""
    return {name: sorted(set(rows.column(name).to_pylist())) for name in LABELS}


def statement(name: str, where: str, timezone: str, *, staged: str | None = None, labels: Labels | None = None) -> str:
    """The rollup's INSERT SELECT over the raw rows of ``where``.

    ``staged``: the WHERE by which shared steps are read from their tables; None: they are computed from raw.
    ``labels`` are those of the rows; None: the statement looks for them itself.
    """
    text = _file(name)
    for table, (file, _) in STEPS.items():
        # Of its table without a query between: planning one costs more than reading a small range.
        text = text.replace(f"{{{table}}}", f"({_file(file)})" if staged is None else table)
    text = text.replace("{range}", "1" if staged is None else staged)
    return _filled(text, where, timezone, labels)


def step_statement(table: str, partition: int, a: int, b: int, timezone: str, labels: Labels | None = None) -> str:
    """The INSERT SELECT of a shared step of a live range."""
    file, time = STEPS[table]
    columns = _STEP_COLUMNS[table]
    text = (
        f"INSERT INTO {table} (partition, a, b, {columns})\n"
        f"SELECT {partition} AS partition, {a} AS a, {b} AS b, {columns}\n"
        # One piece, as in every rollup.
        f"FROM ({_file(file)})\nORDER BY {time}"
    )
    return _filled(text, of_offsets(partition, a, b), timezone, labels)


def _filled(text: str, where: str, timezone: str, labels: Labels | None) -> str:
    """A file's text with its ``{known …}``, ``{code …}`` and ``{labels …}`` written out, and its rows and zone.

    ``{known a b}``, in a WITH: all values of the label columns.  ``{code a b}``: their positions as one number.
    ``{labels a b}``: the columns again, of a number called ``code``.
    """

    def known(name: str) -> str:
        if labels is None:
            return f"(SELECT groupArray(v) FROM (SELECT {name} AS v FROM flows WHERE {where} GROUP BY v))"
        return f"CAST([{', '.join(literal(value) for value in labels[name])}] AS Array(String))"

    def write(found: re.Match[str]) -> str:
        written, before = [], ""
        for name in found[2].split():
            values, size = f"{name}_known", f"greatest(length({name}_known), 1)"
            if found[1] == "known":
                written.append(f"{known(name)} AS {values}")
                continue
            if found[1] == "code":
                # Of the dictionary's entry: a function of one LowCardinality column does not look at the rows.
                position = f"transform({name}, {values}, CAST(range(length({values})) AS Array(UInt32)), toUInt32(0))"
                written.append(f"CAST({position} AS UInt64){before}")
            else:
                code = f"intDiv(code, 1{before})" if before else "code"
                written.append(f"{values}[{code} % {size} + 1] AS {name}")
            before += f" * {size}"
        return (" + " if found[1] == "code" else ", ").join(written)

    # At the end: a label may look like anything.
    text = text.replace("{where}", where).replace("{timezone}", timezone)
    return re.sub(r"\{(known|code|labels) ([a-z_ ]+)\}", write, text)


def parts_of(name: str, where: str, timezone: str) -> tuple[tuple[str, ...], str]:
    """Columns and SELECT of a rollup's statement, to insert elsewhere or to compare with."""
    found = re.search(r"INSERT INTO \w+\s*\(([^)]*)\)(.*)", statement(name, where, timezone), re.DOTALL)
    assert found, name
    return tuple(column.strip() for column in found[1].split(",")), found[2]


@cache
def _file(name: str) -> str:
    return files("sinks").joinpath("rollups", f"{name}.sql").read_text(encoding="utf-8")
