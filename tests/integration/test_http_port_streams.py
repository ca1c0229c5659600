"""The HTTP port's answers on their way: packed, piece by piece, broken off, and ended with their client."""

import gzip
import http.client
import io
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypedDict
from urllib.parse import urlencode

import clickhouse_connect
import lz4.block
import lz4.frame
import polars
import pyarrow as pa
import pytest
from clickhouse_cityhash.cityhash import CityHash128
from clickhouse_connect.driver.exceptions import Error as DriverError
from pydantic import SecretStr

from sinks.embedded import EmbeddedStore
from sinks.http_packing import frame
from sinks.http_port import HttpPort
from sinks.http_stream import HELD
from sinks.settings import HttpSettings

Address = tuple[str, int]


class User(TypedDict):
    user: str
    password: str


ADMIN: User = {"user": "admin", "password": "s3cret"}
RUNNING = "SELECT count() AS n FROM system.processes WHERE startsWith(Settings['log_comment'], 'http')"
FOR_EVER = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"


@pytest.fixture
def store(empty_store: EmbeddedStore) -> EmbeddedStore:
    empty_store.command("CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    empty_store.command("CREATE TABLE secret (n UInt64) ENGINE = MergeTree ORDER BY n")
    empty_store.command("CREATE VIEW v_secret AS SELECT n FROM secret")
    empty_store.command("CREATE VIEW v_of_view AS SELECT a.n FROM t JOIN v_secret AS a USING (n)")
    empty_store.command(
        "CREATE VIEW v_open DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT max(n) AS n FROM secret"
    )
    return empty_store


@pytest.fixture
def address(store: EmbeddedStore) -> Iterator[Address]:
    settings = HttpSettings(
        listen="127.0.0.1:0", admin_token=SecretStr("s3cret"), max_rows=20_000_000, max_seconds=60, threads=2,
        hidden_tables=("secret",),
    )  # fmt: skip
    port = HttpPort(store, settings, lambda: {"ok": True})
    yield port.start()
    port.close()


def ask(
    address: Address, body: str | bytes = b"", headers: dict[str, str] | None = None, **fields: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("POST", f"/?{urlencode(fields)}", body, headers or {})
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    try:
        return answer.status, found, answer.read()
    except http.client.IncompleteRead as cut:
        return answer.status, {**found, "cut": "yes"}, cut.partial
    finally:
        connection.close()


def unframed(body: bytes) -> bytes:
    """The blocks of ClickHouse's framing, checked and unpacked by libraries that ours does not use for it."""
    found, at = b"", 0
    while at < len(body):
        high, low, method, size, plain = struct.unpack_from("<QQBII", body, at)
        assert (method, CityHash128(body[at + 16 : at + 16 + size])) == (0x82, (high << 64) + low)
        found += lz4.block.decompress(body[at + 25 : at + 16 + size], plain)
        at += 16 + size
    return found


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: bytes(pa.input_stream(io.BytesIO(body), compression="zstd").read()),
    "br": lambda body: bytes(pa.input_stream(io.BytesIO(body), compression="brotli").read()),
}


@pytest.mark.parametrize("encoding", PACKINGS)
def test_every_packing_whole_and_in_pieces(address: Address, encoding: str) -> None:
    how: dict[str, Any] = {"headers": {"Accept-Encoding": encoding}, "enable_http_compression": "1"}
    for rows in (3, 1_000_000):
        status, headers, body = ask(address, f"SELECT number FROM numbers({rows})", default_format="RowBinary", **how)
        assert (status, headers["content-encoding"]) == (200, encoding)
        assert PACKINGS[encoding](body) == b"".join(map(struct.Struct("<Q").pack, range(rows)))
    status, headers, body = ask(address, "SELECT 1 WHERE 0", **how)
    assert (status, body, "content-encoding" in headers) == (200, b"", False)


def test_clickhouses_own_framing_both_ways(address: Address, store: EmbeddedStore) -> None:
    _, headers, body = ask(address, "SELECT number FROM numbers(500000)", default_format="TSV", compress="1")
    assert "content-encoding" not in headers
    assert unframed(body) == b"".join(b"%d\n" % n for n in range(500_000))
    assert unframed(ask(address, frame(b"SELECT 7"), decompress="1", compress="1")[2]) == b"7\n"
    rows = b"".join(b"%d,x\n" % n for n in range(1000))
    insert = b"INSERT INTO t FORMAT CSV"
    assert (
        ask(address, frame(rows[:3000]) + frame(rows[3000:]), query=insert.decode(), decompress="1", **ADMIN)[0] == 200
    )
    assert ask(address, frame(insert + b"\n1001,y\n"), decompress="1", **ADMIN)[0] == 200
    assert store.query("SELECT count() AS c, sum(n) AS s FROM t").to_pylist() == [
        {"c": 1001, "s": sum(range(1000)) + 1001}
    ]
    broken = bytearray(frame(b"SELECT 7"))
    broken[-1] ^= 1
    status, headers, _ = ask(address, bytes(broken), decompress="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (400, "40")


def test_a_large_answer_comes_in_pieces_and_a_small_one_whole(address: Address, store: EmbeddedStore) -> None:
    small = ask(address, "SELECT number FROM numbers(1000)", default_format="Native")
    assert "content-length" in small[1]
    assert "x-clickhouse-summary" in small[1]
    large = ask(address, "SELECT number FROM numbers(2000000)", default_format="Native")
    assert large[1]["transfer-encoding"] == "chunked"
    assert len(large[2]) > 16_000_000 > HELD
    # The same bytes as the engine gives as a whole, with what follows the rows.
    for sql in (
        "SELECT number % 70000 AS k, count() FROM numbers(140000) GROUP BY k WITH TOTALS ORDER BY k",
        "SELECT number FROM numbers(140000) SETTINGS extremes = 1",
        "SELECT number FROM numbers(140000)",
    ):
        for form in ("TSV", "JSONEachRow", "Native", "CSVWithNames", "JSONCompactEachRow", "RowBinary"):
            with store.session() as connection:
                assert ask(address, sql, default_format=form)[2] == connection.query(sql, form).bytes(), (sql, form)
    waited = ask(address, "SELECT number FROM numbers(2000000)", default_format="Native", wait_end_of_query="1")
    assert (waited[2], "content-length" in waited[1]) == (large[2], True)


def test_an_error_in_the_middle_breaks_the_answer_off(address: Address) -> None:
    sql = "SELECT throwIf(number = 9000000) FROM numbers(12000000)"
    status, headers, body = ask(address, sql, default_format="RowBinary")
    assert (status, "cut" in headers) == (200, True)
    assert body.endswith(b"(FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)\n")
    status, headers, body = ask(address, sql, default_format="RowBinary", wait_end_of_query="1")
    assert (status, headers["x-clickhouse-exception-code"]) == (500, "395")
    with (
        clickhouse_connect.get_client(host=address[0], port=address[1]) as client,
        pytest.raises((DriverError, OSError)),
    ):
        client.query(sql)
    assert ask(address, "SELECT 1")[2] == b"1\n"


@pytest.mark.parametrize(
    "sql", [FOR_EVER, "SELECT number FROM numbers(20000000) FORMAT RowBinary", FOR_EVER + " FORMAT JSON"]
)
def test_a_query_ends_with_its_client(address: Address, store: EmbeddedStore, sql: str) -> None:
    def running() -> int:
        return int(store.query(RUNNING).column("n")[0].as_py())

    def wait(wanted: int) -> None:
        deadline = time.monotonic() + 20
        while running() != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with socket.create_connection(address) as gone:
        gone.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(sql) + sql.encode())
        wait(1)
    wait(0)
    before = time.process_time()
    time.sleep(0.5)
    # The engine runs in this process: were the query still there, both its cores would be busy.
    assert time.process_time() - before < 0.4
    assert ask(address, "SELECT 1")[2] == b"1\n"


def test_queries_that_wait_for_a_thread_are_dropped_with_their_clients(address: Address, store: EmbeddedStore) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(FOR_EVER) + FOR_EVER.encode()
    gone = [socket.create_connection(address) for _ in range(10)]  # of two threads
    for connection in gone:
        connection.sendall(request)
    while int(store.query(RUNNING).column("n")[0].as_py()) < 2:
        time.sleep(0.02)
    for connection in gone:
        connection.close()
    began = time.monotonic()
    assert ask(address, "SELECT 1")[2] == b"1\n"
    assert time.monotonic() - began < 15


def test_an_insert_is_not_ended_with_its_client(address: Address, store: EmbeddedStore) -> None:
    sql = b"INSERT INTO t SELECT number, toString(sleepEachRow(0.01)) FROM numbers(100) SETTINGS max_block_size = 10"
    head = f"POST /?{urlencode(ADMIN)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sql)}\r\n\r\n".encode()
    with socket.create_connection(address) as gone:
        gone.sendall(head + sql)
        while int(store.query(RUNNING).column("n")[0].as_py()) < 1:
            time.sleep(0.01)
    deadline = time.monotonic() + 20
    while store.query("SELECT count() AS c FROM t").to_pylist() != [{"c": 100}]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "sql",
    ["SELECT * FROM secret", "SELECT * FROM `Secret`", "SELECT 1 IN secret", "SELECT * FROM v_secret",
     "SELECT * FROM v_of_view", "DESCRIBE TABLE secret", "SHOW CREATE TABLE v_secret", "EXPLAIN SELECT * FROM secret",
     "WITH a AS (SELECT * FROM secret) SELECT * FROM a", "SELECT (SELECT max(n) FROM secret)",
     "SELECT * FROM {t:Identifier}", "SELECT * FROM view(SELECT * FROM secret)", "EXISTS TABLE secret",
     "SELECT * FROM t JOIN secret USING (n)", "SELECT * FROM t WHERE n IN (SELECT n FROM v_secret)"],
)  # fmt: skip
def test_hidden_tables_are_not_for_readers(address: Address, store: EmbeddedStore, sql: str) -> None:
    for body in (sql, sql.replace("secret", f"{store.database}.secret")):
        status, headers, _ = ask(address, body, param_t="secret")
        assert (status, headers.get("x-clickhouse-exception-code")) in ((403, "497"), (404, "60"))
    if "{" not in sql and "`" not in sql:
        assert ask(address, sql, **ADMIN)[0] == 200


