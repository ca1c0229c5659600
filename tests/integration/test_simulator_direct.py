"""Weeks written straight into the tables, read by SQL against the published figures of 2024."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from enricher.subscribers import sub_id
from flowtide.simulator.direct import TABLES, Plan, write_weeks
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.stored import FOR_EVER, TIMEZONE

WEEK = date(2024, 6, 3)
KEY = b"a key of thirty-two octets, yes."

# IIJ, Internet Infrastructure Review Vol. 64, chapter 1: tables 1 and 2 (MB a day, of personal users; IN, OUT), what
# the top 10 % and 1 % of them have, and tables 3 (PPPoE) and 4, percent of all octets by protocol and lower port.
VOLUMES: dict[str, dict[int, tuple[float, ...]]] = {
    "fixed": {1: (834, 178, 224, 75, 46), 2: (5_743, 2_372, 5_620, 50, 15)},
    "mobile": {1: (16.3, 8.2, 14.1, 45, 13), 2: (150.4, 66.7, 112.2, 48, 12)},
}
PORTS = {
    "fixed": {
        (6, 443): 53.8, (6, 80): 6.5, (6, 183): 0.2, (6, 993): 0.1, (6, 22): 0.1, (6, 31_000): 1.2, (6, 1_935): 0.3,
        (6, 8_080): 0.3, (17, 443): 21.0, (17, 4_500): 0.9, (17, 8_801): 0.4, (50, 0): 4.0, (47, 0): 0.2, (4, 0): 0.1,
        (1, 0): 0.0,
    },
    "mobile": {
        (6, 443): 42.2, (6, 80): 1.8, (6, 993): 0.1, (6, 1_935): 0.1, (17, 443): 22.5, (17, 4_500): 1.8,
        (17, 51_820): 0.3, (17, 53): 0.2, (17, 8_801): 0.1, (50, 0): 1.4, (47, 0): 0.0, (1, 0): 0.0,
    },
}  # fmt: skip
ONE_EACH = {"fixed": ("192.0.2.1",), "mobile": ("192.0.2.5",)}
SUMS = ", ".join(f"sum({name}) AS s_{name}" for name in ("octets_est", "octets", "packets_est", "packets", "flows"))


@pytest.fixture(scope="module")
def people() -> PeoplePlan:
    """20,000 personal users of each service, and enterprises."""
    return PeoplePlan(pppoe=11_000, ipoe=9_000, mobile=20_000, enterprise_pppoe=300, on_both=1)


@pytest.fixture(scope="module")
def population(people: PeoplePlan) -> Population:
    """Of the plan."""
    return populate(people, 1)


@pytest.fixture(scope="module")
def week(engine: EmbeddedStore, population: Population, people: PeoplePlan) -> Iterator[EmbeddedStore]:
    """A database with one week in all tables but the finest, sampled 1 in 1,000."""
    store = engine.in_database("direct_week")
    migrate(store, FOR_EVER, TIMEZONE)
    write_weeks(
        store, population, people, [WEEK],
        Plan(TIMEZONE, KEY, tables=("subscriber_1d", "port_1h", "port_1d", "bucket_1h"), sampling=1_000),
    )  # fmt: skip
    yield store
    engine.command("DROP DATABASE direct_week SYNC")


def rows(store: EmbeddedStore, sql: str, **parameters: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.query(sql, **parameters).to_pylist()
    return found


@pytest.mark.parametrize("service", VOLUMES)
@pytest.mark.parametrize("direction", [1, 2])
def test_users_have_the_published_volumes(week: EmbeddedStore, service: str, direction: int) -> None:
    mean, median, mode, top10, top1 = VOLUMES[service][direction]
    found = rows(
        week,
        """
        SELECT count() AS users, avg(mb) AS mean, quantileExactInclusive(0.5)(mb) AS median,
            arrayReverseSort(groupArray(mb)) AS sorted,
            100 * arraySum(arraySlice(sorted, 1, intDiv(users, 10))) / arraySum(sorted) AS top10,
            100 * arraySum(arraySlice(sorted, 1, intDiv(users, 100))) / arraySum(sorted) AS top1
        FROM (SELECT sub_id, access, sum(octets_est) / 7e6 AS mb FROM subscriber_1d
            WHERE service = {service:String} AND segment = 'personal' AND direction = {direction:UInt8}
                AND day >= '2024-06-03' AND day < '2024-06-10' GROUP BY sub_id, access)
        """,
        service=service, direction=direction,
    )[0]  # fmt: skip
    half = 0.5 if service == "fixed" else 0.05  # of the last digit that is printed
    assert found["users"] == 20_000
    assert found["mean"] == pytest.approx(mean, abs=half)
    assert found["median"] == pytest.approx(median, abs=half)
    assert (found["top10"], found["top1"]) == (pytest.approx(top10, abs=0.5), pytest.approx(top1, abs=0.5))
    # Bins of a tenth of a decade; the parabola through the fullest and its neighbours, on a grid of half a bin.
    numbers, users = np.unique(np.rint(10 * np.log10(found["sorted"])), return_counts=True)
    at = int(np.argmax(users))
    left, top, right = users[at - 1 : at + 2].tolist()
    shift = 0.05 * (left - right) / (left - 2 * top + right)
    assert round(20 * (numbers[at] / 10 + shift)) == round(20 * np.log10(mode))


@pytest.mark.parametrize("service", PORTS)
@pytest.mark.parametrize("table", ["port_1h", "port_1d"])
def test_ports_have_the_published_shares(week: EmbeddedStore, service: str, table: str) -> None:
    found = rows(
        week,
        f"SELECT proto, lower_port, sum(octets_est) AS o FROM {table}"
        " WHERE service = {service:String} AND access <> 'ipoe' GROUP BY ALL ORDER BY o DESC",
        service=service,
    )
    whole = sum(row["o"] for row in found)
    percent = {(row["proto"], row["lower_port"]): 100 * row["o"] / whole for row in found}
    assert {key: percent.get(key, 0) for key in PORTS[service]} == {
        key: pytest.approx(value, abs=0.05) for key, value in PORTS[service].items()
    }
    # None that the table does not name comes before one that it names with a figure.
    named = [value for key, value in PORTS[service].items() if key[0] in (6, 17) and value > 0]
    assert max(value for key, value in percent.items() if key not in PORTS[service] and key[0] in (6, 17)) < min(named)


def test_on_no_day_an_unnamed_port_comes_out_on_top(week: EmbeddedStore) -> None:
    found = rows(
        week,
        "SELECT day, service, proto, lower_port, sum(octets_est) AS o,"
        " 100 * o / sum(o) OVER (PARTITION BY day, service) AS percent"
        " FROM port_1d WHERE access <> 'ipoe' GROUP BY ALL",
    )
    rest = [row for row in found if row["lower_port"] > 1_023 and (row["proto"], row["lower_port"]) not in
            PORTS["fixed"].keys() | PORTS["mobile"].keys()]  # fmt: skip
    assert max(row["percent"] for row in rest) < 0.1
    for day in {row["day"] for row in rest}:
        assert len({row["lower_port"] for row in rest if row["day"] == day and row["proto"] == 6}) >= 400


def test_all_tables_say_the_same(week: EmbeddedStore) -> None:
    scope = "service, segment, access, ip_version, direction"
    by_hour = rows(week, f"SELECT hour AS h, {scope}, {SUMS} FROM port_1h GROUP BY ALL ORDER BY ALL")
    assert by_hour == rows(week, f"SELECT time AS h, {scope}, {SUMS} FROM bucket_1h GROUP BY ALL ORDER BY ALL")
    assert len({row["h"] for row in by_hour}) == 168
    day = f"toDate(hour, '{TIMEZONE}')"
    of_hours = rows(week, f"SELECT {day} AS d, {scope}, {SUMS} FROM port_1h GROUP BY ALL ORDER BY ALL")
    assert of_hours == rows(week, f"SELECT day AS d, {scope}, {SUMS} FROM port_1d GROUP BY ALL ORDER BY ALL")
    users = "service, segment, access, direction, sum(octets_est) AS o"
    assert rows(week, f"SELECT {users} FROM port_1d GROUP BY ALL ORDER BY ALL") == rows(
        week, f"SELECT {users} FROM subscriber_1d GROUP BY ALL ORDER BY ALL"
    )


def test_buckets_are_those_of_the_ports(week: EmbeddedStore) -> None:
    """The rule of ``enricher.ports`` written out in SQL."""
    bucket = (
        "multiIf(bucket != '', bucket,"
        " proto = 6 AND lower_port IN (80, 443), concat('tcp/', toString(lower_port)),"
        " proto = 6, if(lower_port < 1024, 'tcp/<1024', 'tcp/>=1024'),"
        " lower_port = 443, 'udp/443', if(lower_port < 1024, 'udp/<1024', 'udp/>=1024'))"
    )
    by_port = rows(week, f"SELECT hour AS h, {bucket} AS b, {SUMS} FROM port_1h GROUP BY ALL ORDER BY ALL")
    assert by_port == rows(week, f"SELECT time AS h, bucket AS b, {SUMS} FROM bucket_1h GROUP BY ALL ORDER BY ALL")


def test_sampling_leaves_one_packet_in_so_many(week: EmbeddedStore) -> None:
    for table in ("port_1h", "subscriber_1d"):
        found = rows(week, f"SELECT {SUMS} FROM {table}")[0]
        assert found["s_octets"] == pytest.approx(found["s_octets_est"] / 1_000, rel=0.01)
        assert found["s_packets"] <= found["s_packets_est"] / 1_000
        assert 0 < found["s_flows"] <= found["s_packets"]


def test_users_are_named_as_the_enricher_names_them(week: EmbeddedStore, population: Population) -> None:
    for user in (0, 11_000, 11_300, 25_000):  # the third has the subscription of the first
        service, _, access, _ = population.labels_of(user)
        number = sub_id(KEY, service, population.subscriber[user], access)
        found = rows(
            week,
            "SELECT direction, sum(octets_est) AS o FROM subscriber_1d WHERE sub_id = {id:UInt64} GROUP BY ALL"
            " ORDER BY direction",
            id=number,
        )
        assert [row["o"] for row in found] == (7 * population.octets_a_day[user]).tolist()


def test_a_day_has_its_hours(week: EmbeddedStore) -> None:
    """OUT peaks at 21, IN of fixed lines on weekdays at 14 with a dip at noon, mobile has three peaks."""
    hour = f"toHour(time, '{TIMEZONE}')"
    found = rows(
        week,
        f"SELECT {hour} AS h, service, direction, sum(octets_est) AS o FROM bucket_1h"
        f" WHERE toDayOfWeek(time, 0, '{TIMEZONE}') <= 5 GROUP BY ALL ORDER BY h",
    )
    by = {key: [row["o"] for row in found if (row["service"], row["direction"]) == key]
          for key in (("fixed", 1), ("fixed", 2), ("mobile", 2))}  # fmt: skip
    assert [int(np.argmax(by["fixed", direction])) for direction in (1, 2)] == [14, 21]
    mobile = by["mobile", 2]
    assert [at for at in range(1, 23) if mobile[at - 1] < mobile[at] > mobile[at + 1]] == [8, 12, 21]
    assert by["fixed", 1][12] < min(by["fixed", 1][11], by["fixed", 1][13])
    ends = rows(week, "SELECT min(time) AS a, max(time) AS b FROM bucket_1h")[0]
    # 00:00 and 23:00 in Tokyo are 15:00 and 14:00 UTC of the day before and of the day.
    assert datetime.fromtimestamp(ends["a"], UTC) == datetime(2024, 6, 2, 15, tzinfo=UTC)
    assert datetime.fromtimestamp(ends["b"], UTC) == datetime(2024, 6, 9, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def few() -> PeoplePlan:
    return PeoplePlan(pppoe=20, ipoe=5, mobile=20, enterprise_ipoe=0)


def test_twice_is_once_and_another_week_is_more(store: EmbeddedStore, few: PeoplePlan) -> None:
    people, plan = populate(few, 1), Plan(TIMEZONE, KEY, exporters=ONE_EACH, apart=())
    count = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count() AS c, sum(octets_est) AS o FROM {name}" for name in TABLES
    )
    written = write_weeks(store, people, few, [WEEK], plan)
    once = sorted(rows(store, count), key=str)
    assert {row["name"]: row["c"] for row in once} == written
    write_weeks(store, people, few, [WEEK], plan)
    assert sorted(rows(store, count), key=str) == once
    write_weeks(store, people, few, [date(2024, 6, 10)], plan)
    twice = sorted(rows(store, count), key=str)
    assert [row["o"] for row in twice] == [2 * row["o"] for row in once]
    assert len({row["o"] for row in once}) == 1


def test_another_population_is_not_taken_for_a_repeat(store: EmbeddedStore, few: PeoplePlan) -> None:
    plan = Plan(TIMEZONE, KEY, tables=("subscriber_1d",))
    for scale in (1.0, 2.0):
        write_weeks(store, populate(few, 1), few, [WEEK], Plan(TIMEZONE, KEY, tables=plan.tables, scale=scale))
    doubled = rows(store, "SELECT sum(octets_est) AS o FROM subscriber_1d")[0]["o"]
    assert doubled == 3 * 7 * int(populate(few, 1).octets_a_day.sum())


def test_quics_share_is_as_it_is_told(store: EmbeddedStore, few: PeoplePlan) -> None:
    step = int(datetime(2024, 6, 5, 15, tzinfo=UTC).timestamp())

    def share(service: str, times: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(times < step, 0.25, 0.5) + (0.125 if service == "mobile" else 0)

    plan = Plan(TIMEZONE, KEY, tables=("bucket_end_5m", "bucket_1h"), apart=(), share=share, exporters=ONE_EACH)
    write_weeks(store, populate(few, 1), few, [WEEK], plan)
    for table in plan.tables:
        found = rows(
            store,
            f"SELECT service, time >= {step} AS after, sumIf(octets_est, bucket = 'udp/443')"
            f" / sumIf(octets_est, bucket IN ('udp/443', 'tcp/443')) AS q2 FROM {table} GROUP BY ALL ORDER BY ALL",
        )
        assert [row["q2"] for row in found] == pytest.approx([0.25, 0.5, 0.375, 0.625], abs=1e-5)


def test_a_week_with_a_clock_change_has_its_hours(store: EmbeddedStore, few: PeoplePlan) -> None:
    """A Sunday of 23 hours in Europe."""
    write_weeks(store, populate(few, 1), few, [date(2024, 3, 25)], Plan("Europe/Berlin", KEY, tables=("bucket_1h",)))
    assert rows(store, "SELECT uniqExact(time) AS n FROM bucket_1h")[0]["n"] == 167
    whole = rows(store, "SELECT sum(octets_est) AS o FROM bucket_1h")[0]["o"]
    assert whole == 7 * int(populate(few, 1).octets_a_day.sum())


@pytest.mark.parametrize(
    ("weeks", "plan"),
    [([date(2024, 6, 4)], Plan(TIMEZONE)), ([WEEK], Plan(TIMEZONE, tables=("flows",))),
     ([WEEK], Plan(TIMEZONE, apart=("port",)))],
    ids=["not a Monday", "no such table", "no such dimension"],
)  # fmt: skip
def test_what_cannot_be_is_refused(store: EmbeddedStore, few: PeoplePlan, weeks: list[date], plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"2024-06-04|flows|port"):
        write_weeks(store, populate(few, 1), few, weeks, plan)
