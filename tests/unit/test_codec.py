import numpy as np
import pytest

from sinks.batch import Batch
from sinks.codec import CodecError, decode, decode_arrow, encode, encode_observation
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
