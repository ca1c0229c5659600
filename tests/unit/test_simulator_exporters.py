"""What an exporter makes of flows: samples, pieces, times; what incidents do to it.  Wires are looked into by rows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtide.simulator import exporters
from flowtide.simulator.exporters import Exporter
from flowtide.simulator.incidents import Incidents
from flowtide.simulator.leases import Leases, lease
from flowtide.simulator.population import Population, populate
from flowtide.simulator.scenario import ExporterPlan, Incident, PeoplePlan
from flowtide.simulator.traffic import DRAWN, Ends
from flowtide.simulator.truth import Truth

BEGIN_MS = 1_717_340_400_000
STEP_MS = 1_000
SOURCE, OTHER = "127.0.0.2", "127.0.0.9"
PEOPLE = PeoplePlan(pppoe=20, ipoe=0, mobile=0, enterprise_pppoe=0, enterprise_ipoe=0, enterprise_mobile=0, churn=90)


@dataclass
class FakeWire:
    """Remembers what it was given; a datagram says how many rows it stands for."""

    plan: ExporterPlan
    domain: int
    told: list[tuple[int, int | None]] = field(default_factory=list)
    rows: list[tuple[int, NDArray[np.void]]] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)

    def announcements(self, export_ms: int, *, sampling: int | None = None) -> list[bytes]:
        self.told.append((export_ms, sampling))
        return [b"templates"]

    def datagrams(self, flows: NDArray[np.void], export_ms: int) -> list[bytes]:
        assert len(flows)
        self.rows.append((export_ms, flows.copy()))
        return [b"%d" % len(flows)]

    def restart(self, boot_ms: int) -> None:
        self.boots.append(boot_ms)


class Bench:
    """One exporter with wires that are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *incidents: Incident, **plan: Any) -> None:
        self.wires: dict[tuple[str, int], FakeWire] = {}
        monkeypatch.setattr(exporters, "Wire", self)
        made = ExporterPlan.model_validate({"source": SOURCE, **plan})
        self.people: Population = populate(PEOPLE, 1)
        self.leases: Leases = lease(PEOPLE, self.people, 1, BEGIN_MS, BEGIN_MS + 86_400_000, "UTC")
        self.truth = Truth(self.people, [SOURCE, OTHER], made.domains, "UTC")
        doubles = any(each.kind == "duplicate_export" for each in incidents)
        self.exporter = Exporter(
            made, [0, 1] if doubles else [0], self.truth, Incidents(incidents, BEGIN_MS, 2024), Ends(self.leases, (1,)),
            begin_ms=BEGIN_MS, step_ms=STEP_MS, announce_ms=10_000, seed=(1, 2),
        )  # fmt: skip

    def of(self, plan: ExporterPlan, domain: int, boot_ms: int) -> FakeWire:
        assert boot_ms < BEGIN_MS
        return self.wires.setdefault((plan.source, domain), FakeWire(plan, domain))

    def run(self, flows: NDArray[np.void], seconds: int, *, sampled: bool = False) -> NDArray[np.void]:
        """What is exported of them, in order."""
        self.exporter.offer(flows, sampled=sampled)
        self.datagrams = [each for at in range(1, seconds + 1) for each in self.exporter.step(BEGIN_MS + at * STEP_MS)]
        return self.sent(SOURCE)

    def sent(self, source: str) -> NDArray[np.void]:
        found = [part for (of, _), wire in self.wires.items() if of == source for part in wire.rows]
        found.sort(key=lambda part: part[0])
        return np.concatenate([rows for _, rows in found]) if found else np.zeros(0, exporters.EXPORTED)

    def stamps(self, source: str = SOURCE) -> list[int]:
        return [export_ms for (of, _), wire in self.wires.items() if of == source for export_ms, _ in wire.rows]

    def total(self, table: str, *columns: str) -> list[int]:
        made = self.truth.table(table)
        return [sum(value or 0 for value in made[column].to_pylist()) for column in columns]


