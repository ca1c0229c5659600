"""The enricher's whole hop in one process: ``python -m bench.hop [ROWS a raw message ...]``.

Raw messages wait in a spool; the enricher reads, joins, enriches and appends them, with a million leases; the sink's
side takes the messages and makes of them what it inserts, once as they are handed over in the process, once from the
log.  CPU-seconds per million flows, without the insert.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.enrich import flows, leases
from enricher.enrichment import Tables
from enricher.leases import LeaseTable
from enricher.recent_traffic import RecentTraffic
from enricher.service import Enricher
from enricher.settings import EnricherSettings
from sinks import ENRICHED_STREAM, RAW_STREAM
from sinks.allocation import keep_freed
from sinks.batch import Batch
from sinks.codec import encode_parts
from sinks.delivery import EnrichedHeaders, RawHeaders
from sinks.rows import rows_of
from sinks.schema import RAW
from sinks.settings import BusSettings
from sinks.spool import Spool

FLOWS = 1_000_000
SIZES = (2_048, 8_192, 32_768)


def measure(folder: Path, tables: Tables, batch: Batch, size: int, *, handed: bool) -> tuple[float, float]:
    """CPU-seconds per million flows of the enricher, and of the sink's side."""
    bus = Spool(folder, BusSettings(partitions=1))
    if handed:
        bus.hand_over(ENRICHED_STREAM)
    writer, reader = bus.producer(RAW_STREAM), bus.consumer(ENRICHED_STREAM, "bench")
    for number in range(FLOWS // size):
        part = batch.slice(number % 4 * size, (number % 4 + 1) * size)
        ts = part.columns["ts"].view("i8")
        headers = RawHeaders("bench", number, len(part), int(ts.min()), int(ts.max()))
        writer.publish(0, headers.encode(), encode_parts(part, RAW, "none", runs=True))
    enricher = Enricher(
        bus, lambda: tables, EnricherSettings(max_wait_seconds=60), "none", note=RecentTraffic().note
    )  # fmt: skip
    stop = threading.Event()
    stop.set()  # what is there is finished
    begin = time.process_time()
    enricher.run(stop)
    middle = time.process_time()
    rows = 0
    while messages := reader.poll(64 << 20, 0):
        rows += sum(len(rows_of(each, EnrichedHeaders.decode(each.headers), 0, 0)[1]) for each in messages)
    end = time.process_time()
    assert rows >= FLOWS // size * size
    reader.close()
    writer.close()
    million = FLOWS // size * size / 1e6
    return (middle - begin) / million, (end - middle) / million


def main() -> None:
    """Print one line a size and way."""
    keep_freed()
    rng = np.random.default_rng(1)
    rows = leases(rng)
    tables = Tables(LeaseTable.of(rows, bytes(32)))
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        batch = flows(rng, rows, 4 * size, 1.0)
        for handed in (False, True):
            best = [float("inf")] * 2
            for _ in range(3):
                with tempfile.TemporaryDirectory() as folder:
                    best = list(map(min, best, measure(Path(folder), tables, batch, size, handed=handed)))
            way = "handed over" if handed else "from the log"
            print(f"{size:,} rows a raw message, {way}: enricher {best[0]:.3f}, sink's side {best[1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
