"""The HTTP port as curl, clickhouse-connect and Grafana's data source use it."""

import asyncio
import contextlib
import gzip
import http.client
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
from pydantic import SecretStr

from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.settings import HttpSettings
from tests.stored import TIMEZONE, flows, table

Address = tuple[str, int]
TOKEN = "s3cret"


@pytest.fixture
def port(store: EmbeddedStore) -> Iterator[HttpPort]:
    settings = HttpSettings(listen="127.0.0.1:0", admin_token=SecretStr(TOKEN), max_rows=1000, max_seconds=1)
    served = HttpPort(store, settings, lambda: {"ok": True, "rows": 1}, TIMEZONE)
    yield served
    served.close()


@pytest.fixture
def address(port: HttpPort) -> Address:
    return port.start()


def ask(
    address: Address, body: str | bytes = b"", method: str = "POST", path: str = "/", headers: Any = None, **fields: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    query = f"?{urlencode(fields)}" if fields else ""
    connection.request(method, path + query, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_the_query_comes_by_url_or_body(address: Address) -> None:
    assert ask(address, "SELECT 1")[::2] == (200, b"1\n")
    assert ask(address, method="GET", query="SELECT 1")[::2] == (200, b"1\n")
    assert ask(address, "+ 1", query="SELECT 1")[::2] == (200, b"2\n")
    assert ask(address, method="HEAD", query="SELECT 1")[::2] == (200, b"")


def test_headers_tell_of_the_answer(address: Address) -> None:
    status, headers, body = ask(address, "SELECT number FROM numbers(3) FORMAT JSONEachRow", query_id="mine")
    assert (status, body) == (200, b'{"number":0}\n{"number":1}\n{"number":2}\n')
    assert headers["content-type"] == "application/x-ndjson; charset=UTF-8"
    assert headers["x-clickhouse-format"] == "JSONEachRow"
    assert headers["x-clickhouse-query-id"] == "mine"
    assert headers["x-clickhouse-timezone"] == TIMEZONE
    assert headers["x-clickhouse-server-display-name"]
    summary = json.loads(headers["x-clickhouse-summary"])
    assert (summary["result_rows"], summary["read_rows"]) == ("3", "3")


def test_a_header_cannot_be_smuggled_in(address: Address) -> None:
    status, headers, _ = ask(address, "SELECT 1", query_id="a\r\nX-Evil: 1")
    assert status == 200
    assert "x-evil" not in headers


def test_the_default_format_yields_to_the_query(address: Address) -> None:
    assert ask(address, "SELECT 1 AS x", default_format="CSVWithNames")[2] == b'"x"\n1\n'
    assert ask(address, "SELECT 1 AS x FORMAT TSV", default_format="CSVWithNames")[2] == b"1\n"
    for name in ("dataframe", "Nope"):
        assert ask(address, "SELECT 1", default_format=name)[1]["x-clickhouse-exception-code"] == "73"


def test_parameters_are_typed(address: Address) -> None:
    sql = "SELECT {x:UInt8} + 1, {s:String}, {a:Array(String)}"
    status, _, body = ask(address, sql, param_x="4", param_s="it's\\ta", param_a="['b','c']")
    assert (status, body) == (200, b"5\tit\\'s\\ta\t['b','c']\n")


def test_the_database_is_chosen_a_request(address: Address, store: EmbeddedStore) -> None:
    assert ask(address, "SELECT currentDatabase()")[2].decode().strip() == store.database
    assert ask(address, "SELECT currentDatabase()", database="default")[2] == b"default\n"
    status, headers, _ = ask(address, "SELECT 1", database="nowhere")
    assert (status, headers["x-clickhouse-exception-code"]) == (404, "81")


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT 1 +", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1 FROM nowhere", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT x", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nofunction(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Nope", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT number FROM numbers(1001)", 500, 396, "TOO_MANY_ROWS_OR_BYTES"),
        ("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)", 408, 159, "TIMEOUT_EXCEEDED"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {x:UInt8}", 400, 456, "UNKNOWN_QUERY_PARAMETER"),
    ],
)
def test_errors_are_the_servers(address: Address, sql: str, status: int, code: int, name: str) -> None:
    found, headers, body = ask(address, sql)
    assert (found, headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert body.endswith(f"({name})\n".encode())
    assert body.count(b"Code: ") == 1


def test_a_setting_is_known_ours_or_refused(address: Address) -> None:
    assert ask(address, "SELECT getSetting('max_threads')", max_threads="1")[2] == b"1\n"
    assert ask(address, "SELECT 1", nosetting="1")[1]["x-clickhouse-exception-code"] == "115"
    assert ask(address, "SELECT 1", max_parser_depth="1")[1]["x-clickhouse-exception-code"] == "164"
    assert ask(address, "SELECT toTypeName(x) FROM (SELECT 1 AS x) SETTINGS max_threads = 1")[0] == 200


def test_a_reader_may_lower_a_limit_and_not_raise_it(address: Address) -> None:
    setting = "SELECT getSetting('max_execution_time')"
    assert float(ask(address, setting, max_execution_time="0.5")[2]) == 0.5
    for above in ("64", "0", "-1", "inf"):
        assert float(ask(address, setting, max_execution_time=above)[2]) == 1
    assert ask(address, setting, max_execution_time="x")[0] == 400
    assert ask(address, f"{setting} SETTINGS max_execution_time = 64")[1]["x-clickhouse-exception-code"] == "164"
    assert ask(address, "SELECT number FROM numbers(11)", max_result_rows="10")[0] == 500


def test_nothing_leaks_into_the_next_request(address: Address, store: EmbeddedStore) -> None:
    admin = {"X-ClickHouse-User": "admin", "X-ClickHouse-Key": TOKEN}
    for sql in ("SET max_threads = 1", "USE system"):
        assert ask(address, sql, headers=admin)[0] == 200
    answer = ask(address, "SELECT currentDatabase(), getSetting('readonly')")[2].decode().split()
    assert answer == [store.database, "1"]


def test_the_answer_is_packed_where_asked_for(address: Address) -> None:
    sql, accepts = "SELECT repeat('x', 10000)", {"Accept-Encoding": "lz4;q=0, gzip"}
    _, headers, body = ask(address, sql, headers=accepts, enable_http_compression="1")
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 200
    assert gzip.decompress(body) == b"x" * 10_000 + b"\n"
    assert "content-encoding" not in ask(address, sql, headers=accepts)[1]


def test_the_pages_beside_queries(address: Address) -> None:
    assert ask(address, method="GET")[::2] == (200, b"Ok.\n")
    assert ask(address, method="GET", path="/ping")[::2] == (200, b"Ok.\n")
    assert json.loads(ask(address, method="GET", path="/healthz")[2]) == {"ok": True, "rows": 1}
    assert b"http_queries_total" in ask(address, method="GET", path="/metrics")[2]
    assert ask(address, method="GET", path="/replicas_status")[0] == 404


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [("", "", 200), ("default", "", 200), ("reader", "", 200), ("admin", TOKEN, 200), ("admin", "", 401),
     ("admin", "wrong", 403), ("default", TOKEN, 403), ("root", "", 403)],
)  # fmt: skip
def test_who_may_come_in(address: Address, user: str, password: str, status: int) -> None:
    found, headers, body = ask(address, "SELECT 1", user=user, password=password)
    assert found == status
    assert (b"AUTHENTICATION_FAILED" in body) == (status == 403)
    assert ("www-authenticate" in headers) == (status == 401)
    assert TOKEN.encode() not in body


def test_without_a_token_there_is_no_admin(store: EmbeddedStore) -> None:
    served = HttpPort(store, HttpSettings(listen="127.0.0.1:0"), lambda: {"ok": True})
    try:
        address = served.start()
        assert ask(address, "SELECT 1", user="admin", password="")[0] == 401
        assert ask(address, "SELECT 1", user="admin", password="x")[0] == 403
    finally:
        served.close()


def test_an_admin_may_write_but_not_by_a_link(address: Address) -> None:
    admin = {"user": "admin", "password": TOKEN}
    assert ask(address, "CREATE TABLE x (a UInt8) ENGINE = Memory", **admin)[0] == 200
    assert ask(address, "1\n2\n", query="INSERT INTO x FORMAT CSV", **admin)[0] == 200
    assert ask(address, "SELECT sum(a) FROM x")[2] == b"3\n"
    assert ask(address, method="GET", query="DROP TABLE x", **admin)[1]["x-clickhouse-exception-code"] == "164"


def test_a_busy_port_gives_the_next_free_one(store: EmbeddedStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        served = HttpPort(store, HttpSettings(listen=f"127.0.0.1:{wanted}"), lambda: {"ok": True})
        try:
            host, found = served.start()
            assert (host, wanted < found < wanted + 100) == ("127.0.0.1", True)
            assert ask((host, found), "SELECT 1")[0] == 200
        finally:
            served.close()


def test_a_client_that_goes_away_harms_nobody(address: Address) -> None:
    for _ in range(8):
        sql = b"SELECT count() FROM numbers(1000000000) WHERE NOT ignore(number)"
        with socket.create_connection(address) as gone:
            gone.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(sql) + sql)
        with socket.create_connection(address) as cut:
            cut.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nSELECT")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if ask(address, "SELECT 1")[::2] == (200, b"1\n"):
            return
    pytest.fail("no answer after clients went away")


def test_closing_ends_what_still_runs(store: EmbeddedStore) -> None:
    served = HttpPort(store, HttpSettings(listen="127.0.0.1:0", max_seconds=60), lambda: {"ok": True})
    address = served.start()
    found: list[tuple[int, bytes]] = []
    sql = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"

    def work() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            found.append(ask(address, sql)[::2])

    asking = threading.Thread(target=work)
    asking.start()
    running = "SELECT count() AS n FROM system.processes WHERE startsWith(Settings['log_comment'], 'http')"
    while not store.query(running).to_pylist()[0]["n"]:
        time.sleep(0.01)
    began = time.monotonic()
    served.close()
    asking.join(10)
    # Well before the minute the query may take; the client gets its error, or a closed connection.
    assert time.monotonic() - began < 10
    assert not asking.is_alive()
    assert [status for status, _ in found] in ([], [500])


def test_more_queries_than_threads_wait(address: Address) -> None:
    found: list[int] = []

    def work() -> None:
        found.append(ask(address, "SELECT sum(number) FROM numbers(20000000)")[0])

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 12


def test_the_handshake_of_grafanas_data_source(address: Address) -> None:
    # clickhouse-go 2.43 as the plug-in configures it: only POST, the SQL as the body, Native by default.
    fields = {
        "client_protocol_version": "54460",
        "database": "default",
        "default_format": "Native",
        "max_execution_time": "14",
    }
    agent = {
        "User-Agent": "grafana/0.0.0 clickhouse-go/2.43.0 (grafana_user:admin; lv:go/1.24)",
        "Accept-Encoding": "gzip",
        "Authorization": "Basic ZGVmYXVsdDo=",
    }
    status, _, body = ask(address, "SELECT displayName(), version(), revision(), timezone()", headers=agent, **fields)
    assert status == 200
    # BlockInfo, four columns, one row, then name, type, serialisation byte, data of each.
    assert body[:10] == b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01"
    at, values = 10, []
    for _ in range(4):
        texts = []
        for _ in range(2):
            texts.append(body[at + 1 : at + 1 + body[at]].decode())
            at += 1 + body[at]
        assert body[at] == 0
        at += 1
        if texts[1] == "String":
            values.append((texts[0], body[at + 1 : at + 1 + body[at]].decode()))
            at += 1 + body[at]
        else:
            values.append((texts[0], struct.unpack_from("<I", body, at)[0]))
            at += 4
    assert at == len(body)
    assert [name for name, _ in values] == ["displayName()", "version()", "revision()", "timezone()"]
    assert values[2:] == [("revision()", 0), ("timezone()", TIMEZONE)]
    # From here on plain blocks, as revision 0 promises; the ping's column is named 1.
    assert ask(address, "SELECT 1", headers=agent, **fields)[2] == b"\x01\x01\x011\x05UInt8\x01"
    empty = ask(address, "SELECT 1 WHERE 0", headers=agent, **fields)
    assert (empty[0], empty[1]["content-length"]) == (200, "0")
    wrong = ask(address, "SELECT * FROM nowhere", headers=agent, **fields)
    assert wrong[0] == 404
    assert wrong[2].startswith(b"Code: 60. DB::Exception: ")


def test_clickhouse_connect(address: Address, store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(3)), token="t")
    with clickhouse_connect.get_client(host=address[0], port=address[1]) as client:
        assert client.ping()
        rows = client.query("SELECT octets, src FROM v_flow WHERE octets > {n:Int64}", parameters={"n": 99}).result_rows
        assert rows == [(100, "::")] * 3
        assert client.query("SELECT {s:String}", parameters={"s": "a\tb\\'"}).result_rows == [("a\tb\\'",)]
        assert client.query_arrow("SELECT number FROM numbers(3)").to_pydict() == {"number": [0, 1, 2]}
        assert client.query_np("SELECT number FROM numbers(3)").tolist() == [[0], [1], [2]]
        assert client.query("SELECT 1", settings={"max_execution_time": 1}).result_rows == [(1,)]
        assert client.command("SELECT count() FROM flows") == 3
        assert client.query("SELECT toDateTime(0)").result_rows[0][0].utcoffset().total_seconds() == 9 * 3600
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT 1 FROM nowhere")
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError):
            client.insert("bus_skipped", [[1]], column_names=["rows"])
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="READONLY"):
            client.command("DROP TABLE flows")


