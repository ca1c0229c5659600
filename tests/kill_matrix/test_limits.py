"""The largest message is one insert; one row more is put aside with its reason, and the stream goes on."""

import pytest
from pydantic import ValidationError

from enricher.settings import EnricherSettings
from sinks import Message
from sinks.batch import Batch
from sinks.codec import CodecError, encode
from sinks.delivery import EnrichedHeaders
from sinks.inserts import MAX_ROWS
from sinks.rows import rows_of
from sinks.schema import ENRICHED
from sinks.settings import KafkaSettings


def message_of(rows: int) -> tuple[Message, EnrichedHeaders]:
    headers = EnrichedHeaders(rows, 0, 1, ((0, rows),), {})
    return Message(0, 0, headers.encode(), encode(Batch.empty(ENRICHED, rows), ENRICHED, "lz4")), headers


def test_the_largest_message_is_one_insert_and_one_row_more_is_refused() -> None:
    table, rows, _ = rows_of(*message_of(MAX_ROWS), 0, 0)
    assert (table, rows.num_rows) == ("flows", 500_000)
    with pytest.raises(CodecError, match="500001 rows are more than one insert may have"):
        rows_of(*message_of(MAX_ROWS + 1), 0, 0)


def test_no_enricher_is_set_to_make_larger_ones() -> None:
    assert EnricherSettings().max_rows <= MAX_ROWS
    with pytest.raises(ValidationError):
        EnricherSettings(max_rows=MAX_ROWS + 1)


@pytest.mark.parametrize("name", ["enable_auto_commit", "auto_offset_reset"])
def test_positions_are_ours_whatever_the_settings_say(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        KafkaSettings.model_validate({name: "true"})