def flows(n: int, *, seconds: float = 20, lasts_ms: int = 5_000, packets: int = 40, seed: int = 1) -> NDArray[np.void]:
    random = np.random.default_rng(seed)
    made = np.zeros(n, DRAWN)
    made["user"], made["peer"], made["direction"], made["proto"] = np.arange(n) % 20, -1, 2, 6
    made["is_v6"] = random.random(n) < 0.5
    made["src_port"], made["dst_port"] = 443, 50_000 + np.arange(n) % 1_000
    made["packets"] = random.integers(1, 2 * packets, n)
    made["octets"] = made["packets"] * random.integers(60, 1_400, n)
    made["end_ms"] = BEGIN_MS + np.sort(random.integers(0, int(seconds * 1000), n))
    made["start_ms"] = made["end_ms"] - lasts_ms
    return made


def with_addresses(bench: Bench, made: NDArray[np.void]) -> NDArray[np.void]:
    Ends(bench.leases, (9,)).fill(made)
    return made


def test_a_flow_leaves_when_it_was_idle_and_at_the_end_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, idle_seconds=7)
    found = bench.run(flows(500), 30)
    assert len(found) == 500
    wire = bench.wires[SOURCE, 1]
    for export_ms, rows in wire.rows:
        assert export_ms % STEP_MS == 0
        waited = export_ms - rows["end_ms"]
        assert waited.min() > 7_000
        assert waited.max() <= 7_000 + STEP_MS
    assert [at for at, _ in wire.told] == [BEGIN_MS + second * 1000 for second in (1, 11, 21)]
    assert bench.datagrams[0].payload == b"templates"


def test_domains_take_flows_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, domains=[5, 6, 7])
    bench.run(flows(300), 40)
    counts = {domain: sum(len(rows) for _, rows in wire.rows) for (_, domain), wire in bench.wires.items()}
    assert counts == {5: 100, 6: 100, 7: 100}


@pytest.mark.parametrize("lasts_ms", [60_000, 60_001, 130_000, 1_000_000])
def test_pieces_sum_to_the_whole(monkeypatch: pytest.MonkeyPatch, lasts_ms: int) -> None:
    bench = Bench(monkeypatch, active_seconds=60)
    made = flows(200, lasts_ms=lasts_ms)
    made["end_ms"] += lasts_ms
    made["start_ms"] += lasts_ms
    made = made[made["is_v6"]]  # prefixes do not change hands
    made = with_addresses(bench, made)
    found = bench.run(made, 60 + lasts_ms // 1000)
    lasted = found["end_ms"] - found["start_ms"]
    assert lasted.max() <= 60_000
    assert (found["packets"] > 0).all()
    assert (found["octets"] > 0).all()
    for flow in made:
        mine = found[(found["dst_port"] == flow["dst_port"]) & (found["dst"] == flow["dst"]).all(axis=1)]
        mine = mine[mine["src_port"] == flow["src_port"]]
        assert len(mine) <= -(-lasts_ms // 60_000)
        assert (int(mine["packets"].sum()), int(mine["octets"].sum())) == (int(flow["packets"]), int(flow["octets"]))
        # Packets are spread evenly: a piece has its part of the time, to a packet.
        share = (mine["end_ms"] - mine["start_ms"]) / lasts_ms
        assert np.abs(mine["packets"] - flow["packets"] * share).max() <= 1
    # A piece that was cut leaves at once, the last one after it was idle; one of a millisecond has no packet.
    wanted = {60_000: {True}, 60_001: {False}}.get(lasts_ms, {False, True})
    stamped = found["export_ms"] - found["end_ms"]
    assert set(np.unique(stamped > STEP_MS).tolist()) == wanted


def test_a_flow_ends_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, active_seconds=60)
    made = flows(400, lasts_ms=43_000_000)
    made["is_v6"] = False
    made["end_ms"] += 43_200_000  # noon: in the twelve hours before nearly half of the addresses changed hands
    made["start_ms"] += 43_200_000
    made = with_addresses(bench, made)
    bench.exporter.offer(made)
    rows = bench.exporter._pending
    held = bench.leases.holders(rows["dst"], rows["dst_port"], rows["end_ms"])
    assert held.tolist() == rows["user"].tolist()
    pieces = np.bincount(rows["dst_port"] - 50_000, minlength=400)
    assert int((pieces == 1).sum()) > 50
    assert int((pieces > 10).sum()) > 50


def test_sampling_is_unbiased_and_within_its_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, sampling=20)
    made = flows(20_000)
    found = bench.run(made, 40)
    true = int(made["octets"].sum())
    estimate, told_true, variance = bench.total("exporter_1m", "octets_est", "true_octets", "octets_variance")
    assert estimate == 20 * int(found["octets"].sum())
    assert told_true == true
    # 800,000 packets of sizes that spread by half: a relative error of some sqrt(20 / 800,000), 0.5 %.
    assert 0.003 < np.sqrt(variance) / true < 0.008
    assert abs(estimate - true) < 4 * np.sqrt(variance)
    assert abs(estimate / 20 * 19 - true) > 4 * np.sqrt(variance)  # a wrong interval is seen
    # A flow of P packets is missed with the chance (19 / 20)^P.
    missed = float(((19 / 20) ** made["packets"]).sum())
    [unseen] = bench.total("unseen_1m", "flows")
    assert unseen == len(made) - len(found)
    assert unseen == pytest.approx(missed, abs=4 * np.sqrt(missed))
    assert (found["packets"] > 0).all()
    size = found["octets"] / found["packets"]
    assert size.min() >= 59
    assert size.max() <= 1_401


