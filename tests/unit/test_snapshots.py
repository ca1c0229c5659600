from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.leases import HELD, LeaseRows
from enricher.snapshots import contradictions, restore, save
from enricher.sources import LeaseFileError
from enricher.sources.tables import parse_leases

HEADER = "prefix,port_from,port_to,from,to,subscriber,group,service,segment,access\n"
LEASES = st.lists(
    st.tuples(
        st.sampled_from(["10.0.0.1", "10.0.0.0/24", "2001:db8::/56"]),
        st.sampled_from([(0, 65_535), (1, 9)]),
        st.integers(0, 4), st.integers(1, 4) | st.none(), st.sampled_from("ABC"), st.sampled_from(["", "g"]),
        st.sampled_from(["pppoe", "ipoe"]),
    ),
    max_size=12,
)  # fmt: skip


def rows_of(leases: list[tuple[str, tuple[int, int], int, int | None, str, str, str]]) -> LeaseRows:
    lines = [
        f"{prefix},{first},{last},{begin},{'' if lasts is None else begin + lasts},"
        f"{who},{group},fixed,personal,{access}\n"
        for prefix, (first, last), begin, lasts, who, group, access in leases
    ]
    return parse_leases((HEADER + "".join(lines)).encode(), Path("leases.csv"))


@given(LEASES)
@settings(deadline=None)
def test_contradictions_are_those_of_neighbours_in_time(
    leases: list[tuple[str, tuple[int, int], int, int | None, str, str, str]],
) -> None:
    overlaps = ambiguous = 0
    keys = {(lease[0], lease[1]) for lease in leases}
    for key in keys:
        mine = sorted((lease for lease in leases if lease[:2] == key), key=lambda lease: lease[2])
        for one, other in pairwise(mine):
            if one[2] == other[2]:
                ambiguous += (one[4], one[6]) != (other[4], other[6])
            elif one[3] is not None:
                overlaps += one[2] + one[3] > other[2]
    found = contradictions(rows_of(leases))
    assert (found.overlaps, found.ambiguous) == (overlaps, ambiguous)


def test_saved_leases_come_back(tmp_path: Path) -> None:
    rows = rows_of(
        [
            ("10.0.0.1", (0, 65_535), 1, None, "A", "g", "pppoe"),
            ("2001:db8::/56", (1, 9), 2, 3, "ü", "", "ipoe"),
        ]
    )  # fmt: skip
    path = tmp_path / "leases" / "a.parquet"
    save(path, rows.with_priority(7))
    assert [one.name for one in path.parent.iterdir()] == ["a.parquet"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    back = restore(path)
    assert back is not None
    for name in ("high", "low", "bits", "since", "until", "port_from", "port_to", "service", "segment", "access"):
        assert getattr(back, name).tolist() == getattr(rows, name).tolist(), name
        assert getattr(back, name).dtype == getattr(rows, name).dtype, name
    assert [back.subscribers[one] for one in back.subscriber] == ["A", "ü"]
    assert [back.groups[one] for one in back.group] == ["g", ""]
    assert back.until[0] == HELD


def test_no_leases_come_back_as_none(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet", rows_of([]))
    back = restore(tmp_path / "a.parquet")
    assert back is not None
    assert len(back) == 0
    assert restore(tmp_path / "b.parquet") is None


def test_many_leases_come_back(tmp_path: Path) -> None:
    lines = "".join(
        f"10.{n >> 16}.{n >> 8 & 255}.{n & 255},0,65535,{n},,S{n},,fixed,personal,ipoe\n" for n in range(70_000)
    )
    rows = parse_leases((HEADER + lines).encode(), Path("leases.csv"))
    save(tmp_path / "a.parquet", rows)
    back = restore(tmp_path / "a.parquet")
    assert back is not None
    assert np.array_equal(back.low, rows.low)
    assert [back.subscribers[one] for one in back.subscriber[::7_000]] == [f"S{n}" for n in range(0, 70_000, 7_000)]


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    save(path, rows_of([("10.0.0.1", (0, 65_535), 1, None, "A", "g", "pppoe")]))
    whole = path.read_bytes()
    for data in (b"", whole[:-9], b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(LeaseFileError, match="is damaged"):
            restore(path)
    pyarrow.parquet.write_table(pa.table({"high": [1]}), path)
    with pytest.raises(LeaseFileError, match="another version"):
        restore(path)
