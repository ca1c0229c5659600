"""A frozen week is what was frozen, as a whole or not at all, whatever becomes of the flows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dashboards.report.asking import measure, months
from dashboards.report.frozen import freeze, listed, load
from dashboards.report.model import (
    IN,
    OTHER,
    OUT,
    OWN,
    PUBLISHED,
    BucketHours,
    Port,
    Quality,
    ServiceWeek,
    Users,
    Volume,
    Week,
)  # fmt: skip
from dashboards.report.published import import_published, published
from sinks import StoreRefused
from sinks.clickhouse import ClickHouseStore
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.settings import HttpSettings
from tests.report_fixture import write_year
from tests.stored import TIMEZONE

MONDAY = date(2024, 6, 3)
WEEK = Week(MONDAY, TIMEZONE)
MADE = datetime(2024, 6, 12, 3, 4, 5, 678_901, UTC)
COUNTS = st.integers(0, 2**62)
SHARES = st.floats(0, 1)
NAMES = st.text("abc 'é\\\n", max_size=5)


@st.composite
def users(draw: st.DrawFn, direction: int) -> Users:
    """Of one direction."""
    bins = draw(st.dictionaries(st.integers(-20, 120), st.integers(1, 2**40), max_size=5))
    return Users(
        direction=direction, seen=draw(COUNTS), users=draw(COUNTS), zero=draw(COUNTS), octets=draw(COUNTS),
        mean=draw(SHARES), median=draw(SHARES), mode=draw(st.none() | SHARES), top10=draw(st.none() | SHARES),
        top1=draw(st.none() | SHARES), bins=tuple(sorted(bins)), numbers=tuple(bins[each] for each in sorted(bins)),
        packets=draw(COUNTS), sampled_octets=draw(COUNTS),
    )  # fmt: skip


@st.composite
def weeks(draw: st.DrawFn) -> ServiceWeek:
    """In the order in which weeks are measured: that of their keys."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    volumes = draw(st.dictionaries(
        st.tuples(st.sampled_from(["enterprise", "personal", "unknown"]), st.sampled_from(["ipoe", "pppoe"]),
                  st.sampled_from([IN, OUT])),
        st.sampled_from([("netflow", ""), ("accounting", "own flows and flat")]), max_size=3))  # fmt: skip
    buckets = draw(st.sets(st.tuples(st.sampled_from([4, 6]), st.sampled_from(["esp", "tcp/443"])), max_size=3))
    ports = draw(st.sets(st.tuples(st.sampled_from([0, 4, 6]), st.sampled_from([0, 6, OTHER]), st.integers(-3, 65_535)),
                         max_size=4))  # fmt: skip
    told = draw(st.booleans())
    pairs = rng.integers(0, 2**62, (draw(st.integers(0, 4)) if told else 0, 2))
    return ServiceWeek(
        week=WEEK, service="fixed", method=draw(NAMES), label=draw(NAMES), made=MADE,
        school_week=draw(st.booleans()),
        volumes=tuple(
            Volume(*key, source, rng.integers(0, 2**62, 168), profile)  # type: ignore[arg-type]
            for key, (source, profile) in sorted(volumes.items())
        ),
        buckets=tuple(BucketHours("pppoe", *key, rng.integers(0, 2**62, 168)) for key in sorted(buckets)),
        ports=tuple(Port("pppoe", *key, draw(COUNTS), draw(COUNTS), draw(SHARES)) for key in sorted(ports)),
        users={way: draw(users(way)) for way in (IN, OUT)} if told else {},
        pairs=pairs,
        quality=Quality(
            hours=draw(st.integers(0, 169)), missing_hours=tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=3))),
            silent=draw(st.dictionaries(NAMES, st.lists(COUNTS, max_size=2).map(tuple), max_size=2)),
            missing_days=draw(st.dictionaries(NAMES, st.lists(st.dates(), max_size=2).map(tuple), max_size=2)),
            octets=draw(COUNTS), unmatched_octets=draw(COUNTS), unknown_segment_octets=draw(COUNTS),
            sampling=draw(st.floats(1, 1e6)), packets=draw(COUNTS),
            sources=draw(st.dictionaries(NAMES, st.sampled_from(["netflow", "accounting"]), max_size=2)),
        ),
    )  # fmt: skip