def test_flows_that_were_drawn_as_sampled_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, sampling=1_000)
    made = flows(500, packets=2)
    found = bench.run(made, 40, sampled=True)
    assert len(found) == 500
    assert int(found["octets"].sum()) == int(made["octets"].sum())
    assert bench.truth.table("exporter_1m")["true_octets"].null_count == bench.truth.table("exporter_1m").num_rows


def test_netflow_5_does_not_see_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, protocol="netflow5", told="header")
    made = flows(500)
    found = bench.run(made, 40)
    assert not found["is_v6"].any()
    assert len(found) == int((~made["is_v6"]).sum())
    unseen = bench.truth.table("unseen_1m").to_pylist()
    assert {row["reason"] for row in unseen} == {"not_ipv4"}
    assert sum(row["true_octets"] for row in unseen) == int(made["octets"][made["is_v6"]].sum())


@pytest.mark.parametrize("sampling", [1, 10])
def test_sflow_has_a_row_a_packet_and_waits_for_nothing(monkeypatch: pytest.MonkeyPatch, sampling: int) -> None:
    bench = Bench(monkeypatch, protocol="sflow", told="header", sampling=sampling)
    made = flows(300, lasts_ms=100_000)
    found = bench.run(made, 21)
    assert (found["packets"] == 1).all()
    [packets, octets, true] = bench.total("exporter_1m", "packets", "octets", "true_packets")
    assert true == int(made["packets"].sum())
    assert packets == len(found)
    if sampling == 1:
        # Octets of a frame: Ethernet's 14 and a checksum's 4 are told with it.
        assert (packets, octets) == (true, int(made["octets"].sum()) + 18 * len(found))
    else:
        assert packets == pytest.approx(true / 10, abs=4 * np.sqrt(true / 10))
    assert max(bench.stamps()) <= BEGIN_MS + 20_000 + STEP_MS


def incident(kind: str, **values: Any) -> Incident:
    return Incident.model_validate({"kind": kind, "begin": 30, "end": 40, **values})


def test_a_silent_exporter_sends_nothing_and_the_truth_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("exporter_silent"), idle_seconds=0)
    made = flows(600, seconds=60)
    found = bench.run(made, 70)
    assert not [at for at in bench.stamps() if 30_000 <= at - BEGIN_MS < 40_000]
    [silent] = bench.total("unseen_1m", "flows")
    assert silent == pytest.approx(100, abs=30)
    assert len(found) + silent == 600
    [sent] = bench.total("exporter_1m", "flows")
    assert sent == len(found)


