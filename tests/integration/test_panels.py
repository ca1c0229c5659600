"""Each panel and variable of the dashboards: what it says of known flows, three ranges, two choices, and of none."""

import math
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dashboards.library import ALL, bound, dashboards
from dashboards.macros import Window, expand, interval_ms, interval_of
from sinks.embedded import EmbeddedStore
from sinks.rollup_tables import of_offsets, statement
from tests.known_flows import EXPORTERS, SINCE, UNTIL, WEEK, ms, store_observations
from tests.panel_answers import ANSWERS
from tests.panel_asked import Asked
from tests.query_answers import ROWS, sums
from tests.stored import flows, table

POINTS = 600
RANGES = {
    "an hour": (SINCE, UNTIL),
    "a week": (SINCE - WEEK, UNTIL),
    "uneven ends": (SINCE + timedelta(minutes=17, seconds=31), UNTIL - timedelta(minutes=12, seconds=7)),
}
EMPTY = (SINCE - 20 * WEEK, SINCE - 20 * WEEK + timedelta(hours=1))
CHOICES: dict[str, dict[str, list[str]]] = {
    "all": {},
    "some": {"service": ["fixed"], "exporter": [EXPORTERS[0], EXPORTERS[2]], "ip_version": ["6"], "direction": ["1"],
             "top": ["10"], "port": ["udp/443"], "segment": ["enterprise"], "access": ["pppoe", "ipoe"],
             "weeks": ["2026-09-14/own", "2024-06-03/own", "2023-05-29/own", "2024-06-03/iij", "2020-06-01/iij"]},
}  # fmt: skip
TARGETS = [
    pytest.param(uid, panel, target, id=f"{uid}-{panel['id']}{target['refId']}")
    for uid, dashboard in dashboards().items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]
# Frozen weeks are shown whatever the range; only the months of Years are of it.
OF_THE_RANGE = [one for one in TARGETS if not str(one.id).startswith("years") or one.id in ("years-9A", "years-10A")]
# The report's dashboards are of whole days, or of no time at all: the other two ranges have none.
SHOWN = [
    pytest.param(*one.values, span, id=f"{one.id}-{span}")
    for one in TARGETS
    for span in RANGES
    if one.values[0] not in ("subscribers", "years") or span == "a week"
]
QUERIED = [
    pytest.param(dashboard, variable, id=f"{uid}-{variable['name']}")
    for uid, dashboard in dashboards().items()
    for variable in dashboard["templating"]["list"]
    if variable["type"] == "query"
]


