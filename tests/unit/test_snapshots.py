import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from enricher import snapshots
from enricher.snapshots import LeaseFile

HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
LINE = "10.0.0.{},0,,S{},,fixed,personal,pppoe\n"
LIMIT = 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.csv"


def write(path: Path, leases: int, changed_at: int, *, bad: bool = False) -> None:
    """Replace the file as a careful writer does; its time of change is the test's."""
    text = HEADER + "".join(LINE.format(number, number) for number in range(leases)) + ("nonsense\n" if bad else "")
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.utime(draft, (changed_at, changed_at))
    draft.replace(path)


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)


def test_a_new_good_file_replaces_the_table(path: Path) -> None:
    write(path, 1, 100)
    leases = LeaseFile(path, bytes(32), LIMIT)
    assert len(leases.table) == 0
    first = leases.reload_if_changed(100.5)  # at start there is nothing better to wait with
    assert first is not None
    assert (first.leases, first.error) == (1, None)
    before = leases.table
    assert leases.reload_if_changed(200) is None
    assert leases.table is before
    write(path, 3, 200)
    assert leases.reload_if_changed(200.5) is None  # its writer may not be done
    assert leases.reload_if_changed(201.5) is not None
    assert len(leases.table) == 3
    assert (len(before), gauge("enricher_leases"), gauge("enricher_lease_file_ok")) == (1, 3.0, 1.0)


def test_a_bad_file_is_reported_once_and_the_last_good_table_stays(path: Path) -> None:
    write(path, 2, 100)
    leases = LeaseFile(path, bytes(32), LIMIT)
    leases.reload_if_changed(110)
    write(path, 5, 120, bad=True)
    told = leases.reload_if_changed(130)
    assert told is not None
    assert told.error is not None
    assert (told.leases, told.error.line) == (2, 7)
    assert len(leases.table) == 2
    assert leases.error is told.error
    assert gauge("enricher_lease_file_ok") == 0.0
    assert leases.reload_if_changed(140) is None
    write(path, 5, 150)
    leases.reload_if_changed(160)
    assert len(leases.table) == 5
    assert leases.error is None


def test_a_bad_file_at_the_start_leaves_the_table_empty(path: Path) -> None:
    write(path, 1, 100, bad=True)
    leases = LeaseFile(path, bytes(32), LIMIT)
    told = leases.reload_if_changed(100)
    assert told is not None
    assert told.error is not None
    assert len(leases.table) == 0


def test_an_absent_file_is_reported_once_and_taken_when_it_comes(path: Path) -> None:
    leases = LeaseFile(path, bytes(32), LIMIT)
    told = leases.reload_if_changed(100)
    assert told is not None
    assert "is not there" in str(told.error)
    assert leases.reload_if_changed(110) is None
    write(path, 1, 120)
    leases.reload_if_changed(130)
    assert len(leases.table) == 1
    path.unlink()
    told = leases.reload_if_changed(140)
    assert told is not None
    assert told.error is not None
    assert len(leases.table) == 1


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, 1, 100)
    leases = LeaseFile(path, bytes(32), LIMIT)
    leases.reload_if_changed(110)
    write(path, 2, 120)
    read = snapshots.read_leases

    def read_half(of: Path, max_bytes: int) -> object:
        rows = read(of, max_bytes)
        with of.open("a") as file:
            file.write(LINE.format(9, 9))
        return rows

    monkeypatch.setattr(snapshots, "read_leases", read_half)
    assert leases.reload_if_changed(130) is None
    assert (len(leases.table), leases.error) == (1, None)
    monkeypatch.setattr(snapshots, "read_leases", read)
    os.utime(path, (140, 140))
    leases.reload_if_changed(150)
    assert len(leases.table) == 3


def test_a_file_beyond_the_bound_is_refused(path: Path) -> None:
    write(path, 2, 100)
    leases = LeaseFile(path, bytes(32), 20)
    told = leases.reload_if_changed(110)
    assert told is not None
    assert "larger than 20 bytes" in str(told.error)
