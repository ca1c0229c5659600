"""Tokens that the engine remembers for rows it never stored.

A plain MergeTree table writes a block's token to its log and then renames the part into place.  A process that is
killed between the two leaves a token without rows, and the repeat that would bring them is taken for a duplicate: 2 of
120 kills under inserts lost one.  So before an engine opens its directory, the newest tokens of each table that have
no part are taken back, in the way in which the engine itself takes back those of a dropped part.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import structlog

log = structlog.get_logger("sinks")

_ADD, _DROP = "1", "2"
_PART = re.compile(r"([^_]+)_(\d+)_(\d+)_(\d+)(?:_\d+)?")  # partition, first and last block, level, mutation
_NEWEST = 64
"""Lines looked at: more than inserts can be under way.  Parts of older ones may have gone by age, which is no loss."""
_TAIL = _NEWEST * 512  # octets that hold as many lines: a log has up to 100,000, and a store some twenty logs


def forget_lost(directory: Path) -> list[str]:
    """Repair all tables of an engine's directory that nobody has open; the names of the parts that were lost."""
    found: list[str] = []
    for folder in sorted(directory.glob("store/*/*/deduplication_logs")):
        found += _repair(folder)
    if found:
        log.warning("the store was killed in the middle of an insert: its tokens are taken back", parts=found)
    return found


def _repair(folder: Path) -> list[str]:
    """The same for one table."""
    files = sorted(folder.glob("deduplication_log_*.txt"), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
    if not files:
        return []
    # The newest file may have been begun just now.
    lines = [line for file in files[-2:] for line in _lines(file)][-_NEWEST:]
    known = list(_parts(entry.name for entry in folder.parent.iterdir()))
    dropped = {tuple(line[1:]) for line in lines if line[0] == _DROP}
    lost = [line[1:] for line in lines if line[0] == _ADD and tuple(line[1:]) not in dropped and _lacks(line[1], known)]
    if lost:
        with files[-1].open("ab") as file:
            file.write("".join(f"{_DROP}\t{part}\t{block}\n" for part, block in lost).encode())
            file.flush()
            os.fsync(file.fileno())
    return [part for part, _ in lost]


def _lines(file: Path) -> list[list[str]]:
    """Operation, part and block of each of the newest lines; a torn last line is cut off, its part was not renamed."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, size - _TAIL))
        data = opened.read()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(file, size - (len(data) - end))
    begin = data.find(b"\n") + 1 if size > _TAIL else 0  # behind a line that was read in part
    rows = [line.split("\t") for line in data[begin:end].decode().splitlines()[-_NEWEST:]]
    return [row for row in rows if len(row) == 3]


def _parts(names: Iterable[str]) -> Iterable[tuple[str, int, int]]:
    """Partition, first and last block of those names that are parts."""
    for name in names:
        if found := _PART.fullmatch(name):
            yield found[1], int(found[2]), int(found[3])


def _lacks(part: str, known: list[tuple[str, int, int]]) -> bool:
    """Whether neither the part is there nor one that it was merged into."""
    return any(
        not any(partition == p and first <= low and high <= last for p, first, last in known)
        for partition, low, high in _parts([part])
    )
