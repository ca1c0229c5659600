"""Records what real programs, and our simulator, send of known traffic: hex, a line a datagram, and the truth.

softflowd and pmacctd read the packets of ``traffic.py``; the truth is summed from these packets, the simulator's is the
flows that it drew.  Nothing of the collector is used.  The programs' datagrams hold the time of their recording, so
each run writes other hex, but never another truth:

    python -m tests.golden.record
"""

import json
import select
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
from scapy.packet import Packet
from scapy.utils import wrpcap

from flowtide.simulator.kinds import KINDS
from flowtide.simulator.leases import lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import ExporterPlan, PeoplePlan
from flowtide.simulator.sflow5 import FRAME_OCTETS, least_octets
from flowtide.simulator.traffic import Ends, Traffic
from flowtide.simulator.wire import Wire
from tests.end_to_end.exporters import pmacctd, program
from tests.golden.traffic import Flow, flow, flows, packets
from tests.wire import NOW

RECORDED = Path(__file__).parent / "recorded"
_SAMPLED = 81  # sFlow repeats each packet's first 128 octets: fewer of them do
_SEED, _FLOWS = 7, 120
_SIMULATED = {
    "simulator-v5": ExporterPlan(source="192.0.2.1", protocol="netflow5", told="header", sampling=100),
    "simulator-v9": ExporterPlan(source="192.0.2.1", told="nothing"),
    "simulator-v9-sampled": ExporterPlan(source="192.0.2.1", domains=(10,), sampling=100),
    "simulator-ipfix-sampled": ExporterPlan(source="192.0.2.1", service="mobile", protocol="ipfix", sampling=1000),
    "simulator-ipfix-variable": ExporterPlan(source="192.0.2.1", protocol="ipfix", form="variable"),
    "simulator-ipfix-biflow": ExporterPlan(source="192.0.2.1", protocol="ipfix", form="biflow"),
    "simulator-sflow": ExporterPlan(source="192.0.2.1", protocol="sflow", told="header", sampling=512),
}


@dataclass
class Truth:
    """What the datagrams must come to; ``buckets`` are flows, packets and octets by bucket, where they are known."""

    proves: str
    flows: list[Flow]
    totals: tuple[int, int, int] = (0, 0, 0)
    sampling: int = 1
    buckets: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.totals = len(self.flows), sum(each[5] for each in self.flows), sum(each[6] for each in self.flows)

    def text(self) -> str:
        """As the file has it: a flow a line."""
        fields = asdict(self)
        lines = ",\n".join(f"  {json.dumps(each)}" for each in fields.pop("flows"))
        return json.dumps(fields, indent=1)[:-2] + f',\n "flows": [\n{lines}\n ]\n}}\n'


def truths() -> dict[str, Truth]:
    """By name of the recording."""
    sent = packets()
    everything = flows(sent)
    four = [each for each in everything if ":" not in each[0]]
    found = {
        "softflowd-v5-of-known-traffic": Truth("softflowd 1.1.0, version 5: the flows of IPv4", four),
        "softflowd-v9-of-known-traffic": Truth("softflowd 1.1.0, version 9: all flows", everything),
        "softflowd-ipfix-of-known-traffic": Truth("softflowd 1.1.0, IPFIX: all flows", everything),
        "nfprobe-v9-of-known-traffic": Truth("pmacctd 1.7.7 nfprobe, version 9: all flows", everything),
        "nfprobe-ipfix-of-known-traffic": Truth("pmacctd 1.7.7 nfprobe, IPFIX: all flows", everything),
        "sfprobe-sflow-of-known-traffic": Truth(
            "pmacctd 1.7.7 sfprobe, 1 in 1: each packet, its frame's octets and a checksum's 4",
            sorted((*flow(each)[:6], len(each) + 4) for each in sent[:_SAMPLED]),
        ),
    }
    return found | {name: truth for name, (truth, _) in simulate().items()}


