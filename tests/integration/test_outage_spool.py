"""The spool as outbox: disk full, bound reached, torn and damaged files; the order stays and the stream goes on."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector.shipper import GROUP, Shipper
from sinks import RAW_STREAM, BusFull, Headers, OffsetGone, segments
from sinks.delivery import RawHeaders
from sinks.ownership import AlreadyOwned
from sinks.settings import BusSettings, KafkaSettings
from sinks.spool import Spool, SpoolProducer

SIZE = 4 << 20


@dataclass(frozen=True)
class Done:
    acknowledged: bool = True
    failed: Exception | None = None


class Quick:
    """A broker that has everything at once."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def appender(self, stream: str) -> "Quick":
        return self

    def send(self, partition: int, headers: Headers, body: bytes | memoryview) -> Done:
        self.taken.append(int(headers["sequence"]))
        return Done()

    def close(self) -> None: ...


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def outbox_in(folder: Path, **settings: object) -> Spool:
    return Spool(folder / "outbox", BusSettings.model_validate({"partitions": 1, **settings}), streams=(RAW_STREAM,))


def publish(producer: SpoolProducer, sequence: int, octets: int = 100_000) -> None:
    producer.publish(0, RawHeaders("c@1", sequence, 1).encode(), sequence.to_bytes(4) * (octets // 4))


def drain(outbox: Spool, broker: Quick, folder: Path) -> None:
    stop = threading.Event()
    stop.set()
    Shipper(outbox, broker, KafkaSettings(), folder / "dead").run(stop)


def numbers(outbox: Spool) -> list[int]:
    consumer = outbox.consumer(RAW_STREAM, "test")
    found = [int(message.headers["sequence"]) for message in consumer.poll(1 << 30, 0)]
    consumer.close()
    return found


def test_a_full_disk_drops_counted_and_goes_on_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    """The segment is larger than the disk: it must be closed for anything to be trimmed."""
    outbox, broker = outbox_in(small_disk), Quick()
    producer = outbox.producer(RAW_STREAM)
    sequence = 0
    for _ in range(4):
        accepted = 0
        with pytest.raises(BusFull, match="space"):
            for _ in range(100):
                publish(producer, sequence)
                sequence, accepted = sequence + 1, accepted + 1
        assert accepted > 10
        for _ in range(3):  # stays full without harm
            with pytest.raises(BusFull):
                publish(producer, sequence)
        drain(outbox, broker, tmp_path)
    publish(producer, sequence)
    producer.close()
    drain(outbox, broker, tmp_path)
    assert broker.taken == list(range(sequence + 1))


def test_a_writer_begins_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    outbox, broker = outbox_in(small_disk), Quick()
    producer = outbox.producer(RAW_STREAM)
    sequence = 0
    with pytest.raises(BusFull):
        while True:
            publish(producer, sequence)
            sequence += 1
    producer.close()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(4096))
    producer = outbox.producer(RAW_STREAM)
    with pytest.raises(BusFull):
        publish(producer, sequence)
    filler.unlink()
    drain(outbox, broker, tmp_path)
    publish(producer, sequence)
    producer.close()
    drain(outbox, broker, tmp_path)
    assert broker.taken == list(range(sequence + 1))


def test_an_outbox_has_the_whole_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.spool._MEASURE_SECONDS", 0.0)
    outbox, broker = outbox_in(tmp_path, max_bytes=1_000_000), Quick()
    producer = outbox.producer(RAW_STREAM)
    sequence = 0
    for expected in (90, 70):  # the segment being written is not trimmed
        accepted = 0
        with pytest.raises(BusFull, match=r"bus\.max_bytes"):
            while True:
                publish(producer, sequence, 10_000)
                sequence, accepted = sequence + 1, accepted + 1
        assert expected <= accepted < 100
        drain(outbox, broker, tmp_path)
    producer.close()
    assert broker.taken == list(range(sequence))


def test_the_last_record_torn_at_any_octet_is_trimmed_and_nothing_else(tmp_path: Path) -> None:
    outbox = outbox_in(tmp_path)
    producer = outbox.producer(RAW_STREAM)
    sizes = []
    path = segments.path_of(outbox.log_folder(RAW_STREAM, 0), 0)
    for sequence in range(3):
        publish(producer, sequence, 40)
        sizes.append(path.stat().st_size)
    producer.close()
    whole = path.read_bytes()
    for end in range(sizes[1], sizes[2]):
        path.write_bytes(whole[:end])
        assert numbers(outbox) == [0, 1]
        producer = outbox.producer(RAW_STREAM)
        last = producer.last(0)
        assert last is not None and last["sequence"] == "1"
        publish(producer, 2, 40)
        producer.close()
        assert numbers(outbox) == [0, 1, 2]


def test_a_flipped_octet_anywhere_is_never_read_and_the_rest_goes_on(tmp_path: Path) -> None:
    """In a closed segment and in the one being written; offsets and numbers behind it are not given again."""
    outbox = outbox_in(tmp_path, segment_bytes=600)
    producer = outbox.producer(RAW_STREAM)
    for sequence in range(8):
        publish(producer, sequence, 40)
    producer.close()
    folder = outbox.log_folder(RAW_STREAM, 0)
    saved = tmp_path / "saved"
    shutil.copytree(folder, saved)
    bases = segments.bases(folder)
    assert len(bases) > 2
    for base, following in ((bases[0], bases[1]), (bases[-1], None)):
        whole = segments.path_of(folder, base).read_bytes()
        with segments.path_of(folder, base).open("rb") as file:
            first = segments.first_frame(file.fileno())
            frame = next(segments.frames(file.fileno()))
        for place in range(0 if following is not None else first, frame.end):
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            segments.path_of(folder, base).write_bytes(damaged)
            producer = outbox.producer(RAW_STREAM)
            publish(producer, 8, 40)
            producer.close()
            consumer = outbox.consumer(RAW_STREAM, "test")
            seen: list[int] = []
            for _ in range(4):
                try:
                    seen += [int(message.headers["sequence"]) for message in consumer.poll(1 << 20, 0)]
                except OffsetGone as gone:
                    consumer.seek(0, gone.first)
            consumer.close()
            assert seen[-1] == 8 and seen == sorted(set(seen)), (base, place, seen)
            if following is not None:
                assert seen[following - 9 :] == list(range(following, 9)), (base, place, seen)
            shutil.rmtree(folder)
            shutil.copytree(saved, folder)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    producer = outbox_in(tmp_path).producer(RAW_STREAM)
    with pytest.raises(AlreadyOwned, match=f"process {os.getpid()}"):
        outbox_in(tmp_path).producer(RAW_STREAM)
    publish(producer, 0)
    producer.close()


def test_a_damaged_cursor_loses_nothing(tmp_path: Path) -> None:
    outbox, broker = outbox_in(tmp_path), Quick()
    producer = outbox.producer(RAW_STREAM)
    for sequence in range(3):
        publish(producer, sequence)
    drain(outbox, broker, tmp_path)
    cursor = outbox.folder / "cursors" / GROUP / f"{RAW_STREAM}-0.json"
    whole = cursor.read_bytes()
    for end in (0, 1, len(whole) // 2, len(whole) - 1):
        cursor.write_bytes(whole[:end])
        drain(outbox, broker, tmp_path)
    publish(producer, 3)
    producer.close()
    drain(outbox, broker, tmp_path)
    # Sent again whole, each time: readers know them by their numbers.
    assert broker.taken == [0, 1, 2] * 5 + [3]
