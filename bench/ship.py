"""Outbox to a real broker: ``python -m bench.ship`` prints flows a second and CPU of the shipper alone, and at idle.

It starts a broker of its own (tests/broker), 4 s, 256 MB.
"""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.bus import ROWS, rows_like_flows
from collector.shipper import Shipper
from sinks import RAW_STREAM
from sinks.codec import encode
from sinks.delivery import RawHeaders
from sinks.kafka import KafkaBus
from sinks.schema import RAW
from sinks.settings import BusSettings, KafkaSettings
from sinks.spool import Spool
from tests.broker import Broker

MESSAGES = 244  # two million rows
PARTITIONS = 2
IDLE_SECONDS = 3.0


def main() -> None:
    body = encode(rows_like_flows(np.random.default_rng(1)), RAW, "zstd")
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "broker").start()
        try:
            settings = BusSettings(url=broker.url, partitions=PARTITIONS)
            kafka = KafkaSettings()
            outbox = Spool(Path(folder) / "outbox", settings, streams=(RAW_STREAM,))
            producer = outbox.producer(RAW_STREAM)
            for number in range(MESSAGES):
                producer.publish(number % PARTITIONS, RawHeaders("bench", number // PARTITIONS, ROWS).encode(), body)
            bus = KafkaBus(settings, kafka)
            bus.prepare(print)
            shipper, stop = Shipper(outbox, bus, kafka, Path(folder) / "dead"), threading.Event()
            wall, cpu = time.perf_counter(), time.process_time()
            thread = threading.Thread(target=shipper.run, args=(stop,))
            thread.start()
            while sum(state.acknowledged for state in shipper.partitions()) < MESSAGES:
                time.sleep(0.05)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            million = MESSAGES * ROWS / 1e6
            print(f"ship, zstd, {len(body) / ROWS:.1f} octets a row: {million * 1e6 / wall:,.0f} flows/s, "
                  f"{cpu / million:.3f} CPU-s per million")  # fmt: skip
            cpu = time.process_time()
            time.sleep(IDLE_SECONDS)
            print(f"idle, {PARTITIONS} partitions: {(time.process_time() - cpu) / IDLE_SECONDS:.2%} of a core")
            stop.set()
            thread.join()
            producer.close()
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
