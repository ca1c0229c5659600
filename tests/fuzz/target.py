"""The fuzz target: bytes become datagrams of several exporters, and the decoder must keep its promises.

An input is a list of datagrams, each with one octet of head: two bits choose the exporter, one bit says that it was cut
by its slot, one bit that the batch is taken after it; then the length in two octets, then the payload.  By hand, for as
long as you like:

    python -m tests.fuzz.target --seconds 600

A fault is written to ``--faults`` and ends the run; its input becomes a case of the corpus.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from collector.datagrams import Datagrams
from collector.decoder import COUNTERS, Decoder
from collector.settings import DecoderSettings
from sinks.batch import Batch
from tests.fuzz.mutator import Mutator
from tests.wire import NOW, assert_adds_up, flowset, ipfix, rows, template, total, v9

CORPUS = Path(__file__).parent / "corpus"

_SETTINGS = DecoderSettings(
    domains=32, templates=64, templates_per_exporter=16, samplers_per_domain=8, held_bytes=1 << 16,
    held_bytes_per_exporter=1 << 14, rows=4096,
)  # fmt: skip
"""Small bounds, so that inputs of some kilobytes reach them."""
_EXPORTERS = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.4")
_GOOD = "198.51.100.1"
_MOST_ROWS = 2
"""Rows an octet of input may become: a record has an octet at least, and perhaps a reverse half."""
_HANG_SECONDS = 1.0
Message = tuple[int, bytes]


def split(data: bytes) -> Iterator[Message]:
    """Datagrams of an input, with their heads; the last may be shorter than it says."""
    at = 0
    while at + 3 <= len(data):
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        yield data[at], data[at + 3 : at + 3 + length]
        at += 3 + length


def join(messages: Sequence[Message]) -> bytes:
    """The input that ``split`` gives back so."""
    return b"".join(bytes([head]) + len(payload).to_bytes(2, "big") + payload for head, payload in messages)


def run(data: bytes) -> dict[str, int]:
    """Decode an input; AssertionError or whatever the decoder raised when a promise is broken.  Its counters."""
    decoder = Decoder(_SETTINGS, "fuzz")
    began = time.process_time()
    counted: dict[str, int] = {}
    datagrams = found = octets = 0
    for number, (head, payload) in enumerate(split(data)):
        cut = frozenset({0}) if head & 4 else frozenset[int]()
        decoder.add(Datagrams([_EXPORTERS[head & 3]], [memoryview(payload)], (NOW + number) * 1000, cut))
        datagrams += 1
        octets += len(payload)
        if head & 8:
            found += _take(decoder)
    found += _take(decoder)
    decoder.flush()
    found += _take(decoder)
    decoder.take_observations()
    _count(decoder, counted)
    _holds(decoder, counted, datagrams, found, octets)
    assert time.process_time() - began < _HANG_SECONDS + octets / 1e5, "too slow"
    _good_still_decodes(decoder, counted)
    again = Decoder(_SETTINGS, "fuzz")
    assert again.restore(decoder.state()) == decoder.templates() == again.templates()
    decoder.expire((NOW + 10**7) * 1000)
    assert decoder.held() == (0, 0)
    assert decoder.templates() == 0
    _count(decoder, counted)
    assert_adds_up(counted, 0)
    return counted


def _take(decoder: Decoder) -> int:
    rows = 0
    while (batch := decoder.take()) is not None:
        _sound(batch)
        rows += len(batch)
    assert decoder.waiting() == 0
    return rows


def _sound(batch: Batch) -> None:
    columns = batch.columns
    assert (columns["sampling"] > 0).all()
    assert ((columns["octets"] >= 0) & (columns["octets"] <= 2**53)).all()
    assert ((columns["packets"] >= 0) & (columns["packets"] <= 2**53)).all()
    start, end = (columns[name].view("i8") for name in ("ts_start", "ts"))
    assert (start <= end).all()
    assert (end > 0).all()
    for name in batch.labels:
        batch.text(name)


def _count(decoder: Decoder, counted: dict[str, int]) -> None:
    for count in decoder.take_counts():
        counted[count.counter] = counted.get(count.counter, 0) + count.value


def _holds(decoder: Decoder, counted: dict[str, int], datagrams: int, rows: int, octets: int) -> None:
    """What must be true after any input."""
    assert set(counted) <= set(COUNTERS), set(counted) - set(COUNTERS)
    assert all(value >= 0 for value in counted.values())
    assert_adds_up(counted, decoder.held()[0])
    assert counted.get("datagrams", 0) == datagrams
    assert counted.get("rows", 0) == rows
    assert rows <= _MOST_ROWS * octets
    assert decoder.templates() <= _SETTINGS.templates
    assert decoder.held()[1] <= _SETTINGS.held_bytes
    assert len(decoder.state()) < 1 << 22


def _good_still_decodes(decoder: Decoder, counted: dict[str, int]) -> None:
    """An exporter that was not heard yet is heard, whatever the others sent."""
    good = flowset(300, bytes([0, 80, 1, 187]))
    sent = (
        v9(flowset(0, template(300, (7, 2), (11, 2))), good, domain=7),
        ipfix(flowset(2, template(300, (7, 2), (11, 2))), good, domain=7),
    )
    before = total(counted, "datagrams_decoded")
    for payload in sent:
        decoder.add(Datagrams([_GOOD], [memoryview(payload)], NOW * 1000))
    assert rows(decoder, "exporter", "src_port", "dst_port") == [(_GOOD, 80, 443)] * 2
    _count(decoder, counted)
    assert total(counted, "datagrams_decoded") == before + 2


def corpus() -> list[bytes]:
    """Our own inputs to begin with, by name."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]


def search(seconds: float, seed: int, faults: Path) -> int:
    """Mutate and run for so long; how many inputs were run.  A fault is kept in ``faults`` and raised."""
    seeds = corpus()
    for each in seeds:
        run(each)
    mutator = Mutator(random.Random(seed), [list(split(each)) for each in seeds])
    deadline = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < deadline:
        messages = mutator.next()
        data = join(messages)
        try:
            counted = run(data)
        except Exception:
            faults.mkdir(parents=True, exist_ok=True)
            (faults / f"fault-{seed}-{runs}.bin").write_bytes(data)
            raise
        mutator.learn(messages, frozenset(counted))
        runs += 1
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.target", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of the mutations; by default another each time")
    parser.add_argument("--faults", type=Path, default=Path("fuzz-faults"), help="folder for inputs that break it")
    parser.add_argument("inputs", nargs="*", type=Path, help="run these files instead")
    chosen = parser.parse_args(arguments)
    if chosen.inputs:
        for path in chosen.inputs:
            print(path, run(path.read_bytes()))
        return 0
    seed = chosen.seed if chosen.seed is not None else time.time_ns() % 2**32
    try:
        runs = search(chosen.seconds, seed, chosen.faults)
    except Exception:
        traceback.print_exc()
        print(f"seed {seed}: a fault, its input is in {chosen.faults}", file=sys.stderr)
        return 1
    print(f"seed {seed}: {runs} inputs, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
