"""Blocks in the engine's own format: what is read back is what the Arrow table says, and repeats are dropped."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks import StoreRefused
from sinks.blocks import block, expanded, is_block
from sinks.embedded import EmbeddedStore
from tests.stored import table, traffic

KINDS = {
    "a": pa.uint8(), "b": pa.int64(), "c": pa.uint64(), "d": pa.timestamp("ms", "UTC"), "e": pa.timestamp("s", "UTC"),
    "f": pa.binary(16), "g": pa.string(), "h": pa.dictionary(pa.int32(), pa.string()), "i": pa.uint16(),
}  # fmt: skip
CREATE = (
    "CREATE TABLE kinds (n UInt32, a UInt8, b Int64, c UInt64, d DateTime64(3, 'UTC'), e DateTime('UTC'), f IPv6,"
    " g String, h LowCardinality(String), i UInt16) ENGINE = MergeTree ORDER BY n"
    " SETTINGS non_replicated_deduplication_window = 100"
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "a": st.integers(0, 255), "b": st.integers(-(2**63), 2**63 - 1), "c": st.integers(0, 2**64 - 1),
    "d": st.integers(0, 4_000_000_000_000), "e": st.integers(0, 4_000_000_000),
    "f": st.binary(min_size=16, max_size=16), "g": st.text(max_size=5), "h": st.sampled_from(["", "x", "é", "z" * 200]),
    "i": st.integers(0, 65_535),
}  # fmt: skip
ASK = "SELECT a, b, c, toInt64(toUnixTimestamp64Milli(d)) AS d, toInt64(e) AS e, f, g, h, i FROM kinds ORDER BY n"


@pytest.fixture(scope="module")
def kinds(engine: EmbeddedStore) -> EmbeddedStore:
    store = engine.in_database("blocks")
    store.command(CREATE)
    return store


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_is_read_back_is_what_was_put_in(kinds: EmbeddedStore, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 5))
    once = data.draw(st.sets(st.sampled_from(sorted(KINDS)), max_size=len(KINDS)))  # of one value in one run
    left_out = data.draw(st.sets(st.sampled_from(sorted(KINDS))))
    arrays: dict[str, pa.Array] = {"n": pa.array(range(rows), pa.uint32())}
    wanted: dict[str, list[Any]] = {}
    for name, kind in KINDS.items():
        blank = {"f": bytes(16), "g": "", "h": ""}.get(name, 0)
        values = [blank] * rows
        if name not in left_out:
            values = data.draw(st.lists(VALUES[name], min_size=rows, max_size=rows))
            if name in once:
                values = values[:1] * rows
                plain = pa.string() if pa.types.is_dictionary(kind) else kind
                ends = pa.array([rows + 2], pa.int32())  # a slice of a longer one
                arrays[name] = pa.RunEndEncodedArray.from_arrays(ends, pa.array(values[:1], plain)).slice(2)
            else:
                arrays[name] = pa.array([*values[:1], *values], kind).slice(1)
        wanted[name] = values
    given_rows = pa.table(arrays)
    assert is_block(given_rows)
    kinds.command("TRUNCATE TABLE kinds")
    kinds.insert("kinds", given_rows, token=str(data.draw(st.uuids())))
    found = kinds.query(ASK)
    assert {name: found.column(name).to_pylist() for name in KINDS} == wanted
    assert [str(field.type) for field in expanded(given_rows).schema if "run" in str(field.type)] == []


def test_a_block_stored_is_one_part_and_its_repeat_is_dropped_over_either_way(store: EmbeddedStore) -> None:
    rows = table(traffic(20_000, 1))
    extra = pa.array([[("a", "b")]] * 20_000, pa.map_(pa.string(), pa.string()))
    as_arrow = rows.append_column("extra", extra)
    assert is_block(rows) and not is_block(as_arrow)
    for token, first, second in (("x", rows, as_arrow), ("y", as_arrow, rows)):
        for repeat in (first, second, first.slice(7)):
            store.insert("flows", repeat, token=token)
    parts = store.query("SELECT count() AS n, uniqExact(_part) AS parts FROM flows").to_pylist()
    assert parts == [{"n": 40_000, "parts": 2}]
    sums = "SELECT sum(octets) AS o, uniqExact(src_addr) AS a, groupUniqArray(bucket) AS b, min(ts) AS t FROM flows"
    found = store.query(sums).to_pylist()[0]
    assert found["o"] == 2 * int(np.asarray(rows.column("octets")).sum())
    assert found["a"] == len(set(rows.column("src_addr").to_pylist()))
    assert set(found["b"]) == set(rows.column("bucket").to_pylist())
    assert found["t"] == min(rows.column("ts").to_pylist())


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pa.array([1, None], pa.uint8()), "1 nulls"),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a"]), safe=False), "no text"),
        (pa.DictionaryArray.from_arrays(pa.array([0, -1], pa.int32()), pa.array(["a"]), safe=False), "no text"),
        (pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.uint8())), "2 runs"),
    ],
)
def test_rows_that_are_none_are_refused_for_what_they_are(kinds: EmbeddedStore, array: pa.Array, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        block(pa.table({"a": array}))
    with pytest.raises(StoreRefused, match=said):
        kinds.insert("kinds", pa.table({"a": array}), token="never")


def test_an_insert_that_fails_leaves_the_next_one_alone(kinds: EmbeddedStore) -> None:
    kinds.command("TRUNCATE TABLE kinds")
    large = pa.table({"n": pa.array(range(100_000), pa.uint32())})
    for name, rows, token in (("kinds", large, "1"), ("missing", large, "2"), ("kinds", large.slice(0, 3), "3")):
        if name == "missing":
            with pytest.raises(StoreRefused):
                kinds.insert(name, rows, token=token)
        else:
            kinds.insert(name, rows, token=token)
    assert kinds.query("SELECT count() AS n FROM kinds").to_pylist() == [{"n": 100_003}]
