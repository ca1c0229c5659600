"""The published weeks are the published numbers, cell by cell, and their methods break where the editions did."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import dashboards
from dashboards.report.model import ALL, DYNAMIC, IN, OUT, WELL_KNOWN, ServiceWeek
from dashboards.report.published import published

TABLES: dict[str, dict[str, Any]] = json.loads(
    (Path(dashboards.__file__).parent / "report/reference/iij-2024.json").read_text(encoding="utf-8")
)["tables"]
WEEKS = {(week.service, week.label): week for week in published("Asia/Tokyo")}
WAYS = {"in": IN, "out": OUT}
# Numbers of IANA, apart from the code's.
NUMBERS = {"TCP": 6, "UDP": 17, "ESP": 50, "GRE": 47, "IPENCAP": 4, "ICMP": 1}


def share(week: ServiceWeek, proto: int, port: int) -> float:
    found = [row.share for row in week.ports if (row.proto, row.port, row.ip_version) == (proto, port, 0)]
    assert len(found) == 1
    return round(100 * found[0], 6)


def test_every_cell_of_the_tables_of_users() -> None:
    cells = 0
    for service, name in (("fixed", "table1"), ("mobile", "table2")):
        for row in TABLES[name]["rows"]:
            for way, direction in WAYS.items():
                users = WEEKS[service, str(row["year"])].users[direction]
                for what in ("mean", "median", "mode"):
                    assert getattr(users, what) == pytest.approx(row[way][what] * 10**6, rel=1e-12)
                    cells += 1
    assert cells == 168  # 56 rows of a year and direction


def test_every_cell_of_the_tables_of_ports() -> None:
    cells = 0
    for service, name, access in (("fixed", "table3", "pppoe"), ("mobile", "table4", "mobile")):
        for row in TABLES[name]["rows"]:
            port = {"total": ALL, "lt1024": WELL_KNOWN, "ge1024": DYNAMIC, "port": row["port"]}[row["group"]]
            for year, told in row["pct"].items():
                week = WEEKS[service, year]
                assert share(week, NUMBERS[row["proto"]], port) == told
                assert {one.access for one in week.ports} == {access}
                cells += 1
    # With the 168 above, the 333 that were compared with the printed text.
    assert cells == 165


def test_some_cells_by_hand() -> None:
    # QUIC's shares as another table of the project tells them, and figures of the text: not read from the file.
    assert [share(WEEKS["fixed", str(year)], 17, 443) for year in range(2020, 2025)] == [10.5, 15.9, 16.3, 18.2, 21.0]
    assert [share(WEEKS["mobile", str(year)], 17, 443) for year in range(2020, 2025)] == [9.3, 16.3, 17.9, 20.9, 22.5]
    assert share(WEEKS["fixed", "2024"], 6, 443) == 53.8
    fixed, mobile = (WEEKS[service, "2024"].users for service in ("fixed", "mobile"))
    assert (fixed[OUT].mode, fixed[IN].mode) == (5_620e6, 224e6)
    assert [(users[way].top10, users[way].top1) for users in (fixed, mobile) for way in (OUT, IN)] == [
        (0.50, 0.15), (0.75, 0.46), (0.48, 0.12), (0.45, 0.13),
    ]  # fmt: skip
    assert all(week.users[IN].top10 is None for (_, year), week in WEEKS.items() if year != "2024")


def test_weeks_years_and_breaks() -> None:
    fixed = [week for week in WEEKS.values() if week.service == "fixed"]
    mobile = [week for week in WEEKS.values() if week.service == "mobile"]
    assert [week.label for week in fixed] == [str(year) for year in range(2007, 2025)]
    assert [week.label for week in mobile] == [str(year) for year in range(2015, 2025)]
    # The two that are dated, and the others in their order.
    assert WEEKS["fixed", "2024"].week.monday == date(2024, 6, 3)
    assert WEEKS["mobile", "2023"].week.monday == date(2023, 5, 29)
    assert all(week.week.monday.year == int(week.label) for week in WEEKS.values())
    assert {week.origin for week in WEEKS.values()} == {"iij"}
    # Personal only from the edition of 2019 on; IPoE beside PPPoE from 2021 on.
    breaks = [now.label for before, now in pairwise(fixed) if before.method != now.method]
    assert breaks == ["2019", "2021"]
    breaks = [now.label for before, now in pairwise(mobile) if before.method != now.method]
    assert breaks == ["2019"]
    assert {week.method for week in WEEKS.values()} == {"iij-1", "iij-2", "iij-3"}
    assert [week.label for week in WEEKS.values() if not week.ports] == [
        *(str(year) for year in range(2007, 2020)), *(str(year) for year in range(2015, 2020)),
    ]  # fmt: skip
