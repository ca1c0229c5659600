"""New leases are checked as a whole before they are used, and the last good ones outlive the process.

A file may be sound line by line and wrong as a whole: cut short by a full disk, of another region, of last month.  So
it is held against what is in force: how many leases, how much of the recent traffic they match, and how often they
contradict themselves.  What is refused changes nothing.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES, LeaseRows
from enricher.sources import LeaseFileError
from sinks.segments import written_beside

Coverage = Callable[[LeaseRows, LeaseRows], float | None]
"""(new, in force) -> octets of recent flows that the new leases would match, as a share of those that the ones in
force match; None: not known."""

_VERSION = b"1"
_LABELS = {"service": SERVICES, "segment": SEGMENTS, "access": ACCESSES}


@dataclass(frozen=True, slots=True)
class Limits:
    """What new leases of a source may look like beside those in force; the defaults refuse nothing."""

    least_share_of_rows: float = 0.0
    least_share_of_coverage: float = 0.0
    most_share_of_overlaps: float = 1.0
    most_share_of_ambiguous: float = 1.0


@dataclass(frozen=True, slots=True)
class Contradictions:
    """Of the leases of one file."""

    overlaps: int  # leases that a newer one of the same prefix and ports cuts short
    ambiguous: int  # leases of a prefix, ports and begin that name several subscribers


def check(
    rows: LeaseRows, live: LeaseRows | None, limits: Limits, path: Path, coverage: Coverage | None = None
) -> None:
    """LeaseFileError when the leases break a limit; ``live`` None or empty: there is nothing to hold them against."""
    if live is not None and len(live):
        least = limits.least_share_of_rows
        if least and len(rows) <= least * len(live):
            reason = (
                f"{len(rows):,} leases are no more than {least:.0%} of the {len(live):,} in force"
                " (setting least_share_of_rows)"
            )
            raise LeaseFileError(path, None, reason, kind="rows")
        share = coverage(rows, live) if coverage and limits.least_share_of_coverage else None
        if share is not None and share < limits.least_share_of_coverage:
            reason = (
                f"would match {share:.1%} of the recent octets that the leases in force match, less than"
                f" {limits.least_share_of_coverage:.0%} (setting least_share_of_coverage)"
            )
            raise LeaseFileError(path, None, reason, kind="coverage")
    if not len(rows) or min(limits.most_share_of_overlaps, limits.most_share_of_ambiguous) >= 1:
        return
    found = contradictions(rows)
    if found.ambiguous > limits.most_share_of_ambiguous * len(rows):
        reason = (
            f"{found.ambiguous:,} of {len(rows):,} leases name another subscriber for the same prefix and begin"
            " (setting most_share_of_ambiguous)"
        )
        raise LeaseFileError(path, None, reason, kind="ambiguous")
    if found.overlaps > limits.most_share_of_overlaps * len(rows):
        reason = (
            f"{found.overlaps:,} of {len(rows):,} leases last beyond the begin of the next one of their prefix"
            " (setting most_share_of_overlaps)"
        )
        raise LeaseFileError(path, None, reason, kind="overlaps")


def contradictions(rows: LeaseRows) -> Contradictions:
    """Compare each lease with the next one of the same prefix and ports."""
    if not len(rows):
        return Contradictions(0, 0)
    keys: list[NDArray[Any]] = [rows.since, rows.port_to, rows.port_from, rows.bits, rows.low, rows.high]
    order = np.lexsort([key for number, key in enumerate(keys) if number in (0, 4) or key.min() != key.max()])
    same = np.ones(max(0, len(rows) - 1), bool)
    for key in keys[1:]:
        same &= key[order][1:] == key[order][:-1]
    since, until = rows.since[order], rows.until[order]
    together = same & (since[1:] == since[:-1])
    other = np.zeros(len(same), bool)
    for column in (rows.subscriber, rows.service, rows.access):
        other |= column[order][1:] != column[order][:-1]
    cut = same & ~together & (until[:-1] > since[1:]) & (until[:-1] != HELD)
    return Contradictions(int(np.count_nonzero(cut)), int(np.count_nonzero(together & other)))


def save(path: Path, rows: LeaseRows) -> None:
    """Write the leases as Parquet, whole or not at all, readable by its owner only: it holds subscribers' names."""
    columns: dict[str, pa.Array] = {
        "high": pa.array(rows.high), "low": pa.array(rows.low), "bits": pa.array(rows.bits),
        "port_from": pa.array(rows.port_from.copy()), "port_to": pa.array(rows.port_to.copy()),
        "since": pa.array(rows.since), "until": pa.array(rows.until),
        "subscriber": _dictionary(rows.subscriber, rows.subscribers), "group": _dictionary(rows.group, rows.groups),
    }  # fmt: skip
    for name, labels in _LABELS.items():
        columns[name] = _dictionary(getattr(rows, name), labels)
    table = pa.table(columns).replace_schema_metadata({"flowtide.leases": _VERSION})
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with written_beside(path) as draft:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            pyarrow.parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())


def restore(path: Path) -> LeaseRows | None:
    """The leases that were saved; None when there are none.  LeaseFileError for a file that is not ours or damaged."""
    if not path.exists():
        return None
    try:
        table = pyarrow.parquet.read_table(path, use_threads=False, memory_map=False)
        if (table.schema.metadata or {}).get(b"flowtide.leases") != _VERSION:
            raise LeaseFileError(path, None, "was written by another version")
        numbers = {name: table[name].to_numpy() for name in ("high", "low", "bits", "since", "until")}
        ports = {name: table[name].to_numpy().astype("u2") for name in ("port_from", "port_to")}
        subscriber, subscribers = _codes(table["subscriber"])
        group, groups = _codes(table["group"])
        labels = {}
        for name, known in _LABELS.items():
            codes, values = _codes(table[name])
            labels[name] = np.array([known.index(value) for value in values] or [0], "u4")[codes]
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise LeaseFileError(path, None, f"is damaged: {str(error)[:200]}") from error
    if bool(np.any(ports["port_from"] > ports["port_to"])) or bool(np.any(numbers["since"] >= numbers["until"])):
        raise LeaseFileError(path, None, "is damaged: a lease ends before it begins")
    return LeaseRows(
        numbers["high"].astype("u8"), numbers["low"].astype("u8"), numbers["bits"].astype("u1"),
        numbers["since"].astype("i8"), numbers["until"].astype("i8"), subscriber, labels["service"],
        labels["segment"], labels["access"], group, subscribers, groups, **ports,
    )  # fmt: skip


def _dictionary(codes: NDArray[np.uint32], values: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("i4")), pa.array(list(values), pa.string()))


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.uint32], list[str]]:
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype("u4"), encoded.dictionary.to_pylist()
