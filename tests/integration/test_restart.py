"""A restart in the middle of a capture: no record is lost, and nothing is counted twice."""

import json
import random
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from collector.capture import Capture
from collector.datagrams import Datagrams
from collector.decoder import COUNTERS, Decoder
from collector.settings import TRUST_ALL, DecoderSettings
from sinks.batch import Batch
from tests.shared import shared_folder
from tests.wire import assert_adds_up

pytestmark = pytest.mark.shared

SPLITS = 2  # of captures with more datagrams, a sample
SETTINGS = DecoderSettings(times=TRUST_ALL, held_sampler_seconds=0)


@cache
def datagrams(name: str) -> tuple[tuple[str, bytes, int], ...]:
    file = shared_folder("captures", "pcap", f"{name}.pcap")
    return tuple((each.exporter, bytes(each.payload), each.time_ms) for each in Capture(file))


def names(largest: float = float("inf")) -> list[ParameterSet]:
    """Captures of more octets than ``largest`` are left to the long runs."""
    try:
        files = sorted(Path(shared_folder("captures", "pcap")).glob("*.pcap"))
    except (pytest.skip.Exception, pytest.fail.Exception):
        return [pytest.param("without captures")]  # the test itself says so
    return [
        pytest.param(file.stem, marks=[pytest.mark.soak] if file.stat().st_size > largest else [], id=file.stem)
        for file in files
    ]


def feed(decoder: Decoder, sent: tuple[tuple[str, bytes, int], ...]) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for exporter, payload, time_ms in sent:
        decoder.add(Datagrams([exporter], [memoryview(payload)], time_ms))
        while (batch := decoder.take()) is not None:
            found.update(rows(batch))
    return found


def rows(batch: Batch) -> list[tuple[object, ...]]:
    columns: list[list[object]] = []
    for name, array in sorted(batch.columns.items()):
        if name in batch.labels:
            columns.append(list(batch.text(name)))
        else:
            columns.append([each.tobytes() for each in array] if array.dtype.kind == "V" else array.tolist())
    return list(zip(*columns, strict=True))


def counts(*decoders: Decoder) -> Counter[tuple[str, int, str]]:
    found: Counter[tuple[str, int, str]] = Counter()
    for decoder in decoders:
        for count in decoder.take_counts():
            found[count.exporter, count.domain, count.counter] += count.value
    return found


@pytest.mark.parametrize("name", names(largest=1e6))
def test_both_halves_are_the_whole(name: str) -> None:
    """Saved and restored between any two datagrams: the same rows, counters and names."""
    sent = datagrams(name)
    whole = Decoder(SETTINGS, "test")
    expected = feed(whole, sent)
    told = Counter(json.dumps([t, each], sort_keys=True) for t, rows in whole.take_observations() for each in rows)
    counted = counts(whole)
    for at in random.Random(7).sample(range(len(sent) + 1), min(SPLITS, len(sent) + 1)):
        before, after = Decoder(SETTINGS, "test"), Decoder(SETTINGS, "test")
        found = feed(before, sent[:at])
        assert after.restore(before.state()) == before.templates()
        found += feed(after, sent[at:])
        assert found == expected, at
        assert _steady(counts(before, after)) == _steady(counted), at
        retold = Counter(
            json.dumps([table, each], sort_keys=True)
            for decoder in (before, after)
            for table, each_rows in decoder.take_observations()
            for each in each_rows
        )
        assert retold == told, at


def _steady(counted: Counter[tuple[str, int, str]]) -> Counter[tuple[str, int, str]]:
    """Without sequence counters: a stop ends the waiting for late messages, so they have laws of their own."""
    return Counter({key: value for key, value in counted.items() if not key[2].startswith(("sequence_", "told_"))})


@pytest.mark.parametrize("name", names(largest=1e6))
def test_a_crash_keeps_every_record_whose_template_was_saved(name: str) -> None:
    """The state of a running decoder is enough for the rest; only what waits for its template is in no such state."""
    sent = datagrams(name)
    at = random.Random(9).randint(0, len(sent))
    before, stopped, crashed = (Decoder(SETTINGS, "test") for _ in range(3))
    feed(before, sent[:at])
    stopped.restore(before.state())
    crashed.restore(before.state(running=True))
    kept, found = feed(stopped, sent[at:]), feed(crashed, sent[at:])
    assert found <= kept
    assert found == kept or before.held()[0]


@pytest.mark.parametrize("name", names())
def test_everything_announced_is_accounted_for(name: str) -> None:
    """Datagrams, sets, samples, templates and rows: decoded, held or dropped by reason; each exporter for itself."""
    sent = datagrams(name)
    decoder = Decoder(DecoderSettings(times=TRUST_ALL), "test")
    rows_taken = sum(feed(decoder, sent).values())
    waiting = decoder.held_rows()
    totals: Counter[str] = Counter()
    by_exporter: Counter[str] = Counter()
    for (exporter, _, counter), value in counts(decoder).items():
        totals[counter] += value
        if counter == "datagrams":
            by_exporter[exporter] += value
    assert by_exporter == Counter(exporter for exporter, _, _ in sent)
    assert set(totals) <= set(COUNTERS)
    assert_adds_up(totals, decoder.held()[0])
    assert totals["rows"] == totals["records_flow"] + totals["rows_reverse"] == rows_taken + waiting
    assert totals["rows_held"] == totals["rows_held_told"] + totals["rows_held_given_up"] + waiting
    decoder.close()
    assert sum(len(batch) for batch in iter(decoder.take, None)) == waiting
