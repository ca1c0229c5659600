"""A small encoder of NetFlow v9 and IPFIX for tests; it shares no code with the decoder."""

import struct
from collections.abc import Sequence
from typing import Any

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from sinks.batch import Batch

NOW = 1_700_000_000
"""Export time of all messages, s; they arrive one second later."""
UPTIME = 3_600_000
Field = tuple[int, int] | tuple[int, int, int]


def flowset(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, len(body) + 4) + body


def template(number: int, *fields: Field) -> bytes:
    """A template record of v9 or IPFIX; a third number of a field is its PEN."""
    return struct.pack("!HH", number, len(fields)) + b"".join(map(_field, fields))


def options9(number: int, scopes: Sequence[tuple[int, int]], *fields: tuple[int, int]) -> bytes:
    head = struct.pack("!HHH", number, 4 * len(scopes), 4 * len(fields))
    return head + b"".join(map(_field, [*scopes, *fields]))


def options10(number: int, scopes: int, *fields: Field) -> bytes:
    return struct.pack("!HHH", number, len(fields), scopes) + b"".join(map(_field, fields))


def _field(field: Field) -> bytes:
    if len(field) == 3:
        return struct.pack("!HHI", field[0] | 0x8000, field[1], field[2])
    return struct.pack("!HH", *field)


def v9(*sets: bytes, domain: int = 1, count: int = 100, uptime: int = UPTIME, now: int = NOW) -> bytes:
    return struct.pack("!HHIIII", 9, count, uptime, now, 0, domain) + b"".join(sets)


def ipfix(*sets: bytes, domain: int = 1, now: int = NOW) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), now, 0, domain) + body


def add(decoder: Decoder, *payloads: bytes, exporter: str = "192.0.2.1", cut: bool = False) -> None:
    for payload in payloads:
        truncated = frozenset({0}) if cut else frozenset[int]()
        decoder.add(Datagrams([exporter], [memoryview(payload)], (NOW + 1) * 1000, truncated))


def take(decoder: Decoder) -> Batch | None:
    """All that waits, as one batch; for samplers too."""
    batches = []
    while (batch := decoder.take()) is not None:
        batches.append(batch)
    decoder.flush()
    if (batch := decoder.take()) is not None:
        batches.append(batch)
    return Batch.concat(batches) if batches else None


def rows(decoder: Decoder, *names: str) -> list[tuple[Any, ...]]:
    """The named columns of all that waits, row by row; addresses as bytes, times as Unix ms."""
    batch = take(decoder)
    if batch is None:
        return []
    found = []
    for name in names:
        array = batch.columns[name]
        if name in batch.labels:
            found.append(batch.text(name))
        elif array.dtype.kind == "V":
            found.append([value.tobytes() for value in array])
        else:
            found.append(array.view("i8").tolist() if array.dtype.kind == "M" else array.tolist())
    return list(zip(*found, strict=True))


def counts(decoder: Decoder) -> dict[str, int]:
    """Counters since the last call, over all exporters and domains."""
    totals: dict[str, int] = {}
    for count in decoder.take_counts():
        totals[count.counter] = totals.get(count.counter, 0) + count.value
    return totals


def total(counted: dict[str, int], prefix: str) -> int:
    """Sum of the counters that begin so."""
    return sum(value for name, value in counted.items() if name.startswith(prefix))


def assert_adds_up(counted: dict[str, int], waiting_sets: int) -> None:
    """What came in is what came out, at every level."""
    get = counted.get
    assert get("datagrams", 0) == (
        get("datagrams_decoded", 0) + get("datagrams_held", 0) + total(counted, "datagrams_dropped_")
    ), counted
    assert get("sets", 0) == get("sets_decoded", 0) + get("sets_held", 0) + total(counted, "sets_dropped_"), counted
    assert get("sets_held", 0) == get("held_decoded", 0) + total(counted, "held_dropped_") + waiting_sets, counted
    assert get("templates", 0) == (
        get("templates_accepted", 0) + get("templates_withdrawn", 0) + total(counted, "templates_dropped_")
    ), counted
    kinds = ("flow", "counter", "discarded_packet", "skipped")
    assert get("samples", 0) == (
        sum(get(f"samples_{kind}", 0) for kind in kinds) + total(counted, "samples_dropped_")
    ), counted
    assert get("sample_records", 0) == (
        get("sample_records_read", 0) + get("sample_records_skipped", 0) + total(counted, "sample_records_dropped_")
    ), counted
