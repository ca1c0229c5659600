"""The console over the real engine and its HTTP port: types, refusals, CSV, ends and returns."""

import csv
import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dashboards import library
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.queries import worked_queries
from sinks.settings import HttpSettings
from tests.console_store import Address, ask, console, error, send
from tests.integration.test_http_port_readers import ALLOWED, ATTEMPTS, SECRET, state
from tests.stored import START_MS, TIMEZONE, flows, table

TOKEN = "s3cret"
RUNNING = "SELECT count() AS n FROM system.processes WHERE startsWith(Settings['log_comment'], 'http')"
FOR_EVER = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"
NEW_YEAR = 1_767_225_600_000  # 2026-01-01 00:00:00 UTC


def served(store: EmbeddedStore, listen: str = "127.0.0.1:0") -> HttpPort:
    settings = HttpSettings(listen=listen, admin_token=SecretStr(TOKEN))
    return HttpPort(store, settings, lambda: {"ok": True}, TIMEZONE)


@pytest.fixture
def port(store: EmbeddedStore) -> Iterator[str]:
    """URL of the port over a store with seven flows."""
    store.insert("flows", table(flows(7)), token="t")
    opened = served(store)
    host, number = opened.start()
    yield f"http://{host}:{number}"
    opened.close()


@pytest.fixture
def address(port: str, store: EmbeddedStore) -> Iterator[Address]:
    with console(port, store.database, TIMEZONE) as started:
        yield started


def sql(address: Address, text: str, **parameters: str) -> Any:
    return ask(address, "/api/sql", {"sql": text, "parameters": parameters})


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


KINDS: list[tuple[str, Any]] = [
    ("toDateTime('2026-01-01 09:00:00')", NEW_YEAR),  # of the session: Tokyo
    ("toDateTime('2026-01-01 00:00:00', 'UTC')", NEW_YEAR),
    ("toDateTime64('2026-01-01 00:00:00.250', 3, 'UTC')", NEW_YEAR + 250),
    ("toDateTime64('2026-01-01 00:00:00.000500', 6, 'UTC')", NEW_YEAR + 0.5),
    ("toDateTime64('1960-01-01 00:00:00.5', 3, 'UTC')", -315_619_199_500),
    ("toLowCardinality(toNullable(toDateTime(1767225600)))", NEW_YEAR),
    ("CAST(NULL AS Nullable(DateTime))", None),
    ("toDate('2026-01-01')", "2026-01-01"),
    ("toDate32('1920-02-29')", "1920-02-29"),
    ("toUInt64(18446744073709551615)", 18446744073709551615),
    ("toInt64(-9007199254740993)", -9007199254740993),
    ("toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')", 2**256 - 1),
    ("nan", None), ("-inf", None), ("1 / 0", None), ("0.1", 0.1), ("toFloat32(0.5)", 0.5),
    ("NULL", None),
    ("toDecimal64(1.25, 2)", 1.25),
    ("true", True),
    ("toIPv6('2001:db8::1')", "2001:db8::1"),
    ("toIPv6('192.0.2.1')", "::ffff:192.0.2.1"),
    ("toIPv4('192.0.2.1')", "192.0.2.1"),
    ("toLowCardinality('tcp/443')", "tcp/443"),
    ("toFixedString('ab', 2)", "ab"),
    ("CAST('b' AS Enum8('a' = 1, 'b' = 2))", "b"),
    ("toUUID('00000000-0000-0000-0000-000000000001')", "00000000-0000-0000-0000-000000000001"),
    ("[toUInt64(1), 2]", [1, 2]),
    ("[toDateTime(1767225600, 'UTC'), NULL]", [NEW_YEAR, None]),
    ("map('a', toUInt64(1))", {"a": 1}),
    ("(toDateTime(1767225600), 'x')", [NEW_YEAR, "x"]),
    ("unhex('FF') || '\\'\"<b>\\\\\\n'", "\N{REPLACEMENT CHARACTER}'\"<b>\\\n"),
    ("'ü' || char(0)", "ü\0"),
]  # fmt: skip


def test_each_kind_of_column_arrives_as_the_contract_says(address: Address) -> None:
    wrong = []
    for expression, wanted in KINDS:
        (row,) = sql(address, f"SELECT {expression} AS x")["rows"]
        if row != [wanted] or type(row[0]) is not type(wanted):
            wrong.append((expression, row[0], wanted))
    assert wrong == []


def test_flows_are_there_with_their_times_and_addresses(address: Address) -> None:
    found = sql(address, "SELECT ts, octets, src_addr, exporter FROM flows LIMIT 1")
    assert found["rows"] == [[START_MS, 100, "::", found["rows"][0][3]]]
    assert [column["name"] for column in found["columns"]] == ["ts", "octets", "src_addr", "exporter"]


