"""What must hold after any kill: read from the logs of the bus and from the store, both in full."""

import re
from collections.abc import Sequence
from pathlib import Path

from sinks import ENRICHED_STREAM, RAW_STREAM
from sinks.delivery import EnrichedHeaders, RawHeaders, judge
from sinks.rollups import NAMES, statement
from sinks.settings import BusSettings
from sinks.spool import Spool
from tests.end_to_end.conftest import Running

MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")


def accepted(spool: Path, partitions: int) -> dict[str, int]:
    """Rows of kind flow that the raw stream accepted; no segment may have been trimmed."""
    bus = Spool(spool, BusSettings(partitions=partitions))
    consumer = bus.consumer(RAW_STREAM, "trial")
    totals = {"messages": 0, "rows": 0}
    while messages := consumer.poll(64 << 20, 0):
        for message in messages:
            headers = RawHeaders.decode(message.headers)
            if headers.kind == "flow":
                totals["messages"] += 1
                totals["rows"] += headers.rows
    assert all(consumer.bounds(partition)[0] == 0 for partition in range(partitions))
    consumer.close()
    return totals


def expected_rows(spool: Path, partitions: int) -> tuple[dict[tuple[int, int], int], int]:
    """Rows that each enriched message counts for, by log order; and how much of the log overlaps."""
    bus = Spool(spool, BusSettings(partitions=partitions))
    consumer = bus.consumer(ENRICHED_STREAM, "trial")
    stored, rows, overlaps = [0] * partitions, {}, 0
    while messages := consumer.poll(64 << 20, 0):
        for message in messages:
            headers = EnrichedHeaders.decode(message.headers)
            verdict = judge(headers, stored[message.partition])
            overlaps += verdict.skip or verdict.first_row > 0
            stored[message.partition] = verdict.stored
            if headers.kind == "flow" and not verdict.skip:
                rows[message.partition, message.offset] = verdict.rows - verdict.first_row
    raw = bus.consumer(RAW_STREAM, "trial")
    assert stored == [raw.bounds(partition)[1] for partition in range(partitions)], "not all that was accepted"
    return rows, overlaps


def stored_rows(running: Running) -> dict[tuple[int, int], int]:
    """Rows of the raw table by enriched message."""
    found = running.query("SELECT bus_partition AS p, bus_offset AS o, count() AS n FROM flows GROUP BY p, o")
    return {(row["p"], row["o"]): row["n"] for row in found}


def rollup_differences(running: Running, names: Sequence[str] = NAMES) -> list[str]:
    """Keys whose sums differ between a rollup and its recomputation from raw."""
    problems = []
    for name in names:
        found = re.search(r"INSERT INTO \w+\s*\(([^)]*)\)(.*)", statement(name, "1", "UTC"), re.DOTALL)
        assert found
        columns, rest = [column.strip() for column in found[1].split(",")], found[2]
        keys = [column for column in columns if column not in MEASURES]
        # Each key's sums of the table less those of the recomputation: all zero, or the key differs.
        values = ", ".join(f"sum({measure} * sign) AS d_{measure}" for measure in MEASURES)
        names_of = ", ".join(columns)
        count = running.query(
            f"SELECT count() AS n FROM (SELECT {', '.join(keys)}, {values} FROM ("
            f"SELECT {names_of}, 1 AS sign FROM {name} UNION ALL "
            f"SELECT {names_of}, -1 AS sign FROM ({rest}) AS again({names_of})"
            f") GROUP BY {', '.join(keys)} HAVING {' OR '.join(f'd_{measure} != 0' for measure in MEASURES)})"
        )[0]["n"]
        if count:
            problems.append(f"{name}: {count} keys differ")
    return problems
