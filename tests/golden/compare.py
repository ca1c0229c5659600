"""Decodes a capture with fresh state, packet by packet, and sets its rows beside the expected ones."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from collector.capture import Capture
from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from sinks.batch import Batch
from sinks.schema import RAW, Flag
from tests.shared import shared_folder
from tests.wire import take

Row = dict[str, Any]
Observation = tuple[str, dict[str, object]]

_WRAP = 2**32
_TOLERANCE_MS = 1
_TIMES = ("ts_start", "ts")


@dataclass
class Decoded:
    """What a capture became."""

    rows: dict[int, list[Row]] = field(default_factory=dict)  # by packet, without those that were held
    held: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    by_domain: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    observations: list[Observation] = field(default_factory=list)
    waiting_sets: int = 0
    waiting_rows: int = 0


def decode(name: str) -> Decoded:
    """Decode a capture with fresh state; rows are taken after every packet."""
    decoder = Decoder(DecoderSettings(times=TRUST_ALL, held_sampler_seconds=0), "test")
    found = Decoded()
    for each in Capture(shared_folder("captures", "pcap", f"{name}.pcap")):
        decoder.add(Datagrams([each.exporter], [memoryview(each.payload)], each.time_ms))
        rows = read_rows(take(decoder))
        found.held += [row for row in rows if row["flags"] & Flag.HELD]
        if sent := [row for row in rows if not row["flags"] & Flag.HELD]:
            found.rows[each.number] = sent
    for count in decoder.take_counts():
        found.counts[count.counter] += count.value
        found.by_domain[count.exporter, count.domain, count.counter] += count.value
    found.observations = [(table, row) for table, rows in decoder.take_observations() for row in rows]
    found.waiting_sets = decoder.held()[0]
    return found


def read_rows(batch: Batch | None) -> list[Row]:
    """Rows as dictionaries of plain values."""
    if batch is None:
        return []
    columns: dict[str, list[Any]] = {}
    for column in RAW:
        array = batch.columns[column.name]
        if column.is_label:
            columns[column.name] = batch.text(column.name)
        elif array.dtype.kind == "V":
            columns[column.name] = [_text(value.tobytes()) for value in array]
        else:
            columns[column.name] = (array.view("i8") if array.dtype.kind == "M" else array).tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def differences(expected: list[Row], found: list[Row]) -> list[str]:
    """What one side has and the other has not, column by column; times within 1 ms, modulo 2^32 ms."""
    problems: list[str] = []
    left = list(found)
    for row in expected:
        match = next((each for each in left if _agrees(row, each)), None)
        if match is not None:
            left.remove(match)
            continue
        nearest = min(left, key=lambda each: len(_wrong(row, each)), default=None)
        if nearest is None:
            problems.append(f"missing: {row}")
            continue
        left.remove(nearest)
        problems.append(f"{_wrong(row, nearest)} in {row}")
    problems += [f"not expected: {row}" for row in left]
    return problems


def _agrees(row: Row, found: Row) -> bool:
    return not _wrong(row, found)


def _wrong(row: Row, found: Row) -> dict[str, tuple[Any, Any]]:
    """Columns that differ: expected, found."""
    wrong = {name: (value, found[name]) for name, value in row.items() if name not in _TIMES and found[name] != value}
    for name in _TIMES:
        # A start after its end is moved to the end.
        if name in row and not (
            _close(row[name], found[name])
            or (name == "ts_start" and row["ts_start"] > row["ts"] and _close(row["ts"], found["ts_start"]))
        ):
            wrong[name] = (row[name], found[name])
    return wrong


def _close(one: int, other: int) -> bool:
    apart = (one - other) % _WRAP
    return min(apart, _WRAP - apart) <= _TOLERANCE_MS


def _text(octets: bytes) -> str:
    if not any(octets):
        return ""
    address = ip_address(octets)
    return str(getattr(address, "ipv4_mapped", None) or address)
