"""The engine in process: one insert is one block, a token counts once, errors say whether to try again."""

import ipaddress
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sinks import StoreRefused, StoreUnavailable
from sinks.embedded import EmbeddedStore, StoreInUse
from sinks.inserts import MAX_ROWS
from tests.stored import START_MS, flows, label, table


def parts(store: EmbeddedStore, name: str) -> list[dict[str, Any]]:
    sql = (
        "SELECT partition, rows FROM system.parts WHERE active AND database = currentDatabase() AND table = {t:String}"
        " ORDER BY name"
    )
    found: list[dict[str, Any]] = store.query(sql, t=name).to_pylist()
    return found


def in_child(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    prelude = (
        "import sys\nfrom pathlib import Path\nfrom sinks.embedded import EmbeddedStore, StoreInUse\n"
        "from sinks.migrations import migrate\nfrom tests.stored import FOR_EVER, flows, table\n"
        "store = EmbeddedStore(Path(sys.argv[1]))\nmigrate(store, FOR_EVER, 'UTC')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + code, str(directory)],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip


def test_a_full_insert_is_one_part(store: EmbeddedStore) -> None:
    store.command("SYSTEM STOP MERGES")
    rows = table(flows(MAX_ROWS))
    # Arrow chunks are not blocks: a message in many pieces is one insert too.
    pieces = pa.concat_tables([rows.slice(at, 50_000) for at in range(0, MAX_ROWS, 50_000)])
    store.insert("flows", pieces, token="topic/0/1")
    assert parts(store, "flows") == [{"partition": "20260921", "rows": MAX_ROWS}]
    store.command("SYSTEM START MERGES")


def test_the_same_token_changes_nothing(store: EmbeddedStore) -> None:
    day = 86_400_000
    over_midnight = flows(1000, ts=START_MS + np.arange(1000) * day // 100)
    for _ in range(3):
        store.insert("flows", table(over_midnight), token="topic/0/1")
    assert store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 1000}]
    store.insert("flows", table(over_midnight), token="topic/0/2")
    assert store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 2000}]


def test_values_come_back(store: EmbeddedStore) -> None:
    batch = flows(3, ts=np.array(["2024-06-09T23:59:59.999", "2024-02-29T00:00:00.001", "2026-01-01"], "M8[ms]"))
    addresses = ["192.0.2.1", "2001:db8::8a2e:370:7334", "10.0.0.255"]
    packed = b"".join(
        b"\0" * 10 + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed
        for ip in map(ipaddress.ip_address, addresses)
    )
    batch.columns["src_addr"] = np.frombuffer(packed, "V16")
    batch.columns["octets"][:] = [0, 2**53, -5]
    batch.columns["sub_id"][:] = [0, 2**64 - 1, 1]
    label(batch, "exporter", ["::1", "198.51.100.7", "::1"])
    store.insert("flows", table(batch), token="t")
    rows = store.query("SELECT time, src, octets, sub_id, exporter FROM v_flow ORDER BY time").to_pylist()
    assert [row["src"] for row in rows] == ["2001:db8::8a2e:370:7334", "192.0.2.1", "10.0.0.255"]
    assert [row["time"] for row in rows] == [
        datetime(2024, 2, 29, 0, 0, 0, 1000, tzinfo=UTC),
        datetime(2024, 6, 9, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    ]
    assert [row["octets"] for row in rows] == [2**53, 0, -5]
    assert [row["sub_id"] for row in rows] == [2**64 - 1, 0, 1]
    assert [row["exporter"] for row in rows] == ["198.51.100.7", "::1", "::1"]


def test_too_many_rows_are_our_mistake(store: EmbeddedStore) -> None:
    with pytest.raises(ValueError, match="at most 500000 rows"):
        store.insert("flows", table(flows(MAX_ROWS + 1)), token="t")


def test_no_rows_are_no_insert(store: EmbeddedStore) -> None:
    store.insert("flows", table(flows(0)), token="t")
    assert parts(store, "flows") == []


def test_an_insert_over_too_many_days_is_refused_for_ever(store: EmbeddedStore) -> None:
    with pytest.raises(StoreRefused) as refused:
        store.insert("flows", table(flows(101, ts=START_MS + np.arange(101) * 86_400_000)), token="t")
    assert refused.value.code == 252


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT 1 FROM nowhere", 60), ("SELEC", 47), ("SELECT 1 +", 62), ("SELECT toUInt8('x')", 6)],
)
def test_a_wrong_query_is_refused(store: EmbeddedStore, sql: str, code: int) -> None:
    with pytest.raises(StoreRefused) as refused:
        store.query(sql)
    assert refused.value.code == code


