"""What the demo puts into a log before it starts: once, whatever kills it, and never into somebody's flows."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from collector.ledger import Ledger, Shape
from collector.publisher import Publisher
from flowtide.demo_history import DemoHistory
from flowtide.demo_scenario import demo_scenario
from flowtide.parts import open_outbox
from flowtide.settings import Settings
from flowtide.simulator import history
from flowtide.simulator.history import Density, History
from sinks import RAW_STREAM, BusFull, Message
from sinks.batch import Batch
from sinks.codec import decode_arrow
from sinks.delivery import RawHeaders
from sinks.schema import RAW

NOW = 1_772_655_451
DAY = 86_400


class Killed(BaseException):
    """What no handler takes for an error."""


@pytest.fixture(autouse=True)
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few thousand rows are enough, in as many messages."""
    few = (Density(8 * DAY, 300, 10),)
    monkeypatch.setattr(history.History.__init__, "__kwdefaults__", {**_DEFAULTS, "densities": few})


_DEFAULTS = dict(history.History.__init__.__kwdefaults__ or {})


IDLE = 15  # seconds after its end a flow is exported


def settings(tmp_path: Path, **bus: object) -> Settings:
    return Settings(data=tmp_path / "data", bus={"partitions": 2, **bus})


def log(of: Settings) -> list[list[Message]]:
    """All messages by partition."""
    spool = open_outbox(of)
    found: list[list[Message]] = [[] for _ in range(spool.partitions)]
    consumer = spool.consumer(RAW_STREAM, "test")
    for partition in range(spool.partitions):
        consumer.seek(partition, 0)
    while messages := consumer.poll(1 << 30, 0):
        for message in messages:
            found[message.partition].append(Message(partition, message.offset, message.headers, bytes(message.body)))
    consumer.close()
    return found


def headers(of: Settings) -> list[list[RawHeaders]]:
    return [[RawHeaders.decode(message.headers) for message in partition] for partition in log(of)]


def flow_rows(of: Settings) -> int:
    return sum(each.rows for partition in headers(of) for each in partition if each.kind == "flow")


def collect(of: Settings, rows: int) -> None:
    """A live collector writes one message a partition."""
    publisher = Publisher(open_outbox(of), of.collector.id, "lz4")
    batch = Batch.empty(RAW, 2 * rows)
    batch.labels["exporter"] = ("127.0.0.2", "127.0.0.4")  # one of each partition
    batch.columns["exporter"][rows:] = 1
    publisher.publish(batch)
    publisher.close()


def die_after(monkeypatch: pytest.MonkeyPatch, messages: int) -> Callable[[], None]:
    """Let the process die when so many messages are in the log; the returned call takes it back."""
    real, left = Publisher._append, [messages]

    def append(self: Publisher, partition: int, headers: RawHeaders, body: bytes) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        real(self, partition, headers, body)

    monkeypatch.setattr(Publisher, "_append", append)
    return lambda: monkeypatch.setattr(Publisher, "_append", real)


def test_a_fresh_directory_gets_it_and_a_second_start_nothing(tmp_path: Path) -> None:
    of = settings(tmp_path)
    written = DemoHistory(of).write(8, 1, 2_000, NOW)
    expected = sum(len(part.batch) for part in History(demo_scenario(1, 2_000, "UTC"), NOW - 8 * DAY, NOW).parts())
    assert written.rows == expected == flow_rows(of)
    assert (written.since, written.until, written.whole, written.why_not) == (NOW - 8 * DAY, NOW, True, "")
    assert all(each.history for partition in headers(of) for each in partition)
    for partition in headers(of):
        assert [each.sequence for each in partition] == list(range(len(partition)))
        newest = [each.max_ms for each in partition if each.kind == "flow"]
        assert newest[0] == max(newest)  # the last hour comes first
        assert newest[-1] < min(newest[:-1]) + DAY * 1000
    again = DemoHistory(of).write(8, 1, 2_000, NOW + 5)
    assert (again.rows, again.why_not) == (0, "it is there from an earlier start")
    assert flow_rows(of) == expected


def test_counters_of_the_past_are_by_their_minutes(tmp_path: Path) -> None:
    of = settings(tmp_path)
    written = DemoHistory(of).write(1, 1, 2_000, NOW)
    tables: dict[str, list[dict[str, object]]] = {"stage_1m": [], "exporter_health_1m": []}
    for message in log(of)[0]:
        head = RawHeaders.decode(message.headers)
        if head.kind == "observation":
            tables[head.table] += decode_arrow(message.body).to_pylist()
    assert sum(int(str(row["value"])) for row in tables["stage_1m"] if row["stage"] == "bus") == written.rows
    assert {row["counter"] for row in tables["stage_1m"]} == {"datagrams", "published_rows"}
    flows = [row for row in tables["exporter_health_1m"] if row["counter"] == "records_flow"]
    assert sum(int(str(row["value"])) for row in flows) == written.rows
    assert len({row["time"] for row in flows}) >= 288  # a day in steps of five minutes: no burst


