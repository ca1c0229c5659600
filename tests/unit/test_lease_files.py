import os
from collections.abc import Callable
from pathlib import Path

import pytest

from enricher.snapshots import Limits, save
from enricher.sources import LeaseFileError, files, tables
from enricher.sources.files import FileSource
from flowtide.lease_files import read_sources
from flowtide.settings import Settings

HEADER = "prefix,from,to,subscriber,group,service,segment,access\n"
LINE = "10.0.0.{},0,{},S{},,fixed,personal,pppoe\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.csv"


def text(*numbers: int, end: str = "", subscriber: str = "") -> str:
    return HEADER + "".join(LINE.format(number, end, subscriber or number) for number in numbers)


def write(path: Path, content: str, changed_at: float) -> None:
    """Replace the file as a careful writer does; its time of change is the test's."""
    draft = path.with_suffix(".new")
    draft.write_text(content)
    os.utime(draft, (changed_at, changed_at))
    draft.replace(path)


def source(path: Path) -> FileSource:
    return FileSource("test", str(path), "csv", 10_000)


def poll(leases: FileSource, now: float) -> int | None:
    rows = leases.poll(now)
    return None if rows is None else len(rows)


def test_a_new_good_file_is_taken_once_it_is_quiet(path: Path) -> None:
    write(path, text(1), 100)
    leases = source(path)
    assert poll(leases, 100.5) == 1  # at start there is nothing better to wait with
    assert poll(leases, 200) is None
    write(path, text(1, 2, 3), 200)
    assert poll(leases, 200.5) is None  # its writer may not be done
    assert poll(leases, 201.5) == 3
    status = leases.status(300)
    assert (status.leases, status.read_at, status.error, status.stale) == (3, 201.5, None, False)


def test_a_bad_file_is_told_and_the_last_good_leases_stay(path: Path) -> None:
    write(path, text(1, 2), 100)
    leases = source(path)
    poll(leases, 110)
    write(path, text(1, 2, 3, 4, 5) + "nonsense\n", 120)
    assert poll(leases, 130) is None
    assert leases.error is not None
    assert (leases.error.line, leases.status(130).leases) == (7, 2)
    first = leases.error
    assert poll(leases, 140) is None
    assert leases.error is first
    write(path, text(1, 2, 3, 4, 5), 150)
    assert poll(leases, 160) == 5
    assert leases.error is None


def test_an_absent_file_is_told_and_taken_when_it_comes(path: Path) -> None:
    leases = source(path)
    assert poll(leases, 100) is None
    assert "is not there" in str(leases.error)
    assert poll(leases, 110) is None
    write(path, text(1), 120)
    assert poll(leases, 130) == 1
    path.unlink()
    assert poll(leases, 140) is None
    assert (leases.status(140).leases, leases.error is None) == (1, False)


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, text(1), 100)
    leases = source(path)
    poll(leases, 110)
    write(path, text(1, 2), 120)
    read = tables.read_leases

    def read_half(of: Path, max_bytes: int) -> object:
        rows = read(of, max_bytes)
        with of.open("a") as file:
            file.write(LINE.format(9, "", 9))
        return rows

    monkeypatch.setattr(files, "read_leases", read_half)
    assert poll(leases, 130) is None
    assert (leases.status(130).leases, leases.error) == (1, None)
    monkeypatch.setattr(files, "read_leases", read)
    os.utime(path, (140, 140))
    assert poll(leases, 150) == 3


