"""Two enrichers over Kafka: ``radclient`` tells the one, and either names the same subscribers."""

import json
import time
import urllib.request
from pathlib import Path

import pytest

from enricher.subscribers import sub_ids
from flowtide.simulator.scenario import ExporterPlan
from flowtide.simulator.wire import Wire
from tests.broker import Broker, free_port
from tests.broker.fixtures import broker as broker
from tests.end_to_end.cluster import Cluster, Member
from tests.end_to_end.radius_subscriber import radclient, send

KEY, SECRET, TOPIC = "sixteen octets at least", "testing123", "shared.leases"

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")


def configure(member: Member, more: str) -> None:
    """Settings of the enricher, at the end of the file."""
    text = member.config.read_text().replace("[enricher]", f'[enricher]\nkey = "{KEY}"\nreload_seconds = 0.2')
    text = text.replace("[kafka]", '[kafka]\ntopic_prefix = "shared."')
    member.config.write_text(text + more)


def told(port: int, status: str, user: str, at: int) -> None:
    assert radclient(port, status, user, f"{user}1", at, SECRET, tries=3, seconds=2)


def metrics(member: Member) -> str:
    """All of an enricher's; '' before it answers."""
    try:
        facts = json.loads((member.data / "data" / "state" / "enrich.json").read_text())
        url = next(each for each in facts.values() if isinstance(each, str) and each.startswith("http"))
        with urllib.request.urlopen(f"{url.removesuffix('/metrics')}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except (OSError, StopIteration):
        return ""


def metric(member: Member, name: str) -> float:
    """One of them, its labels summed."""
    found = [line for line in metrics(member).splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def octets(cluster: Cluster) -> dict[str, int]:
    """By subscriber; '' is nobody's, '?' somebody whom nobody told of."""
    names = ["alice", "bob"]
    ids = sub_ids(KEY.encode(), [("fixed", name, "pppoe") for name in names]).tolist()
    called = dict(zip(ids, names, strict=True)) | {0: ""}
    found = cluster.query("SELECT sub_id, sum(octets) AS o FROM flows GROUP BY sub_id")
    return {called.get(row["sub_id"], "?"): row["o"] for row in found}


def test_either_enricher_names_the_same_subscribers(tmp_path: Path, broker: Broker) -> None:
    udp, http, radius = free_port(), free_port(), free_port()
    cluster = Cluster(broker, tmp_path, udp, http)
    listener, other = cluster.enrichers[:2]
    source = f'[[enricher.sources]]\nkind = "kafka"\npath = "{TOPIC}"\n'
    configure(
        listener,
        f'{source}[enricher.radius]\nlisten = "127.0.0.1:{radius}"\nlabels = "fixed;personal;pppoe;east"\n'
        f'publish = "{TOPIC}"\nclients = {{"127.0.0.1" = "{SECRET}"}}\n',
    )
    configure(other, source)
    sink = cluster.sinks[0]
    for member in (cluster.collect, cluster.serve, sink):
        configure(member, "")
    wire = Wire.of(ExporterPlan(source="127.0.0.1", told="nothing"), 1, int(time.time() - 86_400) * 1000)
    try:
        cluster.serve.start()
        cluster.wait(lambda: bool(cluster.query("SELECT 1 AS one")))
        for member in (cluster.collect, sink, listener):
            member.start()
        cluster.wait(cluster.listening)
        cluster.wait(lambda: "enricher_radius_sessions" in metrics(listener))
        now = int(time.time())
        began, over = now - 120, now - 60
        told(radius, "Start", "bob", over)
        told(radius, "Stop", "alice", over)
        told(radius, "Start", "alice", began)
        # Its own sessions, and the same two leases from the topic.
        cluster.wait(lambda: metric(listener, "enricher_lease_source_leases") == 4)
        ends = [over * 1000 - 30_000, over * 1000 - 1, over * 1000, over * 1000 + 30_000, began * 1000 - 1]
        sizes = [1_001, 1_010, 1_100, 2_000, 5_000]
        send(udp, wire, ends, sizes)
        cluster.wait(lambda: octets(cluster) == {"alice": 2_011, "bob": 3_100, "": 5_000})
        # The other one hears no RADIUS; it takes over when the listener has gone.
        other.start()
        cluster.wait(lambda: metric(other, "enricher_lease_source_leases") == 2)
        assert listener.stop() == 0
        send(udp, wire, ends, sizes)
        cluster.wait(lambda: octets(cluster) == {"alice": 2 * 2_011, "bob": 2 * 3_100, "": 10_000})
        assert metric(other, "enricher_flows_total") > 0
    finally:
        cluster.close()