def test_every_attempt_to_do_more_than_read_is_refused(address: Address, store: EmbeddedStore, tmp_path: Path) -> None:
    secret, new = tmp_path / "secret.txt", tmp_path / "new"
    secret.write_text(SECRET + "\n")
    before, wrong = state(store), []
    for attempt in ATTEMPTS:
        text = attempt.format(secret=secret, new=new)
        for path in ("/api/sql", "/api/sql?format=csv"):
            status, _, body = send(address, path, {"sql": text})
            if status != 400 or SECRET.encode() in body:
                wrong.append((text, status, body[:200]))
    assert wrong == []
    assert len(ATTEMPTS) > 100
    assert not new.exists()
    assert state(store) == before


def test_what_readers_may_do_works(address: Address) -> None:
    for text in ALLOWED:
        if "FORMAT" not in text:
            assert sql(address, text)["columns"], text


def test_parameters_in_the_url_cannot_change_the_query(address: Address, port: str) -> None:
    body = {"sql": "SELECT getSetting('readonly'), {x:String}", "parameters": {"x": "1&readonly=0&user=admin"}}
    found = ask(address, f"/api/sql?readonly=0&user=admin&password={TOKEN}&max_result_rows=0", body)
    assert found["rows"] == [[1, "1&readonly=0&user=admin"]]


def test_parameters_are_typed_values(address: Address) -> None:
    hard = "a\\b\tc\nd'e\"f%ü"
    assert sql(
        address, "SELECT {s:String}, {n:UInt8} + 1, {t:DateTime('UTC')}", s=hard, n="4", t="2026-01-01 00:00:00"
    )["rows"] == [[hard, 5, NEW_YEAR]]
    status, text = error(address, "/api/sql", {"sql": "SELECT {n:UInt8}", "parameters": {"n": "x"}})
    assert status == 400 and "n" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELEC 1", "Syntax error"),
        ("SELECT nothing", "Unknown expression identifier `nothing`"),
        ("SELECT 1 FROM nowhere", "nowhere"),
        ("SELECT throwIf(number = 3, 'words of mine') FROM numbers(5)", "words of mine"),
        ("SELECT * FROM url('http://127.0.0.1:9/')", "table function url() is not for readers"),
    ],
)
def test_errors_are_the_stores_words_without_its_noise(address: Address, text: str, said: str) -> None:
    status, found = error(address, "/api/sql", {"sql": text})
    assert status == 400 and said in found
    for noise in ("DB::Exception", "Code:", "version 2", "Stack trace", "parseQueryToJSON"):
        assert noise not in found


def test_what_is_more_than_the_bound_is_cut_exactly(port: str, store: EmbeddedStore) -> None:
    with console(port, store.database, TIMEZONE, max_rows=3) as address:
        found = sql(address, "SELECT number FROM numbers(1000000) ORDER BY number DESC")
        assert found["rows"] == [[999_999], [999_998], [999_997]] and found["truncated"] is True
        found = sql(address, "SELECT number FROM numbers(3)")
        assert len(found["rows"]) == 3 and found["truncated"] is False
        found = sql(address, "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4")
        assert len(found["rows"]) == 3 and found["truncated"] is True
        # The whole is a file.
        body = send(address, "/api/sql?format=csv", {"sql": "SELECT number FROM numbers(300000)"})[2]
        assert body.count(b"\n") == 300_001


def test_csv_has_names_quotes_and_times_of_the_stores_zone(address: Address) -> None:
    text = "SELECT 'a\"b,c' AS s, toDateTime('2026-01-01 00:00:00', 'UTC') AS utc, toDateTime(1767225600) AS here," \
           " toUInt64(18446744073709551615) AS n, NULL AS x"  # fmt: skip
    status, headers, body = send(address, "/api/sql?format=csv", {"sql": text})
    assert status == 200 and headers["content-disposition"] == 'attachment; filename="query.csv"'
    (row,) = csv.DictReader(io.StringIO(body.decode()))
    assert row == {"s": 'a"b,c', "utc": "2026-01-01 00:00:00", "here": "2026-01-01 09:00:00",
                   "n": "18446744073709551615", "x": "\\N"}  # fmt: skip


def test_every_worked_query_runs_with_its_example(address: Address) -> None:
    for query in ask(address, "/api/queries"):
        found = ask(address, "/api/sql", {"sql": query["sql"], "parameters": query["parameters"]})
        assert found["columns"], query["name"]
    assert len(worked_queries()) > 20


