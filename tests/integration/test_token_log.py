"""A kill between the engine's log of tokens and its rename loses rows, unless the token is taken back."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sinks.token_log import forget_lost

LIFE = """
import json, sys
from pathlib import Path
import sinks.embedded
from sinks.embedded import EmbeddedStore
if sys.argv[2] == "unrepaired":
    sinks.embedded.forget_lost = lambda directory: []
store = EmbeddedStore(Path(sys.argv[1]))
store.command("CREATE TABLE IF NOT EXISTS t (d UInt8, n UInt64) ENGINE = MergeTree PARTITION BY d ORDER BY n"
              " SETTINGS non_replicated_deduplication_window = 1000")
for n in json.loads(sys.argv[3]):
    store.command(f"INSERT INTO t SELECT number % 2, {n} FROM numbers(2) ORDER BY number", token=f"t{n}")
print(json.dumps(store.query("SELECT n, count() AS c FROM t GROUP BY n ORDER BY n").to_pylist()))
store.close()
"""


def live(folder: Path, how: str, numbers: list[int]) -> dict[int, int]:
    """One life of an engine that inserts two rows a number, each into its partition; rows by number at its end."""
    words = [sys.executable, "-c", LIFE, str(folder), how, json.dumps(numbers)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    return {row["n"]: row["c"] for row in json.loads(ended.stdout.splitlines()[-1])}


def table_of(folder: Path) -> Path:
    (logs,) = [logs for logs in folder.glob("store/*/*/deduplication_logs") if any(logs.parent.glob("0_*"))]
    return logs.parent


def lose(folder: Path) -> str:
    """As a kill leaves it: the newest part of one of the two partitions was not renamed yet."""
    newest = max(table_of(folder).glob("1_*"), key=lambda part: int(part.name.split("_")[2]))
    shutil.rmtree(newest)
    return newest.name


@pytest.mark.parametrize(("how", "rows"), [("unrepaired", 1), ("repaired", 2)])
def test_what_was_not_renamed_is_stored_by_its_repeat(how: str, rows: int, tmp_path: Path) -> None:
    assert live(tmp_path, how, [1, 2, 3]) == {1: 2, 2: 2, 3: 2}
    lose(tmp_path)
    assert live(tmp_path, how, [1, 2, 3]) == {1: 2, 2: 2, 3: rows}


def test_what_is_there_or_was_merged_stays_known(tmp_path: Path) -> None:
    live(tmp_path, "repaired", [1, 2, 3])
    assert forget_lost(tmp_path) == []
    table = table_of(tmp_path)
    # As a merge of all three leaves it.
    names = sorted(part.name for part in table.glob("1_*"))
    first, last = names[0].split("_")[1], names[-1].split("_")[2]
    (table / names[0]).rename(table / f"1_{first}_{last}_1")
    for name in names[1:]:
        shutil.rmtree(table / name)
    assert forget_lost(tmp_path) == []


def test_a_torn_line_is_cut_off_and_a_repair_is_done_once(tmp_path: Path) -> None:
    live(tmp_path, "repaired", [1, 2])
    name, (log,) = lose(tmp_path), list((table_of(tmp_path) / "deduplication_logs").iterdir())
    with log.open("ab") as file:
        file.write(b"1\t1_99_99_0\tto")
    assert forget_lost(tmp_path) == [name]
    assert log.read_text().splitlines()[-1].split("\t")[:2] == ["2", name]
    assert "1_99_99_0" not in log.read_text()
    assert forget_lost(tmp_path) == []
    assert live(tmp_path, "repaired", [2]) == {1: 2, 2: 2}


@pytest.mark.soak
def test_no_insert_is_lost_over_many_kills(tmp_path: Path) -> None:
    """Without the repair about one kill in sixty loses one, on a disk."""
    endless = LIFE.replace("for n in json.loads(sys.argv[3]):", "for n in range(int(sys.argv[3]), 10**9):").replace(
        'token=f"t{n}")', 'token=f"t{n}")\n    print(n, flush=True)'
    )
    chance, following = random.Random(1), 0
    for _ in range(150):
        words = [sys.executable, "-c", endless, str(tmp_path), "repaired", str(following)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as life:
            assert life.stdout
            while not (first := life.stdout.readline().strip()).isdigit():  # a log line of the repair
                assert life.poll() is None
            time.sleep(chance.uniform(0.0, 0.3))
            life.kill()
            following = 1 + int([first, *life.stdout.read().split()][-1])  # the next one is repeated
    assert live(tmp_path, "repaired", [following]) == dict.fromkeys(range(following + 1), 2)
