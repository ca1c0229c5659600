"""SIGKILL at every point between bus and store, each service, the real engine: rows, rollups and audit exact."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sinks import ENRICHED_STREAM
from tests.end_to_end.trials import expected_rows, read_spool
from tests.kill_matrix.child import PARTITIONS, ROWS

REPOSITORY = Path(__file__).parents[2]
POINTS = {
    "collector": ("before produce", "while producing", "after acknowledgement"),
    "enricher": ("before produce", "while producing", "after acknowledgement", "before commit"),
    "sink": (
        "before insert", "mid-insert", "after flows", "after audit_1m", "before commit", "after commit",
        "before plan", "after plan", "between rollups",
    ),
}  # fmt: skip
MAYBE = ("while producing", "mid-insert")
"""Points in the middle of something, which may be over before the signal comes."""


ONLY_IN_SOAK = ("before insert", "before commit", "after commit")
"""Of the sink: nothing happens between these and a point that the short form has."""


def live(folder: Path, role: str, point: str, nth: int, seed: int, messages: int) -> "subprocess.CompletedProcess[str]":
    about = {"folder": str(folder), "role": role, "point": point, "nth": nth, "how": "KILL", "seed": seed,
             "messages": messages}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "tests.kill_matrix.child", json.dumps(about)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def kill_often(
    folder: Path, services: tuple[str, ...], kills: int, seed: int, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """One life a kill, each with new messages; then a last one in peace, whose facts are returned."""
    chance = random.Random(seed)
    points = [(service, point) for service in services for point in POINTS[service] if point not in without] * kills
    chance.shuffle(points)
    for number, (service, point) in enumerate(points):
        # What comes before the service has to have worked, what comes after would only take time.
        role = {"collector": "collector", "enricher": "collector enricher", "sink": "collector enricher sink"}[service]
        nth = chance.randint(1, 2) if point != "between rollups" else chance.randint(1, 3)
        ended = live(folder, role, f"{service} {point}", nth, seed + number, messages=2)
        allowed = {-signal.SIGKILL} | ({0} if point in MAYBE else set())
        assert ended.returncode in allowed, (service, point, ended.stderr[-2000:])
    ended = live(folder, "collector enricher sink", "", 0, seed, messages=1)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def is_exact(folder: Path, facts: dict[str, Any]) -> None:
    """Each raw message has half of the rows of its number, those of its partition's exporters."""
    numbers, other = facts["messages"]
    total = facts["stored"]["n"]
    assert facts["stored"]["d"] == total, "a row is there twice"
    by_log = expected_rows(read_spool(folder / "bus", PARTITIONS, ENRICHED_STREAM))
    assert {(p, o): n for p, o, n in facts["by_message"]} == by_log.rows
    assert [by_log.ends[0], by_log.ends[1]] == [numbers, other], "not all that was accepted"
    assert facts["rollups"] == []
    assert facts["rolled"] == total
    assert facts["audit"] == dict.fromkeys(("decoded", "published", "enriched", "inserted"), total)
    assert total > ROWS * (min(numbers, other) - 1)


@pytest.mark.parametrize("services", [("collector", "enricher"), ("sink",)], ids=" ".join)
def test_one_kill_at_each_point(services: tuple[str, ...], tmp_path: Path) -> None:
    without = ONLY_IN_SOAK if services == ("sink",) else ()
    is_exact(tmp_path, kill_often(tmp_path, services, 1, seed=5, without=without))


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12])
def test_eight_kills_at_each_point(seed: int, tmp_path: Path) -> None:
    is_exact(tmp_path, kill_often(tmp_path, ("collector", "enricher", "sink"), 4, seed))