@pytest.mark.parametrize("messages", [0, 1, 2, 7, 20])
def test_a_kill_in_the_middle_doubles_and_loses_nothing(
    messages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, of = settings(tmp_path / "whole"), settings(tmp_path / "killed")
    DemoHistory(whole).write(8, 1, 2_000, NOW)
    revive = die_after(monkeypatch, messages)
    with pytest.raises(Killed):
        DemoHistory(of).write(8, 1, 2_000, NOW)
    revive()
    assert sum(map(len, headers(of))) == messages
    written = DemoHistory(of).write(8, 2, 50, NOW + 9)  # the seed and the rate of the first start hold
    assert (written.until, written.whole) == (NOW, True)
    for ours, theirs in zip(log(of), log(whole), strict=True):
        assert [message.body for message in ours] == [message.body for message in theirs]
    for partition in headers(of):
        assert [each.sequence for each in partition] == list(range(len(partition)))


def test_where_a_collector_wrote_on_the_rest_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = settings(tmp_path)
    revive = die_after(monkeypatch, 5)
    with pytest.raises(Killed):
        DemoHistory(of).write(8, 1, 2_000, NOW)
    revive()
    collect(of, 10)
    before = flow_rows(of)
    written = DemoHistory(of).write(8, 1, 2_000, NOW + 9)
    assert (written.rows, flow_rows(of)) == (0, before)
    for partition in headers(of):
        assert all(after.sequence == one.sequence + 1 for one, after in pairwise(partition))


def test_flows_of_somebody_else_get_none(tmp_path: Path) -> None:
    of = settings(tmp_path)
    collect(of, 10)
    written = DemoHistory(of).write(8, 1, 2_000, NOW)
    assert written.rows == 0
    assert "has flows already" in written.why_not
    assert flow_rows(of) == 20
    assert not (of.data / "state" / "demo-history.json").exists()


def test_a_later_demo_fills_what_is_missing_since_the_last_one(tmp_path: Path) -> None:
    of = settings(tmp_path)
    one = DemoHistory(of)
    first = one.write(8, 1, 2_000, NOW)
    collect(of, 10)
    one.covered(NOW + 600)
    one.covered(NOW + 500)  # a clock that was set back
    written = DemoHistory(of).write(8, 1, 2_000, NOW + DAY)
    assert (written.since, written.until) == (NOW + 600, NOW + DAY)
    assert flow_rows(of) == first.rows + 20 + written.rows
    for partition in headers(of):  # one origin, whose numbers have no gap: none is taken for missing or repeated
        assert len({each.collector for each in partition}) == 1
        assert [each.sequence for each in partition] == list(range(len(partition)))
    late = [each for partition in headers(of) for each in partition if each.history and each.min_ms >= NOW * 1000]
    assert late
    assert min(each.min_ms for each in late) >= (NOW + 600 - IDLE) * 1000


def test_what_a_killed_collector_lost_is_still_lost_afterwards(tmp_path: Path) -> None:
    of = settings(tmp_path)
    one = DemoHistory(of)
    one.write(1, 1, 2_000, NOW)
    one.covered(NOW + 60)
    ends = [len(partition) for partition in headers(of)]
    # It was about to write the message that history is now going to have the number of.
    path = of.data / "state" / "ledger"
    ledger = Ledger.open(path, Shape(), lambda *_: False)
    ledger.at(0, 0, 0, 0, taken=42)
    ledger.intend(0, ends[0], 42, 0)
    assert DemoHistory(of).write(1, 1, 2_000, NOW + 3_600).rows
    publisher = Publisher(open_outbox(of), of.collector.id, "lz4")
    assert Ledger.open(path, Shape(), publisher.has).lost.rows == 42
    publisher.close()


def test_it_takes_no_more_time_and_room_than_it_may(tmp_path: Path) -> None:
    of = settings(tmp_path / "late")
    # Each look at the clock is seven seconds later: the third part would begin after 20 s.
    clock = iter(range(0, 10_000, 7))
    written = DemoHistory(of, lambda: next(clock)).write(8, 1, 2_000, NOW)
    assert not written.whole
    assert written.since == NOW - 6 * 3_600
    assert flow_rows(of) == written.rows > 0
    small = settings(tmp_path / "small", max_bytes=1 << 20)
    written = DemoHistory(small).write(8, 1, 2_000, NOW)
    assert not written.whole
    spool = open_outbox(small)
    assert sum(spool.octets(RAW_STREAM, partition) for partition in range(2)) <= spool.bound // 2
    assert flow_rows(small) == written.rows


def test_none_is_wanted_and_none_for_kafka(tmp_path: Path) -> None:
    assert DemoHistory(settings(tmp_path)).write(0, 1, 2_000, NOW).why_not == "none is wanted"
    kafka = settings(tmp_path, url="kafka://127.0.0.1:1")
    assert "Kafka" in DemoHistory(kafka).write(8, 1, 2_000, NOW).why_not
    assert not (tmp_path / "data").exists()


def test_a_note_that_is_no_note_of_ours_is_told(tmp_path: Path) -> None:
    of = settings(tmp_path)
    (of.data / "state").mkdir(parents=True)
    (of.data / "state" / "demo-history.json").write_text(json.dumps({"until": 5}))
    written = DemoHistory(of).write(8, 1, 2_000, NOW)
    assert "demo-history.json" in written.why_not
    assert written.rows == 0


def test_a_full_log_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise BusFull("no room")

    monkeypatch.setattr(Publisher, "_append", full)
    written = DemoHistory(settings(tmp_path)).write(8, 1, 2_000, NOW)
    assert not written.whole
