"""The native protocol against Debian's ClickHouse 18.16, the only server that a package brings without a container.

It is eight years older than the engine and has no tokens, no LowCardinality without a setting, no IPv6 type and no
``{name:Type}``: so the table here is a rollup reduced to plain columns, and tokens are only seen to be refused.
"""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from sinks import StoreRefused, StoreUnavailable
from sinks.native import NativeStore, parse_url
from sinks.store_errors import StoreDenied
from tests.stored import flows, table

PASSWORD = "pw"
CONFIG = """<yandex><logger><level>warning</level><console>1</console></logger>
<tcp_port>{port}</tcp_port><listen_host>127.0.0.1</listen_host><path>{folder}/data/</path>
<tmp_path>{folder}/tmp/</tmp_path><users_config>{folder}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>5368709</mark_cache_size><timezone>Asia/Tokyo</timezone></yandex>"""
USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password>pw</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
</default></users></yandex>"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("clickhouse-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("clickhouse-server (Debian) is not installed")
    folder, port = tmp_path_factory.mktemp("clickhouse"), free_port()
    (folder / "config.xml").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "users.xml").write_text(USERS)
    for name in ("data", "tmp"):
        (folder / name).mkdir()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, f"--config-file={folder / 'config.xml'}"], cwd=folder, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the server did not answer within a minute"
                time.sleep(0.1)
        yield f"clickhouse://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def store(url: str) -> Iterator[NativeStore]:
    found = NativeStore(url, password=PASSWORD, tokens=False)
    yield found
    for name in ("port", "n"):
        found.command(f"DROP TABLE IF EXISTS {name}")
    found.close()


REDUCED = (
    "CREATE TABLE port (hour DateTime, proto UInt8, lower_port UInt16, bucket String, flows Int64, octets Int64) "
    "ENGINE = SummingMergeTree((flows, octets)) PARTITION BY toYYYYMM(hour) ORDER BY (hour, proto, lower_port, bucket)"
)


def test_integer_rollups_go_in_and_answers_come_out(store: NativeStore) -> None:
    assert store.check() == "18.16.1"
    store.command(REDUCED)
    hour = datetime(2026, 9, 21, 13, tzinfo=UTC)
    rows = pa.table({
        "hour": pa.array([hour] * 3, pa.timestamp("s", "UTC")), "proto": pa.array([6, 17, 50], "u1"),
        "lower_port": pa.array([443, 443, 0], "u2"), "bucket": ["", "", "esp"],
        "flows": pa.array([1, 2, 3], "i8"), "octets": pa.array([2**53, 20, -30], "i8"),
    })  # fmt: skip
    store.insert("port", rows, token="t")
    store.command("INSERT INTO port SELECT hour, proto, lower_port, bucket, flows, octets FROM port ORDER BY hour")
    found = store.query(
        "SELECT hour, proto, bucket, sum(flows) AS f, sum(octets) AS o, max(toDate(hour)) AS d FROM port "
        "WHERE has({protos:Array(UInt8)}, proto) AND hour >= {since:DateTime} AND bucket != {s:String} "
        "GROUP BY hour, proto, bucket ORDER BY proto",
        protos=[6, 50], since="2026-09-21 22:00:00", s="it's {x:UInt8}",
    )  # fmt: skip
    # The server's days are Tokyo's; an instant is an instant.
    assert found.schema.types == [pa.uint32(), pa.uint8(), pa.string(), pa.int64(), pa.int64(), pa.date32()]
    stamp = int(hour.timestamp())
    assert [tuple(row.values())[:5] for row in found.to_pylist()] == [
        (stamp, 6, "", 2, 2**54), (stamp, 50, "esp", 6, -60),
    ]  # fmt: skip
    assert store.query("SELECT 1 AS x WHERE 0").schema.names == ["x"]
    assert store.query("SELECT [1, 2] AS a, toNullable('x') AS n").to_pylist() == [{"a": [1, 2], "n": "x"}]


