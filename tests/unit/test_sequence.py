"""Sequence numbers by version, clocks, and what the exporting process says it sent."""

import struct

import pytest

from collector.capture import Capture
from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.decoder.sequence import MESSAGES_A_SECOND, RECORDS_A_SECOND, UNKNOWN, Sequence
from collector.settings import DecoderSettings
from tests.shared import shared_folder
from tests.wire import NOW, UPTIME, add, counts, flowset, options9, options10, template

FLOWS = template(256, (7, 2))


def v5(number: int, flows: int, uptime: int = UPTIME, now: int = NOW) -> bytes:
    return struct.pack("!HHIIIIBBH", 5, flows, uptime, now, 0, number, 0, 0, 0) + bytes(48 * flows)


def v9(number: int, *sets: bytes, uptime: int = UPTIME, now: int = NOW) -> bytes:
    return struct.pack("!HHIIII", 9, 10, uptime, now, number, 1) + b"".join(sets)


def ipfix(number: int, *sets: bytes, now: int = NOW) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), now, number, 1) + body


def flows(count: int, number: int = 256) -> bytes:
    return flowset(number, bytes(2 * count))


def sflow(number: int, uptime: int = UPTIME) -> bytes:
    return struct.pack("!IIIIIII", 5, 1, 0xC0000201, 0, number, uptime, 0)


def sequences(*payloads: bytes) -> dict[str, int]:
    one = Decoder(DecoderSettings(), "test")
    add(one, *payloads)
    one.close()
    return {name[9:]: value for name, value in counts(one).items() if name.startswith("sequence_")}


def test_v5_counts_flows() -> None:
    assert sequences(v5(100, 3), v5(103, 2), v5(105, 1)) == {}
    assert sequences(v5(100, 3), v5(110, 2)) == {"missed": 7}


def test_v9_counts_messages() -> None:
    assert sequences(v9(7, flowset(0, FLOWS), flows(3)), v9(8, flows(9)), v9(9, flows(1))) == {}
    assert sequences(v9(7, flowset(0, FLOWS)), v9(12, flows(9))) == {"missed": 4}


def test_ipfix_counts_records_options_included_templates_not() -> None:
    options = flowset(3, options10(300, 1, (143, 4), (41, 4)))
    told = flowset(300, struct.pack("!II", 1, 5) * 2)
    assert sequences(
        ipfix(50, flowset(2, FLOWS), options), ipfix(50, flows(3), told), ipfix(55, flows(1)), ipfix(58, flows(1))
    ) == {"missed": 2}


def test_of_a_message_that_waits_for_its_template_the_count_is_unknown() -> None:
    assert sequences(ipfix(0x10, flows(3, 999)), ipfix(0x13, flowset(2, FLOWS)), ipfix(0x13, flows(2))) == {}
    assert sequences(
        ipfix(10, flowset(2, FLOWS), flows(2)), ipfix(12, flows(4, 999)), ipfix(16, flows(1)), ipfix(18, flows(1))
    ) == {"missed": 1}


def test_sflow_counts_datagrams() -> None:
    assert sequences(sflow(1), sflow(2), sflow(5), sflow(4)) == {"missed": 1, "out_of_order": 1}
    assert sequences(sflow(900), sflow(1, uptime=10), sflow(2, uptime=20)) == {"reset": 1}


def test_repeats_and_late_ones_are_no_loss() -> None:
    sent = [v9(number, flowset(0, FLOWS)) for number in range(1, 9)]
    assert sequences(*sent[:3], sent[1], *sent[3:]) == {"duplicate": 1}
    assert sequences(sent[0], sent[2], sent[1], *sent[3:]) == {"out_of_order": 1}


def test_a_restarted_device_is_a_reset() -> None:
    assert sequences(v9(10**9), v9(10**9 + 1), v9(0, uptime=500, now=NOW + 120), v9(1, uptime=900, now=NOW + 120)) == {
        "reset": 1
    }
    # IPFIX says no uptime: the second message in a row convinces.
    old = [ipfix(4 * 10**9 + 2 * at, flowset(2, FLOWS), flows(2)) for at in range(3)]
    new = [ipfix(2 * at, flowset(2, FLOWS), flows(2)) for at in range(3)]
    assert sequences(*old, *new) == {"reset": 1}


