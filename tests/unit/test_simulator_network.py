"""The simulated network as a whole: what it sends is its truth, read back by scapy."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from scapy.layers.netflow import NetflowHeader, netflowv9_defragment

from flowtide.simulator.network import Network
from flowtide.simulator.scenario import Scenario

BEGIN_MS = 1_717_340_400_000  # Monday 2024-06-03, 0 h in Tokyo
EXPORTERS = [
    {"source": "127.0.0.2", "domains": [10], "sampling": 100, "share": 0.5},
    {"source": "127.0.0.3", "domains": [20], "told": "nothing", "share": 0.4},
    {"source": "127.0.0.4", "service": "mobile", "protocol": "ipfix", "domains": [30], "sampling": 1000, "share": 0.1},
]


def scenario(per_second: float = 900, **values: Any) -> Scenario:
    made: dict[str, Any] = {
        "title": "test", "seed": 3, "exporters": EXPORTERS, "flows": {"per_second": per_second, "daily_curve": False},
        "clock": {"zone": "UTC"},
    }  # fmt: skip
    return Scenario.model_validate(made | values)


def volumes(length: str = "1d", speed: float = 4_000, **values: Any) -> Scenario:
    return scenario(
        flows={"law": "volumes"}, people={"pppoe": 40, "ipoe": 10, "mobile": 30, "churn": 20},
        clock={"begin": "2024-06-03T00:00", "length": length, "speed": speed}, **values,
    )  # fmt: skip


def dissect(datagrams: list[bytes]) -> list[Any]:
    """Flow records as scapy reads them, templates applied."""
    flows = []
    for message in netflowv9_defragment([NetflowHeader(datagram) for datagram in datagrams]):
        layer = message.payload.payload
        while layer and layer.name != "NoPayload":
            for record in layer.fields.get("records", []):
                if type(record).__name__ != "Padding" and "Options" not in type(record).__name__:
                    flows.append(record)
            layer = layer.payload
    return flows


@contextmanager
def inbox(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
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


def test_what_is_sent_is_the_truth() -> None:
    with inbox() as made:
        start = time.time()
        network = Network(scenario(), [made.getsockname()], begin_ms=int(start * 1000) - 60_000)
        sent = [network.send(start), network.send(start + 0.5), network.send(start + 0.4), network.send(start + 9.0)]
        got = drain(made)
        truth = network.truth()
        exporters = network.exporters
        network.close()
    assert sent[0] == sent[2] == 0  # announced only; set back
    # Sampled and short flows are exported once; of the unsampled ones a few in pieces.
    assert sent[1] == pytest.approx(450, abs=20)
    assert sent[3] == pytest.approx(900, abs=30)  # the 8.5 s pause is caught up for one second only
    assert sum(row.flows for row in truth) == sum(sent)
    for exporter in exporters[:2]:
        flows = dissect([payload for host, payload in got if host == exporter])
        rows = [row for row in truth if row.exporter == exporter]
        assert len(flows) == sum(row.flows for row in rows)
        assert sum(int(flow.IN_BYTES) for flow in flows) == sum(row.octets for row in rows)
        assert sum(int(flow.IN_PKTS) for flow in flows) == sum(row.packets for row in rows)
        assert len({row.bucket for row in rows}) == len(rows)
    # IPFIX numbers its data records; the last message's number is that of those before it.
    last = [payload for host, payload in got if host == exporters[2]][-1]
    counted = int.from_bytes(last[8:12], "big")
    assert 0 <= sum(row.flows for row in truth if row.exporter == exporters[2]) + 14 - counted <= 25


def test_exporters_are_told_apart_by_address() -> None:
    with inbox() as made:
        now = time.time()
        network = Network(scenario(100), [made.getsockname()], begin_ms=int(now * 1000))
        network.send(now)
        hosts = Counter(host for host, _ in drain(made))
        network.close()
    assert hosts == {"127.0.0.2": 1, "127.0.0.3": 1, "127.0.0.4": 1}


def test_a_run_ends_when_told_and_after_its_time() -> None:
    sent: list[bytes] = []
    network = Network(scenario(1_000), begin_ms=BEGIN_MS, send=lambda _, datagrams: sent.extend(datagrams))
    stop = threading.Event()
    stop.set()
    begin = time.monotonic()
    assert network.run(stop, 60) == 0
    assert time.monotonic() - begin < 5
    stop.clear()
    flows = network.run(stop, 0.5)
    assert 400 <= flows <= 560  # half a second, in steps of 20 ms
    assert sum(row.flows for row in network.truth()) == flows
    assert sent


def payloads(made: Scenario, *, until_ms: int = 1 << 62) -> list[bytes]:
    found = []
    for datagram in Network(made, begin_ms=BEGIN_MS).datagrams():
        if datagram.export_ms > until_ms:
            break
        found.append(datagram.payload)
    return found


def test_the_same_seed_gives_the_same_bytes_whatever_the_clock() -> None:
    quick = scenario(300, clock={"begin": "2024-06-03T00:00", "length": 60, "speed": 200})
    listed = payloads(quick)
    sent: list[tuple[str, Sequence[bytes]]] = []
    network = Network(quick, begin_ms=BEGIN_MS, send=lambda source, datagrams: sent.append((source, datagrams)))
    network.run(threading.Event())
    assert sorted(payload for _, part in sent for payload in part) == sorted(listed)
    assert payloads(quick) == listed
    assert payloads(quick.model_copy(update={"seed": 4})) != listed
    assert len(listed) > 20


def test_it_is_never_faster_than_its_clock_or_so_many_datagrams_a_second() -> None:
    quick = scenario(300, clock={"begin": "2024-06-03T00:00", "length": 60, "speed": 200})
    begin = time.monotonic()
    Network(quick, begin_ms=BEGIN_MS).run(threading.Event())
    assert time.monotonic() - begin > 0.29
    count = len(payloads(quick))
    begin = time.monotonic()
    Network(quick, begin_ms=BEGIN_MS).run(threading.Event(), datagrams_per_second=count)
    assert time.monotonic() - begin > 0.7


def test_volumes_come_out_to_the_octet_at_unsampled_exporters() -> None:
    network = Network(volumes(), begin_ms=BEGIN_MS)
    octets = sum(len(datagram.payload) for datagram in network.datagrams())
    assert octets > 100_000
    lines = network.account.table("subscriber_1d").to_pylist()
    got = {(line["user"], line["direction"]): line["octets_est"] for line in lines}
    true = {(line["user"], line["direction"]): line["true_octets"] for line in lines}
    people = network.population
    names = [(people.name[user], direction) for user in range(len(people)) for direction in (1, 2)]
    assert sorted(true) == sorted(names)
    for user in people.of("fixed").tolist():
        # A Monday's part of the week, by the sums of the model's shapes of downloads.
        wanted = 7 * people.octets_a_day[user, 1] * 13.26 / (5 * 13.26 + 2 * 15.31)
        assert true[people.name[user], 2] == pytest.approx(wanted, rel=1e-3)
    behind: dict[str, set[str]] = {}
    for line in network.account.table("bucket_5m").to_pylist():
        behind.setdefault(line["exporter"], set()).add(line["service"])
    assert behind == {"127.0.0.2": {"fixed"}, "127.0.0.3": {"fixed"}, "127.0.0.4": {"mobile"}}
    # A user sits behind one exporter; behind the unsampled one each octet is there.
    exact = {
        user for user in {line["user"] for line in lines} if all(got[user, way] == true[user, way] for way in (1, 2))
    }
    assert 20 < len(exact) < 80
    assert {str(line["day"]) for line in lines} == {"2024-06-03"}
    sampled = [line for line in lines if line["user"] not in exact]
    error = sum(line["octets_est"] - line["true_octets"] for line in sampled)
    assert abs(error) < 4 * np.sqrt(sum(line["octets_variance"] for line in sampled))


def test_a_share_of_the_rate_is_an_exporters_and_the_curve_moves_it() -> None:
    def flows(hour: int) -> Counter[str]:
        made = scenario(600, flows={"per_second": 600}, clock={"zone": "Asia/Tokyo"})
        network = Network(made, begin_ms=BEGIN_MS + hour * 3_600_000)
        end = network.begin_ms + 10_000
        for datagram in network.datagrams():
            if datagram.export_ms > end:
                break
        counted: Counter[str] = Counter()
        for row in network.truth():
            counted[row.exporter] += row.flows
        return counted

    night, evening = flows(4), flows(21)
    # Of the hour's shape both ways together: some 0.2 at 4 h, 1 at 21 h, of a mean of 0.57.
    assert evening["127.0.0.2"] / night["127.0.0.2"] > 3
    assert evening["127.0.0.2"] / evening["127.0.0.3"] == pytest.approx(0.5 / 0.4, rel=0.1)
    assert sum(evening.values()) > 6_000 > sum(night.values())


def test_the_estimate_goes_on_over_a_change_of_the_interval() -> None:
    made = scenario(
        300, exporters=[EXPORTERS[0]],
        incidents=[{"kind": "sampling_change", "begin": 60, "end": 120, "sampling": 10}],
        clock={"begin": "2024-06-03T00:00", "length": 180, "speed": 100, "zone": "UTC"},
    )  # fmt: skip
    network = Network(made, begin_ms=BEGIN_MS)
    for _ in network.datagrams():
        pass
    found = {row.sampling: 0 for row in network.truth()}
    for row in network.truth():
        found[row.sampling] += row.octets * row.sampling
    assert set(found) == {10, 100}
    # Two thirds of the time at 1:100, the rest at 1:10; 36,000 and 180,000 sampled flows.
    assert found[100] / found[10] == pytest.approx(2, rel=0.03)


def test_a_line_rate_is_not_a_networks() -> None:
    with pytest.raises(ValueError, match="LineRate"):
        Network(scenario(flows={"law": "line"}), begin_ms=BEGIN_MS)


def test_all_protocols_and_forms_at_once() -> None:
    exporters = [
        {"source": "127.0.0.2", "domains": [1, 2]},
        {"source": "127.0.0.3", "protocol": "netflow5", "told": "header"},
        {"source": "127.0.0.4", "service": "mobile", "protocol": "ipfix", "form": "variable", "sampling": 10},
        {"source": "127.0.0.5", "service": "mobile", "protocol": "ipfix", "form": "biflow"},
        {"source": "127.0.0.6", "protocol": "sflow", "told": "header", "sampling": 50},
    ]
    incidents = [
        {"kind": "quic_step", "points": 8, "begin": 0, "end": 5},
        {"kind": "template_loss", "exporter": "127.0.0.4", "begin": 5, "end": 10},
        {"kind": "template_loss", "exporter": "127.0.0.3", "begin": 5, "end": 10},
        {"kind": "clock_skew", "begin": 10, "end": 12, "seconds": -300},
        {"kind": "long_flows", "begin": 12, "end": 15, "seconds": 1800},
        {"kind": "duplicate_export", "exporter": "127.0.0.6", "other": "127.0.0.9", "begin": 15, "end": 20},
    ]
    clock = {"begin": "2024-06-03T00:00", "length": 30, "speed": 10, "zone": "UTC"}
    network = Network(scenario(500, exporters=exporters, incidents=incidents, clock=clock), begin_ms=BEGIN_MS)
    seen = Counter((datagram.source, datagram.domain) for datagram in network.datagrams())
    assert set(seen) == {("127.0.0.2", 1), ("127.0.0.2", 2), *((f"127.0.0.{at}", 1) for at in (3, 4, 5, 6, 9))}
    whole = Counter[str]()
    for line in network.account.table("exporter_1m").to_pylist():
        whole[line["exporter"]] += line["flows"]
    sent = Counter[str]()
    for row in network.truth():
        sent[row.exporter] += row.flows
    assert sent == whole
    assert min(whole.values()) > 100
