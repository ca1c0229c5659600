"""A local day of a table as a file: Parquet, CSV or JSON lines, read and written piece by piece.

Values as people and other programs take them: addresses as text with IPv4 as IPv4, times in UTC.  In CSV the map
column ``extra`` is a JSON object; in Parquet it is a map, in JSON lines an object.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sinks import Store
from sinks.rebuild import midnight
from sinks.slices import StoredTable, between, pieces, stored_tables

ExportFormat = Literal["parquet", "csv", "jsonl"]
_EPOCH = date(1970, 1, 1)

Write = Callable[[pa.Table], None]


class ExportRefused(Exception):  # noqa: N818
    """The table cannot be exported by day; says which can."""


def export_day(
    store: Store, timezone: str, table: str, day: date, form: ExportFormat, out: Path, *, say: Write | None = None
) -> int:
    """Write the rows of a local day of this IANA zone; the number of rows.

    The file is written beside its place and renamed when it is whole.  ExportRefused; OSError.
    """
    known = {one.name: one for one in stored_tables(store)}
    if table not in known or known[table].time is None:
        by_day = ", ".join(name for name, one in known.items() if one.time)
        raise ExportRefused(f"{table!r} is no table with days: there are {by_day}")
    one = known[table]
    columns = ", ".join(_as_text(name, kind, form) for name, kind in one.columns.items())
    part, rows = out.with_name(out.name + ".part"), 0
    try:
        with _writer(part, form) as write:
            # Without a row the file still has its columns.
            for where in ("0", *pieces(store, table, one, of_day(one, day, timezone))):
                found = store.query(f"SELECT {columns} FROM {table} AS t WHERE {where}")
                write(found)
                rows += found.num_rows
                if say:
                    say(found)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return rows


def of_day(table: StoredTable, day: date, timezone: str, until: date | None = None) -> str:
    """The WHERE of the local days [day, until), one by default."""
    until = until or day + timedelta(days=1)
    if table.columns[table.time or ""] == "Date":
        return between(table, (day - _EPOCH).days, (until - _EPOCH).days)
    zone = ZoneInfo(timezone)
    return between(table, midnight(day, zone) // 1000, midnight(until, zone) // 1000)


def _as_text(name: str, kind: str, form: ExportFormat) -> str:
    """The column as the file shows it."""
    if kind == "IPv6":
        return f"replaceRegexpOne(IPv6NumToString(t.{name}), '^::ffff:([0-9.]+)$', '\\\\1') AS {name}"
    if kind.startswith("DateTime") and not kind.startswith("DateTime64"):
        return f"toDateTime64(t.{name}, 0, 'UTC') AS {name}"
    if kind.startswith("Map(") and form == "csv":
        return f"toJSONString(t.{name}) AS {name}"
    return f"t.{name} AS {name}"


@contextmanager
def _writer(path: Path, form: ExportFormat) -> Iterator[Write]:
    if form == "jsonl":
        with path.open("w", encoding="utf-8") as lines:
            yield lambda rows: lines.writelines(json.dumps(row, default=_plain) + "\n" for row in rows.to_pylist(
                maps_as_pydicts="strict"))  # fmt: skip
        return
    opened: list[pq.ParquetWriter | pa_csv.CSVWriter] = []

    def write(rows: pa.Table) -> None:
        if not opened:
            parquet = form == "parquet"
            opened.append(
                pq.ParquetWriter(path, rows.schema, compression="zstd")
                if parquet
                else pa_csv.CSVWriter(path, rows.schema)
            )
        opened[0].write_table(rows)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)
