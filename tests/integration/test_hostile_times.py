"""Times nobody believes, from the decoder through the enricher into the engine: rows all the same, and it works on."""

import struct

import pyarrow as pa
import pytest

from collector.decoder import Decoder
from collector.settings import TRUST_ALL, DecoderSettings, TimeSettings
from enricher.enrichment import Tables, enrich, limit_days
from sinks.codec import at_rest, decode, encode, to_record_batch
from sinks.embedded import EmbeddedStore
from sinks.schema import ENRICHED, RAW, Flag
from tests.wire import NOW, add, flowset, ipfix, take, template

_DAY = 86_400
HOSTILE = {
    "1970": [(1, 2)],
    "2106": [(2**32 - 2, 2**32 - 1)],
    "end before start": [(NOW, NOW - 100)],
    "150 days": [(NOW - day * _DAY - 1, NOW - day * _DAY) for day in range(150)],
}


@pytest.mark.parametrize("times", [TimeSettings(), TRUST_ALL], ids=["bounded", "trusted"])
def test_rows_all_the_same(store: EmbeddedStore, times: TimeSettings) -> None:
    expected = 0
    for number, pairs in enumerate([*HOSTILE.values(), [pair for each in HOSTILE.values() for pair in each]]):
        decoder = Decoder(DecoderSettings(times=times), "test")
        body = b"".join(struct.pack("!IIQ", *pair, 100) for pair in pairs)
        add(decoder, ipfix(flowset(2, template(300, (150, 4), (151, 4), (1, 8))), flowset(300, body)))
        batch = take(decoder)
        assert batch is not None
        batch = limit_days(decode(encode(batch, RAW), RAW))
        rows = at_rest(pa.Table.from_batches([to_record_batch(enrich([batch], Tables()).batch, ENRICHED)]))
        store.insert("flows", rows, token=f"hostile/{number}")
        expected += len(pairs)
        found = store.query("SELECT count() AS n, sum(octets) AS o FROM flows").to_pylist()[0]
        assert found == {"n": expected, "o": expected * 100}
    wrong = store.query(
        "SELECT count() AS n FROM flows WHERE ts_start > ts OR (ts < '1971-01-01' OR ts > '2106-01-01')"
        f" AND bitAnd(flags, {Flag.TIME_OUT_OF_BOUNDS.value}) = 0"
    ).to_pylist()[0]
    assert times is TRUST_ALL or wrong == {"n": 0}
    flagged = store.query(
        f"SELECT countIf(bitAnd(flags, {Flag.TIME_OUT_OF_BOUNDS.value}) != 0) AS n FROM flows"
    ).to_pylist()[0]
    # Bounded: all but the end before its start and the two newest days, in the single datagrams and in the mixed one.
    assert flagged["n"] == 2 * (1 + 1 + 148) if times is not TRUST_ALL else flagged["n"] > 0
