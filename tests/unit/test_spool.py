import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from crc32c import crc32c

from sinks import ENRICHED_STREAM, RAW_STREAM, BusFull, OffsetGone, segments
from sinks.codec import decode
from sinks.delivery import RawHeaders
from sinks.ownership import AlreadyOwned
from sinks.schema import RAW
from sinks.settings import BusSettings
from sinks.spool import Spool, SpoolError


def spool(folder: Path, **settings: object) -> Spool:
    return Spool(folder, BusSettings(partitions=1, **settings))


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


GOLDEN = Path(__file__).parents[1] / "golden" / "spool-of-version-2"


def test_a_spool_of_an_older_writer_is_read_and_goes_on(tmp_path: Path) -> None:
    """Made by the last version whose frames had CRC-32 and whose messages wrote each column row by row."""
    bus = spool(tmp_path, segment_bytes=9_000)
    folder = bus.log_folder(RAW_STREAM, 0)
    for base in (0, 2):
        segments.path_of(folder, base).write_bytes((GOLDEN / f"{base}.segment").read_bytes())
    producer = bus.producer(RAW_STREAM)
    last = producer.last(0)
    assert last is not None and (producer.publish(0, {}, b"new"), last["sequence"]) == (4, "3")
    assert producer.publish(0, {}, b"newer") == 5  # behind: the segment was full
    producer.close()
    consumer = bus.consumer(RAW_STREAM, "g")
    *old, new, newer = consumer.poll(1 << 30, 0)
    assert (bytes(new.body), bytes(newer.body)) == (b"new", b"newer")
    assert [RawHeaders.decode(message.headers).sequence for message in old] == [0, 1, 2, 3]
    batches = [decode(message.body, RAW) for message in old]
    assert [row for batch in batches for row in batch.columns["octets"].tolist()] == list(range(12))
    assert [row for batch in batches for row in batch.text("exporter")] == ["192.0.2.1", "192.0.2.2", "192.0.2.2"] * 4
    assert batches[3].columns["src_addr"][2].tobytes() == bytes(10) + b"\xff\xff\xc0\x00\x02\x0b"
    assert batches[0].text("extra") == ["{}"] * 3


def test_a_segment_has_the_checksum_its_head_has(tmp_path: Path) -> None:
    """An older writer, put back, refuses a head it does not know; in a segment whose head it knows it knows all."""
    bus = spool(tmp_path, segment_bytes=9_000)
    folder = bus.log_folder(RAW_STREAM, 0)
    segments.path_of(folder, 2).write_bytes(begin := (GOLDEN / "2.segment").read_bytes()[:8_000])
    producer = bus.producer(RAW_STREAM)  # message 2 is whole, the next is torn
    for _ in range(200):
        producer.publish(0, {}, b"x" * 100)
    producer.close()
    older, *newer = [segments.path_of(folder, base).read_bytes() for base in segments.bases(folder)]
    assert older[:1_000] == begin[:1_000] and newer
    for data, checksum in ((older, zlib.crc32), *((each, crc32c) for each in newer)):
        at = 0
        while at < len(data):
            length, crc = struct.unpack_from("<II", data, at)
            assert bool(length >> 31) == (checksum is crc32c)
            length &= 2**31 - 1
            assert checksum(data[at + 8 : at + 8 + length]) == crc
            at += 8 + length


def test_bodies_are_compressed_once_readers_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.spool._MEASURE_SECONDS", 0.0)
    bus = Spool(tmp_path, BusSettings(partitions=1, max_bytes=1_000_000, segment_bytes=10_000), [RAW_STREAM])
    producer = bus.producer(RAW_STREAM)
    said = []
    for _ in range(20):
        said.append(producer.compression())
        producer.publish(0, {}, bytes(10_000))
    # An eighth of the bound, 125,000 octets, and the newest segment's 10,000.
    assert said == ["none"] * 14 + ["lz4"] * 6
    bus.trim(RAW_STREAM, 0, 20)
    assert producer.compression() == "none"
    producer.close()
