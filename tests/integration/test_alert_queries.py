"""The alert rules' queries: their shape with data, with nothing and with one bucket; and what R0, R6, R9, R10 say."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.alerts.rules import BY_UID, RULES
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.alert_reference import Row
from tests.alert_stories import NOW, ZONE, Story, answer, by_label, put, put_exporter, put_minutes, set_to, told
from tests.integration.conftest import Made
from tests.stored import FOR_EVER

QUERIES = [
    pytest.param(rule.uid, ref, id=f"{rule.uid}-{ref}")
    for rule, ref in {rule.sql(ref): (rule, ref) for rule in RULES for ref in ("A", *rule.numbers)}.values()
]
"""Each once, where several rules ask the same."""


@pytest.fixture
def zoned(made: Made) -> Iterator[EmbeddedStore]:
    """A store of Berlin's time."""
    lent = made.lend(ZONE)
    yield lent
    made.take_back(lent, ZONE)


# Shapes.


def shaped(rows: list[dict[str, Any]], uid: str) -> None:
    for row in rows:
        labels = [name for name, value in row.items() if isinstance(value, str)]
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert tuple(labels) == BY_UID[uid].labels and len(numbers) == 1, row
        assert isinstance(numbers[0], float) and math.isfinite(numbers[0]), row
    keys = [tuple(row[name] for name in BY_UID[uid].labels) for row in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("uid", [rule.uid for rule in RULES])
def test_of_an_empty_store_a_rule_says_nothing(store: EmbeddedStore, uid: str) -> None:
    assert answer(store, uid, NOW) == []


@pytest.fixture(scope="module")
def full(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """Five weeks in which every rule has something to judge."""
    store = engine.in_database("alerts_full")
    migrate(store, FOR_EVER, ZONE)
    told(store, Story(hours=24, packets=20_000))
    for name in "ab":
        put_exporter(store, name, (NOW // 60 - 8 * 1440) * 60, NOW // 60 * 60, unmatched_flows=1)
        for counter, value in (("sets", 200), ("records_flow", 1000), ("sequence_missed", 1)):
            store.command(
                "INSERT INTO exporter_health_1m (time, exporter, counter, value) SELECT toDateTime("
                f"{NOW // 60 * 60} - 60 * number), '{name}', '{counter}', {value} FROM numbers(30)"
            )
    yield store
    engine.command("DROP DATABASE alerts_full SYNC")


@pytest.mark.parametrize(("uid", "ref"), QUERIES)
def test_of_data_a_rule_says_labels_and_one_number(full: EmbeddedStore, uid: str, ref: str) -> None:
    found = answer(full, uid, NOW, ref)
    shaped(found, uid)
    assert found
    assert ref != "A" or {row["value"] for row in found} == {0.0}
    # Every label set of the judgement has its numbers.
    if ref != "A":
        assert by_label(full, uid).keys() <= by_label(full, uid, NOW, ref).keys()


@pytest.mark.parametrize(("uid", "ref"), QUERIES)
def test_of_an_empty_window_a_rule_says_nothing(full: EmbeddedStore, uid: str, ref: str) -> None:
    assert answer(full, uid, NOW + 60 * 86_400, ref) == []


@pytest.fixture(scope="module")
def one(engine: EmbeddedStore) -> Iterator[EmbeddedStore]:
    """One bucket of one exporter."""
    store = engine.in_database("alerts_one")
    migrate(store, FOR_EVER, ZONE)
    begin = NOW // 300 * 300 - 300
    put(store, [Row(begin, "a", "fixed", bucket, 100, 9000, 9000) for bucket in ("udp/443", "tcp/443")])
    put_minutes(store, "fixed", begin, begin + 300)
    put_exporter(store, "a", begin, begin + 300)
    yield store
    engine.command("DROP DATABASE alerts_one SYNC")


@pytest.mark.parametrize(("uid", "ref"), QUERIES)
def test_of_one_bucket_a_rule_says_nothing_or_that_all_is_well(one: EmbeddedStore, uid: str, ref: str) -> None:
    found = answer(one, uid, NOW, ref)
    shaped(found, uid)
    assert not [row for row in found if ref == "A" and row["value"]]
    if uid in ("flowtide-r1", "flowtide-r2", "flowtide-r3", "flowtide-r4", "flowtide-r5", "flowtide-r7"):
        assert found == []


# R0, R6, R9, R10.

CLOSING = NOW // 300 * 300
"""End of the newest closed bucket."""


@pytest.mark.parametrize(("age", "warn", "page"), [(180, 0, 0), (181, 1, 0), (300, 1, 0), (301, 1, 1)])
def test_the_age_of_the_newest_minute_warns_and_pages(zoned: EmbeddedStore, age: int, warn: int, page: int) -> None:
    # Ten minutes of age: the page asks for five, and that they last for five more.
    assert (BY_UID["flowtide-r0-page"].wait, BY_UID["flowtide-r0-warn"].wait) == ("5m", "0s")
    newest = NOW // 60 * 60 - 3600  # begins here, is over a minute later
    put_minutes(zoned, "fixed", newest - 7200, newest + 60)
    now = newest + 60 + age
    assert by_label(zoned, "flowtide-r0-warn", now) == {"fixed": warn}
    assert by_label(zoned, "flowtide-r0-page", now) == {"fixed": page}
    assert by_label(zoned, "flowtide-r0-page", now, "N") == {"fixed": age}


def test_each_service_has_its_own_age_and_one_that_pauses_by_itself_is_late_later(zoned: EmbeddedStore) -> None:
    begin = NOW // 60 * 60 - 80_000
    put_minutes(zoned, "fixed", begin, begin + 70_000)
    for minute in range(begin, begin + 70_000, 1200):  # every twenty minutes one
        put_minutes(zoned, "rare", minute, minute + 60)
    newest = begin + 69_600
    late = {"fixed": 1.0, "rare": 0.0}
    assert by_label(zoned, "flowtide-r0-page", newest + 60 + 3600) == late
    assert by_label(zoned, "flowtide-r0-page", newest + 60 + 3601) == {"fixed": 1.0, "rare": 1.0}


def test_an_exporter_whose_clock_is_ahead_does_not_hide_that_nothing_arrives(zoned: EmbeddedStore) -> None:
    minute = NOW // 60 * 60
    put_minutes(zoned, "fixed", minute - 7200, minute)
    assert by_label(zoned, "flowtide-r0-page") == {"fixed": 0.0}
    zoned.command(f"INSERT INTO audit_1m (time, stage, exporter, rows) VALUES ({minute - 900}, 'inserted', 'a', 5)")
    assert by_label(zoned, "flowtide-r0-page") == {"fixed": 1.0}
    assert by_label(zoned, "flowtide-r0-page", NOW, "N") == {"fixed": 900 + NOW % 60 - 60}


def test_a_flow_of_the_future_is_not_new(zoned: EmbeddedStore) -> None:
    put_minutes(zoned, "fixed", NOW // 60 * 60 - 7200, NOW // 60 * 60 - 3600)
    put_minutes(zoned, "fixed", NOW // 60 * 60 + 600, NOW // 60 * 60 + 1200)
    assert by_label(zoned, "flowtide-r0-page") == {"fixed": 1.0}


def live(store: EmbeddedStore) -> None:
    put_minutes(store, "fixed", CLOSING - 600, CLOSING + 120)


@pytest.mark.parametrize(("missing", "fires"), [(0, 0), (240, 0), (300, 1), (3600, 1)])
def test_an_exporter_without_a_record_in_a_closed_bucket_is_silent(
    zoned: EmbeddedStore, missing: int, fires: int
) -> None:
    live(zoned)
    put_exporter(zoned, "a", CLOSING - 85_800, CLOSING + 120)
    put_exporter(zoned, "b", CLOSING - 85_800, CLOSING - missing)
    assert by_label(zoned, "flowtide-r6-silent") == {"a": 0.0, "b": fires}
    assert by_label(zoned, "flowtide-r6-silent", NOW, "N")["b"] == missing // 300 * 5


def test_all_exporters_silent_is_the_matter_of_r0(zoned: EmbeddedStore) -> None:
    """After an outage of ours: flows are new again, and the closed bucket has none of anybody."""
    live(zoned)
    for name in "ab":
        put_exporter(zoned, name, CLOSING - 85_800, CLOSING - 600)
        put_exporter(zoned, name, CLOSING, CLOSING + 60)
    assert answer(zoned, "flowtide-r6-silent") == []


def test_in_the_first_bucket_after_an_outage_nobody_is_called_silent(zoned: EmbeddedStore) -> None:
    """It holds one minute, in which one of two had sent already."""
    live(zoned)
    put_exporter(zoned, "a", CLOSING - 85_800, CLOSING - 900)
    put_exporter(zoned, "b", CLOSING - 85_800, CLOSING - 900)
    put_exporter(zoned, "a", CLOSING - 60, CLOSING + 60)
    assert answer(zoned, "flowtide-r6-silent") == []
    put_exporter(zoned, "a", CLOSING - 300, CLOSING - 60)
    assert by_label(zoned, "flowtide-r6-silent") == {"a": 0.0, "b": 1.0}


def test_without_new_flows_no_exporter_is_judged(zoned: EmbeddedStore) -> None:
    put_exporter(zoned, "a", CLOSING - 85_800, CLOSING)
    put_exporter(zoned, "b", CLOSING - 85_800, CLOSING - 900)
    for uid in ("flowtide-r6-silent", "flowtide-r6-low", "flowtide-r9-warn", "flowtide-r10"):
        assert answer(zoned, uid) == []


def test_an_exporter_of_few_records_or_many_pauses_is_not_called_silent(zoned: EmbeddedStore) -> None:
    live(zoned)
    put_exporter(zoned, "a", CLOSING - 85_800, CLOSING)
    put_exporter(zoned, "few", CLOSING - 60_000, CLOSING - 900, flows=0)
    for begin in range(CLOSING - 60_000, CLOSING - 900, 300):
        put_exporter(zoned, "few", begin, begin + 60, flows=4)
    for begin in range(CLOSING - 9000, CLOSING - 600, 1800):
        put_exporter(zoned, "pauses", begin, begin + 900)
    assert by_label(zoned, "flowtide-r6-silent") == {"a": 0.0}


@pytest.mark.parametrize(("flows", "fires"), [(100, 0), (20, 0), (19, 1)])
def test_an_exporter_that_sends_under_a_fifth_of_last_week_is_told(
    zoned: EmbeddedStore, flows: int, fires: int
) -> None:
    live(zoned)
    for name, now in (("a", 100), ("b", flows)):
        put_exporter(zoned, name, CLOSING - 604_800 - 900, CLOSING - 604_800)
        put_exporter(zoned, name, CLOSING - 900, CLOSING, flows=now)
    assert by_label(zoned, "flowtide-r6-low") == {"a": 0.0, "b": fires}
    assert by_label(zoned, "flowtide-r6-low", NOW, "Q")["b"] == flows / 100
    set_to(zoned, "alerts:holidays", "2026-09-16")
    assert answer(zoned, "flowtide-r6-low") == []


@pytest.mark.parametrize(
    ("columns", "kind", "share"),
    [({"unknown_rate_flows": 4}, "sampling", 4 / 104), ({"unmatched_flows": 20}, "subscriber", None),
     ({"unknown_rate_flows": 10}, "sampling", 10 / 110)],
)  # fmt: skip
def test_what_is_not_used_in_two_buckets_is_told_by_exporter_and_kind(
    zoned: EmbeddedStore, columns: dict[str, int], kind: str, share: float | None
) -> None:
    live(zoned)
    put_exporter(zoned, "a", CLOSING - 8 * 86_400, CLOSING - 600, unmatched_flows=2)
    put_exporter(zoned, "a", CLOSING - 600, CLOSING, **{"unmatched_flows": 2, **columns})
    if share is None:  # 2 % is usual, and four standard errors of 500 records are no more than that
        share = 0.2 - (0.02 + 4 * math.sqrt(0.02 * 0.98 / 500))
    found = by_label(zoned, "flowtide-r9-warn")
    assert {key for key, value in found.items() if value} == {("a", kind)} and len(found) == 2
    assert by_label(zoned, "flowtide-r9-page")["a", kind] == (share > 0.05)
    assert by_label(zoned, "flowtide-r9-warn", NOW, "Q")["a", kind] == pytest.approx(share)


def test_one_bucket_that_was_not_decoded_is_not_told(zoned: EmbeddedStore) -> None:
    live(zoned)
    put_exporter(zoned, "a", CLOSING - 600, CLOSING - 300)
    put_exporter(zoned, "a", CLOSING - 300, CLOSING, unknown_rate_flows=50)
    assert by_label(zoned, "flowtide-r9-warn")["a", "sampling"] == 0


@pytest.mark.parametrize(
    ("counters", "kind", "share"),
    [({"sets": 100, "held_dropped_expired": 5, "sets_dropped_held_full": 2}, "template", 0.07),
     ({"records_flow": 950, "records_options": 10, "sequence_missed": 40}, "sequence", 0.04)],
)  # fmt: skip
def test_sets_without_template_and_missed_messages_are_shares_of_all(
    zoned: EmbeddedStore, counters: dict[str, int], kind: str, share: float
) -> None:
    live(zoned)
    for counter, value in counters.items():
        zoned.command(
            "INSERT INTO exporter_health_1m (time, exporter, counter, value) SELECT toDateTime("
            f"{CLOSING - 60} - 60 * number), 'a', '{counter}', {value} FROM numbers(10)"
        )
    assert by_label(zoned, "flowtide-r9-warn") == {("a", kind): 1.0}
    assert by_label(zoned, "flowtide-r9-page") == {("a", kind): float(share > 0.05)}
    assert by_label(zoned, "flowtide-r9-warn", NOW, "Q")["a", kind] == pytest.approx(share)


@pytest.mark.parametrize(
    ("before", "after", "fires"),
    [((1000, 1000), (1000, 1000), 0), ((1000, 1000), (2000, 2000), 1), ((1000, 4000), (4000, 4000), 0),
     ((1000, 4000), (2000, 2000), 1), ((1000, 1000), (0, 1000), 0), (None, (1000, 1000), 0), (None, (100, 1000), 1)],
)  # fmt: skip
def test_an_interval_that_was_not_there_the_day_before_is_told_for_a_day(
    zoned: EmbeddedStore, before: tuple[int, int] | None, after: tuple[int, int], fires: int
) -> None:
    live(zoned)
    if before:
        put_exporter(zoned, "a", CLOSING - 172_800, CLOSING - 3600, min_sampling=before[0], max_sampling=before[1])
    put_exporter(zoned, "a", CLOSING - 3600, CLOSING, min_sampling=after[0], max_sampling=after[1])
    assert by_label(zoned, "flowtide-r10") == {"a": fires}
    put_exporter(zoned, "a", CLOSING, CLOSING + 86_400, min_sampling=after[0], max_sampling=after[1])
    for later, wanted in ((82_800, fires), (86_400, 0)):
        put_minutes(zoned, "fixed", CLOSING + later - 600, CLOSING + later + 120)
        assert by_label(zoned, "flowtide-r10", NOW + later) == {"a": wanted}
