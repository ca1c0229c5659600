"""Five weeks of a quiet network into a store that nobody has open, as a process: the engine opens once in its life."""

import json
import sys
from pathlib import Path

from flowtide.parts import open_store
from flowtide.settings import load
from flowtide.simulator.rule_rows import TABLES, Device, Trial, write_trials
from flowtide.simulator.share_noise import Q1, Q2, Noise
from sinks.migrations import migrate

NOISE = Noise(swing=0)  # a scenario's mix is the same at all hours
STRANGE = 0.01  # of its flows are of no subscriber
STAMPED = "audit_1m"  # says when rows came in: here all in one moment, long after


def main(
    config: str, begin: int, end: int, seed: int, an_hour: dict[str, int], exporters: dict[str, list[str]]
) -> None:
    """``an_hour``: sampled packets of port 443 by service."""
    settings = load(Path(config))
    store = open_store(settings)
    try:
        migrate(store, settings.store, settings.timezone)
        trials = [
            Trial(
                service, 2 * seed + at, tuple(Device(each) for each in own), Q2[service], Q1[service] / Q2[service],
                an_hour[service], access={"fixed": "pppoe"}.get(service, service), noise=NOISE, unmatched=STRANGE,
            )
            for at, (service, own) in enumerate(exporters.items())
        ]  # fmt: skip
        write_trials(store, trials, settings.timezone, begin, end, minutes_since=end - 2 * 86_400,
                     only=set(TABLES) - {STAMPED})  # fmt: skip
    finally:
        store.close()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
