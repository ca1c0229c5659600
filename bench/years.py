"""What a store for years costs: insert, merges, rollups, bytes, and the worked queries while flows come in.

``python -m bench.years [ROWS [FOLDER]]`` (default 50 million: twenty minutes on two cores; a folder is kept, and what
was filled before is used again).  Flows of 1,000,000 subscribers
over seven days, in messages of 500,000 rows: encoded and decoded as on the bus, inserted under their tokens, rolled up
in ranges of 5 million by the sink's own code.  Not through UDP.  The density is that of the rows given: 50 million
over a week are 83 flows a second, so that minute tables are as large against raw as at a small site.  Before anything
is measured the rollups are merged, as they are in a store that had the week's time for it.
"""

import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.__main__ import machine
from dashboards.library import bound, dashboards
from dashboards.macros import Window, expand, interval_ms, interval_of
from sinks.batch import Batch
from sinks.codec import at_rest, decode_arrow, encode
from sinks.embedded import EmbeddedStore
from sinks.inserts import MAX_ROWS
from sinks.migrations import migrate
from sinks.queries import WorkedQuery, worked_queries
from sinks.rollup_ranges import run_range
from sinks.rollup_tables import NAMES
from sinks.schema import BUCKETS, FLOW
from tests.stored import FOR_EVER, TIMEZONE, flows

SUBSCRIBERS = 1_000_000
DAYS = 7
LIVE_ROWS = 200_000  # a second, one message, while queries run
RANGE_ROWS = 5_000_000  # at most in a range of the rollups
RANGE = RANGE_ROWS // MAX_ROWS  # messages
POINTS = 700  # of a panel half a screen wide
REPEATS = 12  # of each query: p95 is then about the second largest
END = datetime(2026, 9, 27, 15, tzinfo=UTC)  # midnight in Tokyo: seven whole local days, Monday to Sunday
BEGIN = END - timedelta(days=DAYS)
_HASH = np.uint64(0x9E3779B97F4A7C15)
_PORTS = np.array([443, 80, 53, 22, 8080, 993, 123, 5060, 1194, 3478])
_PORT_SHARES = [0.62, 0.1, 0.1, 0.01, 0.04, 0.03, 0.02, 0.01, 0.01, 0.06]


