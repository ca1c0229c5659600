"""Who was seen, names, and erasure, in the real store; and who may read a name."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pytest

from enricher.leases import LeaseTable
from enricher.seen import seen_rows
from enricher.sources.tables import parse_leases
from enricher.subscribers import sub_id
from flowtide.lease_files import difference, held, lease, rows_of
from sinks.embedded import EmbeddedStore
from sinks.grants import grants_sql, readable
from sinks.http_port import HttpPort
from sinks.rollup_tables import of_offsets, statement
from sinks.settings import HttpSettings
from sinks.subscribers import BY_ID, erase, local_day, put_names, put_seen
from sinks.subscribers import rows_of as stored_rows
from tests.stored import TIMEZONE, flows, table

KEY = b"a key of the tests, 32 bytes long"
DAY = date(2026, 9, 21)
NOW = 1_790_100_000.0
HEAD = "prefix,from,to,subscriber,group,service,segment,access\n"


def table_of(*lines: str) -> LeaseTable:
    return LeaseTable.of(parse_leases((HEAD + "\n".join(lines)).encode(), Path("leases.csv")), KEY)


def users(found: pa.Table) -> set[tuple[int, str, str, str]]:
    return {(row["sub_id"], row["service"], row["segment"], row["access"]) for row in found.to_pylist()}


def user(name: str, access: str = "pppoe", segment: str = "personal") -> tuple[int, str, str, str]:
    service = "mobile" if access == "mobile" else "fixed"
    return sub_id(KEY, service, name, access), service, segment, access


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


# 2026-09-21 in Tokyo is from 15:00Z of the 20th to 15:00Z of the 21st.
LINES = {
    "the whole day": ("10.0.0.1/32,2026-09-01T00:00:00Z,,whole,,fixed,personal,pppoe", True),
    "its last second": ("10.0.0.2/32,2026-09-21T14:59:59Z,2026-09-30T00:00:00Z,last,,fixed,personal,pppoe", True),
    "its first second": ("10.0.0.3/32,2026-09-01T00:00:00Z,2026-09-20T15:00:01Z,first,,fixed,personal,pppoe", True),
    "within it": ("2001:db8::/56,2026-09-21T01:00:00Z,2026-09-21T02:00:00Z,within,,mobile,personal,mobile", True),
    "until it begins": ("10.0.0.4/32,2026-09-01T00:00:00Z,2026-09-20T15:00:00Z,before,,fixed,personal,pppoe", False),
    "from its end": ("10.0.0.5/32,2026-09-21T15:00:00Z,,after,,fixed,personal,pppoe", False),
    "closed by the next": ("10.0.0.6/32,2026-09-01T00:00:00Z,,gone,,fixed,personal,pppoe\n"
                           "10.0.0.6/32,2026-09-20T00:00:00Z,,next,,fixed,personal,pppoe", None),
}  # fmt: skip


def test_seen_is_who_held_something_within_the_local_day() -> None:
    found = users(seen_rows(table_of(*(text for text, _ in LINES.values())), *local_day(DAY, TIMEZONE)))
    assert found == {
        user("whole"), user("last"), user("first"), user("within", "mobile"), user("next"),
    }  # fmt: skip


def test_a_user_is_once_and_of_two_accesses_twice() -> None:
    found = seen_rows(
        table_of(
            "10.0.0.1/32,2026-09-01T00:00:00Z,,a,,fixed,personal,pppoe",
            "10.0.0.2/32,2026-09-02T00:00:00Z,,a,,fixed,enterprise,pppoe",  # the newer lease says the segment
            "2001:db8::/56,2026-09-01T00:00:00Z,,a,,fixed,personal,pppoe",
            "10.0.0.3/32,2026-09-01T00:00:00Z,,a,,fixed,personal,ipoe",
        ),
        *local_day(DAY, TIMEZONE),
    )
    assert found.num_rows == 2
    assert users(found) == {user("a", segment="enterprise"), user("a", "ipoe")}
    assert seen_rows(LeaseTable.empty(), 0, 1).num_rows == 0


def test_days_with_a_clock_change_have_23_and_25_hours() -> None:
    hours = [(end - begin) / 3_600_000 for begin, end in (
        local_day(day, "Europe/Paris") for day in (date(2026, 3, 29), date(2026, 10, 25), DAY))]  # fmt: skip
    assert hours == [23, 25, 24]


def test_the_same_look_again_is_nothing_and_a_later_one_adds(store: EmbeddedStore) -> None:
    one = seen_rows(table_of(LINES["the whole day"][0]), *local_day(DAY, TIMEZONE))
    both = seen_rows(table_of(LINES["the whole day"][0], LINES["within it"][0]), *local_day(DAY, TIMEZONE))
    for now, rows in ((NOW, one), (NOW + 5, one), (NOW + 9, both)):
        assert put_seen(store, DAY, rows, now) == rows.num_rows
    assert store.query("SELECT count() AS n FROM subscriber_seen_1d").to_pylist() == [{"n": 3}]
    assert users(store.query("SELECT * FROM v_subscribers_seen WHERE day = {d:Date}", d=DAY)) == {
        user("whole"), user("within", "mobile"),
    }  # fmt: skip


def name_rows(*names: str) -> pa.Table:
    return pa.table({
        "sub_id": pa.array([user(name)[0] for name in names], pa.uint64()), "service": ["fixed"] * len(names),
        "subscriber": list(names), "access": ["pppoe"] * len(names),
    })  # fmt: skip


def test_erase_takes_one_subscriber_out_of_every_table(store: EmbeddedStore) -> None:
    mine, other = user("mine")[0], user("other")[0]
    batch = flows(4, sub_id=np.array([mine, mine, other, 0], "u8"), direction=2, bus_offset=0)
    addresses = ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.1")
    times = ("2026-09-21T01:00:00Z", "2026-09-21T01:01:00Z", "2026-09-21T01:00:00Z", "2026-09-21T09:00:00Z")
    for name in ("ts", "ts_start"):
        batch.columns[name][:] = np.array([ms(when) for when in times], "M8[ms]")
    packed = [b"\0" * 10 + b"\xff\xff" + bytes(map(int, text.split("."))) for text in addresses]
    batch.columns["dst_addr"] = np.frombuffer(b"".join(packed), "V16").copy()
    store.insert("flows", table(batch), token="t")
    for rollup in ("subscriber_1d", "talker_5m", "bucket_1m"):
        store.command(statement(rollup, of_offsets(0, 0, 1), TIMEZONE), token=rollup)
    put_names(store, name_rows("mine", "other"), NOW)
    put_seen(store, DAY, name_rows("mine", "other").append_column("segment", pa.array(["personal"] * 2)), NOW)
    for number in (mine, other):
        store.command(f"INSERT INTO accounting_1d (day, source, made, sub_id) VALUES ('{DAY}', 's', 1, {number})")
    rows = parse_leases(
        (HEAD + "10.0.0.1/32,2026-09-21T00:00:00Z,2026-09-21T02:00:00Z,mine,,fixed,personal,pppoe\n"
         "10.0.0.2/32,2026-09-21T00:00:00Z,,other,,fixed,personal,pppoe").encode(), Path("x"))  # fmt: skip

    def talkers() -> set[tuple[str, str]]:
        sql = (
            "SELECT DISTINCT toString(prefix) AS p, toString(time) AS t FROM talker_5m WHERE side = 2 AND length = 128"
        )
        return {(row["p"].rpartition(":")[2], row["t"][11:16]) for row in store.query(sql).to_pylist()}

    whole = store.query("SELECT sum(octets) AS o FROM bucket_1m").to_pylist()
    assert talkers() == {("10.0.0.1", "01:00"), ("10.0.0.2", "01:00"), ("10.0.0.1", "09:00")}
    assert stored_rows(store, [mine]) == dict(zip(BY_ID, (2, 1, 1, 1, 1), strict=True))
    gone = erase(store, [mine], held(rows, rows_of(rows, "mine").tolist(), int(NOW * 1000)))
    assert gone == {**dict(zip(BY_ID, (2, 1, 1, 1, 1), strict=True)), "talker_5m": 1}
    assert stored_rows(store, [mine]) == dict.fromkeys(BY_ID, 0)
    # The address was another's later, and figures of many stay.
    assert talkers() == {("10.0.0.2", "01:00"), ("10.0.0.1", "09:00")}
    assert stored_rows(store, [other]) == dict.fromkeys(BY_ID, 1)
    assert store.query("SELECT sum(octets) AS o FROM bucket_1m").to_pylist() == whole
    assert sum(erase(store, [mine], []).values()) == 0


@pytest.fixture
def readers(store: EmbeddedStore) -> Iterator[str]:
    put_names(store, name_rows("a name"), NOW)
    settings = HttpSettings(listen="127.0.0.1:0", admin_token="a token of the tests")
    port = HttpPort(store, settings, dict, TIMEZONE)
    host, number = port.start()
    yield f"http://{host}:{number}"
    port.close()


def ask(url: str, sql: str, database: str, **headers: str) -> str:
    request = Request(f"{url}/?{urlencode({'database': database})}", sql.encode(), headers)
    with urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("sql", [
    "SELECT subscriber FROM subscriber_name", "SELECT * FROM {d}.subscriber_name",
    "SELECT count() FROM flows WHERE sub_id IN subscriber_name",
    "WITH n AS (SELECT * FROM subscriber_name) SELECT * FROM n",
])  # fmt: skip
def test_names_are_not_for_readers_unless_a_setting_says_so(readers: str, store: EmbeddedStore, sql: str) -> None:
    with pytest.raises(HTTPError) as caught:
        ask(readers, sql.replace("{d}", store.database), store.database)
    assert "subscriber_name is not for readers" in caught.value.read().decode()
    admin = {"X-ClickHouse-User": "admin", "X-ClickHouse-Key": "a token of the tests"}
    assert "a name" in ask(readers, "SELECT subscriber FROM subscriber_name", store.database, **admin)


def test_names_have_a_role_of_their_own() -> None:
    assert readable("names") == ["subscriber_name"]
    granted = [text for text in grants_sql("flowtide").splitlines() if "subscriber_name" in text]
    assert granted == ["GRANT SELECT ON flowtide.subscriber_name TO names;"]


def test_what_differs_between_two_files() -> None:
    old = parse_leases((HEAD + "\n".join((
        "10.0.0.1/32,2026-09-01T00:00:00Z,,stays,,fixed,personal,pppoe",
        "10.0.0.2/32,2026-09-01T00:00:00Z,,ends,,fixed,personal,pppoe",
        "10.0.0.3/32,2026-09-01T00:00:00Z,,before,,fixed,personal,pppoe",
        "10.0.0.4/32,2026-09-01T00:00:00Z,,goes,,fixed,personal,pppoe",
        "10.0.0.5/32,2026-09-01T00:00:00Z,2026-09-02T00:00:00Z,longer,,fixed,personal,pppoe",
    ))).encode(), Path("old"))  # fmt: skip
    new = parse_leases((HEAD + "\n".join((
        "10.0.0.6/32,2026-09-01T00:00:00Z,,comes,,fixed,personal,pppoe",
        "10.0.0.3/32,2026-09-01T00:00:00Z,,after,,fixed,personal,pppoe",
        "10.0.0.2/32,2026-09-01T00:00:00Z,2026-09-05T00:00:00Z,ends,,fixed,personal,pppoe",
        "10.0.0.1/32,2026-09-01T00:00:00Z,,stays,,fixed,personal,pppoe",
        "10.0.0.5/32,2026-09-01T00:00:00Z,2026-09-03T00:00:00Z,longer,,fixed,personal,pppoe",
        "2001:db8::/56,2026-09-02T00:00:00Z,,comes,,fixed,personal,pppoe",
    ))).encode(), Path("new"))  # fmt: skip
    found = difference(old, new)

    def named(rows: np.ndarray[tuple[int], np.dtype[np.int64]], of: object = new) -> list[str]:
        return [lease(of, at).prefix for at in rows.tolist()]  # type: ignore[arg-type]

    assert named(found.added) == ["10.0.0.6/32", "2001:db8::/56"]
    assert named(found.ended) == ["10.0.0.2/32"]
    assert named(found.changed) == ["10.0.0.3/32", "10.0.0.5/32"]
    assert named(found.gone, old) == ["10.0.0.4/32"]
    same = difference(new, new)
    assert [len(each) for each in (same.added, same.ended, same.changed, same.gone)] == [0, 0, 0, 0]


def test_a_day_on_which_nobody_was_there_is_no_error(known: EmbeddedStore) -> None:
    nobody = seen_rows(LeaseTable.empty(), *local_day(DAY, TIMEZONE))
    assert put_seen(known, date(2001, 1, 1), nobody, NOW) == 0
