import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.batch import Batch, constant, is_constant
from sinks.codec import CodecError, complete, decode, decode_arrow, encode, encode_observation, encode_parts, split
from sinks.schema import ENRICHED, RAW


def batch_of(rows: int, exporters: tuple[str, ...] = ("192.0.2.1", "192.0.2.2")) -> Batch:
    batch = Batch.empty(RAW, rows)
    batch.labels["exporter"] = exporters
    batch.columns["exporter"] = (np.arange(rows) % len(exporters)).astype("u4")
    batch.columns["octets"] = np.arange(rows, dtype="i8") * 1000
    batch.columns["ts"] = np.arange(rows).astype("M8[ms]")
    batch.columns["src_addr"] = np.frombuffer(bytes(i % 251 for i in range(rows * 16)), "V16")
    return batch


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_batch_survives_the_bus(compression: str, rows: int) -> None:
    before = batch_of(rows)
    after = decode(encode(before, RAW, compression), RAW)  # type: ignore[arg-type]
    assert len(after) == rows
    assert after.text("exporter") == before.text("exporter")
    for column in RAW:
        assert after.columns[column.name].tobytes() == before.columns[column.name].tobytes(), column.name


def test_a_slice_is_encoded_from_its_own_rows() -> None:
    after = decode(encode(batch_of(100).slice(10, 20), RAW), RAW)
    assert after.columns["octets"].tolist() == list(range(10_000, 20_000, 1000))


def test_other_columns_are_refused_by_name() -> None:
    with pytest.raises(CodecError, match="octets_est"):
        decode(encode(batch_of(3), RAW), ENRICHED)


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(CodecError):
        decode(b"junk", RAW)
    with pytest.raises(CodecError):
        decode(b"", RAW)


def test_concat_renumbers_labels() -> None:
    first, second = batch_of(2, ("a", "b")), batch_of(3, ("b", "c", "a"))
    both = Batch.concat([first, second])
    assert both.text("exporter") == first.text("exporter") + second.text("exporter")
    assert len(set(both.labels["exporter"])) == len(both.labels["exporter"])


def test_an_observation_is_rows_of_its_table() -> None:
    row = {"time": 60, "collector": "c", "stage": "receive", "counter": "kernel_drops", "value": 7}
    rows = decode_arrow(encode_observation("stage_1m", [row])).to_pylist()
    assert rows[0]["value"] == 7
    assert rows[0]["time"].timestamp() == 60


def test_a_message_of_an_older_writer_has_blanks() -> None:
    old = [column for column in RAW if column.since == 1]
    assert len(old) < len(RAW)
    before = batch_of(5)
    after = decode(encode(before, old), RAW)
    assert after.text("exporter") == before.text("exporter")
    assert after.text("extra") == ["{}"] * 5


SEEDS = st.integers(0, 2**32)
COLUMNS = {column.name: column for column in RAW}


def mixed(seed: int, rows: int) -> Batch:
    """Some columns constant, blank or not; the others with two values."""
    random = np.random.default_rng(seed)
    batch = Batch.empty(RAW, rows)
    for name, column in COLUMNS.items():
        if column.is_label:
            batch.labels[name] = (column.blank, "one", "another")
        octets = [int(value).to_bytes(column.numpy.itemsize, "little") for value in random.integers(0, 3, 2)]
        if random.random() < 0.5:
            batch.columns[name] = constant(np.frombuffer(octets[0], column.numpy)[0], column.numpy, rows)
        else:
            batch.columns[name] = np.frombuffer(b"".join((octets * rows)[:rows]), column.numpy)
    return batch


def plain(batch: Batch) -> dict[str, list[object]]:
    """Each row's value, labels as text; no constants."""
    values = {name: np.array(array).tolist() for name, array in batch.columns.items()}
    return values | {name: batch.text(name) for name in batch.labels}


@given(SEEDS, st.integers(1, 5), st.booleans(), st.sampled_from(["none", "lz4", "zstd"]))
def test_constant_columns_survive_the_bus(seed: int, rows: int, runs: bool, compression: str) -> None:
    before = mixed(seed, rows)
    body = b"".join(encode_parts(before, RAW, compression, runs=runs))  # type: ignore[arg-type]
    after = decode(body, RAW)
    assert plain(after) == plain(before)
    blank = {name for name, array in before.columns.items() if is_constant(array) and not any(array[:1].tobytes())}
    for name, array in after.columns.items():
        assert is_constant(array) == (is_constant(before.columns[name]) and (runs or name in blank)), name
    # Row by row as an older reader had it, and as one of Arrow alone: no column but the blank ones is lacking.
    assert complete(decode_arrow(body), RAW).to_pylist() == decode_arrow(encode(written_out(before), RAW)).to_pylist()
    table = pa.ipc.open_stream(body).read_all()
    missing = set(COLUMNS) - set(table.column_names)
    assert missing == blank == set(table.schema.metadata[b"blank"].decode().split() if blank else ())
    if not runs:
        assert not any(pa.types.is_run_end_encoded(field.type) for field in table.schema)
    octets = table.column("octets") if "octets" in table.column_names else pa.chunked_array([[0] * rows])
    assert octets.to_pylist() == plain(before)["octets"]


def written_out(batch: Batch) -> Batch:
    return Batch({name: np.array(array) for name, array in batch.columns.items()}, batch.labels)


@settings(max_examples=50)
@given(SEEDS, st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_what_is_made_of_constants_is_what_is_made_of_rows(seed: int, sizes: list[int]) -> None:
    parts = [mixed(seed + number // 2, rows) for number, rows in enumerate(sizes)]
    whole, reference = Batch.concat(parts), Batch.concat([written_out(part) for part in parts])
    assert plain(whole) == plain(reference)
    mask = np.random.default_rng(seed).random(len(whole)) < 0.5
    for rows in (mask, np.flatnonzero(mask)):
        assert plain(whole.take(rows)) == plain(reference.take(rows))
        assert len(whole.take(rows)) == mask.sum()
    assert plain(whole.slice(1, 3)) == plain(reference.slice(1, 3))


def test_a_constant_column_is_not_written_to() -> None:
    column = constant(7, "u4", 3)
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 8


def test_a_column_that_is_left_out_without_a_word_is_refused() -> None:
    rows = decode_arrow(encode(batch_of(3), RAW))
    with pytest.raises(CodecError, match=r"missing.*octets"):
        complete(rows.drop_columns(["octets"]), RAW)


def test_a_column_of_several_runs_is_refused() -> None:
    rows = decode_arrow(encode(batch_of(3), RAW))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array([1, 2], pa.uint16()))
    with pytest.raises(CodecError, match="src_port"):
        split(rows.set_column(rows.schema.get_field_index("src_port"), "src_port", runs), RAW)


def test_a_batch_of_nothing_but_blanks_keeps_its_rows() -> None:
    blank = {name: constant(np.zeros((), column.numpy), column.numpy, 4) for name, column in COLUMNS.items()}
    after = decode(encode(Batch(blank, {name: (c.blank,) for name, c in COLUMNS.items() if c.is_label}), RAW), RAW)
    assert len(after) == 4 and not any(after.columns["octets"])