def test_raw_rows_are_refused_with_what_to_do(store: NativeStore) -> None:
    with pytest.raises(StoreRefused, match=r"rows of flows do not go over the native protocol.*use http"):
        store.insert("flows", table(flows(1)), token="t")
    with pytest.raises(StoreRefused, match=r"\(a\): use http"):
        store.insert("other", pa.table({"a": pa.array([bytes(16)], pa.binary(16))}), token="t")


def test_without_tokens_there_is_no_insert_under_one(url: str, store: NativeStore) -> None:
    store.command("CREATE TABLE n (n Int64) ENGINE = MergeTree ORDER BY n")
    strict = NativeStore(url, password=PASSWORD)
    acts: tuple[Callable[[], None], ...] = (
        lambda: strict.insert("n", pa.table({"n": [1]}), token="t"),
        lambda: strict.command("INSERT INTO n SELECT 1", token="t"),
    )
    for act in acts:
        with pytest.raises(StoreRefused, match="knows no insert_deduplication_token"):
            act()
    strict.close()
    assert store.query("SELECT count() AS c FROM n").to_pylist() == [{"c": 0}]


def test_errors_by_kind(url: str, store: NativeStore) -> None:
    with pytest.raises(StoreRefused) as refused:
        store.query("SELECT * FROM nowhere")
    assert (refused.value.code, "Stack trace" in str(refused.value)) == (60, False)
    with pytest.raises(StoreRefused, match="is not read over the native protocol: use toString"):
        store.query("SELECT (1, 'a') AS t")
    with pytest.raises(StoreRefused, match="Substitution `x` is not set"):
        store.query("SELECT {x:UInt8}", y=1)
    denied = NativeStore(url, password="wrong")
    with pytest.raises(StoreDenied, match=r"store\.password"):
        denied.check()
    reader = NativeStore(url, password=PASSWORD, readonly=True)
    with pytest.raises(StoreDenied, match="readonly"):
        reader.command("CREATE TABLE r (n Int64) ENGINE = Log")
    reader.close()
    nobody = NativeStore(f"clickhouse://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable):
        nobody.check()
    assert store.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
    store.close()
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.check()
    store._closed.clear()  # for the fixture's cleaning


def test_an_answer_that_does_not_come_is_unavailable(url: str) -> None:
    slow = NativeStore(url, password=PASSWORD, timeout=0.5)
    with pytest.raises(StoreUnavailable):
        slow.query("SELECT sleep(3)")
    assert slow.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]  # on a connection of its own
    slow.close()


def test_many_threads_ask_at_once(store: NativeStore) -> None:
    found: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            found.append(store.query(f"SELECT toUInt32({number}) AS n").column("n")[0].as_py() - number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 40


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("clickhouse://h", (False, "h", 9000)),
        ("clickhouses://h", (True, "h", 9440)),
        ("clickhouse://[::1]:9/", (False, "::1", 9)),
        ("clickhouse://", "write clickhouse://HOST:PORT"),
        ("clickhouse://h:x", "write clickhouse://HOST:PORT"),
        ("http://h", "write clickhouse://HOST:PORT"),
        ("clickhouse://u:p@h", "do not stand in the URL"),
    ],
)
def test_urls(url: str, wanted: tuple[bool, str, int] | str) -> None:
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            parse_url(url)
    else:
        assert parse_url(url) == wanted


def test_the_command_line_asks_over_it(
    url: str, store: NativeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowtide.query import ask
    from flowtide.settings import load

    monkeypatch.setenv("FLOWTIDE_STORE__URL", url)
    monkeypatch.setenv("FLOWTIDE_STORE__PASSWORD", PASSWORD)
    store.check()  # makes the database; the command line only asks
    settings = load(data=tmp_path)
    assert ask(settings, "SELECT 1 AS x, 'a' AS y", "TSVWithNames") == b"x\ty\n1\ta\n"
    assert ask(settings, "SELECT 1 AS x", "JSONEachRow") == b'{"x": 1}\n'
