"""Children and the whole group die under load: nothing accepted is lost, nothing is double, rollups equal raw."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.leases import standing
from sinks import ENRICHED_STREAM, RAW_STREAM
from tests.end_to_end.cluster import end_load, start_load
from tests.end_to_end.conftest import Running
from tests.end_to_end.trials import accepted, expected_rows, kill_child, read_spool, rollup_differences, stored_rows

REPOSITORY = Path(__file__).parents[2]
CHILDREN = ("collector", "store")
VICTIMS = (*CHILDREN, "group")


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Trial(Running):
    """A stack whose log is never trimmed, so that what was accepted can be counted afterwards."""

    def __init__(self, folder: Path, bus: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        leases = folder / "leases.csv"
        write_lease_csv(leases, standing(1))  # of the subscribers whose flows bench.load sends
        super().__init__(folder, leases=str(leases))
        # The same ports after a kill of the whole group, as a router is not told of new ones.
        text = self.config.read_text().replace(
            'listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{free_port(socket.SOCK_DGRAM)}"]'
        )
        self.bus = bus or self.data / "bus"
        self.config.write_text(
            text + f'\n[bus]\nurl = "spool:{self.bus}"\nsegment_bytes = 68719476736\nmax_bytes = 34359738368\n'
        )

    def start(self, timeout: float = 60) -> "Trial":
        """Started; its questions are the admin's, who has no limits."""
        super().start(timeout)
        self.identity = {"user": "admin", "password": (self.data / "state" / "admin.token").read_text().strip()}
        return self

    def kill_child(self, name: str) -> None:
        """SIGKILL to the collector or the store; their parent starts it again."""
        assert self.process
        kill_child(self.process.pid, name)

    def kill_one(self, victim: str) -> None:
        """SIGKILL; the group is started again by us, a child by its parent."""
        if victim == "group":
            self.kill()
            self.start()
            return
        self.kill_child(victim)


def run_trial(folder: Path, kills: list[tuple[str, float]], rate: int) -> None:
    """Load, kills at their moments, then silence; every law checked."""
    stack = Trial(folder).start()
    loads: list[subprocess.Popen[bytes]] = []
    sent = 0
    try:
        for victim, pause in kills:
            loads.append(start_load(stack.port, rate, 120))
            wait_for_more(stack)  # else the kill may come before the first flow
            time.sleep(pause)
            stack.kill_one(victim)
            wait_for_more(stack)
            loads[-1].terminate()
            told = loads[-1].communicate(timeout=60)[0]  # nothing, when it was ended before it began
            sent += json.loads(told)["flows"] if told else 0
        stack.wait(lambda: len(stack.children()) == 2, 30)
        settle(lambda: newest(stack), 60)
        assert stack.stop() == 0  # finishes what the bus holds, rollups too
        raw = accepted(read_spool(stack.bus, 2, RAW_STREAM))
        wanted = expected_rows(read_spool(stack.bus, 2, ENRICHED_STREAM))
        stack.start()
        found = stored_rows(stack)
        differences = rollup_differences(stack)
        print(json.dumps({"kills": len(kills), "sent": sent, "accepted": raw.rows, "stored": sum(found.values()),
                          "overlaps": wanted.overlaps, "rollups": differences or "equal"}))  # fmt: skip
        assert raw.rows > 0 and raw.missing == 0
        assert wanted.ends == raw.ends, "not all that was accepted"
        assert found == wanted.rows
        # A flow between two subscribers has two rows, of which one is a copy.
        assert stack.totals()["flows"] == raw.rows < sum(found.values())
        assert stack.query("SELECT sum(flows) AS n FROM subscriber_1d")[0]["n"] > raw.rows / 2
        assert differences == []
        assert stack.stop() == 0
    finally:
        for load in loads:
            end_load(load)
        stack.kill()


def newest(stack: Trial) -> int:
    """The number of messages of flows that are stored."""
    return int(stack.query("SELECT uniqExact(bus_partition, bus_offset) AS n FROM flows")[0]["n"])


def wait_for_more(stack: Trial) -> None:
    """Until a message arrives that was not there at the first look."""
    looks: list[int] = []

    def more() -> bool:
        looks.append(newest(stack))
        return looks[-1] > looks[0]

    stack.wait(more, 60)


def settle(measure: Callable[[], int], timeout: float) -> None:
    """Until two looks a second apart agree."""
    deadline, before = time.monotonic() + timeout, -1
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            now = measure()
            if now == before:
                return
            before = now
        time.sleep(1)


def test_one_kill_of_each_kind(tmp_path: Path) -> None:
    chance = random.Random(3)
    run_trial(tmp_path, [(victim, chance.uniform(0.3, 1.0)) for victim in VICTIMS], 20_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1])
def test_five_kills_of_each_kind(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kills = [(victim, chance.uniform(0.5, 4.0)) for victim in VICTIMS * 5]
    chance.shuffle(kills)
    run_trial(tmp_path, kills, 50_000)


def test_children_end_with_their_parent_and_nothing_is_lost(tmp_path: Path) -> None:
    stack = Trial(tmp_path).start()
    try:
        load = subprocess.run(
            [sys.executable, "-m", "bench.load", "--to", f"127.0.0.1:{stack.port}", "--rate", "5000", "--seconds", "2"],
            cwd=REPOSITORY, capture_output=True, check=True,
        )  # fmt: skip
        assert stack.process
        children = stack.children().values()
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{child}/stat").exists() for child in children) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(Path(f"/proc/{child}/stat").exists() for child in children)
        stack.start()
        sent = json.loads(load.stdout)["flows"]
        stack.wait(lambda: stack.totals()["flows"] == sent)
        assert stack.stop() == 0
    finally:
        stack.kill()
