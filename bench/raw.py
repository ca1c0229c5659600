"""How the raw table is sorted, indexed and merged: insert, merges, bytes and the subscriber page together.

``python -m bench.raw [ROWS]`` (default 5 million: five minutes on two cores).  One day of 1,000,000 subscribers in
messages of 250,000 rows, into a table a variant; each differs from the migrations' own in what its name says.
"""

import ipaddress
import re
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.__main__ import machine
from bench.years import END, as_stored, cpu, timed, traffic
from sinks.embedded import EmbeddedStore
from sinks.migrations import migrate
from tests.stored import FOR_EVER, TIMEZONE

MESSAGE = 250_000
DAY_MS = 86_400_000
REPEATS = 9
_NARROW = ("next_hop", "tos", "src_mask", "dst_mask", "vlan", "icmp", "domain", "collector", "extra", "src_as",
           "dst_as", "tcp_flags")  # fmt: skip


def order(by: str) -> Callable[[str], str]:
    return lambda sql: re.sub(r"ORDER BY [^\n]*", f"ORDER BY {by}", sql, count=1)


def index(*columns: str) -> Callable[[str], str]:
    added = "".join(f", INDEX by_{column} {column} TYPE bloom_filter(0.01) GRANULARITY 1" for column in columns)
    return lambda sql: re.sub(r"(INDEX by_offset bus_offset TYPE minmax GRANULARITY 1)", r"\1" + added, sql)


def narrow(sql: str) -> str:
    for column in _NARROW:
        sql = re.sub(rf"\n\s*`{column}` [^\n]*,(?=\n)", "", sql)
    return sql


def setting(name: str, value: int) -> Callable[[str], str]:
    return lambda sql: re.sub(rf"{name} = \d+", f"{name} = {value}", sql)


VARIANTS: dict[str, Callable[[str], str]] = {
    "ORDER BY ts (as it is)": lambda sql: sql,
    "with bloom filters on sub_id": index("sub_id"),
    "with bloom filters on sub_id, src_addr, dst_addr": index("sub_id", "src_addr", "dst_addr"),
    "ORDER BY (five minutes, sub_id, ts)": order("(toStartOfFiveMinutes(ts), sub_id, ts)"),
    "ORDER BY (hour, sub_id, ts)": order("(toStartOfHour(ts), sub_id, ts)"),
    f"without {len(_NARROW)} of the columns": narrow,
    "merge_selector_base = 5": setting("merge_selector_base", 5),
}


def merged_rows(store: EmbeddedStore) -> int:
    found = store.query("SELECT toInt64(sum(value)) AS n FROM system.events WHERE event = 'MergedRows'")
    return int(found.column("n")[0].as_py() or 0)


def settled(store: EmbeddedStore) -> None:
    """Until merges rest for two seconds."""
    quiet = 0
    while quiet < 4:
        busy = store.query("SELECT count() AS n FROM system.merges").column("n")[0].as_py()
        quiet = 0 if busy else quiet + 1
        time.sleep(0.5)


def main(store: EmbeddedStore, rows: int) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), "\n", flush=True)
    begin = int(END.timestamp() * 1000) - DAY_MS
    messages = rows // MESSAGE
    width = DAY_MS // messages
    made = [as_stored(traffic(MESSAGE, n, begin + n * width, begin + (n + 1) * width)) for n in range(messages)]
    subscriber = int(made[0].column("sub_id")[0].as_py())
    host = f"toIPv6('{ipaddress.IPv6Address(made[0].column('src_addr')[0].as_py())}')"
    print(f"{messages} messages of {MESSAGE:,} rows. Insert and merges as they come; then one merge of everything.\n")
    print("| table | insert and merges | rows merged, times | one merge pass | bytes a row | a subscriber's day, ms"
          " | an address' day, ms | an hour by bucket, ms |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for number, (name, change) in enumerate(VARIANTS.items()):
        table = f"raw_{number}"
        create = store.query("SHOW CREATE TABLE flows").to_pylist()[0]["statement"]
        text = change(create).replace("flowtide.flows", table, 1).replace("CREATE TABLE flows", f"CREATE TABLE {table}")
        store.command(text)
        kept = store.query(f"SELECT * FROM {table} LIMIT 0").column_names
        used, merged = cpu(), merged_rows(store)
        for at, message in enumerate(made):
            store.insert(table, message.select([c for c in message.column_names if c in kept]), token=f"{table}/{at}")
        settled(store)
        inserted, passes = (cpu() - used) / rows * 1e6, (merged_rows(store) - merged) / rows
        used = cpu()
        store.command(f"OPTIMIZE TABLE {table} FINAL")
        once = (cpu() - used) / rows * 1e6
        size = store.query(
            "SELECT sum(bytes_on_disk) AS b FROM system.parts WHERE active AND table = {t:String}", t=table
        )
        page = f"SELECT ts, src_port, octets_est FROM {table} WHERE sub_id = {subscriber} ORDER BY ts"
        of_host = f"SELECT count(), sum(octets_est) FROM {table} WHERE src_addr = {host} OR dst_addr = {host}"
        noon = begin + DAY_MS // 2
        hour = (f"SELECT bucket, sum(octets_est) FROM {table} WHERE ts >= fromUnixTimestamp64Milli({noon})"
                f" AND ts < fromUnixTimestamp64Milli({noon + 3_600_000}) GROUP BY bucket")  # fmt: skip
        times = [timed(store, sql, {}, REPEATS)[REPEATS // 2] for sql in (page, of_host, hour)]
        octets = size.column("b")[0].as_py() / rows
        print(f"| {name} | {inserted:.2f} | {passes:.2f} | {once:.2f} | {octets:.1f} | "
              + " | ".join(f"{value:.0f}" for value in times) + " |", flush=True)  # fmt: skip
        store.command(f"DROP TABLE {table} SYNC")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        opened = EmbeddedStore(Path(directory))
        migrate(opened, FOR_EVER, TIMEZONE)
        main(opened, int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
        opened.close()
