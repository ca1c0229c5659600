"""Weeks of the published tables, straight in a store: 20,000 personal users a service and year, and their months.

What a published figure does not tell is chosen here: of 20,000 fixed users 8,000 are on IPoE from 2021 on, and the
enterprises on IPoE carry so much that IPoE has the published part of fixed volume.
"""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np

from flowtide.simulator import volumes
from flowtide.simulator.direct import Plan, write_weeks
from flowtide.simulator.direct_users import write_accounting, write_seen
from flowtide.simulator.model import years
from flowtide.simulator.months import ipoe_share
from flowtide.simulator.population import ACCESSES, SEGMENTS, Population, populate
from flowtide.simulator.scenario import PeoplePlan
from sinks import Store
from tests.stored import TIMEZONE

USERS = 20_000
KEY = b"a key of thirty-two octets, yes."
WEEKS = {2024: date(2024, 6, 3), 2023: date(2023, 5, 29)} | {
    year: min(day for at in range(7) if (day := date(year, 6, 1) + timedelta(at)).weekday() == 0)
    for year in range(2007, 2023)
}
"""The analysed weeks of the last two editions; of the others a Monday of June."""
IPOE_COUNTED = 2021
"""From this year on the published table of fixed users has those on IPoE."""
PORTS_TOLD = 2020
"""From this year on the port tables are printed."""
PLAN = Plan(TIMEZONE, KEY, tables=("subscriber_1d", "port_1h", "port_1d", "bucket_1h"))
_PERSONAL, _ENTERPRISE = (SEGMENTS.index(name) for name in ("personal", "enterprise"))
_IPOE = ACCESSES.index("ipoe")


def plan_of(year: int, users: int = USERS) -> PeoplePlan:
    """Who there is; before 2020 only who is in the tables."""
    ipoe = users * 2 // 5 if year >= IPOE_COUNTED else 0
    enterprises = {"enterprise_pppoe": users // 80, "enterprise_ipoe": ipoe // 80, "enterprise_mobile": users // 80}
    if year < PORTS_TOLD:
        enterprises = dict.fromkeys(enterprises, 0)
    return PeoplePlan(
        year=max(year, PORTS_TOLD), pppoe=users - ipoe, ipoe=ipoe,
        mobile=users if year in years("mobile") else 0, **enterprises,
    )  # fmt: skip


@cache
def people_of(year: int, users: int = USERS) -> Population:
    """With the volumes of the year's tables, and IPoE's published part of fixed volume."""
    people = populate(plan_of(year, users), 1)
    octets = people.octets_a_day.copy()
    if year < PORTS_TOLD:
        # Its mix of ports is not told, so the simulated network has no such year; volumes of its users are.
        random = np.random.default_rng(year)
        for service in ("fixed", "mobile"):
            own = people.of(service)
            if len(own):
                octets[own] = volumes.joint(service, year, len(own), random)
    if year >= 2023 and users == USERS:  # of few users one heavy one decides it
        fixed, access, segment = people.of("fixed"), people.access, people.segment
        pppoe = fixed[access[fixed] != _IPOE]
        ipoe = fixed[(access[fixed] == _IPOE) & (segment[fixed] == _PERSONAL)]
        enterprise = fixed[(access[fixed] == _IPOE) & (segment[fixed] == _ENTERPRISE)]
        for way in (0, 1):
            share = ipoe_share(way + 1, f"{year}-06")
            wanted = octets[pppoe, way].sum() * share / (1 - share) - octets[ipoe, way].sum()
            assert wanted > 0, (year, way)
            octets[enterprise, way] = round(wanted / len(enterprise))
    return replace(people, octets_a_day=octets)


def by_netflow(people: Population) -> Population:
    """Those whose flows an exporter sees: of IPoE the wholesale side tells octets alone."""
    return people.only(np.flatnonzero(people.access != _IPOE))


def write_year(store: Store, year: int, users: int = USERS, *, plan: Plan = PLAN) -> None:
    """The year's week as a running system leaves it; before 2020 the users' volumes alone."""
    people, monday = people_of(year, users), WEEKS[year]
    seen = by_netflow(people)
    if year < 2023:  # whose parts by IP version nobody asks for
        plan = replace(plan, apart=("segment",))
    if year < PORTS_TOLD:
        # Mobile flows tell no volumes: without a table of ports they are of no use.
        seen = seen.only(seen.of("fixed"))
        plan = replace(plan, tables=("subscriber_1d",))
    write_weeks(store, seen, plan_of(year, users), [monday], plan)
    write_accounting(store, people, [monday], plan)
    if year >= PORTS_TOLD:
        write_seen(store, people, [monday], plan)
