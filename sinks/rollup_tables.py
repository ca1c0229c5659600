"""What each rollup is, and its SQL: one file a rollup in ``rollups/``, over raw.

``statement`` fills a file for a live range of offsets, a rebuild of a day or a back-fill; they differ in their WHERE
only.  Rollups that share a first step (``STEPS``: files that begin with ``_``) read it from its table when a range runs
live, so that raw is read once for all of them, and compute it in place otherwise.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

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


def of_offsets(partition: int, a: int, b: int) -> str:
    """The WHERE of live ranges."""
    return f"bus_partition = {partition} AND bus_offset >= {a} AND bus_offset < {b}"


def of_step(partition: int, a: int, b: int) -> str:
    """The WHERE of a range in the table of a step; the comment names the rows of raw, as query logs show it."""
    return f"partition = {partition} AND a = {a} AND b = {b} /* {of_offsets(partition, a, b)} */"


def steps_of(name: str) -> tuple[str, ...]:
    """The shared steps that a rollup's file reads."""
    return tuple(step for step in STEPS if f"{{{step}}}" in _file(name))


def statement(name: str, where: str, timezone: str, *, staged: str | None = None) -> str:
    """The rollup's INSERT SELECT over the raw rows of ``where``.

    ``staged``: the WHERE by which shared steps are read from their tables; None: they are computed from raw.
    """
    text = _file(name)
    for table, (file, _) in STEPS.items():
        # Of its table without a query between: planning one costs more than reading a small range.
        text = text.replace(f"{{{table}}}", f"({_file(file)})" if staged is None else table)
    text = text.replace("{range}", "1" if staged is None else staged)
    return text.replace("{where}", where).replace("{timezone}", timezone)


def step_statement(table: str, partition: int, a: int, b: int, timezone: str) -> str:
    """The INSERT SELECT of a shared step of a live range."""
    file, time = STEPS[table]
    text = (
        f"INSERT INTO {table} (* EXCEPT(made))\nSELECT {partition} AS partition, {a} AS a, {b} AS b, *\n"
        # One piece, as in every rollup.
        f"FROM ({_file(file)})\nORDER BY {time}"
    )
    return text.replace("{where}", of_offsets(partition, a, b)).replace("{timezone}", timezone)


def parts_of(name: str, where: str, timezone: str) -> tuple[tuple[str, ...], str]:
    """Columns and SELECT of a rollup's statement, to insert elsewhere or to compare with."""
    found = re.search(r"INSERT INTO \w+\s*\(([^)]*)\)(.*)", statement(name, where, timezone), re.DOTALL)
    assert found, name
    return tuple(column.strip() for column in found[1].split(",")), found[2]


@cache
def _file(name: str) -> str:
    return files("sinks").joinpath("rollups", f"{name}.sql").read_text(encoding="utf-8")