def plain(week: ServiceWeek | None) -> dict[str, Any]:
    """Of which equal ones are equal; an array is neither equal nor not."""
    assert week is not None
    return {
        **{name: getattr(week, name) for name in ServiceWeek.__slots__},
        "volumes": [(*(getattr(one, name) for name in ("segment", "access", "direction", "source", "profile")),
                     one.octets.dtype.str, one.octets.tolist()) for one in week.volumes],
        "buckets": [(one.access, one.ip_version, one.bucket, one.octets.dtype.str, one.octets.tolist())
                    for one in week.buckets],
        "pairs": (week.pairs.dtype.str, week.pairs.shape, week.pairs.tolist()),
    }  # fmt: skip


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weeks())
def test_what_is_frozen_is_read_again(store: EmbeddedStore, week: ServiceWeek) -> None:
    for table in ("report_week", "report_week_hour", "report_week_user", "report_week_port"):
        store.command(f"TRUNCATE TABLE {table}")
    freeze(store, week)
    assert plain(load(store, MONDAY, week.service)) == plain(week)


def simple(carried: int = 5, **more: Any) -> ServiceWeek:
    octets = np.full(168, carried, "i8")
    some = {way: Users(way, 0, 3, 0, 168 * carried, 1.5, 2.5, None, 0.5, None, (60,), (3,)) for way in (IN, OUT)}
    week = ServiceWeek(
        week=WEEK, service="fixed", volumes=(Volume("personal", "pppoe", OUT, "netflow", octets),),
        ports=(Port("pppoe", 4, 6, 443, carried, 1, 0.5),), users=some, pairs=np.array([[1, 2], [3, 4]]), made=MADE,
    )  # fmt: skip
    return replace(week, **more)


def count(store: EmbeddedStore, table: str) -> int:
    found: int = store.query(f"SELECT count() AS n FROM {table}")["n"][0].as_py()
    return found


def test_the_same_content_again_changes_nothing(store: EmbeddedStore) -> None:
    freeze(store, simple())
    freeze(store, simple(made=MADE + timedelta(days=1)))
    assert (count(store, "report_week"), count(store, "report_week_hour")) == (1, 168)
    found = load(store, MONDAY, "fixed")
    assert found is not None
    assert found.made == MADE


def test_the_newest_set_is_in_force_also_when_the_clock_was_set_back(store: EmbeddedStore) -> None:
    freeze(store, simple(5))
    freeze(store, simple(6, made=MADE - timedelta(days=400)))
    found = load(store, MONDAY, "fixed")
    assert found is not None
    assert found.volumes[0].octets.tolist() == [6] * 168
    assert found.made is not None
    assert found.made > MADE
    # What was in force once, again.
    freeze(store, simple(5, made=MADE + timedelta(days=1)))
    found = load(store, MONDAY, "fixed")
    assert found is not None
    assert found.volumes[0].octets.tolist() == [5] * 168
    assert len(listed(store)) == 1


class Breaks:
    """A store that takes no more after so many inserts."""

    def __init__(self, store: EmbeddedStore, inserts: int) -> None:
        self._store, self._left = store, inserts
        self.query = store.query

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoreRefused(0, "killed")
        self._store.insert(table, rows, token=token)


@pytest.mark.parametrize("inserts", range(4))
def test_a_freezing_cut_short_leaves_the_older_set_in_force(store: EmbeddedStore, inserts: int) -> None:
    freeze(store, simple(5))
    before = plain(load(store, MONDAY, "fixed"))
    in_views = views(store)
    with pytest.raises(StoreRefused):
        freeze(Breaks(store, inserts), simple(6, made=MADE + timedelta(days=1)))  # type: ignore[arg-type]
    assert plain(load(store, MONDAY, "fixed")) == before
    assert views(store) == in_views
    freeze(store, simple(6, made=MADE + timedelta(days=1)))
    found = load(store, MONDAY, "fixed")
    assert found is not None
    assert found.volumes[0].octets.tolist() == [6] * 168
    assert found.pairs.tolist() == [[1, 2], [3, 4]]
    assert len(found.ports) == 1


def views(store: EmbeddedStore) -> list[list[dict[str, Any]]]:
    names = ("v_report_week", "v_report_week_hour", "v_report_week_user", "v_report_week_port")
    return [store.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() for name in names]


