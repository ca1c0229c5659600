"""Flow times from every kind of element, wraps, bounds and what is missing."""

import struct

import numpy as np
import pytest

from collector.decoder import Decoder
from collector.decoder.times import ntp_milliseconds
from collector.settings import DecoderSettings, TimeSettings
from sinks.schema import Flag
from tests.wire import NOW, UPTIME, add, counts, flowset, ipfix, options10, rows, template, v9

EXPORT = NOW * 1000
RECEIVED = (NOW + 1) * 1000
NTP = 2_208_988_800


def times(
    message: bytes, settings: TimeSettings | None = None, decoder: Decoder | None = None
) -> list[tuple[object, ...]]:
    one = decoder or Decoder(DecoderSettings(times=settings or TimeSettings()), "test")
    add(one, message)
    return rows(one, "ts_start", "ts", "flags")


def from_v9(first: int, last: int, uptime: int = UPTIME, settings: TimeSettings | None = None) -> tuple[object, ...]:
    sets = flowset(0, template(256, (22, 4), (21, 4))), flowset(256, struct.pack("!II", first % 2**32, last % 2**32))
    return times(v9(*sets, uptime=uptime % 2**32), settings)[0]


def from_ipfix(*fields: tuple[int, bytes], settings: TimeSettings | None = None) -> tuple[object, ...]:
    sets = (
        flowset(2, template(256, *((number, len(value)) for number, value in fields))),
        flowset(256, b"".join(value for _, value in fields)),
    )
    return times(ipfix(*sets), settings)[0]


def test_v9_counts_from_the_headers_uptime() -> None:
    assert from_v9(UPTIME - 5000, UPTIME - 1000) == (EXPORT - 5000, EXPORT - 1000, 0)


@pytest.mark.parametrize("uptime", [0, 1500, 2**32 - 1, 2**31])
def test_uptime_counts_2_to_the_32_and_begins_again(uptime: int) -> None:
    assert from_v9(uptime - 5000, uptime - 1000, uptime) == (EXPORT - 5000, EXPORT - 1000, 0)


def test_a_flow_that_ends_just_after_its_header_is_believed() -> None:
    assert from_v9(UPTIME - 5, UPTIME + 10) == (EXPORT - 5, EXPORT + 10, 0)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((150, struct.pack("!I", NOW - 9)), (151, struct.pack("!I", NOW - 4))),
        ((152, struct.pack("!Q", EXPORT - 9000)), (153, struct.pack("!Q", EXPORT - 4000))),
        ((154, struct.pack("!II", NOW - 9 + NTP, 0)), (155, struct.pack("!II", NOW - 4 + NTP, 0))),
        ((156, struct.pack("!II", NOW - 9 + NTP, 0)), (157, struct.pack("!II", NOW - 4 + NTP, 0))),
        ((158, struct.pack("!I", 9_000_000)), (159, struct.pack("!I", 4_000_000))),
    ],
)
def test_ipfix_elements(start: tuple[int, bytes], end: tuple[int, bytes]) -> None:
    assert from_ipfix(start, end) == (EXPORT - 9000, EXPORT - 4000, 0)
    assert from_ipfix(end) == (EXPORT - 4000, EXPORT - 4000, 0)  # one of the two stands for both
    assert from_ipfix(start) == (EXPORT - 9000, EXPORT - 9000, 0)


def test_ntp_fractions() -> None:
    """RFC 7011 section 6.1.9: the fraction counts 2^-32 s."""
    halves = np.array([(NTP + 5 << 32) + 2**31, NTP << 32, (1 << 32) + 2**30], ">u8")
    after_2036 = 2**32 - NTP + 1  # era 1 begins in 2036
    assert ntp_milliseconds(halves).tolist() == [5500, 0, after_2036 * 1000 + 250]


def test_ipfix_uptime_with_the_init_time_of_the_record() -> None:
    init = EXPORT - 100_000
    fields = (160, struct.pack("!Q", init)), (22, struct.pack("!I", 91_000)), (21, struct.pack("!I", 96_000))
    assert from_ipfix(*fields) == (EXPORT - 9000, EXPORT - 4000, 0)


