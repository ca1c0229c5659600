"""Golden messages of our own: each file of hex against the expectation beside it."""

import json
from pathlib import Path

import pytest

from collector.decoder import Decoder
from collector.settings import DecoderSettings
from tests.golden.compare import differences, read_rows
from tests.golden.make import cases, files
from tests.wire import add, assert_adds_up, counts, take

MADE = Path(__file__).parent / "made"


@pytest.mark.parametrize("path", sorted(MADE.glob("*.hex")), ids=lambda path: path.stem)
def test_made(path: Path) -> None:
    wanted = json.loads(path.with_suffix(".json").read_text())
    decoder = Decoder(DecoderSettings(held_sampler_seconds=0), "test")
    add(decoder, *(bytes.fromhex(line) for line in path.read_text().splitlines()))
    rows = read_rows(take(decoder))
    counted = counts(decoder)
    assert_adds_up(counted, decoder.held()[0])
    assert differences(wanted["rows"], rows) == []
    assert {name: counted.get(name, 0) for name in wanted["counters"]} == wanted["counters"]
    assert decoder.held()[0] == wanted["waiting_sets"]
    seen = [(table, row) for table, rows in decoder.take_observations() for row in rows]
    for table, row in wanted["observations"]:
        assert any(table == each and row.items() <= found.items() for each, found in seen), (table, row, seen)


def test_files_are_what_make_writes() -> None:
    """So that nobody changes one without the other."""
    by_name = {case.name: case for case in cases()}
    assert by_name.keys() == {path.stem for path in MADE.glob("*.hex")}
    for name, case in by_name.items():
        for suffix, text in files(case).items():
            assert (MADE / f"{name}.{suffix}").read_text() == text, f"run: python -m tests.golden.make ({name})"
