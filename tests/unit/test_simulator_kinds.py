"""Kinds of traffic against the published tables 3 and 4, cell by cell."""

import numpy as np
import pytest

from enricher.ports import buckets, lower_ports, port_table
from flowtide.simulator import kinds
from flowtide.simulator.kinds import KINDS
from sinks.schema import BUCKETS

YEARS = range(2020, 2025)
# Percent of octets as printed, 2020 to 2024: protocol, lower port or range of ports.
TABLE_3 = {
    ("TCP", None): (77.2, 71.9, 71.6, 70.5, 67.5), ("TCP", "<1024"): (70.5, 65.8, 65.4, 64.8, 61.1),
    ("TCP", 443): (52.4, 53.5, 55.7, 56.9, 53.8), ("TCP", 80): (17.2, 11.6, 8.9, 7.2, 6.5),
    ("TCP", 183): (0.0, 0.1, 0.2, 0.2, 0.2), ("TCP", 993): (0.2, 0.1, 0.1, 0.1, 0.1),
    ("TCP", 22): (0.2, 0.2, 0.1, 0.1, 0.1), ("TCP", ">=1024"): (6.7, 6.1, 6.2, 5.7, 6.4),
    ("TCP", 31000): (0.4, 0.6, 0.9, 1.1, 1.2), ("TCP", 1935): (0.4, 0.2, 0.2, 0.2, 0.3),
    ("TCP", 8080): (0.4, 0.4, 0.3, 0.4, 0.3), ("UDP", None): (19.4, 24.5, 24.3, 25.4, 28.2),
    ("UDP", 443): (10.5, 15.9, 16.3, 18.2, 21.0), ("UDP", 4500): (0.6, 0.8, 0.8, 1.0, 0.9),
    ("UDP", 8801): (1.1, 0.9, 0.6, 0.4, 0.4), ("ESP", None): (3.2, 3.3, 3.8, 3.8, 4.0),
    ("GRE", None): (0.1, 0.2, 0.2, 0.1, 0.2), ("IPENCAP", None): (0.1, 0.1, 0.1, 0.1, 0.1),
    ("ICMP", None): (0.0, 0.0, 0.0, 0.0, 0.0),
}  # fmt: skip
TABLE_4 = {
    ("TCP", None): (75.5, 70.3, 71.6, 71.0, 71.0), ("TCP", 443): (50.7, 44.4, 42.3, 42.1, 42.2),
    ("TCP", 80): (7.4, 5.0, 4.1, 3.5, 1.8), ("TCP", 993): (0.2, 0.2, 0.1, 0.1, 0.1),
    ("TCP", 1935): (0.1, 0.1, 0.1, 0.2, 0.1), ("UDP", None): (18.0, 23.8, 24.4, 26.5, 27.5),
    ("UDP", 443): (9.3, 16.3, 17.9, 20.9, 22.5), ("UDP", 4500): (1.8, 3.7, 2.7, 2.5, 1.8),
    ("UDP", 51820): (0.0, 0.0, 0.1, 0.2, 0.3), ("UDP", 53): (0.1, 0.2, 0.2, 0.2, 0.2),
    ("UDP", 8801): (1.4, 0.7, 0.3, 0.2, 0.1), ("ESP", None): (6.4, 5.8, 3.9, 2.4, 1.4),
    ("GRE", None): (0.1, 0.1, 0.0, 0.0, 0.0), ("ICMP", None): (0.0, 0.0, 0.0, 0.1, 0.0),
}  # fmt: skip
NUMBERS = {"TCP": 6, "UDP": 17, "ESP": 50, "GRE": 47, "IPENCAP": 4, "ICMP": 1}  # IANA


def cell(service: str, year: int, protocol: str, port: int | str | None) -> float:
    """Percent of the octets, by the ports that flows would have."""
    total = 0.0
    for kind, share in zip(KINDS, kinds.shares(service, year).tolist(), strict=True):
        if kind.proto != NUMBERS[protocol]:
            continue
        for lower in kind.ports or (kind.port,):
            if port in (None, lower) or (port == "<1024" and lower < 1024) or (port == ">=1024" and lower >= 1024):
                total += 100 * share / len(kind.ports or (kind.port,))
    return total


