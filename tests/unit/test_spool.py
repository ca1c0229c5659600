import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sinks import ENRICHED_STREAM, RAW_STREAM, BusFull, OffsetGone, segments
from sinks.ownership import AlreadyOwned
from sinks.settings import BusSettings
from sinks.spool import Spool, SpoolError


def spool(folder: Path, **settings: object) -> Spool:
    return Spool(folder, BusSettings(partitions=1, **settings))  # type: ignore[arg-type]


def fill(bus: Spool, count: int, start: int = 0) -> None:
    producer = bus.producer(RAW_STREAM)
    for number in range(start, start + count):
        assert producer.publish(0, {"n": str(number)}, b"x" * 100) == number
    producer.close()


def numbers(bus: Spool, group: str = "g") -> list[int]:
    consumer = bus.consumer(RAW_STREAM, group)
    messages = consumer.poll(1 << 30, 0)
    consumer.close()
    return [int(message.headers["n"]) for message in messages]


def test_what_is_published_is_read_in_order(tmp_path: Path) -> None:
    bus = spool(tmp_path, segment_bytes=1000)
    fill(bus, 50)
    assert len(segments.bases(bus.log_folder(RAW_STREAM, 0))) > 3
    assert numbers(bus) == list(range(50))
    fill(bus, 7, start=50)
    assert numbers(bus) == list(range(57))


def test_a_reader_follows_a_living_writer_over_segments(tmp_path: Path) -> None:
    bus = spool(tmp_path, segment_bytes=500)
    producer, consumer = bus.producer(RAW_STREAM), bus.consumer(RAW_STREAM, "g")
    seen = []
    for number in range(30):
        producer.publish(0, {"n": str(number)}, b"y" * 90)
        seen += [int(message.headers["n"]) for message in consumer.poll(1 << 20, 0)]
    assert seen == list(range(30))
    assert consumer.poll(1 << 20, 0) == []
    producer.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 30, 100])
def test_a_torn_tail_is_not_read_and_trimmed_by_the_next_writer(tmp_path: Path, cut: int) -> None:
    bus = spool(tmp_path)
    fill(bus, 5)
    path = segments.path_of(bus.log_folder(RAW_STREAM, 0), 0)
    os.truncate(path, path.stat().st_size - cut)
    assert numbers(bus) == [0, 1, 2, 3]
    fill(bus, 3, start=4)
    assert numbers(bus) == [0, 1, 2, 3, 4, 5, 6]


def test_a_flipped_bit_is_never_read_as_data(tmp_path: Path) -> None:
    bus = spool(tmp_path)
    fill(bus, 3)
    path = segments.path_of(bus.log_folder(RAW_STREAM, 0), 0)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert numbers(bus) == [0, 1]


def test_damage_in_a_closed_segment_is_reported_as_gone(tmp_path: Path) -> None:
    bus = spool(tmp_path, segment_bytes=600)
    fill(bus, 20)
    folder = bus.log_folder(RAW_STREAM, 0)
    first, second = segments.bases(folder)[:2]
    path = segments.path_of(folder, first)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    consumer = bus.consumer(RAW_STREAM, "g")
    assert [message.offset for message in consumer.poll(1 << 20, 0)] == list(range(second - 1))
    with pytest.raises(OffsetGone) as caught:
        consumer.poll(1 << 20, 0)
    assert caught.value.first == second
    consumer.seek(0, second)
    assert [message.offset for message in consumer.poll(1 << 20, 0)] == list(range(second, 20))


def test_the_tail_is_known_after_trimming(tmp_path: Path) -> None:
    bus = spool(tmp_path, segment_bytes=300)
    fill(bus, 20)
    bus.trim(RAW_STREAM, 0, 20)
    assert len(segments.bases(bus.log_folder(RAW_STREAM, 0))) == 1
    producer = bus.producer(RAW_STREAM)
    last = producer.last(0)
    assert last is not None and last["n"] == "19"
    producer.close()


def test_the_head_of_a_new_segment_repeats_the_last_headers(tmp_path: Path) -> None:
    fd = segments.create(tmp_path, 7, {"se": "42"})
    assert segments.last_before(fd) == {"se": "42"}
    os.close(fd)


def test_trimming_never_takes_what_is_needed(tmp_path: Path) -> None:
    bus = spool(tmp_path, segment_bytes=300)
    fill(bus, 20)
    bus.trim(RAW_STREAM, 0, 11)
    consumer = bus.consumer(RAW_STREAM, "g")
    first, end = consumer.bounds(0)
    assert 0 < first <= 11
    assert end == 20
    with pytest.raises(OffsetGone):
        consumer.seek(0, first - 1)


def test_positions_are_kept_by_group(tmp_path: Path) -> None:
    bus = spool(tmp_path)
    fill(bus, 10)
    bus.consumer(RAW_STREAM, "a").commit(0, 6, json.dumps({"n": 1}))
    committed = bus.consumer(RAW_STREAM, "a").committed(0)
    assert committed is not None and (committed.offset, json.loads(committed.metadata)) == (6, {"n": 1})
    assert numbers(bus, "a") == [6, 7, 8, 9]
    assert numbers(bus, "b") == list(range(10))


def test_the_bound_refuses_and_trimming_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.spool._MEASURE_SECONDS", 0.0)
    bus = spool(tmp_path, max_bytes=20_000, segment_bytes=1000)
    producer = bus.producer(RAW_STREAM)
    count = 0
    with pytest.raises(BusFull, match=r"bus\.max_bytes"):
        for _ in range(1000):
            producer.publish(0, {}, b"z" * 500)
            count += 1
    assert 10 < count < 21
    bus.trim(RAW_STREAM, 0, count)
    assert producer.publish(0, {}, b"z") == count
    other = bus.producer(ENRICHED_STREAM)  # half of the bound is its own
    assert other.publish(0, {}, b"z" * 5000) == 0
    producer.close()
    other.close()


def test_a_second_producer_is_told_who_the_first_is(tmp_path: Path) -> None:
    bus = spool(tmp_path)
    producer = bus.producer(RAW_STREAM)
    with pytest.raises(AlreadyOwned, match=rf"process {os.getpid()}"):
        bus.producer(RAW_STREAM)
    producer.close()
    bus.producer(RAW_STREAM).close()


def test_other_partitions_than_at_the_first_start_are_refused(tmp_path: Path) -> None:
    spool(tmp_path)
    with pytest.raises(SpoolError, match=r"bus\.partitions = 1"):
        Spool(tmp_path, BusSettings(partitions=3))


def test_what_a_killed_writer_published_is_there(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from sinks.spool import Spool; from sinks.settings import BusSettings\n"
        "p = Spool(pathlib.Path(sys.argv[1]), BusSettings(partitions=1)).producer('flows.raw')\n"
        "for n in range(25): p.publish(0, {'n': str(n)}, b'b' * 5000)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert numbers(spool(tmp_path)) == list(range(25))


def test_processes_that_start_at_once_agree_on_the_streams(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from sinks.spool import Spool; from sinks.settings import BusSettings\n"
        "print(Spool(pathlib.Path(sys.argv[1]), BusSettings(partitions=1)).stream_id('flows.raw'))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []


def test_an_existing_file_is_not_written_again(tmp_path: Path) -> None:
    segments.write_once(tmp_path / "x", b"first")
    segments.write_once(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
