"""What must hold after any kill: read from the logs of the bus and from the store, both in full."""

import contextlib
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition

from sinks import ENRICHED_STREAM, RAW_STREAM, Message
from sinks.delivery import EnrichedHeaders, RawHeaders, Sequences, judge
from sinks.rollup_tables import BY_NAME, ROLLUPS, statement
from sinks.settings import BusSettings
from sinks.spool import Spool

EXACT = tuple(rollup.name for rollup in ROLLUPS if rollup.exact)
"""Those that are the same however raw is cut."""
MEASURES = ("flows", "packets", "packets_est", "octets", "octets_est")


def children_of(pid: int) -> dict[str, int]:
    """Process ids of a parent's children by their names."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            begin, _, rest = (entry / "stat").read_text().rpartition(") ")
        except OSError:
            continue
        name, stat = begin.partition("(ft-")[2], rest.split()
        if name and int(stat[1]) == pid and stat[0] != "Z":
            found[name] = int(entry.name)
    return found


def kill_child(pid: int, name: str) -> None:
    """SIGKILL to a child, which its parent starts again; one that is not there now is left."""
    with contextlib.suppress(KeyError, ProcessLookupError):
        os.kill(children_of(pid)[name], signal.SIGKILL)


def read_spool(folder: Path, partitions: int, stream: str) -> Iterator[Message]:
    """The whole log of a stream; no segment may have been trimmed."""
    consumer = Spool(folder, BusSettings(partitions=partitions)).consumer(stream, "trial")
    assert all(consumer.bounds(partition)[0] == 0 for partition in range(partitions)), "the log was trimmed"
    try:
        while messages := consumer.poll(64 << 20, 0):
            yield from messages
    finally:
        consumer.close()


def read_topic(servers: str, topic: str) -> Iterator[Message]:
    """The whole log of a topic, read by the library alone."""
    consumer = KafkaConsumer(bootstrap_servers=servers, max_partition_fetch_bytes=16 << 20)
    try:
        found = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(found)
        consumer.seek_to_beginning(*found)
        ends = consumer.end_offsets(found)
        while any(consumer.position(one) < ends[one] for one in found):
            for records in consumer.poll(1000).values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    yield Message(record.partition, record.offset, headers, record.value)
    finally:
        consumer.close()


def read_newest(servers: str, topic: str) -> dict[int, Message]:
    """The newest message of each partition that has one."""
    consumer = KafkaConsumer(bootstrap_servers=servers, max_partition_fetch_bytes=16 << 20)
    newest: dict[int, Message] = {}
    try:
        found = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        ends = consumer.end_offsets(found)
        wanted = [one for one in found if ends[one]]
        consumer.assign(wanted)
        for one in wanted:
            consumer.seek(one, ends[one] - 1)
        while wanted and len(newest) < len(wanted):
            for records in consumer.poll(1000).values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    newest[record.partition] = Message(record.partition, record.offset, headers, record.value)
        return newest
    finally:
        consumer.close()


def caught_up(servers: str) -> bool:
    """Whether the newest enriched messages cover all raw ones."""
    raw = {number: message.offset + 1 for number, message in read_newest(servers, RAW_STREAM).items()}
    enriched = read_newest(servers, ENRICHED_STREAM)
    return raw == {number: EnrichedHeaders.decode(message.headers).end for number, message in enriched.items()}


@dataclass(slots=True)
class Accepted:
    """What the raw log holds, each message counted once however often it is there."""

    rows: int = 0
    messages: int = 0
    repeats: int = 0  # a shipper or collector that died said them again
    missing: int = 0  # numbers that lack
    ends: dict[int, int] = field(default_factory=dict)  # the next offset by partition


def accepted(log: Iterable[Message]) -> Accepted:
    """Rows of kind flow that the raw stream accepted."""
    found = Accepted()
    seen: dict[int, Sequences] = defaultdict(Sequences)
    for message in log:
        found.ends[message.partition] = message.offset + 1
        headers = RawHeaders.decode(message.headers)
        new, missing = seen[message.partition].admit(headers.collector, headers.sequence)
        found.missing += missing
        found.repeats += not new
        if new and headers.kind == "flow":
            found.messages += 1
            found.rows += headers.rows
    return found


@dataclass(slots=True)
class Expected:
    """What the enriched log says must be stored."""

    rows: dict[tuple[int, int], int] = field(default_factory=dict)  # by (partition, offset)
    overlaps: int = 0  # messages that log order cuts or skips
    ends: dict[int, int] = field(default_factory=dict)  # source offset reached by partition


def expected_rows(log: Iterable[Message]) -> Expected:
    """Rows that each enriched message counts for, by log order."""
    found = Expected()
    for message in log:
        headers = EnrichedHeaders.decode(message.headers)
        verdict = judge(headers, found.ends.get(message.partition, 0))
        found.overlaps += verdict.skip or verdict.first_row > 0
        found.ends[message.partition] = verdict.stored
        if headers.kind == "flow" and not verdict.skip:
            found.rows[message.partition, message.offset] = verdict.rows - verdict.first_row
    return found


class Answers(Protocol):
    """Whoever answers SQL."""

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        """Rows of a SELECT."""
        ...


def stored_rows(running: Answers) -> dict[tuple[int, int], int]:
    """Rows of the raw table by enriched message."""
    found = running.query("SELECT bus_partition AS p, bus_offset AS o, count() AS n FROM flows GROUP BY p, o")
    return {(row["p"], row["o"]): row["n"] for row in found}


def rollup_differences(running: Answers, names: Sequence[str] = EXACT) -> list[str]:
    """Keys whose sums differ between a rollup and its recomputation from raw."""
    problems = []
    for name in names:
        found = re.search(r"INSERT INTO \w+\s*\(([^)]*)\)(.*)", statement(name, "1", "UTC"), re.DOTALL)
        assert found
        columns, rest = [column.strip() for column in found[1].split(",")], found[2]
        keys = [BY_NAME[name].time, *BY_NAME[name].keys]
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