def test_a_view_with_its_definers_rights_may_be_read(address: Address) -> None:
    assert ask(address, "SELECT n FROM v_open")[::2] == (200, b"0\n")


@pytest.mark.parametrize(("form", "read"), [("Parquet", polars.read_parquet), ("ArrowStream", polars.read_ipc_stream),
                                            ("Arrow", polars.read_ipc), ("CSVWithNames", polars.read_csv)])  # fmt: skip
def test_polars_reads_the_answers(address: Address, form: str, read: Callable[[Any], polars.DataFrame]) -> None:
    sql = "SELECT number AS n, toString(number * 2) AS s, toDateTime64(number, 3, 'UTC') AS at FROM numbers(100)"
    status, _, body = ask(address, sql, default_format=form)
    frame_read = read(io.BytesIO(body))
    assert (status, frame_read.height, frame_read["n"].sum()) == (200, 100, 4950)
    assert frame_read["s"].cast(polars.Int64).to_list()[-1] == 198


def read_native(body: bytes) -> dict[str, list[Any]]:
    """Blocks of ClickHouse's Native format at revision 0: columns, rows, then name, type and data of each column."""
    stream = io.BytesIO(body)
    found: dict[str, list[Any]] = {}

    def number() -> int:
        value = shift = 0
        while True:
            byte = stream.read(1)[0]
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    def text() -> str:
        return stream.read(number()).decode()

    def column(kind: str, rows: int) -> list[Any]:
        name, _, inner = kind.partition("(")
        inner = inner[:-1]
        if name == "String":
            return [text() for _ in range(rows)]
        if name == "Nullable":
            nulls = stream.read(rows)
            return [None if null else value for null, value in zip(nulls, column(inner, rows), strict=True)]
        if name == "Array":
            ends = struct.unpack(f"<{rows}Q", stream.read(8 * rows))
            values = column(inner, ends[-1] if ends else 0)
            return [values[a:b] for a, b in zip((0, *ends), ends, strict=False)]
        if name == "Map":
            ends = struct.unpack(f"<{rows}Q", stream.read(8 * rows))
            key, _, value = inner.partition(", ")
            total = ends[-1] if ends else 0
            pairs = list(zip(column(key, total), column(value, total), strict=True))
            return [dict(pairs[a:b]) for a, b in zip((0, *ends), ends, strict=False)]
        if name == "LowCardinality":
            version, flags, size = struct.unpack("<QQQ", stream.read(24))
            assert version == 1
            keys = column(inner, size)
            (count,) = struct.unpack("<Q", stream.read(8))
            code = "BHIQ"[flags & 255]
            return [keys[at] for at in struct.unpack(f"<{count}{code}", stream.read(struct.calcsize(code) * count))]
        if name == "IPv6":
            return [stream.read(16) for _ in range(rows)]
        code = {"UInt8": "B", "UInt16": "H", "UInt32": "I", "UInt64": "Q", "Int64": "q", "Float64": "d",
                "DateTime": "I", "DateTime64": "q", "Date": "H", "IPv4": "I"}[name]  # fmt: skip
        return list(struct.unpack(f"<{rows}{code}", stream.read(struct.calcsize(code) * rows)))

    while stream.tell() < len(body):
        columns, rows = number(), number()
        for _ in range(columns):
            name = text()
            found.setdefault(name, []).extend(column(text(), rows))
    return found


