"""Volumes of others in the real store: checked whole, replaced whole, and never added to flows of the same user."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enricher.subscribers import sub_id, sub_ids
from flowtide.simulator.feeds import accounting_table, write_accounting
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan
from sinks.accounting import Imported, by_day, put_day
from sinks.accounting_file import COLUMNS, AccountingError, AccountingFileError, DayVolumes, read_accounting
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from sinks.rollup_tables import of_offsets, statement
from tests.stored import FOR_EVER, TIMEZONE, flows, label, table

KEY = b"a key of the tests, 32 bytes long"
DAY = date(2026, 9, 21)
NOW = 1_790_100_000.0
HEADER = ",".join(COLUMNS)
IPOE = "2026-09-21,u1,s1,fixed,personal,ipoe,accounting,10,100"
MOBILE = "2026-09-21,0901,m1,mobile,personal,mobile,accounting,1,2"
BOTH = f"{HEADER}\n{IPOE}\n{MOBILE}\n"


def ids(users: Iterable[tuple[str, str, str]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return sub_ids(KEY, users)


def put(store: EmbeddedStore, source: str = "gateway", day: date = DAY, now: float = NOW, **users: int) -> Imported:
    """Mobile lines by name, with these octets out and a tenth of them in."""
    volumes = DayVolumes(day)
    for name, octets in users.items():
        volumes.add(("mobile", name, "mobile"), "personal", octets // 10, octets)
    return put_day(store, volumes, source, ids, now)


def in_force(store: EmbeddedStore, day: date = DAY) -> dict[int, int]:
    rows = store.query("SELECT sub_id, out_octets FROM v_accounting WHERE day = {day:Date}", day=day).to_pylist()
    assert len({row["sub_id"] for row in rows}) == len(rows)
    return {row["sub_id"]: row["out_octets"] for row in rows}


def line(name: str) -> int:
    return sub_id(KEY, "mobile", name, "mobile")


def bad(old: str, new: str) -> bytes:
    assert old in BOTH
    return BOTH.replace(old, new).encode()


REFUSED: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", None, "no header"),
    "header only": (HEADER.encode(), None, "no line"),
    "bad UTF-8": (bad("u1", "u\xff").decode().encode("latin-1"), 2, "is not UTF-8"),
    "UTF-16": (BOTH.encode("utf-16"), 1, "UTF-16"),
    "column missing": (bad(",out_octets", ""), 1, "the column out_octets is missing"),
    "column unknown": (bad("user,", "usr,"), 1, "unknown column 'usr'"),
    "column twice": (bad("user,subscription", "user,user"), 1, "named twice"),
    "a value too few": (bad("mobile,accounting,1,2", "mobile,accounting,1"), 3, "8 values"),
    "negative": (bad(",10,100", ",-10,100"), 2, "in_octets '-10' is negative"),
    "fraction": (bad(",10,100", ",10,1e3"), 2, "out_octets '1e3' is no whole number"),
    "other digits": (bad(",10,100", ",10,\u0661"), 2, "no whole number"),
    "too much": (bad(",10,100", f",10,{2**53 + 1}"), 2, "more than a user's day"),
    "unknown service": (bad("s1,fixed", "s1,cable"), 2, "service 'cable' is none of fixed, mobile"),
    "unknown segment": (bad("fixed,personal", "fixed,home"), 2, "segment 'home'"),
    "unknown access": (bad(",ipoe,", ",dsl,"), 2, "access 'dsl'"),
    "mobile on a line": (bad("mobile,personal,mobile", "mobile,personal,ipoe"), 3, "service mobile has no access ipoe"),
    "flows as accounting": (bad("ipoe,accounting", "ipoe,netflow"), 2, "volume_source 'netflow'"),
    "no user": (bad(",0901,", ",,"), 3, "user is empty"),
    "control character": (bad("u1", "u\x001"), 2, "printable"),
    "no day": (bad("2026-09-21,u1", "21.9.2026,u1"), 2, "'21.9.2026' is no day"),
    "day of another week form": (bad("2026-09-21,u1", "2026-W39-1,u1"), 2, "is no day"),
    "wrong day": (bad("2026-09-21,0901", "2026-09-22,0901"), 3, "day 2026-09-22 is not 2026-09-21"),
    "duplicate user": (f"{BOTH}{MOBILE}\n".encode(), 4, "this user has line 3 on 2026-09-21 already"),
    "duplicate subscription": (f"{BOTH}{IPOE.replace('u1', 'u2')}\n".encode(), 4, "line 2 on 2026-09-21 already"),
    "open quote": (bad("u1", '"u1'), 3, "is not CSV"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_whole(tmp_path: Path, name: str) -> None:
    body, where, reason = REFUSED[name]
    path = tmp_path / "volumes.csv"
    path.write_bytes(body)
    with pytest.raises(AccountingFileError) as caught:
        read_accounting(path, DAY)
    assert str(path) in str(caught.value) and reason in caught.value.reason
    assert caught.value.line == where


SAME: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode, "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(), "blank lines": lambda text: f"\n{text}\n\n".encode(),
    "no last line end": lambda text: text.rstrip().encode(), "spaces": lambda text: text.replace(",", " , ").encode(),
    "columns turned round": lambda text: "\n".join(
        ",".join(reversed(each.split(","))) for each in text.split()).encode(),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_a_good_file_says_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "volumes.csv"
    path.write_bytes(SAME[form](BOTH))
    (found,) = read_accounting(path, DAY)
    # By subscription on IPoE, by line on mobile.
    assert found == DayVolumes(
        DAY, [("fixed", "s1", "ipoe"), ("mobile", "0901", "mobile")], ["personal"] * 2, [10, 1], [100, 2]
    )


def test_what_is_no_file_and_what_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(AccountingFileError, match="cannot be read: No such file"):
        read_accounting(tmp_path / "none.csv")
    path = tmp_path / "large.csv"
    path.write_text(BOTH)
    with pytest.raises(AccountingFileError, match="at most 10 are read"):
        read_accounting(path, max_bytes=10)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 and no more")
    with pytest.raises(AccountingFileError, match=r"torn\.parquet"):
        read_accounting(torn)
    wrong = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({name: [None if name == "user" else "x"] for name in COLUMNS}), wrong)
    with pytest.raises(AccountingFileError, match=r"wrong\.parquet:1: "):
        read_accounting(wrong)


@pytest.mark.parametrize("name", ["volumes.csv", "volumes.parquet"])
def test_the_simulated_network_is_in_force_user_by_user(store: EmbeddedStore, tmp_path: Path, name: str) -> None:
    population = populate(PeoplePlan(pppoe=40, ipoe=40, mobile=50, on_both=10), 1)
    days = [DAY, date(2026, 9, 22)]
    write_accounting(tmp_path / name, population, days)
    told = accounting_table(population, days).to_pylist()
    for volumes in read_accounting(tmp_path / name):
        assert put_day(store, volumes, "all", ids, NOW).changed
    for day in days:
        wanted = {}
        for row in (row for row in told if row["day"] == day):
            # The name by which the simulated leases know the user: so flows and volumes have one id.
            who = population.subscriber[population.name.index(row["user"])]
            wanted[sub_id(KEY, row["service"], who, row["access"])] = row["out_octets"]
        assert len(wanted) > 80
        assert in_force(store, day) == wanted


def test_a_corrected_file_replaces_its_day_and_source_and_nothing_else(store: EmbeddedStore) -> None:
    put(store, a=100, b=200)
    put(store, "wholesale", c=300)
    put(store, day=date(2026, 9, 20), a=7)
    assert put(store, now=NOW + 1, a=150).changed
    assert in_force(store) == {line("a"): 150, line("c"): 300}
    assert in_force(store, date(2026, 9, 20)) == {line("a"): 7}
    # And back again: no token of the first time may stand in its way; nor does a clock that was set back.
    assert put(store, now=NOW - 50, a=100, b=200).changed
    assert in_force(store) == {line("a"): 100, line("b"): 200, line("c"): 300}


def test_the_same_file_again_changes_nothing(store: EmbeddedStore) -> None:
    assert put(store, a=100, b=200).changed
    before = store.query("SELECT * FROM accounting_1d ORDER BY ALL").to_pylist()
    assert not put(store, now=NOW + 9, b=200, a=100).changed
    assert store.query("SELECT * FROM accounting_1d ORDER BY ALL").to_pylist() == before
    assert store.query("SELECT count() AS n FROM accounting_import").to_pylist() == [{"n": 1}]


def test_usage_by_session_is_one_row_a_user_and_day() -> None:
    next_day = date(2026, 9, 22)
    found = by_day([
        (next_day, "s1", "fixed", "personal", "ipoe", 1, 2), (DAY, "s1", "fixed", "personal", "ipoe", 10, 20),
        (DAY, "s1", "fixed", "enterprise", "ipoe", 100, 200), (DAY, "s1", "fixed", "personal", "pppoe", 7, 8),
        (DAY, "0901", "mobile", "personal", "other", 3, 4), (DAY, "0901", "mobile", "personal", "mobile", 30, 40),
    ])  # fmt: skip
    assert found == [
        DayVolumes(DAY, [("fixed", "s1", "ipoe"), ("fixed", "s1", "pppoe"), ("mobile", "0901", "mobile")],
                   ["enterprise", "personal", "personal"], [110, 7, 33], [220, 8, 44]),
        DayVolumes(next_day, [("fixed", "s1", "ipoe")], ["personal"], [1], [2]),
    ]  # fmt: skip


class Dies(Exception):  # noqa: N818 - as in the name of the test
    """Instead of a write."""


class DyingStore:
    """Ends before its n-th write."""

    def __init__(self, store: EmbeddedStore, writes: int) -> None:
        self._store, self._left = store, writes
        self.query = store.query

    def _one(self) -> None:
        if not self._left:
            raise Dies
        self._left -= 1

    def insert(self, name: str, rows: pa.Table, *, token: str) -> None:
        self._one()
        self._store.insert(name, rows, token=token)

    def command(self, sql: str, *, token: str | None = None) -> None:
        self._one()
        self._store.command(sql, token=token)

    def close(self) -> None: ...


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_import_that_dies_leaves_the_old_or_the_new_day(store: EmbeddedStore, writes: int) -> None:
    put(store, a=100, b=200)
    volumes = DayVolumes(DAY)
    volumes.add(("mobile", "a", "mobile"), "personal", 1, 150)
    with pytest.raises(Dies):
        put_day(DyingStore(store, writes), volumes, "gateway", ids, NOW + 1)
    assert in_force(store) == ({line("a"): 100, line("b"): 200} if writes < 2 else {line("a"): 150})
    put_day(store, volumes, "gateway", ids, NOW + 2)
    assert in_force(store) == {line("a"): 150}


def test_a_user_of_two_sources_is_refused(store: EmbeddedStore) -> None:
    put(store, a=100, b=200)
    with pytest.raises(AccountingError, match="1 users are in the accounting of source 'gateway' already"):
        put(store, "radius", b=9, c=9)
    assert in_force(store) == {line("a"): 100, line("b"): 200}
    assert store.query("SELECT DISTINCT source FROM accounting_1d").to_pylist() == [{"source": "gateway"}]
    put(store, "radius", c=9)  # at the same moment
    assert in_force(store) == {line("a"): 100, line("b"): 200, line("c"): 9}
    with pytest.raises(AccountingError, match="write a short name"):
        put(store, "x' OR 1", d=1)


SCOPES = (("fixed", "pppoe"), ("fixed", "ipoe"), ("mobile", "mobile"), ("fixed", "other"))


def with_flows_and_accounting(store: EmbeddedStore) -> None:
    """A user of each scope: 1,000 octets in and 2,000 out by flows, 10 and 20 by accounting."""
    batch = flows(8, direction=[1, 2] * 4, octets_est=[1000, 2000] * 4, sub_id=np.repeat([1, 2, 3, 4], 2), bus_offset=0)
    for name, values in (("service", [each[0] for each in SCOPES]), ("access", [each[1] for each in SCOPES])):
        label(batch, name, [value for value in values for _ in range(2)])
    label(batch, "segment", ["personal"] * 8)
    store.insert("flows", table(batch), token="t")
    store.command(statement("subscriber_1d", of_offsets(0, 0, 1), TIMEZONE), token="r")
    volumes = DayVolumes(DAY)
    for number, (service, access) in enumerate(SCOPES, 1):
        volumes.add((service, str(number), access), "personal", 10, 20)
    put_day(store, volumes, "all", lambda users: np.array([int(user[1]) for user in users], "u8"), NOW)


def user_days(store: EmbeddedStore) -> dict[tuple[str, str], tuple[str, int, int]]:
    rows = store.query("SELECT * FROM v_user_day WHERE day = {day:Date}", day=DAY).to_pylist()
    found = {(row["service"], row["access"]): (row["volume_source"], row["in_octets"], row["out_octets"])
             for row in rows}  # fmt: skip
    assert len(found) == len(rows)
    return found


def test_flows_and_accounting_of_a_user_are_never_added(store: EmbeddedStore) -> None:
    with_flows_and_accounting(store)
    by_flows, counted = ("netflow", 1000, 2000), ("accounting", 10, 20)
    assert user_days(store) == dict(zip(SCOPES, (by_flows, counted, counted, by_flows), strict=True))


def test_the_source_of_a_scope_is_a_setting(fresh_store: EmbeddedStore) -> None:
    with_flows_and_accounting(fresh_store)
    by_flows, counted = ("netflow", 1000, 2000), ("accounting", 10, 20)
    chosen = FOR_EVER.model_copy(update={"volume_sources": {"fixed/ipoe": "netflow", "fixed/pppoe": "accounting"}})
    migrate(fresh_store, chosen, TIMEZONE)
    assert user_days(fresh_store) == dict(zip(SCOPES, (counted, by_flows, counted, by_flows), strict=True))
    migrate(fresh_store, FOR_EVER, TIMEZONE)
    assert user_days(fresh_store) == dict(zip(SCOPES, (by_flows, counted, counted, by_flows), strict=True))
