"""Programs of others read the simulator's datagrams: tshark, nfdump and its sFlow collector."""

import shutil
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator.sender import Sender
from flowtide.simulator.templates import conversations
from flowtide.simulator.wire import Wire
from tests.unit.test_simulator_wire import BOOT_MS, FORMS, NOW_MS, of_protocol, paired, planned

_PACKAGES = {"tshark": "tshark", "nfcapd": "nfdump", "sfcapd": "nfdump-sflow"}
_SAMPLING = 4


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {_PACKAGES[name]})")
    return found


def exported(protocol: str, form: str) -> tuple[NDArray[np.void], list[bytes]]:
    """Flows, and their datagrams behind what is announced."""
    flows = of_protocol(protocol, 1_000)
    if form == "biflow":
        flows = paired(flows, 2)
    # nfdump scales by the interval in v5's header, so that one tells nothing.
    told: Any = "nothing" if protocol == "netflow5" else None
    wire = Wire.of(planned(protocol, form, sampling=_SAMPLING, told=told), 7, BOOT_MS)
    return flows, [*wire.announcements(NOW_MS), *wire.datagrams(flows, NOW_MS)]


def write_pcap(path: Path, datagrams: Iterable[bytes], port: int) -> None:
    """As from 127.0.0.5; link type 228 is bare IPv4, checksums of 0 are not looked at."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 228))
        for datagram in datagrams:
            size = 28 + len(datagram)
            ip = struct.pack(">BBHHHBBH4B4B", 0x45, 0, size, 0, 0, 64, 17, 0, 127, 0, 0, 5, 127, 0, 0, 1)
            file.write(struct.pack("<IIII", NOW_MS // 1000, 0, size, size) + ip)
            file.write(struct.pack(">HHHH", 40_000, port, size - 20, 0) + datagram)


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """Values of each field in the order of their occurrence, whatever frame they are in."""
    command = [
        program("tshark"),
        "-r",
        str(path),
        "-n",
        "-d",
        "udp.port==2055,cflow",
        "-T",
        "fields",
        "-E",
        "occurrence=a",
    ]
    # A separator that is in no value.
    command += ["-E", "aggregator=;"]
    for each in fields:
        command += ["-e", each]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found: list[list[str]] = [[] for _ in fields]
    for line in done.stdout.splitlines():
        for at, value in enumerate(line.split("\t")):
            found[at] += value.split(";") if value else []
    return found


def numbers(values: Iterable[str]) -> list[int]:
    return [int(value, 0) for value in values]


@pytest.mark.parametrize(("protocol", "form"), [each for each in FORMS if each[0] != "sflow"])
def test_tshark_reads_the_same_flows(protocol: str, form: str, tmp_path: Path) -> None:
    flows, datagrams = exported(protocol, form)
    write_pcap(tmp_path / "flows.pcap", datagrams, 2055)
    octets, packets, src_ports, dst_ports, protos, four, six = tshark(
        tmp_path / "flows.pcap",
        *("cflow.octets", "cflow.packets", "cflow.srcport", "cflow.dstport", "cflow.protocol"),
        *("cflow.srcaddr", "cflow.srcaddrv6"),
    )
    pairs = conversations(flows) if form == "biflow" else np.zeros(len(flows), bool)
    first = ~np.concatenate([[False], pairs[:-1]])
    records = flows[first]
    assert (len(four), len(six)) == (int((~records["is_v6"]).sum()), int(records["is_v6"].sum()))
    assert Counter(numbers(src_ports)) == Counter(records["src_port"].tolist())
    assert Counter(numbers(dst_ports)) == Counter(records["dst_port"].tolist())
    assert Counter(numbers(protos)) == Counter(records["proto"].tolist())
    if form != "biflow":
        assert Counter(numbers(octets)) == Counter(flows["octets"].tolist())
        assert Counter(numbers(packets)) == Counter(flows["packets"].tolist())
    malformed, sequences = tshark(tmp_path / "flows.pcap", "_ws.malformed", "cflow.sequence")
    assert malformed == []
    assert len(sequences) == len(datagrams)
    assert sum(numbers(octets)) == int(flows["octets"].sum())
    assert sum(numbers(packets)) == int(flows["packets"].sum())


@pytest.mark.parametrize(("protocol", "form"), [("netflow9", "fixed"), ("ipfix", "variable")])
def test_tshark_reads_texts_sampling_and_names(protocol: str, form: str, tmp_path: Path) -> None:
    flows, datagrams = exported(protocol, form)
    write_pcap(tmp_path / "flows.pcap", datagrams, 2055)
    texts, interfaces, interval, taken, skipped = tshark(
        tmp_path / "flows.pcap",
        *("cflow.appl_name", "cflow.if_name", "cflow.sampling_interval"),
        *("cflow.sampling_packet_interval", "cflow.sampling_packet_space"),
    )
    assert [name.rstrip("\0") for name in interfaces] == [
        *(f"ge-0/0/{line}" for line in (1, 2, 3, 4)), "xe-1/0/0", "xe-1/0/1",
    ]  # fmt: skip
    told = [numbers(each) for each in (interval, taken, skipped)]
    assert told == ([[_SAMPLING], [], []] if protocol == "netflow9" else [[], [1], [_SAMPLING - 1]])
    if protocol == "ipfix":
        named = {(6, 443): "tls", (17, 443): "quic", (6, 80): "http", (17, 53): "dns", (6, 22): "ssh"}
        rest = {6: "tcp", 17: "udp", 1: "icmp", 58: "ipv6-icmp", 50: "esp", 47: "gre"}
        lower = np.minimum(flows["src_port"], flows["dst_port"]).tolist()
        pairs = zip(flows["proto"].tolist(), lower, strict=True)
        assert Counter(texts) == Counter(named.get(pair, rest[pair[0]]) for pair in pairs)


def test_tshark_reads_every_sampled_packet(tmp_path: Path) -> None:
    flows, datagrams = exported("sflow", "fixed")
    write_pcap(tmp_path / "flows.pcap", datagrams, 6343)
    rates, frames, tcp, udp, four, six, counted = tshark(
        tmp_path / "flows.pcap",
        *("sflow.flow_sample.sampling_rate", "sflow_245.header.frame_length", "tcp.srcport", "udp.srcport"),
        *("ip.len", "ipv6.plen", "sflow_245.ifindex"),
    )
    assert numbers(rates) == [_SAMPLING] * len(flows)
    assert numbers(frames) == [octets + 18 for octets in flows["octets"].tolist()]
    # The first of a frame's IPv4 and UDP headers are those that brought the datagram.
    outer = Counter(28 + len(datagram) for datagram in datagrams)
    v6, proto = flows["is_v6"], flows["proto"]
    assert Counter(numbers(four)) - outer == Counter(flows["octets"][~v6].tolist())
    assert Counter(numbers(six)) == Counter((flows["octets"][v6] - 40).tolist())
    assert Counter(numbers(tcp)) == Counter(flows["src_port"][proto == 6].tolist())
    brought = Counter({40_000: len(datagrams)})
    assert Counter(numbers(udp)) - brought == Counter(flows["src_port"][proto == 17].tolist())
    assert numbers(counted) == [1, 2, 3, 4, 101, 102]


def collected(tmp_path: Path, protocol: str, datagrams: list[bytes]) -> dict[str, int]:
    """What nfcapd, or sfcapd, made of the datagrams, as nfdump sums it."""
    command = program("sfcapd" if protocol == "sflow" else "nfcapd")
    program("nfcapd")  # nfdump itself is in that package
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "collected"
    folder.mkdir()
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            [command, "-b", "127.0.0.1", "-p", str(port), "-w", str(folder), "-t", "3600"], stdout=log, stderr=log
        )
        try:
            _wait_until_bound(port)
            sender = Sender("127.0.0.5", ("127.0.0.1", port))
            sender.send(datagrams)
            sender.close()
            time.sleep(0.5)  # it has no sign that its socket is empty
            running.send_signal(signal.SIGTERM)
            running.wait(10)
        finally:
            running.kill()
            running.wait()
    [file] = folder.glob("nfcapd.2*")
    done = subprocess.run(["nfdump", "-r", file, "-I"], check=True, capture_output=True, text=True, timeout=30)
    pairs = (line.partition(": ") for line in done.stdout.splitlines())
    return {name: int(value) for name, _, value in pairs if value.strip().isdigit()}


def _wait_until_bound(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if f":{port:04X} " in Path("/proc/net/udp").read_text():
            return
        time.sleep(0.02)
    pytest.fail("the collector did not bind its port")


@pytest.mark.parametrize(("protocol", "form"), FORMS)
def test_nfdump_counts_the_same(protocol: str, form: str, tmp_path: Path) -> None:
    flows, datagrams = exported(protocol, form)
    found = collected(tmp_path, protocol, datagrams)
    scale, extra = (_SAMPLING, 18) if protocol == "sflow" else (1, 0)  # sfcapd estimates, of whole frames
    assert found["Flows"] == len(flows) - (int(conversations(flows).sum()) if form == "biflow" else 0)
    assert found["Packets"] == scale * int(flows["packets"].sum())
    assert found["Bytes"] == scale * int(flows["octets"].sum() + extra * len(flows))
    assert found["Sequence failures"] == 0
    if form == "biflow":
        return  # nfdump takes the reverse's times for the flow's, and counts protocols by the forward half
    for proto, name in ((6, "tcp"), (17, "udp")):
        rows = flows["proto"] == proto
        assert found[f"Packets_{name}"] == scale * int(flows["packets"][rows].sum())
        assert found[f"Bytes_{name}"] == scale * int(flows["octets"][rows].sum() + extra * rows.sum())
    if protocol != "sflow":
        assert found["First"] * 1000 + found["msec_first"] == flows["start_ms"].min()
        assert found["Last"] * 1000 + found["msec_last"] == flows["end_ms"].max()
