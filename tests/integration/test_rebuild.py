"""A rebuilt day is what raw says, whatever the rollup held before, while ranges go on and sinks die."""

import random
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sinks import StoreUnavailable
from sinks.delivery import SinkPosition
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.rebuild import RebuildRefused, midnight, rebuild
from sinks.rollup_ranges import ALL, RollupsHeld, begin_at, record, run_range
from sinks.rollup_tables import NAMES
from sinks.rollups import Rollups, Span
from sinks.settings import SinkSettings, StoreSettings
from tests.integration.test_rollup_laws import ADDRESSES, LABELS, compare, insert
from tests.rollup_reference import Row
from tests.stored import TIMEZONE, flows, table

DAY = date(2026, 9, 21)
SOME = ("bucket_1m", "port_1d", "subscriber_1d", "interface_1m")
RANGES = ((0, 4), (4, 5), (5, 6))
MIDNIGHT = int(datetime(2026, 9, 20, 15, tzinfo=UTC).timestamp() * 1000)  # of that day in Tokyo


@pytest.fixture
def store(fresh_store: EmbeddedStore) -> EmbeddedStore:
    """One of its own."""
    return fresh_store


def some_flows(number: int = 120, seed: int = 1) -> list[dict[str, Any]]:
    """Over three days around DAY, some of them hours long and over midnight."""
    chance = random.Random(seed)
    rows = []
    for at in range(number):
        row: dict[str, Any] = {name: chance.choice(values) for name, values in LABELS.items()}
        row |= {"octets": at + 1, "packets": 1, "octets_est": at * 1000, "packets_est": 10, "ip_version": 4,
                "direction": chance.randint(0, 2), "copy": chance.choice([0, 0, 1, 2]), "in_if": chance.randint(0, 2),
                "out_if": 1, "src_as": 1, "dst_as": 2, "flags": chance.choice([0, 0, 0, 8, 16, 512]), "proto": 17,
                "lower_port": chance.choice([53, 443]), "sub_id": chance.randint(0, 9), "sampling": 1000,
                "src_addr": chance.choice(ADDRESSES), "dst_addr": ADDRESSES[0], "bus_offset": at * 6 // number,
                "ts": MIDNIGHT + chance.choice([-20, -1, 0, 13, 23, 24, 30]) * 3_600_000 + chance.randint(0, 3_000_000),
                "lasted": 86_400_000 if at == 7 else chance.choice([0, 100_000, 900_000, 5_000_000])}  # fmt: skip
        rows.append(row)
    return rows


def rolled(store: EmbeddedStore, until: int = 6) -> list[Row]:
    rows = insert(store, some_flows())
    begin_at(store, 0, 0)
    for a, b in RANGES:
        if b <= until:
            record(store, ALL, "stream", 0, 0, a, b, token=f"stream/0/{a}-{b}")
            run_range(store, TIMEZONE, "stream", 0, 0, a, b)
    return rows


def test_days_made_again_are_what_raw_says(store: EmbeddedStore) -> None:
    rows = rolled(store)
    for name in NAMES:
        store.command(f"TRUNCATE TABLE {name}")
    done = rebuild(store, TIMEZONE, DAY - timedelta(days=2), DAY + timedelta(days=2))
    compare(store, rows, TIMEZONE)
    assert {one.table for one in done} == set(NAMES)
    assert all(one.before == 0 for one in done) and sum(one.after for one in done) > 400
    left = store.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%rebuild%'")
    assert left.num_rows == 0


def test_a_month_keeps_its_other_days_and_what_comes_late_still_adds(store: EmbeddedStore) -> None:
    rows = rolled(store, until=4)
    rebuild(store, TIMEZONE, DAY, tables=SOME)
    for a, b in RANGES[1:]:
        run_range(store, TIMEZONE, "stream", 0, 0, a, b)
    compare(store, rows, TIMEZONE)


@pytest.mark.soak
def test_a_range_that_ran_before_adds_nothing_after(store: EmbeddedStore) -> None:
    rows = rolled(store)
    rebuild(store, TIMEZONE, DAY, tables=SOME)
    for a, b in RANGES:  # a sink that did not know that it was done, and one that was thought dead
        run_range(store, TIMEZONE, "stream", 0, 0, a, b)
    compare(store, rows, TIMEZONE)


def test_a_day_without_rows_is_dropped(store: EmbeddedStore) -> None:
    rolled(store)
    moment = MIDNIGHT // 1000 - 40 * 86_400
    store.command(f"INSERT INTO as_5m (time, src_as, flows) VALUES (toDateTime({moment}), 5, 0)")
    gone = DAY - timedelta(days=40)
    (done,) = rebuild(store, TIMEZONE, gone, tables=["as_5m"])
    assert (done.before, done.after, done.partition) == (0, 0, int(gone.strftime("%Y%m%d")))
    assert store.query("SELECT count() AS n FROM as_5m WHERE src_as = 5").to_pylist() == [{"n": 0}]


