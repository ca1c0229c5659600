"""A cluster of ``member`` processes over a real broker: started, killed, stopped, revived, and judged at the end."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kafka

import sinks.service
from sinks import ENRICHED_STREAM, RAW_STREAM, StoreUnavailable
from tests.broker import Broker, free_port
from tests.broker.buses import prefix
from tests.end_to_end.trials import accepted, expected_rows, read_topic
from tests.kill_matrix.child import PARTITIONS, ROWS, facts
from tests.kill_matrix.member import bus_of, outbox_of, store_of

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 240.0  # the machine may be busy; a hang is still found
Order = tuple[str, int, str]


class Member:
    """One process; its output is kept over its lives."""

    def __init__(self, trial: "Trial", role: str, name: str, *, static: bool = True) -> None:
        self._trial, self.role, self.name = trial, role, name
        self._static = static
        self._log = trial.folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    def start(self, orders: Sequence[Order] = ()) -> None:
        """One more life."""
        self.lives += 1
        about = self._trial.about | {
            "role": self.role, "name": self.name if self._static else "", "orders": orders,
            "seed": f"{self._trial.seed}/{self.name}/{self.lives}",
        }  # fmt: skip
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.kill_matrix.member", json.dumps(about)],
                cwd=REPOSITORY, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status of this life."""
        assert self.process
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} lives on: {self.tail()}") from None

    def stopped(self) -> bool:
        """Whether it stands still."""
        assert self.process
        assert self.alive, self.tail()
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T"

    def said(self, key: str) -> list[Any]:
        """All values it said under a key, in all its lives."""
        found = []
        for line in self._log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and key in value:
                    found.append(value[key])
        return found

    def tail(self) -> str:
        return f"{self.name}: {self._log.read_text()[-3000:] if self._log.exists() else 'never started'}"

    def end(self) -> None:
        """SIGKILL, for the last time."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(10)


class Trial:
    """Topics, outbox and store of one test."""

    def __init__(self, broker: Broker, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.servers = folder, seed, broker.address
        self.about: dict[str, Any] = {
            "folder": str(folder),
            "servers": broker.address,
            "prefix": prefix(),
            "http": free_port(),
        }
        self.members: list[Member] = []
        bus_of(self.about | {"name": "harness"}).prepare(lambda _: None)
        self._sql = store_of(int(self.about["http"]))
        self._asking = kafka.KafkaConsumer(
            bootstrap_servers=broker.address, group_id=sinks.service.GROUP, enable_auto_commit=False
        )
        self._turn = threading.Lock()
        self.store = self.member("store", "store")

    def member(self, role: str, name: str, *, static: bool = True) -> Member:
        """One more, not started."""
        self.members.append(Member(self, role, name, static=static))
        return self.members[-1]

    def wait(self, holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
        """Until it holds; a store that is killed answers later."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(StoreUnavailable):
                if holds():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n" + "\n".join(m.tail() for m in self.members))
            time.sleep(0.05)

    def wait_while_it_moves(self, measure: Callable[[], int], wanted: int, what: str) -> None:
        """Until so much is there, as long as it takes: a backlog is no hang, standing still for PATIENCE is."""
        found, since = -1, time.monotonic()
        while found < wanted:
            with contextlib.suppress(StoreUnavailable):
                if (now := measure()) > found:
                    found, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                tails = "\n".join(member.tail() for member in self.members)
                raise AssertionError(f"{found} of {wanted} {what}, and no more in {PATIENCE} s\n{tails}")
            time.sleep(0.2)

    def progress(self, role: str) -> list[int]:
        """How far a role is, by partition: ends of the log it writes, or what its group committed."""
        stream = RAW_STREAM if role == "shipper" else ENRICHED_STREAM
        places = [kafka.TopicPartition(f"{self.about['prefix']}{stream}", number) for number in range(PARTITIONS)]
        with self._turn:
            if role == "sink":
                return [self._asking.committed(place) or 0 for place in places]
            ends = self._asking.end_offsets(places)
            return [ends[place] for place in places]

    def rows(self, table: str = "flows") -> int:
        counted = "count()" if table == "flows" else "sum(flows)"
        return int(self._sql.query(f"SELECT {counted} AS n FROM {table}").column("n")[0].as_py())

    def finish(self, collector: Member) -> dict[str, Any]:
        """No more is sent; all arrives, all end, and everything agrees: what was found, for the report."""
        collector.signal(signal.SIGTERM)
        assert collector.wait() == 0, collector.tail()
        tail = outbox_of(self.folder).consumer(RAW_STREAM, "harness")
        numbers = {tail.bounds(partition)[1] for partition in range(PARTITIONS)}
        tail.close()
        (number,) = numbers
        total = number * ROWS
        self.wait_while_it_moves(lambda: min(self.rows(), self.rows("port_1h")), total, "rows stored and rolled up")
        for role in ("shipper", "enricher", "sink"):
            for member in self.members:
                if member.role == role and member.alive:
                    member.signal(signal.SIGTERM)
                    assert member.wait() == 0, member.tail()
        raw = accepted(read_topic(self.servers, f"{self.about['prefix']}{RAW_STREAM}"))
        assert (raw.rows, raw.missing) == (total, 0)
        log = expected_rows(read_topic(self.servers, f"{self.about['prefix']}{ENRICHED_STREAM}"))
        found = facts(self._sql)
        assert found["stored"]["n"] == total
        assert found["stored"]["d"] == total, "a row is there twice"
        assert found["stored"]["s"] == total * (total - 1) // 2
        assert {(p, o): n for p, o, n in found["by_message"]} == log.rows
        assert found["rollups"] == []
        assert found["rolled"] == total
        assert found["audit"] == dict.fromkeys(("decoded", "published", "enriched", "inserted"), total)
        refused = sum(len(member.said("refused")) for member in self.members)
        return {"rows": total, "repeats": raw.repeats, "overlaps": log.overlaps, "refused commits": refused}

    def close(self) -> None:
        """SIGKILL to all that is left."""
        for member in self.members:
            member.end()
        self._sql.close()
        self._asking.close(autocommit=False)
