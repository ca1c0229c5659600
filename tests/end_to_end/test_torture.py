"""Everything dies, stops, fills up, joins and leaves under load, and every record is stored once.

The schedule is seeded.  What must hold at the end: rows = records sent - kernel drops - records that the ledger names
for kills of the collector - records dropped because the outbox had no room, counted; each enriched message stored as
log order says; each rollup equal to its recomputation from raw; the audit agrees.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from flowtide.simulator.feeds import write_lease_csv
from flowtide.simulator.leases import standing
from sinks import ENRICHED_STREAM, RAW_STREAM
from tests.broker import Broker, NoBroker
from tests.end_to_end.cluster import Cluster, end_load, start_load
from tests.end_to_end.test_kill import CHILDREN, Trial, free_port, newest, settle, wait_for_more
from tests.end_to_end.trials import (
    Accepted,
    Answers,
    Expected,
    accepted,
    caught_up,
    expected_rows,
    read_spool,
    read_topic,
    rollup_differences,
    stored_rows,
)

RECORDS = 28  # of a datagram of bench.load
ANNOUNCED = 64  # announcements of its eight exporters in a few moments
ACTIONS = (
    "kill collector", "kill ship", "kill enricher", "kill sink", "kill store", "kill broker",
    "stall broker", "stall enricher", "fill disk", "join", "leave",
)  # fmt: skip

SPOOL_ACTIONS = ("kill collector", "kill store", "stall store", "stall collector", "fill disk")


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that may be killed."""
    try:
        running = Broker(tmp_path / "broker", {"log.retention.check.interval.ms": "3600000"})
    except NoBroker as missing:
        pytest.skip(str(missing))
    try:
        yield running.start()
    finally:
        running.kill()


