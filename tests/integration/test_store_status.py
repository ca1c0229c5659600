"""What the store says of itself, against what was put in; and days as files, read by other programs."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sinks.embedded import EmbeddedStore
from sinks.export import ExportFormat, ExportRefused, export_day
from sinks.migrations import migrate
from sinks.settings import StoreSettings
from sinks.store_status import TableStatus, status
from tests.known_flows import known_rows, store_flows
from tests.stored import TIMEZONE, flows, label, table

DAY_MS = 86_400_000
NOW_MS = int(datetime.now(UTC).timestamp()) // 86_400 * DAY_MS + DAY_MS // 2  # a noon in UTC


def days_of_flows(store: EmbeddedStore, days: int) -> None:
    """1,000 flows a day, the last today."""
    for ago in range(days):
        end = NOW_MS - ago * DAY_MS
        store.insert("flows", table(flows(1000, ts=end, received=end, bus_offset=ago)), token=f"{ago}")


def of_flows(store: EmbeddedStore, free: int | None = None) -> TableStatus:
    return next(one for one in status(store, free).tables if one.table == "flows")


def test_rows_bytes_age_and_next_drop(empty_store: EmbeddedStore) -> None:
    migrate(empty_store, StoreSettings(raw_days=14), TIMEZONE)
    days_of_flows(empty_store, 5)
    found = of_flows(empty_store)
    assert (found.rows, found.partitions, found.ttl_days) == (5000, 5, 14)
    newest = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert (found.oldest, found.newest) == (newest - timedelta(days=4), newest)
    assert found.next_drop == newest + timedelta(days=10)
    facts = empty_store.query(
        "SELECT partition, sum(bytes_on_disk) AS octets FROM system.parts WHERE active"
        " AND database = currentDatabase() AND table = 'flows' GROUP BY partition ORDER BY partition"
    ).to_pylist()
    sizes = [row["octets"] for row in facts]
    assert found.octets == sum(sizes) and found.row_octets == found.octets / 5000
    assert found.next_drop_octets == sizes[0]
    # The first and the last day are not whole.
    assert found.growth == sum(sizes[1:-1]) / 3
    whole = status(empty_store, None)
    assert whole.octets == sum(one.octets for one in whole.tables) and whole.days_until_full is None
    assert json.loads(json.dumps(whole.plain()))["rows"] == whole.rows


def test_the_disk_is_full_on_the_day_that_growth_and_retention_say(empty_store: EmbeddedStore) -> None:
    migrate(empty_store, StoreSettings(raw_days=14, minute_days=0), TIMEZONE)
    days_of_flows(empty_store, 5)
    found = status(empty_store, 10**15)
    growth = of_flows(empty_store).growth
    others = sum(one.growth for one in found.tables if one.table != "flows")
    assert others == 0 and found.growth == growth and found.days_until_full is None
    # Raw has 5 of its 14 days, so it still grows by 9 and then stays.
    now = of_flows(empty_store).octets
    assert status(empty_store, int(3 * growth) + 1).days_until_full == 4
    assert status(empty_store, int(14 * growth - now) + 1000).days_until_full is None
    empty_store.command("ALTER TABLE flows REMOVE TTL")
    assert of_flows(empty_store).ttl_days is None
    assert status(empty_store, int(100 * growth) + 1).days_until_full == 101


def test_an_empty_store_has_a_status(store: EmbeddedStore) -> None:
    found = of_flows(store, 10**9)
    assert (found.rows, found.octets, found.parts, found.oldest, found.growth) == (0, 0, 0, None, 0.0)


def stored(store: EmbeddedStore) -> list[dict[str, object]]:
    """A day of known flows, some around its midnights; those of the local day in order of time."""
    rows = known_rows()[1200:1700]
    store_flows(store, rows)
    # In Tokyo the 19th of September 2026 begins at 15:00 UTC of the 18th.
    begin = int(datetime(2026, 9, 18, 15, tzinfo=UTC).timestamp() * 1000)
    edges = [begin - 1, begin, begin + DAY_MS - 1, begin + DAY_MS]
    batch = flows(4, ts=edges, octets_est=[1, 2, 4, 8], bus_offset=50)
    label(batch, "extra", ["{}", '{"applicationName":"a \\"b\\", c"}', "{}", "{}"])
    store.insert("flows", table(batch), token="edges")
    wanted = [(row["ts"], row["octets_est"]) for row in rows if begin <= row["ts"] < begin + DAY_MS]
    assert len(wanted) > 20
    return [{"ts": ts, "octets_est": octets} for ts, octets in sorted([*wanted, (edges[1], 2), (edges[2], 4)])]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_local_day_as_a_file(store: EmbeddedStore, tmp_path: Path, form: ExportFormat) -> None:
    wanted = stored(store)
    out = tmp_path / f"day.{form}"
    assert export_day(store, TIMEZONE, "flows", date(2026, 9, 19), form, out) == len(wanted)
    if form == "parquet":
        rows = pq.read_table(out).to_pylist()
        extra = [dict(row["extra"]) for row in rows]
        found = [(int(row["ts"].timestamp() * 1000 + 0.5), row["octets_est"]) for row in rows]
    elif form == "csv":
        with out.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        extra = [json.loads(row["extra"]) for row in rows]
        found = [(milliseconds(row["ts"]), int(row["octets_est"])) for row in rows]
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        extra = [row["extra"] for row in rows]
        found = [(milliseconds(row["ts"]), row["octets_est"]) for row in rows]
    assert sorted(found) == [(row["ts"], row["octets_est"]) for row in wanted]
    assert [one for one in extra if one] == [{"applicationName": 'a "b", c'}]
    addresses = {row["src_addr"] for row in rows}
    assert any(text.startswith("10.0.") for text in addresses) and any("2001:db8:" in text for text in addresses)
    assert list(tmp_path.iterdir()) == [out]


def milliseconds(text: str) -> int:
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000 + 0.5)


def test_an_empty_day_has_its_columns_and_other_tables_have_days_too(store: EmbeddedStore, tmp_path: Path) -> None:
    wanted = stored(store)
    out = tmp_path / "day.parquet"
    assert export_day(store, TIMEZONE, "flows", date(2020, 1, 1), "parquet", out) == 0
    assert {"ts", "octets_est", "sub_id", "bucket"} <= set(pq.read_table(out).column_names)
    export_day(store, TIMEZONE, "subscriber_1d", date(2026, 9, 19), "parquet", out)
    sums = sum(pq.read_table(out).column("octets_est").to_pylist())
    known = sum(int(str(row["octets_est"])) for row in wanted) - 6  # the rows at the edges are in no rollup
    assert 0 < sums <= known
    with pytest.raises(ExportRefused, match="port_1h"):
        export_day(store, TIMEZONE, "rollup_cut", date(2026, 9, 19), "parquet", out)