def simulate() -> dict[str, tuple[Truth, list[bytes]]]:
    """What exporters of the simulator send of flows that end by ``NOW``: the same at every run."""
    people, begin_ms, found = PeoplePlan(), NOW * 1000 - 86_400_000, {}
    population = populate(people, _SEED)
    leases = lease(people, population, _SEED, begin_ms, NOW * 1000, "UTC")
    for number, (name, plan) in enumerate(_SIMULATED.items()):
        traffic = Traffic(
            plan.service, people.year, population.of(plan.service), population, Ends(leases, (_SEED, 1, number)),
            sampled=plan.sampling > 1, seed=(_SEED, 2, number), paired=plan.form == "biflow",
        )  # fmt: skip
        drawn = traffic.slice((NOW - 3) * 1000, NOW * 1000, _FLOWS, idle_ms=0, active_ms=60_000)
        counted = 0
        if plan.protocol == "netflow5":
            drawn = drawn[~drawn["is_v6"]]
        if plan.protocol == "sflow":  # a row is a packet, and its octets are those of the frame
            drawn["octets"] = np.maximum(drawn["octets"] // drawn["packets"], least_octets(drawn))
            drawn["packets"], counted = 1, FRAME_OCTETS
        wire = Wire.of(plan, plan.domains[0], begin_ms)
        sent = wire.announcements(NOW * 1000) + wire.datagrams(drawn, NOW * 1000)
        drawn["octets"] += counted
        by_bucket: dict[str, tuple[int, int, int]] = {}
        for each in drawn:
            sums = by_bucket.get(bucket := KINDS[each["kind"]].bucket, (0, 0, 0))
            by_bucket[bucket] = (sums[0] + 1, sums[1] + int(each["packets"]), sums[2] + int(each["octets"]))
        what = f"our simulator, {plan.protocol} {plan.form}, 1 in {plan.sampling}: the flows drawn"
        flows_drawn = sorted(_drawn(each) for each in drawn)
        truth = Truth(what, flows_drawn, sampling=plan.sampling, buckets=dict(sorted(by_bucket.items())))
        found[name] = truth, sent
    return found


def _drawn(each: Any) -> Flow:
    source, destination = (ip_address(bytes(each[end])) for end in ("src", "dst"))
    return (
        str(getattr(source, "ipv4_mapped", None) or source),
        str(getattr(destination, "ipv4_mapped", None) or destination),
        *(int(each[name]) for name in ("src_port", "dst_port", "proto", "packets", "octets")),
    )  # type: ignore[return-value]


class Inbox:
    """A socket on the loopback that keeps what it gets."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return host, port

    def drain(self, quiet: float = 0.5) -> list[bytes]:
        """What has come, and comes until nothing did for ``quiet`` seconds."""
        found = []
        while select.select([self._socket], [], [], quiet)[0]:
            found.append(self._socket.recv(65_535))
        return found

    def close(self) -> None:
        self._socket.close()


def _softflowd(capture: Path, folder: Path, port: int, version: int) -> None:
    subprocess.run(
        [program("softflowd", "softflowd"), "-r", capture.name, "-n", f"127.0.0.1:{port}", "-d", "-p", folder / "pid",
         "-c", "none", "-v", str(version)],
        cwd=folder,  # it tells the name of its file as the interface's
        check=True, timeout=30, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _probe(inbox: Inbox, capture: Path, folder: Path, probe: str, **settings: object) -> list[bytes]:
    with pmacctd(inbox.address[1], folder, probe, "", capture, **settings):
        found = inbox.drain(5.0)  # it sends when its timers say so
    return found + inbox.drain()


def recordings(sent: list[Packet], folder: Path) -> dict[str, list[bytes]]:
    """Run all of them; datagrams by name."""
    whole, first = folder / "whole.pcap", folder / "first.pcap"
    wrpcap(str(whole), sent)
    wrpcap(str(first), sent[:_SAMPLED])
    found: dict[str, list[bytes]] = {}
    with ExitStack() as stack:

        def inbox() -> Inbox:
            made = Inbox()
            stack.callback(made.close)
            return made

        for name, version in (("v5", 5), ("v9", 9), ("ipfix", 10)):
            made = inbox()
            _softflowd(whole, folder, made.address[1], version)
            found[f"softflowd-{name}-of-known-traffic"] = made.drain()
        probes: tuple[tuple[str, Callable[[], list[bytes]]], ...] = (
            ("nfprobe-v9", lambda: _probe(inbox(), whole, folder, "nfprobe", nfprobe_version=9)),
            ("nfprobe-ipfix", lambda: _probe(inbox(), whole, folder, "nfprobe", nfprobe_version=10)),
            ("sfprobe-sflow",
             lambda: _probe(inbox(), first, folder, "sfprobe", sfprobe_agentip="192.0.2.77", sampling_rate=1)),
        )  # fmt: skip
        for name, run in probes:
            found[f"{name}-of-known-traffic"] = run()
    return found | {name: sent for name, (_, sent) in simulate().items()}


def main() -> None:
    """Write them all."""
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = recordings(packets(), Path(folder))
    for name, truth in truths().items():
        (RECORDED / f"{name}.hex").write_text("".join(f"{each.hex()}\n" for each in found[name]))
        (RECORDED / f"{name}.json").write_text(truth.text())


if __name__ == "__main__":
    main()