def traffic(rows: int, message: int, begin_ms: int, end_ms: int) -> Batch:
    """Flows that end in [begin, end): of all subscribers, one in ten longer than a minute."""
    rng = np.random.default_rng((7, message))
    end = np.sort(rng.integers(begin_ms, end_ms, rows))
    lasted = np.where(rng.random(rows) < 0.1, rng.integers(60_000, 300_000, rows), rng.integers(0, 60_000, rows))
    octets = (rng.pareto(1.2, rows) * 400 + 40).astype("i8").clip(40, 10**9)
    subscriber = rng.integers(0, SUBSCRIBERS, rows)
    proto = rng.choice([6, 17, 50], rows, p=[0.55, 0.42, 0.03])
    # One in twenty to a port of no service: the port tables have thousands of rows an hour.
    port = np.where(rng.random(rows) < 0.05, rng.integers(1024, 32_000, rows), rng.choice(_PORTS, rows, p=_PORT_SHARES))
    port = np.where(proto == 50, 0, port)
    direction = rng.integers(1, 3, rows)
    high = np.where(proto == 50, 0, rng.integers(32_768, 61_000, rows))
    upload = direction == 1
    batch = flows(
        rows, ts=end, ts_start=end - lasted, received=end + 500, octets=octets, packets=octets // 900 + 1,
        octets_est=octets * 1000, packets_est=(octets // 900 + 1) * 1000, proto=proto,
        tcp_flags=np.where(proto == 6, 27, 0), sub_id=subscriber.astype("u8") * _HASH + np.uint64(1),
        direction=direction, src_port=np.where(upload, high, port), dst_port=np.where(upload, port, high),
        sampling=1000, sampling_source=2, lower_port=port, in_if=rng.integers(1, 8, rows),
        out_if=rng.integers(1, 8, rows), src_as=np.where(upload, 64500, rng.zipf(1.5, rows).clip(1, 60_000)),
        dst_as=np.where(upload, rng.zipf(1.5, rows).clip(1, 60_000), 64500), bus_offset=message,
    )  # fmt: skip
    ours, theirs = subscriber + 0x0A000000, rng.zipf(1.3, rows).clip(1, 200_000) + 0xC6000000
    for name, hosts in (("src_addr", np.where(upload, ours, theirs)), ("dst_addr", np.where(upload, theirs, ours))):
        address = np.zeros((rows, 16), "u1")
        address[:, 10:12] = 255
        address[:, 12:] = hosts.astype(">u4").view("u1").reshape(rows, 4)
        batch.columns[name] = address.reshape(-1).view("V16")
    batch.labels |= {
        "exporter": tuple(f"192.0.2.{n}" for n in range(1, 9)), "service": ("fixed", "mobile"),
        "segment": ("personal", "enterprise"), "access": ("pppoe", "ipoe", "mobile"), "bucket": BUCKETS,
    }  # fmt: skip
    mobile = subscriber % 4 == 0
    codes = {
        "exporter": subscriber % 8, "service": mobile, "segment": subscriber % 10 == 9,
        "access": np.where(mobile, 2, subscriber // 4 % 3 == 0),
        "bucket": np.select([proto == 50, (proto == 6) & (port == 443), (proto == 6) & (port == 80),
                             (proto == 17) & (port == 443)], [7, 0, 1, 4],
                            np.where(proto == 6, 2, 5) + (port >= 1024)),
    }  # fmt: skip
    for name, code in codes.items():
        batch.columns[name] = code.astype("u4")
    return batch


def as_stored(batch: Batch) -> pa.Table:
    """Through the bus's codec, as the sink has it."""
    return at_rest(pa.Table.from_batches([decode_arrow(encode(batch, FLOW))]))


def cpu() -> float:
    """Processor seconds of this process, engine included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Costs:
    """Processor and wall seconds by part."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    def add(self, part: str, work: Callable[[], object]) -> None:
        began, used = time.perf_counter(), cpu()
        work()
        self.cpu[part] = self.cpu.get(part, 0) + cpu() - used
        self.wall[part] = self.wall.get(part, 0) + time.perf_counter() - began


def fill(store: EmbeddedStore, rows: int) -> int:
    """A week of flows, with merges as they come; prints the costs and returns the number of messages."""
    costs, messages = Costs(), -(-rows // MAX_ROWS)
    begin, width = int(BEGIN.timestamp() * 1000), DAYS * 86_400_000 // messages
    whole, made = cpu(), 0.0
    began = time.perf_counter()
    for message in range(messages):
        used = cpu()
        start = begin + message * width
        body = encode(traffic(MAX_ROWS, message, start, start + width), FLOW)
        made += cpu() - used

        def insert(body: bytes = body, message: int = message) -> None:
            table = at_rest(pa.Table.from_batches([decode_arrow(body)]))
            store.insert("flows", table, token=f"years/0/{message}")

        costs.add("decode and insert", insert)
        if (message + 1) % RANGE == 0 or message + 1 == messages:
            a = message // RANGE * RANGE
            print(f"{message + 1} of {messages} messages", file=sys.stderr, flush=True)
            costs.add("rollups", partial(run_range, store, TIMEZONE, "years", 0, 0, a, message + 1))
    merge_rollups(store)
    million = messages * MAX_ROWS / 1e6
    print(f"filled {million:g} M rows in {time.perf_counter() - began:.0f} s\n")
    print("| part | CPU-s per million |\n|---|---|")
    for part, seconds in costs.cpu.items():
        print(f"| {part}, merges beside them included | {seconds / million:.2f} |")
    print(f"| all but making the flows | {(cpu() - whole - made) / million:.2f} |\n", flush=True)
    return messages


def merge_rollups(store: EmbeddedStore) -> None:
    """A part a partition, as after the time that the week would have lasted."""
    for name in NAMES:
        store.command(f"OPTIMIZE TABLE {name} FINAL")


def sizes(store: EmbeddedStore, rows: int) -> None:
    """Bytes by table, against raw; and a year by calculation."""
    found = store.query(
        "SELECT table, sum(rows) AS n, sum(bytes_on_disk) AS octets FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY octets DESC"
    ).to_pylist()
    by_table = {row["table"]: row for row in found}
    raw = by_table["flows"]["octets"]
    print("| table | rows | MB | bytes a row | % of raw |\n|---|---|---|---|---|")
    for name in ("flows", *NAMES):
        row = by_table[name]
        size, share = row["octets"] / row["n"], 100 * row["octets"] / raw
        print(f"| {name} | {row['n']:,} | {row['octets'] / 1e6:.1f} | {size:.1f} | {share:.1f} |")
    rolled = sum(by_table[name]["octets"] for name in NAMES)
    print(f"| rollups together | | {rolled / 1e6:.1f} | | {100 * rolled / raw:.1f} |\n")
    days = DAYS
    subscriber = by_table["subscriber_1d"]["octets"] / by_table["subscriber_1d"]["n"]
    print(f"A year for {SUBSCRIBERS:,} subscribers, from these bytes:")
    print(f"- subscriber_1d: 2 directions a subscriber and day x {subscriber:.1f} bytes x 365 ="
          f" {2 * SUBSCRIBERS * subscriber * 365 / 1e9:.1f} GB")  # fmt: skip
    for name in ("bucket_1h", "port_1h", "port_1d"):
        print(f"- {name}: {by_table[name]['octets'] / days / 1e6:.2f} MB a day x 365 ="
              f" {by_table[name]['octets'] / days * 365 / 1e9:.2f} GB")  # fmt: skip
    print(flush=True)


def parameters(query: WorkedQuery, subscriber: int) -> dict[str, str]:
    """Values for this week: an evening hour of its last day, the whole week, and its Monday."""
    hour = END - timedelta(hours=4)
    text = "%Y-%m-%d %H:%M:%S"
    values = {
        **query.example, "since": f"{hour:{text}}", "until": f"{hour + timedelta(hours=1):{text}}",
        "now": f"{END:{text}}", "from": "2026-09-21", "to": "2026-09-28", "monday": "2026-09-21",
        "sub_id": str(subscriber), "prefix": "198.0.0.0/24", "timezone": TIMEZONE,
    }  # fmt: skip
    if query.name == "report_daily_volume":  # a day: the target is about one
        values |= {"from": "2026-09-26", "to": "2026-09-27"}
    if query.name == "report_hour_by_weekday":
        values |= {"since": f"{BEGIN:{text}}", "until": f"{END:{text}}"}
    return {name: values[name] for name in query.parameters}


class Live:
    """Inserts 200,000 rows a second behind the week and rolls them up beside it, as the sink does."""

    def __init__(self, store: EmbeddedStore, first: int) -> None:
        self._store, self._first = store, first
        self._stop, self.late, self.lag = threading.Event(), 0.0, 0
        self._inserted = self._rolled = first
        start = int(END.timestamp() * 1000)
        self._made = as_stored(traffic(LIVE_ROWS, first, start, start + 1000))
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._insert, self._roll)]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def finish(self) -> float:
        """Stop; rows a second that were inserted."""
        self._stop.set()
        rate = (self._inserted - self._first) * LIVE_ROWS / (time.monotonic() - self._began)
        for thread in self._threads:
            thread.join()
        return rate

    def _insert(self) -> None:
        place = {name: self._made.schema.get_field_index(name) for name in ("bus_offset", "ts", "ts_start", "received")}
        while not self._stop.is_set():
            rows, message = self._made, self._inserted
            moved = pa.scalar((message - self._first) * 1000, pa.duration("ms"))
            for name in ("ts", "ts_start", "received"):
                rows = rows.set_column(place[name], name, pa.compute.add(rows.column(name), moved))
            offsets = pa.repeat(pa.scalar(message, pa.uint64()), LIVE_ROWS)
            rows = rows.set_column(place["bus_offset"], "bus_offset", offsets)
            self._store.insert("flows", rows, token=f"l/{message}")
            self._inserted += 1
            wait = self._began + (self._inserted - self._first) - time.monotonic()
            self.late = max(self.late, -wait)
            self._stop.wait(max(0, wait))

    def _roll(self) -> None:
        """At most half of the time, every five seconds at most: sinks/rollups.py's pace."""
        pause = 5.0
        while not self._stop.wait(pause):
            began, behind = time.monotonic(), min(self._inserted, self._rolled + RANGE_ROWS // LIVE_ROWS)
            self.lag = max(self.lag, self._inserted - self._rolled)
            run_range(self._store, TIMEZONE, "years", 0, 0, self._rolled, behind)
            self._rolled = behind
            pause = max(5.0, time.monotonic() - began)


def timed(store: EmbeddedStore, sql: str, values: dict[str, str], repeats: int = REPEATS) -> list[float]:
    """Sorted milliseconds."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        store.query(sql, **values)
        found.append(1000 * (time.perf_counter() - began))
    return sorted(found)


def line(name: str, reads: str, times: list[float], target: str) -> None:
    """A row of the table of times."""
    p50, p95 = (float(np.percentile(times, share)) for share in (50, 95))
    met = "" if not target else ("met" if p95 < float(target) else "MISSED")
    print(f"| {name} | {reads} | {p50:.0f} | {p95:.0f} | {target} {met} |", flush=True)


DISTRIBUTION = """
SELECT quantilesExact(0.05, 0.25, 0.5, 0.75, 0.95, 0.99)(octets) AS q, mode_of(log_histogram_of(octets)) AS mode,
    count() AS users FROM (SELECT sub_id, sum(octets_est) AS octets FROM subscriber_1d
    WHERE day = toDate('2026-09-26') AND direction = 2 GROUP BY sub_id)
"""
RAW_HOUR = """
SELECT bucket, sum(octets_est) AS octets, uniq(sub_id) AS users FROM flows
WHERE ts >= {since:DateTime('UTC')} AND ts < {until:DateTime('UTC')} GROUP BY bucket ORDER BY octets DESC
"""


def queries(store: EmbeddedStore) -> None:
    """The times of the worked queries and of the issue's three questions."""
    subscriber = int(store.query("SELECT any(sub_id) AS s FROM subscriber_1d").column("s")[0].as_py())
    worked = worked_queries()
    print("| query | reads | p50 ms | p95 ms | target |\n|---|---|---|---|---|")
    for query in worked:
        rollup = all(name in NAMES or name == "exporter_name" for name in query.reads)
        target = {"report_port_table": "50", "report_daily_volume": "1000"}.get(query.name, "150") if rollup else ""
        if query.reads == ("flows",):
            target = "1000"
        line(query.name, ", ".join(query.reads), timed(store, query.sql, parameters(query, subscriber)), target)
    hour = END - timedelta(hours=4)
    text = "%Y-%m-%d %H:%M:%S"
    span = {"since": f"{hour:{text}}", "until": f"{hour + timedelta(hours=1):{text}}"}
    line("one hour of raw by bucket", "flows", timed(store, RAW_HOUR, span), "1000")
    users = store.query(DISTRIBUTION).column("users")[0].as_py()
    line(f"a day's distribution of {users:,} subscribers", "subscriber_1d", timed(store, DISTRIBUTION, {}), "1000")
    print(flush=True)


def panels(store: EmbeddedStore) -> None:
    """The times of the dashboards' queries, over the range that each dashboard opens with; All chosen."""
    print("| panel | dashboard | p50 ms | p95 ms | target |\n|---|---|---|---|---|")
    for dashboard in dashboards().values():
        span = interval_of(dashboard["time"]["from"].removeprefix("now-"))
        end = int(END.timestamp() * 1000)
        values = bound(dashboard, {})
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                window = Window(end - span, end, interval_ms(span, POINTS, interval_of(panel["interval"])))
                sql = expand(target["rawSql"], window, values)
                line(f"{panel['title']} {target['refId']}", dashboard["uid"], timed(store, sql, {}), "150")
    print(flush=True)


def main(rows: int, kept: Path | None) -> None:
    print(machine(), datetime.now(UTC).strftime("%Y-%m-%d"), "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(kept or Path(folder))
        migrate(store, FOR_EVER, TIMEZONE)
        stored = int(
            store.query("SELECT count() AS n FROM flows WHERE ts < '2026-09-27 15:00:00'").column("n")[0].as_py()
        )
        messages = stored // MAX_ROWS or fill(store, rows)
        sizes(store, messages * MAX_ROWS)
        print("Without other work:\n")
        queries(store)
        panels(store)
        live = Live(store, messages)
        live.start()
        print(f"While {LIVE_ROWS:,} rows a second are inserted and rolled up:\n")
        queries(store)
        panels(store)
        rate = live.finish()
        print(f"{rate:,.0f} rows/s were inserted meanwhile, at most {live.late:.1f} s late; rollups at most"
              f" {live.lag} messages behind")  # fmt: skip
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000_000, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
