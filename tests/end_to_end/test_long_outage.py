"""The broker is away for ten minutes: nothing is lost, memory stays flat, order is kept."""

import json
import socket
import time
from pathlib import Path

import pytest

from sinks import RAW_STREAM
from sinks.codec import decode
from sinks.delivery import RawHeaders, Sequences
from sinks.schema import RAW
from tests.broker import Broker
from tests.end_to_end.cluster import Cluster, start_load
from tests.end_to_end.test_kill import free_port
from tests.end_to_end.test_torture import check, own_broker
from tests.end_to_end.trials import read_topic

__all__ = ["own_broker"]
BEFORE_SECONDS = 20
AFTER_SECONDS = 20
GROWTH_OCTETS = 64 << 20  # of any process, over the outage: what it holds anyway once it has worked for a while


def resident(cluster: Cluster) -> dict[str, int]:
    """Resident memory by process, in octets."""
    found = {}
    for member in cluster.members:
        if member.alive:
            assert member.process
            pids = {member.name: member.process.pid}
            pids |= {f"{member.name}/{name}": pid for name, pid in member.children().items()}
            for name, pid in pids.items():
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                found[name] = pages * 4096
    return found


def assert_order(address: str) -> None:
    """Along the log of each partition the collector's numbers grow, and each exporter's arrivals never step back."""
    seen: dict[int, Sequences] = {}
    newest: dict[str, int] = {}
    for message in read_topic(address, RAW_STREAM):
        headers = RawHeaders.decode(message.headers)
        new, _ = seen.setdefault(message.partition, Sequences()).admit(headers.collector, headers.sequence)
        if not new or headers.kind != "flow":
            continue
        batch = decode(message.body, RAW)
        received = batch.columns["received"].view("i8")
        for number, exporter in enumerate(batch.labels["exporter"]):
            mine = received[batch.columns["exporter"] == number]
            if len(mine):
                assert (mine[1:] >= mine[:-1]).all() and mine[0] >= newest.get(exporter, 0), exporter
                newest[exporter] = int(mine[-1])


@pytest.mark.soak
@pytest.mark.parametrize("outage_seconds", [600])
def test_the_broker_is_away(own_broker: Broker, tmp_path: Path, outage_seconds: float) -> None:
    cluster = Cluster(own_broker, tmp_path / "cluster", free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM))
    sent, sizes = 0, []
    try:
        cluster.start()
        end = time.monotonic() + BEFORE_SECONDS + outage_seconds + AFTER_SECONDS
        outage_at = time.monotonic() + BEFORE_SECONDS
        down = False
        while (left := end - time.monotonic()) > 1:
            load = start_load(cluster.udp, 20_000, min(left, 300))
            while load.poll() is None:
                time.sleep(1)
                away = outage_at <= time.monotonic() < outage_at + outage_seconds
                if away and not down:
                    own_broker.kill()
                elif down and not away:
                    own_broker.start()
                down = away
                sizes.append((away, resident(cluster)))
            sent += json.loads(load.communicate()[0])["flows"]
        during = [size for away, size in sizes if away][5:]
        growth = {name: during[-1][name] - during[0][name] for name in during[0] if name in during[-1]}
        print(json.dumps({"sent": sent, "growth, MB": {name: round(n / 1e6, 1) for name, n in growth.items()},
                          "at the end, MB": {name: round(n / 1e6) for name, n in during[-1].items()}}))  # fmt: skip
        check(cluster, sent)
        assert_order(own_broker.address)
        assert all(octets < GROWTH_OCTETS for octets in growth.values()), growth
    finally:
        cluster.close()
