"""The store over HTTP, against our own port over the real engine: the same laws as of the store in process."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pytest
from pydantic import SecretStr

from sinks import StoreRefused, StoreUnavailable, http_insert
from sinks.clickhouse import ClickHouseStore, body, parse_url
from sinks.embedded import EmbeddedStore
from sinks.http_port import HttpPort
from sinks.inserts import MAX_ROWS
from sinks.migrations import migrate, plan, problems
from sinks.settings import HttpSettings
from sinks.store_errors import StoreDenied
from tests.integration.test_http_port import ask
from tests.stored import FOR_EVER, START_MS, TIMEZONE, flows, label, table, traffic

TOKEN = "s3cret"
ADMIN = {"user": "admin", "password": TOKEN}


@pytest.fixture
def port(engine: EmbeddedStore) -> Iterator[HttpPort]:
    served = HttpPort(engine, HttpSettings(listen="127.0.0.1:0", admin_token=SecretStr(TOKEN)), dict, TIMEZONE)
    yield served
    served.close()


@pytest.fixture
def address(port: HttpPort) -> tuple[str, int]:
    return port.start()


@pytest.fixture
def connect(address: tuple[str, int], store: EmbeddedStore) -> Iterator[Callable[..., ClickHouseStore]]:
    made: list[ClickHouseStore] = []

    def make(password: str = TOKEN, **more: Any) -> ClickHouseStore:
        url = f"http://{address[0]}:{address[1]}"
        made.append(ClickHouseStore(url, user="admin", password=password, database=store.database, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def remote(connect: Callable[..., ClickHouseStore]) -> ClickHouseStore:
    return connect()


def count(store: EmbeddedStore, name: str = "flows") -> int:
    return int(store.query(f"SELECT count() AS n FROM {name}").column("n")[0].as_py())


def parts(store: EmbeddedStore) -> int:
    sql = "SELECT count() AS n FROM system.parts WHERE active AND table = 'flows' AND database = currentDatabase()"
    return int(store.query(sql).column("n")[0].as_py())


def test_the_same_token_is_stored_once_and_as_the_engine_in_process_stores_it(
    remote: ClickHouseStore, store: EmbeddedStore
) -> None:
    rows = table(label(traffic(5000, 1), "exporter", ["192.0.2.1", "192.0.2.2"] * 2500))
    for _ in range(2):
        remote.insert("flows", rows, token="one")
    assert (count(store), parts(store)) == (5000, 1)
    mine = store.query("SELECT * FROM flows ORDER BY ALL")
    store.command("TRUNCATE TABLE flows")
    store.insert("flows", rows, token="two")
    assert store.query("SELECT * FROM flows ORDER BY ALL").equals(mine)


def test_either_way_the_token_is_the_same_block(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    rows = table(traffic(2000, 1))
    store.insert("flows", rows, token="one")
    remote.insert("flows", rows, token="one")
    remote.insert("flows", rows, token="two")
    store.insert("flows", rows, token="two")
    assert count(store) == 4000


def test_the_largest_insert_is_one_block_and_more_is_refused(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    rows = table(flows(MAX_ROWS))
    for _ in range(2):
        remote.insert("flows", rows, token="large")
    assert (count(store), parts(store)) == (MAX_ROWS, 1)
    with pytest.raises(ValueError, match="cut the message"):
        remote.insert("flows", pa.concat_tables([rows, rows.slice(0, 1)]), token="larger")


def test_several_days_in_one_insert_are_repeated_whole(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    day = 86_400_000
    batch = flows(40, ts=[START_MS + n % 4 * day for n in range(40)])
    for _ in range(2):
        remote.insert("flows", table(batch), token="days")
    assert (count(store), parts(store)) == (40, 4)


def test_a_range_is_rolled_up_once(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    remote.insert("flows", table(traffic(1000, 1)), token="rows")
    sql = "INSERT INTO bus_skipped (time, partition, offset, rows, reason, source_from, source_to) " \
          "SELECT ts, 0, rowNumberInAllBlocks(), 1, 'x', 0, 0 FROM flows ORDER BY ts"  # fmt: skip
    store.command("ALTER TABLE bus_skipped MODIFY SETTING non_replicated_deduplication_window = 100")
    for _ in range(2):
        remote.command(sql, token="range")
    assert count(store, "bus_skipped") == 1000
    remote.command("TRUNCATE TABLE bus_skipped")
    assert count(store, "bus_skipped") == 0


def test_answers_are_those_of_the_engine_in_process(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    asked: list[tuple[str, dict[str, object]]] = [
        ("SELECT {n:Int64} AS n, {s:String} AS s, {a:Array(String)} AS a", {"n": 2**62, "s": "a\tb\\'\n%", "a": ["'"]}),
        ("SELECT {t:DateTime64(3, 'UTC')} AS t", {"t": datetime(2026, 3, 1, 12, tzinfo=UTC)}),
        ("SELECT toDateTime(0, 'UTC') AS t, toIPv6('::1') AS a, toLowCardinality('x') AS l, NULL AS n", {}),
        ("SELECT number FROM numbers(100000)", {}),
        ("SELECT number FROM numbers(1) WHERE 0", {}),
        ("SHOW CREATE TABLE flows", {}),
    ]
    for sql, parameters in asked:
        assert remote.query(sql, **parameters).equals(store.query(sql, **parameters)), sql


def test_columns_that_lack_or_are_unknown_are_refused(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    rows = table(flows(3))
    with pytest.raises(StoreRefused):
        remote.insert("flows", rows.append_column("nonsense", pa.array([1, 2, 3])), token="unknown")
    with pytest.raises(StoreRefused):
        remote.insert("flows", rows.set_column(0, "ts", pa.array(["x"] * 3)), token="type")
    assert count(store) == 0


def test_a_store_is_migrated_over_http(
    address: tuple[str, int], engine: EmbeddedStore, connect: Callable[..., ClickHouseStore]
) -> None:
    there = ClickHouseStore(f"http://{address[0]}:{address[1]}", user="admin", password=TOKEN, database="made_by_http")
    try:
        assert migrate(there, FOR_EVER, TIMEZONE)
        assert plan(there, FOR_EVER, TIMEZONE) == []
        assert problems(there) == []
        there.insert("flows", table(flows(3)), token="t")
        assert engine.query("SELECT count() AS n FROM made_by_http.flows").to_pylist() == [{"n": 3}]
    finally:
        there.close()
        engine.command("DROP DATABASE IF EXISTS made_by_http SYNC")


def test_errors_by_kind(connect: Callable[..., ClickHouseStore], remote: ClickHouseStore) -> None:
    with pytest.raises(StoreRefused) as refused:
        remote.query("SELECT 1 FROM nowhere")
    assert refused.value.code == 60
    with pytest.raises(StoreRefused) as refused:
        remote.command("CREATE TABLE x")
    assert refused.value.code != 0
    with pytest.raises(StoreUnavailable, match="TIMEOUT_EXCEEDED"):
        remote.query("SELECT count() FROM numbers(100000000000) WHERE NOT ignore(number) SETTINGS max_execution_time=1")
    for wrong in ("", "wrong"):
        with pytest.raises(StoreDenied, match=r"store\.password"):
            connect(password=wrong).check()
    assert remote.check().startswith("2")


def test_nobody_listens_then_somebody_does(address: tuple[str, int], port: HttpPort, remote: ClickHouseStore) -> None:
    assert remote.check()
    port.close()
    with pytest.raises(StoreUnavailable):
        remote.query("SELECT 1")
    remote.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        remote.query("SELECT 1")


class _Deaf:
    """Answers the first requests through the port, then takes bodies and says nothing, or hangs up."""

    def __init__(self, behind: tuple[str, int], hang_up: bool) -> None:
        self.behind, self.hang_up, self.deaf = behind, hang_up, False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.open: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            self.open.append(near)
            far = socket.create_connection(self.behind)
            self.open.append(far)
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(65_536):
                if self.deaf and up and self.hang_up:
                    break
                if not self.deaf:
                    target.sendall(data)
        except OSError:
            pass
        for one in (source, target) if self.hang_up else ():
            one.close()

    def close(self) -> None:
        self.listening.close()
        for one in self.open:
            one.close()


@pytest.mark.parametrize("hang_up", [True, False])
def test_a_connection_lost_in_an_insert_and_a_silent_server(
    address: tuple[str, int], store: EmbeddedStore, hang_up: bool
) -> None:
    between = _Deaf(address, hang_up)
    remote = ClickHouseStore(
        f"http://127.0.0.1:{between.address[1]}", user="admin", password=TOKEN, database=store.database, timeout=1
    )
    try:
        assert remote.check()
        between.deaf = True
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            remote.insert("flows", table(traffic(20_000, 1)), token="cut")
        assert time.monotonic() - began < 10
        between.deaf = False
        remote.insert("flows", table(traffic(20_000, 1)), token="cut")
        assert count(store) == 20_000
    finally:
        remote.close()
        between.close()


def test_the_same_token_at_once_from_many_threads(remote: ClickHouseStore, store: EmbeddedStore) -> None:
    rows, failures = table(traffic(3000, 1)), []

    def work() -> None:
        try:
            remote.insert("flows", rows, token="same")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(store) == 3000


@pytest.mark.parametrize("compress", [False, "lz4", "gzip", "zstd"])
def test_the_drivers_own_inserts(address: tuple[str, int], store: EmbeddedStore, compress: Any) -> None:
    settings = {"insert_deduplication_token": "t", "async_insert": 0}
    client = clickhouse_connect.get_client(
        host=address[0], port=address[1], username="admin", password=TOKEN, database=store.database, compress=compress
    )
    with client:
        client.command(
            "CREATE TABLE small (n UInt64, s String) ENGINE = MergeTree ORDER BY n "
            "SETTINGS non_replicated_deduplication_window = 10"
        )
        # White space at the end is data in Native and RowBinary: 10 and 32 are line end and space.
        rows: list[list[Any]] = [[n, "x" * (n % 50) + "\n "] for n in range(20_000)]
        for _ in range(2):
            client.insert("small", rows, column_names=["n", "s"], settings=settings)
        assert client.query("SELECT count(), sum(n), sum(length(s)) FROM small").result_rows == [
            (20_000, sum(range(20_000)), sum(len(text) for _, text in rows))
        ]
        columns = pa.table({"n": pa.array([10, 32], "u8"), "s": ["\n", " "]})
        for _ in range(2):
            client.insert_arrow("small", columns, settings={**settings, "insert_deduplication_token": "a"})
        assert client.query("SELECT s FROM small WHERE length(s) = 1 ORDER BY n").result_rows == [("\n",), (" ",)]


def test_bodies_are_bounded_removed_and_for_admins_only(
    address: tuple[str, int], store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"database": store.database, "query": "INSERT INTO flows FORMAT ArrowStream"}
    stream = body(table(flows(10))).to_pybytes()
    assert ask(address, stream, **fields)[0] == 501  # no text, so no query
    assert ask(address, stream, user="admin", password="wrong", **fields)[0] == 403
    assert ask(address, stream, **ADMIN, **fields)[0] == 200
    assert count(store) == 10
    statement = fields["query"].encode() + b"\n"
    for encoding, pack in (("gzip", gzip.compress), ("lz4", lz4.frame.compress)):
        how = {"Content-Encoding": encoding}
        send = partial(ask, address, headers=how, database=store.database, user="admin", password=TOKEN)
        # A token each: the same rows without one are a repeat, too.
        apart = send(pack(stream), insert_deduplication_token=f"{encoding} 1", query=fields["query"])
        within = send(pack(statement + stream), insert_deduplication_token=f"{encoding} 2")
        assert (apart[0], within[0]) == (200, 200)
    assert count(store) == 50
    assert ask(address, stream, headers={"Content-Encoding": "rot13"}, **ADMIN, **fields)[0] == 501
    no_gzip = ask(address, b"no gzip", headers={"Content-Encoding": "gzip"}, database=store.database, **ADMIN)
    assert no_gzip[1]["x-clickhouse-exception-code"] == "354"
    monkeypatch.setattr(http_insert, "MAX_INSERT", 4000)
    assert ask(address, bytes(4001), **ADMIN, **fields)[0] == 413
    bomb = gzip.compress(b"INSERT INTO flows FORMAT RowBinary\n" + bytes(100_000))
    assert ask(address, bomb, headers={"Content-Encoding": "gzip"}, database=store.database, **ADMIN)[0] == 413
    assert count(store) == 50
    assert list((store.directory / http_insert.FOLDER).iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "before", "after"),
    [
        ("INSERT INTO t FORMAT CSV", "INSERT INTO t", " FORMAT CSV"),
        ("insert into table `a`.`b c` (`x`, y ) settings a = 1 format Native ;\n",
         "insert into table `a`.`b c` (`x`, y )",
         " settings a = 1 format Native"),
        ("INSERT INTO t (`a) FORMAT CSV`) FORMAT TSV", "INSERT INTO t (`a) FORMAT CSV`)", " FORMAT TSV"),
        ("INSERT INTO t VALUES (1)", None, None),
        ("INSERT INTO t SELECT 1 FORMAT Null", None, None),
        ("SELECT 1 FORMAT CSV", None, None),
        ("INSERT INTO t FORMAT CSV 1,2", None, None),
        ("INSERT INTO t FROM INFILE 'x' FORMAT CSV", None, None),
    ],
)  # fmt: skip
def test_which_statements_have_their_rows_apart(sql: str, before: str | None, after: str | None) -> None:
    found = http_insert.in_query(sql)
    assert (found and found.before, found and found.after) == (before, after)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://h:9", ("http", "h", 9)),
        ("https://h", ("https", "h", 8443)),
        ("http://[::1]:8123/", ("http", "::1", 8123)),
        ("http://", None),
        ("http://h:x", None),
        ("http://h/path", None),
        ("http://u:p@h:1", None),
        ("clickhouse://h", None),
    ],
)
def test_urls(url: str, wanted: tuple[str, str, int] | None) -> None:
    if wanted is None:
        with pytest.raises(ValueError, match=r"http|store\.user"):
            parse_url(url)
    else:
        assert parse_url(url) == wanted
