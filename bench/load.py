"""A line-rate exporter in a process of its own: pre-built datagrams, sent with ``sendmmsg`` at a given rate.

    python -m bench.load --to 127.0.0.1:2055 --kind v9 --records 28 --rate 100000 --seconds 5 --exporters 4

Prints one JSON object with what was sent, which is the truth that a trial compares with.
"""

import argparse
import json
import os
import signal
import threading
import time
from dataclasses import asdict, dataclass
from typing import Literal

from bench.layouts import ManyTemplates
from flowtide.simulator.leases import STANDING_MS
from flowtide.simulator.line import Line, RingOf
from flowtide.simulator.scenario import ExporterPlan, PeoplePlan
from flowtide.simulator.sender import LineRate

Export = Literal["netflow5", "netflow9", "ipfix"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is sent."""

    protocol: Export
    records: int  # a datagram, unless told otherwise
    form: Literal["fixed", "variable"] = "fixed"
    ring: RingOf = LineRate


KINDS = {
    "v9": Kind("netflow9", 28),
    "ipfix": Kind("ipfix", 18),
    "variable": Kind("ipfix", 18, "variable"),  # with the application's name, of any length
    "layouts": Kind("netflow9", 10, ring=ManyTemplates),  # 20 templates an exporter, of twelve layouts
    "v5": Kind("netflow5", 30),
}
"""By the name on the command line."""


def run(
    to: tuple[str, int], kind: Kind, records: int, rate: float, seconds: float, exporters: int, seed: int,
    stop: threading.Event, people: PeoplePlan | None = None,
) -> dict[str, object]:  # fmt: skip
    """Send ``rate`` flows a second (0: as fast as it goes); returns what was sent.

    ``people``: whose flows they are; theirs are the leases that ``bench.whole`` writes for the same seed.
    """
    plans = [_plan(kind, number) for number in range(exporters)]
    line = Line(
        plans, [to], people or PeoplePlan(), seed, records=records, begin_ms=STANDING_MS, allow_remote=True,
        ring=kind.ring,
    )  # fmt: skip
    begin = time.monotonic()
    pause_ms = line.run(stop, seconds, rate)
    took = time.monotonic() - begin
    line.close()
    by_exporter = {plan.source: asdict(sender.totals) for plan, (sender, _) in zip(plans, line.senders, strict=True)}
    total: dict[str, object] = {
        name: sum(part[name] for part in by_exporter.values()) for name in by_exporter[plans[0].source]
    }
    buckets: dict[str, int] = {}
    for sender, _ in line.senders:
        for bucket, octets in sender.octets_by_bucket().items():
            buckets[bucket] = buckets.get(bucket, 0) + octets
    return {
        **total,
        "buckets": buckets,
        "seconds": round(took, 3),
        "longest_pause_ms": round(pause_ms, 2),
        "exporters": by_exporter,
    }


def _plan(kind: Kind, number: int) -> ExporterPlan:
    # Nothing is said of sampling, and all of it is sent.
    return ExporterPlan(source=f"127.0.1.{1 + number}", protocol=kind.protocol, form=kind.form, told="nothing")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="send flows at a given rate")
    parser.add_argument("--to", required=True, help="HOST:PORT of the collector, IPv6 as [HOST]:PORT")
    parser.add_argument("--kind", choices=tuple(KINDS), default="v9")
    told = ", ".join(f"{kind.records} for {name}" for name, kind in KINDS.items())
    parser.add_argument("--records", type=int, default=0, help=f"flows a datagram; default {told}")
    parser.add_argument("--rate", type=float, default=0, help="flows a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=5, help="at most 600")
    parser.add_argument("--exporters", type=int, default=1, help="source addresses 127.0.1.1 and up")
    parser.add_argument("--users", type=int, default=0, help="PPPoE users whose flows they are; default: a few")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not 0 < arguments.seconds <= 600 or not 1 <= arguments.exporters <= 250:
        parser.error("--seconds is above 0 and at most 600, --exporters 1 to 250")
    kind = KINDS[arguments.kind]
    host, _, port = arguments.to.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    records = arguments.records or kind.records
    sent = run(
        (host.strip("[]"), int(port)), kind, records, arguments.rate, arguments.seconds, arguments.exporters,
        arguments.seed, stop, PeoplePlan(pppoe=arguments.users) if arguments.users else None,
    )  # fmt: skip
    print(json.dumps({**sent, "kind": arguments.kind, "records": records, "pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()
