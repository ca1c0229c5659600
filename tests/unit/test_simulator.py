"""The simulated network, read back by scapy: an encoder and a reader that share nothing."""

import csv
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.netflow import NetflowHeader, netflowv9_defragment

from bench import load
from flowtide.simulator.encoder import MessageEncoder, Template, data_set, template_set
from flowtide.simulator.exporters import SimulatedNetwork
from flowtide.simulator.population import LEASE_COLUMNS, populations, write_leases
from flowtide.simulator.templates import announcements, flow_sets
from flowtide.simulator.traffic import KINDS, Traffic

NOW_MS = 1_717_400_000_123  # in the analysed week of 2024


def dissect(datagrams: list[bytes]) -> tuple[list[Any], list[Any], list[Any]]:
    """Headers, flow records and options records as scapy reads them, templates applied."""
    messages = netflowv9_defragment([NetflowHeader(datagram) for datagram in datagrams])
    headers, flows, options = [], [], []
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


@contextmanager
def inbox(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((host, 0))
        made.settimeout(1)
        yield made


def drain(made: socket.socket) -> list[tuple[str, bytes]]:
    got = []
    made.settimeout(0.2)
    try:
        while True:
            payload, (host, _) = made.recvfrom(65_535)
            got.append((host, payload))
    except TimeoutError:
        return got


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
    flows = Traffic("mobile", populations(5)["mobile"], 1000, (5,)).take(17)
    message = encoder.message([*announcements(encoder, 1000), *flow_sets(encoder, flows, NOW_MS)], NOW_MS)
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
    message = ipfix.message(announcements(ipfix, 1000), NOW_MS)
    assert struct.unpack(">HHIHIIxx", message[-20:]) == (260, 20, 1, 1, 1, 999)


def test_the_same_seed_gives_the_same_flows_however_they_are_asked_for() -> None:
    def flows(seed: int, *parts: int) -> bytes:
        traffic = Traffic("fixed", populations(seed)["fixed"], 100, (seed,))
        return b"".join(traffic.take(part).tobytes() for part in parts)

    assert flows(1, 5_000) == flows(1, 1, 4_095, 4, 900)
    assert flows(1, 5_000) != flows(2, 5_000)


@pytest.mark.parametrize(("service", "published"), [("fixed", 21.0), ("mobile", 22.5)])
def test_the_quic_share_is_the_published_one(service: str, published: float) -> None:
    flows = Traffic(service, populations(1)[service], 1000, (1,)).take(100_000)
    quic = (flows["proto"] == 17) & (np.minimum(flows["src_port"], flows["dst_port"]) == 443)
    share = 100 * flows["octets"][quic].sum() / flows["octets"].sum()
    # Standard error of a share of 100,000 flows whose sizes spread by a factor of some 2: about 0.2.
    assert share == pytest.approx(published, abs=1.0)


def test_every_kind_falls_into_its_bucket() -> None:
    flows = Traffic("fixed", populations(1)["fixed"], 1, (2,)).take(100_000)
    assert set(flows["kind"].tolist()) == {at for at, kind in enumerate(KINDS) if kind.fixed}
    named = {50: "esp", 47: "gre", 4: "ipip", 41: "ipv6", 1: "icmp", 58: "icmp6"}
    for flow in flows[:20_000]:
        proto, lower = int(flow["proto"]), min(int(flow["src_port"]), int(flow["dst_port"]))
        if proto in (6, 17):
            name, half = ("tcp", "udp")[proto == 17], "<1024" if lower < 1024 else ">=1024"
            bucket = f"{name}/{lower if (proto, lower) in ((6, 443), (6, 80), (17, 443)) else half}"
        else:
            bucket = named.get(proto, "other")
        assert bucket == KINDS[flow["kind"]].bucket
    assert (flows["octets"] <= 1500 * flows["packets"]).all()
    assert (flows["packets"] > 0).all()


def test_leases_cover_the_subscribers_and_never_overlap(tmp_path: Path) -> None:
    path = tmp_path / "leases.csv"
    lines = write_leases(path, seed=1)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LEASE_COLUMNS
    assert len(rows) == lines > 500
    held: dict[str, str] = {}
    for row in rows:
        assert row["service"] in ("fixed", "mobile")
        assert row["segment"] in ("personal", "enterprise")
        assert row["access"] in ("pppoe", "ipoe", "mobile")
        assert datetime.fromisoformat(row["from"]).utcoffset() is not None
        prefix = str(ip_network(row["prefix"]))  # refuses host bits
        assert row["from"] >= held.get(prefix, "")
        held[prefix] = row["to"] or "9999"
    networks = [ip_network(prefix) for prefix in held]
    flows = Traffic("fixed", populations(1)["fixed"], 1, (3,)).take(300)
    ends = [(ip_address(bytes(flow["src"])), ip_address(bytes(flow["dst"]))) for flow in flows]
    known = [
        any((getattr(end, "ipv4_mapped", None) or end) in net for end in pair for net in networks) for pair in ends
    ]
    assert 0.95 < sum(known) / len(known) < 1.0  # a little transit belongs to nobody


def test_what_is_sent_is_the_truth() -> None:
    with inbox() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        network = SimulatedNetwork(3, 900, [made.getsockname()], daily_curve=False)
        start = time.time()
        sent = [network.send(start), network.send(start + 0.5), network.send(start + 0.4), network.send(start + 9.0)]
        got = drain(made)
        truth = network.truth()
        exporters = network.exporters
        network.close()
    assert sent[0] == sent[2] == 0  # announced only; set back
    assert sent[1] == pytest.approx(450, abs=3)
    assert sent[3] == pytest.approx(900, abs=3)  # the 8.5 s pause is caught up for one second only
    assert sum(row.flows for row in truth) == sum(sent)
    for exporter in exporters:
        payloads = [payload for host, payload in got if host == exporter]
        rows = [row for row in truth if row.exporter == exporter]
        if payloads[0][:2] == b"\0\x09":
            _, flows, _ = dissect(payloads)
            assert len(flows) == sum(row.flows for row in rows)
            assert sum(int(flow.IN_BYTES) for flow in flows) == sum(row.octets for row in rows)
            assert sum(int(flow.IN_PKTS) for flow in flows) == sum(row.packets for row in rows)
            assert len({row.bucket for row in rows}) == len(rows)
        else:  # IPFIX announces at the start and after ten seconds; here once
            counted = int.from_bytes(payloads[-1][8:12], "big")
            assert 0 <= sum(row.flows for row in rows) + 7 - counted <= 18  # options: one of sampling, six names


def test_exporters_are_told_apart_by_address() -> None:
    with inbox() as made:
        network = SimulatedNetwork(1, 100, [made.getsockname()])
        network.send(time.time())
        hosts = Counter(host for host, _ in drain(made))
        network.close()
    assert hosts == {"127.0.0.2": 1, "127.0.0.3": 1, "127.0.0.4": 1}


def test_a_run_ends_when_told() -> None:
    with inbox() as made:
        network = SimulatedNetwork(1, 1_000, [made.getsockname()])
        stop = threading.Event()
        stop.set()
        begin = time.monotonic()
        network.run(60, stop)
        network.close()
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(("version", "records"), [(9, 28), (9, 2), (10, 18), (10, 1)])
def test_the_load_generator_knows_what_it_sent(version: Any, records: int) -> None:
    with inbox() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        begin = time.time()
        told = load.run(made.getsockname(), version, records, 200 * records, 1.1, 2, 1, threading.Event())
        got = drain(made)
    assert told["datagrams"] == len(got)
    assert isinstance(told["exporters"], dict)
    assert told["flows"] == (len(got) - 2) * records
    if version == 9:
        for exporter, part in told["exporters"].items():
            headers, flows, _ = dissect([payload for host, payload in got if host == exporter])
            assert [header.packageSequence for header in headers] == list(range(len(headers)))
            assert sum(int(flow.IN_BYTES) for flow in flows) == part["octets"]
            assert sum(int(flow.IN_PKTS) for flow in flows) == part["packets"]
            # Times move with the clock: header uptime and flow ends by the same amount.
            for header in (headers[1], headers[-1]):
                assert begin - 2 < header.unixSecs <= time.time()
            assert headers[-1].unixSecs > headers[1].unixSecs
            moved = (headers[-1].unixSecs - headers[1].unixSecs) * 1000
            assert headers[-1].sysUptime - headers[1].sysUptime == moved
            ends = [headers[-1].sysUptime - int(flow.LAST_SWITCHED) for flow in flows[-records:]]
            assert all(-1_000 <= age <= 3_000 for age in ends)
