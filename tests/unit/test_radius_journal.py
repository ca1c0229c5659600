"""The journal's files, cut off and damaged by hand."""

import zlib
from pathlib import Path

import pytest

from enricher.radius.journal import Journal


def written(folder: Path, *groups: list[bytes]) -> Path:
    """One segment of these groups; its file."""
    journal = Journal(folder)
    for group in groups:
        journal.append(group)
    journal.close()
    return max(folder.glob("*.log"))


def read(folder: Path) -> tuple[list[bytes], list[bytes], int]:
    """Records of the snapshot, of the segments, and octets that were not readable."""
    journal = Journal(folder)
    found = list(journal.read())
    journal.close()
    return [each for saved, each in found if saved], [each for saved, each in found if not saved], journal.damaged_bytes


def test_a_record_is_its_length_its_checksum_and_itself(tmp_path: Path) -> None:
    path = written(tmp_path, [b"one"], [b"two", b"x" * 300])
    parts = [len(each).to_bytes(4, "little") + zlib.crc32(each).to_bytes(4, "little") + each
             for each in (b"one", b"two", b"x" * 300)]  # fmt: skip
    assert path.read_bytes() == b"".join(parts)
    assert path.stat().st_mode & 0o077 == 0  # names are in it
    assert read(tmp_path) == ([], [b"one", b"two", b"x" * 300], 0)


def test_wherever_it_is_cut_off_the_whole_records_stay(tmp_path: Path) -> None:
    path = written(tmp_path, [b"one", b"two"])
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at])
        whole = at // 11
        assert read(tmp_path) == ([], [b"one", b"two"][:whole], at - 11 * whole)


@pytest.mark.parametrize("tail", [bytes(64), b"\xff" * 9, b"\x03\0\0\0\0\0\0\0one"])
def test_what_is_no_record_ends_a_segment(tmp_path: Path, tail: bytes) -> None:
    path = written(tmp_path, [b"one"])
    path.write_bytes(path.read_bytes() + tail)
    assert written(tmp_path, [b"two"]) != path  # a new start writes behind no damage
    assert read(tmp_path) == ([], [b"one", b"two"], len(tail))


def test_a_snapshot_takes_the_place_of_older_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"one"])
    number = journal.rotate()
    journal.append([b"two"])
    journal.snapshot(number, [b"state", b"sessions"])
    journal.append([b"three"])
    journal.close()
    assert read(tmp_path) == ([b"state", b"sessions"], [b"two", b"three"], 0)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_snapshot_that_was_not_finished_is_none(tmp_path: Path) -> None:
    written(tmp_path, [b"one"])
    (tmp_path / "000000000002.draft").write_bytes(b"half")
    assert read(tmp_path) == ([], [b"one"], 0)
    assert not list(tmp_path.glob("*.draft"))

    def broken() -> list[bytes]:
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path)
    number = journal.rotate()
    with pytest.raises(OSError, match="No space"):
        journal.snapshot(number, (each for _ in (1,) for each in broken()))
    journal.close()
    assert read(tmp_path) == ([], [b"one"], 0)


def test_a_damaged_snapshot_is_counted_and_what_is_readable_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    number = journal.rotate()
    journal.append([b"two"])
    journal.snapshot(number, [b"state", b"sessions"])
    journal.close()
    (path,) = tmp_path.glob("*.snapshot")
    data = path.read_bytes()
    path.write_bytes(data[:-11])  # without its last record it is not whole
    assert read(tmp_path) == ([], [b"two"], len(data) - 11)
