"""Sampling intervals: what options data says, precedence, and what is not known."""

import struct

import pytest

from collector.decoder import Decoder
from collector.decoder.sampling import interval_of
from collector.settings import DecoderSettings, SamplingSettings
from sinks.schema import Flag, SamplingSource
from tests.wire import add, counts, flowset, ipfix, options9, options10, rows, template, v9

DOMAIN9 = flowset(1, options9(300, [(1, 4)], (34, 4)))
"""scope system, samplingInterval"""
FLOWS = flowset(0, template(256, (10, 2), (14, 2)))


def domain9(interval: int) -> bytes:
    return flowset(300, struct.pack("!II", 0, interval))


def flow(in_if: int = 1, out_if: int = 2) -> bytes:
    return flowset(256, struct.pack("!HH", in_if, out_if))


def decoder(**settings: object) -> Decoder:
    return Decoder(DecoderSettings(sampling=SamplingSettings.model_validate(settings)), "test")


def sampling(one: Decoder) -> list[tuple[object, ...]]:
    return rows(one, "sampling", "sampling_source")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({34: 100}, 100),
        ({34: 0}, None),
        ({50: 200, 34: 100}, 200),
        ({305: 1, 306: 99}, 100),
        ({305: 10, 306: 990}, 100),
        ({305: 1, 306: 0}, 1),
        ({305: 1000}, 1000),  # without a space it can only mean N
        ({309: 1, 310: 256, 305: 1, 304: 3}, 256),  # Cisco's random sampler
        ({309: 2, 310: 256}, 128),
        ({304: 1, 305: 1, 306: 9, 309: 1, 310: 5}, 10),  # systematic count: packets and space are meant
        ({305: 0, 306: 9}, None),
        ({160: 5}, None),
        ({34: 2**63}, 2**32 - 1),
    ],
)
def test_the_interval_of_an_options_record(said: dict[int, int], expected: int | None) -> None:
    assert interval_of({(element, 0): value for element, value in said.items()}) == expected


@pytest.mark.parametrize(
    ("said", "probability", "expected"),
    [
        ({304: 4}, 0.001, 1000),  # uniform probabilistic
        ({304: 4}, 0.0, None),
        ({304: 4}, float("nan"), None),
        ({304: 4}, 2.0, None),
        ({34: 50}, 0.001, 50),
        ({304: 2, 307: 1000, 308: 99_000}, None, 100),  # systematic by time: 1 ms of 100
        ({304: 1, 307: 1000, 308: 99_000}, None, None),
        ({304: 2, 307: 1000, 308: 0}, None, None),
    ],
)
def test_intervals_by_chance_and_by_time(said: dict[int, int], probability: float | None, expected: int | None) -> None:
    assert interval_of({(element, 0): value for element, value in said.items()}, probability) == expected


@pytest.mark.parametrize("form", ["!f", "!d"])
def test_a_probability_is_a_float_of_either_length(form: str) -> None:
    one = decoder()
    said = flowset(3, options10(300, 1, (149, 4), (311, struct.calcsize(form))))
    add(one, ipfix(said, flowset(300, struct.pack("!I", 1) + struct.pack(form, 0.01))))
    add(one, ipfix(flowset(2, template(256, (7, 2))), flowset(256, b"\0\x50")))
    assert sampling(one) == [(100, SamplingSource.DOMAIN)]


def test_an_exporter_that_says_nothing_is_assumed_to_send_all() -> None:
    one = decoder()
    add(one, v9(FLOWS, flow()))
    assert sampling(one) == [(1, SamplingSource.ASSUMED)]


@pytest.mark.parametrize("options_first", [True, False])
def test_options_data_of_the_same_datagram_counts_before_and_after(options_first: bool) -> None:
    one = decoder()
    sets = (domain9(100), flow()) if options_first else (flow(), domain9(100))
    add(one, v9(FLOWS, DOMAIN9, *sets))
    assert sampling(one) == [(100, SamplingSource.DOMAIN)]


def test_a_change_counts_from_there() -> None:
    one = decoder()
    add(one, v9(FLOWS, DOMAIN9, domain9(100), flow()), v9(domain9(200), flow()), v9(flow()))
    assert sampling(one) == [(100, 4), (200, 4), (200, 4)]
    assert counts(one)["sampling_changed"] == 1


def test_an_interval_of_0_says_nothing() -> None:
    one = decoder()
    add(one, v9(FLOWS, DOMAIN9, domain9(0), flow()))
    assert sampling(one) == [(1, SamplingSource.ASSUMED)]


def test_domain_0_speaks_for_the_whole_exporter() -> None:
    one = decoder()
    add(one, v9(DOMAIN9, domain9(100), domain=0), v9(FLOWS, flow(), domain=5))
    add(one, v9(DOMAIN9, domain9(50), FLOWS, flow(), domain=6))
    assert sampling(one) == [(100, 4), (50, 4)]


def test_options_data_may_name_another_domain() -> None:
    one = decoder()
    options = flowset(3, options10(300, 1, (149, 4), (305, 4), (306, 4)))
    flows = flowset(2, template(256, (10, 2), (14, 2)))
    add(one, ipfix(flows, flow(), domain=7))
    add(one, ipfix(options, flowset(300, struct.pack("!III", 7, 1, 9)), domain=0))
    add(one, ipfix(flows, flow(), domain=8))
    assert sampling(one) == [(10, 4), (1, 8)]


