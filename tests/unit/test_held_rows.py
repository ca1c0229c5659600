"""Rows whose sampler is not known yet: held, told, given up; nothing is lost and nothing grows."""

import struct

import pytest

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.decoder.held_rows import ROW_BYTES
from collector.settings import DecoderSettings
from sinks.batch import Batch
from sinks.schema import Flag, SamplingSource
from tests.wire import NOW, add, counts, flowset, options9, template, v9

FLOWS = flowset(0, template(256, (48, 2), (1, 4), (2, 4)))
SAMPLERS = flowset(1, options9(300, [(1, 4)], (48, 2), (50, 4)))


def flow(*samplers: int) -> bytes:
    return flowset(256, b"".join(struct.pack("!HII", sampler, 1000 + sampler, 1) for sampler in samplers))


def sampler(number: int, interval: int) -> bytes:
    return flowset(300, struct.pack("!IHI", 0, number, interval))


def taken(decoder: Decoder) -> list[tuple[int, ...]]:
    found = []
    while (batch := decoder.take()) is not None:
        names = ("octets", "sampling", "sampling_source", "flags")
        found += list(zip(*(batch.columns[name].tolist() for name in names), strict=True))
    return [(octets, interval, source, flags & ~Flag.NO_FLOW_TIME) for octets, interval, source, flags in found]


TOLD = SamplingSource.SAMPLER.value


def test_a_row_waits_for_its_sampler_and_no_other() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(FLOWS, SAMPLERS, sampler(1, 10), flow(1, 2, 3, 0, 2)))
    assert taken(one) == [(1001, 10, TOLD, 0), (1000, 1, SamplingSource.ASSUMED, 0)]
    assert one.held_rows() == 3
    add(one, v9(sampler(2, 20)))
    assert taken(one) == [(1002, 20, TOLD, Flag.HELD)] * 2
    add(one, v9(sampler(3, 30)), exporter="192.0.2.9")  # another device's sampler 3
    assert taken(one) == []
    one.expire((NOW + 602) * 1000)
    assert taken(one) == [(1003, 1, SamplingSource.UNKNOWN, Flag.HELD | Flag.SAMPLING_UNKNOWN)]
    counted = counts(one)
    assert (counted["rows_held"], counted["rows_held_told"], counted["rows_held_given_up"]) == (3, 2, 1)
    assert counted["rows_sampling_unknown"] == 1
    assert one.held_rows() == 0


def test_a_sampler_waited_for_in_vain_is_not_waited_for_again_until_it_is_told() -> None:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(FLOWS, SAMPLERS, flow(2)))
    assert taken(one) == []
    one.expire((NOW + 602) * 1000)
    assert len(taken(one)) == 1
    add(one, v9(flow(2)))
    assert taken(one) == [(1002, 1, SamplingSource.UNKNOWN, Flag.SAMPLING_UNKNOWN)]
    add(one, v9(sampler(2, 20)), v9(flow(2)))
    assert taken(one) == [(1002, 20, TOLD, 0)]


def test_what_finds_no_room_is_not_held() -> None:
    one = Decoder(DecoderSettings(held_bytes_per_exporter=3 * ROW_BYTES, held_bytes=4 * ROW_BYTES), "test")
    for exporter in ("192.0.2.1", "192.0.2.2"):
        add(one, v9(FLOWS, *(flow(number) for number in range(1, 6))), exporter=exporter)
    rows = taken(one)
    assert one.held_rows() == 4
    assert len(rows) == 6
    assert {row[2:] for row in rows} == {(SamplingSource.UNKNOWN, Flag.SAMPLING_UNKNOWN)}


@pytest.mark.parametrize("seconds", [0, 600])
def test_a_flush_gives_out_all(seconds: int) -> None:
    one = Decoder(DecoderSettings(held_sampler_seconds=seconds), "test")
    add(one, v9(FLOWS, flow(1, 2), flow(2, 3)))
    assert len(taken(one)) == (0 if seconds else 4)
    one.flush()
    assert len(taken(one)) == (4 if seconds else 0)
    assert counts(one)["rows_sampling_unknown"] == 4


def test_reverse_halves_wait_too() -> None:
    """A biflow (RFC 5103) of a sampler that is told later: both of its rows have the interval."""
    from tests.wire import ipfix, options10

    one = Decoder(DecoderSettings(), "test")
    biflow = template(256, (302, 2), (1, 4), (2, 4), (1, 4, 29305), (2, 4, 29305))
    add(one, ipfix(flowset(2, biflow), flowset(256, struct.pack("!HIIII", 5, 100, 1, 200, 2))))
    assert taken(one) == []
    add(
        one,
        ipfix(flowset(3, options10(300, 1, (302, 2), (305, 4), (306, 4))), flowset(300, struct.pack("!HII", 5, 1, 9))),
    )
    assert sorted(taken(one)) == [(100, 10, TOLD, Flag.HELD), (200, 10, TOLD, Flag.HELD)]


def test_exporters_of_one_batch_keep_their_names() -> None:
    one = Decoder(DecoderSettings(), "test")
    exporters = [f"192.0.2.{number}" for number in range(1, 20)]
    payload = memoryview(v9(FLOWS, flow(7)))
    one.add(Datagrams(exporters, [payload] * len(exporters), NOW * 1000))
    assert one.take() is None
    for number, exporter in enumerate(exporters, 1):
        add(one, v9(SAMPLERS, sampler(7, number)), exporter=exporter)
    batch = one.take()
    assert isinstance(batch, Batch)
    told = dict(zip(batch.text("exporter"), batch.columns["sampling"].tolist(), strict=True))
    assert told == {exporter: number for number, exporter in enumerate(exporters, 1)}