@pytest.mark.parametrize("pattern", ["", "*.csv"])
def test_the_files_of_a_folder_are_one_source_and_only_what_changed_is_read(
    tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    read = tables.read_leases

    def note(of: Path, max_bytes: int) -> object:
        seen.append(of.name)
        return read(of, max_bytes)

    monkeypatch.setattr(files, "read_leases", note)
    leases = source(tmp_path / pattern if pattern else tmp_path)
    write(tmp_path / "0001.csv", text(1, 2), 100)
    (tmp_path / "notes.txt").write_text("no leases")
    (tmp_path / ".draft.csv").write_text("half")
    assert poll(leases, 110) == 2
    write(tmp_path / "0002.csv", text(3), 120)
    assert poll(leases, 130) == 3
    write(tmp_path / "0002.csv", text(3, 4), 140)
    assert poll(leases, 150) == 4
    assert seen == ["0001.csv", "0002.csv", "0002.csv"]
    write(tmp_path / "0002.csv", "nonsense\n", 160)
    assert poll(leases, 170) is None
    assert "0002.csv" in str(leases.error)
    write(tmp_path / "0003.csv", text(9), 180)
    assert poll(leases, 190) == 5  # the refused file's last good leases are among them
    assert leases.error is not None
    (tmp_path / "0002.csv").unlink()
    assert poll(leases, 200) == 3
    assert leases.error is None


def test_a_delta_ends_a_lease_and_hands_it_over(tmp_path: Path, held: Callable[[FileSource, int], str]) -> None:
    write(tmp_path / "0001.csv", text(1, 2), 100)
    write(tmp_path / "0002.csv", text(1, end="50") + "10.0.0.1,60,,B,,fixed,personal,pppoe\n", 100)
    leases = source(tmp_path)
    assert [held(leases, at) for at in (10, 49, 50, 59, 60, 99)] == ["1", "1", "", "", "B", "B"]


@pytest.fixture
def held() -> Callable[[FileSource, int], str]:
    """Who held 10.0.0.1 at that second, by plain reading of the rows; of equal begins the later row."""

    def who(leases: FileSource, at: int) -> str:
        rows = leases.poll(200) or kept[0]
        kept[:] = [rows]
        best: tuple[int, int, str] = (-1, 0, "")
        for row in range(len(rows)):
            begin, end = int(rows.since[row]), int(rows.until[row])
            if rows.low[row] == 0xFFFF_0A00_0001 and best[0] <= begin <= at * 1000:
                best = (begin, end, rows.subscribers[rows.subscriber[row]].removeprefix("S"))
        return best[2] if at * 1000 < best[1] else ""

    kept: list = []  # type: ignore[type-arg]
    return who


def test_a_source_silent_for_too_long_is_stale(path: Path) -> None:
    write(path, text(1), 100)
    leases = FileSource("test", str(path), "csv", 10_000, stale_seconds=60)
    poll(leases, 110)
    assert [leases.status(now).stale for now in (111, 170, 171)] == [False, False, True]


def test_what_was_in_force_before_is_what_new_leases_are_held_against(path: Path) -> None:
    write(path, text(*range(10)), 100)
    before = source(path).poll(100)
    assert before is not None
    write(path, text(1, 2), 110)
    limits = Limits(least_share_of_rows=0.6)
    leases = FileSource("test", str(path), "csv", 10_000, limits=limits)
    leases.restore(before)
    assert poll(leases, 120) is None
    assert isinstance(leases.error, LeaseFileError)
    assert (leases.error.kind, leases.status(120).leases) == ("rows", 10)


def test_new_leases_that_would_lose_recent_traffic_are_refused(path: Path) -> None:
    limits = Limits(least_share_of_coverage=0.9)
    share: list[float | None] = [0.89]
    leases = FileSource("test", str(path), "csv", 10_000, limits=limits, coverage=lambda new, live: share[0])
    write(path, text(1), 100)
    assert poll(leases, 110) == 1  # nothing is in force yet
    write(path, text(2), 120)
    assert poll(leases, 130) is None
    assert "89.0%" in str(leases.error)
    for now, known in ((140, 0.9), (150, None)):
        share[0] = known
        write(path, text(3), now)
        assert poll(leases, now + 5) == 1


def test_a_topic_is_told_by_what_was_saved_of_it(tmp_path: Path, path: Path) -> None:
    settings = Settings.model_validate(
        {"data": tmp_path, "bus": {"url": "kafka://h:1"}, "enricher": {
            "radius": {"priority": 90, "listen": "127.0.0.1:1813"},
            "sources": [{"kind": "kafka", "path": f"isp.{name}", "priority": 7} for name in ("read", "new")]}}
    )  # fmt: skip
    write(path, text(1, 2, 3), 100)
    for name in ("kafka-isp.read", "radius"):
        save(tmp_path / "state" / "leases" / f"{name}.parquet", tables.read_leases(path, 10_000))
    found = {status.name: (status, rows) for status, rows in read_sources(settings)}
    status, rows = found["kafka-isp.read"]
    assert (status.leases, len(rows), status.priority, status.error, rows.priority.tolist()) == (3, 3, 7, None, [7] * 3)
    assert found["radius"][0].priority == 90
    status, rows = found["kafka-isp.new"]
    assert (status.leases, len(rows), status.priority) == (0, 0, 7)
    assert "isp.new" in str(status.error)