def test_a_recorded_range_of_a_dead_sink_is_finished(store: EmbeddedStore) -> None:
    rows = rolled(store, until=5)
    record(store, ALL, "stream", 0, 0, 5, 6, token="stream/0/5-6")
    rebuild(store, TIMEZONE, DAY, tables=SOME, wait_seconds=0)
    compare(store, rows, TIMEZONE)
    # The sink comes back, with the range in its position.
    sink = Rollups(store, SinkSettings(), TIMEZONE)
    sink.begin(0, SinkPosition(rolled=5, planned=(5, 6)), 6)
    planned = sink.due(0, 0.0)
    assert planned == (5, 6)
    sink.run(0, planned, "stream")
    compare(store, rows, TIMEZONE)


def test_new_ranges_wait_for_a_hold_and_go_on_after_it(store: EmbeddedStore) -> None:
    rolled(store, until=5)
    store.command("INSERT INTO rollup_hold VALUES ('x', 'a rebuild', now64(3) + 60, now64(6))")
    sink = Rollups(store, SinkSettings(), TIMEZONE)
    sink.begin(0, SinkPosition(rolled=5), 6)
    planned = sink.due(0, 0.0)
    assert planned == (5, 6)
    for _ in range(2):
        with pytest.raises(RollupsHeld, match="go on when it is done") as held:
            sink.run(0, planned, "stream")
        assert isinstance(held.value, StoreUnavailable) and sink.due(0, 0.0) == planned
    flows_of = "SELECT sum(flows) AS n FROM bucket_1h"
    before = store.query(flows_of).to_pylist()
    store.command("INSERT INTO rollup_hold VALUES ('x', 'done', now64(3), now64(6))")
    sink.run(0, planned, "stream")
    assert store.query(flows_of).to_pylist() != before


@pytest.mark.soak
def test_a_rebuild_while_a_sink_works(store: EmbeddedStore) -> None:
    rows = insert(store, some_flows())
    sink = Rollups(store, SinkSettings(rollup_rows=1), TIMEZONE)
    sink.begin(0, SinkPosition(), 0)
    failures: list[Exception] = []
    stop = threading.Event()

    def work() -> None:
        try:
            for offset in range(6):
                sink.stored(0, Span(offset, 50, MIDNIGHT, MIDNIGHT))
            for moment in range(10_000):
                planned = sink.due(0, float(moment * 100), finish=True)
                if planned is None:
                    return
                try:
                    sink.run(0, (planned[0], planned[1]), "stream")
                except StoreUnavailable:
                    stop.wait(0.05)
        except Exception as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    for name in ("bucket_1m", "port_1d", "interface_1m"):
        rebuild(store, TIMEZONE, DAY, tables=[name], wait_seconds=1)
    worker.join(60)
    assert not worker.is_alive() and failures == []
    compare(store, rows, TIMEZONE)


@pytest.mark.soak
def test_what_raw_no_longer_has_is_not_thrown_away(store: EmbeddedStore) -> None:
    rolled(store)
    store.command(f"ALTER TABLE flows DELETE WHERE ts >= fromUnixTimestamp64Milli(toInt64({MIDNIGHT}))"
                  " AND bus_offset < 3 SETTINGS mutations_sync = 2")  # fmt: skip
    before = store.query("SELECT sum(flows) AS n, sum(octets) AS o FROM port_1h").to_pylist()
    with pytest.raises(RebuildRefused, match="part of raw is gone"):
        rebuild(store, TIMEZONE, DAY, tables=["port_1h"])
    assert store.query("SELECT sum(flows) AS n, sum(octets) AS o FROM port_1h").to_pylist() == before
    (done,) = rebuild(store, TIMEZONE, DAY, tables=["port_1h"], force=True)
    assert done.after < done.before
    # Refused or not, the rollups go on.
    run_range(store, TIMEZONE, "stream", 0, 0, 6, 7)


def test_days_beyond_retention_and_other_nonsense_are_refused(store: EmbeddedStore) -> None:
    begin_at(store, 0, 0)
    migrate(store, StoreSettings(raw_days=14, minute_days=0), TIMEZONE)
    today = datetime.now(UTC).astimezone(ZoneInfo(TIMEZONE)).date()
    with pytest.raises(RebuildRefused, match="raw lives 14 days"):
        rebuild(store, TIMEZONE, today - timedelta(days=14))
    rebuild(store, TIMEZONE, today - timedelta(days=13), tables=["as_5m"])
    with pytest.raises(RebuildRefused, match="'flows' is no rollup"):
        rebuild(store, TIMEZONE, today, tables=["flows"])
    with pytest.raises(RebuildRefused, match="the end must be after the start"):
        rebuild(store, TIMEZONE, today, today)
    now = int(datetime.now(UTC).timestamp() * 1000)
    store.insert("flows", table(flows(1, now, bus_partition=3)), token="p")
    with pytest.raises(RebuildRefused, match="no sink of this version has begun partition 3"):
        rebuild(store, TIMEZONE, today, tables=["as_5m"])


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Kolkata", "Europe/Paris", "America/Sao_Paulo", "Africa/Cairo"])
def test_midnight_is_the_first_moment_of_a_day(zone: str) -> None:
    days = np.arange("2010-01-01", "2026-12-31", dtype="M8[D]").tolist()
    for day in [*days[::31], date(2018, 11, 4), date(2026, 3, 29), date(2026, 10, 25), date(2026, 4, 24)]:
        moment = midnight(day, ZoneInfo(zone)) // 1000
        first, before = (datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)) for at in (moment, moment - 1))
        assert first.date() == day and before.date() < day
