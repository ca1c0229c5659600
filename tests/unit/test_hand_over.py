"""What is handed over is what the log has, and the log is asked for the rest."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks import ENRICHED_STREAM, Encoded, Message
from sinks.batch import Batch, constant
from sinks.codec import complete, decode_arrow, encode_parts
from sinks.dead_letters import DeadLetters
from sinks.hand_over import Handed, HandOver, Place
from sinks.schema import ENRICHED
from sinks.settings import BusSettings
from sinks.spool import Spool

SETTINGS = BusSettings(partitions=2, sync_seconds=60)


def body(number: int, rows: int = 3) -> Encoded:
    batch = Batch.empty(ENRICHED, rows)
    batch.columns["octets"] = np.arange(rows, dtype="i8") + number
    batch.columns["next_hop"] = constant(bytes(16), "V16", rows)
    batch.columns["vlan"] = constant(7, "u2", rows)
    return encode_parts(batch, ENRICHED, "none")


def rows_of(message: Message) -> list[dict[str, object]]:
    rows = decode_arrow(message.body) if message.rows is None else message.rows
    found: list[dict[str, object]] = complete(rows, ENRICHED).to_pylist()
    return found


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path, SETTINGS)
    made.hand_over(ENRICHED_STREAM)
    return made


def test_a_reader_in_the_process_does_not_read_the_log(spool: Spool) -> None:
    reader, writer = spool.consumer(ENRICHED_STREAM, "here"), spool.producer(ENRICHED_STREAM)
    bodies = [body(number) for number in range(3)]
    for number, each in enumerate(bodies):
        assert writer.publish(0, {"n": str(number)}, each) == number
    (log,) = spool.log_folder(ENRICHED_STREAM, 0).glob("*.log")
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 4] + bytes(len(whole) - len(whole) // 4))  # nobody could read this
    messages = reader.poll(1 << 20, 0)
    assert [(each.offset, each.headers["n"], each.partition) for each in messages] == [(n, str(n), 0) for n in range(3)]
    assert [each.rows for each in messages] == [each.rows for each in bodies]
    writer.close()
    reader.close()


def test_what_is_read_twice_comes_from_the_log(spool: Spool) -> None:
    reader, writer = spool.consumer(ENRICHED_STREAM, "here"), spool.producer(ENRICHED_STREAM)
    for number in range(3):
        writer.publish(1, {"n": str(number)}, body(number))
    first = reader.poll(1 << 20, 0)
    reader.seek(1, 1)
    again = reader.poll(1 << 20, 0)
    assert [each.rows is None for each in (*first, *again)] == [False, False, False, True, True]
    assert [rows_of(each) for each in again] == [rows_of(each) for each in first[1:]]
    assert [each.headers for each in again] == [each.headers for each in first[1:]]
    writer.close()
    reader.close()


def test_without_a_reader_nothing_is_kept(spool: Spool) -> None:
    writer = spool.producer(ENRICHED_STREAM)
    writer.publish(0, {}, body(0))
    reader = spool.consumer(ENRICHED_STREAM, "here")
    writer.publish(0, {}, body(1))
    assert [each.rows is None for each in reader.poll(1 << 20, 0)] == [True, False]
    writer.publish(0, {}, body(2))
    reader.close()
    other = spool.consumer(ENRICHED_STREAM, "later")
    assert [each.rows is None for each in other.poll(1 << 20, 0)] == [True, True, True]
    writer.close()
    other.close()


def test_what_was_handed_over_is_flushed_before_it_is_built_on(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = spool.consumer(ENRICHED_STREAM, "here"), spool.producer(ENRICHED_STREAM)
    writer.publish(0, {}, body(0))
    flushed: list[int] = []
    monkeypatch.setattr("os.fsync", flushed.append)
    (message,) = reader.poll(1 << 20, 0)
    assert message.rows is not None
    assert not flushed
    reader.settle()
    assert len(flushed) == 1
    monkeypatch.undo()
    writer.close()
    reader.close()


def test_the_oldest_are_forgotten_at_the_bound() -> None:
    rows = body(0).rows
    kept = HandOver(2 * rows.nbytes)
    kept.open()
    places = [Place(number, 0, 100 * number) for number in range(3)]
    for place in places:
        kept.offer(0, Handed(place, place.at + 100, {}, rows))
    assert [kept.take(0, place) is not None for place in places] == [False, True, True]
    assert [kept.take(0, place) for place in places] == [None] * 3
    for place in places[:2]:  # what was taken takes no room any more
        kept.offer(0, Handed(place, place.at + 100, {}, rows))
    assert kept.take(0, places[0]) is not None


def test_a_reader_elsewhere_in_the_log_gets_nothing() -> None:
    kept = HandOver()
    kept.open()
    kept.offer(0, Handed(Place(5, 4, 300), 400, {}, body(0).rows))
    assert kept.take(1, Place(5, 4, 300)) is None
    assert kept.take(0, Place(4, 4, 300)) is None
    assert kept.take(0, Place(5, 0, 300)) is None  # at the end of the segment before
    assert kept.take(0, Place(5, 4, 300)) is None  # and it has gone by


def test_a_message_that_was_handed_over_is_buried_whole(tmp_path: Path) -> None:
    message = Message(0, 4, {"rows": "3"}, b"", body(7).rows)
    path = DeadLetters(tmp_path).bury(ENRICHED_STREAM, "id", message, "no reason")
    assert decode_arrow(path.read_bytes()).equals(message.rows)


step = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 1), st.integers(1, 400)),
    st.tuples(st.just("observe"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("poll"), st.sampled_from([1, 5_000, 1 << 20]), st.just(0)),
    st.tuples(st.just("seek"), st.integers(0, 1), st.integers(0, 9)),
)


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(step, max_size=30))
def test_a_reader_here_gets_what_one_elsewhere_gets(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("bus")
    chosen = SETTINGS.model_copy(update={"segment_bytes": 20_000})  # a few messages fill it
    spool = Spool(folder, chosen)
    spool.hand_over(ENRICHED_STREAM)
    writer, here = spool.producer(ENRICHED_STREAM), spool.consumer(ENRICHED_STREAM, "here")
    other = Spool(folder, chosen).consumer(ENRICHED_STREAM, "elsewhere")
    got: list[list[Message]] = [[], []]
    written = [0, 0]
    for what, where, number in steps:
        if what == "poll":
            for reader, into in zip((here, other), got, strict=True):
                into += reader.poll(where, 0)
        elif what == "seek":
            for reader in (here, other):
                reader.seek(where, min(number, written[where]))
        else:
            text = f"{what} {written[where]}"
            writer.publish(where, {"is": text}, body(number, number) if what == "publish" else bytes(encoded()))
            written[where] += 1
    for reader, into in zip((here, other), got, strict=True):
        while more := reader.poll(1 << 20, 0):
            into += more
    mine, theirs = (
        sorted((each.partition, each.offset, at) for at, each in enumerate(into)) for into in got
    )  # polls end at other sizes, so partitions may alternate otherwise
    assert [each[:2] for each in mine] == [each[:2] for each in theirs]
    for (*_, at), (*_, there) in zip(mine, theirs, strict=True):
        assert got[0][at].headers == got[1][there].headers
        if "publish" in got[0][at].headers["is"]:
            assert rows_of(got[0][at]) == rows_of(got[1][there])
        else:
            assert bytes(got[0][at].body) == bytes(got[1][there].body)
    for each in (here, other, writer):
        each.close()


def encoded() -> bytes:
    sink = pa.BufferOutputStream()
    rows = pa.RecordBatch.from_pydict({"one": [1]})
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    found: bytes = sink.getvalue().to_pybytes()
    return found