def test_every_panel_and_variable_answers_on_a_store_with_little_in_it(address: Address) -> None:
    window = {"from": START_MS - 3_600_000, "to": START_MS + 1000}
    answered = 0
    for uid, dashboard in library.dashboards().items():
        variables = ask(address, f"/api/dashboards/{uid}/variables", window)
        assert {name: entry["error"] for name, entry in variables.items() if "error" in entry} == {}
        for panel in dashboard["panels"]:
            if not panel.get("targets"):
                continue
            found = ask(address, f"/api/dashboards/{uid}/panels/{panel['id']}", window | {"max_points": 400})
            assert [frame["error"] for frame in found["frames"] if "error" in frame] == [], panel["title"]
            link = f"/api/dashboards/{uid}/panels/{panel['id']}/csv?from={window['from']}&to={window['to']}"
            status, _, body = send(address, link)
            assert status == 200, body
            # The same columns, whichever way.
            names = [column["name"] for column in found["frames"][0]["columns"]]
            assert next(csv.reader(io.StringIO(body.decode()))) == names
            answered += 1
    assert answered > 20


def test_a_panel_may_take_its_time_and_no_more(
    port: str, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = {"uid": "slow", "title": "Slow", "templating": {"list": []},
             "panels": [{"id": 1, "type": "stat", "targets": [{"refId": "A", "rawSql": FOR_EVER}]}]}  # fmt: skip
    monkeypatch.setattr("dashboards.library.dashboards", lambda: {"slow": board})
    with console(port, store.database, TIMEZONE, panel_seconds=1) as address:
        (frame,) = ask(address, "/api/dashboards/slow/panels/1", {"from": 1, "to": 2})["frames"]
        assert "Timeout exceeded" in frame["error"] and "TIMEOUT_EXCEEDED" in frame["error"]


@pytest.mark.parametrize("path", ["/api/sql", "/api/sql?format=csv", "/api/dashboards/slow/panels/1"])
def test_a_browser_that_goes_away_ends_its_query(
    address: Address, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    board = {"uid": "slow", "title": "Slow", "templating": {"list": []},
             "panels": [{"id": 1, "type": "stat", "targets": [{"refId": "A", "rawSql": FOR_EVER}]}]}  # fmt: skip
    monkeypatch.setattr("dashboards.library.dashboards", lambda: {"slow": board})
    body = json.dumps({"sql": FOR_EVER} if "sql" in path else {"from": 1, "to": 2}).encode()
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    until(lambda: store.query(RUNNING).to_pylist()[0]["n"] == 1)
    connection.close()
    until(lambda: store.query(RUNNING).to_pylist()[0]["n"] == 0)
    # … and its turn is free again.
    assert sql(address, "SELECT 1")["rows"] == [[1]]


def test_a_browser_that_stops_reading_a_file_and_leaves_ends_its_query(address: Address, store: EmbeddedStore) -> None:
    for _ in range(3):  # as many as have a turn, and one more
        with socket.create_connection(address) as reading:
            body = b'{"sql": "SELECT number, toString(number) AS s FROM numbers(1000000)"}'
            reading.sendall(
                b"POST /api/sql?format=csv HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert reading.recv(1000).startswith(b"HTTP/1.1 200")
    until(lambda: store.query(RUNNING).to_pylist()[0]["n"] == 0)
    assert sql(address, "SELECT 1")["rows"] == [[1]]


def test_an_account_that_may_write_is_made_a_reader(port: str, store: EmbeddedStore) -> None:
    with console(port, store.database, TIMEZONE, ("admin", TOKEN)) as address:
        assert sql(address, "SELECT getSetting('readonly')")["rows"] == [[1]]
        for text in ("TRUNCATE TABLE flows", "SET readonly = 0", "SELECT 1 SETTINGS readonly = 0"):
            assert error(address, "/api/sql", {"sql": text})[0] == 400
    assert store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 7}]


def test_a_wrong_password_of_the_console_is_told_with_the_settings_to_change(port: str, store: EmbeddedStore) -> None:
    with console(port, store.database, TIMEZONE, ("nobody", "")) as address:
        status, text = error(address, "/api/sql", {"sql": "SELECT 1"})
    assert status == 503 and "console.store_user" in text


def test_a_store_that_comes_back_answers_again(store: EmbeddedStore) -> None:
    opened = served(store)
    host, number = opened.start()
    with console(f"http://{host}:{number}", store.database, TIMEZONE) as address:
        assert sql(address, "SELECT 1")["rows"] == [[1]]
        opened.close()
        assert error(address, "/api/sql", {"sql": "SELECT 1"})[0] == 503
        assert send(address, "/healthz")[0] == 503
        again = served(store, f"{host}:{number}")
        try:
            assert again.start() == (host, number)
            assert sql(address, "SELECT 1")["rows"] == [[1]]
            assert send(address, "/healthz")[0] == 200
        finally:
            again.close()
