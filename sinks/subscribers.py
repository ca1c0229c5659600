"""Rows of subscribers beside their flows: who was there on a day, names, and the way out of the store."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from ipaddress import IPv6Address
from zoneinfo import ZoneInfo

import pyarrow as pa

from sinks import Store
from sinks.inserts import MAX_ROWS

BY_ID = ("flows", "subscriber_1d", "accounting_1d", "subscriber_seen_1d", "subscriber_name")
"""Tables of which every row of a subscriber has its ``sub_id``."""
TALKERS = "talker_5m"

_SEEN = pa.schema(
    [("day", pa.date32()), ("sub_id", pa.uint64()), ("service", pa.string()), ("segment", pa.string()),
     ("access", pa.string()), ("made", pa.timestamp("ms", "UTC"))]
)  # fmt: skip
_NAME = pa.schema(
    [("sub_id", pa.uint64()), ("service", pa.string()), ("subscriber", pa.string()), ("access", pa.string()),
     ("since", pa.timestamp("ms", "UTC"))]
)  # fmt: skip
_MOST_HELD = 2_000  # prefixes of one condition; more are asked for in turn


@dataclass(frozen=True, slots=True)
class Held:
    """A prefix that the subscriber held over [since, until), Unix milliseconds."""

    first: str  # its first and last address, IPv4 as ::ffff:a.b.c.d
    last: str
    since_ms: int
    until_ms: int


def local_day(day: date, timezone: str) -> tuple[int, int]:
    """Its begin and end in Unix milliseconds; a day with a clock change has 23 or 25 hours."""
    zone = ZoneInfo(timezone)
    begin, end = (datetime(each.year, each.month, each.day, tzinfo=zone) for each in (day, day + timedelta(days=1)))
    return int(begin.timestamp()) * 1000, int(end.timestamp()) * 1000


def put_seen(store: Store, day: date, seen: pa.Table, now: float) -> int:
    """Store who was seen on a local day (columns sub_id, service, segment, access); how many.

    What is there stays: a second look at a day adds who came later.  The same rows again are nothing.
    """
    return _put(store, "subscriber_seen_1d", _SEEN, seen, {"day": day, "made": int(now * 1000)}, str(day))


def put_names(store: Store, names: pa.Table, now: float) -> int:
    """Store whose pseudonym is whose (columns sub_id, service, subscriber, access); of two of one id the later one."""
    return _put(store, "subscriber_name", _NAME, names, {"since": int(now * 1000)}, "")


def rows_of(store: Store, ids: Sequence[int]) -> dict[str, int]:
    """How many rows each table has of these ids."""
    return {table: _count(store, table, _is_one_of(ids)) for table in BY_ID}


def days_of(store: Store, ids: Sequence[int]) -> list[dict[str, object]]:
    """Volumes by local day, as reports have them: each from one source."""
    rows: list[dict[str, object]] = store.query(
        "SELECT toString(day) AS day, service, segment, access, volume_source, in_octets, out_octets FROM v_user_day"
        f" WHERE {_is_one_of(ids)} ORDER BY day, service, access"
    ).to_pylist()
    return rows


def erase(store: Store, ids: Sequence[int], held: Sequence[Held]) -> dict[str, int]:
    """Take every row of these ids out, and talkers whose address or prefix is of what they held then; rows by table.

    Rollups without subscribers keep their sums, and so do figures of talkers that others are in.
    """
    wheres = [(table, _is_one_of(ids)) for table in BY_ID]
    for first in range(0, len(held), _MOST_HELD):
        wheres.append((TALKERS, " OR ".join(f"({_within(each)})" for each in held[first : first + _MOST_HELD])))
    found = dict.fromkeys((*BY_ID, TALKERS), 0)
    for table, where in wheres:
        count = _count(store, table, where)
        if count:
            # Waits until the rows are gone from the disk's parts, not only out of sight.
            store.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")
            found[table] += count
    return found


def _put(store: Store, table: str, schema: pa.Schema, rows: pa.Table, same: Mapping[str, object], what: str) -> int:
    digest = hashlib.sha256()
    for column in rows.columns:
        digest.update("\0".join(map(str, column.to_pylist())).encode())
    for name, value in same.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, schema.field(name).type), len(rows)))
    rows = rows.select(schema.names).cast(schema)
    for first in range(0, rows.num_rows, MAX_ROWS):
        token = f"{table}/{what}/{digest.hexdigest()}/{first}"
        store.insert(table, rows.slice(first, MAX_ROWS), token=token)
    return int(rows.num_rows)


def _is_one_of(ids: Sequence[int]) -> str:
    return f"sub_id IN ({', '.join(str(int(each)) for each in ids)})"


def _within(held: Held) -> str:
    """Talkers of buckets that the lease touches, and of prefixes that lie in what was held."""
    return (
        f"prefix >= toIPv6('{held.first}') AND prefix <= toIPv6('{held.last}') AND length >= {_length(held)}"
        f" AND time > fromUnixTimestamp64Milli({held.since_ms}) - INTERVAL 5 MINUTE"
        f" AND time < fromUnixTimestamp64Milli({held.until_ms})"
    )


def _length(held: Held) -> int:
    return 128 - (int(IPv6Address(held.last)) - int(IPv6Address(held.first))).bit_length()


def _count(store: Store, table: str, where: str) -> int:
    return int(store.query(f"SELECT count() AS n FROM {table} WHERE {where}").column("n")[0].as_py())
