"""The simulated past: its sums are the published shares, and it ends where live flows begin."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest

from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.settings import DecoderSettings
from flowtide.simulator import history
from flowtide.simulator.curves import load
from flowtide.simulator.history import Density, History, Part, as_decoded
from flowtide.simulator.leases import lease
from flowtide.simulator.network import Network
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import ExporterPlan, Scenario
from flowtide.simulator.traffic import Ends, Traffic
from flowtide.simulator.wire import Wire
from sinks.batch import Batch
from sinks.schema import RAW

NOW = int(datetime(2026, 3, 4, 20, 17, 31, tzinfo=UTC).timestamp())  # a Wednesday evening, not on a whole minute
DAY = 86_400
SERVICE = {"127.0.0.2": "fixed", "127.0.0.3": "fixed", "127.0.0.4": "mobile"}
PLANS = (
    ExporterPlan(source="127.0.0.2", domains=(10,), sampling=100, share=0.5),
    ExporterPlan(source="127.0.0.3", domains=(20,), told="nothing", share=0.4),
    ExporterPlan(source="127.0.0.4", service="mobile", protocol="ipfix", domains=(30,), sampling=1000, share=0.1),
)
# Octet shares in percent, Broadband Traffic Report of 2024, tables 3 (fixed) and 4 (mobile); dynamic ports hold what
# the tables leave over.
PUBLISHED = {
    "fixed": {"tcp/443": 53.8, "udp/443": 21.0, "tcp/80": 6.5, "tcp/>=1024": 6.4, "udp/>=1024": 6.98, "esp": 4.0},
    "mobile": {"tcp/443": 42.2, "udp/443": 22.5, "tcp/80": 1.8, "tcp/>=1024": 26.9, "udp/>=1024": 4.7, "esp": 1.4},
}


def noc(per_second: float = 2_000, seed: int = 1) -> Scenario:
    return Scenario.model_validate({
        "title": "test", "seed": seed, "clock": {"zone": "UTC"}, "flows": {"per_second": per_second},
        "exporters": PLANS,
    })  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return list(History(noc(), NOW - 8 * DAY, NOW, collector="here").parts())


@pytest.fixture(scope="module")
def rows(parts: list[Part]) -> Batch:
    return Batch.concat([part.batch for part in parts])


def bucket(proto: int, source: int, destination: int) -> str:
    lower = min(source, destination)
    if proto in (6, 17):
        name = "tcp" if proto == 6 else "udp"
        half = "<1024" if lower < 1024 else ">=1024"
        return f"{name}/{lower if (name, lower) in (('tcp', 443), ('tcp', 80), ('udp', 443)) else half}"
    return {50: "esp", 47: "gre", 4: "ipip", 41: "ipv6", 1: "icmp", 58: "icmp6"}.get(proto, "other")


def octets(rows: Batch, since: int, until: int) -> dict[str, dict[str, np.ndarray]]:
    """Estimated octets of each row that arrived in [since, until), by service and bucket."""
    columns = rows.columns
    arrived = columns["received"].view("i8") // 1000
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    exporters = rows.text("exporter")
    for at in np.flatnonzero((arrived >= since) & (arrived < until)).tolist():
        name = bucket(*(int(columns[column][at]) for column in ("proto", "src_port", "dst_port")))
        estimated = int(columns["octets"][at]) * int(columns["sampling"][at])
        found[SERVICE[exporters[at]]][name].append(estimated)
    return {service: {name: np.array(values) for name, values in of.items()} for service, of in found.items()}


def share(found: dict[str, np.ndarray], name: str) -> float:
    return float(100 * found[name].sum() / sum(values.sum() for values in found.values()))


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_the_last_days_shares_are_the_published_ones(rows: Batch, service: str) -> None:
    found = octets(rows, NOW - DAY, NOW)[service]
    whole = sum(values.sum() for values in found.values())
    for name, published in PUBLISHED[service].items():
        # Rows are drawn one by one, so the variance of their sum is at most the sum of their squares.
        error = 100 * float(np.sqrt((found[name].astype("f8") ** 2).sum())) / whole
        # And half a day ago, on average, QUIC had a fourteenth of a point less, which TCP had.
        assert share(found, name) == pytest.approx(published, abs=0.15 + 4 * error), name
    # These two have rows of their own in each step: nothing is left to chance but who they belong to.
    assert share(found, "udp/443") == pytest.approx(PUBLISHED[service]["udp/443"], abs=0.3)
    assert share(found, "tcp/443") == pytest.approx(PUBLISHED[service]["tcp/443"], abs=0.6)


def test_minutes_of_flow_ends_are_even(rows: Batch) -> None:
    """What a panel draws: rows of a minute must not lie in its neighbour's, of which there are few."""
    columns = rows.columns
    minute = columns["ts"].view("i8") // 60_000
    whole = (minute > NOW // 60 - 59) & (minute < NOW // 60 - 1)
    to_users = whole & (columns["proto"] == 6) & (columns["src_port"] == 443)
    estimated = (columns["octets"] * columns["sampling"])[to_users]
    sums = np.bincount(minute[to_users] - minute[to_users].min(), estimated)
    assert len(sums) > 50
    assert sums.std() / sums.mean() < 0.1


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_quic_had_a_point_less_a_week_ago(rows: Batch, service: str) -> None:
    this, last = (octets(rows, NOW - age * DAY, NOW - (age - 1) * DAY)[service] for age in (1, 8))
    grew = {
        name: 100 * (this[name].sum() / _port_443(this) - last[name].sum() / _port_443(last))
        for name in ("udp/443", "tcp/443")
    }
    port_443 = PUBLISHED[service]["udp/443"] + PUBLISHED[service]["tcp/443"]
    # Of port 443, which is a part of all.  QUIC's upload, a twelfth of its octets, is drawn row by row: some 480 rows
    # on a day of the past, 4.6 % of a twelfth of 28 points are 0.1.
    assert grew["udp/443"] == pytest.approx(100 / port_443, abs=0.4)
    assert grew["tcp/443"] == pytest.approx(-grew["udp/443"], abs=1e-9)


def _port_443(found: dict[str, np.ndarray]) -> int:
    return int(found["udp/443"].sum() + found["tcp/443"].sum())


@pytest.fixture(scope="module")
def live_octets() -> dict[str, Counter[str]]:
    """Of 40 seconds that follow, estimated, by service and bucket."""
    network = Network(noc(), begin_ms=NOW * 1000)
    for second in range(41):
        network.send(NOW + second)
    live: dict[str, Counter[str]] = defaultdict(Counter)
    for sent in network.truth():
        live[SERVICE[sent.exporter]][sent.bucket] += sent.octets * sent.sampling
    return live


@pytest.mark.parametrize("service", ["fixed", "mobile"])
def test_what_it_ends_with_is_what_live_flows_begin_with(
    rows: Batch, live_octets: dict[str, Counter[str]], service: str
) -> None:
    live = live_octets[service]
    past = 331  # seconds of whole steps
    found = {name: values * 40 / past for name, values in octets(rows, NOW - past, NOW)[service].items()}
    # Live: 32,000 flows of an unsampled exporter, whose octets spread 1.6 times their mean, give 0.9 % of one half;
    # a tenth of the flows, of few sampled packets, are mobile.  The past: rows of rare buckets.
    assert sum(values.sum() for values in found.values()) == pytest.approx(sum(live.values()), rel=0.05)
    assert found["udp/443"].sum() == pytest.approx(live["udp/443"], rel=0.1)
    assert found["tcp/443"].sum() == pytest.approx(live["tcp/443"], rel=0.06)


def test_the_level_follows_the_curve_of_the_week(rows: Batch) -> None:
    def level(hours_ago: int) -> float:
        end = NOW // 3_600 * 3_600 - hours_ago * 3_600
        return float(sum(values.sum() for values in octets(rows, end - 3_600, end)["fixed"].values()))

    def expected(down: tuple[float, float, float], up: tuple[float, float, float]) -> float:
        # Straight lines between the middles of three hours; 12.7 % of octets are uploads; means of the model's weeks.
        return sum(
            part * (before + 6 * hour + behind) / 8 / mean
            for part, mean, (before, hour, behind) in ((0.873, 0.5769, down), (0.127, 0.6902, up))
        )

    # The model's hours 18 to 20 and 2 to 4 of weekdays, and 18 to 20 of weekends; UTC.
    wednesday, night = (
        expected((0.76, 0.87, 0.95), (0.82, 0.80, 0.82)),
        expected((0.28, 0.21, 0.18), (0.40, 0.36, 0.34)),
    )
    saturday = expected((0.87, 0.93, 0.98), (0.76, 0.79, 0.82))
    assert level(0) / level(16) == pytest.approx(wednesday / night, rel=0.03)
    assert level(4 * 24) / level(0) == pytest.approx(saturday / wednesday, rel=0.03)


def test_the_curves_mean_is_one_and_moves_with_the_zone() -> None:
    when = np.arange(0, 7 * DAY, 60)
    for service in ("fixed", "mobile"):
        assert load(service, when).mean() == pytest.approx(1, abs=1e-3)
        assert load(service, when, 5 * 3_600).tolist() == load(service, when + 5 * 3_600).tolist()
    assert load("fixed", 7 * DAY) == load("fixed", 0)


def test_no_more_rows_than_said_and_the_newest_first(parts: list[Part], rows: Batch) -> None:
    assert 100_000 < len(rows) < 150_000
    since = [part.since for part in parts]
    assert since == sorted(since, reverse=True)
    assert since[:3] == [NOW - 3_600, NOW - 6 * 3_600, NOW - DAY]
    assert since[-1] == NOW - 8 * DAY
    until = NOW
    for part in parts:
        columns = part.batch.columns
        assert columns["received"].min() >= np.datetime64(part.since * 1000, "ms")
        assert columns["received"].max() < np.datetime64((until + 2) * 1000, "ms")  # up to 2 s after their end
        assert (np.diff(columns["received"]).astype(int) >= 0).all()
        assert (columns["ts_start"] <= columns["ts"]).all()
        assert (columns["ts"] <= columns["received"]).all()
        until = part.since
    assert rows.columns["received"].max() < np.datetime64(NOW * 1000, "ms")  # before any live flow
    minutes = np.unique(rows.columns["ts"].view("i8") // 300_000)
    assert len(minutes) == np.ptp(minutes) + 1  # no five minutes without a row


def test_a_bound_on_rows_leaves_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_ROWS", 50_000)
    found = list(History(noc(), NOW - 8 * DAY, NOW, densities=[Density(8 * DAY, 60, 100)]).parts())
    assert [part.since for part in found] == [NOW - 3_600]
    assert sum(len(part.batch) for part in found) <= 50_000


def test_fewer_flows_than_rows_make_fewer_rows() -> None:
    few = Batch.concat([part.batch for part in History(noc(1), NOW - 3_600, NOW).parts()])
    assert len(few) <= 2 * 3_600
    assert len(Batch.concat([part.batch for part in History(noc(0.001), NOW - 3_600, NOW).parts()])) == 0


def test_the_same_seed_gives_the_same_bytes() -> None:
    def made(seed: int) -> bytes:
        part = next(iter(History(noc(seed=seed), NOW - DAY, NOW).parts()))
        return b"".join(part.batch.columns[column.name].tobytes() for column in RAW)

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_counters_count_the_rows(parts: list[Part], rows: Batch) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for minute, exporter, domain, counter, value in part.counters:
            assert part.since - 300 < minute < NOW
            assert domain == {"127.0.0.2": 10, "127.0.0.3": 20, "127.0.0.4": 30}[exporter]
            counted[exporter, counter] += value
    present = Counter(rows.text("exporter"))
    for exporter, count in present.items():
        assert counted[exporter, "records_flow"] == counted[exporter, "rows"] == count
        assert counted[exporter, "datagrams"] == counted[exporter, "datagrams_decoded"] >= count / 28
        assert not any("dropped" in counter or "missed" in counter for _, counter in counted)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.source)
def test_rows_are_what_the_decoder_makes_of_these_flows(plan: ExporterPlan) -> None:
    people = populate(noc().people, 1)
    leases = lease(noc().people, people, 1, NOW * 1000 - 7_200_000, NOW * 1000, "UTC")
    traffic = Traffic(
        plan.service, 2024, people.of(plan.service), people, Ends(leases, (1,)), sampled=plan.sampling > 1, seed=(7,)
    )
    flows = traffic.slice(NOW * 1000 - 20_000, NOW * 1000 - 10_000, 2_000, idle_ms=0, active_ms=1 << 60)
    flows = np.concatenate([flows[~flows["is_v6"]], flows[flows["is_v6"]]])  # as two sets of a datagram have them
    wire = Wire.of(plan, plan.domains[0], NOW * 1000 - DAY * 1000)
    sent = [*wire.announcements(NOW * 1000), *wire.datagrams(flows, NOW * 1000)]
    decoder = Decoder(DecoderSettings(), "here")
    for payload in sent:
        decoder.add(Datagrams([plan.source], [memoryview(payload)], NOW * 1000))
    batches = []
    while (batch := decoder.take()) is not None:
        batches.append(batch)
    decoded = Batch.concat(batches)
    ours = as_decoded(plan, flows, np.full(len(flows), NOW * 1000), "here")
    assert len(decoded) == len(ours)
    for column in RAW:
        if column.is_label:
            assert decoded.text(column.name) == ours.text(column.name), column.name
        else:
            assert decoded.columns[column.name].tobytes() == ours.columns[column.name].tobytes(), column.name


def test_a_history_of_two_domains_counts_both() -> None:
    plan = PLANS[0].model_copy(update={"domains": (10, 11)})
    part = next(iter(History(noc().model_copy(update={"exporters": (plan,)}), NOW - 3_600, NOW).parts()))
    rows = Counter(part.batch.columns["domain"].tolist())
    counted: Counter[int] = Counter()
    for _, _, domain, counter, value in part.counters:
        counted[domain] += value * (counter == "rows")
    assert rows.keys() == counted.keys() == {10, 11}
    assert rows.total() == counted.total()
    assert rows[10] == pytest.approx(counted[10], abs=60)


def test_exporters_name_their_interfaces() -> None:
    decoder, hosts = Decoder(DecoderSettings(), "here"), set()
    for datagram in Network(noc(100), begin_ms=NOW * 1000).datagrams():
        decoder.add(Datagrams([datagram.source], [memoryview(datagram.payload)], NOW * 1000))
        hosts.add(datagram.source)
        if len(hosts) == len(PLANS):
            break
    told = [row for table, found in decoder.take_observations() if table == "exporter_name" for row in found]
    names = {(row["exporter"], row["id"]): row["name"] for row in told if row["kind"] == "interface"}
    assert len(names) == 6 * len(hosts)
    for host in hosts:
        assert names[host, 1] == "ge-0/0/1"
        assert names[host, 102] == "xe-1/0/1"