SAMPLED = flowset(0, template(257, (48, 1), (10, 2)))
SAMPLERS = flowset(1, options9(301, [(1, 4)], (48, 1), (50, 4)))


def sampler(number: int, interval: int) -> bytes:
    return flowset(301, struct.pack("!IBI", 0, number, interval))


def sampled(number: int) -> bytes:
    return flowset(257, struct.pack("!BH", number, 1))


def test_the_sampler_that_a_record_names() -> None:
    one = decoder()
    add(one, v9(SAMPLED, SAMPLERS, sampler(1, 1000), sampler(2, 50), sampled(2), sampled(1)))
    assert sampling(one) == [(50, SamplingSource.SAMPLER), (1000, SamplingSource.SAMPLER)]


def test_a_sampler_that_is_not_known_is_never_silently_1() -> None:
    one = decoder(default={"0.0.0.0/0": 7})
    add(one, v9(SAMPLED, SAMPLERS, DOMAIN9, domain9(100), sampler(1, 1000), sampled(3), sampled(0)))
    none, unknown = rows(one, "sampling", "sampling_source", "flags")  # the unknown one waited for it until the end
    assert unknown == (1, SamplingSource.UNKNOWN, Flag.NO_FLOW_TIME | Flag.SAMPLING_UNKNOWN | Flag.HELD)
    assert none == (100, SamplingSource.DOMAIN, Flag.NO_FLOW_TIME)  # 0 is no sampler
    assert counts(one)["rows_sampling_unknown"] == 1


def test_samplers_of_exporters_do_not_mix() -> None:
    one = decoder()
    for number in range(1, 40):
        add(one, v9(SAMPLED, SAMPLERS, sampler(1, 10 * number)), exporter=f"192.0.2.{number}")
    for number in range(1, 40):
        add(one, v9(sampled(1)), exporter=f"192.0.2.{number}")
    assert sampling(one) == [(10 * number, 2) for number in range(1, 40)]


def test_the_interface_that_a_record_names() -> None:
    one = decoder()
    by_interface = flowset(1, options9(302, [(2, 2)], (34, 4)))
    said = flowset(302, struct.pack("!HIHI", 1, 100, 5, 500))
    add(one, v9(FLOWS, by_interface, said, flow(1, 5), flow(7, 5), flow(7, 8)))
    assert sampling(one) == [(100, 3), (500, 3), (1, SamplingSource.ASSUMED)]


def test_interface_0_is_none_in_particular() -> None:
    one = decoder()
    add(one, v9(FLOWS, flowset(1, options9(302, [(2, 2)], (34, 4))), flowset(302, struct.pack("!HI", 0, 10)), flow()))
    assert sampling(one) == [(10, SamplingSource.DOMAIN)]


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        (((34, 4),), struct.pack("!I", 64), (64, 1)),
        (((34, 4),), struct.pack("!I", 0), (100, 4)),
        (((50, 4), (34, 4)), struct.pack("!II", 32, 64), (32, 1)),
        (((305, 4), (306, 4)), struct.pack("!II", 1, 15), (16, 1)),
        (((309, 4), (310, 4)), struct.pack("!II", 2, 64), (32, 1)),
        (((305, 4), (306, 4)), struct.pack("!II", 0, 15), (100, 4)),
    ],
)
def test_what_the_record_says_itself(
    fields: tuple[tuple[int, int], ...], body: bytes, expected: tuple[int, int]
) -> None:
    one = decoder()
    add(one, v9(DOMAIN9, domain9(100), flowset(0, template(256, *fields)), flowset(256, body)))
    assert sampling(one) == [expected]


def test_settings() -> None:
    one = decoder(default={"192.0.2.0/24": 7, "192.0.2.1/32": 8}, override={"198.51.100.0/24": 9})
    for exporter in ("192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.1"):
        add(one, v9(DOMAIN9, FLOWS, SAMPLED), exporter=exporter)
        add(one, v9(flow()), exporter=exporter)
    assert sampling(one) == [(8, 6), (7, 6), (9, 7), (1, 8)]
    for exporter in ("192.0.2.1", "198.51.100.1"):
        add(one, v9(domain9(100), flow(), sampled(5)), exporter=exporter)
    assert sorted(sampling(one)) == sorted([(100, 4), (9, 7), (1, 0), (9, 7)])


def test_options_data_of_variable_length() -> None:
    """Cisco's IOS XR names its samplers at variable length, beside their interval."""
    one = decoder()
    options = flowset(3, options10(303, 1, (302, 2), (335, 65_535), (309, 4), (310, 4)))
    long_name = b"\xff" + struct.pack("!H", 300) + bytes(300)
    said = struct.pack("!H", 1) + b"\x03abc" + struct.pack("!II", 1, 256)
    said += struct.pack("!H", 2) + long_name + struct.pack("!II", 1, 512)
    said += struct.pack("!H", 3) + b"\xc8cut"  # a name longer than the set
    flows = flowset(2, template(257, (302, 8)))
    data = flowset(257, struct.pack("!QQQ", 1, 2, 3))
    add(one, ipfix(options, flowset(303, said), flows, data))
    assert sampling(one) == [(256, 2), (512, 2), (1, 0)]
    assert counts(one)["records_options"] == 2


def test_what_one_domain_can_say_is_bounded() -> None:
    one = Decoder(DecoderSettings(samplers_per_domain=3), "test")
    add(one, v9(SAMPLED, SAMPLERS, *(sampler(number, 10) for number in range(1, 9)), sampled(3), sampled(4)))
    assert sampling(one) == [(10, 2), (1, 0)]