def test_views_tell_the_set_in_force_in_words(store: EmbeddedStore) -> None:
    freeze(store, simple(5))
    freeze(store, simple(6, made=MADE + timedelta(days=1)))
    headers, hours, people, ports = views(store)
    assert [(row["monday"], row["label"], row["method"], row["hours"]) for row in headers] == [
        (MONDAY, "2024-06-03", "flowtide-1", 168)
    ]
    assert {(row["direction"], row["kind"], row["octets"]) for row in hours} == {("out", "volume", 6)}
    assert len(hours) == 168
    assert [(row["direction"], row["sample"]) for row in people] == [("in", [1, 3]), ("out", [2, 4])]
    assert [(row["protocol"], row["port"], row["octets"]) for row in ports] == [("tcp", "tcp/443", 6)]


def test_weeks_services_and_origins_are_apart(store: EmbeddedStore) -> None:
    other = Week(MONDAY - timedelta(days=7), "UTC")
    apart: tuple[dict[str, Any], ...] = (
        {}, {"service": "mobile"}, {"origin": PUBLISHED, "label": "2024"}, {"week": other},
    )  # fmt: skip
    for number, more in enumerate(apart):
        freeze(store, simple(number + 1, **more))
    assert [(one.monday, one.service, one.origin, one.label, one.zone) for one in listed(store)] == [
        (other.monday, "fixed", OWN, "", "UTC"), (MONDAY, "fixed", PUBLISHED, "2024", TIMEZONE),
        (MONDAY, "fixed", OWN, "", TIMEZONE), (MONDAY, "mobile", OWN, "", TIMEZONE),
    ]  # fmt: skip
    found = [load(store, MONDAY, "fixed", PUBLISHED), load(store, other.monday, "fixed"), load(store, MONDAY, "mobile")]
    assert [int(one.volumes[0].octets[0]) for one in found if one] == [3, 4, 2]
    assert load(store, MONDAY, "mobile", PUBLISHED) is None


def test_the_published_years_stand_beside_own_weeks(store: EmbeddedStore) -> None:
    freeze(store, simple())
    import_published(store)
    before = count(store, "report_week_port")
    import_published(store)
    assert (count(store, "report_week"), count(store, "report_week_port")) == (29, before)
    assert {(one.service, one.label) for one in listed(store) if one.origin == PUBLISHED} == {
        (week.service, week.label) for week in published(TIMEZONE)
    }
    for week in published(TIMEZONE)[::5]:
        found = load(store, week.week.monday, week.service, PUBLISHED)
        assert found is not None
        assert plain(replace(found, made=None)) == plain(week)
    own = load(store, MONDAY, "fixed")
    assert own is not None
    assert own.method == "flowtide-1"


@pytest.fixture
def remote(engine: EmbeddedStore, store: EmbeddedStore) -> Iterator[ClickHouseStore]:
    """The same database, by HTTP."""
    token = "admin's, long enough"
    port = HttpPort(engine, HttpSettings(listen="127.0.0.1:0", admin_token=SecretStr(token)), dict, TIMEZONE)
    host, number = port.start()
    client = ClickHouseStore(f"http://{host}:{number}", user="admin", password=token, database=store.database)
    yield client
    client.close()
    port.close()


def test_a_measured_week_is_the_same_by_http_and_outlives_its_flows_once_frozen(
    remote: ClickHouseStore, store: EmbeddedStore
) -> None:
    write_year(store, 2024, 200)
    measured = measure(store, "fixed", WEEK)
    assert plain(measure(remote, "fixed", WEEK)) == plain(measured)
    assert months(remote, MONDAY, MONDAY, ("fixed", "mobile")) == months(store, MONDAY, MONDAY, ("fixed", "mobile"))
    freeze(store, replace(measured, made=MADE))
    before = plain(load(store, MONDAY, "fixed"))
    assert before["users"]
    assert before["ports"]
    sources = ("subscriber_1d", "port_1h", "port_1d", "bucket_1h", "accounting_1d", "accounting_import",
               "subscriber_seen_1d")  # fmt: skip
    for table in sources:
        store.command(f"TRUNCATE TABLE {table} SYNC")
    assert not measure(store, "fixed", WEEK).users
    assert plain(load(store, MONDAY, "fixed")) == before


def test_by_http_it_is_the_same(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    week = simple(7, label="über 'so'", quality=Quality(missing_hours=(WEEK.since,), sampling=1_000.5))
    freeze(remote, week)
    assert plain(load(remote, MONDAY, "fixed")) == plain(load(store, MONDAY, "fixed")) == plain(week)
    assert listed(remote) == listed(store)
    freeze(store, week)
    assert count(store, "report_week") == 1
