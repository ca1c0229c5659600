"""``flowtide replay FILE --decode``: the flow records of a capture as rows, with fresh state and times as they are."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collector.capture import Capture, CaptureError
from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from sinks.batch import Batch
from sinks.schema import RAW, Column

Format = Literal["csv", "jsonl", "parquet", "table"]
NAMES = tuple(column.name for column in RAW)
"""The header: what the decoder fills, in the order of the schema."""

_COLLECTOR = "replay"
_VERSIONS = (b"\0\x05", b"\0\x09", b"\0\x0a")
_SFLOW5 = b"\0\0\0\x05"
_MAPPED = bytes(10) + b"\xff\xff"


class OutputError(CaptureError):
    """The rows cannot be written there; says what, where and what to do."""


def decode_file(
    path: Path,
    output_format: Format,
    out: Path | Literal["-"] = "-",
    reverse: bool = False,
    report: TextIO | None = None,
) -> int:
    """Write one row a record to ``out`` (``-``: standard output); the number of rows.

    What was not decoded is told on ``report`` (standard error), by reason.  CaptureError when the file cannot be read
    (what came before it breaks off is written), OutputError when the rows cannot be written.
    """
    capture = Capture(path)
    settings = DecoderSettings(times=TRUST_ALL, reverse=reverse)
    decoder = Decoder(settings, _COLLECTOR)
    foreign: Counter[str] = Counter()
    broken: list[CaptureError] = []
    batches = _batches(capture, decoder, foreign, broken)
    # Nothing is made where the capture cannot be read at all.
    first = next(batches, None)
    if broken and first is None:
        raise broken[0]
    try:
        with ExitStack() as files:
            file: BinaryIO = sys.stdout.buffer if out == "-" else files.enter_context(out.open("wb"))
            rows = _WRITERS[output_format](_chain(first, batches), file)
            file.flush()
    except BrokenPipeError:
        rows = 0  # the reader has seen enough
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or error}; name a file that can be written") from error
    _tell(report or sys.stderr, capture, decoder, foreign, rows)
    if broken:
        raise broken[0]
    return rows


def _batches(capture: Capture, decoder: Decoder, foreign: Counter[str], broken: list[CaptureError]) -> Iterator[Batch]:
    try:
        for datagram in capture:
            payload = datagram.payload
            if payload[:2] not in _VERSIONS and payload[:4] != _SFLOW5:
                foreign["datagrams_not_flow_messages"] += 1
                continue
            cut = frozenset({0}) if datagram.is_cut else frozenset()
            decoder.add(Datagrams([datagram.exporter], [memoryview(payload)], datagram.time_ms, cut))
            if decoder.waiting() >= 65_536:
                yield from _taken(decoder)
    except CaptureError as error:
        broken.append(error)
    yield from _taken(decoder)
    decoder.flush()
    yield from _taken(decoder)


def _taken(decoder: Decoder) -> Iterator[Batch]:
    while (batch := decoder.take()) is not None:
        yield batch


def _chain(first: Batch | None, rest: Iterator[Batch]) -> Iterator[Batch]:
    if first is not None:
        yield first
        yield from rest


def _tell(report: TextIO, capture: Capture, decoder: Decoder, foreign: Counter[str], rows: int) -> None:
    counts = capture.counts
    found: Counter[str] = Counter(foreign)
    for count in decoder.take_counts():
        found[count.counter] += count.value
    for name in ("not_udp", "fragments", "malformed", "cut"):
        found[f"packets_{name}"] = getattr(counts, name)
    if decoder.held()[0]:
        found["sets_dropped_no_template"] = decoder.held()[0]
    print(f"{rows} rows from {found['datagrams']} datagrams of {counts.packets} packets", file=report)
    for name in sorted(found):
        if found[name] and ("dropped" in name or name.startswith(("packets_", "datagrams_not"))):
            print(f"  {name} {found[name]}", file=report)


def _write_csv(batches: Iterator[Batch], file: BinaryIO) -> int:
    rows = 0
    text = _Text(file)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NAMES)
    for batch in batches:
        writer.writerows(zip(*_texts(batch), strict=True))
        rows += len(batch)
    return rows


def _write_jsonl(batches: Iterator[Batch], file: BinaryIO) -> int:
    rows = 0
    for batch in batches:
        for row in zip(*_texts(batch), strict=True):
            file.write(json.dumps(dict(zip(NAMES, row, strict=True))).encode() + b"\n")
        rows += len(batch)
    return rows


def _write_table(batches: Iterator[Batch], file: BinaryIO) -> int:
    """Aligned columns; all rows are in memory, as the widest decides."""
    lines = [NAMES]
    for batch in batches:
        lines += [tuple(str(value) for value in row) for row in zip(*_texts(batch), strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True))
        file.write(padded.rstrip().encode() + b"\n")
    return len(lines) - 1


def _write_parquet(batches: Iterator[Batch], file: BinaryIO) -> int:
    schema = pa.schema([(column.name, _parquet_type(column)) for column in RAW])
    rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            arrays = [pa.array(_parquet_values(batch, column), _parquet_type(column)) for column in RAW]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            rows += len(batch)
    return rows


_WRITERS: dict[str, Callable[[Iterator[Batch], BinaryIO], int]] = {
    "csv": _write_csv, "jsonl": _write_jsonl, "table": _write_table, "parquet": _write_parquet,
}  # fmt: skip


class _Text:
    """What ``csv`` writes to: text onto a binary file that stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def _parquet_type(column: Column) -> pa.DataType:
    if column.is_label or column.dtype == "V16":
        return pa.string()
    if column.dtype == "M8[ms]":
        return pa.timestamp("ms", "UTC")
    return pa.from_numpy_dtype(column.numpy)


def _parquet_values(batch: Batch, column: Column) -> Any:
    if column.is_label or column.dtype == "V16":
        return _column_texts(batch, column)
    return batch.columns[column.name]


def _texts(batch: Batch) -> list[Sequence[object]]:
    return [_column_texts(batch, column) for column in RAW]


def _column_texts(batch: Batch, column: Column) -> list[Any]:
    array = batch.columns[column.name]
    if column.is_label:
        return batch.text(column.name)
    if column.dtype == "V16":
        known = {octets: address_text(octets) for octets in {value.tobytes() for value in array}}
        return [known[value.tobytes()] for value in array]
    if column.dtype == "M8[ms]":
        return [text.replace("T", " ") for text in np.datetime_as_string(array, "ms").tolist()]
    values: list[Any] = array.tolist()
    return values


def address_text(octets: bytes) -> str:
    """IPv4 dotted, IPv6 as RFC 5952 has it; unset: empty."""
    if octets[:12] == _MAPPED:
        return str(IPv4Address(octets[12:]))
    return str(IPv6Address(octets)) if any(octets) else ""
