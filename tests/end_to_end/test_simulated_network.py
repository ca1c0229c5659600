"""A simulated day through the running stack, found again by SQL: exactly, or within what sampling explains.

The truth is of the simulator, which shares no code with the decoder; what the store says is asked over HTTP.
"""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from enricher.subscribers import sub_ids
from flowtide.simulator.scenario import SCENARIOS
from tests.end_to_end.conftest import Running

KEY = "sixteen octets at least"
ZONE = "Asia/Tokyo"
MEASURES = ("flows", "packets", "octets", "packets_est", "octets_est")
PEOPLE = f"""
title = "A day"
[clock]
zone = "{ZONE}"
begin = "2024-06-05T00:00"
length = "1d"
speed = 100000
[people]
pppoe = 60
ipoe = 20
mobile = 40
enterprise_pppoe = 4
enterprise_ipoe = 2
enterprise_mobile = 4
churn = 20
shared = 30
shared_mobile = 30
[flows]
law = "volumes"
"""
EXACT = (
    PEOPLE
    + """
[[exporters]]
source = "127.0.0.2"
protocol = "netflow9"
domains = [1, 2]
[[exporters]]
source = "127.0.0.3"
protocol = "ipfix"
form = "variable"
[[exporters]]
source = "127.0.0.4"
service = "mobile"
protocol = "ipfix"
form = "biflow"
"""
)
SAMPLED = (
    PEOPLE
    + """
[[exporters]]
source = "127.0.0.2"
protocol = "netflow9"
sampling = 100
{says}
[[exporters]]
source = "127.0.0.3"
protocol = "ipfix"
sampling = 1000
[[exporters]]
source = "127.0.0.4"
service = "mobile"
protocol = "sflow"
told = "header"
sampling = 16384
[[exporters]]
source = "127.0.0.5"
service = "mobile"
protocol = "netflow5"
told = "header"
sampling = 100
"""
)


def simulate(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowtide", "simulate", *words], cwd=cwd, text=True, capture_output=True, timeout=280
    )
    assert done.returncode == 0, done.stderr


class Day:
    """The stack after a simulated day."""

    def __init__(self, folder: Path, scenario: str) -> None:
        (folder / "day.toml").write_text(scenario)
        simulate("--scenario", "day.toml", "--feeds", "feeds", cwd=folder)
        self._folder = folder
        self.stack = Running(folder / "stack", leases=str(folder / "feeds" / "leases.csv"))
        text = self.stack.config.read_text().replace("[enricher]", f'[enricher]\nkey = "{KEY}"')
        # Of a day in 2024: its times are believed, and minutes of then are kept.
        old = '[collector.decoder.times]\ntrusted = ["127.0.0.0/8"]\n[store]\nraw_days = 0\nminute_days = 0\n'
        self.stack.config.write_text(f'timezone = "{ZONE}"\n{text}{old}')

    def run(self) -> None:
        stack = self.stack.start()
        to = f"127.0.0.1:{stack.port}"
        simulate("--scenario", "day.toml", "--to", to, "--truth", "truth", cwd=self._folder)
        sent = sum(self.truth("exporter_1m")["flows"].to_pylist())
        stack.wait(lambda: stack.totals()["flows"] >= sent, 120)
        assert stack.totals()["flows"] == sent
        stack.wait(lambda: stack.query("SELECT sum(flows) AS n FROM exporter_1m")[0]["n"] == sent, 60)

    def truth(self, name: str) -> pa.Table:
        return pq.read_table(self._folder / "truth" / f"{name}.parquet")


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    day = Day(tmp_path_factory.mktemp("exact"), EXACT)
    try:
        day.run()
        yield day
    finally:
        day.stack.kill()