@pytest.mark.parametrize("options_first", [True, False])
def test_ipfix_uptime_with_the_init_time_of_options_data(options_first: bool) -> None:
    up = 2**32 + 100_000  # longer than the counter can tell
    options = flowset(300, bytes(4) + struct.pack("!Q", EXPORT - up))
    data = flowset(256, struct.pack("!II", up - 9000 - 2**32, up - 4000 - 2**32))
    head = flowset(2, template(256, (22, 4), (21, 4))), flowset(3, options10(300, 1, (143, 4), (160, 8)))
    body = (options, data) if options_first else (data, options)
    assert times(ipfix(*head, *body)) == [(EXPORT - 9000, EXPORT - 4000, 0)]


def test_ipfix_uptime_without_init_time_is_no_time() -> None:
    fields = (22, struct.pack("!I", 91_000)), (21, struct.pack("!I", 96_000))
    assert from_ipfix(*fields) == (EXPORT, EXPORT, Flag.NO_FLOW_TIME)


def test_no_time_and_time_zero_are_export_time() -> None:
    assert from_ipfix((7, b"\0\x50")) == (EXPORT, EXPORT, Flag.NO_FLOW_TIME)
    assert from_ipfix((152, bytes(8)), (153, bytes(8))) == (EXPORT, EXPORT, Flag.NO_FLOW_TIME)
    assert from_ipfix((152, bytes(8)), (153, struct.pack("!Q", EXPORT - 7))) == (EXPORT - 7, EXPORT - 7, 0)


def test_a_start_after_its_end_is_moved_to_the_end() -> None:
    assert from_v9(UPTIME - 1000, UPTIME - 5000) == (EXPORT - 5000, EXPORT - 5000, 0)


DAY = 86_400_000


def at(end: int, settings: TimeSettings | None = None) -> tuple[object, ...]:
    return from_ipfix((152, struct.pack("!Q", end)), (153, struct.pack("!Q", end)), settings=settings)


def test_an_end_within_a_day_of_the_export_is_believed() -> None:
    assert at(EXPORT - DAY) == (EXPORT - DAY, EXPORT - DAY, 0)
    assert at(EXPORT - DAY - 1) == (RECEIVED, RECEIVED, Flag.TIME_OUT_OF_BOUNDS)
    assert at(EXPORT + DAY + 1) == (RECEIVED, RECEIVED, Flag.TIME_OUT_OF_BOUNDS)


def test_trusted_exporters_are_believed_but_no_nonsense() -> None:
    trusted = TimeSettings(trusted=("192.0.2.0/24",))
    assert at(EXPORT - 400 * DAY, trusted) == (EXPORT - 400 * DAY, EXPORT - 400 * DAY, 0)
    assert at(2**63, trusted) == (RECEIVED, RECEIVED, Flag.TIME_OUT_OF_BOUNDS)
    assert at(2**64 - 1, trusted) == (RECEIVED, RECEIVED, Flag.TIME_OUT_OF_BOUNDS)
    assert at(EXPORT - 400 * DAY, TimeSettings(trusted=("198.51.100.0/24",)))[2] == Flag.TIME_OUT_OF_BOUNDS


def test_an_exporter_whose_clock_is_off_is_not_believed_and_counted() -> None:
    decoder = Decoder(DecoderSettings(), "test")
    sets = flowset(0, template(256, (22, 4), (21, 4))), flowset(256, struct.pack("!II", UPTIME, UPTIME))
    found = times(v9(*sets, now=NOW - 700), decoder=decoder)
    assert found == [(RECEIVED, RECEIVED, Flag.TIME_OUT_OF_BOUNDS)]
    assert counts(decoder)["rows_time_out_of_bounds"] == 1


def test_a_long_flow_keeps_its_end() -> None:
    assert from_v9(UPTIME - 3_600_000, UPTIME, uptime=UPTIME) == (EXPORT - 3_600_000, EXPORT, 0)
    start = UPTIME - 3_600_001
    assert from_v9(start, UPTIME) == (EXPORT - 3_600_000, EXPORT, Flag.LONG_DURATION)
    trusted = TimeSettings(trusted=("::/0", "0.0.0.0/0"))
    assert from_v9(start, UPTIME, settings=trusted) == (EXPORT - 3_600_001, EXPORT, 0)