def test_clickhouse_connect_with_forms(address: Address) -> None:
    with clickhouse_connect.get_client(host=address[0], port=address[1], form_encode_query_params=True) as client:
        found = client.query("SELECT {s:String}, {a:Array(UInt8)}", parameters={"s": "it's\n", "a": [1, 2]}).result_rows
    assert found == [("it's\n", [1, 2])]


def test_clickhouse_connect_data_frames(address: Address) -> None:
    pytest.importorskip("pandas", reason="data frames need pandas")
    with clickhouse_connect.get_client(host=address[0], port=address[1]) as client:
        frame = client.query_df("SELECT number, toString(number) AS text FROM numbers(2)")
    assert frame["number"].tolist() == [0, 1]
    assert frame["text"].tolist() == ["0", "1"]


def test_clickhouse_connect_async(address: Address) -> None:
    pytest.importorskip("aiohttp", reason="clickhouse-connect's async client needs aiohttp")

    async def talk() -> list[Any]:
        client = await clickhouse_connect.get_async_client(host=address[0], port=address[1])
        try:
            answers = [client.query("SELECT {n:UInt8}", parameters={"n": n}) for n in range(6)]
            return [answer.result_rows[0][0] for answer in await asyncio.gather(*answers)]
        finally:
            await client.close()

    assert asyncio.run(talk()) == list(range(6))


def test_curl(address: Address) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    url = f"http://{address[0]}:{address[1]}/"
    command = [
        curl,
        "-sS",
        "--fail-with-body",
        "--compressed",
        f"{url}?enable_http_compression=1&default_format=JSONCompact",
    ]
    done = subprocess.run([*command, "-d", "SELECT 1 AS x"], capture_output=True, text=True, timeout=10, check=True)
    assert json.loads(done.stdout)["data"] == [[1]]
    failed = subprocess.run([*command, "-d", "SELECT x"], capture_output=True, text=True, timeout=10, check=False)
    assert failed.returncode == 22
    assert "UNKNOWN_IDENTIFIER" in failed.stdout
