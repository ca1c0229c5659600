"""The same datagrams through the spool and through Kafka: the same rows."""

import socket
import time
from pathlib import Path

import pyarrow as pa
import pytest

from sinks.clickhouse import ClickHouseStore
from tests.broker import Broker
from tests.broker.fixtures import broker as broker
from tests.end_to_end.test_separate_processes import Process, stored, wait
from tests.golden.record import RECORDED
from tests.golden.test_recorded import NAMES, datagrams
from tests.golden.test_recorded import rows as recorded_rows

TRUSTED = '[collector.decoder.times]\ntrusted = ["0.0.0.0/0"]\n'  # what was recorded is old
# All that is of the datagrams: not when they came, and not where on the bus; times only where they were told.
_ROWS = """SELECT * EXCEPT (received, bus_partition, bus_offset, ts, ts_start), if(ts = received, NULL, ts) AS ended,
    ts - ts_start AS lasted FROM flows ORDER BY ALL"""


def rows(folder: Path, bus: str, wanted: int) -> list[dict[str, object]]:
    """All rows that a whole run stored of the recorded messages, each recording an exporter of its own."""
    folder.mkdir()
    (folder / "leases.csv").write_text("prefix,from,to,subscriber,group,service,segment,access\n")
    run = Process("run", folder, "run", bus, TRUSTED)
    try:
        facts = run.start("running")
        host, _, port = facts["listen"][0].rpartition(":")
        for number, path in enumerate(sorted(RECORDED.glob("*.hex"))):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
                exporter.bind((f"127.0.2.{number + 1}", 0))
                for line in path.read_text().splitlines():
                    exporter.sendto(bytes.fromhex(line), (host, int(port)))
                    time.sleep(0.001)
        store = ClickHouseStore(facts["http"])
        wait(lambda: stored(store) >= wanted, 60, run)
        found: pa.Table = store.query(_ROWS)
        store.close()
        assert run.stop() == 0, run.log.read_text()[-2000:]
        rows: list[dict[str, object]] = found.to_pylist()
        return rows
    finally:
        run.kill()


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
def test_spool_and_kafka_store_the_same_rows(tmp_path: Path, broker: Broker) -> None:
    kafka = f'[bus]\nurl = "{broker.url}"\ntelemetry = "127.0.0.1:0"\n[kafka]\ntopic_prefix = "same."\n'
    wanted = sum(len(recorded_rows(datagrams(name))) for name in NAMES)
    by_spool, by_kafka = rows(tmp_path / "spool", "", wanted), rows(tmp_path / "kafka", kafka, wanted)
    assert len(by_spool) == wanted > 500
    assert by_spool == by_kafka
    assert sum(row["ended"] is not None for row in by_spool) > 300
