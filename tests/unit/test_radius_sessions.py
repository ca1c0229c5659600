"""Sessions by hand, in any order, and those of the simulated network against its leases."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows, LeaseTable
from enricher.radius.packet import Accounting, Kind, Status, parse, verified
from enricher.radius.session import Session
from enricher.radius.sessions import Sessions
from enricher.radius.settings import Labels, RadiusSettings
from enricher.subscribers import sub_id
from flowtide.simulator import radius
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.radius import Record, disorder
from flowtide.simulator.radius_sessions import PPPOE_NAS, Restart
from flowtide.simulator.radius_sessions import sessions as simulated
from flowtide.simulator.scenario import PeoplePlan

T0 = 1_717_340_400  # 2024-06-02 15:00 UTC
SETTINGS = RadiusSettings(interim_seconds=1_800, mobile_subscriber="user-name")
A, B = "198.18.0.1/32", "198.18.0.2/32"
SIX, OTHER_SIX = "2001:db8:1000:100::/56", "2001:db8:1000:200::/56"


def key(prefix: str) -> tuple[Kind, int]:
    network = ip_network(prefix)
    if network.version == 4:
        return Kind.IPV4, int(ip_address(f"::ffff:{network.network_address}")) << 8 | network.prefixlen + 96
    return Kind.DELEGATED, int(network.network_address) << 8 | network.prefixlen


def told(
    status: Status, second: int, user: str = "a", held: Sequence[str] = (), *, session: str = "", nas: str = "bras-1",
    seconds: int | None = None, octets: tuple[int, int] | None = None, event: bool = True, delay: int = 0,
    classes: tuple[str, ...] = (),
) -> Accounting:  # fmt: skip
    """A record of something at T0 + second."""
    into, out = octets or (None, None)
    power = status in (Status.ON, Status.OFF)
    return Accounting(
        status, nas, "" if power else session or f"session of {user}", "" if power else user, "", "", classes,
        tuple(key(each) for each in held), into, out, seconds, delay, T0 + second if event else None, (),
    )  # fmt: skip


def after(*records: Accounting | tuple[Accounting, int], silent_until: int = 0) -> list[tuple[str, float, float, str]]:
    """Leases as (prefix, since, until, subscriber), seconds from T0; records arrive as they happen, or when said."""
    sessions = Sessions(SETTINGS)
    for each in records:
        record, second = each if isinstance(each[-1], int) else (each, (each.event_seconds or T0) - T0)
        sessions.apply(record, (T0 + second) * 1000)
    if silent_until:
        sessions.sweep((T0 + silent_until) * 1000)
    return leased(sessions.rows())


def leased(rows: LeaseRows) -> list[tuple[str, float, float, str]]:
    found = []
    for at in range(len(rows)):
        address = ip_address(int(rows.high[at]) << 64 | int(rows.low[at]))
        mapped = getattr(address, "ipv4_mapped", None)
        prefix = f"{mapped}/{rows.bits[at] - 96}" if mapped else f"{address}/{rows.bits[at]}"
        until = float("inf") if rows.until[at] == HELD else rows.until[at] / 1000 - T0
        found.append((prefix, rows.since[at] / 1000 - T0, until, rows.subscribers[rows.subscriber[at]]))
    return sorted(found)


NEVER = float("inf")
ON_A = told(Status.START, 0, held=[A, SIX])
OFF_A = told(Status.STOP, 600, held=[A, SIX], seconds=600)
INTERIM = told(Status.INTERIM, 300, held=[A, SIX], seconds=300)


def test_start_and_stop() -> None:
    assert after(ON_A) == [(A, 0, NEVER, "a"), (SIX, 0, NEVER, "a")]
    assert after(ON_A, OFF_A) == [(A, 0, 600, "a"), (SIX, 0, 600, "a")]


def test_stop_before_start_and_a_lost_start() -> None:
    assert after((OFF_A, 600), (ON_A, 700)) == after(ON_A, OFF_A)
    assert after(OFF_A) == after(ON_A, OFF_A)  # Acct-Session-Time tells the begin
    assert after(INTERIM) == after(ON_A)
    assert after(told(Status.INTERIM, 300, held=[A])) == [(A, 300, NEVER, "a")]  # nothing tells it


def test_an_address_named_later_is_held_from_then() -> None:
    records = told(Status.START, 0, held=[A]), told(Status.INTERIM, 20, held=[A, SIX], seconds=20)
    assert after(*records) == [(A, 0, NEVER, "a"), (SIX, 20, NEVER, "a")]
    assert after((records[1], 20), (records[0], 21)) == after(*records)


def test_an_interim_that_names_no_address_takes_none_away() -> None:
    assert after(ON_A, told(Status.INTERIM, 300, seconds=300)) == after(ON_A)


def test_another_address_of_its_kind_takes_the_place_of_the_first() -> None:
    records = [ON_A, INTERIM, told(Status.INTERIM, 400, held=[B, SIX], seconds=400), told(Status.STOP, 500)]
    assert after(*records) == [(A, 0, 400, "a"), (B, 400, 500, "a"), (SIX, 0, 500, "a")]


@pytest.mark.parametrize("status", [Status.ON, Status.OFF])
def test_a_restart_closes_the_sessions_of_its_nas_only(status: Status) -> None:
    records = [ON_A, told(Status.START, 5, "b", [B], nas="bras-2"), told(status, 100)]
    closed = [(A, 0, 100, "a"), (B, 5, NEVER, "b"), (SIX, 0, 100, "a")]
    assert after(*records) == closed
    late_start = [(records[2], 100), (records[1], 101), (records[0], 102)]
    assert after(*late_start) == closed
    again = told(Status.START, 160, held=[A], session="session of a")  # ids begin anew after a restart
    assert (A, 160, NEVER, "a") in after(*records, again)
    assert (A, 0, 100, "a") in after(*records, again)


def test_a_session_that_goes_on_was_not_closed() -> None:
    """A BRAS restarts one of its line cards and says Accounting-Off."""
    assert after(ON_A, told(Status.OFF, 100), INTERIM) == after(ON_A)


def test_a_lost_stop_is_closed_by_the_next_holder_for_all_its_addresses() -> None:
    other = told(Status.START, 400, "b", [A, OTHER_SIX])
    expected = [(A, 0, 400, "a"), (A, 400, NEVER, "b"), (SIX, 0, 400, "a"), (OTHER_SIX, 400, NEVER, "b")]
    assert after(ON_A, INTERIM, other) == sorted(expected)
    assert after((other, 400), (INTERIM, 401), (ON_A, 402)) == sorted(expected)


def test_a_lost_stop_is_closed_by_silence_and_opened_by_its_next_record() -> None:
    assert after(ON_A, INTERIM, silent_until=300 + 1_790) == after(ON_A)
    assert after(ON_A, INTERIM, silent_until=300 + 1_810) == [(A, 0, 2_100, "a"), (SIX, 0, 2_100, "a")]
    sessions = Sessions(SETTINGS)
    for record, second in ((ON_A, 0), (told(Status.INTERIM, 5_000, held=[A, SIX], seconds=5_000), 5_000)):
        sessions.sweep((T0 + second) * 1000)
        sessions.apply(record, (T0 + second) * 1000)
    assert leased(sessions.rows()) == after(ON_A)


def test_silent_sessions_are_closed_in_pieces() -> None:
    """No piece takes long, and together they are one sweep."""
    sessions, whole = Sessions(SETTINGS), Sessions(SETTINGS)
    for number in range(7):
        record = told(Status.START, number % 3, f"u{number}", [f"192.0.2.{number + 1}"])
        for each in (sessions, whole):
            each.apply(record, (T0 + number % 3) * 1000)
    now = (T0 + 1_900) * 1000
    assert not whole.sweep(now)
    ended = []
    while True:
        more = sessions.sweep(now, 2)
        ended.append(int((sessions.rows().until < HELD).sum()))
        if not more:
            break
    assert ended == [2, 4, 6, 7]
    assert leased(sessions.rows()) == leased(whole.rows()) and not sessions.sweep(now, 2)


def test_silence_counts_only_while_we_listen() -> None:
    sessions = Sessions(SETTINGS)
    sessions.apply(ON_A, T0 * 1000)
    sessions.listen((T0 + 7_200) * 1000)
    sessions.sweep((T0 + 7_201) * 1000)
    assert leased(sessions.rows()) == after(ON_A)
    sessions.sweep((T0 + 7_200 + 1_810) * 1000)
    assert leased(sessions.rows()) == [(A, 0, 1_800, "a"), (SIX, 0, 1_800, "a")]


def test_an_id_that_is_given_again_is_another_session() -> None:
    first = [told(Status.START, 0, held=[A], session="1"), told(Status.STOP, 600, held=[A], session="1", seconds=600)]
    second = [told(Status.START, 700, held=[A], session="1"), told(Status.INTERIM, 900, session="1", seconds=200)]
    assert after(*first, *second) == [(A, 0, 600, "a"), (A, 700, NEVER, "a")]
    other = told(Status.START, 0, "b", [B], session="1")
    assert after(first[0], other) == [(A, 0, NEVER, "a"), (B, 0, NEVER, "b")]


@pytest.mark.parametrize(
    ("event", "delay", "begin"),
    [
        (True, 0, 0), (True, 900, 0),  # Event-Timestamp goes first
        (False, 0, 1_000), (False, 900, 100),  # arrival less Acct-Delay-Time
    ],
)  # fmt: skip
def test_when_it_happened(event: bool, delay: int, begin: int) -> None:
    record = told(Status.START, 0, held=[A], event=event, delay=delay)
    assert after((record, 1_000)) == [(A, begin, NEVER, "a")]


@pytest.mark.parametrize("wrong", [-T0, 1_301])
def test_a_clock_that_is_wrong_is_not_believed(wrong: int) -> None:
    assert after((told(Status.START, wrong, held=[A]), 1_000)) == [(A, 1_000, NEVER, "a")]


def test_what_each_record_did() -> None:
    sessions = Sessions(SETTINGS)

    def outcome(record: Accounting, second: int) -> str:
        return sessions.apply(record, (T0 + second) * 1000)

    assert outcome(ON_A, 0) == "new"
    assert outcome(ON_A, 1) == "duplicate"
    assert outcome(told(Status.START, 0, held=[A, SIX], delay=5), 5) == "duplicate"
    assert outcome(OFF_A, 600) == "new"
    assert outcome(OFF_A, 601) == "duplicate"
    assert outcome(INTERIM._replace(in_octets=1, out_octets=1), 602) == "reordered"
    assert outcome(INTERIM, 603) == "duplicate"
    assert outcome(told(Status.OTHER, 604), 604) == "ignored"
    assert outcome(told(Status.ON, 605), 605) == "new"
    assert outcome(told(Status.ON, 605), 606) == "duplicate"
    assert outcome(told(Status.START, 700, ""), 700) == "nameless"
    assert outcome(told(Status.START, 0, "late", [A]), 48 * 3_600 + 1) == "late"
    assert outcome(told(Status.START, 2, "not late", [B]), 48 * 3_600 + 1) == "new"


def test_labels_are_of_class_or_of_the_nas_or_of_all() -> None:
    chosen = RadiusSettings(
        labels="fixed;unknown;ipoe;rest", nas_labels={"192.0.2.0/24": "mobile;personal;mobile;west"},
        fixed_subscriber="chargeable-user-identity",
    )  # fmt: skip
    sessions = Sessions(chosen)
    for at, (nas, classes) in enumerate(
        (("192.0.2.7", ("\\xff", "fixed;enterprise;pppoe;east")), ("192.0.2.7", ("else",)), ("bras", ()))
    ):
        record = told(
            Status.START, at, "user", [f"198.18.0.{at}/32"], session=f"{at}", nas=nas, classes=classes
        )  # fmt: skip
        sessions.apply(record._replace(calling="line", charged="charged"), (T0 + at) * 1000)
    rows = sessions.rows()
    seen = {
        int(rows.since[at] // 1000 - T0): (
            rows.subscribers[rows.subscriber[at]], SERVICES[rows.service[at]], SEGMENTS[rows.segment[at]],
            ACCESSES[rows.access[at]], rows.groups[rows.group[at]],
        )
        for at in range(len(rows))
    }  # fmt: skip
    assert seen == {
        0: ("charged", "fixed", "enterprise", "pppoe", "east"), 1: ("line", "mobile", "personal", "mobile", "west"),
        2: ("charged", "fixed", "unknown", "ipoe", "rest"),
    }  # fmt: skip


def test_sessions_that_ended_long_ago_are_forgotten() -> None:
    sessions = Sessions(SETTINGS)
    for record in (ON_A, OFF_A, told(Status.START, 700, "b", [B])):
        sessions.apply(record, T0 * 1000 + 700_000)
    day = (T0 + 700 + 72 * 3_600) * 1000
    sessions.sweep(day - 10_000)
    assert sessions.leases == 3
    for at in range(0, 7_200_000, 60_000):
        sessions.sweep(day + at)
    assert (sessions.count, sessions.leases, leased(sessions.rows())) == (0, 0, [])
    assert next(sessions.all(), None) is None


def test_what_is_published_is_all_leases_of_the_prefixes_that_changed() -> None:
    labels = ("fixed", "unknown", "pppoe", "")

    def seconds(taken: dict[int, list[tuple[int, int, str, Labels]]]) -> dict[int, list[tuple[float, float, str]]]:
        assert {each[3] for leases in taken.values() for each in leases} <= {labels}
        return {
            prefix: sorted(
                (since / 1000 - T0, NEVER if until == HELD else until / 1000 - T0, who)
                for since, until, who, _ in leases
            )
            for prefix, leases in taken.items()
        }

    a, b, six = (key(each)[1] for each in (A, B, SIX))
    sessions = Sessions(SETTINGS)
    sessions.apply(ON_A, T0 * 1000)
    assert (sessions.unpublished, sessions.take_unpublished(9)) == (0, {})  # nobody publishes
    sessions.publish_all([b])
    assert sessions.unpublished == 3
    first = sessions.take_unpublished(2)
    assert (len(first), sessions.unpublished) == (2, 1)
    first |= sessions.take_unpublished(2)
    assert seconds(first) == {a: [(0, NEVER, "a")], six: [(0, NEVER, "a")], b: []}
    assert sessions.take_unpublished(9) == {}
    sessions.apply(told(Status.START, 400, "b", [A]), (T0 + 400) * 1000)
    assert seconds(sessions.take_unpublished(9)) == {a: [(0, 400, "a"), (400, NEVER, "b")], six: [(0, 400, "a")]}
    sessions.apply(told(Status.STOP, 400, "b", seconds=0), (T0 + 401) * 1000)
    # b held it for no time at all, yet a's was over when b came.
    assert seconds(sessions.take_unpublished(9)) == {a: [(0, 400, "a")]}
    day = (T0 + 700 + 73 * 3_600) * 1000
    for at in range(0, 7_200_000, 60_000):
        sessions.sweep(day + at)
    assert seconds(sessions.take_unpublished(9)) == {a: [], six: []}  # forgotten


def lives() -> st.SearchStrategy[list[Accounting]]:
    """Records of a few sessions on few addresses; ids are never given again."""

    def life(
        number: int, begin: int, length: int, address: int, parts: int, stops: bool, six: bool
    ) -> list[Accounting]:
        held = [f"198.18.0.{address}/32", *([f"2001:db8:0:{number + 1}00::/56"] if six else [])]
        user, nas = f"user-{number}", f"bras-{number % 2}"
        made = [told(Status.START, begin, user, held, nas=nas)]
        for part in range(1, parts + 1):
            seconds = length * part // (parts + 1)
            made.append(told(Status.INTERIM, begin + seconds, user, held, nas=nas, seconds=seconds))
        if stops:
            made.append(told(Status.STOP, begin + length, user, held, nas=nas, seconds=length))
        return made

    one = st.tuples(
        st.integers(0, 500), st.integers(1, 900), st.integers(1, 3), st.integers(0, 3), st.booleans(), st.booleans()
    )
    power = st.builds(told, st.sampled_from((Status.ON, Status.OFF)), st.integers(0, 1_000), nas=st.just("bras-1"))
    return st.tuples(st.lists(one, min_size=1, max_size=6), st.lists(power, max_size=2)).map(
        lambda made: [record for at, each in enumerate(made[0]) for record in life(at, *each)] + made[1]
    )


@settings(max_examples=150, deadline=None)
@given(records=lives(), seed=st.integers(0, 1_000), again=st.integers(0, 3))
def test_any_order_and_any_repeats_end_in_the_same_leases(records: list[Accounting], seed: int, again: int) -> None:
    """Also through a snapshot in between, and a restart that reads the last ones a second time."""
    shuffled = records + records[:again]
    random.Random(seed).shuffle(shuffled)
    arrived = [((T0 + 2_000) * 1000, record) for record in shuffled]
    half = len(arrived) // 2

    first, second, third = Sessions(SETTINGS), Sessions(SETTINGS), Sessions(SETTINGS)
    for record in records:
        first.apply(record, (T0 + 2_000) * 1000)
    for at, record in arrived:
        second.apply(record, at)
    for at, record in arrived[:half]:
        third.apply(record, at)
    saved, state = [each.saved() for each in third.all()], third.state()
    third = Sessions(SETTINGS)
    third.restore(state)
    for each in saved:
        third.insert(Session.restored(each))
    for at, record in arrived[max(0, half - 2) :]:
        third.apply(record, at)
    assert leased(second.rows()) == leased(first.rows())
    assert leased(third.rows()) == leased(first.rows())


BEGIN = int(datetime(2024, 6, 2, tzinfo=UTC).timestamp() * 1000)
HOURS = 36
KEY = bytes(32)


END = BEGIN + HOURS * 3_600_000
RESTARTS = [Restart(PPPOE_NAS[0], BEGIN + 50_000_000), Restart(PPPOE_NAS[1], BEGIN + 70_000_000, orderly=False)]


@pytest.fixture(scope="module")
def network() -> tuple[Population, Leases, list[Record]]:
    """Users, what they hold in a day and a half, and what their NASes tell of it, in order."""
    plan = PeoplePlan(pppoe=60, ipoe=5, mobile=30, churn=60)
    people = populate(plan, 7)
    leases = lease(plan, people, 7, BEGIN, END, "Asia/Tokyo")
    return people, leases, list(simulated(leases, people, BEGIN, END, 1_800, restarts=RESTARTS))


@pytest.mark.parametrize(
    "chaos",
    [{}, {"duplicates": 0.1, "late_seconds": 90.0}, {"lost_stops": 0.3, "duplicates": 0.1, "late_seconds": 40.0}],
)
def test_the_simulated_network_is_told_as_it_is(
    network: tuple[Population, Leases, list[Record]], chaos: dict[str, float]
) -> None:
    """Through the octets on the wire: who the leases say, at 1,500 random addresses and times."""
    people, leases, records = network
    sessions = Sessions(RadiusSettings(interim_seconds=5_500, mobile_subscriber="user-name", late_hours=0))
    looked = 0
    for at, record in disorder(records, 5, **chaos):
        datagram = radius.encode(record, b"secret", 1)
        sessions.apply(parse(verified(datagram, b"secret"), record.nas.address), at)
        if at - looked > 60_000:
            looked = at
            sessions.sweep(at)
    table = LeaseTable.of(sessions.rows(), KEY)

    chance = np.random.default_rng(3)
    row = chance.integers(0, len(leases), 4_000)
    # From the first Interim of the sessions that were there before; a second from each edge, as times are in seconds.
    when = chance.integers(BEGIN + 1_900_000, END - 100_000, 4_000)
    edges = np.unique(np.concatenate([leases.since_ms, leases.until_ms[leases.until_ms < HELD], [0]]))
    edges = np.sort(np.concatenate([edges, [each.at_ms for each in RESTARTS]]))
    nearest = np.searchsorted(edges, when)
    clear = (when - edges[nearest - 1] > 1_000) & (np.append(edges, HELD)[nearest] - when > 1_000)
    row, when = row[clear], when[clear]
    address = leases.address[row]
    holder = leases.holders(address[:1_500], np.zeros(1_500, "u2"), when[:1_500])
    found = lookup(table, address[:1_500], when[:1_500])
    names: list[Any] = []
    for user in holder.tolist():
        service, _, access, _ = people.labels_of(user) if user >= 0 else ("", "", "", "")
        names.append(sub_id(KEY, service, people.subscriber[user], access) if user >= 0 and access != "ipoe" else 0)
    wrong = [at for at, name in enumerate(names) if name != found[at] and name != 0]
    assert wrong == []
    assert np.count_nonzero(np.array(names)) > 1_000
    if not chaos.get("lost_stops"):  # else an address that nobody took after a lost Stop is held a while longer
        assert [name for at, name in enumerate(names) if name != found[at]] == []


def lookup(table: LeaseTable, address: Any, when: Any) -> list[int]:
    packed = np.ascontiguousarray(address).view("V16").ravel()
    ports = np.zeros(len(packed), "u2")
    found = table.lookup(packed, when.astype("M8[ms]"), ports)
    return [int(each) for each in table.sub_id[found]]