def chosen(dashboard: Mapping[str, Any], wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    return {name: values for name, values in wanted.items() if name in names}


def ask(
    store: EmbeddedStore, uid: str, panel: Any, target: Any, span: tuple[datetime, datetime], choice: str
) -> tuple[list[tuple[Any, ...]], Asked]:
    """Rows of a target, and what was asked in the reference's words."""
    dashboard = dashboards()[uid]
    wanted = chosen(dashboard, CHOICES[choice])
    if choice == "some" and uid == "subscribers":  # all volumes of mobile are of accounting
        wanted |= {"service": ["mobile"], "access": ["mobile", "other"]}
    since, until = (ms(when) for when in span)
    width = interval_ms(until - since, POINTS, interval_of(panel["interval"]))
    sql = expand(target["rawSql"], Window(since, until, width), bound(dashboard, wanted))
    found = store.query(sql)
    rows = list(zip(*(column.to_pylist() for column in found.columns), strict=True)) if found.num_columns else []
    current = {variable["name"]: variable["current"]["value"] for variable in dashboard["templating"]["list"]}
    one = {name: (value,) for name, value in current.items() if isinstance(value, str) and value != ALL}
    said = {**one, **{name: tuple(values) for name, values in wanted.items()}}
    return rows, Asked(since // 1000, until // 1000, width // 1000, said, int(time.time()))


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == wanted)


def differing(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> list[Any]:
    assert len(found) == len(wanted), (len(found), len(wanted), found[:3], wanted[:3])
    return [(a, b) for a, b in zip(found, wanted, strict=True) if not all(map(same, a, b))]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("uid", "panel", "target", "span"), SHOWN)
def test_a_panel_shows_what_the_flows_say(
    known: EmbeddedStore, uid: str, panel: Any, target: Any, span: str, choice: str
) -> None:
    found, asked = ask(known, uid, panel, target, RANGES[span], choice)
    wanted = ANSWERS[uid][f"{panel['id']}{target['refId']}"](asked)
    if (uid, panel["id"]) == ("trust", 7):  # ages count from the moment of the query, which is a little later
        ages = (2, 5, 11)
        assert all(asked.now + 60 - row[age] >= 0 for row in found for age in ages if row[age] is not None)
        for age in (2, 5):
            assert [row[age] is None or abs(row[age] - other[age]) <= 60 for row, other in
                    zip(found, wanted, strict=True)] == [True] * len(wanted)  # fmt: skip
        found, wanted = ([tuple(v for n, v in enumerate(row) if n not in ages) for row in rows]
                         for rows in (found, wanted))  # fmt: skip
    if uid in ("subscribers", "years"):
        assert wanted, "the known flows and weeks must have something to show"
    if (uid, panel["id"]) == ("subscribers", 7):  # users are shuffled, in the same way each time
        found.sort()
    assert differing(found, wanted) == []


def test_every_panel_has_an_answer_and_every_answer_a_panel() -> None:
    there = {uid: {f"{panel['id']}{target['refId']}" for panel in dashboard["panels"]
                   for target in panel.get("targets", ())} for uid, dashboard in dashboards().items()}  # fmt: skip
    assert there == {uid: set(answers) for uid, answers in ANSWERS.items()}


@pytest.mark.parametrize(("uid", "panel", "target"), OF_THE_RANGE)
def test_a_panel_of_an_empty_window_has_no_value(known: EmbeddedStore, uid: str, panel: Any, target: Any) -> None:
    """No row, or nothing and zero in every bucket; never NaN, which an alert rule would take for a value."""
    found, _ = ask(known, uid, panel, target, EMPTY, "all")
    assert {row[-1] for row in found} <= {None, 0} and {len(row) for row in found} <= {2}


@pytest.mark.parametrize(("uid", "panel", "target"), [one for one in TARGETS if one not in OF_THE_RANGE])
def test_years_without_a_frozen_week_are_empty(store: EmbeddedStore, uid: str, panel: Any, target: Any) -> None:
    assert ask(store, uid, panel, target, RANGES["a week"], "all")[0] == []


@pytest.mark.parametrize(("uid", "panel", "target"), OF_THE_RANGE)
@pytest.mark.parametrize("seconds", [0, 59])
def test_a_panel_of_less_than_a_bucket_is_no_error(
    known: EmbeddedStore, uid: str, panel: Any, target: Any, seconds: int
) -> None:
    """Also when it ends now: the only bucket is open, so nothing is left of the range."""
    now = datetime.fromtimestamp(int(time.time()), UNTIL.tzinfo)
    for end in (UNTIL, now):
        ask(known, uid, panel, target, (end - timedelta(seconds=seconds), end), "all")


@pytest.mark.parametrize(("dashboard", "variable"), QUERIED)
def test_a_variable_offers_what_is_there(known: EmbeddedStore, dashboard: Any, variable: Any) -> None:
    def offered(span: tuple[datetime, datetime]) -> list[Any]:
        sql = expand(variable["query"], Window(ms(span[0]), ms(span[1]), 60_000), {})
        return [row.get("__value", next(iter(row.values()))) for row in known.query(sql).to_pylist()]

    found = offered(RANGES["a week"])
    if variable["name"] == "service":
        assert found == ["", "fixed", "mobile"]
    elif variable["name"] == "exporter":
        assert found == list(EXPORTERS)
    elif variable["name"] == "weeks":
        assert found == offered(EMPTY) == [
            "2026-09-14/own", "2025-06-02/own", "2024-06-03/iij", "2024-06-03/own", "2023-05-29/own", "2021-05-31/iij",
            "2020-06-01/iij", "2019-06-03/iij", "2018-05-28/iij",
        ]  # fmt: skip
        return
    else:
        assert found[0] == "tcp/443" and {"udp/443", "tcp/22", "esp"} < set(found)
    assert offered(EMPTY) == []


def test_open_buckets_are_left_out_and_the_age_counts_from_the_end_of_the_newest_minute(store: EmbeddedStore) -> None:
    now = int(time.time())
    ends = np.arange(now - 900, now, 5, dtype="i8")
    batch = flows(len(ends), ts=ends * 1000, ts_start=ends * 1000, direction=2, octets_est=10**6, bus_offset=0)
    store.insert("flows", table(batch), token="t")
    for rollup in ("bucket_1m", "exporter_1m"):
        store.command(statement(rollup, of_offsets(0, 0, 1), "Asia/Tokyo"), token=rollup)
    panels = {panel["id"]: panel for panel in dashboards()["noc"]["panels"]}
    span = (datetime.fromtimestamp(now - 1800, SINCE.tzinfo), datetime.fromtimestamp(now, SINCE.tzinfo))

    def rows(number: int) -> list[tuple[Any, ...]]:
        return ask(store, "noc", panels[number], panels[number]["targets"][0], span, "all")[0]

    ((age,),) = rows(1)
    newest = int(ends[-1]) // 60 * 60
    assert max(now - newest - 60, 0) <= age <= max(time.time() - newest - 60, 0)
    assert rows(6) == [(0,)]
    shown = [at for at, value in rows(2) if value]
    # Twelve flows of a megabyte a minute; the first and the last minutes shown are whole.
    assert shown and [value for _, value in rows(2) if value][1:] == [12 * 8e6 / 60] * (len(shown) - 1)
    assert shown[-1] + 60 <= time.time() - 60 + 1


def test_a_users_volume_is_of_the_source_that_is_set_and_never_of_both(store: EmbeddedStore) -> None:
    day = "toDate('2026-09-15')"
    for name, columns, values in (
        (
            "subscriber_1d",
            "day, sub_id, service, segment, access, direction, octets_est",
            f"({day}, 7, 'fixed', 'personal', 'ipoe', 2, 100), ({day}, 7, 'fixed', 'personal', 'pppoe', 2, 30),"
            f" ({day}, 8, 'fixed', 'personal', 'pppoe', 1, 5)",
        ),
        (
            "accounting_1d",
            "day, source, made, sub_id, service, segment, access, in_octets, out_octets",
            f"({day}, 'w', 1, 7, 'fixed', 'personal', 'ipoe', 4, 1000),"
            f" ({day}, 'w', 1, 7, 'fixed', 'personal', 'pppoe', 4, 7000)",
        ),
        ("accounting_import", "day, source, made", f"({day}, 'w', 1)"),
    ):
        store.command(f"INSERT INTO {name} ({columns}) VALUES {values}")
    panels = {panel["id"]: panel for panel in dashboards()["subscribers"]["panels"]}
    span = (datetime(2026, 9, 14, 15, tzinfo=UNTIL.tzinfo), datetime(2026, 9, 16, 15, tzinfo=UNTIL.tzinfo))

    def shown(number: int) -> list[tuple[Any, ...]]:
        return ask(store, "subscribers", panels[number], panels[number]["targets"][0], span, "all")[0]

    assert [row[:4] for row in shown(9)] == [("7", "ipoe", 1000, 4), ("7", "pppoe", 30, 0), ("8", "pppoe", 0, 5)]
    assert [row[:3] for row in shown(4)] == [
        ("ipoe", "accounting", "yes"), ("ipoe", "netflow", "no"), ("pppoe", "netflow", "yes"),
        ("pppoe", "accounting", "no"),
    ]  # fmt: skip
    store.command("INSERT INTO setting (name, value, made) VALUES ('volume_source:fixed/ipoe', 'netflow', now())")
    assert [row[:4] for row in shown(9)] == [("7", "ipoe", 100, 0), ("7", "pppoe", 30, 0), ("8", "pppoe", 0, 5)]
    assert [row[:3] for row in shown(4)][:2] == [("ipoe", "netflow", "yes"), ("ipoe", "accounting", "no")]
    # The view that everything else reads says the same.
    view = store.query("SELECT access, sum(out_octets) AS octets FROM v_user_day GROUP BY access ORDER BY access")
    assert view.to_pylist() == [{"access": "ipoe", "octets": 100}, {"access": "pppoe", "octets": 30}]


def test_what_an_exporter_that_only_sends_rubbish_looks_like(store: EmbeddedStore) -> None:
    """It has no flows at all, and is the one to be shown."""
    store_observations(store, {"exporter_health_1m": [
        {"collector": "c", "domain": 0, "time": SINCE, "exporter": "192.0.2.9", "counter": "datagrams_dropped_version",
         "value": 5}]})  # fmt: skip
    (panel,) = (panel for panel in dashboards()["trust"]["panels"] if panel["id"] == 7)
    found, _ = ask(store, "trust", panel, panel["targets"][0], RANGES["an hour"], "all")
    assert [(row[0], row[1], row[2], row[12]) for row in found] == [("192.0.2.9", 0, None, 5)]


def test_octets_of_the_buckets_are_those_of_the_flows(known: EmbeddedStore) -> None:
    """The panel over a week has every octet of it, whatever the width of its buckets."""
    panels = {panel["id"]: panel for panel in dashboards()["noc"]["panels"]}
    span = RANGES["a week"]
    for number, direction in ((7, 2), (8, 1)):
        found, asked = ask(known, "noc", panels[number], panels[number]["targets"][0], span, "all")
        rows = [row for row in ROWS if row["direction"] == direction and not row["flags"] & 536]
        whole = sum(sums(rows, lambda row: row["bucket"]).values())
        shown = sum(value for _, _, value in found) * asked.step / 8
        assert 0.97 * whole < shown <= whole  # what began before the range is not in it
