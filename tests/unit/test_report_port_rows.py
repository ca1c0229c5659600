"""Rows of a port table from octets that were added up by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from dashboards.report.model import ALL, DYNAMIC, OTHER, WELL_KNOWN, Port
from dashboards.report.port_rows import LISTED, port_rows

# IP version, protocol, lower port, octets, sampled packets.
ROWS = [
    (4, 6, 443, 400, 4), (6, 6, 443, 100, 1), (4, 6, 1_023, 20, 1), (4, 6, 1_024, 30, 2), (6, 6, 65_535, 50, 3),
    (4, 17, 0, 7, 1), (6, 17, 50_000, 93, 1), (4, 50, 0, 200, 2), (4, 132, 0, 60, 1), (4, 89, 0, 40, 1),
]  # fmt: skip


def rows_of(table: Sequence[tuple[int, ...]]) -> dict[tuple[int, int, int], Port]:
    columns = [np.array(column, "i8") for column in zip(*table, strict=True)]
    found = port_rows("pppoe", *columns)
    assert len({(row.ip_version, row.proto, row.port) for row in found}) == len(found)
    return {(row.ip_version, row.proto, row.port): row for row in found}


def test_rows_by_hand() -> None:
    found = rows_of(ROWS)
    octets = {key: (row.octets, row.packets) for key, row in found.items() if row.octets}
    assert octets == {
        (4, 0, ALL): (757, 12), (6, 0, ALL): (243, 5),
        (4, 6, ALL): (450, 7), (6, 6, ALL): (150, 4),
        (4, 6, WELL_KNOWN): (420, 5), (6, 6, WELL_KNOWN): (100, 1), (4, 6, DYNAMIC): (30, 2), (6, 6, DYNAMIC): (50, 3),
        (4, 6, 443): (400, 4), (6, 6, 443): (100, 1), (4, 6, 1_023): (20, 1), (4, 6, 1_024): (30, 2),
        (6, 6, 65_535): (50, 3),
        (4, 17, ALL): (7, 1), (6, 17, ALL): (93, 1), (4, 17, WELL_KNOWN): (7, 1), (6, 17, DYNAMIC): (93, 1),
        (4, 17, 0): (7, 1), (6, 17, 50_000): (93, 1),
        (4, 50, ALL): (200, 2), (4, OTHER, ALL): (100, 2),
    }  # fmt: skip
    # Shares are of both IP versions together, 1,000 octets; those of the protocols make up the whole.
    assert found[4, 6, 443].share == 0.4
    assert sum(row.share for row in found.values() if row.port == ALL and row.proto) == pytest.approx(1)


def test_listed_ports_have_a_row_that_carries_nothing() -> None:
    found = rows_of([(4, 6, 443, 5, 1)])
    for proto, ports in LISTED.items():
        for port in ports:
            for version in (4, 6):
                assert (version, proto, port) in found
    assert found[6, 50, ALL].octets == 0


def test_only_the_largest_ports_have_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.report.port_rows.LARGEST", 2)
    table = [(4, 6, 5_000, 10, 1), (6, 6, 5_000, 10, 1), (4, 6, 6_000, 15, 1), (4, 6, 7_000, 15, 1), (4, 17, 9, 1, 1)]
    found = {key[1:] for key in rows_of(table) if key[2] not in LISTED.get(key[1], ()) and key[2] >= 0}
    # 5000 has 20 of both IP versions; of equal ones the lower.
    assert found == {(6, 5_000), (6, 6_000), (17, 9)}


def test_no_octets_are_no_table() -> None:
    none = np.zeros(0, "i8")
    assert port_rows("pppoe", none, none, none, none, none) == ()
