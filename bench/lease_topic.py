"""A topic of leases: how long a million take to read, and what a thousand changes a second cost.

Run with a broker of Kafka: ``python -m bench.lease_topic --broker HOST:PORT [--leases 1000000] [--seconds 20]``.
"""

import argparse
import json
import resource
import time
import uuid

import kafka

from enricher.lease_differences import changed_prefixes, row_hashes
from enricher.sources.kafka import KafkaSource
from sinks.kafka import KafkaBus
from sinks.kafka_keyed import KeyedTopic
from sinks.settings import BusSettings, KafkaSettings

RATE = 1_000


def record(number: int, since: int) -> tuple[bytes, bytes]:
    """Key and value of one subscriber's lease."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/32"
    columns = {
        "prefix": address, "from": since, "to": None, "subscriber": f"subscriber-{number:08d}", "group": "east",
        "service": "fixed", "segment": "personal", "access": "pppoe",
    }  # fmt: skip
    return f"line-{number >> 24}-{number}".encode(), json.dumps(columns, separators=(",", ":")).encode()


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--leases", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=20)
    chosen = parser.parse_args()
    bus, name = BusSettings(url=f"kafka://{chosen.broker}"), f"bench.leases.{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(topic_prefix=f"{name}.")
    KafkaBus(bus, settings, compacted_topics=[name]).prepare(lambda _: None)
    topic = KeyedTopic(bus, settings, name, "bench")
    producer = kafka.KafkaProducer(bootstrap_servers=chosen.broker, linger_ms=50, batch_size=1 << 20)
    for number in range(chosen.leases):
        key, value = record(number, 1_700_000_000)
        producer.send(topic.name, key=key, value=value)
    producer.flush()
    before, begun, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    source = KafkaSource("bench", topic)
    source.start()
    while (rows := source.poll(time.time())) is None:
        time.sleep(0.05)
    print(f"read {len(rows):,} leases: {time.perf_counter() - begun:.1f} s, {time.process_time() - cpu:.1f} CPU-s, "
          f"peak memory +{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MiB")  # fmt: skip
    hashes = row_hashes(rows)
    looked, changed, sent, begun = 0.0, 0, 0, time.perf_counter()
    while time.perf_counter() - begun < chosen.seconds:
        for _ in range(5):  # of seconds: as often as an enricher looks
            for number in range(sent, sent + RATE):
                key, value = record(number * 7_919 % chosen.leases, 1_700_000_000 + 1 + sent // chosen.leases)
                producer.send(topic.name, key=key, value=value)
            sent += RATE
            time.sleep(max(0.0, begun + sent / RATE - time.perf_counter()))
        at = time.perf_counter()
        newer = source.poll(time.time())
        taken = time.perf_counter() - at
        if newer is not None:
            newer_hashes = row_hashes(newer)
            changed += len(changed_prefixes(rows, hashes, newer, newer_hashes)[2]) // 2
            rows, hashes = newer, newer_hashes
        looked = max(looked, taken)
    rate = sent / (time.perf_counter() - begun)
    print(f"{rate:,.0f} changes/s: {changed:,} of {sent:,} seen, longest look {looked * 1000:.0f} ms")
    producer.close()
    source.close()


if __name__ == "__main__":
    main()
