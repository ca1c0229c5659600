"""The 245 hostile datagrams: counted, bounded, and the next good datagram still decodes."""

import json
import time
from functools import cache
from typing import Any

import pytest

from collector.decoder import COUNTERS, Decoder
from collector.settings import DecoderSettings
from tests.shared import shared_folder
from tests.wire import add, assert_adds_up, counts, flowset, ipfix, rows, take, template, total, v9

pytestmark = pytest.mark.shared

_GOOD = flowset(300, bytes([0, 80, 1, 187]))
_FIELDS = ((7, 2), (11, 2))
_HANG_SECONDS = 1.0
KNOWN = {
    "setid__v9_0.bin": "0 is the number of v9's template flowsets: a sound template like any other",
    "trunc__v9_0056.bin": "cut where the template flowset ends: what is left is a sound message",
}
"""Datagrams whose outcome is another than the index has, and why."""
_PAIRS = {
    "domain__v9_cross_data.bin": "domain__v9_cross.bin",
    "domain__ipfix_cross_data.bin": "domain__ipfix_cross.bin",
}


@cache
def index() -> dict[str, dict[str, Any]]:
    lines = shared_folder("captures", "malformed", "index.jsonl").read_text().splitlines()
    return {entry["file"]: entry for entry in map(json.loads, lines)}


def names() -> list[str]:
    try:
        return sorted(index())
    except (pytest.skip.Exception, pytest.fail.Exception):
        return ["without captures"]


def payload(name: str) -> bytes:
    return shared_folder("captures", "malformed", name).read_bytes()


def outcome(counted: dict[str, int]) -> str:
    """What became of the datagram, in the words of the index."""
    if total(counted, "datagrams_dropped_"):
        return "drop"
    lost = counted.get("sets_held", 0) + sum(
        total(counted, f"{level}_dropped_") for level in ("sets", "templates", "held", "samples", "sample_records")
    )
    others = "fields_ignored", "length_mismatch", "sets_cut", "rows_unsound_packet"
    lost += sum(counted.get(each, 0) for each in others)
    return "partial" if lost else "accept"


@pytest.mark.parametrize("name", names())
def test_hostile_datagram(name: str) -> None:
    index()
    decoder = Decoder(DecoderSettings(), "test")
    if name in _PAIRS:
        add(decoder, payload(_PAIRS[name]))
        take(decoder)
        counts(decoder)
    began = time.monotonic()
    add(decoder, payload(name))
    batch = take(decoder)
    assert time.monotonic() - began < _HANG_SECONDS
    counted = counts(decoder)
    assert set(counted) <= set(COUNTERS)
    assert counted["datagrams"] == 1
    assert_adds_up(counted, decoder.held()[0])
    assert counted.get("rows", 0) == (len(batch) if batch else 0)

    expected = index()[name]["expect"].split("|")
    assert (outcome(counted) in expected) == (name not in KNOWN), counted

    add(decoder, v9(flowset(0, template(300, *_FIELDS)), _GOOD, domain=7))
    add(decoder, ipfix(flowset(2, template(300, *_FIELDS)), _GOOD, domain=7))
    assert rows(decoder, "src_port", "dst_port")[-2:] == [(80, 443), (80, 443)]


def test_all_are_there() -> None:
    assert len(index()) == 245
