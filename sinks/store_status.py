"""What the store holds and how long its disk lasts: by table and as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from sinks import Store
from sinks.slices import StoredTable, stored_tables

_GROWTH_DAYS = 7  # whole days of which growth is the mean: a week has its weekend
_HORIZON_DAYS = 3650  # a disk that lasts longer is not worth a figure
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table; bytes are on disk, times UTC."""

    table: str
    rows: int
    octets: int
    parts: int
    partitions: int
    oldest: datetime | date | None
    newest: datetime | date | None
    ttl_days: int | None  # None: for ever
    next_drop: datetime | None  # when the retention takes the next part
    next_drop_octets: int  # what it takes on that day
    growth: float  # bytes a day

    @property
    def row_octets(self) -> float:
        """Bytes a row."""
        return self.octets / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The whole; ``days_until_full`` is None where retention holds it, or for want of figures."""

    tables: tuple[TableStatus, ...]
    rows: int
    octets: int
    growth: float
    free: int | None  # bytes on the store's disk; None: it does not tell
    days_until_full: int | None

    def plain(self) -> Mapping[str, object]:
        """As JSON has it."""
        found = asdict(self)
        for row, one in zip(found["tables"], self.tables, strict=True):
            row["row_octets"] = round(one.row_octets, 2)
            for name in ("oldest", "newest", "next_drop"):
                row[name] = row[name].isoformat() if row[name] else None
        return found


def status(store: Store, free: int | None) -> StoreStatus:
    """Of all tables, also empty ones; ``free``: bytes left on its disk, None: not known."""
    parts = store.query(
        "SELECT table, partition, sum(rows) AS n, sum(bytes_on_disk) AS octets, count() AS parts,"
        " min(if(toUInt32(delete_ttl_info_max) = 0, 4294967295, toUInt32(delete_ttl_info_max))) AS drop"
        " FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition"
        " ORDER BY table, partition"
    ).to_pylist()
    by_table: dict[str, list[dict[str, object]]] = {}
    for row in parts:
        by_table.setdefault(str(row["table"]), []).append(row)
    tables = tuple(_table(store, one, by_table.get(one.name, [])) for one in stored_tables(store))
    growth = sum(one.growth for one in tables)
    full = _days_until_full(tables, free) if free is not None else None
    return StoreStatus(tables, sum(t.rows for t in tables), sum(t.octets for t in tables), growth, free, full)


def _table(store: Store, table: StoredTable, parts: Sequence[Mapping[str, object]]) -> TableStatus:
    rows, octets = sum(_int(p["n"]) for p in parts), sum(_int(p["octets"]) for p in parts)
    oldest: datetime | date | None = None
    newest: datetime | date | None = None
    if table.time and rows:
        whole = table.columns[table.time] == "Date"
        shown = "{}" if whole else "toUnixTimestamp({})"
        low, high = (shown.format(f"{which}({table.time})") for which in ("min", "max"))
        # Answered from the partitions' own minima and maxima, without reading rows.
        found = store.query(f"SELECT {low} AS low, {high} AS high FROM {table.name}").to_pylist()[0]
        oldest, newest = (
            found[name] if whole else datetime.fromtimestamp(found[name], UTC) for name in ("low", "high")
        )
    never = 0xFFFFFFFF
    drops = sorted((_int(p["drop"]), _int(p["octets"])) for p in parts if _int(p["drop"]) != never)
    first = drops[0][0] if drops else None
    taken = sum(size for when, size in drops if first is not None and when < first + _DAY_SECONDS)
    return TableStatus(
        table.name, rows, octets, sum(_int(p["parts"]) for p in parts), len(parts), oldest, newest, table.ttl_days,
        datetime.fromtimestamp(first, UTC) if first else None, taken, _growth(table, parts, octets, oldest, newest),
    )  # fmt: skip


def _growth(
    table: StoredTable, parts: Sequence[Mapping[str, object]], octets: int, oldest: datetime | date | None,
    newest: datetime | date | None,
) -> float:  # fmt: skip
    """Bytes a day: the mean of the last whole days where a partition is a day, else over all the table's time."""
    days = [_int(p["octets"]) for p in parts if len(str(p["partition"])) == len("20260131")]
    if table.time and len(days) > 2 and len(days) == len(parts):  # neither the first nor the last is whole
        whole = days[1:-1][-_GROWTH_DAYS:]
        return sum(whole) / len(whole)
    if oldest is None or newest is None:
        return 0.0
    lasted = (_seconds(newest) - _seconds(oldest)) / _DAY_SECONDS
    if not isinstance(oldest, datetime):
        lasted += 1
    # A store of an hour has grown for an hour; a row alone tells nothing of a day.
    return octets / max(lasted, 1 / 24)


def _days_until_full(tables: Sequence[TableStatus], free: int) -> int | None:
    """A table stops growing when it is as old as its retention: then as much goes as comes."""
    for day in range(_HORIZON_DAYS):
        more = 0.0
        for one in tables:
            full_size = max(one.octets, one.growth * one.ttl_days) if one.ttl_days else float("inf")
            more += min(one.octets + one.growth * day, full_size) - one.octets
        if more > free:
            return day
    return None


def _seconds(when: datetime | date) -> float:
    if isinstance(when, datetime):
        return when.timestamp()
    return datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp()


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
