"""State over a restart."""

import json
import struct

import pytest

from collector.decoder import Decoder, StateError
from collector.settings import DecoderSettings
from tests.wire import add, counts, flowset, ipfix, options9, options10, rows, template, v9


def learnt() -> Decoder:
    one = Decoder(DecoderSettings(), "test")
    add(one, v9(flowset(0, template(256, (48, 1), (10, 2))), flowset(1, options9(301, [(2, 4)], (48, 1), (50, 4)))))
    add(one, v9(flowset(301, struct.pack("!IBI", 0, 3, 512))))
    add(one, ipfix(flowset(2, template(256, (22, 4), (7, 2, 9))), flowset(3, options10(300, 1, (143, 4), (160, 8)))))
    add(one, ipfix(flowset(300, struct.pack("!IQ", 0, 1_699_999_000_000))), exporter="2001:db8::1")
    return one


def test_decoding_goes_on_without_waiting_for_templates() -> None:
    before = learnt()
    after = Decoder(DecoderSettings(), "test")
    assert after.restore(before.state()) == 4
    for one in (before, after):
        add(one, v9(flowset(256, struct.pack("!BH", 3, 7))))
        add(one, v9(flowset(301, struct.pack("!IBI", 0, 4, 99)), flowset(256, struct.pack("!BH", 4, 7))))
        assert rows(one, "in_if", "sampling", "sampling_source") == [(7, 512, 2), (7, 99, 2)]
    assert after.state() == before.state()
    assert counts(after)["sets_decoded"] == 3


def test_a_restored_state_is_bounded_as_any() -> None:
    small = Decoder(DecoderSettings(templates_per_exporter=2, domains=1), "test")
    small.restore(learnt().state())
    assert small.templates() <= 2


GOOD = json.loads(learnt().state())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"{}",
        json.dumps({**GOOD, "version": 2}).encode(),
        json.dumps({**GOOD, "more": 1}).encode(),
        json.dumps({**GOOD, "domains": [{**GOOD["domains"][0], "number": -1}]}).encode(),
        json.dumps({**GOOD, "domains": [{**GOOD["domains"][0], "version": 7}]}).encode(),
        json.dumps({**GOOD, "domains": [*GOOD["domains"], {"exporter": "192.0.2.1"}]}).encode(),
        learnt().state()[:-7],
    ],
)
def test_a_bad_state_is_refused_whole_with_a_reason(data: bytes) -> None:
    one = Decoder(DecoderSettings(), "test")
    with pytest.raises(StateError, match="decoder state refused: "):
        one.restore(data)
    assert one.templates() == 0
