"""The rows of a message with constant columns are those of the same message row by row."""

import numpy as np
import pytest

from sinks import Message
from sinks.batch import Batch, constant
from sinks.blocks import expanded
from sinks.codec import encode
from sinks.delivery import EnrichedHeaders
from sinks.rows import rows_of
from sinks.schema import ENRICHED
from tests.stored import traffic


def inserted(batch: Batch, first: int) -> list[dict[str, object]]:
    headers = EnrichedHeaders(len(batch), 0, 1, ((0, len(batch)),), {})
    body = encode(batch, ENRICHED, "none")
    table, rows, _ = rows_of(Message(1, 7, headers.encode(), body), headers, first, 1000)
    assert table == "flows"
    found: list[dict[str, object]] = expanded(rows).to_pylist()
    return found


@pytest.mark.parametrize("first", [0, 3])
def test_what_is_left_out_is_blank_and_the_rest_the_same(first: int) -> None:
    plain = traffic(10, 1)
    thin = Batch(dict(plain.columns), dict(plain.labels))
    for name, array in plain.columns.items():
        if name not in ("ts", "octets") and len(np.unique(array)) == 1:
            thin.columns[name] = constant(array[0], array.dtype, 10)
    whole, found = inserted(plain, first), inserted(thin, first)
    assert len(whole) == len(found) == 10 - first
    assert {"vlan", "next_hop", "copy"} & set(whole[0]) and not {"vlan", "next_hop", "copy"} & set(found[0])
    for ours, theirs in zip(found, whole, strict=True):
        assert (ours["bus_partition"], ours["bus_offset"]) == (1, 1007)
        for name, value in theirs.items():
            if name in ours:
                assert ours[name] == value
            else:
                assert value in (0, "", bytes(16))


def test_an_offset_of_0_is_said_of_every_row() -> None:
    headers = EnrichedHeaders(2, 0, 1, ((0, 2),), {})
    body = encode(traffic(2, 1), ENRICHED, "none")
    rows = rows_of(Message(0, 0, headers.encode(), body), headers, 0, 0)[1]
    assert rows.column("bus_offset").to_pylist() == rows.column("bus_partition").to_pylist() == [0, 0]