def test_a_skewed_clock_is_in_headers_and_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("clock_skew", seconds=300), idle_seconds=0)
    made = flows(600, seconds=60)
    found = bench.run(made, 70)
    assert len(found) == 600
    for export_ms, rows in bench.wires[SOURCE, 1].rows:
        ahead = export_ms - rows["end_ms"]
        assert 0 < ahead.min() <= ahead.max() <= STEP_MS
    late = [at for at in bench.stamps() if at >= BEGIN_MS + 300_000]
    assert len(late) == 10
    minutes = bench.truth.table("exporter_1m")["time"].to_pylist()
    assert max(each.timestamp() for each in minutes) * 1000 >= BEGIN_MS + 300_000
    assert made["end_ms"].max() < BEGIN_MS + 60_000  # the flows of others are not touched


def test_another_interval_is_told_before_the_first_flow_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("sampling_change", sampling=50), idle_seconds=5, sampling=5)
    bench.run(flows(6_000, seconds=60, packets=400), 80)
    wire = bench.wires[SOURCE, 1]
    changes = [(at - BEGIN_MS, told) for at, told in wire.told]
    assert [told for _, told in changes] == [5, 5, 5, 50, 5, 5, 5, 5, 5]
    assert [at for at, _ in changes][3:5] == [30_000, 40_000]
    for export_ms, rows in wire.rows:
        inside = 30_000 <= export_ms - BEGIN_MS < 40_000
        assert set(rows["interval"].tolist()) == {50 if inside else 5}
    estimate, true = bench.total("exporter_1m", "octets_est", "true_octets")
    assert estimate == pytest.approx(true, rel=0.01)


def test_who_says_nothing_of_sampling_says_nothing_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("sampling_change", sampling=50), sampling=5, told="nothing")
    bench.run(flows(600, seconds=60), 80)
    assert {told for _, told in bench.wires[SOURCE, 1].told} == {None}


def test_a_restart_without_templates_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("template_loss"), idle_seconds=0)
    found = bench.run(flows(600, seconds=60), 70)
    wire = bench.wires[SOURCE, 1]
    assert len(wire.boots) == 1
    assert [at - BEGIN_MS for at, _ in wire.told] == [second * 1_000 for second in (1, 11, 21, 40, 50, 60, 70)]
    lost = sum(len(rows) for at, rows in wire.rows if 30_000 <= at - BEGIN_MS < 40_000)
    assert len(found) == 600
    assert bench.total("exporter_1m", "flows", "without_template") == [600, lost]
    assert bench.total("bucket_5m", "flows") == [600 - lost]


def test_flows_without_active_time_out_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("long_flows", seconds=1_800), idle_seconds=0)
    found = bench.run(flows(600, seconds=60), 70)
    lasted = found["end_ms"] - found["start_ms"]
    inside = (found["end_ms"] >= BEGIN_MS + 30_000) & (found["end_ms"] < BEGIN_MS + 40_000)
    assert (lasted[inside] == 1_800_000).all()
    assert (lasted[~inside] == 5_000).all()
    assert len(found) == 600


def test_a_duplicate_counts_for_its_exporter_and_not_for_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, incident("duplicate_export", other=OTHER), idle_seconds=0)
    found = bench.run(flows(600, seconds=60), 70)
    twice = bench.sent(OTHER)
    assert 70 < len(twice) < 130
    assert min(bench.stamps(OTHER)) >= BEGIN_MS + 30_000
    at = (found["end_ms"] >= twice["end_ms"].min()) & (found["end_ms"] <= twice["end_ms"].max())
    assert found[at].tobytes() == twice.tobytes()
    assert bench.total("exporter_1m", "flows") == [600 + len(twice)]
    assert bench.total("subscriber_1d", "flows") == [600]
    sources = [each.source for each in bench.datagrams if each.payload == b"templates"]
    assert OTHER in sources
    assert bench.exporter.sources == [SOURCE, OTHER]


def test_what_nobody_was_there_to_send_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, idle_seconds=0)
    bench.exporter.offer(flows(600, seconds=60))
    bench.exporter.skip(BEGIN_MS + 30_000)
    bench.run(flows(0), 70)
    assert min(bench.stamps()) > BEGIN_MS + 30_000
    [sent] = bench.total("exporter_1m", "flows")
    assert sent == pytest.approx(300, abs=60)