@pytest.mark.parametrize("setting", ["max_memory_usage = 1000000", "max_execution_time = 0.05"])
def test_what_a_repeat_may_mend_is_unavailable(store: EmbeddedStore, setting: str) -> None:
    with pytest.raises(StoreUnavailable):
        store.query(f"SELECT uniqExact(number) FROM numbers(300000000) SETTINGS {setting}")


@pytest.mark.parametrize(
    ("kind", "value", "back"),
    [
        ("String", "it's a \\ tab\t\n", "it's a \\ tab\t\n"),
        ("Int64", -(2**63), -(2**63)),
        ("Bool", True, True),
        ("Array(String)", ["a'b", "\\"], ["a'b", "\\"]),
        ("Array(UInt8)", [1, 2], [1, 2]),
        ("Nullable(String)", None, None),
        ("Date32", date(2024, 2, 29), date(2024, 2, 29)),
        ("DateTime64(6, 'UTC')", datetime(2024, 1, 2, 3, 4, 5, 678, UTC), datetime(2024, 1, 2, 3, 4, 5, 678, UTC)),
    ],
)
def test_parameters_arrive_as_they_are(store: EmbeddedStore, kind: str, value: object, back: object) -> None:
    assert store.query(f"SELECT {{x:{kind}}} AS x", x=value).to_pylist() == [{"x": back}]


def test_settings_and_databases_do_not_leak(store: EmbeddedStore) -> None:
    with store.session({"max_threads": 1, "readonly": 1}, database="system") as connection:
        assert connection.query("SELECT currentDatabase(), getSetting('readonly')", "TSV").bytes() == b"system\t1\n"
    assert store.query("SELECT currentDatabase() AS d, getSetting('readonly') AS r").to_pylist() == [
        {"d": store.database, "r": 0}
    ]


def test_threads_insert_and_read_at_once(store: EmbeddedStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for message in range(10):
                store.insert("flows", table(flows(100)), token=f"{number}/{message}")
                store.query("SELECT sum(octets) FROM flows")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.query("SELECT count() AS n FROM flows").to_pylist() == [{"n": 4000}]


def test_memory_is_limited(engine: EmbeddedStore) -> None:
    sql = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'"
    assert engine.query(sql).to_pylist() == [{"value": str(4 << 30)}]


def test_the_second_owner_learns_of_the_first(engine: EmbeddedStore) -> None:
    second = in_child("", engine.directory)
    assert second.returncode != 0
    assert f"is in use by process {os.getpid()} (" in second.stderr
    assert "since 20" in second.stderr


def test_a_process_opens_one_directory_in_its_life(engine: EmbeddedStore, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match="one directory in the life of a process"):
        EmbeddedStore(tmp_path)


def test_a_token_outlives_the_process(tmp_path: Path) -> None:
    insert = "store.insert('flows', table(flows(1000)), token='topic/0/1')\n"
    # The first dies as a killed process does: nothing is closed.
    first = in_child(insert + "import os\nos.kill(os.getpid(), 9)", tmp_path)
    assert first.returncode == -9, first.stderr
    late = "try: store.query('SELECT 1')\nexcept Exception as error: print(type(error).__name__)\n"
    count = "print(store.query('SELECT count() AS n FROM flows').to_pylist()[0]['n'])\n"
    second = in_child(count + insert + count + "store.close()\n" + late, tmp_path)
    assert second.stdout.split() == ["1000", "1000", "StoreUnavailable"], second.stderr