def keyed(rows: list[dict[str, Any]], key: tuple[str, ...]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """By key, of what was sent at all: the truth has rows of minutes whose flows nobody told of."""
    return {tuple(row[name] for name in key): tuple(row[name] for name in MEASURES) for row in rows if row["flows"]}


def sums(table: pa.Table, key: tuple[str, ...]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    found = table.group_by(list(key)).aggregate([(name, "sum") for name in MEASURES])
    return keyed(found.rename_columns([*key, *MEASURES]).to_pylist(), key)


def in_seconds(table: pa.Table, name: str = "time") -> pa.Table:
    seconds = pc.divide(pc.cast(pc.cast(table[name], pa.timestamp("ms", "UTC")), pa.int64()), 1000)
    return table.set_column(table.schema.get_field_index(name), name, seconds)


def stored(stack: Running, table: str, key: tuple[str, ...], how: str = "") -> dict[tuple[Any, ...], tuple[int, ...]]:
    measures = ", ".join(f"sum({table}.{name}) AS {name}" for name in MEASURES)
    rows = stack.query(f"SELECT {how or ', '.join(key)}, {measures} FROM {table} GROUP BY {', '.join(key)}")
    return keyed(rows, key)


def test_every_exporters_minutes_are_exact(exact: Day) -> None:
    key = ("time", "exporter")
    want = sums(in_seconds(exact.truth("exporter_1m")), key)
    assert len(want) > 1000
    assert stored(exact.stack, "exporter_1m", key, "toUnixTimestamp(exporter_1m.time) AS time, exporter") == want


def test_every_buckets_five_minutes_are_exact(exact: Day) -> None:
    key = ("time", "exporter", "service", "segment", "access", "ip_version", "direction", "bucket")
    want = sums(in_seconds(exact.truth("bucket_5m")), key)
    assert len(want) > 1000
    how = "toUnixTimestamp(bucket_end_5m.time) AS time, " + ", ".join(key[1:])
    assert stored(exact.stack, "bucket_end_5m", key, how) == want


def test_every_lower_ports_hours_are_exact(exact: Day) -> None:
    key = ("time", "service", "segment", "access", "ip_version", "direction", "proto", "lower_port")
    want = sums(in_seconds(exact.truth("port_1h")), key)
    assert len(want) > 1000
    how = "toUnixTimestamp(port_1h.hour) AS time, " + ", ".join(key[1:])
    assert stored(exact.stack, "port_1h", key, how) == want


def test_no_octet_is_another_subscribers(exact: Day) -> None:
    """A fifth of the addresses changed hands in this day, and three in ten have a part of the ports only."""
    assert_subscribers(exact, 80)


def assert_subscribers(day: Day, at_least: int) -> None:
    truth = day.truth("subscriber_1d").to_pylist()
    users = sorted({(row["service"], row["subscriber"], row["access"]) for row in truth if row["subscriber"]})
    ids = dict(zip(users, sub_ids(KEY.encode(), users).tolist(), strict=True))
    want: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for row in truth:
        if row["subscriber"] and row["flows"]:  # sampling may leave nothing of a user's day
            name = (str(row["day"]), ids[row["service"], row["subscriber"], row["access"]], row["direction"])
            want[name] = tuple(row[measure] for measure in MEASURES)
    # Not all are seen: of IPoE users the scenario's exporters see nothing.
    assert len({name[1] for name in want}) > at_least
    assert stored(day.stack, "subscriber_1d", ("day", "sub_id", "direction")) == want


def scenario(name: str, **values: str) -> str:
    """A scenario of the repository with other values of its own keys."""
    text = (SCENARIOS / f"{name}.toml").read_text()
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        assert count == 1, key
    return text


def test_a_day_on_which_everything_goes_wrong_is_told_as_it_was(tmp_path: Path) -> None:
    day = Day(tmp_path, scenario("incident-day", speed="8000", per_second="2"))
    try:
        day.run()
        stack, key = day.stack, ("time", "exporter")
        want = sums(in_seconds(day.truth("exporter_1m")), key)
        assert stored(stack, "exporter_1m", key, "toUnixTimestamp(exporter_1m.time) AS time, exporter") == want
        share = "sumIf(octets_est, bucket = 'udp/443') / sumIf(octets_est, bucket IN ('tcp/443', 'udp/443'))"
        found = {
            (row["hour"], row["service"]): row["q2"]
            for row in stack.query(
                f"SELECT toHour(time, '{ZONE}') AS hour, service, {share} AS q2 FROM bucket_end_5m"
                " WHERE service != '' GROUP BY hour, service"
            )
        }
        counted = stack.query("SELECT counter, sum(value) AS n FROM exporter_health_1m GROUP BY counter")
        intervals = stack.query("SELECT exporter, groupUniqArray(sampling) AS said FROM flows GROUP BY exporter")
    finally:
        day.stack.kill()
    # The hours are those of the scenario's file.
    calm = [found[hour, "fixed"] for hour in range(16, 24)]
    raised = [found[hour, "fixed"] for hour in (12, 13, 14)]
    assert min(raised) - max(calm) > 0.03 and 0.06 < sum(raised) / 3 - sum(calm) / 8 < 0.10
    assert [found[hour, "mobile"] for hour in (16, 17)] == [0, 0]
    assert {row["exporter"]: sorted(row["said"]) for row in intervals} == {
        "127.0.0.2": [100, 500], "127.0.0.3": [1000], "127.0.0.4": [1000], "127.0.0.9": [1000],
    }  # fmt: skip
    numbers = {row["counter"]: row["n"] for row in counted}
    # Templates were withheld for an hour: what came meanwhile waited for them.
    bare = sum(day.truth("exporter_1m")["without_template"].to_pylist())
    assert numbers["sequence_reset"] == 1 and numbers["held_decoded"] == numbers["sets_held"] > 0 and bare > 0


@pytest.mark.soak
def test_the_week_of_the_report_is_exact(tmp_path: Path) -> None:
    day = Day(tmp_path, scenario("report-week"))
    try:
        day.run()
        key = ("time", "exporter")
        want = sums(in_seconds(day.truth("exporter_1m")), key)
        how = "toUnixTimestamp(exporter_1m.time) AS time, exporter"
        assert stored(day.stack, "exporter_1m", key, how) == want
        assert_subscribers(day, 4_000)
    finally:
        day.stack.kill()


def deviation(folder: Path, says: str) -> dict[str, float]:
    """By exporter, how many standard errors the estimate of its octets is from the truth."""
    day = Day(folder, SAMPLED.format(says=says))
    try:
        day.run()
        asked = "SELECT exporter, sum(octets_est) AS octets FROM exporter_1m GROUP BY exporter"
        said = {row["exporter"]: row["octets"] for row in day.stack.query(asked)}
        table = day.truth("exporter_1m")  # of flows that sampling left out, too
        unseen = day.truth("unseen_1m").to_pylist()
    finally:
        day.stack.kill()
    # What NetFlow v5 cannot say it never saw: no estimate can hold it.
    absent = {
        source: sum(row["true_octets"] for row in unseen if (row["exporter"], row["reason"]) == (source, "not_ipv4"))
        for source in said
    }
    found = {}
    for row in table.group_by("exporter").aggregate([("true_octets", "sum"), ("octets_variance", "sum")]).to_pylist():
        source = row["exporter"]
        error = math.sqrt(row["octets_variance_sum"])
        found[source] = (said[source] - (row["true_octets_sum"] - absent[source])) / error
    return found


def test_estimates_are_within_four_standard_errors(tmp_path: Path) -> None:
    found = deviation(tmp_path, "")
    assert set(found) == {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"}
    assert all(abs(away) < 4 for away in found.values()), found


def test_a_wrong_interval_is_not(tmp_path: Path) -> None:
    found = deviation(tmp_path, "says = 101")
    assert abs(found["127.0.0.2"]) > 4, found
    assert all(abs(away) < 4 for source, away in found.items() if source != "127.0.0.2"), found