@pytest.mark.parametrize(("service", "table"), [("fixed", TABLE_3), ("mobile", TABLE_4)])
def test_every_cell_is_printed_as_published(
    service: str, table: dict[tuple[str, int | str | None], list[float]]
) -> None:
    for (protocol, port), printed in table.items():
        for year, percent in zip(YEARS, printed, strict=True):
            assert round(cell(service, year, protocol, port), 1) == percent, (protocol, port, year)


def test_shares_add_up_and_are_a_copy() -> None:
    for service in ("fixed", "mobile"):
        for year in YEARS:
            found = kinds.shares(service, year)
            assert found.shape == (len(KINDS),)
            assert found.sum() == pytest.approx(1, abs=1e-12)
            assert (found >= 0).all()
    kinds.shares("fixed", 2024)[:] = 0
    assert kinds.shares("fixed", 2024).sum() == pytest.approx(1)


def test_no_unlisted_port_carries_as_much_as_a_listed_one() -> None:
    for service, table in (("fixed", TABLE_3), ("mobile", TABLE_4)):
        for year in YEARS:
            for kind, share in zip(KINDS, kinds.shares(service, year).tolist(), strict=True):
                if kind.ports:
                    protocol = {6: "TCP", 17: "UDP"}[kind.proto]
                    rows = [printed[year - 2020] for (name, port), printed in table.items()
                            if name == protocol and isinstance(port, int)]  # fmt: skip
                    least = min(row for row in rows if row)
                    assert 100 * share / len(kind.ports) < least / 2
    listed = {(protocol, port) for table in (TABLE_3, TABLE_4) for protocol, port in table if isinstance(port, int)}
    spread = {(kind.proto, port) for kind in KINDS for port in kind.ports}
    assert not spread & {(NUMBERS[protocol], port) for protocol, port in listed}
    sizes = {kind.name: len(set(kind.ports)) for kind in KINDS if kind.ports}
    assert sizes["TCP/other_lt1024"] >= 10
    assert min(sizes["TCP/other_ge1024"], sizes["UDP/other"]) >= 200
    assert sizes["TCP/other"] >= 400


def test_every_kind_is_in_the_bucket_that_the_enricher_gives_it() -> None:
    table = port_table()
    assert len({kind.name for kind in KINDS}) == len(KINDS) < 256
    for kind in KINDS:
        for port in kind.ports or (kind.port,):
            proto, there = np.array([kind.proto], "u1"), np.array([port], "u2")
            lower = lower_ports(proto, there, np.array([65_535], "u2"))
            assert table.labels[buckets(proto, lower, table)[0]] == kind.bucket
    for service in ("fixed", "mobile"):
        present = {kind.bucket for kind, share in zip(KINDS, kinds.shares(service, 2024), strict=True) if share}
        assert set(BUCKETS) - present <= {"gre", "ipip", "udp/<1024"}  # GRE is printed as 0.0 for mobile
    assert kinds.SIZES.min() >= 40 and kinds.SIZES.max() <= 1500


def test_ports_of_a_kind_are_dealt_out_evenly() -> None:
    at = {kind.name: number for number, kind in enumerate(KINDS)}
    kind = np.tile(np.array([at["TCP/443"], at["TCP/other_lt1024"], at["ESP"], at["TCP/other"]]), 5_000)
    ports = kinds.service_ports(kind, np.random.default_rng(3))
    assert set(ports[kind == at["TCP/443"]].tolist()) == {443}
    assert set(ports[kind == at["ESP"]].tolist()) == {0}
    for name in ("TCP/other_lt1024", "TCP/other"):
        used, often = np.unique(ports[kind == at[name]], return_counts=True)
        assert set(used.tolist()) == set(KINDS[at[name]].ports)
        assert often.max() - often.min() <= 1
    again = kinds.service_ports(kind, np.random.default_rng(3))
    assert (ports == again).all()
    assert not (ports == kinds.service_ports(kind, np.random.default_rng(4))).all()
