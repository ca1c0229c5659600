"""Messages of NetFlow v9 and IPFIX, read back by scapy: an encoder and a reader that share nothing."""

import struct
from typing import Any

import numpy as np
import pytest
from scapy.layers.netflow import NetflowHeader, netflowv9_defragment

from flowtide.simulator.encoder import MessageEncoder, Template, data_set, template_set
from flowtide.simulator.templates import announcements, flow_sets, interface_names
from tests.unit.test_simulator_wire import NOW_MS, drawn


def dissect(datagrams: list[bytes]) -> tuple[list[Any], list[Any], list[Any]]:
    """Headers, flow records and options records as scapy reads them, templates applied."""
    messages = netflowv9_defragment([NetflowHeader(datagram) for datagram in datagrams])
    headers: list[Any] = []
    flows: list[Any] = []
    options: list[Any] = []
    for message in messages:
        headers.append(message.payload)
        layer = message.payload.payload
        while layer and layer.name != "NoPayload":
            # Only the layer's own records: scapy looks a missing name up in the layers above.
            for record in layer.fields.get("records", []):
                kind = type(record).__name__
                if kind != "Padding":
                    (options if "Options" in kind else flows).append(record)
            layer = layer.payload
    return headers, flows, options


def test_netflow_9_is_what_scapy_reads() -> None:
    encoder = MessageEncoder(9, domain=7, boot_ms=NOW_MS - 5_000_123)
    template = Template(300, ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (2, 4), (1, 4), (22, 4), (21, 4)))
    records = template.records(
        3,
        {
            8: np.array([0xC0000201, 0xC0000202, 0xC0000203], "u4"), 12: 0xC6336401, 7: [443, 80, 53], 11: 50_000,
            4: [6, 6, 17], 2: [1, 2, 3], 1: [100, 2**32 - 1, 7], 22: encoder.uptime(NOW_MS - 2_000),
            21: encoder.uptime(NOW_MS - 1_000),
        },
    )  # fmt: skip
    sets = [template_set(9, [template]), data_set(template, records)]
    [header], flows, _ = dissect([encoder.message(sets, NOW_MS)])
    assert (header.unixSecs, header.packageSequence, header.SourceID) == (1_717_400_000, 0, 7)
    assert header.count == 4
    assert [str(flow.IPV4_SRC_ADDR) for flow in flows] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert [flow.L4_SRC_PORT for flow in flows] == [443, 80, 53]
    assert [int(flow.IN_BYTES) for flow in flows] == [100, 2**32 - 1, 7]
    assert [int(flow.PROTOCOL) for flow in flows] == [6, 6, 17]
    # RFC 3954 section 8: a flow's time is unix_secs - sysUptime + LAST_SWITCHED.
    ends = {header.unixSecs * 1000 - header.sysUptime + int(flow.LAST_SWITCHED) for flow in flows}
    assert ends == {NOW_MS - 1_000}


def test_sequence_numbers_count_messages_in_v9_and_data_records_in_ipfix() -> None:
    template = Template(300, ((1, 4),))
    announced, data = template_set(9, [template]), data_set(template, template.records(5, {}))
    v9, ipfix = MessageEncoder(9, 1, 0), MessageEncoder(10, 1, 0)
    for encoder in (v9, ipfix):
        encoder.sequence = 2**32 - 1
    # Offsets: RFC 3954 section 5.1; RFC 7011 section 3.1.
    read9 = [int.from_bytes(v9.message(sets, NOW_MS)[12:16], "big") for sets in ([announced], [data], [data, data])]
    read10 = [int.from_bytes(ipfix.message(sets, NOW_MS)[8:12], "big") for sets in ([announced], [data], [data, data])]
    assert read9 == [2**32 - 1, 0, 1]
    assert read10 == [2**32 - 1, 2**32 - 1, 4]


@pytest.mark.parametrize("version", [9, 10])
def test_every_message_is_padded_and_says_its_length(version: Any) -> None:
    encoder = MessageEncoder(version, 3, NOW_MS - 1_000_000)
    sets = [*announcements(encoder, 1000), *interface_names(version), *flow_sets(encoder, drawn(17))]
    message = encoder.message(sets, NOW_MS)
    at = 20 if version == 9 else 16
    if version == 10:
        assert int.from_bytes(message[2:4], "big") == len(message)
    while at < len(message):
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        assert length % 4 == 0
        assert length > 4
        at += length
    assert at == len(message)


def test_sampling_is_told_by_options() -> None:
    v9, ipfix = MessageEncoder(9, 1, 0), MessageEncoder(10, 1, 0)
    # scapy gives the scope and the options of a record one after the other.
    _, _, [scope9, told9] = dissect([v9.message(announcements(v9, 100), NOW_MS)])
    assert type(scope9).__name__ == "NetflowOptionsRecordScopeV9"
    assert (told9.SAMPLING_INTERVAL, told9.SAMPLING_ALGORITHM) == (100, 2)
    # scapy reads no IPFIX options.  RFC 5477 section 8.2: 305 packets are taken, then 306 are skipped; the options
    # record is the last of the message: scope 149, algorithm 304, both numbers, two octets of padding.
    for interval, (taken, skipped) in {1000: (1, 999), 1: (1, 0), 0: (0, 0), 16_384: (1, 16_383)}.items():
        message = ipfix.message(announcements(ipfix, interval), NOW_MS)
        assert struct.unpack(">HHIHIIxx", message[-20:]) == (260, 20, 1, 1, taken, skipped)


def test_a_template_says_enterprise_numbers_and_variable_lengths() -> None:
    template = Template(300, ((1, 4), (96, 65_535), (1, 8, 29_305)), room=5)
    # RFC 7011 section 3.2: the enterprise bit, and the number behind; section 7: 65535 is a variable length.
    assert template_set(10, [template]).body == struct.pack(
        ">HH HH HH HH HHI", 2, 24, 300, 3, 1, 4, 96, 65_535, 0x8001, 8, 29_305
    )
    assert [template.offset(element) for element in (1, 96)] == [0, 4]
    records = template.records(1, {1: 7, (1, 29_305): 9})
    assert records.tobytes() == bytes.fromhex("00000007" + 5 * "00" + "0000000000000009")
