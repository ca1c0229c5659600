"""What every insert under a token runs with, whatever the store; and how values are written in SQL."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import pyarrow as pa

Settings = Mapping[str, str | int | float]

DATABASE = "flowtide"
MAX_ROWS = 500_000
"""Rows of one insert: more costs little less, and one block of 34 columns is then about 100 MB."""

_WIDTH = 34  # columns

_ONE_BLOCK = 100_000_000
"""No insert of ours has as many rows, so a block is never cut: a token holds for one block only."""
INSERT_SETTINGS: Settings = {
    "async_insert": 0,  # on by default here; it would answer before the rows are stored
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "min_insert_block_size_rows": _ONE_BLOCK,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": _ONE_BLOCK,
    "max_insert_threads": 1,  # each thread would write blocks of its own
    # A token is remembered together with the pieces of which the block was put together, and an aggregation gives as
    # many as its threads, memory and past runs decide: a repeat after a restart was not recognised.  One thread, tables
    # of one level, no memory of past runs, and a final ORDER BY (in every rollup's SQL) give one piece, always.
    "max_threads": 1,
    "group_by_two_level_threshold": 0,
    "group_by_two_level_threshold_bytes": 0,
    "collect_hash_table_stats_during_aggregation": 0,
    "max_block_size": _ONE_BLOCK,
    "prefer_external_sort_block_bytes": 0,
    "max_bytes_before_external_sort": 0,
    "max_bytes_ratio_before_external_sort": 0,
    "max_bytes_before_external_group_by": 0,
    "max_bytes_ratio_before_external_group_by": 0,
    # A GROUP BY has no two rows of one key: sorting them together again cost more than the rest of the rollup.
    "optimize_on_insert": 0,
}
"""What every insert under a token runs with: the same token with another block is not dropped."""


def most_rows(columns: int) -> int:
    """Of one insert into a table of so many columns: those of rollups are narrow."""
    return max(MAX_ROWS, MAX_ROWS * _WIDTH // max(columns, 1))


def check_rows(table: str, rows: pa.Table) -> None:
    """ValueError for more rows than one insert may have."""
    most = most_rows(rows.num_columns)
    if rows.num_rows > most:
        raise ValueError(f"{table}: an insert has at most {most} rows, not {rows.num_rows}: cut the message")


def quoted(name: str) -> str:
    """An identifier of SQL."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def literal(value: object) -> str:
    """A number, or a string literal of SQL."""
    if isinstance(value, int | float):
        return str(int(value) if isinstance(value, bool) else value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def text(value: object) -> str:
    """A parameter's value as ClickHouse reads it: escaped text, quoted only inside of arrays."""
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_element(item) for item in value)}]"
    return plain(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple | bool):
        return text(value)
    return literal(value if isinstance(value, int | float) else plain(value))


def plain(value: object) -> str:
    """A value as text without quotes; times in UTC."""
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return f"{utc:%Y-%m-%d %H:%M:%S}" + (f".{utc.microsecond:06}" if utc.microsecond else "")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