def test_a_wrapped_uptime_is_no_reset() -> None:
    assert sequences(v9(5, uptime=2**32 - 1000), v9(6, uptime=1000, now=NOW + 2)) == {}
    assert sequences(v5(2**32 - 2, 3), v5(1, 4), v5(5, 1)) == {}


def test_messages_that_are_not_numbered_are_not_judged() -> None:
    assert sequences(*[v9(0, flowset(0, FLOWS))] * 20) == {}


def test_a_gap_of_a_quiet_exporter_is_settled_by_time() -> None:
    one = Sequence(True, MESSAGES_A_SECOND)
    for number in (1, 2, 4):
        one.follow(number, 1, NOW, UPTIME, NOW * 1000)
    one.settle(NOW * 1000 + 9_000)
    assert one.missed == 0
    one.settle(NOW * 1000 + 11_000)
    assert one.missed == 1
    one.follow(5, UNKNOWN, NOW, UPTIME, NOW * 1000)
    assert one.next == UNKNOWN


def test_a_stream_that_counts_its_own_records_too_is_understood() -> None:
    """As softflowd's IPFIX: the number is that of all records sent, those of the message included."""
    one = Sequence(False, RECORDS_A_SECOND)
    total = 0
    for units in (20, 25, 30, 26, 29, 28, 27, 31, 22):
        total += units
        one.follow(total, units, NOW, 0, NOW * 1000)
    one.follow(total + 40 + 10, 10, NOW, 0, NOW * 1000)
    one.close()
    assert one.take() == [("sequence_missed", 40)]


def test_clock_skew_is_export_time_against_arrival() -> None:
    one = Decoder(DecoderSettings(), "test")  # messages arrive a second after NOW
    add(one, v9(1), v9(2, now=NOW + 11), v9(3, now=NOW - 700), v9(4, now=0))
    counted = counts(one)
    assert counted["clock_skew_ms"] == 1_000 + 10_000 + 701_000
    assert counted["clock_skew_messages"] == 1


def test_what_the_exporter_says_it_sent_shows_what_did_not_come() -> None:
    one = Decoder(DecoderSettings(), "test")
    told = flowset(1, options9(300, [(1, 4)], (40, 8), (41, 8), (42, 8)))

    def say(number: int, octets: int, messages: int, records: int) -> bytes:
        return v9(number, told, flowset(300, struct.pack("!IQQQ", 0, octets, messages, records)))

    add(one, say(1, 1000, 10, 100), v9(2), v9(3), say(4, 1600, 13, 160))
    counted = counts(one)
    assert (counted["told_octets"], counted["told_messages"], counted["told_records"]) == (600, 3, 60)
    assert "told_messages_missed" not in counted
    add(one, v9(5), say(6, 2000, 20, 200))
    assert counts(one)["told_messages_missed"] == 5
    add(one, say(7, 50, 1, 5), say(8, 60, 2, 6))  # begun anew: a new base
    assert counts(one)["told_messages"] == 1


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "v5_softflowd_live", "v9_softflowd_sampled10", "v9_pmacctd_nfprobe", "ipfix_softflowd_live",
        "ipfix_softflowd_micro", "ipfix_softflowd_ether_milli", "psamp_softflowd", "sflow_pmacctd_sfprobe",
    ],
)  # fmt: skip
def test_captures_made_over_loopback_missed_nothing(name: str) -> None:
    one = Decoder(DecoderSettings(), "test")
    for each in Capture(shared_folder("captures", "pcap", f"{name}.pcap")):
        one.add(Datagrams([each.exporter], [memoryview(each.payload)], each.time_ms))
    one.close()
    assert {name: value for name, value in counts(one).items() if name.startswith("sequence_")} == {}


@pytest.mark.shared
def test_a_router_heard_by_a_filter_missed_what_its_numbers_say() -> None:
    """v9_ak_iosxr_full: numbers 44796855, 44796856, 44796985 and 44797001, so 128 and 15."""
    one = Decoder(DecoderSettings(), "test")
    for each in Capture(shared_folder("captures", "pcap", "v9_ak_iosxr_full.pcap")):
        one.add(Datagrams([each.exporter], [memoryview(each.payload)], each.time_ms))
    one.close()
    assert counts(one)["sequence_missed"] == 143
