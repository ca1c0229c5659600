"""What the store costs: CPU-seconds per million flows of an insert, of each rollup, and of a repeat.

``python bench/store.py [MILLIONS]`` (default 5: under a minute on two cores).  Flows are those of ``tests.stored``:
50,000 subscribers, eight exporters, one flow in ten longer than a minute.  Merges are held back and then run once, so
that they are counted by themselves.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sinks.embedded import EmbeddedStore
from sinks.inserts import MAX_ROWS
from sinks.migrations import migrate
from sinks.rollups import NAMES, of_offsets, statement
from tests.stored import FOR_EVER, TIMEZONE, table, traffic


def measured(what: str, millions: float, work: Callable[[], None]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began, cpu = time.perf_counter(), usage.ru_utime + usage.ru_stime
    work()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime - cpu
    wall = time.perf_counter() - began
    print(f"{what:<24}{cpu / millions:>8.2f} CPU-s/million {millions / wall:>8.2f} million/s", flush=True)


def main(millions: int) -> None:
    messages = millions * 1_000_000 // MAX_ROWS
    tables = [table(traffic(MAX_ROWS, number)) for number in range(messages)]
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder))
        migrate(store, FOR_EVER, TIMEZONE)
        store.command("SYSTEM STOP MERGES")

        def insert() -> None:
            for number, rows in enumerate(tables):
                store.insert("flows", rows, token=f"bench/0/{number}")

        measured("insert", millions, insert)
        measured("the same insert again", millions, insert)
        for count in sorted({2, messages}):
            rolled = count * MAX_ROWS / 1e6
            for name in NAMES:
                store.command(f"TRUNCATE TABLE {name}")
                sql = statement(name, of_offsets(0, 0, count), TIMEZONE)
                token = f"{name}/bench/{count}"
                measured(f"{name} {rolled:g} M", rolled, partial(store.command, sql, token=token))
        store.command("SYSTEM START MERGES")
        measured("one merge of raw", millions, lambda: store.command("OPTIMIZE TABLE flows FINAL"))
        facts = store.query(
            "SELECT sum(bytes_on_disk) / sum(rows) AS size FROM system.parts WHERE active AND table = 'flows'"
        ).to_pylist()
        print(f"{facts[0]['size']:.1f} bytes a row on disk")
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
