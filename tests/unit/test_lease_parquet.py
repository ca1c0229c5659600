from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from enricher.leases import HELD
from enricher.sources import LeaseFileError
from enricher.sources.parquet import read_lease_parquet
from enricher.sources.tables import read_leases
from flowtide.simulator import feeds
from flowtide.simulator.leases import lease
from flowtide.simulator.population import populate
from flowtide.simulator.scenario import PeoplePlan

MOST = 1 << 20
TIME = pa.timestamp("ms", "UTC")
MONDAY = datetime(2024, 6, 3, tzinfo=UTC)


def columns(**changed: Any) -> dict[str, Any]:
    """Two good leases, some columns of which are changed."""
    good: dict[str, Any] = {
        "prefix": ["192.0.2.1", "2001:db8::/56"],
        "from": pa.array([MONDAY, MONDAY], TIME),
        "to": pa.array([None, datetime(2024, 6, 4, tzinfo=UTC)], TIME),
        "subscriber": ["A", "B"], "group": ["", None], "service": ["fixed", "mobile"],
        "segment": ["personal", "enterprise"], "access": ["pppoe", "mobile"],
    }  # fmt: skip
    good |= changed
    return {name: values for name, values in good.items() if values is not None}


def write(path: Path, **changed: Any) -> Path:
    pyarrow.parquet.write_table(pa.table(columns(**changed)), path)
    return path


@pytest.mark.parametrize("shared", [0.0, 50.0])
def test_it_says_the_same_as_the_csv_of_the_same_leases(tmp_path: Path, shared: float) -> None:
    plan = PeoplePlan(pppoe=40, ipoe=20, mobile=30, on_both=10, shared=shared)
    begin = 1717372800_000
    leases = lease(plan, populate(plan, 1), 1, begin, begin + 86_400_000, "UTC")
    feeds.write_lease_csv(tmp_path / "leases.csv", leases)
    feeds.write_lease_parquet(tmp_path / "leases.parquet", leases)
    text = read_leases(tmp_path / "leases.csv", MOST)
    typed = read_lease_parquet(tmp_path / "leases.parquet", MOST)
    assert len(typed) == len(leases)
    for name in (
        "high", "low", "bits", "port_from", "port_to", "since", "until", "service", "segment", "access"
    ):  # fmt: skip
        assert getattr(typed, name).tolist() == getattr(text, name).tolist(), name
    for rows in (text, typed):
        assert [rows.subscribers[one] for one in rows.subscriber] == [
            leases.population.subscriber[user] for user in leases.user
        ]
    assert typed.port_to.tolist() == leases.port_to.tolist()


def test_types_of_the_same_meaning_are_taken(tmp_path: Path) -> None:
    rows = read_lease_parquet(
        write(
            tmp_path / "x.parquet",
            **{
                "from": pa.array([MONDAY, MONDAY], pa.timestamp("ns", "Asia/Tokyo")),
                "subscriber": pa.array(["A ", "B"]).dictionary_encode(),
                "prefix": pa.array(["192.0.2.1", "2001:db8::/56"], pa.large_string()),
                "port_from": pa.array([1024, None], pa.int64()), "port_to": pa.array([2047, None], pa.uint16()),
            },
        ),
        MOST,
    )  # fmt: skip
    assert rows.since.tolist() == [1717372800_000] * 2
    assert rows.until.tolist() == [HELD, 1717459200_000]
    assert (rows.port_from.tolist(), rows.port_to.tolist()) == ([1024, 0], [2047, 65_535])
    assert [rows.subscribers[one] for one in rows.subscriber] == ["A", "B"]


@pytest.mark.parametrize(
    ("changed", "row", "says"),
    [
        ({"prefix": ["192.0.2.1", "192.0.2.1/24"]}, 2, "has bits set behind its length"),
        ({"prefix": ["192.0.2.1", None]}, 2, "the prefix is null"),
        ({"subscriber": ["", "B"]}, 1, "the subscriber is empty"),
        ({"subscriber": ["A\0", "B"]}, 1, "holds a control character"),
        (
            {"to": pa.array([MONDAY, None], TIME)},
            1,
            "from 2024-06-03T00:00:00.000Z is not before to 2024-06-03T00:00:00.000Z",
        ),
        ({"from": pa.array([MONDAY, None], TIME)}, 2, "from is empty"),
        ({"from": pa.array([0, -1], TIME)}, 2, "from is before 1970"),
        ({"from": pa.array([0, 253_402_300_800_000], TIME)}, 2, "from is after the year 9999"),
        ({"access": ["pppoe", "dsl"]}, 2, "access 'dsl' is none of"),
        ({"port_from": [1, 70_000], "port_to": [2, 70_000]}, 2, "port_from '70000' is not a port"),
        ({"port_from": [9, 1], "port_to": [8, 1]}, 1, "port_from 9 is after port_to 8"),
        ({"port_from": [9, None], "port_to": [9, 1]}, 2, "give both or none"),
        ({"from": ["2024-06-03T00:00:00Z"] * 2}, None, "the column from is string, not a timestamp with a zone"),
        ({"to": pa.array([None, None], pa.timestamp("ms"))}, None, "the column to is timestamp[ms], not a timestamp"),
        ({"subscriber": [1, 2]}, None, "the column subscriber is int64, not a string"),
        ({"port_from": ["1", "2"], "port_to": ["1", "2"]}, None, "the column port_from is string, not an integer"),
        ({"access": None}, None, "the column access is missing"),
        ({"port_to": [1, 2]}, None, "the column port_from is missing"),
        ({"vlan": [1, 2]}, None, "unknown column 'vlan'"),
    ],
)
def test_it_is_refused_with_file_row_and_reason(
    tmp_path: Path, changed: dict[str, Any], row: int | None, says: str
) -> None:
    path = write(tmp_path / "x.parquet", **changed)
    with pytest.raises(LeaseFileError) as caught:
        read_lease_parquet(path, MOST)
    assert (caught.value.row, caught.value.line) == (row, None)
    assert says in caught.value.reason
    assert str(caught.value).startswith(f"{path}{'' if row is None else f' row {row}'}: ")


def test_what_is_damaged_cut_or_absent_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet")
    whole = path.read_bytes()
    for data in (b"", b"prefix,from", whole[:-1], whole[: len(whole) // 2], whole[:8] + bytes(80) + whole[88:]):
        path.write_bytes(data)
        with pytest.raises(LeaseFileError) as caught:
            read_lease_parquet(path, MOST)
        assert (caught.value.kind, caught.value.row) == ("text", None), data
    with pytest.raises(LeaseFileError, match="cannot be read: No such file") as caught:
        read_lease_parquet(tmp_path / "y.parquet", MOST)
    assert caught.value.kind == "missing"


def test_what_unfolds_to_more_than_the_bound_is_refused_unread(tmp_path: Path) -> None:
    long = ["x" * 1_000] * 2_000
    path = tmp_path / "x.parquet"
    table = pa.table({"prefix": long, "access": long})
    pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(LeaseFileError, match="larger than 100,000 bytes") as caught:
        read_lease_parquet(path, 100_000)
    assert caught.value.kind == "size"