@contextmanager
def small_disk(folder: Path, octets: int) -> Iterator[Path]:
    """A tmpfs of its own."""
    if os.getuid():
        pytest.skip("a disk to fill needs the right to mount")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={octets}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, seconds: float) -> None:
    """No octet is left for so long."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 20)):
            pass
    time.sleep(seconds)
    filler.unlink()


@dataclass
class Tormentor:
    """Does one action at a time to a cluster."""

    cluster: Cluster
    disk: Path
    chance: random.Random
    done: dict[str, int] = field(default_factory=dict)

    def act(self, action: str) -> None:
        cluster, chance = self.cluster, self.chance
        self.done[action] = self.done.get(action, 0) + 1
        pause = chance.uniform(0.2, 2.0)
        match action:
            case "kill collector":
                cluster.collect.kill_child("collector")
            case "kill ship":
                cluster.collect.kill_child("ship")
            case "kill enricher" | "kill sink" | "kill store":
                pool = {"enricher": cluster.enrichers, "sink": cluster.sinks, "store": [cluster.serve]}
                member = chance.choice([one for one in pool[action.split()[1]] if one.alive])
                member.kill()
                time.sleep(pause)
                member.start()
            case "kill broker":
                cluster.broker.kill()
                time.sleep(pause)
                cluster.broker.start()
            case "stall broker":
                cluster.broker.freeze()
                time.sleep(chance.uniform(3, 12))
                cluster.broker.thaw()
            case "stall enricher":  # longer than its session: the other takes over, and then this one wakes
                member = chance.choice([one for one in cluster.enrichers if one.alive])
                member.signal(SIGSTOP)
                time.sleep(chance.uniform(7, 10))
                member.signal(SIGCONT)
            case "fill disk":
                fill(self.disk, pause)
            case "join" | "leave":
                for members in (cluster.enrichers, cluster.sinks):
                    extra = members[2]
                    if not extra.alive:
                        extra.start()
                    elif action == "leave":
                        extra.stop(120)


def torture(broker: Broker, folder: Path, seconds: float, rate: int, seed: int, actions: list[str]) -> None:
    """Load for so long, actions one after the other until it ends, then every law."""
    leases = folder / "leases.csv"
    write_lease_csv(leases, standing(1))
    with small_disk(folder / "disk", 1 << 30) as disk:
        cluster = Cluster(broker, folder / "cluster", free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM),
                          str(leases), disk / "outbox")  # fmt: skip
        tormentor = Tormentor(cluster, disk, random.Random(seed))
        load = None
        try:
            cluster.start()
            load = start_load(cluster.udp, rate, seconds)
            cluster.wait(lambda: bool(cluster.query("SELECT 1 FROM flows LIMIT 1")))  # a kill is to meet flows
            for action in actions:
                tormentor.act(action)
                time.sleep(tormentor.chance.uniform(0.5, 2.0))
                if load.poll() is not None:
                    break
            else:
                load.terminate()  # it says what it sent until now
            sent = json.loads(load.communicate(timeout=seconds + 60)[0])["flows"]
            print(json.dumps({"sent": sent, "actions": tormentor.done}))
            check(cluster, sent)
        finally:
            end_load(load)
            cluster.close()


def check(cluster: Cluster, sent: int) -> None:
    """Wait until all is stored, then compare logs, tables and counters."""
    address = cluster.broker.address
    # As much time as an hour's backlog takes on a machine that does other things: what counts is that it ends.
    cluster.wait(lambda: cluster.outbox() <= 2, 600)  # counters are published all the time
    cluster.collect.stop()  # publishes its last counters; the shipper empties the outbox
    cluster.wait(lambda: caught_up(address), 1200, 2)
    wanted = expected_rows(read_topic(address, ENRICHED_STREAM))
    cluster.wait(lambda: sum(stored_rows(cluster).values()) >= sum(wanted.rows.values()), 1200, 2)
    for member in (*cluster.enrichers, *cluster.sinks):  # rollups are finished by a stop
        if member.alive:
            assert member.stop(120) == 0, member.tail()
    add_up(cluster, sent, accepted(read_topic(address, RAW_STREAM)), wanted, cluster.sinks[0].config)


def add_up(answers: Answers, sent: int, raw: Accepted, wanted: Expected, config: Path) -> None:
    """What was sent, what the logs hold, what is stored, what was counted as lost, and what the audit says of it."""
    found = stored_rows(answers)
    counters = {
        (row["stage"], row["counter"]): row["value"]
        for row in answers.query("SELECT stage, counter, sum(value) AS value FROM stage_1m GROUP BY ALL")
    }
    rows = answers.query("SELECT count() AS n FROM flows WHERE copy = 0")[0]["n"]
    differences = rollup_differences(answers)
    drops = counters.get(("receive", "dropped_datagrams_kernel"), 0)
    full = counters.get(("bus", "dropped_rows_bus_full"), 0)
    ledger = {name: value for (stage, name), value in counters.items() if stage == "ledger"}
    named = RECORDS * ledger.get("lost_datagrams", 0) + ledger.get("lost_rows", 0)
    print(json.dumps({"rows": rows, "kernel drops": drops, "bus full": full, "ledger": ledger,
                      "repeats in raw": raw.repeats, "overlaps in enriched": wanted.overlaps,
                      "rollups": differences or "equal"}))  # fmt: skip
    assert raw.missing == 0
    assert found == wanted.rows
    assert rows == raw.rows
    assert differences == []
    # Announcements of templates are datagrams too, eight every five seconds: of the lost ones a few held no records.
    without, odd = divmod(rows - (sent - RECORDS * drops - named - full), RECORDS)
    assert odd == 0
    assert 0 <= without <= min(drops + ledger.get("lost_datagrams", 0), ANNOUNCED)
    audit = subprocess.run(
        [sys.executable, "-m", "flowtide", "doctor", "--config", str(config), "--audit", "-1h", "now", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert audit.returncode == (1 if full else 0), audit.stdout + audit.stderr
    lines = json.loads(audit.stdout)["lines"]
    for later in ("enriched", "inserted", "present"):
        assert [line[later] for line in lines] == [line["published"] for line in lines], audit.stdout
    assert sum(line["decoded"] - line["published"] for line in lines) == full


def torture_on_the_spool(folder: Path, seconds: float, rate: int, seed: int, actions: list[str]) -> None:
    """The same of one machine without a broker: what cannot be taken over by another is stopped and goes on."""
    chance, done = random.Random(seed), dict.fromkeys(actions, 0)
    with small_disk(folder / "disk", 6 << 30) as disk:
        stack = Trial(folder / "trial", disk / "bus")
        load = None
        try:
            stack.start()
            load = start_load(stack.port, rate, seconds)
            wait_for_more(stack)
            for action in actions:
                done[action] += 1
                verb, what = action.split()
                if verb == "kill":
                    stack.kill_child(what)
                elif verb == "stall":
                    pid = stack.children()[what]
                    os.kill(pid, SIGSTOP)
                    # The kernel keeps for a stopped collector what its buffer holds, and counts the rest.
                    time.sleep(chance.uniform(5, 10) if what == "store" else chance.uniform(0.2, 2))
                    os.kill(pid, SIGCONT)
                else:
                    fill(disk, chance.uniform(0.2, 2))
                stack.wait(lambda: len(stack.children()) == len(CHILDREN))
                time.sleep(chance.uniform(0.5, 2))
                if load.poll() is not None:
                    break
            else:
                load.terminate()
            sent = json.loads(load.communicate(timeout=seconds + 60)[0])["flows"]
            print(json.dumps({"sent": sent, "actions": done}))
            settle(lambda: newest(stack), 1200)
            assert stack.stop() == 0  # finishes what the bus holds, rollups too
            stack.start()
            raw = accepted(read_spool(stack.bus, 2, RAW_STREAM))
            wanted = expected_rows(read_spool(stack.bus, 2, ENRICHED_STREAM))
            assert {p: end for p, end in raw.ends.items() if end} == wanted.ends, "not all that was accepted"
            add_up(stack, sent, raw, wanted, stack.config)
            assert stack.stop() == 0
        finally:
            end_load(load)
            stack.kill()


@pytest.mark.soak
def test_one_of_each(own_broker: Broker, tmp_path: Path) -> None:
    actions = ["kill collector", "kill enricher", "kill sink", "kill ship", "join", "kill broker", "kill collector"]
    torture(own_broker, tmp_path, 30, 10_000, 1, actions)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1])
def test_five_minutes(own_broker: Broker, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    actions = list(ACTIONS) * 20
    chance.shuffle(actions)
    torture(own_broker, tmp_path, 300, 50_000, seed, actions)


@pytest.mark.soak
def test_one_of_each_on_the_spool(tmp_path: Path) -> None:
    torture_on_the_spool(tmp_path, 60, 10_000, 1, list(SPOOL_ACTIONS))


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2])
def test_five_minutes_on_the_spool(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    actions = list(SPOOL_ACTIONS) * 20
    chance.shuffle(actions)
    torture_on_the_spool(tmp_path, 300, 50_000, seed, actions)
