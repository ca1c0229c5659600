"""Accounting, leases and months as the simulated network leaves them in the tables."""

from datetime import date

import numpy as np
import pytest

from enricher.subscribers import sub_id
from flowtide.simulator.direct import Plan, write_weeks
from flowtide.simulator.direct_users import write_accounting, write_seen
from flowtide.simulator.months import ipoe_share, level, write_months
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.embedded import EmbeddedStore
from tests.stored import TIMEZONE

KEY = b"a key of thirty-two octets, yes."
PLAN = Plan(TIMEZONE, KEY, tables=("subscriber_1d", "bucket_1h"))
PEOPLE = PeoplePlan(pppoe=20, ipoe=9, mobile=12, on_both=20, enterprise_ipoe=2, enterprise_mobile=1)
WEEK = date(2024, 6, 3)


@pytest.fixture(scope="module")
def people() -> Population:
    return populate(PEOPLE, 3)


def rows(store: EmbeddedStore, sql: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = store.query(sql).to_pylist()
    return found


def test_only_some_of_the_users(people: Population) -> None:
    some = people.only(np.array([25, 3]))
    assert (len(some), some.name, some.subscriber) == (
        2, (people.name[25], people.name[3]), (people.subscriber[25], people.subscriber[3]),
    )  # fmt: skip
    assert [some.labels_of(at) for at in (0, 1)] == [people.labels_of(25), people.labels_of(3)]
    assert some.octets_a_day.tolist() == people.octets_a_day[[25, 3]].tolist()


def test_accounting_is_in_force_and_comes_to_the_users_week(store: EmbeddedStore, people: Population) -> None:
    for _ in range(2):  # twice is once
        assert write_accounting(store, people, [WEEK], PLAN) == 24
    found = rows(
        store,
        "SELECT sub_id, service, segment, access, source, volume_source, sum(in_octets) AS sent,"
        " sum(out_octets) AS received, count() AS days FROM v_accounting GROUP BY ALL",
    )
    wanted = {}
    for at in range(len(people)):
        service, segment, access, _ = people.labels_of(at)
        if access != "pppoe":
            sent, received = (7 * people.octets_a_day[at]).tolist()
            wanted[sub_id(KEY, service, people.subscriber[at], access)] = {
                "service": service, "segment": segment, "access": access, "volume_source": "accounting", "days": 7,
                "source": "gateways" if service == "mobile" else "wholesale", "sent": sent, "received": received,
            }  # fmt: skip
    assert {row.pop("sub_id"): row for row in found} == wanted
    sets = rows(
        store,
        "SELECT sum(rows) AS n, sum(in_octets) AS sent, count() AS sets, uniqExact(made, day) AS days"
        " FROM accounting_import",
    )
    assert sets == [
        {"n": 7 * 24, "sent": sum(int(str(each["sent"])) for each in wanted.values()), "sets": 14, "days": 7}
    ]


def test_everybody_is_seen_every_day(store: EmbeddedStore, people: Population) -> None:
    for _ in range(2):
        write_seen(store, people, [WEEK], PLAN)
    found = rows(store, "SELECT day, count() AS n, uniqExact(sub_id) AS users FROM v_subscribers_seen GROUP BY day")
    assert len(found) == 7 and all(row["n"] == row["users"] == len(people) for row in found)


def test_months_come_to_their_levels_beside_a_week_that_is_there(store: EmbeddedStore, people: Population) -> None:
    netflow = people.only(np.flatnonzero(people.access == 0))
    write_weeks(store, netflow, PEOPLE, [WEEK], PLAN)
    write_accounting(store, people, [WEEK], PLAN)
    octets = {(service, way): 10**12 * way for service in ("fixed", "mobile") for way in (1, 2)}
    assert write_months(store, date(2024, 4, 1), date(2024, 6, 1), PLAN, octets) > 0
    assert write_months(store, date(2024, 4, 1), date(2024, 6, 1), PLAN, octets) == 0  # all days are there
    found = rows(
        store,
        "SELECT toString(month) AS month, access, direction, sum(octets) AS octets, any(days_told) AS days"
        " FROM v_volume_month GROUP BY ALL",
    )
    assert len(found) == 3 * 3 * 2
    for row in found:
        month, access, way = str(row["month"])[:7], row["access"], 1 if row["direction"] == "in" else 2
        service, days = "mobile" if access == "mobile" else "fixed", 31 if month == "2024-05" else 30
        share = {"mobile": 1.0, "ipoe": ipoe_share(way, month), "pppoe": 1 - ipoe_share(way, month)}[str(access)]
        assert row["days"] == days
        assert row["octets"] == pytest.approx(10**12 * way * level(service, way, month) * share * days, rel=1e-9)
    week = rows(store, "SELECT count() AS n FROM v_user_day WHERE segment = 'personal' AND access != 'pppoe'")
    assert week == [{"n": 21 * 7}]  # none of the months is a personal user


def test_a_week_of_more_than_its_month_is_refused(store: EmbeddedStore, people: Population) -> None:
    write_accounting(store, people, [WEEK], PLAN)
    with pytest.raises(ValueError, match="2024-06"):
        write_months(store, WEEK.replace(day=1), WEEK.replace(day=1), PLAN, dict.fromkeys(
            [(service, way) for service in ("fixed", "mobile") for way in (1, 2)], 1_000))  # fmt: skip
