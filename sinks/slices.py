"""What tables the store has, and how one is read in pieces of a size that memory and one insert hold.

A piece is a WHERE: a stretch of time in one partition, and where one moment alone has too many rows, a share of them by
a hash of their key.  Rows that are merged between two pieces stay in their piece: merging keeps time and key.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sinks import Store
from sinks.inserts import literal

ROWS = 400_000
"""Rows of a piece at most, as far as a hash shares them out evenly: below ``inserts.MAX_ROWS``."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table of rows, not a view; ``columns`` are ClickHouse types by name."""

    name: str
    engine: str
    columns: dict[str, str]
    keys: tuple[str, ...]  # columns of the sorting key
    time: str | None  # column whose day or month is the partition
    ttl_days: int | None  # None: rows live for ever

    @property
    def sums(self) -> bool:
        """Whether rows of one key are summed when parts are merged."""
        return "Summing" in self.engine


def stored_tables(store: Store) -> list[StoredTable]:
    """All of the current database, by name."""
    tables = store.query(
        "SELECT name, engine, create_table_query AS sql FROM system.tables"
        " WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
    ).to_pylist()
    columns = store.query(
        "SELECT table, name, type, is_in_partition_key AS of_partition, is_in_sorting_key AS of_key"
        " FROM system.columns WHERE database = currentDatabase() ORDER BY table, position"
    ).to_pylist()
    found = []
    for row in tables:
        mine = [column for column in columns if column["table"] == row["name"]]
        times = [c["name"] for c in mine if c["of_partition"] and c["type"].startswith("Date")]
        lives = re.search(r" TTL .*?(?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)", row["sql"])
        found.append(
            StoredTable(
                row["name"], row["engine"], {c["name"]: c["type"] for c in mine},
                tuple(c["name"] for c in mine if c["of_key"]), times[0] if times else None,
                int(lives[1] or lives[2]) if lives else None,
            )
        )  # fmt: skip
    return found


def between(table: StoredTable, begin: int, end: int) -> str:
    """The WHERE of rows at Unix seconds [begin, end); of a ``Date`` column: of the days since 1970 [begin, end)."""
    assert table.time
    return f"{table.time} >= {_moment(table, begin)} AND {table.time} < {_moment(table, end)}"


def pieces(store: Store, source: str, table: StoredTable, where: str = "1", rows: int = ROWS) -> Iterator[str]:
    """WHEREs that together are ``where``, each of at most about ``rows`` rows of one partition, in order of time.

    ``source`` is the table's name as SQL wants it: that of a copy in another database, say.
    """
    partitions = store.query(
        f"SELECT _partition_id AS id, count() AS n FROM {source} WHERE {where} GROUP BY id ORDER BY id"
    ).to_pylist()
    for partition in partitions:
        of_one = f"_partition_id = {literal(partition['id'])} AND ({where})"
        if table.time is None or partition["n"] <= rows:
            yield from _shared(table, of_one, partition["n"], rows)
            continue
        yield from _in_time(store, source, table, of_one, rows)


def _in_time(store: Store, source: str, table: StoredTable, where: str, rows: int) -> Iterator[str]:
    number = (
        f"toUInt32({table.time})" if table.columns[table.time or ""] == "Date" else f"toUnixTimestamp({table.time})"
    )
    moments = store.query(f"SELECT {number} AS at, count() AS n FROM {source} WHERE {where} GROUP BY at ORDER BY at")
    begin, taken, last = None, 0, 0
    for at, n in zip(moments.column("at").to_pylist(), moments.column("n").to_pylist(), strict=True):
        if begin is not None and taken + n > rows:
            yield from _shared(table, f"{where} AND {between(table, begin, last + 1)}", taken, rows)
            begin, taken = None, 0
        begin, taken, last = at if begin is None else begin, taken + n, at
    if begin is not None:
        yield from _shared(table, f"{where} AND {between(table, begin, last + 1)}", taken, rows)


def _shared(table: StoredTable, where: str, count: int, rows: int) -> Iterator[str]:
    shares = -(-count // rows)
    if shares <= 1:
        yield where
        return
    # Raw rows of one moment differ in more than their key.
    key = ", ".join(
        dict.fromkeys([*table.keys, *(c for c in ("src_addr", "src_port", "dst_addr") if c in table.columns)])
    )
    # A hash shares out evenly to some per cent only.
    shares += 1 + shares // 8
    for share in range(shares):
        yield f"{where} AND cityHash64({key}) % {shares} = {share}"


def _moment(table: StoredTable, number: int) -> str:
    kind = table.columns[table.time or ""]
    if kind == "Date":
        return f"toDate({number})"
    if kind.startswith("DateTime64"):
        return f"fromUnixTimestamp64Milli(toInt64({number * 1000}), 'UTC')"
    return f"toDateTime({number}, 'UTC')"
