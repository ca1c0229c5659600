"""Which ``bus_offset`` a making of flows.enriched begins at: offsets of a stream made again must not meet old rows."""

import time

import pyarrow as pa
import structlog

from sinks import Store

log = structlog.get_logger("sinks")

_SCHEMA = pa.schema(
    [("stream", pa.string()), ("partition", pa.uint16()), ("base", pa.uint64()), ("made", pa.timestamp("ms", "UTC"))]
)


def base_of(store: Store, stream_id: str, partition: int, *, known: bool) -> int:
    """The base of this stream and partition, decided at the first call and the same for everybody from then on.

    ``known``: somebody committed a position in this stream; without a base of its own it is of a store made before
    bases were kept, and begins at 0.
    """
    base = _read(store, stream_id, partition)
    if base is None:
        first = 0 if known else _behind(store, partition)
        row = {"stream": stream_id, "partition": partition, "base": first, "made": int(time.time() * 1000)}
        # Under one token: of two members that decide at once the first one's row stays, and both read it.
        store.insert("bus_stream", pa.Table.from_pylist([row], _SCHEMA), token=f"{stream_id}/{partition}/base")
        if first:
            log.warning("the stream was made again, its offsets go on", partition=partition, base=first)
        base = _read(store, stream_id, partition)
        assert base is not None
    return base


def _read(store: Store, stream_id: str, partition: int) -> int | None:
    found = store.query(
        "SELECT base FROM bus_stream WHERE stream = {stream:String} AND partition = {partition:UInt16}"
        " ORDER BY made LIMIT 1",
        stream=stream_id, partition=partition,
    )  # fmt: skip
    return int(found.column("base")[0].as_py()) if found.num_rows else None


def _behind(store: Store, partition: int) -> int:
    sql = "SELECT max(bus_offset) + 1 AS base, count() AS n FROM flows WHERE bus_partition = {partition:UInt16}"
    found = store.query(sql, partition=partition).to_pylist()[0]
    return int(found["base"]) if found["n"] else 0
