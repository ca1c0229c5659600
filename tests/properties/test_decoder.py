"""Laws of the decoder: any bytes are survived, records survive the wire, and it all adds up."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.netflow import (
    NetflowDataflowsetV9,
    NetflowFlowsetV9,
    NetflowHeader,
    NetflowHeaderV9,
    NetflowTemplateFieldV9,
    NetflowTemplateV9,
)

from collector.decoder import COUNTERS, Decoder
from collector.settings import DecoderSettings
from tests.wire import add, assert_adds_up, counts, flowset, ipfix, options9, options10, rows, take, template, v9

# Elements that matter, each at any length, good and bad.
ELEMENTS = [
    1,
    2,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    15,
    21,
    22,
    27,
    28,
    32,
    34,
    48,
    60,
    150,
    152,
    153,
    154,
    158,
    160,
    302,
    305,
    306,
]
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [1, 2, 4, 5, 6, 7, 8, 10, 12, 15, 21, 22, 27, 28, 32, 34, 48, 60, 152, 153, 154, 160, 302, 305]
        ),
        st.sampled_from([0, 1, 2, 3, 4, 5, 8, 16, 17]),
        st.sampled_from([0, 0, 0, 29_305]),
    ),
    min_size=1,
    max_size=12,
)


def field(specifier: tuple[int, int, int]) -> tuple[int, int] | tuple[int, int, int]:
    element, length, pen = specifier
    return (element, length, pen) if pen else (element, length)


def check(decoder: Decoder, datagrams: int) -> None:
    batch = take(decoder)
    counted = counts(decoder)
    assert set(counted) <= set(COUNTERS)
    assert counted.get("datagrams", 0) == datagrams
    assert counted.get("rows", 0) == (len(batch) if batch else 0)
    assert counted.get("rows", 0) == counted.get("records_flow", 0) + counted.get("rows_reverse", 0)
    assert_adds_up(counted, decoder.held()[0])
    if batch:
        assert (batch.columns["sampling"] > 0).all()
        assert (batch.columns["octets"] >= 0).all()
        assert (batch.columns["ts_start"] <= batch.columns["ts"]).all()


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes(payloads: list[bytes], cut: bool) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, *payloads, cut=cut)
    check(decoder, len(payloads))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([9, 10]),
            st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 255, 256, 257]), st.binary(max_size=60)), max_size=6),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_any_sets(messages: list[tuple[int, list[tuple[int, bytes]]]], cut: bool) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    for version, sets in messages:
        bodies = [flowset(number, body) for number, body in sets]
        add(decoder, v9(*bodies) if version == 9 else ipfix(*bodies), cut=cut)
    check(decoder, len(messages))


@settings(max_examples=300)
@given(FIELDS, st.binary(max_size=400), st.booleans(), st.booleans())
def test_any_template_and_any_records(
    fields: list[tuple[int, int, int]], body: bytes, is_v9: bool, options: bool
) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    if is_v9:
        plain = [(element, length) for element, length, _ in fields]
        head = flowset(1, options9(256, plain[:1], *plain[1:])) if options else flowset(0, template(256, *plain))
        add(decoder, v9(head, flowset(256, body)))
    else:
        told = [field(each) for each in fields]
        head = flowset(3, options10(256, 1, *told)) if options else flowset(2, template(256, *told))
        add(decoder, ipfix(head, flowset(256, body)))
    check(decoder, 1)


@given(st.binary(max_size=300))
def test_any_state(data: bytes) -> None:
    decoder = Decoder(DecoderSettings(), "test")
    try:
        decoder.restore(data)
    except ValueError:
        assert decoder.templates() == 0


PORTS = st.tuples(
    st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255),
    st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1),
)  # fmt: skip


@given(st.lists(PORTS, min_size=1, max_size=30), st.integers(0, 3))
def test_records_survive_the_wire(records: list[tuple[int, ...]], padding: int) -> None:
    """RFC 7011 section 3.3.1: padding is shorter than a record."""
    fields = (7, 2), (10, 4), (16, 4), (4, 1), (2, 4), (1, 4)
    body = b"".join(struct.pack("!HIIBII", *record) for record in records) + bytes(padding)
    for message in (
        v9(flowset(0, template(256, *fields)), flowset(256, body)),
        ipfix(flowset(2, template(256, *fields)), flowset(256, body)),
    ):
        decoder = Decoder(DecoderSettings(), "test")
        add(decoder, message)
        assert rows(decoder, "src_port", "in_if", "src_as", "proto", "packets", "octets") == records


@settings(max_examples=30)  # scapy takes milliseconds a message
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)), min_size=1, max_size=10))
def test_scapys_v9_is_ours(records: list[tuple[int, int]]) -> None:
    """An encoder that shares nothing with us or with tests.wire."""
    announced = NetflowTemplateV9(
        templateID=260,
        template_fields=[
            NetflowTemplateFieldV9(fieldType=1, fieldLength=4),
            NetflowTemplateFieldV9(fieldType=7, fieldLength=2),
        ],
    )
    body = b"".join(struct.pack("!IH", *record) for record in records)
    message = (
        NetflowHeader(version=9)
        / NetflowHeaderV9(count=2, SourceID=4, unixSecs=1_700_000_000, sysUptime=5)
        / NetflowFlowsetV9(templates=[announced])
        / NetflowDataflowsetV9(templateID=260, records=[body])
    )
    decoder = Decoder(DecoderSettings(), "test")
    add(decoder, bytes(message))
    assert rows(decoder, "octets", "src_port", "domain") == [(*record, 4) for record in records]
