"""Alerts from flows: hours through the running stack, on top of five weeks in the store, judged by the command.

In each run the fixed network has a calm hour, a step up, a step down and an exporter that falls silent; the mobile one
has nothing.  An hour takes seconds.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.conftest import Running
from tests.end_to_end.test_simulated_network import KEY, ZONE, simulate

pytestmark = pytest.mark.soak  # two minutes a seed
MINUTE, HOUR, DAY = 60, 3_600, 86_400
BEGIN = int(datetime(2024, 6, 4, 15, tzinfo=UTC).timestamp())  # midnight in Tokyo
UP, DOWN, SILENT = BEGIN + HOUR, BEGIN + HOUR * 7 // 2, BEGIN + 6 * HOUR
LASTS = HOUR * 3 // 2
END = BEGIN + 7 * HOUR
EXPORTERS = {"fixed": ["127.0.0.2", "127.0.0.3"], "mobile": ["127.0.0.4"]}
PER_SECOND = 10
AN_HOUR = {"fixed": 17_100, "mobile": 15_700}
"""Sampled packets of port 443 that come of it, about: history and flows have the same volume."""
SCENARIO = f"""
title = "Alerts"
seed = {{seed}}
[clock]
zone = "{ZONE}"
begin = "2024-06-05T00:00"
length = "7h"
speed = 1200
[people]
pppoe = 200
ipoe = 0
mobile = 200
enterprise_pppoe = 10
enterprise_ipoe = 0
enterprise_mobile = 10
churn = 0
[flows]
law = "rate"
per_second = {PER_SECOND}
daily_curve = false
[[exporters]]
source = "127.0.0.2"
protocol = "netflow9"
sampling = 1000
[[exporters]]
source = "127.0.0.3"
protocol = "ipfix"
sampling = 1000
[[exporters]]
source = "127.0.0.4"
service = "mobile"
protocol = "ipfix"
sampling = 1000
share = 2.0
[[incidents]]
kind = "quic_step"
service = "fixed"
begin = {UP - BEGIN}
end = {UP - BEGIN + LASTS}
points = 8
[[incidents]]
kind = "quic_step"
service = "fixed"
begin = {DOWN - BEGIN}
end = {DOWN - BEGIN + LASTS}
points = -8
[[incidents]]
kind = "exporter_silent"
exporter = "127.0.0.3"
begin = {SILENT - BEGIN}
end = {SILENT - BEGIN + 2_400}
"""
LINE = re.compile(r"(flowtide-r\d+\S*) (.*): (\S+ \S+)Z to ")
OWNER = {exporter: service for service, exporters in EXPORTERS.items() for exporter in exporters}


class Alert(NamedTuple):
    """One line of what would have fired."""

    uid: str
    service: str  # its own, or that of its exporter
    labels: str
    at: int


class Told:
    """A run, and what the command said of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        (folder / "day.toml").write_text(SCENARIO.format(seed=seed))
        simulate("--scenario", "day.toml", "--feeds", "feeds", cwd=folder)
        self.folder = folder
        self.stack = Running(folder / "stack", leases=str(folder / "feeds" / "leases.csv"))
        text = self.stack.config.read_text().replace("[enricher]", f'[enricher]\nkey = "{KEY}"')
        # Its times are believed, and minutes of then are kept.
        old = '[collector.decoder.times]\ntrusted = ["127.0.0.0/8"]\n[store]\nraw_days = 0\nminute_days = 0\n'
        self.stack.config.write_text(f'timezone = "{ZONE}"\n{text}{old}')
        words = {"config": str(self.stack.config), "begin": BEGIN - 35 * DAY, "end": BEGIN, "seed": seed,
                 "an_hour": AN_HOUR, "exporters": EXPORTERS}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tests.end_to_end.alert_history", json.dumps(words)],
            cwd=Path(__file__).parents[2], text=True, capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.alerts: list[Alert] = []
        self.said = ""

    def run(self) -> None:
        stack = self.stack.start()
        simulate("--scenario", "day.toml", "--to", f"127.0.0.1:{stack.port}", cwd=self.folder)
        seen = -1

        def is_all() -> bool:
            """Nothing more comes, and the narrow tables have it all."""
            nonlocal seen
            found = stack.query(
                f"SELECT (SELECT count() FROM flows WHERE ts >= toDateTime({BEGIN}) AND copy != 1) AS raw,"
                " (SELECT sum(flows + unknown_rate_flows + implausible_flows) FROM exporter_1m"
                f" WHERE time >= toDateTime({BEGIN})) AS narrow"
            )[0]
            before, seen = seen, found["raw"]
            return bool(before == found["raw"] == found["narrow"] > 0.8 * PER_SECOND * (END - BEGIN))

        stack.wait(is_all, 120)
        self.ask(BEGIN + 5 * MINUTE, END - 5 * MINUTE, "R1", "R2", "R3", "R5", "R7")
        # These are asked for each moment by itself.
        for since in (BEGIN + 5 * MINUTE, DOWN, SILENT - 5 * MINUTE):
            self.ask(since, since + 35 * MINUTE, "R6", "R9", "R10")
        self.ask(SILENT - 5 * MINUTE, SILENT + 15 * MINUTE, "R0")

    def ask(self, since: int, until: int, *rules: str) -> None:
        """``flowtide alerts test``."""
        times = [datetime.fromtimestamp(each, UTC).isoformat() for each in (since, until)]
        done = subprocess.run(
            [sys.executable, "-m", "flowtide", "alerts", "test", "--from", times[0], "--to", times[1],
             *(word for rule in rules for word in ("--rule", rule)), "--config", str(self.stack.config)],
            text=True, capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "errors" not in done.stdout, done.stdout
        self.said += done.stdout
        for found in LINE.finditer(done.stdout):
            labels = dict(word.split("=", 1) for word in found[2].split())
            at = int(datetime.fromisoformat(found[3]).replace(tzinfo=UTC).timestamp())
            service = labels.get("service") or OWNER[labels["exporter"]]
            self.alerts.append(Alert(found[1], service, found[2], at))

    def between(self, begin: int, end: int) -> list[Alert]:
        """What fired of the fixed network in [begin, end)."""
        return [each for each in self.alerts if each.service == "fixed" and begin <= each.at < end]


@pytest.fixture(scope="module", params=[1, 2])
def told(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Told]:
    run = Told(tmp_path_factory.mktemp("alerts"), request.param)
    try:
        run.run()
        yield run
    finally:
        run.stack.kill()


def test_an_hour_has_enough_sampled_packets(told: Told) -> None:
    """Else nothing were judged, and all the rest silent for that reason; and the weeks before have as many."""
    for service, wanted in AN_HOUR.items():
        for begin in (BEGIN, BEGIN - 7 * DAY):
            found = told.stack.query(
                "SELECT sum(packets) AS n FROM bucket_end_5m WHERE service = {service:String} AND direction > 0"
                f" AND bucket IN ('udp/443', 'tcp/443') AND time >= toDateTime({begin})"
                f" AND time < toDateTime({begin + HOUR})",
                service=service,
            )[0]["n"]
            assert found >= 10_000 and found == pytest.approx(wanted, rel=0.15), (service, begin)


def test_where_nothing_happens_nothing_fires(told: Told) -> None:
    assert [each for each in told.alerts if each.service == "mobile"] == [], told.said
    assert told.between(BEGIN, UP) == [], told.said


def test_eight_points_more_are_r1(told: Told) -> None:
    found = told.between(UP, DOWN)
    assert {each.uid for each in found} == {"flowtide-r1"}, told.said
    assert 30 * MINUTE < found[0].at - UP <= 75 * MINUTE


def test_eight_points_less_are_r2(told: Told) -> None:
    found = told.between(DOWN, SILENT)
    assert {each.uid for each in found} == {"flowtide-r2"}, told.said
    assert 30 * MINUTE < found[0].at - DOWN <= 75 * MINUTE


def test_a_silent_exporter_is_r6(told: Told) -> None:
    found = told.between(SILENT, END)
    assert {(each.uid, each.labels) for each in found} == {("flowtide-r6-silent", "exporter=127.0.0.3")}, told.said
    assert 5 * MINUTE < found[0].at - SILENT <= 13 * MINUTE
