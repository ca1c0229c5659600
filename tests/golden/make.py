"""Writes the golden messages: each a file of hex, a datagram a line, and beside it what must come of it.

The bytes are put together here, by hand and with scapy, and the expectation is written down from how they were put
together; nothing of the collector is used.  Run it after a change, and look at the difference:

    python -m tests.golden.make
"""

import json
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

from tests.fuzz.target import CORPUS, join
from tests.wire import NOW, UPTIME, flowset, ipfix, options9, options10, template, v9

HERE = Path(__file__).parent
NOW_MS = NOW * 1000
"""Export time; the datagrams arrive one second later."""
_PORTS = ((7, 2), (11, 2))


@dataclass
class Case:
    """Datagrams of one exporter, and what must come of them; ``counters`` are those that prove it, not all."""

    name: str
    proves: str
    datagrams: list[bytes]
    rows: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    waiting_sets: int = 0
    observations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def ports(source: int, destination: int) -> bytes:
    return struct.pack("!HH", source, destination)


def four(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def string(text: bytes, long: bool = False) -> bytes:
    """RFC 7011 section 7: a length in one octet, or 255 and two octets."""
    return (b"\xff" + struct.pack("!H", len(text)) if long else bytes([len(text)])) + text


def v5(*flows: bytes, sampling: int = 0, uptime: int = UPTIME, count: int | None = None, sequence: int = 0) -> bytes:
    head = struct.pack(
        "!HHIIIIBBH", 5, len(flows) if count is None else count, uptime, NOW, 0, sequence, 1, 2, sampling
    )
    return head + b"".join(flows)


def flow5(source: str, destination: str, packets: int, octets: int, first: int, last: int) -> bytes:
    """TCP 443 -> 50000, ACK and FIN, interfaces 3 and 4, AS 64500 and 64501, masks 24 and 16."""
    return (
        four(source)
        + four(destination)
        + four("192.0.2.254")
        + struct.pack(
            "!HHIIIIHHBBBBHHBBH", 3, 4, packets, octets, first, last, 443, 50000, 0, 0x11, 6, 8, 64500, 64501, 24, 16, 0
        )
    )


def sflow(*samples: bytes, sub_agent: int = 9) -> bytes:
    """sFlow version 5, agent 192.0.2.77; the specification's section 5."""
    head = struct.pack("!II4sIIII", 5, 1, four("192.0.2.77"), sub_agent, 1, UPTIME, len(samples))
    return head + b"".join(samples)


def sflow_part(kind: int, body: bytes) -> bytes:
    return struct.pack("!II", kind, len(body)) + body


def sampled_header(frame: bytes, length: int) -> bytes:
    padded = frame + bytes(-len(frame) % 4)
    return sflow_part(1, struct.pack("!IIII", 1, length, 4, len(frame)) + padded)


def _records() -> list[Case]:
    cases = [
        Case(
            "v9-sampling-by-options-template",
            "a sampler's interval is learnt from options data, and found by the id that a record names",
            [
                v9(
                    flowset(1, options9(400, [(1, 4)], (48, 1), (50, 4))),
                    flowset(400, struct.pack("!IBI", 1, 7, 100)),
                    flowset(0, template(300, *_PORTS, (48, 1))),
                    flowset(300, ports(1, 2) + b"\x07" + ports(3, 4) + b"\x00"),
                )
            ],
            [
                {"src_port": 1, "dst_port": 2, "sampling": 100, "sampling_source": 2},
                {"src_port": 3, "sampling": 1, "sampling_source": 8},
            ],
            {"records_options": 1, "records_flow": 2, "sets_decoded": 4},
        ),
        Case(
            "v9-data-before-template",
            "data waits for its template and is decoded, flagged, with the times of its own message",
            [
                v9(flowset(300, ports(80, 443)), now=NOW - 60, uptime=UPTIME - 60_000),
                v9(flowset(0, template(300, *_PORTS)), flowset(300, ports(81, 444))),
            ],
            [
                {"src_port": 80, "flags": 32 | 1, "ts": NOW_MS - 60_000},
                {"src_port": 81, "flags": 1, "ts": NOW_MS},
            ],
            {"datagrams_held": 1, "datagrams_decoded": 1, "sets_held": 1, "held_decoded": 1, "rows": 2},
        ),
        Case(
            "v9-template-redefined",
            "the newest definition reads what comes after it, the older one what came before it, in one message",
            [
                v9(
                    flowset(0, template(300, *_PORTS)),
                    flowset(300, ports(80, 443)),
                    flowset(0, template(300, (11, 2), (7, 2))),
                    flowset(300, ports(80, 443)),
                )
            ],
            [{"src_port": 80, "dst_port": 443}, {"src_port": 443, "dst_port": 80}],
            {"templates_accepted": 2, "sets_decoded": 4, "rows": 2},
        ),
        Case(
            "v9-field-above-32767",
            "version 9 has no enterprise bit: a field type above 32767 has no number behind it",
            [v9(flowset(0, template(300, (40_000, 4), *_PORTS)), flowset(300, b"\xff\xff\xff\xff" + ports(80, 443)))],
            [{"src_port": 80, "dst_port": 443}],
            {"rows": 1, "templates_accepted": 1},
        ),
        Case(
            "v9-header-counts-too-few",
            "a header that counts fewer records than there are costs nothing (softflowd counts no templates)",
            [
                v9(
                    flowset(0, template(300, *_PORTS)),
                    flowset(300, ports(80, 443)),
                    flowset(300, ports(81, 444)),
                    count=2,
                )
            ],
            [{"src_port": 80}, {"src_port": 81}],
            {"length_mismatch": 1, "sets_decoded": 3, "rows": 2},
        ),
        Case(
            "v9-header-counts-too-many",
            "a header that counts more records than there are costs nothing",
            [v9(flowset(0, template(300, *_PORTS)), flowset(300, ports(80, 443)), count=65_535)],
            [{"src_port": 80}],
            {"sets_decoded": 2, "rows": 1},
        ),
        Case(
            "v9-zero-length-field",
            "a field without octets takes no place and fills nothing",
            [v9(flowset(0, template(300, (1, 0), (7, 2), (4, 0), (11, 2))), flowset(300, ports(80, 443)))],
            [{"src_port": 80, "dst_port": 443, "octets": 0, "proto": 0}],
            {"rows": 1},
        ),
        Case(
            "v9-record-size-zero",
            "records without octets would be endless many: the set is dropped, the next is read",
            [
                v9(
                    flowset(0, template(300, (1, 0), (2, 0)) + template(301, *_PORTS)),
                    flowset(300, bytes(40)),
                    flowset(301, ports(80, 443)),
                )
            ],
            [{"src_port": 80}],
            {"sets_dropped_zero_record": 1, "sets_decoded": 2, "rows": 1},
        ),
        Case(
            "v9-uptime-wrap",
            "an uptime that began again between a flow's start and its export is 2^32 ms further back",
            [
                v9(
                    flowset(0, template(300, (22, 4), (21, 4))),
                    flowset(300, struct.pack("!II", 2**32 - 1000, 4000)),
                    uptime=5000,
                )
            ],
            [{"ts_start": NOW_MS - 6000, "ts": NOW_MS - 1000, "flags": 0}],
            {"rows": 1},
        ),
        Case(
            "ipfix-withdrawal",
            "after its withdrawal a template is unknown: its data waits",
            [
                ipfix(flowset(2, template(300, *_PORTS)), flowset(300, ports(80, 443))),
                ipfix(flowset(2, struct.pack("!HH", 300, 0))),
                ipfix(flowset(300, ports(81, 444))),
            ],
            [{"src_port": 80}],
            {"templates": 2, "templates_accepted": 1, "templates_withdrawn": 1, "sets_held": 1, "rows": 1},
            waiting_sets=1,
        ),
        Case(
            "ipfix-all-templates-withdrawn",
            "RFC 7011 section 8.1: a withdrawal of template 2 withdraws all, and nfcapd 1.7.1 crashed on one",
            [
                ipfix(flowset(2, template(300, *_PORTS) + template(301, *_PORTS)), flowset(301, ports(80, 443))),
                ipfix(flowset(2, struct.pack("!HH", 2, 0))),
                ipfix(flowset(300, ports(81, 444)), flowset(301, ports(81, 444))),
            ],
            [{"src_port": 80}],
            {"templates_withdrawn": 1, "sets_held": 2, "datagrams_held": 1},
            waiting_sets=2,
        ),
        Case(
            "ipfix-variable-length-strings",
            "each record states its lengths, in one octet or in three",
            [
                ipfix(
                    flowset(2, template(300, (7, 2), (82, 65_535), (11, 2), (96, 65_535))),
                    flowset(
                        300,
                        ports(80, 0)[:2]
                        + string(b"ge-0/0/0")
                        + ports(443, 0)[:2]
                        + string(b"")
                        + ports(81, 0)[:2]
                        + string(b"x" * 300, long=True)
                        + ports(444, 0)[:2]
                        + string(b"dns"),
                    ),
                )
            ],
            [{"src_port": 80, "dst_port": 443}, {"src_port": 81, "dst_port": 444}],
            {"rows": 2, "sets_decoded": 2},
        ),
        Case(
            "ipfix-reverse-half",
            "RFC 5103: what came back is a row of its own with its ends swapped",
            [
                ipfix(
                    flowset(
                        2,
                        template(300, (8, 4), (12, 4), *_PORTS, (1, 4), (2, 4), (1, 4, 29_305), (2, 4, 29_305)),
                    ),
                    flowset(
                        300,
                        four("10.0.0.1")
                        + four("10.0.0.2")
                        + ports(50_000, 443)
                        + struct.pack("!IIII", 400, 4, 9000, 7)
                        + four("10.0.0.3")
                        + four("10.0.0.2")
                        + ports(50_001, 443)
                        + struct.pack("!IIII", 40, 1, 0, 0),
                    ),
                )
            ],
            [
                {
                    "src_addr": "10.0.0.1",
                    "dst_addr": "10.0.0.2",
                    "src_port": 50_000,
                    "octets": 400,
                    "packets": 4,
                    "copy": 0,
                },
                {"src_addr": "10.0.0.3", "octets": 40, "packets": 1, "copy": 0},
                {
                    "src_addr": "10.0.0.2",
                    "dst_addr": "10.0.0.1",
                    "src_port": 443,
                    "dst_port": 50_000,
                    "octets": 9000,
                    "packets": 7,
                    "copy": 2,
                },
            ],
            {"records_flow": 2, "rows": 3, "rows_reverse": 1},
        ),
        Case(
            "ipfix-reduced-length-counters",
            "RFC 7011 section 6.2: an integer may come in fewer octets, any number of them",
            [
                ipfix(
                    *(
                        part
                        for size in range(1, 9)
                        for part in (
                            flowset(2, template(300 + size, (1, size), (2, 9 - size))),
                            flowset(300 + size, (200 + size).to_bytes(size, "big") + size.to_bytes(9 - size, "big")),
                        )
                    )
                )
            ],
            [{"octets": 200 + size, "packets": size} for size in range(1, 9)],
            {"rows": 8, "sets_decoded": 16},
        ),
        Case(
            "ipfix-several-sets-one-message",
            "templates, options and data of two templates in one message, with padding behind each set's records",
            [
                ipfix(
                    flowset(2, template(300, *_PORTS, (4, 1)) + template(301, (11, 2), (7, 2), (4, 1))),
                    flowset(300, ports(1, 2) + b"\x06" + ports(3, 4) + b"\x06" + bytes(2)),
                    flowset(3, options10(400, 1, (149, 4), (34, 4)) + bytes(2)),
                    flowset(301, ports(2, 5) + b"\x11" + bytes(3)),
                    flowset(400, struct.pack("!II", 1, 10)),
                )
            ],
            [
                {"src_port": 1, "dst_port": 2, "proto": 6, "sampling": 10, "sampling_source": 4},
                {"src_port": 3, "dst_port": 4, "proto": 6},
                {"src_port": 5, "dst_port": 2, "proto": 17},
            ],
            {"sets": 5, "sets_decoded": 5, "records_flow": 3, "records_options": 1},
        ),
        Case(
            "ipfix-same-element-twice",
            "of an element that comes twice the first one fills the column",
            [
                ipfix(
                    flowset(2, template(300, (7, 2), (7, 2), (11, 2))), flowset(300, ports(80, 81) + ports(443, 0)[:2])
                )
            ],
            [{"src_port": 80, "dst_port": 443}],
            {"rows": 1},
        ),
        Case(
            "ipfix-truncated-last-set",
            "a set that says more than there is costs that set only",
            [
                ipfix(
                    flowset(2, template(300, *_PORTS)), flowset(300, ports(80, 443)), flowset(300, ports(81, 444))[:-2]
                )
            ],
            [{"src_port": 80}],
            {"sets": 3, "sets_decoded": 2, "sets_dropped_bad_set_length": 1, "datagrams_decoded": 1},
        ),
        Case(
            "ipfix-set-length-zero",
            "a set of length 0 would be walked for ever",
            [ipfix(flowset(2, template(300, *_PORTS)), struct.pack("!HH", 300, 0), flowset(300, ports(80, 443)))],
            [],
            {"sets_dropped_bad_set_length": 1, "sets_decoded": 1},
        ),
        Case(
            "ipfix-init-time-by-options",
            "uptimes of IPFIX count from the system's start, which options data say",
            [
                ipfix(
                    flowset(3, options10(400, 1, (149, 4), (160, 8)) + bytes(2)),
                    flowset(400, struct.pack("!IQ", 1, NOW_MS - 3_600_000)),
                    flowset(2, template(300, (22, 4), (21, 4))),
                    flowset(300, struct.pack("!II", 3_590_000, 3_599_000)),
                )
            ],
            [{"ts_start": NOW_MS - 10_000, "ts": NOW_MS - 1000, "flags": 0}],
            {"rows": 1, "records_options": 1},
        ),
        Case(
            "ipfix-microseconds",
            "RFC 7011 section 6.1.9: seconds since 1900 and a fraction of 2^-32 s",
            [
                ipfix(
                    flowset(2, template(300, (154, 8), (155, 8))),
                    flowset(300, struct.pack("!IIII", NOW - 2 + 2_208_988_800, 1 << 31, NOW + 2_208_988_800, 1 << 30)),
                )
            ],
            [{"ts_start": NOW_MS - 1500, "ts": NOW_MS + 250, "flags": 0}],
            {"rows": 1},
        ),
        Case(
            "ipfix-times-nobody-believes",
            "1970, 2106, and an end before the start: rows all the same, with our own time, flagged",
            [
                ipfix(
                    flowset(2, template(300, (150, 4), (151, 4))),
                    flowset(300, struct.pack("!IIIIII", 1, 2, 2**32 - 2, 2**32 - 1, NOW, NOW - 5)),
                )
            ],
            [
                {"ts_start": NOW_MS + 1000, "ts": NOW_MS + 1000, "flags": 2},
                {"ts_start": NOW_MS + 1000, "ts": NOW_MS + 1000, "flags": 2},
                {"ts_start": NOW_MS - 5000, "ts": NOW_MS - 5000, "flags": 0},
            ],
            {"rows": 3, "rows_time_out_of_bounds": 2},
        ),
        Case(
            "ipfix-implausible-counters",
            "no packet has more than 65,575 octets: kept, flagged",
            [
                ipfix(
                    flowset(2, template(300, (1, 8), (2, 8))),
                    flowset(300, struct.pack("!QQQQ", 65_575, 1, 65_576, 1) + struct.pack("!QQ", 2**64 - 1, 2**64 - 1)),
                )
            ],
            [{"octets": 65_575, "flags": 1}, {"octets": 65_576, "flags": 9}, {"octets": 2**53, "packets": 2**53}],
            {"rows": 3, "rows_implausible": 2},
        ),
    ]
    return cases


def _version5() -> list[Case]:
    row = {
        "src_addr": "10.0.0.1", "dst_addr": "10.0.0.2", "next_hop": "192.0.2.254", "src_port": 443, "dst_port": 50_000,
        "proto": 6, "tcp_flags": 0x11, "tos": 8, "in_if": 3, "out_if": 4, "src_as": 64_500, "dst_as": 64_501,
        "src_mask": 24, "dst_mask": 16, "packets": 5, "octets": 700, "domain": 0x0102, "ip_version": 4,
    }  # fmt: skip
    one = flow5("10.0.0.1", "10.0.0.2", 5, 700, UPTIME - 3000, UPTIME - 1000)
    wrapped = flow5("10.0.0.1", "10.0.0.2", 5, 700, 2**32 - 1000, 4000)
    return [
        Case(
            "v5-header-sampling",
            "two bits of mode and fourteen of interval in the header hold for all its records",
            [v5(one, sampling=1 << 14 | 1000)],
            [row | {"sampling": 1000, "sampling_source": 5, "ts_start": NOW_MS - 3000, "ts": NOW_MS - 1000}],
            {"rows": 1, "datagrams_decoded": 1},
        ),
        Case(
            "v5-says-nothing-of-sampling",
            "an interval of 0 says nothing",
            [v5(one, one)],
            [row | {"sampling": 1, "sampling_source": 8}] * 2,
            {"rows": 2},
        ),
        Case(
            "v5-uptime-wrap",
            "an uptime that began again between a flow's start and its export is 2^32 ms further back",
            [v5(wrapped, uptime=5000)],
            [row | {"ts_start": NOW_MS - 6000, "ts": NOW_MS - 1000, "flags": 0}],
            {"rows": 1},
        ),
    ]


def _ethernet() -> Ether:
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # without them scapy takes this machine's


def _packets() -> list[Case]:
    web = IP(src="10.1.0.1", dst="10.2.0.2", tos=0x28, ttl=60) / TCP(sport=51_000, dport=443, flags="SA")
    plain = bytes(_ethernet() / Dot1Q(vlan=77) / web / bytes(60))
    ping = bytes(_ethernet() / IP(src="10.1.0.1", dst="10.2.0.2") / ICMP(type=3, code=4) / bytes(20))
    tagged = bytes(_ethernet() / Dot1AD(vlan=500) / Dot1Q(vlan=600) / web / bytes(40))
    labels = bytes(_ethernet() / MPLS(label=100, s=0) / MPLS(label=200, s=1) / web / bytes(40))
    tunnel = bytes(
        _ethernet()
        / IP(src="10.9.0.1", dst="10.9.0.2")
        / UDP(sport=12_345, dport=4789)
        / VXLAN(vni=5)
        / _ethernet()
        / web
    )
    row = {
        "src_addr": "10.1.0.1", "dst_addr": "10.2.0.2", "src_port": 51_000, "dst_port": 443, "proto": 6,
        "tcp_flags": 0x12, "tos": 0x28, "ip_version": 4,
    }  # fmt: skip
    flow = struct.pack("!IIIIII", 1, 3, 512, 512_000, 0, 11) + struct.pack("!II", 12, 1) + sampled_header(plain, 1500)
    expanded = struct.pack("!IIIIIIIIIII", 1, 0, 3, 2048, 512_000, 0, 0, 70_000, 0, 70_001, 1) + sampled_header(
        ping, 62
    )
    totals = struct.pack("!QIIIIIIQIIIIII", 1 << 40, 1, 2, 3, 4, 5, 6, 1 << 41, 7, 8, 9, 10, 11, 0)
    counters = sflow_part(1, struct.pack("!IIQII", 42, 6, 10**10, 1, 3) + totals)
    return [
        Case(
            "ipfix-qinq-mpls-header",
            "a frame section (IE 315) is parsed behind two tags, behind labels, and up to a tunnel's outer ends",
            [
                ipfix(
                    flowset(2, template(300, (10, 4), (312, 2), (315, 65_535))),
                    flowset(
                        300,
                        b"".join(
                            struct.pack("!IH", 5, 1400 + number) + string(frame[:128])
                            for number, frame in enumerate((tagged, labels, tunnel))
                        ),
                    ),
                )
            ],
            [
                row | {"vlan": 500, "in_if": 5, "octets": 1400, "packets": 1},
                row | {"in_if": 5, "octets": 1401, "packets": 1},
                {"src_addr": "10.9.0.1", "dst_addr": "10.9.0.2", "src_port": 12_345, "dst_port": 4789, "proto": 17,
                 "octets": 1402},
            ],
            {"rows": 3},
        ),
        Case(
            "sflow-flow-sample",
            "a sampled header becomes a row of one packet, with the sample's interval and the frame's length",
            [sflow(sflow_part(1, flow))],
            [row | {"octets": 1500, "packets": 1, "in_if": 11, "out_if": 12, "vlan": 77, "sampling": 512,
                    "sampling_source": 5, "domain": 9, "ts": NOW_MS + 1000}],
            {"rows": 1, "datagrams_decoded": 1},
        ),
        Case(
            "sflow-expanded",
            "an expanded sample's interfaces have 32 bits",
            [sflow(sflow_part(3, expanded))],
            [{"src_addr": "10.1.0.1", "proto": 1, "icmp": 0x0304, "octets": 62, "in_if": 70_000, "out_if": 70_001,
              "sampling": 2048}],
            {"rows": 1},
        ),
        Case(
            "sflow-counters",
            "a counter sample is no flow but a row of interface_counter",
            [sflow(sflow_part(2, struct.pack("!III", 1, 42, 1) + counters))],
            [],
            {"datagrams_decoded": 1},
            observations=[
                (
                    "interface_counter",
                    {"exporter": "192.0.2.1", "domain": 9, "interface": 42, "speed": 10**10, "status": 3,
                     "in_octets": 1 << 40, "in_packets": 1, "in_multicast": 2, "in_broadcast": 3, "in_discards": 4,
                     "in_errors": 5, "out_octets": 1 << 41, "out_packets": 7, "out_multicast": 8, "out_broadcast": 9,
                     "out_discards": 10, "out_errors": 11},
                )
            ],
        ),
        Case(
            "sflow-samples-that-lie",
            "a header that counts samples it does not have, and a sample longer than the datagram: the first is sound",
            [sflow(sflow_part(1, flow))[:24] + struct.pack("!I", 4_000_000_000) + sflow_part(1, flow)
             + struct.pack("!II", 1, 60_000) + bytes(8)],
            [row | {"octets": 1500}],
            {"rows": 1, "datagrams_decoded": 1},
        ),
    ]  # fmt: skip


def _names() -> list[Case]:
    return [
        Case(
            "v9-interface-names",
            "names and descriptions that options data give to interfaces",
            [
                v9(
                    flowset(1, options9(400, [(2, 4)], (82, 12), (83, 16))),
                    flowset(400, struct.pack("!I12s16s", 17, b"ge-0/0/1", b"to the exchange")),
                )
            ],
            [],
            {"records_options": 1},
            observations=[
                (
                    "exporter_name",
                    {"exporter": "192.0.2.1", "kind": "interface", "id": 17, "name": "ge-0/0/1",
                     "description": "to the exchange"},
                )
            ],
        )
    ]  # fmt: skip


def cases() -> list[Case]:
    """All of them."""
    return [*_records(), *_version5(), *_packets(), *_names()]


def files(case: Case) -> dict[str, str]:
    """A case's files by suffix."""
    expectation = asdict(case)
    del expectation["datagrams"], expectation["name"]
    return {
        "hex": "".join(f"{each.hex()}\n" for each in case.datagrams),
        "json": json.dumps(expectation, indent=1) + "\n",
    }


def main() -> None:
    """Write them, and the fuzz corpus that they begin."""
    CORPUS.mkdir(exist_ok=True)
    for case in cases():
        for suffix, text in files(case).items():
            (HERE / "made" / f"{case.name}.{suffix}").write_text(text)
        (CORPUS / f"{case.name}.bin").write_bytes(join([(8 * (n % 2), each) for n, each in enumerate(case.datagrams)]))


if __name__ == "__main__":
    main()
