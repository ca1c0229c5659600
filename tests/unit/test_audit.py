"""Counts of the audit against a slow reference, row by row."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.audit import audit, count_records
from sinks.codec import to_record_batch
from sinks.delivery import EnrichedHeaders
from sinks.schema import ENRICHED
from tests.stored import flows, label

a_row = st.tuples(
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    st.one_of(st.integers(1_700_000_000_000, 1_700_000_300_000), st.sampled_from([0, 59_999, 2**45])),
    st.sampled_from([0, 0, 1, 2]),
)


@settings(deadline=None)
@given(rows=st.lists(a_row, min_size=1, max_size=30), skip=st.integers(0, 5))
def test_records_are_counted_by_minute_and_exporter(rows: list[tuple[str, int, int]], skip: int) -> None:
    batch = flows(len(rows), received=np.array([row[1] for row in rows]), copy=np.array([row[2] for row in rows]))
    label(batch, "exporter", [row[0] for row in rows])
    slow = Counter((at // 60_000 * 60, exporter) for exporter, at, copy in rows[skip:] if copy != 1)
    assert count_records(to_record_batch(batch, ENRICHED).slice(skip), {}) == slow


@settings(deadline=None)
@given(row=a_row, rows=st.integers(1, 5), which=st.sets(st.sampled_from(["exporter", "received", "copy"])))
def test_columns_of_one_value_count_as_the_same_row_by_row(
    row: tuple[str, int, int], rows: int, which: set[str]
) -> None:
    batch = label(flows(rows, received=row[1], copy=row[2]), "exporter", [row[0]] * rows)
    whole = to_record_batch(batch, ENRICHED)
    values = {"exporter": pa.scalar(row[0]), "received": whole.column("received")[0], "copy": whole.column("copy")[0]}
    found = count_records(whole.drop_columns(list(which)), {name: values[name] for name in which})
    assert found == Counter({(row[1] // 60_000 * 60, row[0]): rows} if row[2] != 1 else {})


def test_what_is_not_in_the_message_is_counted_from_its_headers() -> None:
    headers = EnrichedHeaders(
        5, 0, 9, ((8, 5),), {}, dropped=((3, 60, "a", 2), (8, 60, "a", 30)), poison=((2, 0, "", 4), (7, 120, "", 50))
    )
    found = audit(3, headers, 5, Counter({(60, "a"): 5}), inserted=True).to_pylist()
    assert all(row["partition"] == 3 for row in found)
    counts = {(row["stage"], int(row["time"].timestamp()), row["exporter"]): row["rows"] for row in found}
    assert counts == {
        ("decoded", 60, "a"): 35, ("decoded", 120, ""): 50, ("published", 60, "a"): 5, ("published", 120, ""): 50,
        ("enriched", 60, "a"): 5, ("inserted", 60, "a"): 5,
    }  # fmt: skip
    buried = audit(3, headers, 9, Counter({(60, "a"): 5}), inserted=False).to_pylist()
    assert {row["stage"]: row["rows"] for row in buried} == {"decoded": 5, "published": 5, "enriched": 5}
    assert audit(3, headers, 9, Counter(), inserted=True).num_rows == 0
