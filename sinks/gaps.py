"""Gaps that stop a partition, and an operator's word to step over one of them: two small files below ``state``.

The sink writes ``<stream id>-<partition>.gap.json`` when it stops, which says what is missing; ``accept_gap`` writes
``<stream id>-<partition>.accept.json``, which the sink obeys only when it names exactly the gap that is met.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sinks.delivery import short_id
from sinks.segments import write_atomic


@dataclass(frozen=True, slots=True)
class Gap:
    """Source offsets [start, end) that are missing from flows.enriched without a reason."""

    stream: str  # ``short_id`` of flows.enriched
    partition: int
    start: int
    end: int
    offset: int = 0  # of the enriched message before which they are missing

    def __str__(self) -> str:
        return (
            f"flows.raw offsets [{self.start}, {self.end}) are missing before flows.enriched/{self.partition} offset"
            f" {self.offset}; to go on without them: flowtide doctor --accept-gap {self.partition}"
        )


def seen_gaps(folder: Path) -> list[Gap]:
    """The gaps at which a sink of this data directory waits, by partition; damaged files are passed over."""
    found = [gap for path in folder.glob("*.gap.json") if (gap := _read(path)) is not None]
    return sorted(found, key=lambda gap: (gap.partition, gap.start))


def accept_gap(folder: Path, stream_id: str, partition: int, start: int, end: int) -> Path:
    """Say that the source offsets [start, end) may be missing; consumed once, by the gap with exactly these numbers."""
    return _write(folder, "accept", Gap(short_id(stream_id), partition, start, end))


def show_gap(folder: Path, gap: Gap) -> None:
    """The sink's side: let ``seen_gaps`` find it."""
    _write(folder, "gap", gap)


def is_accepted(folder: Path, gap: Gap) -> bool:
    """Whether an operator accepted exactly this gap."""
    said = _read(_path(folder, "accept", gap.stream, gap.partition))
    return said is not None and (said.start, said.end) == (gap.start, gap.end)


def settle_gap(folder: Path, stream_id: str, partition: int, stored: int) -> None:
    """Remove what was said of gaps below the source offset that is stored now."""
    for kind in ("gap", "accept"):
        path = _path(folder, kind, short_id(stream_id), partition)
        gap = _read(path)
        if gap is not None and gap.start < stored:
            path.unlink(missing_ok=True)


def _path(folder: Path, kind: str, stream: str, partition: int) -> Path:
    return folder / f"{stream}-{partition}.{kind}.json"


def _write(folder: Path, kind: str, gap: Gap) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, kind, gap.stream, gap.partition)
    write_atomic(path, json.dumps(asdict(gap)).encode())
    return path


def _read(path: Path) -> Gap | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Gap(**json.loads(path.read_bytes()))
    return None
