"""Leases from a file to a table in force: ``python -m bench.leases [MILLIONS [FOLDER]]`` (default 1).

What the enricher does with the leases of ``bench.enrich`` in a CSV or Parquet snapshot: read and check it, build the
table, save the leases, and start again from what was saved.  Each step runs in a process of its own, so that its
memory is its own; times are CPU-seconds of the step without the start of Python.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import structlog

from bench.__main__ import machine
from bench.enrich import flows, leases, measure
from enricher.leases import ACCESSES, HELD, SEGMENTS, SERVICES
from enricher.settings import EnricherSettings, SourceSettings
from enricher.watch import TablesInForce

_CHANGED = 5_000  # a thousand a second, for the five seconds between two looks
_BATCH = 250_000
_LIMIT_BYTES = 4 << 30
_QUIET_SECONDS = 2  # a file that changed a moment ago is left for the next look


def prefixes(high: pa.Array, low: pa.Array, bits: pa.Array) -> pa.Array:
    """As a file has them."""

    def octet(shift: int) -> pa.Array:
        return pc.cast(pc.bit_wise_and(pc.shift_right(low, pa.scalar(shift, pa.uint64())), 255), pa.string())

    groups = (np.asarray(high)[:, None] >> np.array([48, 32, 16, 0], "u8")) & np.uint64(0xFFFF)
    names = np.array([f"{value:x}" for value in range(65_536)], object)
    texts = [pa.array(names[groups[:, at]], pa.string()) for at in range(4)]
    v4 = pc.binary_join_element_wise(*(octet(shift) for shift in (24, 16, 8, 0)), ".")
    v6 = pc.binary_join_element_wise(*texts, ":")
    return pc.if_else(pc.equal(bits, 128), v4, pc.binary_join_element_wise(v6, "/56", "::"))


def write(folder: Path, millions: int, kind: str) -> None:
    """The snapshot, and beside it the same leases of ``_CHANGED`` prefixes with other holders."""
    rows = leases(np.random.default_rng(1), millions)
    for name, at in (("snapshot", np.arange(len(rows))), ("delta", np.arange(0, len(rows), len(rows) // _CHANGED))):
        some = rows.take(at)
        since = some.since if name == "snapshot" else some.since.max() + 1_000 + np.arange(len(at))
        subscriber = some.subscriber if name == "snapshot" else np.roll(some.subscriber, 1)
        slices = (slice(begin, begin + 10**6) for begin in range(0, len(at), 10**6))
        parts = [prefixes(*(pa.array(each[part]) for each in (some.high, some.low, some.bits))) for part in slices]
        prefix = pa.concat_arrays(parts)
        table = pa.table({
            "prefix": prefix, "from": pc.cast(pa.array(since), pa.timestamp("ms", "UTC")),
            "to": pa.nulls(len(at), pa.timestamp("ms", "UTC")),
            "subscriber": pa.array([rows.subscribers[one] for one in subscriber.tolist()]),
            **{
                column: pa.array(known).take(pa.array(codes))
                for column, codes, known in (
                    ("group", some.group, rows.groups), ("service", some.service, SERVICES),
                    ("segment", some.segment, SEGMENTS), ("access", some.access, ACCESSES),
                )
            },
        })  # fmt: skip
        assert (some.until == HELD).all()
        path = folder / f"{name}.{kind}"
        if kind == "parquet":
            pyarrow.parquet.write_table(table, path)
            continue
        moments = pc.cast(pc.divide(pc.cast(table["from"], pa.int64()), 1_000), pa.string())
        table = table.set_column(1, "from", moments).set_column(2, "to", pa.array([""] * len(at)))
        pyarrow.csv.write_csv(table, path, pyarrow.csv.WriteOptions(quoting_style="none"))


def tables(folder: Path, where: str, kind: str) -> TablesInForce:
    """Of one source."""
    source = SourceSettings.model_validate({"kind": kind, "path": where, "name": "bench"})
    return TablesInForce(EnricherSettings(sources=(source,), lease_file_bytes=_LIMIT_BYTES), folder / "key")


def load(folder: Path, kind: str) -> dict[str, float]:
    """Read, check, build; then a delta beside it; then what is left to do at the end."""
    there = folder / "there"
    there.mkdir(exist_ok=True)
    (folder / f"snapshot.{kind}").rename(there / f"a.{kind}")
    found = tables(folder, str(there), kind)
    begun = time.process_time()
    found.reload_if_changed(time.time())
    taken = {"in force": time.process_time() - begun, "leases": len(found.tables().leases)}
    taken["table MB"] = found.tables().leases.nbytes / 1e6
    taken["peak MB"] = _peak()
    (folder / f"delta.{kind}").rename(there / f"b.{kind}")
    time.sleep(_QUIET_SECONDS)
    begun, walled = time.process_time(), time.perf_counter()
    found.reload_if_changed(time.time())
    found.settle(600)
    taken[f"a delta of {_CHANGED:,} in force"] = time.process_time() - begun
    taken["the same, seconds"] = time.perf_counter() - walled
    begun = time.process_time()
    found.close()
    taken["saved"] = time.process_time() - begun
    taken["saved MB"] = (folder / "leases" / "bench.parquet").stat().st_size / 1e6
    taken["peak MB with delta and saving"] = _peak()
    return taken


def restart(folder: Path, kind: str) -> dict[str, float]:
    """From what was saved, the files being away; and ``enrich`` with it."""
    found = tables(folder, str(folder / "nowhere.csv"), kind)
    begun, walled = time.process_time(), time.perf_counter()
    found.reload_if_changed(time.time())
    taken = {
        "in force": time.process_time() - begun, "seconds": time.perf_counter() - walled,
        "leases": len(found.tables().leases), "peak MB": _peak(),
    }  # fmt: skip
    found.close()
    rng = np.random.default_rng(1)
    rows = leases(rng, round(taken["leases"] / 1e6))
    batches = [flows(rng, rows, _BATCH, 1.0) for _ in range(2)]
    taken["enrich, per million flows"], result = measure(found.tables(), batches)
    taken["matched"] = result.coverage.matched.flows / _BATCH
    return taken


def alone(work: Callable[[Path, str], dict[str, float]], folder: Path, kind: str) -> dict[str, float]:
    """In a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_quietly, (work, folder, kind))


def _quietly(work: Callable[[Path, str], dict[str, float]], folder: Path, kind: str) -> dict[str, float]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    return work(folder, kind)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(millions: int, folder: Path) -> None:
    print(machine(), flush=True)
    for kind in ("csv", "parquet"):
        made = folder / kind
        made.mkdir()
        maker = multiprocessing.get_context("spawn").Process(target=write, args=(made, millions, kind))
        maker.start()
        maker.join()
        size = (made / f"snapshot.{kind}").stat().st_size / 1e6
        for name, work in (("load", load), ("restart", restart)):
            taken = {what: round(value, 3) for what, value in alone(work, made, kind).items()}
            print(f"{millions} M, {kind} of {size:.0f} MB, {name}: {json.dumps(taken)}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as made_folder:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, Path(made_folder))
