"""Records of a topic of leases: (key, value, what comes of it); the counters of the source; the file says the same."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from enricher.leases import HELD
from enricher.sources import LeaseFileError
from enricher.sources.kafka import KafkaSource
from enricher.sources.lease_records import RECORD_REFUSALS, LeaseRecord, RecordError, parse_record
from enricher.sources.tables import parse_leases
from sinks.kafka_keyed import Keyed

GOOD: dict[str, Any] = {
    "prefix": "192.0.2.7/32", "from": "2024-06-03T00:00:00Z", "to": "2024-06-03T01:00:00.250Z", "subscriber": "alice",
    "group": "east", "service": "fixed", "segment": "personal", "access": "pppoe",
}  # fmt: skip
SINCE = 1_717_372_800_000
IPV4 = (0xFFFF << 32 | 0xC0000207) << 8 | 128


def value(**changes: Any) -> bytes:
    """The good one with other columns; ... leaves one out."""
    columns = {name: each for name, each in (GOOD | changes).items() if each is not ...}
    return json.dumps(columns).encode()


def good(**changes: Any) -> LeaseRecord:
    """What the good one says."""
    return LeaseRecord(
        IPV4, SINCE, SINCE + 3_600_250, "alice", "fixed", "personal", "pppoe", "east", 0, 65_535
    )._replace(**changes)  # fmt: skip


TAKEN: list[tuple[bytes, LeaseRecord]] = [
    (value(), good()),
    (value(to=None), good(until_ms=HELD)),
    (value(to=""), good(until_ms=HELD)),
    (value(**{"from": 1_717_372_800}), good()),
    (value(**{"from": "1717372800"}), good()),
    (value(**{"from": "2024-06-03T09:00:00+09:00"}), good()),
    (value(prefix=" 192.0.2.7 ", subscriber=" alice "), good()),
    (value(prefix="::ffff:192.0.2.7/128"), good()),
    (value(prefix="2001:db8:1:200::/56"), good(prefix=0x20010DB8000102000000000000000000 << 8 | 56)),
    (value(prefix="0.0.0.0/0"), good(prefix=0xFFFF << 40 | 96)),
    (value(port_from=1024, port_to="2047"), good(port_from=1_024, port_to=2_047)),
    (value(port_from=None, port_to=""), good()),
    (value(group=None), good(group="")),
    (value(subscriber="Åsa 愛"), good(subscriber="Åsa 愛")),
]
REFUSED: list[tuple[bytes | None, bytes | None, str]] = [
    (None, value(), "key"),
    (b"", value(), "key"),
    (None, None, "key"),
    (b"\xff", value(), "key"),
    (b"\xff", None, "key"),
    (b"k", value(group="x" * 4_000), "size"),
    (b"k" * 4_097, None, "size"),
    (b"k", b"", "json"),
    (b"k", b"{", "json"),
    (b"k", b"[" * 4_000, "json"),
    (b"k", b"[]", "json"),
    (b"k", b"null", "json"),
    (b"k", b"\xef\xbb\xbf" + value(), "json"),
    (b"k", value().replace(b"alice", b"\xff"), "json"),
    (b"k", value().decode().encode("utf-16"), "json"),
    (b"k", value().replace(b'"alice"', b"NaN"), "columns"),
    (b"k", value(subscriber=...), "columns"),
    (b"k", value(to=...), "columns"),
    (b"k", value(froms="1"), "columns"),
    (b"k", value(port_from=1), "columns"),
    (b"k", value(subscriber=7), "columns"),
    (b"k", value(subscriber=["alice"]), "columns"),
    (b"k", value(**{"from": True}), "columns"),
    (b"k", value(**{"from": 1.5}), "columns"),
    (b"k", value().replace(b'"group"', b'"subscriber": "bob", "group"'), "columns"),
    (b"k", value(prefix=""), "prefix"),
    (b"k", value(prefix="192.0.2"), "prefix"),
    (b"k", value(prefix="192.0.2.0/33"), "prefix"),
    (b"k", value(prefix="2001:db8::/129"), "prefix"),
    (b"k", value(prefix="192.0.2.0/"), "prefix"),
    (b"k", value(prefix="192.0.2.0/255.255.255.0"), "prefix"),
    (b"k", value(prefix="fe80::1%eth0"), "prefix"),
    (b"k", value(prefix="192.0.2.7/３２"), "prefix"),
    (b"k", value(prefix="\ud800"), "prefix"),
    (b"k", value(prefix="192.0.2.7/24"), "host_bits"),
    (b"k", value(prefix="2001:db8::1/64"), "host_bits"),
    (b"k", value(**{"from": ""}), "times"),
    (b"k", value(**{"from": "yesterday"}), "times"),
    (b"k", value(**{"from": "2024-06-03T00:00:00"}), "times"),
    (b"k", value(**{"from": -1}), "times"),
    (b"k", value(to=1_717_376_400_000), "times"),
    (b"k", value(to=GOOD["from"]), "times"),
    (b"k", value(to="2024-06-02T00:00:00Z"), "times"),
    (b"k", value(port_from=1, port_to=None), "ports"),
    (b"k", value(port_from=-1, port_to=5), "ports"),
    (b"k", value(port_from=1, port_to=65_536), "ports"),
    (b"k", value(port_from=9, port_to=5), "ports"),
    (b"k", value(service="Fixed"), "labels"),
    (b"k", value(segment=""), "labels"),
    (b"k", value(access="dsl"), "labels"),
    (b"k", value(subscriber=""), "text"),
    (b"k", value(subscriber="a\0b"), "text"),
    (b"k", value(group="a\x7fb"), "text"),
    (b"k", value(subscriber="\udc00"), "text"),
    (b"k", value(group="\ud83d"), "text"),
]


@pytest.mark.parametrize(("text", "lease"), TAKEN)
def test_what_is_taken(text: bytes, lease: LeaseRecord) -> None:
    assert parse_record(b"any unique key", text) == lease


def test_no_value_removes() -> None:
    assert parse_record(b"any unique key", None) is None


@pytest.mark.parametrize(("key", "text", "kind"), REFUSED)
def test_what_is_refused_is_counted_and_leaves_the_former_lease(
    key: bytes | None, text: bytes | None, kind: str
) -> None:
    with pytest.raises(RecordError) as refused:
        parse_record(key, text)
    assert refused.value.kind == kind
    assert "alice" not in str(refused.value)
    source = read_by_source([(b"k", value()), (key, text)])
    assert skipped(source) == {kind: 1}
    rows = source.poll(0.0)
    assert rows is not None
    assert [rows.subscribers[at] for at in rows.subscriber] == ["alice"]


def test_each_reason_has_its_case() -> None:
    assert {kind for _, _, kind in REFUSED} | {"full"} == {*RECORD_REFUSALS}


def test_more_leases_than_the_limit_are_refused_and_a_held_one_can_still_change() -> None:
    source = read_by_source(
        [(b"1", value()), (b"2", value(subscriber="bob")), (b"3", value(subscriber="eve")),
         (b"2", value(subscriber="carol")), (b"1", None), (b"4", value(subscriber="dan"))],
        most=2,
    )  # fmt: skip
    assert skipped(source) == {"full": 1}
    rows = source.poll(0.0)
    assert rows is not None
    assert sorted(rows.subscribers[at] for at in rows.subscriber) == ["carol", "dan"]


def test_more_groups_than_a_column_can_hold_are_refused() -> None:
    source = read_by_source([(f"{at}".encode(), value(group=f"g{at}")) for at in range(8_193)])
    assert skipped(source) == {"text": 1}


TEXTS = [text for text, _ in TAKEN] + [
    text for key, text, kind in REFUSED if key == b"k" and text and kind not in ("json", "columns", "size")
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_with_the_same_values_says_the_same(text: bytes) -> None:
    """Topic and file have one set of rules."""
    columns = {name: "" if each is None else str(each) for name, each in json.loads(text).items()}
    draft = io.StringIO()
    writer = csv.DictWriter(draft, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerow(columns)
    try:
        rows = parse_leases(draft.getvalue().encode("utf-8", "surrogatepass"), Path("leases.csv"))
    except LeaseFileError:
        with pytest.raises(RecordError):
            parse_record(b"k", text)
        return
    lease = parse_record(b"k", text)
    assert lease is not None
    assert (int(rows.high[0]) << 64 | int(rows.low[0])) << 8 | int(rows.bits[0]) == lease.prefix
    found = [int(each[0]) for each in (rows.since, rows.until, rows.port_from, rows.port_to)]
    assert found == [lease.since_ms, lease.until_ms, lease.port_from, lease.port_to]
    assert (rows.subscribers[0], rows.groups[0]) == (lease.subscriber, lease.group)


class Topic:
    """One that has these records, and tells when they are read."""

    name = "isp.leases"

    def __init__(self, records: Sequence[tuple[bytes | None, bytes | None]], done: Callable[[], None]) -> None:
        self.left = [Keyed(0, at, *record) for at, record in enumerate(records)]
        self.done = done
        self.is_complete = False

    def reader(self) -> "Topic":
        return self

    def poll(self, seconds: float) -> list[Keyed]:
        given, self.left = self.left, []
        self.is_complete = True
        if not given:
            self.done()
        return given

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


_names = iter(range(1_000_000))


def read_by_source(records: Sequence[tuple[bytes | None, bytes | None]], most: int = 10_000) -> KafkaSource:
    """A source that has read these, at the time of the good one's begin."""
    made: list[KafkaSource] = []
    topic = Topic(records, lambda: made[0].close())
    source = KafkaSource(f"table-{next(_names)}", topic, most=most, clock=lambda: SINCE / 1000)  # type: ignore[arg-type]
    made.append(source)
    source._run()
    return source


def skipped(source: KafkaSource) -> dict[str, float]:
    name = "enricher_lease_records_skipped_total"
    counts = {
        kind: REGISTRY.get_sample_value(name, {"source": source.name, "reason": kind}) for kind in RECORD_REFUSALS
    }
    assert None not in counts.values()
    return {kind: count for kind, count in counts.items() if count}


def test_rows_keep_ports_and_labels() -> None:
    source = read_by_source([(b"1", value(port_from=1, port_to=9, access="other")), (b"2", value())])
    rows = source.poll(0.0)
    assert rows is not None
    assert np.stack([rows.port_from, rows.port_to, rows.access]).T.tolist() == [[1, 9, 3], [0, 65_535, 0]]
    assert source.poll(0.0) is None