def test_the_queries_of_grafanas_data_source_decode_at_revision_0(address: Address) -> None:
    fields = {"client_protocol_version": "54460", "database": "default", "default_format": "Native"}
    agent = {
        "User-Agent": "grafana/0.0.0 clickhouse-go/2.43.0 (grafana_user:admin; lv:go/1.24)",
        "Accept-Encoding": "gzip",
        "Authorization": "Basic ZGVmYXVsdDo=",
    }
    for seconds in ("14", "34", "64"):  # health, alerts, panels
        status, _, body = ask(address, "SELECT 1", agent, max_execution_time=seconds, **fields)
        assert (status, read_native(body)) == (200, {"1": [1]})
    sql = (
        "-- a comment\nWITH 1 AS one "
        "SELECT toStartOfInterval(toDateTime(number * 30, 'UTC'), INTERVAL 60 second) AS time, "
        "sum(number) AS v, toNullable(v) AS n, toLowCardinality(toString(v % 2)) AS l, [toUInt16(v), 1] AS a, "
        "toIPv6('::1') AS i, map('k', toString(v)) AS m, toDateTime64(time, 3, 'UTC') AS d, avg(number) AS f "
        "FROM numbers(4) GROUP BY time ORDER BY time SETTINGS max_threads = 1"
    )
    status, headers, body = ask(address, sql, agent, max_execution_time="64", **fields)
    assert status == 200
    assert "content-encoding" not in headers
    assert read_native(body) == {
        "time": [0, 60], "v": [1, 5], "n": [1, 5], "l": ["1", "1"], "a": [[1, 1], [5, 1]],
        "i": [bytes(15) + b"\x01"] * 2, "m": [{"k": "1"}, {"k": "5"}], "d": [0, 60_000], "f": [0.5, 2.5],
    }  # fmt: skip
    rows = read_native(ask(address, "SELECT number FROM numbers(1500000)", agent, max_execution_time="64", **fields)[2])
    assert rows == {"number": list(range(1_500_000))}
    failed = ask(address, "SELECT nothing", agent, max_execution_time="64", **fields)
    assert failed[0] == 404
    assert failed[2].startswith(b"Code: 47. DB::Exception: ")
