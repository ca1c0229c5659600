"""What comes out of the sockets, and what the line-rate ring says it sent."""

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bench import load
from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.settings import DecoderSettings
from flowtide.simulator import sender as module
from flowtide.simulator.sender import LineRate, Sender
from tests.unit.test_simulator_encoder import dissect
from tests.unit.test_simulator_netflow5 import dissect as dissect5
from tests.unit.test_simulator_wire import NOW_MS, drawn, planned

NOW = NOW_MS / 1000


@contextmanager
def inbox(host: str = "127.0.0.1", octets: int | None = 1 << 21) -> Iterator[socket.socket]:
    """A bound socket with a receive buffer that holds what a test sends, or the default one."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as made:
        if octets is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
        made.bind((host, 0))
        yield made


def drain(made: socket.socket) -> list[tuple[str, bytes]]:
    """Source and payload of all that has come, and comes within a moment."""
    got = []
    made.settimeout(0.2)
    try:
        while True:
            payload, address = made.recvfrom(65_535)
            got.append((address[0], payload))
    except TimeoutError:
        return got


@contextmanager
def one_call_a_datagram(monkeypatch: pytest.MonkeyPatch, apart: bool) -> Iterator[None]:
    """``apart``: as where there is no sendmmsg."""
    with monkeypatch.context() as patch:
        if apart:
            patch.setattr(module, "_sendmmsg", None)
        yield


@pytest.mark.parametrize("apart", [False, True])
def test_all_datagrams_come_in_order_from_the_source(monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    datagrams = [bytes([at % 256]) * (1 + at % 97) for at in range(100)]
    breaths: list[float] = []
    with one_call_a_datagram(monkeypatch, apart), inbox() as made:
        sender = Sender("127.0.0.9", made.getsockname(), pause=breaths.append)
        assert [sender.send(part) for part in (datagrams[:10], [], datagrams[10:17], datagrams[17:])] == [10, 0, 7, 83]
        assert sender.source == "127.0.0.9"
        sender.close()
        assert drain(made) == [("127.0.0.9", datagram) for datagram in datagrams]
    # A breath after every sixteenth, however they are handed in.
    assert breaths == [0.001] * 6


def test_a_default_buffer_that_is_read_in_every_breath_loses_nothing() -> None:
    datagrams = [bytes(1_472)] * 1_000
    with inbox(octets=None) as made:
        made.setblocking(False)
        got = 0

        def breathe(_: float) -> None:
            nonlocal got
            for _ in range(16):
                got += len(made.recv(65_535)) == 1_472

        sender = Sender("127.0.0.9", made.getsockname(), pause=breathe)
        sender.send(datagrams[:992])
        assert got == 992
        sender.close()


@pytest.mark.parametrize("apart", [False, True])
def test_nobody_listening_is_no_error(monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    with inbox() as made:
        to = made.getsockname()
    with one_call_a_datagram(monkeypatch, apart):
        sender = Sender("127.0.0.9", to, pause=lambda _: None)
        assert sender.send([b"x"] * 50) == 50
        sender.close()


def test_other_machines_are_refused_unless_meant() -> None:
    for host in ("192.0.2.1", "2001:db8::1", "0.0.0.0"):
        with pytest.raises(ValueError, match="not of the loopback"):
            Sender("127.0.0.9", (host, 2055))
        with pytest.raises(ValueError, match="not of the loopback"):
            LineRate(planned("netflow9"), (host, 2055), drawn(28, v6=0), 28, NOW)
    with inbox("::1") as made:
        sender = Sender("127.0.0.9", made.getsockname()[:2])  # an IPv4 source cannot be had there
        sender.send([b"x"])
        sender.close()
        assert drain(made) == [("::1", b"x")]


@pytest.mark.parametrize(("protocol", "records"), [("netflow5", 30), ("netflow9", 28), ("ipfix", 18)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_ring_goes_round_with_new_numbers_and_times(
    protocol: str, records: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = drawn(5 * records + 7, v6=0)
    with one_call_a_datagram(monkeypatch, apart), inbox() as made:
        ring = LineRate(planned(protocol), made.getsockname(), flows, records, NOW)
        ring.announce(NOW)
        sent = 0
        for now in itertools.chain([NOW] * 4, [NOW + 0.5], [NOW + 70] * 30):
            sent += ring.send(3, now)
            if sent >= 17:
                break
        ring.close()
        payloads = [payload for _, payload in drain(made)]
    assert ring.totals.flows == sent * records
    assert ring.totals.datagrams == sent + (protocol != "netflow5") == len(payloads)
    rounds = [flows[at % 5 * records : (at % 5 + 1) * records] for at in range(sent)]
    assert ring.totals.octets == sum(int(part["octets"].sum()) for part in rounds)
    assert ring.totals.packets == sum(int(part["packets"].sum()) for part in rounds)
    if protocol == "ipfix":
        _has_moved_ipfix(payloads[1:], rounds)
    else:
        _has_moved(protocol, payloads, rounds)


def _has_moved(protocol: str, payloads: list[bytes], rounds: list[Any]) -> None:
    headers, read = dissect5(payloads) if protocol == "netflow5" else dissect(payloads)[:2]
    numbers = [getattr(each, "flowSequence" if protocol == "netflow5" else "packageSequence") for each in headers]
    step = 30 if protocol == "netflow5" else 1
    assert numbers == list(range(0, step * len(payloads), step))
    headers = headers if protocol == "netflow5" else headers[1:]
    moved = {header.unixSecs - int(NOW) for header in headers}
    assert moved == {0, 70}
    names = ("first", "last") if protocol == "netflow5" else ("FIRST_SWITCHED", "LAST_SWITCHED")
    rows = [(header, flow) for header, part in zip(headers, rounds, strict=True) for flow in part]
    for (header, flow), record in zip(rows, read, strict=True):
        now_ms = header.unixSecs * 1000 + getattr(header, "unixNanoSeconds", 0) // 1_000_000
        later = 1000 * (header.unixSecs - int(NOW))
        told = [now_ms - header.sysUptime + int(getattr(record, name)) for name in names]
        assert told == [flow["start_ms"] + later, flow["end_ms"] + later]


def _has_moved_ipfix(payloads: list[bytes], rounds: list[Any]) -> None:
    # RFC 7011 section 3.1; the announcement had one record of sampling and six of names.
    assert [int.from_bytes(each[8:12], "big") for each in payloads] == [7 + 18 * at for at in range(len(payloads))]
    for payload, part in zip(payloads, rounds, strict=True):
        later = int.from_bytes(payload[4:8], "big") - int(NOW)
        assert later in (0, 70)
        ends = [int.from_bytes(payload[at + 61 : at + 69], "big") for at in range(20, 20 + 18 * 69, 69)]
        starts = [int.from_bytes(payload[at + 53 : at + 61], "big") for at in range(20, 20 + 18 * 69, 69)]
        assert ends == [end + 1000 * later for end in part["end_ms"].tolist()]
        assert starts == [start + 1000 * later for start in part["start_ms"].tolist()]


def test_a_ring_of_variable_records_goes_round_with_new_times() -> None:
    flows = drawn(5 * 16, v6=0)
    with inbox() as made:
        ring = LineRate(planned("ipfix", "variable"), made.getsockname(), flows, 16, NOW)
        ring.announce(NOW)
        assert [ring.send(5, now) for now in (NOW, NOW + 70)] == [5, 5]
        ring.close()
        payloads = [payload for _, payload in drain(made)]
    decoder = Decoder(DecoderSettings(), "test")
    source, came_ms = "127.0.0.9", int((NOW + 70) * 1000)
    decoder.add(Datagrams([source] * len(payloads), [memoryview(each) for each in payloads], came_ms))
    rows = decoder.take()
    assert rows is not None and len(rows) == 160
    later = np.repeat([0, 70_000], 80)
    assert (rows.columns["ts"].view("i8") == np.tile(flows["end_ms"], 2) + later).all()
    assert (rows.columns["ts_start"].view("i8") == np.tile(flows["start_ms"], 2) + later).all()
    assert int(rows.columns["octets"].sum()) == ring.totals.octets == 2 * int(flows["octets"].sum())
    assert not [count for count in decoder.take_counts() if "missed" in count.counter]


def test_a_ring_that_cannot_be_is_refused() -> None:
    with inbox() as made:
        to = made.getsockname()
        for plan, records, message in (
            (planned("netflow9"), 31, "not one datagram"), (planned("netflow9"), 200, "not one datagram"),
            (planned("sflow"), 5, "line rate"), (planned("ipfix", "biflow"), 5, "line rate"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                LineRate(plan, to, drawn(100, v6=0), records, NOW)


@pytest.mark.parametrize(
    ("kind", "records", "seconds"),
    [("v9", 28, 1.1), ("v9", 2, 0.2), ("ipfix", 18, 0.2), ("v5", 30, 0.2)],
)
def test_the_load_generator_knows_what_it_sent(kind: str, records: int, seconds: float) -> None:
    with inbox() as made:
        begin = time.time()
        told = load.run(made.getsockname(), load.KINDS[kind], records, 200 * records, seconds, 2, 1, threading.Event())
        got = drain(made)
    assert told["datagrams"] == len(got)
    assert isinstance(told["buckets"], dict) and sum(told["buckets"].values()) == told["octets"]
    assert isinstance(told["exporters"], dict)
    announced = 0 if kind == "v5" else 2
    assert told["flows"] == (len(got) - announced) * records
    if kind != "v9":
        return
    for exporter, part in told["exporters"].items():
        headers, flows, _ = dissect([payload for host, payload in got if host == exporter])
        assert [header.packageSequence for header in headers] == list(range(len(headers)))
        assert sum(int(flow.IN_BYTES) for flow in flows) == part["octets"]
        assert sum(int(flow.IN_PKTS) for flow in flows) == part["packets"]
        # Times move with the clock: header uptime and flow ends by the same amount.
        assert all(begin - 2 < header.unixSecs <= time.time() for header in headers)
        assert (headers[-1].unixSecs > headers[1].unixSecs) >= (seconds > 1)
        moved = (headers[-1].unixSecs - headers[1].unixSecs) * 1000
        assert headers[-1].sysUptime - headers[1].sysUptime == moved
        ends = [headers[-1].sysUptime - int(flow.LAST_SWITCHED) for flow in flows[-records:]]
        assert all(-1_000 <= age <= 3_000 for age in ends)


def test_many_templates_are_what_the_load_generator_says() -> None:
    with inbox() as made:
        told = load.run(made.getsockname(), load.KINDS["layouts"], 10, 2_000, 0.5, 3, 1, threading.Event())
        got = drain(made)
    decoder = Decoder(DecoderSettings(), "test")
    came_ms = int(time.time() * 1000)
    decoder.add(Datagrams([host for host, _ in got], [memoryview(payload) for _, payload in got], came_ms))
    batches = list(iter(decoder.take, None))
    for name in ("octets", "packets"):
        assert sum(int(batch.columns[name].sum()) for batch in batches if batch is not None) == told[name]
    assert sum(len(batch) for batch in batches if batch is not None) == told["flows"] != 0
    assert decoder.templates() == 3 * 20
    sets = {int.from_bytes(payload[20:22], "big") for _, payload in got} - {0}
    assert sets == set(range(256, 276))


def test_the_load_generator_is_a_command() -> None:
    with inbox() as made:
        to = f"127.0.0.1:{made.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", "--to", to, "--kind", "v5", "--rate", "3000", "--seconds", "0.2"],
            check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        got = drain(made)
    assert f'"datagrams": {len(got)}, "flows": {30 * len(got)},' in done.stdout
    assert '"kind": "v5", "records": 30' in done.stdout
